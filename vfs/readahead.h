/*
** readahead.h - the parts of the read-ahead: what is remembered of trees, and the pages that were read but not asked for yet.
**
** readahead.c and stream.c decide, btree_page.c and wal_index.c read the file's structures, page_io.c reads the pages. All of it belongs to one
** database file object, which SQLite uses from one thread at a time.
*/
#ifndef URINGVFS_READAHEAD_H
#define URINGVFS_READAHEAD_H

#include "internal.h"

/* ---- readahead.c ---- */

/* Since the process started. */
typedef struct uringvfs_readahead_stats {
  uint64_t issued;  /* pages read ahead                                   */
  uint64_t used;    /* of these, handed out                               */
  uint64_t wasted;  /* of these, dropped                                  */
  uint64_t batches; /* reads of several pages                             */
  uint64_t deepest; /* pages of the largest batch                         */
} uringvfs_readahead_stats;

/* What this connection (NULL: none) has done in its present transaction is included. */
void uringvfs__readahead_stats(uringvfs_file *database, uringvfs_readahead_stats *stats);

/* ---- tree_map.c: which page comes after which ---- */

enum { URINGVFS_TREE_NODES = 64, URINGVFS_TREE_SLOTS = 4096 };

/* The position of a page among its parent's children. */
typedef struct uringvfs_place {
  uint16_t node; /* of the tree map */
  uint16_t position;
} uringvfs_place;

typedef struct uringvfs_tree_node {
  uint32_t pgno; /* of the interior page, 0: unused              */
  uint32_t count;
  uint32_t *children; /* their page numbers, in the order of the keys */
  bool upper;         /* its children are interior pages themselves   */
  uint16_t asked[2];  /* positions of the children last asked for     */
  uint32_t used;      /* the map's clock when it was last of use      */
} uringvfs_tree_node;

/*
** Interior pages as they were when they were last seen, within a fixed budget. A hint and no more: it may be out of date, or lie.
*/
typedef struct uringvfs_tree_map {
  uringvfs_tree_node nodes[URINGVFS_TREE_NODES];
  uringvfs_place slots[URINGVFS_TREE_SLOTS]; /* by page number; a later page may take the slot of an earlier one */
  uint32_t clock;
  uint32_t total; /* children of all nodes */
} uringvfs_tree_map;

/* Remembers an interior page with its children. False if it was remembered already, or memory is out. */
bool uringvfs__tree_learn(uringvfs_tree_map *map, uint32_t pgno, const uringvfs_cells *cells);
bool uringvfs__tree_has(uringvfs_tree_map *map, uint32_t pgno);
bool uringvfs__tree_find(uringvfs_tree_map *map, uint32_t pgno, uringvfs_place *place);
/*
** The page after (direction 1) or before (-1) the one at *place, on the same level of the tree, where *place is moved to. 0: there is none, or
** it is not known; *interior is then the interior page that would tell, or 0.
*/
uint32_t uringvfs__tree_step(uringvfs_tree_map *map, uringvfs_place *place, int direction, uint32_t *interior);
void uringvfs__tree_clear(uringvfs_tree_map *map);

/* ---- page_buffer.c: pages read ahead ---- */

enum { URINGVFS_BUFFER_SLOTS = 256, URINGVFS_BUFFER_HEADS = 512 };

/* Where a page is to be read from, and which read-ahead wants it. */
typedef struct uringvfs_source {
  bool wal;
  uint8_t stream;
  uint64_t offset; /* bytes, in the database file or the WAL */
} uringvfs_source;

typedef struct uringvfs_slot {
  uringvfs_source source;
  uint16_t next; /* in its hash chain; URINGVFS_BUFFER_SLOTS: the end */
  enum { URINGVFS_SLOT_FREE, URINGVFS_SLOT_RESERVED, URINGVFS_SLOT_FILLED } state;
} uringvfs_slot;

/* Room for the operations of a batch at the beginning of the block. */
#define URINGVFS_BATCH_BYTES 32768

/* A memory block cut into pages, for the length of one tenure. */
typedef struct uringvfs_page_buffer {
  uint8_t *memory; /* NULL: nothing was read ahead in this tenure */
  uint32_t page_size;
  unsigned capacity; /* slots                                       */
  unsigned taken;    /* of them                                     */
  unsigned next;     /* where the search for the next slot begins   */
  uringvfs_slot slots[URINGVFS_BUFFER_SLOTS];
  uint16_t heads[URINGVFS_BUFFER_HEADS];
} uringvfs_page_buffer;

/* Takes memory for pages of this size; false: there is none. */
bool uringvfs__buffer_open(uringvfs_page_buffer *b, uint32_t page_size);
/* Gives a slot for a page that is about to be read. If none is free it is the one that was filled first; *lost is then the stream that
** wanted what was in it, otherwise -1. */
unsigned uringvfs__buffer_reserve(uringvfs_page_buffer *b, const uringvfs_source *source, int *lost);
/* The page has come. */
void uringvfs__buffer_fill(uringvfs_page_buffer *b, unsigned slot);
static inline uint8_t *uringvfs__buffer_page(const uringvfs_page_buffer *b, unsigned slot) {
  return b->memory + URINGVFS_BATCH_BYTES + (size_t)slot * b->page_size;
}
/* The slot that holds the page, or -1. */
int uringvfs__buffer_find(uringvfs_page_buffer *b, bool wal, uint64_t offset);
void uringvfs__buffer_drop(uringvfs_page_buffer *b, unsigned slot);
/* Everything goes, the memory too. Returns how many pages nobody had asked for. */
unsigned uringvfs__buffer_close(uringvfs_page_buffer *b);

#endif
