/*
** test_missing.c - parents that lack methods.
**
** Each method of sqlite3_vfs and of sqlite3_io_methods is left out of the parent, one at a time, and each older
** version of both structures is tried with rubbish where it ends. The same work, on that parent alone and through the
** shim over it, gives the same results. What SQLite itself cannot do without (it jumps to address 0 on the parent
** alone) must at least be missing in the shim's tables, too.
*/
#include "support_child.h"
#include "support_shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uringvfs.h"

typedef struct method {
  const char *name;
  size_t offset;
  bool of_vfs;
} method;

#define VFS(m)                                                                                                         \
  { #m, offsetof(sqlite3_vfs, m), true }
#define FILE_METHOD(m)                                                                                                 \
  { #m, offsetof(sqlite3_io_methods, m), false }

static const method methods[] = {
    VFS(xDelete),
    VFS(xAccess),
    VFS(xFullPathname),
    VFS(xDlOpen),
    VFS(xDlError),
    VFS(xDlSym),
    VFS(xDlClose),
    VFS(xRandomness),
    VFS(xSleep),
    VFS(xCurrentTime),
    VFS(xGetLastError),
    VFS(xCurrentTimeInt64),
    VFS(xSetSystemCall),
    VFS(xGetSystemCall),
    VFS(xNextSystemCall),
    FILE_METHOD(xRead),
    FILE_METHOD(xWrite),
    FILE_METHOD(xTruncate),
    FILE_METHOD(xSync),
    FILE_METHOD(xFileSize),
    FILE_METHOD(xLock),
    FILE_METHOD(xUnlock),
    FILE_METHOD(xCheckReservedLock),
    FILE_METHOD(xFileControl),
    FILE_METHOD(xSectorSize),
    FILE_METHOD(xDeviceCharacteristics),
    FILE_METHOD(xShmMap),
    FILE_METHOD(xShmLock),
    FILE_METHOD(xShmBarrier),
    FILE_METHOD(xShmUnmap),
    FILE_METHOD(xFetch),
    FILE_METHOD(xUnfetch),
};

enum { METHODS = sizeof methods / sizeof methods[0] };

/* Each on a new database, in rollback mode, with two rows in it. */
static const char *const work[] = {
    "SELECT count(*), sum(length(v)) FROM t",
    ("PRAGMA journal_mode=truncate; INSERT INTO t(v) VALUES(zeroblob(50000)), ('a'); BEGIN; INSERT INTO t(v) "
     "VALUES('b'); ROLLBACK;"
     "SELECT count(*) FROM t; VACUUM; PRAGMA integrity_check"),
    "PRAGMA journal_mode=delete; INSERT INTO t(v) VALUES('a'); SELECT count(*) FROM t",
    ("PRAGMA journal_mode=wal; INSERT INTO t(v) VALUES('c'); SELECT count(*), sum(length(v)) FROM t; PRAGMA "
     "wal_checkpoint;"
     "BEGIN; INSERT INTO t(v) VALUES(zeroblob(100000)); ROLLBACK; INSERT INTO t(v) VALUES(zeroblob(200000)); SELECT "
     "count(*) FROM t;"
     "PRAGMA journal_mode=delete; SELECT count(*), sum(length(v)) FROM t"),
    ("PRAGMA locking_mode=exclusive; PRAGMA journal_mode=wal; INSERT INTO t(v) VALUES('d'); SELECT count(*) FROM t;"
     "PRAGMA journal_mode=persist; INSERT INTO t(v) VALUES('e'); SELECT count(*), sum(length(v)) FROM t"),
    "PRAGMA mmap_size=1000000; SELECT count(*), sum(length(v)) FROM t; PRAGMA mmap_size=0; SELECT count(*) FROM t",
    "SELECT typeof(random()), abs(julianday('now')-2460000.0)<100000, datetime('now')>'2000'",
    "SELECT load_extension('/nowhere/nothing.so'); SELECT load_extension('libm.so.6')",
};

enum { WORKS = sizeof work / sizeof work[0] };

typedef struct scenario {
  const method *missing; /* NULL: none */
  const char *work;
  int vfs_version, file_version;
  bool trusted; /* the parent, so that the shim does more than pass calls on */
  bool uring;
} scenario;

extern bool uringvfs__trust_any_parent; /* vfs/internal.h */

static shim parent;

static void leave_out(sqlite3_vfs *vfs, const scenario *c) {
  const size_t ends[] = {0, offsetof(sqlite3_vfs, xCurrentTimeInt64), offsetof(sqlite3_vfs, xSetSystemCall),
                         sizeof *vfs};
  vfs->iVersion = c->vfs_version;
  memset((char *)vfs + ends[c->vfs_version], 0xff, sizeof *vfs - ends[c->vfs_version]);
  if (c->missing && c->missing->of_vfs) memset((char *)vfs + c->missing->offset, 0, sizeof(void *));
}

static void install(const scenario *c) {
  uringvfs__trust_any_parent = c->trusted;
  begin();
  shim_init(&parent, "parent", sqlite3_vfs_find("unix"));
  parent.file_version = c->file_version;
  parent.syncs_nothing = true;
  if (c->missing && !c->missing->of_vfs) parent.missing = c->missing->offset;
  leave_out(&parent.vfs, c);
  CHECK_INT(sqlite3_vfs_register(&parent.vfs, 1), SQLITE_OK);
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
}

static void prepare(const void *arg) {
  (void)arg;
  begin();
  sqlite3 *db = db_open("a.db", "vfs=unix");
  db_exec(db, "PRAGMA synchronous=off; CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t(v) "
              "VALUES(zeroblob(200000)), ('x')");
  db_close(db);
}

static void run_work(const void *arg) {
  const scenario *c = arg;
  char uri[64];
  sqlite3 *db;
  install(c);
  snprintf(uri, sizeof uri, "file:a.db?vfs=%s", c->uring ? "uring" : "parent");
  say("open: %d", sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL));
  sqlite3_enable_load_extension(db, 1);
  db_tell(db, c->work);
  say("close: %d", sqlite3_close(db));
}

static bool lacks(const void *table, size_t offset) {
  void *pointer;
  memcpy(&pointer, (const char *)table + offset, sizeof pointer);
  return pointer == NULL;
}

/* SQLite, and programs that call these themselves, look here. xFileControl is the one that the shim always has. */
static void check_tables(const void *arg) {
  const scenario *c = arg;
  install(c);
  const sqlite3_vfs *vfs = sqlite3_vfs_find("uring");
  CHECK_INT(vfs->iVersion, c->vfs_version);
  if (c->missing == NULL) return;
  if (c->missing->of_vfs) {
    CHECK(lacks(vfs, c->missing->offset));
    return;
  }
  sqlite3_file *file = calloc(1, (size_t)vfs->szOsFile);
  char name[] = "b.db\0\0\0\0\0\0";
  CHECK(file != NULL);
  CHECK_INT(vfs->xOpen((sqlite3_vfs *)vfs, name, file, SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                       NULL),
            SQLITE_OK);
  CHECK_INT(file->pMethods->iVersion, c->file_version);
  if (strcmp(c->missing->name, "xFileControl") == 0)
    CHECK_INT(file->pMethods->xFileControl(file, 77, NULL), SQLITE_NOTFOUND);
  else
    CHECK(lacks(file->pMethods, c->missing->offset));
  CHECK_INT(file->pMethods->xClose(file), SQLITE_OK);
  free(file);
}

static child_result run(scenario c, bool uring) {
  child_empty_directory();
  child_passes(prepare, NULL, "preparing");
  c.uring = uring;
  return child_run(run_work, &c);
}

/* False: the parent alone ends the process. */
static bool compare(const scenario *c, const char *what) {
  const child_result alone = run(*c, false);
  const bool works = alone.status == 0;
  if (works) {
    const child_result through = run(*c, true);
    if (through.status != 0 || strcmp(alone.report, through.report) != 0)
      fail_msg("%s: status %#x\n%s---- through uring: status %#x\n%s", what, (unsigned)alone.status, alone.report,
               (unsigned)through.status, through.report);
    free(through.report);
  }
  free(alone.report);
  return works;
}

/* How many kinds of work the parent alone can do. */
static unsigned compare_all(scenario c) {
  char what[96];
  unsigned works = 0;
  snprintf(what, sizeof what, "without %s, versions %d and %d, %strusted", c.missing ? c.missing->name : "nothing",
           c.vfs_version, c.file_version, c.trusted ? "" : "not ");
  child_empty_directory();
  child_passes(check_tables, &c, what);
  for (int i = 0; i < WORKS; i++) {
    c.work = work[i];
    works += compare(&c, what);
  }
  return works;
}

static void one_by_one(bool trusted) {
  unsigned works = 0;
  for (int i = 0; i < METHODS; i++)
    works += compare_all((scenario){.missing = &methods[i], .vfs_version = 3, .file_version = 3, .trusted = trusted});
  /* without xDelete, the four of xDl, xSleep, xCurrentTime, xGetLastError, those of later versions, ... nearly
  ** everything */
  assert_true(works >= 18 * (WORKS - 2));
}

static void methods_of_a_parent_that_is_not_trusted(void **state) {
  (void)state;
  one_by_one(false);
}

static void methods_of_a_trusted_parent(void **state) {
  (void)state;
  one_by_one(true);
}

static void versions(void **state) {
  (void)state;
  for (int trusted = 0; trusted < 2; trusted++)
    for (int v = 1; v <= 3; v++)
      for (int f = 1; f <= 3; f++)
        assert_int_equal(compare_all((scenario){.vfs_version = v, .file_version = f, .trusted = trusted != 0}), WORKS);
}

/* ---- memdb: files in memory, without xDelete, and without shared memory ---- */

static void run_memdb(const void *arg) {
  const scenario *c = arg;
  static const char *const names[] = {"file:/m?vfs=%s", "file:m?vfs=%s"};
  begin();
  CHECK_INT(sqlite3_vfs_register(sqlite3_vfs_find("memdb"), 1), SQLITE_OK);
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
  for (int i = 0; i < 2; i++) {
    char uri[64];
    sqlite3 *db, *other;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
    snprintf(uri, sizeof uri, names[i], c->uring ? "uring" : "memdb");
    say("open: %d", sqlite3_open_v2(uri, &db, flags, NULL));
    say("open: %d", sqlite3_open_v2(uri, &other, flags, NULL));
    db_tell(db,
            "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; CREATE TABLE t(x); PRAGMA journal_mode=DELETE;");
    db_tell(db, "PRAGMA locking_mode=NORMAL; INSERT INTO t VALUES(zeroblob(300000)); BEGIN; DELETE FROM t; ROLLBACK; "
                "SELECT count(*) FROM t");
    db_tell(other, "SELECT count(*) FROM t; PRAGMA journal_mode=WAL; BEGIN IMMEDIATE; INSERT INTO t VALUES(1)");
    db_tell(db, "INSERT INTO t VALUES(2)");
    db_tell(other, "COMMIT; VACUUM; SELECT count(*), sum(length(x)) FROM t; PRAGMA integrity_check");
    db_tell(
        db,
        "PRAGMA mmap_size=100000; SELECT count(*) FROM t; ATTACH ':memory:' AS a; CREATE TABLE a.u AS SELECT * FROM t");
    say("close: %d", sqlite3_close(other));
    say("close: %d", sqlite3_close(db));
  }
}

static void memdb(void **state) {
  scenario c = {0};
  (void)state;
  const child_result alone = child_run(run_memdb, &c);
  c.uring = true;
  const child_result through = child_run(run_memdb, &c);
  assert_int_equal(alone.status, 0);
  assert_int_equal(through.status, 0);
  assert_string_equal(alone.report, through.report);
  free(alone.report);
  free(through.report);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(methods_of_a_parent_that_is_not_trusted),
      cmocka_unit_test(methods_of_a_trusted_parent),
      cmocka_unit_test(versions),
      cmocka_unit_test(memdb),
  };
  return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
