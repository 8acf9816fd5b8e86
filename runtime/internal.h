/*
** internal.h - what the files of the runtime share. Programs include rt.h only; tests may look in here.
*/
#ifndef RT_INTERNAL_H
#define RT_INTERNAL_H

#include "rt.h"

#include <errno.h>
#include <stdlib.h>

typedef struct rt__backend rt__backend;

/* Completions in use are marked and checked when they are prepared again. Where a sanitizer looks on anyway, always. */
#if defined(__SANITIZE_ADDRESS__) && !defined(RT_DEBUG)
#define RT_DEBUG 1
#endif

/* A programmer's error, checked in every build where it is cheap. Never for what kernel, disk or user hand in. */
void rt__assert_failed(const char *what, const char *file, int line) __attribute__((noreturn, cold));
#define RT__ASSERT(x) ((x) ? (void)0 : rt__assert_failed(#x, __FILE__, __LINE__))

/*
** ---- Completions ----
**
**   NEW --rt__begin--> PENDING --(loop)--------> FINISHED
**    |                    |                         ^
**    +---- rt__claim -----+---> FINISHING ----------+
**
** The low bits say which; the flags above are set by others meanwhile and read by whoever stores FINISHED.
*/
enum rt__state {
  RT__NEW = 0,
  RT__PENDING = 1,   /* submitted; groups and events: initialised                  */
  RT__FINISHING = 2, /* the outcome belongs to the one who set this                */
  RT__FINISHED = 3,
  RT__STATE_MASK = 3,
  RT__HAS_PARENT = 4,    /* the group must be told                                    */
  RT__SLEEPERS = 8,      /* threads sleep on the state word (futex)                   */
  RT__RING_SLEEPERS = 16 /* a loop sleeps for it: wake.c                           */
};

enum rt__cancel { RT__CANCEL_NONE = 0, RT__CANCEL_ASKED, RT__CANCEL_EXPIRED };

/* Completions whose outcome is known and whose callback has not run. */
typedef struct rt__ready {
  rt_completion *head, *tail;
  unsigned count;
} rt__ready;

/* While set, completions with a callback that finish on this thread are put there: callbacks run outside of walks and
** not in one another. */
rt__ready *rt__defer(rt__ready *list);
/* This thread's list for what no loop owns. */
rt__ready *rt__own_ready(void);
/* Runs the callback of the first one on the list. False if it was empty. */
bool rt__run_ready(rt__ready *list);

void rt__init(rt_completion *c, rt_kind kind, uint32_t state, rt_callback callback, void *arg);
/* NEW to PENDING. False: it was cancelled before. */
bool rt__begin(rt_completion *c, rt_loop *loop);
/* The caller alone decides the outcome. False: somebody else did. */
bool rt__claim(rt_completion *c);
/* The outcome is known: callback (now or deferred), publish, wake, tell the group. c may be gone when this returns. */
void rt__finish(rt_completion *c, int error);
void rt__cancel_as(rt_completion *c, enum rt__cancel how);

/* group.c: the one unfinished child fewer. True: g is through and *error its outcome. */
bool rt__group_child_done(rt_group *g, const rt_completion *child, int *error);
void rt__group_cancel(rt_group *g, enum rt__cancel how);

/* wake.c */
void rt__futex_sleep(rt_completion *c, uint64_t until_ns);
void rt__futex_wake(_Atomic uint32_t *word);
/* A loop about to sleep for a completion that others finish; the entry is the sleeper's. */
typedef struct rt__sleeper {
  const rt_completion *c;
  rt_loop *loop;
  struct rt__sleeper *next;
} rt__sleeper;
/* False: it has finished already. */
bool rt__sleeper_add(rt__sleeper *s, rt_completion *c, rt_loop *loop);
void rt__sleeper_remove(rt__sleeper *s);
void rt__sleepers_wake(const rt_completion *c);
/* In the parent around fork(2). */
void rt__sleepers_fork_lock(void);
void rt__sleepers_fork_unlock(void);
/* In the child. */
void rt__sleepers_after_fork(void);

/*
** ---- Operations and loops ----
**
** A loop makes attempts. An attempt is what the backend is asked once; an operation may need several (short transfers,
** EINTR, ...).
*/
enum rt__phase {
  RT__PH_NEW = 0,
  RT__PH_QUEUED,  /* on loop->queue: to be handed to the backend                  */
  RT__PH_HELD,    /* on loop->held: its predecessor is not through                */
  RT__PH_STARTED, /* on loop->started: the backend has an attempt of it           */
  RT__PH_TIMER,   /* on loop->timers                                              */
  RT__PH_OK,      /* the outcome is known: orders look at this, not at the callback's verdict */
  RT__PH_FAILED
};

enum {
  RT__OP_STALE = 1,         /* its running attempt may have overtaken its predecessor: void, to be repeated */
  RT__OP_BEFORE_FAILED = 2, /* its predecessor failed                                                       */
  RT__OP_CANCEL_SENT = 4,   /* the backend was asked to cancel the running attempt                          */
  RT__OP_TIMED = 8,         /* counted in loop->timed                                                       */
  RT__OP_LINKED = 16        /* its running attempt is linked behind its predecessor's                       */
};

typedef struct rt__ops {
  rt_op *head, *tail;
  unsigned count;
} rt__ops;

void rt__ops_push(rt__ops *list, rt_op *op);
void rt__ops_push_front(rt__ops *list, rt_op *op);
void rt__ops_remove(rt__ops *list, rt_op *op);

struct rt_loop {
  const rt__backend *backend;
  rt_backend_choice choice; /* AUTO: each operation is routed; URING: the ring for all it can do */
  bool patient;
  bool foreign; /* made before a fork(2) by the other process: must not be touched */
  bool leased;
  /* What a pool wants to know of a lease, and says to it: bits of enum rt__worker_use. */
  uint8_t no_worker;      /* operations like these go inline: the kernel could make no worker for one              */
  uint8_t worker_refused; /* ... and that was found out in this lease                                              */
  uint8_t worker_came;    /* the ring carried out operations like these                                            */
  uint8_t worker_trial;   /* this lease is to find out whether the kernel still refuses                           */
  unsigned entries;
  rt__ops queue, held, started, timers;
  rt__ready ready;
  unsigned timed;    /* operations with a deadline, and timers          */
  unsigned finished; /* operations without a callback finished, ever (wraps) */
  unsigned streams;  /* attempts on streams running                     */
  struct {
    uint8_t kind;
    uint64_t ops, bytes; /* went through the backend without error; not added to the sums yet */
  } tally;
  _Atomic bool cancels; /* somebody asked for a cancellation: look for it */
  _Atomic bool asleep;  /* in the backend, and woken by backend->wake     */
  rt_loop *pool_next;   /* idle rings of the pool                         */
  rt_loop *all_next;    /* all rings of the pool                          */
};

void rt__loop_init(rt_loop *loop, const rt__backend *backend, rt_backend_choice choice, unsigned entries);
/* The attempt of op that was started has ended with res, as a syscall would: bytes or a negative errno. */
void rt__attempt_done(rt_loop *loop, rt_op *op, int64_t res);
/* Carries op out at once, whatever attempts that takes. Returns its error. */
int rt__run_inline(rt_loop *loop, rt_op *op);
/* The outcome of op is known. op may be gone when this returns. */
void rt__op_finish(rt_loop *loop, rt_op *op, int error, bool inline_op);
/* -ECANCELED or -ETIME, whichever op was asked to cancel for; 0: it was not. */
int rt__cancel_error(const rt_op *op);
/* Somebody asked for a cancellation of one of the loop's operations; any thread. */
void rt__loop_ask(rt_loop *loop);
/* Cancellations, deadlines and timers that are due. */
void rt__serve(rt_loop *loop);
/* When the next deadline or timer is due; 0: none. */
uint64_t rt__next_due(const rt_loop *loop);

/* How operations on a ring depend on the kernel's worker threads. */
enum rt__worker_use {
  RT__WORKER_MAYBE = 1, /* only if something is in the way (a lock): reads   */
  RT__WORKER_ALWAYS = 2 /* writes, syncs, reads where all of them are punted */
};
/* One of these, or 0: never, or not to be reckoned with. */
unsigned rt__worker_use(rt_kind kind, const rt_file *f);

/* What the next attempt of a transfer covers: one buffer or several. */
typedef struct rt__span {
  void *buf; /* NULL: iov */
  const struct iovec *iov;
  uint32_t iov_count;
  uint64_t length; /* of buf */
  uint64_t offset;
} rt__span;
rt__span rt__op_span(const rt_op *op);

static inline bool rt__is_transfer(rt_kind k) { return k >= RT_READ && k <= RT_WRITEV; }
static inline bool rt__is_read(rt_kind k) { return k == RT_READ || k == RT_READV; }
static inline bool rt__is_write(rt_kind k) { return k == RT_WRITE || k == RT_WRITEV; }
static inline bool rt__is_sync(rt_kind k) { return k == RT_FSYNC || k == RT_FDATASYNC; }
static inline bool rt__is_op(rt_kind k) { return k >= RT_READ && k <= RT_NOP; }
static inline rt_op *rt__op_of(rt_completion *c) { return (rt_op *)c; }
static inline rt_group *rt__group_of(rt_completion *c) { return (rt_group *)c; }
_Static_assert(offsetof(rt_op, c) == 0 && offsetof(rt_group, c) == 0, "a completion comes first in what embeds it");

/* route.c */
enum rt__way { RT__WAY_INLINE, RT__WAY_RING, RT__WAY_EITHER };
/* Of an operation by itself: can it use this loop's backend, must it? */
enum rt__way rt__op_way(const rt_loop *loop, const rt_op *op);

/* stats.c */
enum rt__counter { RT__RESUMED, RT__REDONE, RT__ENTERS, RT__BATCHES, RT__BATCH_OPS, RT__RINGS, RT__COUNTERS };
void rt__count(enum rt__counter which, uint64_t n);
void rt__count_op(rt_loop *loop, const rt_op *op, bool inline_op, int error);
void rt__count_batch(unsigned ops);
void rt__count_enter(unsigned in_flight);
/* Does anybody want to know when operations start? */
extern _Atomic unsigned rt__observers;
/* One that was carried out inline. */
void rt__count_inline(rt_kind kind, uint64_t bytes, int error);
/* Adds to the sums what was counted in the loop. */
void rt__count_flush(rt_loop *loop);

#endif
