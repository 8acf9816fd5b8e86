/*
** joins.c - joins: a small table, and for each of its rows some of a large one by rowid, by an index or by primary key.
*/
#include "bench.h"

enum { LINKS = 200 };

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

/* ---- LINKS rows of link, and what they lead to ----------------------------------------------------------------- */

/* `rows` rows of item (or pair) a link, each columns id, k, v; after them what the links say of them: ids, or keys. */
static void follow_links(task *t, int rows, int column) {
  int64_t from = random_below(t, t->base->links - LINKS) + 1;
  int64_t n = 0;
  int rc;
  sqlite3_bind_int64(t->stmt, 1, from);
  sqlite3_bind_int64(t->stmt, 2, from + LINKS - 1);
  while ((rc = sqlite3_step(t->stmt)) == SQLITE_ROW) {
    for (int i = 0; i < rows; i++) {
      check_row(t, 3 * i);
      if (sqlite3_column_int64(t->stmt, 3 * i + column) != sqlite3_column_int64(t->stmt, 3 * rows + i))
        die("%s: wrong answer: link %lld leads to another row", t->side->name, (long long)(from + n));
    }
    n++;
  }
  check(t->db, rc, "step");
  check(t->db, sqlite3_reset(t->stmt), "reset");
  if (n != LINKS) die("%s: wrong answer: %lld links of %d", t->side->name, (long long)n, LINKS);
}

static const char rowid_sql[] = "SELECT a.id, a.k, a.v, b.id, b.k, b.v, c.id, c.k, c.v, d.id, d.k, d.v, "
                                "l.c1, l.c2, l.c3, l.c4 FROM link AS l "
                                "CROSS JOIN item AS a ON a.id = l.c1 CROSS JOIN item AS b ON b.id = l.c2 "
                                "CROSS JOIN item AS c ON c.id = l.c3 CROSS JOIN item AS d ON d.id = l.c4 "
                                "WHERE l.id BETWEEN ?1 AND ?2";
static void op_rowid(task *t) { follow_links(t, 4, 0); }

static const char index_sql[] = "SELECT a.id, a.k, a.v, l.c1 FROM link AS l "
                                "CROSS JOIN item AS a INDEXED BY item_k ON a.k = l.c1 WHERE l.id BETWEEN ?1 AND ?2";
static void op_index(task *t) { follow_links(t, 1, 1); }

static const char key_sql[] = "SELECT p.id, p.k, p.v, l.c1 FROM link AS l "
                              "CROSS JOIN pair AS p ON p.k = l.c1 WHERE l.id BETWEEN ?1 AND ?2";
static void op_key(task *t) { follow_links(t, 1, 1); }

// clang-format off
const workload join_workloads[] = {
    {.name = "join-cold",
     .what = "a small table, and for each of its rows one row by rowid and one by index",
     .sql = join_sql, .op = op_join, .ops = 1, .cold = true},
    {.name = "join-warm/rowid",
     .what = "200 rows, each with four others by rowid; from the page cache, for --seconds",
     .sql = rowid_sql, .op = op_rowid, .layout = RELATED, .limit_ops = 50},
    {.name = "join-warm/index",
     .what = "one other by an index, and its row",
     .sql = index_sql, .op = op_index, .layout = RELATED, .limit_ops = 50},
    {.name = "join-warm/key",
     .what = "one other of a WITHOUT ROWID table",
     .sql = key_sql, .op = op_key, .layout = RELATED, .limit_ops = 50},
    {.name = "join-warm/rowid-64k",
     .what = "the same with pages of 64 KiB",
     .sql = rowid_sql, .op = op_rowid, .layout = RELATED_64K, .limit_ops = 20},
    {.name = "join-warm/index-64k",
     .what = "one by an index",
     .sql = index_sql, .op = op_index, .layout = RELATED_64K, .limit_ops = 20},
    {.name = "join-warm/key-64k",
     .what = "one of a WITHOUT ROWID table",
     .sql = key_sql, .op = op_key, .layout = RELATED_64K, .limit_ops = 20},
    {.name = NULL},
};
// clang-format on
