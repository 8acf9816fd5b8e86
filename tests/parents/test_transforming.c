/*
** test_transforming.c - parents that store other bytes than they are given, as shims do that encrypt, compress or
** check pages.
**
** Whatever they are called, their bytes on the disk are never plain, and what was written through the shim under test
** is read through the parent alone. One of them encrypts by a table of file methods of its own under the xOpen of the
** built-in VFS.
*/
#include "support_child.h"
#include "support_shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uringvfs.h"

#define PLAIN "PLAINTEXT-4111-1111"

typedef struct parent {
  const char *name;
  shim_change change;
} parent;

static const parent parents[] = {
    {"unix-xor", SHIM_XOR_BYTES}, {"unix-none", SHIM_XOR_PAGES}, {"unix-xor", SHIM_XOR_PAGES},
    {"xorfs", SHIM_XOR_BYTES},    {"xorfs", SHIM_XOR_PAGES},     {"unix", SHIM_XOR_BYTES},
    {"unix", SHIM_XOR_PAGES},     {"unix-excl", SHIM_XOR_BYTES},
};

typedef struct scenario {
  parent parent;
  const char *journal_mode;
  const char *backend;
  bool all_names; /* the four built-in VFSs are shadowed, each by one of these */
} scenario;

static shim shims[4];

static void install(const scenario *c) {
  static const char *const built_in[] = {"unix-none", "unix-dotfile", "unix-excl", "unix"};
  begin();
  sqlite3_vfs *below = sqlite3_vfs_find("unix");
  for (int i = 0; i < 4; i++) {
    if (!c->all_names && i < 3) continue;
    shim_init(&shims[i], c->all_names ? built_in[i] : c->parent.name, below);
    shims[i].change = c->parent.change;
    shims[i].syncs_nothing = true;
    CHECK_INT(sqlite3_vfs_register(&shims[i].vfs, i == 3), SQLITE_OK);
  }
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
}

static void check_files(void) {
  static const char *const files[] = {"a.db", "a.db-wal", "a.db-journal"};
  for (int i = 0; i < 3; i++)
    if (file_has(files[i], PLAIN)) give_up(__FILE__, __LINE__, "plain text in %s", files[i]);
}

static void write_rows(const void *arg) {
  const scenario *c = arg;
  char text[128];
  install(c);
  snprintf(text, sizeof text, "vfs=uring&uring_backend=%s", c->backend);
  sqlite3 *db = db_open("a.db", text);
  snprintf(text, sizeof text, "PRAGMA journal_mode=%s; PRAGMA cache_size=20", c->journal_mode);
  db_exec(db, text);
  db_exec(db, "CREATE TABLE card(id INTEGER PRIMARY KEY, number TEXT); BEGIN; WITH RECURSIVE c(x) AS (SELECT 1 UNION "
              "ALL SELECT x+1 "
              "FROM c WHERE x<200) INSERT INTO card(number) SELECT '" PLAIN "-'||x||hex(zeroblob(500)) FROM c; COMMIT");
  db_exec(db, "BEGIN; UPDATE card SET number=number||'x' WHERE id%3=0; SAVEPOINT s; DELETE FROM card WHERE id<90; "
              "ROLLBACK TO s; COMMIT");
  db_exec(db, "BEGIN; UPDATE card SET number=number||'" PLAIN "'; ROLLBACK");
  CHECK_INT(db_int(db, "SELECT count(*) FROM card WHERE number LIKE '" PLAIN "%'"), 200);
  die();
}

/* A killed process's files, through the parent alone; then a checkpoint through the shim under test. */
static void read_rows(const void *arg) {
  const scenario *c = arg;
  char text[128];
  install(c);
  check_files();
  for (int round = 0; round < 2; round++) {
    snprintf(text, sizeof text, "vfs=%s", round ? "uring" : c->parent.name);
    sqlite3 *db = db_open("a.db", text);
    CHECK_INT(db_int(db, "SELECT count(*) FROM card WHERE number LIKE '" PLAIN "%'"), 200);
    CHECK_INT(db_int(db, "SELECT count(*) FROM card WHERE number LIKE '%x'"), 66);
    CHECK(strcmp(db_text(db, "PRAGMA integrity_check"), "ok") == 0);
    if (round) db_exec(db, "PRAGMA wal_checkpoint(TRUNCATE); VACUUM");
    db_close(db);
    check_files();
  }
  CHECK(file_has("a.db", "SQLite format 3") == false);
  snprintf(text, sizeof text, "vfs=%s", c->parent.name);
  sqlite3 *db = db_open("a.db", text);
  CHECK_INT(db_int(db, "SELECT count(*) FROM card"), 200);
  CHECK(strcmp(db_text(db, "PRAGMA integrity_check"), "ok") == 0);
  db_close(db);
}

static void run(const scenario *c) {
  char what[128];
  child_empty_directory();
  snprintf(what, sizeof what, "%s %d, journal_mode=%s, uring_backend=%s", c->parent.name, (int)c->parent.change,
           c->journal_mode, c->backend);
  child_is_killed(write_rows, c, what);
  child_passes(read_rows, c, what);
}

static const char *const modes[] = {"wal", "delete", "persist", "truncate"};

static void under_any_name(void **state) {
  (void)state;
  for (size_t p = 0; p < sizeof parents / sizeof parents[0]; p++)
    for (int m = 0; m < 4; m++) run(&(scenario){parents[p], modes[m], m % 2 ? "sync" : "auto", false});
}

static void under_all_names(void **state) {
  (void)state;
  for (int m = 0; m < 2; m++) run(&(scenario){{"unix", SHIM_XOR_PAGES}, modes[m], "auto", true});
}

/* It says so, and a ring that is asked for is refused. */
static void refuse_ring(const void *arg) {
  install(arg);
  sqlite3 *db = db_open("a.db", "vfs=uring");
  CHECK_INT(logged("may store other bytes than it is given"), 1);
  CHECK(strstr(db_text(db, "PRAGMA uring_stats"), "may store other bytes") != NULL);
  CHECK_INT(db_try(db, "PRAGMA uring_backend=uring"), SQLITE_CANTOPEN);
  sqlite3 *other;
  CHECK_INT(sqlite3_open_v2("file:b.db?vfs=uring&uring_backend=uring", &other,
                            SQLITE_OPEN_URI | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
            SQLITE_CANTOPEN);
  sqlite3_close(other);
  db_exec(db, "PRAGMA journal_mode=wal; CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(500000))");
  CHECK_INT(db_stat(db, "wal_batches"), 0);
  CHECK_INT(db_stat(db, "rings"), 0);
  db_close(db);
  db = db_open("a.db", "vfs=uring");
  CHECK_INT(db_int(db, "SELECT count(*) FROM t"), 1);
  CHECK_INT(db_stat(db, "readahead_issued"), 0);
  db_close(db);
  CHECK_INT(logged("may store other bytes than it is given"), 3); /* once by itself, and the two refusals */
}

static void rings_are_refused(void **state) {
  (void)state;
  for (size_t p = 0; p < sizeof parents / sizeof parents[0]; p++) {
    child_empty_directory();
    child_passes(refuse_ring, &(scenario){parents[p], NULL, NULL, false}, parents[p].name);
  }
}

/*
** ---- the built-in xOpen, with a finder of file methods that is not built in (os_unix.c, pAppData)
**
** The file methods are those of unix-none, the only ones that os_unix.c uses without comparing their address. The
** finder is asked for the methods of database files only.
*/

typedef const sqlite3_io_methods *(*method_finder)(const char *name, void *file);
static method_finder built_in_finder;
static const sqlite3_io_methods *built_in_methods;
static sqlite3_io_methods own_methods;

static void xor_all(const char *from, char *to, int n) {
  for (int i = 0; i < n; i++) to[i] = (char)(from[i] ^ 0x5a);
}

static int own_read(sqlite3_file *file, void *data, int n, sqlite3_int64 at) {
  const int rc = built_in_methods->xRead(file, data, n, at);
  if (rc == SQLITE_OK) xor_all(data, data, n);
  return rc;
}

static int own_write(sqlite3_file *file, const void *data, int n, sqlite3_int64 at) {
  char *copy = malloc((size_t)n);
  if (!copy) return SQLITE_NOMEM;
  xor_all(data, copy, n);
  const int rc = built_in_methods->xWrite(file, copy, n, at);
  free(copy);
  return rc;
}

static const sqlite3_io_methods *own_finder(const char *name, void *file) {
  built_in_methods = built_in_finder(name, file);
  own_methods = *built_in_methods;
  own_methods.xRead = own_read;
  own_methods.xWrite = own_write;
  return &own_methods;
}

static const method_finder own_finder_pointer = own_finder;
static sqlite3_vfs own_finder_vfs;

static void install_own_finder(const void *arg) {
  const char *name = arg;
  begin();
  own_finder_vfs = *sqlite3_vfs_find("unix-none");
  built_in_finder = *(const method_finder *)own_finder_vfs.pAppData;
  own_finder_vfs.zName = name;
  own_finder_vfs.pAppData = (void *)&own_finder_pointer;
  own_finder_vfs.pNext = NULL;
  CHECK_INT(sqlite3_vfs_register(&own_finder_vfs, 1), SQLITE_OK);
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
}

static void write_by_own_methods(const void *arg) {
  install_own_finder(arg);
  sqlite3 *db = db_open("a.db", "vfs=uring");
  db_exec(db, "PRAGMA locking_mode=exclusive; PRAGMA journal_mode=wal; CREATE TABLE t(x)");
  for (int i = 0; i < 5; i++) db_exec(db, "INSERT INTO t VALUES('" PLAIN "'||hex(zeroblob(100000)))");
  db_exec(db, "PRAGMA wal_checkpoint");
  CHECK_INT(db_stat(db, "wal_batches"), 0);
  die();
}

static void read_by_own_methods(const void *arg) {
  char text[64];
  install_own_finder(arg);
  CHECK(!file_has("a.db", PLAIN) && file_has("a.db-wal", PLAIN));
  snprintf(text, sizeof text, "vfs=%s", (const char *)arg);
  sqlite3 *db = db_open("a.db", text);
  db_exec(db, "PRAGMA locking_mode=exclusive");
  CHECK_INT(db_int(db, "SELECT count(*) FROM t"), 5);
  CHECK(strcmp(db_text(db, "PRAGMA integrity_check"), "ok") == 0);
  db_close(db);
}

static void own_file_methods_under_the_built_in_open(void **state) {
  static const char *const names[] = {"unix-finder", "unix", "finder"};
  (void)state;
  for (int i = 0; i < 3; i++) {
    child_empty_directory();
    child_is_killed(write_by_own_methods, names[i], names[i]);
    child_passes(read_by_own_methods, names[i], names[i]);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(under_any_name),
      cmocka_unit_test(under_all_names),
      cmocka_unit_test(rings_are_refused),
      cmocka_unit_test(own_file_methods_under_the_built_in_open),
  };
  return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
