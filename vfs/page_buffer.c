/*
** page_buffer.c - pages that were read ahead and not asked for yet.
**
** A page is found by the file it is in and its offset there. It leaves when it is handed out, when it was written to,
** when its slot is needed, and at the latest with the tenure in which it was read; nothing else may be handed out.
**
** With -DURINGVFS_VERIFY_READAHEAD what has left is overwritten, so that a use of it does not go unnoticed.
*/
#include "readahead.h"

#include <string.h>

#define END URINGVFS_BUFFER_SLOTS

static uint16_t *head_of(uringvfs_page_buffer *b, bool wal, uint64_t offset) {
  const uint64_t number = offset / 512 * 2 + wal;
  return &b->heads[(number * 0x9e3779b97f4a7c15u) >> 55];
}
_Static_assert(URINGVFS_BUFFER_HEADS == 1 << 9, "the hash gives 9 bits");

static void poison(uringvfs_page_buffer *b, unsigned slot) {
  if (URINGVFS_VERIFY) memset(uringvfs__buffer_page(b, slot), 0xa5, b->page_size);
}

bool uringvfs__buffer_open(uringvfs_page_buffer *b, uint32_t page_size) {
  b->memory = uringvfs__block_get();
  if (b->memory == NULL) return false;
  b->page_size = page_size;
  const unsigned fit = (URINGVFS_BLOCK_BYTES - URINGVFS_BATCH_BYTES) / page_size;
  b->capacity = fit < URINGVFS_BUFFER_SLOTS ? fit : URINGVFS_BUFFER_SLOTS;
  b->taken = b->next = 0;
  for (unsigned i = 0; i < b->capacity; i++) b->slots[i].state = URINGVFS_SLOT_FREE;
  for (unsigned i = 0; i < URINGVFS_BUFFER_HEADS; i++) b->heads[i] = END;
  return true;
}

unsigned uringvfs__buffer_close(uringvfs_page_buffer *b) {
  if (b->memory == NULL) return 0;
  unsigned unused = 0;
  for (unsigned i = 0; i < b->capacity; i++) {
    unused += b->slots[i].state >= URINGVFS_SLOT_FILLED;
    poison(b, i);
  }
  uringvfs__block_put(b->memory);
  b->memory = NULL;
  b->taken = 0;
  return unused;
}

unsigned uringvfs__buffer_reserve(uringvfs_page_buffer *b, const uringvfs_source *source, bool *lost) {
  unsigned slot = b->next;
  const bool full = b->taken == b->capacity;
  while (full ? b->slots[slot].state == URINGVFS_SLOT_RESERVED : b->slots[slot].state != URINGVFS_SLOT_FREE)
    slot = (slot + 1) % b->capacity;
  *lost = b->slots[slot].state != URINGVFS_SLOT_FREE;
  if (*lost) uringvfs__buffer_drop(b, slot);
  b->slots[slot] = (uringvfs_slot){.source = *source, .state = URINGVFS_SLOT_RESERVED};
  b->taken++;
  b->next = (slot + 1) % b->capacity;
  return slot;
}

void uringvfs__buffer_fill(uringvfs_page_buffer *b, unsigned slot, uringvfs_slot_state state) {
  uringvfs_slot *s = &b->slots[slot];
  uint16_t *head = head_of(b, s->source.wal, s->source.offset);
  s->next = *head;
  s->state = state;
  *head = (uint16_t)slot;
}

int uringvfs__buffer_find(uringvfs_page_buffer *b, bool wal, uint64_t offset) {
  for (unsigned i = *head_of(b, wal, offset); i != END; i = b->slots[i].next)
    if (b->slots[i].source.offset == offset && b->slots[i].source.wal == wal) return (int)i;
  return -1;
}

void uringvfs__buffer_drop(uringvfs_page_buffer *b, unsigned slot) {
  uringvfs_slot *s = &b->slots[slot];
  if (s->state >= URINGVFS_SLOT_FILLED) {
    uint16_t *link = head_of(b, s->source.wal, s->source.offset);
    while (*link != slot) link = &b->slots[*link].next;
    *link = s->next;
  }
  s->state = URINGVFS_SLOT_FREE;
  b->taken--;
  poison(b, slot);
}
