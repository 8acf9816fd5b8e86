/*
** support.h - one piece of work, done through the default VFS and through uring, and everything about it compared.
**
** A `work` runs in a child of its own, once with the default VFS (uring is not even registered there) and once with
** uring for each backend. It notes what it does and what came of it: every statement with its extended result code and
** its rows. When the child has ended, the files that it left in its directory are noted too: name, mode, owner, size,
** and a hash of what is in them. The notes of all runs must be equal. SQLite's random numbers begin with the same seed
** in each child, so that even salts and randomblob() are.
**
** What only uring has (how often the kernel was entered, how many rings there were) is kept beside the notes. Where
** rings can be had, a run with uring_backend=uring must have entered the kernel: otherwise the comparison says nothing
** of rings.
*/
#ifndef TESTS_ENVIRONMENT_SUPPORT_H
#define TESTS_ENVIRONMENT_SUPPORT_H

#include "../process/support.h"
#include <sys/mman.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- notes --------------------------------------------------------------------------------------------------- */

typedef struct notes {
  bool done;        /* the child came to its end                 */
  long long enters; /* of the kernel by rings, at most seen      */
  int rings;        /* of the process, at most seen              */
  size_t used;
  char text[1 << 18];
} notes;

static notes *said; /* shared with the child */

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...) {
  va_list args;
  va_start(args, format);
  const size_t left = sizeof(said->text) - said->used;
  const int n = vsnprintf(said->text + said->used, left, format, args);
  va_end(args);
  if (n < 0 || (size_t)n + 1 >= left) fprintf(stderr, "too many notes\n"), _exit(6);
  said->used += (size_t)n;
  said->text[said->used++] = '\n';
  said->text[said->used] = 0;
}

/* In a child: what cannot go wrong has. */
#define must(condition)                                                                                                \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, strerror(errno));                             \
      _exit(5);                                                                                                        \
    }                                                                                                                  \
  } while (0)

/* ---- in the child: SQLite, opening, statements ----------------------------------------------------------------- */

/* Where and with what the work of this child is done. */
static struct {
  bool uring;
  const char *backend;
  const char *stand_in; /* URINGVFS_TEST_VFS; another one if the work says so */
  char directory[600];
} here;

UNUSED static const char *in_directory(const char *name) {
  static char path[8][PATH_MAX];
  static int next;
  char *p = path[next++ % 8];
  must(snprintf(p, PATH_MAX, "%s%s%s", *name == '/' ? "" : here.directory, *name == '/' ? "" : "/", name) < PATH_MAX);
  return p;
}

static void same_random_numbers(void) { sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 4711, NULL); }

/* Whatever VFS is the default now becomes uring's parent. */
static void start_sqlite(void) {
  sqlite3_config(SQLITE_CONFIG_LOG, log_capture, NULL);
  if (here.uring && vfs_is_uring) must((uringvfs_register(0) & 0xff) == SQLITE_OK);
  same_random_numbers();
}

/* parameters: of the URI, beginning with &, or NULL. */
UNUSED static const char *uri_of(const char *name, const char *parameters) {
  static char uri[PATH_MAX + 256];
  size_t n = (size_t)snprintf(uri, sizeof(uri), "file:%s?", in_directory(name));
  if (here.uring && !vfs_is_uring) n += (size_t)snprintf(uri + n, sizeof(uri) - n, "vfs=%s", here.stand_in);
  if (here.uring && vfs_is_uring)
    n += (size_t)snprintf(uri + n, sizeof(uri) - n, "vfs=uring&uring_backend=%s", here.backend);
  snprintf(uri + n, sizeof(uri) - n, "%s", parameters != NULL ? parameters : "");
  return uri;
}

/* The code is noted. The handle is never NULL. */
UNUSED static sqlite3 *open_noted(const char *name, int flags, const char *parameters) {
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2(uri_of(name, parameters), &db, flags | SQLITE_OPEN_URI, NULL);
  must(db != NULL);
  sqlite3_extended_result_codes(db, 1);
  note("open %s -> %d %s", name, rc, rc == SQLITE_OK ? "" : sqlite3_errmsg(db));
  return db;
}

#define ANEW (SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)

static uint64_t hash_more(uint64_t h, const void *data, size_t n) {
  for (size_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)data)[i]) * 1099511628211ULL;
  return h;
}
#define HASH_START 14695981039346656037ULL

/* All columns of the row, into the hash. */
static uint64_t hash_row(uint64_t h, sqlite3_stmt *statement) {
  for (int i = 0; i < sqlite3_column_count(statement); i++) {
    const int type = sqlite3_column_type(statement, i);
    const void *value = sqlite3_column_blob(statement, i);
    h = hash_more(h, &type, sizeof(type));
    if (value != NULL) h = hash_more(h, value, (size_t)sqlite3_column_bytes(statement, i));
  }
  return h;
}

/* The message, without the name of the VFS that is in a URI. */
static const char *message_of(sqlite3 *db, int rc, char *text, size_t size) {
  snprintf(text, size, "%s", rc == SQLITE_OK ? "" : sqlite3_errmsg(db));
  char *question = strstr(text, "?");
  if (question != NULL) *question = 0;
  return text;
}

/* What one statement gives: code, message, number of rows, a hash of all, the first value. */
static int say_one(sqlite3 *db, sqlite3_stmt *statement, int rc, const char *text, int length) {
  char first[120] = "", message[200];
  uint64_t h = HASH_START;
  int rows = 0;
  while (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
    const bool blob = sqlite3_column_type(statement, 0) == SQLITE_BLOB; /* of it the hash is enough */
    const char *value = blob ? "a blob" : (const char *)sqlite3_column_text(statement, 0);
    if (rows++ == 0) snprintf(first, sizeof(first), "%.100s", value != NULL ? value : "(null)");
    h = hash_row(h, statement);
    rc = SQLITE_OK;
  }
  if (rc == SQLITE_DONE) rc = SQLITE_OK;
  note("%.*s -> %d %s, %d rows %llx %s", length, text, rc, message_of(db, rc, message, sizeof(message)), rows,
       (unsigned long long)h, first);
  return rc;
}

/* Runs and notes each statement of sql, whatever became of those before. Each has the text as its parameter. Returns
** the last code. */
UNUSED static int say_with(sqlite3 *db, const char *sql, const char *text) {
  int rc = SQLITE_OK;
  while (*sql != 0) {
    sqlite3_stmt *statement = NULL;
    const char *tail = sql;
    rc = sqlite3_prepare_v2(db, sql, -1, &statement, &tail);
    if (rc == SQLITE_OK && statement == NULL) break; /* blanks at the end */
    if (sqlite3_bind_parameter_count(statement) > 0) sqlite3_bind_text(statement, 1, text, -1, SQLITE_TRANSIENT);
    rc = say_one(db, statement, rc, sql, (int)(tail > sql ? (size_t)(tail - sql) : strlen(sql)));
    sqlite3_finalize(statement);
    if (tail == sql) break;
    sql = tail;
  }
  return rc;
}

UNUSED static int say(sqlite3 *db, const char *sql) { return say_with(db, sql, NULL); }

/* What uring has done so far. */
static void count_rings(sqlite3 *db) {
  const int rings = ring_count();
  if (rings > said->rings) said->rings = rings;
  const long long enters = here.uring && vfs_is_uring ? stat_value(db, "enters") : 0;
  if (enters > said->enters) said->enters = enters;
}

UNUSED static void close_noted(sqlite3 *db) {
  count_rings(db);
  note("close -> %d", sqlite3_close(db));
}

/* A table, for the work below. */
UNUSED static void make_table(sqlite3 *db, const char *journal_mode) {
  char sql[200];
  snprintf(
      sql, sizeof(sql),
      "PRAGMA journal_mode=%s; CREATE TABLE t(id INTEGER PRIMARY KEY, b); "
      "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<30) INSERT INTO t SELECT i, randomblob(3000) FROM c",
      journal_mode);
  say(db, sql);
}

/* Reads of many pages, commits that are worth a batch, rollback and spill. */
UNUSED static void work_on_table(sqlite3 *db) {
  say(db, "PRAGMA cache_size=5; SELECT count(*), sum(length(b)) FROM t; INSERT INTO t(b) VALUES(randomblob(150000)); "
          "BEGIN; UPDATE t SET b=randomblob(4000) WHERE id%4=1; DELETE FROM t WHERE id=3; SELECT id, b FROM t; COMMIT; "
          "BEGIN; UPDATE t SET b=randomblob(length(b)); SELECT id, b FROM t ORDER BY id DESC; ROLLBACK; "
          "PRAGMA synchronous=NORMAL; INSERT INTO t(b) VALUES(zeroblob(90000)); PRAGMA synchronous=FULL; "
          "SELECT id, b FROM t; PRAGMA integrity_check");
}

/* Makes a database with that name, without uring, in a process of its own: this one has not begun to use SQLite. */
UNUSED static void database_prepare(const char *name, const char *journal_mode, int rows) {
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) {
    char sql[300];
    sqlite3 *db = NULL;
    same_random_numbers();
    must(sqlite3_open_v2(in_directory(name), &db, ANEW, "unix") == SQLITE_OK);
    snprintf(
        sql, sizeof(sql),
        "PRAGMA journal_mode=%s; CREATE TABLE t(id INTEGER PRIMARY KEY, b); WITH c(i) AS (SELECT 1 UNION ALL SELECT "
        "i+1 FROM c WHERE i<%d) INSERT INTO t SELECT i, randomblob(3000) FROM c",
        journal_mode, rows);
    must(sql_rc(db, sql, NULL) == SQLITE_OK && sqlite3_close(db) == SQLITE_OK);
    _exit(0);
  }
  int status;
  must(waitpid(pid, &status, 0) == pid && status == 0);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static uint32_t big_endian(const unsigned char *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* A WAL up to its last commit. What stands behind it is rubbish: pages that the default VFS spilled in a transaction
** that was rolled back. */
static off_t wal_bytes(int fd) {
  enum { HEADER = 32, FRAME = 24, SALT = 16, FRAME_SALT = 8, COMMIT = 4 };
  unsigned char header[HEADER], frame[FRAME];
  if (pread(fd, header, HEADER, 0) != HEADER) return 0;
  const off_t step = FRAME + (off_t)big_endian(header + 8);
  off_t committed = HEADER;
  for (off_t at = HEADER; pread(fd, frame, FRAME, at) == FRAME; at += step) {
    if (memcmp(frame + FRAME_SALT, header + SALT, 8) != 0) break; /* of another generation */
    if (big_endian(frame + COMMIT) != 0) committed = at + step;
  }
  return committed;
}

/* Of all in the first `bytes` of the file that is not zero, with where it stands: holes are passed over. */
static uint64_t hash_until(int fd, off_t bytes) {
  enum { BLOCK = 4096 };
  static unsigned char block[BLOCK], zeros[BLOCK];
  uint64_t h = HASH_START;
  for (off_t at = lseek(fd, 0, SEEK_DATA); at >= 0 && at < bytes; at = lseek(fd, at, SEEK_DATA)) {
    const off_t hole = lseek(fd, at, SEEK_HOLE), end = hole < bytes ? hole : bytes;
    for (at -= at % BLOCK; at < end; at += BLOCK) {
      const ssize_t n = pread(fd, block, bytes - at < BLOCK ? (size_t)(bytes - at) : BLOCK, at);
      if (n <= 0) break;
      if (memcmp(block, zeros, (size_t)n) == 0) continue;
      h = hash_more(hash_more(h, &at, sizeof(at)), block, (size_t)n);
    }
  }
  return h;
}

static bool ends_with(const char *name, const char *end) {
  const size_t n = strlen(name), m = strlen(end);
  return n >= m && strcmp(name + n - m, end) == 0;
}

/* SQLite must have no lock on it. */
static uint64_t hash_of(const char *path, off_t *bytes) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  if (ends_with(path, "-wal")) *bytes = wal_bytes(fd);
  const uint64_t h = hash_until(fd, *bytes);
  close(fd);
  return h;
}

/* Nothing of it stays in memory: what comes next is read from the device. SQLite must have no lock on it. */
UNUSED static void make_cold(const char *path) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  must(fd >= 0 && fsync(fd) == 0 && posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
  close(fd);
}

/* Everything below the directory, in the order of the names. A -shm is a process's own affair: not its content. */
static void note_files(const char *directory, const char *prefix) {
  struct dirent **entries = NULL;
  const int n = scandir(directory, &entries, NULL, alphasort);
  for (int i = 0; i < n; i++) {
    char path[PATH_MAX + 300], name[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
    snprintf(name, sizeof(name) - 1, "%.2000s%s", prefix, entries[i]->d_name);
    if (entries[i]->d_name[0] != '.' && lstat(path, &st) == 0) {
      const bool directory_too = S_ISDIR(st.st_mode);
      off_t bytes = directory_too ? 0 : st.st_size;
      const uint64_t hash = S_ISREG(st.st_mode) && !ends_with(name, "-shm") ? hash_of(path, &bytes) : 0;
      note("file %s: mode %o owner %u:%u size %lld content %llx", name, (unsigned)st.st_mode, st.st_uid, st.st_gid,
           (long long)bytes, (unsigned long long)hash);
      strcat(name, "/");
      if (directory_too) note_files(path, name);
    }
    free(entries[i]);
  }
  free(entries);
}

/* ---- in the parent: all runs of a work, compared --------------------------------------------------------------------
** */

typedef void work(const void *arg);

/* Runs it in a child. The parent never uses SQLite: it may fork as often as it likes. */
static void run_in_child(const char *name, work *f, const void *arg) {
  snprintf(here.directory, sizeof(here.directory), "%s/run", work_dir); /* the same for all: names appear in messages */
  must(mkdir(here.directory, 0755) == 0);
  memset(said, 0, sizeof(*said));
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) {
    f(arg);
    said->done = true;
    fflush(NULL);
    _exit(0);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (status != 0 || !said->done) {
    fprintf(stderr, "%s\n", said->text + (said->used > 2000 ? said->used - 2000 : 0));
    tree_remove(here.directory);
    fail_msg("%s, %s %s: the child ended with 0x%x", name, here.uring ? uring_vfs() : default_vfs, here.backend,
             status);
  }
  note_files(here.directory, "");
  tree_remove(here.directory);
}

static void expect_same(const char *name, const notes *want, const notes *got) {
  const char *w = want->text, *g = got->text;
  for (int line = 1; *w != 0 || *g != 0; line++) {
    const size_t wn = strcspn(w, "\n"), gn = strcspn(g, "\n");
    if (wn != gn || memcmp(w, g, wn) != 0) {
      fprintf(stderr, "%s: %.*s\n%s: %.*s\n", default_vfs, (int)wn, w, uring_vfs(), (int)gn, g);
      fail_msg("%s, backend %s: line %d is different", name, here.backend, line);
    }
    w += wn + (w[wn] == '\n');
    g += gn + (g[gn] == '\n');
  }
}

/* Whether this process may have rings: found out in a child, by a batch. */
static void try_a_ring(const void *arg) {
  (void)arg;
  start_sqlite();
  char uri[PATH_MAX];
  sqlite3 *db = NULL;
  snprintf(uri, sizeof(uri), "file:%s?vfs=uring&uring_backend=uring", in_directory("probe.db"));
  if (sqlite3_open_v2(uri, &db, ANEW | SQLITE_OPEN_URI, NULL) == SQLITE_OK &&
      sql_rc(db, "CREATE TABLE t(a)", NULL) == SQLITE_OK)
    count_rings(db);
  sqlite3_close(db);
}

static void look_for_rings(void) {
  vfs_is_uring = strcmp(uring_vfs(), "uring") == 0;
  here.stand_in = uring_vfs();
  if (!vfs_is_uring) return;
  here.uring = true;
  here.backend = "uring";
  run_in_child("looking for rings", try_a_ring, NULL);
  ring_works = said->enters > 0;
  if (!ring_works) printf("no rings can be had here: auto and sync are tested\n");
}

/* What the work needs of rings. Forbidden: it is not run with uring_backend=uring. */
typedef enum ring_need { RINGS_FORBIDDEN, RINGS_UNUSED, RINGS_USED } ring_need;

UNUSED static void same_on_both(const char *name, work *f, const void *arg, ring_need need) {
  static const char *const backends[] = {"auto", "uring", "sync"};
  notes *want = malloc(sizeof(*want));
  assert_non_null(want);
  here.uring = false;
  here.backend = "-";
  run_in_child(name, f, arg);
  memcpy(want, said, sizeof(*want));
  here.uring = true;
  for (size_t i = 0; i < (vfs_is_uring ? COUNT(backends) : 1); i++) {
    here.backend = backends[i];
    if (strcmp(here.backend, "uring") == 0 && (!ring_works || need == RINGS_FORBIDDEN)) continue;
    run_in_child(name, f, arg);
    expect_same(name, want, said);
    if (vfs_is_uring && i == 1 && need == RINGS_USED && said->enters == 0)
      fail_msg("%s: no ring was used although the backend is uring: nothing was compared", name);
    if (vfs_is_uring && i == 2 && said->enters > 0) fail_msg("%s: a ring was used although the backend is sync", name);
  }
  if (getenv("URINGVFS_TEST_SHOW") != NULL) printf("---- %s\n%s", name, want->text);
  free(want);
}

/* Before anything else; the directory may be used by every user. */
UNUSED static void environment_start(void) {
  said = mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  must(said != MAP_FAILED);
  umask(022);
  support_directory();
  must(chmod(work_dir, 0755) == 0);
  look_for_rings();
}

/* For a whole test program that cannot run here. */
UNUSED static int environment_skip(const char *why) {
  printf("%s\n", why);
  support_end(0);
  return 77;
}

#endif
