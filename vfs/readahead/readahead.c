/*
** readahead.c - what reading ahead is made of, and until when a page that was read before it was asked for may be
** handed out.
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
#include <stdlib.h>

#include "predictor.h"

/* The later one has the last word. */
const uringvfs__predictor *const uringvfs__predictor_table[] = {
    &uringvfs__numbers, &uringvfs__scan, &uringvfs__overflow, &uringvfs__rows, &uringvfs__entries,
};
enum { COUNT = sizeof uringvfs__predictor_table / sizeof(void *) };
_Static_assert((int)COUNT <= (int)URINGVFS__PREDICTORS_MOST, "there is room for each");
const int uringvfs__predictors = (int)COUNT;

/* ---- counters ---- */

static struct { _Atomic uint64_t issued, used, wasted, batches, deepest; } total;

static void add(_Atomic uint64_t *sum, unsigned *n) {
  atomic_fetch_add_explicit(sum, *n, memory_order_relaxed);
  *n = 0;
}

static void publish(uringvfs__readahead *ra) {
  add(&total.issued, &ra->issued);
  add(&total.used, &ra->used);
  add(&total.wasted, &ra->wasted);
  add(&total.batches, &ra->batches);
  uint64_t known = atomic_load_explicit(&total.deepest, memory_order_relaxed);
  while (known < ra->deepest && !atomic_compare_exchange_weak_explicit(&total.deepest, &known, ra->deepest,
                                                                       memory_order_relaxed, memory_order_relaxed)) {
  }
}

/* Reads from memory are counted here and not in the process's counters, which all threads share. */
static void publish_reads(uringvfs__file *database) {
  uint64_t *reads = &database->lone.reads;
  if (*reads == 0) return;
  rt_count_reads(*reads, *reads * database->format.page_size); /* others are rare */
  *reads = 0;
}

void uringvfs__readahead_stats(uringvfs__file *database, uringvfs__readahead_counts *stats) {
  publish_reads(database);
  if (database->readahead != NULL) publish(database->readahead);
  stats->issued = atomic_load_explicit(&total.issued, memory_order_relaxed);
  stats->used = atomic_load_explicit(&total.used, memory_order_relaxed);
  stats->wasted = atomic_load_explicit(&total.wasted, memory_order_relaxed);
  stats->batches = atomic_load_explicit(&total.batches, memory_order_relaxed);
  stats->deepest = atomic_load_explicit(&total.deepest, memory_order_relaxed);
}

/* ---- making and ending ---- */

static uringvfs__readahead *make(uringvfs__file *database) {
  uringvfs__readahead *ra = calloc(1, sizeof *ra);
  unsigned streams = 0;
  if (ra == NULL) return NULL;
  ra->database = database;
  database->readahead = ra;
  for (int i = 0; i < uringvfs__predictors; i++) streams += uringvfs__predictor_table[i]->streams;
  ra->streams = calloc(streams, sizeof *ra->streams);
  bool whole = ra->streams != NULL;
  for (int i = 0; i < uringvfs__predictors && whole; i++) {
    const uringvfs__predictor *p = uringvfs__predictor_table[i];
    uringvfs__self *self = &ra->predictors[i];
    self->state = calloc(1, p->state_bytes);
    self->streams = &ra->streams[ra->stream_count];
    whole = self->state != NULL;
    for (unsigned k = 0; k < p->streams; k++) self->streams[k].predictor = (uint8_t)i;
    ra->stream_count += p->streams;
  }
  if (whole) return ra;
  uringvfs__readahead_close(database);
  return NULL;
}

uringvfs__readahead *uringvfs__readahead_of(uringvfs__file *database) {
  uringvfs__readahead *ra = database->readahead != NULL ? database->readahead : make(database);
  if (ra == NULL || ra->busy) return ra;
  ra->busy = true;
  ra->sized = false;
  uringvfs__wal_index_snapshot(database, database->tenure.read_mark, &ra->wal_frames);
  return ra;
}

static void end_predictors(uringvfs__readahead *ra) {
  for (int i = 0; i < uringvfs__predictors; i++) {
    const uringvfs__predictor *p = uringvfs__predictor_table[i];
    if (p->end != NULL && ra->predictors[i].state != NULL) p->end(ra, &ra->predictors[i]);
  }
  for (unsigned i = 0; i < ra->stream_count; i++) uringvfs__distance_end(ra, &ra->streams[i]);
}

void uringvfs__readahead_drop(uringvfs__file *database) {
  uringvfs__readahead *ra = database->readahead;
  if (ra == NULL || ra->buffer.memory == NULL) return;
  uringvfs__wasted(ra, uringvfs__buffer_close(&ra->buffer));
  publish(ra);
}

bool uringvfs__readahead_holds_pages(const uringvfs__file *database) {
  return database->readahead != NULL && database->readahead->buffer.memory != NULL;
}

void uringvfs__readahead_reconsider(uringvfs__file *database) {
  uringvfs__memory *m = &database->memory;
  database->reading = URINGVFS__READING_UNDECIDED;
  database->hot = false;
  m->unasked = 0;
  if (m->left < m->unfetched) m->left = m->unfetched;
  m->unfetched = 0;
}

void uringvfs__readahead_tenure_changes(uringvfs__file *database) {
  uringvfs__readahead *ra = database->readahead;
  uringvfs__readahead_reconsider(database);
  publish_reads(database);
  if (ra == NULL || !ra->busy) return;
  end_predictors(ra); /* before what they have read ahead goes: it says how it ended */
  uringvfs__readahead_drop(database);
  uringvfs__blocks_free(&ra->blocks);
  uringvfs__tree_trim(&ra->map);
  ra->busy = false;
}

void uringvfs__readahead_written(uringvfs__file *database, bool wal, int64_t offset, int amount) {
  uringvfs__readahead *ra = database->readahead;
  if (ra == NULL || ra->buffer.memory == NULL) return;
  const uint32_t page_size = ra->buffer.page_size;
  /* A frame's page begins anywhere; the database is written page by page. All else is rare. */
  if ((uint32_t)amount == page_size && (wal || offset % page_size == 0)) {
    const int slot = uringvfs__buffer_find(&ra->buffer, wal, (uint64_t)offset);
    if (slot < 0) return;
    uringvfs__buffer_drop(&ra->buffer, (unsigned)slot);
    uringvfs__wasted(ra, 1);
  } else if (!wal || amount != URINGVFS__WAL_FRAME_HEADER_BYTES) {
    uringvfs__readahead_drop(database);
  }
}

void uringvfs__readahead_close(uringvfs__file *database) {
  uringvfs__readahead *ra = database->readahead;
  publish_reads(database);
  uringvfs__readahead_reconsider(database);
  if (ra == NULL) return;
  end_predictors(ra);
  uringvfs__readahead_drop(database);
  uringvfs__blocks_free(&ra->blocks);
  uringvfs__tree_clear(&ra->map);
  for (int i = 0; i < uringvfs__predictors; i++) free(ra->predictors[i].state);
  free(ra->streams);
  free(ra);
  database->readahead = NULL;
}

uringvfs__self *uringvfs__self_of(uringvfs__readahead *ra, const uringvfs__predictor *p) {
  int i = 0;
  while (uringvfs__predictor_table[i] != p) i++;
  return &ra->predictors[i];
}
