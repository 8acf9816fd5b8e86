/*
** loop.c - submitting operations and driving them to their end.
**
**   rt_submit -> queue --hand_over--> started --reap--> (attempt.c) --> finished, or back on the queue
**                  |                     ^
**                  +--> held: its predecessor is not through; released by attempt.c
**                  +--> timers
**
** Submitting only queues: what goes to the ring goes there when somebody flushes or waits, all at once, so that a batch
** is one io_uring_enter with the wait. Callbacks are collected meanwhile (rt__defer) and run one by one between rounds.
**
** A loop is used by one thread at a time, but for `cancels`, `asleep` and backend->wake. The synchronous loop is shared
** by all threads: nothing in it is ever written.
*/
#include "backend.h"

#define DEFAULT_ENTRIES 64
#define POLL_NS         1000000u /* between looks where a loop cannot be woken */

void rt__loop_init(rt_loop *loop, const rt__backend *backend, rt_backend_choice choice, unsigned entries) {
  loop->backend = backend;
  loop->choice = choice;
  loop->entries = entries ? entries : DEFAULT_ENTRIES;
  atomic_init(&loop->cancels, false);
  atomic_init(&loop->asleep, false);
}

static rt_loop sync_loop = {.backend = &rt__sync_backend, .choice = RT_BACKEND_SYNC};

rt_loop *rt_sync_loop(void) { return &sync_loop; }

static bool is_sync(const rt_loop *loop) { return loop->backend->start == NULL; }

int rt_loop_open(rt_loop **loop, const rt_loop_options *options) {
  rt_loop_options none = {0};
  if (!options) options = &none;
  *loop = rt_sync_loop();
  if (options->backend == RT_BACKEND_SYNC) return 0;
  int error = rt__uring_open(loop, options->backend, options);
  if (error && options->backend == RT_BACKEND_AUTO) {
    *loop = rt_sync_loop();
    return 0;
  }
  if (error) *loop = NULL;
  return error;
}

void rt_loop_close(rt_loop *loop) {
  if (!loop || is_sync(loop)) return;
  rt_run(loop);
  loop->backend->close(loop);
}

rt_backend_choice rt_loop_backend(const rt_loop *loop) { return is_sync(loop) ? RT_BACKEND_SYNC : RT_BACKEND_URING; }

unsigned rt_in_flight(const rt_loop *loop) {
  if (is_sync(loop)) return rt__own_ready()->count;
  return loop->queue.count + loop->held.count + loop->started.count + loop->timers.count + loop->ready.count;
}

/*
** ---- Submitting
*/
static bool expired(rt_loop *loop, const rt_op *op) {
  return op->deadline_ns && op->deadline_ns <= loop->backend->now_ns(loop);
}

/* Learns how the predecessor stands. */
static void join_order(rt_op *op) {
  rt_op *before = op->after;
  if (!before) return;
  RT__ASSERT(before->phase != RT__PH_NEW); /* it must be submitted first */
  if (before->phase == RT__PH_OK) {
    op->after = NULL;
  } else if (before->phase == RT__PH_FAILED) {
    op->after = NULL;
    op->marks |= RT__OP_BEFORE_FAILED;
  } else {
    RT__ASSERT(before->then == NULL); /* one successor each */
    before->then = op;
  }
}

static void run_and_finish(rt_loop *loop, rt_op *op) {
  int error = (op->marks & RT__OP_BEFORE_FAILED) ? -ECANCELED : expired(loop, op) ? -ETIME : rt__run_inline(loop, op);
  rt__op_finish(loop, op, error, true);
}

static void hand_over(rt_loop *loop, bool waiting);

static void enqueue(rt_loop *loop, rt_op *op) {
  if (op->deadline_ns || op->c.kind == RT_TIMEOUT) {
    op->marks |= RT__OP_TIMED;
    loop->timed++;
  }
  if (op->c.kind == RT_TIMEOUT) op->offset = loop->backend->now_ns(loop) + op->length;
  if (op->marks & RT__OP_BEFORE_FAILED) {
    rt__op_finish(loop, op, -ECANCELED, false);
    return;
  }
  if (loop->foreign || (!op->after && rt__op_way(loop, op) == RT__WAY_INLINE)) {
    run_and_finish(loop, op);
    return;
  }
  op->phase = RT__PH_QUEUED;
  rt__ops_push(&loop->queue, op);
  /* A ring full of work: start it. What finds no room stays queued, in order. */
  if (loop->queue.count >= loop->entries && loop->started.count == 0) hand_over(loop, false);
}

/* Callbacks are deferred by the caller. */
static void submit_one(rt_loop *loop, rt_op *op) {
  if (atomic_load_explicit(&rt__observers, memory_order_relaxed)) op->start_ns = loop->backend->now_ns(loop);
  if (!rt__begin(&op->c, loop)) return;
  join_order(op);
  if (is_sync(loop))
    run_and_finish(loop, op);
  else
    enqueue(loop, op);
}

static rt__ready *ready_of(rt_loop *loop) { return is_sync(loop) ? rt__own_ready() : &loop->ready; }

void rt_submit(rt_loop *loop, rt_op *op) {
  rt__ready *before = rt__defer(ready_of(loop));
  submit_one(loop, op);
  rt__defer(before);
}

static uint64_t sooner(uint64_t a, uint64_t b) { return a == 0 || (b != 0 && b < a) ? b : a; }

/* Returns how many operations it submitted. */
static unsigned submit_children(rt_loop *loop, rt_group *g, uint64_t deadline_ns) {
  unsigned n = 0;
  for (rt_completion *c = atomic_load(&g->first); c;) {
    rt_completion *next = atomic_load(&c->sibling);
    if (c->kind == RT_GROUP) {
      rt_group *child = rt__group_of(c);
      n += submit_children(loop, child, sooner(child->deadline_ns, deadline_ns));
      if (!child->built) rt_group_build(child);
    } else if (rt__is_op((rt_kind)c->kind) &&
               (atomic_load_explicit(&c->state, memory_order_acquire) & RT__STATE_MASK) == RT__NEW) {
      rt_op *op = rt__op_of(c);
      op->deadline_ns = sooner(op->deadline_ns, deadline_ns);
      submit_one(loop, op);
      n++;
    }
    c = next;
  }
  return n;
}

void rt_submit_group(rt_loop *loop, rt_group *g) {
  rt__ready *before = rt__defer(ready_of(loop));
  unsigned n = submit_children(loop, g, g->deadline_ns);
  rt__count_batch(n);
  rt_group_build(g);
  rt__defer(before);
}

/*
** ---- Handing over
*/
static void hold(rt_loop *loop, rt_op *op) {
  rt__ops_remove(&loop->queue, op);
  op->phase = RT__PH_HELD;
  rt__ops_push(&loop->held, op);
}

static void run_queued(rt_loop *loop, rt_op *op) {
  rt__ops_remove(&loop->queue, op);
  run_and_finish(loop, op);
}

/* What is queued, seen as one batch: for operations whose way depends on that. */
static rt_work batch_of(const rt_loop *loop) {
  rt_work w = {.count = loop->started.count};
  for (const rt_op *op = loop->queue.head; op; op = op->next) {
    w.count++;
    if (rt__is_write((rt_kind)op->c.kind)) w.bytes += op->length;
    if (op->c.kind == RT_FSYNC || op->c.kind == RT_FDATASYNC) w.sync = true;
  }
  return w;
}

static bool goes_to_ring(rt_loop *loop, const rt_op *op, bool waiting, const rt_work *batch) {
  switch (rt__op_way(loop, op)) {
  case RT__WAY_INLINE: return false;
  case RT__WAY_RING: return true;
  case RT__WAY_EITHER: break;
  }
  if (op->deadline_ns) return true; /* only there it can be cancelled */
  rt_work w = *batch;
  w.kind = (rt_kind)op->c.kind;
  if (rt__is_read(w.kind)) w.bytes = op->length;
  if (!waiting) w.count = UINT32_MAX; /* the caller has other things to do: do not block */
  return rt_route_ring(RT_BACKEND_AUTO, op->file, &w);
}

/* The first of the queue gets where it belongs. False: no room for it now. `last` is the attempt queued just before. */
static bool place(rt_loop *loop, rt_op *op, bool waiting, const rt_work *batch, rt_op **last) {
  int asked = rt__cancel_error(op);
  if (asked || expired(loop, op)) {
    rt__ops_remove(&loop->queue, op);
    rt__op_finish(loop, op, asked ? asked : -ETIME, false);
    return true;
  }
  bool link = op->after != NULL;
  if (link && op->after != *last) {
    hold(loop, op);
    return true;
  }
  if (op->c.kind == RT_TIMEOUT && !link) {
    rt__ops_remove(&loop->queue, op);
    op->phase = RT__PH_TIMER;
    rt__ops_push(&loop->timers, op);
    return true;
  }
  bool ring = op->c.kind != RT_TIMEOUT && goes_to_ring(loop, op, waiting, batch);
  if (ring && loop->started.count >= loop->entries) return false;
  if (!ring && !link) {
    run_queued(loop, op);
    return true;
  }
  if (!ring || !loop->backend->start(loop, op, link)) {
    /* An order across submissions, or between ring and inline, is kept here: the attempt before has left already. */
    if (link) hold(loop, op);
    return link;
  }
  rt__ops_remove(&loop->queue, op);
  op->phase = RT__PH_STARTED;
  if (link) op->marks |= RT__OP_LINKED;
  rt__ops_push(&loop->started, op);
  if (op->file && (op->file->traits & RT_FILE_STREAM)) loop->streams++;
  *last = op;
  return true;
}

static void hand_over(rt_loop *loop, bool waiting) {
  if (!loop->queue.head) return;
  rt_op *last = NULL;
  rt_work batch = {0};
  if (loop->choice == RT_BACKEND_AUTO) batch = batch_of(loop);
  bool flushed = false;
  while (loop->queue.head) {
    if (place(loop, loop->queue.head, waiting, &batch, &last)) {
      flushed = false;
      continue;
    }
    if (flushed || loop->started.count >= loop->entries) return; /* the rest when some have ended */
    loop->backend->enter(loop, 0, 0);                            /* the submission queue is full: make room, go on */
    last = NULL;
    flushed = true;
  }
}

/*
** ---- Driving
*/

/* How many attempts must end at least before c can finish; *others: it also depends on what is not in this loop. */
static unsigned needed(const rt_loop *loop, const rt_completion *c, bool *others) {
  if (rt_finished(c)) return 0;
  if (c->kind != RT_GROUP) {
    if (atomic_load_explicit(&c->loop, memory_order_relaxed) == loop)
      return ((const rt_op *)c)->phase == RT__PH_STARTED ? 1 : 0;
    *others = true;
    return 0;
  }
  const rt_group *g = (const rt_group *)c;
  unsigned n = 0;
  if (!g->built) *others = true;
  for (const rt_completion *child = atomic_load(&g->first); child; child = atomic_load(&child->sibling))
    n += needed(loop, child, others);
  /* these may be decided by the first */
  return g->policy == RT_ALL ? n : n > 0 ? 1 : 0;
}

/* A group's own deadline, for children that no loop has. */
static uint64_t group_due(const rt_completion *c) {
  if (c->kind != RT_GROUP || atomic_load(&c->cancel) != RT__CANCEL_NONE) return 0;
  return ((const rt_group *)c)->deadline_ns;
}

static void sleep_in_backend(rt_loop *loop, unsigned wait_nr, uint64_t until_ns, bool wakeable) {
  if (wakeable && loop->backend->arm && !loop->backend->arm(loop))
    until_ns = sooner(until_ns, loop->backend->now_ns(loop) + POLL_NS);
  atomic_store(&loop->asleep, true); /* then `cancels`: see rt__loop_ask */
  if (atomic_load(&loop->cancels)) wait_nr = 0;
  loop->backend->enter(loop, wait_nr, until_ns);
  atomic_store(&loop->asleep, false);
}

/* Until something in the loop has happened, or c has finished elsewhere (c may be NULL). */
static void wait_in_backend(rt_loop *loop, rt_completion *c, uint64_t until_ns) {
  bool others = false;
  unsigned wait_nr = c ? needed(loop, c, &others) : 0;
  /* Nothing in this loop that c needs: another thread is finishing it, or has just done so. Sleeping for that
  ** unregistered would be for ever. */
  if (c && wait_nr == 0) others = true;
  bool wakeable = !loop->patient || others || loop->streams > 0;
  if (wakeable || wait_nr == 0) wait_nr = 1;
  until_ns = sooner(until_ns, rt__next_due(loop));
  if (c) until_ns = sooner(until_ns, group_due(c));
  if (!others) {
    sleep_in_backend(loop, wait_nr, until_ns, wakeable);
    return;
  }
  rt__sleeper s;
  if (!rt__sleeper_add(&s, c, loop)) return;
  sleep_in_backend(loop, wait_nr, until_ns, true);
  rt__sleeper_remove(&s);
}

/* After a fork, in the child: the ring is the parent's. What was in it is carried out here. */
static void abandon(rt_loop *loop) {
  while (loop->started.head) rt__attempt_done(loop, loop->started.head, -ECANCELED);
  while (loop->queue.head) run_queued(loop, loop->queue.head);
}

/*
** Serve, hand over, wait if `wait` and nothing is to be done first, reap at most max. c: what the caller waits for, or
** NULL.
*/
static void round_once(rt_loop *loop, rt_completion *c, bool wait, uint64_t until_ns, unsigned max) {
  rt__ready *before = rt__defer(&loop->ready);
  if (loop->foreign) abandon(loop);
  if (c && group_due(c) && group_due(c) <= loop->backend->now_ns(loop)) rt__cancel_as(c, RT__CANCEL_EXPIRED);
  rt__serve(loop);
  hand_over(loop, wait && c);
  if (!loop->foreign) {
    /* What was just carried out inline may be all that was waited for. */
    bool idle = loop->ready.count == 0 && !(c && rt_finished(c)) && (loop->started.count || loop->timers.count);
    if (wait && idle)
      wait_in_backend(loop, c, until_ns);
    else
      loop->backend->enter(loop, 0, 0);
    loop->backend->reap(loop, max);
  }
  rt__serve(loop);
  rt__count_flush(loop);
  rt__defer(before);
}

/* A callback that is due: this loop's, or one that this thread got from the synchronous loop. */
static bool run_callback(rt_loop *loop) {
  return (!is_sync(loop) && rt__run_ready(&loop->ready)) || rt__run_ready(rt__own_ready());
}

/* c is not in a loop of this thread, or in the synchronous one. */
static void wait_elsewhere(rt_completion *c) {
  while (!rt_finished(c)) {
    if (rt__run_ready(rt__own_ready())) continue;
    uint64_t due = group_due(c);
    if (due && due <= rt_now_ns())
      rt__cancel_as(c, RT__CANCEL_EXPIRED);
    else
      rt__futex_sleep(c, due);
  }
}

int rt_wait(rt_loop *loop, rt_completion *c) {
  /* One callback at a time, and no further than c: others' must not keep the caller. */
  while (!rt_finished(c)) {
    if (loop && run_callback(loop)) continue;
    if (!loop || is_sync(loop) || rt_in_flight(loop) == 0) {
      wait_elsewhere(c);
      break;
    }
    round_once(loop, c, true, 0, UINT32_MAX);
  }
  return rt_error(c);
}

void rt_flush(rt_loop *loop) {
  if (!is_sync(loop) && loop->queue.count) round_once(loop, NULL, false, 0, 0);
  for (unsigned due = rt_in_flight(loop); due > 0 && run_callback(loop); due--) continue;
}

void rt_run(rt_loop *loop) {
  while (rt_in_flight(loop) > 0 || rt__own_ready()->count > 0) {
    if (run_callback(loop)) continue;
    round_once(loop, NULL, true, 0, UINT32_MAX);
  }
}

unsigned rt_step(rt_loop *loop, uint64_t timeout_ns, unsigned max) {
  unsigned n = 0;
  while (n < max && run_callback(loop)) n++;
  if (is_sync(loop) || n >= max || rt_in_flight(loop) == 0) return n;
  uint64_t until = 0;
  if (timeout_ns) {
    until = loop->backend->now_ns(loop) + timeout_ns;
    if (until < timeout_ns) until = 0; /* for ever */
  }
  unsigned before = loop->finished;
  round_once(loop, NULL, n == 0 && timeout_ns > 0, until, max - n);
  n += loop->finished - before;
  while (n < max && run_callback(loop)) n++;
  return n;
}
