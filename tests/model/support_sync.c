/*
** support_sync.c - the syncs of this program are counted and not made.
**
** No power is cut here, and a case has some hundred of them. libsqlite3 finds these before the C library's. What a ring
** syncs is real, and is counted by the VFS.
*/
#include "support_sync.h"

#include <unistd.h>

static _Atomic long syncs;

long model_syncs(void) { return syncs; }

__attribute__((visibility("default"))) int fsync(int fd) {
  (void)fd;
  syncs++;
  return 0;
}

__attribute__((visibility("default"))) int fdatasync(int fd) {
  (void)fd;
  syncs++;
  return 0;
}
