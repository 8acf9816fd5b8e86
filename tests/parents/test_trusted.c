/*
** test_trusted.c - a copy of a built-in VFS under another name, with its xOpen and its pAppData, is as good as the
** built-in one.
**
** Frames are merged and rings used over it. If it lacks xSetSystemCall the parent's descriptor cannot be known, so
** that there are no rings; frames are merged all the same.
*/
#include "support_child.h"

#include <stdio.h>
#include <string.h>

#include "rt.h"
#include "uringvfs.h"

typedef struct copy {
  const char *of, *name;
  int version;
  bool without_get, without_set;
} copy;

static sqlite3_vfs vfs;
static bool rings;

static void work(const void *arg) {
  const copy *c = arg;
  rt_stats before, after;
  begin();
  vfs = *sqlite3_vfs_find(c->of);
  vfs.zName = c->name;
  vfs.iVersion = c->version;
  if (c->without_get) vfs.xGetSystemCall = NULL;
  if (c->without_set) vfs.xSetSystemCall = NULL;
  /* Nobody may look there. */
  if (c->version < 3) vfs.xSetSystemCall = (int (*)(sqlite3_vfs *, const char *, sqlite3_syscall_ptr))(intptr_t)-1;
  if (c->version < 3) vfs.xGetSystemCall = (sqlite3_syscall_ptr(*)(sqlite3_vfs *, const char *))(intptr_t)-1;
  if (c->version < 2) vfs.xCurrentTimeInt64 = (int (*)(sqlite3_vfs *, sqlite3_int64 *))(intptr_t)-1;
  CHECK_INT(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
  sqlite3 *db = db_open("a.db", rings ? "vfs=uring&uring_backend=uring" : "vfs=uring");
  db_exec(db, "PRAGMA locking_mode=exclusive; PRAGMA journal_mode=wal; CREATE TABLE t(x)");
  const sqlite3_int64 merged = db_stat(db, "wal_batches");
  rt_stats_read(&before);
  for (int i = 0; i < 5; i++) db_exec(db, "INSERT INTO t VALUES(zeroblob(50000)), (datetime())");
  rt_stats_read(&after);
  CHECK(db_stat(db, "wal_batches") >= merged + 5);
  CHECK(db_stat(db, "wal_batch_frames") > 5 * 10);
  CHECK_INT(logged("may store other bytes"), 0);
  const bool knows = c->version >= 3 && !c->without_get && !c->without_set;
  CHECK_INT(after.enters > before.enters, rings && knows);
  db_close(db);
  db = db_open("a.db", "vfs=unix");
  db_exec(db, "PRAGMA locking_mode=exclusive"); /* one of them, now named so, does not lock */
  CHECK_INT(db_int(db, "SELECT count(*) FROM t"), 10);
  CHECK(strcmp(db_text(db, "PRAGMA integrity_check"), "ok") == 0);
  db_close(db);
}

static void copies(void **state) {
  static const copy all[] = {
      {"unix", "copy", 3, false, false},      {"unix-excl", "copy", 3, false, false},
      {"unix-none", "copy", 3, false, false}, {"unix-dotfile", "copy", 3, false, false},
      {"unix", "unix-copy", 2, false, false}, {"unix", "copy", 1, false, false},
      {"unix", "copy", 3, true, false},       {"unix", "copy", 3, false, true},
      {"unix-none", "unix", 3, false, false},
  };
  (void)state;
  rings = child_rings_available();
  if (!rings) print_message("no rings here: only merging is tested\n");
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    char what[64];
    snprintf(what, sizeof what, "copy %zu, of %s, as %s", i, all[i].of, all[i].name);
    child_empty_directory();
    child_passes(work, &all[i], what);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(copies)};
  return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
