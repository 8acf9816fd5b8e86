/*
** Trap 3: the WAL header is written and synced before any frame of that call (W:3674-3690). It may be neither deferred
** nor merged with the frames behind it, when the WAL is made and each time it is restarted.
*/
#include "support_db.h"

#include <stdio.h>
#include <string.h>

/* Walks the log: each header (offset 0, 32 bytes, by itself) is followed by a sync before the next WAL write. Returns
** how many. */
static int check_headers(bool synced) {
  int headers = 0;
  for (size_t i = 0; i < recorder_count(); i++) {
    const rec_call *c = recorder_at(i);
    if (c->kind != REC_WRITE || c->role != REC_WAL || c->offset != 0) continue;
    headers++;
    assert_int_equal(c->bytes, 32);
    size_t next = recorder_find(REC_WRITE, REC_WAL, i + 1);
    if (synced) assert_true(recorder_find(REC_SYNC, REC_WAL, i + 1) < next);
    assert_true(next < recorder_count());
  }
  return headers;
}

static void header_is_synced_first(void **state) {
  static const char *const levels[] = {"NORMAL", "FULL", "EXTRA", "OFF"};
  static const char *const ways[] = {PLAIN, URING_SYNC};
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    for (size_t l = 0; l < 4; l++) {
      support_reset(NULL);
      sqlite3 *db = db_open("t.db", ways[w]);
      db_execf(db, "PRAGMA journal_mode=wal; PRAGMA synchronous=%s", levels[l]);
      db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
      for (int i = 0; i < 3; i++) {
        db_exec(db, "INSERT INTO t(pad) VALUES(randomblob(20000)); INSERT INTO t(pad) VALUES(randomblob(20000))");
        db_exec(db, "PRAGMA wal_checkpoint(RESTART)");
      }
      db_exec(db, "INSERT INTO t(pad) VALUES(randomblob(20000))");
      assert_int_equal(check_headers(l < 3), 4);
      assert_int_equal(killed_now("t.db", "SELECT count(*) FROM t"), 7);
      db_close(db);
    }
  }
}

/* Killed between the header and its frames: the old content, and no error. The header that was not delivered yet would
** leave the old header with the old salts and new frames behind it. */
struct cut {
  int headers;
  int looked;
};

static void at_first_frame(const rec_call *call, void *arg) {
  struct cut *cut = arg;
  if (call->role != REC_WAL) return;
  if (call->kind == REC_WRITE && call->offset == 0 && call->bytes == 32) cut->headers++;
  if (call->kind == REC_WRITE && call->offset == 32 && cut->headers) {
    cut->looked++;
    assert_int_equal(killed_now("t.db", "SELECT count(*) FROM t"), 2);
  }
}

static void killed_behind_the_header(void **state) {
  static const char *const ways[] = {PLAIN, URING_SYNC};
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", ways[w]);
    db_exec(db, "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
    db_exec(db, "INSERT INTO t(pad) VALUES(randomblob(20000)); INSERT INTO t(pad) VALUES(randomblob(20000))");
    db_exec(db, "PRAGMA wal_checkpoint(RESTART)");
    struct cut cut = {0, 0};
    recorder_hook(at_first_frame, &cut);
    db_exec(db, "INSERT INTO t(pad) VALUES(randomblob(20000))");
    recorder_hook(NULL, NULL);
    assert_int_equal(cut.headers, 1);
    assert_int_equal(cut.looked, 1);
    assert_int_equal(killed_now("t.db", "SELECT count(*) FROM t"), 3);
    db_close(db);
  }
}

/* A header write that fails is the error of the statement that caused it, and no frame follows it. */
static void failing_header(void **state) {
  static const char *const ways[] = {PLAIN, URING_SYNC};
  static const rec_kind kinds[] = {REC_WRITE, REC_SYNC};
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    for (int k = 0; k < 2; k++) {
      support_reset(NULL);
      sqlite3 *db = db_open("t.db", ways[w]);
      db_exec(
          db,
          "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB); PRAGMA wal_checkpoint(RESTART)");
      recorder_clear_log();
      recorder_fail(kinds[k], REC_WAL, 1, 1, k ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_WRITE);
      assert_int_equal(db_try(db, "INSERT INTO t(pad) VALUES(randomblob(20000))"),
                       k ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_WRITE);
      assert_int_equal(recorder_failed(), 1);
      recorder_fail_off();
      assert_int_equal(recorder_tally(REC_WRITE, REC_WAL, 0), 1); /* the header's, and nothing since */
      assert_int_equal(killed_now("t.db", "SELECT count(*) FROM t"), 0);
      db_exec(db, "INSERT INTO t(pad) VALUES(randomblob(20000))");
      assert_int_equal(killed_now("t.db", "SELECT count(*) FROM t"), 1);
      db_close(db);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(header_is_synced_first, support_reset),
      cmocka_unit_test_setup(killed_behind_the_header, support_reset),
      cmocka_unit_test_setup(failing_header, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 3: the WAL header is written by itself and synced before any frame");
  return rc;
}
