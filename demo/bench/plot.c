/*
** plot.c - the ratios as a picture, drawn by gnuplot: workloads from top to bottom, a dot and a bar for each side.
*/
#include "bench.h"

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
    fprintf(f, "%s'%s' %d", i ? ", " : "", outcome_title(r->outcomes[i], text, sizeof text), i);
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
