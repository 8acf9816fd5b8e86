/*
** shared.c - what all connections of the process to one database have in common.
**
** A database is found by device and inode of the parent's own open file, as os_unix.c finds its unixInodeInfo, when a
** connection opens it; the last one to close it takes the object along. While a descriptor is open its inode number
** cannot come to mean another file. Where the descriptor is not known (descriptor.c) a connection has an object to
** itself.
**
** It holds the pieces of the wal-index, by their number. They are shared memory, at one address for the whole process
** (os_unix.c, unixShmNode), and SQLite asks for them in any order: a transaction may find its first page in the last
** piece.
**
** All connections are on one list as well. A WAL that is opened looks there for its database file, and a child process
** for what it has inherited. A process may have tens of thousands open: leaving takes no search.
**
** One mutex guards all of it. The pieces of the wal-index may be read without, by a connection that has the wal-index
** mapped.
*/
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static uringvfs__shared *table[BUCKETS];
static uringvfs__file *list;

void uringvfs__shared_lock(void) { pthread_mutex_lock(&mutex); }
void uringvfs__shared_unlock(void) { pthread_mutex_unlock(&mutex); }
uringvfs__file *uringvfs__connections(void) { return list; }

/* ---- the object ---- */

static uringvfs__shared **bucket_of(dev_t dev, ino_t ino) { return &table[(dev * 31 + ino) % BUCKETS]; }

/* One of a parent process describes memory that is not shared here (fork.c). */
static bool is_of(const uringvfs__shared *s, const uringvfs__file *f) {
  return s->ino == f->descriptor.ino && s->dev == f->descriptor.dev && s->generation == f->generation;
}

static uringvfs__shared *find(const uringvfs__file *f) {
  if (f->descriptor.fd < 0) return NULL;
  uringvfs__shared *s = *bucket_of(f->descriptor.dev, f->descriptor.ino);
  while (s != NULL && !is_of(s, f)) s = s->next;
  return s;
}

static uringvfs__shared *create(const uringvfs__file *f) {
  uringvfs__shared *s = calloc(1, sizeof *s);
  if (s == NULL) return NULL;
  s->generation = f->generation;
  s->identified = f->descriptor.fd >= 0;
  if (!s->identified) return s;
  s->dev = f->descriptor.dev;
  s->ino = f->descriptor.ino;
  uringvfs__shared **bucket = bucket_of(s->dev, s->ino);
  s->next = *bucket;
  *bucket = s;
  return s;
}

/* Nobody finds it any more. */
static void leave_table(uringvfs__shared *s) {
  if (!s->identified) return;
  uringvfs__shared **link = bucket_of(s->dev, s->ino);
  while (*link != s) link = &(*link)->next;
  *link = s->next;
  s->identified = false;
}

static void destroy(uringvfs__shared *s) {
  leave_table(s);
  for (int i = 0; i < URINGVFS__REGION_LEVELS; i++) free(atomic_load_explicit(&s->regions[i], memory_order_relaxed));
  free(s);
}

int uringvfs__shared_join(uringvfs__file *f) {
  pthread_mutex_lock(&mutex);
  uringvfs__shared *s = find(f);
  if (s == NULL) s = create(f);
  if (s != NULL) {
    s->connections++;
    f->shared = s;
    f->next = list;
    f->link = &list;
    if (list != NULL) list->link = &f->next;
    list = f;
  }
  pthread_mutex_unlock(&mutex);
  return s != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

/* One that opens a database meanwhile makes itself a new ring when it needs one. */
static void trim_if(bool nobody) {
  if (nobody) rt_pool_trim(uringvfs__pool);
}

void uringvfs__shared_trim(void) {
  pthread_mutex_lock(&mutex);
  const bool nobody = list == NULL;
  pthread_mutex_unlock(&mutex);
  trim_if(nobody);
}

void uringvfs__shared_forget(uringvfs__file *f) {
  pthread_mutex_lock(&mutex);
  leave_table(f->shared);
  pthread_mutex_unlock(&mutex);
}

/* ---- the wal-index ---- */

/* Level n has room for 2^n pieces; so they stay where they are while more are added. */
static _Atomic(void *) *slot_of(const uringvfs__shared *s, int region, int *level) {
  const unsigned number = (unsigned)region + 1;
  *level = 31 - __builtin_clz(number);
  _Atomic(void *) *slots = atomic_load_explicit(&s->regions[*level], memory_order_acquire);
  return slots != NULL ? &slots[number - (1u << *level)] : NULL;
}

static _Atomic(void *) *make_slot(uringvfs__shared *s, int region) {
  int level;
  _Atomic(void *) *slot = slot_of(s, region, &level);
  if (slot != NULL) return slot;
  _Atomic(void *) *slots = calloc((size_t)1 << level, sizeof *slots);
  /* release: who finds the level must find it empty, not as it was before calloc */
  atomic_store_explicit(&s->regions[level], slots, memory_order_release);
  return slots != NULL ? slot_of(s, region, &level) : NULL;
}

bool uringvfs__shared_note_region(uringvfs__file *f, int region, int bytes, void *memory) {
  uringvfs__shared *s = f->shared;
  if (region < 0 || region >= (1 << URINGVFS__REGION_LEVELS) - 1 || bytes != URINGVFS__REGION_BYTES) return true;
  pthread_mutex_lock(&mutex);
  if (!f->mapped) s->mapped++;
  f->mapped = true;
  _Atomic(void *) *slot = make_slot(s, region);
  if (slot != NULL) atomic_store_explicit(slot, memory, memory_order_release);
  if (slot != NULL && region >= s->region_end) s->region_end = region + 1;
  pthread_mutex_unlock(&mutex);
  return slot != NULL;
}

void *uringvfs__shared_region(const uringvfs__shared *s, int region) {
  int level;
  if (region < 0 || region >= (1 << URINGVFS__REGION_LEVELS) - 1) return NULL;
  _Atomic(void *) *slot = slot_of(s, region, &level);
  return slot != NULL ? atomic_load_explicit(slot, memory_order_acquire) : NULL;
}

static void forget_regions(uringvfs__shared *s) {
  int level;
  for (int i = 0; i < s->region_end; i++) {
    _Atomic(void *) *slot = slot_of(s, i, &level);
    if (slot != NULL) atomic_store_explicit(slot, NULL, memory_order_relaxed);
  }
  s->region_end = 0;
}

static void unmapped(uringvfs__file *f) {
  if (f->mapped && --f->shared->mapped == 0) forget_regions(f->shared);
  f->mapped = false;
}

void uringvfs__shared_unmapped(uringvfs__file *f) {
  if (!f->mapped) return; /* only this connection changes it */
  pthread_mutex_lock(&mutex);
  unmapped(f);
  pthread_mutex_unlock(&mutex);
}

/* ---- leaving ---- */

void uringvfs__shared_leave(uringvfs__file *f) {
  pthread_mutex_lock(&mutex);
  unmapped(f);
  *f->link = f->next;
  if (f->next != NULL) f->next->link = f->link;
  if (--f->shared->connections == 0) destroy(f->shared);
  f->shared = NULL;
  const bool nobody = list == NULL;
  pthread_mutex_unlock(&mutex);
  trim_if(nobody);
}

/* ---- the database of a WAL ---- */

static bool is_wal_of(const char *name, const uringvfs__file *database) {
  const size_t length = strlen(database->name);
  return strncmp(name, database->name, length) == 0 && strcmp(name + length, "-wal") == 0 &&
         sqlite3_filename_wal(database->name) == name;
}

/*
** The pager keeps the names of a connection's files in one piece of memory (pager.c, sqlite3PagerOpen), so the WAL's
** name, as a pointer, tells which of several connections to a database opens it. sqlite3_database_file_object() would
** answer the same, but reads memory that is not there when a program calls xOpen with a name of its own, and returns
** the outermost of several shims.
*/
uringvfs__file *uringvfs__database_claim(uringvfs__file *wal) {
  pthread_mutex_lock(&mutex);
  uringvfs__file *f = list;
  while (f != NULL && !is_wal_of(wal->name, f)) f = f->next;
  if (f != NULL && f->wal != NULL) f = NULL;
  if (f != NULL) f->wal = wal;
  pthread_mutex_unlock(&mutex);
  return f;
}
