/*
** Trap 33: rings count towards RLIMIT_MEMLOCK, per user across processes. ENOMEM is normal life: with none allowed,
** `auto` works all the same for an unprivileged user; `uring` either works or says in the log why not. The program runs
** itself anew as that user.
*/
#include "support_db.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int unprivileged(const char *way) {
  struct rlimit none = {0, 0};
  if (setrlimit(RLIMIT_MEMLOCK, &none) != 0) return 77;
  if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) return 77;
  if (support_setup(NULL) != 0) return 77;
  sqlite3 *dbs[12];
  for (int i = 0; i < 12; i++) {
    char name[16];
    snprintf(name, sizeof name, "t%d.db", i);
    int rc = db_try_open(name, way, &dbs[i]);
    if (rc != SQLITE_OK) {
      for (int open = i; open >= 0; open--) sqlite3_close(dbs[open]);
      bool explained = log_find("uring_backend") || log_find("io_uring");
      fprintf(stderr, "%s: %d, %s\n", way, rc, log_find("") ? log_find("") : "(nothing in the log)");
      support_teardown(NULL);
      return strstr(way, "backend=uring") && explained ? 0 : 1;
    }
    if (db_try(dbs[i],
               "PRAGMA journal_mode=wal; PRAGMA synchronous=FULL; CREATE TABLE t(x); INSERT INTO t VALUES(1);"
               "INSERT INTO t VALUES(randomblob(900000)); INSERT INTO t VALUES(randomblob(3000000))") != SQLITE_OK)
      return 2;
  }
  for (int i = 0; i < 12; i++) {
    if (db_int(dbs[i], "SELECT count(*) FROM t") != 3) return 3;
    if (strcmp(db_text(dbs[i], "PRAGMA integrity_check"), "ok") != 0) return 4;
    sqlite3_close(dbs[i]);
  }
  support_teardown(NULL);
  return 0;
}

static const char *self;

static void works_without(void **state) {
  static const char *const ways[] = {PLAIN, URING_AUTO, URING_SYNC, URING_RING};
  (void)state;
  const char *preload = getenv("LD_PRELOAD");
  if (preload && strstr(preload, "vgpreload")) skip(); /* /proc/self/exe is valgrind then */
  chmod(support_path("."), 0777);
  for (int w = 0; w < 4; w++) {
    pid_t child = fork();
    if (child == 0) {
      execl("/proc/self/exe", self, "--unprivileged", ways[w], (char *)NULL);
      _exit(127);
    }
    int status;
    waitpid(child, &status, 0);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) skip();
    if (status != 0) fail_msg("%s: status 0x%x", ways[w], status);
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup(works_without, support_reset)};
  self = argv[0];
  if (argc == 3 && !strcmp(argv[1], "--unprivileged")) return unprivileged(argv[2]);
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 33: works for an unprivileged user without locked memory");
  return rc;
}
