/*
** test_same_process.c - the default VFS and uring on one database in one process.
**
** POSIX locks belong to the process and the inode: close(2) of any ordinary descriptor of a file drops all of them. So
** the test holds a lock through one VFS (the holder), lets the other one or the same one (the visitor) open, work and
** close, rings included, and asks another process after each step what it sees on the exact bytes of SQLite's lock page
** and of the -shm. What is seen must not change, and that process must not get in.
**
** Then the other direction: each VFS must be stopped by the other's locks, within the process and across processes.
*/
#include "../process/support.h"

static const char *const rollback_modes[] = {"delete", "truncate", "persist"};
static const char *const all_modes[] = {"delete", "truncate", "persist", "wal"};
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *database;
static int visits;

static void database_make(const char *mode) {
  static char path[PATH_MAX];
  char text[256];
  static int number;
  snprintf(path, sizeof(path), "%s/locks-%d.db", work_dir, number++);
  database = path;
  sqlite3 *db = db_open(database, default_vfs);
  snprintf(text, sizeof(text),
           "PRAGMA synchronous=off; PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, b);"
           "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<200)"
           "INSERT INTO t SELECT i, randomblob(300) FROM c",
           mode);
  sql(db, text);
  db_close(db);
}

static bool is_wal(const char *mode) { return strcmp(mode, "wal") == 0; }

#define expect_map(before) expect_map_at(before, __FILE__, __LINE__)
static void expect_map_at(const char *before, const char *file, int line) {
  const char *after = lock_map(database);
  visits++;
  if (strcmp(before, after) != 0) {
    fprintf(stderr, "%s:%d: locks before: %s\n%s:%d: locks after:  %s\n", file, line, before, file, line, after);
    _fail(file, line);
  }
}

/* Read and close; while the holder excludes readers this is BUSY, which is fine here. */
static void visit_read(const char *vfs) {
  sqlite3 *db = db_open(database, vfs);
  int rc = sql_rc(db, "SELECT sum(length(b)) FROM t", NULL);
  if (rc != SQLITE_OK) assert_int_equal(rc & 0xff, SQLITE_BUSY);
  db_close(db);
}

/* Many at once, closed in the order of opening. */
static void visit_many(const char *vfs) {
  sqlite3 *db[12];
  for (int i = 0; i < 12; i++) {
    db[i] = db_open(database, vfs);
    int rc = sql_rc(db[i], "SELECT count(*) FROM t WHERE a % 7 = 3", NULL);
    if (rc != SQLITE_OK) assert_int_equal(rc & 0xff, SQLITE_BUSY);
  }
  for (int i = 0; i < 12; i++) db_close(db[i]);
}

/* Another database in between, so that a ring's slots are used for something else and come back. */
static void visit_other(const char *vfs) {
  char name[32];
  for (int i = 0; i < 10; i++) {
    snprintf(name, sizeof(name), "other-%d.db", i);
    sqlite3 *db = db_open(at(name), vfs);
    sql(db, "PRAGMA synchronous=off; PRAGMA journal_mode=wal; CREATE TABLE IF NOT EXISTS o(x); INSERT INTO o "
            "VALUES(randomblob(20000));"
            "SELECT sum(length(x)) FROM o");
    db_close(db);
  }
}

/* The database attached to another one and detached again. */
static void visit_attached(const char *vfs) {
  char text[PATH_MAX + 256], uri[PATH_MAX + 128];
  sqlite3 *db = db_open(at("attacher.db"), vfs);
  db_uri(uri, sizeof(uri), database, vfs);
  snprintf(text, sizeof(text), "ATTACH '%s' AS x", uri);
  int rc = sql_rc(db, text, NULL);
  if (rc == SQLITE_OK) {
    rc = sql_rc(db, "SELECT count(*) FROM x.t", NULL);
    if (rc != SQLITE_OK) assert_int_equal(rc & 0xff, SQLITE_BUSY);
    sql(db, "DETACH x");
  } else {
    assert_int_equal(rc & 0xff, SQLITE_BUSY);
  }
  db_close(db);
}

/* A writer that must be refused. */
static void visit_write_refused(const char *vfs) {
  sqlite3 *db = db_open(database, vfs);
  sql_busy(db, "BEGIN IMMEDIATE");
  sql_busy(db, "UPDATE t SET b = randomblob(300) WHERE a = 5");
  db_close(db);
}

static void (*const visits_always[])(const char *) = {visit_read, visit_many, visit_other, visit_attached};

static void helper_write_refused(void) {
  assert_int_equal(helper_open(0, database, default_vfs), SQLITE_OK);
  helper_busy(0, "UPDATE t SET b = randomblob(300) WHERE a = 7");
  assert_int_equal(helper_close(0), SQLITE_OK);
}

static void helper_write_works(void) {
  assert_int_equal(helper_open(0, database, default_vfs), SQLITE_OK);
  helper_must(0, "UPDATE t SET b = randomblob(300) WHERE a = 7");
  row_value v;
  assert_int_equal(helper_sql(0, "PRAGMA integrity_check", &v), SQLITE_OK);
  assert_string_equal(v.text, "ok");
  assert_int_equal(helper_close(0), SQLITE_OK);
}

/* The holder holds; everything that may come by comes by, through both VFSs. */
static void all_visits(const char *before) {
  const char *vfs[] = {default_vfs, uring_vfs()};
  expect_map(before); /* the helper's own opening and closing changes nothing */
  for (size_t v = 0; v < 2; v++) {
    for (size_t i = 0; i < COUNT(visits_always); i++) {
      visits_always[i](vfs[v]);
      expect_map(before);
    }
  }
}

/* ---- rollback modes ------------------------------------------------------------------------------------------- */

static void rollback_holder(const char *mode, const char *holder, bool visitor_first) {
  database_make(mode);
  const char *other = strcmp(holder, default_vfs) == 0 ? uring_vfs() : default_vfs;
  sqlite3 *early = NULL;
  if (visitor_first) {
    early = db_open(database, other);
    sql(early, "SELECT sum(length(b)) FROM t; UPDATE t SET b = randomblob(300) WHERE a = 3");
  }
  sqlite3 *db = db_open(database, holder);
  sql(db, "PRAGMA cache_size=5; SELECT sum(length(b)) FROM t");
  assert_string_equal(lock_map(database), "pending - reserved - shared - shm 000000000");

  /* SHARED */
  sql(db, "BEGIN; SELECT count(*) FROM t");
  const char *shared = "pending - reserved - shared R shm 000000000";
  all_visits(shared);
  if (early != NULL) {
    sql(early, "BEGIN IMMEDIATE; UPDATE t SET b = zeroblob(300) WHERE a = 4");
    expect_map("pending - reserved W shared R shm 000000000");
    sql_busy(early, "COMMIT"); /* the holder reads */
    expect_map("pending W reserved W shared R shm 000000000");
    sql(early, "ROLLBACK");
    expect_map(shared);
  }
  helper_write_refused();
  sql(db, "COMMIT");

  /* RESERVED, then with pages spilled to the database: EXCLUSIVE */
  sql(db, "BEGIN IMMEDIATE; UPDATE t SET b = randomblob(300) WHERE a = 9");
  all_visits("pending - reserved W shared R shm 000000000");
  visit_write_refused(other);
  visit_write_refused(holder);
  expect_map("pending - reserved W shared R shm 000000000");
  if (early != NULL) {
    db_close(early);
    early = NULL;
    expect_map("pending - reserved W shared R shm 000000000");
  }
  helper_write_refused();
  sql(db, "UPDATE t SET b = randomblob(300)");
  all_visits("pending W reserved W shared W shm 000000000");
  helper_write_refused();
  sql(db, "COMMIT");
  assert_string_equal(lock_map(database), "pending - reserved - shared - shm 000000000");

  /* EXCLUSIVE */
  sql(db, "BEGIN EXCLUSIVE; UPDATE t SET b = randomblob(300) WHERE a = 11");
  all_visits("pending W reserved W shared W shm 000000000");
  helper_write_refused();
  sql(db, "ROLLBACK");

  /* PENDING: another process reads, our commit has to wait */
  assert_int_equal(helper_open(1, database, default_vfs), SQLITE_OK);
  helper_must(1, "BEGIN; SELECT count(*) FROM t");
  sql(db, "BEGIN; UPDATE t SET b = randomblob(300) WHERE a = 12");
  sql_busy(db, "COMMIT");
  visit_read(other);
  visit_many(other);
  visit_write_refused(other);
  helper_must(1, "COMMIT");
  helper_busy(1, "SELECT count(*) FROM t"); /* PENDING keeps new readers out */
  assert_int_equal(helper_close(1), SQLITE_OK);
  expect_map("pending W reserved W shared R shm 000000000");
  sql(db, "COMMIT");

  helper_write_works();
  assert_int_equal(sql(db, "SELECT count(*) FROM t"), 200);
  db_close(db);
  helper_write_works();
}

static void test_rollback_locks_survive_the_other_vfs(void **state) {
  (void)state;
  for (size_t m = 0; m < COUNT(rollback_modes); m++) {
    for (int first = 0; first < 2; first++) {
      rollback_holder(rollback_modes[m], default_vfs, first);
      rollback_holder(rollback_modes[m], uring_vfs(), first);
    }
  }
}

/* ---- WAL
** ---------------------------------------------------------------------------------------------------------- */

typedef struct checkpoint_visit {
  const char *vfs;
  int calls;
} checkpoint_visit;

/* Runs inside a checkpoint that waits for a reader: CKPT and (FULL, RESTART) WRITE are held. */
static int visit_during_checkpoint(void *arg, int count) {
  checkpoint_visit *v = arg;
  v->calls++;
  char before[128];
  snprintf(before, sizeof(before), "%s", lock_map(database));
  assert_int_equal(before[strlen(before) - SHM_COUNT], 'W');     /* WAL_WRITE_LOCK */
  assert_int_equal(before[strlen(before) - SHM_COUNT + 1], 'W'); /* WAL_CKPT_LOCK  */
  visit_read(v->vfs);
  expect_map(before);
  visit_many(v->vfs);
  expect_map(before);
  sqlite3 *db = db_open(database, v->vfs);
  sql_busy(db, "INSERT INTO t(b) VALUES(1)");
  row_value value;
  assert_int_equal(sql_rc(db, "PRAGMA wal_checkpoint(PASSIVE)", &value), SQLITE_OK);
  assert_int_equal(value.number, 1); /* busy: the lock is seen */
  db_close(db);
  expect_map(before);
  return count < 1;
}

static void wal_holder(const char *holder, bool visitor_first) {
  database_make("wal");
  const char *other = strcmp(holder, default_vfs) == 0 ? uring_vfs() : default_vfs;
  sqlite3 *early = NULL;
  if (visitor_first) {
    early = db_open(database, other);
    sql(early, "UPDATE t SET b = randomblob(300) WHERE a = 3");
  }
  sqlite3 *db = db_open(database, holder);
  sql(db, "PRAGMA cache_size=5; SELECT sum(length(b)) FROM t");
  /* Idle: SHARED on the database for as long as it is open, and the dead man switch. */
  const char *idle = "pending - reserved - shared R shm --------R";
  all_visits(idle);

  /* A reader: a read mark. Visitors may write and run checkpoints, which must leave the mark alone. */
  sql(db, "UPDATE t SET b = randomblob(300) WHERE a = 4; BEGIN; SELECT count(*) FROM t");
  char reading[128];
  snprintf(reading, sizeof(reading), "%s", lock_map(database));
  assert_non_null(strchr(reading + strlen(reading) - SHM_COUNT + 3, 'R'));
  all_visits(reading);
  for (int i = 0; i < 2; i++) {
    sqlite3 *writer = db_open(database, i ? holder : other);
    sql(writer, "UPDATE t SET b = randomblob(300)");
    expect_map(reading);
    row_value value;
    assert_int_equal(sql_rc(writer, "PRAGMA wal_checkpoint(PASSIVE)", &value), SQLITE_OK);
    assert_int_equal(sql_rc(writer, "PRAGMA wal_checkpoint(TRUNCATE)", &value), SQLITE_OK);
    assert_int_equal(value.number, 1); /* the reader stops it */
    expect_map(reading);
    db_close(writer);
    expect_map(reading);
  }
  assert_int_equal(helper_open(0, database, default_vfs), SQLITE_OK);
  assert_int_equal(helper_must(0, "PRAGMA wal_checkpoint(TRUNCATE)"), 1);
  assert_int_equal(helper_close(0), SQLITE_OK);
  expect_map(reading);

  /* A checkpoint by another connection, seen from inside while it waits for this reader. */
  for (int i = 0; i < 2; i++) {
    sqlite3 *checkpointer = db_open(database, i ? holder : other);
    checkpoint_visit visit = {.vfs = i ? other : holder};
    sql(checkpointer, "INSERT INTO t(b) VALUES('for the checkpoint')");
    sqlite3_busy_handler(checkpointer, visit_during_checkpoint, &visit);
    row_value value;
    assert_int_equal(sql_rc(checkpointer, "PRAGMA wal_checkpoint(RESTART)", &value), SQLITE_OK);
    assert_int_equal(value.number, 1);
    assert_true(visit.calls > 0);
    db_close(checkpointer);
  }
  sql(db, "COMMIT");

  /* A writer, before and after its pages spill into the WAL. */
  sql(db, "BEGIN IMMEDIATE; UPDATE t SET b = randomblob(300) WHERE a = 9");
  char writing[128];
  snprintf(writing, sizeof(writing), "%s", lock_map(database));
  assert_int_equal(writing[strlen(writing) - SHM_COUNT], 'W');
  all_visits(writing);
  visit_write_refused(other);
  visit_write_refused(holder);
  expect_map(writing);
  helper_write_refused();
  sql(db, "UPDATE t SET b = randomblob(300)");
  all_visits(writing);
  if (early != NULL) {
    db_close(early);
    early = NULL;
    expect_map(writing);
  }
  helper_write_refused();
  sql(db, "COMMIT");
  helper_write_works();

  /* The last but one closes after having written: no checkpoint, no deletion under the one that stays. */
  sqlite3 *last = db_open(database, other);
  sql(last, "UPDATE t SET b = randomblob(300) WHERE a = 21");
  sql(db, "UPDATE t SET b = randomblob(300) WHERE a = 22");
  db_close(db);
  assert_string_equal(lock_map(database), idle);
  assert_true(file_exists(with_suffix(database, "-wal")));
  helper_write_works();
  assert_string_equal(lock_map(database), idle);
  sql(last, "UPDATE t SET b = randomblob(300) WHERE a = 23");
  db_close(last);
  assert_false(file_exists(with_suffix(database, "-wal")));
  helper_write_works();
}

static void test_wal_locks_survive_the_other_vfs(void **state) {
  (void)state;
  for (int first = 0; first < 2; first++) {
    wal_holder(default_vfs, first);
    wal_holder(uring_vfs(), first);
  }
}

/* ---- exclusive locking mode in this process ---------------------------------------------------------------------- */

static void test_exclusive_mode_locks_survive(void **state) {
  (void)state;
  const char *vfs[] = {default_vfs, uring_vfs()};
  char text[128];
  for (size_t m = 0; m < COUNT(all_modes); m++) {
    for (int h = 0; h < 2; h++) {
      database_make(all_modes[m]);
      sqlite3 *db = db_open(database, vfs[h]);
      snprintf(text, sizeof(text),
               "PRAGMA locking_mode=exclusive; PRAGMA journal_mode=%s; UPDATE t SET b = 1 WHERE a=1", all_modes[m]);
      sql(db, text);
      char before[128];
      snprintf(before, sizeof(before), "%s", lock_map(database));
      assert_non_null(strstr(before, "shared W"));
      for (int v = 0; v < 2; v++) {
        visit_read(vfs[v]);
        visit_many(vfs[v]);
        visit_other(vfs[v]);
        expect_map(before);
        sqlite3 *visitor = db_open(database, vfs[v]);
        sql_busy(visitor, "SELECT count(*) FROM t");
        sql_busy(visitor, "BEGIN IMMEDIATE; SELECT count(*) FROM t");
        db_close(visitor);
        expect_map(before);
      }
      helper_write_refused();
      sql(db, "UPDATE t SET b = 2 WHERE a=2");
      db_close(db);
      helper_write_works();
    }
  }
}

/* ---- each sees the other's locks ------------------------------------------------------------------------------- */

static void sees_locks(const char *mode, const char *first, const char *second) {
  database_make(mode);
  sqlite3 *a = db_open(database, first), *b = db_open(database, second);
  /* a writer keeps a writer out */
  sql(a, "BEGIN IMMEDIATE; UPDATE t SET b = 'a' WHERE a = 1");
  sql_busy(b, "BEGIN IMMEDIATE");
  sql_busy(b, "INSERT INTO t(b) VALUES('b')");
  assert_int_equal(sql(b, "SELECT b = 'a' FROM t WHERE a = 1"), 0); /* readers read the old state */
  sql(a, "COMMIT");
  assert_int_equal(sql(b, "SELECT b = 'a' FROM t WHERE a = 1"), 1);
  /* a reader */
  sql(a, "BEGIN; SELECT count(*) FROM t");
  sql(b, "BEGIN; UPDATE t SET b = 'b' WHERE a = 1");
  if (is_wal(mode)) {
    sql(b, "COMMIT");
    assert_int_equal(sql(a, "SELECT b = 'a' FROM t WHERE a = 1"), 1); /* its snapshot */
    sql_busy(a, "UPDATE t SET b = 'c' WHERE a = 1");                  /* BUSY_SNAPSHOT */
    assert_int_equal(sqlite3_extended_errcode(a), SQLITE_BUSY_SNAPSHOT);
    sql(a, "COMMIT");
  } else {
    sql_busy(b, "COMMIT");
    sql(a, "COMMIT");
    sql(b, "COMMIT");
    sql(a, "BEGIN EXCLUSIVE");
    sql_busy(b, "SELECT count(*) FROM t");
    sql(a, "COMMIT");
  }
  assert_int_equal(sql(a, "SELECT b = 'b' FROM t WHERE a = 1"), 1);
  /* many turns: each reads what the other just wrote */
  for (int i = 0; i < 20; i++) {
    char text[128];
    sqlite3 *writer = i & 1 ? a : b, *reader = i & 1 ? b : a;
    snprintf(text, sizeof(text), "UPDATE t SET b = %d WHERE a BETWEEN 10 AND 60", i);
    sql(writer, text);
    snprintf(text, sizeof(text), "SELECT count(*) FROM t WHERE b = %d", i);
    assert_int_equal(sql(reader, text), 51);
    if (is_wal(mode) && i % 7 == 3) sql(reader, "PRAGMA wal_checkpoint(TRUNCATE)");
  }
  db_close(a);
  assert_int_equal(sql(b, "SELECT count(*) FROM t WHERE b = 19"), 51);
  db_close(b);
  helper_write_works();
}

static void test_each_sees_the_others_locks_in_one_process(void **state) {
  (void)state;
  for (size_t m = 0; m < COUNT(all_modes); m++) {
    sees_locks(all_modes[m], default_vfs, uring_vfs());
    sees_locks(all_modes[m], uring_vfs(), default_vfs);
    sees_locks(all_modes[m], uring_vfs(), uring_vfs());
  }
}

static void sees_locks_across(const char *mode, const char *here, const char *there) {
  database_make(mode);
  sqlite3 *db = db_open(database, here);
  sql(db, "SELECT sum(length(b)) FROM t");
  assert_int_equal(helper_open(0, database, there), SQLITE_OK);

  helper_must(0, "BEGIN IMMEDIATE; UPDATE t SET b = 'there' WHERE a = 1");
  sql_busy(db, "BEGIN IMMEDIATE");
  assert_int_equal(sql(db, "SELECT b = 'there' FROM t WHERE a = 1"), 0);
  helper_must(0, "COMMIT");
  assert_int_equal(sql(db, "SELECT b = 'there' FROM t WHERE a = 1"), 1);

  sql(db, "BEGIN IMMEDIATE; UPDATE t SET b = 'here' WHERE a = 1");
  helper_busy(0, "BEGIN IMMEDIATE");
  assert_int_equal(helper_must(0, "SELECT b = 'there' FROM t WHERE a = 1"), 1);
  sql(db, "COMMIT");
  assert_int_equal(helper_must(0, "SELECT b = 'here' FROM t WHERE a = 1"), 1);

  if (is_wal(mode)) {
    sql(db, "BEGIN; SELECT count(*) FROM t");
    helper_must(0, "UPDATE t SET b = 'newer' WHERE a = 1");
    assert_int_equal(helper_must(0, "PRAGMA wal_checkpoint(TRUNCATE)"), 1);
    assert_int_equal(sql(db, "SELECT b = 'here' FROM t WHERE a = 1"), 1);
    sql(db, "COMMIT");
    assert_int_equal(sql(db, "SELECT b = 'newer' FROM t WHERE a = 1"), 1);
    helper_must(0, "BEGIN; SELECT count(*) FROM t");
    sql(db, "UPDATE t SET b = 'newest' WHERE a = 1");
    assert_int_equal(sql(db, "PRAGMA wal_checkpoint(RESTART)"), 1);
    assert_int_equal(helper_must(0, "SELECT b = 'newer' FROM t WHERE a = 1"), 1);
    helper_must(0, "COMMIT");
    assert_int_equal(sql(db, "PRAGMA wal_checkpoint(TRUNCATE)"), 0);
  } else {
    sql(db, "BEGIN; SELECT count(*) FROM t");
    helper_busy(0, "UPDATE t SET b = 'newer' WHERE a = 1");
    sql(db, "COMMIT");
    helper_must(0, "BEGIN; SELECT count(*) FROM t");
    sql_busy(db, "UPDATE t SET b = 'newer' WHERE a = 1");
    helper_must(0, "COMMIT; BEGIN EXCLUSIVE");
    sql_busy(db, "SELECT count(*) FROM t");
    helper_must(0, "COMMIT");
    sql(db, "BEGIN EXCLUSIVE");
    helper_busy(0, "SELECT count(*) FROM t");
    sql(db, "COMMIT");
  }
  for (int i = 0; i < 20; i++) {
    char text[128];
    snprintf(text, sizeof(text), "UPDATE t SET b = %d WHERE a BETWEEN 10 AND 60", i);
    if (i & 1) {
      helper_must(0, text);
    } else {
      sql(db, text);
    }
    snprintf(text, sizeof(text), "SELECT count(*) FROM t WHERE b = %d", i);
    assert_int_equal(i & 1 ? sql(db, text) : helper_must(0, text), 51);
  }
  assert_int_equal(helper_close(0), SQLITE_OK);
  db_close(db);
  helper_write_works();
}

static void test_each_sees_the_others_locks_across_processes(void **state) {
  (void)state;
  for (size_t m = 0; m < COUNT(all_modes); m++) {
    sees_locks_across(all_modes[m], default_vfs, uring_vfs());
    sees_locks_across(all_modes[m], uring_vfs(), default_vfs);
    sees_locks_across(all_modes[m], uring_vfs(), uring_vfs());
  }
}

/* Without rings in use the tests above would prove little. */
static void test_rings_were_used(void **state) {
  (void)state;
  if (!ring_works) skip();
  sqlite3 *db = db_open(at("stats.db"), uring_vfs());
  assert_true(stat_value(db, "rings") > 0);
  assert_true(stat_value(db, "reads") > stat_value(db, "reads_inline"));
  assert_true(stat_value(db, "writes") > stat_value(db, "writes_inline"));
  db_close(db);
}

int main(void) {
  support_start();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_rollback_locks_survive_the_other_vfs),
      cmocka_unit_test(test_wal_locks_survive_the_other_vfs),
      cmocka_unit_test(test_exclusive_mode_locks_survive),
      cmocka_unit_test(test_each_sees_the_others_locks_in_one_process),
      cmocka_unit_test(test_each_sees_the_others_locks_across_processes),
      cmocka_unit_test(test_rings_were_used),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  if (failed == 0) printf("same process, both VFSs: lock bytes unchanged in %d looks from another process\n", visits);
  return support_end(failed != 0);
}
