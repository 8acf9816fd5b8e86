/*
** test_shared_file.c - what it means that rings use the caller's own descriptor: write-back errors are reported to it,
** POSIX locks stay, and nothing holds the file once it is closed.
*/
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIECE = 4096, PIECES = 16, MIB = 1 << 20 };

/* A file that rings use by the test's descriptor, a pool, and (if there is one) an ext4 on a loop device over a small
** tmpfs. */
typedef struct bed {
  rt_pool *pool;
  rt_file file;
  char dir[64];
  char store[80], image[96], mounted[80], path[96];
  char device[32];
  int loop;
} bed;

static unsigned inline_calls;

static int64_t count_inline(rt_op *op) {
  (void)op;
  inline_calls++;
  return -EOPNOTSUPP;
}

static void use_descriptor(bed *t, int fd) {
  assert_true(fd >= 0);
  rt_file_init_shared(&t->file, fd, count_inline);
}

/* ---- a file system of the test's own; root, in a mount namespace ---- */

static bool own_mounts;

static int leave_mount_namespace(void **state) {
  (void)state;
  own_mounts =
      geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
  return 0;
}

static bool attach(bed *t) {
  struct loop_config config = {.info.lo_flags = LO_FLAGS_AUTOCLEAR};
  const int file = open(t->image, O_RDWR | O_CLOEXEC), control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  config.fd = (uint32_t)file;
  for (unsigned attempt = 0; attempt < 50 && t->loop < 0 && control >= 0;
       attempt++) { /* others look for a free one, too */
    const int number = ioctl(control, LOOP_CTL_GET_FREE);
    snprintf(t->device, sizeof(t->device), "/dev/loop%d", number);
    t->loop = open(t->device, O_RDWR | O_CLOEXEC);
    if (t->loop < 0 || ioctl(t->loop, LOOP_CONFIGURE, &config) == 0) break;
    close(t->loop);
    t->loop = -1;
  }
  close(control);
  close(file);
  return t->loop >= 0;
}

static bool make_disk(bed *t) {
  char command[512];
  if (!own_mounts) return false;
  if (mkdir(t->store, 0700) || mkdir(t->mounted, 0700)) return false;
  if (mount("none", t->store, "tmpfs", 0, "size=24m")) return false;
  snprintf(command, sizeof(command),
           "PATH=$PATH:/usr/sbin:/sbin; truncate -s 64M %s && mkfs.ext4 -q -F -b 4096 -O ^has_journal -E "
           "lazy_itable_init=0 %s "
           ">/dev/null 2>&1 </dev/null",
           t->image, t->image);
  return system(command) == 0 && attach(t);
}

static bool mount_disk(const bed *t) { return mount(t->device, t->mounted, "ext4", 0, "errors=continue") == 0; }

/* ---- set-up ---- */

static int set_up(void **state) {
  bed *t = test_calloc(1, sizeof(*t));
  const char *tmp = getenv("TMPDIR");
  *state = t;
  t->loop = -1;
  inline_calls = 0;
  rt_file_init_shared(&t->file, -1, count_inline);
  snprintf(t->dir, sizeof(t->dir), "%s/rt_test.XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
  if (!mkdtemp(t->dir)) return -1;
  snprintf(t->store, sizeof(t->store), "%s/store", t->dir);
  snprintf(t->image, sizeof(t->image), "%s/image", t->store);
  snprintf(t->mounted, sizeof(t->mounted), "%s/mounted", t->dir);
  snprintf(t->path, sizeof(t->path), "%s/file", t->mounted);
  return rt_pool_open(&t->pool, NULL);
}

static int take_down(void **state) {
  bed *t = *state;
  rt_pool_close(t->pool);
  if (t->file.fd >= 0) close(t->file.fd);
  (void)umount2(t->mounted, MNT_DETACH);
  if (t->loop >= 0) close(t->loop);
  (void)umount2(t->store, MNT_DETACH);
  unlink(t->path);
  (void)rmdir(t->store);
  (void)rmdir(t->mounted);
  (void)rmdir(t->dir);
  test_free(t);
  return 0;
}

static bed *of(void **state) {
  bed *t = *state;
  if (rt_pool_probe(t->pool)) skip();
  return t;
}

static bed *of_disk(void **state) {
  bed *t = of(state);
  if (!make_disk(t)) skip(); /* not root, or a container without loop devices */
  return t;
}

/* ---- batches; each returns the first error and what is in `bytes` ---- */

typedef int (*batch_fn)(bed *t, char *bytes);

static rt_loop *lease(bed *t, rt_kind kind, bool sync) {
  const rt_work work = {kind, sync, PIECES, PIECES * PIECE};
  rt_loop *loop = rt_pool_lease(t->pool, RT_BACKEND_URING, &t->file, &work);
  assert_ptr_not_equal(loop, rt_sync_loop());
  return loop;
}

static int run_pieces(bed *t, rt_kind kind, char *bytes) {
  rt_op ops[PIECES] = {0};
  rt_group g = {0};
  rt_loop *loop = lease(t, kind, false);
  rt_group_init(&g, RT_ALL, NULL, NULL);
  for (unsigned i = 0; i < PIECES; i++) {
    if (kind == RT_READ)
      rt_prep_read(&ops[i], &t->file, bytes + (size_t)i * PIECE, PIECE, (uint64_t)i * PIECE);
    else
      rt_prep_write(&ops[i], &t->file, bytes + (size_t)i * PIECE, PIECE, (uint64_t)i * PIECE);
    assert_int_equal(rt_group_add(&g, &ops[i].c), 0);
  }
  rt_submit_group(loop, &g);
  const int error = rt_wait(loop, &g.c);
  rt_pool_release(t->pool, loop);
  return error;
}

static int read_pieces(bed *t, char *bytes) { return run_pieces(t, RT_READ, bytes); }
static int write_pieces(bed *t, char *bytes) { return run_pieces(t, RT_WRITE, bytes); }

static int write_and_sync(bed *t, char *bytes) {
  rt_op write = {0}, sync = {0};
  rt_loop *loop = lease(t, RT_WRITE, true);
  rt_prep_write(&write, &t->file, bytes, PIECES * PIECE, 0);
  rt_prep_fdatasync(&sync, &t->file);
  rt_order_after(&sync, &write);
  rt_submit(loop, &write);
  rt_submit(loop, &sync);
  const int error = rt_wait(loop, &sync.c);
  rt_pool_release(t->pool, loop);
  return error;
}

static int sync_on_ring(bed *t) {
  rt_op op = {0};
  rt_loop *loop = lease(t, RT_FSYNC, true);
  rt_prep_fsync(&op, &t->file);
  rt_submit(loop, &op);
  const int error = rt_wait(loop, &op.c);
  rt_pool_release(t->pool, loop);
  return error;
}

static const struct {
  const char *name;
  batch_fn run;
} batches[] = {{"reads", read_pieces}, {"writes", write_pieces}, {"a write and its sync", write_and_sync}};

/* ---- write-back errors ---- */

static int sync_by_call(int fd) { return fsync(fd) ? -errno : 0; }

/* Everything written from now on fails to reach the device. */
static int fill_store(const bed *t) {
  char path[96];
  struct statvfs fs;
  snprintf(path, sizeof(path), "%s/filler", t->store);
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  assert_true(fd >= 0);
  assert_int_equal(statvfs(t->store, &fs), 0);
  assert_int_equal(posix_fallocate(fd, 0, (off_t)(fs.f_bavail * fs.f_bsize)), 0);
  return fd;
}

/* A part of the file that the device has no room for: 2 MiB which were not written yet. */
static void write_what_gets_lost(bed *t, unsigned n) {
  static char bytes[2 * MIB];
  rt_op op = {0};
  rt_loop *loop = lease(t, RT_WRITE, false);
  rt_prep_write(&op, &t->file, bytes, sizeof(bytes), (uint64_t)(n + 1) * sizeof(bytes));
  rt_submit(loop, &op);
  assert_int_equal(rt_wait(loop, &op.c), 0); /* in the kernel's cache */
  rt_pool_release(t->pool, loop);
}

static void write_back_errors_are_those_of_the_descriptor(void **state) {
  bed *t = of_disk(state);
  assert_true(mount_disk(t));
  use_descriptor(t, open(t->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const int other = open(t->path, O_RDWR | O_CLOEXEC); /* another process, as far as the kernel is concerned */
  assert_true(other >= 0);
  assert_int_equal(posix_fallocate(t->file.fd, 0, 16 * MIB), 0);
  assert_int_equal(sync_on_ring(t), 0);
  assert_int_equal(sync_by_call(other), 0);
  assert_int_equal(syncfs(t->file.fd), 0); /* the file system's own blocks have their room */
  const int filler = fill_store(t);

  write_what_gets_lost(t, 0);
  assert_int_not_equal(sync_by_call(other), 0); /* it meets the error first */
  const int late = open(t->path, O_RDWR | O_CLOEXEC);
  assert_int_equal(sync_by_call(late), 0); /* what is opened now never hears of it: why rings must not open files */
  assert_int_not_equal(sync_on_ring(t), 0);
  assert_int_equal(sync_on_ring(t), 0); /* once */
  assert_int_equal(sync_by_call(t->file.fd), 0);

  write_what_gets_lost(t, 1);
  assert_int_not_equal(sync_by_call(t->file.fd), 0); /* the other way round */
  assert_int_equal(sync_on_ring(t), 0);
  assert_int_not_equal(sync_by_call(other), 0); /* its own */

  write_what_gets_lost(t, 2);
  rt_pool_trim(t->pool); /* a ring that was made after the error */
  assert_int_not_equal(sync_by_call(other), 0);
  assert_int_not_equal(sync_on_ring(t), 0);
  assert_int_equal(inline_calls, 0);
  close(filler);
  close(late);
  close(other);
}

/* ---- locks ---- */

static bool locked(const char *path) {
  pid_t child = fork();
  if (child == 0) {
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
    _exit(fd >= 0 && fcntl(fd, F_SETLK, &l) == 0 ? 0 : 1);
  }
  int status;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status) == 1;
}

static void locks_stay(void **state) {
  bed *t = of(state);
  char path[96], bytes[PIECES * PIECE] = "", back[PIECES * PIECE];
  snprintf(path, sizeof(path), "%s/file", t->dir);
  use_descriptor(t, open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 10};
  assert_int_equal(fcntl(t->file.fd, F_SETLK, &l), 0);
  fill_buffer(bytes, sizeof(bytes), 0);
  assert_int_equal(write_and_sync(t, bytes), 0);
  assert_true(locked(path));
  assert_int_equal(write_pieces(t, bytes), 0);
  assert_int_equal(read_pieces(t, back), 0);
  assert_filled(back, sizeof(back), 0);
  assert_true(locked(path));
  rt_pool_trim(t->pool);
  assert_true(locked(path));
  assert_int_equal(inline_calls, 0);
  /* so it would show */
  close(open(path, O_RDONLY | O_CLOEXEC));
  assert_false(locked(path));
  unlink(path);
}

/* ---- after close(2) ---- */

static bool unmount_at_once(const bed *t) {
  if (umount2(t->mounted, 0) == 0) return true;
  assert_int_equal(errno, EBUSY);
  assert_int_equal(umount2(t->mounted, MNT_DETACH), 0);
  return false;
}

static void nothing_holds_a_closed_file(void **state) {
  bed *t = of_disk(state);
  char bytes[PIECES * PIECE] = "";
  const char *given = getenv("RT_UNMOUNTS");
  const unsigned times = given ? (unsigned)atoi(given) : iterations(40);
  for (unsigned b = 0; b < COUNT(batches); b++) {
    unsigned busy = 0;
    for (unsigned i = 0; i < times; i++) {
      if (!mount_disk(t)) fail_msg("mount: %s", strerror(errno));
      use_descriptor(t, open(t->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600));
      if (i == 0) assert_int_equal(ftruncate(t->file.fd, (off_t)sizeof(bytes)), 0);
      assert_int_equal(batches[b].run(t, bytes), 0);
      close(t->file.fd);
      t->file.fd = -1;
      if (!unmount_at_once(t)) busy++;
    }
    if (given) print_message("%s: %u of %u busy\n", batches[b].name, busy, times);
    /* What holds it holds it each time. Once in hundreds the worker thread that has made a request known as done has
    ** not let go of the file yet. */
    if (busy * 10 > times) fail_msg("after %s the file system was busy %u times of %u", batches[b].name, busy, times);
  }
  assert_int_equal(inline_calls, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, take_down)
int main(void) {
  const struct CMUnitTest tests[] = {
      T(write_back_errors_are_those_of_the_descriptor),
      T(locks_stay),
      T(nothing_holds_a_closed_file),
  };
  return cmocka_run_group_tests(tests, leave_mount_namespace, NULL);
}
