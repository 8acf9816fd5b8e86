/*
** world.h - an in-memory file system for backends under test: files by path, descriptors, and what of them a crash
** would leave.
**
** Every write is kept in a log until an fsync of its file. A crash keeps, tears or drops each of the logged writes, as
** a seed decides.
*/
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "runtime/backend.h"

typedef struct sim_world sim_world;

/* splitmix64: the one source of chance. */
uint64_t sim_random(uint64_t *state);

sim_world *sim_world_open(void);
void sim_world_close(sim_world *w);
/* One attempt of op, as the system call would answer it, moving at most `most` bytes. */
int64_t sim_world_call(sim_world *w, rt_op *op, uint64_t most);
/* The power fails: unsynced writes and truncations are kept, torn at 512 bytes, or lost; descriptors are gone. */
void sim_world_crash(sim_world *w, uint64_t *random);
/* A file's content now; NULL: there is none of this name. */
const char *sim_world_content(const sim_world *w, const char *path, uint64_t *size);
/* Bytes that may be allocated in all before -ENOSPC. */
void sim_world_set_space(sim_world *w, uint64_t bytes);
/* A number that depends on all contents and names. */
uint64_t sim_world_hash(const sim_world *w);

#endif
