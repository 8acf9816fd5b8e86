/*
** pool.c - rings that are leased for the time of a batch.
**
** Idle rings are a stack (the one used last is warm). A ring is made when none is idle, up to a bound; where that fails
** for want of something (memory, descriptors) it is not tried again for a while, and where io_uring is forbidden never
** again. Nobody waits for a ring: the caller gets the synchronous loop instead.
**
** Likewise the kernel's worker threads. Where it can make none (RLIMIT_NPROC, pids.max), it tries for some 50 ms and
** then gives the operation up (io-wq.c, io_should_retry_thread, io_acct_cancel_pending_work; measured on 6.18: 48 ms).
** A lease in which that happened says so when it comes back (attempt.c, learn_of_workers), and no ring is leased for
** such work until one lease tries again.
**
** Fork: the parent holds the lock while the process is copied. The child forgets all rings; their memory is not there
** (DONTFORK), what is left of them is kept on a list only so that it is not lost for leak checkers.
*/
#include "backend.h"

#include <pthread.h>
#include <string.h>

#define MAX_RINGS 8

/* Something that the kernel refused, to be asked for again at intervals that double. */
typedef struct refusal {
  int error;            /* of the last time; 0: never refused, or had since          */
  uint64_t retry_ns;    /* not asked for before                                      */
  uint64_t interval_ns; /* the last one                                              */
} refusal;

typedef struct intervals {
  uint64_t first_ns, last_ns;
} intervals;

static const intervals ring_intervals = {10000000ull, 10000000000ull};      /* 10 ms to 10 s           */
static const intervals worker_intervals = {5000000000ull, 320000000000ull}; /* 5 s, since it costs 50 ms, to 5 min */

enum { MAYBE, ALWAYS, USES }; /* indices for the bits of enum rt__worker_use */
_Static_assert(RT__WORKER_MAYBE == 1 << MAYBE && RT__WORKER_ALWAYS == 1 << ALWAYS, "a bit for each use");

struct rt_pool {
  pthread_mutex_t mutex;
  rt_loop *idle;      /* by pool_next */
  rt_loop *all;       /* by all_next  */
  rt_loop *forgotten; /* after a fork: by all_next */
  unsigned rings, max_rings, entries;
  bool made;             /* a ring, once                                                  */
  int forbidden;         /* why io_uring cannot be had at all; 0: it can, or not known    */
  refusal ring;          /* for want of something                                         */
  refusal workers[USES]; /* by what asked for one                                         */
  _Atomic uint8_t news;  /* bits 1 << rt_refusal: happened, and to be told                */
  uint8_t told;          /* ... once                                                      */
};

int rt_pool_open(rt_pool **pool, const rt_pool_options *options) {
  rt_pool *p = calloc(1, sizeof(*p));
  *pool = p;
  if (!p) return -ENOMEM;
  p->max_rings = options && options->max_rings ? options->max_rings : MAX_RINGS;
  p->entries = options ? options->entries : 0;
  pthread_mutex_init(&p->mutex, NULL);
  return 0;
}

static void forget_ring(rt_pool *pool, const rt_loop *loop) {
  rt_loop **link = &pool->all;
  while (*link != loop) link = &(*link)->all_next;
  *link = loop->all_next;
  pool->rings--;
}

/* Under the lock, although that takes a while: a process that forks meanwhile would hand the descriptor down to its
** child. */
void rt_pool_trim(rt_pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  while (pool->idle) {
    rt_loop *loop = pool->idle;
    pool->idle = loop->pool_next;
    forget_ring(pool, loop);
    loop->backend->close(loop); /* not rt_loop_close: it would run this thread's callbacks */
  }
  pthread_mutex_unlock(&pool->mutex);
}

void rt_pool_close(rt_pool *pool) {
  if (!pool) return;
  rt_pool_trim(pool);
  RT__ASSERT(pool->rings == 0); /* all leases were given back */
  while (pool->forgotten) {
    rt_loop *loop = pool->forgotten;
    pool->forgotten = loop->all_next;
    loop->backend->close(loop);
  }
  pthread_mutex_destroy(&pool->mutex);
  free(pool);
}

/*
** ---- What was refused
*/
static bool is_refused(const refusal *r) { return r->error != 0 && rt__calls_now->now_ns() < r->retry_ns; }

static void refuse(refusal *r, int error, const intervals *i) {
  r->error = error;
  r->interval_ns = r->interval_ns ? r->interval_ns * 2 : i->first_ns;
  if (r->interval_ns > i->last_ns) r->interval_ns = i->last_ns;
  r->retry_ns = rt__calls_now->now_ns() + r->interval_ns;
}

/* One is enough to find out: the others wait for another interval. */
static void try_again(refusal *r) { r->retry_ns = rt__calls_now->now_ns() + r->interval_ns; }

static void tell(rt_pool *pool, rt_refusal what) {
  const uint8_t bit = (uint8_t)(1u << what);
  if (pool->told & bit) return;
  pool->told |= bit;
  atomic_fetch_or(&pool->news, bit);
}

/* Forbidden or unknown: asking again is useless. */
static bool is_final(int error) { return error != -ENOMEM && error != -EMFILE && error != -ENFILE && error != -EAGAIN; }

static void refuse_ring(rt_pool *pool, int error) {
  if (is_final(error))
    pool->forbidden = error;
  else
    refuse(&pool->ring, error, &ring_intervals);
  tell(pool, RT_REFUSED_RING);
}

static int state_of(const rt_pool *pool) {
  if (pool->forbidden) return pool->forbidden;
  return pool->made ? 1 : pool->ring.error;
}

int rt_pool_state(rt_pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  int state = state_of(pool);
  pthread_mutex_unlock(&pool->mutex);
  return state;
}

static rt_refusal take_news(rt_pool *pool, rt_refusal what) {
  const uint8_t bit = (uint8_t)(1u << what);
  return atomic_fetch_and(&pool->news, (uint8_t)~bit) & bit ? what : RT_REFUSED_NOTHING;
}

rt_refusal rt_pool_take_notice(rt_pool *pool, int *error) {
  if (atomic_load_explicit(&pool->news, memory_order_relaxed) == 0) return RT_REFUSED_NOTHING;
  pthread_mutex_lock(&pool->mutex);
  rt_refusal what = take_news(pool, RT_REFUSED_RING);
  *error = pool->forbidden ? pool->forbidden : pool->ring.error;
  if (what == RT_REFUSED_NOTHING) {
    what = take_news(pool, RT_REFUSED_WORKER);
    *error = -EAGAIN;
  }
  pthread_mutex_unlock(&pool->mutex);
  return what;
}

/* May a ring be leased for work that depends on workers like this? A sync is no trial: it cannot be told why it ends
** with ECANCELED. */
static bool ask_for_worker(rt_pool *pool, unsigned use, rt_kind kind) {
  if (rt__is_sync(kind) && pool->workers[ALWAYS].error != 0) return false;
  for (unsigned i = 0; i < USES; i++)
    if ((use & (1u << i)) && is_refused(&pool->workers[i])) return false;
  return true;
}

/* The lease of a ring begins. */
static void brief(rt_pool *pool, rt_loop *loop, unsigned use) {
  loop->no_worker = loop->worker_refused = loop->worker_came = loop->worker_trial = 0;
  for (unsigned i = 0; i < USES; i++) {
    refusal *r = &pool->workers[i];
    if (r->error == 0) continue;
    if (use & (1u << i)) {
      loop->worker_trial |= (uint8_t)(1u << i);
      try_again(r);
    } else {
      loop->no_worker |= (uint8_t)(1u << i);
    }
  }
}

/* ... and ends. A lease that began before the first refusal was known says nothing new. */
static void debrief(rt_pool *pool, const rt_loop *loop) {
  for (unsigned i = 0; i < USES; i++) {
    refusal *r = &pool->workers[i];
    const unsigned bit = 1u << i;
    if (loop->worker_refused & bit) {
      if (r->error == 0 || (loop->worker_trial & bit)) refuse(r, -EAGAIN, &worker_intervals);
      tell(pool, RT_REFUSED_WORKER);
    } else if (loop->worker_came & bit) {
      *r = (refusal){0};
    }
  }
}

/*
** ---- Leases
*/

static int make_ring(const rt_pool *pool, rt_loop **loop) {
  rt_loop_options options = {.backend = RT_BACKEND_URING, .entries = pool->entries, .patient = true};
  int error = rt__uring_open(loop, RT_BACKEND_URING, &options);
  if (error == 0) (*loop)->leased = true;
  return error;
}

/* A ring, or NULL. Called with the lock held, which it lets go while a ring is made. */
static rt_loop *take_or_make(rt_pool *pool) {
  rt_loop *loop = pool->idle;
  if (loop) pool->idle = loop->pool_next;
  if (loop || pool->forbidden || pool->rings >= pool->max_rings || is_refused(&pool->ring)) return loop;
  pool->rings++; /* reserved: others may make theirs meanwhile */
  pthread_mutex_unlock(&pool->mutex);
  int error = make_ring(pool, &loop);
  pthread_mutex_lock(&pool->mutex);
  if (error) {
    pool->rings--;
    refuse_ring(pool, error);
    return NULL;
  }
  pool->made = true;
  pool->ring = (refusal){0};
  loop->all_next = pool->all;
  pool->all = loop;
  return loop;
}

int rt_pool_probe(rt_pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  if (pool->rings == 0 && !pool->forbidden) {
    rt_loop *loop = take_or_make(pool);
    if (loop) {
      loop->pool_next = pool->idle;
      pool->idle = loop;
    }
  }
  int error = pool->forbidden;
  if (!error && pool->rings == 0) error = pool->ring.error;
  pthread_mutex_unlock(&pool->mutex);
  return error;
}

rt_loop *rt_pool_lease(rt_pool *pool, rt_backend_choice backend, const rt_file *f, const rt_work *work) {
  if (!rt_route_ring(backend, f, work)) return rt_sync_loop();
  const unsigned use = rt__worker_use(work->kind, f);
  pthread_mutex_lock(&pool->mutex);
  rt_loop *loop = ask_for_worker(pool, use, work->kind) ? take_or_make(pool) : NULL;
  if (loop) {
    brief(pool, loop, use);
  }
  pthread_mutex_unlock(&pool->mutex);
  return loop ? loop : rt_sync_loop();
}

void rt_pool_release(rt_pool *pool, rt_loop *loop) {
  if (loop == rt_sync_loop()) return;
  rt_run(loop);
  if (loop->foreign) return; /* leased by this thread before the fork; it is on the list of forgotten ones */
  rt__uring_quiesce(loop);
  pthread_mutex_lock(&pool->mutex);
  debrief(pool, loop);
  loop->pool_next = pool->idle;
  pool->idle = loop;
  pthread_mutex_unlock(&pool->mutex);
}

void rt_pool_before_fork(rt_pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  rt__sleepers_fork_lock();
}

void rt_pool_after_fork_parent(rt_pool *pool) {
  rt__sleepers_fork_unlock();
  pthread_mutex_unlock(&pool->mutex);
}

void rt_pool_after_fork(rt_pool *pool) {
  rt_loop *loop = pool->all, *last = NULL;
  for (; loop; loop = loop->all_next) {
    rt__uring_forget(loop);
    last = loop;
  }
  if (last) last->all_next = pool->forgotten;
  if (pool->all) pool->forgotten = pool->all;
  pool->all = pool->idle = NULL;
  pool->rings = 0;
  pool->ring = (refusal){0}; /* a shortage of the parent's */
  rt__sleepers_after_fork();
  pthread_mutex_unlock(&pool->mutex); /* taken by this thread, the only one here, in rt_pool_before_fork */
}
