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
** The stream counts rows: its run, its distance and its tree's reach are rows. A row that is passed over ends it, so a
** reader that wants every tenth row soon gets nothing, and one that wants nine of ten gets nine. Where the chains lie
** side by side, the kernel reads ahead by itself (a batch took 1.2 times as long): there a stream does not begin.
**
** Left out: rows on interior pages of an index, rows that an index leads to, and scans of several such tables at a
** time. One value alone, however long, cannot be helped: in an auto-vacuum database the pointer map names the page
** before, not the next.
*/
#include "scan.h"

enum {
  LEAVES = 8,       /* that are taken apart after an overflow page that was not in memory      */
  EVIDENCE = 3,     /* rows in order that begin a read-ahead                                   */
  SIDE_BY_SIDE = 4, /* pages from the end of one chain to the next, with a leaf in between     */
  LEAVES_MOST = 32  /* looked at for one batch: the map may lead in a circle                   */
};

typedef struct overflow {
  uint32_t leaf;                                 /* seen last                                           */
  uringvfs__chain chains[URINGVFS__LEAF_CHAINS]; /* of its cells, if it was taken apart                 */
  int count;                                     /* of them                                             */
  int at;                                        /* the one that is being read; -1: none yet            */
  unsigned link;                                 /* which of its pages was asked for last, from 0       */
  uint32_t page;                                 /* the number of that page                             */
  uint32_t next;                                 /* of the one behind it; 0: not known, or none         */
  uringvfs__direction direction;                 /* URINGVFS__NOWHERE before two rows were found         */
  unsigned leaves;                               /* to be taken apart                                   */
} overflow;

/* The rows in order are over. */
static void end_run(uringvfs__readahead *ra, uringvfs__self *self) {
  uringvfs__distance_end(ra, self->streams);
  ((overflow *)self->state)->direction = URINGVFS__NOWHERE;
}

static void end(uringvfs__readahead *ra, uringvfs__self *self) {
  end_run(ra, self);
  *(overflow *)self->state = (overflow){0};
}

static bool wants_leaves(const uringvfs__self *self) { return self->streams->run >= EVIDENCE; }

/* ---- leaves ---- */

/* Is this the leaf that a scan comes to next, and were no rows left over in the one before? */
static bool goes_on(uringvfs__readahead *ra, overflow *o, uint32_t pgno) {
  uringvfs__direction direction;
  uringvfs__place place;
  uint32_t interior;
  if (!uringvfs__scan_at(ra, pgno, &place, &direction) || (int)o->direction == -(int)direction) return false;
  if (uringvfs__tree_step(&ra->map, &place, -(int)direction, &interior) != o->leaf) return false;
  o->direction = direction;
  return o->count == 0 || o->at == (direction == URINGVFS__FORWARD ? o->count - 1 : 0);
}

static void leaf(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno, const uint8_t *page) {
  overflow *o = self->state;
  uringvfs__cells cells;
  if (o->leaf == pgno && o->count > 0) return;
  if (self->streams->run > 0 && !goes_on(ra, o, pgno)) end_run(ra, self);
  o->leaf = pgno;
  o->count = 0;
  o->at = -1;
  o->next = 0;
  if (o->leaves == 0 && !wants_leaves(self)) return;
  if (o->leaves > 0) o->leaves--;
  if (page == NULL || !uringvfs__page_cells(page, pgno, &ra->database->format, &cells)) return;
  o->count = (int)uringvfs__page_chains(&cells, o->chains);
}

static void seen(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno, const uint8_t *page,
                 uringvfs__kind kind) {
  overflow *o = self->state;
  if (kind == URINGVFS__PAGE_LEAF_TABLE || kind == URINGVFS__PAGE_LEAF_INDEX) leaf(ra, self, pgno, page);
  if (kind == URINGVFS__PAGE_OTHER && ra->missed) o->leaves = LEAVES;
  if (page != NULL && o->page == pgno) o->next = uringvfs__page_next_overflow(page); /* it comes behind it */
}

/* ---- evidence ---- */

/* The number of the tree whose rows these are, and of none that a scan has; 0: not known. Where nobody knows its top,
** the page above the leaf stands for it. */
static uint32_t tree_of(uringvfs__readahead *ra, uint32_t leaf) {
  uringvfs__place place;
  if (!uringvfs__tree_find(&ra->map, leaf, &place, false)) return 0;
  const uint32_t top = uringvfs__tree_top(&ra->map, place);
  return ~(top != 0 ? top : ra->map.nodes[place.node].pgno);
}

/* Another row of the leaf, or the first that is asked for. */
static void begin_chain(uringvfs__readahead *ra, uringvfs__self *self, int chain) {
  overflow *o = self->state;
  uringvfs__stream *s = self->streams;
  const uint32_t first = o->chains[chain].first;
  const bool starts = o->at < 0; /* in its leaf */
  uringvfs__direction direction = o->direction;
  int expected = direction == URINGVFS__BACKWARD ? o->count - 1 : 0;
  if (!starts) {
    direction = chain > o->at ? URINGVFS__FORWARD : URINGVFS__BACKWARD;
    expected = o->at + (int)direction;
    if (o->direction == -direction) end_run(ra, self);
  }
  if (chain != expected && direction != URINGVFS__NOWHERE) end_run(ra, self);
  o->direction = direction;
  o->at = chain;
  if (first > o->page && first - o->page <= SIDE_BY_SIDE) {
    *s = (uringvfs__stream){.predictor = s->predictor};
  } else if (s->run > 0) {
    s->run++;
  } else {
    uringvfs__distance_begin(ra, s, tree_of(ra, o->leaf), 1);
  }
}

/* Is this page an overflow page of the leaf? */
static bool is_of_leaf(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno) {
  overflow *o = self->state;
  if (o->count == 0) return false;
  if (pgno == o->next) {
    o->link++;
  } else {
    int i = 0;
    while (i < o->count && o->chains[i].first != pgno) i++;
    if (i == o->count) return false;
    if (i != o->at) begin_chain(ra, self, i);
    o->link = 0;
  }
  o->page = pgno;
  o->next = 0;
  return true;
}

static uringvfs__stream *asked(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno,
                               uringvfs__stream *claimed) {
  const overflow *o = self->state;
  if (!is_of_leaf(ra, self, pgno) || claimed != NULL || !wants_leaves(self)) return NULL;
  self->streams->goes_on = o->link > 0; /* the rounds for the same rows are judged together */
  return self->streams;
}

/* ---- what comes next ---- */

/* Adds the first page of the chain that is not in the buffer yet, if it is none behind the page number `link`. */
static void add_link(uringvfs__readahead *ra, const uringvfs__chain *chain, unsigned link, uringvfs__batch *b) {
  uint32_t pgno = chain->first;
  for (unsigned i = 0; i <= link && i < chain->pages && pgno > 1; i++) {
    const uint8_t *page = uringvfs__page_ahead(ra, pgno);
    if (page == NULL) {
      (void)uringvfs__batch_add(ra, b, pgno);
      return;
    }
    pgno = uringvfs__page_next_overflow(page);
  }
}

/* A leaf that the kernel was only asked for is wanted with its content. It is of use now. */
static void take_advised(uringvfs__readahead *ra, uint32_t pgno) {
  const uringvfs__source source = uringvfs__source_of(ra, pgno);
  const int slot = uringvfs__buffer_find(&ra->buffer, source.wal, source.offset);
  if (slot < 0 || ra->buffer.slots[slot].state != URINGVFS__SLOT_ADVISED) return;
  ra->streams[ra->buffer.slots[slot].source.stream].used++;
  ra->used++;
  uringvfs__buffer_drop(&ra->buffer, (unsigned)slot);
}

/* The chains of a leaf that waits in the buffer; -1: it does not, and is added. */
static int leaf_chains(uringvfs__readahead *ra, uint32_t pgno, uringvfs__chain *chains, uringvfs__batch *b) {
  uringvfs__cells cells;
  const uint8_t *page = uringvfs__page_ahead(ra, pgno);
  if (page == NULL) {
    take_advised(ra, pgno);
    (void)uringvfs__batch_add(ra, b, pgno);
    return -1;
  }
  if (uringvfs__page_kind(page, pgno) == URINGVFS__PAGE_INTERIOR) return 0;
  if (!uringvfs__page_cells(page, pgno, &ra->database->format, &cells)) return 0;
  return (int)uringvfs__page_chains(&cells, chains);
}

/* The pages of a chain wait until its row is read: half of the buffer for them and the page asked for, half for
** leaves. */
typedef struct window {
  unsigned rows, room; /* more rows, and pages of theirs, at most */
} window;

/* Adds what the rows from number i on want. False: the window is full. */
static bool add_rows(uringvfs__readahead *ra, const overflow *o, const uringvfs__chain *chains, int count, int i,
                     window *w, uringvfs__batch *b) {
  for (; i >= 0 && i < count; i += (int)o->direction) {
    if (w->rows == 0 || chains[i].pages > w->room) return false;
    w->rows--;
    w->room -= chains[i].pages;
    add_link(ra, &chains[i], o->link, b);
  }
  return w->rows > 0;
}

static void predict(uringvfs__readahead *ra, uringvfs__self *self, const uringvfs__stream *s, uint32_t pgno,
                    uringvfs__batch *b) {
  const overflow *o = self->state;
  const int step = (int)o->direction;
  uringvfs__direction direction;
  uringvfs__place place;
  window w = {b->most - 1, ra->buffer.capacity / 2 - 2};
  (void)s;
  (void)pgno;
  if (step == 0 || !add_rows(ra, o, o->chains, o->count, o->at + step, &w, b)) return;
  if (!uringvfs__scan_at(ra, o->leaf, &place, &direction) || direction != o->direction) return;
  for (unsigned leaves = 0; leaves < LEAVES_MOST; leaves++) {
    uringvfs__chain chains[URINGVFS__LEAF_CHAINS];
    uint32_t interior = 0, next = uringvfs__tree_step(&ra->map, &place, step, &interior);
    if (next == 0 && interior == 0) return;
    const int count = leaf_chains(ra, next != 0 ? next : interior, chains, b);
    if (next == 0) return;   /* what comes behind it is not known before it is read */
    if (count < 0) w.rows--; /* the leaf counts for its rows */
    if (!add_rows(ra, o, chains, count, step > 0 ? 0 : count - 1, &w, b)) return;
  }
}

const uringvfs__predictor uringvfs__overflow = {.state_bytes = sizeof(overflow),
                                                .streams = 1,
                                                .asked = asked,
                                                .seen = seen,
                                                .predict = predict,
                                                .wants_leaves = wants_leaves,
                                                .end = end};
