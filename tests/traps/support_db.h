/*
** support_db.h - what every test here needs: a directory of its own, databases in it, and a way to see what a killed
** process would have left behind.
*/
#ifndef SUPPORT_DB_H
#define SUPPORT_DB_H

/* clang-format off: cmocka wants these before it */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <sqlite3.h>
#include <stdbool.h>

#include "support_recorder.h"

#define URING_SYNC "vfs=uring&uring_backend=sync"
#define URING_RING "vfs=uring&uring_backend=uring"
#define URING_AUTO "vfs=uring&uring_backend=auto"
#define PLAIN      "vfs=" RECORDER_VFS

/* Group set-up and tear-down: makes the directory, installs the recorder, registers uring over it; removes the
** directory. */
int support_setup(void **state);
int support_teardown(void **state);
/* Test set-up: forgets the log, empties the directory. */
int support_reset(void **state);

/* Path of a file in the directory; a ring of 8 static buffers. */
const char *support_path(const char *name);
/* Opens file:<dir>/<name>?<params>; fails the test if it cannot. */
sqlite3 *db_open(const char *name, const char *params);
/* The same, but returns the code. *db must be closed in any case. */
int db_try_open(const char *name, const char *params, sqlite3 **db);
void db_close(sqlite3 *db);
/* Must succeed. */
void db_exec(sqlite3 *db, const char *sql);
/* Formatted. */
void db_execf(sqlite3 *db, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Returns the extended code. */
int db_try(sqlite3 *db, const char *sql);
sqlite3_int64 db_int(sqlite3 *db, const char *sql);
/* First column of the first row, or "" without a row; static buffer. */
const char *db_text(sqlite3 *db, const char *sql);
/* A number out of the JSON object of PRAGMA uring_stats; fails the test if the key is missing. */
sqlite3_int64 db_stat(sqlite3 *db, const char *key);
/* integrity_check must say ok. */
void db_check(sqlite3 *db);
/* Is there a ring in this environment? */
bool ring_available(void);

/*
** Copies database, WAL and journal (not the wal-index) as they are now in the kernel, opens the copy with the unix VFS
** (which recovers it), checks its integrity and returns the number that sql gives. So: what a process killed now would
** leave behind. May be called inside a hook.
*/
sqlite3_int64 killed_now(const char *name, const char *sql);

/* The process's last sqlite3_log message that has needle in it, or NULL. Messages since support_reset. */
const char *log_find(const char *needle);
int log_count(const char *needle);

#endif
