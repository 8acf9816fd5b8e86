/*
** Reads, writes, syncs and truncations that fail, come up short or are interrupted, in a file system made for it
** (prog_faultfs): same codes as the default VFS, call, path and offset in the log, earlier commits intact, and the next
** transaction works when the fault has gone.
*/
#include "support_faults.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *mount;

#define ROWS  "SELECT count(*)*1000000+sum(length(pad)) FROM t"
#define SMALL "INSERT INTO t(pad) VALUES(zeroblob(100))"
#define LARGE                                                                                                          \
  "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<60) INSERT INTO t(pad) SELECT "               \
  "randomblob(3000) FROM n"

typedef struct io_case {
  const char *name, *mode, *synchronous;
  const char *rule;
  const char *expect; /* in the default VFS's transcript */
  const char *log;    /* in every uring log */
} io_case;

static sqlite3 *start(fault_run *run, const char *mode, const char *synchronous) {
  char sql[256];
  sqlite3 *db = run_open(run, "t.db");
  snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=0", mode,
           synchronous);
  run_quiet(run, db, sql);
  run_quiet(run, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
  run_transaction(run, db, "first", SMALL);
  run_transaction(run, db, "second", LARGE);
  return db;
}

/* The fault hits a small and a large transaction, a checkpoint and a reader; then it goes. */
static void failing(fault_run *run, void *arg) {
  const io_case *c = arg;
  sqlite3 *db = start(run, c->mode, c->synchronous);
  fault_inject(c->rule);
  run_transaction(run, db, "small, faulty", SMALL);
  run_transaction(run, db, "large, faulty", LARGE);
  if (strcmp(c->mode, "wal") == 0) run_sql(run, db, "PRAGMA wal_checkpoint(PASSIVE)");
  bool hit = fault_hits() > 0;
  fault_inject("clear");
  if (!hit) tell(run, "NOT MET");
  run_int(run, db, ROWS);
  run_transaction(run, db, "small, after", SMALL);
  run_transaction(run, db, "large, after", LARGE);
  run_sql(run, db, "PRAGMA wal_checkpoint(TRUNCATE)");
  run_int(run, db, ROWS);
  run_close(run, db);
  run_verify(run, "t.db", ROWS);
}

static const io_case write_cases[] = {
    {"WAL write EIO, FULL", "wal", "FULL", "op=write match=-wal errno=5", "faulty -> 778", "write|-wal|offset|(5)"},
    {"WAL write EIO, NORMAL", "wal", "NORMAL", "op=write match=-wal errno=5", "faulty -> 778", "write|-wal|offset|(5)"},
    {"WAL write EIO, OFF", "wal", "OFF", "op=write match=-wal errno=5", "faulty -> 778", "write|-wal|offset|(5)"},
    {"WAL write ENOSPC", "wal", "FULL", "op=write match=-wal errno=28", "faulty -> 13 ", "write|-wal|offset"},
    {"WAL write EDQUOT", "wal", "FULL", "op=write match=-wal errno=122", "faulty -> 778", "write|-wal|offset|(122)"},
    {"WAL write EFBIG", "wal", "FULL", "op=write match=-wal errno=27", "faulty -> 778", "write|-wal|offset|(27)"},
    {"WAL write EAGAIN", "wal", "FULL", "op=write match=-wal errno=11", "faulty -> 778", "write|-wal|offset|(11)"},
    {"WAL write EIO once", "wal", "FULL", "op=write match=-wal errno=5 times=1", "faulty -> 778",
     "write|-wal|offset|(5)"},
    {"WAL write gives 0", "wal", "FULL", "op=write match=-wal zero=1", "faulty -> 13 ", "write|-wal|offset"},
    {"WAL sync EIO, FULL", "wal", "FULL", "op=fsync match=-wal errno=5", "faulty -> 1034", "fdatasync|-wal|(5)"},
    {"WAL sync EIO once, FULL", "wal", "FULL", "op=fsync match=-wal errno=5 times=1", "faulty -> 1034",
     "fdatasync|-wal|(5)"},
    {"WAL sync ENOSPC, FULL", "wal", "FULL", "op=fsync match=-wal errno=28", "faulty -> 1034", "fdatasync|-wal|(28)"},
    {"WAL sync EIO, NORMAL", "wal", "NORMAL", "op=fsync match=-wal errno=5", "wal_checkpoint(PASSIVE) -> 1034",
     "fdatasync|-wal|(5)"},
    {"database write EIO in a checkpoint", "wal", "FULL", "op=write match=.db errno=5",
     "wal_checkpoint(PASSIVE) -> 778", "write|t.db|offset|(5)"},
    {"database write ENOSPC in a checkpoint", "wal", "NORMAL", "op=write match=.db errno=28",
     "wal_checkpoint(PASSIVE) -> 13 ", "write|t.db|offset"},
    {"database sync EIO in a checkpoint", "wal", "NORMAL", "op=fsync match=.db errno=5",
     "wal_checkpoint(PASSIVE) -> 1034", "fdatasync|t.db|(5)"},
    {"WAL read EIO in a checkpoint", "wal", "NORMAL", "op=read match=-wal errno=5", "PASSIVE) -> 11 ",
     "read|-wal|offset|(5)"},
    {"database write EIO, DELETE", "delete", "FULL", "op=write match=.db errno=5", "faulty -> 778",
     "write|t.db|offset|(5)"},
    {"database write EIO, DELETE, OFF", "delete", "OFF", "op=write match=.db errno=5", "faulty -> 778",
     "write|t.db|offset|(5)"},
    {"database write ENOSPC, TRUNCATE", "truncate", "NORMAL", "op=write match=.db errno=28", "faulty -> 13 ",
     "write|t.db|offset"},
    {"database write EIO once, PERSIST", "persist", "FULL", "op=write match=.db errno=5 times=1", "faulty -> 778",
     "write|t.db|offset|(5)"},
    {"database sync EIO, DELETE", "delete", "FULL", "op=fsync match=.db errno=5", "faulty -> 1034",
     "fdatasync|t.db|(5)"},
    {"database truncate EIO in a checkpoint", "wal", "NORMAL", "op=truncate match=.db errno=5", "PASSIVE) -> 1546",
     "truncate(|t.db|(5)"},
    {"journal write EIO, DELETE", "delete", "FULL", "op=write match=-journal errno=5", "faulty -> 778",
     "write|-journal|offset|(5)"},
    {"journal write ENOSPC, DELETE", "delete", "FULL", "op=write match=-journal errno=28", "faulty -> 13 ",
     "write|-journal|offset"},
    {"journal sync EIO, DELETE", "delete", "FULL", "op=fsync match=-journal errno=5", "faulty -> 1034",
     "sync(|-journal|(5)"},
    {"journal open EACCES", "delete", "FULL", "op=open match=-journal errno=13", "faulty -> 1544", "open(|-journal"},
    {"journal unlink EIO", "delete", "FULL", "op=unlink match=-journal errno=5", "faulty -> 2570",
     "unlink(|-journal|(5)"},
    {"journal truncate EIO", "truncate", "FULL", "op=truncate match=-journal errno=5", "faulty -> 1546",
     "truncate(|-journal|(5)"},
    {"database write EIO, journal off", "off", "OFF", "op=write match=.db errno=5 times=1", "faulty -> 778",
     "write|t.db|offset|(5)"},
};

static void run_case(const io_case *c) {
  fault_inject("clear");
  fault_compare(c->name, mount, failing, (void *)c, c->expect, c->log);
}

static void writes_that_fail(void **state) {
  (void)state;
  if (!mount) skip();
  for (size_t i = 0; i < sizeof write_cases / sizeof *write_cases; i++) run_case(&write_cases[i]);
}

/* A reader whose cache is empty. */
static void reading(fault_run *run, void *arg) {
  const io_case *c = arg;
  sqlite3 *db = start(run, c->mode, c->synchronous), *reader = run_open(run, "t.db");
  run_quiet(run, reader, "PRAGMA cache_size=2");
  run_int(run, reader, ROWS);
  fault_inject(c->rule);
  run_int(run, reader, ROWS);
  run_int(run, reader, "SELECT length(pad) FROM t WHERE id=57");
  if (fault_hits() <= 0) tell(run, "NOT MET");
  fault_inject("clear");
  run_int(run, reader, ROWS);
  run_transaction(run, reader, "small, after", SMALL);
  run_close(run, reader);
  run_close(run, db);
  run_verify(run, "t.db", ROWS);
}

static void reads_that_fail(void **state) {
  static const io_case cases[] = {
      {"database read EIO", "delete", "FULL", "op=read match=.db errno=5 min=4096", "= -1 (", "read|t.db|offset|(5)"},
      {"database read EACCES", "delete", "FULL", "op=read match=.db errno=13 min=4096", "= -1 (",
       "read|t.db|offset|(13)"},
      {"database read ENXIO", "delete", "FULL", "op=read match=.db errno=6 min=4096", "= -1 (", "read|t.db|offset|(6)"},
      {"database read EAGAIN", "delete", "FULL", "op=read match=.db errno=11 min=4096", "= -1 (",
       "read|t.db|offset|(11)"},
      {"WAL read EIO", "wal", "FULL", "op=read match=-wal errno=5 min=4096", "= -1 (", "read|-wal|offset|(5)"},
      {"WAL read ENXIO once", "wal", "FULL", "op=read match=-wal errno=6 min=4096 times=1", "= -1 (",
       "read|-wal|offset|(6)"},
  };
  (void)state;
  if (!mount) skip();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    fault_inject("clear");
    fault_compare(cases[i].name, mount, reading, (void *)&cases[i], cases[i].expect, cases[i].log);
  }
}

/* Everything comes in pieces, or is interrupted now and then: nobody notices. */
static void in_pieces(fault_run *run, void *arg) {
  static const char *const modes[] = {"wal", "delete", "persist"};
  long hits = 0;
  for (int m = 0; m < 3; m++) {
    char name[32], sql[256];
    snprintf(name, sizeof name, "m%d.db", m);
    fault_inject("clear");
    sqlite3 *db = run_open(run, name);
    snprintf(sql, sizeof sql,
             "PRAGMA journal_mode=%s; PRAGMA synchronous=FULL; PRAGMA cache_size=10; CREATE TABLE t(id INTEGER PRIMARY "
             "KEY, pad BLOB)",
             modes[m]);
    run_quiet(run, db, sql);
    fault_inject(arg);
    run_transaction(run, db, "small", SMALL);
    run_transaction(run, db, "large", LARGE);
    run_transaction(run, db, "update", "UPDATE t SET pad=randomblob(2500)");
    run_int(run, db, ROWS);
    run_sql(run, db, "PRAGMA wal_checkpoint(RESTART)");
    run_transaction(run, db, "large again", LARGE);
    hits += fault_hits();
    run_int(run, db, ROWS);
    run_close(run, db);
    fault_inject("clear");
    run_verify(run, name, ROWS);
  }
  if (hits == 0) tell(run, "NOT MET"); /* SQLite's own writes may be too small for it */
}

static void short_and_interrupted(void **state) {
  static const char *const rules[] = {
      "op=write match= short=1000",      "op=write match= short=4095",     "op=write match= short=4097",
      "op=write match= short=65536",     "op=read match= short=1000",      "op=read match= short=4095",
      "op=write match= errno=4 times=5", "op=read match= errno=4 times=5", "op=write match=-wal short=30000 nth=2",
      "op=write match=.db short=512",
  };
  (void)state;
  if (!mount) skip();
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
    fault_inject("clear");
    /* Linux 6.18: io_uring continues a short direct read by itself, and FUSE's then gives wrong bytes (plain liburing
    ** shows it too): reads of a FUSE file never take the ring. */
    fault_compare(rules[i], mount, in_pieces, (void *)rules[i], "large again -> 0", NULL);
  }
}

/* A short write breaks the link between write and sync on the ring: the write is resumed, and the sync still runs
** behind it. */
static void broken_link(fault_run *run, void *arg) {
  (void)arg;
  sqlite3 *db = start(run, "wal", "FULL");
  run_transaction(run, db, "warm", LARGE);
  fault_inject("op=write match=-wal short=3000");
  run_transaction(run, db, "large", LARGE);
  bool hit = fault_hits() > 0;
  /* now the sync behind a write that was resumed fails: it must be noticed */
  fault_inject("op=fsync match=-wal errno=5");
  run_transaction(run, db, "large, sync fails", LARGE);
  fault_inject("clear");
  if (!hit) tell(run, "NOT MET");
  run_transaction(run, db, "after", LARGE);
  run_close(run, db);
  run_verify(run, "t.db", ROWS);
}

static void links_that_break(void **state) {
  (void)state;
  if (!mount) skip();
  fault_compare("short write before a linked sync", mount, broken_link, NULL, "sync fails -> 1034",
                "fdatasync|-wal|(5)");
}

/*
** Call N of a kind fails once, for N = 1, 2, ... until none is met: what was acknowledged is there, what was refused is
** not, and the connection goes on. Number and size of calls differ between the VFSs, so the numbers are not compared,
** only what must hold.
*/
typedef struct sweep {
  const char *op, *match, *mode, *synchronous;
  int nth;
} sweep;

static void swept(fault_run *run, void *arg) {
  const sweep *s = arg;
  char rule[128];
  long acknowledged = 0;
  sqlite3 *db = start(run, s->mode, s->synchronous);
  snprintf(rule, sizeof rule, "op=%s match=%s nth=%d times=1 errno=5", s->op, s->match, s->nth);
  fault_inject(rule);
  for (int i = 0; i < 4; i++) {
    int rc = run_transaction(run, db, "transaction", i % 2 ? LARGE : SMALL);
    if (rc == SQLITE_OK) acknowledged += i % 2 ? 60 : 1;
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_IOERR) tell(run, "wrong code %d", rc);
    if (i == 1 && strcmp(s->mode, "wal") == 0) run_sql(run, db, "PRAGMA wal_checkpoint(FULL)");
  }
  bool hit = fault_hits() > 0;
  fault_inject("clear");
  if (run_transaction(run, db, "after", SMALL) != SQLITE_OK) tell(run, "no transaction when the fault had gone");
  sqlite3_int64 rows = run_int(run, db, "SELECT count(*) FROM t");
  if (rows != acknowledged + 62) tell(run, "%lld rows, %ld acknowledged", rows, acknowledged + 62);
  run_close(run, db);
  sqlite3 *plain = run_open_plain(run, "t.db");
  rows = run_int(run, plain, "SELECT count(*) FROM t");
  if (rows != acknowledged + 62) tell(run, "%lld rows in the file, %ld acknowledged", rows, acknowledged + 62);
  sqlite3_close(plain);
  run_verify(run, "t.db", "SELECT 1");
  if (hit) tell(run, "hit");
}

static void each_call_fails_once(void **state) {
  static const sweep sweeps[] = {
      {"write", "-wal", "wal", "FULL", 0},        {"write", "-wal", "wal", "NORMAL", 0},
      {"fsync", "-wal", "wal", "FULL", 0},        {"write", ".db", "wal", "FULL", 0},
      {"fsync", ".db", "wal", "NORMAL", 0},       {"write", ".db", "delete", "FULL", 0},
      {"write", "-journal", "delete", "FULL", 0}, {"fsync", "", "delete", "FULL", 0},
      {"write", ".db", "truncate", "OFF", 0},
  };
  (void)state;
  if (!mount) skip();
  for (size_t i = 0; i < sizeof sweeps / sizeof *sweeps; i++)
    for (int w = 1; w < FAULT_WAYS; w++) {
      int hits = 0;
      if (w == 3 && !fault_ring_available()) continue;
      for (int n = 1; n < 2000; n += n < 3 ? 1 : n) {
        sweep s = sweeps[i];
        s.nth = n;
        fault_inject("clear");
        fault_result r = fault_run_once(fault_ways[w], mount, swept, &s);
        bool hit = strstr(r.notes, "hit\n") != NULL;
        if (r.status != 0 || (strcmp(r.notes, hit ? "hit\n" : "") != 0) || !strstr(r.transcript, ": ok") ||
            (hit && !log_has(r.log, "(5)")))
          fail_msg("%s %s %s %s, call %d, %s: status 0x%x\n%s%s--- log\n%s", s.op, s.match, s.mode, s.synchronous, n,
                   fault_ways[w], r.status, r.notes, r.transcript, r.log);
        fault_result_free(&r);
        hits += hit;
        if (!hit) break;
      }
      assert_true(hits >= 1);
    }
}

/*
** With a kernel that caches writes a failure shows at the sync, once for every open file description. It must fail the
** transaction that was writing, and no other: neither be lost nor be reported a second time through another descriptor.
*/
static void write_back(fault_run *run, void *arg) {
  sqlite3 *db = start(run, "wal", arg);
  run_transaction(run, db, "warm", LARGE);
  run_transaction(run, db, "warm", SMALL);
  for (int i = 0; i < 3; i++) {
    fault_inject("op=write match=-wal errno=5");
    run_transaction(run, db, i % 2 ? "small, faulty" : "large, faulty", i % 2 ? SMALL : LARGE);
    if (strcmp(arg, "NORMAL") == 0) run_sql(run, db, "PRAGMA wal_checkpoint(PASSIVE)");
    if (fault_hits() <= 0) tell(run, "NOT MET");
    fault_inject("clear");
    run_transaction(run, db, "small, after", SMALL);
    run_transaction(run, db, "large, after", LARGE);
    run_transaction(run, db, "small, after", SMALL);
    run_sql(run, db, "PRAGMA wal_checkpoint(PASSIVE)");
    run_int(run, db, ROWS);
  }
  fault_inject("op=write match=.db errno=5");
  run_sql(run, db, "PRAGMA wal_checkpoint(PASSIVE)");
  run_transaction(run, db, "large", LARGE);
  run_sql(run, db, "PRAGMA wal_checkpoint(PASSIVE)");
  fault_inject("clear");
  run_sql(run, db, "PRAGMA wal_checkpoint(PASSIVE)");
  run_transaction(run, db, "large", LARGE);
  run_sql(run, db, "PRAGMA wal_checkpoint(TRUNCATE)");
  run_int(run, db, ROWS);
  run_close(run, db);
}

static void write_back_errors_once(void **state) {
  const char *why = NULL, *at = fault_mount_faultfs("wb", true, &why);
  (void)state;
  if (!at) skip();
  fault_compare("write-back error of the WAL, FULL", at, write_back, (void *)"FULL", "faulty -> 1034",
                "fdatasync|-wal|(5)");
  fault_inject("clear");
  fault_compare("write-back error of the WAL, NORMAL", at, write_back, (void *)"NORMAL", "PASSIVE) -> 1034",
                "fdatasync|-wal|(5)");
  fault_unmount_faultfs();
}

static int setup(void **state) {
  const char *why = "?";
  if (fault_setup(state) != 0) return -1;
  mount = fault_mount_faultfs("ff", false, &why);
  if (!mount) fprintf(stderr, "skipped: %s\n", why);
  return 0;
}

int main(int argc, char **argv) {
  if (argc > 1) cmocka_set_test_filter(argv[1]); /* one test by name, or by a pattern with * */
  const char *why = fault_namespace();
  if (why) {
    printf("skipped: %s\n", why);
    return 77;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(writes_that_fail),      cmocka_unit_test(reads_that_fail),
      cmocka_unit_test(short_and_interrupted), cmocka_unit_test(links_that_break),
      cmocka_unit_test(each_call_fails_once),  cmocka_unit_test(write_back_errors_once),
  };
  int rc = cmocka_run_group_tests(tests, setup, fault_teardown);
  if (rc == 0 && !mount) return 77;
  if (rc == 0)
    puts("failed, short and interrupted reads, writes and syncs: codes, log and recovery as the default VFS");
  return rc;
}
