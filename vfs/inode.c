/*
** inode.c - process-wide table of the files that rings may open.
**
** A ring opens a file by its path, as a direct descriptor, beside the descriptor that the parent VFS has. The two must mean the same
** file. So the file's identity (st_dev, st_ino) is taken once the parent has it open and says that the name still leads
** to it, at the first operation that may take a ring, and compared after each opening by a ring; if the path has come to lead elsewhere, the file is used through the parent only. While
** the parent's descriptor is open the inode number cannot be given to another file.
**
** stat(2) is used, never open(2): closing an ordinary descriptor of a file drops all POSIX locks that this process holds on it.
**
** The table is also what tells that two connections have the same database open, by whatever path.
*/
#include "internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static pthread_mutex_t table_mutex = PTHREAD_MUTEX_INITIALIZER;
static uringvfs_inode *table;

#define TRAITS_KNOWN 0x80000000u

static bool still_the_same_file(const rt_direct *direct) {
  const uringvfs_inode *inode = uringvfs__container(direct, uringvfs_inode, direct);
  struct stat st;
  return stat(inode->path, &st) == 0 && st.st_dev == inode->dev && st.st_ino == inode->ino;
}

static uringvfs_inode *inode_create(const struct stat *st, const char *path, bool writable, bool nofollow) {
  const size_t path_bytes = strlen(path) + 1;
  uringvfs_inode *inode = malloc(sizeof *inode + path_bytes);
  if (inode == NULL) return NULL;
  memset(inode, 0, sizeof *inode);
  inode->dev = st->st_dev;
  inode->ino = st->st_ino;
  inode->writable = writable;
  memcpy(inode->path, path, path_bytes);
  const int flags = (writable ? O_RDWR : O_RDONLY) | (nofollow ? O_NOFOLLOW : 0);
  rt_direct_init(&inode->direct, inode->path, flags, still_the_same_file);
  inode->next = table;
  table = inode;
  return inode;
}

static uringvfs_inode *inode_acquire(sqlite3_file *parent, const char *path, bool writable, bool nofollow) {
  struct stat st;
  int moved = 0;
  if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) return NULL;
  if (parent->pMethods->xFileControl(parent, SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved) return NULL;
  pthread_mutex_lock(&table_mutex);
  uringvfs_inode *inode = table;
  while (inode != NULL && (inode->ino != st.st_ino || inode->dev != st.st_dev || inode->writable != writable))
    inode = inode->next;
  if (inode == NULL) inode = inode_create(&st, path, writable, nofollow);
  if (inode != NULL) inode->references++;
  pthread_mutex_unlock(&table_mutex);
  return inode;
}

void uringvfs__inode_find(uringvfs_file *f) {
  if (!f->inode_wanted) return;
  f->inode_wanted = false;
  f->inode = inode_acquire(f->parent, f->name, f->writable, f->nofollow);
  f->io.direct = f->inode != NULL ? &f->inode->direct : NULL;
}

void uringvfs__inode_release(uringvfs_inode *inode) {
  if (inode == NULL) return;
  pthread_mutex_lock(&table_mutex);
  const bool last = --inode->references == 0;
  if (last) {
    uringvfs_inode **link = &table;
    while (*link != inode) link = &(*link)->next;
    *link = inode->next;
  }
  pthread_mutex_unlock(&table_mutex);
  if (!last) return;
  rt_direct_retire(&inode->direct, uringvfs__pool);
  free(inode);
}

unsigned uringvfs__inode_traits(uringvfs_inode *inode) {
  unsigned traits = atomic_load_explicit(&inode->traits, memory_order_relaxed);
  if (traits == 0) {
    traits = rt_probe_traits(inode->path) | TRAITS_KNOWN;
    atomic_store_explicit(&inode->traits, traits, memory_order_relaxed);
  }
  return traits & ~TRAITS_KNOWN;
}

void uringvfs__inode_before_fork(void) { pthread_mutex_lock(&table_mutex); }
void uringvfs__inode_after_fork(void) { pthread_mutex_unlock(&table_mutex); }
