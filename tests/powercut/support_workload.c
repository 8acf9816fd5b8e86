/*
** support_workload.c - see support_workload.h.
**
** One thread and up to three connections, used in turn: SQLite lets one write at a time anyway, and older versions can
** lose commits when a checkpoint runs beside a restart of the WAL, on every VFS. Readers keep snapshots open meanwhile.
*/
#include "support_workload.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "uringvfs.h"
#include "../crash/rows.h"

#define MAX_CONNECTIONS 3
#define ROWS            400 /* ids of the table t: so large may a database grow */

typedef struct writer {
  const workload *w;
  const char *directory;
  const disk_log *log;
  int pipe;
  sqlite3 *db[MAX_CONNECTIONS];
  sqlite3 *reading; /* has a snapshot open */
  const char *journal;
  uint32_t current;
  uint64_t random;
} writer;

/* ---- configuration ---- */

/* With the file's name: nothing makes its unlink durable. */
static bool journal_may_return(const workload *w) {
  return strcmp(w->journal, "delete") == 0 && strcmp(w->synchronous, "full") == 0;
}

void workload_from_seed(workload *w, uint64_t seed) {
  static const struct {
    const char *journal, *synchronous;
    bool switches;
  } modes[WORKLOAD_MODES] = {{"wal", "full", false},      {"wal", "normal", false},   {"delete", "full", false},
                             {"truncate", "full", false}, {"wal", "extra", true},     {"persist", "full", false},
                             {"delete", "extra", false},  {"truncate", "extra", true}};
  uint64_t random = seed * 77777 + 5;
  w->seed = seed;
  w->journal = modes[seed % WORKLOAD_MODES].journal;
  w->synchronous = modes[seed % WORKLOAD_MODES].synchronous;
  w->switches = modes[seed % WORKLOAD_MODES].switches;
  w->connections = w->switches ? 1 : 1 + (int)(splitmix64(&random) % MAX_CONNECTIONS);
  w->exclusive = w->connections == 1 && splitmix64(&random) % 3 == 0;
  w->large = seed / WORKLOAD_MODES % 2 == 1;
  w->page_size = (const int[]){4096, 4096, 512, 1024, 16384, 65536}[splitmix64(&random) % 6];
  /* SQLite truncates the database behind the unlink of the journal. The file system zeroes the rest of that block at
  ** once, whatever
     becomes of the unlink: a journal that comes back would lack pages that shared the block. EXTRA is for that, too. */
  if (journal_may_return(w) && w->page_size < 4096) w->page_size = 4096;
  w->cache_pages = splitmix64(&random) % 2 ? 6 : 200;
  /* A journal is synced whenever the cache is full: ten thousand times in a large transaction with a small one. */
  if (w->large && (w->switches || strcmp(w->journal, "wal") != 0)) w->cache_pages = 8000;
  w->autocheckpoint = (const int[]){0, 5, 50, 1000}[splitmix64(&random) % 4];
  w->journal_size_limit = (const int[]){-1, -1, 0, 3000}[splitmix64(&random) % 4];
  w->auto_vacuum = (int)(splitmix64(&random) % 3);
  w->mmap_bytes = splitmix64(&random) % 5 == 0 ? 1 << 20 : 0;
}

void workload_print(const workload *w, char *text, size_t text_bytes) {
  snprintf(text, text_bytes, "%s%s, synchronous=%s, page %d, %d connection%s%s%s, cache %d, autocheckpoint %d%s",
           w->journal, w->switches ? " and others" : "", w->synchronous, w->page_size, w->connections,
           w->connections > 1 ? "s" : "", w->exclusive ? ", exclusive" : "", w->large ? ", large" : "", w->cache_pages,
           w->autocheckpoint, w->mmap_bytes != 0 ? ", mmap" : "");
}

/* ---- transactions ---- */

__attribute__((format(printf, 2, 3))) static int run(sqlite3 *db, const char *format, ...) {
  va_list args;
  va_start(args, format);
  char *sql = sqlite3_vmprintf(format, args);
  va_end(args);
  int rc = sql != NULL ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
  sqlite3_free(sql);
  return rc;
}

/* 1 to 3 MiB in few rows. */
static int large_rows(sqlite3 *db, int n, uint64_t *random) {
  int rc = SQLITE_OK;
  for (int id = 1; id <= 4 && rc == SQLITE_OK; id++)
    rc = run(db, "INSERT OR REPLACE INTO t VALUES(%d,%d,body(%d,%d,%d))", id, n % 1000, n, id,
             300000 + (int)(splitmix64(random) % 500000));
  return rc;
}

/* The first one makes the tables. A negative n is one that will be rolled back. */
static int statements(const workload *w, sqlite3 *db, int n) {
  uint64_t random = w->seed * 0x2545f4914f6cdd1du + (uint64_t)n;
  const int changes = splitmix64(&random) % 8 == 0 ? 150 : 1 + (int)(splitmix64(&random) % 6);
  int rc = SQLITE_OK;
  if (n == 1)
    rc = run(db, "CREATE TABLE log(seq INTEGER PRIMARY KEY, info BLOB);"
                 "CREATE TABLE t(id INTEGER PRIMARY KEY, k INT, body BLOB);"
                 "CREATE INDEX t_k ON t(k)");
  if (rc == SQLITE_OK) rc = run(db, "INSERT INTO log VALUES(%d, body(%d,0,20))", n, n);
  if (rc == SQLITE_OK && w->large && n % 5 == 2) rc = large_rows(db, n, &random);
  for (int i = 1; i <= changes && rc == SQLITE_OK; i++) {
    const int id = 1 + (int)(splitmix64(&random) % ROWS), k = (int)(splitmix64(&random) % 1000);
    const int longest = splitmix64(&random) % 10 == 0 ? 9000 : 300;
    const int bytes = 16 + (int)(splitmix64(&random) % (uint64_t)longest);
    switch (splitmix64(&random) % 8) {
    case 0: rc = run(db, "DELETE FROM t WHERE id=%d", id); break;
    case 1: rc = run(db, "UPDATE t SET k=k+%d WHERE id BETWEEN %d AND %d", k, id, id + 9); break;
    default: rc = run(db, "INSERT OR REPLACE INTO t VALUES(%d,%d,body(%d,%d,%d))", id, k, n, i, bytes); break;
    }
  }
  return rc;
}

/* ---- content ---- */

static uint64_t hash_bytes(uint64_t hash, const void *data, int bytes) {
  const uint8_t *p = data;
  for (int i = 0; i < bytes; i++) hash = (hash ^ p[i]) * 0x100000001b3u;
  return hash * 0x9e3779b97f4a7c15u + (uint64_t)bytes;
}

static int hash_rows(sqlite3 *db, const char *sql, uint64_t *hash, uint32_t *last) {
  sqlite3_stmt *stmt = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
  while (rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    if (last != NULL) *last = (uint32_t)sqlite3_column_int(stmt, 0);
    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
      const void *bytes = sqlite3_column_blob(stmt, i);
      *hash = hash_bytes(*hash, bytes, sqlite3_column_bytes(stmt, i));
    }
    rc = SQLITE_OK;
  }
  const int last_rc = sqlite3_finalize(stmt);
  return rc == SQLITE_DONE ? SQLITE_OK : last_rc != SQLITE_OK ? last_rc : rc;
}

int workload_content(sqlite3 *db, uint32_t *last_transaction, uint64_t *content) {
  uint32_t tables = 0;
  *content = 0;
  *last_transaction = 0;
  int rc = hash_rows(db, "SELECT count(*) FROM sqlite_schema", content, &tables);
  if (rc == SQLITE_OK && tables > 0)
    rc = hash_rows(db, "SELECT seq, info FROM log ORDER BY seq", content, last_transaction);
  if (rc == SQLITE_OK && tables > 0) rc = hash_rows(db, "SELECT id, k, body FROM t ORDER BY id", content, NULL);
  return rc;
}

bool workload_states(const workload *w, uint64_t *states) {
  sqlite3 *db = NULL;
  uint32_t last = 0;
  int rc = sqlite3_open_v2(":memory:", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix");
  if (rc == SQLITE_OK) rc = rows_add_body(db);
  for (int n = 0; n <= w->transactions && rc == SQLITE_OK; n++) {
    if (n > 0) rc = statements(w, db, n);
    if (rc == SQLITE_OK) rc = workload_content(db, &last, &states[n]);
  }
  sqlite3_close(db);
  return rc == SQLITE_OK && last == (uint32_t)w->transactions;
}

uint32_t workload_floor(const workload *w, const mark *marks, size_t count, uint64_t at) {
  const bool normal = strcmp(w->synchronous, "normal") == 0;
  uint32_t least = 0;
  for (size_t i = 0; i < count; i++)
    if (marks[i].position <= at && (marks[i].durable || !normal) && marks[i].transaction > least)
      least = marks[i].transaction;
  return journal_may_return(w) && least > 0 ? least - 1 : least; /* the last one is rolled back then */
}

/* ---- the writer ---- */

static uint64_t dice(writer *r, uint64_t sides) { return splitmix64(&r->random) % sides; }

static sqlite3 *any(writer *r) { return r->db[dice(r, (uint64_t)r->w->connections)]; }

static void report(writer *r, bool durable) {
  const mark m = {.position = log_position(r->log), .transaction = r->current, .durable = durable};
  if (write(r->pipe, &m, sizeof m) != (ssize_t)sizeof m) _exit(1);
}

static int broken(sqlite3 *db, const char *what, int rc) {
  fprintf(stderr, "powercut: %s: %d %s\n", what, rc, sqlite3_errmsg(db));
  return rc;
}

/* Without a busy timeout: a connection that is in the way is one of ours. */
static int open_one(writer *r, sqlite3 **db) {
  const workload *w = r->w;
  const bool uring = strcmp(w->vfs, "unix") != 0;
  char *uri = sqlite3_mprintf("file:%s/" WORKLOAD_DATABASE "%s%s", r->directory, uring ? "?uring_backend=" : "",
                              uring ? w->vfs : "");
  int rc =
      sqlite3_open_v2(uri, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, uring ? "uring" : "unix");
  sqlite3_free(uri);
  if (rc == SQLITE_OK) rc = rows_add_body(*db);
  if (rc == SQLITE_OK)
    rc = run(*db,
             "PRAGMA page_size=%d; PRAGMA auto_vacuum=%d; PRAGMA locking_mode=%s; PRAGMA journal_mode=%s;"
             "PRAGMA synchronous=%s; PRAGMA cache_size=%d; PRAGMA journal_size_limit=%d; PRAGMA mmap_size=%d;"
             "PRAGMA wal_autocheckpoint=%d",
             w->page_size, w->auto_vacuum, w->exclusive ? "exclusive" : "normal", r->journal, w->synchronous,
             w->cache_pages, w->journal_size_limit, w->mmap_bytes, w->autocheckpoint);
  return rc == SQLITE_OK ? rc : broken(*db, "opening", rc);
}

static int stop_reading(writer *r) {
  sqlite3 *db = r->reading;
  r->reading = NULL;
  return db != NULL ? run(db, "COMMIT") : SQLITE_OK;
}

static int open_all(writer *r) {
  int rc = SQLITE_OK;
  for (int i = 0; i < r->w->connections && rc == SQLITE_OK; i++) rc = open_one(r, &r->db[i]);
  return rc;
}

static int close_all(writer *r) {
  int rc = stop_reading(r);
  for (int i = 0; i < r->w->connections && rc == SQLITE_OK; i++) {
    rc = sqlite3_close(r->db[i]);
    r->db[i] = NULL;
  }
  return rc;
}

/* Busy: our reader is in the way, which is no error. */
static int unless_busy(sqlite3 *db, const char *what, int rc) {
  const int code = rc & 0xff;
  if (code == SQLITE_OK || code == SQLITE_BUSY || code == SQLITE_LOCKED) return SQLITE_OK;
  return broken(db, what, rc);
}

static int transaction(writer *r, bool give_up) {
  sqlite3 *db = any(r);
  if (db == r->reading && stop_reading(r) != SQLITE_OK) return SQLITE_ERROR;
  const int n = (int)r->current + 1;
  int rc = run(db, "BEGIN IMMEDIATE");
  if (rc == SQLITE_OK) rc = statements(r->w, db, give_up ? -n : n);
  if (rc == SQLITE_BUSY && r->reading != NULL) { /* a full cache wants the database to itself */
    (void)run(db, "ROLLBACK");
    return stop_reading(r);
  }
  if (rc == SQLITE_OK && give_up) return run(db, "ROLLBACK");
  if (rc == SQLITE_OK) rc = run(db, "COMMIT");
  if (rc == SQLITE_BUSY) {
    rc = stop_reading(r);
    if (rc == SQLITE_OK) rc = run(db, "COMMIT");
  }
  if (rc != SQLITE_OK) return broken(db, "a transaction", rc);
  r->current++;
  report(r, false);
  return SQLITE_OK;
}

static int checkpoint(writer *r) {
  sqlite3 *db = any(r);
  int frames = 0, copied = 0;
  int rc = sqlite3_wal_checkpoint_v2(db, NULL, (int)dice(r, 4), &frames, &copied);
  if (rc == SQLITE_OK && frames >= 0 && frames == copied) report(r, true);
  return unless_busy(db, "a checkpoint", rc);
}

static int read_on(writer *r) {
  if (r->reading != NULL) return stop_reading(r);
  r->reading = any(r);
  return run(r->reading, "BEGIN; SELECT count(*) FROM t");
}

static int vacuum(writer *r) {
  sqlite3 *db = any(r);
  if (db == r->reading && stop_reading(r) != SQLITE_OK) return SQLITE_ERROR;
  return unless_busy(db, "VACUUM", run(db, dice(r, 2) ? "VACUUM" : "PRAGMA incremental_vacuum(3)"));
}

static int reopen(writer *r) {
  if (dice(r, 3) == 0)
    for (int i = 0; i < r->w->connections; i++)
      (void)sqlite3_db_config(r->db[i], SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  int rc = close_all(r);
  return rc == SQLITE_OK ? open_all(r) : rc;
}

static int switch_journal(writer *r) {
  static const char *const journals[] = {"wal", "delete", "wal", "truncate", "wal", "persist"};
  r->journal = journals[dice(r, 6)];
  return unless_busy(r->db[0], "PRAGMA journal_mode", run(r->db[0], "PRAGMA journal_mode=%s", r->journal));
}

static int step(writer *r) {
  const uint64_t kind = dice(r, 100);
  if (r->current == 0 || kind < 66) return transaction(r, false);
  if (kind < 72) return transaction(r, true);
  if (kind < 82) return checkpoint(r);
  if (kind < 90) return r->w->connections > 1 ? read_on(r) : SQLITE_OK;
  if (kind < 93) return vacuum(r);
  if (kind < 96 || !r->w->switches) return kind < 96 ? reopen(r) : SQLITE_OK;
  return switch_journal(r);
}

int workload_run(const workload *w, const char *directory, const disk_log *log, int pipe) {
  writer r = {.w = w, .directory = directory, .log = log, .pipe = pipe, .journal = w->journal};
  r.random = w->seed * 0x2545f4914f6cdd1du + 17;
  int rc = strcmp(w->vfs, "unix") != 0 ? uringvfs_register(0) : SQLITE_OK;
  if (rc == SQLITE_OK) rc = open_all(&r);
  while (rc == SQLITE_OK && r.current < (uint32_t)w->transactions) rc = step(&r);
  if (rc == SQLITE_OK) rc = close_all(&r);
  if (rc != SQLITE_OK)
    fprintf(stderr, "powercut: the writer stopped at transaction %u: %s\n", r.current, sqlite3_errstr(rc));
  return rc == SQLITE_OK ? 0 : 1;
}
