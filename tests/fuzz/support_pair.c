/*
** support_pair.c - one file, opened through the default VFS and through uring: each call is made on both, and both must
** answer the same.
*/
#include "support_pair.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint8_t pair_read_bytes[SIDES][MAX_PAGE_BYTES + MAX_FRAME_HEADER];

int pair_agree(const char *file, const char *call, const int rc[SIDES]) {
  fuzz_trace("  %s %s: %d", file, call, rc[0]);
  FUZZ_CHECK(rc[SIDE_DEFAULT] == rc[SIDE_URING], "%s %s: %d on the default VFS, %d on uring", file, call, rc[0], rc[1]);
  return rc[0];
}

int pair_open(pair *f, const char *what, const char *const name[SIDES], int flags) {
  int rc, out[SIDES] = {0, 0};
  for (int s = 0; s < SIDES; s++) {
    f->side[s] = calloc(1, (size_t)sqlite3_vfs_find(fuzz_vfs[s])->szOsFile);
    FUZZ_CHECK(f->side[s] != NULL, "out of memory");
  }
  BOTH(rc, what, "xOpen",
       sqlite3_vfs_find(fuzz_vfs[s])
           ->xOpen(sqlite3_vfs_find(fuzz_vfs[s]), name != NULL ? name[s] : NULL, f->side[s], flags, &out[s]));
  FUZZ_CHECK(rc != SQLITE_OK || out[0] == out[1], "%s: opened with 0x%x and 0x%x", what, out[0], out[1]);
  f->what = what;
  f->open = rc == SQLITE_OK;
  for (int s = 0; s < SIDES && !f->open; s++) {
    FUZZ_CHECK(f->side[s]->pMethods == NULL, "%s: pMethods after a failed xOpen", what);
    free(f->side[s]);
  }
  return rc;
}

void pair_close(pair *f) {
  int rc;
  if (!f->open) return;
  BOTH(rc, f->what, "xClose", METHOD(f, xClose)(f->side[s]));
  for (int s = 0; s < SIDES; s++) free(f->side[s]);
  f->open = false;
}

/* Into memory of just that size, as SQLite's cache has it: whoever reads behind a page is caught. */
void pair_read(pair *f, unsigned bytes, sqlite3_int64 offset) {
  int rc;
  fuzz_trace("    offset %lld, %u bytes", offset, bytes);
  uint8_t *data[SIDES];
  for (int s = 0; s < SIDES; s++) {
    data[s] = malloc(bytes);
    FUZZ_CHECK(data[s] != NULL, "out of memory");
    memset(data[s], 0xa5, bytes);
  }
  BOTH(rc, f->what, "xRead", METHOD(f, xRead)(f->side[s], data[s], (int)bytes, offset));
  for (int s = 0; s < SIDES; s++) {
    memcpy(pair_read_bytes[s], data[s], bytes);
    free(data[s]);
  }
  if (rc != SQLITE_OK && rc != SQLITE_IOERR_SHORT_READ) return;
  FUZZ_CHECK(memcmp(pair_read_bytes[0], pair_read_bytes[1], bytes) == 0, "%s: other bytes at %lld", f->what, offset);
}

/* data: one for both, or two. */
void pair_write2(pair *f, const void *first, const void *second, unsigned bytes, sqlite3_int64 offset) {
  int rc;
  fuzz_trace("    offset %lld, %u bytes", offset, bytes);
  BOTH(rc, f->what, "xWrite", METHOD(f, xWrite)(f->side[s], s == 0 ? first : second, (int)bytes, offset));
  FUZZ_CHECK(rc == SQLITE_OK, "%s: xWrite gives %d", f->what, rc);
}

void pair_write(pair *f, const void *data, unsigned bytes, sqlite3_int64 offset) {
  pair_write2(f, data, data, bytes, offset);
}

void pair_truncate(pair *f, sqlite3_int64 size) {
  int rc;
  fuzz_trace("    to %lld", size);
  BOTH(rc, f->what, "xTruncate", METHOD(f, xTruncate)(f->side[s], size));
}

void pair_sync(pair *f, uint8_t flags) {
  int rc;
  const int how = (flags & 1 ? SQLITE_SYNC_FULL : SQLITE_SYNC_NORMAL) | (flags & 2 ? SQLITE_SYNC_DATAONLY : 0);
  BOTH(rc, f->what, "xSync", METHOD(f, xSync)(f->side[s], how));
}

void pair_sizes(pair *f, sqlite3_int64 size[SIDES]) {
  int rc;
  BOTH(rc, f->what, "xFileSize", METHOD(f, xFileSize)(f->side[s], &size[s]));
}

void pair_size(pair *f) {
  sqlite3_int64 size[SIDES] = {0, 0};
  pair_sizes(f, size);
  FUZZ_CHECK(size[0] == size[1], "%s: size %lld on the default VFS, %lld on uring", f->what, size[0], size[1]);
}

/* A control whose argument is a number, in and out. */
void pair_control(pair *f, const char *name, int op, sqlite3_int64 value, bool wide) {
  int rc, narrow[SIDES] = {(int)value, (int)value};
  sqlite3_int64 number[SIDES] = {value, value};
  BOTH(rc, f->what, name, METHOD(f, xFileControl)(f->side[s], op, wide ? (void *)&number[s] : (void *)&narrow[s]));
  FUZZ_CHECK(rc != SQLITE_OK || (number[0] == number[1] && narrow[0] == narrow[1]), "%s %s: %lld/%d and %lld/%d",
             f->what, name, number[0], narrow[0], number[1], narrow[1]);
}

void pair_delete(const char *const name[SIDES], const char *what, int sync_directory) {
  int rc;
  BOTH(rc, what, "xDelete",
       sqlite3_vfs_find(fuzz_vfs[s])->xDelete(sqlite3_vfs_find(fuzz_vfs[s]), name[s], sync_directory));
}

void pair_compare(const char *what, const int fd[SIDES], sqlite3_int64 from, sqlite3_int64 end) {
  static uint8_t chunk[SIDES][MAX_PAGE_BYTES];
  for (sqlite3_int64 at = from; at < end; at += MAX_PAGE_BYTES) {
    const size_t want = (size_t)(end - at < MAX_PAGE_BYTES ? end - at : MAX_PAGE_BYTES);
    for (int s = 0; s < SIDES; s++)
      FUZZ_CHECK(pread(fd[s], chunk[s], want, at) == (ssize_t)want, "%s of %s ends before %lld", what,
                 s == SIDE_URING ? "uring" : "the default VFS", at + (sqlite3_int64)want);
    FUZZ_CHECK(memcmp(chunk[0], chunk[1], want) == 0, "%s: the files differ below %lld", what,
               at + (sqlite3_int64)want);
  }
}
