/*
** support.c - see support.h.
*/
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

char fill(uint64_t offset) { return (char)(offset * 31 + offset / 251 + 7); }

void fill_buffer(char *buf, size_t n, uint64_t offset) {
  for (size_t i = 0; i < n; i++) buf[i] = fill(offset + i);
}

void assert_filled(const char *buf, size_t n, uint64_t offset) {
  for (size_t i = 0; i < n; i++)
    if (buf[i] != fill(offset + i)) fail_msg("byte %zu of %zu is wrong", i, n);
}

int temporary_path(char *path, size_t n) {
  const char *dir = getenv("TMPDIR");
  snprintf(path, 64, "%s/rt_test.XXXXXX", dir && strlen(dir) < 40 ? dir : "/tmp");
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  char *buf = malloc(n + 1);
  assert_non_null(buf);
  fill_buffer(buf, n, 0);
  assert_int_equal(pwrite(fd, buf, n, 0), n);
  free(buf);
  return fd;
}

int temporary_file(size_t n) {
  char path[64];
  int fd = temporary_path(path, n);
  unlink(path);
  return fd;
}

static int open_file(bench *b) {
  rt_op op = {0};
  rt_file_init_fd(&b->file, -1);
  rt_prep_open(&op, &b->file, b->path, O_RDWR | O_CREAT, 0600);
  rt_submit(b->loop, &op);
  return rt_wait(b->loop, &op.c);
}

static bench *make(const char *name) {
  bench *b = calloc(1, sizeof(*b));
  assert_non_null(b);
  b->backend = name;
  strcpy(b->path, "file");
  return b;
}

static void use_real_file(bench *b) { close(temporary_path(b->path, 0)); }

int set_up_uring(void **state) {
  bench *b = make("io_uring");
  const rt_loop_options options = {.backend = RT_BACKEND_URING, .entries = 16};
  int error = rt_loop_open(&b->loop, &options);
  if (error) {
    free(b);
    print_message("io_uring cannot be had here: %s\n", strerror(-error));
    *state = NULL;
    return 0;
  }
  use_real_file(b);
  *state = b;
  return open_file(b);
}

int set_up_sync(void **state) {
  bench *b = make("synchronous");
  b->loop = rt_sync_loop();
  use_real_file(b);
  *state = b;
  return open_file(b);
}

int set_up_memory(void **state) {
  bench *b = make("memory");
  b->world = sim_world_open();
  b->loop = sim_memory_open(b->world, 16);
  *state = b;
  return open_file(b);
}

int set_up_simulation(void **state) {
  static const sim_faults faults = {.short_transfer = 100, .eintr = 50, .eagain = 50, .given_up = 30};
  const char *given = getenv("RT_SEED");
  uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);
  static uint64_t printed;
  if (printed != seed) print_message("simulation: RT_SEED=%llu reproduces this run\n", (unsigned long long)seed);
  printed = seed;
  bench *b = make("simulation");
  b->world = sim_world_open();
  b->loop = sim_open(b->world, seed, &faults);
  *state = b;
  return open_file(b);
}

int tear_down(void **state) {
  bench *b = *state;
  if (!b) return 0;
  if (b->file.fd >= 0) {
    rt_op op = {0};
    rt_prep_close(&op, &b->file);
    rt_submit(b->loop, &op);
    if (rt_wait(b->loop, &op.c)) return -1;
  }
  rt_loop_close(b->loop);
  if (b->world)
    sim_world_close(b->world);
  else
    unlink(b->path);
  free(b);
  return 0;
}

int count_calls(rt_completion *c, int error, void *arg) {
  (void)c;
  ++*(unsigned *)arg;
  return error;
}

uint64_t now_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

bool under_valgrind(void) {
  const char *preload = getenv("LD_PRELOAD");
  return preload && strstr(preload, "vgpreload");
}

unsigned iterations(unsigned n) {
  if (under_valgrind()) return n / 100 + 1;
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  return n / 10 + 1;
#else
  const char *san = getenv("SAN");
  return san && *san ? n / 10 + 1 : n;
#endif
}
