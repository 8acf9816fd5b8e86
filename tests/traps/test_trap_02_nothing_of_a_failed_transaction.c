/*
** Trap 2: after a failed or rolled-back transaction nothing of it may reach the WAL any more: a complete commit frame
** that is flushed when the lock is released would be recovered by the next process, as if the transaction had
** succeeded.
*/
#include "support_db.h"

#include <stdio.h>
#include <string.h>

static const char *const ways[] = {PLAIN, URING_SYNC};
static const char *const ring_ways[] = {PLAIN, URING_SYNC, URING_AUTO, URING_RING};

static sqlite3 *start(const char *way, const char *synchronous) {
  sqlite3 *db = db_open("t.db", way);
  db_exec(db, "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0");
  db_execf(db, "PRAGMA synchronous=%s", synchronous);
  db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB); INSERT INTO t VALUES(1, randomblob(3000))");
  db_exec(db, "UPDATE t SET pad=randomblob(3000)"); /* the WAL's first sync is behind us */
  return db;
}

#define FILL                                                                                                           \
  "WITH RECURSIVE n(i) AS (VALUES(2) UNION ALL SELECT i+1 FROM n WHERE i<300) INSERT INTO t SELECT i, "                \
  "randomblob(3000) FROM n"
#define COUNT "SELECT count(*) FROM t"

/* Write n of the commit fails, once: the rest could be written. It must not be, at the unlock or ever after. */
static void failed_flush_is_dropped(void **state) {
  static const char *const levels[] = {"OFF", "NORMAL", "FULL"};
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    for (size_t l = 0; l < 3; l++) {
      int failures = 0;
      for (int n = 1;; n += n < 14 ? 1 : 197) {
        support_reset(NULL);
        sqlite3 *db = start(ways[w], levels[l]);
        db_exec(db, "PRAGMA cache_size=-20000; BEGIN; " FILL);
        recorder_clear_log();
        recorder_fail(REC_WRITE, REC_WAL, n, 1, SQLITE_FULL);
        int rc = db_try(db, "COMMIT");
        size_t failed_at = recorder_count();
        if (!recorder_failed()) {
          assert_int_equal(rc, SQLITE_OK);
          db_close(db);
          break;
        }
        failures++;
        assert_int_equal(rc, SQLITE_FULL);
        if (!sqlite3_get_autocommit(db)) db_exec(db, "ROLLBACK");
        assert_int_equal(killed_now("t.db", COUNT), 1);
        /* reading, or anything else that might flush, brings nothing to light */
        assert_int_equal(db_int(db, COUNT), 1);
        assert_int_equal(db_int(db, "SELECT length(pad) FROM t"), 3000);
        assert_int_equal(killed_now("t.db", COUNT), 1);
        assert_int_equal(recorder_tally(REC_WRITE, REC_WAL, failed_at), 0);
        /* another connection writes over it; the first follows */
        sqlite3 *other = db_open("t.db", PLAIN);
        assert_int_equal(db_int(other, COUNT), 1);
        db_exec(other, "INSERT INTO t VALUES(100000, zeroblob(10))");
        db_close(other);
        db_exec(db, "INSERT INTO t VALUES(100001, zeroblob(10))");
        assert_int_equal(killed_now("t.db", COUNT), 3);
        assert_int_equal(recorder_check_locks(), -1);
        db_check(db);
        db_close(db);
      }
      assert_true(failures >= 1);
    }
  }
}

/* The same when the last thing that the connection does is to close. */
static void failed_flush_then_close(void **state) {
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    support_reset(NULL);
    sqlite3 *db = start(ways[w], "NORMAL");
    sqlite3 *holds = db_open("t.db", "vfs=unix"); /* so that closing does not checkpoint */
    db_exec(holds, "PRAGMA locking_mode=normal; BEGIN; SELECT * FROM t");
    db_exec(db, "BEGIN; " FILL);
    recorder_fail(REC_WRITE, REC_WAL, 1, 1, SQLITE_IOERR_WRITE);
    assert_int_equal(db_try(db, "COMMIT"), SQLITE_IOERR_WRITE);
    recorder_fail_off();
    if (!sqlite3_get_autocommit(db)) db_try(db, "ROLLBACK");
    db_close(db);
    assert_int_equal(killed_now("t.db", COUNT), 1);
    db_exec(holds, "COMMIT");
    db_close(holds);
  }
}

/* A rollback of spilled pages: what was still pending is dropped, not written at the end. */
static void rollback_writes_nothing(void **state) {
  (void)state;
  for (size_t w = 0; w < sizeof ring_ways / sizeof *ring_ways; w++) {
    support_reset(NULL);
    if (strstr(ring_ways[w], "backend=uring") && !ring_available()) continue;
    sqlite3 *db = start(ring_ways[w], "FULL");
    db_exec(db, "PRAGMA cache_size=10; PRAGMA cache_spill=10; BEGIN; " FILL);
    size_t before = recorder_count();
    db_exec(db, "ROLLBACK");
    assert_int_equal(recorder_tally(REC_WRITE, REC_WAL, before), 0);
    assert_int_equal(killed_now("t.db", COUNT), 1);
    assert_int_equal(db_int(db, COUNT), 1);
    /* smaller than the rolled-back one: its tail stays in the file behind the new end */
    db_exec(db, "INSERT INTO t VALUES(2, zeroblob(10))");
    assert_int_equal(killed_now("t.db", COUNT), 2);
    if (w < 2) assert_int_equal(recorder_check_locks(), -1);
    db_close(db);
  }
}

/* Exclusive locking mode with a wal-index in memory: no lock tells that a transaction is over. */
static void exclusive_mode(void **state) {
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", ways[w]);
    db_exec(db, "PRAGMA locking_mode=exclusive; PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; PRAGMA "
                "synchronous=NORMAL;"
                "CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB); INSERT INTO t VALUES(1, randomblob(3000))");
    for (int n = 1; n < 4; n++) {
      recorder_fail(REC_WRITE, REC_WAL, n, 1, SQLITE_FULL);
      int rc = db_try(db, "BEGIN; " FILL "; COMMIT");
      bool injected = recorder_failed() > 0;
      recorder_fail_off();
      if (!sqlite3_get_autocommit(db)) db_exec(db, "ROLLBACK");
      assert_int_equal(rc, injected ? SQLITE_FULL : SQLITE_OK);
      if (!injected) db_exec(db, "DELETE FROM t WHERE id BETWEEN 2 AND 9999");
      assert_int_equal(killed_now("t.db", COUNT), n);
      /* spilled, rolled back, and a smaller one after it */
      db_exec(db, "PRAGMA cache_size=10; PRAGMA cache_spill=10; BEGIN; " FILL "; ROLLBACK; PRAGMA cache_size=-20000");
      assert_int_equal(killed_now("t.db", COUNT), n);
      db_execf(db, "INSERT INTO t VALUES(%d, zeroblob(10))", 10000 + n);
      assert_int_equal(killed_now("t.db", COUNT), n + 1);
      assert_int_equal(db_int(db, COUNT), n + 1);
    }
    db_check(db);
    db_close(db);
    assert_int_equal(killed_now("t.db", COUNT), 4);
  }
}

/* A failed sync: the transaction fails, and the next one succeeds. */
static void failed_sync_ends_with_its_transaction(void **state) {
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    support_reset(NULL);
    sqlite3 *db = start(ways[w], "FULL");
    recorder_fail(REC_SYNC, REC_WAL, 1, 1, SQLITE_IOERR_FSYNC);
    assert_int_equal(db_try(db, "INSERT INTO t VALUES(2, zeroblob(3000))"), SQLITE_IOERR_FSYNC);
    assert_int_equal(recorder_failed(), 1);
    recorder_fail_off();
    assert_int_equal(db_int(db, COUNT), 1);
    db_exec(db, "INSERT INTO t VALUES(3, zeroblob(3000))");
    assert_int_equal(killed_now("t.db", "SELECT max(id) FROM t"), 3);
    assert_int_equal(killed_now("t.db", COUNT), 2);
    db_close(db);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(failed_flush_is_dropped, support_reset),
      cmocka_unit_test_setup(failed_flush_then_close, support_reset),
      cmocka_unit_test_setup(rollback_writes_nothing, support_reset),
      cmocka_unit_test_setup(exclusive_mode, support_reset),
      cmocka_unit_test_setup(failed_sync_ends_with_its_transaction, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 2: nothing of a failed or rolled-back transaction reaches the WAL afterwards");
  return rc;
}
