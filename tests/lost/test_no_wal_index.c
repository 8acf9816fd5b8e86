/*
** test_no_wal_index.c - a reader that has no wal-index, and whose WAL is not known to belong to its database.
**
** With readonly_shm=1, and no writer there, SQLite is refused the wal-index and makes one of its own on the heap. A VFS
** above that hands on a copy of the WAL's name leaves the file below without its database. Neither says then that the
** database is in WAL mode, where SHARED is kept between transactions and so does not keep others from writing: what was
** read ahead of one transaction must not be handed to the next. Between the two another process changes each row and
** checkpoints.
*/
#include "cases.h"

enum { ROWS = 3000, READ = 200, DEAD_MAN_SWITCH = SHM_FIRST + 8 };

/* ---- the VFS above ---- */

static sqlite3_vfs above, *below;
static char wal_name[PATH_MAX + 256]; /* one WAL is open at a time */

static int above_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
  (void)vfs;
  if (name != NULL && (flags & SQLITE_OPEN_WAL)) {
    snprintf(wal_name, sizeof wal_name, "%s", name);
    name = wal_name;
  }
  return below->xOpen(below, name, file, flags, out);
}

static int above_delete(sqlite3_vfs *vfs, const char *name, int sync) {
  (void)vfs;
  return below->xDelete(below, name, sync);
}

static int above_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
  (void)vfs;
  return below->xAccess(below, name, flags, result);
}

static int above_path(sqlite3_vfs *vfs, const char *name, int size, char *full) {
  (void)vfs;
  return below->xFullPathname(below, name, size, full);
}

static int above_random(sqlite3_vfs *vfs, int size, char *bytes) {
  (void)vfs;
  return below->xRandomness(below, size, bytes);
}

static int above_sleep(sqlite3_vfs *vfs, int microseconds) {
  (void)vfs;
  return below->xSleep(below, microseconds);
}

static int above_time(sqlite3_vfs *vfs, double *now) {
  (void)vfs;
  return below->xCurrentTime(below, now);
}

static int above_error(sqlite3_vfs *vfs, int size, char *text) {
  (void)vfs;
  return below->xGetLastError(below, size, text);
}

static void stand_above(const char *vfs) {
  below = sqlite3_vfs_find(vfs);
  assert_non_null(below);
  above = (sqlite3_vfs){.iVersion = 1,
                        .szOsFile = below->szOsFile,
                        .mxPathname = below->mxPathname,
                        .zName = "above",
                        .xOpen = above_open,
                        .xDelete = above_delete,
                        .xAccess = above_access,
                        .xFullPathname = above_path,
                        .xRandomness = above_random,
                        .xSleep = above_sleep,
                        .xCurrentTime = above_time,
                        .xGetLastError = above_error};
  assert_int_equal(sqlite3_vfs_register(&above, 0), SQLITE_OK);
}

/* ---- the database ---- */

static void copy_file(const char *from, const char *to) {
  char block[65536];
  ssize_t n;
  const int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  assert_true(in >= 0 && out >= 0);
  while ((n = read(in, block, sizeof block)) > 0) assert_int_equal(write(out, block, (size_t)n), n);
  assert_int_equal(n, 0);
  close(in);
  close(out);
}

/* As a writer that was killed leaves it: with a WAL and a wal-index, and nobody there. */
static void make_database(const char *path) {
  static const char *const suffixes[] = {"", "-wal", "-shm"};
  const char *model = at("model.db");
  char text[512];
  database_remove(model);
  database_remove(path);
  assert_int_equal(helper_open(0, model, default_vfs), SQLITE_OK);
  snprintf(text, sizeof text,
           "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a INTEGER PRIMARY KEY, b INT, c);"
           "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, 1, zeroblob(800) "
           "FROM n",
           ROWS);
  helper_must(0, text);
  assert_int_equal(helper_must(0, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
  helper_must(0, "INSERT INTO t VALUES(100000, 1, 0)");
  for (size_t i = 0; i < COUNT(suffixes); i++)
    copy_file(with_suffix(model, suffixes[i]), with_suffix(path, suffixes[i]));
  assert_int_equal(helper_close(0), SQLITE_OK);
}

/* The reader's SHARED lock keeps this from deleting the WAL when it closes. */
static void change_all(const char *path) {
  assert_int_equal(helper_open(0, path, default_vfs), SQLITE_OK);
  helper_must(0, "PRAGMA wal_autocheckpoint=0; UPDATE t SET b = 2");
  assert_int_equal(helper_must(0, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
  helper_must(0, "UPDATE t SET b = 2 WHERE a = 100000");
  assert_int_equal(helper_close(0), SQLITE_OK);
}

/* ---- the reader ---- */

static void read_some(sqlite3 *db) {
  sqlite3_stmt *stmt = NULL;
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT b FROM t ORDER BY a", -1, &stmt, NULL), SQLITE_OK);
  for (int i = 0; i < READ; i++) {
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0), 1);
  }
  sqlite3_finalize(stmt);
}

/* With a ring, pages must have been read ahead, or there is nothing to hand out. */
static void read_twice(const char *vfs, const char *parameters, bool ring) {
  char uri[PATH_MAX + 128];
  const char *path = at("reader.db");
  sqlite3 *db = NULL;
  make_database(path);
  snprintf(uri, sizeof uri, "file:%s?readonly_shm=1&vfs=%s%s", path, vfs, parameters);
  assert_int_equal(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL), SQLITE_OK);
  sql(db, "PRAGMA cache_size=10");
  read_some(db);
  assert_int_equal(helper_lock(with_suffix(path, "-shm"), DEAD_MAN_SWITCH, 1), '-'); /* it has no wal-index */
  if (ring) assert_true(stat_value(db, "readahead_issued") > 0);
  change_all(path);
  char expected[64];
  snprintf(expected, sizeof expected, "0 old of %d", ROWS + 1);
  row_value seen; /* one statement: the first to come to a page gets what was read ahead */
  assert_int_equal(sql_rc(db, "SELECT sum(b = 1)||' old of '||count(*) FROM t", &seen), SQLITE_OK);
  if (strcmp(seen.text, expected) != 0) fail_msg("%s%s: %s", vfs, parameters, seen.text);
  db_close(db);
}

static void each_backend(const char *vfs, bool is_uring) {
  if (!is_uring) {
    read_twice(vfs, "", false);
    return;
  }
  read_twice(vfs, "&uring_backend=sync", false);
  read_twice(vfs, "&uring_backend=auto", false);
  if (ring_works) read_twice(vfs, "&uring_backend=uring", true);
}

static void the_default_vfs(void **state) {
  (void)state;
  each_backend(default_vfs, false);
}

static void its_own_name(void **state) {
  (void)state;
  each_backend(uring_vfs(), vfs_is_uring);
}

static void a_copy_of_the_name(void **state) {
  (void)state;
  stand_above(uring_vfs());
  each_backend("above", vfs_is_uring);
  assert_int_equal(sqlite3_vfs_unregister(&above), SQLITE_OK);
}

int main(void) {
  support_start();
  const struct CMUnitTest tests[] = {cmocka_unit_test(the_default_vfs), cmocka_unit_test(its_own_name),
                                     cmocka_unit_test(a_copy_of_the_name)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
