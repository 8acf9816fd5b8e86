/*
** Trap 1: the commit frame is not the last write of a commit. Spilled pages that are dirtied again make
** walRewriteChecksums rewrite frame headers behind it, without powersafe-overwrite padding frames follow it, and at
** synchronous=NORMAL no xSync comes that could return an error or flush. So whatever was written must be in the file
** before the wal-index is published.
*/
#include "support_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const ways[] = {PLAIN, URING_SYNC, URING_AUTO, URING_RING};

static bool skip_way(const char *way) { return strstr(way, "backend=uring") && !ring_available(); }

/* At the xShmBarrier inside walIndexWriteHdr the WAL must hold the transaction already. */
struct publish {
  const char *name;
  const char *sql;
  int seen;
  sqlite3_int64 value;
};

static void at_publish(const rec_call *call, void *arg) {
  struct publish *p = arg;
  if (call->kind != REC_SHM_BARRIER || p->seen || strcmp(call->name, p->name) != 0) return;
  p->seen = 1;
  p->value = killed_now(p->name, p->sql);
}

static sqlite3 *spilling(const char *way, const char *synchronous) {
  sqlite3 *db = db_open("t.db", way);
  db_exec(db, "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=10; PRAGMA cache_spill=10;");
  db_execf(db, "PRAGMA synchronous=%s", synchronous);
  db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB); INSERT INTO t VALUES(1, 1, zeroblob(3000));");
  return db;
}

/* Spills, dirties the spilled pages again, and so leaves headers to rewrite at COMMIT. */
static void begin_and_spill(sqlite3 *db) {
  db_exec(db, "BEGIN");
  db_exec(db, "WITH RECURSIVE n(i) AS (VALUES(2) UNION ALL SELECT i+1 FROM n WHERE i<120)"
              " INSERT INTO t SELECT i, 1, randomblob(3000) FROM n");
  db_exec(db, "UPDATE t SET v=v+1, pad=randomblob(3000)");
}

static void published_only_when_written(void **state) {
  static const char *const levels[] = {"OFF", "NORMAL", "FULL"};
  (void)state;
  for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
    for (size_t l = 0; l < 3; l++) {
      support_reset(NULL);
      if (skip_way(ways[w])) continue;
      sqlite3 *db = spilling(ways[w], levels[l]);
      begin_and_spill(db);
      struct publish p = {.name = "t.db", .sql = "SELECT sum(v) FROM t"};
      assert_int_equal(killed_now("t.db", p.sql), 1);
      recorder_clear_log();
      sqlite3_int64 syncs = w > 0 ? db_stat(db, "syncs") : 0;
      recorder_hook(at_publish, &p);
      db_exec(db, "COMMIT");
      recorder_hook(NULL, NULL);
      assert_true(p.seen);
      assert_int_equal(p.value, 240);
      /* On the ring a sync goes along with the commit frame; it does not cover the headers rewritten after it. */
      if (w == 3 && l == 2) assert_int_equal(db_stat(db, "syncs") - syncs, 2);
      if (w < 2) {
        /* It is the trap: writes of a bare header follow the commit frame. */
        size_t rewrites = 0;
        for (size_t i = 0; i < recorder_count(); i++) {
          const rec_call *c = recorder_at(i);
          rewrites += c->kind == REC_WRITE && c->role == REC_WAL && c->bytes == 24;
        }
        assert_true(rewrites > 10);
        /* A sync that was sent along with the commit frame does not cover them: another one follows the last write. */
        size_t last = 0;
        for (size_t i = 0; i < recorder_count(); i++)
          if (recorder_at(i)->kind == REC_WRITE && recorder_at(i)->role == REC_WAL) last = i;
        assert_int_equal(recorder_tally(REC_SYNC, REC_WAL, last) > 0, l == 2);
      }
      assert_int_equal(killed_now("t.db", p.sql), 240);
      db_close(db);
    }
  }
}

/* Whichever write of the transaction fails: COMMIT says so and nothing of it is there, or it succeeds and all is
** there. */
static void any_failing_write_is_reported(void **state) {
  static const char *const levels[] = {"OFF", "NORMAL", "FULL"};
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    for (size_t l = 0; l < 3; l++) {
      int failures = 0;
      for (int n = 1;; n += n < 20 ? 1 : 37) {
        support_reset(NULL);
        sqlite3 *db = spilling(ways[w], levels[l]);
        db_exec(db, "BEGIN");
        recorder_fail(REC_WRITE, REC_WAL, n, 1, SQLITE_FULL);
        int rc = db_try(db, "WITH RECURSIVE n(i) AS (VALUES(2) UNION ALL SELECT i+1 FROM n WHERE i<120)"
                            " INSERT INTO t SELECT i, 1, randomblob(3000) FROM n");
        if (rc == SQLITE_OK) rc = db_try(db, "UPDATE t SET v=v+1, pad=randomblob(3000)");
        if (rc == SQLITE_OK) rc = db_try(db, "COMMIT");
        bool injected = recorder_failed() > 0;
        recorder_fail_off();
        if (!sqlite3_get_autocommit(db)) db_try(db, "ROLLBACK");
        assert_int_equal(rc, injected ? SQLITE_FULL : SQLITE_OK);
        assert_int_equal(killed_now("t.db", "SELECT sum(v) FROM t"), injected ? 1 : 240);
        /* the failure ends with its transaction */
        db_exec(db, "UPDATE t SET v=v+1000 WHERE id=1");
        assert_int_equal(killed_now("t.db", "SELECT sum(v) FROM t"), injected ? 1001 : 1240);
        db_check(db);
        db_close(db);
        failures += injected;
        if (!injected) break;
      }
      assert_true(failures >= 5);
    }
  }
}

/* A savepoint that is rolled back lowers mxFrame: the next frames overwrite the earlier ones. */
static void savepoint_lowers_the_end(void **state) {
  (void)state;
  for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
    support_reset(NULL);
    if (skip_way(ways[w])) continue;
    sqlite3 *db = spilling(ways[w], "NORMAL");
    begin_and_spill(db);
    db_exec(db, "SAVEPOINT s");
    db_exec(db, "UPDATE t SET v=1000000, pad=randomblob(3000)");
    db_exec(db, "INSERT INTO t SELECT id+1000, 5, randomblob(3000) FROM t");
    db_exec(db, "ROLLBACK TO s");
    db_exec(db, "UPDATE t SET v=v+1, pad=randomblob(3000) WHERE id%3=0");
    struct publish p = {.name = "t.db", .sql = "SELECT sum(v) FROM t"};
    recorder_hook(at_publish, &p);
    db_exec(db, "COMMIT");
    recorder_hook(NULL, NULL);
    assert_true(p.seen);
    assert_int_equal(p.value, 280);
    assert_int_equal(db_int(db, p.sql), 280);
    db_check(db);
    db_close(db);
  }
}

/*
** Without powersafe-overwrite the last frame is repeated up to a sector boundary, its writes split at it. With SQLite's
** random numbers fixed the WAL of both VFSs must be the same, byte for byte.
*/
static char *wal_bytes(const char *way, int sector, size_t *size) {
  support_reset(NULL);
  recorder_set_device(~SQLITE_IOCAP_POWERSAFE_OVERWRITE, 0, sector);
  sqlite3_randomness(0, NULL);
  sqlite3 *db = db_open("t.db", way);
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 4711, 0);
  sqlite3_randomness(0, NULL);
  db_exec(db,
          "PRAGMA page_size=1024; PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=FULL;"
          "PRAGMA cache_size=10; PRAGMA cache_spill=10; CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB);"
          "BEGIN; INSERT INTO t VALUES(1, 1, zeroblob(3000)); COMMIT; UPDATE t SET v=2;"
          "BEGIN; WITH RECURSIVE n(i) AS (VALUES(2) UNION ALL SELECT i+1 FROM n WHERE i<50)"
          " INSERT INTO t SELECT i, 1, zeroblob(i*20) FROM n; UPDATE t SET v=v+1; COMMIT; DELETE FROM t WHERE id=7;");
  assert_int_equal(killed_now("t.db", "SELECT sum(v) FROM t"), 3 + 48 * 2);
  struct stat st;
  assert_int_equal(stat(support_path("t.db-wal"), &st), 0);
  char *bytes = malloc((size_t)st.st_size);
  FILE *f = fopen(support_path("t.db-wal"), "rb");
  assert_non_null(f);
  assert_int_equal(fread(bytes, 1, (size_t)st.st_size, f), st.st_size);
  fclose(f);
  *size = (size_t)st.st_size;
  recorder_set_device(-1, 0, 0);
  db_close(db);
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 0, 0);
  return bytes;
}

static void padding_frames(void **state) {
  (void)state;
  for (int sector = 512; sector <= 16384; sector *= 2) {
    size_t plain_size, size;
    char *plain = wal_bytes(PLAIN, sector, &plain_size);
    for (size_t w = 1; w < sizeof ways / sizeof *ways; w++) {
      if (skip_way(ways[w])) continue;
      char *bytes = wal_bytes(ways[w], sector, &size);
      assert_int_equal(size, plain_size);
      assert_memory_equal(bytes, plain, size);
      free(bytes);
    }
    free(plain);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(published_only_when_written, support_reset),
      cmocka_unit_test_setup(any_failing_write_is_reported, support_reset),
      cmocka_unit_test_setup(savepoint_lowers_the_end, support_reset),
      cmocka_unit_test_setup(padding_frames, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 1: commit frame, header rewrites and padding are in the WAL before it is published");
  return rc;
}
