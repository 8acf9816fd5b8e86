/*
** fork.c - what a child process may do.
**
** SQLite forbids carrying a connection across fork(2): locks are not inherited, and two processes would write with one
** cache. The child's rings would be the parent's too. So a file knows the process that opened it, and in any other every call
** on it fails at once and touches nothing. Two things go past that and are dealt with here:
**
**  - The wal-index is shared memory, which the child has inherited. Rolling back, SQLite clears its hash tables with no call of the VFS
**    (wal.c, sqlite3WalUndo), and the parent would no longer find frames that it has written. Of a connection that was
**    writing at the fork, the child gets a private copy.
**  - unix VFS keeps a process's locks in memory (unixInodeInfo, unixShmNode), and the child has inherited what it says of the parent's. A
**    connection that the child opens would take locks from there that the kernel never gave. So the inherited files are
**    closed; in the child that releases nothing, since POSIX locks belong to the parent process. It is done at once if the process had one
**    thread. Otherwise other threads may have held mutexes, and it waits for the child's first opening through this VFS; by POSIX
**    such a child may only call async-signal-safe functions anyway.
**
** The pool has forgotten the parent's rings by then, whose memory is not even mapped in the child (MADV_DONTFORK).
*/
#include "internal.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <unistd.h>

_Atomic unsigned uringvfs__process_generation = 1;

static unsigned current_generation(void) {
  return atomic_load_explicit(&uringvfs__process_generation, memory_order_relaxed);
}

/* ---- the wal-index ---- */

void uringvfs__fork_note_region(uringvfs_file *f, int region, void *memory, int size) {
  const long page = sysconf(_SC_PAGESIZE);
  if (region != f->region_count || ((uintptr_t)memory | (uintptr_t)size) % (uintptr_t)page != 0) return;
  uringvfs__databases_lock();
  uringvfs_region *regions = realloc(f->regions, (size_t)(region + 1) * sizeof *regions);
  if (regions != NULL) {
    regions[region] = (uringvfs_region){memory, (size_t)size};
    f->regions = regions;
    f->region_count = region + 1;
  }
  uringvfs__databases_unlock();
}

static void *private_copy(const uringvfs_region *r) {
  void *copy = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED) return NULL;
  memcpy(copy, r->memory, r->size);
  return copy;
}

static bool is_writing(const uringvfs_file *f) {
  return f->holds_write_lock || (f->wal != NULL && f->wal->writer.touched);
}

/* Only system calls: this runs in the child of a process that may have had other threads. */
static void make_wal_index_private(const uringvfs_file *f) {
  for (int i = 0; i < f->region_count; i++) {
    const uringvfs_region *r = &f->regions[i];
    void *copy = private_copy(r);
    if (copy != NULL) (void)mremap(copy, r->size, r->size, MREMAP_MAYMOVE | MREMAP_FIXED, r->memory);
  }
}

/* SQLite still has pointers into the wal-index of a connection that is no use any more: what it may read or write there stays
** mapped, as private memory. */
static void unmap_wal_index(uringvfs_file *f) {
  void **copies = calloc((size_t)f->region_count + 1, sizeof *copies);
  for (int i = 0; copies != NULL && i < f->region_count; i++) copies[i] = private_copy(&f->regions[i]);
  f->parent->pMethods->xShmUnmap(f->parent, 0);
  for (int i = 0; copies != NULL && i < f->region_count; i++) {
    const uringvfs_region *r = &f->regions[i];
    if (copies[i] == NULL) continue;
    void *place = mmap(r->memory, r->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (place == r->memory) /* else another inherited connection still has it mapped */
      (void)mremap(copies[i], r->size, r->size, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    else
      munmap(copies[i], r->size);
  }
  free(copies);
}

/* ---- inherited files ---- */

static void close_inherited(uringvfs_file *f) {
  if (f->fetched > 0) return; /* pages of its mapping are in use; only the locks' memory stays behind */
  if (f->region_count > 0) unmap_wal_index(f);
  f->parent->pMethods->xClose(f->parent);
  f->parent->pMethods = NULL;
}

static void close_all_inherited(void) {
  const unsigned now = current_generation();
  for (uringvfs_file *f = uringvfs__databases_first(); f != NULL; f = f->next_database)
    if (f->generation != now && f->parent->pMethods != NULL) close_inherited(f);
}

void uringvfs__fork_close_inherited(void) {
  static unsigned done = 1; /* the first process has inherited nothing */
  const unsigned now = current_generation();
  uringvfs__databases_lock();
  if (done != now) close_all_inherited();
  done = now;
  uringvfs__databases_unlock();
}

bool uringvfs__fork_is_inherited_memory(const void *memory) {
  bool found = false;
  const unsigned now = current_generation();
  if (now == 1) return false;
  uringvfs__databases_lock();
  for (uringvfs_file *f = uringvfs__databases_first(); f != NULL && !found; f = f->next_database)
    for (int i = 0; f->generation != now && i < f->region_count && !found; i++)
      found = f->regions[i].memory == memory && f->wal_index_private;
  uringvfs__databases_unlock();
  return found;
}

/* ---- around fork(2) ---- */

static bool one_thread;

static void before_fork(void) {
  uringvfs__databases_lock();
  uringvfs__inode_before_fork();
  uringvfs__blocks_before_fork();
  rt_pool_before_fork(uringvfs__pool);
  one_thread = __libc_single_threaded;
}

static void after_fork_in_parent(void) {
  rt_pool_after_fork_parent(uringvfs__pool);
  uringvfs__blocks_after_fork();
  uringvfs__inode_after_fork();
  uringvfs__databases_unlock();
}

static void after_fork_in_child(void) {
  atomic_fetch_add_explicit(&uringvfs__process_generation, 1, memory_order_relaxed);
  rt_pool_after_fork(uringvfs__pool);
  for (uringvfs_file *f = uringvfs__databases_first(); f != NULL; f = f->next_database) {
    if (f->parent->pMethods == NULL || !is_writing(f)) continue;
    make_wal_index_private(f);
    f->wal_index_private = true;
  }
  if (one_thread) close_all_inherited();
  uringvfs__blocks_after_fork();
  uringvfs__inode_after_fork();
  uringvfs__databases_unlock();
}

int uringvfs__fork_init(void) { return pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

int uringvfs__fork_refuse(uringvfs_file *f, int rc) {
  if (!f->fork_logged)
    sqlite3_log(rc, "uringvfs: %s: the connection was opened before fork(); the child must open its own",
                f->name != NULL ? f->name : "(temporary file)");
  f->fork_logged = true;
  return rc;
}
