/*
** support_shim.c - see support_shim.h.
*/
#include "support_shim.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct shim_file {
  sqlite3_file base;
  sqlite3_file *real;
  sqlite3_io_methods methods;
  char name[64];
  int kind; /* SQLITE_OPEN_MAIN_DB, _WAL, _MAIN_JOURNAL, or 0 */
  bool no_io;
} shim_file;

static sqlite3_vfs shim_vfs, *below;
static shim_setup setup;
static FILE *record;
static int writes;

int (*shim_on_control)(const char *file, int op, void *arg);

#define REAL(f)   (((shim_file *)(f))->real)
#define NO_IO(f)  ((shim_file *)(f))->no_io
#define NAME(f)   (((shim_file *)(f))->name)
#define CALL(f)   REAL(f)->pMethods
#define LL(x)     ((long long)(x))
#define NOTE(...) (record != NULL ? (void)fprintf(record, __VA_ARGS__) : (void)0)

void shim_record(FILE *to) { record = to; }

static const char *base_name(const char *path) {
  const char *slash = path != NULL ? strrchr(path, '/') : NULL;
  return slash != NULL ? slash + 1 : path != NULL ? path : "(none)";
}

/* FNV-1a */
static unsigned hash(const void *data, int n) {
  const unsigned char *p = data;
  unsigned h = 2166136261u;
  for (int i = 0; i < n; i++) h = (h ^ p[i]) * 16777619u;
  return h;
}

/* ---- what is stored ---- */

static void change(unsigned char *to, const unsigned char *from, int n) {
  for (int i = 0; i < n; i++) to[i] = from[i] ^ (unsigned char)(0xa5 + (i % SHIM_PAGE_BYTES) * 7);
}

static void change_bytes(unsigned char *to, const unsigned char *from, int n) {
  for (int i = 0; i < n; i++) to[i] = from[i] ^ 0x5a;
}

/* A part of a page of the database. */
static int read_part(sqlite3_file *f, unsigned char *data, int n, sqlite3_int64 offset) {
  unsigned char page[SHIM_PAGE_BYTES];
  for (int done = 0; done < n;) {
    const sqlite3_int64 at = (offset + done) / SHIM_PAGE_BYTES * SHIM_PAGE_BYTES;
    const int skip = (int)(offset + done - at), left = SHIM_PAGE_BYTES - skip,
              amount = left < n - done ? left : n - done;
    int rc = CALL(f)->xRead(REAL(f), page, SHIM_PAGE_BYTES, at);
    if (rc != SQLITE_OK) {
      memset(data + done, 0, (size_t)(n - done));
      return rc;
    }
    change(page, page, SHIM_PAGE_BYTES);
    memcpy(data + done, page + skip, (size_t)amount);
    done += amount;
  }
  return SQLITE_OK;
}

static int stored_read(sqlite3_file *f, void *data, int n, sqlite3_int64 offset) {
  if (NO_IO(f)) return SQLITE_IOERR_READ;
  const int kind = ((shim_file *)f)->kind;
  if (setup.store == SHIM_PAGES && kind == SQLITE_OPEN_MAIN_DB && (n != SHIM_PAGE_BYTES || offset % SHIM_PAGE_BYTES))
    return read_part(f, data, n, offset);
  int rc = CALL(f)->xRead(REAL(f), data, n, offset);
  if (rc != SQLITE_OK || kind == 0) return rc;
  if (setup.store == SHIM_BYTES) change_bytes(data, data, n);
  if (setup.store != SHIM_PAGES) return rc;
  /* SQLite reads a frame of the WAL as a whole when it recovers, and the page of one otherwise. */
  if (n == SHIM_PAGE_BYTES) change(data, data, n);
  if (kind == SQLITE_OPEN_WAL && n == SHIM_PAGE_BYTES + 24)
    change((unsigned char *)data + 24, (unsigned char *)data + 24, SHIM_PAGE_BYTES);
  return rc;
}

static int stored_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 offset) {
  if (NO_IO(f)) return SQLITE_IOERR_WRITE;
  const bool all = setup.store == SHIM_BYTES, page = setup.store == SHIM_PAGES && n == SHIM_PAGE_BYTES;
  if (((shim_file *)f)->kind == 0 || (!all && !page)) return CALL(f)->xWrite(REAL(f), data, n, offset);
  unsigned char *changed = malloc((size_t)n);
  if (changed == NULL) return SQLITE_NOMEM;
  if (all)
    change_bytes(changed, data, n);
  else
    change(changed, data, n);
  int rc = CALL(f)->xWrite(REAL(f), changed, n, offset);
  free(changed);
  return rc;
}

/* ---- file methods ---- */

static int shim_close(sqlite3_file *f) {
  int rc = CALL(f)->xClose(REAL(f));
  NOTE("%s xClose = %d\n", NAME(f), rc);
  f->pMethods = NULL;
  return rc;
}

static int shim_read(sqlite3_file *f, void *data, int n, sqlite3_int64 offset) {
  int rc = stored_read(f, data, n, offset);
  NOTE("%s xRead %d at %lld = %d %08x\n", NAME(f), n, LL(offset), rc, hash(data, n));
  return rc;
}

static int shim_write(sqlite3_file *f, const void *data, int n, sqlite3_int64 offset) {
  const bool fail = ((shim_file *)f)->kind != 0 && ++writes == setup.fail_nth_write;
  const bool full = ((shim_file *)f)->kind == SQLITE_OPEN_WAL && setup.wal_bytes != 0 && offset + n > setup.wal_bytes;
  int rc = fail ? setup.fail_rc : full ? SQLITE_FULL : stored_write(f, data, n, offset);
  NOTE("%s xWrite %d at %lld %08x = %d\n", NAME(f), n, LL(offset), hash(data, n), rc);
  return rc;
}

static int shim_truncate(sqlite3_file *f, sqlite3_int64 size) {
  int rc = NO_IO(f) ? SQLITE_IOERR_TRUNCATE : CALL(f)->xTruncate(REAL(f), size);
  NOTE("%s xTruncate %lld = %d\n", NAME(f), LL(size), rc);
  return rc;
}

static int shim_sync(sqlite3_file *f, int flags) {
  NOTE("%s xSync %x\n", NAME(f), (unsigned)flags);
  return NO_IO(f) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int shim_size(sqlite3_file *f, sqlite3_int64 *size) {
  int rc = NO_IO(f) ? SQLITE_IOERR_FSTAT : CALL(f)->xFileSize(REAL(f), size);
  NOTE("%s xFileSize = %d %lld\n", NAME(f), rc, LL(*size));
  return rc;
}

static int shim_lock(sqlite3_file *f, int level) {
  int rc = CALL(f)->xLock(REAL(f), level);
  NOTE("%s xLock %d = %d\n", NAME(f), level, rc);
  return rc;
}

static int shim_unlock(sqlite3_file *f, int level) {
  int rc = CALL(f)->xUnlock(REAL(f), level);
  NOTE("%s xUnlock %d = %d\n", NAME(f), level, rc);
  return rc;
}

static int shim_check_reserved(sqlite3_file *f, int *held) {
  int rc = CALL(f)->xCheckReservedLock(REAL(f), held);
  NOTE("%s xCheckReservedLock = %d %d\n", NAME(f), rc, *held);
  return rc;
}

static int shim_control(sqlite3_file *f, int op, void *arg) {
  char **args = arg;
  const char *name = op == SQLITE_FCNTL_PRAGMA ? args[1] : "", *value = op == SQLITE_FCNTL_PRAGMA ? args[2] : "";
  NOTE("%s xFileControl %d %s %s", NAME(f), op, name, value != NULL ? value : "(none)");
  if (op == SQLITE_FCNTL_SIZE_HINT || op == SQLITE_FCNTL_MMAP_SIZE) NOTE(" %lld", LL(*(sqlite3_int64 *)arg));
  if (op == SQLITE_FCNTL_CHUNK_SIZE || op == SQLITE_FCNTL_PERSIST_WAL) NOTE(" %d", *(int *)arg);
  int rc = shim_on_control != NULL ? shim_on_control(NAME(f), op, arg) : SHIM_GOES_ON;
  if (op == SHIM_NULL_IO && setup.has_null_io) rc = SQLITE_OK;
  if (op == SHIM_NULL_IO && rc == SQLITE_OK) NO_IO(f) = true;
  if (rc == SHIM_GOES_ON) rc = CALL(f)->xFileControl(REAL(f), op, arg);
  NOTE(" = %d\n", rc);
  return rc;
}

static int shim_sector_size(sqlite3_file *f) {
  NOTE("%s xSectorSize\n", NAME(f));
  return CALL(f)->xSectorSize != NULL ? CALL(f)->xSectorSize(REAL(f)) : 4096;
}

static int shim_device(sqlite3_file *f) {
  NOTE("%s xDeviceCharacteristics\n", NAME(f));
  return CALL(f)->xDeviceCharacteristics(REAL(f));
}

static int shim_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **memory) {
  int rc = CALL(f)->xShmMap(REAL(f), region, size, extend, memory);
  NOTE("%s xShmMap %d %d %d = %d\n", NAME(f), region, size, extend, rc);
  return rc;
}

static int shim_shm_lock(sqlite3_file *f, int offset, int n, int flags) {
  int rc = CALL(f)->xShmLock(REAL(f), offset, n, flags);
  NOTE("%s xShmLock %d %d %d = %d\n", NAME(f), offset, n, flags, rc);
  return rc;
}

static void shim_shm_barrier(sqlite3_file *f) {
  NOTE("%s xShmBarrier\n", NAME(f));
  CALL(f)->xShmBarrier(REAL(f));
}

static int shim_shm_unmap(sqlite3_file *f, int delete_it) {
  int rc = CALL(f)->xShmUnmap(REAL(f), delete_it);
  NOTE("%s xShmUnmap %d = %d\n", NAME(f), delete_it, rc);
  return rc;
}

static int shim_fetch(sqlite3_file *f, sqlite3_int64 offset, int n, void **page) {
  int rc = CALL(f)->xFetch(REAL(f), offset, n, page);
  NOTE("%s xFetch %d at %lld = %d %s\n", NAME(f), n, LL(offset), rc, *page != NULL ? "page" : "none");
  return rc;
}

static int shim_unfetch(sqlite3_file *f, sqlite3_int64 offset, void *page) {
  int rc = CALL(f)->xUnfetch(REAL(f), offset, page);
  NOTE("%s xUnfetch %lld %s = %d\n", NAME(f), LL(offset), page != NULL ? "page" : "all", rc);
  return rc;
}

static const sqlite3_io_methods all_methods = {
    .iVersion = 3,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector_size,
    .xDeviceCharacteristics = shim_device,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
    .xFetch = shim_fetch,
    .xUnfetch = shim_unfetch,
};

#define FILE_METHODS(X)                                                                                                \
  X(xRead)                                                                                                             \
  X(xWrite)                                                                                                            \
  X(xTruncate)                                                                                                         \
  X(xSync)                                                                                                             \
  X(xFileSize)                                                                                                         \
  X(xLock)                                                                                                             \
  X(xUnlock)                                                                                                           \
  X(xCheckReservedLock)                                                                                                \
  X(xFileControl)                                                                                                      \
  X(xSectorSize) X(xDeviceCharacteristics) X(xShmMap) X(xShmLock) X(xShmBarrier) X(xShmUnmap) X(xFetch) X(xUnfetch)
#define TEXT(method) #method,
const char *const shim_file_methods[] = {FILE_METHODS(TEXT) NULL};

static bool is_missing(const char *method) { return setup.missing != NULL && strcmp(setup.missing, method) == 0; }

/* What the VFS below lacks is missing here too. */
static void set_methods(shim_file *f) {
  const sqlite3_io_methods *real = f->real->pMethods;
  f->methods = all_methods;
  f->methods.iVersion = setup.file_version ? setup.file_version : setup.store == SHIM_AS_IT_IS ? 3 : 2;
  if (real->iVersion < f->methods.iVersion) f->methods.iVersion = real->iVersion;
#define REMOVE(method)                                                                                                 \
  if (is_missing(#method)) f->methods.method = NULL;
  FILE_METHODS(REMOVE)
  if (real->iVersion >= 2 && real->xShmMap == NULL) f->methods.xShmMap = NULL;
  f->base.pMethods = &f->methods;
}

/* ---- VFS methods ---- */

static int shim_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags) {
  shim_file *f = (shim_file *)file;
  (void)vfs;
  memset(f, 0, sizeof *f);
  f->real = (sqlite3_file *)(f + 1);
  f->kind = flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL);
  /* Temporary names are drawn by chance. */
  snprintf(f->name, sizeof f->name, "%s",
           name == NULL || (flags & SQLITE_OPEN_DELETEONCLOSE) ? "(temporary)" : base_name(name));
  int rc = below->xOpen(below, name, f->real, flags, out_flags);
  NOTE("%s xOpen %x = %d\n", f->name, (unsigned)flags, rc);
  if (f->real->pMethods != NULL) set_methods(f);
  return rc;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_directory) {
  (void)vfs;
  int rc = below->xDelete(below, name, 0);
  NOTE("%s xDelete %d = %d\n", base_name(name), sync_directory, rc);
  return rc;
}

static int shim_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
  (void)vfs;
  int rc = below->xAccess(below, name, flags, result);
  NOTE("%s xAccess %d = %d %d\n", base_name(name), flags, rc, *result);
  return rc;
}

static int shim_full_pathname(sqlite3_vfs *vfs, const char *name, int n, char *full) {
  (void)vfs;
  NOTE("%s xFullPathname\n", base_name(name));
  return below->xFullPathname(below, name, n, full);
}

static void *shim_dlopen(sqlite3_vfs *vfs, const char *path) {
  (void)vfs;
  return below->xDlOpen(below, path);
}

static void shim_dlerror(sqlite3_vfs *vfs, int n, char *message) {
  (void)vfs;
  below->xDlError(below, n, message);
}

static void (*shim_dlsym(sqlite3_vfs *vfs, void *library, const char *symbol))(void) {
  (void)vfs;
  return below->xDlSym(below, library, symbol);
}

static void shim_dlclose(sqlite3_vfs *vfs, void *library) {
  (void)vfs;
  below->xDlClose(below, library);
}

static int shim_randomness(sqlite3_vfs *vfs, int n, char *out) {
  (void)vfs;
  for (int i = 0; i < n; i++) out[i] = (char)(i * 37 + 11);
  NOTE("xRandomness %d\n", n);
  return n;
}

static int shim_sleep(sqlite3_vfs *vfs, int microseconds) {
  (void)vfs;
  NOTE("xSleep %d\n", microseconds);
  return microseconds;
}

/* 2026-01-01 */
static int shim_time64(sqlite3_vfs *vfs, sqlite3_int64 *milliseconds) {
  (void)vfs;
  *milliseconds = 212633640000000LL;
  NOTE("xCurrentTimeInt64\n");
  return SQLITE_OK;
}

static int shim_time(sqlite3_vfs *vfs, double *julian_day) {
  (void)vfs;
  *julian_day = 2461041.5;
  NOTE("xCurrentTime\n");
  return SQLITE_OK;
}

static int shim_last_error(sqlite3_vfs *vfs, int n, char *message) {
  (void)vfs;
  NOTE("xGetLastError\n");
  return below->xGetLastError != NULL ? below->xGetLastError(below, n, message) : 0;
}

static int shim_set_call(sqlite3_vfs *vfs, const char *name, sqlite3_syscall_ptr call) {
  (void)vfs;
  NOTE("xSetSystemCall %s\n", name != NULL ? name : "(all)");
  return below->xSetSystemCall(below, name, call);
}

static sqlite3_syscall_ptr shim_get_call(sqlite3_vfs *vfs, const char *name) {
  (void)vfs;
  NOTE("xGetSystemCall %s\n", name);
  return below->xGetSystemCall(below, name);
}

static const char *shim_next_call(sqlite3_vfs *vfs, const char *name) {
  (void)vfs;
  NOTE("xNextSystemCall\n");
  return below->xNextSystemCall(below, name);
}

#define VFS_METHODS(X)                                                                                                 \
  X(xDelete)                                                                                                           \
  X(xAccess)                                                                                                           \
  X(xFullPathname)                                                                                                     \
  X(xDlOpen)                                                                                                           \
  X(xDlError)                                                                                                          \
  X(xDlSym)                                                                                                            \
  X(xDlClose)                                                                                                          \
  X(xRandomness)                                                                                                       \
  X(xSleep) X(xCurrentTime) X(xGetLastError) X(xCurrentTimeInt64) X(xSetSystemCall) X(xGetSystemCall) X(xNextSystemCall)
const char *const shim_vfs_methods[] = {VFS_METHODS(TEXT) NULL};

int shim_register(const shim_setup *how, bool make_default) {
  int rc = sqlite3_initialize();
  if (rc != SQLITE_OK) return rc;
  setup = *how;
  below = sqlite3_vfs_find(setup.below);
  if (below == NULL) return SQLITE_ERROR;
  shim_vfs = (sqlite3_vfs){
      .iVersion = setup.vfs_version ? setup.vfs_version : 3,
      .szOsFile = (int)sizeof(shim_file) + below->szOsFile,
      .mxPathname = below->mxPathname,
      .zName = setup.name,
      .xOpen = shim_open,
      .xDelete = shim_delete,
      .xAccess = shim_access,
      .xFullPathname = shim_full_pathname,
      .xDlOpen = shim_dlopen,
      .xDlError = shim_dlerror,
      .xDlSym = shim_dlsym,
      .xDlClose = shim_dlclose,
      .xRandomness = shim_randomness,
      .xSleep = shim_sleep,
      .xCurrentTime = shim_time,
      .xGetLastError = shim_last_error,
      .xCurrentTimeInt64 = shim_time64,
      .xSetSystemCall = shim_set_call,
      .xGetSystemCall = shim_get_call,
      .xNextSystemCall = shim_next_call,
  };
#undef REMOVE
#define REMOVE(method)                                                                                                 \
  if (is_missing(#method)) shim_vfs.method = NULL;
  VFS_METHODS(REMOVE)
  if (below->xDelete == NULL) shim_vfs.xDelete = NULL;
  return sqlite3_vfs_register(&shim_vfs, make_default);
}
