/*
** test_shared_cache.c - connections that share one page cache (sqlite3_enable_shared_cache, cache=shared).
**
** All of them use one sqlite3_file, in turn, from whatever thread has something to do. First step by step, where every
** code is known; then two threads at once, where the rows that are there in the end are.
*/
#include "support.h"

/* ---- step by step ------------------------------------------------------------------------------------------------ */

static void work_step_by_step(const void *arg) {
  const char *journal_mode = arg;
  start_sqlite();
  must(sqlite3_enable_shared_cache(1) == SQLITE_OK);
  sqlite3 *a = open_noted("a.db", ANEW, NULL), *b = open_noted("a.db", ANEW, NULL);
  sqlite3 *alone = open_noted("a.db", ANEW, "&cache=private");
  make_table(a, journal_mode);
  say(a, "CREATE TABLE u(x)");
  work_on_table(b);
  say(a, "BEGIN; UPDATE t SET b=randomblob(3000) WHERE id<20");
  say(b, "SELECT count(*) FROM t; INSERT INTO u VALUES(1); PRAGMA read_uncommitted=1; SELECT id, b FROM t");
  say(alone, "SELECT id, b FROM t; INSERT INTO u VALUES(2)");
  say(b, "PRAGMA read_uncommitted=0; SELECT count(*) FROM u");
  say(a, "ROLLBACK");
  say(b, "BEGIN; INSERT INTO u VALUES(3); SELECT id, b FROM t");
  say(a, "UPDATE t SET b=4 WHERE id=4; SELECT x FROM u; SELECT id, b FROM t");
  say(b, "COMMIT; PRAGMA wal_checkpoint");
  say(alone, "INSERT INTO t(b) VALUES(randomblob(90000)); SELECT id, b FROM t");
  say(a, "SELECT id, b FROM t; SELECT x FROM u; PRAGMA integrity_check");
  close_noted(a);
  work_on_table(b);
  close_noted(alone);
  close_noted(b);
}

static void test_step_by_step(void **state) {
  (void)state;
  same_on_both("shared cache, wal", work_step_by_step, "wal", RINGS_USED);
  same_on_both("shared cache, persist", work_step_by_step, "persist", RINGS_USED);
}

/* ---- two threads ------------------------------------------------------------------------------------------------- */

enum { TRANSACTIONS = 60 };

typedef struct worker {
  pthread_t thread;
  int number;
  sqlite3 *db;
  const char *failure;
} worker;

/* Locked by the other one (SQLITE_LOCKED_SHAREDCACHE), or by a connection with a cache of its own (SQLITE_BUSY): again,
** a little later. */
static bool until_done(worker *w, const char *sql) {
  for (;;) {
    const int rc = sqlite3_exec(w->db, sql, NULL, NULL, NULL) & 0xff;
    if (rc == SQLITE_OK) return true;
    if (rc != SQLITE_LOCKED && rc != SQLITE_BUSY) {
      w->failure = sqlite3_errmsg(w->db);
      return false;
    }
    if (!sqlite3_get_autocommit(w->db)) sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
    sqlite3_sleep(1);
  }
}

/* As if it were one statement, so that it can be tried anew as a whole. What is written depends on the numbers alone.
** */
static void *work_of_one(void *arg) {
  worker *w = arg;
  char sql[500];
  for (int i = 0; i < TRANSACTIONS && w->failure == NULL; i++) {
    snprintf(
        sql, sizeof(sql),
        "BEGIN IMMEDIATE; INSERT INTO t(id, b) VALUES(%d, printf('%%.*c', %d, 'x')); UPDATE t SET b=b||%d WHERE id=%d; "
        "SELECT sum(length(b)) FROM t; COMMIT",
        1000 * w->number + i, 200 + 997 * (i % 30), i, 1000 * w->number + i / 2);
    if (until_done(w, sql) && i % 5 == 0) until_done(w, "SELECT id, b FROM t ORDER BY id DESC");
    if (i % 20 == 7) until_done(w, "BEGIN; DELETE FROM t; ROLLBACK");
  }
  return NULL;
}

static void work_in_two_threads(const void *arg) {
  const char *journal_mode = arg;
  worker workers[2] = {{.number = 1}, {.number = 2}};
  start_sqlite();
  must(sqlite3_enable_shared_cache(1) == SQLITE_OK);
  sqlite3 *db = open_noted("a.db", ANEW, NULL);
  make_table(db, journal_mode);
  say(db, "PRAGMA synchronous=NORMAL; PRAGMA cache_size=10");
  for (int i = 0; i < 2; i++) workers[i].db = open_noted("a.db", ANEW, NULL);
  for (int i = 0; i < 2; i++) must(pthread_create(&workers[i].thread, NULL, work_of_one, &workers[i]) == 0);
  for (int i = 0; i < 2; i++) must(pthread_join(workers[i].thread, NULL) == 0);
  for (int i = 0; i < 2; i++) {
    if (workers[i].failure != NULL) note("thread %d: %s", i, workers[i].failure);
    close_noted(workers[i].db);
  }
  say(db, "SELECT id, b FROM t ORDER BY id; PRAGMA integrity_check");
  close_noted(db);
  /* In which order pages were taken is not known: the file differs from run to run, its rows do not. */
  must(unlink(in_directory("a.db")) == 0);
}

static void test_two_threads(void **state) {
  (void)state;
  same_on_both("two threads, wal", work_in_two_threads, "wal", RINGS_USED);
  same_on_both("two threads, truncate", work_in_two_threads, "truncate", RINGS_USED);
}

int main(void) {
  environment_start();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_step_by_step), cmocka_unit_test(test_two_threads)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
