/*
** test_sync_strength.c - the strongest sync that was asked for is made.
**
** A commit's frames go to the kernel with an fdatasync behind them if the last commit wanted one. What SQLite then asks
** for may be more: SQLITE_SYNC_FULL, when PRAGMA fullfsync was set in between, on whatever connection. Then it counts
** for nothing that one of the lesser kind was made. Every sync that was asked for is seen here in one of three places:
** a recording parent, a trace of the runtime's operations, and fdatasync itself, which this program puts its own in the
** place of.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <cmocka.h>
#include "rt.h"
#include "uringvfs.h"

#include "support_script.h"

extern bool uringvfs__trust_any_parent; /* vfs/internal.h */

enum { WRONG = 90, NO_RINGS_HERE = 77, STRENGTH = 0x0f };

static char directory[512];

/* ---- what SQLite's own VFS does ---- */

static unsigned system_syncs;

/* The linker exports them to the SQLite library, which finds these before the C library's. */
__attribute__((visibility("default"))) int fdatasync(int fd);
__attribute__((visibility("default"))) int fsync(int fd);

int fdatasync(int fd) {
  system_syncs++;
  return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
  system_syncs++;
  return (int)syscall(SYS_fsync, fd);
}

/* ---- what the runtime does ---- */

static struct { unsigned writes, normal, full, on_a_ring; /* syncs since the last write */ } seen;

static void trace(const rt_trace_event *event, void *arg) {
  (void)arg;
  const rt_kind kind = rt_kind_of(&event->op->c);
  if (kind == RT_WRITE) {
    seen.writes++;
    seen.normal = seen.full = 0;
  }
  if (kind != RT_FDATASYNC || event->error != 0) return;
  seen.normal += (event->op->flags & STRENGTH) == SQLITE_SYNC_NORMAL;
  seen.full += (event->op->flags & STRENGTH) == SQLITE_SYNC_FULL;
  seen.on_a_ring += !event->inline_op;
}

static void must(sqlite3 *db, const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK) return;
  fprintf(stderr, "%.60s: %s\n", sql, sqlite3_errmsg(db));
  exit(WRONG);
}

/* ---- commits of every strength, one behind another ---- */

typedef struct strength {
  const char *synchronous;
  int fullfsync;
  bool normal, full; /* what it wants to be made */
} strength;

static const strength strengths[] = {
    {"FULL", 0, true, false},    {"FULL", 1, false, true}, {"EXTRA", 1, false, true},
    {"NORMAL", 1, false, false}, {"OFF", 1, false, false},
};
enum { STRENGTHS = sizeof strengths / sizeof strengths[0] };

/* Only what is different: the VFS hears of these PRAGMAs, and expects less then. */
static void set_strength(sqlite3 *db, const strength *s, const strength *before) {
  char sql[100];
  snprintf(sql, sizeof sql, "PRAGMA synchronous=%s", s->synchronous);
  if (before == NULL || strcmp(before->synchronous, s->synchronous) != 0) must(db, sql);
  snprintf(sql, sizeof sql, "PRAGMA fullfsync=%d", s->fullfsync);
  if (before == NULL || before->fullfsync != s->fullfsync) must(db, sql);
}

static const char *backend;

static void commit(sqlite3 *db, const strength *s) {
  static const strength *last;
  static int row;
  char sql[300];
  set_strength(db, s, last);
  const unsigned before = system_syncs;
  memset(&seen, 0, sizeof seen);
  snprintf(sql, sizeof sql,
           "BEGIN; WITH c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<200) INSERT INTO t SELECT x+%d, "
           "zeroblob(3000) FROM c; COMMIT",
           200 * row++);
  must(db, sql);
  const bool enough = s->full ? seen.full > 0 : !s->normal || seen.normal + seen.full > 0;
  /* Unless rings are wanted for everything, the stronger kind is the parent's. */
  const bool by_parent = !s->full || strcmp(backend, "uring") == 0 || system_syncs > before;
  if (!enough || !by_parent || seen.writes == 0) {
    fprintf(stderr,
            "%s, %s with fullfsync=%d after %s with %d: %u normal and %u full syncs behind the last write, %u calls\n",
            backend, s->synchronous, s->fullfsync, last != NULL ? last->synchronous : "nothing",
            last != NULL ? last->fullfsync : 0, seen.normal, seen.full, system_syncs - before);
    exit(WRONG);
  }
  last = s;
}

static void body_with_rings(void *arg) {
  char uri[100];
  sqlite3 *db = NULL;
  unsigned on_a_ring = 0;
  backend = arg;
  if (sqlite3_initialize() != SQLITE_OK || uringvfs_register(0) != SQLITE_OK) exit(WRONG);
  snprintf(uri, sizeof uri, "file:main.db?vfs=uring&uring_backend=%s", backend);
  if (sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL) != SQLITE_OK)
    exit(NO_RINGS_HERE);
  must(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(a INTEGER PRIMARY KEY, b)");
  rt_trace(trace, NULL);
  /* Twice each, since the first teaches what the next expects; every pair in both orders. */
  for (unsigned a = 0; a < STRENGTHS; a++)
    for (unsigned b = 0; b < STRENGTHS; b++) {
      commit(db, &strengths[a]);
      commit(db, &strengths[a]);
      on_a_ring += seen.on_a_ring;
      commit(db, &strengths[b]);
      on_a_ring += seen.on_a_ring;
    }
  rt_trace(NULL, NULL);
  sqlite3_close(db);
  if (system_syncs == 0) {
    fputs("this program's fdatasync is not the one that SQLite calls\n", stderr);
    exit(WRONG);
  }
  if (on_a_ring == 0 && strcmp(backend, "sync") != 0) exit(NO_RINGS_HERE); /* nothing was expected and made early */
}

static int status_of(void (*body)(void *), const void *arg) {
  char own[600];
  snprintf(own, sizeof own, "%s/run", directory);
  if (mkdir(own, 0700) != 0) fail_msg("mkdir");
  const int status = in_child(own, body, (void *)(uintptr_t)arg);
  remove_tree(own);
  return status;
}

static void with_rings(void **state) {
  (void)state;
  const int status = status_of(body_with_rings, "uring");
  if (status == NO_RINGS_HERE << 8) skip();
  assert_int_equal(status, 0);
}

static void where_they_are_faster(void **state) {
  (void)state;
  const int status = status_of(body_with_rings, "auto");
  if (status == NO_RINGS_HERE << 8) skip();
  assert_int_equal(status, 0);
}

static void without_rings(void **state) {
  (void)state;
  assert_int_equal(status_of(body_with_rings, "sync"), 0);
}

/* ---- a recording parent ---- */

typedef struct recording {
  const script *script;
  bool through_uring;
} recording;

static void body_recording(void *arg) {
  const recording *r = arg;
  const shim_setup setup = {.name = "unix-recording"};
  FILE *record = fopen("../record", "w");
  uringvfs__trust_any_parent = true;
  if (record == NULL || shim_register(&setup, true) != SQLITE_OK) exit(WRONG);
  if (r->through_uring && uringvfs_register(0) != SQLITE_OK) exit(WRONG);
  shim_record(record);
  /* A ring would go past the recorder. */
  script_run(r->script, r->through_uring ? "uring" : setup.name,
             r->through_uring ? "file:main.db?uring_backend=sync" : "main.db", record);
  shim_record(NULL);
  fclose(record);
}

/* Of the record, the statements and the syncs with their flags. */
static char *syncs_of(const script *s, bool through_uring) {
  const recording r = {s, through_uring};
  char path[600];
  snprintf(path, sizeof path, "%s/record", directory);
  assert_int_equal(status_of(body_recording, &r), 0);
  char *text = read_whole(path, NULL), *rest = NULL;
  assert_non_null(text);
  char *kept = calloc(1, strlen(text) + 2);
  assert_non_null(kept);
  for (char *line = strtok_r(text, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest))
    if (strstr(line, " xSync ") != NULL || strncmp(line, "-- ", 3) == 0) strcat(strcat(kept, line), "\n");
  free(text);
  return kept;
}

/* A trusted parent gets other writes than SQLite makes, but the same syncs. */
static void the_parent_is_asked_for_the_same(void **state) {
  (void)state;
  unsigned different = 0;
  bool any_full = false;
  for (unsigned i = 0; i < script_count; i++) {
    char *alone = syncs_of(&scripts[i], false), *through = syncs_of(&scripts[i], true);
    different += !same_text(scripts[i].name, alone, through);
    any_full = any_full || strstr(alone, " xSync 3") != NULL;
    free(alone);
    free(through);
  }
  assert_int_equal(different, 0);
  assert_true(any_full);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(with_rings),
      cmocka_unit_test(where_they_are_faster),
      cmocka_unit_test(without_rings),
      cmocka_unit_test(the_parent_is_asked_for_the_same),
  };
  make_directory(directory, sizeof directory);
  int rc = cmocka_run_group_tests(tests, NULL, NULL);
  remove_tree(directory);
  return rc;
}
