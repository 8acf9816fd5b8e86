/*
** test_sync_strength.c - the strongest sync that is asked for is made.
**
** A commit's frames and their sync go to a ring as one group, and the xSync that follows has nothing left to do, if
** it asks for no more than the group has done: SQLITE_SYNC_NORMAL. For SQLITE_SYNC_FULL (PRAGMA fullfsync,
** checkpoint_fullfsync) there is a sync behind the group's, of its own. Whoever changes between the two from one
** commit to the next gets each time what was asked for.
*/
#include "support_child.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rt.h"
#include "uringvfs.h"

/* ---- what the parent, the built-in VFS, syncs: fsync and fdatasync are not in its table of system calls, but are
** called by name ---- */

static struct { unsigned wal, database; } synced;

static int synced_by(const char *function, int fd) {
  int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, function);
  char link[64], name[512];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, name, sizeof name - 1);
  name[n > 0 ? n : 0] = 0;
  synced.wal += strstr(name, "a.db-wal") != NULL;
  synced.database += n >= 4 && strcmp(name + n - 4, "a.db") == 0;
  return real(fd);
}

__attribute__((visibility("default"))) int fsync(int fd) { return synced_by("fsync", fd); }
__attribute__((visibility("default"))) int fdatasync(int fd) { return synced_by("fdatasync", fd); }

static void forget(void) { synced.wal = synced.database = 0; }

static sqlite3 *install_and_open(const char *parameters) {
  begin();
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
  forget();
  sqlite3 *db = db_open("a.db", parameters);
  db_exec(db, "PRAGMA journal_mode=wal; PRAGMA synchronous=full; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(x)");
  CHECK(synced.wal > 0); /* the functions above are those that SQLite calls */
  return db;
}

static unsigned syncs_by_ring(void) {
  rt_stats s;
  rt_stats_read(&s);
  return (unsigned)(s.ops[RT_FDATASYNC] - s.inline_ops[RT_FDATASYNC]);
}

/* One commit: how many syncs the parent made of the WAL, and how many a ring. */
static void commit(sqlite3 *db, unsigned *by_parent, unsigned *by_ring) {
  const unsigned before = syncs_by_ring();
  forget();
  db_exec(db, "INSERT INTO t VALUES(zeroblob(30000))");
  *by_parent = synced.wal;
  *by_ring = syncs_by_ring() - before;
}

/* The parent's first xSync of a WAL syncs the directory, too. Later a group syncs if the last commit was synced,
** and then the xSync has nothing left to do. */
static void settle(sqlite3 *db) {
  unsigned by_parent, by_ring;
  for (int i = 0; i < 4; i++) commit(db, &by_parent, &by_ring);
  CHECK_INT(by_parent, 0);
  CHECK_INT(by_ring, 1);
}

static void toggle_fullfsync(const void *arg) {
  unsigned by_parent, by_ring;
  sqlite3 *db = install_and_open(arg);
  for (int round = 0; round < 3; round++) {
    settle(db);
    db_exec(db, "PRAGMA fullfsync=1");
    for (int i = 0; i < 3; i++) {
      commit(db, &by_parent, &by_ring);
      /* The group's, if it was made, and another. */
      CHECK_INT(by_parent + by_ring, i == 0 ? 2 : 1);
    }
    db_exec(db, "PRAGMA fullfsync=0");
    commit(db, &by_parent, &by_ring);
    CHECK_INT(by_parent + by_ring, 1);
  }
  db_close(db);
}

/* A checkpoint's syncs: of the WAL before it copies, of the database behind the copies. */
static void toggle_checkpoint_fullfsync(const void *arg) {
  sqlite3 *db = install_and_open(arg);
  for (int round = 0; round < 4; round++) {
    const bool full = round % 2 != 0;
    settle(db);
    db_exec(db, full ? "PRAGMA checkpoint_fullfsync=1" : "PRAGMA checkpoint_fullfsync=0");
    const unsigned before = syncs_by_ring();
    forget();
    db_exec(db, "PRAGMA wal_checkpoint(RESTART)");
    CHECK_INT(synced.wal + synced.database + (syncs_by_ring() - before), 2);
  }
  db_close(db);
}

/* Straight after a commit whose group was synced, and once more. */
static void ask_the_file(const void *arg) {
  static const int flags[] = {SQLITE_SYNC_FULL, SQLITE_SYNC_FULL | SQLITE_SYNC_DATAONLY};
  sqlite3 *db = install_and_open(arg);
  for (unsigned i = 0; i < 2; i++) {
    settle(db);
    sqlite3_file *wal = db_file(db, SQLITE_FCNTL_JOURNAL_POINTER);
    for (unsigned k = 1; k <= 2; k++) {
      const unsigned before = syncs_by_ring();
      forget();
      CHECK_INT(wal->pMethods->xSync(wal, flags[i]), SQLITE_OK);
      CHECK_INT(synced.wal + (syncs_by_ring() - before), 1);
    }
  }
  db_close(db);
}

/* The commit before was synced, so that this one's group is, too; but what is asked for is more, or nothing. */
static void change_between_commits(const void *arg) {
  static const struct {
    const char *pragmas;
    unsigned syncs;
  } changes[] = {
      {"PRAGMA fullfsync=1", 2},
      {"PRAGMA fullfsync=1; PRAGMA synchronous=normal", 0},
      {"PRAGMA fullfsync=1; PRAGMA synchronous=off", 0},
      {"PRAGMA fullfsync=1; PRAGMA synchronous=off; PRAGMA synchronous=full", 1},
      {"PRAGMA fullfsync=1; PRAGMA synchronous=extra", 1},
  };
  unsigned by_parent, by_ring;
  sqlite3 *db = install_and_open(arg);
  for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
    db_exec(db, "PRAGMA fullfsync=0; PRAGMA synchronous=full");
    settle(db);
    db_exec(db, changes[i].pragmas);
    commit(db, &by_parent, &by_ring);
    CHECK_INT(by_parent + by_ring, changes[i].syncs);
  }
  db_close(db);
}

static bool rings;

static void run(child_body body, const char *what) {
  if (!rings) return;
  child_empty_directory();
  child_passes(body, "vfs=uring&uring_backend=uring", what);
}

static void fullfsync(void **state) {
  (void)state;
  run(toggle_fullfsync, "fullfsync");
}

static void checkpoint_fullfsync(void **state) {
  (void)state;
  run(toggle_checkpoint_fullfsync, "checkpoint_fullfsync");
}

static void by_hand(void **state) {
  (void)state;
  run(ask_the_file, "xSync");
}

static void changes(void **state) {
  (void)state;
  run(change_between_commits, "changes");
}

static int setup(void **state) {
  const int rc = child_setup(state);
  rings = rc == 0 && child_rings_available();
  return rc;
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fullfsync),
      cmocka_unit_test(checkpoint_fullfsync),
      cmocka_unit_test(by_hand),
      cmocka_unit_test(changes),
  };
  const int rc = cmocka_run_group_tests(tests, setup, child_teardown);
  if (rc != 0 || rings) return rc;
  puts("no io_uring here: no sync is made by a group");
  return 77;
}
