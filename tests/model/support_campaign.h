/*
** support_campaign.h - many cases, and what to say of those that fail.
*/
#ifndef MODEL_CAMPAIGN_H
#define MODEL_CAMPAIGN_H

#include "support_case.h"

typedef struct model_campaign {
  uint32_t seed;
  long cases, seconds; /* seconds > 0: go on for so long */
  long only;           /* -1: all */
  const char *events;  /* NULL: those of the seed */
  long setup;          /* -1: the case's own */
  const char *scratch; /* NULL: $TMPDIR, or /tmp */
  bool until_failure, verbose;
  bool keep; /* the files of a single case */
} model_campaign;

typedef struct model_totals {
  uint64_t cases, steps, events, forks, failures;
  uint64_t worked[MODEL_KINDS_MOST];
  uint64_t frames, ring_operations, read_ahead;
  double pairs, triples;
} model_totals;

/* Prints each failure, with the command that replays it. False: it could not even begin. */
bool model_campaign_run(const model_campaign *campaign, model_totals *totals);
void model_totals_print(const model_campaign *campaign, const model_totals *totals);

#endif
