/*
** io_uring forbidden, by seccomp: set-up answers EPERM or ENOSYS, or set-up is allowed and entering or registering is
** not. `auto` works through the synchronous backend and says so exactly once; `uring` is refused with the reason, in
** the log for a URI and in the message for a PRAGMA.
*/
#include "support_faults.h"

#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define LARGE                                                                                                          \
  "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<100) INSERT INTO t(pad) SELECT "              \
  "randomblob(3000) FROM n"

typedef struct ban {
  const char *name;
  int call, error;
  const char *reason; /* as it is told */
  bool late;          /* installed after the first database was opened and used */
} ban;

static void forbid(fault_run *run, const ban *b) {
  scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
  if (!filter || seccomp_rule_add(filter, SCMP_ACT_ERRNO((uint32_t)b->error), b->call, 0) != 0 ||
      seccomp_load(filter) != 0)
    tell(run, "no seccomp here");
  seccomp_release(filter);
}

static void work(fault_run *run, const char *name) {
  sqlite3 *db = run_open(run, name);
  if (!db) return;
  run_quiet(run, db,
            "PRAGMA journal_mode=wal; PRAGMA synchronous=FULL; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
  for (int i = 0; i < 4; i++) run_transaction(run, db, "large", LARGE);
  run_transaction(run, db, "small", "INSERT INTO t(pad) VALUES('x')");
  run_int(run, db, "SELECT count(*) FROM t");
  run_sql(run, db, "PRAGMA wal_checkpoint(TRUNCATE)");
  run_close(run, db);
  run_verify(run, name, "SELECT count(*) FROM t");
}

static void forbidden(fault_run *run, void *arg) {
  const ban *b = arg;
  /* Rings are kept as long as a database is open. */
  sqlite3 *kept = b->late ? run_open(run, "kept.db") : NULL;
  if (b->late) work(run, "before.db");
  forbid(run, b);
  for (int i = 0; i < 3; i++) {
    char name[16];
    snprintf(name, sizeof name, "t%d.db", i);
    work(run, name);
  }
  if (kept) run_close(run, kept);
}

/* uring is asked for, in the URI and by PRAGMA. */
static void asked_for(fault_run *run, void *arg) {
  sqlite3 *db = NULL;
  char uri[2048];
  forbid(run, arg);
  snprintf(uri, sizeof uri, "file:%s/t.db?vfs=uring&uring_backend=uring", run->dir);
  int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  tell(run, "open %d", rc & 0xff);
  if (access(run_path(run, "t.db"), F_OK) == 0) tell(run, "the refused open left a file behind");
  sqlite3_close(db);
  snprintf(uri, sizeof uri, "file:%s/t.db?vfs=uring", run->dir);
  rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  tell(run, "open auto %d", rc);
  rc = sqlite3_exec(db, "PRAGMA uring_backend=uring", NULL, NULL, NULL);
  tell(run, "pragma %d %s", rc & 0xff, sqlite3_errmsg(db));
  sqlite3_stmt *statement = NULL;
  if (sqlite3_prepare_v2(db, "PRAGMA uring_backend", -1, &statement, NULL) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW)
    tell(run, "still %s", (const char *)sqlite3_column_text(statement, 0));
  sqlite3_finalize(statement);
  if (sqlite3_prepare_v2(db, "PRAGMA uring_stats", -1, &statement, NULL) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW)
    tell(run, "stats %s", (const char *)sqlite3_column_text(statement, 0));
  sqlite3_finalize(statement);
  rc = sqlite3_exec(db, "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(500000))", NULL, NULL, NULL);
  tell(run, "works %d", rc);
  sqlite3_close(db);
}

static int lines_with(const char *log, const char *needle) {
  int n = 0;
  for (const char *at = log; (at = strstr(at, needle)); at += strlen(needle)) n++;
  return n;
}

static void one_ban(const ban *b) {
  fault_result plain = fault_run_once(fault_ways[0], fault_dir(), forbidden, (void *)b);
  if (strstr(plain.notes, "no seccomp")) {
    fault_result_free(&plain);
    skip();
  }
  assert_int_equal(plain.status, 0);
  for (int w = 1; w < 3; w++) {
    fault_result r = fault_run_once(fault_ways[w], fault_dir(), forbidden, (void *)b);
    if (r.status != 0 || strcmp(r.transcript, plain.transcript) != 0)
      fail_msg("%s, %s: status 0x%x\n%s--- default VFS\n%s--- log\n%s", b->name, fault_ways[w], r.status, r.transcript,
               plain.transcript, r.log);
    int said = lines_with(r.log, "synchronous backend");
    int expected = w == 2 && !b->late && b->reason ? 1 : 0;
    if (said != expected) fail_msg("%s, %s: said %d times, not %d:\n%s", b->name, fault_ways[w], said, expected, r.log);
    if (expected && !log_has(r.log, b->reason)) fail_msg("%s: no reason in\n%s", b->name, r.log);
    fault_result_free(&r);
  }
  fault_result_free(&plain);
}

static void one_refusal(const ban *b) {
  fault_result r = fault_run_once(fault_ways[2], fault_dir(), asked_for, (void *)b);
  char pragma[128];
  assert_int_equal(r.status, 0);
  snprintf(pragma, sizeof pragma, "uring_backend|%s", b->reason);
  bool good = strstr(r.notes, "open 14\n") || strstr(r.notes, "open 1\n");
  good = good && !strstr(r.notes, "left a file") && strstr(r.notes, "open auto 0") && log_has(r.log, pragma);
  snprintf(pragma, sizeof pragma, "pragma |uring_backend|%s", b->reason);
  good = good && log_has(r.notes, pragma) && !strstr(r.notes, "pragma 0");
  snprintf(pragma, sizeof pragma, "stats |\"ring\"|%s", b->reason);
  good = good && log_has(r.notes, pragma) && strstr(r.notes, "still auto") && strstr(r.notes, "works 0");
  if (!good) fail_msg("%s:\n%s--- log\n%s", b->name, r.notes, r.log);
  fault_result_free(&r);
}

static void set_up_eperm(void **state) {
  static ban b = {"io_uring_setup: EPERM", 0, EPERM, "Operation not permitted", false};
  (void)state;
  b.call = SCMP_SYS(io_uring_setup);
  one_ban(&b);
  one_refusal(&b);
}

static void set_up_enosys(void **state) {
  static ban b = {"io_uring_setup: ENOSYS", 0, ENOSYS, "Function not implemented", false};
  (void)state;
  b.call = SCMP_SYS(io_uring_setup);
  one_ban(&b);
  one_refusal(&b);
}

static void enter_eperm(void **state) {
  static ban b = {"io_uring_enter: EPERM", 0, EPERM, "Operation not permitted", false};
  (void)state;
  b.call = SCMP_SYS(io_uring_enter);
  one_ban(&b);
  one_refusal(&b);
}

static void enter_enosys(void **state) {
  static ban b = {"io_uring_enter: ENOSYS", 0, ENOSYS, "Function not implemented", false};
  (void)state;
  b.call = SCMP_SYS(io_uring_enter);
  one_ban(&b);
  one_refusal(&b);
}

/* Rings need nothing that is registered. It works, with or without a word. */
static void register_eperm(void **state) {
  static ban b = {"io_uring_register: EPERM", 0, EPERM, NULL, false};
  (void)state;
  b.call = SCMP_SYS(io_uring_register);
  fault_result plain = fault_run_once(fault_ways[0], fault_dir(), forbidden, &b);
  for (int w = 1; w < FAULT_WAYS; w++) {
    fault_result r = fault_run_once(fault_ways[w], fault_dir(), forbidden, &b);
    bool refused = w == 3 && strstr(r.transcript, "open t0.db: 14") && log_has(r.log, "uring_backend");
    if (r.status != 0 || (strcmp(r.transcript, plain.transcript) != 0 && !refused))
      fail_msg("%s, %s: status 0x%x\n%s--- log\n%s", b.name, fault_ways[w], r.status, r.transcript, r.log);
    fault_result_free(&r);
  }
  fault_result_free(&plain);
}

/* The filter comes when rings are there already (a program that sandboxes itself): everything goes on, also with
** uring_backend=uring. */
static void late_filters(void **state) {
  static ban bans[] = {{"late io_uring_setup: EPERM", 0, EPERM, NULL, true},
                       {"late io_uring_enter: EPERM", 0, EPERM, NULL, true},
                       {"late io_uring_enter: ENOSYS", 0, ENOSYS, NULL, true}};
  (void)state;
  bans[0].call = SCMP_SYS(io_uring_setup);
  bans[1].call = bans[2].call = SCMP_SYS(io_uring_enter);
  for (int i = 0; i < 3; i++) {
    fault_result plain = fault_run_once(fault_ways[0], fault_dir(), forbidden, &bans[i]);
    for (int w = 1; w < FAULT_WAYS; w++) {
      if (w == 3 && !fault_ring_available()) continue;
      fault_result r = fault_run_once(fault_ways[w], fault_dir(), forbidden, &bans[i]);
      if (r.status != 0 || strcmp(r.transcript, plain.transcript) != 0)
        fail_msg("%s, %s: status 0x%x\n%s--- log\n%s", bans[i].name, fault_ways[w], r.status, r.transcript, r.log);
      fault_result_free(&r);
    }
    fault_result_free(&plain);
  }
}

int main(int argc, char **argv) {
  if (argc > 1) cmocka_set_test_filter(argv[1]); /* one test by name, or by a pattern with * */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(set_up_eperm), cmocka_unit_test(set_up_enosys),  cmocka_unit_test(enter_eperm),
      cmocka_unit_test(enter_enosys), cmocka_unit_test(register_eperm), cmocka_unit_test(late_filters),
  };
  int rc = cmocka_run_group_tests(tests, fault_setup, fault_teardown);
  if (rc == 0) puts("io_uring forbidden: auto works and says so once, uring is refused with the reason");
  return rc;
}
