/*
** test_route.c - the table: which work takes the ring, and what the probes say of file systems. Counts, not timings.
*/
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static int64_t no_inline(rt_op *op) {
  (void)op;
  return -ENOSYS;
}

static int64_t answer;
static int64_t give_answer(rt_op *op) {
  (void)op;
  return answer;
}

/* rt_run_inline: the same outcome as by way of a loop. */
static void lone_operations(void **state) {
  (void)state;
  static const struct {
    rt_kind kind;
    int64_t answer;
    int error;
    uint64_t bytes;
  } cases[] = {{RT_READ, 10, 0, 10},    {RT_READ, 4, 0, 4},           {RT_READ, -EIO, -EIO, 0},
               {RT_WRITE, 10, 0, 10},   {RT_WRITE, 4, -EIO, 4},       {RT_WRITE, -ENOSPC, -ENOSPC, 0},
               {RT_FDATASYNC, 0, 0, 0}, {RT_FDATASYNC, -EIO, -EIO, 0}};
  rt_file f;
  char buf[10];
  rt_file_init_shared(&f, -1, give_answer);
  for (unsigned i = 0; i < COUNT(cases); i++)
    for (unsigned through_loop = 0; through_loop < 2; through_loop++) {
      rt_op op = {0};
      if (cases[i].kind == RT_READ)
        rt_prep_read(&op, &f, buf, 10, 0);
      else if (cases[i].kind == RT_WRITE)
        rt_prep_write(&op, &f, buf, 10, 0);
      else
        rt_prep_fdatasync(&op, &f);
      answer = cases[i].answer;
      if (through_loop) {
        rt_submit(rt_sync_loop(), &op);
        assert_true(rt_finished(&op.c)); /* on return */
      } else {
        assert_int_equal(rt_run_inline(&op), cases[i].error);
      }
      assert_int_equal(rt_error(&op.c), cases[i].error);
      assert_int_equal(rt_bytes(&op.c), cases[i].bytes);
    }
}

static bool ring(unsigned traits, rt_kind kind, bool sync, unsigned count, uint64_t bytes) {
  rt_file f = {.fd = 3, .traits = traits};
  const rt_work w = {kind, sync, count, bytes};
  return rt_route_ring(RT_BACKEND_AUTO, &f, &w);
}

static void the_table(void **state) {
  (void)state;
  assert_false(ring(0, RT_READ, false, 1, 4096));
  assert_true(ring(0, RT_READ, false, 8, 8 * 4096));
  assert_true(ring(0, RT_READV, false, 8, 8 * 4096));
  assert_false(ring(RT_FILE_READS_PUNT, RT_READ, false, 64, 64 * 4096));
  assert_false(ring(0, RT_WRITE, false, 64, 1 << 20));
  assert_false(ring(0, RT_WRITE, true, 2, 4120));
  assert_true(ring(0, RT_WRITE, true, 2, 16 * 4120));
}

static void forced_backends(void **state) {
  (void)state;
  rt_file f = {.fd = 3, .traits = RT_FILE_READS_PUNT};
  const rt_work lone = {RT_READ, false, 1, 1};
  assert_true(rt_route_ring(RT_BACKEND_URING, &f, &lone));
  assert_false(rt_route_ring(RT_BACKEND_SYNC, &f, &lone));
}

static void no_way_into_a_ring(void **state) {
  (void)state;
  rt_file f;
  const rt_work many = {RT_READ, false, 64, 1 << 20};
  rt_file_init_shared(&f, -1, no_inline);
  assert_false(rt_route_ring(RT_BACKEND_URING, &f, &many));
}

static void streams_never_inline(void **state) {
  (void)state;
  int p[2];
  rt_file f;
  const rt_work lone = {RT_READ, false, 1, 1};
  assert_int_equal(pipe(p), 0);
  rt_file_init_fd(&f, p[0]);
  assert_int_equal(f.traits, RT_FILE_STREAM);
  assert_true(rt_route_ring(RT_BACKEND_AUTO, &f, &lone));
  close(p[0]);
  close(p[1]);
  rt_file_init_fd(&f, temporary_file(10));
  assert_int_equal(f.traits, 0);
  close(f.fd);
}

/* A loop of the automatic kind: a lone read inline, a batch on the ring, both finished alike. */
static void automatic_loop(void **state) {
  (void)state;
  rt_loop *loop;
  const rt_loop_options options = {.backend = RT_BACKEND_AUTO};
  assert_int_equal(rt_loop_open(&loop, &options), 0);
  if (rt_loop_backend(loop) != RT_BACKEND_URING) skip();
  rt_file f;
  rt_file_init_fd(&f, temporary_file(4096));
  rt_op ops[8] = {0};
  char buf[8][16];
  rt_stats s0, s1, s2;
  rt_stats_read(&s0);
  rt_prep_read(&ops[0], &f, buf[0], 16, 0);
  rt_submit(loop, &ops[0]);
  assert_int_equal(rt_wait(loop, &ops[0].c), 0);
  rt_stats_read(&s1);
  assert_int_equal(s1.inline_ops[RT_READ] - s0.inline_ops[RT_READ], 1);
  assert_int_equal(s1.enters, s0.enters);
  for (unsigned i = 0; i < 8; i++) {
    rt_prep_read(&ops[i], &f, buf[i], 16, i * 16);
    rt_submit(loop, &ops[i]);
  }
  rt_run(loop);
  rt_stats_read(&s2);
  assert_int_equal(s2.inline_ops[RT_READ], s1.inline_ops[RT_READ]);
  assert_int_equal(s2.ops[RT_READ] - s1.ops[RT_READ], 8);
  for (unsigned i = 0; i < 8; i++) assert_filled(buf[i], 16, i * 16);
  rt_loop_close(loop);
  close(f.fd);
}

static void close_all(const int *fd, unsigned n) {
  for (unsigned i = 0; i < n; i++) close(fd[i]);
}

/* The same answer however the file is open, and empty or not. */
static void probes_of_open_files(void **state) {
  (void)state;
  static const char *const dirs[] = {"/tmp", "/dev/shm"};
  for (unsigned i = 0; i < COUNT(dirs); i++) {
    char path[64];
    snprintf(path, sizeof(path), "%s/rt_test.XXXXXX", dirs[i]);
    int fd[3] = {mkstemp(path)};
    if (fd[0] < 0) continue;
    fd[1] = open(path, O_RDONLY | O_CLOEXEC);
    fd[2] = open(path, O_WRONLY | O_CLOEXEC);
    unlink(path);
    const unsigned traits = rt_probe_traits_fd(fd[0]);
    assert_int_equal(traits & ~(unsigned)(RT_FILE_READS_PUNT | RT_FILE_READS_UNSAFE), 0);
    if (i == 1) assert_int_equal(traits, RT_FILE_READS_PUNT);
    assert_int_equal(pwrite(fd[0], "12345678", 8, 0), 8);
    assert_int_equal(lseek(fd[0], 3, SEEK_SET), 3);
    for (unsigned k = 0; k < COUNT(fd); k++) assert_int_equal(rt_probe_traits_fd(fd[k]), traits);
    assert_int_equal(lseek(fd[0], 0, SEEK_CUR), 3);
    close_all(fd, COUNT(fd));
  }
  assert_int_equal(rt_probe_traits_fd(-1), 0);
}

/* Asking reads nothing from the device. */
static void probes_touch_no_page(void **state) {
  (void)state;
  enum { SIZE = 1 << 20, PAGES = SIZE / 4096 };
  unsigned char there[PAGES];
  const int fd = temporary_file(SIZE);
  assert_int_equal(fsync(fd), 0);
  assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
  void *map = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, fd, 0);
  assert_ptr_not_equal(map, MAP_FAILED);
  for (unsigned asked = 0; asked < 2; asked++) {
    assert_int_equal(mincore(map, SIZE, there), 0);
    for (unsigned i = 0; i < PAGES; i++) {
      if ((there[i] & 1) && !asked) skip(); /* a file system that lives in memory */
      assert_int_equal(there[i] & 1, 0);
    }
    (void)rt_probe_traits_fd(fd);
    usleep(10000);
  }
  munmap(map, SIZE);
  close(fd);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(lone_operations),      cmocka_unit_test(the_table),
      cmocka_unit_test(forced_backends),      cmocka_unit_test(no_way_into_a_ring),
      cmocka_unit_test(streams_never_inline), cmocka_unit_test(automatic_loop),
      cmocka_unit_test(probes_of_open_files), cmocka_unit_test(probes_touch_no_page),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
