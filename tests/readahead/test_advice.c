/*
** test_advice.c - pages that the kernel is asked to have in its cache: cold scans without a ring, with one, and through
** mmap_size.
**
** The file is dropped from the kernel's cache before each scan. Where that cannot be done (tmpfs), nothing is ever
** cold, and the test is skipped. Answers are compared with the default VFS's.
*/
#include "../process/support.h"

#include <sys/mman.h>

enum { ROWS = 20000 };

static const char *const ways[] = {
    "vfs=uring&uring_backend=sync",
    "vfs=uring&uring_backend=auto",
    "vfs=uring&uring_backend=uring",
};

static const char forwards[] = "SELECT count(*), sum(id), sum(k), sum(unicode(pad)) FROM t";
static const char backwards[] =
    "SELECT max(id), sum(k) FROM (SELECT id, k, pad FROM t WHERE pad > '' ORDER BY id DESC)";
static const char by_index[] = "SELECT sum(k), sum(length(pad)) FROM t INDEXED BY tk WHERE k BETWEEN 300 AND 500";

/* Leaves far apart: rows in an order of their own, pages of 1024 bytes, about sixty interior pages. */
static const char *make(const char *journal) {
  const char *path = at("cold.db");
  char text[1024];
  database_remove(path);
  sqlite3 *db = db_open(path, default_vfs);
  snprintf(text, sizeof text,
           "PRAGMA page_size=1024; PRAGMA journal_mode=%s; PRAGMA synchronous=off; PRAGMA wal_autocheckpoint=0;"
           "CREATE TABLE t(id INTEGER PRIMARY KEY, k INT, pad); CREATE INDEX tk ON t(k);"
           "BEGIN; WITH c(i) AS (VALUES(0) UNION ALL SELECT i+1 FROM c WHERE i < %d - 1)"
           "INSERT INTO t SELECT i * 7919 %% %d, i * 31 %% 1000, printf('%%0300d', i) FROM c; COMMIT",
           journal, ROWS, ROWS);
  sql(db, text);
  db_close(db);
  return path;
}

static bool is_cold(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  assert_int_equal(fstat(fd, &st), 0);
  assert_int_equal(fsync(fd), 0);
  assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  const size_t pages = ((size_t)st.st_size + 4095) / 4096;
  unsigned char *resident = malloc(pages);
  void *memory = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
  assert_true(memory != MAP_FAILED && mincore(memory, (size_t)st.st_size, resident) == 0);
  size_t left = 0;
  for (size_t i = 0; i < pages; i++) left += resident[i] & 1;
  munmap(memory, (size_t)st.st_size);
  free(resident);
  close(fd);
  return left * 50 < pages;
}

/* For a file that this process has locks on. */
static void drop_from_cache(const char *path) {
  char command[PATH_MAX + 64];
  snprintf(command, sizeof command, "dd if='%s' iflag=nocache count=0 status=none", path);
  assert_int_equal(system(command), 0);
}

static sqlite3 *open_way(const char *path, const char *way, long long mmap_size) {
  char uri[PATH_MAX + 128], text[64];
  sqlite3 *db;
  snprintf(uri, sizeof uri, "file:%s?%s", path, way);
  assert_int_equal(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL), SQLITE_OK);
  snprintf(text, sizeof text, "PRAGMA cache_size=20; PRAGMA mmap_size=%lld", mmap_size);
  sql(db, text);
  return db;
}

static void check_answer(sqlite3 *db, const char *query, const row_value *expected) {
  row_value answer;
  assert_int_equal(sql_rc(db, query, &answer), SQLITE_OK);
  assert_string_equal(answer.text, expected->text);
}

static row_value ask_default(const char *path, const char *query) {
  row_value answer;
  sqlite3 *db = db_open(path, default_vfs);
  assert_int_equal(sql_rc(db, query, &answer), SQLITE_OK);
  db_close(db);
  return answer;
}

/* At least so many pages are read ahead. */
static void cold_scan(const char *way, const char *query, long long mmap_size, int least) {
  const char *path = at("cold.db");
  const row_value expected = ask_default(path, query);
  if (!is_cold(path)) skip();
  sqlite3 *db = open_way(path, way, mmap_size);
  const long long issued = stat_value(db, "readahead_issued"), wasted = stat_value(db, "readahead_wasted");
  check_answer(db, query, &expected);
  const long long ahead = stat_value(db, "readahead_issued") - issued,
                  in_vain = stat_value(db, "readahead_wasted") - wasted;
  if (ahead < least || in_vain * 20 > ahead)
    fail_msg("%s, mmap_size %lld: %s: %lld pages read ahead, %lld of them for nothing", way, mmap_size, query, ahead,
             in_vain);
  db_close(db);
}

static void test_cold_scans(void **state) {
  static const char *const journals[] = {"delete", "wal"};
  (void)state;
  for (size_t j = 0; j < 2; j++) {
    (void)make(journals[j]);
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
      if (strstr(ways[w], "=uring&uring_backend=uring") != NULL && !ring_works) continue;
      cold_scan(ways[w], forwards, 0, 100);
      cold_scan(ways[w], backwards, 0, 100);
    }
    /* With the ring forced the kernel's own read-around does not get the first go. */
    if (ring_works) cold_scan(ways[2], forwards, 1 << 30, 100);
    if (ring_works) cold_scan(ways[2], backwards, 1 << 30, 100);
    cold_scan(ways[1], forwards, 1 << 20, 0); /* of about eight MiB; one fault may bring them all */
  }
}

/* How much of a range is read ahead depends on how fast the device answers; the answer does not. */
static void test_cold_range(void **state) {
  (void)state;
  const char *path = make("delete");
  const row_value expected = ask_default(path, by_index);
  for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
    if (!is_cold(path)) skip();
    sqlite3 *db = open_way(path, w == 2 && !ring_works ? ways[1] : ways[w], 0);
    check_answer(db, by_index, &expected);
    db_close(db);
  }
}

static bool is_mapped(const char *path) {
  char line[PATH_MAX + 256];
  bool found = false;
  FILE *maps = fopen("/proc/self/maps", "re");
  assert_non_null(maps);
  while (fgets(line, sizeof line, maps) != NULL) found |= strstr(line, path) != NULL && strstr(line, "-shm") == NULL;
  fclose(maps);
  return found;
}

/* The kernel is asked without a mapping, and nothing is read through one that the application has not asked for. */
static void test_no_mapping_stays(void **state) {
  (void)state;
  const char *path = make("delete");
  if (!is_cold(path)) skip();
  sqlite3 *db = open_way(path, ways[0], 0);
  sqlite3_stmt *stmt;
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT id, pad FROM t", -1, &stmt, NULL), SQLITE_OK);
  for (int i = 0; i < ROWS; i++) {
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    if (i % 500 == 0) assert_false(is_mapped(path));
  }
  assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
  assert_true(stat_value(db, "readahead_issued") > 0);
  assert_int_equal(sql(db, "PRAGMA mmap_size"), 0);
  db_close(db);
}

/* The file is cut while it is read: an error or a wrong page as with the default VFS, but no SIGBUS. */
static void test_file_cut_short(void **state) {
  (void)state;
#ifdef URINGVFS_VERIFY_READAHEAD
  skip(); /* that build rightly finds the file changed */
#endif
  for (size_t w = 0; w < 2; w++) {
    const char *path = make("delete");
    if (!is_cold(path)) skip();
    sqlite3 *db = open_way(path, ways[w], 0);
    sqlite3_stmt *stmt;
    int rc;
    assert_int_equal(sqlite3_prepare_v2(db, "SELECT id, pad FROM t", -1, &stmt, NULL), SQLITE_OK);
    for (int i = 0; i < 3000; i++) assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(truncate(path, 1 << 20), 0);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    }
    assert_true(rc == SQLITE_CORRUPT || rc == SQLITE_IOERR || rc == SQLITE_DONE);
    sqlite3_finalize(stmt);
    db_close(db);
  }
}

/* What was read in blocks is gone again before the scan comes by, as where memory is short. */
static void test_blocks_given_up(void **state) {
  (void)state;
  const char *path = make("delete");
  const row_value expected = ask_default(path, "SELECT sum(k) FROM t WHERE pad > ''");
  if (!is_cold(path)) skip();
  sqlite3 *db = open_way(path, ways[0], 0);
  sqlite3_stmt *stmt;
  long long sum = 0;
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT k, pad FROM t", -1, &stmt, NULL), SQLITE_OK);
  for (int i = 0; sqlite3_step(stmt) == SQLITE_ROW; i++) {
    sum += sqlite3_column_int64(stmt, 0);
    if (i % 200 == 0) drop_from_cache(path);
  }
  assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
  assert_int_equal(sum, expected.number);
  db_close(db);
}

/* ---- limits for mappings, which are set before SQLite starts ---- */

/* Does `body` hold in a process with these limits? */
static void with_limits(long long usual, long long most, bool (*body)(sqlite3 *db), const char *way) {
  const char *path = at("cold.db"), *preload = getenv("LD_PRELOAD");
  /* a forked child does not get the rings' memory, but valgrind believes that it has it */
  if (preload != NULL && strstr(preload, "vgpreload") != NULL) skip();
  pid_t child = fork();
  if (child == 0) {
    sqlite3 *db = NULL;
    char uri[PATH_MAX + 128];
    snprintf(uri, sizeof uri, "file:%s?%s", path, way);
    const bool ok = sqlite3_shutdown() == SQLITE_OK &&
                    sqlite3_config(SQLITE_CONFIG_MMAP_SIZE, (sqlite3_int64)usual, (sqlite3_int64)most) == SQLITE_OK &&
                    uringvfs_register(0) == SQLITE_OK &&
                    sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL) == SQLITE_OK && body(db);
    _exit(sqlite3_close(db) == SQLITE_OK && ok ? 0 : 1);
  }
  int status;
  assert_int_equal(waitpid(child, &status, 0), child);
  assert_int_equal(status, 0);
}

static row_value expected_there;

static long long read_ahead_by_scan(sqlite3 *db) {
  row_value answer;
  const long long before = stat_value(db, "readahead_issued");
  const bool right = sql_rc(db, forwards, &answer) == SQLITE_OK && strcmp(answer.text, expected_there.text) == 0;
  return right ? stat_value(db, "readahead_issued") - before : -1;
}

static bool much_is_read_ahead(sqlite3 *db) { return read_ahead_by_scan(db) > 100; }
static bool wal_is_not_mapped(sqlite3 *db) { return read_ahead_by_scan(db) >= 0 && !is_mapped(at("cold.db-wal")); }

/* An application may forbid SQLite all mappings. Read-ahead needs none, with a ring or without. */
static void test_mappings_forbidden(void **state) {
  (void)state;
  const char *path = make("delete");
  expected_there = ask_default(path, forwards);
  if (!is_cold(path)) skip();
  with_limits(0, 0, much_is_read_ahead, ways[0]);
  assert_true(is_cold(path));
  if (ring_works) with_limits(0, 0, much_is_read_ahead, ways[1]);
}

/* What lies behind the largest mapping is read ahead, too. */
static void test_larger_than_mappings(void **state) {
  (void)state;
  const char *path = make("delete");
  expected_there = ask_default(path, forwards);
  if (!is_cold(path)) skip();
  with_limits(0, 1 << 20, much_is_read_ahead, ways[0]);
}

/* SQLite gives the WAL a limit, too, but never maps it. */
static void test_wal_is_not_mapped(void **state) {
  (void)state;
  const char *path = make("wal");
  sqlite3 *writer = db_open(path, default_vfs);
  sql(writer, "PRAGMA wal_autocheckpoint=0; UPDATE t SET k = k + 1");
  expected_there.rows = 0;
  assert_int_equal(sql_rc(writer, forwards, &expected_there), SQLITE_OK);
  drop_from_cache(path);
  drop_from_cache(with_suffix(path, "-wal"));
  with_limits(1 << 30, 1 << 30, wal_is_not_mapped, ways[0]);
  db_close(writer);
}

/* ---- the same again ---- */

/* In one transaction, over interior pages that SQLite has in its cache. */
static void test_second_scan(void **state) {
  (void)state;
  const char *path = make("delete");
  if (!is_cold(path)) skip();
  sqlite3 *db = open_way(path, ways[1], 0);
  sql(db, "PRAGMA cache_size=200; BEGIN");
  for (int i = 0; i < 3; i++) {
    const long long before = stat_value(db, "readahead_issued");
    sql(db, forwards);
    const long long issued = stat_value(db, "readahead_issued") - before;
    if (issued < 100) fail_msg("scan %d: %lld pages read ahead", i, issued);
    drop_from_cache(path);
  }
  sql(db, "COMMIT");
  db_close(db);
}

int main(void) {
  support_start();
  if (!vfs_is_uring) return support_end(false);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_cold_scans),           cmocka_unit_test(test_cold_range),
      cmocka_unit_test(test_no_mapping_stays),     cmocka_unit_test(test_file_cut_short),
      cmocka_unit_test(test_blocks_given_up),      cmocka_unit_test(test_mappings_forbidden),
      cmocka_unit_test(test_larger_than_mappings), cmocka_unit_test(test_wal_is_not_mapped),
      cmocka_unit_test(test_second_scan),
  };
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
