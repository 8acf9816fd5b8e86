/*
** test_stats.c - the counters, the latency histogram and the trace hook.
*/
#include "support.h"

#include <errno.h>

static void counters(void **state) {
  bench *b = *state;
  rt_stats s0, s1;
  rt_op ops[9] = {0};
  char buf[9][16];
  rt_file nothing;
  rt_group g = {0};
  rt_file_init_fd(&nothing, -1);
  rt_prep_write(&ops[0], &b->file, "0123456789abcdef", 16, 0);
  rt_submit(b->loop, &ops[0]);
  assert_int_equal(rt_wait(b->loop, &ops[0].c), 0);
  rt_stats_read(&s0);
  rt_group_init(&g, RT_ALL, NULL, NULL);
  for (unsigned i = 0; i < 9; i++) {
    rt_prep_read(&ops[i], i == 4 ? &nothing : &b->file, buf[i], 16, 0);
    assert_int_equal(rt_group_add(&g, &ops[i].c), 0);
  }
  rt_submit_group(b->loop, &g);
  assert_int_equal(rt_wait(b->loop, &g.c), -EBADF);
  rt_stats_read(&s1);
  assert_int_equal(s1.ops[RT_READ] - s0.ops[RT_READ], 9);
  assert_int_equal(s1.errors[RT_READ] - s0.errors[RT_READ], 1);
  assert_int_equal(s1.bytes[RT_READ] - s0.bytes[RT_READ], 128);
  assert_int_equal(s1.batches - s0.batches, 1);
  assert_int_equal(s1.batch_ops - s0.batch_ops, 9);
  assert_int_equal(s1.batch_sizes[3] - s0.batch_sizes[3], 1); /* 8 to 15 */
}

static uint64_t sum(const rt_latency *l, rt_kind k) {
  uint64_t n = 0;
  for (unsigned i = 0; i < RT_LATENCY_BUCKETS; i++) n += l->count[k][i];
  return n;
}

static void latency(void **state) {
  bench *b = *state;
  static rt_latency l0, l1, l2;
  rt_op op = {0};
  rt_latency_read(&l0);
  rt_prep_timeout(&op, 3 * MS);
  rt_submit(b->loop, &op);
  assert_int_equal(rt_wait(b->loop, &op.c), 0);
  rt_latency_read(&l1);
  assert_int_equal(sum(&l1, RT_TIMEOUT), sum(&l0, RT_TIMEOUT)); /* off */
  rt_latency_enable(true);
  rt_prep_timeout(&op, 3 * MS);
  rt_submit(b->loop, &op);
  assert_int_equal(rt_wait(b->loop, &op.c), 0);
  rt_latency_enable(false);
  rt_latency_read(&l2);
  assert_int_equal(sum(&l2, RT_TIMEOUT) - sum(&l1, RT_TIMEOUT), 1);
  for (unsigned i = 0; i < 21; i++) assert_int_equal(l2.count[RT_TIMEOUT][i], 0); /* none below 2^21 ns */
}

static unsigned traced;
static void trace(const rt_trace_event *e, void *arg) {
  assert_ptr_equal(arg, &traced);
  assert_int_equal(rt_kind_of(&e->op->c), RT_NOP);
  assert_int_equal(e->error, 0);
  assert_false(rt_finished(&e->op->c));
  traced++;
}

static void trace_hook(void **state) {
  bench *b = *state;
  rt_op op = {0};
  traced = 0;
  for (unsigned on = 0; on < 2; on++) {
    if (on) rt_trace(trace, &traced);
    rt_prep_nop(&op);
    rt_submit(b->loop, &op);
    assert_int_equal(rt_wait(b->loop, &op.c), 0);
    rt_trace(NULL, NULL);
    assert_int_equal(traced, on);
  }
}

#define T(f)                                                                                                           \
  cmocka_unit_test_setup_teardown(f, set_up_memory, tear_down),                                                        \
      cmocka_unit_test_setup_teardown(f, set_up_sync, tear_down)
int main(void) {
  const struct CMUnitTest tests[] = {T(counters), T(latency), T(trace_hook)};
  return cmocka_run_group_tests(tests, NULL, NULL);
}
