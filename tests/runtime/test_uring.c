/*
** test_uring.c - what only the real io_uring can show: faults of io_uring_enter, chains cut in two, cancellation of a
** read that never comes, threads that exit.
*/
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <unistd.h>

typedef struct bed {
  rt_loop *loop;
  rt_file file;
  int fd, pipe[2];
  rt_file in;
  char path[64];
} bed;

/* Faults of the system calls, for the loop under test. */
static rt__calls calls;
static int enter_error, setup_error;
static unsigned enter_faults, enters, take_less;

static int faulty_enter(int fd, unsigned submit, unsigned wait_nr, unsigned flags, void *arg, size_t size) {
  enters++;
  if (enter_faults > 0) {
    enter_faults--;
    return enter_error;
  }
  if (take_less && submit > take_less) return rt__kernel_calls.uring_enter(fd, take_less, 0, flags, arg, size);
  return rt__kernel_calls.uring_enter(fd, submit, wait_nr, flags, arg, size);
}

static int faulty_setup(unsigned entries, struct io_uring *ring, struct io_uring_params *params) {
  return setup_error ? setup_error : rt__kernel_calls.uring_setup(entries, ring, params);
}

static int open_loop(rt_loop **loop, bool patient) {
  const rt_loop_options options = {.backend = RT_BACKEND_URING, .entries = 16, .patient = patient};
  return rt_loop_open(loop, &options);
}

static int set_up(void **state) {
  enter_faults = enters = take_less = 0;
  setup_error = 0;
  calls = rt__kernel_calls;
  calls.uring_enter = faulty_enter;
  calls.uring_setup = faulty_setup;
  rt__calls_now = &calls;
  *state = NULL;
  bed *t = test_calloc(1, sizeof(*t));
  if (open_loop(&t->loop, true)) {
    test_free(t);
    return 0;
  }
  t->fd = temporary_path(t->path, 4096);
  rt_file_init_fd(&t->file, t->fd);
  if (pipe(t->pipe)) return -1;
  rt_file_init_fd(&t->in, t->pipe[0]);
  *state = t;
  return 0;
}

static bed *of(void **state) {
  if (!*state) skip();
  return *state;
}

static int take_down(void **state) {
  bed *t = *state;
  if (t) {
    rt_loop_close(t->loop);
    close(t->fd);
    close(t->pipe[0]);
    close(t->pipe[1]);
    unlink(t->path);
    test_free(t);
  }
  rt__calls_now = &rt__kernel_calls;
  return 0;
}

enum { N = 8, SIZE = 64 };

static void read_all(bed *t, rt_loop *loop) {
  rt_op ops[N] = {0};
  char buf[N * SIZE] = {0};
  rt_group g = {0};
  rt_group_init(&g, RT_ALL, NULL, NULL);
  for (unsigned i = 0; i < N; i++) {
    rt_prep_read(&ops[i], &t->file, buf + (size_t)i * SIZE, SIZE, (uint64_t)i * SIZE);
    assert_int_equal(rt_group_add(&g, &ops[i].c), 0);
  }
  rt_submit_group(loop, &g);
  assert_int_equal(rt_wait(loop, &g.c), 0);
  assert_filled(buf, sizeof(buf), 0);
}

static void one_wait_is_one_enter(void **state) {
  bed *t = of(state);
  read_all(t, t->loop);
  rt_stats before, after;
  rt_stats_read(&before);
  enters = 0;
  read_all(t, t->loop);
  rt_stats_read(&after);
  assert_int_equal(enters, 1);
  assert_int_equal(after.enters - before.enters, 1);
  assert_int_equal(after.ops[RT_READ] - before.ops[RT_READ], N);
  assert_int_equal(after.inline_ops[RT_READ] - before.inline_ops[RT_READ], 0);
  assert_int_equal(after.bytes[RT_READ] - before.bytes[RT_READ], N * SIZE);
}

/* Defect 13 and its relatives. */
static void enter_errors_are_retried(void **state) {
  bed *t = of(state);
  const int errors[] = {-EINTR, -EAGAIN, -ENOBUFS, -EBUSY};
  rt_stats before, after;
  rt_stats_read(&before);
  for (unsigned i = 0; i < COUNT(errors); i++)
    for (unsigned times = 1; times < 6; times++) {
      enter_error = errors[i];
      enter_faults = times;
      read_all(t, t->loop);
    }
  rt_stats_read(&after);
  assert_int_equal(after.inline_ops[RT_READ], before.inline_ops[RT_READ]); /* the ring was not given up */
}

static void enter_forbidden_later_goes_on_synchronously(void **state) {
  bed *t = of(state);
  read_all(t, t->loop);
  enter_error = -EPERM;
  enter_faults = 1000000;
  rt_op chain[2] = {0};
  rt_prep_write(&chain[0], &t->file, "x", 1, 4096);
  rt_prep_fsync(&chain[1], &t->file);
  rt_order_after(&chain[1], &chain[0]);
  rt_submit(t->loop, &chain[0]);
  rt_submit(t->loop, &chain[1]);
  assert_int_equal(rt_wait(t->loop, &chain[1].c), 0);
  read_all(t, t->loop);
  enter_faults = 0;
}

static void setup_errors_choose_the_synchronous_backend(void **state) {
  (void)of(state);
  const int errors[] = {-ENOMEM, -EPERM, -ENOSYS, -EMFILE};
  for (unsigned i = 0; i < COUNT(errors); i++) {
    rt_loop *loop;
    setup_error = errors[i];
    const rt_loop_options automatic = {.backend = RT_BACKEND_AUTO}, forced = {.backend = RT_BACKEND_URING};
    assert_int_equal(rt_loop_open(&loop, &automatic), 0);
    assert_int_equal(rt_loop_backend(loop), RT_BACKEND_SYNC);
    rt_loop_close(loop);
    assert_int_equal(rt_loop_open(&loop, &forced), errors[i]);
    assert_null(loop);
  }
  setup_error = 0;
  rt_loop *loop; /* the ring is allowed, entering is not */
  enter_error = -EPERM;
  enter_faults = 1;
  const rt_loop_options automatic = {.backend = RT_BACKEND_AUTO};
  assert_int_equal(rt_loop_open(&loop, &automatic), 0);
  assert_int_equal(rt_loop_backend(loop), RT_BACKEND_SYNC);
}

/* The kernel takes a part of a submission: what was linked behind the cut must not run on its own. */
static void cut_chains_keep_their_order(void **state) {
  bed *t = of(state);
  for (take_less = 1; take_less < 4; take_less++)
    for (unsigned bad = 0; bad < 2; bad++) {
      rt_op ops[4] = {0};
      rt_file nothing;
      rt_file_init_fd(&nothing, 100000); /* EBADF */
      assert_int_equal(ftruncate(t->fd, 4096), 0);
      for (unsigned i = 0; i < 4; i++) {
        rt_file *f = bad && i == 0 ? &nothing : &t->file;
        if (i < 3)
          rt_prep_write(&ops[i], f, "abc", 3, 8192 + (uint64_t)i * 3);
        else
          rt_prep_fdatasync(&ops[i], f);
        if (i > 0) rt_order_after(&ops[i], &ops[i - 1]);
        rt_submit(t->loop, &ops[i]);
      }
      assert_int_equal(rt_wait(t->loop, &ops[3].c), bad ? -ECANCELED : 0);
      assert_int_equal(rt_error(&ops[0].c), bad ? -EBADF : 0);
      assert_int_equal(rt_error(&ops[1].c), bad ? -ECANCELED : 0);
      assert_int_equal(lseek(t->fd, 0, SEEK_END),
                       bad ? 4096 : 8192 + 9); /* and nothing was written behind the failure */
    }
}

static void read_pipe(bed *t, rt_op *op, char *buf) {
  memset(buf, '-', 8);
  rt_prep_read(op, &t->in, buf, 8, 0);
}

/* The buffer of a cancelled read is not touched once the read is reported as finished. */
static void cancelled_read_never_touches_its_buffer(void **state) {
  bed *t = of(state);
  char buf[8];
  rt_op op = {0};
  read_pipe(t, &op, buf);
  rt_submit(t->loop, &op);
  rt_flush(t->loop);
  rt_cancel(&op.c);
  assert_int_equal(rt_wait(t->loop, &op.c), -ECANCELED);
  assert_int_equal(write(t->pipe[1], "late", 4), 4);
  usleep(2000);
  assert_memory_equal(buf, "--------", 8);
  read_pipe(t, &op, buf); /* what was written is for the next one */
  rt_submit(t->loop, &op);
  assert_int_equal(rt_wait(t->loop, &op.c), 0);
  assert_memory_equal(buf, "late----", 8);
}

static void deadline_expires(void **state) {
  bed *t = of(state);
  char buf[8];
  rt_op op = {0};
  read_pipe(t, &op, buf);
  uint64_t start = now_ns();
  rt_set_deadline(&op, start + 10 * MS);
  rt_submit(t->loop, &op);
  assert_int_equal(rt_wait(t->loop, &op.c), -ETIME);
  assert_true(now_ns() >= start + 10 * MS);
  assert_int_equal(write(t->pipe[1], "late", 4), 4);
  usleep(2000);
  assert_memory_equal(buf, "--------", 8);
}

static void group_deadline_expires(void **state) {
  bed *t = of(state);
  char buf[2][8];
  rt_op ops[2] = {0};
  rt_group g = {0};
  rt_group_init(&g, RT_ALL, NULL, NULL);
  rt_group_set_deadline(&g, now_ns() + 10 * MS);
  for (unsigned i = 0; i < 2; i++) {
    read_pipe(t, &ops[i], buf[i]);
    assert_int_equal(rt_group_add(&g, &ops[i].c), 0);
  }
  rt_submit_group(t->loop, &g);
  assert_int_equal(rt_wait(t->loop, &g.c), -ETIME);
  assert_int_equal(rt_error(&ops[0].c), -ETIME);
  assert_int_equal(rt_error(&ops[1].c), -ETIME);
}

static void *cancel_soon(void *arg) {
  usleep(3000);
  rt_cancel(arg);
  return NULL;
}

static void cancel_from_another_thread(void **state) {
  bed *t = of(state);
  if (under_valgrind()) skip();
  for (unsigned patient = 0; patient < 2; patient++) {
    rt_loop *loop;
    char buf[8];
    rt_op op = {0};
    pthread_t thread;
    assert_int_equal(open_loop(&loop, patient), 0);
    read_pipe(t, &op, buf);
    rt_submit(loop, &op);
    pthread_create(&thread, NULL, cancel_soon, &op.c);
    assert_int_equal(rt_wait(loop, &op.c), -ECANCELED);
    pthread_join(thread, NULL);
    rt_loop_close(loop);
  }
}

static void *submit_and_exit(void *arg) {
  void **a = arg;
  rt_submit(a[0], a[1]);
  rt_flush(a[0]);
  return NULL;
}

/* The kernel cancels what an exiting thread has submitted. Nobody asked for it, so it is done again. */
static void thread_that_exits(void **state) {
  bed *t = of(state);
  char buf[8];
  rt_op op = {0};
  pthread_t thread;
  void *args[2] = {t->loop, &op};
  rt_stats before, after;
  rt_stats_read(&before);
  read_pipe(t, &op, buf);
  pthread_create(&thread, NULL, submit_and_exit, args);
  pthread_join(thread, NULL);
  usleep(5000);
  (void)rt_step(t->loop, 0, 10);
  assert_false(rt_finished(&op.c));
  assert_int_equal(write(t->pipe[1], "done", 4), 4);
  assert_int_equal(rt_wait(t->loop, &op.c), 0);
  rt_stats_read(&after);
  assert_int_equal(after.redone - before.redone, 1);
  assert_memory_equal(buf, "done", 4);
}

static void closing_waits_for_what_is_in_flight(void **state) {
  bed *t = of(state);
  rt_loop *loop;
  char buf[8];
  rt_op op = {0};
  assert_int_equal(open_loop(&loop, false), 0);
  read_pipe(t, &op, buf);
  rt_set_deadline(&op, now_ns() + 5 * MS);
  rt_submit(loop, &op);
  rt_loop_close(loop);
  assert_true(rt_finished(&op.c));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, take_down)
int main(void) {
  const struct CMUnitTest tests[] = {
      T(one_wait_is_one_enter),
      T(enter_errors_are_retried),
      T(enter_forbidden_later_goes_on_synchronously),
      T(setup_errors_choose_the_synchronous_backend),
      T(cut_chains_keep_their_order),
      T(cancelled_read_never_touches_its_buffer),
      T(deadline_expires),
      T(group_deadline_expires),
      T(cancel_from_another_thread),
      T(thread_that_exits),
      T(closing_waits_for_what_is_in_flight),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
