/*
** support_pages.h - pages of b-trees: written by a recipe, and read as https://www.sqlite.org/fileformat2.html says,
** step by step.
**
** The reader shares nothing with vfs/readahead/btree_page.c and tells a well-formed cell from a damaged one: what a
** parser that treats every answer as a guess makes of the latter is its own affair.
*/
#ifndef TESTS_FUZZ_PAGES_H
#define TESTS_FUZZ_PAGES_H

#include <stdbool.h>
#include <stdint.h>

enum { PAGE_BYTES_MOST = 65536 };
enum { INTERIOR_INDEX = 2, INTERIOR_TABLE = 5, LEAF_INDEX = 10, LEAF_TABLE = 13 };

/* ---- reading ---- */

/* The sizes that the first `amount` bytes of a file give for its pages; false if it is not a database. */
bool plain_format(const uint8_t *bytes, uint32_t amount, uint32_t *page_bytes, uint32_t *usable);

typedef struct plain_page {
  const uint8_t *bytes;
  uint32_t usable;
  uint32_t pointers; /* where the array of cell pointers begins */
  unsigned count;
  bool interior, table;
} plain_page;

/* False: it is not a page of a b-tree, or its cell pointers do not fit. */
bool plain_read(const uint8_t *bytes, uint32_t pgno, uint32_t usable, plain_page *p);
/* 0: the page does not say. */
uint32_t plain_child(const plain_page *p, unsigned i);
/* Of an interior page of a table. False: damaged. */
bool plain_key(const plain_page *p, unsigned i, int64_t *key);

/* Of a record with more columns nothing is said: PLAIN_DAMAGED. */
enum { PLAIN_COLUMNS_MOST = 64 };
typedef enum plain_answer { PLAIN_DAMAGED, PLAIN_INTEGER, PLAIN_OTHER } plain_answer;
/* The last column of a record in a leaf of an index. PLAIN_OTHER: it is no integer on this page. */
plain_answer plain_last_column(const plain_page *p, unsigned i, int64_t *value);

/* ---- writing ---- */

/* A page whose cells are all well-formed. Where they do not fit, several pointers lead to one cell. */
typedef struct page_recipe {
  uint8_t kind;
  unsigned count;               /* as many as there is room for */
  uint32_t first_child, stride; /* children in one row          */
  int64_t first_key, key_step;  /* of a table's interior page, or of the rowids in the leaf of an index */
  uint8_t type, text_bytes;     /* of a record: the rowid's serial type, and a column before it         */
} page_recipe;

void page_make(uint8_t *bytes, uint32_t pgno, uint32_t page_bytes, uint32_t usable, const page_recipe *r);

#endif
