/*
** test_readahead.c - what is read ahead, how much of it for nothing, and that it is never stale.
**
** Databases of every shape are read through uring with every read on the ring, so that what the kernel has cached makes
** no difference, and with a cache of SQLite's own that is too small. Each answer is compared with the default VFS's.
*/
#include "../process/support.h"

static const char *const scans[] = {
    "SELECT count(*), sum(id), sum(length(pad)), min(pad) FROM t",
    "SELECT group_concat(id) FROM (SELECT id, pad FROM t WHERE length(pad) > 1 ORDER BY id DESC LIMIT 100000)",
    "SELECT count(*), sum(k) FROM t INDEXED BY tk WHERE k >= 0",
    "SELECT group_concat(k) FROM (SELECT k FROM t INDEXED BY tk WHERE k >= 0 ORDER BY k DESC LIMIT 100000)",
    "SELECT count(*), max(b) FROM w",
    "SELECT group_concat(a) FROM (SELECT a, b FROM w WHERE b IS NOT NULL ORDER BY a DESC LIMIT 100000)",
    "SELECT sum(length(x)), sum(unicode(hex(x))) FROM o",
};
static const char *const others[] = {
    "SELECT sum(length(pad)), sum(id) FROM t INDEXED BY tk WHERE k BETWEEN 100 AND 600",
    "SELECT group_concat(length(pad)) FROM (SELECT pad FROM t INDEXED BY tk WHERE k > 300 ORDER BY k DESC LIMIT 700)",
    "SELECT sum(t.id * w.b) FROM w JOIN t ON t.id = w.b",
    "SELECT count(*) FROM (SELECT id, pad FROM t WHERE id % 2 UNION ALL SELECT id, x FROM o)",
    "SELECT sum(a.id - b.id) FROM t a JOIN t b ON b.id = 2999 - a.id",
    "SELECT sum(length(a.pad) * b.id) FROM t a CROSS JOIN t b ON b.id = a.k",
    "PRAGMA integrity_check",
    "SELECT sum(length(sql)) FROM sqlite_schema",
};

typedef struct shape {
  int page_size, reserved, auto_vacuum;
  const char *journal;
} shape;

enum { ROWS = 3000 };

static void make(const char *path, const shape *s) {
  char text[2048];
  sqlite3 *db = db_open(path, default_vfs);
  int reserved = s->reserved;
  assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved), SQLITE_OK);
  snprintf(text, sizeof text,
           "PRAGMA page_size=%d; PRAGMA auto_vacuum=%d; PRAGMA journal_mode=%s; PRAGMA synchronous=off;"
           "PRAGMA wal_autocheckpoint=0;"
           "CREATE TABLE t(id INTEGER PRIMARY KEY, k INT, pad); CREATE INDEX tk ON t(k);"
           "CREATE TABLE w(a TEXT PRIMARY KEY, b INT, c) WITHOUT ROWID; CREATE TABLE o(id INTEGER PRIMARY KEY, x);"
           "BEGIN; WITH c(i) AS (VALUES(0) UNION ALL SELECT i+1 FROM c WHERE i < %d - 1)"
           "INSERT INTO t SELECT i * 1109 %% %d, i * 31 %% 1000, zeroblob(%d) FROM c;"
           "INSERT INTO w SELECT printf('%%08d', id * 7 %% %d), id, hex(zeroblob(60)) FROM t ORDER BY k;"
           "INSERT INTO o SELECT id, zeroblob(%d) FROM t WHERE id < 60; COMMIT",
           s->page_size, s->auto_vacuum, s->journal, ROWS, ROWS, s->page_size / 5, ROWS, s->page_size * 7 / 2);
  sql(db, text);
  for (int i = 0; i < 120; i++) { /* a schema of several pages */
    snprintf(text, sizeof text, "CREATE TABLE s%d(a%d INT /* %s */)", i, i, "a comment that makes it longer");
    sql(db, text);
  }
  db_close(db);
}

/* A WAL that nobody checkpoints: the connection that made it stays open. */
static sqlite3 *keep_open(const char *path) {
  sqlite3 *db = db_open(path, default_vfs);
  sql(db, "PRAGMA wal_autocheckpoint=0; SELECT count(*) FROM t");
  return db;
}

static sqlite3 *reader(const char *path, const char *vfs) {
  sqlite3 *db = db_open(path, vfs);
  (void)sql_rc(db, "PRAGMA cache_size=12", NULL); /* fails where the schema is damaged */
  return db;
}

static void same_answer(sqlite3 *a, sqlite3 *b, const char *query) {
  row_value first, second;
  assert_int_equal(sql_rc(a, query, &first), SQLITE_OK);
  assert_int_equal(sql_rc(b, query, &second), SQLITE_OK);
  assert_int_equal(first.rows, second.rows);
  assert_string_equal(first.text, second.text);
}

/* Pages read ahead by a query, and how many of them for nothing. */
typedef struct effort {
  long long issued, wasted, reads;
} effort;

static effort effort_of(sqlite3 *db, const char *query) {
  const effort before = {stat_value(db, "readahead_issued"), stat_value(db, "readahead_wasted"),
                         stat_value(db, "reads")};
  sql(db, query);
  return (effort){stat_value(db, "readahead_issued") - before.issued,
                  stat_value(db, "readahead_wasted") - before.wasted, stat_value(db, "reads") - before.reads};
}

static void one_shape(const shape *s, const char *path) {
  database_remove(path);
  make(path, s);
  sqlite3 *a = reader(path, default_vfs), *b = reader(path, uring_vfs());
  for (size_t i = 0; i < sizeof scans / sizeof *scans; i++) {
    same_answer(a, b, scans[i]);
    if (!vfs_is_uring || !ring_works) continue;
    const effort e = effort_of(b, scans[i]);
    if (e.reads > 30 && (e.issued < 4 || e.wasted * 20 > e.issued))
      fail_msg("page size %d, %s: %s: %lld pages read ahead, %lld of them for nothing", s->page_size, s->journal,
               scans[i], e.issued, e.wasted);
  }
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) same_answer(a, b, others[i]);
  db_close(a);
  db_close(b);
}

static void test_every_shape(void **state) {
  static const shape shapes[] = {
      {512, 0, 0, "delete"},   {512, 0, 1, "wal"},   {1024, 0, 0, "wal"},
      {4096, 0, 0, "delete"},  {4096, 32, 1, "wal"}, {4096, 0, 2, "off"},
      {65536, 0, 0, "delete"}, {65536, 0, 0, "wal"}, {8192, 255, 0, "persist"},
  };
  (void)state;
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) one_shape(&shapes[i], at("shape.db"));
}

/* Pages that live in the WAL are read ahead there; of `half` of the rows the others are in the database. */
static void pages_in_the_wal(int page_size, const char *half) {
  char text[256];
  const char *path = at("wal.db");
  database_remove(path);
  make(path, &(shape){page_size, 0, 0, "delete"});
  sqlite3 *writer = db_open(path, default_vfs);
  sql(writer, "PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0");
  /* more than one region of the wal-index */
  snprintf(text, sizeof text, "UPDATE t SET pad = randomblob(%d) WHERE %s", page_size / 5, half);
  sql(writer, text);
  snprintf(text, sizeof text, "UPDATE t SET pad = randomblob(%d) WHERE id %% 3 = 0 AND %s", page_size / 5 + 1, half);
  sql(writer, text);
  sqlite3 *keep = keep_open(path), *a = reader(path, default_vfs), *b = reader(path, uring_vfs());
  for (size_t i = 0; i < sizeof scans / sizeof *scans; i++) same_answer(a, b, scans[i]);
  if (vfs_is_uring && ring_works) {
    const effort e = effort_of(b, scans[0]);
    assert_true(e.issued > 100);
    assert_true(e.wasted * 20 <= e.issued);
  }
  db_close(a);
  db_close(b);
  db_close(keep);
  db_close(writer);
}

static void test_pages_in_the_wal(void **state) {
  (void)state;
  pages_in_the_wal(4096, "id >= 0");
  /* every 64th of these frames has the offset of a page */
  pages_in_the_wal(512, "id % 200 < 100");
  pages_in_the_wal(512, "id % 30 < 15");
}

/* What a snapshot has in the WAL is looked up anew for the next one. */
static void test_next_snapshot(void **state) {
  (void)state;
  if (!vfs_is_uring || !ring_works) skip();
  const char *path = at("next.db");
  make(path, &(shape){4096, 0, 0, "wal"});
  sqlite3 *writer = db_open(path, default_vfs), *db = reader(path, uring_vfs());
  sql(writer, "PRAGMA wal_autocheckpoint=0");
  for (int i = 0; i < 3; i++) {
    sql(writer, "UPDATE t SET pad = randomblob(800)");
    const effort e = effort_of(db, scans[0]);
    if (e.issued < 100 || e.wasted * 20 > e.issued)
      fail_msg("snapshot %d: %lld pages read ahead, %lld for nothing", i, e.issued, e.wasted);
  }
  db_close(db);
  db_close(writer);
}

/* Looking up rows reads nothing ahead, and a short answer a few pages at most. */
static void test_little_is_wasted(void **state) {
  (void)state;
  if (!vfs_is_uring || !ring_works) skip();
  const char *path = at("points.db");
  make(path, &(shape){4096, 0, 0, "delete"});
  sqlite3 *db = reader(path, uring_vfs());
  effort all = {0, 0, 0};
  for (int i = 0; i < 2000; i++) {
    char query[128];
    snprintf(query, sizeof query,
             i % 2 ? "SELECT pad FROM t WHERE id = %d" : "SELECT max(pad) FROM t WHERE k = %d AND id < 700",
             (int)(i * 2654435761u % 1000));
    const effort e = effort_of(db, query);
    all.issued += e.issued;
    all.wasted += e.wasted;
    all.reads += e.reads;
  }
  if (all.wasted * 100 > all.reads) fail_msg("%lld of %lld pages for nothing", all.wasted, all.reads);
  const effort few = effort_of(db, "SELECT id, pad FROM t LIMIT 10");
  assert_true(few.issued <= 4);
  sql(db, "PRAGMA uring_readahead=0");
  assert_int_equal(effort_of(db, scans[0]).issued, 0);
  db_close(db);
}

/* ---- joins ---- */

/*
** The rows of `a` name rows of b and c in an order of their own, beside integers that name none. `wide` has few rows on
** each page, `few` is a single page, and the rows that `thin` names lie far apart. d and e are looked up in by an index
** that holds all that is wanted.
*/
static void make_join(const char *path, const char *journal) {
  char text[2048];
  database_remove(path);
  sqlite3 *db = db_open(path, default_vfs);
  snprintf(text, sizeof text,
           "PRAGMA page_size=4096; PRAGMA journal_mode=%s; PRAGMA synchronous=off; PRAGMA wal_autocheckpoint=0;"
           "CREATE TABLE a(id INTEGER PRIMARY KEY, n INT, note, flag INT, x INT, y INT);"
           "CREATE TABLE b(id INTEGER PRIMARY KEY, pad); CREATE TABLE c(id INTEGER PRIMARY KEY, pad);"
           "CREATE TABLE wide(x INT, pad, y INT); CREATE TABLE few(y INT, x INT); CREATE TABLE thin(id INTEGER PRIMARY "
           "KEY, x INT);"
           "CREATE TABLE w(name TEXT PRIMARY KEY, x INT) WITHOUT ROWID;"
           "CREATE TABLE d(k INTEGER PRIMARY KEY, pad) WITHOUT ROWID; CREATE TABLE e(k INT, pad);"
           "CREATE INDEX ek ON e(k, pad);"
           "CREATE TABLE g(k INT, pad); CREATE INDEX gk ON g(k);"
           "BEGIN; WITH s(i) AS (VALUES(0) UNION ALL SELECT i+1 FROM s WHERE i < 9999)"
           "INSERT INTO b SELECT i, zeroblob(800) FROM s;"
           "INSERT INTO c SELECT id, zeroblob(900) FROM b;"
           "INSERT INTO a SELECT id, id * 17 %% 5000, 'note ' || id, id %% 3, id * 7919 %% 10000, id * 3571 %% 10000 "
           "FROM b WHERE id < 5000;"
           "INSERT INTO wide SELECT x, zeroblob(450), y FROM a WHERE id < 1500;"
           "INSERT INTO few SELECT y, x FROM a WHERE id < 250;"
           "INSERT INTO thin SELECT id * 40, id * 7919 %% 250 * 40 + 1 FROM b WHERE id < 250;"
           "INSERT INTO d SELECT id, zeroblob(60) FROM b; INSERT INTO e SELECT id, zeroblob(250) FROM b;"
           "INSERT INTO g SELECT id * 3571 %% 10000, zeroblob(800) FROM b;"
           "INSERT INTO w SELECT note, x FROM a; COMMIT",
           journal);
  sql(db, text);
  db_close(db);
}

/* Each with the pages that must be read ahead at least. */
static const struct {
  long long issued;
  const char *query;
} joins[] = {
    {3000, "SELECT count(*), sum(length(b.pad)), sum(a.id * b.id) FROM a CROSS JOIN b ON b.id = a.x"},
    {3000, "SELECT group_concat(id) FROM (SELECT b.id, b.pad FROM a CROSS JOIN b ON b.id = a.x WHERE length(b.pad) > 1 "
           "ORDER BY a.id DESC LIMIT 100000)"},
    {6000,
     "SELECT sum(length(b.pad)), sum(length(c.pad)) FROM a CROSS JOIN b ON b.id = a.x CROSS JOIN c ON c.id = a.y"},
    {900, "SELECT sum(length(b.pad)) FROM wide CROSS JOIN b ON b.id = wide.x"},
    {150, "SELECT sum(length(b.pad)) FROM few CROSS JOIN b ON b.id = few.x"},
    {3000, "SELECT sum(length(b.pad)) FROM w CROSS JOIN b ON b.id = w.x"},
    {2000, "SELECT sum(length(d.pad)) FROM a CROSS JOIN d ON d.k = a.x"},
    {3000, "SELECT sum(length(e.pad)) FROM a CROSS JOIN e INDEXED BY ek ON e.k = a.x"},
    {4800, "SELECT sum(length(g.pad)) FROM a CROSS JOIN g INDEXED BY gk ON g.k = a.x"},
    {150, "SELECT sum(length(b.pad)) FROM thin CROSS JOIN b ON b.id = thin.id"},
    {150, "SELECT sum(length(pad)) FROM b WHERE id IN (SELECT id FROM thin)"},
    {150, "SELECT sum(length(pad)) FROM b WHERE id IN (SELECT x FROM thin)"},
};

static void test_joins(void **state) {
  static const char *const modes[] = {"delete", "wal"};
  (void)state;
  const char *path = at("join.db");
  for (size_t m = 0; m < 2; m++) {
    make_join(path, modes[m]);
    for (size_t i = 0; i < sizeof joins / sizeof *joins; i++) {
      sqlite3 *a = reader(path, default_vfs), *b = reader(path, uring_vfs());
      same_answer(a, b, joins[i].query);
      sql(b, "SELECT count(pad) FROM c"); /* leaves nothing of the outer table in SQLite's cache */
      if (vfs_is_uring && ring_works) {
        const effort e = effort_of(b, joins[i].query);
        if (e.issued < joins[i].issued || e.wasted * 20 > e.issued)
          fail_msg("%s: %lld of %lld pages read ahead, %lld of them for nothing", joins[i].query, e.issued, e.reads,
                   e.wasted);
      }
      db_close(a);
      db_close(b);
    }
  }
}

/* Leaves of few rows and a range of an index: what is read ahead does not end where a leaf ends. */
static void test_leaves_are_crossed(void **state) {
  static const char *const queries[] = {
      "SELECT sum(length(b.pad)) FROM wide CROSS JOIN b ON b.id = wide.x",
      "SELECT sum(length(pad)) FROM g INDEXED BY gk WHERE k > 10",
  };
  (void)state;
  if (!vfs_is_uring || !ring_works) skip();
  const char *path = at("join.db");
  make_join(path, "delete");
  for (size_t i = 0; i < sizeof queries / sizeof *queries; i++) {
    sqlite3 *db = reader(path, uring_vfs());
    const long long before = stat_value(db, "readahead_batches");
    const effort e = effort_of(db, queries[i]);
    const long long batches = stat_value(db, "readahead_batches") - before;
    if (e.issued < 1000 || batches * 25 > e.issued)
      fail_msg("%s: %lld pages read ahead in %lld batches", queries[i], e.issued, batches);
    db_close(db);
  }
}

/* A join of which most rows are never looked up: to read them ahead would be in vain. */
static void test_joins_of_few_rows(void **state) {
  (void)state;
  if (!vfs_is_uring || !ring_works) skip();
  const char *path = at("join.db");
  make_join(path, "delete");
  sqlite3 *db = reader(path, uring_vfs());
  const effort e = effort_of(db, "SELECT sum(length(pad)) FROM a CROSS JOIN b ON b.id = a.x WHERE a.n % 10 = 0");
  assert_true(e.wasted * 20 <= e.reads);
  db_close(db);
}

/* Looking up random rows in one transaction is no join, whatever integers there are. */
static void test_points_of_one_transaction(void **state) {
  (void)state;
  if (!vfs_is_uring || !ring_works) skip();
  const char *path = at("join.db");
  make_join(path, "delete");
  sqlite3 *db = reader(path, uring_vfs());
  effort all = {0, 0, 0};
  sql(db, "BEGIN");
  for (int i = 0; i < 3000; i++) {
    char query[128];
    snprintf(query, sizeof query, "SELECT max(pad) FROM %s WHERE rowid = %d", i % 3 ? "b" : "wide",
             (int)(i * 2654435761u % (i % 3 ? 10000 : 1500)));
    const effort e = effort_of(db, query);
    all.issued += e.issued;
    all.wasted += e.wasted;
    all.reads += e.reads;
  }
  sql(db, "COMMIT");
  assert_true(all.reads > 2000);
  if (all.wasted * 100 > all.reads) fail_msg("%lld of %lld pages for nothing", all.wasted, all.reads);
  db_close(db);
}

/* ---- overflow chains that are scattered in the file ---- */

/* Every number below n once, in no order: the cubes, where n is a prime and n - 1 no multiple of 3. */
static int scattered(int i, int n) { return (int)((long long)i * i % n * i % n); }

/* Each of these rows has an overflow page. */
static void make_filler(sqlite3 *db, int page_size, int rows) {
  char text[256];
  snprintf(
      text, sizeof text,
      "CREATE TABLE f(id INTEGER PRIMARY KEY, x); WITH c(i) AS (VALUES(0) UNION ALL SELECT i+1 FROM c WHERE i < %d) "
      "INSERT INTO f SELECT i, zeroblob(%d) FROM c",
      rows, page_size);
  sql(db, text);
}

/* The pages that are free next are anywhere. No more than are used at once: of many, SQLite takes those that lie side
** by side. */
static void free_some(sqlite3 *db, int *freed, int pages, int rows) {
  char text[64];
  for (; pages > 0; pages--) {
    snprintf(text, sizeof text, "DELETE FROM f WHERE id = %d", scattered((*freed)++, rows));
    sql(db, text);
  }
}

typedef struct chains {
  shape shape;
  bool in_wal;      /* they are written there, and stay there */
  int rows, filler; /* rows, as many as scattered() wants     */
} chains;

/* Values of 2 to 6 pages each. Of w, some rows are on interior pages. */
static sqlite3 *make_chains(const char *path, const chains *c) {
  char text[1024];
  const int size = c->shape.page_size;
  sqlite3 *db = db_open(path, default_vfs);
  int reserved = c->shape.reserved, freed = 0;
  assert_int_equal(sqlite3_file_control(db, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved), SQLITE_OK);
  snprintf(text, sizeof text,
           "PRAGMA page_size=%d; PRAGMA auto_vacuum=%d; PRAGMA journal_mode=off; PRAGMA synchronous=off;"
           "CREATE TABLE t(id INTEGER PRIMARY KEY, a INT, b, c INT);"
           "CREATE TABLE w(id INTEGER PRIMARY KEY, a INT, b, c INT) WITHOUT ROWID",
           size, c->shape.auto_vacuum);
  sql(db, text);
  make_filler(db, size, c->filler);
  snprintf(text, sizeof text, "PRAGMA journal_mode=%s; PRAGMA wal_autocheckpoint=0; BEGIN", c->shape.journal);
  sql(db, text);
  for (int i = 0; i < c->rows; i++) {
    free_some(db, &freed, 2 + i % 5 + i % 2, c->filler);
    snprintf(text, sizeof text, "INSERT INTO %s VALUES(%d, %d, randomblob(%d), %d)", i % 3 ? "t" : "w",
             scattered(i, c->rows), i % 5, size * (2 + i % 5) - i % 7 * size / 9, i % 11);
    sql(db, text);
  }
  sql(db, "COMMIT");
  if (c->in_wal) return db;
  if (strcmp(c->shape.journal, "wal") == 0) sql(db, "PRAGMA wal_checkpoint(TRUNCATE)");
  db_close(db);
  return NULL;
}

/* Of all bytes of all columns in the order of the rows. */
static uint64_t digest(sqlite3 *db, const char *query) {
  sqlite3_stmt *stmt;
  uint64_t sum = 14695981039346656037u;
  int rc;
  assert_int_equal(sqlite3_prepare_v2(db, query, -1, &stmt, NULL), SQLITE_OK);
  while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    for (int i = 0; i < sqlite3_column_count(stmt); i++) {
      const uint8_t *bytes = sqlite3_column_blob(stmt, i);
      for (int n = sqlite3_column_bytes(stmt, i); n > 0; n--) sum = (sum ^ *bytes++) * 1099511628211u;
    }
  }
  assert_int_equal(rc, SQLITE_DONE);
  assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
  return sum;
}

static void chains_are_read_ahead(const chains *c, sqlite3 *a, sqlite3 *b) {
  static const char *const whole[] = {"SELECT id, b FROM t", "SELECT id, b FROM t ORDER BY id DESC",
                                      "SELECT id, b FROM w", "SELECT id, b FROM w ORDER BY id DESC",
                                      "SELECT id, b, c FROM t WHERE id > 7"};
  for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
    assert_int_equal(digest(a, whole[i]), digest(b, whole[i]));
    if (!vfs_is_uring || !ring_works) continue;
    const int pages = strstr(whole[i], "w") ? c->rows / 3 : c->rows * 5 / 4; /* the leaves are a third of that */
    const effort e = effort_of(b, whole[i]);
    if (e.issued < pages || e.wasted * 20 > e.issued)
      fail_msg("page size %d, %s, %s: %lld pages read ahead, %lld of them for nothing", c->shape.page_size,
               c->shape.journal, whole[i], e.issued, e.wasted);
  }
}

/* Nor are the values of some rows. */
static void other_columns_are_not(const chains *c, sqlite3 *db) {
  static const char *const partly[] = {"SELECT id, a, length(b) FROM t",
                                       "SELECT id, a FROM w WHERE length(b) > 1 ORDER BY id DESC",
                                       "SELECT id, unicode(CASE WHEN id % 4 = 0 THEN b END) FROM t"};
  for (size_t i = 0; i < sizeof partly / sizeof *partly; i++) {
    const effort e = effort_of(db, partly[i]);
    if (e.issued > c->rows || e.wasted * 20 > e.issued) /* of leaves there are fewer */
      fail_msg("page size %d, %s: %lld pages read ahead, %lld of them for nothing", c->shape.page_size, partly[i],
               e.issued, e.wasted);
  }
}

static void single_rows_are_not(const chains *c, sqlite3 *db) {
  effort all = {0, 0, 0};
  for (int i = 0; i < 300; i++) {
    char query[128];
    snprintf(query, sizeof query, "SELECT b FROM %s WHERE id = %d", i % 3 ? "t" : "w",
             (int)(i * 2654435761u % (unsigned)c->rows));
    const effort e = effort_of(db, query);
    all.wasted += e.wasted;
    all.reads += e.reads;
  }
  if (all.wasted > 2 && all.wasted * 100 > all.reads)
    fail_msg("page size %d: %lld of %lld pages for nothing", c->shape.page_size, all.wasted, all.reads);
}

static void test_scattered_chains(void **state) {
  static const chains all[] = {
      {{512, 0, 0, "delete"}, false, 1013, 5081}, {{512, 16, 1, "wal"}, true, 1013, 5081},
      {{1024, 0, 2, "wal"}, false, 509, 2549},    {{4096, 0, 0, "delete"}, false, 509, 2549},
      {{4096, 32, 0, "wal"}, false, 509, 2549},   {{4096, 0, 0, "wal"}, true, 509, 2549},
      {{16384, 0, 0, "wal"}, true, 251, 1259},    {{65536, 0, 0, "off"}, false, 251, 1259},
  };
  (void)state;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    const char *path = at("chains.db");
    database_remove(path);
    sqlite3 *writer = make_chains(path, &all[i]);
    sqlite3 *a = reader(path, default_vfs), *b = reader(path, uring_vfs());
    chains_are_read_ahead(&all[i], a, b);
    if (vfs_is_uring && ring_works) {
      other_columns_are_not(&all[i], b);
      single_rows_are_not(&all[i], b);
    }
    db_close(a);
    db_close(b);
    if (writer != NULL) db_close(writer);
  }
}

/* ---- never stale ---- */

/* Steps through t and adds up k, calling `between` after every so many rows. */
static long long sum_of_k(sqlite3 *db, void (*between)(int row, void *), void *arg) {
  sqlite3_stmt *stmt;
  long long sum = 0;
  int row = 0, rc;
  assert_int_equal(sqlite3_prepare_v2(db, "SELECT k, length(pad) FROM t", -1, &stmt, NULL), SQLITE_OK);
  while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
    sum += sqlite3_column_int64(stmt, 0);
    if (++row % 100 == 0 && between != NULL) between(row, arg);
  }
  assert_int_equal(rc, SQLITE_DONE);
  assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
  return sum;
}

/* Leaves a scan in the middle: pages that were read ahead wait in the buffer. */
static void scan_a_part(sqlite3 *db) { sql(db, "SELECT id, pad FROM t LIMIT 1111"); }

static void write_and_checkpoint(int row, void *writer) {
  static const char *const modes[] = {"PASSIVE", "FULL", "RESTART", "TRUNCATE"};
  char text[128];
  sql(writer, "UPDATE t SET k = k + 1");
  snprintf(text, sizeof text, "PRAGMA wal_checkpoint(%s)", modes[row / 100 % 4]);
  (void)sql_rc(writer, text, NULL); /* the reader holds most of them back */
}

/* Another connection writes, checkpoints and restarts the WAL between the steps of a scan, and between scans. */
static void snapshot_beside_writer(const char *vfs_of_writer) {
  const char *path = at("snapshot.db");
  database_remove(path);
  make(path, &(shape){1024, 0, 0, "wal"});
  sqlite3 *writer = db_open(path, vfs_of_writer), *db = reader(path, uring_vfs());
  for (int round = 0; round < 12; round++) {
    const long long expected = sql(writer, "SELECT sum(k) FROM t");
    assert_int_equal(sum_of_k(db, write_and_checkpoint, writer), expected);
    if (round % 2) (void)sql_rc(writer, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
    /* the wal-index header does not change by this, but the database file does (TRAPS 7) */
    assert_int_equal(sum_of_k(db, NULL, NULL), sql(writer, "SELECT sum(k) FROM t"));
    scan_a_part(db);
    sql(writer, "UPDATE t SET k = k + 3");
    (void)sql_rc(writer, "PRAGMA wal_checkpoint(PASSIVE)", NULL);
    assert_int_equal(sum_of_k(db, NULL, NULL), sql(writer, "SELECT sum(k) FROM t"));
  }
  db_close(db);
  db_close(writer);
}

static void test_snapshot_beside_writer(void **state) {
  (void)state;
  snapshot_beside_writer(default_vfs);
  snapshot_beside_writer(uring_vfs());
}

static void test_lock_dropped_and_retaken(void **state) {
  static const char *const modes[] = {"delete", "truncate", "persist", "off"};
  (void)state;
  for (size_t m = 0; m < sizeof modes / sizeof *modes; m++) {
    const char *path = at("rollback.db");
    database_remove(path);
    make(path, &(shape){1024, 0, 0, modes[m]});
    sqlite3 *writer = db_open(path, default_vfs), *db = reader(path, uring_vfs());
    for (int round = 0; round < 6; round++) {
      scan_a_part(db);
      sql(writer, "UPDATE t SET k = k + id");
      assert_int_equal(sum_of_k(db, NULL, NULL), sql(writer, "SELECT sum(k) FROM t"));
      if (round == 3) sql(writer, "VACUUM");
      if (round == 4) sql(writer, "PRAGMA page_size=4096; VACUUM");
    }
    db_close(db);
    db_close(writer);
  }
}

static void update_ahead(int row, void *db) {
  char text[128];
  snprintf(text, sizeof text, "UPDATE t SET k = k + 1000000 WHERE id BETWEEN %d AND %d", row + 5, row + 900);
  sql(db, text);
  if (row % 500 == 0) sql(db, "SAVEPOINT s; UPDATE t SET k = 0, pad = randomblob(300); ROLLBACK TO s; RELEASE s");
}

/* The connection that scans writes what lies ahead of it, more than its cache holds. */
static void test_own_writes(void **state) {
  static const char *const modes[] = {"delete", "wal"};
  (void)state;
  for (size_t m = 0; m < 2; m++) {
    long long sums[2][3];
    for (int v = 0; v < 2; v++) {
      const char *path = at("own.db");
      database_remove(path);
      make(path, &(shape){1024, 0, 0, modes[m]});
      sqlite3 *db = reader(path, v ? uring_vfs() : default_vfs);
      sql(db, "PRAGMA cache_spill=5; BEGIN");
      sums[v][0] = sum_of_k(db, update_ahead, db);
      sql(db, "COMMIT; BEGIN");
      sums[v][1] = sum_of_k(db, update_ahead, db);
      scan_a_part(db);
      sql(db, "ROLLBACK; DELETE FROM t WHERE id % 5 = 0; VACUUM");
      sums[v][2] = sum_of_k(db, NULL, NULL);
      assert_int_equal(sql(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0);
      db_close(db);
    }
    assert_memory_equal(sums[0], sums[1], sizeof sums[0]);
  }
}

/* ---- locks that nobody sees ---- */

static void test_without_locks(void **state) {
  (void)state;
  const char *path = at("still.db");
  char uri[PATH_MAX + 64];
  sqlite3 *db;
  if (!vfs_is_uring || !ring_works) skip();
  make(path, &(shape){4096, 0, 0, "delete"});
  for (int immutable = 0; immutable < 2; immutable++) {
    snprintf(uri, sizeof uri, "file:%s?vfs=uring&uring_backend=uring&%s=1", path, immutable ? "immutable" : "nolock");
    assert_int_equal(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL), SQLITE_OK);
    const effort e = effort_of(db, scans[0]);
    assert_int_equal(e.issued > 0, immutable);
    db_close(db);
  }
}

/* ---- damage ---- */

static uint32_t random_state = 1;
static uint32_t next_random(void) { return random_state = random_state * 1664525u + 1013904223u; }

static void damaged_answer(sqlite3 *db, const char *query, int round) {
  const int rc = sql_rc(db, query, NULL);
  if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_CORRUPT && rc != SQLITE_ERROR)
    fail_msg("round %d, %s: %d (%s)", round, query, rc, sqlite3_errmsg(db));
}

/*
** Nothing hangs, and nothing is read from elsewhere (the sanitizers look). The answers are not compared: SQLite's own
** for a damaged page may differ from one reading to the next.
*/
static void damage_and_scan(const char *path, const char *const *queries, size_t count, int rounds) {
  const char *damaged = at("damaged.db");
  for (int round = 0; round < rounds; round++) {
    char command[2 * PATH_MAX + 16];
    snprintf(command, sizeof command, "cp %s %s", path, damaged);
    assert_int_equal(system(command), 0);
    int fd = open(damaged, O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    for (int i = 0; i < 40; i++) {
      const uint32_t page = next_random() % (uint32_t)(st.st_size / 512), value = next_random();
      /* mostly in the header and the cell pointers */
      const off_t offset = (off_t)page * 512 + (page == 0 ? 100 : 0) + (off_t)(next_random() % (i % 4 ? 60 : 400));
      const size_t bytes = 1 + next_random() % 4;
      assert_int_equal(pwrite(fd, &value, bytes, offset), bytes);
    }
    close(fd);
    sqlite3 *db = reader(damaged, uring_vfs());
    for (size_t i = 0; i < count; i++) damaged_answer(db, queries[i], round);
    db_close(db);
  }
}

static void test_damaged_pages(void **state) {
  static const char *const of_chains[] = {"SELECT max(b), id FROM t", "SELECT b FROM w ORDER BY id DESC"};
  (void)state;
  const char *path = at("good.db"), *path_of_chains = at("good_chains.db");
  make(path, &(shape){512, 0, 0, "delete"});
  damage_and_scan(path, scans, sizeof scans / sizeof *scans, 150);
  damage_and_scan(path, others, sizeof others / sizeof *others, 150);
  make_chains(path_of_chains, &(chains){{512, 0, 0, "delete"}, false, 509, 2549});
  damage_and_scan(path_of_chains, of_chains, sizeof of_chains / sizeof *of_chains, 150);
}

int main(int argc, char **argv) {
  support_start();
  if (argc > 1) cmocka_set_test_filter(argv[1]);
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_every_shape),
      cmocka_unit_test(test_pages_in_the_wal),
      cmocka_unit_test(test_next_snapshot),
      cmocka_unit_test(test_little_is_wasted),
      cmocka_unit_test(test_joins),
      cmocka_unit_test(test_leaves_are_crossed),
      cmocka_unit_test(test_joins_of_few_rows),
      cmocka_unit_test(test_points_of_one_transaction),
      cmocka_unit_test(test_scattered_chains),
      cmocka_unit_test(test_snapshot_beside_writer),
      cmocka_unit_test(test_lock_dropped_and_retaken),
      cmocka_unit_test(test_own_writes),
      cmocka_unit_test(test_without_locks),
      cmocka_unit_test(test_damaged_pages),
  };
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
