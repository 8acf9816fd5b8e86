/*
** whole.c - workloads that read a whole database, or much of it: scans, large ranges, copies, checks.
*/
#include "bench.h"

enum { RANGES = 10, RANGE_PART = 500 };

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

// clang-format off
const workload whole_workloads[] = {
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
    {.name = "backup",
     .what = "sqlite3_backup of the whole database, cold",
     .op = op_backup, .verify = verify_copy, .ops = 1, .cold = true},
    {.name = "vacuum-into",
     .what = "VACUUM INTO, cold",
     .op = op_vacuum_into, .verify = verify_copy, .ops = 1, .cold = true},
    {.name = "integrity",
     .what = "PRAGMA integrity_check, cold",
     .op = op_integrity, .ops = 1, .cold = true},
    {.name = NULL},
};
// clang-format on
