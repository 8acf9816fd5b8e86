/*
** test_large_files.c - databases and WALs above 2 GiB and 4 GiB.
**
** Offsets that do not fit in 31 or 32 bits: in batches, in read-ahead, in what is asked of the kernel by way of a
** mapping (which ends at 2 GiB), in checkpoints and truncation. The files are sparse and cost a few megabytes:
**
** - A database grows by a list of free pages that is written into it by hand. Its first trunk names the pages on both
**   sides of 2 GiB and of 4 GiB, so these are the ones that SQLite takes next. It is a valid database: PRAGMA
**   integrity_check says ok.
** - A WAL grows by its wal-index: mxFrame is set to a frame just before the limit, as if a long transaction had been
**   written, and SQLite goes on behind it. The frames between are in no hash table, so nobody looks for a page in them.
*/
#include "support.h"

#define GIB       (1LL << 30)
#define MMAP_MOST (2 * GIB - 65536) /* SQLite's limit */

/* ---- growing a database ---------------------------------------------------------------------------------------- */

static void put32(unsigned char *p, uint32_t value) {
  p[0] = (unsigned char)(value >> 24), p[1] = (unsigned char)(value >> 16);
  p[2] = (unsigned char)(value >> 8), p[3] = (unsigned char)value;
}

static uint32_t get32(const unsigned char *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

typedef struct free_list {
  int fd;
  uint32_t page_size, trunk, trunk_end, count;
  unsigned char *page;
  uint32_t leaves, written; /* leaves of the trunk at hand; trunks written */
} free_list;

static void trunk_write(free_list *l) {
  put32(l->page, l->trunk + 1 < l->trunk_end ? l->trunk + 1 : 0);
  put32(l->page + 4, l->leaves);
  must(pwrite(l->fd, l->page, l->page_size, (off_t)(l->trunk - 1) * l->page_size) == (ssize_t)l->page_size);
  memset(l->page, 0, l->page_size);
  l->trunk++;
  l->count += l->leaves + 1;
  l->leaves = 0;
}

static void leaf_add(free_list *l, uint32_t page) {
  if (l->leaves == l->page_size / 4 - 8) trunk_write(l); /* as many as SQLite itself puts there */
  put32(l->page + 8 + 4 * l->leaves++, page);
}

/* Pages on each side of a limit that are to be used first. */
static uint32_t near_pages(uint32_t page_size) { return page_size == 4096 ? 100 : 16; }

static bool is_near(uint32_t page, uint32_t page_size) {
  const uint32_t near = near_pages(page_size);
  for (int limit = 2; limit <= 4; limit += 2) {
    const uint32_t last_below = (uint32_t)(limit * GIB / page_size);
    if (page > last_below - near && page <= last_below + near) return true;
  }
  return false;
}

/* SQLite has the file closed. Returns false where the file system does not take files of this size. */
static bool grow_database(const char *path) {
  unsigned char header[100];
  free_list l = {.fd = open(path, O_RDWR | O_CLOEXEC)};
  must(l.fd >= 0 && pread(l.fd, header, sizeof(header), 0) == (ssize_t)sizeof(header));
  l.page_size = (uint32_t)(header[16] << 8 | header[17]);
  if (l.page_size == 1) l.page_size = 65536;
  must(get32(header + 32) == 0 && get32(header + 36) == 0);
  const uint32_t used = get32(header + 28), last = (uint32_t)(4 * GIB / l.page_size) + 2 * near_pages(l.page_size);
  const uint32_t lock_page = (uint32_t)(PENDING_BYTE / l.page_size) + 1, per_trunk = l.page_size / 4 - 8;
  l.trunk = used + 1;
  l.trunk_end = l.trunk + 2 + (last - used) / per_trunk;
  l.page = calloc(1, l.page_size);
  must(l.page != NULL);
  if (ftruncate(l.fd, (off_t)last * l.page_size) != 0) return false;
  for (uint32_t page = l.trunk_end; page <= last; page++) {
    if (is_near(page, l.page_size)) leaf_add(&l, page);
  }
  trunk_write(&l);
  for (uint32_t page = l.trunk_end; page <= last; page++) {
    if (page != lock_page && !is_near(page, l.page_size)) leaf_add(&l, page);
  }
  while (l.trunk < l.trunk_end) trunk_write(&l);
  put32(header + 28, last);
  put32(header + 32, used + 1);
  put32(header + 36, l.count);
  must(pwrite(l.fd, header, sizeof(header), 0) == (ssize_t)sizeof(header) && fsync(l.fd) == 0);
  free(l.page);
  close(l.fd);
  return true;
}

/* The pages next to both limits are in use: without this the test would prove nothing. */
static void must_lie_at_the_limits(const char *path, uint32_t page_size) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  must(fd >= 0);
  for (int limit = 2; limit <= 4; limit += 2) {
    for (int below = -1; below <= 0; below++) {
      unsigned char block[4096];
      int found = 0;
      must(pread(fd, block, sizeof(block), limit * GIB + below * (off_t)page_size) == (ssize_t)sizeof(block));
      for (size_t i = 0; i < sizeof(block); i++) found |= block[i];
      must(found != 0);
    }
  }
  close(fd);
}

/* ---- work with a large database -----------------------------------------------------------------------------------
** */

typedef struct large_case {
  int page_size;
  const char *journal_mode;
  long long mmap_size;
} large_case;

static sqlite3 *open_large(const large_case *c) {
  char sql[128];
  sqlite3 *db = open_noted("large.db", ANEW, NULL);
  snprintf(sql, sizeof(sql), "PRAGMA page_size=%d; PRAGMA mmap_size=%lld; PRAGMA cache_size=40", c->page_size,
           c->mmap_size);
  say(db, sql);
  return db;
}

/* Pages are taken in the order of the trunk; half of the rows are then moved, so that leaves lie scattered over both
** limits. */
static void fill(sqlite3 *db, int page_size) {
  char sql[512];
  const int rows = 9 * (int)near_pages((uint32_t)page_size);
  snprintf(
      sql, sizeof(sql),
      "BEGIN; WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<%d) INSERT INTO big SELECT i*7919%%10007, "
      "i, randomblob(%d) FROM c; COMMIT; "
      "INSERT INTO big SELECT 20000+n, -n, randomblob(%d) FROM big WHERE n%%40=1",
      rows, page_size * 9 / 20, page_size * 5 / 2);
  say(db, sql);
}

static void read_all(sqlite3 *db) {
  say(db, "SELECT count(*), sum(id), sum(length(b)) FROM big; SELECT id, n, b FROM big; "
          "SELECT id, b FROM big ORDER BY id DESC; SELECT n, b FROM big INDEXED BY big_n WHERE n > -1000000; "
          "SELECT b FROM big WHERE id IN (20001, 7919, 5838, 3757, 99999)");
}

static void write_some(sqlite3 *db) {
  say(db, "BEGIN; UPDATE big SET b=zeroblob(length(b)) WHERE n%3=0; SAVEPOINT s; DELETE FROM big WHERE n%5=0; "
          "SELECT count(*), sum(length(b)) FROM big; ROLLBACK TO s; SELECT count(*), sum(length(b)) FROM big; COMMIT; "
          "BEGIN; UPDATE big SET b=randomblob(length(b)+1) WHERE n%7=0; ROLLBACK; "
          "PRAGMA synchronous=NORMAL; UPDATE big SET b=randomblob(length(b)) WHERE n%11=0; PRAGMA synchronous=FULL; "
          "DELETE FROM big WHERE n%13=0; INSERT INTO big SELECT id+50000, n, b FROM big WHERE n%17=0");
}

static void work_with_large_database(const void *arg) {
  const large_case *c = arg;
  char sql[64];
  start_sqlite();
  sqlite3 *db = open_large(c);
  say(db, "CREATE TABLE big(id INTEGER PRIMARY KEY, n, b); CREATE INDEX big_n ON big(n)");
  close_noted(db);
  must(grow_database(in_directory("large.db")));

  db = open_large(c);
  snprintf(sql, sizeof(sql), "PRAGMA journal_mode=%s; PRAGMA wal_autocheckpoint=0", c->journal_mode);
  say(db, sql);
  fill(db, c->page_size);
  read_all(db); /* in WAL mode: frames */
  say(db, "PRAGMA wal_checkpoint(PASSIVE)");
  close_noted(db);
  must_lie_at_the_limits(in_directory("large.db"), (uint32_t)c->page_size);

  make_cold(in_directory("large.db"));
  db = open_large(c);
  read_all(db);
  write_some(db);
  read_all(db);
  close_noted(db);
  note_files(here.directory, "");

  make_cold(in_directory("large.db"));
  db = open_large(c);
  read_all(db);
  say(db, "PRAGMA integrity_check; PRAGMA freelist_count; PRAGMA page_count");
  sqlite3 *other = open_noted("large.db", SQLITE_OPEN_READWRITE, NULL);
  say(other, "INSERT INTO big(n, b) VALUES(-5, randomblob(300000))");
  read_all(db);
  close_noted(other);
  if (c->mmap_size == 0) say(db, "VACUUM"); /* one of the two keeps its size */
  read_all(db);
  close_noted(db);
}

static void test_database(void **state) {
  (void)state;
  static const large_case cases[] = {
      {4096, "delete", 0}, {4096, "wal", 0}, {4096, "wal", MMAP_MOST}, {65536, "wal", 0}, {65536, "delete", MMAP_MOST}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    const large_case *c = &cases[i];
    char name[100];
    snprintf(name, sizeof(name), "pages of %d, %s, mmap_size %lld", c->page_size, c->journal_mode, c->mmap_size);
    same_on_both(name, work_with_large_database, c, RINGS_USED);
  }
}

/* ---- work with a large WAL ------------------------------------------------------------------------------------------
** */

/* The wal-index of an open database, as SQLite's own format has it (walformat.html): two copies of a header of 48
** bytes. */
enum { REGION = 32768, FRAMES_IN_FIRST = 4062, FRAMES_IN_REGION = 4096, HEADER = 48, MX_FRAME = 4, CHECKSUM = 10 };

static volatile uint32_t *wal_index_region(sqlite3 *db, int region) {
  sqlite3_file *file = NULL;
  void volatile *memory = NULL;
  must(sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) == SQLITE_OK);
  must(file->pMethods->xShmMap(file, region, REGION, 1, &memory) == SQLITE_OK && memory != NULL);
  return memory;
}

/* As if frames up to this one had been written, by nobody in particular. No transaction is open. */
static void skip_to_frame(sqlite3 *db, uint32_t frame) {
  const int regions = 1 + (int)((frame + 100 + FRAMES_IN_REGION - FRAMES_IN_FIRST) / FRAMES_IN_REGION);
  for (int i = 1; i < regions; i++) (void)wal_index_region(db, i);
  volatile uint32_t *header = wal_index_region(db, 0);
  must(header[MX_FRAME] < frame);
  header[MX_FRAME] = frame;
  uint32_t a = 0, b = 0;
  for (int i = 0; i < CHECKSUM; i += 2) {
    a += header[i] + b;
    b += header[i + 1] + a;
  }
  header[CHECKSUM] = a;
  header[CHECKSUM + 1] = b;
  for (int i = 0; i < HEADER / 4; i++) header[HEADER / 4 + i] = header[i];
}

static void must_be_longer(const char *path, long long bytes) {
  struct stat st;
  must(stat(path, &st) == 0 && st.st_size > bytes);
}

static void commit_across(sqlite3 *db, uint32_t page_size, long long limit) {
  char sql[400];
  skip_to_frame(db, (uint32_t)((limit - 32) / (page_size + 24)) - 5);
  snprintf(sql, sizeof(sql),
           "BEGIN; INSERT INTO t(b) VALUES(randomblob(%u)); UPDATE t SET b=randomblob(length(b)) WHERE id%%2; COMMIT; "
           "SELECT id, b FROM t; BEGIN; UPDATE t SET b=zeroblob(length(b)); SELECT id, b FROM t; ROLLBACK; "
           "SELECT id, b FROM t; UPDATE t SET b=randomblob(length(b)) WHERE id%%3=0; SELECT id, b FROM t",
           10 * page_size);
  say(db, sql);
  must_be_longer(in_directory("wal.db-wal"), limit + page_size);
}

static void work_with_large_wal(const void *arg) {
  const uint32_t page_size = *(const uint32_t *)arg;
  char sql[300];
  start_sqlite();
  sqlite3 *db = open_noted("wal.db", ANEW, NULL);
  snprintf(sql, sizeof(sql),
           "PRAGMA page_size=%u; PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=12; "
           "CREATE TABLE t(id INTEGER PRIMARY KEY, b); WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<60) "
           "INSERT INTO t SELECT i, randomblob(%u) FROM c",
           page_size, page_size * 2 / 5);
  say(db, sql);
  commit_across(db, page_size, 2 * GIB);
  sqlite3 *other = open_noted("wal.db", SQLITE_OPEN_READWRITE, NULL);
  say(other, "SELECT id, b FROM t; BEGIN; SELECT count(*) FROM t");
  commit_across(db, page_size, 4 * GIB);
  say(db, "PRAGMA wal_checkpoint"); /* the reader holds it back */
  say(other,
      "SELECT id, b FROM t; COMMIT; SELECT id, b FROM t; UPDATE t SET b=1 WHERE id=2; PRAGMA wal_checkpoint(FULL)");
  say(db, "SELECT id, b FROM t; PRAGMA wal_checkpoint(TRUNCATE); UPDATE t SET b=2 WHERE id=3; PRAGMA integrity_check");
  close_noted(other);
  close_noted(db);
}

static void test_wal(void **state) {
  (void)state;
  static const uint32_t sizes[] = {65536, 4096};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    char name[64];
    snprintf(name, sizeof(name), "WAL, pages of %u", sizes[i]);
    same_on_both(name, work_with_large_wal, &sizes[i], RINGS_USED);
  }
}

/* ---- can it be had?
** --------------------------------------------------------------------------------------------------- */

static bool large_files_possible(void) {
  const char *path = at("large");
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  const bool possible = fd >= 0 && ftruncate(fd, 5 * GIB) == 0 && lseek(fd, 0, SEEK_DATA) < 0;
  if (fd >= 0) close(fd);
  unlink(path);
  return possible;
}

int main(void) {
  environment_start();
  if (!large_files_possible()) return environment_skip("no sparse files of 5 GiB here");
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_database), cmocka_unit_test(test_wal)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
