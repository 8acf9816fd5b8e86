/*
** prog_harm.c - one workload through one VFS in a process of its own, and what it cost: calls, bytes, memory.
**
**     prog_harm make DATABASE PAGE_SIZE ROWS ROW_BYTES JOURNAL_MODE scattered|ordered
**     prog_harm run DATABASE PARAMETERS WORKLOAD cold|warm|as-is [mmap] [locked]
**
** run prints one line of JSON. Between writes of "harm-begin" and "harm-end" to /dev/null, which strace sees, are the
** operations that are counted: those after the workload's first ones, or all, opening included, where there are no
** first ones. Cold: the file's pages are dropped from memory at the start, and mincore finds none left, or the program
** ends with 77. Warm: the file is read into memory. as-is: neither. locked: mlockall(MCL_FUTURE) is called first.
**
** item(id, k, v) holds ids and keys 1 to ROWS, the keys in another order; pair the same rows in a WITHOUT ROWID table
** by key, link four ids or keys a row. Randomness has a fixed seed: both VFSs see the same statements.
*/
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sys/mman.h>
#include <sys/stat.h>

#include "uringvfs.h"

enum { SKIPPED = 77, LINKS = 2000, LIST = 20 };

static void must(sqlite3 *db, int rc, const char *what) {
  if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE) return;
  fprintf(stderr, "%s: %d %s\n", what, rc, db ? sqlite3_errmsg(db) : "");
  exit(1);
}

static void run(sqlite3 *db, const char *sql) { must(db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql); }

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement = NULL;
  must(db, sqlite3_prepare_v2(db, sql, -1, &statement, NULL), sql);
  return statement;
}

static int64_t query_int(sqlite3 *db, const char *sql) {
  sqlite3_stmt *statement = prepare(db, sql);
  int64_t value = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : -1;
  must(db, sqlite3_finalize(statement), sql);
  return value;
}

static uint64_t seed = 88172645463325252U;
static int64_t random_below(int64_t bound) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return (int64_t)(seed % (uint64_t)bound);
}

/* ---- Databases ------------------------------------------------------------------------------------------------- */

static uint32_t *permutation(int64_t rows) {
  uint32_t *p = malloc((size_t)rows * sizeof *p);
  if (!p) exit(1);
  for (int64_t i = 0; i < rows; i++) p[i] = (uint32_t)i + 1;
  for (int64_t i = rows - 1; i > 0; i--) {
    int64_t j = random_below(i + 1);
    uint32_t swapped = p[i];
    p[i] = p[j];
    p[j] = swapped;
  }
  return p;
}

static void insert_items(sqlite3 *db, int64_t rows, int bytes, bool scattered) {
  uint32_t *key = permutation(rows);
  uint32_t *order = permutation(rows);
  sqlite3_stmt *statement = prepare(db, "INSERT INTO item VALUES (?1, ?2, zeroblob(?3))");
  for (int64_t i = 0; i < rows; i++) {
    int64_t id = scattered ? order[i] : i + 1;
    sqlite3_bind_int64(statement, 1, id);
    sqlite3_bind_int64(statement, 2, key[id - 1]);
    sqlite3_bind_int(statement, 3, bytes);
    must(db, sqlite3_step(statement), "insert");
    sqlite3_reset(statement);
  }
  sqlite3_finalize(statement);
  free(key);
  free(order);
}

static void insert_links(sqlite3 *db, int64_t rows) {
  sqlite3_stmt *statement = prepare(db, "INSERT INTO link VALUES (?1, ?2, ?3, ?4, ?5)");
  for (int64_t i = 1; i <= LINKS; i++) {
    sqlite3_bind_int64(statement, 1, i);
    for (int c = 2; c <= 5; c++) sqlite3_bind_int64(statement, c, random_below(rows) + 1);
    must(db, sqlite3_step(statement), "insert");
    sqlite3_reset(statement);
  }
  sqlite3_finalize(statement);
}

static int make(char **argv) {
  sqlite3 *db = NULL;
  char sql[200];
  int64_t rows = atoll(argv[2]);
  must(db, sqlite3_open_v2(argv[0], &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), argv[0]);
  snprintf(sql, sizeof sql, "PRAGMA page_size = %d; PRAGMA cache_size = -262144", atoi(argv[1]));
  run(db, sql);
  run(db, "PRAGMA journal_mode = off; PRAGMA synchronous = off; BEGIN");
  run(db, "CREATE TABLE item(id INTEGER PRIMARY KEY, k INTEGER NOT NULL, v BLOB NOT NULL);"
          "CREATE TABLE link(id INTEGER PRIMARY KEY, c1, c2, c3, c4);"
          "CREATE TABLE pair(k INTEGER, id INTEGER, v BLOB, PRIMARY KEY(k, id)) WITHOUT ROWID");
  insert_items(db, rows, atoi(argv[3]), strcmp(argv[5], "scattered") == 0);
  insert_links(db, rows);
  /* Only where rows are short: the large databases are for scans and rows of the table alone. */
  if (atoi(argv[3]) < 1000) run(db, "INSERT INTO pair SELECT k, id, v FROM item");
  run(db, "CREATE UNIQUE INDEX item_k ON item(k); COMMIT");
  snprintf(sql, sizeof sql, "PRAGMA journal_mode = %s", argv[4]);
  run(db, sql);
  must(db, sqlite3_close(db), "close");
  return 0;
}

/* ---- The page cache -------------------------------------------------------------------------------------------- */

static size_t resident_pages(int fd) {
  struct stat st;
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  if (fstat(fd, &st) != 0 || st.st_size == 0) exit(1);
  size_t pages = ((size_t)st.st_size + page - 1) / page;
  unsigned char *in_core = malloc(pages);
  void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
  if (!in_core || map == MAP_FAILED || mincore(map, (size_t)st.st_size, in_core) != 0) exit(1);
  size_t resident = 0;
  for (size_t i = 0; i < pages; i++) resident += in_core[i] & 1;
  munmap(map, (size_t)st.st_size);
  free(in_core);
  return resident;
}

/* Before any connection is open: closing a descriptor of the file drops this process's POSIX locks on it. */
static void drop_cache(const char *path) {
  size_t resident = 1;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  /* A page that some processor has just touched may be on a list of its own, and stay the first times. */
  for (int i = 0; fd >= 0 && resident && i < 50; i++) {
    if (i) usleep(2000);
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    resident = resident_pages(fd);
  }
  close(fd);
  if (resident == 0) return;
  printf("%zu pages stay in memory\n", resident);
  exit(SKIPPED);
}

static void fill_cache(const char *path) {
  static char buffer[1 << 16];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  while (fd >= 0 && read(fd, buffer, sizeof buffer) > 0) continue;
  close(fd);
}

/* ---- Workloads ------------------------------------------------------------------------------------------------- */

typedef struct task {
  const char *path, *parameters;
  bool mmap;
  sqlite3 *db;
  sqlite3_stmt *statement;
  int64_t rows, got, sum; /* rows of item; rows read; their columns added up */
} task;

static sqlite3 *open_database(const task *t, const char *path) {
  sqlite3 *db = NULL;
  char uri[2000];
  snprintf(uri, sizeof uri, "file:%s?%s", path, t->parameters);
  must(db, sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL), uri);
  sqlite3_busy_timeout(db, 60000);
  run(db, "PRAGMA cache_size = -256");
  if (t->mmap) run(db, "PRAGMA mmap_size = 1099511627776");
  return db;
}

static void read_rows(task *t) {
  int rc;
  while ((rc = sqlite3_step(t->statement)) == SQLITE_ROW) {
    for (int c = 0; c < sqlite3_column_count(t->statement); c++)
      t->sum += sqlite3_column_type(t->statement, c) == SQLITE_BLOB ? sqlite3_column_bytes(t->statement, c)
                                                                    : sqlite3_column_int64(t->statement, c);
    t->got++;
  }
  must(t->db, rc, "step");
  must(t->db, sqlite3_reset(t->statement), "reset");
}

static void bind(task *t, int parameter, int64_t value) { sqlite3_bind_int64(t->statement, parameter, value); }

static void op_scan(task *t) { read_rows(t); }

static void op_point(task *t) {
  bind(t, 1, random_below(t->rows) + 1);
  read_rows(t);
}

static void op_range(task *t) {
  int64_t from = random_below(t->rows - LIST) + 1;
  bind(t, 1, from);
  bind(t, 2, from + LIST - 1);
  read_rows(t);
}

static void op_list(task *t) {
  for (int i = 1; i <= LIST; i++) bind(t, i, random_below(t->rows) + 1);
  read_rows(t);
}

static void stop_after(task *t, int rows) {
  bind(t, 1, random_below(t->rows - rows) + 1);
  bind(t, 2, rows);
  read_rows(t);
}
static void op_stop_5(task *t) { stop_after(t, 5); }
static void op_stop_10(task *t) { stop_after(t, 10); }
static void op_stop_20(task *t) { stop_after(t, 20); }
static void op_stop_60(task *t) { stop_after(t, 60); }

static void op_open(task *t) {
  t->db = open_database(t, t->path);
  t->statement = prepare(t->db, "SELECT id, k, v FROM item WHERE id = ?1");
  op_point(t);
  sqlite3_finalize(t->statement);
  must(t->db, sqlite3_close(t->db), "close");
  t->db = NULL;
  t->statement = NULL;
}

/* The copies are the default VFS's files: what is read is measured. */
static void remove_copy(const char *copy) {
  static const char *const suffix[] = {"", "-journal", "-wal", "-shm"};
  for (int i = 0; i < 4; i++) {
    char path[1100];
    snprintf(path, sizeof path, "%s%s", copy, suffix[i]);
    unlink(path);
  }
}

static void finish_copy(task *t, const char *copy) {
  sqlite3 *db = NULL;
  must(db, sqlite3_open_v2(copy, &db, SQLITE_OPEN_READWRITE, "unix"), copy);
  t->got = query_int(db, "SELECT count(*) FROM item INDEXED BY item_k WHERE k > 0");
  must(db, sqlite3_close(db), "close");
  remove_copy(copy);
}

static void op_backup(task *t) {
  char copy[1000];
  sqlite3 *to = NULL;
  snprintf(copy, sizeof copy, "%s.copy.%d", t->path, (int)getpid());
  must(to, sqlite3_open_v2(copy, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), copy);
  run(to, "PRAGMA synchronous = off");
  sqlite3_backup *backup = sqlite3_backup_init(to, "main", t->db, "main");
  if (!backup) must(to, sqlite3_errcode(to), "backup");
  must(to, sqlite3_backup_step(backup, -1), "backup");
  must(to, sqlite3_backup_finish(backup), "backup");
  must(to, sqlite3_close(to), "close");
  finish_copy(t, copy);
}

static void op_vacuum(task *t) {
  char copy[1000];
  char sql[1100];
  snprintf(copy, sizeof copy, "%s.copy.%d", t->path, (int)getpid());
  snprintf(sql, sizeof sql, "PRAGMA synchronous = off; VACUUM INTO 'file:%s?vfs=unix'", copy);
  run(t->db, sql);
  finish_copy(t, copy);
}

typedef struct workload {
  const char *name;
  void (*op)(task *);
  const char *sql; /* NULL: op opens what it needs, or needs no statement */
  int first, ops;  /* operations that are not counted (of whole scans and joins: if warm), and those that are */
} workload;

#define ROW    "SELECT a.id, a.k, a.v FROM item AS a "
#define LINKED "FROM link AS l CROSS JOIN "
static const workload workloads[] = {
    {"scan", op_scan, ROW "ORDER BY id", 1, 1},
    {"point", op_point, ROW "WHERE id = ?1", 20, 200},
    {"range", op_range, ROW "INDEXED BY item_k WHERE k BETWEEN ?1 AND ?2", 10, 40},
    {"join-rowid", op_scan,
     "SELECT l.id, a.v, b.v, c.v, d.v " LINKED "item AS a ON a.id = l.c1 CROSS JOIN item AS b ON b.id = l.c2 "
     "CROSS JOIN item AS c ON c.id = l.c3 CROSS JOIN item AS d ON d.id = l.c4 WHERE l.id <= 400",
     1, 1},
    {"join-index", op_scan,
     "SELECT l.id, a.id, a.v " LINKED "item AS a INDEXED BY item_k ON a.k = l.c1 WHERE l.id <= 500", 1, 1},
    {"join-without-rowid", op_scan, "SELECT l.id, p.id, p.v " LINKED "pair AS p ON p.k = l.c1 WHERE l.id <= 800", 1, 1},
    {"open", op_open, NULL, 3, 25},
    {"stop-5", op_stop_5, ROW "WHERE id >= ?1 ORDER BY id LIMIT ?2", 20, 200},
    {"stop-10", op_stop_10, ROW "WHERE id >= ?1 ORDER BY id LIMIT ?2", 20, 120},
    {"stop-20", op_stop_20, ROW "WHERE id >= ?1 ORDER BY id LIMIT ?2", 20, 120},
    {"stop-60", op_stop_60, ROW "WHERE id >= ?1 ORDER BY id LIMIT ?2", 0, 30},
    {"in-list", op_list, ROW "WHERE id IN (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)", 5,
     100},
    {"backup", op_backup, NULL, 0, 1},
    {"vacuum", op_vacuum, NULL, 0, 1},
};

static const workload *find_workload(const char *name) {
  for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++)
    if (strcmp(workloads[i].name, name) == 0) return &workloads[i];
  fprintf(stderr, "no workload \"%s\"\n", name);
  exit(2);
}

/* ---- Counters -------------------------------------------------------------------------------------------------- */

/* The number behind `name` in a file of /proc. */
static int64_t counter(const char *path, const char *name) {
  FILE *f = fopen(path, "re");
  char line[200];
  int64_t value = -1;
  while (f && fgets(line, sizeof line, f))
    if (strncmp(line, name, strlen(name)) == 0) value = atoll(line + strlen(name));
  if (f) fclose(f);
  if (value >= 0) return value;
  fprintf(stderr, "%s has no %s\n", path, name);
  exit(1);
}

static int64_t stats_member(const char *stats, const char *name) {
  char key[60];
  snprintf(key, sizeof key, "\"%s\":", name);
  const char *p = strstr(stats, key);
  return p ? atoll(p + strlen(key)) : 0;
}

typedef struct counters {
  int64_t read_calls, read_bytes, enters, issued, used;
} counters;

/* The pages that a ring has read ahead are in PRAGMA uring_stats, which the default VFS has not. */
static counters count(sqlite3 *db) {
  counters c = {0};
  sqlite3_stmt *statement = db ? prepare(db, "PRAGMA uring_stats") : NULL;
  if (statement && sqlite3_step(statement) == SQLITE_ROW) {
    const char *stats = (const char *)sqlite3_column_text(statement, 0);
    c.enters = stats_member(stats, "enters");
    c.issued = stats_member(stats, "readahead_issued");
    c.used = stats_member(stats, "readahead_used");
  }
  sqlite3_finalize(statement);
  c.read_calls = counter("/proc/self/io", "syscr: ");
  c.read_bytes = counter("/proc/self/io", "read_bytes: ");
  return c;
}

static void print_result(const task *t, int ops, counters before, counters after) {
  printf("{\"ops\":%d,\"rows\":%lld,\"sum\":%lld,\"calls\":%lld,\"bytes\":%lld,\"issued\":%lld,\"used\":%lld,"
         "\"resident_kb\":%lld,"
         "\"locked_kb\":%lld}\n",
         ops, (long long)t->got, (long long)t->sum,
         (long long)(after.read_calls + after.enters - before.read_calls - before.enters),
         (long long)(after.read_bytes - before.read_bytes), (long long)(after.issued - before.issued),
         (long long)(after.used - before.used), (long long)counter("/proc/self/status", "VmHWM:"),
         (long long)counter("/proc/self/status", "VmLck:"));
}

/* ---- One run --------------------------------------------------------------------------------------------------- */

static void mark(const char *text) {
  int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) exit(1);
  close(fd);
}

static void open_task(task *t, const workload *w) {
  if (w->op == op_open) return;
  t->db = open_database(t, t->path);
  if (w->sql) t->statement = prepare(t->db, w->sql);
}

static int64_t rows_of(const char *path) {
  sqlite3 *db = NULL;
  must(db, sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, "unix"), path);
  sqlite3_busy_timeout(db, 60000); /* another process may be opening or closing it */
  int64_t rows = query_int(db, "SELECT max(id) FROM item");
  must(db, sqlite3_close(db), "close");
  return rows;
}

static void lock_memory(void) {
  if (mlockall(MCL_FUTURE) == 0) return;
  printf("mlockall: %s\n", strerror(errno));
  exit(SKIPPED);
}

static bool has_argument(char **argv, const char *name) {
  while (*argv)
    if (strcmp(*argv++, name) == 0) return true;
  return false;
}

static int run_workload(char **argv) {
  task t = {.path = argv[0], .parameters = argv[1], .mmap = has_argument(argv, "mmap"), .rows = rows_of(argv[0])};
  const workload *w = find_workload(argv[2]);
  must(NULL, uringvfs_register(0), "registering");
  if (has_argument(argv, "cold"))
    drop_cache(t.path);
  else if (has_argument(argv, "warm"))
    fill_cache(t.path);
  if (has_argument(argv, "locked")) lock_memory();
  const int first = w->op == op_scan && !has_argument(argv, "warm") ? 0 : w->first;
  if (first) open_task(&t, w);
  for (int i = 0; i < first; i++) w->op(&t);
  counters before = count(t.db);
  mark("harm-begin");
  if (!first) open_task(&t, w);
  for (int i = 0; i < w->ops; i++) w->op(&t);
  mark("harm-end");
  print_result(&t, w->ops, before, count(t.db));
  sqlite3_finalize(t.statement);
  must(t.db, sqlite3_close(t.db), "close");
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 8 && strcmp(argv[1], "make") == 0) return make(argv + 2);
  if (argc >= 6 && strcmp(argv[1], "run") == 0) return run_workload(argv + 2);
  fprintf(stderr, "usage: see the head of prog_harm.c\n");
  return 2;
}
