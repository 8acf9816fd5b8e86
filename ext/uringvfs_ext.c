/*
** uringvfs_ext.c - the entry points that SQLite calls.
**
** Compiled twice. In uringvfs.so (sqlite3_load_extension) SQLite is reached only through the table of the library that
** loads it: that may be one of its own inside a Python or Node module, whose symbols nobody else sees. In liburingvfs.a
** (SQLITE_CORE) SQLite is linked directly.
**
** Any thread may call these; SQLite does not serialize the loading by several connections.
*/
#ifdef SQLITE_CORE
#include <sqlite3.h>
struct sqlite3_api_routines;
#else
#include <sqlite3ext.h>
SQLITE_EXTENSION_INIT1
#endif

#include <stddef.h>

#include "uringvfs.h"
#include "uringvfs_ext.h"

/* sqlite3_database_file_object() came with 3.32.0. An older library's table ends before it. */
enum { OLDEST_SQLITE = 3032000 };
_Static_assert(SQLITE_VERSION_NUMBER >= OLDEST_SQLITE,
               "the headers of SQLite 3.32.0 or later are needed to build this");

#ifndef SQLITE_CORE
/* The result that keeps the library in memory: the VFS outlives the connection that loaded it. */
#define LOADED SQLITE_OK_LOAD_PERMANENTLY

/*
** Two SQLite libraries in one process (a module with one of its own, and the system's) share this object, but it can
** belong to one of them only: memory and mutexes of one must not come from the other. A library has one table, so its
** address tells them apart.
*/
static int adopt(const sqlite3_api_routines *api, char **message) {
  const sqlite3_api_routines *owner = NULL;
  if (api->libversion_number() < OLDEST_SQLITE) {
    if (message) *message = api->mprintf("uringvfs needs SQLite 3.32.0 or later, this is %s", api->libversion());
    return SQLITE_ERROR;
  }
  if (!__atomic_compare_exchange_n(&sqlite3_api, &owner, api, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE) && owner != api) {
    if (message)
      *message =
          api->mprintf("uringvfs is in use by another SQLite library (%s) of this process: load a copy of the file",
                       owner->libversion());
    return SQLITE_ERROR;
  }
  return SQLITE_OK;
}
#else
/* For sqlite3_auto_extension() anything but SQLITE_OK is an error that fails sqlite3_open(). */
#define LOADED SQLITE_OK

static int adopt(const struct sqlite3_api_routines *api, char **message) {
  (void)api;
  if (sqlite3_libversion_number() < OLDEST_SQLITE) {
    if (message) *message = sqlite3_mprintf("uringvfs needs SQLite 3.32.0 or later, this is %s", sqlite3_libversion());
    return SQLITE_ERROR;
  }
  return SQLITE_OK;
}
#endif

static int load(int make_default, char **message, const struct sqlite3_api_routines *api) {
  int rc = adopt(api, message);
  if (rc != SQLITE_OK) return rc;
  rc = uringvfs_register(make_default);
  if (rc == SQLITE_OK) return LOADED;
  if (message) *message = sqlite3_mprintf("uringvfs cannot be registered: %s", sqlite3_errstr(rc));
  return rc;
}

__attribute__((visibility("default"))) int sqlite3_uringvfs_init(sqlite3 *db, char **message,
                                                                 const struct sqlite3_api_routines *api) {
  (void)db;
  return load(0, message, api);
}

__attribute__((visibility("default"))) int sqlite3_uringvfs_default_init(sqlite3 *db, char **message,
                                                                         const struct sqlite3_api_routines *api) {
  (void)db;
  return load(1, message, api);
}

#ifdef SQLITE_CORE
int sqlite3_uringvfs_extra_init(const char *unused) {
  (void)unused;
  return uringvfs_register(0);
}

int sqlite3_uringvfs_default_extra_init(const char *unused) {
  (void)unused;
  return uringvfs_register(1);
}
#endif
