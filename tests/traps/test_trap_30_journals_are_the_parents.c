/*
** Trap 30: a journal in DELETE mode lives for one transaction; to make it known to a ring costs more than it brings. Journals, temporary
** and sort files are the parent's alone: no operation of the runtime writes them.
*/
#include "support_db.h"

#include <stdio.h>
#include <string.h>

static void a_journal_is_the_parents(void **state) {
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
      const sqlite3_int64 before = db_stat(db, "writes");
      recorder_clear_log();
      for (int i = 0; i < 30; i++) db_exec(db, "UPDATE t SET x=randomblob(300000)");
      /* 300000 bytes of the database each time, and hardly more: as much again would be the journal */
      const sqlite3_int64 pages = db_stat(db, "writes") - before, least = 30 * 300000 / 4096;
      assert_true(pages >= least && pages < least * 3 / 2);
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
  const sqlite3_int64 before = db_stat(db, "writes");
  for (int i = 0; i < 20; i++) {
    db_exec(db, "CREATE TEMP TABLE tt AS SELECT * FROM t ORDER BY k");
    assert_int_equal(db_int(db, "SELECT count(*) FROM tt"), 3000);
    db_exec(db, "DROP TABLE tt");
  }
  assert_int_equal(db_stat(db, "writes"), before);
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
      cmocka_unit_test_setup(a_journal_is_the_parents, support_reset),
      cmocka_unit_test_setup(temporary_files_are_the_parents, support_reset),
      cmocka_unit_test_setup(closed_is_closed, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 30: no operation of the runtime writes journals and temporary files");
  return rc;
}
