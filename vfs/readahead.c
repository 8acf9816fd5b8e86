/*
** readahead.c - which pages to read before they are asked for, and until when they may be handed out.
**
** SQLite reads one page at a time. What it will ask for next is written in the pages it has read: an interior page of a b-tree names
** its children in the order of their keys. So interior pages are remembered as they pass by (tree_map.c), and a stream follows each
** cursor from child to child. Once it has seen two of one parent in a row, the page that is asked for next and does not wait in the buffer
** is read together with those that come after it, in one batch that is waited for as a whole: two pages more at first, and twice
** as many each time nearly all of a batch was asked for. Near the end of a parent the batch brings the next interior page along.
** Where the kernel has the pages in its cache a batch gains nothing: the copying is the price, and it is paid twice. So batches are timed,
** and after one that came without the device the pages are read one by one until one of them takes long. (Not with
** uring_backend=uring, where each would be a submission.)
**
** Pages that are asked for in the order of their numbers (a backup, an overflow chain) make a stream too.
**
** Validity. A page read ahead is handed out only while a lock makes it certain that a read from the file would give the same bytes; see
** is_stable. When that ends, all goes; so does what this connection overwrites or truncates. Nothing is ever in flight between calls, so
** there is nothing that could arrive later. In WAL mode an unchanged wal-index header proves nothing: a checkpoint changes
** the database file and leaves both copies of the header as they were.
**
** Of the WAL, only offsets are compared. A frame that SQLite asks for was committed before the read mark was taken and cannot change while it is
** held, or was written by this connection, which drops it here.
**
** One connection at a time, as SQLite serializes its files.
*/
#include "readahead.h"

#include <stdlib.h>
#include <string.h>

enum {
  STREAMS = 8,
  BY_NUMBER = STREAMS, /* the stream of pages in the order of their numbers                   */
  EVIDENCE = 2,        /* pages in a row that begin a read-ahead                              */
  EVIDENCE_NUMBER = 4, /* the same by number, which says less                                 */
  MOST_CAUTION = 4,    /* pages in a row more, after read-aheads that nobody wanted           */
  FIRST_DEPTH = 2,     /* pages                                                               */
  SCHEMA_DEPTH = 16,   /* the schema is read from end to end                                  */
  LARGEST_GAP = 8,     /* children that may be left out: SQLite has them in its cache         */
  NODES_IN_VAIN = 8,   /* interior pages learned without a use before they are only noted     */
  NOTED = 4,
  CACHED_READ_NS = 8000,  /* a page that takes longer came from a device                      */
  CACHED_BATCH_NS = 2000, /* the same for a batch, per page                                   */
  TIMED_READS = 4,        /* of the cached pages one in so many is timed                      */
  PATIENCE = 4,           /* pages of unknown parents in a row that make a noted page worth reading */
  MOST_PATIENCE = 64
};

typedef enum direction { BACKWARD = -1, UNKNOWN, FORWARD } direction;

typedef struct stream {
  uringvfs_place place;      /* of the page asked for last          */
  direction direction;       /* UNKNOWN: unused                     */
  unsigned run;              /* pages in a row                      */
  uint32_t next;             /* page to be asked for, 0: not known  */
  unsigned depth;            /* of the next batch                   */
  unsigned read_ahead, used; /* pages of the last batch        */
  bool cached;               /* the kernel has the pages: one by one is the faster way */
  uint8_t untimed;           /* reads since one was timed           */
  uint32_t stamp;
} stream;

struct uringvfs_readahead {
  uringvfs_tree_map map;
  uringvfs_page_buffer buffer;
  uringvfs_wal_snapshot wal_frames;
  stream streams[STREAMS + 1];
  uint32_t clock;
  unsigned caution;
  unsigned issued, used, wasted, batches, deepest; /* not yet in the totals */
  /* To learn an interior page costs as much as to read it. Where only single rows are looked up it is put off. */
  unsigned nodes_in_vain; /* learned since the last batch */
  uint32_t noted[NOTED];  /* not learned, the latest first */
  unsigned strangers, patience;
};

/* ---- counters ---- */

static struct { _Atomic uint64_t issued, used, wasted, batches, deepest; } total;

static void add(_Atomic uint64_t *sum, unsigned *n) {
  atomic_fetch_add_explicit(sum, *n, memory_order_relaxed);
  *n = 0;
}

static void publish(uringvfs_readahead *ra) {
  add(&total.issued, &ra->issued);
  add(&total.used, &ra->used);
  add(&total.wasted, &ra->wasted);
  add(&total.batches, &ra->batches);
  uint64_t known = atomic_load_explicit(&total.deepest, memory_order_relaxed);
  while (known < ra->deepest && !atomic_compare_exchange_weak_explicit(&total.deepest, &known, ra->deepest,
                                                                       memory_order_relaxed, memory_order_relaxed)) {
  }
}

void uringvfs__readahead_stats(uringvfs_file *database, uringvfs_readahead_stats *stats) {
  if (database != NULL && database->readahead != NULL) publish(database->readahead);
  stats->issued = atomic_load_explicit(&total.issued, memory_order_relaxed);
  stats->used = atomic_load_explicit(&total.used, memory_order_relaxed);
  stats->wasted = atomic_load_explicit(&total.wasted, memory_order_relaxed);
  stats->batches = atomic_load_explicit(&total.batches, memory_order_relaxed);
  stats->deepest = atomic_load_explicit(&total.deepest, memory_order_relaxed);
}

/* ---- validity ---- */

/*
** May nobody else change what this connection would read? Under an exclusive lock nobody; in WAL mode nobody changes what the holder of a
** read mark finds in either file (wal.c, walCheckpoint and walRestartLog); in rollback mode no database page changes under SHARED. Without
** a visible lock (nolock, or a heap wal-index without the exclusive lock) nothing is certain.
*/
static bool is_stable(const uringvfs_file *f) {
  if (f->immutable || f->lock_level >= SQLITE_LOCK_EXCLUSIVE) return true;
  if (f->wal != NULL || f->region_count > 0) return f->read_mark >= 0;
  return f->lock_level >= SQLITE_LOCK_SHARED;
}

static void wasted(uringvfs_readahead *ra, unsigned n) {
  if (n == 0) return;
  ra->wasted += n;
  if (ra->caution < MOST_CAUTION) ra->caution++;
}

void uringvfs__readahead_drop(uringvfs_file *database) {
  uringvfs_readahead *ra = database->readahead;
  if (ra == NULL || ra->buffer.memory == NULL) return;
  wasted(ra, uringvfs__buffer_close(&ra->buffer));
  publish(ra);
}

void uringvfs__readahead_locks_changed(uringvfs_file *database) {
  const bool stable = is_stable(database);
  if (stable == database->stable) return;
  database->stable = stable;
  if (!stable) uringvfs__readahead_drop(database);
  uringvfs_readahead *ra = database->readahead;
  if (ra == NULL) return;
  memset(ra->streams, 0, sizeof ra->streams);
  if (stable) uringvfs__wal_index_snapshot(database, database->read_mark, &ra->wal_frames);
}

void uringvfs__readahead_written(uringvfs_file *database, bool wal, int64_t offset, int amount) {
  uringvfs_readahead *ra = database->readahead;
  if (ra == NULL || ra->buffer.memory == NULL) return;
  const uint32_t page_size = ra->buffer.page_size;
  /* A frame's page begins anywhere; the database is written page by page. All else is rare. */
  if ((uint32_t)amount == page_size && (wal || offset % page_size == 0)) {
    const int slot = uringvfs__buffer_find(&ra->buffer, wal, (uint64_t)offset);
    if (slot < 0) return;
    uringvfs__buffer_drop(&ra->buffer, (unsigned)slot);
    wasted(ra, 1);
  } else if (!wal || amount != URINGVFS_WAL_FRAME_HEADER_BYTES) {
    uringvfs__readahead_drop(database);
  }
}

void uringvfs__readahead_close(uringvfs_file *database) {
  if (database->readahead == NULL) return;
  uringvfs__readahead_drop(database);
  uringvfs__tree_clear(&database->readahead->map);
  free(database->readahead);
  database->readahead = NULL;
}

static uringvfs_readahead *readahead_of(uringvfs_file *database) {
  if (database->readahead == NULL) {
    uringvfs_readahead *ra = calloc(1, sizeof *ra);
    if (ra == NULL) return NULL;
    ra->patience = PATIENCE;
    uringvfs__wal_index_snapshot(database, database->read_mark, &ra->wal_frames);
    database->readahead = ra;
  }
  return database->readahead;
}

/* ---- streams ---- */

static void look_ahead(uringvfs_readahead *ra, stream *s) {
  uint32_t interior;
  uringvfs_place place = s->place;
  s->next = uringvfs__tree_step(&ra->map, &place, s->direction, &interior);
}

static void move(uringvfs_readahead *ra, stream *s, uringvfs_place to) {
  s->place = to;
  s->run++;
  s->stamp = ++ra->clock;
  look_ahead(ra, s);
}

static stream *begin(uringvfs_readahead *ra, uringvfs_place place, direction d) {
  stream *s = &ra->streams[0];
  for (int i = 1; i < STREAMS; i++)
    if (ra->streams[i].stamp < s->stamp) s = &ra->streams[i];
  *s = (stream){.direction = d, .run = EVIDENCE - 1, .depth = FIRST_DEPTH};
  move(ra, s, place);
  return s;
}

/* The stream that expects just this page. */
static stream *expected_by(uringvfs_readahead *ra, uint32_t pgno) {
  for (int i = 0; i < STREAMS; i++) {
    stream *s = &ra->streams[i];
    if (s->direction == UNKNOWN) continue;
    if (s->next == 0) look_ahead(ra, s); /* an interior page may have told meanwhile */
    if (s->next != pgno) continue;
    uint32_t interior;
    uringvfs_place place = s->place;
    (void)uringvfs__tree_step(&ra->map, &place, s->direction, &interior);
    move(ra, s, place);
    return s;
  }
  return NULL;
}

/* The stream that went over a few children that SQLite has in its cache. */
static stream *passed_by(uringvfs_readahead *ra, uringvfs_place place) {
  for (int i = 0; i < STREAMS; i++) {
    stream *s = &ra->streams[i];
    const int gap = ((int)place.position - (int)s->place.position) * (int)s->direction;
    if (s->direction == UNKNOWN || s->place.node != place.node || gap < 0 || gap > LARGEST_GAP) continue;
    move(ra, s, place);
    return s;
  }
  return NULL;
}

/* The neighbour of a child that was asked for before: two in a row. */
static stream *begun_by(uringvfs_readahead *ra, uringvfs_place place) {
  uringvfs_tree_node *n = &ra->map.nodes[place.node];
  stream *s = NULL;
  for (int i = 0; i < 2 && s == NULL; i++) {
    if (place.position == n->asked[i] + 1u) s = begin(ra, place, FORWARD);
    if (place.position + 1u == n->asked[i]) s = begin(ra, place, BACKWARD);
  }
  if (s == NULL && n->pgno == 1 && place.position == 0) {
    s = begin(ra, place, FORWARD);
    s->run += ra->caution;
    s->depth = SCHEMA_DEPTH;
  }
  n->asked[1] = n->asked[0];
  n->asked[0] = place.position;
  return s;
}

/* A page whose parent nobody knows: one of the interior pages that were only noted might tell. */
static void stranger(uringvfs_file *database, uringvfs_readahead *ra);

static stream *stream_of(uringvfs_file *database, uringvfs_readahead *ra, uint32_t pgno) {
  stream *numbers = &ra->streams[BY_NUMBER];
  numbers->run = numbers->next == pgno ? numbers->run + 1 : 1;
  if (numbers->run == 1) *numbers = (stream){.run = 1, .depth = FIRST_DEPTH};
  numbers->next = pgno + 1;

  uringvfs_place place;
  stream *s = expected_by(ra, pgno);
  if (s == NULL && uringvfs__tree_find(&ra->map, pgno, &place)) {
    if (!ra->map.nodes[place.node].upper) s = passed_by(ra, place);
    if (s == NULL && !ra->map.nodes[place.node].upper) s = begun_by(ra, place);
  } else if (s == NULL && ra->noted[0] != 0 && ++ra->strangers >= ra->patience) {
    stranger(database, ra);
  }
  if (s != NULL && s->run >= EVIDENCE + ra->caution) return s;
  return numbers->run >= EVIDENCE_NUMBER + ra->caution ? numbers : NULL;
}

/* ---- learning ---- */

static void learn(uringvfs_file *database, uringvfs_readahead *ra, uint32_t pgno, const uint8_t *page) {
  uringvfs_cells cells;
  if (!uringvfs__page_cells(page, pgno, &database->format, &cells)) return;
  if (uringvfs__tree_learn(&ra->map, pgno, &cells)) ra->nodes_in_vain++;
}

static void push_noted(uringvfs_readahead *ra, uint32_t pgno) {
  memmove(&ra->noted[1], &ra->noted[0], sizeof ra->noted - sizeof ra->noted[0]);
  ra->noted[0] = pgno;
}

static uint32_t pop_noted(uringvfs_readahead *ra) {
  const uint32_t pgno = ra->noted[0];
  memmove(&ra->noted[0], &ra->noted[1], sizeof ra->noted - sizeof ra->noted[0]);
  ra->noted[NOTED - 1] = 0;
  return pgno;
}

/* An interior page has passed by. */
static void note(uringvfs_file *database, uint32_t pgno, const uint8_t *page) {
  uringvfs_readahead *ra = readahead_of(database);
  if (ra == NULL) return;
  ra->strangers = 0;
  if (ra->nodes_in_vain < NODES_IN_VAIN)
    learn(database, ra, pgno, page);
  else
    push_noted(ra, pgno);
}

/* What SQLite has read from the file, or been handed from the buffer. */
static void seen(uringvfs_file *database, uint32_t pgno, const uint8_t *page, uint32_t amount) {
  if (pgno == 1) {
    uringvfs_page_format format = {0, 0};
    (void)uringvfs__page_format(page, amount, &format);
    if (format.page_size != database->format.page_size || format.usable != database->format.usable)
      uringvfs__readahead_close(database);
    database->format = format;
    if (format.page_size != amount) return;
  }
  if (uringvfs__page_kind(page, pgno) == URINGVFS_PAGE_INTERIOR) note(database, pgno, page);
}

/* ---- reading ---- */

/* The page's number, or 0 if this is not the reading of a page. */
static uint32_t page_number(const uringvfs_file *database, bool wal, int amount, uint64_t offset) {
  const uint32_t page_size = database->format.page_size;
  if ((uint32_t)amount != page_size) return 0;
  if (wal) return uringvfs__wal_index_page(database, offset, page_size);
  const uint64_t number = offset / page_size + 1;
  return offset % page_size == 0 && number <= UINT32_MAX ? (uint32_t)number : 0;
}

/* Where SQLite would read the page from. */
static uringvfs_source source_of(const uringvfs_file *database, uint32_t pgno) {
  const uint32_t page_size = database->format.page_size;
  const uringvfs_wal_snapshot *frames = &database->readahead->wal_frames;
  const uint64_t offset = database->wal != NULL ? uringvfs__wal_index_offset(database, frames, pgno, page_size) : 0;
  if (offset != 0) return (uringvfs_source){.wal = true, .offset = offset};
  return (uringvfs_source){.offset = (uint64_t)(pgno - 1) * page_size};
}

static void stranger(uringvfs_file *database, uringvfs_readahead *ra) {
  const uint32_t page_size = database->format.page_size, pgno = pop_noted(ra);
  ra->strangers = 0;
  if (ra->patience < MOST_PATIENCE) ra->patience *= 2;
  uint8_t *page = malloc(page_size);
  if (page == NULL) return;
  const uringvfs_source source = source_of(database, pgno);
  uringvfs_file *file = source.wal ? database->wal : database;
  uringvfs_page_op op = {.parent_rc = SQLITE_OK};
  rt_prep_read(&op.op, &file->io, page, page_size, source.offset);
  uringvfs__read_batch(database, &op, 1);
  if (uringvfs__read_is_whole(&op)) learn(database, ra, pgno, page);
  free(page);
}

/* Pages to be read together, in the order of the files. */
typedef struct batch {
  uringvfs_source sources[URINGVFS_READAHEAD_MAX + 1];
  unsigned slots[URINGVFS_READAHEAD_MAX + 1];
  unsigned count;
  uint64_t database_bytes;
} batch;

static bool is_pending(const uringvfs_file *wal, uint64_t offset, uint32_t amount) {
  return offset < uringvfs__wal_pending_end(wal) && offset + amount > wal->writer.start;
}

/* False: there is no such page in the database file. One that is in the buffer, or waits to be written, is left out. */
static bool batch_add(uringvfs_file *database, batch *b, uringvfs_source source) {
  const uint32_t page_size = database->format.page_size;
  if (!source.wal && source.offset + page_size > b->database_bytes) return false;
  if (uringvfs__buffer_find(&database->readahead->buffer, source.wal, source.offset) >= 0) return true;
  if (source.wal && is_pending(database->wal, source.offset, page_size)) return true;
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

/* Adds what stream s will want after pgno. */
static void predict(uringvfs_file *database, const stream *s, uint32_t pgno, batch *b) {
  uringvfs_readahead *ra = database->readahead;
  const uint8_t number = (uint8_t)(s - ra->streams);
  uringvfs_place place = s->place;
  for (unsigned steps = 0; b->count <= s->depth && steps < URINGVFS_BUFFER_SLOTS; steps++) {
    uint32_t interior = 0;
    uint32_t next = number == BY_NUMBER ? ++pgno : uringvfs__tree_step(&ra->map, &place, s->direction, &interior);
    if (next == 0) next = interior; /* what comes behind it is not known before it is read */
    if (next == 0) return;
    uringvfs_source source = source_of(database, next);
    source.stream = number;
    if (!batch_add(database, b, source) || interior != 0) return;
  }
}

static void choose_depth(const uringvfs_file *database, stream *s) {
  const unsigned most = database->readahead->buffer.capacity / 2;
  if (s->read_ahead > 0 && s->used * 4 >= s->read_ahead * 3)
    s->depth *= 2;
  else if (s->read_ahead > 0 && s->depth > FIRST_DEPTH)
    s->depth /= 2;
  if (s->depth > most) s->depth = most;
  if (s->depth > database->options.readahead) s->depth = database->options.readahead;
}

static bool are_neighbours(const uringvfs_source *before, const uringvfs_source *after, uint32_t page_size) {
  return before->wal == after->wal && before->offset + page_size == after->offset;
}

/* Without a ring one call reads what lies side by side, and more calls gain nothing. */
static void keep_neighbours(batch *b, uringvfs_source wanted, uint32_t page_size) {
  unsigned first = 0, end;
  while (b->sources[first].wal != wanted.wal || b->sources[first].offset != wanted.offset) first++;
  for (end = first + 1; end < b->count && are_neighbours(&b->sources[end - 1], &b->sources[end], page_size); end++) {
  }
  while (first > 0 && are_neighbours(&b->sources[first - 1], &b->sources[first], page_size)) first--;
  b->count = end - first;
  memmove(b->sources, &b->sources[first], b->count * sizeof *b->sources);
}

/* One operation for what lies side by side, in the file and in memory. Returns how many there are. */
static unsigned prepare(uringvfs_file *database, const batch *b, uringvfs_page_op *ops) {
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

/* What has come goes into the buffer. */
static void take_in(uringvfs_file *database, const batch *b, const uringvfs_page_op *ops) {
  uringvfs_readahead *ra = database->readahead;
  const uint32_t page_size = ra->buffer.page_size;
  uint64_t left = ops->op.length;
  for (unsigned i = 0; i < b->count; i++, left -= page_size) {
    if (left == 0) left = (++ops)->op.length;
    if (!uringvfs__read_is_whole(ops)) {
      uringvfs__buffer_drop(&ra->buffer, b->slots[i]);
      continue;
    }
    uringvfs__buffer_fill(&ra->buffer, b->slots[i]);
    const uringvfs_source *source = &b->sources[i];
    const uint32_t pgno = page_number(database, source->wal, (int)page_size, source->offset);
    const uint8_t *page = uringvfs__buffer_page(&ra->buffer, b->slots[i]);
    if (pgno > 1 && uringvfs__page_kind(page, pgno) == URINGVFS_PAGE_INTERIOR) learn(database, ra, pgno, page);
  }
}

/* Reads the page together with what stream s will want after it. False: it is not in the buffer after all. */
static bool read_with_next(uringvfs_file *database, stream *s, uint32_t pgno, uringvfs_source wanted) {
  uringvfs_readahead *ra = database->readahead;
  if (ra->buffer.memory == NULL && !uringvfs__buffer_open(&ra->buffer, database->format.page_size)) return false;
  sqlite3_int64 database_bytes;
  if (database->parent->pMethods->xFileSize(database->parent, &database_bytes) != SQLITE_OK) return false;
  batch b;
  b.count = 0;
  b.database_bytes = (uint64_t)database_bytes;
  choose_depth(database, s);
  wanted.stream = (uint8_t)(s - ra->streams);
  if (!batch_add(database, &b, wanted) || b.count == 0) return false;
  predict(database, s, pgno, &b);
  if (!uringvfs__reads_take_ring(database, b.count)) keep_neighbours(&b, wanted, ra->buffer.page_size);
  if (b.count < 2) return false;

  for (unsigned i = 0; i < b.count; i++) {
    int lost;
    b.slots[i] = uringvfs__buffer_reserve(&ra->buffer, &b.sources[i], &lost);
    if (lost >= 0) wasted(ra, 1);
  }
  uringvfs_page_op *ops = (uringvfs_page_op *)ra->buffer.memory;
  const unsigned operations = prepare(database, &b, ops);
  const uint64_t start_ns = rt_now_ns();
  uringvfs__read_batch(database, ops, operations);
  s->cached = rt_now_ns() - start_ns < (uint64_t)b.count * CACHED_BATCH_NS;
  s->untimed = TIMED_READS;
  take_in(database, &b, ops);

  s->read_ahead = b.count - 1;
  s->used = 0;
  ra->issued += b.count - 1;
  ra->batches++;
  if (b.count > ra->deepest) ra->deepest = b.count;
  ra->nodes_in_vain = 0;
  ra->patience = PATIENCE;
  return true;
}

/* Builds that test: the file must still hold what is about to be handed out, and every stream reads ahead. */
#ifdef URINGVFS_VERIFY_READAHEAD
#include <stdio.h>
enum { VERIFY = 1 };
static void verify(const uringvfs_file *file, const void *page, uint32_t page_size, uint64_t offset) {
  char *now = malloc(page_size);
  if (file->parent->pMethods->xRead(file->parent, now, (int)page_size, (sqlite3_int64)offset) != SQLITE_OK ||
      memcmp(now, page, page_size) != 0) {
    fprintf(stderr, "uringvfs: %s: the page read ahead at %llu is stale\n", file->name, (unsigned long long)offset);
    abort();
  }
  free(now);
}
#else
enum { VERIFY = 0 };
static void verify(const uringvfs_file *file, const void *page, uint32_t page_size, uint64_t offset) {
  (void)file, (void)page, (void)page_size, (void)offset;
}
#endif

/* The page leaves the buffer for the caller. */
static bool hand_out(uringvfs_file *database, void *data, uringvfs_source wanted, uint8_t *wanted_by) {
  uringvfs_readahead *ra = database->readahead;
  if (ra->buffer.taken == 0) return false;
  const int slot = uringvfs__buffer_find(&ra->buffer, wanted.wal, wanted.offset);
  if (slot < 0) return false;
  memcpy(data, uringvfs__buffer_page(&ra->buffer, (unsigned)slot), ra->buffer.page_size);
  verify(wanted.wal ? database->wal : database, data, ra->buffer.page_size, wanted.offset);
  *wanted_by = ra->buffer.slots[slot].source.stream;
  uringvfs__buffer_drop(&ra->buffer, (unsigned)slot);
  return true;
}

/* Reads a page of a stream whose pages the kernel has, and looks now and then whether it still has. */
static int read_cached(stream *s, uringvfs_file *file, void *data, int amount, sqlite3_int64 offset) {
  if (s->untimed++ < TIMED_READS) return uringvfs__read(file, data, amount, offset);
  const uint64_t start_ns = rt_now_ns();
  int rc = uringvfs__read(file, data, amount, offset);
  s->cached = rt_now_ns() - start_ns < CACHED_READ_NS;
  s->untimed = 1;
  return rc;
}

static int read_page(uringvfs_file *database, uint32_t pgno, uringvfs_file *file, void *data, int amount,
                     sqlite3_int64 offset) {
  uringvfs_readahead *ra = database->readahead;
  const uringvfs_source wanted = {.wal = file != database, .offset = (uint64_t)offset};
  stream *s = stream_of(database, ra, pgno);
  uint8_t number;
  if (hand_out(database, data, wanted, &number)) {
    ra->streams[number].used++;
    ra->used++;
    if (ra->caution > 0) ra->caution--;
    return SQLITE_OK;
  }
  if (s == NULL) return uringvfs__read(file, data, amount, offset);
  if (s->cached && !VERIFY && database->options.backend != RT_BACKEND_URING)
    return read_cached(s, file, data, amount, offset);
  if (read_with_next(database, s, pgno, wanted) && hand_out(database, data, wanted, &number)) return SQLITE_OK;
  return uringvfs__read(file, data, amount, offset);
}

int uringvfs__readahead_read(uringvfs_file *database, uringvfs_file *file, void *data, int amount,
                             sqlite3_int64 offset) {
  const bool wal = file != database;
  uint32_t pgno = 0;
  if (database->stable && database->options.readahead > 0) pgno = page_number(database, wal, amount, (uint64_t)offset);
  int rc = pgno != 0 && database->readahead != NULL ? read_page(database, pgno, file, data, amount, offset)
                                                    : uringvfs__read(file, data, amount, offset);
  if (pgno == 0 && offset == 0 && !wal) pgno = 1;
  if (rc == SQLITE_OK && pgno != 0) seen(database, pgno, data, (uint32_t)amount);
  return rc;
}
