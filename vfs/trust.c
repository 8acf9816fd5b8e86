/*
** trust.c - what may be assumed of the parent VFS.
**
** Merging writes, reading ahead and rings are right only over a VFS that stores the bytes it is given and hands out
** nothing else. Below a parent that encrypts, compresses or checks them they would destroy the database. So trust is
** proven: the parent's xOpen, and what that uses to choose the methods of a file (pAppData), are those of a built-in
** VFS of os_unix.c. A name proves nothing. A parent that is not trusted sees exactly the calls that SQLite makes.
*/
#include "internal.h"

#include <string.h>

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
