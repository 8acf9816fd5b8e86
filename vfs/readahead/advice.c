/*
** advice.c - pages that the kernel is asked to read into its cache, while SQLite goes on.
**
** posix_fadvise(2) on the parent's descriptor: nothing is mapped, and nobody reads through anything but the parent.
** What lies side by side is one call. Of blocks that are full of wanted leaves all is asked for (leaf_blocks.c).
*/
#include <fcntl.h>

#include "predictor.h"

typedef struct range {
  uint64_t offset, bytes;
} range;

/* Here and now, a few microseconds for each request to the device; no ring does it better (it hands advice to a worker
** thread). */
static bool ask(const uringvfs__file *f, const range *r) {
  rt_file file = {.fd = f->io.fd};
  rt_op op = {0};
  rt_prep_advise(&op, &file, POSIX_FADV_WILLNEED, r->offset, r->bytes);
  rt_submit(rt_sync_loop(), &op);
  return rt_succeeded(&op.c);
}

/* The part of the file to ask for because of this page; none if it was asked for already. */
static range range_of(uringvfs__leaf_blocks *blocks, const uringvfs__source *source, uint32_t page_size) {
  uint32_t pgno = (uint32_t)(source->offset / page_size) + 1;
  if (source->wal) return (range){source->offset, page_size};
  if (uringvfs__blocks_asked(blocks, pgno)) return (range){0, 0};
  if (!uringvfs__blocks_dense(blocks, pgno)) return (range){source->offset, page_size};
  const uint32_t count = uringvfs__blocks_take(blocks, &pgno);
  return (range){(uint64_t)(pgno - 1) * page_size, (uint64_t)count * page_size};
}

/* Of one of the two files. */
static bool advise_part(uringvfs__readahead *ra, const uringvfs__batch *b, const uringvfs__file *file, bool wal) {
  range next, r = {0};
  unsigned wanted = 0, done = 0;
  for (unsigned i = 0; i < b->count; i++) {
    if (b->sources[i].wal != wal) continue;
    next = range_of(&ra->blocks, &b->sources[i], ra->database->format.page_size);
    if (next.bytes == 0) continue;
    if (r.bytes > 0 && r.offset + r.bytes == next.offset) {
      r.bytes += next.bytes;
      continue;
    }
    if (r.bytes > 0) done += ask(file, &r);
    r = next;
    wanted++;
  }
  if (r.bytes > 0) done += ask(file, &r);
  if (wanted == 0 || done > 0) return true;
  uringvfs__blocks_give_up(&ra->blocks); /* some are marked that nobody asked for */
  return false;
}

bool uringvfs__advise(uringvfs__readahead *ra, const uringvfs__batch *b) {
  const uringvfs__file *database = ra->database;
  if (!advise_part(ra, b, database, false)) return false;
  return database->wal == NULL || database->wal->io.fd < 0 || advise_part(ra, b, database->wal, true);
}
