/*
** simulation.c - see simulation.h. An attempt acts on the world at the virtual moment it ends.
*/
#include "simulation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STARTED 64
#define START_NS    1000000000ull

typedef struct attempt {
  rt_op *op;
  uint64_t due_ns;
  uint64_t number; /* decides between two of one moment */
  bool linked, cancelled;
} attempt;

typedef struct simulation {
  rt_loop loop;
  sim_world *world;
  sim_faults faults;
  uint64_t random, now_ns, trace, numbers;
  bool can_link;
  unsigned count;
  attempt list[MAX_STARTED];
} simulation;

static simulation *of(rt_loop *loop) { return (simulation *)loop; }

static bool chance(simulation *s, unsigned in_1000) { return in_1000 > 0 && sim_random(&s->random) % 1000 < in_1000; }

static bool sim_can(const rt_loop *loop, rt_kind kind) {
  (void)loop;
  return kind != RT_TIMEOUT;
}

/* Mostly microseconds, now and then milliseconds. */
static uint64_t latency(simulation *s) {
  uint64_t r = sim_random(&s->random);
  return r % 16 == 0 ? 1000000 + (r >> 8) % 20000000 : 1000 + (r >> 8) % 200000;
}

static bool sim_start(rt_loop *loop, rt_op *op, bool link) {
  simulation *s = of(loop);
  if (link && !s->can_link) return false;
  if (s->count == MAX_STARTED) return false;
  s->list[s->count++] = (attempt){op, s->now_ns + latency(s), s->numbers++, link, false};
  s->can_link = true;
  return true;
}

/* The next to end, or -1. One that is linked waits for the one before it. */
static int next_due(const simulation *s) {
  int best = -1;
  for (unsigned i = 0; i < s->count; i++) {
    if (s->list[i].linked) continue;
    if (best < 0 || s->list[i].due_ns < s->list[best].due_ns ||
        (s->list[i].due_ns == s->list[best].due_ns && s->list[i].number < s->list[best].number))
      best = (int)i;
  }
  return best;
}

static void sim_enter(rt_loop *loop, unsigned wait_nr, uint64_t until_ns) {
  simulation *s = of(loop);
  s->can_link = false;
  if (wait_nr == 0) return;
  if (chance(s, s->faults.eintr)) return; /* a signal */
  int next = next_due(s);
  uint64_t to = next >= 0 ? s->list[next].due_ns : until_ns;
  if (until_ns && until_ns < to) to = until_ns;
  if (to == 0) {
    fprintf(stderr, "simulation: waiting for nothing\n");
    abort();
  }
  if (to > s->now_ns) s->now_ns = to;
}

/* What passes if it is tried again. Not the error of a flush or of a close, which is told once (runtime/attempt.c). */
static int64_t passing_fault(simulation *s, rt_kind kind) {
  if (kind == RT_CLOSE || rt__is_sync(kind)) return 0;
  if (chance(s, s->faults.eintr)) return -EINTR;
  if (chance(s, s->faults.eagain)) return -EAGAIN;
  if (chance(s, s->faults.given_up)) return -ECANCELED;
  return 0;
}

static int64_t result_of(simulation *s, const attempt *a) {
  const rt_kind kind = (rt_kind)a->op->c.kind;
  if (a->cancelled) return -ECANCELED;
  int64_t fault = passing_fault(s, kind);
  if (fault) return fault;
  if (rt__is_sync(kind) && chance(s, s->faults.fsync_eio)) return -EIO;
  if (rt__is_transfer(kind) && chance(s, s->faults.eio)) return -EIO;
  uint64_t most = UINT64_MAX;
  if (chance(s, s->faults.short_transfer)) most = 1 + sim_random(&s->random) % 4096;
  return sim_world_call(s->world, a->op, most);
}

static void note(simulation *s, uint64_t x) { s->trace = (s->trace ^ x) * 0x100000001b3ull; }

static void end_attempt(simulation *s, unsigned i) {
  attempt a = s->list[i];
  uint64_t left = rt__is_transfer((rt_kind)a.op->c.kind) ? a.op->length - a.op->c.bytes : 0;
  int64_t res = result_of(s, &a);
  s->count--;
  memmove(&s->list[i], &s->list[i + 1], (s->count - i) * sizeof(attempt));
  if (i < s->count && s->list[i].linked) {
    s->list[i].linked = false;
    s->list[i].due_ns = s->now_ns + latency(s);
    if (res < 0 || (uint64_t)res < left) {
      s->list[i].cancelled = true;
      s->list[i].due_ns = s->now_ns;
    }
  }
  note(s, a.number);
  note(s, s->now_ns);
  note(s, (uint64_t)res);
  rt__attempt_done(&s->loop, a.op, res);
}

static unsigned sim_reap(rt_loop *loop, unsigned max) {
  simulation *s = of(loop);
  unsigned n = 0;
  for (int i; n < max && (i = next_due(s)) >= 0 && s->list[i].due_ns <= s->now_ns; n++) end_attempt(s, (unsigned)i);
  return n;
}

static void sim_cancel(rt_loop *loop, rt_op *op) {
  simulation *s = of(loop);
  for (unsigned i = 0; i < s->count; i++)
    if (s->list[i].op == op && sim_random(&s->random) % 2) { /* else: too late, it runs */
      s->list[i].cancelled = true;
      if (!s->list[i].linked) s->list[i].due_ns = s->now_ns;
    }
}

static bool sim_arm(rt_loop *loop) {
  (void)loop;
  return true;
}

static void sim_wake(rt_loop *loop) { (void)loop; }

static void sim_close(rt_loop *loop) { free(loop); }

static int64_t sim_call(rt_loop *loop, rt_op *op) {
  simulation *s = of(loop);
  if (op->c.kind == RT_TIMEOUT) s->now_ns += op->length;
  return sim_world_call(s->world, op, UINT64_MAX);
}

static uint64_t sim_clock(rt_loop *loop) { return of(loop)->now_ns; }

static const rt__backend backend = {
    .name = "simulation",
    .can = sim_can,
    .start = sim_start,
    .enter = sim_enter,
    .reap = sim_reap,
    .cancel = sim_cancel,
    .arm = sim_arm,
    .wake = sim_wake,
    .close = sim_close,
    .call = sim_call,
    .now_ns = sim_clock,
};

rt_loop *sim_open(sim_world *w, uint64_t seed, const sim_faults *faults) {
  simulation *s = calloc(1, sizeof(*s));
  if (!s) abort();
  rt__loop_init(&s->loop, &backend, RT_BACKEND_URING, MAX_STARTED);
  s->world = w;
  s->random = seed;
  s->now_ns = START_NS;
  s->trace = seed;
  if (faults) s->faults = *faults;
  return &s->loop;
}

uint64_t sim_trace(const rt_loop *loop) { return ((const simulation *)loop)->trace; }
uint64_t sim_now_ns(const rt_loop *loop) { return ((const simulation *)loop)->now_ns; }

void sim_abandon(rt_loop *loop) {
  simulation *s = of(loop);
  s->count = 0;
  s->loop.queue = s->loop.held = s->loop.started = s->loop.timers = (rt__ops){0};
  s->loop.ready = (rt__ready){0};
  s->loop.timed = 0;
}
