/*
** Options: every wrong one, in a URI or as a PRAGMA, is refused with a message that names it and what is allowed, and
** leaves nothing behind; every valid one is accepted and can be seen.
*/
/* clang-format off: cmocka wants these before it */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "uringvfs.h"

static char directory[512];
static char said[1 << 16];

static void on_log(void *arg, int code, const char *message) {
  (void)arg;
  size_t n = strlen(said);
  snprintf(said + n, sizeof said - n, "(%d) %s\n", code, message);
}

static int setup(void **state) {
  const char *base = getenv("TMPDIR");
  (void)state;
  snprintf(directory, sizeof directory, "%s/uringvfs-options.XXXXXX", base && *base ? base : "/tmp");
  if (!mkdtemp(directory) || sqlite3_config(SQLITE_CONFIG_LOG, on_log, NULL) != SQLITE_OK) return -1;
  return uringvfs_register(0) == SQLITE_OK ? 0 : -1;
}

static const char *path(const char *name) {
  static char text[600];
  snprintf(text, sizeof text, "%s/%s", directory, name);
  return text;
}

static int teardown(void **state) {
  (void)state;
  unlink(path("t.db"));
  unlink(path("u.db"));
  return rmdir(directory);
}

static sqlite3 *open_with(const char *name, const char *params, int *rc) {
  char uri[4096];
  sqlite3 *db = NULL;
  said[0] = 0;
  snprintf(uri, sizeof uri, "file:%s/%s?vfs=uring%s%s", directory, name, *params ? "&" : "", params);
  *rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  return db;
}

/* First column of the first row, "" without one. */
static const char *text(sqlite3 *db, const char *sql, int *rc) {
  static char out[8192];
  sqlite3_stmt *statement = NULL;
  out[0] = 0;
  *rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  if (*rc == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
    const unsigned char *value = sqlite3_column_text(statement, 0);
    snprintf(out, sizeof out, "%s", value ? (const char *)value : "");
  }
  int end = sqlite3_finalize(statement);
  if (*rc == SQLITE_OK) *rc = end;
  return out;
}

static bool ring_available(void) {
  int rc;
  sqlite3 *db = open_with("u.db", "", &rc);
  (void)sqlite3_exec(db, "PRAGMA uring_backend=uring", NULL, NULL, NULL); /* asks for one */
  bool yes = strstr(text(db, "PRAGMA uring_stats", &rc), "available\"") != NULL;
  sqlite3_close(db);
  return yes;
}

/* has(text, "a|b"): all of the words. */
static bool has(const char *in, const char *words) {
  char copy[256], *save = NULL;
  snprintf(copy, sizeof copy, "%s", words);
  for (char *w = strtok_r(copy, "|", &save); w; w = strtok_r(NULL, "|", &save))
    if (!strcasestr(in, w)) return false;
  return true;
}

/* name, value (as text; percent-encoded for the URI where necessary), words of the message */
static const struct {
  const char *name, *value, *uri_value, *message;
} wrong[] = {
    /* wrong, empty, almost right, right with something more, a number, a list, several spellings */
    {"uring_backend", "io_uring", "io_uring", "uring_backend|auto|uring|sync"},
    {"uring_backend", "", "", "uring_backend|auto|uring|sync"},
    {"uring_backend", "ur", "ur", "uring_backend|auto|uring|sync"},
    {"uring_backend", "uringx", "uringx", "uring_backend|auto|uring|sync"},
    {"uring_backend", "auto ", "auto%20", "uring_backend|auto|uring|sync"},
    {"uring_backend", " auto", "%20auto", "uring_backend|auto|uring|sync"},
    {"uring_backend", "auto,sync", "auto,sync", "uring_backend|auto|uring|sync"},
    {"uring_backend", "0", "0", "uring_backend|auto|uring|sync"},
    {"uring_backend", "1", "1", "uring_backend|auto|uring|sync"},
    {"uring_backend", "default", "default", "uring_backend|auto|uring|sync"},
    {"uring_backend", "none", "none", "uring_backend|auto|uring|sync"},
    {"uring_backend", "sync\n", "sync%0A", "uring_backend|auto|uring|sync"},
    {"uring_commit", "group", "group", "uring_commit|group|not available yet|strict"},
    {"uring_commit", "GROUP", "GROUP", "uring_commit|group|not available yet|strict"},
    {"uring_commit", "", "", "uring_commit|strict"},
    {"uring_commit", "groupx", "groupx", "uring_commit|strict"},
    {"uring_commit", "strictly", "strictly", "uring_commit|strict"},
    {"uring_commit", "full", "full", "uring_commit|strict"},
    {"uring_commit", "1", "1", "uring_commit|strict"},
    {"uring_lock", "process", "process", "uring_lock|process|not available yet|shared"},
    {"uring_lock", "Process", "Process", "uring_lock|process|not available yet|shared"},
    {"uring_lock", "", "", "uring_lock|shared"},
    {"uring_lock", "exclusive", "exclusive", "uring_lock|shared"},
    {"uring_lock", "share", "share", "uring_lock|shared"},
    {"uring_lock", "none", "none", "uring_lock|shared"},
    {"uring_readahead", "121", "121", "uring_readahead|0 to 120"},
    {"uring_readahead", "1000", "1000", "uring_readahead|0 to 120"},
    {"uring_readahead", "4294967296", "4294967296", "uring_readahead|0"},
    {"uring_readahead", "99999999999999999999999999", "99999999999999999999999999", "uring_readahead|0"},
    {"uring_readahead", "", "", "uring_readahead|0"},
    {"uring_readahead", "-1", "-1", "uring_readahead|0"},
    {"uring_readahead", "-0", "-0", "uring_readahead|0"},
    {"uring_readahead", "0x", "0x", "uring_readahead|0"},
    {"uring_readahead", "0x10", "0x10", "uring_readahead|0"},
    {"uring_readahead", "0 ", "0%20", "uring_readahead|0"},
    {"uring_readahead", "0k", "0k", "uring_readahead|0"},
    {"uring_readahead", "0.5", "0.5", "uring_readahead|0"},
    {"uring_readahead", "off", "off", "uring_readahead|0"},
    {"uring_readahead", "1e3", "1e3", "uring_readahead|0"},
    /* unknown names */
    {"uring_bakcend", "auto", "auto", "uring_bakcend|uring_backend|uring_commit|uring_lock|uring_readahead"},
    {"uring_", "1", "1", "uring_|uring_backend"},
    {"uring_backends", "auto", "auto", "uring_backends|uring_backend"},
    {"uring_read_ahead", "0", "0", "uring_read_ahead|uring_readahead"},
    {"uring_fsync", "off", "off", "uring_fsync|uring_backend"},
};
#define WRONG (sizeof wrong / sizeof *wrong)

static void wrong_in_a_uri(void **state) {
  (void)state;
  for (size_t i = 0; i < WRONG; i++) {
    char params[256];
    int rc;
    snprintf(params, sizeof params, "%s=%s", wrong[i].name, wrong[i].uri_value);
    sqlite3 *db = open_with("t.db", params, &rc);
    if (rc != SQLITE_ERROR) fail_msg("%s: %d", params, rc);
    if (!has(said, wrong[i].message)) fail_msg("%s: no message with %s in: %s", params, wrong[i].message, said);
    if (access(path("t.db"), F_OK) == 0) fail_msg("%s: refused, but the file was made", params);
    sqlite3_close(db);
  }
}

static void wrong_as_a_pragma(void **state) {
  int rc;
  (void)state;
  sqlite3 *db = open_with("t.db", "", &rc);
  assert_int_equal(rc, SQLITE_OK);
  assert_int_equal(sqlite3_exec(db, "CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
  for (size_t i = 0; i < WRONG; i++) {
    for (int form = 0; form < 4; form++) {
      char sql[512], *message = NULL;
      switch (form) {
      case 0: snprintf(sql, sizeof sql, "PRAGMA %s='%s'", wrong[i].name, wrong[i].value); break;
      case 1: snprintf(sql, sizeof sql, "PRAGMA %s('%s')", wrong[i].name, wrong[i].value); break;
      case 2: snprintf(sql, sizeof sql, "PRAGMA main.%s='%s'", wrong[i].name, wrong[i].value); break;
      default: snprintf(sql, sizeof sql, "PRAGMA %s=\"%s\"", wrong[i].name, wrong[i].value); break;
      }
      rc = sqlite3_exec(db, sql, NULL, NULL, &message);
      if (rc != SQLITE_ERROR) fail_msg("%s: %d", sql, rc);
      if (!message || !has(message, wrong[i].message))
        fail_msg("%s: no message with %s in: %s", sql, wrong[i].message, message);
      sqlite3_free(message);
    }
  }
  /* nothing of it stuck, and the connection works */
  assert_string_equal(text(db, "PRAGMA uring_backend", &rc), "auto");
  assert_string_equal(text(db, "PRAGMA uring_commit", &rc), "strict");
  assert_string_equal(text(db, "PRAGMA uring_lock", &rc), "shared");
  assert_string_equal(text(db, "PRAGMA uring_readahead", &rc), "64");
  assert_int_equal(sqlite3_exec(db, "INSERT INTO t VALUES(1)", NULL, NULL, NULL), SQLITE_OK);
  sqlite3_close(db);
  unlink(path("t.db"));
}

/* A wrong one beside right ones is refused wherever it stands; of one that is given twice each must be right. */
static void wrong_among_right(void **state) {
  static const char *const cases[] = {
      "uring_backend=sync&uring_commit=wrong",
      "uring_commit=wrong&uring_backend=sync",
      "cache=private&uring_lock=wrong&mode=rwc",
      "uring_backend=sync&uring_readahead=0&uring_lock=shared&uring_commit=strict&uring_more=1",
      "uring_backend=sync&uring_backend=wrong",
      "uring_backend=wrong&uring_backend=sync",
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int rc;
    sqlite3 *db = open_with("t.db", cases[i], &rc);
    if (rc != SQLITE_ERROR || said[0] == 0) fail_msg("%s: %d %s", cases[i], rc, said);
    sqlite3_close(db);
  }
}

/* An attached database has options of its own; a wrong one fails the ATTACH. */
static void attached(void **state) {
  int rc;
  char sql[1024];
  (void)state;
  sqlite3 *db = open_with("t.db", "uring_backend=sync", &rc);
  assert_int_equal(rc, SQLITE_OK);
  said[0] = 0;
  snprintf(sql, sizeof sql, "ATTACH 'file:%s?vfs=uring&uring_backend=wrong' AS a", path("u.db"));
  assert_int_not_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_true(has(said, "uring_backend|auto|sync"));
  snprintf(sql, sizeof sql, "ATTACH 'file:%s?vfs=uring&uring_backend=auto' AS a; CREATE TABLE a.t(x)", path("u.db"));
  assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
  assert_string_equal(text(db, "PRAGMA main.uring_backend", &rc), "sync");
  assert_string_equal(text(db, "PRAGMA a.uring_backend", &rc), "auto");
  assert_int_equal(sqlite3_exec(db, "PRAGMA a.uring_backend=sync", NULL, NULL, NULL), SQLITE_OK);
  assert_string_equal(text(db, "PRAGMA a.uring_backend", &rc), "sync");
  sqlite3_close(db);
  unlink(path("t.db"));
  unlink(path("u.db"));
}

static void right_in_a_uri(void **state) {
  static const struct {
    const char *params, *pragma, *value;
  } cases[] = {
      {"", "uring_backend", "auto"},
      {"", "uring_commit", "strict"},
      {"", "uring_lock", "shared"},
      {"", "uring_readahead", "64"},
      {"uring_readahead=120", "uring_readahead", "120"},
      {"uring_readahead=1", "uring_readahead", "1"},
      {"uring_backend=auto", "uring_backend", "auto"},
      {"uring_backend=sync", "uring_backend", "sync"},
      {"uring_backend=uring", "uring_backend", "uring"},
      {"uring_commit=strict", "uring_commit", "strict"},
      {"uring_lock=shared", "uring_lock", "shared"},
      {"uring_readahead=0", "uring_readahead", "0"},
      {"uring_backend=sync&uring_commit=strict&uring_lock=shared&uring_readahead=0", "uring_backend", "sync"},
      {"cache=private&mode=rwc&uring_backend=sync&psow=1", "uring_backend", "sync"},
      {"uringless=1&x=uring_backend", "uring_backend", "auto"}, /* not ours */
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int rc;
    char sql[64];
    if (strstr(cases[i].params, "=uring") && !ring_available()) continue;
    sqlite3 *db = open_with("t.db", cases[i].params, &rc);
    if (rc != SQLITE_OK) fail_msg("%s: %d %s", cases[i].params, rc, said);
    snprintf(sql, sizeof sql, "PRAGMA %s", cases[i].pragma);
    assert_string_equal(text(db, sql, &rc), cases[i].value);
    assert_int_equal(rc, SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES(1)", NULL, NULL, NULL),
                     SQLITE_OK);
    char expected[64];
    if (!strcmp(cases[i].pragma, "uring_backend")) {
      snprintf(expected, sizeof expected, "\"backend\"|%s", cases[i].value);
      assert_true(has(text(db, "PRAGMA uring_stats", &rc), expected));
    }
    sqlite3_close(db);
  }
  unlink(path("t.db"));
}

/* SQLite's keywords are not case-sensitive, its pragmas' values neither: upper case is the same value, shown as it is
** spelt in the documents. */
static void right_as_a_pragma(void **state) {
  static const char *const values[] = {"sync", "auto", "SYNC", "Auto", "uring", "URING", "sync"};
  int rc;
  (void)state;
  sqlite3 *db = open_with("t.db", "", &rc);
  assert_int_equal(sqlite3_exec(db, "PRAGMA journal_mode=wal; CREATE TABLE t(x)", NULL, NULL, NULL), SQLITE_OK);
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    char sql[64];
    if (strcasecmp(values[i], "uring") == 0 && !ring_available()) continue;
    if (i % 2)
      snprintf(sql, sizeof sql, "PRAGMA uring_backend=%s", values[i]);
    else
      snprintf(sql, sizeof sql, "PRAGMA Uring_Backend('%s')", values[i]);
    const char *answer = text(db, sql, &rc);
    if (rc != SQLITE_OK) fail_msg("%s: %d %s", sql, rc, sqlite3_errmsg(db));
    if (*answer) assert_int_equal(strcasecmp(answer, values[i]), 0);
    assert_int_equal(strcasecmp(text(db, "PRAGMA uring_backend", &rc), values[i]), 0);
    /* it is in force at once, also for a connection with work done and in the middle of a transaction */
    assert_int_equal(sqlite3_exec(db, "BEGIN; INSERT INTO t VALUES(zeroblob(300000))", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA uring_backend=sync; PRAGMA uring_backend=auto", NULL, NULL, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "INSERT INTO t VALUES(zeroblob(300000)); COMMIT", NULL, NULL, NULL), SQLITE_OK);
  }
  assert_string_equal(text(db, "SELECT sum(length(x))%600000 FROM t", &rc), "0");
  assert_string_equal(text(db, "PRAGMA integrity_check", &rc), "ok");
  sqlite3_close(db);
  unlink(path("t.db"));
}

/* PRAGMA uring_stats: one row, one column, JSON with every key; another VFS returns no row for any of them. */
static void statistics(void **state) {
  static const char *const keys[] = {"vfs_version",
                                     "backend",
                                     "ring",
                                     "enters",
                                     "rings",
                                     "batches",
                                     "batch_ops",
                                     "reads",
                                     "reads_inline",
                                     "writes",
                                     "writes_inline",
                                     "syncs",
                                     "syncs_inline",
                                     "resumed",
                                     "redone",
                                     "wal_batches",
                                     "wal_batch_frames",
                                     "wal_batch_bytes"};
  int rc;
  char sql[128];
  (void)state;
  sqlite3 *db = open_with("t.db", "", &rc);
  char json[8192];
  snprintf(json, sizeof json, "%s", text(db, "PRAGMA uring_stats", &rc));
  assert_int_equal(rc, SQLITE_OK);
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    sqlite3_stmt *statement = NULL;
    snprintf(sql, sizeof sql, "SELECT json_type(?, '$.%s')", keys[i]);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    sqlite3_bind_text(statement, 1, json, -1, SQLITE_STATIC);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const char *type = (const char *)sqlite3_column_text(statement, 0);
    if (!type || strcmp(type, i < 3 ? "text" : "integer") != 0)
      fail_msg("%s is %s in %s", keys[i], type ? type : "missing", json);
    sqlite3_finalize(statement);
  }
  sqlite3_close(db);
  sqlite3 *plain = NULL;
  assert_int_equal(sqlite3_open_v2(path("t.db"), &plain, SQLITE_OPEN_READWRITE, "unix"), SQLITE_OK);
  assert_string_equal(text(plain, "PRAGMA uring_stats", &rc), "");
  assert_string_equal(text(plain, "PRAGMA uring_backend", &rc), "");
  sqlite3_close(plain);
  unlink(path("t.db"));
}

/* Messages are built from what the user hands in: format characters and length may do no harm. */
static void hostile_values(void **state) {
  int rc;
  (void)state;
  char *params = malloc(4000);
  snprintf(params, 4000, "uring_backend=%%25s%%25n%%25s%%25n");
  sqlite3_close(open_with("t.db", params, &rc));
  assert_int_equal(rc, SQLITE_ERROR);
  assert_true(has(said, "uring_backend|%s%n"));
  memcpy(params, "uring_backend=", 14);
  memset(params + 14, 'a', 3000);
  params[3014] = 0;
  sqlite3_close(open_with("t.db", params, &rc));
  assert_int_equal(rc, SQLITE_ERROR);
  assert_true(has(said, "uring_backend"));
  memcpy(params, "uring_", 6);
  memset(params + 6, 'b', 3000);
  strcpy(params + 3006, "=1");
  sqlite3_close(open_with("t.db", params, &rc));
  assert_int_equal(rc, SQLITE_ERROR);
  free(params);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wrong_in_a_uri), cmocka_unit_test(wrong_as_a_pragma), cmocka_unit_test(wrong_among_right),
      cmocka_unit_test(attached),       cmocka_unit_test(right_in_a_uri),    cmocka_unit_test(right_as_a_pragma),
      cmocka_unit_test(statistics),     cmocka_unit_test(hostile_values),
  };
  int rc = cmocka_run_group_tests(tests, setup, teardown);
  if (rc == 0) printf("options: %zu wrong ones refused in URIs and PRAGMAs, right ones accepted and visible\n", WRONG);
  return rc;
}
