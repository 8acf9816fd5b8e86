/*
** register.c - the sqlite3_vfs "uring": a shim over the VFS that was the default when it was registered.
**
** It opens files and answers nothing else itself: names, permissions, temporary files, time and randomness are the parent's.
*/
#include "internal.h"

#include <errno.h>
#include <string.h>

sqlite3_vfs *uringvfs__parent_vfs;

/* Builds that test with rings everywhere set it to RT_BACKEND_URING. */
#ifndef URINGVFS_DEFAULT_BACKEND
#define URINGVFS_DEFAULT_BACKEND RT_BACKEND_AUTO
#endif

/* ---- may rings be used? ---- */

/*
** A ring reads and writes the file itself. Below a parent that stores something else than the bytes it is given (encryption,
** compression, checksums) that would destroy the database, so only SQLite's own unix family is known to be safe.
*/
bool uringvfs__parent_keeps_bytes(void) {
  const char *name = uringvfs__parent_vfs->zName;
  return strcmp(name, "unix") == 0 || strncmp(name, "unix-", 5) == 0;
}

int uringvfs__ring_unavailable(void) {
  if (!uringvfs__parent_keeps_bytes()) return -EOPNOTSUPP;
  return rt_pool_probe(uringvfs__pool);
}

const char *uringvfs__ring_unavailable_text(int error, char *text, size_t text_bytes) {
  if (error != -EOPNOTSUPP) return uringvfs__errno_text(error, text, text_bytes);
  sqlite3_snprintf((int)text_bytes, text, "the parent VFS \"%s\" may store other bytes than it is given",
                   uringvfs__parent_vfs->zName);
  return text;
}

/* Once per process: auto goes on without rings. */
static void tell_about_missing_ring(void) {
  static atomic_flag told = ATOMIC_FLAG_INIT;
  const int unavailable = uringvfs__ring_unavailable();
  if (unavailable == 0 || atomic_flag_test_and_set(&told)) return;
  char text[128];
  sqlite3_log(SQLITE_NOTICE, "uringvfs: io_uring cannot be had (%s); the synchronous backend is used",
              uringvfs__ring_unavailable_text(unavailable, text, sizeof text));
}

/* ---- opening ---- */

/* Before the parent opens anything: a wrong option must not leave a new empty file behind. */
static int prepare_database(uringvfs_file *f, int flags) {
  f->role = URINGVFS_DATABASE;
  f->options = (uringvfs_options){.backend = URINGVFS_DEFAULT_BACKEND, .readahead = URINGVFS_READAHEAD_DEFAULT};
  /* Without SQLITE_OPEN_URI no parameters follow the name (os_unix.c, fillInUnixFile). */
  const bool parameters = (flags & SQLITE_OPEN_URI) != 0;
  int rc = parameters ? uringvfs__options_from_uri(f->name, &f->options) : SQLITE_OK;
  f->immutable = parameters && sqlite3_uri_boolean(f->name, "immutable", 0);
  if (rc == SQLITE_OK && f->options.backend == RT_BACKEND_AUTO) tell_about_missing_ring();
  return rc;
}

/* Without a database file (another shim is above, or a program calls xOpen itself) every write goes through. */
static void link_wal(uringvfs_file *f) {
  f->role = URINGVFS_WAL;
  f->database = uringvfs__database_of_wal(f->name);
  if (f->database == NULL) return;
  f->database->wal = f;
  uringvfs__readahead_locks_changed(f->database); /* this is WAL mode */
}

static int uring_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags) {
  uringvfs_file *f = (uringvfs_file *)file;
  sqlite3_vfs *parent = uringvfs__parent_vfs;
  (void)vfs;
  memset(f, 0, sizeof *f);
  f->parent = (sqlite3_file *)(f + 1);
  f->parent->pMethods = NULL;
  f->name = name;
  f->read_mark = -1;
  f->generation = atomic_load_explicit(&uringvfs__process_generation, memory_order_relaxed);

  uringvfs__fork_close_inherited();

  int rc = SQLITE_OK, opened_flags = 0;
  if ((flags & SQLITE_OPEN_MAIN_DB) && name != NULL) rc = prepare_database(f, flags);
  if (rc == SQLITE_OK) rc = parent->xOpen(parent, name, f->parent, flags, &opened_flags);
  if (rc != SQLITE_OK) {
    if (f->parent->pMethods != NULL) f->parent->pMethods->xClose(f->parent);
    f->base.pMethods = NULL;
    return rc;
  }
  if (out_flags != NULL) *out_flags = opened_flags;
  if ((flags & SQLITE_OPEN_WAL) && name != NULL) link_wal(f);
  if (f->role != URINGVFS_OTHER) {
    rt_file_init_inline(&f->io, uringvfs__inline_operation, NULL);
    f->io.inline_max = URINGVFS_PARENT_MAX_BYTES;
    f->inode_wanted = uringvfs__parent_keeps_bytes();
    f->writable = (opened_flags & SQLITE_OPEN_READWRITE) != 0;
    f->nofollow = (flags & SQLITE_OPEN_NOFOLLOW) != 0;
    /* A WAL is not asked later whether its name still leads to it: HAS_MOVED is blind for it (os_unix.c, fileHasMoved). */
    if (f->role == URINGVFS_WAL) uringvfs__inode_find(f);
  }
  if (f->role == URINGVFS_DATABASE) {
    uringvfs__databases_add(f);
    uringvfs__readahead_locks_changed(f);
  }
  uringvfs__file_set_methods(f);
  return SQLITE_OK;
}

/* ---- by name: the parent's ---- */

static int uring_delete(sqlite3_vfs *vfs, const char *name, int sync_directory) {
  (void)vfs;
  return uringvfs__parent_vfs->xDelete(uringvfs__parent_vfs, name, sync_directory);
}

static int uring_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
  (void)vfs;
  return uringvfs__parent_vfs->xAccess(uringvfs__parent_vfs, name, flags, result);
}

static int uring_full_pathname(sqlite3_vfs *vfs, const char *name, int bytes, char *full) {
  (void)vfs;
  return uringvfs__parent_vfs->xFullPathname(uringvfs__parent_vfs, name, bytes, full);
}

static void *uring_dlopen(sqlite3_vfs *vfs, const char *path) {
  (void)vfs;
  return uringvfs__parent_vfs->xDlOpen(uringvfs__parent_vfs, path);
}

static void uring_dlerror(sqlite3_vfs *vfs, int bytes, char *message) {
  (void)vfs;
  uringvfs__parent_vfs->xDlError(uringvfs__parent_vfs, bytes, message);
}

static void (*uring_dlsym(sqlite3_vfs *vfs, void *library, const char *symbol))(void) {
  (void)vfs;
  return uringvfs__parent_vfs->xDlSym(uringvfs__parent_vfs, library, symbol);
}

static void uring_dlclose(sqlite3_vfs *vfs, void *library) {
  (void)vfs;
  uringvfs__parent_vfs->xDlClose(uringvfs__parent_vfs, library);
}

static int uring_randomness(sqlite3_vfs *vfs, int bytes, char *out) {
  (void)vfs;
  return uringvfs__parent_vfs->xRandomness(uringvfs__parent_vfs, bytes, out);
}

static int uring_sleep(sqlite3_vfs *vfs, int microseconds) {
  (void)vfs;
  return uringvfs__parent_vfs->xSleep(uringvfs__parent_vfs, microseconds);
}

static int uring_current_time(sqlite3_vfs *vfs, double *julian_day) {
  (void)vfs;
  return uringvfs__parent_vfs->xCurrentTime(uringvfs__parent_vfs, julian_day);
}

static int uring_get_last_error(sqlite3_vfs *vfs, int bytes, char *message) {
  (void)vfs;
  return uringvfs__parent_vfs->xGetLastError(uringvfs__parent_vfs, bytes, message);
}

static int uring_current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *milliseconds) {
  (void)vfs;
  return uringvfs__parent_vfs->xCurrentTimeInt64(uringvfs__parent_vfs, milliseconds);
}

static int uring_set_system_call(sqlite3_vfs *vfs, const char *name, sqlite3_syscall_ptr call) {
  (void)vfs;
  return uringvfs__parent_vfs->xSetSystemCall(uringvfs__parent_vfs, name, call);
}

static sqlite3_syscall_ptr uring_get_system_call(sqlite3_vfs *vfs, const char *name) {
  (void)vfs;
  return uringvfs__parent_vfs->xGetSystemCall(uringvfs__parent_vfs, name);
}

static const char *uring_next_system_call(sqlite3_vfs *vfs, const char *name) {
  (void)vfs;
  return uringvfs__parent_vfs->xNextSystemCall(uringvfs__parent_vfs, name);
}

static sqlite3_vfs uring_vfs = {
    .iVersion = 3,
    .zName = "uring",
    .xOpen = uring_open,
    .xDelete = uring_delete,
    .xAccess = uring_access,
    .xFullPathname = uring_full_pathname,
    .xDlOpen = uring_dlopen,
    .xDlError = uring_dlerror,
    .xDlSym = uring_dlsym,
    .xDlClose = uring_dlclose,
    .xRandomness = uring_randomness,
    .xSleep = uring_sleep,
    .xCurrentTime = uring_current_time,
    .xGetLastError = uring_get_last_error,
    .xCurrentTimeInt64 = uring_current_time_int64,
    .xSetSystemCall = uring_set_system_call,
    .xGetSystemCall = uring_get_system_call,
    .xNextSystemCall = uring_next_system_call,
};

/* ---- registering ---- */

/* Takes the default VFS as parent and mirrors what it can do. */
static int adopt_parent(void) {
  sqlite3_vfs *parent = sqlite3_vfs_find(NULL);
  if (parent == NULL) return SQLITE_ERROR;
  if (rt_pool_open(&uringvfs__pool, &(rt_pool_options){0}) != 0) return SQLITE_NOMEM;
  if (uringvfs__fork_init() != 0) {
    rt_pool_close(uringvfs__pool);
    return SQLITE_NOMEM;
  }
  if (parent->iVersion < uring_vfs.iVersion) uring_vfs.iVersion = parent->iVersion;
  uring_vfs.mxPathname = parent->mxPathname;
  uring_vfs.szOsFile = (int)sizeof(uringvfs_file) + parent->szOsFile;
  /* SQLite falls back on xCurrentTime, and on a missing xDlOpen (SQLITE_OMIT_LOAD_EXTENSION), only if it sees the gap. */
  if (parent->iVersion < 2 || parent->xCurrentTimeInt64 == NULL) uring_vfs.xCurrentTimeInt64 = NULL;
  if (parent->xDlOpen == NULL) uring_vfs.xDlOpen = NULL;
  if (parent->xGetLastError == NULL) uring_vfs.xGetLastError = NULL;
  if (parent->iVersion >= 3 && parent->xSetSystemCall == NULL) uring_vfs.iVersion = 2;
  uringvfs__parent_vfs = parent;
  return SQLITE_OK;
}

int uringvfs_register(int make_default) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
#ifndef URINGVFS_EXTENSION
  /* SQLITE_EXTRA_INIT runs inside sqlite3_initialize(), which then returns at once. */
  int initialized = sqlite3_initialize();
  if (initialized != SQLITE_OK) return initialized;
#endif
  pthread_mutex_lock(&mutex);
  const bool registered = uringvfs__parent_vfs != NULL;
  int rc = registered ? SQLITE_OK : adopt_parent();
  /* Registering anew without make_default would take the default away from whoever asked for it. */
  if (rc == SQLITE_OK && (!registered || make_default)) rc = sqlite3_vfs_register(&uring_vfs, make_default);
  pthread_mutex_unlock(&mutex);
  return rc;
}
