/*
** common.h - what the measuring programs share: errors that end the program, SQLite in one call, clocks, statistics.
**
** One thread. Every failure is final: it is printed with the program's name, and the exit status is 1.
*/
#ifndef DEMO_COMMON_H
#define DEMO_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <sqlite3.h>

/* Set first: error messages begin with it. */
extern const char *progname;

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
/* For SQLITE_CONFIG_LOG: what SQLite and the VFS have to say goes to stderr. */
void on_log(void *unused, int code, const char *message);

void check(sqlite3 *db, int rc, const char *what);
void run(sqlite3 *db, const char *sql);
sqlite3_stmt *prepare(sqlite3 *db, const char *sql);
int64_t query_int(sqlite3 *db, const char *sql);
/* PRAGMA integrity_check must answer "ok"; `name` is for the message. */
void check_integrity(sqlite3 *db, const char *name);
void close_db(sqlite3 **db);

double clock_ns(clockid_t id);
uint64_t next_random(uint64_t *state); /* state must not be 0 */

/* Sorts the values. 100 percent is the highest. */
double percentile(uint32_t *values, size_t count, unsigned percent);
uint32_t clamp_ns(double ns);

typedef struct spread {
  double low, median, high;
} spread;

enum { MAX_PAIRS = 1000 };
spread spread_of(const double *values, int count);
/* Of a[i] / b[i]. */
spread ratios(const double *a, const double *b, int pairs);

/* Command line: a number in its limits; whether a comma-separated list has a name; the next name of it. */
double number(const char *option, const char *text, double low, double high);
bool listed(const char *list, const char *name);
/* Copies the name at `list` and returns what follows its comma, or NULL at the end. */
const char *next_name(const char *list, char *name, size_t size);

#endif
