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
** readahead/     reading ahead: which pages, and until when they may be handed out
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

#include "readahead/readahead.h"
#include "rt.h"
#include "uringvfs.h"

typedef struct uringvfs__file uringvfs__file;
typedef struct uringvfs__shared uringvfs__shared;

#define uringvfs__container(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* ---- options.c ---- */

typedef struct uringvfs__options {
  rt_backend_choice backend;
  unsigned readahead; /* pages in a batch at most, 0: no read-ahead */
} uringvfs__options;

#define URINGVFS__READAHEAD_DEFAULT 64
#define URINGVFS__READAHEAD_MAX     120

/* Reads the uring_ parameters of a main database's name into *options. A wrong one is logged and gives its SQLITE_
** code. */
int uringvfs__options_from_uri(const char *name, uringvfs__options *options);
/* SQLITE_FCNTL_PRAGMA for names that begin with uring_; SQLITE_NOTFOUND for all others. args as in
** sqlite3_file_control. */
int uringvfs__options_pragma(uringvfs__file *f, char **args);
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
/* The same of the one that reads, which is asked often. */
bool uringvfs__reading_is_original(void);

/* ---- descriptor.c ---- */

/* The parent's open file. */
typedef struct uringvfs__descriptor {
  int fd;    /* the parent's, who closes it; -1: not known, and no ring for this file */
  dev_t dev; /* with fd                                                         */
  ino_t ino;
} uringvfs__descriptor;

/* Puts wrappers over the parent's `open` and `fstat`. Once, when the VFS is registered. */
void uringvfs__descriptor_watch(sqlite3_vfs *parent);
/* The parent's xOpen. */
int uringvfs__descriptor_open(const char *name, sqlite3_file *file, int flags, int *out_flags, uringvfs__descriptor *d);

/* ---- shared.c ---- */

enum {
  URINGVFS__REGION_BYTES = 32768, /* of a piece of the wal-index (wal.c, WALINDEX_PGSZ)              */
  URINGVFS__REGION_LEVELS = 21    /* 2^21 - 1 pieces index more frames than the format can number    */
};

/* Of one database, for all connections of the process. */
struct uringvfs__shared {
  dev_t dev;
  ino_t ino;
  bool identified;     /* in the table; else of one connection only      */
  bool private_index;  /* in a child of a fork: the pieces are copies */
  unsigned generation; /* of the process, see fork.c                  */
  unsigned connections;
  unsigned mapped; /* connections that have the wal-index mapped     */
  int region_end;  /* the highest piece that was mapped, and one     */
  _Atomic(_Atomic(void *) *) regions[URINGVFS__REGION_LEVELS];
  uringvfs__shared *next; /* in the table */
};

/* When a database file is open: its object, and its place on the list of connections. SQLITE_OK or SQLITE_NOMEM. */
int uringvfs__shared_join(uringvfs__file *f);
/* Before it is closed. With the last connection of the process the idle rings go. */
void uringvfs__shared_leave(uringvfs__file *f);
/* Lets the idle rings go if no database is open: when one was made that could not be opened then. */
void uringvfs__shared_trim(void);
/* The connection's descriptor is closed, so the inode number may come to mean another file: nobody else joins the
** object. */
void uringvfs__shared_forget(uringvfs__file *f);
/* xShmMap has returned this. False: out of memory. */
bool uringvfs__shared_note_region(uringvfs__file *f, int region, int bytes, void *memory);
/* A piece of the wal-index, NULL: not mapped. For those that have the wal-index mapped, or under the lock. */
void *uringvfs__shared_region(const uringvfs__shared *s, int region);
/* The connection is about to call xShmUnmap. Nothing happens if it has nothing mapped. */
void uringvfs__shared_unmapped(uringvfs__file *f);
/* The connections may be walked, by `next`, under the lock. */
void uringvfs__shared_lock(void);
void uringvfs__shared_unlock(void);
uringvfs__file *uringvfs__connections(void);
/*
** Makes this WAL, whose name is given as to xOpen, that of its database file object, and returns it. NULL: that is not
** known, or it has one: a program has opened the file a second time, and its object goes its own way.
*/
uringvfs__file *uringvfs__database_claim(uringvfs__file *wal);

/* ---- tenure.c ---- */

/* The diagram is in tenure.c. */
typedef enum uringvfs__tenure_state {
  URINGVFS__TENURE_NONE,
  URINGVFS__TENURE_ROLLBACK,
  URINGVFS__TENURE_WAL,
  URINGVFS__TENURE_READING,
  URINGVFS__TENURE_LOCKED,
  URINGVFS__TENURE_WRITING,
  URINGVFS__TENURE_ALONE,
  URINGVFS__TENURE_FROZEN
} uringvfs__tenure_state;

typedef enum uringvfs__event {
  URINGVFS__EVENT_IMMUTABLE,  /* the URI says so                                        */
  URINGVFS__EVENT_LOCK,       /* of the database file: SQLITE_LOCK_*                    */
  URINGVFS__EVENT_READ_MARK,  /* held shared: its number, -1: none                      */
  URINGVFS__EVENT_WRITE_LOCK, /* of the WAL: 0 or 1                                     */
  URINGVFS__EVENT_WAL,        /* the WAL is open: 0 or 1                                */
  URINGVFS__EVENT_WAL_INDEX,  /* is mapped: 0 or 1                                      */
  URINGVFS__EVENT_COMMITTED,  /* a transaction has                                      */
  URINGVFS__EVENT_CLOSE       /* or the file is taken out of use: nothing is held        */
} uringvfs__event;

typedef struct uringvfs__tenure {
  uringvfs__tenure_state state;
  int lock_level;
  int read_mark; /* -1: none */
  bool immutable, write_lock, wal, wal_index;
} uringvfs__tenure;

/* Of a database file. Takes the consequences for its WAL writer and its read-ahead. */
void uringvfs__tenure_event(uringvfs__file *f, uringvfs__event event, int value);

/* ---- wal_writer.c ---- */

/* Where the tenure of the WAL write lock stands. */
typedef enum uringvfs__wal_state {
  URINGVFS__WAL_BUFFERING, /* frames are collected                                              */
  URINGVFS__WAL_COMMIT,    /* the header of a commit frame has come, its page has not           */
  URINGVFS__WAL_THROUGH    /* the commit frame is written: every write goes straight through    */
} uringvfs__wal_state;

typedef struct uringvfs__wal_writer {
  uringvfs__wal_state state;
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
} uringvfs__wal_writer;

/* https://www.sqlite.org/fileformat2.html, "WAL File Format" */
#define URINGVFS__WAL_HEADER_BYTES       32
#define URINGVFS__WAL_FRAME_HEADER_BYTES 24

int uringvfs__wal_write(uringvfs__file *wal, const void *data, int amount, sqlite3_int64 offset);
int uringvfs__wal_read(uringvfs__file *wal, void *data, int amount, sqlite3_int64 offset);
int uringvfs__wal_sync(uringvfs__file *wal, int flags);
int uringvfs__wal_truncate(uringvfs__file *wal, sqlite3_int64 size);
/* Writes the pending bytes: somebody is about to look at the file itself. */
int uringvfs__wal_flush(uringvfs__file *wal);
/* Where the pending bytes end; 0 if there are none. */
uint64_t uringvfs__wal_pending_end(const uringvfs__file *wal);
/* Does a part of these bytes of the WAL wait to be written? */
bool uringvfs__wal_is_pending(const uringvfs__file *wal, uint64_t offset, uint64_t amount);
/* A tenure begins or ends: whatever is still pending was never committed. */
void uringvfs__wal_tenure_ends(uringvfs__file *wal);

/* ---- blocks.c ---- */

#define URINGVFS__BLOCK_BYTES (1024 * 1024)

/* NULL: out of memory. */
uint8_t *uringvfs__block_get(void);
void uringvfs__block_put(uint8_t *block);
void uringvfs__blocks_before_fork(void);
void uringvfs__blocks_after_fork(void);

/* ---- wal_index.c ---- */

/* The frames from first to last that a reader finds in the WAL rather than in the database file; none if last <
** first. */
typedef struct uringvfs__wal_snapshot {
  uint32_t first, last;
} uringvfs__wal_snapshot;

/* Of the connection that holds this read mark. */
void uringvfs__wal_index_snapshot(const uringvfs__file *database, int mark, uringvfs__wal_snapshot *snapshot);
/* Frames of committed transactions, as the header says; 0: none, or not known. */
uint32_t uringvfs__wal_index_frames(const uringvfs__file *database);
/* The number of the page whose content is at this offset of the WAL; 0: not known. */
uint32_t uringvfs__wal_index_page(const uringvfs__file *database, uint64_t offset, uint32_t page_size);
/* The offset in the WAL of the page's content as of the snapshot; 0: it is in the database file. */
uint64_t uringvfs__wal_index_offset(const uringvfs__file *database, const uringvfs__wal_snapshot *snapshot,
                                    uint32_t pgno, uint32_t page_size);

/* ---- file.c ---- */

typedef enum uringvfs__role {
  URINGVFS__OTHER, /* the parent's alone, but for the check that no child of a fork touches it */
  URINGVFS__DATABASE,
  URINGVFS__WAL
} uringvfs__role;

/* How pages are read in this tenure. */
typedef enum uringvfs__reading {
  URINGVFS__READING_UNDECIDED,
  URINGVFS__READING_PLAINLY, /* one by one, by the parent                                */
  URINGVFS__READING_AHEAD    /* from memory where they are there, and ahead where not    */
} uringvfs__reading;

/* What is believed of the kernel's cache, see readahead/readahead.c. */
typedef struct uringvfs__memory {
  bool cold;         /* the last answer: not there                               */
  bool mute;         /* a read cannot be the question                            */
  bool asked;        /* what was answered last was asked, and not believed       */
  uint8_t interval;  /* pages between two questions                              */
  uint8_t left;      /* before the next one                                      */
  uint8_t pace;      /* pages between two, as long as all is there               */
  uint8_t unasked;   /* before the next one, then                                */
  uint8_t unfetched; /* the same of mapped pages                                */
} uringvfs__memory;

/* Pages that were read one by one. */
typedef struct uringvfs__lone_reads {
  uint64_t reads; /* not yet in the process's statistics */
  /* Those from memory that nobody has looked at, of each uringvfs__kind the last one and the last interior pages in
  ** their course: where they are, and in which of the two files. 0: none. */
  uint64_t noted[4], interiors[4];
  const uringvfs__file *noted_in[4], *interiors_in[4];
  unsigned interior_count;
} uringvfs__lone_reads;

struct uringvfs__file {
  sqlite3_file base; /* must be first */
  sqlite3_file *parent;
  sqlite3_io_methods methods; /* ours, in the version and with the gaps of the parent's */
  const char *name;           /* as given to xOpen, valid until xClose; NULL for a temporary file */
  uringvfs__role role;
  unsigned generation; /* of the process that opened it, see fork.c */
  bool fork_logged;

  /* URINGVFS__DATABASE and URINGVFS__WAL */
  bool plain; /* every call is passed on as it is: the parent is not trusted, or has been told to do no I/O */
  rt_file io; /* fd is the parent's descriptor */
  uringvfs__descriptor descriptor;
  bool traits_known;
  bool first_sync_done; /* by the parent, which also syncs the directory (os_unix.c, UNIXFILE_DIRSYNC) */
  int last_errno;       /* of the ring's last failure, 0: ask the parent */

  /* URINGVFS__DATABASE */
  uringvfs__options options;
  uringvfs__shared *shared;
  uringvfs__file *next, **link; /* on the list of connections: the next, and what points to this one  */
  uringvfs__tenure tenure;
  uringvfs__file *wal;
  bool mapped;          /* has a part of shared->regions mapped                                        */
  unsigned fetched;     /* pages that xFetch gave out                                                 */
  uint8_t *fetch_base;  /* where the file's first byte is in the mapping that they lie in              */
  uint64_t fetch_bytes; /* how far they reach                                                          */
  uringvfs__format format;
  uringvfs__reading reading;
  bool hot; /* pages are read from memory, as far as one knows, and that is all; else memory.unasked is 0 */
  uringvfs__memory memory;
  uringvfs__lone_reads lone;
  uringvfs__readahead *readahead;

  /* URINGVFS__WAL */
  uringvfs__file *database; /* NULL if another shim stands between SQLite and us */
  uringvfs__wal_writer writer;
};

static inline bool uringvfs__is_one_of(uringvfs__tenure_state state, unsigned states) {
  return (states >> state & 1) != 0;
}

/* May frames of a transaction that has not committed wait in memory? */
static inline bool uringvfs__may_hold_back(const uringvfs__file *database) {
  return uringvfs__is_one_of(database->tenure.state, 1u << URINGVFS__TENURE_WRITING | 1u << URINGVFS__TENURE_ALONE);
}

/*
** May a page that was read earlier be handed out? Under an exclusive lock nobody else changes it; in WAL mode nobody
** changes what the holder of a read mark finds in either file (wal.c, walCheckpoint and walRestartLog); in rollback
** mode no database page changes under SHARED. Without a visible lock (nolock=1) nothing is certain.
*/
static inline bool uringvfs__may_hand_out(const uringvfs__file *database) {
  return !database->plain &&
         uringvfs__is_one_of(database->tenure.state, 1u << URINGVFS__TENURE_ROLLBACK | 1u << URINGVFS__TENURE_READING |
                                                         1u << URINGVFS__TENURE_WRITING | 1u << URINGVFS__TENURE_ALONE |
                                                         1u << URINGVFS__TENURE_FROZEN);
}

/* In a child of a fork, by fork.c: the calls that cannot be refused must do without the parent. */
static inline bool uringvfs__is_closed(const uringvfs__file *f) { return f->parent->pMethods == NULL; }

/* The WAL belongs to its database file no longer. Nothing happens if it belongs to none. */
void uringvfs__unlink_wal(uringvfs__file *wal);
/* Sets the methods of a file whose parent is open. */
void uringvfs__file_set_methods(uringvfs__file *f);

/* ---- page_io.c ---- */

/*
** os_unix.c masks the size of a read or write with 0x1ffff (seekAndWriteFd, seekAndRead): more in one call is cut short
** or, at a multiple of 128 KiB, taken for a full disk. Whole 4 KiB pages below that.
*/
#define URINGVFS__PARENT_MAX_BYTES 0x1f000

extern rt_pool *uringvfs__pool;

int64_t uringvfs__inline_operation(rt_op *op);
int uringvfs__read(uringvfs__file *f, void *data, int amount, sqlite3_int64 offset);
int uringvfs__write(uringvfs__file *f, const void *data, int amount, sqlite3_int64 offset);
enum { URINGVFS__SYNC_STRENGTH = 0x0f }; /* of the flags of xSync: SQLITE_SYNC_NORMAL or SQLITE_SYNC_FULL */
int uringvfs__sync(uringvfs__file *f, int flags);
/* One group: the write and, if *sync says so and the group takes a ring, an fdatasync ordered behind it. Returns the
** write's code; *sync says then whether the sync was made, and *sync_rc is its code (untouched otherwise). */
int uringvfs__write_group(uringvfs__file *f, const void *data, uint32_t amount, uint64_t offset, bool *sync,
                          int *sync_rc);

/* One operation, and what the parent answered if it took the inline way. */
typedef struct uringvfs__page_op {
  rt_op op;
  int parent_rc;
} uringvfs__page_op;

/* Carries out operations prepared by rt_prep_read, on the database file and its WAL, as one group. */
void uringvfs__read_batch(uringvfs__file *database, uringvfs__page_op *ops, unsigned count);
/* Did all the bytes come? */
bool uringvfs__read_is_whole(const uringvfs__page_op *op);
/* Would this many reads take a ring? Otherwise only what lies side by side is worth reading together. */
bool uringvfs__reads_take_ring(uringvfs__file *database, unsigned count);

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
int uringvfs__ring_error(uringvfs__file *f, rt_kind kind, int error, uint64_t offset, uint64_t amount);
/* Logs what the parent answered; returns rc. */
int uringvfs__parent_error(uringvfs__file *f, rt_kind kind, int rc, uint64_t offset, uint64_t amount);
/* The same for its xRead, whose short answers are no failure. */
int uringvfs__parent_read_code(uringvfs__file *f, int rc, uint64_t offset, uint64_t amount);
/* A negative errno as text, into the caller's buffer. */
const char *uringvfs__errno_text(int error, char *text, size_t text_bytes);

/* ---- stats.c ---- */

void uringvfs__count_wal_batch(uint64_t bytes, uint64_t frames);
/* sqlite3_malloc'd JSON, NULL if out of memory. */
char *uringvfs__stats_json(uringvfs__file *f);

/* ---- fork.c ---- */

extern _Atomic unsigned uringvfs__process_generation;

int uringvfs__fork_init(void);
/* Closes what the process inherited, once; before it opens anything of its own. */
void uringvfs__fork_close_inherited(void);
/* Is this a private copy of a wal-index that must not be taken for the shared one? */
bool uringvfs__fork_is_inherited_memory(const void *memory);
/* Logs once per file that it was opened by a parent process; returns rc. */
int uringvfs__fork_refuse(uringvfs__file *f, int rc);
/* Was the file opened by a parent process? */
static inline bool uringvfs__fork_is_foreign(const uringvfs__file *f) {
  return f->generation != atomic_load_explicit(&uringvfs__process_generation, memory_order_relaxed);
}
/* SQLITE_OK, or rc if it was. */
static inline int uringvfs__fork_check(uringvfs__file *f, int rc) {
  return uringvfs__fork_is_foreign(f) ? uringvfs__fork_refuse(f, rc) : SQLITE_OK;
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
