/*
** Trap 6: the order of hooks around a checkpoint: xSync(wal), CKPT_START, copies, CKPT_DONE (its result is ignored),
** and only for a complete one xTruncate and xSync(db). The VFS passes all of them on in that order; no copied page may
** come after CKPT_DONE, and a failed one must be seen by the checkpoint itself. A host that sends no CKPT_START gets
** its writes through at once.
*/
#include "support_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static sqlite3 *filled(const char *way) {
  support_reset(NULL);
  sqlite3 *db = db_open("t.db", way);
  db_exec(db, "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
  db_exec(db, "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<60) INSERT INTO t SELECT i, "
              "randomblob(3000) FROM n");
  return db;
}

static size_t control(int op) {
  for (size_t i = 0; i < recorder_count(); i++)
    if (recorder_at(i)->kind == REC_CONTROL && recorder_at(i)->arg == op) return i;
  return recorder_count();
}

static char *checkpoint_shape(const char *way, const char *kind, bool held_back) {
  sqlite3 *reader = NULL;
  sqlite3 *db = filled(way);
  if (held_back) {
    reader = db_open("t.db", "vfs=unix");
    db_exec(reader, "BEGIN; SELECT count(*) FROM t");
    db_exec(db, "UPDATE t SET pad=randomblob(2999)");
  }
  recorder_clear_log();
  sqlite3_stmt *statement;
  char sql[64];
  snprintf(sql, sizeof sql, "PRAGMA wal_checkpoint(%s)", kind);
  assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
  sqlite3_finalize(statement);
  size_t start = control(SQLITE_FCNTL_CKPT_START), done = control(SQLITE_FCNTL_CKPT_DONE);
  assert_true(recorder_find(REC_SYNC, REC_WAL, 0) < start);
  assert_true(start < done && done < recorder_count());
  size_t copies = 0;
  for (size_t i = 0; i < recorder_count(); i++) {
    const rec_call *c = recorder_at(i);
    if (c->kind != REC_WRITE || c->role != REC_DB) continue;
    copies++;
    assert_in_range(i, start, done);
  }
  assert_true(copies > 0);
  assert_int_equal(recorder_bytes(REC_WRITE, REC_DB, 0) % 4096, 0);
  assert_int_equal(recorder_tally(REC_SYNC, REC_DB, 0), held_back ? 0 : 1);
  char *shape = recorder_shape(0);
  if (reader) {
    assert_int_equal(db_int(reader, "SELECT sum(length(pad)) FROM t"), 60 * 3000);
    db_close(reader);
  }
  db_close(db);
  return shape;
}

static void order_is_the_parents(void **state) {
  static const char *const kinds[] = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
  (void)state;
  for (int k = 0; k < 4; k++) {
    for (int held = 0; held < (k == 0 ? 2 : 1); held++) {
      char *plain = checkpoint_shape(PLAIN, kinds[k], held);
      char *shape = checkpoint_shape(URING_SYNC, kinds[k], held);
      assert_string_equal(shape, plain);
      free(shape);
      free(plain);
    }
  }
}

/* Each copied page, and the truncation and sync behind them, fails once: the checkpoint returns the error, complete or
** partial. */
static void a_failed_copy_is_the_checkpoints_error(void **state) {
  static const char *const ways[] = {PLAIN, URING_SYNC};
  static const struct {
    rec_kind kind;
    rec_role role;
    int rc;
  } faults[] = {{REC_WRITE, REC_DB, SQLITE_FULL},
                {REC_WRITE, REC_DB, SQLITE_IOERR_WRITE},
                {REC_TRUNCATE, REC_DB, SQLITE_IOERR_TRUNCATE},
                {REC_SYNC, REC_DB, SQLITE_IOERR_FSYNC},
                {REC_SYNC, REC_WAL, SQLITE_IOERR_FSYNC}};
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    for (int held = 0; held < 2; held++) {
      for (size_t f = 0; f < sizeof faults / sizeof *faults; f++) {
        for (int n = 1;; n += n < 4 ? 1 : 13) {
          sqlite3 *reader = NULL;
          sqlite3 *db = filled(ways[w]);
          if (held) {
            reader = db_open("t.db", "vfs=unix");
            db_exec(reader, "BEGIN; SELECT count(*) FROM t");
            db_exec(db, "UPDATE t SET pad=randomblob(2999) WHERE id>40");
          }
          recorder_clear_log();
          recorder_fail(faults[f].kind, faults[f].role, n, 1, faults[f].rc);
          int log = -1, done = -1;
          int rc = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, &log, &done);
          bool injected = recorder_failed() > 0;
          recorder_fail_off();
          assert_int_equal(rc == SQLITE_OK, !injected);
          if (injected) {
            assert_int_equal(sqlite3_extended_errcode(db), faults[f].rc);
            assert_int_equal(control(SQLITE_FCNTL_CKPT_START) < recorder_count(), faults[f].role == REC_DB);
            /* nothing was published: the next one copies all of it again */
            recorder_clear_log();
            assert_int_equal(sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, &log, &done), SQLITE_OK);
            assert_true(recorder_bytes(REC_WRITE, REC_DB, 0) >= (held ? 40 : 60) * 4096);
          }
          if (reader) {
            assert_int_equal(db_int(reader, "SELECT sum(length(pad)) FROM t"), 60 * 3000);
            db_close(reader);
          }
          db_check(db);
          assert_int_equal(recorder_check_locks(), -1);
          db_close(db);
          if (!injected) break;
        }
      }
    }
  }
}

/* CKPT_DONE comes on an interrupt too; nothing may be written after it. */
static void interrupt_checkpoint(const rec_call *call, void *arg) {
  if (call->kind == REC_WRITE && call->role == REC_DB) sqlite3_interrupt(arg);
}

static void interrupted(void **state) {
  static const char *const ways[] = {PLAIN, URING_SYNC};
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    sqlite3 *db = filled(ways[w]);
    recorder_clear_log();
    recorder_hook(interrupt_checkpoint, db);
    sqlite3_stmt *keeps_running; /* sqlite3_interrupt is forgotten when no statement runs */
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA wal_checkpoint", -1, &keeps_running, NULL), SQLITE_OK);
    sqlite3_step(keeps_running);
    sqlite3_finalize(keeps_running);
    recorder_hook(NULL, NULL);
    size_t done = control(SQLITE_FCNTL_CKPT_DONE);
    assert_true(done < recorder_count());
    assert_int_equal(recorder_tally(REC_WRITE, REC_DB, done), 0);
    db_exec(db, "UPDATE t SET pad=randomblob(2000)");
    assert_int_equal(recorder_check_locks(), -1);
    assert_int_equal(killed_now("t.db", "SELECT sum(length(pad)) FROM t"), 60 * 2000);
    db_close(db);
  }
}

/* The bare methods, as a host older than CKPT_START would call them. */
static void without_ckpt_start(void **state) {
  (void)state;
  sqlite3 *db = db_open("t.db", URING_SYNC);
  db_exec(db, "CREATE TABLE t(x)");
  sqlite3_file *file;
  assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file), SQLITE_OK);
  char page[4096];
  memset(page, 'x', sizeof page);
  assert_int_equal(file->pMethods->xLock(file, SQLITE_LOCK_SHARED), SQLITE_OK);
  recorder_clear_log();
  for (int i = 4; i < 12; i++) {
    assert_int_equal(file->pMethods->xWrite(file, page, sizeof page, i * 4096), SQLITE_OK);
    assert_int_equal(recorder_bytes(REC_WRITE, REC_DB, 0), (i - 3) * 4096);
  }
  assert_int_equal(file->pMethods->xTruncate(file, 2 * 4096), SQLITE_OK);
  assert_int_equal(file->pMethods->xUnlock(file, SQLITE_LOCK_NONE), SQLITE_OK);
  db_check(db);
  db_close(db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(order_is_the_parents, support_reset),
      cmocka_unit_test_setup(a_failed_copy_is_the_checkpoints_error, support_reset),
      cmocka_unit_test_setup(interrupted, support_reset),
      cmocka_unit_test_setup(without_ckpt_start, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 6: checkpoint hooks in order, nothing copied after CKPT_DONE, every failed copy reported");
  return rc;
}
