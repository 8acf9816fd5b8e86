/*
** notes.c - the smallest program that uses the VFS "uring" from C, as a linked library.
**
**     cc notes.c $(pkg-config --cflags --libs --static uringvfs) -o notes
**     ./notes notes.db
*/
#include <stdio.h>
#include <stdlib.h>

#include <sqlite3.h>

#include "uringvfs.h"

/* Why an open was refused, or that io_uring cannot be had, is said here and nowhere else. */
static void on_log(void *unused, int code, const char *message) {
  (void)unused;
  fprintf(stderr, "sqlite (%d): %s\n", code, message);
}

static void die(sqlite3 *db, const char *what) {
  fprintf(stderr, "notes: %s: %s\n", what, db ? sqlite3_errmsg(db) : "out of memory");
  sqlite3_close(db);
  exit(1);
}

static int print_row(void *unused, int columns, char **values, char **names) {
  (void)unused;
  (void)names;
  for (int i = 0; i < columns; i++) printf("%s%s", i ? "  " : "", values[i] ? values[i] : "NULL");
  printf("\n");
  return 0;
}

static void run(sqlite3 *db, const char *sql) {
  if (sqlite3_exec(db, sql, print_row, NULL, NULL) != SQLITE_OK) die(db, sql);
}

int main(int argc, char **argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s DATABASE\n", argv[0]);
    return 2;
  }
  sqlite3_config(SQLITE_CONFIG_LOG, on_log, NULL);

  /* Once per process. With 1 instead of 0, uring becomes the default VFS and need not be named below. */
  if (uringvfs_register(0) != SQLITE_OK) {
    fprintf(stderr, "notes: the VFS could not be registered\n");
    return 1;
  }
  sqlite3 *db = NULL;
  if (sqlite3_open_v2(argv[1], &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "uring") != SQLITE_OK) die(db, argv[1]);

  run(db, "PRAGMA journal_mode = wal");
  run(db, "CREATE TABLE IF NOT EXISTS note(id INTEGER PRIMARY KEY, text TEXT NOT NULL)");
  /* One transaction: its pages go out as one batch, the sync behind them. */
  run(db, "BEGIN");
  run(db, "INSERT INTO note(text) VALUES ('written from C'), ('through vfs=uring')");
  run(db, "COMMIT");
  run(db, "SELECT * FROM note");
  run(db, "PRAGMA uring_stats");

  if (sqlite3_close(db) != SQLITE_OK) die(db, "close");
  return 0;
}
