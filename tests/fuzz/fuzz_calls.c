/*
** fuzz_calls.c - random VFS calls, through uring and the default VFS, compared after each.
**
** The input is a list of steps: an opcode, whose highest bit says which of two connections to one database makes the
** step, and what it needs. A step is one or a few calls that SQLite could make at that point. What a connection holds
** (locks, read mark, the tenure of the WAL's write lock) and what is in the WAL is kept in a small model of wal.c and
** pager.c; a step that the model does not allow is left out, so that every input is a valid one.
**
** Compared: what each call returns, bytes read, sizes; at the end of a commit frame, of a tenure, at xSync, xUnlock,
** CKPT_DONE and xClose also the bytes in the files. uring drops the frames of a transaction that did not commit, so a
** WAL is compared up to its last committed frame, and its size exactly as long as no dropped frames are in question.
*/
#include "support_pair.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_PAGES = 24, MAX_FRAMES = 600, MAX_STEPS = 400 };
enum { WAL_HEADER = 32, FRAME_HEADER = 24 };
/* wal.c: the locks of the wal-index. */
enum { WAL_WRITE = 0, WAL_CKPT = 1, WAL_READ_0 = 3, WAL_READ_1 = 4, WAL_READ_COUNT = 4 };
/* And its first region, in words: nBackfill, aReadMark, the page numbers, and the hash table behind them, in half
** words. */
enum {
  INDEX_BACKFILL = 24,
  INDEX_MARKS = 25,
  INDEX_PAGES = 34,
  INDEX_HASH = 4096,
  INDEX_SLOTS = 8192,
  INDEX_BYTES = 32768
};

typedef struct connection {
  const char *name[SIDES]; /* made by sqlite3_create_filename */
  pair db, wal, journal;
  int lock;                         /* SQLITE_LOCK_ of the database */
  bool readonly;                    /* the database is */
  bool private;                     /* the WAL is used in exclusive mode: no wal-index lock is taken        */
  int read_lock;                    /* from WAL_READ_0 if a read transaction is open, otherwise 0  */
  unsigned generation, mark, first; /* frames first <= i < mark are seen by it            */
  bool tenure, committed;           /* holds the write lock; has written its commit frame */
  unsigned position;                /* where its next frame goes                          */
  unsigned pages;                   /* of the database as it sees it                      */
  uint32_t *index[SIDES];           /* the wal-index, if it is not private                */
} connection;

/* What a page that is written will hold, but for its number. */
typedef struct recipe {
  enum { RECIPE_LEAF, RECIPE_TABLE, RECIPE_INDEX, RECIPE_DAMAGED, RECIPES } kind;
  uint8_t seed, first_child, children;
  struct {
    uint16_t at;
    uint8_t byte;
  } damage[3];
} recipe;

static struct world {
  fuzz_input in;
  unsigned page_bytes;
  recipe recipe;
  connection connections[2];
  pair temp;
  /* Descriptors of the database, beside the VFSs. Closed at the very end: close(2) drops locks. */
  int raw[SIDES];
  /* The WAL: what is committed, and from where the next restart may begin. */
  uint8_t page_of[MAX_FRAMES];
  unsigned frames, backfilled, generation, pages;
  bool has_header;
  sqlite3_int64 equal_end;   /* up to here both files were written, whatever the bytes are now      */
  sqlite3_int64 tenure_end;  /* where the writes of this tenure end                               */
  sqlite3_int64 dropped_end; /* where the longest of the dropped transactions since would have ended */
  uint32_t noise;            /* in place of checksums                                             */
} w;

static uint8_t page[MAX_PAGE_BYTES];

static connection *other(const connection *c) { return &w.connections[c == &w.connections[0]]; }

/* ---- locks of the wal-index ---- */

static int shm_lock(connection *c, int lock, int n, int flags) {
  int rc;
  fuzz_trace("    lock %d, n %d, flags %d", lock, n, flags);
  BOTH(rc, c->db.what, "xShmLock", METHOD(&c->db, xShmLock)(c->db.side[s], lock, n, flags));
  return rc;
}

static bool shm_take(connection *c, int lock, int n, int kind) {
  return c->private || shm_lock(c, lock, n, SQLITE_SHM_LOCK | kind) == SQLITE_OK;
}

static void shm_give(connection *c, int lock, int n, int kind) {
  if (!c->private) shm_lock(c, lock, n, SQLITE_SHM_UNLOCK | kind);
}

/* ---- the wal-index ---- */

static void index_word(connection *c, unsigned at, uint32_t value) {
  for (int s = 0; s < SIDES && !c->private; s++) c->index[s][at] = value;
}

/* As walIndexAppend. */
static void index_add(connection *c, unsigned frame) {
  index_word(c, INDEX_PAGES + frame, w.page_of[frame]);
  for (int s = 0; s < SIDES && !c->private; s++) {
    uint16_t *hash = (uint16_t *)(c->index[s] + INDEX_HASH);
    unsigned key = (w.page_of[frame] * 383u) % INDEX_SLOTS;
    while (hash[key] != 0) key = (key + 1) % INDEX_SLOTS;
    hash[key] = (uint16_t)(frame + 1);
  }
}

/* Forgets the frames from `end` on, as walCleanupHash, and says how far the database is. By who holds the write
** lock. */
static void index_cut(connection *c, unsigned end) {
  if (c->private) return;
  for (int s = 0; s < SIDES; s++) memset(c->index[s] + INDEX_PAGES, 0, INDEX_BYTES - INDEX_PAGES * sizeof(uint32_t));
  for (unsigned frame = 0; frame < end; frame++) index_add(c, frame);
  index_word(c, INDEX_BACKFILL, w.backfilled);
}

/* ---- the bytes of the files ---- */

static void compare_databases(void) {
  struct stat st[SIDES];
  if (w.raw[0] < 0) return;
  for (int s = 0; s < SIDES; s++) FUZZ_CHECK(fstat(w.raw[s], &st[s]) == 0, "fstat");
  FUZZ_CHECK(st[0].st_size == st[1].st_size, "database: %lld bytes on the default VFS, %lld on uring",
             (sqlite3_int64)st[0].st_size, (sqlite3_int64)st[1].st_size);
  pair_compare("database", w.raw, 0, st[0].st_size);
}

static sqlite3_int64 frame_offset(unsigned frame) {
  return WAL_HEADER + (sqlite3_int64)frame * (FRAME_HEADER + w.page_bytes);
}

/* Closing a descriptor of a WAL is harmless: no POSIX lock is on it. */
static void compare_wals(unsigned first, unsigned end) {
  int fd[SIDES];
  if (!w.has_header) return;
  for (int s = 0; s < SIDES; s++) {
    char path[600];
    snprintf(path, sizeof path, "%s/c.db-wal", fuzz_dir[s]);
    fd[s] = open(path, O_RDONLY | O_CLOEXEC);
    FUZZ_CHECK(fd[s] >= 0, "%s cannot be opened", path);
  }
  pair_compare("WAL", fd, first == 0 ? 0 : frame_offset(first), frame_offset(end));
  for (int s = 0; s < SIDES; s++) close(fd[s]);
}

static void compare_names(void) {
  static const char *const names[] = {"c.db", "c.db-wal", "c.db-journal", "c.db-shm"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    int rc, there[SIDES] = {-1, -1};
    char path[SIDES][600];
    for (int s = 0; s < SIDES; s++) snprintf(path[s], sizeof path[s], "%s/%s", fuzz_dir[s], names[i]);
    BOTH(rc, names[i], "xAccess",
         sqlite3_vfs_find(fuzz_vfs[s])
             ->xAccess(sqlite3_vfs_find(fuzz_vfs[s]), path[s],
                       i % 2 == 0 ? SQLITE_ACCESS_EXISTS : SQLITE_ACCESS_READWRITE, &there[s]));
    FUZZ_CHECK(rc != SQLITE_OK || there[0] == there[1], "%s: xAccess says %d and %d", names[i], there[0], there[1]);
  }
}

/* ---- what a write holds ---- */

static const uint8_t *pattern(unsigned bytes) {
  const uint8_t seed = fuzz_byte(&w.in);
  for (unsigned i = 0; i < bytes; i++) page[i] = (uint8_t)(seed + i * 7 + (i >> 8));
  return page;
}

/* What the pages of this step will hold. */
static void choose_content(void) {
  recipe *r = &w.recipe;
  const uint8_t kind = fuzz_byte(&w.in);
  *r = (recipe){.kind = kind % RECIPES, .seed = kind / RECIPES};
  if (r->kind == RECIPE_LEAF) return;
  r->first_child = fuzz_byte(&w.in);
  r->children = fuzz_byte(&w.in) % 24;
  for (unsigned i = 0; i < 3 && r->kind == RECIPE_DAMAGED; i++) {
    const uint16_t at = fuzz_word(&w.in);
    r->damage[i].at = at & 1 ? at / 2 % 32 : at; /* often in the header */
    r->damage[i].byte = fuzz_byte(&w.in);
  }
}

/* https://www.sqlite.org/fileformat2.html: an interior page names its children, in one row. */
static void make_interior(uint8_t *start, const recipe *r) {
  memset(start, 0, 12);
  start[0] = r->kind == RECIPE_INDEX ? 0x02 : 0x05;
  start[4] = r->children;
  fuzz_put32(start + 8, r->first_child % MAX_PAGES + r->children + 1u);
  for (unsigned i = 0; i < r->children; i++) {
    const unsigned cell = w.page_bytes - 8 * (i + 1);
    start[12 + 2 * i] = (uint8_t)(cell >> 8);
    start[13 + 2 * i] = (uint8_t)cell;
    fuzz_put32(page + cell, r->first_child % MAX_PAGES + i + 1u);
  }
}

/* The page of this number as the recipe says, in `page`. */
static const uint8_t *make_page(unsigned number) {
  const recipe *r = &w.recipe;
  for (unsigned i = 0; i < w.page_bytes; i++) page[i] = (uint8_t)(r->seed + number * 3 + i * 7 + (i >> 8));
  page[0] = 0x0d;
  if (number == 1) {
    memset(page, 0, 100);
    memcpy(page, "SQLite format 3", 16);
    page[16] = (uint8_t)(w.page_bytes >> 8); /* 65536 is written as 1 */
    page[17] = w.page_bytes == 65536;
    page[100] = 0x0d;
  }
  if (r->kind != RECIPE_LEAF) make_interior(page + (number == 1 ? 100 : 0), r);
  for (unsigned i = 0; i < 3 && r->kind == RECIPE_DAMAGED; i++)
    page[r->damage[i].at % w.page_bytes] = r->damage[i].byte;
  return page;
}

/* ---- opening and closing ---- */

static void step_open(connection *c) {
  static const int access[] = {SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE,
                               SQLITE_OPEN_READWRITE, SQLITE_OPEN_READONLY};
  const uint8_t choice = fuzz_byte(&w.in);
  if (c->db.open) return;
  for (int s = 0; s < SIDES; s++) {
    char path[600], journal[640], wal[640];
    snprintf(path, sizeof path, "%s/c.db", fuzz_dir[s]);
    snprintf(journal, sizeof journal, "%s-journal", path);
    snprintf(wal, sizeof wal, "%s-wal", path);
    const char *parameters[] = {"uring_backend", fuzz_backend(choice >> 2)};
    c->name[s] = sqlite3_create_filename(path, journal, wal, 1, parameters);
    FUZZ_CHECK(c->name[s] != NULL, "out of memory");
  }
  const int rc = pair_open(&c->db, c == w.connections ? "database 0" : "database 1", c->name,
                           SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_URI | access[choice % 4]);
  c->readonly = choice % 4 == 3;
  c->lock = SQLITE_LOCK_NONE;
  for (int s = 0; s < SIDES; s++) {
    if (rc != SQLITE_OK) sqlite3_free_filename((char *)(uintptr_t)c->name[s]);
    if (rc != SQLITE_OK || w.raw[s] >= 0) continue;
    char path[600];
    snprintf(path, sizeof path, "%s/c.db", fuzz_dir[s]);
    w.raw[s] = open(path, O_RDONLY | O_CLOEXEC);
    FUZZ_CHECK(w.raw[s] >= 0, "%s cannot be opened", path);
  }
}

static void unlock(connection *c, int level) {
  int rc;
  if (c->lock <= level) return;
  fuzz_trace("    level %d", level);
  BOTH(rc, c->db.what, "xUnlock", METHOD(&c->db, xUnlock)(c->db.side[s], level));
  c->lock = level;
  compare_databases();
}

static int lock(connection *c, int level) {
  int rc;
  fuzz_trace("    level %d", level);
  BOTH(rc, c->db.what, "xLock", METHOD(&c->db, xLock)(c->db.side[s], level));
  if (rc == SQLITE_OK) c->lock = level;
  return rc;
}

static void end_write(connection *c);
static void end_read(connection *c);
static void checkpoint(connection *c, unsigned stop_after, uint8_t sync);

/* As sqlite3WalClose: the last one copies everything and deletes the file. */
static void close_wal(connection *c, bool last) {
  end_read(c);
  const bool was_private = c->private;
  if (last && lock(c, SQLITE_LOCK_EXCLUSIVE) == SQLITE_OK)
    c->private = true;
  else
    last = false;
  if (last) checkpoint(c, MAX_PAGES, fuzz_byte(&w.in));
  last = last && w.backfilled == w.frames;
  if (!was_private) {
    int rc;
    BOTH(rc, c->db.what, "xShmUnmap", METHOD(&c->db, xShmUnmap)(c->db.side[s], last));
  }
  pair_close(&c->wal);
  if (last) {
    const char *name[SIDES] = {sqlite3_filename_wal(c->name[0]), sqlite3_filename_wal(c->name[1])};
    pair_delete(name, "WAL", 0);
    w.frames = w.backfilled = 0;
    w.has_header = false;
    w.equal_end = w.dropped_end = 0;
    w.generation++;
  } else {
    compare_wals(0, w.frames);
  }
  c->private = false;
}

static void close_connection(connection *c) {
  if (!c->db.open) return;
  if (c->wal.open) close_wal(c, fuzz_byte(&w.in) & 1);
  pair_close(&c->journal);
  unlock(c, SQLITE_LOCK_NONE);
  pair_close(&c->db);
  for (int s = 0; s < SIDES; s++) sqlite3_free_filename((char *)(uintptr_t)c->name[s]);
}

/* ---- a database without a WAL ---- */

/* A database that has frames in a WAL is never used without it. */
static bool rollback_mode(const connection *c) {
  return c->db.open && !c->wal.open && !other(c)->wal.open && w.frames == 0;
}

static void step_lock(connection *c) {
  static const int levels[] = {SQLITE_LOCK_SHARED, SQLITE_LOCK_RESERVED, SQLITE_LOCK_EXCLUSIVE};
  const int level = levels[fuzz_byte(&w.in) % 3];
  if (!c->db.open || c->wal.open || level <= c->lock) return;
  /* SQLite takes RESERVED and EXCLUSIVE with SHARED in hand only. */
  if (c->lock == SQLITE_LOCK_NONE && level > SQLITE_LOCK_SHARED && lock(c, SQLITE_LOCK_SHARED) != SQLITE_OK) return;
  if (level > SQLITE_LOCK_SHARED && (c->readonly || !rollback_mode(c))) return;
  lock(c, level);
}

static void step_unlock(connection *c) {
  const int level = fuzz_byte(&w.in) & 1 ? SQLITE_LOCK_SHARED : SQLITE_LOCK_NONE;
  if (c->db.open && !c->wal.open) unlock(c, level);
}

static void step_reserved(connection *c) {
  int rc, reserved[SIDES] = {-1, -1};
  if (!c->db.open || c->lock < SQLITE_LOCK_SHARED) return;
  BOTH(rc, c->db.what, "xCheckReservedLock", METHOD(&c->db, xCheckReservedLock)(c->db.side[s], &reserved[s]));
  FUZZ_CHECK(rc != SQLITE_OK || reserved[0] == reserved[1], "RESERVED is held: %d and %d", reserved[0], reserved[1]);
}

static bool may_write(const connection *c) { return rollback_mode(c) && c->lock == SQLITE_LOCK_EXCLUSIVE; }

static void step_write(connection *c) {
  const unsigned number = fuzz_byte(&w.in) % MAX_PAGES, count = fuzz_byte(&w.in) % 8 + 1;
  if (!may_write(c)) return;
  choose_content();
  for (unsigned i = 0; i < count; i++)
    pair_write(&c->db, make_page(number + i + 1), w.page_bytes, (sqlite3_int64)(number + i) * w.page_bytes);
}

static void step_truncate(connection *c) {
  const unsigned pages = fuzz_byte(&w.in) % MAX_PAGES;
  if (may_write(c)) pair_truncate(&c->db, (sqlite3_int64)pages * w.page_bytes);
}

static void step_sync(connection *c) {
  const uint8_t flags = fuzz_byte(&w.in);
  if (!may_write(c)) return;
  pair_control(&c->db, "SYNC", SQLITE_FCNTL_SYNC, 0, true);
  if (flags & 4) pair_sync(&c->db, flags);
  compare_databases();
  if (flags & 8) pair_control(&c->db, "COMMIT_PHASETWO", SQLITE_FCNTL_COMMIT_PHASETWO, 0, true);
}

static void step_journal(connection *c) {
  static const unsigned amounts[] = {4, 28, 512};
  const uint8_t choice = fuzz_byte(&w.in);
  const sqlite3_int64 offset = fuzz_word(&w.in);
  const unsigned bytes = choice / 8 % 4 < 3 ? amounts[choice / 8 % 4] : w.page_bytes;
  if (!rollback_mode(c) || c->lock < SQLITE_LOCK_RESERVED) return;
  const char *name[SIDES] = {sqlite3_filename_journal(c->name[0]), sqlite3_filename_journal(c->name[1])};
  if (!c->journal.open)
    pair_open(&c->journal, "journal", name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MAIN_JOURNAL);
  else if (choice % 8 < 3)
    pair_write(&c->journal, pattern(bytes), bytes, offset);
  else if (choice % 8 == 3)
    pair_read(&c->journal, bytes, offset);
  else if (choice % 8 == 4)
    pair_truncate(&c->journal, offset);
  else if (choice % 8 == 5)
    pair_sync(&c->journal, choice / 8);
  else if (choice % 8 == 6)
    pair_size(&c->journal);
  else {
    pair_close(&c->journal);
    if (choice & 8) pair_delete(name, "journal", choice >> 4 & 1);
  }
}

static void step_fetch(connection *c) {
  int rc;
  const sqlite3_int64 offset = (sqlite3_int64)(fuzz_byte(&w.in) % MAX_PAGES) * w.page_bytes;
  if (!rollback_mode(c) || c->lock < SQLITE_LOCK_SHARED) return;
  void *got[SIDES] = {NULL, NULL};
  BOTH(rc, c->db.what, "xFetch", METHOD(&c->db, xFetch)(c->db.side[s], offset, (int)w.page_bytes, &got[s]));
  FUZZ_CHECK((got[0] == NULL) == (got[1] == NULL), "xFetch: %p and %p", got[0], got[1]);
  if (rc != SQLITE_OK) return;
  FUZZ_CHECK(got[0] == NULL || memcmp(got[0], got[1], w.page_bytes) == 0, "xFetch at %lld: other bytes", offset);
  if (got[0] != NULL) BOTH(rc, c->db.what, "xUnfetch", METHOD(&c->db, xUnfetch)(c->db.side[s], offset, got[s]));
}

static void step_control(connection *c) {
  const uint8_t choice = fuzz_byte(&w.in);
  const sqlite3_int64 value = fuzz_byte(&w.in);
  if (!c->db.open) return;
  pair *f = choice & 16 && c->wal.open ? &c->wal : &c->db;
  switch (choice % 9) {
  case 0:
    if (may_write(c)) pair_control(f, "SIZE_HINT", SQLITE_FCNTL_SIZE_HINT, value * 1000, true);
    break;
  case 1: pair_control(f, "CHUNK_SIZE", SQLITE_FCNTL_CHUNK_SIZE, value * 512, false); break;
  case 2: pair_control(f, "PERSIST_WAL", SQLITE_FCNTL_PERSIST_WAL, value % 3 - 1, false); break;
  case 3: pair_control(f, "POWERSAFE_OVERWRITE", SQLITE_FCNTL_POWERSAFE_OVERWRITE, value % 3 - 1, false); break;
  case 4: pair_control(f, "MMAP_SIZE", SQLITE_FCNTL_MMAP_SIZE, value % 2 ? value * 4096 : -1, true); break;
  case 5: pair_control(f, "HAS_MOVED", SQLITE_FCNTL_HAS_MOVED, -1, false); break;
  case 6: pair_control(f, "LOCKSTATE", SQLITE_FCNTL_LOCKSTATE, -1, false); break;
  case 7: pair_control(f, "an unknown control", 1000, -1, true); break;
  default: {
    int rc;
    BOTH(rc, f->what, "xSectorSize", METHOD(f, xSectorSize)(f->side[s]));
    BOTH(rc, f->what, "xDeviceCharacteristics", METHOD(f, xDeviceCharacteristics)(f->side[s]));
  }
  }
}

/* Changes what a connection does in the middle of whatever it is doing. */
static void step_pragma(connection *c) {
  const uint8_t choice = fuzz_byte(&w.in);
  if (!c->db.open) return;
  char *synchronous[] = {NULL, (char *)"synchronous", (char *)"off"};
  char *readahead[] = {NULL, (char *)"uring_readahead", (char *)(choice & 32 ? "0" : choice & 16 ? "120" : "3")};
  char *backend[] = {NULL, (char *)"uring_backend", (char *)fuzz_backend(choice)};
  int rc;
  if (choice & 128) {
    BOTH(rc, c->db.what, "PRAGMA synchronous",
         METHOD(&c->db, xFileControl)(c->db.side[s], SQLITE_FCNTL_PRAGMA, (void *)synchronous));
    return;
  }
  char **args = choice & 64 ? readahead : backend;
  sqlite3_file *uring = c->db.side[SIDE_URING];
  rc = uring->pMethods->xFileControl(uring, SQLITE_FCNTL_PRAGMA, (void *)args);
  FUZZ_CHECK(rc == SQLITE_OK && args[0] != NULL && strcmp(args[0], args[2]) == 0, "PRAGMA %s: %d %s", args[1], rc,
             args[0]);
  sqlite3_free(args[0]);
}

static void step_temp(connection *c) {
  static const int kinds[] = {SQLITE_OPEN_TEMP_DB, SQLITE_OPEN_TEMP_JOURNAL, SQLITE_OPEN_TRANSIENT_DB,
                              SQLITE_OPEN_SUBJOURNAL};
  const uint8_t choice = fuzz_byte(&w.in);
  const sqlite3_int64 offset = fuzz_word(&w.in);
  const unsigned bytes = choice & 64 ? w.page_bytes : (unsigned)choice + 1;
  (void)c;
  if (!w.temp.open)
    pair_open(&w.temp, "temporary file", NULL,
              kinds[choice % 4] | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_EXCLUSIVE |
                  SQLITE_OPEN_DELETEONCLOSE);
  else if (choice % 8 < 3)
    pair_write(&w.temp, pattern(bytes), bytes, offset);
  else if (choice % 8 < 5)
    pair_read(&w.temp, bytes, offset);
  else if (choice % 8 == 5)
    pair_truncate(&w.temp, offset);
  else if (choice % 8 == 6)
    pair_size(&w.temp);
  else
    pair_close(&w.temp);
}

/* ---- a database with a WAL ---- */

/* As walIndexRecover reads it. */
static void recover(connection *c) {
  if (!shm_take(c, WAL_WRITE, 1, SQLITE_SHM_EXCLUSIVE)) return;
  if (w.has_header) pair_read(&c->wal, WAL_HEADER, 0);
  for (unsigned i = 0; i < w.frames && i < 30; i++) pair_read(&c->wal, FRAME_HEADER + w.page_bytes, frame_offset(i));
  index_cut(c, w.frames);
  shm_give(c, WAL_WRITE, 1, SQLITE_SHM_EXCLUSIVE);
}

static void step_open_wal(connection *c) {
  const connection *o = other(c);
  const char *name[SIDES];
  if (!c->db.open || c->readonly || c->wal.open || c->journal.open) return;
  if (c->lock != SQLITE_LOCK_SHARED && c->lock != SQLITE_LOCK_EXCLUSIVE) return;
  if (o->db.open && o->lock != SQLITE_LOCK_NONE && !o->wal.open) return;
  for (int s = 0; s < SIDES; s++) name[s] = sqlite3_filename_wal(c->name[s]);
  if (pair_open(&c->wal, "WAL", name, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_WAL) != SQLITE_OK)
    return;
  c->private = c->lock == SQLITE_LOCK_EXCLUSIVE;
  c->read_lock = 0;
  c->tenure = false;
  if (!c->private) {
    int rc;
    void volatile *memory[SIDES] = {NULL, NULL};
    BOTH(rc, c->db.what, "xShmMap", METHOD(&c->db, xShmMap)(c->db.side[s], 0, INDEX_BYTES, 1, &memory[s]));
    FUZZ_CHECK((memory[0] == NULL) == (memory[1] == NULL), "xShmMap: %p and %p", memory[0], memory[1]);
    FUZZ_CHECK(rc == SQLITE_OK, "xShmMap gives %d", rc);
    for (int s = 0; s < SIDES; s++) c->index[s] = (uint32_t *)(uintptr_t)memory[s];
  }
  recover(c);
}

static void step_close_wal(connection *c) {
  const bool last = fuzz_byte(&w.in) & 1;
  if (!c->wal.open) return;
  close_wal(c, last);
  unlock(c, SQLITE_LOCK_NONE);
}

static unsigned pages_in_file(void) {
  struct stat st;
  FUZZ_CHECK(fstat(w.raw[0], &st) == 0, "fstat");
  return (unsigned)(st.st_size / w.page_bytes);
}

static void begin_read(connection *c) {
  if (!c->wal.open || c->read_lock != 0) return;
  for (int s = 0; s < SIDES && !c->private; s++) METHOD(&c->db, xShmBarrier)(c->db.side[s]);
  int slot = WAL_READ_0;
  if (w.backfilled != w.frames) {
    slot = WAL_READ_1 + (c != w.connections);
    if (!shm_take(c, slot, 1, SQLITE_SHM_EXCLUSIVE)) return;
    index_word(c, INDEX_MARKS + (unsigned)(slot - WAL_READ_0), w.frames);
    shm_give(c, slot, 1, SQLITE_SHM_EXCLUSIVE);
  }
  if (!shm_take(c, slot, 1, SQLITE_SHM_SHARED)) return;
  c->read_lock = slot;
  c->generation = w.generation;
  c->mark = w.frames;
  c->first = w.backfilled;
  c->pages = w.frames == 0 ? pages_in_file() : w.pages;
}

static void end_read(connection *c) {
  end_write(c);
  if (c->read_lock != 0) shm_give(c, c->read_lock, 1, SQLITE_SHM_SHARED);
  c->read_lock = 0;
}

static void begin_write(connection *c) {
  begin_read(c);
  if (!c->wal.open || c->read_lock == 0 || c->tenure || !shm_take(c, WAL_WRITE, 1, SQLITE_SHM_EXCLUSIVE)) return;
  if (c->generation != w.generation || c->mark != w.frames) { /* SQLITE_BUSY_SNAPSHOT */
    shm_give(c, WAL_WRITE, 1, SQLITE_SHM_EXCLUSIVE);
    return;
  }
  c->tenure = true;
  c->committed = false;
  c->position = w.frames;
  w.tenure_end = 0;
}

static void end_write(connection *c) {
  if (!c->tenure) return;
  c->tenure = false;
  if (c->committed) {
    w.frames = c->mark = c->position;
    c->pages = w.pages;
    if (w.equal_end < w.tenure_end) w.equal_end = w.tenure_end;
  } else {
    index_cut(c, w.frames);
    if (w.dropped_end < w.tenure_end) w.dropped_end = w.tenure_end;
  }
  shm_give(c, WAL_WRITE, 1, SQLITE_SHM_EXCLUSIVE);
  if (c->committed) pair_control(&c->db, "COMMIT_PHASETWO", SQLITE_FCNTL_COMMIT_PHASETWO, 0, true);
  compare_wals(0, w.frames);
}

static void wal_write(connection *c, const void *data, unsigned bytes, sqlite3_int64 offset) {
  pair_write(&c->wal, data, bytes, offset);
  if (w.tenure_end < offset + bytes) w.tenure_end = offset + bytes;
}

static void make_header(uint8_t *header, unsigned page_number, unsigned size_after_commit) {
  fuzz_put32(header, page_number);
  fuzz_put32(header + 4, size_after_commit);
  for (int i = 8; i < FRAME_HEADER; i += 4) fuzz_put32(header + i, w.noise += 0x9e3779b9);
}

/* As walRestartLog: everything is in the database and nobody needs a frame. */
static void restart(connection *c) {
  if (w.frames == 0 || w.backfilled != w.frames || c->position != w.frames || c->committed) return;
  if (c->read_lock != WAL_READ_0 || !shm_take(c, WAL_READ_1, WAL_READ_COUNT, SQLITE_SHM_EXCLUSIVE)) return;
  shm_give(c, WAL_READ_1, WAL_READ_COUNT, SQLITE_SHM_EXCLUSIVE);
  w.frames = w.backfilled = c->position = c->mark = c->first = 0;
  w.has_header = false;
  index_cut(c, 0);
  c->generation = ++w.generation;
}

static void append(connection *c, unsigned page_number, bool commit) {
  uint8_t header[WAL_HEADER];
  if (c->position == MAX_FRAMES) return;
  if (c->position == 0 && !w.has_header) {
    for (int i = 0; i < WAL_HEADER; i += 4) fuzz_put32(header + i, 0x377f0682 + w.generation);
    wal_write(c, header, WAL_HEADER, 0);
    if (page_number & 1) pair_sync(&c->wal, 0);
    w.has_header = true;
    compare_wals(0, 0);
  }
  make_header(header, page_number, commit ? w.pages : 0);
  const sqlite3_int64 offset = frame_offset(c->position);
  wal_write(c, header, FRAME_HEADER, offset);
  wal_write(c, make_page(page_number), w.page_bytes, offset + FRAME_HEADER);
  w.page_of[c->position] = (uint8_t)page_number;
  index_add(c, c->position++);
  if (!commit) return;
  c->committed = true;
  compare_wals(w.frames, c->position);
}

/* Many frames, so that the 1 MiB that uring collects is filled now and then. */
static void step_frames(connection *c) {
  const uint8_t choice = fuzz_byte(&w.in), number = fuzz_byte(&w.in);
  begin_write(c);
  if (!c->tenure || c->committed) return;
  if (choice & 1) restart(c);
  choose_content();
  const unsigned count = choice & 2 ? (choice >> 2) + 1u : (choice >> 2) % 4 + 1u;
  for (unsigned i = 0; i < count; i++) append(c, (number + i) % MAX_PAGES + 1, false);
}

static void step_commit(connection *c) {
  const uint8_t choice = fuzz_byte(&w.in), number = fuzz_byte(&w.in);
  begin_write(c);
  if (!c->tenure || c->committed || c->position == MAX_FRAMES) return;
  if (choice & 1) restart(c);
  w.pages = number % MAX_PAGES + 1;
  choose_content();
  append(c, (number >> 1) % w.pages + 1, true);
  if (choice & 2) pair_sync(&c->wal, choice >> 4);
  if (choice & 4) end_write(c);
  if (choice & 8) end_read(c);
}

/* A page that was spilled is dirtied again. */
static void step_rewrite_page(connection *c) {
  const unsigned choice = fuzz_word(&w.in);
  if (!c->tenure || c->committed || c->position == w.frames) return;
  choose_content();
  const unsigned frame = w.frames + choice % (c->position - w.frames);
  wal_write(c, make_page(w.page_of[frame]), w.page_bytes, frame_offset(frame) + FRAME_HEADER);
}

/* walRewriteChecksums, after the commit frame. */
static void step_rewrite_headers(connection *c) {
  const unsigned choice = fuzz_word(&w.in);
  if (!c->tenure || !c->committed) return;
  for (unsigned i = w.frames + choice % (c->position - w.frames); i < c->position; i++) {
    uint8_t header[FRAME_HEADER];
    pair_read(&c->wal, FRAME_HEADER + w.page_bytes, frame_offset(i));
    make_header(header, w.page_of[i], i == c->position - 1 ? w.pages : 0);
    wal_write(c, header, FRAME_HEADER, frame_offset(i));
  }
  compare_wals(w.frames, c->position);
}

/* Frames that fill a sector, with the commit flag, the last one split by an xSync; the file is cut to
** journal_size_limit. */
static void step_after_commit(connection *c) {
  const uint8_t choice = fuzz_byte(&w.in);
  if (!c->tenure || !c->committed) return;
  for (unsigned i = 0; i < choice % 4u && c->position < MAX_FRAMES; i++) append(c, w.page_of[c->position - 1], true);
  if (choice & 4 && c->position < MAX_FRAMES) {
    uint8_t header[FRAME_HEADER];
    const sqlite3_int64 offset = frame_offset(c->position);
    const unsigned first = w.page_bytes / 2;
    make_header(header, w.page_of[c->position - 1], w.pages);
    make_page(w.page_of[c->position - 1]);
    wal_write(c, header, FRAME_HEADER, offset);
    wal_write(c, page, first, offset + FRAME_HEADER);
    pair_sync(&c->wal, choice >> 6);
    wal_write(c, page + first, w.page_bytes - first, offset + FRAME_HEADER + first);
    w.page_of[c->position] = w.page_of[c->position - 1];
    index_add(c, c->position++);
  }
  if (choice & 8) {
    const sqlite3_int64 end = frame_offset(c->position);
    pair_truncate(&c->wal, end);
    if (w.dropped_end > end) w.dropped_end = end;
    if (w.equal_end > end) w.equal_end = end;
    if (w.tenure_end > end) w.tenure_end = end;
  }
  if (choice & 16) pair_sync(&c->wal, choice >> 6);
  compare_wals(w.frames, c->position);
}

/* ROLLBACK TO: the frames behind are forgotten, wherever they are. */
static void step_savepoint(connection *c) {
  const unsigned choice = fuzz_word(&w.in);
  if (!c->tenure || c->committed) return;
  c->position = w.frames + choice % (c->position - w.frames + 1);
  index_cut(c, c->position);
}

static void step_end(connection *c) {
  if (fuzz_byte(&w.in) & 1)
    end_write(c);
  else
    end_read(c);
}

static void step_begin(connection *c) {
  if (fuzz_byte(&w.in) & 1)
    begin_write(c);
  else
    begin_read(c);
}

static void step_wal_size(connection *c) {
  sqlite3_int64 size[SIDES] = {0, 0};
  if (!c->wal.open) return;
  if (!c->tenure && other(c)->tenure) return; /* only the writer asks */
  const sqlite3_int64 sure = c->tenure && w.tenure_end > w.equal_end ? w.tenure_end : w.equal_end;
  pair_sizes(&c->wal, size);
  const bool exact = w.dropped_end <= sure;
  FUZZ_CHECK(exact ? size[0] == size[1] : size[1] >= sure && size[1] <= size[0],
             "WAL: size %lld on the default VFS, %lld on uring, %lld were written for certain", size[0], size[1], sure);
}

/* As walCheckpoint. Stops after so many pages, as an interrupt does. */
static void copy_pages(connection *c, unsigned safe, unsigned stop_after, uint8_t sync) {
  unsigned copied = 0;
  if (sync & 1) pair_sync(&c->wal, sync >> 4);
  pair_control(&c->db, "CKPT_START", SQLITE_FCNTL_CKPT_START, 0, true);
  if (sync & 2) pair_control(&c->db, "SIZE_HINT", SQLITE_FCNTL_SIZE_HINT, (sqlite3_int64)w.pages * w.page_bytes, true);
  for (unsigned number = 1; number <= w.pages && copied <= stop_after; number++) {
    unsigned frame = w.frames;
    while (frame > w.backfilled && w.page_of[frame - 1] != number) frame--;
    if (frame == w.backfilled || frame > safe) continue;
    if (copied++ == stop_after) break;
    pair_read(&c->wal, w.page_bytes, frame_offset(frame - 1) + FRAME_HEADER);
    pair_write2(&c->db, pair_read_bytes[0], pair_read_bytes[1], w.page_bytes,
                (sqlite3_int64)(number - 1) * w.page_bytes);
  }
  pair_control(&c->db, "CKPT_DONE", SQLITE_FCNTL_CKPT_DONE, 0, true);
  compare_databases();
  if (copied > stop_after) return;
  if (safe == w.frames) {
    pair_truncate(&c->db, (sqlite3_int64)w.pages * w.page_bytes);
    if (sync & 4) pair_sync(&c->db, sync >> 4);
    compare_databases();
  }
  w.backfilled = safe;
  index_word(c, INDEX_BACKFILL, safe);
}

static void checkpoint(connection *c, unsigned stop_after, uint8_t sync) {
  const connection *o = other(c);
  if (!shm_take(c, WAL_CKPT, 1, SQLITE_SHM_EXCLUSIVE)) return;
  unsigned safe = w.frames;
  if (o->wal.open && o->read_lock >= WAL_READ_1 && o->mark < safe) safe = o->mark;
  if (safe > w.backfilled && shm_take(c, WAL_READ_0, 1, SQLITE_SHM_EXCLUSIVE)) {
    copy_pages(c, safe, stop_after, sync);
    shm_give(c, WAL_READ_0, 1, SQLITE_SHM_EXCLUSIVE);
  }
  shm_give(c, WAL_CKPT, 1, SQLITE_SHM_EXCLUSIVE);
}

static void step_checkpoint(connection *c) {
  const uint8_t sync = fuzz_byte(&w.in), stop = fuzz_byte(&w.in);
  if (c->wal.open && c->read_lock == 0) checkpoint(c, stop & 1 ? stop / 2 % MAX_PAGES : MAX_PAGES, sync);
}

/* PRAGMA wal_checkpoint(TRUNCATE), once everything is copied. */
static void step_truncate_wal(connection *c) {
  const uint8_t sync = fuzz_byte(&w.in);
  if (!c->wal.open || c->read_lock != 0) return;
  checkpoint(c, MAX_PAGES, sync);
  if (w.backfilled != w.frames || !shm_take(c, WAL_CKPT, 1, SQLITE_SHM_EXCLUSIVE)) return;
  if (shm_take(c, WAL_WRITE, 1, SQLITE_SHM_EXCLUSIVE)) {
    if (shm_take(c, WAL_READ_1, WAL_READ_COUNT, SQLITE_SHM_EXCLUSIVE)) {
      pair_truncate(&c->wal, 0);
      w.frames = w.backfilled = 0;
      w.has_header = false;
      w.equal_end = w.dropped_end = 0;
      w.generation++;
      index_cut(c, 0);
      shm_give(c, WAL_READ_1, WAL_READ_COUNT, SQLITE_SHM_EXCLUSIVE);
    }
    shm_give(c, WAL_WRITE, 1, SQLITE_SHM_EXCLUSIVE);
  }
  shm_give(c, WAL_CKPT, 1, SQLITE_SHM_EXCLUSIVE);
}

/* ---- reading, in either mode ---- */

static void read_page(connection *c, unsigned number) {
  if (c->wal.open) {
    if (c->read_lock == 0) return;
    const unsigned end = c->tenure ? c->position : c->mark;
    for (unsigned frame = end; frame > c->first; frame--) {
      if (w.page_of[frame - 1] != number) continue;
      pair_read(&c->wal, w.page_bytes, frame_offset(frame - 1) + FRAME_HEADER);
      return;
    }
    if (number > c->pages) return; /* such a page may come and go: SQLite never asks for it */
  } else if (!rollback_mode(c) || c->lock < SQLITE_LOCK_SHARED) {
    return;
  }
  pair_read(&c->db, w.page_bytes, (sqlite3_int64)(number - 1) * w.page_bytes);
}

static void step_read(connection *c) {
  const uint8_t choice = fuzz_byte(&w.in);
  const unsigned number = choice % 32 % MAX_PAGES + 1, count = choice & 128 ? 8 : choice & 64 ? 3 : 1;
  const bool backward = choice & 32;
  if (!c->db.open) return;
  if (c->wal.open) begin_read(c);
  for (unsigned i = 0; i < count; i++)
    if (!backward || i < number) read_page(c, backward ? number - i : number + i);
}

static void step_db_size(connection *c) {
  if (c->db.open && (c->wal.open ? c->read_lock != 0 : rollback_mode(c) && c->lock >= SQLITE_LOCK_SHARED))
    pair_size(&c->db);
}

/* sqlite3PagerReadFileheader does so without a lock. */
static void step_read_header(connection *c) {
  if (c->db.open && rollback_mode(c) && other(c)->lock != SQLITE_LOCK_EXCLUSIVE) pair_read(&c->db, 100, 0);
}

static void step_names(connection *c) {
  (void)c;
  compare_names();
}

/* ---- the steps ---- */

/* clang-format off */
static void (*const steps[])(connection *) = {
    step_open, step_lock, step_unlock, step_reserved, step_write, step_truncate,
    step_sync, step_journal, step_fetch, step_control, step_pragma, step_temp,
    step_open_wal, step_close_wal, step_begin, step_end, step_frames, step_frames,
    step_commit, step_commit, step_rewrite_page, step_savepoint, step_rewrite_headers, step_after_commit,
    step_wal_size, step_checkpoint, step_truncate_wal, step_read, step_read, step_db_size,
    step_read_header, step_names, close_connection,
};
/* clang-format on */

int LLVMFuzzerInitialize(const int *argc, char ***argv) {
  (void)argc, (void)argv;
  fuzz_start();
  return 0;
}

/* A connection that has its WAL open takes many steps to make by chance. */
static void begin_with_wal(connection *c) {
  step_open(c);
  if (c->db.open && lock(c, SQLITE_LOCK_SHARED) == SQLITE_OK) step_open_wal(c);
}

/* A database with a root, two interior pages below it and their leaves. */
static void begin_with_tree(void) {
  static uint8_t file[MAX_PAGES * MAX_PAGE_BYTES];
  static const struct { uint8_t first, children; } interior[] = {{1, 1}, {3, 8}, {12, 10}};
  for (unsigned number = 1; number <= MAX_PAGES; number++) {
    w.recipe = (recipe){.kind = RECIPE_LEAF};
    if (number <= 3)
      w.recipe = (recipe){RECIPE_TABLE, 0, interior[number - 1].first, interior[number - 1].children, {{0}}};
    memcpy(file + (size_t)(number - 1) * w.page_bytes, make_page(number), w.page_bytes);
  }
  for (int s = 0; s < SIDES; s++) fuzz_write_file(s, "c.db", file, (size_t)MAX_PAGES * w.page_bytes);
  w.pages = MAX_PAGES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const unsigned page_bytes[] = {512, 512, 1024, 1024, 4096, 4096, 4096, 65536};
  memset(&w, 0, sizeof w);
  w.raw[0] = w.raw[1] = -1;
  w.in = (fuzz_input){data, size};
  const uint8_t begin = fuzz_byte(&w.in);
  w.page_bytes = page_bytes[begin % 8];
  w.pages = 1;
  if (begin & 32 && w.page_bytes <= 4096) begin_with_tree();
  if (begin & 8) begin_with_wal(&w.connections[0]);
  if (begin & 16) begin_with_wal(&w.connections[1]);
  for (int i = 0; i < MAX_STEPS && w.in.left > 0; i++) {
    const uint8_t code = fuzz_byte(&w.in);
    connection *c = &w.connections[code >> 7];
    fuzz_trace("step %d: connection %d, step function %zu", i, code >> 7,
               (code & 127) % (sizeof steps / sizeof *steps));
    steps[(code & 127) % (sizeof steps / sizeof *steps)](c);
  }
  for (int i = 0; i < 2; i++) close_connection(&w.connections[i]);
  pair_close(&w.temp);
  compare_databases();
  for (int s = 0; s < SIDES; s++)
    if (w.raw[s] >= 0) close(w.raw[s]);
  fuzz_clean();
  return 0;
}
