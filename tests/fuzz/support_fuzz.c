/*
** support_fuzz.c - what the fuzz targets share.
*/
#include "support_fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uringvfs.h"

const char *fuzz_vfs[SIDES] = {NULL, "uring"};
char fuzz_dir[SIDES][256];
unsigned fuzz_messages;
bool fuzz_rings, fuzz_tracing;

static char base_dir[200];

/* ---- reporting ---- */

static void say(const char *format, va_list arguments) {
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
}

void fuzz_trace(const char *format, ...) {
  if (!fuzz_tracing) return;
  va_list arguments;
  va_start(arguments, format);
  say(format, arguments);
  va_end(arguments);
}

void fuzz_fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("DIFFERENCE: ", stderr);
  say(format, arguments);
  va_end(arguments);
  abort();
}

static void log_line(void *unused, int code, const char *message) {
  (void)unused;
  if (strncmp(message, "uringvfs:", 9) == 0) fuzz_messages++;
  fuzz_trace("    log: %d %s", code, message);
}

/* ---- start and end ---- */

void fuzz_empty(int side) {
  DIR *dir = opendir(fuzz_dir[side]);
  struct dirent *entry;
  while (dir != NULL && (entry = readdir(dir)) != NULL)
    if (entry->d_name[0] != '.') unlinkat(dirfd(dir), entry->d_name, 0);
  if (dir != NULL) closedir(dir);
}

static void remove_directories(void) {
  for (int side = 0; side < SIDES; side++) {
    fuzz_empty(side);
    rmdir(fuzz_dir[side]);
  }
  rmdir(base_dir);
}

static void make_directories(void) {
  const char *above = getenv("FUZZ_DIR");
  if (above == NULL && access("/dev/shm", W_OK) == 0) above = "/dev/shm";
  if (above == NULL) above = getenv("TMPDIR");
  if (above == NULL) above = "/tmp";
  snprintf(base_dir, sizeof base_dir, "%.160s/uringvfs-fuzz.XXXXXX", above);
  FUZZ_CHECK(mkdtemp(base_dir) != NULL, "cannot make %s", base_dir);
  for (int side = 0; side < SIDES; side++) {
    snprintf(fuzz_dir[side], sizeof fuzz_dir[side], "%s/%s", base_dir, side == SIDE_URING ? "u" : "d");
    FUZZ_CHECK(mkdir(fuzz_dir[side], 0700) == 0, "cannot make %s", fuzz_dir[side]);
  }
  atexit(remove_directories);
}

static bool rings_available(void) {
  sqlite3 *db;
  char uri[600];
  snprintf(uri, sizeof uri, "file:%s/probe?vfs=uring&uring_backend=uring", fuzz_dir[SIDE_URING]);
  const bool available =
      sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL) == SQLITE_OK;
  sqlite3_close(db);
  fuzz_empty(SIDE_URING);
  return available;
}

void fuzz_start_tracing(void) {
  const char *trace = getenv("FUZZ_TRACE");
  fuzz_tracing = trace != NULL && trace[0] == '1';
}

void fuzz_start(void) {
  fuzz_start_tracing();
  sqlite3_config(SQLITE_CONFIG_LOG, log_line, NULL);
  sqlite3_initialize();
  fuzz_vfs[SIDE_DEFAULT] = sqlite3_vfs_find(NULL)->zName;
  FUZZ_CHECK(uringvfs_register(0) == SQLITE_OK, "uringvfs_register");
  make_directories();
  fuzz_rings = rings_available();
  const char *stand_in = getenv("URINGVFS_TEST_VFS");
  if (stand_in != NULL && *stand_in != 0) fuzz_vfs[SIDE_URING] = stand_in;
  if (!fuzz_rings) fprintf(stderr, "no rings here: uring_backend=uring is left out\n");
}

void fuzz_clean(void) {
  DIR *dir = opendir(fuzz_dir[SIDE_DEFAULT]);
  struct dirent *entry;
  int files[SIDES] = {0};
  while (dir != NULL && (entry = readdir(dir)) != NULL) {
    char path[600];
    if (entry->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", fuzz_dir[SIDE_URING], entry->d_name);
    FUZZ_CHECK(access(path, F_OK) == 0, "%s is there on the default VFS only", entry->d_name);
    files[SIDE_DEFAULT]++;
  }
  if (dir != NULL) closedir(dir);
  dir = opendir(fuzz_dir[SIDE_URING]);
  while (dir != NULL && (entry = readdir(dir)) != NULL) files[SIDE_URING] += entry->d_name[0] != '.';
  if (dir != NULL) closedir(dir);
  FUZZ_CHECK(files[0] == files[1], "%d files on the default VFS, %d on uring", files[0], files[1]);
  for (int side = 0; side < SIDES; side++) fuzz_empty(side);
}

/* ---- input ---- */

uint8_t fuzz_byte(fuzz_input *in) {
  if (in->left == 0) return 0;
  in->left--;
  return *in->data++;
}

uint16_t fuzz_word(fuzz_input *in) {
  const uint8_t high = fuzz_byte(in);
  return (uint16_t)(high << 8 | fuzz_byte(in));
}

size_t fuzz_take(fuzz_input *in, const uint8_t **data, size_t bytes) {
  if (bytes > in->left) bytes = in->left;
  *data = in->data;
  in->data += bytes;
  in->left -= bytes;
  return bytes;
}

void fuzz_put32(uint8_t *at, uint32_t value) {
  for (int i = 0; i < 4; i++) at[i] = (uint8_t)(value >> (24 - 8 * i));
}

const char *fuzz_backend(uint8_t byte) {
  switch (byte % 3) {
  case 0: return "auto";
  case 1: return fuzz_rings ? "uring" : "auto";
  default: return "sync";
  }
}

/* ---- files ---- */

void fuzz_write_file(int side, const char *name, const void *data, size_t bytes) {
  char path[600];
  snprintf(path, sizeof path, "%s/%s", fuzz_dir[side], name);
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  FUZZ_CHECK(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes, "cannot write %s", path);
  close(fd);
}

uint8_t *fuzz_read_file(int side, const char *name, long *bytes) {
  char path[600];
  struct stat st;
  snprintf(path, sizeof path, "%s/%s", fuzz_dir[side], name);
  *bytes = -1;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL;
  FUZZ_CHECK(fstat(fd, &st) == 0, "cannot stat %s", path);
  const off_t length = st.st_size < FUZZ_READ_MAX ? st.st_size : FUZZ_READ_MAX;
  uint8_t *data = malloc((size_t)length + 1);
  FUZZ_CHECK(data != NULL && pread(fd, data, (size_t)length, 0) == length, "cannot read %s", path);
  close(fd);
  *bytes = (long)st.st_size;
  return data;
}
