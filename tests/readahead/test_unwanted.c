/*
** test_unwanted.c - that nothing is read ahead, and nothing looked at, which is of no use: statements that stop early,
** distances with a limit, files that are in memory but for some pages; and that what is read from memory is what the
** default VFS would read.
**
** Where each read takes a ring all is read ahead that is predicted, whatever the kernel has; that shows how far
** predictions go. What is done in memory is shown with uring_backend=auto. Whether pages are still looked at only the
** file object says: this test includes an internal header.
*/
#include "vfs/readahead/predictor.h"

#include "../process/support.h"

#include <sys/mman.h>

enum { ROWS = 9000, LEAVES = ROWS / 7 /* at least */ };

#define SCAN "SELECT sum(id), sum(length(pad)), sum(unicode(pad)) FROM t"

/* Leaves anywhere in the file; `warm` is another table, whose leaves lie side by side. */
static const char *make(const char *journal) {
  const char *path = at("unwanted.db");
  char text[1024];
  database_remove(path);
  sqlite3 *db = db_open(path, default_vfs);
  snprintf(text, sizeof text,
           "PRAGMA page_size=4096; PRAGMA journal_mode=%s; PRAGMA synchronous=off; PRAGMA wal_autocheckpoint=0;"
           "CREATE TABLE t(id INTEGER PRIMARY KEY, k INT, pad);"
           "BEGIN; WITH c(i) AS (VALUES(0) UNION ALL SELECT i+1 FROM c WHERE i < %d - 1)"
           "INSERT INTO t SELECT i * 7919 %% %d, i, printf('%%0500d', i) FROM c;"
           "CREATE TABLE warm AS SELECT id, pad FROM t WHERE id < 3000 ORDER BY id; COMMIT",
           journal, ROWS, ROWS);
  sql(db, text);
  db_close(db);
  return path;
}

typedef struct effort {
  long long issued, wasted, reads;
} effort;

static effort effort_so_far(sqlite3 *db) {
  return (effort){stat_value(db, "readahead_issued"), stat_value(db, "readahead_wasted"), stat_value(db, "reads")};
}

static effort effort_since(sqlite3 *db, effort before) {
  const effort now = effort_so_far(db);
  return (effort){now.issued - before.issued, now.wasted - before.wasted, now.reads - before.reads};
}

/* ---- how far predictions go ---- */

/* First of all: the largest batch is that of the process. */
static void test_distance_has_a_limit(void **state) {
  (void)state;
  if (!ring_works) skip();
  sqlite3 *db = db_open(make("delete"), uring_vfs());
  sql(db, "PRAGMA cache_size=20; PRAGMA uring_readahead=5");
  const effort before = effort_so_far(db);
  sql(db, SCAN);
  assert_true(effort_since(db, before).issued > LEAVES / 2);
  assert_true(stat_value(db, "readahead_deepest") <= 5);
  db_close(db);
}

/* Some rows in the order of their keys, beginning here. */
static void some_rows(sqlite3 *db, int first, int rows) {
  char text[128];
  snprintf(text, sizeof text, "SELECT sum(length(pad)) FROM (SELECT pad FROM t WHERE id >= %d ORDER BY id LIMIT %d)",
           first, rows);
  sql(db, text);
}

/* Whole scans have left their mark; statements that stop early take it away. */
static void test_early_stops(void **state) {
  (void)state;
  if (!ring_works) skip();
  sqlite3 *db = db_open(make("delete"), uring_vfs());
  sql(db, "PRAGMA cache_size=20; " SCAN "; " SCAN);
  for (int i = 0; i < 12; i++) some_rows(db, i * 613 % 8000, 60);
  const effort before = effort_so_far(db);
  for (int i = 0; i < 60; i++) some_rows(db, i * 617 % 8000, 60);
  const effort e = effort_since(db, before);
  if (e.wasted * 10 > e.reads) fail_msg("%lld pages for nothing, of %lld read", e.wasted, e.reads);
  db_close(db);
}

/* The other way round: what many statements want is read ahead again, though the first ones stopped early. */
static void test_later_ones_go_on(void **state) {
  (void)state;
  if (!ring_works) skip();
  sqlite3 *db = db_open(make("delete"), uring_vfs());
  sql(db, "PRAGMA cache_size=20");
  for (int i = 0; i < 12; i++) some_rows(db, i * 613 % 8000, 15);
  for (int i = 0; i < 12; i++) some_rows(db, i * 613 % 6000, 900);
  const effort before = effort_so_far(db);
  for (int i = 0; i < 8; i++) some_rows(db, i * 617 % 6000, 900);
  const effort e = effort_since(db, before);
  if (e.issued * 2 < e.reads || e.wasted * 10 > e.issued)
    fail_msg("%lld of %lld pages read ahead, %lld for nothing", e.issued, e.reads, e.wasted);
  db_close(db);
}

/* ---- what memory has ---- */

static size_t pages_of(const char *path) {
  struct stat st;
  assert_int_equal(stat(path, &st), 0);
  return ((size_t)st.st_size + 4095) / 4096;
}

/* How many pages of the file the kernel does not have in its cache. */
static size_t missing(const char *path) {
  const size_t pages = pages_of(path);
  unsigned char *resident = malloc(pages);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  void *memory = mmap(NULL, pages * 4096, PROT_READ, MAP_SHARED, fd, 0);
  assert_true(memory != MAP_FAILED && mincore(memory, pages * 4096, resident) == 0);
  size_t n = 0;
  for (size_t i = 0; i < pages; i++) n += !(resident[i] & 1);
  munmap(memory, pages * 4096);
  close(fd);
  free(resident);
  return n;
}

/* All of it is in the cache, but for some pages here and there. */
static bool is_warm_but_for_some(const char *path) {
  static char bytes[1 << 16];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  assert_true(fd >= 0 && fsync(fd) == 0);
  while (read(fd, bytes, sizeof bytes) > 0) {
  }
  for (size_t page = 160; page < LEAVES; page += 200)
    (void)posix_fadvise(fd, (off_t)page * 4096, 16 * 4096, POSIX_FADV_DONTNEED);
  close(fd);
  const size_t n = missing(path);
  return n >= 4 && n * 5 < pages_of(path);
}

static uringvfs__file *file_of(sqlite3 *db) {
  sqlite3_file *file = NULL;
  assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file), SQLITE_OK);
  return (uringvfs__file *)file;
}

static sqlite3 *open_inline(const char *path) {
  sqlite3 *db = NULL;
  assert_int_equal(db_open_lazy(path, uring_vfs(), SQLITE_OPEN_READWRITE, &db), SQLITE_OK);
  sql(db, "PRAGMA cache_size=20");
  return db;
}

/* How many pages are read ahead beyond those that were missing. The kernel may give some up just then: the least of a
** few tries counts. */
static long long asked_in_vain(const char *path, const char *query) {
  long long least = LLONG_MAX;
  for (int i = 0; i < 3; i++) {
    if (!is_warm_but_for_some(path)) skip(); /* a file system in memory */
    sqlite3 *db = open_inline(path);
    const long long gone = (long long)missing(path);
    const effort before = effort_so_far(db);
    sql(db, query);
    const long long in_vain = effort_since(db, before).issued - gone;
    if (in_vain < least) least = in_vain;
    db_close(db);
  }
  return least;
}

/* Where memory has the pages that are predicted, nobody asks for them. */
static void test_in_memory_but_for_some(void **state) {
  static const char *const queries[] = {SCAN, "SELECT sum(length(pad)) FROM (SELECT pad FROM t ORDER BY id DESC)"};
  (void)state;
#ifdef URINGVFS_VERIFY_READAHEAD
  skip(); /* it reads ahead whatever memory has */
#endif
  const char *path = make("delete");
  for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
    const long long n = asked_in_vain(path, queries[i]);
    if (n > LEAVES / 2) fail_msg("%s: %lld pages are read ahead that memory has", queries[i], n);
  }
}

/* And after a while nobody looks at them any more, in the same transaction. */
static void test_attention_ends(void **state) {
  (void)state;
#ifdef URINGVFS_VERIFY_READAHEAD
  skip(); /* it looks at everything */
#endif
  const char *path = make("delete");
  sqlite3 *db = NULL;
  const uringvfs__file *file = NULL;
  /* One page in eight asks, and the kernel brings what lies around: a scan may pass all that was missing. */
  for (int i = 0; i < 10 && (file == NULL || file->readahead == NULL); i++) {
    if (db != NULL) db_close(db);
    if (!is_warm_but_for_some(path)) skip(); /* a file system in memory */
    db = open_inline(path);
    sql(db, "BEGIN; " SCAN);
    file = file_of(db);
  }
  assert_non_null(file->readahead); /* a page was missing, so it was looked at */
  /* Now and then the kernel says that it does not have a page which it has: that may be the last one. */
  for (int i = 0; i < 50 && !file->hot; i++) sql(db, "SELECT sum(length(pad)) FROM warm");
  assert_true(file->hot);
  assert_int_equal(file->readahead->attention, 0);
  sql(db, "COMMIT");
  db_close(db);
}

/* ---- what is read from memory ---- */

static uint64_t sum_while_writing(sqlite3 *db, bool commit) {
  sqlite3_stmt *stmt;
  uint64_t sum = 0;
  int rc;
  sql(db, "PRAGMA cache_spill=5; BEGIN");
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT k, length(pad) FROM t", -1, &stmt, NULL), SQLITE_OK);
  for (int row = 0; (rc = sqlite3_step(stmt)) == SQLITE_ROW; row++) {
    char text[128];
    sum = sum * 3 + (uint64_t)sqlite3_column_int64(stmt, 0) + (uint64_t)sqlite3_column_int64(stmt, 1);
    if (row % 500 != 0) continue;
    snprintf(text, sizeof text, "UPDATE t SET k = k + 7, pad = printf('%%0400d', id) WHERE id BETWEEN %d AND %d",
             row + 5, row + 400);
    sql(db, text);
  }
  assert_int_equal(rc, SQLITE_DONE);
  assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
  sum += (uint64_t)sql(db, "SELECT sum(k * id) FROM t");
  sql(db, commit ? "COMMIT" : "ROLLBACK");
  return sum + (uint64_t)sql(db, "SELECT sum(k * id) FROM t");
}

/* Frames that are not in the WAL yet are read from where they are, and so is all that this connection has written. */
static void test_own_writes_in_memory(void **state) {
  static const char *const journals[] = {"wal", "delete"};
  (void)state;
  for (size_t j = 0; j < 2; j++) {
    uint64_t sums[2];
    for (int v = 0; v < 2; v++) {
      const char *path = make(journals[j]);
      sqlite3 *db = v ? open_inline(path) : db_open(path, default_vfs);
      sql(db, "PRAGMA cache_size=20; PRAGMA wal_autocheckpoint=0");
      sums[v] = sum_while_writing(db, true) + 5 * sum_while_writing(db, false);
      db_close(db);
    }
    assert_int_equal(sums[0], sums[1]);
  }
}

int main(int argc, char **argv) {
  support_start();
  if (!vfs_is_uring) return support_end(false);
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_distance_has_a_limit), cmocka_unit_test(test_early_stops),
      cmocka_unit_test(test_later_ones_go_on),     cmocka_unit_test(test_in_memory_but_for_some),
      cmocka_unit_test(test_attention_ends),       cmocka_unit_test(test_own_writes_in_memory),
  };
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
