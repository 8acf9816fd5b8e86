/*
** test_rings.c - a ring is made for the first batch that takes one, and none is left when the last database is closed.
**
** A program that opens, reads single rows, commits small transactions and closes never needs a ring. It runs here under
** a seccomp filter that kills the process at the first io_uring call. PRAGMA uring_stats makes no ring either. A
** program that had rings has none among its descriptors after the last sqlite3_close.
*/
#include "support.h"
#include <seccomp.h>

/* ---- no ring before it is needed --------------------------------------------------------------------------------- */

static bool forbid_rings(void) {
  static const int calls[] = {SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register)};
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  bool done = filter != NULL;
  for (size_t i = 0; done && i < COUNT(calls); i++)
    done = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, calls[i], 0) == 0;
  done = done && seccomp_load(filter) == 0;
  seccomp_release(filter);
  return done;
}

static bool filters; /* can be installed here? valgrind, for one, does not know the system call */

static void try_a_filter(void) {
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) _exit(!forbid_rings());
  int status;
  filters = waitpid(pid, &status, 0) == pid && status == 0;
}

/* What PRAGMA uring_stats says of rings; empty on another VFS. */
static const char *ring_text(sqlite3 *db) {
  static row_value value;
  must(sql_rc(db, "PRAGMA uring_stats", &value) == SQLITE_OK);
  char *text = strstr(value.text, "\"ring\":\"");
  if (text == NULL) return "";
  text += strlen("\"ring\":\"");
  text[strcspn(text, "\"")] = 0;
  return text;
}

static void must_not_have_rings(sqlite3 *db) {
  must(strcmp(ring_text(db), "available") != 0);
  must(!vfs_is_uring || !here.uring || ring_text(db)[0] != 0);
  must(ring_count() == 0);
}

typedef struct small_case {
  const char *journal_mode, *synchronous;
  bool cold;
} small_case;

/* Rows here and there of a database of several hundred pages, and small commits. */
static void small_work(sqlite3 *db, const char *synchronous) {
  char sql[100];
  snprintf(sql, sizeof(sql), "PRAGMA synchronous=%s", synchronous);
  say(db, sql);
  say(db,
      "SELECT b FROM t WHERE id=300; SELECT b FROM t WHERE id=17; SELECT b FROM t WHERE id=555; INSERT INTO t(b) "
      "VALUES('x'); "
      "UPDATE t SET b='y' WHERE id=100; SELECT b FROM t WHERE id=301; BEGIN; DELETE FROM t WHERE id=5; ROLLBACK; "
      "BEGIN; INSERT INTO t(b) VALUES(randomblob(5000)); SAVEPOINT s; UPDATE t SET b='z' WHERE id=400; ROLLBACK TO s; "
      "COMMIT; CREATE TEMP TABLE x(a); INSERT INTO x VALUES(1); SELECT max(id) FROM t");
  for (int i = 0; i < 5; i++) say(db, "INSERT INTO t(b) VALUES(randomblob(900))");
}

static void work_without_rings(const void *arg) {
  const small_case *c = arg;
  database_prepare("a.db", c->journal_mode, 600);
  if (c->cold) make_cold(in_directory("a.db"));
  must(forbid_rings());
  start_sqlite();
  sqlite3 *db = open_noted("a.db", ANEW, NULL);
  must_not_have_rings(db);
  small_work(db, c->synchronous);
  sqlite3 *other = open_noted("a.db", ANEW, NULL);
  small_work(other, c->synchronous);
  say_with(other, "ATTACH ?1 AS b; CREATE TABLE b.u(a); INSERT INTO b.u VALUES(1); SELECT * FROM b.u; DETACH b",
           uri_of("b.db", NULL));
  say(db, "PRAGMA wal_checkpoint; SELECT b FROM t WHERE id=600");
  must_not_have_rings(other);
  close_noted(other);
  close_noted(db);
  db = open_noted("new.db", ANEW, NULL);
  say(db,
      "PRAGMA journal_mode=wal; CREATE TABLE t(a); INSERT INTO t VALUES(1); SELECT * FROM t; PRAGMA integrity_check");
  must_not_have_rings(db);
  close_noted(db);
}

static void test_small_work_under_a_filter_that_kills(void **state) {
  (void)state;
  if (!filters) skip();
  static const small_case cases[] = {{"wal", "FULL", false},      {"wal", "NORMAL", true},
                                     {"wal", "OFF", false},       {"delete", "FULL", true},
                                     {"delete", "NORMAL", false}, {"truncate", "EXTRA", false}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    const small_case *c = &cases[i];
    char name[64];
    snprintf(name, sizeof(name), "%s, %s%s", c->journal_mode, c->synchronous, c->cold ? ", cold" : "");
    same_on_both(name, work_without_rings, c, RINGS_FORBIDDEN);
  }
}

/* The filter is there, and a ring would have been seen. */
static void test_the_filter_kills(void **state) {
  (void)state;
  if (!ring_works || !filters) skip();
  fflush(NULL);
  snprintf(here.directory, sizeof(here.directory), "%s", work_dir);
  here.uring = true;
  here.backend = "uring";
  const pid_t pid = fork();
  if (pid == 0) {
    must(forbid_rings());
    start_sqlite();
    sqlite3 *db = open_noted("killed.db", ANEW, NULL);
    make_table(db, "wal");
    work_on_table(db);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

/* ---- no ring is left ------------------------------------------------------------------------------------------------
** */

/* By now there was a batch: with rings there is one. */
static void must_have_rings(sqlite3 *db) {
  if (!ring_works || !here.uring || strcmp(here.backend, "sync") == 0) return;
  must(ring_count() > 0);
  must(strcmp(ring_text(db), "available") == 0);
}

static void *work_in_thread(void *arg) {
  sqlite3 *db = arg;
  work_on_table(db);
  must_have_rings(db);
  return NULL;
}

static void close_last(sqlite3 *db) {
  close_noted(db);
  if (ring_count() != 0) fd_print();
  must(ring_count() == 0);
}

/* Two connections, two databases, and one that is attached: the ring goes with the last of them. */
static void several_databases(void) {
  sqlite3 *a = open_noted("a.db", ANEW, NULL), *b = open_noted("a.db", ANEW, NULL), *c = open_noted("c.db", ANEW, NULL);
  make_table(a, "wal");
  make_table(c, "wal");
  work_on_table(a);
  must_have_rings(a);
  close_noted(a);
  work_on_table(b);
  say_with(b, "ATTACH ?1 AS other; INSERT INTO other.t SELECT id+1000, b FROM main.t; DETACH other",
           uri_of("c.db", NULL));
  must_have_rings(b);
  close_noted(b);
  work_on_table(c);
  close_last(c);
}

/* A connection that lives on as long as its statement (sqlite3_close_v2). */
static void statement_left(void) {
  sqlite3_stmt *statement = NULL;
  sqlite3 *db = open_noted("a.db", ANEW, NULL);
  work_on_table(db);
  must(sqlite3_prepare_v2(db, "SELECT id, b FROM t", -1, &statement, NULL) == SQLITE_OK);
  must(sqlite3_step(statement) == SQLITE_ROW);
  must_have_rings(db);
  must(sqlite3_close_v2(db) == SQLITE_OK);
  note("finalize -> %d", sqlite3_finalize(statement));
  must(ring_count() == 0);
}

static void other_thread(void) {
  pthread_t thread;
  sqlite3 *db = open_noted("a.db", ANEW, NULL);
  must(pthread_create(&thread, NULL, work_in_thread, db) == 0 && pthread_join(thread, NULL) == 0);
  close_last(db);
}

static void failures(void) {
  sqlite3 *db = open_noted("a.db", ANEW, NULL);
  work_on_table(db);
  sqlite3 *none = open_noted("missing/a.db", ANEW, NULL);
  close_noted(none);
  say(db, "BEGIN; UPDATE t SET b=randomblob(length(b))"); /* closed in a transaction */
  close_last(db);
  none = open_noted("missing/a.db", ANEW, NULL);
  close_last(none);
}

static void work_and_look_for_rings(const void *arg) {
  (void)arg;
  start_sqlite();
  must(ring_count() == 0);
  several_databases();
  statement_left();
  other_thread();
  failures();
}

static void test_none_is_left(void **state) {
  (void)state;
  same_on_both("no ring is left", work_and_look_for_rings, NULL, RINGS_USED);
}

/* auto: the second large commit of a WAL is a batch. */
static void commit_until_ring(const void *arg) {
  (void)arg;
  start_sqlite();
  sqlite3 *db = open_noted("a.db", ANEW, NULL);
  say(db, "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, b)");
  if (strcmp(here.backend, "uring") != 0) must_not_have_rings(db);
  for (int i = 0; i < 4; i++) say(db, "INSERT INTO t(b) VALUES(randomblob(300000))");
  must_have_rings(db);
  close_last(db);
}

static void test_made_when_needed(void **state) {
  (void)state;
  same_on_both("made when needed", commit_until_ring, NULL, RINGS_USED);
}

int main(void) {
  environment_start();
  try_a_filter();
  if (!filters) printf("no seccomp filter can be had here: what needs none is tested\n");
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_small_work_under_a_filter_that_kills),
                                     cmocka_unit_test(test_the_filter_kills), cmocka_unit_test(test_none_is_left),
                                     cmocka_unit_test(test_made_when_needed)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
