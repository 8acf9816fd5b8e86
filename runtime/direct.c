/*
** direct.c - files that rings open by path, without a descriptor in the process's table.
**
** An id says which opening of which file a slot holds: the upper 40 bits are the file's, the lower 24 count its renewals. A slot whose id
** is not the file's present one is stale; it is closed when its place is needed, when the file is opened anew in this ring, or when the
** file is retired. Closing a direct descriptor does not drop the process's POSIX locks, as close(2) would.
*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "uring.h"

#include <fcntl.h>

static _Atomic uint64_t last_base;

void rt_direct_init(rt_direct *d, const char *path, int open_flags, bool (*verify)(const rt_direct *)) {
  RT__ASSERT(!(open_flags & O_CLOEXEC)); /* the kernel's EINVAL, found earlier */
  d->path = path;
  d->open_flags = open_flags;
  d->verify = verify;
  d->base = (atomic_fetch_add(&last_base, 1) + 1) << 24;
  atomic_init(&d->id, d->base);
}

bool rt_direct_usable(const rt_direct *d) { return atomic_load_explicit(&d->id, memory_order_acquire) != 0; }

void rt_direct_renew(rt_direct *d) {
  uint64_t id = atomic_load(&d->id);
  while (id != 0 && !atomic_compare_exchange_weak(&d->id, &id, (id & ~0xffffffull) | ((id + 1) & 0xffffff))) continue;
}

bool rt__uring_holds(const rt_loop *loop, const rt_direct *d) {
  const rt__uring *u = (const rt__uring *)loop;
  uint64_t id = atomic_load_explicit(&d->id, memory_order_acquire);
  for (unsigned i = 0; id != 0 && i < u->slot_count; i++)
    if (u->slots[i].id == id) return true;
  return false;
}

static void close_slot(rt__uring *u, unsigned i) {
  int none = -1;
  u->slots[i].id = 0;
  io_uring_register_files_update(&u->ring, i, &none, 1);
}

void rt__uring_drop(rt_loop *loop, uint64_t base) {
  rt__uring *u = rt__uring_of(loop);
  for (unsigned i = 0; !loop->foreign && i < u->slot_count; i++) {
    if (u->slots[i].id == 0 || (base != 0 && rt__direct_base(u->slots[i].id) != base)) continue;
    RT__ASSERT(u->slots[i].pins == 0); /* no operation on it may be in flight */
    close_slot(u, i);
  }
}

/* A slot to open id in: the file's own stale one, a free one, or the one not used for longest. -1: all are in use. */
static int choose_slot(const rt__uring *u, uint64_t id) {
  int best = -1;
  for (unsigned i = 0; i < u->slot_count; i++) {
    const rt__slot *s = &u->slots[i];
    if (s->pins) continue;
    if (s->id != 0 && rt__direct_base(s->id) == rt__direct_base(id)) return (int)i;
    if (best < 0 || (s->id == 0 && u->slots[best].id != 0) ||
        ((s->id == 0) == (u->slots[best].id == 0) && s->used < u->slots[best].used))
      best = (int)i;
  }
  return best;
}

/* Opens and waits, whatever else is in flight. */
static int open_slot(rt__uring *u, const rt_direct *d, unsigned slot) {
  struct io_uring_sqe *sqe = rt__uring_sqe(u);
  if (!sqe) return -EAGAIN;
  io_uring_prep_openat_direct(sqe, AT_FDCWD, d->path, d->open_flags, 0, slot);
  sqe->user_data = RT__UD_OPEN;
  u->last = NULL;
  u->worked = true; /* if the path is not in the kernel's cache */
  u->open_result = RT__OPEN_RUNNING;
  rt__count(RT__DIRECT_OPENS, 1);
  while (u->open_result == RT__OPEN_RUNNING) {
    u->loop.backend->enter(&u->loop, 1, 0);
    u->loop.backend->reap(&u->loop, UINT32_MAX);
  }
  return u->open_result;
}

/* No memory, no room, a thread that is exiting: may work the next time. */
static bool is_passing(int error) {
  return error == -ENOMEM || error == -ENFILE || error == -EMFILE || error == -EAGAIN || error == -EINTR ||
         error == -ECANCELED;
}

bool rt__direct_prepare(rt__uring *u, rt_op *op) {
  rt_direct *d = op->file->direct;
  uint64_t id = d ? atomic_load_explicit(&d->id, memory_order_acquire) : 0;
  if (id == 0) return false;
  for (unsigned i = 0; i < u->slot_count; i++)
    if (u->slots[i].id == id) {
      u->slots[i].used = ++u->clock;
      op->slot = (uint16_t)i;
      return true;
    }
  int slot = choose_slot(u, id);
  if (slot < 0) return false;
  if (u->slots[slot].id) close_slot(u, (unsigned)slot);
  int error = open_slot(u, d, (unsigned)slot);
  if (error == 0 && d->verify && !d->verify(d)) {
    close_slot(u, (unsigned)slot);
    error = -ESTALE;
  }
  if (error) {
    /* renewed meanwhile: what was found says nothing about the next opening */
    if (!is_passing(error)) atomic_compare_exchange_strong(&d->id, &id, 0);
    return false;
  }
  u->slots[slot].id = id;
  u->slots[slot].used = ++u->clock;
  op->slot = (uint16_t)slot;
  return true;
}
