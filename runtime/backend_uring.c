/*
** backend_uring.c - io_uring.
**
** Set-up flags: COOP_TASKRUN (no interrupts for completions: the thread asks for them itself), SUBMIT_ALL (a bad entry
** does not cut a submission, and with it a chain, in two). Not SINGLE_ISSUER and DEFER_TASKRUN: a leased ring is used
** by one thread after another. Where a kernel knows neither, the ring is made without.
**
** The submission queue is filled in hand_over (loop.c) and entered together with the wait. The kernel builds a chain
** (IOSQE_IO_LINK) only within one submission, so a submission that the kernel takes in part only may cut a chain;
** cut_chain sees to that.
*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "backend.h"

#include <fcntl.h>
#include <liburing.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_include) && !defined(__cppcheck__)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif
#endif

typedef struct uring {
  rt_loop loop;
  struct io_uring ring;
  struct io_uring_sqe *last; /* the attempt queued last and not entered yet, for linking */
  int wake_fd;               /* eventfd, or -1: never needed yet                         */
  bool wake_armed;           /* a poll of it is in the ring                              */
  bool dead;                 /* io_uring_enter is forbidden from now on                  */
  bool worked;               /* worker threads of the kernel may have had requests       */
} uring;

/* user_data that is no operation's address */
enum { UD_CANCEL = 0, UD_WAKE = 1, UD_PROBE = 2, UD_LAST = 2 };

static inline uring *uring_of(rt_loop *loop) { return (uring *)loop; }
_Static_assert(offsetof(uring, loop) == 0, "a loop comes first in its backend");

#define MAX_TRANSFER 0x7ffff000u /* what Linux moves at most in one call: MAX_RW_COUNT */
#define PAUSE_NS     50000u

static const uint8_t opcodes[RT_KIND_COUNT] = {
    [RT_READ] = IORING_OP_READ,          [RT_WRITE] = IORING_OP_WRITE,    [RT_READV] = IORING_OP_READV,
    [RT_WRITEV] = IORING_OP_WRITEV,      [RT_FSYNC] = IORING_OP_FSYNC,    [RT_FDATASYNC] = IORING_OP_FSYNC,
    [RT_ALLOCATE] = IORING_OP_FALLOCATE, [RT_ADVISE] = IORING_OP_FADVISE, [RT_OPEN] = IORING_OP_OPENAT,
    [RT_CLOSE] = IORING_OP_CLOSE,        [RT_NOP] = IORING_OP_NOP,
};

/* Which of `opcodes` the kernel has, a bit per op code; asked once. Bit 63 says that it was asked: no op code here is
** that high. */
static _Atomic uint64_t kernel_opcodes;

static uint64_t ask_opcodes(struct io_uring *ring) {
  uint64_t known = atomic_load_explicit(&kernel_opcodes, memory_order_relaxed);
  if (known) return known;
  known = 1ull << 63;
  struct io_uring_probe *probe = io_uring_get_probe_ring(ring);
  for (int op = 0; probe && op < 63; op++)
    if (io_uring_opcode_supported(probe, op)) known |= 1ull << op;
  if (probe) {
    io_uring_free_probe(probe);
    atomic_store_explicit(&kernel_opcodes, known, memory_order_relaxed);
  }
  return known;
}

static bool kernel_has(unsigned opcode) {
  return (atomic_load_explicit(&kernel_opcodes, memory_order_relaxed) >> opcode) & 1;
}

static bool uring_can(const rt_loop *loop, rt_kind kind) {
  const uring *u = (const uring *)loop;
  if (u->dead || loop->foreign) return false;
  if (kind == RT_NOP) return true; /* op code 0 */
  return opcodes[kind] != 0 && kernel_has(opcodes[kind]);
}

/*
** ---- Entering
*/

/* Publishes the queued entries to the kernel's side of the queue; returns how many it has not taken yet. */
static unsigned publish_sqes(struct io_uring *ring) {
  struct io_uring_sq *sq = &ring->sq;
  unsigned tail = *sq->ktail; /* only we write it */
  while (sq->sqe_head != sq->sqe_tail) sq->array[tail++ & sq->ring_mask] = sq->sqe_head++ & sq->ring_mask;
  /* release: the kernel, reading the tail, must see the entries; on a ring without SQPOLL the system call would do as
  ** well */
  __atomic_store_n(sq->ktail, tail, __ATOMIC_RELEASE);
  return tail - __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE);
}

/*
** The kernel took the entries up to `next` and will take that one in a submission of its own. If it was linked behind
** the last one taken, it must not run: nothing holds it back any more. It becomes a no-op, and its attempt void
** (STALE).
*/
static void cut_chain(uring *u, unsigned next) {
  struct io_uring_sq *sq = &u->ring.sq;
  struct io_uring_sqe *taken = &sq->sqes[sq->array[(next - 1) & sq->ring_mask]];
  struct io_uring_sqe *left = &sq->sqes[sq->array[next & sq->ring_mask]];
  if (!(taken->flags & IOSQE_IO_LINK) || left->user_data <= UD_LAST) return;
  rt_op *op = (rt_op *)(uintptr_t)left->user_data;
  unsigned char flags = left->flags & IOSQE_IO_LINK;
  io_uring_prep_nop(left);
  left->flags = flags;
  io_uring_sqe_set_data(left, op);
  op->marks |= RT__OP_STALE;
}

static void pause_ns(uint64_t ns) {
  struct timespec ts = {0, (long)ns};
  nanosleep(&ts, NULL);
}

/* Entering is forbidden (seccomp, installed after the ring was made). What the kernel has not taken ends here. */
static void die(uring *u) {
  struct io_uring_sq *sq = &u->ring.sq;
  u->dead = true;
  unsigned head = __atomic_load_n(sq->khead, __ATOMIC_ACQUIRE), tail = *sq->ktail;
  for (; head != tail; head++) {
    struct io_uring_sqe *sqe = &sq->sqes[sq->array[head & sq->ring_mask]];
    if (sqe->user_data > UD_LAST) rt__attempt_done(&u->loop, (rt_op *)(uintptr_t)sqe->user_data, -ECANCELED);
  }
}

static bool needs_task_work(const struct io_uring *ring) {
  /* completions that only an enter brings into the queue: overflowed, or waiting as task work */
  return (__atomic_load_n(ring->sq.kflags, __ATOMIC_RELAXED) & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) != 0;
}

static void uring_enter(rt_loop *loop, unsigned wait_nr, uint64_t until_ns) {
  uring *u = uring_of(loop);
  struct io_uring *ring = &u->ring;
  if (u->dead) {
    if (wait_nr && io_uring_cq_ready(ring) == 0) pause_ns(PAUSE_NS); /* a system call that the task work can end in */
    return;
  }
  unsigned submit = publish_sqes(ring);
  u->last = NULL;
  unsigned ready = io_uring_cq_ready(ring);
  if (ready >= wait_nr || (ready > 0 && submit == 0)) wait_nr = 0;
  if (submit == 0 && wait_nr == 0 && !needs_task_work(ring)) return;

  struct __kernel_timespec ts = {0};
  struct io_uring_getevents_arg arg = {0};
  if (wait_nr && until_ns) {
    uint64_t now = rt_now_ns(), left = until_ns > now ? until_ns - now : 0;
    ts.tv_sec = (int64_t)(left / 1000000000u);
    ts.tv_nsec = (long long)(left % 1000000000u);
    arg.ts = (uint64_t)(uintptr_t)&ts;
  }
  unsigned head = __atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE);
  unsigned flags = IORING_ENTER_GETEVENTS;
  rt__count_enter(loop->started.count);
  int r = arg.ts ? rt__calls_now->uring_enter(ring->ring_fd, submit, wait_nr, flags | IORING_ENTER_EXT_ARG, &arg,
                                              sizeof(arg))
                 : rt__calls_now->uring_enter(ring->ring_fd, submit, wait_nr, flags, NULL, _NSIG / 8);
  unsigned taken = __atomic_load_n(ring->sq.khead, __ATOMIC_ACQUIRE) - head;
  if (taken > 0 && taken < submit) cut_chain(u, head + taken);
  if (r >= 0) return;
  switch (r) {
  case -EINTR: /* a signal: the caller comes round again */
  case -ETIME: return;
  case -EAGAIN:
  case -EBUSY:
  case -ENOBUFS: /* no memory for requests, or unreaped completions in the way: reaping is the caller's next step */
    if (io_uring_cq_ready(ring) == 0) pause_ns(PAUSE_NS);
    return;
  default: die(u);
  }
}

/*
** ---- Attempts
*/

/* A free submission queue entry, entering once if the queue is full. NULL: no room even so. */
static struct io_uring_sqe *free_sqe(uring *u) {
  struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
  if (sqe) return sqe;
  uring_enter(&u->loop, 0, 0);
  return io_uring_get_sqe(&u->ring);
}

static void prep_transfer(struct io_uring_sqe *sqe, const rt_op *op, int fd) {
  rt__span s = rt__op_span(op);
  uint64_t offset = (op->file->traits & RT_FILE_STREAM) ? UINT64_MAX : s.offset;
  unsigned length = s.length < MAX_TRANSFER ? (unsigned)s.length : MAX_TRANSFER;
  bool reads = rt__is_read((rt_kind)op->c.kind);
  if (s.iov && reads)
    io_uring_prep_readv(sqe, fd, s.iov, s.iov_count, offset);
  else if (s.iov)
    io_uring_prep_writev(sqe, fd, s.iov, s.iov_count, offset);
  else if (reads)
    io_uring_prep_read(sqe, fd, s.buf, length, offset);
  else
    io_uring_prep_write(sqe, fd, s.buf, length, offset);
}

static void fill(struct io_uring_sqe *sqe, rt_op *op) {
  const int fd = op->file ? op->file->fd : -1;
  switch ((rt_kind)op->c.kind) {
  case RT_FSYNC: io_uring_prep_fsync(sqe, fd, 0); break;
  case RT_FDATASYNC: io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC); break;
  case RT_ALLOCATE:
    io_uring_prep_rw(IORING_OP_FALLOCATE, sqe, fd, (const void *)(uintptr_t)op->length, op->flags, op->offset);
    break;
  case RT_ADVISE:
    /* its length is 32 bits wide; 0 means to the end of the file */
    io_uring_prep_fadvise(sqe, fd, op->offset, op->length > UINT32_MAX ? 0 : (off_t)op->length, (int)op->flags);
    break;
  case RT_OPEN: io_uring_prep_openat(sqe, AT_FDCWD, op->buf, (int)op->flags | O_CLOEXEC, (mode_t)op->length); break;
  case RT_CLOSE: io_uring_prep_close(sqe, fd); break;
  case RT_NOP: io_uring_prep_nop(sqe); break;
  default: prep_transfer(sqe, op, fd); break;
  }
  io_uring_sqe_set_data(sqe, op);
}

/* May the kernel hand it to a worker thread? Reads of disk files it does so seldom that let_workers_go need not
** care. */
static bool takes_worker(const rt_op *op) {
  if (op->file && (op->file->traits & RT_FILE_STREAM)) return true;
  return rt__worker_use((rt_kind)op->c.kind, op->file) == RT__WORKER_ALWAYS;
}

static bool uring_start(rt_loop *loop, rt_op *op, bool link) {
  uring *u = uring_of(loop);
  if (link && !u->last) return false;
  struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
  if (!sqe) return false;
  fill(sqe, op);
  /* Never IOSQE_IO_HARDLINK: an fsync behind it would succeed after a failed write. */
  if (link) u->last->flags |= IOSQE_IO_LINK;
  u->last = sqe;
  if (takes_worker(op)) u->worked = true;
  return true;
}

static void uring_cancel(rt_loop *loop, rt_op *op) {
  struct io_uring_sqe *sqe = free_sqe(uring_of(loop));
  if (!sqe) { /* try again in the next round */
    op->marks &= (uint8_t)~RT__OP_CANCEL_SENT;
    atomic_store(&loop->cancels, true);
    return;
  }
  uring_of(loop)->last = NULL; /* nothing is linked to this one */
  io_uring_prep_cancel64(sqe, (uint64_t)(uintptr_t)op, 0);
  sqe->user_data = UD_CANCEL;
}

/* Memory that the kernel has written into through a ring counts as uninitialised there. */
static void tell_valgrind(const rt_op *op, int res) {
#ifdef VALGRIND_MAKE_MEM_DEFINED
  if (res <= 0 || !rt__is_read((rt_kind)op->c.kind)) return;
  rt__span s = rt__op_span(op);
  uint64_t left = (uint64_t)res;
  if (s.buf) VALGRIND_MAKE_MEM_DEFINED(s.buf, left);
  for (uint32_t i = 0; s.iov && left > 0; i++) {
    uint64_t part = left < s.iov[i].iov_len ? left : s.iov[i].iov_len;
    VALGRIND_MAKE_MEM_DEFINED(s.iov[i].iov_base, part);
    left -= part;
  }
#else
  (void)op;
  (void)res;
#endif
}

static unsigned uring_reap(rt_loop *loop, unsigned max) {
  uring *u = uring_of(loop);
  unsigned n = 0;
  while (n < max && io_uring_cq_ready(&u->ring) > 0) {
    struct io_uring_cq *cq = &u->ring.cq;
    const struct io_uring_cqe *cqe = &cq->cqes[*cq->khead & cq->ring_mask];
    uint64_t data = cqe->user_data;
    int res = cqe->res;
    io_uring_cq_advance(&u->ring, 1); /* before it is acted upon: nothing below relies on the queue */
    if (data == UD_WAKE) {
      u->wake_armed = false;
      uint64_t count;
      ssize_t drained = read(u->wake_fd, &count, sizeof(count));
      (void)drained;
    } else if (data > UD_LAST) {
      rt_op *op = (rt_op *)(uintptr_t)data;
      tell_valgrind(op, res);
      rt__attempt_done(loop, op, res);
      n++;
    }
  }
  return n;
}

/*
** ---- Being woken. A poll of an eventfd lies in the ring, for as long as nobody wakes it; a wake-up uses it up.
*/
static bool uring_arm(rt_loop *loop) {
  uring *u = uring_of(loop);
  if (u->wake_armed) return true;
  if (u->dead) return false;
  if (u->wake_fd < 0) u->wake_fd = rt__above_stdio(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  struct io_uring_sqe *sqe = u->wake_fd < 0 ? NULL : free_sqe(u);
  if (!sqe) return false;
  io_uring_prep_poll_add(sqe, u->wake_fd, POLLIN);
  sqe->user_data = UD_WAKE;
  u->last = NULL;
  u->wake_armed = true;
  return true;
}

static void uring_wake(rt_loop *loop) {
  const uring *u = uring_of(loop);
  uint64_t one = 1;
  ssize_t written = u->wake_fd < 0 ? 0 : write(u->wake_fd, &one, sizeof(one));
  (void)written; /* full: it is signalled already */
}

static void take_back_wake(uring *u) {
  if (!u->wake_armed) return;
  uring_wake(&u->loop); /* its own way of ending */
  while (u->wake_armed && !u->dead) {
    uring_enter(&u->loop, 1, 0);
    uring_reap(&u->loop, UINT32_MAX);
  }
}

/*
** A worker thread of the kernel gives a request back to the thread that submitted it after it has posted the completion
** (io_uring.c, io_wq_free_work, io_free_req), by a notification that ends that thread's next epoll_wait with EINTR. No
** call waits for that, but leaving the kernel takes along the notifications that have come. Asking for the cancellation
** of whatever there is looks at every worker, which gives them the time; after two such calls hardly any notification
** is late (of writes whose completion was seen without entering the kernel, 2,900 in 3,000 before, 1 in 10,000 now).
** Before Linux 6.0 (which brought SEND_ZC, too) the kernel does not know the call and may take milliseconds to say so.
*/
static void let_workers_go(uring *u) {
  if (!u->worked || u->dead || !kernel_has(IORING_OP_SEND_ZC)) return;
  u->worked = false;
  struct io_uring_sync_cancel_reg all = {
      .fd = -1, .flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL, .timeout = {-1, -1}};
  for (int i = 0; i < 2; i++) (void)io_uring_register_sync_cancel(&u->ring, &all);
}

void rt__uring_quiesce(rt_loop *loop) {
  uring *u = uring_of(loop);
  if (loop->foreign) return;
  take_back_wake(u);
  let_workers_go(u);
}

/*
** ---- Opening and closing
*/
static int probe_enter(uring *u) {
  struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
  RT__ASSERT(sqe != NULL);
  io_uring_prep_nop(sqe);
  sqe->user_data = UD_PROBE;
  int r;
  do {
    r = rt__calls_now->uring_enter(u->ring.ring_fd, publish_sqes(&u->ring), 1, IORING_ENTER_GETEVENTS, NULL, _NSIG / 8);
    rt__count_enter(1);
  } while (r == -EINTR || r == -EAGAIN || r == -EBUSY || r == -ENOBUFS);
  if (r < 0) return r;
  if (io_uring_cq_ready(&u->ring) != 1) return -EIO;
  io_uring_cq_advance(&u->ring, 1);
  return 0;
}

static int set_up(unsigned entries, struct io_uring *ring) {
  static const unsigned wishes[] = {IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL, 0};
  int r = -EINVAL;
  for (unsigned i = 0; i < 2 && r == -EINVAL; i++) { /* EINVAL: the kernel does not know a flag */
    struct io_uring_params params = {.flags = wishes[i]};
    r = rt__calls_now->uring_setup(entries, ring, &params);
  }
  return r;
}

static void uring_close(rt_loop *loop) {
  uring *u = uring_of(loop);
  if (!loop->foreign) {
    rt__uring_quiesce(loop);
    io_uring_queue_exit(&u->ring);
    if (u->wake_fd >= 0) close(u->wake_fd);
  }
  free(u);
}

void rt__uring_forget(rt_loop *loop) {
  uring *u = uring_of(loop);
  loop->foreign = true;
  close(u->ring.ring_fd);
  if (u->wake_fd >= 0) close(u->wake_fd);
}

static const rt__backend uring_backend = {
    .name = "io_uring",
    .can = uring_can,
    .start = uring_start,
    .enter = uring_enter,
    .reap = uring_reap,
    .cancel = uring_cancel,
    .arm = uring_arm,
    .wake = uring_wake,
    .close = uring_close,
    .call = rt__sync_call,
    .now_ns = rt__sync_now,
};

int rt__uring_open(rt_loop **loop, rt_backend_choice choice, const rt_loop_options *options) {
  uring *u = calloc(1, sizeof(*u));
  if (!u) return -ENOMEM;
  rt__loop_init(&u->loop, &uring_backend, choice, options->entries);
  u->loop.patient = options->patient;
  u->wake_fd = -1;
  int r = set_up(u->loop.entries, &u->ring);
  if (r < 0) {
    free(u);
    return r;
  }
  /* waits with a time limit need EXT_ARG; kernels without it get the synchronous backend */
  r = (u->ring.features & IORING_FEAT_EXT_ARG) ? probe_enter(u) : -ENOSYS;
  if (r == 0) r = io_uring_ring_dontfork(&u->ring);
  if (r < 0) {
    io_uring_queue_exit(&u->ring);
    free(u);
    return r;
  }
  u->loop.entries = u->ring.sq.ring_entries;
  ask_opcodes(&u->ring);
  rt__count(RT__RINGS, 1);
  *loop = &u->loop;
  return 0;
}
