/*
** Trap 10: a late write error of the database file is returned at FCNTL_SYNC, which precedes every rollback-mode
** commit, also at synchronous=OFF. Where it does not come (the pager's error state, journal_mode=OFF) pending writes
** are dropped before the unlock, or they would hit another process's hot-journal rollback. A latched error is cleared
** once it was reported: the rollback's own FCNTL_SYNC must not fail.
*/
#include "support_db.h"

#include <stdio.h>
#include <string.h>

static const char *const ways[] = {PLAIN, URING_SYNC};
static const char *const modes[] = {"DELETE", "TRUNCATE", "PERSIST", "MEMORY"};
static const char *const levels[] = {"OFF", "NORMAL", "FULL"};

#define SUM "SELECT sum(v) FROM t"

static sqlite3 *filled(const char *way, const char *mode, const char *level) {
  support_reset(NULL);
  sqlite3 *db = db_open("t.db", way);
  db_execf(db, "PRAGMA page_size=1024; PRAGMA journal_mode=%s; PRAGMA synchronous=%s", mode, level);
  db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB)");
  db_exec(db, "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<30) INSERT INTO t SELECT i, 1, "
              "randomblob(700) FROM n");
  return db;
}

/* Did the (first) failed call come after what ended the journal? */
static bool failed_behind_the_end(void) {
  bool ended = false;
  for (size_t i = 0; i < recorder_count(); i++) {
    const rec_call *c = recorder_at(i);
    if (c->rc && (c->kind == REC_WRITE || c->kind == REC_SYNC)) return ended;
    if (c->role != REC_JOURNAL || recorder_find(REC_WRITE, REC_DB, 0) > i) continue;
    ended |= (c->kind == REC_TRUNCATE && c->offset == 0) || (c->kind == REC_WRITE && c->offset == 0 && c->bytes == 28);
  }
  return false;
}

/* Write n fails once; the statement says so; the transaction is undone; the next succeeds. */
static void each_failing_write(void **state) {
  static const struct {
    rec_role role;
    rec_kind kind;
    int rc;
  } faults[] = {{REC_DB, REC_WRITE, SQLITE_FULL},
                {REC_DB, REC_WRITE, SQLITE_IOERR_WRITE},
                {REC_JOURNAL, REC_WRITE, SQLITE_FULL},
                {REC_DB, REC_SYNC, SQLITE_IOERR_FSYNC},
                {REC_JOURNAL, REC_SYNC, SQLITE_IOERR_FSYNC}};
  (void)state;
  for (size_t w = 0; w < 2; w++)
    for (int m = 0; m < 4; m++)
      for (int l = 0; l < 3; l++)
        for (size_t f = 0; f < sizeof faults / sizeof *faults; f++)
          for (int n = 1;; n += n < 3 ? 1 : 11) {
            sqlite3 *db = filled(ways[w], modes[m], levels[l]);
            recorder_clear_log();
            recorder_fail(faults[f].kind, faults[f].role, n, 1, faults[f].rc);
            int rc = db_try(db, "UPDATE t SET v=2, pad=randomblob(700)");
            bool injected = recorder_failed() > 0;
            recorder_fail_off();
            if (!injected) {
              assert_int_equal(rc, SQLITE_OK);
              assert_int_equal(db_int(db, SUM), 60);
              db_close(db);
              break;
            }
            /* a sync that fails behind the commit point (the journal is zeroed or truncated) leaves the transaction
            ** committed */
            int sum = failed_behind_the_end() ? 60 : 30;
            assert_int_equal(rc, faults[f].rc);
            assert_int_equal(sqlite3_get_autocommit(db), 1);
            assert_int_equal(recorder_check_locks(), -1);
            if (m < 3) assert_int_equal(killed_now("t.db", SUM), sum);
            assert_int_equal(db_int(db, SUM), sum);
            db_exec(db, "UPDATE t SET v=3, pad=randomblob(700)");
            assert_int_equal(db_int(db, SUM), 90);
            assert_int_equal(killed_now("t.db", SUM), 90);
            assert_int_equal(recorder_check_locks(), -1);
            db_check(db);
            db_close(db);
          }
}

/* All later writes fail as well: the rollback cannot be done, the pager is in its error state, and after the unlock
** nothing is written. The journal stays hot; another connection rolls it back. */
static void error_state_writes_nothing_late(void **state) {
  (void)state;
  for (size_t w = 0; w < 2; w++)
    for (int l = 0; l < 3; l++)
      for (int n = 1; n < 12; n += 2) {
        sqlite3 *db = filled(ways[w], "DELETE", levels[l]);
        recorder_clear_log();
        recorder_fail(REC_WRITE, REC_DB, n, 0, SQLITE_IOERR_WRITE);
        assert_int_equal(db_try(db, "UPDATE t SET v=2, pad=randomblob(700)"), SQLITE_IOERR_WRITE);
        assert_true(recorder_failed() > 0);
        recorder_fail_off();
        assert_int_equal(recorder_check_locks(), -1);
        size_t unlocked = recorder_count();
        sqlite3 *other = db_open("t.db", "vfs=unix");
        assert_int_equal(db_int(other, SUM), 30);
        db_exec(other, "UPDATE t SET v=5");
        assert_int_equal(recorder_tally(REC_WRITE, REC_DB, unlocked), 0);
        assert_int_equal(db_int(db, SUM), 150);
        assert_int_equal(db_int(other, SUM), 150);
        db_check(other);
        db_close(other);
        db_exec(db, "UPDATE t SET v=6");
        assert_int_equal(killed_now("t.db", SUM), 180);
        db_close(db);
      }
}

/* journal_mode=OFF: no FCNTL_SYNC before a rollback; a failed write is reported all the same, none comes late. */
static void journal_off(void **state) {
  (void)state;
  for (size_t w = 0; w < 2; w++)
    for (int n = 1; n < 12; n += 2) {
      sqlite3 *db = filled(ways[w], "OFF", "OFF");
      recorder_clear_log();
      recorder_fail(REC_WRITE, REC_DB, n, 0, SQLITE_FULL);
      assert_int_equal(db_try(db, "UPDATE t SET v=2, pad=randomblob(700)"), SQLITE_FULL);
      assert_true(recorder_failed() > 0);
      recorder_fail_off();
      assert_int_equal(recorder_check_locks(), -1);
      db_close(db);
    }
}

/* Backup: FCNTL_SYNC comes before its commit too. */
static void backup(void **state) {
  (void)state;
  for (size_t w = 0; w < 2; w++)
    for (int n = 1;; n += 5) {
      sqlite3 *db = filled(ways[w], "DELETE", "OFF");
      sqlite3 *to = db_open("copy.db", ways[w]);
      db_exec(to, "PRAGMA synchronous=OFF; CREATE TABLE before(x); INSERT INTO before VALUES(1)");
      recorder_clear_log();
      recorder_fail(REC_WRITE, REC_DB, n, 1, SQLITE_FULL);
      sqlite3_backup *b = sqlite3_backup_init(to, "main", db, "main");
      assert_non_null(b);
      int rc = sqlite3_backup_step(b, -1);
      int rc_finish = sqlite3_backup_finish(b);
      bool injected = recorder_failed() > 0;
      recorder_fail_off();
      assert_int_equal(recorder_check_locks(), -1);
      if (injected) {
        assert_int_equal(rc & 0xff, SQLITE_FULL);
        assert_int_equal(rc_finish & 0xff, SQLITE_FULL);
        assert_int_equal(db_int(to, "SELECT x FROM before"), 1);
      } else {
        assert_int_equal(rc, SQLITE_DONE);
        assert_int_equal(db_int(to, SUM), 30);
      }
      db_check(to);
      db_close(to);
      db_close(db);
      if (!injected) break;
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(each_failing_write, support_reset),
      cmocka_unit_test_setup(error_state_writes_nothing_late, support_reset),
      cmocka_unit_test_setup(journal_off, support_reset),
      cmocka_unit_test_setup(backup, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0)
    puts("trap 10: write errors surface at the commit, end with it, and nothing is written after the unlock");
  return rc;
}
