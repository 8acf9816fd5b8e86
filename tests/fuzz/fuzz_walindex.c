/*
** fuzz_walindex.c - the reader of the wal-index, on memory that any process may have written.
**
** The input makes the regions of an index: some are missing or cut short, the others hold frames as wal.c would append
** them and then whatever is written over that. Questions follow: snapshots, offsets of pages, pages at offsets. Every
** region is a memory block of exactly its size. Checked: whatever the memory holds, the frame found for a page is one
** of the snapshot's, and the index says of its offset that this page is there; as long as nothing was written over, it
** is the frame that a search from the last one backwards finds.
**
** As in fuzz_pages.c, what is called is internal to vfs/, and so is what is called with it: a database file object, of
** which only the regions are looked at.
*/
#include "vfs/internal.h"

#include <stdlib.h>
#include <string.h>

#include "support_fuzz.h"

/* wal.c: the wal-index, in words, half words and frames. */
enum {
  REGIONS = 3,
  REGION_BYTES = 32768,
  PAGES_FIRST = 4062, /* in the first region, behind its header */
  PAGES = 4096,       /* in each other one                      */
  HEADER = 34,
  BACKFILLED = 24,
  MARKS = 25,
  HASH = 4096,
  SLOTS = 8192,
  FRAMES_MOST = PAGES_FIRST + (REGIONS - 1) * PAGES,
  MAX_STEPS = 400,
  SEARCHES_MOST = 48,  /* of an input; each may take as many probes as there are slots in three tables */
  PROBES_MOST = 100000 /* to put the frames into the tables                                            */
};

static struct world {
  fuzz_input in;
  uringvfs__file database;
  uringvfs__wal_snapshot snapshot;
  uringvfs__shared shared;
  void *memory[REGIONS];
  uint32_t page_bytes;
  unsigned frames;
  unsigned searches, probes;
  bool hostile; /* the memory is not what wal.c would have made of the frames */
} w;

static uint32_t page_of[FRAMES_MOST + 1]; /* by frame, from 1 */

static unsigned region_of(unsigned frame) { return frame <= PAGES_FIRST ? 0 : (frame - PAGES_FIRST - 1) / PAGES + 1; }

/* The number of a frame in its region, from 1. */
static unsigned entry_of(unsigned frame) {
  const unsigned region = region_of(frame);
  return region == 0 ? frame : frame - PAGES_FIRST - (region - 1) * PAGES;
}

/* NULL: not mapped. */
static void *memory_of(unsigned region) { return uringvfs__shared_region(&w.shared, (int)region); }

/* As walIndexAppend. False: there is no room. */
static bool append(uint32_t pgno) {
  const unsigned frame = w.frames + 1, region = region_of(frame), entry = entry_of(frame);
  if (frame > FRAMES_MOST || memory_of(region) == NULL || w.probes > PROBES_MOST) return false;
  uint32_t *words = memory_of(region);
  uint16_t *hash = (uint16_t *)(words + HASH);
  unsigned key = (pgno * 383u) % SLOTS;
  for (; hash[key] != 0; w.probes++) key = (key + 1) % SLOTS;
  hash[key] = (uint16_t)entry;
  words[(region == 0 ? HEADER : 0) + entry - 1] = pgno;
  page_of[frame] = pgno;
  w.frames = frame;
  return true;
}

/* ---- steps: the memory ---- */

/* Frames of pages in one row, again and again. */
static void step_append(void) {
  const unsigned count = fuzz_word(&w.in), first = fuzz_word(&w.in), stride = fuzz_byte(&w.in),
                 round = fuzz_word(&w.in) + 1u;
  if (w.hostile) return; /* the hash table might be full */
  for (unsigned i = 0; i < count && append(first + i % round * stride + 1); i++) {
  }
}

static void step_word(void) {
  const uint8_t *bytes;
  const unsigned region = fuzz_byte(&w.in) % REGIONS, at = fuzz_word(&w.in);
  const size_t n = fuzz_take(&w.in, &bytes, fuzz_byte(&w.in) % 16);
  if (memory_of(region) == NULL || at + n > REGION_BYTES) return;
  memcpy((uint8_t *)memory_of(region) + at, bytes, n);
  w.hostile = true;
}

/* Many half words of one value, or counted up: a hash table without an end. */
static void step_fill(void) {
  const unsigned region = fuzz_byte(&w.in) % REGIONS, first = fuzz_word(&w.in), count = fuzz_word(&w.in),
                 value = fuzz_word(&w.in), stride = fuzz_byte(&w.in);
  if (memory_of(region) == NULL) return;
  uint16_t *halves = memory_of(region);
  const size_t end = REGION_BYTES / 2;
  for (size_t i = 0; i < count && first + i < end; i++) halves[first + i] = (uint16_t)(value + i * stride);
  w.hostile = true;
}

/* What the header says of the frames: no harm to the rest. */
static void step_header(void) {
  const unsigned mark = fuzz_byte(&w.in), value = fuzz_word(&w.in);
  if (memory_of(0) == NULL) return;
  uint32_t *words = memory_of(0);
  words[BACKFILLED + mark % 6] = mark & 128 ? UINT32_MAX - value : value;
}

/* ---- steps: questions ---- */

static uint32_t take_number(void) {
  const uint8_t how = fuzz_byte(&w.in);
  const uint16_t number = fuzz_word(&w.in);
  if (how % 4 == 1 && w.frames > 0) return page_of[number % w.frames + 1];
  return how % 4 == 2 ? number * 65537u : how % 4 == 3 ? UINT32_MAX - number : number;
}

static void step_snapshot(void) {
  const int mark = fuzz_byte(&w.in) % 6 - 1;
  uringvfs__wal_index_snapshot(&w.database, mark, &w.snapshot);
  uringvfs__wal_snapshot expected = {0};
  if (memory_of(0) != NULL && mark > 0) {
    const uint32_t *words = memory_of(0);
    expected = (uringvfs__wal_snapshot){words[BACKFILLED] + 1, words[MARKS + mark]};
  }
  fuzz_trace("    mark %d: frames %u to %u", mark, w.snapshot.first, w.snapshot.last);
  FUZZ_CHECK(w.snapshot.first == expected.first && w.snapshot.last == expected.last, "mark %d: frames %u to %u", mark,
             w.snapshot.first, w.snapshot.last);
}

/* Any frames, as the header may have said before it changed. */
static void step_frames(void) {
  w.snapshot.first = take_number();
  w.snapshot.last = take_number();
}

/* The frame whose page is at this offset of the WAL. */
static uint64_t frame_at(uint64_t offset) {
  FUZZ_CHECK(offset >= 32 + 24 && (offset - 32 - 24) % (w.page_bytes + 24) == 0, "no page begins at %llu",
             (unsigned long long)offset);
  return (offset - 32 - 24) / (w.page_bytes + 24) + 1;
}

/* From the last frame backwards. */
static unsigned plain_search(uint32_t pgno) {
  unsigned frame = w.snapshot.last;
  while (frame > 0 && frame >= w.snapshot.first && page_of[frame] != pgno) frame--;
  return frame >= w.snapshot.first ? frame : 0;
}

static void check_offset(uint32_t pgno) {
  const uint64_t offset = uringvfs__wal_index_offset(&w.database, &w.snapshot, pgno, w.page_bytes);
  const uint64_t frame = offset != 0 ? frame_at(offset) : 0;
  fuzz_trace("    page %u in frames %u to %u: offset %llu", pgno, w.snapshot.first, w.snapshot.last,
             (unsigned long long)offset);
  if (frame != 0) {
    FUZZ_CHECK(frame >= w.snapshot.first && frame <= w.snapshot.last, "page %u: frame %llu is none of %u to %u", pgno,
               (unsigned long long)frame, w.snapshot.first, w.snapshot.last);
    const uint32_t there = uringvfs__wal_index_page(&w.database, offset, w.page_bytes);
    FUZZ_CHECK(there == pgno, "page %u is at %llu, where page %u is", pgno, (unsigned long long)offset, there);
  }
  /* pgno 0 is none that is ever looked for; a snapshot beyond the frames is none that wal.c makes. */
  if (w.hostile || pgno == 0 || w.snapshot.last > w.frames) return;
  FUZZ_CHECK(frame == plain_search(pgno), "page %u: frame %llu instead of %u", pgno, (unsigned long long)frame,
             plain_search(pgno));
}

static void step_offset(void) {
  const uint32_t pgno = take_number();
  const unsigned count = fuzz_byte(&w.in) % 32 + 1;
  for (unsigned i = 0; i < count && w.searches++ < SEARCHES_MOST; i++) check_offset(pgno + i);
}

/* An offset of the input's choice, which may be none of a page. */
static void step_page(void) {
  const uint8_t shift = fuzz_byte(&w.in);
  uint64_t offset = take_number();
  if (shift < 128)
    offset = 32 + 24 + (offset - 1) * (w.page_bytes + 24) + shift % 2;
  else
    offset = offset << shift % 33 | fuzz_word(&w.in);
  const uint32_t pgno = uringvfs__wal_index_page(&w.database, offset, w.page_bytes);
  const bool aligned = offset >= 32 + 24 && (offset - 32 - 24) % (w.page_bytes + 24) == 0;
  const uint64_t frame = aligned ? frame_at(offset) : 0;
  FUZZ_CHECK(aligned || pgno == 0, "page %u begins at %llu", pgno, (unsigned long long)offset);
  FUZZ_CHECK(w.hostile || pgno == (frame <= w.frames ? page_of[frame] : 0), "frame %llu holds page %u",
             (unsigned long long)frame, pgno);
}

/* ---- the input ---- */

/* clang-format off */
static void (*const steps[])(void) = {
    step_append, step_word, step_fill, step_header, step_snapshot, step_frames, step_offset, step_page,
};
/* clang-format on */

/* Up to three regions, mapped in any order, with gaps. */
static void make_regions(void) {
  const uint8_t how = fuzz_byte(&w.in);
  w.database.shared = &w.shared;
  for (unsigned i = 0; i < REGIONS; i++) {
    const unsigned region = how & 128 ? REGIONS - 1 - i : i;
    if (!(how >> region & 1)) continue;
    w.memory[region] = calloc(1, REGION_BYTES);
    FUZZ_CHECK(w.memory[region] != NULL, "out of memory");
    FUZZ_CHECK(uringvfs__shared_note_region(&w.database, (int)region, REGION_BYTES, w.memory[region]), "out of memory");
  }
}

static void free_regions(void) {
  uringvfs__shared_unmapped(&w.database);
  for (unsigned i = 0; i < REGIONS; i++) {
    FUZZ_CHECK(memory_of(i) == NULL, "region %u is still there", i);
    free(w.memory[i]);
  }
  for (int i = 0; i < URINGVFS__REGION_LEVELS; i++) free(w.shared.regions[i]);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv) {
  (void)argc, (void)argv;
  fuzz_start_tracing();
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  memset(&w, 0, sizeof w);
  w.in = (fuzz_input){data, size};
  w.page_bytes = 512u << fuzz_byte(&w.in) % 8;
  make_regions();
  for (int i = 0; i < MAX_STEPS && w.in.left > 0; i++) {
    const uint8_t code = fuzz_byte(&w.in) % (sizeof steps / sizeof *steps);
    fuzz_trace("step %d: function %u", i, code);
    steps[code]();
  }
  free_regions();
  return 0;
}
