/*
** Trap 31: locks are POSIX locks of the parent VFS. A killed process loses them at once, even while a forked child of
** it that shares its descriptors and rings lives on.
*/
#include "support_db.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Opens the database, writes through the ring, holds the write lock, leaves a child behind, and waits to be killed. */
static void hold(const char *way, const char *mode, int report) {
  sqlite3 *db;
  if (db_try_open("t.db", way, &db) != SQLITE_OK) _exit(2);
  char sql[256];
  snprintf(sql, sizeof sql,
           "PRAGMA journal_mode=%s; BEGIN; INSERT INTO t VALUES(zeroblob(200000)); COMMIT; BEGIN IMMEDIATE; INSERT "
           "INTO t VALUES(9)",
           mode);
  if (db_try(db, sql) != SQLITE_OK) _exit(3);
  pid_t grandchild = fork();
  if (grandchild == 0) {
    for (;;) pause();
  }
  if (write(report, &grandchild, sizeof grandchild) != sizeof grandchild) _exit(4);
  for (;;) pause();
}

static void killed_holder(void **state) {
  static const char *const ways[] = {"vfs=unix", URING_SYNC, URING_AUTO, URING_RING};
  static const char *const modes[] = {"wal", "delete"};
  (void)state;
  const char *preload = getenv("LD_PRELOAD");
  /* a forked child does not get the rings' memory, but valgrind believes that it has it */
  if (preload && strstr(preload, "vgpreload")) skip();
  for (int w = 0; w < 4; w++)
    for (int m = 0; m < 2; m++) {
      if (strstr(ways[w], "backend=uring") && !ring_available()) continue;
      support_reset(NULL);
      int pipe_fds[2];
      pid_t grandchild = 0;
      sqlite3 *db = db_open("t.db", "vfs=unix");
      db_execf(db, "PRAGMA journal_mode=%s; CREATE TABLE t(x)", modes[m]);
      db_close(db);
      assert_int_equal(pipe(pipe_fds), 0);
      pid_t child = fork();
      if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        hold(ways[w], modes[m], pipe_fds[1]);
      }
      close(pipe_fds[1]);
      ssize_t got = read(pipe_fds[0], &grandchild, sizeof grandchild);
      close(pipe_fds[0]);
      if (got != sizeof grandchild) {
        int status;
        waitpid(child, &status, 0);
        fail_msg("%s %s: the holder ended with status 0x%x", ways[w], modes[m], status);
      }
      db = db_open("t.db", "vfs=unix");
      int refused = db_try(db, "BEGIN IMMEDIATE");
      kill(child, SIGKILL);
      waitpid(child, NULL, 0);
      int allowed = db_try(db, "BEGIN IMMEDIATE; INSERT INTO t VALUES(1); COMMIT");
      kill(grandchild, SIGKILL);
      assert_int_equal(refused, SQLITE_BUSY);
      assert_int_equal(allowed, SQLITE_OK);
      assert_int_equal(db_int(db, "SELECT count(*) FROM t"), 2);
      db_check(db);
      db_close(db);
    }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup(killed_holder, support_reset)};
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 31: a killed process's locks are gone although its forked child lives");
  return rc;
}
