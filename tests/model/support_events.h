/*
** support_events.h - the kinds of events of SQLite's protocol.
*/
#ifndef MODEL_EVENTS_H
#define MODEL_EVENTS_H

#include "support_side.h"

typedef struct model_kind {
  const char *name;
  void (*happen)(model_side *s, unsigned variant);
  /* Frames of a transaction that did not commit may be left in the default VFS's WAL, behind what is committed. */
  bool leaves_frames;
  /* Which of its statements fails may differ: only whether one of them has failed is compared. */
  bool fails_anywhere;
  int fails_with; /* the primary code that it is there for; 0: none */
  /* The connection or its database begins anew. */
  bool resets;
  bool forks;
  bool super_journal;
  bool persists; /* the WAL may stay when the last connection goes */
} model_kind;

extern const model_kind model_kind_table[];

/* Where the next write of an event that runs into a limit of the file's size fails; the same for both sides. */
void model_set_file_limit(uint64_t bytes);

/* The longest text of a row, as SQL. */
const char *model_row_text(const model_side *s, char letter);

#endif
