/*
** test_attempts.c - what becomes of short transfers, repeated and given-up attempts, chains and cancellations, attempt
** by attempt, on the memory backend.
*/
#include "support.h"

#include <errno.h>
#include <fcntl.h>

typedef struct bed {
  bench *b;
  rt_loop *loop;
  rt_op op[4];
  char buf[100], back[100];
} bed;

static int set_up(void **state) {
  int error = set_up_memory(state);
  bench *b = *state;
  bed *t = test_calloc(1, sizeof(*t));
  t->b = b;
  t->loop = b->loop;
  fill_buffer(t->buf, sizeof(t->buf), 0);
  *state = t;
  return error;
}

static int take_down(void **state) {
  bed *t = *state;
  void *b = t->b;
  sim_memory_hold(t->loop, false);
  sim_memory_limit(t->loop, 0);
  test_free(t);
  return tear_down(&b);
}

static const char *content(bed *t, uint64_t *size) { return sim_world_content(t->b->world, t->b->path, size); }

static void submit_write(bed *t, unsigned i, uint64_t offset, uint64_t n) {
  rt_prep_write(&t->op[i], &t->b->file, t->buf + offset, n, offset);
  rt_submit(t->loop, &t->op[i]);
}

/* Defect 9: single writes were not resumed. */
static void short_write_is_resumed(void **state) {
  bed *t = *state;
  rt_stats before, after;
  uint64_t size;
  sim_memory_limit(t->loop, 30);
  unsigned started = sim_memory_started(t->loop);
  rt_stats_read(&before);
  submit_write(t, 0, 0, 100);
  assert_int_equal(rt_wait(t->loop, &t->op[0].c), 0);
  rt_stats_read(&after);
  assert_int_equal(rt_bytes(&t->op[0].c), 100);
  assert_int_equal(sim_memory_started(t->loop) - started, 4);
  assert_int_equal(after.resumed - before.resumed, 3);
  assert_memory_equal(content(t, &size), t->buf, 100);
}

static void short_vectors_are_resumed(void **state) {
  bed *t = *state;
  struct iovec iov[4] = {{t->buf, 33}, {t->buf + 33, 0}, {t->buf + 33, 60}, {t->buf + 93, 7}};
  struct iovec into[3] = {{t->back, 1}, {t->back + 1, 98}, {t->back + 99, 1}};
  uint64_t size;
  for (uint64_t most = 1; most < 50; most += 7) {
    sim_memory_limit(t->loop, most);
    rt_prep_writev(&t->op[0], &t->b->file, iov, 4, 0);
    rt_submit(t->loop, &t->op[0]);
    assert_int_equal(rt_wait(t->loop, &t->op[0].c), 0);
    assert_int_equal(rt_bytes(&t->op[0].c), 100);
    assert_memory_equal(content(t, &size), t->buf, 100);
    memset(t->back, 0, sizeof(t->back));
    rt_prep_readv(&t->op[0], &t->b->file, into, 3, 0);
    rt_submit(t->loop, &t->op[0]);
    assert_int_equal(rt_wait(t->loop, &t->op[0].c), 0);
    assert_filled(t->back, 100, 0);
    assert_int_equal(iov[2].iov_len, 60); /* the caller's array stays as it was */
  }
}

static void no_progress_is_an_error(void **state) {
  bed *t = *state;
  sim_memory_hold(t->loop, true);
  submit_write(t, 0, 0, 100);
  assert_true(sim_memory_finish_as(t->loop, &t->op[0], 40));
  rt_flush(t->loop);
  (void)rt_step(t->loop, 0, 10);
  assert_false(rt_finished(&t->op[0].c)); /* progress is no finish */
  assert_true(sim_memory_finish_as(t->loop, &t->op[0], 0));
  (void)rt_step(t->loop, 0, 10);
  assert_int_equal(rt_error(&t->op[0].c), -EIO);
  assert_int_equal(rt_bytes(&t->op[0].c), 40); /* expected and actual survive */
  assert_int_equal(rt_expected(&t->op[0].c), 100);
}

static void enospc_after_a_part(void **state) {
  bed *t = *state;
  sim_world_set_space(t->b->world, 60);
  submit_write(t, 0, 0, 100);
  assert_int_equal(rt_wait(t->loop, &t->op[0].c), -ENOSPC);
  assert_int_equal(rt_bytes(&t->op[0].c), 60);
}

static void interrupted_attempts_are_repeated(void **state) {
  bed *t = *state;
  const int errors[] = {-EINTR, -EAGAIN};
  for (unsigned i = 0; i < COUNT(errors); i++)
    for (unsigned times = 1; times < 20; times += 6) { /* more than it tries: then inline */
      sim_memory_fail(t->loop, 1, times, errors[i]);
      submit_write(t, 0, 0, 100);
      assert_int_equal(rt_wait(t->loop, &t->op[0].c), 0);
      assert_int_equal(rt_bytes(&t->op[0].c), 100);
      sim_memory_fail(t->loop, 1, 0, 0);
    }
}

static void given_up_attempts_are_redone(void **state) {
  bed *t = *state;
  const int errors[] = {-EFAULT, -ECANCELED, -ENOMEM};
  for (unsigned i = 0; i < COUNT(errors); i++) {
    rt_stats before, after;
    rt_stats_read(&before);
    sim_memory_fail(t->loop, 1, 1, errors[i]);
    submit_write(t, 0, 0, 100);
    assert_int_equal(rt_wait(t->loop, &t->op[0].c), 0);
    rt_stats_read(&after);
    assert_int_equal(after.redone - before.redone, 1);
  }
}

static unsigned inline_calls;
static int64_t count_inline(rt_op *op) {
  inline_calls++;
  return (int64_t)op->length;
}

/* A file that has a descriptor and inline operations: whatever does not end on the ring ends there, never in a system
** call. */
static void given_up_attempts_of_a_shared_file(void **state) {
  bed *t = *state;
  rt_file f;
  const int errors[] = {-EFAULT, -ECANCELED, -ENOMEM};
  rt_file_init_shared(&f, t->b->file.fd, count_inline);
  for (unsigned i = 0; i < COUNT(errors); i++) {
    inline_calls = 0;
    rt_prep_write(&t->op[0], &f, t->buf, 100, 0);
    rt_submit(t->loop, &t->op[0]);
    assert_int_equal(rt_wait(t->loop, &t->op[0].c), 0);
    assert_int_equal(inline_calls, 0);
    sim_memory_fail(t->loop, 1, 1, errors[i]);
    rt_prep_write(&t->op[0], &f, t->back, 100, 0); /* other bytes, which the descriptor must not see */
    rt_submit(t->loop, &t->op[0]);
    assert_int_equal(rt_wait(t->loop, &t->op[0].c), 0);
    assert_int_equal(inline_calls, 1);
    uint64_t size;
    assert_memory_equal(content(t, &size), t->buf, 100);
  }
  /* repeated until it is enough */
  sim_memory_fail(t->loop, 1, 100, -EAGAIN);
  rt_prep_write(&t->op[0], &f, t->back, 100, 0);
  rt_submit(t->loop, &t->op[0]);
  assert_int_equal(rt_wait(t->loop, &t->op[0].c), 0);
  assert_int_equal(inline_calls, 2);
  /* of a part that was written on the ring, the whole is written again */
  sim_memory_fail(t->loop, 1, 0, 0);
  sim_memory_hold(t->loop, true);
  rt_prep_write(&t->op[0], &f, t->buf, 100, 0);
  rt_submit(t->loop, &t->op[0]);
  assert_true(sim_memory_finish_as(t->loop, &t->op[0], 40));
  rt_flush(t->loop);
  assert_true(sim_memory_finish_as(t->loop, &t->op[0], -ECANCELED));
  assert_int_equal(rt_wait(t->loop, &t->op[0].c), 0);
  assert_int_equal(inline_calls, 3);
  assert_int_equal(rt_bytes(&t->op[0].c), 100);
}

static void other_errors_arrive(void **state) {
  bed *t = *state;
  sim_memory_fail(t->loop, 1, 1, -EDQUOT);
  submit_write(t, 0, 0, 100);
  assert_int_equal(rt_wait(t->loop, &t->op[0].c), -EDQUOT);
}

static void submit_chain(bed *t, unsigned writes) {
  for (unsigned i = 0; i <= writes; i++) {
    if (i < writes)
      rt_prep_write(&t->op[i], &t->b->file, t->buf + (size_t)i * 10, 10, (uint64_t)i * 10);
    else
      rt_prep_fsync(&t->op[i], &t->b->file);
    if (i > 0) rt_order_after(&t->op[i], &t->op[i - 1]);
    rt_submit(t->loop, &t->op[i]);
  }
}

static unsigned order_seen[8], order_count;
static int note_order(rt_completion *c, int error, void *arg) {
  (void)c;
  order_seen[order_count++] = *(unsigned *)arg;
  return error;
}

/* Defect 10: a short write breaks the link; it is resumed and the fsync runs after it. */
static void ordered_short_write(void **state) {
  bed *t = *state;
  static unsigned numbers[3] = {0, 1, 2};
  uint64_t size;
  order_count = 0;
  sim_memory_hold(t->loop, true);
  for (unsigned i = 0; i < 3; i++) {
    if (i < 2)
      rt_prep_write(&t->op[i], &t->b->file, t->buf + (size_t)i * 10, 10, (uint64_t)i * 10);
    else
      rt_prep_fsync(&t->op[i], &t->b->file);
    rt_on_finish(&t->op[i], note_order, &numbers[i]);
    if (i > 0) rt_order_after(&t->op[i], &t->op[i - 1]);
    rt_submit(t->loop, &t->op[i]);
  }
  assert_true(sim_memory_finish_as(t->loop, &t->op[0], 4));
  sim_memory_hold(t->loop, false);
  assert_int_equal(rt_wait(t->loop, &t->op[2].c), 0);
  for (unsigned i = 0; i < 3; i++) assert_int_equal(order_seen[i], i);
  assert_memory_equal(content(t, &size), t->buf, 20);
  assert_int_equal(size, 20);
}

/* A transfer above 2 GiB is several attempts, and the kernel sees the link kept after the first. What ran behind it
** counts for nothing, even if it is reported after the last of them. */
static void ordered_and_overtaken(void **state) {
  bed *t = *state;
  sim_memory_hold(t->loop, true);
  sim_memory_keep_links(t->loop, true);
  submit_chain(t, 1);
  assert_true(sim_memory_finish_as(t->loop, &t->op[0], 4));
  (void)rt_step(t->loop, 0, 10);
  assert_true(sim_memory_finish(t->loop, &t->op[0])); /* the rest */
  (void)rt_step(t->loop, 0, 10);
  assert_true(rt_succeeded(&t->op[0].c));
  unsigned started = sim_memory_started(t->loop);
  assert_true(sim_memory_finish(t->loop, &t->op[1]));
  (void)rt_step(t->loop, 0, 10);
  assert_false(rt_finished(&t->op[1].c));
  sim_memory_hold(t->loop, false);
  assert_int_equal(rt_wait(t->loop, &t->op[1].c), 0);
  assert_int_equal(sim_memory_started(t->loop) - started, 1);
  sim_memory_keep_links(t->loop, false);
}

static void ordered_failure_goes_down(void **state) {
  bed *t = *state;
  sim_memory_fail(t->loop, 2, 1, -ENOSPC);
  submit_chain(t, 3);
  assert_int_equal(rt_wait(t->loop, &t->op[3].c), -ECANCELED);
  assert_int_equal(rt_error(&t->op[0].c), 0);
  assert_int_equal(rt_error(&t->op[1].c), -ENOSPC);
  assert_int_equal(rt_error(&t->op[2].c), -ECANCELED);
}

static void ordered_given_up(void **state) {
  bed *t = *state;
  for (unsigned n = 1; n <= 3; n++) {
    sim_memory_fail(t->loop, n, 1, -ECANCELED);
    submit_chain(t, 3);
    assert_int_equal(rt_wait(t->loop, &t->op[3].c), 0);
    for (unsigned i = 0; i < 4; i++) assert_int_equal(rt_error(&t->op[i].c), 0);
  }
}

/* Pages that were written back before met an error, and the file system gave it that number. It is told once. */
static void errors_of_a_flush_are_final(void **state) {
  static const int errors[] = {-EINTR, -EAGAIN, -ECANCELED, -EFAULT, -ENOMEM, -EIO};
  bed *t = *state;
  for (size_t e = 0; e < sizeof errors / sizeof *errors; e++) {
    sim_memory_fail(t->loop, 4, 1, errors[e]);
    submit_chain(t, 3);
    assert_int_equal(rt_wait(t->loop, &t->op[3].c), errors[e]);
    for (unsigned i = 0; i < 3; i++) assert_int_equal(rt_error(&t->op[i].c), 0);
  }
}

static void ordered_across_submissions(void **state) {
  bed *t = *state;
  uint64_t size;
  sim_memory_hold(t->loop, true);
  submit_write(t, 0, 0, 10);
  rt_flush(t->loop); /* it has left */
  rt_prep_fsync(&t->op[1], &t->b->file);
  rt_order_after(&t->op[1], &t->op[0]);
  rt_submit(t->loop, &t->op[1]);
  rt_flush(t->loop);
  assert_false(sim_memory_finish(t->loop, &t->op[1])); /* held: not started */
  assert_true(sim_memory_finish(t->loop, &t->op[0]));
  sim_memory_hold(t->loop, false);
  assert_int_equal(rt_wait(t->loop, &t->op[1].c), 0);
  (void)content(t, &size);
  assert_int_equal(size, 10);
}

static void ordered_after_what_is_through(void **state) {
  bed *t = *state;
  submit_write(t, 0, 0, 10);
  assert_int_equal(rt_wait(t->loop, &t->op[0].c), 0);
  rt_prep_fsync(&t->op[1], &t->b->file);
  rt_order_after(&t->op[1], &t->op[0]);
  rt_submit(t->loop, &t->op[1]);
  assert_int_equal(rt_wait(t->loop, &t->op[1].c), 0);
}

/* Defect 6: finished only when the device is through with the buffer. */
static void cancel_tells_the_truth(void **state) {
  bed *t = *state;
  sim_memory_hold(t->loop, true);
  submit_write(t, 0, 0, 10);
  rt_flush(t->loop);
  rt_cancel(&t->op[0].c);
  (void)rt_step(t->loop, 0, 10);
  assert_false(rt_finished(&t->op[0].c));
  assert_int_equal(sim_memory_cancels(t->loop), 1);
  (void)rt_step(t->loop, 0, 10);
  assert_int_equal(sim_memory_cancels(t->loop), 1); /* asked once */
  assert_true(sim_memory_finish(t->loop, &t->op[0]));
  (void)rt_step(t->loop, 0, 10);
  assert_int_equal(rt_error(&t->op[0].c), 0); /* it succeeded after all and says so */

  submit_write(t, 1, 0, 10);
  rt_flush(t->loop);
  rt_cancel(&t->op[1].c);
  assert_true(sim_memory_finish_as(t->loop, &t->op[1], -ECANCELED));
  (void)rt_step(t->loop, 0, 10);
  assert_int_equal(rt_error(&t->op[1].c), -ECANCELED);

  submit_write(t, 2, 0, 10);
  rt_flush(t->loop);
  rt_cancel(&t->op[2].c);
  assert_true(sim_memory_finish_as(t->loop, &t->op[2], 6));
  (void)rt_step(t->loop, 0, 10);
  assert_int_equal(rt_error(&t->op[2].c), -ECANCELED); /* not resumed */
  assert_int_equal(rt_bytes(&t->op[2].c), 6);
}

static void cancel_of_queued_never_starts(void **state) {
  bed *t = *state;
  unsigned started = sim_memory_started(t->loop);
  submit_chain(t, 2);
  rt_cancel(&t->op[0].c);
  assert_int_equal(rt_wait(t->loop, &t->op[2].c), -ECANCELED);
  assert_int_equal(rt_error(&t->op[0].c), -ECANCELED);
  assert_int_equal(sim_memory_started(t->loop), started);
}

static void cancel_of_a_group_with_all_sorts(void **state) {
  bed *t = *state;
  rt_group g = {0}, inner = {0};
  rt_completion event = {0};
  sim_memory_hold(t->loop, true);
  rt_group_init(&g, RT_ALL, NULL, NULL);
  rt_group_init(&inner, RT_ALL, NULL, NULL);
  rt_event_init(&event, NULL, NULL);
  for (unsigned i = 0; i < 3; i++) {
    rt_prep_write(&t->op[i], &t->b->file, t->buf, 10, 0);
    assert_int_equal(rt_group_add(i < 2 ? &g : &inner, &t->op[i].c), 0);
  }
  assert_int_equal(rt_group_add(&inner, &event), 0);
  assert_int_equal(rt_group_add(&g, &inner.c), 0);
  rt_submit_group(t->loop, &g);
  assert_true(sim_memory_finish(t->loop, &t->op[0]));
  (void)rt_step(t->loop, 0, 10);
  rt_cancel(&g.c);
  assert_true(sim_memory_finish_as(t->loop, &t->op[1], -ECANCELED));
  (void)rt_step(t->loop, 0, 10);
  assert_false(rt_finished(&g.c)); /* one is still with the device */
  assert_int_equal(rt_error(&event), -ECANCELED);
  assert_true(sim_memory_finish(t->loop, &t->op[2]));
  assert_int_equal(rt_wait(t->loop, &g.c), -ECANCELED);
  assert_int_equal(rt_error(&inner.c), -ECANCELED);
  assert_int_equal(rt_error(&t->op[2].c), 0);
}

static void abort_on_error_cancels_the_rest(void **state) {
  bed *t = *state;
  rt_group g = {0};
  rt_group_init(&g, RT_ABORT_ON_ERROR, NULL, NULL);
  sim_memory_hold(t->loop, true);
  for (unsigned i = 0; i < 3; i++) {
    rt_prep_write(&t->op[i], &t->b->file, t->buf, 10, 0);
    assert_int_equal(rt_group_add(&g, &t->op[i].c), 0);
  }
  rt_submit_group(t->loop, &g);
  assert_true(sim_memory_finish_as(t->loop, &t->op[1], -EIO));
  (void)rt_step(t->loop, 0, 10);
  (void)rt_step(t->loop, 0, 10);
  assert_int_equal(sim_memory_cancels(t->loop), 2);
  assert_false(rt_finished(&g.c));
  assert_true(sim_memory_finish_as(t->loop, &t->op[0], -ECANCELED));
  assert_true(sim_memory_finish_as(t->loop, &t->op[2], -ECANCELED));
  assert_int_equal(rt_wait(t->loop, &g.c), -EIO);
}

static void deadline_of_what_runs(void **state) {
  bed *t = *state;
  sim_memory_hold(t->loop, true);
  rt_prep_write(&t->op[0], &t->b->file, t->buf, 10, 0);
  uint64_t left = 5 * MS;
  do { /* on a slow machine it may be over before it starts: then once more, with more time */
    rt_prep_write(&t->op[0], &t->b->file, t->buf, 10, 0);
    rt_set_deadline(&t->op[0], now_ns() + left);
    rt_submit(t->loop, &t->op[0]);
    rt_flush(t->loop);
    left *= 4;
  } while (rt_finished(&t->op[0].c));
  for (unsigned i = 0; i < 1000 && sim_memory_cancels(t->loop) == 0; i++)
    assert_int_equal(rt_step(t->loop, left, 10), 0);
  assert_int_equal(sim_memory_cancels(t->loop), 1);
  assert_false(rt_finished(&t->op[0].c)); /* on its way to the device: live until its own completion */
  assert_true(sim_memory_finish_as(t->loop, &t->op[0], -ECANCELED));
  assert_int_equal(rt_wait(t->loop, &t->op[0].c), -ETIME);
}

static void deadline_of_a_group_of_operations(void **state) {
  bed *t = *state;
  rt_group g = {0};
  rt_group_init(&g, RT_ALL, NULL, NULL);
  rt_group_set_deadline(&g, now_ns() + 300 * MS);
  rt_prep_timeout(&t->op[0], 10000 * MS);
  rt_prep_write(&t->op[1], &t->b->file, t->buf, 10, 0);
  assert_int_equal(rt_group_add(&g, &t->op[0].c), 0);
  assert_int_equal(rt_group_add(&g, &t->op[1].c), 0);
  rt_submit_group(t->loop, &g);
  assert_int_equal(rt_wait(t->loop, &g.c), -ETIME);
  assert_int_equal(rt_error(&t->op[1].c), 0);
}

/* Defect 7: an operation that cannot even be submitted finishes. */
static void errors_at_submission_arrive(void **state) {
  bed *t = *state;
  unsigned calls = 0;
  rt_file nothing;
  rt_file_init_fd(&nothing, -1);
  rt_prep_read(&t->op[0], &nothing, t->back, 10, 0);
  rt_on_finish(&t->op[0], count_calls, &calls);
  rt_submit(t->loop, &t->op[0]);
  assert_int_equal(rt_wait(t->loop, &t->op[0].c), -EBADF);
  assert_int_equal(calls, 1);
}

/* Defect 8: a vectored write that fails half-way reports it. */
static void vectored_error_arrives(void **state) {
  bed *t = *state;
  struct iovec iov[2] = {{t->buf, 50}, {t->buf + 50, 50}};
  sim_memory_limit(t->loop, 50);
  sim_memory_fail(t->loop, 2, 1, -EIO);
  rt_prep_writev(&t->op[0], &t->b->file, iov, 2, 0);
  rt_submit(t->loop, &t->op[0]);
  assert_int_equal(rt_wait(t->loop, &t->op[0].c), -EIO);
  assert_int_equal(rt_bytes(&t->op[0].c), 50);
}

/* Defect 14. */
static void fsync_error_arrives(void **state) {
  bed *t = *state;
  const int errors[] = {-EIO, -ENOSPC, -ENOMEM}; /* a second fsync would succeed: none may be tried */
  for (unsigned i = 0; i < COUNT(errors); i++) {
    sim_memory_fail(t->loop, 2, 1, errors[i]);
    submit_chain(t, 1);
    assert_int_equal(rt_wait(t->loop, &t->op[1].c), errors[i]);
    assert_int_equal(rt_error(&t->op[0].c), 0);
  }
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, take_down)
int main(void) {
  const struct CMUnitTest tests[] = {
      T(short_write_is_resumed),
      T(short_vectors_are_resumed),
      T(no_progress_is_an_error),
      T(enospc_after_a_part),
      T(interrupted_attempts_are_repeated),
      T(given_up_attempts_are_redone),
      T(given_up_attempts_of_a_shared_file),
      T(other_errors_arrive),
      T(ordered_short_write),
      T(ordered_and_overtaken),
      T(ordered_failure_goes_down),
      T(ordered_given_up),
      T(errors_of_a_flush_are_final),
      T(ordered_across_submissions),
      T(ordered_after_what_is_through),
      T(cancel_tells_the_truth),
      T(cancel_of_queued_never_starts),
      T(cancel_of_a_group_with_all_sorts),
      T(abort_on_error_cancels_the_rest),
      T(deadline_of_what_runs),
      T(deadline_of_a_group_of_operations),
      T(errors_at_submission_arrive),
      T(vectored_error_arrives),
      T(fsync_error_arrives),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
