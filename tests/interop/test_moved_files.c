/*
** test_moved_files.c - a database or WAL that is deleted, renamed or replaced while it is open.
**
** The descriptor of the default VFS stays with the old file; a ring opens by name, at first need or again when its slot
** was needed for something else, and must notice that the name leads elsewhere. Each case runs through both VFSs, each
** in a process of its own: same codes, same values, and the file that now has the name is never written to.
*/
#include "../process/support.h"
#include <sys/mman.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

typedef enum event {
  DELETED,
  RENAMED,
  REPLACED,         /* another database is renamed over it                   */
  REPLACED_BY_COPY, /* the same, with the same content                       */
  REPLACED_BY_LINK, /* a symlink to another database                         */
  REPLACED_BY_DIR,  /* a directory                                           */
  DIR_RENAMED,      /* its directory is called something else now            */
  DIR_REPLACED,     /* and another directory with other files has its name   */
  BACK_AGAIN,       /* renamed, replaced, and the old one is back            */
  HARD_LINKED,      /* nothing is lost, it has a second name                 */
  WAL_DELETED,
  WAL_REPLACED,
  EVENTS
} event;

static const char *const event_names[] = {"deleted",           "renamed",
                                          "replaced",          "replaced by copy",
                                          "replaced by link",  "replaced by directory",
                                          "directory renamed", "directory replaced",
                                          "back again",        "hard-linked",
                                          "WAL deleted",       "WAL replaced"};

/* Where the connection is when it happens. */
typedef enum moment { OPENED, USED, RECYCLED, READING, WRITING, SPILLED, MOMENTS } moment;
static const char *const moment_names[] = {"opened",  "used",    "used, its slots then used by others",
                                           "reading", "writing", "pages spilled"};

typedef struct outcome {
  int rc[32];
  long long value[32];
  int steps;
  bool done, decoy_changed;
  char message[256];
} outcome;

static outcome *shared;

static void step(sqlite3 *db, const char *text) {
  row_value v;
  shared->rc[shared->steps] = sql_rc(db, text, &v);
  if (shared->rc[shared->steps] != SQLITE_OK && shared->message[0] == 0) {
    snprintf(shared->message, sizeof(shared->message), "step %d: %s", shared->steps, sqlite3_errmsg(db));
  }
  shared->value[shared->steps++] = v.number;
}

static void must(bool good, const char *what) {
  if (good) return;
  snprintf(shared->message, sizeof(shared->message), "%s: errno %d", what, errno);
  _exit(1);
}

static void database_fill(const char *path, const char *mode, int rows) {
  sqlite3 *db = NULL;
  char text[512];
  snprintf(text, sizeof(text),
           "PRAGMA synchronous=off; PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, b);"
           "WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d)"
           "INSERT INTO t SELECT i, zeroblob(1000) FROM c",
           mode, rows);
  must(db_open_rc(path, default_vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db) == SQLITE_OK, path);
  must(sql_rc(db, text, NULL) == SQLITE_OK, "fill");
  must(sqlite3_close(db) == SQLITE_OK, "close");
}

static void file_copy(const char *from, const char *to) {
  char block[65536];
  ssize_t n;
  int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  must(in >= 0 && out >= 0, "copy");
  while ((n = read(in, block, sizeof(block))) > 0) must(write(out, block, (size_t)n) == n, "copy");
  close(in);
  close(out);
}

/* What the child compares afterwards: the file that has the name now. */
static char decoy[3 * PATH_MAX];
static uint64_t decoy_hash;

static void decoy_is(const char *path) {
  snprintf(decoy, sizeof(decoy), "%s", path);
  decoy_hash = file_hash(path);
}

static void happen(event what, const char *dir, const char *path) {
  char other[PATH_MAX], moved[PATH_MAX], wal[PATH_MAX];
  snprintf(other, sizeof(other), "%s", with_suffix(dir, "/other.db"));
  snprintf(moved, sizeof(moved), "%s", with_suffix(dir, "/moved.db"));
  snprintf(wal, sizeof(wal), "%s", with_suffix(path, "-wal"));
  switch (what) {
  case DELETED: must(unlink(path) == 0, "unlink"); break;
  case RENAMED: must(rename(path, moved) == 0, "rename"); break;
  case REPLACED:
  case REPLACED_BY_COPY:
    must(rename(other, path) == 0, "rename");
    decoy_is(path);
    break;
  case REPLACED_BY_LINK:
    must(rename(path, moved) == 0 && symlink("other.db", path) == 0, "symlink");
    decoy_is(other);
    break;
  case REPLACED_BY_DIR: must(rename(path, moved) == 0 && mkdir(path, 0755) == 0, "mkdir"); break;
  case DIR_RENAMED: must(rename(dir, with_suffix(dir, "-moved")) == 0, "rename"); break;
  case DIR_REPLACED:
    must(rename(dir, with_suffix(dir, "-moved")) == 0 && mkdir(dir, 0755) == 0, "rename");
    must(rename(with_suffix(dir, "-moved/other.db"), path) == 0, "rename");
    decoy_is(path);
    break;
  case BACK_AGAIN:
    must(rename(path, moved) == 0 && link(other, path) == 0, "rename");
    must(rename(moved, path) == 0, "rename");
    decoy_is(other);
    break;
  case HARD_LINKED: must(link(path, moved) == 0, "link"); break;
  case WAL_DELETED:
    if (unlink(wal) != 0) must(errno == ENOENT, "unlink");
    break;
  case WAL_REPLACED:
    must(rename(with_suffix(dir, "/other.wal"), wal) == 0, "rename");
    decoy_is(wal);
    break;
  default: break;
  }
}

/* Twelve more databases through the same rings. */
static void use_others(const char *dir, const char *vfs) {
  for (int i = 0; i < 12; i++) {
    char name[PATH_MAX + 32];
    sqlite3 *db = NULL;
    snprintf(name, sizeof(name), "%s/more-%d.db", dir, i);
    must(db_open_rc(name, vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db) == SQLITE_OK, name);
    must(sql_rc(db,
                "PRAGMA synchronous=off; PRAGMA journal_mode=wal; CREATE TABLE o(x); INSERT INTO o "
                "VALUES(zeroblob(20000)); SELECT * FROM o",
                NULL) == SQLITE_OK,
         name);
    if (i % 2 == 0) sqlite3_close(db); /* the others stay open */
  }
}

static void child_runs(event what, moment when, const char *mode, const char *vfs, const char *dir) {
  char path[PATH_MAX], text[256];
  sqlite3 *db = NULL;
  must(snprintf(path, sizeof(path), "%s/a.db", dir) < (int)sizeof(path), "path");
  database_fill(path, mode, 100);
  if (what == REPLACED_BY_COPY) {
    file_copy(path, with_suffix(dir, "/other.db"));
  } else {
    database_fill(with_suffix(dir, "/other.db"), mode, 150);
  }
  file_copy(with_suffix(dir, "/other.db"), with_suffix(dir, "/other.wal")); /* any bytes will do */

  int rc = when == OPENED ? db_open_lazy(path, vfs, SQLITE_OPEN_READWRITE, &db)
                          : db_open_rc(path, vfs, SQLITE_OPEN_READWRITE, &db);
  must(rc == SQLITE_OK, "open");
  if (when != OPENED) {
    snprintf(text, sizeof(text), "PRAGMA journal_mode=%s; PRAGMA cache_size=5", mode);
    must(sql_rc(db, text, NULL) == SQLITE_OK, "mode");
    must(sql_rc(db, "UPDATE t SET b = zeroblob(999) WHERE a = 1; SELECT sum(length(b)) FROM t", NULL) == SQLITE_OK,
         "use");
  }
  if (when == RECYCLED) use_others(dir, vfs);
  if (when == READING) must(sql_rc(db, "BEGIN; SELECT count(*) FROM t", NULL) == SQLITE_OK, "read");
  if (when == WRITING)
    must(sql_rc(db, "BEGIN; UPDATE t SET b = zeroblob(998) WHERE a = 2", NULL) == SQLITE_OK, "write");
  if (when == SPILLED) must(sql_rc(db, "BEGIN; UPDATE t SET b = randomblob(900)", NULL) == SQLITE_OK, "spill");

  happen(what, dir, path);
  must(ring_now(db, vfs) == SQLITE_OK, "PRAGMA uring_backend=uring");

  /* It costs time and changes nothing here but whether there are syncs: with and without. */
  step(db, what % 2 ? "PRAGMA synchronous=off" : "PRAGMA synchronous=normal");
  step(db, "SELECT sum(length(b)) FROM t");
  step(db, "UPDATE t SET b = zeroblob(800) WHERE a > 50");
  step(db, "SELECT sum(length(b)) FROM t");
  if (when >= READING) step(db, "COMMIT");
  if (when >= READING && !sqlite3_get_autocommit(db)) step(db, "ROLLBACK");
  step(db, "INSERT INTO t(b) VALUES(zeroblob(12345))");
  step(db, "SELECT sum(length(b)) FROM t");
  step(db, "PRAGMA wal_checkpoint(TRUNCATE)");
  step(db, "UPDATE t SET b = zeroblob(700)");
  step(db, "SELECT sum(length(b)) FROM t");
  step(db, "PRAGMA integrity_check");
  shared->rc[shared->steps++] = sqlite3_close(db);
  if (decoy[0] != 0) {
    /* Compared when the connection is closed: closing a descriptor here cannot drop a lock that matters any more. */
    uint64_t now = file_hash(decoy);
    shared->decoy_changed = now != decoy_hash && now != 0;
  }
  shared->done = true;
  _exit(0);
}

static outcome run(event what, moment when, const char *mode, const char *vfs) {
  static int number;
  char dir[PATH_MAX];
  assert_true(snprintf(dir, sizeof(dir), "%s/moved-%d", work_dir, number++) < (int)sizeof(dir));
  assert_int_equal(mkdir(dir, 0755), 0);
  memset(shared, 0, sizeof(*shared));
  fflush(NULL);
  pid_t pid = fork(); /* SQLite is used in children only */
  if (pid == 0) {
    support_sqlite();
    child_runs(what, when, mode, vfs, dir);
  }
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (status != 0 || !shared->done) {
    fail_msg("%s, %s, %s through %s: the child ended with 0x%x: %s", event_names[what], moment_names[when], mode, vfs,
             status, shared->message);
  }
  tree_remove(dir);
  tree_remove(with_suffix(dir, "-moved"));
  return *shared;
}

static int cases, differences;

static void compare(event what, moment when, const char *mode) {
  outcome want = run(what, when, mode, default_vfs), got = run(what, when, mode, uring_vfs());
  cases++;
  bool same = want.steps == got.steps;
  for (int i = 0; same && i < want.steps; i++) same = want.rc[i] == got.rc[i] && want.value[i] == got.value[i];
  /* The default VFS itself deletes or restarts a WAL by its name at the end: then only "the same" can be asked for. */
  if (got.decoy_changed && !want.decoy_changed) same = false;
  if (same) return;
  differences++;
  fprintf(stderr, "%s, %s, %s: the file of that name changed: %d by the default VFS, %d by uring; code:value\n",
          event_names[what], moment_names[when], mode, want.decoy_changed, got.decoy_changed);
  for (int v = 0; v < 2; v++) {
    const outcome *o = v ? &got : &want;
    fprintf(stderr, "  %-7s", v ? "uring" : "default");
    for (int i = 0; i < o->steps; i++) fprintf(stderr, " %d:%lld", o->rc[i], o->value[i]);
    fprintf(stderr, "  (%s)\n", o->message);
  }
}

static void all_moments(const char *mode, bool all) {
  differences = 0;
  for (int what = 0; what < EVENTS; what++) {
    if (what >= WAL_DELETED && strcmp(mode, "wal") != 0) continue;
    for (int when = 0; when < MOMENTS; when++) {
      if (!all && when != OPENED && when != USED && when != SPILLED) continue;
      compare((event)what, (moment)when, mode);
    }
  }
  assert_int_equal(differences, 0);
}

static void test_moved_in_delete_mode(void **state) {
  (void)state;
  all_moments("delete", true);
}

static void test_moved_in_truncate_mode(void **state) {
  (void)state;
  all_moments("truncate", false);
}

static void test_moved_in_persist_mode(void **state) {
  (void)state;
  all_moments("persist", false);
}

static void test_moved_in_wal_mode(void **state) {
  (void)state;
  all_moments("wal", true);
}

int main(void) {
  shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  support_directory();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_moved_in_delete_mode),
      cmocka_unit_test(test_moved_in_truncate_mode),
      cmocka_unit_test(test_moved_in_persist_mode),
      cmocka_unit_test(test_moved_in_wal_mode),
  };
  int failed = cmocka_run_group_tests(tests, NULL, NULL);
  printf("moved files: %d cases through both VFSs\n", cases);
  return support_end(failed != 0);
}
