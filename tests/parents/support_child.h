/*
** support_child.h - every case in a process of its own.
**
** The shim takes its parent VFS once in a process. So each case is a child that is forked before SQLite was used: it
** registers what it wants below and above, works, and reports in lines. The test compares reports, or just wants the
** child to end with 0.
*/
#ifndef SUPPORT_CHILD_H
#define SUPPORT_CHILD_H

/* clang-format off: cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */
#include <sqlite3.h>
#include <stdbool.h>

typedef void (*child_body)(const void *arg);

typedef struct child_result {
  int status;   /* as of waitpid(2) */
  char *report; /* to be freed      */
} child_result;

/* ---- in the test ---- */

/* Group set-up and tear-down: a directory of its own, which is the working directory. */
int child_setup(void **state);
int child_teardown(void **state);
void child_empty_directory(void);
/* The directory is left as it is. */
child_result child_run(child_body body, const void *arg);
/* It must end with 0, and its report is thrown away. `what` is for the message. */
void child_passes(child_body body, const void *arg, const char *what);
/* It must have ended with SIGKILL, by its own hand. */
void child_is_killed(child_body body, const void *arg, const char *what);
bool child_rings_available(void);

/* ---- in the child ---- */

/* A line of the report. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Reports, and ends the child as failed. */
_Noreturn void give_up(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define CHECK(condition)                                                                                               \
  do {                                                                                                                 \
    if (!(condition)) give_up(__FILE__, __LINE__, "%s", #condition);                                                   \
  } while (0)
#define CHECK_INT(actual, expected)                                                                                    \
  do {                                                                                                                 \
    const long long check_actual = (long long)(actual), check_expected = (long long)(expected);                        \
    if (check_actual != check_expected)                                                                                \
      give_up(__FILE__, __LINE__, "%s is %lld, not %s (%lld)", #actual, check_actual, #expected, check_expected);      \
  } while (0)
/* As after kill -9. */
_Noreturn void die(void);

/* sqlite3_initialize(), with sqlite3_log() in the child's hands. */
void begin(void);
/* How many messages so far have this in them. */
int logged(const char *text);

/* Parameters are those of a URI: "vfs=uring&uring_backend=sync". */
sqlite3 *db_open(const char *name, const char *parameters);
void db_close(sqlite3 *db);
/* Must succeed. */
void db_exec(sqlite3 *db, const char *sql);
/* Its extended code. */
int db_try(sqlite3 *db, const char *sql);
/* Statement by statement: codes and rows are reported. */
void db_tell(sqlite3 *db, const char *sql);
sqlite3_int64 db_int(sqlite3 *db, const char *sql);
/* First column of the first row, "" without one; a static buffer. */
const char *db_text(sqlite3 *db, const char *sql);
/* A number of PRAGMA uring_stats. */
sqlite3_int64 db_stat(sqlite3 *db, const char *key);
sqlite3_file *db_file(sqlite3 *db, int control);
/* Is this text anywhere in the file? False if there is none. */
bool file_has(const char *name, const char *text);

#endif
