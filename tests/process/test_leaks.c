/*
** test_leaks.c - connections opened and closed in a loop leave nothing behind: no descriptor, no ring, no memory.
**
** Rings go to a pool of the process until the last database is closed. What is tested is that then none is left, and
** that nothing else grows with the number of connections. Under valgrind (make check-valgrind) the rounds are fewer.
*/
#include "support.h"
#include <malloc.h>

#define CONNECTIONS 64

static long long rings_created(void) {
  sqlite3 *db = db_open(at("stats.db"), uring_vfs());
  long long n = stat_value(db, "rings");
  db_close(db);
  return n;
}

static void use(sqlite3 *db, int i) {
  char text[256];
  snprintf(text, sizeof(text), "CREATE TABLE IF NOT EXISTS t(a, b); INSERT INTO t VALUES(%d, randomblob(5000))", i);
  sql(db, text);
  sql(db,
      "SELECT sum(length(b)) FROM t; BEGIN; UPDATE t SET b = randomblob(3000); ROLLBACK; DELETE FROM t WHERE a < 0");
}

/*
** Bytes the program has allocated. mallinfo2 counts what this thread's cache holds (up to seven blocks of each size up
** to 1 KiB, so the plain figure drifts); taking all of these first makes it exact.
*/
static size_t heap_used(void) {
  static void *held[128 * 8];
  size_t count = 0, held_bytes = 0;
  for (size_t size = 24; size <= 1032 + 16; size += 16) {
    for (int i = 0; i < 8; i++) {
      void *p = malloc(size);
      if (p == NULL) continue;
      held[count++] = p;
      held_bytes += malloc_usable_size(p) + sizeof(size_t);
    }
  }
  size_t used = mallinfo2().uordblks;
  for (size_t i = 0; i < count; i++) free(held[i]);
  return used > held_bytes ? used - held_bytes : 0;
}

/* 64 connections, each used, closed at once or all at the end, on few or many databases, in all journal modes. */
static void round_of_connections(void) {
  static const char *const modes[] = {"wal", "delete", "truncate", "persist", "memory", "off"};
  sqlite3 *db[CONNECTIONS];
  char name[64], text[128];
  for (int i = 0; i < CONNECTIONS; i++) { /* one after another */
    const char *mode = modes[i % 6];
    snprintf(name, sizeof(name), "one-%s-%d.db", mode, i % 12);
    db[0] = db_open(at(name), uring_vfs());
    snprintf(text, sizeof(text), "PRAGMA journal_mode=%s; PRAGMA synchronous=%s", mode, i % 8 == 0 ? "full" : "off");
    sql(db[0], text);
    use(db[0], i);
    db_close(db[0]);
  }
  for (int i = 0; i < CONNECTIONS; i++) { /* all open at once: 8 databases in WAL mode */
    snprintf(name, sizeof(name), "many-%d.db", i % 8);
    db[i] = db_open(at(name), uring_vfs());
    sql(db[i], i % 8 == 0 ? "PRAGMA journal_mode=wal" : "PRAGMA journal_mode=wal; PRAGMA synchronous=off");
    use(db[i], i);
  }
  for (int i = 0; i < CONNECTIONS; i++) db_close(db[i]);
  for (int i = 0; i < CONNECTIONS; i++) { /* failures leave nothing either */
    sqlite3 *none = NULL;
    assert_int_not_equal(db_open_rc(at("missing-directory/x.db"), uring_vfs(), SQLITE_OPEN_READWRITE, &none),
                         SQLITE_OK);
    sqlite3_close(none);
    if (vfs_is_uring) {
      snprintf(text, sizeof(text), "file:%s?vfs=uring&uring_backend=wrong", at("one-wal-0.db"));
      none = NULL;
      assert_int_not_equal(sqlite3_open_v2(text, &none, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL), SQLITE_OK);
      sqlite3_close(none);
    }
  }
}

static void remove_databases(void) {
  DIR *dir = opendir(work_dir);
  for (struct dirent *e; dir != NULL && (e = readdir(dir)) != NULL;) {
    if (e->d_name[0] != '.') unlink(at(e->d_name));
  }
  if (dir != NULL) closedir(dir);
}

static void test_no_descriptor_ring_or_memory_leaks(void **state) {
  (void)state;
  int rounds = getenv("LEAK_ROUNDS") != NULL ? atoi(getenv("LEAK_ROUNDS")) : 8;
  int descriptors = 0;
  long long created = 0, memory = 0;
  size_t heap = 0;
  for (int i = 0; i < rounds; i++) {
    round_of_connections();
    created = rings_created();
    remove_databases();
    int descriptors_now = fd_count();
    long long memory_now = sqlite3_memory_used();
    size_t heap_now = heap_used();
    if (i < 2) { /* pools, caches and lazily made things are there after the second round */
      descriptors = descriptors_now;
      memory = memory_now;
      heap = heap_now;
      continue;
    }
    if (descriptors_now != descriptors || ring_count() > 0) fd_print();
    assert_int_equal(descriptors_now, descriptors);
    assert_int_equal(ring_count(), 0); /* the last one to close takes them along */
    assert_int_equal(memory_now, memory);
    /* One object of 16 bytes leaked per connection would be 2 KiB in each round. The figure moves up and down by as
    ** much, with the default VFS too, but not in each round. */
    if (heap_now > heap + (size_t)(i + 1) * 1024)
      fail_msg("the heap grew from %zu to %zu bytes in round %d", heap, heap_now, i);
  }
  printf("%d rounds of %d connections: %d descriptors, %lld rings ever made, %lld bytes of SQLite, heap %zu\n", rounds,
         2 * CONNECTIONS, descriptors, created, memory, heap);
  if (ring_works) assert_true(created > 0);
}

/* With no database open, no file and no ring is. */
static void test_nothing_is_open_when_all_is_closed(void **state) {
  (void)state;
  int n = fd_list(fd_now, 4096);
  for (int i = 0; i < n; i++) {
    if (strstr(fd_now[i].target, work_dir) != NULL) fail_msg("fd %d is still open: %s", fd_now[i].fd, fd_now[i].target);
  }
  for (int i = 0; i < n; i++)
    if (strstr(fd_now[i].target, "[io_uring]") != NULL) fail_msg("fd %d is a ring", fd_now[i].fd);
}

int main(void) {
  mallopt(M_MXFAST, 0); /* no fastbins: see heap_used */
  support_start();
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_no_descriptor_ring_or_memory_leaks),
      cmocka_unit_test(test_nothing_is_open_when_all_is_closed),
  };
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
