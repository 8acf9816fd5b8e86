/*
** test_api.c - what the shell cannot do: incremental blob I/O, stepwise backup of a database being written, serialize,
** interrupt, cache flushes inside transactions, WAL hooks, checkpoint results, file controls. One scenario runs on the
** default VFS and on uring with each backend, in every journal mode and page size; the transcripts and the database
** files must be equal.
*/

/* clang-format off: cmocka wants these before it */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uringvfs.h"

static const char *journals[] = {"wal", "delete", "truncate", "persist", "memory", "off"};
static const int page_sizes[] = {512, 4096, 65536};
static const char *synchronous[] = {"off", "normal", "full"};
static char dir[200];

struct scene {
  const char *params; /* of the URI: the VFS and its options */
  const char *journal;
  int page_size;
  const char *synchronous;
  FILE *out; /* the transcript */
};

/* A hash to keep transcripts short (FNV-1a). */
static uint64_t hash(uint64_t h, const void *data, size_t size) {
  const unsigned char *p = data;
  for (size_t i = 0; i < size; i++) h = (h ^ p[i]) * 0x100000001b3;
  return h;
}
#define HASH_START 0xcbf29ce484222325

static sqlite3 *open_db(struct scene *s, const char *name) {
  sqlite3 *db = NULL;
  char *uri = sqlite3_mprintf("file:%s/%s?%s", dir, name, s->params);
  int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  fprintf(s->out, "open %s %d\n", name, rc);
  sqlite3_free(uri);
  return db;
}

static int print_row(void *arg, int n, char **values, char **names) {
  (void)names;
  for (int i = 0; i < n; i++) fprintf(arg, "%s%c", values[i] ? values[i] : "", i + 1 < n ? '|' : '\n');
  return 0;
}

static void sql(struct scene *s, sqlite3 *db, const char *text) {
  char *message = NULL;
  int rc = sqlite3_exec(db, text, print_row, s->out, &message);
  if (rc != SQLITE_OK) fprintf(s->out, "error %d %s\n", sqlite3_extended_errcode(db), message);
  sqlite3_free(message);
}

static void modes(struct scene *s, sqlite3 *db) {
  char *text =
      sqlite3_mprintf("PRAGMA page_size=%d; PRAGMA journal_mode=%s; PRAGMA synchronous=%s; PRAGMA cache_size=10;",
                      s->page_size, s->journal, s->synchronous);
  sql(s, db, text);
  sqlite3_free(text);
}

static void blobs(struct scene *s, sqlite3 *db) {
  sql(s, db,
      "CREATE TABLE b(id INTEGER PRIMARY KEY, data BLOB, text TEXT);"
      "INSERT INTO b VALUES(1, zeroblob(300000), 'one'), (2, zeroblob(77), 'two'), (3, zeroblob(150000), 'three'), (4, "
      "NULL, NULL);");
  char chunk[3001];
  sqlite3_blob *blob = NULL;
  for (int id = 1; id <= 5; id++) {
    int rc = blob ? sqlite3_blob_reopen(blob, id) : sqlite3_blob_open(db, "main", "b", "data", id, 1, &blob);
    fprintf(s->out, "blob %d: %d, %d bytes\n", id, rc, rc == SQLITE_OK ? sqlite3_blob_bytes(blob) : -1);
    if (rc != SQLITE_OK) continue;
    /* Backwards and with gaps: overflow chains are walked again from every point. */
    for (int at = sqlite3_blob_bytes(blob) - 3001; at >= 0; at -= 2 * 3001) {
      memset(chunk, 'a' + at % 26, sizeof chunk);
      if ((rc = sqlite3_blob_write(blob, chunk, sizeof chunk, at)) != SQLITE_OK)
        fprintf(s->out, "write at %d: %d\n", at, rc);
    }
    fprintf(s->out, "beyond the end: %d\n",
            sqlite3_blob_write(blob, chunk, sizeof chunk, sqlite3_blob_bytes(blob) - 10));
  }
  sqlite3_blob_close(blob);
  blob = NULL;
  if (strcmp(s->journal, "off") != 0) {
    sql(s, db, "BEGIN");
    sqlite3_blob_open(db, "main", "b", "data", 3, 1, &blob);
    memset(chunk, 'R', sizeof chunk);
    for (int at = 0; at + 3001 < 150000; at += 3001) sqlite3_blob_write(blob, chunk, sizeof chunk, at);
    sqlite3_blob_close(blob);
    blob = NULL;
    sql(s, db, "ROLLBACK");
  }
  fprintf(s->out, "open read-only %d\n", sqlite3_blob_open(db, "main", "b", "data", 1, 0, &blob));
  uint64_t h = HASH_START;
  for (int at = 0; at < 300000; at += 1000) {
    int rc = sqlite3_blob_read(blob, chunk, 1000, at);
    if (rc != SQLITE_OK) fprintf(s->out, "read at %d: %d\n", at, rc);
    h = hash(h, chunk, 1000);
  }
  fprintf(s->out, "blob %016llx, write on it %d\n", (unsigned long long)h, sqlite3_blob_write(blob, chunk, 10, 0));
  sql(s, db, "UPDATE b SET data = zeroblob(10) WHERE id = 1");
  fprintf(s->out, "after an update: %d", sqlite3_blob_read(blob, chunk, 1, 0));
  fprintf(s->out, ", %d\n", sqlite3_blob_close(blob));
  sql(s, db, "SELECT id, length(data), hex(substr(data, 70000, 4)), text FROM b");
}

/* Five pages at a time, while another connection and the source's own write. */
static void backup(struct scene *s, sqlite3 *db) {
  sqlite3 *copy = open_db(s, "copy.db"), *other = open_db(s, "main.db");
  sql(s, copy,
      "PRAGMA journal_mode=delete; PRAGMA synchronous=off; CREATE TABLE old(x); INSERT INTO old "
      "VALUES(zeroblob(100000));");
  sqlite3_backup *b = sqlite3_backup_init(copy, "main", db, "main");
  assert_non_null(b);
  for (int step = 0, rc = SQLITE_OK; rc == SQLITE_OK && step < 10000; step++) {
    rc = sqlite3_backup_step(b, s->page_size == 512 ? 150 : s->page_size == 4096 ? 30 : 3);
    fprintf(s->out, "step %d: %d, %d of %d\n", step, rc, sqlite3_backup_remaining(b), sqlite3_backup_pagecount(b));
    if (step == 1) sql(s, db, "INSERT INTO b VALUES(20, zeroblob(9000), 'own')");
    if (step == 2) sql(s, other, "INSERT INTO b VALUES(21, zeroblob(9000), 'other')");
  }
  fprintf(s->out, "finish %d\n", sqlite3_backup_finish(b));
  sql(s, copy, "SELECT count(*), sum(length(data)) FROM b; PRAGMA integrity_check; PRAGMA page_size;");
  fprintf(s->out, "close %d %d\n", sqlite3_close(other), sqlite3_close(copy));
}

static void serialize(struct scene *s, sqlite3 *db) {
  sqlite3_int64 size = 0;
  unsigned char *image = sqlite3_serialize(db, "main", &size, 0);
  assert_non_null(image);
  /* The change counter and version number of a WAL database may lag behind: bytes 24 to 27 and 92 to 99 are the
  ** pager's. */
  fprintf(s->out, "serialize %lld %016llx\n", (long long)size,
          (unsigned long long)hash(HASH_START, image, (size_t)size));
  sqlite3 *memory = NULL;
  sqlite3_open(":memory:", &memory);
  if (image[18] == 2) image[18] = image[19] = 1; /* a memory database has no WAL */
  fprintf(s->out, "deserialize %d\n",
          sqlite3_deserialize(memory, "main", image, size, size,
                              SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE));
  sql(s, memory, "INSERT INTO b(text) VALUES('in memory'); SELECT count(*) FROM b; PRAGMA integrity_check;");
  sqlite3_close(memory);
}

static int stop_after(void *arg) { return --*(int *)arg <= 0; }

static void interrupted(struct scene *s, sqlite3 *db) {
  sql(s, db,
      "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c "
      "WHERE i < 1000) INSERT INTO t SELECT i, printf('%0300d', i) FROM c;");
  if (strcmp(s->journal, "off") == 0) return;
  int ticks = 50;
  sqlite3_progress_handler(db, 100, stop_after, &ticks);
  sql(s, db, "UPDATE t SET v = v || 'x'");
  sqlite3_progress_handler(db, 0, NULL, NULL);
  sql(s, db, "SELECT count(*), sum(length(v)) FROM t");
  sql(s, db, "BEGIN; UPDATE t SET v = v || 'y' WHERE id % 7 = 0");
  fprintf(s->out, "flush %d\n", sqlite3_db_cacheflush(db));
  sql(s, db, "UPDATE t SET v = v || 'z' WHERE id % 14 = 0");
  fprintf(s->out, "flush %d, release %d\n", sqlite3_db_cacheflush(db), sqlite3_db_release_memory(db));
  sql(s, db, "SAVEPOINT a; DELETE FROM t WHERE id < 500");
  fprintf(s->out, "flush %d\n", sqlite3_db_cacheflush(db));
  sql(s, db, "ROLLBACK TO a; COMMIT; SELECT count(*), sum(length(v)) FROM t");
  sql(s, db, "BEGIN; DELETE FROM t");
  fprintf(s->out, "flush %d\n", sqlite3_db_cacheflush(db));
  sql(s, db, "ROLLBACK; SELECT count(*), sum(length(v)) FROM t");
}

/* A statement that reads while the same connection writes. */
static void read_while_writing(struct scene *s, sqlite3 *db) {
  sqlite3_stmt *rows = NULL;
  sqlite3_prepare_v2(db, "SELECT id FROM t WHERE id < 400 ORDER BY id", -1, &rows, NULL);
  long long sum = 0;
  for (int n = 0; sqlite3_step(rows) == SQLITE_ROW; n++) {
    sum = sum * 31 % 1000003 + sqlite3_column_int64(rows, 0);
    if (n % 50 == 0)
      sql(s, db, "UPDATE t SET v = v || v WHERE id = 390; DELETE FROM t WHERE id = (SELECT max(id) FROM t);");
  }
  fprintf(s->out, "rows %lld, %d\n", sum, sqlite3_finalize(rows));
}

static int wal_hook(void *arg, sqlite3 *db, const char *schema, int pages) {
  (void)db;
  fprintf(arg, "hook %s %d\n", schema, pages);
  return SQLITE_OK;
}

static void checkpoints(struct scene *s, sqlite3 *db) {
  sqlite3_wal_hook(db, wal_hook, s->out);
  sqlite3 *reader = open_db(s, "main.db");
  sql(s, db, "UPDATE t SET v = 'first' WHERE id < 100");
  sql(s, reader, "BEGIN; SELECT count(*) FROM t");
  sql(s, db, "UPDATE t SET v = 'second' WHERE id BETWEEN 50 AND 150; INSERT INTO t(v) VALUES(zeroblob(50000));");
  for (int mode = SQLITE_CHECKPOINT_PASSIVE; mode <= SQLITE_CHECKPOINT_TRUNCATE; mode++) {
    int frames = -2, done = -2, rc = sqlite3_wal_checkpoint_v2(db, NULL, mode, &frames, &done);
    fprintf(s->out, "checkpoint %d, reader in the way: %d %d %d\n", mode, rc, frames, done);
  }
  sql(s, reader, "SELECT count(*), max(v) FROM t; COMMIT");
  for (int mode = SQLITE_CHECKPOINT_PASSIVE; mode <= SQLITE_CHECKPOINT_TRUNCATE; mode++) {
    int frames = -2, done = -2, rc = sqlite3_wal_checkpoint_v2(db, NULL, mode, &frames, &done);
    fprintf(s->out, "checkpoint %d: %d %d %d\n", mode, rc, frames, done);
  }
  sql(s, reader, "SELECT count(*), max(v) FROM t");
  sqlite3_close(reader);
}

static void controls(struct scene *s, sqlite3 *db) {
  static const struct {
    const char *name;
    int op, in;
  } calls[] = {{"lockstate", SQLITE_FCNTL_LOCKSTATE, -1},
               {"last errno", SQLITE_FCNTL_LAST_ERRNO, -1},
               {"persist wal", SQLITE_FCNTL_PERSIST_WAL, -1},
               {"psow", SQLITE_FCNTL_POWERSAFE_OVERWRITE, -1},
               {"moved", SQLITE_FCNTL_HAS_MOVED, -1},
               {"chunk", SQLITE_FCNTL_CHUNK_SIZE, 1 << 20},
               {"reserve", SQLITE_FCNTL_RESERVE_BYTES, -1},
               {"external reader", SQLITE_FCNTL_EXTERNAL_READER, -1},
               {"unknown", 987654, 1}};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    int value = calls[i].in, rc = sqlite3_file_control(db, "main", calls[i].op, &value);
    fprintf(s->out, "%s: %d %d\n", calls[i].name, rc, value);
  }
  sqlite3_int64 hint = 3000000;
  fprintf(s->out, "size hint %d\n", sqlite3_file_control(db, "main", SQLITE_FCNTL_SIZE_HINT, &hint));
  sql(s, db, "CREATE TABLE grown(x); INSERT INTO grown VALUES(zeroblob(1500000));");
  sqlite3_file *file = NULL;
  sqlite3_int64 size = -1;
  sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
  int rc = file->pMethods->xFileSize(file, &size);
  fprintf(s->out, "file size %d %lld\n", rc, (long long)size);
  fprintf(s->out, "sector %d, characteristics %x\n", file->pMethods->xSectorSize(file),
          (unsigned)file->pMethods->xDeviceCharacteristics(file));
}

static uint64_t file_hash(const char *name, long *size) {
  char path[300], *data;
  snprintf(path, sizeof path, "%s/%s", dir, name);
  FILE *f = fopen(path, "rb");
  *size = -1;
  if (!f) return 0;
  fseek(f, 0, SEEK_END);
  *size = ftell(f);
  rewind(f);
  data = malloc((size_t)*size + 1);
  assert_int_equal(fread(data, 1, (size_t)*size, f), *size);
  fclose(f);
  uint64_t h = hash(HASH_START, data, (size_t)*size);
  free(data);
  return h;
}

static char *play(struct scene *s) {
  char *transcript = NULL;
  size_t length = 0;
  s->out = open_memstream(&transcript, &length);
  sqlite3 *db = open_db(s, "main.db");
  modes(s, db);
  blobs(s, db);
  backup(s, db);
  serialize(s, db);
  interrupted(s, db);
  read_while_writing(s, db);
  checkpoints(s, db);
  controls(s, db);
  sql(s, db, "PRAGMA integrity_check");
  sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
  fprintf(s->out, "close %d\n", sqlite3_close(db));
  static const char *names[] = {"main.db", "copy.db", "main.db-journal", "main.db-wal"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    long size;
    uint64_t h = file_hash(names[i], &size);
    fprintf(s->out, "%s %ld %016llx\n", names[i], size, i < 2 ? (unsigned long long)h : 0);
  }
  db = open_db(s, "main.db");
  sql(s, db, "SELECT count(*), sum(length(v)) FROM t; PRAGMA integrity_check;");
  sqlite3_db_config(db, SQLITE_DBCONFIG_RESET_DATABASE, 1, NULL);
  sql(s, db, "VACUUM");
  sqlite3_db_config(db, SQLITE_DBCONFIG_RESET_DATABASE, 0, NULL);
  sql(s, db, "SELECT count(*) FROM sqlite_schema; PRAGMA page_count;");
  sqlite3_close(db);
  fclose(s->out);
  char command[300];
  snprintf(command, sizeof command, "rm -f %s/*", dir);
  assert_int_equal(system(command), 0);
  return transcript;
}

static void first_difference(const char *expected, const char *got) {
  const char *line = expected;
  size_t i = 0;
  for (; expected[i] && expected[i] == got[i]; i++)
    if (expected[i] == '\n') line = expected + i + 1;
  size_t at = (size_t)(line - expected);
  print_message("default: %.*s\nuring:   %.*s\n", (int)strcspn(line, "\n"), line, (int)strcspn(got + at, "\n"),
                got + at);
}

static int ring_available(void) {
  char uri[300];
  sqlite3 *db;
  snprintf(uri, sizeof uri, "file:%s/probe.db?vfs=uring&uring_backend=uring", dir);
  int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  sqlite3_close(db);
  return rc == SQLITE_OK;
}

static void transcripts_are_equal(void **state) {
  (void)state;
  static const char *all[] = {"vfs=uring&uring_backend=auto", "vfs=uring&uring_backend=sync",
                              "vfs=uring&uring_backend=uring"};
  int backends = ring_available() ? 3 : 2, failures = 0;
  if (backends == 2) print_message("uring_backend=uring left out: io_uring is not available\n");
  for (size_t j = 0; j < sizeof journals / sizeof *journals; j++) {
    for (size_t p = 0; p < sizeof page_sizes / sizeof *page_sizes; p++) {
      struct scene s = {"vfs=unix", journals[j], page_sizes[p], synchronous[(j + p) % 3], NULL};
      char *expected = play(&s);
      if (getenv("VERBOSE")) print_message("%s\n", expected);
      for (int b = 0; b < backends; b++) {
        s.params = getenv("VFS_UNDER_TEST") ? "vfs=unix&x=y" : all[b];
        char *got = play(&s);
        if (strcmp(expected, got) != 0) {
          failures++;
          print_message("journal_mode=%s page_size=%d %s\n", s.journal, s.page_size, all[b]);
          first_difference(expected, got);
        }
        free(got);
      }
      free(expected);
    }
  }
  assert_int_equal(failures, 0);
}

int main(void) {
  const char *tmp = getenv("TMPDIR");
  snprintf(dir, sizeof dir, "%s/uringvfs-api.XXXXXX", tmp ? tmp : "/tmp");
  if (!mkdtemp(dir)) return 1;
  uringvfs_register(0);
  const struct CMUnitTest tests[] = {cmocka_unit_test(transcripts_are_equal)};
  int failed = cmocka_run_group_tests_name("conformance of the C interface", tests, NULL, NULL);
  char command[300];
  snprintf(command, sizeof command, "rm -rf %s", dir);
  return system(command) != 0 || failed;
}
