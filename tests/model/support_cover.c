/*
** support_cover.c - see support_cover.h.
*/
#include "support_cover.h"

#include <stdlib.h>
#include <string.h>

enum { KINDS = MODEL_KINDS_MOST };
#define EVENTS_OF_CASE 10
_Static_assert(EVENTS_OF_CASE <= MODEL_EVENTS, "a case has room for them");

struct model_cover {
  uint64_t random;
  uint32_t cases;
  int kinds, rounds;
  uint32_t pairs, triples; /* covered in this round */
  bool pair[KINDS][KINDS]; /* as neighbours */
  bool triple[KINDS][KINDS][KINDS];
};

/* splitmix64 */
static uint32_t draw(model_cover *cover, uint32_t below) {
  uint64_t z = (cover->random += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return (uint32_t)((z ^ (z >> 31)) % below);
}

model_cover *model_cover_create(uint32_t seed) {
  model_cover *cover = calloc(1, sizeof *cover);
  if (cover == NULL) abort();
  cover->random = seed;
  cover->cases = seed * 1000;
  cover->kinds = model_kinds();
  return cover;
}

void model_cover_free(model_cover *cover) { free(cover); }

static uint32_t all_pairs(const model_cover *cover) { return (uint32_t)(cover->kinds * cover->kinds); }
static uint32_t all_triples(const model_cover *cover) { return all_pairs(cover) * (uint32_t)cover->kinds; }

double model_cover_pairs(const model_cover *cover) { return cover->rounds + (double)cover->pairs / all_pairs(cover); }
double model_cover_triples(const model_cover *cover) {
  return cover->rounds + (double)cover->triples / all_triples(cover);
}

static bool resets(const model_case *c, int i) { return model_kind_resets(c->events[i].kind); }

/* How many new triples this kind as the next event makes; with `take` they are covered then. */
static uint32_t new_triples(model_cover *cover, const model_case *c, int kind, bool take) {
  uint32_t sum = 0;
  for (int k = c->count - 1; k > 0; k--) {
    for (int i = k - 1; i >= 0; i--) {
      bool *triple = &cover->triple[c->events[i].kind][c->events[k].kind][kind];
      sum += !*triple;
      *triple |= take;
      if (resets(c, i)) break;
    }
    if (resets(c, k)) break;
  }
  return sum;
}

/* What this kind as the next event would bring. A pair of neighbours is worth more than any triples. */
static uint32_t gain(model_cover *cover, const model_case *c, int kind) {
  const bool pair = c->count > 0 && !cover->pair[c->events[c->count - 1].kind][kind];
  return (pair ? 1000 : 0) + new_triples(cover, c, kind, false);
}

static void append(model_cover *cover, model_case *c, int kind) {
  if (c->count > 0) {
    bool *pair = &cover->pair[c->events[c->count - 1].kind][kind];
    cover->pairs += !*pair;
    *pair = true;
  }
  cover->triples += new_triples(cover, c, kind, true);
  c->events[c->count++].kind = (uint8_t)kind;
}

static int choose(model_cover *cover, const model_case *c) {
  const int offset = (int)draw(cover, (uint32_t)cover->kinds);
  int best = offset;
  uint32_t most = 0;
  for (int i = 0; i < cover->kinds; i++) { /* ties: where the search happens to begin */
    const int kind = (i + offset) % cover->kinds;
    const uint32_t brings = gain(cover, c, kind);
    if (brings > most) {
      most = brings;
      best = kind;
    }
  }
  return best;
}

/* Otherwise the last missing triples would never come together. */
static void begin_with_missing(model_cover *cover, model_case *c) {
  const uint32_t all = all_triples(cover), kinds = (uint32_t)cover->kinds, offset = draw(cover, all);
  for (uint32_t i = 0; i < all; i++) {
    const uint32_t n = (i + offset) % all;
    const uint32_t x = n / kinds / kinds, y = n / kinds % kinds, z = n % kinds;
    if (cover->triple[x][y][z]) continue;
    append(cover, c, (int)x);
    append(cover, c, (int)y);
    append(cover, c, (int)z);
    return;
  }
}

static void begin_anew(model_cover *cover) {
  memset(cover->pair, 0, sizeof cover->pair);
  memset(cover->triple, 0, sizeof cover->triple);
  cover->pairs = cover->triples = 0;
  cover->rounds++;
}

void model_cover_next(model_cover *cover, model_case *c) {
  if (cover->triples == all_triples(cover)) begin_anew(cover);
  memset(c, 0, sizeof *c);
  c->setup = cover->cases++;
  if (cover->pairs == all_pairs(cover))
    begin_with_missing(cover, c);
  else
    append(cover, c, (int)draw(cover, (uint32_t)cover->kinds));
  while (c->count < EVENTS_OF_CASE) append(cover, c, choose(cover, c));
  for (int i = 0; i < c->count; i++) c->events[i].variant = (uint8_t)draw(cover, 64);
}
