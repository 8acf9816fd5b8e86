/*
** file.c - files, and what their file systems are like with rings.
*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "internal.h"

#include <fcntl.h>
#include <linux/magic.h>
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

void rt_file_init_shared(rt_file *f, int fd, rt_inline_fn inline_fn) {
  *f = (rt_file){.fd = fd, .inline_fn = inline_fn};
}

/*
** After a short answer of a FUSE server to a direct_io read, which is allowed there, io_uring reads the rest from the
** same offset again and reports the whole length (Linux 6.18: ki_pos does not move in FUSE's asynchronous direct path).
** pread goes on where it stopped.
*/
#ifndef FUSE_SUPER_MAGIC
#define FUSE_SUPER_MAGIC 0x65735546
#endif
#define BEHIND_ANY_END   ((off_t)1 << 62)
#define RAMFS_LIKE(type) ((type) == TMPFS_MAGIC || (type) == RAMFS_MAGIC || (type) == OVERLAYFS_SUPER_MAGIC)

/*
** A read that must not wait (RWF_NOWAIT) is what a ring tries first. Where the file does not know it, every ring read
** goes to a worker thread. The kernel looks at that (FMODE_NOWAIT) before anything else, so a place behind any end of a
** file gets the answer, and no page is touched or read ahead for it. 1: punted, 0: not, -1: cannot be asked (a
** descriptor for writing only).
*/
static int ask_nowait(int fd) {
  char byte;
  struct iovec iov = {&byte, 1};
  if (preadv2(fd, &iov, 1, BEHIND_ANY_END, RWF_NOWAIT) >= 0) return 0;
  return errno == EOPNOTSUPP ? 1 : errno == EAGAIN ? 0 : -1;
}

unsigned rt_probe_traits_fd(int fd) {
  struct statfs fs;
  bool known = fstatfs(fd, &fs) == 0;
  if (known && fs.f_type == FUSE_SUPER_MAGIC) return RT_FILE_READS_UNSAFE;
  int punted = ask_nowait(fd);
  if (punted < 0) punted = known && RAMFS_LIKE(fs.f_type);
  return punted ? RT_FILE_READS_PUNT : 0;
}
