/*
** support_recorder.c - see support_recorder.h.
*/
#include "support_recorder.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct rec_file {
  sqlite3_file base;
  sqlite3_file *real;
  const char *path; /* SQLite's string, valid while the file is open; NULL for temp files */
  char name[64];
  rec_role role;
  struct rec_file *next; /* list of open files */
  int level;             /* of xLock */
  unsigned shm;          /* exclusive slots held */
} rec_file;

static struct {
  pthread_mutex_t mutex;
  sqlite3_vfs vfs;
  sqlite3_vfs *parent;
  rec_call *calls;
  size_t count, room;
  rec_file *open_files;
  rec_kind fail_kind;
  rec_role fail_role;
  int fail_nth, fail_times, fail_rc, fail_done, fail_armed;
  recorder_hook_fn hook;
  void *hook_arg;
  int and_mask, or_mask, sector_size;
  bool fake_sleep;
  /* names live for the whole process: rec_call points to them */
  char names[512][64];
  size_t name_count;
} R = {.mutex = PTHREAD_MUTEX_INITIALIZER, .and_mask = -1};

static sqlite3_file *real_of(sqlite3_file *f) { return ((rec_file *)f)->real; }

static const char *intern(const char *name) {
  for (size_t i = 0; i < R.name_count; i++)
    if (!strcmp(R.names[i], name)) return R.names[i];
  if (R.name_count == sizeof R.names / sizeof R.names[0]) return "(more names)";
  snprintf(R.names[R.name_count], sizeof R.names[0], "%s", name);
  return R.names[R.name_count++];
}

static rec_role role_of(int flags) {
  if (flags & SQLITE_OPEN_MAIN_DB) return REC_DB;
  if (flags & SQLITE_OPEN_WAL) return REC_WAL;
  if (flags & SQLITE_OPEN_MAIN_JOURNAL) return REC_JOURNAL;
  if (flags & SQLITE_OPEN_SUPER_JOURNAL) return REC_SUPER;
  return REC_OTHER;
}

static rec_role role_of_path(const char *path) {
  size_t n = strlen(path);
  if (n > 4 && !strcmp(path + n - 4, "-wal")) return REC_WAL;
  if (n > 8 && !strcmp(path + n - 8, "-journal")) return REC_JOURNAL;
  if (strstr(path, "-mj")) return REC_SUPER;
  return REC_DB;
}

static const char *base_name(const char *path) {
  const char *slash = path ? strrchr(path, '/') : NULL;
  return slash ? slash + 1 : path ? path : "";
}

/* The locks held on the database that a file belongs to, by any connection through the recorder. Under the mutex. */
static void locks_of(const char *name, rec_role role, int *level, unsigned *shm) {
  size_t n = strlen(name);
  *level = 0;
  *shm = 0;
  if (role == REC_WAL) n -= 4;
  if (role == REC_JOURNAL) n -= 8;
  for (rec_file *f = R.open_files; f; f = f->next) {
    if (f->role != REC_DB || strlen(f->name) != n || strncmp(f->name, name, n) != 0) continue;
    if (f->level > *level) *level = f->level;
    *shm |= f->shm;
  }
}

/*
** Writes the call down, runs the hook, and says whether it must fail: then *rc is what it returns. Gives back the
** index, for finish().
*/
static size_t begin(rec_kind kind, rec_role role, const char *name, sqlite3_int64 offset, sqlite3_int64 bytes, int arg,
                    const void *head, int *rc, bool *fail) {
  pthread_mutex_lock(&R.mutex);
  if (R.count == R.room) {
    R.room = R.room ? R.room * 2 : 1024;
    R.calls = realloc(R.calls, R.room * sizeof *R.calls);
    if (!R.calls) abort();
  }
  size_t index = R.count++;
  rec_call *c = &R.calls[index];
  memset(c, 0, sizeof *c);
  c->kind = kind;
  c->role = role;
  c->name = intern(name);
  c->offset = offset;
  c->bytes = bytes;
  c->arg = arg;
  if (head) memcpy(c->head, head, bytes < (int)sizeof c->head ? (size_t)bytes : sizeof c->head);
  locks_of(name, role, &c->locks_held, &c->shm_held);
  *fail = false;
  if (R.fail_armed && (R.fail_kind == REC_ANY || R.fail_kind == kind) &&
      (R.fail_role == REC_ANY_ROLE || R.fail_role == role)) {
    if (R.fail_nth > 1) {
      R.fail_nth--;
    } else if (R.fail_times == 0 || R.fail_done < R.fail_times) {
      R.fail_done++;
      *fail = true;
      *rc = R.fail_rc;
    }
  }
  recorder_hook_fn hook = R.hook;
  void *hook_arg = R.hook_arg;
  rec_call copy = *c;
  if (*fail) c->rc = *rc;
  pthread_mutex_unlock(&R.mutex);
  if (hook) hook(&copy, hook_arg);
  return index;
}

static int finish(size_t index, int rc) {
  pthread_mutex_lock(&R.mutex);
  if (index < R.count) R.calls[index].rc = rc;
  pthread_mutex_unlock(&R.mutex);
  return rc;
}

#define RECORD(f, kind, offset, bytes, arg, head)                                                                      \
  rec_file *self = (rec_file *)(f);                                                                                    \
  int rc = SQLITE_OK;                                                                                                  \
  bool fail;                                                                                                           \
  size_t index = begin(kind, self->role, self->name, offset, bytes, arg, head, &rc, &fail);                            \
  if (fail) return finish(index, rc)

/* ---- file methods ---- */

static int rec_close(sqlite3_file *f) {
  rec_file *self = (rec_file *)f;
  int rc = SQLITE_OK;
  bool fail;
  size_t index = begin(REC_CLOSE, self->role, self->name, 0, 0, 0, NULL, &rc, &fail);
  rc = self->real->pMethods->xClose(self->real); /* the file is closed, whatever is returned */
  pthread_mutex_lock(&R.mutex);
  for (rec_file **p = &R.open_files; *p; p = &(*p)->next) {
    if (*p != self) continue;
    *p = self->next;
    break;
  }
  pthread_mutex_unlock(&R.mutex);
  return finish(index, fail ? R.fail_rc : rc);
}

static int rec_read(sqlite3_file *f, void *buf, int n, sqlite3_int64 offset) {
  RECORD(f, REC_READ, offset, n, 0, NULL);
  return finish(index, self->real->pMethods->xRead(self->real, buf, n, offset));
}

static int rec_write(sqlite3_file *f, const void *buf, int n, sqlite3_int64 offset) {
  RECORD(f, REC_WRITE, offset, n, 0, buf);
  return finish(index, self->real->pMethods->xWrite(self->real, buf, n, offset));
}

static int rec_truncate(sqlite3_file *f, sqlite3_int64 size) {
  RECORD(f, REC_TRUNCATE, size, 0, 0, NULL);
  return finish(index, self->real->pMethods->xTruncate(self->real, size));
}

static int rec_sync(sqlite3_file *f, int flags) {
  RECORD(f, REC_SYNC, 0, 0, flags, NULL);
  return finish(index, self->real->pMethods->xSync(self->real, flags));
}

static int rec_file_size(sqlite3_file *f, sqlite3_int64 *size) {
  RECORD(f, REC_FILE_SIZE, 0, 0, 0, NULL);
  return finish(index, self->real->pMethods->xFileSize(self->real, size));
}

static int rec_lock(sqlite3_file *f, int level) {
  RECORD(f, REC_LOCK, 0, 0, level, NULL);
  rc = self->real->pMethods->xLock(self->real, level);
  if (rc == SQLITE_OK && level > self->level) self->level = level;
  return finish(index, rc);
}

static int rec_unlock(sqlite3_file *f, int level) {
  RECORD(f, REC_UNLOCK, 0, 0, level, NULL);
  if (level < self->level) self->level = level;
  return finish(index, self->real->pMethods->xUnlock(self->real, level));
}

static int rec_check_reserved(sqlite3_file *f, int *out) {
  RECORD(f, REC_CHECK_RESERVED, 0, 0, 0, NULL);
  return finish(index, self->real->pMethods->xCheckReservedLock(self->real, out));
}

static int rec_control(sqlite3_file *f, int op, void *arg) {
  RECORD(f, REC_CONTROL, 0, 0, op, NULL);
  return finish(index, self->real->pMethods->xFileControl(self->real, op, arg));
}

static int rec_sector_size(sqlite3_file *f) {
  sqlite3_file *real = real_of(f);
  return R.sector_size ? R.sector_size : real->pMethods->xSectorSize ? real->pMethods->xSectorSize(real) : 4096;
}

static int rec_device(sqlite3_file *f) {
  return (real_of(f)->pMethods->xDeviceCharacteristics(real_of(f)) & R.and_mask) | R.or_mask;
}

static int rec_shm_map(sqlite3_file *f, int region, int size, int extend, void volatile **out) {
  RECORD(f, REC_SHM_MAP, region, size, extend, NULL);
  return finish(index, self->real->pMethods->xShmMap(self->real, region, size, extend, out));
}

static int rec_shm_lock(sqlite3_file *f, int slot, int n, int flags) {
  RECORD(f, REC_SHM_LOCK, slot, n, flags, NULL);
  unsigned bits = ((1u << n) - 1) << slot;
  if (flags & SQLITE_SHM_UNLOCK) self->shm &= ~bits;
  rc = self->real->pMethods->xShmLock(self->real, slot, n, flags);
  if (rc == SQLITE_OK && (flags & SQLITE_SHM_LOCK) && (flags & SQLITE_SHM_EXCLUSIVE)) self->shm |= bits;
  return finish(index, rc);
}

static void rec_shm_barrier(sqlite3_file *f) {
  rec_file *self = (rec_file *)f;
  int rc = 0;
  bool fail;
  (void)begin(REC_SHM_BARRIER, self->role, self->name, 0, 0, 0, NULL, &rc, &fail);
  self->real->pMethods->xShmBarrier(self->real);
}

static int rec_shm_unmap(sqlite3_file *f, int delete_it) {
  RECORD(f, REC_SHM_UNMAP, 0, 0, delete_it, NULL);
  return finish(index, self->real->pMethods->xShmUnmap(self->real, delete_it));
}

static int rec_fetch(sqlite3_file *f, sqlite3_int64 offset, int n, void **out) {
  RECORD(f, REC_FETCH, offset, n, 0, NULL);
  return finish(index, self->real->pMethods->xFetch(self->real, offset, n, out));
}

static int rec_unfetch(sqlite3_file *f, sqlite3_int64 offset, void *page) {
  RECORD(f, REC_UNFETCH, offset, 0, 0, NULL);
  return finish(index, self->real->pMethods->xUnfetch(self->real, offset, page));
}

static const sqlite3_io_methods rec_methods = {
    .iVersion = 3,
    .xClose = rec_close,
    .xRead = rec_read,
    .xWrite = rec_write,
    .xTruncate = rec_truncate,
    .xSync = rec_sync,
    .xFileSize = rec_file_size,
    .xLock = rec_lock,
    .xUnlock = rec_unlock,
    .xCheckReservedLock = rec_check_reserved,
    .xFileControl = rec_control,
    .xSectorSize = rec_sector_size,
    .xDeviceCharacteristics = rec_device,
    .xShmMap = rec_shm_map,
    .xShmLock = rec_shm_lock,
    .xShmBarrier = rec_shm_barrier,
    .xShmUnmap = rec_shm_unmap,
    .xFetch = rec_fetch,
    .xUnfetch = rec_unfetch,
};

/* ---- VFS methods ---- */

static int rec_open(sqlite3_vfs *vfs, sqlite3_filename path, sqlite3_file *f, int flags, int *out_flags) {
  rec_file *self = (rec_file *)f;
  (void)vfs;
  memset(self, 0, sizeof *self);
  self->real = (sqlite3_file *)&self[1];
  self->path = path;
  self->role = role_of(flags);
  snprintf(self->name, sizeof self->name, "%s", base_name(path));
  int rc = SQLITE_OK;
  bool fail;
  size_t index = begin(REC_OPEN, self->role, self->name, 0, 0, flags, NULL, &rc, &fail);
  if (fail) return finish(index, rc);
  rc = R.parent->xOpen(R.parent, path, self->real, flags, out_flags);
  if (self->real->pMethods) self->base.pMethods = &rec_methods;
  if (rc == SQLITE_OK) {
    pthread_mutex_lock(&R.mutex);
    self->next = R.open_files;
    R.open_files = self;
    pthread_mutex_unlock(&R.mutex);
  }
  return finish(index, rc);
}

static int rec_delete(sqlite3_vfs *vfs, const char *path, int sync_dir) {
  int rc = SQLITE_OK;
  bool fail;
  (void)vfs;
  size_t index = begin(REC_DELETE, role_of_path(path), base_name(path), 0, 0, sync_dir, NULL, &rc, &fail);
  return finish(index, fail ? rc : R.parent->xDelete(R.parent, path, sync_dir));
}

static int rec_access(sqlite3_vfs *vfs, const char *path, int flags, int *out) {
  int rc = SQLITE_OK;
  bool fail;
  (void)vfs;
  size_t index = begin(REC_ACCESS, role_of_path(path), base_name(path), 0, 0, flags, NULL, &rc, &fail);
  return finish(index, fail ? rc : R.parent->xAccess(R.parent, path, flags, out));
}

static int rec_full_pathname(sqlite3_vfs *vfs, const char *path, int n, char *out) {
  (void)vfs;
  return R.parent->xFullPathname(R.parent, path, n, out);
}

static void *rec_dl_open(sqlite3_vfs *vfs, const char *path) {
  (void)vfs;
  return R.parent->xDlOpen(R.parent, path);
}

static void rec_dl_error(sqlite3_vfs *vfs, int n, char *out) {
  (void)vfs;
  R.parent->xDlError(R.parent, n, out);
}

static void (*rec_dl_sym(sqlite3_vfs *vfs, void *handle, const char *symbol))(void) {
  (void)vfs;
  return R.parent->xDlSym(R.parent, handle, symbol);
}

static void rec_dl_close(sqlite3_vfs *vfs, void *handle) {
  (void)vfs;
  R.parent->xDlClose(R.parent, handle);
}

static int rec_randomness(sqlite3_vfs *vfs, int n, char *out) {
  (void)vfs;
  return R.parent->xRandomness(R.parent, n, out);
}

static int rec_sleep(sqlite3_vfs *vfs, int microseconds) {
  int rc = SQLITE_OK;
  bool fail;
  (void)vfs;
  size_t index = begin(REC_SLEEP, REC_OTHER, "", 0, 0, microseconds, NULL, &rc, &fail);
  return finish(index, R.fake_sleep ? microseconds : R.parent->xSleep(R.parent, microseconds));
}

static int rec_current_time(sqlite3_vfs *vfs, double *out) {
  (void)vfs;
  return R.parent->xCurrentTime(R.parent, out);
}

static int rec_last_error(sqlite3_vfs *vfs, int n, char *out) {
  (void)vfs;
  return R.parent->xGetLastError(R.parent, n, out);
}

static int rec_current_time64(sqlite3_vfs *vfs, sqlite3_int64 *out) {
  (void)vfs;
  return R.parent->xCurrentTimeInt64(R.parent, out);
}

static int rec_set_call(sqlite3_vfs *vfs, const char *name, sqlite3_syscall_ptr call) {
  (void)vfs;
  return R.parent->xSetSystemCall(R.parent, name, call);
}

static sqlite3_syscall_ptr rec_get_call(sqlite3_vfs *vfs, const char *name) {
  (void)vfs;
  return R.parent->xGetSystemCall(R.parent, name);
}

static const char *rec_next_call(sqlite3_vfs *vfs, const char *name) {
  (void)vfs;
  return R.parent->xNextSystemCall(R.parent, name);
}

extern bool uringvfs__trust_any_parent; /* vfs/internal.h */

int recorder_install(void) {
  uringvfs__trust_any_parent = true;
  int rc = sqlite3_initialize();
  if (rc != SQLITE_OK) return rc;
  R.parent = sqlite3_vfs_find(NULL);
  if (!R.parent || R.parent->iVersion < 3) return SQLITE_ERROR;
  R.vfs = (sqlite3_vfs){
      .iVersion = 3,
      .szOsFile = (int)sizeof(rec_file) + R.parent->szOsFile,
      .mxPathname = R.parent->mxPathname,
      .zName = RECORDER_VFS,
      .xOpen = rec_open,
      .xDelete = rec_delete,
      .xAccess = rec_access,
      .xFullPathname = rec_full_pathname,
      .xDlOpen = rec_dl_open,
      .xDlError = rec_dl_error,
      .xDlSym = rec_dl_sym,
      .xDlClose = rec_dl_close,
      .xRandomness = rec_randomness,
      .xSleep = rec_sleep,
      .xCurrentTime = rec_current_time,
      .xGetLastError = rec_last_error,
      .xCurrentTimeInt64 = rec_current_time64,
      .xSetSystemCall = rec_set_call,
      .xGetSystemCall = rec_get_call,
      .xNextSystemCall = rec_next_call,
  };
  return sqlite3_vfs_register(&R.vfs, 1);
}

/* ---- what the tests ask ---- */

void recorder_clear_log(void) {
  pthread_mutex_lock(&R.mutex);
  R.count = 0;
  pthread_mutex_unlock(&R.mutex);
}

void recorder_reset(void) {
  recorder_clear_log();
  recorder_fail_off();
  recorder_hook(NULL, NULL);
  recorder_set_device(-1, 0, 0);
  recorder_fake_sleep(false);
}

size_t recorder_count(void) { return R.count; }

const rec_call *recorder_at(size_t i) { return i < R.count ? &R.calls[i] : NULL; }

static bool matches(const rec_call *c, rec_kind kind, rec_role role) {
  return (kind == REC_ANY || c->kind == kind) && (role == REC_ANY_ROLE || c->role == role);
}

size_t recorder_tally(rec_kind kind, rec_role role, size_t from) {
  size_t n = 0;
  for (size_t i = from; i < R.count; i++) n += matches(&R.calls[i], kind, role);
  return n;
}

size_t recorder_find(rec_kind kind, rec_role role, size_t from) {
  while (from < R.count && !matches(&R.calls[from], kind, role)) from++;
  return from;
}

sqlite3_int64 recorder_bytes(rec_kind kind, rec_role role, size_t from) {
  sqlite3_int64 n = 0;
  for (size_t i = from; i < R.count; i++)
    if (matches(&R.calls[i], kind, role)) n += R.calls[i].bytes;
  return n;
}

void recorder_fail(rec_kind kind, rec_role role, int nth, int times, int rc) {
  pthread_mutex_lock(&R.mutex);
  R.fail_kind = kind;
  R.fail_role = role;
  R.fail_nth = nth;
  R.fail_times = times;
  R.fail_rc = rc;
  R.fail_done = 0;
  R.fail_armed = 1;
  pthread_mutex_unlock(&R.mutex);
}

int recorder_failed(void) { return R.fail_done; }

void recorder_fail_off(void) {
  pthread_mutex_lock(&R.mutex);
  R.fail_armed = 0;
  pthread_mutex_unlock(&R.mutex);
}

void recorder_hook(recorder_hook_fn hook, void *arg) {
  pthread_mutex_lock(&R.mutex);
  R.hook = hook;
  R.hook_arg = arg;
  pthread_mutex_unlock(&R.mutex);
}

void recorder_set_device(int and_mask, int or_mask, int sector_size) {
  R.and_mask = and_mask;
  R.or_mask = or_mask;
  R.sector_size = sector_size;
}

void recorder_fake_sleep(bool on) { R.fake_sleep = on; }

static const char *const kind_names[REC_KIND_COUNT] = {
    "any",     "open",      "close",  "read",      "write",   "truncate", "sync",
    "size",    "lock",      "unlock", "reserved?", "control", "shm-map",  "shm-lock",
    "barrier", "shm-unmap", "fetch",  "unfetch",   "delete",  "access",   "sleep"};

void recorder_dump(void) {
  for (size_t i = 0; i < R.count; i++) {
    const rec_call *c = &R.calls[i];
    fprintf(stderr, "%4zu %-9s %-20s offset %lld bytes %lld arg %d rc %d (lock %d, shm %x)\n", i, kind_names[c->kind],
            c->name, (long long)c->offset, (long long)c->bytes, c->arg, c->rc, c->locks_held, c->shm_held);
  }
}

char *recorder_shape(size_t from) {
  size_t room = 1 << 16, n = 0;
  char *out = malloc(room);
  const rec_call *last = NULL;
  if (!out) abort();
  out[0] = 0;
  for (size_t i = from; i < R.count; i++) {
    const rec_call *c = &R.calls[i];
    char extra[48] = "";
    switch (c->kind) {
    case REC_READ:
    case REC_ACCESS:
    case REC_FILE_SIZE:
    case REC_FETCH:
    case REC_UNFETCH:
    case REC_SHM_BARRIER:
    case REC_SHM_MAP: continue;
    case REC_CONTROL:
      /* the ones that mark a place in a transaction or a checkpoint; others are questions */
      if (c->arg != SQLITE_FCNTL_SYNC && c->arg != SQLITE_FCNTL_COMMIT_PHASETWO && c->arg != SQLITE_FCNTL_CKPT_START &&
          c->arg != SQLITE_FCNTL_CKPT_DONE && c->arg != SQLITE_FCNTL_SYNC_OMITTED)
        continue;
      snprintf(extra, sizeof extra, "(%d)", c->arg);
      break;
    case REC_WRITE:
      if (last && last->kind == REC_WRITE && last->name == c->name && last->rc == c->rc) continue;
      break;
    case REC_TRUNCATE: snprintf(extra, sizeof extra, "(%lld)", (long long)c->offset); break;
    case REC_SHM_LOCK:
      snprintf(extra, sizeof extra, "(%lld+%lld,%d)", (long long)c->offset, (long long)c->bytes, c->arg);
      break;
    case REC_LOCK:
    case REC_UNLOCK:
    case REC_SYNC:
    case REC_DELETE:
    case REC_SLEEP: snprintf(extra, sizeof extra, "(%d)", c->arg); break;
    default: break;
    }
    last = c;
    if (n + 256 > room) {
      room *= 2;
      out = realloc(out, room);
      if (!out) abort();
    }
    n += (size_t)snprintf(out + n, room - n, "%s:%s%s", c->name, kind_names[c->kind], extra);
    n += (size_t)(c->rc && c->kind != REC_SLEEP ? snprintf(out + n, room - n, "=%d\n", c->rc)
                                                : snprintf(out + n, room - n, "\n"));
  }
  return out;
}

long recorder_check_locks(void) {
  for (size_t i = 0; i < R.count; i++) {
    const rec_call *c = &R.calls[i];
    if (c->kind != REC_WRITE && c->kind != REC_TRUNCATE) continue;
    if (c->role == REC_WAL && !(c->shm_held & 1u) && !(c->shm_held & 2u) && c->locks_held < SQLITE_LOCK_EXCLUSIVE)
      return (long)i;
    if (c->role == REC_DB && c->locks_held < SQLITE_LOCK_EXCLUSIVE && !(c->shm_held & 2u)) return (long)i;
  }
  return -1;
}
