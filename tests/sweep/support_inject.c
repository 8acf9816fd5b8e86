/*
** support_inject.c - see support_inject.h.
*/
#include "support_inject.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include "runtime/backend.h"

const char *const inject_names[INJECT_KIND_COUNT] = {
    "open",   "read",        "write",      "truncate",  "allocate",   "mmap",
    "lock",   "stat",        "unlink",     "opendir",   "fsync",      "sqlite malloc",
    "malloc", "ring set-up", "ring enter", "ring read", "ring write", "ring fsync"};

static struct {
  bool armed;
  inject_kind kind;
  inject_how how;
  int nth, error, seen, injected;
} I;

void inject_arm(inject_kind kind, int nth, inject_how how, int error) {
  I.kind = kind;
  I.nth = nth;
  I.how = how;
  I.error = error;
  I.seen = I.injected = 0;
  I.armed = true;
}

int inject_off(void) {
  I.armed = false;
  return I.injected;
}

int inject_seen(void) { return I.seen; }

/* Is this call of that kind the one? */
static bool hit(inject_kind kind) {
  if (!I.armed || I.kind != kind) return false;
  const int call = ++I.seen;
  bool now = call >= I.nth;
  if (I.how == INJECT_ONCE || (I.how == INJECT_SHORT && I.error < 100)) now = call == I.nth;
  if (I.how == INJECT_EVERY_OTHER || (I.how == INJECT_SHORT && I.error >= 100)) now = now && (call - I.nth) % 2 == 0;
  I.injected += now;
  return now;
}

static bool fails(inject_kind kind) {
  if (!hit(kind)) return false;
  errno = I.error;
  return true;
}

static size_t shorter(size_t bytes) {
  switch (I.error % 100) {
  case 0: return 1;
  case 1: return bytes / 2;
  case 2: return bytes - 1;
  case 3: return bytes > 512 ? 512 : bytes - 1;
  default: return bytes > 4096 ? bytes - 4096 : bytes / 3 + 1;
  }
}

/* ---- os_unix.c ---- */

static int my_open(const char *path, int flags, int mode) {
  if (fails(INJECT_OPEN)) return -1;
  return open(path, flags, mode);
}

static ssize_t my_pread(int fd, void *data, size_t bytes, off_t offset) {
  if (!I.armed || I.kind != INJECT_READ || bytes < 2 || !hit(INJECT_READ)) return pread(fd, data, bytes, offset);
  if (I.how == INJECT_SHORT) return pread(fd, data, shorter(bytes), offset);
  errno = I.error;
  return -1;
}

static ssize_t my_pwrite(int fd, const void *data, size_t bytes, off_t offset) {
  if (!I.armed || I.kind != INJECT_WRITE || bytes < 2 || !hit(INJECT_WRITE)) return pwrite(fd, data, bytes, offset);
  if (I.how == INJECT_SHORT) return pwrite(fd, data, shorter(bytes), offset);
  errno = I.error;
  return -1;
}

static int my_ftruncate(int fd, off_t size) { return fails(INJECT_TRUNCATE) ? -1 : ftruncate(fd, size); }
static int my_fallocate(int fd, off_t offset, off_t bytes) {
  return hit(INJECT_ALLOCATE) ? I.error : posix_fallocate(fd, offset, bytes); /* it returns the error */
}
static void *my_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset) {
  return fails(INJECT_MMAP) ? MAP_FAILED : mmap(at, bytes, protection, flags, fd, offset);
}
static int my_stat(const char *path, struct stat *st) { return fails(INJECT_STAT) ? -1 : stat(path, st); }
static int my_fstat(int fd, struct stat *st) { return fails(INJECT_STAT) ? -1 : fstat(fd, st); }
static int my_unlink(const char *path) { return fails(INJECT_UNLINK) ? -1 : unlink(path); }

/* Taking a lock may fail; giving it back cannot. */
static int my_fcntl(int fd, int command, void *arg) {
  const bool taking = command == F_SETLK && ((struct flock *)arg)->l_type != F_UNLCK;
  if (taking && fails(INJECT_LOCK)) return -1;
  return fcntl(fd, command, arg);
}

static int (*real_open_directory)(const char *, int *);
static int my_open_directory(const char *path, int *fd) {
  if (fails(INJECT_OPENDIR)) return SQLITE_CANTOPEN;
  return real_open_directory(path, fd);
}

static void replace_system_calls(void) {
  sqlite3_vfs *vfs = sqlite3_vfs_find("unix");
  real_open_directory = (int (*)(const char *, int *))vfs->xGetSystemCall(vfs, "openDirectory");
  const struct {
    const char *name;
    sqlite3_syscall_ptr call;
  } calls[] = {
      {"open", (sqlite3_syscall_ptr)my_open},
      {"pread", (sqlite3_syscall_ptr)my_pread},
      {"pread64", (sqlite3_syscall_ptr)my_pread},
      {"pwrite", (sqlite3_syscall_ptr)my_pwrite},
      {"pwrite64", (sqlite3_syscall_ptr)my_pwrite},
      {"ftruncate", (sqlite3_syscall_ptr)my_ftruncate},
      {"fallocate", (sqlite3_syscall_ptr)my_fallocate},
      {"mmap", (sqlite3_syscall_ptr)my_mmap},
      {"stat", (sqlite3_syscall_ptr)my_stat},
      {"fstat", (sqlite3_syscall_ptr)my_fstat},
      {"unlink", (sqlite3_syscall_ptr)my_unlink},
      {"fcntl", (sqlite3_syscall_ptr)my_fcntl},
      {"openDirectory", (sqlite3_syscall_ptr)my_open_directory},
  };
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++)
    (void)vfs->xSetSystemCall(vfs, calls[i].name, calls[i].call); /* some are not in every build's table */
}

/* os_unix.c has no table entry for these: the program's own definition comes before libc's. */
__attribute__((visibility("default"))) int fsync(int fd) {
  return fails(INJECT_FSYNC) ? -1 : (int)syscall(SYS_fsync, fd);
}
__attribute__((visibility("default"))) int fdatasync(int fildes) {
  return fails(INJECT_FSYNC) ? -1 : (int)syscall(SYS_fdatasync, fildes);
}

/* ---- memory ---- */

static sqlite3_mem_methods real_memory;

static void *my_sqlite_malloc(int bytes) { return hit(INJECT_SQLITE_MALLOC) ? NULL : real_memory.xMalloc(bytes); }
static void *my_sqlite_realloc(void *p, int bytes) {
  return hit(INJECT_SQLITE_MALLOC) ? NULL : real_memory.xRealloc(p, bytes);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && defined(__GLIBC__)
/* Calls that come from this program's own code, which is the VFS and the runtime linked into it, and never libsqlite3's
** or libc's. */
extern void *__libc_malloc(size_t bytes);
extern char __executable_start, etext;
__attribute__((visibility("default"))) void *malloc(size_t size) {
  const char *from = __builtin_return_address(0);
  if (I.armed && from >= &__executable_start && from < &etext && hit(INJECT_MALLOC)) {
    errno = ENOMEM;
    return NULL;
  }
  return __libc_malloc(size);
}
#endif

/* ---- rings ---- */

#define MAX_RINGS 64
static struct io_uring *rings[MAX_RINGS];
static int ring_count;
static const rt__calls *kernel;

/* Requests whose results are to be replaced. */
static struct {
  uint64_t user_data;
  int result;
} replaced[64];
static int replaced_count;

static int my_uring_setup(unsigned entries, struct io_uring *ring, struct io_uring_params *params) {
  if (hit(INJECT_RING_SETUP)) return -I.error;
  int rc = kernel->uring_setup(entries, ring, params);
  for (int i = 0; rc >= 0 && i <= ring_count && i < MAX_RINGS; i++) {
    if (i < ring_count && rings[i] != ring) continue;
    rings[i] = ring;
    if (i == ring_count) ring_count++;
    break;
  }
  return rc;
}

/* The kernel will answer EBADF, and that is replaced by the wanted error. */
static void spoil(struct io_uring_sqe *sqe, int error) {
  if (replaced_count == (int)(sizeof replaced / sizeof replaced[0])) abort();
  replaced[replaced_count].user_data = sqe->user_data;
  replaced[replaced_count++].result = -error;
  sqe->fd = 1 << 20;
}

static void look_at_sqe(struct io_uring_sqe *sqe, bool *cancel_next) {
  const bool cancel = *cancel_next;
  const bool linked = (sqe->flags & IOSQE_IO_LINK) != 0;
  *cancel_next = false;
  inject_kind kind;
  switch (sqe->opcode) {
  case IORING_OP_READ:
  case IORING_OP_READV: kind = INJECT_RING_READ; break;
  case IORING_OP_WRITE:
  case IORING_OP_WRITEV: kind = INJECT_RING_WRITE; break;
  case IORING_OP_FSYNC: kind = INJECT_RING_FSYNC; break;
  default: return;
  }
  if (cancel) {
    spoil(sqe, ECANCELED);
    *cancel_next = linked;
  } else if (hit(kind)) {
    /* A short transfer breaks the link as well, but only if it is short for the kernel too. */
    *cancel_next = linked && I.how == INJECT_SHORT;
    if (I.how != INJECT_SHORT)
      spoil(sqe, I.error);
    else if (sqe->len > 1 && (sqe->opcode == IORING_OP_WRITE || sqe->opcode == IORING_OP_READ))
      sqe->len = (uint32_t)shorter(sqe->len);
  }
}

static void replace_results(struct io_uring *ring) {
  struct io_uring_cq *cq = &ring->cq;
  const unsigned tail = __atomic_load_n(cq->ktail, __ATOMIC_ACQUIRE), mask = *cq->kring_mask;
  for (unsigned i = *cq->khead; i != tail; i++) {
    struct io_uring_cqe *cqe = &cq->cqes[i & mask];
    for (int k = 0; k < replaced_count; k++) {
      if (replaced[k].user_data != cqe->user_data || cqe->res >= 0) continue;
      cqe->res = replaced[k].result;
      replaced[k] = replaced[--replaced_count];
      break;
    }
  }
}

static int my_uring_enter(int fd, unsigned submit, unsigned wait_nr, unsigned flags, void *arg, size_t size) {
  if (hit(INJECT_RING_ENTER)) return -I.error;
  struct io_uring *ring = NULL;
  for (int i = 0; i < ring_count; i++)
    if (rings[i]->ring_fd == fd) ring = rings[i];
  if (ring != NULL && submit > 0 && I.armed) {
    const unsigned head = *ring->sq.khead, mask = *ring->sq.kring_mask;
    bool cancel_next = false;
    for (unsigned i = 0; i < submit; i++) look_at_sqe(&ring->sq.sqes[ring->sq.array[(head + i) & mask]], &cancel_next);
  }
  int rc = kernel->uring_enter(fd, submit, wait_nr, flags, arg, size);
  if (ring != NULL && replaced_count > 0) replace_results(ring);
  return rc;
}

/* ---- all of it ---- */

extern bool uringvfs__trust_any_parent; /* vfs/internal.h: with calls replaced, rings would not be used */

void inject_install(void) {
  uringvfs__trust_any_parent = true;
  static rt__calls calls;
  sqlite3_mem_methods memory;
  sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory);
  memory = real_memory;
  memory.xMalloc = my_sqlite_malloc;
  memory.xRealloc = my_sqlite_realloc;
  sqlite3_config(SQLITE_CONFIG_MALLOC, &memory);
  sqlite3_initialize();
  replace_system_calls();
  kernel = rt__calls_now;
  calls = *kernel;
  calls.uring_setup = my_uring_setup;
  calls.uring_enter = my_uring_enter;
  rt__calls_now = &calls;
}
