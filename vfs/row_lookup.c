/*
** row_lookup.c - the rows that the entries of an index lead to.
**
** SQLite goes through a leaf of an index and looks up a row of the table for each entry, wherever that row is. The entries end with the rowids,
** and the table's interior pages say which leaf holds which row. So when a few pages that SQLite asks for turn out to be the leaves of
** entries of the index leaf it has read last, in their order, the leaves of the entries that follow are read ahead.
**
** To take an index leaf apart and to find the table it belongs to costs as much as many cached reads. It is done when several other
** pages have come from the device since, and later each time it was in vain.
*/
#include "readahead.h"

#include <stdlib.h>

enum {
  FOLLOWERS = 3,        /* pages asked for after an index leaf before it is taken apart,    */
  FOLLOWERS_MOST = 192, /* or after it was taken apart in vain several times            */
  EVIDENCE = 3,         /* rows found in order that begin a read-ahead                      */
  LARGEST_GAP = 64,     /* entries in between whose rows SQLite has in its cache            */
  TABLES = 4,           /* that are tried                                                */
  MOST_MISSES = 4       /* pages that belong to no entry before the leaf is given up        */
};

/* Which table it was is worth remembering. */
void uringvfs__rows_end(uringvfs_row_lookup *rows) {
  free(rows->rowids);
  *rows = (uringvfs_row_lookup){.root = rows->root};
}

static void take_apart(uringvfs_file *database, uringvfs_row_lookup *rows, const uint8_t *page) {
  uringvfs_cells cells;
  rows->known = true;
  rows->count = 0;
  if (!uringvfs__page_cells(page, rows->leaf, &database->format, &cells) || cells.count == 0) return;
  int64_t *rowids = realloc(rows->rowids, cells.count * sizeof *rowids);
  if (rowids == NULL) return;
  rows->rowids = rowids;
  for (unsigned i = 0; i < cells.count; i++)
    if (!uringvfs__page_rowid(&cells, i, &rowids[i])) return;
  rows->count = cells.count;
  rows->next = rows->direction == URINGVFS_BACKWARD ? (int)rows->count - 1 : 0;
}

void uringvfs__rows_index_leaf(uringvfs_file *database, uint32_t pgno, const uint8_t *page) {
  uringvfs_row_lookup *rows = &database->readahead->rows;
  rows->leaf = pgno;
  rows->followers = rows->misses = 0;
  rows->known = false;
  if (rows->hits >= EVIDENCE && !database->readahead->streams[URINGVFS_STREAM_ROWS].cached)
    take_apart(database, rows, page);
}

/* Reads the interior pages that say where the rows are; SQLite has them in its cache, but the map may not. */
static void load_interiors(uringvfs_file *database, uint32_t root) {
  uringvfs_readahead *ra = database->readahead;
  uint32_t wanted[URINGVFS_READAHEAD_MAX];
  for (int level = 0; level < 4; level++) {
    unsigned n = 0;
    for (unsigned i = 0; i < ra->rows.count && n < URINGVFS_READAHEAD_MAX; i++) {
      uint32_t interior;
      (void)uringvfs__tree_leaf(&ra->map, root, ra->rows.rowids[i], &interior);
      if (interior != 0 && (n == 0 || wanted[n - 1] != interior)) wanted[n++] = interior;
    }
    if (n == 0) return;
    uringvfs__read_interiors(database, wanted, n);
  }
}

/* The index leaf is SQLite's by now: it has to be read again. */
static void read_leaf(uringvfs_file *database, uringvfs_row_lookup *rows) {
  uint8_t *page = malloc(database->format.page_size);
  rows->known = true;
  rows->count = rows->hits = 0;
  rows->direction = URINGVFS_NOWHERE;
  rows->doubt = rows->doubt * 2 + FOLLOWERS < FOLLOWERS_MOST ? rows->doubt * 2 + FOLLOWERS : FOLLOWERS_MOST;
  database->readahead->nodes_in_vain = 0; /* the table's interior pages are wanted now */
  if (page != NULL && uringvfs__read_hint(database, rows->leaf, page)) take_apart(database, rows, page);
  free(page);
}

static bool leads_to(uringvfs_readahead *ra, int entry, uint32_t pgno) {
  uint32_t interior;
  return uringvfs__tree_leaf(&ra->map, ra->rows.root, ra->rows.rowids[entry], &interior) == pgno;
}

/* An entry for this page from rows->next on, `most` of them at most; -1: there is none. */
static int find_entry(uringvfs_readahead *ra, uint32_t pgno, uringvfs_direction direction, int most) {
  int i = ra->rows.next;
  for (; most > 0 && i >= 0 && i < (int)ra->rows.count; most--, i += (int)direction)
    if (leads_to(ra, i, pgno)) return i;
  return -1;
}

/* The entry that SQLite has come to; before the first is found it may be any, and then the direction shows. */
static int locate(uringvfs_readahead *ra, uint32_t pgno) {
  uringvfs_row_lookup *rows = &ra->rows;
  if (rows->hits == 0) {
    rows->next = 0;
    return find_entry(ra, pgno, URINGVFS_FORWARD, (int)rows->count);
  }
  int entry = rows->direction == URINGVFS_BACKWARD ? -1 : find_entry(ra, pgno, URINGVFS_FORWARD, LARGEST_GAP);
  if (entry >= 0) {
    rows->direction = URINGVFS_FORWARD;
  } else if (rows->direction != URINGVFS_FORWARD) {
    if (rows->direction == URINGVFS_NOWHERE) rows->next -= 2;
    entry = find_entry(ra, pgno, URINGVFS_BACKWARD, LARGEST_GAP);
    if (entry >= 0) rows->direction = URINGVFS_BACKWARD;
  }
  return entry;
}

/* The first entry found for this page, with the table that it is found in; -1: none. */
static int find_table(uringvfs_file *database, uint32_t pgno) {
  uringvfs_readahead *ra = database->readahead;
  uringvfs_row_lookup *rows = &ra->rows;
  const uint32_t latest = rows->root;
  for (int i = -2; i < TABLES; i++) {
    rows->root = i == -2   ? uringvfs__tree_root(&ra->map, pgno, rows->misses == 0)
                 : i == -1 ? latest
                           : uringvfs__tree_other_root(&ra->map, (unsigned)i);
    if (rows->root == 0 && i >= 0) break;
    if (rows->root == 0) continue;
    if (rows->misses == 0) load_interiors(database, rows->root);
    const int entry = locate(ra, pgno);
    if (entry >= 0) return entry;
  }
  rows->root = latest;
  return -1;
}

uringvfs_stream *uringvfs__rows_of(uringvfs_file *database, uint32_t pgno) {
  uringvfs_readahead *ra = database->readahead;
  uringvfs_row_lookup *rows = &ra->rows;
  uringvfs_stream *s = &ra->streams[URINGVFS_STREAM_ROWS];
  if (rows->leaf == 0 || rows->leaf == pgno) return NULL;
  if (s->cached && rows->hits >= EVIDENCE) return s; /* until a read takes long, nothing is to be foreseen */
  if (!rows->known) {
    if (rows->followers < FOLLOWERS + rows->doubt) return NULL;
    read_leaf(database, rows);
  }
  if (rows->count == 0) return NULL;
  const int entry = rows->hits == 0 ? find_table(database, pgno) : locate(ra, pgno);
  if (entry < 0) {
    if (++rows->misses >= MOST_MISSES) rows->count = rows->hits = 0;
    return NULL;
  }
  rows->hits++;
  rows->misses = 0;
  rows->next = entry + (rows->direction == URINGVFS_BACKWARD ? -1 : 1);
  if (s->depth == 0) s->depth = URINGVFS_FIRST_DEPTH;
  if (rows->hits < EVIDENCE + ra->caution) return NULL;
  rows->doubt = 0;
  return s;
}

void uringvfs__rows_predict(uringvfs_file *database, uint32_t pgno, uringvfs_batch *b) {
  uringvfs_readahead *ra = database->readahead;
  const uringvfs_row_lookup *rows = &ra->rows;
  /* Nobody knows where the range ends: what is behind it may be half of what was found before, no more. */
  const unsigned known = rows->hits / 2 + URINGVFS_FIRST_DEPTH, wanted = ra->streams[URINGVFS_STREAM_ROWS].depth;
  const unsigned depth = wanted < known ? wanted : known;
  for (int i = rows->next; b->count <= depth && i >= 0 && i < (int)rows->count;
       i += rows->direction == URINGVFS_BACKWARD ? -1 : 1) {
    uint32_t interior, leaf = uringvfs__tree_leaf(&ra->map, rows->root, rows->rowids[i], &interior);
    if (leaf == 0) leaf = interior; /* read it now, and its leaves the next time */
    if (leaf == 0 || leaf == pgno) continue;
    uringvfs_source source = uringvfs__source_of(database, leaf);
    source.stream = URINGVFS_STREAM_ROWS;
    (void)uringvfs__batch_add(database, b, source);
  }
}
