/*
** bench.h - the parts of demo/bench and what they hand to each other.
**
** A run is one workload once through one VFS, in a process of its own: measure.c forks it, so that the parent never
** has the database open (closing a descriptor of it would drop the POSIX locks of its connections) and so that the
** process's counters are the run's. The result comes back in shared memory. A family of workloads is a table in a file
** of its own, listed in bench.c; its functions run in the child.
*/
#ifndef BENCH_H
#define BENCH_H

#include "common/common.h"

#include <stdio.h>
#include <sys/types.h>

enum { MAX_SIDES = 8, MAX_RUNS = 100, MAX_READ_AHEADS = 4, LIMIT_DEPTH = 64 };

/* ---- Databases (database.c) ------------------------------------------------------------------------------------ */

typedef enum layout { FRAGMENTED, CONTIGUOUS, RELATED, RELATED_64K, LAYOUTS } layout;
extern const char *const layout_names[LAYOUTS];

/* The same rows in both large layouts: item(id, k, v) with ids and keys 1..rows, and pick(id, item, k), some of them.
** The related ones, with pages of 4 and of 64 KiB, have a quarter of the rows, pair(k, id, v), which is item again in a
** WITHOUT ROWID table by key, and link(id, c1, c2, c3, c4) with ids 1..links, in whose columns are ids (or keys). */
typedef struct database {
  layout layout;
  char path[512];
  bool made, progress; /* progress: to stderr while it is made */
  bool rollback;       /* in rollback mode, not in WAL mode */
  int page_bytes, row_bytes;
  int64_t rows, picks, links;
  int64_t bytes, pages;
  /* The leaves of item in key order: how many, the part that follows its predecessor in the file, and the median
  ** distance between neighbours in pages. -1 where SQLite has no dbstat. */
  int64_t leaves, median_distance;
  double adjacent;
} database;

/* In a child process. Dies unless the leaves lie as the layout says. */
void make_database(database *base);
/* Not while a connection is open. */
void set_journal_mode(database *base, bool rollback);
/* The first and the last word of a row's v, by which every row read is recognised. */
uint64_t first_word(int64_t id);
uint64_t last_word(int64_t id, int64_t k);

/* ---- One run (measure.c) --------------------------------------------------------------------------------------- */

typedef struct side {
  const char *name;     /* as the user gave it: "uring&uring_readahead=0", "unix+mmap" */
  char parameters[200]; /* of the URI */
  bool mmap;
} side;

enum { MAX_LATENCIES = 1 << 20, STATS_BYTES = 4096 };

/* Shared memory: filled in by the child. */
typedef struct run_result {
  bool done;
  int64_t ops;
  double wall_ns, cpu_ns;
  double op_median_ns, op_p99_ns, op_worst_ns;
  int64_t read_calls;   /* read system calls, and calls of io_uring_enter */
  int64_t device_bytes; /* read from the device */
  int64_t major_faults, peak_rss_kb;
  char uring_stats[STATS_BYTES]; /* JSON, since the start of the process; "" on another VFS */
} run_result;

/* What a workload's functions see. */
typedef struct task {
  const database *base;
  const side *side;
  sqlite3 *db;
  sqlite3_stmt *stmt;
  uint64_t random;  /* the same sequence in every run */
  char output[560]; /* a file that the workload may make; removed after the run */
} task;

typedef struct workload {
  const char *name; /* "scan-cold/fragmented": both "scan-cold" and the whole name choose it */
  const char *what;
  const char *sql; /* prepared as task.stmt, unless NULL */
  void (*op)(task *);
  void (*verify)(task *); /* may be NULL; not timed */
  layout layout;
  int ops;       /* operations of a run; 0: as many as the given seconds allow */
  int limit_ops; /* where ops is 0: the operations that the limit is taken of */
  bool cold;     /* the file's pages are dropped first, and the time has opening in it */
  bool opens;    /* op opens and closes the database itself; no limit is defined */
  bool rollback; /* the database is in rollback mode */
} workload;

task new_task(const database *base, const side *s);
sqlite3 *open_on(const side *s, const char *path);
sqlite3 *open_side(const task *t); /* the task's database */
/* Cold: drops the database from memory. Warm: fills it in. */
void prepare_cache(const workload *w, const database *base);
void run_unmeasured(const workload *w, task *t, int ops);
void remove_output(const task *t);
/* Dies with the child's own message if the run fails. */
void measure(const workload *w, const database *base, const side *s, double seconds, run_result *result);

/* ---- The device's limit (limit.c) ------------------------------------------------------------------------------ */

/* The pages that a workload reads, in its order; a cold workload's without repetition. */
typedef struct page_list {
  uint32_t *page; /* shared memory, from 0 */
  int64_t *count;
  int64_t ops; /* operations they are for */
} page_list;

void record_pages(const workload *w, const database *base, page_list *list);
void free_pages(page_list *list);
/* The time of all of them through bare liburing, in waited-for batches of LIMIT_DEPTH. */
double limit_ns(const workload *w, const database *base, const page_list *list);

/* ---- The machine (machine.c) ----------------------------------------------------------------------------------- */

/* Runs f(arg) in a child process, and waits; dies if it failed. `cgroup`: it joins the memory limit. */
void in_child(void (*f)(void *), void *arg, bool cgroup);
/* SIGINT and SIGTERM end the child, and in_child() then the program in good order. */
void handle_signals(void);
/* Drops the file's pages from memory, and proves it; reads the file into memory. Never while a connection is open. */
void drop_cache(const char *path);
void fill_cache(const char *path);

/* In kB; -1 where no queue is known for the directory's device. */
int get_read_ahead(const char *dir);
/* Only a loop device's: the queue of a disk is everybody's. Undone by undo_machine(). */
void set_read_ahead(const char *dir, int kb);
/* A cgroup with this much memory, for the children that join it. Dies where that cannot be had. */
void limit_memory(int mb);
bool memory_limited(void);
void undo_machine(void);
void *share(size_t bytes);
void unshare_memory(void *memory, size_t bytes);

typedef struct machine {
  char kernel[200], filesystem[32], device[64], date[32];
  int cpus, memory_mb, read_ahead_kb;
  double load; /* of the last minute; what else runs is part of the figures */
} machine;
void describe_machine(machine *m, const char *dir);

/* ---- Results and their presentation (table.c, json.c, plot.c) -------------------------------------------------- */

typedef struct outcome {
  const workload *workload;
  int read_ahead_kb;
  int runs, sides;
  run_result run[MAX_SIDES][MAX_RUNS];
  int64_t limit_pages; /* 0: no limit is defined */
  double limit_op_ns[MAX_RUNS];
} outcome;

typedef struct report {
  machine machine;
  int argc;
  char **argv;
  const side *sides;
  int side_count, memory_limit_mb;
  double seconds;
  const database *databases;
  outcome **outcomes;
  int outcome_count;
} report;

/* Nanoseconds an operation. */
spread op_time(const outcome *o, int side_index);
/* How many times as fast as the first side, run by run. */
spread ratio(const outcome *o, int side_index, double *each);
/* The same of the processor time. */
spread cpu_ratio(const outcome *o, int side_index);
/* How many times as long as the limit. */
spread times_limit(const outcome *o, int side_index);
const char *outcome_title(const outcome *o, char *text, size_t size);

void print_header(const report *r);
void print_database(const database *base);
void print_outcome(const report *r, const outcome *o);
void print_footer(const report *r);
void write_json(const report *r, FILE *f); /* and closes it */
void write_svg(const report *r, const char *path);

/* ---- Answers (answers.c) --------------------------------------------------------------------------------------- */

int64_t random_below(task *t, int64_t bound);
/* Die unless columns id, k, v of item, the first of them at `column`, belong together. */
void check_row(const task *t, int column);
/* Die unless the statement's rows are `count`, whose `column` (an id or key) counts up from `from`. */
void expect_rows(task *t, int column, int64_t from, int64_t count);

/* ---- Families of workloads: tables that end with a NULL name --------------------------------------------------- */

extern const workload whole_workloads[]; /* scans, copies, checks */
extern const workload short_workloads[]; /* statements of few rows */
extern const workload join_workloads[];

#endif
