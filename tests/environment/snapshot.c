/*
** snapshot.c - works with the snapshot API (sqlite3_snapshot_get, _open, _cmp, _recover) and prints what comes of it.
** Compiled by test_snapshot.sh together with an amalgamation: Debian's library is built without it.
**
**   snapshot URI-PARAMETERS [EXTENSION]
**
** Works on a.db in the working directory. The last line, on standard error, says how often a ring was used.
*/
#include "sqlite3.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char uri[256];

static sqlite3 *open_database(void) {
  sqlite3 *db = NULL;
  int keep = 1;
  int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  if (rc != SQLITE_OK) {
    fprintf(stderr, "open: %d\n", rc);
    exit(1);
  }
  sqlite3_extended_result_codes(db, 1);
  sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
  return db;
}

static uint64_t hash_row(uint64_t h, sqlite3_stmt *statement) {
  for (int i = 0; i < sqlite3_column_count(statement); i++) {
    const unsigned char *value = sqlite3_column_blob(statement, i);
    for (int k = 0, n = sqlite3_column_bytes(statement, i); k < n; k++) h = (h ^ value[k]) * 1099511628211ULL;
  }
  return h;
}

/* Each statement: code, rows, a hash of them. */
static void say(const char *who, sqlite3 *db, const char *sql) {
  while (*sql != 0) {
    sqlite3_stmt *statement = NULL;
    uint64_t h = 14695981039346656037ULL;
    const char *tail = sql;
    int rows = 0, rc = sqlite3_prepare_v2(db, sql, -1, &statement, &tail);
    for (; statement != NULL && (rc = sqlite3_step(statement)) == SQLITE_ROW; rows++) h = hash_row(h, statement);
    printf("%s: %.*s -> %d, %d rows %llx\n", who, (int)(tail - sql), sql, rc, rows, (unsigned long long)h);
    sqlite3_finalize(statement);
    if (tail == sql) break;
    sql = tail;
  }
}

/* The state of now. */
static sqlite3_snapshot *take(sqlite3 *db) {
  sqlite3_snapshot *snapshot = NULL;
  say("take", db, "BEGIN; SELECT count(*) FROM t");
  int rc = sqlite3_snapshot_get(db, "main", &snapshot);
  printf("get -> %d\n", rc);
  say("take", db, "COMMIT");
  return snapshot;
}

#define READ "SELECT count(*), sum(length(b)) FROM t; SELECT id, b FROM t; SELECT id FROM t ORDER BY id DESC LIMIT 5"

/* In a read transaction of that state, which stays open. */
static void enter(const char *who, sqlite3 *db, sqlite3_snapshot *snapshot) {
  say(who, db, "BEGIN");
  printf("%s: snapshot_open -> %d\n", who, sqlite3_snapshot_open(db, "main", snapshot));
  say(who, db, READ);
}

static void change(sqlite3 *db, int n) {
  char sql[300];
  snprintf(sql, sizeof(sql),
           "INSERT INTO t(b) VALUES(randomblob(150000)); BEGIN; UPDATE t SET b=randomblob(3000+%d) WHERE id%%%d=1; "
           "COMMIT; BEGIN; "
           "UPDATE t SET b=1; ROLLBACK; DELETE FROM t WHERE id=%d",
           n, n + 1, 2 * n);
  say("change", db, sql);
}

static void work(sqlite3 *db, sqlite3 *reader) {
  sqlite3_snapshot *states[4];
  say("change", db,
      "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=5; CREATE TABLE t(id INTEGER PRIMARY "
      "KEY, b); "
      "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<200) INSERT INTO t SELECT i, randomblob(2000) FROM "
      "c");
  say("reader", reader, "PRAGMA cache_size=5; PRAGMA wal_autocheckpoint=0");
  for (int i = 0; i < 4; i++) {
    change(db, i + 1);
    states[i] = take(db);
  }
  printf("cmp -> %d %d\n", sqlite3_snapshot_cmp(states[0], states[3]) < 0, sqlite3_snapshot_cmp(states[2], states[2]));
  for (int i = 0; i < 4; i++) {
    enter("reader", reader, states[i]);
    say("reader", reader, "INSERT INTO t(b) VALUES(1)"); /* SQLITE_BUSY_SNAPSHOT, but for the last */
    say("reader", reader, "ROLLBACK");
  }
  enter("reader", reader, states[1]);
  change(db, 5);
  say("change", db, "PRAGMA wal_checkpoint(PASSIVE)"); /* no further than the reader's state */
  say("reader", reader, READ "; COMMIT");
  enter("reader", reader, states[0]); /* SQLITE_ERROR_SNAPSHOT: the checkpoint went beyond */
  say("reader", reader, "COMMIT");
  enter("reader", reader, states[2]);
  printf("reader: from one to another -> %d\n", sqlite3_snapshot_open(reader, "main", states[3]));
  say("reader", reader, READ "; COMMIT");
  say("change", db, "PRAGMA wal_checkpoint(RESTART)");
  change(db, 6); /* the WAL begins anew */
  enter("reader", reader, states[3]);
  say("reader", reader, "COMMIT; " READ);
  for (int i = 0; i < 4; i++) sqlite3_snapshot_free(states[i]);
}

/* The WAL outlives the connections; after they are gone a state in it is found again by sqlite3_snapshot_recover only.
** */
static void work_anew(sqlite3_snapshot *state) {
  sqlite3 *db = open_database();
  say("anew", db, "SELECT count(*) FROM t");
  printf("recover -> %d\n", sqlite3_snapshot_recover(db, "main"));
  enter("anew", db, state);
  say("anew", db, "COMMIT; PRAGMA integrity_check; PRAGMA wal_checkpoint(TRUNCATE)");
  sqlite3_close(db);
}

static long long rings_used(sqlite3 *db) {
  sqlite3_stmt *statement = NULL;
  long long enters = 0;
  if (sqlite3_prepare_v2(db, "PRAGMA uring_stats", -1, &statement, NULL) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW) {
    const char *text = strstr((const char *)sqlite3_column_text(statement, 0), "\"enters\":");
    if (text != NULL) enters = atoll(text + strlen("\"enters\":"));
  }
  sqlite3_finalize(statement);
  return enters;
}

int main(int argc, char **argv) {
  sqlite3 *loader = NULL;
  char *message = NULL;
  if (argc < 2 || sqlite3_open(":memory:", &loader) != SQLITE_OK) return 1;
  sqlite3_enable_load_extension(loader, 1);
  if (argc > 2 && sqlite3_load_extension(loader, argv[2], NULL, &message) != SQLITE_OK) {
    fprintf(stderr, "load: %s\n", message);
    return 1;
  }
  snprintf(uri, sizeof(uri), "file:a.db?%s", argv[1]);
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 4711, NULL);
  sqlite3 *db = open_database(), *reader = open_database();
  work(db, reader);
  change(db, 7);
  sqlite3_snapshot *state = take(reader);
  change(db, 8);
  fprintf(stderr, "%lld\n", rings_used(db));
  sqlite3_close(reader);
  sqlite3_close(db);
  work_anew(state);
  sqlite3_snapshot_free(state);
  sqlite3_close(loader);
  return 0;
}
