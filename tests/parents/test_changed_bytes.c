/*
** test_changed_bytes.c - a parent that stores other bytes than it is given: nothing else reaches the disk, and it alone can read it all.
**
** A shim that encrypts relies on being asked for everything. So whatever is committed through uringvfs over such a shim, in every
** journal mode and `synchronous`, and whether the process closes its connections or is killed: the files hold
** nothing of the text, and a process with the shim alone finds every committed row.
*/
#include <setjmp.h>
#include <signal.h>
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

#define SECRET "PLAINTEXT-4111-1111-"

static char directory[512];

typedef enum ending { CLOSED, KILLED_AFTER_COMMIT, KILLED_IN_TRANSACTION } ending;

typedef struct work {
  shim_setup setup;
  const char *vfs, *journal_mode, *synchronous;
  ending ending;
} work;

static void must(sqlite3 *db, const char *sql) {
  int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  if (rc == SQLITE_OK) return;
  fprintf(stderr, "%.60s: %d %s\n", sql, rc, sqlite3_errmsg(db));
  exit(96);
}

static sqlite3 *open_database(const work *w, const char *vfs) {
  sqlite3 *db = NULL;
  if (sqlite3_open_v2("main.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs) != SQLITE_OK) exit(95);
  char *pragmas =
      sqlite3_mprintf("PRAGMA page_size=4096; PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA cache_size=5",
                      w->journal_mode, w->synchronous);
  must(db, pragmas);
  sqlite3_free(pragmas);
  return db;
}

static long long number(sqlite3 *db, const char *sql) {
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  const long long n = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -rc;
  sqlite3_finalize(s);
  return n;
}

#define INSERT(from, to)                                                                                               \
  "WITH c(x) AS (VALUES(" #from ") UNION ALL SELECT x+1 FROM c WHERE x<" #to ") INSERT INTO card SELECT x, '" SECRET   \
  "'||x||hex(zeroblob(500)) FROM c;"

static void write_through_uring(void *arg) {
  const work *w = arg;
  if (shim_register(&w->setup, true) != SQLITE_OK || uringvfs_register(0) != SQLITE_OK) exit(97);
  sqlite3 *db = open_database(w, w->vfs), *second = NULL;
  must(db, "CREATE TABLE card(id INTEGER PRIMARY KEY, number TEXT); BEGIN;" INSERT(1, 200) "COMMIT");
  must(db, "BEGIN; UPDATE card SET number='" SECRET "'||hex(zeroblob(502)); ROLLBACK;" INSERT(201, 210));
  /* Another connection, while this one is open: the shim alone must understand what has been written so far. */
  second = open_database(w, w->setup.name);
  if (number(second, "SELECT count(*) FROM card WHERE number LIKE '" SECRET "%'") != 210) exit(94);
  sqlite3_close(second);
  if (w->ending == KILLED_IN_TRANSACTION) must(db, "BEGIN; UPDATE card SET number='" SECRET "'||hex(zeroblob(502))");
  if (w->ending != CLOSED) raise(SIGKILL);
  sqlite3_close(db);
}

static void read_with_the_shim_alone(void *arg) {
  const work *w = arg;
  if (shim_register(&w->setup, true) != SQLITE_OK) exit(97);
  sqlite3 *db = open_database(w, w->setup.name);
  const long long rows = number(db, "SELECT count(*) FROM card WHERE number='" SECRET "'||id||hex(zeroblob(500))");
  const long long faults = number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check<>'ok'");
  if (rows != 210 || faults != 0) {
    fprintf(stderr, "%lld of 210 rows, %lld faults\n", rows, faults);
    exit(93);
  }
  sqlite3_close(db);
}

static bool text_is_in_a_file(const char *own) {
  static const char *const names[] = {"main.db", "main.db-wal", "main.db-journal"};
  char path[640];
  bool found = false;
  for (unsigned i = 0; i < 3; i++) {
    snprintf(path, sizeof path, "%s/%s", own, names[i]);
    if (!file_holds(path, SECRET)) continue;
    fprintf(stderr, "the text is in %s\n", names[i]);
    found = true;
  }
  return found;
}

static bool is_kept(const work *w) {
  char own[600];
  snprintf(own, sizeof own, "%s/XXXXXX", directory);
  if (mkdtemp(own) == NULL) fail_msg("mkdtemp");
  const int expected = w->ending == CLOSED ? 0 : SIGKILL;
  const int wrote = in_child(own, write_through_uring, (void *)(uintptr_t)w);
  const bool found = text_is_in_a_file(own);
  const int read = in_child(own, read_with_the_shim_alone, (void *)(uintptr_t)w);
  const bool kept = wrote == expected && !found && read == 0;
  if (!kept)
    fprintf(stderr, "over %s, %s, %s, ending %d: writing ended with status %x, reading with %x\n", w->setup.name,
            w->journal_mode, w->synchronous, w->ending, (unsigned)wrote, (unsigned)read);
  remove_tree(own);
  return kept;
}

static void over(const shim_setup *setup) {
  static const char *const modes[] = {"WAL", "DELETE", "PERSIST", "TRUNCATE"}, *const syncs[] = {"FULL", "NORMAL",
                                                                                                 "OFF"};
  unsigned lost = 0;
  for (unsigned m = 0; m < 4; m++)
    for (unsigned s = 0; s < 3; s++)
      for (ending e = CLOSED; e <= KILLED_IN_TRANSACTION; e++)
        lost += !is_kept(&(work){*setup, "uring", modes[m], syncs[s], e});
  assert_int_equal(lost, 0);
}

static void each_byte_is_changed(void **state) {
  (void)state;
  over(&(shim_setup){.name = "unix-xor", .store = SHIM_BYTES});
}

static void pages_are_changed(void **state) {
  (void)state;
  over(&(shim_setup){.name = "xorfs", .store = SHIM_PAGES});
}

static void pages_are_changed_in_the_name_of_unix(void **state) {
  (void)state;
  over(&(shim_setup){.name = "unix", .store = SHIM_PAGES});
}

/* What the tests above look for can be found: with a shim that stores bytes as they are, the text is in the files. */
static void the_text_would_be_found(void **state) {
  (void)state;
  char own[600];
  snprintf(own, sizeof own, "%s/plain", directory);
  assert_int_equal(mkdir(own, 0700), 0);
  const work w = {{.name = "plain", .store = SHIM_AS_IT_IS}, "plain", "WAL", "FULL", KILLED_AFTER_COMMIT};
  assert_int_equal(in_child(own, write_through_uring, (void *)(uintptr_t)&w), SIGKILL);
  char path[640];
  snprintf(path, sizeof path, "%s/main.db-wal", own);
  assert_true(file_holds(path, SECRET));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(the_text_would_be_found),
      cmocka_unit_test(each_byte_is_changed),
      cmocka_unit_test(pages_are_changed),
      cmocka_unit_test(pages_are_changed_in_the_name_of_unix),
  };
  make_directory(directory, sizeof directory);
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  remove_tree(directory);
  return rc;
}
