/*
** distance.c - how far a stream may be ahead of SQLite.
**
** One number, its distance: twice as many pages each time nearly all that were read ahead have been asked for, half as
** many when they were not; the way of a congestion window, and of PostgreSQL's read_stream.c. It is zero while memory
** has the pages: that is found by asking (fetch.c), not by this.
**
** Statements are alike. So each tree remembers where streams through it ended (its reach, in pages), from one statement
** and one transaction to the next. Up to there a stream reads ahead without hesitation, beyond it only after it has
** gone on for a while; a reach goes half of the way down and a quarter of the way up. That is what makes `ORDER BY key
** LIMIT 20` read no more than it needs, and lets random rows that happen to lie side by side look like what they are.
*/
#include "predictor.h"

static unsigned number_of(uint32_t tree) { return (tree * 2654435761u) >> 26; }
_Static_assert(URINGVFS__HABITS == 1 << 6, "the hash gives 6 bits");

static uint32_t reach_of(const uringvfs__readahead *ra, uint32_t tree) {
  const uringvfs__habit *h = &ra->habits[number_of(tree)];
  return tree != 0 && h->tree == tree ? h->reach : 0;
}

static unsigned most_of(const uringvfs__readahead *ra) {
  const unsigned room = ra->buffer.capacity / 2, asked = ra->database->options.readahead;
  return room < asked ? room : asked;
}

void uringvfs__distance_begin(uringvfs__readahead *ra, uringvfs__stream *s, uint32_t tree, unsigned run) {
  uringvfs__distance_end(ra, s);
  *s = (uringvfs__stream){.predictor = s->predictor, .tree = tree, .run = run, .distance = URINGVFS__FIRST_DISTANCE};
  const uint32_t reach = reach_of(ra, tree);
  if (reach > run) s->distance = reach - run;
}

void uringvfs__distance_end(uringvfs__readahead *ra, uringvfs__stream *s) {
  if (s->tree != 0 && s->run > 1) {
    const uint32_t known = reach_of(ra, s->tree);
    uint32_t reach = s->run;
    if (known > 0) reach = s->run > known ? known + (s->run - known) / 4 : known - (known - s->run + 1) / 2;
    ra->habits[number_of(s->tree)] = (uringvfs__habit){s->tree, reach};
  }
  *s = (uringvfs__stream){.predictor = s->predictor};
}

/* What its tree lets expect of it: the rest of the way to its reach, or what it has gone on beyond a little more;
** without the pages that are on their way already, unless more of the same is wanted. */
static unsigned expected(const uringvfs__readahead *ra, const uringvfs__stream *s) {
  const uint32_t reach = reach_of(ra, s->tree), waiting = s->goes_on || s->ahead < s->used ? 0 : s->ahead - s->used;
  if (reach == 0) return UINT32_MAX;
  const uint32_t left = s->run < reach ? reach - s->run : s->run > reach + reach / 4 + 2 ? s->run - reach : 0;
  return left > waiting ? left - waiting : 0;
}

unsigned uringvfs__distance_now(uringvfs__readahead *ra, uringvfs__stream *s) {
  if (s->ahead > 0 && !s->goes_on) {
    if (s->used * 4 >= s->ahead * 3)
      s->distance *= 2;
    else if (s->distance > URINGVFS__FIRST_DISTANCE)
      s->distance /= 2;
  }
  if (s->distance > most_of(ra)) s->distance = most_of(ra);
  const unsigned at_most = expected(ra, s);
  return s->distance < at_most ? s->distance : at_most;
}

bool uringvfs__distance_is_short(const uringvfs__readahead *ra, const uringvfs__stream *s) {
  return expected(ra, s) <= s->distance;
}
