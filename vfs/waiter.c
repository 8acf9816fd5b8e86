/*
** waiter.c - the one place where the VFS waits.
**
** SQLite calls a VFS method and expects it to return finished. Below this line an operation that may wait is a step
** function, and this is where it is driven to Done. The waiter here blocks its thread in io_uring_enter; one that
** switches to another fiber instead would turn the same step functions into an asynchronous engine, and nothing else
** would change.
**
** A lone inline operation has finished when its step function returns for the first time, and never comes to wait.
*/
#include "internal.h"

static void block_in_loop(rt_completion *c, void *loop) { (void)rt_wait(loop, c); }

int uringvfs__run(rt_loop *loop, rt_step_fn step, void *machine) {
  return rt_drive(step, machine, block_in_loop, loop);
}
