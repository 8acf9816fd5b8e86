/*
** check.c - see check.h. One step function is checked at a time.
**
** A yield point is where a callee may yield. Whether it does depends on what is cached and how fast the device is, so
** that code which changes something before it and is called again usually works; here every one of them yields, in its
** turn.
*/
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STEPS    100000
#define FORCED_TIMES 2 /* a point yields so often before it lets the callee be called */

static struct {
  bool active;
  unsigned target, seen; /* the target-th point of the run is the one that yields */
  unsigned left;
  const char *file;
  int line;
} points;

bool check_yield_point(const char *file, int line) {
  if (!points.active) return false;
  if (points.file == NULL) {
    if (points.seen++ != points.target) return false;
    points.file = file;
    points.line = line;
  } else if (points.file != file || points.line != line) {
    return false;
  }
  if (points.left == 0) return false;
  points.left--;
  return true;
}

typedef struct run {
  const check_case *c;
  check_report *report;
  sim_world *world;
  rt_loop *loop;
  unsigned ios; /* waits for an unfinished completion so far */
  unsigned char *snapshot;
} run;

static void found(run *r, const char *what, const char *more) {
  if (!r->report->ok) return;
  r->report->ok = false;
  snprintf(r->report->text, sizeof(r->report->text), "%s: %s%s%s", r->c->name, what, more ? ": " : "",
           more ? more : "");
}

static void begin(run *r, const check_case *c, check_report *report) {
  memset(r, 0, sizeof(*r));
  r->c = c;
  r->report = report;
  r->world = sim_world_open();
  r->loop = sim_memory_open(r->world, 0);
  r->snapshot = malloc(c->machine_size);
  if (!r->snapshot) abort();
  memset(c->machine, 0, c->machine_size);
  c->start(c->machine, r->loop, r->world);
  report->runs++;
}

static void finish(run *r) {
  sim_memory_hold(r->loop, false);
  rt_run(r->loop);
  rt_loop_close(r->loop);
  sim_world_close(r->world);
  free(r->snapshot);
}

static void take_snapshot(run *r) { memcpy(r->snapshot, r->c->machine, r->c->machine_size); }

/* The watched field that differs from the snapshot, or NULL. */
static const char *changed(const run *r) {
  for (unsigned i = 0; i < r->c->watched_count; i++) {
    const check_field *f = &r->c->watched[i];
    if (memcmp(r->snapshot + f->offset, (char *)r->c->machine + f->offset, f->size) != 0) return f->name;
  }
  return NULL;
}

/* Calls the step function again while what it waits for is held back. */
static void call_too_early(run *r, const rt_completion *waited) {
  unsigned started = sim_memory_started(r->loop), in_flight = rt_in_flight(r->loop);
  take_snapshot(r);
  for (unsigned i = 0; i < 2; i++) {
    rt_result again = r->c->step(r->c->machine);
    if (!rt_is_io(again))
      found(r, "called again before its completion had finished, it went on", NULL);
    else if (again.io != waited)
      found(r, "called again too early, it returned another completion", NULL);
    if (rt_in_flight(r->loop) != in_flight || sim_memory_started(r->loop) != started)
      found(r, "called again too early, it submitted something again", NULL);
    const char *field = changed(r);
    if (field) found(r, "called again too early, it changed", field);
    if (!r->report->ok) return;
  }
}

typedef enum disturbance { NOTHING, EARLY, FAIL, CANCEL, ABANDON } disturbance;

/* Drives to the end, disturbing at the at-th wait. 0: Done, else its error. ABANDON: 1 when it was given up. */
static int drive(run *r, disturbance what, unsigned at) {
  const void *last_yield = NULL;
  for (unsigned steps = 0; steps < MAX_STEPS && r->report->ok; steps++) {
    unsigned forced = points.left;
    rt_result s = r->c->step(r->c->machine);
    if (rt_is_done(s)) return 0;
    if (rt_is_error(s)) return s.error;
    if (rt_kind_of(s.io) == RT_YIELD) {
      if (points.active && forced != points.left) { /* at the forced point: the second time nothing may have changed */
        if (last_yield) {
          char place[200];
          const char *field = changed(r);
          snprintf(place, sizeof(place), "%s (%s:%d)", field ? field : "", points.file, points.line);
          if (field) found(r, "changed before a yield", place);
        }
        last_yield = s.io;
        take_snapshot(r);
      }
      continue;
    }
    if (rt_finished(s.io)) continue;
    unsigned io = r->ios++;
    if (what == EARLY) {
      sim_memory_hold(r->loop, true);
      rt_flush(r->loop);
      call_too_early(r, s.io);
      sim_memory_hold(r->loop, false);
    } else if (what == CANCEL && io == at) {
      rt_cancel(s.io);
    } else if (what == ABANDON && io == at) {
      rt_cancel(s.io);
      (void)rt_wait(r->loop, s.io);
      if (r->c->abandon) r->c->abandon(r->c->machine);
      return 1;
    }
    (void)rt_wait(r->loop, s.io);
  }
  found(r, "it never ends", NULL);
  return 0;
}

static void expect_success(run *r, int error, const char *when) {
  char text[200];
  const char *wrong = error ? NULL : r->c->verify(r->c->machine);
  if (error) {
    snprintf(text, sizeof(text), "%s: error %d", when, error);
    found(r, "it fails", text);
  } else if (wrong) {
    snprintf(text, sizeof(text), "%s: %s", when, wrong);
    found(r, "its result is wrong", text);
  }
}

static void plain(const check_case *c, check_report *report, disturbance what) {
  run r;
  begin(&r, c, report);
  int error = drive(&r, what, 0);
  if (report->ok) expect_success(&r, error, what == EARLY ? "called too early" : "undisturbed");
  report->ios = r.ios;
  finish(&r);
}

/* False: the run has no such point any more. */
static bool force_point(const check_case *c, check_report *report, unsigned target) {
  run r;
  points.active = true;
  points.target = target;
  points.seen = 0;
  points.left = FORCED_TIMES;
  points.file = NULL;
  begin(&r, c, report);
  int error = drive(&r, NOTHING, 0);
  bool there = points.file != NULL;
  char place[200];
  snprintf(place, sizeof(place), "a yield forced at %s:%d", there ? points.file : "", points.line);
  points.active = false;
  if (report->ok) expect_success(&r, error, place);
  finish(&r);
  return there;
}

/* After the disturbance the same memory must serve a run as if nothing had been. */
static void disturb(const check_case *c, check_report *report, disturbance what, unsigned at) {
  static const char *const names[] = {"", "", "an I/O failed", "an I/O was cancelled", "it was abandoned"};
  run r;
  begin(&r, c, report);
  if (what == FAIL) sim_memory_fail(r.loop, at + 1, 1, -EIO);
  int error = drive(&r, what, at);
  if (what == FAIL && error == 0 && report->ok && sim_memory_started(r.loop) > at) {
    const char *wrong = c->verify(c->machine);
    if (wrong) found(&r, "an I/O failed and it says Done, wrongly", wrong);
  }
  sim_memory_fail(r.loop, 1, 0, 0);
  rt_run(r.loop);
  if (error < 0 && c->abandon) c->abandon(c->machine);
  finish(&r);
  if (!report->ok) return;
  begin(&r, c, report);
  error = drive(&r, NOTHING, 0);
  if (report->ok) expect_success(&r, error, names[what]);
  finish(&r);
}

check_report check_run(const check_case *c) {
  check_report report = {.ok = true};
  plain(c, &report, NOTHING);
  if (report.ok) plain(c, &report, EARLY);
  unsigned ios = report.ios;
  while (report.ok && force_point(c, &report, report.yield_points)) report.yield_points++;
  for (unsigned at = 0; report.ok && at < ios; at++)
    for (disturbance d = FAIL; report.ok && d <= ABANDON; d++) disturb(c, &report, d, at);
  report.ios = ios;
  return report;
}
