/*
** pool.c - rings that are leased for the time of a batch.
**
** Idle rings are a stack (the one used last is warm), searched for one that has the file's direct descriptor open. A ring is made when
** none is idle, up to a bound; where that fails for want of something (memory, descriptors) it is not tried again for a while, and
** where io_uring is forbidden never again. Nobody waits for a ring: the caller gets the synchronous loop instead.
**
** Retired files: the pool remembers the last of them, so that a ring coming back closes its descriptors of those that were retired
** while it was out. If more were retired than it remembers, the ring closes all.
**
** Fork: the parent holds the lock while the process is copied. The child forgets all rings; their memory is not there (DONTFORK), what is
** left of them is kept on a list only so that it is not lost for leak checkers.
*/
#include "backend.h"

#include <pthread.h>
#include <string.h>

#define MAX_RINGS        8
#define REMEMBERED       64
#define FIRST_BACKOFF_NS 10000000ull    /* 10 ms */
#define LAST_BACKOFF_NS  10000000000ull /* 10 s  */

struct rt_pool {
  pthread_mutex_t mutex;
  rt_loop *idle;      /* by pool_next */
  rt_loop *all;       /* by all_next  */
  rt_loop *forgotten; /* after a fork: by all_next */
  unsigned rings, max_rings, entries;
  int refused;         /* why io_uring cannot be had at all; 0: it can, or not known */
  int shortage;        /* what the last attempt failed for, if not refused            */
  uint64_t retry_ns;   /* no ring is made before                                     */
  uint64_t backoff_ns; /* the last time it was so much                               */
  uint64_t retired_count;
  uint64_t retired[REMEMBERED]; /* bases; the last retired_count, going round */
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

void rt_pool_close(rt_pool *pool) {
  if (!pool) return;
  unsigned closed = 0;
  while (pool->idle) {
    rt_loop *loop = pool->idle;
    pool->idle = loop->pool_next;
    rt_loop_close(loop);
    closed++;
  }
  RT__ASSERT(closed == pool->rings); /* all leases were given back */
  while (pool->forgotten) {
    rt_loop *loop = pool->forgotten;
    pool->forgotten = loop->all_next;
    loop->backend->close(loop);
  }
  pthread_mutex_destroy(&pool->mutex);
  free(pool);
}

/* Forbidden or unknown: asking again is useless. */
static bool is_final(int error) { return error != -ENOMEM && error != -EMFILE && error != -ENFILE && error != -EAGAIN; }

static void note_failure(rt_pool *pool, int error) {
  if (is_final(error)) {
    pool->refused = error;
    return;
  }
  pool->shortage = error;
  pool->backoff_ns = pool->backoff_ns ? pool->backoff_ns * 2 : FIRST_BACKOFF_NS;
  if (pool->backoff_ns > LAST_BACKOFF_NS) pool->backoff_ns = LAST_BACKOFF_NS;
  pool->retry_ns = rt_now_ns() + pool->backoff_ns;
}

static int make_ring(const rt_pool *pool, rt_loop **loop) {
  rt_loop_options options = {.backend = RT_BACKEND_URING, .entries = pool->entries, .patient = true};
  int error = rt__uring_open(loop, RT_BACKEND_URING, &options);
  if (error == 0) (*loop)->leased = true;
  return error;
}

/* The idle ring that has the file open, else the one used last. */
static rt_loop *take_idle(rt_pool *pool, const rt_file *f) {
  rt_loop **best = &pool->idle;
  for (rt_loop **p = &pool->idle; f && f->fd < 0 && f->direct && *p; p = &(*p)->pool_next)
    if (rt__uring_holds(*p, f->direct)) {
      best = p;
      break;
    }
  rt_loop *loop = *best;
  if (loop) *best = loop->pool_next;
  return loop;
}

/* A ring, or NULL. Called with the lock held, which it lets go while a ring is made. */
static rt_loop *take_or_make(rt_pool *pool, const rt_file *f) {
  rt_loop *loop = take_idle(pool, f);
  if (loop || pool->refused || pool->rings >= pool->max_rings) return loop;
  if (pool->retry_ns && rt_now_ns() < pool->retry_ns) return NULL;
  pool->rings++; /* reserved: others may make theirs meanwhile */
  pthread_mutex_unlock(&pool->mutex);
  int error = make_ring(pool, &loop);
  pthread_mutex_lock(&pool->mutex);
  if (error) {
    pool->rings--;
    note_failure(pool, error);
    return NULL;
  }
  pool->retry_ns = pool->backoff_ns = 0;
  loop->all_next = pool->all;
  pool->all = loop;
  return loop;
}

int rt_pool_probe(rt_pool *pool) {
  pthread_mutex_lock(&pool->mutex);
  if (pool->rings == 0 && !pool->refused) {
    rt_loop *loop = take_or_make(pool, NULL);
    if (loop) {
      loop->pool_next = pool->idle;
      pool->idle = loop;
    }
  }
  int error = pool->refused;
  if (!error && pool->rings == 0) error = pool->shortage;
  pthread_mutex_unlock(&pool->mutex);
  return error;
}

rt_loop *rt_pool_lease(rt_pool *pool, rt_backend_choice backend, const rt_file *f, const rt_work *work) {
  if (!rt_route_ring(backend, f, work)) return rt_sync_loop();
  pthread_mutex_lock(&pool->mutex);
  rt_loop *loop = take_or_make(pool, f);
  if (loop) loop->retired_seen = pool->retired_count;
  pthread_mutex_unlock(&pool->mutex);
  return loop ? loop : rt_sync_loop();
}

/* The descriptors of files that were retired while the ring was out. */
static void drop_retired(const rt_pool *pool, rt_loop *loop) {
  uint64_t missed = pool->retired_count - loop->retired_seen;
  if (missed > REMEMBERED) {
    rt__uring_drop(loop, 0);
    return;
  }
  for (uint64_t i = pool->retired_count - missed; i < pool->retired_count; i++)
    rt__uring_drop(loop, pool->retired[i % REMEMBERED]);
}

void rt_pool_release(rt_pool *pool, rt_loop *loop) {
  if (loop == rt_sync_loop()) return;
  rt_run(loop);
  if (loop->foreign) return; /* leased by this thread before the fork; it is on the list of forgotten ones */
  rt__uring_quiesce(loop);
  pthread_mutex_lock(&pool->mutex);
  drop_retired(pool, loop);
  loop->pool_next = pool->idle;
  pool->idle = loop;
  pthread_mutex_unlock(&pool->mutex);
}

void rt_direct_retire(rt_direct *d, rt_pool *pool) {
  uint64_t base = rt__direct_base(d->base);
  atomic_store(&d->id, 0);
  if (!pool) return;
  pthread_mutex_lock(&pool->mutex);
  pool->retired[pool->retired_count++ % REMEMBERED] = base;
  for (rt_loop *loop = pool->idle; loop; loop = loop->pool_next) rt__uring_drop(loop, base);
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
  pool->retry_ns = pool->backoff_ns = 0;
  rt__sleepers_after_fork();
  pthread_mutex_unlock(&pool->mutex); /* taken by this thread, the only one here, in rt_pool_before_fork */
}
