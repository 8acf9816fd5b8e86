/*
** prog_powercut.c - power cuts on real file systems: campaigns, and one image again.
**
** For each seed: each file system, each VFS. Exit code 0: all was there; 1: something was not; 77: something is missing
** on this machine, and the last line says what.
*/
#include "support_campaign.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_LIST 4

static const char usage[] =
    "usage: prog_powercut [options]\n"
    "  --seed N        the first workload (0)\n"
    "  --seeds N       how many (8: each mode once)\n"
    "  --stride N      every Nth seed (1); 8 stays within one mode\n"
    "  --images N      go on with further seeds until that many images were checked\n"
    "  --seconds N     begin no further run after that time\n"
    "  --per-run N     images of a run, a random choice (0: all that are planned)\n"
    "  --transactions N  of a run (40)\n"
    "  --fs LIST       ext4,xfs,btrfs\n"
    "  --vfs LIST      unix,auto,uring: the default VFS; uring with that uring_backend (sync, too)\n"
    "  --lie N         the disk lies about every Nth flush: failures are expected\n"
    "  --until-failure stop at the first failure\n"
    "  --scratch DIR   where disks are kept (/dev/shm, or $TMPDIR)\n"
    "  --save DIR      where failing runs go ($BUILD/powercut)\n"
    "  --replay DIR --cut CUT [--dump FILE]  one image of a saved run, FILE: the image itself\n";

typedef struct arguments {
  uint64_t seed, seeds, stride, images, seconds;
  int transactions;
  const char *fs[MAX_LIST], *vfs[MAX_LIST];
  int fs_count, vfs_count;
  const char *replay, *dump;
  disk_cut cut;
  run_options options;
} arguments;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void stop(int signal_number) {
  (void)signal_number;
  campaign_stop = 1;
}

static int split(char *list, const char **out) {
  int count = 0;
  char *save = NULL;
  for (char *word = strtok_r(list, ",", &save); word != NULL; word = strtok_r(NULL, ",", &save)) {
    if (count == MAX_LIST) return 0;
    out[count++] = word;
  }
  return count;
}

static bool parse(int argc, char **argv, arguments *a) {
  enum {
    SEED = 256,
    SEEDS,
    STRIDE,
    IMAGES,
    SECONDS,
    PER_RUN,
    TRANSACTIONS,
    FS,
    VFS,
    LIE,
    UNTIL,
    SCRATCH,
    SAVE,
    REPLAY,
    CUT,
    DUMP
  };
  static const struct option options[] = {{"seed", 1, NULL, SEED},
                                          {"seeds", 1, NULL, SEEDS},
                                          {"stride", 1, NULL, STRIDE},
                                          {"images", 1, NULL, IMAGES},
                                          {"seconds", 1, NULL, SECONDS},
                                          {"per-run", 1, NULL, PER_RUN},
                                          {"transactions", 1, NULL, TRANSACTIONS},
                                          {"fs", 1, NULL, FS},
                                          {"vfs", 1, NULL, VFS},
                                          {"lie", 1, NULL, LIE},
                                          {"until-failure", 0, NULL, UNTIL},
                                          {"scratch", 1, NULL, SCRATCH},
                                          {"save", 1, NULL, SAVE},
                                          {"replay", 1, NULL, REPLAY},
                                          {"cut", 1, NULL, CUT},
                                          {"dump", 1, NULL, DUMP},
                                          {NULL, 0, NULL, 0}};
  bool cut = false;
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    const uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 0) : 0;
    switch (c) {
    case SEED: a->seed = number; break;
    case SEEDS: a->seeds = number; break;
    case STRIDE: a->stride = number; break;
    case IMAGES: a->images = number; break;
    case SECONDS: a->seconds = number; break;
    case PER_RUN: a->options.images = number; break;
    case TRANSACTIONS: a->transactions = (int)number; break;
    case FS: a->fs_count = split(optarg, a->fs); break;
    case VFS: a->vfs_count = split(optarg, a->vfs); break;
    case LIE: a->options.lie_every = number; break;
    case UNTIL: a->options.until_failure = true; break;
    case SCRATCH: a->options.scratch = optarg; break;
    case SAVE: a->options.save = optarg; break;
    case REPLAY: a->replay = optarg; break;
    case CUT: cut = cut_parse(optarg, &a->cut); break;
    case DUMP: a->dump = optarg; break;
    default: return false;
    }
  }
  for (int i = 0; i < a->fs_count; i++)
    if (machine_file_system(a->fs[i]) == NULL) return false;
  for (int i = 0; i < a->vfs_count; i++)
    if (strcmp(a->vfs[i], "unix") != 0 && strcmp(a->vfs[i], "auto") != 0 && strcmp(a->vfs[i], "uring") != 0 &&
        strcmp(a->vfs[i], "sync") != 0)
      return false;
  return optind == argc && a->fs_count > 0 && a->vfs_count > 0 && a->stride > 0 && a->transactions > 0 &&
         (a->replay == NULL) == !cut;
}

static void configure(const arguments *a, uint64_t seed, const char *vfs, workload *w) {
  memset(w, 0, sizeof *w);
  workload_from_seed(w, seed);
  w->vfs = vfs;
  w->transactions = a->transactions;
}

static void add(run_totals *sum, const run_totals *one) {
  sum->runs += one->runs;
  sum->entries += one->entries;
  sum->flushes += one->flushes;
  sum->images += one->images;
  sum->torn += one->torn;
  sum->failures += one->failures;
}

typedef struct results {
  run_totals all, each[MAX_LIST][MAX_LIST]; /* file systems x VFSs */
  uint64_t mode_images[WORKLOAD_MODES][MAX_LIST];
  double seconds[MAX_LIST][MAX_LIST];
} results;

static void print_results(const arguments *a, const results *r) {
  printf("%-8s%-8s%8s%10s%10s%10s%10s%10s%8s\n", "", "", "runs", "entries", "flushes", "images", "torn", "failures",
         "s");
  for (int f = 0; f < a->fs_count; f++)
    for (int v = 0; v < a->vfs_count; v++) {
      const run_totals *t = &r->each[f][v];
      printf("%-8s%-8s%8llu%10llu%10llu%10llu%10llu%10llu%8.0f\n", a->fs[f], a->vfs[v], (unsigned long long)t->runs,
             (unsigned long long)t->entries, (unsigned long long)t->flushes, (unsigned long long)t->images,
             (unsigned long long)t->torn, (unsigned long long)t->failures, r->seconds[f][v]);
    }
  printf("images by mode\n");
  for (int m = 0; m < WORKLOAD_MODES; m++) {
    workload w;
    uint64_t images = 0;
    for (int f = 0; f < a->fs_count; f++) images += r->mode_images[m][f];
    if (images == 0) continue;
    workload_from_seed(&w, (uint64_t)m);
    printf("%-10s%-8s%-12s", w.journal, w.synchronous, w.switches ? "switching" : "");
    for (int f = 0; f < a->fs_count; f++) printf("  %s %6llu", a->fs[f], (unsigned long long)r->mode_images[m][f]);
    printf("\n");
  }
}

static bool enough(const arguments *a, uint64_t done, const run_totals *sum, double since) {
  if (campaign_stop || (a->options.until_failure && sum->failures > 0)) return true;
  if (a->seconds > 0 && now() - since >= (double)a->seconds) return true;
  return a->images > 0 ? sum->images >= a->images : done >= a->seeds;
}

static void one_run(const arguments *a, uint64_t seed, int f, int v, results *r) {
  workload w;
  run_totals one = {0};
  const double begin = now();
  configure(a, seed, a->vfs[v], &w);
  (void)campaign_run(machine_file_system(a->fs[f]), &w, &a->options, &one);
  add(&r->each[f][v], &one);
  add(&r->all, &one);
  r->mode_images[seed % WORKLOAD_MODES][f] += one.images;
  r->seconds[f][v] += now() - begin;
  if (isatty(1)) printf("\r%llu images ", (unsigned long long)r->all.images);
  fflush(stdout);
}

static int campaign(const arguments *a) {
  static results r;
  const double since = now();
  for (uint64_t i = 0; !enough(a, i, &r.all, since); i++)
    for (int f = 0; f < a->fs_count; f++)
      for (int v = 0; v < a->vfs_count && !enough(a, i, &r.all, since); v++)
        one_run(a, a->seed + i * a->stride, f, v, &r);
  if (isatty(1)) printf("\r");
  print_results(a, &r);
  printf("powercut: seed %llu, %llu images, %llu failures, %.0f s\n", (unsigned long long)a->seed,
         (unsigned long long)r.all.images, (unsigned long long)r.all.failures, now() - since);
  if (campaign_stop) return 130;
  return r.all.failures > 0 || r.all.images == 0;
}

/* prog_disk_fuse is beside this program, wherever that was linked (plant.sh: $POWERCUT_DISK). */
static const char *disk_program(const char *self) {
  static char path[PATH_MAX];
  char beside[PATH_MAX];
  const char *given = getenv("POWERCUT_DISK"), *slash = strrchr(self, '/');
  snprintf(beside, sizeof beside, "%.*sprog_disk_fuse", slash != NULL ? (int)(slash - self + 1) : 0, self);
  return realpath(given != NULL ? given : beside, path) != NULL ? path : "";
}

int main(int argc, char **argv) {
  char scratch[200], save[200];
  const char *tmp = getenv("TMPDIR"), *build = getenv("BUILD");
  snprintf(save, sizeof save, "%s/powercut", build != NULL ? build : "build");
  arguments a = {
      .seeds = 8, .stride = 1, .transactions = 40, .fs = {"ext4", "xfs", "btrfs"}, .vfs = {"unix", "auto", "uring"}};
  a.fs_count = a.vfs_count = 3;
  a.options = (run_options){.save = save, .disk_program = disk_program(argv[0]), .self = argv[0]};
  a.options.scratch = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : tmp != NULL ? tmp : "/tmp";
  if (!parse(argc, argv, &a)) {
    fputs(usage, stderr);
    return 2;
  }
  setvbuf(stdout, NULL, _IOLBF, 0);
  const char *missing = machine_missing(a.fs, a.fs_count, a.options.disk_program);
  if (missing[0] != 0) {
    printf("powercut: %s\n", missing);
    return 77;
  }
  snprintf(scratch, sizeof scratch, "%s/powercut.XXXXXX", a.options.scratch);
  if (mkdtemp(scratch) == NULL) {
    perror(scratch);
    return 1;
  }
  a.options.scratch = scratch;
  const struct sigaction action = {.sa_handler = stop};
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGHUP, &action, NULL);
  const int code = a.replay != NULL ? campaign_replay(a.replay, &a.cut, a.dump, &a.options) : campaign(&a);
  char command[300];
  snprintf(command, sizeof command, "rm -rf --one-file-system '%s'", scratch);
  return system(command) == 0 ? code : 1;
}
