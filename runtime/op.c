/*
** op.c - preparing operations, and the lists they are on. Nothing here starts anything.
*/
#include "internal.h"

static void prep(rt_op *op, rt_kind kind, rt_file *f, uint64_t length, uint64_t offset) {
  rt__init(&op->c, kind, RT__NEW, NULL, NULL);
  op->file = f;
  op->buf = NULL;
  op->iov = NULL;
  op->iov_count = 0;
  op->flags = 0;
  op->length = length;
  op->offset = offset;
  op->deadline_ns = 0;
  op->after = NULL;
  op->then = NULL;
  op->next = op->prev = NULL;
  op->start_ns = 0;
  op->phase = RT__PH_NEW;
  op->tries = 0;
  op->marks = 0;
}

static void prep_buffer(rt_op *op, rt_kind kind, rt_file *f, void *buf, uint64_t length, uint64_t offset) {
  prep(op, kind, f, length, offset);
  op->buf = buf;
  atomic_store_explicit(&op->c.expected, length, memory_order_relaxed);
}

static void prep_vector(rt_op *op, rt_kind kind, rt_file *f, const struct iovec *iov, uint32_t count, uint64_t offset) {
  uint64_t length = 0;
  for (uint32_t i = 0; i < count; i++) length += iov[i].iov_len;
  prep(op, kind, f, length, offset);
  op->iov = iov;
  op->iov_count = count;
  atomic_store_explicit(&op->c.expected, length, memory_order_relaxed);
}

void rt_prep_read(rt_op *op, rt_file *f, void *buf, uint64_t length, uint64_t offset) {
  prep_buffer(op, RT_READ, f, buf, length, offset);
}
/* The buffer is only read; one member serves both directions. */
void rt_prep_write(rt_op *op, rt_file *f, const void *buf, uint64_t length, uint64_t offset) {
  prep_buffer(op, RT_WRITE, f, (void *)(uintptr_t)buf, length, offset);
}
void rt_prep_readv(rt_op *op, rt_file *f, const struct iovec *iov, uint32_t iov_count, uint64_t offset) {
  prep_vector(op, RT_READV, f, iov, iov_count, offset);
}
void rt_prep_writev(rt_op *op, rt_file *f, const struct iovec *iov, uint32_t iov_count, uint64_t offset) {
  prep_vector(op, RT_WRITEV, f, iov, iov_count, offset);
}
void rt_prep_fsync(rt_op *op, rt_file *f) { prep(op, RT_FSYNC, f, 0, 0); }
void rt_prep_fdatasync(rt_op *op, rt_file *f) { prep(op, RT_FDATASYNC, f, 0, 0); }
void rt_prep_truncate(rt_op *op, rt_file *f, uint64_t size) { prep(op, RT_TRUNCATE, f, 0, size); }
void rt_prep_allocate(rt_op *op, rt_file *f, uint32_t mode, uint64_t offset, uint64_t length) {
  prep(op, RT_ALLOCATE, f, length, offset);
  op->flags = mode;
}
void rt_prep_advise(rt_op *op, rt_file *f, uint32_t advice, uint64_t offset, uint64_t length) {
  prep(op, RT_ADVISE, f, length, offset);
  op->flags = advice;
}
void rt_prep_open(rt_op *op, rt_file *f, const char *path, uint32_t flags, uint32_t mode) {
  prep(op, RT_OPEN, f, mode, 0);
  op->buf = (void *)(uintptr_t)path;
  op->flags = flags;
}
void rt_prep_close(rt_op *op, rt_file *f) { prep(op, RT_CLOSE, f, 0, 0); }
void rt_prep_timeout(rt_op *op, uint64_t delay_ns) { prep(op, RT_TIMEOUT, NULL, delay_ns, 0); }
void rt_prep_nop(rt_op *op) { prep(op, RT_NOP, NULL, 0, 0); }

void rt_on_finish(rt_op *op, rt_callback callback, void *arg) {
  op->c.callback = callback;
  op->c.arg = arg;
}

void rt_set_deadline(rt_op *op, uint64_t deadline_ns) { op->deadline_ns = deadline_ns; }
void rt_order_after(rt_op *op, rt_op *before) { op->after = before; }

rt__span rt__op_span(const rt_op *op) {
  uint64_t skip = op->c.bytes;
  rt__span s = {.offset = op->offset + skip};
  if (!op->iov) {
    s.buf = (char *)op->buf + skip;
    s.length = op->length - skip;
    return s;
  }
  uint32_t i = 0;
  while (i < op->iov_count && skip >= op->iov[i].iov_len) skip -= op->iov[i++].iov_len;
  if (skip > 0) { /* in the middle of an element: its rest by itself, so that the caller's array stays as it is */
    s.buf = (char *)op->iov[i].iov_base + skip;
    s.length = op->iov[i].iov_len - skip;
    return s;
  }
  s.iov = op->iov + i;
  s.iov_count = op->iov_count - i < 1024 ? op->iov_count - i : 1024; /* UIO_MAXIOV */
  return s;
}

void rt__ops_push(rt__ops *list, rt_op *op) {
  op->next = NULL;
  op->prev = list->tail;
  if (list->tail)
    list->tail->next = op;
  else
    list->head = op;
  list->tail = op;
  list->count++;
}

void rt__ops_push_front(rt__ops *list, rt_op *op) {
  op->prev = NULL;
  op->next = list->head;
  if (list->head)
    list->head->prev = op;
  else
    list->tail = op;
  list->head = op;
  list->count++;
}

void rt__ops_remove(rt__ops *list, rt_op *op) {
  RT__ASSERT(list->count > 0);
  if (op->prev)
    op->prev->next = op->next;
  else
    list->head = op->next;
  if (op->next)
    op->next->prev = op->prev;
  else
    list->tail = op->prev;
  op->next = op->prev = NULL;
  list->count--;
}
