/*
** leaf_blocks.c - where the leaves lie that running scans will want: for reading a block of the file instead of its
** pages one by one.
**
** A device that gives a page in 10 us gives 256 KiB in a little more than 100. So where many pages of a block are
** leaves of which it is known that a scan will want them, the whole block is read; the kernel keeps it until the scan
** comes by. The leaves that are known are those of the interior pages that the scan has passed, and of some beside
** them, more and more as it goes on (stream.c).
**
** If the kernel has given up blocks again before the scan came by, memory is too small for this, and it ends until the
** next transaction.
*/
#include "readahead.h"

#include <stdlib.h>

enum {
  BLOCK_BYTES = 256 * 1024,
  PAGES_MOST = 1 << 20, /* of a file: two bits each, and a stamp for each block */
  DENSE = 3,            /* one page in so many is wanted             */
  ON_ITS_WAY = 256,     /* pages read since the block was asked for: it may not be there yet */
  GIVEN_UP_MOST = 8     /* blocks that were gone again, beyond one in sixteen */
};

static bool covers(const uringvfs_leaf_blocks *b, uint32_t pgno) { return pgno != 0 && pgno - 1 < b->pages; }

/* The bits of the page's block within its word. */
static uint64_t block_mask(const uringvfs_leaf_blocks *b, uint32_t pgno) {
  const unsigned first = (pgno - 1) % 64 / b->per_block * b->per_block;
  return (b->per_block == 64 ? UINT64_MAX : (UINT64_C(1) << b->per_block) - 1) << first;
}

void uringvfs__blocks_free(uringvfs_leaf_blocks *b) {
  free(b->wanted);
  *b = (uringvfs_leaf_blocks){0};
}

static uint32_t *stamp_of(const uringvfs_leaf_blocks *b, uint32_t pgno) {
  return &b->stamps[(pgno - 1) / b->per_block];
}

static bool allocate(uringvfs_leaf_blocks *b, uint32_t page_size, uint64_t database_bytes) {
  const uint64_t pages = database_bytes / page_size;
  if (b->wanted != NULL) return true;
  if (b->useless || pages == 0 || pages > PAGES_MOST) return false;
  const size_t words = (size_t)(pages + 63) / 64;
  const uint32_t fit = BLOCK_BYTES / page_size, per_block = fit < 64 ? fit : 64;
  b->wanted = calloc(2 * words * sizeof *b->wanted + words * (64 / per_block) * sizeof *b->stamps, 1);
  if (b->wanted == NULL) return false;
  b->asked = b->wanted + words;
  b->stamps = (uint32_t *)(b->asked + words);
  b->pages = (uint32_t)pages;
  b->per_block = per_block;
  return true;
}

void uringvfs__blocks_want(uringvfs_leaf_blocks *b, uint32_t page_size, uint64_t database_bytes, const uint32_t *leaves,
                           unsigned count) {
  if (!allocate(b, page_size, database_bytes)) return;
  for (unsigned i = 0; i < count; i++)
    if (covers(b, leaves[i])) b->wanted[(leaves[i] - 1) / 64] |= UINT64_C(1) << (leaves[i] - 1) % 64;
}

bool uringvfs__blocks_asked(const uringvfs_leaf_blocks *b, uint32_t pgno) {
  return covers(b, pgno) && (b->asked[(pgno - 1) / 64] & block_mask(b, pgno)) != 0;
}

bool uringvfs__blocks_dense(const uringvfs_leaf_blocks *b, uint32_t pgno) {
  if (!covers(b, pgno)) return false;
  const int wanted = __builtin_popcountll(b->wanted[(pgno - 1) / 64] & block_mask(b, pgno));
  return (unsigned)wanted * DENSE >= b->per_block;
}

uint32_t uringvfs__blocks_take(uringvfs_leaf_blocks *b, uint32_t *pgno) {
  const uint64_t mask = block_mask(b, *pgno);
  const uint32_t word = (*pgno - 1) / 64, first = word * 64 + (uint32_t)__builtin_ctzll(mask);
  b->asked[word] |= mask;
  b->blocks++;
  *pgno = first + 1;
  *stamp_of(b, *pgno) = b->clock;
  return first + b->per_block <= b->pages ? b->per_block : b->pages - first;
}

void uringvfs__blocks_give_up(uringvfs_leaf_blocks *b) {
  uringvfs__blocks_free(b);
  b->useless = true;
}

void uringvfs__blocks_came(uringvfs_leaf_blocks *b, uint32_t pgno, bool slow) {
  b->clock++;
  if (!slow || !uringvfs__blocks_asked(b, pgno) || b->clock - *stamp_of(b, pgno) <= ON_ITS_WAY) return;
  b->asked[(pgno - 1) / 64] &= ~block_mask(b, pgno); /* to be asked for again */
  if (++b->gone > GIVEN_UP_MOST + b->blocks / 16) uringvfs__blocks_give_up(b);
}
