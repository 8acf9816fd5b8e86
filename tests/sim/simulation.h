/*
** simulation.h - a loop on a sim_world and a virtual clock, where one seed decides everything: order, latency, errors.
*/
#ifndef SIM_SIMULATION_H
#define SIM_SIMULATION_H

#include "world.h"

typedef struct sim_faults { /* chances in 1000 of each attempt */
  unsigned short_transfer, eintr, eagain, given_up /* ECANCELED nobody asked for */, eio, fsync_eio;
} sim_faults;

/* The same seed, world content and program give the same run, bit for bit. */
rt_loop *sim_open(sim_world *w, uint64_t seed, const sim_faults *faults);
/* Depends on every event so far: which attempt ended, when, and how. */
uint64_t sim_trace(const rt_loop *loop);
/* The virtual clock. */
uint64_t sim_now_ns(const rt_loop *loop);
/* Everything in flight is lost, as at a crash: its completions never finish. For use before sim_world_crash. */
void sim_abandon(rt_loop *loop);

#endif
