/*
** numbers.c - pages in the order of their numbers.
**
** That says less than the order of a tree. And forwards in the file the kernel reads ahead itself, while SQLite works
** (a backup in batches took 1.2 times as long): so only where every read takes the ring.
*/
#include "predictor.h"

enum { EVIDENCE = 4 /* pages in a row */ };

typedef struct numbers {
  uint32_t next;
} numbers;

static uringvfs__stream *asked(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno,
                               uringvfs__stream *claimed) {
  numbers *n = self->state;
  uringvfs__stream *s = self->streams;
  (void)claimed;
  if (uringvfs__cache_matters(ra->database)) return NULL;
  if (n->next == pgno)
    s->run++;
  else
    uringvfs__distance_begin(ra, s, 0, 1);
  n->next = pgno + 1;
  return s->run >= EVIDENCE ? s : NULL;
}

static void predict(uringvfs__readahead *ra, uringvfs__self *self, const uringvfs__stream *s, uint32_t pgno,
                    uringvfs__batch *b) {
  (void)self;
  (void)s;
  while (b->count < b->most && uringvfs__batch_add(ra, b, ++pgno)) {
  }
}

const uringvfs__predictor uringvfs__numbers = {
    .state_bytes = sizeof(numbers), .streams = 1, .asked = asked, .predict = predict};
