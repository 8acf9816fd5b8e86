/*
** page_batch.c - reading the page that is asked for together with those that will be.
**
** Through a ring, pages that lie side by side in a file are one read; all reads are one group, which is waited for as a
** whole. What comes goes into the page buffer, and interior pages into the tree map. A read that fails is no failure:
** SQLite will ask for that page by itself, if at all, and hear of it then.
**
** Where that is not possible (no ring, a file system that hands reads to worker threads, pages that SQLite gets from a
** mapping), and where whole blocks are wanted, the kernel is asked to have the pages in its cache, and they are read
** one by one when their time has come.
*/
#include "readahead.h"

#include <string.h>

enum { CACHED_BATCH_NS = 2000 /* per page; what takes longer came from a device */ };

_Static_assert((URINGVFS_READAHEAD_MAX + 1) * sizeof(uringvfs_page_op) <= URINGVFS_BATCH_BYTES, "one for each page");

uint32_t uringvfs__page_number(const uringvfs_file *database, bool wal, int amount, uint64_t offset) {
  const uint32_t page_size = database->format.page_size;
  if (page_size == 0 || (uint32_t)amount != page_size) return 0;
  if (wal) return uringvfs__wal_index_page(database, offset, page_size);
  const uint64_t number = (offset >> __builtin_ctz(page_size)) + 1; /* a power of two */
  return (offset & (page_size - 1)) == 0 && number <= UINT32_MAX ? (uint32_t)number : 0;
}

uringvfs_source uringvfs__source_of(const uringvfs_file *database, uint32_t pgno) {
  const uint32_t page_size = database->format.page_size;
  const uringvfs_wal_snapshot *frames = &database->readahead->wal_frames;
  const uint64_t offset = database->wal != NULL ? uringvfs__wal_index_offset(database, frames, pgno, page_size) : 0;
  if (offset != 0) return (uringvfs_source){.wal = true, .offset = offset};
  return (uringvfs_source){.offset = (uint64_t)(pgno - 1) * page_size};
}

bool uringvfs__batch_add(uringvfs_file *database, uringvfs_batch *b, uringvfs_source source) {
  const uint32_t page_size = database->format.page_size;
  if (!source.wal && source.offset + page_size > b->database_bytes) return false;
  if (uringvfs__buffer_find(&database->readahead->buffer, source.wal, source.offset) >= 0) return true;
  if (source.wal && uringvfs__wal_is_pending(database->wal, source.offset, page_size)) return true;
  unsigned i = b->count;
  for (; i > 0; i--) {
    const uringvfs_source *before = &b->sources[i - 1];
    if (before->wal == source.wal && before->offset == source.offset) return true;
    if (before->wal < source.wal || (before->wal == source.wal && before->offset < source.offset)) break;
  }
  memmove(&b->sources[i + 1], &b->sources[i], (b->count - i) * sizeof *b->sources);
  b->sources[i] = source;
  b->count++;
  return true;
}

static void choose_depth(const uringvfs_file *database, uringvfs_stream *s) {
  const unsigned most = database->readahead->buffer.capacity / 2;
  if (s->read_ahead > 0 && s->used * 4 >= s->read_ahead * 3)
    s->depth *= 2;
  else if (s->read_ahead > 0 && s->depth > URINGVFS_FIRST_DEPTH)
    s->depth /= 2;
  if (s->depth > most) s->depth = most;
  if (s->depth > database->options.readahead) s->depth = database->options.readahead;
}

static bool are_neighbours(const uringvfs_source *before, const uringvfs_source *after, uint32_t page_size) {
  return before->wal == after->wal && before->offset + page_size == after->offset;
}

/* One operation for what lies side by side, in the file and in memory. Returns how many there are. */
static unsigned prepare(uringvfs_file *database, const uringvfs_batch *b, uringvfs_page_op *ops) {
  const uringvfs_page_buffer *buffer = &database->readahead->buffer;
  const uint32_t page_size = buffer->page_size;
  unsigned n = 0;
  for (unsigned first = 0, end; first < b->count; first = end) {
    const uringvfs_source *source = &b->sources[first];
    for (end = first + 1; end < b->count && b->slots[end] == b->slots[end - 1] + 1; end++)
      if (!are_neighbours(&b->sources[end - 1], &b->sources[end], page_size)) break;
    uringvfs_file *file = source->wal ? database->wal : database;
    memset(&ops[n], 0, sizeof ops[n]);
    rt_prep_read(&ops[n++].op, &file->io, uringvfs__buffer_page(buffer, b->slots[first]),
                 (uint64_t)(end - first) * page_size, source->offset);
  }
  return n;
}

/* What has come goes into the buffer, and what interior pages say into the map. Of those that were only read for that,
** nothing is kept. */
static void take_in(uringvfs_file *database, const uringvfs_batch *b, const uringvfs_page_op *ops) {
  uringvfs_readahead *ra = database->readahead;
  const uint32_t page_size = ra->buffer.page_size;
  uint64_t left = ops->op.length;
  for (unsigned i = 0; i < b->count; i++, left -= page_size) {
    if (left == 0) left = (++ops)->op.length;
    const uringvfs_source *source = &b->sources[i];
    const uint8_t *page = uringvfs__buffer_page(&ra->buffer, b->slots[i]);
    const bool came = uringvfs__read_is_whole(ops);
    const uint32_t pgno = came ? uringvfs__page_number(database, source->wal, (int)page_size, source->offset) : 0;
    const bool interior = pgno > 1 && uringvfs__page_kind(page, pgno) == URINGVFS_PAGE_INTERIOR;
    if (interior) uringvfs__readahead_learn(database, pgno, page);
    if (came && !(interior && source->stream >= URINGVFS_STREAM_ROWS))
      uringvfs__buffer_fill(&ra->buffer, b->slots[i], URINGVFS_SLOT_FILLED);
    else
      uringvfs__buffer_drop(&ra->buffer, b->slots[i]);
  }
}

static void read_all(uringvfs_file *database, uringvfs_batch *b) {
  uringvfs_readahead *ra = database->readahead;
  for (unsigned i = 0; i < b->count; i++) {
    bool lost;
    b->slots[i] = uringvfs__buffer_reserve(&ra->buffer, &b->sources[i], &lost);
    if (lost) uringvfs__readahead_wasted(ra, 1);
  }
  uringvfs_page_op *ops = (uringvfs_page_op *)ra->buffer.memory;
  uringvfs__read_batch(database, ops, prepare(database, b, ops));
  take_in(database, b, ops);
}

/* An empty batch. False: there is nowhere to read to. */
static bool begin(uringvfs_file *database, uringvfs_batch *b) {
  uringvfs_page_buffer *buffer = &database->readahead->buffer;
  sqlite3_int64 bytes;
  if (buffer->memory == NULL && !uringvfs__buffer_open(buffer, database->format.page_size)) return false;
  if (database->parent->pMethods->xFileSize(database->parent, &bytes) != SQLITE_OK) return false;
  b->count = 0;
  b->database_bytes = (uint64_t)bytes;
  return true;
}

static void predict(uringvfs_file *database, const uringvfs_stream *s, uint32_t pgno, uringvfs_batch *b) {
  uringvfs_readahead *ra = database->readahead;
  if (s >= &ra->streams[URINGVFS_STREAM_ROWS])
    uringvfs__rows_predict(database, s, pgno, b);
  else if (s == &ra->streams[URINGVFS_STREAM_OVERFLOW])
    uringvfs__overflow_predict(database, b);
  else
    uringvfs__stream_predict(database, s, pgno, b);
}

static void count_batch(uringvfs_readahead *ra, unsigned ahead) {
  ra->issued += ahead;
  ra->batches++;
  if (ahead > ra->deepest) ra->deepest = ahead;
  ra->nodes_in_vain = 0;
  ra->patience = ra->most_lost = URINGVFS_PATIENCE;
}

/* ---- by the kernel, into its cache ---- */

static uint32_t pgno_of(const uringvfs_source *source, uint32_t page_size) {
  return (uint32_t)(source->offset / page_size) + 1;
}

/* The part of the file to ask for because of this page; none if it was asked for already. */
static uringvfs_range range_of(uringvfs_leaf_blocks *blocks, const uringvfs_source *source, uint32_t page_size) {
  uint32_t pgno = pgno_of(source, page_size);
  if (source->wal) return (uringvfs_range){source->offset, page_size};
  if (uringvfs__blocks_asked(blocks, pgno)) return (uringvfs_range){0, 0};
  if (!uringvfs__blocks_dense(blocks, pgno)) return (uringvfs_range){source->offset, page_size};
  const uint32_t count = uringvfs__blocks_take(blocks, &pgno);
  return (uringvfs_range){(uint64_t)(pgno - 1) * page_size, (uint64_t)count * page_size};
}

/* Asks for what the batch holds of one of the two files. False: it could not be done. */
static bool advise_part(uringvfs_file *database, const uringvfs_batch *b, bool wal) {
  uringvfs_range ranges[URINGVFS_READAHEAD_MAX + 1];
  unsigned n = 0;
  for (unsigned i = 0; i < b->count; i++) {
    if (b->sources[i].wal != wal) continue;
    const uringvfs_range range = range_of(&database->readahead->blocks, &b->sources[i], database->format.page_size);
    if (range.bytes == 0) continue;
    if (n > 0 && ranges[n - 1].offset + ranges[n - 1].bytes == range.offset)
      ranges[n - 1].bytes += range.bytes;
    else
      ranges[n++] = range;
  }
  if (n == 0 || uringvfs__advise(wal ? database->wal : database, ranges, n) > 0) return true;
  uringvfs__blocks_give_up(&database->readahead->blocks); /* some are marked that nobody asked for */
  return false;
}

static bool advise_files(uringvfs_file *database, const uringvfs_batch *b) {
  return advise_part(database, b, false) && (database->wal == NULL || advise_part(database, b, true));
}

/* Those that were asked for wait in the buffer, without content. */
static bool advise(uringvfs_file *database, uringvfs_stream *s, const uringvfs_batch *b,
                   const uringvfs_source *wanted) {
  uringvfs_readahead *ra = database->readahead;
  if (!advise_files(database, b)) return false;
  unsigned ahead = 0;
  for (unsigned i = 0; i < b->count; i++) {
    const uringvfs_source *source = &b->sources[i];
    if (wanted != NULL && source->wal == wanted->wal && source->offset == wanted->offset) continue;
    bool lost;
    const unsigned slot = uringvfs__buffer_reserve(&ra->buffer, source, &lost);
    uringvfs__buffer_fill(&ra->buffer, slot, URINGVFS_SLOT_ADVISED);
    if (lost) uringvfs__readahead_wasted(ra, 1);
    ahead++;
  }
  s->read_ahead = ahead + (s->read_ahead > s->used ? s->read_ahead - s->used : 0);
  s->used = 0;
  count_batch(ra, ahead);
  return true;
}

/*
** A scan goes on for long and works on every page. It is better served by the kernel: SQLite need not wait for the last
** page of a batch, and where leaves lie close together they come in blocks. Measured: a cold scan of scattered leaves
** takes 1.25 times as long by batches. Only if it follows overflow chains the leaves are wanted in the buffer, because
** they say where the next chains are.
*/
static bool is_scan(const uringvfs_file *database, const uringvfs_stream *s) {
  const uringvfs_readahead *ra = database->readahead;
  return uringvfs__cache_matters(database) && s - ra->streams < URINGVFS_STREAMS &&
         !uringvfs__overflow_is_followed(&ra->overflow);
}

/*
** Pages that lie side by side, and are read forwards from here, the kernel reads ahead by itself: asking for them costs
** more than it gains (a scan of contiguous leaves took 1.3 times as long).
*/
static bool is_left_to_kernel(const uringvfs_file *database, const uringvfs_batch *b, uint64_t offset) {
  unsigned n = 0;
  if (b->sources[0].offset < offset) return false;
  for (unsigned i = 1; i < b->count; i++)
    n += are_neighbours(&b->sources[i - 1], &b->sources[i], database->format.page_size);
  return n * 4 >= (b->count - 1) * 3;
}

/* The pages that come next are, or will be, in the kernel's cache. */
static void read_plainly(uringvfs_stream *s, const uringvfs_batch *b) {
  s->cached = true;
  s->untimed = (uint8_t)b->count;
}

void uringvfs__advise_more(uringvfs_file *database, uringvfs_stream *s, uint32_t pgno) {
  uringvfs_batch b;
  if (s->used * 4 < s->read_ahead * 3 || !begin(database, &b)) return;
  choose_depth(database, s);
  predict(database, s, pgno, &b);
  if (b.count == 0) return;
  if (is_scan(database, s) && is_left_to_kernel(database, &b, (uint64_t)(pgno - 1) * database->format.page_size))
    read_plainly(s, &b);
  else
    (void)advise(database, s, &b, NULL);
}

/* ---- by a batch, into the buffer ---- */

static void read_batch(uringvfs_file *database, uringvfs_stream *s, uringvfs_batch *b, bool goes_on) {
  const uint64_t start_ns = rt_now_ns();
  read_all(database, b);
  const uint64_t ns = rt_now_ns() - start_ns;
  s->cached = uringvfs__cache_matters(database) && ns < (uint64_t)b->count * CACHED_BATCH_NS;
  s->untimed = 0;
  s->slow = false;
  if (!goes_on) s->read_ahead = s->used = 0;
  s->read_ahead += b->count - 1;
  count_batch(database->readahead, b->count - 1);
}

uringvfs_way uringvfs__read_with_next(uringvfs_file *database, uringvfs_stream *s, uint32_t pgno,
                                      uringvfs_source wanted, bool mapped) {
  uringvfs_readahead *ra = database->readahead;
  uringvfs_batch b;
  if (!begin(database, &b)) return URINGVFS_READ_ALONE;
  /* The rounds for the same rows are judged together. */
  const bool goes_on = s == &ra->streams[URINGVFS_STREAM_OVERFLOW] && ra->overflow.link > 0;
  if (!goes_on) choose_depth(database, s);
  wanted.stream = (uint8_t)(s - ra->streams);
  if (!uringvfs__batch_add(database, &b, wanted) || b.count == 0) return URINGVFS_READ_ALONE;
  predict(database, s, pgno, &b);
  if (b.count < 2) return URINGVFS_READ_ALONE;
  const bool scan = is_scan(database, s);
  if (scan && is_left_to_kernel(database, &b, wanted.offset)) {
    read_plainly(s, &b);
    return URINGVFS_READ_ALONE;
  }
  const bool ring = !mapped && uringvfs__reads_take_ring(database, b.count);
  if ((!ring || scan) && advise(database, s, &b, &wanted)) return URINGVFS_READ_ADVISED;
  if (!ring) return URINGVFS_READ_ALONE;
  read_batch(database, s, &b, goes_on);
  return URINGVFS_READ_BATCH;
}

void uringvfs__read_interiors(uringvfs_file *database, const uint32_t *pages, unsigned count) {
  uringvfs_batch b;
  if (!begin(database, &b)) return;
  const unsigned most = database->readahead->buffer.capacity / 2;
  for (unsigned i = 0; i < count && b.count < most && b.count < URINGVFS_READAHEAD_MAX; i++) {
    uringvfs_source source = uringvfs__source_of(database, pages[i]);
    source.stream = URINGVFS_STREAM_ROWS;
    (void)uringvfs__batch_add(database, &b, source);
  }
  if (b.count == 0) return;
  if (!uringvfs__reads_take_ring(database, b.count)) (void)advise_files(database, &b);
  read_all(database, &b);
}

bool uringvfs__read_hint(uringvfs_file *database, uint32_t pgno, uint8_t *page) {
  const uringvfs_source source = uringvfs__source_of(database, pgno);
  uringvfs_file *file = source.wal ? database->wal : database;
  uringvfs_page_op op = {.parent_rc = SQLITE_OK};
  rt_prep_read(&op.op, &file->io, page, database->format.page_size, source.offset);
  uringvfs__read_batch(database, &op, 1);
  return uringvfs__read_is_whole(&op);
}
