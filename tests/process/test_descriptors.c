/*
** test_descriptors.c - every descriptor is close-on-exec and none is 0, 1 or 2.
**
** A database or ring that gets descriptor 1 is overwritten by the next printf; so SQLite fills 0, 1 and 2 with
** /dev/null first. Rings and pipes of the VFS must keep the same rule, whenever they are made. The cases close 0, 1 and
** 2 at different moments in a child, work in every journal mode and look at all descriptors.
*/
#include "support.h"
#include <sys/mman.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct {
  bool done;
  int looks, rings, strangers;
  char message[1024];
} * shared;

static void complain(const char *when, int fd, const char *target, const char *what) {
  size_t used = strlen(shared->message);
  snprintf(shared->message + used, sizeof(shared->message) - used, "%s: fd %d -> %s: %s\n", when, fd, target, what);
}

static bool fdinfo_cloexec(int fd) {
  char path[64], line[256];
  unsigned flags = 0;
  snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
  FILE *f = fopen(path, "re");
  while (f != NULL && fgets(line, sizeof(line), f) != NULL) {
    if (strncmp(line, "flags:", 6) == 0) flags = (unsigned)strtoul(line + 6, NULL, 8);
  }
  if (f != NULL) fclose(f);
  return (flags & O_CLOEXEC) != 0;
}

/* Descriptors above 2 that were there before SQLite was used are none of ours. */
static int inherited[64], inherited_count;

static void remember_inherited(void) {
  inherited_count = 0;
  int n = fd_list(fd_now, 4096);
  for (int i = 0; i < n && i < 64; i++) {
    if (fd_now[i].fd > 2) inherited[inherited_count++] = fd_now[i].fd;
  }
}

static bool is_inherited(int fd) {
  for (int i = 0; i < inherited_count; i++) {
    if (inherited[i] == fd) return true;
  }
  return false;
}

/* low_closed: 0, 1 and 2 were closed, so whatever is there now was put there. */
static void look(const char *when, bool low_closed) {
  int n = fd_list(fd_now, 4096), rings = 0;
  shared->looks++;
  for (int i = 0; i < n; i++) {
    const int fd = fd_now[i].fd;
    const char *target = fd_now[i].target;
    rings += strstr(target, "[io_uring]") != NULL;
    if (fd <= 2) {
      if (low_closed && strcmp(target, "/dev/null") != 0) complain(when, fd, target, "taken");
      continue;
    }
    if (is_inherited(fd)) continue;
    shared->strangers++;
    if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0) complain(when, fd, target, "not close-on-exec");
    if (!fdinfo_cloexec(fd)) complain(when, fd, target, "not close-on-exec in fdinfo");
  }
  if (rings > shared->rings) shared->rings = rings;
}

static void close_low(void) {
  close(0);
  close(1);
  close(2);
}

typedef enum moment { NEVER, BEFORE_REGISTER, AFTER_REGISTER, AFTER_OPEN, AFTER_FIRST_READ, EVERYWHERE } moment;

static void work(const char *mode, moment when) {
  char name[64], text[256];
  bool low = false;
  if (when == BEFORE_REGISTER || when == EVERYWHERE) close_low(), low = true;
  support_sqlite();
  look("registered", low);
  if (when == AFTER_REGISTER || when == EVERYWHERE) close_low(), low = true;
  snprintf(name, sizeof(name), "fds-%s-%d.db", mode, (int)when);
  sqlite3 *db = NULL;
  int rc = db_open_rc(at(name), uring_vfs(), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db);
  look("opened", low);
  if (when == AFTER_OPEN || when == EVERYWHERE) close_low(), low = true;
  if (rc == SQLITE_OK) rc = sql_rc(db, "SELECT count(*) FROM sqlite_schema", NULL);
  look("read", low);
  if (when == AFTER_FIRST_READ || when == EVERYWHERE) close_low(), low = true;
  snprintf(text, sizeof(text),
           "PRAGMA journal_mode=%s; PRAGMA cache_size=5; PRAGMA temp_store=file; PRAGMA synchronous=%s", mode,
           when % 3 == 0 ? "full" : "off");
  if (rc == SQLITE_OK) rc = sql_rc(db, text, NULL);
  if (rc == SQLITE_OK) {
    rc = sql_rc(
        db,
        "CREATE TABLE t(a, b); WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<3000) INSERT INTO t "
        "SELECT i, randomblob(100) FROM c; BEGIN; UPDATE t SET b = randomblob(90); SAVEPOINT s; DELETE FROM t WHERE "
        "a % 3 = 1; CREATE TEMP TABLE x AS SELECT * FROM t ORDER BY b; CREATE INDEX temp.xb ON x(b)",
        NULL);
  }
  look("in a transaction", low);
  if (rc == SQLITE_OK)
    rc = sql_rc(db, "ROLLBACK TO s; COMMIT; CREATE INDEX tb ON t(b); VACUUM; PRAGMA integrity_check", NULL);
  look("worked", low);
  sqlite3 *second = NULL;
  if (rc == SQLITE_OK) rc = db_open_rc(at(name), uring_vfs(), SQLITE_OPEN_READWRITE, &second);
  if (rc == SQLITE_OK) rc = sql_rc(second, "SELECT sum(length(b)) FROM t", NULL);
  look("second connection", low);
  if (rc != SQLITE_OK) complain("SQL", rc, name, sqlite3_errmsg(db));
  sqlite3_close(second);
  sqlite3_close(db);
  look("closed", low);
}

static void test_descriptors(void **state) {
  (void)state;
  static const char *const modes[] = {"delete", "truncate", "persist", "wal"};
  int looks = 0, strangers = 0, rings = 0;
  for (size_t m = 0; m < COUNT(modes); m++) {
    for (int when = NEVER; when <= EVERYWHERE; when++) {
      memset(shared, 0, sizeof(*shared));
      fflush(NULL);
      pid_t pid = fork(); /* SQLite is used in children only */
      if (pid == 0) {
        remember_inherited();
        work(modes[m], (moment)when);
        shared->done = true;
        _exit(0);
      }
      int status;
      assert_int_equal(waitpid(pid, &status, 0), pid);
      if (!shared->done || status != 0) fail_msg("the child ended with 0x%x: %s", status, shared->message);
      if (shared->message[0] != 0) fail_msg("%s, closed at moment %d:\n%s", modes[m], when, shared->message);
      looks += shared->looks;
      strangers += shared->strangers;
      if (shared->rings > rings) rings = shared->rings;
    }
  }
  printf("%d looks at %d descriptors, %d rings\n", looks, strangers, rings);
  assert_true(strangers > 100);
  if (vfs_is_uring && ring_works) assert_true(rings > 0);
}

int main(void) {
  shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  support_directory();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_descriptors)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
