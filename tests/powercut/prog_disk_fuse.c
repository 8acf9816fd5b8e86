/*
** prog_disk_fuse.c - a disk with a volatile cache, as a file system with one file: prog_disk_fuse LOG /dev/fd/N
**
** N is the descriptor of a mounted /dev/fuse. The file `disk` is the disk. A loop device on it turns every flush of the
** block layer into an fsync here (loop advertises a write cache and no FUA, so FUA writes arrive as write and flush).
** Writes and flushes are appended to LOG (support_log.h) as they arrive.
**
** Writing a cut ("812:torn:77") to the file `cut` ends the recording: the disk then is what that cut leaves, and later
** writes go to an overlay that the next cut throws away. So an image costs the time to walk the log, and no copy.
**
** One thread: the order of the log is the order of execution. Ends when it is unmounted; signals for its process group
** are not for it.
*/
#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fuse.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "support_log.h"

#define DISK_NODE "/disk"
#define CUT_NODE  "/cut"

typedef struct overlay {
  struct overlay *next;
  uint8_t bytes[];
} overlay;

static disk_log recorded;
static const uint8_t **units;
static bool recording = true;
static uint64_t flushes;
static overlay *overlays;

static void drop_overlays(void) {
  while (overlays != NULL) {
    overlay *next = overlays->next;
    free(overlays);
    overlays = next;
  }
}

static int show_cut(const char *text, size_t size) {
  char line[64];
  disk_cut cut;
  snprintf(line, sizeof line, "%.*s", (int)size, text);
  if (!cut_parse(line, &cut) || cut.at > log_position(&recorded)) return -EINVAL;
  recording = false;
  log_image(&recorded, &cut, units);
  drop_overlays();
  return (int)size;
}

static int record(log_kind kind, uint64_t offset, uint64_t size, const void *data) {
  const log_entry *e = (const log_entry *)((const uint8_t *)recorded.head + recorded.head->used);
  int rc = log_append(&recorded, kind, offset, size, data);
  if (rc == 0) log_apply(e, units);
  return rc;
}

static bool inside(off_t offset, uint64_t size) {
  return offset >= 0 && offset % DISK_UNIT == 0 && size % DISK_UNIT == 0 &&
         (uint64_t)offset + size <= recorded.head->disk_bytes;
}

static int disk_write(const char *path, const char *data, size_t size, off_t offset, struct fuse_file_info *fi) {
  (void)fi;
  if (strcmp(path, CUT_NODE) == 0) return show_cut(data, size);
  if (!inside(offset, size)) return -EINVAL;
  if (recording) {
    int rc = record(LOG_WRITE, (uint64_t)offset, size, data);
    return rc == 0 ? (int)size : rc;
  }
  overlay *o = malloc(sizeof *o + size);
  if (o == NULL) return -ENOMEM;
  memcpy(o->bytes, data, size);
  o->next = overlays;
  overlays = o;
  for (size_t i = 0; i < size / DISK_UNIT; i++) units[(uint64_t)offset / DISK_UNIT + i] = o->bytes + i * DISK_UNIT;
  return (int)size;
}

/* What the loop device makes of discards and of writing zeroes. */
static int disk_fallocate(const char *path, int mode, off_t offset, off_t size, struct fuse_file_info *fi) {
  (void)path;
  (void)fi;
  if ((mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) == 0) return -EOPNOTSUPP;
  if (size < 0 || !inside(offset, (uint64_t)size)) return -EINVAL;
  if (recording) return record(LOG_ZERO, (uint64_t)offset, (uint64_t)size, NULL);
  memset(units + offset / DISK_UNIT, 0, (size_t)size / DISK_UNIT * sizeof *units);
  return 0;
}

static int disk_fsync(const char *path, int data_only, struct fuse_file_info *fi) {
  (void)data_only;
  (void)fi;
  if (!recording || strcmp(path, DISK_NODE) != 0) return 0;
  const uint64_t lie_every = recorded.head->lie_every;
  return record(lie_every != 0 && ++flushes % lie_every == 0 ? LOG_LIE : LOG_FLUSH, 0, 0, NULL);
}

static int disk_read(const char *path, char *out, size_t size, off_t offset, struct fuse_file_info *fi) {
  static const uint8_t zeroes[DISK_UNIT];
  (void)fi;
  if (strcmp(path, DISK_NODE) != 0 || !inside(offset, size)) return -EINVAL;
  for (size_t i = 0; i < size / DISK_UNIT; i++) {
    const uint8_t *unit = units[(uint64_t)offset / DISK_UNIT + i];
    memcpy(out + i * DISK_UNIT, unit != NULL ? unit : zeroes, DISK_UNIT);
  }
  return (int)size;
}

static int disk_getattr(const char *path, struct stat *st, struct fuse_file_info *fi) {
  (void)fi;
  memset(st, 0, sizeof *st);
  const bool disk = strcmp(path, DISK_NODE) == 0;
  if (!disk && strcmp(path, CUT_NODE) != 0 && strcmp(path, "/") != 0) return -ENOENT;
  st->st_mode = strcmp(path, "/") == 0 ? S_IFDIR | 0700 : S_IFREG | 0600;
  st->st_nlink = 1;
  st->st_size = disk ? (off_t)recorded.head->disk_bytes : 0;
  return 0;
}

/* No cache of the kernel's between the loop device and here. */
static int disk_open(const char *path, struct fuse_file_info *fi) {
  (void)path;
  fi->direct_io = 1;
  return 0;
}

static int disk_truncate(const char *path, off_t size, struct fuse_file_info *fi) {
  (void)path;
  (void)size;
  (void)fi;
  return 0;
}

static const struct fuse_operations operations = {
    .getattr = disk_getattr,
    .truncate = disk_truncate,
    .open = disk_open,
    .read = disk_read,
    .write = disk_write,
    .fsync = disk_fsync,
    .fallocate = disk_fallocate,
};

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s LOG /dev/fd/N\n", argv[0]);
    return 2;
  }
  signal(SIGINT, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  signal(SIGHUP, SIG_IGN);
  if (!log_open(&recorded, argv[1])) {
    perror(argv[1]);
    return 1;
  }
  units = calloc(recorded.head->disk_bytes / DISK_UNIT, sizeof *units);
  if (units == NULL) return 1;
  char *args[] = {argv[0], argv[2], (char *)"-f", (char *)"-s", NULL};
  return fuse_main(4, args, &operations, NULL);
}
