/*
** lone.c - an operation that nobody waits for and nobody else knows.
**
** A cached page costs two microseconds to read, most of them in the kernel, so the way there must be short: no queue,
** no compare and swap, no driver, and few stack frames (after a system call each return on the way up is mispredicted).
*/
#include "internal.h"

int rt_run_inline(rt_op *op) {
  const rt_kind kind = rt_kind_of(&op->c);
  RT__ASSERT(op->file && op->file->inline_fn && !op->after && !op->c.callback);
  if (atomic_load_explicit(&rt__observers, memory_order_relaxed)) op->start_ns = rt_now_ns();
  const int64_t res = op->file->inline_fn(op);
  int error = res < 0 ? (int)res : 0;
  if (error == 0 && rt__is_transfer(kind)) {
    RT__ASSERT((uint64_t)res <= op->length);
    op->c.bytes = (uint64_t)res;
    if (rt__is_write(kind) && op->c.bytes < op->length) error = -EIO;
  }
  rt__count_op(rt_sync_loop(), op, true, error);
  op->c.error = error;
  op->phase = error ? RT__PH_FAILED : RT__PH_OK;
  atomic_store_explicit(&op->c.state, RT__FINISHED, memory_order_release);
  return error;
}
