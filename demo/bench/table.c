/*
** table.c - the outcomes as a table of some 120 columns, and the figures that it shares with JSON and plot.
**
** A run that is one operation: median and worst of the runs. A run of many: the median of the runs' medians and of
** their 99th percentiles, and the worst operation of all. Ratios are of the time an operation takes on the average.
*/
#include "bench.h"

#include "uringvfs.h"

/* ---- Figures of a side ----------------------------------------------------------------------------------------- */

typedef double (*figure)(const run_result *);
static double op_ns(const run_result *r) { return r->wall_ns / (double)r->ops; }
static double op_median_ns(const run_result *r) { return r->op_median_ns; }
static double op_p99_ns(const run_result *r) { return r->op_p99_ns; }
static double op_worst_ns(const run_result *r) { return r->op_worst_ns; }
static double op_cpu_ns(const run_result *r) { return r->cpu_ns / (double)r->ops; }
static double op_read_calls(const run_result *r) { return (double)r->read_calls / (double)r->ops; }
static double device_mb(const run_result *r) { return (double)r->device_bytes / 1e6; }

static void collect(const outcome *o, int side_index, figure f, double *values) {
  for (int i = 0; i < o->runs; i++) values[i] = f(&o->run[side_index][i]);
}

static spread spread_over_runs(const outcome *o, int side_index, figure f) {
  double values[MAX_RUNS];
  collect(o, side_index, f, values);
  return spread_of(values, o->runs);
}

spread ratio(const outcome *o, int side_index, double *each) {
  for (int i = 0; i < o->runs; i++) each[i] = op_ns(&o->run[0][i]) / op_ns(&o->run[side_index][i]);
  return spread_of(each, o->runs);
}

spread cpu_ratio(const outcome *o, int side_index) {
  double each[MAX_RUNS];
  for (int i = 0; i < o->runs; i++) each[i] = op_cpu_ns(&o->run[0][i]) / op_cpu_ns(&o->run[side_index][i]);
  return spread_of(each, o->runs);
}

spread times_limit(const outcome *o, int side_index) {
  double time[MAX_RUNS];
  collect(o, side_index, op_ns, time);
  return ratios(time, o->limit_op_ns, o->runs);
}

spread op_time(const outcome *o, int side_index) { return spread_over_runs(o, side_index, op_ns); }

/* From memory nothing is read from the device, and there is room for what swings less than the time by the clock. */
static bool shows_cpu_ratio(const report *r, const outcome *o) { return !o->workload->cold && !r->memory_limit_mb; }

static bool one_operation(const outcome *o) { return o->workload->ops == 1; }

/* ---- Table ----------------------------------------------------------------------------------------------------- */

void print_header(const report *r) {
  const machine *m = &r->machine;
  printf("SQLite %s, uringvfs %s; %s; %d processors, load %.1f; %d MB memory", sqlite3_libversion(), URINGVFS_VERSION,
         m->kernel, m->cpus, m->load, m->memory_mb);
  if (r->memory_limit_mb) printf(", limited to %d MB", r->memory_limit_mb);
  printf("\n%s on %s, ", m->filesystem, m->device);
  if (m->read_ahead_kb >= 0)
    printf("read_ahead_kb %d; %s\n\n", m->read_ahead_kb, m->date);
  else
    printf("read_ahead_kb unknown; %s\n\n", m->date);
  fflush(stdout);
}

void print_database(const database *base) {
  printf("%s.db: %lld rows of %d bytes, %lld pages, %.0f MB; ", layout_names[base->layout], (long long)base->rows,
         base->row_bytes, (long long)base->pages, (double)base->bytes / 1e6);
  if (base->leaves < 0)
    printf("where its leaves are is not known: this SQLite has no dbstat\n\n");
  else
    printf("of %lld leaves %.1f %% follow their predecessor,\nand the median distance of neighbours is %lld pages\n\n",
           (long long)base->leaves, 100 * base->adjacent, (long long)base->median_distance);
  fflush(stdout);
}

/* Three significant digits and a unit. */
static const char *time_text(double ns, char *text, size_t size) {
  static const char *const unit[] = {"ns", "us", "ms", "s"};
  int u = 0;
  for (; u < 3 && ns >= 999.5; u++) ns /= 1000;
  snprintf(text, size, "%.*f %s", ns < 9.995 ? 2 : ns < 99.95 ? 1 : 0, ns, unit[u]);
  return text;
}

static void print_time(double ns) {
  char text[32];
  printf(" %8s", time_text(ns, text, sizeof text));
}

const char *outcome_title(const outcome *o, char *text, size_t size) {
  if (o->workload->cold && o->read_ahead_kb >= 0)
    snprintf(text, size, "%s, read-ahead %d", o->workload->name, o->read_ahead_kb);
  else
    snprintf(text, size, "%s", o->workload->name);
  return text;
}

static void print_side(const report *r, const outcome *o, int s) {
  double each[MAX_RUNS];
  char text[64];
  spread is = ratio(o, s, each);
  printf("  %-35s", r->sides[s].name);
  print_time(spread_over_runs(o, s, one_operation(o) ? op_ns : op_median_ns).median);
  if (one_operation(o))
    printf(" %8s", "-");
  else
    print_time(spread_over_runs(o, s, op_p99_ns).median);
  print_time(spread_over_runs(o, s, one_operation(o) ? op_ns : op_worst_ns).high);
  if (s == 0)
    snprintf(text, sizeof text, "1");
  else
    snprintf(text, sizeof text, "%.2f (%.2f - %.2f)", is.median, is.low, is.high);
  printf("   %-20s", text);
  if (o->limit_pages)
    printf(" %7.2f", times_limit(o, s).median);
  else
    printf(" %7s", "-");
  print_time(spread_over_runs(o, s, op_cpu_ns).median);
  printf(" %10.0f", spread_over_runs(o, s, op_read_calls).median);
  if (shows_cpu_ratio(r, o))
    printf(" %9.2f\n", cpu_ratio(o, s).median);
  else
    printf(" %9.0f\n", spread_over_runs(o, s, device_mb).median);
}

void print_outcome(const report *r, const outcome *o) {
  char text[64];
  printf("%-37s %8s %8s %8s   %-20s %7s %8s %10s %9s\n", outcome_title(o, text, sizeof text), "median", "p99", "worst",
         "ratio", "x limit", "CPU", "read calls", shows_cpu_ratio(r, o) ? "CPU ratio" : "MB read");
  for (int s = 0; s < o->sides; s++) print_side(r, o, s);
  if (o->limit_pages) {
    spread limit = spread_of(o->limit_op_ns, o->runs);
    snprintf(text, sizeof text, "limit: %lld pages, %d at once", (long long)o->limit_pages, LIMIT_DEPTH);
    printf("  %-35s", text);
    print_time(limit.median);
    printf(" %8s", "-");
    print_time(limit.high);
    printf("\n");
  }
  printf("\n");
  fflush(stdout);
}

void print_footer(const report *r) {
  printf(
      "ratio:   how many times as fast as %s, run by run: median (lowest - highest). Where 1 lies between these two,\n"
      "         there is no difference to speak of.\n"
      "x limit: how many times as long as bare liburing takes to read the same pages.\n"
      "Times, CPU (of the whole process) and read calls (with io_uring_enter) are of one operation; MB read is what a\n"
      "run reads from the device. CPU ratio: as ratio, of the CPU time. Every answer was checked.\n",
      r->sides[0].name);
}
