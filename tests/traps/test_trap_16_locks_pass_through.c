/*
** Trap 16, and the lock side of 13 to 18: in this stage every lock is the parent's. The same statements make the same
** lock calls with the same results through uring as through the default VFS: no busy handler for the checkpoint lock, a
** reader's recovery that takes the write lock is no writer, an interrupted snapshot upgrade answers BUSY_SNAPSHOT.
*/
#include "support_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*script_fn)(sqlite3 *db, sqlite3 *other, char *out);

static void note(char *out, sqlite3 *db, const char *sql) {
  char line[256];
  int rc = db_try(db, sql);
  snprintf(line, sizeof line, "%s -> %d\n", sql, rc);
  strcat(out, line);
}

static void rollback_script(sqlite3 *db, sqlite3 *other, char *out) {
  note(out, db, "CREATE TABLE t(x)");
  note(out, db, "INSERT INTO t VALUES(1)");
  note(out, db, "SELECT * FROM t");
  note(out, other, "BEGIN; SELECT * FROM t");
  note(out, db, "INSERT INTO t VALUES(2)"); /* PENDING, refused by the reader */
  note(out, db, "BEGIN; INSERT INTO t VALUES(3)");
  note(out, other, "INSERT INTO t VALUES(4)");
  note(out, db, "COMMIT");
  note(out, other, "COMMIT");
  note(out, db, "COMMIT");
  note(out, other, "BEGIN IMMEDIATE");
  note(out, db, "BEGIN IMMEDIATE");
  note(out, db, "SELECT count(*) FROM t");
  note(out, other, "COMMIT");
  note(out, db, "BEGIN EXCLUSIVE");
  note(out, other, "SELECT * FROM t");
  note(out, db, "ROLLBACK");
  note(out, db, "PRAGMA locking_mode=exclusive; INSERT INTO t VALUES(5)");
  note(out, other, "SELECT * FROM t");
  note(out, db, "PRAGMA locking_mode=normal; SELECT * FROM t");
  note(out, other, "SELECT * FROM t");
  note(out, db, "VACUUM");
}

static void wal_script(sqlite3 *db, sqlite3 *other, char *out) {
  note(out, db, "PRAGMA journal_mode=wal; CREATE TABLE t(x)");
  note(out, db, "INSERT INTO t VALUES(1)");
  note(out, other, "BEGIN; SELECT * FROM t");
  note(out, db, "INSERT INTO t VALUES(2)");
  note(out, other, "INSERT INTO t VALUES(3)"); /* BUSY_SNAPSHOT */
  note(out, db, "PRAGMA wal_checkpoint(PASSIVE)");
  note(out, db, "PRAGMA wal_checkpoint(FULL)");
  note(out, db, "PRAGMA wal_checkpoint(TRUNCATE)");
  note(out, other, "COMMIT");
  note(out, db, "PRAGMA wal_checkpoint(TRUNCATE)");
  note(out, other, "BEGIN IMMEDIATE");
  note(out, db, "INSERT INTO t VALUES(4)");
  note(out, db, "PRAGMA wal_checkpoint(RESTART)");
  note(out, other, "ROLLBACK");
  note(out, db,
       "BEGIN; SELECT * FROM t; INSERT INTO t VALUES(4); SAVEPOINT a; INSERT INTO t VALUES(5); ROLLBACK TO a; COMMIT");
  note(out, db, "PRAGMA locking_mode=exclusive; INSERT INTO t VALUES(6)");
  note(out, other, "SELECT * FROM t");
  note(out, db, "PRAGMA locking_mode=normal; SELECT * FROM t");
  note(out, other, "SELECT * FROM t");
  note(out, other, "PRAGMA journal_mode=delete");
  note(out, db, "SELECT * FROM t");
}

/* The shape without the writes: locks, unlocks and shm locks. */
static char *locks_only(void) {
  char *shape = recorder_shape(0), *out = calloc(1, strlen(shape) + 1), *save = NULL;
  for (char *line = strtok_r(shape, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
    if (strstr(line, "lock(") || strstr(line, "reserved?") || strstr(line, "sleep")) {
      strcat(out, line);
      strcat(out, "\n");
    }
  free(shape);
  return out;
}

static char *run(const char *way, script_fn script, char *results) {
  support_reset(NULL);
  results[0] = 0;
  sqlite3 *db = db_open("t.db", way), *other = db_open("t.db", "vfs=unix");
  script(db, other, results);
  char *locks = locks_only();
  db_close(db);
  db_close(other);
  return locks;
}

static void same_locks(script_fn script) {
  static const char *const ways[] = {URING_SYNC, URING_AUTO, URING_RING};
  static char plain_results[1 << 14], results[1 << 14];
  char *plain = run(PLAIN, script, plain_results);
  assert_non_null(strstr(plain_results, "-> 5"));
  for (int w = 0; w < 3; w++) {
    if (strstr(ways[w], "backend=uring") && !ring_available()) continue;
    char *locks = run(ways[w], script, results);
    assert_string_equal(results, plain_results);
    assert_string_equal(locks, plain);
    free(locks);
  }
  free(plain);
}

static void rollback_mode(void **state) {
  (void)state;
  same_locks(rollback_script);
}

static void wal_mode(void **state) {
  (void)state;
  same_locks(wal_script);
}

/* A checkpoint lock that is taken: no sleeping, whatever the busy handler. */
static void no_busy_handler_for_the_checkpoint_lock(void **state) {
  static const char *const ways[] = {PLAIN, URING_SYNC, URING_AUTO};
  (void)state;
  for (int w = 0; w < 3; w++) {
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", ways[w]);
    db_exec(db, "PRAGMA journal_mode=wal; CREATE TABLE t(x)");
    sqlite3_busy_timeout(db, 5000);
    recorder_clear_log();
    for (int mode = SQLITE_CHECKPOINT_PASSIVE; mode <= SQLITE_CHECKPOINT_TRUNCATE; mode++) {
      recorder_fail(REC_SHM_LOCK, REC_DB, 1, 1, SQLITE_BUSY);
      assert_int_equal(sqlite3_wal_checkpoint_v2(db, NULL, mode, NULL, NULL), SQLITE_BUSY);
      assert_int_equal(recorder_failed(), 1);
      recorder_fail_off();
    }
    assert_int_equal(recorder_tally(REC_SLEEP, REC_ANY_ROLE, 0), 0);
    db_close(db);
  }
}

/* A reader that recovers the wal-index takes the write lock and must be able to do so through uring: WAL left by a
** killed process. */
static void recovery_by_a_reader(void **state) {
  static const char *const ways[] = {PLAIN, URING_SYNC, URING_AUTO, URING_RING};
  (void)state;
  for (int w = 0; w < 4; w++) {
    if (strstr(ways[w], "backend=uring") && !ring_available()) continue;
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", ways[w]);
    db_exec(db, "PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(1),(2),(3)");
    killed_now("t.db",
               "SELECT count(*) FROM t"); /* closing it checkpoints killed.db: only shows that it can be recovered */
    db_close(db);
    db = db_open("t.db", "vfs=unix");
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)0);
    db_exec(db, "INSERT INTO t VALUES(4)");
    db_close(db);
    assert_int_equal(remove(support_path("t.db-shm")), 0);
    recorder_clear_log();
    db = db_open("t.db", ways[w]);
    assert_int_equal(db_int(db, "SELECT count(*) FROM t"), 4);
    db_exec(db, "INSERT INTO t VALUES(5)");
    assert_int_equal(db_int(db, "SELECT count(*) FROM t"), 5);
    db_check(db);
    db_close(db);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(rollback_mode, support_reset),
      cmocka_unit_test_setup(wal_mode, support_reset),
      cmocka_unit_test_setup(no_busy_handler_for_the_checkpoint_lock, support_reset),
      cmocka_unit_test_setup(recovery_by_a_reader, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 16: every lock call reaches the parent as it came, with its result");
  return rc;
}
