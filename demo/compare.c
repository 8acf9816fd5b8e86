/*
** compare.c - single SQLite operations through two VFSs, in turn: warm reads, commits, open and close.
**
** One process, one thread, two databases with the same content. A slice is a fixed number of operations on one of them;
** slices alternate A B, B A, A B, ... so that a drift of the machine meets both. The number is chosen once, from how
** fast A is. Each pair of slices gives one ratio (A / B): of the slices' median latencies, which a busy machine
** disturbs least, of their whole times, and of processor time, that of the whole process, kernel workers of the ring
** included. What is printed is the median of these ratios, and the latency of the single operations.
**
** Every workload checks its own result, operation by operation and at the end (row count, integrity_check through the
** default VFS): a fast wrong answer is an error. Timings are printed, never judged.
*/
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/common.h"
#include "uringvfs.h"

enum {
  PAGE_BYTES = 4096,
  ROW_BYTES = 3000,       /* more than half a page: one row on each leaf page */
  READ_ROWS = 16000,      /* 64 MB */
  READ_CACHE_PAGES = 200, /* holds the interior pages, and one leaf page in a hundred */
  LARGE_ROWS = 8000,
  LARGE_PAGES = 200, /* pages of a large transaction */
  SMALL_BYTES = 100,
  FILES = 4,           /* database, -wal, -shm, -journal */
  MAX_SLICE = 2000000, /* operations */
};

typedef struct side {
  const char *name;       /* as the user gave it: "uring", "uring&uring_backend=sync" */
  char files[FILES][512]; /* the database first, then what belongs to it */
  char uri[1024];
  sqlite3 *db;
  sqlite3 *keeper; /* open-shared: keeps the database open */
  sqlite3_stmt *stmt;
  uint64_t random; /* starts alike on both sides */
  int64_t done;    /* operations since the set-up */

  uint32_t *latency_ns;
  size_t latencies, latency_capacity;
  double wall_ns[MAX_PAIRS], cpu_ns[MAX_PAIRS], median_ns[MAX_PAIRS]; /* of each slice */
} side;

typedef struct workload {
  const char *name;
  const char *what;
  void (*setup)(side *);
  void (*begin)(side *); /* may be NULL; before and after each slice, not timed */
  void (*op)(side *);
  void (*end)(side *);
  void (*verify)(side *);
} workload;

static sqlite3 *open_db(const side *s) {
  sqlite3 *db = NULL;
  int rc = sqlite3_open_v2(s->uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  check(db, rc, s->uri);
  return db;
}

/* ---- Workloads ----------------------------------------------------------------------------------------------- */

/* A table with a row of ROW_BYTES on each page, and closed again: nothing of it is in a WAL or in SQLite's cache. */
static void make_rows(side *s, int rows, const char *journal_mode) {
  sqlite3 *db = open_db(s);
  char sql[256];
  snprintf(sql, sizeof sql, "PRAGMA page_size = %d; PRAGMA journal_mode = %s; PRAGMA synchronous = off", PAGE_BYTES,
           journal_mode);
  run(db, sql);
  run(db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB NOT NULL)");
  snprintf(sql, sizeof sql,
           "WITH n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) "
           "INSERT INTO t SELECT i, zeroblob(%d) FROM n",
           rows, ROW_BYTES);
  run(db, sql);
  close_db(&db);
  s->db = open_db(s);
}

static void setup_read(side *s, const char *journal_mode) {
  make_rows(s, READ_ROWS, journal_mode);
  char sql[64];
  snprintf(sql, sizeof sql, "PRAGMA cache_size = %d", READ_CACHE_PAGES);
  run(s->db, sql);
  s->stmt = prepare(s->db, "SELECT id, v FROM t WHERE id = ?1");
}
static void setup_read_wal(side *s) { setup_read(s, "wal"); }
static void setup_read_rollback(side *s) { setup_read(s, "delete"); }
static void begin_read(side *s) { run(s->db, "BEGIN"); }
static void end_read(side *s) { run(s->db, "COMMIT"); }

static void op_read(side *s) {
  int64_t id = (int64_t)(next_random(&s->random) % READ_ROWS) + 1;
  check(s->db, sqlite3_bind_int64(s->stmt, 1, id), "bind");
  int rc = sqlite3_step(s->stmt);
  check(s->db, rc, "read");
  if (rc != SQLITE_ROW || sqlite3_column_int64(s->stmt, 0) != id || sqlite3_column_bytes(s->stmt, 1) != ROW_BYTES)
    die("%s: row %lld was not found whole", s->name, (long long)id);
  check(s->db, sqlite3_reset(s->stmt), "reset");
}

static void verify_read(side *s) {
  if (query_int(s->db, "SELECT count(*) FROM t") != READ_ROWS) die("%s: wrong number of rows", s->name);
}

static void setup_commit(side *s, const char *pragmas) {
  s->db = open_db(s);
  run(s->db, pragmas);
  run(s->db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB NOT NULL)");
  s->stmt = prepare(s->db, "INSERT INTO t(v) VALUES (zeroblob(?1))");
  check(s->db, sqlite3_bind_int(s->stmt, 1, SMALL_BYTES), "bind");
}
static void setup_commit_full(side *s) { setup_commit(s, "PRAGMA journal_mode = wal; PRAGMA synchronous = full"); }
static void setup_commit_normal(side *s) { setup_commit(s, "PRAGMA journal_mode = wal; PRAGMA synchronous = normal"); }
static void setup_commit_rollback(side *s) {
  setup_commit(s, "PRAGMA journal_mode = delete; PRAGMA synchronous = full");
}

static void op_commit(side *s) {
  check(s->db, sqlite3_step(s->stmt), "insert");
  check(s->db, sqlite3_reset(s->stmt), "insert");
}

static void verify_commit(side *s) {
  int64_t rows = query_int(s->db, "SELECT count(*) FROM t");
  if (rows != s->done) die("%s: %lld rows after %lld commits", s->name, (long long)rows, (long long)s->done);
}

static void setup_large(side *s, const char *pragmas) {
  make_rows(s, LARGE_ROWS, "wal");
  run(s->db, pragmas);
  s->stmt = prepare(s->db, "UPDATE t SET v = randomblob(?3) WHERE id BETWEEN ?1 AND ?2");
  check(s->db, sqlite3_bind_int(s->stmt, 3, ROW_BYTES), "bind");
}
static void setup_large_full(side *s) { setup_large(s, "PRAGMA synchronous = full"); }
static void setup_large_normal(side *s) { setup_large(s, "PRAGMA synchronous = normal"); }

static void op_large(side *s) {
  int64_t first = (int64_t)(next_random(&s->random) % (LARGE_ROWS - LARGE_PAGES)) + 1;
  check(s->db, sqlite3_bind_int64(s->stmt, 1, first), "bind");
  check(s->db, sqlite3_bind_int64(s->stmt, 2, first + LARGE_PAGES - 1), "bind");
  check(s->db, sqlite3_step(s->stmt), "update");
  if (sqlite3_changes(s->db) != LARGE_PAGES) die("%s: %d rows changed", s->name, sqlite3_changes(s->db));
  check(s->db, sqlite3_reset(s->stmt), "update");
}

static void verify_large(side *s) {
  if (query_int(s->db, "SELECT count(*) FROM t WHERE length(v) = 3000") != LARGE_ROWS) die("%s: wrong rows", s->name);
}

static void setup_open(side *s, const char *journal_mode) {
  make_rows(s, 10, journal_mode);
  close_db(&s->db);
}
static void setup_open_wal(side *s) { setup_open(s, "wal"); }
static void setup_open_rollback(side *s) { setup_open(s, "delete"); }
static void setup_open_shared(side *s) {
  setup_open(s, "wal");
  s->keeper = open_db(s);
  if (query_int(s->keeper, "SELECT count(*) FROM t") != 10) die("%s: wrong number of rows", s->name);
}

static void op_open(side *s) {
  s->db = open_db(s);
  if (query_int(s->db, "SELECT length(v) FROM t WHERE id = 7") != ROW_BYTES) die("%s: wrong row", s->name);
  close_db(&s->db);
}

/* In the order of the table. */
static const workload workloads[] = {
    {"read", "one page by rowid, in a long transaction (WAL)", setup_read_wal, begin_read, op_read, end_read,
     verify_read},
    {"read-txn", "the same, each in a transaction of its own", setup_read_wal, NULL, op_read, NULL, verify_read},
    {"read-rollback", "the same, journal_mode=DELETE", setup_read_rollback, NULL, op_read, NULL, verify_read},
    {"commit-full", "one row, WAL, synchronous=FULL", setup_commit_full, NULL, op_commit, NULL, verify_commit},
    {"commit-normal", "one row, WAL, synchronous=NORMAL", setup_commit_normal, NULL, op_commit, NULL, verify_commit},
    {"commit-rollback", "one row, DELETE, synchronous=FULL", setup_commit_rollback, NULL, op_commit, NULL,
     verify_commit},
    {"large-full", "200 pages, WAL, synchronous=FULL", setup_large_full, NULL, op_large, NULL, verify_large},
    {"large-normal", "200 pages, WAL, synchronous=NORMAL", setup_large_normal, NULL, op_large, NULL, verify_large},
    {"open", "open, one query, close (WAL)", setup_open_wal, NULL, op_open, NULL, NULL},
    {"open-shared", "the same while another connection is open", setup_open_shared, NULL, op_open, NULL, NULL},
    {"open-rollback", "open, one query, close (DELETE)", setup_open_rollback, NULL, op_open, NULL, NULL},
};
enum { WORKLOADS = sizeof workloads / sizeof *workloads };

/* ---- Measuring ------------------------------------------------------------------------------------------------ */

static void record(side *s, double ns) {
  if (s->latencies == s->latency_capacity) {
    s->latency_capacity = s->latency_capacity ? 2 * s->latency_capacity : 4096;
    s->latency_ns = realloc(s->latency_ns, s->latency_capacity * sizeof *s->latency_ns);
    if (!s->latency_ns) die("out of memory");
  }
  s->latency_ns[s->latencies++] = clamp_ns(ns);
}

/* Runs operations until there are `count` of them or, with count 0, until `seconds` have passed. */
static int slice(const workload *w, side *s, int dir_fd, int count, double seconds, int pair) {
  /* What was written before must not be written back at this slice's expense. */
  if (syncfs(dir_fd) != 0) die("syncfs failed");
  if (w->begin) w->begin(s);
  double wall = clock_ns(CLOCK_MONOTONIC);
  double cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
  double last = wall;
  int n = 0;
  while (count ? n < count : (last - wall < seconds * 1e9 && n < MAX_SLICE)) {
    w->op(s);
    double now = clock_ns(CLOCK_MONOTONIC);
    if (pair >= 0) record(s, now - last);
    last = now;
    n++;
  }
  if (pair >= 0) {
    s->wall_ns[pair] = last - wall;
    s->cpu_ns[pair] = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    s->median_ns[pair] = percentile(s->latency_ns + s->latencies - n, (size_t)n, 50);
  }
  s->done += n;
  if (w->end) w->end(s);
  return n;
}

/* Called from a signal handler too. */
static void remove_database(const side *s) {
  for (int i = 0; i < FILES; i++) unlink(s->files[i]);
}

static void finish(const workload *w, side *s) {
  if (w->verify) w->verify(s);
  check(s->db, sqlite3_finalize(s->stmt), "finalize");
  s->stmt = NULL;
  if (s->db) close_db(&s->db);
  if (s->keeper) close_db(&s->keeper);
  sqlite3 *db = NULL;
  check(db, sqlite3_open_v2(s->files[0], &db, SQLITE_OPEN_READWRITE, NULL), s->files[0]);
  check_integrity(db, s->name);
  close_db(&db);
  remove_database(s);
}

/* ---- Reporting ------------------------------------------------------------------------------------------------ */

/* Three significant digits are enough, in seven columns. */
static void print_us(double ns) {
  double us = ns / 1000;
  printf(" %7.*f", us < 10 ? 2 : us < 100 ? 1 : 0, us);
}

static void print_latency(side *s) {
  print_us(percentile(s->latency_ns, s->latencies, 50));
  print_us(percentile(s->latency_ns, s->latencies, 99));
  print_us(percentile(s->latency_ns, s->latencies, 100));
}

static void compare(const workload *w, side *s0, side *s1, int dir_fd, int pairs, double seconds, bool progress) {
  side *sides[2] = {s0, s1};
  for (int i = 0; i < 2; i++) {
    sides[i]->random = 88172645463325252U;
    sides[i]->done = 0;
    sides[i]->latencies = 0;
    remove_database(sides[i]);
    w->setup(sides[i]);
  }
  /* The warm-up chooses the number of operations; B does as many, so that both databases stay alike. */
  int count = slice(w, s0, dir_fd, 0, seconds, -1);
  slice(w, s1, dir_fd, count, 0, -1);
  for (int pair = 0; pair < pairs; pair++) {
    if (progress) fprintf(stderr, "\r\033[K%s: pair %d of %d, %d operations each", w->name, pair + 1, pairs, count);
    for (int i = 0; i < 2; i++) slice(w, sides[(i + pair) % 2], dir_fd, count, 0, pair);
  }
  if (progress) fprintf(stderr, "\r\033[K");
  spread median = ratios(s0->median_ns, s1->median_ns, pairs);
  printf("%-16s", w->name);
  print_latency(s0);
  printf("  ");
  print_latency(s1);
  printf("   %5.2f (%.2f - %.2f)   %5.2f   %5.2f\n", median.median, median.low, median.high,
         ratios(s0->wall_ns, s1->wall_ns, pairs).median, ratios(s0->cpu_ns, s1->cpu_ns, pairs).median);
  fflush(stdout);
  for (int i = 0; i < 2; i++) finish(w, sides[i]);
}

/* ---- Command line --------------------------------------------------------------------------------------------- */

static void usage(void) {
  printf("Usage: %s [OPTION]...\n\n"
         "Times single SQLite operations through two VFSs, in turn, and prints microseconds an operation.\n\n"
         "  --workload NAME,...  what to run (default: all of the list below)\n"
         "  --vfs A,B            the two VFSs, URI parameters allowed (default unix,uring);\n"
         "                       unix,unix shows the noise\n"
         "  --pairs N            timed pairs of slices (default 7)\n"
         "  --seconds S          length of a slice (default 0.3)\n"
         "  --dir DIR            where to put the databases (default .)\n"
         "  --help               this text\n\n"
         "Workloads:\n",
         progname);
  for (int i = 0; i < WORKLOADS; i++) printf("  %-16s %s\n", workloads[i].name, workloads[i].what);
}

/* Every name in the list is a workload's. */
static void check_list(const char *list) {
  char name[64];
  while (list) {
    list = next_name(list, name, sizeof name);
    int i = 0;
    while (i < WORKLOADS && strcmp(workloads[i].name, name) != 0) i++;
    if (i == WORKLOADS) die("no workload is called \"%s\"; see --help", name);
  }
}

static void set_up_side(side *s, const char *name, const char *dir, const char *file) {
  static const char *const suffix[FILES] = {"", "-wal", "-shm", "-journal"};
  s->name = name;
  for (int i = 0; i < FILES; i++) {
    int length = snprintf(s->files[i], sizeof s->files[i], "%s/%s%s", dir, file, suffix[i]);
    if (length < 0 || (size_t)length >= sizeof s->files[i]) die("%s: the name is too long", dir);
  }
  if (strpbrk(dir, "?#%")) die("%s: has one of ?#%% in it, which would have to be quoted in a URI", dir);
  snprintf(s->uri, sizeof s->uri, "file:%s?vfs=%s", s->files[0], name);
}

static side a, b;
static char work_dir[400];

/* Whatever ends the program, nothing stays behind. */
static void clean_up(void) {
  remove_database(&a);
  remove_database(&b);
  rmdir(work_dir);
}

static void on_signal(int number) {
  clean_up();
  signal(number, SIG_DFL);
  raise(number);
}

int main(int argc, char **argv) {
  static const struct option options[] = {{"workload", required_argument, NULL, 'w'},
                                          {"vfs", required_argument, NULL, 'v'},
                                          {"pairs", required_argument, NULL, 'p'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"dir", required_argument, NULL, 'd'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  const char *list = NULL;
  const char *parent = ".";
  char vfs[256] = "unix,uring";
  int pairs = 7;
  double seconds = 0.3;
  progname = argv[0];
  for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
    switch (c) {
    case 'w': list = optarg; break;
    case 'v': snprintf(vfs, sizeof vfs, "%s", optarg); break;
    case 'p': pairs = (int)number("pairs", optarg, 1, MAX_PAIRS); break;
    case 's': seconds = number("seconds", optarg, 0.001, 60); break;
    case 'd': parent = optarg; break;
    case 'h': usage(); return 0;
    default: return 2;
    }
  }
  if (optind < argc) die("unexpected argument \"%s\"; see --help", argv[optind]);
  if (list) check_list(list);
  char *comma = strchr(vfs, ',');
  if (!comma || strchr(comma + 1, ',')) die("--vfs takes two names, such as unix,uring");
  *comma = 0;

  snprintf(work_dir, sizeof work_dir, "%s/compare.XXXXXX", parent);
  sqlite3_config(SQLITE_CONFIG_LOG, on_log, NULL);
  if (uringvfs_register(0) != SQLITE_OK) die("the VFS uring could not be registered");
  if (!mkdtemp(work_dir)) die("%s is not a directory that can be written", parent);
  atexit(clean_up);
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);
  int dir_fd = open(work_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) die("%s cannot be opened", work_dir);
  set_up_side(&a, vfs, work_dir, "a.db");
  set_up_side(&b, comma + 1, work_dir, "b.db");

  printf("Microseconds an operation; SQLite %s, %d pairs of slices of about %g s\n\n", sqlite3_libversion(), pairs,
         seconds);
  printf("%-16s %-23s   %-23s   %s\n", "", a.name, b.name, "ratio");
  printf("%-16s %7s %7s %7s   %7s %7s %7s   %-21s   %5s   %5s\n", "", "median", "p99", "worst", "median", "p99",
         "worst", "median  (spread)", "time", "CPU");
  bool progress = isatty(STDERR_FILENO);
  for (int i = 0; i < WORKLOADS; i++)
    if (!list || listed(list, workloads[i].name)) compare(&workloads[i], &a, &b, dir_fd, pairs, seconds, progress);
  printf(
      "\nratio: %s / %s, pair by pair; above 1, %s is the faster one. median: of the medians, with lowest and highest\n"
      "pair; time, CPU: of whole slices, checkpoints and all. Row counts and integrity_check: ok.\n",
      a.name, b.name, b.name);
  close(dir_fd);
  free(a.latency_ns);
  free(b.latency_ns);
  return 0;
}
