/*
** test_group.c - groups of events: every outcome rule, and the known ways to get groups wrong.
*/
#include "support.h"

#include <errno.h>

#define MANY 5

typedef struct family {
  rt_group g;
  rt_completion c[MANY];
  unsigned calls;
} family;

static void init(family *f, rt_group_policy policy) {
  memset(f, 0, sizeof(*f));
  rt_group_init(&f->g, policy, count_calls, &f->calls);
  for (unsigned i = 0; i < MANY; i++) rt_event_init(&f->c[i], NULL, NULL);
}

static void add_all(family *f) {
  for (unsigned i = 0; i < MANY; i++) assert_int_equal(rt_group_add(&f->g, &f->c[i]), 0);
}

static void add_finished_failed_and_pending(void **state) {
  (void)state;
  family f;
  init(&f, RT_ALL);
  assert_true(rt_complete(&f.c[0], 10));
  assert_true(rt_complete_error(&f.c[1], -EIO));
  add_all(&f);
  assert_false(rt_finished(&f.g.c));
  rt_group_build(&f.g);
  assert_true(rt_complete(&f.c[2], 5));
  assert_true(rt_complete_error(&f.c[3], -ENOSPC));
  assert_false(rt_finished(&f.g.c));
  assert_int_equal(f.calls, 0);
  assert_true(rt_complete(&f.c[4], 1));
  assert_true(rt_finished(&f.g.c));
  assert_int_equal(f.calls, 1); /* once, after all */
  assert_int_equal(rt_error(&f.g.c), -EIO);
  assert_int_equal(rt_bytes(&f.g.c), 16);
}

/* The first added, not the first in time. */
static void first_error_is_deterministic(void **state) {
  (void)state;
  family f;
  init(&f, RT_ALL);
  add_all(&f);
  rt_group_build(&f.g);
  for (unsigned i = MANY; i-- > 0;) assert_true(rt_complete_error(&f.c[i], -(int)(i + 1)));
  assert_int_equal(rt_error(&f.g.c), -1);
  assert_true(rt_failed(&f.g.c)); /* defect 3: where failed() looks */
  for (unsigned i = 0; i < MANY; i++) assert_int_equal(rt_error(&f.c[i]), -(int)(i + 1));
}

/* Defect 2: a child that had failed before build finished the group, and a late sibling drove the counter below
** zero. */
static void failed_before_build_waits_for_all(void **state) {
  (void)state;
  family f;
  init(&f, RT_ALL);
  assert_true(rt_complete_error(&f.c[0], -EIO));
  add_all(&f);
  rt_group_build(&f.g);
  assert_false(rt_finished(&f.g.c));
  for (unsigned i = 1; i < MANY; i++) {
    assert_false(rt_finished(&f.g.c));
    assert_true(rt_complete(&f.c[i], 0));
  }
  assert_int_equal(rt_error(&f.g.c), -EIO);
  assert_int_equal(f.calls, 1);
}

static void empty(void **state) {
  (void)state;
  family f;
  init(&f, RT_ALL);
  assert_false(rt_finished(&f.g.c));
  rt_group_build(&f.g);
  assert_true(rt_succeeded(&f.g.c));
  assert_int_equal(f.calls, 1);
  init(&f, RT_ANY);
  rt_cancel(&f.g.c);
  rt_group_build(&f.g);
  assert_true(rt_succeeded(&f.g.c)); /* nothing was there to be cancelled */
}

static void child_of_two_groups_is_an_error(void **state) {
  (void)state;
  family f, other;
  init(&f, RT_ALL);
  init(&other, RT_ALL);
  assert_int_equal(rt_group_add(&f.g, &f.c[0]), 0);
  assert_int_equal(rt_group_add(&other.g, &f.c[0]), -EINVAL);
  assert_int_equal(rt_group_add(&f.g, &f.c[0]), -EINVAL);
  assert_int_equal(rt_group_add(&f.g, &f.g.c), -EINVAL); /* nor of itself */
  assert_int_equal(rt_group_add(&f.g, rt_yield()), -EINVAL);
  rt_group_build(&f.g);
  rt_group_build(&other.g);
  assert_true(rt_succeeded(&other.g.c));
  assert_int_equal(rt_group_add(&f.g, &f.c[1]), -EINVAL); /* built */
  assert_true(rt_complete(&f.c[0], 0));
  assert_true(rt_succeeded(&f.g.c));
}

static void nesting_with_errors(void **state) {
  (void)state;
  rt_group g[4] = {0};
  rt_completion leaf = {0};
  unsigned calls = 0;
  rt_event_init(&leaf, NULL, NULL);
  for (unsigned i = 0; i < 4; i++) {
    rt_group_init(&g[i], RT_ALL, count_calls, &calls);
    if (i > 0) assert_int_equal(rt_group_add(&g[i - 1], &g[i].c), 0);
  }
  assert_int_equal(rt_group_add(&g[3], &leaf), 0);
  for (unsigned i = 0; i < 4; i++) rt_group_build(&g[i]);
  assert_false(rt_finished(&g[0].c));
  assert_true(rt_complete_error(&leaf, -EIO));
  for (unsigned i = 0; i < 4; i++) assert_int_equal(rt_error(&g[i].c), -EIO);
  assert_int_equal(calls, 4);
}

static void cancel_before_build(void **state) {
  (void)state;
  family f;
  init(&f, RT_ALL);
  assert_true(rt_complete(&f.c[0], 3));
  assert_int_equal(rt_group_add(&f.g, &f.c[0]), 0);
  assert_int_equal(rt_group_add(&f.g, &f.c[1]), 0);
  rt_cancel(&f.g.c);
  assert_int_equal(rt_error(&f.c[1]), -ECANCELED);
  assert_int_equal(rt_group_add(&f.g, &f.c[2]), -ECANCELED); /* those added later too */
  assert_int_equal(rt_error(&f.c[2]), -ECANCELED);
  assert_false(rt_finished(&f.g.c));
  rt_group_build(&f.g);
  assert_int_equal(rt_error(&f.g.c), -ECANCELED);
  assert_int_equal(rt_bytes(&f.g.c), 3);
  assert_int_equal(f.calls, 1);
}

static void cancel_after_build_recursive(void **state) {
  (void)state;
  family outer, inner;
  init(&outer, RT_ALL);
  init(&inner, RT_ALL);
  add_all(&inner);
  rt_group_build(&inner.g);
  assert_true(rt_complete(&inner.c[1], 1));
  assert_int_equal(rt_group_add(&outer.g, &outer.c[0]), 0);
  assert_int_equal(rt_group_add(&outer.g, &inner.g.c), 0);
  rt_group_build(&outer.g);
  rt_cancel(&outer.g.c);
  assert_int_equal(rt_error(&outer.g.c), -ECANCELED);
  assert_int_equal(rt_error(&inner.g.c), -ECANCELED);
  assert_true(rt_succeeded(&inner.c[1]));
  assert_int_equal(outer.calls + inner.calls, 2);
  rt_cancel(&outer.g.c);
  assert_int_equal(outer.calls, 1);
}

static void abort_on_error(void **state) {
  (void)state;
  family f;
  init(&f, RT_ABORT_ON_ERROR);
  add_all(&f);
  rt_group_build(&f.g);
  assert_true(rt_complete(&f.c[4], 0));
  assert_false(rt_finished(&f.g.c));
  assert_true(rt_complete_error(&f.c[2], -EIO));
  assert_int_equal(rt_error(&f.c[0]), -ECANCELED);
  assert_int_equal(rt_error(&f.g.c), -EIO); /* the cause, though an earlier one was cancelled for it */
  assert_int_equal(f.calls, 1);
}

static void any_of(void **state) {
  (void)state;
  family f;
  init(&f, RT_ANY);
  add_all(&f);
  rt_group_build(&f.g);
  assert_true(rt_complete_error(&f.c[0], -EIO));
  assert_false(rt_finished(&f.g.c));
  assert_true(rt_complete(&f.c[3], 0));
  assert_true(rt_succeeded(&f.g.c));
  assert_int_equal(rt_error(&f.c[4]), -ECANCELED);
  init(&f, RT_ANY);
  add_all(&f);
  rt_group_build(&f.g);
  for (unsigned i = 0; i < MANY; i++) assert_true(rt_complete_error(&f.c[i], -(int)(i + 1)));
  assert_int_equal(rt_error(&f.g.c), -1);
}

static void any_of_decided_before_build(void **state) {
  (void)state;
  family f;
  init(&f, RT_ANY);
  assert_true(rt_complete(&f.c[0], 0));
  assert_int_equal(rt_group_add(&f.g, &f.c[0]), 0);
  assert_int_equal(rt_group_add(&f.g, &f.c[1]), -ECANCELED);
  rt_group_build(&f.g);
  assert_true(rt_succeeded(&f.g.c));
}

static void deadline_of_a_group(void **state) {
  (void)state;
  family f;
  init(&f, RT_ALL);
  rt_group_set_deadline(&f.g, now_ns() + 20 * MS);
  assert_int_equal(rt_group_add(&f.g, &f.c[0]), 0);
  rt_group_build(&f.g);
  assert_int_equal(rt_wait(NULL, &f.g.c), -ETIME);
  assert_int_equal(rt_error(&f.c[0]), -ETIME);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(add_finished_failed_and_pending),
      cmocka_unit_test(first_error_is_deterministic),
      cmocka_unit_test(failed_before_build_waits_for_all),
      cmocka_unit_test(empty),
      cmocka_unit_test(child_of_two_groups_is_an_error),
      cmocka_unit_test(nesting_with_errors),
      cmocka_unit_test(cancel_before_build),
      cmocka_unit_test(cancel_after_build_recursive),
      cmocka_unit_test(abort_on_error),
      cmocka_unit_test(any_of),
      cmocka_unit_test(any_of_decided_before_build),
      cmocka_unit_test(deadline_of_a_group),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
