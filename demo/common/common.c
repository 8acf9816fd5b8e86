/*
** common.c - what the measuring programs share; see common.h.
*/
#include "common.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *progname = "demo";

void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fprintf(stderr, "%s: ", progname);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(1);
}

void on_log(void *unused, int code, const char *message) {
  (void)unused;
  if (code != SQLITE_NOTICE_RECOVER_WAL) fprintf(stderr, "\n%s: sqlite (%d): %s\n", progname, code, message);
}

/* ---- SQLite, short --------------------------------------------------------------------------------------------- */

void check(sqlite3 *db, int rc, const char *what) {
  if (rc != SQLITE_OK && rc != SQLITE_DONE && rc != SQLITE_ROW)
    die("%s: %s (%d)", what, db ? sqlite3_errmsg(db) : sqlite3_errstr(rc), rc);
}

void run(sqlite3 *db, const char *sql) { check(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql); }

sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
  sqlite3_stmt *stmt = NULL;
  check(db, sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL), sql);
  return stmt;
}

int64_t query_int(sqlite3 *db, const char *sql) {
  sqlite3_stmt *stmt = prepare(db, sql);
  check(db, sqlite3_step(stmt), sql);
  int64_t value = sqlite3_column_int64(stmt, 0);
  check(db, sqlite3_finalize(stmt), sql);
  return value;
}

void check_integrity(sqlite3 *db, const char *name) {
  sqlite3_stmt *stmt = prepare(db, "PRAGMA integrity_check");
  check(db, sqlite3_step(stmt), "integrity_check");
  const char *answer = (const char *)sqlite3_column_text(stmt, 0);
  if (!answer || strcmp(answer, "ok") != 0) die("%s: integrity_check: %s", name, answer ? answer : "NULL");
  sqlite3_finalize(stmt);
}

void close_db(sqlite3 **db) {
  check(*db, sqlite3_close(*db), "close");
  *db = NULL;
}

/* ---- Figures --------------------------------------------------------------------------------------------------- */

double clock_ns(clockid_t id) {
  struct timespec t;
  clock_gettime(id, &t);
  return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

uint64_t next_random(uint64_t *state) { /* xorshift64* */
  *state ^= *state >> 12;
  *state ^= *state << 25;
  *state ^= *state >> 27;
  return *state * 2685821657736338717U;
}

static int by_u32(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a;
  uint32_t y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

double percentile(uint32_t *values, size_t count, unsigned percent) {
  qsort(values, count, sizeof *values, by_u32);
  size_t place = count * percent / 100;
  return values[place < count ? place : count - 1];
}

uint32_t clamp_ns(double ns) { return ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX; }

static int by_double(const void *a, const void *b) {
  double x = *(const double *)a;
  double y = *(const double *)b;
  return (x > y) - (x < y);
}

spread spread_of(const double *values, int count) {
  double v[MAX_PAIRS];
  memcpy(v, values, (size_t)count * sizeof *v);
  qsort(v, (size_t)count, sizeof *v, by_double);
  return (spread){v[0], (v[(count - 1) / 2] + v[count / 2]) / 2, v[count - 1]};
}

spread ratios(const double *a, const double *b, int pairs) {
  double r[MAX_PAIRS];
  for (int i = 0; i < pairs; i++) r[i] = b[i] > 0 ? a[i] / b[i] : 0;
  return spread_of(r, pairs);
}

/* ---- Command line ---------------------------------------------------------------------------------------------- */

double number(const char *option, const char *text, double low, double high) {
  char *end;
  double value = strtod(text, &end);
  if (end == text || *end || !(value >= low && value <= high))
    die("--%s takes a number from %g to %g, not \"%s\"", option, low, high, text);
  return value;
}

const char *next_name(const char *list, char *name, size_t size) {
  size_t length = strcspn(list, ",");
  snprintf(name, size, "%.*s", (int)length, list);
  return list[length] ? list + length + 1 : NULL;
}

bool listed(const char *list, const char *name) {
  char one[256];
  while (list) {
    list = next_name(list, one, sizeof one);
    if (strcmp(one, name) == 0) return true;
  }
  return false;
}
