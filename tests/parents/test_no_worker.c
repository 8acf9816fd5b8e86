/*
** test_no_worker.c - where the kernel can make no worker thread for a ring.
**
** RLIMIT_NPROC, a container's pids.max or systemd's TasksMax forbid it. The kernel tries for a long while before it
** gives a write up, so it is not asked at each commit: the commits take system calls, the log says so once, and
** nothing is lost.
*/
#include "support_child.h"

#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "rt.h"
#include "uringvfs.h"

enum { NOBODY = 65532, COMMITS = 20, ROWS = 150 };

static void *nothing(void *arg) { return arg; }

/* Root is not limited. True: no thread can be made now. */
static bool limit_threads(void) {
  const struct rlimit one = {1, 1};
  pthread_t thread;
  if (geteuid() == 0) CHECK(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
  CHECK_INT(setrlimit(RLIMIT_NPROC, &one), 0);
  const int error = pthread_create(&thread, NULL, nothing, NULL);
  if (error == 0) pthread_join(thread, NULL);
  return error == EAGAIN;
}

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Each read by a ring is one call of the kernel, which needs no worker; what is above that are attempts to write. */
static uint64_t attempts(void) {
  rt_stats s;
  rt_stats_read(&s);
  const uint64_t reads = s.ops[RT_READ] - s.inline_ops[RT_READ];
  return s.enters > reads ? s.enters - reads : 0;
}

/* The first attempts, and then one more now and then: at growing intervals, the first of them five seconds. */
static void check_attempts(double start) {
  const double took = seconds() - start;
  if ((double)attempts() > 8 + took)
    give_up(__FILE__, __LINE__, "a ring was tried %d times in %.1f s", (int)attempts(), took);
}

static void insert(sqlite3 *db) {
  sqlite3_stmt *statement;
  CHECK_INT(sqlite3_prepare_v2(db, "INSERT INTO t(v) VALUES(zeroblob(9000))", -1, &statement, NULL), SQLITE_OK);
  for (int i = 0; i < ROWS; i++) {
    CHECK_INT(sqlite3_step(statement), SQLITE_DONE);
    sqlite3_reset(statement);
  }
  sqlite3_finalize(statement);
}

enum { NOT_LIMITED = 3, NO_WAY_THERE = 4 };

static void work(const void *arg) {
  rt_stats s;
  char here[512];
  CHECK(getcwd(here, sizeof here) != NULL);
  if (!limit_threads()) _exit(NOT_LIMITED);
  if (access(here, W_OK | X_OK) != 0) _exit(NO_WAY_THERE);
  begin();
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
  sqlite3 *db = db_open("a.db", arg);
  db_exec(db, "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, v)");
  const double start = seconds();
  for (int i = 0; i < COMMITS; i++) {
    db_exec(db, "BEGIN");
    insert(db);
    db_exec(db, "COMMIT");
    check_attempts(start);
  }
  rt_stats_read(&s);
  CHECK(s.rings > 0); /* it was tried at all */
  CHECK_INT(logged("gets no worker thread"), 1);
  CHECK_INT(db_int(db, "SELECT count(*) FROM t"), COMMITS * ROWS);
  die();
}

static void look(const void *arg) {
  (void)arg;
  begin();
  sqlite3 *db = db_open("a.db", "vfs=unix");
  CHECK_INT(db_int(db, "SELECT count(*) FROM t"), COMMITS * ROWS);
  CHECK(strcmp(db_text(db, "PRAGMA integrity_check"), "ok") == 0);
  db_close(db);
}

static const char *skipped;

static void no_thread(void **state) {
  static const char *const ways[] = {"vfs=uring", "vfs=uring&uring_backend=uring"};
  (void)state;
  if (!child_rings_available()) {
    skipped = "no io_uring here";
    return;
  }
  for (int i = 0; i < 2; i++) {
    child_empty_directory();
    const child_result r = child_run(work, ways[i]);
    if (r.status == NOT_LIMITED << 8) {
      skipped = "threads can be made in spite of RLIMIT_NPROC";
      return;
    }
    if (r.status == NO_WAY_THERE << 8) {
      skipped = "the temporary directory is closed to other users";
      return;
    }
    if (!WIFSIGNALED(r.status) || WTERMSIG(r.status) != SIGKILL)
      fail_msg("%s: status %#x\n%s", ways[i], (unsigned)r.status, r.report);
    free(r.report);
    child_passes(look, NULL, "what is left");
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(no_thread)};
  const int rc = cmocka_run_group_tests(tests, child_setup, child_teardown);
  if (rc != 0 || !skipped) return rc;
  puts(skipped);
  return 77;
}
