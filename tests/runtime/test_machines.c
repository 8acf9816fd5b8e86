/*
** test_machines.c - the state-machine wrapper, the three-level example, and the re-entrancy check: that it finds the
** four classic mistakes, passes their corrected forms, and passes the example.
*/
#define RT_CHECK
#include "tests/sim/check.h"

#include "support.h"
#include "support_btree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/*
** ---- The wrapper
*/
typedef struct counter {
  rt_machine m;
  unsigned turns, cleanups, go_on;
  rt_completion *wait;
  int error;
} counter;

static rt_turn count_turn(void *self) {
  counter *c = self;
  c->turns++;
  if (c->go_on > 0) {
    c->go_on--;
    return rt_turn_continue();
  }
  if (c->wait) {
    if (!rt_finished(c->wait)) return rt_turn_io(c->wait);
    if (rt_failed(c->wait)) return rt_turn_fail(rt_error(c->wait));
  }
  return c->error ? rt_turn_fail(c->error) : rt_turn_done();
}

static void count_cleanup(void *self) { ((counter *)self)->cleanups++; }

static void start(counter *c) {
  memset(c, 0, sizeof(*c));
  rt_machine_init(&c->m, count_turn, count_cleanup, c);
}

static void goes_on_to_done(void **state) {
  (void)state;
  counter c;
  start(&c);
  c.go_on = 5;
  assert_true(rt_is_done(rt_machine_step(&c.m)));
  assert_int_equal(c.turns, 6);
  assert_int_equal(c.cleanups, 1);
}

static void step_after_done_and_after_error(void **state) {
  (void)state;
  counter c;
  start(&c);
  assert_true(rt_is_done(rt_machine_step(&c.m)));
  assert_int_equal(rt_machine_step(&c.m).error, -EALREADY);
  start(&c);
  c.error = -EIO;
  assert_int_equal(rt_machine_step(&c.m).error, -EIO);
  assert_int_equal(rt_machine_step(&c.m).error, -ENOTRECOVERABLE);
  assert_int_equal(c.turns, 1);
  assert_int_equal(c.cleanups, 1);
  assert_true(rt_is_done(rt_machine_abandon(&c.m)));
  assert_int_equal(c.cleanups, 1);
}

static void too_early_does_not_reach_the_turn(void **state) {
  (void)state;
  counter c;
  rt_completion e = {0};
  rt_event_init(&e, NULL, NULL);
  start(&c);
  c.wait = &e;
  for (unsigned i = 0; i < 5; i++) assert_ptr_equal(rt_machine_step(&c.m).io, &e);
  assert_int_equal(c.turns, 1);
  assert_true(rt_complete(&e, 0));
  assert_true(rt_is_done(rt_machine_step(&c.m)));
  assert_int_equal(c.turns, 2);
}

static void abandoning_waits_and_cleans_up_once(void **state) {
  (void)state;
  bench *b;
  assert_int_equal(set_up_memory((void **)&b), 0);
  counter c;
  char buf[4];
  rt_op op = {0};
  start(&c);
  sim_memory_hold(b->loop, true);
  rt_prep_read(&op, &b->file, buf, 4, 0);
  rt_submit(b->loop, &op);
  rt_flush(b->loop);
  c.wait = &op.c;
  assert_ptr_equal(rt_machine_step(&c.m).io, &op.c);
  assert_ptr_equal(rt_machine_abandon(&c.m).io, &op.c); /* its buffer is still in use */
  assert_int_equal(c.cleanups, 0);
  assert_int_equal(rt_machine_step(&c.m).error, -ENOTRECOVERABLE);
  assert_true(sim_memory_finish_as(b->loop, &op, -ECANCELED));
  (void)rt_wait(b->loop, &op.c);
  assert_true(rt_is_done(rt_machine_abandon(&c.m)));
  assert_true(rt_is_done(rt_machine_abandon(&c.m)));
  assert_int_equal(c.cleanups, 1);
  sim_memory_hold(b->loop, false);
  tear_down((void **)&b);
}

static void endless_machines_yield(void **state) {
  (void)state;
  counter c;
  unsigned yields = 0;
  rt_result r;
  start(&c);
  c.go_on = 100000;
  while (rt_is_io(r = rt_machine_step(&c.m))) {
    assert_int_equal(rt_kind_of(r.io), RT_YIELD);
    yields++;
  }
  assert_true(rt_is_done(r));
  assert_true(yields >= 50);
}

/*
** ---- The example
*/
enum { PAGES = 100, KEYS = 400 };
static bt_node pages[PAGES];
static const uint32_t some_keys[] = {0, 399, 7, 8, 64, 200, 201, 333};

static void write_tree(bench *b) {
  unsigned n = bt_build(pages, PAGES, KEYS);
  rt_op op = {0};
  assert_true(n > 50 && n <= PAGES);
  rt_prep_write(&op, &b->file, pages, (uint64_t)n * BT_PAGE, 0);
  rt_submit(b->loop, &op);
  assert_int_equal(rt_wait(b->loop, &op.c), 0);
}

static void wait_on(rt_completion *c, void *arg) { (void)rt_wait(arg, c); }

static void search_on(CMFixtureFunction set_up) {
  bench *b = NULL;
  assert_int_equal(set_up((void **)&b), 0);
  if (!b) return; /* no io_uring here */
  write_tree(b);
  static bt_search s;
  bt_search_init(&s, b->loop, &b->file, some_keys, COUNT(some_keys));
  assert_int_equal(rt_drive(rt_machine_step, &s.machine, wait_on, b->loop), 0);
  for (unsigned i = 0; i < COUNT(some_keys); i++) assert_int_equal(s.descents[i].value, 3 * some_keys[i] + 1);

  const uint32_t missing[] = {5, 400, 6};
  bt_search_init(&s, b->loop, &b->file, missing, 3);
  assert_int_equal(rt_drive(rt_machine_step, &s.machine, wait_on, b->loop), -ENOENT);
  assert_int_equal(s.descents[2].value, 19); /* the others were not given up */

  rt_op op = {0}; /* a byte goes bad */
  rt_prep_write(&op, &b->file, "?", 1, 2 * BT_PAGE + 100);
  rt_submit(b->loop, &op);
  assert_int_equal(rt_wait(b->loop, &op.c), 0);
  uint32_t all[BT_MAX_KEYS];
  for (unsigned i = 0; i < BT_MAX_KEYS; i++) all[i] = i * KEYS / BT_MAX_KEYS;
  bt_cleanups = 0;
  bt_search_init(&s, b->loop, &b->file, all, BT_MAX_KEYS);
  assert_int_equal(rt_drive(rt_machine_step, &s.machine, wait_on, b->loop), -EILSEQ);
  assert_int_equal(bt_cleanups, 1);
  tear_down((void **)&b);
}

static void three_levels(void **state) {
  (void)state;
  search_on(set_up_uring);
  search_on(set_up_sync);
  search_on(set_up_memory);
  search_on(set_up_simulation);
}

/* The reads of one level of the tree are one submission. */
static void three_levels_read_in_parallel(void **state) {
  (void)state;
  bench *b;
  static bt_search s;
  unsigned waits = 0;
  assert_int_equal(set_up_memory((void **)&b), 0);
  write_tree(b);
  bt_search_init(&s, b->loop, &b->file, some_keys, COUNT(some_keys));
  rt_result r;
  while (rt_is_io(r = rt_machine_step(&s.machine))) {
    assert_int_equal(rt_wait(b->loop, r.io), 0);
    waits++;
  }
  assert_true(rt_is_done(r));
  assert_int_equal(waits, 3); /* as deep as the tree */
  tear_down((void **)&b);
}

/*
** ---- The checker on the example: every yield point, every I/O failed, cancelled, abandoned
*/
static rt_file tree_file;
static bt_search tree_search;

static void start_search(void *machine, rt_loop *loop, sim_world *world) {
  rt_op op = {0};
  (void)world;
  rt_file_init_fd(&tree_file, -1);
  rt_prep_open(&op, &tree_file, "tree", O_RDWR | O_CREAT, 0600);
  rt_submit(loop, &op);
  assert_int_equal(rt_wait(loop, &op.c), 0);
  unsigned n = bt_build(pages, PAGES, KEYS);
  rt_prep_write(&op, &tree_file, pages, (uint64_t)n * BT_PAGE, 0);
  rt_submit(loop, &op);
  assert_int_equal(rt_wait(loop, &op.c), 0);
  bt_search_init(machine, loop, &tree_file, some_keys, COUNT(some_keys));
}

static const char *verify_search(const void *machine) {
  const bt_search *s = machine;
  for (unsigned i = 0; i < COUNT(some_keys); i++)
    if (s->descents[i].value != 3 * some_keys[i] + 1) return "a value is wrong";
  return NULL;
}

static void abandon_search(void *machine) {
  bt_search *s = machine;
  rt_result r = rt_machine_abandon(&s->machine);
  assert_true(rt_is_done(r));
}

static void yield_sweep_of_the_example(void **state) {
  (void)state;
  static const check_field watched[] = {CHECK_FIELD(bt_search, count), CHECK_FIELD(bt_search, error)};
  const check_case c = {.name = "search",
                        .step = rt_machine_step,
                        .machine = &tree_search,
                        .machine_size = sizeof(tree_search),
                        .start = start_search,
                        .verify = verify_search,
                        .abandon = abandon_search,
                        .watched = watched,
                        .watched_count = COUNT(watched)};
  check_report r = check_run(&c);
  if (!r.ok) fail_msg("%s", r.text);
  assert_int_equal(r.ios, 3);
  assert_true(r.yield_points >= 24);
  assert_true(r.runs > 24 + 3 * 3 * 2);
}

/*
** ---- The four classic mistakes. Each machine collects, for i in 0..2, the byte read at offset i.
*/
typedef struct classic {
  rt_machine unused; /* keeps the layout away from the start of the memory */
  rt_loop *loop;
  rt_file file;
  rt_op op;
  bool reading;
  char byte;
  unsigned index, count, map_count;
  char list[16];
  struct {
    unsigned key;
    char value;
  } map[16];
  bool loaded;
  enum { PUSH, INDEX, MAP, FLAG } kind;
  bool wrong; /* the mistaken form */
} classic;

static classic machine_memory;
static int classic_kind;
static bool classic_wrong;

/* In the mistaken machines the byte is always there at once, as it is with a warm cache: they work until something has
** to wait. */
static rt_result read_byte(classic *m, uint64_t offset) {
  if (m->wrong) {
    m->byte = "abc"[offset];
    return rt_done();
  }
  if (!m->reading) {
    rt_prep_read(&m->op, &m->file, &m->byte, 1, offset);
    rt_submit(m->loop, &m->op);
    m->reading = true;
  }
  rt_result r = rt_await(&m->op.c);
  if (!rt_is_io(r)) m->reading = false;
  return r;
}

static rt_result push_step(classic *m) {
  while (m->index < 3) {
    if (m->wrong) m->list[m->count++ % 16] = 'x'; /* a place for the byte, before it is there */
    RT_RETURN_IF_IO(read_byte(m, m->index));
    if (m->wrong)
      m->list[(m->count - 1) % 16] = m->byte;
    else
      m->list[m->count++] = m->byte;
    m->index++;
  }
  return rt_done();
}

static rt_result index_step(classic *m) {
  if (m->wrong) {
    while (m->index < 3) {
      unsigned i = m->index++;
      RT_RETURN_IF_IO(read_byte(m, i));
      m->list[m->count++] = m->byte;
    }
    return rt_done();
  }
  while (m->index < 3) {
    RT_RETURN_IF_IO(read_byte(m, m->index));
    m->list[m->count++] = m->byte;
    m->index++;
  }
  return rt_done();
}

static rt_result map_step(classic *m) {
  while (m->index < 3) {
    if (m->wrong) m->map[m->map_count++ % 16].key = m->index;
    RT_RETURN_IF_IO(read_byte(m, m->index));
    if (!m->wrong) m->map[m->map_count++].key = m->index;
    m->map[(m->map_count - 1) % 16].value = m->byte;
    m->index++;
  }
  for (unsigned i = 0; i < m->map_count && i < 16; i++) m->list[m->count++] = m->map[i].value;
  return rt_done();
}

static rt_result flag_step(classic *m) {
  if (!m->loaded) {
    if (m->wrong) m->loaded = true;
    while (m->index < 3) {
      RT_RETURN_IF_IO(read_byte(m, m->index));
      m->list[m->count++] = m->byte;
      m->index++;
    }
    m->loaded = true;
  }
  return rt_done();
}

static rt_result classic_step(void *machine) {
  classic *m = machine;
  switch (m->kind) {
  case PUSH: return push_step(m);
  case INDEX: return index_step(m);
  case MAP: return map_step(m);
  case FLAG: return flag_step(m);
  }
  return rt_fail(-EINVAL);
}

static void start_classic(void *machine, rt_loop *loop, sim_world *world) {
  classic *m = machine;
  rt_op op = {0};
  (void)world;
  m->loop = loop;
  m->kind = classic_kind;
  m->wrong = classic_wrong;
  rt_file_init_fd(&m->file, -1);
  rt_prep_open(&op, &m->file, "f", O_RDWR | O_CREAT, 0600);
  rt_submit(loop, &op);
  assert_int_equal(rt_wait(loop, &op.c), 0);
  rt_prep_write(&op, &m->file, "abc", 3, 0);
  rt_submit(loop, &op);
  assert_int_equal(rt_wait(loop, &op.c), 0);
}

static const char *verify_classic(const void *machine) {
  const classic *m = machine;
  return m->count == 3 && memcmp(m->list, "abc", 3) == 0 ? NULL : "the list is not abc";
}

static check_report check_classic(int kind, bool wrong) {
  static const check_field watched[] = {CHECK_FIELD(classic, index), CHECK_FIELD(classic, count),
                                        CHECK_FIELD(classic, list), CHECK_FIELD(classic, map_count),
                                        CHECK_FIELD(classic, loaded)};
  const check_case c = {.name = "classic",
                        .step = classic_step,
                        .machine = &machine_memory,
                        .machine_size = sizeof(machine_memory),
                        .start = start_classic,
                        .verify = verify_classic,
                        .watched = watched,
                        .watched_count = COUNT(watched)};
  classic_kind = kind;
  classic_wrong = wrong;
  return check_run(&c);
}

static void classic_mistakes_are_detected(void **state) {
  (void)state;
  static const char *const words[] = {"count", "index", "map_count", "wrong"};
  for (int kind = PUSH; kind <= FLAG; kind++) {
    check_report r = check_classic(kind, true);
    assert_false(r.ok);
    if (!strstr(r.text, words[kind])) fail_msg("mistake %d was reported as: %s", kind, r.text);
    r = check_classic(kind, false);
    if (!r.ok) fail_msg("the corrected form %d was reported: %s", kind, r.text);
    assert_int_equal(r.ios, 3);
    assert_int_equal(r.yield_points, 6); /* three reads, each point passed again after the wait */
  }
}

/* Defect 16: what an abandoned operation leaves behind must not stand in the way of the next. */
static bool shared_lock;

static rt_result locking_step(void *machine) {
  classic *m = machine;
  if (!m->loaded) {
    if (shared_lock) return rt_fail(-EBUSY);
    shared_lock = true;
    m->loaded = true;
  }
  RT_RETURN_IF_IO(read_byte(m, 0));
  m->list[0] = m->byte;
  shared_lock = false;
  return rt_done();
}

static const char *verify_lock(const void *machine) {
  return ((const classic *)machine)->list[0] == 'a' && !shared_lock ? NULL : "not read, or still locked";
}

static void unlock(void *machine) {
  (void)machine;
  shared_lock = false;
}

static void abandoned_operations_poison_nothing(void **state) {
  (void)state;
  check_case c = {.name = "lock",
                  .step = locking_step,
                  .machine = &machine_memory,
                  .machine_size = sizeof(machine_memory),
                  .start = start_classic,
                  .verify = verify_lock,
                  .abandon = unlock};
  check_report r = check_run(&c);
  if (!r.ok) fail_msg("%s", r.text);
  c.abandon = NULL;
  shared_lock = false;
  r = check_run(&c);
  assert_false(r.ok);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(goes_on_to_done),
      cmocka_unit_test(step_after_done_and_after_error),
      cmocka_unit_test(too_early_does_not_reach_the_turn),
      cmocka_unit_test(abandoning_waits_and_cleans_up_once),
      cmocka_unit_test(endless_machines_yield),
      cmocka_unit_test(three_levels),
      cmocka_unit_test(three_levels_read_in_parallel),
      cmocka_unit_test(yield_sweep_of_the_example),
      cmocka_unit_test(classic_mistakes_are_detected),
      cmocka_unit_test(abandoned_operations_poison_nothing),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
