/*
** system_calls.c - are the parent's system calls those that SQLite was built with?
**
** Even a trusted parent may be told to use others (xSetSystemCall): by a program that encrypts, simulates faults or
** emulates files. A ring would go past them. Function pointers to what the C library defines are equal in all objects
** of a process, so the original ones are known exactly. Fsync is not in SQLite's table.
**
** Any thread. The wrappers are told while the VFS is being registered.
*/
#include "internal.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct system_call {
  const char *name;
  sqlite3_syscall_ptr original[2]; /* NULL: none */
  bool sqlites_own;                /* os_unix.c may have a function of its own for it */
} system_call;

#define CALL(function) ((sqlite3_syscall_ptr)(function))

/* Those for reading, in this order. */
enum { READ = 3, PREAD, PREAD64 };

static const system_call system_calls[] = {
    {"open", {NULL, NULL}, true},
    {"close", {CALL(close), NULL}, false},
    {"fstat", {CALL(fstat), CALL(fstat64)}, true}, /* before glibc 2.33 every object had its own */
    [READ] = {"read", {CALL(read), NULL}, false},
    [PREAD] = {"pread", {CALL(pread), NULL}, false},
    [PREAD64] = {"pread64", {CALL(pread64), NULL}, false},
    {"write", {CALL(write), NULL}, false},
    {"pwrite", {CALL(pwrite), NULL}, false},
    {"pwrite64", {CALL(pwrite64), NULL}, false},
    {"ftruncate", {CALL(ftruncate), CALL(ftruncate64)}, false},
    {"fallocate", {CALL(posix_fallocate), CALL(posix_fallocate64)}, false},
    {"mmap", {CALL(mmap), CALL(mmap64)}, false},
};

enum { SYSTEM_CALLS = sizeof system_calls / sizeof system_calls[0] };

static sqlite3_syscall_ptr wrappers[SYSTEM_CALLS]; /* ours, NULL: none */

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

void uringvfs__system_call_is_wrapped(const char *name, sqlite3_syscall_ptr wrapper) {
  for (unsigned i = 0; i < SYSTEM_CALLS; i++)
    if (strcmp(system_calls[i].name, name) == 0) wrappers[i] = wrapper;
}

/* NULL: SQLite was built to do without this one. */
static bool is_original(unsigned i, sqlite3_syscall_ptr now) {
  if (now == NULL || now == system_calls[i].original[0] || now == wrappers[i]) return true;
  return uringvfs__is_original_call(system_calls[i].name, now);
}

bool uringvfs__system_calls_are_original(void) {
  sqlite3_vfs *parent = uringvfs__parent_vfs;
  for (unsigned i = 0; i < SYSTEM_CALLS; i++)
    if (!is_original(i, parent->xGetSystemCall(parent, system_calls[i].name))) return false;
  return true;
}

/* os_unix.c, seekAndRead: pread64 or pread, if it was built with one of them; otherwise lseek and read. */
bool uringvfs__reading_is_original(void) {
  sqlite3_vfs *parent = uringvfs__parent_vfs;
  for (unsigned i = PREAD64; i >= READ; i--) {
    const sqlite3_syscall_ptr now = parent->xGetSystemCall(parent, system_calls[i].name);
    if (now != NULL) return is_original(i, now);
  }
  return false;
}
