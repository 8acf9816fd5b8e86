/*
** scan.c - scans: cursors that go from child to child of a b-tree.
**
** A stream begins when two neighbouring children of one interior page are asked for, and goes on while the next one is,
** in the same direction, whatever else is asked for in between; a few children may be left out, because SQLite has them
** in its cache. Looking up single rows makes no stream. The schema, which SQLite reads from end to end, needs no
** evidence.
*/
#include "scan.h"

#include <stdlib.h>
#include <string.h>

enum {
  STREAMS = 8,
  EVIDENCE = 2, /* pages in a row that begin a read-ahead */
  SCHEMA_DISTANCE = 16,
  LARGEST_GAP = 8, /* children in between that SQLite, or the kernel, has in its cache */
  LOOK_FIRST = 128,
  LOOK_EVERY = 1024,
  PAGES_PER_SIBLING = 16, /* of a scan, for each interior page to be known ahead */
  SIBLINGS_MOST = 64
};

/* Where a stream is. */
typedef struct cursor {
  uringvfs__place place;         /* of the page asked for last              */
  uringvfs__direction direction; /* URINGVFS__NOWHERE: unused                */
  uint32_t next;                 /* page to be asked for, 0: not known      */
  uint32_t learned;              /* the map's count when that was found out */
  uint32_t stamp;                /* when it last moved                      */
} cursor;

typedef struct scan {
  cursor cursors[STREAMS]; /* of the streams */
  uint32_t clock;
  unsigned latest; /* that moved as expected */
  uint8_t tenure;  /* a number */
} scan;

static void look_ahead(uringvfs__readahead *ra, cursor *c) {
  uint32_t interior;
  uringvfs__place place = c->place;
  c->next = uringvfs__tree_step(&ra->map, &place, c->direction, &interior);
  c->learned = ra->map.learned;
}

static void move(uringvfs__readahead *ra, uringvfs__self *self, unsigned i, uringvfs__place to, unsigned pages) {
  scan *state = self->state;
  cursor *c = &state->cursors[i];
  c->place = to;
  c->stamp = ++state->clock;
  self->streams[i].run += pages;
  state->latest = i;
  look_ahead(ra, c);
}

static uringvfs__stream *begin(uringvfs__readahead *ra, uringvfs__self *self, uringvfs__place place,
                               uringvfs__direction d, unsigned evidence) {
  scan *state = self->state;
  unsigned oldest = 0;
  for (unsigned i = 1; i < STREAMS; i++)
    if (state->cursors[i].stamp < state->cursors[oldest].stamp) oldest = i;
  const uint32_t tree = uringvfs__tree_top(&ra->map, place);
  uringvfs__distance_begin(ra, &self->streams[oldest], tree != 0 ? tree : URINGVFS__SOME_TREE, evidence);
  state->cursors[oldest] = (cursor){.direction = d};
  move(ra, self, oldest, place, 0);
  return &self->streams[oldest];
}

/* Does the stream expect just this page? Then it moves there. */
static bool expects(uringvfs__readahead *ra, uringvfs__self *self, unsigned i, uint32_t pgno) {
  cursor *c = &((scan *)self->state)->cursors[i];
  if (c->direction == URINGVFS__NOWHERE) return false;
  if (c->next == 0 && c->learned != ra->map.learned) look_ahead(ra, c);
  if (c->next != pgno) return false;
  uint32_t interior;
  uringvfs__place place = c->place;
  (void)uringvfs__tree_step(&ra->map, &place, c->direction, &interior);
  move(ra, self, i, place, 1);
  return true;
}

/* The one that moved last is tried first. */
static uringvfs__stream *expected_by(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno) {
  const unsigned latest = ((scan *)self->state)->latest;
  for (unsigned k = 0; k < STREAMS; k++) {
    const unsigned i = (latest + k) % STREAMS;
    if (expects(ra, self, i, pgno)) return &self->streams[i];
  }
  return NULL;
}

/* The stream that went over a few children of its interior page. The map may not find this one. */
static uringvfs__stream *passed_by(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno) {
  for (unsigned i = 0; i < STREAMS; i++) {
    const cursor *c = &((scan *)self->state)->cursors[i];
    const uringvfs__tree_node *n = &ra->map.nodes[c->place.node];
    for (int gap = 0; gap <= LARGEST_GAP && c->direction != URINGVFS__NOWHERE; gap++) {
      const int position = (int)c->place.position + gap * (int)c->direction;
      if (position < 0 || position >= (int)n->count) break;
      if (n->children[position] != pgno) continue;
      move(ra, self, i, (uringvfs__place){c->place.node, (uint16_t)position}, (unsigned)gap);
      return &self->streams[i];
    }
  }
  return NULL;
}

/* The neighbour of a child that was asked for before in this tenure: two in a row. */
static uringvfs__stream *begun_by(uringvfs__readahead *ra, uringvfs__self *self, uringvfs__place place) {
  const uint8_t tenure = ((scan *)self->state)->tenure;
  uringvfs__tree_node *n = &ra->map.nodes[place.node];
  uringvfs__stream *s = NULL;
  for (int i = 0; i < 2 && s == NULL && n->asked_in == tenure; i++) {
    if (place.position == n->asked[i] + 1u) s = begin(ra, self, place, URINGVFS__FORWARD, EVIDENCE);
    if (place.position + 1u == n->asked[i]) s = begin(ra, self, place, URINGVFS__BACKWARD, EVIDENCE);
  }
  if (s == NULL && n->pgno == 1 && place.position == 0) {
    s = begin(ra, self, place, URINGVFS__FORWARD, EVIDENCE);
    if (s->distance < SCHEMA_DISTANCE) s->distance = SCHEMA_DISTANCE;
  }
  n->asked[1] = n->asked_in == tenure ? n->asked[0] : place.position;
  n->asked_in = tenure;
  n->asked[0] = place.position;
  return s;
}

bool uringvfs__scan_at(uringvfs__readahead *ra, uint32_t pgno, uringvfs__place *place, uringvfs__direction *direction) {
  const scan *state = uringvfs__self_of(ra, &uringvfs__scan)->state;
  for (int i = 0; i < STREAMS; i++) {
    const cursor *c = &state->cursors[i];
    const uringvfs__tree_node *n = &ra->map.nodes[c->place.node];
    if (c->direction == URINGVFS__NOWHERE || c->place.position >= n->count) continue;
    if (n->children[c->place.position] != pgno) continue;
    *place = c->place;
    *direction = c->direction;
    return true;
  }
  return false;
}

/* Pages of a scan after which it looks around again: 128, 256, 512, and every 1024. */
static bool is_time_to_look_around(const uringvfs__stream *s) {
  return s->run >= LOOK_FIRST && (s->run % LOOK_EVERY == 0 || (s->run < LOOK_EVERY && (s->run & (s->run - 1)) == 0));
}

/* Most of the leaves that the scan goes through follow each other in the file: the kernel reads ahead itself, and pages
** brought singly in the middle of what it is about to read would only split its reads. */
static bool is_in_order(const uringvfs__tree_node *n) {
  unsigned neighbours = 0;
  for (unsigned i = 1; i < n->count; i++) neighbours += n->children[i] == n->children[i - 1] + 1;
  return neighbours * 4 >= n->count * 3;
}

/*
** A scan has come far. Interior pages that follow the one whose children it goes through are read now, the more the
** farther it has come: their children say where it will go, and whether there are blocks of the file that are worth
** being read whole.
*/
static void look_around(uringvfs__readahead *ra, const uringvfs__stream *s, const cursor *c) {
  const uringvfs__tree_node *n = &ra->map.nodes[c->place.node];
  uint32_t siblings[SIBLINGS_MOST + 1], unknown[SIBLINGS_MOST];
  unsigned most = s->run / PAGES_PER_SIBLING, missing = 0, count;
  if (is_in_order(n)) return;
  if (most > SIBLINGS_MOST) most = SIBLINGS_MOST;
  const unsigned found = uringvfs__tree_siblings(&ra->map, c->place, c->direction, siblings, most);
  siblings[found] = n->pgno;
  for (unsigned i = 0; i < found; i++)
    if (uringvfs__tree_children(&ra->map, siblings[i], &count) == NULL) unknown[missing++] = siblings[i];
  if (missing > 0) uringvfs__fetch_interiors(ra, unknown, missing);
  for (unsigned i = 0; i <= found; i++) {
    const uint32_t *leaves = uringvfs__tree_children(&ra->map, siblings[i], &count);
    if (leaves == NULL) continue;
    uringvfs__blocks_want(&ra->blocks, ra->database->format.page_size, ra->bytes, leaves, count);
  }
}

static uringvfs__stream *asked(uringvfs__readahead *ra, uringvfs__self *self, uint32_t pgno,
                               uringvfs__stream *claimed) {
  uringvfs__stream *s = expected_by(ra, self, pgno);
  uringvfs__place place;
  (void)claimed;
  if (s == NULL) s = passed_by(ra, self, pgno);
  if (s == NULL && uringvfs__tree_find(&ra->map, pgno, &place, false) && ra->map.nodes[place.node].level <= 1)
    s = begun_by(ra, self, place);
  if (s == NULL) return NULL;
  const cursor *c = &((scan *)self->state)->cursors[s - self->streams];
  if (s->ahead > 0 && is_time_to_look_around(s) && ra->map.nodes[c->place.node].level <= 1) look_around(ra, s, c);
  return s;
}

static void predict(uringvfs__readahead *ra, uringvfs__self *self, const uringvfs__stream *s, uint32_t pgno,
                    uringvfs__batch *b) {
  const cursor *c = &((scan *)self->state)->cursors[s - self->streams];
  uringvfs__place place = c->place;
  (void)pgno;
  for (unsigned steps = 0; b->count < b->most && steps < URINGVFS__BUFFER_SLOTS; steps++) {
    uint32_t interior = 0, next = uringvfs__tree_step(&ra->map, &place, c->direction, &interior);
    if (next == 0) next = interior; /* what comes behind it is not known before it is read */
    if (next == 0 || !uringvfs__batch_add(ra, b, next) || interior != 0) return;
  }
}

static void end(uringvfs__readahead *ra, uringvfs__self *self) {
  (void)ra;
  *(scan *)self->state = (scan){.tenure = (uint8_t)(((scan *)self->state)->tenure + 1)};
}

const uringvfs__predictor uringvfs__scan = {
    .state_bytes = sizeof(scan), .streams = STREAMS, .asked = asked, .predict = predict, .end = end};
