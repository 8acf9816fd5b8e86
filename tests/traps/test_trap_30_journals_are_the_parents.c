/*
** Trap 30: a journal in DELETE mode lives for one transaction, and is never synced by a group. Journals, temporary and
** sort files go through the parent alone.
*/
#include "support_db.h"

#include <stdio.h>
#include <string.h>

static void no_ring_for_a_journal(void **state) {
  static const char *const ways[] = {URING_AUTO, URING_RING};
  static const char *const modes[] = {"delete", "truncate", "persist"};
  (void)state;
  if (!ring_available()) skip();
  for (int w = 0; w < 2; w++)
    for (int m = 0; m < 3; m++) {
      support_reset(NULL);
      sqlite3 *db = db_open("t.db", ways[w]);
      db_execf(db, "PRAGMA journal_mode=%s; PRAGMA synchronous=FULL", modes[m]);
      db_exec(db, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(300000))");
      sqlite3_int64 before = db_stat(db, "writes");
      recorder_clear_log();
      for (int i = 0; i < 30; i++) db_exec(db, "UPDATE t SET x=randomblob(300000)");
      /* the database's pages, and not those of the journal as well: three writes each */
      assert_true(db_stat(db, "writes") - before < 2 * 30 * (300000 / 4096));
      assert_true(recorder_bytes(REC_WRITE, REC_JOURNAL, 0) > 30 * 300000); /* the parent wrote all of them */
      db_close(db);
    }
}

static void temporary_files_are_the_parents(void **state) {
  (void)state;
  if (!ring_available()) skip();
  sqlite3 *db = db_open("t.db", URING_RING);
  db_exec(db, "PRAGMA journal_mode=wal; CREATE TABLE t(k)");
  db_exec(db, "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<3000) INSERT INTO t SELECT "
              "randomblob(100) FROM n");
  db_exec(db, "PRAGMA cache_size=10; PRAGMA temp_store=FILE; CREATE TEMP TABLE warm(x)");
  sqlite3_int64 before = db_stat(db, "writes");
  for (int i = 0; i < 20; i++) {
    db_exec(db, "CREATE TEMP TABLE tt AS SELECT * FROM t ORDER BY k");
    assert_int_equal(db_int(db, "SELECT count(*) FROM tt"), 3000);
    db_exec(db, "DROP TABLE tt");
  }
  assert_int_equal(db_stat(db, "writes"), before); /* the database is only read */
  db_close(db);
}

/* Opening and closing connections in a row: nothing of a closed database is left. */
static void closed_is_closed(void **state) {
  (void)state;
  if (!ring_available()) skip();
  for (int i = 0; i < 40; i++) {
    char name[32];
    snprintf(name, sizeof name, "n%d.db", i);
    sqlite3 *db = db_open(name, URING_RING);
    db_exec(db, "PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)");
    db_close(db);
    /* last connection: WAL and wal-index are gone */
    assert_null(fopen(support_path("n0.db-wal"), "r"));
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(no_ring_for_a_journal, support_reset),
      cmocka_unit_test_setup(temporary_files_are_the_parents, support_reset),
      cmocka_unit_test_setup(closed_is_closed, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 30: journals and temporary files take no ring");
  return rc;
}
