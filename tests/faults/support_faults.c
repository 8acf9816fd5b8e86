/*
** support_faults.c - see support_faults.h.
*/
#include "support_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "uringvfs.h"

const char *const fault_ways[FAULT_WAYS] = {"vfs=unix", "vfs=uring&uring_backend=sync", "vfs=uring&uring_backend=auto",
                                            "vfs=uring&uring_backend=uring"};

bool fault_without_ring;

static char directory[512];
static bool real_root;
static pid_t owner;

/* ---- transcripts ---- */

__attribute__((format(printf, 3, 0))) static void append(char **text, size_t *length, const char *format,
                                                         va_list args) {
  char *line = NULL;
  int n = vasprintf(&line, format, args);
  if (n < 0) abort();
  char *grown = realloc(*text, *length + (size_t)n + 2);
  if (!grown) abort();
  memcpy(grown + *length, line, (size_t)n);
  *length += (size_t)n;
  grown[(*length)++] = '\n';
  grown[*length] = 0;
  *text = grown;
  free(line);
}

void note(fault_run *run, const char *format, ...) {
  va_list args;
  va_start(args, format);
  append(&run->transcript, &run->length, format, args);
  va_end(args);
}

void tell(fault_run *run, const char *format, ...) {
  va_list args;
  va_start(args, format);
  append(&run->notes, &run->notes_length, format, args);
  va_end(args);
}

__attribute__((format(printf, 2, 3))) static void log_line(fault_run *run, const char *format, ...) {
  va_list args;
  va_start(args, format);
  append(&run->log, &run->log_length, format, args);
  va_end(args);
}

static void on_log(void *arg, int code, const char *message) { log_line(arg, "(%d) %s", code, message); }

/* ---- running ---- */

static void write_all(int fd, const void *data, size_t n) {
  for (const char *p = data; n > 0;) {
    ssize_t put = write(fd, p, n);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) _exit(99);
    p += put;
    n -= (size_t)put;
  }
}

static bool read_all(int fd, void *data, size_t n) {
  for (char *p = data; n > 0;) {
    ssize_t got = read(fd, p, n);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    p += got;
    n -= (size_t)got;
  }
  return true;
}

static void send_text(int fd, const char *text, size_t length) {
  write_all(fd, &length, sizeof length);
  if (length) write_all(fd, text, length);
}

static char *receive_text(int fd) {
  size_t length = 0;
  char *text = NULL;
  if (read_all(fd, &length, sizeof length)) {
    text = calloc(1, length + 1);
    if (text && length && !read_all(fd, text, length)) text[0] = 0;
  }
  return text ? text : calloc(1, 1);
}

static void child_main(fault_run *run, fault_scenario scenario, void *arg, int report) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (sqlite3_config(SQLITE_CONFIG_LOG, on_log, run) != SQLITE_OK) _exit(98);
  if (!run->reference && uringvfs_register(0) != SQLITE_OK) _exit(97);
  scenario(run, arg);
  send_text(report, run->transcript, run->length);
  send_text(report, run->log, run->log_length);
  send_text(report, run->notes, run->notes_length);
  _exit(0);
}

fault_result fault_run_once(const char *way, const char *base, fault_scenario scenario, void *arg) {
  fault_result result = {.way = way};
  static int serial;
  char dir[1024];
  int pipe_fds[2];
  snprintf(dir, sizeof dir, "%s/run%d", base, serial++);
  if (mkdir(dir, 0777) != 0) fail_msg("%s: %s", dir, strerror(errno));
  chmod(dir, 0777);
  assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
  fflush(NULL);
  pid_t child = fork();
  if (child < 0) fail_msg("fork: %s", strerror(errno));
  if (child == 0) {
    close(pipe_fds[0]);
    int high = fcntl(pipe_fds[1], F_DUPFD_CLOEXEC, 400); /* out of the way of limits on descriptors */
    fault_run run = {.way = way,
                     .dir = dir,
                     .reference = strcmp(way, fault_ways[0]) == 0,
                     .ring = strstr(way, "=uring&uring_backend=uring") != NULL};
    if (high >= 0) close(pipe_fds[1]);
    child_main(&run, scenario, arg, high >= 0 ? high : pipe_fds[1]);
  }
  close(pipe_fds[1]);
  result.transcript = receive_text(pipe_fds[0]);
  result.log = receive_text(pipe_fds[0]);
  result.notes = receive_text(pipe_fds[0]);
  close(pipe_fds[0]);
  while (waitpid(child, &result.status, 0) < 0 && errno == EINTR) {
  }
  return result;
}

void fault_result_free(fault_result *result) {
  free(result->transcript);
  free(result->log);
  free(result->notes);
}

static void empty(const char *path);

static bool line_has(const char *line, size_t length, const char *pattern) {
  char words[512], *save = NULL, *copy = strndup(line, length);
  bool all = copy != NULL;
  snprintf(words, sizeof words, "%s", pattern);
  for (char *w = strtok_r(words, "|", &save); w && all; w = strtok_r(NULL, "|", &save)) all = strstr(copy, w) != NULL;
  free(copy);
  return all;
}

bool log_has(const char *log, const char *pattern) {
  for (const char *line = log; line && *line;) {
    const char *end = strchr(line, '\n');
    size_t n = end ? (size_t)(end - line) : strlen(line);
    if (line_has(line, n, pattern)) return true;
    line = end ? end + 1 : NULL;
  }
  return false;
}

static void remove_runs(const char *base) {
  /* keeps a small file system from filling up */
  empty(base);
}

void fault_compare(const char *name, const char *base, fault_scenario scenario, void *arg, const char *must_contain,
                   const char *log_pattern) {
  fault_result plain = fault_run_once(fault_ways[0], base ? base : directory, scenario, arg);
  if (base) remove_runs(base);
  bool good = true, met = strstr(plain.notes, "NOT MET") == NULL;
  if (must_contain && !strstr(plain.transcript, must_contain)) {
    fprintf(stderr, "%s: the fault did not show on the default VFS: no \"%s\" in\n%s\n%s", name, must_contain,
            plain.transcript, plain.log);
    good = false;
  }
  for (int w = 1; w < FAULT_WAYS; w++) {
    if (strstr(fault_ways[w], "backend=uring") && (fault_without_ring || !fault_ring_available())) continue;
    fault_result r = fault_run_once(fault_ways[w], base ? base : directory, scenario, arg);
    if (base) remove_runs(base);
    if (r.status != plain.status || strcmp(r.transcript, plain.transcript) != 0) {
      fprintf(stderr,
              "%s: %s differs from the default VFS\n--- default VFS, status 0x%x\n%s--- %s, status 0x%x\n%s--- its "
              "log\n%s---\n",
              name, fault_ways[w], plain.status, plain.transcript, fault_ways[w], r.status, r.transcript, r.log);
      good = false;
    }
    met |= strstr(r.notes, "NOT MET") == NULL;
    if (log_pattern && !log_has(r.log, log_pattern)) {
      fprintf(stderr, "%s: %s: nothing in the log has \"%s\":\n%s---\n", name, fault_ways[w], log_pattern, r.log);
      good = false;
    }
    fault_result_free(&r);
  }
  fault_result_free(&plain);
  if (!met) fprintf(stderr, "%s: the fault was never met\n", name);
  good &= met;
  if (!good) fail_msg("%s", name);
}

static void probe_scenario(fault_run *run, void *arg) {
  (void)arg;
  sqlite3 *db = run_open(run, "probe.db");
  if (db) run_close(run, db);
}

bool fault_ring_available(void) {
  static int known = -1;
  if (known < 0) {
    fault_result r = fault_run_once(fault_ways[3], directory, probe_scenario, NULL);
    known = strstr(r.transcript, "open probe.db: 0") != NULL;
    if (!known) fprintf(stderr, "no io_uring here: uring_backend=uring is left out\n%s", r.log);
    fault_result_free(&r);
  }
  return known == 1;
}

/* ---- the test's directory ---- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where) {
  (void)st;
  (void)type;
  if (where->level > 0) remove(path);
  return 0;
}

static void empty(const char *path) { nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT); }

int fault_setup(void **state) {
  const char *base = getenv("TMPDIR");
  (void)state;
  snprintf(directory, sizeof directory, "%s/uringvfs-faults.XXXXXX", base && *base ? base : "/tmp");
  owner = getpid();
  if (!mkdtemp(directory)) return -1;
  return chmod(directory, 0755);
}

int fault_teardown(void **state) {
  (void)state;
  if (getpid() != owner) return 0;
  fault_unmount_faultfs();
  empty(directory);
  return rmdir(directory);
}

const char *fault_dir(void) { return directory; }

/* ---- namespaces and mounts ---- */

static void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (write(fd, text, strlen(text)) < 0) perror(path);
  close(fd);
}

const char *fault_namespace(void) {
  char map[64];
  uid_t uid = geteuid();
  gid_t gid = getegid();
  real_root = uid == 0;
  if (!(uid == 0 && unshare(CLONE_NEWNS) == 0)) {
    real_root = false;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return "neither root nor user namespaces: cannot mount anything";
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", uid);
    write_file("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", gid);
    write_file("/proc/self/gid_map", map);
  }
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return "mounts cannot be made private";
  return NULL;
}

bool fault_real_root(void) { return real_root; }

static const char *mount_point(const char *name) {
  static char path[1024];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  mkdir(path, 0755);
  return path;
}

const char *fault_mount_tmpfs(const char *name, const char *options, const char **why) {
  const char *path = mount_point(name);
  if (mount("none", path, "tmpfs", 0, options) != 0) {
    *why = "tmpfs cannot be mounted";
    return NULL;
  }
  return path;
}

const char *fault_mount_ext4(const char *name, const char *size, const char **why) {
  char command[8192];
  const char *path = mount_point(name);
  if (!real_root) {
    *why = "not root: no loop device";
    return NULL;
  }
  snprintf(command, sizeof command,
           "PATH=$PATH:/usr/sbin:/sbin; truncate -s %s '%s.img' && mkfs.ext4 -q -F -m 0 -O ^has_journal '%s.img' "
           ">/dev/null 2>&1 && "
           "mount -o loop '%s.img' '%s' 2>/dev/null && rmdir '%s/lost+found'",
           size, path, path, path, path, path);
  if (system(command) != 0) {
    *why = "an ext4 image cannot be made and mounted here";
    return NULL;
  }
  return path;
}

void fault_unmount(const char *path) {
  if (umount2(path, 0) != 0) umount2(path, MNT_DETACH);
}

/* ---- faultfs ---- */

static pid_t faultfs_pid;
static char faultfs_mount[1024];

const char *fault_mount_faultfs(const char *name, bool writeback, const char **why) {
  char program[1024], backing[1100];
  struct stat st;
  ssize_t n = readlink("/proc/self/exe", program, sizeof program - 32);
  if (n < 0) return NULL;
  program[n] = 0;
  snprintf(strrchr(program, '/'), 20, "/prog_faultfs");
  if (access(program, X_OK) != 0) {
    *why = "prog_faultfs was not built: libfuse3 is missing";
    return NULL;
  }
  if (access("/dev/fuse", R_OK | W_OK) != 0) {
    *why = "/dev/fuse cannot be opened";
    return NULL;
  }
  fault_unmount_faultfs();
  snprintf(faultfs_mount, sizeof faultfs_mount, "%s", mount_point(name));
  snprintf(backing, sizeof backing, "%s.backing", faultfs_mount);
  mkdir(backing, 0777);
  fflush(NULL);
  faultfs_pid = fork();
  if (faultfs_pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execl(program, program, backing, faultfs_mount, writeback ? "writeback" : "direct", (char *)NULL);
    _exit(127);
  }
  for (;;) { /* it is mounted, or the server says that it cannot be */
    struct statfs fs;
    if (statfs(faultfs_mount, &fs) == 0 && (unsigned)fs.f_type == 0x65735546u && stat(faultfs_mount, &st) == 0)
      return faultfs_mount;
    int status;
    if (waitpid(faultfs_pid, &status, WNOHANG) == faultfs_pid) {
      faultfs_pid = 0;
      *why = "prog_faultfs ended: FUSE cannot be mounted here";
      return NULL;
    }
    usleep(10000);
  }
}

void fault_unmount_faultfs(void) {
  if (faultfs_pid <= 0 || getpid() != owner) return;
  umount2(faultfs_mount, MNT_DETACH);
  kill(faultfs_pid, SIGTERM);
  usleep(20000);
  kill(faultfs_pid, SIGKILL);
  waitpid(faultfs_pid, NULL, 0);
  faultfs_pid = 0;
}

void fault_inject(const char *command) {
  char path[1100];
  snprintf(path, sizeof path, "%s/.control", faultfs_mount);
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, command, strlen(command)) < 0) {
    fprintf(stderr, "faultfs: %s: %s\n", command, strerror(errno));
    _exit(96);
  }
  close(fd);
}

long fault_hits(void) {
  char path[1100], text[64] = "";
  snprintf(path, sizeof path, "%s/.control", faultfs_mount);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || read(fd, text, sizeof text - 1) < 0) return -1;
  close(fd);
  return strtol(text, NULL, 10);
}

/* ---- inside a scenario ---- */

const char *run_path(fault_run *run, const char *name) {
  static char paths[8][1400];
  static int next;
  char *out = paths[next++ % 8];
  snprintf(out, sizeof paths[0], "%s/%s", run->dir, name);
  return out;
}

sqlite3 *run_open_flags(fault_run *run, const char *name, int flags) {
  char uri[2048];
  sqlite3 *db = NULL;
  snprintf(uri, sizeof uri, "file:%s/%s?%s", run->dir, name, run->way);
  int rc = sqlite3_open_v2(uri, &db, flags | SQLITE_OPEN_URI, NULL);
  note(run, "open %s: %d (%s)", name, db ? sqlite3_extended_errcode(db) : rc, db ? sqlite3_errmsg(db) : "");
  if (rc == SQLITE_OK) return db;
  sqlite3_close(db);
  return NULL;
}

sqlite3 *run_open(fault_run *run, const char *name) {
  return run_open_flags(run, name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
}

sqlite3 *run_open_plain(fault_run *run, const char *name) {
  sqlite3 *db = NULL;
  if (sqlite3_open_v2(run_path(run, name), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix") == SQLITE_OK)
    return db;
  note(run, "open %s plainly: %d", name, sqlite3_extended_errcode(db));
  sqlite3_close(db);
  return NULL;
}

int run_sql(fault_run *run, sqlite3 *db, const char *sql) {
  if (!db) return SQLITE_MISUSE;
  int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  int extended = rc ? sqlite3_extended_errcode(db) : 0;
  note(run, "%s -> %d (%s)", sql, extended, rc ? sqlite3_errmsg(db) : "");
  return extended;
}

int run_quiet(fault_run *run, sqlite3 *db, const char *sql) {
  if (!db) return SQLITE_MISUSE;
  int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  if (rc) note(run, "%s -> %d (%s)", sql, sqlite3_extended_errcode(db), sqlite3_errmsg(db));
  return rc ? sqlite3_extended_errcode(db) : 0;
}

int run_transaction(fault_run *run, sqlite3 *db, const char *name, const char *sql) {
  if (!db) return SQLITE_MISUSE;
  int rc = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
  if (!rc) rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
  if (!rc) rc = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
  int extended = rc ? sqlite3_extended_errcode(db) : 0;
  note(run, "%s -> %d (%s)", name, extended, rc ? sqlite3_errmsg(db) : "");
  if (!sqlite3_get_autocommit(db)) {
    rc = sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    if (rc) note(run, "rollback -> %d", sqlite3_extended_errcode(db));
  }
  return extended;
}

sqlite3_int64 run_int(fault_run *run, sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement = NULL;
  sqlite3_int64 value = -1;
  if (!db) return -1;
  int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  if (rc == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) value = sqlite3_column_int64(statement, 0);
  rc = sqlite3_finalize(statement);
  note(run, "%s = %lld (%d)", sql, value,
       rc ? sqlite3_extended_errcode(db) : sqlite3_errcode(db) & 0xff & ~SQLITE_ROW & ~SQLITE_DONE);
  return value;
}

void run_close(fault_run *run, sqlite3 *db) {
  int rc = sqlite3_close(db);
  if (rc) note(run, "close: %d", rc);
}

void run_verify(fault_run *run, const char *name, const char *sql) {
  sqlite3 *db = run_open_plain(run, name);
  if (!db) return;
  sqlite3_stmt *statement = NULL;
  if (sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW)
    note(run, "integrity of %s: %s", name, (const char *)sqlite3_column_text(statement, 0));
  else
    note(run, "integrity of %s: %d", name, sqlite3_extended_errcode(db));
  sqlite3_finalize(statement);
  run_int(run, db, sql);
  sqlite3_close(db);
}
