/*
** support_workload.c - see support_workload.h.
*/
#include "support_workload.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support_disk.h"
#include "rows.h"

const char *const crash_journal_names[J_COUNT] = {"wal", "delete", "truncate", "persist", "memory", "off"};
const char *const crash_sync_names[SYNC_COUNT] = {"off", "normal", "full", "extra"};
const char *const crash_database_names[CRASH_DATABASES] = {"main.db", "aux.db"};

static const char *const schemas[CRASH_DATABASES] = {"main", "aux"};

typedef struct workload {
  const crash_config *c;
  const char *directory;
  crash_states *states;
  crash_workload_result *result;
  sqlite3 *writer[2];
  sqlite3 *reader;
  sqlite3 *reference;
  bool reading;
  int reader_state;
  uint64_t random;
  int current; /* the state that connections see */
} workload;

/* ---- configuration ---- */

void crash_config_from_seed(crash_config *c, uint64_t seed, int steps) {
  static const int page_sizes[] = {4096, 512, 1024, 65536};
  uint64_t random = seed * 77777 + 1;
  c->seed = seed;
  c->journal = (crash_journal)(seed % J_COUNT);
  c->sync = (crash_sync)(seed / J_COUNT % SYNC_COUNT);
  c->page_size = page_sizes[seed / (J_COUNT * SYNC_COUNT) % 4];
  if (seed >= 96 && c->page_size == 65536 && splitmix64(&random) % 4 != 0) c->page_size = 8192;
  c->exclusive = splitmix64(&random) % 5 == 0;
  c->attached = splitmix64(&random) % 3 == 0;
  c->writers = c->exclusive ? 1 : 1 + (int)(splitmix64(&random) % 2);
  c->cache_pages = splitmix64(&random) % 2 ? 6 : 200;
  c->autocheckpoint = (const int[]){0, 5, 25, 1000}[splitmix64(&random) % 4];
  c->journal_size_limit = (const int[]){-1, -1, 0, 3000}[splitmix64(&random) % 4];
  c->auto_vacuum = (int)(splitmix64(&random) % 3);
  c->mmap_bytes = splitmix64(&random) % 5 == 0 ? 1 << 20 : 0;
  /* Faults need a rollback that is defined, and an outcome that is the same for all databases. */
  c->faults = c->journal != J_MEMORY && c->journal != J_OFF && splitmix64(&random) % 5 < 2 &&
              !(c->attached && c->sync == SYNC_OFF);
  c->steps = steps;
}

void crash_config_print(const crash_config *c, char *text, size_t text_bytes) {
  snprintf(text, text_bytes,
           "seed %llu: %s on %s, %s, synchronous=%s, page %d%s%s, %d writer%s, cache %d, autocheckpoint %d, "
           "journal_size_limit %d, auto_vacuum %d%s%s",
           (unsigned long long)c->seed, c->vfs, c->backend, crash_journal_names[c->journal], crash_sync_names[c->sync],
           c->page_size, c->exclusive ? ", exclusive" : "", c->attached ? ", attached" : "", c->writers,
           c->writers > 1 ? "s" : "", c->cache_pages, c->autocheckpoint, c->journal_size_limit, c->auto_vacuum,
           c->mmap_bytes != 0 ? ", mmap" : "", c->faults ? ", faults" : "");
}

/* ---- small things ---- */

static uint64_t dice(workload *w, uint64_t sides) { return splitmix64(&w->random) % sides; }

__attribute__((format(printf, 2, 3))) static void failed(workload *w, const char *format, ...) {
  if (w->result->error[0] != 0) return;
  va_list args;
  va_start(args, format);
  vsnprintf(w->result->error, sizeof w->result->error, format, args);
  va_end(args);
}

static bool broken(const workload *w) { return w->result->error[0] != 0; }

/* Takes sql, from sqlite3_mprintf. */
static int run(workload *w, sqlite3 *db, char *sql) {
  if (w->c->verbose)
    printf("    %s: %s\n", db == w->writer[0] ? "first" : db == w->writer[1] ? "second" : "reader", sql);
  int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  if (w->c->verbose && rc != SQLITE_OK) printf("    -> %d: %s\n", rc, sqlite3_errmsg(db));
  sqlite3_free(sql);
  return rc;
}

static void run_reference(workload *w, const char *sql) {
  char *message = NULL;
  if (sqlite3_exec(w->reference, sql, NULL, NULL, &message) != SQLITE_OK)
    failed(w, "the reference refused: %s: %s", sql, message);
  sqlite3_free(message);
}

/* On the database and, if that went well, on the reference. */
static int both(workload *w, sqlite3 *db, char *sql) {
  char *copy = sqlite3_mprintf("%s", sql);
  int rc = run(w, db, sql);
  if (rc == SQLITE_OK) run_reference(w, copy);
  sqlite3_free(copy);
  return rc;
}

/* ---- content ---- */

static int hash_rows(sqlite3 *db, char *sql, uint64_t *hash, int *last) {
  sqlite3_stmt *stmt = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
  sqlite3_free(sql);
  if (rc != SQLITE_OK) return rc;
  while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    if (last != NULL) *last = sqlite3_column_int(stmt, 0);
    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
      if (sqlite3_column_type(stmt, i) == SQLITE_INTEGER) {
        const sqlite3_int64 value = sqlite3_column_int64(stmt, i);
        *hash = crash_hash(*hash, &value, sizeof value);
      } else {
        const void *blob = sqlite3_column_blob(stmt, i);
        *hash = crash_hash(*hash + 1, blob, (size_t)sqlite3_column_bytes(stmt, i));
      }
    }
  }
  int final = sqlite3_finalize(stmt);
  return rc == SQLITE_DONE ? SQLITE_OK : final;
}

int crash_content(sqlite3 *db, const char *schema, uint64_t *content, int *last_transaction) {
  int tables = 0;
  uint64_t hash = 0;
  *content = 0;
  *last_transaction = 0;
  int rc = hash_rows(db, sqlite3_mprintf("SELECT count(*) FROM %s.sqlite_schema", schema), &hash, &tables);
  if (rc != SQLITE_OK || tables == 0) return rc;
  hash = (uint64_t)tables;
  rc = hash_rows(db, sqlite3_mprintf("SELECT seq, info FROM %s.log ORDER BY seq", schema), &hash, last_transaction);
  if (rc == SQLITE_OK)
    rc = hash_rows(db, sqlite3_mprintf("SELECT id, seq, k, body FROM %s.t ORDER BY id", schema), &hash, NULL);
  *content = hash;
  return rc;
}

static int databases(const workload *w) { return w->c->attached ? 2 : 1; }

static void reference_state(workload *w, int n) {
  int last;
  for (int i = 0; i < databases(w); i++)
    if (crash_content(w->reference, schemas[i], &w->states->content[n][i], &last) != SQLITE_OK)
      failed(w, "reading the reference: %s", sqlite3_errmsg(w->reference));
}

/* Does db show state n? */
static bool shows(workload *w, sqlite3 *db, int n) {
  for (int i = 0; i < databases(w); i++) {
    uint64_t content;
    int last;
    if (db == w->reader && i > 0) break; /* which has nothing attached */
    int rc = crash_content(db, schemas[i], &content, &last);
    if (rc != SQLITE_OK) {
      failed(w, "reading %s: %d %s", schemas[i], rc, sqlite3_errmsg(db));
      return false;
    }
    if (content != w->states->content[n][i]) return false;
  }
  return true;
}

/* ---- opening and closing ---- */

static sqlite3 *open_one(workload *w, bool attach) {
  const crash_config *c = w->c;
  sqlite3 *db = NULL;
  char *uri = sqlite3_mprintf("file:%s/main.db?uring_backend=%s", w->directory, c->backend);
  int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, c->vfs);
  sqlite3_free(uri);
  if (rc == SQLITE_OK) rc = rows_add_body(db);
  if (rc == SQLITE_OK && attach)
    rc = run(w, db, sqlite3_mprintf("ATTACH 'file:%s/aux.db?uring_backend=%s' AS aux", w->directory, c->backend));
  for (int i = 0; rc == SQLITE_OK && i < (attach ? 2 : 1); i++) {
    const char *s = schemas[i];
    rc = run(w, db,
             sqlite3_mprintf("PRAGMA %s.page_size=%d; PRAGMA %s.auto_vacuum=%d; PRAGMA %s.locking_mode=%s;"
                             "PRAGMA %s.journal_mode=%s; PRAGMA %s.synchronous=%s; PRAGMA %s.cache_size=%d;"
                             "PRAGMA %s.journal_size_limit=%d; PRAGMA %s.mmap_size=%d;",
                             s, c->page_size, s, c->auto_vacuum, s, c->exclusive ? "exclusive" : "normal", s,
                             crash_journal_names[c->journal], s, crash_sync_names[c->sync], s, c->cache_pages, s,
                             c->journal_size_limit, s, c->mmap_bytes));
  }
  if (rc == SQLITE_OK) rc = run(w, db, sqlite3_mprintf("PRAGMA wal_autocheckpoint=%d", c->autocheckpoint));
  if (rc != SQLITE_OK) failed(w, "opening: %d %s", rc, sqlite3_errmsg(db));
  return db;
}

static void open_all(workload *w) {
  for (int i = 0; i < w->c->writers && !broken(w); i++) w->writer[i] = open_one(w, w->c->attached);
  if (!w->c->exclusive && !broken(w)) w->reader = open_one(w, false);
}

static void close_one(workload *w, sqlite3 **db) {
  if (*db == NULL) return;
  int rc = sqlite3_close(*db);
  if (rc != SQLITE_OK) {
    failed(w, "closing: %d %s", rc, sqlite3_errmsg(*db));
    sqlite3_close_v2(*db);
  }
  *db = NULL;
}

static void close_all(workload *w) {
  close_one(w, &w->reader);
  close_one(w, &w->writer[1]);
  close_one(w, &w->writer[0]);
}

/* ---- the reader ---- */

static void reader_begin(workload *w) {
  int rc = run(w, w->reader, sqlite3_mprintf("BEGIN"));
  w->reading = true;
  w->reader_state = w->current;
  if (rc != SQLITE_OK || !shows(w, w->reader, w->current)) failed(w, "a new reader does not see state %d", w->current);
}

static void reader_end(workload *w) {
  if (!w->reading) return;
  w->reading = false;
  if (!shows(w, w->reader, w->reader_state)) failed(w, "a reader no longer sees its state %d", w->reader_state);
  (void)run(w, w->reader, sqlite3_mprintf("COMMIT"));
}

/* ---- transactions ---- */

/* An injected fault made something fail: that is fine, and over. Otherwise it is a finding. */
static bool excused(workload *w, int rc, const char *what, sqlite3 *db) {
  if (crash_recorder_fault_off() > 0) {
    w->result->failures++;
    return true;
  }
  failed(w, "%s: %d %s", what, rc, sqlite3_errmsg(db));
  return false;
}

static void roll_back(workload *w, sqlite3 *db) {
  if (!sqlite3_get_autocommit(db)) {
    int rc = run(w, db, sqlite3_mprintf("ROLLBACK"));
    if (rc != SQLITE_OK && !sqlite3_get_autocommit(db)) (void)excused(w, rc, "ROLLBACK", db);
  }
  run_reference(w, "ROLLBACK");
}

/* The transaction is in the reference, open. `sql` commits it in the database. */
static void commit(workload *w, sqlite3 *db, int n, bool sync_fault, const char *sql) {
  reference_state(w, n);
  crash_recorder_mark(MARK_BEGIN, n);
  int rc = run(w, db, sqlite3_mprintf("%s", sql));
  if (rc == SQLITE_BUSY && w->reading) {
    reader_end(w);
    rc = run(w, db, sqlite3_mprintf("%s", sql));
  }
  if (rc == SQLITE_OK) {
    run_reference(w, "COMMIT");
    w->current = n;
    w->result->transactions++;
    crash_recorder_mark(MARK_ACK, n);
    return;
  }
  if (!excused(w, rc, "COMMIT", db)) return;
  if (!sqlite3_get_autocommit(db)) (void)run(w, db, sqlite3_mprintf("ROLLBACK"));
  if (shows(w, db, w->current)) {
    run_reference(w, "ROLLBACK");
    crash_recorder_mark(sync_fault ? MARK_MAYBE : MARK_NEVER, n);
  } else if (sync_fault && shows(w, db, n)) {
    run_reference(w, "COMMIT");
    w->current = n;
    crash_recorder_mark(MARK_WEAK, n);
  } else {
    failed(w, "after transaction %d failed, neither the state before nor that after it is there", n);
  }
}

static int reference_rows(workload *w, const char *schema) {
  int rows = 0;
  uint64_t ignored = 0;
  (void)hash_rows(w->reference, sqlite3_mprintf("SELECT count(*) FROM %s.t", schema), &ignored, &rows);
  return rows;
}

static int change(workload *w, sqlite3 *db, int n, const char *schema, bool large) {
  const int page = w->c->page_size;
  const int limit = large ? 400 : 60;
  const int longest = dice(w, 6) == 0 ? (page < 8192 ? 3 * page : page + 100) : 200;
  const int bytes = 16 + (int)dice(w, (uint64_t)longest);
  if (reference_rows(w, schema) > limit && dice(w, 3) != 0)
    return both(w, db, sqlite3_mprintf("DELETE FROM %s.t WHERE id %% 3 <> %d", schema, (int)dice(w, 3)));
  switch (dice(w, 5)) {
  case 0:
    return both(w, db,
                sqlite3_mprintf("UPDATE %s.t SET seq=%d, body=body(%d,id,%d) WHERE id %% 5 = %d", schema, n, n, bytes,
                                (int)dice(w, 5)));
  case 1:
    return both(w, db,
                sqlite3_mprintf("UPDATE %s.t SET k=(k*31+%d)%%1000 WHERE id %% 7 = %d", schema, n, (int)dice(w, 7)));
  case 2: return both(w, db, sqlite3_mprintf("DELETE FROM %s.t WHERE id %% 9 = %d", schema, (int)dice(w, 9)));
  default: {
    /* A large one is more than its cache holds, a huge one more than the VFS collects at a time. */
    int total = large ? (page >= 8192 ? 12 * page : 30 * page) : 600;
    if (total > 250000) total = 250000;
    if (large && page == 4096 && w->c->seed % 16 == 0) total = 1300000;
    const int rows = 1 + (large ? total / bytes : (int)dice(w, 4));
    return both(w, db,
                sqlite3_mprintf("WITH c(i) AS (VALUES(0) UNION ALL SELECT i+1 FROM c WHERE i<%d)"
                                "INSERT INTO %s.t(seq,k,body) SELECT %d,(i*104729+%d)%%1000,body(%d,i,%d) FROM c",
                                (rows > 400 ? 400 : rows) - 1, schema, n, n, n, rows > 400 ? total / 400 : bytes));
  }
  }
}

static int insert_log(workload *w, sqlite3 *db, int n, const char *schema) {
  return both(w, db, sqlite3_mprintf("INSERT INTO %s.log VALUES(%d, body(%d,-1,20))", schema, n, n));
}

static int statements(workload *w, sqlite3 *db, int n, bool both_databases, bool large) {
  const bool log_first = dice(w, 2);
  int rc = SQLITE_OK;
  for (int i = 0; i <= (int)both_databases && rc == SQLITE_OK; i++)
    if (log_first) rc = insert_log(w, db, n, schemas[i]);
  for (uint64_t left = 1 + dice(w, 3); left > 0 && rc == SQLITE_OK; left--) {
    const char *schema = schemas[both_databases && dice(w, 2)];
    const bool savepoint = w->c->journal != J_OFF && dice(w, 4) == 0;
    if (!savepoint) {
      rc = change(w, db, n, schema, large);
      continue;
    }
    rc = both(w, db, sqlite3_mprintf("SAVEPOINT s"));
    if (rc == SQLITE_OK) rc = change(w, db, n, schema, large);
    if (rc == SQLITE_OK && dice(w, 2)) rc = both(w, db, sqlite3_mprintf("ROLLBACK TO s"));
    if (rc == SQLITE_OK && dice(w, 2)) rc = change(w, db, n, schema, false);
    if (rc == SQLITE_OK) rc = both(w, db, sqlite3_mprintf("RELEASE s"));
  }
  for (int i = 0; i <= (int)both_databases && rc == SQLITE_OK; i++)
    if (!log_first) rc = insert_log(w, db, n, schemas[i]);
  return rc;
}

static sqlite3 *some_writer(workload *w) { return w->writer[dice(w, (uint64_t)w->c->writers)]; }

static int next_state(workload *w) {
  if (w->states->count == CRASH_MAX_STATES) failed(w, "too many transactions for one run");
  return broken(w) ? 0 : w->states->count++;
}

static void transaction(workload *w, bool large, bool sync_fault) {
  const int n = next_state(w);
  sqlite3 *db = some_writer(w);
  const bool both_databases = w->c->attached && dice(w, 2);
  const bool give_up = w->c->journal != J_OFF && dice(w, 6) == 0;
  if (n == 0) return;
  /* In WAL mode the first database is committed when the second one fails (vdbeaux.c, vdbeCommit): no state of ours. */
  if (both_databases && w->c->journal == J_WAL) (void)crash_recorder_fault_off();
  int rc = both(w, db, sqlite3_mprintf("BEGIN"));
  if (rc == SQLITE_OK) rc = statements(w, db, n, both_databases, large);
  if (rc != SQLITE_OK) {
    if (excused(w, rc, "a statement", db)) {
      roll_back(w, db);
      crash_recorder_mark(MARK_NEVER, n);
    }
    return;
  }
  if (give_up) {
    roll_back(w, db);
    crash_recorder_mark(MARK_NEVER, n);
    return;
  }
  if (dice(w, 3) == 0) {
    /* What was written in this transaction, and may be collected still, is read back. */
    reference_state(w, n);
    if (!shows(w, db, n)) failed(w, "transaction %d does not see its own writes", n);
  }
  commit(w, db, n, sync_fault, "COMMIT");
}

static void autocommit(workload *w, bool sync_fault) {
  const int n = next_state(w);
  sqlite3 *db = some_writer(w);
  char sql[128];
  if (n == 0) return;
  snprintf(sql, sizeof sql, "INSERT INTO main.log VALUES(%d, body(%d,-1,20))", n, n);
  run_reference(w, "BEGIN");
  run_reference(w, sql);
  commit(w, db, n, sync_fault, sql);
}

static void create_schema(workload *w) {
  const int n = next_state(w);
  int rc = both(w, w->writer[0], sqlite3_mprintf("BEGIN"));
  for (int i = 0; i < databases(w) && rc == SQLITE_OK; i++) {
    const char *s = schemas[i];
    rc = both(w, w->writer[0],
              sqlite3_mprintf("CREATE TABLE %s.log(seq INTEGER PRIMARY KEY, info BLOB);"
                              "CREATE TABLE %s.t(id INTEGER PRIMARY KEY, seq INT, k INT, body BLOB);"
                              "CREATE INDEX %s.t_k ON t(k, seq);"
                              "CREATE TRIGGER %s.log_t AFTER INSERT ON log BEGIN"
                              " INSERT INTO t(seq,k,body) VALUES(new.seq, new.seq*31%%1000, new.info); END;",
                              s, s, s, s));
    if (rc == SQLITE_OK) rc = insert_log(w, w->writer[0], n, s);
  }
  if (rc != SQLITE_OK)
    failed(w, "creating the tables: %d %s", rc, sqlite3_errmsg(w->writer[0]));
  else
    commit(w, w->writer[0], n, false, "COMMIT");
}

/* ---- other steps ---- */

static void checkpoint(workload *w) {
  sqlite3 *db = some_writer(w);
  const int mode = (int)dice(w, 4);
  if (w->c->verbose) printf("    checkpoint %d\n", mode);
  int rc = sqlite3_wal_checkpoint_v2(db, NULL, mode, NULL, NULL);
  if (rc != SQLITE_OK && rc != SQLITE_BUSY && rc != SQLITE_LOCKED) (void)excused(w, rc, "a checkpoint", db);
}

static void vacuum(workload *w) {
  sqlite3 *db = some_writer(w);
  if (w->c->journal != J_WAL) reader_end(w);
  char *sql = w->c->auto_vacuum == 2 && dice(w, 2)
                  ? sqlite3_mprintf("PRAGMA incremental_vacuum(3)")
                  : sqlite3_mprintf("VACUUM %s", schemas[w->c->attached && dice(w, 2)]);
  int rc = run(w, db, sql);
  if (rc != SQLITE_OK) (void)excused(w, rc, "VACUUM", db);
}

static void reopen(workload *w) {
  reader_end(w);
  if (dice(w, 3) == 0)
    for (int i = 0; i < w->c->writers; i++)
      (void)sqlite3_db_config(w->writer[i], SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  close_all(w);
  if (!broken(w)) open_all(w);
}

static void step(workload *w) {
  const bool wal = w->c->journal == J_WAL;
  const uint64_t kind = dice(w, 100);
  const bool fault = w->c->faults && dice(w, 3) == 0;
  const bool sync = dice(w, 3) == 0;
  const int fault_code = sync ? SQLITE_IOERR_FSYNC : dice(w, 2) ? SQLITE_FULL : SQLITE_IOERR_WRITE;
  const int late = (int)dice(w, dice(w, 2) ? 4 : 25);
  const int nth = 1 + (sync ? late % 3 : late); /* a step has many writes and few syncs */
  const bool for_ever = dice(w, 2), partial = dice(w, 2);
  const bool reopens = kind >= 92;
  if (fault && !reopens) crash_recorder_fault(sync, nth, fault_code, for_ever, partial);
  if (kind < 40)
    transaction(w, false, sync);
  else if (kind < 54)
    transaction(w, true, sync);
  else if (kind < 64)
    autocommit(w, sync);
  else if (kind < 76 && wal)
    checkpoint(w);
  else if (kind < 86 && w->reader != NULL)
    w->reading ? reader_end(w) : reader_begin(w);
  else if (kind < 92)
    vacuum(w);
  else
    reopen(w);
  (void)crash_recorder_fault_off();
  crash_recorder_mark(MARK_IDLE, w->current);
}

void crash_workload_run(const crash_config *config, const char *directory, crash_states *states,
                        crash_workload_result *result) {
  workload w = {.c = config, .directory = directory, .states = states, .result = result};
  w.random = config->seed * 0x2545f4914f6cdd1du + 17;
  memset(result, 0, sizeof *result);
  memset(states, 0, sizeof *states);
  states->count = 1; /* the empty one */
  if (sqlite3_open_v2(":memory:", &w.reference, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix") != SQLITE_OK ||
      rows_add_body(w.reference) != SQLITE_OK)
    failed(&w, "the reference cannot be opened");
  if (config->attached) run_reference(&w, "ATTACH ':memory:' AS aux");
  if (!broken(&w)) open_all(&w);
  if (!broken(&w)) create_schema(&w);
  crash_recorder_mark(MARK_IDLE, w.current);
  for (int i = 0; i < config->steps && !broken(&w); i++) step(&w);
  if (!broken(&w)) reader_end(&w);
  if (!broken(&w) && !shows(&w, w.writer[0], w.current)) failed(&w, "at the end state %d is not there", w.current);
  close_all(&w);
  crash_recorder_mark(MARK_IDLE, w.current);
  sqlite3_close(w.reference);
  const char *publish = crash_recorder_publish_error(&result->published);
  if (publish != NULL) failed(&w, "%s", publish);
}
