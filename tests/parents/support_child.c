/*
** support_child.c - see support_child.h.
*/
#include "support_child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uringvfs.h"

static char directory[512];
static int report_fd = -1;
static char log_text[1 << 16];

/* ---- in the test ---- */

int child_setup(void **state) {
  const char *base = getenv("TMPDIR");
  (void)state;
  snprintf(directory, sizeof directory, "%s/uringvfs-parents.XXXXXX", base && *base ? base : "/tmp");
  /* Some children become another user. */
  return mkdtemp(directory) != NULL && chmod(directory, 0777) == 0 ? chdir(directory) : -1;
}

void child_empty_directory(void) {
  DIR *d = opendir(".");
  if (!d) return;
  for (struct dirent *e; (e = readdir(d));)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) unlink(e->d_name);
  closedir(d);
}

int child_teardown(void **state) {
  (void)state;
  child_empty_directory();
  return chdir("/") == 0 ? rmdir(directory) : -1;
}

/* cmocka catches these, and would go on with the other tests. */
static void let_signals_end_it(void) {
  static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};
  for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) signal(signals[i], SIG_DFL);
}

child_result child_run(child_body body, const void *arg) {
  child_result result = {0};
  report_fd = memfd_create("report", MFD_CLOEXEC);
  if (report_fd < 0) fail_msg("memfd_create: %s", strerror(errno));
  fflush(NULL);
  const pid_t pid = fork();
  if (pid < 0) fail_msg("fork: %s", strerror(errno));
  if (pid == 0) {
    let_signals_end_it();
    body(arg);
    _exit(0);
  }
  if (waitpid(pid, &result.status, 0) != pid) fail_msg("waitpid: %s", strerror(errno));
  const off_t bytes = lseek(report_fd, 0, SEEK_END);
  result.report = calloc(1, (size_t)bytes + 1);
  if (!result.report || pread(report_fd, result.report, (size_t)bytes, 0) != bytes) fail_msg("no report");
  close(report_fd);
  report_fd = -1;
  return result;
}

void child_passes(child_body body, const void *arg, const char *what) {
  child_result r = child_run(body, arg);
  if (r.status != 0) print_error("%s: status %#x\n%s", what, (unsigned)r.status, r.report);
  free(r.report);
  if (r.status != 0) fail_msg("%s", what);
}

void child_is_killed(child_body body, const void *arg, const char *what) {
  child_result r = child_run(body, arg);
  const bool killed = WIFSIGNALED(r.status) && WTERMSIG(r.status) == SIGKILL;
  if (!killed) print_error("%s: status %#x\n%s", what, (unsigned)r.status, r.report);
  free(r.report);
  if (!killed) fail_msg("%s", what);
}

static void ask_for_a_ring(const void *arg) {
  (void)arg;
  begin();
  CHECK(uringvfs_register(0) == SQLITE_OK);
  db_close(db_open("probe.db", "vfs=uring&uring_backend=uring"));
}

bool child_rings_available(void) {
  child_result r = child_run(ask_for_a_ring, NULL);
  free(r.report);
  child_empty_directory();
  return r.status == 0;
}

/* ---- in the child ---- */

static void report(const char *text, size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = write(report_fd, text, bytes);
    if (n <= 0) _exit(2);
    text += n;
    bytes -= (size_t)n;
  }
}

static void vsay(const char *format, va_list args) {
  char *line;
  const int n = vasprintf(&line, format, args);
  if (n < 0) _exit(2);
  report(line, (size_t)n);
  report("\n", 1);
  free(line);
}

void say(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsay(format, args);
  va_end(args);
}

void give_up(const char *file, int line, const char *format, ...) {
  va_list args;
  say("%s:%d:", file, line);
  va_start(args, format);
  vsay(format, args);
  va_end(args);
  if (log_text[0]) say("sqlite3_log:\n%s", log_text);
  _exit(1);
}

void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static void on_log(void *arg, int code, const char *message) {
  const size_t used = strlen(log_text);
  (void)arg;
  snprintf(log_text + used, sizeof log_text - used, "(%d) %s\n", code, message);
}

void begin(void) {
  CHECK(sqlite3_config(SQLITE_CONFIG_LOG, on_log, NULL) == SQLITE_OK);
  CHECK(sqlite3_initialize() == SQLITE_OK);
}

int logged(const char *text) {
  int n = 0;
  for (const char *at = log_text; (at = strstr(at, text)) != NULL; at += strlen(text)) n++;
  return n;
}

sqlite3 *db_open(const char *name, const char *parameters) {
  char uri[512];
  sqlite3 *db;
  snprintf(uri, sizeof uri, "file:%s?%s", name, parameters);
  int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  if (rc != SQLITE_OK) give_up(__FILE__, __LINE__, "%s: %d %s", uri, rc, sqlite3_errmsg(db));
  sqlite3_extended_result_codes(db, 1);
  return db;
}

void db_close(sqlite3 *db) { CHECK_INT(sqlite3_close(db), SQLITE_OK); }

int db_try(sqlite3 *db, const char *sql) { return sqlite3_exec(db, sql, NULL, NULL, NULL); }

void db_exec(sqlite3 *db, const char *sql) {
  const int rc = db_try(db, sql);
  if (rc != SQLITE_OK) give_up(__FILE__, __LINE__, "%s: %d %s", sql, rc, sqlite3_errmsg(db));
}

static int tell_row(sqlite3_stmt *statement) {
  const int rc = sqlite3_step(statement);
  if (rc != SQLITE_ROW) return rc;
  const unsigned char *text = sqlite3_column_text(statement, 0);
  say("  %s", text ? (const char *)text : "NULL");
  return rc;
}

void db_tell(sqlite3 *db, const char *sql) {
  while (*sql) {
    sqlite3_stmt *statement = NULL;
    const char *rest;
    int rc = sqlite3_prepare_v2(db, sql, -1, &statement, &rest);
    while (statement != NULL && (rc = tell_row(statement)) == SQLITE_ROW) {
    }
    say("%d: %.*s", rc, (int)(rest - sql), sql);
    sqlite3_finalize(statement);
    sql = rest;
  }
}

const char *db_text(sqlite3 *db, const char *sql) {
  static char text[8192];
  sqlite3_stmt *statement = NULL;
  text[0] = 0;
  int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  if (rc == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
    const unsigned char *value = sqlite3_column_text(statement, 0);
    snprintf(text, sizeof text, "%s", value ? (const char *)value : "");
  }
  if (rc == SQLITE_OK) rc = sqlite3_finalize(statement);
  if (rc != SQLITE_OK) give_up(__FILE__, __LINE__, "%s: %d %s", sql, rc, sqlite3_errmsg(db));
  return text;
}

sqlite3_int64 db_int(sqlite3 *db, const char *sql) { return strtoll(db_text(db, sql), NULL, 10); }

sqlite3_int64 db_stat(sqlite3 *db, const char *key) {
  char quoted[64];
  const char *json = db_text(db, "PRAGMA uring_stats");
  snprintf(quoted, sizeof quoted, "\"%s\":", key);
  const char *at = strstr(json, quoted);
  if (at == NULL) give_up(__FILE__, __LINE__, "PRAGMA uring_stats has no %s: %s", quoted, json);
  return strtoll(at + strlen(quoted), NULL, 10);
}

sqlite3_file *db_file(sqlite3 *db, int control) {
  sqlite3_file *file = NULL;
  CHECK_INT(sqlite3_file_control(db, "main", control, &file), SQLITE_OK);
  CHECK(file != NULL);
  return file;
}

bool file_has(const char *name, const char *text) {
  char *bytes = malloc(1 << 26);
  const int fd = open(name, O_RDONLY | O_CLOEXEC);
  size_t got = 0;
  for (ssize_t n; fd >= 0 && bytes && (n = read(fd, bytes + got, (1 << 26) - got)) > 0;) got += (size_t)n;
  const bool found = bytes && memmem(bytes, got, text, strlen(text)) != NULL;
  /* Closing it drops the locks of this process: for files that nobody has open, or where that does no harm. */
  if (fd >= 0) close(fd);
  free(bytes);
  return found;
}
