/*
** short.c - statements of few rows: one, a small range, the first rows from somewhere, a list of keys; open and close.
*/
#include "bench.h"

enum { COLD_POINTS = 2000, COLD_STOPS = 300, COLD_LISTS = 400, RANGE_ROWS = 20, LIST = 20 };

static const char point_sql[] = "SELECT id, k, v FROM item WHERE id = ?1";
static void op_point(task *t) {
  int64_t id = random_below(t, t->base->rows) + 1;
  sqlite3_bind_int64(t->stmt, 1, id);
  expect_rows(t, 0, id, 1);
}

static const char range_sql[] = "SELECT id, k, v FROM item INDEXED BY item_k WHERE k BETWEEN ?1 AND ?2 ORDER BY k";
static void op_range(task *t) {
  int64_t from = random_below(t, t->base->rows - RANGE_ROWS) + 1;
  sqlite3_bind_int64(t->stmt, 1, from);
  sqlite3_bind_int64(t->stmt, 2, from + RANGE_ROWS - 1);
  expect_rows(t, 1, from, RANGE_ROWS);
}

/* Nothing in the statement's first reads says where it stops. */
static const char stop_sql[] = "SELECT id, k, v FROM item WHERE id >= ?1 ORDER BY id LIMIT ?2";
static void first_rows(task *t, int rows) {
  int64_t from = random_below(t, t->base->rows - rows) + 1;
  sqlite3_bind_int64(t->stmt, 1, from);
  sqlite3_bind_int(t->stmt, 2, rows);
  expect_rows(t, 0, from, rows);
}
static void op_stop_5(task *t) { first_rows(t, 5); }
static void op_stop_10(task *t) { first_rows(t, 10); }
static void op_stop_20(task *t) { first_rows(t, 20); }

/* LIST different ids, in rising order: SQLite sorts a list. */
static void draw_ids(task *t, int64_t *id) {
  for (int n = 0; n < LIST;) {
    int64_t drawn = random_below(t, t->base->rows) + 1;
    int at = n;
    while (at > 0 && id[at - 1] > drawn) at--;
    if (at > 0 && id[at - 1] == drawn) continue;
    for (int i = n++; i > at; i--) id[i] = id[i - 1];
    id[at] = drawn;
  }
}

static const char list_sql[] = "SELECT id, k, v FROM item WHERE id IN "
                               "(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20) ORDER BY id";
static void op_list(task *t) {
  int64_t id[LIST];
  draw_ids(t, id);
  for (int i = 0; i < LIST; i++) sqlite3_bind_int64(t->stmt, i + 1, id[i]);
  for (int i = 0; i < LIST; i++) {
    int rc = sqlite3_step(t->stmt);
    if (rc != SQLITE_ROW) check(t->db, rc, "step");
    if (rc != SQLITE_ROW || sqlite3_column_int64(t->stmt, 0) != id[i])
      die("%s: wrong answer: row %d is not that of the list", t->side->name, i);
    check_row(t, 0);
  }
  if (sqlite3_step(t->stmt) != SQLITE_DONE) die("%s: wrong answer: more rows than the list has", t->side->name);
  check(t->db, sqlite3_reset(t->stmt), "reset");
}

static void op_open(task *t) {
  t->db = open_side(t);
  t->stmt = prepare(t->db, point_sql);
  op_point(t);
  check(t->db, sqlite3_finalize(t->stmt), "finalize");
  t->stmt = NULL;
  close_db(&t->db);
}

// clang-format off
const workload short_workloads[] = {
    {.name = "point-cold",
     .what = "2,000 random rows by rowid",
     .sql = point_sql, .op = op_point, .ops = COLD_POINTS, .cold = true},
    {.name = "point-warm",
     .what = "random rows from the page cache, for --seconds",
     .sql = point_sql, .op = op_point, .limit_ops = 20000},
    {.name = "point-warm/64k",
     .what = "pages of 64 KiB",
     .sql = point_sql, .op = op_point, .layout = RELATED_64K, .limit_ops = 5000},
    {.name = "point-warm/rollback",
     .what = "rollback mode: a lock of the file for each row",
     .sql = point_sql, .op = op_point, .rollback = true, .limit_ops = 20000},
    {.name = "range-warm",
     .what = "20 rows by an index from the page cache, for --seconds",
     .sql = range_sql, .op = op_range, .limit_ops = 1000},
    {.name = "range-warm/64k",
     .what = "pages of 64 KiB",
     .sql = range_sql, .op = op_range, .layout = RELATED_64K, .limit_ops = 200},
    {.name = "range-warm/rollback",
     .what = "rollback mode",
     .sql = range_sql, .op = op_range, .rollback = true, .limit_ops = 1000},
    {.name = "stop-cold/5",
     .what = "300 times the first 5 rows from a random one",
     .sql = stop_sql, .op = op_stop_5, .ops = COLD_STOPS, .cold = true},
    {.name = "stop-cold/10",
     .what = "the first 10",
     .sql = stop_sql, .op = op_stop_10, .ops = COLD_STOPS, .cold = true},
    {.name = "stop-cold/20",
     .what = "the first 20",
     .sql = stop_sql, .op = op_stop_20, .ops = COLD_STOPS, .cold = true},
    {.name = "list-cold",
     .what = "400 lists of 20 random keys: WHERE id IN (...)",
     .sql = list_sql, .op = op_list, .ops = COLD_LISTS, .cold = true},
    {.name = "open",
     .what = "open, one row, close; from the page cache, for --seconds",
     .op = op_open, .opens = true},
    {.name = "open/rollback",
     .what = "rollback mode",
     .op = op_open, .opens = true, .rollback = true},
    {.name = NULL},
};
// clang-format on
