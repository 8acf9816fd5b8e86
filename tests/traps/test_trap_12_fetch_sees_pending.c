/*
** Trap 12: a page that is mapped (xFetch) must show what was written before: spilled overflow pages and the sorter's
** temporary files are read that way. Pending writes that overlap are flushed first.
*/
#include "support_db.h"

#include <stdio.h>
#include <string.h>

static const char *const all_ways[] = {PLAIN, URING_SYNC, URING_AUTO, URING_RING};

static bool skip_way(const char *way) { return strstr(way, "backend=uring") && !ring_available(); }

static void bare_fetch(void **state) {
  (void)state;
  for (size_t w = 0; w < 4; w++) {
    if (skip_way(all_ways[w])) continue;
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", all_ways[w]);
    db_exec(db, "PRAGMA mmap_size=1048576; CREATE TABLE t(x)");
    for (int i = 0; i < 30; i++) db_exec(db, "INSERT INTO t VALUES(randomblob(4000))");
    sqlite3_file *f;
    assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f), SQLITE_OK);
    assert_int_equal(f->pMethods->iVersion, 3);
    db_exec(db, "BEGIN EXCLUSIVE");
    char page[4096], keep[4096];
    for (int i = 8; i < 16; i++) {
      void *mapped = NULL;
      memset(page, 'a' + i, sizeof page);
      assert_int_equal(f->pMethods->xRead(f, keep, sizeof keep, i * 4096), SQLITE_OK);
      assert_int_equal(f->pMethods->xWrite(f, page, sizeof page, i * 4096), SQLITE_OK);
      assert_int_equal(f->pMethods->xFetch(f, i * 4096, sizeof page, &mapped), SQLITE_OK);
      assert_non_null(mapped);
      assert_memory_equal(mapped, page, sizeof page);
      assert_int_equal(f->pMethods->xUnfetch(f, i * 4096, mapped), SQLITE_OK);
      assert_int_equal(f->pMethods->xWrite(f, keep, sizeof keep, i * 4096), SQLITE_OK);
    }
    db_exec(db, "COMMIT");
    db_check(db);
    db_close(db);
  }
}

/* Overflow chains that were spilled in this transaction, read back through the mapping. */
static void spilled_overflow_pages(void **state) {
  static const char *const modes[] = {"delete", "wal", "persist", "memory", "off"};
  (void)state;
  for (size_t w = 0; w < 4; w++)
    for (int m = 0; m < 5; m++) {
      if (skip_way(all_ways[w])) continue;
      support_reset(NULL);
      sqlite3 *db = db_open("t.db", all_ways[w]);
      db_execf(db, "PRAGMA page_size=1024; PRAGMA journal_mode=%s; PRAGMA synchronous=OFF", modes[m]);
      db_exec(db, "PRAGMA mmap_size=10000000; PRAGMA cache_size=10; PRAGMA cache_spill=10");
      db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB); CREATE TABLE c(id INTEGER PRIMARY KEY, pad BLOB)");
      db_exec(db, "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<60)"
                  " INSERT INTO t SELECT i, zeroblob(15000) FROM n");
      db_exec(db, "BEGIN; UPDATE t SET pad=randomblob(15000); INSERT INTO c SELECT id, pad FROM t");
      assert_int_equal(db_int(db, "SELECT count(*) FROM t JOIN c USING(id) WHERE t.pad=c.pad"), 60);
      db_exec(db,
              "UPDATE t SET pad=randomblob(14000) WHERE id%2; UPDATE c SET pad=(SELECT pad FROM t WHERE t.id=c.id)");
      assert_int_equal(db_int(db, "SELECT count(*) FROM t JOIN c USING(id) WHERE t.pad=c.pad"), 60);
      db_exec(db, "COMMIT");
      assert_int_equal(db_int(db, "SELECT count(*) FROM t JOIN c USING(id) WHERE t.pad=c.pad"), 60);
      db_check(db);
      db_close(db);
    }
}

/* The sorter's temporary files: written by merges, then mapped or read. */
static void sorter(void **state) {
  sqlite3_int64 expected = 0;
  (void)state;
  for (size_t w = 0; w < 4; w++) {
    if (skip_way(all_ways[w])) continue;
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", all_ways[w]);
    db_exec(db, "PRAGMA mmap_size=10000000; PRAGMA cache_size=10; PRAGMA temp_store=FILE; PRAGMA threads=2; PRAGMA "
                "synchronous=OFF");
    db_exec(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, k TEXT)");
    db_exec(db, "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<30000)"
                " INSERT INTO t SELECT i, printf('%05d%.100c', (i*7919)%30011, 'x') FROM n");
    sqlite3_int64 wrong = db_int(
        db, "SELECT sum(k < before) FROM (SELECT k, lag(k) OVER () AS before FROM (SELECT k FROM t ORDER BY k))");
    assert_int_equal(wrong, 0);
    db_exec(db, "CREATE INDEX i ON t(k)");
    sqlite3_int64 sum =
        db_int(db, "SELECT sum(id*r%1000003) FROM (SELECT id, row_number() OVER (ORDER BY k) AS r FROM t)");
    if (w == 0) expected = sum;
    assert_int_equal(sum, expected);
    db_check(db);
    db_close(db);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(bare_fetch, support_reset),
      cmocka_unit_test_setup(spilled_overflow_pages, support_reset),
      cmocka_unit_test_setup(sorter, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 12: mapped pages show what was written before");
  return rc;
}
