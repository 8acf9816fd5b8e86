/*
** page_advice.c - pages that the kernel is asked to read into its cache, while SQLite goes on.
**
** posix_fadvise(2) on the parent's descriptor. Nothing is mapped, and nobody reads through anything but the parent.
*/
#include "readahead.h"

#include <fcntl.h>

bool uringvfs__can_advise(const uringvfs_file *f) { return f->io.fd >= 0; }

/* Here and now, a few microseconds for each request to the device; no ring does it better (it hands advice to a worker
** thread). */
static bool advise(int fd, const uringvfs_range *range) {
  rt_file file = {.fd = fd};
  rt_op op = {0};
  rt_prep_advise(&op, &file, POSIX_FADV_WILLNEED, range->offset, range->bytes);
  rt_submit(rt_sync_loop(), &op);
  return rt_succeeded(&op.c);
}

unsigned uringvfs__advise(uringvfs_file *f, const uringvfs_range *ranges, unsigned count) {
  unsigned done = 0;
  for (unsigned i = 0; i < count && uringvfs__can_advise(f); i++) done += advise(f->io.fd, &ranges[i]);
  return done;
}
