/*
** support_agent.h - what one process does with its connections, on order.
**
** The process that drives a case carries out orders itself; another process, a helper or the child of a fork, gets them
** through a socket. An order is the same everywhere, so that what differs in the end is the VFS.
**
** Before each order SQLite's random numbers are seeded with the order's own seed: salts of a WAL, nonces of a journal
** and names of super-journals are then the same on both sides.
*/
#ifndef MODEL_AGENT_H
#define MODEL_AGENT_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODEL_CONNECTIONS = 3, MODEL_TEXT = 1000 };

typedef enum model_verb {
  MODEL_OPEN,         /* text: a URI */
  MODEL_CLOSE,        /* what is open is rolled back */
  MODEL_SQL,          /* text: statements, up to the first that fails */
  MODEL_INTERRUPTED,  /* the same, interrupted after `number` instructions */
  MODEL_CURSOR,       /* text: a SELECT; reads `number` rows of it and leaves it open */
  MODEL_CURSOR_RESET, /* the cursor is left where it is */
  MODEL_CURSOR_REST,  /* the cursor is read to its end */
  MODEL_BLOB,         /* overwrites a part of the blob in row `number` */
  MODEL_BACKUP,       /* overwrites the database with one of `number` rows; text: the statements that make it */
  MODEL_CONTROL,      /* file control `number`, with `value` */
  MODEL_SNAPSHOT,     /* takes a snapshot, or reads the one taken before */
  MODEL_END           /* the process ends */
} model_verb;

typedef struct model_order {
  model_verb verb;
  int connection;
  int number;
  int64_t value;
  int prng_seed;
  char text[MODEL_TEXT];
} model_order;

typedef struct model_answer {
  int rc;           /* extended */
  int autocommit;   /* what the connection says of itself afterwards */
  int transaction;  /* SQLITE_TXN_ */
  uint32_t rows;    /* that came */
  uint64_t hash;    /* of all their columns */
  int64_t value;    /* of a file control; compared by its hash, but for SQLITE_FCNTL_DATA_VERSION */
  char message[96]; /* why not, or the first row */
} model_answer;

typedef struct model_connection {
  sqlite3 *db;
  sqlite3_stmt *cursor;
  void *snapshot;
} model_connection;

void model_agent_do(model_connection *connections, const model_order *order, model_answer *answer);
/* Carries out what comes through the socket until MODEL_END, or until nobody is there any more. Does not return. */
void model_agent_serve(int socket) __attribute__((noreturn));
/* False: the other process is gone. */
bool model_agent_ask(int socket, const model_order *order, model_answer *answer);
bool model_answers_equal(const model_answer *a, const model_answer *b);
/* Has this SQLite the snapshot interface? */
bool model_has_snapshots(void);
uint64_t model_hash(uint64_t hash, const void *data, size_t bytes);

#endif
