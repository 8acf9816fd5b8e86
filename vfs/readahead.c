/*
** readahead.c - which pages to read before they are asked for, and until when they may be handed out.
**
** SQLite reads one page at a time. What it will ask for next is written in the pages it has read: an interior page of a
** b-tree names its children in the order of their keys. So interior pages are remembered as they pass by (tree_map.c),
** and a stream follows each cursor from child to child. Once it has seen two of one parent in a row, those that come
** after it are read ahead: two pages at first, and twice as many each time nearly all of them were asked for. Near the
** end of a parent the next interior page is brought along.
**
** There are two ways (page_batch.c). By a batch through a ring, together with the page that is asked for and waited for
** as a whole: the pages wait in the buffer. Or by the kernel, which is asked to have them in its cache: they are read
** one by one later, and SQLite works meanwhile. Scans take the second way, which can also fetch whole blocks of the
** file that are full of leaves (leaf_blocks.c), and so does everything where there is no ring or SQLite reads through a
** mapping.
**
** Where the kernel has the pages in its cache neither gains anything. So reads are timed, and after one that came
** without the device the pages are read one by one until one of them takes long. (Not with uring_backend=uring, where
** each would be a submission.)
**
** Validity. A page read ahead is handed out only while a lock makes it certain that a read from the file would give the
** same bytes; see tenure.c. When that ends, all goes; so does what this connection overwrites or truncates. Nothing is
** ever in flight into our memory between calls, so there is nothing that could arrive later. What the kernel has in its
** cache is always right. In WAL mode an unchanged wal-index header proves nothing: a checkpoint changes the database
** file and leaves both copies of the header as they were.
**
** Of the WAL, only offsets are compared. A frame that SQLite asks for was committed before the read mark was taken and
** cannot change while it is held, or was written by this connection, which drops it here.
**
** One connection at a time, as SQLite serializes its files.
*/
#include "readahead.h"

#include <stdlib.h>
#include <string.h>

enum {
  NODES_IN_VAIN = 64,    /* interior pages learned without a use before most are only noted */
  LEARNED_OF_NOTED = 16, /* one in so many is learned all the same                          */
  CACHED_READ_NS = 8000, /* a page that takes longer came from a device                     */
  LOST_MOST = 256,       /* pages that came from the device, between two searches            */
  UNDISTURBED = 64,      /* pages that the kernel had, in a row, before most are not looked at */
  FAULTS = 32,           /* of a mapping that are left to the kernel's own read-around      */
  TIMED_READS = 8        /* of the cached pages one in so many is timed                     */
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
  if (database->readahead != NULL) publish(database->readahead);
  stats->issued = atomic_load_explicit(&total.issued, memory_order_relaxed);
  stats->used = atomic_load_explicit(&total.used, memory_order_relaxed);
  stats->wasted = atomic_load_explicit(&total.wasted, memory_order_relaxed);
  stats->batches = atomic_load_explicit(&total.batches, memory_order_relaxed);
  stats->deepest = atomic_load_explicit(&total.deepest, memory_order_relaxed);
}

/* ---- validity ---- */

void uringvfs__readahead_wasted(uringvfs_readahead *ra, unsigned n) {
  if (n == 0) return;
  ra->wasted += n;
  if (ra->caution < URINGVFS_MOST_CAUTION) ra->caution++;
}

void uringvfs__readahead_drop(uringvfs_file *database) {
  uringvfs_readahead *ra = database->readahead;
  if (ra == NULL || ra->buffer.memory == NULL) return;
  uringvfs__readahead_wasted(ra, uringvfs__buffer_close(&ra->buffer));
  publish(ra);
}

static void end_rows(uringvfs_readahead *ra) {
  for (int i = 0; i < URINGVFS_ROW_LOOKUPS; i++) uringvfs__rows_end(&ra->rows[i]);
}

bool uringvfs__readahead_holds_pages(const uringvfs_file *database) {
  return database->readahead != NULL && database->readahead->buffer.memory != NULL;
}

void uringvfs__readahead_tenure_ends(uringvfs_file *database) {
  uringvfs_readahead *ra = database->readahead;
  if (ra == NULL) return;
  uringvfs__readahead_drop(database);
  uringvfs__blocks_free(&ra->blocks);
  uringvfs__tree_trim(&ra->map);
  ra->faults = 0;
  uringvfs__overflow_end(ra);
  memset(ra->streams, 0,
         URINGVFS_STREAM_ROWS * sizeof *ra->streams); /* those of rows: row_lookup.c, look_for_columns */
  end_rows(ra);
}

void uringvfs__readahead_tenure_begins(uringvfs_file *database) {
  uringvfs_readahead *ra = database->readahead;
  if (ra != NULL) uringvfs__wal_index_snapshot(database, database->tenure.read_mark, &ra->wal_frames);
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
    uringvfs__readahead_wasted(ra, 1);
  } else if (!wal || amount != URINGVFS_WAL_FRAME_HEADER_BYTES) {
    uringvfs__readahead_drop(database);
  }
}

void uringvfs__readahead_close(uringvfs_file *database) {
  if (database->readahead == NULL) return;
  uringvfs__readahead_drop(database);
  end_rows(database->readahead);
  uringvfs__blocks_free(&database->readahead->blocks);
  uringvfs__tree_clear(&database->readahead->map);
  free(database->readahead);
  database->readahead = NULL;
}

static uringvfs_readahead *readahead_of(uringvfs_file *database) {
  if (database->readahead == NULL) {
    uringvfs_readahead *ra = calloc(1, sizeof *ra);
    if (ra == NULL) return NULL;
    ra->patience = ra->most_lost = URINGVFS_PATIENCE;
    uringvfs__wal_index_snapshot(database, database->tenure.read_mark, &ra->wal_frames);
    database->readahead = ra;
  }
  return database->readahead;
}

/* ---- learning ---- */

void uringvfs__readahead_learn(uringvfs_file *database, uint32_t pgno, const uint8_t *page) {
  uringvfs_readahead *ra = database->readahead;
  uringvfs_cells cells;
  if (!uringvfs__page_cells(page, pgno, &database->format, &cells)) return;
  if (uringvfs__tree_learn(&ra->map, pgno, &cells)) ra->nodes_in_vain++;
}

/* An interior page has passed by. */
static void note(uringvfs_file *database, uint32_t pgno, const uint8_t *page) {
  uringvfs_readahead *ra = readahead_of(database);
  if (ra == NULL) return;
  ra->strangers = 0;
  if (ra->nodes_in_vain < NODES_IN_VAIN || ++ra->nodes_in_vain % LEARNED_OF_NOTED == 0) {
    uringvfs__readahead_learn(database, pgno, page);
    return;
  }
  memmove(&ra->noted[1], &ra->noted[0], sizeof ra->noted - sizeof ra->noted[0]);
  ra->noted[0] = pgno;
}

/* What SQLite has read from the file, or been handed from the buffer. */
static void seen(uringvfs_file *database, uint32_t pgno, const uint8_t *page, uint32_t amount) {
  if (pgno == 1) {
    uringvfs_page_format format;
    if (!uringvfs__page_format(page, amount, &format)) return;
    if (format.page_size != database->format.page_size || format.usable != database->format.usable)
      uringvfs__readahead_close(database);
    database->format = format;
    if (format.page_size != amount) return;
  }
  const uringvfs_page_kind kind = uringvfs__page_kind(page, pgno);
  switch (kind) {
  case URINGVFS_PAGE_INTERIOR: note(database, pgno, page); break;
  case URINGVFS_PAGE_LEAF_TABLE:
  case URINGVFS_PAGE_LEAF_INDEX:
    if (database->readahead == NULL) break;
    uringvfs__tree_leaf_seen(&database->readahead->map, pgno);
    uringvfs__rows_leaf(database, pgno, page, kind == URINGVFS_PAGE_LEAF_TABLE);
    uringvfs__overflow_leaf(database, pgno, page);
    break;
  case URINGVFS_PAGE_OTHER: break;
  }
}

/* ---- reading ---- */

/* The file must still hold what is about to be handed out. */
static void verify(const uringvfs_file *file, const void *page, uint32_t page_size, uint64_t offset) {
  if (!URINGVFS_VERIFY) return;
  char *now = malloc(page_size);
  if (now == NULL ||
      file->parent->pMethods->xRead(file->parent, now, (int)page_size, (sqlite3_int64)offset) != SQLITE_OK ||
      memcmp(now, page, page_size) != 0) {
    sqlite3_log(SQLITE_INTERNAL, "uringvfs: %s: the page read ahead at %llu is stale", file->name, offset);
    abort();
  }
  free(now);
}

/* The slot of the page that is asked for, or -1. The stream that it was read ahead for has used one. */
static int take(uringvfs_file *database, uringvfs_source wanted) {
  uringvfs_readahead *ra = database->readahead;
  const int slot = ra->buffer.taken > 0 ? uringvfs__buffer_find(&ra->buffer, wanted.wal, wanted.offset) : -1;
  if (slot < 0) return -1;
  ra->streams[ra->buffer.slots[slot].source.stream].used++;
  ra->used++;
  if (ra->caution > 0) ra->caution--;
  return slot;
}

/* A page that SQLite asks for: to be read into `data`, or mapped already. */
typedef struct request {
  uringvfs_file *file;
  void *data;
  const void *mapped; /* or NULL */
  int amount;
  sqlite3_int64 offset;
} request;

static const uint8_t *content_of(const request *r) { return r->mapped != NULL ? r->mapped : r->data; }

/* The page leaves the buffer for the caller. False: it was not there, but asked for. */
static bool hand_out(uringvfs_file *database, const request *r, unsigned slot) {
  uringvfs_page_buffer *buffer = &database->readahead->buffer;
  const bool filled = buffer->slots[slot].state == URINGVFS_SLOT_FILLED && r->data != NULL;
  if (filled) {
    const uint8_t *page = uringvfs__buffer_page(buffer, slot);
    memcpy(r->data, page, (size_t)r->amount);
    verify(r->file, page, buffer->page_size, (uint64_t)r->offset);
  }
  uringvfs__buffer_drop(buffer, slot);
  return filled;
}

/* A mapped page is read by touching it. */
static int read_one(const request *r) {
  if (r->mapped == NULL) return uringvfs__read(r->file, r->data, r->amount, r->offset);
  (void)*(const volatile uint8_t *)r->mapped;
  return SQLITE_OK;
}

/* *slow: it came from the device. */
static int read_timed(uringvfs_file *database, uint32_t pgno, const request *r, bool *slow) {
  uringvfs_leaf_blocks *blocks = &database->readahead->blocks;
  const uint64_t start_ns = rt_now_ns();
  int rc = read_one(r);
  *slow = rt_now_ns() - start_ns >= CACHED_READ_NS;
  if (blocks->wanted != NULL && r->file == database) uringvfs__blocks_came(blocks, pgno, *slow);
  return rc;
}

/*
** Where page after page came from the kernel's cache, nothing is to be gained, and most pages need not be looked at
** until one takes long: a stream finds its place again (stream.c, caught_up).
*/
static void note_speed(uringvfs_readahead *ra, bool slow) {
  ra->undisturbed = slow ? 0 : ra->undisturbed + TIMED_READS;
  if (ra->undisturbed >= UNDISTURBED) ra->coasting = TIMED_READS - 1;
}

static bool coasts(uringvfs_readahead *ra) {
  if (ra->coasting == 0) return false;
  ra->coasting--;
  return true;
}

/*
** Reads a page of a stream whose pages the kernel has, and looks now and then whether it still has. One slow read may
** be due to another process that wanted the processor; two in a row are the device.
*/
static int read_cached(uringvfs_file *database, uint32_t pgno, uringvfs_stream *s, const request *r) {
  uringvfs_readahead *ra = database->readahead;
  bool slow;
  if (s->untimed > 0) {
    s->untimed--;
    return read_one(r);
  }
  int rc = read_timed(database, pgno, r, &slow);
  if (slow) s->cached = !s->slow;
  s->slow = slow;
  if (!slow) s->untimed = TIMED_READS - 1;
  note_speed(ra, slow);
  if (ra->coasting == 0) return rc;
  s->untimed = 0;
  if (uringvfs__stream_left(ra, s) < TIMED_READS) ra->coasting = 0;
  return rc;
}

/*
** The map finds a page quickly only as long as no other has taken its place there. A scan that comes by again, over
** interior pages that SQLite still has in its cache, would not be seen: so once in many slow pages all nodes are
** searched.
*/
static void look_everywhere(uringvfs_readahead *ra, uint32_t pgno) {
  uringvfs_place place;
  if (++ra->lost < ra->most_lost || uringvfs__tree_find(&ra->map, pgno, &place, false)) return;
  ra->lost = 0;
  if (ra->most_lost < LOST_MOST) ra->most_lost *= 2;
  uringvfs__tree_remind(&ra->map, pgno);
}

/*
** Reads a page alone, and tells those who want to know whether it came from the device. While the kernel has the pages,
** few are timed.
*/
static int read_alone(uringvfs_file *database, uint32_t pgno, const request *r) {
  uringvfs_readahead *ra = database->readahead;
  const bool timed = uringvfs__cache_matters(database), overflow = uringvfs__overflow_is_waiting(&ra->overflow);
  const bool waiting[] = {uringvfs__rows_are_waiting(&ra->rows[0]), uringvfs__rows_are_waiting(&ra->rows[1])};
  const bool rows = (waiting[0] || waiting[1]) && (!timed || ra->untimed == 0);
  bool slow;
  if (ra->untimed > 0) ra->untimed--;
  if (!rows && !overflow && ra->undisturbed < UNDISTURBED) return read_one(r);
  int rc = read_timed(database, pgno, r, &slow);
  slow = slow || !timed;
  if (slow) look_everywhere(ra, pgno);
  note_speed(ra, slow);
  if (rows && !slow) ra->untimed = TIMED_READS - 1;
  for (int i = 0; i < URINGVFS_ROW_LOOKUPS; i++)
    if (rows && slow && waiting[i]) uringvfs__rows_slow_follower(&ra->rows[i]);
  if (rc == SQLITE_OK && overflow)
    uringvfs__overflow_timed(&ra->overflow, slow, uringvfs__page_kind(content_of(r), pgno) != URINGVFS_PAGE_OTHER);
  return rc;
}

/* Reads a page that the kernel was asked for before. */
static int read_advised(uringvfs_file *database, uint32_t pgno, uringvfs_stream *s, const request *r) {
  bool slow;
  if (!s->cached) uringvfs__advise_more(database, s, pgno);
  return read_timed(database, pgno, r, &slow);
}

/*
** A page fault reads what lies around the page, as much as the device's read_ahead_kb says: usually 128, but where it
** is megabytes the first few faults bring all of the file, faster than any prediction. So the kernel has the first go.
*/
static bool leave_to_kernel(uringvfs_file *database, uint32_t pgno, const request *r) {
  uringvfs_readahead *ra = database->readahead;
  bool slow;
  if (r->mapped == NULL || ra->faults >= FAULTS || !uringvfs__cache_matters(database)) return false;
  (void)read_timed(database, pgno, r, &slow);
  ra->faults += slow;
  return true;
}

/* Reads a page of a stream that waits nowhere, and asks for those that will be wanted after it. */
static int read_ahead(uringvfs_file *database, uint32_t pgno, uringvfs_stream *s, const request *r,
                      uringvfs_source wanted) {
  uringvfs_readahead *ra = database->readahead;
  bool slow;
  int rc;
  if (leave_to_kernel(database, pgno, r)) return SQLITE_OK;
  ra->undisturbed = 0;
  switch (uringvfs__read_with_next(database, s, pgno, wanted, r->mapped != NULL)) {
  case URINGVFS_READ_BATCH:
    rc = uringvfs__buffer_find(&ra->buffer, wanted.wal, wanted.offset);
    return rc >= 0 && hand_out(database, r, (unsigned)rc) ? SQLITE_OK : read_one(r);
  case URINGVFS_READ_ADVISED:
    rc = read_timed(database, pgno, r, &slow);
    s->cached = !slow && uringvfs__cache_matters(database);
    s->untimed = 0;
    s->slow = false;
    return rc;
  default: return read_one(r);
  }
}

static int read_page(uringvfs_file *database, uint32_t pgno, const request *r) {
  uringvfs_readahead *ra = database->readahead;
  const uringvfs_source wanted = {.wal = r->file != database, .offset = (uint64_t)r->offset};
  uringvfs_stream *s = uringvfs__stream_of(database, pgno), *rows = NULL;
  const bool overflow = uringvfs__overflow_asked(database, pgno);
  const int slot = take(database, wanted);
  uringvfs_stream *waited_for = slot >= 0 ? &ra->streams[ra->buffer.slots[slot].source.stream] : NULL;
  if ((slot >= 0 ? waited_for >= &ra->streams[URINGVFS_STREAM_ROWS] : s == NULL) ||
      uringvfs__rows_are_followed(&ra->rows[URINGVFS_ROWS_OF_TABLE]))
    rows = uringvfs__rows_of(database, pgno);
  if (slot >= 0) return hand_out(database, r, (unsigned)slot) ? SQLITE_OK : read_advised(database, pgno, waited_for, r);
  if (s == NULL && overflow) s = uringvfs__overflow_of(database);
  if (rows != NULL && (s == NULL || !rows->cached)) s = rows;
  if (s == NULL) return read_alone(database, pgno, r);
  return s->cached ? read_cached(database, pgno, s, r) : read_ahead(database, pgno, s, r, wanted);
}

/* SQLite may read overflow pages past its cache, each no further than it is used (btree.c, accessPayload). */
static bool is_part_of_overflow(const uringvfs_file *database, int amount, sqlite3_int64 offset) {
  const uint32_t page_size = database->format.page_size;
  return page_size != 0 && amount >= 4 && (uint32_t)amount < page_size && offset > 0 && offset % page_size == 0;
}

/* SQLite has a page now, or a part of it. */
static void came(uringvfs_file *database, uint32_t pgno, const void *page, int amount, bool part) {
  if (database->readahead != NULL) uringvfs__overflow_came(&database->readahead->overflow, pgno, page);
  if (!part) seen(database, pgno, page, (uint32_t)amount);
}

static bool is_wanted(const uringvfs_file *database) {
  return uringvfs__may_hand_out(database) && uringvfs__can_advise(database) && database->options.readahead > 0;
}

int uringvfs__readahead_read(uringvfs_file *database, uringvfs_file *file, void *data, int amount,
                             sqlite3_int64 offset) {
  const request r = {file, data, NULL, amount, offset};
  const bool looked_at = database->readahead != NULL && !coasts(database->readahead);
  int rc = SQLITE_OK;
  if (!looked_at && offset > 0) { /* the shortest way for most pages; only interior pages are remembered */
    rc = read_one(&r);
    if (rc != SQLITE_OK || uringvfs__page_kind(data, 2) != URINGVFS_PAGE_INTERIOR) return rc;
  }
  const bool wal = file != database, part = !wal && is_part_of_overflow(database, amount, offset);
  const int page_bytes = part ? (int)database->format.page_size : amount;
  uint32_t pgno = is_wanted(database) ? uringvfs__page_number(database, wal, page_bytes, (uint64_t)offset) : 0;
  if (looked_at || offset == 0) rc = looked_at && pgno != 0 ? read_page(database, pgno, &r) : read_one(&r);
  if (pgno == 0 && offset == 0 && !wal) pgno = 1;
  if (rc == SQLITE_OK && pgno != 0) came(database, pgno, data, amount, part);
  return rc;
}

void uringvfs__readahead_fetched(uringvfs_file *database, const void *page, int amount, sqlite3_int64 offset) {
  if (!is_wanted(database)) return;
  const uint32_t pgno = uringvfs__page_number(database, false, amount, (uint64_t)offset);
  if (pgno == 0) return;
  const bool looked_at = database->readahead != NULL && !coasts(database->readahead);
  if (looked_at) (void)read_page(database, pgno, &(request){database, NULL, page, amount, offset});
  if (looked_at || uringvfs__page_kind(page, pgno) == URINGVFS_PAGE_INTERIOR) came(database, pgno, page, amount, false);
}
