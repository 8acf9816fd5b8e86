/*
** test_parents.c - uring over SQLite's other unix VFSs: unix-none, unix-dotfile, unix-excl.
**
** Each is made the default before uring is registered, and is then uring's parent; uring over it is compared with the
** parent alone, in one process and in two. Without shared memory WAL mode needs exclusive locking; unix-dotfile locks
** by a directory beside the database; unix-excl keeps other processes out and has its wal-index in memory. The second
** process uses the parent itself, or uring over it.
*/
#include "support.h"

typedef struct parent_case {
  const char *parent, *journal_mode;
  bool exclusive; /* locking_mode */
  bool mixed;     /* the second process uses the parent without uring */
} parent_case;

static void start_with_parent(const char *parent) {
  sqlite3_vfs *vfs = sqlite3_vfs_find(parent);
  must(vfs != NULL && sqlite3_vfs_register(vfs, 1) == SQLITE_OK);
  here.stand_in = parent;
  start_sqlite();
}

/* Lock directories and their like show in the middle of a transaction too. */
static void note_names(const char *when) {
  static const char *const ends[] = {"", "-journal", "-wal", "-shm", ".lock"};
  char text[100] = "";
  for (size_t i = 0; i < COUNT(ends); i++) {
    if (file_exists(with_suffix(in_directory("a.db"), ends[i]))) snprintf(text + strlen(text), 50, " a.db%s", ends[i]);
  }
  note("%s:%s", when, text);
}

static void modes(sqlite3 *db, const parent_case *c) {
  char sql[200];
  snprintf(sql, sizeof(sql), "PRAGMA locking_mode=%s; PRAGMA journal_mode=%s; PRAGMA cache_size=5",
           c->exclusive ? "exclusive" : "normal", c->journal_mode);
  say(db, sql);
}

/* ---- one process ------------------------------------------------------------------------------------------------- */

static void work_with_two_connections(const void *arg) {
  const parent_case *c = arg;
  start_with_parent(c->parent);
  sqlite3 *db = open_noted("a.db", ANEW, NULL);
  say(db, "PRAGMA page_size=1024");
  modes(db, c);
  make_table(db, c->journal_mode);
  work_on_table(db);
  note_names("after work");
  say(db, "BEGIN; UPDATE t SET b=randomblob(3000)");
  note_names("in a transaction");
  const bool locks = strcmp(c->parent, "unix-none") != 0;
  if (!locks) {
    say(db, "ROLLBACK"); /* nothing keeps two writers apart: one after the other */
    note_names("rolled back");
    if (c->exclusive) { /* what each of the two knows of the WAL would be wrong */
      close_noted(db);
      db = open_noted("b.db", ANEW, NULL);
      make_table(db, c->journal_mode);
    }
  }
  sqlite3 *other = open_noted("a.db", ANEW, NULL);
  modes(other, c);
  say(other, "SELECT count(*) FROM t; INSERT INTO t(b) VALUES(randomblob(70000)); SELECT id, b FROM t");
  say(db, "COMMIT; SELECT id, b FROM t");
  say(other, "SELECT id, b FROM t; INSERT INTO t(b) VALUES(randomblob(80000)); BEGIN; SELECT count(*) FROM t");
  say(db, "UPDATE t SET b=1 WHERE id=7; SELECT id, b FROM t");
  say(other, "COMMIT; SELECT id, b FROM t; VACUUM");
  close_noted(other);
  note_names("one closed");
  say(db, "PRAGMA locking_mode=normal; SELECT count(*) FROM t; PRAGMA journal_mode=delete; PRAGMA integrity_check");
  close_noted(db);
  note_names("closed");
}

static void test_one_process(void **state) {
  (void)state;
  static const parent_case cases[] = {
      {"unix-none", "delete", false, false},     {"unix-none", "wal", true, false},
      {"unix-dotfile", "persist", false, false}, {"unix-dotfile", "wal", true, false},
      {"unix-excl", "delete", false, false},     {"unix-excl", "wal", false, false},
      {"unix-excl", "wal", true, false},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    const parent_case *c = &cases[i];
    char name[100];
    snprintf(name, sizeof(name), "%s, %s, %s", c->parent, c->journal_mode, c->exclusive ? "exclusive" : "normal");
    same_on_both(name, work_with_two_connections, c, RINGS_USED);
  }
}

/* ---- two processes: in turn, one statement list each ---------------------------------------------------------------
** */

/* The other process: for each byte that comes, one step; it answers when it is done. It notes into the same memory:
** only one runs at a time. */
static void other_process(const parent_case *c, int fd) {
  static const char *const steps[] = {
      "SELECT count(*) FROM t; SELECT id, b FROM t",
      "INSERT INTO t(b) VALUES(randomblob(70000)); SELECT id, b FROM t",
      "BEGIN IMMEDIATE; UPDATE t SET b=randomblob(2000) WHERE id%2; SELECT id, b FROM t",
      "COMMIT; SELECT id, b FROM t; PRAGMA integrity_check",
  };
  char step;
  sqlite3 *db = NULL;
  if (c->mixed) here.uring = false;
  start_with_parent(c->parent);
  while (read(fd, &step, 1) == 1) {
    note("other process, step %d", step);
    if (step == 0) {
      db = open_noted("a.db", ANEW, NULL);
      modes(db, c);
    } else if (step <= (int)COUNT(steps)) {
      say(db, steps[step - 1]);
    } else {
      close_noted(db);
    }
    note_names("other process");
    if (write(fd, &step, 1) != 1) break;
  }
  fflush(NULL);
  _exit(0);
}

static void other(int fd, char step) { must(write(fd, &step, 1) == 1 && read(fd, &step, 1) == 1); }

static void work_with_two_processes(const void *arg) {
  const parent_case *c = arg;
  int pair[2], status;
  must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
  const pid_t pid = fork(); /* before SQLite is used */
  if (pid == 0) {
    close(pair[0]);
    other_process(c, pair[1]);
  }
  close(pair[1]);
  const int fd = pair[0];
  const bool locks = strcmp(c->parent, "unix-none") != 0;
  start_with_parent(c->parent);
  sqlite3 *db = open_noted("a.db", ANEW, NULL);
  modes(db, c);
  make_table(db, c->journal_mode);
  other(fd, 0);
  other(fd, 1);
  other(fd, 2);
  work_on_table(db);
  other(fd, 1);
  if (locks) say(db, "BEGIN; INSERT INTO t(b) VALUES(randomblob(60000))");
  other(fd, 2); /* where there are locks, this is refused */
  if (locks) say(db, "COMMIT; SELECT id, b FROM t");
  other(fd, 3);
  if (locks) say(db, "SELECT count(*) FROM t; INSERT INTO t(b) VALUES(2)");
  other(fd, 4);
  say(db, "SELECT id, b FROM t");
  close_noted(db);
  other(fd, 2);
  other(fd, 5);
  db = open_noted("a.db", ANEW, NULL);
  work_on_table(db);
  close_noted(db);
  close(fd);
  must(waitpid(pid, &status, 0) == pid && status == 0);
}

static void test_two_processes(void **state) {
  (void)state;
  /* WAL mode wants shared memory or exclusive locking: over the first two it is refused. */
  static const parent_case cases[] = {
      {"unix-none", "delete", false, true},      {"unix-dotfile", "wal", false, false},
      {"unix-dotfile", "truncate", false, true}, {"unix-excl", "delete", false, false},
      {"unix-excl", "wal", false, true},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    const parent_case *c = &cases[i];
    char name[100];
    snprintf(name, sizeof(name), "two processes, %s, %s%s", c->parent, c->journal_mode, c->mixed ? ", mixed" : "");
    same_on_both(name, work_with_two_processes, c, RINGS_USED);
  }
}

int main(void) {
  environment_start();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_one_process), cmocka_unit_test(test_two_processes)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
