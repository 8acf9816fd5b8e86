/*
** stream.c - scans: cursors that go from child to child of a b-tree, and pages in the order of their numbers.
**
** A stream begins when two neighbouring children of one interior page are asked for, and goes on while the next one is,
** in the same direction, whatever else is asked for in between; a few children may be left out, because SQLite has them
** in its cache. Looking up single rows makes no stream. The schema, which SQLite reads from end to end, needs no
** evidence.
*/
#include "readahead.h"

#include <stdlib.h>
#include <string.h>

enum {
  EVIDENCE = 2,        /* pages in a row that begin a read-ahead                         */
  EVIDENCE_NUMBER = 4, /* the same by number, which says less                            */
  SCHEMA_DEPTH = 16,
  LARGEST_GAP = 8,
  MOST_PATIENCE = 64,
  LOOK_FIRST = 128,
  LOOK_EVERY = 1024,
  PAGES_PER_SIBLING = 16, /* of a scan, for each interior page to be known ahead */
  SIBLINGS_MOST = 64
};

static void look_ahead(uringvfs_readahead *ra, uringvfs_stream *s) {
  uint32_t interior;
  uringvfs_place place = s->place;
  s->next = uringvfs__tree_step(&ra->map, &place, s->direction, &interior);
  s->learned = ra->map.learned;
}

static void move(uringvfs_readahead *ra, uringvfs_stream *s, uringvfs_place to) {
  s->place = to;
  s->run++;
  s->stamp = ++ra->clock;
  look_ahead(ra, s);
}

static uringvfs_stream *begin(uringvfs_readahead *ra, uringvfs_place place, uringvfs_direction d) {
  uringvfs_stream *s = &ra->streams[0];
  for (int i = 1; i < URINGVFS_STREAMS; i++)
    if (ra->streams[i].stamp < s->stamp) s = &ra->streams[i];
  *s = (uringvfs_stream){.direction = d, .run = EVIDENCE - 1, .depth = URINGVFS_FIRST_DEPTH};
  move(ra, s, place);
  return s;
}

/* Does the stream expect just this page? Then it moves there. */
static bool expects(uringvfs_readahead *ra, uringvfs_stream *s, uint32_t pgno) {
  if (s->direction == URINGVFS_NOWHERE) return false;
  if (s->next == 0 && s->learned != ra->map.learned) look_ahead(ra, s);
  if (s->next != pgno) return false;
  uint32_t interior;
  uringvfs_place place = s->place;
  (void)uringvfs__tree_step(&ra->map, &place, s->direction, &interior);
  move(ra, s, place);
  return true;
}

/* The one that moved last is tried first. */
static uringvfs_stream *expected_by(uringvfs_readahead *ra, uint32_t pgno) {
  for (unsigned i = 0; i < URINGVFS_STREAMS; i++) {
    const unsigned number = (ra->latest + i) % URINGVFS_STREAMS;
    if (!expects(ra, &ra->streams[number], pgno)) continue;
    ra->latest = number;
    return &ra->streams[number];
  }
  return NULL;
}

/* The stream that moved last, after pages that nobody looked at (readahead.c, coasts). The map may not find this
** one. */
static uringvfs_stream *caught_up(uringvfs_readahead *ra, uint32_t pgno) {
  uringvfs_stream *s = &ra->streams[ra->latest];
  const uringvfs_tree_node *n = &ra->map.nodes[s->place.node];
  for (int gap = 1; gap <= LARGEST_GAP && s->direction != URINGVFS_NOWHERE; gap++) {
    const int position = (int)s->place.position + gap * (int)s->direction;
    if (position < 0 || position >= (int)n->count) break;
    if (n->children[position] != pgno) continue;
    move(ra, s, (uringvfs_place){s->place.node, (uint16_t)position});
    return s;
  }
  return NULL;
}

/* The stream that went over a few children that SQLite has in its cache. */
static uringvfs_stream *passed_by(uringvfs_readahead *ra, uringvfs_place place) {
  for (int i = 0; i < URINGVFS_STREAMS; i++) {
    uringvfs_stream *s = &ra->streams[i];
    const int gap = ((int)place.position - (int)s->place.position) * (int)s->direction;
    if (s->direction == URINGVFS_NOWHERE || s->place.node != place.node || gap < 0 || gap > LARGEST_GAP) continue;
    move(ra, s, place);
    return s;
  }
  return NULL;
}

unsigned uringvfs__stream_left(const uringvfs_readahead *ra, const uringvfs_stream *s) {
  const uringvfs_tree_node *n = &ra->map.nodes[s->place.node];
  if (s->direction == URINGVFS_NOWHERE || s->place.position >= n->count) return 0;
  return s->direction == URINGVFS_FORWARD ? n->count - 1 - s->place.position : s->place.position;
}

const uringvfs_stream *uringvfs__stream_at(const uringvfs_readahead *ra, uint32_t pgno) {
  for (int i = 0; i < URINGVFS_STREAMS; i++) {
    const uringvfs_stream *s = &ra->streams[i];
    const uringvfs_tree_node *n = &ra->map.nodes[s->place.node];
    if (s->direction != URINGVFS_NOWHERE && s->place.position < n->count && n->children[s->place.position] == pgno)
      return s;
  }
  return NULL;
}

/* The neighbour of a child that was asked for before: two in a row. */
static uringvfs_stream *begun_by(uringvfs_readahead *ra, uringvfs_place place) {
  uringvfs_tree_node *n = &ra->map.nodes[place.node];
  uringvfs_stream *s = NULL;
  for (int i = 0; i < 2 && s == NULL; i++) {
    if (place.position == n->asked[i] + 1u) s = begin(ra, place, URINGVFS_FORWARD);
    if (place.position + 1u == n->asked[i]) s = begin(ra, place, URINGVFS_BACKWARD);
  }
  if (s == NULL && n->pgno == 1 && place.position == 0) {
    s = begin(ra, place, URINGVFS_FORWARD);
    s->run += ra->caution;
    s->depth = SCHEMA_DEPTH;
  }
  n->asked[1] = n->asked[0];
  n->asked[0] = place.position;
  return s;
}

/* A page whose parent nobody knows: one of the interior pages that were only noted might tell. */
static void stranger(uringvfs_file *database) {
  uringvfs_readahead *ra = database->readahead;
  const size_t last = sizeof ra->noted / sizeof ra->noted[0] - 1;
  const uint32_t pgno = ra->noted[0];
  memmove(&ra->noted[0], &ra->noted[1], last * sizeof ra->noted[0]);
  ra->noted[last] = 0;
  ra->strangers = 0;
  if (ra->patience < MOST_PATIENCE) ra->patience *= 2;
  uint8_t *page = malloc(database->format.page_size);
  if (page != NULL && uringvfs__read_hint(database, pgno, page)) uringvfs__readahead_learn(database, pgno, page);
  free(page);
}

/* Pages of a scan after which it looks around again: 128, 256, 512, and every 1024. */
static bool is_time_to_look_around(const uringvfs_stream *s) {
  return s->run >= LOOK_FIRST && (s->run % LOOK_EVERY == 0 || (s->run < LOOK_EVERY && (s->run & (s->run - 1)) == 0));
}

/*
** A scan has come far. Interior pages that follow the one whose children it goes through are read now, the more the
** farther it has come: their children say where it will go, and whether there are blocks of the file that are worth
** being read whole.
*/
static void look_around(uringvfs_file *database, const uringvfs_stream *s) {
  uringvfs_readahead *ra = database->readahead;
  uint32_t siblings[SIBLINGS_MOST + 1], unknown[SIBLINGS_MOST];
  unsigned most = s->run / PAGES_PER_SIBLING, missing = 0, count;
  sqlite3_int64 bytes;
  if (most > SIBLINGS_MOST) most = SIBLINGS_MOST;
  const unsigned n = uringvfs__tree_siblings(&ra->map, s->place, s->direction, siblings, most);
  siblings[n] = ra->map.nodes[s->place.node].pgno;
  for (unsigned i = 0; i < n; i++)
    if (uringvfs__tree_children(&ra->map, siblings[i], &count) == NULL) unknown[missing++] = siblings[i];
  if (missing > 0) uringvfs__read_interiors(database, unknown, missing);
  if (database->parent->pMethods->xFileSize(database->parent, &bytes) != SQLITE_OK) return;
  if (!uringvfs__can_advise(database)) return;
  for (unsigned i = 0; i <= n; i++) {
    const uint32_t *leaves = uringvfs__tree_children(&ra->map, siblings[i], &count);
    if (leaves != NULL) uringvfs__blocks_want(&ra->blocks, database->format.page_size, (uint64_t)bytes, leaves, count);
  }
}

/* Pages in the order of their numbers, which says less. */
static uringvfs_stream *stream_of_numbers(uringvfs_readahead *ra, uint32_t pgno) {
  uringvfs_stream *numbers = &ra->streams[URINGVFS_STREAM_NUMBERS];
  numbers->run = numbers->next == pgno ? numbers->run + 1 : 1;
  if (numbers->run == 1) *numbers = (uringvfs_stream){.run = 1, .depth = URINGVFS_FIRST_DEPTH};
  numbers->next = pgno + 1;
  return numbers->run >= EVIDENCE_NUMBER + ra->caution ? numbers : NULL;
}

uringvfs_stream *uringvfs__stream_of(uringvfs_file *database, uint32_t pgno) {
  uringvfs_readahead *ra = database->readahead;
  /* Forwards in the file the kernel reads ahead itself, while SQLite works: a backup in batches took 1.2 times as
  ** long. */
  uringvfs_stream *numbers = uringvfs__cache_matters(database) ? NULL : stream_of_numbers(ra, pgno);
  uringvfs_stream *s = expected_by(ra, pgno);
  uringvfs_place place;
  if (s == NULL) s = caught_up(ra, pgno);
  if (s == NULL && uringvfs__tree_find(&ra->map, pgno, &place, false)) {
    const bool of_leaves = ra->map.nodes[place.node].level <= 1;
    if (of_leaves) s = passed_by(ra, place);
    if (of_leaves && s == NULL) s = begun_by(ra, place);
  } else if (s == NULL && ra->noted[0] != 0 && ++ra->strangers >= ra->patience) {
    stranger(database);
  }
  if (s == NULL || s->run < EVIDENCE + ra->caution) return numbers;
  if (!s->cached && is_time_to_look_around(s) && ra->map.nodes[s->place.node].level <= 1) look_around(database, s);
  return s;
}

/* ---- what comes next ---- */

void uringvfs__stream_predict(uringvfs_file *database, const uringvfs_stream *s, uint32_t pgno, uringvfs_batch *b) {
  uringvfs_readahead *ra = database->readahead;
  const uint8_t number = (uint8_t)(s - ra->streams);
  uringvfs_place place = s->place;
  for (unsigned steps = 0; b->count <= s->depth && steps < URINGVFS_BUFFER_SLOTS; steps++) {
    uint32_t interior = 0;
    uint32_t next =
        number == URINGVFS_STREAM_NUMBERS ? ++pgno : uringvfs__tree_step(&ra->map, &place, s->direction, &interior);
    if (next == 0) next = interior; /* what comes behind it is not known before it is read */
    if (next == 0) return;
    uringvfs_source source = uringvfs__source_of(database, next);
    source.stream = number;
    if (!uringvfs__batch_add(database, b, source) || interior != 0) return;
  }
}
