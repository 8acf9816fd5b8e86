/*
** support_side.c - see support_side.h.
*/
#include "support_side.h"
#include "support_sync.h"

#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- setups ---- */

static uint32_t mixed(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

/* Every aspect goes its own way through its values. */
static unsigned choice(uint32_t number, unsigned aspect, unsigned values) {
  return mixed(number * 40u + aspect + 1) % values;
}

void model_setup_decode(uint32_t number, model_setup *s) {
  static const char *const journals[] = {"wal", "delete", "wal", "persist", "wal", "wal", "truncate", "wal"},
                           *const backends[] = {"sync", "uring", "auto"},
                           *const synchronous[] = {"normal", "full", "off", "extra"};
  static const int pages[] = {1024, 1024, 4096};
  memset(s, 0, sizeof *s);
  s->journal = journals[number % 8];
  s->backend = backends[number / 8 % 3];
  s->synchronous = synchronous[choice(number, 0, 4)];
  s->page_bytes = pages[choice(number, 1, 3)];
  s->rows = 90;
  s->vacuum = (int)choice(number, 2, 4) % 3;
  s->mmap_bytes = choice(number, 3, 3) == 0 ? 1 << 26 : 0;
  s->autocheckpoint = choice(number, 4, 3) == 0 ? 4 : 1000;
  s->cache_pages = choice(number, 5, 8) == 0 ? 2000 : 5;
  s->exclusive_first = choice(number, 6, 5) == 0;
  s->padding = choice(number, 7, 4) == 0;
  s->second_on_uring = choice(number, 8, 2) == 0;
  s->second_stays = choice(number, 9, 2) == 0;
  s->other_stays = choice(number, 10, 3) == 0;
  s->filled = choice(number, 11, 2) == 0;
  s->many_frames = number % 31 == 13;
  if (!s->many_frames) return;
  s->journal = "wal";
  s->page_bytes = 512;
  s->filled = s->other_stays = true;
  s->exclusive_first = false;
  s->autocheckpoint = 100000;
}

void model_setup_print(FILE *out, uint32_t number) {
  model_setup s;
  model_setup_decode(number, &s);
  fprintf(
      out,
      "journal_mode=%s%s%s page_size=%d auto_vacuum=%d synchronous=%s mmap_size=%d wal_autocheckpoint=%d cache_size=%d "
      "uring_backend=%s%s%s%s%s%s",
      s.journal, s.filled ? " (with frames)" : "", s.many_frames ? " (thousands)" : "", s.page_bytes, s.vacuum,
      s.synchronous, s.mmap_bytes, s.autocheckpoint, s.cache_pages, s.backend,
      s.exclusive_first ? ", exclusive from the start" : "", s.padding ? ", psow=0" : "",
      s.second_on_uring ? ", the second connection on uring" : "", s.second_stays ? " (stays open)" : "",
      s.other_stays ? ", other processes stay" : "");
}

/* ---- orders ---- */

static int socket_of(const model_side *s, model_where where) {
  if (where == MODEL_HERE) return -1;
  return where == MODEL_OTHER ? s->other : s->child;
}

model_answer *side_ask(model_side *s, model_where where, int connection, model_verb verb, int number, int64_t value,
                       const char *text) {
  static model_order order;
  model_answer *answer = &s->answers[s->count];
  snprintf(s->said[s->count], sizeof s->said[0], "%s%d: %d %.56s",
           where == MODEL_HERE    ? "connection "
           : where == MODEL_OTHER ? "other process "
                                  : "child ",
           connection, (int)verb, text);
  order = (model_order){.verb = verb, .connection = connection, .number = number, .value = value};
  /* Not the same number for two orders: SQLite would draw the same rowid, or salt, again. */
  order.prng_seed = 1 + (int)(mixed((uint32_t)s->step * 4096u + (uint32_t)s->count) >> 2);
  snprintf(order.text, sizeof order.text, "%s", text);
  if (where == MODEL_HERE)
    model_agent_do(s->connections, &order, answer);
  else if (!model_agent_ask(socket_of(s, where), &order, answer))
    s->gone = true;
  if (s->count < MODEL_ANSWERS - 1) s->count++;
  return answer;
}

int side_sql(model_side *s, model_where where, int connection, const char *format, ...) {
  char text[MODEL_TEXT];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return side_ask(s, where, connection, MODEL_SQL, 0, 0, text)->rc;
}

/* ---- connections ---- */

static void open_connection(model_side *s, model_where where, int connection, bool on_uring) {
  char uri[MODEL_TEXT];
  const bool uring = on_uring && s->tested;
  snprintf(uri, sizeof uri, "file:%s/m.db?vfs=%s%s%s%s", s->directory, uring ? "uring" : "unix",
           uring ? "&uring_backend=" : "", uring ? s->setup->backend : "", s->setup->padding ? "&psow=0" : "");
  (void)side_ask(s, where, connection, MODEL_OPEN, 0, 0, uri);
}

/* Not what the WAL's size or the mode depends on: a connection that is opened must not do anything to the database. */
static void configure(model_side *s, model_where where, int connection, int autocheckpoint) {
  (void)side_sql(s, where, connection, "PRAGMA cache_size=%d; PRAGMA wal_autocheckpoint=%d; PRAGMA mmap_size=%d",
                 s->setup->cache_pages, autocheckpoint, s->setup->mmap_bytes);
}

void side_open_main(model_side *s, bool exclusive) {
  open_connection(s, MODEL_HERE, MODEL_MAIN, true);
  s->open[MODEL_MAIN] = true;
  configure(s, MODEL_HERE, MODEL_MAIN, s->setup->autocheckpoint);
  if (exclusive) (void)side_main(s, "PRAGMA locking_mode=exclusive");
  (void)side_main(s, "PRAGMA synchronous=%s; SELECT count(*), sum(n) FROM t", s->setup->synchronous);
}

void side_close_main(model_side *s) {
  (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_CLOSE, 0, 0, "close");
  s->open[MODEL_MAIN] = false;
}

void side_second_close(model_side *s) {
  if (s->open[MODEL_SECOND]) (void)side_ask(s, MODEL_HERE, MODEL_SECOND, MODEL_CLOSE, 0, 0, "close");
  s->open[MODEL_SECOND] = false;
}

void side_second(model_side *s, const char *text) {
  if (!s->open[MODEL_SECOND]) {
    open_connection(s, MODEL_HERE, MODEL_SECOND, s->setup->second_on_uring);
    configure(s, MODEL_HERE, MODEL_SECOND, 0);
  }
  s->open[MODEL_SECOND] = true;
  (void)side_sql(s, MODEL_HERE, MODEL_SECOND, "%s", text);
  const model_connection *c = &s->connections[MODEL_SECOND];
  if (!s->setup->second_stays && (c->db == NULL || sqlite3_get_autocommit(c->db))) side_second_close(s);
}

void side_other_close(model_side *s, int connection) {
  if (s->other_open[connection]) (void)side_ask(s, MODEL_OTHER, connection, MODEL_CLOSE, 0, 0, "close");
  s->other_open[connection] = false;
}

void side_other(model_side *s, int connection, const char *text) {
  if (!s->other_open[connection]) {
    open_connection(s, MODEL_OTHER, connection, connection == 1);
    configure(s, MODEL_OTHER, connection, 0);
  }
  s->other_open[connection] = true;
  (void)side_sql(s, MODEL_OTHER, connection, "%s", text);
  const bool holds = !s->answers[s->count - 1].autocommit;
  if (!s->setup->other_stays && !holds) side_other_close(s, connection);
}

/* ---- forks ---- */

static pid_t fork_agent(model_side *s) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    model_agent_serve(ends[1]);
  }
  close(ends[1]);
  s->child = ends[0];
  return child;
}

bool side_child_start(model_side *s) {
  if (s->child_process != 0) return false;
  s->child_process = s->tested ? fork_agent(s) : -1;
  open_connection(s, MODEL_CHILD, MODEL_STAND_IN, true);
  return true;
}

void side_child_end(model_side *s) {
  if (s->child_process == 0) return;
  (void)side_ask(s, MODEL_CHILD, MODEL_STAND_IN, MODEL_CLOSE, 0, 0, "close");
  if (s->tested) {
    int status = 0;
    close(s->child);
    s->child = -1;
    if (waitpid(s->child_process, &status, 0) != s->child_process || status != 0) s->gone = true;
  }
  s->child_process = 0;
}

static void __attribute__((noreturn)) touch_inherited(model_side *s) {
  model_connection *c = &s->connections[MODEL_MAIN];
  s->count = 0;
  if (c->db != NULL) {
    (void)side_main(s, "SELECT count(*) FROM t");
    if (c->cursor != NULL) (void)side_ask(s, MODEL_HERE, MODEL_MAIN, MODEL_CURSOR_RESET, 0, 0, "");
    (void)side_main(s, "UPDATE t SET n=n+1 WHERE a=1");
    (void)side_main(s, "ROLLBACK");
    side_close_main(s);
  }
  open_connection(s, MODEL_HERE, MODEL_STAND_IN, true);
  (void)side_ask(s, MODEL_HERE, MODEL_STAND_IN, MODEL_SQL, 0, 0, "SELECT count(*) FROM t");
  (void)side_ask(s, MODEL_HERE, MODEL_STAND_IN, MODEL_CLOSE, 0, 0, "");
  _exit(0);
}

/* What the child's own connection does to the wal-index (it may take a read mark) is done for the default VFS by the
** process that stands in. */
void side_child_touches_inherited(model_side *s) {
  if (!s->tested) {
    const int before = s->count;
    const int connection = MODEL_STAND_IN - 1; /* there may be a child as well */
    open_connection(s, MODEL_CHILD, connection, true);
    (void)side_ask(s, MODEL_CHILD, connection, MODEL_SQL, 0, 0, "SELECT count(*) FROM t");
    (void)side_ask(s, MODEL_CHILD, connection, MODEL_CLOSE, 0, 0, "");
    s->count = before;
    return;
  }
  fflush(NULL);
  const pid_t child = fork();
  if (child == 0) touch_inherited(s);
  int status = -1;
  if (waitpid(child, &status, 0) != child || status != 0) s->gone = true;
}

/* ---- looking through the VFS ---- */

static bool read_pieces(sqlite3_file *file, uint8_t *to, sqlite3_int64 size, int page) {
  int piece = 32; /* the header, then in turn the headers of frames and their pages, as SQLite writes them */
  for (sqlite3_int64 at = 0; at < size; at += piece, piece = at == 32 || piece == page ? 24 : page) {
    if (at + piece > size) piece = (int)(size - at);
    if (file->pMethods->xRead(file, to + at, piece, at) != SQLITE_OK) return false;
  }
  return true;
}

void side_forget_view(model_side *s) {
  free(s->view);
  s->view = NULL;
  s->view_bytes = 0;
}

void side_peek(model_side *s) {
  sqlite3_file *file = NULL;
  sqlite3_int64 size = 0;
  uint8_t header[32];
  side_forget_view(s);
  if (s->connections[MODEL_MAIN].db == NULL) return;
  (void)sqlite3_file_control(s->connections[MODEL_MAIN].db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
  if (file == NULL || file->pMethods == NULL || file->pMethods->xFileSize(file, &size) != SQLITE_OK || size < 32)
    return;
  if (file->pMethods->xRead(file, header, sizeof header, 0) != SQLITE_OK || memcmp(header, "\x37\x7f\x06", 3) != 0)
    return;
  s->view = malloc((size_t)size);
  if (s->view != NULL &&
      read_pieces(file, s->view, size, header[8] << 24 | header[9] << 16 | header[10] << 8 | header[11]))
    s->view_bytes = (size_t)size;
}

uint64_t side_statistic(const model_side *s, const char *name) {
  static char stats[] = "uring_stats";
  char *args[4] = {NULL, stats, NULL, NULL}, key[40];
  sqlite3 *db = s->connections[MODEL_MAIN].db;
  if (!s->tested || db == NULL || sqlite3_file_control(db, "main", SQLITE_FCNTL_PRAGMA, args) != SQLITE_OK) return 0;
  snprintf(key, sizeof key, "\"%s\":", name);
  const char *found = args[0] != NULL ? strstr(args[0], key) : NULL;
  const uint64_t value = found != NULL ? strtoull(found + strlen(key), NULL, 10) : 0;
  sqlite3_free(args[0]);
  return value;
}

long side_syncs(const model_side *s) {
  return model_syncs() + (long)(side_statistic(s, "syncs") - side_statistic(s, "syncs_inline"));
}
