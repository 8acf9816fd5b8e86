/*
** support_btree.c - see support_btree.h. Compiled with yield points, for test_machines.c.
*/
#define RT_CHECK
#include "tests/sim/check.h"

#include "support_btree.h"

#include <errno.h>
#include <string.h>

unsigned bt_cleanups;

uint32_t bt_checksum(const bt_node *n) {
  const unsigned char *p = (const unsigned char *)n;
  uint32_t h = 2166136261u;
  for (size_t i = sizeof(n->checksum); i < sizeof(*n); i++) h = (h ^ p[i]) * 16777619u;
  return h;
}

/*
** ---- A page. The callback makes a read of a bad page a failed read: nobody above ever sees its bytes.
*/
static int check_page(rt_completion *c, int error, void *arg) {
  const bt_page *p = arg;
  if (error) return error;
  if (rt_expected(c) != c->bytes) return -EIO; /* the file ends here */
  return p->node.checksum == bt_checksum(&p->node) ? 0 : -EILSEQ;
}

static rt_result page_step(bt_page *p, rt_loop *loop, rt_file *file, uint32_t number) {
  switch (p->state) {
  case BT_IDLE:
    rt_prep_read(&p->op, file, &p->node, BT_PAGE, (uint64_t)number * BT_PAGE);
    rt_on_finish(&p->op, check_page, p);
    rt_submit(loop, &p->op);
    p->state = BT_READING;
    __attribute__((fallthrough));
  case BT_READING: RT_RETURN_IF_IO(rt_await(&p->op.c)); p->state = BT_IDLE; /* after the last point that can yield */
  }
  return rt_done();
}

/*
** ---- One key
*/
static rt_turn descend(void *self) {
  bt_descent *d = self;
  RT_TURN_IF_IO(page_step(&d->page, d->loop, d->file, d->next));
  const bt_node *n = &d->page.node;
  unsigned i = n->count;
  while (i > 0 && n->key[i - 1] > d->key) i--;
  if (i == 0 || (n->leaf && n->key[i - 1] != d->key)) return rt_turn_fail(-ENOENT);
  if (n->leaf) {
    d->value = n->child[i - 1];
    return rt_turn_done();
  }
  d->next = n->child[i - 1];
  return rt_turn_continue();
}

/*
** ---- All keys
*/
static rt_turn step_all(bt_search *s) {
  unsigned pending = 0;
  rt_group_init(&s->group, RT_ALL, NULL, NULL);
  for (unsigned i = 0; i < s->count; i++) {
    if (s->ended[i]) continue;
    rt_result r = rt_machine_step(&s->descents[i].machine);
    if (rt_is_io(r)) {
      pending++;
      if (rt_kind_of(r.io) == RT_YIELD) continue; /* is called again with the others */
      int error = rt_group_add(&s->group, r.io);
      if (error && s->error == 0) s->error = error;
      continue;
    }
    s->ended[i] = true;
    if (rt_is_error(r) && s->error == 0) s->error = r.error;
  }
  rt_group_build(&s->group);
  if (pending == 0) return s->error ? rt_turn_fail(s->error) : rt_turn_done();
  s->state = BT_WAITING;
  return rt_turn_continue();
}

static rt_turn search(void *self) {
  bt_search *s = self;
  if (s->state == BT_STEPPING) return step_all(s);
  /* Which reads failed is for the descents to find; here only that all are through counts. */
  if (!rt_finished(&s->group.c)) return rt_turn_io(&s->group.c);
  s->state = BT_STEPPING;
  return rt_turn_continue();
}

static void clean_up(void *self) {
  bt_search *s = self;
  bt_cleanups++;
  for (unsigned i = 0; i < s->count; i++) {
    rt_result r = rt_machine_abandon(&s->descents[i].machine);
    (void)r; /* Done: the group was waited for, so nothing is in flight */
  }
}

void bt_search_init(bt_search *s, rt_loop *loop, rt_file *file, const uint32_t *keys, unsigned count) {
  memset(s, 0, sizeof(*s));
  rt_machine_init(&s->machine, search, clean_up, s);
  s->count = count;
  for (unsigned i = 0; i < count; i++) {
    bt_descent *d = &s->descents[i];
    rt_machine_init(&d->machine, descend, NULL, d);
    d->loop = loop;
    d->file = file;
    d->key = keys[i];
  }
}

/*
** ---- A tree to search in
*/
static uint32_t build_level(bt_node *pages, unsigned *used, unsigned from, unsigned to, unsigned self) {
  bt_node *n = &pages[self];
  memset(n, 0, sizeof(*n));
  unsigned span = to - from, step = 1;
  n->leaf = span <= BT_FANOUT;
  while (!n->leaf && step * BT_FANOUT < span) step *= BT_FANOUT;
  for (unsigned key = from; key < to; key += step) {
    n->key[n->count] = key;
    n->child[n->count] =
        n->leaf ? 3 * key + 1 : build_level(pages, used, key, key + step < to ? key + step : to, (*used)++);
    n->count++;
  }
  n->checksum = bt_checksum(n);
  return self;
}

unsigned bt_build(bt_node *pages, unsigned max_pages, unsigned keys) {
  unsigned used = 1;
  (void)max_pages;
  build_level(pages, &used, 0, keys, 0);
  return used;
}
