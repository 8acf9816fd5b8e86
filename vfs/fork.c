/*
** fork.c - what a child process may do.
**
** SQLite forbids carrying a connection across fork(2): locks are not inherited, and two processes would write with one
** cache. The child's rings would be the parent's too. So a file knows the process that opened it, and in any other every call
** on it fails at once and touches nothing. A connection that the child opens itself works: the pool has forgotten the
** parent's rings by then, whose memory is not even mapped in the child (MADV_DONTFORK).
*/
#include "internal.h"

#include <pthread.h>

_Atomic unsigned uringvfs__process_generation = 1;

static void before_fork(void) {
  uringvfs__inode_before_fork();
  uringvfs__wal_before_fork();
  rt_pool_before_fork(uringvfs__pool);
}

static void after_fork_in_parent(void) {
  rt_pool_after_fork_parent(uringvfs__pool);
  uringvfs__wal_after_fork();
  uringvfs__inode_after_fork();
}

static void after_fork_in_child(void) {
  atomic_fetch_add_explicit(&uringvfs__process_generation, 1, memory_order_relaxed);
  rt_pool_after_fork(uringvfs__pool);
  uringvfs__wal_after_fork();
  uringvfs__inode_after_fork();
}

int uringvfs__fork_init(void) { return pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

int uringvfs__fork_refuse(uringvfs_file *f, int rc) {
  if (!f->fork_logged)
    sqlite3_log(rc, "uringvfs: %s: the connection was opened before fork(); the child must open its own",
                f->name != NULL ? f->name : "(temporary file)");
  f->fork_logged = true;
  return rc;
}
