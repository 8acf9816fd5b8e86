/*
** support_disk.c - see support_disk.h.
*/
#include "support_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

uint64_t crash_hash(uint64_t hash, const void *data, size_t bytes) {
  const uint8_t *p = data;
  hash ^= bytes * 0x9e3779b97f4a7c15u;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    uint64_t word;
    memcpy(&word, p, 8);
    hash = (hash ^ word) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  for (; bytes > 0; bytes--, p++) hash = (hash ^ *p) * 0xff51afd7ed558ccdu;
  return hash ^ (hash >> 29);
}

static void *grow(void *memory, size_t bytes) {
  void *p = realloc(memory, bytes);
  if (p == NULL) {
    fprintf(stderr, "crash: out of memory\n");
    abort();
  }
  return p;
}

/* ---- contents ---- */

static void resize(crash_bytes *b, size_t size) {
  if (size > b->room) {
    b->room = size + size / 2 + 4096;
    b->data = grow(b->data, b->room);
  }
  if (size > b->size) memset(b->data + b->size, 0, size - b->size);
  b->size = size;
}

static void put(crash_bytes *b, const uint8_t *bytes, size_t length, size_t offset) {
  if (length == 0) return;
  if (offset + length > b->size) resize(b, offset + length);
  memcpy(b->data + offset, bytes, length);
}

static void apply(crash_bytes *b, const crash_entry *e) {
  if (e->kind == CRASH_WRITE)
    put(b, e->bytes, e->length, e->offset);
  else
    resize(b, e->offset);
}

/* Some of its sectors. Returns whether all of it was kept. */
static bool apply_torn(crash_bytes *b, const crash_entry *e, uint64_t *random) {
  bool whole = true;
  /* A run of kept, a run of lost sectors, or a chequered pattern: all three happen. */
  const unsigned pattern = (unsigned)(splitmix64(random) % 3);
  const size_t first = e->offset / CRASH_SECTOR_BYTES;
  const size_t sectors = (e->offset + e->length - 1) / CRASH_SECTOR_BYTES - first + 1;
  const size_t cut = splitmix64(random) % (sectors + 1);
  for (size_t i = 0; i < sectors; i++) {
    const bool keep = pattern == 0 ? i < cut : pattern == 1 ? i >= cut : (splitmix64(random) & 1) != 0;
    if (!keep) {
      whole = false;
      continue;
    }
    const size_t sector = (first + i) * CRASH_SECTOR_BYTES;
    const size_t start = sector > e->offset ? sector : e->offset;
    size_t end = sector + CRASH_SECTOR_BYTES;
    if (end > e->offset + e->length) end = e->offset + e->length;
    put(b, e->bytes + (start - e->offset), end - start, start);
  }
  return whole;
}

/* ---- names ---- */

static void apply_name(bool *exists, int *inode_of, const crash_entry *e) {
  exists[e->name] = e->kind == CRASH_CREATE;
  inode_of[e->name] = e->inode;
}

static bool is_name(const crash_entry *e) { return e->kind == CRASH_CREATE || e->kind == CRASH_UNLINK; }

/* ---- replay ---- */

void crash_disk_init(crash_disk *disk, const crash_log *log) {
  memset(disk, 0, sizeof *disk);
  disk->log = log;
  const size_t inodes = (size_t)log->inode_count + 1;
  disk->durable = grow(NULL, inodes * sizeof *disk->durable);
  memset(disk->durable, 0, inodes * sizeof *disk->durable);
}

void crash_disk_free(crash_disk *disk) {
  for (int i = 0; i < disk->log->inode_count; i++) free(disk->durable[i].data);
  free(disk->durable);
  free(disk->pending);
  memset(disk, 0, sizeof *disk);
}

static void add_pending(crash_disk *disk, size_t index) {
  if (disk->pending_count == disk->pending_room) {
    disk->pending_room = disk->pending_room * 2 + 64;
    disk->pending = grow(disk->pending, disk->pending_room * sizeof *disk->pending);
  }
  disk->pending[disk->pending_count++] = index;
}

/* Everything that the sync at `index` covers becomes durable, in order. */
static void make_durable(crash_disk *disk, size_t index) {
  const crash_entry *sync = &disk->log->entries[index];
  size_t kept = 0;
  for (size_t i = 0; i < disk->pending_count; i++) {
    const crash_entry *e = &disk->log->entries[disk->pending[i]];
    const bool covered = sync->kind == CRASH_DIRSYNC
                             ? is_name(e)
                             : !is_name(e) && e->inode == sync->inode && disk->pending[i] < sync->covers;
    if (!covered)
      disk->pending[kept++] = disk->pending[i];
    else if (is_name(e))
      apply_name(disk->exists, disk->inode_of, e);
    else
      apply(&disk->durable[e->inode], e);
  }
  disk->pending_count = kept;
}

void crash_disk_advance(crash_disk *disk) {
  const size_t index = disk->position++;
  switch (disk->log->entries[index].kind) {
  case CRASH_WRITE:
  case CRASH_TRUNCATE:
  case CRASH_CREATE:
  case CRASH_UNLINK: add_pending(disk, index); break;
  case CRASH_SYNC:
  case CRASH_DIRSYNC: make_durable(disk, index); break;
  case CRASH_MARK: break;
  }
}

/* ---- images ---- */

typedef enum verdict { KEEP, DROP, TEAR } verdict;

static verdict judge(const crash_variant *v, const crash_entry *e, size_t i, uint64_t *random) {
  switch (v->fate) {
  case FATE_KEEP_ALL: return KEEP;
  case FATE_DROP_ALL: return DROP;
  case FATE_DROP_ONE: return i == v->which ? DROP : KEEP;
  case FATE_KEEP_ONE: return i == v->which ? KEEP : DROP;
  case FATE_DROP_NAMES: return is_name(e) ? DROP : KEEP;
  case FATE_KEEP_NAMES: return is_name(e) ? KEEP : DROP;
  case FATE_RANDOM: return splitmix64(random) & 1 ? KEEP : DROP;
  case FATE_TEAR_ONE: return i == v->which ? TEAR : KEEP;
  default: return (verdict)(splitmix64(random) % 3);
  }
}

/* The contents of all inodes that a name may lead to. They are made before the names are known: each entry may change
** both. */
typedef struct inode_content {
  crash_bytes bytes;
  bool reachable;
} inode_content;

static inode_content *start_contents(const crash_disk *disk) {
  static inode_content *content;
  static int room;
  const int inodes = disk->log->inode_count;
  if (inodes > room) {
    content = grow(content, (size_t)inodes * sizeof *content);
    memset(content + room, 0, (size_t)(inodes - room) * sizeof *content);
    room = inodes;
  }
  for (int i = 0; i < inodes; i++) content[i].reachable = false;
  for (int n = 0; n < disk->log->name_count; n++)
    if (disk->exists[n]) content[disk->inode_of[n]].reachable = true;
  for (size_t i = 0; i < disk->pending_count; i++) {
    const crash_entry *e = &disk->log->entries[disk->pending[i]];
    if (e->kind == CRASH_CREATE) content[e->inode].reachable = true;
  }
  for (int i = 0; i < inodes; i++) {
    content[i].bytes.size = 0;
    if (content[i].reachable) put(&content[i].bytes, disk->durable[i].data, disk->durable[i].size, 0);
  }
  return content;
}

void crash_disk_image(const crash_disk *disk, const crash_variant *variant, crash_image *image) {
  bool exists[CRASH_MAX_NAMES];
  int inode_of[CRASH_MAX_NAMES];
  inode_content *content = start_contents(disk);
  memcpy(exists, disk->exists, sizeof exists);
  memcpy(inode_of, disk->inode_of, sizeof inode_of);
  uint64_t random = variant->seed;
  memset(image, 0, sizeof *image);
  for (size_t i = 0; i < disk->pending_count; i++) {
    const crash_entry *e = &disk->log->entries[disk->pending[i]];
    verdict v = judge(variant, e, i, &random);
    if (v == TEAR && (e->kind != CRASH_WRITE || e->length == 0)) v = splitmix64(&random) & 1 ? KEEP : DROP;
    if (!is_name(e) && !content[e->inode].reachable) continue; /* nobody can tell */
    if (v == DROP) {
      image->lost++;
      image->lost_name |= is_name(e);
      image->lost_unlink |= e->kind == CRASH_UNLINK;
    } else if (v == TEAR) {
      const bool whole = apply_torn(&content[e->inode].bytes, e, &random);
      image->torn += !whole;
      if (whole) continue;
    } else if (is_name(e)) {
      apply_name(exists, inode_of, e);
    } else {
      apply(&content[e->inode].bytes, e);
    }
    const uint8_t role = disk->log->inode_roles[e->inode];
    image->lost_journal |= v != KEEP && !is_name(e) && (role == ROLE_JOURNAL || role == ROLE_SUPER);
  }
  for (int n = 0; n < disk->log->name_count; n++) {
    if (!exists[n]) continue;
    const int i = image->count++;
    image->name[i] = n;
    image->file[i] = content[inode_of[n]].bytes;
    image->hash = crash_hash(image->hash ^ (uint64_t)(n + 1) << 56, image->file[i].data, image->file[i].size);
  }
}
