/*
** options.c - URI parameters and PRAGMAs.
**
** One table names every option with its values; a URI parameter and the PRAGMA of the same name go through the same
** code. What is wrong is refused with a message that names the option and what is allowed. Nothing is silently ignored:
** a parameter that begins with uring_ and is not in the table is wrong too.
*/
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PREFIX              "uring_"
#define TEXT_OF(n)          TEXT_OF_EXPANDED(n)
#define TEXT_OF_EXPANDED(n) #n
#define READAHEAD_MAX_TEXT  TEXT_OF(URINGVFS__READAHEAD_MAX)

typedef struct option {
  const char *name;
  const char *allowed;    /* for messages                                              */
  const char *values[4];  /* by number, the first is the default                       */
  const char *not_yet[2]; /* values that are planned                                   */
} option;

enum { OPTION_BACKEND, OPTION_COMMIT, OPTION_LOCK, OPTION_READAHEAD, OPTION_COUNT };

/* OPTION_BACKEND's values are in the order of rt_backend_choice. */
_Static_assert(RT_BACKEND_AUTO == 0 && RT_BACKEND_URING == 1 && RT_BACKEND_SYNC == 2, "order of backend names");

static const option options_table[OPTION_COUNT] = {
    [OPTION_BACKEND] = {"uring_backend", "auto, uring, sync", {"auto", "uring", "sync"}, {NULL}},
    [OPTION_COMMIT] = {"uring_commit", "strict", {"strict"}, {"group"}},
    [OPTION_LOCK] = {"uring_lock", "shared", {"shared"}, {"process"}},
    [OPTION_READAHEAD] = {"uring_readahead", "0 to " READAHEAD_MAX_TEXT, {NULL}, {NULL}},
};

const char *uringvfs__backend_name(rt_backend_choice backend) { return options_table[OPTION_BACKEND].values[backend]; }

static const option *find_option(const char *name) {
  for (int i = 0; i < OPTION_COUNT; i++)
    if (strcasecmp(options_table[i].name, name) == 0) return &options_table[i];
  return NULL;
}

/* The number of the value, or -1. */
static int find_value(const option *o, const char *value) {
  if (o == &options_table[OPTION_READAHEAD]) {
    char *end;
    const long pages = *value >= '0' && *value <= '9' ? strtol(value, &end, 10) : -1;
    return pages >= 0 && pages <= URINGVFS__READAHEAD_MAX && *end == 0 ? (int)pages : -1;
  }
  for (int i = 0; i < 4 && o->values[i] != NULL; i++)
    if (strcasecmp(o->values[i], value) == 0) return i;
  return -1;
}

/* Is it a value that a later version will know? */
static bool is_planned(const option *o, const char *value) {
  return o->not_yet[0] != NULL && strcasecmp(o->not_yet[0], value) == 0;
}

static char *names_message(const char *name) {
  sqlite3_str *text = sqlite3_str_new(NULL);
  sqlite3_str_appendf(text, "uringvfs: there is no option %.64s; the options are ", name);
  for (int i = 0; i < OPTION_COUNT; i++) sqlite3_str_appendf(text, "%s, ", options_table[i].name);
  sqlite3_str_appendall(text, "and PRAGMA uring_stats");
  return sqlite3_str_finish(text);
}

/* Sets one option. On failure *message is sqlite3_malloc'd text (NULL if out of memory). */
static int set_option(uringvfs__options *options, const option *o, const char *value, char **message) {
  const int number = find_value(o, value);
  if (number < 0) {
    *message = is_planned(o, value)
                   ? sqlite3_mprintf("uringvfs: %s=%.64s is not available yet; allowed: %s", o->name, value, o->allowed)
                   : sqlite3_mprintf("uringvfs: wrong value '%.64s' for %s; allowed: %s", value, o->name, o->allowed);
    return SQLITE_ERROR;
  }
  if (o == &options_table[OPTION_READAHEAD]) options->readahead = (unsigned)number;
  if (o != &options_table[OPTION_BACKEND]) return SQLITE_OK;
  const int unavailable = number == RT_BACKEND_URING ? uringvfs__ring_unavailable() : 0;
  if (unavailable != 0) {
    char text[128];
    *message = sqlite3_mprintf("uringvfs: uring_backend=uring cannot be had: %s; allowed here: auto, sync",
                               uringvfs__ring_unavailable_text(unavailable, text, sizeof text));
    return SQLITE_CANTOPEN;
  }
  options->backend = (rt_backend_choice)number;
  return SQLITE_OK;
}

int uringvfs__options_from_uri(const char *name, uringvfs__options *options) {
  const char *key;
  for (int i = 0; (key = sqlite3_uri_key(name, i)) != NULL; i++) {
    if (strncasecmp(key, PREFIX, sizeof PREFIX - 1) != 0) continue;
    const option *o = find_option(key);
    char *message = NULL;
    int rc = SQLITE_ERROR;
    if (o == NULL)
      message = names_message(key);
    else
      rc = set_option(options, o, key + strlen(key) + 1, &message); /* the value follows its key */
    if (rc != SQLITE_OK) {
      sqlite3_log(rc, "%s: opening %s", message != NULL ? message : "uringvfs: wrong option", name);
      sqlite3_free(message);
      return rc;
    }
  }
  return SQLITE_OK;
}

int uringvfs__options_pragma(uringvfs__file *f, char **args) {
  uringvfs__options *options = &f->options;
  const char *name = args[1], *value = args[2];
  if (strncasecmp(name, PREFIX, sizeof PREFIX - 1) != 0) return SQLITE_NOTFOUND;
  if (strcasecmp(name, "uring_stats") == 0) {
    args[0] = uringvfs__stats_json(f);
    return args[0] != NULL ? SQLITE_OK : SQLITE_NOMEM;
  }
  const option *o = find_option(name);
  if (o == NULL) {
    args[0] = names_message(name);
    return SQLITE_ERROR;
  }
  if (value != NULL) {
    int rc = set_option(options, o, value, &args[0]);
    if (rc != SQLITE_OK) return rc;
  }
  if (o == &options_table[OPTION_READAHEAD])
    args[0] = sqlite3_mprintf("%u", options->readahead);
  else
    args[0] = sqlite3_mprintf("%s", o->values[o == &options_table[OPTION_BACKEND] ? (int)options->backend : 0]);
  return args[0] != NULL ? SQLITE_OK : SQLITE_NOMEM;
}
