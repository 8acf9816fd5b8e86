/*
** page_advice.c - pages that the kernel is asked to read into its cache, while SQLite goes on.
**
** posix_fadvise wants a descriptor, and closing one of our own would drop the locks of the process. A mapping will do as well, and the
** parent makes one (xFetch). Where the application has set no mmap_size it exists only as long as uringvfs__advise runs, and nobody
** reads through it, so nothing that happens to the file can raise SIGBUS. SQLite's limit for mappings holds (SQLITE_MAX_MMAP_SIZE, 2
** GiB): what lies behind it is not read ahead in this way.
*/
#include "readahead.h"

#include <stdint.h>

typedef struct mapping {
  sqlite3_file *parent;
  bool own; /* there was none */
} mapping;

/* Sets the parent's limit for mappings, and gives the one before; a negative limit only asks. */
static sqlite3_int64 limit(const mapping *m, sqlite3_int64 value) {
  if (m->parent->pMethods->xFileControl(m->parent, SQLITE_FCNTL_MMAP_SIZE, &value) != SQLITE_OK) return -1;
  return value;
}

static bool map(mapping *m, uringvfs_file *f) {
  *m = (mapping){.parent = f->parent};
  if (f->unmappable || f->parent->pMethods->iVersion < 3 || f->parent->pMethods->xFetch == NULL) return false;
  const sqlite3_int64 before = limit(m, -1);
  m->own = before == 0;
  if (m->own) (void)limit(m, INT64_MAX);
  return before >= 0;
}

static void unmap(const mapping *m, uringvfs_file *f, bool failed) {
  if (!m->own) return;
  /* os_unix.c takes the limit away where mmap fails (unixRemapfile), and logs it: once is enough. */
  if (failed && limit(m, -1) <= 0) f->unmappable = true;
  (void)limit(m, 0);
}

static bool advise_range(const mapping *m, uint64_t offset, uint64_t bytes) {
  const sqlite3_io_methods *methods = m->parent->pMethods;
  void *memory = NULL;
  if (methods->xFetch(m->parent, (sqlite3_int64)offset, 1, &memory) != SQLITE_OK || memory == NULL) return false;
  (void)rt_advise_memory(memory, bytes);
  (void)methods->xUnfetch(m->parent, (sqlite3_int64)offset, memory);
  return true;
}

unsigned uringvfs__advise(uringvfs_file *f, const uringvfs_range *ranges, unsigned count) {
  mapping m;
  unsigned done = 0;
  if (count == 0 || !uringvfs__parent_keeps_bytes() || !map(&m, f)) return 0;
  for (unsigned i = 0; i < count; i++) done += advise_range(&m, ranges[i].offset, ranges[i].bytes);
  unmap(&m, f, done < count);
  return done;
}
