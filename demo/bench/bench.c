/*
** bench.c - whole workloads through several VFSs in turn, cold and warm, beside what the device could do.
**
** Runs alternate A B C, C B A, A B C, ... so that a drift of the machine meets all; each is a process of its own
** (measure.c). The ratio of a run is that to A in the same round. A family of workloads is a table in its own file.
*/
#include "bench.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_OUTCOMES = 200, NO_READ_AHEAD = -2 };

static const workload *const families[] = {whole_workloads, short_workloads, join_workloads, NULL};

/* for (const workload *w = NULL; (w = next_workload(w));) */
static const workload *next_workload(const workload *w) {
  static const workload *const *family;
  if (!w)
    family = families;
  else if (!(++w)->name)
    family++;
  else
    return w;
  return *family;
}

static struct {
  const char *list, *json, *svg;
  char parent[300];
  side sides[MAX_SIDES];
  int side_count, runs, row_bytes, memory_mb;
  int read_ahead[MAX_READ_AHEADS], read_aheads;
  int64_t rows;
  double seconds;
  bool limit, progress;
} options = {.parent = ".", .runs = 5, .row_bytes = 400, .seconds = 0.5, .limit = true, .read_ahead = {NO_READ_AHEAD}};

static char work_dir[400];
static pid_t main_pid;
static database databases[LAYOUTS];

/* ---- Command line ---------------------------------------------------------------------------------------------- */

static void usage(void) {
  printf(
      "Usage: demo/bench.sh [OPTION]...\n\n"
      "Runs workloads through several VFSs in turn, prints their times, the ratio to the first, and the device's "
      "limit.\n\n"
      "  --workload NAME,...    what to run (default: all of the list below)\n"
      "  --vfs A,B,...          the VFSs, URI parameters allowed, such as 'uring&uring_readahead=0'; NAME+mmap: with\n"
      "                         PRAGMA mmap_size (default unix,uring,unix+mmap); ratios are to the first, so that\n"
      "                         unix+mmap,uring+mmap shows what mmap_size leaves; unix,unix shows the noise\n"
      "  --size MB              about the size of the rows (default 200); the fragmented file is larger by a half\n"
      "  --rows N               number of rows, instead of --size\n"
      "  --row-bytes N          size of a row's value (default 400)\n"
      "  --runs N               rounds, each with every VFS once (default 5)\n"
      "  --seconds S            length of a run of small operations (default 0.5)\n"
      "  --dir DIR              where to put the databases: their file system is what is measured (default: build/)\n"
      "  --read-ahead-kb N,...  every cold workload with each of these settings of the device's queue, on a loop "
      "device\n"
      "                         made for it (needs root); without it: as the device of DIR is set\n"
      "  --memory MB            run in a cgroup with this much memory (needs root)\n"
      "  --no-limit             do not measure the device's limit\n"
      "  --json FILE            write all figures\n"
      "  --svg FILE             plot the ratios (needs gnuplot)\n"
      "  --help                 this text\n\n"
      "Workloads:\n");
  for (const workload *w = NULL; (w = next_workload(w));) printf("  %-22s %s\n", w->name, w->what);
}

/* "scan-cold" chooses both of its layouts. */
static bool chosen(const char *list, const workload *w) {
  char stem[64];
  snprintf(stem, sizeof stem, "%.*s", (int)strcspn(w->name, "/"), w->name);
  return !list || listed(list, w->name) || listed(list, stem);
}

static void check_list(const char *list) {
  char name[64];
  while (list) {
    bool known = false;
    list = next_name(list, name, sizeof name);
    for (const workload *w = NULL; (w = next_workload(w));) known |= chosen(name, w);
    if (!known) die("no workload is called \"%s\"; see --help", name);
  }
}

static void parse_sides(const char *list) {
  static const char mmap_suffix[] = "+mmap";
  for (options.side_count = 0; list; options.side_count++) {
    static char names[MAX_SIDES][200];
    if (options.side_count == MAX_SIDES) die("--vfs takes at most %d names", MAX_SIDES);
    side *s = &options.sides[options.side_count];
    char *name = names[options.side_count];
    list = next_name(list, name, sizeof names[0]);
    if (!name[0]) die("--vfs: a name is empty");
    size_t length = strlen(name);
    size_t suffix = strlen(mmap_suffix);
    s->name = name;
    s->mmap = length > suffix && strcmp(name + length - suffix, mmap_suffix) == 0;
    snprintf(s->parameters, sizeof s->parameters, "%.*s", (int)(s->mmap ? length - suffix : length), name);
  }
}

static void parse_read_ahead(const char *list) {
  char text[32];
  for (options.read_aheads = 0; list; options.read_aheads++) {
    if (options.read_aheads == MAX_READ_AHEADS) die("--read-ahead-kb takes at most %d numbers", MAX_READ_AHEADS);
    list = next_name(list, text, sizeof text);
    options.read_ahead[options.read_aheads] = (int)number("read-ahead-kb", text, 0, 1 << 20);
  }
}

static const struct option long_options[] = {{"workload", required_argument, NULL, 'w'},
                                             {"vfs", required_argument, NULL, 'v'},
                                             {"size", required_argument, NULL, 'z'},
                                             {"rows", required_argument, NULL, 'n'},
                                             {"row-bytes", required_argument, NULL, 'b'},
                                             {"runs", required_argument, NULL, 'r'},
                                             {"seconds", required_argument, NULL, 's'},
                                             {"dir", required_argument, NULL, 'd'},
                                             {"memory", required_argument, NULL, 'm'},
                                             {"read-ahead-kb", required_argument, NULL, 'a'},
                                             {"no-limit", no_argument, NULL, 'l'},
                                             {"json", required_argument, NULL, 'j'},
                                             {"svg", required_argument, NULL, 'g'},
                                             {"help", no_argument, NULL, 'h'},
                                             {NULL, 0, NULL, 0}};

static void parse(int argc, char **argv) {
  double size_mb = 200;
  parse_sides("unix,uring,unix+mmap");
  for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
    switch (c) {
    case 'w': options.list = optarg; break;
    case 'v': parse_sides(optarg); break;
    case 'z': size_mb = number("size", optarg, 1, 4096); break;
    case 'n': options.rows = (int64_t)number("rows", optarg, 1000, 1e8); break;
    case 'b': options.row_bytes = (int)number("row-bytes", optarg, 16, 1e6); break;
    case 'r': options.runs = (int)number("runs", optarg, 1, MAX_RUNS); break;
    case 's': options.seconds = number("seconds", optarg, 0.001, 60); break;
    case 'd': snprintf(options.parent, sizeof options.parent, "%s", optarg); break;
    case 'm': options.memory_mb = (int)number("memory", optarg, 8, 1 << 20); break;
    case 'a': parse_read_ahead(optarg); break;
    case 'l': options.limit = false; break;
    case 'j': options.json = optarg; break;
    case 'g': options.svg = optarg; break;
    case 'h': usage(); exit(0);
    default: exit(2);
    }
  }
  if (optind < argc) die("unexpected argument \"%s\"; see --help", argv[optind]);
  if (options.list) check_list(options.list);
  enum { CELL_BYTES = 18 }; /* what a row needs beside its value, index included: about */
  if (!options.rows) options.rows = (int64_t)(size_mb * 1e6 / (options.row_bytes + CELL_BYTES));
}

/* ---- Running --------------------------------------------------------------------------------------------------- */

static void show_progress(const workload *w, int run_number, const char *what) {
  if (!options.progress) return;
  fprintf(stderr, "\r\033[K  %s: run %d of %d, %s", w->name, run_number + 1, options.runs, what);
}

static void one_round(outcome *o, const database *base, int number_of_run) {
  for (int i = 0; i < options.side_count; i++) {
    int s = number_of_run % 2 ? options.side_count - 1 - i : i;
    show_progress(o->workload, number_of_run, options.sides[s].name);
    measure(o->workload, base, &options.sides[s], options.seconds, &o->run[s][number_of_run]);
  }
}

static void run_workload(outcome *o, const database *base) {
  const workload *w = o->workload;
  page_list list = {0};
  const bool limit = options.limit && !w->opens;
  if (limit) {
    show_progress(w, 0, "its pages");
    record_pages(w, base, &list);
    o->limit_pages = *list.count;
  }
  for (int i = 0; i < options.runs; i++) {
    one_round(o, base, i);
    if (limit) {
      show_progress(w, i, "the device's limit");
      o->limit_op_ns[i] = limit_ns(w, base, &list) / (double)list.ops;
    }
  }
  if (limit) free_pages(&list);
  if (options.progress) fprintf(stderr, "\r\033[K");
}

static database *get_database(layout which) {
  enum { RELATED_PART = 4, LINK_EVERY = 10 };
  const bool related = which == RELATED || which == RELATED_64K;
  database *base = &databases[which];
  if (base->made) return base;
  base->layout = which;
  base->page_bytes = which == RELATED_64K ? 65536 : 4096;
  base->rows = related ? options.rows / RELATED_PART : options.rows;
  base->links = related ? options.rows / LINK_EVERY : 0;
  base->row_bytes = options.row_bytes;
  base->progress = options.progress;
  snprintf(base->path, sizeof base->path, "%s/%s.db", work_dir, layout_names[which]);
  make_database(base);
  base->made = true;
  print_database(base);
  return base;
}

static void run_with(report *r, const workload *w, int read_ahead_kb) {
  if (r->outcome_count == MAX_OUTCOMES) die("too many results");
  outcome *o = calloc(1, sizeof *o);
  if (!o) die("out of memory");
  if (read_ahead_kb != NO_READ_AHEAD) set_read_ahead(work_dir, read_ahead_kb);
  o->workload = w;
  o->read_ahead_kb = get_read_ahead(work_dir);
  o->sides = options.side_count;
  o->runs = options.runs;
  r->outcomes[r->outcome_count++] = o;
  database *base = get_database(w->layout);
  set_journal_mode(base, w->rollback);
  run_workload(o, base);
  print_outcome(r, o);
}

static void run_all(report *r) {
  for (const workload *w = NULL; (w = next_workload(w));) {
    if (!chosen(options.list, w)) continue;
    const int settings = w->cold && options.read_aheads ? options.read_aheads : 1;
    for (int i = 0; i < settings; i++) run_with(r, w, options.read_ahead[i]);
  }
}

/* ---- Whatever ends the program, nothing stays behind ----------------------------------------------------------- */

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *at) {
  (void)st, (void)type, (void)at;
  return remove(path);
}

static void clean_up(void) {
  if (getpid() != main_pid) return;
  if (work_dir[0]) nftw(work_dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
  undo_machine();
}

static void make_work_dir(void) {
  if (strpbrk(options.parent, "?#%"))
    die("%s: has one of ?#%% in it, which would have to be quoted in a URI", options.parent);
  char *real = realpath(options.parent, NULL);
  if (!real) die("%s: %s", options.parent, strerror(errno));
  char path[sizeof work_dir];
  snprintf(path, sizeof path, "%s/bench.XXXXXX", real);
  free(real);
  if (!mkdtemp(path)) die("%s is not a directory that can be written", options.parent);
  memcpy(work_dir, path, sizeof work_dir);
}

/* What would only fail after all the work. */
static FILE *open_outputs(void) {
  FILE *json = options.json ? fopen(options.json, "we") : NULL;
  if (options.json && !json) die("%s: %s", options.json, strerror(errno));
  if (!options.svg) return json;
  if (options.side_count < 2) die("--svg plots ratios: give --vfs two names");
  if (system("command -v gnuplot >/dev/null 2>&1") != 0) die("--svg needs gnuplot (Debian: gnuplot-nox)");
  FILE *svg = fopen(options.svg, "we");
  if (!svg) die("%s: %s", options.svg, strerror(errno));
  fclose(svg);
  return json;
}

int main(int argc, char **argv) {
  progname = "bench";
  parse(argc, argv);
  FILE *json = open_outputs();
  main_pid = getpid();
  options.progress = isatty(STDERR_FILENO);
  sqlite3_config(SQLITE_CONFIG_LOG, on_log, NULL);
  atexit(clean_up);
  handle_signals();
  make_work_dir();
  if (options.memory_mb) limit_memory(options.memory_mb);

  static outcome *outcomes[MAX_OUTCOMES];
  report r = {.argc = argc,
              .argv = argv,
              .sides = options.sides,
              .side_count = options.side_count,
              .memory_limit_mb = options.memory_mb,
              .seconds = options.seconds,
              .databases = databases,
              .outcomes = outcomes};
  if (options.read_aheads) set_read_ahead(work_dir, options.read_ahead[0]);
  describe_machine(&r.machine, work_dir);
  print_header(&r);
  run_all(&r);
  print_footer(&r);
  if (json) write_json(&r, json);
  if (options.svg) write_svg(&r, options.svg);
  for (int i = 0; i < r.outcome_count; i++) free(outcomes[i]);
  return 0;
}
