/*
** support_workload.h - what is written to the database while the power may be cut, and what must be left of it.
**
** Transaction n is a function of the seed and n alone, whichever connection runs it, and leaves row n in the table
** `log`. So the content after each transaction (state n) is known by running them on a database in memory, and what a
** database shows is compared as a whole: presence, order and half-ness at once. State 0 is the database without tables,
** or no database.
*/
#ifndef POWERCUT_WORKLOAD_H
#define POWERCUT_WORKLOAD_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "support_log.h"

#define WORKLOAD_MODES    8
#define WORKLOAD_DATABASE "main.db"

typedef struct workload {
  uint64_t seed;
  const char *vfs;     /* "unix", or the backend of uring: "auto", "uring", "sync" */
  const char *journal; /* journal_mode                                             */
  const char *synchronous;
  bool switches; /* between WAL and the rollback modes */
  bool exclusive;
  bool large; /* transactions of more than uring hands over in one piece */
  int connections, page_size, cache_pages, autocheckpoint, journal_size_limit, auto_vacuum, mmap_bytes;
  int transactions;
} workload;

/* All but vfs and transactions. Seeds 0 to 7 are the modes, later ones repeat them with other choices. */
void workload_from_seed(workload *w, uint64_t seed);
void workload_print(const workload *w, char *text, size_t text_bytes);

typedef struct mark {
  uint64_t position; /* of the disk's log, when it was known */
  uint32_t transaction;
  uint32_t durable; /* 0: COMMIT has returned. 1: a checkpoint that copied everything has */
} mark;

/* Runs it all in the directory and writes a mark for each acknowledgement to the pipe. Returns the exit code of the
** process. */
int workload_run(const workload *w, const char *directory, const disk_log *log, int pipe);

/* The least transaction that must be there after a cut at `at`, as the marks say. */
uint32_t workload_floor(const workload *w, const mark *marks, size_t count, uint64_t at);

/* states[n] for n = 0 to transactions. */
bool workload_states(const workload *w, uint64_t *states);

/* What is in a database. Returns an SQLite code. */
int workload_content(sqlite3 *db, uint32_t *last_transaction, uint64_t *content);

#endif
