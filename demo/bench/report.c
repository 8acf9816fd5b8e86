/*
** report.c - the outcomes as a table (120 columns), as JSON with every run, and as a plot.
**
** A workload whose run is one operation: median and worst of the runs. Many operations: the median of the runs' medians and
** of their 99th percentiles, and the worst operation of all. Ratios are of the time an operation takes on the average.
*/
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "uringvfs.h"

/* ---- Figures of a side ---------------------------------------------------------------------------------------------- */

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

/* How many times as fast as the first side; run by run. */
static spread ratio(const outcome *o, int side_index, double *each) {
  for (int i = 0; i < o->runs; i++) each[i] = op_ns(&o->run[0][i]) / op_ns(&o->run[side_index][i]);
  return spread_of(each, o->runs);
}

static spread times_limit(const outcome *o, int side_index) {
  double time[MAX_RUNS];
  collect(o, side_index, op_ns, time);
  return ratios(time, o->limit_op_ns, o->runs);
}

static bool one_operation(const outcome *o) { return o->workload->ops == 1; }

/* ---- Table ------------------------------------------------------------------------------------------------------------ */

void print_header(const report *r) {
  const machine *m = &r->machine;
  printf("SQLite %s, uringvfs %s; %s; %d processors, %d MB memory", sqlite3_libversion(), URINGVFS_VERSION, m->kernel,
         m->cpus, m->memory_mb);
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

static const char *title(const outcome *o, char *text, size_t size) {
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
  printf(" %10.0f %7.0f\n", spread_over_runs(o, s, op_read_calls).median, spread_over_runs(o, s, device_mb).median);
}

void print_outcome(const report *r, const outcome *o) {
  char text[64];
  printf("%-37s %8s %8s %8s   %-20s %7s %8s %9s %7s\n", title(o, text, sizeof text), "median", "p99", "worst", "ratio",
         "x limit", "CPU", "read calls", "MB read");
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
  printf("ratio: how many times as fast as %s, run by run: median (lowest - highest); where 1 lies between these two, "
         "there\n"
         "is no difference to speak of. x limit: how many times as long as bare liburing takes to read the same pages. "
         "Times,\n"
         "CPU (of the whole process) and read calls (io_uring_enter included) are of one operation, MB read of a run, "
         "from\n"
         "the device. Every answer was checked.\n",
         r->sides[0].name);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------------- */

static void json_string(FILE *f, const char *text) {
  fputc('"', f);
  for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
    if (*p < 0x20)
      fprintf(f, "\\u%04x", *p);
    else if (*p == '"' || *p == '\\')
      fprintf(f, "\\%c", *p);
    else
      fputc(*p, f);
  }
  fputc('"', f);
}

static void json_member(FILE *f, const char *name, const char *text) {
  fprintf(f, "\"%s\":", name);
  json_string(f, text);
  fputc(',', f);
}

static void json_doubles(FILE *f, const char *name, const double *values, int count) {
  fprintf(f, "\"%s\":[", name);
  for (int i = 0; i < count; i++) fprintf(f, "%s%.6g", i ? "," : "", values[i]);
  fprintf(f, "]");
}

static void json_spread(FILE *f, const char *name, spread s) {
  fprintf(f, "\"%s\":{\"low\":%.6g,\"median\":%.6g,\"high\":%.6g}", name, s.low, s.median, s.high);
}

/* -1 is "not known". */
static void json_known(FILE *f, const char *name, double value) {
  if (value < 0)
    fprintf(f, "\"%s\":null", name);
  else
    fprintf(f, "\"%s\":%.10g", name, value);
}

static void json_run(FILE *f, const run_result *r) {
  fprintf(
      f,
      "{\"ops\":%lld,\"wall_ns\":%.0f,\"cpu_ns\":%.0f,\"op_median_ns\":%.0f,\"op_p99_ns\":%.0f,\"op_worst_ns\":%.0f,"
      "\"read_calls\":%lld,\"device_bytes\":%lld,\"major_faults\":%lld,\"peak_rss_kb\":%lld,\"uring_stats\":%s}",
      (long long)r->ops, r->wall_ns, r->cpu_ns, r->op_median_ns, r->op_p99_ns, r->op_worst_ns, (long long)r->read_calls,
      (long long)r->device_bytes, (long long)r->major_faults, (long long)r->peak_rss_kb,
      r->uring_stats[0] ? r->uring_stats : "null");
}

static void json_side(FILE *f, const report *r, const outcome *o, int s) {
  double each[MAX_RUNS];
  spread is = ratio(o, s, each);
  fprintf(f, "{");
  json_member(f, "vfs", r->sides[s].name);
  json_spread(f, "op_ns", spread_over_runs(o, s, op_ns));
  fprintf(f, ",");
  json_spread(f, "ratio", is);
  fprintf(f, ",");
  json_doubles(f, "ratios", each, o->runs);
  if (o->limit_pages) {
    fprintf(f, ",");
    json_spread(f, "times_limit", times_limit(o, s));
  }
  fprintf(f, ",\n  \"runs\":[");
  for (int i = 0; i < o->runs; i++) {
    fprintf(f, i ? ",\n   " : "\n   ");
    json_run(f, &o->run[s][i]);
  }
  fprintf(f, "]}");
}

static void json_outcome(FILE *f, const report *r, const outcome *o) {
  fprintf(f, "{");
  json_member(f, "workload", o->workload->name);
  json_member(f, "database", layout_names[o->workload->layout]);
  json_known(f, "read_ahead_kb", o->read_ahead_kb);
  fprintf(f, ",\"cold\":%s,\"limit\":", o->workload->cold ? "true" : "false");
  if (o->limit_pages) {
    fprintf(f, "{\"pages\":%lld,\"depth\":%d,", (long long)o->limit_pages, LIMIT_DEPTH);
    json_doubles(f, "op_ns", o->limit_op_ns, o->runs);
    fprintf(f, "}");
  } else
    fprintf(f, "null");
  fprintf(f, ",\n \"sides\":[");
  for (int s = 0; s < o->sides; s++) {
    fprintf(f, s ? ",\n  " : "\n  ");
    json_side(f, r, o, s);
  }
  fprintf(f, "]}");
}

static void json_machine(FILE *f, const report *r) {
  const machine *m = &r->machine;
  fprintf(f, "\"machine\":{");
  json_member(f, "kernel", m->kernel);
  json_member(f, "sqlite", sqlite3_libversion());
  json_member(f, "uringvfs", URINGVFS_VERSION);
  json_member(f, "filesystem", m->filesystem);
  json_member(f, "device", m->device);
  json_member(f, "date", m->date);
  json_known(f, "read_ahead_kb", m->read_ahead_kb);
  fprintf(f, ",\"processors\":%d,\"memory_mb\":%d,\"memory_limit_mb\":", m->cpus, m->memory_mb);
  if (r->memory_limit_mb)
    fprintf(f, "%d},\n", r->memory_limit_mb);
  else
    fprintf(f, "null},\n");
}

static void json_databases(FILE *f, const report *r) {
  const char *separator = "";
  fprintf(f, "\"databases\":[");
  for (int i = 0; i < LAYOUTS; i++) {
    const database *b = &r->databases[i];
    if (!b->made) continue;
    fprintf(f, "%s{", separator);
    json_member(f, "layout", layout_names[i]);
    fprintf(f, "\"rows\":%lld,\"row_bytes\":%d,\"pages\":%lld,\"bytes\":%lld,", (long long)b->rows, b->row_bytes,
            (long long)b->pages, (long long)b->bytes);
    json_known(f, "leaves", (double)b->leaves);
    fprintf(f, ",");
    json_known(f, "adjacent_leaves", b->adjacent);
    fprintf(f, ",");
    json_known(f, "median_leaf_distance", (double)b->median_distance);
    fprintf(f, "}");
    separator = ",";
  }
  fprintf(f, "],\n");
}

void write_json(const report *r, FILE *f) {
  fprintf(f, "{\"command\":[");
  for (int i = 0; i < r->argc; i++) {
    if (i) fprintf(f, ",");
    json_string(f, r->argv[i]);
  }
  fprintf(f, "],\n\"seconds\":%g,\n", r->seconds);
  json_machine(f, r);
  json_databases(f, r);
  fprintf(f, "\"results\":[");
  for (int i = 0; i < r->outcome_count; i++) {
    fprintf(f, i ? ",\n" : "\n");
    json_outcome(f, r, r->outcomes[i]);
  }
  fprintf(f, "\n]}\n");
  if (fclose(f) != 0) die("--json: the file could not be written");
}

/* ---- Plot --------------------------------------------------------------------------------------------------------------- */

/* Workloads from top to bottom, a dot and a bar for each side, on a line of its own. */
static double plot_place(const report *r, int outcome_index, int s) {
  return outcome_index + 0.6 * ((s - 0.5) / r->side_count - 0.5);
}

/* Median, place, lowest and highest ratio. */
static void plot_side(FILE *f, const report *r, int s) {
  double each[MAX_RUNS];
  fprintf(f, "$side%d << END\n", s);
  for (int i = 0; i < r->outcome_count; i++) {
    spread is = ratio(r->outcomes[i], s, each);
    fprintf(f, "%.6g %.6g %.6g %.6g\n", is.median, plot_place(r, i, s), is.low, is.high);
  }
  fprintf(f, "END\n");
}

static void plot_limit(FILE *f, const report *r) {
  fprintf(f, "$limit << END\n");
  for (int i = 0; i < r->outcome_count; i++)
    if (r->outcomes[i]->limit_pages) fprintf(f, "%.6g %d\n", times_limit(r->outcomes[i], 0).median, i);
  fprintf(f, "END\n");
}

static bool has_limit(const report *r) {
  for (int i = 0; i < r->outcome_count; i++)
    if (r->outcomes[i]->limit_pages) return true;
  return false;
}

static void plot_axes(FILE *f, const report *r, const char *path) {
  char text[64];
  fprintf(f, "set terminal svg size 900,%d noenhanced font 'sans,13' background 'white'\n",
          130 + 18 * r->side_count + r->outcome_count * (18 + 8 * r->side_count));
  fprintf(f, "set output '%s'\nset title 'Times as fast as %s'\n", path, r->sides[0].name);
  fprintf(f, "set logscale x 2\nset format x '%%g'\nset grid x\nset key outside bottom center vertical maxcols 1\n");
  fprintf(f, "set yrange [%g:-0.6]\nset ytics scale 0 (", r->outcome_count - 0.4);
  for (int i = 0; i < r->outcome_count; i++)
    fprintf(f, "%s'%s' %d", i ? ", " : "", title(r->outcomes[i], text, sizeof text), i);
  fprintf(f, ")\nset arrow from 1, graph 0 to 1, graph 1 nohead lc 'black' lw 1.5\n");
}

static void plot(FILE *f, const report *r, const char *path) {
  const char *separator = "plot ";
  plot_axes(f, r, path);
  for (int s = 1; s < r->side_count; s++) plot_side(f, r, s);
  if (has_limit(r)) plot_limit(f, r);
  for (int s = 1; s < r->side_count; s++, separator = ", ")
    fprintf(f, "%s$side%d using 1:2:3:4 with xerrorbars pt 7 ps 0.7 lw 2 lc %d title '%s'", separator, s, s,
            r->sides[s].name);
  if (has_limit(r)) fprintf(f, ", $limit with points pt 12 ps 1.2 lc 'black' title 'limit of the device'");
  fprintf(f, "\n");
}

void write_svg(const report *r, const char *path) {
  FILE *f = popen("gnuplot", "we");
  if (!f) die("gnuplot cannot be started");
  plot(f, r, path);
  if (pclose(f) != 0) die("--svg: gnuplot failed");
}
