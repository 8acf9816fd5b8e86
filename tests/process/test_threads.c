/*
** test_threads.c - connections and threads.
**
** One connection that is handed from thread to thread, each of which ends before or after the next one goes on (a
** ring's requests must not die with the thread that submitted them); a connection per thread on one database, both VFSs
** mixed; one connection used by many threads at once (SQLite's own mutex serializes them). Meant to run under
** ThreadSanitizer too.
*/
#include "support.h"

#define COUNT(a)   (sizeof(a) / sizeof((a)[0]))
#define BIG_ROWS   300
#define MAX_THREAD 8

static const char *const modes[] = {"wal", "delete", "truncate", "persist"};
static _Atomic int failures, opened; /* every fourth connection does its syncs: they cost time */

static bool thread_sql(sqlite3 *db, const char *text, row_value *value) {
  int rc = sql_rc(db, text, value);
  if (rc == SQLITE_OK) return true;
  fprintf(stderr, "in a thread: %s: %d %s\n", text, rc, sqlite3_errmsg(db));
  failures++;
  return false;
}

static const char *database_make(const char *mode) {
  static char path[PATH_MAX];
  static int number;
  char text[512];
  snprintf(path, sizeof(path), "%s/threads-%d.db", work_dir, number++);
  sqlite3 *db = db_open(path, default_vfs);
  snprintf(text, sizeof(text),
           "PRAGMA synchronous=off; PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, b); CREATE TABLE "
           "big(a INTEGER PRIMARY KEY, b);"
           "CREATE TABLE account(a INTEGER PRIMARY KEY, balance); INSERT INTO account VALUES(1, 500), (2, 500);"
           "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d)"
           "INSERT INTO big SELECT i, randomblob(900) FROM c",
           mode, BIG_ROWS);
  sql(db, text);
  db_close(db);
  return path;
}

static void verify(const char *path, long long rows) {
  row_value v;
  assert_int_equal(helper_open(0, path, default_vfs), SQLITE_OK);
  assert_int_equal(helper_sql(0, "PRAGMA integrity_check", &v), SQLITE_OK);
  assert_string_equal(v.text, "ok");
  assert_int_equal(helper_must(0, "SELECT count(*) FROM t"), rows);
  assert_int_equal(helper_must(0, "SELECT sum(balance) FROM account"), 1000);
  assert_int_equal(helper_must(0, "SELECT count(*) FROM big"), BIG_ROWS);
  assert_int_equal(helper_close(0), SQLITE_OK);
  database_remove(path);
}

static sqlite3 *open_mode(const char *path, const char *vfs, const char *mode) {
  char text[128];
  sqlite3 *db = NULL;
  if (db_open_rc(path, vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db) != SQLITE_OK) {
    fprintf(stderr, "open %s through %s: %s\n", path, vfs, sqlite3_errmsg(db));
    failures++;
  }
  sqlite3_busy_timeout(db, PATIENT_MS);
  snprintf(text, sizeof(text), "PRAGMA journal_mode=%s; PRAGMA cache_size=5; PRAGMA synchronous=%s", mode,
           opened++ % 4 == 0 ? "normal" : "off");
  thread_sql(db, text, NULL);
  return db;
}

/* ---- one connection, many threads in turn --------------------------------------------------------------------- */

typedef struct turn {
  sqlite3 *db;
  const char *text;
} turn;

static void *turn_run(void *arg) {
  turn *t = arg;
  thread_sql(t->db, t->text, NULL);
  return NULL;
}

/* Each piece of a transaction by a thread of its own that has ended before the next one starts. */
static void in_turn_by_ended_threads(const char *mode) {
  static const char *const pieces[] = {
      "SELECT sum(length(b)) FROM big",
      "BEGIN",
      "INSERT INTO t(b) VALUES('x'); UPDATE big SET b = randomblob(900)",
      "SAVEPOINT s; UPDATE big SET b = zeroblob(900); DELETE FROM t",
      "ROLLBACK TO s; RELEASE s",
      "SELECT sum(length(b)) FROM big",
      "COMMIT",
      "PRAGMA wal_checkpoint(PASSIVE)",
  };
  const char *path = database_make(mode);
  sqlite3 *db = open_mode(path, uring_vfs(), mode);
  for (int round = 0; round < 8; round++) {
    for (size_t i = 0; i < COUNT(pieces); i++) {
      pthread_t thread;
      turn t = {db, pieces[i]};
      assert_int_equal(pthread_create(&thread, NULL, turn_run, &t), 0);
      assert_int_equal(pthread_join(thread, NULL), 0);
    }
  }
  db_close(db);
  verify(path, 8);
}

/* Long-lived threads pass the connection round a ring. */
typedef struct relay {
  pthread_mutex_t mutex;
  pthread_cond_t changed;
  sqlite3 *db;
  int turn, turns, threads;
} relay;

typedef struct runner {
  relay *r;
  int number;
} runner;

static void *relay_run(void *arg) {
  runner *me = arg;
  relay *r = me->r;
  pthread_mutex_lock(&r->mutex);
  while (r->turn < r->turns) {
    if (r->turn % r->threads != me->number) {
      pthread_cond_wait(&r->changed, &r->mutex);
      continue;
    }
    switch (r->turn % 4) {
    case 0: thread_sql(r->db, "BEGIN; INSERT INTO t(b) VALUES('x')", NULL); break;
    case 1: thread_sql(r->db, "UPDATE big SET b = randomblob(900) WHERE a % 3 = 1", NULL); break;
    case 2: thread_sql(r->db, "SELECT sum(length(b)) FROM big", NULL); break;
    default: thread_sql(r->db, "COMMIT", NULL); break;
    }
    r->turn++;
    pthread_cond_broadcast(&r->changed);
  }
  pthread_mutex_unlock(&r->mutex);
  return NULL;
}

static void in_turn_by_living_threads(const char *mode) {
  enum { THREADS = 3 };
  const char *path = database_make(mode);
  relay r = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, open_mode(path, uring_vfs(), mode), 0, 48, THREADS};
  pthread_t threads[THREADS];
  runner runners[THREADS];
  for (int i = 0; i < THREADS; i++) {
    runners[i] = (runner){&r, i};
    assert_int_equal(pthread_create(&threads[i], NULL, relay_run, &runners[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  db_close(r.db);
  verify(path, 12);
}

static void test_one_connection_by_threads_in_turn(void **state) {
  (void)state;
  failures = 0;
  for (size_t m = 0; m < COUNT(modes); m++) {
    in_turn_by_ended_threads(modes[m]);
    in_turn_by_living_threads(modes[m]);
  }
  assert_int_equal(failures, 0);
}

/* ---- a connection per thread ------------------------------------------------------------------------------------- */

typedef struct worker {
  const char *path, *mode, *vfs;
  sqlite3 *shared; /* or NULL: a connection of its own */
  int rounds;
  bool reopens;
} worker;

static void *worker_run(void *arg) {
  worker *w = arg;
  sqlite3 *db = w->shared != NULL ? w->shared : open_mode(w->path, w->vfs, w->mode);
  row_value v;
  for (int i = 0; i < w->rounds; i++) {
    /* One statement each, so that threads on one connection do not get into each other's transactions. */
    thread_sql(db, "INSERT INTO t(b) VALUES('x')", NULL);
    thread_sql(db, "UPDATE account SET balance = balance + CASE a WHEN 1 THEN 3 ELSE -3 END", NULL);
    if (thread_sql(db, "SELECT sum(balance) FROM account", &v) && v.number != 1000) {
      fprintf(stderr, "the sum is %lld\n", v.number);
      failures++;
    }
    if (i % 3 == 1) thread_sql(db, "UPDATE big SET b = randomblob(900) WHERE a % 5 = 1", NULL);
    if (thread_sql(db, "SELECT sum(length(b)) FROM big", &v) && v.number != BIG_ROWS * 900) {
      fprintf(stderr, "the length is %lld\n", v.number);
      failures++;
    }
    if (i % 4 == 2 && strcmp(w->mode, "wal") == 0 && sql_rc(db, "PRAGMA wal_checkpoint(PASSIVE)", NULL) != SQLITE_OK) {
      /* Beside another thread's statement on the same connection SQLite answers SQLITE_LOCKED. */
      if ((sqlite3_errcode(db) & 0xff) != SQLITE_LOCKED && w->shared == NULL) failures++;
    }
    if (w->reopens && i % 4 == 3) {
      if (sqlite3_close(db) != SQLITE_OK) failures++;
      db = open_mode(w->path, w->vfs, w->mode);
    }
  }
  if (w->shared == NULL && sqlite3_close(db) != SQLITE_OK) failures++;
  return NULL;
}

static void run_workers(worker *workers, int count) {
  pthread_t threads[MAX_THREAD];
  for (int i = 0; i < count; i++) assert_int_equal(pthread_create(&threads[i], NULL, worker_run, &workers[i]), 0);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
  assert_int_equal(failures, 0);
}

static void test_connections_per_thread(void **state) {
  (void)state;
  failures = 0;
  for (size_t m = 0; m < COUNT(modes); m++) {
    bool wal = strcmp(modes[m], "wal") == 0;
    int count = wal ? MAX_THREAD : 3, rounds = wal ? 16 : 8;
    const char *path = database_make(modes[m]);
    worker workers[MAX_THREAD];
    for (int i = 0; i < count; i++) workers[i] = (worker){path, modes[m], uring_vfs(), NULL, rounds, i % 2 == 0};
    run_workers(workers, count);
    verify(path, (long long)count * rounds);

    path = database_make(modes[m]);
    for (int i = 0; i < count; i++) {
      workers[i] = (worker){path, modes[m], i % 2 ? uring_vfs() : default_vfs, NULL, rounds, i % 4 < 2};
    }
    run_workers(workers, count);
    verify(path, (long long)count * rounds);
  }
}

/* Each thread a database of its own: they share nothing but the pool of rings. */
static void test_database_per_thread(void **state) {
  (void)state;
  failures = 0;
  char paths[MAX_THREAD][PATH_MAX];
  worker workers[MAX_THREAD];
  for (int i = 0; i < MAX_THREAD; i++) {
    snprintf(paths[i], sizeof(paths[i]), "%s", database_make(modes[i % 2]));
    workers[i] = (worker){paths[i], modes[i % 2], uring_vfs(), NULL, 12, true};
  }
  run_workers(workers, MAX_THREAD);
  for (int i = 0; i < MAX_THREAD; i++) verify(paths[i], 12);
}

static void test_one_connection_by_threads_at_once(void **state) {
  (void)state;
  failures = 0;
  for (size_t m = 0; m < COUNT(modes); m++) {
    const char *path = database_make(modes[m]);
    sqlite3 *db = open_mode(path, uring_vfs(), modes[m]);
    worker workers[4];
    for (int i = 0; i < 4; i++) workers[i] = (worker){path, modes[m], uring_vfs(), db, 10, false};
    run_workers(workers, 4);
    db_close(db);
    verify(path, 40);
  }
}

int main(void) {
  support_start();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_one_connection_by_threads_in_turn),
      cmocka_unit_test(test_connections_per_thread),
      cmocka_unit_test(test_database_per_thread),
      cmocka_unit_test(test_one_connection_by_threads_at_once),
  };
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
