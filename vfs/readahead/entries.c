/*
** entries.c - the rows of index entries that are looked up one by one.
**
** A join looks up an entry of an index for each row of the outer table, and by its rowid the row of the inner table.
** Where the entries are, rows.c says: it has their leaves read ahead. The entries on those that have come name the
** rows.
**
** Which table it is shows when a page is asked for right after such a leaf that belongs to the row of its entry.
*/
#include "rows.h"

enum { EVIDENCE = 3 /* such rows in a row: as in rows.c, two may be chance */ };

typedef struct entries {
  bool pending;            /* an entry was looked up, and its row not yet         */
  int64_t rowid;           /* of that row                                         */
  uringvfs__named_row row; /* the entry                                           */
  uint32_t root;           /* of the table                                        */
  unsigned hits;           /* rows found in a row                                 */
  unsigned others;         /* pages asked for since the entry                     */
} entries;

/* The rowid of the first entry of a leaf whose key begins with this value. */
static bool rowid_of(const uringvfs__readahead *ra, uint32_t pgno, const uint8_t *page, int64_t value, int64_t *rowid) {
  uringvfs__cells cells;
  if (uringvfs__page_kind(page, pgno) != URINGVFS__PAGE_LEAF_INDEX) return false;
  if (!uringvfs__page_cells(page, pgno, &ra->database->format, &cells)) return false;
  unsigned low = 0, high = cells.count;
  uringvfs__integers found;
  while (low < high) {
    const unsigned middle = (low + high) / 2;
    uringvfs__page_integers(&cells, middle, &found);
    if (found.count < 2 || found.column[0] != 1) return false;
    if (found.value[0] < value)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == cells.count) return false;
  uringvfs__page_integers(&cells, low, &found);
  if (found.count < 2 || found.value[0] != value || found.column[found.count - 1] != URINGVFS__COLUMN_ROWID)
    return false;
  *rowid = found.value[found.count - 1];
  return true;
}

/* Is the row on this page? While the table is not known, it may be the one that the page belongs to. */
static bool is_on(uringvfs__readahead *ra, entries *e, uint32_t pgno) {
  uint32_t interior, root = e->hits > 0 ? e->root : uringvfs__tree_root(&ra->map, pgno, true);
  if (root == 0 || uringvfs__tree_leaf(&ra->map, root, e->rowid, &interior) != pgno) return false;
  e->root = root;
  return true;
}

static uringvfs__stream *asked(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno,
                               uringvfs__stream *claimed) {
  entries *e = self->state;
  uringvfs__stream *s = self->streams;
  uringvfs__named_row row;
  if (!e->pending || uringvfs__tree_is_interior(&ra->map, pgno)) return NULL;
  if (!is_on(ra, e, pgno)) {
    if (!uringvfs__rows_named(ra, pgno, &row) || row.stream != e->row.stream) return NULL;
    e->pending = false; /* the next entry: SQLite has this one's row, or does not want it */
    return NULL;
  }
  (void)claimed;
  e->pending = false;
  e->hits++;
  if (s->run == 0)
    uringvfs__distance_begin(ra, s, e->root, 1);
  else
    s->run++;
  return e->hits >= EVIDENCE ? s : NULL;
}

static void seen(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno, const uint8_t *page,
                 uringvfs__kind kind) {
  entries *e = self->state;
  uringvfs__named_row row;
  if (kind != URINGVFS__PAGE_LEAF_INDEX || page == NULL || !uringvfs__rows_named(ra, pgno, &row)) return;
  e->row = row;
  e->pending = rowid_of(ra, pgno, page, row.value, &e->rowid);
}

/* Reads the leaves that are not in the buffer: the kernel has them, or SQLite. Most cost no more than a copy. */
static unsigned bring(uringvfs__readahead *ra, const uringvfs__named_row *rows, unsigned n, uint32_t *brought) {
  unsigned count = 0;
  for (unsigned i = 0; i < n; i++)
    if (rows[i].leaf != 0 && uringvfs__page_ahead(ra, rows[i].leaf) == NULL) brought[count++] = rows[i].leaf;
  if (count > 0) uringvfs__fetch_interiors(ra, brought, count);
  return count;
}

/* They were read for what they say, not for SQLite. */
static void let_go(uringvfs__readahead *ra, const uint32_t *brought, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    const uringvfs__source source = uringvfs__source_of(ra, brought[i]);
    const int slot = uringvfs__buffer_find(&ra->buffer, source.wal, source.offset);
    if (slot >= 0 && uringvfs__buffer_content(&ra->buffer, slot) != NULL)
      uringvfs__buffer_drop(&ra->buffer, (unsigned)slot);
  }
}

static void predict(uringvfs__readahead *ra, uringvfs__self *self, const uringvfs__stream *s, uint32_t pgno,
                    uringvfs__batch *b) {
  const entries *e = self->state;
  uringvfs__named_row rows[URINGVFS__READAHEAD_MAX];
  uint32_t brought[URINGVFS__READAHEAD_MAX];
  int64_t rowids[URINGVFS__READAHEAD_MAX];
  const unsigned n = uringvfs__rows_ahead(ra, e->row.stream, rows, b->most - b->count);
  const unsigned extra = bring(ra, rows, n, brought);
  unsigned count = 0;
  (void)s;
  for (unsigned i = 0; i < n; i++) {
    const uint8_t *page = rows[i].leaf != 0 ? uringvfs__page_ahead(ra, rows[i].leaf) : NULL;
    count += page != NULL && rowid_of(ra, rows[i].leaf, page, rows[i].value, &rowids[count]);
  }
  let_go(ra, brought, extra);
  uringvfs__rows_load(ra, e->root, rowids, count);
  for (unsigned i = 0; i < count; i++) {
    uint32_t interior;
    const uint32_t leaf = uringvfs__tree_leaf(&ra->map, e->root, rowids[i], &interior);
    if (leaf != 0 && leaf != pgno) (void)uringvfs__batch_add(ra, b, leaf);
  }
}

static void end(uringvfs__readahead *ra, uringvfs__self *self) {
  (void)ra;
  *(entries *)self->state = (entries){0};
}

const uringvfs__predictor uringvfs__entries = {
    .state_bytes = sizeof(entries), .streams = 1, .asked = asked, .seen = seen, .predict = predict, .end = end};
