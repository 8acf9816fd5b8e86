/*
** prog_powercut.c - power cuts on real file systems: campaigns, and one image again.
**
** For each seed: each file system, each VFS. Exit code 0: all was there; 1: something was not; 77: something is missing on
** this machine, and the last line says what.
*/
#include <signal.h>

#include "support_campaign.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAX_LIST 3

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
    "  --vfs LIST      unix,auto,ring: the default VFS, uring as it likes, uring with uring_backend=uring\n"
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

typedef struct cell {
  run_totals totals;
  double seconds;
} cell;

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
    if (strcmp(a->vfs[i], "unix") != 0 && strcmp(a->vfs[i], "auto") != 0 && strcmp(a->vfs[i], "ring") != 0)
      return false;
  return optind == argc && a->fs_count > 0 && a->vfs_count > 0 && a->stride > 0 && a->transactions > 0 &&
         (a->replay == NULL) == !cut;
}

static void configure(const arguments *a, uint64_t seed, const char *vfs, workload *w) {
  memset(w, 0, sizeof *w);
  workload_from_seed(w, seed);
  w->vfs = strcmp(vfs, "unix") == 0 ? "unix" : "uring";
  w->backend = strcmp(vfs, "unix") == 0 ? "" : strcmp(vfs, "auto") == 0 ? "auto" : "uring";
  w->transactions = a->transactions;
}

static void add(run_totals *sum, const run_totals *one) {
  sum->runs += one->runs;
  sum->images += one->images;
  sum->lost += one->lost;
  sum->torn += one->torn;
  sum->failures += one->failures;
  sum->entries += one->entries;
  sum->flushes += one->flushes;
}

static void print_cell(const char *fs, const char *vfs, const cell *c) {
  const run_totals *t = &c->totals;
  printf("%-6s %-5s %5llu runs %8llu writes and flushes %7llu flushes %8llu images (%llu with lost, %llu with torn "
         "writes) %4.0f s  "
         "%llu failures\n",
         fs, vfs, (unsigned long long)t->runs, (unsigned long long)t->entries, (unsigned long long)t->flushes,
         (unsigned long long)t->images, (unsigned long long)t->lost, (unsigned long long)t->torn, c->seconds,
         (unsigned long long)t->failures);
}

static bool enough(const arguments *a, uint64_t done, const run_totals *sum, double since) {
  if (campaign_stop || (a->options.until_failure && sum->failures > 0)) return true;
  if (a->seconds > 0 && now() - since >= (double)a->seconds) return true;
  return a->images > 0 ? sum->images >= a->images : done >= a->seeds;
}

static int campaign(const arguments *a) {
  static cell cells[MAX_LIST][MAX_LIST];
  run_totals sum = {0};
  const double since = now();
  for (uint64_t i = 0; !enough(a, i, &sum, since); i++)
    for (int f = 0; f < a->fs_count; f++)
      for (int v = 0; v < a->vfs_count && !enough(a, 0, &sum, since); v++) {
        workload w;
        run_totals one = {0};
        const double begin = now();
        configure(a, a->seed + i * a->stride, a->vfs[v], &w);
        (void)campaign_run(machine_file_system(a->fs[f]), &w, &a->options, &one);
        add(&cells[f][v].totals, &one);
        add(&sum, &one);
        cells[f][v].seconds += now() - begin;
        if (isatty(1)) {
          printf("\r%llu images ", (unsigned long long)sum.images);
          fflush(stdout);
        }
      }
  if (isatty(1)) printf("\r");
  for (int f = 0; f < a->fs_count; f++)
    for (int v = 0; v < a->vfs_count; v++) print_cell(a->fs[f], a->vfs[v], &cells[f][v]);
  printf("powercut: seed %llu, %llu images, %llu failures, %.0f s\n", (unsigned long long)a->seed,
         (unsigned long long)sum.images, (unsigned long long)sum.failures, now() - since);
  if (campaign_stop) return 130;
  return sum.failures > 0 || sum.images == 0;
}

/* prog_disk_fuse is beside this program, wherever that was linked (plant.sh: $POWERCUT_DISK). */
static const char *disk_program(const char *self) {
  static char path[1024];
  if (getenv("POWERCUT_DISK") != NULL) return getenv("POWERCUT_DISK");
  const char *slash = strrchr(self, '/');
  snprintf(path, sizeof path, "%.*sprog_disk_fuse", slash != NULL ? (int)(slash - self + 1) : 0, self);
  return path;
}

int main(int argc, char **argv) {
  char scratch[200], save[200];
  const char *tmp = getenv("TMPDIR"), *build = getenv("BUILD");
  snprintf(save, sizeof save, "%s/powercut", build != NULL ? build : "build");
  arguments a = {
      .seeds = 8, .stride = 1, .transactions = 40, .fs = {"ext4", "xfs", "btrfs"}, .vfs = {"unix", "auto", "ring"}};
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
