/*
** locks.c - the lock and shared-memory methods.
**
** Locks are the parent's own, so everybody else sees them; what they mean for this connection is tenure.c's to say.
*/
#include "internal.h"

#define PARENT(f, method) (f)->parent->pMethods->method

static uringvfs__file *file_of(sqlite3_file *file) { return (uringvfs__file *)file; }

static void tell(uringvfs__file *f, uringvfs__event event, int value) {
  if (f->role == URINGVFS__DATABASE) uringvfs__tenure_event(f, event, value);
}

/* ---- the database file ---- */

int uringvfs__lock(sqlite3_file *file, int level) {
  uringvfs__file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_LOCK);
  if (rc == SQLITE_OK) rc = PARENT(f, xLock)(f->parent, level);
  if (rc == SQLITE_OK && f->tenure.lock_level < level) tell(f, URINGVFS__EVENT_LOCK, level);
  return rc;
}

int uringvfs__unlock(sqlite3_file *file, int level) {
  uringvfs__file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_UNLOCK);
  if (rc != SQLITE_OK) return rc;
  if (f->tenure.lock_level > level) tell(f, URINGVFS__EVENT_LOCK, level);
  return PARENT(f, xUnlock)(f->parent, level);
}

int uringvfs__check_reserved_lock(sqlite3_file *file, int *reserved) {
  uringvfs__file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_CHECKRESERVEDLOCK);
  return rc != SQLITE_OK ? rc : PARENT(f, xCheckReservedLock)(f->parent, reserved);
}

/* ---- the WAL ---- */

/* wal.c; part of the file format's locking protocol */
#define WAL_WRITE_LOCK 0
#define WAL_READ_LOCK  3 /* the first of the read marks */

int uringvfs__shm_lock(sqlite3_file *file, int offset, int n, int flags) {
  uringvfs__file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_SHMLOCK);
  if (rc != SQLITE_OK) return rc;
  const bool write_lock = offset == WAL_WRITE_LOCK && (flags & SQLITE_SHM_EXCLUSIVE);
  const bool read_mark = offset >= WAL_READ_LOCK && (flags & SQLITE_SHM_SHARED);
  const bool unlock = (flags & SQLITE_SHM_UNLOCK) != 0;
  /* Before the release: as soon as the lock is gone, another writer's frames stand where those of a transaction that
  ** did not commit would have. */
  if (unlock && write_lock) tell(f, URINGVFS__EVENT_WRITE_LOCK, 0);
  if (unlock && read_mark) tell(f, URINGVFS__EVENT_READ_MARK, -1);
  rc = PARENT(f, xShmLock)(f->parent, offset, n, flags);
  if (rc != SQLITE_OK || unlock) return rc;
  if (write_lock) tell(f, URINGVFS__EVENT_WRITE_LOCK, 1);
  if (read_mark) tell(f, URINGVFS__EVENT_READ_MARK, offset - WAL_READ_LOCK);
  return SQLITE_OK;
}

int uringvfs__shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory) {
  uringvfs__file *f = file_of(file);
  int rc = uringvfs__fork_check(f, SQLITE_IOERR_SHMMAP);
  if (rc != SQLITE_OK) return rc;
  /* Who asks is in WAL mode, whatever the answer: SQLite reads without a wal-index where it may not write one. */
  tell(f, URINGVFS__EVENT_WAL_INDEX, 1);
  rc = PARENT(f, xShmMap)(f->parent, region, size, extend, memory);
  /* One that may only be read comes with SQLITE_READONLY (os_unix.c, unixShmMap). */
  if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_READONLY) return rc;
  if (*memory == NULL || f->role != URINGVFS__DATABASE) return rc;
  void *plain = (void *)(uintptr_t)*memory;
  if (uringvfs__fork_is_inherited_memory(plain)) return uringvfs__fork_refuse(f, SQLITE_IOERR_SHMMAP);
  if (uringvfs__shared_note_region(f, region, size, plain)) return rc;
  *memory = NULL;
  return SQLITE_NOMEM;
}

void uringvfs__shm_barrier(sqlite3_file *file) {
  uringvfs__file *f = file_of(file);
  if (!uringvfs__is_closed(f)) PARENT(f, xShmBarrier)(f->parent);
}

int uringvfs__shm_unmap(sqlite3_file *file, int delete_flag) {
  uringvfs__file *f = file_of(file);
  /* A child of a fork may free its copy of the mapping, but the file is its parent's. */
  if (uringvfs__fork_check(f, SQLITE_IOERR) != SQLITE_OK) delete_flag = 0;
  if (uringvfs__is_closed(f)) return SQLITE_OK;
  tell(f, URINGVFS__EVENT_WAL_INDEX, 0);
  if (f->role == URINGVFS__DATABASE) uringvfs__shared_unmapped(f);
  return PARENT(f, xShmUnmap)(f->parent, delete_flag);
}
