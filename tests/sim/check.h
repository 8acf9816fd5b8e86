/*
** check.h - does a step function keep the contract? It is driven again and again, on a loop that defers and fails at
** will:
**
**   called too early, in every wait: nothing may change and nothing may be submitted
**   a yield forced at each yield point, twice: the state at both must be the same (what changed before a yield changes
**     once per call), and the outcome the usual one
**   failing, cancelling, abandoning each I/O: the next run on the same machine memory must work as usual
**
** To have yields forced, compile the step functions with RT_CHECK defined before "rt.h" is replaced by this header: it
** gives RT_RETURN_IF_IO a yield point. Write `#define RT_CHECK` and `#include "tests/sim/check.h"` in place of
** `#include "rt.h"`.
*/
#ifndef SIM_CHECK_H
#define SIM_CHECK_H

#include "memory.h"

typedef struct check_field {
  const char *name;
  size_t offset, size; /* in the machine */
} check_field;
#define CHECK_FIELD(type, member)                                                                                      \
  { #member, offsetof(type, member), sizeof(((type *)0)->member) }

typedef struct check_case {
  const char *name;
  rt_step_fn step;
  void *machine;
  size_t machine_size;
  /* A machine ready for its first step, on this loop. */
  void (*start)(void *machine, rt_loop *loop, sim_world *world);
  /* NULL, or what is wrong with what the machine has computed. Called after Done. */
  const char *(*verify)(const void *machine);
  /* The caller gives up: release what the machine holds. Nothing is in flight any more. May be NULL. */
  void (*abandon)(void *machine);
  const check_field *watched; /* state that may not change before a yield */
  unsigned watched_count;
} check_case;

typedef struct check_report {
  bool ok;
  unsigned runs, yield_points, ios;
  char text[400]; /* what was found first */
} check_report;

check_report check_run(const check_case *c);

/* True: this yield point yields now. */
bool check_yield_point(const char *file, int line);

#ifdef RT_CHECK
#undef RT_RETURN_IF_IO
#define RT_RETURN_IF_IO(expr)                                                                                          \
  do {                                                                                                                 \
    if (check_yield_point(__FILE__, __LINE__)) return rt_io(rt_yield());                                               \
    rt_result rt__r = (expr);                                                                                          \
    if (!rt_is_done(rt__r)) return rt__r;                                                                              \
  } while (0)
#undef RT_RETURN_AND_RESTORE_IF_IO
#define RT_RETURN_AND_RESTORE_IF_IO(state, saved, expr)                                                                \
  do {                                                                                                                 \
    if (check_yield_point(__FILE__, __LINE__)) {                                                                       \
      (state) = (saved);                                                                                               \
      return rt_io(rt_yield());                                                                                        \
    }                                                                                                                  \
    rt_result rt__r = (expr);                                                                                          \
    if (!rt_is_done(rt__r)) {                                                                                          \
      (state) = (saved);                                                                                               \
      return rt__r;                                                                                                    \
    }                                                                                                                  \
  } while (0)
#undef RT_TURN_IF_IO
#define RT_TURN_IF_IO(expr)                                                                                            \
  do {                                                                                                                 \
    if (check_yield_point(__FILE__, __LINE__)) return rt_turn_io(rt_yield());                                          \
    rt_result rt__r = (expr);                                                                                          \
    if (!rt_is_done(rt__r)) return rt_turn_of(rt__r);                                                                  \
  } while (0)
#endif

#endif
