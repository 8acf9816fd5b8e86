/*
** uringvfs.h - the SQLite VFS "uring": page I/O through completions on io_uring, everything else by the default VFS.
**
** Link with liburingvfs and call uringvfs_register() once, before or after opening other connections. Then open
** databases with
**
**     sqlite3_open_v2("app.db", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "uring");
**     sqlite3_open_v2("file:app.db?vfs=uring", &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL);
**
** Options are URI parameters, and each is also a PRAGMA of the connection (PRAGMA uring_backend='sync'):
**
**     option           values               default
**     uring_backend    auto | uring | sync  auto     auto: io_uring where it is the faster way; uring: for all page
**                                                    I/O, refused where it cannot be had; sync: the default VFS's own
**                                                    system calls
**     uring_commit     strict               strict   group is not available yet
**     uring_lock       shared               shared   process is not available yet
**     uring_readahead  0 to 120             64       pages to read ahead in one batch at most; 0: none
**
** A wrong value or an unknown uring_ name is refused with SQLITE_ERROR, the reason is in sqlite3_log() for a URI and in
** sqlite3_errmsg() for a PRAGMA. PRAGMA uring_stats returns the process's counters as a JSON object.
*/
#ifndef URINGVFS_H
#define URINGVFS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define URINGVFS_API __attribute__((visibility("default")))
#else
#define URINGVFS_API
#endif

#define URINGVFS_VERSION "0.1.0"

/*
** Registers the VFS "uring" over the VFS that is the default at this moment, its parent from then on. make_default (0
** or 1) says whether sqlite3_open() uses it when no VFS is named. Calling it again with 1 makes it the default, with 0
** changes nothing.
**
** Returns SQLITE_OK, SQLITE_ERROR if there is no default VFS, or what sqlite3_vfs_register() answers. May be called by
** any thread. sqlite3_initialize() is called if necessary; do not call it from sqlite3_os_init(). It fits
** SQLITE_EXTRA_INIT (whose argument is a string, NULL: not the default).
*/
URINGVFS_API int uringvfs_register(int make_default);

#ifdef __cplusplus
}
#endif
#endif
