/*
** cached.c - what is in memory: a read that does not wait for a device, and the question without reading.
*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "internal.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* preadv2(2) by its number: the C library's function is as long again as all else that is done for a page that is in
** memory (it stands ready to be cancelled, and to do without the call). */
int64_t rt_read_cached(const rt_file *f, void *buf, uint64_t length, uint64_t offset) {
  const struct iovec iov = {buf, length};
  const long got = syscall(SYS_preadv2, f->fd, &iov, 1UL, (long)offset, (long)(offset >> 32), RWF_NOWAIT);
  return got >= 0 ? got : -errno;
}

/* Linux 6.5; older headers do not know it. */
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
struct page_range { /* struct cachestat_range */
  uint64_t offset, length;
};
struct page_counts { /* struct cachestat */
  uint64_t cached, dirty, writeback, evicted, recently_evicted;
};

/* Of a mapping made for it: where neither cachestat nor a read that must not wait is known. */
static int ask_mapping(int fd, uint64_t offset) {
  const size_t page = (size_t)sysconf(_SC_PAGESIZE);
  unsigned char answer = 1;
  void *p = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, (off_t)(offset & ~(uint64_t)(page - 1)));
  if (p == MAP_FAILED) return -errno;
  int error = mincore(p, page, &answer) == 0 ? 0 : -errno;
  munmap(p, page);
  return error != 0 ? error : answer & 1;
}

int rt_is_cached(const rt_file *f, uint64_t offset, uint64_t length) {
  struct page_range range = {offset, length};
  struct page_counts counts;
  if (syscall(SYS_cachestat, f->fd, &range, &counts, 0) == 0) {
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    return counts.cached >= (offset + length - 1) / page - offset / page + 1;
  }
  char byte;
  const int64_t got = rt_read_cached(f, &byte, 1, offset);
  if (got == -EOPNOTSUPP) return ask_mapping(f->fd, offset);
  return got >= 0 ? 1 : got == -EAGAIN ? 0 : (int)got;
}
