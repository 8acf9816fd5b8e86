/*
** prog_count.c - runs one transaction between two marks, so that strace can tell its system calls from all others.
**
**     prog_count DIR PARAMS SYNCHRONOUS JOURNAL_MODE PAGES [CACHE_PAGES]
**
** The marks are writes of "count-begin" and "count-end" to a descriptor of /dev/null. Between them: one COMMITted
** transaction that changes PAGES pages, on a warm connection (same kind of transaction before). Prints the difference
** of PRAGMA uring_stats, if there is one.
*/
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "uringvfs.h"

static void must(sqlite3 *db, int rc, const char *what) {
  if (rc == SQLITE_OK) return;
  fprintf(stderr, "%s: %d %s\n", what, rc, sqlite3_errmsg(db));
  exit(1);
}

static void run(sqlite3 *db, const char *sql) { must(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql); }

static char *stats(sqlite3 *db) {
  sqlite3_stmt *statement = NULL;
  char *text = NULL;
  must(db, sqlite3_prepare_v2(db, "PRAGMA uring_stats", -1, &statement, NULL), "PRAGMA uring_stats");
  if (sqlite3_step(statement) == SQLITE_ROW) text = strdup((const char *)sqlite3_column_text(statement, 0));
  sqlite3_finalize(statement);
  return text ? text : strdup("{}");
}

static void mark(int fd, const char *text) {
  if (write(fd, text, strlen(text)) < 0) exit(1);
}

int main(int argc, char **argv) {
  sqlite3 *db = NULL;
  char uri[2000], sql[400];
  if (argc < 6) {
    fprintf(stderr, "usage: %s DIR PARAMS SYNCHRONOUS JOURNAL_MODE PAGES [CACHE_PAGES]\n", argv[0]);
    return 2;
  }
  int pages = atoi(argv[5]), marks = open("/dev/null", O_WRONLY | O_CLOEXEC);
  must(db, uringvfs_register(0), "registering");
  snprintf(uri, sizeof uri, "file:%s/count.db?%s", argv[1], argv[2]);
  int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  if (rc != SQLITE_OK) {
    fprintf(stderr, "opening %s: %s\n", uri, sqlite3_errmsg(db));
    return 3;
  }
  snprintf(sql, sizeof sql,
           "PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=%s; PRAGMA "
           "temp_store=memory",
           argv[4], argv[3], argc > 6 ? argv[6] : "20000");
  run(db, sql);
  run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
  /* one row a page */
  snprintf(sql, sizeof sql,
           "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<%d) INSERT INTO t SELECT i, "
           "zeroblob(3000) FROM n",
           pages);
  run(db, sql);
  run(db, "PRAGMA wal_checkpoint(TRUNCATE)");
  /* warm: the WAL's header and first syncs, rings, the cache, the wal-index's memory */
  for (int i = 0; i < 2; i++) run(db, "UPDATE t SET pad=randomblob(3000)");
  snprintf(sql, sizeof sql, "SELECT sum(length(pad)) FROM t");
  run(db, sql);
  char *before = stats(db);
  mark(marks, "count-begin");
  run(db, "BEGIN; UPDATE t SET pad=randomblob(3000); COMMIT");
  mark(marks, "count-end");
  char *after = stats(db);
  printf("%s\n%s\n", before, after);
  free(before);
  free(after);
  must(db, sqlite3_close(db), "close");
  return 0;
}
