/*
** stats.c - counters.
**
** Threads count in different shards, chosen when a thread counts first, so that counting moves no cache line between cores as long as
** there are no more threads than shards. Relaxed: the sums say how much, not in which order.
*/
#include "internal.h"

#define SHARDS 16

typedef struct op_counts {
  _Atomic uint64_t ring, inline_, bytes, errors;
} op_counts;

typedef struct shard {
  _Alignas(64) op_counts kinds[RT_KIND_COUNT];
  _Atomic uint64_t counters[RT__COUNTERS];
} shard;

static shard shards[SHARDS];
static _Atomic unsigned next_shard;

static shard *mine(void) {
  static _Thread_local shard *my;
  if (!my) my = &shards[atomic_fetch_add_explicit(&next_shard, 1, memory_order_relaxed) % SHARDS];
  return my;
}

static void add(_Atomic uint64_t *counter, uint64_t n) { atomic_fetch_add_explicit(counter, n, memory_order_relaxed); }

void rt__count(enum rt__counter which, uint64_t n) { add(&mine()->counters[which], n); }

void rt__count_flush(rt_loop *loop) {
  if (!loop->tally.ops) return;
  op_counts *k = &mine()->kinds[loop->tally.kind];
  add(&k->ring, loop->tally.ops);
  add(&k->bytes, loop->tally.bytes);
  loop->tally.ops = loop->tally.bytes = 0;
}

void rt__count_op(rt_loop *loop, rt_kind kind, bool inline_op, uint64_t bytes, int error) {
  if (!inline_op && !error) { /* the batch on a ring: one addition for all of a kind */
    if (loop->tally.kind != kind) rt__count_flush(loop);
    loop->tally.kind = (uint8_t)kind;
    loop->tally.ops++;
    loop->tally.bytes += bytes;
    return;
  }
  if (inline_op) {
    rt__count_inline(kind, bytes, error);
    return;
  }
  op_counts *k = &mine()->kinds[kind];
  add(&k->ring, 1);
  if (bytes) add(&k->bytes, bytes);
  if (error) add(&k->errors, 1);
}

void rt__count_inline(rt_kind kind, uint64_t bytes, int error) {
  op_counts *k = &mine()->kinds[kind];
  add(&k->inline_, 1);
  if (bytes) add(&k->bytes, bytes);
  if (error) add(&k->errors, 1);
}

static uint64_t get(const _Atomic uint64_t *counter) { return atomic_load_explicit(counter, memory_order_relaxed); }

void rt_stats_read(rt_stats *stats) {
  *stats = (rt_stats){0};
  for (unsigned i = 0; i < SHARDS; i++) {
    const shard *s = &shards[i];
    for (unsigned k = 0; k < RT_KIND_COUNT; k++) {
      uint64_t inline_ops = get(&s->kinds[k].inline_);
      stats->ops[k] += get(&s->kinds[k].ring) + inline_ops;
      stats->inline_ops[k] += inline_ops;
      stats->bytes[k] += get(&s->kinds[k].bytes);
      stats->errors[k] += get(&s->kinds[k].errors);
    }
    stats->resumed += get(&s->counters[RT__RESUMED]);
    stats->redone += get(&s->counters[RT__REDONE]);
    stats->enters += get(&s->counters[RT__ENTERS]);
    stats->batches += get(&s->counters[RT__BATCHES]);
    stats->batch_ops += get(&s->counters[RT__BATCH_OPS]);
    stats->direct_opens += get(&s->counters[RT__DIRECT_OPENS]);
    stats->rings += get(&s->counters[RT__RINGS]);
  }
}
