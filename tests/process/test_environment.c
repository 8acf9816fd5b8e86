/*
** test_environment.c - uring asks the environment for nothing that the default VFS would not ask for.
**
** This program's own getenv and secure_getenv stand before the C library's for everything it is linked with, and keep a
** list. The same work is done through either VFS in a child each; the lists are compared.
*/
#include "support.h"
#include <sys/mman.h>

extern char **environ;

#define MAX_NAMES 64
static struct {
  bool recording, done;
  int count;
  char names[MAX_NAMES][64];
} * shared;

static char *environment_find(const char *name) {
  size_t length = strlen(name);
  if (shared != NULL && shared->recording) {
    int i = 0;
    while (i < shared->count && strcmp(shared->names[i], name) != 0) i++;
    if (i == shared->count && i < MAX_NAMES)
      snprintf(shared->names[shared->count++], sizeof(shared->names[0]), "%s", name);
  }
  for (char **e = environ; e != NULL && *e != NULL; e++) {
    if (strncmp(*e, name, length) == 0 && (*e)[length] == '=') return *e + length + 1;
  }
  return NULL;
}

__attribute__((visibility("default"))) char *getenv(const char *name) { return environment_find(name); }
__attribute__((visibility("default"))) char *secure_getenv(const char *name) { return environment_find(name); }

static void work(const char *vfs) {
  static const char *const modes[] = {"delete", "wal", "persist", "off"};
  char text[256];
  sqlite3 *db = NULL;
  int rc = SQLITE_OK;
  for (int i = 0; i < 4 && rc == SQLITE_OK; i++) {
    snprintf(text, sizeof(text), "%d-%s.db", (int)getpid(), modes[i]);
    rc = db_open_rc(at(text), vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db);
    snprintf(text, sizeof(text),
             "PRAGMA journal_mode=%s; PRAGMA cache_size=5; PRAGMA temp_store=file; CREATE TABLE t(a, b)", modes[i]);
    if (rc == SQLITE_OK) rc = sql_rc(db, text, NULL);
    if (rc == SQLITE_OK) {
      rc = sql_rc(
          db,
          "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<20000) INSERT INTO t SELECT i, randomblob(90) "
          "FROM c; CREATE TEMP TABLE x AS SELECT * FROM t ORDER BY b; UPDATE t SET b = 1; VACUUM; PRAGMA "
          "integrity_check; SELECT datetime('now', 'localtime')",
          NULL);
    }
    sql_rc(db, "PRAGMA uring_stats", NULL);
    sqlite3_close(db);
  }
  /* errors and their messages */
  if (db_open_rc(at("missing/x.db"), vfs, SQLITE_OPEN_READWRITE, &db) == SQLITE_OK) rc = SQLITE_ERROR;
  sqlite3_close(db);
  if (vfs_is_uring && strcmp(vfs, "uring") == 0) {
    snprintf(text, sizeof(text), "file:%s?vfs=uring&uring_nonsense=1", at("options.db"));
    if (sqlite3_open_v2(text, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL) == SQLITE_OK) rc = SQLITE_ERROR;
    sqlite3_close(db);
  }
  shared->done = rc == SQLITE_OK;
  if (rc != SQLITE_OK) fprintf(stderr, "through %s: %d\n%s", vfs, rc, log_text);
}

static int run(const char *vfs, char (*names)[64]) {
  memset(shared, 0, sizeof(*shared));
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    shared->recording = true;
    /* Even the registration: without it SQLite's own first questions would be missing from the default's list. */
    support_sqlite();
    work(vfs);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  assert_int_equal(status, 0);
  assert_true(shared->done);
  memcpy(names, shared->names, sizeof(shared->names));
  return shared->count;
}

static bool has(char (*names)[64], int count, const char *name) {
  for (int i = 0; i < count; i++) {
    if (strcmp(names[i], name) == 0) return true;
  }
  return false;
}

static void test_nothing_is_read_from_the_environment(void **state) {
  (void)state;
  static char wanted[MAX_NAMES][64], got[MAX_NAMES][64];
  /* The default's list: a child that never registers uring. */
  char under_test[32];
  snprintf(under_test, sizeof(under_test), "%s", uring_vfs());
  setenv("URINGVFS_TEST_VFS", "unix", 1);
  int n = run(default_vfs, wanted);
  setenv("URINGVFS_TEST_VFS", under_test, 1);
  int m = run(uring_vfs(), got);
  printf("asked by the default VFS:");
  for (int i = 0; i < n; i++) printf(" %s", wanted[i]);
  printf("; by uring:");
  for (int i = 0; i < m; i++) printf(" %s", got[i]);
  printf("\n");
  /* That the list works at all: os_unix.c asks for these, and this test's own header for the third. */
  assert_true(has(wanted, n, "SQLITE_TMPDIR") && has(wanted, n, "TMPDIR") && has(wanted, n, "URINGVFS_TEST_VFS"));
  assert_true(has(got, m, "SQLITE_TMPDIR"));
  for (int i = 0; i < m; i++) {
    if (!has(wanted, n, got[i])) fail_msg("uring asks for %s", got[i]);
  }
}

int main(void) {
  shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  support_directory();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_is_read_from_the_environment)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
