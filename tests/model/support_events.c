/*
** support_events.c - see support_events.h.
**
** Every event may come at any time. Where SQLite refuses it (a journal mode within a transaction, COMMIT without one),
** it must refuse it on both sides alike.
*/
#include "support_events.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

const char *model_row_text(const model_side *s, char letter) {
  static char text[64];
  snprintf(text, sizeof text, "printf('%%.*c',%d,'%c')", s->setup->page_bytes * 68 / 100, letter);
  return text;
}

/* Far more pages than the cache has. */
static int spill(model_side *s, unsigned v) {
  return side_main(s, "UPDATE t SET n=n+%u, b=%s WHERE a%%3<>%u", v + 1, model_row_text(s, (char)('A' + v % 26)),
                   v % 3);
}

static bool in_transaction(const model_side *s) {
  const model_connection *c = &s->connections[MODEL_MAIN];
  return c->db != NULL && !sqlite3_get_autocommit(c->db);
}

/* ---- modes ---- */

#define JOURNAL_MODE(mode)                                                                                             \
  static void journal_##mode(model_side *s, unsigned v) {                                                              \
    (void)v;                                                                                                           \
    (void)side_main(s, "PRAGMA journal_mode=" #mode);                                                                  \
  }
JOURNAL_MODE(wal)
JOURNAL_MODE(delete)
JOURNAL_MODE(truncate)
JOURNAL_MODE(persist)
JOURNAL_MODE(memory)
JOURNAL_MODE(off)

static void exclusive(model_side *s, unsigned v) {
  (void)side_main(s, "PRAGMA locking_mode=exclusive");
  if (v % 3 == 1) (void)side_main(s, "SELECT count(*) FROM t");
  if (v % 3 == 2) (void)side_main(s, "UPDATE t SET n=n+1 WHERE a=%u", 1 + v % 50);
}

static void normal(model_side *s, unsigned v) {
  (void)side_main(s, "PRAGMA locking_mode=normal");
  if (v % 4 != 0) (void)side_main(s, "SELECT count(*) FROM t WHERE a<%u", v);
}

static void reopen(model_side *s, unsigned v) {
  (void)v;
  side_close_main(s);
  side_open_main(s, false);
}

static void reopen_exclusive(model_side *s, unsigned v) {
  (void)v;
  side_close_main(s);
  side_open_main(s, true);
}

#define SYNCHRONOUS(level)                                                                                             \
  static void sync_##level(model_side *s, unsigned v) {                                                                \
    (void)side_main(s, "PRAGMA synchronous=" #level);                                                                  \
    if (v % 2) (void)side_main(s, "UPDATE t SET n=n+1 WHERE a=%u", 1 + v % 50);                                        \
  }
SYNCHRONOUS(off)
SYNCHRONOUS(normal)
SYNCHRONOUS(full)
SYNCHRONOUS(extra)

static void mmap_on(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "PRAGMA mmap_size=67108864");
}

static void mmap_off(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "PRAGMA mmap_size=0");
}

static void autocheckpoint(model_side *s, unsigned v) {
  static const int pages[] = {3, 1000, 0, 20};
  (void)v;
  (void)side_main(s, "PRAGMA wal_autocheckpoint=%d", pages[s->autocheckpoint++ % 4]);
}

static void size_limit(model_side *s, unsigned v) {
  (void)side_main(s, "PRAGMA journal_size_limit=%d", v % 2 ? 0 : s->setup->page_bytes * 8);
}

/* ---- transactions ---- */

static void read_all(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "SELECT * FROM t");
}

static void small_write(model_side *s, unsigned v) {
  (void)side_main(s, "UPDATE t SET n=n+1, b=%s WHERE a=%u", model_row_text(s, (char)('a' + v % 26)), 1 + v % 80);
}

static void spill_write(model_side *s, unsigned v) { (void)spill(s, v); }

static void spill_rollback(model_side *s, unsigned v) {
  (void)side_main(s, "BEGIN");
  (void)spill(s, v);
  (void)side_main(s, "ROLLBACK");
}

static void savepoint_release(model_side *s, unsigned v) {
  (void)side_main(s, "SAVEPOINT outer_one; UPDATE t SET n=n-1 WHERE a<%u; SAVEPOINT one", 1 + v % 9);
  (void)spill(s, v);
  (void)side_main(s, "ROLLBACK TO one; UPDATE t SET n=n+7 WHERE a>%u", 60 + v % 9);
  (void)spill(s, v + 1);
  (void)side_main(s, "RELEASE outer_one");
}

static void savepoint_rollback(model_side *s, unsigned v) {
  (void)side_main(s, "SAVEPOINT one");
  (void)spill(s, v);
  (void)side_main(s, "ROLLBACK TO one");
  if (v % 2) (void)side_main(s, "UPDATE t SET n=n+3 WHERE a=%u", 1 + v % 80);
  (void)side_main(s, "RELEASE one");
}

static void begin_spill(model_side *s, unsigned v) {
  (void)side_main(s, v % 3 ? "BEGIN" : "BEGIN IMMEDIATE");
  (void)spill(s, v);
  if (v % 2) (void)side_main(s, "SELECT sum(n), max(b) FROM t");
  if (v % 4 == 2) side_peek(s);
}

static void begin_read(model_side *s, unsigned v) { (void)side_main(s, "BEGIN; SELECT sum(n) FROM t WHERE a>%u", v); }

static void commit(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "COMMIT");
}

static void rollback(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "ROLLBACK");
}

static void grow(model_side *s, unsigned v) {
  (void)side_main(
      s, "INSERT INTO t(n,b) WITH c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i<%u) SELECT i, %s FROM c",
      5 + v % 30, model_row_text(s, 'g'));
}

static void shrink(model_side *s, unsigned v) {
  (void)side_main(s, "DELETE FROM t WHERE a>%u", 50 + v % 40);
  if (v % 2) (void)side_main(s, "PRAGMA incremental_vacuum");
}

static void vacuum(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "VACUUM");
}

static void user_version(model_side *s, unsigned v) { (void)side_main(s, "PRAGMA user_version=%u", v); }

static void blob_write(model_side *s, unsigned v) {
  (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_BLOB, (int)(1 + v % 80), 0, "blob");
}

static void backup_into(model_side *s, unsigned v) {
  char text[MODEL_TEXT];
  snprintf(text, sizeof text,
           "PRAGMA page_size=%d; CREATE TABLE t(a INTEGER PRIMARY KEY, n INT, b TEXT); INSERT INTO t "
           "WITH c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i<%u) SELECT i, i*i, %s FROM c",
           s->setup->page_bytes, 70 + v % 20, model_row_text(s, 'B'));
  (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_BACKUP, (int)(5 + v % 9), 0, text);
}

static void snapshot(model_side *s, unsigned v) {
  (void)v;
  (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_SNAPSHOT, 0, 0, "snapshot");
}

/* ---- statements that do not come to their end ---- */

static void cursor_open(model_side *s, unsigned v) {
  (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_CURSOR, (int)(8 + v % 16), 0, "SELECT a, n, b FROM t");
}

static void cursor_reset(model_side *s, unsigned v) {
  (void)v;
  (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_CURSOR_RESET, 0, 0, "cursor reset");
}

static void cursor_rest(model_side *s, unsigned v) {
  (void)v;
  (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_CURSOR_REST, 0, 0, "cursor to its end");
}

static void interrupted(model_side *s, unsigned v) {
  char text[MODEL_TEXT];
  snprintf(text, sizeof text, "UPDATE t SET n=n+5, b=%s", model_row_text(s, 'I'));
  (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_INTERRUPTED, (int)(150 + v % 8 * 100), 0, text);
}

static void constraint(model_side *s, unsigned v) {
  static const char *const conflict[] = {"", " OR ROLLBACK", " OR FAIL"};
  (void)side_main(s,
                  "INSERT%s INTO t WITH c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i<40) "
                  "SELECT CASE WHEN i=40 THEN 1 ELSE 2000+i END, i, %s FROM c",
                  conflict[v % 3], model_row_text(s, 'K'));
}

static void full(model_side *s, unsigned v) {
  if (v % 2) (void)side_main(s, "BEGIN; UPDATE t SET n=n+1 WHERE a<40");
  (void)side_main(s, "PRAGMA max_page_count=1");
  (void)side_main(
      s, "INSERT INTO t(n,b) WITH c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i<90) SELECT i, %s FROM c",
      model_row_text(s, 'F'));
  (void)side_main(s, "PRAGMA max_page_count=100000");
  if (v % 4 == 1) (void)side_main(s, "ROLLBACK");
  if (v % 4 == 3) (void)side_main(s, "COMMIT");
}

static uint64_t file_limit;

void model_set_file_limit(uint64_t bytes) { file_limit = bytes; }

static void io_error(model_side *s, unsigned v) {
  struct rlimit unlimited, limit;
  /* A cursor keeps the connection in the state that the error has left, which is another one where it came earlier. */
  (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_CURSOR_RESET, 0, 0, "cursor reset");
  getrlimit(RLIMIT_FSIZE, &unlimited);
  limit = unlimited;
  limit.rlim_cur = (rlim_t)(file_limit + (v % 4) * 3 * (uint64_t)s->setup->page_bytes);
  if (!in_transaction(s)) (void)side_main(s, "BEGIN");
  setrlimit(RLIMIT_FSIZE, &limit);
  (void)spill(s, v);
  (void)side_main(s, "COMMIT");
  setrlimit(RLIMIT_FSIZE, &unlimited);
  if (in_transaction(s)) (void)side_main(s, "ROLLBACK");
}

/* ---- other connections ---- */

static void second_read(model_side *s, unsigned v) {
  (void)v;
  side_second(s, "SELECT * FROM t");
}

static void second_write(model_side *s, unsigned v) {
  char text[MODEL_TEXT];
  snprintf(text, sizeof text, "UPDATE t SET n=n+11, b=%s WHERE a%%%u=0", model_row_text(s, '2'), 2 + v % 5);
  side_second(s, text);
}

/* It begins to read, or reads the same again and ends. */
static void second_holds(model_side *s, unsigned v) {
  const model_connection *c = &s->connections[MODEL_SECOND];
  (void)v;
  side_second(s, c->db != NULL && !sqlite3_get_autocommit(c->db) ? "SELECT * FROM t; COMMIT"
                                                                 : "BEGIN; SELECT count(*) FROM t");
}

static void second_closes(model_side *s, unsigned v) {
  (void)v;
  side_second_close(s);
}

static void other_read(model_side *s, unsigned v) { side_other(s, (int)(v % 2), "SELECT * FROM t"); }

static void other_write(model_side *s, unsigned v) {
  char text[MODEL_TEXT];
  snprintf(text, sizeof text, "UPDATE t SET n=n+13, b=%s WHERE a BETWEEN %u AND %u", model_row_text(s, 'O'), v % 40,
           v % 40 + 2 + v % 3 * 20);
  side_other(s, (int)(v / 2 % 2), text);
}

static void other_holds(model_side *s, unsigned v, const char *begin) {
  const int connection = s->other_holds[0] || s->other_holds[1] ? s->other_holds[1] : (int)(v % 2);
  const bool ends = s->other_holds[connection];
  side_other(s, connection, ends ? "SELECT * FROM t; COMMIT" : begin);
  s->other_holds[connection] = !ends && !s->answers[s->count - 1].autocommit;
}

static void other_reads_on(model_side *s, unsigned v) { other_holds(s, v, "BEGIN; SELECT count(*) FROM t"); }
static void other_writes_on(model_side *s, unsigned v) {
  other_holds(s, v, "BEGIN IMMEDIATE; UPDATE t SET n=n+17 WHERE a<30");
}

static const char *const checkpoints[] = {"PRAGMA wal_checkpoint(passive)", "PRAGMA wal_checkpoint(full)",
                                          "PRAGMA wal_checkpoint(restart)", "PRAGMA wal_checkpoint(truncate)"};

static void other_checkpoint(model_side *s, unsigned v) { side_other(s, (int)(v / 4 % 2), checkpoints[v % 4]); }

static void checkpoint_passive(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "%s", checkpoints[0]);
}

static void checkpoint_full(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "%s", checkpoints[1]);
}

static void checkpoint_restart(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "%s", checkpoints[2]);
}

static void checkpoint_truncate(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "%s", checkpoints[3]);
}

/* ---- forks ---- */

static int child_sql(model_side *s, const char *text) { return side_sql(s, MODEL_CHILD, MODEL_STAND_IN, "%s", text); }

static void fork_reader(model_side *s, unsigned v) {
  (void)v;
  if (side_child_start(s)) (void)child_sql(s, "BEGIN");
  (void)child_sql(s, "SELECT count(*), sum(n), max(b) FROM t");
}

static void child_write(model_side *s, unsigned v) {
  char text[MODEL_TEXT];
  if (side_child_start(s)) (void)child_sql(s, "SELECT count(*) FROM t");
  snprintf(text, sizeof text, "UPDATE t SET n=n+19, b=%s WHERE a%%%u=1", model_row_text(s, 'f'), 2 + v % 7);
  (void)child_sql(s, text);
  (void)child_sql(s, "COMMIT");
}

static void child_end(model_side *s, unsigned v) {
  (void)v;
  if (s->child_process != 0) (void)child_sql(s, "SELECT * FROM t");
  side_child_end(s);
}

static void fork_inherited(model_side *s, unsigned v) {
  if (v % 2 && !in_transaction(s)) {
    (void)side_main(s, "BEGIN");
    (void)spill(s, v);
  }
  side_child_touches_inherited(s);
  (void)side_main(s, "SELECT * FROM t");
}

/* ---- file controls ---- */

static model_answer *control(model_side *s, int op, int64_t value) {
  return side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_CONTROL, op, value, "file control");
}

/* Has it changed since it was asked for last? By how much depends on where an error came. */
static void data_version(model_side *s) {
  model_answer *answer = control(s, SQLITE_FCNTL_DATA_VERSION, 0);
  answer->hash += answer->value != s->data_version;
  s->data_version = answer->value;
}

static void persist_wal(model_side *s, unsigned v) { (void)control(s, SQLITE_FCNTL_PERSIST_WAL, v % 4 != 0); }
static void chunk_size(model_side *s, unsigned v) {
  (void)control(s, SQLITE_FCNTL_CHUNK_SIZE, v % 3 == 0 ? 0 : s->setup->page_bytes * 16);
}
static void size_hint(model_side *s, unsigned v) {
  (void)control(s, SQLITE_FCNTL_SIZE_HINT, (int64_t)s->setup->page_bytes * (100 + v));
}
static void padding(model_side *s, unsigned v) { (void)control(s, SQLITE_FCNTL_POWERSAFE_OVERWRITE, v % 4 == 0); }

static void controls(model_side *s, unsigned v) {
  static const int questions[] = {SQLITE_FCNTL_LOCKSTATE,      SQLITE_FCNTL_HAS_MOVED,    SQLITE_FCNTL_LAST_ERRNO,
                                  SQLITE_FCNTL_LOCK_TIMEOUT,   SQLITE_FCNTL_SYNC_OMITTED, SQLITE_FCNTL_WAL_BLOCK,
                                  SQLITE_FCNTL_EXTERNAL_READER};
  (void)v;
  data_version(s);
  for (unsigned i = 0; i < sizeof questions / sizeof questions[0]; i++) (void)control(s, questions[i], 0);
  (void)control(s, SQLITE_FCNTL_MMAP_SIZE, -1);
  (void)control(s, SQLITE_FCNTL_PERSIST_WAL, -1);
  (void)control(s, SQLITE_FCNTL_POWERSAFE_OVERWRITE, -1);
}

static void peek(model_side *s, unsigned v) {
  (void)v;
  side_peek(s);
}

/* ---- two databases ---- */

static void attach(model_side *s, unsigned v) {
  const char *uring = s->tested ? "uring&uring_backend=" : "unix";
  (void)side_main(s, "ATTACH 'file:%s/x.db?vfs=%s%s' AS x", s->directory, uring, s->tested ? s->setup->backend : "");
  (void)side_main(s, "BEGIN");
  (void)side_main(s, "UPDATE x.t SET n=n+1, b=%s WHERE a%%2=%u", model_row_text(s, 'x'), v % 2);
  if (v % 4) (void)spill(s, v);
  (void)side_main(s, v % 3 ? "COMMIT" : "ROLLBACK");
}

static void detach(model_side *s, unsigned v) {
  (void)v;
  (void)side_main(s, "DETACH x");
}

/* ---- the table ---- */

const model_kind model_kind_table[] = {
    {.name = "wal", .happen = journal_wal},
    {.name = "delete", .happen = journal_delete},
    {.name = "truncate", .happen = journal_truncate},
    {.name = "persist", .happen = journal_persist},
    {.name = "memory", .happen = journal_memory},
    {.name = "off", .happen = journal_off},
    {.name = "exclusive", .happen = exclusive},
    {.name = "normal", .happen = normal},
    {.name = "reopen", .happen = reopen, .leaves_frames = true, .resets = true},
    {.name = "reopen-exclusive", .happen = reopen_exclusive, .leaves_frames = true, .resets = true},
    {.name = "sync-off", .happen = sync_off},
    {.name = "sync-normal", .happen = sync_normal},
    {.name = "sync-full", .happen = sync_full},
    {.name = "sync-extra", .happen = sync_extra},
    {.name = "mmap-on", .happen = mmap_on},
    {.name = "mmap-off", .happen = mmap_off},
    {.name = "autocheckpoint", .happen = autocheckpoint},
    {.name = "size-limit", .happen = size_limit},
    {.name = "read", .happen = read_all},
    {.name = "small-write", .happen = small_write},
    {.name = "spill", .happen = spill_write},
    {.name = "spill-rollback", .happen = spill_rollback, .leaves_frames = true},
    {.name = "savepoint-release", .happen = savepoint_release, .leaves_frames = true},
    {.name = "savepoint-rollback", .happen = savepoint_rollback, .leaves_frames = true},
    {.name = "begin-spill", .happen = begin_spill},
    {.name = "begin-read", .happen = begin_read},
    {.name = "commit", .happen = commit},
    {.name = "rollback", .happen = rollback, .leaves_frames = true},
    {.name = "grow", .happen = grow},
    {.name = "shrink", .happen = shrink},
    {.name = "vacuum", .happen = vacuum},
    {.name = "user-version", .happen = user_version},
    {.name = "blob", .happen = blob_write},
    {.name = "backup", .happen = backup_into},
    {.name = "cursor-open", .happen = cursor_open},
    {.name = "cursor-reset", .happen = cursor_reset},
    {.name = "cursor-rest", .happen = cursor_rest},
    {.name = "interrupted", .happen = interrupted, .leaves_frames = true, .fails_with = SQLITE_INTERRUPT},
    {.name = "constraint", .happen = constraint, .leaves_frames = true, .fails_with = SQLITE_CONSTRAINT},
    {.name = "full", .happen = full, .leaves_frames = true, .fails_with = SQLITE_FULL},
    {.name = "io-error", .happen = io_error, .leaves_frames = true, .fails_anywhere = true, .fails_with = SQLITE_IOERR},
    {.name = "second-read", .happen = second_read},
    {.name = "second-write", .happen = second_write},
    {.name = "second-holds", .happen = second_holds},
    {.name = "second-closes", .happen = second_closes},
    {.name = "other-read", .happen = other_read},
    {.name = "other-write", .happen = other_write},
    {.name = "other-reads-on", .happen = other_reads_on},
    {.name = "other-writes-on", .happen = other_writes_on},
    {.name = "other-checkpoint", .happen = other_checkpoint},
    {.name = "passive", .happen = checkpoint_passive},
    {.name = "checkpoint-full", .happen = checkpoint_full},
    {.name = "restart", .happen = checkpoint_restart},
    {.name = "checkpoint-truncate", .happen = checkpoint_truncate},
    {.name = "fork", .happen = fork_reader, .forks = true},
    {.name = "child-write", .happen = child_write, .forks = true},
    {.name = "child-end", .happen = child_end},
    {.name = "fork-inherited", .happen = fork_inherited, .forks = true},
    {.name = "persist-wal", .happen = persist_wal, .persists = true},
    {.name = "chunk-size", .happen = chunk_size},
    {.name = "size-hint", .happen = size_hint},
    {.name = "padding", .happen = padding},
    {.name = "controls", .happen = controls},
    {.name = "peek", .happen = peek},
    {.name = "attach", .happen = attach, .leaves_frames = true, .super_journal = true},
    {.name = "detach", .happen = detach},
    {.name = "snapshot", .happen = snapshot}, /* last: not every SQLite has it */
};

#define KINDS ((int)(sizeof model_kind_table / sizeof model_kind_table[0]))
_Static_assert(KINDS <= (int)MODEL_KINDS_MOST, "a report has room for all kinds");

int model_kinds(void) { return model_has_snapshots() ? KINDS : KINDS - 1; }
const char *model_kind_name(int kind) { return model_kind_table[kind].name; }
bool model_kind_resets(int kind) { return model_kind_table[kind].resets; }

int model_kind_by_name(const char *name) {
  for (int i = 0; i < KINDS; i++)
    if (strcmp(model_kind_table[i].name, name) == 0) return i;
  return -1;
}
