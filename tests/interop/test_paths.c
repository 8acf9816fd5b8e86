/*
** test_paths.c - one database by several names: symlinks, hard links, relative names and a changed working directory,
** odd names.
**
** Connections through both VFSs, in this process and in another one, must see each other's content and locks whatever
** the name was; companions lie where the default VFS puts them; and a name that means another file later is not
** followed.
*/
#include "../process/support.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *const modes[] = {"delete", "truncate", "persist", "wal"};

static void database_make(const char *path, const char *mode) {
  char text[256];
  sqlite3 *db = db_open(path, default_vfs);
  snprintf(
      text, sizeof(text),
      "PRAGMA synchronous=off; PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, b); "
      "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<50) INSERT INTO t SELECT i, zeroblob(1000) FROM c",
      mode);
  sql(db, text);
  db_close(db);
}

static sqlite3 *open_mode(const char *path, const char *vfs, const char *mode) {
  char text[128];
  sqlite3 *db = db_open(path, vfs);
  snprintf(text, sizeof(text), "PRAGMA journal_mode=%s; PRAGMA cache_size=5", mode);
  sql(db, text);
  static int number; /* syncs cost time and are not what is tested: every fourth connection does them */
  if (number++ % 4 != 0) sql(db, "PRAGMA synchronous=off");
  return db;
}

/* Two connections take turns; each sees the other's rows and locks. */
static void turns(sqlite3 *a, sqlite3 *b) {
  for (int i = 0; i < 6; i++) {
    char text[128];
    sqlite3 *writer = i & 1 ? b : a, *reader = i & 1 ? a : b;
    snprintf(text, sizeof(text), "BEGIN IMMEDIATE; UPDATE t SET b = %d WHERE a <= 40", i);
    sql(writer, text);
    sql_busy(reader, "BEGIN IMMEDIATE");
    sql(writer, "COMMIT");
    snprintf(text, sizeof(text), "SELECT count(*) FROM t WHERE b = %d", i);
    assert_int_equal(sql(reader, text), 40);
  }
}

static void integrity(const char *path) {
  row_value v;
  assert_int_equal(helper_open(3, path, default_vfs), SQLITE_OK);
  assert_int_equal(helper_sql(3, "PRAGMA integrity_check", &v), SQLITE_OK);
  assert_string_equal(v.text, "ok");
  assert_int_equal(helper_close(3), SQLITE_OK);
}

static void two_names(const char *mode, const char *one, const char *two, const char *real) {
  const char *vfs[2] = {default_vfs, uring_vfs()};
  for (int i = 0; i < 4; i++) {
    sqlite3 *a = open_mode(one, vfs[i & 1], mode), *b = open_mode(two, vfs[i >> 1], mode);
    turns(a, b);
    if (real != NULL && strcmp(mode, "wal") == 0) assert_true(file_exists(with_suffix(real, "-wal")));
    db_close(a);
    sql(b, "UPDATE t SET b = 'alone'");
    db_close(b);
    integrity(one);
    /* the same across processes */
    assert_int_equal(helper_open(0, one, vfs[i & 1]), SQLITE_OK);
    b = open_mode(two, vfs[i >> 1], mode);
    helper_must(0, "BEGIN IMMEDIATE; UPDATE t SET b = 'there'");
    sql_busy(b, "BEGIN IMMEDIATE");
    helper_must(0, "COMMIT");
    assert_int_equal(sql(b, "SELECT count(*) FROM t WHERE b = 'there'"), 50);
    sql(b, "BEGIN IMMEDIATE; UPDATE t SET b = 'here'");
    helper_busy(0, "BEGIN IMMEDIATE");
    sql(b, "COMMIT");
    assert_int_equal(helper_must(0, "SELECT count(*) FROM t WHERE b = 'here'"), 50);
    db_close(b);
    assert_int_equal(helper_close(0), SQLITE_OK);
  }
}

static void test_symlinks(void **state) {
  (void)state;
  for (size_t m = 0; m < COUNT(modes); m++) {
    char real[PATH_MAX], link[PATH_MAX], dirlink[PATH_MAX], dir[PATH_MAX];
    snprintf(dir, sizeof(dir), "%s", at(modes[m]));
    assert_int_equal(mkdir(dir, 0755), 0);
    snprintf(real, sizeof(real), "%s", with_suffix(dir, "/real.db"));
    snprintf(link, sizeof(link), "%s", with_suffix(dir, "/link.db"));
    snprintf(dirlink, sizeof(dirlink), "%s", with_suffix(dir, "/dirlink/link.db"));
    assert_int_equal(symlink("real.db", link), 0);
    assert_int_equal(symlink(".", with_suffix(dir, "/dirlink")), 0);
    database_make(real, modes[m]);
    two_names(modes[m], real, link, real);
    two_names(modes[m], link, dirlink, real);
    assert_false(file_exists(with_suffix(link, "-wal")));
    assert_false(file_exists(with_suffix(link, "-journal")));

    /* The link leads elsewhere while the connection is open: it stays with its file. */
    char other[PATH_MAX];
    snprintf(other, sizeof(other), "%s", with_suffix(dir, "/other.db"));
    database_make(other, modes[m]);
    uint64_t before = helper_hash(other);
    for (int used = 0; used < 2; used++) {
      sqlite3 *db = NULL;
      assert_int_equal(db_open_lazy(link, uring_vfs(), SQLITE_OPEN_READWRITE, &db), SQLITE_OK);
      if (used) assert_int_equal(ring_now(db, uring_vfs()), SQLITE_OK);
      if (used) sql(db, "SELECT sum(length(b)) FROM t; UPDATE t SET b = 'used'");
      assert_int_equal(unlink(link), 0);
      assert_int_equal(symlink("other.db", link), 0);
      assert_int_equal(ring_now(db, uring_vfs()), SQLITE_OK);
      sql(db, "UPDATE t SET b = 'kept'");
      assert_int_equal(sql(db, "SELECT count(*) FROM t WHERE b = 'kept'"), 50);
      db_close(db);
      assert_true(helper_hash(other) == before);
      assert_int_equal(unlink(link), 0);
      assert_int_equal(symlink("real.db", link), 0);
    }
    integrity(real);
  }
}

/* Hard links: SQLite's locks are the inode's, journals and WALs the name's, so only rollback modes can be mixed. */
static void test_hard_links(void **state) {
  (void)state;
  for (size_t m = 0; m < COUNT(modes); m++) {
    char one[PATH_MAX], two[PATH_MAX], name[64];
    snprintf(name, sizeof(name), "hard-%s.db", modes[m]);
    snprintf(one, sizeof(one), "%s", at(name));
    snprintf(name, sizeof(name), "hard-%s-too.db", modes[m]);
    snprintf(two, sizeof(two), "%s", at(name));
    database_make(one, modes[m]);
    assert_int_equal(link(one, two), 0);
    if (strcmp(modes[m], "wal") != 0) {
      two_names(modes[m], one, two, NULL);
      continue;
    }
    /* WAL: one after the other. */
    for (int i = 0; i < 8; i++) {
      char text[128];
      sqlite3 *db = db_open(i & 1 ? one : two, i & 2 ? default_vfs : uring_vfs());
      snprintf(text, sizeof(text), "SELECT count(*) FROM t WHERE b = %d", i - 1);
      if (i > 0) assert_int_equal(sql(db, text), 50);
      snprintf(text, sizeof(text), "UPDATE t SET b = %d", i);
      sql(db, text);
      db_close(db);
    }
    integrity(one);
  }
}

static void test_relative_names_and_chdir(void **state) {
  (void)state;
  assert_int_equal(mkdir(at("cwd"), 0755), 0);
  assert_int_equal(mkdir(at("elsewhere"), 0755), 0);
  for (size_t m = 0; m < COUNT(modes); m++) {
    char relative[64], real[PATH_MAX], decoy[PATH_MAX];
    snprintf(relative, sizeof(relative), "cwd/%s.db", modes[m]);
    snprintf(real, sizeof(real), "%s", at(relative));
    snprintf(relative, sizeof(relative), "elsewhere/%s.db", modes[m]);
    snprintf(decoy, sizeof(decoy), "%s", at(relative));
    snprintf(relative, sizeof(relative), "%s.db", modes[m]);
    database_make(real, modes[m]);
    database_make(decoy, modes[m]);
    unlink(with_suffix(decoy, "-journal")); /* PERSIST has left one */
    uint64_t before = file_hash(decoy);
    for (int used = 0; used < 2; used++) {
      assert_int_equal(chdir(at("cwd")), 0);
      sqlite3 *a = NULL, *b = db_open(relative, default_vfs);
      assert_int_equal(db_open_lazy(relative, uring_vfs(), SQLITE_OPEN_READWRITE, &a), SQLITE_OK);
      if (used) assert_int_equal(ring_now(a, uring_vfs()), SQLITE_OK);
      if (used) sql(a, "UPDATE t SET b = 'used'; SELECT sum(length(b)) FROM t");
      assert_int_equal(chdir(at("elsewhere")), 0);
      assert_int_equal(ring_now(a, uring_vfs()), SQLITE_OK);
      turns(a, b);
      sqlite3 *c = db_open(real, uring_vfs());
      turns(a, c);
      turns(c, b);
      db_close(a);
      turns(b, c);
      db_close(c);
      db_close(b);
      assert_true(file_hash(decoy) == before);
      assert_false(file_exists(with_suffix(decoy, "-wal")) || file_exists(with_suffix(decoy, "-journal")));
      integrity(real);
    }
    two_names(modes[m], real, with_suffix(at("elsewhere/.././/cwd//"), relative), real);
  }
  assert_int_equal(chdir("/"), 0);
}

static void test_odd_names(void **state) {
  (void)state;
  /* As they are in the file system; sqlite3_open_v2 without SQLITE_OPEN_URI takes them literally. */
  const char *names[] = {"with space.db", "per%cent.db", "que?stion.db", "ha#sh.db",  "umlaut \xc3\xa4\xc3\xb6.db",
                         "quote'\".db",   "noext",       "-dash.db",     "a.db-wal2", "new\nline.db",
                         "file:odd.db",   "latin\xe4.db"};
  for (size_t i = 0; i < COUNT(names); i++) {
    for (size_t m = 0; m < COUNT(modes); m++) {
      char text[128];
      sqlite3 *db[2];
      const char *vfs[2] = {default_vfs, uring_vfs()};
      snprintf(text, sizeof(text),
               "PRAGMA synchronous=%s; PRAGMA journal_mode=%s; CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b)",
               i % 4 == 0 ? "full" : "off", modes[m]);
      for (int v = 0; v < 2; v++) {
        assert_int_equal(sqlite3_open_v2(at(names[i]), &db[v], SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs[v]),
                         SQLITE_OK);
        if (vfs_is_uring && v == 1 && ring_works) sql(db[v], "PRAGMA uring_backend=uring");
        sql(db[v], text);
      }
      sql(db[1],
          "DELETE FROM t; WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<50) INSERT INTO t SELECT i, "
          "zeroblob(500) FROM c");
      turns(db[0], db[1]);
      assert_true(file_exists(at(names[i])));
      db_close(db[0]);
      db_close(db[1]);
    }
  }
}

/* Names about as long as the default VFS takes them: the same answer. */
static void test_long_names(void **state) {
  (void)state;
  const char *vfs[2] = {default_vfs, uring_vfs()};
  char path[4096];
  snprintf(path, sizeof(path), "%s", at("long"));
  assert_int_equal(mkdir(path, 0755), 0);
  while (strlen(path) < 440) {
    snprintf(path + strlen(path), sizeof(path) - strlen(path), "/%s",
             "directory-with-a-name-of-fifty-characters-or-nearly");
    assert_int_equal(mkdir(path, 0755), 0);
  }
  size_t base = strlen(path);
  int opened = 0, refused = 0;
  for (size_t length = 470; length < 530; length++) {
    if (length <= base + 2) continue;
    int rc[2];
    for (int v = 0; v < 2; v++) {
      sqlite3 *db = NULL;
      path[base] = '/';
      memset(path + base + 1, v ? 'u' : 'd', length - base - 1);
      path[length] = 0;
      rc[v] = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs[v]);
      if (rc[v] == SQLITE_OK)
        rc[v] = sql_rc(db, "PRAGMA journal_mode=wal; CREATE TABLE t(a); INSERT INTO t VALUES(1)", NULL);
      sqlite3_close(db);
    }
    if (rc[0] != rc[1])
      fail_msg("a name of %zu bytes: %d through the default VFS, %d through uring", length, rc[0], rc[1]);
    opened += rc[0] == SQLITE_OK;
    refused += rc[0] != SQLITE_OK;
  }
  assert_true(opened > 0 && refused > 0);
}

int main(void) {
  support_start();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_symlinks),
      cmocka_unit_test(test_hard_links),
      cmocka_unit_test(test_relative_names_and_chdir),
      cmocka_unit_test(test_odd_names),
      cmocka_unit_test(test_long_names),
  };
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
