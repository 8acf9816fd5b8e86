/*
** Databases that cannot be opened or are not what they should be: no permission, no file, no directory, no descriptors,
** no locked memory, a directory, not a database, a damaged WAL, a database file deleted or replaced under an open
** connection.
*/
#include "support_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROWS "SELECT count(*)*1000000+sum(length(pad)) FROM t"
#define LARGE                                                                                                          \
  "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<60) INSERT INTO t(pad) SELECT "               \
  "randomblob(3000) FROM n"

static void make(fault_run *run, const char *name, const char *mode) {
  char sql[128];
  sqlite3 *db = run_open_plain(run, name);
  snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s", mode);
  run_quiet(run, db, sql);
  run_quiet(run, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB); INSERT INTO t VALUES(1, zeroblob(5000))");
  sqlite3_close(db);
}

static void put(fault_run *run, const char *name, const char *text, size_t n) {
  FILE *f = fopen(run_path(run, name), "wb");
  if (f) {
    fwrite(text, 1, n, f);
    fclose(f);
  }
}

/* Opens, reads, writes, closes: whatever that gives. */
static void use(fault_run *run, const char *name, int flags) {
  sqlite3 *db = run_open_flags(run, name, flags);
  if (!db) return;
  run_int(run, db, "SELECT count(*) FROM sqlite_schema");
  run_sql(run, db, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, pad BLOB)");
  run_sql(run, db, "INSERT INTO t(pad) VALUES('x')");
  run_int(run, db, "SELECT count(*) FROM t");
  run_sql(run, db, "PRAGMA journal_mode=wal");
  run_sql(run, db, "INSERT INTO t(pad) VALUES('x')");
  run_sql(run, db, "PRAGMA journal_mode=delete");
  run_close(run, db);
}

#define RW  SQLITE_OPEN_READWRITE
#define RWC (SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE)

static void paths(fault_run *run, void *arg) {
  (void)arg;
  put(run, "file", "x", 1);
  mkdir(run_path(run, "dir"), 0755);
  if (symlink("nowhere", run_path(run, "dangling")) || symlink("loop", run_path(run, "loop")) ||
      symlink("t.db", run_path(run, "link")))
    note(run, "no links here");
  mkfifo(run_path(run, "fifo"), 0600);
  make(run, "t.db", "delete");
  note(run, "ENOENT");
  use(run, "missing.db", RW);
  note(run, "missing directory");
  use(run, "nodir/t.db", RWC);
  note(run, "ENOTDIR");
  use(run, "file/t.db", RWC);
  note(run, "a directory");
  use(run, "dir", RWC);
  note(run, "dangling link");
  use(run, "dangling", RW);
  use(run, "dangling", RWC);
  note(run, "links in a circle");
  use(run, "loop", RWC);
  note(run, "link");
  use(run, "link", RWC);
  note(run, "NOFOLLOW");
  use(run, "link", RWC | SQLITE_OPEN_NOFOLLOW);
  note(run, "read-only");
  use(run, "t.db", SQLITE_OPEN_READONLY);
  char name[600];
  memset(name, 'n', sizeof name);
  name[300] = 0;
  note(run, "name too long");
  use(run, name, RWC);
}

static void wrong_paths(void **state) {
  (void)state;
  fault_compare("paths", NULL, paths, NULL, "open missing.db: 14", "open(|missing.db");
}

static void not_a_database(fault_run *run, void *arg) {
  static char junk[20000];
  (void)arg;
  for (size_t i = 0; i < sizeof junk; i++) junk[i] = (char)(i * 131 + 7);
  static const size_t sizes[] = {0, 1, 15, 16, 99, 100, 512, 4096, 20000};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char name[32];
    snprintf(name, sizeof name, "junk%zu.db", sizes[i]);
    put(run, name, junk, sizes[i]);
    note(run, "%zu bytes of something else", sizes[i]);
    use(run, name, RWC);
  }
  /* damaged: a good header, and then not */
  make(run, "t.db", "delete");
  static const off_t places[] = {16, 18, 20, 28, 40, 56, 100, 105, 4096, 5000};
  for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
    char name[32], command[3000];
    snprintf(name, sizeof name, "bad%ld.db", (long)places[i]);
    snprintf(command, sizeof command, "cp '%s' '%s'", run_path(run, "t.db"), run_path(run, name));
    if (system(command) != 0) note(run, "no copy");
    int fd = open(run_path(run, name), O_WRONLY | O_CLOEXEC);
    if (pwrite(fd, "\xff\xfe\xfd\xfc", 4, places[i]) != 4) note(run, "no write");
    close(fd);
    note(run, "damaged at %ld", (long)places[i]);
    use(run, name, RWC);
  }
  /* shorter than it says */
  make(run, "short.db", "wal");
  if (truncate(run_path(run, "short.db"), 4096 + 2000)) note(run, "no truncate");
  use(run, "short.db", RWC);
}

static void not_databases(void **state) {
  (void)state;
  fault_compare("not a database", NULL, not_a_database, NULL, "-> 26 (file is not a database)", NULL);
}

/* An unprivileged user meets what it may not read, write, search or make a journal beside. */
static void forbidden(fault_run *run, void *arg) {
  static const struct {
    const char *name;
    int mode;
  } files[] = {{"none.db", 0}, {"ro.db", 0444}, {"wo.db", 0222}, {"rw.db", 0666}};
  (void)arg;
  mkdir(run_path(run, "sealed"), 0755);
  make(run, "sealed/ro.db", "delete");
  make(run, "sealed/wal.db", "wal");
  mkdir(run_path(run, "closed"), 0755);
  make(run, "closed/t.db", "delete");
  for (int i = 0; i < 4; i++) {
    make(run, files[i].name, i % 2 ? "wal" : "delete");
    chmod(run_path(run, files[i].name), (mode_t)files[i].mode);
  }
  chmod(run_path(run, "sealed/ro.db"), 0666);
  chmod(run_path(run, "sealed/wal.db"), 0444);
  chmod(run_path(run, "sealed"), 0555);
  chmod(run_path(run, "closed"), 0);
  if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
    note(run, "no other user");
  for (int i = 0; i < 4; i++) use(run, files[i].name, RWC);
  for (int i = 0; i < 4; i++) use(run, files[i].name, SQLITE_OPEN_READONLY);
  use(run, "sealed/ro.db", RWC);
  use(run, "sealed/wal.db", RWC);
  use(run, "sealed/wal.db", SQLITE_OPEN_READONLY);
  use(run, "sealed/new.db", RWC);
  use(run, "closed/t.db", RWC);
}

static void no_permission(void **state) {
  (void)state;
  fault_compare("permissions", NULL, forbidden, NULL, "open none.db: 14", "open(|none.db");
}

/* RLIMIT_NOFILE: whatever is opened while no descriptor is left. */
static void no_descriptors(fault_run *run, void *arg) {
  (void)arg;
  make(run, "t.db", "delete");
  make(run, "w.db", "wal");
  sqlite3 *open_db = run_open(run, "t.db");
  run_int(run, open_db, ROWS);
  struct rlimit before, limit;
  getrlimit(RLIMIT_NOFILE, &before);
  int fds[1024], n = 0, highest = 0;
  limit = before;
  limit.rlim_cur = 64;
  setrlimit(RLIMIT_NOFILE, &limit);
  while (n < 1024 && (fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0) highest = fds[n++];
  (void)highest;
  note(run, "no descriptor left");
  use(run, "t.db", RWC);
  use(run, "w.db", RWC);
  use(run, "new.db", RWC);
  run_sql(run, open_db, "INSERT INTO t(pad) VALUES(zeroblob(100000))"); /* cannot make its journal */
  run_int(run, open_db, ROWS);
  for (int left = 1; left <= 4 && n > 0; left++) {
    close(fds[--n]);
    note(run, "%d left", left);
    use(run, "w.db", RWC);
  }
  while (n > 0) close(fds[--n]);
  setrlimit(RLIMIT_NOFILE, &before);
  note(run, "enough again");
  run_sql(run, open_db, "INSERT INTO t(pad) VALUES(zeroblob(100000))");
  run_int(run, open_db, ROWS);
  use(run, "w.db", RWC);
  run_close(run, open_db);
  run_verify(run, "t.db", ROWS);
  run_verify(run, "w.db", "SELECT count(*) FROM t");
}

static void too_many_files(void **state) {
  (void)state;
  fault_compare("descriptors", NULL, no_descriptors, NULL, "open t.db: 14", "open(|(24)");
}

/* RLIMIT_MEMLOCK of nothing, unprivileged: no ring can be made. */
static void no_locked_memory(fault_run *run, void *arg) {
  struct rlimit none = {0, 0};
  (void)arg;
  setrlimit(RLIMIT_MEMLOCK, &none);
  if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
    note(run, "no other user");
  sqlite3 *db = run_open(run, "t.db");
  if (!db) return;
  run_quiet(run, db, "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
  for (int i = 0; i < 5; i++) run_transaction(run, db, "large", LARGE);
  run_int(run, db, ROWS);
  run_close(run, db);
  run_verify(run, "t.db", ROWS);
}

static void locked_memory(void **state) {
  (void)state;
  fault_without_ring = true;
  fault_compare("RLIMIT_MEMLOCK 0", NULL, no_locked_memory, NULL, "large -> 0", NULL);
  fault_without_ring = false;
  /* asked for by name, it works or is refused with the reason */
  fault_result r = fault_run_once(fault_ways[3], fault_dir(), no_locked_memory, NULL);
  assert_int_equal(r.status, 0);
  if (!strstr(r.transcript, "t.db: ok") && !log_has(r.log, "uring_backend=uring|annot"))
    fail_msg("uring without locked memory: %s%s", r.transcript, r.log);
  fault_result_free(&r);
}

/* ---- the WAL ---- */

typedef struct wal_damage {
  const char *name;
  off_t at;   /* from the start, or from the end if negative */
  int flip;   /* bytes to flip there                 */
  off_t size; /* truncate to; -1: not                */
} wal_damage;

static off_t size_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? st.st_size : -1;
}

/* A WAL as a killed process leaves it: three commits, then damaged; the wal-index is gone. */
static void damaged_wal(fault_run *run, void *arg) {
  const wal_damage *d = arg;
  char wal[1500], command[4000];
  sqlite3 *db = run_open_plain(run, "m.db");
  run_quiet(run, db,
            "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
  run_quiet(run, db, "INSERT INTO t VALUES(1, zeroblob(5000)); PRAGMA wal_checkpoint(TRUNCATE)");
  run_quiet(run, db,
            "INSERT INTO t VALUES(2, zeroblob(5000)); INSERT INTO t VALUES(3, zeroblob(5000)); INSERT INTO t VALUES(4, "
            "zeroblob(50000))");
  snprintf(command, sizeof command, "cp '%s' '%s'; cp '%s' '%s'", run_path(run, "m.db"), run_path(run, "t.db"),
           run_path(run, "m.db-wal"), run_path(run, "t.db-wal"));
  if (system(command) != 0) note(run, "no copy");
  sqlite3_close(db);
  snprintf(wal, sizeof wal, "%s", run_path(run, "t.db-wal"));
  int fd = open(wal, O_RDWR | O_CLOEXEC);
  for (int i = 0; i < d->flip; i++) {
    unsigned char byte = 0;
    off_t at = (d->at < 0 ? size_of(wal) : 0) + d->at + i;
    if (pread(fd, &byte, 1, at) == 1) {
      byte ^= 0xa5;
      if (pwrite(fd, &byte, 1, at) != 1) note(run, "no write");
    }
  }
  if (d->size >= 0 && ftruncate(fd, d->size) != 0) note(run, "no truncate");
  close(fd);
  db = run_open(run, "t.db");
  run_int(run, db, "SELECT count(*) FROM t");
  run_sql(run, db, "PRAGMA integrity_check");
  run_sql(run, db, "INSERT INTO t VALUES(10, zeroblob(5000))");
  run_int(run, db, ROWS);
  run_sql(run, db, "PRAGMA wal_checkpoint(TRUNCATE)");
  run_transaction(run, db, "large", LARGE);
  run_close(run, db);
  run_verify(run, "t.db", ROWS);
}

static void damaged_wals(void **state) {
  static const wal_damage cases[] = {
      {"as it was left", 0, 0, -1},
      {"empty", 0, 0, 0},
      {"10 bytes", 0, 0, 10},
      {"half a header", 0, 0, 31},
      {"a header and no frame", 0, 0, 32},
      {"half a frame", 0, 0, 32 + 2000},
      {"one frame and a half", 0, 0, 32 + 4120 + 2000},
      {"wrong magic", 0, 4, -1},
      {"another version", 4, 4, -1},
      {"wrong page size", 8, 4, -1},
      {"wrong salt in the header", 16, 1, -1},
      {"wrong checksum in the header", 24, 8, -1},
      {"wrong page number in the first frame", 32, 4, -1},
      {"wrong salt in the second frame", 32 + 4120 + 8, 8, -1},
      {"wrong checksum in the second frame", 32 + 4120 + 16, 4, -1},
      {"a flipped byte of a page in the first commit", 32 + 24 + 100, 1, -1},
      {"a flipped byte of a page in the second commit", 32 + 4120 * 4 + 24 + 100, 1, -1},
      {"a flipped byte of the last page", -10, 1, -1},
      {"the last frame cut", 0, 0, 32 + 4120 * 20 - 1},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    fault_compare(cases[i].name, NULL, damaged_wal, (void *)&cases[i], "t.db: ok", NULL);
}

/* ---- deleted and replaced ---- */

typedef struct moved {
  const char *name, *mode;
  bool replace, warm;
  bool cold;  /* nothing is read or written before it happens: rings have not opened the file yet */
  bool crowd; /* so many others are used then that rings must open the file anew */
} moved;

static void vanishing(fault_run *run, void *arg) {
  const moved *m = arg;
  char sql[128];
  sqlite3 *others[12];
  make(run, "t.db", m->mode);
  make(run, "new.db", m->mode);
  sqlite3 *plain = run_open_plain(run, "new.db");
  run_quiet(run, plain, "INSERT INTO t VALUES(77, 'new')");
  sqlite3_close(plain);
  sqlite3 *db = run_open(run, "t.db");
  snprintf(sql, sizeof sql, "PRAGMA journal_mode=%s; PRAGMA synchronous=FULL", m->mode);
  if (!m->cold) run_quiet(run, db, sql);
  if (m->warm) {
    run_transaction(run, db, "warm", LARGE);
    run_transaction(run, db, "warm", LARGE);
  }
  if (!m->cold) run_int(run, db, ROWS);
  if (m->replace) {
    if (rename(run_path(run, "new.db"), run_path(run, "t.db")) != 0) note(run, "no rename");
    unlink(run_path(run, "t.db-wal"));
    unlink(run_path(run, "t.db-shm"));
  } else {
    unlink(run_path(run, "t.db"));
  }
  for (int i = 0; m->crowd && i < 12; i++) {
    char name[16];
    snprintf(name, sizeof name, "other%d.db", i);
    sqlite3 *other = run_open(run, name);
    run_quiet(run, other, "PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
    run_transaction(run, other, "other", LARGE);
    others[i] = other;
  }
  run_int(run, db, ROWS);
  run_transaction(run, db, "large", LARGE);
  run_transaction(run, db, "large", LARGE);
  run_int(run, db, ROWS);
  run_sql(run, db, "PRAGMA wal_checkpoint(FULL)");
  run_int(run, db, ROWS);
  sqlite3 *second = run_open(run, "t.db");
  run_int(run, second, "SELECT count(*) FROM sqlite_schema");
  if (m->replace) run_int(run, second, "SELECT count(*) FROM t WHERE id=77");
  run_transaction(run, second, "create",
                  "CREATE TABLE IF NOT EXISTS second(x); INSERT INTO second VALUES(zeroblob(100000))");
  for (int i = 0; m->crowd && i < 12; i++) run_close(run, others[i]);
  run_transaction(run, db, "large", LARGE);
  run_int(run, db, ROWS);
  run_int(run, second, "SELECT count(*) FROM sqlite_schema");
  run_close(run, second);
  run_close(run, db);
  /* what is there now under that name must be the new file, whole, without a page of the old one */
  run_verify(run, "t.db", "SELECT count(*) FROM sqlite_schema");
  if (m->replace) run_verify(run, "t.db", "SELECT group_concat(id) FROM t");
}

static void deleted_or_replaced(void **state) {
  static const moved cases[] = {
      {"deleted, rollback", "delete", false, true, false, false},
      {"deleted, rollback, fresh", "delete", false, false, false, false},
      {"deleted, WAL", "wal", false, true, false, false},
      {"deleted, WAL, fresh", "wal", false, false, false, false},
      {"replaced, rollback", "delete", true, true, false, false},
      {"replaced, rollback, fresh", "delete", true, false, false, false},
      {"replaced, truncate", "truncate", true, true, false, false},
      {"replaced, WAL", "wal", true, true, false, false},
      {"replaced, WAL, fresh", "wal", true, false, false, false},
      {"replaced before the first read, rollback", "delete", true, false, true, false},
      {"replaced before the first read, WAL", "wal", true, false, true, false},
      {"deleted before the first read, rollback", "delete", false, false, true, false},
      {"deleted before the first read, WAL", "wal", false, false, true, false},
      {"replaced among many, WAL", "wal", true, true, false, true},
      {"replaced among many, rollback", "delete", true, true, false, true},
  };
  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
    fault_compare(cases[i].name, NULL, vanishing, (void *)&cases[i], NULL, NULL);
}

/*
** Database and WAL replaced together, by another database with a WAL of its own, when this connection has its WAL open
** but has not used it yet. Its frames must not land in the other database's WAL.
*/
static void both_replaced(fault_run *run, void *arg) {
  char command[6000];
  (void)arg;
  make(run, "t.db", "wal");
  sqlite3 *plain = run_open_plain(run, "m.db");
  run_quiet(run, plain,
            "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
  run_quiet(run, plain,
            "PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES(1001, 'new'); INSERT INTO t VALUES(1002, 'new')");
  snprintf(command, sizeof command, "cp '%s' '%s'; cp '%s' '%s'", run_path(run, "m.db"), run_path(run, "n.db"),
           run_path(run, "m.db-wal"), run_path(run, "n.db-wal"));
  if (system(command) != 0) note(run, "no copy");
  sqlite3_close(plain);
  sqlite3 *db = run_open(run, "t.db");
  run_int(run, db, ROWS); /* opens the WAL, which is empty */
  unlink(run_path(run, "t.db-shm"));
  if (rename(run_path(run, "n.db"), run_path(run, "t.db")) ||
      rename(run_path(run, "n.db-wal"), run_path(run, "t.db-wal")))
    note(run, "no rename");
  run_transaction(run, db, "large", LARGE);
  run_transaction(run, db, "large", LARGE);
  run_int(run, db, ROWS);
  run_verify(run, "t.db", "SELECT count(*)*10000 + max(id) FROM t");
  run_close(run, db);
  run_verify(run, "t.db", "SELECT count(*)*10000 + max(id) FROM t");
}

static void replaced_with_its_wal(void **state) {
  (void)state;
  fault_compare("database and WAL replaced", NULL, both_replaced, NULL, "= 21002", NULL);
}

int main(int argc, char **argv) {
  if (argc > 1) cmocka_set_test_filter(argv[1]); /* one test by name, or by a pattern with * */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(wrong_paths),         cmocka_unit_test(not_databases),         cmocka_unit_test(no_permission),
      cmocka_unit_test(too_many_files),      cmocka_unit_test(locked_memory),         cmocka_unit_test(damaged_wals),
      cmocka_unit_test(deleted_or_replaced), cmocka_unit_test(replaced_with_its_wal),
  };
  int rc = cmocka_run_group_tests(tests, fault_setup, fault_teardown);
  if (rc == 0) puts("what cannot be opened, is damaged, deleted or replaced: the default VFS's codes and content");
  return rc;
}
