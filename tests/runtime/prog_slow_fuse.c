/*
** prog_slow_fuse.c - a file system whose reads take long: prog_slow_fuse MOUNTPOINT MILLISECONDS
**
** cached, direct files full of 's', through the kernel's page cache and past it; a read is answered after so many
** milliseconds begun, answered their sizes: how many reads have arrived, how many answers are under way
**
** Reads wait side by side. Unmounts itself at SIGTERM.
*/
#define FUSE_USE_VERSION 35

#include <errno.h>
#include <fuse.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_SIZE (1 << 20)

static unsigned delay_us;
static _Atomic long begun, answered;

static int fs_getattr(const char *path, struct stat *st, struct fuse_file_info *fi) {
  (void)fi;
  memset(st, 0, sizeof *st);
  st->st_mode = strcmp(path, "/") ? S_IFREG | 0444 : S_IFDIR | 0555;
  st->st_nlink = 1;
  if (!strcmp(path, "/begun"))
    st->st_size = begun;
  else if (!strcmp(path, "/answered"))
    st->st_size = answered;
  else if (!strcmp(path, "/cached") || !strcmp(path, "/direct"))
    st->st_size = FILE_SIZE;
  else if (strcmp(path, "/") != 0)
    return -ENOENT;
  return 0;
}

static int fs_open(const char *path, struct fuse_file_info *fi) {
  fi->direct_io = !strcmp(path, "/direct");
  return 0;
}

static int fs_read(const char *path, char *buf, size_t size, off_t offset, struct fuse_file_info *fi) {
  (void)path;
  (void)fi;
  if (offset >= FILE_SIZE) return 0;
  if (size > (size_t)(FILE_SIZE - offset)) size = (size_t)(FILE_SIZE - offset);
  begun++;
  usleep(delay_us);
  memset(buf, 's', size);
  answered++;
  return (int)size;
}

static void *fs_init(struct fuse_conn_info *connection, struct fuse_config *config) {
  (void)connection;
  config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
  return NULL;
}

static const struct fuse_operations operations = {
    .getattr = fs_getattr, .open = fs_open, .read = fs_read, .init = fs_init};

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: %s MOUNTPOINT MILLISECONDS\n", argv[0]);
    return 2;
  }
  delay_us = (unsigned)atoi(argv[2]) * 1000;
  char *args[] = {argv[0], argv[1], (char *)"-f", (char *)"-o", (char *)"fsname=slow", NULL};
  return fuse_main(5, args, &operations, NULL);
}
