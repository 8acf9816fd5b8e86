/*
** Traps 28 and 29. 28: unix VFS syncs the directory at the first xSync of a newly made journal or WAL; an fsync through
** the ring does not: a file's first xSync goes through the parent. 29: after that first one a file keeps one sync path,
** so that a write-back error is neither consumed where nobody listens nor reported twice (errors are reported once per
** open file description).
*/
#include "support_db.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const char *const all_ways[] = {PLAIN, URING_SYNC, URING_AUTO, URING_RING};

static bool skip_way(const char *way) { return strstr(way, "backend=uring") && !ring_available(); }

/* unix VFS opens the directory through its system call table, to sync it. */
static int directory_syncs;
static int (*real_open_directory)(const char *, int *);

static int counting_open_directory(const char *path, int *fd) {
  directory_syncs++;
  return real_open_directory(path, fd);
}

static int count_directory_syncs(const char *way, const char *mode, const char *level) {
  sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
  support_reset(NULL);
  real_open_directory = (int (*)(const char *, int *))vfs->xGetSystemCall(vfs, "openDirectory");
  assert_non_null(real_open_directory);
  directory_syncs = 0;
  vfs->xSetSystemCall(vfs, "openDirectory", (sqlite3_syscall_ptr)counting_open_directory);
  sqlite3 *db = db_open("t.db", way);
  db_execf(db, "PRAGMA journal_mode=%s; PRAGMA synchronous=%s", mode, level);
  db_exec(db, "CREATE TABLE t(x)");
  for (int i = 0; i < 4; i++) db_exec(db, "INSERT INTO t VALUES(randomblob(50000))");
  db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES(1)");
  db_close(db);
  vfs->xSetSystemCall(vfs, "openDirectory", NULL);
  return directory_syncs;
}

static void as_often_as_the_default_vfs(void **state) {
  static const char *const modes[] = {"wal", "delete", "truncate", "persist"};
  static const char *const levels[] = {"OFF", "NORMAL", "FULL", "EXTRA"};
  (void)state;
  for (int m = 0; m < 4; m++)
    for (int l = 0; l < 4; l++) {
      int plain = count_directory_syncs(PLAIN, modes[m], levels[l]);
      if (l > 0) assert_true(plain >= 1);
      for (int w = 1; w < 4; w++)
        if (!skip_way(all_ways[w])) assert_int_equal(count_directory_syncs(all_ways[w], modes[m], levels[l]), plain);
    }
}

/* The first transaction of a new WAL is durable, its name too, before COMMIT returns. */
static void first_sync_is_the_parents(void **state) {
  (void)state;
  for (int w = 0; w < 4; w++) {
    if (skip_way(all_ways[w])) continue;
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", all_ways[w]);
    db_exec(db, "PRAGMA journal_mode=wal; PRAGMA synchronous=FULL");
    recorder_clear_log();
    db_exec(db, "CREATE TABLE t(x)");
    assert_true(recorder_tally(REC_SYNC, REC_WAL, 0) >= 1);
    /* a large one in a WAL that another connection made: the first sync of this connection's file */
    sqlite3 *other = db_open("t.db", all_ways[w]);
    db_exec(other, "PRAGMA synchronous=FULL");
    recorder_clear_log();
    db_exec(other, "INSERT INTO t VALUES(zeroblob(200000))");
    assert_true(recorder_tally(REC_SYNC, REC_WAL, 0) >= 1);
    db_close(other);
    db_close(db);
  }
}

/*
** Small and large commits in turn, checkpoints between. Asked for one backend, every later sync of a file takes the
** same way. `auto` may take both: there the VFS itself sees to it that an error which one descriptor has reported is
** not reported by another (tests/faults/test_faults_io, write_back_errors_once, with real write-back errors).
*/
static void one_path_afterwards(void **state) {
  (void)state;
  for (int w = 1; w < 4; w++) {
    if (skip_way(all_ways[w])) continue;
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", all_ways[w]);
    db_exec(db, "PRAGMA journal_mode=wal; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x)");
    db_exec(db, "INSERT INTO t VALUES(1); INSERT INTO t VALUES(zeroblob(200000))");
    int commits = 0;
    recorder_clear_log();
    for (int i = 0; i < 6; i++, commits += 3) {
      db_exec(db, "INSERT INTO t VALUES(1)");
      db_exec(db, "INSERT INTO t VALUES(zeroblob(60000))");
      db_exec(db, "INSERT INTO t VALUES(zeroblob(2500000))");
    }
    int by_parent = (int)recorder_tally(REC_SYNC, REC_WAL, 0);
    if (w == 1) assert_int_equal(by_parent, commits);
    if (w == 3) assert_int_equal(by_parent, 0);
    /* the database file: checkpoints */
    recorder_clear_log();
    int checkpoints = 0;
    for (; checkpoints < 4; checkpoints++) {
      db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE)");
      db_exec(db, checkpoints % 2 ? "UPDATE t SET x=zeroblob(30000) WHERE rowid%2" : "INSERT INTO t VALUES(1)");
    }
    by_parent = (int)recorder_tally(REC_SYNC, REC_DB, 0);
    if (w == 1) assert_int_equal(by_parent, checkpoints);
    if (w == 3) assert_int_equal(by_parent, 0); /* its first was that of the change to WAL mode */
    db_close(db);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(as_often_as_the_default_vfs, support_reset),
      cmocka_unit_test_setup(first_sync_is_the_parents, support_reset),
      cmocka_unit_test_setup(one_path_afterwards, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("traps 28, 29: directories are synced as by the default VFS, and a file keeps one sync path");
  return rc;
}
