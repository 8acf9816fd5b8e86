/*
** page_advice.c - pages that the kernel is asked to read into its cache, while SQLite goes on.
**
** posix_fadvise wants a descriptor, and closing one of our own would drop the locks of the process. A mapping will do as well, and the
** parent makes one (xFetch). Where SQLite itself has none it exists only as long as uringvfs__advise runs, and nobody reads through it, so
** nothing that happens to the file can raise SIGBUS. A limit for mappings does not say that SQLite has one: os_unix.c gives every file the
** configured limit (unixOpen), and the WAL is never mapped.
**
** SQLite's largest limit holds (SQLITE_MAX_MMAP_SIZE, 2 GiB): what lies behind it is out of reach.
*/
#include "readahead.h"

enum {
  SLOW_MAPPING_NS = 1000000, /* with mlockall(MCL_FUTURE) the kernel reads all of the file, each time */
  SLOW_MAPPINGS = 3          /* in a row that prove it                                                */
};

typedef struct mapping {
  sqlite3_file *parent;
  bool own;             /* SQLite has none         */
  sqlite3_int64 before; /* the limit before        */
  sqlite3_int64 reach;  /* bytes that can be asked for */
} mapping;

/* Sets the parent's limit for mappings, and gives the one before; a negative limit only asks. */
static sqlite3_int64 limit(const mapping *m, sqlite3_int64 value) {
  if (m->parent->pMethods->xFileControl(m->parent, SQLITE_FCNTL_MMAP_SIZE, &value) != SQLITE_OK) return -1;
  return value;
}

static bool open_limit(mapping *m, uringvfs_file *f) {
  *m = (mapping){.parent = f->parent, .own = !f->mapped_by_sqlite};
  if (f->unmappable || f->parent->pMethods->iVersion < 3 || f->parent->pMethods->xFetch == NULL) return false;
  m->before = limit(m, m->own ? INT64_MAX : -1);
  m->reach = m->own ? limit(m, -1) : m->before;
  return m->before >= 0;
}

/* No mapping is left, and the limit is what it was. */
static void close_limit(const mapping *m) {
  if (!m->own) return;
  (void)limit(m, 0);
  if (m->before > 0) (void)limit(m, m->before);
}

uint64_t uringvfs__advice_reach(uringvfs_file *f) {
  mapping m;
  if (!uringvfs__parent_keeps_bytes() || !open_limit(&m, f)) return 0;
  close_limit(&m);
  return m.reach > 0 ? (uint64_t)m.reach : 0;
}

static void *fetch(const mapping *m, uint64_t offset) {
  void *memory = NULL;
  int rc = m->parent->pMethods->xFetch(m->parent, (sqlite3_int64)offset, 1, &memory);
  return rc == SQLITE_OK ? memory : NULL;
}

/* The first one makes the mapping. os_unix.c takes the limit away where that fails (unixRemapfile), and logs it: once is enough. */
static void *fetch_first(const mapping *m, uringvfs_file *f, uint64_t offset) {
  const uint64_t start_ns = rt_now_ns();
  void *memory = fetch(m, offset);
  if (m->own && rt_now_ns() - start_ns > SLOW_MAPPING_NS)
    f->slow_mappings++;
  else
    f->slow_mappings = 0;
  if ((memory == NULL && limit(m, -1) <= 0) || f->slow_mappings >= SLOW_MAPPINGS) f->unmappable = true;
  return memory;
}

unsigned uringvfs__advise(uringvfs_file *f, const uringvfs_range *ranges, unsigned count) {
  mapping m;
  unsigned done = 0;
  if (count == 0 || !uringvfs__parent_keeps_bytes() || !open_limit(&m, f)) return 0;
  for (unsigned i = 0; i < count && !f->unmappable; i++) {
    void *memory = i == 0 ? fetch_first(&m, f, ranges[i].offset) : fetch(&m, ranges[i].offset);
    if (memory == NULL) continue;
    (void)rt_advise_memory(memory, ranges[i].bytes);
    (void)m.parent->pMethods->xUnfetch(m.parent, (sqlite3_int64)ranges[i].offset, memory);
    done++;
  }
  close_limit(&m);
  return done;
}
