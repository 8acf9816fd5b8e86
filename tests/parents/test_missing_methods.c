/*
** test_missing_methods.c - each method of a parent missing, one by one.
**
** SQLite does without many methods of sqlite3_vfs and sqlite3_io_methods: memdb has no xDelete, a VFS without
** xShmMap gets no WAL, one without xFetch no mapping. What a script comes to on such a VFS alone it must come to through uringvfs
** over it, and nothing may be called that is not there. Each combination is run in a process of its own, since a missing
** method that is called ends it. Where that happens on the VFS alone, SQLite itself needs the method; such ones are named, and must
** not be all.
*/
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "uringvfs.h"
#include "support_script.h"

extern bool uringvfs__trust_any_parent; /* vfs/internal.h */

static char directory[512];

typedef struct run {
  const script *script;
  shim_setup setup;
  const char *parent; /* a VFS of SQLite's own in the shim's place, or NULL */
  const char *database;
  bool through_uring, trusted;
} run;

static void no_core(void) { setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); }

static void body(void *arg) {
  const run *r = arg;
  no_core();
  FILE *said = fopen("said", "w");
  if (said == NULL || sqlite3_initialize() != SQLITE_OK) exit(98);
  uringvfs__trust_any_parent = r->trusted;
  int rc = r->parent != NULL ? sqlite3_vfs_register(sqlite3_vfs_find(r->parent), 1) : shim_register(&r->setup, true);
  if (rc != SQLITE_OK) exit(97);
  if (r->through_uring && uringvfs_register(0) != SQLITE_OK) exit(96);
  const char *alone = r->parent != NULL ? r->parent : r->setup.name;
  script_run(r->script, r->through_uring ? "uring" : alone, r->database, said);
  fclose(said);
}

/* What was said, malloc'd; NULL: the process did not end by itself. */
static char *result_of(const run *r) {
  char own[600], path[640];
  snprintf(own, sizeof own, "%s/run", directory);
  if (mkdir(own, 0700) != 0) fail_msg("mkdir %s", own);
  const int status = in_child(own, body, (void *)(uintptr_t)r);
  if (status != 0 && WIFEXITED(status)) {
    if (r->through_uring) fprintf(stderr, "exit code %d\n", WEXITSTATUS(status));
  }
  snprintf(path, sizeof path, "%s/said", own);
  char *text = status == 0 ? read_whole(path, NULL) : NULL;
  remove_tree(own);
  return text;
}

typedef enum outcome { SAME, DIFFERENT, NEEDED } outcome;

static outcome compare(run r, const char *what) {
  char *alone = result_of(&r), where[200];
  if (alone == NULL) return NEEDED;
  outcome o = SAME;
  for (int trusted = 0; trusted < 2; trusted++) {
    r.through_uring = true;
    r.trusted = trusted;
    char *through = result_of(&r);
    snprintf(where, sizeof where, "%s, without %s, %s", r.script->name, what, trusted ? "trusted" : "not trusted");
    if (through == NULL) fprintf(stderr, "%s: the process was ended\n", where);
    if (through == NULL || !same_text(where, alone, through)) o = DIFFERENT;
    free(through);
  }
  free(alone);
  return o;
}

/* A third of the scripts: the first of them use WAL, and most kinds of files are among the rest. */
static void each_missing(const char *const *methods) {
  unsigned different = 0, compared = 0;
  for (unsigned m = 0; methods[m] != NULL; m++) {
    unsigned needed = 0;
    for (unsigned i = m % 3; i < script_count; i += 3) {
      const run r = {.script = &scripts[i], .setup = {.name = "gaps", .missing = methods[m]}, .database = "main.db"};
      const outcome o = compare(r, methods[m]);
      needed += o == NEEDED;
      different += o == DIFFERENT;
      compared += o != NEEDED;
    }
    if (needed > 0) fprintf(stderr, "SQLite cannot do without %s in %u scripts\n", methods[m], needed);
  }
  assert_int_equal(different, 0);
  assert_true(compared > 30);
}

static void of_the_vfs(void **state) {
  (void)state;
  each_missing(shim_vfs_methods);
}

static void of_files(void **state) {
  (void)state;
  each_missing(shim_file_methods);
}

static void older_versions(void **state) {
  (void)state;
  unsigned different = 0;
  for (int v = 1; v <= 3; v++)
    for (int f = 1; f <= 3; f++)
      for (unsigned i = (unsigned)(v + f) % 3; i < script_count; i += 3) {
        const run r = {.script = &scripts[i],
                       .setup = {.name = "old", .vfs_version = v, .file_version = f},
                       .database = "main.db"};
        different += compare(r, "newer methods") != SAME;
      }
  assert_int_equal(different, 0);
}

/* SQLite's own VFS that lacks most: xDelete, shared memory, system calls. Names with a slash are shared by connections. */
static void memdb(void **state) {
  (void)state;
  if (sqlite3_libversion_number() < 3036000) skip();
  unsigned different = 0;
  static const char *const names[] = {"main.db", "/main.db"};
  for (unsigned n = 0; n < 2; n++)
    for (unsigned i = 0; i < script_count; i++) {
      const run r = {.script = &scripts[i], .parent = "memdb", .database = names[n]};
      different += compare(r, "what memdb lacks") != SAME;
    }
  assert_int_equal(different, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(of_the_vfs),
      cmocka_unit_test(of_files),
      cmocka_unit_test(older_versions),
      cmocka_unit_test(memdb),
  };
  make_directory(directory, sizeof directory);
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  remove_tree(directory);
  return rc;
}
