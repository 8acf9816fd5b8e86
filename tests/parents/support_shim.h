/*
** support_shim.h - a VFS that stands over another one, below or above the VFS under test.
**
** It can write down every call that it gets, store other bytes than it is given, write in other pieces than it is
** given, and lack methods. Several may exist in a process. One thread at a time.
*/
#ifndef SUPPORT_SHIM_H
#define SUPPORT_SHIM_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum shim_change {
  SHIM_PASSES_ON,
  SHIM_XOR_BYTES,    /* each byte of database, WAL and journal, by its place in the file                         */
  SHIM_XOR_PAGES,    /* only what is written in one piece of a page's size, as shims do that encrypt pages       */
  SHIM_MERGES,       /* WAL: a frame's header and its page in one write                                          */
  SHIM_SPLITS,       /* WAL: each page in five writes                                                            */
  SHIM_COLLECTS,     /* WAL: writes of 64 KiB, and the rest when a commit frame is complete                      */
  SHIM_FRAME_HEADERS /* WAL: the same pieces; in frame headers the size of the database after a commit is covered */
} shim_change;

enum { SHIM_PAGE = 4096, SHIM_COLLECTED = 65536, SHIM_FRAME_HEADER = 24, SHIM_WAL_HEADER = 32 };

typedef struct shim_file shim_file;

typedef struct shim {
  sqlite3_vfs vfs; /* may be changed between shim_init and registering */
  sqlite3_vfs *below;
  shim_change change;
  uint32_t key;     /* of SHIM_FRAME_HEADERS: xor'ed with that size    */
  int file_version; /* iVersion of its files                          */
  size_t missing;   /* offset in sqlite3_io_methods of what they lack; 0: nothing */
  bool record;
  bool syncs_nothing; /* xSync is not passed on: where nobody cuts the power */
  char *log;          /* lines; NULL: none yet */
  size_t log_bytes, log_room;
  shim_file *wal;        /* that is open */
  sqlite3_int64 wal_end; /* how far this shim has written into WALs */
} shim;

/* All that the VFS below can do, under this name. */
void shim_init(shim *s, const char *name, sqlite3_vfs *below);
const char *shim_log(const shim *s);
void shim_forget(shim *s);

#endif
