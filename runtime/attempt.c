/*
** attempt.c - what an attempt's result means for its operation.
**
** One place for short transfers, EINTR and the like, attempts the kernel gave up that nobody cancelled, and for order:
** an operation that comes after another counts as carried out only by an attempt that started when that other had fully
** succeeded.
*/
#include "backend.h"

/* Attempts repeated without any progress before the operation is carried out inline. */
#define MAX_TRIES 8

enum verdict { SETTLED, MORE };

int rt__cancel_error(const rt_op *op) {
  switch (atomic_load(&op->c.cancel)) {
  case RT__CANCEL_ASKED: return -ECANCELED;
  case RT__CANCEL_EXPIRED: return -ETIME;
  default: return 0;
  }
}

static bool is_stream(const rt_op *op) { return op->file && (op->file->traits & RT_FILE_STREAM); }

/* Takes up the bytes that an attempt moved. */
static enum verdict advance_transfer(rt_op *op, int64_t res, int *error) {
  if (res < 0) {
    *error = (int)res;
    return SETTLED;
  }
  RT__ASSERT((uint64_t)res <= op->length - op->c.bytes);
  op->c.bytes += (uint64_t)res;
  op->tries = 0;
  *error = 0;
  if (op->c.bytes == op->length) return SETTLED;
  if (rt__is_read((rt_kind)op->c.kind))
    return res == 0 || is_stream(op) ? SETTLED : MORE; /* the end of the file, or all there is now */
  if (res > 0) return MORE;
  *error = -EIO; /* a write that does not advance would never end */
  return SETTLED;
}

static enum verdict advance(rt_op *op, int64_t res, int *error) {
  if (rt__is_transfer((rt_kind)op->c.kind)) return advance_transfer(op, res, error);
  *error = res < 0 ? (int)res : 0;
  if (op->c.kind == RT_OPEN && res >= 0) op->file->fd = (int)res;
  if (op->c.kind ==
      RT_CLOSE) { /* Linux has closed the descriptor whatever it answers; EINTR says nothing about the data */
    op->file->fd = -1;
    if (*error == -EINTR) *error = 0;
  }
  return SETTLED;
}

static int run_inline_fn(rt_op *op) {
  op->c.bytes = 0; /* from the start: its result is that of the whole operation */
  int64_t res = op->file->inline_fn(op);
  if (res < 0) return (int)res;
  if (!rt__is_transfer((rt_kind)op->c.kind)) return 0;
  RT__ASSERT((uint64_t)res <= op->length);
  op->c.bytes = (uint64_t)res;
  return rt__is_write((rt_kind)op->c.kind) && op->c.bytes < op->length ? -EIO : 0;
}

static bool has_inline_fn(const rt_op *op) {
  return op->file && op->file->inline_fn && op->c.kind >= RT_READ && op->c.kind <= RT_ADVISE;
}

int rt__run_inline(rt_loop *loop, rt_op *op) {
  if (has_inline_fn(op)) return run_inline_fn(op);
  for (;;) {
    int64_t res = loop->backend->call(loop, op);
    if (res == -EINTR && op->c.kind != RT_CLOSE) continue;
    int error;
    if (advance(op, res, &error) == SETTLED) return error;
    rt__count(RT__RESUMED, 1);
    error = rt__cancel_error(op);
    if (error) return error;
  }
}

static bool is_sync(const rt_op *op) { return rt__is_sync((rt_kind)op->c.kind); }

/* The attempt was not all that was asked for. Of what comes after op the kernel may have given up the attempt that was
** linked behind it, or may have made it too early. */
static void void_successor(rt_op *op) {
  if (op->then && op->then->phase == RT__PH_STARTED) op->then->marks |= RT__OP_STALE;
}

/* Another attempt is to be made, in its turn. */
static void again(rt_loop *loop, rt_op *op) {
  void_successor(op);
  if (op->after) {
    op->phase = RT__PH_HELD;
    rt__ops_push(&loop->held, op);
  } else {
    op->phase = RT__PH_QUEUED;
    rt__ops_push_front(&loop->queue, op);
  }
}

/* The kernel gave the attempt up for reasons of its own: its thread has exited (ECANCELED, EFAULT), no memory. */
static void redo(rt_loop *loop, rt_op *op) {
  rt__count(RT__REDONE, 1);
  void_successor(op);
  if (is_stream(op) && ++op->tries < MAX_TRIES) { /* inline it could block for ever */
    again(loop, op);
    return;
  }
  rt__op_finish(loop, op, rt__run_inline(loop, op), true);
}

/*
** What an attempt tells of the kernel's worker threads. One that can have none is given up with ECANCELED, as are the
** attempts of a thread that has exited. The thread that leases a loop drains it, so there it can only be the worker;
** unless the attempt was linked behind another one, which may have ended the chain (a read at the end of the file
** does).
*/
static void learn_of_workers(rt_loop *loop, const rt_op *op, int64_t res, bool linked) {
  const unsigned use = rt__worker_use((rt_kind)op->c.kind, op->file);
  if (use == 0) return;
  if (res >= 0) loop->worker_came |= (uint8_t)use;
  if (is_sync(op)) return; /* its ECANCELED may be the file's: is_final */
  if (res != -ECANCELED || linked || !loop->backend->can(loop, (rt_kind)op->c.kind)) return;
  loop->worker_refused |= (uint8_t)(use | RT__WORKER_ALWAYS); /* those that always take one need not be tried */
  loop->no_worker |= loop->worker_refused;
}

/*
** What a flush says is the file's: an error that was met while pages were written back, with the number that the file
** system gave it, EINTR and ECANCELED among others. The kernel tells it once; asked again it would say that all is
** well. io_uring itself ends a flush with ECANCELED only if it is linked behind what was not enough (then it is STALE),
** or if there is no worker for it: that is believed only if another operation of this lease has found so.
*/
static bool is_final(const rt_loop *loop, const rt_op *op, int64_t res) {
  return is_sync(op) && (res != -ECANCELED || loop->worker_refused == 0);
}

static void settle(rt_loop *loop, rt_op *op, int64_t res, bool linked) {
  int asked = rt__cancel_error(op);
  if (asked && (res == -ECANCELED || res == -EINTR)) {
    rt__op_finish(loop, op, asked, false);
    return;
  }
  if (loop->leased) learn_of_workers(loop, op, res, linked);
  if (res < 0 && is_final(loop, op, res)) {
    rt__op_finish(loop, op, (int)res, false);
    return;
  }
  switch (res) {
  case -EAGAIN:
    if (is_stream(op)) break; /* the caller's descriptor is non-blocking */
    __attribute__((fallthrough));
  case -EINTR:
    if (op->c.kind == RT_CLOSE) break;
    if (++op->tries < MAX_TRIES)
      again(loop, op);
    else
      redo(loop, op);
    return;
  case -ENOMEM:
  case -ECANCELED:
  case -EFAULT: redo(loop, op); return;
  default: break;
  }
  int error;
  if (advance(op, res, &error) == SETTLED) {
    if (op->c.bytes < op->length) void_successor(op); /* a read at the end of the file ends the chain, too */
    rt__op_finish(loop, op, error, false);
  } else if (asked) {
    rt__op_finish(loop, op, asked, false);
  } else {
    rt__count(RT__RESUMED, 1);
    again(loop, op);
  }
}

void rt__attempt_done(rt_loop *loop, rt_op *op, int64_t res) {
  RT__ASSERT(op->phase == RT__PH_STARTED);
  rt__ops_remove(&loop->started, op);
  if (is_stream(op)) loop->streams--;
  bool stale = op->after || (op->marks & RT__OP_STALE), linked = op->marks & RT__OP_LINKED;
  op->marks &= (uint8_t) ~(RT__OP_STALE | RT__OP_CANCEL_SENT | RT__OP_LINKED);

  if (op->marks & RT__OP_BEFORE_FAILED) {
    rt__op_finish(loop, op, -ECANCELED, false);
  } else if (stale) { /* it counts for nothing, success or not: its predecessor was not through when it ran */
    int asked = rt__cancel_error(op);
    if (asked)
      rt__op_finish(loop, op, asked, false);
    else if (is_sync(op) && res < 0 && res != -ECANCELED)
      rt__op_finish(loop, op, (int)res, false); /* too early or not, the kernel will not say it again */
    else
      again(loop, op);
  } else {
    settle(loop, op, res, linked);
  }
}

/* The list op waits on, or NULL: an attempt of it is running. */
static rt__ops *waiting_list(rt_loop *loop, const rt_op *op) {
  switch (op->phase) {
  case RT__PH_QUEUED: return &loop->queue;
  case RT__PH_HELD: return &loop->held;
  case RT__PH_TIMER: return &loop->timers;
  default: return NULL;
  }
}

void rt__op_finish(rt_loop *loop, rt_op *op, int error, bool inline_op) {
  /* A failure goes down the chain; a loop, since chains may be long. */
  for (;;) {
    rt_op *then = op->then;
    op->then = NULL;
    op->phase = error ? RT__PH_FAILED : RT__PH_OK;
    if (op->marks & RT__OP_TIMED) loop->timed--;
    rt__count_op(loop, op, inline_op, error);
    if (loop->backend->start && !op->c.callback) loop->finished++;
    rt__finish(&op->c, error); /* op may be gone now */
    if (!then) return;
    then->after = NULL;
    if (error == 0) {
      if (then->phase == RT__PH_HELD) {
        rt__ops_remove(&loop->held, then);
        then->phase = RT__PH_QUEUED;
        rt__ops_push_front(&loop->queue, then);
      }
      return;
    }
    rt__ops *list = waiting_list(loop, then);
    if (!list) {
      then->marks |= RT__OP_BEFORE_FAILED;
      return;
    }
    rt__ops_remove(list, then);
    op = then;
    error = -ECANCELED;
    inline_op = false;
  }
}
