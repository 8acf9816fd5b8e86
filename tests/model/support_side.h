/*
** support_side.h - one of the two sides of a case: its database, its connections and its other processes.
*/
#ifndef MODEL_SIDE_H
#define MODEL_SIDE_H

#include "support_agent.h"
#include "support_case.h"
#include "support_files.h"

#include <sys/types.h>

typedef enum model_where { MODEL_HERE, MODEL_OTHER, MODEL_CHILD } model_where;
/* Connections of this process. Another process has two, 0 on the default VFS and 1 on the one under test. */
enum { MODEL_MAIN, MODEL_SECOND };
enum { MODEL_STAND_IN = 2 };
enum { MODEL_ANSWERS = 64 };

/* Decoded from the number of a setup. */
typedef struct model_setup {
  const char *journal, *backend, *synchronous;
  int page_bytes, rows, vacuum, mmap_bytes, autocheckpoint, cache_pages;
  bool exclusive_first; /* locking_mode=EXCLUSIVE before the database is used */
  bool padding;         /* psow=0 */
  bool second_on_uring, second_stays;
  bool other_stays; /* other processes keep their connections open */
  bool many_frames; /* the WAL has so many that the wal-index has three regions */
  bool filled;      /* the WAL has frames at the beginning */
} model_setup;

typedef struct model_side {
  bool tested; /* or the default VFS */
  char directory[600];
  const model_setup *setup;
  model_connection connections[MODEL_CONNECTIONS];
  bool open[MODEL_CONNECTIONS];       /* those of this process          */
  bool other_open[2], other_holds[2]; /* those of the other process     */
  int other, child;                   /* sockets */
  pid_t child_process;                /* 0: there is none */
  int autocheckpoint;                 /* turns */
  int64_t data_version;
  bool gone; /* another process ended by itself */
  long syncs;
  int step;
  int count; /* of this step */
  model_answer answers[MODEL_ANSWERS];
  char said[MODEL_ANSWERS][100]; /* what was asked */
  uint8_t *view;                 /* of the WAL, through the VFS: see side_peek */
  size_t view_bytes;
} model_side;

void model_setup_decode(uint32_t number, model_setup *setup);

/* Gives an order and takes the answer down. */
model_answer *side_ask(model_side *s, model_where where, int connection, model_verb verb, int number, int64_t value,
                       const char *text);
/* SQL, as printf has it; `where` HERE on the main connection. Returns the code. */
int side_sql(model_side *s, model_where where, int connection, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
#define side_main(s, ...) side_sql(s, MODEL_HERE, MODEL_MAIN, __VA_ARGS__)

/* The main connection, with what the setup says of every connection. */
void side_open_main(model_side *s, bool exclusive);
void side_close_main(model_side *s);
/* Opens what is not open, carries the statements out, and closes what does not stay. */
void side_second(model_side *s, const char *text);
void side_other(model_side *s, int connection, const char *text);
void side_second_close(model_side *s);
void side_other_close(model_side *s, int connection);
/* True: there was no child. On the default VFS a process that began before stands in for the child. */
bool side_child_start(model_side *s);
void side_child_end(model_side *s);
/* A child that touches what it has inherited, and opens its own connection. Nothing of that may be seen. */
void side_child_touches_inherited(model_side *s);
/* All of the WAL as the VFS shows it to the main connection, into s->view; nothing outside WAL mode. */
void side_peek(model_side *s);
void side_forget_view(model_side *s);
/* Syncs that the process has asked the kernel for so far, by whatever way. */
long side_syncs(const model_side *s);
/* From PRAGMA uring_stats of the main connection; 0 if it has none. */
uint64_t side_statistic(const model_side *s, const char *name);

#endif
