/*
** readahead.h - the parts of the read-ahead: what is remembered of trees, and the pages that were read but not asked
** for yet.
**
** readahead.c, stream.c, row_lookup.c and overflow.c decide, btree_page.c and wal_index.c read the file's structures,
** page_io.c reads the pages. All of it belongs to one database file object, which SQLite uses from one thread at a
** time.
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

/* What this connection has done in its present transaction is included. */
void uringvfs__readahead_stats(uringvfs_file *database, uringvfs_readahead_stats *stats);

/* ---- tree_map.c: which page comes after which, and which leaf holds a row ---- */

enum {
  URINGVFS_TREE_NODES = 512,
  URINGVFS_TREE_SLOT_BITS = 11,
  URINGVFS_TREE_HEAD_BITS = 8,
};

/* The position of a page among its parent's children. */
typedef struct uringvfs_place {
  uint16_t node; /* of the tree map */
  uint16_t position;
} uringvfs_place;

typedef struct uringvfs_tree_node {
  uint32_t pgno; /* of the interior page, 0: unused                                         */
  uint32_t count;
  uint32_t *children; /* their page numbers, in the order of the keys                       */
  int64_t *keys;      /* the largest below each child but the last, see uringvfs__tree_leaf; or NULL */
  uint32_t parent;    /* its page number, 0: not known                                      */
  uint32_t used;      /* the map's clock when it was last of use                            */
  uint16_t asked[2];  /* positions of the children last asked for                           */
  uint16_t next;      /* in its hash chain, 0: the end                                      */
  uint8_t level;      /* 1: its children are leaves, 2: theirs are, ...; 0: not known       */
} uringvfs_tree_node;

/*
** Interior pages as they were when they were last seen, within a fixed budget. A hint and no more: it may be out of
** date, or lie.
*/
typedef struct uringvfs_tree_map {
  uringvfs_tree_node nodes[URINGVFS_TREE_NODES]; /* the first is never used */
  uint16_t heads[1 << URINGVFS_TREE_HEAD_BITS];
  uringvfs_place slots[1 << URINGVFS_TREE_SLOT_BITS];
  uint32_t clock;
  uint32_t learned; /* interior pages so far */
  uint32_t total;   /* children of all nodes */
} uringvfs_tree_map;

/* Remembers an interior page with its children. False if it was remembered already, or memory is out. */
bool uringvfs__tree_learn(uringvfs_tree_map *map, uint32_t pgno, const uringvfs_cells *cells);
/* False: not known, and *place is {0, 0}, which leads nowhere. thoroughly: by looking everywhere that rows can be
** looked up. */
bool uringvfs__tree_find(uringvfs_tree_map *map, uint32_t pgno, uringvfs_place *place, bool thoroughly);
/* Makes the page and its neighbours be found again, whose places others have taken. Looks everywhere. */
void uringvfs__tree_remind(uringvfs_tree_map *map, uint32_t pgno);
/*
** The page after (direction 1) or before (-1) the one at *place, on the same level of the tree, where *place is moved
** to. 0: there is none, or it is not known; *interior is then the interior page that would tell, or 0.
*/
uint32_t uringvfs__tree_step(uringvfs_tree_map *map, uringvfs_place *place, int direction, uint32_t *interior);
/* The interior pages after (or before) the one of `place`, on its level; returns how many were found. */
unsigned uringvfs__tree_siblings(uringvfs_tree_map *map, uringvfs_place place, int direction, uint32_t *pages,
                                 unsigned most);
/* The children of an interior page, NULL: it is not known. */
const uint32_t *uringvfs__tree_children(uringvfs_tree_map *map, uint32_t pgno, unsigned *count);
bool uringvfs__tree_is_interior(uringvfs_tree_map *map, uint32_t pgno);
/* This page is a leaf: that says the levels above it. */
void uringvfs__tree_leaf_seen(uringvfs_tree_map *map, uint32_t pgno);
/* The uppermost known interior page above a page of a table with rowids, or of an index by integers; or 0. */
uint32_t uringvfs__tree_root(uringvfs_tree_map *map, uint32_t pgno, bool thoroughly);
/* Another such tree's uppermost interior page, above other interior pages: number i of them, 0: there are no more. */
uint32_t uringvfs__tree_other_root(const uringvfs_tree_map *map, unsigned i);
/*
** The leaf that holds the row of this rowid, from a root down; of an index, the first entry of a key that begins with
** this integer. 0: not known; *interior is then the interior page that would tell, or 0.
*/
uint32_t uringvfs__tree_leaf(uringvfs_tree_map *map, uint32_t root, int64_t rowid, uint32_t *interior);
/* Keeps what may be kept between transactions. */
void uringvfs__tree_trim(uringvfs_tree_map *map);
void uringvfs__tree_clear(uringvfs_tree_map *map);

/* ---- page_buffer.c: pages read ahead ---- */

enum { URINGVFS_BUFFER_SLOTS = 256, URINGVFS_BUFFER_HEADS = 512 };

/* Where a page is to be read from, and which read-ahead wants it. */
typedef struct uringvfs_source {
  bool wal;
  uint8_t stream;
  uint64_t offset; /* bytes, in the database file or the WAL */
} uringvfs_source;

typedef enum uringvfs_slot_state {
  URINGVFS_SLOT_FREE,
  URINGVFS_SLOT_RESERVED, /* the page is being read                                   */
  URINGVFS_SLOT_FILLED,   /* it is here                                               */
  URINGVFS_SLOT_ADVISED   /* it is not, but the kernel was asked to have it in its cache */
} uringvfs_slot_state;

typedef struct uringvfs_slot {
  uringvfs_source source;
  uint16_t next; /* in its hash chain; URINGVFS_BUFFER_SLOTS: the end */
  uringvfs_slot_state state;
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
/* Gives a slot for a page that is about to be read. *lost: none was free, and a page that waited in one is gone. */
unsigned uringvfs__buffer_reserve(uringvfs_page_buffer *b, const uringvfs_source *source, bool *lost);
/* The page has come (URINGVFS_SLOT_FILLED), or the kernel was asked for it (URINGVFS_SLOT_ADVISED). */
void uringvfs__buffer_fill(uringvfs_page_buffer *b, unsigned slot, uringvfs_slot_state state);
static inline uint8_t *uringvfs__buffer_page(const uringvfs_page_buffer *b, unsigned slot) {
  return b->memory + URINGVFS_BATCH_BYTES + (size_t)slot * b->page_size;
}
/* The slot of the page, filled or advised, or -1. */
int uringvfs__buffer_find(uringvfs_page_buffer *b, bool wal, uint64_t offset);
/* The page in that slot, NULL: it is not here. */
static inline const uint8_t *uringvfs__buffer_content(const uringvfs_page_buffer *b, int slot) {
  const bool here = slot >= 0 && b->slots[slot].state == URINGVFS_SLOT_FILLED;
  return here ? uringvfs__buffer_page(b, (unsigned)slot) : NULL;
}
void uringvfs__buffer_drop(uringvfs_page_buffer *b, unsigned slot);
/* Everything goes, the memory too. Returns how many pages nobody had asked for. */
unsigned uringvfs__buffer_close(uringvfs_page_buffer *b);

/* ---- page_advice.c: pages that the kernel reads into its cache ---- */

typedef struct uringvfs_range {
  uint64_t offset, bytes;
} uringvfs_range;

bool uringvfs__can_advise(const uringvfs_file *f);
/* Asks for these parts of the file without waiting for them. Returns for how many; 0: it cannot be done with this
** file. */
unsigned uringvfs__advise(uringvfs_file *f, const uringvfs_range *ranges, unsigned count);

/* ---- leaf_blocks.c: blocks that are full of wanted leaves ---- */

/* For the length of one tenure. */
typedef struct uringvfs_leaf_blocks {
  uint64_t *wanted; /* a bit for each page, NULL: no scan has come far enough */
  uint64_t *asked;  /* likewise, a block's bits together                      */
  uint32_t *stamps; /* of each block, the clock when it was asked for          */
  uint32_t pages;
  unsigned per_block;
  uint32_t clock;        /* pages read                                        */
  unsigned blocks, gone; /* asked for; of these, not there any more           */
  bool useless;
} uringvfs_leaf_blocks;

/* A scan will want these leaves. */
void uringvfs__blocks_want(uringvfs_leaf_blocks *b, uint32_t page_size, uint64_t database_bytes, const uint32_t *leaves,
                           unsigned count);
bool uringvfs__blocks_asked(const uringvfs_leaf_blocks *b, uint32_t pgno);
/* Is the page's block worth being read as a whole? */
bool uringvfs__blocks_dense(const uringvfs_leaf_blocks *b, uint32_t pgno);
/* It is asked for as a whole: *pgno becomes its first page; returns how many it has. */
uint32_t uringvfs__blocks_take(uringvfs_leaf_blocks *b, uint32_t *pgno);
/* A page has been read; slow: from the device. If its block was asked for long ago, the kernel has given it up
** again. */
void uringvfs__blocks_came(uringvfs_leaf_blocks *b, uint32_t pgno, bool slow);
/* No more blocks until the next tenure. */
void uringvfs__blocks_give_up(uringvfs_leaf_blocks *b);
void uringvfs__blocks_free(uringvfs_leaf_blocks *b);

/* Builds that test hand out nothing that the file does not hold, and read ahead always. */
#ifdef URINGVFS_VERIFY_READAHEAD
enum { URINGVFS_VERIFY = 1 };
#else
enum { URINGVFS_VERIFY = 0 };
#endif

/* Does it make a difference whether the kernel has a page in its cache? Not where every read takes the ring. */
static inline bool uringvfs__cache_matters(const uringvfs_file *database) {
  return !URINGVFS_VERIFY && database->options.backend != RT_BACKEND_URING;
}

/* ---- stream.c: scans ---- */

/* Two leaves are looked at for columns that lead to rows. */
enum { URINGVFS_ROWS_OF_INDEX, URINGVFS_ROWS_OF_TABLE, URINGVFS_ROW_LOOKUPS, URINGVFS_ROW_COLUMNS = 8 };

enum {
  URINGVFS_STREAMS = 8,
  URINGVFS_STREAM_NUMBERS = URINGVFS_STREAMS, /* pages in the order of their numbers          */
  URINGVFS_STREAM_OVERFLOW,                   /* the rest of rows that a leaf cannot hold      */
  URINGVFS_STREAM_ROWS,                       /* from here on, the rows that a column leads to */
  URINGVFS_STREAMS_ALL = URINGVFS_STREAM_ROWS + URINGVFS_ROW_LOOKUPS * URINGVFS_ROW_COLUMNS,

  URINGVFS_FIRST_DEPTH = 2,  /* pages                                                              */
  URINGVFS_MOST_CAUTION = 4, /* pages in a row more, after read-aheads that nobody wanted           */
  URINGVFS_PATIENCE = 4      /* pages of unknown parents in a row that make a noted page worth reading */
};

typedef enum uringvfs_direction { URINGVFS_BACKWARD = -1, URINGVFS_NOWHERE, URINGVFS_FORWARD } uringvfs_direction;

/* Whoever asks for pages in an order that can be foreseen. */
typedef struct uringvfs_stream {
  uringvfs_place place;         /* of the page asked for last                              */
  uringvfs_direction direction; /* URINGVFS_NOWHERE: unused                                */
  unsigned run;                 /* pages in a row                                          */
  uint32_t next;                /* page to be asked for, 0: not known                      */
  uint32_t learned;             /* the map's count when that was found out                 */
  uint32_t stamp;               /* when it last moved                                      */
  unsigned depth;               /* of the next batch                                       */
  unsigned read_ahead, used;    /* pages of the last batch                                 */
  bool cached;                  /* the kernel has the pages: one by one is the faster way  */
  uint8_t untimed;              /* reads that need not be timed                            */
  bool slow;                    /* the one timed last was                                  */
} uringvfs_stream;

/* ---- row_lookup.c: row look-ups by the records of a leaf ---- */

/* The integers in one column of a leaf's records. */
typedef struct uringvfs_row_column {
  uint8_t number; /* as in uringvfs_integers                                 */
  bool certain;   /* these are rowids                                        */
  int64_t *rowids;
  unsigned count;
  int next;                     /* the record whose row is expected                           */
  uringvfs_direction direction; /* URINGVFS_NOWHERE before two rows were found                */
  uint32_t root;                /* of the table where the rows are                            */
  uint32_t page;                /* of the row found last                                      */
  unsigned hits;                /* rows found,                                                */
  unsigned passed;              /* pages passed by in between,                                */
  unsigned misses;              /* and leaves asked for since that belong to no record        */
} uringvfs_row_column;

/* The leaf seen last whose records may name rows. */
typedef struct uringvfs_row_lookup {
  uint32_t leaf;        /* 0: none                                                    */
  uringvfs_place place; /* of a table's leaf, {0, 0}: not known                       */
  bool known;           /* the columns are its own                                    */
  unsigned searches;    /* made in tables since then                                  */
  unsigned followers;   /* other pages asked for since that came from the device      */
  unsigned doubt;       /* followers more before the next leaf is taken apart         */
  uint32_t root;        /* of the table found last                                    */
  int64_t *memory;      /* of the columns                                             */
  unsigned columns_used;
  uringvfs_row_column columns[URINGVFS_ROW_COLUMNS];
} uringvfs_row_lookup;

/* ---- overflow.c: the overflow pages of row after row ---- */

typedef struct uringvfs_overflow {
  uint32_t leaf;                               /* taken apart last, which SQLite still reads; 0: none */
  uringvfs_chain chains[URINGVFS_LEAF_CHAINS]; /* of its cells                                        */
  int count;                                   /* of them                                             */
  int at;                                      /* the one that is being read; -1: none yet            */
  unsigned link;                               /* which of its pages was asked for last, from 0       */
  uint32_t page;                               /* the number of that page                             */
  uint32_t next;                               /* of the one behind it; 0: not known, or none         */
  uringvfs_direction direction;                /* URINGVFS_NOWHERE before two rows were found         */
  unsigned hits;                               /* rows in order, far from each other                  */
  unsigned idle;                               /* leaves in a row without chains                      */
  unsigned slow;                               /* more overflow pages came from the device than not   */
  unsigned cached;                             /* batches in a row that did not                       */
  unsigned doubt;                              /* slow pages more before leaves are taken apart       */
  unsigned suspicion;                          /* rows more before anything is read ahead             */
  uint8_t untimed;                             /* reads that need not be timed                        */
} uringvfs_overflow;

struct uringvfs_readahead {
  uringvfs_tree_map map;
  uringvfs_page_buffer buffer;
  uringvfs_leaf_blocks blocks;
  uringvfs_wal_snapshot wal_frames;
  uringvfs_stream streams[URINGVFS_STREAMS_ALL];
  uringvfs_row_lookup rows[URINGVFS_ROW_LOOKUPS];
  uint32_t row_page;                    /* that uringvfs__rows_of was asked for last    */
  const uringvfs_row_lookup *row_named; /* whose record names a row on it, NULL: nobody's */
  uint8_t untimed;                      /* reads alone that need not be timed            */
  uringvfs_overflow overflow;
  uint32_t clock;
  unsigned latest;      /* stream that moved as expected                           */
  unsigned undisturbed; /* pages in a row that the kernel had                      */
  unsigned coasting;    /* pages that need not be looked at                       */
  unsigned faults;      /* pages of scans that came from the device when SQLite touched their mapping */
  unsigned caution;
  unsigned issued, used, wasted, batches, deepest; /* not yet in the totals */
  /* To learn an interior page costs as much as to read it. Where only single rows are looked up it is put off. */
  unsigned nodes_in_vain; /* learned since the last batch      */
  uint32_t noted[4];      /* not learned, the latest first     */
  unsigned strangers;     /* pages of unknown parents in a row */
  /* Pages that no stream wanted and that came from the device, and how many make it worth looking everywhere. */
  unsigned lost, most_lost;
  unsigned patience;
};

/* The stream that asked for this page last, or NULL. */
const uringvfs_stream *uringvfs__stream_at(const uringvfs_readahead *ra, uint32_t pgno);
/* Pages of the parent that the stream has not come to yet; 0: it follows no parent. */
unsigned uringvfs__stream_left(const uringvfs_readahead *ra, const uringvfs_stream *s);
/* Moves the stream that asked for this page. NULL: there is none, or its evidence is not enough to read ahead. */
uringvfs_stream *uringvfs__stream_of(uringvfs_file *database, uint32_t pgno);

/* SQLite has read this leaf. */
void uringvfs__rows_leaf(uringvfs_file *database, uint32_t pgno, const uint8_t *page, bool table);
/* Is this page the leaf of a row that a record leads to? As uringvfs__stream_of. */
uringvfs_stream *uringvfs__rows_of(uringvfs_file *database, uint32_t pgno);
/* Is any of its columns known to lead to rows? */
bool uringvfs__rows_are_followed(const uringvfs_row_lookup *l);
/* Does it want to know whether the page now asked for comes from the device? And: it did. */
static inline bool uringvfs__rows_are_waiting(const uringvfs_row_lookup *l) { return l->leaf != 0 && !l->known; }
static inline void uringvfs__rows_slow_follower(uringvfs_row_lookup *l) { l->followers++; }
/* The transaction is over. */
void uringvfs__rows_end(uringvfs_row_lookup *l);

/* The transaction is over. */
void uringvfs__overflow_end(uringvfs_readahead *ra);
/* SQLite has read this leaf. */
void uringvfs__overflow_leaf(uringvfs_file *database, uint32_t pgno, const uint8_t *page);
/* Is this page, which SQLite now asks for, an overflow page of the leaf? */
bool uringvfs__overflow_asked(uringvfs_file *database, uint32_t pgno);
/* If it is: as uringvfs__stream_of. */
uringvfs_stream *uringvfs__overflow_of(uringvfs_file *database);
/* What it says comes behind it. */
static inline void uringvfs__overflow_came(uringvfs_overflow *o, uint32_t pgno, const uint8_t *page) {
  if (o->page == pgno) o->next = uringvfs__page_next_overflow(page);
}
/* Has it found rows in order? Then it wants to see the leaves that follow. */
bool uringvfs__overflow_is_followed(const uringvfs_overflow *o);
/* Does it want to know whether the page now asked for comes from the device? And: it did, or did not. */
static inline bool uringvfs__overflow_is_waiting(uringvfs_overflow *o) {
  if (o->untimed == 0) return true;
  o->untimed--;
  return false;
}
void uringvfs__overflow_timed(uringvfs_overflow *o, bool slow, bool of_a_tree);

/* ---- page_batch.c: reading pages together ---- */

/* In the order of the files. */
typedef struct uringvfs_batch {
  uringvfs_source sources[URINGVFS_READAHEAD_MAX + 1];
  unsigned slots[URINGVFS_READAHEAD_MAX + 1];
  unsigned count;
  uint64_t database_bytes;
} uringvfs_batch;

/* Where SQLite would read the page from. */
uringvfs_source uringvfs__source_of(const uringvfs_file *database, uint32_t pgno);
/* The number of the page that is read here, or 0 if this is not the reading of a page. */
uint32_t uringvfs__page_number(const uringvfs_file *database, bool wal, int amount, uint64_t offset);
/* False: there is no such page in the database file. One that is in the buffer, or waits to be written, is left out. */
bool uringvfs__batch_add(uringvfs_file *database, uringvfs_batch *b, uringvfs_source source);
/* Adds what the stream will want after pgno. */
void uringvfs__stream_predict(uringvfs_file *database, const uringvfs_stream *s, uint32_t pgno, uringvfs_batch *b);
void uringvfs__rows_predict(uringvfs_file *database, const uringvfs_stream *s, uint32_t pgno, uringvfs_batch *b);
void uringvfs__overflow_predict(uringvfs_file *database, uringvfs_batch *b);
/* How a page is got that no batch has brought. */
typedef enum uringvfs_way {
  URINGVFS_READ_ALONE,  /* nothing else is wanted                                                      */
  URINGVFS_READ_BATCH,  /* it was read with what the stream will want after it, and is in the buffer   */
  URINGVFS_READ_ADVISED /* the kernel was asked for both: read it                                      */
} uringvfs_way;
uringvfs_way uringvfs__read_with_next(uringvfs_file *database, uringvfs_stream *s, uint32_t pgno,
                                      uringvfs_source wanted, bool mapped);
/* Asks the kernel for more of what the stream will want, when most of what was asked for is used up. */
void uringvfs__advise_more(uringvfs_file *database, uringvfs_stream *s, uint32_t pgno);
/* Reads interior pages for the map alone. What turns out to be another page waits in the buffer. */
void uringvfs__read_interiors(uringvfs_file *database, const uint32_t *pages, unsigned count);
/* One page into `page`, from wherever it is; nothing is reported. */
bool uringvfs__read_hint(uringvfs_file *database, uint32_t pgno, uint8_t *page);

/* ---- readahead.c ---- */

/* Remembers an interior page, or a page that claims to be one. */
void uringvfs__readahead_learn(uringvfs_file *database, uint32_t pgno, const uint8_t *page);
void uringvfs__readahead_wasted(uringvfs_readahead *ra, unsigned n);

#endif
