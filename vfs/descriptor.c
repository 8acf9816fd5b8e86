/*
** descriptor.c - the number of the descriptor that the parent has opened.
**
** A ring must read, write and sync through the parent's own open file description. Any other has write-back errors of
** its own (errseq_t: each is reported once for each description, so one that was opened later vouches for writes that
** were lost), credentials of its own, and may be another file by now. An ordinary second descriptor is out of the
** question altogether: closing it would drop every POSIX lock that the process has on the file.
**
** SQLite does not tell the number. But os_unix.c makes its system calls through a table that xSetSystemCall changes, so
** `open` and `fstat` get wrappers, once, when the VFS is registered, which note the number while this thread is inside
** an xOpen of ours. Of a database file the one that was asked for by fstat last is meant: a descriptor that waits for
** the locks of others to end is used again without an open (os_unix.c, findReusableFd), and every database file that is
** locked in the POSIX way is asked for its inode (findInodeInfo). All other files are what was opened last: a number
** below 3 is opened again (robust_open).
**
** xSetSystemCall takes no mutex, hence only once; threads that open meanwhile read the old pointer or the new one. What
** a wrapper stands over stays fixed. The shared object is never unloaded (-z nodelete).
*/
#include "internal.h"

#include <sys/stat.h>

typedef int (*open_fn)(const char *, int, int);
typedef int (*fstat_fn)(int, struct stat *);

static open_fn open_below;
static fstat_fn fstat_below;
static bool original_below; /* both are SQLite's own, or the C library's */

/* What the xOpen that this thread is in has seen of its file. */
static __thread struct {
  const char *name;
  int opened, asked;
  uringvfs__descriptor answer; /* about `asked` */
} seen;

static const uringvfs__descriptor unknown = {.fd = -1};

static uringvfs__descriptor answer_of(int fd, const struct stat *st) {
  if (!S_ISREG(st->st_mode)) return unknown;
  return (uringvfs__descriptor){.fd = fd, .dev = st->st_dev, .ino = st->st_ino};
}

static int watched_open(const char *path, int flags, int mode) {
  const int fd = open_below(path, flags, mode);
  if (seen.name == NULL || fd < 0) return fd;
  if (path == seen.name) seen.opened = fd;
  if (fd == seen.asked) seen.asked = -1; /* that was about another file, which has been closed */
  return fd;
}

static int watched_fstat(int fd, struct stat *st) {
  const int rc = fstat_below(fd, st);
  if (seen.name == NULL || rc != 0) return rc;
  seen.asked = fd;
  seen.answer = answer_of(fd, st);
  return rc;
}

void uringvfs__descriptor_watch(sqlite3_vfs *parent) {
  if (parent->iVersion < 3 || parent->xGetSystemCall == NULL || parent->xSetSystemCall == NULL) return;
  const sqlite3_syscall_ptr to_open = parent->xGetSystemCall(parent, "open");
  const sqlite3_syscall_ptr to_fstat = parent->xGetSystemCall(parent, "fstat");
  if (to_open == NULL || to_fstat == NULL) return;
  open_below = (open_fn)to_open;
  fstat_below = (fstat_fn)to_fstat;
  (void)parent->xSetSystemCall(parent, "open", (sqlite3_syscall_ptr)watched_open);
  (void)parent->xSetSystemCall(parent, "fstat", (sqlite3_syscall_ptr)watched_fstat);
  original_below = uringvfs__is_original_call("open", to_open) && uringvfs__is_original_call("fstat", to_fstat);
  if (!original_below) return;
  uringvfs__system_call_is_wrapped("open", (sqlite3_syscall_ptr)watched_open);
  uringvfs__system_call_is_wrapped("fstat", (sqlite3_syscall_ptr)watched_fstat);
}

/* Somebody else's wrapper, over ours or under, may open other files, too. */
static bool is_watched(sqlite3_vfs *parent) {
  return original_below && parent->xGetSystemCall(parent, "open") == (sqlite3_syscall_ptr)watched_open &&
         parent->xGetSystemCall(parent, "fstat") == (sqlite3_syscall_ptr)watched_fstat;
}

/* The descriptor of the file that was just opened, -1: not certain. */
static int descriptor_seen(int flags) {
  if (!(flags & SQLITE_OPEN_MAIN_DB) || seen.asked < 0) return seen.opened;
  return seen.opened < 0 || seen.opened == seen.asked ? seen.asked : -1;
}

/* Where a long has 32 bits, SQLite and this file may have been compiled with two different `struct stat`. */
enum { ONE_STRUCT_STAT = sizeof(long) == 8 };

/* SQLite has mostly asked already, and the answer does not change while the file is open. */
static uringvfs__descriptor identify(int fd) {
  struct stat st;
  if (fd < 0) return unknown;
  if (fd == seen.asked && ONE_STRUCT_STAT) return seen.answer;
  return fstat(fd, &st) == 0 ? answer_of(fd, &st) : unknown;
}

int uringvfs__descriptor_open(const char *name, sqlite3_file *file, int flags, int *out_flags,
                              uringvfs__descriptor *d) {
  sqlite3_vfs *parent = uringvfs__parent_vfs;
  *d = unknown;
  if (name == NULL || !(flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL))) /* no ring is wanted for it */
    return parent->xOpen(parent, name, file, flags, out_flags);
  seen.name = name;
  seen.opened = seen.asked = -1;
  const int rc = parent->xOpen(parent, name, file, flags, out_flags);
  seen.name = NULL;
  if (rc == SQLITE_OK && is_watched(parent)) *d = identify(descriptor_seen(flags));
  return rc;
}
