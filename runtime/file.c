/*
** file.c - files, and what their file systems are like with rings.
*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "internal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/uio.h>
#include <unistd.h>

void rt_file_init_fd(rt_file *f, int fd) {
  struct stat st;
  *f = (rt_file){.fd = fd};
  if (fd >= 0 && fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode) || S_ISCHR(st.st_mode)))
    f->traits = RT_FILE_STREAM;
}

void rt_file_init_inline(rt_file *f, rt_inline_fn inline_fn, rt_direct *direct) {
  *f = (rt_file){.fd = -1, .inline_fn = inline_fn, .direct = direct};
}

void rt_file_init_shared(rt_file *f, int fd, rt_inline_fn inline_fn) {
  *f = (rt_file){.fd = fd, .inline_fn = inline_fn};
}

/*
** After a short answer of a FUSE server to a direct_io read, which is allowed there, io_uring reads the rest from the same offset again and
** reports the whole length (Linux 6.18: ki_pos does not move in FUSE's asynchronous direct path). pread goes on where it stopped.
*/
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif
#define BEHIND_ANY_END   ((off_t)1 << 62)
#define RAMFS_LIKE(type) ((type) == TMPFS_MAGIC || (type) == RAMFS_MAGIC || (type) == OVERLAYFS_SUPER_MAGIC)

/*
** A read that must not wait (RWF_NOWAIT) is what a ring tries first. Where the file system does not know it, every ring read goes to a
** worker thread. Asked on a file without a name beside path, since closing a descriptor of the file itself would drop its POSIX locks.
** 1: punted, 0: not, -1: cannot be asked here.
*/
static int ask_nowait(const char *dir) {
  int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd < 0) return -1;
  int punted = -1;
  char byte = 0;
  struct iovec iov = {&byte, 1};
  if (pwrite(fd, &byte, 1, 0) == 1) {
    punted = 0;
    if (preadv2(fd, &iov, 1, 0, RWF_NOWAIT) < 0 && errno == EOPNOTSUPP) punted = 1;
  }
  close(fd);
  return punted;
}

/*
** The same of an open file. The kernel looks at the file's FMODE_NOWAIT before anything else, so a place behind any end of a file gets
** the answer, and no page is touched or read ahead for it. A descriptor that is for writing only cannot be asked.
*/
static int ask_nowait_fd(int fd) {
  char byte;
  struct iovec iov = {&byte, 1};
  if (preadv2(fd, &iov, 1, BEHIND_ANY_END, RWF_NOWAIT) >= 0) return 0;
  return errno == EOPNOTSUPP ? 1 : errno == EAGAIN ? 0 : -1;
}

unsigned rt_probe_traits_fd(int fd) {
  struct statfs fs;
  bool known = fstatfs(fd, &fs) == 0;
  if (known && fs.f_type == FUSE_SUPER_MAGIC) return RT_FILE_READS_UNSAFE;
  int punted = ask_nowait_fd(fd);
  if (punted < 0) punted = known && RAMFS_LIKE(fs.f_type);
  return punted ? RT_FILE_READS_PUNT : 0;
}

static unsigned ask_traits(const char *dir) {
  struct statfs fs;
  unsigned traits = 0;
  bool known = statfs(dir, &fs) == 0;
  if (known && fs.f_type == FUSE_SUPER_MAGIC) traits |= RT_FILE_READS_UNSAFE;
  int punted = ask_nowait(dir);
  if (punted < 0) punted = known && RAMFS_LIKE(fs.f_type);
  return punted ? traits | RT_FILE_READS_PUNT : traits;
}

/*
** What was found, by device: making a file costs a journal transaction on some file systems. Entries are written once; a lost race
** costs one more asking.
*/
#define CACHED     16
#define TRAIT_BITS 3
static _Atomic uint64_t cache[CACHED]; /* device number + 1, and the traits below it */

static void directory_of(const char *path, char *dir, size_t size) {
  struct stat st;
  size_t n = strlen(path);
  if (n >= size) n = 0; /* too long for an answer worth having: the working directory */
  memcpy(dir, path, n);
  dir[n] = 0;
  if (n > 0 && stat(dir, &st) == 0 && S_ISDIR(st.st_mode)) return;
  char *slash = strrchr(dir, '/');
  if (!slash)
    strcpy(dir, ".");
  else if (slash == dir)
    dir[1] = 0;
  else
    *slash = 0;
}

unsigned rt_probe_traits(const char *path) {
  char dir[4096];
  struct stat st;
  directory_of(path, dir, sizeof(dir));
  if (stat(dir, &st) < 0) return ask_traits(dir);
  uint64_t key = (uint64_t)st.st_dev + 1;
  _Atomic uint64_t *place = NULL;
  for (unsigned i = 0; i < CACHED; i++) {
    uint64_t entry = atomic_load_explicit(&cache[i], memory_order_relaxed);
    if (entry >> TRAIT_BITS == key) return (unsigned)entry & ((1u << TRAIT_BITS) - 1);
    if (entry == 0 && !place) place = &cache[i];
  }
  unsigned traits = ask_traits(dir);
  uint64_t empty = 0;
  if (place)
    atomic_compare_exchange_strong_explicit(place, &empty, key << TRAIT_BITS | traits, memory_order_relaxed,
                                            memory_order_relaxed);
  return traits;
}
