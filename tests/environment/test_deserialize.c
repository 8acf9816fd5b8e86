/*
** test_deserialize.c - sqlite3_serialize and sqlite3_deserialize on connections that were opened through uring.
**
** sqlite3_serialize reads the database through the VFS. sqlite3_deserialize puts a database in memory (SQLite's
** "memdb") in the place of an open one, which is closed by that: from then on nothing of it may go to the file, and the
** file must be as it was.
*/
#include "support.h"

static void serialize_noted(sqlite3 *db, const char *schema, unsigned char **data, sqlite3_int64 *bytes) {
  *bytes = -1;
  *data = sqlite3_serialize(db, schema, bytes, 0);
  note("serialize %s -> %lld bytes, %llx", schema, *bytes,
       *data == NULL ? 0ULL : (unsigned long long)hash_more(HASH_START, *data, (size_t)*bytes));
}

static void serialize_and_forget(sqlite3 *db, const char *schema) {
  unsigned char *data;
  sqlite3_int64 bytes;
  serialize_noted(db, schema, &data, &bytes);
  sqlite3_free(data);
  bytes = -1;
  note("without copying: %d, %lld bytes", sqlite3_serialize(db, schema, &bytes, SQLITE_SERIALIZE_NOCOPY) != NULL,
       bytes);
}

static void deserialize_noted(sqlite3 *db, const char *schema, const unsigned char *data, sqlite3_int64 bytes,
                              unsigned flags) {
  unsigned char *copy = NULL;
  if (bytes > 0) {
    copy = sqlite3_malloc64((sqlite3_uint64)bytes);
    must(copy != NULL);
    memcpy(copy, data, (size_t)bytes);
  }
  note("deserialize %s, flags %x -> %d", schema, flags,
       sqlite3_deserialize(db, schema, copy, bytes, bytes, flags | SQLITE_DESERIALIZE_FREEONCLOSE));
}

static void backup_noted(sqlite3 *to, sqlite3 *from) {
  sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
  const int step = backup == NULL ? -1 : sqlite3_backup_step(backup, -1);
  note("backup -> %d, %d", step, backup == NULL ? -1 : sqlite3_backup_finish(backup));
}

static void work_in_memory(sqlite3 *db) {
  say(db,
      "SELECT id, b FROM t; INSERT INTO t(b) VALUES(randomblob(20000)); UPDATE t SET b='m' WHERE id=2; SELECT id, b "
      "FROM t; "
      "PRAGMA journal_mode; PRAGMA uring_backend=sync; PRAGMA uring_stats; PRAGMA mmap_size; PRAGMA integrity_check");
}

static void work_with_images(const void *arg) {
  const char *journal_mode = arg;
  unsigned char *image;
  sqlite3_int64 bytes;
  start_sqlite();
  sqlite3 *db = open_noted("a.db", ANEW, NULL), *other = open_noted("a.db", ANEW, NULL);
  make_table(db, journal_mode);
  work_on_table(db);
  count_rings(db); /* later it has no statistics */
  say(db, "CREATE TEMP TABLE x AS SELECT * FROM t");
  serialize_and_forget(db, "main"); /* in WAL mode much of it is in the WAL */
  serialize_and_forget(db, "temp");
  say(db, "BEGIN; UPDATE t SET b=randomblob(2000)");
  serialize_and_forget(db, "main"); /* with what is not committed */
  serialize_and_forget(other, "main");
  say(db, "ROLLBACK");
  serialize_noted(db, "main", &image, &bytes);
  must(image != NULL);

  say(db, "BEGIN; SELECT count(*) FROM t");
  deserialize_noted(db, "main", image, bytes, SQLITE_DESERIALIZE_RESIZEABLE); /* whatever is going on */
  say(db, "COMMIT");
  /* An image in WAL mode cannot be opened in memory: bytes 18 and 19 say that it is one. */
  image[18] = image[19] = 1;
  deserialize_noted(db, "main", image, bytes, SQLITE_DESERIALIZE_RESIZEABLE);
  work_in_memory(db);
  work_on_table(other); /* the file is an ordinary database, and nobody else has it open */
  serialize_and_forget(db, "main");
  backup_noted(other, db); /* from memory into the file */
  say(other, "SELECT id, b FROM t; PRAGMA integrity_check");
  backup_noted(db, other);
  work_in_memory(db);

  say_with(other, "ATTACH ?1 AS b; CREATE TABLE b.t AS SELECT id, b FROM main.t; PRAGMA b.journal_mode=persist",
           uri_of("b.db", NULL));
  deserialize_noted(other, "b", image, bytes, SQLITE_DESERIALIZE_READONLY);
  say(other, "SELECT id, b FROM b.t; INSERT INTO b.t(b) VALUES(1); DETACH b");
  deserialize_noted(other, "none", image, bytes, 0);
  image[30] ^= 0xff, image[101] ^= 0xff; /* damaged */
  deserialize_noted(other, "main", image, bytes, 0);
  say(other, "SELECT id, b FROM t");
  sqlite3_free(image);
  close_noted(db);
  close_noted(other);
  note("rings left: %d", ring_count());
}

static void test_images(void **state) {
  (void)state;
  same_on_both("images, wal", work_with_images, "wal", RINGS_USED);
  same_on_both("images, delete", work_with_images, "delete", RINGS_USED);
}

int main(void) {
  environment_start();
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_images)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
