/*
** treesum.c - POSIX checksums of all files of a tree, many files at once: the runtime without any database.
**
**   cc -O2 -o treesum treesum.c $(pkg-config --cflags --libs uringrt)
**   treesum [-j files at once] [-q] directory...        prints what `cksum file...` prints, in the order of the walk
**
** Every file is a state machine (open, read piece after piece, close) and never blocks; the main loop steps those whose
** completion has finished. Ctrl-C cancels what is in flight, waits until the kernel is through with the buffers, and
** reports how far it came.
*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "rt.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PIECE    (256u * 1024)
#define MAX_JOBS 256u

/*
** ---- The checksum: CRC-32, most significant bit first, the length behind the data (POSIX cksum). Eight bytes a step.
*/
static uint32_t crc_table[8][256];

static void make_crc_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t r = i << 24;
    for (int bit = 0; bit < 8; bit++) r = (r << 1) ^ ((r & 0x80000000u) ? 0x04c11db7u : 0);
    crc_table[0][i] = r;
  }
  for (uint32_t i = 0; i < 256; i++)
    for (int t = 1; t < 8; t++) crc_table[t][i] = (crc_table[t - 1][i] << 8) ^ crc_table[0][crc_table[t - 1][i] >> 24];
}

static uint32_t crc_add(uint32_t crc, const unsigned char *p, size_t n) {
  for (; n >= 8; n -= 8, p += 8) {
    crc ^= (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    crc = crc_table[7][crc >> 24] ^ crc_table[6][(crc >> 16) & 255] ^ crc_table[5][(crc >> 8) & 255] ^
          crc_table[4][crc & 255] ^ crc_table[3][p[4]] ^ crc_table[2][p[5]] ^ crc_table[1][p[6]] ^ crc_table[0][p[7]];
  }
  for (; n > 0; n--) crc = (crc << 8) ^ crc_table[0][(crc >> 24) ^ *p++];
  return crc;
}

static uint32_t crc_end(uint32_t crc, uint64_t length) {
  for (; length; length >>= 8) crc = (crc << 8) ^ crc_table[0][(crc >> 24) ^ (length & 255)];
  return ~crc;
}

/*
** ---- One file
*/
typedef struct result {
  char *path;
  uint64_t size;
  uint32_t crc;
  int error;
  bool done;
} result;

typedef struct job {
  rt_machine machine;
  rt_loop *loop;
  result *result;
  rt_file file;
  rt_op op;
  rt_completion *waits_for;
  unsigned char *buffer;
  enum { OPENING, OPENED, READING, CLOSING } state;
  bool busy;
} job;

static rt_turn submit(job *j, int next_state) {
  rt_submit(j->loop, &j->op);
  j->state = next_state;
  return rt_turn_continue();
}

static rt_turn close_file(job *j) {
  rt_prep_close(&j->op, &j->file);
  return submit(j, CLOSING);
}

static rt_turn file_turn(void *self) {
  job *j = self;
  result *r = j->result;
  switch (j->state) {
  case OPENING:
    rt_file_init_fd(&j->file, -1);
    rt_prep_open(&j->op, &j->file, r->path, O_RDONLY | O_NOCTTY, 0);
    return submit(j, OPENED);
  case OPENED:
    RT_TURN_IF_IO(rt_await(&j->op.c));
    j->file.traits = rt_probe_traits_fd(j->file.fd);
    (void)posix_fadvise(j->file.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    rt_prep_read(&j->op, &j->file, j->buffer, PIECE, 0);
    return submit(j, READING);
  case READING: {
    if (!rt_finished(&j->op.c)) return rt_turn_io(&j->op.c);
    if (rt_failed(&j->op.c)) {
      r->error = rt_error(&j->op.c);
      return close_file(j);
    }
    uint64_t n = rt_bytes(&j->op.c);
    r->crc = crc_add(r->crc, j->buffer, n);
    r->size += n;
    if (n < PIECE) return close_file(j); /* the end: reads are short nowhere else */
    rt_prep_read(&j->op, &j->file, j->buffer, PIECE, r->size);
    return submit(j, READING);
  }
  case CLOSING: RT_TURN_IF_IO(rt_await(&j->op.c)); return r->error ? rt_turn_fail(r->error) : rt_turn_done();
  }
  return rt_turn_fail(-EINVAL);
}

/* However it ends: no descriptor stays open. Nothing is in flight any more. */
static void file_cleanup(void *self) {
  job *j = self;
  if (j->file.fd >= 0) close(j->file.fd);
  j->file.fd = -1;
}

/*
** ---- The walk and the main loop
*/
typedef struct tree {
  result *results;
  size_t count, room, next, printed, failed;
  uint64_t bytes;
} tree;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signal_number) {
  (void)signal_number;
  interrupted = 1;
}

static void *must(void *p) {
  if (p) return p;
  fprintf(stderr, "treesum: no memory\n");
  exit(2);
}

static void collect(tree *t, char **roots) {
  FTS *fts = must(fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL));
  FTSENT *e;
  while (!interrupted && (e = fts_read(fts))) {
    if (e->fts_info != FTS_F || !S_ISREG(e->fts_statp->st_mode)) continue;
    if (t->count == t->room) {
      t->room = t->room ? 2 * t->room : 1024;
      t->results = must(realloc(t->results, t->room * sizeof(result)));
    }
    t->results[t->count++] = (result){.path = must(strdup(e->fts_path))};
  }
  fts_close(fts);
}

/* Gives an idle job the next file. */
static void take_next(tree *t, job *j) {
  j->busy = !interrupted && t->next < t->count;
  if (!j->busy) return;
  j->result = &t->results[t->next++];
  j->state = OPENING;
  j->waits_for = NULL;
  rt_machine_init(&j->machine, file_turn, file_cleanup, j);
}

static void ended(tree *t, job *j, int error) {
  result *r = j->result;
  r->error = error;
  r->crc = crc_end(r->crc, r->size);
  r->done = true;
  t->bytes += r->size;
  take_next(t, j);
}

/* Steps a job as far as it goes without waiting. */
static void advance(tree *t, job *j) {
  while (j->busy && !(j->waits_for && !rt_finished(j->waits_for))) {
    rt_result r = interrupted ? rt_machine_abandon(&j->machine) : rt_machine_step(&j->machine);
    j->waits_for = r.io;
    if (rt_is_io(r)) continue;
    ended(t, j, interrupted && rt_is_done(r) ? -ECANCELED : r.error);
  }
}

static void print_finished(tree *t) {
  for (; t->printed < t->count && t->results[t->printed].done; t->printed++) {
    const result *r = &t->results[t->printed];
    if (r->error == 0) {
      printf("%u %llu %s\n", r->crc, (unsigned long long)r->size, r->path);
    } else {
      t->failed++;
      if (!interrupted) fprintf(stderr, "treesum: %s: %s\n", r->path, strerror(-r->error));
    }
  }
}

static void show_progress(const tree *t, bool last) {
  static time_t shown;
  if (!isatty(STDERR_FILENO) || (!last && shown == time(NULL))) return;
  shown = time(NULL);
  fprintf(stderr, "\r%zu of %zu files, %llu MiB%s", t->printed, t->count, (unsigned long long)(t->bytes >> 20),
          last ? "\n" : "");
}

static void abandon_all(job *jobs, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    if (!jobs[i].busy) continue;
    rt_result r = rt_machine_abandon(&jobs[i].machine); /* asks for cancellation; the end comes in advance() */
    jobs[i].waits_for = r.io;
  }
}

static void run(tree *t, rt_loop *loop, job *jobs, unsigned n) {
  bool told = false;
  for (unsigned i = 0; i < n; i++) take_next(t, &jobs[i]);
  for (;;) {
    if (interrupted && !told) abandon_all(jobs, n);
    told = interrupted;
    unsigned busy = 0;
    for (unsigned i = 0; i < n; i++) {
      advance(t, &jobs[i]);
      busy += jobs[i].busy;
    }
    print_finished(t);
    show_progress(t, busy == 0);
    if (busy == 0) return;
    (void)rt_step(loop, 200000000, UINT32_MAX); /* a signal ends the wait early */
  }
}

static int usage(void) {
  fprintf(stderr, "usage: treesum [-j files at once, 1 to %u] [-q] directory...\n", MAX_JOBS);
  return 2;
}

int main(int argc, char **argv) {
  unsigned n = 32;
  bool quiet = false;
  int option;
  while ((option = getopt(argc, argv, "j:q")) >= 0) {
    if (option == 'q')
      quiet = true;
    else if (option == 'j')
      n = (unsigned)strtoul(optarg, NULL, 10);
    else
      return usage();
  }
  if (optind == argc || n < 1 || n > MAX_JOBS) return usage();
  if (quiet && !freopen("/dev/null", "w", stdout)) return 2;

  static job jobs[MAX_JOBS];
  tree t = {0};
  rt_loop *loop;
  const rt_loop_options options = {.backend = RT_BACKEND_AUTO, .entries = MAX_JOBS};
  int error = rt_loop_open(&loop, &options);
  if (error) {
    fprintf(stderr, "treesum: %s\n", strerror(-error));
    return 2;
  }
  struct sigaction action = {.sa_handler = on_interrupt};
  sigaction(SIGINT, &action, NULL);
  make_crc_table();
  for (unsigned i = 0; i < n; i++) {
    jobs[i].loop = loop;
    jobs[i].file.fd = -1;
    jobs[i].buffer = must(aligned_alloc(4096, PIECE));
  }
  collect(&t, argv + optind);
  run(&t, loop, jobs, n);
  rt_loop_close(loop);
  if (interrupted) fprintf(stderr, "treesum: interrupted after %zu of %zu files\n", t.printed - t.failed, t.count);
  for (unsigned i = 0; i < n; i++) free(jobs[i].buffer);
  for (size_t i = 0; i < t.count; i++) free(t.results[i].path);
  free(t.results);
  return interrupted ? 130 : t.failed ? 1 : 0;
}
