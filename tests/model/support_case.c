/*
** support_case.c - see support_case.h.
*/
#include "support_case.h"
#include "support_events.h"
#include "uringvfs.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIDES = 2, STUCK_SECONDS = 250 };

typedef struct model_run {
  const model_case *c;
  const model_options *options;
  model_report *report;
  model_setup setup;
  model_side sides[SIDES];
  model_observer observer;
  int helpers[SIDES], stand_in;
  bool leaves_frames, super_journals, after_error, persists; /* some event so far */
} model_run;

/* ---- text ---- */

void model_events_print(FILE *out, const model_case *c) {
  for (int i = 0; i < c->count; i++)
    fprintf(out, "%s%s.%u", i > 0 ? "," : "", model_kind_name(c->events[i].kind), c->events[i].variant);
}

bool model_events_parse(const char *text, model_case *c) {
  for (c->count = 0; *text != 0; c->count++) {
    char name[40];
    unsigned variant = 0;
    int used = 0;
    if (c->count == MODEL_EVENTS || sscanf(text, "%39[^.,]%n.%u%n", name, &used, &variant, &used) < 1) return false;
    const int kind = model_kind_by_name(name);
    if (kind < 0 || (text[used] != 0 && text[used] != ',')) return false;
    c->events[c->count] = (model_event){(uint8_t)kind, (uint8_t)variant};
    text += used + (text[used] == ',');
  }
  return true;
}

static void found(model_run *r, const char *step, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void found(model_run *r, const char *step, const char *format, ...) {
  if (r->report->failed) return;
  char text[700];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  snprintf(r->report->what, sizeof r->report->what, "at \"%s\": %s", step, text);
  r->report->failed = true;
}

/* ---- comparing a step ---- */

static bool has_failed(const model_side *s) {
  for (int i = 0; i < s->count; i++)
    if (s->answers[i].rc != SQLITE_OK) return true;
  return false;
}

/* 0: with nothing. */
static bool has_failed_with(const model_side *s, int primary) {
  bool with = false;
  for (int i = 0; i < s->count; i++) with |= (s->answers[i].rc & 0xff) == primary;
  return primary != 0 ? with : !has_failed(s);
}

static void compare_answers(model_run *r, const char *step, bool fails_anywhere) {
  const model_side *a = &r->sides[0], *b = &r->sides[1];
  if (a->gone || b->gone)
    found(r, step, "another process of the side %s died", a->gone ? "under test" : "with the default VFS");
  if (fails_anywhere && has_failed(a) == has_failed(b)) return;
  if (a->count != b->count) found(r, step, "%d statements under test, %d with the default VFS", a->count, b->count);
  for (int i = 0; i < a->count; i++) {
    const model_answer *x = &a->answers[i], *y = &b->answers[i];
    if (!model_answers_equal(x, y))
      found(r, step,
            "\"%s\" gives %d, %u rows (%s; autocommit %d, transaction %d) under test, %d, %u rows (%s; %d, %d) with "
            "the default VFS",
            a->said[i], x->rc, x->rows, x->message, x->autocommit, x->transaction, y->rc, y->rows, y->message,
            y->autocommit, y->transaction);
  }
}

/* What the default VFS has synced must have been synced under test too. */
static void compare_syncs(model_run *r, const char *step) {
  const model_side *a = &r->sides[0], *b = &r->sides[1];
  if (a->connections[MODEL_MAIN].db == NULL) return; /* it cannot say how many the rings have made */
  if (a->syncs < b->syncs) found(r, step, "%ld syncs under test, %ld with the default VFS", a->syncs, b->syncs);
}

/* Then nobody else has frames in the WAL that are not committed. */
static bool is_writing(const model_side *s) {
  sqlite3 *db = s->connections[MODEL_MAIN].db;
  return db != NULL && sqlite3_txn_state(db, "main") == SQLITE_TXN_WRITE;
}

/* The WAL through the VFS is, pending frames included, what the file is with the default VFS; until something was
** rolled back. */
static void compare_views(model_run *r, const char *step) {
  const model_side *a = &r->sides[0], *b = &r->sides[1];
  if (a->view == NULL && b->view == NULL) return;
  size_t committed;
  const size_t end = model_wal_end(a->view, a->view_bytes, &committed),
               end_b = model_wal_end(b->view, b->view_bytes, &committed);
  if (end > end_b || (end > 0 && memcmp(a->view, b->view, end) != 0))
    found(r, step, "the WAL through the VFS has other frames (they end at %zu under test, at %zu with the default VFS)",
          end, end_b);
  if (!r->leaves_frames && is_writing(b) && a->view_bytes != b->view_bytes)
    found(r, step, "the WAL's size is %zu under test, %zu with the default VFS", a->view_bytes, b->view_bytes);
}

static void compare_files(model_run *r, const char *step) {
  static const char *const names[] = {"m.db", "x.db"};
  for (int i = 0; i < (r->super_journals ? 2 : 1); i++) {
    char difference[MODEL_DIFFERENCE];
    model_comparison what = {.journal_by_size = r->super_journals,
                             .after_error = r->after_error,
                             .recovered = r->persists && r->leaves_frames};
    snprintf(what.name, sizeof what.name, "%s", names[i]);
    if (!model_observer_compare(&r->observer, &what, difference)) found(r, step, "%s", difference);
  }
}

/* ---- a step ---- */

typedef void happening(model_side *s, unsigned variant);

static void print_step(const model_run *r, const char *step, unsigned variant) {
  printf("%s.%u\n", step, variant);
  for (int i = 0; i < SIDES; i++) {
    const model_side *s = &r->sides[i];
    for (int k = 0; k < s->count; k++)
      printf("  %s %-72s %d, %u rows, %s\n", s->tested ? "uring" : "unix ", s->said[k], s->answers[k].rc,
             s->answers[k].rows, s->answers[k].message);
    printf("  %s %ld syncs\n", s->tested ? "uring" : "unix ", s->syncs);
  }
}

static void step(model_run *r, const char *name, happening *happen, unsigned variant, bool fails_anywhere) {
  if (r->report->failed) return;
  alarm(STUCK_SECONDS); /* where a step hangs, SIGALRM ends the process */
  snprintf(r->report->what, sizeof r->report->what, "at \"%s\"", name);
  for (int i = 0; i < SIDES; i++) {
    model_side *s = &r->sides[i];
    const long before = side_syncs(s);
    s->count = 0;
    side_forget_view(s);
    s->step = (int)++r->report->steps; /* counted twice, the same for both below */
    s->step = (s->step + 1) / 2;
    happen(s, variant);
    s->syncs = side_syncs(s) - before;
  }
  if (r->options->verbose) print_step(r, name, variant);
  compare_answers(r, name, fails_anywhere);
  compare_syncs(r, name);
  compare_views(r, name);
  compare_files(r, name);
}

/* Two frames behind the end of the file that is written to. */
static void choose_file_limit(const model_run *r) {
  char path[700];
  struct stat st;
  snprintf(path, sizeof path, "%s/m.db-wal", r->sides[1].directory);
  if (stat(path, &st) != 0 || st.st_size == 0) {
    path[strlen(path) - 4] = 0;
    if (stat(path, &st) != 0) st.st_size = 0;
    st.st_size /= 2; /* the journal grows to less than the database */
  }
  model_set_file_limit((uint64_t)st.st_size + 2 * (uint64_t)r->setup.page_bytes);
}

static void event(model_run *r, const model_event *e) {
  const model_kind *kind = &model_kind_table[e->kind];
  r->leaves_frames |= kind->leaves_frames;
  r->super_journals |= kind->super_journal;
  r->after_error |= kind->fails_anywhere;
  r->persists |= kind->persists;
  if (kind->fails_anywhere) choose_file_limit(r);
  step(r, kind->name, kind->happen, e->variant, kind->fails_anywhere);
  r->report->forks += kind->forks;
  if (has_failed_with(&r->sides[0], kind->fails_with)) r->report->worked[e->kind]++;
}

/* ---- the beginning ---- */

static void make_database(model_side *s, const char *name) {
  const model_setup *setup = s->setup;
  char uri[MODEL_TEXT];
  snprintf(uri, sizeof uri, "file:%s/%s?vfs=unix", s->directory, name);
  (void)side_ask(s, MODEL_OTHER, 0, MODEL_OPEN, 0, 0, uri);
  s->other_open[0] = true;
  (void)side_sql(s, MODEL_OTHER, 0,
                 "PRAGMA page_size=%d; PRAGMA auto_vacuum=%d; PRAGMA journal_mode=%s; PRAGMA synchronous=off;"
                 "PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a INTEGER PRIMARY KEY, n INT, b TEXT)",
                 setup->page_bytes, setup->vacuum, setup->journal);
  (void)side_sql(s, MODEL_OTHER, 0,
                 "INSERT INTO t WITH c(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM c WHERE i<%d) SELECT i, i, %s FROM c",
                 setup->rows, model_row_text(s, 'o'));
}

/* Other processes' frames, so many that the index of the WAL takes three pieces. */
static void fill_wal(model_side *s) {
  (void)side_sql(s, MODEL_OTHER, 0, "PRAGMA cache_size=2000");
  for (int i = 0; i < 90; i++)
    (void)side_sql(s, MODEL_OTHER, 0, "UPDATE t SET n=n+1, b=%s", model_row_text(s, (char)('a' + i % 26)));
}

static void set_up(model_side *s, unsigned variant) {
  (void)variant;
  make_database(s, "x.db");
  side_other_close(s, 0);
  make_database(s, "m.db");
  if (!s->setup->filled) (void)side_sql(s, MODEL_OTHER, 0, "PRAGMA wal_checkpoint(truncate)");
  if (s->setup->many_frames) fill_wal(s);
  if (!s->setup->other_stays && !s->setup->filled) side_other_close(s, 0);
  side_open_main(s, s->setup->exclusive_first);
  if (!s->setup->other_stays) side_other_close(s, 0);
}

/* ---- the end ---- */

static void another_commits(model_side *s, unsigned variant) {
  char text[MODEL_TEXT];
  snprintf(text, sizeof text, "UPDATE t SET n=n+1, b=%s WHERE a BETWEEN 5 AND 70", model_row_text(s, (char)variant));
  side_other(s, s->other_holds[0], text);
}

static void reads(model_side *s, unsigned variant) {
  (void)variant;
  (void)side_main(s, "SELECT * FROM t");
}

static void lets_go(model_side *s, unsigned variant) {
  (void)variant;
  (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_CURSOR_REST, 0, 0, "cursor to its end");
  if (s->connections[MODEL_MAIN].db != NULL && !sqlite3_get_autocommit(s->connections[MODEL_MAIN].db))
    (void)side_main(s, "ROLLBACK");
  (void)side_main(s, "PRAGMA locking_mode=normal; SELECT count(*) FROM t WHERE a=1");
}

static void writes(model_side *s, unsigned variant) {
  (void)side_main(s, "UPDATE t SET n=n+1, b=%s WHERE a<10", model_row_text(s, (char)variant));
}

static void others_let_go(model_side *s, unsigned variant) {
  (void)variant;
  for (int i = 0; i < 2; i++) {
    if (s->other_open[i]) side_other(s, i, s->other_holds[i] ? "SELECT * FROM t; COMMIT" : "SELECT count(*) FROM t");
    s->other_holds[i] = false;
  }
  if (s->child_process != 0) (void)side_sql(s, MODEL_CHILD, MODEL_STAND_IN, "SELECT * FROM t");
  side_child_end(s);
}

static void reads_and_checks(model_side *s, unsigned variant) {
  (void)variant;
  (void)side_main(s, "SELECT * FROM t; PRAGMA integrity_check");
}

static void another_checks(model_side *s, unsigned variant) {
  (void)variant;
  side_other(s, 0, "PRAGMA integrity_check; SELECT * FROM t");
}

static void closes(model_side *s, unsigned variant) {
  (void)variant;
  side_second_close(s);
  side_close_main(s);
}

static void another_closes(model_side *s, unsigned variant) {
  (void)variant;
  for (int i = 0; i < 2; i++) side_other_close(s, i);
}

static void end(model_run *r) {
  static const struct {
    const char *name;
    happening *happen;
    char variant;
  } steps[] = {{"end: another process commits", another_commits, 'P'},
               {"end: the connection reads", reads, 0},
               {"end: the connection lets go of everything", lets_go, 0},
               {"end: another process commits again", another_commits, 'Q'},
               {"end: the connection reads again", reads, 0},
               {"end: the connection commits", writes, 'W'},
               {"end: other processes let go of everything", others_let_go, 0},
               {"end: the connection commits again", writes, 'X'},
               {"end: another process commits at last", another_commits, 'R'},
               {"end: the connection reads and checks", reads_and_checks, 0},
               {"end: another process reads and checks", another_checks, 0},
               {"end: the connections are closed", closes, 0},
               {"end: another process reads and checks it all", another_checks, 0},
               {"end: all is closed", another_closes, 0}};
  for (unsigned i = 0; i < sizeof steps / sizeof steps[0]; i++)
    step(r, steps[i].name, steps[i].happen, (unsigned char)steps[i].variant, false);
}

/* ---- the process of a case ---- */

/* Returns the socket, or -1. */
static int start_helper(int *process) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) return -1;
  *process = fork();
  if (*process == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    model_agent_serve(ends[1]);
  }
  close(ends[1]);
  return *process > 0 ? ends[0] : -1;
}

static void stop_helper(int socket, int process) {
  shutdown(socket, SHUT_RDWR); /* the processes that were forked later have it as well */
  waitpid(process, NULL, 0);
}

static bool prepare(model_run *r) {
  static const char *const names[SIDES] = {"uring", "stock"};
  model_setup_decode(r->c->setup, &r->setup);
  for (int i = 0; i < r->c->count; i++) /* a child has inherited what SQLite's own VFS keeps in memory of locks */
    if (model_kind_table[r->c->events[i].kind].forks) r->setup.second_on_uring = true;
  for (int i = 0; i < SIDES; i++) {
    model_side *s = &r->sides[i];
    s->tested = i == 0;
    s->setup = &r->setup;
    s->other = start_helper(&r->helpers[i]);
    s->child = s->tested ? -1 : start_helper(&r->stand_in);
    snprintf(s->directory, sizeof s->directory, "%s/%s", r->options->scratch, names[i]);
    if (mkdir(s->directory, 0700) != 0 || s->other < 0) return false;
  }
  return model_observer_start(&r->observer, r->sides[0].directory, r->sides[1].directory);
}

static void take_statistics(model_run *r) {
  r->report->frames = side_statistic(&r->sides[0], "wal_batch_frames");
  r->report->ring_operations = side_statistic(&r->sides[0], "batch_ops");
  r->report->read_ahead = side_statistic(&r->sides[0], "readahead_used");
}

static void __attribute__((noreturn))
case_process(const model_case *c, const model_options *options, model_report *report) {
  static model_run r;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGXFSZ, SIG_IGN);
  r = (model_run){.c = c, .options = options, .report = report};
  if (!prepare(&r)) {
    found(&r, "preparing", "%s", strerror(errno));
    _exit(1);
  }
  r.leaves_frames = r.setup.many_frames;
  step(&r, "set-up", set_up, 0, false);
  if (has_failed(&r.sides[1]))
    found(&r, "set-up", "a statement fails: %s", r.sides[1].answers[r.sides[1].count - 1].message);
  for (int i = 0; i < c->count; i++) event(&r, &c->events[i]);
  take_statistics(&r);
  end(&r);
  report->finished = true;
  fflush(NULL);
  for (int i = 0; i < SIDES; i++) stop_helper(r.sides[i].other, r.helpers[i]);
  stop_helper(r.sides[1].child, r.stand_in);
  model_observer_stop(&r.observer);
  _exit(0);
}

/* ---- from outside ---- */

model_report *model_report_create(void) {
  void *memory = mmap(NULL, sizeof(model_report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return memory != MAP_FAILED ? memory : NULL;
}

static void empty(const char *directory) {
  char path[1000];
  DIR *d = opendir(directory);
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
    snprintf(path, sizeof path, "%s/%s", directory, e->d_name);
    (void)unlink(path);
  }
  if (d != NULL) closedir(d);
  (void)rmdir(directory);
}

bool model_case_run(const model_case *c, const model_options *options, model_report *report) {
  char path[700];
  int status = 0;
  memset(report, 0, sizeof *report);
  fflush(NULL);
  const pid_t process = fork();
  if (process == 0) case_process(c, options, report);
  if (process < 0 || waitpid(process, &status, 0) != process) return false;
  if (!report->failed && (!report->finished || status != 0)) {
    const size_t used = strlen(report->what);
    snprintf(report->what + used, sizeof report->what - used, ": the process ended %s %d",
             WIFSIGNALED(status) ? "by signal" : "with", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    report->failed = true;
  }
  for (int i = 0; i < SIDES && !options->keep; i++) {
    snprintf(path, sizeof path, "%s/%s", options->scratch, i == 0 ? "uring" : "stock");
    empty(path);
  }
  return !report->failed;
}

void model_case_shrink(model_case *c, const model_options *options, model_report *report) {
  const model_options quiet = {.scratch = options->scratch};
  for (int i = c->count - 1; i >= 0; i--) {
    model_case less = *c;
    memmove(&less.events[i], &less.events[i + 1], (size_t)(less.count - i - 1) * sizeof less.events[0]);
    less.count--;
    if (!model_case_run(&less, &quiet, report)) *c = less;
  }
  (void)model_case_run(c, &quiet, report);
}
