/*
** Traps 13, 14 and 15: sleeping. The busy handler sleeps in the main database's VFS and counts calls, not time;
** sqlite3_sleep() uses the value returned; the wal-index retries sleep microseconds. So xSleep passes every request on,
** unshortened, and returns the true time.
*/
#include "support_db.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void true_time(void **state) {
  static const int requests[] = {1, 50, 1000, 20000, 150000};
  (void)state;
  sqlite3_vfs *vfs = sqlite3_vfs_find("uring");
  for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
    recorder_clear_log();
    double start = now();
    int slept = vfs->xSleep(vfs, requests[i]);
    double took = (now() - start) * 1e6;
    assert_true(slept >= requests[i]);
    assert_true(took >= requests[i]);
    assert_true(slept <= took + 1);
    assert_int_equal(recorder_tally(REC_SLEEP, REC_ANY_ROLE, 0), 1);
    assert_int_equal(recorder_at(recorder_find(REC_SLEEP, REC_ANY_ROLE, 0))->arg, requests[i]);
  }
}

/* Every sleep that a refused statement makes, as one string. */
static char *busy_sleeps(const char *way, const char *holder_sql, const char *sql, int expected) {
  static char out[4096];
  size_t n = 0;
  support_reset(NULL);
  recorder_fake_sleep(true);
  sqlite3 *holder = db_open("t.db", "vfs=unix");
  db_exec(holder, strstr(holder_sql, "wal") ? "PRAGMA journal_mode=wal; CREATE TABLE t(x)" : "CREATE TABLE t(x)");
  sqlite3 *db = db_open("t.db", way);
  db_int(db, "SELECT count(*) FROM t");
  sqlite3_busy_timeout(db, 5000);
  db_exec(holder, holder_sql);
  recorder_clear_log();
  assert_int_equal(db_try(db, sql), expected);
  out[0] = 0;
  for (size_t i = 0; i < recorder_count(); i++)
    if (recorder_at(i)->kind == REC_SLEEP) n += (size_t)snprintf(out + n, sizeof out - n, "%d ", recorder_at(i)->arg);
  db_close(db);
  db_exec(holder, "COMMIT");
  db_close(holder);
  return out;
}

static void busy_timeout_counts_the_same_calls(void **state) {
  static const struct {
    const char *hold, *want;
    int code;
  } cases[] = {
      {"BEGIN EXCLUSIVE", "SELECT * FROM t", SQLITE_BUSY},
      {"BEGIN IMMEDIATE", "BEGIN IMMEDIATE", SQLITE_BUSY},
      {"BEGIN IMMEDIATE /* wal */", "INSERT INTO t VALUES(1)", SQLITE_BUSY},
      {"BEGIN; INSERT INTO t VALUES(1) /* wal */", "PRAGMA wal_checkpoint(TRUNCATE); BEGIN IMMEDIATE", SQLITE_BUSY}};
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char plain[4096];
    snprintf(plain, sizeof plain, "%s", busy_sleeps(PLAIN, cases[i].hold, cases[i].want, cases[i].code));
    assert_true(strlen(plain) > 100); /* about 60 calls use up the 5 seconds */
    assert_string_equal(busy_sleeps(URING_SYNC, cases[i].hold, cases[i].want, cases[i].code), plain);
    assert_string_equal(busy_sleeps(URING_AUTO, cases[i].hold, cases[i].want, cases[i].code), plain);
  }
}

/* A real wait: a timeout of 300 ms is used up, and not much more. */
static void busy_timeout_takes_its_time(void **state) {
  (void)state;
  sqlite3 *holder = db_open("t.db", "vfs=unix");
  db_exec(holder, "CREATE TABLE t(x)");
  sqlite3 *db = db_open("t.db", URING_AUTO);
  sqlite3_busy_timeout(db, 300);
  db_exec(holder, "BEGIN EXCLUSIVE");
  double start = now();
  assert_int_equal(db_try(db, "SELECT * FROM t"), SQLITE_BUSY);
  assert_true(now() - start >= 0.25);
  db_exec(holder, "COMMIT");
  db_close(db);
  db_close(holder);
}

/* Attached to a main database of another VFS, ours is not asked to sleep: nothing may depend on it. */
static void attached_only(void **state) {
  (void)state;
  sqlite3 *holder = db_open("t.db", "vfs=unix");
  db_exec(holder, "PRAGMA journal_mode=wal; CREATE TABLE t(x)");
  sqlite3 *db = db_open("main.db", "vfs=unix");
  db_execf(db, "ATTACH 'file:%s?%s' AS a", support_path("t.db"), URING_AUTO);
  sqlite3_busy_timeout(db, 100);
  db_exec(holder, "BEGIN IMMEDIATE");
  recorder_clear_log();
  assert_int_equal(db_try(db, "INSERT INTO a.t VALUES(1)"), SQLITE_BUSY);
  assert_int_equal(recorder_tally(REC_SLEEP, REC_ANY_ROLE, 0), 0);
  db_exec(holder, "COMMIT");
  db_exec(db, "INSERT INTO a.t VALUES(1)");
  db_close(db);
  db_close(holder);
}

/* Trap 15: WAL_RETRY sleeps. The read marks refuse for ever: 100 retries, the same sleeps, SQLITE_PROTOCOL. */
static char *read_mark_sleeps(const char *way) {
  static char out[8192];
  size_t n = 0;
  support_reset(NULL);
  sqlite3 *db = db_open("t.db", way);
  db_exec(db, "PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(1)");
  recorder_fake_sleep(true);
  sqlite3_busy_timeout(db, 5000);
  recorder_clear_log();
  recorder_fail(REC_SHM_LOCK, REC_DB, 1, 0, SQLITE_BUSY);
  assert_int_equal(db_try(db, "SELECT * FROM t"), SQLITE_PROTOCOL);
  recorder_fail_off();
  out[0] = 0;
  for (size_t i = 0; i < recorder_count(); i++) {
    const rec_call *c = recorder_at(i);
    if (c->kind == REC_SLEEP) n += (size_t)snprintf(out + n, sizeof out - n, "%d ", c->arg);
    if (c->kind == REC_SHM_LOCK)
      n += (size_t)snprintf(out + n, sizeof out - n, "%lld/%lld/%d ", c->offset, c->bytes, c->arg);
  }
  recorder_fake_sleep(false);
  db_exec(db, "INSERT INTO t VALUES(2)");
  db_close(db);
  return out;
}

static void read_mark_retries(void **state) {
  (void)state;
  char *plain = strdup(read_mark_sleeps(PLAIN));
  assert_true(strlen(plain) > 500);
  assert_string_equal(read_mark_sleeps(URING_SYNC), plain);
  assert_string_equal(read_mark_sleeps(URING_AUTO), plain);
  free(plain);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(true_time, support_reset),
      cmocka_unit_test_setup(busy_timeout_counts_the_same_calls, support_reset),
      cmocka_unit_test_setup(busy_timeout_takes_its_time, support_reset),
      cmocka_unit_test_setup(attached_only, support_reset),
      cmocka_unit_test_setup(read_mark_retries, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("traps 13, 14, 15: sleeps are passed on unshortened and the true time comes back");
  return rc;
}
