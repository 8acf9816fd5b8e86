/*
** support_shim.c - see support_shim.h.
*/
#include "support_shim.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shim_file {
  sqlite3_file base;
  sqlite3_file *real;
  shim *s;
  sqlite3_io_methods methods;
  int kind; /* SQLITE_OPEN_MAIN_DB and so on */
  /* SHIM_MERGES and SHIM_COLLECTS: what waits, and where it belongs */
  uint8_t *waiting;
  int waiting_bytes;
  sqlite3_int64 waiting_at;
  bool commit; /* the header of a commit frame has come, its page has not */
};

#define REAL(f, method) (f)->real->pMethods->method

static shim_file *of(sqlite3_file *file) { return (shim_file *)file; }

/* ---- the record ---- */

static void note(shim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void note(shim *s, const char *format, ...) {
  char line[256];
  va_list args;
  if (!s->record) return;
  va_start(args, format);
  const size_t n = (size_t)vsnprintf(line, sizeof line, format, args);
  va_end(args);
  if (s->log_bytes + n + 2 > s->log_room) {
    s->log_room = s->log_room * 2 + 4096;
    s->log = realloc(s->log, s->log_room);
    if (!s->log) abort();
  }
  memcpy(s->log + s->log_bytes, line, n);
  s->log_bytes += n;
  memcpy(s->log + s->log_bytes, "\n", 2);
  s->log_bytes++;
}

const char *shim_log(const shim *s) { return s->log ? s->log : ""; }

void shim_forget(shim *s) {
  free(s->log);
  s->log = NULL;
  s->log_bytes = s->log_room = 0;
}

static const char *kind_name(int kind) {
  switch (kind) {
  case SQLITE_OPEN_MAIN_DB: return "database";
  case SQLITE_OPEN_WAL: return "wal";
  case SQLITE_OPEN_MAIN_JOURNAL: return "journal";
  case SQLITE_OPEN_SUPER_JOURNAL: return "super-journal";
  default: return "temporary";
  }
}

static int noted(shim_file *f, int rc, const char *call, long long a, long long b) {
  note(f->s, "%s %s %lld %lld = %d", kind_name(f->kind), call, a, b, rc);
  return rc;
}

/* What a super-journal is called behind its database's name is random. */
static const char *base_name(const char *path) {
  const char *slash = path ? strrchr(path, '/') : NULL;
  if (path && strstr(path, "-mj")) return "(super-journal)";
  return slash ? slash + 1 : path ? path : "(none)";
}

/* ---- other bytes ---- */

static bool is_changed(const shim_file *f) {
  return f->kind == SQLITE_OPEN_MAIN_DB || f->kind == SQLITE_OPEN_WAL || f->kind == SQLITE_OPEN_MAIN_JOURNAL;
}

static void xor_bytes(uint8_t *bytes, int n, sqlite3_int64 at) {
  for (int i = 0; i < n; i++) bytes[i] ^= (uint8_t)(0xA5 + (at + i) % 251 * 7);
}

static int read_below(shim_file *f, void *data, int n, sqlite3_int64 at) {
  return REAL(f, xRead)(f->real, data, n, at);
}

/* A part of a database page: the page is read, as a shim that encrypts pages must. */
static int read_part_of_page(shim_file *f, uint8_t *data, int n, sqlite3_int64 at) {
  uint8_t page[SHIM_PAGE];
  while (n > 0) {
    const sqlite3_int64 start = at / SHIM_PAGE * SHIM_PAGE;
    const int skip = (int)(at - start), part = SHIM_PAGE - skip < n ? SHIM_PAGE - skip : n;
    const int rc = read_below(f, page, SHIM_PAGE, start);
    if (rc != SQLITE_OK) memset(data, 0, (size_t)n);
    if (rc != SQLITE_OK) return rc;
    xor_bytes(page, SHIM_PAGE, 0);
    memcpy(data, page + skip, (size_t)part);
    data += part;
    at += part;
    n -= part;
  }
  return SQLITE_OK;
}

static int read_pages(shim_file *f, uint8_t *data, int n, sqlite3_int64 at) {
  if (f->kind == SQLITE_OPEN_MAIN_DB && (n != SHIM_PAGE || at % SHIM_PAGE != 0))
    return read_part_of_page(f, data, n, at);
  const int rc = read_below(f, data, n, at);
  if (rc == SQLITE_OK && n == SHIM_PAGE) xor_bytes(data, n, 0);
  if (rc == SQLITE_OK && f->kind == SQLITE_OPEN_WAL && n == SHIM_FRAME_HEADER + SHIM_PAGE)
    xor_bytes(data + SHIM_FRAME_HEADER, SHIM_PAGE, 0);
  return rc;
}

static bool is_frame(sqlite3_int64 at) {
  return at >= SHIM_WAL_HEADER && (at - SHIM_WAL_HEADER) % (SHIM_FRAME_HEADER + SHIM_PAGE) == 0;
}

static void cover_header(const shim *s, uint8_t *header) {
  for (int i = 0; i < 4; i++) header[4 + i] ^= (uint8_t)(s->key >> (24 - 8 * i));
}

static int read_changed(shim_file *f, void *data, int n, sqlite3_int64 at) {
  int rc;
  switch (f->s->change) {
  case SHIM_XOR_PAGES: return read_pages(f, data, n, at);
  case SHIM_XOR_BYTES:
    rc = read_below(f, data, n, at);
    if (rc == SQLITE_OK) xor_bytes(data, n, at);
    return rc;
  case SHIM_FRAME_HEADERS:
    rc = read_below(f, data, n, at);
    if (rc == SQLITE_OK && f->kind == SQLITE_OPEN_WAL && n >= SHIM_FRAME_HEADER && is_frame(at))
      cover_header(f->s, data);
    return rc;
  default: return read_below(f, data, n, at);
  }
}

/* ---- other pieces ---- */

static int write_below(shim_file *f, const void *data, int n, sqlite3_int64 at) {
  if (f->kind == SQLITE_OPEN_WAL && at + n > f->s->wal_end) f->s->wal_end = at + n;
  return REAL(f, xWrite)(f->real, data, n, at);
}

static int write_waiting(shim_file *f) {
  const int n = f->waiting_bytes;
  f->waiting_bytes = 0;
  return n > 0 ? write_below(f, f->waiting, n, f->waiting_at) : SQLITE_OK;
}

static int wait_with(shim_file *f, const void *data, int n, sqlite3_int64 at) {
  int rc = SQLITE_OK;
  if (!f->waiting) f->waiting = malloc(SHIM_COLLECTED);
  if (!f->waiting) return SQLITE_NOMEM;
  if (f->waiting_bytes > 0 && at != f->waiting_at + f->waiting_bytes) rc = write_waiting(f);
  for (int done = 0; rc == SQLITE_OK && done < n;) {
    if (f->waiting_bytes == 0) f->waiting_at = at + done;
    const int room = SHIM_COLLECTED - f->waiting_bytes, part = n - done < room ? n - done : room;
    memcpy(f->waiting + f->waiting_bytes, (const char *)data + done, (size_t)part);
    f->waiting_bytes += part;
    done += part;
    if (f->waiting_bytes == SHIM_COLLECTED) rc = write_waiting(f);
  }
  return rc;
}

static int write_merged(shim_file *f, const uint8_t *data, int n, sqlite3_int64 at) {
  static const uint8_t zero[4];
  const bool header = n == SHIM_FRAME_HEADER && is_frame(at);
  int rc = wait_with(f, data, n, at);
  if (rc != SQLITE_OK || header) {
    f->commit = header && memcmp(data + 4, zero, 4) != 0;
    return rc;
  }
  if (f->s->change == SHIM_COLLECTS && !f->commit) return rc;
  f->commit = false;
  return write_waiting(f);
}

static int write_split(shim_file *f, const char *data, int n, sqlite3_int64 at) {
  const int part = n < SHIM_PAGE ? n : n / 5;
  int rc = SQLITE_OK;
  for (int done = 0; rc == SQLITE_OK && done < n; done += part)
    rc = write_below(f, data + done, n - done < part ? n - done : part, at + done);
  return rc;
}

static int write_xored(shim_file *f, const void *data, int n, sqlite3_int64 at, sqlite3_int64 key) {
  uint8_t *copy = malloc((size_t)n);
  if (!copy) return SQLITE_NOMEM;
  memcpy(copy, data, (size_t)n);
  xor_bytes(copy, n, key);
  const int rc = write_below(f, copy, n, at);
  free(copy);
  return rc;
}

static int write_changed(shim_file *f, const void *data, int n, sqlite3_int64 at) {
  uint8_t header[SHIM_FRAME_HEADER];
  switch (f->s->change) {
  case SHIM_XOR_BYTES: return is_changed(f) ? write_xored(f, data, n, at, at) : write_below(f, data, n, at);
  case SHIM_XOR_PAGES:
    return is_changed(f) && n == SHIM_PAGE ? write_xored(f, data, n, at, 0) : write_below(f, data, n, at);
  case SHIM_MERGES:
  case SHIM_COLLECTS: return f->kind == SQLITE_OPEN_WAL ? write_merged(f, data, n, at) : write_below(f, data, n, at);
  case SHIM_SPLITS: return f->kind == SQLITE_OPEN_WAL ? write_split(f, data, n, at) : write_below(f, data, n, at);
  case SHIM_FRAME_HEADERS:
    if (f->kind != SQLITE_OPEN_WAL || n != SHIM_FRAME_HEADER || !is_frame(at)) return write_below(f, data, n, at);
    memcpy(header, data, sizeof header);
    cover_header(f->s, header);
    return write_below(f, header, n, at);
  default: return write_below(f, data, n, at);
  }
}

/* ---- sqlite3_io_methods ---- */

static int shim_close(sqlite3_file *file) {
  shim_file *f = of(file);
  const int late = write_waiting(f);
  if (f->s->wal == f) f->s->wal = NULL;
  free(f->waiting);
  f->waiting = NULL;
  const int rc = REAL(f, xClose)(f->real);
  file->pMethods = NULL;
  return noted(f, late != SQLITE_OK ? late : rc, "close", 0, 0);
}

static int shim_read(sqlite3_file *file, void *data, int n, sqlite3_int64 at) {
  shim_file *f = of(file);
  int rc = write_waiting(f);
  if (rc == SQLITE_OK) rc = is_changed(f) ? read_changed(f, data, n, at) : read_below(f, data, n, at);
  return noted(f, rc, "read", n, at);
}

static int shim_write(sqlite3_file *file, const void *data, int n, sqlite3_int64 at) {
  return noted(of(file), write_changed(of(file), data, n, at), "write", n, at);
}

static int shim_truncate(sqlite3_file *file, sqlite3_int64 size) {
  shim_file *f = of(file);
  int rc = write_waiting(f);
  if (rc == SQLITE_OK) rc = REAL(f, xTruncate)(f->real, size);
  return noted(f, rc, "truncate", size, 0);
}

static int shim_sync(sqlite3_file *file, int flags) {
  shim_file *f = of(file);
  int rc = write_waiting(f);
  if (rc == SQLITE_OK && !f->s->syncs_nothing) rc = REAL(f, xSync)(f->real, flags);
  return noted(f, rc, "sync", flags, 0);
}

static int shim_file_size(sqlite3_file *file, sqlite3_int64 *size) {
  shim_file *f = of(file);
  int rc = write_waiting(f);
  if (rc == SQLITE_OK) rc = REAL(f, xFileSize)(f->real, size);
  return noted(f, rc, "size", *size, 0);
}

static int shim_lock(sqlite3_file *file, int level) {
  return noted(of(file), REAL(of(file), xLock)(of(file)->real, level), "lock", level, 0);
}

static int shim_unlock(sqlite3_file *file, int level) {
  return noted(of(file), REAL(of(file), xUnlock)(of(file)->real, level), "unlock", level, 0);
}

static int shim_check_reserved_lock(sqlite3_file *file, int *reserved) {
  const int rc = REAL(of(file), xCheckReservedLock)(of(file)->real, reserved);
  return noted(of(file), rc, "reserved", *reserved, 0);
}

static int shim_file_control(sqlite3_file *file, int op, void *arg) {
  return noted(of(file), REAL(of(file), xFileControl)(of(file)->real, op, arg), "control", op, 0);
}

static int shim_sector_size(sqlite3_file *file) {
  const int bytes = REAL(of(file), xSectorSize)(of(file)->real);
  return noted(of(file), bytes, "sector", 0, 0);
}

static int shim_device_characteristics(sqlite3_file *file) {
  const int traits = REAL(of(file), xDeviceCharacteristics)(of(file)->real);
  return noted(of(file), traits, "characteristics", 0, 0);
}

static int shim_shm_map(sqlite3_file *file, int region, int bytes, int extend, void volatile **memory) {
  const int rc = REAL(of(file), xShmMap)(of(file)->real, region, bytes, extend, memory);
  return noted(of(file), rc, "shm-map", region, extend);
}

/* Whatever waits is of the transaction that ends with the write lock: another's frames may follow. */
static int shim_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
  if (offset == 0 && (flags & SQLITE_SHM_UNLOCK) && of(file)->s->wal) (void)write_waiting(of(file)->s->wal);
  const int rc = REAL(of(file), xShmLock)(of(file)->real, offset, n, flags);
  return noted(of(file), rc, "shm-lock", offset * 100 + n, flags);
}

static void shim_shm_barrier(sqlite3_file *file) {
  (void)noted(of(file), 0, "shm-barrier", 0, 0);
  REAL(of(file), xShmBarrier)(of(file)->real);
}

static int shim_shm_unmap(sqlite3_file *file, int delete_it) {
  return noted(of(file), REAL(of(file), xShmUnmap)(of(file)->real, delete_it), "shm-unmap", delete_it, 0);
}

/* What is stored in other bytes cannot be mapped. */
static int shim_fetch(sqlite3_file *file, sqlite3_int64 at, int n, void **page) {
  int rc = SQLITE_OK;
  *page = NULL;
  if (of(file)->s->change == SHIM_PASSES_ON) rc = REAL(of(file), xFetch)(of(file)->real, at, n, page);
  return noted(of(file), rc, *page ? "fetch" : "fetch-nothing", n, at);
}

static int shim_unfetch(sqlite3_file *file, sqlite3_int64 at, void *page) {
  int rc = SQLITE_OK;
  if (of(file)->s->change == SHIM_PASSES_ON) rc = REAL(of(file), xUnfetch)(of(file)->real, at, page);
  return noted(of(file), rc, page ? "unfetch" : "unmap", at, 0);
}

static const sqlite3_io_methods all_methods = {
    .iVersion = 3,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_file_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_check_reserved_lock,
    .xFileControl = shim_file_control,
    .xSectorSize = shim_sector_size,
    .xDeviceCharacteristics = shim_device_characteristics,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
    .xFetch = shim_fetch,
    .xUnfetch = shim_unfetch,
};

/* What an older version does not have is not a pointer: whoever looks there finds 0xff. */
static void set_methods(shim_file *f) {
  const size_t ends[] = {0, offsetof(sqlite3_io_methods, xShmMap), offsetof(sqlite3_io_methods, xFetch),
                         sizeof f->methods};
  f->methods = all_methods;
  f->methods.iVersion = f->s->file_version;
  const size_t end = ends[f->s->file_version];
  memset((char *)&f->methods + end, 0xff, sizeof f->methods - end);
  if (f->s->missing != 0) memset((char *)&f->methods + f->s->missing, 0, sizeof(void *));
  f->base.pMethods = &f->methods;
}

/* ---- sqlite3_vfs ---- */

static shim *shim_of(sqlite3_vfs *vfs) { return vfs->pAppData; }

#define KINDS                                                                                                          \
  (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_SUPER_JOURNAL |                      \
   SQLITE_OPEN_TEMP_DB | SQLITE_OPEN_TRANSIENT_DB | SQLITE_OPEN_TEMP_JOURNAL | SQLITE_OPEN_SUBJOURNAL)

static int shim_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags) {
  shim *s = shim_of(vfs);
  shim_file *f = of(file);
  memset(f, 0, sizeof *f);
  f->s = s;
  f->kind = flags & KINDS;
  f->real = (sqlite3_file *)(f + 1);
  f->real->pMethods = NULL;
  const int rc = s->below->xOpen(s->below, name, f->real, flags, out_flags);
  note(s, "open %s %x = %d", base_name(name), (unsigned)flags, rc);
  if (rc != SQLITE_OK) return rc;
  if (f->kind == SQLITE_OPEN_WAL) s->wal = f;
  set_methods(f);
  return rc;
}

static int shim_delete(sqlite3_vfs *vfs, const char *name, int sync_directory) {
  const int rc = shim_of(vfs)->below->xDelete(shim_of(vfs)->below, name, sync_directory);
  note(shim_of(vfs), "delete %s %d = %d", base_name(name), sync_directory, rc);
  return rc;
}

static int shim_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
  const int rc = shim_of(vfs)->below->xAccess(shim_of(vfs)->below, name, flags, result);
  note(shim_of(vfs), "access %s %d: %d = %d", base_name(name), flags, *result, rc);
  return rc;
}

static int shim_full_pathname(sqlite3_vfs *vfs, const char *name, int bytes, char *full) {
  note(shim_of(vfs), "full-pathname %s", base_name(name));
  return shim_of(vfs)->below->xFullPathname(shim_of(vfs)->below, name, bytes, full);
}

static void *shim_dlopen(sqlite3_vfs *vfs, const char *path) {
  note(shim_of(vfs), "dlopen");
  return shim_of(vfs)->below->xDlOpen(shim_of(vfs)->below, path);
}

static void shim_dlerror(sqlite3_vfs *vfs, int bytes, char *message) {
  note(shim_of(vfs), "dlerror");
  shim_of(vfs)->below->xDlError(shim_of(vfs)->below, bytes, message);
}

static void (*shim_dlsym(sqlite3_vfs *vfs, void *library, const char *symbol))(void) {
  note(shim_of(vfs), "dlsym");
  return shim_of(vfs)->below->xDlSym(shim_of(vfs)->below, library, symbol);
}

static void shim_dlclose(sqlite3_vfs *vfs, void *library) {
  note(shim_of(vfs), "dlclose");
  shim_of(vfs)->below->xDlClose(shim_of(vfs)->below, library);
}

static int shim_randomness(sqlite3_vfs *vfs, int bytes, char *out) {
  note(shim_of(vfs), "randomness %d", bytes);
  return shim_of(vfs)->below->xRandomness(shim_of(vfs)->below, bytes, out);
}

static int shim_sleep(sqlite3_vfs *vfs, int microseconds) {
  note(shim_of(vfs), "sleep %d", microseconds);
  return shim_of(vfs)->below->xSleep(shim_of(vfs)->below, microseconds);
}

static int shim_current_time(sqlite3_vfs *vfs, double *julian_day) {
  note(shim_of(vfs), "current-time");
  return shim_of(vfs)->below->xCurrentTime(shim_of(vfs)->below, julian_day);
}

static int shim_get_last_error(sqlite3_vfs *vfs, int bytes, char *message) {
  note(shim_of(vfs), "last-error");
  return shim_of(vfs)->below->xGetLastError(shim_of(vfs)->below, bytes, message);
}

static int shim_current_time_int64(sqlite3_vfs *vfs, sqlite3_int64 *milliseconds) {
  note(shim_of(vfs), "current-time-int64");
  return shim_of(vfs)->below->xCurrentTimeInt64(shim_of(vfs)->below, milliseconds);
}

static int shim_set_system_call(sqlite3_vfs *vfs, const char *name, sqlite3_syscall_ptr call) {
  note(shim_of(vfs), "set-system-call %s", name);
  return shim_of(vfs)->below->xSetSystemCall(shim_of(vfs)->below, name, call);
}

static sqlite3_syscall_ptr shim_get_system_call(sqlite3_vfs *vfs, const char *name) {
  note(shim_of(vfs), "get-system-call %s", name);
  return shim_of(vfs)->below->xGetSystemCall(shim_of(vfs)->below, name);
}

static const char *shim_next_system_call(sqlite3_vfs *vfs, const char *name) {
  return shim_of(vfs)->below->xNextSystemCall(shim_of(vfs)->below, name);
}

void shim_init(shim *s, const char *name, sqlite3_vfs *below) {
  *s = (shim){.below = below, .file_version = 3};
  s->vfs = (sqlite3_vfs){
      .iVersion = 3,
      .szOsFile = (int)sizeof(shim_file) + below->szOsFile,
      .mxPathname = below->mxPathname,
      .zName = name,
      .pAppData = s,
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
      .xCurrentTime = shim_current_time,
      .xGetLastError = shim_get_last_error,
      .xCurrentTimeInt64 = shim_current_time_int64,
      .xSetSystemCall = shim_set_system_call,
      .xGetSystemCall = shim_get_system_call,
      .xNextSystemCall = shim_next_system_call,
  };
}
