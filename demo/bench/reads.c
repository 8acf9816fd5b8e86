/*
** reads.c - the family "reads": scans, ranges, look-ups, joins, copies and checks of a database that nobody writes.
**
** Every row is recognised by its columns (database.c), and that none is missing by the sequence of ids or keys; a
** wrong answer ends the run.
*/
#include "bench.h"

#include <string.h>

enum { RANGES = 10, RANGE_PART = 500, COLD_POINTS = 2000 };

/* Columns id, k, v of item, the first of them at `column`. */
static void check_row(const task *t, int column) {
  int64_t id = sqlite3_column_int64(t->stmt, column);
  int64_t k = sqlite3_column_int64(t->stmt, column + 1);
  const char *v = sqlite3_column_blob(t->stmt, column + 2);
  uint64_t first = 0;
  uint64_t last = 0;
  if (v && sqlite3_column_bytes(t->stmt, column + 2) == t->base->row_bytes) {
    memcpy(&first, v, sizeof first);
    memcpy(&last, v + t->base->row_bytes - sizeof last, sizeof last);
  }
  if (first != first_word(id) || last != last_word(id, k))
    die("%s: wrong answer: row %lld has another row's columns", t->side->name, (long long)id);
}

/* Every row, whose `column` (an id or key) counts up from `from`. */
static void expect_rows(task *t, int column, int64_t from, int64_t count) {
  int64_t n = 0;
  int rc;
  while ((rc = sqlite3_step(t->stmt)) == SQLITE_ROW) {
    if (n >= count || sqlite3_column_int64(t->stmt, column) != from + n)
      die("%s: wrong answer: row %lld is not the next one", t->side->name, (long long)n);
    check_row(t, 0);
    n++;
  }
  check(t->db, rc, "step");
  if (n != count) die("%s: wrong answer: %lld rows of %lld", t->side->name, (long long)n, (long long)count);
  check(t->db, sqlite3_reset(t->stmt), "reset");
}

static int64_t random_below(task *t, int64_t bound) { return (int64_t)(next_random(&t->random) % (uint64_t)bound); }

static const char scan_sql[] = "SELECT id, k, v FROM item ORDER BY id";
static void op_scan(task *t) { expect_rows(t, 0, 1, t->base->rows); }

static const char range_sql[] = "SELECT id, k, v FROM item INDEXED BY item_k WHERE k BETWEEN ?1 AND ?2 ORDER BY k";
static void op_range(task *t) {
  int64_t count = t->base->rows / RANGE_PART;
  int64_t from = random_below(t, t->base->rows - count) + 1;
  sqlite3_bind_int64(t->stmt, 1, from);
  sqlite3_bind_int64(t->stmt, 2, from + count - 1);
  expect_rows(t, 1, from, count);
}

static const char point_sql[] = "SELECT id, k, v FROM item WHERE id = ?1";
static void op_point(task *t) {
  int64_t id = random_below(t, t->base->rows) + 1;
  sqlite3_bind_int64(t->stmt, 1, id);
  expect_rows(t, 0, id, 1);
}

/* CROSS JOIN: in the order that is written. */
static const char join_sql[] = "SELECT a.id, a.k, a.v, b.id, b.k, b.v, pick.item, pick.k FROM pick "
                               "CROSS JOIN item AS a ON a.id = pick.item "
                               "CROSS JOIN item AS b INDEXED BY item_k ON b.k = pick.k";
static void op_join(task *t) {
  int64_t n = 0;
  int rc;
  while ((rc = sqlite3_step(t->stmt)) == SQLITE_ROW) {
    check_row(t, 0);
    check_row(t, 3);
    if (sqlite3_column_int64(t->stmt, 0) != sqlite3_column_int64(t->stmt, 6) ||
        sqlite3_column_int64(t->stmt, 4) != sqlite3_column_int64(t->stmt, 7))
      die("%s: wrong answer: row %lld joins what does not belong together", t->side->name, (long long)n);
    n++;
  }
  check(t->db, rc, "step");
  if (n != t->base->picks) die("%s: wrong answer: %lld rows joined", t->side->name, (long long)n);
}

/* ---- Whole databases ------------------------------------------------------------------------------------------- */

/* The copy is not flushed: reading is what is measured. */
static void op_backup(task *t) {
  sqlite3 *to = open_on(t->side, t->output);
  run(to, "PRAGMA synchronous = off");
  sqlite3_backup *backup = sqlite3_backup_init(to, "main", t->db, "main");
  if (!backup) check(to, sqlite3_errcode(to), "backup");
  check(to, sqlite3_backup_step(backup, -1), "backup");
  check(to, sqlite3_backup_finish(backup), "backup");
  close_db(&to);
}

static void op_vacuum_into(task *t) {
  run(t->db, "PRAGMA synchronous = off");
  sqlite3_stmt *stmt = prepare(t->db, "VACUUM INTO ?1");
  sqlite3_bind_text(stmt, 1, t->output, -1, SQLITE_STATIC);
  check(t->db, sqlite3_step(stmt), "VACUUM INTO");
  sqlite3_finalize(stmt);
}

/* Table and index of the copy, by the default VFS. */
static void verify_copy(task *t) {
  task copy = {.base = t->base, .side = t->side};
  check(NULL, sqlite3_open_v2(t->output, &copy.db, SQLITE_OPEN_READWRITE, "unix"), t->output);
  copy.stmt = prepare(copy.db, scan_sql);
  op_scan(&copy);
  sqlite3_finalize(copy.stmt);
  if (query_int(copy.db, "SELECT count(*) FROM item INDEXED BY item_k WHERE k > 0") != t->base->rows)
    die("%s: wrong answer: the copy's index lacks rows", t->side->name);
  close_db(&copy.db);
}

static void op_integrity(task *t) { check_integrity(t->db, t->side->name); }

static void op_open(task *t) {
  t->db = open_side(t);
  t->stmt = prepare(t->db, point_sql);
  op_point(t);
  check(t->db, sqlite3_finalize(t->stmt), "finalize");
  t->stmt = NULL;
  close_db(&t->db);
}

/* In the order of the table. */
// clang-format off
const workload read_workloads[] = {
    {.name = "scan-cold/fragmented",
     .what = "every row in key order, neighbouring leaves far apart in the file",
     .sql = scan_sql, .op = op_scan, .layout = FRAGMENTED, .ops = 1, .cold = true},
    {.name = "scan-cold/contiguous",
     .what = "the same, leaves in the order of the file",
     .sql = scan_sql, .op = op_scan, .layout = CONTIGUOUS, .ops = 1, .cold = true},
    {.name = "scan-warm/fragmented",
     .what = "both from the page cache",
     .sql = scan_sql, .op = op_scan, .layout = FRAGMENTED, .ops = 1},
    {.name = "scan-warm/contiguous",
     .what = "",
     .sql = scan_sql, .op = op_scan, .layout = CONTIGUOUS, .ops = 1},
    {.name = "range-cold",
     .what = "10 ranges of an index, 0.2 % of the rows each, and their rows",
     .sql = range_sql, .op = op_range, .ops = RANGES, .cold = true},
    {.name = "point-cold",
     .what = "2,000 random rows by rowid",
     .sql = point_sql, .op = op_point, .ops = COLD_POINTS, .cold = true},
    {.name = "point-warm",
     .what = "random rows from the page cache, for --seconds",
     .sql = point_sql, .op = op_point},
    {.name = "join-cold",
     .what = "a small table, and for each of its rows one row by rowid and one by index",
     .sql = join_sql, .op = op_join, .ops = 1, .cold = true},
    {.name = "backup",
     .what = "sqlite3_backup of the whole database, cold",
     .op = op_backup, .verify = verify_copy, .ops = 1, .cold = true},
    {.name = "vacuum-into",
     .what = "VACUUM INTO, cold",
     .op = op_vacuum_into, .verify = verify_copy, .ops = 1, .cold = true},
    {.name = "integrity",
     .what = "PRAGMA integrity_check, cold",
     .op = op_integrity, .ops = 1, .cold = true},
    {.name = "open",
     .what = "open, one row, close; from the page cache, for --seconds",
     .op = op_open, .opens = true},
    {.name = NULL},
};
// clang-format on
