/*
** machine.c - what is asked of the kernel: page cache, read-ahead of the device, memory limit, facts for the report.
**
** What set_read_ahead() and limit_memory() change is changed back by undo_machine().
*/
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>

static volatile sig_atomic_t interrupted, child;
static char queue_file[600]; /* a changed read_ahead_kb, and what it was */
static char queue_before[16];
static char cgroup_dir[600];

static bool write_text(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = write(fd, text, strlen(text));
  close(fd);
  return n == (ssize_t)strlen(text);
}

static bool read_text(const char *path, char *text, size_t size) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, text, size - 1);
  close(fd);
  if (n < 0) return false;
  text[n] = 0;
  text[strcspn(text, "\n")] = 0;
  return true;
}

/* ---- Child processes ------------------------------------------------------------------------------------------- */

void *share(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) die("out of memory");
  return p;
}

void unshare_memory(void *memory, size_t bytes) { munmap(memory, bytes); }

static void join_cgroup(void) {
  char path[700];
  char pid[32];
  snprintf(path, sizeof path, "%s/cgroup.procs", cgroup_dir);
  snprintf(pid, sizeof pid, "%d", (int)getpid());
  if (!write_text(path, pid)) die("%s: %s", path, strerror(errno));
}

static void interrupt(int signal_number) {
  (void)signal_number;
  interrupted = 1;
  if (child > 0) kill(child, SIGKILL);
}

void handle_signals(void) {
  signal(SIGINT, interrupt);
  signal(SIGTERM, interrupt);
}

__attribute__((noreturn)) static void be_child(void (*f)(void *), void *arg, bool cgroup) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGINT, SIG_DFL);
  signal(SIGTERM, SIG_DFL);
  if (cgroup && cgroup_dir[0]) join_cgroup();
  f(arg);
  fflush(NULL);
  _exit(0);
}

void in_child(void (*f)(void *), void *arg, bool cgroup) {
  int status;
  fflush(NULL);
  pid_t pid = fork();
  if (pid < 0) die("fork: %s", strerror(errno));
  if (pid == 0) be_child(f, arg, cgroup);
  child = pid;
  if (interrupted) kill(pid, SIGKILL);
  while (waitpid(pid, &status, 0) < 0)
    if (errno != EINTR) die("waitpid: %s", strerror(errno));
  child = 0;
  if (interrupted) die("interrupted");
  if (WIFSIGNALED(status)) die("a run was ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  if (status != 0) exit(1); /* it has said why */
}

/* ---- Page cache ------------------------------------------------------------------------------------------------ */

static int open_file(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) die("%s: %s", path, strerror(errno));
  return fd;
}

static size_t file_size(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) die("fstat: %s", strerror(errno));
  return (size_t)st.st_size;
}

static size_t resident_pages(int fd, const char *path) {
  size_t bytes = file_size(fd);
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  size_t pages = (bytes + page - 1) / page;
  if (pages == 0) return 0;
  void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
  unsigned char *in_core = malloc(pages);
  if (map == MAP_FAILED || !in_core || mincore(map, bytes, in_core) != 0) die("%s: mincore: %s", path, strerror(errno));
  size_t resident = 0;
  for (size_t i = 0; i < pages; i++) resident += in_core[i] & 1;
  munmap(map, bytes);
  free(in_core);
  return resident;
}

void drop_cache(const char *path) {
  int fd = open_file(path);
  size_t resident = 0;
  /* A page that some processor has just touched may be on a list of its own, and stay the first time. */
  for (int i = 0; i < 10; i++) {
    if (fsync(fd) != 0) die("%s: fsync: %s", path, strerror(errno));
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    resident = resident_pages(fd, path);
    if (resident == 0) break;
    usleep(2000);
  }
  if (resident) die("%s: %zu pages stay in memory: nothing here can be measured cold", path, resident);
  close(fd);
}

void fill_cache(const char *path) {
  enum { CHUNK = 1 << 20 };
  int fd = open_file(path);
  char *buffer = malloc(CHUNK);
  if (!buffer) die("out of memory");
  ssize_t n;
  while ((n = read(fd, buffer, CHUNK)) > 0) continue;
  if (n < 0) die("%s: read: %s", path, strerror(errno));
  free(buffer);
  close(fd);
}

/* ---- Read-ahead of the device ---------------------------------------------------------------------------------- */

/* The directory of the block device in /sys; of the whole disk where it is a partition. */
static bool device_dir(const char *dir, char *path, size_t size) {
  static const char *const candidate[] = {"", "/.."};
  struct stat st;
  if (stat(dir, &st) != 0) die("%s: %s", dir, strerror(errno));
  for (int i = 0; i < 2; i++) {
    char queue[600];
    snprintf(path, size, "/sys/dev/block/%u:%u%s", major(st.st_dev), minor(st.st_dev), candidate[i]);
    snprintf(queue, sizeof queue, "%s/queue", path);
    if (access(queue, F_OK) == 0) return true;
  }
  return false;
}

int get_read_ahead(const char *dir) {
  char device[500];
  char path[600];
  char text[16];
  if (!device_dir(dir, device, sizeof device)) return -1;
  snprintf(path, sizeof path, "%s/queue/read_ahead_kb", device);
  return read_text(path, text, sizeof text) ? atoi(text) : -1;
}

void set_read_ahead(const char *dir, int kb) {
  char device[500];
  char path[600];
  char text[16];
  if (!device_dir(dir, device, sizeof device)) die("%s: its device has no queue with a read_ahead_kb", dir);
  snprintf(path, sizeof path, "%s/loop/dio", device);
  if (!read_text(path, text, sizeof text))
    die("%s is not on a loop device, and the queue of a disk is everybody's: demo/bench.sh makes a loop device", dir);
  if (atoi(text) != 1) die("the loop device of %s caches its file (losetup --direct-io=on is missing)", dir);
  snprintf(path, sizeof path, "%s/queue/read_ahead_kb", device);
  if (!queue_file[0] && read_text(path, queue_before, sizeof queue_before))
    snprintf(queue_file, sizeof queue_file, "%s", path);
  snprintf(text, sizeof text, "%d", kb);
  if (!write_text(path, text)) die("%s: %s", path, strerror(errno));
  if (get_read_ahead(dir) != kb) die("%s does not take %d", path, kb);
}

/* ---- Memory limit ---------------------------------------------------------------------------------------------- */

/* Where cgroups with a memory limit can be made: version 1 has a mount for it, version 2 names its controllers. */
static bool memory_controller(char *path, size_t size, int *version) {
  FILE *mounts = setmntent("/proc/self/mounts", "r");
  bool found = false;
  for (struct mntent *m; mounts && !found && (m = getmntent(mounts));) {
    char file[600];
    char controllers[300];
    snprintf(path, size, "%s", m->mnt_dir);
    snprintf(file, sizeof file, "%.500s/cgroup.controllers", m->mnt_dir);
    *version = strcmp(m->mnt_type, "cgroup2") == 0 ? 2 : 1;
    if (*version == 2)
      found = read_text(file, controllers, sizeof controllers) && strstr(controllers, "memory");
    else
      found = strcmp(m->mnt_type, "cgroup") == 0 && hasmntopt(m, "memory");
  }
  if (mounts) endmntent(mounts);
  return found;
}

void limit_memory(int mb) {
  char parent[400];
  char path[700];
  char bytes[32];
  int version = 0;
  if (!memory_controller(parent, sizeof parent, &version)) die("--memory: no memory controller of cgroups is mounted");
  if (version == 2) {
    snprintf(path, sizeof path, "%s/cgroup.subtree_control", parent);
    if (!write_text(path, "+memory")) die("--memory: %s: %s", path, strerror(errno));
  }
  char dir[sizeof cgroup_dir];
  snprintf(dir, sizeof dir, "%s/uringvfs-bench.%d", parent, (int)getpid());
  if (mkdir(dir, 0755) != 0) die("--memory: %s: %s", dir, strerror(errno));
  memcpy(cgroup_dir, dir, sizeof dir);
  snprintf(path, sizeof path, "%s/%s", cgroup_dir, version == 2 ? "memory.max" : "memory.limit_in_bytes");
  snprintf(bytes, sizeof bytes, "%lld", 1048576LL * mb);
  if (!write_text(path, bytes)) die("--memory: %s: %s", path, strerror(errno));
}

bool memory_limited(void) { return cgroup_dir[0] != 0; }

void undo_machine(void) {
  if (queue_file[0]) write_text(queue_file, queue_before);
  if (cgroup_dir[0]) rmdir(cgroup_dir);
}

/* ---- Facts ----------------------------------------------------------------------------------------------------- */

/* The mount that the directory is on: the longest mount point that begins its path. */
static void describe_mount(machine *m, const char *dir) {
  char *real = realpath(dir, NULL);
  FILE *mounts = setmntent("/proc/self/mounts", "r");
  size_t longest = 0;
  for (struct mntent *e; mounts && real && (e = getmntent(mounts));) {
    size_t length = strlen(e->mnt_dir);
    bool root = length == 1;
    if (strncmp(real, e->mnt_dir, length) != 0 || (!root && real[length] != '/' && real[length] != 0)) continue;
    if (length < longest) continue;
    longest = length;
    snprintf(m->filesystem, sizeof m->filesystem, "%s", e->mnt_type);
    snprintf(m->device, sizeof m->device, "%s", e->mnt_fsname);
  }
  if (mounts) endmntent(mounts);
  free(real);
}

void describe_machine(machine *m, const char *dir) {
  struct utsname u;
  time_t now = time(NULL);
  uname(&u);
  snprintf(m->kernel, sizeof m->kernel, "%s %s %s", u.sysname, u.release, u.machine);
  strftime(m->date, sizeof m->date, "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
  m->cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
  m->memory_mb = (int)(sysconf(_SC_PHYS_PAGES) / 1024 * sysconf(_SC_PAGESIZE) / 1024);
  m->read_ahead_kb = get_read_ahead(dir);
  if (getloadavg(&m->load, 1) != 1) m->load = -1;
  describe_mount(m, dir);
}
