/*
** file.c - the sqlite3_io_methods of every file: who answers which call.
**
** Database and WAL: reading, writing and syncing go through page_io.c and wal_writer.c. Everything else, and every
** other kind of file, is answered by the parent. Each call first makes sure that the process did not fork since the file was opened.
**
** All lock calls pass through here, and two of them mean something to the WAL: taking and releasing its write
** lock are where a transaction's tenure begins and ends.
*/
#include "internal.h"

#include <stdlib.h>

#define PARENT(f, method) (f)->parent->pMethods->method

static uringvfs_file *file_of(sqlite3_file *file) { return (uringvfs_file *)file; }

/* In a child of a fork, by fork.c: the calls that cannot be refused must do without the parent. */
static bool is_closed(const uringvfs_file *f) { return f->parent->pMethods == NULL; }

/* ---- closing ---- */

static int file_close(sqlite3_file *file) {
  uringvfs_file *f = file_of(file);
  if (f->role == URINGVFS_WAL) {
    uringvfs__wal_tenure_ends(f);
    if (f->database != NULL && f->database->wal == f) {
      uringvfs__readahead_drop(f->database);
      f->database->wal = NULL;
    }
  } else if (f->role == URINGVFS_DATABASE && f->wal != NULL) {
    f->wal->database = NULL;
  }
  if (f->role == URINGVFS_DATABASE) {
    uringvfs__readahead_close(f);
    uringvfs__databases_remove(f);
  }
  free(f->regions);
  f->regions = NULL;
  /* The rings' descriptors go first, while the parent's still pins the inode. */
  uringvfs__inode_release(f->inode);
  f->inode = NULL;
  int rc = is_closed(f) ? SQLITE_OK : PARENT(f, xClose)(f->parent);
  f->base.pMethods = NULL;
  return rc;
}

/* ---- page I/O ---- */

static int file_read(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_READ);
  if (rc != SQLITE_OK) return rc;
  switch (f->role) {
  case URINGVFS_DATABASE: return uringvfs__readahead_read(f, f, data, amount, offset);
  case URINGVFS_WAL: return uringvfs__wal_read(f, data, amount, offset);
  default: break;
  }
  rc = PARENT(f, xRead)(f->parent, data, amount, offset);
  if (rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ) return rc;
  return uringvfs__parent_error(f, RT_READ, rc, (uint64_t)offset, (uint64_t)amount);
}

static int file_write(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_WRITE);
  if (rc != SQLITE_OK) return rc;
  switch (f->role) {
  case URINGVFS_DATABASE:
    uringvfs__readahead_written(f, false, offset, amount);
    return uringvfs__write(f, data, amount, offset);
  case URINGVFS_WAL: return uringvfs__wal_write(f, data, amount, offset);
  default: break;
  }
  rc = PARENT(f, xWrite)(f->parent, data, amount, offset);
  return rc == SQLITE_OK ? rc : uringvfs__parent_error(f, RT_WRITE, rc, (uint64_t)offset, (uint64_t)amount);
}

static int file_sync(sqlite3_file *file, int flags) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_FSYNC);
  if (rc != SQLITE_OK) return rc;
  switch (f->role) {
  case URINGVFS_DATABASE: return uringvfs__sync(f, flags);
  case URINGVFS_WAL: return uringvfs__wal_sync(f, flags);
  default: return PARENT(f, xSync)(f->parent, flags);
  }
}

static int file_truncate(sqlite3_file *file, sqlite3_int64 size) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_TRUNCATE);
  if (rc != SQLITE_OK) return rc;
  uringvfs_file *database = f->role == URINGVFS_WAL ? f->database : f;
  if (database != NULL) uringvfs__readahead_drop(database);
  return f->role == URINGVFS_WAL ? uringvfs__wal_truncate(f, size) : PARENT(f, xTruncate)(f->parent, size);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_FSTAT);
  if (rc == SQLITE_OK) rc = PARENT(f, xFileSize)(f->parent, size);
  if (rc == SQLITE_OK && f->role == URINGVFS_WAL) {
    const sqlite3_int64 pending_end = (sqlite3_int64)uringvfs__wal_pending_end(f);
    if (*size < pending_end) *size = pending_end;
  }
  return rc;
}

/* ---- locks ---- */

static int file_lock(sqlite3_file *file, int level) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_LOCK);
  if (rc == SQLITE_OK) rc = PARENT(f, xLock)(f->parent, level);
  if (rc != SQLITE_OK || f->lock_level >= level) return rc;
  f->lock_level = level;
  uringvfs__readahead_locks_changed(f);
  return rc;
}

static int file_unlock(sqlite3_file *file, int level) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_UNLOCK);
  if (rc != SQLITE_OK) return rc;
  if (f->lock_level > level) f->lock_level = level;
  uringvfs__readahead_locks_changed(f);
  return PARENT(f, xUnlock)(f->parent, level);
}

static int file_check_reserved_lock(sqlite3_file *file, int *reserved) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_CHECKRESERVEDLOCK);
  return rc != SQLITE_OK ? rc : PARENT(f, xCheckReservedLock)(f->parent, reserved);
}

/* ---- file controls ---- */

static int append_vfs_name(uringvfs_file *f, void *arg) {
  char **name = arg;
  int rc = PARENT(f, xFileControl)(f->parent, SQLITE_FCNTL_VFSNAME, arg);
  if (rc == SQLITE_OK && *name != NULL) *name = sqlite3_mprintf("uring/%z", *name);
  return rc;
}

static int database_pragma(uringvfs_file *f, char **args) {
  /* The next commit may not want the sync that the last one wanted. */
  if (f->wal != NULL && args[2] != NULL && sqlite3_stricmp(args[1], "synchronous") == 0)
    f->wal->writer.expect_sync = false;
  int rc = uringvfs__options_pragma(f, args);
  return rc != SQLITE_NOTFOUND ? rc : PARENT(f, xFileControl)(f->parent, SQLITE_FCNTL_PRAGMA, args);
}

static int file_control(sqlite3_file *file, int op, void *arg) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR);
  if (rc != SQLITE_OK) return rc;
  switch (op) {
  case SQLITE_FCNTL_VFSNAME: return append_vfs_name(f, arg);
  case SQLITE_FCNTL_LAST_ERRNO:
    if (f->last_errno == 0) break;
    *(int *)arg = f->last_errno;
    return SQLITE_OK;
  case SQLITE_FCNTL_PRAGMA:
    if (f->role != URINGVFS_DATABASE) break;
    return database_pragma(f, arg);
  case SQLITE_FCNTL_COMMIT_PHASETWO:
    /* In exclusive locking mode nothing else says that the transaction is over. */
    if (f->wal != NULL) uringvfs__wal_tenure_ends(f->wal);
    break;
  case SQLITE_FCNTL_BEGIN_ATOMIC_WRITE:
    rc = PARENT(f, xFileControl)(f->parent, op, arg);
    f->parent_only = rc == SQLITE_OK;
    return rc;
  case SQLITE_FCNTL_COMMIT_ATOMIC_WRITE:
  case SQLITE_FCNTL_ROLLBACK_ATOMIC_WRITE:
    f->parent_only = false;
    uringvfs__readahead_drop(f); /* it may hold what only the parent's descriptor had */
    break;
  default: break;
  }
  return PARENT(f, xFileControl)(f->parent, op, arg);
}

static int file_sector_size(sqlite3_file *file) {
  uringvfs_file *f = file_of(file);
  return is_closed(f) ? 4096 : PARENT(f, xSectorSize)(f->parent);
}

static int file_device_characteristics(sqlite3_file *file) {
  uringvfs_file *f = file_of(file);
  return is_closed(f) ? 0 : PARENT(f, xDeviceCharacteristics)(f->parent);
}

/* ---- shared memory ---- */

/* wal.c; part of the file format's locking protocol */
#define WAL_WRITE_LOCK 0
#define WAL_READ_LOCK  3 /* the first of the read marks */

static int file_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_SHMMAP);
  if (rc != SQLITE_OK) return rc;
  rc = PARENT(f, xShmMap)(f->parent, region, size, extend, memory);
  if (rc != SQLITE_OK || *memory == NULL) return rc;
  void *plain = (void *)(uintptr_t)*memory;
  if (uringvfs__fork_is_inherited_memory(plain)) return uringvfs__fork_refuse(f, SQLITE_IOERR_SHMMAP);
  uringvfs__fork_note_region(f, region, plain, size);
  uringvfs__readahead_locks_changed(f); /* this is WAL mode */
  return rc;
}

static void leave_wal(uringvfs_file *f) {
  if (f->wal != NULL) uringvfs__wal_tenure_ends(f->wal);
  f->holds_write_lock = false;
}

static void set_read_mark(uringvfs_file *f, int mark) {
  f->read_mark = mark;
  uringvfs__readahead_locks_changed(f);
}

static int file_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
  uringvfs_file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_SHMLOCK);
  if (rc != SQLITE_OK) return rc;
  const bool write_lock = offset == WAL_WRITE_LOCK && (flags & SQLITE_SHM_EXCLUSIVE);
  /* Before the release: what is pending then belongs to a transaction that did not commit, and as soon as the lock is
  ** gone another writer's frames stand in its place. */
  if (write_lock && (flags & SQLITE_SHM_UNLOCK)) leave_wal(f);
  const bool read_lock = offset >= WAL_READ_LOCK && (flags & SQLITE_SHM_SHARED);
  if (read_lock && (flags & SQLITE_SHM_UNLOCK)) set_read_mark(f, -1);
  rc = PARENT(f, xShmLock)(f->parent, offset, n, flags);
  if (rc == SQLITE_OK && read_lock && (flags & SQLITE_SHM_LOCK)) set_read_mark(f, offset - WAL_READ_LOCK);
  if (rc == SQLITE_OK && write_lock && (flags & SQLITE_SHM_LOCK)) {
    leave_wal(f);
    f->holds_write_lock = true;
  }
  return rc;
}

static void file_shm_barrier(sqlite3_file *file) {
  uringvfs_file *f = file_of(file);
  if (!is_closed(f)) PARENT(f, xShmBarrier)(f->parent);
}

static int file_shm_unmap(sqlite3_file *file, int delete_flag) {
  uringvfs_file *f = file_of(file);
  /* A child of a fork may free its copy of the mapping, but the file is its parent's. */
  if (uringvfs__fork_check(f, SQLITE_IOERR) != SQLITE_OK) delete_flag = 0;
  if (is_closed(f)) return SQLITE_OK;
  f->region_count = 0;
  return PARENT(f, xShmUnmap)(f->parent, delete_flag);
}

/* ---- memory-mapped reads ---- */

static int file_fetch(sqlite3_file *file, sqlite3_int64 offset, int amount, void **page) {
  uringvfs_file *f = file_of(file);
  *page = NULL;
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_MMAP);
  if (rc == SQLITE_OK) rc = PARENT(f, xFetch)(f->parent, offset, amount, page);
  if (rc != SQLITE_OK || *page == NULL) return rc;
  f->fetched++;
  f->mapped_by_sqlite = true;
  if (f->role == URINGVFS_DATABASE) uringvfs__readahead_fetched(f, *page, amount, offset);
  return SQLITE_OK;
}

static int file_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page) {
  uringvfs_file *f = file_of(file);
  if (is_closed(f)) return SQLITE_OK;
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
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_reserved_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_device_characteristics,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
    .xFetch = file_fetch,
    .xUnfetch = file_unfetch,
};

/* The version says what the parent can do, and so do its gaps: without xShmMap, for instance, SQLite refuses WAL mode
** (pager.c, sqlite3PagerWalSupported). */
void uringvfs__file_set_methods(uringvfs_file *f) {
  const sqlite3_io_methods *parent = f->parent->pMethods;
  f->methods = all_methods;
  if (parent->iVersion < f->methods.iVersion) f->methods.iVersion = parent->iVersion;
  if (f->methods.iVersion >= 2 && parent->xShmMap == NULL) f->methods.xShmMap = NULL;
  if (f->methods.iVersion >= 3 && parent->xFetch == NULL) f->methods.xFetch = NULL;
  f->base.pMethods = &f->methods;
}
