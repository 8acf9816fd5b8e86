/*
** test_overrides.c - system calls that somebody else has put in the place of SQLite's (xSetSystemCall).
**
** A program that encrypts, simulates faults or emulates files does so. While such a call is in place no ring is used,
** and the call sees what it sees on the default VFS. When it is gone, rings are used again for files whose descriptor
** is known.
*/
#include "support_child.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rt.h"
#include "uringvfs.h"

/* ---- the calls ---- */

typedef enum call {
  OPEN,
  CLOSE,
  FSTAT,
  READ,
  PREAD,
  PREAD64,
  WRITE,
  PWRITE,
  PWRITE64,
  FTRUNCATE,
  FALLOCATE,
  MMAP,
  CALLS
} call;

static const char *const names[CALLS] = {"open",  "close",  "fstat",    "read",      "pread",     "pread64",
                                         "write", "pwrite", "pwrite64", "ftruncate", "fallocate", "mmap"};

static struct { long long calls, bytes; } seen[CALLS];
static sqlite3_syscall_ptr below[CALLS];
static bool encrypts;

#define BELOW(which, type) ((type)below[which])

static void see(call c, ssize_t bytes) {
  seen[c].calls++;
  if (bytes > 0) seen[c].bytes += bytes;
}

static ssize_t decrypted(void *data, ssize_t n) {
  for (ssize_t i = 0; encrypts && i < n; i++) ((char *)data)[i] ^= 0x5a;
  return n;
}

/* For one write. */
static void *encrypted(const void *data, size_t n) {
  char *copy = malloc(n + 1);
  if (!copy) abort();
  memcpy(copy, data, n);
  (void)decrypted(copy, (ssize_t)n);
  return copy;
}

static int my_open(const char *path, int flags, int mode) {
  see(OPEN, 0);
  return BELOW(OPEN, int (*)(const char *, int, int))(path, flags, mode);
}

static int my_close(int fd) {
  see(CLOSE, 0);
  return BELOW(CLOSE, int (*)(int))(fd);
}

static int my_fstat(int fd, struct stat *st) {
  see(FSTAT, 0);
  return BELOW(FSTAT, int (*)(int, struct stat *))(fd, st);
}

static ssize_t my_read(int fd, void *data, size_t n) {
  const ssize_t got = BELOW(READ, ssize_t(*)(int, void *, size_t))(fd, data, n);
  see(READ, got);
  return decrypted(data, got);
}

static ssize_t my_pread(int fd, void *data, size_t n, off_t at) {
  const ssize_t got = BELOW(PREAD, ssize_t(*)(int, void *, size_t, off_t))(fd, data, n, at);
  see(PREAD, got);
  return decrypted(data, got);
}

static ssize_t my_pread64(int fd, void *data, size_t n, off64_t at) {
  const ssize_t got = BELOW(PREAD64, ssize_t(*)(int, void *, size_t, off64_t))(fd, data, n, at);
  see(PREAD64, got);
  return decrypted(data, got);
}

static ssize_t my_write(int fd, const void *data, size_t n) {
  void *copy = encrypted(data, n);
  const ssize_t done = BELOW(WRITE, ssize_t(*)(int, const void *, size_t))(fd, copy, n);
  free(copy);
  see(WRITE, done);
  return done;
}

static ssize_t my_pwrite(int fd, const void *data, size_t n, off_t at) {
  void *copy = encrypted(data, n);
  const ssize_t done = BELOW(PWRITE, ssize_t(*)(int, const void *, size_t, off_t))(fd, copy, n, at);
  free(copy);
  see(PWRITE, done);
  return done;
}

static ssize_t my_pwrite64(int fd, const void *data, size_t n, off64_t at) {
  void *copy = encrypted(data, n);
  const ssize_t done = BELOW(PWRITE64, ssize_t(*)(int, const void *, size_t, off64_t))(fd, copy, n, at);
  free(copy);
  see(PWRITE64, done);
  return done;
}

static int my_ftruncate(int fd, off_t size) {
  see(FTRUNCATE, 0);
  return BELOW(FTRUNCATE, int (*)(int, off_t))(fd, size);
}

static int my_fallocate(int fd, off_t at, off_t n) {
  see(FALLOCATE, 0);
  return BELOW(FALLOCATE, int (*)(int, off_t, off_t))(fd, at, n);
}

static void *my_mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset) {
  see(MMAP, 0);
  return BELOW(MMAP, void *(*)(void *, size_t, int, int, int, off_t))(at, n, protection, flags, fd, offset);
}

#define CALL(function) ((sqlite3_syscall_ptr)(function))

static const sqlite3_syscall_ptr mine[CALLS] = {
    CALL(my_open),  CALL(my_close),  CALL(my_fstat),    CALL(my_read),      CALL(my_pread),     CALL(my_pread64),
    CALL(my_write), CALL(my_pwrite), CALL(my_pwrite64), CALL(my_ftruncate), CALL(my_fallocate), CALL(my_mmap)};

static sqlite3_vfs *unix_vfs(void) { return sqlite3_vfs_find("unix"); }

/* NULL: this SQLite does without it, and never calls what is put there. */
static void install(call c) {
  below[c] = unix_vfs()->xGetSystemCall(unix_vfs(), names[c]);
  CHECK_INT(unix_vfs()->xSetSystemCall(unix_vfs(), names[c], mine[c]), SQLITE_OK);
}

static void take_out(call c, bool to_default) {
  /* NULL means SQLite's own, and there is none to go back to. */
  CHECK_INT(unix_vfs()->xSetSystemCall(unix_vfs(), names[c], to_default ? NULL : below[c]), SQLITE_OK);
}

/* ---- rings are off, and the call sees the same ---- */

typedef enum moment { BEFORE_REGISTERING, AFTER_REGISTERING, AFTER_OPENING, MOMENTS } moment;

typedef struct scenario {
  call call;
  moment moment;
  bool to_default; /* taken out by putting SQLite's own back */
  const char *parameters;
  bool uring;
} scenario;

static bool rings;

static void prepare(const void *arg) {
  (void)arg;
  begin();
  sqlite3 *db = db_open("a.db", "vfs=unix");
  db_exec(db, "PRAGMA synchronous=off; PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, v); WITH "
              "RECURSIVE c(x) AS (SELECT 1 "
              "UNION ALL SELECT "
              "x+1 FROM c WHERE x<300) INSERT INTO t SELECT x, hex(zeroblob(500)) FROM c");
  db_close(db);
}

static void read_and_write(sqlite3 *db) {
  int chunk = 1 << 18;
  db_exec(db,
          "PRAGMA synchronous=off; PRAGMA cache_size=20; SELECT count(v) FROM t; UPDATE t SET v=v||'x' WHERE id%7=0");
  CHECK_INT(sqlite3_file_control(db, "main", SQLITE_FCNTL_CHUNK_SIZE, &chunk), SQLITE_OK);
  db_exec(db, "INSERT INTO t(v) VALUES(zeroblob(400000)); PRAGMA wal_checkpoint(TRUNCATE)");
  db_exec(db, "PRAGMA mmap_size=1000000; SELECT count(v) FROM t; PRAGMA mmap_size=0; SELECT sum(length(v)) FROM t");
  db_exec(db, "DELETE FROM t WHERE id>300; PRAGMA wal_checkpoint(TRUNCATE); VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
  CHECK_INT(db_int(db, "SELECT count(*) FROM t"), 300);
}

static uint64_t ring_operations(const rt_stats *s) {
  uint64_t n = 0;
  for (int k = 0; k < RT_KIND_COUNT; k++) n += s->ops[k] - s->inline_ops[k];
  return n;
}

static bool rings_are_used_by(sqlite3 *db) {
  rt_stats before, after;
  rt_stats_read(&before);
  read_and_write(db);
  rt_stats_read(&after);
  return after.enters != before.enters;
}

static bool of_descriptors(call c) { return c == OPEN || c == FSTAT; }

/* Whoever takes out `open` or `fstat` so that ours goes, too, or puts in its place what stood there before ours,
** ends our knowledge. */
static bool can_be_known_again(const scenario *c) {
  if (!of_descriptors(c->call)) return true;
  return c->moment != BEFORE_REGISTERING && !c->to_default;
}

/* Whether the file was opened while its descriptor could be seen is another matter than what is in place now. */
static void check_rings_again(const scenario *c, sqlite3 *db) {
  /* What this SQLite does without cannot be taken out again: os_unix.c remembers the first one that is put in as
  ** its own. */
  if (below[c->call] == NULL) return;
  const bool opened_unseen = of_descriptors(c->call) && c->moment != AFTER_OPENING;
  take_out(c->call, c->to_default);
  if (rings && !of_descriptors(c->call) && !rings_are_used_by(db))
    give_up(__FILE__, __LINE__, "no ring is used after it is gone");
  if (opened_unseen && rings_are_used_by(db))
    give_up(__FILE__, __LINE__, "a ring is used for a descriptor that was not seen");
  db_close(db);
  db = db_open("a.db", c->parameters);
  CHECK_INT(rings_are_used_by(db), rings && can_be_known_again(c));
  db_close(db);
}

static void override(const void *arg) {
  const scenario *c = arg;
  rt_stats before, after;
  begin();
  if (c->moment == BEFORE_REGISTERING) install(c->call);
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
  if (c->moment == AFTER_REGISTERING) install(c->call);
  memset(seen, 0, sizeof seen);
  sqlite3 *db = db_open("a.db", c->parameters);
  if (c->moment == AFTER_OPENING) {
    CHECK_INT(rings_are_used_by(db), rings && c->uring);
    install(c->call);
    memset(seen, 0, sizeof seen);
  }
  rt_stats_read(&before);
  read_and_write(db);
  rt_stats_read(&after);
  say("%s %lld %lld", names[c->call], seen[c->call].calls, seen[c->call].bytes);
  if (!c->uring) return;
  CHECK_INT(after.enters, before.enters);
  CHECK_INT(after.rings, before.rings);
  CHECK_INT(ring_operations(&after), ring_operations(&before));
  check_rings_again(c, db);
}

static child_result with(scenario c, const char *parameters, bool uring) {
  child_empty_directory();
  child_passes(prepare, NULL, "preparing");
  c.parameters = parameters;
  c.uring = uring;
  return child_run(override, &c);
}

/*
** Reading ahead makes other reads, and looks at the size of the file; writes may come in other pieces, of the same
** bytes; of all else there are as many calls.
*/
static void compare_seen(const scenario *c, const char *what, const char *of_unix, const char *of_uring) {
  long long calls[2], bytes[2];
  assert_int_equal(sscanf(of_unix, "%*s %lld %lld", &calls[0], &bytes[0]), 2);
  assert_int_equal(sscanf(of_uring, "%*s %lld %lld", &calls[1], &bytes[1]), 2);
  const bool reads = c->call == FSTAT || c->call == READ || c->call == PREAD || c->call == PREAD64;
  const bool writes = c->call == WRITE || c->call == PWRITE || c->call == PWRITE64;
  if (reads ? (calls[0] > 0) != (calls[1] > 0) : writes ? bytes[0] != bytes[1] : calls[0] != calls[1])
    fail_msg("%s: seen on the default VFS: %s, on uring: %s", what, of_unix, of_uring);
}

static void no_ring_while_in_place(moment m) {
  unsigned called = 0;
  rings = child_rings_available();
  for (call c = 0; c < CALLS; c++) {
    for (int to_default = 0; to_default < 2; to_default++) {
      const scenario s = {.call = c, .moment = m, .to_default = to_default != 0};
      char what[128];
      snprintf(what, sizeof what, "%s, moment %d, taken out %s", names[c], (int)m,
               to_default ? "by NULL" : "by what it stood over");
      const child_result of_unix = with(s, "vfs=unix", false);
      const child_result of_uring = with(s, rings ? "vfs=uring&uring_backend=uring" : "vfs=uring", true);
      if (of_unix.status != 0 || of_uring.status != 0)
        fail_msg("%s: status %#x, %#x\n%s%s", what, (unsigned)of_unix.status, (unsigned)of_uring.status, of_unix.report,
                 of_uring.report);
      compare_seen(&s, what, of_unix.report, of_uring.report);
      called += strstr(of_unix.report, " 0 0\n") == NULL;
      free(of_unix.report);
      free(of_uring.report);
    }
  }
  /* open, close, fstat, ftruncate, fallocate, mmap, one of each three for reading and for writing */
  assert_true(called >= 2 * 7);
}

static void before_registering(void **state) {
  (void)state;
  no_ring_while_in_place(BEFORE_REGISTERING);
}

static void after_registering(void **state) {
  (void)state;
  no_ring_while_in_place(AFTER_REGISTERING);
}

static void after_opening(void **state) {
  (void)state;
  no_ring_while_in_place(AFTER_OPENING);
}

/* ---- a program that encrypts what is read and written ---- */

#define PLAIN "PLAINTEXT-4111-1111"

static void install_encryption(void) {
  encrypts = true;
  for (call c = READ; c <= PWRITE64; c++)
    if (unix_vfs()->xGetSystemCall(unix_vfs(), names[c]) != NULL) install(c);
}

static void write_encrypted(const void *arg) {
  const scenario *c = arg;
  begin();
  if (c->moment == BEFORE_REGISTERING) install_encryption();
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
  if (c->moment == AFTER_REGISTERING) install_encryption();
  sqlite3 *db = db_open("a.db", c->parameters);
  if (c->moment == AFTER_OPENING) install_encryption();
  db_exec(db, "PRAGMA synchronous=off; PRAGMA journal_mode=wal; CREATE TABLE t(id INTEGER PRIMARY KEY, v); WITH "
              "RECURSIVE c(x) AS (SELECT 1 "
              "UNION ALL SELECT x+1 FROM c "
              "WHERE x<1000) INSERT INTO t(v) SELECT '" PLAIN "'||hex(zeroblob(300)) FROM c; PRAGMA wal_checkpoint");
  db_exec(db, "UPDATE t SET v=v||'y' WHERE id%2; PRAGMA cache_size=10; SELECT count(v) FROM t");
  die();
}

static void read_encrypted(const void *arg) {
  const scenario *c = arg;
  begin();
  if (file_has("a.db", PLAIN) || file_has("a.db-wal", PLAIN)) give_up(__FILE__, __LINE__, "plain text in a file");
  install_encryption();
  CHECK_INT(uringvfs_register(0), SQLITE_OK);
  for (int i = 0; i < 2; i++) {
    sqlite3 *db = db_open("a.db", i ? "vfs=unix" : c->parameters);
    CHECK_INT(db_int(db, "SELECT count(*) FROM t WHERE v LIKE '%" PLAIN "%'"), 1000);
    CHECK(strcmp(db_text(db, "PRAGMA integrity_check"), "ok") == 0);
    db_close(db);
  }
}

static void encryption(void **state) {
  static const char *const parameters[] = {"vfs=uring", "vfs=uring&uring_backend=uring"};
  (void)state;
  rings = child_rings_available();
  for (int p = 0; p < (rings ? 2 : 1); p++) {
    for (moment m = 0; m < MOMENTS; m++) {
      const scenario c = {.moment = m, .parameters = parameters[p]};
      char what[64];
      snprintf(what, sizeof what, "encryption, moment %d, %s", (int)m, parameters[p]);
      child_empty_directory();
      child_is_killed(write_encrypted, &c, what);
      child_passes(read_encrypted, &c, what);
    }
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(before_registering),
      cmocka_unit_test(after_registering),
      cmocka_unit_test(after_opening),
      cmocka_unit_test(encryption),
  };
  return cmocka_run_group_tests(tests, child_setup, child_teardown);
}
