/*
** test_system_calls.c - a program that puts its own functions in the place of system calls (xSetSystemCall) sees all I/O.
**
** Tools that encrypt, simulate faults or emulate files do so, by the interface of the unix VFS. A ring would go past them. So
** while any of the calls by which files are opened, read, written, sized or mapped is somebody else's, no ring is used,
** whenever it was replaced: before uringvfs was registered, between registering and opening, or under an open connection. When the
** call is SQLite's own again, rings are used again.
*/
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "rt.h"
#include "uringvfs.h"
#include "support_script.h"

#define SECRET "PLAINTEXT-4111-1111-"

static char directory[512];

/* ---- the functions in their place ---- */

enum { OPEN, CLOSE, FSTAT, READ, PREAD, PREAD64, WRITE, PWRITE, PWRITE64, FTRUNCATE, FALLOCATE, MMAP, CALLS };
static const char *const names[CALLS] = {"open",  "close",  "fstat",    "read",      "pread",     "pread64",
                                         "write", "pwrite", "pwrite64", "ftruncate", "fallocate", "mmap"};
static sqlite3_syscall_ptr below[CALLS];
static unsigned seen[CALLS];
static bool changes_bytes;

#define BELOW(call, type) (seen[call]++, (type)below[call])

/* The wal-index is memory, and shared with others; but SQLite writes a byte to make its file longer. */
static bool is_changed(int fd) {
  char link[64], path[600];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  return changes_bytes && n > 4 && memcmp(path + n - 4, "-shm", 4) != 0;
}

static void change(void *to, const void *from, size_t n) {
  for (size_t i = 0; i < n; i++) ((unsigned char *)to)[i] = ((const unsigned char *)from)[i] ^ 0x5a;
}

static ssize_t changed_read(int fd, void *data, ssize_t n) {
  if (n > 0 && is_changed(fd)) change(data, data, (size_t)n);
  return n;
}

static void *changed_copy(int fd, const void *data, size_t n) {
  void *copy = malloc(n + 1);
  if (copy == NULL) abort();
  if (is_changed(fd))
    change(copy, data, n);
  else
    memcpy(copy, data, n);
  return copy;
}

static ssize_t own_read(int fd, void *data, size_t n) {
  return changed_read(fd, data, BELOW(READ, ssize_t(*)(int, void *, size_t))(fd, data, n));
}

static ssize_t own_pread(int fd, void *data, size_t n, off_t at) {
  return changed_read(fd, data, BELOW(PREAD, ssize_t(*)(int, void *, size_t, off_t))(fd, data, n, at));
}

static ssize_t own_pread64(int fd, void *data, size_t n, off64_t at) {
  return changed_read(fd, data, BELOW(PREAD64, ssize_t(*)(int, void *, size_t, off64_t))(fd, data, n, at));
}

static ssize_t own_write(int fd, const void *data, size_t n) {
  void *copy = changed_copy(fd, data, n);
  const ssize_t wrote = BELOW(WRITE, ssize_t(*)(int, const void *, size_t))(fd, copy, n);
  free(copy);
  return wrote;
}

static ssize_t own_pwrite(int fd, const void *data, size_t n, off_t at) {
  void *copy = changed_copy(fd, data, n);
  const ssize_t wrote = BELOW(PWRITE, ssize_t(*)(int, const void *, size_t, off_t))(fd, copy, n, at);
  free(copy);
  return wrote;
}

static ssize_t own_pwrite64(int fd, const void *data, size_t n, off64_t at) {
  void *copy = changed_copy(fd, data, n);
  const ssize_t wrote = BELOW(PWRITE64, ssize_t(*)(int, const void *, size_t, off64_t))(fd, copy, n, at);
  free(copy);
  return wrote;
}

static int own_open(const char *path, int flags, int mode) {
  return BELOW(OPEN, int (*)(const char *, int, int))(path, flags, mode);
}
static int own_close(int fd) { return BELOW(CLOSE, int (*)(int))(fd); }
static int own_fstat(int fd, struct stat *st) { return BELOW(FSTAT, int (*)(int, struct stat *))(fd, st); }
static int own_ftruncate(int fd, off_t n) { return BELOW(FTRUNCATE, int (*)(int, off_t))(fd, n); }
static int own_fallocate(int fd, off_t at, off_t n) { return BELOW(FALLOCATE, int (*)(int, off_t, off_t))(fd, at, n); }
static void *own_mmap(void *addr, size_t n, int prot, int flags, int fd, off_t at) {
  return BELOW(MMAP, void *(*)(void *, size_t, int, int, int, off_t))(addr, n, prot, flags, fd, at);
}

#define CALL(f) ((sqlite3_syscall_ptr)(f))
static const sqlite3_syscall_ptr own[CALLS] = {
    CALL(own_open),  CALL(own_close),  CALL(own_fstat),    CALL(own_read),      CALL(own_pread),     CALL(own_pread64),
    CALL(own_write), CALL(own_pwrite), CALL(own_pwrite64), CALL(own_ftruncate), CALL(own_fallocate), CALL(own_mmap)};

static sqlite3_vfs *unix_vfs(void) { return sqlite3_vfs_find("unix"); }

/* False: SQLite was built to do without it. */
static bool replace(int call) {
  below[call] = unix_vfs()->xGetSystemCall(unix_vfs(), names[call]);
  return below[call] != NULL && unix_vfs()->xSetSystemCall(unix_vfs(), names[call], own[call]) == SQLITE_OK;
}

static void put_back(int call) { unix_vfs()->xSetSystemCall(unix_vfs(), names[call], below[call]); }

/* ---- one run ---- */

typedef enum moment { BEFORE_REGISTERING, BEFORE_OPENING, WHILE_OPEN, MOMENTS } moment;
static const char *const moments[MOMENTS] = {"before registering", "before opening", "while it is open"};

typedef struct run {
  int call; /* CALLS: none */
  moment moment;
  const char *journal_mode;
} run;

/* Exit codes of the child. */
enum { NO_RINGS_HERE = 77, NOT_IN_THIS_SQLITE = 78, RING_USED = 79, RING_NOT_USED = 80, WRONG = 81 };

static unsigned long long ring_operations(void) {
  rt_stats s;
  unsigned long long n = 0;
  rt_stats_read(&s);
  for (int k = 0; k < RT_KIND_COUNT; k++) n += s.ops[k] - s.inline_ops[k];
  return n + s.enters;
}

static void must(sqlite3 *db, const char *sql) {
  int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  if (rc == SQLITE_OK) return;
  fprintf(stderr, "%.60s: %d %s\n", sql, rc, sqlite3_errmsg(db));
  exit(WRONG);
}

static long long number(sqlite3 *db, const char *sql) {
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  const long long n = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -rc;
  sqlite3_finalize(s);
  return n;
}

static sqlite3 *open_database(const char *vfs, const char *journal_mode) {
  char uri[100], pragma[100];
  sqlite3 *db = NULL;
  snprintf(uri, sizeof uri, "file:main.db?vfs=%s%s", vfs, strcmp(vfs, "uring") == 0 ? "&uring_backend=uring" : "");
  if (sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL) != SQLITE_OK)
    return NULL;
  snprintf(pragma, sizeof pragma, "PRAGMA journal_mode=%s; PRAGMA cache_size=10; PRAGMA synchronous=%s", journal_mode,
           strcmp(journal_mode, "WAL") == 0 ? "NORMAL" : "OFF");
  must(db, pragma);
  return db;
}

#define ROWS(from, to)                                                                                                 \
  "WITH c(x) AS (VALUES(" #from ") UNION ALL SELECT x+1 FROM c WHERE x<" #to                                           \
  ") INSERT INTO t SELECT x, x*7919%1009, '" SECRET "'||hex(zeroblob(700)) FROM c;"
#define LOOK "SELECT count(*) FROM (SELECT b FROM t INDEXED BY i WHERE k>=0 ORDER BY k) WHERE b LIKE '" SECRET "%'"

/* Writes, spills, commits, reads through an index, copies back. */
static void work(sqlite3 *db) {
  must(db,
       "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, k, b); CREATE INDEX IF NOT EXISTS i ON t(k); DELETE FROM t;"
       "BEGIN;" ROWS(1, 300) "COMMIT; BEGIN; UPDATE t SET k=k+1; ROLLBACK; PRAGMA shrink_memory");
  if (number(db, LOOK) != 300) exit(WRONG);
  must(db, "PRAGMA wal_checkpoint; PRAGMA shrink_memory");
  if (number(db, LOOK) != 300) exit(WRONG);
}

static void body(void *arg) {
  const run *r = arg;
  if (sqlite3_initialize() != SQLITE_OK) exit(WRONG);
  if (r->moment == BEFORE_REGISTERING && r->call < CALLS && !replace(r->call)) exit(NOT_IN_THIS_SQLITE);
  if (uringvfs_register(0) != SQLITE_OK) exit(WRONG);
  if (r->moment == BEFORE_OPENING && r->call < CALLS && !replace(r->call)) exit(NOT_IN_THIS_SQLITE);
  sqlite3 *db = open_database("uring", r->journal_mode);
  if (db == NULL) exit(NO_RINGS_HERE);
  if (r->moment == WHILE_OPEN) {
    work(db);
    if (ring_operations() == 0) exit(RING_NOT_USED);
    if (!replace(r->call)) exit(NOT_IN_THIS_SQLITE);
  }
  const unsigned long long before = ring_operations();
  work(db);
  if (ring_operations() != before) exit(RING_USED);
  if (r->moment == WHILE_OPEN) {
    put_back(r->call);
    work(db);
    if (ring_operations() == before) exit(RING_NOT_USED);
  }
  sqlite3_close(db);
}

static int result_of(const run *r) {
  char own_directory[600];
  snprintf(own_directory, sizeof own_directory, "%s/XXXXXX", directory);
  if (mkdtemp(own_directory) == NULL) fail_msg("mkdtemp");
  const int status = in_child(own_directory, body, (void *)(uintptr_t)r);
  remove_tree(own_directory);
  return status & 0x7f ? -status : status >> 8;
}

static bool rings_work(void) {
  const run r = {.call = CALLS, .moment = BEFORE_OPENING, .journal_mode = "WAL"};
  const int rc = result_of(&r);
  if (rc != NO_RINGS_HERE && rc != RING_USED) fail_msg("with no call replaced: %d", rc);
  return rc == RING_USED;
}

static void no_ring_while_a_call_is_replaced(void **state) {
  (void)state;
  unsigned failed = 0, replaced = 0;
  for (int call = 0; call < CALLS; call++)
    for (moment m = 0; m < MOMENTS; m++)
      for (int wal = 0; wal < 2; wal++) {
        const int rc = result_of(&(run){call, m, wal ? "WAL" : "DELETE"});
        replaced += rc != NOT_IN_THIS_SQLITE;
        if (rc == 0 || rc == NOT_IN_THIS_SQLITE) continue;
        failed++;
        fprintf(stderr, "%s replaced %s, %s: %s (%d)\n", names[call], moments[m], wal ? "WAL" : "DELETE",
                rc == RING_USED       ? "a ring was used"
                : rc == RING_NOT_USED ? "no ring was used without it"
                                      : "wrong",
                rc);
      }
  assert_int_equal(failed, 0);
  assert_true(replaced >= 9 * MOMENTS * 2);
}

/* ---- functions that store other bytes ---- */

static void body_that_changes_bytes(void *arg) {
  const run *r = arg;
  changes_bytes = true;
  if (sqlite3_initialize() != SQLITE_OK) exit(WRONG);
  if (r->moment == BEFORE_OPENING && uringvfs_register(0) != SQLITE_OK) exit(WRONG);
  for (int call = READ; call <= PWRITE64; call++) (void)replace(call);
  if (r->moment == BEFORE_REGISTERING && uringvfs_register(0) != SQLITE_OK) exit(WRONG);
  sqlite3 *db = open_database("uring", r->journal_mode), *other = open_database("unix", r->journal_mode);
  if (db == NULL) exit(NO_RINGS_HERE);
  work(db);
  if (number(other, LOOK) != 300) exit(WRONG);
  must(other, "DELETE FROM t WHERE a>250");
  if (number(db, LOOK) != 250) exit(WRONG);
  must(db, "BEGIN;" ROWS(301, 350) "COMMIT");
  if (number(other, LOOK) != 300) exit(WRONG);
  /* Looking closes a descriptor of the database, and with it go the locks of this process; nobody else is here. */
  if (file_holds("main.db", SECRET) || file_holds("main.db-wal", SECRET) || file_holds("main.db-journal", SECRET))
    exit(RING_USED);
  sqlite3_close(db);
  sqlite3_close(other);
  /* Without the functions nobody can read it: they did change something. */
  for (int call = READ; call <= PWRITE64; call++)
    if (below[call] != NULL) put_back(call);
  if (sqlite3_open("main.db", &db) != SQLITE_OK || number(db, LOOK) != -SQLITE_NOTADB) exit(WRONG);
  sqlite3_close(db);
}

static void functions_that_change_bytes_see_all(void **state) {
  (void)state;
  unsigned failed = 0;
  for (moment m = BEFORE_REGISTERING; m <= BEFORE_OPENING; m++)
    for (int wal = 0; wal < 2; wal++) {
      const run r = {CALLS, m, wal ? "WAL" : "DELETE"};
      char own_directory[600];
      snprintf(own_directory, sizeof own_directory, "%s/XXXXXX", directory);
      if (mkdtemp(own_directory) == NULL) fail_msg("mkdtemp");
      const int status = in_child(own_directory, body_that_changes_bytes, (void *)(uintptr_t)&r);
      remove_tree(own_directory);
      if (status == 0) continue;
      failed++;
      fprintf(stderr, "replaced %s, %s: status %x\n", moments[m], r.journal_mode, (unsigned)status);
    }
  assert_int_equal(failed, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(no_ring_while_a_call_is_replaced),
      cmocka_unit_test(functions_that_change_bytes_see_all),
  };
  make_directory(directory, sizeof directory);
  if (!rings_work()) {
    remove_tree(directory);
    puts("no ring can be had here");
    return 77;
  }
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  remove_tree(directory);
  return rc;
}
