/*
** register.c - the sqlite3_vfs "uring": a shim over the VFS that was the default when it was registered.
**
** It opens files and answers nothing else itself: names, permissions, temporary files, time and randomness are the
** parent's.
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

bool uringvfs__parent_trusted;

int uringvfs__ring_unavailable(void) { return uringvfs__parent_trusted ? rt_pool_probe(uringvfs__pool) : -EOPNOTSUPP; }

int uringvfs__ring_state(void) { return uringvfs__parent_trusted ? rt_pool_state(uringvfs__pool) : -EOPNOTSUPP; }

const char *uringvfs__ring_unavailable_text(int error, char *text, size_t text_bytes) {
  if (error != -EOPNOTSUPP) return uringvfs__errno_text(error, text, text_bytes);
  sqlite3_snprintf((int)text_bytes, text, "the parent VFS \"%s\" may store other bytes than it is given",
                   uringvfs__parent_vfs->zName);
  return text;
}

void uringvfs__tell_about_refusals(void) {
  int error;
  char text[128];
  switch (rt_pool_take_notice(uringvfs__pool, &error)) {
  case RT_REFUSED_RING:
    sqlite3_log(SQLITE_NOTICE, "uringvfs: io_uring cannot be had (%s); the synchronous backend is used",
                uringvfs__errno_text(error, text, sizeof text));
    break;
  case RT_REFUSED_WORKER:
    sqlite3_log(SQLITE_NOTICE, "uringvfs: io_uring gets no worker thread (%s); writes are done by system calls",
                uringvfs__errno_text(error, text, sizeof text));
    break;
  case RT_REFUSED_NOTHING: break;
  }
}

static void tell_about_untrusted_parent(void) {
  static atomic_flag told = ATOMIC_FLAG_INIT;
  char text[128];
  if (uringvfs__parent_trusted || atomic_flag_test_and_set(&told)) return;
  sqlite3_log(SQLITE_NOTICE, "uringvfs: %s: every call is passed on to it as it is",
              uringvfs__ring_unavailable_text(-EOPNOTSUPP, text, sizeof text));
}

/* ---- opening ---- */

/* Before the parent opens anything: a wrong option must not leave a new empty file behind. */
static int prepare_database(uringvfs__file *f, int flags) {
  f->role = URINGVFS__DATABASE;
  f->options = (uringvfs__options){.backend = URINGVFS_DEFAULT_BACKEND, .readahead = URINGVFS__READAHEAD_DEFAULT};
  /* Without SQLITE_OPEN_URI no parameters follow the name (os_unix.c, fillInUnixFile). */
  const bool parameters = (flags & SQLITE_OPEN_URI) != 0;
  int rc = parameters ? uringvfs__options_from_uri(f->name, &f->options) : SQLITE_OK;
  if (rc == SQLITE_OK) tell_about_untrusted_parent();
  return rc;
}

/* Without a database file (another shim is above, or a program calls xOpen itself) every write goes through. */
static void link_wal(uringvfs__file *f, int flags) {
  f->role = URINGVFS__WAL;
  if (f->plain || !(flags & SQLITE_OPEN_READWRITE)) return; /* SQLite never asks for less */
  f->database = uringvfs__database_claim(f);
  if (f->database != NULL) uringvfs__tenure_event(f->database, URINGVFS__EVENT_WAL, 1);
}

static int fail_open(uringvfs__file *f, int rc) {
  if (f->parent->pMethods != NULL) f->parent->pMethods->xClose(f->parent);
  f->base.pMethods = NULL;
  if (f->role == URINGVFS__DATABASE) uringvfs__shared_trim();
  return rc;
}

static int uring_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags) {
  uringvfs__file *f = (uringvfs__file *)file;
  (void)vfs;
  memset(f, 0, sizeof *f);
  f->parent = (sqlite3_file *)(f + 1);
  f->parent->pMethods = NULL;
  f->name = name;
  f->plain = !uringvfs__parent_trusted;
  f->tenure.read_mark = -1;
  f->generation = atomic_load_explicit(&uringvfs__process_generation, memory_order_relaxed);

  uringvfs__fork_close_inherited();

  int rc = SQLITE_OK;
  if ((flags & SQLITE_OPEN_MAIN_DB) && name != NULL) rc = prepare_database(f, flags);
  if (rc == SQLITE_OK) rc = uringvfs__descriptor_open(name, f->parent, flags, out_flags, &f->descriptor);
  if (rc != SQLITE_OK) return fail_open(f, rc);
  if (f->plain) f->descriptor.fd = -1; /* it is a lower VFS's */
  rt_file_init_shared(&f->io, f->descriptor.fd, uringvfs__inline_operation);
  f->io.inline_max = URINGVFS__PARENT_MAX_BYTES;
  if (f->role == URINGVFS__DATABASE) {
    if (uringvfs__shared_join(f) != SQLITE_OK) return fail_open(f, SQLITE_NOMEM);
    const bool immutable = (flags & SQLITE_OPEN_URI) && sqlite3_uri_boolean(name, "immutable", 0);
    uringvfs__tenure_event(f, URINGVFS__EVENT_IMMUTABLE, immutable);
  }
  if ((flags & SQLITE_OPEN_WAL) && name != NULL) link_wal(f, flags);
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

/* What the parent cannot do SQLite must see as missing: it falls back on xCurrentTime, say, or does without xDelete. */
static void mirror_gaps(const sqlite3_vfs *parent) {
#define GAP(method)                                                                                                    \
  if (parent->method == NULL) uring_vfs.method = NULL
  GAP(xDelete);
  GAP(xAccess);
  GAP(xFullPathname);
  GAP(xDlOpen);
  GAP(xDlError);
  GAP(xDlSym);
  GAP(xDlClose);
  GAP(xRandomness);
  GAP(xSleep);
  GAP(xCurrentTime);
  GAP(xGetLastError);
  if (parent->iVersion < 2 || parent->xCurrentTimeInt64 == NULL) uring_vfs.xCurrentTimeInt64 = NULL;
  if (parent->iVersion < 3) return;
  GAP(xSetSystemCall);
  GAP(xGetSystemCall);
  GAP(xNextSystemCall);
#undef GAP
}

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
  uring_vfs.szOsFile = (int)sizeof(uringvfs__file) + parent->szOsFile;
  mirror_gaps(parent);
  uringvfs__parent_vfs = parent;
  uringvfs__parent_trusted = uringvfs__trusts(parent);
  if (uringvfs__parent_trusted) uringvfs__descriptor_watch(parent);
  return SQLITE_OK;
}

/*
** Another copy of this library, which its own program or package has loaded, serves the same SQLite. Over it this one
** would take its pieces for SQLite's and hide its answers.
*/
static int leave_to_other(sqlite3_vfs *other, int make_default) {
  sqlite3_log(SQLITE_NOTICE,
              "uringvfs: the VFS \"uring\" is registered already, by another copy of this library; that one is used");
  return make_default ? sqlite3_vfs_register(other, 1) : SQLITE_OK;
}

int uringvfs_register(int make_default) {
  static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
#ifndef URINGVFS_EXTENSION
  /* SQLITE_EXTRA_INIT runs inside sqlite3_initialize(), which then returns at once. */
  int initialized = sqlite3_initialize();
  if (initialized != SQLITE_OK) return initialized;
#endif
  sqlite3_vfs *present = sqlite3_vfs_find(uring_vfs.zName);
  if (present != NULL && present != &uring_vfs) return leave_to_other(present, make_default);
  pthread_mutex_lock(&mutex);
  const bool registered = uringvfs__parent_vfs != NULL;
  int rc = registered ? SQLITE_OK : adopt_parent();
  /* Registering anew without make_default would take the default away from whoever asked for it. */
  if (rc == SQLITE_OK && (!registered || make_default)) rc = sqlite3_vfs_register(&uring_vfs, make_default);
  pthread_mutex_unlock(&mutex);
  return rc;
}
