/*
** Trap 24: newer versions of SQLite. SQLITE_IOCAP_SUBPAGE_READ (3.48) makes direct reads that are not page-sized;
** FCNTL_NULL_IO and file controls that this header does not know reach the parent; device characteristics and sector
** size are the parent's.
*/
#include "support_db.h"

#include <stdio.h>
#include <string.h>

#define IOCAP_SUBPAGE_READ 0x00008000 /* not in the headers of 3.40 */
#define FCNTL_NULL_IO      43

static const char *const all_ways[] = {PLAIN, URING_SYNC, URING_AUTO, URING_RING};

static sqlite3_file *file_of(sqlite3 *db, int op) {
  sqlite3_file *f = NULL;
  assert_int_equal(sqlite3_file_control(db, "main", op, &f), SQLITE_OK);
  return f;
}

static void device_is_the_parents(void **state) {
  (void)state;
  recorder_set_device(0, IOCAP_SUBPAGE_READ | SQLITE_IOCAP_POWERSAFE_OVERWRITE | SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN,
                      8192);
  sqlite3 *db = db_open("t.db", URING_SYNC);
  sqlite3_file *f = file_of(db, SQLITE_FCNTL_FILE_POINTER);
  assert_int_equal(f->pMethods->xSectorSize(f), 8192);
  assert_int_equal(f->pMethods->xDeviceCharacteristics(f),
                   IOCAP_SUBPAGE_READ | SQLITE_IOCAP_POWERSAFE_OVERWRITE | SQLITE_IOCAP_UNDELETABLE_WHEN_OPEN);
  recorder_set_device(-1, 0, 0);
  db_close(db);
}

/* Reads of any length at any place, of database and WAL, within a transaction that has spilled, against what a whole
** read gives. */
static void odd_reads(void **state) {
  static unsigned char whole[1 << 18], part[1 << 16];
  (void)state;
  for (int w = 0; w < 4; w++) {
    if (strstr(all_ways[w], "backend=uring") && !ring_available()) continue;
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", all_ways[w]);
    db_exec(db, "PRAGMA journal_mode=wal; PRAGMA cache_size=10; PRAGMA cache_spill=10; CREATE TABLE t(pad BLOB)");
    db_exec(db, "INSERT INTO t VALUES(randomblob(100000)); PRAGMA wal_checkpoint(RESTART);");
    db_exec(db, "BEGIN; INSERT INTO t VALUES(randomblob(100000)); INSERT INTO t VALUES(randomblob(100000))");
    for (int k = 0; k < 2; k++) {
      sqlite3_file *f = file_of(db, k ? SQLITE_FCNTL_JOURNAL_POINTER : SQLITE_FCNTL_FILE_POINTER);
      sqlite3_int64 size;
      assert_int_equal(f->pMethods->xFileSize(f, &size), SQLITE_OK);
      assert_true(size > 100000);
      if (size > (sqlite3_int64)sizeof whole) size = sizeof whole;
      unsigned seed = 12345;
      for (int i = 0; i < 3000; i++) {
        seed = seed * 1664525u + 1013904223u;
        int n = 1 + (int)(seed >> 8) % (i % 3 ? 200 : 9000);
        seed = seed * 1664525u + 1013904223u;
        sqlite3_int64 at = (seed >> 4) % (unsigned)(size - n);
        if (i == 0) {
          /* in pieces of odd length first: the pending part must not be flushed by the very first whole read */
          for (sqlite3_int64 o = 0; o < size; o += 1000) {
            int length = size - o < 1000 ? (int)(size - o) : 1000;
            assert_int_equal(f->pMethods->xRead(f, whole + o, length, o), SQLITE_OK);
          }
        }
        memset(part, 0xee, (size_t)n);
        assert_int_equal(f->pMethods->xRead(f, part, n, at), SQLITE_OK);
        assert_memory_equal(part, whole + at, n);
      }
    }
    db_exec(db, "COMMIT");
    assert_int_equal(db_int(db, "SELECT sum(length(pad)) FROM t"), 300000);
    db_check(db);
    db_close(db);
  }
}

/* Unknown controls are passed on, and the parent's answer comes back. */
static void unknown_controls(void **state) {
  (void)state;
  sqlite3 *db = db_open("t.db", URING_SYNC);
  db_exec(db, "CREATE TABLE t(x)");
  static const int ops[] = {FCNTL_NULL_IO, 44, 99, 777777, SQLITE_FCNTL_LAST_ERRNO, SQLITE_FCNTL_HAS_MOVED};
  for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
    int value = 0;
    sqlite3_file *f = file_of(db, SQLITE_FCNTL_FILE_POINTER);
    recorder_clear_log();
    int rc = f->pMethods->xFileControl(f, ops[i], &value);
    assert_int_equal(recorder_tally(REC_CONTROL, REC_DB, 0), 1);
    assert_int_equal(recorder_at(recorder_find(REC_CONTROL, REC_DB, 0))->arg, ops[i]);
    assert_int_equal(recorder_at(recorder_find(REC_CONTROL, REC_DB, 0))->rc, rc);
  }
  /* LOCK_TIMEOUT: NOTFOUND unless blocking is really done (trap 23) */
  int timeout = 10;
  recorder_clear_log();
  sqlite3_file *f = file_of(db, SQLITE_FCNTL_FILE_POINTER);
  int rc = f->pMethods->xFileControl(f, SQLITE_FCNTL_LOCK_TIMEOUT, &timeout);
  assert_int_equal(rc, recorder_at(recorder_count() - 1)->rc);
  db_close(db);
}

/* Method versions mirror the parent's. */
static void versions(void **state) {
  (void)state;
  assert_int_equal(sqlite3_vfs_find("uring")->iVersion, sqlite3_vfs_find(RECORDER_VFS)->iVersion);
  assert_int_equal(sqlite3_vfs_find("uring")->mxPathname, sqlite3_vfs_find(RECORDER_VFS)->mxPathname);
  sqlite3 *db = db_open("t.db", URING_SYNC);
  db_exec(db, "PRAGMA journal_mode=wal; CREATE TABLE t(x)");
  assert_int_equal(file_of(db, SQLITE_FCNTL_FILE_POINTER)->pMethods->iVersion, 3);
  assert_true(file_of(db, SQLITE_FCNTL_JOURNAL_POINTER)->pMethods->iVersion >= 1);
  db_close(db);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(device_is_the_parents, support_reset),
      cmocka_unit_test_setup(odd_reads, support_reset),
      cmocka_unit_test_setup(unknown_controls, support_reset),
      cmocka_unit_test_setup(versions, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0)
    puts("trap 24: sub-page reads, unknown file controls and the device's traits are right for newer SQLite");
  return rc;
}
