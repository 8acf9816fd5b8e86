/*
** uringvfs_ext.h - the entry points of the extension, for programs that have it built in.
**
** Statically linked (liburingvfs.a) these fit sqlite3_auto_extension() and SQLITE_EXTRA_INIT:
**
**     sqlite3_auto_extension((void (*)(void))sqlite3_uringvfs_init);       from the next connection on
**     cc -DSQLITE_EXTRA_INIT=sqlite3_uringvfs_extra_init sqlite3.c ...     in every program that uses this SQLite
**
** A program that links the library may as well call uringvfs_register() of uringvfs.h. The loadable uringvfs.so has the
** first two, for sqlite3_load_extension().
*/
#ifndef URINGVFS_EXT_H
#define URINGVFS_EXT_H

#include <sqlite3.h>

#ifdef __cplusplus
extern "C" {
#endif

struct sqlite3_api_routines;

/* Registers the VFS "uring"; connections name it (vfs=uring). db is not used. */
int sqlite3_uringvfs_init(sqlite3 *db, char **message, const struct sqlite3_api_routines *api);
/* The same, and makes it the default VFS. */
int sqlite3_uringvfs_default_init(sqlite3 *db, char **message, const struct sqlite3_api_routines *api);
/* Static builds only: the same two as hooks of SQLITE_EXTRA_INIT. */
int sqlite3_uringvfs_extra_init(const char *unused);
int sqlite3_uringvfs_default_extra_init(const char *unused);

#ifdef __cplusplus
}
#endif
#endif
