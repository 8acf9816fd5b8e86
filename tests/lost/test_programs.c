/*
** test_programs.c - what a program does with the WAL of its own connection, in the middle of a transaction that has
** spilled, takes nothing away from that transaction.
**
** It may open the file a second time by the name that SQLite gives it, read it through SQLITE_FCNTL_JOURNAL_POINTER, or
** send controls that are the pager's. On the default VFS the frames are in the file by then, and none of this matters.
** Here some are pending: whoever looks sees them, and where they cannot be written for it (RLIMIT_FSIZE stands for a
** full disk) only the program is told, and they are written with the COMMIT.
*/
#include "cases.h"

#include <sys/resource.h>

static void open_again(sqlite3 *db, int flags) {
  sqlite3_vfs *vfs = NULL;
  int out;
  assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_VFS_POINTER, &vfs), SQLITE_OK);
  sqlite3_file *wal = calloc(1, (size_t)vfs->szOsFile);
  assert_non_null(wal);
  const char *name = sqlite3_filename_wal(sqlite3_db_filename(db, "main"));
  assert_int_equal(vfs->xOpen(vfs, name, wal, SQLITE_OPEN_WAL | flags, &out), SQLITE_OK);
  assert_int_equal(wal->pMethods->xClose(wal), SQLITE_OK);
  free(wal);
}

static void opened_for_reading(sqlite3 *db) { open_again(db, SQLITE_OPEN_READONLY); }
static void opened_for_writing(sqlite3 *db) { open_again(db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE); }

static sqlite3_file *wal_of(sqlite3 *db) {
  sqlite3_file *wal = NULL;
  assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal), SQLITE_OK);
  return wal;
}

/* In pieces that lie across the end of what is in the file. */
static void read_through(sqlite3 *db) {
  static char piece[65536];
  sqlite3_file *wal = wal_of(db);
  for (sqlite3_int64 at = 0; at < 300000; at += (sqlite3_int64)sizeof piece)
    (void)wal->pMethods->xRead(wal, piece, (int)sizeof piece, at);
}

static void told_of_a_commit(sqlite3 *db) {
  (void)sqlite3_file_control(db, "main", SQLITE_FCNTL_COMMIT_PHASETWO, NULL);
}

static void hinted_at_its_size(sqlite3 *db) {
  sqlite3_file *wal = wal_of(db);
  sqlite3_int64 size = 100;
  (void)wal->pMethods->xFileControl(wal, SQLITE_FCNTL_SIZE_HINT, &size);
}

static const struct {
  const char *what;
  void (*act)(sqlite3 *db);
} acts[] = {
    {"opened for reading", opened_for_reading},
    {"opened for writing", opened_for_writing},
    {"read through", read_through},
    {"told of a commit", told_of_a_commit},
    {"hinted at its size", hinted_at_its_size},
};

static void limit_files(rlim_t bytes) {
  struct rlimit limit;
  assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
  limit.rlim_cur = bytes;
  assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void check(const char *path, const char *vfs, const char *what) {
  row_value rows, integrity;
  sqlite3 *db = db_open(path, vfs);
  assert_int_equal(sql_rc(db, "SELECT count(*), sum(length(b)) FROM t", &rows), SQLITE_OK);
  assert_int_equal(sql_rc(db, "PRAGMA integrity_check", &integrity), SQLITE_OK);
  db_close(db);
  if (rows.number != 501 || strcmp(integrity.text, "ok") != 0)
    fail_msg("the WAL was %s: %lld rows, %s", what, (long long)rows.number, integrity.text);
}

static void one(const char *params, size_t act, bool full) {
  char uri[PATH_MAX + 128];
  const char *path = at("programs.db");
  sqlite3 *db;
  database_remove(path);
  snprintf(uri, sizeof uri, "file:%s?%s", path, params);
  assert_int_equal(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL),
                   SQLITE_OK);
  sql(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b);"
          "INSERT INTO t VALUES(0, zeroblob(30000)); PRAGMA cache_size=10");
  sql(db, "BEGIN; WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<500)"
          "INSERT INTO t SELECT i, zeroblob(500) FROM c");
  if (full) limit_files(60000);
  acts[act].act(db);
  limit_files(RLIM_INFINITY);
  sql(db, "COMMIT");
  check(path, default_vfs, acts[act].what); /* the connection is still there, and the WAL */
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  check(path, default_vfs, acts[act].what);
}

static void each_way(bool full) {
  static const char *const ways[] = {"vfs=uring&uring_backend=sync", "vfs=uring", "vfs=uring&uring_backend=uring"};
  char own[64];
  snprintf(own, sizeof own, "vfs=%s", default_vfs);
  for (size_t a = 0; a < COUNT(acts); a++) {
    one(own, a, full);
    for (size_t w = 0; w < COUNT(ways) && vfs_is_uring; w++)
      if (w < 2 || ring_works) one(ways[w], a, full);
  }
}

static void with_room(void **state) {
  (void)state;
  each_way(false);
}

static void without_room(void **state) {
  (void)state;
  signal(SIGXFSZ, SIG_IGN);
  each_way(true);
}

int main(void) {
  support_start();
  const struct CMUnitTest tests[] = {cmocka_unit_test(with_room), cmocka_unit_test(without_room)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
