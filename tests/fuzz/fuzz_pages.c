/*
** fuzz_pages.c - the parser of b-tree pages and the map of trees, on pages that anybody may have written.
**
** The input is a list of steps: pages of its own bytes or made by a recipe, which are taken apart and learned, and
** questions to the map. Checked after each: what the parser says of a well-formed cell is what the plain reader of
** support_pages.h says, and of any page nothing is read beyond its usable bytes (the copy it sees ends there); the map
** holds what it has learned, and its lists, its counts and its budget are right; blocks of leaves are those of a plain
** list; an answer is a page that a remembered page names, and a place never leaves its node. step_tree makes a tree
** without faults, learns a part of it in any order, and knows what each answer must be if there is one.
**
** These functions are internal to vfs/: there is no public way to ask the map. The static library has them for whoever
** includes the header.
*/
#include "vfs/readahead/predictor.h"

#include <stdlib.h>
#include <string.h>

#include "support_fuzz.h"
#include "support_pages.h"

/* As in tree_map.c: children in the map at most, during a transaction and afterwards. And how deep a walk goes. */
enum { CHILDREN_MOST = 131072, CHILDREN_IDLE = 2048, DEEPEST = 20 };
/* An input makes no more than so many cells, or it would take too long; those that say so may fill the map. */
enum { CELLS_MOST = 20000, CELLS_TO_FILL = 150000, MAX_STEPS = 400 };
/* Of the cells of a large page, some are looked at. */
enum { CELLS_CHECKED = 128, TREE_PAGES = 600 };

static struct world {
  fuzz_input in;
  uringvfs__format format;
  uringvfs__tree_map *map;
  unsigned cells_left; /* that may be made; a page of few, or a tree, counts for more than it has */
} w;

static uint8_t content[PAGE_BYTES_MOST]; /* of the latest page, which the next may change a little */

/* ---- the map from outside ---- */

static uringvfs__tree_node *node_with(uint32_t pgno) {
  for (unsigned i = 1; i < URINGVFS__TREE_NODES; i++)
    if (w.map->nodes[i].pgno == pgno) return &w.map->nodes[i];
  return NULL;
}

static bool has_child(const uringvfs__tree_node *n, uint32_t pgno) {
  for (uint32_t i = 0; i < n->count; i++)
    if (n->children[i] == pgno) return true;
  return false;
}

/* Every used node is in one chain, once, and no two in a chain have one number. */
static void check_chains(void) {
  bool met[URINGVFS__TREE_NODES] = {false};
  unsigned used = 0, linked = 0;
  const uringvfs__tree_node *nodes = w.map->nodes;
  for (unsigned h = 0; h < sizeof w.map->heads / sizeof *w.map->heads; h++) {
    for (unsigned i = w.map->heads[h]; i != 0; i = nodes[i].next) {
      FUZZ_CHECK(i < URINGVFS__TREE_NODES && !met[i], "node %u is in two chains, or twice in one", i);
      FUZZ_CHECK(nodes[i].pgno != 0, "node %u is in a chain and not in use", i);
      for (unsigned k = w.map->heads[h]; k != i; k = nodes[k].next)
        FUZZ_CHECK(nodes[k].pgno != nodes[i].pgno, "page %u is there twice", nodes[i].pgno);
      met[i] = true;
      linked++;
    }
  }
  for (unsigned i = 0; i < URINGVFS__TREE_NODES; i++) used += nodes[i].pgno != 0;
  FUZZ_CHECK(used == linked, "%u nodes are in use, %u in a chain", used, linked);
}

static void check_map(void) {
  uint64_t total = 0;
  check_chains();
  for (unsigned i = 0; i < URINGVFS__TREE_NODES; i++) {
    const uringvfs__tree_node *n = &w.map->nodes[i];
    FUZZ_CHECK((n->count > 0) == (n->pgno != 0) && (n->children != NULL) == (n->pgno != 0),
               "node %u: page %u, %u children", i, n->pgno, n->count);
    FUZZ_CHECK(n->level < DEEPEST, "node %u is on level %u", i, n->level);
    total += n->count;
  }
  FUZZ_CHECK(w.map->nodes[0].pgno == 0, "the first node is in use");
  FUZZ_CHECK(total == w.map->total, "%u children, counted as %u", (unsigned)total, w.map->total);
  FUZZ_CHECK(total <= CHILDREN_MOST, "%u children", (unsigned)total);
}

/* A place that tells where a page is, whatever the map holds. */
static bool find(uint32_t pgno, uringvfs__place *place) {
  if (!uringvfs__tree_find(w.map, pgno, place, false)) return false;
  FUZZ_CHECK(place->node < URINGVFS__TREE_NODES, "page %u is in node %u", pgno, place->node);
  const uringvfs__tree_node *n = &w.map->nodes[place->node];
  FUZZ_CHECK(n->pgno != 0 && place->position < n->count && n->children[place->position] == pgno,
             "page %u is not at place %u of page %u", pgno, place->position, n->pgno);
  return true;
}

/* ---- a page ---- */

static void spend(unsigned cells) { w.cells_left -= cells < w.cells_left ? cells : w.cells_left; }

/* The cell to look at after cell i. The last one is looked at, too. */
static unsigned cell_after(unsigned i, unsigned count) {
  const unsigned next = i + count / CELLS_CHECKED + 1;
  return i < count - 1 && next > count - 1 ? count - 1 : next;
}

/* The rowid among the integers of a record. */
static bool rowid_of(const uringvfs__cells *cells, unsigned i, int64_t *rowid) {
  uringvfs__integers found;
  bool is_there = false;
  uringvfs__page_integers(cells, i, &found);
  FUZZ_CHECK(found.count <= URINGVFS__INTEGERS_MOST, "record %u: %u integers", i, found.count);
  for (unsigned k = 0; k < found.count; k++) {
    FUZZ_CHECK(found.column[k] <= PLAIN_COLUMNS_MOST, "record %u: column %u", i, found.column[k]);
    if (found.column[k] != URINGVFS__COLUMN_ROWID) continue;
    FUZZ_CHECK(!is_there, "record %u has two rowids", i);
    is_there = true;
    *rowid = found.value[k];
  }
  return is_there;
}

static void check_chains_of(const uringvfs__cells *cells) {
  uringvfs__chain chains[URINGVFS__LEAF_CHAINS];
  const unsigned n = uringvfs__page_chains(cells, chains);
  FUZZ_CHECK(n <= URINGVFS__LEAF_CHAINS, "%u chains", n);
  for (unsigned i = 0; i < n; i++)
    FUZZ_CHECK(chains[i].pages > 0 && chains[i].pages <= INT32_MAX / (cells->usable - 4) + 1, "a chain of %u pages",
               chains[i].pages);
}

static void check_leaf_records(const uringvfs__cells *cells, const plain_page *plain) {
  for (unsigned i = 0; i < cells->count; i = cell_after(i, cells->count)) {
    int64_t rowid = 0, expected = 0;
    const bool found = rowid_of(cells, i, &rowid);
    if (plain->interior || plain->table) continue; /* asked in vain, but it may be */
    const plain_answer answer = plain_last_column(plain, i, &expected);
    if (answer == PLAIN_DAMAGED) continue;
    FUZZ_CHECK(found == (answer == PLAIN_INTEGER), "record %u: a rowid is %sfound", i, found ? "" : "not ");
    FUZZ_CHECK(!found || rowid == expected, "record %u: rowid %lld instead of %lld", i, (sqlite3_int64)rowid,
               (sqlite3_int64)expected);
  }
}

static void check_children(const uringvfs__cells *cells, const plain_page *plain) {
  for (unsigned i = 0; i <= cells->count; i = cell_after(i, cells->count + 1)) {
    const uint32_t child = uringvfs__page_child(cells, i), expected = plain_child(plain, i);
    FUZZ_CHECK(child == expected, "child %u is %u instead of %u", i, child, expected);
    if (i == cells->count) break;
    int64_t key = uringvfs__page_key(cells, i), right;
    FUZZ_CHECK(!plain->table || !plain->interior || !plain_key(plain, i, &right) || key == right,
               "key %u is %lld instead of %lld", i, (sqlite3_int64)key, (sqlite3_int64)right);
  }
}

static bool is_remembered(const uringvfs__tree_node *n, const uringvfs__cells *cells, const plain_page *plain) {
  return n != NULL && n->count == cells->count + 1 && n->children[0] == plain_child(plain, 0) &&
         n->children[n->count - 1] == plain_child(plain, plain->count);
}

static void check_learned(uint32_t pgno, const uringvfs__cells *cells, const plain_page *plain) {
  const uringvfs__tree_node *n = node_with(pgno);
  FUZZ_CHECK(n != NULL && n->count == cells->count + 1, "page %u is not remembered", pgno);
  FUZZ_CHECK(n->keys != NULL || !plain->table, "page %u of a table has no keys", pgno);
  for (unsigned i = 1; !plain->table && n->keys != NULL && i + 1 < n->count; i++)
    FUZZ_CHECK(n->keys[i - 1] <= n->keys[i], "page %u of an index: key %u descends", pgno, i);
  for (unsigned i = 0; i < n->count; i = cell_after(i, n->count)) {
    int64_t key;
    FUZZ_CHECK(n->children[i] == plain_child(plain, i), "page %u: child %u", pgno, i);
    if (i == cells->count || !plain->table || !plain_key(plain, i, &key)) continue;
    FUZZ_CHECK(n->keys[i] == key, "page %u: key %u", pgno, i);
  }
}

/* Whatever had its place before the page passed by. */
static void check_found(uint32_t pgno, unsigned last) {
  const uringvfs__tree_node *n = node_with(pgno);
  uringvfs__place place;
  FUZZ_CHECK(find(n->children[last], &place) && &w.map->nodes[place.node] == n && place.position == last,
             "the last child of page %u is not found", pgno);
}

static void learn(uint32_t pgno, const uringvfs__cells *cells, const plain_page *plain) {
  const uint32_t before = w.map->learned;
  const bool known = is_remembered(node_with(pgno), cells, plain);
  const bool learned = uringvfs__tree_learn(w.map, pgno, cells);
  fuzz_trace("    page %u with %u cells: %s", pgno, cells->count, learned ? "learned" : "known");
  FUZZ_CHECK(learned != known, "page %u: remembered %d, learned %d", pgno, known, learned);
  FUZZ_CHECK(w.map->learned == before + learned, "%u pages learned after %u", w.map->learned, before);
  if (learned) check_learned(pgno, cells, plain);
  check_found(pgno, cells->count);
  if (w.map->learned % 16 == 0) check_map(); /* and after each step */
}

/* Takes the page in `content` apart, and learns it if it is an interior page or `always`. */
static void feed(uint32_t pgno, bool always) {
  uringvfs__cells cells;
  plain_page plain;
  uint8_t *page = malloc(w.format.usable); /* nothing behind it is the parser's business */
  FUZZ_CHECK(page != NULL, "out of memory");
  memcpy(page, content, w.format.usable);
  const uringvfs__kind kind = uringvfs__page_kind(page, pgno);
  const bool whole = uringvfs__page_cells(page, pgno, &w.format, &cells);
  FUZZ_CHECK(whole == plain_read(page, pgno, w.format.usable, &plain), "page %u: %staken apart", pgno,
             whole ? "" : "not ");
  if (whole) {
    spend(cells.count);
    FUZZ_CHECK(cells.count == plain.count && cells.table == plain.table, "page %u: %u cells, not %u", pgno, cells.count,
               plain.count);
    FUZZ_CHECK((kind == URINGVFS__PAGE_INTERIOR) == plain.interior, "page %u is of kind %d", pgno, (int)kind);
    check_children(&cells, &plain);
    check_leaf_records(&cells, &plain);
    if (!plain.interior) check_chains_of(&cells);
    if (always || plain.interior) learn(pgno, &cells, &plain);
  }
  if (kind == URINGVFS__PAGE_LEAF_TABLE || kind == URINGVFS__PAGE_LEAF_INDEX) uringvfs__tree_leaf_seen(w.map, pgno);
  free(page);
}

/* ---- numbers of the input ---- */

/* Any page, or one that the map knows or names. */
static uint32_t take_number(void) {
  const uint8_t how = fuzz_byte(&w.in);
  const uint16_t number = fuzz_word(&w.in);
  const uringvfs__tree_node *n = &w.map->nodes[how / 4 + 1];
  if (how % 4 == 1 && n->pgno != 0) return n->pgno;
  if (how % 4 == 2 && n->count != 0) return n->children[number % n->count];
  return how % 4 == 3 ? number * 65537u + 1 : number;
}

/* One that a page can have. */
static uint32_t take_page_number(void) {
  const uint32_t pgno = take_number();
  return pgno != 0 ? pgno : 1;
}

/* Often one of few, sometimes the largest or the smallest there is. */
static int64_t take_integer(void) {
  const uint8_t how = fuzz_byte(&w.in);
  const int64_t value = (int16_t)fuzz_word(&w.in);
  return how < 128 ? value : (int64_t)((uint64_t)value << (how % 64));
}

/* ---- steps: pages ---- */

/* The beginning of page 1. As in readahead.c, another format is another file. */
static void step_format(void) {
  const uint8_t *bytes;
  uint32_t page_bytes = 0, usable = 0;
  uringvfs__format format = {0};
  const size_t amount = fuzz_take(&w.in, &bytes, fuzz_byte(&w.in));
  uint8_t *exactly = malloc(amount > 0 ? amount : 1);
  FUZZ_CHECK(exactly != NULL, "out of memory");
  memcpy(exactly, bytes, amount);
  const bool known = uringvfs__page_format(exactly, (uint32_t)amount, &format);
  FUZZ_CHECK(known == plain_format(exactly, (uint32_t)amount, &page_bytes, &usable), "format: %d", known);
  FUZZ_CHECK(!known || (format.page_size == page_bytes && format.usable == usable), "format: %u and %u of %u and %u",
             format.page_size, format.usable, page_bytes, usable);
  free(exactly);
  if (!known) return;
  w.format = format;
  memset(content, 0, sizeof content);
  uringvfs__tree_clear(w.map);
}

/* Pieces of bytes, in an empty page or in what the one before was like. */
static void step_pieces(void) {
  const uint32_t pgno = take_page_number();
  const uint8_t how = fuzz_byte(&w.in);
  if ((how & 1) == 0) memset(content, 0, w.format.page_size);
  for (unsigned n = how / 4; n > 0 && w.in.left > 0; n--) {
    const uint8_t *bytes;
    const uint32_t at = fuzz_word(&w.in) % w.format.page_size, room = w.format.page_size - at;
    const size_t length = fuzz_take(&w.in, &bytes, fuzz_byte(&w.in));
    memcpy(content + at, bytes, length < room ? length : room);
  }
  feed(pgno, how & 2);
}

/* Few cells in every second input. */
static unsigned take_count(void) {
  const uint16_t count = fuzz_word(&w.in);
  return count < 32768 ? count % 128 : count - 32768;
}

static page_recipe take_recipe(void) {
  static const uint8_t kinds[] = {INTERIOR_TABLE, INTERIOR_INDEX, LEAF_INDEX, LEAF_TABLE};
  page_recipe r = {.kind = kinds[fuzz_byte(&w.in) % 4]};
  r.count = take_count();
  r.first_child = take_number();
  r.stride = fuzz_byte(&w.in);
  r.first_key = take_integer();
  r.key_step = take_integer();
  r.type = fuzz_byte(&w.in);
  r.text_bytes = fuzz_byte(&w.in);
  return r;
}

static void step_made(void) {
  const uint32_t pgno = take_page_number();
  const page_recipe r = take_recipe();
  page_make(content, pgno, w.format.page_size, w.format.usable, &r);
  feed(pgno, false);
}

/* Pages of one recipe, each with children of its own: the map gets full. */
static void step_many(void) {
  const uint32_t pgno = take_page_number();
  const uint16_t pages = fuzz_word(&w.in) % (URINGVFS__TREE_NODES + 64), stride = fuzz_word(&w.in);
  page_recipe r = take_recipe();
  for (unsigned i = 0; i < pages && w.cells_left > 0; i++) {
    const uint32_t number = pgno + i * stride;
    if (number == 0) continue;
    page_make(content, number, w.format.page_size, w.format.usable, &r);
    feed(number, false);
    r.first_child += r.stride * (r.count + 1u);
    spend(100);
  }
}

/* ---- steps: questions ---- */

static bool is_same(const uringvfs__place *a, const uringvfs__place *b) {
  return a->node == b->node && a->position == b->position;
}

/* One step from any place; what it may answer follows from the nodes. */
static uint32_t step_once(uringvfs__place *place, int direction, uint32_t *interior) {
  const uringvfs__place before = *place;
  const uringvfs__tree_node *n = &w.map->nodes[before.node];
  const bool inside = direction > 0 ? before.position + 1u < n->count : before.position > 0;
  const uint32_t next = uringvfs__tree_step(w.map, place, direction, interior);
  fuzz_trace("    from %u/%u to %u/%u: page %u, interior %u", before.node, before.position, place->node,
             place->position, next, *interior);
  FUZZ_CHECK(place->node < URINGVFS__TREE_NODES, "a step to node %u", place->node);
  const uringvfs__tree_node *to = &w.map->nodes[place->node];
  if (before.position >= n->count) {
    FUZZ_CHECK(next == 0 && *interior == 0 && is_same(place, &before), "a step from nowhere");
  } else if (inside) {
    FUZZ_CHECK(to == n && place->position == before.position + direction && *interior == 0, "a step of another length");
    FUZZ_CHECK(next == n->children[place->position], "page %u is not the neighbour", next);
  } else if (next != 0 || !is_same(place, &before)) {
    const uringvfs__tree_node *parent = node_with(to->parent);
    FUZZ_CHECK(to->count > 0 && place->position == (direction > 0 ? 0 : to->count - 1), "a step into the middle");
    FUZZ_CHECK(next == to->children[place->position] && *interior == 0, "page %u is not at its place", next);
    FUZZ_CHECK(parent != NULL && has_child(parent, to->pgno), "page %u is no child of its parent", to->pgno);
  }
  FUZZ_CHECK(*interior == 0 || (next == 0 && node_with(*interior) == NULL), "page %u is wanted and there", *interior);
  return next;
}

/* From a page, or from a place that may have been good some time ago. */
static void step_walk(void) {
  const uint8_t how = fuzz_byte(&w.in);
  const uint32_t pgno = take_number();
  uringvfs__place place;
  uint32_t interior;
  if (how & 1) {
    place.node = (uint16_t)(how / 4 + 1);
    place.position = (uint16_t)pgno;
  } else if (!find(pgno, &place)) {
    return;
  }
  const uint32_t top = uringvfs__tree_top(w.map, place);
  FUZZ_CHECK(top == 0 || (node_with(top) != NULL && node_with(top)->level > 1), "tree %u is not known", top);
  uint32_t beside[8];
  const unsigned most = how % 9, n = uringvfs__tree_siblings(w.map, place, how & 2 ? 1 : -1, beside, most);
  FUZZ_CHECK(n <= most, "%u pages beside one, of %u", n, most);
  for (unsigned i = 0; i < n; i++) FUZZ_CHECK(beside[i] != 0, "no page beside another");
  for (int steps = 0; steps < 64; steps++)
    if (step_once(&place, how & 2 ? 1 : -1, &interior) == 0) break;
}

/* What is anywhere in the map is found afterwards. */
static void step_remind(void) {
  const uint32_t pgno = take_number();
  uringvfs__place place;
  bool known = false;
  uringvfs__tree_remind(w.map, pgno);
  for (unsigned i = 1; i < URINGVFS__TREE_NODES && !known; i++) known = has_child(&w.map->nodes[i], pgno);
  FUZZ_CHECK(find(pgno, &place) == known, "page %u is %sfound", pgno, known ? "not " : "");
}

static void step_leaf_seen(void) { uringvfs__tree_leaf_seen(w.map, take_number()); }

static void step_roots(void) {
  const uint8_t how = fuzz_byte(&w.in);
  const uint32_t pgno = take_number(), root = uringvfs__tree_root(w.map, pgno, how & 1);
  const uringvfs__tree_node *n = root != 0 ? node_with(root) : NULL;
  FUZZ_CHECK(root == 0 || (n != NULL && n->keys != NULL), "root %u of page %u", root, pgno);
  uint32_t other;
  unsigned count = 0;
  while ((other = uringvfs__tree_other_root(w.map, count)) != 0) {
    n = node_with(other);
    FUZZ_CHECK(n != NULL && n->keys != NULL && n->parent == 0 && n->level > 1 && other != 1, "root %u", other);
    FUZZ_CHECK(++count < URINGVFS__TREE_NODES, "there are too many roots");
  }
}

/* The answer must be a child of a table's page right above the leaves. */
static uint32_t look_up(uint32_t root, int64_t rowid, uint32_t *interior) {
  const uint32_t leaf = uringvfs__tree_leaf(w.map, root, rowid, interior);
  bool is_child = leaf == 0;
  for (unsigned i = 1; i < URINGVFS__TREE_NODES && !is_child; i++) {
    const uringvfs__tree_node *n = &w.map->nodes[i];
    is_child = n->keys != NULL && n->level == 1 && has_child(n, leaf);
  }
  fuzz_trace("    row %lld below %u: leaf %u, interior %u", (sqlite3_int64)rowid, root, leaf, *interior);
  FUZZ_CHECK(is_child, "leaf %u is no known page's child", leaf);
  FUZZ_CHECK(*interior == 0 || (leaf == 0 && node_with(*interior) == NULL), "page %u is wanted and there", *interior);
  return leaf;
}

static void step_leaf(void) {
  const uint32_t root = take_number();
  uint32_t interior;
  (void)look_up(root, take_integer(), &interior);
}

static void step_trim(void) {
  uringvfs__tree_trim(w.map);
  FUZZ_CHECK(w.map->total <= CHILDREN_IDLE, "%u children are left", w.map->total);
}

static void step_clear(void) {
  uringvfs__tree_clear(w.map);
  FUZZ_CHECK(w.map->total == 0, "%u children are left", w.map->total);
}

/* ---- step: a tree without faults ---- */

/* Level 0 is the root; every page but the leaves has `fanout` children. Leaf i holds the ten rowids from first_row + 10
** * i on. */
typedef struct tree {
  unsigned fanout, depth; /* `depth`: the level of the leaves */
  uint32_t first, stride; /* page numbers, level by level     */
  int64_t first_row;
} tree;

static unsigned width(const tree *t, unsigned level) {
  unsigned pages = 1;
  while (level-- > 0) pages *= t->fanout;
  return pages;
}

static uint32_t number_of(const tree *t, unsigned level, unsigned i) {
  for (unsigned above = 0; above < level; above++) i += width(t, above);
  return t->first + t->stride * i;
}

/* The page above leaf i on this level. */
static uint32_t above_leaf(const tree *t, unsigned i, unsigned level) {
  return number_of(t, level, i / (width(t, t->depth) / width(t, level)));
}

static tree take_tree(void) {
  tree t = {.fanout = fuzz_byte(&w.in) % 16 + 2, .depth = fuzz_byte(&w.in) % 5 + 1};
  while (width(&t, t.depth) > TREE_PAGES) t.depth--;
  t.first = fuzz_word(&w.in) + 2u; /* room for the header of the file is on no page */
  t.stride = fuzz_word(&w.in) + 1u;
  t.first_row = take_integer() / 2 - 5 * (int64_t)width(&t, t.depth);
  return t;
}

static void feed_page(const tree *t, unsigned level, unsigned i) {
  const int64_t rows = 10 * (int64_t)(width(t, t->depth) / width(t, level + 1)); /* below a child */
  const page_recipe r = {.kind = INTERIOR_TABLE,
                         .count = t->fanout - 1,
                         .first_child = number_of(t, level + 1, i * t->fanout),
                         .stride = t->stride,
                         .first_key = t->first_row + rows * (i * t->fanout + 1) - 1,
                         .key_step = rows};
  page_make(content, number_of(t, level, i), w.format.page_size, w.format.usable, &r);
  feed(number_of(t, level, i), false);
}

/* A leaf says how far above it the pages are that are known to lead to it. */
static void see_leaf(uint32_t pgno) {
  uringvfs__place place;
  uringvfs__tree_leaf_seen(w.map, pgno);
  if (!find(pgno, &place)) return;
  const uringvfs__tree_node *n = &w.map->nodes[place.node];
  for (unsigned level = 1; n != NULL; n = n->parent != 0 ? node_with(n->parent) : NULL, level++)
    FUZZ_CHECK(n->level == level, "page %u is on level %u, taken for %u", n->pgno, level, n->level);
}

/* Interior pages level by level or the other way round, but for some; and leaves. True: none was left out, and each
** came after the one above it. */
static bool feed_tree(const tree *t) {
  const uint8_t order = fuzz_byte(&w.in), left_out = fuzz_byte(&w.in), seen = fuzz_byte(&w.in);
  for (unsigned k = 0; k < t->depth; k++) {
    const unsigned level = order & 1 ? t->depth - 1 - k : k, pages = width(t, level);
    for (unsigned i = 0; i < pages; i++)
      if (left_out == 0 || (i + level * 3) % (left_out + 1u) != left_out)
        feed_page(t, level, order & 2 ? pages - 1 - i : i);
  }
  for (unsigned i = 0; i < width(t, t->depth); i += seen + 1u) {
    see_leaf(number_of(t, t->depth, i));
  }
  check_map();
  return left_out == 0 && (order & 1) == 0;
}

/* A step from page i of this level leads to its neighbour, or wants the page beside one of those above. */
static void check_neighbour(const tree *t, unsigned level, unsigned i, int direction) {
  uringvfs__place place;
  uint32_t interior;
  if (!find(number_of(t, level, i), &place)) return;
  const uint32_t next = step_once(&place, direction, &interior);
  const bool at_end = direction > 0 ? i + 1 == width(t, level) : i == 0;
  FUZZ_CHECK(next == 0 || (!at_end && next == number_of(t, level, i + (unsigned)direction)),
             "level %u: page %u comes after number %u, direction %d", level, next, i, direction);
  bool is_beside = interior == 0;
  for (unsigned above = 1; above < level && !at_end && !is_beside; above++)
    is_beside = interior == number_of(t, above, (i + (unsigned)direction) / (width(t, level) / width(t, above)));
  FUZZ_CHECK(is_beside, "level %u: page %u is wanted after number %u", level, interior, i);
}

/* The pages beside the one above leaf i. */
static void check_siblings(const tree *t, unsigned i, int direction) {
  uringvfs__place place;
  uint32_t beside[4];
  if (!find(number_of(t, t->depth, i), &place)) return;
  const unsigned n = uringvfs__tree_siblings(w.map, place, direction, beside, 4), level = t->depth - 1;
  for (unsigned k = 0; k < n; k++) {
    const unsigned number = i / t->fanout + (k + 1) * (unsigned)direction;
    FUZZ_CHECK(number < width(t, level) && beside[k] == number_of(t, level, number), "page %u beside leaf %u",
               beside[k], i);
  }
}

/* As long as no leaf was seen the level is a guess, and the answer a page further up. */
static void check_row(const tree *t, unsigned i, int64_t rowid) {
  uint32_t interior;
  const uint32_t leaf = look_up(t->first, rowid, &interior);
  bool is_above = leaf == 0, is_wanted = interior == 0;
  for (unsigned level = 1; level <= t->depth; level++) {
    is_above = is_above || leaf == above_leaf(t, i, level);
    is_wanted = is_wanted || (level < t->depth && interior == above_leaf(t, i, level));
  }
  FUZZ_CHECK(is_above, "row %lld is not on page %u", (sqlite3_int64)rowid, leaf);
  FUZZ_CHECK(is_wanted, "page %u says nothing of row %lld", interior, (sqlite3_int64)rowid);
}

static void check_root(const tree *t, unsigned i) {
  const uint32_t root = uringvfs__tree_root(w.map, number_of(t, t->depth, i), true);
  bool is_above = root == 0;
  for (unsigned level = 0; level < t->depth; level++) is_above = is_above || root == above_leaf(t, i, level);
  FUZZ_CHECK(is_above, "page %u is not above leaf %u", root, i);
}

/* The tree that a page is in has the number of an interior page above it, and above others; the root's if all is known.
*/
static void check_top(const tree *t, unsigned i, bool whole) {
  uringvfs__place place;
  if (!find(number_of(t, t->depth, i), &place)) return;
  const uint32_t top = uringvfs__tree_top(w.map, place);
  bool is_above = top == 0;
  for (unsigned level = 0; level + 1 < t->depth; level++) is_above = is_above || top == above_leaf(t, i, level);
  FUZZ_CHECK(is_above, "page %u is not above leaf %u", top, i);
  FUZZ_CHECK(!whole || top == (t->depth > 1 ? t->first : 0), "leaf %u is in tree %u, not %u", i, top, t->first);
}

static void step_tree(void) {
  const tree t = take_tree();
  fuzz_trace("    fan-out %u, depth %u", t.fanout, t.depth);
  spend(5000);
  uringvfs__tree_clear(w.map); /* of what is remembered besides nobody knows what it says */
  const bool whole = feed_tree(&t);
  for (unsigned level = 1; level <= t.depth; level++) {
    for (unsigned i = 0; i < width(&t, level); i++) {
      check_neighbour(&t, level, i, 1);
      check_neighbour(&t, level, i, -1);
    }
  }
  for (unsigned i = 0; i < width(&t, t.depth); i += t.fanout / 2) {
    for (int row = 0; row < 10; row += 9) check_row(&t, i, t.first_row + 10 * (int64_t)i + row);
    check_root(&t, i);
    check_top(&t, i, whole);
    check_siblings(&t, i, 1);
    check_siblings(&t, i, -1);
  }
}

/* ---- step: blocks of leaves ---- */

/* As in leaf_blocks.c. */
enum { BLOCK_PLACES = 1 << 14, ON_ITS_WAY = 256, GIVEN_UP_MOST = 8 };
enum { PLAIN_BLOCKS_MOST = 512 /* fifteen times 63 pages in a row, four to a block, are fewer */ };

typedef struct plain_block {
  uint32_t number; /* from 0 */
  unsigned wanted; /* pages  */
  bool pages[64];
  uint32_t asked_at; /* 0: it was not asked for */
} plain_block;

typedef struct plain_blocks {
  uint32_t pages, per_block, clock; /* `clock`: pages read and blocks asked for */
  unsigned count, asked, gone;
  bool any, over; /* one was ever wanted; too many were gone */
  plain_block blocks[PLAIN_BLOCKS_MOST];
} plain_blocks;

static plain_block *plain_of(plain_blocks *plain, uint32_t pgno) {
  for (unsigned i = 0; pgno != 0 && pgno <= plain->pages && i < plain->count; i++)
    if (plain->blocks[i].number == (pgno - 1) / plain->per_block) return &plain->blocks[i];
  return NULL;
}

/* The block of this page is there from now on; the one that had its place is not. */
static plain_block *plain_made(plain_blocks *plain, uint32_t pgno) {
  const uint32_t number = (pgno - 1) / plain->per_block;
  for (unsigned i = 0; i < plain->count; i++)
    if (plain->blocks[i].number % BLOCK_PLACES == number % BLOCK_PLACES)
      plain->blocks[i] = plain->blocks[--plain->count];
  FUZZ_CHECK(plain->count < PLAIN_BLOCKS_MOST, "the plain list is full");
  plain_block *block = &plain->blocks[plain->count++];
  *block = (plain_block){.number = number};
  return block;
}

static void want_blocks(uringvfs__leaf_blocks *blocks, plain_blocks *plain, const uint32_t *leaves, unsigned count) {
  uringvfs__blocks_want(blocks, w.format.page_size, (uint64_t)plain->pages * w.format.page_size, leaves, count);
  if (plain->pages == 0 || plain->over) return;
  plain->any = true;
  for (unsigned i = 0; i < count; i++) {
    if (leaves[i] == 0 || leaves[i] > plain->pages) continue;
    plain_block *block = plain_of(plain, leaves[i]);
    if (block == NULL) block = plain_made(plain, leaves[i]);
    bool *page = &block->pages[(leaves[i] - 1) % plain->per_block];
    block->wanted += !*page;
    *page = true;
  }
}

static void check_block(uringvfs__leaf_blocks *blocks, plain_blocks *plain, uint32_t pgno) {
  const plain_block *block = plain_of(plain, pgno);
  FUZZ_CHECK((blocks->table != NULL) == (plain->any && !plain->over), "there are %sblocks",
             blocks->table != NULL ? "" : "no ");
  FUZZ_CHECK(uringvfs__blocks_asked(blocks, pgno) == (block != NULL && block->asked_at != 0), "page %u: asked", pgno);
  FUZZ_CHECK(uringvfs__blocks_dense(blocks, pgno) == (block != NULL && block->wanted * 3 >= plain->per_block),
             "page %u: dense", pgno);
}

static void ask_for_block(uringvfs__leaf_blocks *blocks, plain_blocks *plain, uint32_t pgno) {
  plain_block *block = plain_of(plain, pgno);
  uint32_t first = pgno;
  const uint32_t count = uringvfs__blocks_take(blocks, &first);
  FUZZ_CHECK(first - 1 == block->number * plain->per_block, "page %u: a block from %u", pgno, first);
  FUZZ_CHECK(count > 0 && count <= plain->per_block && first + count > pgno && first + count - 1 <= plain->pages,
             "page %u: %u pages from %u", pgno, count, first);
  block->asked_at = ++plain->clock;
  plain->asked++;
  check_block(blocks, plain, pgno);
}

/* So many other pages of a stream are read, and this one. It may turn out that it is not there. */
static void read_page(uringvfs__leaf_blocks *blocks, plain_blocks *plain, uint32_t pgno, unsigned others, bool gone) {
  plain_block *block = plain_of(plain, pgno);
  for (unsigned i = 0; i < others; i++) FUZZ_CHECK(!uringvfs__blocks_due(blocks, 0), "no page is due");
  plain->clock += others + 1;
  const bool due = block != NULL && block->asked_at != 0 && plain->clock - block->asked_at > ON_ITS_WAY;
  FUZZ_CHECK(uringvfs__blocks_due(blocks, pgno) == due, "page %u is %sdue", pgno, due ? "not " : "");
  if (!due || !gone) return;
  uringvfs__blocks_gone(blocks, pgno);
  block->asked_at = 0;
  plain->over = ++plain->gone > GIVEN_UP_MOST + plain->asked / 16;
  if (plain->over) plain->count = 0;
  check_block(blocks, plain, pgno);
}

static void try_block(uringvfs__leaf_blocks *blocks, plain_blocks *plain, uint32_t pgno) {
  const uint8_t how = fuzz_byte(&w.in);
  check_block(blocks, plain, pgno);
  if (uringvfs__blocks_dense(blocks, pgno)) ask_for_block(blocks, plain, pgno);
  if (plain->any && !plain->over) read_page(blocks, plain, pgno, how / 2 * 4, how & 1);
}

/* Blocks that are gone again and again end it. */
static void check_given_up(uringvfs__leaf_blocks *blocks, plain_blocks *plain) {
  const uint32_t page = 1;
  want_blocks(blocks, plain, &page, 1);
  for (unsigned n = 0; plain->pages > 0 && !plain->over; n++) {
    FUZZ_CHECK(n < 100, "%u blocks gone of %u asked for, and not given up", plain->gone, plain->asked);
    if (!uringvfs__blocks_asked(blocks, page)) ask_for_block(blocks, plain, page);
    read_page(blocks, plain, page, ON_ITS_WAY, true);
  }
  want_blocks(blocks, plain, &page, 1);
  check_block(blocks, plain, page);
  uringvfs__blocks_free(blocks);
}

static void step_blocks(void) {
  static plain_blocks plain;
  uringvfs__leaf_blocks blocks = {0};
  uint32_t leaves[64];
  memset(&plain, 0, sizeof plain);
  plain.pages = take_number();
  plain.per_block = 262144 / w.format.page_size < 64 ? 262144 / w.format.page_size : 64;
  for (unsigned n = fuzz_byte(&w.in) % 16; n > 0; n--) {
    const uint32_t first = take_number(), count = fuzz_byte(&w.in) % 64;
    for (unsigned i = 0; i < count; i++) leaves[i] = first + i;
    want_blocks(&blocks, &plain, leaves, count);
    try_block(&blocks, &plain, take_number());
    try_block(&blocks, &plain, first + count / 2);
  }
  spend(100);
  check_given_up(&blocks, &plain);
}

/* ---- the input ---- */

/* clang-format off */
static void (*const steps[])(void) = {
    step_format, step_pieces, step_made, step_many, step_tree, step_walk, step_leaf_seen, step_roots, step_leaf,
    step_trim, step_clear, step_blocks, step_remind,
};
/* clang-format on */

int LLVMFuzzerInitialize(const int *argc, char ***argv) {
  (void)argc, (void)argv;
  fuzz_start_tracing();
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  memset(&w, 0, sizeof w);
  memset(content, 0, sizeof content);
  w.in = (fuzz_input){data, size};
  w.map = calloc(1, sizeof *w.map);
  FUZZ_CHECK(w.map != NULL, "out of memory");
  const uint8_t sizes = fuzz_byte(&w.in);
  w.format.page_size = 512u << sizes % 8;
  w.format.usable = w.format.page_size - sizes / 8 % 16;
  w.cells_left = sizes & 128 ? CELLS_TO_FILL : CELLS_MOST;
  for (int i = 0; i < MAX_STEPS && w.in.left > 0 && w.cells_left > 0; i++) {
    const uint8_t code = fuzz_byte(&w.in) % (sizeof steps / sizeof *steps);
    fuzz_trace("step %d: function %u", i, code);
    steps[code]();
    check_map();
  }
  step_clear();
  check_map();
  free(w.map);
  return 0;
}
