/*
** test_schedules.c - every interleaving of the group, completion and waker protocols, up to a bound on preemptions.
**
** The files under test are compiled here with their atomic operations, mutexes and futexes turned into points where the
** scheduler may switch between coroutines. A run is a sequence of choices; runs are enumerated depth first until there
** is no choice left. A run in which nobody can go on is a lost wake-up. Sequential consistency is assumed: what weaker
** memory allows is the thread sanitizer's part.
*/
#include "support.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define MAX_THREADS 4
#define MAX_CHOICES 400
#define STACK       65536

/*
** ---- The scheduler
*/
typedef struct thread {
  ucontext_t context;
  char *stack;
  void (*run)(void);
  bool done;
  const void *blocked_on; /* a futex word, a mutex, a sleeping loop */
  rt__ready *defer;       /* what is thread-local in the files under test */
  rt__ready own;
} thread;

static struct {
  thread threads[MAX_THREADS];
  unsigned count, current, preemptions, bound;
  ucontext_t main;
  bool active;
  unsigned char choice[MAX_CHOICES], options[MAX_CHOICES];
  unsigned depth, known;
} world;

static void leave(void);
static void enter(void);

static void switch_to(unsigned next) {
  thread *from = &world.threads[world.current];
  if (next == world.current) return;
  leave();
  world.current = next;
  swapcontext(&from->context, &world.threads[next].context);
  enter();
}

static bool runnable(unsigned i) { return !world.threads[i].done && !world.threads[i].blocked_on; }

/* One of n ways to go on: the one that this run has to try. */
static unsigned choose(unsigned n) {
  if (n <= 1) return 0;
  if (world.depth == MAX_CHOICES) {
    fprintf(stderr, "test_schedules: too many choices\n");
    abort();
  }
  if (world.depth == world.known) {
    world.choice[world.depth] = 0;
    world.known++;
  }
  world.options[world.depth] = (unsigned char)n;
  return world.choice[world.depth++];
}

/* The i-th other runnable thread. */
static unsigned other(unsigned i) {
  for (unsigned t = 0; t < world.count; t++)
    if (t != world.current && runnable(t) && i-- == 0) return t;
  abort();
}

static unsigned others(void) {
  unsigned n = 0;
  for (unsigned t = 0; t < world.count; t++) n += t != world.current && runnable(t);
  return n;
}

static void point(void) {
  if (!world.active || world.preemptions == world.bound) return;
  unsigned c = choose(1 + others());
  if (c == 0) return;
  world.preemptions++;
  switch_to(other(c - 1));
}

static void block_on(const void *what) {
  world.threads[world.current].blocked_on = what;
  unsigned n = others();
  if (n == 0) { /* deadlock: back to the test */
    setcontext(&world.main);
    abort();
  }
  switch_to(other(choose(n)));
}

static void unblock(const void *what) {
  for (unsigned t = 0; t < world.count; t++)
    if (world.threads[t].blocked_on == what) world.threads[t].blocked_on = NULL;
}

static void trampoline(void) {
  thread *t = &world.threads[world.current];
  enter();
  t->run();
  t->done = true;
  unsigned n = others();
  if (n > 0) switch_to(other(choose(n)));
  setcontext(&world.main);
}

/* All threads to their end. False: some never got there. */
static bool run_threads(unsigned count, void (*const runs[])(void)) {
  volatile bool back = false;
  world.count = count;
  world.current = 0;
  world.preemptions = 0;
  world.depth = 0;
  for (unsigned i = 0; i < count; i++) {
    thread *t = &world.threads[i];
    if (!t->stack) t->stack = malloc(STACK);
    t->run = runs[i];
    t->done = false;
    t->blocked_on = NULL;
    t->defer = NULL;
    t->own = (rt__ready){0};
    getcontext(&t->context);
    t->context.uc_stack.ss_sp = t->stack;
    t->context.uc_stack.ss_size = STACK;
    t->context.uc_link = NULL;
    makecontext(&t->context, trampoline, 0);
  }
  world.active = true;
  getcontext(&world.main);
  if (!back) {
    back = true;
    world.current = choose(count);
    setcontext(&world.threads[world.current].context);
  }
  world.active = false;
  for (unsigned i = 0; i < count; i++)
    if (!world.threads[i].done) return false;
  return true;
}

/* The next run; false: all have been tried. */
static bool next_run(void) {
  while (world.known > 0) {
    unsigned last = world.known - 1;
    if (++world.choice[last] < world.options[last]) return true;
    world.known--;
  }
  return false;
}

/*
** ---- The files under test
*/
#if defined(__clang__)
#define LOAD(p, mo)        __c11_atomic_load(p, mo)
#define STORE(p, v, mo)    __c11_atomic_store(p, v, mo)
#define EXCHANGE(p, v, mo) __c11_atomic_exchange(p, v, mo)
#define SUB(p, v, mo)      __c11_atomic_fetch_sub(p, v, mo)
#define OR(p, v, mo)       __c11_atomic_fetch_or(p, v, mo)
#define CAS(p, e, v, s, f) __c11_atomic_compare_exchange_strong(p, e, v, s, f)
#else
#define LOAD(p, mo)                                                                                                    \
  __extension__({                                                                                                      \
    __auto_type p_ = (p);                                                                                              \
    __typeof__((void)0, *p_) t_;                                                                                       \
    __atomic_load(p_, &t_, mo);                                                                                        \
    t_;                                                                                                                \
  })
#define STORE(p, v, mo)                                                                                                \
  __extension__({                                                                                                      \
    __auto_type p_ = (p);                                                                                              \
    __typeof__((void)0, *p_) t_ = (v);                                                                                 \
    __atomic_store(p_, &t_, mo);                                                                                       \
  })
#define EXCHANGE(p, v, mo)                                                                                             \
  __extension__({                                                                                                      \
    __auto_type p_ = (p);                                                                                              \
    __typeof__((void)0, *p_) v_ = (v), t_;                                                                             \
    __atomic_exchange(p_, &v_, &t_, mo);                                                                               \
    t_;                                                                                                                \
  })
#define SUB(p, v, mo) __atomic_fetch_sub((p), (v), (mo))
#define OR(p, v, mo)  __atomic_fetch_or((p), (v), (mo))
#define CAS(p, e, v, s, f)                                                                                             \
  __extension__({                                                                                                      \
    __auto_type p_ = (p);                                                                                              \
    __typeof__((void)0, *p_) v_ = (v);                                                                                 \
    __atomic_compare_exchange(p_, (e), &v_, 0, s, f);                                                                  \
  })
#endif

#undef atomic_load
#undef atomic_load_explicit
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_weak_explicit
#undef atomic_thread_fence
#define SEQ_CST                                              memory_order_seq_cst
#define atomic_load_explicit(p, mo)                          (point(), LOAD(p, mo))
#define atomic_load(p)                                       (point(), LOAD(p, memory_order_seq_cst))
#define atomic_store_explicit(p, v, mo)                      (point(), STORE(p, v, mo))
#define atomic_store(p, v)                                   (point(), STORE(p, v, memory_order_seq_cst))
#define atomic_exchange(p, v)                                (point(), EXCHANGE(p, v, memory_order_seq_cst))
#define atomic_fetch_sub_explicit(p, v, mo)                  (point(), SUB(p, v, mo))
#define atomic_fetch_or(p, v)                                (point(), OR(p, v, memory_order_seq_cst))
#define atomic_compare_exchange_strong(p, e, v)              (point(), CAS(p, e, v, SEQ_CST, SEQ_CST))
#define atomic_compare_exchange_weak_explicit(p, e, v, s, f) (point(), CAS(p, e, v, s, f))
#define atomic_thread_fence(mo)                              point()

/* syscall(SYS_futex, ...): the kernel compares and sleeps in one step. */
static long futex(long number, uint32_t *word, int op, uint32_t value, ...) {
  assert_int_equal(number, SYS_futex);
  point();
  if (op == FUTEX_WAKE_PRIVATE)
    unblock(word);
  else if (*word == value)
    block_on(word);
  return 0;
}

static const void *mutex_owner;
static int lock(pthread_mutex_t *m) {
  point();
  while (mutex_owner) block_on(m);
  mutex_owner = m;
  return 0;
}

static int unlock(const pthread_mutex_t *m) {
  mutex_owner = NULL;
  unblock(m);
  point();
  return 0;
}

#define syscall              futex
#define pthread_mutex_lock   lock
#define pthread_mutex_unlock unlock
/* NOLINTBEGIN(bugprone-suspicious-include): these are what is tested */
#include "runtime/completion.c"
#include "runtime/group.c"
#include "runtime/wake.c"
#include "runtime/cancel.c"
/* NOLINTEND(bugprone-suspicious-include) */

static void leave(void) {
  world.threads[world.current].defer = defer_to;
  world.threads[world.current].own = own_ready;
}

static void enter(void) {
  defer_to = world.threads[world.current].defer;
  own_ready = world.threads[world.current].own;
}

/*
** ---- Scenarios
*/
typedef struct scenario {
  const char *name;
  void (*set_up)(void);
  unsigned threads;
  void (*runs[MAX_THREADS])(void);
  const char *(*verify)(void); /* NULL: right */
  unsigned bound;              /* preemptions */
} scenario;

static void explore(const scenario *s, unsigned long at_least) {
  unsigned long runs = 0;
  world.known = 0;
  do {
    world.bound = s->bound;
    mutex_owner = NULL;
    s->set_up();
    bool ended = run_threads(s->threads, s->runs);
    defer_to = NULL;
    const char *wrong = ended ? s->verify() : "a thread sleeps for ever";
    if (wrong) fail_msg("%s, run %lu: %s", s->name, runs, wrong);
    runs++;
  } while (next_run());
  print_message("%s: %lu interleavings\n", s->name, runs);
  assert_true(runs >= at_least);
}

static rt_completion event, child[3];
static rt_group group;
static unsigned calls, seen_data, data, wins;

static int set_data(rt_completion *c, int error, void *arg) {
  (void)c;
  (void)arg;
  calls++;
  data = 7;
  return error;
}

static void wait_event(void) {
  while (!rt_finished(&event)) rt__futex_sleep(&event, 0);
  seen_data = data;
}

/* The waiter's memory is gone as soon as it has seen the end. */
static void wait_event_and_forget(void) {
  wait_event();
  memset(&event, 0xee, sizeof(event));
}

static void complete_event(void) { wins += rt_complete(&event, 1); }
static void fail_event(void) { wins += rt_complete_error(&event, -EIO); }
static void cancel_event(void) { rt_cancel(&event); }

static void set_up_event(void) {
  memset(&event, 0, sizeof(event));
  rt_event_init(&event, set_data, NULL);
  calls = seen_data = data = wins = 0;
}

static const char *verify_event(void) {
  if (calls != 1) return "the callback did not run once";
  if (seen_data != 7) return "finished was seen before the callback's effects";
  if (wins > 1) return "two have won";
  return NULL;
}

static void one_finisher_one_waiter(void **state) {
  (void)state;
  const scenario s = {.name = "a completion that is gone once it is seen finished",
                      .set_up = set_up_event,
                      .threads = 2,
                      .runs = {wait_event_and_forget, complete_event},
                      .verify = verify_event,
                      .bound = 20};
  explore(&s, 20);
}

static void finishers_race(void **state) {
  (void)state;
  const scenario s = {.name = "complete, fail and cancel against each other",
                      .set_up = set_up_event,
                      .threads = 4,
                      .runs = {wait_event, complete_event, fail_event, cancel_event},
                      .verify = verify_event,
                      .bound = 2};
  explore(&s, 1000);
}

static void set_up_group(rt_group_policy policy) {
  memset(child, 0, sizeof(child));
  memset(&group, 0, sizeof(group));
  calls = seen_data = data = wins = 0;
  rt_group_init(&group, policy, set_data, NULL);
  for (unsigned i = 0; i < 3; i++) rt_event_init(&child[i], NULL, NULL);
}

static void set_up_all(void) { set_up_group(RT_ALL); }
static void set_up_any(void) { set_up_group(RT_ANY); }
static void set_up_abort(void) { set_up_group(RT_ABORT_ON_ERROR); }

static void add_build_wait(void) {
  for (unsigned i = 0; i < 2; i++) {
    int error = rt_group_add(&group, &child[i]);
    assert_true(error == 0 || error == -ECANCELED);
  }
  rt_group_build(&group);
  while (!rt_finished(&group.c)) rt__futex_sleep(&group.c, 0);
  seen_data = data;
}

static void complete_first(void) { rt_complete(&child[0], 5); }
static void fail_second(void) { rt_complete_error(&child[1], -EIO); }
static void cancel_the_group(void) { rt_cancel(&group.c); }

static const char *verify_group(void) {
  if (calls != 1) return "the group's callback did not run once";
  if (seen_data != 7) return "the group was seen finished before its callback's effects";
  for (unsigned i = 0; i < 2; i++)
    if (!rt_finished(&child[i])) return "the group finished before its children";
  return NULL;
}

static const char *verify_all(void) {
  if (rt_error(&group.c) != -EIO) return "the group lost its error";
  if (rt_bytes(&group.c) != 5) return "the group lost bytes";
  return verify_group();
}

static const char *verify_any(void) {
  if (rt_succeeded(&child[0]) && rt_failed(&group.c)) return "one succeeded, the group did not";
  return verify_group();
}

static void group_against_finishers(void **state) {
  (void)state;
  const scenario all = {.name = "children finish while they are added and the group is built",
                        .set_up = set_up_all,
                        .threads = 3,
                        .runs = {add_build_wait, complete_first, fail_second},
                        .verify = verify_all,
                        .bound = 3};
  explore(&all, 1000);
}

static void group_policies_against_finishers(void **state) {
  (void)state;
  scenario s = {.name = "any-of while it is built",
                .set_up = set_up_any,
                .threads = 3,
                .runs = {add_build_wait, complete_first, fail_second},
                .verify = verify_any,
                .bound = 2};
  explore(&s, 1000);
  s.name = "abort-on-error while it is built";
  s.set_up = set_up_abort;
  s.verify = verify_group;
  explore(&s, 1000);
}

/* Child 1 is finished by nobody but the cancellation: it must not be missed. */
static void group_against_cancel(void **state) {
  (void)state;
  const scenario s = {.name = "a group is cancelled while it is built",
                      .set_up = set_up_all,
                      .threads = 3,
                      .runs = {add_build_wait, complete_first, cancel_the_group},
                      .verify = verify_group,
                      .bound = 3};
  explore(&s, 1000);
}

/*
** ---- The waker: a thread asleep in its ring (loop.c, sleep_in_backend), a completion finished by another
*/
static rt_loop ring;
static bool armed, signalled, gone;

static void ring_wake(rt_loop *loop) {
  assert_ptr_equal(loop, &ring);
  assert_false(gone); /* the loop may be closed by now */
  if (!armed) return; /* the eventfd is made when it is first needed */
  signalled = true;
  unblock(&ring);
}

static bool never_started(rt_loop *loop, rt_op *op, bool link) {
  (void)loop;
  (void)op;
  (void)link;
  return false;
}

static const rt__backend ring_backend = {.name = "ring", .start = never_started, .wake = ring_wake};

static void set_up_ring(void) {
  set_up_event();
  memset(&ring, 0, sizeof(ring));
  ring.backend = &ring_backend;
  armed = signalled = gone = false;
  sleepers = NULL;
}

static void wait_in_ring(void) {
  while (!rt_finished(&event)) {
    rt__sleeper s;
    if (!rt__sleeper_add(&s, &event, &ring)) break;
    point();
    armed = true;
    atomic_store(&ring.asleep, true);
    if (!atomic_load(&ring.cancels)) {
      point();
      if (!signalled) block_on(&ring); /* the poll of the eventfd */
      signalled = false;
    }
    atomic_store(&ring.asleep, false);
    rt__sleeper_remove(&s);
    (void)atomic_exchange(&ring.cancels, false); /* rt__serve */
  }
  seen_data = data;
  gone = true;
  memset(&event, 0xee, sizeof(event));
}

static void waker_of_a_ring(void **state) {
  (void)state;
  const scenario s = {.name = "woken in the ring, and the ring closed afterwards",
                      .set_up = set_up_ring,
                      .threads = 2,
                      .runs = {wait_in_ring, complete_event},
                      .verify = verify_event,
                      .bound = 6};
  explore(&s, 100);
}

int main(void) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || defined(__clang_analyzer__)
  puts("coroutines on their own stacks are not for sanitizers");
  return 77;
#endif
  const char *san = getenv("SAN");
  if ((san && *san) || under_valgrind()) return 77;
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(one_finisher_one_waiter), cmocka_unit_test(finishers_race),
      cmocka_unit_test(group_against_finishers), cmocka_unit_test(group_policies_against_finishers),
      cmocka_unit_test(group_against_cancel),    cmocka_unit_test(waker_of_a_ring),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
