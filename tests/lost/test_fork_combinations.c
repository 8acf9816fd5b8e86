/*
** test_fork_combinations.c - what is promised about forks, in every combination.
**
** A parent in WAL or rollback mode, with and without mmap, with a statement in the middle of its rows or none, with
** another thread or none, starts a child: by fork, by vfork and exec, by posix_spawn, by system(). The child opens a
** connection of its own, reads in a transaction and holds it while another process, through the default VFS, tries to
** write and to checkpoint:
**
** - in WAL mode that commits, its checkpoint leaves the child's snapshot alone, and the child still sees that;
** - in rollback mode that is BUSY, since the child has a lock. And the child, when it writes, is a writer to
**   everybody.
**
** A child by fork then touches what it has inherited: every call that reaches the VFS is SQLITE_IOERR, what needs no
** I/O may go on, and nothing crashes or changes a byte. The parent is undisturbed afterwards: its statement has all
** its rows, its locks are there, it writes.
**
** A child that was executed is just another process; it is in the table because it must see the parent's locks, and
** take none of them along.
*/
#include "cases.h"
#include <spawn.h>

enum { ROWS = 600, FIRST_ROWS = 50 };

extern char **environ;
static char self[PATH_MAX];

typedef enum way { FORK, VFORK_EXEC, SPAWN, SYSTEM, WAYS } way;
static const char *const way_names[] = {"fork", "vfork and exec", "posix_spawn", "system"};

typedef enum statement { NONE, OPEN, OPEN_AND_WRITING, STATEMENTS } statement;
static const char *const statement_names[] = {"none open", "one open", "one open, and a transaction that has spilled"};

typedef struct combination {
  way how;
  bool wal, mmap, thread, ring;
  bool touches_first; /* the child, before it opens a connection of its own; otherwise afterwards */
  statement statement;
} combination;

static const char *path;
static int to_child[2], from_child[2]; /* one byte: go on */

static void tell(int fd) { assert_int_equal(write(fd, "x", 1), 1); }

static void wait_for(int fd) {
  char byte;
  if (read(fd, &byte, 1) != 1) fail_msg("the other side has ended");
}

static void set_up(const combination *c, sqlite3 *db) {
  char text[160];
  snprintf(text, sizeof text,
           "PRAGMA mmap_size = %d; PRAGMA cache_size = 5; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0",
           c->mmap ? 100000000 : 0);
  sql(db, text);
}

static sqlite3 *open_connection(const combination *c) {
  char uri[PATH_MAX + 128];
  sqlite3 *db = NULL;
  snprintf(uri, sizeof uri, "file:%s?vfs=%s%s", path, uring_vfs(), c->ring ? "&uring_backend=uring" : "");
  assert_int_equal(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL), SQLITE_OK);
  sqlite3_extended_result_codes(db, 1);
  return db;
}

/* ---- the child ---- */

/* The same two transactions in every child. The other process acts between the steps (served below). */
static void child_works(const combination *c) {
  sqlite3 *db = open_connection(c);
  const bool reads = !(c->statement == OPEN_AND_WRITING && !c->wal);
  if (reads) {
    set_up(c, db);
    if (c->statement == OPEN_AND_WRITING) sql_busy(db, "BEGIN IMMEDIATE"); /* the parent's lock */
    sql(db, "BEGIN");
    const long long before = sql(db, "SELECT sum(a) * 1000 + sum(length(b)) FROM t");
    tell(from_child[1]);
    wait_for(to_child[0]); /* the other process has tried to write */
    sql(db, "PRAGMA cache_size = 1; PRAGMA shrink_memory");
    assert_int_equal(sql(db, "SELECT sum(a) * 1000 + sum(length(b)) FROM t"), before);
    sql(db, "COMMIT");
  } else {
    sql_busy(db, "SELECT count(*) FROM t"); /* the parent has spilled into the database: it holds EXCLUSIVE */
    tell(from_child[1]);
    wait_for(to_child[0]);
  }
  tell(from_child[1]);
  wait_for(to_child[0]); /* the parent's transaction, if there was one, has ended, and so has its statement */
  sql(db, "BEGIN IMMEDIATE; INSERT INTO t VALUES(NULL, 'child')");
  tell(from_child[1]);
  wait_for(to_child[0]); /* the other process was told that this one writes */
  sql(db, "COMMIT");
  db_close(db);
  tell(from_child[1]);
}

/* An error of the VFS, or what SQLite does alone. */
static void must_be_refused(int rc, const char *what) {
  if ((rc & 0xff) != SQLITE_IOERR) fail_msg("the child's %s on an inherited connection: %d", what, rc);
}

static void child_touches_inherited(const combination *c, sqlite3 *db, sqlite3_stmt *stmt) {
  int rc = SQLITE_ROW;
  log_clear();
  if (stmt != NULL) {
    for (int rows = 0; rc == SQLITE_ROW && rows < 2 * ROWS; rows++) rc = sqlite3_step(stmt);
    if (!c->mmap || rc != SQLITE_DONE) must_be_refused(rc, "step");
    (void)sqlite3_reset(stmt);
    must_be_refused(sqlite3_step(stmt), "step of a statement that begins again");
    sqlite3_finalize(stmt);
  }
  must_be_refused(sql_rc(db, "SELECT sum(length(b)) FROM t", NULL), "SELECT");
  must_be_refused(sql_rc(db, "UPDATE t SET b = 'nobody'", NULL), "UPDATE");
  (void)sql_rc(db, "ROLLBACK", NULL);
  (void)sql_rc(db, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  assert_non_null(strstr(log_text, "fork"));
}

/* ---- starting it ---- */

static pid_t start_executed(const combination *c) {
  static char flags[16], in[16], out[16];
  snprintf(flags, sizeof flags, "%d%d%d%d", c->wal, c->mmap, c->ring, c->statement);
  snprintf(in, sizeof in, "%d", to_child[0]);
  snprintf(out, sizeof out, "%d", from_child[1]);
  char *const argv[] = {self, (char *)"--child", (char *)path, flags, in, out, NULL};
  pid_t pid = -1;
  if (c->how == SPAWN) {
    assert_int_equal(posix_spawn(&pid, self, NULL, NULL, argv, environ), 0);
  } else {
    pid = vfork();
    if (pid == 0) {
      execv(self, argv);
      _exit(99);
    }
  }
  return pid;
}

static int run_child(char **argv) {
  const combination c = {.wal = argv[3][0] == '1',
                         .mmap = argv[3][1] == '1',
                         .ring = argv[3][2] == '1',
                         .statement = (statement)(argv[3][3] - '0')};
  setenv("CMOCKA_TEST_ABORT", "1", 1);
  snprintf(work_dir, sizeof work_dir, "%s", getenv("LOST_DIRECTORY"));
  path = argv[2];
  to_child[0] = atoi(argv[4]);
  from_child[1] = atoi(argv[5]);
  support_sqlite();
  child_works(&c);
  return 0;
}

/* ---- the other process, and the parent ---- */

/* While the child reads in a transaction; returns the rows that were added. */
static void other_process_writes(const combination *c) {
  if (c->statement == OPEN_AND_WRITING) {
    helper_busy(0, "BEGIN IMMEDIATE"); /* the parent writes */
  } else if (c->wal) {
    helper_must(0, "BEGIN IMMEDIATE; DELETE FROM t WHERE a % 2; UPDATE t SET b = zeroblob(700); COMMIT;"
                   "PRAGMA wal_checkpoint(PASSIVE); UPDATE t SET b = zeroblob(701)");
    row_value v;
    assert_int_equal(helper_sql(0, "PRAGMA wal_checkpoint(TRUNCATE)", &v), SQLITE_OK);
    assert_int_equal(v.number, 1); /* busy: there is a reader */
  } else {
    helper_must(0, "BEGIN IMMEDIATE; UPDATE t SET b = zeroblob(700) WHERE a = 7"); /* RESERVED goes with readers, */
    helper_busy(0, "COMMIT");                                                      /* EXCLUSIVE does not */
    helper_must(0, "ROLLBACK");
  }
}

typedef struct parent {
  const combination *c;
  sqlite3 *db;
  sqlite3_stmt *stmt;
  int rows; /* that it has seen */
  pid_t child;
} parent;

static void begin(parent *p) {
  p->db = open_connection(p->c);
  set_up(p->c, p->db);
  assert_int_equal(sql(p->db, "SELECT count(*) FROM t"), ROWS);
  if (p->c->statement == OPEN_AND_WRITING) sql(p->db, "BEGIN IMMEDIATE; UPDATE t SET b = zeroblob(650)");
  if (p->c->statement == NONE) return;
  assert_int_equal(sqlite3_prepare_v2(p->db, "SELECT b FROM t", -1, &p->stmt, NULL), SQLITE_OK);
  while (p->rows < FIRST_ROWS && sqlite3_step(p->stmt) == SQLITE_ROW) p->rows++;
  assert_int_equal(p->rows, FIRST_ROWS);
}

static void end(parent *p) {
  if (p->stmt != NULL) {
    int rc;
    while ((rc = sqlite3_step(p->stmt)) == SQLITE_ROW) p->rows++;
    assert_int_equal(rc, SQLITE_DONE);
    assert_int_equal(p->rows, ROWS);
    sqlite3_finalize(p->stmt);
    p->stmt = NULL;
  }
  if (p->c->statement != OPEN_AND_WRITING) return;
  assert_int_equal(sql(p->db, "SELECT count(*) FROM t WHERE length(b) = 650"), ROWS);
  sql(p->db, "COMMIT");
}

/* Only the child has the child's ends, so that its death is noticed. */
static void keep_own_ends(void) {
  close(to_child[0]);
  close(from_child[1]);
}

/* Turns of parent, other process and child, until the child is done with its own connection. */
static void take_turns(parent *p, bool closes) {
  if (p->c->how != SYSTEM) keep_own_ends();
  wait_for(from_child[0]);
  if (p->c->how == SYSTEM) keep_own_ends(); /* by now it has started */
  /* A parent that has closed its connection cannot hold a lock in the child's stead. */
  if (closes) {
    sqlite3_finalize(p->stmt);
    p->stmt = NULL;
    db_close(p->db);
    p->db = NULL;
  }
  other_process_writes(p->c);
  tell(to_child[1]);
  wait_for(from_child[0]);
  if (!closes) end(p);
  tell(to_child[1]);
  wait_for(from_child[0]);
  helper_busy(0, "BEGIN IMMEDIATE");
  if (!closes) sql_busy(p->db, "BEGIN IMMEDIATE");
  tell(to_child[1]);
  wait_for(from_child[0]);
}

static void run_in_shell(const combination *c) {
  char command[3 * PATH_MAX];
  snprintf(command, sizeof command, "'%s' --child '%s' %d%d%d%d %d %d", self, path, c->wal, c->mmap, c->ring,
           c->statement, to_child[0], from_child[1]);
  if (system(command) != 0) _exit(1);
}

static void start(parent *p) {
  const combination *c = p->c;
  if (c->how == VFORK_EXEC || c->how == SPAWN) {
    p->child = start_executed(c);
  } else if (c->how == FORK) {
    p->child = process_start();
    if (p->child != 0) return;
    close(to_child[1]);
    close(from_child[0]);
    if (c->touches_first) child_touches_inherited(c, p->db, p->stmt);
    child_works(c);
    if (!c->touches_first) child_touches_inherited(c, p->db, p->stmt);
    _exit(0);
  }
}

static void *system_in_thread(void *c) {
  run_in_shell(c);
  return NULL;
}

static void run_combination(const combination *c, bool closes) {
  parent p = {.c = c};
  pthread_t shell;
  assert_int_equal(pipe(to_child), 0); /* a child that is executed needs its own ends */
  assert_int_equal(pipe(from_child), 0);
  assert_int_equal(fcntl(to_child[1], F_SETFD, FD_CLOEXEC) | fcntl(from_child[0], F_SETFD, FD_CLOEXEC), 0);
  if (c->thread) start_idle_thread();
  begin(&p);
  if (c->how == SYSTEM)
    assert_int_equal(pthread_create(&shell, NULL, system_in_thread, (void *)(uintptr_t)c),
                     0); /* it waits for its child */
  else
    start(&p);
  take_turns(&p, closes);
  if (c->how == SYSTEM)
    pthread_join(shell, NULL);
  else
    assert_true(process_ended(p.child));
  if (p.db == NULL) return;
  sql(p.db, "INSERT INTO t VALUES(NULL, 'parent')");
  helper_must(0, "INSERT INTO t VALUES(NULL, 'other')");
  assert_int_equal(sql(p.db, "SELECT count(*) FROM t WHERE b IN ('child', 'parent', 'other')"), 3);
  db_close(p.db);
}

/* The parent keeps its connection, or closes it while the child reads. */
static void run_open(const void *c) { run_combination(c, false); }
static void run_closed(const void *c) { run_combination(c, true); }

static void make_database(bool wal) {
  char text[512];
  database_remove(path);
  assert_int_equal(helper_open(0, path, default_vfs), SQLITE_OK);
  snprintf(
      text, sizeof text,
      "PRAGMA journal_mode = %s; PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t(a INTEGER "
      "PRIMARY KEY, b);"
      "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO t SELECT i, randomblob(900) FROM c;"
      "PRAGMA wal_checkpoint(TRUNCATE)",
      wal ? "WAL" : "DELETE", ROWS);
  helper_must(0, text);
}

static bool is_good(const combination *c, void (*run)(const void *)) {
  row_value v;
  make_database(c->wal);
  const bool ended = run_case(run, c);
  const bool good = helper_sql(0, "PRAGMA integrity_check", &v) == SQLITE_OK && strcmp(v.text, "ok") == 0 && ended;
  assert_int_equal(helper_close(0), SQLITE_OK);
  if (!good)
    fprintf(stderr, "FAILED: %s, %s, mmap %d, another thread %d, ring %d, touches first %d, statement: %s%s\n",
            way_names[c->how], c->wal ? "WAL" : "rollback", c->mmap, c->thread, c->ring, c->touches_first,
            statement_names[c->statement], run == run_closed ? ", parent closes" : "");
  return good;
}

static void all_combinations(way how) {
  int failed = 0;
  for (int i = 0; i < 64; i++) {
    for (int s = 0; s < STATEMENTS; s++) {
      const combination c = {how, i & 1, i & 2, i & 4, (i & 8) != 0 && ring_works, i & 16, (statement)s};
      const bool closes = i & 32;
      if (closes && s == OPEN_AND_WRITING) continue;
      /* Executed children know nothing of the parent's memory: a part of the table. */
      if (how != FORK && i >= 4) continue;
      failed += !is_good(&c, closes ? run_closed : run_open);
    }
  }
  assert_int_equal(failed, 0);
}

static void test_fork(void **state) { (void)state, all_combinations(FORK); }
static void test_vfork_exec(void **state) { (void)state, all_combinations(VFORK_EXEC); }
static void test_posix_spawn(void **state) { (void)state, all_combinations(SPAWN); }
static void test_system(void **state) { (void)state, all_combinations(SYSTEM); }

int main(int argc, char **argv) {
  if (argc == 6 && strcmp(argv[1], "--child") == 0) return run_child(argv);
  if (realpath("/proc/self/exe", self) == NULL) return 1;
  signal(SIGPIPE, SIG_IGN);
  support_start();
  setenv("LOST_DIRECTORY", work_dir, 1);
  path = strdup(at("x.db"));
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_fork),
      cmocka_unit_test(test_vfork_exec),
      cmocka_unit_test(test_posix_spawn),
      cmocka_unit_test(test_system),
  };
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
