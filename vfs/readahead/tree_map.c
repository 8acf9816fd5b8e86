/*
** tree_map.c - the interior pages of b-trees that passed by: which page comes after which, and which leaf holds a row.
**
** Nobody is asked before a page that was remembered changes, so everything here is a hint: it decides what is read
** ahead, never what is handed out. The file may be hostile, too: no answer is larger than the map, and every walk is
** bounded.
**
** A page number is found in `slots`, where later pages take the place of earlier ones; interior pages are found for
** certain.
*/
#include "tree_map.h"

#include <stdlib.h>

enum {
  NOWHERE = UINT16_MAX,   /* no position: a page has fewer cells                                 */
  CHILDREN_MOST = 131072, /* of 12 bytes at most, while a transaction lasts                      */
  CHILDREN_IDLE = 2048,   /* and afterwards                                                      */
  DEEPEST = 20            /* levels of a tree (btreeInt.h, BTCURSOR_MAX_DEPTH)                   */
};

static uint32_t hash(uint32_t pgno, int bits) { return (pgno * 2654435761u) >> (32 - bits); }

static uringvfs__place *slot_of(uringvfs__tree_map *map, uint32_t pgno) {
  return &map->slots[hash(pgno, URINGVFS__TREE_SLOT_BITS)];
}

static uint16_t *head_of(uringvfs__tree_map *map, uint32_t pgno) {
  return &map->heads[hash(pgno, URINGVFS__TREE_HEAD_BITS)];
}

static uringvfs__tree_node *node_of(uringvfs__tree_map *map, uint32_t pgno) {
  for (unsigned i = *head_of(map, pgno); i != 0; i = map->nodes[i].next)
    if (map->nodes[i].pgno == pgno) return &map->nodes[i];
  return NULL;
}

/* ---- remembering ---- */

static void forget(uringvfs__tree_map *map, uringvfs__tree_node *n) {
  if (n->pgno == 0) return;
  uint16_t *link = head_of(map, n->pgno);
  while (&map->nodes[*link] != n) link = &map->nodes[*link].next;
  *link = n->next;
  map->total -= n->count;
  free(n->keys);
  free(n->children);
  *n = (uringvfs__tree_node){0};
}

void uringvfs__tree_clear(uringvfs__tree_map *map) {
  for (int i = 1; i < URINGVFS__TREE_NODES; i++) forget(map, &map->nodes[i]);
}

/* Those that lead to many others go last. */
static bool is_staler(const uringvfs__tree_node *a, const uringvfs__tree_node *b) {
  return a->level != b->level ? a->level < b->level : a->used < b->used;
}

static uringvfs__tree_node *stalest(uringvfs__tree_map *map) {
  uringvfs__tree_node *found = NULL;
  for (int i = 1; i < URINGVFS__TREE_NODES; i++) {
    uringvfs__tree_node *n = &map->nodes[i];
    if (n->pgno != 0 && (found == NULL || is_staler(n, found))) found = n;
  }
  return found;
}

void uringvfs__tree_trim(uringvfs__tree_map *map) {
  while (map->total > CHILDREN_IDLE) forget(map, stalest(map));
}

static uringvfs__tree_node *unused_node(uringvfs__tree_map *map, unsigned count) {
  while (map->total > 0 && map->total + count > CHILDREN_MOST) forget(map, stalest(map));
  for (int i = 1; i < URINGVFS__TREE_NODES; i++)
    if (map->nodes[i].pgno == 0) return &map->nodes[i];
  uringvfs__tree_node *n = stalest(map);
  forget(map, n);
  return n;
}

/* Both ends and the number are compared: a page that split or merged shows there or is worth little less. */
static bool is_unchanged(const uringvfs__tree_node *n, const uringvfs__cells *cells) {
  return n->count == cells->count + 1 && n->children[0] == uringvfs__page_child(cells, 0) &&
         n->children[n->count - 1] == uringvfs__page_child(cells, cells->count);
}

static void put_in_slots(uringvfs__tree_map *map, const uringvfs__tree_node *n) {
  const uint16_t number = (uint16_t)(n - map->nodes);
  for (unsigned i = 0; i < n->count; i++) *slot_of(map, n->children[i]) = (uringvfs__place){number, (uint16_t)i};
}

/* The node above this page, NULL: not known. There are few nodes above others. */
static uringvfs__tree_node *parent_of(uringvfs__tree_map *map, uint32_t pgno) {
  for (int i = 1; i < URINGVFS__TREE_NODES; i++) {
    uringvfs__tree_node *n = &map->nodes[i];
    for (unsigned k = 0; n->level != 1 && k < n->count; k++)
      if (n->children[k] == pgno) return n;
  }
  return NULL;
}

/* False: an index's keys begin with something else than an integer, or descend. */
static bool copy_keys(int64_t *keys, const uringvfs__cells *cells) {
  for (unsigned i = 0; i < cells->count; i++) {
    if (cells->table)
      keys[i] = uringvfs__page_key(cells, i);
    else if (!uringvfs__page_index_key(cells, i, &keys[i]) || (i > 0 && keys[i] < keys[i - 1]))
      return false;
  }
  return true;
}

static bool copy_cells(uringvfs__tree_node *n, const uringvfs__cells *cells) {
  n->count = cells->count + 1;
  n->children = malloc(n->count * sizeof *n->children);
  n->keys = malloc(n->count * sizeof *n->keys);
  if (n->children == NULL || n->keys == NULL) return false;
  for (unsigned i = 0; i < n->count; i++) n->children[i] = uringvfs__page_child(cells, i);
  if (copy_keys(n->keys, cells)) return true;
  free(n->keys);
  n->keys = NULL;
  return true;
}

bool uringvfs__tree_learn(uringvfs__tree_map *map, uint32_t pgno, const uringvfs__cells *cells) {
  uringvfs__tree_node *n = node_of(map, pgno);
  if (n != NULL && is_unchanged(n, cells)) {
    n->used = ++map->clock;
    put_in_slots(map, n); /* others may have taken their places */
    return false;
  }
  uringvfs__tree_node fresh = {.pgno = pgno, .asked = {NOWHERE, NOWHERE}, .used = ++map->clock};
  if (n != NULL) {
    fresh.parent = n->parent;
    fresh.level = n->level;
    forget(map, n);
  }
  if (!copy_cells(&fresh, cells)) {
    free(fresh.keys);
    free(fresh.children);
    return false;
  }
  n = unused_node(map, fresh.count);
  uint16_t *head = head_of(map, pgno);
  const uint16_t number = (uint16_t)(n - map->nodes);
  fresh.next = *head;
  *head = number;
  *n = fresh;
  map->total += n->count;
  map->learned++;
  put_in_slots(map, n);
  uringvfs__tree_node *parent = parent_of(map, pgno);
  if (parent != NULL && parent != n) {
    n->parent = parent->pgno;
    if (parent->level == 0) parent->level = 2; /* at least */
    if (n->level == 0 && parent->level > 2) n->level = (uint8_t)(parent->level - 1);
  }
  return true;
}

/* The first place of a page, or the first where rows can be looked up. */
static bool search(const uringvfs__tree_map *map, uint32_t pgno, bool rows, uringvfs__place *place) {
  for (int i = 1; i < URINGVFS__TREE_NODES; i++) {
    const uringvfs__tree_node *n = &map->nodes[i];
    for (unsigned k = 0; (n->keys != NULL || !rows) && k < n->count; k++) {
      if (n->children[k] != pgno) continue;
      *place = (uringvfs__place){(uint16_t)i, (uint16_t)k};
      return true;
    }
  }
  return false;
}

void uringvfs__tree_remind(uringvfs__tree_map *map, uint32_t pgno) {
  uringvfs__place place;
  if (!search(map, pgno, false, &place)) return;
  put_in_slots(map, &map->nodes[place.node]);
  *slot_of(map, pgno) = place; /* the page itself has the last word */
}

bool uringvfs__tree_find(uringvfs__tree_map *map, uint32_t pgno, uringvfs__place *place, bool thoroughly) {
  *place = *slot_of(map, pgno);
  const uringvfs__tree_node *n = &map->nodes[place->node];
  if (place->position < n->count && n->children[place->position] == pgno) return true;
  *place = (uringvfs__place){0, 0};
  return thoroughly && search(map, pgno, true, place);
}

bool uringvfs__tree_has_parent(uringvfs__tree_map *map, uint32_t pgno) { return parent_of(map, pgno) != NULL; }

bool uringvfs__tree_is_interior(uringvfs__tree_map *map, uint32_t pgno) { return node_of(map, pgno) != NULL; }

void uringvfs__tree_leaf_seen(uringvfs__tree_map *map, uint32_t pgno) {
  uringvfs__place place;
  if (!uringvfs__tree_find(map, pgno, &place, false)) return;
  uringvfs__tree_node *n = &map->nodes[place.node];
  for (uint8_t level = 1; level < DEEPEST && n != NULL; level++) { /* above one that is right may be a guess */
    n->level = level;
    n = n->parent != 0 ? node_of(map, n->parent) : NULL;
  }
}

/* ---- the next page ---- */

/* Where the node is among its parent's children. */
static bool place_of_node(uringvfs__tree_map *map, const uringvfs__tree_node *n, uringvfs__place *place) {
  const uringvfs__tree_node *parent = n->parent != 0 ? node_of(map, n->parent) : NULL;
  if (parent == NULL) return false;
  for (unsigned i = 0; i < parent->count; i++) {
    if (parent->children[i] != n->pgno) continue;
    *place = (uringvfs__place){(uint16_t)(parent - map->nodes), (uint16_t)i};
    return true;
  }
  return false;
}

static uint32_t step(uringvfs__tree_map *map, uringvfs__place *place, int direction, uint32_t *interior, int depth) {
  const uringvfs__tree_node *n = &map->nodes[place->node];
  *interior = 0;
  if (place->position >= n->count) return 0; /* the node has changed hands */
  if (direction > 0 ? place->position + 1u < n->count : place->position > 0) {
    place->position = (uint16_t)(place->position + direction);
    return n->children[place->position];
  }
  uringvfs__place up;
  if (depth == DEEPEST || !place_of_node(map, n, &up)) return 0;
  const uint32_t next = step(map, &up, direction, interior, depth + 1);
  if (next == 0) return 0;
  uringvfs__tree_node *sibling = node_of(map, next);
  if (sibling == NULL) {
    *interior = next;
    return 0;
  }
  sibling->parent = map->nodes[up.node].pgno;
  sibling->used = ++map->clock;
  *place = (uringvfs__place){(uint16_t)(sibling - map->nodes), (uint16_t)(direction > 0 ? 0 : sibling->count - 1)};
  return sibling->children[place->position];
}

uint32_t uringvfs__tree_step(uringvfs__tree_map *map, uringvfs__place *place, int direction, uint32_t *interior) {
  return step(map, place, direction, interior, 0);
}

unsigned uringvfs__tree_siblings(uringvfs__tree_map *map, uringvfs__place place, int direction, uint32_t *pages,
                                 unsigned most) {
  uringvfs__place up;
  uint32_t interior;
  unsigned n = 0;
  if (!place_of_node(map, &map->nodes[place.node], &up)) return 0;
  while (n < most && (pages[n] = step(map, &up, direction, &interior, 1)) != 0) n++;
  return n;
}

const uint32_t *uringvfs__tree_children(uringvfs__tree_map *map, uint32_t pgno, unsigned *count) {
  const uringvfs__tree_node *n = node_of(map, pgno);
  if (n == NULL) return NULL;
  *count = n->count;
  return n->children;
}

/* ---- the leaf of a row ---- */

static const uringvfs__tree_node *top_of(uringvfs__tree_map *map, uringvfs__place place) {
  const uringvfs__tree_node *n = &map->nodes[place.node], *parent;
  for (int depth = 0; depth < DEEPEST && n->parent != 0 && (parent = node_of(map, n->parent)) != NULL; depth++)
    n = parent;
  return n;
}

uint32_t uringvfs__tree_top(uringvfs__tree_map *map, uringvfs__place place) {
  const uringvfs__tree_node *top = top_of(map, place);
  return top->level > 1 ? top->pgno : 0;
}

uint32_t uringvfs__tree_root(uringvfs__tree_map *map, uint32_t pgno, bool thoroughly) {
  uringvfs__place place;
  if (!uringvfs__tree_find(map, pgno, &place, thoroughly)) return 0;
  const uringvfs__tree_node *n = top_of(map, place);
  return n->keys != NULL ? n->pgno : 0;
}

uint32_t uringvfs__tree_other_root(const uringvfs__tree_map *map, unsigned i) {
  for (int k = 1; k < URINGVFS__TREE_NODES; k++) {
    const uringvfs__tree_node *n = &map->nodes[k];
    if (n->keys != NULL && n->parent == 0 && n->level > 1 && n->pgno != 1 && i-- == 0) return n->pgno;
  }
  return 0;
}

/* The first child whose key is not below rowid. */
static unsigned position_of(const uringvfs__tree_node *n, int64_t rowid) {
  unsigned low = 0, high = n->count - 1;
  while (low < high) {
    const unsigned middle = (low + high) / 2;
    if (n->keys[middle] < rowid)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

bool uringvfs__tree_span(uringvfs__tree_map *map, uringvfs__place place, int64_t *low, int64_t *high) {
  bool has_low = false, has_high = false;
  *low = INT64_MIN;
  *high = INT64_MAX;
  for (int depth = 0; depth < DEEPEST; depth++) {
    const uringvfs__tree_node *n = &map->nodes[place.node];
    if (n->keys == NULL || place.position >= n->count) return false;
    if (!has_low && place.position > 0) *low = n->keys[place.position - 1];
    if (!has_high && place.position + 1u < n->count) *high = n->keys[place.position];
    has_low |= place.position > 0;
    has_high |= place.position + 1u < n->count;
    if (has_low && has_high) return true;
    if (!place_of_node(map, n, &place)) return n->level > 1; /* what is above it may only be unknown */
  }
  return false;
}

uint32_t uringvfs__tree_leaf(uringvfs__tree_map *map, uint32_t root, int64_t rowid, uint32_t *interior) {
  uringvfs__tree_node *n = node_of(map, root);
  *interior = 0;
  for (int depth = 0; depth < DEEPEST && n != NULL && n->keys != NULL; depth++) {
    const uint32_t child = n->children[position_of(n, rowid)];
    n->used = ++map->clock;
    if (n->level <= 1) return n->level == 1 ? child : 0;
    uringvfs__tree_node *below = node_of(map, child);
    if (below == NULL) {
      *interior = child;
      return 0;
    }
    below->parent = n->pgno;
    below->level = (uint8_t)(n->level - 1);
    n = below;
  }
  return 0;
}
