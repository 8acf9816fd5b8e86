/*
** test_result.c - the three-way result, its macros, the yield, and that ignoring a result is a compiler warning.
*/
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned evaluated;

static rt_result give(rt_result r) {
  evaluated++;
  return r;
}

static void result_type(void **state) {
  (void)state;
  rt_completion c = {0};
  rt_event_init(&c, NULL, NULL);
  assert_true(rt_is_done(rt_done()) && !rt_is_io(rt_done()) && !rt_is_error(rt_done()));
  assert_true(!rt_is_done(rt_io(&c)) && rt_is_io(rt_io(&c)) && !rt_is_error(rt_io(&c)));
  assert_true(!rt_is_done(rt_fail(-EIO)) && !rt_is_io(rt_fail(-EIO)) && rt_is_error(rt_fail(-EIO)));
  assert_ptr_equal(rt_io(&c).io, &c); /* one waitable */
}

static rt_result pass_up(rt_result r, bool *fell_through) {
  RT_RETURN_IF_IO(give(r));
  *fell_through = true;
  return rt_done();
}

static void return_if_io(void **state) {
  (void)state;
  rt_completion c = {0};
  bool fell = false;
  rt_event_init(&c, NULL, NULL);
  evaluated = 0;
  rt_result r = pass_up(rt_io(&c), &fell);
  assert_true(rt_is_io(r) && r.io == &c && !fell);
  r = pass_up(rt_fail(-EIO), &fell);
  assert_true(rt_is_error(r) && r.error == -EIO && !fell);
  assert_int_equal(evaluated, 2);
  assert_true(rt_is_done(pass_up(rt_done(), &fell)) && fell);
  assert_int_equal(evaluated, 3);
}

static rt_result pass_up_restoring(rt_result r, int *place) {
  int saved = *place;
  *place = 99;
  RT_RETURN_AND_RESTORE_IF_IO(*place, saved, give(r));
  return rt_done();
}

static void return_and_restore_if_io(void **state) {
  (void)state;
  int place = 7;
  rt_completion c = {0};
  rt_event_init(&c, NULL, NULL);
  evaluated = 0;
  assert_true(rt_is_io(pass_up_restoring(rt_io(&c), &place)));
  assert_int_equal(place, 7);
  assert_true(rt_is_error(pass_up_restoring(rt_fail(-EIO), &place)));
  assert_int_equal(place, 7);
  assert_true(rt_is_done(pass_up_restoring(rt_done(), &place)));
  assert_int_equal(place, 99);
  assert_int_equal(evaluated, 3);
}

static rt_result yield_one(rt_completion *c, bool really) {
  if (really) RT_YIELD_ONE(c);
  return rt_done();
}

static void yield_one_macro(void **state) {
  (void)state;
  rt_completion c = {0};
  rt_event_init(&c, NULL, NULL);
  rt_result r = yield_one(&c, true);
  assert_true(rt_is_io(r) && r.io == &c);
  assert_true(rt_is_done(yield_one(&c, false)));
}

static void yield_completion(void **state) {
  (void)state;
  assert_ptr_equal(rt_yield(), rt_yield()); /* no allocation */
  assert_true(rt_finished(rt_yield()));
  rt_completion c = {0};
  rt_event_init(&c, NULL, NULL);
  assert_true(rt_complete(&c, 0));
  assert_int_not_equal(rt_kind_of(&c), rt_kind_of(rt_yield())); /* distinguishable from what finished */
  rt_cancel(rt_yield());
  assert_true(rt_succeeded(rt_yield()));
  assert_true(rt_is_io(rt_await(rt_yield())));
}

static rt_result compute(int *out, rt_completion *c) {
  RT_RETURN_IF_IO(rt_await(c));
  *out = 42;
  return rt_done();
}

static void out_value_only_on_done(void **state) {
  (void)state;
  int out = 0;
  rt_completion c = {0};
  rt_event_init(&c, NULL, NULL);
  assert_true(rt_is_io(compute(&out, &c)));
  assert_int_equal(out, 0);
  assert_true(rt_complete_error(&c, -EIO));
  assert_true(rt_is_error(compute(&out, &c)));
  assert_int_equal(out, 0);
  rt_event_init(&c, NULL, NULL);
  assert_true(rt_complete(&c, 0));
  assert_true(rt_is_done(compute(&out, &c)));
  assert_int_equal(out, 42);
}

static int compile(const char *body) {
  char dir[] = "/tmp/rt_result.XXXXXX", command[512], path[64];
  const char *cc = getenv("CC"), *build = getenv("BUILD");
  assert_non_null(mkdtemp(dir));
  snprintf(path, sizeof(path), "%s/t.c", dir);
  FILE *f = fopen(path, "w");
  assert_non_null(f);
  fprintf(f, "#include \"rt.h\"\nrt_result step(void);\nvoid use(void);\nvoid use(void) { %s }\n", body);
  fclose(f);
  snprintf(command, sizeof(command), "%s -std=gnu11 -Werror -Wall -I%s/include/runtime -c -o /dev/null %s 2>/dev/null",
           cc && *cc ? cc : "cc", build && *build ? build : "build", path);
  int status = system(command);
  snprintf(command, sizeof(command), "rm -r %s", dir);
  if (system(command)) return -1;
  return status;
}

static void ignoring_a_result_is_a_warning(void **state) {
  (void)state;
  if (compile("if (rt_is_done(rt_done())) return;")) skip(); /* no compiler or build directory here */
  assert_int_not_equal(compile("rt_fail(-1);"), 0);
  assert_int_not_equal(compile("rt_done();"), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(result_type),
      cmocka_unit_test(return_if_io),
      cmocka_unit_test(return_and_restore_if_io),
      cmocka_unit_test(yield_one_macro),
      cmocka_unit_test(yield_completion),
      cmocka_unit_test(out_value_only_on_done),
      cmocka_unit_test(ignoring_a_result_is_a_warning),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
