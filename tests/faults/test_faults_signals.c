/*
** A storm of interrupted system calls: a timer signal a thousand times a second, its handler without SA_RESTART, while
** everything is at work. Nothing fails, nothing is lost.
*/
#include "support_faults.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static volatile sig_atomic_t signals;

static void on_signal(int number) {
  (void)number;
  signals++;
}

static void storm(bool on) {
  struct sigaction action = {.sa_handler = on_signal};
  struct itimerval timer = {{0, on ? 1000 : 0}, {0, on ? 1000 : 0}};
  sigemptyset(&action.sa_mask);
  if (on) sigaction(SIGALRM, &action, NULL);
  setitimer(ITIMER_REAL, &timer, NULL);
}

static void working(fault_run *run, void *arg) {
  static const char *const modes[] = {"wal", "delete", "persist"};
  (void)arg;
  storm(true);
  for (int m = 0; m < 3; m++) {
    char name[32], sql[200];
    snprintf(name, sizeof name, "m%d.db", m);
    sqlite3 *db = run_open(run, name);
    snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s; PRAGMA synchronous=FULL; PRAGMA cache_size=30", modes[m]);
    run_quiet(run, db, sql);
    run_quiet(run, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
    for (int i = 0; i < 12; i++) {
      run_transaction(run, db, "small", "INSERT INTO t(pad) VALUES(randomblob(100))");
      run_transaction(run, db, "large",
                      "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<150) INSERT INTO t(pad) "
                      "SELECT randomblob(3000) FROM n");
      run_int(run, db, "SELECT count(*)*1000+sum(length(pad))%1000 FROM t");
    }
    run_sql(run, db, "PRAGMA wal_checkpoint(TRUNCATE)");
    run_transaction(run, db, "delete", "DELETE FROM t WHERE id%2");
    run_sql(run, db, "VACUUM");
    run_close(run, db);
    run_verify(run, name, "SELECT count(*) FROM t");
  }
  tell(run, "signals %d", (int)signals);
  if (signals < 20) tell(run, "NOT MET");
  storm(false);
}

static void interrupted(void **state) {
  (void)state;
  fault_compare("1000 signals a second", NULL, working, NULL, "m2.db: ok", NULL);
}

int main(int argc, char **argv) {
  if (argc > 1) cmocka_set_test_filter(argv[1]); /* one test by name, or by a pattern with * */
  const struct CMUnitTest tests[] = {cmocka_unit_test(interrupted)};
  int rc = cmocka_run_group_tests(tests, fault_setup, fault_teardown);
  if (rc == 0) puts("a storm of signals interrupts system calls, and nobody notices");
  return rc;
}
