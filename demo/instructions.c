/*
** instructions.c - the operations whose instructions and system calls instructions.py counts.
**
**     instructions make DIR          makes the databases, through the default VFS
**     instructions VFS DIR [NAME]    runs every section, or the one of that name, on them
**     instructions about             says whether the build is optimized
**
** A section is an operation that is repeated: first unmeasured, so that everything is warm (the kernel's cache, the
** memory allocator's, whatever the VFS keeps), and then in instructions_measured(). Callgrind counts inside that
** function alone, and writes a dump at its end. For strace it lies between two writes of the section's name to
** /dev/null. For each section a line says what was measured and how many there were:
**
**     NAME page N                    pages that SQLite did not find in its cache: reading them is the operation
**     NAME operation N
**
** One process, one thread, and nothing depends on time or chance. Answers are checked.
*/
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/common.h"
#include "uringvfs.h"

enum {
  ROWS = 8009,     /* a prime, so that steps of any length lead to every row       */
  STEP = 3571,     /* far from one leaf to the next                                */
  ROW_BYTES = 900, /* four on a leaf                                               */
  LOOKUPS = 400,
  SCANS = 1,
  TRANSACTIONS = 100,
  OPENINGS = 20,
  MIXED = 3,
};

#ifdef __OPTIMIZE__
#define OPTIMIZED 1
#else
#define OPTIMIZED 0
#endif

static const char *vfs, *directory;

static sqlite3 *open_db(const char *file) {
  sqlite3 *db = NULL;
  char uri[1024];
  snprintf(uri, sizeof uri, "file:%s/%s?vfs=%s", directory, file, vfs);
  check(db, sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL), uri);
  return db;
}

/* ---- The databases --------------------------------------------------------------------------------------------- */

/* The leaves of `scattered` are filled, and lie, in an order that has nothing to do with their keys. */
static void fill(sqlite3 *db) {
  char sql[600];
  snprintf(sql, sizeof sql,
           "CREATE TABLE ordered(id INTEGER PRIMARY KEY, pad BLOB); "
           "CREATE TABLE scattered(id INTEGER PRIMARY KEY, pad BLOB); BEGIN; "
           "WITH RECURSIVE n(i) AS (VALUES(0) UNION ALL SELECT i+1 FROM n WHERE i<%d) "
           "INSERT INTO ordered SELECT i, zeroblob(%d) FROM n; "
           "WITH RECURSIVE n(i) AS (VALUES(0) UNION ALL SELECT i+1 FROM n WHERE i<%d) "
           "INSERT INTO scattered SELECT i*%d%%%d, zeroblob(%d) FROM n; COMMIT",
           ROWS - 1, ROW_BYTES, ROWS - 1, STEP, ROWS, ROW_BYTES);
  run(db, sql);
}

static void make_database(const char *file, const char *settings, int checkpoint) {
  sqlite3 *db = open_db(file);
  run(db, settings);
  fill(db);
  check(db, sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !checkpoint, NULL), "NO_CKPT_ON_CLOSE");
  close_db(&db);
}

static void make_databases(void) {
  vfs = "unix";
  make_database("rollback.db", "PRAGMA synchronous=off", 1);
  make_database("wal.db", "PRAGMA journal_mode=wal; PRAGMA synchronous=off; PRAGMA wal_autocheckpoint=0", 1);
  make_database("frames.db", "PRAGMA journal_mode=wal; PRAGMA synchronous=off; PRAGMA wal_autocheckpoint=0", 0);
}

/* ---- The operations -------------------------------------------------------------------------------------------- */

typedef struct context {
  const char *file, *sql;
  sqlite3 *db;
  sqlite3_stmt *begin, *query, *commit;
} context;

static void query_row(const context *c, sqlite3_stmt *query, int id) {
  check(c->db, sqlite3_bind_int(query, 1, id), "bind");
  check(c->db, sqlite3_step(query), c->sql);
  if (sqlite3_column_int(query, 0) != ROW_BYTES) die("%s: a wrong answer", c->sql);
}

static void look_up(context *c, int i) {
  query_row(c, c->query, (int)((int64_t)i * STEP % ROWS));
  check(c->db, sqlite3_reset(c->query), "reset");
}

static void scan(context *c, int i) {
  (void)i;
  check(c->db, sqlite3_step(c->query), c->sql);
  if (sqlite3_column_int(c->query, 0) != ROWS * ROW_BYTES) die("%s: a wrong answer", c->sql);
  check(c->db, sqlite3_reset(c->query), "reset");
}

static void transaction(context *c, int i) {
  (void)i;
  check(c->db, sqlite3_step(c->begin), "BEGIN");
  check(c->db, sqlite3_reset(c->begin), "BEGIN");
  look_up(c, 1);
  check(c->db, sqlite3_step(c->commit), "COMMIT");
  check(c->db, sqlite3_reset(c->commit), "COMMIT");
}

/* Changes rows and their pages, adds leaves and takes them away, and leaves the table as it was. */
static void mixed(context *c, int i) {
  (void)i;
  run(c->db, "BEGIN;"
             "WITH RECURSIVE n(i) AS (VALUES(10000) UNION ALL SELECT i+1 FROM n WHERE i<10199) "
             "INSERT INTO scattered SELECT i, zeroblob(900) FROM n;"
             "UPDATE scattered SET pad=zeroblob(900) WHERE id%40=0 AND id<2000;"
             "SELECT sum(length(pad)) FROM ordered WHERE id<1000;"
             "DELETE FROM scattered WHERE id>=10000; COMMIT");
  look_up(c, 1);
}

static void open_and_close(context *c, int i) {
  (void)i;
  context own = {.file = c->file, .sql = c->sql, .db = open_db(c->file)};
  sqlite3_stmt *query = prepare(own.db, own.sql);
  query_row(&own, query, 1);
  check(own.db, sqlite3_finalize(query), own.sql);
  close_db(&own.db);
}

/* ---- Sections -------------------------------------------------------------------------------------------------- */

typedef struct section {
  const char *name, *file;
  const char *settings; /* NULL: no connection is open but those of the operation */
  void (*operation)(context *c, int i);
  const char *sql;
  int count;
  bool of_pages;
} section;

#define ROW        "SELECT length(pad) FROM scattered WHERE id=?"
#define SUM(table) "SELECT sum(length(pad)) FROM " #table
/* One transaction: its beginning is not the reading of a page. */
#define PAGES  "PRAGMA cache_size=50; BEGIN"
#define MAPPED "PRAGMA mmap_size=100000000;" PAGES
#define WRITES "PRAGMA cache_size=50; PRAGMA synchronous=off"

static const section sections[] = {
    {"points-rollback", "rollback.db", PAGES, look_up, ROW, LOOKUPS, true},
    {"points-wal", "wal.db", PAGES, look_up, ROW, LOOKUPS, true},
    {"points-frames", "frames.db", PAGES, look_up, ROW, LOOKUPS, true},
    {"scan-rollback", "rollback.db", PAGES, scan, SUM(ordered), SCANS, true},
    {"scan-wal", "wal.db", PAGES, scan, SUM(ordered), SCANS, true},
    {"scan-frames", "frames.db", PAGES, scan, SUM(ordered), SCANS, true},
    {"scattered-rollback", "rollback.db", PAGES, scan, SUM(scattered), SCANS, true},
    {"scattered-wal", "wal.db", PAGES, scan, SUM(scattered), SCANS, true},
    {"scattered-frames", "frames.db", PAGES, scan, SUM(scattered), SCANS, true},
    {"points-mapped", "rollback.db", MAPPED, look_up, ROW, LOOKUPS, false},
    {"scan-mapped", "rollback.db", MAPPED, scan, SUM(ordered), SCANS, false},
    {"transaction-rollback", "rollback.db", "", transaction, ROW, TRANSACTIONS, false},
    {"transaction-wal", "wal.db", "", transaction, ROW, TRANSACTIONS, false},
    {"transaction-frames", "frames.db", "", transaction, ROW, TRANSACTIONS, false},
    {"mixed-rollback", "rollback.db", WRITES, mixed, ROW, MIXED, false},
    {"mixed-wal", "wal.db", WRITES, mixed, ROW, MIXED, false},
    {"open-rollback", "rollback.db", NULL, open_and_close, ROW, OPENINGS, false},
    {"open-wal", "wal.db", NULL, open_and_close, ROW, OPENINGS, false},
    {"open-beside", "wal.db", "", open_and_close, ROW, OPENINGS, false},
};

__attribute__((noinline)) void instructions_measured(const section *s, context *c);
void instructions_measured(const section *s, context *c) {
  for (int i = 0; i < s->count; i++) s->operation(c, i);
}

static void mark(const char *name) {
  static int null = -1;
  if (null < 0) null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (write(null, name, strlen(name)) < 0) die("/dev/null");
}

static int pages_read(sqlite3 *db) {
  int now = 0, highest;
  if (db) check(db, sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &now, &highest, 0), "sqlite3_db_status");
  return now;
}

static void open_context(const section *s, context *c) {
  c->db = open_db(s->file);
  if (strcmp(s->file, "wal.db") == 0) run(c->db, "PRAGMA wal_checkpoint");
  run(c->db, s->settings);
  c->begin = prepare(c->db, "BEGIN");
  c->query = prepare(c->db, s->sql);
  c->commit = prepare(c->db, "COMMIT");
}

static void close_context(context *c) {
  check(c->db, sqlite3_finalize(c->begin), "BEGIN");
  check(c->db, sqlite3_finalize(c->query), c->sql);
  check(c->db, sqlite3_finalize(c->commit), "COMMIT");
  if (!sqlite3_get_autocommit(c->db)) run(c->db, "COMMIT");
  check(c->db, sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL), "NO_CKPT_ON_CLOSE");
  close_db(&c->db);
}

static void run_section(const section *s) {
  context c = {.file = s->file, .sql = s->sql};
  if (s->settings) open_context(s, &c);
  for (int i = 0; i < s->count; i++) s->operation(&c, i);
  const int before = pages_read(c.db);
  mark(s->name);
  instructions_measured(s, &c);
  mark(s->name);
  const int pages = pages_read(c.db) - before;
  if (s->of_pages && pages < s->count) die("%s: no pages were read", s->name);
  printf("%s %s %d\n", s->name, s->of_pages ? "page" : "operation", s->of_pages ? pages : s->count);
  if (c.db) close_context(&c);
}

int main(int argc, char **argv) {
  int done = 0;
  progname = "instructions";
  if (argc == 2 && strcmp(argv[1], "about") == 0) {
    puts(OPTIMIZED ? "optimized" : "not optimized");
    return 0;
  }
  if (argc < 3) die("usage: instructions make DIR | instructions VFS DIR [NAME]");
  check(NULL, sqlite3_config(SQLITE_CONFIG_LOG, on_log, NULL), "SQLITE_CONFIG_LOG");
  vfs = argv[1];
  directory = argv[2];
  if (strcmp(vfs, "make") == 0) {
    make_databases();
    return 0;
  }
  check(NULL, uringvfs_register(0), "uringvfs_register");
  for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
    if (argc > 3 && strcmp(argv[3], sections[i].name) != 0) continue;
    run_section(&sections[i]);
    done++;
  }
  if (done == 0) die("there is no section %s", argv[3]);
  return 0;
}
