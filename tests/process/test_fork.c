/*
** test_fork.c - fork, vfork, posix_spawn and exec in a process that uses rings.
**
** A child that opens its own connection works, and the parent goes on during and after. A child that touches a
** connection of the parent gets an error of the SQLITE_IOERR family whose log message speaks of fork, and harms
** nothing: no byte of the database, WAL or journal changes, no lock of the parent goes away, and the parent's
** transaction then commits.
**
** SQLite itself answers some calls without asking the VFS: a COMMIT or ROLLBACK that needs no I/O, a page from the
** cache. There only the harmlessness and the next real access are tested.
*/
#include "support.h"
#include <spawn.h>
#include <sys/mman.h>

extern char **environ;
static char self[PATH_MAX];

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define BIG_ROWS  400
#define BIG_BYTES 900

/* ---- children ------------------------------------------------------------------------------------------------ */

/* What a child has to say, through a shared mapping. */
typedef struct child_report {
  int rc;       /* of the action */
  int rc_after; /* of a read after it */
  bool log_says_fork;
  bool ring_mapped;
  int rings;
  char message[512];
} child_report;

static child_report *report;

static void child_fail(const char *what, int rc, sqlite3 *db) {
  snprintf(report->message, sizeof(report->message), "%s: %d %s", what, rc, db != NULL ? sqlite3_errmsg(db) : "");
  _exit(1);
}

static void child_sql(sqlite3 *db, const char *text) {
  int rc = sql_rc(db, text, NULL);
  if (rc != SQLITE_OK) child_fail(text, rc, db);
}

static void expect_child_ok(pid_t pid) {
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fail_msg("the child ended with status 0x%x: %s", (unsigned)status, report->message);
  }
}

static pid_t child_start(void) {
  memset(report, 0, sizeof(*report));
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    log_clear();
  }
  return pid;
}

/* Is the memory of a ring mapped in this process? */
static bool ring_is_mapped(void) {
  char line[PATH_MAX];
  bool found = false;
  FILE *f = fopen("/proc/self/maps", "re");
  while (f != NULL && fgets(line, sizeof(line), f) != NULL) found |= strstr(line, "[io_uring]") != NULL;
  if (f != NULL) fclose(f);
  return found;
}

/* ---- databases ------------------------------------------------------------------------------------------------- */

static const char *database_make(const char *mode) {
  static char path[PATH_MAX];
  static int number;
  char text[512];
  snprintf(path, sizeof(path), "%s/fork-%d.db", work_dir, number++);
  sqlite3 *db = db_open(path, default_vfs);
  snprintf(
      text, sizeof(text),
      "PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE big(a INTEGER PRIMARY KEY, b);"
      "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d)"
      "INSERT INTO big SELECT i, randomblob(%d) FROM c",
      mode, BIG_ROWS, BIG_BYTES);
  sql(db, text);
  db_close(db);
  return path;
}

static sqlite3 *parent_open(const char *path, const char *mode) {
  char text[128];
  sqlite3 *db = db_open(path, uring_vfs());
  sqlite3_busy_timeout(db, PATIENT_MS);
  static int number; /* syncs cost time: every third parent does them */
  snprintf(text, sizeof(text), "PRAGMA journal_mode=%s; PRAGMA cache_size=5; PRAGMA synchronous=%s", mode,
           number++ % 3 == 0 ? "normal" : "off");
  sql(db, text);
  sql(db, "INSERT INTO t(b) VALUES('first'); SELECT sum(length(b)) FROM big");
  return db;
}

static void helper_verifies(const char *path, int rows) {
  row_value v;
  assert_int_equal(helper_open(0, path, default_vfs), SQLITE_OK);
  assert_int_equal(helper_sql(0, "PRAGMA integrity_check", &v), SQLITE_OK);
  assert_string_equal(v.text, "ok");
  assert_int_equal(helper_must(0, "SELECT count(*) FROM t"), rows);
  assert_int_equal(helper_must(0, "SELECT count(*) FROM big"), BIG_ROWS);
  assert_int_equal(helper_close(0), SQLITE_OK);
}

/* ---- a child touches the parent's connection -------------------------------------------------------------------- */

typedef struct parent_state {
  const char *name, *begin;
  const char *end; /* NULL: nothing is open */
  int rows;        /* in t after end */
  bool writes;
} parent_state;

static const parent_state states[] = {
    {"idle", NULL, NULL, 1, false},
    {"reading", "BEGIN; SELECT count(*) FROM t", "COMMIT", 1, false},
    {"reserved", "BEGIN IMMEDIATE", "COMMIT", 1, true},
    {"writing", "BEGIN; INSERT INTO t(b) VALUES('second')", "COMMIT", 2, true},
    {"spilled", "BEGIN; INSERT INTO t(b) VALUES('second'); UPDATE big SET b = randomblob(900)", "COMMIT", 2, true},
};

typedef struct child_action {
  const char *name, *text; /* NULL: sqlite3_close */
  bool needs_io;           /* in every state: the VFS must have been asked, so there must be an error */
  bool needs_write_state;  /* needs_io holds in the states that write */
  bool in_few_modes;
} child_action;

static const child_action actions[] = {
    {"read", "SELECT sum(length(b)) FROM big", true, false, true},
    {"write", "UPDATE big SET b = zeroblob(900)", true, false, false},
    {"commit", "COMMIT", false, true, false},
    {"rollback", "ROLLBACK", false, false, false},
    {"checkpoint", "PRAGMA wal_checkpoint(TRUNCATE)", false, false, true},
    {"vacuum", "VACUUM", false, false, true},
    {"close", NULL, false, false, false},
};

static void touch(const char *mode, const parent_state *state, const child_action *action) {
  const char *path = database_make(mode);
  const char *suffixes[] = {"", "-wal", "-journal"};
  uint64_t before[3], after[3];
  char map[128];
  sqlite3 *db = parent_open(path, mode);
  if (state->begin != NULL) sql(db, state->begin);
  for (size_t i = 0; i < 3; i++) before[i] = helper_hash(with_suffix(path, suffixes[i]));
  snprintf(map, sizeof(map), "%s", lock_map(path));

  pid_t pid = child_start();
  if (pid == 0) {
    report->rc = action->text != NULL ? sql_rc(db, action->text, NULL) : sqlite3_close_v2(db);
    if (action->text != NULL) {
      report->rc_after = sql_rc(db, "SELECT sum(length(b)) FROM big", NULL);
      sqlite3_close(db);
    }
    report->log_says_fork = strstr(log_text, "fork") != NULL;
    snprintf(report->message, sizeof(report->message), "%.500s", log_text);
    _exit(0);
  }
  expect_child_ok(pid);

  for (size_t i = 0; i < 3; i++) after[i] = helper_hash(with_suffix(path, suffixes[i]));
  const char *map_after = lock_map(path);
  bool must_fail =
      action->needs_io || (action->needs_write_state && state->writes && strcmp(state->name, "reserved") != 0);
  int primary = report->rc & 0xff;
  bool good = true;
  if (must_fail && primary != SQLITE_IOERR) good = false;
  if (must_fail && !report->log_says_fork) good = false;
  if (action->text != NULL && (report->rc_after & 0xff) != SQLITE_IOERR) good = false;
  if (memcmp(before, after, sizeof(before)) != 0 || strcmp(map, map_after) != 0) good = false;
  if (!good) {
    fail_msg("%s, %s, child's %s: rc %d, read after it %d, log says fork %d, bytes %s, locks %s -> %s\n%s", mode,
             state->name, action->name, report->rc, report->rc_after, report->log_says_fork,
             memcmp(before, after, sizeof(before)) == 0 ? "unchanged" : "CHANGED", map, map_after, report->message);
  }

  if (state->end != NULL) sql(db, state->end);
  sql(db, "INSERT INTO t(b) VALUES('after')");
  long long rows = sql(db, "SELECT count(*) FROM t");
  if (rows != state->rows + 1) {
    fail_msg("%s, %s, child's %s: %lld rows are left of %d", mode, state->name, action->name, rows, state->rows + 1);
  }
  helper_verifies(path, state->rows + 1);
  db_close(db);
  helper_verifies(path, state->rows + 1);
  database_remove(path);
}

static void test_child_touches_the_parents_connection(void **state) {
  (void)state;
  static const char *const modes[] = {"wal", "delete", "truncate", "persist", "memory", "off"};
  for (size_t m = 0; m < COUNT(modes); m++) {
    for (size_t s = 0; s < COUNT(states); s++) {
      for (size_t a = 0; a < COUNT(actions); a++) {
        /* All of it where the journals differ most; of the other modes what writes or ends a transaction. */
        if (m >= 2 && (!states[s].writes || actions[a].in_few_modes)) continue;
        touch(modes[m], &states[s], &actions[a]);
      }
    }
  }
}

/* A prepared statement that is in the middle of its rows, and an open blob. */
static void test_child_steps_a_running_statement(void **state) {
  (void)state;
  const char *path = database_make("wal");
  sqlite3 *db = parent_open(path, "wal");
  sqlite3_stmt *stmt;
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT length(b) FROM big ORDER BY a", -1, &stmt, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
  pid_t pid = child_start();
  if (pid == 0) {
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    }
    report->rc = rc;
    report->log_says_fork = strstr(log_text, "fork") != NULL;
    _exit(0);
  }
  expect_child_ok(pid);
  assert_int_equal(report->rc & 0xff, SQLITE_IOERR);
  assert_true(report->log_says_fork);
  int rows = 1;
  while (sqlite3_step(stmt) == SQLITE_ROW) rows++;
  assert_int_equal(rows, BIG_ROWS);
  sqlite3_finalize(stmt);
  db_close(db);
  helper_verifies(path, 1);
}

/* exit() instead of _exit(): destructors of the library and atexit handlers run in the child. */
static void test_child_exits_normally(void **state) {
  (void)state;
  const char *path = database_make("wal");
  sqlite3 *db = parent_open(path, "wal");
  sql(db, "BEGIN; INSERT INTO t(b) VALUES('second')");
  char map[128];
  snprintf(map, sizeof(map), "%s", lock_map(path));
  pid_t pid = child_start();
  if (pid == 0) {
    close(STDOUT_FILENO);
    exit(0);
  }
  expect_child_ok(pid);
  assert_string_equal(lock_map(path), map);
  sql(db, "UPDATE big SET b = randomblob(900); COMMIT");
  helper_verifies(path, 2);
  db_close(db);
}

/* ---- a child opens its own connection
** ------------------------------------------------------------------------------ */

#define TURNS 40

static sqlite3 *child_open(const char *path) {
  sqlite3 *db = NULL;
  int rc = db_open_rc(path, uring_vfs(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db);
  if (rc != SQLITE_OK) child_fail("open in the child", rc, db);
  sqlite3_busy_timeout(db, PATIENT_MS);
  return db;
}

static void child_works(const char *path, const char *mode) {
  char text[128];
  sqlite3 *db = child_open(path);
  snprintf(text, sizeof(text), "PRAGMA journal_mode=%s; PRAGMA cache_size=5; PRAGMA synchronous=normal", mode);
  child_sql(db, text);
  for (int i = 0; i < TURNS; i++) {
    child_sql(db, "INSERT INTO t(b) VALUES('child')");
    child_sql(db, "SELECT sum(length(b)) FROM big");
  }
  report->rings = ring_count();
  int rc = sqlite3_close(db);
  if (rc != SQLITE_OK) child_fail("close", rc, db);
}

static void own_connection(const char *mode, bool grandchild) {
  const char *path = database_make(mode);
  sqlite3 *db = parent_open(path, mode);
  if (ring_works) assert_true(ring_count() > 0);
  pid_t pid = child_start();
  if (pid == 0) {
    report->ring_mapped = ring_is_mapped();
    if (grandchild) {
      sqlite3 *own = child_open(path);
      child_sql(own, "SELECT sum(length(b)) FROM big");
      pid_t inner = fork();
      if (inner == 0) {
        if ((sql_rc(own, "SELECT sum(length(b)) FROM big", NULL) & 0xff) != SQLITE_IOERR)
          child_fail("grandchild", 0, own);
        child_works(path, mode);
        _exit(0);
      }
      int status;
      waitpid(inner, &status, 0);
      if (status != 0) _exit(2);
      child_sql(own, "SELECT sum(length(b)) FROM big");
      sqlite3_close(own);
    } else {
      child_works(path, mode);
    }
    _exit(0);
  }
  for (int i = 0; i < TURNS; i++) {
    sql(db, "INSERT INTO t(b) VALUES('parent')");
    sql(db, "SELECT sum(length(b)) FROM big");
  }
  expect_child_ok(pid);
  if (report->ring_mapped) fail_msg("the memory of the parent's ring is mapped in the child");
  for (int i = 0; i < TURNS; i++) sql(db, "INSERT INTO t(b) VALUES('parent')");
  assert_int_equal(sql(db, "SELECT count(*) FROM t"), 3 * TURNS + 1);
  helper_verifies(path, 3 * TURNS + 1);
  db_close(db);
  helper_verifies(path, 3 * TURNS + 1);
}

static void test_child_opens_its_own_connection(void **state) {
  (void)state;
  static const char *const modes[] = {"wal", "delete", "truncate", "persist"};
  for (size_t m = 0; m < COUNT(modes); m++) {
    own_connection(modes[m], false);
    own_connection(modes[m], true);
  }
}

/* The parent is in the middle of a transaction, or ends its connection, while the child works with its own. */
static void own_connection_meets_the_parents_locks(const char *mode) {
  const char *path = database_make(mode);
  sqlite3 *db = parent_open(path, mode);
  sql(db, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('parent')");
  int to_child[2], to_parent[2];
  char byte = 0;
  assert_int_equal(pipe2(to_child, O_CLOEXEC), 0);
  assert_int_equal(pipe2(to_parent, O_CLOEXEC), 0);
  pid_t pid = child_start();
  if (pid == 0) {
    char text[64];
    sqlite3 *own = child_open(path);
    sqlite3_busy_timeout(own, 0);
    snprintf(text, sizeof(text), "PRAGMA journal_mode=%s", mode);
    child_sql(own, text);
    int rc = sql_rc(own, "INSERT INTO t(b) VALUES('too early')", NULL);
    if ((rc & 0xff) != SQLITE_BUSY) child_fail("the parent's lock is not seen", rc, own);
    row_value v;
    rc = sql_rc(own, "SELECT count(*) FROM t", &v);
    if (rc != SQLITE_OK || v.number != 1) child_fail("reading beside the parent's transaction", rc, own);
    if (write(to_parent[1], "1", 1) != 1 || read(to_child[0], &byte, 1) != 1) _exit(3);
    sqlite3_busy_timeout(own, PATIENT_MS);
    child_sql(own, "INSERT INTO t(b) VALUES('child')");
    /* From here on the parent has closed its connection. */
    if (write(to_parent[1], "2", 1) != 1 || read(to_child[0], &byte, 1) != 1) _exit(3);
    for (int i = 0; i < 10; i++) child_sql(own, "INSERT INTO t(b) VALUES('child')");
    if (write(to_parent[1], "3", 1) != 1 || read(to_child[0], &byte, 1) != 1) _exit(3);
    child_sql(own, "INSERT INTO t(b) VALUES('child')");
    rc = sqlite3_close(own);
    if (rc != SQLITE_OK) child_fail("close", rc, own);
    _exit(0);
  }
  close(to_parent[1]); /* so that a failed child is noticed */
  close(to_child[0]);
  const char *broken = NULL;
  if (read(to_parent[0], &byte, 1) != 1) broken = "before COMMIT";
  sql(db, "COMMIT");
  if (write(to_child[1], "1", 1) != 1) broken = "at COMMIT";
  if (broken == NULL && read(to_parent[0], &byte, 1) != 1) broken = "after COMMIT";
  db_close(db);
  if (write(to_child[1], "2", 1) != 1) broken = "at close";
  if (broken == NULL && read(to_parent[0], &byte, 1) != 1) broken = "after close";
  if (broken == NULL) {
    /* Another process comes and goes: it must not take itself for the only one. */
    assert_int_equal(helper_open(1, path, default_vfs), SQLITE_OK);
    helper_must(1, "INSERT INTO t(b) VALUES('other')");
    assert_int_equal(helper_close(1), SQLITE_OK);
  }
  if (write(to_child[1], "3", 1) != 1) broken = "at the end";
  close(to_parent[0]);
  close(to_child[1]);
  expect_child_ok(pid);
  assert_null(broken);
  helper_verifies(path, 1 + 1 + 1 + 10 + 1 + 1);
}

static void test_own_connection_meets_the_parents_locks(void **state) {
  (void)state;
  static const char *const modes[] = {"wal", "delete", "truncate", "persist"};
  for (size_t m = 0; m < COUNT(modes); m++) own_connection_meets_the_parents_locks(modes[m]);
}

/* The child works through the default VFS, which uring does not see: what it reads is right, or an error. With the
** parent's transaction open at the fork, unix VFS itself will say BUSY to the child's writes for ever. */
static void own_default_connection(const char *mode, bool writing) {
  const char *path = database_make(mode);
  sqlite3 *db = parent_open(path, mode);
  sql(db, "UPDATE big SET b = zeroblob(900)");
  if (writing) sql(db, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('parent'); UPDATE big SET b = zeroblob(800)");
  int to_child[2], to_parent[2];
  char byte = 0;
  assert_int_equal(pipe2(to_child, O_CLOEXEC), 0);
  assert_int_equal(pipe2(to_parent, O_CLOEXEC), 0);
  pid_t pid = child_start();
  if (pid == 0) {
    sqlite3 *own = NULL;
    row_value v;
    int rc = db_open_rc(path, default_vfs, SQLITE_OPEN_READWRITE, &own);
    if (rc != SQLITE_OK) child_fail("open", rc, own);
    rc = sql_rc(own, "SELECT count(*) FROM t", &v);
    if (rc == SQLITE_OK && v.number != 1) child_fail("it sees what was not committed", (int)v.number, own);
    if (write(to_parent[1], "1", 1) != 1 || read(to_child[0], &byte, 1) != 1) _exit(3);
    for (int i = 0; i < 3; i++) {
      rc = sql_rc(own, "SELECT count(*) FROM t", &v);
      if (rc == SQLITE_OK && v.number != 2 + i) child_fail("it does not see what was committed", (int)v.number, own);
      rc = sql_rc(own, "SELECT count(DISTINCT b) FROM big", &v);
      if (rc == SQLITE_OK && v.number != 1) child_fail("it sees two transactions mixed", (int)v.number, own);
      rc = sql_rc(own, "PRAGMA integrity_check", &v);
      if (rc == SQLITE_OK && strcmp(v.text, "ok") != 0) child_fail(v.text, rc, own);
      if (!writing && i == 2) child_sql(own, "INSERT INTO t(b) VALUES('child')");
      if (write(to_parent[1], "2", 1) != 1 || read(to_child[0], &byte, 1) != 1) _exit(3);
    }
    sqlite3_close(own);
    _exit(0);
  }
  close(to_parent[1]);
  close(to_child[0]);
  bool broken = read(to_parent[0], &byte, 1) != 1;
  if (!writing) sql(db, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('parent'); UPDATE big SET b = zeroblob(800)");
  sql(db, "COMMIT");
  for (int i = 0; i < 3; i++) {
    broken = broken || write(to_child[1], "1", 1) != 1 || read(to_parent[0], &byte, 1) != 1;
    if (i == 2) break;
    if (strcmp(mode, "wal") == 0) sql(db, "PRAGMA wal_checkpoint(TRUNCATE)"); /* so that the frames move */
    sql(db, i == 0 ? "BEGIN; UPDATE big SET b = zeroblob(700); INSERT INTO t(b) VALUES('parent'); COMMIT"
                   : "BEGIN; INSERT INTO t(b) VALUES('parent'); UPDATE big SET b = zeroblob(600); COMMIT");
  }
  broken = broken || write(to_child[1], "3", 1) != 1;
  close(to_parent[0]);
  close(to_child[1]);
  expect_child_ok(pid);
  assert_false(broken);
  helper_verifies(path, writing ? 4 : 5);
  db_close(db);
  helper_verifies(path, writing ? 4 : 5);
}

static void test_child_opens_through_the_default_vfs(void **state) {
  (void)state;
  own_default_connection("wal", false);
  own_default_connection("delete", false);
  own_default_connection("wal", true);
  own_default_connection("delete", true);
}

/* The parent has the database open through both VFSs, so that unix VFS's memory of the locks stays in the child. The
** child's own connection works or gets a clear error; whatever it does harms nothing. */
static void own_connection_beside_inherited_default(const char *mode, bool uring_writes, bool default_writes) {
  const char *path = database_make(mode);
  sqlite3 *db = parent_open(path, mode), *plain = db_open(path, default_vfs);
  char text[64];
  snprintf(text, sizeof(text), "PRAGMA journal_mode=%s", mode);
  sql(plain, text);
  sql(plain, "SELECT count(*) FROM t; PRAGMA cache_size=5");
  sqlite3 *writer = uring_writes ? db : default_writes ? plain : NULL;
  if (writer != NULL)
    sql(writer, "BEGIN IMMEDIATE; INSERT INTO t(b) VALUES('parent'); UPDATE big SET b = zeroblob(900)");
  pid_t pid = child_start();
  if (pid == 0) {
    sqlite3 *own = NULL;
    int rc = db_open_rc(path, uring_vfs(), SQLITE_OPEN_READWRITE, &own);
    if (rc == SQLITE_OK) rc = sql_rc(own, "SELECT sum(length(b)) FROM big; INSERT INTO t(b) VALUES('child')", NULL);
    report->rc = rc;
    snprintf(report->message, sizeof(report->message), "%.500s", log_text);
    sqlite3_close(own);
    _exit(0);
  }
  expect_child_ok(pid);
  int primary = report->rc & 0xff;
  if (primary != SQLITE_OK && primary != SQLITE_BUSY &&
      !(primary == SQLITE_IOERR && strstr(report->message, "fork") != NULL)) {
    fail_msg("%s: the child's own connection: %d\n%s", mode, report->rc, report->message);
  }
  if (writer == NULL) assert_int_equal(primary, SQLITE_OK);
  if (writer != NULL) sql(writer, "COMMIT");
  sql(db, "INSERT INTO t(b) VALUES('after')");
  sql(plain, "INSERT INTO t(b) VALUES('after')");
  int rows = 1 + (primary == SQLITE_OK) + (writer != NULL) + 2;
  assert_int_equal(sql(db, "SELECT count(*) FROM t"), rows);
  helper_verifies(path, rows);
  db_close(db);
  helper_verifies(path, rows);
  db_close(plain);
  helper_verifies(path, rows);
}

static void test_own_connection_beside_an_inherited_default_one(void **state) {
  (void)state;
  static const char *const modes[] = {"wal", "delete"};
  for (size_t m = 0; m < COUNT(modes); m++) {
    own_connection_beside_inherited_default(modes[m], false, false);
    own_connection_beside_inherited_default(modes[m], true, false);
    own_connection_beside_inherited_default(modes[m], false, true);
  }
}

/* ---- exec, vfork, posix_spawn
** ---------------------------------------------------------------------------------------- */

/* This program again with --fds: exit code is the number of descriptors that should not have come along. */
static int list_descriptors(void) {
  int strangers = 0, n = fd_list(fd_now, 4096);
  for (int i = 0; i < n; i++) {
    if (strstr(fd_now[i].target, "io_uring") != NULL || strstr(fd_now[i].target, "uringvfs-test-") != NULL) {
      fprintf(stderr, "inherited: fd %d -> %s\n", fd_now[i].fd, fd_now[i].target);
      strangers++;
    }
  }
  return strangers;
}

static char *const self_argv[] = {self, (char *)"--fds", NULL};

static int run_fork_exec(void) {
  int status = -1;
  pid_t pid = fork();
  if (pid == 0) {
    execv(self, self_argv);
    _exit(99);
  }
  if (pid > 0) waitpid(pid, &status, 0);
  return status;
}

static int run_vfork_exec(void) {
  int status = -1;
  pid_t pid = vfork();
  if (pid == 0) {
    execv(self, self_argv);
    _exit(99);
  }
  if (pid > 0) waitpid(pid, &status, 0);
  return status;
}

static int run_spawn(void) {
  int status = -1;
  pid_t pid;
  if (posix_spawn(&pid, self, NULL, NULL, self_argv, environ) != 0) return -1;
  waitpid(pid, &status, 0);
  return status;
}

static int run_system(void) {
  char command[PATH_MAX + 16];
  snprintf(command, sizeof(command), "'%s' --fds", self);
  return system(command);
}

static void test_exec_vfork_spawn(void **state) {
  (void)state;
  static int (*const ways[])(void) = {run_fork_exec, run_vfork_exec, run_spawn, run_system};
  static const char *const modes[] = {"wal", "delete"};
  for (size_t m = 0; m < COUNT(modes); m++) {
    const char *path = database_make(modes[m]);
    sqlite3 *db = parent_open(path, modes[m]);
    int rows = 1;
    for (size_t w = 0; w < COUNT(ways); w++) {
      char map[128];
      sql(db, "BEGIN; INSERT INTO t(b) VALUES('in a transaction'); UPDATE big SET b = randomblob(900)");
      snprintf(map, sizeof(map), "%s", lock_map(path));
      assert_int_equal(ways[w](), 0);
      assert_string_equal(lock_map(path), map);
      sql(db, "COMMIT");
      helper_verifies(path, ++rows);
    }
    db_close(db);
    helper_verifies(path, rows);
  }
}

/* ---- fork while other threads keep rings busy
** ------------------------------------------------------------------------- */

static _Atomic bool threads_stop;
static _Atomic long thread_errors, thread_turns;

static void *busy_thread(void *arg) {
  sqlite3 *db = NULL;
  if (db_open_rc(arg, uring_vfs(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db) != SQLITE_OK) thread_errors++;
  sqlite3_busy_timeout(db, PATIENT_MS);
  if (sql_rc(db, "PRAGMA cache_size=5; PRAGMA synchronous=normal", NULL) != SQLITE_OK) thread_errors++;
  for (int i = 0; !threads_stop || i < 10; i++) {
    int rc = sql_rc(db, "UPDATE big SET b = zeroblob(900) WHERE a % 16 = 3; SELECT sum(length(b)) FROM big", NULL);
    if (rc != SQLITE_OK) {
      thread_errors++;
      fprintf(stderr, "beside fork: %d %s\n", rc, sqlite3_errmsg(db));
    }
    thread_turns++;
    if (i % 10 == 9) { /* connections come and go too */
      sqlite3_close(db);
      if (db_open_rc(arg, uring_vfs(), SQLITE_OPEN_READWRITE, &db) != SQLITE_OK) thread_errors++;
      sqlite3_busy_timeout(db, PATIENT_MS);
    }
  }
  if (sqlite3_close(db) != SQLITE_OK) thread_errors++;
  return NULL;
}

static void test_fork_beside_busy_threads(void **state) {
  (void)state;
  enum { THREADS = 4 };
  pthread_t threads[THREADS];
  char paths[THREADS][PATH_MAX];
  threads_stop = false;
  for (int i = 0; i < THREADS; i++) {
    snprintf(paths[i], sizeof(paths[i]), "%s", i == 1 ? paths[0] : database_make("wal")); /* two share one database */
    assert_int_equal(pthread_create(&threads[i], NULL, busy_thread, paths[i]), 0);
  }
  for (int i = 0; i < 60; i++) {
    int status = -1;
    pid_t pid;
    if (i % 3 == 0) {
      status = run_spawn();
    } else {
      pid = fork();
      if (pid == 0) {
        if (i % 3 == 1) _exit(0);
        execv(self, self_argv);
        _exit(99);
      }
      waitpid(pid, &status, 0);
    }
    assert_int_equal(status, 0);
  }
  threads_stop = true;
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  assert_int_equal(thread_errors, 0);
  assert_true(thread_turns > 10 * THREADS);
  for (int i = 0; i < THREADS; i++) helper_verifies(paths[i], 0);
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--fds") == 0) return list_descriptors();
  if (realpath("/proc/self/exe", self) == NULL) return 1;
  signal(SIGPIPE, SIG_IGN);
  report = mmap(NULL, sizeof(*report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (report == MAP_FAILED) return 1;
  support_start();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_child_touches_the_parents_connection),
      cmocka_unit_test(test_child_steps_a_running_statement),
      cmocka_unit_test(test_child_exits_normally),
      cmocka_unit_test(test_child_opens_its_own_connection),
      cmocka_unit_test(test_own_connection_meets_the_parents_locks),
      cmocka_unit_test(test_child_opens_through_the_default_vfs),
      cmocka_unit_test(test_own_connection_beside_an_inherited_default_one),
      cmocka_unit_test(test_exec_vfork_spawn),
      cmocka_unit_test(test_fork_beside_busy_threads),
  };
  (void)argv;
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
