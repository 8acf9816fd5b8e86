/*
** rows.h - which rows, or entries of an index, records lead to: for predictors of what these lead to in turn.
*/
#ifndef URINGVFS_ROWS_H
#define URINGVFS_ROWS_H

#include "predictor.h"

/* What a record names: the leaf, and the rowid, or the integer that the keys of entries begin with. */
typedef struct uringvfs__named_row {
  int64_t value;
  uint32_t leaf;   /* 0: not known */
  unsigned stream; /* the column that it is from */
} uringvfs__named_row;

/* Does a record name something on this page, which was asked for last? */
bool uringvfs__rows_named(uringvfs__readahead *ra, uint32_t pgno, uringvfs__named_row *row);
/* What the same column will name next. Returns how many there are. */
unsigned uringvfs__rows_ahead(uringvfs__readahead *ra, unsigned stream, uringvfs__named_row *rows, unsigned most);
/* Reads the interior pages above these rows that the map does not know. */
void uringvfs__rows_load(uringvfs__readahead *ra, uint32_t root, const int64_t *rowids, unsigned count);

#endif
