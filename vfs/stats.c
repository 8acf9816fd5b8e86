/*
** stats.c - PRAGMA uring_stats: the process's counters as a JSON object.
*/
#include "internal.h"

#include <string.h>

static _Atomic uint64_t wal_batches, wal_batch_frames, wal_batch_bytes;

void uringvfs__count_wal_batch(uint64_t bytes, uint64_t frames) {
  atomic_fetch_add_explicit(&wal_batches, 1, memory_order_relaxed);
  atomic_fetch_add_explicit(&wal_batch_frames, frames, memory_order_relaxed);
  atomic_fetch_add_explicit(&wal_batch_bytes, bytes, memory_order_relaxed);
}

char *uringvfs__stats_json(uringvfs__file *f) {
  rt_stats s;
  uringvfs__readahead_counts ahead;
  char text[128];
  /* Nobody's kernel is asked for a ring by this: that may be what it must not be asked for. */
  const int state = f->options.backend == RT_BACKEND_SYNC ? 0 : uringvfs__ring_state();
  rt_stats_read(&s);
  uringvfs__readahead_stats(f, &ahead);
  return sqlite3_mprintf(
      "{\"vfs_version\":\"%s\",\"backend\":\"%s\",\"ring\":\"%s\","
      "\"enters\":%llu,\"rings\":%llu,\"batches\":%llu,\"batch_ops\":%llu,"
      "\"reads\":%llu,\"reads_inline\":%llu,\"writes\":%llu,\"writes_inline\":%llu,\"syncs\":%llu,\"syncs_inline\":%"
      "llu,"
      "\"resumed\":%llu,\"redone\":%llu,\"wal_batches\":%llu,\"wal_batch_frames\":%llu,\"wal_batch_bytes\":%llu,"
      "\"readahead_issued\":%llu,\"readahead_used\":%llu,\"readahead_wasted\":%llu,\"readahead_batches\":%llu,"
      "\"readahead_deepest\":%llu}",
      URINGVFS_VERSION, uringvfs__backend_name(f->options.backend),
      state > 0    ? "available"
      : state == 0 ? "not used"
                   : uringvfs__ring_unavailable_text(state, text, sizeof text),
      s.enters, s.rings, s.batches, s.batch_ops, s.ops[RT_READ], s.inline_ops[RT_READ], s.ops[RT_WRITE],
      s.inline_ops[RT_WRITE], s.ops[RT_FDATASYNC], s.inline_ops[RT_FDATASYNC], s.resumed, s.redone,
      (unsigned long long)atomic_load_explicit(&wal_batches, memory_order_relaxed),
      (unsigned long long)atomic_load_explicit(&wal_batch_frames, memory_order_relaxed),
      (unsigned long long)atomic_load_explicit(&wal_batch_bytes, memory_order_relaxed), ahead.issued, ahead.used,
      ahead.wasted, ahead.batches, ahead.deepest);
}
