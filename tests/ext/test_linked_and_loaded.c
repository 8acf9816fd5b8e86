/*
** test_linked_and_loaded.c - a program with this library linked in loads a copy of the extension as well, or several.
**
** Whoever comes second must not stand over the first: it would take its pieces for SQLite's, and hide its answers. It
** registers nothing, says so in the log, and loading it succeeds. In every order, with either entry point, in every
** setting of `synchronous`, what is committed is there when the process is killed.
*/
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <sqlite3.h>
#include "uringvfs.h"

static char directory[512];

/* Which copy, by which way: a file, plain or as default; 'l' and 'L' the one that is linked into this program. */
static const char *const orders[] = {"la", "lA", "La", "LA", "al", "aL", "Al", "AL", "lab", "aBl", "laL"};
enum { ORDERS = sizeof orders / sizeof orders[0] };

typedef struct run {
  const char *order, *synchronous, *journal_mode;
} run;

static unsigned told;

static void count_notices(void *arg, int code, const char *message) {
  (void)arg;
  if (code == SQLITE_NOTICE && strstr(message, "registered already") != NULL) told++;
}

static void give_up(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(90);
}

static void must(sqlite3 *db, const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) give_up(sql, sqlite3_errmsg(db));
}

static void load_file(char copy, bool make_default) {
  const char *from = getenv("URINGVFS_SO");
  char command[1200], name[32], *message = NULL;
  snprintf(name, sizeof name, "./%c.so", copy);
  snprintf(command, sizeof command, "test -e %s || cp '%s' %s", name, from, name);
  if (system(command) != 0) give_up(command, "failed");
  sqlite3 *loader = NULL;
  if (sqlite3_open_v2(":memory:", &loader, SQLITE_OPEN_READWRITE, "unix") != SQLITE_OK) give_up("open", ":memory:");
  sqlite3_db_config(loader, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 1, NULL);
  const char *entry = make_default ? "sqlite3_uringvfs_default_init" : "sqlite3_uringvfs_init";
  if (sqlite3_load_extension(loader, name, entry, &message) != SQLITE_OK) give_up(name, message);
  sqlite3_close(loader);
}

static void load(char copy) {
  const bool make_default = copy >= 'A' && copy <= 'Z';
  if (copy != 'l' && copy != 'L') {
    load_file(make_default ? (char)(copy - 'A' + 'a') : copy, make_default);
  } else if (uringvfs_register(make_default) != SQLITE_OK) {
    give_up("uringvfs_register", "failed");
  }
}

/* Loads them, and checks what stands there then. */
static void load_all(const char *order) {
  const sqlite3_vfs *first = NULL;
  bool is_default = false;
  for (const char *c = order; *c != 0; c++) {
    load(*c);
    is_default = is_default || (*c >= 'A' && *c <= 'Z');
    if (first == NULL) first = sqlite3_vfs_find("uring");
    if (sqlite3_vfs_find("uring") != first) give_up(order, "the second took the first one's place");
  }
  if ((sqlite3_vfs_find(NULL) == first) != is_default) give_up(order, "the wrong VFS is the default");
  unsigned named = 0;
  for (const sqlite3_vfs *v = sqlite3_vfs_find(NULL); v != NULL; v = v->pNext) named += strcmp(v->zName, "uring") == 0;
  if (named != 1) give_up(order, "more than one VFS is named uring");
  /* Copies behind the first speak up, each time they are loaded. */
  unsigned expected = 0;
  for (const char *c = order; *c != 0; c++) expected += (*c | 0x20) != (order[0] | 0x20);
  if (told != expected) give_up(order, "the log does not say that the other copy is used");
}

static void check_name(sqlite3 *db) {
  char *name = NULL;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_VFSNAME, &name);
  if (name == NULL || strcmp(name, "uring/unix") != 0) give_up("the file's VFS", name != NULL ? name : "(none)");
  sqlite3_free(name);
}

#define ROWS(from, to)                                                                                                 \
  "WITH c(x) AS (VALUES(" #from ") UNION ALL SELECT x+1 FROM c WHERE x<" #to                                           \
  ") INSERT INTO t SELECT x, hex(zeroblob(700)) FROM c;"

static void write_and_die(void *arg) {
  const run *r = arg;
  char pragmas[200];
  sqlite3 *db = NULL, *other = NULL;
  sqlite3_config(SQLITE_CONFIG_LOG, count_notices, NULL);
  sqlite3_initialize();
  load_all(r->order);
  if (sqlite3_open_v2("main.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "uring") != SQLITE_OK ||
      sqlite3_open_v2("main.db", &other, SQLITE_OPEN_READWRITE, "unix") != SQLITE_OK)
    give_up("open", "main.db");
  check_name(db);
  snprintf(pragmas, sizeof pragmas, "PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA cache_size=10",
           r->journal_mode, r->synchronous);
  must(db, pragmas);
  must(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b);" ROWS(1, 100));
  must(db, "BEGIN; UPDATE t SET b='rolled back'; ROLLBACK;" ROWS(101, 110));
  must(other, "DELETE FROM t WHERE a=1");
  must(db, ROWS(111, 120));
  raise(SIGKILL);
}

/* Another process, with SQLite as it is. */
static void look(void *arg) {
  (void)arg;
  sqlite3 *db = NULL;
  sqlite3_stmt *s = NULL;
  if (sqlite3_open("main.db", &db) != SQLITE_OK) exit(89);
  if (sqlite3_prepare_v2(db, "SELECT count(*), sum(a), (SELECT integrity_check FROM pragma_integrity_check) FROM t", -1,
                         &s, NULL) != SQLITE_OK)
    give_up("a stock connection", sqlite3_errmsg(db));
  sqlite3_step(s);
  const int rows = sqlite3_column_int(s, 0), sum = sqlite3_column_int(s, 1);
  if (rows != 119 || sum != 120 * 121 / 2 - 1 || strcmp((const char *)sqlite3_column_text(s, 2), "ok") != 0) {
    fprintf(stderr, "%d of 119 rows, integrity %s\n", rows, (const char *)sqlite3_column_text(s, 2));
    exit(88);
  }
  sqlite3_finalize(s);
  sqlite3_close(db);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
  (void)st, (void)kind, (void)where;
  return remove(path);
}

static void remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static int in_child(const char *where, void (*body)(void *), void *arg) {
  int status = -1;
  fflush(NULL);
  const pid_t child = fork();
  assert_true(child >= 0);
  if (child == 0) {
    if (chdir(where) != 0) _exit(1);
    body(arg);
    exit(0);
  }
  waitpid(child, &status, 0);
  return status;
}

static bool is_kept(const run *r) {
  char own[600];
  snprintf(own, sizeof own, "%s/XXXXXX", directory);
  if (mkdtemp(own) == NULL) fail_msg("mkdtemp");
  const int wrote = in_child(own, write_and_die, (void *)(uintptr_t)r), read = in_child(own, look, NULL);
  remove_tree(own);
  if (wrote == SIGKILL && read == 0) return true;
  fprintf(stderr, "loaded in the order %s, %s, synchronous %s: writing ended with status %x, reading with %x\n",
          r->order, r->journal_mode, r->synchronous, (unsigned)wrote, (unsigned)read);
  return false;
}

static void in_every_order(void **state) {
  (void)state;
  static const char *const syncs[] = {"FULL", "NORMAL", "OFF"};
  unsigned lost = 0;
  for (unsigned o = 0; o < ORDERS; o++)
    for (unsigned s = 0; s < 3; s++) {
      lost += !is_kept(&(run){orders[o], syncs[s], "WAL"});
      lost += !is_kept(&(run){orders[o], syncs[s], "DELETE"});
    }
  assert_int_equal(lost, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(in_every_order)};
  if (getenv("URINGVFS_SO") == NULL) {
    fputs("URINGVFS_SO is not set: run this with make check\n", stderr);
    return 1;
  }
  const char *base = getenv("TMPDIR");
  snprintf(directory, sizeof directory, "%s/uringvfs-linked-XXXXXX", base != NULL && *base != 0 ? base : "/tmp");
  if (mkdtemp(directory) == NULL) return 1;
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  remove_tree(directory);
  return rc;
}
