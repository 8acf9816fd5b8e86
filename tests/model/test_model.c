/*
** test_model.c - the model in the form that every `make check` runs.
**
** All ordered pairs of kinds of events as neighbours, and most triples. MODEL_SEED chooses others, MODEL_CASES how many
** cases.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support_campaign.h"

/* Sanitizers and valgrind take their time: then the pairs only, and not all of them. */
static long cases_here(void) {
  const char *cases = getenv("MODEL_CASES"), *san = getenv("SAN"), *wrap = getenv("WRAP");
  if (cases != NULL) return strtol(cases, NULL, 10);
  if (wrap != NULL && *wrap != 0) return 12;
  return san != NULL && *san != 0 ? 250 : 1500;
}

static void test_cases(void **state) {
  (void)state;
  const char *seed = getenv("MODEL_SEED");
  const model_campaign campaign = {
      .seed = seed != NULL ? (uint32_t)strtoul(seed, NULL, 10) : 1, .cases = cases_here(), .only = -1, .setup = -1};
  model_totals t = {0};
  assert_true(model_campaign_run(&campaign, &t));
  model_totals_print(&campaign, &t);
  assert_int_equal(t.failures, 0);
  if (campaign.cases < 1000) return;
  /* It must have seen something. */
  assert_true(t.pairs == 1 && t.triples > 0.4);
  assert_true(t.frames > 1000 && t.read_ahead > 100 && t.forks > 100);
  for (int i = 0; i < model_kinds(); i++) {
    if (t.worked[i] == 0) fail_msg("%s never worked", model_kind_name(i));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_cases)};
  return cmocka_run_group_tests_name("model", tests, NULL, NULL);
}
