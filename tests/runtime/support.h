/*
** support.h - what the tests of the runtime share.
*/
#ifndef TESTS_RUNTIME_SUPPORT_H
#define TESTS_RUNTIME_SUPPORT_H

#include "rt.h"
#include "tests/sim/memory.h"
#include "tests/sim/simulation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define MS       1000000ull

/* A loop to test and a file on it, opened through it. */
typedef struct bench {
  const char *backend; /* "io_uring", "synchronous", "memory", "simulation" */
  rt_loop *loop;
  sim_world *world; /* of the last two */
  rt_file file;
  char path[64];
} bench;

/* cmocka set-ups and tear-downs: *state becomes a bench. That of io_uring skips where it cannot be had. */
int set_up_uring(void **state);
int set_up_sync(void **state);
int set_up_memory(void **state);
int set_up_simulation(void **state);
int tear_down(void **state);

/* A file in the temporary directory with n bytes of fill(); the name is removed. Returns the descriptor. */
int temporary_file(size_t n);
/* The same with its name kept: path has room for 64 bytes. */
int temporary_path(char *path, size_t n);
/* The byte that belongs at this offset. */
char fill(uint64_t offset);
void fill_buffer(char *buf, size_t n, uint64_t offset);
void assert_filled(const char *buf, size_t n, uint64_t offset);

/* A callback that counts in *(unsigned *)arg and leaves the outcome as it is. */
int count_calls(rt_completion *c, int error, void *arg);
uint64_t now_ns(void);
/* valgrind lets no other thread run while one waits in io_uring_enter. */
bool under_valgrind(void);
/* Iterations of a stress test: fewer with a sanitizer or valgrind. */
unsigned iterations(unsigned n);

#endif
