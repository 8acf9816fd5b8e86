/*
** Trap 32: nothing is in flight when a VFS method returns. Requests left behind make the host's epoll_wait return
** EINTR, are cancelled when the thread that submitted them ends, and keep writing into buffers that were given back.
*/
#include "support_db.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static const char *const ways[] = {URING_AUTO, URING_RING};

static bool skip_way(const char *way) { return strstr(way, "backend=uring") && !ring_available(); }

static const char *const statements[] = {
    "INSERT INTO t VALUES(randomblob(10))",
    "INSERT INTO t VALUES(randomblob(900000))",
    "BEGIN; INSERT INTO t VALUES(randomblob(3000000))",
    "ROLLBACK",
    "BEGIN; INSERT INTO t VALUES(randomblob(3000000)); COMMIT",
    "PRAGMA wal_checkpoint(PASSIVE)",
    "SELECT sum(length(x)) FROM t",
    "DELETE FROM t WHERE rowid>3",
};

static void epoll_is_not_interrupted(void **state) {
  static const char *const modes[] = {"wal", "delete"};
  (void)state;
  int ep = epoll_create1(EPOLL_CLOEXEC);
  assert_true(ep >= 0);
  /* Rings go with the last database, and the kernel tells each thread that has used one. This one stays open. */
  sqlite3 *kept = db_open("kept.db", URING_AUTO);
  for (int w = 0; w < 2; w++)
    for (int m = 0; m < 2; m++) {
      if (skip_way(ways[w])) continue;
      support_reset(NULL);
      sqlite3 *db = db_open("t.db", ways[w]);
      db_execf(db, "PRAGMA journal_mode=%s; PRAGMA synchronous=FULL; PRAGMA cache_size=20; CREATE TABLE t(x)",
               modes[m]);
      for (int round = 0; round < 3; round++)
        for (size_t s = 0; s < sizeof statements / sizeof *statements; s++) {
          struct epoll_event event;
          db_exec(db, statements[s]);
          errno = 0;
          int n = epoll_wait(ep, &event, 1, 15);
          if (n != 0) fail_msg("epoll_wait after '%s': %d %s", statements[s], n, strerror(errno));
        }
      db_close(db);
    }
  db_close(kept);
  close(ep);
}

struct turn {
  sqlite3 *db;
  int i, rc;
};

static void *one_turn(void *arg) {
  struct turn *t = arg;
  t->rc = db_try(t->db, statements[(size_t)t->i % (sizeof statements / sizeof *statements)]);
  return NULL; /* the thread ends: whatever it left in flight would be cancelled */
}

static void threads_that_end(void **state) {
  (void)state;
  for (int w = 0; w < 2; w++) {
    if (skip_way(ways[w])) continue;
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", ways[w]);
    db_exec(db, "PRAGMA journal_mode=wal; PRAGMA synchronous=FULL; PRAGMA cache_size=20; CREATE TABLE t(x)");
    sqlite3_int64 redone = db_stat(db, "redone");
    for (int i = 0; i < 64; i++) {
      struct turn turn = {db, i, -1};
      pthread_t thread;
      assert_int_equal(pthread_create(&thread, NULL, one_turn, &turn), 0);
      pthread_join(thread, NULL);
      if (turn.rc != SQLITE_OK) fail_msg("'%s' on its own thread: %d", statements[i % 8], turn.rc);
    }
    assert_int_equal(db_stat(db, "redone"), redone);
    db_check(db);
    db_close(db);
  }
}

/* SQLite frees or reuses a page buffer as soon as xRead and xWrite have returned: what comes later would show in it. */
static void buffers_are_left_alone(void **state) {
  (void)state;
  for (int w = 0; w < 2; w++) {
    if (skip_way(ways[w])) continue;
    support_reset(NULL);
    sqlite3 *db = db_open("t.db", ways[w]);
    db_exec(db, "CREATE TABLE t(x); INSERT INTO t VALUES(randomblob(400000))");
    sqlite3_file *f;
    assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &f), SQLITE_OK);
    unsigned char *page = malloc(65536), *again = malloc(65536);
    for (int i = 0; i < 200; i++) {
      int n = 4096 << (i % 5);
      sqlite3_int64 at = (i * 37 % 40) * 4096;
      assert_int_equal(f->pMethods->xRead(f, page, n, at), SQLITE_OK);
      memcpy(again, page, (size_t)n);
      memset(page, 0x5a, (size_t)n);
      usleep(200);
      for (int b = 0; b < n; b++) assert_int_equal(page[b], 0x5a);
      assert_int_equal(f->pMethods->xRead(f, page, n, at), SQLITE_OK);
      assert_memory_equal(page, again, n);
    }
    free(page);
    free(again);
    db_close(db);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup(epoll_is_not_interrupted, support_reset),
      cmocka_unit_test_setup(threads_that_end, support_reset),
      cmocka_unit_test_setup(buffers_are_left_alone, support_reset),
  };
  int rc = cmocka_run_group_tests(tests, support_setup, support_teardown);
  if (rc == 0) puts("trap 32: nothing is in flight when a method returns");
  return rc;
}
