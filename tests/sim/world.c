/*
** world.c - see world.h. Nothing here is fast.
*/
#include "world.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#define FILES       64
#define DESCRIPTORS 256
#define FIRST_FD    1000 /* no process has these open: a mix-up with real descriptors answers EBADF */
#define SECTOR      512u

typedef struct change {
  struct change *next;
  bool truncation;
  uint64_t offset, length; /* truncation: offset is the new size */
  char data[];
} change;

typedef struct content {
  char *bytes;
  uint64_t size;
} content;

typedef struct inode {
  char path[256]; /* "": free */
  content now, durable;
  change *first, *last; /* made since the last fsync */
} inode;

struct sim_world {
  inode files[FILES];
  int fds[DESCRIPTORS]; /* index of the file + 1; 0: closed */
  uint64_t space, used;
};

uint64_t sim_random(uint64_t *state) {
  uint64_t z = (*state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

static void *must(void *p) {
  if (!p) abort();
  return p;
}

sim_world *sim_world_open(void) {
  sim_world *w = must(calloc(1, sizeof(*w)));
  w->space = UINT64_MAX;
  return w;
}

static void forget_changes(inode *f) {
  while (f->first) {
    change *c = f->first;
    f->first = c->next;
    free(c);
  }
  f->last = NULL;
}

void sim_world_close(sim_world *w) {
  for (int i = 0; i < FILES; i++) {
    forget_changes(&w->files[i]);
    free(w->files[i].now.bytes);
    free(w->files[i].durable.bytes);
  }
  free(w);
}

void sim_world_set_space(sim_world *w, uint64_t bytes) { w->space = bytes; }

static void resize(content *c, uint64_t size) {
  if (size > c->size) {
    c->bytes = must(realloc(c->bytes, size));
    memset(c->bytes + c->size, 0, size - c->size);
  }
  c->size = size;
}

static void apply(content *c, const change *ch, uint64_t length) {
  if (ch->truncation) {
    resize(c, ch->offset);
    return;
  }
  if (length == 0) return;
  if (ch->offset + length > c->size) resize(c, ch->offset + length);
  memcpy(c->bytes + ch->offset, ch->data, length);
}

static void log_change(inode *f, bool truncation, uint64_t offset, const void *data, uint64_t length) {
  change *ch = must(malloc(sizeof(*ch) + length));
  *ch = (change){.truncation = truncation, .offset = offset, .length = length};
  if (length) memcpy(ch->data, data, length);
  if (f->last)
    f->last->next = ch;
  else
    f->first = ch;
  f->last = ch;
  apply(&f->now, ch, length);
}

static inode *by_path(const sim_world *w, const char *path) {
  for (int i = 0; i < FILES; i++)
    if (strcmp(w->files[i].path, path) == 0 && path[0]) return (inode *)&w->files[i];
  return NULL;
}

static inode *by_fd(sim_world *w, const rt_op *op) {
  int fd = op->file ? op->file->fd - FIRST_FD : -1;
  if (fd < 0 || fd >= DESCRIPTORS || w->fds[fd] == 0) return NULL;
  return &w->files[w->fds[fd] - 1];
}

static int64_t open_file(sim_world *w, const rt_op *op) {
  inode *f = by_path(w, op->buf);
  if (!f && !(op->flags & O_CREAT)) return -ENOENT;
  for (int i = 0; !f && i < FILES; i++)
    if (!w->files[i].path[0]) {
      f = &w->files[i];
      strncpy(f->path, op->buf, sizeof(f->path) - 1);
    }
  if (!f) return -ENOSPC;
  if (op->flags & O_TRUNC) log_change(f, true, 0, NULL, 0);
  for (int fd = 0; fd < DESCRIPTORS; fd++)
    if (w->fds[fd] == 0) {
      w->fds[fd] = (int)(f - w->files) + 1;
      return fd + FIRST_FD;
    }
  return -EMFILE;
}

static int64_t read_at(const inode *f, char *buf, uint64_t length, uint64_t offset) {
  if (offset >= f->now.size) return 0;
  if (length > f->now.size - offset) length = f->now.size - offset;
  memcpy(buf, f->now.bytes + offset, length);
  return (int64_t)length;
}

static int64_t write_at(sim_world *w, inode *f, const char *buf, uint64_t length, uint64_t offset) {
  uint64_t grows = offset + length > f->now.size ? offset + length - f->now.size : 0;
  if (grows > w->space - w->used) {
    uint64_t fits = w->space - w->used;
    if (offset + length - grows + fits <= offset) return -ENOSPC;
    length -= grows - fits;
    grows = fits;
  }
  w->used += grows;
  if (length) log_change(f, false, offset, buf, length);
  return (int64_t)length;
}

static int64_t move(sim_world *w, inode *f, const rt_op *op, uint64_t most) {
  rt__span s = rt__op_span(op);
  struct iovec one = {s.buf, s.length};
  const struct iovec *iov = s.iov ? s.iov : &one;
  uint32_t count = s.iov ? s.iov_count : 1;
  int64_t moved = 0;
  for (uint32_t i = 0; i < count && most > 0; i++) {
    uint64_t length = iov[i].iov_len < most ? iov[i].iov_len : most;
    uint64_t offset = s.offset + (uint64_t)moved;
    int64_t r = rt__is_read((rt_kind)op->c.kind) ? read_at(f, iov[i].iov_base, length, offset)
                                                 : write_at(w, f, iov[i].iov_base, length, offset);
    if (r < 0) return moved ? moved : r;
    moved += r;
    most -= (uint64_t)r;
    if ((uint64_t)r < length) break;
  }
  return moved;
}

static int64_t sync_file(inode *f) {
  for (const change *ch = f->first; ch; ch = ch->next) apply(&f->durable, ch, ch->length);
  forget_changes(f);
  return 0;
}

int64_t sim_world_call(sim_world *w, rt_op *op, uint64_t most) {
  rt_kind kind = (rt_kind)op->c.kind;
  if (kind == RT_NOP || kind == RT_TIMEOUT) return 0;
  if (kind == RT_OPEN) return open_file(w, op);
  inode *f = by_fd(w, op);
  if (!f) return -EBADF;
  switch (kind) {
  case RT_READ:
  case RT_WRITE:
  case RT_READV:
  case RT_WRITEV: return move(w, f, op, most);
  case RT_FSYNC:
  case RT_FDATASYNC: return sync_file(f);
  case RT_TRUNCATE: log_change(f, true, op->offset, NULL, 0); return 0;
  case RT_ALLOCATE:
    if (op->offset + op->length > f->now.size) log_change(f, true, op->offset + op->length, NULL, 0);
    return 0;
  case RT_CLOSE: w->fds[op->file->fd - FIRST_FD] = 0; return 0;
  default: return 0;
  }
}

void sim_world_crash(sim_world *w, uint64_t *random) {
  memset(w->fds, 0, sizeof(w->fds));
  for (int i = 0; i < FILES; i++) {
    inode *f = &w->files[i];
    for (const change *ch = f->first; ch; ch = ch->next) {
      uint64_t fate = sim_random(random) % 3; /* kept, dropped, torn */
      if (fate == 0) apply(&f->durable, ch, ch->length);
      if (fate == 2 && !ch->truncation) apply(&f->durable, ch, sim_random(random) % (ch->length / SECTOR + 1) * SECTOR);
    }
    forget_changes(f);
    resize(&f->now, f->durable.size);
    if (f->durable.size) memcpy(f->now.bytes, f->durable.bytes, f->durable.size);
  }
}

const char *sim_world_content(const sim_world *w, const char *path, uint64_t *size) {
  const inode *f = by_path(w, path);
  *size = f ? f->now.size : 0;
  return f ? (f->now.bytes ? f->now.bytes : "") : NULL;
}

static uint64_t hash_bytes(uint64_t h, const void *bytes, uint64_t n) {
  for (uint64_t i = 0; i < n; i++) h = (h ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3ull;
  return h;
}

uint64_t sim_world_hash(const sim_world *w) {
  uint64_t h = 0xcbf29ce484222325ull;
  for (int i = 0; i < FILES; i++) {
    h = hash_bytes(h, w->files[i].path, strlen(w->files[i].path) + 1);
    h = hash_bytes(h, w->files[i].now.bytes, w->files[i].now.size);
  }
  return h;
}
