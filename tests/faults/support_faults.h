/*
** support_faults.h - the same scenario, with the same fault, on the default VFS and on uring.
**
** A scenario is a function that opens databases, runs statements and writes down every result (extended code and
** message). It runs in a child process of its own for each way of opening, so that limits, filters and signals end with
** it and every run begins with a fresh library. fault_compare() runs it on the default VFS and on uring with each
** backend and demands the same transcript.
*/
#ifndef SUPPORT_FAULTS_H
#define SUPPORT_FAULTS_H

/* clang-format off: cmocka wants these before it */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <sqlite3.h>
#include <stdbool.h>

typedef struct fault_run {
  const char *way;  /* URI parameters                           */
  const char *dir;  /* empty directory, for this run alone      */
  bool reference;   /* this is the default VFS                  */
  bool ring;        /* uring_backend=uring                      */
  char *transcript; /* grows */
  size_t length;
  char *log; /* what sqlite3_log said, one line each */
  size_t log_length;
  char *notes; /* anything else the scenario wants to tell the test, one line each; not compared */
  size_t notes_length;
} fault_run;

typedef void (*fault_scenario)(fault_run *run, void *arg);

typedef struct fault_result {
  const char *way;
  int status;                     /* of the child, as waitpid gives it */
  char *transcript, *log, *notes; /* malloc'ed */
} fault_result;

#define FAULT_WAYS 4
/* The first is the default VFS. */
extern const char *const fault_ways[FAULT_WAYS];

/* Set while a fault is one that io_uring itself does not survive: uring_backend=uring is left out. */
extern bool fault_without_ring;

/* Runs the scenario in a child, in a new empty directory below base. */
fault_result fault_run_once(const char *way, const char *base, fault_scenario scenario, void *arg);
void fault_result_free(fault_result *result);

/*
** Runs it all four ways and compares. must_contain: the default VFS's transcript must have that in it (the fault was
** there); NULL: nothing. log_pattern: every uring run's log must have a line that has all of these words, separated by
** '|'; NULL: nothing. A scenario that tells "NOT MET" did not come to its fault; one way at least must have. Says what
** differs and fails the test. base: directory to work in, NULL: the test's own.
*/
void fault_compare(const char *name, const char *base, fault_scenario scenario, void *arg, const char *must_contain,
                   const char *log_pattern);

/* Group set-up and tear-down: the test's own directory. */
int fault_setup(void **state);
int fault_teardown(void **state);
const char *fault_dir(void);
/* Is there a ring here? Asked in a child. */
bool fault_ring_available(void);

/*
** A mount namespace of its own, as root or in a user namespace: what is mounted goes with the process. Returns NULL, or
** why it cannot be had. Call before fault_setup.
*/
const char *fault_namespace(void);
bool fault_real_root(void);
/* Mounts at a new directory below fault_dir(), whose path is returned (static), or NULL with *why. */
const char *fault_mount_tmpfs(const char *name, const char *options, const char **why);
const char *fault_mount_ext4(const char *name, const char *size, const char **why);
void fault_unmount(const char *path);

/* faultfs: a file system in this process's hands (prog_faultfs.c). */
const char *fault_mount_faultfs(const char *name, bool writeback, const char **why);
void fault_unmount_faultfs(void);
/* "op=write match=-wal nth=1 times=0 errno=5" and the like, see prog_faultfs.c; "clear". May be called in a
** scenario. */
void fault_inject(const char *command);
/* How often the rule has hit since it was set. */
long fault_hits(void);

/* ---- inside a scenario ---- */

void note(fault_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Told to the test, not compared. */
void tell(fault_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *run_path(fault_run *run, const char *name); /* ring of static buffers */
/* Opens and writes the code down; NULL if that failed. */
sqlite3 *run_open(fault_run *run, const char *name);
sqlite3 *run_open_flags(fault_run *run, const char *name, int flags);
/* The unix VFS, whatever the way; nothing is written down. */
sqlite3 *run_open_plain(fault_run *run, const char *name);
/* Runs, writes down "sql -> extended code, message", returns the code. */
int run_sql(fault_run *run, sqlite3 *db, const char *sql);
/* The same without writing anything down on success. */
int run_quiet(fault_run *run, sqlite3 *db, const char *sql);
/* Runs as one transaction: BEGIN, sql, COMMIT, and ROLLBACK if it failed. Writes down name and the first code that was
** not SQLITE_OK: where in the transaction it comes may differ. */
int run_transaction(fault_run *run, sqlite3 *db, const char *name, const char *sql);
/* Writes down the first column of the first row. */
sqlite3_int64 run_int(fault_run *run, sqlite3 *db, const char *sql);
void run_close(fault_run *run, sqlite3 *db);
/* Opens with the unix VFS, writes down integrity_check and the number. */
void run_verify(fault_run *run, const char *name, const char *sql);
bool log_has(const char *log, const char *pattern);

#endif
