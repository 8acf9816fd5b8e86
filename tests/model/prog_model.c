/*
** prog_model.c - the model from the command line: long campaigns, and replaying what one has found.
*/
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support_campaign.h"

static const char usage[] = "prog_model [options]: sequences of events on two VFSs, side by side\n"
                            "  --seed N        chooses the events (1)\n"
                            "  --cases N       how many cases (1000)\n"
                            "  --seconds N     go on for so long instead\n"
                            "  --case N        only this one\n"
                            "  --events LIST   only this one: kind.variant,kind.variant,...\n"
                            "  --setup N       of --events; with --case instead of the case's own\n"
                            "  --until-failure stop at the first case that fails\n"
                            "  --scratch DIR   where databases are made ($TMPDIR, or /tmp)\n"
                            "  --verbose       print every step\n"
                            "  --keep          of --case and --events: do not remove the files\n"
                            "  --list          print the kinds of events\n";

static int parse(int argc, char **argv, model_campaign *a, bool *list) {
  enum { SEED, CASES, SECONDS, CASE, EVENTS, SETUP, UNTIL_FAILURE, SCRATCH, VERBOSE, KEEP, LIST };
  static const struct option options[] = {
      {"seed", 1, NULL, SEED},       {"cases", 1, NULL, CASES},     {"seconds", 1, NULL, SECONDS},
      {"case", 1, NULL, CASE},       {"events", 1, NULL, EVENTS},   {"setup", 1, NULL, SETUP},
      {"scratch", 1, NULL, SCRATCH}, {"verbose", 0, NULL, VERBOSE}, {"until-failure", 0, NULL, UNTIL_FAILURE},
      {"keep", 0, NULL, KEEP},       {"list", 0, NULL, LIST},       {NULL, 0, NULL, 0}};
  int option;
  while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
    switch (option) {
    case SEED: a->seed = (uint32_t)strtoul(optarg, NULL, 10); break;
    case CASES: a->cases = strtol(optarg, NULL, 10); break;
    case SECONDS: a->seconds = strtol(optarg, NULL, 10); break;
    case CASE: a->only = strtol(optarg, NULL, 10); break;
    case EVENTS: a->events = optarg; break;
    case SETUP: a->setup = strtol(optarg, NULL, 10); break;
    case UNTIL_FAILURE: a->until_failure = true; break;
    case SCRATCH: a->scratch = optarg; break;
    case VERBOSE: a->verbose = true; break;
    case KEEP: a->keep = true; break;
    case LIST: *list = true; break;
    default: return 1;
    }
  }
  return optind != argc;
}

int main(int argc, char **argv) {
  model_campaign a = {.seed = 1, .cases = 1000, .only = -1, .setup = -1};
  model_totals totals = {0};
  bool list = false;
  if (parse(argc, argv, &a, &list) != 0) {
    fputs(usage, stderr);
    return 2;
  }
  for (int i = 0; list && i < model_kinds(); i++) puts(model_kind_name(i));
  if (list) return 0;
  if (!model_campaign_run(&a, &totals)) return 1;
  model_totals_print(&a, &totals);
  return totals.failures > 0;
}
