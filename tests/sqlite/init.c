/*
** init.c - what SQLite's test programs run as SQLITE_EXTRA_INIT, at the end of every sqlite3_initialize().
**
** The environment variable URINGVFS_CHECK says what this run proves:
**
**     default   nothing is registered: the run on the default VFS, with the same program
**     uring     the VFS is registered as default
**     ring      the same, and every connection that says nothing else has uring_backend=uring
**     sync      the same, with uring_backend=sync
**
** The product has no such variable: register.c of these programs is compiled with backend.h, which puts this file's
** variable in the place of the constant.
*/
#include "backend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "uringvfs.h"

rt_backend_choice uringvfs_check_backend = RT_BACKEND_AUTO;

int uringvfs_check_init(const char *unused);

int uringvfs_check_init(const char *unused) {
  (void)unused;
  const char *mode = getenv("URINGVFS_CHECK");
  if (mode != NULL && strcmp(mode, "default") == 0) return 0;
  if (mode != NULL && strcmp(mode, "ring") == 0)
    uringvfs_check_backend = RT_BACKEND_URING;
  else if (mode != NULL && strcmp(mode, "sync") == 0)
    uringvfs_check_backend = RT_BACKEND_SYNC;
  else if (mode == NULL || strcmp(mode, "uring") != 0) {
    fprintf(stderr, "URINGVFS_CHECK must be default, uring, ring or sync\n");
    exit(2); /* a wrong word must not pass for a run of the VFS */
  }
  return uringvfs_register(1);
}
