/*
** memory.h - a loop whose operations act on a sim_world and finish when and in the order the test says.
*/
#ifndef SIM_MEMORY_H
#define SIM_MEMORY_H

#include "world.h"

/* entries 0: 64. The world stays the caller's. Waiting finishes the oldest attempt unless held back
** (sim_memory_hold). */
rt_loop *sim_memory_open(sim_world *w, unsigned entries);
/* While held, nothing finishes by itself; waiting for something then is a deadlock, and aborts with a message. */
void sim_memory_hold(rt_loop *loop, bool hold);
/* The started attempt of op ends in the next round: as the world answers. False: op has none. */
bool sim_memory_finish(rt_loop *loop, rt_op *op);
/* The same with a result of the test's: a short count moves that many bytes, an error none. */
bool sim_memory_finish_as(rt_loop *loop, rt_op *op, int64_t res);
/* From now on the n-th attempt started (1: the next) ends with this error instead, `times` of them in a row. 0: no
** more. */
void sim_memory_fail(rt_loop *loop, unsigned n, unsigned times, int error);
/* Attempts started so far; cancellations the loop asked the backend for. */
unsigned sim_memory_started(const rt_loop *loop);
unsigned sim_memory_cancels(const rt_loop *loop);
/* Short transfers do not break chains: as in the kernel, which knows nothing of the part of a transfer that it was not
** asked for. */
void sim_memory_keep_links(rt_loop *loop, bool keep);
/* 0: transfers of any size; else at most so many bytes each. */
void sim_memory_limit(rt_loop *loop, uint64_t most);

#endif
