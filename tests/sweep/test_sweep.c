/*
** test_sweep.c - call N of each kind fails, for N = 1, 2, ... until nothing is injected.
**
** Each case is a process of its own: it opens a prepared database, works through five transactions and a checkpoint or
** VACUUM while one kind of call fails once, for ever, or every other time, with one errno. Then the fault is gone, and:
**   - a statement that failed has given a code that this kind of fault may give, and never SQLITE_CORRUPT
**   - the same connection, without being opened again, commits another transaction
**   - nothing leaks: SQLite's memory, descriptors
**   - the default VFS finds every acknowledged transaction, none by half, none that failed
** Where a fault is survived (a ring that cannot be had, EINTR, a short transfer) nothing may have failed at all.
**
** The default VFS goes through the same kinds, as far as it has them: what failed there would be the test's error.
** SWEEP_ALL=1: every N; otherwise from 4 on N grows by half, and the default VFS
** and uring_backend=auto are left out. SWEEP_CASE="journal backend kind how errno N" runs one case and prints it.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "support_inject.h"
#include "uringvfs.h"

/* ---- cases ---- */

typedef struct sweep_case {
  const char *journal, *vfs, *backend;
  inject_kind kind;
  inject_how how;
  int error, nth;
  bool verbose;
} sweep_case;

typedef struct sweep_result {
  int injected;
  int failed_statements;
  bool done; /* the process came to its end */
  char text[400];
} sweep_result;

static char scratch[500], template_wal[600], template_delete[600];
static sweep_result *result; /* shared with the child */

__attribute__((format(printf, 1, 2))) static void found(const char *format, ...) {
  if (result->text[0] != 0) return;
  va_list args;
  va_start(args, format);
  vsnprintf(result->text, sizeof result->text, format, args);
  va_end(args);
}

static const char *const how_names[] = {"once", "for ever", "every other", "short"};

static void describe(const sweep_case *c, char *text, size_t bytes) {
  snprintf(text, bytes, "%s, %s %s: %s %d fails %s with %d", c->journal, c->vfs, c->backend, inject_names[c->kind],
           c->nth, how_names[c->how], c->error);
}

/* ---- the work ---- */

enum { OPS = 5 };

static const char *const statements[OPS][4] = {
    {"INSERT INTO ops VALUES(1)"},
    {"BEGIN",
     "WITH c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i<60) INSERT INTO t(op,n,body) SELECT "
     "2,i,zeroblob(1500) FROM c",
     "INSERT INTO ops VALUES(2)", "COMMIT"},
    {"BEGIN", "UPDATE t SET n=n+1 WHERE op=0", "INSERT INTO ops VALUES(3)", "COMMIT"},
    {"BEGIN", "DELETE FROM t WHERE op=0 AND id%2=0", "INSERT INTO ops VALUES(4)", "COMMIT"},
    {"INSERT INTO ops VALUES(5)"},
};

/* One row: present?, effect whole?, effect absent? */
static const char *const effects[OPS] = {
    "SELECT count(*)=1, count(*)=0 FROM t WHERE op=1",
    "SELECT count(*)=61 AND total(length(body))=90000, count(*)=0 FROM t WHERE op=2",
    "SELECT min(n)=1 AND max(n)=1, min(n)=0 AND max(n)=0 FROM t WHERE op=0",
    "SELECT count(*)=5, count(*)=10 FROM t WHERE op=0",
    "SELECT count(*)=1, count(*)=0 FROM t WHERE op=5",
};

typedef enum outcome { NOT_RUN, ACKNOWLEDGED, NEVER, MAYBE } outcome;

static bool may_fail_with(const sweep_case *c, int rc) {
  const int primary = rc & 0xff;
  if (primary == SQLITE_IOERR || primary == SQLITE_NOMEM) return true;
  switch (c->kind) {
  case INJECT_READ:
  case INJECT_RING_READ: return primary == SQLITE_CORRUPT; /* SQLITE_IOERR_CORRUPTFS, which EIO and ENXIO become */
  case INJECT_STAT:                                        /* a database that seems to have moved is read-only */
  case INJECT_OPEN: return primary == SQLITE_CANTOPEN || primary == SQLITE_READONLY;
  case INJECT_WRITE:
  case INJECT_RING_WRITE:
  case INJECT_ALLOCATE: return primary == SQLITE_FULL;
  case INJECT_LOCK: return primary == SQLITE_BUSY || primary == SQLITE_PROTOCOL;
  case INJECT_OPENDIR:
  case INJECT_MMAP:
  case INJECT_SQLITE_MALLOC:
  case INJECT_MALLOC: return primary == SQLITE_CANTOPEN;
  case INJECT_RING_SETUP:
  case INJECT_RING_ENTER: return primary == SQLITE_CANTOPEN && strcmp(c->backend, "uring") == 0;
  default: return false;
  }
}

static int run(const sweep_case *c, sqlite3 *db, const char *sql) {
  int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  if (rc != SQLITE_OK) rc = sqlite3_extended_errcode(db);
  if (c->verbose) printf("  %d (injected %d) %s\n", rc, inject_seen(), sql);
  if (rc != SQLITE_OK) {
    result->failed_statements++;
    if (!may_fail_with(c, rc)) found("\"%s\" failed with %d, %s", sql, rc, sqlite3_errmsg(db));
  }
  return rc;
}

static sqlite3 *open_database(const sweep_case *c, const char *path) {
  sqlite3 *db = NULL;
  char uri[800];
  snprintf(uri, sizeof uri, "file:%s?uring_backend=%s", path, c->backend);
  int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, c->vfs);
  if (c->verbose) printf("  %d open\n", rc);
  if (rc != SQLITE_OK) {
    result->failed_statements++;
    if (!may_fail_with(c, db != NULL ? sqlite3_extended_errcode(db) : rc)) found("opening failed with %d", rc);
    sqlite3_close(db);
    return NULL;
  }
  (void)run(c, db, "PRAGMA cache_size=8");
  (void)run(c, db, "PRAGMA synchronous=FULL");
  return db;
}

/* Runs one transaction. */
static outcome work(const sweep_case *c, sqlite3 *db, int op) {
  int rc = SQLITE_OK;
  const char *sql = "";
  for (int i = 0; i < 4 && statements[op][i] != NULL && rc == SQLITE_OK; i++) {
    sql = statements[op][i];
    rc = run(c, db, sql);
  }
  const bool committing = strcmp(sql, "COMMIT") == 0 || statements[op][1] == NULL;
  if (!sqlite3_get_autocommit(db)) (void)run(c, db, "ROLLBACK");
  if (rc == SQLITE_OK) return ACKNOWLEDGED;
  /* Written but not durable, or durable but the journal could not be removed or the lock not lowered: it may be
  ** there. */
  const bool never =
      !committing || c->kind == INJECT_WRITE || c->kind == INJECT_RING_WRITE || (rc & 0xff) == SQLITE_BUSY;
  return never ? NEVER : MAYBE;
}

/* ---- looking at what is left ---- */

static int number(sqlite3 *db, const char *sql, int column, int otherwise) {
  sqlite3_stmt *stmt = NULL;
  int value = otherwise;
  if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
    value = sqlite3_column_int(stmt, column);
  else
    found("\"%s\" failed with %d, %s", sql, sqlite3_extended_errcode(db), sqlite3_errmsg(db));
  sqlite3_finalize(stmt);
  return value;
}

static void look(sqlite3 *db, const char *who, const outcome *outcomes) {
  for (int op = 0; op < OPS; op++) {
    char sql[100];
    snprintf(sql, sizeof sql, "SELECT count(*) FROM ops WHERE k=%d", op + 1);
    const int there = number(db, sql, 0, -1);
    const int whole = number(db, effects[op], 0, -1), absent = number(db, effects[op], 1, -1);
    if (there < 0) return;
    if (outcomes[op] == ACKNOWLEDGED && !there) found("%s: transaction %d was acknowledged and is lost", who, op + 1);
    if ((outcomes[op] == NEVER || outcomes[op] == NOT_RUN) && there)
      found("%s: transaction %d failed and is there", who, op + 1);
    if (there ? !whole : !absent) found("%s: transaction %d is there by half", who, op + 1);
  }
}

static int descriptors(void) {
  int count = 0;
  char target[100];
  DIR *dir = opendir("/proc/self/fd");
  struct dirent *entry;
  while (dir != NULL && (entry = readdir(dir)) != NULL) {
    const ssize_t n = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
    if (n <= 0) continue;
    target[n] = 0;
    count += strstr(target, "io_uring") == NULL && strstr(target, "eventfd") == NULL; /* of the pool, which stays */
  }
  closedir(dir);
  return count;
}

/* The fault is gone. A ring that was forbidden stays so for this process; one that there was no room for is tried
** again, with a backoff. */
static sqlite3 *open_again(const sweep_case *c, const char *path) {
  sweep_case again = *c;
  sqlite3 *db = open_database(&again, path);
  if (c->kind != INJECT_RING_SETUP && c->kind != INJECT_RING_ENTER) return db;
  if (c->error == EPERM || c->error == ENOSYS) again.backend = "auto";
  for (int i = 0; db == NULL && i < 600; i++) {
    usleep(100000);
    db = open_database(&again, path);
  }
  return db;
}

static void child(const sweep_case *c, const char *path) {
  outcome outcomes[OPS] = {NOT_RUN};
  const int before = descriptors();
  sqlite3 *db;
  inject_arm(c->kind, c->nth, c->how, c->error);
  db = open_database(c, path);
  for (int op = 0; op < OPS && db != NULL; op++) {
    outcomes[op] = work(c, db, op);
    if (op == 2) (void)run(c, db, strcmp(c->journal, "wal") == 0 ? "PRAGMA wal_checkpoint(TRUNCATE)" : "VACUUM");
  }
  result->injected = inject_off();
  if (c->verbose) printf("  the fault is gone, injected: %d\n", result->injected);
  if (db == NULL) db = open_again(c, path);
  if (db == NULL) {
    found("opening fails when the fault is gone");
    return;
  }
  int rc = sqlite3_exec(db, "INSERT INTO ops VALUES(90)", NULL, NULL, NULL);
  /* A database that could only be opened for reading stays so until it is opened again. */
  if (rc != SQLITE_OK && !(rc == SQLITE_READONLY && c->kind == INJECT_OPEN))
    found("when the fault is gone a commit fails with %d, %s", sqlite3_extended_errcode(db), sqlite3_errmsg(db));
  look(db, "the connection", outcomes);
  if (sqlite3_close(db) != SQLITE_OK) found("closing failed");
  if (sqlite3_memory_used() != 0) found("%lld bytes of SQLite's memory leaked", sqlite3_memory_used());
  if (descriptors() != before) found("%d descriptors before, %d after", before, descriptors());
  if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, "unix") != SQLITE_OK) found("the default VFS cannot open it");
  look(db, "the default VFS", outcomes);
  if (number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check='ok'", 0, 0) != 1)
    found("integrity_check does not say ok");
  sqlite3_close(db);
}

/* ---- running a case ---- */

static void copy_file(const char *from, const char *to) {
  char buffer[65536];
  int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  ssize_t n;
  assert_true(in >= 0 && out >= 0);
  while ((n = read(in, buffer, sizeof buffer)) > 0) assert_int_equal(write(out, buffer, (size_t)n), n);
  close(in);
  close(out);
}

/* How to run again what is running. */
static char replay[200];

/* One that hangs is ended by SIGTERM (tests/watch.py). */
static void on_term(int number) {
  static const char hangs[] = "FAILED: it hangs\n  ";
  (void)number;
  if (write(STDOUT_FILENO, hangs, sizeof hangs - 1) < 0 || write(STDOUT_FILENO, replay, strlen(replay)) < 0) _exit(2);
  _exit(1);
}

/* Returns whether the case is as it should be. */
static bool run_case(const sweep_case *c) {
  char path[600], other[700];
  static const char *const suffixes[] = {"-journal", "-wal", "-shm"};
  int status = 0;
  snprintf(path, sizeof path, "%s/case.db", scratch);
  for (int i = 0; i < 3; i++) {
    snprintf(other, sizeof other, "%s%s", path, suffixes[i]);
    (void)unlink(other);
  }
  copy_file(strcmp(c->journal, "wal") == 0 ? template_wal : template_delete, path);
  memset(result, 0, sizeof *result);
  snprintf(replay, sizeof replay, "replay: SWEEP_CASE='%s %s %d %d %d %d' BUILD=build build/tests/sweep/test_sweep\n",
           c->journal, strcmp(c->vfs, "uring") == 0 ? c->backend : "default", (int)c->kind, (int)c->how, c->error,
           c->nth);
  signal(SIGTERM, on_term);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGTERM, SIG_DFL);
    inject_install();
    if (uringvfs_register(0) != SQLITE_OK) found("the VFS cannot be registered");
    child(c, path);
    result->done = true;
    fflush(stdout);
    _exit(0);
  }
  assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
  if (!result->done && result->text[0] == 0)
    snprintf(result->text, sizeof result->text, "the process ended with status %x", status);
  if (result->text[0] == 0) return true;
  char text[300];
  describe(c, text, sizeof text);
  printf("FAILED %s: %s\n  %s", text, result->text, replay);
  return false;
}

/* ---- the sweep ---- */

typedef struct plan {
  inject_kind kind;
  int errors[8]; /* 0 ends */
  bool for_ever; /* an errno that never goes away; not where it means "again" */
  bool survived; /* nothing may fail */
} plan;

static const plan plans[] = {
    {INJECT_OPEN, {ENOENT, EACCES, EMFILE, EIO}, true, false},
    {INJECT_READ, {EIO, ENXIO}, true, false},
    {INJECT_WRITE, {EIO, ENOSPC, EDQUOT, EFBIG}, true, false},
    {INJECT_TRUNCATE, {EIO, EFBIG}, true, false},
    {INJECT_ALLOCATE, {ENOSPC}, true, false},
    {INJECT_MMAP, {ENOMEM}, true, false},
    {INJECT_LOCK, {EAGAIN, EACCES, ENOLCK, EIO}, true, false},
    {INJECT_STAT, {EIO, EOVERFLOW}, true, false},
    {INJECT_UNLINK, {EIO, EPERM}, true, false},
    {INJECT_OPENDIR, {EIO}, true, false},
    {INJECT_FSYNC, {EIO, ENOSPC}, true, false},
    {INJECT_SQLITE_MALLOC, {ENOMEM}, false, false},
    {INJECT_MALLOC, {ENOMEM}, true, false},
    {INJECT_RING_SETUP, {ENOMEM, EPERM, ENOSYS, EMFILE}, true, false},
    {INJECT_RING_ENTER, {EPERM, ENOMEM, EINTR, EAGAIN, EBUSY}, false, false},
    {INJECT_RING_READ, {EIO, ENXIO}, true, false},
    {INJECT_RING_WRITE, {EIO, ENOSPC, EFBIG, EDQUOT}, true, false},
    /* Whatever its number, it may be of pages written back before, and is told once. */
    {INJECT_RING_FSYNC, {EIO, ENOSPC, EINTR, EAGAIN, ECANCELED}, true, false},
    /* what the kernel may say without meaning it */
    {INJECT_RING_READ, {EINTR, EAGAIN, ECANCELED, EFAULT}, false, true},
    {INJECT_RING_WRITE, {EINTR, EAGAIN, ECANCELED, EFAULT}, false, true},
    {INJECT_READ, {EINTR}, false, true},
    {INJECT_WRITE, {EINTR}, false, true},
};

typedef struct sums {
  int cases, injected, failed_statements, failures;
  int by_kind[INJECT_KIND_COUNT];
} sums;

static int next_nth(int nth) {
  static int all = -1;
  if (all < 0) all = getenv("SWEEP_ALL") != NULL;
  return all || nth < 4 ? nth + 1 : nth + 1 + nth / 2;
}

/* N = 1, 2, ... until nothing is injected. */
static void sweep(sweep_case c, bool survived, sums *s) {
  for (c.nth = 1;; c.nth = next_nth(c.nth)) {
    bool fine = run_case(&c);
    if (fine && survived && result->failed_statements > 0) {
      char text[300];
      describe(&c, text, sizeof text);
      printf("FAILED %s: a statement failed, which should have survived it\n", text);
      fine = false;
    }
    s->cases++;
    s->injected += result->injected;
    s->by_kind[c.kind] += result->injected;
    s->failed_statements += result->failed_statements;
    s->failures += !fine;
    if (result->injected == 0 || s->failures > 20) break;
  }
}

static bool applies(const plan *p, const char *vfs, const char *backend) {
  const bool ring = p->kind >= INJECT_RING_SETUP;
  if (!ring) return true;
  return strcmp(vfs, "uring") == 0 && strcmp(backend, "sync") != 0;
}

static void sweep_all(const char *vfs, const char *backend, sums *s) {
  static const char *const journals[] = {"wal", "delete"};
  for (int j = 0; j < 2; j++) {
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
      const plan *p = &plans[i];
      if (!applies(p, vfs, backend)) continue;
      for (int e = 0; p->errors[e] != 0; e++) {
        const bool again = p->errors[e] == EINTR || p->errors[e] == EAGAIN || p->errors[e] == EBUSY;
        sweep_case c = {journals[j], vfs, backend, p->kind, INJECT_ONCE, p->errors[e], 1, false};
        sweep(c, p->survived, s);
        c.how = INJECT_FOR_EVER;
        /* A WAL's lock that can never be had is tried for ten seconds (wal.c, walTryBeginRead). */
        if (p->for_ever && !(p->kind == INJECT_LOCK && j == 0)) sweep(c, p->survived, s);
        c.how = INJECT_EVERY_OTHER;
        if (again && p->kind != INJECT_LOCK) sweep(c, p->survived, s);
      }
    }
    for (int kind = 0; kind < 4; kind++) {
      const inject_kind kinds[] = {INJECT_READ, INJECT_WRITE, INJECT_RING_READ, INJECT_RING_WRITE};
      const plan p = {kinds[kind], {0}, false, true};
      if (!applies(&p, vfs, backend)) continue;
      for (int length = 0; length < INJECT_SHORT_CLASSES; length++) {
        sweep_case c = {journals[j], vfs, backend, kinds[kind], INJECT_SHORT, length, 1, false};
        sweep(c, true, s);
        c.error += 100;
        sweep(c, true, s);
      }
    }
  }
}

static void report(const char *what, const sums *s) {
  printf("sweep: %s: %d cases, %d faults injected, %d statements failed, %d failures\n", what, s->cases, s->injected,
         s->failed_statements, s->failures);
  fflush(stdout);
}

static void sweep_one(const char *name, const char *vfs, const char *backend) {
  sums s = {0};
  sweep_all(vfs, backend, &s);
  report(name, &s);
  assert_int_equal(s.failures, 0);
  assert_true(s.injected > 300 && s.failed_statements > 100);
  /* rings are really used where they are asked for */
  for (int kind = INJECT_RING_READ; kind < INJECT_KIND_COUNT; kind++)
    if (strcmp(backend, "uring") == 0) assert_true(s.by_kind[kind] > 0);
}

static void test_default(void **state) {
  (void)state;
  sweep_one("the default VFS", "unix", "sync");
}

static void test_sync(void **state) {
  (void)state;
  sweep_one("uring, sync", "uring", "sync");
}

static void test_uring(void **state) {
  (void)state;
  sweep_one("uring, uring", "uring", "uring");
}

static void test_auto(void **state) {
  (void)state;
  sweep_one("uring, auto", "uring", "auto");
}

/* ---- set-up ---- */

static void make_template(char *path, size_t bytes, const char *journal) {
  sqlite3 *db;
  char sql[1000];
  snprintf(path, bytes, "%s/%s.db", scratch, journal);
  assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), SQLITE_OK);
  snprintf(
      sql, sizeof sql,
      "PRAGMA page_size=4096; PRAGMA journal_mode=%s; CREATE TABLE ops(k INTEGER PRIMARY KEY);"
      "CREATE TABLE t(id INTEGER PRIMARY KEY, op INT, n INT, body BLOB); CREATE INDEX t_op ON t(op, n);"
      "WITH c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i<10) INSERT INTO t SELECT i,0,0,zeroblob(700) FROM c;"
      "CREATE TRIGGER r AFTER INSERT ON ops BEGIN INSERT INTO t(op,n,body) VALUES(new.k,0,''); END;",
      journal);
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  (void)sqlite3_shutdown(); /* the children configure their own */
}

static int one_case(const char *text) {
  sweep_case c = {.verbose = true};
  char journal[20], backend[20];
  int kind, how;
  if (sscanf(text, "%19s %19s %d %d %d %d", journal, backend, &kind, &how, &c.error, &c.nth) != 6) {
    fprintf(stderr, "SWEEP_CASE='journal backend kind how errno N'\n");
    return 1;
  }
  const bool is_default = strcmp(backend, "default") == 0;
  c.journal = journal;
  c.vfs = is_default ? "unix" : "uring";
  c.backend = is_default ? "sync" : backend;
  c.kind = (inject_kind)kind;
  c.how = (inject_how)how;
  return run_case(&c) ? 0 : 1;
}

int main(int argc, char **argv) {
  const char *tmp = getenv("TMPDIR"), *one = getenv("SWEEP_CASE");
  if (access("/dev/shm", W_OK) == 0) tmp = "/dev/shm";
  snprintf(scratch, sizeof scratch, "%s/uringvfs-sweep.XXXXXX", tmp != NULL ? tmp : "/tmp");
  result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (mkdtemp(scratch) == NULL || result == MAP_FAILED) {
    perror(scratch);
    return 1;
  }
  make_template(template_wal, sizeof template_wal, "wal");
  make_template(template_delete, sizeof template_delete, "delete");
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_sync),
      cmocka_unit_test(test_uring),
      cmocka_unit_test(test_default),
      cmocka_unit_test(test_auto),
  };
  if (getenv("SWEEP_ALL") == NULL && argc < 2) cmocka_set_skip_filter("test_[da]*");
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  int rc = one != NULL ? one_case(one) : cmocka_run_group_tests_name("sweep", tests, NULL, NULL);
  DIR *dir = opendir(scratch);
  struct dirent *entry;
  while (dir != NULL && (entry = readdir(dir)) != NULL)
    if (entry->d_name[0] != '.') (void)unlinkat(dirfd(dir), entry->d_name, 0);
  if (dir != NULL) closedir(dir);
  (void)rmdir(scratch);
  return rc;
}
