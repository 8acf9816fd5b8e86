/*
** test_controls.c - every file control of SQLite, on every kind of file, against the default VFS.
**
** A table has each SQLITE_FCNTL_ up to SQLite 3.53, and numbers that nobody uses. All are sent to the database file,
** to the WAL and to the rollback journal, as sqlite3_file_control() does it and by xFileControl itself, at rest and
** in the middle of a transaction; codes and answers are reported. Then what the ones that do something have done is
** looked at. The reports of both VFSs must be equal.
*/
#include "support_child.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uringvfs.h"

typedef enum argument {
  NOTHING,     /* NULL                                             */
  ZEROS,       /* 64 bytes, which must still be zero                */
  INT_QUERY,   /* int, -1                                          */
  INT_ZERO,    /* int, 0                                           */
  INT_ONE,     /* int, 1                                           */
  INT_CHUNK,   /* int, 65536                                       */
  BYTES_QUERY, /* sqlite3_int64, -1                                */
  BYTES,       /* sqlite3_int64, 300000                            */
  TEXT_OUT,    /* char **, of sqlite3_malloc                        */
  POINTER_OUT, /* void **                                          */
  PRAGMA       /* char *[4]                                        */
} argument;

typedef struct control {
  int number;
  const char *name;
  argument argument;
} control;

/* By number, since the header may be older. */
static const control controls[] = {
    {1, "LOCKSTATE", INT_QUERY},
    {2, "GET_LOCKPROXYFILE", ZEROS},
    {3, "SET_LOCKPROXYFILE", NOTHING},
    {4, "LAST_ERRNO", INT_QUERY},
    {5, "SIZE_HINT", BYTES},
    {5, "SIZE_HINT", BYTES_QUERY},
    {6, "CHUNK_SIZE", INT_ONE},
    {7, "FILE_POINTER", POINTER_OUT},
    {8, "SYNC_OMITTED", NOTHING},
    {9, "WIN32_AV_RETRY", ZEROS},
    {10, "PERSIST_WAL", INT_QUERY},
    {10, "PERSIST_WAL", INT_ONE},
    {10, "PERSIST_WAL", INT_QUERY},
    {10, "PERSIST_WAL", INT_ZERO},
    {11, "OVERWRITE", NOTHING},
    {12, "VFSNAME", TEXT_OUT},
    {13, "POWERSAFE_OVERWRITE", INT_QUERY},
    {13, "POWERSAFE_OVERWRITE", INT_ZERO},
    {13, "POWERSAFE_OVERWRITE", INT_QUERY},
    {13, "POWERSAFE_OVERWRITE", INT_ONE},
    {14, "PRAGMA", PRAGMA},
    {15, "BUSYHANDLER", ZEROS},
    {16, "TEMPFILENAME", TEXT_OUT},
    {17, "17", ZEROS},
    {18, "MMAP_SIZE", BYTES_QUERY},
    {18, "MMAP_SIZE", BYTES},
    {18, "MMAP_SIZE", BYTES_QUERY},
    {19, "TRACE", NOTHING},
    {20, "HAS_MOVED", INT_QUERY},
    {21, "SYNC", NOTHING},
    {22, "COMMIT_PHASETWO", NOTHING},
    {23, "WIN32_SET_HANDLE", ZEROS},
    {24, "WAL_BLOCK", NOTHING},
    {25, "ZIPVFS", ZEROS},
    {26, "RBU", ZEROS},
    {27, "VFS_POINTER", POINTER_OUT},
    {28, "JOURNAL_POINTER", POINTER_OUT},
    {29, "WIN32_GET_HANDLE", ZEROS},
    {30, "PDB", ZEROS},
    {31, "BEGIN_ATOMIC_WRITE", NOTHING},
    {32, "COMMIT_ATOMIC_WRITE", NOTHING},
    {33, "ROLLBACK_ATOMIC_WRITE", NOTHING},
    {34, "LOCK_TIMEOUT", INT_ONE},
    {35, "DATA_VERSION", POINTER_OUT}, /* a number that is not the same in two runs */
    {36, "SIZE_LIMIT", BYTES_QUERY},
    {37, "CKPT_DONE", NOTHING},
    {38, "RESERVE_BYTES", INT_QUERY},
    {39, "CKPT_START", NOTHING},
    {40, "EXTERNAL_READER", INT_QUERY},
    {41, "CKSM_FILE", ZEROS},
    {42, "RESET_CACHE", NOTHING},
    {43, "NULL_IO", ZEROS}, /* a version that knows it: tests/newer */
    {44, "BLOCK_ON_CONNECT", INT_ZERO},
    {45, "FILESTAT", NOTHING},
    {46, "46", ZEROS},
    {46, "46", NOTHING},
    {99, "99", ZEROS},
    {777777, "777777", NOTHING},
    {5149216, "RBUCNT", ZEROS},
    {(int)0xca093fa0, "DB_UNCHANGED", ZEROS},
    {0x7fffffff, "the largest", ZEROS},
    {-1, "-1", ZEROS},
    {0, "0", ZEROS},
};

enum { CONTROLS = sizeof controls / sizeof controls[0] };

static const char *parameters;

static bool is_uring(void) { return strstr(parameters, "vfs=uring") != NULL; }

/* ---- sending one ---- */

typedef struct answer {
  union {
    int i;
    sqlite3_int64 n;
    char *text;
    void *pointer;
    char *args[4];
    unsigned char bytes[64];
  } u;
  void *arg;
} answer;

static void prepare_argument(answer *a, argument kind) {
  static const sqlite3_int64 numbers[] = {[INT_QUERY] = -1,   [INT_ZERO] = 0,   [INT_ONE] = 1, [INT_CHUNK] = 65536,
                                          [BYTES_QUERY] = -1, [BYTES] = 300000, [TEXT_OUT] = 0};
  memset(a, 0, sizeof *a);
  a->arg = kind == NOTHING ? NULL : &a->u;
  if (kind >= INT_QUERY && kind <= INT_CHUNK) a->u.i = (int)numbers[kind];
  if (kind == BYTES_QUERY || kind == BYTES) a->u.n = numbers[kind];
  if (kind == PRAGMA) a->u.args[1] = (char *)(uintptr_t) "nobody_knows_this";
}

static bool begins_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

static void tell_text(const char *what, int rc, char *text) {
  const char *shown = text ? text : "NULL";
  if (text && strstr(what, "VFSNAME")) {
    CHECK_INT(begins_with(text, "uring/"), is_uring());
    if (is_uring()) shown += strlen("uring/");
  }
  if (text && strstr(what, "TEMPFILENAME"))
    shown = strrchr(text, '/') && begins_with(strrchr(text, '/'), "/etilqs_") ? "etilqs" : text;
  say("%s: %d, %s", what, rc, shown);
  sqlite3_free(text);
}

static void tell_answer(const char *what, argument kind, int rc, const answer *a) {
  static const unsigned char zeros[64];
  switch (kind) {
  case NOTHING: say("%s: %d", what, rc); break;
  case ZEROS: say("%s: %d%s", what, rc, memcmp(a->u.bytes, zeros, sizeof zeros) ? ", written to" : ""); break;
  case BYTES_QUERY:
  case BYTES: say("%s: %d, %lld", what, rc, (long long)a->u.n); break;
  case TEXT_OUT: tell_text(what, rc, a->u.text); break;
  case POINTER_OUT: say("%s: %d, %s", what, rc, a->u.pointer ? "something" : "nothing"); break;
  case PRAGMA: say("%s: %d, %s", what, rc, a->u.args[0] ? a->u.args[0] : "nothing"); break;
  default: say("%s: %d, %d", what, rc, a->u.i); break;
  }
}

static void send_to(sqlite3_file *file, const char *where, const control *c) {
  char what[128];
  answer a;
  snprintf(what, sizeof what, "%s (%d), %s", c->name, c->number, where);
  prepare_argument(&a, c->argument);
  const int rc = file->pMethods->xFileControl(file, c->number, a.arg);
  tell_answer(what, c->argument, rc, &a);
}

static void send_by_sqlite(sqlite3 *db, const control *c) {
  char what[128];
  answer a;
  snprintf(what, sizeof what, "%s (%d), sqlite3_file_control", c->name, c->number);
  prepare_argument(&a, c->argument);
  const int rc = sqlite3_file_control(db, "main", c->number, a.arg);
  tell_answer(what, c->argument, rc, &a);
}

static void tell_file(sqlite3_file *file, const char *where) {
  sqlite3_int64 size = -1;
  const int rc = file->pMethods->xFileSize(file, &size);
  say("%s: size %d %lld, sector %d, characteristics %x", where, rc, (long long)size, file->pMethods->xSectorSize(file),
      (unsigned)file->pMethods->xDeviceCharacteristics(file));
}

/* NULL: there is none now. */
static sqlite3_file *journal_of(sqlite3 *db) {
  sqlite3_file *file = NULL;
  CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file), SQLITE_OK);
  return file != NULL && file->pMethods != NULL ? file : NULL;
}

static void send_everywhere(sqlite3 *db, const control *c) {
  sqlite3_file *journal = journal_of(db);
  send_by_sqlite(db, c);
  send_to(db_file(db, SQLITE_FCNTL_FILE_POINTER), "database", c);
  tell_file(db_file(db, SQLITE_FCNTL_FILE_POINTER), "database");
  if (journal == NULL) return;
  send_to(journal, "journal", c);
  tell_file(journal, "journal");
}

/* ---- all of them ---- */

#define TABLE                                                                                                          \
  "CREATE TABLE t(id INTEGER PRIMARY KEY, v); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE "     \
  "x<200) INSERT INTO t(v) SELECT hex(zeroblob(400)) FROM c;"
#define LOOK "SELECT count(*) FROM t; SELECT sum(length(v)) FROM t; PRAGMA integrity_check;"

static sqlite3 *open_with_table(const char *settings) {
  begin();
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
  sqlite3 *db = db_open("a.db", parameters);
  db_exec(db, settings);
  db_exec(db, TABLE);
  return db;
}

static void look_by_default_vfs(void) {
  sqlite3 *db = db_open("a.db", "vfs=unix");
  db_tell(db, LOOK);
  db_close(db);
}

static void at_rest(const void *arg) {
  const char *settings = arg;
  sqlite3 *db = open_with_table(settings);
  for (int i = 0; i < CONTROLS; i++) send_everywhere(db, &controls[i]);
  db_tell(db, "INSERT INTO t(v) VALUES('after');" LOOK);
  db_close(db);
  look_by_default_vfs();
}

/* The page cache is small: a part of the transaction has been written already. */
static void send_in_transactions(const char *settings, int from, int to) {
  sqlite3 *db = open_with_table(settings);
  db_exec(db, "PRAGMA cache_size=5; PRAGMA cache_spill=5");
  for (int i = from; i < to; i++) {
    db_exec(db, "BEGIN; UPDATE t SET v=v||'x'; INSERT INTO t(v) VALUES(zeroblob(20000))");
    send_everywhere(db, &controls[i]);
    db_exec(db, "UPDATE t SET v=v||'y' WHERE id%3=0");
    db_tell(db, i % 4 == 3 ? "ROLLBACK" : "COMMIT");
    db_tell(db, LOOK);
    /* Frames that were rolled back may be in the WAL or not. */
    db_tell(db, i % 4 == 3 ? "PRAGMA wal_checkpoint(TRUNCATE)" : "PRAGMA wal_checkpoint");
  }
  db_close(db);
  look_by_default_vfs();
}

static int index_of(int number) {
  int i = 0;
  while (controls[i].number != number) i++;
  return i;
}

static void before_phase_two(const void *arg) { send_in_transactions(arg, 0, index_of(SQLITE_FCNTL_COMMIT_PHASETWO)); }

/* SQLite sends it behind a commit. From anybody else it says nothing of a transaction that has not committed. */
static void phase_two(const void *arg) {
  const int i = index_of(SQLITE_FCNTL_COMMIT_PHASETWO);
  send_in_transactions(arg, i, i + 1);
}

static void after_phase_two(const void *arg) {
  send_in_transactions(arg, index_of(SQLITE_FCNTL_COMMIT_PHASETWO) + 1, CONTROLS);
}

/* ---- what they do ---- */

static void locks(sqlite3 *db) {
  static const control lock_state = {1, "LOCKSTATE", INT_QUERY};
  static const char *const steps[] = {"BEGIN",  "SELECT * FROM t LIMIT 1", "UPDATE t SET v=v||'z' WHERE id=1",
                                      "COMMIT", "BEGIN EXCLUSIVE",         "ROLLBACK"};
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    db_exec(db, steps[i]);
    send_by_sqlite(db, &lock_state);
  }
}

static void chunks_and_hints(sqlite3 *db) {
  static const control hint = {5, "SIZE_HINT", BYTES}, chunk = {6, "CHUNK_SIZE", INT_CHUNK},
                       none = {6, "CHUNK_SIZE", INT_ZERO};
  sqlite3_file *file = db_file(db, SQLITE_FCNTL_FILE_POINTER);
  send_by_sqlite(db, &hint);
  tell_file(file, "hint without chunks");
  send_by_sqlite(db, &chunk);
  send_by_sqlite(db, &hint);
  tell_file(file, "hint with chunks");
  db_exec(db, "INSERT INTO t(v) VALUES(zeroblob(500000)); PRAGMA wal_checkpoint(TRUNCATE)");
  tell_file(file, "grown in chunks");
  db_exec(db, "DELETE FROM t WHERE length(v)>400000; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
  tell_file(file, "cut in chunks");
  send_by_sqlite(db, &none);
  db_exec(db, "DELETE FROM t WHERE id>150; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
  tell_file(file, "cut");
  db_tell(db, LOOK);
}

static void moved(sqlite3 *db) {
  static const control has_moved = {20, "HAS_MOVED", INT_QUERY};
  send_by_sqlite(db, &has_moved);
  CHECK_INT(rename("a.db", "b.db"), 0);
  send_by_sqlite(db, &has_moved);
  CHECK_INT(rename("b.db", "a.db"), 0);
  send_by_sqlite(db, &has_moved);
}

static void data_version(sqlite3 *db) {
  unsigned before = 0, same = 0, after = 0;
  sqlite3 *other = db_open("a.db", "vfs=unix");
  CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_DATA_VERSION, &before), SQLITE_OK);
  db_exec(db, "SELECT count(*) FROM t");
  CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_DATA_VERSION, &same), SQLITE_OK);
  db_exec(other, "UPDATE t SET v=v||'w' WHERE id=2");
  db_exec(db, "SELECT count(*) FROM t");
  CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_DATA_VERSION, &after), SQLITE_OK);
  say("data version changes by itself: %d, by another's commit: %d", before != same, same != after);
  db_close(other);
}

static void reserved_bytes(sqlite3 *db) {
  int bytes = 16, now = -1;
  const int rc = sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &bytes);
  db_exec(db, "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
  CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &now), SQLITE_OK);
  say("reserved: %d, %d, %d", rc, bytes, now);
  db_tell(db, LOOK);
}

static void reset_cache(sqlite3 *db) {
  CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESET_CACHE, NULL), SQLITE_OK);
  db_tell(db, LOOK);
}

/* As sqlite3_recover does: the file's methods are somebody else's for a while. */
static const sqlite3_io_methods *real_methods;
static int replaced_reads;

static int replaced_read(sqlite3_file *file, void *data, int n, sqlite3_int64 at) {
  replaced_reads++;
  return real_methods->xRead(file, data, n, at);
}

static void replaced_methods(sqlite3 *db) {
  sqlite3_file *file = db_file(db, SQLITE_FCNTL_FILE_POINTER);
  real_methods = file->pMethods;
  sqlite3_io_methods other = *real_methods;
  other.iVersion = 2;
  other.xRead = replaced_read;
  file->pMethods = &other;
  CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESET_CACHE, NULL), SQLITE_OK);
  db_tell(db, LOOK "UPDATE t SET v=v||'r' WHERE id%10=0;" LOOK);
  file->pMethods = real_methods;
  say("reads seen: %d", replaced_reads > 0);
}

static void mapped(sqlite3 *db) {
  static const control ask = {18, "MMAP_SIZE", BYTES_QUERY};
  db_tell(db, "PRAGMA mmap_size=200000");
  send_by_sqlite(db, &ask);
  db_tell(db, LOOK "UPDATE t SET v=v||'m' WHERE id%2;" LOOK "PRAGMA mmap_size=0;" LOOK);
  send_by_sqlite(db, &ask);
}

static void last_error(sqlite3 *db) {
  static const control last = {4, "LAST_ERRNO", INT_QUERY};
  struct rlimit old, limit;
  signal(SIGXFSZ, SIG_IGN);
  CHECK_INT(getrlimit(RLIMIT_FSIZE, &old), 0);
  limit = old;
  limit.rlim_cur = 400000;
  CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
  say("above the limit: %d", db_try(db, "INSERT INTO t(v) VALUES(zeroblob(900000))"));
  CHECK_INT(setrlimit(RLIMIT_FSIZE, &old), 0);
  sqlite3_file *wal = journal_of(db);
  if (wal) send_to(wal, "journal", &last);
  send_by_sqlite(db, &last);
  db_tell(db, LOOK);
}

static void effects(const void *arg) {
  const char *settings = arg;
  sqlite3 *db = open_with_table(settings);
  locks(db);
  chunks_and_hints(db);
  moved(db);
  data_version(db);
  reserved_bytes(db);
  reset_cache(db);
  replaced_methods(db);
  mapped(db);
  last_error(db);
  db_close(db);
  look_by_default_vfs();
}

/* The WAL stays, and without journal_size_limit in its length. */
static void persistent_wal(const void *arg) {
  int one = 1;
  struct stat st = {0};
  sqlite3 *db = open_with_table(arg);
  CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &one), SQLITE_OK);
  db_close(db);
  say("the WAL is there: %d, its size %lld", stat("a.db-wal", &st) == 0, (long long)st.st_size);
  look_by_default_vfs();
  say("the WAL is there: %d", access("a.db-wal", F_OK) == 0);
}

static void power_safe(const void *arg) {
  static const control query = {13, "POWERSAFE_OVERWRITE", INT_QUERY};
  sqlite3 *db = open_with_table(arg);
  for (int on = 0; on < 2; on++) {
    CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_POWERSAFE_OVERWRITE, &on), SQLITE_OK);
    send_everywhere(db, &query);
    db_exec(db, "INSERT INTO t(v) VALUES(1)");
    send_everywhere(db, &query);
  }
  db_close(db);
  look_by_default_vfs();
}

/* Another process reads: it was forked before SQLite was used here. */
static void read_in_a_transaction(int channel) {
  char byte;
  if (read(channel, &byte, 1) != 1) _exit(1);
  begin();
  sqlite3 *db = db_open("a.db", "vfs=unix");
  db_exec(db, "BEGIN; SELECT count(*) FROM t");
  if (write(channel, "r", 1) != 1 || read(channel, &byte, 1) != 1) _exit(1);
  db_close(db);
  _exit(write(channel, "c", 1) == 1 ? 0 : 1);
}

static void external_reader(const void *arg) {
  static const control reader = {40, "EXTERNAL_READER", INT_QUERY};
  int channel[2];
  char byte;
  CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel), 0);
  const pid_t pid = fork();
  CHECK(pid >= 0);
  if (pid == 0) {
    close(channel[0]);
    read_in_a_transaction(channel[1]);
  }
  close(channel[1]);
  sqlite3 *db = open_with_table(arg);
  send_everywhere(db, &reader);
  CHECK(write(channel[0], "o", 1) == 1 && read(channel[0], &byte, 1) == 1);
  send_everywhere(db, &reader);
  CHECK(write(channel[0], "c", 1) == 1 && read(channel[0], &byte, 1) == 1);
  send_everywhere(db, &reader);
  db_close(db);
}

/* ---- comparing ---- */

static const char *const ways[] = {"vfs=uring&uring_backend=auto", "vfs=uring&uring_backend=sync",
                                   "vfs=uring&uring_backend=uring"};

static int line_length(const char *text) { return (int)strcspn(text, "\n"); }

static void compare_with(const child_result *expected, child_body body, const char *settings) {
  child_empty_directory();
  const child_result found = child_run(body, settings);
  if (found.status != 0 || strcmp(expected->report, found.report) != 0) {
    const char *e = expected->report, *f = found.report;
    size_t at = 0, line = 0;
    while (e[at] && e[at] == f[at]) at++;
    const size_t context = at < 400 ? at : 400;
    print_error("...%.*s\n", (int)context, e + at - context);
    for (size_t i = 0; i < at; i++)
      if (e[i] == '\n') line = i + 1;
    fail_msg("%s, %s: status %#x\nthe default VFS: %.*s\nuring:           %.*s\n%s", parameters, settings,
             (unsigned)found.status, line_length(e + line), e + line, line_length(f + line), f + line,
             found.status ? f + line : "");
  }
  free(found.report);
}

static void compare(child_body body, const char *settings) {
  const bool rings = child_rings_available();
  parameters = "vfs=unix";
  child_empty_directory();
  const child_result expected = child_run(body, settings);
  if (expected.status != 0) fail_msg("%s: status %#x\n%s", settings, (unsigned)expected.status, expected.report);
  for (int i = 0; i < (rings ? 3 : 2); i++) {
    parameters = ways[i];
    compare_with(&expected, body, settings);
  }
  free(expected.report);
}

#define WAL_MODE      "PRAGMA synchronous=normal; PRAGMA journal_mode=wal; "
#define ROLLBACK_MODE "PRAGMA synchronous=off; PRAGMA journal_mode=persist; "

static void every_control_at_rest(void **state) {
  (void)state;
  compare(at_rest, WAL_MODE);
  compare(at_rest, ROLLBACK_MODE);
}

static void every_control_in_a_transaction(void **state) {
  (void)state;
  compare(before_phase_two, WAL_MODE);
  compare(before_phase_two, ROLLBACK_MODE);
  compare(after_phase_two, WAL_MODE);
  compare(after_phase_two, ROLLBACK_MODE);
  compare(phase_two, ROLLBACK_MODE);
}

static void commit_phasetwo_in_a_transaction(void **state) {
  (void)state;
  compare(phase_two, WAL_MODE);
  compare(phase_two, "PRAGMA locking_mode=exclusive; " WAL_MODE);
}

static void every_control_in_exclusive_mode(void **state) {
  (void)state;
  compare(at_rest, "PRAGMA locking_mode=exclusive; " WAL_MODE);
  compare(before_phase_two, "PRAGMA locking_mode=exclusive; " WAL_MODE);
  compare(after_phase_two, "PRAGMA locking_mode=exclusive; " WAL_MODE);
}

static void what_they_do(void **state) {
  (void)state;
  compare(effects, WAL_MODE);
  compare(effects, ROLLBACK_MODE);
}

static void what_stays(void **state) {
  (void)state;
  compare(persistent_wal, WAL_MODE);
  compare(persistent_wal, WAL_MODE "PRAGMA journal_size_limit=5000");
  compare(power_safe, WAL_MODE);
  compare(power_safe, ROLLBACK_MODE);
}

static void who_reads(void **state) {
  (void)state;
  compare(external_reader, WAL_MODE);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_control_at_rest),
      cmocka_unit_test(every_control_in_a_transaction),
      cmocka_unit_test(commit_phasetwo_in_a_transaction),
      cmocka_unit_test(every_control_in_exclusive_mode),
      cmocka_unit_test(what_they_do),
      cmocka_unit_test(what_stays),
      cmocka_unit_test(who_reads),
  };
  return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
