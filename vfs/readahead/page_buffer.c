/*
** page_buffer.c - pages that were read ahead and not asked for yet.
**
** A page is found by the file it is in and its offset there. It leaves when it is handed out, when it was written to,
** when its slot is needed, and at the latest with the tenure in which it was read; nothing else may be handed out.
**
** With -DURINGVFS_VERIFY_READAHEAD what has left is overwritten, so that a use of it does not go unnoticed.
*/
#include "page_buffer.h"

#include <string.h>

#include "../internal.h"

#define END URINGVFS__BUFFER_SLOTS

static uint16_t *head_of(uringvfs__page_buffer *b, bool wal, uint64_t offset) {
  const uint64_t number = offset / 512 * 2 + wal;
  return &b->heads[(number * 0x9e3779b97f4a7c15u) >> 55];
}
_Static_assert(URINGVFS__BUFFER_HEADS == 1 << 9, "the hash gives 9 bits");

static void poison(uringvfs__page_buffer *b, unsigned slot) {
#ifdef URINGVFS_VERIFY_READAHEAD
  memset(uringvfs__buffer_page(b, slot), 0xa5, b->page_size);
#else
  (void)b;
  (void)slot;
#endif
}

bool uringvfs__buffer_open(uringvfs__page_buffer *b, uint32_t page_size) {
  b->memory = uringvfs__block_get();
  if (b->memory == NULL) return false;
  b->page_size = page_size;
  const unsigned fit = (URINGVFS__BLOCK_BYTES - URINGVFS__BATCH_BYTES) / page_size;
  b->capacity = fit < URINGVFS__BUFFER_SLOTS ? fit : URINGVFS__BUFFER_SLOTS;
  b->taken = b->next = 0;
  for (unsigned i = 0; i < b->capacity; i++) b->slots[i].state = URINGVFS__SLOT_FREE;
  for (unsigned i = 0; i < URINGVFS__BUFFER_HEADS; i++) b->heads[i] = END;
  return true;
}

unsigned uringvfs__buffer_close(uringvfs__page_buffer *b) {
  if (b->memory == NULL) return 0;
  unsigned unused = 0;
  for (unsigned i = 0; i < b->capacity; i++) {
    unused += b->slots[i].state >= URINGVFS__SLOT_FILLED;
    poison(b, i);
  }
  uringvfs__block_put(b->memory);
  b->memory = NULL;
  b->taken = 0;
  return unused;
}

unsigned uringvfs__buffer_reserve(uringvfs__page_buffer *b, const uringvfs__source *source, bool *lost) {
  /* A second copy would outlive a write to the page, which drops the one that it finds. */
  const int before = uringvfs__buffer_find(b, source->wal, source->offset);
  if (before >= 0) uringvfs__buffer_drop(b, (unsigned)before);
  unsigned slot = b->next;
  const bool full = b->taken == b->capacity;
  while (full ? b->slots[slot].state == URINGVFS__SLOT_RESERVED : b->slots[slot].state != URINGVFS__SLOT_FREE)
    slot = (slot + 1) % b->capacity;
  *lost = full || before >= 0;
  if (full) uringvfs__buffer_drop(b, slot);
  b->slots[slot] = (uringvfs__slot){.source = *source, .state = URINGVFS__SLOT_RESERVED};
  b->taken++;
  b->next = (slot + 1) % b->capacity;
  return slot;
}

void uringvfs__buffer_fill(uringvfs__page_buffer *b, unsigned slot, uringvfs__slot_state state) {
  uringvfs__slot *s = &b->slots[slot];
  uint16_t *head = head_of(b, s->source.wal, s->source.offset);
  s->next = *head;
  s->state = state;
  *head = (uint16_t)slot;
}

int uringvfs__buffer_find(uringvfs__page_buffer *b, bool wal, uint64_t offset) {
  for (unsigned i = *head_of(b, wal, offset); i != END; i = b->slots[i].next)
    if (b->slots[i].source.offset == offset && b->slots[i].source.wal == wal) return (int)i;
  return -1;
}

void uringvfs__buffer_drop(uringvfs__page_buffer *b, unsigned slot) {
  uringvfs__slot *s = &b->slots[slot];
  if (s->state >= URINGVFS__SLOT_FILLED) {
    uint16_t *link = head_of(b, s->source.wal, s->source.offset);
    while (*link != slot) link = &b->slots[*link].next;
    *link = s->next;
  }
  s->state = URINGVFS__SLOT_FREE;
  b->taken--;
  poison(b, slot);
}
