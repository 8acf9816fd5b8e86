/*
** support_db.c - see support_db.h.
*/
#include "support_db.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uringvfs.h"

static char directory[512];
static char log_lines[256][512];
static int log_lines_count;

static void on_log(void *arg, int code, const char *message) {
  (void)arg;
  if (log_lines_count < 256) snprintf(log_lines[log_lines_count++], sizeof log_lines[0], "(%d) %s", code, message);
}

const char *log_find(const char *needle) {
  for (int i = log_lines_count - 1; i >= 0; i--)
    if (strstr(log_lines[i], needle)) return log_lines[i];
  return NULL;
}

int log_count(const char *needle) {
  int n = 0;
  for (int i = 0; i < log_lines_count; i++) n += strstr(log_lines[i], needle) != NULL;
  return n;
}

static void forget_source(void);

static void empty_directory(void) {
  DIR *d = opendir(directory);
  forget_source();
  if (!d) return;
  for (struct dirent *e; (e = readdir(d));) {
    char path[1024];
    if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
    snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
    unlink(path);
  }
  closedir(d);
}

int support_setup(void **state) {
  const char *base = getenv("TMPDIR");
  (void)state;
  snprintf(directory, sizeof directory, "%s/uringvfs-traps.XXXXXX", base && *base ? base : "/tmp");
  if (!mkdtemp(directory)) return -1;
  if (sqlite3_config(SQLITE_CONFIG_LOG, on_log, NULL) != SQLITE_OK) return -1;
  if (recorder_install() != SQLITE_OK) return -1;
  return uringvfs_register(0) == SQLITE_OK ? 0 : -1;
}

int support_teardown(void **state) {
  (void)state;
  empty_directory();
  return rmdir(directory);
}

int support_reset(void **state) {
  (void)state;
  recorder_reset();
  empty_directory();
  log_lines_count = 0;
  return 0;
}

const char *support_path(const char *name) {
  static char paths[8][1024];
  static int next;
  char *out = paths[next++ % 8];
  snprintf(out, sizeof paths[0], "%s/%s", directory, name);
  return out;
}

int db_try_open(const char *name, const char *params, sqlite3 **db) {
  char uri[1400];
  snprintf(uri, sizeof uri, "file:%s/%s?%s", directory, name, params);
  int rc = sqlite3_open_v2(uri, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  if (rc == SQLITE_OK) sqlite3_extended_result_codes(*db, 1);
  return rc;
}

sqlite3 *db_open(const char *name, const char *params) {
  sqlite3 *db;
  int rc = db_try_open(name, params, &db);
  if (rc != SQLITE_OK) fail_msg("opening %s with %s: %d %s", name, params, rc, sqlite3_errmsg(db));
  return db;
}

void db_close(sqlite3 *db) { assert_int_equal(sqlite3_close(db), SQLITE_OK); }

int db_try(sqlite3 *db, const char *sql) {
  sqlite3_exec(db, sql, NULL, NULL, NULL);
  return sqlite3_extended_errcode(db);
}

void db_exec(sqlite3 *db, const char *sql) {
  char *message = NULL;
  int rc = sqlite3_exec(db, sql, NULL, NULL, &message);
  if (rc != SQLITE_OK) fail_msg("%s: %d %s", sql, sqlite3_extended_errcode(db), message);
}

void db_execf(sqlite3 *db, const char *format, ...) {
  va_list args;
  char sql[4096];
  va_start(args, format);
  vsnprintf(sql, sizeof sql, format, args);
  va_end(args);
  db_exec(db, sql);
}

sqlite3_int64 db_int(sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement;
  sqlite3_int64 value = -1;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
  if (sqlite3_step(statement) == SQLITE_ROW) value = sqlite3_column_int64(statement, 0);
  if (sqlite3_finalize(statement) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
  return value;
}

const char *db_text(sqlite3 *db, const char *sql) {
  static char text[8192];
  sqlite3_stmt *statement;
  text[0] = 0;
  if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
  if (sqlite3_step(statement) == SQLITE_ROW) {
    const unsigned char *value = sqlite3_column_text(statement, 0);
    snprintf(text, sizeof text, "%s", value ? (const char *)value : "");
  }
  if (sqlite3_finalize(statement) != SQLITE_OK) fail_msg("%s: %s", sql, sqlite3_errmsg(db));
  return text;
}

sqlite3_int64 db_stat(sqlite3 *db, const char *key) {
  char quoted[64];
  const char *json = db_text(db, "PRAGMA uring_stats");
  snprintf(quoted, sizeof quoted, "\"%s\"", key);
  const char *at = strstr(json, quoted);
  if (!at) fail_msg("PRAGMA uring_stats has no %s: %s", quoted, json);
  at += strlen(quoted);
  at += strspn(at, ": ");
  return strtoll(at, NULL, 10);
}

bool ring_available(void) {
  sqlite3 *db = db_open("probe.db", "vfs=uring");
  (void)sqlite3_exec(db, "PRAGMA uring_backend=uring", NULL, NULL, NULL); /* asks for one */
  bool yes = strstr(db_text(db, "PRAGMA uring_stats"), "available\"") != NULL;
  db_close(db);
  unlink(support_path("probe.db"));
  return yes;
}

void db_check(sqlite3 *db) { assert_string_equal(db_text(db, "PRAGMA integrity_check"), "ok"); }

/*
** close(2) of any descriptor of an inode drops the locks this process holds on it: the source of a copy is opened once
** and stays open until the test has ended. A journal that was deleted and made anew is another inode, so those are
** opened each time: nobody locks them.
*/
static int kept_fd = -1;
static char kept_name[64];

static void forget_source(void) {
  if (kept_fd >= 0) close(kept_fd);
  kept_fd = -1;
  kept_name[0] = 0;
}

static void copy_out(int in, const char *to) {
  char buffer[1 << 16];
  off_t offset = 0;
  int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (out < 0) fail_msg("%s: %s", to, strerror(errno));
  for (ssize_t n; (n = pread(in, buffer, sizeof buffer, offset)) > 0; offset += n)
    if (write(out, buffer, (size_t)n) != n) fail_msg("%s: %s", to, strerror(errno));
  close(out);
}

sqlite3_int64 killed_now(const char *name, const char *sql) {
  static const char *const suffixes[] = {"-wal", "-journal"};
  char from[1200], to[1200];
  if (strcmp(kept_name, name) != 0) {
    forget_source();
    kept_fd = open(support_path(name), O_RDONLY | O_CLOEXEC);
    if (kept_fd < 0) fail_msg("%s: %s", name, strerror(errno));
    snprintf(kept_name, sizeof kept_name, "%s", name);
  }
  unlink(support_path("killed.db-shm"));
  copy_out(kept_fd, support_path("killed.db"));
  for (int i = 0; i < 2; i++) {
    snprintf(from, sizeof from, "%s/%s%s", directory, name, suffixes[i]);
    snprintf(to, sizeof to, "%s/killed.db%s", directory, suffixes[i]);
    unlink(to);
    int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0) continue;
    copy_out(in, to);
    close(in);
  }
  sqlite3 *db = db_open("killed.db", "vfs=unix");
  db_check(db);
  sqlite3_int64 value = db_int(db, sql);
  db_close(db);
  return value;
}
