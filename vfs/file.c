/*
** file.c - the sqlite3_io_methods of every file: who answers which call.
**
** Database and WAL: reading, writing and syncing go through page_io.c and wal_writer.c, locks and shared memory through
** locks.c. Everything else, and every other kind of file, is answered by the parent. Each call first makes sure that
** the process did not fork since the file was opened.
*/
#include "internal.h"

#define PARENT(f, method) (f)->parent->pMethods->method

static uringvfs__file *file_of(sqlite3_file *file) { return (uringvfs__file *)file; }

/* Whose calls are its own, and not just the parent's. */
static uringvfs__role role_of(const uringvfs__file *f) { return f->plain ? URINGVFS__OTHER : f->role; }

/* ---- closing ---- */

void uringvfs__unlink_wal(uringvfs__file *wal) {
  uringvfs__file *database = wal->database;
  if (database == NULL) return;
  uringvfs__tenure_event(database, URINGVFS__EVENT_WAL, 0);
  uringvfs__wal_tenure_ends(wal);
  database->wal = NULL;
  wal->database = NULL;
}

static void close_database(uringvfs__file *f) {
  if (f->wal != NULL) uringvfs__unlink_wal(f->wal);
  uringvfs__tenure_event(f, URINGVFS__EVENT_CLOSE, 0);
  uringvfs__readahead_close(f);
  uringvfs__shared_leave(f);
}

static int file_close(sqlite3_file *file) {
  uringvfs__file *f = file_of(file);
  if (f->role == URINGVFS__WAL) uringvfs__unlink_wal(f);
  if (f->role == URINGVFS__DATABASE) close_database(f);
  int rc = uringvfs__is_closed(f) ? SQLITE_OK : PARENT(f, xClose)(f->parent);
  f->base.pMethods = NULL;
  return rc;
}

/* ---- page I/O ---- */

static __attribute__((noinline)) int read_by_parent(uringvfs__file *f, void *data, int amount, sqlite3_int64 offset) {
  int rc = PARENT(f, xRead)(f->parent, data, amount, offset);
  return uringvfs__parent_read_code(f, rc, (uint64_t)offset, (uint64_t)amount);
}

static int file_read(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset) {
  uringvfs__file *f = file_of(file);
  if (uringvfs__fork_is_foreign(f)) return uringvfs__fork_refuse(f, SQLITE_IOERR_READ);
  switch (role_of(f)) {
  case URINGVFS__DATABASE: return uringvfs__readahead_read(f, data, amount, offset, f);
  case URINGVFS__WAL: /* nearly always nothing is pending */
    if (f->writer.length > 0 || f->database == NULL) return uringvfs__wal_read(f, data, amount, offset);
    return uringvfs__readahead_read(f, data, amount, offset, f->database);
  default: return read_by_parent(f, data, amount, offset);
  }
}

static int file_write(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset) {
  uringvfs__file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_WRITE);
  if (rc != SQLITE_OK) return rc;
  switch (role_of(f)) {
  case URINGVFS__DATABASE:
    uringvfs__readahead_written(f, false, offset, amount);
    return uringvfs__write(f, data, amount, offset);
  case URINGVFS__WAL: return uringvfs__wal_write(f, data, amount, offset);
  default: break;
  }
  rc = PARENT(f, xWrite)(f->parent, data, amount, offset);
  return rc == SQLITE_OK ? rc : uringvfs__parent_error(f, RT_WRITE, rc, (uint64_t)offset, (uint64_t)amount);
}

static int file_sync(sqlite3_file *file, int flags) {
  uringvfs__file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_FSYNC);
  if (rc != SQLITE_OK) return rc;
  switch (role_of(f)) {
  case URINGVFS__DATABASE: return uringvfs__sync(f, flags);
  case URINGVFS__WAL: return uringvfs__wal_sync(f, flags);
  default: return PARENT(f, xSync)(f->parent, flags);
  }
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
  uringvfs__file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_TRUNCATE);
  if (rc != SQLITE_OK) return rc;
  uringvfs__file *database = f->role == URINGVFS__WAL ? f->database : f;
  if (database != NULL) uringvfs__readahead_drop(database);
  return role_of(f) == URINGVFS__WAL ? uringvfs__wal_truncate(f, size) : PARENT(f, xTruncate)(f->parent, size);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
  uringvfs__file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_FSTAT);
  if (rc == SQLITE_OK) rc = PARENT(f, xFileSize)(f->parent, size);
  if (rc == SQLITE_OK && role_of(f) == URINGVFS__WAL) {
    const sqlite3_int64 pending_end = (sqlite3_int64)uringvfs__wal_pending_end(f);
    if (*size < pending_end) *size = pending_end;
  }
  return rc;
}

/* ---- file controls ---- */

/* Newer than some sqlite3.h: the file is closed behind everybody's back, so that all I/O of it fails. */
#ifndef SQLITE_FCNTL_NULL_IO
#define SQLITE_FCNTL_NULL_IO 43
#endif

static int parent_control(uringvfs__file *f, int op, void *arg) {
  return PARENT(f, xFileControl) != NULL ? PARENT(f, xFileControl)(f->parent, op, arg) : SQLITE_NOTFOUND;
}

static int append_vfs_name(uringvfs__file *f, void *arg) {
  char **name = arg;
  int rc = parent_control(f, SQLITE_FCNTL_VFSNAME, arg);
  if (rc == SQLITE_OK && *name != NULL) *name = sqlite3_mprintf("uring/%z", *name);
  return rc;
}

static int database_pragma(uringvfs__file *f, char **args) {
  /* The next commit may not want the sync that the last one wanted. */
  if (f->wal != NULL && args[2] != NULL && sqlite3_stricmp(args[1], "synchronous") == 0)
    f->wal->writer.expect_sync = false;
  int rc = uringvfs__options_pragma(f, args);
  if (rc == SQLITE_OK) uringvfs__readahead_reconsider(f); /* it may be wanted otherwise now */
  return rc != SQLITE_NOTFOUND ? rc : parent_control(f, SQLITE_FCNTL_PRAGMA, args);
}

/*
** The parent closes the descriptor, and its number may be another file's a moment later: so from before that on every
** call is the parent's. What SQLite has written before must not fail.
*/
static int null_io(uringvfs__file *f, void *arg) {
  const int fd = f->io.fd;
  const bool plain = f->plain;
  int rc = role_of(f) == URINGVFS__WAL ? uringvfs__wal_flush(f) : SQLITE_OK;
  if (rc != SQLITE_OK) return rc;
  if (f->role == URINGVFS__WAL) uringvfs__unlink_wal(f);
  if (f->role == URINGVFS__DATABASE) uringvfs__readahead_close(f);
  f->plain = true;
  f->io.fd = -1;
  rc = parent_control(f, SQLITE_FCNTL_NULL_IO, arg);
  if (rc == SQLITE_OK) {
    if (f->role == URINGVFS__DATABASE) uringvfs__shared_forget(f);
    return rc;
  }
  f->plain = plain;
  f->io.fd = fd;
  return rc;
}

static int file_control(sqlite3_file *file, int op, void *arg) {
  uringvfs__file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR);
  if (rc != SQLITE_OK) return rc;
  switch (op) {
  case SQLITE_FCNTL_VFSNAME: return append_vfs_name(f, arg);
  case SQLITE_FCNTL_LAST_ERRNO:
    if (f->last_errno == 0) break;
    *(int *)arg = f->last_errno;
    return SQLITE_OK;
  case SQLITE_FCNTL_PRAGMA:
    if (f->role != URINGVFS__DATABASE) break;
    return database_pragma(f, arg);
  case SQLITE_FCNTL_NULL_IO: return null_io(f, arg);
  case SQLITE_FCNTL_SIZE_HINT:
  case SQLITE_FCNTL_CHUNK_SIZE:
    if (role_of(f) == URINGVFS__WAL) rc = uringvfs__wal_flush(f); /* it is about the size of the file */
    if (rc != SQLITE_OK) return rc;
    break;
  case SQLITE_FCNTL_COMMIT_PHASETWO:
    if (f->role != URINGVFS__DATABASE) break;
    /* Of SQLite's commits nothing is pending by now. A program may send this at any time; and a shim that encrypts
    ** the headers of frames may have made a commit frame look like another. */
    if (f->wal != NULL) rc = uringvfs__wal_flush(f->wal);
    if (rc != SQLITE_OK) return rc;
    uringvfs__tenure_event(f, URINGVFS__EVENT_COMMITTED, 0);
    break;
  case SQLITE_FCNTL_ROLLBACK_ATOMIC_WRITE:
    if (f->role == URINGVFS__DATABASE) uringvfs__readahead_drop(f); /* it may hold what is about to be undone */
    break;
  default: break;
  }
  return parent_control(f, op, arg);
}

static int file_sector_size(sqlite3_file *file) {
  uringvfs__file *f = file_of(file);
  return uringvfs__is_closed(f) ? 4096 : PARENT(f, xSectorSize)(f->parent);
}

static int file_device_characteristics(sqlite3_file *file) {
  uringvfs__file *f = file_of(file);
  return uringvfs__is_closed(f) ? 0 : PARENT(f, xDeviceCharacteristics)(f->parent);
}

/* ---- memory-mapped reads ---- */

/* fork.c wants to know what part of which mapping is in use. A mapping moves only while none of it is (os_unix.c,
** unixRemapfile). */
static void note_fetched(uringvfs__file *f, uint8_t *base, uint64_t end) {
  if (f->fetched == 0 || base != f->fetch_base) f->fetch_bytes = 0;
  f->fetch_base = base;
  if (end > f->fetch_bytes) f->fetch_bytes = end;
  f->fetched++;
}

static int file_fetch(sqlite3_file *file, sqlite3_int64 offset, int amount, void **page) {
  uringvfs__file *f = file_of(file);
  *page = NULL;
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_MMAP);
  if (rc == SQLITE_OK) rc = PARENT(f, xFetch)(f->parent, offset, amount, page);
  if (rc != SQLITE_OK || *page == NULL) return rc;
  note_fetched(f, (uint8_t *)*page - offset, (uint64_t)offset + (uint64_t)amount);
  if (role_of(f) == URINGVFS__DATABASE) uringvfs__readahead_fetched(f, *page, amount, offset);
  return SQLITE_OK;
}

static int file_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page) {
  uringvfs__file *f = file_of(file);
  if (uringvfs__is_closed(f)) return SQLITE_OK;
  if (page != NULL) f->fetched--;
  return PARENT(f, xUnfetch)(f->parent, offset, page);
}

/* ---- the table ---- */

static const sqlite3_io_methods all_methods = {
    .iVersion = 3,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = uringvfs__lock,
    .xUnlock = uringvfs__unlock,
    .xCheckReservedLock = uringvfs__check_reserved_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_device_characteristics,
    .xShmMap = uringvfs__shm_map,
    .xShmLock = uringvfs__shm_lock,
    .xShmBarrier = uringvfs__shm_barrier,
    .xShmUnmap = uringvfs__shm_unmap,
    .xFetch = file_fetch,
    .xUnfetch = file_unfetch,
};

/* The gaps of the parent's, which mean something to SQLite: without xShmMap, for instance, it refuses WAL mode
** (pager.c, sqlite3PagerWalSupported). xFileControl answers for itself, and so do the calls that SQLite makes of every
** file. */
static void mirror_gaps(sqlite3_io_methods *m, const sqlite3_io_methods *parent) {
#define GAP(method)                                                                                                    \
  if (parent->method == NULL) m->method = NULL
  GAP(xRead);
  GAP(xWrite);
  GAP(xTruncate);
  GAP(xSync);
  GAP(xFileSize);
  GAP(xLock);
  GAP(xUnlock);
  GAP(xCheckReservedLock);
  GAP(xSectorSize);
  GAP(xDeviceCharacteristics);
  if (parent->iVersion >= 2) {
    GAP(xShmMap);
    GAP(xShmLock);
    GAP(xShmBarrier);
    GAP(xShmUnmap);
  }
  if (parent->iVersion >= 3) {
    GAP(xFetch);
    GAP(xUnfetch);
  }
#undef GAP
}

void uringvfs__file_set_methods(uringvfs__file *f) {
  const sqlite3_io_methods *parent = f->parent->pMethods;
  f->methods = all_methods;
  if (parent->iVersion < f->methods.iVersion) f->methods.iVersion = parent->iVersion;
  mirror_gaps(&f->methods, parent);
  f->base.pMethods = &f->methods;
}
