/*
** support_shim.h - a VFS that stands between uringvfs and another one, in all the kinds that programs put there.
**
** It may store other bytes than it is given, lack any method, and write down every call that it gets. Time, sleep and
** randomness are its own and always the same, so two runs of one script make the same calls with the same bytes, and
** their records can be compared as text. It syncs nothing: what is told of a sync is that it was asked for. One of it
** in a process; one thread.
*/
#ifndef TESTS_CALLS_SUPPORT_SHIM_H
#define TESTS_CALLS_SUPPORT_SHIM_H

#include <stdbool.h>
#include <stdio.h>
#include <sqlite3.h>

typedef enum shim_store {
  SHIM_AS_IT_IS,
  SHIM_BYTES, /* every byte changed, wherever it is written                                                     */
  SHIM_PAGES  /* only what is written in pieces of one page, as shims do that encrypt pages and leave headers */
} shim_store;

enum { SHIM_PAGE_BYTES = 4096 }; /* the page size that SHIM_PAGES knows */

typedef struct shim_setup {
  const char *name;
  const char *below; /* the VFS that does the work; NULL: the default one */
  shim_store store;
  const char *missing; /* a method that it does not have: "xDelete", "xShmMap"; NULL: none    */
  int vfs_version;     /* of sqlite3_vfs, 0: 3                                              */
  int file_version;    /* of sqlite3_io_methods, 0: 3, or 2 where a mapping would show other bytes */
  int fail_nth_write;  /* xWrite of a database, its WAL or journal; 0: none                   */
  int fail_rc;
  sqlite3_int64 wal_bytes; /* more than these do not fit on the device: SQLITE_FULL. 0: all does */
  bool has_null_io; /* SQLITE_FCNTL_NULL_IO, which came with SQLite 3.48: all I/O of the file fails from then on */
} shim_setup;

/* Names of the methods that may be missing, NULL behind the last. */
extern const char *const shim_vfs_methods[], *const shim_file_methods[];

int shim_register(const shim_setup *setup, bool make_default);
/* Every call from here on is a line of text: file, method, arguments, a hash of what is written, what is returned.
** NULL: no more. */
void shim_record(FILE *to);

/* Asked at each xFileControl: what it returns, or SHIM_GOES_ON. NULL: nobody is asked. */
enum { SHIM_GOES_ON = -1, SHIM_NULL_IO = 43 };
extern int (*shim_on_control)(const char *file, int op, void *arg);

#endif
