/*
** test_pool.c - leases: reuse, bounds, refusals and backing off, trimming, forks, many threads.
*/
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <liburing.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
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

/* The pool's clock: stands still. */
static uint64_t clock_ns;
static uint64_t stopped_clock(void) { return clock_ns; }

typedef struct bed {
  rt_pool *pool;
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
  calls.now_ns = stopped_clock;
  clock_ns = 1;
  rt__calls_now = &calls;
  bed *t = test_calloc(1, sizeof(*t));
  *state = now = t;
  const rt_pool_options options = {.max_rings = 3, .entries = 16};
  if (rt_pool_open(&t->pool, &options)) return -1;
  t->fd = temporary_path(t->path, 4096);
  rt_file_init_shared(&t->file, t->fd, inline_fn);
  return 0;
}

static int take_down(void **state) {
  bed *t = *state;
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
  assert_int_equal(read_some(first, &t->file), 0);
  rt_pool_release(t->pool, first);
  for (unsigned i = 0; i < 10; i++) {
    rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_AUTO, &t->file, &batch);
    assert_ptr_equal(loop, first); /* last in, first out */
    assert_int_equal(read_some(loop, &t->file), 0);
    rt_pool_release(t->pool, loop);
  }
  assert_int_equal(setups, before); /* the probe's ring served all */
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
  int error = 0;
  setup_error = -ENOMEM;
  assert_int_equal(rt_pool_state(t->pool), 0); /* nobody has asked for a ring */
  assert_int_equal(rt_pool_take_notice(t->pool, &error), RT_REFUSED_NOTHING);
  uint64_t interval_ns = 10 * MS;
  for (unsigned round = 0; round < 15; round++) {
    const unsigned before = setups;
    for (unsigned i = 0; i < 100; i++)
      assert_ptr_equal(rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &batch), rt_sync_loop());
    assert_int_equal(setups - before, 1); /* not hammered */
    clock_ns += interval_ns - 1;
    assert_ptr_equal(rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &batch), rt_sync_loop());
    assert_int_equal(setups - before, 1);
    clock_ns += 1;
    interval_ns = interval_ns < 5000 * MS ? 2 * interval_ns : 10000 * MS;
  }
  assert_int_equal(rt_pool_state(t->pool), -ENOMEM);
  assert_int_equal(rt_pool_take_notice(t->pool, &error), RT_REFUSED_RING);
  assert_int_equal(error, -ENOMEM);
  assert_int_equal(rt_pool_take_notice(t->pool, &error), RT_REFUSED_NOTHING); /* once */
  setup_error = 0;
  if (rt_pool_probe(t->pool)) skip();
  assert_int_equal(rt_pool_state(t->pool), 1);
  rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &batch);
  assert_ptr_not_equal(loop, rt_sync_loop());
  rt_pool_release(t->pool, loop);
}

static unsigned open_rings(void) {
  unsigned n = 0;
  DIR *dir = opendir("/proc/self/fd");
  assert_non_null(dir);
  for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
    char to[64] = "";
    if (readlinkat(dirfd(dir), e->d_name, to, sizeof(to) - 1) > 0 && strstr(to, "[io_uring]")) n++;
  }
  closedir(dir);
  return n;
}

static void trimmed_rings_are_closed(void **state) {
  bed *t = *state;
  const unsigned at_first = open_rings(), before = setups;
  rt_pool_trim(t->pool); /* none was made yet, and none is for this */
  assert_int_equal(rt_pool_state(t->pool), 0);
  assert_int_equal(setups, before);
  rt_loop *a = rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &batch);
  if (a == rt_sync_loop()) skip();
  rt_loop *b = rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &batch);
  assert_int_equal(open_rings() - at_first, 2);
  rt_pool_release(t->pool, a);
  rt_pool_trim(t->pool);
  assert_int_equal(open_rings() - at_first, 1);
  assert_int_equal(read_some(b, &t->file), 0); /* leased: not touched */
  rt_pool_release(t->pool, b);
  assert_int_equal(open_rings() - at_first, 1); /* it came back, and is kept */
  rt_pool_trim(t->pool);
  assert_int_equal(open_rings(), at_first);
  assert_int_equal(rt_pool_state(t->pool), 1); /* still known */
  for (unsigned i = 0; i < 5; i++) {           /* room for as many as ever */
    rt_loop *loops[3];
    for (unsigned k = 0; k < 3; k++) {
      loops[k] = rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &batch);
      assert_ptr_not_equal(loops[k], rt_sync_loop());
    }
    for (unsigned k = 0; k < 3; k++) rt_pool_release(t->pool, loops[k]);
    rt_pool_trim(t->pool);
  }
  assert_int_equal(open_rings(), at_first);
}

/*
** Where the kernel can make no thread. The limit is for those without privileges, so a child gives them up and looks.
*/
static const rt_work commit = {RT_WRITE, true, 1, 65536};
enum { NOT_HERE = 1, WRONG = 2 }; /* exit codes */
#define CHECK(x)                                                                                                       \
  do {                                                                                                                 \
    if (!(x)) {                                                                                                        \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                                          \
      return WRONG;                                                                                                    \
    }                                                                                                                  \
  } while (0)

static unsigned inline_calls;
static int64_t count_inline(rt_op *op) {
  int64_t r = 0;
  inline_calls++;
  switch (rt_kind_of(&op->c)) {
  case RT_READ: r = pread(op->file->fd, op->buf, op->length, (off_t)op->offset); break;
  case RT_WRITE: r = pwrite(op->file->fd, op->buf, op->length, (off_t)op->offset); break;
  default: r = fdatasync(op->file->fd); break;
  }
  return r < 0 ? -errno : r;
}

/* 1: on a ring that carried out all of it, 0: without a ring, 2: some of it on a ring; negative: it failed. */
static int commit_once(rt_pool *pool, rt_file *f, uint64_t *enters) {
  static char buf[65536], back[65536];
  static unsigned times;
  rt_op write = {0}, sync = {0};
  rt_stats before, after;
  fill_buffer(buf, sizeof(buf), times++);
  rt_stats_read(&before);
  inline_calls = 0;
  rt_loop *loop = rt_pool_lease(pool, RT_BACKEND_AUTO, f, &commit);
  const bool on_ring = loop != rt_sync_loop();
  rt_prep_write(&write, f, buf, sizeof(buf), 0);
  rt_prep_fdatasync(&sync, f);
  rt_order_after(&sync, &write);
  rt_submit(loop, &write);
  rt_submit(loop, &sync);
  const int error = rt_wait(loop, &sync.c);
  rt_pool_release(pool, loop);
  rt_stats_read(&after);
  *enters = after.enters - before.enters;
  if (error) return error;
  if (pread(f->fd, back, sizeof(back), 0) != sizeof(back) || memcmp(buf, back, sizeof(back)) != 0) return -EILSEQ;
  return !on_ring ? 0 : inline_calls == 0 ? 1 : 2;
}

static int limit_threads(bool on) {
  struct rlimit r;
  if (getrlimit(RLIMIT_NPROC, &r)) return -1;
  r.rlim_cur = on ? 1 : r.rlim_max; /* this process is one already */
  return setrlimit(RLIMIT_NPROC, &r);
}

static bool can_make_threads(void) {
  pid_t child = fork();
  if (child == 0) _exit(0);
  if (child < 0) return false;
  waitpid(child, NULL, 0);
  return true;
}

static int give_up_privileges(void) {
  if (geteuid() != 0) return 0;
  return setgroups(0, NULL) || setgid(65533) || setuid(65533);
}

static int child_without_threads(int fd, unsigned traits) {
  rt_pool *pool;
  rt_file f;
  uint64_t enters;
  int error = 0;
  rt_file_init_shared(&f, fd, count_inline);
  f.traits = traits;
  if (give_up_privileges() || limit_threads(true) || can_make_threads()) return NOT_HERE;
  CHECK(rt_pool_open(&pool, NULL) == 0);
  if (rt_pool_probe(pool)) return NOT_HERE;

  CHECK(commit_once(pool, &f, &enters) == 2); /* refused once, and not asked again for the sync */
  CHECK(enters == 1);
  CHECK(rt_pool_take_notice(pool, &error) == RT_REFUSED_WORKER && error == -EAGAIN);
  CHECK(rt_pool_take_notice(pool, &error) == RT_REFUSED_NOTHING);
  CHECK(rt_pool_state(pool) == 1);

  uint64_t interval_ns = 5000 * MS;
  for (unsigned round = 0; round < 4; round++) {
    for (unsigned i = 0; i < 20; i++) CHECK(commit_once(pool, &f, &enters) == 0 && enters == 0);
    clock_ns += interval_ns - 1;
    CHECK(commit_once(pool, &f, &enters) == 0);
    clock_ns += 1;
    rt_loop *trial = rt_pool_lease(pool, RT_BACKEND_AUTO, &f, &commit);
    CHECK(trial != rt_sync_loop());
    CHECK(commit_once(pool, &f, &enters) == 0); /* one tries, the others do not wait for it */
    rt_pool_release(pool, trial);               /* it did not come to trying: the next one will, an interval later */
    clock_ns += interval_ns;
    CHECK(commit_once(pool, &f, &enters) == 2);
    interval_ns *= 2;
  }

  /* What takes no worker goes on as before. */
  rt_loop *reads = rt_pool_lease(pool, RT_BACKEND_URING, &f, &batch);
  CHECK((reads == rt_sync_loop()) == (traits == RT_FILE_READS_PUNT));
  rt_pool_release(pool, reads);

  CHECK(limit_threads(false) == 0);
  if (!can_make_threads()) return 0;
  clock_ns += interval_ns;
  CHECK(commit_once(pool, &f, &enters) == 1);
  CHECK(commit_once(pool, &f, &enters) == 1); /* all is forgotten */
  rt_pool_close(pool);
  return 0;
}

/*
** A ring read takes a worker only if something is in its way. It always does on tmpfs, and a file that does not say so
** is taken for one where something was: reads stay away from the ring, too, and come back as soon as one was carried
** out there.
*/
static int child_with_punted_reads(int fd, unsigned traits) {
  rt_pool *pool;
  rt_file f;
  (void)traits;
  rt_file_init_shared(&f, fd, count_inline);
  if (give_up_privileges() || limit_threads(true) || can_make_threads()) return NOT_HERE;
  CHECK(rt_pool_open(&pool, NULL) == 0);
  if (rt_pool_probe(pool)) return NOT_HERE;
  inline_calls = 0;
  rt_loop *loop = rt_pool_lease(pool, RT_BACKEND_AUTO, &f, &batch);
  CHECK(read_some(loop, &f) == 0 && inline_calls == 8);
  rt_pool_release(pool, loop);
  CHECK(rt_pool_lease(pool, RT_BACKEND_AUTO, &f, &batch) == rt_sync_loop());
  CHECK(rt_pool_lease(pool, RT_BACKEND_AUTO, &f, &commit) == rt_sync_loop());
  clock_ns += 5000 * MS;
  CHECK(limit_threads(false) == 0);
  if (!can_make_threads()) return 0;
  inline_calls = 0;
  for (unsigned i = 0; i < 2; i++) {
    loop = rt_pool_lease(pool, RT_BACKEND_AUTO, &f, &batch);
    CHECK(loop != rt_sync_loop());
    CHECK(read_some(loop, &f) == 0 && inline_calls == 0);
    rt_pool_release(pool, loop);
  }
  rt_pool_close(pool);
  return 0;
}

static void run_child(int (*child_main)(int fd, unsigned traits), int fd, unsigned traits) {
  if (under_valgrind()) skip(); /* a child of it that has a ring dies in valgrind's own handling of its stack */
  pid_t child = fork();
  if (child == 0) _exit(child_main(fd, traits));
  int status;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status)) fail_msg("the child ended by signal %d", WTERMSIG(status));
  if (WEXITSTATUS(status) == NOT_HERE) skip();
  assert_int_equal(WEXITSTATUS(status), 0);
}

static void workers_that_cannot_be_had(void **state) {
  bed *t = *state;
  run_child(child_without_threads, t->fd, rt_probe_traits_fd(t->fd));
}

static void workers_that_cannot_be_had_on_tmpfs(void **state) {
  (void)state;
  char path[] = "/dev/shm/rt_test.XXXXXX", content[4096];
  const int fd = mkstemp(path);
  if (fd < 0) skip();
  unlink(path);
  fill_buffer(content, sizeof(content), 0);
  assert_int_equal(pwrite(fd, content, sizeof(content), 0), sizeof(content));
  assert_int_equal(rt_probe_traits_fd(fd), RT_FILE_READS_PUNT);
  run_child(child_with_punted_reads, fd, 0);
  run_child(child_without_threads, fd, RT_FILE_READS_PUNT);
  close(fd);
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
** A worker thread of the kernel that has carried out a write gives the request back to the thread that submitted it,
** after the completion has been posted. Whoever waits in epoll_wait by then is interrupted (TRAPS 32). Looking at the
** completion queue without entering the kernel is the quickest way to see a completion, and leaves the worker the least
** time: without care most waits are interrupted. Nothing waits for the worker, which may lose its processor just then,
** so a few are allowed.
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
      T(bounded),
      T(what_the_route_says),
      T(forbidden_is_asked_once),
      T(want_backs_off_and_recovers),
      T(trimmed_rings_are_closed),
      T(workers_that_cannot_be_had),
      T(workers_that_cannot_be_had_on_tmpfs),
      T(fork_in_the_middle),
      T(many_threads),
      T(release_drains),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
