/*
** fuzz_options.c - URI parameters and PRAGMAs, through sqlite3_open_v2() and SQL.
**
** The first line of the input goes into a URI behind the file's name. The same URI is opened through the default VFS,
** which tells what SQLite makes of it, and through uring. Each other line is a PRAGMA of the connection: its name,
** which is put behind uring_, a `=`, and its value, in whatever bytes.
**
** Which options there are and what they allow is said here a second time, in the plainest form. Checked: what is
** allowed is taken, and read back; anything else that begins with uring_ is refused, with a message, leaves the options
** as they were and no file behind; what does not begin with uring_ makes no difference.
*/
#include "support_fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

typedef struct known {
  const char *name, *allowed[4]; /* the first is the default */
  int most;                      /* if this is not 0: a number from 0 to so much */
} known;

static const known options[] = {
    {"uring_backend", {"auto", "uring", "sync"}, 0},
    {"uring_commit", {"strict"}, 0},
    {"uring_lock", {"shared"}, 0},
    {"uring_readahead", {"64"}, 120},
};
enum { OPTIONS = sizeof options / sizeof *options };

/* What is set, by number of the option. */
typedef char settings[OPTIONS][16];

/* A number in digits and nothing else, at most `most`, or -1. */
static int small_number(const char *text, int most) {
  int number = 0;
  if (*text == 0) return -1;
  for (; *text != 0; text++) {
    if (*text < '0' || *text > '9' || number > most) return -1;
    number = number * 10 + (*text - '0');
  }
  return number <= most ? number : -1;
}

/* SQLITE_OK if it is allowed; then it is set. */
static int set(settings now, const char *name, const char *value) {
  for (int i = 0; i < OPTIONS; i++) {
    if (strcasecmp(name, options[i].name) != 0) continue;
    if (options[i].most > 0) {
      const int number = small_number(value, options[i].most);
      if (number >= 0) snprintf(now[i], sizeof now[i], "%d", number);
      return number >= 0 ? SQLITE_OK : SQLITE_ERROR;
    }
    for (int v = 0; v < 4 && options[i].allowed[v] != NULL; v++) {
      if (strcasecmp(value, options[i].allowed[v]) != 0) continue;
      if (i == 0 && v == 1 && !fuzz_rings) return SQLITE_CANTOPEN;
      strcpy(now[i], options[i].allowed[v]);
      return SQLITE_OK;
    }
  }
  return SQLITE_ERROR;
}

static bool is_known(const char *name) {
  for (int i = 0; i < OPTIONS; i++)
    if (strcasecmp(name, options[i].name) == 0) return true;
  return false;
}

/* ---- the URI ---- */

static int open_side(int side, const char *text, sqlite3 **db) {
  char *uri = sqlite3_mprintf("file:%s/o.db?%s&vfs=%s", fuzz_dir[side], text, fuzz_vfs[side]);
  FUZZ_CHECK(uri != NULL, "out of memory");
  const int rc = sqlite3_open_v2(uri, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  fuzz_trace("open %s: %d", uri, rc);
  sqlite3_free(uri);
  return rc;
}

/* What uring must say to the parameters of a name that the default VFS has accepted. */
static int expected_code(const char *name, settings now) {
  int rc = SQLITE_OK;
  const char *key;
  for (int i = 0; rc == SQLITE_OK && (key = sqlite3_uri_key(name, i)) != NULL; i++)
    if (strncasecmp(key, "uring_", 6) == 0) rc = set(now, key, key + strlen(key) + 1);
  return rc;
}

static bool file_is_there(int side) {
  char path[600];
  snprintf(path, sizeof path, "%s/o.db", fuzz_dir[side]);
  return access(path, F_OK) == 0;
}

/* The connection through uring, NULL if it was not to be had. */
static sqlite3 *check_uri(const char *text, settings now) {
  sqlite3 *db[SIDES];
  const unsigned messages = fuzz_messages;
  const int rc = open_side(SIDE_DEFAULT, text, &db[SIDE_DEFAULT]);
  const int uring_rc = open_side(SIDE_URING, text, &db[SIDE_URING]);
  const char *name = rc == SQLITE_OK ? sqlite3_db_filename(db[SIDE_DEFAULT], "main") : NULL;
  const bool in_file = name != NULL && name[0] != 0; /* not mode=memory, which has no VFS */
  if (rc != SQLITE_OK) {
    /* SQLite itself refuses it, or the file, or uring an option of it first. */
    FUZZ_CHECK(uring_rc == rc || (uring_rc == SQLITE_ERROR && fuzz_messages > messages), "open: %d and %d", rc,
               uring_rc);
  } else if (in_file) {
    const int wanted = expected_code(name, now);
    FUZZ_CHECK(uring_rc == wanted, "open: %d expected, %d on uring", wanted, uring_rc);
    FUZZ_CHECK(wanted == SQLITE_OK || fuzz_messages > messages, "nothing is logged about a wrong option");
    FUZZ_CHECK(wanted == SQLITE_OK || !file_is_there(SIDE_URING), "a refused URI has made a file");
  }
  sqlite3_close(db[SIDE_DEFAULT]);
  if (uring_rc == SQLITE_OK && in_file) return db[SIDE_URING];
  sqlite3_close(db[SIDE_URING]);
  return NULL;
}

/* ---- PRAGMAs ---- */

/* Runs one statement; *value is the first column of its only row, or NULL. */
static int run(sqlite3 *db, char *sql, char **value) {
  sqlite3_stmt *statement = NULL;
  FUZZ_CHECK(sql != NULL, "out of memory");
  int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  fuzz_trace("%s: %d %s", sql, rc, sqlite3_errmsg(db));
  *value = NULL;
  if (rc == SQLITE_OK && (rc = sqlite3_step(statement)) == SQLITE_ROW) {
    const char *text = (const char *)sqlite3_column_text(statement, 0);
    *value = sqlite3_mprintf("%s", text != NULL ? text : "");
    rc = sqlite3_step(statement);
  }
  sqlite3_finalize(statement);
  sqlite3_free(sql);
  return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static void check_settings(sqlite3 *db, settings now) {
  for (int i = 0; i < OPTIONS; i++) {
    char *value;
    const int rc = run(db, sqlite3_mprintf("PRAGMA %s", options[i].name), &value);
    FUZZ_CHECK(rc == SQLITE_OK && value != NULL && strcmp(value, now[i]) == 0, "%s: %d, %s instead of %s",
               options[i].name, rc, value, now[i]);
    sqlite3_free(value);
  }
}

static void check_stats(sqlite3 *db, const char *json) {
  char *valid;
  FUZZ_CHECK(json != NULL, "no statistics");
  const int rc = run(db, sqlite3_mprintf("SELECT json_valid(%Q)", json), &valid);
  FUZZ_CHECK(rc == SQLITE_OK && strcmp(valid, "1") == 0, "not JSON: %s", json);
  sqlite3_free(valid);
}

/* value: NULL if the line has no `=`. */
static void check_pragma(sqlite3 *db, const char *name, const char *value, settings now) {
  char *sql = value != NULL ? sqlite3_mprintf("PRAGMA \"uring_%w\"=%Q", name, value)
                            : sqlite3_mprintf("PRAGMA \"uring_%w\"", name);
  char *got, full[128];
  snprintf(full, sizeof full, "uring_%.100s", name);
  const int rc = run(db, sql, &got);
  if (strcasecmp(full, "uring_stats") == 0) {
    FUZZ_CHECK(rc == SQLITE_OK, "uring_stats: %d", rc);
    check_stats(db, got);
  } else {
    const int wanted = value != NULL ? set(now, full, value) : is_known(full) ? SQLITE_OK : SQLITE_ERROR;
    FUZZ_CHECK(rc == wanted, "PRAGMA %s=%s: %d expected, got %d", full, value, wanted, rc);
    FUZZ_CHECK(rc == SQLITE_OK || strncmp(sqlite3_errmsg(db), "uringvfs: ", 10) == 0, "the message is: %s",
               sqlite3_errmsg(db));
    FUZZ_CHECK(rc != SQLITE_OK || got != NULL, "PRAGMA %s returns nothing", full);
  }
  sqlite3_free(got);
  check_settings(db, now);
}

/* ---- the input ---- */

/* The next line as a string, without zeros, up to `bytes`. */
static bool next_line(fuzz_input *in, char *line, size_t bytes) {
  size_t length = 0;
  if (in->left == 0) return false;
  while (in->left > 0) {
    const char byte = (char)fuzz_byte(in);
    if (byte == '\n') break;
    if (byte != 0 && length < bytes - 1) line[length++] = byte;
  }
  line[length] = 0;
  return true;
}

int LLVMFuzzerInitialize(const int *argc, char ***argv) {
  (void)argc, (void)argv;
  fuzz_start();
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input in = {data, size};
  char line[4096] = "";
  settings now;
  for (int i = 0; i < OPTIONS; i++) strcpy(now[i], options[i].allowed[0]);
  next_line(&in, line, sizeof line);
  for (char *c = line; *c != 0; c++)
    if (*c == '#') *c = '&';                   /* the VFS comes last */
  if (strstr(line, "odeof") != NULL) return 0; /* os_unix.c, unixOpen: a modeof= that leads nowhere leaks */
  sqlite3 *db = check_uri(line, now);
  if (db != NULL) {
    check_settings(db, now);
    while (next_line(&in, line, sizeof line)) {
      char *value = strchr(line, '=');
      if (value != NULL) *value++ = 0;
      check_pragma(db, line, value, now);
    }
    FUZZ_CHECK(sqlite3_close(db) == SQLITE_OK, "sqlite3_close");
  }
  for (int side = 0; side < SIDES; side++) {
    char path[600];
    snprintf(path, sizeof path, "%s/o.db", fuzz_dir[side]);
    unlink(path);
  }
  return 0;
}
