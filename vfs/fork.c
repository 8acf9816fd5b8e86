/*
** fork.c - what a child process may do.
**
** SQLite forbids carrying a connection across fork(2): locks are not inherited, and two processes would write with one
** cache. The child's rings would be the parent's too. So a file knows the process that opened it, and in any other
** every call on it fails at once and touches nothing. Two things go past that and are dealt with here:
**
**  - The wal-index is shared memory, which the child has inherited. Rolling back, SQLite clears its hash tables with no
**    call of the VFS (wal.c, sqlite3WalUndo), and the parent would no longer find frames that it has written. Of a
**    database that was being written at the fork, the child gets a private copy.
**  - unix VFS keeps a process's locks in memory (unixInodeInfo, unixShmNode), and the child has inherited what it says
**    of the parent's. A connection that the child opens would take locks from there that the kernel never gave. So the
**    inherited files are closed; in the child that releases nothing, since POSIX locks belong to the parent process. It
**    is done at once if the process had one thread. Otherwise other threads may have held mutexes, and it waits for the
**    child's first opening through this VFS; by POSIX such a child may only call async-signal-safe functions anyway.
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

/* Whole pages of memory: a piece is smaller than a page where pages are larger than usual. */
typedef struct piece {
  char *memory;
  size_t bytes;
} piece;

/* Number i of the wal-index; memory NULL: not mapped. With unix-excl it is heap memory (os_unix.c, unixShmMap), which
** the child has to itself. */
static piece piece_of(const uringvfs__shared *s, int i) {
  const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)uringvfs__shared_region(s, i);
  if (at == 0 || strcmp(uringvfs__parent_vfs->zName, "unix-excl") == 0) return (piece){NULL, 0};
  const uintptr_t begin = at & ~(page - 1), end = (at + URINGVFS__REGION_BYTES + page - 1) & ~(page - 1);
  return (piece){(char *)begin, end - begin};
}

static void *private_copy(piece p) {
  if (p.memory == NULL) return NULL;
  void *copy = mmap(NULL, p.bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (copy == MAP_FAILED) return NULL;
  memcpy(copy, p.memory, p.bytes);
  return copy;
}

/* Does the wal-index say what is not committed yet? */
static bool is_writing(const uringvfs__file *f) {
  return f->tenure.write_lock || f->tenure.state == URINGVFS__TENURE_ALONE;
}

/* Only system calls: this runs in the child of a process that may have had other threads. */
static void make_wal_index_private(uringvfs__shared *s) {
  if (s->private_index) return;
  s->private_index = true;
  for (int i = 0; i < s->region_end; i++) {
    const piece p = piece_of(s, i);
    void *copy = private_copy(p);
    if (copy != NULL) (void)mremap(copy, p.bytes, p.bytes, MREMAP_MAYMOVE | MREMAP_FIXED, p.memory);
  }
}

/* Moves memory to where other memory was, unless there is something again. */
static void move_back(void *memory, size_t bytes, void *to) {
  void *place = mmap(to, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  if (place == to)
    (void)mremap(memory, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to);
  else
    munmap(memory, bytes);
}

/* SQLite still has pointers into the wal-index of a connection that is no use any more: what it may read or write there
** stays mapped, as private memory. */
static void unmap_wal_index(uringvfs__file *f) {
  uringvfs__shared *s = f->shared;
  void **copies = calloc((size_t)s->region_end + 1, sizeof *copies);
  for (int i = 0; copies != NULL && i < s->region_end; i++) copies[i] = private_copy(piece_of(s, i));
  f->parent->pMethods->xShmUnmap(f->parent, 0);
  for (int i = 0; copies != NULL && i < s->region_end; i++) {
    const piece p = piece_of(s, i);
    if (copies[i] != NULL) move_back(copies[i], p.bytes, p.memory);
  }
  free(copies);
}

/* ---- inherited files ---- */

/*
** And it has pointers to pages of the mapping, of which it may still read: a second mapping of them stays when the
** parent VFS unmaps its own. (With an old size of 0, mremap duplicates a shared mapping.) The pages are given back
** first: os_unix.c asserts that none is in use.
*/
static void close_mapped(uringvfs__file *f) {
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), bytes = (f->fetch_bytes + page - 1) & ~(page - 1);
  uint8_t *base = f->fetch_base;
  void *second = f->fetched > 0 ? mremap(base, 0, bytes, MREMAP_MAYMOVE) : MAP_FAILED;
  for (; f->fetched > 0; f->fetched--) f->parent->pMethods->xUnfetch(f->parent, 0, base);
  f->parent->pMethods->xClose(f->parent);
  if (second != MAP_FAILED) move_back(second, bytes, base);
}

static void close_inherited(uringvfs__file *f) {
  if (f->mapped) unmap_wal_index(f);
  close_mapped(f);
  f->parent->pMethods = NULL;
}

static void close_all_inherited(void) {
  const unsigned now = current_generation();
  for (uringvfs__file *f = uringvfs__connections(); f != NULL; f = f->next)
    if (f->generation != now && !uringvfs__is_closed(f)) close_inherited(f);
}

void uringvfs__fork_close_inherited(void) {
  static _Atomic unsigned done = 1; /* the first process has inherited nothing */
  const unsigned now = current_generation();
  if (atomic_load_explicit(&done, memory_order_acquire) == now) return;
  uringvfs__shared_lock();
  if (atomic_load_explicit(&done, memory_order_relaxed) != now) close_all_inherited();
  /* release: who finds it done finds the files closed */
  atomic_store_explicit(&done, now, memory_order_release);
  uringvfs__shared_unlock();
}

bool uringvfs__fork_is_inherited_memory(const void *memory) {
  bool found = false;
  const unsigned now = current_generation();
  if (now == 1) return false;
  uringvfs__shared_lock();
  for (uringvfs__file *f = uringvfs__connections(); f != NULL && !found; f = f->next)
    for (int i = 0; f->generation != now && f->shared->private_index && i < f->shared->region_end && !found; i++)
      found = uringvfs__shared_region(f->shared, i) == memory;
  uringvfs__shared_unlock();
  return found;
}

/* ---- around fork(2) ---- */

static bool one_thread;

static void before_fork(void) {
  uringvfs__shared_lock();
  uringvfs__blocks_before_fork();
  rt_pool_before_fork(uringvfs__pool);
  one_thread = __libc_single_threaded;
}

static void after_fork_in_parent(void) {
  rt_pool_after_fork_parent(uringvfs__pool);
  uringvfs__blocks_after_fork();
  uringvfs__shared_unlock();
}

static void after_fork_in_child(void) {
  atomic_fetch_add_explicit(&uringvfs__process_generation, 1, memory_order_relaxed);
  rt_pool_after_fork(uringvfs__pool);
  for (uringvfs__file *f = uringvfs__connections(); f != NULL; f = f->next)
    if (!uringvfs__is_closed(f) && is_writing(f)) make_wal_index_private(f->shared);
  if (one_thread) close_all_inherited();
  uringvfs__blocks_after_fork();
  uringvfs__shared_unlock();
}

int uringvfs__fork_init(void) { return pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child); }

int uringvfs__fork_refuse(uringvfs__file *f, int rc) {
  if (!f->fork_logged)
    sqlite3_log(rc, "uringvfs: %s: the connection was opened before fork(); the child must open its own",
                f->name != NULL ? f->name : "(temporary file)");
  f->fork_logged = true;
  return rc;
}
