/*
** bench_runtime.c - what the runtime costs beside bare liburing and bare system calls, in one run.
**
** Every figure is the median of interleaved rounds (A B C A B C ...), so that a slow minute of the machine hits all
** alike. Reads are of cached pages, writes overwrite a file that has its size already.
**
**   build/demo/bench_runtime [directory]
*/
#include "rt.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE       4096u
#define PAGES      1024u
#define MAX_BATCH  64u
#define MAX_WAYS   4
#define MAX_ROUNDS 400
#define FRAME      4120u

typedef struct bench {
  int fd;
  rt_file file;
  rt_loop *loop;
  struct io_uring ring;
  char *buffer;
  rt_op ops[MAX_BATCH];
  rt_group group;
  unsigned random;
} bench;

typedef void (*way_fn)(bench *b, unsigned n);

typedef struct way {
  const char *name;
  way_fn run;
} way;

static void check(long r, const char *what) {
  if (r >= 0) return;
  fprintf(stderr, "bench_runtime: %s: %s\n", what, strerror((int)-r));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Any page, the same sequence for every way. */
static off_t next_page(bench *b) {
  b->random = b->random * 1664525u + 1013904223u;
  return (off_t)((b->random >> 8) % PAGES * PAGE);
}

/*
** ---- Reads: n pages
*/
static void read_pread(bench *b, unsigned n) {
  for (unsigned i = 0; i < n; i++) check(pread(b->fd, b->buffer + i * PAGE, PAGE, next_page(b)), "pread");
}

static void reap_bare(bench *b, unsigned n, unsigned bytes) {
  check(io_uring_submit_and_wait(&b->ring, n), "io_uring_enter");
  unsigned head, seen = 0;
  struct io_uring_cqe *cqe;
  io_uring_for_each_cqe(&b->ring, head, cqe) {
    check(cqe->res, "completion");
    if (bytes && (unsigned)cqe->res != bytes) check(-EIO, "short transfer");
    seen++;
  }
  io_uring_cq_advance(&b->ring, seen);
  if (seen != n) check(-EIO, "completions");
}

static void read_bare(bench *b, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    struct io_uring_sqe *sqe = io_uring_get_sqe(&b->ring);
    io_uring_prep_read(sqe, b->fd, b->buffer + i * PAGE, PAGE, (uint64_t)next_page(b));
    io_uring_sqe_set_data64(sqe, i);
  }
  reap_bare(b, n, PAGE);
}

static void add(bench *b, unsigned i) { check(rt_group_add(&b->group, &b->ops[i].c), "rt_group_add"); }

static void run_group(bench *b, uint64_t bytes) {
  rt_submit_group(b->loop, &b->group);
  check(rt_wait(b->loop, &b->group.c), "rt_wait");
  if (rt_bytes(&b->group.c) != bytes) check(-EIO, "short transfer");
}

static void read_runtime(bench *b, unsigned n) {
  rt_group_init(&b->group, RT_ALL, NULL, NULL);
  for (unsigned i = 0; i < n; i++) {
    rt_prep_read(&b->ops[i], &b->file, b->buffer + i * PAGE, PAGE, (uint64_t)next_page(b));
    add(b, i);
  }
  run_group(b, (uint64_t)n * PAGE);
}

static void read_runtime_inline(bench *b, unsigned n) {
  for (unsigned i = 0; i < n; i++) {
    rt_prep_read(&b->ops[0], &b->file, b->buffer + i * PAGE, PAGE, (uint64_t)next_page(b));
    rt_submit(rt_sync_loop(), &b->ops[0]);
    check(rt_error(&b->ops[0].c), "read");
  }
}

/*
** ---- Writes of n WAL frames, as one write, with and without fdatasync
*/
static void write_calls(bench *b, unsigned n) {
  check(pwrite(b->fd, b->buffer, (size_t)n * FRAME, 0), "pwrite");
  check(fdatasync(b->fd), "fdatasync");
}

static void write_bare(bench *b, unsigned n) {
  struct io_uring_sqe *sqe = io_uring_get_sqe(&b->ring);
  io_uring_prep_write(sqe, b->fd, b->buffer, n * FRAME, 0);
  sqe->flags |= IOSQE_IO_LINK;
  sqe = io_uring_get_sqe(&b->ring);
  io_uring_prep_fsync(sqe, b->fd, IORING_FSYNC_DATASYNC);
  reap_bare(b, 2, 0);
}

static void write_runtime(bench *b, unsigned n) {
  rt_group_init(&b->group, RT_ALL, NULL, NULL);
  rt_prep_write(&b->ops[0], &b->file, b->buffer, (uint64_t)n * FRAME, 0);
  rt_prep_fdatasync(&b->ops[1], &b->file);
  rt_order_after(&b->ops[1], &b->ops[0]);
  add(b, 0);
  add(b, 1);
  run_group(b, (uint64_t)n * FRAME);
}

static void write_only_calls(bench *b, unsigned n) {
  for (unsigned i = 0; i < n; i++) check(pwrite(b->fd, b->buffer + i * PAGE, PAGE, next_page(b)), "pwrite");
}

static void write_only_runtime(bench *b, unsigned n) {
  rt_group_init(&b->group, RT_ALL, NULL, NULL);
  for (unsigned i = 0; i < n; i++) {
    rt_prep_write(&b->ops[i], &b->file, b->buffer + i * PAGE, PAGE, (uint64_t)next_page(b));
    add(b, i);
  }
  run_group(b, (uint64_t)n * PAGE);
}

/*
** ---- Measuring
*/
static int compare_u64(const void *a, const void *b) {
  const uint64_t *x = a, *y = b;
  return (*x > *y) - (*x < *y);
}

static void measure(bench *b, const char *title, const way *ways, unsigned way_count, unsigned n, unsigned rounds,
                    unsigned repeat) {
  static uint64_t samples[MAX_WAYS][MAX_ROUNDS];
  for (unsigned r = 0; r < rounds; r++)
    for (unsigned w = 0; w < way_count; w++) {
      b->random = r;
      uint64_t start = now_ns();
      for (unsigned i = 0; i < repeat; i++) ways[w].run(b, n);
      samples[w][r] = now_ns() - start;
    }
  printf("%-22s %5u", title, n);
  double first = 0;
  for (unsigned w = 0; w < way_count; w++) {
    qsort(samples[w], rounds, sizeof(samples[w][0]), compare_u64);
    const uint64_t median = samples[w][rounds / 2];
    double us = (double)median / 1000.0 / repeat;
    if (w == 0) first = us;
    printf("  %s %.2f us (%.2f)", ways[w].name, us, us / first);
  }
  printf("\n");
}

static void open_all(bench *b, const char *directory) {
  char path[4096];
  snprintf(path, sizeof(path), "%s/bench_runtime.XXXXXX", directory);
  b->fd = mkstemp(path);
  check(b->fd < 0 ? -errno : 0, path);
  unlink(path);
  size_t size = (size_t)PAGES * FRAME;
  b->buffer = aligned_alloc(PAGE, (size + PAGE - 1) / PAGE * PAGE);
  if (!b->buffer) check(-ENOMEM, "buffer");
  memset(b->buffer, 'x', size);
  check(pwrite(b->fd, b->buffer, size, 0), "pwrite");
  check(fdatasync(b->fd), "fdatasync");
  rt_file_init_fd(&b->file, b->fd);
  rt_loop_options options = {.backend = RT_BACKEND_URING, .entries = MAX_BATCH, .patient = true};
  check(rt_loop_open(&b->loop, &options), "rt_loop_open");
  struct io_uring_params params = {.flags = IORING_SETUP_COOP_TASKRUN};
  check(io_uring_queue_init_params(MAX_BATCH, &b->ring, &params), "io_uring_setup");
}

int main(int argc, char **argv) {
  static bench b;
  open_all(&b, argc > 1 ? argv[1] : "/tmp");

  const way reads[] = {{"liburing", read_bare},
                       {"runtime", read_runtime},
                       {"pread", read_pread},
                       {"runtime inline", read_runtime_inline}};
  puts("cached 4 KiB reads, a batch of n, per batch (ratio to the first)");
  const unsigned batches[] = {1, 2, 3, 4, 8, 16, 32, 64};
  for (unsigned i = 0; i < sizeof(batches) / sizeof(batches[0]); i++)
    measure(&b, "read", reads, 4, batches[i], 400, 1 + 32 / batches[i]);

  const way commits[] = {{"calls", write_calls}, {"liburing", write_bare}, {"runtime", write_runtime}};
  puts("one write of n frames of 4,120 bytes and fdatasync, per commit");
  const unsigned frames[] = {1, 4, 16, 64, 256, 1000};
  for (unsigned i = 0; i < sizeof(frames) / sizeof(frames[0]); i++)
    measure(&b, "write + fdatasync", commits, 3, frames[i], 60, 1);

  const way writes[] = {{"pwrite", write_only_calls}, {"runtime", write_only_runtime}};
  puts("buffered 4 KiB writes, a batch of n, per batch");
  const unsigned pages[] = {1, 8, 32};
  for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) measure(&b, "write", writes, 2, pages[i], 60, 5);

  rt_stats before, after;
  rt_stats_read(&before);
  read_runtime(&b, 32);
  rt_stats_read(&after);
  printf("a batch of 32: %llu io_uring_enter\n", (unsigned long long)(after.enters - before.enters));
  rt_loop_close(b.loop);
  io_uring_queue_exit(&b.ring);
  close(b.fd);
  free(b.buffer);
  return 0;
}
