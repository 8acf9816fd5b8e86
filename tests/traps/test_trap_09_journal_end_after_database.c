/*
** Trap 9: what ends a rollback journal (zeroing, truncation, deletion) comes after the database's pages, also after
** FCNTL_SYNC, and must not be held back: once SQLite believes the transaction committed, a killed process must leave it
** committed, at every level of synchronous. And the other half: the journal is in the kernel before any page that it
** protects.
*/
#include "support_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const ways[] = {PLAIN, URING_SYNC};
static const char *const all_ways[] = {PLAIN, URING_SYNC, URING_AUTO, URING_RING};
static const char *const modes[] = {"DELETE", "TRUNCATE", "PERSIST"};
static const char *const levels[] = {"OFF", "NORMAL", "FULL", "EXTRA"};
static const char *const lockings[] = {"NORMAL", "EXCLUSIVE"};

#define SUM "SELECT sum(v) FROM t"

static sqlite3 *filled(const char *way, const char *mode, const char *level, const char *locking) {
  support_reset(NULL);
  sqlite3 *db = db_open("t.db", way);
  db_execf(db, "PRAGMA page_size=1024; PRAGMA locking_mode=%s; PRAGMA journal_mode=%s; PRAGMA synchronous=%s", locking,
           mode, level);
  db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v INT, pad BLOB)");
  db_exec(db, "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<30) INSERT INTO t SELECT i, 1, "
              "randomblob(700) FROM n");
  return db;
}

/* At every change of any of the files: killed now gives the old content until the journal has ended, then the new. */
struct watch {
  int looks, ended, step;
  bool ends_now;
};

static bool ends_journal(const rec_call *c) {
  if (c->role != REC_JOURNAL) return false;
  if (c->kind == REC_DELETE) return true;
  if (c->kind == REC_TRUNCATE) return c->offset == 0;
  return c->kind == REC_WRITE && c->offset == 0 && c->bytes == 28;
}

static void watch_change(const rec_call *c, void *arg) {
  struct watch *w = arg;
  if (c->kind != REC_WRITE && c->kind != REC_TRUNCATE && c->kind != REC_DELETE && c->kind != REC_SYNC &&
      c->kind != REC_UNLOCK)
    return;
  if (w->ends_now) {
    w->ends_now = false;
    w->ended++;
  }
  if (w->step++ % 5 == 0 || w->ended || ends_journal(c)) {
    w->looks++;
    assert_int_equal(killed_now("t.db", SUM), w->ended ? 60 : 30);
  }
  if (ends_journal(c) && recorder_tally(REC_WRITE, REC_DB, 0) > 0) w->ends_now = true;
}

static void killed_at_any_change(void **state) {
  (void)state;
  for (size_t w = 0; w < 2; w++)
    for (int m = 0; m < 3; m++)
      for (int l = 0; l < 4; l++)
        for (int k = 0; k < 2; k++) {
          sqlite3 *db = filled(ways[w], modes[m], levels[l], lockings[k]);
          struct watch watch = {0};
          recorder_clear_log();
          recorder_hook(watch_change, &watch);
          db_exec(db, "UPDATE t SET v=2, pad=randomblob(700)");
          recorder_hook(NULL, NULL);
          assert_true(watch.looks > 5);
          assert_int_equal(watch.ended + watch.ends_now, 1);
          assert_int_equal(killed_now("t.db", SUM), 60);
          if (k == 0) assert_int_equal(recorder_check_locks(), -1);
          db_close(db);
        }
}

/* The same with spilling: pages reach the database in the middle of the transaction, the journal grows by several
** headers. */
static void watch_spill(const rec_call *c, void *arg) {
  int *looks = arg;
  if (c->kind == REC_WRITE && c->role == REC_DB && (*looks)++ % 11 == 0) assert_int_equal(killed_now("t.db", SUM), 30);
}

static void killed_while_spilling(void **state) {
  (void)state;
  for (size_t w = 0; w < 2; w++)
    for (int m = 0; m < 3; m++)
      for (int l = 0; l < 3; l++) {
        sqlite3 *db = filled(ways[w], modes[m], levels[l], "NORMAL");
        int looks = 0;
        db_exec(db, "PRAGMA cache_size=5; PRAGMA cache_spill=5");
        recorder_hook(watch_spill, &looks);
        db_exec(db,
                "BEGIN; UPDATE t SET v=2, pad=randomblob(700); INSERT INTO t SELECT id+100, 7, randomblob(2700) FROM t;"
                "SAVEPOINT s; UPDATE t SET v=9; DELETE FROM t WHERE id>100; ROLLBACK TO s; UPDATE t SET v=1, "
                "pad=randomblob(700);");
        assert_int_equal(killed_now("t.db", SUM), 30);
        db_exec(db, "COMMIT");
        recorder_hook(NULL, NULL);
        assert_true(looks > 10);
        assert_int_equal(killed_now("t.db", SUM), 60);
        assert_int_equal(recorder_check_locks(), -1);
        db_close(db);
      }
}

/* Every way of the uring VFS, ring included: acknowledged means that a kill does not lose it. */
static void acknowledged_survives_a_kill(void **state) {
  (void)state;
  for (size_t w = 0; w < 4; w++) {
    if (strstr(all_ways[w], "backend=uring") && !ring_available()) continue;
    for (int m = 0; m < 3; m++)
      for (int l = 0; l < 4; l++)
        for (int k = 0; k < 2; k++) {
          sqlite3 *db = filled(all_ways[w], modes[m], levels[l], lockings[k]);
          for (int i = 2; i < 5; i++) {
            db_execf(db, "UPDATE t SET v=%d, pad=randomblob(700)", i);
            assert_int_equal(killed_now("t.db", SUM), i * 30);
          }
          db_exec(db, "BEGIN; UPDATE t SET v=99; ROLLBACK");
          assert_int_equal(killed_now("t.db", SUM), 120);
          db_close(db);
        }
  }
}

/* With another statement open PERSIST and EXCLUSIVE end the journal while the lock only goes down to SHARED. */
static void with_a_statement_open(void **state) {
  (void)state;
  for (size_t w = 0; w < 4; w++) {
    if (strstr(all_ways[w], "backend=uring") && !ring_available()) continue;
    for (int m = 0; m < 3; m++)
      for (int k = 0; k < 2; k++) {
        sqlite3 *db = filled(all_ways[w], modes[m], "OFF", lockings[k]);
        sqlite3_stmt *open_statement;
        assert_int_equal(sqlite3_prepare_v2(db, "SELECT id FROM t", -1, &open_statement, NULL), SQLITE_OK);
        assert_int_equal(sqlite3_step(open_statement), SQLITE_ROW);
        db_exec(db, "UPDATE t SET v=2");
        assert_int_equal(killed_now("t.db", SUM), 60);
        sqlite3_finalize(open_statement);
        db_close(db);
      }
  }
}

/* Attached databases with a super-journal: its deletion is the commit of both. */
static void super_journal(void **state) {
  (void)state;
  for (size_t w = 0; w < 4; w++) {
    if (strstr(all_ways[w], "backend=uring") && !ring_available()) continue;
    sqlite3 *db = filled(all_ways[w], "DELETE", "FULL", "NORMAL");
    db_execf(db, "ATTACH 'file:%s?%s' AS other", support_path("u.db"), all_ways[w]);
    db_exec(db, "CREATE TABLE other.t(id INTEGER PRIMARY KEY, v INT, pad BLOB)");
    db_exec(db, "INSERT INTO other.t SELECT * FROM main.t");
    recorder_clear_log();
    db_exec(db,
            "BEGIN; UPDATE main.t SET v=2, pad=randomblob(700); UPDATE other.t SET v=2, pad=randomblob(700); COMMIT");
    size_t super = recorder_find(REC_DELETE, REC_SUPER, 0);
    assert_true(super < recorder_count());
    if (w < 2) {
      assert_int_equal(recorder_tally(REC_WRITE, REC_DB, super), 0);
      assert_true(recorder_find(REC_SYNC, REC_SUPER, 0) < super);
    }
    assert_int_equal(db_int(db, "SELECT sum(v) FROM main.t"), 60);
    assert_int_equal(db_int(db, "SELECT sum(v) FROM other.t"), 60);
    assert_int_equal(killed_now("t.db", SUM), 60);
    assert_int_equal(killed_now("u.db", SUM), 60);
    db_close(db);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(killed_at_any_change, support_reset),
      cmocka_unit_test_setup(killed_while_spilling, support_reset),
      cmocka_unit_test_setup(acknowledged_survives_a_kill, support_reset),
      cmocka_unit_test_setup(with_a_statement_open, support_reset),
      cmocka_unit_test_setup(super_journal, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 9: journal before pages, pages before the journal's end, and nothing held back");
  return rc;
}
