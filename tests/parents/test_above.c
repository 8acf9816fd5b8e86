/*
** test_above.c - a shim above that does not write as SQLite does.
**
** wal.c writes a frame in two pieces, and the shim under test collects them by that. Another VFS may stand above it
** and write in other pieces: headers and pages together, pages in parts, 64 KiB at a time; or the same pieces in
** other bytes. The first kinds are written through. With all of them a process that is killed after a commit leaves
** behind what it leaves on the default VFS.
*/
#include "support_child.h"
#include "support_shim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uringvfs.h"

typedef struct scenario {
  shim_change change;
  const char *settings;
  const char *parameters; /* of uring */
  int steps;
  bool uring; /* below the shim; else the default VFS */
  bool closes;
} scenario;

static shim above;

/* The size of the database in its header: with this key a commit frame that does not change it looks like any
** other, and others like it. */
static uint32_t size_in_header(void) {
  uint8_t size[4];
  const int fd = open("a.db", O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && pread(fd, size, 4, 28) == 4);
  close(fd);
  return (uint32_t)size[0] << 24 | (uint32_t)size[1] << 16 | (uint32_t)size[2] << 8 | size[3];
}

static void install(const scenario *c) {
  begin();
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
  shim_init(&above, "above", sqlite3_vfs_find(c->uring ? "uring" : "unix"));
  above.change = c->change;
  above.key = size_in_header();
  CHECK_INT(sqlite3_vfs_register(&above.vfs, 0), SQLITE_OK);
}

static sqlite3 *open_above(const scenario *c) {
  char text[128];
  snprintf(text, sizeof text, "vfs=above&%s", c->uring ? c->parameters : "");
  sqlite3 *db = db_open("a.db", text);
  db_exec(db, c->settings);
  return db;
}

/* By the same shim over the default VFS. Nothing is in the WAL, so the key does not matter. */
static void prepare(const void *arg) {
  const scenario *c = arg;
  begin();
  shim_init(&above, "above", sqlite3_vfs_find("unix"));
  above.change = c->change;
  CHECK_INT(sqlite3_vfs_register(&above.vfs, 0), SQLITE_OK);
  sqlite3 *db = db_open("a.db", "vfs=above");
  db_exec(db, "PRAGMA synchronous=off; PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, v); WITH "
              "RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT "
              "x+1 FROM c WHERE x<300) INSERT INTO t SELECT x, hex(zeroblob(500)) FROM c");
  db_close(db);
}

static bool other_pieces(shim_change change) {
  return change == SHIM_MERGES || change == SHIM_SPLITS || change == SHIM_COLLECTS;
}

/* What the shim above has written is in the file. */
static void check_written(void) {
  struct stat st;
  CHECK_INT(stat("a.db-wal", &st), 0);
  CHECK(st.st_size >= above.wal_end);
}

static const struct {
  const char *sql;
  bool commits_all; /* that it writes */
} steps[] = {
    {"UPDATE t SET v=replace(v,'0','1') WHERE id=7", true},
    {"UPDATE t SET v=replace(v,'0','2') WHERE id%50=0", true},
    {"BEGIN; UPDATE t SET v=replace(v,'0','3'); ROLLBACK", false},
    {"BEGIN; UPDATE t SET v=replace(v,'0','4') WHERE id>250; SAVEPOINT s; UPDATE t SET v='-'; ROLLBACK TO s; COMMIT",
     false},
    {"INSERT INTO t(v) VALUES(zeroblob(3000000))", true},
    {"BEGIN; UPDATE t SET v='none'; ROLLBACK", false},
    {"INSERT INTO t(v) VALUES('last')", true},
};

enum { STEPS = sizeof steps / sizeof steps[0] };

static void work(const void *arg) {
  const scenario *c = arg;
  install(c);
  sqlite3 *db = open_above(c);
  db_exec(db, "PRAGMA cache_size=10; PRAGMA wal_autocheckpoint=0");
  for (int i = 0; i < c->steps; i++) {
    above.wal_end = 0;
    db_exec(db, steps[i].sql);
    if (steps[i].commits_all || other_pieces(c->change)) check_written();
  }
  if (other_pieces(c->change)) {
    db_exec(db, "BEGIN; UPDATE t SET v='pending'");
    check_written();
    db_exec(db, "ROLLBACK");
  }
  if (!c->closes) die();
  db_close(db);
  die();
}

static void look(const void *arg) {
  scenario c = *(const scenario *)arg;
  c.uring = false;
  install(&c);
  above.syncs_nothing = true;
  sqlite3 *db = open_above(&c);
  db_tell(db, "PRAGMA integrity_check; SELECT count(*) FROM t; SELECT sum(length(v)) FROM t;"
              "SELECT sum(id*(length(v)-length(replace(v,'0','')))) FROM t");
  db_close(db);
}

static char *leaves_behind(scenario c, bool uring) {
  char what[256];
  snprintf(what, sizeof what, "change %d, %s, %s, %d steps%s", (int)c.change, c.settings, c.parameters, c.steps,
           c.closes ? ", closed" : "");
  c.uring = uring;
  child_empty_directory();
  child_passes(prepare, &c, what);
  child_is_killed(work, &c, what);
  const child_result r = child_run(look, &c);
  if (r.status != 0) fail_msg("%s: status %#x\n%s", what, (unsigned)r.status, r.report);
  return r.report;
}

static void compare(scenario c) {
  char *expected = leaves_behind(c, false), *found = leaves_behind(c, true);
  if (strcmp(expected, found) != 0)
    fail_msg("change %d, %s, %s, %d steps%s: the default VFS leaves\n%s\nuring leaves\n%s", (int)c.change, c.settings,
             c.parameters, c.steps, c.closes ? ", closed" : "", expected, found);
  assert_non_null(strstr(expected, "  ok\n"));
  free(expected);
  free(found);
}

/* settings: each of synchronous; backends by turns, but for the default one */
static void all_of(shim_change change, const char *mode) {
  static const char *const synchronous[] = {"full", "normal", "off"};
  const bool rings = child_rings_available();
  for (int s = 0; s < 3; s++) {
    char settings[96];
    snprintf(settings, sizeof settings, "%sPRAGMA synchronous=%s", mode, synchronous[s]);
    for (int n = 1; n <= STEPS; n += 3) {
      const char *parameters = (n + s) % 2 == 0 ? "uring_backend=auto"
                               : rings          ? "uring_backend=uring"
                                                : "uring_backend=sync";
      compare((scenario){.change = change, .settings = settings, .parameters = parameters, .steps = n});
    }
    compare((scenario){
        .change = change, .settings = settings, .parameters = "uring_backend=auto", .steps = STEPS, .closes = true});
  }
}

static void in_all_modes(shim_change change) {
  all_of(change, "");
  all_of(change, "PRAGMA locking_mode=exclusive;");
}

static void merged(void **state) {
  (void)state;
  in_all_modes(SHIM_MERGES);
}

static void split(void **state) {
  (void)state;
  all_of(SHIM_SPLITS, "");
}

static void collected(void **state) {
  (void)state;
  in_all_modes(SHIM_COLLECTS);
}

static void other_bytes(void **state) {
  (void)state;
  all_of(SHIM_XOR_BYTES, "");
  all_of(SHIM_XOR_PAGES, "PRAGMA locking_mode=exclusive;");
}

static void passed_on(void **state) {
  (void)state;
  all_of(SHIM_PASSES_ON, "");
}

static void frame_headers(void **state) {
  (void)state;
  all_of(SHIM_FRAME_HEADERS, "");
}

static void frame_headers_exclusive(void **state) {
  (void)state;
  all_of(SHIM_FRAME_HEADERS, "PRAGMA locking_mode=exclusive;");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(merged),
      cmocka_unit_test(split),
      cmocka_unit_test(collected),
      cmocka_unit_test(other_bytes),
      cmocka_unit_test(passed_on),
      cmocka_unit_test(frame_headers),
      cmocka_unit_test(frame_headers_exclusive),
  };
  return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
