/*
** test_exclusive_mode.c - locking_mode=exclusive from two processes, through both VFSs in all combinations.
**
** In WAL mode an exclusive connection may keep its wal-index in heap memory and gives the VFS no shared-memory calls;
** what it wrote must be there for the other process when it gives the lock up.
*/
#include "../process/support.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *path;

static void fresh(const char *mode) {
  static char name[PATH_MAX];
  static int number;
  char text[256];
  assert_true(snprintf(name, sizeof(name), "%s/exclusive-%d.db", work_dir, number++) < (int)sizeof(name));
  path = name;
  sqlite3 *db = db_open(path, default_vfs);
  snprintf(
      text, sizeof(text),
      "PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, b); "
      "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<100) INSERT INTO t SELECT i, zeroblob(1000) FROM c",
      mode);
  sql(db, text);
  db_close(db);
}

static void helper_sees(const char *vfs, const char *value) {
  char text[128];
  row_value v;
  assert_int_equal(helper_open(0, path, vfs), SQLITE_OK);
  snprintf(text, sizeof(text), "SELECT count(*) FROM t WHERE b = '%s'", value);
  assert_int_equal(helper_must(0, text), 100);
  assert_int_equal(helper_sql(0, "PRAGMA integrity_check", &v), SQLITE_OK);
  assert_string_equal(v.text, "ok");
  assert_int_equal(helper_close(0), SQLITE_OK);
}

static void one_combination(const char *mode, const char *here, const char *there) {
  char text[256];
  bool wal = strcmp(mode, "wal") == 0;

  /* Exclusive from the first access: heap wal-index in WAL mode. */
  fresh(mode);
  sqlite3 *db = db_open(path, here);
  snprintf(text, sizeof(text), "PRAGMA locking_mode=exclusive; PRAGMA journal_mode=%s; PRAGMA cache_size=5", mode);
  sql(db, text);
  sql(db, "SELECT sum(length(b)) FROM t; UPDATE t SET b = 'mine'; SELECT sum(length(b)) FROM t");
  if (wal) assert_false(file_exists(with_suffix(path, "-shm")));
  assert_int_equal(helper_open(1, path, there), SQLITE_OK);
  helper_busy(1, "SELECT count(*) FROM t");
  helper_busy(1, "UPDATE t SET b = 'theirs'");
  sql(db, "BEGIN; UPDATE t SET b = zeroblob(2000); ROLLBACK; UPDATE t SET b = 'again'");
  helper_busy(1, "SELECT count(*) FROM t");
  /* normal again: the lock goes with the next access */
  if (!wal) {
    sql(db, "PRAGMA locking_mode=normal; SELECT count(*) FROM t");
    assert_int_equal(helper_must(1, "SELECT count(*) FROM t WHERE b = 'again'"), 100);
    helper_must(1, "UPDATE t SET b = 'theirs'");
    assert_int_equal(sql(db, "SELECT count(*) FROM t WHERE b = 'theirs'"), 100);
  }
  assert_int_equal(helper_close(1), SQLITE_OK);
  sql(db, "UPDATE t SET b = 'last'");
  db_close(db);
  helper_sees(there, "last");

  /* Normal first, then exclusive, then normal: in WAL mode the wal-index stays shared memory. */
  fresh(mode);
  db = db_open(path, here);
  sql(db, "PRAGMA cache_size=5; UPDATE t SET b = 'mine'");
  assert_int_equal(helper_open(1, path, there), SQLITE_OK);
  assert_int_equal(helper_must(1, "SELECT count(*) FROM t WHERE b = 'mine'"), 100);
  if (wal) assert_int_equal(helper_close(1), SQLITE_OK); /* an open WAL connection keeps SHARED */
  sql(db, "PRAGMA locking_mode=exclusive; UPDATE t SET b = 'exclusive'");
  if (wal) assert_int_equal(helper_open(1, path, there), SQLITE_OK);
  helper_busy(1, "UPDATE t SET b = 'theirs'");
  sql(db, "UPDATE t SET b = 'exclusive too'; PRAGMA locking_mode=normal; SELECT count(*) FROM t");
  helper_must(1, "UPDATE t SET b = b || '!'");
  assert_int_equal(sql(db, "SELECT count(*) FROM t WHERE b = 'exclusive too!'"), 100);
  db_close(db);
  helper_must(1, "UPDATE t SET b = 'left'");
  assert_int_equal(helper_close(1), SQLITE_OK);
  helper_sees(here, "left");

  /* The other process is the exclusive one. */
  assert_int_equal(helper_open(1, path, there), SQLITE_OK);
  snprintf(text, sizeof(text), "PRAGMA locking_mode=exclusive; PRAGMA journal_mode=%s; UPDATE t SET b = 'theirs'",
           mode);
  helper_must(1, text);
  db = db_open(path, here);
  sql_busy(db, "SELECT count(*) FROM t");
  sql_busy(db, "UPDATE t SET b = 'mine'");
  helper_must(1, "UPDATE t SET b = 'theirs too'");
  assert_int_equal(helper_close(1), SQLITE_OK);
  assert_int_equal(sql(db, "SELECT count(*) FROM t WHERE b = 'theirs too'"), 100);
  sql(db, "UPDATE t SET b = 'mine'");
  db_close(db);
  helper_sees(there, "mine");

  /* Both want it: one gets it. */
  db = db_open(path, here);
  assert_int_equal(helper_open(1, path, there), SQLITE_OK);
  sql(db, "PRAGMA locking_mode=exclusive");
  helper_must(1, "PRAGMA locking_mode=exclusive");
  sql(db, "UPDATE t SET b = 'first'");
  helper_busy(1, "UPDATE t SET b = 'second'");
  db_close(db);
  helper_must(1, "UPDATE t SET b = 'second'");
  assert_int_equal(helper_close(1), SQLITE_OK);
  helper_sees(here, "second");
}

static void test_exclusive_locking_mode(void **state) {
  (void)state;
  static const char *const modes[] = {"delete", "truncate", "persist", "wal"};
  for (size_t m = 0; m < COUNT(modes); m++) {
    one_combination(modes[m], uring_vfs(), default_vfs);
    one_combination(modes[m], default_vfs, uring_vfs());
    one_combination(modes[m], uring_vfs(), uring_vfs());
  }
}

int main(void) {
  support_start();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_exclusive_locking_mode)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
