/*
** test_simulation.c - a seed reproduces a run bit for bit, and a log on the simulated disk survives every crash.
*/
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static const sim_faults all_faults = {
    .short_transfer = 150, .eintr = 60, .eagain = 60, .given_up = 40, .eio = 10, .fsync_eio = 20};

typedef struct outcome {
  uint64_t trace, hash, clock;
  int errors[64];
} outcome;

static void some_program(uint64_t seed, outcome *o) {
  enum { N = 64, SIZE = 3000 };
  static char buf[SIZE];
  sim_world *w = sim_world_open();
  rt_loop *loop = sim_open(w, seed, &all_faults);
  rt_op ops[N] = {0}, op = {0};
  rt_file f;
  memset(o, 0, sizeof(*o));
  fill_buffer(buf, SIZE, 0);
  rt_file_init_fd(&f, -1);
  rt_prep_open(&op, &f, "log", O_RDWR | O_CREAT, 0600);
  rt_submit(loop, &op);
  assert_int_equal(rt_wait(loop, &op.c), 0);
  sim_world_set_space(w, 120000);
  for (unsigned i = 0; i < N; i++) {
    if (i % 8 == 7)
      rt_prep_fsync(&ops[i], &f);
    else
      rt_prep_write(&ops[i], &f, buf, SIZE - i, (uint64_t)i * SIZE);
    if (i % 3) rt_order_after(&ops[i], &ops[i - 1]);
    if (i % 16 == 5) rt_set_deadline(&ops[i], sim_now_ns(loop) + 500000);
    rt_submit(loop, &ops[i]);
    if (i % 10 == 9) rt_cancel(&ops[i - 2].c);
  }
  rt_run(loop);
  for (unsigned i = 0; i < N; i++) {
    assert_true(rt_finished(&ops[i].c));
    o->errors[i] = rt_error(&ops[i].c);
  }
  o->trace = sim_trace(loop);
  o->clock = sim_now_ns(loop);
  o->hash = sim_world_hash(w);
  rt_loop_close(loop);
  sim_world_close(w);
}

static void seed_reproduces_a_run(void **state) {
  (void)state;
  static outcome a, b;
  unsigned different = 0, failures = 0;
  uint64_t last = 0;
  for (uint64_t seed = 1; seed <= 100; seed++) {
    some_program(seed, &a);
    some_program(seed, &b);
    if (memcmp(&a, &b, sizeof(a)) != 0) fail_msg("seed %llu ran differently", (unsigned long long)seed);
    if (a.trace != last) different++;
    last = a.trace;
    for (unsigned i = 0; i < 64; i++) failures += a.errors[i] != 0;
  }
  assert_int_equal(different, 100);
  assert_true(failures > 100); /* it saw something */
}

/*
** A log: records with a checksum, one write and an fsync ordered behind it. What a commit has said is there stays
** there.
*/
typedef struct record {
  uint32_t number, checksum;
  char body[2000];
} record;

static uint32_t checksum(const record *r) {
  uint32_t h = r->number * 2654435761u + 1;
  for (unsigned i = 0; i < sizeof(r->body); i++) h = (h ^ (unsigned char)r->body[i]) * 16777619u;
  return h;
}

/* How many records a reader finds. */
static unsigned recover(rt_loop *loop) {
  rt_file f;
  rt_op op = {0};
  record r;
  unsigned n = 0;
  rt_file_init_fd(&f, -1);
  rt_prep_open(&op, &f, "log", O_RDWR, 0);
  rt_submit(loop, &op);
  if (rt_wait(loop, &op.c)) return 0;
  for (;; n++) {
    rt_prep_read(&op, &f, &r, sizeof(r), (uint64_t)n * sizeof(r));
    rt_submit(loop, &op);
    if (rt_wait(loop, &op.c) || rt_bytes(&op.c) < sizeof(r) || r.number != n || r.checksum != checksum(&r)) return n;
  }
}

/* Commits until seed says that the power fails; returns how many commits had been acknowledged. */
static unsigned commit_until_crash(rt_loop *loop, uint64_t *random, bool ordered, bool *failed) {
  static record records[40];
  static rt_op ops[80];
  rt_file f;
  rt_op op = {0};
  unsigned crash_at = (unsigned)(sim_random(random) % 39);
  memset(ops, 0, sizeof(ops));
  rt_file_init_fd(&f, -1);
  rt_prep_open(&op, &f, "log", O_RDWR | O_CREAT, 0600);
  rt_submit(loop, &op);
  if (rt_wait(loop, &op.c)) return 0;
  for (unsigned i = 0; i < 40; i++) {
    record *r = &records[i];
    r->number = i;
    fill_buffer(r->body, sizeof(r->body), i);
    r->checksum = checksum(r);
    rt_prep_write(&ops[2 * i], &f, r, sizeof(*r), (uint64_t)i * sizeof(*r));
    rt_prep_fsync(&ops[2 * i + 1], &f);
    if (ordered) rt_order_after(&ops[2 * i + 1], &ops[2 * i]);
    rt_submit(loop, &ops[2 * i]);
    rt_submit(loop, &ops[2 * i + 1]);
    if (i == crash_at) {
      rt_flush(loop);
      for (uint64_t steps = sim_random(random) % 4; steps > 0; steps--) (void)rt_step(loop, 10 * MS, 1);
      return i;
    }
    int error = rt_wait(loop, &ops[2 * i + 1].c) | rt_wait(loop, &ops[2 * i].c);
    if (error) { /* after a failed fsync nothing is known: the log ends here */
      *failed = true;
      return i;
    }
  }
  return 40;
}

static unsigned crash_runs(bool ordered) {
  unsigned lost = 0;
  const char *given = getenv("RT_SEED");
  for (uint64_t seed = given ? strtoull(given, NULL, 0) : 1; seed <= 400; seed++) {
    uint64_t random = seed;
    bool failed = false;
    sim_world *w = sim_world_open();
    rt_loop *loop = sim_open(w, seed, &all_faults);
    unsigned acknowledged = commit_until_crash(loop, &random, ordered, &failed);
    sim_abandon(loop);
    rt_loop_close(loop);
    sim_world_crash(w, &random);
    loop = sim_open(w, seed + 1, NULL);
    unsigned found = recover(loop);
    rt_loop_close(loop);
    sim_world_close(w);
    if (found < acknowledged) {
      lost++;
      if (ordered) print_error("RT_SEED=%llu: %u of %u records\n", (unsigned long long)seed, found, acknowledged);
    }
  }
  return lost;
}

static void acknowledged_commits_survive_crashes(void **state) {
  (void)state;
  assert_int_equal(crash_runs(true), 0);
}

/* The test sees what it is there to see: without the order commits are lost. */
static void without_the_order_they_do_not(void **state) {
  (void)state;
  assert_true(crash_runs(false) > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(seed_reproduces_a_run),
      cmocka_unit_test(acknowledged_commits_survive_crashes),
      cmocka_unit_test(without_the_order_they_do_not),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
