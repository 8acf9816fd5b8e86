/*
** drive.c - the simplest driver: call, wait, call again.
*/
#include "internal.h"

int rt_drive(rt_step_fn step, void *machine, rt_wait_fn wait, void *arg) {
  for (;;) {
    rt_result r = step(machine);
    if (rt_is_done(r)) return 0;
    if (rt_is_error(r)) return r.error;
    /* A yield goes to the waiter too: it may let others run before it returns. */
    if (r.io->kind == RT_YIELD || !rt_finished(r.io)) wait(r.io, arg);
  }
}
