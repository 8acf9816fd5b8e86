/*
** rows.c - the rows that the records of a leaf lead to.
**
** SQLite goes through a leaf and looks up a row of another table for each of its records, wherever that row is. The
** entries of an index end with the row's rowid; in a join it is some integer column of the outer table, or of an index
** that is read in its place. Nobody says which column, but the inner table's interior pages say which leaf holds which
** row; those of an index whose keys begin with an integer say it of its entries. So when a few pages that SQLite asks
** for turn out to be the leaves of one column's values, in the order of the records, the leaves of the values that
** follow are read ahead. Several tables may be joined: each column that leads to one has a stream of its own.
**
** Near the end of the leaf, the leaves that come after it are read along with the rows, and then the rows that their
** records lead to, and so on: as far ahead as the stream may be.
**
** To look for columns costs as much as many reads from memory, and the reading of interior pages that the map does not
** know. So each tree has a doubt, which doubles when its leaf led nowhere and ends when one does: the greater it is,
** the more pages must be missed after a leaf before it is taken apart. It is kept for as long as the connection:
** statements are alike. Where it is greatest nothing more is read to find out, and only what passes by can prove it
** wrong. Once a column is found, the next leaf is taken apart as it passes by.
**
** Of an index, the leaf seen last is the one whose records count. What is looked up are leaves of tables, too, so of
** these the first one counts, until its neighbour is asked for, or nothing came of it, or while nothing has come of it
** one that a scan goes to.
*/
#include <stdlib.h>
#include <string.h>

#include "rows.h"
#include "scan.h"

/* Two leaves are looked at for columns that lead to rows. */
enum { OF_INDEX, OF_TABLE, LOOKUPS, COLUMNS = 8 };

enum {
  EVIDENCE = 3,     /* pages that were not in memory before a leaf is taken apart without doubt,
                       and rows found in order that begin a read-ahead: two may be chance            */
  MOST_DOUBT = 4,   /* EVIDENCE << 4 is 48: more than short lists of keys miss, less than a range of an index has on
                       one leaf. With 2, lists of 20 keys began to read ahead; with 0, when nothing is ever read
                       to find out, half as many rows of ranges of 20 were                             */
  DOUBTS = 32,      /* trees that are remembered                                                     */
  NEAR_GAP = 4,     /* records in between whose rows SQLite has in its cache, or ...                 */
  LARGEST_GAP = 64, /* ... where no other column explains the page                                   */
  TREES = 8,        /* that are tried                                                                */
  MOST_MISSES = 8,  /* leaves that one row of a join asks for elsewhere before it asks for this one's */
  STEADY = 64,      /* rows of a range, after which the kernel reads them while SQLite works on those before:
                       waiting for batches took 1.15 times as long (range-cold). In a join it does not pay  */
  NO_COLUMN = UINT8_MAX
};

/* The integers in one column of a leaf's records. */
typedef struct row_column {
  uint8_t number; /* as in uringvfs__integers                                 */
  bool certain;   /* these are rowids                                        */
  int64_t *rowids;
  unsigned count;
  int next;                      /* the record whose row is expected                           */
  uringvfs__direction direction; /* URINGVFS__NOWHERE before two rows were found                */
  uint32_t root;                 /* of the table where the rows are                            */
  uint32_t page;                 /* of the row found last                                      */
  unsigned hits;                 /* rows found,                                                */
  unsigned passed;               /* pages passed by in between,                                */
  unsigned misses;               /* and leaves asked for since that belong to no record        */
} row_column;

/* The leaf seen last whose records may name rows. */
typedef struct row_lookup {
  uint32_t leaf;         /* 0: none                                                    */
  uringvfs__place place; /* {0, 0}: not known                                          */
  bool known;            /* the columns are its own                                    */
  bool copied;           /* it is in `copy`                                            */
  bool loaded;           /* the interior pages above its rows were read                */
  unsigned followers;    /* other pages asked for since that were not in memory        */
  uint32_t root;         /* of the table found last                                    */
  int64_t low, high;     /* of a table's leaf, the rowids of its first and last row    */
  uint8_t *copy;         /* of the leaf                                                */
  int64_t *memory;       /* of the columns                                             */
  unsigned columns_used;
  row_column columns[COLUMNS];
} row_lookup;

/* How often in a row the leaves of a tree were taken apart in vain. */
typedef struct doubt {
  uint32_t tree;
  unsigned vain;
} doubt;

typedef struct rows {
  row_lookup lookups[LOOKUPS];
  uint32_t page;           /* that was asked for last                            */
  uint8_t stream;          /* that it belongs to,                                */
  int64_t value;           /* and what led to it, if one is named                */
  const row_lookup *named; /* whose record names a row on it, NULL: nobody's       */
  doubt doubts[DOUBTS];    /* kept from one transaction to the next                */
} rows;

/* ---- columns ---- */

static uringvfs__stream *stream_of(const uringvfs__self *self, const row_lookup *l, const row_column *c) {
  const rows *state = self->state;
  return &self->streams[(l - state->lookups) * COLUMNS + (c - l->columns)];
}

/*
** Does this column lead to the rows that are looked up? A row that was passed by is in SQLite's cache, or not wanted:
** to read it ahead would have been in vain.
*/
static bool is_found(const row_column *c) { return c->hits >= EVIDENCE && c->passed <= c->hits; }

static bool is_followed(const row_lookup *l) {
  for (unsigned i = 0; i < l->columns_used; i++)
    if (is_found(&l->columns[i])) return true;
  return false;
}

static bool wants_leaves(const uringvfs__self *self) {
  const rows *state = self->state;
  return is_followed(&state->lookups[OF_INDEX]) || is_followed(&state->lookups[OF_TABLE]);
}

/* The column of this number; while they are looked for, it may be a new one. NULL: it is of no interest. */
static row_column *column_of(row_lookup *l, uint8_t number, bool looking) {
  for (unsigned i = 0; i < l->columns_used; i++)
    if (l->columns[i].number == number) return &l->columns[i];
  if (!looking || l->columns_used == COLUMNS) return NULL;
  row_column *c = &l->columns[l->columns_used++];
  *c = (row_column){.number = number};
  return c;
}

/* The rowids of the first and the last row of a table's leaf. */
static bool ends_of(const uringvfs__cells *cells, int64_t *low, int64_t *high) {
  uringvfs__integers first, last;
  if (!cells->table || cells->count == 0) return false;
  uringvfs__page_integers(cells, 0, &first);
  uringvfs__page_integers(cells, cells->count - 1, &last);
  if (first.count == 0 || last.count == 0) return false;
  *low = first.value[0];
  *high = last.value[0];
  return *low <= *high;
}

static void take_apart(uringvfs__readahead *ra, row_lookup *l, const uint8_t *page, bool looking) {
  uringvfs__cells cells;
  l->known = true;
  for (unsigned i = 0; i < l->columns_used; i++) l->columns[i].count = 0;
  if (!uringvfs__page_cells(page, l->leaf, &ra->database->format, &cells) || cells.count == 0) return;
  (void)ends_of(&cells, &l->low, &l->high);
  int64_t *memory = realloc(l->memory, sizeof *memory * cells.count * COLUMNS);
  if (memory == NULL) return;
  l->memory = memory;
  for (unsigned i = 0; i < cells.count; i++) {
    uringvfs__integers found;
    uringvfs__page_integers(&cells, i, &found);
    for (unsigned k = 0; k < found.count; k++) {
      row_column *c = column_of(l, found.column[k], looking);
      if (c == NULL) continue;
      c->rowids = memory + (size_t)(c - l->columns) * cells.count;
      if (c->count < cells.count) c->rowids[c->count++] = found.value[k];
    }
  }
  for (unsigned i = 0; i < l->columns_used; i++) {
    row_column *c = &l->columns[i];
    c->next = c->direction == URINGVFS__BACKWARD ? (int)c->count - 1 : 0;
    c->misses = 0;
    c->certain = !cells.table && c->number == URINGVFS__COLUMN_ROWID;
  }
}

/* In its next leaf, goes on with the columns that have led to so many rows. */
static void go_on(uringvfs__readahead *ra, uringvfs__self *self, row_lookup *l, const uint8_t *page, unsigned hits) {
  bool any = false;
  for (unsigned i = 0; i < l->columns_used; i++) {
    row_column *c = &l->columns[i];
    if (c->hits < hits || c->passed > c->hits) {
      uringvfs__distance_end(ra, stream_of(self, l, c));
      *c = (row_column){.number = NO_COLUMN};
    }
    any |= c->number != NO_COLUMN;
  }
  if (any && page != NULL) take_apart(ra, l, page, false);
}

/* ---- doubt ---- */

static doubt *doubt_of(uringvfs__readahead *ra, const uringvfs__self *self, const row_lookup *l) {
  rows *state = self->state;
  uint32_t tree = l->place.node != 0 ? uringvfs__tree_top(&ra->map, l->place) : 0;
  if (tree == 0) tree = (uint32_t)(l - state->lookups) << 31; /* one for all that are not known */
  doubt *d = &state->doubts[(tree * 2654435761u) >> 27];
  if (d->tree != tree) *d = (doubt){.tree = tree};
  return d;
}
_Static_assert(DOUBTS == 1 << 5, "the hash gives 5 bits");

/* SQLite may have the leaf by now, then it has to be read again. */
static void look_for_columns(uringvfs__readahead *ra, uringvfs__self *self, row_lookup *l) {
  for (unsigned i = 0; i < COLUMNS; i++) uringvfs__distance_end(ra, &stream_of(self, l, l->columns)[i]);
  l->known = true;
  l->columns_used = 0;
  memset(l->columns, 0, sizeof l->columns); /* entries.c remembers streams: none may find what was here before */
  doubt *d = doubt_of(ra, self, l);
  l->loaded = d->vain == MOST_DOUBT; /* that nothing is read for it any more */
  if (d->vain < MOST_DOUBT) d->vain++;
  ra->vain = 0; /* the table's interior pages are wanted now */
  if (!l->copied && !l->loaded) l->copied = l->copy != NULL && uringvfs__fetch_hint(ra, l->leaf, l->copy);
  if (l->copied) take_apart(ra, l, l->copy, true);
}

/* ---- which leaf ---- */

/* Nothing more is to be learned from its leaf. */
static bool is_given_up(const row_lookup *l) {
  if (!l->known) return l->leaf == 0;
  for (unsigned i = 0; i < l->columns_used; i++)
    if (l->columns[i].count > 0) return false;
  return true;
}

/* Where its parent is not known, the next leaf is recognised by that too, and by its rowids, which are close. */
static bool continues(uringvfs__readahead *ra, const row_lookup *l, uint32_t pgno, const uint8_t *page) {
  uringvfs__cells cells;
  uringvfs__place place;
  int64_t low, high;
  if (!l->known || l->place.node != 0 || page == NULL) return false;
  if (!uringvfs__page_cells(page, pgno, &ra->database->format, &cells) || !ends_of(&cells, &low, &high)) return false;
  const uint64_t extent = (uint64_t)l->high - (uint64_t)l->low + 1;
  const bool after = low > l->high && (uint64_t)low - (uint64_t)l->high <= extent;
  const bool before = high < l->low && (uint64_t)l->low - (uint64_t)high <= extent;
  return (after || before) && !uringvfs__tree_find(&ra->map, pgno, &place, true);
}

/* Is this the next leaf of the same tree? Then *place goes there. */
static bool is_neighbour(uringvfs__tree_map *map, uringvfs__place *place, uint32_t pgno) {
  for (int direction = -1; direction <= 1; direction += 2) {
    uint32_t interior;
    uringvfs__place to = *place;
    if (uringvfs__tree_step(map, &to, direction, &interior) != pgno) continue;
    *place = to;
    return true;
  }
  return false;
}

/* Whoever looks up rows by the records of a table most often scans it. */
static bool is_scanned(uringvfs__readahead *ra, uint32_t pgno) {
  uringvfs__place place;
  uringvfs__direction direction;
  return uringvfs__scan_at(ra, pgno, &place, &direction);
}

static void move_to(uringvfs__readahead *ra, uringvfs__self *self, row_lookup *l, uint32_t pgno, const uint8_t *page,
                    unsigned hits) {
  const uint32_t page_size = ra->database->format.page_size;
  l->leaf = pgno;
  l->known = false;
  go_on(ra, self, l, page, hits);
  if (l->copy == NULL) l->copy = malloc(page_size);
  l->copied = !l->known && page != NULL && l->copy != NULL;
  if (l->copied) memcpy(l->copy, page, page_size);
}

static void leaf_of_index(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno, const uint8_t *page) {
  row_lookup *l = &((rows *)self->state)->lookups[OF_INDEX];
  if (l->leaf == pgno && l->known) return;
  if (!is_neighbour(&ra->map, &l->place, pgno)) (void)uringvfs__tree_find(&ra->map, pgno, &l->place, false);
  l->followers = 0;
  move_to(ra, self, l, pgno, page, EVIDENCE);
}

/* Of a table whose rows are wide, a leaf alone has too few of them: what was found in its neighbour counts. */
static void leaf_of_table(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno, const uint8_t *page) {
  row_lookup *l = &((rows *)self->state)->lookups[OF_TABLE];
  if (!is_neighbour(&ra->map, &l->place, pgno)) {
    if (!is_given_up(l) && !continues(ra, l, pgno, page) && (is_followed(l) || !is_scanned(ra, pgno))) return;
    l->followers = 0;
    (void)uringvfs__tree_find(&ra->map, pgno, &l->place, false);
  }
  move_to(ra, self, l, pgno, page, 1);
}

/* A leaf that belongs to no record. A few are nothing unusual: other indexes and tables may be looked up in besides. */
static void missed(row_lookup *l) {
  for (unsigned i = 0; i < l->columns_used; i++) {
    row_column *c = &l->columns[i];
    if (c->count == 0 || ++c->misses < MOST_MISSES) continue;
    if (c->hits == 0) c->count = 0;
    c->hits = c->passed = c->misses = 0; /* the next one may belong to any record again */
    c->direction = URINGVFS__NOWHERE;
  }
}

static void seen(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno, const uint8_t *page,
                 uringvfs__kind kind) {
  rows *state = self->state;
  const bool was_asked = state->page == pgno && page != NULL, table = kind == URINGVFS__PAGE_LEAF_TABLE;
  for (row_lookup *l = state->lookups; l < state->lookups + LOOKUPS && ra->missed; l++)
    if (l->leaf != 0 && l->leaf != pgno && !l->known) l->followers++;
  if (kind != URINGVFS__PAGE_LEAF_TABLE && kind != URINGVFS__PAGE_LEAF_INDEX) return;
  if (was_asked) {
    /* A leaf of an index that a join looked up may lead to the rows of its entries. */
    if (state->named != NULL && (table || state->named == &state->lookups[OF_INDEX])) return;
    for (int i = 0; i < LOOKUPS && state->named == NULL; i++)
      if (state->lookups[i].known) missed(&state->lookups[i]);
  }
  if (table)
    leaf_of_table(ra, self, pgno, page);
  else
    leaf_of_index(ra, self, pgno, page);
}

/* Which table it was is worth remembering, and what was in vain. */
static void end(uringvfs__readahead *ra, uringvfs__self *self) {
  rows *state = self->state;
  (void)ra;
  for (row_lookup *l = state->lookups; l < state->lookups + LOOKUPS; l++) {
    free(l->copy);
    free(l->memory);
    *l = (row_lookup){.root = l->root};
  }
  state->page = 0;
  state->named = NULL;
}

/* ---- which record ---- */

/* A leaf that was asked for, by what it holds. */
typedef struct target {
  uint32_t pgno, root;
  int64_t low, high; /* values above the one and up to the other */
} target;

static bool identify(uringvfs__readahead *ra, uint32_t pgno, bool thoroughly, target *t) {
  uringvfs__place place;
  if (!uringvfs__tree_find(&ra->map, pgno, &place, thoroughly)) return false;
  t->pgno = pgno;
  t->root = uringvfs__tree_root(&ra->map, pgno, thoroughly);
  return t->root != 0 && uringvfs__tree_span(&ra->map, place, &t->low, &t->high);
}

/* Reads the interior pages above these rows that the map does not know. */
void uringvfs__rows_load(uringvfs__readahead *ra, uint32_t root, const int64_t *rowids, unsigned count) {
  const unsigned vain = ra->vain;
  for (int level = 0; level < 4; level++) {
    uint32_t wanted[URINGVFS__READAHEAD_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < count && n < URINGVFS__READAHEAD_MAX; i++) {
      uint32_t interior;
      (void)uringvfs__tree_leaf(&ra->map, root, rowids[i], &interior);
      if (interior != 0 && (n == 0 || wanted[n - 1] != interior)) wanted[n++] = interior;
    }
    if (n == 0) return;
    uringvfs__fetch_interiors(ra, wanted, n);
    ra->vain = vain; /* these are wanted */
  }
}

/* SQLite has the interior pages above the leaf in its cache, and the map has not: they are among those above the rows
** that the columns may lead to. */
static bool identify_by_loading(uringvfs__readahead *ra, row_lookup *l, uint32_t pgno, target *t) {
  l->loaded = true;
  for (int i = -1; i < TREES; i++) {
    const uint32_t root = i < 0 ? l->root : uringvfs__tree_other_root(&ra->map, (unsigned)i);
    if (root == 0 && i >= 0) return false;
    if (root == 0) continue;
    for (unsigned k = 0; k < l->columns_used; k++)
      uringvfs__rows_load(ra, root, l->columns[k].rowids, l->columns[k].count);
    if (identify(ra, pgno, true, t)) return true;
  }
  return false;
}

static bool leads_to(const row_column *c, int i, const target *t) {
  return c->rowids[i] > t->low && c->rowids[i] <= t->high;
}

/* Pages that the records from number i up to `to` are on. */
static unsigned pages_between(uringvfs__tree_map *map, const row_column *c, int i, int to, int step) {
  unsigned pages = 0;
  for (uint32_t last = c->page, interior, leaf; i != to; i += step, last = leaf) {
    leaf = uringvfs__tree_leaf(map, c->root, c->rowids[i], &interior);
    pages += leaf == 0 || leaf != last;
  }
  return pages;
}

/* The record that leads there from number i on, `most` of them at most; -1: none. */
static int find(const row_column *c, const target *t, int i, int step, int most) {
  for (; most > 0 && i >= 0 && i < (int)c->count; most--, i += step)
    if (leads_to(c, i, t)) return i;
  return -1;
}

static void move(row_column *c, int record, uint32_t pgno) {
  c->page = pgno;
  c->next = record + (c->direction == URINGVFS__BACKWARD ? -1 : 1);
  c->misses = 0;
  c->hits++;
}

/* Moves the column to the record that SQLite has come to. The second one shows the direction. False: there is none. */
static bool locate(uringvfs__tree_map *map, row_column *c, const target *t) {
  const int backward = c->direction == URINGVFS__NOWHERE ? c->next - 2 : c->next;
  int record = -1, from = c->next, step = 1;
  if (c->root != t->root) return false;
  if (c->direction != URINGVFS__BACKWARD) record = find(c, t, c->next, 1, LARGEST_GAP);
  if (record < 0 && c->direction != URINGVFS__FORWARD) {
    from = backward;
    step = -1;
    record = find(c, t, backward, -1, LARGEST_GAP);
  }
  if (record < 0) return false;
  c->passed += pages_between(map, c, from, record, step);
  c->direction = step > 0 ? URINGVFS__FORWARD : URINGVFS__BACKWARD;
  move(c, record, t->pgno);
  return true;
}

/* Is the page that of one of the next records? */
static bool is_near(uringvfs__tree_map *map, row_column *c, uint32_t pgno) {
  const int step = (int)c->direction;
  if (step == 0) return false;
  int i = c->next;
  for (int gap = 0; gap < NEAR_GAP && i >= 0 && i < (int)c->count; gap++, i += step) {
    uint32_t interior;
    if (uringvfs__tree_leaf(map, c->root, c->rowids[i], &interior) != pgno) continue;
    c->passed += pages_between(map, c, c->next, i, step);
    move(c, i, pgno);
    return true;
  }
  return false;
}

/* Moves a column that leads to rows to a record that is near. NULL: none leads to this page. */
static row_column *follow(uringvfs__tree_map *map, row_lookup *l, uint32_t pgno) {
  for (unsigned i = 0; i < l->columns_used; i++)
    if (is_found(&l->columns[i]) && is_near(map, &l->columns[i], pgno)) return &l->columns[i];
  return NULL;
}

static row_column *follow_far(uringvfs__tree_map *map, row_lookup *l, const target *t) {
  for (unsigned i = 0; i < l->columns_used; i++)
    if (is_found(&l->columns[i]) && locate(map, &l->columns[i], t)) return &l->columns[i];
  return NULL;
}

/* A column that has led nowhere yet, or once by chance, begins with the first record that leads there. A table's own
** rowids lead to the leaf itself, or its neighbours: a scan. */
static bool begin(uringvfs__readahead *ra, row_lookup *l, row_column *c, const target *t) {
  const bool own =
      !c->certain && c->number == URINGVFS__COLUMN_ROWID && uringvfs__tree_root(&ra->map, l->leaf, false) == t->root;
  const int record = own ? -1 : find(c, t, 0, 1, (int)c->count);
  if (record < 0) return false;
  c->root = l->root = t->root;
  c->hits = c->passed = 0;
  move(c, record, t->pgno);
  return true;
}

/* Moves the columns of which it is not known yet. Returns one that led here, if possible one of which it is known
** now. */
static row_column *try_others(uringvfs__readahead *ra, row_lookup *l, const target *t) {
  row_column *found = NULL;
  for (unsigned i = 0; i < l->columns_used; i++) {
    row_column *c = &l->columns[i];
    if (c->count == 0 || is_found(c)) continue;
    const bool led = (c->hits > 0 && locate(&ra->map, c, t)) || (c->hits < 2 && begin(ra, l, c, t));
    if (led && (found == NULL || is_found(c))) found = c;
  }
  return found;
}

/* Is there a column of which it is not known? */
static bool is_looking(const row_lookup *l) {
  for (unsigned i = 0; i < l->columns_used; i++)
    if (l->columns[i].count > 0 && !is_found(&l->columns[i])) return true;
  return false;
}

static row_column *column_to(uringvfs__readahead *ra, row_lookup *l, uint32_t pgno) {
  const bool looking = is_looking(l);
  target t;
  row_column *c = follow(&ra->map, l, pgno);
  if (c != NULL) return c;
  if (!identify(ra, pgno, looking, &t) && (!looking || l->loaded || !identify_by_loading(ra, l, pgno, &t))) return NULL;
  c = follow_far(&ra->map, l, &t);
  return c != NULL ? c : try_others(ra, l, &t);
}

/* Memory has all rows that are led to: until one is missing, nothing is to be foreseen. */
static uringvfs__stream *resting(const uringvfs__self *self) {
  const rows *state = self->state;
  uringvfs__stream *s = NULL;
  for (const row_lookup *l = state->lookups; l < state->lookups + LOOKUPS; l++) {
    for (const row_column *c = l->columns; c < l->columns + l->columns_used; c++) {
      if (!is_found(c)) continue;
      s = stream_of(self, l, c);
      if (s->rest == 0) return NULL;
    }
  }
  return s;
}

/* A number for the rows that this column leads to. */
static uint32_t tree_of(const row_column *c, bool of_index) {
  return c->root ^ (uint32_t)(c->number + 1) << 24 ^ (uint32_t)of_index << 31;
}

static uringvfs__stream *rows_of(uringvfs__readahead *ra, uringvfs__self *self, row_lookup *l, uint32_t pgno) {
  rows *state = self->state;
  uringvfs__place place = l->place;
  if (l->leaf == 0 || l->leaf == pgno) return NULL;
  if (!l->known && l->followers < (unsigned)EVIDENCE << doubt_of(ra, self, l)->vain) return NULL;
  if (uringvfs__tree_is_interior(&ra->map, pgno) || is_neighbour(&ra->map, &place, pgno)) return NULL;
  if (!l->known) look_for_columns(ra, self, l);
  row_column *c = column_to(ra, l, pgno);
  if (c == NULL) return NULL;
  uringvfs__stream *s = stream_of(self, l, c);
  state->named = l;
  state->stream = (uint8_t)(s - self->streams);
  state->value = c->rowids[c->next + (c->direction == URINGVFS__BACKWARD ? 1 : -1)];
  if (s->run == 0)
    uringvfs__distance_begin(ra, s, tree_of(c, l == &state->lookups[OF_INDEX]), 1);
  else
    s->run++;
  if (!is_found(c)) return NULL;
  doubt_of(ra, self, l)->vain = 0;
  s->steady = c->certain && s->run >= STEADY && uringvfs__cache_matters(ra->database);
  return s;
}

static uringvfs__stream *asked(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno,
                               uringvfs__stream *claimed) {
  rows *state = self->state;
  row_lookup *index = &state->lookups[OF_INDEX], *table = &state->lookups[OF_TABLE];
  const uringvfs__stream *waited_for = ra->waited_for;
  const bool mine = waited_for >= self->streams && waited_for < self->streams + (ptrdiff_t)LOOKUPS * COLUMNS;
  const bool table_first = is_followed(table);
  if (!table_first && !mine && (claimed != NULL || waited_for != NULL)) return NULL;
  state->page = 0;
  uringvfs__stream *s = resting(self);
  if (s != NULL) return claimed == NULL ? s : NULL;
  state->page = pgno;
  state->named = NULL;
  s = rows_of(ra, self, table_first ? table : index, pgno);
  return state->named != NULL ? s : rows_of(ra, self, table_first ? index : table, pgno);
}

/* ---- what comes next ---- */

enum { VALUES_MOST = 2 * URINGVFS__READAHEAD_MAX, LEAVES_MOST = URINGVFS__READAHEAD_MAX / 2 };

/* The values of a column in the order in which they will be looked up. */
typedef struct values {
  int64_t value[VALUES_MOST];
  unsigned count, most;
} values;

static void add_own(values *v, const row_column *c) {
  const int step = c->direction == URINGVFS__BACKWARD ? -1 : 1;
  for (int k = c->next; v->count < v->most && k >= 0 && k < (int)c->count; k += step)
    v->value[v->count++] = c->rowids[k];
}

static void add_value(values *v, const uringvfs__cells *cells, unsigned i, uint8_t number) {
  uringvfs__integers found;
  uringvfs__page_integers(cells, i, &found);
  for (unsigned k = 0; k < found.count; k++)
    if (found.column[k] == number && v->count < v->most) v->value[v->count++] = found.value[k];
}

/* Of a leaf that waits in the buffer. */
static void add_leaf(uringvfs__readahead *ra, values *v, const row_column *c, uint32_t pgno, const uint8_t *page) {
  uringvfs__cells cells;
  if (!uringvfs__page_cells(page, pgno, &ra->database->format, &cells)) return;
  for (unsigned i = 0; i < cells.count && v->count < v->most; i++)
    add_value(v, &cells, c->direction == URINGVFS__BACKWARD ? cells.count - 1 - i : i, c->number);
}

/* What is on a leaf that was read ahead. One that the kernel was asked for is read. */
static const uint8_t *content_of(uringvfs__readahead *ra, const row_lookup *l, uint32_t pgno) {
  const uringvfs__source source = uringvfs__source_of(ra, pgno);
  const int slot = uringvfs__buffer_find(&ra->buffer, source.wal, source.offset);
  if (slot < 0 || l->copy == NULL) return NULL;
  const uint8_t *page = uringvfs__buffer_content(&ra->buffer, slot);
  if (page != NULL) return page;
  return uringvfs__fetch_hint(ra, pgno, l->copy) ? l->copy : NULL;
}

/* Collects the values of the leaves that come after this one and are here. Others are added to the batch, if there is
** one, and count for the values that they should have. */
static void look_beyond(uringvfs__readahead *ra, const row_lookup *l, const row_column *c, values *v,
                        uringvfs__batch *b) {
  const int step = c->direction == URINGVFS__BACKWARD ? -1 : 1;
  uringvfs__place place = l->place;
  bool here = true;
  for (unsigned n = 0, expected = v->count; n < LEAVES_MOST && expected < v->most && place.node != 0; n++) {
    uint32_t interior, next = uringvfs__tree_step(&ra->map, &place, step, &interior);
    const uint8_t *page = next != 0 ? content_of(ra, l, next) : NULL;
    here = here && page != NULL;
    if (here) add_leaf(ra, v, c, next, page);
    if (next == 0) next = interior; /* what comes behind it is not known before it is read */
    if (next == 0 || (!here && b == NULL)) return;
    if (page == NULL) (void)uringvfs__batch_add(ra, b, next);
    if (next == interior) return;
    expected = here ? v->count : expected + c->count;
  }
}

static void predict(uringvfs__readahead *ra, uringvfs__self *self, const uringvfs__stream *s, uint32_t pgno,
                    uringvfs__batch *b) {
  const rows *state = self->state;
  const unsigned i = (unsigned)(s - self->streams), rows_most = b->most - b->count;
  const row_lookup *l = &state->lookups[i / COLUMNS];
  const row_column *c = &l->columns[i % COLUMNS];
  /* Where it has gone on for long, the next leaf is wanted before its rows are. */
  values v = {.most = s->run < 2 * rows_most ? rows_most : 2 * rows_most};
  add_own(&v, c);
  look_beyond(ra, l, c, &v, b);
  const unsigned count = v.count < rows_most ? v.count : rows_most;
  uringvfs__rows_load(ra, c->root, v.value, count);
  for (unsigned k = 0; k < count && b->count < b->most; k++) {
    uint32_t interior;
    const uint32_t leaf = uringvfs__tree_leaf(&ra->map, c->root, v.value[k], &interior);
    if (leaf != 0 && leaf != pgno) (void)uringvfs__batch_add(ra, b, leaf);
  }
}

/* ---- for predictors of what such a leaf leads to ---- */

bool uringvfs__rows_named(uringvfs__readahead *ra, uint32_t pgno, uringvfs__named_row *row) {
  const rows *state = uringvfs__self_of(ra, &uringvfs__rows)->state;
  if (state->named == NULL || state->page != pgno) return false;
  *row = (uringvfs__named_row){.leaf = pgno, .value = state->value, .stream = state->stream};
  return true;
}

unsigned uringvfs__rows_ahead(uringvfs__readahead *ra, unsigned stream, uringvfs__named_row *rows_ahead,
                              unsigned most) {
  const rows *state = uringvfs__self_of(ra, &uringvfs__rows)->state;
  const row_lookup *l = &state->lookups[stream / COLUMNS];
  const row_column *c = &l->columns[stream % COLUMNS];
  values v = {.most = most < VALUES_MOST ? most : VALUES_MOST};
  uint32_t interior;
  if (!is_found(c)) return 0;
  add_own(&v, c);
  look_beyond(ra, l, c, &v, NULL);
  for (unsigned k = 0; k < v.count; k++) {
    const uint32_t leaf = uringvfs__tree_leaf(&ra->map, c->root, v.value[k], &interior);
    rows_ahead[k] = (uringvfs__named_row){.leaf = leaf, .value = v.value[k], .stream = stream};
  }
  return v.count;
}

const uringvfs__predictor uringvfs__rows = {.state_bytes = sizeof(rows),
                                            .streams = LOOKUPS * COLUMNS,
                                            .asked = asked,
                                            .seen = seen,
                                            .predict = predict,
                                            .wants_leaves = wants_leaves,
                                            .end = end};
