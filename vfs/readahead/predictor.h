/*
** predictor.h - what the parts of reading ahead share: streams, predictors, and what a predictor may ask for.
**
** A predictor is a file: a table of functions, and a state that nobody else knows. It sees which pages SQLite asks for
** and what is on them, and keeps streams: each an order in which pages are asked for. Everything else is done for it:
** readahead.c asks it, distance.c says how far ahead a stream may be, fetch.c reads what it predicts. A new one is a
** line in the table of readahead.c.
*/
#ifndef URINGVFS_PREDICTOR_H
#define URINGVFS_PREDICTOR_H

#include "../internal.h"
#include "leaf_blocks.h"
#include "page_buffer.h"
#include "tree_map.h"

typedef enum uringvfs__direction { URINGVFS__BACKWARD = -1, URINGVFS__NOWHERE, URINGVFS__FORWARD } uringvfs__direction;

/* Pages that are asked for in an order which a predictor has recognised. */
typedef struct uringvfs__stream {
  uint8_t predictor;    /* whose it is: its number in the table                                   */
  bool goes_on;         /* what is predicted now belongs to what was predicted last               */
  bool steady;          /* each page is worked on: the kernel had better read while SQLite works  */
  uint32_t tree;        /* a number for what it goes through, for which trust is kept; 0: none    */
  unsigned run;         /* pages asked for in this order                                          */
  unsigned distance;    /* pages that it may be ahead of SQLite: its trust                        */
  unsigned ahead, used; /* pages read ahead last; of these, asked for                             */
  unsigned rest;        /* pages to come that memory has, or that the kernel reads ahead itself   */
  unsigned rested;      /* such pages in a row                                                    */
} uringvfs__stream;

/* What a predictor finds again: its state, which began as zeros, and its streams. */
typedef struct uringvfs__self {
  void *state;
  uringvfs__stream *streams;
} uringvfs__self;

/* What is to be read together, in the order of the files. */
typedef struct uringvfs__batch {
  uringvfs__source sources[URINGVFS__READAHEAD_MAX + 1];
  unsigned slots[URINGVFS__READAHEAD_MAX + 1];
  unsigned count;
  unsigned most; /* pages that predict() is to add before it stops; one or two more do no harm */
  uint8_t stream;
  bool interiors_for_map; /* interior pages are wanted for the map, and not kept */
} uringvfs__batch;

typedef struct uringvfs__predictor {
  size_t state_bytes;
  unsigned streams; /* at most */
  /*
  ** SQLite asks for this page, and does not have it yet. Returns the stream that it continues, if that has shown enough
  ** to be followed; otherwise NULL. claimed: the stream of an earlier predictor that says so too, which is overruled by
  ** an answer; or NULL.
  */
  uringvfs__stream *(*asked)(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno, uringvfs__stream *claimed);
  /* SQLite has this page; NULL: it had it a while ago, from memory, and nobody has looked at what it says. */
  void (*seen)(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno, const uint8_t *page, uringvfs__kind kind);
  /* Adds what the stream will want after pgno to the batch. */
  void (*predict)(uringvfs__readahead *ra, uringvfs__self *self, const uringvfs__stream *s, uint32_t pgno,
                  uringvfs__batch *b);
  /* Does it go by what is on the leaves that a scan will come to? Then these are read ahead into the buffer. NULL:
  ** no. */
  bool (*wants_leaves)(const uringvfs__self *self);
  /* The tenure is over: nothing that belongs to it may be kept. NULL: there is nothing. */
  void (*end)(uringvfs__readahead *ra, uringvfs__self *self);
} uringvfs__predictor;

/* Each in the file of its name. */
extern const uringvfs__predictor uringvfs__numbers, uringvfs__scan, uringvfs__overflow, uringvfs__rows,
    uringvfs__entries;

enum { URINGVFS__PREDICTORS_MOST = 8, URINGVFS__HABITS = 64 };

/* How long the streams through a tree are, see distance.c. */
typedef struct uringvfs__habit {
  uint32_t tree, reach;
} uringvfs__habit;

struct uringvfs__readahead {
  uringvfs__file *database;
  uringvfs__tree_map map;
  uringvfs__page_buffer buffer;
  uringvfs__leaf_blocks blocks;
  uringvfs__wal_snapshot wal_frames;
  uint64_t bytes; /* of the database file, as far as one knows                          */
  bool sized;     /* they were asked for in this tenure                                 */
  uringvfs__self predictors[URINGVFS__PREDICTORS_MOST];
  uringvfs__stream *streams; /* of all predictors                                                    */
  unsigned stream_count;
  uringvfs__stream *waited_for; /* the one that the page asked for was read ahead for, or NULL        */
  bool missed;                  /* the page that is seen now was not in memory                        */
  uringvfs__habit habits[URINGVFS__HABITS];
  bool busy;          /* something has been looked at in this tenure                               */
  unsigned attention; /* pages still to be looked at, whether memory has them or not               */
  unsigned misses;    /* since attention was last paid                                             */
  unsigned vain;      /* interior pages taken apart since anything was read ahead                  */
  unsigned hunts;     /* parents looked for in vain among the noted                                */
  unsigned strangers; /* pages in a row that memory did not have and of which nobody knows the parent */
  uint32_t noted[4];  /* interior pages that were not taken apart, the latest first                */
  unsigned issued, used, wasted, batches, deepest; /* not yet in the totals */
};

/* ---- readahead.c ---- */

/* The table, and its length. */
extern const uringvfs__predictor *const uringvfs__predictor_table[];
extern const int uringvfs__predictors;

/* Of this predictor. */
uringvfs__self *uringvfs__self_of(uringvfs__readahead *ra, const uringvfs__predictor *p);
/* Of this file, with what was known at the beginning of its tenure; NULL: out of memory. */
uringvfs__readahead *uringvfs__readahead_of(uringvfs__file *database);
/* So many pages were read ahead and not asked for. */
static inline void uringvfs__wasted(uringvfs__readahead *ra, unsigned n) { ra->wasted += n; }

/* Builds that test hand out nothing that the file does not hold, and read ahead always. */
#ifdef URINGVFS_VERIFY_READAHEAD
enum { URINGVFS__VERIFY = 1 };
#else
enum { URINGVFS__VERIFY = 0 };
#endif

/* ---- memory.c: what the kernel has in its cache ---- */

/* A page that SQLite asks for: to be read into `data`, or mapped already. */
typedef struct uringvfs__request {
  uringvfs__file *file; /* the database or its WAL */
  void *data;           /* to be read into                                         */
  const uint8_t *page;  /* where it is then                                        */
  bool mapped;          /* SQLite reads it through a mapping: `data` is not used   */
  int amount;
  int64_t offset;
} uringvfs__request;

typedef enum uringvfs__answer {
  URINGVFS__CAME,     /* it was in memory, and SQLite has it                 */
  URINGVFS__BELIEVED, /* it should be there: to be read                      */
  URINGVFS__MISSED    /* it is not, or believed not to be: to be read        */
} uringvfs__answer;

/* Does it make a difference whether the kernel has a page in its cache? Not where every read takes the ring. */
bool uringvfs__cache_matters(const uringvfs__file *database);
/* Pages between two questions, as long as the answer is yes: 1, 3, 7. */
static inline uint8_t uringvfs__slower(uint8_t pace) { return pace < 7 ? (uint8_t)(2 * pace + 1) : 7; }
/* Is the page in memory? At best it is read by that. */
uringvfs__answer uringvfs__ask(uringvfs__file *database, const uringvfs__request *r);
/* The same where rt_read_cached has answered this. */
uringvfs__answer uringvfs__asked(uringvfs__file *database, const uringvfs__request *r, int64_t got);

/* ---- parents.c: interior pages ---- */

/* Takes an interior page apart for the map. */
void uringvfs__learn(uringvfs__readahead *ra, uint32_t pgno, const uint8_t *page);
/* An interior page has passed by; NULL: a while ago, from memory. */
void uringvfs__interior(uringvfs__readahead *ra, uint32_t pgno, const uint8_t *page);
/* This page was not in memory. Perhaps nobody knows its parent? */
void uringvfs__stranger(uringvfs__readahead *ra, uint32_t pgno);

/* ---- distance.c: how far ahead ---- */

enum { URINGVFS__FIRST_DISTANCE = 2 /* pages */ };
/* For what goes through a tree that is not known: all such streams have one memory. */
#define URINGVFS__SOME_TREE UINT32_MAX

/* A stream begins, through the tree of this number, with so many pages of evidence. */
void uringvfs__distance_begin(uringvfs__readahead *ra, uringvfs__stream *s, uint32_t tree, unsigned run);
/* The stream is over, if it ever was one: its tree remembers how long it was. */
void uringvfs__distance_end(uringvfs__readahead *ra, uringvfs__stream *s);
/* How many pages the stream may be ahead now. */
unsigned uringvfs__distance_now(uringvfs__readahead *ra, uringvfs__stream *s);
/* Is it expected to end within its distance? */
bool uringvfs__distance_is_short(const uringvfs__readahead *ra, const uringvfs__stream *s);

/* ---- fetch.c: reading pages together ---- */

/* Where SQLite would read the page from. */
uringvfs__source uringvfs__source_of(const uringvfs__readahead *ra, uint32_t pgno);
/* The number of the page that is read here, or 0 if this is not the reading of a page. */
uint32_t uringvfs__page_number(const uringvfs__file *database, bool wal, int amount, uint64_t offset);
/* False: there is no such page in the database file. One that is in the buffer, or waits to be written, is left out. */
bool uringvfs__batch_add(uringvfs__readahead *ra, uringvfs__batch *b, uint32_t pgno);
/* The page, if it was read ahead and is here; NULL: it is not. */
const uint8_t *uringvfs__page_ahead(uringvfs__readahead *ra, uint32_t pgno);

/* How a page is got that no batch has brought. */
typedef enum uringvfs__way {
  URINGVFS__READ_ALONE,  /* nothing else is wanted                                                      */
  URINGVFS__READ_BATCH,  /* it was read with what the stream will want after it, and is in the buffer   */
  URINGVFS__READ_ADVISED /* the kernel was asked for both: read it                                      */
} uringvfs__way;
/* missed: memory is known not to have it. mapped: SQLite reads it through a mapping. */
uringvfs__way uringvfs__fetch(uringvfs__readahead *ra, uringvfs__stream *s, uint32_t pgno, uringvfs__source wanted,
                              bool missed, bool mapped);
/* Asks the kernel for more of what the stream will want, when most of what was asked for is used up. */
void uringvfs__fetch_more(uringvfs__readahead *ra, uringvfs__stream *s, uint32_t pgno);
/* Reads interior pages for the map alone. What turns out to be another page waits in the buffer. */
void uringvfs__fetch_interiors(uringvfs__readahead *ra, const uint32_t *pages, unsigned count);
/* One page into `page`, from wherever it is; nothing is reported. */
bool uringvfs__fetch_hint(uringvfs__readahead *ra, uint32_t pgno, uint8_t *page);

/* ---- advice.c: pages that the kernel reads into its cache ---- */

/* Asks for the pages of the batch without waiting for them. False: it cannot be done. */
bool uringvfs__advise(uringvfs__readahead *ra, const uringvfs__batch *b);

#endif
