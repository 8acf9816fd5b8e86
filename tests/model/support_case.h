/*
** support_case.h - a case: a setup, a few events, and the end that is the same for all.
**
** It runs on two databases, step by step: on one of them through the VFS under test, on the other through the default
** VFS. After every step all answers (codes, rows) and the files must be the same. At the end another process commits
** and reads, twice: with whatever the events have left behind, and after the connection has let go of everything.
**
** A case runs in a process of its own, with two helpers (the other processes of the two sides), one that compares
** files, and children of forks.
*/
#ifndef MODEL_CASE_H
#define MODEL_CASE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { MODEL_EVENTS = 12, MODEL_KINDS_MOST = 80 };

typedef struct model_event {
  uint8_t kind;    /* an index of the table of kinds */
  uint8_t variant; /* which rows, which of several ways */
} model_event;

typedef struct model_case {
  uint32_t setup; /* see model_setup_print */
  int count;
  model_event events[MODEL_EVENTS];
} model_case;

/* What the process of a case tells the one that started it, through shared memory. */
typedef struct model_report {
  bool failed;
  bool finished;
  char what[900];
  uint32_t steps, forks;
  uint32_t worked[MODEL_KINDS_MOST];            /* by kind: nothing failed, or what it is there for did */
  uint64_t frames, ring_operations, read_ahead; /* of the VFS under test */
} model_report;

typedef struct model_options {
  const char *scratch; /* an empty directory */
  bool verbose;        /* print every step   */
  bool keep;           /* the files stay     */
} model_options;

int model_kinds(void);
const char *model_kind_name(int kind);
int model_kind_by_name(const char *name); /* -1: there is none */
/* Does nothing before this event reach what comes after it? */
bool model_kind_resets(int kind);

void model_setup_print(FILE *out, uint32_t setup);
/* As --events takes them. */
void model_events_print(FILE *out, const model_case *c);
/* False: it is not a list of events. */
bool model_events_parse(const char *text, model_case *c);

/* Runs the case in a process of its own. False: it has failed; *report (shared memory) says how. */
bool model_case_run(const model_case *c, const model_options *options, model_report *report);
/* Leaves out the events without which it fails as well. */
void model_case_shrink(model_case *c, const model_options *options, model_report *report);
/* Shared with children. */
model_report *model_report_create(void);

#endif
