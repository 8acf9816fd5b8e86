/*
** support_campaign.h - one run: record a workload on a disk, cut the power, judge what is left.
*/
#ifndef POWERCUT_CAMPAIGN_H
#define POWERCUT_CAMPAIGN_H

#include <signal.h>

#include "support_machine.h"
#include "support_workload.h"

typedef struct run_options {
  const char *scratch, *save, *disk_program, *self;
  uint64_t images;    /* at most, of this run; 0: all that are planned */
  uint64_t lie_every; /* plant: the disk lies about every Nth flush    */
  bool until_failure;
} run_options;

typedef struct run_totals {
  uint64_t runs, entries, flushes, images, torn, failures;
} run_totals;

/* Set by a signal: everything ends as soon as it can, and is undone. */
extern volatile sig_atomic_t campaign_stop;

/* False: the run itself went wrong, which is a failure too. */
bool campaign_run(const file_system *fs, const workload *w, const run_options *options, run_totals *totals);

/* One image of a run that was saved in `directory`. dump: a file for the image as well, or NULL. */
int campaign_replay(const char *directory, const disk_cut *cut, const char *dump, const run_options *options);

#endif
