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
  NODES_IN_VAIN = 64,    /* interior pages learned without a use before most are only noted */
  LEARNED_OF_NOTED = 16, /* one in so many is learned all the same                          */
  CACHED_READ_NS = 8000, /* a page that takes longer came from a device                     */
  TIMED_READS = 4        /* of the cached pages one in so many is timed                     */
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

void uringvfs__readahead_locks_changed(uringvfs_file *database) {
  const bool stable = is_stable(database);
  if (stable == database->stable) return;
  database->stable = stable;
  uringvfs_readahead *ra = database->readahead;
  if (ra == NULL) return;
  if (!stable) {
    uringvfs__readahead_drop(database);
    uringvfs__tree_trim(&ra->map);
  }
  uringvfs__overflow_end(ra);
  memset(ra->streams, 0, sizeof ra->streams);
  uringvfs__rows_end(&ra->rows);
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
    uringvfs__readahead_wasted(ra, 1);
  } else if (!wal || amount != URINGVFS_WAL_FRAME_HEADER_BYTES) {
    uringvfs__readahead_drop(database);
  }
}

void uringvfs__readahead_close(uringvfs_file *database) {
  if (database->readahead == NULL) return;
  uringvfs__readahead_drop(database);
  uringvfs__rows_end(&database->readahead->rows);
  uringvfs__tree_clear(&database->readahead->map);
  free(database->readahead);
  database->readahead = NULL;
}

static uringvfs_readahead *readahead_of(uringvfs_file *database) {
  if (database->readahead == NULL) {
    uringvfs_readahead *ra = calloc(1, sizeof *ra);
    if (ra == NULL) return NULL;
    ra->patience = URINGVFS_PATIENCE;
    uringvfs__wal_index_snapshot(database, database->read_mark, &ra->wal_frames);
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
  switch (uringvfs__page_kind(page, pgno)) {
  case URINGVFS_PAGE_INTERIOR: note(database, pgno, page); break;
  case URINGVFS_PAGE_LEAF_TABLE:
    if (database->readahead == NULL) break;
    uringvfs__tree_leaf_seen(&database->readahead->map, pgno);
    uringvfs__overflow_leaf(database, pgno, page);
    break;
  case URINGVFS_PAGE_LEAF_INDEX:
    if (database->readahead == NULL) break;
    uringvfs__tree_leaf_seen(&database->readahead->map, pgno);
    uringvfs__rows_index_leaf(database, pgno, page);
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

/* The page leaves the buffer for the caller, who wants so many bytes of it. */
static bool hand_out(uringvfs_file *database, void *data, int amount, uringvfs_source wanted, uint8_t *wanted_by) {
  uringvfs_readahead *ra = database->readahead;
  if (ra->buffer.taken == 0) return false;
  const int slot = uringvfs__buffer_find(&ra->buffer, wanted.wal, wanted.offset);
  if (slot < 0) return false;
  const uint8_t *page = uringvfs__buffer_page(&ra->buffer, (unsigned)slot);
  memcpy(data, page, (size_t)amount);
  verify(wanted.wal ? database->wal : database, page, ra->buffer.page_size, wanted.offset);
  *wanted_by = ra->buffer.slots[slot].source.stream;
  uringvfs__buffer_drop(&ra->buffer, (unsigned)slot);
  return true;
}

/*
** Reads a page of a stream whose pages the kernel has, and looks now and then whether it still has. One slow read may be due to
** another process that wanted the processor; two in a row are the device.
*/
static int read_cached(uringvfs_stream *s, uringvfs_file *file, void *data, int amount, sqlite3_int64 offset) {
  if (s->untimed > 0) {
    s->untimed--;
    return uringvfs__read(file, data, amount, offset);
  }
  const uint64_t start_ns = rt_now_ns();
  int rc = uringvfs__read(file, data, amount, offset);
  if (rt_now_ns() - start_ns < CACHED_READ_NS) {
    s->untimed = TIMED_READS - 1;
    s->slow = false;
  } else {
    s->cached = !s->slow;
    s->slow = true;
  }
  return rc;
}

/* Reads a page alone, and tells those who want to know whether it came from the device. */
static int read_alone(uringvfs_file *database, uint32_t pgno, uringvfs_file *file, void *data, int amount,
                      sqlite3_int64 offset) {
  uringvfs_readahead *ra = database->readahead;
  const bool rows = uringvfs__rows_are_waiting(&ra->rows), overflow = uringvfs__overflow_is_waiting(&ra->overflow);
  if (!rows && !overflow) return uringvfs__read(file, data, amount, offset);
  const uint64_t start_ns = rt_now_ns();
  int rc = uringvfs__read(file, data, amount, offset);
  const bool slow = !uringvfs__cache_matters(database) || rt_now_ns() - start_ns > CACHED_READ_NS;
  if (rows && slow) uringvfs__rows_slow_follower(&ra->rows);
  if (rc == SQLITE_OK && overflow)
    uringvfs__overflow_timed(&ra->overflow, slow, uringvfs__page_kind(data, pgno) != URINGVFS_PAGE_OTHER);
  return rc;
}

static int read_page(uringvfs_file *database, uint32_t pgno, uringvfs_file *file, void *data, int amount,
                     sqlite3_int64 offset) {
  uringvfs_readahead *ra = database->readahead;
  const uringvfs_source wanted = {.wal = file != database, .offset = (uint64_t)offset};
  uringvfs_stream *s = uringvfs__stream_of(database, pgno);
  const bool overflow = uringvfs__overflow_asked(database, pgno);
  uint8_t number;
  if (hand_out(database, data, amount, wanted, &number)) {
    if (number == URINGVFS_STREAM_ROWS) (void)uringvfs__rows_of(database, pgno);
    ra->streams[number].used++;
    ra->used++;
    if (ra->caution > 0) ra->caution--;
    return SQLITE_OK;
  }
  if (s == NULL && overflow) s = uringvfs__overflow_of(database);
  if (s == NULL) s = uringvfs__rows_of(database, pgno);
  if (s == NULL) return read_alone(database, pgno, file, data, amount, offset);
  if (s->cached) return read_cached(s, file, data, amount, offset);
  if (uringvfs__read_with_next(database, s, pgno, wanted) && hand_out(database, data, amount, wanted, &number))
    return SQLITE_OK;
  return uringvfs__read(file, data, amount, offset);
}

/* SQLite may read overflow pages past its cache, each no further than it is used (btree.c, accessPayload). */
static bool is_part_of_overflow(const uringvfs_file *database, int amount, sqlite3_int64 offset) {
  const uint32_t page_size = database->format.page_size;
  return page_size != 0 && amount >= 4 && (uint32_t)amount < page_size && offset > 0 && offset % page_size == 0;
}

int uringvfs__readahead_read(uringvfs_file *database, uringvfs_file *file, void *data, int amount,
                             sqlite3_int64 offset) {
  const bool wal = file != database, part = !wal && is_part_of_overflow(database, amount, offset);
  uint32_t pgno = 0;
  if (database->stable && database->options.readahead > 0)
    pgno = uringvfs__page_number(database, wal, part ? (int)database->format.page_size : amount, (uint64_t)offset);
  int rc = pgno != 0 && database->readahead != NULL ? read_page(database, pgno, file, data, amount, offset)
                                                    : uringvfs__read(file, data, amount, offset);
  if (pgno == 0 && offset == 0 && !wal) pgno = 1;
  if (rc != SQLITE_OK || pgno == 0) return rc;
  if (database->readahead != NULL) uringvfs__overflow_came(&database->readahead->overflow, pgno, data);
  if (!part) seen(database, pgno, data, (uint32_t)amount);
  return rc;
}
