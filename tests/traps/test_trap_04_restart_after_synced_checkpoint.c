/*
** Trap 4: the WAL is restarted only when everything in it was copied, and the checkpoint that did so synced the WAL
** before copying and the database after it (unless synchronous=OFF). The VFS may not let a restart overtake those
** syncs, nor the copied pages.
*/
#include "support_db.h"

#include <stdio.h>
#include <string.h>

static void run(const char *way, const char *synchronous, bool synced) {
  support_reset(NULL);
  sqlite3 *db = db_open("t.db", way);
  db_exec(db, "PRAGMA journal_mode=wal");
  db_execf(db, "PRAGMA synchronous=%s", synchronous);
  db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
  db_exec(db, "WITH RECURSIVE n(i) AS (VALUES(2) UNION ALL SELECT i+1 FROM n WHERE i<50) INSERT INTO t SELECT i, "
              "randomblob(3000) FROM n");
  recorder_clear_log();
  db_exec(db, "PRAGMA wal_checkpoint(FULL)");
  db_exec(db, "UPDATE t SET pad=randomblob(3000)");
  size_t restart = 0;
  while (restart < recorder_count()) {
    const rec_call *c = recorder_at(restart);
    if (c->kind == REC_WRITE && c->role == REC_WAL && c->offset == 0) break;
    restart++;
  }
  assert_true(restart < recorder_count());
  size_t first_copy = recorder_find(REC_WRITE, REC_DB, 0), last_copy = 0;
  for (size_t i = 0; i < restart; i++)
    if (recorder_at(i)->kind == REC_WRITE && recorder_at(i)->role == REC_DB) last_copy = i;
  assert_true(first_copy < restart);
  assert_int_equal(recorder_tally(REC_WRITE, REC_DB, restart), 0); /* no late page */
  /* every page arrived: the database and a WAL that starts anew hold the rows */
  assert_int_equal(recorder_bytes(REC_WRITE, REC_DB, 0) % 4096, 0);
  if (synced) {
    assert_true(recorder_find(REC_SYNC, REC_WAL, 0) < first_copy);
    size_t sync_db = recorder_find(REC_SYNC, REC_DB, last_copy);
    assert_true(sync_db < restart);
  }
  assert_int_equal(killed_now("t.db", "SELECT sum(length(pad)) FROM t"), 49 * 3000);
  db_close(db);
}

static void restart_follows_the_syncs(void **state) {
  (void)state;
  static const char *const ways[] = {PLAIN, URING_SYNC};
  for (size_t w = 0; w < 2; w++) {
    run(ways[w], "NORMAL", true);
    run(ways[w], "FULL", true);
    run(ways[w], "OFF", false);
  }
}

/* The same with what a kill would leave, at each write from the checkpoint on. */
static int steps;

static void look(const rec_call *call, void *arg) {
  (void)arg;
  if ((call->kind == REC_WRITE || call->kind == REC_TRUNCATE) && steps++ % 7 == 0)
    assert_int_equal(killed_now("t.db", "SELECT sum(length(pad)) FROM t"), 49 * 3000);
}

static void killed_at_any_write(void **state) {
  static const char *const ways[] = {PLAIN, URING_SYNC};
  static const char *const levels[] = {"OFF", "NORMAL", "FULL"};
  static const char *const kinds[] = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
  (void)state;
  for (size_t w = 0; w < 2; w++) {
    for (int l = 0; l < 3; l++) {
      support_reset(NULL);
      sqlite3 *db = db_open("t.db", ways[w]);
      db_execf(db, "PRAGMA journal_mode=wal; PRAGMA synchronous=%s", levels[l]);
      db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
      db_exec(db, "WITH RECURSIVE n(i) AS (VALUES(2) UNION ALL SELECT i+1 FROM n WHERE i<50) INSERT INTO t SELECT i, "
                  "randomblob(3000) FROM n");
      steps = 0;
      recorder_hook(look, NULL);
      for (int k = 0; k < 4; k++) {
        db_execf(db, "PRAGMA wal_checkpoint(%s)", kinds[k]);
        db_exec(db, "UPDATE t SET pad=randomblob(3000)");
      }
      recorder_hook(NULL, NULL);
      assert_true(steps > 8);
      db_close(db);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(restart_follows_the_syncs, support_reset),
      cmocka_unit_test_setup(killed_at_any_write, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 4: a WAL restart follows the checkpoint's pages and syncs");
  return rc;
}
