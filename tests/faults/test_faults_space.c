/*
** No space: a small tmpfs, a small ext4 (tmpfs never takes the ring by itself), and RLIMIT_FSIZE with SIGXFSZ ignored
** and not. The same code as the default VFS, earlier commits intact, the next transaction works when space is back.
*/
#include "support_faults.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROWS  "SELECT count(*)*1000000+sum(length(pad)) FROM t"
#define SMALL "INSERT INTO t(pad) VALUES(zeroblob(100))"
#define LARGE                                                                                                          \
  "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<150) INSERT INTO t(pad) SELECT "              \
  "randomblob(3000) FROM n"
#define HUGE                                                                                                           \
  "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<700) INSERT INTO t(pad) SELECT "              \
  "randomblob(3000) FROM n"

static const char *const settings[] = {
    "PRAGMA journal_mode=wal; PRAGMA synchronous=FULL",
    "PRAGMA journal_mode=wal; PRAGMA synchronous=NORMAL",
    "PRAGMA journal_mode=wal; PRAGMA synchronous=OFF; PRAGMA cache_size=20",
    "PRAGMA journal_mode=delete; PRAGMA synchronous=FULL",
    "PRAGMA journal_mode=truncate; PRAGMA synchronous=OFF; PRAGMA cache_size=20",
    "PRAGMA journal_mode=persist; PRAGMA synchronous=NORMAL",
    "PRAGMA journal_mode=wal; PRAGMA locking_mode=exclusive; PRAGMA synchronous=FULL",
};
#define SETTINGS (sizeof settings / sizeof *settings)

static sqlite3 *start(fault_run *run, const char *setting) {
  sqlite3 *db = run_open(run, "t.db");
  run_quiet(run, db, setting);
  run_quiet(run, db, "PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB)");
  run_transaction(run, db, "small", SMALL);
  run_transaction(run, db, "large", LARGE);
  return db;
}

/* Fills the file system up to `leave` bytes. */
static void fill(fault_run *run, const char *name, off_t leave) {
  static char block[4096];
  int fd = open(run_path(run, name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  off_t size = 0;
  ssize_t n;
  memset(block, 'f', sizeof block);
  while ((n = write(fd, block, sizeof block)) > 0) size += n;
  if (leave && ftruncate(fd, size > leave ? size - leave : 0) != 0) note(run, "filling failed");
  fsync(fd);
  close(fd);
}

static void full(fault_run *run, void *arg) {
  const char *setting = arg;
  bool wal = strstr(setting, "wal") != NULL;
  sqlite3 *db = start(run, setting);
  fill(run, "filler", 100 * 1024);
  run_transaction(run, db, "huge, full", HUGE);
  run_transaction(run, db, "huge, full again", HUGE);
  run_int(run, db, ROWS);
  run_sql(run, db, "VACUUM");
  unlink(run_path(run, "filler"));
  run_transaction(run, db, "large, space again", LARGE);
  run_int(run, db, ROWS);
  if (wal) {
    /* the WAL has its space, the database file has none to grow */
    run_quiet(run, db, "PRAGMA wal_checkpoint(TRUNCATE)");
    run_transaction(run, db, "large", LARGE);
    fill(run, "filler", 0);
    run_sql(run, db, "PRAGMA wal_checkpoint(FULL)");
    run_int(run, db, ROWS);
    unlink(run_path(run, "filler"));
    run_sql(run, db, "PRAGMA wal_checkpoint(TRUNCATE)");
  }
  run_transaction(run, db, "small", SMALL);
  run_close(run, db);
  run_verify(run, "t.db", ROWS);
}

static void no_space_on(const char *at) {
  for (size_t i = 0; i < SETTINGS; i++)
    fault_compare(settings[i], at, full, (void *)settings[i], "huge, full -> 13 ", "write|t.db|offset");
}

static void tmpfs(void **state) {
  const char *why = NULL, *at = fault_mount_tmpfs("tmpfs", "size=3M,mode=777", &why);
  (void)state;
  if (!at) {
    fprintf(stderr, "left out: %s\n", why);
    skip();
  }
  no_space_on(at);
  fault_unmount(at);
}

static void ext4(void **state) {
  const char *why = NULL, *at = fault_mount_ext4("ext4", "4M", &why);
  (void)state;
  if (!at) {
    fprintf(stderr, "left out: %s\n", why);
    skip();
  }
  no_space_on(at);
  fault_unmount(at);
}

/* A limit on the size of files: EFBIG, and the signal where it is not ignored. */
static void limited(fault_run *run, void *arg) {
  const char *setting = arg;
  struct rlimit limit, before;
  signal(SIGXFSZ, SIG_IGN);
  sqlite3 *db = start(run, setting);
  getrlimit(RLIMIT_FSIZE, &before);
  limit = before;
  limit.rlim_cur = 1000000;
  setrlimit(RLIMIT_FSIZE, &limit);
  run_transaction(run, db, "huge, limited", HUGE);
  run_int(run, db, ROWS);
  run_transaction(run, db, "small, limited", SMALL);
  setrlimit(RLIMIT_FSIZE, &before);
  run_transaction(run, db, "large, no limit", LARGE);
  run_int(run, db, ROWS);
  run_close(run, db);
  run_verify(run, "t.db", ROWS);
}

static void file_size_limit(void **state) {
  (void)state;
  for (size_t i = 0; i < SETTINGS; i++)
    fault_compare(settings[i], NULL, limited, (void *)settings[i], "huge, limited -> 778", "write|t.db|offset|(27)");
}

static void killed(fault_run *run, void *arg) {
  struct rlimit limit = {1000000, RLIM_INFINITY}, no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  signal(SIGXFSZ, SIG_DFL);
  sqlite3 *db = start(run, arg);
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = 1000000;
  setrlimit(RLIMIT_FSIZE, &limit);
  run_transaction(run, db, "huge, limited", HUGE);
  run_close(run, db);
}

static void file_size_limit_kills(void **state) {
  (void)state;
  for (size_t i = 0; i < SETTINGS; i += 3) { /* 0: WAL, 3: DELETE, 6: exclusive */
    fault_result plain = fault_run_once(fault_ways[0], fault_dir(), killed, (void *)settings[i]);
    assert_true(WIFSIGNALED(plain.status) && WTERMSIG(plain.status) == SIGXFSZ);
    fault_result_free(&plain);
    fault_compare(settings[i], NULL, killed, (void *)settings[i], NULL, NULL);
  }
}

int main(int argc, char **argv) {
  if (argc > 1) cmocka_set_test_filter(argv[1]); /* one test by name, or by a pattern with * */
  const char *why = fault_namespace();
  if (why) fprintf(stderr, "no mounts: %s\n", why);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(tmpfs),
      cmocka_unit_test(ext4),
      cmocka_unit_test(file_size_limit),
      cmocka_unit_test(file_size_limit_kills),
  };
  int rc = cmocka_run_group_tests(tests, fault_setup, fault_teardown);
  if (rc == 0)
    puts("no space (tmpfs, ext4, file size limit): SQLITE_FULL as the default VFS, and it goes on when space is back");
  return rc;
}
