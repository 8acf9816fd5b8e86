/*
** preload_lie.c - wrong answers for demo/bench to find. LIE says which:
**
**   row     the last byte of every leaf of a table is another: the last column of the row there
**   fewer   leaves of tables have a row less
**   again   every seventh page that is the leaf of a table is the first such page again
**   index   the last byte of every leaf of an index is another: the rowid there
**   cached  posix_fadvise drops nothing
**
** Reads of whole pages by pread lie, the same for the same page each time.
*/
#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LEAST_BYTES = 4096, MOST_BYTES = 65536, TABLE_LEAF = 0x0d, INDEX_LEAF = 0x0a };

static bool lies(const char *what) {
  const char *lie = getenv("LIE");
  return lie && strcmp(lie, what) == 0;
}

static void repeat(unsigned char *page, size_t bytes, off64_t offset) {
  static unsigned char first[MOST_BYTES];
  if (page[0] != TABLE_LEAF) return;
  if (first[0] == 0) memcpy(first, page, bytes);
  if (offset / (off64_t)bytes % 7 == 0) memcpy(page, first, bytes);
}

static void change(unsigned char *page, size_t bytes, off64_t offset) {
  if (page[0] == TABLE_LEAF && lies("row")) page[bytes - 1] = 0xa5;
  if (page[0] == INDEX_LEAF && lies("index")) page[bytes - 1] = 0xa5;
  if (page[0] == TABLE_LEAF && lies("fewer") && page[4] > 1) page[4]--;
  if (lies("again")) repeat(page, bytes, offset);
}

ssize_t pread64(int fd, void *buffer, size_t bytes, off64_t offset) {
  static ssize_t (*real)(int, void *, size_t, off64_t);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "pread64");
  ssize_t n = real(fd, buffer, bytes, offset);
  if (n == LEAST_BYTES || n == MOST_BYTES) change(buffer, (size_t)n, offset);
  return n;
}

int posix_fadvise(int fd, off_t offset, off_t bytes, int advice) {
  static int (*real)(int, off_t, off_t, int);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "posix_fadvise");
  return lies("cached") ? 0 : real(fd, offset, bytes, advice);
}
