/*
** prog_crash.c - the crash simulation from the command line: long campaigns, and replaying what one has found.
*/
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support_campaign.h"

static const char usage[] =
    "prog_crash [options]: runs workloads through a VFS, cuts the power at every point, checks what is left\n"
    "  --seed N        first seed (1)\n"
    "  --seeds N       how many (96: all journal modes x synchronous x page sizes)\n"
    "  --stride N      every Nth seed (1); 6: one journal mode, 24: one synchronous setting of it\n"
    "  --until-failure stop at the first seed that fails\n"
    "  --images N      go on with further seeds until that many images were checked\n"
    "  --steps N       steps of a workload (14)\n"
    "  --vfs NAME      uring, or unix-recorder: the default VFS, for comparison (uring)\n"
    "  --backend NAME  sync, auto, uring; mix: each in turn (mix)\n"
    "  --random N      random choices per cut and kind (2)\n"
    "  --single N      single entries dropped, kept and torn per cut (3)\n"
    "  --every N       cut at every Nth point (1)\n"
    "  --jobs N        processes (2)\n"
    "  --compare       no cuts: run on both VFSs and compare the files at every acknowledgement\n"
    "  --cut N         only the cut after entry N of the log (0: none)\n"
    "  --variant F:W:S only that choice of what is lost\n"
    "  --scratch DIR   where databases are made (/dev/shm, or $TMPDIR)\n"
    "  --save DIR      where failing images go ($BUILD/crash)\n"
    "  --verbose       print every statement\n";

typedef struct arguments {
  uint64_t seed, seeds, stride, images;
  int steps, jobs;
  const char *vfs, *backend, *scratch, *save;
  bool compare, verbose, until_failure;
  crash_options options;
  crash_variant variant;
} arguments;

static void configure(const arguments *a, uint64_t seed, crash_config *c) {
  static const char *const backends[] = {"sync", "uring", "auto"};
  memset(c, 0, sizeof *c);
  crash_config_from_seed(c, seed, a->steps);
  c->vfs = a->vfs;
  c->verbose = a->verbose;
  /* Not in step with the other choices, which go by remainders of the seed. */
  c->backend = strcmp(a->backend, "mix") == 0 ? backends[(seed * 7 + seed / 24) % 3] : a->backend;
}

/* Every jobs-th seed, from the first + job on. */
static int work(const arguments *a, int job, const char *scratch, crash_totals *totals) {
  crash_options options = a->options;
  options.scratch = scratch;
  if (!crash_campaign_init()) {
    fprintf(stderr, "crash: the VFSs cannot be registered\n");
    return 1;
  }
  const uint64_t images = a->images / (uint64_t)a->jobs + 1;
  for (uint64_t i = (uint64_t)job; i < a->seeds || (a->images > 0 && totals->images < images); i += (uint64_t)a->jobs) {
    crash_config c;
    configure(a, a->seed + i * a->stride, &c);
    if (a->compare)
      (void)crash_compare(&c, &options, totals);
    else
      (void)crash_campaign(&c, &options, totals);
    if (totals->failures > (a->until_failure ? 0 : 200)) break;
    if (a->images > 0 && isatty(1)) {
      printf("\r%llu images", (unsigned long long)totals->images);
      fflush(stdout);
    }
  }
  return 0;
}

static int parent(const arguments *a, const char *scratch) {
  crash_totals sum = {0};
  int failed = 0, pipes[64];
  pid_t children[64];
  for (int job = 0; job < a->jobs; job++) {
    int ends[2];
    if (pipe(ends) != 0) return 1;
    fflush(stdout);
    if ((children[job] = fork()) == 0) {
      char own[640];
      crash_totals totals = {0};
      close(ends[0]);
      snprintf(own, sizeof own, "%s/%d", scratch, job);
      if (mkdir(own, 0700) != 0) _exit(1);
      int rc = work(a, job, own, &totals);
      if (write(ends[1], &totals, sizeof totals) != (ssize_t)sizeof totals) rc = 1;
      (void)rmdir(own);
      fflush(stdout);
      _exit(rc);
    }
    close(ends[1]);
    pipes[job] = ends[0];
  }
  for (int job = 0; job < a->jobs; job++) {
    crash_totals part;
    int status = 1;
    if (read(pipes[job], &part, sizeof part) == (ssize_t)sizeof part)
      crash_totals_add(&sum, &part);
    else
      failed = 1;
    if (waitpid(children[job], &status, 0) < 0 || status != 0) failed = 1;
    close(pipes[job]);
  }
  crash_totals_print(&sum);
  if (failed) printf("crash: a process ended badly\n");
  if (a->images > 0 && sum.images < a->images) failed = 1;
  return failed || sum.failures > 0;
}

static int parse(int argc, char **argv, arguments *a) {
  enum {
    SEED,
    SEEDS,
    STRIDE,
    UNTIL_FAILURE,
    EVERY,
    IMAGES,
    STEPS,
    VFS,
    BACKEND,
    RANDOM,
    SINGLE,
    JOBS,
    COMPARE,
    CUT,
    VARIANT,
    SCRATCH,
    SAVE,
    VERBOSE
  };
  static const struct option options[] = {{"seed", 1, NULL, SEED},
                                          {"seeds", 1, NULL, SEEDS},
                                          {"images", 1, NULL, IMAGES},
                                          {"stride", 1, NULL, STRIDE},
                                          {"until-failure", 0, NULL, UNTIL_FAILURE},
                                          {"every", 1, NULL, EVERY},
                                          {"steps", 1, NULL, STEPS},
                                          {"vfs", 1, NULL, VFS},
                                          {"backend", 1, NULL, BACKEND},
                                          {"random", 1, NULL, RANDOM},
                                          {"single", 1, NULL, SINGLE},
                                          {"jobs", 1, NULL, JOBS},
                                          {"compare", 0, NULL, COMPARE},
                                          {"cut", 1, NULL, CUT},
                                          {"variant", 1, NULL, VARIANT},
                                          {"scratch", 1, NULL, SCRATCH},
                                          {"save", 1, NULL, SAVE},
                                          {"verbose", 0, NULL, VERBOSE},
                                          {NULL, 0, NULL, 0}};
  int option;
  while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
    switch (option) {
    case SEED: a->seed = strtoull(optarg, NULL, 10); break;
    case SEEDS: a->seeds = strtoull(optarg, NULL, 10); break;
    case STRIDE: a->stride = strtoull(optarg, NULL, 10); break;
    case EVERY: a->options.every = (int)strtol(optarg, NULL, 10); break;
    case UNTIL_FAILURE: a->until_failure = true; break;
    case IMAGES: a->images = strtoull(optarg, NULL, 10); break;
    case STEPS: a->steps = (int)strtol(optarg, NULL, 10); break;
    case VFS: a->vfs = optarg; break;
    case BACKEND: a->backend = optarg; break;
    case RANDOM: a->options.random_variants = (int)strtol(optarg, NULL, 10); break;
    case SINGLE: a->options.single_variants = (int)strtol(optarg, NULL, 10); break;
    case JOBS: a->jobs = (int)strtol(optarg, NULL, 10); break;
    case COMPARE: a->compare = true; break;
    case CUT: a->options.only_cut = strtol(optarg, NULL, 10); break;
    case VARIANT: {
      char *rest;
      a->variant.fate = (crash_fate)strtoul(optarg, &rest, 10);
      a->variant.which = *rest == ':' ? strtoul(rest + 1, &rest, 10) : 0;
      a->variant.seed = *rest == ':' ? strtoull(rest + 1, &rest, 10) : 0;
      a->options.only_variant = &a->variant;
      break;
    }
    case SCRATCH: a->scratch = optarg; break;
    case SAVE: a->save = optarg; break;
    case VERBOSE: a->verbose = true; break;
    default: return 1;
    }
  }
  if (a->options.only_cut >= 0) a->seeds = 1, a->jobs = 1, a->images = 0;
  return optind != argc || a->jobs < 1 || a->jobs > 64;
}

int main(int argc, char **argv) {
  arguments a = {.seed = 1, .seeds = 96, .stride = 1, .steps = 14, .jobs = 2, .vfs = "uring", .backend = "mix"};
  char scratch[600], save[600];
  a.options = (crash_options){.random_variants = 2, .single_variants = 3, .only_cut = -1};
  if (parse(argc, argv, &a) != 0) {
    fputs(usage, stderr);
    return 2;
  }
  if (a.scratch == NULL) a.scratch = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
  snprintf(scratch, sizeof scratch, "%s/uringvfs-crash.XXXXXX", a.scratch != NULL ? a.scratch : "/tmp");
  if (mkdtemp(scratch) == NULL) {
    perror(scratch);
    return 1;
  }
  if (a.save == NULL) {
    const char *build = getenv("BUILD");
    snprintf(save, sizeof save, "%s/crash", build != NULL ? build : "build");
    a.save = save;
  }
  a.options.save = a.save;
  a.options.replay = argv[0];
  printf("crash: seeds from %llu, %s on %s, %d steps\n", (unsigned long long)a.seed, a.vfs, a.backend, a.steps);
  int rc = parent(&a, scratch);
  (void)rmdir(scratch);
  return rc;
}
