/*
** test_wal_reset.c - SQLite's WAL-reset bug, step by step, on the default VFS and on uring: they must behave alike.
**
** SQLite 3.7.0 to 3.51.2 can lose acknowledged commits when a checkpoint starts while a writer restarts the WAL
** (https://www.sqlite.org/wal.html#walresetbug). sqlite3WalCheckpoint reads the wal-index header with N frames in it;
** the writer, since all N are backfilled, begins the WAL anew; walCheckpoint compares the reset nBackfill with the old
** header and at the end sets it to N. Later commits, up to frame N, then count as backfilled: the last connection
** deletes the WAL with them.
**
** The one moment between the two is SQLite's call of xUnfetch (wal.c, sqlite3WalCheckpoint), and here the writer
** commits in it. A VFS can do nothing about this: what it is asked is exactly what it would be asked if the new frames
** were in the database.
*/
#include "../process/support.h"

enum { FIRST_VERSION_WITHOUT_IT = 3051003, LATER_COMMITS = 5 };

/* ---- a VFS that has something done between reading the header and the checkpoint ---- */

static sqlite3_vfs hook_vfs, *below;
static sqlite3_io_methods hook_methods;
static int (*below_unfetch)(sqlite3_file *, sqlite3_int64, void *);
static sqlite3 *writer; /* commits in the next xUnfetch(NULL) */

static int hook_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page) {
  sqlite3 *db = writer;
  if (page == NULL && db != NULL) {
    writer = NULL;
    sql(db, "INSERT INTO t VALUES('restarts the WAL')");
  }
  return below_unfetch(file, offset, page);
}

static int hook_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags) {
  (void)vfs;
  int rc = below->xOpen(below, name, file, flags, out_flags);
  if (rc != SQLITE_OK || !(flags & SQLITE_OPEN_MAIN_DB)) return rc;
  hook_methods = *file->pMethods;
  below_unfetch = hook_methods.xUnfetch;
  hook_methods.xUnfetch = hook_unfetch;
  file->pMethods = &hook_methods;
  return rc;
}

static sqlite3 *open_hooked(const char *path, const char *vfs) {
  below = sqlite3_vfs_find(vfs);
  assert_non_null(below);
  hook_vfs = *below;
  hook_vfs.zName = "hook";
  hook_vfs.xOpen = hook_open;
  assert_int_equal(sqlite3_vfs_register(&hook_vfs, 0), SQLITE_OK);
  return db_open(path, "hook");
}

/* ---- the race, without chance ---- */

/* How many acknowledged rows are gone. */
static long long rows_lost(const char *vfs) {
  char name[64];
  snprintf(name, sizeof name, "reset-%s.db", vfs);
  const char *path = at(name);
  sqlite3 *w = db_open(path, vfs);
  sql(w, "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x)");
  sqlite3 *checkpointer = open_hooked(path, vfs);
  sql(checkpointer, "SELECT count(*) FROM t"); /* so that it finds the header changed later, and calls xUnfetch */
  sql(w, "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<40) INSERT INTO t SELECT randomblob(2000) FROM c");
  sql(w, "PRAGMA wal_checkpoint(PASSIVE)");

  writer = w;
  sql(checkpointer, "PRAGMA wal_checkpoint(PASSIVE)");
  assert_null(writer);
  for (int i = 0; i < LATER_COMMITS; i++) sql(w, "INSERT INTO t VALUES('acknowledged')");
  db_close(checkpointer);
  db_close(w);

  sqlite3 *db = db_open(path, default_vfs);
  const long long rows = sql(db, "SELECT count(*) FROM t");
  row_value integrity;
  assert_int_equal(sql_rc(db, "PRAGMA integrity_check", &integrity), SQLITE_OK);
  assert_string_equal(integrity.text, "ok");
  db_close(db);
  sqlite3_vfs_unregister(&hook_vfs);
  return 40 + 1 + LATER_COMMITS - rows;
}

static void test_both_vfs_alike(void **state) {
  (void)state;
  const long long lost = rows_lost(default_vfs), lost_on_uring = rows_lost(uring_vfs());
  print_message("SQLite %s: of %d commits after the restart %lld lost\n", sqlite3_libversion(), LATER_COMMITS, lost);
  assert_int_equal(lost_on_uring, lost);
  if (sqlite3_libversion_number() >= FIRST_VERSION_WITHOUT_IT) assert_int_equal(lost, 0);
}

int main(void) {
  support_start();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_both_vfs_alike)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
