/*
** tree_map.h - which page comes after which, and which leaf holds a row: the interior pages that passed by.
*/
#ifndef URINGVFS_TREE_MAP_H
#define URINGVFS_TREE_MAP_H

#include "btree_page.h"

enum {
  URINGVFS__TREE_NODES = 512,
  URINGVFS__TREE_SLOT_BITS = 11,
  URINGVFS__TREE_HEAD_BITS = 8,
};

/* The position of a page among its parent's children. */
typedef struct uringvfs__place {
  uint16_t node; /* of the tree map */
  uint16_t position;
} uringvfs__place;

typedef struct uringvfs__tree_node {
  uint32_t pgno; /* of the interior page, 0: unused                                         */
  uint32_t count;
  uint32_t *children; /* their page numbers, in the order of the keys                       */
  int64_t *keys;      /* the largest below each child but the last, see uringvfs__tree_leaf; or NULL */
  uint32_t parent;    /* its page number, 0: not known                                      */
  uint32_t used;      /* the map's clock when it was last of use                            */
  uint16_t asked[2];  /* positions of the children last asked for                           */
  uint16_t next;      /* in its hash chain, 0: the end                                      */
  uint8_t level;      /* 1: its children are leaves, 2: theirs are, ...; 0: not known       */
  uint8_t asked_in;   /* the tenure when they were asked for, counted by whoever wrote that */
} uringvfs__tree_node;

/*
** Interior pages as they were when they were last seen, within a fixed budget. A hint and no more: it may be out of
** date, or lie.
*/
typedef struct uringvfs__tree_map {
  uringvfs__tree_node nodes[URINGVFS__TREE_NODES]; /* the first is never used */
  uint16_t heads[1 << URINGVFS__TREE_HEAD_BITS];
  uringvfs__place slots[1 << URINGVFS__TREE_SLOT_BITS];
  uint32_t clock;
  uint32_t learned; /* interior pages so far */
  uint32_t total;   /* children of all nodes */
} uringvfs__tree_map;

/* Remembers an interior page with its children. False if it was remembered already, or memory is out. */
bool uringvfs__tree_learn(uringvfs__tree_map *map, uint32_t pgno, const uringvfs__cells *cells);
/* False: not known, and *place is {0, 0}, which leads nowhere. thoroughly: by looking everywhere that rows can be
** looked up. */
bool uringvfs__tree_find(uringvfs__tree_map *map, uint32_t pgno, uringvfs__place *place, bool thoroughly);
/* Makes the page and its neighbours be found again, whose places others have taken. Looks everywhere. */
void uringvfs__tree_remind(uringvfs__tree_map *map, uint32_t pgno);
/*
** The page after (direction 1) or before (-1) the one at *place, on the same level of the tree, where *place is moved
** to. 0: there is none, or it is not known; *interior is then the interior page that would tell, or 0.
*/
uint32_t uringvfs__tree_step(uringvfs__tree_map *map, uringvfs__place *place, int direction, uint32_t *interior);
/* The interior pages after (or before) the one of `place`, on its level; returns how many were found. */
unsigned uringvfs__tree_siblings(uringvfs__tree_map *map, uringvfs__place place, int direction, uint32_t *pages,
                                 unsigned most);
/* The children of an interior page, NULL: it is not known. */
const uint32_t *uringvfs__tree_children(uringvfs__tree_map *map, uint32_t pgno, unsigned *count);
bool uringvfs__tree_is_interior(uringvfs__tree_map *map, uint32_t pgno);
bool uringvfs__tree_has_parent(uringvfs__tree_map *map, uint32_t pgno);
/* This page is a leaf: that says the levels above it. */
void uringvfs__tree_leaf_seen(uringvfs__tree_map *map, uint32_t pgno);
/* The uppermost known interior page above a page of a table with rowids, or of an index by integers; or 0. */
uint32_t uringvfs__tree_root(uringvfs__tree_map *map, uint32_t pgno, bool thoroughly);
/* The number of the tree that the place is in: its uppermost known interior page; 0: only the one above the leaves is
** known. */
uint32_t uringvfs__tree_top(uringvfs__tree_map *map, uringvfs__place place);
/* Another such tree's uppermost interior page, above other interior pages: number i of them, 0: there are no more. */
uint32_t uringvfs__tree_other_root(const uringvfs__tree_map *map, unsigned i);
/*
** The leaf that holds the row of this rowid, from a root down; of an index, the first entry of a key that begins with
** this integer. 0: not known; *interior is then the interior page that would tell, or 0.
*/
uint32_t uringvfs__tree_leaf(uringvfs__tree_map *map, uint32_t root, int64_t rowid, uint32_t *interior);
/* The rowids, or integers that keys begin with, whose leaf is the page at `place`: above low, and up to high. False:
** they are not known. */
bool uringvfs__tree_span(uringvfs__tree_map *map, uringvfs__place place, int64_t *low, int64_t *high);
/* Keeps what may be kept between transactions. */
void uringvfs__tree_trim(uringvfs__tree_map *map);
void uringvfs__tree_clear(uringvfs__tree_map *map);

#endif
