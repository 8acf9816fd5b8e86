/*
** support_files.h - the files of both sides, as they are on the disk.
**
** They are read by a process of its own: closing a descriptor of a database gives up the locks that the process has on
** it.
*/
#ifndef MODEL_FILES_H
#define MODEL_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_DIFFERENCE = 400 };

/*
** Where the frames of a WAL end that a recovery would accept, and in *committed where the last of them ends that is a
** commit frame. 0: there is no valid header.
*/
size_t model_wal_end(const uint8_t *wal, size_t bytes, size_t *committed);

typedef struct model_observer {
  int socket;
  int process;
} model_observer;

/* What of a database's files is to be compared in the two directories. */
typedef struct model_comparison {
  char name[32];        /* of the database                                                  */
  bool journal_by_size; /* names of super-journals are in it, which contain the directory's */
  bool after_error;     /* of I/O; see support_files.c                                      */
  bool recovered;       /* and frames that were not committed were found; see there         */
} model_comparison;

/* Before this process has opened any database. False: it cannot be had. */
bool model_observer_start(model_observer *o, const char *directory_a, const char *directory_b);
void model_observer_stop(model_observer *o);
/* True: they are the same. Otherwise `difference` says what is not. */
bool model_observer_compare(const model_observer *o, const model_comparison *what, char difference[MODEL_DIFFERENCE]);

#endif
