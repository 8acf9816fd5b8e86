/*
** prog_faultfs.c - a file system that fails, cuts short or counts what it is told to: prog_faultfs BACKING MOUNTPOINT
** direct|writeback
**
** Everything is passed on to the files below BACKING. One rule at a time, set by writing a line to MOUNTPOINT/.control:
**
**     op=write match=-wal nth=1 times=0 errno=5     the first and every later write to a file whose name ends in -wal
**                                                   answers EIO
**     op=read match=.db nth=3 times=1 short=100     the third read of such a file gives at most 100 bytes
**     op=write match=-wal zero=1                    nothing is written, and no error given
**     clear
**
** op is read, write, fsync, truncate, open, unlink or any. Reading .control gives the number of hits. "min" (bytes)
** leaves smaller transfers alone.
**
** direct: files are opened with direct I/O (but for -shm, which is mapped), so that every read and write of the kernel
** arrives here and its answer goes back as it is. writeback: the kernel caches writes and reports their failure at
** fsync, as a disk's are.
**
** One thread. Ends when it is unmounted.
*/
#define FUSE_USE_VERSION 35

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *backing;
static bool writeback;

static struct {
  bool armed;
  char op[16], match[64];
  long nth, times, error, cut, zero, minimum, hits;
} rule;

#define CONTROL          "/.control"
#define IS_CONTROL(path) ((path) != NULL && strcmp(path, CONTROL) == 0)

static void below(char *out, size_t size, const char *path) { snprintf(out, size, "%s%s", backing, path); }

static bool ends_with(const char *path, const char *end) {
  size_t n = strlen(path), m = strlen(end);
  return n >= m && strcmp(path + n - m, end) == 0;
}

#define NOTHING (-1000000L)

/* 0: go on; NOTHING: do nothing, successfully; negative: the answer; positive: at most so many bytes. */
static long hit(const char *op, const char *path, long size) {
  if (!rule.armed || path == NULL || !ends_with(path, rule.match)) return 0;
  if (strcmp(rule.op, "any") != 0 && strcmp(rule.op, op) != 0) return 0;
  if (size < rule.minimum) return 0;
  if (rule.nth > 1) {
    rule.nth--;
    return 0;
  }
  if (rule.times > 0 && rule.hits >= rule.times) return 0;
  if (rule.cut > 0 && size <= rule.cut) return 0;
  rule.hits++;
  return rule.zero ? NOTHING : rule.cut > 0 ? rule.cut : -rule.error;
}

static void command(const char *text, size_t size) {
  char line[256], *save = NULL;
  snprintf(line, sizeof line, "%.*s", (int)size, text);
  memset(&rule, 0, sizeof rule);
  rule.nth = 1;
  for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
    char *value = strchr(word, '=');
    if (!value) continue;
    *value++ = 0;
    rule.armed = true;
    if (!strcmp(word, "op")) snprintf(rule.op, sizeof rule.op, "%s", value);
    if (!strcmp(word, "match")) snprintf(rule.match, sizeof rule.match, "%s", value);
    if (!strcmp(word, "nth")) rule.nth = atol(value);
    if (!strcmp(word, "times")) rule.times = atol(value);
    if (!strcmp(word, "errno")) rule.error = atol(value);
    if (!strcmp(word, "short")) rule.cut = atol(value);
    if (!strcmp(word, "zero")) rule.zero = atol(value);
    if (!strcmp(word, "min")) rule.minimum = atol(value);
  }
}

#define RESULT(expression) ((expression) < 0 ? -errno : 0)

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *fi) {
  char real[4096];
  if (IS_CONTROL(path)) {
    memset(st, 0, sizeof *st);
    st->st_mode = S_IFREG | 0666;
    st->st_nlink = 1;
    st->st_size = 32;
    return 0;
  }
  if (fi && (long)fi->fh > 0) return RESULT(fstat((int)fi->fh, st));
  if (!path) return -ENOENT;
  below(real, sizeof real, path);
  return RESULT(lstat(real, st));
}

static int open_real(const char *path, int flags, mode_t mode, struct fuse_file_info *fi) {
  char real[4096];
  below(real, sizeof real, path);
  /* the kernel's write-back reads pages to complete them, and never appends */
  if (writeback) flags = (flags & ~(O_ACCMODE | O_APPEND)) | O_RDWR;
  int fd = open(real, flags & ~(O_EXCL | O_NOFOLLOW), mode);
  if (fd < 0 && writeback) fd = open(real, O_RDONLY, mode);
  if (fd < 0) return -errno;
  fi->fh = (uint64_t)fd;
  fi->direct_io = !writeback && !ends_with(path, "-shm");
  fi->keep_cache = writeback;
  return 0;
}

static int fs_open(const char *path, struct fuse_file_info *fi) {
  if (IS_CONTROL(path)) {
    fi->fh = 0;
    fi->direct_io = 1;
    return 0;
  }
  long h = hit("open", path, 0);
  return h < 0 ? (int)h : open_real(path, fi->flags & ~O_CREAT, 0, fi);
}

static int fs_create(const char *path, mode_t mode, struct fuse_file_info *fi) {
  long h = hit("open", path, 0);
  if (h < 0) return (int)h;
  int rc = open_real(path, fi->flags | O_CREAT, mode, fi);
  if (rc == 0) {
    struct fuse_context *c = fuse_get_context();
    if (fchown((int)fi->fh, c->uid, c->gid) != 0) rc = 0;
  }
  return rc;
}

static int fs_read(const char *path, char *buf, size_t size, off_t offset, struct fuse_file_info *fi) {
  if (IS_CONTROL(path)) {
    char text[32];
    int n = snprintf(text, sizeof text, "%ld\n", rule.hits);
    if (offset >= n) return 0;
    memcpy(buf, text + offset, (size_t)(n - offset));
    return n - (int)offset;
  }
  long h = hit("read", path, (long)size);
  if (h == NOTHING) return 0;
  if (h < 0) return (int)h;
  if (h > 0) size = (size_t)h;
  ssize_t n = pread((int)fi->fh, buf, size, offset);
  return n < 0 ? -errno : (int)n;
}

static int fs_write(const char *path, const char *buf, size_t size, off_t offset, struct fuse_file_info *fi) {
  if (IS_CONTROL(path)) {
    command(buf, size);
    return (int)size;
  }
  long h = hit("write", path, (long)size);
  if (h == NOTHING) return 0;
  if (h < 0) return (int)h;
  if (h > 0) size = (size_t)h;
  ssize_t n = pwrite((int)fi->fh, buf, size, offset);
  return n < 0 ? -errno : (int)n;
}

static int fs_truncate(const char *path, off_t size, struct fuse_file_info *fi) {
  char real[4096];
  if (IS_CONTROL(path)) return 0;
  long h = hit("truncate", path, 0);
  if (h < 0) return (int)h;
  if (fi) return RESULT(ftruncate((int)fi->fh, size));
  below(real, sizeof real, path);
  return RESULT(truncate(real, size));
}

static int fs_fsync(const char *path, int data_only, struct fuse_file_info *fi) {
  (void)data_only;
  (void)fi;
  long h = hit("fsync", path, 0);
  return h < 0 ? (int)h : 0; /* the backing files need no durability */
}

static int fs_fsyncdir(const char *path, int data_only, struct fuse_file_info *fi) {
  (void)path;
  (void)data_only;
  (void)fi;
  return 0;
}

static int fs_flush(const char *path, struct fuse_file_info *fi) {
  (void)path;
  (void)fi;
  return 0;
}

static int fs_release(const char *path, struct fuse_file_info *fi) {
  if (!IS_CONTROL(path)) close((int)fi->fh);
  return 0;
}

static int fs_unlink(const char *path) {
  char real[4096];
  long h = hit("unlink", path, 0);
  if (h < 0) return (int)h;
  below(real, sizeof real, path);
  return RESULT(unlink(real));
}

static int fs_mkdir(const char *path, mode_t mode) {
  char real[4096];
  below(real, sizeof real, path);
  return RESULT(mkdir(real, mode));
}

static int fs_rmdir(const char *path) {
  char real[4096];
  below(real, sizeof real, path);
  return RESULT(rmdir(real));
}

static int fs_rename(const char *from, const char *to, unsigned flags) {
  char real_from[4096], real_to[4096];
  if (flags) return -EINVAL;
  below(real_from, sizeof real_from, from);
  below(real_to, sizeof real_to, to);
  return RESULT(rename(real_from, real_to));
}

static int fs_chmod(const char *path, mode_t mode, struct fuse_file_info *fi) {
  char real[4096];
  (void)fi;
  below(real, sizeof real, path);
  return RESULT(chmod(real, mode));
}

static int fs_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi) {
  char real[4096];
  (void)fi;
  below(real, sizeof real, path);
  return RESULT(lchown(real, uid, gid));
}

static int fs_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *fi) {
  char real[4096];
  (void)fi;
  below(real, sizeof real, path);
  return RESULT(utimensat(AT_FDCWD, real, times, AT_SYMLINK_NOFOLLOW));
}

static int fs_statfs(const char *path, struct statvfs *st) {
  (void)path;
  return RESULT(statvfs(backing, st));
}

static int fs_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *fi,
                      enum fuse_readdir_flags flags) {
  char real[4096];
  (void)offset;
  (void)fi;
  (void)flags;
  below(real, sizeof real, path);
  DIR *d = opendir(real);
  if (!d) return -errno;
  for (struct dirent *e; (e = readdir(d));) fill(buf, e->d_name, NULL, 0, 0);
  closedir(d);
  return 0;
}

static void *fs_init(struct fuse_conn_info *connection, struct fuse_config *config) {
  config->hard_remove = 1;
  config->use_ino = 1;
  config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
  /* With it the kernel turns every short write of io_uring into EIO by itself (fuse_get_res_by_io). */
  connection->want &= ~(unsigned)FUSE_CAP_ASYNC_DIO;
  if (writeback) {
    connection->want |= connection->capable & FUSE_CAP_WRITEBACK_CACHE;
    config->attr_timeout = config->entry_timeout = 3600;
  }
  return NULL;
}

static const struct fuse_operations operations = {
    .getattr = fs_getattr,
    .mkdir = fs_mkdir,
    .unlink = fs_unlink,
    .rmdir = fs_rmdir,
    .rename = fs_rename,
    .chmod = fs_chmod,
    .chown = fs_chown,
    .truncate = fs_truncate,
    .open = fs_open,
    .read = fs_read,
    .write = fs_write,
    .statfs = fs_statfs,
    .flush = fs_flush,
    .release = fs_release,
    .fsync = fs_fsync,
    .readdir = fs_readdir,
    .fsyncdir = fs_fsyncdir,
    .init = fs_init,
    .create = fs_create,
    .utimens = fs_utimens,
};

int main(int argc, char **argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: %s BACKING MOUNTPOINT direct|writeback\n", argv[0]);
    return 2;
  }
  backing = argv[1];
  writeback = strcmp(argv[3], "writeback") == 0;
  umask(0);
  char *args[] = {
      argv[0], argv[2], (char *)"-f", (char *)"-s", (char *)"-o", (char *)"default_permissions,fsname=faultfs", NULL};
  return fuse_main(6, args, &operations, NULL);
}
