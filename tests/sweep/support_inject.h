/*
** support_inject.h - the nth call of a kind fails.
**
** Kinds are: the system calls of os_unix.c by their names in its table (xSetSystemCall), fsync and fdatasync, malloc
** through SQLite's allocator, malloc of the VFS and the runtime, setting up a ring, entering it, and what a ring is
** asked to do. A failing request of a ring is not carried out; what is linked behind it is cancelled, as the kernel
** would.
**
** For one process and one thread: each case runs in a process of its own.
*/
#ifndef SWEEP_INJECT_H
#define SWEEP_INJECT_H

#include <stdbool.h>

typedef enum inject_how {
  INJECT_ONCE,
  INJECT_FOR_EVER,
  INJECT_EVERY_OTHER, /* from the nth on: a storm */
  INJECT_SHORT        /* transfers less: `error` is the class, 0 to INJECT_SHORT_CLASSES - 1; once. Storm: + 100 */
} inject_how;

#define INJECT_SHORT_CLASSES 5

typedef enum inject_kind {
  INJECT_OPEN,
  INJECT_READ,
  INJECT_WRITE,
  INJECT_TRUNCATE,
  INJECT_ALLOCATE,
  INJECT_MMAP,
  INJECT_LOCK,
  INJECT_STAT,
  INJECT_UNLINK,
  INJECT_OPENDIR,
  INJECT_FSYNC,
  INJECT_SQLITE_MALLOC,
  INJECT_MALLOC,
  INJECT_RING_SETUP,
  INJECT_RING_ENTER,
  INJECT_RING_READ,
  INJECT_RING_WRITE,
  INJECT_RING_FSYNC,
  INJECT_KIND_COUNT
} inject_kind;

extern const char *const inject_names[INJECT_KIND_COUNT];

/* Before SQLite is initialised. */
void inject_install(void);
void inject_arm(inject_kind kind, int nth, inject_how how, int error);
/* Returns how often something was injected. */
int inject_off(void);
/* How many calls of the kind were seen since it was armed. */
int inject_seen(void);

#endif
