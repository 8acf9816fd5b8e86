/*
** machine.c - the state-machine wrapper.
**
**   READY --turn--> READY (go on, IO) | DONE | FAILED
**   READY --rt_machine_abandon--> GIVING_UP --what it waits for has finished--> ABANDONED
**
** The clean-up runs on entering DONE, FAILED or ABANDONED, and there is no way out of these.
*/
#include "internal.h"

enum { READY, GIVING_UP, DONE, FAILED, ABANDONED };

/* Turns in a row before others get a chance. */
#define MAX_TURNS 1000

void rt_machine_init(rt_machine *m, rt_turn (*turn)(void *self), void (*cleanup)(void *self), void *self) {
  *m = (rt_machine){.turn = turn, .cleanup = cleanup, .self = self, .status = READY};
}

static void end(rt_machine *m, uint8_t status) {
  m->status = status;
  m->waiting = NULL;
  if (m->cleanup) m->cleanup(m->self);
}

static bool waits(const rt_machine *m) { return m->waiting && !rt_finished(m->waiting); }

rt_result rt_machine_step(void *machine) {
  rt_machine *m = machine;
  if (m->status == DONE) return rt_fail(-EALREADY);
  if (m->status != READY) return rt_fail(-ENOTRECOVERABLE);
  if (waits(m)) return rt_io(m->waiting); /* too early: the turn is not bothered */
  for (unsigned turns = 0; turns < MAX_TURNS; turns++) {
    rt_turn t = m->turn(m->self);
    if (t.go == RT_GO_ON) continue;
    RT__ASSERT(t.go == RT_GO_RESULT);
    m->waiting = t.result.io;
    if (rt_is_io(t.result)) return t.result;
    m->error = t.result.error;
    end(m, m->error ? FAILED : DONE);
    return t.result;
  }
  m->waiting = NULL;
  return rt_io(rt_yield());
}

rt_result rt_machine_abandon(void *machine) {
  rt_machine *m = machine;
  if (m->status == READY) {
    m->status = GIVING_UP;
    if (waits(m)) rt_cancel(m->waiting);
  }
  if (m->status != GIVING_UP) return rt_done(); /* it had come to its end */
  if (waits(m)) return rt_io(m->waiting);
  end(m, ABANDONED);
  return rt_done();
}
