/*
** backend_sync.c - plain system calls: the reference, and the fallback where io_uring cannot be had.
*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "backend.h"

#include <fcntl.h>
#include <liburing.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static int64_t result(int64_t r) { return r < 0 ? -errno : r; }

static int64_t k_read(int fd, void *buf, uint64_t length, int64_t offset) {
  return result(offset < 0 ? read(fd, buf, length) : pread(fd, buf, length, offset));
}
static int64_t k_write(int fd, const void *buf, uint64_t length, int64_t offset) {
  return result(offset < 0 ? write(fd, buf, length) : pwrite(fd, buf, length, offset));
}
static int64_t k_readv(int fd, const struct iovec *iov, unsigned count, int64_t offset) {
  return result(offset < 0 ? readv(fd, iov, (int)count) : preadv(fd, iov, (int)count, offset));
}
static int64_t k_writev(int fd, const struct iovec *iov, unsigned count, int64_t offset) {
  return result(offset < 0 ? writev(fd, iov, (int)count) : pwritev(fd, iov, (int)count, offset));
}
static int k_fsync(int fd) { return (int)result(fsync(fd)); }
static int k_fdatasync(int fd) { return (int)result(fdatasync(fd)); }
static int k_truncate(int fd, uint64_t size) { return (int)result(ftruncate(fd, (off_t)size)); }
static int k_allocate(int fd, unsigned mode, uint64_t offset, uint64_t length) {
  return (int)result(fallocate(fd, (int)mode, (off_t)offset, (off_t)length));
}
static int k_advise(int fd, uint64_t offset, uint64_t length, unsigned advice) {
  return -posix_fadvise(fd, (off_t)offset, (off_t)length, (int)advice);
}
static int k_open(const char *path, unsigned flags, unsigned mode) { return (int)result(open(path, (int)flags, mode)); }
static int k_close(int fd) { return (int)result(close(fd)); }
static int k_sleep_until(uint64_t until_ns) {
  struct timespec ts = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR) continue;
  return 0;
}

/* A program that has closed its standard streams still writes to 0, 1 and 2. */
int rt__above_stdio(int fd) {
  if (fd < 0 || fd > STDERR_FILENO) return fd;
  int above = (int)result(fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
  close(fd);
  return above;
}

static int k_uring_setup(unsigned entries, struct io_uring *ring, struct io_uring_params *params) {
  int r = io_uring_queue_init_params(entries, ring, params);
  if (r < 0 || ring->ring_fd > STDERR_FILENO) return r;
  int fd = rt__above_stdio(ring->ring_fd);
  if (fd < 0) {
    ring->ring_fd = ring->enter_ring_fd = -1;
    io_uring_queue_exit(ring);
    return fd;
  }
  ring->ring_fd = ring->enter_ring_fd = fd;
  return r;
}
static int k_uring_enter(int fd, unsigned submit, unsigned wait_nr, unsigned flags, void *arg, size_t size) {
  return io_uring_enter2((unsigned)fd, submit, wait_nr, flags, arg, size);
}

const rt__calls rt__kernel_calls = {
    .read = k_read,
    .write = k_write,
    .readv = k_readv,
    .writev = k_writev,
    .fsync = k_fsync,
    .fdatasync = k_fdatasync,
    .truncate = k_truncate,
    .allocate = k_allocate,
    .advise = k_advise,
    .open = k_open,
    .close = k_close,
    .sleep_until = k_sleep_until,
    .now_ns = rt_now_ns,
    .uring_setup = k_uring_setup,
    .uring_enter = k_uring_enter,
};

const rt__calls *rt__calls_now = &rt__kernel_calls;

static int64_t transfer(const rt__calls *k, const rt_op *op, int fd) {
  if (!op->file) return -EBADF;
  rt__span s = rt__op_span(op);
  int64_t offset = (op->file->traits & RT_FILE_STREAM) ? -1 : (int64_t)s.offset;
  if (rt__is_read((rt_kind)op->c.kind))
    return s.iov ? k->readv(fd, s.iov, s.iov_count, offset) : k->read(fd, s.buf, s.length, offset);
  return s.iov ? k->writev(fd, s.iov, s.iov_count, offset) : k->write(fd, s.buf, s.length, offset);
}

int64_t rt__sync_call(rt_loop *loop, rt_op *op) {
  const rt__calls *k = rt__calls_now;
  int fd = op->file ? op->file->fd : -1;
  (void)loop;
  switch ((rt_kind)op->c.kind) {
  case RT_READ:
  case RT_WRITE:
  case RT_READV:
  case RT_WRITEV: return transfer(k, op, fd);
  case RT_FSYNC: return k->fsync(fd);
  case RT_FDATASYNC: return k->fdatasync(fd);
  case RT_TRUNCATE: return k->truncate(fd, op->offset);
  case RT_ALLOCATE: return k->allocate(fd, op->flags, op->offset, op->length);
  case RT_ADVISE: return k->advise(fd, op->offset, op->length, op->flags);
  case RT_OPEN: return k->open(op->buf, op->flags | O_CLOEXEC, (unsigned)op->length);
  case RT_CLOSE: return k->close(fd);
  case RT_TIMEOUT: return k->sleep_until(rt_now_ns() + op->length);
  case RT_NOP: return 0;
  default: return -EINVAL;
  }
}

uint64_t rt__sync_now(rt_loop *loop) {
  (void)loop;
  return rt_now_ns();
}

const rt__backend rt__sync_backend = {.name = "sync", .call = rt__sync_call, .now_ns = rt__sync_now};
