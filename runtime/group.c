/*
** group.c - a completion made of completions.
**
** `pending` starts at BUILDING and every child that finishes takes one off it, so that a group cannot finish while
** children are still being added, whatever happens on other threads. Building takes off BUILDING less the number of
** children: what is left is the number of unfinished ones. Who brings it to zero finishes the group, nobody else.
**
** Adding a child races with its finishing. Both sides change the child's state word: rt_group_add sets HAS_PARENT,
** publish stores FINISHED. Whoever comes second sees the other and counts the child down, so it is counted down exactly
** once.
*/
#include "internal.h"

#define BUILDING (UINT32_MAX / 2)

void rt_group_init(rt_group *g, rt_group_policy policy, rt_callback callback, void *arg) {
  rt__init(&g->c, RT_GROUP, RT__PENDING, callback, arg);
  atomic_init(&g->first, NULL);
  g->last = NULL;
  atomic_init(&g->pending, BUILDING);
  g->count = 0;
  g->policy = (uint8_t)policy;
  g->built = false;
  atomic_init(&g->decided, false);
  g->deadline_ns = 0;
}

void rt_group_set_deadline(rt_group *g, uint64_t deadline_ns) { g->deadline_ns = deadline_ns; }

static rt_completion *first_child(const rt_group *g) { return atomic_load_explicit(&g->first, memory_order_acquire); }
static rt_completion *next_child(const rt_completion *c) {
  return atomic_load_explicit(&c->sibling, memory_order_acquire);
}

/* All children have finished: the outcome by the order they were added in, whatever order they finished in. */
static int outcome(rt_group *g) {
  int first_error = 0, own_error = 0;
  uint64_t bytes = 0, expected = 0;
  bool success = false;
  for (rt_completion *c = first_child(g); c; c = next_child(c)) {
    int error = rt_error(c);
    bytes += rt_bytes(c);
    expected += rt_expected(c);
    if (error == 0) success = true;
    if (error != 0 && first_error == 0) first_error = error;
    if (error != 0 && error != -ECANCELED && own_error == 0) own_error = error;
  }
  g->c.bytes = bytes;
  atomic_store_explicit(&g->c.expected, expected, memory_order_relaxed);
  switch ((rt_group_policy)g->policy) {
  case RT_ANY: return success || first_error == 0 ? 0 : own_error ? own_error : first_error;
  case RT_ABORT_ON_ERROR:
    return own_error ? own_error : first_error; /* the cause, not the cancellations that it caused */
  case RT_ALL: break;
  }
  return first_error;
}

static bool count_down(rt_group *g, uint32_t n, int *error) {
  /* acq_rel: the last one sees what every child's finisher wrote. */
  if (atomic_fetch_sub_explicit(&g->pending, n, memory_order_acq_rel) != n) return false;
  *error = outcome(g);
  return true;
}

bool rt__group_child_done(rt_group *g, const rt_completion *child, int *error) {
  bool decides = (g->policy == RT_ABORT_ON_ERROR && rt_failed(child)) || (g->policy == RT_ANY && rt_succeeded(child));
  /* Before counting down: until then the group cannot finish, so it and the siblings are still there. */
  if (decides && !atomic_exchange(&g->decided, true)) rt__group_cancel(g, RT__CANCEL_ASKED);
  return count_down(g, 1, error);
}

void rt__group_cancel(rt_group *g, enum rt__cancel how) {
  uint8_t none = RT__CANCEL_NONE;
  /* seq_cst, and before the walk: rt_group_add links first and looks at `cancel` then, so no child is missed by
  ** both. */
  atomic_compare_exchange_strong(&g->c.cancel, &none, (uint8_t)how);
  atomic_thread_fence(memory_order_seq_cst);
  for (rt_completion *c = first_child(g); c;) {
    rt_completion *next = next_child(c);
    rt__cancel_as(c, how);
    c = next;
  }
}

static bool adopt(rt_group *g, rt_completion *child) {
  rt_group *none = NULL;
  return child->kind != RT_YIELD && child != &g->c && atomic_compare_exchange_strong(&child->parent, &none, g);
}

int rt_group_add(rt_group *g, rt_completion *child) {
  if (g->built || !adopt(g, child)) return -EINVAL;
  g->count++;
  RT__ASSERT(g->count < BUILDING);
  /* only this thread writes it, until the group finishes */
  atomic_store_explicit(&g->c.expected, rt_expected(&g->c) + rt_expected(child), memory_order_relaxed);
  atomic_store_explicit(g->last ? &g->last->sibling : &g->first, child, memory_order_release);
  g->last = child;

  /* seq_cst: also orders the linking above before the look at `cancel` below, see rt__group_cancel */
  uint32_t s = atomic_fetch_or(&child->state, RT__HAS_PARENT);
  if ((s & RT__STATE_MASK) == RT__FINISHED) {
    int error;
    bool last = rt__group_child_done(g, child, &error);
    RT__ASSERT(!last); /* it is not built */
    return 0;          /* nothing left of it to cancel */
  }
  uint8_t how = atomic_load(&g->c.cancel);
  if (how == RT__CANCEL_NONE) return 0;
  rt__cancel_as(child, (enum rt__cancel)how);
  return -ECANCELED;
}

void rt_group_build(rt_group *g) {
  RT__ASSERT(!g->built);
  g->built = true;
  int error;
  if (count_down(g, BUILDING - g->count, &error)) rt__finish(&g->c, error);
}
