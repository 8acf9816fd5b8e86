/*
** page_buffer.h - pages that were read ahead and not asked for yet.
*/
#ifndef URINGVFS_PAGE_BUFFER_H
#define URINGVFS_PAGE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { URINGVFS__BUFFER_SLOTS = 256, URINGVFS__BUFFER_HEADS = 512 };

/* Where a page is to be read from, and which read-ahead wants it. */
typedef struct uringvfs__source {
  bool wal;
  uint8_t stream;
  uint64_t offset; /* bytes, in the database file or the WAL */
} uringvfs__source;

typedef enum uringvfs__slot_state {
  URINGVFS__SLOT_FREE,
  URINGVFS__SLOT_RESERVED, /* the page is being read                                   */
  URINGVFS__SLOT_FILLED,   /* it is here                                               */
  URINGVFS__SLOT_ADVISED   /* it is not, but the kernel was asked to have it in its cache */
} uringvfs__slot_state;

typedef struct uringvfs__slot {
  uringvfs__source source;
  uint16_t next; /* in its hash chain; URINGVFS__BUFFER_SLOTS: the end */
  uringvfs__slot_state state;
} uringvfs__slot;

/* Room for the operations of a batch at the beginning of the block. */
#define URINGVFS__BATCH_BYTES 32768

/* A memory block cut into pages, for the length of one tenure. */
typedef struct uringvfs__page_buffer {
  uint8_t *memory; /* NULL: nothing was read ahead in this tenure */
  uint32_t page_size;
  unsigned capacity; /* slots                                       */
  unsigned taken;    /* of them                                     */
  unsigned next;     /* where the search for the next slot begins   */
  uringvfs__slot slots[URINGVFS__BUFFER_SLOTS];
  uint16_t heads[URINGVFS__BUFFER_HEADS];
} uringvfs__page_buffer;

/* Takes memory for pages of this size; false: there is none. */
bool uringvfs__buffer_open(uringvfs__page_buffer *b, uint32_t page_size);
/* Gives a slot for a page that is about to be read. *lost: one that waited in a slot is gone, because none was free, or
** because it was the same page. */
unsigned uringvfs__buffer_reserve(uringvfs__page_buffer *b, const uringvfs__source *source, bool *lost);
/* The page has come (URINGVFS__SLOT_FILLED), or the kernel was asked for it (URINGVFS__SLOT_ADVISED). */
void uringvfs__buffer_fill(uringvfs__page_buffer *b, unsigned slot, uringvfs__slot_state state);
static inline uint8_t *uringvfs__buffer_page(const uringvfs__page_buffer *b, unsigned slot) {
  return b->memory + URINGVFS__BATCH_BYTES + (size_t)slot * b->page_size;
}
/* The slot of the page, filled or advised, or -1. */
int uringvfs__buffer_find(uringvfs__page_buffer *b, bool wal, uint64_t offset);
/* The page in that slot, NULL: it is not here. */
static inline const uint8_t *uringvfs__buffer_content(const uringvfs__page_buffer *b, int slot) {
  const bool here = slot >= 0 && b->slots[slot].state == URINGVFS__SLOT_FILLED;
  return here ? uringvfs__buffer_page(b, (unsigned)slot) : NULL;
}
void uringvfs__buffer_drop(uringvfs__page_buffer *b, unsigned slot);
/* Everything goes, the memory too. Returns how many pages nobody had asked for. */
unsigned uringvfs__buffer_close(uringvfs__page_buffer *b);

#endif
