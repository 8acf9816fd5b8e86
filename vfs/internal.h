/*
** internal.h - what the files of vfs/ share.
**
** register.c     the sqlite3_vfs: opening, and everything by name, which is the parent's
** file.c         the sqlite3_io_methods of every file: who answers which call
** wal_writer.c   collects the frames of a transaction and hands them over as one group
** page_io.c      the runtime operations behind xRead, xWrite and xSync
** readahead.c    reading ahead: until when a page may be handed out, and who is asked; readahead.h has its parts:
**                stream.c row_lookup.c overflow.c tree_map.c leaf_blocks.c page_batch.c page_buffer.c page_advice.c
** btree_page.c   what the pages of a b-tree say about other pages
** wal_index.c    where the wal-index says that a page is
** blocks.c       memory of 1 MiB for a transaction
** waiter.c       the one place where the VFS waits
** databases.c    the list of all open database files
** inode.c        process-wide table of the files that rings may open
** options.c      URI parameters and PRAGMAs
** errors.c       errno to SQLITE_ codes, and the log
** stats.c        PRAGMA uring_stats
** fork.c         what a child process may do
*/
#ifndef URINGVFS_INTERNAL_H
#define URINGVFS_INTERNAL_H

#ifdef URINGVFS_EXTENSION
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT3
#else
#include <sqlite3.h>
#endif

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "rt.h"
#include "uringvfs.h"

typedef struct uringvfs_file uringvfs_file;
typedef struct uringvfs_inode uringvfs_inode;

#define uringvfs__container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* ---- options.c ---- */

typedef struct uringvfs_options {
  rt_backend_choice backend;
  unsigned readahead; /* pages in a batch at most, 0: no read-ahead */
} uringvfs_options;

#define URINGVFS_READAHEAD_DEFAULT 64
#define URINGVFS_READAHEAD_MAX     120

/* Reads the uring_ parameters of a main database's name into *options. A wrong one is logged and gives its SQLITE_ code. */
int uringvfs__options_from_uri(const char *name, uringvfs_options *options);
/* SQLITE_FCNTL_PRAGMA for names that begin with uring_; SQLITE_NOTFOUND for all others. args as in sqlite3_file_control. */
int uringvfs__options_pragma(uringvfs_file *f, char **args);
const char *uringvfs__backend_name(rt_backend_choice backend);

/* ---- inode.c ---- */

/*
** A regular file that rings may open by path, shared by all connections of the process. The parent's descriptor pins
** the inode number for as long as an entry is referenced, so that (dev, ino) cannot come to mean another file.
*/
struct uringvfs_inode {
  dev_t dev;
  ino_t ino;
  bool writable;
  unsigned references;
  _Atomic unsigned traits; /* RT_FILE_* of its file system, and TRAITS_KNOWN */
  rt_direct direct;
  uringvfs_inode *next;
  char path[];
};

/* Finds or makes the entry of f's file, once: f->inode, and how rings open it. Stays NULL where it is not certain that the name leads to
** the file that the parent has open, where rings are not wanted, or out of memory. */
void uringvfs__inode_find(uringvfs_file *f);
/* NULL is fine. With the last reference the rings' descriptors are closed. */
void uringvfs__inode_release(uringvfs_inode *inode);
/* RT_FILE_* of the file's file system, probed at first use. */
unsigned uringvfs__inode_traits(uringvfs_inode *inode);
void uringvfs__inode_before_fork(void);
void uringvfs__inode_after_fork(void);

/* ---- wal_writer.c ---- */

/* Where the tenure of the WAL write lock stands. */
typedef enum uringvfs_wal_state {
  URINGVFS_WAL_BUFFERING, /* frames are collected                                              */
  URINGVFS_WAL_COMMIT,    /* the header of a commit frame has come, its page has not           */
  URINGVFS_WAL_THROUGH    /* the commit frame is written: every write goes straight through    */
} uringvfs_wal_state;

typedef struct uringvfs_wal_writer {
  uringvfs_wal_state state;
  uint8_t *buffer;      /* a block, or NULL: nothing is pending                       */
  uint64_t start;       /* file offset of the pending bytes                          */
  uint32_t length;      /* of the pending bytes                                      */
  uint32_t frames;      /* whose header is among the pending bytes, for the statistics */
  bool expect_sync;     /* the last commit was followed by xSync                     */
  bool synced_by_group; /* the fdatasync of the commit's group covers all writes     */
  bool touched;         /* written to in this tenure */
  bool sync_asked;      /* xSync came in this tenure after the commit frame          */
  int sync_rc;          /* of a group's fdatasync, until an xSync returns it         */
} uringvfs_wal_writer;

/* https://www.sqlite.org/fileformat2.html, "WAL File Format" */
#define URINGVFS_WAL_HEADER_BYTES       32
#define URINGVFS_WAL_FRAME_HEADER_BYTES 24

int uringvfs__wal_write(uringvfs_file *wal, const void *data, int amount, sqlite3_int64 offset);
int uringvfs__wal_read(uringvfs_file *wal, void *data, int amount, sqlite3_int64 offset);
int uringvfs__wal_sync(uringvfs_file *wal, int flags);
int uringvfs__wal_truncate(uringvfs_file *wal, sqlite3_int64 size);
/* Where the pending bytes end; 0 if there are none. */
uint64_t uringvfs__wal_pending_end(const uringvfs_file *wal);
/* Does a part of these bytes of the WAL wait to be written? */
bool uringvfs__wal_is_pending(const uringvfs_file *wal, uint64_t offset, uint64_t amount);
/* The write lock is taken, or is about to be released: whatever is still pending was never committed. */
void uringvfs__wal_tenure_ends(uringvfs_file *wal);

/* ---- blocks.c ---- */

#define URINGVFS_BLOCK_BYTES (1024 * 1024)

/* NULL: out of memory. */
uint8_t *uringvfs__block_get(void);
void uringvfs__block_put(uint8_t *block);
void uringvfs__blocks_before_fork(void);
void uringvfs__blocks_after_fork(void);

/* ---- btree_page.c ---- */

typedef struct uringvfs_page_format {
  uint32_t page_size; /* bytes; 0: not known yet            */
  uint32_t usable;    /* without what is reserved at its end */
} uringvfs_page_format;

typedef enum uringvfs_page_kind {
  URINGVFS_PAGE_OTHER, /* not a page of a b-tree */
  URINGVFS_PAGE_INTERIOR,
  URINGVFS_PAGE_LEAF_TABLE,
  URINGVFS_PAGE_LEAF_INDEX
} uringvfs_page_kind;

/* The cells of a page whose array of cell pointers lies within it. */
typedef struct uringvfs_cells {
  const uint8_t *page;
  uint32_t usable;
  uint32_t pointers; /* offset of the array              */
  unsigned count;
  bool table; /* of a table with rowids, not of an index */
} uringvfs_cells;

/* From the beginning of page 1. False if it is not a database's. */
bool uringvfs__page_format(const uint8_t *page1, uint32_t amount, uringvfs_page_format *format);
uringvfs_page_kind uringvfs__page_kind(const uint8_t *page, uint32_t pgno);
/* False if the page is none of a b-tree, or damaged. */
bool uringvfs__page_cells(const uint8_t *page, uint32_t pgno, const uringvfs_page_format *format, uringvfs_cells *c);
/* Of an interior page, its child number i; there is one more than cells. 0: the page is damaged. */
uint32_t uringvfs__page_child(const uringvfs_cells *c, unsigned i);
/* Of a table's interior page, the largest rowid below child i. */
int64_t uringvfs__page_key(const uringvfs_cells *c, unsigned i);

/* Of an index's interior page, the integer that the record behind child i begins with; false if it is none. */
bool uringvfs__page_index_key(const uringvfs_cells *c, unsigned i, int64_t *key);

enum { URINGVFS_INTEGERS_MOST = 16, URINGVFS_COLUMN_ROWID = 0 };

/* What may be a rowid: the integers of a record, with the numbers of their columns, from 1. */
typedef struct uringvfs_integers {
  unsigned count;
  uint8_t column[URINGVFS_INTEGERS_MOST];
  int64_t value[URINGVFS_INTEGERS_MOST];
} uringvfs_integers;

/*
** Of a leaf, the integers in record i as far as it is on this page. URINGVFS_COLUMN_ROWID is of a table the row's own rowid, of an index what is at the
** end of the record: the rowid, if the table has any.
*/
void uringvfs__page_integers(const uringvfs_cells *c, unsigned i, uringvfs_integers *found);

/* The overflow pages of a cell. */
typedef struct uringvfs_chain {
  uint32_t first; /* page number */
  uint32_t pages; /* at least 1  */
} uringvfs_chain;

/* A leaf has fewer: so much of each payload stays on it that eleven fill it at any page size. */
enum { URINGVFS_LEAF_CHAINS = 16 };

/* Of a leaf, the chains of its cells in their order. Returns how many there are. */
unsigned uringvfs__page_chains(const uringvfs_cells *c, uringvfs_chain chains[URINGVFS_LEAF_CHAINS]);
/* Of an overflow page, the one behind it; 0: it is the last. */
uint32_t uringvfs__page_next_overflow(const uint8_t *page);

/* ---- wal_index.c ---- */

/* The frames from first to last that a reader finds in the WAL rather than in the database file; none if last < first. */
typedef struct uringvfs_wal_snapshot {
  uint32_t first, last;
} uringvfs_wal_snapshot;

/* Of the connection that holds this read mark. */
void uringvfs__wal_index_snapshot(const uringvfs_file *database, int mark, uringvfs_wal_snapshot *snapshot);
/* The number of the page whose content is at this offset of the WAL; 0: not known. */
uint32_t uringvfs__wal_index_page(const uringvfs_file *database, uint64_t offset, uint32_t page_size);
/* The offset in the WAL of the page's content as of the snapshot; 0: it is in the database file. */
uint64_t uringvfs__wal_index_offset(const uringvfs_file *database, const uringvfs_wal_snapshot *snapshot, uint32_t pgno,
                                    uint32_t page_size);

/* ---- readahead.c ---- */

typedef struct uringvfs_readahead uringvfs_readahead;

/* Reads from the database file or its WAL (which of the two is `file`), with what is to be asked for next. */
int uringvfs__readahead_read(uringvfs_file *database, uringvfs_file *file, void *data, int amount,
                             sqlite3_int64 offset);
/* SQLite has been given a page of the mapped database file, and is about to read it. */
void uringvfs__readahead_fetched(uringvfs_file *database, const void *page, int amount, sqlite3_int64 offset);
/* SQLite is about to write this part of the file. */
void uringvfs__readahead_written(uringvfs_file *database, bool wal, int64_t offset, int amount);
/* What was read ahead may no longer be handed out. */
void uringvfs__readahead_drop(uringvfs_file *database);
/* The locks of the database file are about to be released, or have been taken, as its members now say. */
void uringvfs__readahead_locks_changed(uringvfs_file *database);
void uringvfs__readahead_close(uringvfs_file *database);

/* ---- file.c ---- */

/* A piece of the wal-index as xShmMap returned it. */
typedef struct uringvfs_region {
  void *memory;
  size_t size;
} uringvfs_region;

typedef enum uringvfs_role {
  URINGVFS_OTHER, /* the parent's alone, but for the check that no child of a fork touches it */
  URINGVFS_DATABASE,
  URINGVFS_WAL
} uringvfs_role;

struct uringvfs_file {
  sqlite3_file base; /* must be first */
  sqlite3_file *parent;
  sqlite3_io_methods methods; /* ours, in the version and with the gaps of the parent's */
  const char *name;           /* as given to xOpen, valid until xClose; NULL for a temporary file */
  uringvfs_role role;
  unsigned generation; /* of the process that opened it, see fork.c */
  bool fork_logged;

  /* URINGVFS_DATABASE and URINGVFS_WAL */
  rt_file io;
  uringvfs_inode *inode; /* NULL: no ring has been wanted yet, or none can be had              */
  bool inode_wanted;     /* not looked for yet                                                 */
  bool writable, nofollow;
  bool unmappable;       /* page_advice.c has tried                                                     */
  bool mapped_by_sqlite; /* xFetch gave out a page                                                      */
  uint8_t slow_mappings;
  bool first_sync_done; /* by the parent, which also syncs the directory (os_unix.c, UNIXFILE_DIRSYNC) */
  int last_errno;       /* of the ring's last failure, 0: ask the parent */

  /* URINGVFS_DATABASE */
  uringvfs_options options;
  uringvfs_file *wal;
  uringvfs_file *next_database;     /* databases.c                                               */
  uringvfs_file **link_to_database; /* what points to this one in the list                   */
  uringvfs_region *regions;         /* of the wal-index, see fork.c                              */
  int region_count;
  unsigned fetched;      /* pages that xFetch gave out                                */
  bool holds_write_lock; /* of the WAL; not visible in exclusive locking mode          */
  uringvfs_page_format format;
  uringvfs_readahead *readahead;
  bool wal_index_private; /* in a child of a fork: the regions are copies               */
  int lock_level;         /* SQLITE_LOCK_*                                             */
  int read_mark;          /* of the WAL, held shared; -1: none                          */
  bool immutable;         /* the URI says so                                            */
  bool stable;            /* pages do not change: readahead.c                           */
  bool parent_only;       /* inside an atomic batch write, which belongs to the parent's descriptor */

  /* URINGVFS_WAL */
  uringvfs_file *database; /* NULL if another shim stands between SQLite and us */
  uringvfs_wal_writer writer;
};

/* Sets the methods of a file whose parent is open. */
void uringvfs__file_set_methods(uringvfs_file *f);

/* ---- page_io.c ---- */

/*
** os_unix.c masks the size of a read or write with 0x1ffff (seekAndWriteFd, seekAndRead): more in one call is cut short or,
** at a multiple of 128 KiB, taken for a full disk. Whole 4 KiB pages below that.
*/
#define URINGVFS_PARENT_MAX_BYTES 0x1f000

extern rt_pool *uringvfs__pool;

int64_t uringvfs__inline_operation(rt_op *op);
int uringvfs__read(uringvfs_file *f, void *data, int amount, sqlite3_int64 offset);
int uringvfs__write(uringvfs_file *f, const void *data, int amount, sqlite3_int64 offset);
int uringvfs__sync(uringvfs_file *f, int flags);
/* One group: the write and, if *sync says so and the group takes a ring, an fdatasync ordered behind it. Returns the write's code; *sync
** says then whether the sync was made, and *sync_rc is its code (untouched otherwise). */
int uringvfs__write_group(uringvfs_file *f, const void *data, uint32_t amount, uint64_t offset, bool *sync,
                          int *sync_rc);

/* One operation, and what the parent answered if it took the inline way. */
typedef struct uringvfs_page_op {
  rt_op op;
  int parent_rc;
} uringvfs_page_op;

/* Carries out operations prepared by rt_prep_read, on the database file and its WAL, as one group. */
void uringvfs__read_batch(uringvfs_file *database, uringvfs_page_op *ops, unsigned count);
/* Did all the bytes come? */
bool uringvfs__read_is_whole(const uringvfs_page_op *op);
/* Would this many reads take a ring? Otherwise only what lies side by side is worth reading together. */
bool uringvfs__reads_take_ring(uringvfs_file *database, unsigned count);

/* ---- waiter.c ---- */

/* Drives a step function to its end. Everything the VFS waits for goes through here. Returns 0 or a negative errno. */
int uringvfs__run(rt_loop *loop, rt_step_fn step, void *machine);

/* ---- errors.c ---- */

/* SQLITE_ codes for a ring operation that failed with a negative errno, as os_unix.c maps them; logged. */
int uringvfs__ring_error(uringvfs_file *f, rt_kind kind, int error, uint64_t offset, uint64_t amount);
/* Logs what the parent answered; returns rc. */
int uringvfs__parent_error(uringvfs_file *f, rt_kind kind, int rc, uint64_t offset, uint64_t amount);
/* A negative errno as text, into the caller's buffer. */
const char *uringvfs__errno_text(int error, char *text, size_t text_bytes);

/* ---- stats.c ---- */

void uringvfs__count_wal_batch(uint64_t bytes, uint64_t frames);
/* sqlite3_malloc'd JSON, NULL if out of memory. */
char *uringvfs__stats_json(uringvfs_file *f);

/* ---- databases.c ---- */

void uringvfs__databases_add(uringvfs_file *f);
void uringvfs__databases_remove(uringvfs_file *f);
/* The database file object that a WAL belongs to whose name is given as to xOpen; NULL: it is not known. */
uringvfs_file *uringvfs__database_of_wal(const char *name);
/* The list may be walked, by next_database, while it is locked. */
void uringvfs__databases_lock(void);
void uringvfs__databases_unlock(void);
uringvfs_file *uringvfs__databases_first(void);

/* ---- fork.c ---- */

extern _Atomic unsigned uringvfs__process_generation;

int uringvfs__fork_init(void);
/* xShmMap has returned this piece of f's wal-index. */
void uringvfs__fork_note_region(uringvfs_file *f, int region, void *memory, int size);
/* Closes what the process inherited, once; before it opens anything of its own. */
void uringvfs__fork_close_inherited(void);
/* Is this a private copy of a wal-index that must not be taken for the shared one? */
bool uringvfs__fork_is_inherited_memory(const void *memory);
/* Logs once per file that it was opened by a parent process; returns rc. */
int uringvfs__fork_refuse(uringvfs_file *f, int rc);
/* SQLITE_OK, or rc if the file was opened by a parent process. */
static inline int uringvfs__fork_check(uringvfs_file *f, int rc) {
  const unsigned now = atomic_load_explicit(&uringvfs__process_generation, memory_order_relaxed);
  return f->generation == now ? SQLITE_OK : uringvfs__fork_refuse(f, rc);
}

/* ---- register.c ---- */

extern sqlite3_vfs *uringvfs__parent_vfs;

/* Is the parent known to keep the file's bytes as they are? */
bool uringvfs__parent_keeps_bytes(void);
/* 0 if rings may be used at all, otherwise a negative errno: the kernel's answer, or -EOPNOTSUPP if the parent VFS is not one that
** is known to keep the file's bytes as they are. */
int uringvfs__ring_unavailable(void);
/* Why, as text, into the caller's buffer. */
const char *uringvfs__ring_unavailable_text(int error, char *text, size_t text_bytes);

#endif
