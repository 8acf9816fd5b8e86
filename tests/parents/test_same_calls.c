/*
** test_same_calls.c - a parent that is not trusted gets exactly the calls that SQLite makes.
**
** It may be a shim that encrypts pages by the size in which they are written, that checks them, or that counts calls.
** So the same work is done on the recording parent directly and through the shim under test over it, and the two
** records (method, size, offset, flags, result, of every file and of the VFS) must be equal.
*/
#include "support_child.h"
#include "support_shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uringvfs.h"

#define ROWS(n, value)                                                                                                 \
  "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<" #n ") INSERT INTO t(v) SELECT " value        \
  " FROM c;"

/* NULL: the database is closed and opened again, so that what follows is read with an empty page cache. */
static const char *const work[] = {
    "CREATE TABLE t(id INTEGER PRIMARY KEY, v, k DEFAULT 0); CREATE INDEX by_k ON t(k, v);",
    "BEGIN;" ROWS(400, "hex(zeroblob(300))") "UPDATE t SET k=(id*7919)%400; COMMIT;",
    ROWS(6, "zeroblob(60000)"),
    ("BEGIN; SAVEPOINT a; UPDATE t SET k=k+1 WHERE id%3=0; SAVEPOINT b; DELETE FROM t WHERE id<100; ROLLBACK TO b; "
     "RELEASE a; COMMIT;"),
    "BEGIN; UPDATE t SET v=v||'x' WHERE length(v)<1000; ROLLBACK;",
    NULL,
    "SELECT count(*), sum(length(v)) FROM t;",
    "SELECT count(*) FROM t WHERE k BETWEEN 100 AND 200;",
    "SELECT sum(length(b.v)) FROM t a JOIN t b ON b.id=a.k;",
    "SELECT length(v) FROM t WHERE length(v)>50000;",
    "PRAGMA wal_checkpoint(PASSIVE);",
    ROWS(50, "hex(zeroblob(400))"),
    "PRAGMA wal_checkpoint(FULL);",
    NULL,
    "SELECT count(*), sum(length(v)) FROM t; DELETE FROM t WHERE id%5=0;",
    "PRAGMA wal_checkpoint(RESTART);",
    "UPDATE t SET v=zeroblob(9000) WHERE id%50=1;",
    ("ATTACH 'file:b.db' AS b; CREATE TABLE b.u AS SELECT * FROM t; BEGIN; DELETE FROM b.u WHERE id<50; DELETE FROM t "
     "WHERE id<50; COMMIT;"),
    "CREATE TEMP TABLE z AS SELECT * FROM t; CREATE INDEX temp.zz ON z(v, k); SELECT count(*) FROM z;",
    "DETACH b;",
    "VACUUM;",
    "VACUUM INTO 'c.db';",
    NULL,
    "PRAGMA integrity_check; SELECT count(*) FROM t;",
    "PRAGMA wal_checkpoint(TRUNCATE);",
    "INSERT INTO t(v) SELECT v FROM t; PRAGMA incremental_vacuum; REINDEX; ANALYZE;",
};

typedef struct scenario {
  const char *vfs; /* that is opened: the recorder, or uring over it */
  const char *settings;
  shim_change change;
} scenario;

static shim recorder;

static sqlite3 *open_with(const scenario *c) {
  char text[64];
  snprintf(text, sizeof text, "vfs=%s", c->vfs);
  sqlite3 *db = db_open("a.db", text);
  db_exec(db, c->settings);
  db_exec(db, "PRAGMA cache_size=30; PRAGMA temp.cache_size=10");
  return db;
}

static void record(const void *arg) {
  const scenario *c = arg;
  begin();
  shim_init(&recorder, "unix-recorder", sqlite3_vfs_find("unix"));
  recorder.change = c->change;
  recorder.record = recorder.syncs_nothing = true;
  CHECK_INT(sqlite3_vfs_register(&recorder.vfs, 1), SQLITE_OK);
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
  shim_forget(&recorder); /* what is asked of it before it is used is not part of the comparison */
  sqlite3 *db = open_with(c);
  for (size_t i = 0; i < sizeof work / sizeof work[0]; i++) {
    if (work[i] != NULL) {
      db_tell(db, work[i]);
      continue;
    }
    db_close(db);
    db = open_with(c);
  }
  db_close(db);
  say("%s", shim_log(&recorder));
}

static size_t lines(const char *text) {
  size_t n = 0;
  for (; (text = strchr(text, '\n')) != NULL; text++) n++;
  return n;
}

static int line_length(const char *text) { return (int)strcspn(text, "\n"); }

/* Where they part, with what came before. */
static void show_difference(const char *a, const char *b) {
  size_t at = 0;
  while (a[at] && a[at] == b[at]) at++;
  size_t start = at;
  for (int back = 0; start > 0 && back < 4; start--)
    if (a[start - 1] == '\n' && ++back == 4) break;
  while (at > 0 && a[at - 1] != '\n') at--;
  print_error("%.*s--- the parent alone: %.*s\n--- through uring:    %.*s\n", (int)(at - start), a + start,
              line_length(a + at), a + at, line_length(b + at), b + at);
}

static void compare(scenario c) {
  child_empty_directory();
  c.vfs = "unix-recorder";
  const child_result alone = child_run(record, &c);
  child_empty_directory();
  c.vfs = "uring";
  const child_result through = child_run(record, &c);
  const bool equal = strcmp(alone.report, through.report) == 0;
  if (!equal) show_difference(alone.report, through.report);
  const size_t calls = lines(alone.report);
  free(alone.report);
  free(through.report);
  if (alone.status != 0 || through.status != 0)
    fail_msg("%s: status %#x, %#x", c.settings, (unsigned)alone.status, (unsigned)through.status);
  if (!equal) fail_msg("%s: other calls", c.settings);
  assert_true(calls > 1000); /* there was something to compare */
}

static void wal(void **state) {
  (void)state;
  compare((scenario){.settings = "PRAGMA journal_mode=wal"});
  compare((scenario){.settings = "PRAGMA journal_mode=wal; PRAGMA synchronous=normal; PRAGMA wal_autocheckpoint=50"});
  compare((scenario){.settings = "PRAGMA journal_mode=wal; PRAGMA synchronous=off"});
  compare((scenario){.settings = "PRAGMA locking_mode=exclusive; PRAGMA journal_mode=wal"});
  compare((scenario){.settings = "PRAGMA journal_mode=wal; PRAGMA fullfsync=1; PRAGMA checkpoint_fullfsync=1"});
}

static void rollback(void **state) {
  (void)state;
  compare((scenario){.settings = "PRAGMA journal_mode=delete"});
  compare((scenario){.settings = "PRAGMA journal_mode=persist; PRAGMA synchronous=extra"});
  compare((scenario){.settings = "PRAGMA journal_mode=truncate; PRAGMA locking_mode=exclusive"});
  compare((scenario){.settings = "PRAGMA auto_vacuum=incremental; PRAGMA journal_mode=memory; PRAGMA synchronous=off"});
}

static void mapped(void **state) {
  (void)state;
  compare((scenario){.settings = "PRAGMA mmap_size=100000000; PRAGMA journal_mode=wal"});
  compare((scenario){.settings = "PRAGMA mmap_size=200000; PRAGMA journal_mode=delete"});
}

static void page_sizes(void **state) {
  (void)state;
  compare((scenario){.settings = "PRAGMA page_size=512; PRAGMA journal_mode=wal"});
  compare((scenario){.settings = "PRAGMA page_size=65536; PRAGMA journal_mode=wal"});
}

static void other_bytes(void **state) {
  (void)state;
  compare((scenario){.settings = "PRAGMA journal_mode=wal", .change = SHIM_XOR_PAGES});
  compare((scenario){.settings = "PRAGMA journal_mode=delete", .change = SHIM_XOR_BYTES});
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wal),        cmocka_unit_test(rollback),    cmocka_unit_test(mapped),
      cmocka_unit_test(page_sizes), cmocka_unit_test(other_bytes),
  };
  return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
