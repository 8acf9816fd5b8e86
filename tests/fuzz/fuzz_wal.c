/*
** fuzz_wal.c - bytes from disk: a database with a damaged WAL or journal, through uring and the default VFS.
**
** The input says how files that SQLite itself has made are changed: bytes of the database; then the WAL is replaced by
** frames of the input's choice with right checksums (or not), or changed byte by byte with its checksums made right
** again (or not), or a hot journal is. Both VFSs get the same files, and the same fixed statements read, write and
** checkpoint them through two connections. Every code, message and row must be the same, and so must the database be at
** the end.
**
** SQLite's random numbers (salts of a WAL, names) start from the same seed on both sides. What it makes of a damaged
** database may depend on memory that nobody wrote to, so it gets memory of zeros; a difference counts only if each VFS
** tells the same with other bytes in it.
*/
#include "support_fuzz.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE_SIZES = 4, WAL_HEADER = 32, FRAME_HEADER = 24, MAX_WAL = 1024 * 1024 };
enum { KIND_FRAMES, KIND_WAL, KIND_RAW, KIND_JOURNAL, KINDS };

static const unsigned page_sizes[PAGE_SIZES] = {512, 1024, 4096, 65536};

/* Files as SQLite made them. */
typedef struct image {
  uint8_t *bytes;
  long length;
} image;

static struct originals { image wal_database, wal, database, journal; } originals[PAGE_SIZES];

/* ---- SQLite's memory ---- */

typedef union block {
  size_t bytes;
  max_align_t align;
} block;

static uint8_t memory_byte; /* what new memory is filled with; it also moves what lies behind */

/* Pages get as much behind them again: SQLite looks there for the end of a cell. */
static void *memory_get(int bytes) {
  const size_t all = (size_t)bytes * (bytes >= 512 ? 2 : 1) + memory_byte;
  block *b = malloc(sizeof *b + all);
  if (b == NULL) return NULL;
  b->bytes = (size_t)bytes;
  return memset(b + 1, memory_byte, all);
}

static void memory_put(void *memory) { free((block *)memory - 1); }
static int memory_size(void *memory) { return memory != NULL ? (int)((block *)memory - 1)->bytes : 0; }
static int memory_round(int bytes) { return (bytes + 7) & ~7; }

static void *memory_resize(void *memory, int bytes) {
  void *copy = memory_get(bytes);
  if (copy == NULL) return NULL;
  const int old = memory_size(memory);
  memcpy(copy, memory, (size_t)(old < bytes ? old : bytes));
  memory_put(memory);
  return copy;
}

static int memory_begin(void *unused) { return unused != NULL; }
static void memory_end(void *unused) { (void)unused; }

static void take_memory(void) {
  static const sqlite3_mem_methods methods = {memory_get,   memory_put,   memory_resize, memory_size,
                                              memory_round, memory_begin, memory_end,    NULL};
  FUZZ_CHECK(sqlite3_config(SQLITE_CONFIG_MALLOC, &methods) == SQLITE_OK &&
                 sqlite3_config(SQLITE_CONFIG_PAGECACHE, NULL, 0, 0) == SQLITE_OK,
             "sqlite3_config");
}

/* ---- the originals ---- */

static void must(sqlite3 *db, const char *sql) {
  FUZZ_CHECK(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
}

static image take(const char *name) {
  image i;
  i.bytes = fuzz_read_file(SIDE_DEFAULT, name, &i.length);
  FUZZ_CHECK(i.bytes != NULL, "%s was not made", name);
  return i;
}

static sqlite3 *make_database(unsigned page_bytes, const char *mode) {
  sqlite3 *db;
  char text[600];
  snprintf(text, sizeof text, "%s/x.db", fuzz_dir[SIDE_DEFAULT]);
  FUZZ_CHECK(sqlite3_open_v2(text, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, fuzz_vfs[SIDE_DEFAULT]) ==
                 SQLITE_OK,
             "open");
  snprintf(text, sizeof text,
           "PRAGMA page_size=%u; PRAGMA auto_vacuum=incremental; PRAGMA journal_mode=%s; "
           "PRAGMA cache_size=2; PRAGMA cache_spill=1; PRAGMA wal_autocheckpoint=0",
           page_bytes, mode);
  must(db, text);
  must(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT, c BLOB); CREATE INDEX tb ON t(b);"
           "CREATE TABLE k(a TEXT PRIMARY KEY, b) WITHOUT ROWID;"
           "WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<24)"
           "INSERT INTO t SELECT i, printf('row %d', i*7919%101), zeroblob(i*i) FROM n;"
           "INSERT INTO k SELECT b||a, length(c) FROM t");
  return db;
}

static void make_originals(int size) {
  struct originals *o = &originals[size];
  sqlite3 *db = make_database(page_sizes[size], "wal");
  must(db, "PRAGMA wal_checkpoint(TRUNCATE); UPDATE t SET c=zeroblob(30) WHERE a%5=0; DELETE FROM k WHERE b<100;"
           "INSERT INTO t SELECT a+100, b, c FROM t WHERE a<6");
  o->wal_database = take("x.db");
  o->wal = take("x.db-wal");
  sqlite3_close(db);
  fuzz_write_file(SIDE_URING, "x.db", "", 0);
  fuzz_clean();
  db = make_database(page_sizes[size], "delete");
  must(db, "BEGIN; UPDATE t SET c=zeroblob(a*40); UPDATE k SET b=b+1; DELETE FROM t WHERE a%7=0");
  must(db, "INSERT INTO t SELECT a+100, b, c FROM t; UPDATE t SET b='x'||b");
  o->database = take("x.db");
  o->journal = take("x.db-journal");
  must(db, "ROLLBACK");
  sqlite3_close(db);
  fuzz_write_file(SIDE_URING, "x.db", "", 0);
  fuzz_clean();
}

/* ---- changing them ---- */

static uint32_t get32(const uint8_t *at, bool big_endian) {
  uint32_t value = 0;
  for (int i = 0; i < 4; i++) value |= (uint32_t)at[i] << (big_endian ? 24 - 8 * i : 8 * i);
  return value;
}

/* wal.c, walChecksumBytes. */
static void add_checksum(uint32_t sum[2], const uint8_t *data, size_t bytes, bool big_endian) {
  for (size_t i = 0; i + 8 <= bytes; i += 8) {
    sum[0] += get32(data + i, big_endian) + sum[1];
    sum[1] += get32(data + i + 4, big_endian) + sum[0];
  }
}

/* Makes the checksums of a WAL right, from its header on. */
static void make_right(uint8_t *wal, size_t length, unsigned page_bytes) {
  const bool big_endian = wal[3] & 1;
  uint32_t sum[2] = {0, 0};
  if (length < WAL_HEADER) return;
  add_checksum(sum, wal, 24, big_endian);
  fuzz_put32(wal + 24, sum[0]);
  fuzz_put32(wal + 28, sum[1]);
  for (size_t at = WAL_HEADER; at + FRAME_HEADER + page_bytes <= length; at += FRAME_HEADER + page_bytes) {
    add_checksum(sum, wal + at, 8, big_endian);
    add_checksum(sum, wal + at + FRAME_HEADER, page_bytes, big_endian);
    fuzz_put32(wal + at + 16, sum[0]);
    fuzz_put32(wal + at + 20, sum[1]);
  }
}

/* Half of the edits go where something begins: in multiples of `unit`. */
static void edit(fuzz_input *in, uint8_t *data, size_t length, unsigned count, size_t unit) {
  for (unsigned i = 0; i < count && in->left > 0 && length > 0; i++) {
    const size_t word = fuzz_word(in);
    const size_t at = word & 1 ? word / 32 * unit + word / 2 % 16 : word * (length / 65536 + 1);
    data[at % length] = fuzz_byte(in);
  }
}

/* A WAL of the input's own frames. Returns its length. */
static size_t make_frames(fuzz_input *in, uint8_t *wal, const image *database, unsigned page_bytes) {
  const uint8_t flags = fuzz_byte(in);
  memset(wal, 0, WAL_HEADER);
  fuzz_put32(wal, 0x377f0682 | (flags & 1));
  fuzz_put32(wal + 4, 3007000);
  fuzz_put32(wal + 8, page_bytes);
  fuzz_put32(wal + 16, 1);
  size_t length = WAL_HEADER;
  while (in->left > 0 && length + FRAME_HEADER + page_bytes <= MAX_WAL) {
    uint8_t *frame = wal + length;
    const unsigned number = fuzz_byte(in), size = fuzz_byte(in), edits = fuzz_byte(in);
    memset(frame, 0, FRAME_HEADER + page_bytes);
    fuzz_put32(frame, number);
    fuzz_put32(frame + 4, size);
    fuzz_put32(frame + 8, edits & 64 ? 2 : 1);
    if (number > 0 && number * (long)page_bytes <= database->length)
      memcpy(frame + FRAME_HEADER, database->bytes + (number - 1) * page_bytes, page_bytes);
    edit(in, frame + FRAME_HEADER, page_bytes, edits % 32, page_bytes);
    length += FRAME_HEADER + page_bytes;
  }
  make_right(wal, length, page_bytes);
  if (flags & 2) edit(in, wal, length, 1, FRAME_HEADER + page_bytes);
  return flags & 4 && length > WAL_HEADER ? length - page_bytes / 2 : length;
}

/* What both sides get. */
static struct inputs {
  uint8_t *database, companion[MAX_WAL];
  size_t database_bytes, companion_bytes;
  const char *companion_name;
} inputs;

static void put_files(int side) {
  fuzz_write_file(side, "x.db", inputs.database, inputs.database_bytes);
  fuzz_write_file(side, inputs.companion_name, inputs.companion, inputs.companion_bytes);
}

static void make_files(fuzz_input *in, int kind, int size) {
  uint8_t *second = inputs.companion;
  const struct originals *o = &originals[size];
  const image *database = kind == KIND_JOURNAL ? &o->database : &o->wal_database;
  const image *companion = kind == KIND_JOURNAL ? &o->journal : &o->wal;
  uint8_t *first = malloc((size_t)database->length);
  FUZZ_CHECK(first != NULL, "out of memory");
  memcpy(first, database->bytes, (size_t)database->length);
  edit(in, first, (size_t)database->length, fuzz_byte(in) % 8, page_sizes[size]);
  size_t length = (size_t)companion->length < MAX_WAL ? (size_t)companion->length : MAX_WAL;
  memcpy(second, companion->bytes, length);
  if (kind == KIND_FRAMES) {
    length = make_frames(in, second, database, page_sizes[size]);
  } else if (kind == KIND_RAW) {
    const uint8_t *data;
    length = fuzz_take(in, &data, MAX_WAL);
    if (length > 0) memcpy(second, data, length);
  } else {
    const uint8_t flags = fuzz_byte(in);
    edit(in, second, length, flags % 32, FRAME_HEADER + page_sizes[size]);
    if (kind == KIND_WAL && flags & 32) make_right(second, length, page_sizes[size]);
    if (flags & 64) length -= fuzz_word(in) % (length + 1);
  }
  inputs.database = first;
  inputs.database_bytes = (size_t)database->length;
  inputs.companion_bytes = length;
  inputs.companion_name = kind == KIND_JOURNAL ? "x.db-journal" : "x.db-wal";
}

/* ---- the statements ---- */

/* The digit is the connection. */
static const char *const statements[] = {
    "1PRAGMA journal_mode",
    "1PRAGMA page_count",
    "1SELECT count(*), sum(a), sum(length(c)) FROM t",
    "1SELECT a, b, length(c) FROM t ORDER BY a DESC",
    "1SELECT b, a FROM t ORDER BY b",
    "1SELECT * FROM k",
    /* a reader that holds back the checkpoint, and a transaction that spills and is rolled back */
    "2BEGIN",
    "2SELECT count(*) FROM t",
    "1BEGIN",
    "1UPDATE t SET c = zeroblob(900), b = b || 'y'",
    "1SELECT count(*), sum(length(b)) FROM t",
    "1SAVEPOINT s",
    "1DELETE FROM t WHERE a % 2",
    "1ROLLBACK TO s",
    "1INSERT INTO t(b, c) VALUES('new', zeroblob(5000))",
    "1ROLLBACK",
    "1INSERT INTO t(b) VALUES('one'), ('two')",
    "1UPDATE k SET b = b + 1",
    "1PRAGMA wal_checkpoint(PASSIVE)",
    "2SELECT a, b FROM t LIMIT 20",
    "2COMMIT",
    "1PRAGMA wal_checkpoint(RESTART)",
    "1DELETE FROM t WHERE a % 3 = 0",
    "2SELECT count(*), max(b) FROM t",
    "2INSERT INTO k VALUES('k', 1)",
    "1PRAGMA wal_checkpoint(TRUNCATE)",
    "1PRAGMA incremental_vacuum",
    "2SELECT a, b, length(c) FROM t",
    "1PRAGMA integrity_check(5)",
    "1PRAGMA page_count",
};

static void note_rows(sqlite3_str *told, sqlite3_stmt *statement) {
  for (int i = 0; i < sqlite3_column_count(statement); i++)
    sqlite3_str_appendf(told, "|%s", sqlite3_column_text(statement, i));
  sqlite3_str_appendchar(told, 1, '\n');
}

static void run(sqlite3_str *told, sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
  if (rc == SQLITE_OK)
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) note_rows(told, statement);
  sqlite3_str_appendf(told, "%s: %d %s\n", sql, sqlite3_extended_errcode(db), sqlite3_errmsg(db));
  sqlite3_finalize(statement);
}

typedef struct manner {
  unsigned cache, mmap;
  const char *synchronous, *locking, *backend;
} manner;

static sqlite3 *open_connection(int side, const manner *m, sqlite3_str *told) {
  sqlite3 *db;
  char *uri = sqlite3_mprintf("file:%s/x.db?vfs=%s%s%s", fuzz_dir[side], fuzz_vfs[side],
                              side == SIDE_URING ? "&uring_backend=" : "", side == SIDE_URING ? m->backend : "");
  const int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI, NULL);
  sqlite3_free(uri);
  sqlite3_extended_result_codes(db, 1);
  sqlite3_str_appendf(told, "open: %d\n", rc);
  char text[200];
  snprintf(text, sizeof text,
           "PRAGMA cache_size=%u; PRAGMA mmap_size=%u; PRAGMA synchronous=%s; PRAGMA locking_mode=%s", m->cache,
           m->mmap, m->synchronous, m->locking);
  sqlite3_exec(db, text, NULL, NULL, NULL);
  return db;
}

/* What the statements tell, sqlite3_malloc'd. */
static char *tell(int side, const manner *m) {
  sqlite3_str *told = sqlite3_str_new(NULL);
  sqlite3_test_control(SQLITE_TESTCTRL_PRNG_SEED, 1, NULL);
  sqlite3_randomness(0, NULL);
  sqlite3 *db[] = {open_connection(side, m, told), open_connection(side, m, told)};
  for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
    run(told, db[statements[i][0] - '1'], statements[i] + 1);
  for (int i = 0; i < 2; i++) sqlite3_str_appendf(told, "close: %d\n", sqlite3_close(db[i]));
  char *text = sqlite3_str_finish(told);
  FUZZ_CHECK(text != NULL, "out of memory");
  return text;
}

/* Does this side tell something else when there is something else in memory? */
static bool depends_on_memory(int side, const manner *m, const char *told) {
  bool same = true;
  for (int byte = 0; byte < 0x100 && same; byte += 0x33) {
    memory_byte = (uint8_t)byte;
    fuzz_empty(side);
    put_files(side);
    char *again = tell(side, m);
    same = strcmp(again, told) == 0;
    sqlite3_free(again);
  }
  memory_byte = 0;
  return !same;
}

static _Noreturn void report(const char *a, const char *b) {
  const char *line = a;
  for (size_t i = 0; a[i] == b[i]; i++)
    if (a[i] == '\n') line = a + i + 1;
  const char *other = b + (line - a);
  fuzz_fail("default VFS: %.*s, uring: %.*s", (int)strcspn(line, "\n"), line, (int)strcspn(other, "\n"), other);
}

static void compare_databases(void) {
  long length[SIDES];
  uint8_t *bytes[SIDES];
  for (int s = 0; s < SIDES; s++) bytes[s] = fuzz_read_file(s, "x.db", &length[s]);
  FUZZ_CHECK(length[0] == length[1], "the database has %ld bytes on the default VFS, %ld on uring", length[0],
             length[1]);
  const size_t there = (size_t)(length[0] < FUZZ_READ_MAX ? length[0] : FUZZ_READ_MAX);
  FUZZ_CHECK(length[0] <= 0 || memcmp(bytes[0], bytes[1], there) == 0, "the databases differ");
  for (int s = 0; s < SIDES; s++) free(bytes[s]);
}

int LLVMFuzzerInitialize(const int *argc, char ***argv) {
  (void)argc, (void)argv;
  take_memory();
  fuzz_start();
  for (int i = 0; i < PAGE_SIZES; i++) make_originals(i);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input in = {data, size};
  const uint8_t what = fuzz_byte(&in), how = fuzz_byte(&in);
  const manner m = {.cache = how & 1 ? 2 : 100,
                    .mmap = how & 2 ? 1 << 16 : 0,
                    .synchronous = how & 4 ? "normal" : "full",
                    .locking = (how & 24) == 24 ? "exclusive" : "normal",
                    .backend = fuzz_backend(how >> 5)};
  /* The largest page is slow: rarely. */
  const int page_size = (what >> 2) % 16 == 15 ? 3 : (what >> 2) % 3;
  make_files(&in, what % KINDS, page_size);
  char *told[SIDES];
  for (int s = 0; s < SIDES; s++) {
    put_files(s);
    told[s] = tell(s, &m);
  }
  fuzz_trace("%s", told[SIDE_DEFAULT]);
  const bool differ = strcmp(told[0], told[1]) != 0;
  if (!differ) {
    compare_databases();
    fuzz_clean();
  } else if (!depends_on_memory(SIDE_DEFAULT, &m, told[0]) && !depends_on_memory(SIDE_URING, &m, told[1])) {
    report(told[0], told[1]);
  } else {
    for (int s = 0; s < SIDES; s++) fuzz_empty(s);
  }
  for (int s = 0; s < SIDES; s++) sqlite3_free(told[s]);
  free(inputs.database);
  return 0;
}
