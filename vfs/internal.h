/*
** internal.h - what the files of vfs/ share.
**
** register.c     the sqlite3_vfs: opening, and everything by name, which is the parent's
** trust.c        what may be assumed of the parent VFS
** system_calls.c are the parent's system calls those that SQLite was built with?
** descriptor.c   the number of the descriptor that the parent has opened
** file.c         the sqlite3_io_methods of every file: who answers which call
** locks.c        those for locks and shared memory
** tenure.c       what a connection may believe, hold back and hand out, by what it holds
** shared.c       what all connections of the process to one database have in common
** wal_writer.c   collects the frames of a transaction and hands them over as one group
** page_io.c      the runtime operations behind xRead, xWrite and xSync
** readahead.c    reading ahead: until when a page may be handed out, and who is asked; readahead.h has its parts:
**                stream.c row_lookup.c overflow.c tree_map.c leaf_blocks.c page_batch.c page_buffer.c page_advice.c
** btree_page.c   what the pages of a b-tree say about other pages
** wal_index.c    where the wal-index says that a page is
** blocks.c       memory of 1 MiB for a transaction
** waiter.c       the one place where the VFS waits
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
typedef struct uringvfs_shared uringvfs_shared;

#define uringvfs__container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* ---- options.c ---- */

typedef struct uringvfs_options {
  rt_backend_choice backend;
  unsigned readahead; /* pages in a batch at most, 0: no read-ahead */
} uringvfs_options;

#define URINGVFS_READAHEAD_DEFAULT 64
#define URINGVFS_READAHEAD_MAX     120

/* Reads the uring_ parameters of a main database's name into *options. A wrong one is logged and gives its SQLITE_
** code. */
int uringvfs__options_from_uri(const char *name, uringvfs_options *options);
/* SQLITE_FCNTL_PRAGMA for names that begin with uring_; SQLITE_NOTFOUND for all others. args as in
** sqlite3_file_control. */
int uringvfs__options_pragma(uringvfs_file *f, char **args);
const char *uringvfs__backend_name(rt_backend_choice backend);

/* ---- trust.c ---- */

/* Is it a built-in VFS of SQLite, which stores the bytes it is given? */
bool uringvfs__trusts(const sqlite3_vfs *parent);
/* Set by tests before uringvfs_register(): the parent is a recorder or a simulated disk that keeps bytes as they
** are. */
extern bool uringvfs__trust_any_parent;
/* ---- system_calls.c ---- */

/* Is this what SQLite was built with for the system call of that name? */
bool uringvfs__is_original_call(const char *name, sqlite3_syscall_ptr call);
/* This wrapper of ours stands over an original one, and counts as such. */
void uringvfs__system_call_is_wrapped(const char *name, sqlite3_syscall_ptr wrapper);
/* Does the trusted parent use none but its original system calls? Asked before each batch, less than a microsecond. */
bool uringvfs__system_calls_are_original(void);

/* ---- descriptor.c ---- */

/* The parent's open file. */
typedef struct uringvfs_descriptor {
  int fd;    /* the parent's, who closes it; -1: not known, and no ring for this file */
  dev_t dev; /* with fd                                                         */
  ino_t ino;
} uringvfs_descriptor;

/* Puts wrappers over the parent's `open` and `fstat`. Once, when the VFS is registered. */
void uringvfs__descriptor_watch(sqlite3_vfs *parent);
/* The parent's xOpen. */
int uringvfs__descriptor_open(const char *name, sqlite3_file *file, int flags, int *out_flags, uringvfs_descriptor *d);

/* ---- shared.c ---- */

enum {
  URINGVFS_REGION_BYTES = 32768, /* of a piece of the wal-index (wal.c, WALINDEX_PGSZ)              */
  URINGVFS_REGION_LEVELS = 21    /* 2^21 - 1 pieces index more frames than the format can number    */
};

/* Of one database, for all connections of the process. */
struct uringvfs_shared {
  dev_t dev;
  ino_t ino;
  bool identified;     /* in the table; else of one connection only      */
  bool private_index;  /* in a child of a fork: the pieces are copies */
  unsigned generation; /* of the process, see fork.c                  */
  unsigned connections;
  unsigned mapped; /* connections that have the wal-index mapped     */
  int region_end;  /* the highest piece that was mapped, and one     */
  _Atomic(_Atomic(void *) *) regions[URINGVFS_REGION_LEVELS];
  uringvfs_shared *next; /* in the table */
};

/* When a database file is open: its object, and its place on the list of connections. SQLITE_OK or SQLITE_NOMEM. */
int uringvfs__shared_join(uringvfs_file *f);
/* Before it is closed. With the last connection of the process the idle rings go. */
void uringvfs__shared_leave(uringvfs_file *f);
/* Lets the idle rings go if no database is open: when one was made that could not be opened then. */
void uringvfs__shared_trim(void);
/* The connection's descriptor is closed, so the inode number may come to mean another file: nobody else joins the
** object. */
void uringvfs__shared_forget(uringvfs_file *f);
/* xShmMap has returned this. False: out of memory. */
bool uringvfs__shared_note_region(uringvfs_file *f, int region, int bytes, void *memory);
/* A piece of the wal-index, NULL: not mapped. For those that have the wal-index mapped, or under the lock. */
void *uringvfs__shared_region(const uringvfs_shared *s, int region);
/* The connection is about to call xShmUnmap. Nothing happens if it has nothing mapped. */
void uringvfs__shared_unmapped(uringvfs_file *f);
/* The connections may be walked, by `next`, under the lock. */
void uringvfs__shared_lock(void);
void uringvfs__shared_unlock(void);
uringvfs_file *uringvfs__connections(void);
/*
** Makes this WAL, whose name is given as to xOpen, that of its database file object, and returns it. NULL: that is not
** known, or it has one: a program has opened the file a second time, and its object goes its own way.
*/
uringvfs_file *uringvfs__database_claim(uringvfs_file *wal);

/* ---- tenure.c ---- */

/* The diagram is in tenure.c. */
typedef enum uringvfs_tenure_state {
  URINGVFS_TENURE_NONE,
  URINGVFS_TENURE_ROLLBACK,
  URINGVFS_TENURE_WAL,
  URINGVFS_TENURE_READING,
  URINGVFS_TENURE_LOCKED,
  URINGVFS_TENURE_WRITING,
  URINGVFS_TENURE_ALONE,
  URINGVFS_TENURE_FROZEN
} uringvfs_tenure_state;

typedef enum uringvfs_tenure_event {
  URINGVFS_EVENT_IMMUTABLE,  /* the URI says so                                        */
  URINGVFS_EVENT_LOCK,       /* of the database file: SQLITE_LOCK_*                    */
  URINGVFS_EVENT_READ_MARK,  /* held shared: its number, -1: none                      */
  URINGVFS_EVENT_WRITE_LOCK, /* of the WAL: 0 or 1                                     */
  URINGVFS_EVENT_WAL,        /* the WAL is open: 0 or 1                                */
  URINGVFS_EVENT_WAL_INDEX,  /* is mapped: 0 or 1                                      */
  URINGVFS_EVENT_COMMITTED,  /* a transaction has                                      */
  URINGVFS_EVENT_CLOSE       /* or the file is taken out of use: nothing is held        */
} uringvfs_tenure_event;

typedef struct uringvfs_tenure {
  uringvfs_tenure_state state;
  int lock_level;
  int read_mark; /* -1: none */
  bool immutable, write_lock, wal, wal_index;
} uringvfs_tenure;

/* Of a database file. Takes the consequences for its WAL writer and its read-ahead. */
void uringvfs__tenure_event(uringvfs_file *f, uringvfs_tenure_event event, int value);

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
  uint64_t header_at;   /* offset of a frame header whose page comes next, 0: none   */
  uint32_t page_size;   /* of this tenure's frames, 0: not known yet                 */
  bool expect_sync;     /* the last commit was followed by an xSync(SQLITE_SYNC_NORMAL) */
  bool synced_by_group; /* the fdatasync of the commit's group covers all writes     */
  bool sync_asked;      /* xSync(SQLITE_SYNC_NORMAL) came in this tenure after the commit frame */
  int sync_rc;          /* of a group's fdatasync, until an xSync returns it         */
} uringvfs_wal_writer;

/* https://www.sqlite.org/fileformat2.html, "WAL File Format" */
#define URINGVFS_WAL_HEADER_BYTES       32
#define URINGVFS_WAL_FRAME_HEADER_BYTES 24

int uringvfs__wal_write(uringvfs_file *wal, const void *data, int amount, sqlite3_int64 offset);
int uringvfs__wal_read(uringvfs_file *wal, void *data, int amount, sqlite3_int64 offset);
int uringvfs__wal_sync(uringvfs_file *wal, int flags);
int uringvfs__wal_truncate(uringvfs_file *wal, sqlite3_int64 size);
/* Writes the pending bytes: somebody is about to look at the file itself. */
int uringvfs__wal_flush(uringvfs_file *wal);
/* Where the pending bytes end; 0 if there are none. */
uint64_t uringvfs__wal_pending_end(const uringvfs_file *wal);
/* Does a part of these bytes of the WAL wait to be written? */
bool uringvfs__wal_is_pending(const uringvfs_file *wal, uint64_t offset, uint64_t amount);
/* A tenure begins or ends: whatever is still pending was never committed. */
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
** Of a leaf, the integers in record i as far as it is on this page. URINGVFS_COLUMN_ROWID is of a table the row's own
** rowid, of an index what is at the end of the record: the rowid, if the table has any.
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

/* The frames from first to last that a reader finds in the WAL rather than in the database file; none if last <
** first. */
typedef struct uringvfs_wal_snapshot {
  uint32_t first, last;
} uringvfs_wal_snapshot;

/* Of the connection that holds this read mark. */
void uringvfs__wal_index_snapshot(const uringvfs_file *database, int mark, uringvfs_wal_snapshot *snapshot);
/* Frames of committed transactions, as the header says; 0: none, or not known. */
uint32_t uringvfs__wal_index_frames(const uringvfs_file *database);
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
/* Does anything wait to be handed out? */
bool uringvfs__readahead_holds_pages(const uringvfs_file *database);
/* SQLite is about to write this part of the file. */
void uringvfs__readahead_written(uringvfs_file *database, bool wal, int64_t offset, int amount);
/* What was read ahead may no longer be handed out. */
void uringvfs__readahead_drop(uringvfs_file *database);
/* What was read ahead may not be handed out any more: it goes. */
void uringvfs__readahead_tenure_ends(uringvfs_file *database);
/* It may, from here on. */
void uringvfs__readahead_tenure_begins(uringvfs_file *database);
void uringvfs__readahead_close(uringvfs_file *database);

/* ---- file.c ---- */

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
  bool plain; /* every call is passed on as it is: the parent is not trusted, or has been told to do no I/O */
  rt_file io; /* fd is the parent's descriptor */
  uringvfs_descriptor descriptor;
  bool traits_known;
  bool first_sync_done; /* by the parent, which also syncs the directory (os_unix.c, UNIXFILE_DIRSYNC) */
  int last_errno;       /* of the ring's last failure, 0: ask the parent */

  /* URINGVFS_DATABASE */
  uringvfs_options options;
  uringvfs_shared *shared;
  uringvfs_file *next, **link; /* on the list of connections: the next, and what points to this one  */
  uringvfs_tenure tenure;
  uringvfs_file *wal;
  bool mapped;          /* has a part of shared->regions mapped                                        */
  unsigned fetched;     /* pages that xFetch gave out                                                 */
  uint8_t *fetch_base;  /* where the file's first byte is in the mapping that they lie in              */
  uint64_t fetch_bytes; /* how far they reach                                                          */
  uringvfs_page_format format;
  uringvfs_readahead *readahead;

  /* URINGVFS_WAL */
  uringvfs_file *database; /* NULL if another shim stands between SQLite and us */
  uringvfs_wal_writer writer;
};

static inline bool uringvfs__is_one_of(uringvfs_tenure_state state, unsigned states) {
  return (states >> state & 1) != 0;
}

/* May frames of a transaction that has not committed wait in memory? */
static inline bool uringvfs__may_hold_back(const uringvfs_file *database) {
  return uringvfs__is_one_of(database->tenure.state, 1u << URINGVFS_TENURE_WRITING | 1u << URINGVFS_TENURE_ALONE);
}

/*
** May a page that was read earlier be handed out? Under an exclusive lock nobody else changes it; in WAL mode nobody
** changes what the holder of a read mark finds in either file (wal.c, walCheckpoint and walRestartLog); in rollback
** mode no database page changes under SHARED. Without a visible lock (nolock=1) nothing is certain.
*/
static inline bool uringvfs__may_hand_out(const uringvfs_file *database) {
  return !database->plain &&
         uringvfs__is_one_of(database->tenure.state, 1u << URINGVFS_TENURE_ROLLBACK | 1u << URINGVFS_TENURE_READING |
                                                         1u << URINGVFS_TENURE_WRITING | 1u << URINGVFS_TENURE_ALONE |
                                                         1u << URINGVFS_TENURE_FROZEN);
}

/* In a child of a fork, by fork.c: the calls that cannot be refused must do without the parent. */
static inline bool uringvfs__is_closed(const uringvfs_file *f) { return f->parent->pMethods == NULL; }

/* The WAL belongs to its database file no longer. Nothing happens if it belongs to none. */
void uringvfs__unlink_wal(uringvfs_file *wal);
/* Sets the methods of a file whose parent is open. */
void uringvfs__file_set_methods(uringvfs_file *f);

/* ---- page_io.c ---- */

/*
** os_unix.c masks the size of a read or write with 0x1ffff (seekAndWriteFd, seekAndRead): more in one call is cut short
** or, at a multiple of 128 KiB, taken for a full disk. Whole 4 KiB pages below that.
*/
#define URINGVFS_PARENT_MAX_BYTES 0x1f000

extern rt_pool *uringvfs__pool;

int64_t uringvfs__inline_operation(rt_op *op);
int uringvfs__read(uringvfs_file *f, void *data, int amount, sqlite3_int64 offset);
int uringvfs__write(uringvfs_file *f, const void *data, int amount, sqlite3_int64 offset);
enum { URINGVFS_SYNC_STRENGTH = 0x0f }; /* of the flags of xSync: SQLITE_SYNC_NORMAL or SQLITE_SYNC_FULL */
int uringvfs__sync(uringvfs_file *f, int flags);
/* One group: the write and, if *sync says so and the group takes a ring, an fdatasync ordered behind it. Returns the
** write's code; *sync says then whether the sync was made, and *sync_rc is its code (untouched otherwise). */
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

/* ---- locks.c: sqlite3_io_methods ---- */

int uringvfs__lock(sqlite3_file *file, int level);
int uringvfs__unlock(sqlite3_file *file, int level);
int uringvfs__check_reserved_lock(sqlite3_file *file, int *reserved);
int uringvfs__shm_lock(sqlite3_file *file, int offset, int n, int flags);
int uringvfs__shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory);
void uringvfs__shm_barrier(sqlite3_file *file);
int uringvfs__shm_unmap(sqlite3_file *file, int delete_flag);

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

/* ---- fork.c ---- */

extern _Atomic unsigned uringvfs__process_generation;

int uringvfs__fork_init(void);
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

/* Is it trusted (trust.c)? */
extern bool uringvfs__parent_trusted;
/* 0 if rings may be used at all, otherwise a negative errno: the kernel's answer, which is asked for a ring, or
** -EOPNOTSUPP if the parent VFS is not trusted. */
int uringvfs__ring_unavailable(void);
/* The same without asking: 1 rings were made, 0 none was needed yet, or the negative errno. */
int uringvfs__ring_state(void);
/* Logs what the kernel has refused, once for each kind. To be called after what may take a ring. */
void uringvfs__tell_about_refusals(void);
/* Why, as text, into the caller's buffer. */
const char *uringvfs__ring_unavailable_text(int error, char *text, size_t text_bytes);

#endif
