/*
** btree_page.h - what the pages of a b-tree say about other pages: functions of bytes, which know no file.
*/
#ifndef URINGVFS_BTREE_PAGE_H
#define URINGVFS_BTREE_PAGE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct uringvfs__format {
  uint32_t page_size; /* bytes; 0: not known yet            */
  uint32_t usable;    /* without what is reserved at its end */
} uringvfs__format;

typedef enum uringvfs__kind {
  URINGVFS__PAGE_OTHER, /* not a page of a b-tree */
  URINGVFS__PAGE_INTERIOR,
  URINGVFS__PAGE_LEAF_TABLE,
  URINGVFS__PAGE_LEAF_INDEX
} uringvfs__kind;

/* The cells of a page whose array of cell pointers lies within it. */
typedef struct uringvfs__cells {
  const uint8_t *page;
  uint32_t usable;
  uint32_t pointers; /* offset of the array              */
  unsigned count;
  bool table; /* of a table with rowids, not of an index */
} uringvfs__cells;

/* From the beginning of page 1. False if it is not a database's. */
bool uringvfs__page_format(const uint8_t *page1, uint32_t amount, uringvfs__format *format);

enum {
  URINGVFS__HEADER_BYTES = 100, /* of the file, before the b-tree header of page 1 */
  URINGVFS__INTERIOR_INDEX = 0x02,
  URINGVFS__INTERIOR_TABLE = 0x05,
  URINGVFS__LEAF_INDEX = 0x0a,
  URINGVFS__LEAF_TABLE = 0x0d
};

/* Asked of every page that is read, so it is one look at a table. */
static inline uringvfs__kind uringvfs__page_kind(const uint8_t *page, uint32_t pgno) {
  static const uint8_t kinds[256] = {[URINGVFS__INTERIOR_INDEX] = URINGVFS__PAGE_INTERIOR,
                                     [URINGVFS__INTERIOR_TABLE] = URINGVFS__PAGE_INTERIOR,
                                     [URINGVFS__LEAF_INDEX] = URINGVFS__PAGE_LEAF_INDEX,
                                     [URINGVFS__LEAF_TABLE] = URINGVFS__PAGE_LEAF_TABLE};
  return (uringvfs__kind)kinds[page[pgno == 1 ? URINGVFS__HEADER_BYTES : 0]];
}

/* False if the page is none of a b-tree, or damaged. */
bool uringvfs__page_cells(const uint8_t *page, uint32_t pgno, const uringvfs__format *format, uringvfs__cells *c);
/* Of an interior page, its child number i; there is one more than cells. 0: the page is damaged. */
uint32_t uringvfs__page_child(const uringvfs__cells *c, unsigned i);
/* Of a table's interior page, the largest rowid below child i. */
int64_t uringvfs__page_key(const uringvfs__cells *c, unsigned i);

/* Of an index's interior page, the integer that the record behind child i begins with; false if it is none. */
bool uringvfs__page_index_key(const uringvfs__cells *c, unsigned i, int64_t *key);

enum { URINGVFS__INTEGERS_MOST = 16, URINGVFS__COLUMN_ROWID = 0 };

/* What may be a rowid: the integers of a record, with the numbers of their columns, from 1. */
typedef struct uringvfs__integers {
  unsigned count;
  uint8_t column[URINGVFS__INTEGERS_MOST];
  int64_t value[URINGVFS__INTEGERS_MOST];
} uringvfs__integers;

/*
** Of a leaf, the integers in record i as far as it is on this page. URINGVFS__COLUMN_ROWID is of a table the row's own
** rowid, of an index what is at the end of the record: the rowid, if the table has any.
*/
void uringvfs__page_integers(const uringvfs__cells *c, unsigned i, uringvfs__integers *found);

/* The overflow pages of a cell. */
typedef struct uringvfs__chain {
  uint32_t first; /* page number */
  uint32_t pages; /* at least 1  */
} uringvfs__chain;

/* A leaf has fewer: so much of each payload stays on it that eleven fill it at any page size. */
enum { URINGVFS__LEAF_CHAINS = 16 };

/* Of a leaf, the chains of its cells in their order. Returns how many there are. */
unsigned uringvfs__page_chains(const uringvfs__cells *c, uringvfs__chain chains[URINGVFS__LEAF_CHAINS]);
/* Of an overflow page, the one behind it; 0: it is the last. */
uint32_t uringvfs__page_next_overflow(const uint8_t *page);

#endif
