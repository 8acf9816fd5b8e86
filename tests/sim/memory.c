/*
** memory.c - see memory.h. A cancelled attempt that nobody has finished yet ends with ECANCELED; the world is not
** touched for it.
*/
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>

#define NATURAL     INT64_MIN /* the result is the world's */
#define MAX_STARTED 4096

typedef struct attempt {
  rt_op *op;
  int64_t res;
  bool due, linked; /* linked: runs after the one before it in the list */
} attempt;

typedef struct memory {
  rt_loop loop;
  sim_world *world;
  bool hold, can_link, keep_links;
  unsigned started, cancels, count, fail_at, fail_times;
  int fail_error;
  uint64_t most;
  attempt list[MAX_STARTED];
} memory;

static memory *of(rt_loop *loop) { return (memory *)loop; }

static bool memory_can(const rt_loop *loop, rt_kind kind) {
  (void)loop;
  return kind != RT_TIMEOUT;
}

static bool memory_start(rt_loop *loop, rt_op *op, bool link) {
  memory *m = of(loop);
  if (link && !m->can_link) return false;
  m->started++;
  attempt a = {.op = op, .res = NATURAL, .linked = link};
  if (m->fail_times && m->started >= m->fail_at) {
    m->fail_times--;
    a.res = m->fail_error;
  }
  m->list[m->count++] = a;
  m->can_link = true;
  return true;
}

/* An attempt behind another in a chain has to wait for it. */
static bool ready(const memory *m, unsigned i) { return !m->list[i].linked; }

static void memory_enter(rt_loop *loop, unsigned wait_nr, uint64_t until_ns) {
  memory *m = of(loop);
  m->can_link = false;
  for (unsigned i = 0; i < m->count; i++)
    if (m->list[i].due && ready(m, i)) return;
  if (m->hold) {
    if (wait_nr && until_ns == 0) {
      fprintf(stderr, "sim_memory: waiting for what is held back\n");
      abort();
    }
    if (wait_nr) rt__calls_now->sleep_until(until_ns);
    return;
  }
  for (unsigned i = 0; i < m->count; i++)
    if (ready(m, i)) {
      m->list[i].due = true;
      if (wait_nr <= 1) return;
      wait_nr--;
    }
}

static int64_t result_of(memory *m, const attempt *a) {
  uint64_t most = m->most ? m->most : UINT64_MAX;
  if (a->res == NATURAL) return sim_world_call(m->world, a->op, most);
  if (a->res <= 0 || !rt__is_transfer((rt_kind)a->op->c.kind)) return a->res;
  return sim_world_call(m->world, a->op, (uint64_t)a->res);
}

static uint64_t wanted(const rt_op *op) { return rt__is_transfer((rt_kind)op->c.kind) ? op->length - op->c.bytes : 0; }

static void take_out(memory *m, unsigned i) {
  m->count--;
  for (; i < m->count; i++) m->list[i] = m->list[i + 1];
}

static unsigned memory_reap(rt_loop *loop, unsigned max) {
  memory *m = of(loop);
  unsigned n = 0;
  for (unsigned i = 0; i < m->count && n < max;) {
    if (!m->list[i].due || !ready(m, i)) {
      i++;
      continue;
    }
    attempt a = m->list[i];
    int64_t res = result_of(m, &a);
    bool broken = res < 0 || (rt__is_transfer((rt_kind)a.op->c.kind) && (uint64_t)res < wanted(a.op));
    take_out(m, i);
    /* What was linked behind it may run now, or is given up, as the kernel does. */
    if (i < m->count && m->list[i].linked) {
      m->list[i].linked = false;
      if (broken && !(m->keep_links && res >= 0)) {
        m->list[i].res = -ECANCELED;
        m->list[i].due = true;
      }
    }
    rt__attempt_done(loop, a.op, res);
    n++;
    i = 0;
  }
  return n;
}

static attempt *find(memory *m, const rt_op *op) {
  for (unsigned i = 0; i < m->count; i++)
    if (m->list[i].op == op) return &m->list[i];
  return NULL;
}

static void memory_cancel(rt_loop *loop, rt_op *op) {
  memory *m = of(loop);
  attempt *a = find(m, op);
  m->cancels++;
  if (!a || a->due || m->hold) return; /* held: on its way to the device, like a write in the kernel */
  a->res = -ECANCELED;
  a->due = true;
}

static void memory_wake(rt_loop *loop) { (void)loop; }

static void memory_close(rt_loop *loop) { free(loop); }

static int64_t memory_call(rt_loop *loop, rt_op *op) { return sim_world_call(of(loop)->world, op, UINT64_MAX); }

static bool memory_arm(rt_loop *loop) {
  (void)loop;
  return true;
}

static const rt__backend backend = {
    .name = "memory",
    .can = memory_can,
    .start = memory_start,
    .enter = memory_enter,
    .reap = memory_reap,
    .cancel = memory_cancel,
    .arm = memory_arm,
    .wake = memory_wake,
    .close = memory_close,
    .call = memory_call,
    .now_ns = rt__sync_now,
};

rt_loop *sim_memory_open(sim_world *w, unsigned entries) {
  memory *m = calloc(1, sizeof(*m));
  if (!m) abort();
  rt__loop_init(&m->loop, &backend, RT_BACKEND_URING, entries);
  m->world = w;
  return &m->loop;
}

void sim_memory_hold(rt_loop *loop, bool hold) { of(loop)->hold = hold; }

bool sim_memory_finish_as(rt_loop *loop, rt_op *op, int64_t res) {
  rt_flush(loop);
  attempt *a = find(of(loop), op);
  if (!a) return false;
  a->res = res;
  a->due = true;
  return true;
}

bool sim_memory_finish(rt_loop *loop, rt_op *op) { return sim_memory_finish_as(loop, op, NATURAL); }

void sim_memory_fail(rt_loop *loop, unsigned n, unsigned times, int error) {
  memory *m = of(loop);
  m->fail_at = m->started + n;
  m->fail_times = times;
  m->fail_error = error;
}

unsigned sim_memory_started(const rt_loop *loop) { return ((const memory *)loop)->started; }
unsigned sim_memory_cancels(const rt_loop *loop) { return ((const memory *)loop)->cancels; }
void sim_memory_keep_links(rt_loop *loop, bool keep) { of(loop)->keep_links = keep; }
void sim_memory_limit(rt_loop *loop, uint64_t most) { of(loop)->most = most; }
