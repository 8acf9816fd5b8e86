/*
** test_slow_file.c - reads that a FUSE server answers late: given up while the server has them, they are reported
** finished only when their buffers belong to the program again. Through the page cache a worker thread of the ring
** waits for the answer; with O_DIRECT nobody waits, and the kernel puts the answer straight into the buffer.
*/
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DELAY_MS = 150, READS = 4, SIZE = 4096 };

static char mount_point[64];
static pid_t server;

static void serve(void) {
  char program[4096], delay[16];
  ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
  if (n < 0) _exit(127);
  program[n] = 0;
  snprintf(strrchr(program, '/'), 20, "/prog_slow_fuse");
  snprintf(delay, sizeof(delay), "%d", DELAY_MS);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  execl(program, program, mount_point, delay, (char *)NULL);
  _exit(127);
}

static bool mounted(void) {
  struct statfs fs;
  return statfs(mount_point, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
}

/* Without libfuse, /dev/fuse or the right to mount the server ends at once: the tests skip. */
static int mount_server(void **state) {
  (void)state;
  const char *dir = getenv("TMPDIR");
  snprintf(mount_point, sizeof(mount_point), "%s/rt_slow.XXXXXX", dir && strlen(dir) < 40 ? dir : "/tmp");
  if (!mkdtemp(mount_point)) return -1;
  fflush(NULL);
  server = fork();
  if (server == 0) serve();
  while (!mounted()) {
    if (waitpid(server, NULL, WNOHANG) == server) {
      server = 0;
      return 0;
    }
    usleep(10000);
  }
  return 0;
}

static int unmount_server(void **state) {
  (void)state;
  if (server > 0) {
    kill(server, SIGTERM);
    waitpid(server, NULL, 0);
  }
  return rmdir(mount_point);
}

static void path_of(char *path, size_t size, const char *name) { snprintf(path, size, "%s/%s", mount_point, name); }

/* "begun" or "answered" */
static long count_of(const char *name) {
  char path[96];
  struct stat st;
  path_of(path, sizeof(path), name);
  assert_int_equal(stat(path, &st), 0);
  return (long)st.st_size;
}

static void wait_for_count(const char *name, long count) {
  while (count_of(name) < count) usleep(5000);
}

typedef enum ending { CANCEL, DEADLINE, CANCEL_AND_CLOSE } ending;

static _Alignas(SIZE) char buffers[READS][SIZE];

static void give_up(rt_loop *loop, rt_op *ops, ending how) {
  if (how != DEADLINE)
    for (unsigned i = 0; i < READS; i++) rt_cancel(&ops[i].c);
  if (how == CANCEL_AND_CLOSE)
    rt_loop_close(loop);
  else
    for (unsigned i = 0; i < READS; i++) (void)rt_wait(loop, &ops[i].c);
}

/* Each way takes both ends: given up, or successful after all and then with everything in the buffer. */
static void check_outcome(const rt_op *op, const char *buf, ending how) {
  char expected[SIZE];
  assert_true(rt_finished(&op->c));
  if (rt_failed(&op->c)) {
    assert_int_equal(rt_error(&op->c), how == DEADLINE ? -ETIME : -ECANCELED);
    return;
  }
  memset(expected, 's', SIZE);
  assert_int_equal(rt_bytes(&op->c), SIZE);
  assert_memory_equal(buf, expected, SIZE);
}

static void read_and_give_up(const char *name, int flags, ending how) {
  rt_loop *loop;
  rt_file file;
  rt_op ops[READS] = {0};
  rt_stats before, after;
  char path[96], mine[SIZE];
  const rt_loop_options options = {.backend = RT_BACKEND_URING, .entries = 16};
  if (server == 0 || rt_loop_open(&loop, &options)) skip();
  path_of(path, sizeof(path), name);
  int fd = open(path, O_RDONLY | O_CLOEXEC | flags);
  assert_true(fd >= 0);
  assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM), 0); /* one request for each read */
  rt_file_init_fd(&file, fd);                                      /* probed, it would not take the ring */
  rt_stats_read(&before);
  long begun = count_of("begun"), answered = count_of("answered");
  for (unsigned i = 0; i < READS; i++) {
    rt_prep_read(&ops[i], &file, buffers[i], SIZE, (uint64_t)i * SIZE);
    if (how == DEADLINE) rt_set_deadline(&ops[i], now_ns() + DELAY_MS * MS / 3);
    rt_submit(loop, &ops[i]);
  }
  rt_flush(loop);
  /* Past its deadline a read may end before it has begun. */
  if (how != DEADLINE) wait_for_count("begun", begun + READS);
  give_up(loop, ops, how);
  memset(mine, '-', SIZE);
  for (unsigned i = 0; i < READS; i++) {
    check_outcome(&ops[i], buffers[i], how);
    memcpy(buffers[i], mine, SIZE);
  }
  wait_for_count("answered", answered + count_of("begun") - begun);
  usleep(DELAY_MS * 1000);
  for (unsigned i = 0; i < READS; i++) assert_memory_equal(buffers[i], mine, SIZE);
  rt_stats_read(&after);
  assert_int_equal(after.ops[RT_READ] - before.ops[RT_READ], READS);
  assert_int_equal(after.inline_ops[RT_READ], before.inline_ops[RT_READ]);
  if (how != CANCEL_AND_CLOSE) rt_loop_close(loop);
  close(fd);
}

static void each_way(const char *name, int flags) {
  for (ending how = CANCEL; how <= CANCEL_AND_CLOSE; how++) read_and_give_up(name, flags, how);
}

static void through_the_page_cache(void **state) {
  (void)state;
  each_way("cached", 0);
}

static void past_the_page_cache(void **state) {
  (void)state;
  each_way("direct", 0);
}

static void into_pinned_buffers(void **state) {
  (void)state;
  each_way("cached", O_DIRECT);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(through_the_page_cache),
      cmocka_unit_test(past_the_page_cache),
      cmocka_unit_test(into_pinned_buffers),
  };
  return cmocka_run_group_tests(tests, mount_server, unmount_server);
}
