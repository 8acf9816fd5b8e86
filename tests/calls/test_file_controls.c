/*
** test_file_controls.c - every file control of SQLite 3.53, one by one.
**
** The table says of each what the VFS under test does: it is passed on to the parent as it comes, with its argument,
** and the parent's answer comes back; or something is done as well, and then there is a test of that below. Controls
** that no version knows are passed on too. A program may send any of them to any file, journals and WALs included.
*/
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "uringvfs.h"
#include "support_script.h"

extern bool uringvfs__trust_any_parent; /* vfs/internal.h */

/* ---- the table ---- */

typedef enum argument_kind { NONE, INT, INT64, TEXT_OUT, PRAGMA, POINTER } argument_kind;

typedef struct control {
  int op;
  const char *name;
  argument_kind argument;
  const char *besides; /* what is done besides passing it on, and the test of that; NULL: nothing */
} control;

/* clang-format off: a table; the numbers, because the header may be older */
static const control controls[] = {
    {1, "LOCKSTATE", INT, NULL},
    {2, "GET_LOCKPROXYFILE", POINTER, NULL},
    {3, "SET_LOCKPROXYFILE", POINTER, NULL},
    {4, "LAST_ERRNO", INT, "the ring's own number, if the last failure was a ring's: a_rings_error_number"},
    {5, "SIZE_HINT", INT64, "of a WAL: pending frames are written first: sizes_count_what_is_pending"},
    {6, "CHUNK_SIZE", INT, "the same"},
    {7, "FILE_POINTER", POINTER, NULL},
    {8, "SYNC_OMITTED", NONE, NULL},
    {9, "WIN32_AV_RETRY", POINTER, NULL},
    {10, "PERSIST_WAL", INT, NULL},
    {11, "OVERWRITE", INT64, NULL},
    {12, "VFSNAME", TEXT_OUT, "\"uring/\" is put in front: reaches_parent"},
    {13, "POWERSAFE_OVERWRITE", INT, NULL},
    {14, "PRAGMA", PRAGMA, "those with our prefix are answered and not passed on: pragmas"},
    {15, "BUSYHANDLER", POINTER, NULL},
    {16, "TEMPFILENAME", TEXT_OUT, NULL},
    {17, "(no name)", POINTER, NULL},
    {18, "MMAP_SIZE", INT64, NULL},
    {19, "TRACE", POINTER, NULL},
    {20, "HAS_MOVED", INT, NULL},
    {21, "SYNC", NONE, "everything before it is in the files: files_at_each_marker"},
    {22, "COMMIT_PHASETWO", NONE, "the same; a transaction has ended"},
    {23, "WIN32_SET_HANDLE", POINTER, NULL},
    {24, "WAL_BLOCK", INT, NULL},
    {25, "ZIPVFS", POINTER, NULL},
    {26, "RBU", POINTER, NULL},
    {27, "VFS_POINTER", POINTER, NULL},
    {28, "JOURNAL_POINTER", POINTER, NULL},
    {29, "WIN32_GET_HANDLE", POINTER, NULL},
    {30, "PDB", POINTER, NULL},
    {31, "BEGIN_ATOMIC_WRITE", NONE, "what follows reaches the parent as it comes: an_atomic_batch"},
    {32, "COMMIT_ATOMIC_WRITE", NONE, "the same"},
    {33, "ROLLBACK_ATOMIC_WRITE", NONE, "what was read ahead is dropped: an_atomic_batch_undone"},
    {34, "LOCK_TIMEOUT", INT, NULL},
    {35, "DATA_VERSION", INT, NULL},
    {36, "SIZE_LIMIT", INT64, NULL},
    {37, "CKPT_DONE", NONE, "everything before it is in the files: files_at_each_marker"},
    {38, "RESERVE_BYTES", INT, NULL},
    {39, "CKPT_START", NONE, "the same"},
    {40, "EXTERNAL_READER", INT, NULL},
    {41, "CKSM_FILE", POINTER, NULL},
    {42, "RESET_CACHE", NONE, NULL},
    {43, "NULL_IO", NONE, "from here on every call is passed on as it is: null_io"},
    {44, "BLOCK_ON_CONNECT", INT, NULL},
    {45, "FILESTAT", POINTER, NULL},
    /* SQLite's own, not public; rbu's; and what may come one day */
    {(int)0xca093fa0, "DB_UNCHANGED", NONE, NULL},
    {5149216, "RBUCNT", POINTER, NULL},
    {46, "46", POINTER, NULL},
    {47, "47", POINTER, NULL},
    {99, "99", POINTER, NULL},
    {0, "0", POINTER, NULL},
    {-1, "-1", POINTER, NULL},
    {2147483647, "2147483647", POINTER, NULL},
};
/* clang-format on */
enum { CONTROLS = sizeof controls / sizeof controls[0], NEWEST = 45 };

/* ---- one run in a process of its own ---- */

enum { WRONG = 90, NOT_HERE = 77 };

static char directory[512];

typedef struct run {
  shim_setup setup;
  bool through_uring, trusted;
  const char *vfs, *journal_mode;
  int number;
} run;

static void give_up(const char *what, const char *why) {
  fprintf(stderr, "%s: %s\n", what, why);
  exit(WRONG);
}

#define WANT(condition, ...)                                                                                           \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, __VA_ARGS__);                                                                                    \
      fputc('\n', stderr);                                                                                             \
      exit(WRONG);                                                                                                     \
    }                                                                                                                  \
  } while (0)

static void must(sqlite3 *db, const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) give_up(sql, sqlite3_errmsg(db));
}

static long long number(sqlite3 *db, const char *sql) {
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  const long long n = rc == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -rc;
  sqlite3_finalize(s);
  return n;
}

static void register_all(const run *r) {
  if (sqlite3_initialize() != SQLITE_OK) exit(WRONG);
  uringvfs__trust_any_parent = r->trusted;
  if (r->setup.name != NULL && shim_register(&r->setup, true) != SQLITE_OK) exit(WRONG);
  if (r->through_uring && uringvfs_register(0) != SQLITE_OK) exit(WRONG);
}

static sqlite3 *open_database(const run *r) {
  sqlite3 *db = NULL;
  char *name = sqlite3_mprintf("file:main.db?vfs=%s", r->vfs), *pragmas;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI;
  if (sqlite3_open_v2(name, &db, flags, NULL) != SQLITE_OK) exit(NOT_HERE);
  sqlite3_extended_result_codes(db, 1);
  pragmas = sqlite3_mprintf("PRAGMA journal_mode=%s; PRAGMA cache_size=10; PRAGMA synchronous=NORMAL", r->journal_mode);
  must(db, pragmas);
  must(db, "CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)");
  sqlite3_free(name);
  sqlite3_free(pragmas);
  return db;
}

#define ROWS(from, to)                                                                                                 \
  "WITH c(x) AS (VALUES(" #from ") UNION ALL SELECT x+1 FROM c WHERE x<" #to                                           \
  ") INSERT INTO t SELECT x, hex(zeroblob(700)) FROM c;"

/* The database file, or its journal or WAL. */
static sqlite3_file *file_of(sqlite3 *db, bool journal) {
  sqlite3_file *f = NULL;
  sqlite3_file_control(db, "main", journal ? SQLITE_FCNTL_JOURNAL_POINTER : SQLITE_FCNTL_FILE_POINTER, &f);
  if (f == NULL || f->pMethods == NULL) give_up("file control", "no file");
  return f;
}

static int status_of(void (*body)(void *), const run *r) {
  char own[600];
  snprintf(own, sizeof own, "%s/run", directory);
  if (mkdir(own, 0700) != 0) fail_msg("mkdir");
  const int status = in_child(own, body, (void *)(uintptr_t)r);
  remove_tree(own);
  return status;
}

/* Over the recording shim, in all ways. */
static void in_all_ways(void (*body)(void *), bool has_null_io) {
  unsigned failed = 0;
  for (int way = 0; way < 4; way++) {
    const run r = {.setup = {.name = "unix-recording", .has_null_io = has_null_io},
                   .through_uring = true,
                   .trusted = way & 1,
                   .vfs = "uring",
                   .journal_mode = way & 2 ? "WAL" : "PERSIST"};
    const int status = status_of(body, &r);
    if (status == 0) continue;
    fprintf(stderr, "%s, %strusted: status %x\n", r.journal_mode, r.trusted ? "" : "not ", (unsigned)status);
    failed++;
  }
  assert_int_equal(failed, 0);
}

/* ---- the parent gets it, and its answer comes back ---- */

static struct {
  int op, calls, answer;
  const void *argument;
  const char *file;
} heard;

static int hear(const char *file, int op, void *arg) {
  heard.op = op;
  heard.calls++;
  heard.argument = arg;
  heard.file = file;
  if (op == SQLITE_FCNTL_VFSNAME && heard.answer == SQLITE_OK) *(char **)arg = sqlite3_mprintf("below");
  return heard.answer;
}

static void reaches_parent(sqlite3_file *f, const char *name, const control *c, int answer) {
  union {
    long long words[8];
    char *text;
    char *pragma[4];
  } given, copy;
  char pragma_name[] = "some_pragma";
  memset(&given, 0x11, sizeof given);
  if (c->argument == PRAGMA) memcpy(given.pragma, (char *[4]){NULL, pragma_name, NULL, NULL}, sizeof given.pragma);
  if (c->argument == TEXT_OUT) given.text = NULL;
  copy = given;
  heard = (typeof(heard)){.answer = answer};
  int rc = f->pMethods->xFileControl(f, c->op, &given);
  WANT(heard.calls == 1 && heard.op == c->op, "%s, %s: %d calls reached the parent", name, c->name, heard.calls);
  WANT(heard.argument == &given && strcmp(heard.file, name) == 0, "%s, %s: another argument or file", name, c->name);
  WANT(rc == answer, "%s, %s: the parent said %d, the answer was %d", name, c->name, answer, rc);
  if (c->op == SQLITE_FCNTL_VFSNAME && answer == SQLITE_OK) {
    WANT(strcmp(given.text, "uring/below") == 0, "VFSNAME: %s", given.text);
    sqlite3_free(given.text);
    return;
  }
  WANT(memcmp(&given, &copy, sizeof copy) == 0, "%s, %s: the argument was changed", name, c->name);
}

static void body_of_reaching(void *arg) {
  static const int answers[] = {SQLITE_NOTFOUND, SQLITE_IOERR, SQLITE_BUSY, SQLITE_IOERR | (99 << 8), 12345, SQLITE_OK};
  const run *r = arg;
  register_all(r);
  for (unsigned a = 0; a < sizeof answers / sizeof answers[0]; a++)
    for (unsigned c = 0; c < CONTROLS; c++) {
      sqlite3 *db = open_database(r);
      must(db, "BEGIN IMMEDIATE; DELETE FROM t; " ROWS(1, 30));
      sqlite3_file *database = file_of(db, false), *journal = file_of(db, true);
      shim_on_control = hear;
      reaches_parent(database, "main.db", &controls[c], answers[a]);
      reaches_parent(journal, strcmp(r->journal_mode, "WAL") == 0 ? "main.db-wal" : "main.db-journal", &controls[c],
                     answers[a]);
      shim_on_control = NULL;
      if (controls[c].op != SHIM_NULL_IO || answers[a] != SQLITE_OK) {
        must(db, "COMMIT");
        WANT(number(db, "SELECT count(*) FROM t") == 30, "rows after %s", controls[c].name);
      }
      sqlite3_close(db);
    }
}

static void every_control_reaches_the_parent(void **state) {
  (void)state;
  bool has[NEWEST + 1] = {false};
  for (unsigned c = 0; c < CONTROLS; c++)
    if (controls[c].op > 0 && controls[c].op <= NEWEST) has[controls[c].op] = true;
  for (int op = 1; op <= NEWEST; op++) assert_true(has[op]);
  in_all_ways(body_of_reaching, false);
}

/* PRAGMAs with our prefix are answered, all others are passed on, ours or not known to anybody. */
static void body_of_pragmas(void *arg) {
  static const struct {
    const char *name, *value;
    bool passed_on;
  } pragmas[] = {{"uring_stats", NULL, false},
                 {"uring_backend", "sync", false},
                 {"URING_READAHEAD", "7", false},
                 {"uring_nonsense", "1", false},
                 {"synchronous", "off", true},
                 {"locking_mode", "normal", true},
                 {"journal_mode", "wal", true},
                 {"mmap_size", "4096", true},
                 {"nonsense", NULL, true},
                 {"uringx", "1", true},
                 {"vfstrace", "all", true},
                 {"cipher", "aes", true},
                 {"experimental_pragma_20251114", "1", true}};
  const run *r = arg;
  register_all(r);
  sqlite3 *db = open_database(r);
  for (unsigned i = 0; i < sizeof pragmas / sizeof pragmas[0]; i++) {
    char name[64], value[64];
    snprintf(name, sizeof name, "%s", pragmas[i].name);
    snprintf(value, sizeof value, "%s", pragmas[i].value != NULL ? pragmas[i].value : "");
    char *args[4] = {NULL, name, pragmas[i].value != NULL ? value : NULL, NULL};
    heard = (typeof(heard)){.answer = 4321};
    shim_on_control = hear;
    sqlite3_file *f = file_of(db, false);
    int rc = f->pMethods->xFileControl(f, SQLITE_FCNTL_PRAGMA, args);
    shim_on_control = NULL;
    WANT((heard.calls == 1) == pragmas[i].passed_on, "PRAGMA %s: %d calls reached the parent", name, heard.calls);
    WANT((rc == 4321) == pragmas[i].passed_on, "PRAGMA %s: %d", name, rc);
    sqlite3_free(args[0]);
  }
  must(db, "PRAGMA uring_backend=sync; " ROWS(1, 5));
  sqlite3_close(db);
}

static void pragmas(void **state) {
  (void)state;
  in_all_ways(body_of_pragmas, false);
}

/* ---- what the files hold when a control comes ---- */

static FILE *said;

static void say_file(const char *name) {
  size_t size = 0;
  char *bytes = read_whole(name, &size);
  unsigned hash = 2166136261u;
  for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)bytes[i]) * 16777619u;
  fprintf(said, " %s %zu bytes %08x", name, size, hash);
  free(bytes);
}

/* SQLite takes it that everything before these has happened. */
static int say_files_at_marker(const char *file, int op, void *arg) {
  (void)arg;
  if (op != SQLITE_FCNTL_SYNC && op != SQLITE_FCNTL_COMMIT_PHASETWO && op != SQLITE_FCNTL_CKPT_START &&
      op != SQLITE_FCNTL_CKPT_DONE)
    return SHIM_GOES_ON;
  fprintf(said, "%s control %d:", file, op);
  say_file("main.db");
  say_file("main.db-journal");
  say_file("main.db-wal");
  fputc('\n', said);
  return SHIM_GOES_ON;
}

/* Transactions that are rolled back leave other bytes behind the last commit in the WAL, which nobody reads. */
static void body_of_markers(void *arg) {
  const run *r = arg;
  said = fopen("../said", "w");
  register_all(r);
  shim_on_control = say_files_at_marker;
  sqlite3 *db = open_database(r);
  must(db, ROWS(1, 100));
  must(db, "BEGIN; UPDATE t SET b=b||'x'; DELETE FROM t WHERE a%3=0; COMMIT");
  must(db, "PRAGMA wal_checkpoint; PRAGMA synchronous=OFF;" ROWS(200, 260) "PRAGMA synchronous=FULL;" ROWS(300, 310));
  must(db, "PRAGMA locking_mode=EXCLUSIVE;" ROWS(400, 420) ROWS(421, 440) "PRAGMA wal_checkpoint;" ROWS(441, 450));
  must(db, "PRAGMA locking_mode=NORMAL; SELECT count(*) FROM t; PRAGMA wal_checkpoint(RESTART);" ROWS(451, 460));
  must(db, "PRAGMA journal_mode=DELETE;" ROWS(500, 520) "PRAGMA journal_mode=WAL; VACUUM; PRAGMA incremental_vacuum");
  sqlite3_close(db);
  shim_on_control = NULL;
  fclose(said);
}

static char *said_by(void (*body)(void *), const run *r) {
  char path[600];
  snprintf(path, sizeof path, "%s/said", directory);
  const int status = status_of(body, r);
  if (status != 0) fail_msg("through %s: status %x", r->vfs, (unsigned)status);
  char *text = read_whole(path, NULL);
  assert_non_null(text);
  return text;
}

/* The same is said with the parent alone and through uring over it, trusted and not. */
static void said_equally(void (*body)(void *), const shim_setup *setup, const char *journal_mode,
                         const char *must_hold) {
  run r = {.setup = *setup, .vfs = setup->name, .journal_mode = journal_mode};
  char *alone = said_by(body, &r);
  assert_non_null(strstr(alone, must_hold));
  bool same = true;
  for (int trusted = 0; trusted < 2; trusted++) {
    r.through_uring = true;
    r.trusted = trusted;
    r.vfs = "uring";
    char *through = said_by(body, &r);
    same = same_text(trusted ? "over a trusted parent" : "over one that is not trusted", alone, through) && same;
    free(through);
  }
  free(alone);
  assert_true(same);
}

static void files_at_each_marker(void **state) {
  (void)state;
  const shim_setup setup = {.name = "unix-recording"};
  said_equally(body_of_markers, &setup, "WAL", "control 37");
  said_equally(body_of_markers, &setup, "PERSIST", "control 21");
  said_equally(body_of_markers, &setup, "TRUNCATE", "control 22");
}

/* ---- sizes ---- */

static long long size_on_disk(const char *name) {
  struct stat st;
  return stat(name, &st) == 0 ? (long long)st.st_size : -1;
}

/* A control that is about the size of the WAL comes while frames of a transaction are pending. */
static void body_of_sizes(void *arg) {
  const run *r = arg;
  said = fopen("../said", "w");
  register_all(r);
  sqlite3 *db = open_database(r);
  must(db, ROWS(1, 100) "BEGIN; UPDATE t SET b=b||'x'");
  for (int i = 0; i < 2; i++) {
    sqlite3_file *f = file_of(db, i == 1);
    sqlite3_int64 hint = 900000, size = 0;
    int chunk = 300000;
    int rc =
        f->pMethods->xFileControl(f, r->number, r->number == SQLITE_FCNTL_SIZE_HINT ? (void *)&hint : (void *)&chunk);
    f->pMethods->xFileSize(f, &size);
    const char *name = i ? "main.db-wal" : "main.db";
    fprintf(said, "%s: %d, %lld bytes, %lld on disk\n", name, rc, (long long)size, size_on_disk(name));
  }
  must(db, "UPDATE t SET b=b||'y'; COMMIT; PRAGMA wal_checkpoint;" ROWS(200, 230));
  fprintf(said, "%lld rows, %lld faults\n", number(db, "SELECT count(*) FROM t WHERE b LIKE '%xy'"),
          number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check<>'ok'"));
  sqlite3_close(db);
  fprintf(said, "%lld bytes in the end\n", size_on_disk("main.db"));
  fclose(said);
}

static void sizes_count_what_is_pending(void **state) {
  static const int ops[] = {SQLITE_FCNTL_SIZE_HINT, SQLITE_FCNTL_CHUNK_SIZE};
  (void)state;
  for (int i = 0; i < 2; i++) {
    run r = {.setup = {.name = "unix-recording"}, .vfs = "unix-recording", .journal_mode = "WAL", .number = ops[i]};
    char *alone = said_by(body_of_sizes, &r);
    assert_non_null(strstr(alone, "100 rows"));
    for (int way = 0; way < 3; way++) {
      r.through_uring = true;
      r.trusted = way == 1;
      if (way == 2) r.setup = (shim_setup){.name = NULL}; /* SQLite's own VFS, with rings where there are any */
      r.vfs = "uring";
      char *through = said_by(body_of_sizes, &r);
      assert_true(same_text(i ? "CHUNK_SIZE" : "SIZE_HINT", alone, through));
      free(through);
    }
    free(alone);
  }
}

/* ---- an atomic batch ---- */

/* Between the two controls the parent gets the writes as they come, and nothing else. */
static void body_of_batch(void *arg) {
  const run *r = arg;
  char page[4096];
  said = fopen("../said", "w");
  register_all(r);
  sqlite3 *db = open_database(r);
  must(db, ROWS(1, 100) "BEGIN EXCLUSIVE");
  sqlite3_file *f = file_of(db, false);
  memset(page, 'x', sizeof page);
  shim_on_control = hear;
  shim_record(said);
  for (int end = SQLITE_FCNTL_COMMIT_ATOMIC_WRITE; end <= SQLITE_FCNTL_ROLLBACK_ATOMIC_WRITE; end++) {
    heard = (typeof(heard)){.answer = SQLITE_OK};
    f->pMethods->xFileControl(f, SQLITE_FCNTL_BEGIN_ATOMIC_WRITE, NULL);
    for (int i = 0; i < 40; i++) f->pMethods->xWrite(f, page, sizeof page, (100 + i * 7 % 40) * 4096);
    f->pMethods->xFileControl(f, end, NULL);
  }
  shim_record(NULL);
  shim_on_control = NULL;
  sqlite3_close(db);
  fclose(said);
}

static void an_atomic_batch(void **state) {
  (void)state;
  said_equally(body_of_batch, &(shim_setup){.name = "unix-recording"}, "PERSIST", "xWrite");
}

/* Of the open file whose path ends so; -1: none. */
static int descriptor_of(const char *end) {
  int found = -1;
  DIR *d = opendir("/proc/self/fd");
  if (d == NULL) return -1;
  for (struct dirent *e; (e = readdir(d)) != NULL;) {
    char path[600];
    const ssize_t n = readlinkat(dirfd(d), e->d_name, path, sizeof path - 1);
    if (n < 0) continue;
    path[n] = 0;
    if (strlen(path) >= strlen(end) && strcmp(path + strlen(path) - strlen(end), end) == 0) found = atoi(e->d_name);
  }
  closedir(d);
  return found;
}

/* Over SQLite's own VFS, with rings: the same is said as without uring. */
static void said_equally_with_rings(void (*body)(void *), const char *journal_mode, const char *must_hold) {
  run r = {.vfs = "unix", .journal_mode = journal_mode};
  char *alone = said_by(body, &r);
  assert_non_null(strstr(alone, must_hold));
  r.through_uring = true;
  r.vfs = "uring&uring_backend=uring";
  if (status_of(body, &r) == NOT_HERE << 8) skip();
  char *through = said_by(body, &r);
  const bool same = same_text("with rings", alone, through);
  free(alone);
  free(through);
  assert_true(same);
}

static void forget_cached(const char *name) {
  const int fd = open(name, O_RDONLY);
  if (fd < 0 || fsync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) exit(WRONG);
  close(fd);
}

/* Row look-ups are under way, and more rows than SQLite has asked for may be in memory. What comes after the control is
** what the file holds then. */
static void body_of_undoing(void *arg) {
  const run *r = arg;
  size_t bytes = 0;
  int rows[2] = {0, 0};
  sqlite3_stmt *s = NULL;
  said = fopen("../said", "w");
  register_all(r);
  sqlite3 *db = open_database(r);
  must(db, ROWS(1, 2000) "CREATE TABLE i AS SELECT a*7919%2003 AS k, a FROM t; UPDATE t SET b=replace(b,'0','U')");
  char *undone = read_whole("main.db", &bytes);
  must(db, "UPDATE t SET b=replace(b,'U','0')");
  sqlite3_close(db);
  forget_cached("main.db");
  db = open_database(r);
  if (sqlite3_prepare_v2(db, "SELECT t.b FROM i CROSS JOIN t ON t.a=i.k", -1, &s, NULL) != SQLITE_OK) exit(WRONG);
  for (int i = 0; sqlite3_step(s) == SQLITE_ROW; i++) {
    rows[sqlite3_column_text(s, 0)[0] == 'U']++;
    if (i != 850) continue;
    if (pwrite(descriptor_of("/main.db"), undone, bytes, 0) != (ssize_t)bytes) exit(WRONG);
    sqlite3_file *f = file_of(db, false);
    f->pMethods->xFileControl(f, SQLITE_FCNTL_ROLLBACK_ATOMIC_WRITE, NULL);
  }
  sqlite3_finalize(s);
  fprintf(said, "%d rows as they were, %d as they are\n", rows[0], rows[1]);
  sqlite3_close(db);
  free(undone);
  fclose(said);
}

static void an_atomic_batch_undone(void **state) {
  (void)state;
  said_equally_with_rings(body_of_undoing, "DELETE", "rows as they were");
}

/* ---- the error number of a ring's failure ---- */

/* The WAL's descriptor becomes one that cannot be written to: both the ring's write and a system call's say EBADF. */
static void body_of_errno(void *arg) {
  const run *r = arg;
  said = fopen("../said", "w");
  register_all(r);
  sqlite3 *db = open_database(r);
  must(db, ROWS(1, 100) "BEGIN;" ROWS(101, 130));
  const int fd = descriptor_of("/main.db-wal"), keep = dup(fd), read_only = open("main.db-wal", O_RDONLY);
  WANT(fd >= 0 && keep >= 0 && read_only >= 0, "the WAL's descriptor");
  dup2(read_only, fd);
  int rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), error = 0, again = 0;
  sqlite3_file *f = file_of(db, true);
  int asked = f->pMethods->xFileControl(f, SQLITE_FCNTL_LAST_ERRNO, &error);
  fprintf(said, "COMMIT %d, LAST_ERRNO %d: %d\n", rc, asked, error);
  dup2(keep, fd);
  /* The next failure is a read of the database, after the WAL's. */
  fprintf(said, "%d\n", sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL));
  fprintf(said, "%lld rows\n", number(db, "SELECT count(*) FROM t"));
  must(db, ROWS(200, 210));
  f = file_of(db, false);
  asked = f->pMethods->xFileControl(f, SQLITE_FCNTL_LAST_ERRNO, &again);
  fprintf(said, "of the database %d: %d\n", asked, again);
  sqlite3_close(db);
  fclose(said);
}

static void a_rings_error_number(void **state) {
  (void)state;
  said_equally_with_rings(body_of_errno, "WAL", ": 9\n");
}

/* ---- NULL_IO ---- */

/*
** number: bit 0: to the journal or WAL, not the database; bit 1: in a transaction that has spilled, not before it. The
** parent's file does no I/O from then on; with the default VFS every commit fails until the connection is closed, and
** none of it is there afterwards.
*/
static void body_of_null_io(void *arg) {
  const run *r = arg;
  said = fopen("../said", "w");
  register_all(r);
  sqlite3 *db = open_database(r);
  must(db, ROWS(1, 100));
  if (r->number & 2) must(db, "BEGIN; UPDATE t SET b=b||'x'");
  sqlite3_file *f = file_of(db, r->number & 1);
  fprintf(said, "control %d\n", f->pMethods->xFileControl(f, SHIM_NULL_IO, NULL));
  if (!(r->number & 2)) fprintf(said, "begin %d\n", sqlite3_exec(db, "BEGIN; UPDATE t SET b=b||'x'", NULL, NULL, NULL));
  fprintf(said, "commit %d\n", sqlite3_exec(db, "COMMIT", NULL, NULL, NULL));
  fprintf(said, "rollback %d\n", sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL));
  fprintf(said, "insert %d\n", sqlite3_exec(db, "INSERT INTO t VALUES(1000, 'never')", NULL, NULL, NULL));
  fprintf(said, "read %lld\n", number(db, "SELECT count(*) FROM t"));
  fprintf(said, "close %d\n", sqlite3_close(db));
  db = open_database(r);
  fprintf(said, "then %lld rows, %lld changed, %lld faults\n", number(db, "SELECT count(*) FROM t"),
          number(db, "SELECT count(*) FROM t WHERE b LIKE '%x'"),
          number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check<>'ok'"));
  sqlite3_close(db);
  fclose(said);
}

static void null_io(void **state) {
  (void)state;
  static const char *const modes[] = {"WAL", "DELETE", "PERSIST"};
  unsigned commits_that_fail[2] = {0, 0};
  for (int has = 0; has < 2; has++)
    for (int mode = 0; mode < 3; mode++)
      for (int number = 0; number < 4; number++) {
        if (mode > 0 && number == 1) continue; /* no journal is open yet */
        run r = {.setup = {.name = "unix-recording", .has_null_io = has},
                 .vfs = "unix-recording",
                 .journal_mode = modes[mode],
                 .number = number};
        char *alone = said_by(body_of_null_io, &r);
        commits_that_fail[has] += strstr(alone, "commit 0") == NULL;
        for (int trusted = 0; trusted < 2; trusted++) {
          char what[100];
          r.through_uring = true;
          r.trusted = trusted;
          r.vfs = "uring";
          char *through = said_by(body_of_null_io, &r);
          snprintf(what, sizeof what, "NULL_IO %d, %s, way %d, %strusted", has, modes[mode], number,
                   trusted ? "" : "not ");
          assert_true(same_text(what, alone, through));
          free(through);
        }
        free(alone);
      }
  /* Where no journal is written to, and the database is not, the commit is none of the file's business. */
  assert_true(commits_that_fail[0] == 0 && commits_that_fail[1] >= 6);
}

/* ---- the same answers as the default VFS ---- */

static void say_answers(sqlite3 *db, bool journal) {
  static const long long values[] = {-1, 0, 1, 5000};
  for (unsigned c = 0; c < CONTROLS; c++) {
    const control *k = &controls[c];
    if (k->argument == TEXT_OUT || k->argument == PRAGMA || k->op == SHIM_NULL_IO || k->op == 45) continue;
    sqlite3_file *f = file_of(db, journal);
    for (unsigned v = 0; v < 4; v++) {
      long long given[4] = {values[v], 0, 0, 0};
      int rc = f->pMethods->xFileControl(f, k->op, given);
      fprintf(said, "%s of %s with %lld: %d, %lld\n", k->name, journal ? "journal" : "database", values[v], rc,
              given[0]);
    }
  }
}

static void body_of_answers(void *arg) {
  const run *r = arg;
  said = fopen("../said", "w");
  register_all(r);
  sqlite3 *db = open_database(r);
  must(db, ROWS(1, 50) "BEGIN IMMEDIATE;" ROWS(51, 60));
  say_answers(db, false);
  say_answers(db, true);
  must(db, "COMMIT;" ROWS(61, 70));
  fprintf(said, "%lld rows\n", number(db, "SELECT count(*) FROM t"));
  /* One that lasts: the WAL stays when the last connection is closed. */
  int persist = 1;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_PERSIST_WAL, &persist);
  sqlite3_close(db);
  fprintf(said, "WAL of %lld bytes, database of %lld\n", size_on_disk("main.db-wal"), size_on_disk("main.db"));
  fclose(said);
}

static void the_same_answers_as_the_default_vfs(void **state) {
  (void)state;
  static const char *const modes[] = {"WAL", "PERSIST"};
  for (int mode = 0; mode < 2; mode++) {
    run r = {.vfs = "unix", .journal_mode = modes[mode]};
    char *alone = said_by(body_of_answers, &r);
    assert_non_null(strstr(alone, "70 rows"));
    r.through_uring = true;
    r.vfs = "uring";
    char *through = said_by(body_of_answers, &r);
    assert_true(same_text(modes[mode], alone, through));
    free(alone);
    free(through);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(every_control_reaches_the_parent),
      cmocka_unit_test(pragmas),
      cmocka_unit_test(files_at_each_marker),
      cmocka_unit_test(sizes_count_what_is_pending),
      cmocka_unit_test(an_atomic_batch),
      cmocka_unit_test(an_atomic_batch_undone),
      cmocka_unit_test(a_rings_error_number),
      cmocka_unit_test(null_io),
      cmocka_unit_test(the_same_answers_as_the_default_vfs),
  };
  make_directory(directory, sizeof directory);
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  remove_tree(directory);
  return rc;
}
