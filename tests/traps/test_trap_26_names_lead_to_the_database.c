/*
** Traps 25 and 26. 26: the names of WAL and journal lead to their database's file object (sqlite3_database_file_object)
** and to its URI parameters, in the shim and in its parent: they are handed down as they came, not copied. 25: what
** xOpen cannot say in sqlite3_errmsg() it says in sqlite3_log(); a PRAGMA says it in its message.
*/
#include "support_db.h"

#include <stdio.h>
#include <string.h>

static void names_are_handed_down(void **state) {
  (void)state;
  static const char *const modes[] = {"delete", "truncate", "persist", "wal"};
  for (int m = 0; m < 4; m++) {
    support_reset(NULL);
    /* psow is read by the unix VFS from the name it is given */
    sqlite3 *db = db_open("t.db", URING_SYNC "&psow=0&answer=42");
    db_execf(db, "PRAGMA journal_mode=%s; CREATE TABLE t(x)", modes[m]);
    db_exec(db, "INSERT INTO t VALUES(1)");
    sqlite3_file *f;
    assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f), SQLITE_OK);
    assert_int_equal(f->pMethods->xDeviceCharacteristics(f) & SQLITE_IOCAP_POWERSAFE_OVERWRITE, 0);
    db_close(db);
  }
}

/* A parent that asks, at each open, where the name leads. */
struct asked {
  int journals, wals, databases;
  sqlite3_file *database;
};
static struct asked asked;
static int (*next_open)(sqlite3_vfs *, sqlite3_filename, sqlite3_file *, int, int *);

static int asking_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *f, int flags, int *out_flags) {
  if (flags & SQLITE_OPEN_MAIN_DB) {
    asked.databases++;
    assert_string_equal(sqlite3_uri_parameter(name, "answer"), "42");
  }
  if (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL)) {
    flags &SQLITE_OPEN_WAL ? asked.wals++ : asked.journals++;
    asked.database = sqlite3_database_file_object(name);
    assert_non_null(asked.database);
    assert_string_equal(sqlite3_uri_parameter(sqlite3_filename_database(name), "answer"), "42");
  }
  return next_open(vfs, name, f, flags, out_flags);
}

static void parent_can_ask(void **state) {
  (void)state;
  sqlite3_vfs *parent = sqlite3_vfs_find(RECORDER_VFS);
  next_open = parent->xOpen;
  parent->xOpen = asking_open;
  for (int wal = 0; wal < 2; wal++) {
    memset(&asked, 0, sizeof asked);
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", URING_SYNC "&answer=42");
    db_execf(db, "PRAGMA journal_mode=%s; CREATE TABLE t(x)", wal ? "wal" : "delete");
    db_exec(db, "INSERT INTO t VALUES(1)");
    sqlite3_file *f;
    assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f), SQLITE_OK);
    assert_ptr_equal(asked.database, f);
    assert_int_equal(asked.databases, 1);
    assert_true(wal ? asked.wals == 1 : asked.journals >= 1);
    db_close(db);
  }
  parent->xOpen = next_open;
}

static void explanations(void **state) {
  (void)state;
  sqlite3 *db;
  assert_int_equal(db_try_open("t.db", "vfs=uring&uring_backend=nonsense", &db), SQLITE_ERROR);
  sqlite3_close(db);
  assert_non_null(log_find("uring_backend"));
  assert_non_null(log_find("auto"));
  db = db_open("t.db", "vfs=uring");
  assert_int_equal(db_try(db, "PRAGMA uring_backend=nonsense"), SQLITE_ERROR);
  assert_non_null(strstr(sqlite3_errmsg(db), "uring_backend"));
  db_close(db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(names_are_handed_down, support_reset),
      cmocka_unit_test_setup(parent_can_ask, support_reset),
      cmocka_unit_test_setup(explanations, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("traps 25, 26: names lead to their database, and what is refused is explained");
  return rc;
}
