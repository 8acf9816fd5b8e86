/*
** test_conformance.c - what every backend must do alike, written once, run on all four.
*/
#include "support.h"

#include <errno.h>
#include <fcntl.h>

static bench *of(void **state) {
  if (!*state) skip();
  return *state;
}

static int run(bench *b, rt_op *op) {
  rt_submit(b->loop, op);
  return rt_wait(b->loop, &op->c);
}

static void write_filled(bench *b, size_t n) {
  char *buf = test_malloc(n);
  rt_op op = {0};
  fill_buffer(buf, n, 0);
  rt_prep_write(&op, &b->file, buf, n, 0);
  assert_int_equal(run(b, &op), 0);
  assert_int_equal(rt_bytes(&op.c), n);
  test_free(buf);
}

static void kinds(void **state) {
  bench *b = of(state);
  char buf[300], back[400];
  struct iovec iov[3] = {{buf, 100}, {buf + 100, 0}, {buf + 100, 200}};
  struct iovec into[2] = {{back, 50}, {back + 50, 350}};
  rt_op op = {0};
  fill_buffer(buf, sizeof(buf), 0);

  rt_prep_write(&op, &b->file, buf, 10, 1000);
  assert_int_equal(run(b, &op), 0);
  rt_prep_writev(&op, &b->file, iov, 3, 0);
  assert_int_equal(run(b, &op), 0);
  assert_int_equal(rt_bytes(&op.c), 300);
  rt_prep_fsync(&op, &b->file);
  assert_int_equal(run(b, &op), 0);
  rt_prep_truncate(&op, &b->file, 300);
  assert_int_equal(run(b, &op), 0);
  rt_prep_readv(&op, &b->file, into, 2, 0);
  assert_int_equal(run(b, &op), 0);
  assert_int_equal(rt_bytes(&op.c), 300);
  assert_filled(back, 300, 0);
  rt_prep_allocate(&op, &b->file, 0, 0, 500);
  assert_int_equal(run(b, &op), 0);
  rt_prep_advise(&op, &b->file, POSIX_FADV_WILLNEED, 0, 500);
  assert_int_equal(run(b, &op), 0);
  rt_prep_fdatasync(&op, &b->file);
  assert_int_equal(run(b, &op), 0);
  rt_prep_read(&op, &b->file, back, 400, 100);
  assert_int_equal(run(b, &op), 0);
  assert_int_equal(rt_bytes(&op.c), 400);
  assert_filled(back, 200, 100);
  rt_prep_timeout(&op, 2 * MS);
  assert_int_equal(run(b, &op), 0);
  rt_prep_nop(&op);
  assert_int_equal(run(b, &op), 0);

  rt_file second;
  rt_file_init_fd(&second, -1);
  rt_prep_open(&op, &second, b->path, O_RDONLY, 0);
  assert_int_equal(run(b, &op), 0);
  assert_true(second.fd >= 0);
  rt_prep_close(&op, &second);
  assert_int_equal(run(b, &op), 0);
  assert_int_equal(second.fd, -1);
}

static void queries_agree(void **state) {
  bench *b = of(state);
  char buf[64];
  rt_op good = {0}, bad = {0};
  rt_file nothing;
  write_filled(b, 64);
  rt_prep_read(&good, &b->file, buf, 64, 0);
  assert_false(rt_finished(&good.c) || rt_succeeded(&good.c) || rt_failed(&good.c));
  assert_int_equal(rt_error(&good.c), 0);
  assert_int_equal(rt_bytes(&good.c), 0);
  assert_int_equal(rt_expected(&good.c), 64);
  assert_int_equal(run(b, &good), 0);
  assert_true(rt_finished(&good.c) && rt_succeeded(&good.c) && !rt_failed(&good.c));
  assert_int_equal(rt_bytes(&good.c), 64);
  assert_int_equal(rt_kind_of(&good.c), RT_READ);

  rt_file_init_fd(&nothing, -1);
  rt_prep_read(&bad, &nothing, buf, 64, 0);
  assert_int_equal(run(b, &bad), -EBADF);
  assert_true(rt_finished(&bad.c) && !rt_succeeded(&bad.c) && rt_failed(&bad.c));
  assert_int_equal(rt_error(&bad.c), -EBADF);
  assert_int_equal(rt_bytes(&bad.c), 0);
  assert_int_equal(rt_expected(&bad.c), 64);

  assert_true(rt_finished(rt_yield()) && rt_succeeded(rt_yield()) && !rt_failed(rt_yield()));
  assert_int_equal(rt_kind_of(rt_yield()), RT_YIELD);
  assert_int_equal(rt_wait(b->loop, rt_yield()), 0);
}

static void end_of_file_is_a_short_count(void **state) {
  bench *b = of(state);
  char buf[64];
  rt_op op = {0};
  write_filled(b, 40);
  rt_prep_truncate(&op, &b->file, 40);
  assert_int_equal(run(b, &op), 0);
  rt_prep_read(&op, &b->file, buf, 64, 0);
  assert_int_equal(run(b, &op), 0);
  assert_int_equal(rt_bytes(&op.c), 40);
  rt_prep_read(&op, &b->file, buf, 64, 4000);
  assert_int_equal(run(b, &op), 0);
  assert_int_equal(rt_bytes(&op.c), 0);
  rt_prep_read(&op, &b->file, buf, 0, 0);
  assert_int_equal(run(b, &op), 0);
}

static void errors_keep_errno(void **state) {
  bench *b = of(state);
  rt_file missing;
  rt_op op = {0};
  rt_file_init_fd(&missing, -1);
  rt_prep_open(&op, &missing, "/there/is/no/such/file", O_RDONLY, 0);
  assert_int_equal(run(b, &op), -ENOENT);
  assert_int_equal(missing.fd, -1);
  rt_prep_fsync(&op, &missing);
  assert_int_equal(run(b, &op), -EBADF);
}

static void back_pressure(void **state) {
  bench *b = of(state);
  enum { N = 300, SIZE = 128 };
  rt_op *ops = test_calloc(N, sizeof(*ops));
  char *back = test_malloc((size_t)N * SIZE);
  rt_group g = {0};
  write_filled(b, (size_t)N * SIZE);
  rt_group_init(&g, RT_ALL, NULL, NULL);
  for (unsigned i = 0; i < N; i++) {
    rt_prep_read(&ops[i], &b->file, back + (size_t)i * SIZE, SIZE, (uint64_t)i * SIZE);
    assert_int_equal(rt_group_add(&g, &ops[i].c), 0);
  }
  rt_submit_group(b->loop, &g);
  assert_int_equal(rt_wait(b->loop, &g.c), 0);
  assert_int_equal(rt_bytes(&g.c), N * SIZE);
  assert_filled(back, (size_t)N * SIZE, 0);
  assert_int_equal(rt_in_flight(b->loop), 0);

  for (unsigned i = 0; i < N; i++) { /* one by one, never waiting in between */
    rt_prep_read(&ops[i], &b->file, back, SIZE, 0);
    rt_submit(b->loop, &ops[i]);
  }
  rt_run(b->loop);
  for (unsigned i = 0; i < N; i++) assert_true(rt_succeeded(&ops[i].c));
  test_free(back);
  test_free(ops);
}

static void group_empty(void **state) {
  bench *b = of(state);
  rt_group g = {0};
  unsigned calls = 0;
  rt_group_init(&g, RT_ALL, count_calls, &calls);
  rt_submit_group(b->loop, &g);
  assert_int_equal(rt_wait(b->loop, &g.c), 0);
  assert_int_equal(calls, 1);
  assert_true(rt_succeeded(&g.c));
}

static void group_first_error(void **state) {
  bench *b = of(state);
  char buf[4][16];
  rt_op ops[4] = {0};
  rt_file nothing, missing;
  rt_group g = {0};
  write_filled(b, 16);
  rt_file_init_fd(&nothing, -1);
  rt_file_init_fd(&missing, -1);
  rt_group_init(&g, RT_ALL, NULL, NULL);
  rt_prep_read(&ops[0], &b->file, buf[0], 16, 0);
  rt_prep_read(&ops[1], &nothing, buf[1], 16, 0);
  rt_prep_open(&ops[2], &missing, "/there/is/no/such/file", O_RDONLY, 0);
  rt_prep_read(&ops[3], &b->file, buf[3], 16, 0);
  for (unsigned i = 0; i < 4; i++) assert_int_equal(rt_group_add(&g, &ops[i].c), 0);
  rt_submit_group(b->loop, &g);
  assert_int_equal(rt_wait(b->loop, &g.c), -EBADF);
  assert_true(rt_failed(&g.c));
  assert_int_equal(rt_error(&g.c), -EBADF);
  assert_int_equal(rt_error(&ops[2].c), -ENOENT);
  assert_int_equal(rt_bytes(&ops[0].c), 16);
  assert_int_equal(rt_bytes(&ops[3].c), 16);
  assert_int_equal(rt_bytes(&g.c), 32);
  assert_int_equal(rt_expected(&g.c), 48);
}

static void group_nesting(void **state) {
  bench *b = of(state);
  enum { LEVELS = 4 };
  rt_group g[LEVELS] = {0};
  rt_op ops[LEVELS] = {0};
  char buf[LEVELS][8];
  unsigned calls = 0;
  rt_file nothing;
  rt_file_init_fd(&nothing, -1);
  write_filled(b, 8);
  for (unsigned bad = 0; bad < 2; bad++) {
    calls = 0;
    for (unsigned i = 0; i < LEVELS; i++) {
      rt_group_init(&g[i], RT_ALL, count_calls, &calls);
      rt_prep_read(&ops[i], bad && i == LEVELS - 1 ? &nothing : &b->file, buf[i], 8, 0);
      assert_int_equal(rt_group_add(&g[i], &ops[i].c), 0);
      if (i > 0) assert_int_equal(rt_group_add(&g[i - 1], &g[i].c), 0);
    }
    rt_submit_group(b->loop, &g[0]);
    assert_int_equal(rt_wait(b->loop, &g[0].c), bad ? -EBADF : 0);
    assert_int_equal(calls, LEVELS);
    assert_int_equal(rt_bytes(&g[0].c), bad ? 24 : 32);
    for (unsigned i = 0; i < LEVELS; i++) assert_true(rt_finished(&g[i].c));
  }
}

static void ordered_batches(void **state) {
  bench *b = of(state);
  enum { N = 40, SIZE = 100 };
  rt_op ops[N + 1] = {0};
  char *buf = test_malloc((size_t)N * SIZE);
  rt_group g = {0};
  fill_buffer(buf, (size_t)N * SIZE, 0);
  rt_group_init(&g, RT_ALL, NULL, NULL);
  for (unsigned i = 0; i < N; i++) {
    rt_prep_write(&ops[i], &b->file, buf + (size_t)i * SIZE, SIZE, (uint64_t)i * SIZE);
    if (i > 0) rt_order_after(&ops[i], &ops[i - 1]);
    assert_int_equal(rt_group_add(&g, &ops[i].c), 0);
  }
  rt_prep_fdatasync(&ops[N], &b->file);
  rt_order_after(&ops[N], &ops[N - 1]);
  assert_int_equal(rt_group_add(&g, &ops[N].c), 0);
  rt_submit_group(b->loop, &g);
  assert_int_equal(rt_wait(b->loop, &g.c), 0);
  assert_int_equal(rt_bytes(&g.c), N * SIZE);
  test_free(buf);
}

static void ordered_after_a_failure_is_cancelled(void **state) {
  bench *b = of(state);
  rt_op ops[3] = {0};
  rt_file nothing;
  rt_file_init_fd(&nothing, -1);
  rt_prep_write(&ops[0], &nothing, "x", 1, 0);
  rt_prep_write(&ops[1], &b->file, "x", 1, 0);
  rt_prep_fsync(&ops[2], &b->file);
  rt_order_after(&ops[1], &ops[0]);
  rt_order_after(&ops[2], &ops[1]);
  for (unsigned i = 0; i < 3; i++) rt_submit(b->loop, &ops[i]);
  assert_int_equal(rt_wait(b->loop, &ops[2].c), -ECANCELED);
  assert_int_equal(rt_error(&ops[0].c), -EBADF);
  assert_int_equal(rt_error(&ops[1].c), -ECANCELED);
}

static int veto(rt_completion *c, int error, void *arg) {
  (void)c;
  (void)arg;
  return error ? error : -EILSEQ;
}

static void callback_may_veto(void **state) {
  bench *b = of(state);
  char buf[8];
  rt_op op = {0};
  rt_group g = {0};
  write_filled(b, 8);
  rt_group_init(&g, RT_ALL, NULL, NULL);
  rt_prep_read(&op, &b->file, buf, 8, 0);
  rt_on_finish(&op, veto, NULL);
  assert_int_equal(rt_group_add(&g, &op.c), 0);
  rt_submit_group(b->loop, &g);
  assert_int_equal(rt_wait(b->loop, &g.c), -EILSEQ);
  assert_int_equal(rt_error(&op.c), -EILSEQ);
  assert_int_equal(rt_bytes(&op.c), 8);
}

typedef struct seen {
  bool inside_submit, finished_too_early;
  bool submitting;
  unsigned calls, depth, deepest;
  bench *b;
  unsigned left;
  char buf[8];
} seen;

static int watch(rt_completion *c, int error, void *arg) {
  seen *s = arg;
  s->calls++;
  if (s->submitting) s->inside_submit = true;
  if (rt_finished(c)) s->finished_too_early = true;
  return error;
}

static void callbacks_never_inside_submit(void **state) {
  bench *b = of(state);
  seen s = {0};
  rt_op op = {0};
  rt_group g = {0};
  write_filled(b, 8);
  rt_group_init(&g, RT_ALL, watch, &s);
  rt_prep_read(&op, &b->file, s.buf, 8, 0);
  rt_on_finish(&op, watch, &s);
  assert_int_equal(rt_group_add(&g, &op.c), 0);
  s.submitting = true;
  rt_submit_group(b->loop, &g);
  s.submitting = false;
  assert_int_equal(s.calls, 0);
  assert_int_equal(rt_wait(b->loop, &g.c), 0);
  assert_int_equal(s.calls, 2);
  assert_false(s.inside_submit);
  assert_false(s.finished_too_early); /* published after the callback */

  /* the group's alone: its last child has none and may be finished at once */
  s = (seen){0};
  rt_group_init(&g, RT_ALL, watch, &s);
  rt_prep_read(&op, &b->file, s.buf, 8, 0);
  assert_int_equal(rt_group_add(&g, &op.c), 0);
  rt_group_build(&g);
  s.submitting = true;
  rt_submit(b->loop, &op);
  s.submitting = false;
  assert_int_equal(s.calls, 0);
  assert_int_equal(rt_wait(b->loop, &g.c), 0);
  assert_int_equal(s.calls, 1);
}

static int submit_next(rt_completion *c, int error, void *arg) {
  seen *s = arg;
  (void)c;
  if (++s->depth > s->deepest) s->deepest = s->depth;
  s->calls++;
  if (error == 0 && s->left > 0) {
    static rt_op ops[2]; /* the one whose callback runs is still live */
    rt_op *op = &ops[s->left-- % 2];
    rt_prep_read(op, &s->b->file, s->buf, 8, 0);
    rt_on_finish(op, submit_next, s);
    s->submitting = true;
    rt_submit(s->b->loop, op);
    s->submitting = false;
  }
  s->depth--;
  return error;
}

static void callbacks_may_submit_and_nothing_recurses(void **state) {
  bench *b = of(state);
  seen s = {.b = b, .left = 5000};
  rt_op op = {0};
  write_filled(b, 8);
  rt_prep_read(&op, &b->file, s.buf, 8, 0);
  rt_on_finish(&op, submit_next, &s);
  rt_submit(b->loop, &op);
  rt_run(b->loop);
  assert_int_equal(s.calls, 5001);
  assert_int_equal(s.deepest, 1);
}

static void step_is_bounded(void **state) {
  bench *b = of(state);
  rt_op ops[10] = {0};
  unsigned calls = 0, rounds = 0, finished = 0;
  for (unsigned i = 0; i < 10; i++) {
    rt_prep_nop(&ops[i]);
    rt_on_finish(&ops[i], count_calls, &calls);
    rt_submit(b->loop, &ops[i]);
  }
  while (finished < 10 && rounds++ < 1000) {
    unsigned n = rt_step(b->loop, 100 * MS, 3);
    assert_true(n <= 3);
    finished += n;
    assert_int_equal(finished, calls);
  }
  assert_int_equal(finished, 10);
  assert_int_equal(rt_step(b->loop, 100 * MS, 3), 0); /* nothing in flight: does not sleep */
}

/* Defect 12: callbacks that go on submitting must not keep the one who waits for something else. */
static void wait_is_not_starved(void **state) {
  bench *b = of(state);
  seen s = {.b = b, .left = 1000000};
  rt_op chatter = {0}, wanted = {0};
  write_filled(b, 8);
  rt_prep_read(&chatter, &b->file, s.buf, 8, 0);
  rt_on_finish(&chatter, submit_next, &s);
  rt_submit(b->loop, &chatter);
  rt_prep_nop(&wanted);
  rt_submit(b->loop, &wanted);
  assert_int_equal(rt_wait(b->loop, &wanted.c), 0);
  assert_true(s.calls < 100000);
  s.left = 0;
  rt_run(b->loop);
}

static void cancel_before_submit(void **state) {
  bench *b = of(state);
  char buf[8];
  unsigned calls = 0;
  rt_op op = {0};
  rt_prep_read(&op, &b->file, buf, 8, 0);
  rt_on_finish(&op, count_calls, &calls);
  rt_cancel(&op.c);
  rt_submit(b->loop, &op);
  assert_int_equal(rt_wait(b->loop, &op.c), -ECANCELED);
  assert_int_equal(calls, 1);
  rt_cancel(&op.c);
  assert_int_equal(rt_error(&op.c), -ECANCELED);

  write_filled(b, 8);
  rt_prep_read(&op, &b->file, buf, 8, 0);
  assert_int_equal(run(b, &op), 0);
  rt_cancel(&op.c); /* too late: it says what it did */
  assert_int_equal(rt_error(&op.c), 0);
}

static void deadline_in_the_past(void **state) {
  bench *b = of(state);
  char buf[8];
  rt_op op = {0};
  rt_prep_read(&op, &b->file, buf, 8, 0);
  rt_set_deadline(&op, 1);
  assert_int_equal(run(b, &op), -ETIME);
}

/* A machine of two reads and a yield, driven. */
typedef struct machine {
  bench *b;
  enum { START, READING, YIELDING, AGAIN } state;
  rt_op op;
  char buf[8];
  unsigned calls;
} machine;

static rt_result machine_step(void *arg) {
  machine *m = arg;
  m->calls++;
  switch (m->state) {
  case START:
    rt_prep_read(&m->op, &m->b->file, m->buf, 8, 0);
    rt_submit(m->b->loop, &m->op);
    m->state = READING;
    __attribute__((fallthrough));
  case READING:
    RT_RETURN_IF_IO(rt_await(&m->op.c));
    m->state = YIELDING;
    RT_YIELD_ONE(rt_yield());
  case YIELDING:
    rt_prep_read(&m->op, &m->b->file, m->buf, 4, 4);
    rt_submit(m->b->loop, &m->op);
    m->state = AGAIN;
    __attribute__((fallthrough));
  case AGAIN: return rt_await(&m->op.c);
  }
  return rt_fail(-EINVAL);
}

static unsigned yields;
static void waiter(rt_completion *c, void *arg) {
  if (rt_kind_of(c) == RT_YIELD) yields++;
  rt_wait(arg, c);
}

static void driver_blocks_on_one(void **state) {
  bench *b = of(state);
  machine m = {.b = b};
  write_filled(b, 8);
  yields = 0;
  assert_int_equal(rt_drive(machine_step, &m, waiter, b->loop), 0);
  assert_filled(m.buf, 4, 4);
  assert_int_equal(yields, 1);
  assert_true(m.calls <= 4);
}

/* What the program itself has done is what the file says, whatever the backend did on the way. */
static void random_writes_read_back(void **state) {
  bench *b = of(state);
  enum { SIZE = 20000, N = 200 };
  char *model = test_calloc(1, SIZE), *back = test_calloc(1, SIZE);
  uint64_t random = 42;
  for (unsigned i = 0; i < N; i++) {
    uint64_t offset = sim_random(&random) % SIZE, n = sim_random(&random) % (SIZE - offset);
    memset(model + offset, (int)(i + 1), n);
    rt_op op = {0};
    rt_prep_write(&op, &b->file, model + offset, n, offset);
    assert_int_equal(run(b, &op), 0);
    assert_int_equal(rt_bytes(&op.c), n);
  }
  rt_op op = {0};
  rt_prep_write(&op, &b->file, model + SIZE - 1, 1, SIZE - 1);
  assert_int_equal(run(b, &op), 0);
  rt_prep_read(&op, &b->file, back, SIZE, 0);
  assert_int_equal(run(b, &op), 0);
  assert_memory_equal(model, back, SIZE);
  test_free(model);
  test_free(back);
}

static int run_on(const char *name, CMFixtureFunction set_up) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(kinds, set_up, tear_down),
      cmocka_unit_test_setup_teardown(queries_agree, set_up, tear_down),
      cmocka_unit_test_setup_teardown(end_of_file_is_a_short_count, set_up, tear_down),
      cmocka_unit_test_setup_teardown(errors_keep_errno, set_up, tear_down),
      cmocka_unit_test_setup_teardown(back_pressure, set_up, tear_down),
      cmocka_unit_test_setup_teardown(group_empty, set_up, tear_down),
      cmocka_unit_test_setup_teardown(group_first_error, set_up, tear_down),
      cmocka_unit_test_setup_teardown(group_nesting, set_up, tear_down),
      cmocka_unit_test_setup_teardown(ordered_batches, set_up, tear_down),
      cmocka_unit_test_setup_teardown(ordered_after_a_failure_is_cancelled, set_up, tear_down),
      cmocka_unit_test_setup_teardown(callback_may_veto, set_up, tear_down),
      cmocka_unit_test_setup_teardown(callbacks_never_inside_submit, set_up, tear_down),
      cmocka_unit_test_setup_teardown(callbacks_may_submit_and_nothing_recurses, set_up, tear_down),
      cmocka_unit_test_setup_teardown(step_is_bounded, set_up, tear_down),
      cmocka_unit_test_setup_teardown(wait_is_not_starved, set_up, tear_down),
      cmocka_unit_test_setup_teardown(cancel_before_submit, set_up, tear_down),
      cmocka_unit_test_setup_teardown(deadline_in_the_past, set_up, tear_down),
      cmocka_unit_test_setup_teardown(driver_blocks_on_one, set_up, tear_down),
      cmocka_unit_test_setup_teardown(random_writes_read_back, set_up, tear_down),
  };
  print_message("conformance: %s\n", name);
  return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) {
  return run_on("io_uring", set_up_uring) + run_on("synchronous", set_up_sync) + run_on("memory", set_up_memory) +
         run_on("simulation", set_up_simulation);
}
