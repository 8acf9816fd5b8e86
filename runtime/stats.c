/*
** stats.c - counters.
**
** Threads count in different shards, chosen when a thread counts first, so that counting moves no cache line between
** cores as long as there are no more threads than shards. Relaxed: the sums say how much, not in which order.
*/
#include "backend.h"

#define SHARDS 16

typedef struct op_counts {
  _Atomic uint64_t ring, inline_, bytes, errors;
} op_counts;

typedef struct shard {
  _Alignas(64) op_counts kinds[RT_KIND_COUNT];
  _Atomic uint64_t counters[RT__COUNTERS];
  _Atomic uint64_t batch_sizes[RT_BUCKETS], depths[RT_BUCKETS];
  _Atomic uint64_t latency[RT_KIND_COUNT][RT_LATENCY_BUCKETS];
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

static unsigned bucket(uint64_t n, unsigned buckets) {
  unsigned log2 = n < 2 ? 0 : 63 - (unsigned)__builtin_clzll(n);
  return log2 < buckets ? log2 : buckets - 1;
}

void rt__count_batch(unsigned ops) {
  rt__count(RT__BATCHES, 1);
  rt__count(RT__BATCH_OPS, ops);
  add(&mine()->batch_sizes[bucket(ops, RT_BUCKETS)], 1);
}

void rt__count_enter(unsigned in_flight) {
  rt__count(RT__ENTERS, 1);
  add(&mine()->depths[bucket(in_flight, RT_BUCKETS)], 1);
}

/*
** ---- Observers
*/
enum { OBSERVE_LATENCY = 1, OBSERVE_TRACE = 2 };
_Atomic unsigned rt__observers;
static rt_trace_fn trace_fn;
static void *trace_arg;

static void observe(unsigned bit, bool on) {
  if (on)
    atomic_fetch_or(&rt__observers, bit);
  else
    atomic_fetch_and(&rt__observers, ~bit);
}

void rt_latency_enable(bool on) { observe(OBSERVE_LATENCY, on); }

void rt_trace(rt_trace_fn fn, void *arg) {
  observe(OBSERVE_TRACE, false);
  trace_fn = fn;
  trace_arg = arg;
  observe(OBSERVE_TRACE, fn != NULL); /* after the two above: who sees the bit sees them */
}

static void report(rt_loop *loop, unsigned observers, const rt_op *op, bool inline_op, int error) {
  if (!op->start_ns) return; /* switched on while it was under way */
  uint64_t now = loop->backend->now_ns(loop);
  uint64_t latency = now > op->start_ns ? now - op->start_ns : 0;
  if (observers & OBSERVE_LATENCY) add(&mine()->latency[op->c.kind][bucket(latency, RT_LATENCY_BUCKETS)], 1);
  if (observers & OBSERVE_TRACE) trace_fn(&(rt_trace_event){op, error, inline_op, latency}, trace_arg);
}

void rt__count_op(rt_loop *loop, const rt_op *op, bool inline_op, int error) {
  rt_kind kind = (rt_kind)op->c.kind;
  uint64_t bytes = op->c.bytes;
  unsigned observers = atomic_load_explicit(&rt__observers, memory_order_acquire);
  if (observers) report(loop, observers, op, inline_op, error);
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

void rt_count_reads(uint64_t reads, uint64_t bytes) {
  op_counts *k = &mine()->kinds[RT_READ];
  add(&k->inline_, reads);
  add(&k->bytes, bytes);
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
    for (unsigned b = 0; b < RT_BUCKETS; b++) {
      stats->batch_sizes[b] += get(&s->batch_sizes[b]);
      stats->depths[b] += get(&s->depths[b]);
    }
    stats->rings += get(&s->counters[RT__RINGS]);
  }
}

void rt_latency_read(rt_latency *latency) {
  *latency = (rt_latency){0};
  for (unsigned i = 0; i < SHARDS; i++)
    for (unsigned k = 0; k < RT_KIND_COUNT; k++)
      for (unsigned b = 0; b < RT_LATENCY_BUCKETS; b++) latency->count[k][b] += get(&shards[i].latency[k][b]);
}
