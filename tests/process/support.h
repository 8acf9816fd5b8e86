/*
** support.h - what the tests of locks, processes, threads and descriptors share.
**
** A test program includes it once. It holds: opening a database through either VFS, SQL that must succeed or whose code
** is looked at, a captured sqlite3_log, a helper process that was forked before SQLite was used (so it is another
** process in every respect), and a look at this process's descriptors and rings.
**
** URINGVFS_TEST_VFS names another VFS to stand in the place of "uring" (with "unix", a test compares the default
** VFS with itself: what fails then is wrong in the test).
*/
#ifndef TESTS_PROCESS_SUPPORT_H
#define TESTS_PROCESS_SUPPORT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include <sqlite3.h>
#include "../../vfs/uringvfs.h"

#define UNUSED __attribute__((unused))

/* SQLite's lock bytes (os.h, os_unix.c). */
#define PENDING_BYTE  0x40000000LL
#define RESERVED_BYTE (PENDING_BYTE + 1)
#define SHARED_FIRST  (PENDING_BYTE + 2)
#define SHARED_SIZE   510
#define SHM_FIRST     120 /* WRITE, CKPT, RECOVER, READ0..READ4, and the dead man switch */
#define SHM_COUNT     9

static char work_dir[512]; /* absolute, no symlinks in it */
static bool vfs_is_uring;  /* false: URINGVFS_TEST_VFS stands in                */
static bool ring_works;    /* can this process have rings at all?               */
static const char *default_vfs = "unix";

UNUSED static const char *uring_vfs(void) {
  const char *name = getenv("URINGVFS_TEST_VFS");
  return name != NULL && *name != 0 ? name : "uring";
}

/* ---- the log ---------------------------------------------------------------------------------------------- */

static char log_text[16384];
static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;

static void log_capture(void *arg, int code, const char *message) {
  (void)arg;
  pthread_mutex_lock(&log_mutex);
  size_t used = strlen(log_text);
  if (used + 1 < sizeof(log_text)) snprintf(log_text + used, sizeof(log_text) - used, "(%d) %s\n", code, message);
  pthread_mutex_unlock(&log_mutex);
}

UNUSED static void log_clear(void) {
  pthread_mutex_lock(&log_mutex);
  log_text[0] = 0;
  pthread_mutex_unlock(&log_mutex);
}

/* ---- SQL -------------------------------------------------------------------------------------------------- */

/* The text of a URI that opens path through vfs; the ring is forced where it can be had. */
static void db_uri(char *uri, size_t size, const char *path, const char *vfs) {
  if (vfs_is_uring && strcmp(vfs, "uring") == 0) {
    snprintf(uri, size, "file:%s?vfs=uring&uring_backend=%s", path, ring_works ? "uring" : "auto");
  } else {
    snprintf(uri, size, "file:%s?vfs=%s", path, vfs);
  }
}

/* A busy timeout where only waiting for ever would be wrong: the machine may be slow. */
#define PATIENT_MS (3600 * 1000)

/* Opens; no busy timeout: the tests look at SQLITE_BUSY. */
UNUSED static int db_open_rc(const char *path, const char *vfs, int flags, sqlite3 **db) {
  char uri[PATH_MAX + 128];
  db_uri(uri, sizeof(uri), path, vfs);
  int rc = sqlite3_open_v2(uri, db, flags | SQLITE_OPEN_URI, NULL);
  if (*db != NULL) sqlite3_extended_result_codes(*db, 1);
  return rc;
}

/* The same, but no ring opens the file before ring_now: single reads go inline when the backend is auto. */
UNUSED static int db_open_lazy(const char *path, const char *vfs, int flags, sqlite3 **db) {
  const bool works = ring_works;
  ring_works = false;
  int rc = db_open_rc(path, vfs, flags, db);
  ring_works = works;
  return rc;
}

UNUSED static int ring_now(sqlite3 *db, const char *vfs) {
  if (!ring_works || strcmp(vfs, "uring") != 0) return SQLITE_OK;
  return sqlite3_exec(db, "PRAGMA uring_backend=uring", NULL, NULL, NULL);
}

#define db_open(path, vfs) db_open_at(path, vfs, __FILE__, __LINE__)
UNUSED static sqlite3 *db_open_at(const char *path, const char *vfs, const char *file, int line) {
  sqlite3 *db = NULL;
  int rc = db_open_rc(path, vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db);
  if (rc != SQLITE_OK) {
    fprintf(stderr, "%s:%d: open %s through %s: %d %s\n%s", file, line, path, vfs, rc, sqlite3_errmsg(db), log_text);
    _fail(file, line);
  }
  return db;
}

typedef struct row_value {
  long long number; /* the last row's first column */
  char text[2048];
  int rows;
} row_value;

static int row_keep(void *arg, int columns, char **values, char **names) {
  (void)names;
  row_value *v = arg;
  v->rows++;
  if (columns > 0 && values[0] != NULL) {
    v->number = atoll(values[0]);
    snprintf(v->text, sizeof(v->text), "%s", values[0]);
  }
  return 0;
}

/* The extended result code; value may be NULL. */
UNUSED static int sql_rc(sqlite3 *db, const char *sql, row_value *value) {
  row_value ignored;
  if (value == NULL) value = &ignored;
  memset(value, 0, sizeof(*value));
  return sqlite3_exec(db, sql, row_keep, value, NULL);
}

#define sql(db, text) sql_at(db, text, __FILE__, __LINE__)
UNUSED static long long sql_at(sqlite3 *db, const char *text, const char *file, int line) {
  row_value value;
  int rc = sql_rc(db, text, &value);
  if (rc != SQLITE_OK) {
    fprintf(stderr, "%s:%d: %s: %d %s\n%s", file, line, text, rc, sqlite3_errmsg(db), log_text);
    _fail(file, line);
  }
  return value.number;
}

#define sql_busy(db, text) sql_busy_at(db, text, __FILE__, __LINE__)
UNUSED static void sql_busy_at(sqlite3 *db, const char *text, const char *file, int line) {
  int rc = sql_rc(db, text, NULL);
  if ((rc & 0xff) != SQLITE_BUSY) {
    fprintf(stderr, "%s:%d: %s: expected SQLITE_BUSY, got %d %s\n", file, line, text, rc, sqlite3_errmsg(db));
    _fail(file, line);
  }
}

#define db_close(db) assert_int_equal(sqlite3_close(db), SQLITE_OK)

/* A number out of PRAGMA uring_stats; -1 on a VFS that has none. */
UNUSED static long long stat_value(sqlite3 *db, const char *key) {
  row_value value;
  char quoted[64];
  if (sql_rc(db, "PRAGMA uring_stats", &value) != SQLITE_OK || value.rows == 0) return -1;
  snprintf(quoted, sizeof(quoted), "\"%s\"", key);
  const char *at = strstr(value.text, quoted);
  if (at == NULL) return -1;
  at = strchr(at + strlen(quoted), ':');
  return at == NULL ? -1 : atoll(at + 1);
}

/* ---- files ------------------------------------------------------------------------------------------------- */

/* One of a few static buffers: work_dir/name. */
UNUSED static const char *at(const char *name) {
  static _Thread_local char buffer[8][PATH_MAX + 256];
  static _Thread_local int next;
  char *b = buffer[next++ % 8];
  if (snprintf(b, sizeof(buffer[0]), "%s/%s", work_dir, name) >= (int)sizeof(buffer[0])) fail_msg("name too long");
  return b;
}

UNUSED static const char *with_suffix(const char *path, const char *suffix) {
  static _Thread_local char buffer[8][PATH_MAX + 256];
  static _Thread_local int next;
  char *b = buffer[next++ % 8];
  if (snprintf(b, sizeof(buffer[0]), "%s%s", path, suffix) >= (int)sizeof(buffer[0])) fail_msg("name too long");
  return b;
}

UNUSED static bool file_exists(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0;
}

/* FNV-1a over the file's bytes and length; 0 if it is not there. Never use it on a file on which this process holds
** locks: its close(2) would drop them. Ask the helper instead. */
UNUSED static uint64_t file_hash(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  uint64_t h = 14695981039346656037ULL;
  unsigned char block[8192];
  ssize_t n;
  while ((n = read(fd, block, sizeof(block))) > 0) {
    for (ssize_t i = 0; i < n; i++) h = (h ^ block[i]) * 1099511628211ULL;
  }
  close(fd);
  return h | 1;
}

UNUSED static void database_remove(const char *path) {
  const char *suffixes[] = {"", "-journal", "-wal", "-shm"};
  for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) unlink(with_suffix(path, suffixes[i]));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
  (void)st, (void)kind, (void)where;
  return remove(path);
}

UNUSED static void tree_remove(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

/* ---- this process's descriptors ------------------------------------------------------------------------------ */

typedef struct fd_entry {
  int fd;
  char target[PATH_MAX];
} fd_entry;

/* All open descriptors, without the one that reads the directory. Returns the count. */
UNUSED static int fd_list(fd_entry *list, int max) {
  DIR *dir = opendir("/proc/self/fd");
  int count = 0;
  if (dir == NULL) return -1;
  for (struct dirent *e; (e = readdir(dir)) != NULL;) {
    if (e->d_name[0] == '.') continue;
    int fd = atoi(e->d_name);
    if (fd == dirfd(dir)) continue;
    if (count < max) {
      ssize_t n = readlinkat(dirfd(dir), e->d_name, list[count].target, sizeof(list[count].target) - 1);
      list[count].target[n < 0 ? 0 : n] = 0;
      list[count].fd = fd;
      count++;
    }
  }
  closedir(dir);
  return count;
}

static fd_entry fd_now[4096];

UNUSED static int fd_count(void) { return fd_list(fd_now, 4096); }

UNUSED static int ring_count(void) {
  int rings = 0, n = fd_list(fd_now, 4096);
  for (int i = 0; i < n; i++) rings += strstr(fd_now[i].target, "[io_uring]") != NULL;
  return rings;
}

UNUSED static void fd_print(void) {
  int n = fd_list(fd_now, 4096);
  for (int i = 0; i < n; i++) fprintf(stderr, "  fd %d -> %s\n", fd_now[i].fd, fd_now[i].target);
}

/* ---- the helper process --------------------------------------------------------------------------------------- */

typedef enum helper_op { HELPER_OPEN, HELPER_SQL, HELPER_CLOSE, HELPER_LOCK, HELPER_HASH, HELPER_END } helper_op;

typedef struct helper_request {
  helper_op op;
  int slot;
  long long offset, length;
  char vfs[32];
  char text[PATH_MAX];
} helper_request;

typedef struct helper_reply {
  int rc;
  row_value value;
  char lock; /* '-', 'R' or 'W': what another process holds on the range */
  pid_t lock_pid;
  uint64_t hash;
} helper_reply;

static int helper_fd = -1;
static pid_t helper_pid;

static void support_sqlite(void);

static void helper_loop(int fd) {
  sqlite3 *slots[4] = {0};
  helper_request q;
  bool ready = false;
  while (recv(fd, &q, sizeof(q), 0) == (ssize_t)sizeof(q) && q.op != HELPER_END) {
    helper_reply r;
    memset(&r, 0, sizeof(r));
    if (!ready && q.op != HELPER_LOCK && q.op != HELPER_HASH) {
      support_sqlite();
      ready = true;
    }
    if (q.op == HELPER_OPEN) {
      r.rc = db_open_rc(q.text, q.vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &slots[q.slot]);
    } else if (q.op == HELPER_SQL) {
      r.rc = sql_rc(slots[q.slot], q.text, &r.value);
      if (r.rc != SQLITE_OK) snprintf(r.value.text, sizeof(r.value.text), "%s", sqlite3_errmsg(slots[q.slot]));
    } else if (q.op == HELPER_CLOSE) {
      r.rc = sqlite3_close(slots[q.slot]);
      slots[q.slot] = NULL;
    } else if (q.op == HELPER_LOCK) {
      struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = q.offset, .l_len = q.length};
      int file = open(q.text, O_RDWR | O_CLOEXEC);
      r.lock = '-';
      if (file < 0 || fcntl(file, F_GETLK, &lock) != 0) {
        r.rc = -errno;
        r.lock = file < 0 && errno == ENOENT ? '0' : '?';
      } else if (lock.l_type != F_UNLCK) {
        r.lock = lock.l_type == F_RDLCK ? 'R' : 'W';
        r.lock_pid = lock.l_pid;
      }
      if (file >= 0) close(file);
    } else if (q.op == HELPER_HASH) {
      r.hash = file_hash(q.text);
    }
    if (send(fd, &r, sizeof(r), MSG_NOSIGNAL) != (ssize_t)sizeof(r)) break;
  }
  for (int i = 0; i < 4; i++) sqlite3_close(slots[i]);
}

static helper_reply helper_call(const helper_request *q) {
  helper_reply r;
  memset(&r, 0, sizeof(r));
  if (send(helper_fd, q, sizeof(*q), MSG_NOSIGNAL) != (ssize_t)sizeof(*q) ||
      recv(helper_fd, &r, sizeof(r), 0) != (ssize_t)sizeof(r)) {
    fail_msg("the helper process is gone");
  }
  return r;
}

UNUSED static int helper_open(int slot, const char *path, const char *vfs) {
  helper_request q = {.op = HELPER_OPEN, .slot = slot};
  snprintf(q.text, sizeof(q.text), "%s", path);
  snprintf(q.vfs, sizeof(q.vfs), "%s", vfs);
  return helper_call(&q).rc;
}

UNUSED static int helper_sql(int slot, const char *text, row_value *value) {
  helper_request q = {.op = HELPER_SQL, .slot = slot};
  snprintf(q.text, sizeof(q.text), "%s", text);
  helper_reply r = helper_call(&q);
  if (value != NULL) *value = r.value;
  return r.rc;
}

#define helper_must(slot, text) helper_must_at(slot, text, __FILE__, __LINE__)
UNUSED static long long helper_must_at(int slot, const char *text, const char *file, int line) {
  row_value value;
  int rc = helper_sql(slot, text, &value);
  if (rc != SQLITE_OK) {
    fprintf(stderr, "%s:%d: in the other process: %s: %d %s\n", file, line, text, rc, value.text);
    _fail(file, line);
  }
  return value.number;
}

#define helper_busy(slot, text) helper_busy_at(slot, text, __FILE__, __LINE__)
UNUSED static void helper_busy_at(int slot, const char *text, const char *file, int line) {
  row_value value;
  int rc = helper_sql(slot, text, &value);
  if ((rc & 0xff) != SQLITE_BUSY) {
    fprintf(stderr, "%s:%d: in the other process: %s: expected SQLITE_BUSY, got %d\n", file, line, text, rc);
    _fail(file, line);
  }
}

UNUSED static int helper_close(int slot) {
  helper_request q = {.op = HELPER_CLOSE, .slot = slot};
  return helper_call(&q).rc;
}

UNUSED static uint64_t helper_hash(const char *path) {
  helper_request q = {.op = HELPER_HASH};
  snprintf(q.text, sizeof(q.text), "%s", path);
  return helper_call(&q).hash;
}

/* What the helper sees locked by others on a range: '-', 'R', 'W', '0' for no such file. */
UNUSED static char helper_lock(const char *path, long long offset, long long length) {
  helper_request q = {.op = HELPER_LOCK, .offset = offset, .length = length};
  snprintf(q.text, sizeof(q.text), "%s", path);
  helper_reply r = helper_call(&q);
  if (r.lock_pid != 0 && r.lock_pid != getpid()) return '!'; /* held, but not by this process */
  return r.lock;
}

/* All of SQLite's locks on a database as another process sees them, for instance "pending - reserved W shared R shm
** W--R-----R": one text that can be compared. The helper must not have the database open. */
UNUSED static const char *lock_map(const char *path) {
  static char text[8][128];
  static int next;
  char *t = text[next++ % 8];
  const char *shm = with_suffix(path, "-shm");
  int n = snprintf(t, sizeof(text[0]), "pending %c reserved %c shared %c shm ", helper_lock(path, PENDING_BYTE, 1),
                   helper_lock(path, RESERVED_BYTE, 1), helper_lock(path, SHARED_FIRST, SHARED_SIZE));
  for (int i = 0; i < SHM_COUNT; i++) t[n++] = helper_lock(shm, SHM_FIRST + i, 1);
  t[n] = 0;
  return t;
}

/* ---- start and end ---------------------------------------------------------------------------------------------- */

/* Once in each process that uses SQLite: the log, the VFS, and whether there are rings. */
static void support_sqlite(void) {
  sqlite3_config(SQLITE_CONFIG_LOG, log_capture, NULL);
  sqlite3_vfs *d = sqlite3_vfs_find(NULL);
  if (d != NULL) default_vfs = d->zName;
  vfs_is_uring = strcmp(uring_vfs(), "uring") == 0;
  ring_works = false;
  if (!vfs_is_uring) return;
  int rc = uringvfs_register(0);
  if (rc != SQLITE_OK && rc != SQLITE_OK_LOAD_PERMANENTLY) {
    fprintf(stderr, "uringvfs_register: %d\n", rc);
    exit(1);
  }
  /* The sysctl and seccomp are the usual reasons for no rings; the statistics name them when one was asked for. */
  char name[PATH_MAX + 64];
  snprintf(name, sizeof(name), "%s/ring-probe-%d.db", work_dir, (int)getpid());
  sqlite3 *db = NULL;
  row_value value;
  if (db_open_rc(name, "uring", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db) == SQLITE_OK) {
    (void)sql_rc(db, "PRAGMA uring_backend=uring", NULL);
    if (sql_rc(db, "PRAGMA uring_stats", &value) != SQLITE_OK) value.text[0] = 0;
    const char *ring = strstr(value.text, "\"ring\"");
    ring_works = ring != NULL && strncmp(ring + 6 + strspn(ring + 6, ": \""), "available", 9) == 0;
    if (!ring_works) fprintf(stderr, "no rings here, the synchronous backend is tested: %s\n", value.text);
  }
  sqlite3_close(db);
  database_remove(name);
}

/* The working directory and the helper; call it before anything uses SQLite. */
UNUSED static void support_directory(void) {
  const char *base = getenv("TMPDIR");
  char *real = realpath(base != NULL && *base != 0 ? base : "/tmp", NULL);
  int n = snprintf(work_dir, sizeof(work_dir), "%s/uringvfs-test-XXXXXX", real != NULL ? real : "/tmp");
  free(real);
  if (n >= (int)sizeof(work_dir) || mkdtemp(work_dir) == NULL) {
    perror(work_dir);
    exit(1);
  }
}

UNUSED static void helper_start(void) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) exit(1);
  pid_t parent = getpid();
  helper_pid = fork();
  if (helper_pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    close(pair[0]);
    helper_loop(pair[1]);
    _exit(0);
  }
  close(pair[1]);
  helper_fd = pair[0];
}

UNUSED static void support_start(void) {
  support_directory();
  helper_start();
  support_sqlite();
}

/* Returns result, so that main can end with it. */
UNUSED static int support_end(int result) {
  if (helper_fd >= 0) {
    helper_request q = {.op = HELPER_END};
    if (send(helper_fd, &q, sizeof(q), MSG_NOSIGNAL) < 0) perror("helper");
    close(helper_fd);
    waitpid(helper_pid, NULL, 0);
  }
  if (work_dir[0] != 0) tree_remove(work_dir);
  return result;
}

#endif
