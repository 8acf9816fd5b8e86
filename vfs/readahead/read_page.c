/*
** read_page.c - how a page is read.
**
** SQLite reads one page at a time. What it will ask for next is written in the pages it has read, and predictors say
** what that is (predictor.h). Where the kernel has the pages in its cache nothing is to be gained, and nothing may be
** lost: there pages are read by the parent, and some by a call that does not wait, which is also the question whether
** one has to (memory.c). Only a page that is not there makes anybody look: at it and at the next ones, until memory has
** had all of them for a while. (With uring_backend=uring, where each read would be a submission, every page is looked
** at.)
*/
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "predictor.h"

enum {
  INTERIORS = 4,          /* pages that are noted                                                                    */
  ATTENTION_EACH = 4,     /* after one that was not in memory, and so many more after each that follows */
  ATTENTION_MOST = 64,    /* in their course, up to so many;                                            */
  ATTENTION_WAITING = 256 /* after one that was read ahead: others wait to be asked for                 */
};

/* ---- what the pages say ---- */

static void tell(uringvfs__readahead *ra, uint32_t pgno, const uint8_t *page, uringvfs__kind kind) {
  for (int i = 0; i < uringvfs__predictors; i++) {
    const uringvfs__predictor *p = uringvfs__predictor_table[i];
    if (p->seen != NULL) p->seen(ra, &ra->predictors[i], pgno, page, kind);
  }
}

/* The number of a page that was noted. */
static uint32_t take_noted(uringvfs__readahead *ra, uint64_t *offset, const uringvfs__file *file) {
  const int page_size = (int)ra->database->format.page_size;
  const uint32_t pgno =
      *offset != 0 ? uringvfs__page_number(ra->database, file != ra->database, page_size, *offset) : 0;
  *offset = 0;
  return pgno;
}

/* What passed by from memory while nobody looked. */
static void tell_noted(uringvfs__readahead *ra) {
  uringvfs__lone_reads *l = &ra->database->lone;
  uint32_t pgno;
  for (unsigned k = 0; k < INTERIORS; k++) {
    const unsigned i = (l->interior_count + k) % INTERIORS;
    if ((pgno = take_noted(ra, &l->interiors[i], l->interiors_in[i])) != 0) uringvfs__interior(ra, pgno, NULL);
  }
  for (int kind = URINGVFS__PAGE_LEAF_TABLE; kind <= URINGVFS__PAGE_LEAF_INDEX; kind++)
    if ((pgno = take_noted(ra, &l->noted[kind], l->noted_in[kind])) != 0) tell(ra, pgno, NULL, (uringvfs__kind)kind);
}

static void learn_format(uringvfs__file *database, const uint8_t *page, uint32_t amount) {
  uringvfs__format format;
  if (!uringvfs__page_format(page, amount, &format)) return;
  if (format.page_size != database->format.page_size || format.usable != database->format.usable)
    uringvfs__readahead_close(database);
  database->format = format;
}

/* SQLite has a page now, from the file or from the buffer. */
static void came(uringvfs__readahead *ra, uint32_t pgno, const uint8_t *page) {
  const uringvfs__kind kind = uringvfs__page_kind(page, pgno);
  if (kind == URINGVFS__PAGE_INTERIOR) uringvfs__interior(ra, pgno, page);
  if (kind == URINGVFS__PAGE_LEAF_TABLE || kind == URINGVFS__PAGE_LEAF_INDEX) uringvfs__tree_leaf_seen(&ra->map, pgno);
  tell(ra, pgno, page, kind);
}

/* ---- a page that is looked at ---- */

/* The file must still hold what is about to be handed out. */
static void verify(const uringvfs__file *file, const void *page, uint32_t page_size, uint64_t offset) {
  if (!URINGVFS__VERIFY) return;
  char *now = malloc(page_size);
  if (now == NULL ||
      file->parent->pMethods->xRead(file->parent, now, (int)page_size, (sqlite3_int64)offset) != SQLITE_OK ||
      memcmp(now, page, page_size) != 0) {
    sqlite3_log(SQLITE_INTERNAL, "uringvfs: %s: the page read ahead at %llu is stale", file->name, offset);
    abort();
  }
  free(now);
}

static int slot_of(uringvfs__readahead *ra, uringvfs__source wanted) {
  return ra->buffer.taken > 0 ? uringvfs__buffer_find(&ra->buffer, wanted.wal, wanted.offset) : -1;
}

/* Was the page that is asked for read ahead? The stream that it was read ahead for has used one. */
static bool take(uringvfs__readahead *ra, uringvfs__source wanted) {
  const int slot = slot_of(ra, wanted);
  ra->waited_for = slot >= 0 ? &ra->streams[ra->buffer.slots[slot].source.stream] : NULL;
  if (slot < 0) return false;
  ra->waited_for->used++;
  ra->used++;
  ra->attention = ATTENTION_WAITING;
  return true;
}

/* The page leaves the buffer for the caller. False: it was not there, but asked for; or it is gone: predictors read
** pages of their own, and what waits may have to make room. */
static bool hand_out(uringvfs__readahead *ra, const uringvfs__request *r, uringvfs__source wanted) {
  uringvfs__page_buffer *buffer = &ra->buffer;
  const int found = slot_of(ra, wanted);
  if (found < 0) return false;
  const unsigned slot = (unsigned)found;
  const bool filled = buffer->slots[slot].state == URINGVFS__SLOT_FILLED && !r->mapped;
  if (filled) {
    const uint8_t *page = uringvfs__buffer_page(buffer, slot);
    memcpy(r->data, page, (size_t)r->amount);
    verify(r->file, page, buffer->page_size, (uint64_t)r->offset);
  }
  uringvfs__buffer_drop(buffer, slot);
  return filled;
}

/* SQLite itself reads a mapped page. */
static int read_one(const uringvfs__request *r) {
  return !r->mapped ? uringvfs__read(r->file, r->data, r->amount, r->offset) : SQLITE_OK;
}

/* The page asked for was not in memory. Now and then the kernel says so of one that is: so attention grows. */
static void note_miss(uringvfs__readahead *ra) {
  ra->missed = true;
  ra->misses = ra->attention > 0 ? ra->misses + 1 : 1;
  const unsigned span = ra->misses < ATTENTION_MOST / ATTENTION_EACH ? ra->misses * ATTENTION_EACH : ATTENTION_MOST;
  if (ra->attention < span) ra->attention = span;
}

/* Reads a page alone. What its answer is decides how long others are looked at. */
static int read_alone(uringvfs__readahead *ra, uint32_t pgno, const uringvfs__request *r, uringvfs__stream *s,
                      uringvfs__answer known) {
  if (known != URINGVFS__MISSED && (s == NULL || s->rest == 0)) known = uringvfs__ask(ra->database, r);
  if (known == URINGVFS__MISSED) {
    note_miss(ra);
    uringvfs__stranger(ra, pgno);
  } else if (ra->attention > 0 && --ra->attention == 0) {
    uringvfs__readahead_drop(ra->database); /* a statement that has ended has left something behind */
  }
  if (s != NULL && known == URINGVFS__MISSED && ra->database->memory.asked) s->rest = s->rested = 0;
  if (s != NULL && s->rest > 0) s->rest--;
  return known == URINGVFS__CAME ? SQLITE_OK : read_one(r);
}

/* Reads a page that the kernel was asked for before. */
static int read_advised(uringvfs__readahead *ra, uint32_t pgno, const uringvfs__request *r) {
  if (ra->waited_for->rest == 0) uringvfs__fetch_more(ra, ra->waited_for, pgno);
  if (!r->mapped && r->file == ra->database && uringvfs__blocks_due(&ra->blocks, pgno)) {
    const int64_t got = rt_read_cached(&r->file->io, r->data, (uint64_t)r->amount, (uint64_t)r->offset);
    if (got == r->amount) {
      ra->database->lone.reads++;
      return SQLITE_OK;
    }
    if (got == -EAGAIN) uringvfs__blocks_gone(&ra->blocks, pgno);
  }
  return read_one(r);
}

static uringvfs__stream *stream_of(uringvfs__readahead *ra, uint32_t pgno) {
  uringvfs__stream *s = NULL;
  for (int i = 0; i < uringvfs__predictors; i++) {
    uringvfs__stream *claims = uringvfs__predictor_table[i]->asked(ra, &ra->predictors[i], pgno, s);
    if (claims != NULL) s = claims;
  }
  return s;
}

static int read_page(uringvfs__readahead *ra, uint32_t pgno, const uringvfs__request *r, uringvfs__answer known) {
  const uringvfs__source wanted = {.wal = r->file != ra->database, .offset = (uint64_t)r->offset};
  if (ra->attention == 0) tell_noted(ra);
  const bool waits = take(ra, wanted);
  uringvfs__stream *s = stream_of(ra, pgno);
  if (waits) return hand_out(ra, r, wanted) ? SQLITE_OK : read_advised(ra, pgno, r);
  if (s == NULL || s->rest > 0) return read_alone(ra, pgno, r, s, known);
  const uringvfs__way way = uringvfs__fetch(ra, s, pgno, wanted, known == URINGVFS__MISSED, r->mapped);
  if (way == URINGVFS__READ_ALONE) return read_alone(ra, pgno, r, s, known);
  note_miss(ra);
  ra->attention = ATTENTION_WAITING;
  return way == URINGVFS__READ_BATCH && hand_out(ra, r, wanted) ? SQLITE_OK : read_one(r);
}

/* SQLite may read overflow pages past its cache, each no further than it is used (btree.c, accessPayload). */
static bool is_part_of_overflow(const uringvfs__file *database, int amount, int64_t offset) {
  const uint32_t page_size = database->format.page_size;
  return page_size != 0 && amount >= 4 && (uint32_t)amount < page_size && offset > 0 && offset % page_size == 0;
}

/* Each tenure looks at the system call that reads. All of them are looked at here, before a connection looks at a page
** for the first time, and again before each batch: that takes as long as to read a page. */
static bool may_look(uringvfs__file *database) {
  if (database->readahead != NULL || uringvfs__system_calls_are_original()) return true;
  database->reading = URINGVFS__READING_PLAINLY;
  return false;
}

/* Everybody looks at this page, and at what comes behind it. */
static int read_looking(uringvfs__file *database, const uringvfs__request *r, uringvfs__answer known) {
  const bool wal = r->file != database, part = !wal && is_part_of_overflow(database, r->amount, r->offset);
  const int page_bytes = part ? (int)database->format.page_size : r->amount;
  if (r->offset == 0 && !wal && !r->mapped) { /* page 1, or the beginning of it */
    int rc = uringvfs__read(r->file, r->data, r->amount, r->offset);
    if (rc != SQLITE_OK) return rc;
    learn_format(database, r->data, (uint32_t)r->amount);
    known = URINGVFS__CAME;
    if (database->readahead == NULL) return SQLITE_OK; /* who opens a database to read a row or two needs none */
  }
  if (!may_look(database)) return known == URINGVFS__CAME ? SQLITE_OK : read_one(r);
  const uint32_t pgno = uringvfs__page_number(database, wal, page_bytes, (uint64_t)r->offset);
  uringvfs__readahead *ra = pgno != 0 ? uringvfs__readahead_of(database) : NULL;
  if (ra == NULL) return known == URINGVFS__CAME ? SQLITE_OK : read_one(r);
  ra->missed = false;
  int rc = known == URINGVFS__CAME ? SQLITE_OK : read_page(ra, pgno, r, known);
  if (rc != SQLITE_OK) return rc;
  if (part)
    tell(ra, pgno, r->page, URINGVFS__PAGE_OTHER);
  else
    came(ra, pgno, r->page);
  return rc;
}

/* ---- the way of most pages ---- */

static bool looks(const uringvfs__file *database) {
  return database->readahead != NULL && database->readahead->attention > 0;
}

/* Is a read from memory all that there is to do, as far as one knows? */
static void judge(uringvfs__file *database) {
  const uringvfs__memory *m = &database->memory;
  database->hot = database->reading == URINGVFS__READING_AHEAD && !looks(database) && m->left == 0 && !m->mute &&
                  uringvfs__cache_matters(database);
  if (!database->hot) database->memory.unasked = 0;
  if (looks(database)) database->memory.unfetched = 0;
}

static bool reads_ahead(uringvfs__file *database) {
  if (database->reading == URINGVFS__READING_UNDECIDED) {
    const bool wanted = uringvfs__may_hand_out(database) && database->io.fd >= 0 && database->options.readahead > 0;
    database->reading = wanted && uringvfs__reading_is_original() ? URINGVFS__READING_AHEAD : URINGVFS__READING_PLAINLY;
    judge(database);
  }
  return database->reading == URINGVFS__READING_AHEAD;
}

/* SQLite has the page from memory, and nothing is looked at but what kind of page it is. */
static inline void note(uringvfs__file *database, const uringvfs__file *file, int64_t offset, const uint8_t *page) {
  uringvfs__lone_reads *l = &database->lone;
  const uringvfs__kind kind = uringvfs__page_kind(page, 0);
  l->noted[kind] = (uint64_t)offset;
  l->noted_in[kind] = file;
  if (kind != URINGVFS__PAGE_INTERIOR) return;
  l->interiors[l->interior_count % INTERIORS] = (uint64_t)offset;
  l->interiors_in[l->interior_count++ % INTERIORS] = file;
}

/* One by one, as the parent does it. */
static int read_plainly(uringvfs__file *database, const uringvfs__request *r) {
  int rc = uringvfs__read(r->file, r->data, r->amount, r->offset);
  if (rc == SQLITE_OK && r->offset == 0 && r->file == database) learn_format(database, r->data, (uint32_t)r->amount);
  return rc;
}

/* A page of which this is known. */
static int read_known(uringvfs__file *database, const uringvfs__request *r, uringvfs__answer known) {
  int rc = SQLITE_OK;
  if (known == URINGVFS__MISSED) {
    rc = read_looking(database, r, known);
  } else {
    if (known == URINGVFS__BELIEVED) rc = read_plainly(database, r);
    if (rc == SQLITE_OK) note(database, r->file, r->offset, r->page);
  }
  judge(database);
  return rc;
}

static __attribute__((noinline)) int read_undecided(uringvfs__file *database, uringvfs__file *file, void *data,
                                                    int amount, int64_t offset) {
  const uringvfs__request r = {file, data, data, false, amount, offset};
  if (!reads_ahead(database) || file->io.fd < 0) return read_plainly(database, &r);
  const bool page1 = offset == 0 && file == database;
  if (!looks(database) && !page1) return read_known(database, &r, uringvfs__ask(database, &r));
  int rc = read_looking(database, &r, URINGVFS__BELIEVED);
  judge(database);
  return rc;
}

static __attribute__((noinline)) int read_missed(uringvfs__file *database, uringvfs__file *file, void *data, int amount,
                                                 int64_t offset, int64_t got) {
  const uringvfs__request r = {file, data, data, false, amount, offset};
  return read_known(database, &r, uringvfs__asked(database, &r, got));
}

/* Reads a page that should be in memory, and asks by that whether it is. */
static __attribute__((noinline)) int read_asking(uringvfs__file *file, void *data, int amount, int64_t offset,
                                                 uringvfs__file *database) {
  uringvfs__memory *m = &database->memory;
  if (!database->hot || offset == 0 || file->io.fd < 0) return read_undecided(database, file, data, amount, offset);
  const int64_t got = rt_read_cached(&file->io, data, (uint64_t)amount, (uint64_t)offset);
  if (got != amount) return read_missed(database, file, data, amount, offset, got);
  m->unasked = m->pace = uringvfs__slower(m->pace);
  database->lone.reads++;
  note(database, file, offset, data);
  return SQLITE_OK;
}

/* Only what most pages need; for the rest there are functions of their own, whose frames need not be made here. */
int uringvfs__readahead_read(uringvfs__file *file, void *data, int amount, int64_t offset, uringvfs__file *database) {
  if (database->memory.unasked == 0 || offset == 0) return read_asking(file, data, amount, offset, database);
  database->memory.unasked--;
  const int rc = file->parent->pMethods->xRead(file->parent, data, amount, offset);
  if (rc != SQLITE_OK) return uringvfs__parent_read_code(file, rc, (uint64_t)offset, (uint64_t)amount);
  database->lone.reads++;
  note(database, file, offset, data);
  return SQLITE_OK;
}

static __attribute__((noinline)) void fetched(uringvfs__file *database, const void *page, int amount, int64_t offset) {
  const uringvfs__request r = {database, NULL, page, true, amount, offset};
  uringvfs__memory *m = &database->memory;
  if (!reads_ahead(database)) return;
  if (looks(database) || uringvfs__ask(database, &r) == URINGVFS__MISSED) {
    (void)read_looking(database, &r, looks(database) ? URINGVFS__BELIEVED : URINGVFS__MISSED);
  } else {
    note(database, database, offset, page);
    m->unfetched = m->left;
    m->left = 0;
  }
  judge(database);
}

void uringvfs__readahead_fetched(uringvfs__file *database, const void *page, int amount, int64_t offset) {
  if (database->memory.unfetched == 0) {
    fetched(database, page, amount, offset);
    return;
  }
  database->memory.unfetched--;
  note(database, database, offset, page);
}
