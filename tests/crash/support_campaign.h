/*
** support_campaign.h - cuts the power at every point of a recorded workload and looks at what is left.
**
** Contract (README.md has it as a table): a transaction whose COMMIT returned SQLITE_OK is there after a killed process
** in every mode, and after a power cut with synchronous=FULL or EXTRA; with NORMAL a prefix of the transactions is
** there; none is ever there by half; what failed or was rolled back is never there; integrity_check says ok.
*/
#ifndef CRASH_CAMPAIGN_H
#define CRASH_CAMPAIGN_H

#include "support_disk.h"
#include "support_workload.h"

typedef struct crash_options {
  const char *scratch;               /* a directory of its own, absolute; on a memory file system for speed           */
  const char *save;                  /* where failing images go, NULL: nowhere                                        */
  const char *replay;                /* start of the command that replays                                             */
  int random_variants;               /* per cut and kind                                                              */
  int single_variants;               /* of each kind "all but one", "only one", "one torn" per cut                    */
  int every;                         /* cut at every Nth point; 0 is 1                                                */
  long only_cut;                     /* -1: all                                                                       */
  const crash_variant *only_variant; /* NULL: all                                                        */
} crash_options;

typedef struct crash_totals {
  uint64_t seeds, cuts, images, duplicates, not_checked;
  uint64_t killed, power; /* images: of a killed process, of a power cut */
  uint64_t with_loss, with_tear, with_lost_name, hot_journal, with_wal, by_uring;
  uint64_t transactions, faults, ring_writes, published;
  uint64_t sqlite_failed; /* workloads left out: they fail on the default VFS too */
  uint64_t failures;
} crash_totals;

/* Runs one workload and all its cuts. Prints each failure (the first few of a seed). Returns the number of failures. */
uint64_t crash_campaign(const crash_config *config, const crash_options *options, crash_totals *totals);

/* Runs the workload on both VFSs: at every acknowledgement the files must be the same, byte for byte. Returns 0 if
** so. */
int crash_compare(const crash_config *config, const crash_options *options, crash_totals *totals);

/* Once per process: the recorder, and uring over it. */
bool crash_campaign_init(void);

void crash_totals_add(crash_totals *sum, const crash_totals *part);
void crash_totals_print(const crash_totals *totals);

#endif
