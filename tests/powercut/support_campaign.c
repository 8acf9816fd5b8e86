/*
** support_campaign.c - see support_campaign.h.
*/
#include "support_campaign.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../crash/rows.h"

volatile sig_atomic_t campaign_stop;

typedef struct run {
  machine m;
  workload w;
  const run_options *options;
  run_totals *totals;
  uint64_t random;
  mark *marks;
  size_t mark_count;
  uint64_t *states;
  disk_cut *cuts;
  size_t cut_count;
  uint64_t first, end; /* the part of the log in which the power is cut */
  uint64_t failures;
  bool broken; /* no further image can be made */
  char why[256];
} run;

/* ---- recording ---- */

/*
** The kernel writes back what it likes when it likes; in a run of a second it would never come to that. This stands in
** for it, in this process: closing a descriptor of the database in the writer's would drop its locks.
*/
static void write_back(run *r) {
  static const char *const names[] = {WORKLOAD_DATABASE, WORKLOAD_DATABASE "-wal", WORKLOAD_DATABASE "-journal"};
  const uint64_t kind = splitmix64(&r->random) % 24;
  const uint64_t from = splitmix64(&r->random) % 64 * 4096, bytes = splitmix64(&r->random) % 16 * 4096;
  char path[300];
  if (kind > 6) return;
  snprintf(path, sizeof path, "%s/%s", r->m.mount, names[kind % 3]);
  int fd = open(kind == 6 ? r->m.mount : path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (kind == 6)
    (void)syncfs(fd);
  else
    (void)sync_file_range(fd, (off_t)from, (off_t)bytes, SYNC_FILE_RANGE_WRITE); /* 0 bytes: to the end */
  close(fd);
}

static bool add_mark(run *r, const mark *m) {
  mark *grown = realloc(r->marks, (r->mark_count + 1) * sizeof *grown);
  if (grown == NULL) return false;
  r->marks = grown;
  r->marks[r->mark_count++] = *m;
  return true;
}

static bool record(run *r) {
  int ends[2], status = 0;
  mark m;
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    close(ends[0]);
    _exit(workload_run(&r->w, r->m.mount, &r->m.log, ends[1]));
  }
  close(ends[1]);
  while (pid > 0 && !campaign_stop && read(ends[0], &m, sizeof m) == (ssize_t)sizeof m && add_mark(r, &m))
    write_back(r);
  if (campaign_stop && pid > 0) kill(pid, SIGKILL);
  close(ends[0]);
  return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

/* ---- where the power is cut ---- */

static bool plan_one(run *r, uint64_t at, cut_keep keep) {
  disk_cut *grown = realloc(r->cuts, (r->cut_count + 1) * sizeof *grown);
  if (grown == NULL) return false;
  r->cuts = grown;
  r->cuts[r->cut_count++] = (disk_cut){.at = at, .keep = keep, .seed = splitmix64(&r->random) >> 32};
  return true;
}

/*
** Before each flush, where most is unsynced and most was acknowledged: what was durable alone, and selections of the
** rest. What the flush makes durable is the next one's "none". In between, at random: everything up to there.
*/
static bool plan_interval(run *r, uint64_t from, uint64_t to, uint64_t unsynced) {
  bool ok = plan_one(r, to, KEEP_NONE);
  if (unsynced == 0) return ok;
  ok = ok && plan_one(r, to, KEEP_TORN) && plan_one(r, from + 1 + splitmix64(&r->random) % (to - from), KEEP_ALL);
  if (unsynced == 1) return ok;
  return ok && plan_one(r, to, KEEP_TORN) && plan_one(r, to, KEEP_SOME) && plan_one(r, to, KEEP_ONE) &&
         plan_one(r, to, KEEP_REST);
}

static bool plan(run *r) {
  const log_entry *e = log_first(&r->m.log);
  uint64_t from = r->first, unsynced = 0;
  bool ok = true;
  for (uint64_t i = 0; i < r->end && ok; i++, e = log_next(e)) {
    if (i < r->first) continue;
    if (e->kind == LOG_WRITE || e->kind == LOG_ZERO) unsynced++;
    if (e->kind != LOG_FLUSH) continue;
    r->totals->flushes++;
    if (i > r->first) ok = plan_interval(r, from, i, unsynced);
    from = i, unsynced = 0;
  }
  ok = ok && plan_interval(r, from, r->end, unsynced);
  r->totals->entries += r->end - r->first;
  /* A random choice, if they are too many. */
  for (size_t i = 0; ok && i + 1 < r->cut_count; i++) {
    const size_t other = i + splitmix64(&r->random) % (r->cut_count - i);
    const disk_cut one = r->cuts[i];
    r->cuts[i] = r->cuts[other];
    r->cuts[other] = one;
  }
  if (r->options->images > 0 && r->cut_count > r->options->images) r->cut_count = r->options->images;
  return ok;
}

/* ---- judgement ---- */

__attribute__((format(printf, 2, 3))) static bool bad(run *r, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(r->why, sizeof r->why, format, args);
  va_end(args);
  return false;
}

static int not_ok(void *count, int columns, char **values, char **names) {
  (void)columns;
  (void)names;
  if (values[0] == NULL || strcmp(values[0], "ok") != 0) ++*(int *)count;
  return 0;
}

static bool judge_open(run *r, sqlite3 *db, uint64_t at) {
  const uint32_t least = workload_floor(&r->w, r->marks, r->mark_count, at);
  uint32_t last = 0;
  uint64_t content = 0;
  int problems = 0;
  int rc = sqlite3_exec(db, "PRAGMA integrity_check", not_ok, &problems, NULL);
  if (rc == SQLITE_OK && problems == 0) rc = workload_content(db, &last, &content);
  if (rc != SQLITE_OK)
    return bad(r, "SQLite cannot read it: %s (%d)", sqlite3_errmsg(db), sqlite3_extended_errcode(db));
  if (problems > 0) return bad(r, "integrity_check finds %d problems", problems);
  if (last > (uint32_t)r->w.transactions || content != r->states[last])
    return bad(r, "it ends with transaction %u, but the content is not that of any moment", last);
  if (last < least) return bad(r, "acknowledged up to transaction %u, there up to %u", least, last);
  return true;
}

/* The image is mounted. */
static bool judge_database(run *r, uint64_t at) {
  char path[300];
  sqlite3 *db = NULL;
  snprintf(path, sizeof path, "%s/" WORKLOAD_DATABASE, r->m.mount);
  int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix");
  const bool good = rc == SQLITE_OK ? judge_open(r, db, at) : bad(r, "SQLite cannot open it: %s", sqlite3_errmsg(db));
  if (sqlite3_close(db) != SQLITE_OK) return bad(r, "it cannot be closed");
  return good;
}

static bool judge(run *r, const disk_cut *cut) {
  if (!machine_cut(&r->m, cut)) {
    r->broken = true;
    return bad(r, "the disk is gone");
  }
  if (!machine_mount(&r->m)) return bad(r, "%s does not mount: %s", r->m.fs->name, strerror(errno));
  const bool good = judge_database(r, cut->at);
  if (machine_unmount(&r->m)) return good;
  r->broken = true;
  return bad(r, "%s does not unmount", r->m.fs->name);
}

/* ---- what is kept of a failure ---- */

static bool copy_file(const char *from, const char *to) {
  char command[700];
  snprintf(command, sizeof command, "cp --sparse=always '%s' '%s'", from, to);
  return system(command) == 0;
}

static void saved_name(const run *r, char *path, size_t bytes) {
  snprintf(path, bytes, "%s/%s-%s-%llu", r->options->save, r->m.fs->name, r->w.vfs, (unsigned long long)r->w.seed);
}

/* The log of this run, and the marks. */
static void save_run(const run *r) {
  char directory[256], from[300], to[300];
  saved_name(r, directory, sizeof directory);
  (void)mkdir(r->options->save, 0777);
  (void)mkdir(directory, 0777);
  snprintf(from, sizeof from, "%s/log", r->m.directory);
  snprintf(to, sizeof to, "%s/log", directory);
  bool saved = copy_file(from, to);
  snprintf(to, sizeof to, "%s/run", directory);
  FILE *f = fopen(to, "we");
  if (f != NULL) {
    fprintf(f, "%s %s %llu %d\n", r->m.fs->name, r->w.vfs, (unsigned long long)r->w.seed, r->w.transactions);
    for (size_t i = 0; i < r->mark_count; i++)
      fprintf(f, "%llu %u %u\n", (unsigned long long)r->marks[i].position, r->marks[i].transaction,
              r->marks[i].durable);
  }
  saved = f != NULL && fclose(f) == 0 && saved;
  if (!saved) fprintf(stderr, "powercut: %s could not be written\n", directory);
}

static void describe(const run *r, char *text, size_t bytes) {
  char mode[200];
  workload_print(&r->w, mode, sizeof mode);
  snprintf(text, bytes, "%s, %s, seed %llu, sectors of %llu: %s", r->m.fs->name, r->w.vfs,
           (unsigned long long)r->w.seed, (unsigned long long)r->m.log.head->sector_bytes, mode);
}

static void failed(run *r, const disk_cut *cut) {
  char what[400], recipe[64], directory[256];
  if (r->failures++ == 0) save_run(r);
  if (r->failures > 5) return;
  describe(r, what, sizeof what);
  cut_print(cut, recipe, sizeof recipe);
  saved_name(r, directory, sizeof directory);
  printf("FAILED %s\n  %s\n  again: %s --replay %s --cut %s\n", what, r->why, r->options->self, directory, recipe);
  fflush(stdout);
}

/* ---- a run ---- */

static bool prepare(run *r, const file_system *fs, const workload *w, const run_options *options, run_totals *totals) {
  memset(r, 0, sizeof *r);
  r->m.fs = fs;
  r->m.loop = -1;
  r->w = *w;
  r->options = options;
  r->totals = totals;
  r->random = w->seed * 1000003 + 11;
  snprintf(r->m.directory, sizeof r->m.directory, "%s", options->scratch);
  r->states = calloc((size_t)w->transactions + 1, sizeof *r->states);
  return r->states != NULL && workload_states(&r->w, r->states);
}

static void finish(run *r) {
  char path[256];
  machine_stop(&r->m);
  if (r->m.log.head != NULL) log_close(&r->m.log);
  snprintf(path, sizeof path, "%s/log", r->m.directory);
  (void)unlink(path);
  free(r->marks);
  free(r->states);
  free(r->cuts);
}

static bool start(run *r) {
  char path[256];
  const uint64_t sector = r->m.fs->mkfs_512 != NULL && r->w.seed % 3 == 1 ? 512 : 4096;
  snprintf(path, sizeof path, "%s/log", r->m.directory);
  if (!log_create(&r->m.log, path, r->m.fs->disk_bytes, sector, r->options->lie_every)) {
    r->m.log.head = NULL;
    perror(path);
    return false;
  }
  return machine_start(&r->m, r->options->disk_program, path) && machine_make_fs(&r->m) && machine_mount(&r->m);
}

static bool record_and_plan(run *r) {
  int fd = open(r->m.mount, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || syncfs(fd) != 0) return false;
  close(fd);
  r->first = log_position(&r->m.log);
  if (!record(r)) return bad(r, "the writer failed");
  r->end = log_position(&r->m.log);
  return machine_unmount(&r->m) && plan(r);
}

bool campaign_run(const file_system *fs, const workload *w, const run_options *options, run_totals *totals) {
  run r;
  const bool ready = prepare(&r, fs, w, options, totals) && start(&r) && record_and_plan(&r);
  totals->runs++;
  for (size_t i = 0; ready && i < r.cut_count && !campaign_stop; i++) {
    const disk_cut *cut = &r.cuts[i];
    if (!judge(&r, cut)) failed(&r, cut);
    totals->images++;
    totals->torn += cut->keep == KEEP_TORN;
    if (r.broken || (options->until_failure && r.failures > 0)) break;
  }
  totals->failures += r.failures;
  if (!ready && !campaign_stop) {
    char what[400] = "";
    if (r.m.log.head != NULL) describe(&r, what, sizeof what);
    printf("FAILED %s\n  the run itself: %s\n", what, r.why[0] != 0 ? r.why : "see above");
    totals->failures++;
  }
  finish(&r);
  return ready;
}

/* ---- replay ---- */

static bool load_marks(run *r, FILE *f) {
  mark m;
  unsigned long long position;
  while (fscanf(f, "%llu %u %u", &position, &m.transaction, &m.durable) == 3) {
    m.position = position;
    if (!add_mark(r, &m)) return false;
  }
  return true;
}

static bool dump_image(const run *r, const disk_cut *cut, const char *path) {
  const uint64_t count = r->m.log.head->disk_bytes / DISK_UNIT;
  const uint8_t **units = calloc(count, sizeof *units);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  bool ok = units != NULL && fd >= 0 && ftruncate(fd, (off_t)r->m.log.head->disk_bytes) == 0;
  if (ok) log_image(&r->m.log, cut, units);
  for (uint64_t i = 0; i < count && ok; i++)
    if (units[i] != NULL) ok = pwrite(fd, units[i], DISK_UNIT, (off_t)(i * DISK_UNIT)) == DISK_UNIT;
  if (fd >= 0) close(fd);
  free(units);
  if (!ok) perror(path);
  return ok;
}

int campaign_replay(const char *directory, const disk_cut *cut, const char *dump, const run_options *options) {
  char path[300], log[300], name[16], vfs[16];
  unsigned long long seed = 0;
  workload w = {0};
  run_totals totals = {0};
  run r;
  snprintf(path, sizeof path, "%s/run", directory);
  snprintf(log, sizeof log, "%s/log", directory);
  FILE *f = fopen(path, "re");
  if (f == NULL || fscanf(f, "%15s %15s %llu %d", name, vfs, &seed, &w.transactions) != 4) {
    fprintf(stderr, "powercut: %s is not a saved run\n", directory);
    if (f != NULL) fclose(f);
    return 1;
  }
  workload_from_seed(&w, seed);
  w.vfs = vfs;
  const file_system *fs = machine_file_system(name);
  bool ok = fs != NULL && prepare(&r, fs, &w, options, &totals) && load_marks(&r, f) && log_open(&r.m.log, log) &&
            (dump == NULL || dump_image(&r, cut, dump)) && machine_start(&r.m, options->disk_program, log);
  fclose(f);
  if (ok && !(ok = judge(&r, cut))) printf("FAILED: %s\n", r.why);
  if (ok) printf("nothing is wrong with it\n");
  if (fs != NULL) finish(&r);
  return ok ? 0 : 1;
}
