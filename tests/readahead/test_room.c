/*
** test_room.c - a page that was read ahead and has to make room while SQLite asks for it.
**
** The buffer has room for 15 pages of 64 KiB. Several scans share it, and one that has come far reads interior pages of
** its own (vfs/readahead/scan.c, look_around) just when a page is asked for that waits there.
*/
#include "../process/support.h"

enum { TABLES_MOST = 7, ROWS = 640, KEY_BYTES = 12288 };

static uint32_t random_below(uint32_t *state, uint32_t n) {
  *state = *state * 1664525u + 1013904223u;
  return (uint32_t)((uint64_t)*state * n >> 32);
}

/* Keys so long that five fill a page, leaves and interior pages alike, inserted in no order: neighbours lie apart. */
static void make(const char *path, unsigned tables, uint32_t seed) {
  char text[128];
  sqlite3_stmt *insert[TABLES_MOST];
  unsigned order[ROWS];
  sqlite3 *db = db_open(path, default_vfs);
  sql(db, "PRAGMA page_size=65536; PRAGMA journal_mode=off; PRAGMA synchronous=off; BEGIN");
  for (unsigned t = 0; t < tables; t++) {
    snprintf(text, sizeof text, "CREATE TABLE t%u(k TEXT PRIMARY KEY) WITHOUT ROWID", t);
    sql(db, text);
    snprintf(text, sizeof text, "INSERT INTO t%u VALUES(printf('%%08d', ?1) || '%u' || hex(zeroblob(?2)))", t, t);
    assert_int_equal(sqlite3_prepare_v2(db, text, -1, &insert[t], NULL), SQLITE_OK);
  }
  for (unsigned i = 0; i < ROWS; i++) {
    const unsigned k = random_below(&seed, i + 1);
    order[i] = order[k];
    order[k] = i;
  }
  for (unsigned i = 0; i < ROWS * tables; i++) {
    sqlite3_stmt *s = insert[i % tables];
    sqlite3_bind_int(s, 1, (int)order[i / tables]);
    sqlite3_bind_int(s, 2, (int)(KEY_BYTES + random_below(&seed, KEY_BYTES / 3)) / 2);
    assert_int_equal(sqlite3_step(s), SQLITE_DONE);
    sqlite3_reset(s);
  }
  for (unsigned t = 0; t < tables; t++) sqlite3_finalize(insert[t]);
  sql(db, "COMMIT");
  db_close(db);
}

/* All tables at once, row by row of each. */
static void scan_all(const char *path, unsigned tables) {
  char query[512] = "SELECT count(*), sum(length(k)), sum(CAST(substr(k, 1, 8) AS INT)) FROM (SELECT k FROM t0";
  char part[64];
  for (unsigned t = 1; t < tables; t++) {
    snprintf(part, sizeof part, " UNION ALL SELECT k FROM t%u", t);
    strcat(query, part);
  }
  strcat(query, " ORDER BY k)");
  row_value expected, row;
  sqlite3 *a = db_open(path, default_vfs), *b = db_open(path, uring_vfs());
  sql(b, "PRAGMA cache_size=10");
  assert_int_equal(sql_rc(a, query, &expected), SQLITE_OK);
  assert_int_equal(sql_rc(b, query, &row), SQLITE_OK);
  assert_string_equal(row.text, expected.text);
  db_close(a);
  db_close(b);
}

/* Of sixty orders tried, those in which it happened; without care the search for a free slot did not end. */
static void test_a_page_that_makes_room(void **state) {
  static const struct {
    unsigned tables;
    uint32_t seed;
  } cases[] = {{6, 1}, {6, 13}, {7, 47}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    database_remove(at("room.db"));
    make(at("room.db"), cases[i].tables, cases[i].seed);
    scan_all(at("room.db"), cases[i].tables);
  }
}

int main(void) {
  support_start();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_page_that_makes_room)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
