/*
** support_btree.h - the worked example of runtime/README.md: looking up several keys of a small tree on disk at once.
**
** Three levels of state machines, each knowing only the one below:
**
**   bt_search    all keys: steps every descent, waits for what they wait for as one group, steps them again
**   bt_descent   one key: from the root to a leaf, a page at a time
**   bt_page      one page: reads it and checks it
*/
#ifndef SUPPORT_BTREE_H
#define SUPPORT_BTREE_H

#include "rt.h"

#define BT_PAGE     256u
#define BT_FANOUT   8u
#define BT_MAX_KEYS 16u

/* A page. Interior: child[i] has the keys from key[i] up to key[i+1]. Leaf: child[i] is the value of key[i]. */
typedef struct bt_node {
  uint32_t checksum; /* of all that follows */
  uint16_t leaf, count;
  uint32_t key[BT_FANOUT], child[BT_FANOUT];
  char rest[BT_PAGE - 8 - 8 * BT_FANOUT];
} bt_node;
_Static_assert(sizeof(bt_node) == BT_PAGE, "a node is a page");

uint32_t bt_checksum(const bt_node *n);
/* Where value(key) = 3 * key + 1 of the keys 0 .. keys-1, as pages at `pages`; returns how many. Page 0 is the root. */
unsigned bt_build(bt_node *pages, unsigned max_pages, unsigned keys);

typedef struct bt_page {
  enum { BT_IDLE, BT_READING } state;
  rt_op op;
  bt_node node;
} bt_page;

typedef struct bt_descent {
  rt_machine machine;
  rt_loop *loop;
  rt_file *file;
  uint32_t key, value, next; /* the page to be read next */
  bt_page page;
} bt_descent;

typedef struct bt_search {
  rt_machine machine;
  enum { BT_STEPPING, BT_WAITING } state;
  unsigned count;
  int error; /* of the first key, in order, that failed */
  bool ended[BT_MAX_KEYS];
  bt_descent descents[BT_MAX_KEYS];
  rt_group group;
} bt_search;

/* After Done descents[i].value is that of keys[i]; a key that is not there is -ENOENT. */
void bt_search_init(bt_search *s, rt_loop *loop, rt_file *file, const uint32_t *keys, unsigned count);
/* How often a search was cleaned up. */
extern unsigned bt_cleanups;

#endif
