/*
** rt.h - completions, completion groups and explicit state machines on io_uring.
**
** The library knows nothing of databases, and its only global state is counters and caches. Its words:
**
**   operation   one I/O (rt_op): a read, a write, an fsync, a timeout, ...
**   completion  what tracks it (rt_completion): finishes exactly once
**   group       a completion made of completions (rt_group): finishes when all its children have
**   loop        one queue of operations to one backend (rt_loop): io_uring, or plain system calls
**   pool        loops that are leased for the time of a batch (rt_pool)
**   step        a function that is called again and again until it says Done (rt_step_fn)
**   driver      what calls a step function and waits in between (rt_drive)
**
** Everything the caller hands in stays the caller's: operations, groups, files and buffers are embedded in
** the caller's own structures, nothing is allocated per operation, and all of them must stay where they are until
** the completion has finished. Members below a "private" line belong to the library.
**
** Errors are negative errno values. Every failure arrives through the completion, those found while submitting too.
**
** Threads: a loop is used by one thread at a time (a lease passes it on). Completions may be queried and waited for
** by any thread, and finished, failed or cancelled by any thread; a pool may be used by any thread.
*/
#ifndef RT_H
#define RT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define RT_MUST_USE __attribute__((warn_unused_result))
#else
#define RT_MUST_USE
#endif

typedef struct rt_completion rt_completion;
typedef struct rt_op rt_op;
typedef struct rt_group rt_group;
typedef struct rt_file rt_file;
typedef struct rt_loop rt_loop;
typedef struct rt_pool rt_pool;

/*
** ---- The three-way result ----------------------------------------------------------------------------------
**
** A step function returns Done (its out-value is valid now), IO (with exactly one completion: call again when that has
** finished) or an error. Calling it again too early is harmless and submits nothing twice.
*/
typedef struct rt_result {
  rt_completion *io; /* not NULL: IO, wait for this one                         */
  int error;         /* with io NULL: 0 is Done, a negative errno is an error   */
} rt_result;

RT_MUST_USE static inline rt_result rt_done(void) { return (rt_result){NULL, 0}; }
RT_MUST_USE static inline rt_result rt_io(rt_completion *c) { return (rt_result){c, 0}; }
RT_MUST_USE static inline rt_result rt_fail(int error) { return (rt_result){NULL, error}; }
RT_MUST_USE static inline bool rt_is_done(rt_result r) { return r.io == NULL && r.error == 0; }
RT_MUST_USE static inline bool rt_is_io(rt_result r) { return r.io != NULL; }
RT_MUST_USE static inline bool rt_is_error(rt_result r) { return r.io == NULL && r.error != 0; }

/* Evaluate expr once; pass IO and errors up unchanged; fall through only on Done. */
#define RT_RETURN_IF_IO(expr)                                                                                          \
  do {                                                                                                                 \
    rt_result rt__r = (expr);                                                                                          \
    if (!rt_is_done(rt__r)) return rt__r;                                                                              \
  } while (0)

/* The same, and put `saved` back into the lvalue `state` on IO and on error, not on Done. */
#define RT_RETURN_AND_RESTORE_IF_IO(state, saved, expr)                                                                \
  do {                                                                                                                 \
    rt_result rt__r = (expr);                                                                                          \
    if (!rt_is_done(rt__r)) {                                                                                          \
      (state) = (saved);                                                                                               \
      return rt__r;                                                                                                    \
    }                                                                                                                  \
  } while (0)

/* One statement: give this completion to the driver. */
#define RT_YIELD_ONE(completion) return rt_io(completion)

/*
** ---- Completions --------------------------------------------------------------------------------------------
*/
typedef enum rt_kind {
  RT_NONE = 0,
  RT_READ,
  RT_WRITE,
  RT_READV,
  RT_WRITEV,
  RT_FSYNC,
  RT_FDATASYNC,
  RT_TRUNCATE,
  RT_ALLOCATE,
  RT_ADVISE,
  RT_OPEN,
  RT_CLOSE,
  RT_TIMEOUT,
  RT_NOP,
  RT_YIELD,
  RT_GROUP,
  RT_EVENT, /* finished by the program itself: rt_event_init */
  RT_KIND_COUNT
} rt_kind;

/*
** Called once, when the completion's outcome is known and before anyone can see it as finished. `error` is 0 or the
** negative errno; the return value becomes the completion's error, so a callback of a successful read may turn it into
** a failure (checksum, short page) by returning a negative errno, and should return `error` otherwise. Never called
** inside rt_submit, rt_submit_group or the completion queue's own walk, but in rt_wait, rt_step, rt_run and rt_flush
** after these; it may submit more operations. That of an event or of a group of events runs in whatever call finishes
** the last of them.
*/
typedef int (*rt_callback)(rt_completion *c, int error, void *arg);

struct rt_completion {
  /* private */
  _Atomic uint32_t state;    /* enum rt__state in internal.h                */
  uint8_t kind;              /* rt_kind                                     */
  _Atomic uint8_t cancel;    /* enum rt__cancel: was cancellation asked for */
  int32_t error;             /* valid once finished                         */
  uint64_t bytes;            /* moved so far; final once finished           */
  _Atomic uint64_t expected; /* asked for                                   */
  rt_callback callback;
  void *arg;
  _Atomic(rt_group *) parent;       /* the group it is a child of                  */
  _Atomic(rt_completion *) sibling; /* next child of that group                    */
  rt_completion *next_ready;        /* outcome known, callback still to run        */
  _Atomic(rt_loop *) loop;          /* where it was submitted; NULL: nowhere yet   */
  uint64_t live;                    /* debug builds: marks a completion in use     */
};

/* Does nothing more happen to it? True only after the callback's effects are visible. A yield is always finished. */
RT_MUST_USE bool rt_finished(const rt_completion *c);
/* finished without error / finished with one. Both false while pending. */
RT_MUST_USE bool rt_succeeded(const rt_completion *c);
RT_MUST_USE bool rt_failed(const rt_completion *c);
/* 0 while pending and after success, else the negative errno. */
RT_MUST_USE int rt_error(const rt_completion *c);
/* Bytes moved (0 while pending) and bytes asked for. A group's are the sums of its children's. */
RT_MUST_USE uint64_t rt_bytes(const rt_completion *c);
RT_MUST_USE uint64_t rt_expected(const rt_completion *c);
RT_MUST_USE static inline rt_kind rt_kind_of(const rt_completion *c) { return (rt_kind)c->kind; }

/* The yield completion: already finished, never allocated. It says "call me again later, let others run". */
rt_completion *rt_yield(void);

/* The usual last line of a state: Done if c succeeded, its error if it failed, otherwise IO(c). */
RT_MUST_USE rt_result rt_await(rt_completion *c);

/*
** A completion with no operation behind it, finished by the program itself from any thread (an external event).
** The first of rt_complete, rt_complete_error and rt_cancel wins; later ones change nothing and return false.
*/
void rt_event_init(rt_completion *c, rt_callback callback, void *arg);
bool rt_complete(rt_completion *c, uint64_t bytes);
bool rt_complete_error(rt_completion *c, int error);

/*
** Ask for cancellation. An operation that was not handed to the kernel finishes with -ECANCELED; one that is there
** finishes only when the kernel no longer touches its buffer, and if it succeeded after all it says so. Group: all
** children, recursively, those added later too. From any thread; the completion and the loop it was submitted to must
** stay for the length of the call.
*/
void rt_cancel(rt_completion *c);

/*
** ---- Files --------------------------------------------------------------------------------------------------
**
** A file is reached by a descriptor, and by inline operations that the caller supplies. One that has both uses the
** descriptor in rings only, and the inline operations whenever an operation does not take the ring or the kernel gives
** one up there.
*/

/*
** Carries out op (kind, file, buffers, length and offset are set) at once. Returns the bytes moved, or 0 for kinds that
** move none, or a negative errno. It resumes short transfers itself: its result is final. A read past the end returns
** the short count.
*/
typedef int64_t (*rt_inline_fn)(rt_op *op);

/* What the file system is like with rings; rt_probe_traits_fd finds out. */
enum {
  RT_FILE_READS_PUNT = 1,  /* ring reads always go to a worker thread (tmpfs, overlayfs)  */
  RT_FILE_STREAM = 2,      /* pipe, socket, terminal: has no offsets, may block for ever; one transfer is enough */
  RT_FILE_READS_UNSAFE = 4 /* ring reads may return wrong bytes and call it success (FUSE): they never take a ring */
};

struct rt_file {
  int fd;                 /* or -1: no ring                                               */
  rt_inline_fn inline_fn; /* or NULL: system calls on fd                                  */
  unsigned traits;        /* RT_FILE_*                                                    */
  uint32_t inline_max;    /* bytes that inline_fn's system call moves at most; 0: any     */
};

/* System calls and rings on a descriptor; it stays the caller's. Sets RT_FILE_STREAM, no other trait. */
void rt_file_init_fd(rt_file *f, int fd);
/*
** A regular file that somebody else has open (fd -1: inline only). Rings use the number as it is and so share its open
** file description: a write-back error that its fsync would report is reported to the ring's, access was checked when
** it was opened, and POSIX locks stay, since nothing is opened or closed. The descriptor stays the caller's; it must be
** this file's whenever an operation is submitted, and may be closed as soon as none is in flight. Sets no trait:
** rt_probe_traits_fd.
*/
void rt_file_init_shared(rt_file *f, int fd, rt_inline_fn inline_fn);
/* The traits of the file system of an open regular file. Asks by fstatfs(2) and a read behind any end of the file,
** which transfers nothing; opens and closes nothing. */
unsigned rt_probe_traits_fd(int fd);

/*
** Reads what the kernel has in its page cache, at once and without waiting for a device (preadv2 with RWF_NOWAIT). So
** it is a read and the question whether one has to wait for it, for the price of the read. Returns the bytes, fewer at
** the end of the file or where the next page is not there; or a negative errno: -EAGAIN, the first page is not there
** (the kernel has begun to read it); -EOPNOTSUPP, this file cannot be asked (tmpfs, overlayfs, FUSE, and others without
** FMODE_NOWAIT). For any thread; buf is the caller's; nothing is counted, see rt_count_reads.
*/
RT_MUST_USE int64_t rt_read_cached(const rt_file *f, void *buf, uint64_t length, uint64_t offset);
/*
** Are these bytes (length > 0) in the page cache, or on their way there? 1, 0 or a negative errno. One system call:
** cachestat, since Linux 6.5. Before, or where it is not permitted, the first byte is asked for as by rt_read_cached,
** and where that cannot be asked, mincore on a mapping of its page, which answers 1 to a user who neither owns the file
** nor may write to it. For any thread.
*/
RT_MUST_USE int rt_is_cached(const rt_file *f, uint64_t offset, uint64_t length);
/* Adds reads that were made without an operation, and their bytes, to the process's statistics as inline ones. */
void rt_count_reads(uint64_t reads, uint64_t bytes);

/*
** ---- Operations ---------------------------------------------------------------------------------------------
**
** Prepare, then submit. Preparing an operation that is live is a programmer error (asserted).
** Reads resume short transfers up to the end of the file: a short count there is success. Writes resume until all is
** written; no progress is -EIO with the byte count kept.
*/
struct rt_op {
  rt_completion c;
  /* read by inline functions and backends, written by rt_prep_* */
  rt_file *file;
  void *buf;               /* RT_READ, RT_WRITE; path for RT_OPEN               */
  const struct iovec *iov; /* RT_READV, RT_WRITEV                               */
  uint32_t iov_count;
  uint32_t flags;       /* open flags, advice, fallocate mode                */
  uint64_t length;      /* bytes                                             */
  uint64_t offset;      /* bytes; RT_TRUNCATE: the new size                  */
  uint64_t deadline_ns; /* CLOCK_MONOTONIC, 0: none                          */
  /* private */
  rt_op *after;         /* must have succeeded before this one starts; NULL once it has */
  rt_op *then;          /* is to start after this one                                   */
  rt_op *next, *prev;   /* the loop's list it is on                                     */
  uint64_t start_ns;    /* for the latency histogram                                    */
  uint8_t phase;        /* enum rt__phase in internal.h                                 */
  uint8_t tries;        /* attempts repeated without progress                           */
  uint8_t marks;        /* RT__OP_* in internal.h                                       */
  uint64_t private_[3]; /* of the loop's backend                                        */
};

void rt_prep_read(rt_op *op, rt_file *f, void *buf, uint64_t length, uint64_t offset);
void rt_prep_write(rt_op *op, rt_file *f, const void *buf, uint64_t length, uint64_t offset);
void rt_prep_readv(rt_op *op, rt_file *f, const struct iovec *iov, uint32_t iov_count, uint64_t offset);
void rt_prep_writev(rt_op *op, rt_file *f, const struct iovec *iov, uint32_t iov_count, uint64_t offset);
void rt_prep_fsync(rt_op *op, rt_file *f);
void rt_prep_fdatasync(rt_op *op, rt_file *f);
void rt_prep_truncate(rt_op *op, rt_file *f, uint64_t size);
void rt_prep_allocate(rt_op *op, rt_file *f, uint32_t mode, uint64_t offset, uint64_t length);
void rt_prep_advise(rt_op *op, rt_file *f, uint32_t advice, uint64_t offset, uint64_t length);
/* Opens path and sets f->fd to a close-on-exec descriptor. mode as in open(2). */
void rt_prep_open(rt_op *op, rt_file *f, const char *path, uint32_t flags, uint32_t mode);
/* Closes f->fd and sets it to -1. */
void rt_prep_close(rt_op *op, rt_file *f);
/* Succeeds after delay_ns. */
void rt_prep_timeout(rt_op *op, uint64_t delay_ns);
void rt_prep_nop(rt_op *op);

/* CLOCK_MONOTONIC in nanoseconds, the clock of deadlines. */
uint64_t rt_now_ns(void);

/* After rt_prep_*, before submitting. */
void rt_on_finish(rt_op *op, rt_callback callback, void *arg);
/* At the deadline the operation is asked to cancel and will report -ETIME, unless it finishes as usual before that. */
void rt_set_deadline(rt_op *op, uint64_t deadline_ns);
/* op starts only after `before` has succeeded; if that fails, op finishes with -ECANCELED. Both are submitted to one
** loop, `before` directly ahead of op, and `before` must stay until op has finished. On the ring both are one
** submission (IOSQE_IO_LINK); a short write that breaks the link is resumed, and op runs after it. */
void rt_order_after(rt_op *op, rt_op *before);

/*
** ---- Groups --------------------------------------------------------------------------------------------------
**
** Add children (in any state: new, pending, finished, failed), then build. The group finishes when it is built and all
** children have finished, never before, and children stay where they are until the group has finished. Its error is
** that of the first added child that failed; with the other policies one that failed of itself goes before one that was
** cancelled for it. A group's outcome is only its children's: cancelled without any child left to cancel, it still
** succeeds. One thread at a time adds and builds; children may be finishing meanwhile on others.
*/
typedef enum rt_group_policy {
  RT_ALL = 0,        /* wait for all, report the first added that failed          */
  RT_ABORT_ON_ERROR, /* the same, and cancel the siblings at the first failure    */
  RT_ANY             /* succeed with the first success, cancel the siblings, wait for them */
} rt_group_policy;

struct rt_group {
  rt_completion c;
  /* private */
  _Atomic(rt_completion *) first;
  rt_completion *last;
  _Atomic uint32_t pending; /* unfinished children, and a lot while it is not built */
  uint32_t count;           /* children                                            */
  uint8_t policy;           /* rt_group_policy                                     */
  bool built;
  _Atomic bool decided; /* RT_ABORT_ON_ERROR, RT_ANY: the siblings were cancelled  */
  uint64_t deadline_ns; /* CLOCK_MONOTONIC, 0: none                                */
};

void rt_group_init(rt_group *g, rt_group_policy policy, rt_callback callback, void *arg);
/* 0, or -EINVAL if child is in a group already or g is built, or -ECANCELED if g was cancelled (child is cancelled with
** it). */
RT_MUST_USE int rt_group_add(rt_group *g, rt_completion *child);
/* No more children. An empty group succeeds now. */
void rt_group_build(rt_group *g);
/* Before submitting: at the deadline every unfinished child is asked to cancel and reports -ETIME. */
void rt_group_set_deadline(rt_group *g, uint64_t deadline_ns);

/*
** ---- Loops ---------------------------------------------------------------------------------------------------
*/
typedef enum rt_backend_choice {
  RT_BACKEND_AUTO = 0, /* io_uring where it works, else system calls; per operation what the routing table says */
  RT_BACKEND_URING,    /* io_uring for everything it can do; fails to open where it cannot be had */
  RT_BACKEND_SYNC      /* system calls (or the file's inline operations), finished at submit      */
} rt_backend_choice;

typedef struct rt_loop_options {
  rt_backend_choice backend;
  unsigned entries; /* submission queue size and bound on operations in flight; 0: 64 */
  bool patient;     /* Waiting returns to user space only when a whole group is through, and a cancellation asked for by
                    ** another thread is passed on late. Right for batches on disk files; leased loops are so. */
} rt_loop_options;

/* Opens a loop. 0 or a negative errno (-EPERM: forbidden by seccomp or sysctl, -ENOSYS: no io_uring in this kernel,
** -ENOMEM: RLIMIT_MEMLOCK, -EMFILE). RT_BACKEND_AUTO does not fail for these. */
RT_MUST_USE int rt_loop_open(rt_loop **loop, const rt_loop_options *options);
/* Waits for everything in flight, then closes. NULL is fine. */
void rt_loop_close(rt_loop *loop);
/* RT_BACKEND_URING or RT_BACKEND_SYNC: what it became. */
RT_MUST_USE rt_backend_choice rt_loop_backend(const rt_loop *loop);
/* The shared synchronous loop: stateless, any number of threads at once. */
rt_loop *rt_sync_loop(void);

/* Queue an operation. Inline ones are finished on return (one with a callback: at the next rt_wait, rt_step, rt_run or
** rt_flush). Never fails and never recurses: errors arrive through the completion. An operation that was cancelled
** before is finished already. */
void rt_submit(rt_loop *loop, rt_op *op);
/* Queue every operation among g's children that was not submitted yet, in the order they were added, as one batch, and
** build g. Child groups likewise. */
void rt_submit_group(rt_loop *loop, rt_group *g);
/* Hand what is queued to the kernel without waiting, and run the callbacks that are due. */
void rt_flush(rt_loop *loop);
/* Wait for c with one io_uring_enter for submitting and waiting where nothing interferes; returns rt_error(c). loop may
** be NULL if c is finished by other threads. It may be used inside a callback, but not for what that callback is
** about. */
int rt_wait(rt_loop *loop, rt_completion *c);
/* Drive whatever is in flight until nothing is. */
void rt_run(rt_loop *loop);
/* One round: hand over what is queued, wait at most timeout_ns for a completion (0: do not wait), finish at most max of
** them. Returns how many were finished. */
unsigned rt_step(rt_loop *loop, uint64_t timeout_ns, unsigned max);
RT_MUST_USE unsigned rt_in_flight(const rt_loop *loop);

/*
** Carries out an operation here and now by its file's inline_fn; returns rt_error(). For one that is freshly prepared,
** has no callback, order, deadline or group, and that no other thread knows of: then nothing has to be queued or waited
** for, and this is the cheapest way there is. The caller has asked rt_route_ring.
*/
int rt_run_inline(rt_op *op);

/*
** ---- Ring or inline ------------------------------------------------------------------------------------------
**
** The one place that decides, from the table in route.c.
*/
typedef struct rt_work {
  rt_kind kind;   /* RT_READ or RT_WRITE                                     */
  bool sync;      /* an fsync is ordered behind the writes                   */
  unsigned count; /* operations that can be in flight together               */
  uint64_t bytes; /* of all of them                                          */
} rt_work;

/* Does a loop opened with `backend` take the ring for this work on this file? (A pool may still have none:
** rt_pool_lease.) */
RT_MUST_USE bool rt_route_ring(rt_backend_choice backend, const rt_file *f, const rt_work *work);

/*
** ---- Pools ---------------------------------------------------------------------------------------------------
**
** Rings are leased for the time of a batch and given back drained. Made lazily, last in first out.
**
** Two things may be refused. A ring: for good (forbidden, no io_uring in this kernel), or for want of memory or
** descriptors. And a worker thread of the kernel, which carries out what cannot be done without waiting (writes, syncs,
** reads where RT_FILE_READS_PUNT is set): at the limits RLIMIT_NPROC and pids.max io_uring_setup succeeds, but such an
** operation ends after some 50 ms, not carried out. The operation goes inline then, and so does all that needs what was
** refused, until it is asked for again at growing intervals.
*/
typedef struct rt_pool_options {
  unsigned max_rings; /* 0: 8 */
  unsigned entries;   /* per ring; 0: 64 (8 KiB of RLIMIT_MEMLOCK) */
} rt_pool_options;

RT_MUST_USE int rt_pool_open(rt_pool **pool, const rt_pool_options *options);
/* All leases must have been given back. */
void rt_pool_close(rt_pool *pool);
/* Closes the rings that are idle; what is known of the kernel stays. Rings that are leased come back later and are
** kept: who wants none left when nobody has a file open trims when the last batch has been given back. A ring that is
** closed ends the next epoll_wait of every thread that has used it with EINTR, some milliseconds later: not for each
** batch. */
void rt_pool_trim(rt_pool *pool);
/* What is known without asking the kernel, so no ring is made: 1: a ring was made once; 0: none was wanted yet; a
** negative errno: why none could be made, the last time it was tried. */
RT_MUST_USE int rt_pool_state(rt_pool *pool);

/* What the kernel may refuse a pool, see above. */
typedef enum rt_refusal { RT_REFUSED_NOTHING = 0, RT_REFUSED_RING, RT_REFUSED_WORKER } rt_refusal;
/* For a log: each kind of refusal is told once in a pool's life, to whoever asks first after it has happened. *error: a
** negative errno, that of clone(2) for a worker. No lock and no system call as long as there is nothing to tell. */
RT_MUST_USE rt_refusal rt_pool_take_notice(rt_pool *pool, int *error);
/* Can a ring be had at all? Makes the pool's first, with a NOP through io_uring_enter; 0 if there is one, or the
** negative errno. Where io_uring is forbidden the kernel is asked once; a shortage (-ENOMEM, -EMFILE) passes and is
** asked about again, at growing intervals. */
RT_MUST_USE int rt_pool_probe(rt_pool *pool);
/* A loop for this work: a ring if rt_route_ring says so and one can be had, with a worker if it takes one; otherwise
** rt_sync_loop(). Never NULL, never blocks. */
RT_MUST_USE rt_loop *rt_pool_lease(rt_pool *pool, rt_backend_choice backend, const rt_file *f, const rt_work *work);
/* Gives it back; waits for whatever is still in flight. */
void rt_pool_release(rt_pool *pool, rt_loop *loop);
/* In the child of a fork, after rt_pool_before_fork in the parent: forgets the rings without touching their memory.
** Async-signal-safe. */
void rt_pool_after_fork(rt_pool *pool);
/* In the parent around fork(2): no ring is created while the process is copied. */
void rt_pool_before_fork(rt_pool *pool);
void rt_pool_after_fork_parent(rt_pool *pool);

/*
** ---- Step functions and their driver -------------------------------------------------------------------------
*/
typedef rt_result (*rt_step_fn)(void *machine);

/* Waits until c has finished. arg is the driver's. */
typedef void (*rt_wait_fn)(rt_completion *c, void *arg);

/* Calls step until it is Done (0) or fails (negative errno), waiting in between. A yield is answered by calling
** again. */
int rt_drive(rt_step_fn step, void *machine, rt_wait_fn wait, void *arg);

/*
** ---- State machines ------------------------------------------------------------------------------------------
**
** rt_machine is a step function with manners: a turn may say "go on" and is called again at once; a call that comes too
** early does not reach the turn; what comes after the end is a reported error; and the clean-up runs exactly once,
** however it ends.
*/
typedef enum rt_go { RT_GO_ON = 1, RT_GO_RESULT } rt_go;

typedef struct rt_turn {
  rt_go go;
  rt_result result; /* with RT_GO_RESULT */
} rt_turn;

/* What a turn returns. rt_turn_of takes what a callee (another machine, rt_await) said; on Done the machine is done
** too. */
RT_MUST_USE static inline rt_turn rt_turn_continue(void) { return (rt_turn){RT_GO_ON, {NULL, 0}}; }
RT_MUST_USE static inline rt_turn rt_turn_of(rt_result r) { return (rt_turn){RT_GO_RESULT, r}; }
RT_MUST_USE static inline rt_turn rt_turn_io(rt_completion *c) { return rt_turn_of(rt_io(c)); }
RT_MUST_USE static inline rt_turn rt_turn_done(void) { return rt_turn_of(rt_done()); }
RT_MUST_USE static inline rt_turn rt_turn_fail(int error) { return rt_turn_of(rt_fail(error)); }

/* In a turn: pass IO and errors of a callee up, fall through on Done. */
#define RT_TURN_IF_IO(expr)                                                                                            \
  do {                                                                                                                 \
    rt_result rt__r = (expr);                                                                                          \
    if (!rt_is_done(rt__r)) return rt_turn_of(rt__r);                                                                  \
  } while (0)

typedef struct rt_machine {
  rt_turn (*turn)(void *self);
  void (*cleanup)(void *self); /* or NULL; runs once: at Done, at an error, or when abandoned */
  void *self;
  /* private */
  rt_completion *waiting; /* what the last turn returned                */
  int error;
  uint8_t status; /* enum in machine.c                          */
} rt_machine;

void rt_machine_init(rt_machine *m, rt_turn (*turn)(void *self), void (*cleanup)(void *self), void *self);
/* A step function (rt_step_fn); m is an rt_machine. After Done it answers -EALREADY, after an error or when abandoned
** -ENOTRECOVERABLE: neither calls the turn. A machine that goes on very long without waiting is made to yield now and
** then. */
rt_result rt_machine_step(void *m);
/* Gives the machine up. A step function too: cancels what it waits for, waits for that (the kernel may still be writing
** into its buffers), cleans up, Done. A nested machine is abandoned in its parent's clean-up, when nothing is in flight
** any more. */
rt_result rt_machine_abandon(void *m);

/*
** ---- Statistics ----------------------------------------------------------------------------------------------
*/
enum { RT_BUCKETS = 16 };

typedef struct rt_stats {
  uint64_t ops[RT_KIND_COUNT];        /* finished, by kind                           */
  uint64_t inline_ops[RT_KIND_COUNT]; /* of these, without the ring              */
  uint64_t bytes[RT_KIND_COUNT];
  uint64_t errors[RT_KIND_COUNT];
  uint64_t resumed;                 /* short transfers that were continued          */
  uint64_t redone;                  /* EFAULT and ECANCELED that nobody asked for   */
  uint64_t enters;                  /* io_uring_enter calls                         */
  uint64_t batches;                 /* groups submitted                             */
  uint64_t batch_ops;               /* operations in them                           */
  uint64_t batch_sizes[RT_BUCKETS]; /* groups by their number of operations, bucket i: below 2^(i+1) */
  uint64_t depths[RT_BUCKETS];      /* io_uring_enter calls by the number in flight, likewise       */
  uint64_t rings;                   /* rings created                                */
} rt_stats;

/* Sums over all loops of the process, since start. Cheap relaxed counters: values may be a little apart from one
** another. */
void rt_stats_read(rt_stats *stats);

/* How long operations took from submission to their outcome: bucket i counts those below 2^(i+1) ns, the last the rest.
** Counted only while switched on (two clock readings per operation). */
enum { RT_LATENCY_BUCKETS = 40 };
typedef struct rt_latency {
  uint64_t count[RT_KIND_COUNT][RT_LATENCY_BUCKETS];
} rt_latency;
void rt_latency_enable(bool on);
void rt_latency_read(rt_latency *latency);

/* Called for every operation when its outcome is known, on the thread that found it, before its callback; it must not
** submit anything. One at a time for the whole process, set while no operation is in flight; NULL: none, at the price
** of one load per operation. */
typedef struct rt_trace_event {
  const rt_op *op;
  int error;
  bool inline_op;
  uint64_t latency_ns;
} rt_trace_event;
typedef void (*rt_trace_fn)(const rt_trace_event *event, void *arg);
void rt_trace(rt_trace_fn fn, void *arg);

#ifdef __cplusplus
}
#endif
#endif
