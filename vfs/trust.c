/*
** trust.c - what may be assumed of the parent VFS.
**
** Merging writes, reading ahead and rings are right only over a VFS that stores the bytes it is given and hands out
** nothing else. Below a parent that encrypts, compresses or checks them they would destroy the database. So trust is
** proven: the parent's xOpen, and what that uses to choose the methods of a file (pAppData), are those of a built-in
** VFS of os_unix.c. A name proves nothing. A parent that is not trusted sees exactly the calls that SQLite makes.
**
** Even a trusted parent may be told to use other system calls (xSetSystemCall): by a program that encrypts, simulates
** faults or emulates files. A ring would go past them. Function pointers to what the C library defines are equal in all
** objects of a process, so the original ones are known exactly.
*/
#include "internal.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

bool uringvfs__trust_any_parent;

/*
** SQLite registers its own first, and every later VFS stands before them on the list, under the same name or another
** (os.c, sqlite3_vfs_register). So the last of a name is the built-in one.
*/
static const sqlite3_vfs *last_named(const char *name) {
  const sqlite3_vfs *found = NULL;
  for (const sqlite3_vfs *vfs = sqlite3_vfs_find(NULL); vfs != NULL; vfs = vfs->pNext)
    if (strcmp(vfs->zName, name) == 0) found = vfs;
  return found;
}

static bool is_same(const sqlite3_vfs *parent, const sqlite3_vfs *built_in) {
  return built_in != NULL && parent->xOpen == built_in->xOpen && parent->pAppData == built_in->pAppData;
}

bool uringvfs__trusts(const sqlite3_vfs *parent) {
  const sqlite3_vfs *none = last_named("unix-none"), *dotfile = last_named("unix-dotfile");
  if (uringvfs__trust_any_parent) return true;
  /* os_unix.c has one xOpen for all of them. */
  if (none == NULL || dotfile == NULL || none->xOpen != dotfile->xOpen || parent->xOpen != none->xOpen) return false;
  return is_same(parent, last_named("unix")) || is_same(parent, last_named("unix-excl")) || is_same(parent, none) ||
         is_same(parent, dotfile);
}

/* ---- system calls ---- */

typedef struct system_call {
  const char *name;
  sqlite3_syscall_ptr original[2]; /* NULL: none */
  bool sqlites_own;                /* os_unix.c may have a function of its own for it */
} system_call;

#define CALL(function) ((sqlite3_syscall_ptr)(function))

static const system_call system_calls[] = {
    {"open", {NULL, NULL}, true},
    {"close", {CALL(close), NULL}, false},
    {"fstat", {CALL(fstat), NULL}, true}, /* before glibc 2.33 every object had its own */
    {"read", {CALL(read), NULL}, false},
    {"pread", {CALL(pread), NULL}, false},
    {"pread64", {CALL(pread64), NULL}, false},
    {"write", {CALL(write), NULL}, false},
    {"pwrite", {CALL(pwrite), NULL}, false},
    {"pwrite64", {CALL(pwrite64), NULL}, false},
    {"ftruncate", {CALL(ftruncate), CALL(ftruncate64)}, false},
    {"fallocate", {CALL(posix_fallocate), CALL(posix_fallocate64)}, false},
    {"mmap", {CALL(mmap), CALL(mmap64)}, false},
};

enum { SYSTEM_CALLS = sizeof system_calls / sizeof system_calls[0] };

/* In the object that holds the parent's xOpen: SQLite, or a program that SQLite is linked into. */
static bool is_of_sqlite(sqlite3_syscall_ptr call) {
  Dl_info of_call, of_sqlite;
  return dladdr((void *)call, &of_call) != 0 && dladdr((void *)uringvfs__parent_vfs->xOpen, &of_sqlite) != 0 &&
         of_call.dli_fbase == of_sqlite.dli_fbase;
}

bool uringvfs__is_original_call(const char *name, sqlite3_syscall_ptr call) {
  if (uringvfs__trust_any_parent) return true; /* tests that record calls or let them fail */
  for (unsigned i = 0; i < SYSTEM_CALLS; i++) {
    const system_call *c = &system_calls[i];
    if (strcmp(c->name, name) == 0)
      return call == c->original[0] || (call == c->original[1] && call != NULL) ||
             (c->sqlites_own && is_of_sqlite(call));
  }
  return false;
}

bool uringvfs__system_calls_are_original(void) {
  sqlite3_vfs *parent = uringvfs__parent_vfs;
  for (unsigned i = 0; i < SYSTEM_CALLS; i++) {
    const char *name = system_calls[i].name;
    const sqlite3_syscall_ptr now = parent->xGetSystemCall(parent, name);
    /* NULL: SQLite was built to do without this one. */
    if (now == NULL || now == system_calls[i].original[0] || uringvfs__descriptor_watches(now)) continue;
    if (!uringvfs__is_original_call(name, now)) return false;
  }
  return true;
}
