/*
** memory.c - what the kernel has in its cache. The one place that asks, for pages that SQLite wants now.
**
** Where a read can be the question (rt_read_cached) it is one for a page, then for every second, fourth and eighth, as
** long as the answer is yes: preadv2 takes the kernel 0.08 us longer than pread, which of a page in memory is a
** twentieth. After a miss a question would be a call more for each page that memory does not have, so then most are
** believed not to be there, and fewer and fewer are asked about: twice as rarely after each miss, half as rarely after
** each that was there. Where each question is a call more (mapped pages; tmpfs, overlayfs), the longer it has had the
** same answer the fewer are asked.
*/
#include <errno.h>

#include "predictor.h"

enum {
  QUESTIONS = 255,  /* at least one for so many pages  */
  MAPPED_FIRST = 15 /* mapped pages before the first   */
};

static uint8_t rarer(uint8_t interval) { return interval < QUESTIONS / 2 ? (uint8_t)(2 * interval + 1) : QUESTIONS; }

static uringvfs__answer settle(uringvfs__memory *m, bool there) {
  m->interval = there ? m->interval / 2 : rarer(m->interval);
  m->left = m->interval;
  m->cold = m->interval > 0;
  if (!there) m->pace = m->unasked = 0;
  return there ? URINGVFS__CAME : URINGVFS__MISSED;
}

/* The question without reading. */
static uringvfs__answer ask_mute(uringvfs__file *database, const uringvfs__request *r) {
  uringvfs__memory *m = &database->memory;
  const bool there = rt_is_cached(&r->file->io, (uint64_t)r->offset, (uint64_t)r->amount) != 0;
  m->interval = there == m->cold ? 1 : rarer(m->interval);
  m->left = m->interval;
  m->cold = !there;
  return there ? URINGVFS__BELIEVED : URINGVFS__MISSED;
}

bool uringvfs__cache_matters(const uringvfs__file *database) {
  return !URINGVFS__VERIFY && database->options.backend != RT_BACKEND_URING;
}

uringvfs__answer uringvfs__asked(uringvfs__file *database, const uringvfs__request *r, int64_t got) {
  uringvfs__memory *m = &database->memory;
  m->asked = true;
  if (got == r->amount) {
    database->lone.reads++;
    return settle(m, true);
  }
  if (got == -EAGAIN || got > 0) return settle(m, false);
  m->mute |= got == -EOPNOTSUPP || got == -ENOSYS || got == -EPERM; /* whatever else is wrong is the parent's to say */
  return ask_mute(database, r);
}

uringvfs__answer uringvfs__ask(uringvfs__file *database, const uringvfs__request *r) {
  uringvfs__memory *m = &database->memory;
  m->asked = m->left == 0;
  if (!uringvfs__cache_matters(database)) return URINGVFS__MISSED;
  if (m->left > 0) {
    m->left--;
    return m->cold ? URINGVFS__MISSED : URINGVFS__BELIEVED;
  }
  if (r->mapped && m->interval == 0) { /* a statement of a few pages asks nothing */
    m->interval = m->left = MAPPED_FIRST;
    return URINGVFS__BELIEVED;
  }
  if (r->mapped || m->mute) return ask_mute(database, r);
  return uringvfs__asked(database, r, rt_read_cached(&r->file->io, r->data, (uint64_t)r->amount, (uint64_t)r->offset));
}
