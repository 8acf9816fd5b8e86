/*
** test_completion.c - exactly once, publish after callback, wake-ups, and the threaded races of completions and groups.
*/
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

static void first_outcome_wins(void **state) {
  (void)state;
  rt_completion c = {0};
  unsigned calls = 0;
  rt_event_init(&c, count_calls, &calls);
  assert_true(rt_complete(&c, 12));
  assert_false(rt_complete(&c, 13));
  assert_false(rt_complete_error(&c, -EIO));
  rt_cancel(&c);
  assert_int_equal(calls, 1);
  assert_true(rt_succeeded(&c));
  assert_int_equal(rt_bytes(&c), 12);

  rt_event_init(&c, count_calls, &calls);
  rt_cancel(&c);
  assert_false(rt_complete(&c, 1));
  assert_int_equal(rt_error(&c), -ECANCELED);
  assert_int_equal(rt_bytes(&c), 0);
  assert_int_equal(calls, 2);
}

static void only_events_are_finished_by_hand(void **state) {
  (void)state;
  rt_op op = {0};
  rt_prep_nop(&op);
  assert_false(rt_complete(&op.c, 0));
  assert_false(rt_finished(&op.c));
  rt_submit(rt_sync_loop(), &op);
  assert_true(rt_finished(&op.c));
}

typedef struct nest {
  rt_completion a, b;
  bool a_running, b_ran_inside;
} nest;

static int in_a(rt_completion *c, int error, void *arg) {
  nest *n = arg;
  (void)c;
  n->a_running = true;
  assert_true(rt_complete(&n->b, 0)); /* its callback waits for its turn */
  n->a_running = false;
  return error;
}

static int in_b(rt_completion *c, int error, void *arg) {
  nest *n = arg;
  (void)c;
  n->b_ran_inside = n->a_running;
  return error;
}

static void callbacks_run_one_after_another(void **state) {
  (void)state;
  nest n = {0};
  rt_event_init(&n.a, in_a, &n);
  rt_event_init(&n.b, in_b, &n);
  assert_true(rt_complete(&n.a, 0));
  assert_true(rt_finished(&n.a) && rt_finished(&n.b));
  assert_false(n.b_ran_inside);
}

/*
** ---- Threads
*/
typedef struct race {
  rt_completion c;
  pthread_barrier_t start;
  _Atomic unsigned wins;
  unsigned calls;
  int data; /* written by the callback, read by who sees it finished */
} race;

static int write_data(rt_completion *c, int error, void *arg) {
  race *r = arg;
  (void)c;
  r->calls++;
  r->data = 77;
  return error;
}

static void *try_complete(void *arg) {
  race *r = arg;
  pthread_barrier_wait(&r->start);
  if (rt_complete(&r->c, 1)) atomic_fetch_add(&r->wins, 1);
  return NULL;
}

static void *try_fail(void *arg) {
  race *r = arg;
  pthread_barrier_wait(&r->start);
  if (rt_complete_error(&r->c, -EIO)) atomic_fetch_add(&r->wins, 1);
  return NULL;
}

static void *try_cancel(void *arg) {
  race *r = arg;
  pthread_barrier_wait(&r->start);
  rt_cancel(&r->c);
  return NULL;
}

static void exactly_once(void **state) {
  (void)state;
  void *(*const who[])(void *) = {try_complete, try_fail, try_cancel, try_complete};
  for (unsigned n = iterations(2000); n > 0; n--) {
    race r = {0};
    pthread_t threads[COUNT(who)];
    rt_event_init(&r.c, write_data, &r);
    pthread_barrier_init(&r.start, NULL, COUNT(who));
    for (unsigned i = 0; i < COUNT(who); i++) pthread_create(&threads[i], NULL, who[i], &r);
    (void)rt_wait(NULL, &r.c);
    assert_int_equal(r.data, 77); /* published after the callback */
    int error = rt_error(&r.c);
    for (unsigned i = 0; i < COUNT(who); i++) pthread_join(threads[i], NULL);
    assert_int_equal(r.calls, 1);
    assert_int_equal(rt_error(&r.c), error);
    assert_int_equal(r.wins, error == -ECANCELED ? 0 : 1);
    pthread_barrier_destroy(&r.start);
  }
}

static void *finish_it(void *arg) {
  rt_complete(arg, 5);
  return NULL;
}

/* The completion is on the waiter's stack, and gone as soon as it is seen finished. */
static void no_lost_wake_up(void **state) {
  (void)state;
  for (unsigned n = iterations(5000); n > 0; n--) {
    rt_completion c = {0};
    pthread_t t;
    rt_event_init(&c, NULL, NULL);
    assert_int_equal(pthread_create(&t, NULL, finish_it, &c), 0);
    if (n % 3 == 0) sched_yield();
    assert_int_equal(rt_wait(NULL, &c), 0);
    assert_int_equal(rt_bytes(&c), 5);
    pthread_join(t, NULL);
  }
}

static void *wait_for(void *arg) { return rt_wait(NULL, arg) == 0 ? NULL : arg; }

static void many_waiters(void **state) {
  (void)state;
  for (unsigned n = iterations(300); n > 0; n--) {
    rt_completion c = {0};
    pthread_t t[6];
    rt_event_init(&c, NULL, NULL);
    for (unsigned i = 0; i < COUNT(t); i++) pthread_create(&t[i], NULL, wait_for, &c);
    if (n % 2) usleep(200);
    assert_true(rt_complete(&c, 0));
    for (unsigned i = 0; i < COUNT(t); i++) {
      void *failed;
      pthread_join(t[i], &failed);
      assert_null(failed);
    }
  }
}

enum { CHILDREN = 6 };
typedef struct group_race {
  rt_group g;
  rt_completion c[CHILDREN];
  pthread_barrier_t start;
  unsigned calls;
} group_race;

static void *finish_half(void *arg) {
  group_race *r = arg;
  pthread_barrier_wait(&r->start);
  for (unsigned i = 0; i < CHILDREN; i += 2) rt_complete(&r->c[i], 1);
  return NULL;
}

static void *finish_other_half(void *arg) {
  group_race *r = arg;
  pthread_barrier_wait(&r->start);
  for (unsigned i = 1; i < CHILDREN; i += 2) rt_complete_error(&r->c[i], -(int)i);
  return NULL;
}

/* Defects 1 and 4: children finish while they are being added and the group is being built. */
static void group_is_counted_right_under_a_race(void **state) {
  (void)state;
  for (unsigned n = iterations(3000); n > 0; n--) {
    group_race r = {0};
    pthread_t a, b;
    rt_group_init(&r.g, RT_ALL, count_calls, &r.calls);
    for (unsigned i = 0; i < CHILDREN; i++) rt_event_init(&r.c[i], NULL, NULL);
    pthread_barrier_init(&r.start, NULL, 3);
    pthread_create(&a, NULL, finish_half, &r);
    pthread_create(&b, NULL, finish_other_half, &r);
    pthread_barrier_wait(&r.start);
    for (unsigned i = 0; i < CHILDREN; i++) assert_int_equal(rt_group_add(&r.g, &r.c[i]), 0);
    rt_group_build(&r.g);
    assert_int_equal(rt_wait(NULL, &r.g.c), -1);
    assert_int_equal(r.calls, 1);
    for (unsigned i = 0; i < CHILDREN; i++) assert_true(rt_finished(&r.c[i]));
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    pthread_barrier_destroy(&r.start);
  }
}

static void *cancel_group(void *arg) {
  group_race *r = arg;
  pthread_barrier_wait(&r->start);
  rt_cancel(&r->g.c);
  return NULL;
}

static void group_cancel_races_with_adding(void **state) {
  (void)state;
  for (unsigned n = iterations(3000); n > 0; n--) {
    group_race r = {0};
    pthread_t a, b;
    rt_group_init(&r.g, n % 2 ? RT_ALL : RT_ABORT_ON_ERROR, count_calls, &r.calls);
    for (unsigned i = 0; i < CHILDREN; i++) rt_event_init(&r.c[i], NULL, NULL);
    pthread_barrier_init(&r.start, NULL, 3);
    pthread_create(&a, NULL, finish_half, &r);
    pthread_create(&b, NULL, cancel_group, &r);
    pthread_barrier_wait(&r.start);
    for (unsigned i = 0; i < CHILDREN; i++) {
      int error = rt_group_add(&r.g, &r.c[i]);
      assert_true(error == 0 || error == -ECANCELED);
    }
    rt_group_build(&r.g);
    /* the odd ones are finished by nobody but the cancellation: no child is missed */
    assert_int_equal(rt_wait(NULL, &r.g.c), -ECANCELED);
    assert_int_equal(r.calls, 1);
    pthread_join(a, NULL);
    pthread_join(b, NULL);
    pthread_barrier_destroy(&r.start);
  }
}

/* Events finished by a thread while this one sleeps in its ring with something else in flight. */
typedef struct ping {
  _Atomic(rt_completion *) to_finish;
  _Atomic bool stop;
} ping;

static void *pinger(void *arg) {
  ping *p = arg;
  while (!atomic_load(&p->stop)) {
    rt_completion *c = atomic_exchange(&p->to_finish, NULL);
    if (c)
      rt_complete(c, 1);
    else
      sched_yield();
  }
  return NULL;
}

static void woken_in_the_ring(void **state) {
  (void)state;
  rt_loop *loop = NULL;
  const rt_loop_options options = {.backend = RT_BACKEND_URING};
  if (under_valgrind() || rt_loop_open(&loop, &options)) skip();
  ping p;
  memset(&p, 0, sizeof(p));
  pthread_t t;
  int fds[2];
  char byte;
  rt_file in;
  rt_op op = {0};
  assert_int_equal(pipe(fds), 0);
  rt_file_init_fd(&in, fds[0]);
  rt_prep_read(&op, &in, &byte, 1, 0);
  rt_submit(loop, &op);
  pthread_create(&t, NULL, pinger, &p);
  for (unsigned n = iterations(3000); n > 0; n--) {
    rt_completion c = {0};
    rt_event_init(&c, NULL, NULL);
    atomic_store(&p.to_finish, &c);
    if (n % 5 == 0) usleep(50);
    assert_int_equal(rt_wait(loop, &c), 0);
  }
  atomic_store(&p.stop, true);
  pthread_join(t, NULL);
  assert_false(rt_finished(&op.c));
  assert_int_equal(write(fds[1], "x", 1), 1);
  assert_int_equal(rt_wait(loop, &op.c), 0);
  rt_loop_close(loop);
  close(fds[0]);
  close(fds[1]);
}

/* A group whose children are in this loop, in another thread's, and nowhere. */
typedef struct other {
  rt_op op;
  rt_completion event;
  _Atomic bool go;
} other;

static void *other_loop(void *arg) {
  other *o = arg;
  rt_loop *loop;
  const rt_loop_options options = {.backend = RT_BACKEND_AUTO};
  while (!atomic_load(&o->go)) sched_yield();
  if (rt_loop_open(&loop, &options)) return o;
  rt_submit(loop, &o->op);
  int error = rt_wait(loop, &o->op.c);
  rt_complete(&o->event, 0);
  rt_loop_close(loop);
  return error ? o : NULL;
}

static void group_across_loops(void **state) {
  (void)state;
  if (under_valgrind()) skip();
  for (unsigned n = iterations(100); n > 0; n--) {
    rt_loop *loop;
    const rt_loop_options options = {.backend = RT_BACKEND_AUTO};
    assert_int_equal(rt_loop_open(&loop, &options), 0);
    other o = {0};
    rt_op mine = {0};
    rt_group g = {0};
    pthread_t t;
    rt_prep_timeout(&o.op, MS / 2);
    rt_prep_timeout(&mine, n % 2 ? MS : MS / 10);
    rt_event_init(&o.event, NULL, NULL);
    rt_group_init(&g, RT_ALL, NULL, NULL);
    assert_int_equal(rt_group_add(&g, &o.op.c) | rt_group_add(&g, &mine.c) | rt_group_add(&g, &o.event), 0);
    rt_group_build(&g);
    pthread_create(&t, NULL, other_loop, &o);
    rt_submit(loop, &mine);
    atomic_store(&o.go, true);
    assert_int_equal(rt_wait(loop, &g.c), 0);
    void *failed;
    pthread_join(t, &failed);
    assert_null(failed);
    rt_loop_close(loop);
  }
}

/* The synchronous loop is any number of threads' at once. */
static void *use_sync_loop(void *arg) {
  unsigned calls = 0;
  for (unsigned i = 0; i < 200; i++) {
    rt_op op = {0};
    rt_prep_nop(&op);
    rt_on_finish(&op, count_calls, &calls);
    rt_submit(rt_sync_loop(), &op);
    if (rt_wait(rt_sync_loop(), &op.c)) return arg;
  }
  return calls == 200 ? NULL : arg;
}

static void sync_loop_is_shared(void **state) {
  (void)state;
  pthread_t t[4];
  for (unsigned i = 0; i < COUNT(t); i++) pthread_create(&t[i], NULL, use_sync_loop, t);
  for (unsigned i = 0; i < COUNT(t); i++) {
    void *failed;
    pthread_join(t[i], &failed);
    assert_null(failed);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(first_outcome_wins),
      cmocka_unit_test(only_events_are_finished_by_hand),
      cmocka_unit_test(callbacks_run_one_after_another),
      cmocka_unit_test(exactly_once),
      cmocka_unit_test(no_lost_wake_up),
      cmocka_unit_test(many_waiters),
      cmocka_unit_test(group_is_counted_right_under_a_race),
      cmocka_unit_test(group_cancel_races_with_adding),
      cmocka_unit_test(woken_in_the_ring),
      cmocka_unit_test(group_across_loops),
      cmocka_unit_test(sync_loop_is_shared),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
