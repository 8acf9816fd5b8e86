/*
** test_exact_calls.c - a parent that is not trusted sees exactly the calls that SQLite makes.
**
** Such a parent may store other bytes than it is given: it encrypts, compresses, checks, copies or counts. What it does
** may depend on the size, the place and the order of each call, in reading too. So each script is run on the parent
** alone and through uringvfs over it, each in a process of its own, and both records of what the parent was called for
** must be the same text. Names prove nothing: "unix-anything" is as foreign as any other, and so is one that takes the
** name "unix" itself.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "uringvfs.h"
#include "support_script.h"

static char directory[512];

typedef struct run {
  const script *script;
  shim_setup setup;
  bool through_uring;
} run;

static void body(void *arg) {
  const run *r = arg;
  FILE *record = fopen("record", "w");
  if (record == NULL || shim_register(&r->setup, true) != SQLITE_OK) exit(98);
  setvbuf(record, NULL, _IOFBF, 1 << 20);
  shim_record(record);
  if (r->through_uring && uringvfs_register(0) != SQLITE_OK) exit(97);
  script_run(r->script, r->through_uring ? "uring" : r->setup.name, "main.db", record);
  shim_record(NULL);
  fclose(record);
}

/* The record, malloc'd. */
static char *record_of(const run *r) {
  char own[600], path[640];
  snprintf(own, sizeof own, "%s/run", directory); /* always the same: super-journals hold paths */
  if (mkdir(own, 0700) != 0) fail_msg("mkdir %s", own);
  const int status = in_child(own, body, (void *)(uintptr_t)r);
  if (status != 0) fail_msg("%s over %s ended with status %x", r->script->name, r->setup.name, (unsigned)status);
  snprintf(path, sizeof path, "%s/record", own);
  char *text = read_whole(path, NULL);
  remove_tree(own);
  assert_non_null(text);
  return text;
}

static bool is_recorded_equally(const script *s, const shim_setup *setup) {
  run r = {.script = s, .setup = *setup};
  char *alone = record_of(&r), what[200];
  r.through_uring = true;
  char *through = record_of(&r);
  snprintf(what, sizeof what, "%s, over %s", s->name, setup->name);
  /* A record that holds no write proves nothing. */
  const bool same = same_text(what, alone, through) && strstr(alone, " xWrite ") != NULL;
  free(alone);
  free(through);
  return same;
}

/* Every step-th script from the first. */
static void scripts_over(const shim_setup *setup, unsigned first, unsigned step) {
  unsigned different = 0;
  for (unsigned i = first; i < script_count; i += step) {
    if (setup->store == SHIM_PAGES && strstr(scripts[i].name, "page size") != NULL)
      continue; /* it knows one size only */
    different += !is_recorded_equally(&scripts[i], setup);
  }
  assert_int_equal(different, 0);
}

static void unix_by_name_only(void **state) {
  (void)state;
  scripts_over(&(shim_setup){.name = "unix-counting", .store = SHIM_AS_IT_IS}, 0, 1);
}

static void unix_by_name_that_changes_bytes(void **state) {
  (void)state;
  scripts_over(&(shim_setup){.name = "unix-xor", .store = SHIM_BYTES}, 0, 3);
}

static void another_name(void **state) {
  (void)state;
  scripts_over(&(shim_setup){.name = "xorfs", .store = SHIM_PAGES}, 0, 1);
}

static void the_name_of_the_built_in_one(void **state) {
  (void)state;
  scripts_over(&(shim_setup){.name = "unix", .store = SHIM_PAGES}, 1, 3);
}

static void older_interfaces(void **state) {
  (void)state;
  scripts_over(&(shim_setup){.name = "old", .store = SHIM_BYTES, .vfs_version = 1, .file_version = 1}, 2, 4);
  scripts_over(&(shim_setup){.name = "unix-old", .store = SHIM_AS_IT_IS, .vfs_version = 2, .file_version = 2}, 0, 4);
}

/* A write that fails must not make the parent hear more than SQLite asks, and SQLite the same codes. */
static void writes_that_fail(void **state) {
  (void)state;
  static const int codes[] = {SQLITE_IOERR_WRITE, SQLITE_FULL};
  unsigned different = 0;
  for (unsigned i = 0; i < script_count; i += 5)
    for (int nth = 1; nth < 400; nth = nth * 3 + 1)
      different += !is_recorded_equally(
          &scripts[i], &(shim_setup){.name = "unix-failing", .fail_nth_write = nth, .fail_rc = codes[nth % 2]});
  assert_int_equal(different, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(unix_by_name_only), cmocka_unit_test(unix_by_name_that_changes_bytes),
      cmocka_unit_test(another_name),      cmocka_unit_test(the_name_of_the_built_in_one),
      cmocka_unit_test(older_interfaces),  cmocka_unit_test(writes_that_fail),
  };
  make_directory(directory, sizeof directory);
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  remove_tree(directory);
  return rc;
}
