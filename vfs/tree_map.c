/*
** tree_map.c - which page comes after which in a b-tree: the interior pages that passed by.
**
** Nobody is asked before a page that was remembered changes, so everything here is a hint: it decides what is read ahead, never
** what is handed out. The file may be hostile, too: no answer is larger than the map, and every walk is bounded.
*/
#include "readahead.h"

#include <stdlib.h>

enum {
  NOWHERE = UINT16_MAX,   /* no position: a page has fewer cells */
  CHILDREN_BUDGET = 6144, /* page numbers of four bytes */
  DEEPEST = 20            /* levels of a tree (btreeInt.h, BTCURSOR_MAX_DEPTH) */
};

static uringvfs_place *slot_of(uringvfs_tree_map *map, uint32_t pgno) {
  return &map->slots[(pgno * 2654435761u) >> 20];
}
_Static_assert(URINGVFS_TREE_SLOTS == 1 << 12, "the hash gives 12 bits");

static void forget(uringvfs_tree_map *map, uringvfs_tree_node *n) {
  map->total -= n->count;
  free(n->children);
  *n = (uringvfs_tree_node){0};
}

void uringvfs__tree_clear(uringvfs_tree_map *map) {
  for (int i = 0; i < URINGVFS_TREE_NODES; i++) forget(map, &map->nodes[i]);
}

static uringvfs_tree_node *node_of(uringvfs_tree_map *map, uint32_t pgno) {
  for (int i = 0; i < URINGVFS_TREE_NODES; i++)
    if (map->nodes[i].pgno == pgno) return &map->nodes[i];
  return NULL;
}

/* An unused node, with room for `count` children in the budget. The page size bounds count, and one node always fits. */
static uringvfs_tree_node *make_room(uringvfs_tree_map *map, unsigned count) {
  for (;;) {
    uringvfs_tree_node *unused = NULL, *stalest = NULL;
    for (int i = 0; i < URINGVFS_TREE_NODES; i++) {
      uringvfs_tree_node *n = &map->nodes[i];
      if (n->pgno == 0)
        unused = n;
      else if (stalest == NULL || n->used < stalest->used)
        stalest = n;
    }
    if (unused != NULL && (stalest == NULL || map->total + count <= CHILDREN_BUDGET)) return unused;
    forget(map, stalest);
  }
}

/* Both ends and the number are compared: a page that split or merged shows there or is worth little less. */
static bool is_unchanged(const uringvfs_tree_node *n, const uringvfs_cells *cells) {
  return n->count == cells->count + 1 && n->children[0] == uringvfs__page_child(cells, 0) &&
         n->children[n->count - 1] == uringvfs__page_child(cells, cells->count);
}

static uint32_t *children_of(const uringvfs_cells *cells) {
  uint32_t *children = malloc((cells->count + 1) * sizeof *children);
  for (unsigned i = 0; children != NULL && i <= cells->count; i++) children[i] = uringvfs__page_child(cells, i);
  return children;
}

bool uringvfs__tree_learn(uringvfs_tree_map *map, uint32_t pgno, const uringvfs_cells *cells) {
  uringvfs_tree_node *n = node_of(map, pgno);
  if (n != NULL && is_unchanged(n, cells)) {
    n->used = ++map->clock;
    return false;
  }
  if (n != NULL) forget(map, n);
  uint32_t *children = children_of(cells);
  if (children == NULL) return false;
  const unsigned count = cells->count + 1;
  n = make_room(map, count);
  *n = (uringvfs_tree_node){
      .pgno = pgno, .count = count, .children = children, .asked = {NOWHERE, NOWHERE}, .used = ++map->clock};
  map->total += count;
  const uint16_t number = (uint16_t)(n - map->nodes);
  for (unsigned i = 0; i < count; i++) *slot_of(map, children[i]) = (uringvfs_place){number, (uint16_t)i};
  /* Which of the nodes are children of others? */
  for (int i = 0; i < URINGVFS_TREE_NODES; i++) {
    uringvfs_place parent;
    if (map->nodes[i].pgno != 0 && uringvfs__tree_find(map, map->nodes[i].pgno, &parent))
      map->nodes[parent.node].upper = true;
  }
  return true;
}

bool uringvfs__tree_has(uringvfs_tree_map *map, uint32_t pgno) { return node_of(map, pgno) != NULL; }

bool uringvfs__tree_find(uringvfs_tree_map *map, uint32_t pgno, uringvfs_place *place) {
  *place = *slot_of(map, pgno);
  const uringvfs_tree_node *n = &map->nodes[place->node];
  return place->position < n->count && n->children[place->position] == pgno;
}

static uint32_t step(uringvfs_tree_map *map, uringvfs_place *place, int direction, uint32_t *interior, int depth) {
  const uringvfs_tree_node *n = &map->nodes[place->node];
  *interior = 0;
  if (direction > 0 ? place->position + 1u < n->count : place->position > 0 && place->position < n->count) {
    place->position = (uint16_t)(place->position + direction);
    return n->children[place->position];
  }
  uringvfs_place up;
  if (depth == DEEPEST || n->count == 0 || !uringvfs__tree_find(map, n->pgno, &up)) return 0;
  const uint32_t next = step(map, &up, direction, interior, depth + 1);
  if (next == 0) return 0;
  uringvfs_tree_node *sibling = node_of(map, next);
  if (sibling == NULL) {
    *interior = next;
    return 0;
  }
  sibling->used = ++map->clock;
  *place = (uringvfs_place){(uint16_t)(sibling - map->nodes), (uint16_t)(direction > 0 ? 0 : sibling->count - 1)};
  return sibling->children[place->position];
}

uint32_t uringvfs__tree_step(uringvfs_tree_map *map, uringvfs_place *place, int direction, uint32_t *interior) {
  return step(map, place, direction, interior, 0);
}
