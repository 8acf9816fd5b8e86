/*
** support_pair.h - one file, opened through the default VFS and through uring.
**
** Each call is made on both; codes, bytes and sizes must be the same, or the input is a finding.
*/
#ifndef TESTS_FUZZ_PAIR_H
#define TESTS_FUZZ_PAIR_H

#include "support_fuzz.h"

enum { MAX_PAGE_BYTES = 65536, MAX_FRAME_HEADER = 24 };

typedef struct pair {
  sqlite3_file *side[SIDES];
  const char *what; /* for messages */
  bool open;
} pair;

/* What the last pair_read() gave. */
extern uint8_t pair_read_bytes[SIDES][MAX_PAGE_BYTES + MAX_FRAME_HEADER];

int pair_agree(const char *file, const char *call, const int rc[SIDES]);

/* `call` is evaluated for s = 0 and 1. */
#define BOTH(rc, file, name, call)                                                                                     \
  do {                                                                                                                 \
    int both_rc[SIDES];                                                                                                \
    for (int s = 0; s < SIDES; s++) both_rc[s] = (call);                                                               \
    (rc) = pair_agree(file, name, both_rc);                                                                            \
    (void)(rc);                                                                                                        \
  } while (0)
#define METHOD(f, name) (f)->side[s]->pMethods->name

/* names: NULL for a temporary file. */
int pair_open(pair *f, const char *what, const char *const name[SIDES], int flags);
void pair_close(pair *f);
void pair_read(pair *f, unsigned bytes, sqlite3_int64 offset);
void pair_write(pair *f, const void *data, unsigned bytes, sqlite3_int64 offset);
/* Each side gets bytes of its own. */
void pair_write2(pair *f, const void *first, const void *second, unsigned bytes, sqlite3_int64 offset);
void pair_truncate(pair *f, sqlite3_int64 size);
/* flags: bit 0 is SQLITE_SYNC_FULL, bit 1 SQLITE_SYNC_DATAONLY. */
void pair_sync(pair *f, uint8_t flags);
void pair_sizes(pair *f, sqlite3_int64 size[SIDES]);
void pair_size(pair *f);
/* A control whose argument is a number, in and out: an sqlite3_int64 if `wide`, otherwise an int. */
void pair_control(pair *f, const char *name, int op, sqlite3_int64 value, bool wide);
void pair_delete(const char *const name[SIDES], const char *what, int sync_directory);
/* What is in two descriptors at from <= offset < end. */
void pair_compare(const char *what, const int fd[SIDES], sqlite3_int64 from, sqlite3_int64 end);

#endif
