/*
** readahead.h - reading ahead, as the rest of the VFS sees it: reading a page, and until when what was read before it
** was asked for may be handed out. README.md in this folder says how it works.
**
** All of it belongs to one database file object, which SQLite uses from one thread at a time.
*/
#ifndef URINGVFS_READAHEAD_H
#define URINGVFS_READAHEAD_H

#include <stdbool.h>
#include <stdint.h>

#include "btree_page.h"

struct uringvfs__file;
typedef struct uringvfs__readahead uringvfs__readahead;

/* Reads from the database file or its WAL (which of the two is `file`), with what is to be asked for next. Returns what
** xRead returns. The arguments of xRead stay in their places: this is called for every page. */
int uringvfs__readahead_read(struct uringvfs__file *file, void *data, int amount, int64_t offset,
                             struct uringvfs__file *database);
/* SQLite has been given a page of the mapped database file, and is about to read it. */
void uringvfs__readahead_fetched(struct uringvfs__file *database, const void *page, int amount, int64_t offset);

/* The options have changed. */
void uringvfs__readahead_reconsider(struct uringvfs__file *database);

/* ---- validity: tenure.c says when ---- */

/* Does anything wait to be handed out? */
bool uringvfs__readahead_holds_pages(const struct uringvfs__file *database);
/* SQLite is about to write this part of the file. */
void uringvfs__readahead_written(struct uringvfs__file *database, bool wal, int64_t offset, int amount);
/* What was read ahead may no longer be handed out. */
void uringvfs__readahead_drop(struct uringvfs__file *database);
/* A tenure has ended, or a new one begun: what was read ahead in the one may not be handed out in the other. */
void uringvfs__readahead_tenure_changes(struct uringvfs__file *database);
void uringvfs__readahead_close(struct uringvfs__file *database);

/* ---- statistics ---- */

/* Since the process started. */
typedef struct uringvfs__readahead_counts {
  uint64_t issued;  /* pages read ahead                                   */
  uint64_t used;    /* of these, handed out                               */
  uint64_t wasted;  /* of these, dropped                                  */
  uint64_t batches; /* reads of several pages                             */
  uint64_t deepest; /* pages of the largest batch                         */
} uringvfs__readahead_counts;

/* What this connection has done in its present transaction is included. */
void uringvfs__readahead_stats(struct uringvfs__file *database, uringvfs__readahead_counts *stats);

#endif
