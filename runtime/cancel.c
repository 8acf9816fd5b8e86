/*
** cancel.c - cancellations and deadlines of a loop's operations, and its timers.
**
** rt_cancel only leaves a mark on the operation and on its loop, because a loop is used by one thread at a time; the
** loop looks at the marks in its next round and is woken for it if it sleeps. Deadlines are the same with another
** reason, timers are deadlines that are no failure. All are found by walking the lists: they are bounded by the ring's
** size but for the timers, and walked only if somebody asked.
*/
#include "backend.h"

void rt__loop_ask(rt_loop *loop) {
  if (!loop || !loop->backend->start) return; /* synchronous: it is being carried out this moment */
  /* seq_cst on both: the sleeper stores `asleep` and then looks at `cancels`, so one of us sees the other. */
  atomic_store(&loop->cancels, true);
  if (atomic_load(&loop->asleep)) loop->backend->wake(loop);
}

/* One operation that waits on list and was asked to cancel; NULL: none. */
static rt_op *find_asked(const rt__ops *list) {
  for (rt_op *op = list->head; op; op = op->next)
    if (atomic_load(&op->c.cancel) != RT__CANCEL_NONE) return op;
  return NULL;
}

static void cancel_waiting(rt_loop *loop, rt__ops *list) {
  rt_op *op;
  while ((op = find_asked(list)) != NULL) {
    rt__ops_remove(list, op);
    rt__op_finish(loop, op, rt__cancel_error(op), false);
  }
}

static void cancel_started(rt_loop *loop) {
  for (rt_op *op = loop->started.head; op; op = op->next) {
    if (atomic_load(&op->c.cancel) == RT__CANCEL_NONE || (op->marks & RT__OP_CANCEL_SENT)) continue;
    op->marks |= RT__OP_CANCEL_SENT;
    loop->backend->cancel(loop, op);
  }
}

static uint64_t due_of(const rt_op *op) { return op->phase == RT__PH_TIMER ? op->offset : op->deadline_ns; }

static void expire(const rt__ops *list, uint64_t now) {
  for (rt_op *op = list->head; op; op = op->next)
    if (op->deadline_ns && op->deadline_ns <= now) rt__cancel_as(&op->c, RT__CANCEL_EXPIRED);
}

static void ring_timers(rt_loop *loop, uint64_t now) {
  for (rt_op *op = loop->timers.head; op;) {
    rt_op *next = op->next;
    if (due_of(op) <= now) {
      rt__ops_remove(&loop->timers, op);
      rt__op_finish(loop, op, 0, false);
      next = loop->timers.head; /* a failure may have gone down a chain that is on this list */
    }
    op = next;
  }
}

void rt__serve(rt_loop *loop) {
  if (loop->timed) {
    uint64_t now = loop->backend->now_ns(loop);
    expire(&loop->queue, now);
    expire(&loop->held, now);
    expire(&loop->started, now);
    expire(&loop->timers, now);
    ring_timers(loop, now);
  }
  if (!atomic_exchange(&loop->cancels, false)) return;
  cancel_waiting(loop, &loop->queue);
  cancel_waiting(loop, &loop->held);
  cancel_waiting(loop, &loop->timers);
  cancel_started(loop);
}

static void earliest(const rt__ops *list, uint64_t *due) {
  for (const rt_op *op = list->head; op; op = op->next) {
    uint64_t t = due_of(op);
    /* one that was asked already only waits for its end */
    if (t && (*due == 0 || t < *due) && atomic_load(&op->c.cancel) == RT__CANCEL_NONE) *due = t;
    if (op->phase == RT__PH_TIMER && op->deadline_ns && op->deadline_ns < *due) *due = op->deadline_ns;
  }
}

uint64_t rt__next_due(const rt_loop *loop) {
  uint64_t due = 0;
  if (!loop->timed) return 0;
  earliest(&loop->queue, &due);
  earliest(&loop->held, &due);
  earliest(&loop->started, &due);
  earliest(&loop->timers, &due);
  return due;
}
