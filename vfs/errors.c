/*
** errors.c - errno to SQLITE_ codes, and the log.
**
** A failed operation gives the code that os_unix.c gives for the same errno (unixRead, unixWrite, unixSync). A VFS has
** no way to sqlite3_errmsg(), so what exactly failed is said once through sqlite3_log(): call, path, offset, amount.
*/
#include "internal.h"

#include <errno.h>
#include <string.h>

const char *uringvfs__errno_text(int error, char *text, size_t text_bytes) {
  /* The GNU variant returns the text, which need not be in the buffer. */
  return strerror_r(error < 0 ? -error : error, text, text_bytes);
}

static const char *call_name(rt_kind kind) {
  switch (kind) {
  case RT_READ: return "read";
  case RT_WRITE: return "write";
  case RT_FDATASYNC: return "fdatasync";
  default: return "call";
  }
}

static int ring_code(rt_kind kind, int error) {
  switch (kind) {
  case RT_READ:
    return error == -ERANGE || error == -EIO || error == -ENXIO ? SQLITE_IOERR_CORRUPTFS : SQLITE_IOERR_READ;
  case RT_WRITE: return error == -ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
  case RT_FDATASYNC: return SQLITE_IOERR_FSYNC;
  default: return SQLITE_IOERR;
  }
}

static void log_failure(const uringvfs__file *f, const char *way, rt_kind kind, int rc, int error, uint64_t offset,
                        uint64_t amount) {
  char text[128];
  const char *reason = uringvfs__errno_text(error, text, sizeof text);
  const char *name = f->name != NULL ? f->name : "(temporary file)";
  if (kind == RT_FDATASYNC)
    sqlite3_log(rc, "uringvfs: %s %s(%s): (%d) %s", way, call_name(kind), name, -error, reason);
  else
    sqlite3_log(rc, "uringvfs: %s %s(%s, offset %lld, %lld bytes): (%d) %s", way, call_name(kind), name,
                (sqlite3_int64)offset, (sqlite3_int64)amount, -error, reason);
}

int uringvfs__ring_error(uringvfs__file *f, rt_kind kind, int error, uint64_t offset, uint64_t amount) {
  const int rc = ring_code(kind, error);
  f->last_errno = rc == SQLITE_FULL ? 0 : -error; /* as unixWrite does */
  log_failure(f, "ring", kind, rc, error, offset, amount);
  return rc;
}

int uringvfs__parent_read_code(uringvfs__file *f, int rc, uint64_t offset, uint64_t amount) {
  if (rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ) return rc;
  return uringvfs__parent_error(f, RT_READ, rc, offset, amount);
}

int uringvfs__parent_error(uringvfs__file *f, rt_kind kind, int rc, uint64_t offset, uint64_t amount) {
  int error = 0;
  f->last_errno = 0;
  if (f->plain) return rc; /* the parent is not asked what SQLite does not ask */
  if (rc == SQLITE_FULL)
    error = ENOSPC; /* os_unix.c clears its own */
  else if (f->parent->pMethods->xFileControl(f->parent, SQLITE_FCNTL_LAST_ERRNO, &error) != SQLITE_OK)
    error = 0;
  log_failure(f, "system call", kind, rc, -error, offset, amount);
  return rc;
}
