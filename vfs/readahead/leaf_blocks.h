/*
** leaf_blocks.h - blocks of the file that are full of leaves which a scan will want.
*/
#ifndef URINGVFS_LEAF_BLOCKS_H
#define URINGVFS_LEAF_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct uringvfs__leaf_block {
  uint32_t number; /* of the block in the file, and 1; 0: unused       */
  uint32_t stamp;  /* the clock when it was asked for, 0: it was not   */
  uint64_t wanted; /* a bit for each page                              */
} uringvfs__leaf_block;

/* For the length of one tenure. */
typedef struct uringvfs__leaf_blocks {
  uringvfs__leaf_block *table; /* NULL: no scan has come far enough            */
  uint32_t pages;              /* of the file                                  */
  unsigned per_block;          /* pages                                        */
  uint32_t clock;              /* pages read                                   */
  unsigned asked, gone;        /* asked for; of these, not there any more      */
  bool useless;
} uringvfs__leaf_blocks;

/* A scan will want these leaves. */
void uringvfs__blocks_want(uringvfs__leaf_blocks *b, uint32_t page_size, uint64_t database_bytes,
                           const uint32_t *leaves, unsigned count);
bool uringvfs__blocks_asked(const uringvfs__leaf_blocks *b, uint32_t pgno);
/* Is the page's block worth being read as a whole? */
bool uringvfs__blocks_dense(const uringvfs__leaf_blocks *b, uint32_t pgno);
/* It is asked for as a whole: *pgno becomes its first page; returns how many it has. */
uint32_t uringvfs__blocks_take(uringvfs__leaf_blocks *b, uint32_t *pgno);
/* A page of a stream is about to be read. True: its block was asked for so long ago that it must have come. */
bool uringvfs__blocks_due(uringvfs__leaf_blocks *b, uint32_t pgno);
/* Such a page was not there: the kernel has given its block up again. */
void uringvfs__blocks_gone(uringvfs__leaf_blocks *b, uint32_t pgno);
/* No more blocks until the next tenure. */
void uringvfs__blocks_give_up(uringvfs__leaf_blocks *b);
void uringvfs__blocks_free(uringvfs__leaf_blocks *b);

#endif
