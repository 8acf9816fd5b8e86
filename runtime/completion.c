/*
** completion.c - the life of a completion: who may decide its outcome, and how that becomes visible.
**
** Invariants: the outcome is decided once; the callback runs once, before FINISHED is stored; FINISHED is stored with
** release order after error and bytes, so who sees it (acquire) sees these and everything the callback did. After that
** store the completion may be gone: whatever is needed later (its group) is read before.
*/
#include "internal.h"

#include <stdio.h>

#define LIVE_MARK 0x6c6976652d72742eULL

void rt__assert_failed(const char *what, const char *file, int line) {
  fprintf(stderr, "%s:%d: the runtime was misused or is broken: %s\n", file, line, what);
  abort();
}

static rt_completion yield_completion = {.state = RT__FINISHED, .kind = RT_YIELD};

rt_completion *rt_yield(void) { return &yield_completion; }

/*
** The mark depends on the address, so that what uninitialised memory happens to hold is hardly ever taken for it.
** Reading it there is what a memory checker complains about, hence only in debug builds.
*/
static void mark_live(rt_completion *c) {
#ifdef RT_DEBUG
  c->live = LIVE_MARK ^ (uint64_t)(uintptr_t)c;
#else
  (void)c;
#endif
}

void rt__init(rt_completion *c, rt_kind kind, uint32_t state, rt_callback callback, void *arg) {
#ifdef RT_DEBUG
  RT__ASSERT(c->live !=
             (LIVE_MARK ^ (uint64_t)(uintptr_t)c)); /* prepared again while in use, or its memory left while in use */
  c->live = 0;
#endif
  atomic_init(&c->state, state);
  c->kind = (uint8_t)kind;
  atomic_init(&c->cancel, RT__CANCEL_NONE);
  c->error = 0;
  c->bytes = 0;
  atomic_init(&c->expected, 0);
  c->callback = callback;
  c->arg = arg;
  atomic_init(&c->parent, NULL);
  atomic_init(&c->sibling, NULL);
  c->next_ready = NULL;
  atomic_init(&c->loop, NULL);
  if (state == RT__PENDING) mark_live(c);
}

static uint32_t load_state(const rt_completion *c) {
  return atomic_load_explicit(&c->state, memory_order_acquire) & RT__STATE_MASK;
}

bool rt_finished(const rt_completion *c) { return load_state(c) == RT__FINISHED; }
bool rt_succeeded(const rt_completion *c) { return rt_finished(c) && c->error == 0; }
bool rt_failed(const rt_completion *c) { return rt_finished(c) && c->error != 0; }
int rt_error(const rt_completion *c) { return rt_finished(c) ? c->error : 0; }
uint64_t rt_bytes(const rt_completion *c) { return rt_finished(c) ? c->bytes : 0; }
uint64_t rt_expected(const rt_completion *c) { return atomic_load_explicit(&c->expected, memory_order_relaxed); }

rt_result rt_await(rt_completion *c) {
  if (!rt_finished(c) || c->kind == RT_YIELD) return rt_io(c);
  return c->error == 0 ? rt_done() : rt_fail(c->error);
}

/* Moves from one of two states, keeping the flags that others set. */
static bool move(rt_completion *c, uint32_t from1, uint32_t from2, uint32_t to) {
  uint32_t s = atomic_load_explicit(&c->state, memory_order_acquire);
  do {
    if ((s & RT__STATE_MASK) != from1 && (s & RT__STATE_MASK) != from2) return false;
    /* seq_cst: pairs with rt__cancel_as, which stores `cancel` and then looks at the state */
  } while (!atomic_compare_exchange_weak_explicit(&c->state, &s, (s & ~(uint32_t)RT__STATE_MASK) | to,
                                                  memory_order_seq_cst, memory_order_acquire));
  return true;
}

bool rt__begin(rt_completion *c, rt_loop *loop) {
  atomic_store_explicit(&c->loop, loop, memory_order_relaxed); /* published by the move */
  if (!move(c, RT__NEW, RT__NEW, RT__PENDING)) {
    RT__ASSERT(load_state(c) != RT__PENDING); /* submitted twice */
    return false;
  }
  mark_live(c);
  return true;
}

bool rt__claim(rt_completion *c) { return move(c, RT__NEW, RT__PENDING, RT__FINISHING); }

/*
** ---- Callbacks: one after another, never one inside another
*/
static _Thread_local rt__ready *defer_to;
static _Thread_local rt__ready own_ready;

rt__ready *rt__defer(rt__ready *list) {
  rt__ready *before = defer_to;
  defer_to = list;
  return before;
}

rt__ready *rt__own_ready(void) { return &own_ready; }

static void push_ready(rt__ready *list, rt_completion *c) {
  c->next_ready = NULL;
  if (list->tail)
    list->tail->next_ready = c;
  else
    list->head = c;
  list->tail = c;
  list->count++;
}

static rt_completion *pop_ready(rt__ready *list) {
  rt_completion *c = list->head;
  if (c) {
    list->head = c->next_ready;
    if (!list->head) list->tail = NULL;
    list->count--;
  }
  return c;
}

/* Stores FINISHED and wakes. Returns the group to be told, or NULL. */
static rt_group *publish(rt_completion *c) {
#ifdef RT_DEBUG
  c->live = 0;
#endif
  /* The group pointer is set before HAS_PARENT; the exchange sees the flag or rt_group_add sees FINISHED, never neither
  ** nor both. */
  rt_group *parent = atomic_load_explicit(&c->parent, memory_order_acquire);
  uint32_t s = atomic_load_explicit(&c->state, memory_order_acquire);
  do {
    if (s & RT__HAS_PARENT) parent = atomic_load_explicit(&c->parent, memory_order_acquire);
  } while (
      !atomic_compare_exchange_weak_explicit(&c->state, &s, RT__FINISHED, memory_order_acq_rel, memory_order_acquire));
  /* From here on only the address of c is used: waking a word that is gone does no harm. */
  if (s & RT__SLEEPERS) rt__futex_wake(&c->state);
  if (s & RT__RING_SLEEPERS) rt__sleepers_wake(c);
  return (s & RT__HAS_PARENT) ? parent : NULL;
}

/* c's callback may run now. Goes up through the groups that this finishes. */
static void finish_now(rt_completion *c, int error) {
  for (;;) {
    if (c->callback) {
      error = c->callback(c, error, c->arg);
      RT__ASSERT(error <= 0);
    }
    c->error = error;
    rt_group *parent = publish(c);
    int group_error;
    if (!parent || !rt__group_child_done(parent, c, &group_error)) return;
    c = &parent->c;
    error = group_error;
    if (c->callback && defer_to) {
      c->error = error;
      push_ready(defer_to, c);
      return;
    }
  }
}

bool rt__run_ready(rt__ready *list) {
  rt_completion *c = pop_ready(list);
  if (!c) return false;
  rt__ready *before = rt__defer(list);
  finish_now(c, c->error);
  rt__defer(before);
  return true;
}

void rt__finish(rt_completion *c, int error) {
  bool plain = c->callback == NULL && !(atomic_load_explicit(&c->state, memory_order_acquire) & RT__HAS_PARENT);
  /* The common case: nothing of the user's runs. A group joined meanwhile is told by publish all the same. */
  if (plain) {
    finish_now(c, error);
    return;
  }
  if (defer_to) {
    if (c->callback) {
      c->error = error;
      push_ready(defer_to, c);
    } else {
      finish_now(c, error);
    }
    return;
  }
  /* Outermost: what the callback makes finish waits here for its turn. */
  rt__ready list = {0};
  rt__ready *before = rt__defer(&list);
  finish_now(c, error);
  while (rt__run_ready(&list)) continue;
  rt__defer(before);
}

/*
** ---- Events
*/
void rt_event_init(rt_completion *c, rt_callback callback, void *arg) {
  rt__init(c, RT_EVENT, RT__PENDING, callback, arg);
}

bool rt_complete(rt_completion *c, uint64_t bytes) {
  if (c->kind != RT_EVENT || !rt__claim(c)) return false;
  c->bytes = bytes;
  rt__finish(c, 0);
  return true;
}

bool rt_complete_error(rt_completion *c, int error) {
  RT__ASSERT(error < 0);
  if (c->kind != RT_EVENT || !rt__claim(c)) return false;
  rt__finish(c, error);
  return true;
}

/*
** ---- Cancelling
*/
void rt__cancel_as(rt_completion *c, enum rt__cancel how) {
  int error = how == RT__CANCEL_EXPIRED ? -ETIME : -ECANCELED;
  if (c->kind == RT_YIELD || rt_finished(c)) return;
  uint8_t none =
      RT__CANCEL_NONE; /* the first reason stays; asked again, it goes on: the loop may not have been there before */
  atomic_compare_exchange_strong(&c->cancel, &none, (uint8_t)how);
  if (c->kind == RT_GROUP) {
    rt__group_cancel(rt__group_of(c), how);
  } else if (c->kind == RT_EVENT) {
    if (rt__claim(c)) rt__finish(c, error);
  } else if (move(c, RT__NEW, RT__NEW, RT__FINISHING)) { /* never submitted: nobody else can finish it */
    rt__op_of(c)->phase = RT__PH_FAILED;
    rt__finish(c, error);
  } else if (load_state(c) == RT__PENDING) {
    rt__loop_ask(atomic_load_explicit(&c->loop, memory_order_relaxed));
  }
}

void rt_cancel(rt_completion *c) { rt__cancel_as(c, RT__CANCEL_ASKED); }
