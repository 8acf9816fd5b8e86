/*
** wake.c - sleeping for a completion that another thread finishes.
**
** A thread with nothing of its own in flight sleeps on the completion's state word (futex). One that also has
** operations in a ring must sleep in the ring; it registers here, and the finisher, seeing RING_SLEEPERS, wakes the
** loop under the lock. The sleeper takes itself off under the same lock before it goes on, so a loop is never touched
** after its thread has left, and no descriptor that was closed meanwhile is written to.
*/
#include "backend.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

void rt__futex_wake(_Atomic uint32_t *word) {
  syscall(SYS_futex, (uint32_t *)word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* Sets a flag unless c has finished; false: it has. */
static bool flag(rt_completion *c, uint32_t bit, uint32_t *seen) {
  uint32_t s = atomic_load_explicit(&c->state, memory_order_acquire);
  do {
    if ((s & RT__STATE_MASK) == RT__FINISHED) return false;
  } while (!atomic_compare_exchange_weak_explicit(&c->state, &s, s | bit, memory_order_acq_rel, memory_order_acquire));
  *seen = s | bit;
  return true;
}

/* Returns when c has finished, at until_ns (0: for ever), or by chance. No wake-up is lost: the kernel sleeps only
** while the word is still the one that has SLEEPERS set and is not FINISHED, and who stores FINISHED over SLEEPERS
** wakes. */
void rt__futex_sleep(rt_completion *c, uint64_t until_ns) {
  uint32_t s;
  if (!flag(c, RT__SLEEPERS, &s)) return;
  struct timespec ts = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
  /* FUTEX_WAIT_BITSET: an absolute CLOCK_MONOTONIC time */
  syscall(SYS_futex, (uint32_t *)&c->state, FUTEX_WAIT_BITSET_PRIVATE, s, until_ns ? &ts : NULL, NULL,
          FUTEX_BITSET_MATCH_ANY);
}

static pthread_mutex_t sleepers_mutex = PTHREAD_MUTEX_INITIALIZER;
static rt__sleeper *sleepers;

static _Thread_local unsigned
    fork_locks; /* a program may have several pools: the first around a fork locks, the last unlocks */

void rt__sleepers_fork_lock(void) {
  if (fork_locks++ == 0) pthread_mutex_lock(&sleepers_mutex);
}

void rt__sleepers_fork_unlock(void) {
  if (--fork_locks == 0) pthread_mutex_unlock(&sleepers_mutex);
}

/* The other threads are not in this process, nor is what they registered. */
void rt__sleepers_after_fork(void) {
  sleepers = NULL;
  rt__sleepers_fork_unlock(); /* it was this thread that locked */
}

bool rt__sleeper_add(rt__sleeper *s, rt_completion *c, rt_loop *loop) {
  s->c = c;
  s->loop = loop;
  pthread_mutex_lock(&sleepers_mutex);
  s->next = sleepers;
  sleepers = s;
  pthread_mutex_unlock(&sleepers_mutex);
  uint32_t seen;
  if (flag(c, RT__RING_SLEEPERS, &seen)) return true;
  rt__sleeper_remove(s);
  return false;
}

void rt__sleeper_remove(rt__sleeper *s) {
  pthread_mutex_lock(&sleepers_mutex);
  for (rt__sleeper **p = &sleepers; *p; p = &(*p)->next)
    if (*p == s) {
      *p = s->next;
      break;
    }
  pthread_mutex_unlock(&sleepers_mutex);
}

void rt__sleepers_wake(const rt_completion *c) {
  pthread_mutex_lock(&sleepers_mutex);
  for (rt__sleeper *s = sleepers; s; s = s->next)
    if (s->c == c) rt__loop_ask(s->loop); /* that, too, finds it asleep or keeps it from falling asleep */
  pthread_mutex_unlock(&sleepers_mutex);
}

uint64_t rt_now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}
