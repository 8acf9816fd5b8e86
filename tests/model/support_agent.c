/*
** support_agent.c - see support_agent.h.
*/
#include "support_agent.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* FNV-1a, eight bytes at a time. */
uint64_t model_hash(uint64_t hash, const void *data, size_t bytes) {
  const uint8_t *p = data;
  uint64_t word;
  for (; bytes >= 8; p += 8, bytes -= 8) {
    memcpy(&word, p, 8);
    hash = (hash ^ word) * 0x100000001b3u;
    hash ^= hash >> 29;
  }
  for (; bytes > 0; p++, bytes--) hash = (hash ^ *p) * 0x100000001b3u;
  return hash;
}

/* ---- rows ---- */

static void take_row(sqlite3_stmt *statement, model_answer *answer) {
  const int columns = sqlite3_column_count(statement);
  for (int i = 0; i < columns; i++) {
    const int type = sqlite3_column_type(statement, i);
    answer->hash = model_hash(answer->hash, &type, sizeof type);
    const void *bytes = type == SQLITE_BLOB ? sqlite3_column_blob(statement, i) : sqlite3_column_text(statement, i);
    if (bytes != NULL) answer->hash = model_hash(answer->hash, bytes, (size_t)sqlite3_column_bytes(statement, i));
  }
  if (answer->rows++ > 0) return;
  const unsigned char *text = sqlite3_column_text(statement, 0);
  snprintf(answer->message, sizeof answer->message, "%.80s", text != NULL ? (const char *)text : "NULL");
}

/* The code of the last step: SQLITE_ROW if `most` came. */
static int take_rows(sqlite3_stmt *statement, int most, model_answer *answer) {
  int rc = SQLITE_ROW;
  while (most-- != 0 && (rc = sqlite3_step(statement)) == SQLITE_ROW) take_row(statement, answer);
  return most == -1 ? SQLITE_ROW : rc;
}

static void fail(model_connection *c, int rc, model_answer *answer) {
  answer->rc = rc;
  if (c->db == NULL) return;
  if (sqlite3_errcode(c->db) == (rc & 0xff)) answer->rc = sqlite3_extended_errcode(c->db);
  snprintf(answer->message, sizeof answer->message, "%.90s", sqlite3_errmsg(c->db));
}

/* ---- orders ---- */

static void do_sql(model_connection *c, const char *text, model_answer *answer) {
  while (*text != 0 && answer->rc == SQLITE_OK) {
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(c->db, text, -1, &statement, &text);
    if (rc == SQLITE_OK && statement != NULL) {
      rc = take_rows(statement, -2, answer);
      if (rc == SQLITE_DONE) rc = SQLITE_OK;
    }
    if (rc != SQLITE_OK) fail(c, rc, answer);
    sqlite3_finalize(statement);
  }
}

static int interrupt(void *unused) {
  (void)unused;
  return 1;
}

static void do_interrupted(model_connection *c, const model_order *order, model_answer *answer) {
  sqlite3_progress_handler(c->db, order->number, interrupt, NULL);
  do_sql(c, order->text, answer);
  sqlite3_progress_handler(c->db, 0, NULL, NULL);
}

static void do_open(model_connection *c, const char *uri, model_answer *answer) {
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
  int rc = c->db != NULL ? SQLITE_MISUSE : sqlite3_open_v2(uri, &c->db, flags, NULL);
  if (rc != SQLITE_OK) fail(c, rc, answer);
}

static void (*snapshot_function(const char *name))(void) {
  void *symbol = dlsym(RTLD_DEFAULT, name);
  void (*function)(void);
  memcpy(&function, &symbol, sizeof function);
  return function;
}

static void snapshot_free(model_connection *c) {
  void (*release)(void *) = (void (*)(void *))snapshot_function("sqlite3_snapshot_free");
  if (c->snapshot != NULL && release != NULL) release(c->snapshot);
  c->snapshot = NULL;
}

static void do_close(model_connection *c, model_answer *answer) {
  snapshot_free(c);
  sqlite3_finalize(c->cursor);
  c->cursor = NULL;
  if (c->db == NULL) return;
  answer->rc = sqlite3_close(c->db);
  c->db = NULL;
}

static void do_cursor(model_connection *c, const model_order *order, model_answer *answer) {
  sqlite3_finalize(c->cursor);
  c->cursor = NULL;
  int rc = sqlite3_prepare_v2(c->db, order->text, -1, &c->cursor, NULL);
  if (rc == SQLITE_OK) rc = take_rows(c->cursor, order->number, answer);
  if (rc != SQLITE_OK && rc != SQLITE_ROW && rc != SQLITE_DONE) fail(c, rc, answer);
}

static void do_cursor_end(model_connection *c, bool rest, model_answer *answer) {
  if (c->cursor != NULL && rest) {
    int rc = take_rows(c->cursor, -2, answer);
    if (rc != SQLITE_DONE) fail(c, rc, answer);
  }
  sqlite3_finalize(c->cursor);
  c->cursor = NULL;
}

static void do_blob(model_connection *c, sqlite3_int64 row, model_answer *answer) {
  sqlite3_blob *blob = NULL;
  int rc = sqlite3_blob_open(c->db, "main", "t", "b", row, 1, &blob);
  char bytes[64] = {0};
  if (rc == SQLITE_OK) rc = sqlite3_blob_read(blob, bytes, sizeof bytes, 10);
  answer->hash = model_hash(answer->hash, bytes, sizeof bytes);
  for (unsigned i = 0; i < sizeof bytes; i++) bytes[i] = (char)('0' + (row + i) % 64);
  if (rc == SQLITE_OK) rc = sqlite3_blob_write(blob, bytes, sizeof bytes, 20);
  if (rc != SQLITE_OK) fail(c, rc, answer);
  int closed = sqlite3_blob_close(blob);
  if (rc == SQLITE_OK && closed != SQLITE_OK) fail(c, closed, answer);
}

static void do_backup(model_connection *c, const model_order *order, model_answer *answer) {
  model_connection source = {0};
  int rc = sqlite3_open_v2(":memory:", &source.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_MEMORY, "unix");
  if (rc == SQLITE_OK) do_sql(&source, order->text, answer);
  sqlite3_backup *backup = rc == SQLITE_OK ? sqlite3_backup_init(c->db, "main", source.db, "main") : NULL;
  if (backup != NULL) {
    (void)sqlite3_backup_step(backup, order->number);
    (void)sqlite3_backup_step(backup, -1);
    rc = sqlite3_backup_finish(backup);
    if (rc != SQLITE_OK) fail(c, rc, answer);
  } else {
    fail(c, sqlite3_errcode(c->db), answer);
  }
  sqlite3_close(source.db);
}

static void do_control(model_connection *c, const model_order *order, model_answer *answer) {
  union {
    int number;
    int64_t wide;
  } value = {.wide = 0};
  if (order->number == SQLITE_FCNTL_SIZE_HINT || order->number == SQLITE_FCNTL_MMAP_SIZE)
    value.wide = order->value;
  else
    value.number = (int)order->value;
  const int rc = sqlite3_file_control(c->db, "main", order->number, &value);
  answer->rc = rc != SQLITE_NOTFOUND ? rc : SQLITE_OK;
  answer->value = value.wide;
  answer->hash = model_hash(answer->hash, &rc, sizeof rc);
  if (order->number != SQLITE_FCNTL_DATA_VERSION) answer->hash = model_hash(answer->hash, &value, sizeof value);
  snprintf(answer->message, sizeof answer->message, "%d, %lld", rc, (long long)value.wide);
}

bool model_has_snapshots(void) { return snapshot_function("sqlite3_snapshot_get") != NULL; }

static void do_snapshot(model_connection *c, model_answer *answer) {
  int (*get)(sqlite3 *, const char *, void **) =
      (int (*)(sqlite3 *, const char *, void **))snapshot_function("sqlite3_snapshot_get");
  int (*open)(sqlite3 *, const char *, void *) =
      (int (*)(sqlite3 *, const char *, void *))snapshot_function("sqlite3_snapshot_open");
  if (get == NULL || open == NULL) return;
  do_sql(c, c->snapshot == NULL ? "BEGIN; SELECT count(*) FROM t" : "BEGIN", answer);
  if (answer->rc != SQLITE_OK) return;
  int rc = c->snapshot == NULL ? get(c->db, "main", &c->snapshot) : open(c->db, "main", c->snapshot);
  if (rc == SQLITE_OK)
    do_sql(c, "SELECT * FROM t", answer);
  else
    fail(c, rc, answer);
  (void)sqlite3_exec(c->db, "COMMIT", NULL, NULL, NULL);
}

void model_agent_do(model_connection *connections, const model_order *order, model_answer *answer) {
  model_connection *c = &connections[order->connection];
  memset(answer, 0, sizeof *answer);
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, order->prng_seed, NULL);
  if (c->db == NULL && order->verb != MODEL_OPEN && order->verb != MODEL_CLOSE) {
    answer->rc = SQLITE_MISUSE; /* opening it has failed */
    return;
  }
  switch (order->verb) {
  case MODEL_OPEN: do_open(c, order->text, answer); break;
  case MODEL_CLOSE: do_close(c, answer); break;
  case MODEL_SQL: do_sql(c, order->text, answer); break;
  case MODEL_INTERRUPTED: do_interrupted(c, order, answer); break;
  case MODEL_CURSOR: do_cursor(c, order, answer); break;
  case MODEL_CURSOR_RESET: do_cursor_end(c, false, answer); break;
  case MODEL_CURSOR_REST: do_cursor_end(c, true, answer); break;
  case MODEL_BLOB: do_blob(c, order->number, answer); break;
  case MODEL_BACKUP: do_backup(c, order, answer); break;
  case MODEL_CONTROL: do_control(c, order, answer); break;
  case MODEL_SNAPSHOT: do_snapshot(c, answer); break;
  case MODEL_END: break;
  }
  if (c->db == NULL) return;
  answer->autocommit = sqlite3_get_autocommit(c->db);
  answer->transaction = sqlite3_txn_state(c->db, NULL);
}

/* ---- other processes ---- */

void model_agent_serve(int socket) {
  static model_connection connections[MODEL_CONNECTIONS];
  model_order order;
  model_answer answer;
  memset(connections, 0, sizeof connections);
  while (recv(socket, &order, sizeof order, 0) == (ssize_t)sizeof order && order.verb != MODEL_END) {
    model_agent_do(connections, &order, &answer);
    if (send(socket, &answer, sizeof answer, MSG_NOSIGNAL) != (ssize_t)sizeof answer) break;
  }
  _exit(0);
}

bool model_agent_ask(int socket, const model_order *order, model_answer *answer) {
  memset(answer, 0, sizeof *answer);
  if (send(socket, order, sizeof *order, MSG_NOSIGNAL) != (ssize_t)sizeof *order) return false;
  return order->verb == MODEL_END || recv(socket, answer, sizeof *answer, 0) == (ssize_t)sizeof *answer;
}

bool model_answers_equal(const model_answer *a, const model_answer *b) {
  return a->rc == b->rc && a->autocommit == b->autocommit && a->transaction == b->transaction && a->rows == b->rows &&
         a->hash == b->hash;
}
