/*
** support_machine.c - see support_machine.h.
*/
#include "support_machine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((uint64_t)1 << 20)

/* Superblocks of btrfs (4 KiB) and ext4 are checksummed and overwritten in place: torn, they are not mounted. */
#define EXT4 "mkfs.ext4 -q -F -J size=4 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0"
#define XFS  "mkfs.xfs -q -f -K"
static const file_system file_systems[] = {
    {"ext4", 64 * MIB, EXT4, EXT4 " -O ^metadata_csum"},
    {"xfs", 300 * MIB, XFS, XFS},
    {"btrfs", 128 * MIB, "mkfs.btrfs -q -f -K", NULL},
};

#define SBIN "PATH=\"$PATH:/usr/sbin:/sbin\"; "

const file_system *machine_file_system(const char *name) {
  for (size_t i = 0; i < sizeof file_systems / sizeof *file_systems; i++)
    if (strcmp(file_systems[i].name, name) == 0) return &file_systems[i];
  return NULL;
}

static int outside = -1; /* the mount namespace that this process came from */

/* ---- what it takes ---- */

/* system() keeps Ctrl-C from this process while it waits: take it from how the command ended. */
static bool shell(const char *command) {
  const int status = system(command);
  if (WIFSIGNALED(status) || WEXITSTATUS(status) == 128 + SIGINT) raise(SIGINT);
  return status == 0;
}

static bool kernel_knows(const char *name) {
  char line[128], command[128];
  snprintf(command, sizeof command, SBIN "modprobe -q %s 2>/dev/null", name);
  for (int attempt = 0; attempt < 2; attempt++) {
    bool known = false;
    FILE *f = fopen("/proc/filesystems", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
      line[strcspn(line, "\n")] = 0;
      if (line[0] == '\t' && strcmp(line + 1, name) == 0) known = true;
    }
    if (f != NULL) fclose(f);
    if (known) return true;
    if (attempt == 0) (void)shell(command);
  }
  return false;
}

/* In a container there may be the control and no device. */
static const char *loop_missing(void) {
  static char text[64];
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) return "there is no /dev/loop-control";
  const int number = ioctl(control, LOOP_CTL_GET_FREE);
  close(control);
  snprintf(text, sizeof text, "/dev/loop%d", number);
  if (access(text, R_OK | W_OK) == 0) return "";
  snprintf(text, sizeof text, "there is no /dev/loop%d, the free loop device", number);
  return text;
}

const char *machine_missing(const char *const *names, int count, const char *disk_program) {
  static char text[256];
  char command[128];
  if (geteuid() != 0) return "this needs root";
  if (access(disk_program, X_OK) != 0) return "libfuse3-dev was missing when the tests were built (make deps)";
  if (access("/dev/fuse", R_OK | W_OK) != 0) return "there is no /dev/fuse";
  if (loop_missing()[0] != 0) return loop_missing();
  for (int i = 0; i < count; i++) {
    snprintf(text, sizeof text, "there is no mkfs.%s (make deps)", names[i]);
    snprintf(command, sizeof command, SBIN "command -v mkfs.%s >/dev/null", names[i]);
    if (!shell(command)) return text;
    snprintf(text, sizeof text, "this kernel has no %s", names[i]);
    if (!kernel_knows(names[i])) return text;
  }
  outside = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
  if (outside < 0 || unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
    snprintf(text, sizeof text, "this root may not mount: %s", strerror(errno));
    return text;
  }
  return "";
}

/* ---- the disk ---- */

static bool complain(const machine *m, const char *what) {
  fprintf(stderr, "powercut: %s: %s: %s\n", m->fs->name, what, strerror(errno));
  return false;
}

/* Mounted here, in our namespace, and served from outside. */
static bool start_disk(machine *m, const char *program, const char *log_path) {
  char mountpoint[256], node[280], options[100], inherited[32], log[PATH_MAX];
  struct stat st;
  if (realpath(log_path, log) == NULL)
    return complain(m, log_path); /* the other namespace has another working directory */
  snprintf(mountpoint, sizeof mountpoint, "%s/view", m->directory);
  snprintf(node, sizeof node, "%s/disk", mountpoint);
  if (mkdir(mountpoint, 0700) != 0 && errno != EEXIST) return complain(m, mountpoint);
  const int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
  snprintf(inherited, sizeof inherited, "/dev/fd/%d", fd);
  if (fd < 0 || mount("powercut", mountpoint, "fuse", MS_NOSUID | MS_NODEV, options) != 0)
    return complain(m, "mounting /dev/fuse");
  m->disk_mounted = true;
  m->disk = fork();
  if (m->disk == 0) {
    if (setns(outside, CLONE_NEWNS) == 0 && fcntl(fd, F_SETFD, 0) == 0)
      execl(program, program, log, inherited, (char *)NULL);
    perror(program);
    _exit(127);
  }
  close(fd); /* now a disk that dies lets nobody wait */
  return stat(node, &st) == 0 || complain(m, "the disk did not start");
}

static bool attach_loop(machine *m) {
  char node[280];
  struct loop_config config = {.block_size = (uint32_t)m->log.head->sector_bytes, .info.lo_flags = LO_FLAGS_AUTOCLEAR};
  snprintf(node, sizeof node, "%s/view/disk", m->directory);
  int file = open(node, O_RDWR | O_CLOEXEC);
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  config.fd = (uint32_t)file;
  /* Someone else may take the free one first. */
  for (int attempt = 0; attempt < 50 && file >= 0 && control >= 0 && m->loop < 0; attempt++) {
    const int number = ioctl(control, LOOP_CTL_GET_FREE);
    snprintf(m->device, sizeof m->device, "/dev/loop%d", number);
    if (number < 0 || (m->loop = open(m->device, O_RDWR | O_CLOEXEC)) < 0) break;
    if (ioctl(m->loop, LOOP_CONFIGURE, &config) == 0) break;
    const int error = errno;
    close(m->loop);
    m->loop = -1;
    errno = error;
    if (error != EBUSY) break;
  }
  if (m->loop < 0) (void)complain(m, m->device[0] != 0 ? m->device : "no loop device");
  if (file >= 0) close(file);
  if (control >= 0) close(control);
  return m->loop >= 0;
}

bool machine_start(machine *m, const char *disk_program, const char *log_path) {
  m->loop = -1;
  snprintf(m->mount, sizeof m->mount, "%s/mount", m->directory);
  if (mkdir(m->mount, 0700) != 0 && errno != EEXIST) return complain(m, m->mount);
  return start_disk(m, disk_program, log_path) && attach_loop(m);
}

bool machine_make_fs(machine *m) {
  const char *mkfs = m->log.head->sector_bytes == 512 ? m->fs->mkfs_512 : m->fs->mkfs;
  char command[700];
  snprintf(command, sizeof command, SBIN "%s %s >%s/mkfs 2>&1 </dev/null || { cat %s/mkfs >&2; exit 1; }", mkfs,
           m->device, m->directory, m->directory);
  return shell(command);
}

bool machine_mount(machine *m) {
  if (mount(m->device, m->mount, m->fs->name, MS_NOATIME, NULL) != 0) return false;
  return m->mounted = true;
}

bool machine_unmount(machine *m) {
  if (!m->mounted) return true;
  /* The rings of a writer that was killed are taken down behind its back. */
  for (int i = 0; i < 6000 && (m->mounted = umount2(m->mount, 0) != 0) && errno == EBUSY; i++) usleep(10000);
  return !m->mounted || complain(m, "umount");
}

bool machine_cut(machine *m, const disk_cut *cut) {
  char node[280], text[64];
  /* Nothing that the kernel has cached of the last image may be seen in this one. */
  if (ioctl(m->loop, BLKFLSBUF) != 0) return complain(m, "BLKFLSBUF");
  snprintf(node, sizeof node, "%s/view/cut", m->directory);
  cut_print(cut, text, sizeof text);
  int fd = open(node, O_WRONLY | O_CLOEXEC);
  const bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  if (!done) (void)complain(m, node);
  if (fd >= 0) close(fd);
  return done;
}

void machine_stop(machine *m) {
  char mountpoint[256];
  snprintf(mountpoint, sizeof mountpoint, "%s/view", m->directory);
  if (!machine_unmount(m)) (void)umount2(m->mount, MNT_DETACH);
  m->mounted = false;
  if (m->loop >= 0) close(m->loop);
  m->loop = -1;
  if (m->disk_mounted) (void)umount2(mountpoint, MNT_DETACH);
  m->disk_mounted = false;
  if (m->disk > 0) waitpid(m->disk, NULL, 0);
  m->disk = 0;
}
