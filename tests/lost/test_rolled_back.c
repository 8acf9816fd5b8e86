/*
** test_rolled_back.c - frames of a transaction that did not commit, in every way in which it can end.
**
** A transaction spills pages into the WAL and does not commit. The VFS may still hold its frames; the place in the
** WAL where they belong is the next writer's. So each way to end it is followed by commits of another process,
** through the default VFS, at that place, and by what this connection and the other process then read. All of it is
** written down, for the default VFS in this connection's place too, and the two must be the same.
**
** Each way is gone in five locking modes: normal; exclusive, entered when the wal-index was shared memory, and left
** afterwards or kept to the end; exclusive from the first access, where the wal-index is heap memory, left by way of
** another journal mode or kept to the end. And with the database opened as main, or attached and detached.
*/
#include "../process/support.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { FEW = 150, MANY = 900 }; /* rows: two to a page; MANY is more than the VFS holds back at once */

typedef enum locking { NORMAL, EXCLUSIVE, EXCLUSIVE_KEPT, HEAP, HEAP_KEPT, LOCKINGS } locking;
static const char *const locking_names[] = {"normal", "exclusive", "exclusive to the end",
                                            "exclusive from the first access",
                                            "exclusive from the first access to the end"};

/* One run: a connection, and what has been seen. */
typedef struct run {
  const char *parameters; /* of the URI */
  locking locking;
  bool attached;
  int rows;
  sqlite3 *db;
  const char *schema; /* of the database in db */
  bool closed;        /* the way has closed the connection */
  char seen[8192];
  size_t used;
} run;

typedef struct way {
  const char *name;
  void (*end)(run *r);
} way;

static char path[PATH_MAX], main_path[PATH_MAX], template_paths[2][PATH_MAX];

/* ---- what is seen ---- */

__attribute__((format(printf, 2, 3))) static void see(run *r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  r->used += (size_t)vsnprintf(r->seen + r->used, sizeof r->seen - r->used, format, args);
  va_end(args);
  if (r->used >= sizeof r->seen) fail_msg("too much is seen");
}

/* The code, and the value if there is one. */
static int try_sql(run *r, const char *text) {
  row_value v;
  int rc = sql_rc(r->db, text, &v);
  see(r, "%.60s: %d %s\n", text, rc, v.rows > 0 && rc == SQLITE_OK ? v.text : "");
  return rc;
}

#define CONTENT                                                                                                        \
  "SELECT group_concat(x) FROM (SELECT substr(b,1,1)||count(*)||' of '||sum(length(b)) x FROM %s.t GROUP BY "          \
  "substr(b,1,1))"

static void see_content(run *r) {
  char text[256];
  snprintf(text, sizeof text, CONTENT, r->schema);
  try_sql(r, text);
  snprintf(text, sizeof text, "PRAGMA %s.integrity_check", r->schema);
  try_sql(r, text);
}

static void see_content_elsewhere(run *r) {
  char text[256];
  row_value v;
  snprintf(text, sizeof text, CONTENT, "main");
  int rc = helper_sql(0, text, &v);
  see(r, "elsewhere: %d %s\n", rc, v.text);
  rc = helper_sql(0, "PRAGMA integrity_check", &v);
  see(r, "elsewhere: %d %s\n", rc, v.text);
}

/* ---- the transaction ---- */

static void update_all(run *r) {
  char text[256];
  snprintf(text, sizeof text, "UPDATE %s.t SET b = printf('%%.*c', 2000, 'R')", r->schema);
  sql(r->db, text);
}

static void begin_update(run *r) {
  sql(r->db, "BEGIN");
  update_all(r);
}

/* ---- the ways ---- */

static void rollback(run *r) {
  begin_update(r);
  try_sql(r, "ROLLBACK");
}

static void rollback_twice(run *r) {
  rollback(r);
  rollback(r);
}

/* Nothing that is written is left in the cache. */
static void cacheflush(run *r) {
  begin_update(r);
  see(r, "cacheflush: %d\n", sqlite3_db_cacheflush(r->db));
  try_sql(r, "ROLLBACK");
}

static void savepoint(run *r) {
  sql(r->db, "SAVEPOINT one");
  update_all(r);
  try_sql(r, "ROLLBACK TO one; RELEASE one");
}

static void savepoint_then_rollback(run *r) {
  sql(r->db, "BEGIN; SAVEPOINT one");
  update_all(r);
  try_sql(r, "ROLLBACK TO one");
  try_sql(r, "ROLLBACK");
}

static void savepoint_then_commit(run *r) {
  char text[128];
  sql(r->db, "BEGIN; SAVEPOINT one");
  update_all(r);
  try_sql(r, "ROLLBACK TO one");
  snprintf(text, sizeof text, "UPDATE %s.t SET b = 'small' WHERE a = 3; COMMIT", r->schema);
  try_sql(r, text);
}

/* The last row breaks a constraint. */
static void update_until_error(run *r, const char *or_what) {
  char text[256];
  snprintf(text, sizeof text, "UPDATE %s %s.t SET b = CASE WHEN a = %d THEN NULL ELSE printf('%%.*c', 2000, 'R') END",
           or_what, r->schema, r->rows);
  try_sql(r, text);
}

static void statement_error(run *r) { update_until_error(r, ""); }

static void statement_error_in_transaction(run *r) {
  sql(r->db, "BEGIN");
  update_until_error(r, "OR ABORT");
  try_sql(r, "ROLLBACK");
}

static void statement_error_then_commit(run *r) {
  sql(r->db, "BEGIN");
  update_until_error(r, "OR ABORT");
  try_sql(r, "COMMIT");
}

static void or_rollback(run *r) {
  begin_update(r);
  update_until_error(r, "OR ROLLBACK");
}

static void reset_statement(run *r) {
  sqlite3_stmt *stmt;
  char text[256];
  sql(r->db, "BEGIN");
  snprintf(text, sizeof text, "UPDATE %s.t SET b = printf('%%.*c', 2000, 'R') RETURNING a", r->schema);
  assert_int_equal(sqlite3_prepare_v2(r->db, text, -1, &stmt, NULL), SQLITE_OK);
  see(r, "step: %d\n", sqlite3_step(stmt));
  see(r, "reset: %d\n", sqlite3_reset(stmt));
  sqlite3_finalize(stmt);
  try_sql(r, "ROLLBACK");
}

static int spills(sqlite3 *db) {
  int now = 0, most;
  assert_int_equal(sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_SPILL, &now, &most, 0), SQLITE_OK);
  return now;
}

typedef struct stop {
  sqlite3 *db;
  int at; /* so many pages written */
} stop;

static int stop_now(void *arg) {
  const stop *s = arg;
  return spills(s->db) >= s->at;
}

static void interrupted(run *r, const char *text) {
  stop s = {r->db, spills(r->db) + r->rows / 8};
  sqlite3_progress_handler(r->db, 10, stop_now, &s);
  assert_int_equal(try_sql(r, text), SQLITE_INTERRUPT);
  sqlite3_progress_handler(r->db, 0, NULL, NULL);
}

static void interrupt_statement(run *r) {
  char text[256];
  snprintf(text, sizeof text, "UPDATE %s.t SET b = printf('%%.*c', 2000, 'S')", r->schema);
  interrupted(r, text);
}

static void interrupt_transaction(run *r) {
  begin_update(r);
  interrupt_statement(r);
  see(r, "autocommit: %d\n", sqlite3_get_autocommit(r->db));
  if (!sqlite3_get_autocommit(r->db)) try_sql(r, "ROLLBACK");
}

static void interrupt_index(run *r) {
  char text[128];
  snprintf(text, sizeof text, "CREATE INDEX %s.i ON t(b)", r->schema);
  interrupted(r, text);
}

static void full(run *r) {
  char text[256];
  snprintf(text, sizeof text, "PRAGMA %s.max_page_count = %d", r->schema, r->rows / 2 + 90);
  sql(r->db, text);
  sql(r->db, "BEGIN");
  snprintf(text, sizeof text, "INSERT INTO %s.t SELECT a + 5000, printf('%%.*c', 2000, 'R') FROM %s.t", r->schema,
           r->schema);
  try_sql(r, text);
  if (!sqlite3_get_autocommit(r->db)) try_sql(r, "ROLLBACK");
  snprintf(text, sizeof text, "PRAGMA %s.max_page_count = 100000", r->schema);
  sql(r->db, text);
}

static int refuse_commit(void *arg) { return arg == NULL; }

static void commit_hook(run *r) {
  begin_update(r);
  (void)sqlite3_commit_hook(r->db, refuse_commit, NULL);
  try_sql(r, "COMMIT");
  (void)sqlite3_commit_hook(r->db, NULL, NULL);
}

static void deferred_foreign_key(run *r) {
  char text[256];
  sql(r->db, "PRAGMA foreign_keys = on");
  begin_update(r);
  snprintf(text, sizeof text, "INSERT INTO %s.child VALUES(77777)", r->schema);
  sql(r->db, text);
  try_sql(r, "COMMIT");
  try_sql(r, "ROLLBACK");
}

/* A backup into this database is given up. */
static void backup(run *r) {
  sqlite3 *source = db_open(":memory:", default_vfs);
  sql(source,
      "PRAGMA page_size = 4096; CREATE TABLE other(b);"
      "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<300) INSERT INTO other SELECT zeroblob(4000) FROM c");
  sqlite3_backup *b = sqlite3_backup_init(r->db, r->schema, source, "main");
  assert_non_null(b);
  see(r, "backup: %d", sqlite3_backup_step(b, 120));
  see(r, ", %d\n", sqlite3_backup_finish(b));
  db_close(source);
}

static void locking_mode_inside(run *r) {
  begin_update(r);
  try_sql(r, "PRAGMA locking_mode = NORMAL");
  try_sql(r, "ROLLBACK");
}

static void exclusive_inside(run *r) {
  begin_update(r);
  try_sql(r, "PRAGMA locking_mode = EXCLUSIVE");
  try_sql(r, "ROLLBACK");
}

static void journal_mode(run *r) {
  char text[128];
  rollback(r);
  try_sql(r, "PRAGMA locking_mode = NORMAL");
  snprintf(text, sizeof text, "PRAGMA %s.journal_mode = DELETE", r->schema);
  try_sql(r, text);
  snprintf(text, sizeof text, "SELECT count(*) FROM %s.t WHERE a = 1", r->schema);
  try_sql(r, "PRAGMA locking_mode = NORMAL");
  try_sql(r, text);
  snprintf(text, sizeof text, "PRAGMA %s.journal_mode = WAL", r->schema);
  try_sql(r, text);
}

static void checkpoint(run *r) {
  rollback(r);
  try_sql(r, "PRAGMA wal_checkpoint(PASSIVE)");
}

static void checkpoint_truncate(run *r) {
  rollback(r);
  try_sql(r, "PRAGMA wal_checkpoint(TRUNCATE)");
}

static void small_commit(run *r) {
  char text[128];
  rollback(r);
  snprintf(text, sizeof text, "UPDATE %s.t SET b = 'small' WHERE a = 3", r->schema);
  try_sql(r, text);
}

static void empty_transaction(run *r) {
  rollback(r);
  try_sql(r, "BEGIN IMMEDIATE; COMMIT");
}

/* A read transaction stays when the write transaction ends. */
static void statement_stays(run *r) {
  sqlite3_stmt *stmt;
  char text[128];
  begin_update(r);
  snprintf(text, sizeof text, "SELECT a FROM %s.t", r->schema);
  assert_int_equal(sqlite3_prepare_v2(r->db, text, -1, &stmt, NULL), SQLITE_OK);
  see(r, "step: %d\n", sqlite3_step(stmt));
  try_sql(r, "ROLLBACK");
  see(r, "step: %d\n", sqlite3_step(stmt));
  sqlite3_finalize(stmt);
}

static void close_connection(run *r) {
  see(r, "close: %d\n", sqlite3_close(r->db));
  r->db = NULL;
  r->closed = true;
}

static void close_in_transaction(run *r) {
  begin_update(r);
  close_connection(r);
}

static void close_after_rollback(run *r) {
  rollback(r);
  close_connection(r);
}

static const way ways[] = {
    {"rollback", rollback},
    {"rollback, twice", rollback_twice},
    {"rollback after sqlite3_db_cacheflush", cacheflush},
    {"savepoint rolled back and released", savepoint},
    {"savepoint rolled back, rollback", savepoint_then_rollback},
    {"savepoint rolled back, commit of little", savepoint_then_commit},
    {"constraint", statement_error},
    {"constraint in a transaction, rollback", statement_error_in_transaction},
    {"constraint in a transaction, commit", statement_error_then_commit},
    {"constraint, OR ROLLBACK", or_rollback},
    {"statement reset, rollback", reset_statement},
    {"interrupt", interrupt_statement},
    {"interrupt in a transaction", interrupt_transaction},
    {"interrupt of CREATE INDEX", interrupt_index},
    {"SQLITE_FULL", full},
    {"commit hook", commit_hook},
    {"deferred foreign key", deferred_foreign_key},
    {"backup given up", backup},
    {"locking mode left inside", locking_mode_inside},
    {"locking mode entered inside", exclusive_inside},
    {"rollback, other journal mode and back", journal_mode},
    {"rollback, checkpoint", checkpoint},
    {"rollback, checkpoint that truncates", checkpoint_truncate},
    {"rollback, commit of little", small_commit},
    {"rollback, empty transaction", empty_transaction},
    {"rollback below a statement", statement_stays},
    {"close in the transaction", close_in_transaction},
    {"close after rollback", close_after_rollback},
};

/* ---- a run ---- */

static void make_template(int i, int rows) {
  char text[512];
  sqlite3 *db = db_open(template_paths[i], default_vfs);
  snprintf(text, sizeof text,
           "PRAGMA page_size = 4096; PRAGMA journal_mode = WAL; CREATE TABLE t(a INTEGER PRIMARY KEY, b NOT NULL);"
           "CREATE TABLE child(p REFERENCES t(a) DEFERRABLE INITIALLY DEFERRED);"
           "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO t SELECT i, printf('%%.*c', "
           "2000, 'o') FROM c",
           rows);
  sql(db, text);
  db_close(db);
}

static void copy_file(const char *from, const char *to) {
  static char block[1 << 16];
  FILE *in = fopen(from, "re"), *out = fopen(to, "we");
  assert_non_null(in);
  assert_non_null(out);
  for (size_t n; (n = fread(block, 1, sizeof block, in)) > 0;) assert_int_equal(fwrite(block, 1, n, out), n);
  fclose(in);
  assert_int_equal(fclose(out), 0);
}

static void open_connection(run *r) {
  char uri[PATH_MAX + 128], text[PATH_MAX + 256];
  snprintf(uri, sizeof uri, "file:%s?%s", r->attached ? main_path : path, r->parameters);
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
  assert_int_equal(sqlite3_open_v2(uri, &r->db, flags, NULL), SQLITE_OK);
  r->schema = r->attached ? "x" : "main";
  snprintf(text, sizeof text, "ATTACH 'file:%s?%s' AS x", path, r->parameters);
  if (r->attached) sql(r->db, text);
  snprintf(text, sizeof text, "PRAGMA wal_autocheckpoint = 0; PRAGMA %s.synchronous = OFF; PRAGMA %s.cache_size = 5",
           r->schema, r->schema);
  sql(r->db, text);
}

static void enter(run *r) {
  char text[256];
  const bool heap = r->locking == HEAP || r->locking == HEAP_KEPT;
  if (!heap) {
    snprintf(text, sizeof text, "SELECT count(*) FROM %s.t", r->schema);
    sql(r->db, text);
  }
  if (r->locking != NORMAL) sql(r->db, "PRAGMA locking_mode = EXCLUSIVE");
  snprintf(text, sizeof text, "UPDATE %s.t SET b = b WHERE a = 1", r->schema);
  sql(r->db, text);
}

/* The next access gives up the lock. */
static void leave(run *r) {
  char text[128];
  if (r->closed || r->locking == EXCLUSIVE_KEPT || r->locking == HEAP_KEPT) return;
  snprintf(text, sizeof text, "PRAGMA %s.journal_mode = DELETE", r->schema);
  if (r->locking == HEAP) sql(r->db, text);
  snprintf(text, sizeof text, "PRAGMA locking_mode = NORMAL; SELECT count(*) FROM %s.t WHERE a = 1", r->schema);
  try_sql(r, text);
  snprintf(text, sizeof text, "PRAGMA %s.journal_mode = WAL", r->schema);
  if (r->locking == HEAP) try_sql(r, text);
}

static void detach(run *r) {
  if (r->closed || !r->attached) return;
  assert_int_equal(try_sql(r, "DETACH x"), SQLITE_OK);
  /* The process is not alone with the default mode of the connection: that would hold for what it attaches next. */
  sql(r->db, "PRAGMA locking_mode = NORMAL");
}

static void reopen(run *r) {
  if (r->db != NULL) see(r, "close: %d\n", sqlite3_close(r->db));
  open_connection(r);
}

static void run_way(run *r, const way *w) {
  char text[128];
  database_remove(path);
  database_remove(main_path);
  copy_file(template_paths[r->rows == MANY], path);
  open_connection(r);
  enter(r);
  w->end(r);
  if (!r->closed) assert_true(spills(r->db) > r->rows / 10);
  leave(r);
  detach(r);
  const bool kept = r->locking == EXCLUSIVE_KEPT || r->locking == HEAP_KEPT;
  if (kept && !r->attached && !r->closed) close_connection(r);

  assert_int_equal(helper_open(0, path, default_vfs), SQLITE_OK);
  helper_must(0, "PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = OFF;"
                 "UPDATE t SET b = printf('%.*c', 2000, 'C') WHERE a BETWEEN 40 AND 110");
  if (r->closed || r->attached) reopen(r);
  see_content(r);
  see_content_elsewhere(r);
  snprintf(text, sizeof text, "UPDATE %s.t SET b = printf('%%.*c', 2000, 'D') WHERE a BETWEEN 20 AND 60", r->schema);
  try_sql(r, text);
  see_content_elsewhere(r);
  helper_must(0, "PRAGMA wal_checkpoint(TRUNCATE)");
  see_content(r);
  see(r, "close: %d\n", sqlite3_close(r->db));
  see_content_elsewhere(r);
  assert_int_equal(helper_close(0), SQLITE_OK);
}

static int runs, differences;

static void compare(const way *w, locking l, bool attached, int rows) {
  static run want, got;
  const char *const parameters[] = {"vfs=uring&uring_backend=auto", "vfs=uring&uring_backend=uring"};
  want = (run){.parameters = "vfs=unix", .locking = l, .attached = attached, .rows = rows};
  run_way(&want, w);
  assert_non_null(strstr(want.seen, "elsewhere: 0 ok"));
  const size_t count = ring_works && !attached ? 2 : 1;
  for (size_t i = 0; i < count; i++) {
    got = (run){.parameters = parameters[i], .locking = l, .attached = attached, .rows = rows};
    run_way(&got, w);
    runs++;
    if (strcmp(want.seen, got.seen) == 0) continue;
    differences++;
    fprintf(stderr, "%s; %s; %s, %d rows; %s\n-- default VFS:\n%s-- uring:\n%s", w->name, locking_names[l],
            attached ? "attached" : "main", rows, parameters[i], want.seen, got.seen);
  }
}

static void all_ways(bool attached, int rows) {
  differences = 0;
  for (size_t w = 0; w < COUNT(ways); w++)
    for (int l = 0; l < LOCKINGS; l++)
      if (!attached || l != HEAP) compare(&ways[w], (locking)l, attached, rows);
  assert_int_equal(differences, 0);
}

static void test_main(void **state) {
  (void)state;
  all_ways(false, FEW);
}

static void test_detached(void **state) {
  (void)state;
  all_ways(true, FEW);
}

/* A part of the frames has been written, the rest is held back. */
static void test_many_frames(void **state) {
  (void)state;
  differences = 0;
  for (int l = 0; l < LOCKINGS; l++) {
    compare(&ways[0], (locking)l, false, MANY);
    compare(&ways[3], (locking)l, true, MANY);
  }
  assert_int_equal(differences, 0);
}

int main(void) {
  support_start();
  snprintf(path, sizeof path, "%s", at("x.db"));
  snprintf(main_path, sizeof main_path, "%s", at("main.db"));
  for (int i = 0; i < 2; i++) {
    snprintf(template_paths[i], sizeof template_paths[i], "%s/template-%d.db", work_dir, i);
    make_template(i, i == 0 ? FEW : MANY);
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_main),
      cmocka_unit_test(test_detached),
      cmocka_unit_test(test_many_frames),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  printf("%d runs compared with the default VFS\n", runs);
  return support_end(failed != 0);
}
