/*
** moments.h - when the world changes around a process: before it has opened a database, while it has one open, and so
** on. What a VFS keeps of paths, devices and rings must not outlive the change.
*/
#ifndef TESTS_ENVIRONMENT_MOMENTS_H
#define TESTS_ENVIRONMENT_MOMENTS_H

#include "support.h"

typedef enum moment {
  AFTER_REGISTRATION, /* nothing was opened yet                                  */
  AFTER_A_RING,       /* a database was used, a ring made, and all closed again  */
  WHILE_OPEN,         /* a database is open, nothing was read                    */
  WHILE_USED,         /* a database is open, and a ring was made for it          */
  WHILE_READING,      /* the same, in the middle of a read transaction           */
  MOMENTS
} moment;

static const char *const moment_names[] = {"after registration", "after a ring", "while open", "while used",
                                           "while reading"};

/* No ring is wanted before set_backend: with uring_backend=uring the first read is one, when SQLite opens the file. */
static sqlite3 *open_without_ring(const char *name) {
  const char *backend = here.backend;
  if (strcmp(backend, "uring") == 0) here.backend = "auto";
  sqlite3 *db = open_noted(name, SQLITE_OPEN_READWRITE, NULL);
  here.backend = backend;
  return db;
}

static void set_backend(sqlite3 *db) {
  char sql[64];
  snprintf(sql, sizeof(sql), "PRAGMA uring_backend=%s", here.backend);
  if (here.uring && vfs_is_uring) must(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK);
}

/* "a.db" is there already. Brings it to the moment; returns the connection, or NULL. */
static sqlite3 *bring_to(moment when) {
  start_sqlite();
  if (when == AFTER_REGISTRATION) return NULL;
  if (when == WHILE_OPEN) return open_without_ring("a.db");
  sqlite3 *db = open_noted("a.db", SQLITE_OPEN_READWRITE, NULL);
  work_on_table(db);
  count_rings(db);
  if (when == WHILE_READING) say(db, "BEGIN; SELECT id, b FROM t LIMIT 3");
  if (when != AFTER_A_RING) return db;
  close_noted(db);
  return NULL;
}

/* Goes on with the connection, if there is one, after the change. */
static void go_on(sqlite3 *db, moment when) {
  if (db == NULL) return;
  set_backend(db);
  if (when == WHILE_READING) say(db, "SELECT id, b FROM t; COMMIT");
  work_on_table(db);
  close_noted(db);
}

/* A file's bytes, as they are, elsewhere. */
static void copy_file(const char *from, const char *to) {
  char block[65536];
  ssize_t n;
  const int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  must(in >= 0 && out >= 0);
  while ((n = read(in, block, sizeof(block))) > 0) must(write(out, block, (size_t)n) == n);
  must(n == 0);
  close(in);
  close(out);
}

#endif
