/*
** row_lookup.c - the rows that the records of a leaf lead to.
**
** SQLite goes through a leaf and looks up a row of another table for each of its records, wherever that row is. The
** entries of an index end with the row's rowid; in a join it is some integer column of the outer table, or of an index
** that is read in its place. Nobody says which column, but the inner table's interior pages say which leaf holds which
** row; those of an index whose keys begin with an integer say it of its entries. So when a few pages that SQLite asks
** for turn out to be the leaves of one column's values, in the order of the records, the leaves of the values that
** follow are read ahead. Several tables may be joined: each column that leads to one has a stream of its own.
**
** To take a leaf apart and to find the tables it leads to costs as much as many cached reads. It is done when several
** other pages have come from the device since, and later each time it was in vain. Once a column is found, the next
** leaf is taken apart as it passes by.
**
** Of an index, the leaf seen last is the one whose records count. What is looked up are leaves of tables, too, so of
** these the first one counts, until its neighbour is asked for, or its records are used up, or nothing came of it.
*/
#include "readahead.h"

#include <stdlib.h>
#include <string.h>

enum {
  FOLLOWERS = 3,           /* pages asked for after a leaf before it is taken apart,           */
  FOLLOWERS_MOST = 192,    /* or after it was taken apart in vain several times            */
  EVIDENCE = 3,            /* rows found in order that begin a read-ahead                      */
  NEAR_GAP = 4,            /* records in between whose rows SQLite has in its cache, or ...    */
  LARGEST_GAP = 64,        /* ... where no other column explains the page                      */
  TREES = 8,               /* that are tried                                                */
  MOST_MISSES = 8,         /* leaves that belong to no record before a column is given up      */
  MOST_HITS = 1024,        /* where counting goes on with half of them: what is older counts less */
  MOST_SEARCHES = 1 << 17, /* for the leaf of a row, before nothing is found in this leaf */
  NO_COLUMN = UINT8_MAX
};

/* ---- columns ---- */

static uringvfs_stream *stream_of(uringvfs_readahead *ra, const uringvfs_row_lookup *l, const uringvfs_row_column *c) {
  return &ra->streams[URINGVFS_STREAM_ROWS + (l - ra->rows) * URINGVFS_ROW_COLUMNS + (c - l->columns)];
}

/*
** Does this column lead to the rows that are looked up? A row that was passed by is in SQLite's cache, or not wanted:
** to read it ahead would have been in vain. Only what is certain to be a rowid is followed all the same.
*/
static bool is_found(const uringvfs_row_column *c) {
  return c->hits >= EVIDENCE && (c->certain || c->passed <= c->hits);
}

bool uringvfs__rows_are_followed(const uringvfs_row_lookup *l) {
  for (unsigned i = 0; i < l->columns_used; i++)
    if (is_found(&l->columns[i])) return true;
  return false;
}

/* The column of this number; while they are looked for, it may be a new one. NULL: it is of no interest. */
static uringvfs_row_column *column_of(uringvfs_row_lookup *l, uint8_t number, bool looking) {
  for (unsigned i = 0; i < l->columns_used; i++)
    if (l->columns[i].number == number) return &l->columns[i];
  if (!looking || l->columns_used == URINGVFS_ROW_COLUMNS) return NULL;
  uringvfs_row_column *c = &l->columns[l->columns_used++];
  *c = (uringvfs_row_column){.number = number};
  return c;
}

static void take_apart(uringvfs_file *database, uringvfs_row_lookup *l, const uint8_t *page, bool looking) {
  uringvfs_cells cells;
  l->known = true;
  for (unsigned i = 0; i < l->columns_used; i++) l->columns[i].count = 0;
  if (!uringvfs__page_cells(page, l->leaf, &database->format, &cells) || cells.count == 0) return;
  int64_t *memory = realloc(l->memory, sizeof *memory * cells.count * URINGVFS_ROW_COLUMNS);
  if (memory == NULL) return;
  l->memory = memory;
  for (unsigned i = 0; i < cells.count; i++) {
    uringvfs_integers found;
    uringvfs__page_integers(&cells, i, &found);
    for (unsigned k = 0; k < found.count; k++) {
      uringvfs_row_column *c = column_of(l, found.column[k], looking);
      if (c == NULL) continue;
      c->rowids = memory + (size_t)(c - l->columns) * cells.count;
      if (c->count < cells.count) c->rowids[c->count++] = found.value[k];
    }
  }
  for (unsigned i = 0; i < l->columns_used; i++) {
    uringvfs_row_column *c = &l->columns[i];
    c->next = c->direction == URINGVFS_BACKWARD ? (int)c->count - 1 : 0;
    c->misses = 0;
    c->certain = !cells.table && c->number == URINGVFS_COLUMN_ROWID;
  }
}

/* In its next leaf, goes on with the columns that have led to so many rows. */
static void go_on(uringvfs_file *database, uringvfs_row_lookup *l, const uint8_t *page, unsigned hits) {
  bool any = false;
  for (unsigned i = 0; i < l->columns_used; i++) {
    uringvfs_row_column *c = &l->columns[i];
    if (c->hits < hits || (!c->certain && c->passed > c->hits)) *c = (uringvfs_row_column){.number = NO_COLUMN};
    any |= c->number != NO_COLUMN && !stream_of(database->readahead, l, c)->cached;
  }
  if (any) take_apart(database, l, page, false);
}

/* The leaf is SQLite's by now: it has to be read again. */
static void look_for_columns(uringvfs_file *database, uringvfs_row_lookup *l) {
  uringvfs_readahead *ra = database->readahead;
  uint8_t *page = malloc(database->format.page_size);
  memset(stream_of(ra, l, l->columns), 0, URINGVFS_ROW_COLUMNS * sizeof(uringvfs_stream));
  l->known = true;
  l->columns_used = l->searches = 0;
  l->doubt = l->doubt * 2 + FOLLOWERS < FOLLOWERS_MOST ? l->doubt * 2 + FOLLOWERS : FOLLOWERS_MOST;
  ra->nodes_in_vain = 0; /* the table's interior pages are wanted now */
  if (l == &ra->rows[URINGVFS_ROWS_OF_TABLE] && l->place.node == 0)
    (void)uringvfs__tree_find(&ra->map, l->leaf, &l->place, true);
  if (page != NULL && uringvfs__read_hint(database, l->leaf, page)) take_apart(database, l, page, true);
  free(page);
}

/* ---- which leaf ---- */

/* Nothing more is to be learned from its leaf. */
static bool is_given_up(const uringvfs_row_lookup *l) {
  if (!l->known) return l->leaf == 0;
  for (unsigned i = 0; i < l->columns_used; i++)
    if (l->columns[i].count > 0) return false;
  return true;
}

/* Have the last of its records been looked up? Where its neighbours are not known, the next leaf is recognised by
** that. */
static bool is_used_up(const uringvfs_row_lookup *l) {
  if (!l->known || l->place.node != 0) return false;
  for (unsigned i = 0; i < l->columns_used; i++) {
    const uringvfs_row_column *c = &l->columns[i];
    const int left = c->direction == URINGVFS_BACKWARD ? c->next + 1 : (int)c->count - c->next;
    if (is_found(c) && left <= NEAR_GAP) return true;
  }
  return false;
}

/* Is this the next leaf of the same table? Then *place goes there. */
static bool is_neighbour(uringvfs_tree_map *map, uringvfs_place *place, uint32_t pgno) {
  for (int direction = -1; direction <= 1; direction += 2) {
    uint32_t interior;
    uringvfs_place to = *place;
    if (uringvfs__tree_step(map, &to, direction, &interior) != pgno) continue;
    *place = to;
    return true;
  }
  return false;
}

static void leaf_of_index(uringvfs_file *database, uint32_t pgno, const uint8_t *page) {
  uringvfs_row_lookup *l = &database->readahead->rows[URINGVFS_ROWS_OF_INDEX];
  l->leaf = pgno;
  l->followers = 0;
  l->known = false;
  go_on(database, l, page, EVIDENCE);
}

/* Of a table whose rows are wide, a leaf alone has too few of them: what was found in its neighbour counts. */
static void leaf_of_table(uringvfs_file *database, uint32_t pgno, const uint8_t *page, bool was_asked) {
  uringvfs_tree_map *map = &database->readahead->map;
  uringvfs_row_lookup *l = &database->readahead->rows[URINGVFS_ROWS_OF_TABLE];
  if (!is_neighbour(map, &l->place, pgno)) {
    if (!is_given_up(l) && !(was_asked && is_used_up(l))) return;
    l->followers = 0;
    (void)uringvfs__tree_find(map, pgno, &l->place, false);
  }
  l->leaf = pgno;
  l->known = false;
  go_on(database, l, page, 1);
}

/* A leaf that belongs to no record. A few are nothing unusual: other indexes and tables may be looked up in besides. */
static void missed(uringvfs_row_lookup *l) {
  for (unsigned i = 0; i < l->columns_used; i++) {
    uringvfs_row_column *c = &l->columns[i];
    if (c->count == 0 || ++c->misses < MOST_MISSES) continue;
    if (c->hits == 0) c->count = 0;
    c->hits = c->passed = c->misses = 0; /* the next one may belong to any record again */
    c->direction = URINGVFS_NOWHERE;
  }
}

void uringvfs__rows_leaf(uringvfs_file *database, uint32_t pgno, const uint8_t *page, bool table) {
  uringvfs_readahead *ra = database->readahead;
  const bool was_asked = ra->row_page == pgno;
  if (was_asked) {
    /* A leaf of an index that a join looked up may lead to the rows of its entries. */
    if (ra->row_named != NULL && (table || ra->row_named == &ra->rows[URINGVFS_ROWS_OF_INDEX])) return;
    for (int i = 0; i < URINGVFS_ROW_LOOKUPS && ra->row_named == NULL; i++)
      if (ra->rows[i].known) missed(&ra->rows[i]);
  }
  if (table)
    leaf_of_table(database, pgno, page, was_asked);
  else
    leaf_of_index(database, pgno, page);
}

/* Which table it was is worth remembering. */
void uringvfs__rows_end(uringvfs_row_lookup *l) {
  if (l->memory != NULL) {
    free(l->memory);
    *l = (uringvfs_row_lookup){.root = l->root};
  }
  l->leaf = l->followers = l->doubt = 0;
  l->place = (uringvfs_place){0, 0};
  l->known = false;
}

/* ---- which record ---- */

/* All rows of a column are about to be searched for. A page of many records, or one made for it, must not keep SQLite
** waiting. */
static bool may_search(uringvfs_row_lookup *l, const uringvfs_row_column *c) {
  l->searches += c->count;
  return l->searches <= MOST_SEARCHES;
}

/* Reads the interior pages that say where the rows are; SQLite has them in its cache, but the map may not. */
static void load_interiors(uringvfs_file *database, uringvfs_row_lookup *l, uint32_t root) {
  uringvfs_readahead *ra = database->readahead;
  uint32_t wanted[URINGVFS_READAHEAD_MAX];
  for (int level = 0; level < 4; level++) {
    unsigned n = 0;
    for (unsigned k = 0; k < l->columns_used; k++) {
      const uringvfs_row_column *c = &l->columns[k];
      if (!may_search(l, c)) return;
      for (unsigned i = 0; i < c->count && n < URINGVFS_READAHEAD_MAX; i++) {
        uint32_t interior;
        (void)uringvfs__tree_leaf(&ra->map, root, c->rowids[i], &interior);
        if (interior != 0 && (n == 0 || wanted[n - 1] != interior)) wanted[n++] = interior;
      }
    }
    if (n == 0) return;
    uringvfs__read_interiors(database, wanted, n);
  }
}

/* A record that was found. */
typedef struct finding {
  int record;      /* -1: none                                      */
  unsigned passed; /* pages that the records in between would be on */
} finding;

/* The record for this page from number i on, `most` of them at most. */
static finding find(uringvfs_tree_map *map, const uringvfs_row_column *c, uint32_t pgno, int i,
                    uringvfs_direction direction, int most) {
  unsigned passed = 0;
  for (uint32_t leaf, last = c->page; most > 0 && i >= 0 && i < (int)c->count; most--, i += (int)direction) {
    uint32_t interior;
    leaf = uringvfs__tree_leaf(map, c->root, c->rowids[i], &interior);
    if (leaf == pgno) return (finding){i, passed};
    if (leaf != last) passed++;
    last = leaf;
  }
  return (finding){.record = -1};
}

static void move(uringvfs_row_column *c, finding f, uint32_t pgno) {
  c->page = pgno;
  c->next = f.record + (c->direction == URINGVFS_BACKWARD ? -1 : 1);
  c->passed += f.passed;
  c->misses = 0;
  if (++c->hits < MOST_HITS) return;
  c->hits /= 2;
  c->passed /= 2;
}

/* Moves the column to the record that SQLite has come to. The second one shows the direction. False: there is none. */
static bool locate(uringvfs_tree_map *map, uringvfs_row_column *c, uint32_t pgno, int most) {
  finding f = {.record = -1};
  uringvfs_direction direction = URINGVFS_FORWARD;
  if (c->direction != URINGVFS_BACKWARD) f = find(map, c, pgno, c->next, direction, most);
  if (f.record < 0 && c->direction != URINGVFS_FORWARD) {
    direction = URINGVFS_BACKWARD;
    f = find(map, c, pgno, c->direction == URINGVFS_NOWHERE ? c->next - 2 : c->next, direction, most);
  }
  if (f.record < 0) return false;
  c->direction = direction;
  move(c, f, pgno);
  return true;
}

/* Moves the columns that have led nowhere yet to the first record for this page, if it belongs to the table of this
** root. NULL: none led here. */
static uringvfs_row_column *begin(uringvfs_file *database, uringvfs_row_lookup *l, uint32_t pgno, uint32_t root) {
  uringvfs_row_column *found = NULL;
  for (unsigned i = 0; i < l->columns_used; i++) {
    uringvfs_row_column *c = &l->columns[i];
    if (c->count == 0 || c->hits > 0) continue;
    if (!may_search(l, c)) {
      c->count = 0;
      continue;
    }
    c->root = root;
    finding f = find(&database->readahead->map, c, pgno, 0, URINGVFS_FORWARD, (int)c->count);
    if (f.record < 0) continue;
    f.passed = 0;
    move(c, f, pgno);
    found = c;
  }
  return found;
}

static uringvfs_row_column *begin_anywhere(uringvfs_file *database, uringvfs_row_lookup *l, uint32_t pgno) {
  uringvfs_tree_map *map = &database->readahead->map;
  const bool first = l->searches == 0;
  const uint32_t latest = l->root;
  for (int i = -2; i < TREES; i++) {
    const uint32_t root = i == -2   ? uringvfs__tree_root(map, pgno, first)
                          : i == -1 ? latest
                                    : uringvfs__tree_other_root(map, (unsigned)i);
    if (root == 0 && i >= 0) break;
    if (root == 0) continue;
    if (first) load_interiors(database, l, root);
    uringvfs_row_column *c = begin(database, l, pgno, root);
    if (c == NULL) continue;
    l->root = root;
    return c;
  }
  return NULL;
}

/* Moves a column that leads to rows. NULL: none leads to this one. */
static uringvfs_row_column *follow(uringvfs_tree_map *map, uringvfs_row_lookup *l, uint32_t pgno, int most) {
  for (unsigned i = 0; i < l->columns_used; i++)
    if (is_found(&l->columns[i]) && locate(map, &l->columns[i], pgno, most)) return &l->columns[i];
  return NULL;
}

/* Moves the columns of which it is not known yet. Returns one that led here, if possible one of which it is known
** now. */
static uringvfs_row_column *try_others(uringvfs_file *database, uringvfs_row_lookup *l, uint32_t pgno) {
  uringvfs_tree_map *map = &database->readahead->map;
  uringvfs_row_column *found = NULL;
  bool fresh = false;
  for (unsigned i = 0; i < l->columns_used; i++) {
    uringvfs_row_column *c = &l->columns[i];
    if (c->count == 0 || is_found(c)) continue;
    if (c->hits == 0)
      fresh = true;
    else if (locate(map, c, pgno, LARGEST_GAP) && (found == NULL || is_found(c)))
      found = c;
  }
  if (!fresh) return found;
  uringvfs_row_column *begun = begin_anywhere(database, l, pgno);
  return found != NULL ? found : begun;
}

/* The kernel has all rows in its cache: until a read takes long, nothing is to be foreseen. */
static uringvfs_stream *cached_stream(uringvfs_readahead *ra) {
  uringvfs_stream *cached = NULL;
  for (const uringvfs_row_lookup *l = ra->rows; l < ra->rows + URINGVFS_ROW_LOOKUPS; l++) {
    for (const uringvfs_row_column *c = l->columns; c < l->columns + l->columns_used; c++) {
      if (!is_found(c)) continue;
      cached = stream_of(ra, l, c);
      if (!cached->cached) return NULL;
    }
  }
  return cached;
}

static uringvfs_stream *rows_of(uringvfs_file *database, uringvfs_row_lookup *l, uint32_t pgno) {
  uringvfs_readahead *ra = database->readahead;
  if (l->leaf == 0 || l->leaf == pgno) return NULL;
  if (!l->known && l->followers < FOLLOWERS + l->doubt) return NULL;
  if (uringvfs__tree_is_interior(&ra->map, pgno)) return NULL;
  if (!l->known) look_for_columns(database, l);
  uringvfs_row_column *c = follow(&ra->map, l, pgno, NEAR_GAP);
  if (c == NULL) c = follow(&ra->map, l, pgno, LARGEST_GAP);
  if (c == NULL) c = try_others(database, l, pgno);
  if (c == NULL) return NULL;
  ra->row_named = l;
  uringvfs_stream *s = stream_of(ra, l, c);
  if (s->depth == 0) s->depth = URINGVFS_FIRST_DEPTH;
  if (!is_found(c) || c->hits < EVIDENCE + ra->caution) return NULL;
  l->doubt = 0;
  return s;
}

uringvfs_stream *uringvfs__rows_of(uringvfs_file *database, uint32_t pgno) {
  uringvfs_readahead *ra = database->readahead;
  uringvfs_row_lookup *index = &ra->rows[URINGVFS_ROWS_OF_INDEX], *table = &ra->rows[URINGVFS_ROWS_OF_TABLE];
  ra->row_page = 0;
  uringvfs_stream *s = cached_stream(ra);
  if (s != NULL) return s;
  ra->row_page = pgno;
  ra->row_named = NULL;
  const bool table_first = uringvfs__rows_are_followed(table);
  s = rows_of(database, table_first ? table : index, pgno);
  return ra->row_named != NULL ? s : rows_of(database, table_first ? index : table, pgno);
}

void uringvfs__rows_predict(uringvfs_file *database, const uringvfs_stream *s, uint32_t pgno, uringvfs_batch *b) {
  uringvfs_readahead *ra = database->readahead;
  const unsigned number = (unsigned)(s - ra->streams), i = number - URINGVFS_STREAM_ROWS;
  const uringvfs_row_column *c = &ra->rows[i / URINGVFS_ROW_COLUMNS].columns[i % URINGVFS_ROW_COLUMNS];
  /* Nobody knows where the range ends: what is behind it may be half of what was found before, no more. */
  const unsigned known = c->hits / 2 + URINGVFS_FIRST_DEPTH, depth = s->depth < known ? s->depth : known;
  for (int k = c->next; b->count <= depth && k >= 0 && k < (int)c->count;
       k += c->direction == URINGVFS_BACKWARD ? -1 : 1) {
    uint32_t interior, leaf = uringvfs__tree_leaf(&ra->map, c->root, c->rowids[k], &interior);
    if (leaf == 0) leaf = interior; /* read it now, and its leaves the next time */
    if (leaf == 0 || leaf == pgno) continue;
    uringvfs_source source = uringvfs__source_of(database, leaf);
    source.stream = (uint8_t)number;
    (void)uringvfs__batch_add(database, b, source);
  }
}
