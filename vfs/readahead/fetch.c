/*
** fetch.c - reading the page that is asked for together with those that will be.
**
** Through a ring, pages that lie side by side in a file are one read; all reads are one group, which is waited for as a
** whole. What comes goes into the page buffer, and interior pages into the tree map. A read that fails is no failure:
** SQLite will ask for that page by itself, if at all, and hear of it then.
**
** Where that is not possible (no ring, a file system that hands reads to worker threads, pages that SQLite gets from a
** mapping), and for scans, the kernel is asked to have the pages in its cache, and they are read one by one when their
** time has come.
**
** Before either, a few of the pages are looked for in the kernel's cache: if it has them, nothing is to be gained.
*/
#include "predictor.h"

#include <string.h>

enum {
  SAMPLES = 4,      /* pages of a batch that are looked for in the kernel's cache                  */
  RESTED_MOST = 512 /* pages that need no care in a row, before one looks again all the same       */
};

_Static_assert((URINGVFS__READAHEAD_MAX + 1) * sizeof(uringvfs__page_op) <= URINGVFS__BATCH_BYTES, "one for each page");

uint32_t uringvfs__page_number(const uringvfs__file *database, bool wal, int amount, uint64_t offset) {
  const uint32_t page_size = database->format.page_size;
  if (page_size == 0 || (uint32_t)amount != page_size) return 0;
  if (wal) return uringvfs__wal_index_page(database, offset, page_size);
  const uint64_t number = (offset >> __builtin_ctz(page_size)) + 1; /* a power of two */
  return (offset & (page_size - 1)) == 0 && number <= UINT32_MAX ? (uint32_t)number : 0;
}

uringvfs__source uringvfs__source_of(const uringvfs__readahead *ra, uint32_t pgno) {
  const uringvfs__file *database = ra->database;
  const uint32_t page_size = database->format.page_size;
  const uint64_t offset =
      database->wal != NULL ? uringvfs__wal_index_offset(database, &ra->wal_frames, pgno, page_size) : 0;
  if (offset != 0) return (uringvfs__source){.wal = true, .offset = offset};
  return (uringvfs__source){.offset = (uint64_t)(pgno - 1) * page_size};
}

const uint8_t *uringvfs__page_ahead(uringvfs__readahead *ra, uint32_t pgno) {
  const uringvfs__source source = uringvfs__source_of(ra, pgno);
  return uringvfs__buffer_content(&ra->buffer, uringvfs__buffer_find(&ra->buffer, source.wal, source.offset));
}

/* ---- the batch ---- */

/* An empty one. False: there is nowhere to read to. */
static bool begin(uringvfs__readahead *ra, uringvfs__batch *b) {
  if (ra->buffer.memory == NULL && !uringvfs__buffer_open(&ra->buffer, ra->database->format.page_size)) return false;
  b->count = 0;
  b->most = URINGVFS__READAHEAD_MAX;
  b->stream = 0;
  b->interiors_for_map = false;
  return true;
}

/*
** Does the database file have this page? Its size is asked for once in a tenure, and only if it was too small the last
** time: what is read behind the end of a file that is smaller now does not come, and is not handed out.
*/
static bool is_in_file(uringvfs__readahead *ra, uint64_t end) {
  sqlite3_file *parent = ra->database->parent;
  sqlite3_int64 bytes;
  if (end <= ra->bytes) return true;
  if (ra->sized || parent->pMethods->xFileSize(parent, &bytes) != SQLITE_OK) return false;
  ra->sized = true;
  ra->bytes = (uint64_t)bytes;
  return end <= ra->bytes;
}

static bool is_same(const uringvfs__source *a, const uringvfs__source *b) {
  return a->wal == b->wal && a->offset == b->offset;
}

static bool is_before(const uringvfs__source *a, const uringvfs__source *b) {
  return a->wal != b->wal ? a->wal < b->wal : a->offset < b->offset;
}

static bool add(uringvfs__readahead *ra, uringvfs__batch *b, uringvfs__source source) {
  const uint32_t page_size = ra->database->format.page_size;
  if (!source.wal && !is_in_file(ra, source.offset + page_size)) return false;
  if (uringvfs__buffer_find(&ra->buffer, source.wal, source.offset) >= 0) return true;
  if (source.wal && uringvfs__wal_is_pending(ra->database->wal, source.offset, page_size)) return true;
  if (b->count == URINGVFS__READAHEAD_MAX + 1 || b->count == ra->buffer.capacity) return true; /* there is no room */
  unsigned i = b->count;
  for (; i > 0 && !is_before(&b->sources[i - 1], &source); i--)
    if (is_same(&b->sources[i - 1], &source)) return true;
  memmove(&b->sources[i + 1], &b->sources[i], (b->count - i) * sizeof *b->sources);
  source.stream = b->stream;
  b->sources[i] = source;
  b->count++;
  return true;
}

bool uringvfs__batch_add(uringvfs__readahead *ra, uringvfs__batch *b, uint32_t pgno) {
  return add(ra, b, uringvfs__source_of(ra, pgno));
}

static bool are_neighbours(const uringvfs__source *before, const uringvfs__source *after, uint32_t page_size) {
  return before->wal == after->wal && before->offset + page_size == after->offset;
}

/* ---- what is not worth being read ahead ---- */

/*
** Pages that lie side by side, and are read forwards from here, the kernel reads ahead by itself: asking for them costs
** more than it gains (a scan of contiguous leaves took 1.3 times as long).
*/
static bool is_left_to_kernel(const uringvfs__readahead *ra, const uringvfs__batch *b, uint64_t offset) {
  unsigned n = 0;
  if (!uringvfs__cache_matters(ra->database) || b->sources[0].offset < offset) return false;
  for (unsigned i = 1; i < b->count; i++)
    n += are_neighbours(&b->sources[i - 1], &b->sources[i], ra->database->format.page_size);
  return n * 4 >= (b->count - 1) * 3;
}

/* So many pages need no care, and then again more. */
static void rest(uringvfs__stream *s, unsigned pages) {
  s->rested = s->rested + pages < RESTED_MOST ? s->rested + pages : RESTED_MOST;
  s->rest = s->rested;
}

/* It lies in a block that was asked for as a whole: if memory has it, that is why. */
static bool is_in_block(const uringvfs__readahead *ra, const uringvfs__source *source) {
  const uint32_t pgno = (uint32_t)(source->offset / ra->database->format.page_size) + 1;
  return !source->wal && uringvfs__blocks_asked(&ra->blocks, pgno);
}

/* As far as a few of them tell. One that is known to be missing is left out, and tells for a few others. */
static bool are_in_memory(const uringvfs__readahead *ra, const uringvfs__batch *b, const uringvfs__source *missed) {
  if (!uringvfs__cache_matters(ra->database) || (missed != NULL && b->count <= SAMPLES)) return false;
  const unsigned step = b->count <= SAMPLES ? 1 : b->count / SAMPLES;
  for (unsigned i = 0; i < b->count; i += step) {
    const uringvfs__source *source = &b->sources[i];
    if (missed != NULL && is_same(source, missed)) continue;
    const uringvfs__file *file = source->wal ? ra->database->wal : ra->database;
    if (is_in_block(ra, source)) return false;
    if (rt_is_cached(&file->io, source->offset, ra->database->format.page_size) != 1) return false;
  }
  return true;
}

static bool leaves_are_wanted(const uringvfs__readahead *ra) {
  for (int i = 0; i < uringvfs__predictors; i++) {
    const uringvfs__predictor *p = uringvfs__predictor_table[i];
    if (p->wants_leaves != NULL && p->wants_leaves(&ra->predictors[i])) return true;
  }
  return false;
}

/*
** A scan goes on for long and works on every page. It is better served by the kernel: SQLite need not wait for the last
** page of a batch, and where leaves lie close together they come in blocks. Measured: a cold scan of scattered leaves
** takes 1.25 times as long by batches. Only if it follows overflow chains, or rows are looked up by what it passes, the
** leaves are wanted in the buffer, because they say where these are.
*/
static bool is_scan(uringvfs__readahead *ra, const uringvfs__stream *s) {
  return uringvfs__cache_matters(ra->database) && uringvfs__predictor_table[s->predictor] == &uringvfs__scan &&
         !leaves_are_wanted(ra);
}

/* ---- by the kernel, into its cache ---- */

static void count_batch(uringvfs__readahead *ra, unsigned ahead) {
  ra->issued += ahead;
  ra->batches++;
  if (ahead > ra->deepest) ra->deepest = ahead;
  ra->vain = 0;
}

static unsigned reserve(uringvfs__readahead *ra, const uringvfs__source *source) {
  bool lost;
  const unsigned slot = uringvfs__buffer_reserve(&ra->buffer, source, &lost);
  if (lost) uringvfs__wasted(ra, 1);
  return slot;
}

/* Those that were asked for wait in the buffer, without content. */
static bool advise(uringvfs__readahead *ra, uringvfs__stream *s, const uringvfs__batch *b,
                   const uringvfs__source *wanted) {
  if (!uringvfs__advise(ra, b)) return false;
  unsigned ahead = 0;
  for (unsigned i = 0; i < b->count; i++) {
    if (wanted != NULL && is_same(&b->sources[i], wanted)) continue;
    uringvfs__buffer_fill(&ra->buffer, reserve(ra, &b->sources[i]), URINGVFS__SLOT_ADVISED);
    ahead++;
  }
  s->ahead = ahead + (s->ahead > s->used ? s->ahead - s->used : 0);
  s->used = 0;
  count_batch(ra, ahead);
  return true;
}

/* ---- by a ring, into the buffer ---- */

/* One operation for what lies side by side, in the file and in memory. Returns how many there are. */
static unsigned prepare(uringvfs__readahead *ra, const uringvfs__batch *b, uringvfs__page_op *ops) {
  const uringvfs__page_buffer *buffer = &ra->buffer;
  const uint32_t page_size = buffer->page_size;
  unsigned n = 0;
  for (unsigned first = 0, end; first < b->count; first = end) {
    const uringvfs__source *source = &b->sources[first];
    for (end = first + 1; end < b->count && b->slots[end] == b->slots[end - 1] + 1; end++)
      if (!are_neighbours(&b->sources[end - 1], &b->sources[end], page_size)) break;
    uringvfs__file *file = source->wal ? ra->database->wal : ra->database;
    memset(&ops[n], 0, sizeof ops[n]);
    rt_prep_read(&ops[n++].op, &file->io, uringvfs__buffer_page(buffer, b->slots[first]),
                 (uint64_t)(end - first) * page_size, source->offset);
  }
  return n;
}

/* What has come goes into the buffer, and what interior pages say into the map. Those that are wanted for the map alone
** are not kept. */
static void take_in(uringvfs__readahead *ra, const uringvfs__batch *b, const uringvfs__page_op *ops) {
  const uint32_t page_size = ra->buffer.page_size;
  uint64_t left = ops->op.length;
  for (unsigned i = 0; i < b->count; i++, left -= page_size) {
    if (left == 0) left = (++ops)->op.length;
    const uringvfs__source *source = &b->sources[i];
    const uint8_t *page = uringvfs__buffer_page(&ra->buffer, b->slots[i]);
    const bool came = uringvfs__read_is_whole(ops);
    const uint32_t pgno = came ? uringvfs__page_number(ra->database, source->wal, (int)page_size, source->offset) : 0;
    const bool interior = pgno > 1 && uringvfs__page_kind(page, pgno) == URINGVFS__PAGE_INTERIOR;
    if (interior) uringvfs__learn(ra, pgno, page);
    if (came && !(interior && b->interiors_for_map))
      uringvfs__buffer_fill(&ra->buffer, b->slots[i], URINGVFS__SLOT_FILLED);
    else
      uringvfs__buffer_drop(&ra->buffer, b->slots[i]);
  }
}

static void read_all(uringvfs__readahead *ra, uringvfs__batch *b) {
  for (unsigned i = 0; i < b->count; i++) b->slots[i] = reserve(ra, &b->sources[i]);
  uringvfs__page_op *ops = (uringvfs__page_op *)ra->buffer.memory;
  uringvfs__read_batch(ra->database, ops, prepare(ra, b, ops));
  take_in(ra, b, ops);
}

static void read_batch(uringvfs__readahead *ra, uringvfs__stream *s, uringvfs__batch *b) {
  read_all(ra, b);
  if (!s->goes_on) s->ahead = s->used = 0;
  s->ahead += b->count - 1;
  count_batch(ra, b->count - 1);
}

/* ---- both ---- */

static void predict(uringvfs__readahead *ra, const uringvfs__stream *s, uint32_t pgno, uringvfs__batch *b) {
  uringvfs__self *self = &ra->predictors[s->predictor];
  uringvfs__predictor_table[s->predictor]->predict(ra, self, s, pgno, b);
}

uringvfs__way uringvfs__fetch(uringvfs__readahead *ra, uringvfs__stream *s, uint32_t pgno, uringvfs__source wanted,
                              bool missed, bool mapped) {
  uringvfs__batch b;
  if (!begin(ra, &b)) return URINGVFS__READ_ALONE;
  const unsigned distance = uringvfs__distance_now(ra, s);
  if (distance == 0) return URINGVFS__READ_ALONE;
  b.stream = (uint8_t)(s - ra->streams);
  if (!add(ra, &b, wanted) || b.count == 0) return URINGVFS__READ_ALONE;
  b.most = distance + 1;
  predict(ra, s, pgno, &b);
  if (b.count < 2) return URINGVFS__READ_ALONE;
  const bool scan = is_scan(ra, s), whole = uringvfs__distance_is_short(ra, s);
  if ((scan && is_left_to_kernel(ra, &b, wanted.offset)) || are_in_memory(ra, &b, missed ? &wanted : NULL)) {
    rest(s, b.count);
    return URINGVFS__READ_ALONE;
  }
  const bool ring = !mapped && uringvfs__reads_take_ring(ra->database, b.count);
  if ((!ring || s->steady || (scan && !whole)) && advise(ra, s, &b, &wanted)) return URINGVFS__READ_ADVISED;
  if (!ring) return URINGVFS__READ_ALONE;
  read_batch(ra, s, &b);
  return URINGVFS__READ_BATCH;
}

void uringvfs__fetch_more(uringvfs__readahead *ra, uringvfs__stream *s, uint32_t pgno) {
  uringvfs__batch b;
  if (s->used * 4 < s->ahead * 3 || !begin(ra, &b)) return;
  b.most = uringvfs__distance_now(ra, s);
  b.stream = (uint8_t)(s - ra->streams);
  if (b.most > 0) predict(ra, s, pgno, &b);
  if (b.count == 0) return;
  const uint64_t offset = (uint64_t)(pgno - 1) * ra->database->format.page_size;
  if ((is_scan(ra, s) && is_left_to_kernel(ra, &b, offset)) || are_in_memory(ra, &b, NULL))
    rest(s, b.count);
  else
    (void)advise(ra, s, &b, NULL);
}

void uringvfs__fetch_interiors(uringvfs__readahead *ra, const uint32_t *pages, unsigned count) {
  uringvfs__batch b;
  if (!begin(ra, &b)) return;
  const unsigned most = ra->buffer.capacity / 2;
  for (unsigned i = 0; i < count && b.count < most && b.count < URINGVFS__READAHEAD_MAX; i++)
    (void)uringvfs__batch_add(ra, &b, pages[i]);
  if (b.count == 0) return;
  if (!uringvfs__reads_take_ring(ra->database, b.count)) (void)uringvfs__advise(ra, &b);
  b.interiors_for_map = true;
  read_all(ra, &b);
}

bool uringvfs__fetch_hint(uringvfs__readahead *ra, uint32_t pgno, uint8_t *page) {
  const uringvfs__source source = uringvfs__source_of(ra, pgno);
  uringvfs__file *file = source.wal ? ra->database->wal : ra->database;
  uringvfs__page_op op = {.parent_rc = SQLITE_OK};
  rt_prep_read(&op.op, &file->io, page, ra->database->format.page_size, source.offset);
  uringvfs__read_batch(ra->database, &op, 1);
  return uringvfs__read_is_whole(&op);
}
