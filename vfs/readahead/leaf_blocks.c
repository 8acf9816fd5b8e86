/*
** leaf_blocks.c - where the leaves lie that running scans will want: for reading a block of the file instead of its
** pages one by one.
**
** A device that gives a page in 10 us gives 256 KiB in a little more than 100. So where many pages of a block are
** leaves of which it is known that a scan will want them, the whole block is read; the kernel keeps it until the scan
** comes by. The leaves that are known are those of the interior pages that the scan has passed, and of some beside
** them, more and more as it goes on (scan.c).
**
** If the kernel has given up blocks again before the scan came by, memory is too small for this, and it ends until the
** next transaction.
**
** A block has a place in the table, which it shares with those so many blocks away: the later one takes it.
*/
#include "leaf_blocks.h"

#include <stdlib.h>

enum {
  BLOCK_BYTES = 256 * 1024,
  TABLE = 1 << 14,  /* blocks: 4 GiB of a file with pages of 4 KiB                       */
  DENSE = 3,        /* one page in so many is wanted                                     */
  ON_ITS_WAY = 256, /* pages read since the block was asked for: it may not be there yet */
  GIVEN_UP_MOST = 8 /* blocks that were gone again, beyond one in sixteen                */
};

static uringvfs__leaf_block *place_of(const uringvfs__leaf_blocks *b, uint32_t pgno) {
  return &b->table[(pgno - 1) / b->per_block % TABLE];
}

/* The page's block, NULL: it has no place in the table. */
static uringvfs__leaf_block *block_of(const uringvfs__leaf_blocks *b, uint32_t pgno) {
  if (pgno == 0 || pgno > b->pages) return NULL;
  uringvfs__leaf_block *block = place_of(b, pgno);
  return block->number == (pgno - 1) / b->per_block + 1 ? block : NULL;
}

void uringvfs__blocks_free(uringvfs__leaf_blocks *b) {
  free(b->table);
  *b = (uringvfs__leaf_blocks){0};
}

static bool allocate(uringvfs__leaf_blocks *b, uint32_t page_size, uint64_t database_bytes) {
  const uint64_t pages = database_bytes / page_size;
  if (b->table != NULL) return true;
  if (b->useless || pages == 0 || pages > UINT32_MAX) return false;
  b->table = calloc(TABLE, sizeof *b->table);
  if (b->table == NULL) return false;
  const uint32_t fit = BLOCK_BYTES / page_size;
  b->per_block = fit < 64 ? fit : 64;
  b->pages = (uint32_t)pages;
  return true;
}

void uringvfs__blocks_want(uringvfs__leaf_blocks *b, uint32_t page_size, uint64_t database_bytes,
                           const uint32_t *leaves, unsigned count) {
  if (!allocate(b, page_size, database_bytes)) return;
  for (unsigned i = 0; i < count; i++) {
    if (leaves[i] == 0 || leaves[i] > b->pages) continue;
    uringvfs__leaf_block *block = block_of(b, leaves[i]);
    if (block == NULL) {
      block = place_of(b, leaves[i]);
      *block = (uringvfs__leaf_block){.number = (leaves[i] - 1) / b->per_block + 1};
    }
    block->wanted |= UINT64_C(1) << (leaves[i] - 1) % b->per_block;
  }
}

bool uringvfs__blocks_asked(const uringvfs__leaf_blocks *b, uint32_t pgno) {
  const uringvfs__leaf_block *block = block_of(b, pgno);
  return block != NULL && block->stamp != 0;
}

bool uringvfs__blocks_dense(const uringvfs__leaf_blocks *b, uint32_t pgno) {
  const uringvfs__leaf_block *block = block_of(b, pgno);
  return block != NULL && (unsigned)__builtin_popcountll(block->wanted) * DENSE >= b->per_block;
}

uint32_t uringvfs__blocks_take(uringvfs__leaf_blocks *b, uint32_t *pgno) {
  const uint32_t first = (*pgno - 1) / b->per_block * b->per_block;
  b->asked++;
  place_of(b, *pgno)->stamp = ++b->clock;
  *pgno = first + 1;
  return first + b->per_block <= b->pages ? b->per_block : b->pages - first;
}

bool uringvfs__blocks_due(uringvfs__leaf_blocks *b, uint32_t pgno) {
  if (b->table == NULL) return false;
  b->clock++;
  const uringvfs__leaf_block *block = block_of(b, pgno);
  return block != NULL && block->stamp != 0 && b->clock - block->stamp > ON_ITS_WAY;
}

void uringvfs__blocks_gone(uringvfs__leaf_blocks *b, uint32_t pgno) {
  uringvfs__leaf_block *block = block_of(b, pgno);
  if (block == NULL) return;
  block->stamp = 0; /* to be asked for again */
  if (++b->gone > GIVEN_UP_MOST + b->asked / 16) uringvfs__blocks_give_up(b);
}

void uringvfs__blocks_give_up(uringvfs__leaf_blocks *b) {
  uringvfs__blocks_free(b);
  b->useless = true;
}
