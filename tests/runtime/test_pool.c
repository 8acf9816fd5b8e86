/*
** test_pool.c - leases: reuse, bounds, refusals and backing off, retired files, forks, many threads.
*/
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

static const rt_work batch = {RT_READ, false, 32, 32 * 4096};
static const rt_work lone = {RT_READ, false, 1, 4096};

static rt__calls calls;
static int setup_error;
static unsigned setups;

static int faulty_setup(unsigned entries, struct io_uring *ring, struct io_uring_params *params) {
  setups++;
  return setup_error ? setup_error : rt__kernel_calls.uring_setup(entries, ring, params);
}

typedef struct bed {
  rt_pool *pool;
  rt_direct direct;
  rt_file file;
  int fd;
  char path[64];
} bed;

static bed *now;

static int64_t inline_fn(rt_op *op) {
  int64_t r = pread(now->fd, op->buf, op->length, (off_t)op->offset);
  return r < 0 ? -errno : r;
}

static int set_up(void **state) {
  setup_error = 0;
  calls = rt__kernel_calls;
  calls.uring_setup = faulty_setup;
  rt__calls_now = &calls;
  bed *t = test_calloc(1, sizeof(*t));
  *state = now = t;
  const rt_pool_options options = {.max_rings = 3, .entries = 16};
  if (rt_pool_open(&t->pool, &options)) return -1;
  t->fd = temporary_path(t->path, 4096);
  rt_direct_init(&t->direct, t->path, O_RDWR, NULL);
  rt_file_init_inline(&t->file, inline_fn, &t->direct);
  return 0;
}

static int take_down(void **state) {
  bed *t = *state;
  rt_direct_retire(&t->direct, t->pool);
  rt_pool_close(t->pool);
  close(t->fd);
  unlink(t->path);
  test_free(t);
  rt__calls_now = &rt__kernel_calls;
  return 0;
}

static bed *of(void **state) {
  bed *t = *state;
  if (rt_pool_probe(t->pool)) skip();
  return t;
}

static uint64_t opens(void) {
  rt_stats s;
  rt_stats_read(&s);
  return s.direct_opens;
}

static int read_some(rt_loop *loop, rt_file *f) {
  char buf[8][16] = {0};
  rt_op ops[8] = {0};
  rt_group g = {0};
  rt_group_init(&g, RT_ALL, NULL, NULL);
  for (unsigned i = 0; i < 8; i++) {
    rt_prep_read(&ops[i], f, buf[i], 16, 0);
    int error = rt_group_add(&g, &ops[i].c);
    if (error) return error;
  }
  rt_submit_group(loop, &g);
  int error = rt_wait(loop, &g.c);
  for (unsigned i = 0; i < 8 && !error; i++)
    for (unsigned k = 0; k < 16; k++)
      if (buf[i][k] != fill(k)) return -EILSEQ;
  return error;
}

static void rings_are_reused(void **state) {
  bed *t = of(state);
  unsigned before = setups;
  rt_loop *first = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
  assert_ptr_not_equal(first, rt_sync_loop());
  uint64_t opened = opens();
  assert_int_equal(read_some(first, &t->file), 0);
  rt_pool_release(t->pool, first);
  for (unsigned i = 0; i < 10; i++) {
    rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
    assert_ptr_equal(loop, first); /* last in, first out */
    assert_int_equal(read_some(loop, &t->file), 0);
    rt_pool_release(t->pool, loop);
  }
  assert_int_equal(setups, before); /* the probe's ring served all */
  assert_int_equal(opens() - opened, 1);
}

static void a_ring_that_has_the_file_open_is_preferred(void **state) {
  bed *t = of(state);
  rt_loop *a = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
  rt_loop *b = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
  assert_int_equal(read_some(a, &t->file), 0);
  rt_pool_release(t->pool, a);
  rt_pool_release(t->pool, b); /* on top of the stack */
  rt_loop *c = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
  assert_ptr_equal(c, a);
  rt_pool_release(t->pool, c);
}

static void bounded(void **state) {
  bed *t = of(state);
  rt_loop *loops[5];
  for (unsigned i = 0; i < 5; i++) {
    loops[i] = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
    assert_int_equal(loops[i] == rt_sync_loop(), i >= 3); /* above the bound: inline, not waiting */
    assert_int_equal(read_some(loops[i], &t->file), 0);
  }
  for (unsigned i = 0; i < 5; i++) rt_pool_release(t->pool, loops[i]);
}

static void what_the_route_says(void **state) {
  bed *t = of(state);
  assert_ptr_equal(rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &lone), rt_sync_loop());
  assert_ptr_equal(rt_pool_lease(t->pool, RT_BACKEND_SYNC, &t->file, &batch), rt_sync_loop());
  rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &lone);
  assert_ptr_not_equal(loop, rt_sync_loop());
  rt_pool_release(t->pool, loop);
}

static void forbidden_is_asked_once(void **state) {
  bed *t = *state;
  const int errors[] = {-EPERM, -ENOSYS};
  for (unsigned i = 0; i < COUNT(errors); i++) {
    rt_pool *pool;
    assert_int_equal(rt_pool_open(&pool, NULL), 0);
    setup_error = errors[i];
    unsigned before = setups;
    for (unsigned k = 0; k < 5; k++) {
      assert_int_equal(rt_pool_probe(pool), errors[i]);
      assert_ptr_equal(rt_pool_lease(pool, RT_BACKEND_URING, &t->file, &batch), rt_sync_loop());
    }
    assert_int_equal(setups - before, 1);
    rt_pool_close(pool);
  }
}

static void want_backs_off_and_recovers(void **state) {
  bed *t = *state;
  setup_error = -ENOMEM;
  unsigned before = setups;
  for (unsigned i = 0; i < 1000; i++)
    assert_ptr_equal(rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &batch), rt_sync_loop());
  assert_true(setups - before <= 3); /* not hammered */
  setup_error = 0;
  rt_loop *loop = rt_sync_loop();
  for (unsigned i = 0; i < 100 && loop == rt_sync_loop(); i++) {
    usleep(5000);
    loop = rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &batch);
  }
  if (loop == rt_sync_loop() && rt_pool_probe(t->pool)) skip();
  assert_ptr_not_equal(loop, rt_sync_loop());
  rt_pool_release(t->pool, loop);
}

static unsigned links_to(const char *path) {
  /* how many descriptors of a removed file the rings still hold shows in whether its space is freed; here: try to lease the file */
  int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return 0;
  /* a write lease is granted only if nobody else has the file open */
  int r = fcntl(fd, F_SETLEASE, F_WRLCK);
  if (r == 0) (void)fcntl(fd, F_SETLEASE, F_UNLCK);
  close(fd);
  return r == 0 ? 0 : 1;
}

static void retired_files_are_closed(void **state) {
  bed *t = of(state);
  close(t->fd);
  if (links_to(t->path)) { /* leases are not to be had here */
    t->fd = open(t->path, O_RDWR | O_CLOEXEC);
    skip();
  }
  for (unsigned leased = 0; leased < 2; leased++) {
    rt_direct_init(&t->direct, t->path, O_RDWR, NULL);
    rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
    assert_int_equal(read_some(loop, &t->file), 0);
    rt_direct_renew(&t->direct);
    assert_int_equal(read_some(loop, &t->file), 0);
    assert_int_equal(links_to(t->path), 1);
    if (!leased) rt_pool_release(t->pool, loop);
    rt_direct_retire(&t->direct, t->pool);
    if (leased) rt_pool_release(t->pool, loop);
    assert_int_equal(links_to(t->path), 0);
  }
  t->fd = open(t->path, O_RDWR | O_CLOEXEC);
}

static void more_retired_than_remembered(void **state) {
  bed *t = of(state);
  rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
  assert_int_equal(read_some(loop, &t->file), 0);
  for (unsigned i = 0; i < 200; i++) {
    rt_direct d;
    rt_direct_init(&d, t->path, O_RDWR, NULL);
    rt_direct_retire(&d, t->pool);
  }
  rt_pool_release(t->pool, loop);
  loop = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
  assert_int_equal(read_some(loop, &t->file), 0);
  rt_pool_release(t->pool, loop);
}

static int child_of_a_fork(bed *t, rt_loop *leased) {
  rt_pool_after_fork(t->pool);
  rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
  if (loop == rt_sync_loop()) return 1;
  if (read_some(loop, &t->file)) return 2;
  rt_pool_release(t->pool, loop);
  if (leased) {
    if (read_some(leased, &t->file)) return 3; /* carried across: carried out without the ring */
    rt_pool_release(t->pool, leased);
  }
  rt_direct_retire(&t->direct, t->pool);
  rt_pool_close(t->pool);
  return 0;
}

static void fork_in_the_middle(void **state) {
  bed *t = of(state);
  if (under_valgrind()) skip(); /* it fails on memory that is not copied into the child */
  for (unsigned with_lease = 0; with_lease < 2; with_lease++) {
    rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
    assert_int_equal(read_some(loop, &t->file), 0);
    if (!with_lease) rt_pool_release(t->pool, loop);
    rt_pool_before_fork(t->pool);
    pid_t child = fork();
    if (child == 0) _exit(child_of_a_fork(t, with_lease ? loop : NULL));
    rt_pool_after_fork_parent(t->pool);
    int status;
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(read_some(with_lease ? loop : rt_sync_loop(), &t->file), 0); /* the parent's ring is unharmed */
    if (with_lease) rt_pool_release(t->pool, loop);
  }
}

static void *use_pool(void *arg) {
  bed *t = arg;
  for (unsigned i = iterations(300); i > 0; i--) {
    rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
    int error = read_some(loop, &t->file);
    rt_pool_release(t->pool, loop);
    if (error) return arg;
  }
  return NULL;
}

static void many_threads(void **state) {
  bed *t = of(state);
  pthread_t threads[6];
  for (unsigned i = 0; i < COUNT(threads); i++) pthread_create(&threads[i], NULL, use_pool, t);
  for (unsigned i = 0; i < 50; i++) rt_direct_renew(&t->direct);
  for (unsigned i = 0; i < COUNT(threads); i++) {
    void *failed;
    pthread_join(threads[i], &failed);
    assert_null(failed);
  }
}

/* Given back drained: whatever the lessee left behind has finished. */
static void release_drains(void **state) {
  bed *t = of(state);
  char buf[16];
  rt_op op = {0};
  rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
  rt_prep_read(&op, &t->file, buf, 16, 0);
  rt_submit(loop, &op);
  rt_pool_release(t->pool, loop);
  assert_true(rt_succeeded(&op.c));
  assert_filled(buf, 16, 0);
}

/*
** A worker thread of the kernel that has carried out a write gives the request back to the thread that submitted it, after the completion
** has been posted. Whoever waits in epoll_wait by then is interrupted (TRAPS 32). Looking at the completion queue without entering the
** kernel is the quickest way to see a completion, and leaves the worker the least time: without care most waits are interrupted. Nothing waits for
** the worker, which may lose its processor just then, so a few are allowed.
*/
static void release_leaves_nothing_behind(void **state) {
  bed *t = of(state);
  static const rt_work write = {RT_WRITE, false, 1, 4096};
  char buf[4096] = {0};
  int ep = epoll_create1(EPOLL_CLOEXEC), interrupted = 0;
  assert_true(ep >= 0);
  for (int i = 0; i < 3000; i++) {
    rt_op op = {0};
    struct epoll_event event;
    rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &write);
    rt_prep_write(&op, &t->file, buf, sizeof(buf), 0);
    rt_submit(loop, &op);
    while (!rt_finished(&op.c)) rt_step(loop, 0, 8);
    rt_pool_release(t->pool, loop);
    if (epoll_wait(ep, &event, 1, 1) < 0) interrupted++;
  }
  close(ep);
  if (interrupted > 30) fail_msg("epoll_wait was interrupted after %d of 3000 writes", interrupted);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, take_down)
int main(void) {
  const struct CMUnitTest tests[] = {
      T(release_leaves_nothing_behind), /* before any ring was closed: that interrupts, too, and later */
      T(rings_are_reused),
      T(a_ring_that_has_the_file_open_is_preferred),
      T(bounded),
      T(what_the_route_says),
      T(forbidden_is_asked_once),
      T(want_backs_off_and_recovers),
      T(retired_files_are_closed),
      T(more_retired_than_remembered),
      T(fork_in_the_middle),
      T(many_threads),
      T(release_drains),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
