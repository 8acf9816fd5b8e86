/*
** Trap 11: xFileSize counts pending bytes, on WAL and journals too: playback and truncation use it. Seen through the
** bare methods, as SQLite would use them, in the middle of a transaction.
*/
#include "support_db.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const all_ways[] = {PLAIN, URING_SYNC, URING_AUTO, URING_RING};

static bool skip_way(const char *way) { return strstr(way, "backend=uring") && !ring_available(); }

static sqlite3_int64 size_of(sqlite3_file *f) {
  sqlite3_int64 size = -1;
  assert_int_equal(f->pMethods->xFileSize(f, &size), SQLITE_OK);
  return size;
}

/* Spill into the WAL, and ask for its size without writing the commit frame. */
static void wal_size(void **state) {
  (void)state;
  for (size_t w = 0; w < 4; w++) {
    if (skip_way(all_ways[w])) continue;
    support_reset(NULL);
    sqlite3_file *wal;
    sqlite3 *db = db_open("t.db", all_ways[w]);
    db_exec(db, "PRAGMA journal_mode=wal; PRAGMA cache_size=10; PRAGMA cache_spill=10; CREATE TABLE t(pad BLOB)");
    assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &wal), SQLITE_OK);
    sqlite3_int64 size = size_of(wal), before = size;
    db_exec(db, "BEGIN");
    for (int i = 0; i < 40; i++) {
      db_exec(db, "INSERT INTO t VALUES(randomblob(12000))");
      sqlite3_int64 now = size_of(wal);
      assert_true(now >= size);
      assert_int_equal((now - 32) % (4096 + 24), 0);
      size = now;
    }
    assert_true(size - before > 30 * 4120);
    /* the first frame can be read, be it pending or not */
    unsigned char header[24];
    assert_int_equal(wal->pMethods->xRead(wal, header, sizeof header, before), SQLITE_OK);
    assert_int_equal(wal->pMethods->xRead(wal, header, sizeof header, size - 4120), SQLITE_OK);
    assert_int_equal(wal->pMethods->xRead(wal, header, sizeof header, size - 10), SQLITE_IOERR_SHORT_READ);
    assert_int_equal(header[23], 0);
    db_exec(db, "COMMIT");
    assert_true(size_of(wal) >= size);
    db_close(db);
  }
}

/* The bare methods of every kind of file that can be written: sizes, short reads, holes, truncation, right after each
** write. */
static void every_kind(void **state) {
  static const struct {
    int flags;
    const char *name;
  } kinds[] = {{SQLITE_OPEN_MAIN_DB, "bare.db"},
               {SQLITE_OPEN_MAIN_JOURNAL, "bare.db-journal"},
               {SQLITE_OPEN_WAL, "bare.db-wal"},
               {SQLITE_OPEN_SUPER_JOURNAL, "bare.db-mj00112233"},
               {SQLITE_OPEN_TEMP_DB | SQLITE_OPEN_DELETEONCLOSE, NULL},
               {SQLITE_OPEN_SUBJOURNAL | SQLITE_OPEN_DELETEONCLOSE, NULL},
               {SQLITE_OPEN_TRANSIENT_DB | SQLITE_OPEN_DELETEONCLOSE, NULL},
               {SQLITE_OPEN_TEMP_JOURNAL | SQLITE_OPEN_DELETEONCLOSE, NULL}};
  static const char *const vfs_names[] = {RECORDER_VFS, "uring"};
  char buffer[8192], out[8192];
  (void)state;
  memset(buffer, 'a', sizeof buffer);
  for (int v = 0; v < 2; v++) {
    sqlite3_vfs *vfs = sqlite3_vfs_find(vfs_names[v]);
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
      support_reset(NULL);
      /* Names as SQLite's pager hands them down: the database's file object and four zero bytes before them, then
      ** database, (no) parameters, journal and WAL (pager.c, sqlite3PagerOpen). */
      sqlite3_file *database = sqlite3_malloc(vfs->szOsFile);
      char *names = calloc(1, 4096), *db_name = names + sizeof database + 4;
      memcpy(names, &database, sizeof database);
      strcpy(db_name, support_path("bare.db"));
      char *journal_name = db_name + strlen(db_name) + 2, *wal_name = journal_name + strlen(db_name) + 9;
      strcpy(journal_name, support_path("bare.db-journal"));
      strcpy(wal_name, support_path("bare.db-wal"));
      bool is_database = (kinds[k].flags & SQLITE_OPEN_MAIN_DB) != 0;
      int out_flags;
      if (!is_database) /* journal and WAL take its mode, and the WAL belongs to it */
        assert_int_equal(vfs->xOpen(vfs, db_name, database,
                                    SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &out_flags),
                         SQLITE_OK);
      const char *name = !kinds[k].name                              ? NULL
                         : is_database                               ? db_name
                         : kinds[k].flags & SQLITE_OPEN_MAIN_JOURNAL ? journal_name
                         : kinds[k].flags & SQLITE_OPEN_WAL          ? wal_name
                                                                     : support_path(kinds[k].name);
      sqlite3_file *f = is_database ? database : sqlite3_malloc(vfs->szOsFile);
      if (kinds[k].flags & SQLITE_OPEN_SUPER_JOURNAL) {
        static char padded[1024];
        memset(padded, 0, sizeof padded);
        snprintf(padded, sizeof padded - 16, "%s", name);
        name = padded;
      }
      assert_int_equal(
          vfs->xOpen(vfs, name, f, kinds[k].flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &out_flags), SQLITE_OK);
      assert_int_equal(size_of(f), 0);
      assert_int_equal(f->pMethods->xWrite(f, buffer, 24, 0), SQLITE_OK);
      assert_int_equal(size_of(f), 24);
      assert_int_equal(f->pMethods->xWrite(f, buffer, 4096, 24), SQLITE_OK);
      assert_int_equal(size_of(f), 4120);
      assert_int_equal(f->pMethods->xRead(f, out, 8192, 10), SQLITE_IOERR_SHORT_READ);
      assert_memory_equal(out, buffer, 4110);
      for (int i = 4110; i < 8192; i++) assert_int_equal(out[i], 0);
      /* a hole reads as zeros */
      assert_int_equal(f->pMethods->xWrite(f, buffer, 100, 10000), SQLITE_OK);
      assert_int_equal(size_of(f), 10100);
      assert_int_equal(f->pMethods->xRead(f, out, 100, 9950), SQLITE_OK);
      for (int i = 0; i < 100; i++) assert_int_equal(out[i], i < 50 ? 0 : 'a');
      /* over the end of what is there, then shorter */
      assert_int_equal(f->pMethods->xWrite(f, "BBBB", 4, 10098), SQLITE_OK);
      assert_int_equal(size_of(f), 10102);
      assert_int_equal(f->pMethods->xTruncate(f, 10099), SQLITE_OK);
      assert_int_equal(size_of(f), 10099);
      assert_int_equal(f->pMethods->xWrite(f, "CC", 2, 10101), SQLITE_OK);
      assert_int_equal(f->pMethods->xRead(f, out, 6, 10097), SQLITE_OK);
      assert_memory_equal(out, "aB\0\0CC", 6);
      assert_int_equal(f->pMethods->xTruncate(f, 0), SQLITE_OK);
      assert_int_equal(size_of(f), 0);
      assert_int_equal(f->pMethods->xRead(f, out, 6, 0), SQLITE_IOERR_SHORT_READ);
      assert_int_equal(f->pMethods->xWrite(f, buffer, 10, 0), SQLITE_OK);
      assert_int_equal(f->pMethods->xSync(f, SQLITE_SYNC_NORMAL), SQLITE_OK);
      assert_int_equal(size_of(f), 10);
      assert_int_equal(f->pMethods->xClose(f), SQLITE_OK);
      if (!is_database) {
        sqlite3_free(f);
        assert_int_equal(database->pMethods->xClose(database), SQLITE_OK);
      }
      sqlite3_free(database);
      free(names);
    }
  }
}

/* Hints may not shrink or hide what is pending. */
static void size_hints(void **state) {
  (void)state;
  for (size_t w = 0; w < 4; w++) {
    if (skip_way(all_ways[w])) continue;
    for (int mode = 0; mode < 2; mode++) {
      support_reset(NULL);
      sqlite3 *db = db_open("t.db", all_ways[w]);
      db_execf(db, "PRAGMA journal_mode=%s", mode ? "wal" : "delete");
      int chunk = 65536;
      assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk), SQLITE_OK);
      db_exec(db, "CREATE TABLE t(pad BLOB); BEGIN; INSERT INTO t VALUES(randomblob(300000))");
      sqlite3_int64 hint = 100000;
      assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_SIZE_HINT, &hint), SQLITE_OK);
      db_exec(db, "COMMIT; PRAGMA wal_checkpoint(TRUNCATE)");
      sqlite3_file *f;
      assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f), SQLITE_OK);
      assert_int_equal(size_of(f) % 65536, 0);
      assert_true(size_of(f) >= 300000);
      assert_int_equal(db_int(db, "SELECT sum(length(pad)) FROM t"), 300000);
      db_check(db);
      db_close(db);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(wal_size, support_reset),
      cmocka_unit_test_setup(every_kind, support_reset),
      cmocka_unit_test_setup(size_hints, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 11: xFileSize, xRead and xTruncate count pending bytes on every kind of file");
  return rc;
}
