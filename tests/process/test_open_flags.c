/*
** test_open_flags.c - NOFOLLOW, EXCLUSIVE, DELETEONCLOSE, and temporary files that nobody can guess or read.
**
** The flags are tried at the VFS's own xOpen, as SQLite uses it, through both VFSs: same codes, same files afterwards.
*/
#include "support.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- xOpen by hand ---------------------------------------------------------------------------------------------- */

typedef struct handle {
  sqlite3_file *file;
  sqlite3_filename name;
} handle;

static int raw_open(const char *vfs_name, const char *path, int flags, int *out_flags, handle *h) {
  sqlite3_vfs *vfs = sqlite3_vfs_find(vfs_name);
  assert_non_null(vfs);
  h->file = calloc(1, (size_t)vfs->szOsFile);
  h->name = path == NULL
                ? NULL
                : sqlite3_create_filename(path, with_suffix(path, "-journal"), with_suffix(path, "-wal"), 0, NULL);
  int rc = vfs->xOpen(vfs, h->name, h->file, flags, out_flags);
  /* "pMethods=0 on failed open" is what the caller relies on. */
  if (rc != SQLITE_OK) assert_null(h->file->pMethods);
  return rc;
}

static void raw_close(handle *h) {
  if (h->file->pMethods != NULL) assert_int_equal(h->file->pMethods->xClose(h->file), SQLITE_OK);
  free(h->file);
  sqlite3_free_filename(h->name);
}

typedef struct flag_case {
  const char *name, *path; /* below a directory made anew */
  int flags;
} flag_case;

#define CREATE_RW (SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)

static const flag_case flag_cases[] = {
    {"new database", "new.db", SQLITE_OPEN_MAIN_DB | CREATE_RW},
    {"no such database", "new.db", SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE},
    {"database", "old.db", SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE},
    {"database read-only", "old.db", SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READONLY},
    {"database, exclusive, exists", "old.db", SQLITE_OPEN_MAIN_DB | CREATE_RW | SQLITE_OPEN_EXCLUSIVE},
    {"database, exclusive, new", "new.db", SQLITE_OPEN_MAIN_DB | CREATE_RW | SQLITE_OPEN_EXCLUSIVE},
    {"database through a symlink", "link.db", SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE},
    {"database through a symlink, nofollow", "link.db",
     SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW},
    {"database, nofollow", "old.db", SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW},
    {"database through a symlinked directory", "dirlink/old.db", SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE},
    {"database through a symlinked directory, nofollow", "dirlink/old.db",
     SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW},
    {"dangling symlink", "dangling.db", SQLITE_OPEN_MAIN_DB | CREATE_RW},
    {"directory", "dir", SQLITE_OPEN_MAIN_DB | CREATE_RW},
    {"journal, new", "new.db-journal", SQLITE_OPEN_MAIN_JOURNAL | CREATE_RW},
    {"journal, exclusive, exists", "old.db-journal", SQLITE_OPEN_MAIN_JOURNAL | CREATE_RW | SQLITE_OPEN_EXCLUSIVE},
    {"journal, exclusive, new", "new.db-journal", SQLITE_OPEN_MAIN_JOURNAL | CREATE_RW | SQLITE_OPEN_EXCLUSIVE},
    {"journal is a symlink", "link.db-journal", SQLITE_OPEN_MAIN_JOURNAL | CREATE_RW},
    {"WAL, new", "new.db-wal", SQLITE_OPEN_WAL | CREATE_RW},
    {"WAL is a symlink", "link.db-wal", SQLITE_OPEN_WAL | CREATE_RW},
    {"WAL, exclusive, exists", "old.db-wal", SQLITE_OPEN_WAL | CREATE_RW | SQLITE_OPEN_EXCLUSIVE},
    {"super-journal, exclusive", "old.db-mj1", SQLITE_OPEN_SUPER_JOURNAL | CREATE_RW | SQLITE_OPEN_EXCLUSIVE},
    {"temporary database, delete on close", "temp1",
     SQLITE_OPEN_TEMP_DB | CREATE_RW | SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE},
    {"temporary journal, delete on close", "temp2",
     SQLITE_OPEN_TEMP_JOURNAL | CREATE_RW | SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE},
    {"subjournal, delete on close", "temp3",
     SQLITE_OPEN_SUBJOURNAL | CREATE_RW | SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE},
    {"transient, delete on close", "temp4",
     SQLITE_OPEN_TRANSIENT_DB | CREATE_RW | SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE},
    {"transient, delete on close, exists", "old.db",
     SQLITE_OPEN_TRANSIENT_DB | CREATE_RW | SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE},
    {"main journal, delete on close", "gone-journal", SQLITE_OPEN_MAIN_JOURNAL | CREATE_RW | SQLITE_OPEN_DELETEONCLOSE},
};

static void file_put(const char *path, const char *text) {
  int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
  assert_true(fd >= 0);
  assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
  close(fd);
}

static void scene_make(const char *dir) {
  tree_remove(dir);
  assert_int_equal(mkdir(dir, 0755), 0);
  assert_int_equal(mkdir(with_suffix(dir, "/dir"), 0755), 0);
  file_put(with_suffix(dir, "/old.db"), "");
  file_put(with_suffix(dir, "/old.db-journal"), "");
  file_put(with_suffix(dir, "/old.db-wal"), "");
  file_put(with_suffix(dir, "/precious"), "precious");
  assert_int_equal(symlink("old.db", with_suffix(dir, "/link.db")), 0);
  assert_int_equal(symlink("precious", with_suffix(dir, "/link.db-journal")), 0);
  assert_int_equal(symlink("precious", with_suffix(dir, "/link.db-wal")), 0);
  assert_int_equal(symlink("nowhere", with_suffix(dir, "/dangling.db")), 0);
  assert_int_equal(symlink(".", with_suffix(dir, "/dirlink")), 0);
}

/* Names, kinds, modes and sizes in the directory, sorted by readdir's order made stable. */
static int name_order(const void *a, const void *b) { return strcmp(a, b); }

static void scene_text(const char *dir, char *text, size_t size) {
  static char lines[64][320];
  int count = 0;
  DIR *d = opendir(dir);
  assert_non_null(d);
  for (struct dirent *e; (e = readdir(d)) != NULL && count < 64;) {
    struct stat st;
    if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || e->d_name[0] == '.') continue;
    snprintf(lines[count++], sizeof(lines[0]), "%s %o %ld", e->d_name, st.st_mode,
             S_ISDIR(st.st_mode) ? 0 : (long)st.st_size);
  }
  closedir(d);
  qsort(lines, (size_t)count, sizeof(lines[0]), name_order);
  text[0] = 0;
  for (int i = 0; i < count; i++) {
    size_t used = strlen(text);
    snprintf(text + used, size - used, "%s\n", lines[i]);
  }
}

static void test_flags_at_the_vfs(void **state) {
  (void)state;
  const char *vfs[2] = {default_vfs, uring_vfs()};
  char dir[PATH_MAX];
  snprintf(dir, sizeof(dir), "%s", at("flags"));
  for (size_t i = 0; i < COUNT(flag_cases); i++) {
    const flag_case *c = &flag_cases[i];
    char opened[2][4096], closed[2][4096];
    int rc[2], out[2];
    for (int v = 0; v < 2; v++) {
      char path[2 * PATH_MAX];
      handle h;
      scene_make(dir);
      snprintf(path, sizeof(path), "%s/%s", dir, c->path);
      out[v] = -1;
      rc[v] = raw_open(vfs[v], path, c->flags, &out[v], &h);
      scene_text(dir, opened[v], sizeof(opened[v]));
      if (rc[v] == SQLITE_OK && (out[v] & SQLITE_OPEN_READWRITE) != 0) {
        char block[4096], back[4096];
        memset(block, 'x', sizeof(block));
        assert_int_equal(h.file->pMethods->xWrite(h.file, block, sizeof(block), 8192), SQLITE_OK);
        assert_int_equal(h.file->pMethods->xRead(h.file, back, sizeof(back), 8192), SQLITE_OK);
        assert_memory_equal(block, back, sizeof(block));
        /* What was never written reads as zeros, and the end of the file is a short read filled with zeros. */
        memset(back, 'y', sizeof(back));
        assert_int_equal(h.file->pMethods->xRead(h.file, back, sizeof(back), 0), SQLITE_OK);
        for (size_t k = 0; k < sizeof(back); k++) assert_int_equal(back[k], 0);
        memset(back, 'y', sizeof(back));
        assert_int_equal(h.file->pMethods->xRead(h.file, back, sizeof(back), 12288), SQLITE_IOERR_SHORT_READ);
        for (size_t k = 0; k < sizeof(back); k++) assert_int_equal(back[k], 0);
        memset(back, 'y', sizeof(back));
        assert_int_equal(h.file->pMethods->xRead(h.file, back, sizeof(back), 10240), SQLITE_IOERR_SHORT_READ);
        assert_memory_equal(back, block, 2048);
        for (size_t k = 2048; k < sizeof(back); k++) assert_int_equal(back[k], 0);
      }
      raw_close(&h);
      scene_text(dir, closed[v], sizeof(closed[v]));
    }
    if (rc[0] != rc[1]) fail_msg("%s: %d through the default VFS, %d through uring", c->name, rc[0], rc[1]);
    if (rc[0] == SQLITE_OK && out[0] != out[1]) fail_msg("%s: flags 0x%x and 0x%x", c->name, out[0], out[1]);
    if (strcmp(opened[0], opened[1]) != 0) fail_msg("%s, opened:\n%s---\n%s", c->name, opened[0], opened[1]);
    if (strcmp(closed[0], closed[1]) != 0) fail_msg("%s, closed:\n%s---\n%s", c->name, closed[0], closed[1]);
    /* Of a file that is there, EXCLUSIVE leaves at most a read-only handle (unixOpen tries that after any failure). */
    if ((c->flags & SQLITE_OPEN_EXCLUSIVE) != 0 && strstr(c->name, "exists") != NULL && rc[1] == SQLITE_OK) {
      assert_true((out[1] & SQLITE_OPEN_READWRITE) == 0);
    }
    if ((c->flags & SQLITE_OPEN_DELETEONCLOSE) != 0 && rc[1] == SQLITE_OK) {
      char line[300];
      snprintf(line, sizeof(line), "%s ", c->path);
      assert_null(strstr(closed[1], line));
    }
  }
  tree_remove(dir);
}

static void test_nofollow_through_sqlite3_open(void **state) {
  (void)state;
  const char *paths[] = {"real.db", "symlink.db", "symdir/real.db", "dotted/../symlink.db"};
  const char *vfs[2] = {default_vfs, uring_vfs()};
  mkdir(at("nofollow"), 0755);
  mkdir(at("nofollow/dotted"), 0755);
  assert_int_equal(symlink("real.db", at("nofollow/symlink.db")), 0);
  assert_int_equal(symlink(".", at("nofollow/symdir")), 0);
  sqlite3 *db = db_open(at("nofollow/real.db"), default_vfs);
  sql(db, "CREATE TABLE t(a); INSERT INTO t VALUES(1)");
  db_close(db);
  for (size_t i = 0; i < COUNT(paths); i++) {
    for (int flags = 0; flags < 2; flags++) {
      int rc[2];
      for (int v = 0; v < 2; v++) {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "nofollow/%s", paths[i]);
        rc[v] = db_open_rc(at(path), vfs[v], SQLITE_OPEN_READWRITE | (flags ? SQLITE_OPEN_NOFOLLOW : 0), &db);
        if (rc[v] == SQLITE_OK) {
          sql(db, "UPDATE t SET a = a + 1");
        } else {
          rc[v] = sqlite3_extended_errcode(db);
        }
        db_close(db);
      }
      if (rc[0] != rc[1]) fail_msg("%s, nofollow %d: %d and %d", paths[i], flags, rc[0], rc[1]);
      if (flags == 1) assert_int_equal(rc[1] & 0xff, i == 0 ? SQLITE_OK : SQLITE_CANTOPEN);
      if (flags == 0) assert_int_equal(rc[1], SQLITE_OK);
    }
  }
}

/* ---- temporary files
** ----------------------------------------------------------------------------------------------- */

/* Names of the deleted files that are open now, each checked for mode, links and flags. Returns how many. */
static int temp_names(const char *dir, char (*names)[PATH_MAX], int max) {
  int count = 0, n = fd_list(fd_now, 4096);
  for (int i = 0; i < n && count < max; i++) {
    struct stat st;
    char *target = fd_now[i].target, *deleted = strstr(target, " (deleted)");
    if (strncmp(target, dir, strlen(dir)) != 0 || deleted == NULL) continue;
    assert_int_equal(fstat(fd_now[i].fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_nlink, 0);
    assert_true(st.st_uid == geteuid());
    assert_true((fcntl(fd_now[i].fd, F_GETFD) & FD_CLOEXEC) != 0);
    *deleted = 0;
    snprintf(names[count++], PATH_MAX, "%s", strrchr(target, '/') + 1);
  }
  return count;
}

static bool directory_is_empty(const char *dir) {
  int entries = 0;
  DIR *d = opendir(dir);
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) entries += e->d_name[0] != '.';
  if (d != NULL) closedir(d);
  return entries == 0;
}

#define TEMP_FILES 200
static char names[TEMP_FILES][PATH_MAX];

static void test_temporary_files_are_private_and_unguessable(void **state) {
  (void)state;
  static const int kinds[] = {SQLITE_OPEN_TEMP_DB, SQLITE_OPEN_TEMP_JOURNAL, SQLITE_OPEN_SUBJOURNAL,
                              SQLITE_OPEN_TRANSIENT_DB};
  handle h[TEMP_FILES];
  char dir[PATH_MAX];
  snprintf(dir, sizeof(dir), "%s", at("tmp"));
  mkdir(dir, 0777);
  chmod(dir, 0777);
  mode_t mask = umask(0); /* the mode must not depend on it */
  sqlite3_temp_directory = sqlite3_mprintf("%s", dir);
  for (int i = 0; i < TEMP_FILES; i++) {
    int out;
    assert_int_equal(raw_open(uring_vfs(), NULL,
                              kinds[i % 4] | CREATE_RW | SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE, &out,
                              &h[i]),
                     SQLITE_OK);
    assert_int_equal(h[i].file->pMethods->xWrite(h[i].file, "secret", 6, 0), SQLITE_OK);
  }
  int n = temp_names(dir, names, TEMP_FILES);
  assert_int_equal(n, TEMP_FILES);
  assert_true(directory_is_empty(dir));
  qsort(names, (size_t)n, sizeof(names[0]), name_order);
  for (int i = 0; i < n; i++) {
    /* 64 random bits: no name twice, and neighbours in order have little in common. */
    if (i > 0) assert_string_not_equal(names[i], names[i - 1]);
    const char *tail = strrchr(names[i], '_');
    assert_true(strlen(tail != NULL ? tail + 1 : names[i]) >= 10);
  }
  for (int i = 0; i < TEMP_FILES; i++) raw_close(&h[i]);
  assert_int_equal(temp_names(dir, names, TEMP_FILES), 0);
  umask(mask);
}

/* Two children of one process must not make up the same names. */
static void test_temporary_names_differ_after_fork(void **state) {
  (void)state;
  char found[2][256];
  char dir[PATH_MAX];
  snprintf(dir, sizeof(dir), "%s", at("tmp"));
  for (int i = 0; i < 2; i++) {
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
      handle h;
      int out;
      char target[1][PATH_MAX];
      if (raw_open(uring_vfs(), NULL,
                   SQLITE_OPEN_TEMP_DB | CREATE_RW | SQLITE_OPEN_EXCLUSIVE | SQLITE_OPEN_DELETEONCLOSE, &out,
                   &h) != SQLITE_OK ||
          temp_names(dir, target, 1) != 1 || write(ends[1], target[0], sizeof(found[0])) < 0) {
        _exit(1);
      }
      _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(read(ends[0], found[i], sizeof(found[i])) > 0);
    close(ends[0]);
    close(ends[1]);
  }
  assert_string_not_equal(found[0], found[1]);
}

/* What SQL makes: temp tables, sorter files, statement journals. */
static void test_temporary_files_of_sql(void **state) {
  (void)state;
  char dir[PATH_MAX];
  snprintf(dir, sizeof(dir), "%s", at("tmp"));
  mode_t mask = umask(0);
  sqlite3 *db = db_open(at("temporary.db"), uring_vfs());
  sql(db, "PRAGMA temp_store=file; PRAGMA cache_size=5; PRAGMA temp.cache_size=5; CREATE TABLE t(a, b);"
          "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<20000) INSERT INTO t SELECT i, randomblob(100) "
          "FROM c");
  sql(db,
      "CREATE TEMP TABLE x AS SELECT * FROM t ORDER BY b; CREATE INDEX temp.xb ON x(b); BEGIN; UPDATE x SET a = a + 1");
  sqlite3_stmt *sorting;
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT b, a FROM t ORDER BY b", -1, &sorting, NULL), SQLITE_OK);
  assert_int_equal(sqlite3_step(sorting), SQLITE_ROW);
  assert_true(temp_names(dir, names, TEMP_FILES) >= 2);
  assert_true(directory_is_empty(dir));
  sqlite3_finalize(sorting);
  sql(db, "COMMIT; VACUUM");
  db_close(db);
  assert_int_equal(temp_names(dir, names, TEMP_FILES), 0);
  assert_true(directory_is_empty(dir));
  umask(mask);
}

/* ---- buffers do not carry one database's bytes into another
** -------------------------------------------------------- */

static bool file_contains(const char *path, const char *needle) {
  static char data[4 << 20];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, data, sizeof(data));
  close(fd);
  return n > 0 && memmem(data, (size_t)n, needle, strlen(needle)) != NULL;
}

static void test_no_bytes_of_another_database(void **state) {
  (void)state;
  static const char *const modes[] = {"wal", "delete", "persist", "truncate"};
  static const char *const suffixes[] = {"", "-wal", "-journal", "-shm"};
  for (size_t m = 0; m < COUNT(modes); m++) {
    char text[512];
    sqlite3 *secret, *plain;
    snprintf(text, sizeof(text), "secret-%s.db", modes[m]);
    secret = db_open(at(text), uring_vfs());
    snprintf(text, sizeof(text), "plain-%s.db", modes[m]);
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s", at(text));
    plain = db_open(path, uring_vfs());
    snprintf(text, sizeof(text), "PRAGMA journal_mode=%s; PRAGMA cache_size=5; CREATE TABLE t(a, b)", modes[m]);
    sql(secret, text);
    sql(plain, text);
    for (int i = 0; i < 30; i++) {
      snprintf(text, sizeof(text), "INSERT INTO t VALUES(%d, replace(hex(zeroblob(%d)), '00', 'TOPSECRET'))", i,
               100 + 97 * i);
      sql(secret, text);
      if (i % 3 == 0) sql(secret, "BEGIN; UPDATE t SET b = b || 'TOPSECRET'; ROLLBACK");
      snprintf(text, sizeof(text), "INSERT INTO t VALUES(%d, zeroblob(%d))", i, 50 + 13 * i);
      sql(plain, text);
      if (i % 5 == 0) sql(plain, "BEGIN; UPDATE t SET b = zeroblob(3000); ROLLBACK; SELECT sum(length(b)) FROM t");
    }
    assert_true(sql(secret, "SELECT sum(b LIKE '%TOPSECRET%') FROM t") == 30);
    for (size_t s = 0; s < COUNT(suffixes); s++) {
      if (file_contains(with_suffix(path, suffixes[s]), "TOPSECRET"))
        fail_msg("%s%s holds another's bytes", path, suffixes[s]);
    }
    sqlite3_close(plain);
    sqlite3_close(secret);
    if (file_contains(path, "TOPSECRET")) fail_msg("%s holds another's bytes", path);
  }
}

int main(void) {
  support_directory();
  support_sqlite();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_flags_at_the_vfs),
      cmocka_unit_test(test_nofollow_through_sqlite3_open),
      cmocka_unit_test(test_temporary_files_are_private_and_unguessable),
      cmocka_unit_test(test_temporary_names_differ_after_fork),
      cmocka_unit_test(test_temporary_files_of_sql),
      cmocka_unit_test(test_no_bytes_of_another_database),
  };
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
