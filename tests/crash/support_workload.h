/*
** support_workload.h - generated work for a database, and what must be left of it.
**
** Everything follows from a seed: journal mode, synchronous, page size and so on (crash_config_from_seed), and then
** each step: small and large transactions, savepoints, spilled caches, rollbacks, VACUUM, checkpoints, readers, several
** connections, attached databases, closing and opening, failing writes and syncs.
**
** Each statement also runs in a database in memory, the reference. The content that it has after transaction n is state
** n, kept as a hash; row n of the table `log` belongs to transaction n. State 0 is the empty database.
*/
#ifndef CRASH_WORKLOAD_H
#define CRASH_WORKLOAD_H

#include <sqlite3.h>

#include "support_recorder.h"

typedef enum crash_journal { J_WAL, J_DELETE, J_TRUNCATE, J_PERSIST, J_MEMORY, J_OFF, J_COUNT } crash_journal;
typedef enum crash_sync { SYNC_OFF, SYNC_NORMAL, SYNC_FULL, SYNC_EXTRA, SYNC_COUNT } crash_sync;

typedef struct crash_config {
  uint64_t seed;
  const char *vfs;     /* "uring" or "unix-recorder" */
  const char *backend; /* sync, auto, uring          */
  crash_journal journal;
  crash_sync sync;
  int page_size;
  bool exclusive;
  bool attached;
  int writers; /* connections that write, 1 or 2 */
  int cache_pages;
  int autocheckpoint;
  int journal_size_limit;
  int auto_vacuum;
  int mmap_bytes;
  bool faults;
  int steps;
  bool verbose;
} crash_config;

#define CRASH_MAX_STATES 512
#define CRASH_DATABASES  2

typedef struct crash_states {
  int count;
  uint64_t content[CRASH_MAX_STATES][CRASH_DATABASES]; /* of "main.db" and "aux.db" */
} crash_states;

extern const char *const crash_journal_names[J_COUNT];
extern const char *const crash_sync_names[SYNC_COUNT];
extern const char *const crash_database_names[CRASH_DATABASES];

/* The vfs, backend and verbose members are left alone. Seeds 0 to 95 go through all journal modes x synchronous x page
** sizes. */
void crash_config_from_seed(crash_config *config, uint64_t seed, int steps);
/* One line. */
void crash_config_print(const crash_config *config, char *text, size_t text_bytes);

typedef struct crash_workload_result {
  char error[512];  /* "" or what went wrong while the databases were alive */
  int transactions; /* acknowledged */
  int failures;     /* transactions that failed because of an injected fault */
  uint64_t published;
} crash_workload_result;

/* Runs the workload in the empty directory, which is being recorded. */
void crash_workload_run(const crash_config *config, const char *directory, crash_states *states,
                        crash_workload_result *result);

/* The hash of what is in one database (schema name), 0 for a database without our tables. Returns an SQLite code. */
int crash_content(sqlite3 *db, const char *schema, uint64_t *content, int *last_transaction);

#endif
