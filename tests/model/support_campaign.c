/*
** support_campaign.c - see support_campaign.h.
*/
#include "support_campaign.h"
#include "support_cover.h"
#include "uringvfs.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FAILURES_MOST = 20 };

static const char *program(void) {
  static char path[600];
  const char *build = getenv("BUILD");
  snprintf(path, sizeof path, "%s/tests/model/prog_model", build != NULL ? build : "build");
  return path;
}

static void tell(const model_campaign *campaign, long number, const model_case *c, const model_options *options,
                 model_report *report) {
  printf("FAILED  %s\n  replay: %s --seed %u --case %ld\n", report->what, program(), campaign->seed, number);
  model_case less = *c;
  model_case_shrink(&less, options, report);
  printf("  the events that it takes: %s --setup %u --events ", program(), less.setup);
  model_events_print(stdout, &less);
  printf("\n  %s\n  ", report->what);
  model_setup_print(stdout, less.setup);
  puts("");
  fflush(stdout);
}

static void count(model_totals *t, const model_case *c, const model_report *report) {
  t->cases++;
  t->events += (uint64_t)c->count;
  t->steps += report->steps / 2;
  t->forks += report->forks;
  t->frames += report->frames;
  t->ring_operations += report->ring_operations;
  t->read_ahead += report->read_ahead;
  for (int i = 0; i < MODEL_KINDS_MOST; i++) t->worked[i] += report->worked[i];
}

static void run_one(const model_campaign *campaign, long number, const model_case *c, const model_options *options,
                    model_report *report, model_totals *totals) {
  if (options->verbose) {
    model_setup_print(stdout, c->setup);
    puts("");
  }
  const bool passed = model_case_run(c, options, report);
  count(totals, c, report);
  if (passed) return;
  totals->failures++;
  if (options->keep)
    printf("FAILED  %s\n  files: %s\n", report->what, options->scratch);
  else
    tell(campaign, number, c, options, report);
}

static bool goes_on(const model_campaign *campaign, const model_totals *totals, long number, time_t start) {
  if (totals->failures >= (campaign->until_failure ? 1 : FAILURES_MOST)) return false;
  if (campaign->only >= 0) return number <= campaign->only;
  return campaign->seconds > 0 ? time(NULL) - start < campaign->seconds : number < campaign->cases;
}

static void run_all(const model_campaign *campaign, const model_options *options, model_report *report,
                    model_totals *totals) {
  model_cover *cover = model_cover_create(campaign->seed);
  const time_t start = time(NULL);
  for (long number = 0; goes_on(campaign, totals, number, start); number++) {
    model_case c;
    model_cover_next(cover, &c);
    if (campaign->setup >= 0) c.setup = (uint32_t)campaign->setup;
    if (number > 0 && number % 250 == 0 && campaign->only < 0) {
      printf("model: %ld cases\n", number);
      fflush(stdout);
    }
    if (campaign->only < 0 || number == campaign->only) run_one(campaign, number, &c, options, report, totals);
  }
  totals->pairs = model_cover_pairs(cover);
  totals->triples = model_cover_triples(cover);
  model_cover_free(cover);
}

bool model_campaign_run(const model_campaign *campaign, model_totals *totals) {
  char scratch[600];
  const char *tmp = campaign->scratch != NULL ? campaign->scratch : getenv("TMPDIR");
  model_report *report = model_report_create();
  snprintf(scratch, sizeof scratch, "%s/uringvfs-model.XXXXXX", tmp != NULL ? tmp : "/tmp");
  if (report == NULL || uringvfs_register(0) != SQLITE_OK || mkdtemp(scratch) == NULL) {
    perror(scratch);
    return false;
  }
  const model_options options = {.scratch = scratch,
                                 .verbose = campaign->verbose,
                                 .keep = campaign->keep && (campaign->events != NULL || campaign->only >= 0)};
  if (campaign->events != NULL) {
    model_case c = {.setup = campaign->setup >= 0 ? (uint32_t)campaign->setup : 0};
    const bool known = model_events_parse(campaign->events, &c);
    if (known) run_one(campaign, -1, &c, &options, report, totals);
    if (!known) fprintf(stderr, "model: these are no events: %s\n", campaign->events);
    (void)rmdir(scratch);
    return known;
  }
  run_all(campaign, &options, report, totals);
  (void)rmdir(scratch);
  return true;
}

void model_totals_print(const model_campaign *campaign, const model_totals *t) {
  printf(
      "model: seed %u: %llu cases, %llu events, %llu steps compared, %llu forks; %.1f %% of all pairs, %.1f %% of all "
      "triples; %llu frames held back, %llu operations in batches, %llu pages used that were read ahead; %llu failed\n",
      campaign->seed, (unsigned long long)t->cases, (unsigned long long)t->events, (unsigned long long)t->steps,
      (unsigned long long)t->forks, t->pairs * 100, t->triples * 100, (unsigned long long)t->frames,
      (unsigned long long)t->ring_operations, (unsigned long long)t->read_ahead, (unsigned long long)t->failures);
  for (int i = 0; i < model_kinds(); i++)
    if (t->worked[i] == 0 && t->events > 1000) printf("model: %s never worked\n", model_kind_name(i));
}
