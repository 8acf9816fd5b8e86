/*
** json.c - everything that was measured, run by run, as one JSON object. null is what is not known or not there.
*/
#include "bench.h"

#include "uringvfs.h"

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
  json_spread(f, "op_ns", op_time(o, s));
  fprintf(f, ",");
  json_spread(f, "ratio", is);
  fprintf(f, ",");
  json_doubles(f, "ratios", each, o->runs);
  fprintf(f, ",");
  json_spread(f, "cpu_ratio", cpu_ratio(o, s));
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
  fprintf(f, ",");
  json_known(f, "load", m->load);
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
