/*
** rows.h - what the workloads of tests/crash and tests/powercut write: bytes that belong to one row of one transaction,
** and the random numbers of a seed.
*/
#ifndef CRASH_ROWS_H
#define CRASH_ROWS_H

#include <sqlite3.h>
#include <stdint.h>
#include <string.h>

/* splitmix64: the next number, from any state. */
static inline uint64_t splitmix64(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static inline void rows_body(sqlite3_context *context, int argc, sqlite3_value **argv) {
  (void)argc;
  const int bytes = sqlite3_value_int(argv[2]);
  uint64_t random = (uint64_t)sqlite3_value_int(argv[0]) * 1000003u + (uint64_t)sqlite3_value_int(argv[1]);
  uint8_t *p = sqlite3_malloc(bytes + 8);
  if (p == NULL) {
    sqlite3_result_error_nomem(context);
    return;
  }
  for (int i = 0; i < bytes; i += 8) {
    const uint64_t word = splitmix64(&random);
    memcpy(p + i, &word, 8);
  }
  sqlite3_result_blob(context, p, bytes, sqlite3_free);
}

/* The SQL function body(transaction, row, bytes). Returns an SQLITE_ code. */
static inline int rows_add_body(sqlite3 *db) {
  return sqlite3_create_function(db, "body", 3, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL, rows_body, NULL, NULL);
}

#endif
