/*
** wal_index.c - where the WAL-index says that a page is.
**
** The layout is that of https://www.sqlite.org/walformat.html (wal.c, "WAL-Index Format"), in native byte order. Other
** processes write to this memory at any time, so what is read here may be torn or out of date: it is good for choosing
** what to read ahead and for nothing else. SQLite itself says at which offset of which file it wants a page.
*/
#include "internal.h"

enum {
  HEADER_WORDS = 34, /* of the first region                      */
  PAGES = 4096,      /* page numbers in a region                 */
  PAGES_FIRST = PAGES - HEADER_WORDS,
  HASH_SLOTS = 8192, /* of two bytes, behind the page numbers    */
  MAX_FRAME = 4,     /* word: mxFrame of the first header copy       */
  BACKFILLED = 24,   /* word: nBackfill                          */
  READ_MARKS = 25    /* word: aReadMark[0]                       */
};

/* The region as words, or NULL. */
static const _Atomic uint32_t *region_of(const uringvfs__file *database, int i) {
  return database->mapped ? uringvfs__shared_region(database->shared, i) : NULL;
}

/* SQLite writes to it as to any memory, other connections' threads included: ThreadSanitizer is not to look. */
#if defined(__GNUC__)
#define UNWATCHED __attribute__((no_sanitize("thread")))
#else
#define UNWATCHED
#endif

UNWATCHED static uint32_t word(const _Atomic uint32_t *region, uint32_t i) {
  return atomic_load_explicit(&region[i], memory_order_relaxed);
}

UNWATCHED static uint32_t half_word(const _Atomic uint16_t *hash, uint32_t i) {
  return atomic_load_explicit(&hash[i], memory_order_relaxed);
}

void uringvfs__wal_index_snapshot(const uringvfs__file *database, int mark, uringvfs__wal_snapshot *snapshot) {
  const _Atomic uint32_t *region = region_of(database, 0);
  *snapshot = (uringvfs__wal_snapshot){0};
  if (region == NULL || mark <= 0) return; /* mark 0: everything is in the database */
  snapshot->first = word(region, BACKFILLED) + 1;
  snapshot->last = word(region, READ_MARKS + (uint32_t)mark);
}

uint32_t uringvfs__wal_index_frames(const uringvfs__file *database) {
  const _Atomic uint32_t *region = region_of(database, 0);
  return region != NULL ? word(region, MAX_FRAME) : 0;
}

uint32_t uringvfs__wal_index_page(const uringvfs__file *database, uint64_t offset, uint32_t page_size) {
  const uint64_t frame_bytes = page_size + URINGVFS__WAL_FRAME_HEADER_BYTES;
  if (offset < URINGVFS__WAL_HEADER_BYTES + URINGVFS__WAL_FRAME_HEADER_BYTES) return 0;
  const uint64_t behind = offset - URINGVFS__WAL_HEADER_BYTES - URINGVFS__WAL_FRAME_HEADER_BYTES,
                 frame = behind / frame_bytes; /* from 0 */
  if (behind % frame_bytes != 0) return 0;
  const bool first = frame < PAGES_FIRST;
  const uint64_t i = first ? 0 : (frame - PAGES_FIRST) / PAGES + 1;
  const _Atomic uint32_t *region = i < INT32_MAX ? region_of(database, (int)i) : NULL;
  if (region == NULL) return 0;
  return word(region, first ? HEADER_WORDS + (uint32_t)frame : (uint32_t)((frame - PAGES_FIRST) % PAGES));
}

/* The last frame of the region that holds the page, among its first `most` (from 1); 0: none does. As walFindFrame does
** it. */
static uint32_t last_in_region(const _Atomic uint32_t *region, uint32_t numbers, uint32_t pgno, uint32_t most) {
  const _Atomic uint16_t *hash = (const _Atomic uint16_t *)(region + PAGES);
  uint32_t found = 0, key = (pgno * 383u) & (HASH_SLOTS - 1);
  for (int probes = 0; probes < HASH_SLOTS; probes++, key = (key + 1) & (HASH_SLOTS - 1)) {
    const uint32_t entry = half_word(hash, key);
    if (entry == 0) break;
    if (entry <= most && entry > found && word(region, numbers + entry - 1) == pgno) found = entry;
  }
  return found;
}

uint64_t uringvfs__wal_index_offset(const uringvfs__file *database, const uringvfs__wal_snapshot *snapshot,
                                    uint32_t pgno, uint32_t page_size) {
  if (snapshot->last < snapshot->first) return 0;
  for (int i = snapshot->last <= PAGES_FIRST ? 0 : (int)((snapshot->last - PAGES_FIRST - 1) / PAGES) + 1; i >= 0; i--) {
    const _Atomic uint32_t *region = region_of(database, i);
    if (region == NULL) return 0;
    const uint32_t before = i == 0 ? 0 : PAGES_FIRST + (uint32_t)(i - 1) * PAGES; /* frames of earlier regions */
    const uint32_t left = snapshot->last - before, most = i == 0 ? PAGES_FIRST : PAGES;
    const uint32_t entry = last_in_region(region, i == 0 ? HEADER_WORDS : 0, pgno, left < most ? left : most);
    if (entry == 0 && before >= snapshot->first) continue;
    if (entry == 0 || before + entry < snapshot->first) return 0;
    return URINGVFS__WAL_HEADER_BYTES +
           (uint64_t)(before + entry - 1) * (page_size + URINGVFS__WAL_FRAME_HEADER_BYTES) +
           URINGVFS__WAL_FRAME_HEADER_BYTES;
  }
  return 0;
}
