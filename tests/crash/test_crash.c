/*
** test_crash.c - the crash simulation in the form that every `make check` runs.
**
** All journal modes x synchronous x page sizes, each with a short workload through vfs=uring, cut at every fifth
** recorded point (a different fifth for each seed); some thousands of images. The default VFS goes through a part of
** the same, so that the checker does not call an error what SQLite's own contract allows. `make check-crash` is the
** long form: every point, and 100,000 images.
**
** CRASH_SEED chooses the first seed; it is printed, and so is the command that replays a failure.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "support_campaign.h"

static char scratch[600], save[600], replay[600];
static uint64_t first_seed;
static crash_options options;

static void campaign(const char *vfs, const char *const *backends, uint64_t seeds, uint64_t stride, int steps,
                     crash_totals *totals) {
  for (uint64_t i = 0; i < seeds; i++) {
    crash_config c = {0};
    crash_config_from_seed(&c, first_seed + i * stride, steps);
    c.vfs = vfs;
    c.backend = backends[(i + i / 24) % 3];
    (void)crash_campaign(&c, &options, totals);
  }
  crash_totals_print(totals);
}

static const char *const mix[3] = {"sync", "uring", "auto"};

static void test_uring(void **state) {
  (void)state;
  crash_totals t = {0};
  campaign("uring", mix, 96, 1, 7, &t);
  assert_int_equal(t.failures, 0);
  /* It must have seen something. */
  assert_true(t.images > 3000);
  assert_true(t.power > 1000 && t.with_loss > 1000 && t.with_tear > 300 && t.with_lost_name > 20);
  assert_true(t.hot_journal > 500 && t.with_wal > 300 && t.by_uring > 50);
  assert_true(t.transactions > 300 && t.faults > 5 && t.published > 30);
}

static void test_default(void **state) {
  (void)state;
  crash_totals t = {0};
  campaign("unix-recorder", mix, 12, 7, 7, &t);
  assert_int_equal(t.failures, 0);
  assert_true(t.images > 300);
}

static void test_same_files(void **state) {
  (void)state;
  crash_totals t = {0};
  for (uint64_t i = 0; i < 48; i++) {
    crash_config c = {0};
    crash_config_from_seed(&c, first_seed + i, 10);
    c.backend = mix[(i + i / 24) % 3];
    (void)crash_compare(&c, &options, &t);
  }
  printf("crash: the files are those of the default VFS at %llu quiet points of %llu workloads\n",
         (unsigned long long)t.cuts, (unsigned long long)t.seeds);
  assert_int_equal(t.failures, 0);
  assert_true(t.cuts > 300);
}

int main(void) {
  const char *build = getenv("BUILD"), *seed = getenv("CRASH_SEED"), *tmp = getenv("TMPDIR");
  if (access("/dev/shm", W_OK) == 0) tmp = "/dev/shm";
  snprintf(scratch, sizeof scratch, "%s/uringvfs-crash.XXXXXX", tmp != NULL ? tmp : "/tmp");
  snprintf(save, sizeof save, "%s/crash", build != NULL ? build : "build");
  snprintf(replay, sizeof replay, "%s/tests/crash/prog_crash", build != NULL ? build : "build");
  if (mkdtemp(scratch) == NULL || !crash_campaign_init()) {
    perror(scratch);
    return 1;
  }
  first_seed = seed != NULL ? strtoull(seed, NULL, 10) : 0;
  printf("crash: seeds from %llu\n", (unsigned long long)first_seed);
  options = (crash_options){.scratch = scratch,
                            .save = save,
                            .replay = replay,
                            .random_variants = 1,
                            .single_variants = 1,
                            .every = 5,
                            .only_cut = -1};
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_uring),
      cmocka_unit_test(test_default),
      cmocka_unit_test(test_same_files),
  };
  int rc = cmocka_run_group_tests_name("crash", tests, NULL, NULL);
  crash_recorder_free();
  (void)rmdir(scratch);
  return rc;
}
