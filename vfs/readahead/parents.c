/*
** parents.c - interior pages: which are taken apart for the map, and which are looked for later.
**
** To take one apart costs as much as to read it from memory. Where only single rows are looked up, none of it is of any
** use; so the more were taken apart in vain, the fewer are, and the others are noted.
*/
#include <stdlib.h>
#include <string.h>

#include "predictor.h"

enum {
  LEARNED_MOST = 64,  /* interior pages taken apart in vain before they are only noted,               */
  LEARNED_OF = 16,    /* but one in so many                                                           */
  HUNTS = 4,          /* in vain, for the parent of one that is taken apart                           */
  STRANGERS = 4,      /* pages of unknown parents in a row that make it worth to look for these,      */
  STRANGERS_MOST = 64 /* or after that was in vain several times                                      */
};

void uringvfs__learn(uringvfs__readahead *ra, uint32_t pgno, const uint8_t *page) {
  uringvfs__cells cells;
  if (!uringvfs__page_cells(page, pgno, &ra->database->format, &cells)) return;
  if (uringvfs__tree_learn(&ra->map, pgno, &cells)) ra->vain++;
}

/* Takes the interior page apart that was noted last and that the map does not know: it is read again. */
static void learn_noted(uringvfs__readahead *ra) {
  enum { N = sizeof ra->noted / sizeof ra->noted[0] };
  uint32_t pgno = 0;
  for (int i = 0; i < N && pgno == 0; i++) {
    if (!uringvfs__tree_is_interior(&ra->map, ra->noted[i])) pgno = ra->noted[i];
    ra->noted[i] = 0;
  }
  uint8_t *page = pgno != 0 ? malloc(ra->database->format.page_size) : NULL;
  if (page != NULL && uringvfs__fetch_hint(ra, pgno, page)) uringvfs__learn(ra, pgno, page);
  free(page);
}

static bool is_worth_it(uringvfs__readahead *ra) {
  if (!ra->missed && ra->misses < 2) return false; /* one miss may be nothing */
  return ra->vain < LEARNED_MOST || ++ra->vain % LEARNED_OF == 0;
}

/* One that is taken apart wants its own parent known, which most often is the one noted last. */
void uringvfs__interior(uringvfs__readahead *ra, uint32_t pgno, const uint8_t *page) {
  ra->strangers = 0;
  if (page != NULL && is_worth_it(ra)) {
    if (ra->noted[0] != 0 && ra->hunts < HUNTS && !uringvfs__tree_has_parent(&ra->map, pgno)) {
      learn_noted(ra);
      ra->hunts = uringvfs__tree_has_parent(&ra->map, pgno) ? 0 : ra->hunts + 1;
    }
    uringvfs__learn(ra, pgno, page);
    return;
  }
  if (ra->noted[0] == pgno) return;
  memmove(&ra->noted[1], &ra->noted[0], sizeof ra->noted - sizeof ra->noted[0]);
  ra->noted[0] = pgno;
}

/*
** Perhaps the map does not find the page quickly, because another has taken its place there: all nodes are searched. Or
** an interior page that was only noted would tell.
*/
void uringvfs__stranger(uringvfs__readahead *ra, uint32_t pgno) {
  const unsigned vain = ra->vain * ra->vain + STRANGERS, most = vain < STRANGERS_MOST ? vain : STRANGERS_MOST;
  uringvfs__place place;
  if (uringvfs__tree_find(&ra->map, pgno, &place, false) || ++ra->strangers < most) return;
  ra->strangers = 0;
  ra->vain++;
  uringvfs__tree_remind(&ra->map, pgno);
  if (!uringvfs__tree_find(&ra->map, pgno, &place, false)) learn_noted(ra);
}
