/*
** measure.c - one run: page cache made cold or warm, a process of its own, the operations timed, its counters read.
**
** Cold: the time has opening the database in it. Warm: the file is in memory (with a memory limit, what fits of it),
** and operations came before.
*/
#include "bench.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/resource.h>

#include "uringvfs.h"

typedef struct job {
  const workload *w;
  task t;
  double seconds;
  run_result *result;
} job;

sqlite3 *open_on(const side *s, const char *path) {
  sqlite3 *db = NULL;
  char uri[1024];
  snprintf(uri, sizeof uri, "file:%s?vfs=%s", path, s->parameters);
  check(db, sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL), uri);
  return db;
}

sqlite3 *open_side(const task *t) {
  sqlite3 *db = open_on(t->side, t->base->path);
  if (t->side->mmap && query_int(db, "PRAGMA mmap_size = 1099511627776") < t->base->bytes)
    die("%s: this SQLite does not map a file of %lld MB", t->side->name, (long long)t->base->bytes >> 20);
  return db;
}

static void open_task(const workload *w, task *t) {
  if (w->opens) return;
  t->db = open_side(t);
  if (w->sql) t->stmt = prepare(t->db, w->sql);
}

static void close_task(task *t) {
  sqlite3_finalize(t->stmt);
  if (t->db) close_db(&t->db);
}

task new_task(const database *base, const side *s) {
  task t = {.base = base, .side = s, .random = 88172645463325252U};
  snprintf(t.output, sizeof t.output, "%s.output", base->path);
  return t;
}

/* Until there are `count` or, with count 0, until `seconds` have passed. */
static int64_t operations(const workload *w, task *t, int count, double seconds, uint32_t *latency_ns) {
  double begin = clock_ns(CLOCK_MONOTONIC);
  double last = begin;
  int64_t n = 0;
  while (count ? n < count : last - begin < seconds * 1e9 && n < MAX_LATENCIES) {
    w->op(t);
    double now = clock_ns(CLOCK_MONOTONIC);
    latency_ns[n++] = clamp_ns(now - last);
    last = now;
  }
  return n;
}

/* ---- Counters -------------------------------------------------------------------------------------------------- */

/* The object of PRAGMA uring_stats; "" where there is none. */
static void uring_stats(const task *t, char *text) {
  sqlite3 *db = t->db ? t->db : open_side(t);
  sqlite3_stmt *stmt = prepare(db, "PRAGMA uring_stats");
  text[0] = 0;
  if (sqlite3_step(stmt) == SQLITE_ROW) snprintf(text, STATS_BYTES, "%s", sqlite3_column_text(stmt, 0));
  if (strlen(text) == STATS_BYTES - 1) die("uring_stats is longer than %d bytes", STATS_BYTES);
  sqlite3_finalize(stmt);
  if (!t->db) close_db(&db);
}

static int64_t enters(const char *stats) {
  const char *p = strstr(stats, "\"enters\":");
  return p ? atoll(p + strlen("\"enters\":")) : 0;
}

/* A line of /proc/self/io, which knows every thread of the process. */
static int64_t io_counter(const char *name) {
  FILE *f = fopen("/proc/self/io", "re");
  char line[100];
  int64_t value = 0;
  while (f && fgets(line, sizeof line, f))
    if (strncmp(line, name, strlen(name)) == 0) value = atoll(line + strlen(name));
  if (f) fclose(f);
  return value;
}

typedef struct counters {
  double wall_ns, cpu_ns;
  int64_t read_calls, device_bytes;
} counters;

static counters read_counters(const char *stats) {
  return (counters){clock_ns(CLOCK_MONOTONIC), clock_ns(CLOCK_PROCESS_CPUTIME_ID),
                    io_counter("syscr: ") + enters(stats), io_counter("read_bytes: ")};
}

static void store(run_result *r, counters before, counters after, uint32_t *latency_ns) {
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  r->wall_ns = after.wall_ns - before.wall_ns;
  r->cpu_ns = after.cpu_ns - before.cpu_ns;
  r->read_calls = after.read_calls - before.read_calls;
  r->device_bytes = after.device_bytes - before.device_bytes;
  r->major_faults = usage.ru_majflt;
  r->peak_rss_kb = usage.ru_maxrss;
  r->op_worst_ns = percentile(latency_ns, (size_t)r->ops, 100);
  r->op_p99_ns = percentile(latency_ns, (size_t)r->ops, 99);
  r->op_median_ns = percentile(latency_ns, (size_t)r->ops, 50);
}

/* ---- The run --------------------------------------------------------------------------------------------------- */

static void timed_run(void *arg) {
  job *j = arg;
  const workload *w = j->w;
  task *t = &j->t;
  run_result *r = j->result;
  uint32_t *latency_ns = malloc(MAX_LATENCIES * sizeof *latency_ns);
  if (!latency_ns || uringvfs_register(0) != SQLITE_OK) die("the VFS uring could not be registered");
  r->uring_stats[0] = 0;
  if (!w->cold) {
    open_task(w, t);
    operations(w, t, w->ops, j->seconds / 5, latency_ns);
    uring_stats(t, r->uring_stats);
  }
  counters before = read_counters(r->uring_stats);
  if (w->cold) open_task(w, t);
  r->ops = operations(w, t, w->ops, j->seconds, latency_ns);
  double wall = clock_ns(CLOCK_MONOTONIC);
  double cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  uring_stats(t, r->uring_stats);
  counters after = read_counters(r->uring_stats);
  after.wall_ns = wall;
  after.cpu_ns = cpu;
  store(r, before, after, latency_ns);
  if (w->verify) w->verify(t);
  close_task(t);
  free(latency_ns);
  r->done = true;
}

void run_unmeasured(const workload *w, task *t, int ops) {
  open_task(w, t);
  for (int i = 0; i < ops; i++) w->op(t);
  close_task(t);
}

/* With a memory limit the pages must be read, and so be paid for, by the process that is limited. */
void prepare_cache(const workload *w, const database *base) {
  if (w->cold || memory_limited())
    drop_cache(base->path);
  else
    fill_cache(base->path);
}

void remove_output(const task *t) {
  static const char *const suffix[] = {"", "-wal", "-shm", "-journal"};
  char path[600];
  for (int i = 0; i < 4; i++) {
    snprintf(path, sizeof path, "%s%s", t->output, suffix[i]);
    unlink(path);
  }
}

void measure(const workload *w, const database *base, const side *s, double seconds, run_result *result) {
  job j = {w, new_task(base, s), seconds, share(sizeof *result)};
  prepare_cache(w, base);
  in_child(timed_run, &j, true);
  *result = *j.result;
  unshare_memory(j.result, sizeof *j.result);
  remove_output(&j.t);
  if (!result->done) die("%s on %s ended early", w->name, s->name);
}
