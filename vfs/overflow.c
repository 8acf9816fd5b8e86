/*
** overflow.c - the overflow pages of row after row.
**
** What a leaf cannot hold of a row is on a chain of overflow pages (https://www.sqlite.org/fileformat2.html, "Cell
** Payload Overflow Pages"). Each names the next one, so a single chain cannot be read ahead; but the cells of the leaf
** say where each row's chain begins and how long it is. When SQLite has followed the chains of a few rows in their
** order, those of the rows that come next are read together, round by round: the page that is asked for brings the
** pages of the same rank of the other chains, and these say where the next ones are. A leaf holds a few such rows at
** most, so the leaves that follow are looked at too, in the buffer, or come with the batch. A reader that wants only
** the beginning of each value gets no more than that.
**
** Where the chains lie side by side, the kernel reads ahead by itself (a batch took 1.2 times as long): such rows are
** evidence against. And leaves are taken apart only after several overflow pages have come from the device, more of
** them each time nobody wanted the chains.
**
** Left out: rows on interior pages of an index, rows that an index leads to, and scans of several such tables at a
** time. One value alone, however long, cannot be helped: in an auto-vacuum database the pointer map names the page
** before, not the next.
*/
#include "readahead.h"

enum {
  SLOW_PAGES = 3,        /* overflow pages from the device before leaves are taken apart,      */
  SLOW_PAGES_MOST = 192, /* or after that was in vain several times                            */
  IDLE_LEAVES = 8,       /* leaves in a row without chains before it counts as in vain         */
  EVIDENCE = 3,          /* rows in order that begin a read-ahead,                             */
  SUSPICION_MOST = 45,   /* and how many more after ranges that ended early                    */
  HITS_MOST = 480,       /* rows in order that make a difference: a quarter of them is read ahead */
  SIDE_BY_SIDE = 4,      /* pages from the end of one chain to the next, with a leaf in between  */
  LEAVES_MOST = 32,      /* looked at for one batch,                                           */
  CELLS_MOST = 256,      /* and cells of each                                                  */
  CACHED_BATCHES = 3,    /* in a row that end it: a few pages may happen to be in the cache      */
  UNTIMED = 15           /* reads after one that the kernel had in its cache                   */
};
_Static_assert(HITS_MOST / 4 >= URINGVFS_READAHEAD_MAX, "the largest batch is reached");

/* The time that it takes to read a page says little, that of several pages more. */
void uringvfs__overflow_timed(uringvfs_overflow *o, bool slow, bool of_a_tree) {
  if (!slow) {
    if (o->slow > 0) o->slow--;
    o->untimed = UNTIMED;
  } else if (!of_a_tree && o->slow < SLOW_PAGES_MOST) {
    o->slow++;
  }
}

/* ---- rows that are passed over ---- */

static void drop_chain(uringvfs_file *database, const uringvfs_chain *chain) {
  uringvfs_readahead *ra = database->readahead;
  uint32_t pgno = chain->first;
  for (unsigned i = 0; i < chain->pages && pgno > 1; i++) {
    const uringvfs_source source = uringvfs__source_of(database, pgno);
    const int slot = uringvfs__buffer_find(&ra->buffer, source.wal, source.offset);
    const uint8_t *page = uringvfs__buffer_content(&ra->buffer, slot);
    if (slot < 0) return;
    pgno = page != NULL ? uringvfs__page_next_overflow(page) : 0;
    uringvfs__buffer_drop(&ra->buffer, (unsigned)slot);
    uringvfs__readahead_wasted(ra, 1);
  }
}

/* The scan has come to this chain of the leaf, or to one of its ends; nobody wanted what lies between it and the one
** before. */
static void pass_over(uringvfs_file *database, int to) {
  uringvfs_readahead *ra = database->readahead;
  uringvfs_overflow *o = &ra->overflow;
  const int step = (int)o->direction;
  int i = o->at >= 0 ? o->at + step : step > 0 ? 0 : o->count - 1;
  for (; i != to && i >= 0 && i < o->count; i += step) {
    o->hits /= 4; /* who wants two rows of three gets nothing, nine of ten most */
    if (ra->buffer.memory != NULL) drop_chain(database, &o->chains[i]);
  }
}

/* ---- leaves ---- */

static void in_vain(uringvfs_overflow *o) {
  if (o->doubt * 2 + 2 * SLOW_PAGES <= SLOW_PAGES_MOST) o->doubt = o->doubt * 2 + SLOW_PAGES;
  o->hits = o->slow = o->idle = 0;
}

/*
** No more rows in order. If pages of the last batch are left over, the next run has to be longer before anything is
** read ahead: ranges tend to be alike. Where a long run ends, a few pages are no matter.
*/
static void end_run(uringvfs_readahead *ra) {
  uringvfs_overflow *o = &ra->overflow;
  uringvfs_stream *s = &ra->streams[URINGVFS_STREAM_OVERFLOW];
  const unsigned evidence = EVIDENCE + o->suspicion;
  if (o->hits >= evidence && (s->used >= s->read_ahead || o->hits >= 8 * evidence))
    o->suspicion = 0;
  else if (s->used < s->read_ahead && o->suspicion < SUSPICION_MOST)
    o->suspicion = o->suspicion * 2 + EVIDENCE;
  s->used = s->read_ahead = 0;
  o->hits = 0;
  o->direction = URINGVFS_NOWHERE;
}

/* Is this the leaf that a scan comes to next? */
static bool goes_on(uringvfs_readahead *ra, uint32_t pgno) {
  uringvfs_overflow *o = &ra->overflow;
  const uringvfs_stream *s = uringvfs__stream_at(ra, pgno);
  if (s == NULL || o->direction == -s->direction) return false;
  uringvfs_place place = s->place;
  uint32_t interior;
  if (uringvfs__tree_step(&ra->map, &place, -(int)s->direction, &interior) != o->leaf) return false;
  o->direction = s->direction;
  return true;
}

/* SQLite is done with the leaf, and has come to another. */
static void leave(uringvfs_file *database, uint32_t to) {
  uringvfs_overflow *o = &database->readahead->overflow;
  o->idle = o->count == 0 ? o->idle + 1 : 0;
  if (o->hits > 0 && goes_on(database->readahead, to))
    pass_over(database, -1);
  else
    end_run(database->readahead);
  if (o->idle >= IDLE_LEAVES || (o->hits == 0 && o->count > 0 && o->at < 0)) in_vain(o);
}

void uringvfs__overflow_end(uringvfs_readahead *ra) {
  end_run(ra);
  if (ra->overflow.leaf != 0) ra->overflow = (uringvfs_overflow){.suspicion = ra->overflow.suspicion};
  ra->overflow.slow = ra->overflow.cached = ra->overflow.doubt = ra->overflow.untimed = 0;
}

void uringvfs__overflow_leaf(uringvfs_file *database, uint32_t pgno, const uint8_t *page) {
  uringvfs_overflow *o = &database->readahead->overflow;
  uringvfs_cells cells;
  if (o->leaf == pgno) return;
  if (o->leaf != 0) leave(database, pgno);
  o->leaf = 0;
  o->count = 0;
  if (o->hits < EVIDENCE && o->slow < SLOW_PAGES + o->doubt) return;
  if (!uringvfs__page_cells(page, pgno, &database->format, &cells)) return;
  o->leaf = pgno;
  o->count = (int)uringvfs__page_chains(&cells, o->chains);
  o->at = -1;
  o->next = 0;
}

/* ---- evidence ---- */

/* Another row of the leaf, or the first that is asked for. */
static void begin_chain(uringvfs_file *database, int chain) {
  uringvfs_overflow *o = &database->readahead->overflow;
  const uint32_t first = o->chains[chain].first;
  if (o->at >= 0) {
    const uringvfs_direction direction = chain > o->at ? URINGVFS_FORWARD : URINGVFS_BACKWARD;
    if (o->direction == -direction) o->hits = 0;
    o->direction = direction;
  }
  if (o->direction != URINGVFS_NOWHERE) pass_over(database, chain);
  if (first > o->page && first - o->page <= SIDE_BY_SIDE)
    o->hits /= 2;
  else if (o->hits < HITS_MOST)
    o->hits++;
  o->at = chain;
}

bool uringvfs__overflow_asked(uringvfs_file *database, uint32_t pgno) {
  uringvfs_overflow *o = &database->readahead->overflow;
  if (o->count == 0) return false;
  if (pgno == o->next) {
    o->link++;
  } else {
    int i = 0;
    while (i < o->count && o->chains[i].first != pgno) i++;
    if (i == o->count) return false;
    if (i != o->at) begin_chain(database, i);
    o->link = 0;
  }
  o->page = pgno;
  o->next = 0;
  return true;
}

bool uringvfs__overflow_is_followed(const uringvfs_overflow *o) { return o->hits >= EVIDENCE; }

uringvfs_stream *uringvfs__overflow_of(uringvfs_file *database) {
  uringvfs_readahead *ra = database->readahead;
  uringvfs_overflow *o = &ra->overflow;
  uringvfs_stream *s = &ra->streams[URINGVFS_STREAM_OVERFLOW];
  o->cached = s->cached ? o->cached + 1 : 0;
  s->cached = false;
  if (o->cached >= CACHED_BATCHES) { /* nothing more before pages come from the device again */
    *s = (uringvfs_stream){0};
    *o = (uringvfs_overflow){.doubt = o->doubt, .suspicion = o->suspicion};
    return NULL;
  }
  if (o->hits < EVIDENCE + o->suspicion + ra->caution) return NULL;
  if (s->depth == 0) s->depth = URINGVFS_FIRST_DEPTH;
  o->doubt = 0;
  return s;
}

/* ---- what comes next ---- */

/* Adds the first page of the chain that is not in the buffer yet, if it is none behind the page number `link`. */
static void add_link(uringvfs_file *database, const uringvfs_chain *chain, unsigned link, uringvfs_batch *b) {
  uringvfs_page_buffer *buffer = &database->readahead->buffer;
  uint32_t pgno = chain->first;
  for (unsigned i = 0; i <= link && i < chain->pages && pgno > 1; i++) {
    uringvfs_source source = uringvfs__source_of(database, pgno);
    const uint8_t *page = uringvfs__buffer_content(buffer, uringvfs__buffer_find(buffer, source.wal, source.offset));
    if (page == NULL) {
      source.stream = URINGVFS_STREAM_OVERFLOW;
      (void)uringvfs__batch_add(database, b, source);
      return;
    }
    pgno = uringvfs__page_next_overflow(page);
  }
}

/* The chains of a leaf that waits in the buffer; -1: it does not, and is added. */
static int leaf_chains(uringvfs_file *database, uint32_t pgno, uringvfs_chain *chains, uringvfs_batch *b) {
  uringvfs_page_buffer *buffer = &database->readahead->buffer;
  uringvfs_cells cells;
  uringvfs_source source = uringvfs__source_of(database, pgno);
  const uint8_t *page = uringvfs__buffer_content(buffer, uringvfs__buffer_find(buffer, source.wal, source.offset));
  if (page == NULL) {
    source.stream = URINGVFS_STREAM_OVERFLOW;
    (void)uringvfs__batch_add(database, b, source);
    return -1;
  }
  if (uringvfs__page_kind(page, pgno) == URINGVFS_PAGE_INTERIOR) return 0;
  if (!uringvfs__page_cells(page, pgno, &database->format, &cells) || cells.count > CELLS_MOST) return 0;
  return (int)uringvfs__page_chains(&cells, chains);
}

/* The pages of a chain wait until its row is read: half of the buffer for them and the page asked for, half for
** leaves. */
typedef struct window {
  unsigned rows, room; /* more rows, and pages of theirs, at most */
} window;

/* Adds what the rows from number i on want. False: the window is full. */
static bool add_rows(uringvfs_file *database, const uringvfs_chain *chains, int count, int i, window *w,
                     uringvfs_batch *b) {
  const uringvfs_overflow *o = &database->readahead->overflow;
  for (; i >= 0 && i < count; i += (int)o->direction) {
    if (w->rows == 0 || chains[i].pages > w->room) return false;
    w->rows--;
    w->room -= chains[i].pages;
    add_link(database, &chains[i], o->link, b);
  }
  return w->rows > 0;
}

void uringvfs__overflow_predict(uringvfs_file *database, uringvfs_batch *b) {
  uringvfs_readahead *ra = database->readahead;
  const uringvfs_overflow *o = &ra->overflow;
  const int step = (int)o->direction;
  /* Nobody knows where the range ends: what is behind it may be a quarter of what was found before, no more. */
  const unsigned known = o->hits / 4 + URINGVFS_FIRST_DEPTH, depth = ra->streams[URINGVFS_STREAM_OVERFLOW].depth;
  window w = {depth < known ? depth : known, ra->buffer.capacity / 2 - 2};
  if (step == 0 || !add_rows(database, o->chains, o->count, o->at + step, &w, b)) return;
  const uringvfs_stream *s = uringvfs__stream_at(ra, o->leaf);
  if (s == NULL || s->direction != o->direction) return;
  uringvfs_place place = s->place;
  for (unsigned leaves = 0; leaves < LEAVES_MOST; leaves++) {
    uringvfs_chain chains[URINGVFS_LEAF_CHAINS];
    uint32_t interior = 0, pgno = uringvfs__tree_step(&ra->map, &place, step, &interior);
    if (pgno == 0 && interior == 0) return;
    const int count = leaf_chains(database, pgno != 0 ? pgno : interior, chains, b);
    if (pgno == 0) return;   /* what comes behind it is not known before it is read */
    if (count < 0) w.rows--; /* the leaf counts for its rows */
    if (!add_rows(database, chains, count, step > 0 ? 0 : count - 1, &w, b)) return;
  }
}
