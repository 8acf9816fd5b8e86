/*
** test_full_device.c - a device that is full fails the transaction that does not fit, and no other.
**
** In exclusive locking mode nothing tells the VFS that a transaction was rolled back, so frames of it may still be
** pending when the next one commits. That one must not fail because they do not fit. The WAL may grow to so many bytes
** and no further; the parent is a shim that says SQLITE_FULL there.
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

extern bool uringvfs__trust_any_parent; /* vfs/internal.h */

enum { WRONG = 90, FRAME = 24 + 4096, WAL_HEADER = 32 };

static char directory[512];

typedef struct run {
  const char *first; /* statements before the locking mode is known */
  const char *large; /* does not fit, and is rolled back        */
  bool through_uring;
} run;

#define ROWS(from, to)                                                                                                 \
  "WITH c(x) AS (VALUES(" #from ") UNION ALL SELECT x+1 FROM c WHERE x<" #to                                           \
  ") INSERT INTO t SELECT x, hex(zeroblob(1500)) FROM c;"

static void body(void *arg) {
  const run *r = arg;
  const shim_setup setup = {.name = "small", .wal_bytes = WAL_HEADER + 40 * FRAME};
  FILE *said = fopen("../said", "w");
  sqlite3 *db = NULL;
  uringvfs__trust_any_parent = true;
  if (said == NULL || shim_register(&setup, true) != SQLITE_OK) exit(WRONG);
  if (r->through_uring && uringvfs_register(0) != SQLITE_OK) exit(WRONG);
  /* A ring would go past the shim. */
  const char *uri = r->through_uring ? "file:main.db?vfs=uring&uring_backend=sync" : "file:main.db?vfs=small";
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
  if (sqlite3_open_v2(uri, &db, flags, NULL) != SQLITE_OK) exit(WRONG);
  if (sqlite3_exec(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b);" ROWS(1, 100), NULL, NULL, NULL) != SQLITE_OK)
    exit(WRONG);
  if (sqlite3_exec(db, r->first, NULL, NULL, NULL) != SQLITE_OK) exit(WRONG);
  for (int i = 0; i < 6; i++) {
    char sql[200];
    (void)sqlite3_exec(db, r->large, NULL, NULL, NULL); /* it may fail, or be rolled back before it does */
    (void)sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    snprintf(sql, sizeof sql, "INSERT INTO t VALUES(%d, 'small')", 1000 + i);
    fprintf(said, "small: %d\n", sqlite3_exec(db, sql, NULL, NULL, NULL));
  }
  sqlite3_close(db);
  sqlite3_open_v2("main.db", &db, SQLITE_OPEN_READWRITE, setup.name);
  sqlite3_stmt *s = NULL;
  if (sqlite3_prepare_v2(db,
                         "SELECT count(*), sum(b='small'), (SELECT integrity_check FROM pragma_integrity_check) FROM t",
                         -1, &s, NULL) != SQLITE_OK ||
      sqlite3_step(s) != SQLITE_ROW)
    exit(WRONG);
  fprintf(said, "%d rows, %d small, %s\n", sqlite3_column_int(s, 0), sqlite3_column_int(s, 1),
          (const char *)sqlite3_column_text(s, 2));
  sqlite3_finalize(s);
  sqlite3_close(db);
  fclose(said);
}

static char *said_by(const run *r) {
  char own[600], path[600];
  snprintf(own, sizeof own, "%s/run", directory);
  snprintf(path, sizeof path, "%s/said", directory);
  if (mkdir(own, 0700) != 0) fail_msg("mkdir");
  assert_int_equal(in_child(own, body, (void *)(uintptr_t)r), 0);
  remove_tree(own);
  char *text = read_whole(path, NULL);
  assert_non_null(text);
  return text;
}

static void only_the_one_that_does_not_fit(void **state) {
  (void)state;
  static const char *const firsts[] = {
      "PRAGMA journal_mode=WAL; PRAGMA cache_size=5",
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA cache_size=5",
      "PRAGMA journal_mode=WAL; PRAGMA cache_size=5; SELECT * FROM t; PRAGMA locking_mode=EXCLUSIVE; SELECT * FROM t",
      "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA cache_size=5; PRAGMA synchronous=OFF",
  };
  static const char *const larges[] = {
      "BEGIN; UPDATE t SET b=hex(zeroblob(1501))",
      "BEGIN; INSERT INTO t VALUES(500, 'few'); SAVEPOINT s; UPDATE t SET b=hex(zeroblob(1501)); ROLLBACK TO s",
      "BEGIN; " ROWS(200, 500),
  };
  unsigned different = 0;
  for (unsigned f = 0; f < sizeof firsts / sizeof firsts[0]; f++)
    for (unsigned l = 0; l < sizeof larges / sizeof larges[0]; l++) {
      run r = {firsts[f], larges[l], false};
      char *alone = said_by(&r);
      r.through_uring = true;
      char *through = said_by(&r);
      /* All small ones fit. */
      assert_non_null(strstr(alone, "106 rows, 6 small, ok"));
      different += !same_text(firsts[f], alone, through);
      free(alone);
      free(through);
    }
  assert_int_equal(different, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(only_the_one_that_does_not_fit)};
  make_directory(directory, sizeof directory);
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  remove_tree(directory);
  return rc;
}
