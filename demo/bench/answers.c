/*
** answers.c - how a workload knows that its answers are right.
**
** Every row is recognised by its columns (database.c), and that none is missing by the sequence of ids or keys; a
** wrong answer ends the run.
*/
#include "bench.h"

#include <string.h>

void check_row(const task *t, int column) {
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

void expect_rows(task *t, int column, int64_t from, int64_t count) {
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

int64_t random_below(task *t, int64_t bound) { return (int64_t)(next_random(&t->random) % (uint64_t)bound); }
