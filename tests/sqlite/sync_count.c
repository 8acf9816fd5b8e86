/*
** sync_count.c - counts the syncs that rings make among SQLite's own.
**
** os_unix.c, built for tests, counts its fsync() calls in sqlite3_sync_count, and scripts compare that with the syncs
** that each statement needs. A sync through a ring does not pass there. testfixture is linked with --wrap for the two
** functions of the VFS that sync, so that these scripts check the syncs of rings as well. (A program with more than one
** thread at work may count another thread's sync; so may SQLite's own counter.)
*/
#include "rt.h"

#include <sqlite3.h>

#include "internal.h"

extern int sqlite3_sync_count, sqlite3_fullsync_count;

/* By the type of the real one: a changed signature must not go unnoticed. */
extern __typeof__(uringvfs__sync) __real_uringvfs__sync, __wrap_uringvfs__sync;
extern __typeof__(uringvfs__write_group) __real_uringvfs__write_group, __wrap_uringvfs__write_group;

static int syncs_on_rings(void) {
  rt_stats stats;
  rt_stats_read(&stats);
  return (int)(stats.ops[RT_FDATASYNC] - stats.inline_ops[RT_FDATASYNC]);
}

static void count(int before, bool full) {
  const int made = syncs_on_rings() - before;
  sqlite3_sync_count += made;
  if (full) sqlite3_fullsync_count += made;
}

int __wrap_uringvfs__sync(uringvfs__file *f, int flags) {
  const int before = syncs_on_rings();
  int rc = __real_uringvfs__sync(f, flags);
  count(before, (flags & 0x0f) == SQLITE_SYNC_FULL);
  return rc;
}

int __wrap_uringvfs__write_group(uringvfs__file *f, const void *data, uint32_t amount, uint64_t offset, bool *sync,
                                 int *sync_rc) {
  const int before = syncs_on_rings();
  int rc = __real_uringvfs__write_group(f, data, amount, offset, sync, sync_rc);
  count(before, false);
  return rc;
}
