/*
** test_wal_regions.c - a WAL so long that its wal-index has several pieces, which a connection maps in any order.
**
** SQLite maps the first piece for its header, and then looks for a page from the last piece down (wal.c,
** walFindFrame): those in between stay unmapped until somebody wants them.
**
** - Fork: the parent has a transaction open; its child rolls the inherited connection back, closes it, reads, or
**   ends. Rolling back clears hash tables in the wal-index by no call of the VFS (wal.c, sqlite3WalUndo). The parent,
**   which goes on, and other processes must not miss a frame. (On the default VFS they do: SQLite forbids this. What
**   is expected here is what there is without the child.)
** - Reading ahead: pages are looked for where they are. If a piece is taken for missing, pages are read from the
**   database instead of the WAL, and none of them is of use.
*/
#include "cases.h"

typedef struct fork_case {
  int frames;
  const char *backend, *child; /* SQL, or NULL */
  bool closes, thread;
} fork_case;

static const char *path;

/* Another process makes the WAL and stays. The second table has its pages in the last piece of the wal-index. */
static void make_wal(int frames) {
  char text[1024];
  static char name[PATH_MAX];
  snprintf(name, sizeof name, "%s/regions-%d.db", work_dir, frames);
  path = name;
  database_remove(path);
  assert_int_equal(helper_open(0, path, default_vfs), SQLITE_OK);
  snprintf(
      text, sizeof text,
      "PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF;"
      "CREATE TABLE t(a INTEGER PRIMARY KEY, k, b); CREATE TABLE u(a INTEGER PRIMARY KEY, b);"
      "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO t SELECT i, i*577%%%d, zeroblob(400) "
      "FROM c;"
      "CREATE INDEX i ON t(k);"
      "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<300) INSERT INTO u SELECT i, zeroblob(400) FROM c",
      frames, frames);
  helper_must(0, text);
}

static sqlite3 *open_with(const char *backend) {
  char uri[PATH_MAX + 128];
  sqlite3 *db = NULL;
  snprintf(uri, sizeof uri, "file:%s?vfs=%s%s", path, uring_vfs(), vfs_is_uring ? backend : "");
  assert_int_equal(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL), SQLITE_OK);
  sql(db, "PRAGMA wal_autocheckpoint=0; PRAGMA synchronous=OFF; PRAGMA cache_size=10");
  return db;
}

#define STILL_ZERO "SELECT count(*) FROM u WHERE b = zeroblob(400)"

static void carried_across_fork(const void *arg) {
  const fork_case *c = arg;
  if (c->thread) start_idle_thread();
  sqlite3 *db = open_with(c->backend);
  assert_int_equal(sql(db, "SELECT count(*) FROM u"), 300);
  sql(db, "BEGIN IMMEDIATE; UPDATE u SET b = randomblob(400)");

  const pid_t child = process_start();
  if (child == 0) {
    if (c->child != NULL) (void)sql_rc(db, c->child, NULL);
    if (c->closes) (void)sqlite3_close(db);
    _exit(0);
  }
  assert_true(process_ended(child));

  assert_int_equal(sql(db, STILL_ZERO), 0);
  assert_int_equal(helper_must(0, STILL_ZERO), 300);
  sql(db, "COMMIT");
  row_value v;
  assert_int_equal(helper_must(0, STILL_ZERO), 0);
  assert_int_equal(helper_must(0, "SELECT count(*) FROM t"), c->frames);
  assert_int_equal(helper_sql(0, "PRAGMA integrity_check", &v), SQLITE_OK);
  assert_string_equal(v.text, "ok");
  sql(db, "UPDATE u SET b = zeroblob(399) WHERE a < 100");
  assert_int_equal(helper_must(0, "SELECT count(*) FROM u WHERE b = zeroblob(399)"), 99);
  db_close(db);
}

static void test_child_leaves_the_wal_index_alone(void **state) {
  (void)state;
  static const int frames[] = {300, 6000, 14000};
  static const char *const backends[] = {"&uring_backend=auto", "&uring_backend=uring"};
  static const struct {
    const char *text;
    bool closes;
  } children[] = {
      {"ROLLBACK", true}, {"ROLLBACK", false}, {NULL, true}, {"SELECT sum(length(b)) FROM t", true}, {"COMMIT", false}};
  int failed = 0;
  for (size_t f = 0; f < COUNT(frames); f++) {
    for (size_t i = 0; i < COUNT(children) * 4; i++) {
      const fork_case c = {frames[f], backends[ring_works && i / 2 % 2], children[i / 4].text, children[i / 4].closes,
                           i % 2};
      if (i / 2 % 2 && f == 1) continue;
      make_wal(c.frames);
      if (!run_case(carried_across_fork, &c)) {
        failed++;
        fprintf(stderr, "%d frames, %s, another thread: %d; the child: %s, closes: %d\n", c.frames, c.backend, c.thread,
                c.child != NULL ? c.child : "nothing", c.closes);
      }
      assert_int_equal(helper_close(0), SQLITE_OK);
    }
  }
  assert_int_equal(failed, 0);
}

/* ---- reading ahead ---- */

static void reads_ahead(const void *arg) {
  sqlite3 *db = open_with(arg);
  assert_int_equal(sql(db, "SELECT count(*) FROM u"), 300);
  sql(db, "SELECT sum(length(b)) FROM t INDEXED BY i WHERE k BETWEEN 100 AND 2100; SELECT sum(length(b)) FROM t");
  const long long issued = stat_value(db, "readahead_issued"), used = stat_value(db, "readahead_used"),
                  wasted = stat_value(db, "readahead_wasted");
  fprintf(stderr, "%s: %lld pages read ahead, %lld used, %lld wasted\n", (const char *)arg, issued, used, wasted);
  if (ring_works) assert_true(issued > 500);
  assert_true(wasted * 5 <= issued);
  db_close(db);
}

static void test_pages_are_read_where_they_are(void **state) {
  (void)state;
  if (!vfs_is_uring) skip();
  make_wal(14000);
  assert_true(run_case(reads_ahead, ring_works ? "&uring_backend=uring" : "&uring_backend=auto"));
  assert_int_equal(helper_close(0), SQLITE_OK);
}

int main(void) {
  support_start();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_child_leaves_the_wal_index_alone),
      cmocka_unit_test(test_pages_are_read_where_they_are),
  };
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
