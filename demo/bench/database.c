/*
** database.c - the databases that are read: the same rows twice, the table's leaves in the file's order or not, and
** smaller ones with relations between the rows.
**
** Keys are a permutation of the ids, so that a range of keys is a known number of rows spread over the whole table. The
** first word of a row's value follows from its id, the last from id and key: whoever reads a row can tell that its
** three columns belong together, and by the sequence of ids or keys that none is missing.
**
** Fragmented: rows inserted in random order. A full leaf is split, and its new half goes to the end of the file; so
** neighbours by key end up anywhere. dbstat then says where they are.
*/
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>

enum { PICK_EVERY = 200, LINK_COLUMNS = 4, DISTANCES = 1 << 22 };

const char *const layout_names[LAYOUTS] = {"fragmented", "contiguous", "related", "related-64k"};

static uint64_t mix(uint64_t x) { /* the finalizer of splitmix64 */
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

uint64_t first_word(int64_t id) { return mix((uint64_t)id); }
uint64_t last_word(int64_t id, int64_t k) { return mix((uint64_t)id * 0x9e3779b97f4a7c15U + (uint64_t)k); }

static uint32_t *permutation(int64_t rows, uint64_t seed) {
  uint32_t *p = malloc((size_t)rows * sizeof *p);
  if (!p) die("out of memory");
  for (int64_t i = 0; i < rows; i++) p[i] = (uint32_t)i + 1;
  for (int64_t i = rows - 1; i > 0; i--) {
    int64_t j = (int64_t)(next_random(&seed) % (uint64_t)(i + 1));
    uint32_t swapped = p[i];
    p[i] = p[j];
    p[j] = swapped;
  }
  return p;
}

static void progress(const database *base, int64_t done) {
  if (done % 65536 == 0)
    fprintf(stderr, "\r\033[K  making %s.db: %lld %%", layout_names[base->layout],
            (long long)(100 * done / base->rows));
}

static void insert_item(sqlite3_stmt *stmt, int64_t id, int64_t k, uint64_t *v, int bytes) {
  uint64_t first = first_word(id);
  uint64_t last = last_word(id, k);
  for (int i = 0; i < bytes / 8; i++) v[i] = first + (uint64_t)i;
  memcpy((char *)v + bytes - sizeof last, &last, sizeof last);
  sqlite3_bind_int64(stmt, 1, id);
  sqlite3_bind_int64(stmt, 2, k);
  sqlite3_bind_blob(stmt, 3, v, bytes, SQLITE_STATIC);
  check(sqlite3_db_handle(stmt), sqlite3_step(stmt), "insert");
  check(sqlite3_db_handle(stmt), sqlite3_reset(stmt), "insert");
}

static void insert_items(sqlite3 *db, const database *base, const uint32_t *keys) {
  uint32_t *order = base->layout == CONTIGUOUS ? NULL : permutation(base->rows, 3);
  uint64_t *v = malloc((size_t)base->row_bytes + sizeof *v);
  if (!v) die("out of memory");
  sqlite3_stmt *stmt = prepare(db, "INSERT INTO item VALUES (?1, ?2, ?3)");
  for (int64_t i = 0; i < base->rows; i++) {
    int64_t id = order ? order[i] : i + 1;
    insert_item(stmt, id, keys[id - 1], v, base->row_bytes);
    if (base->progress) progress(base, i);
  }
  sqlite3_finalize(stmt);
  free(v);
  free(order);
}

static void insert_picks(sqlite3 *db, const database *base) {
  uint64_t seed = 5;
  sqlite3_stmt *stmt = prepare(db, "INSERT INTO pick VALUES (?1, ?2, ?3)");
  for (int64_t i = 1; i <= base->picks; i++) {
    sqlite3_bind_int64(stmt, 1, i);
    sqlite3_bind_int64(stmt, 2, (int64_t)(next_random(&seed) % (uint64_t)base->rows) + 1);
    sqlite3_bind_int64(stmt, 3, (int64_t)(next_random(&seed) % (uint64_t)base->rows) + 1);
    check(db, sqlite3_step(stmt), "insert");
    check(db, sqlite3_reset(stmt), "insert");
  }
  sqlite3_finalize(stmt);
}

static void insert_relations(sqlite3 *db, const database *base) {
  uint64_t seed = 9;
  run(db, "CREATE TABLE pair(k INTEGER NOT NULL, id INTEGER NOT NULL, v BLOB NOT NULL, PRIMARY KEY(k, id)) "
          "WITHOUT ROWID; INSERT INTO pair SELECT k, id, v FROM item");
  run(db, "CREATE TABLE link(id INTEGER PRIMARY KEY, c1 INTEGER, c2 INTEGER, c3 INTEGER, c4 INTEGER)");
  sqlite3_stmt *stmt = prepare(db, "INSERT INTO link VALUES (?1, ?2, ?3, ?4, ?5)");
  for (int64_t i = 1; i <= base->links; i++) {
    sqlite3_bind_int64(stmt, 1, i);
    for (int c = 0; c < LINK_COLUMNS; c++)
      sqlite3_bind_int64(stmt, c + 2, (int64_t)(next_random(&seed) % (uint64_t)base->rows) + 1);
    check(db, sqlite3_step(stmt), "insert");
    check(db, sqlite3_reset(stmt), "insert");
  }
  sqlite3_finalize(stmt);
}

static sqlite3 *open_default(const database *base) {
  sqlite3 *db = NULL;
  check(db, sqlite3_open_v2(base->path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, "unix"), base->path);
  return db;
}

static void fill(const database *base) {
  sqlite3 *db = open_default(base);
  char sql[100];
  snprintf(sql, sizeof sql, "PRAGMA page_size = %d; PRAGMA cache_size = -262144", base->page_bytes);
  run(db, sql);
  run(db, "PRAGMA journal_mode = off; PRAGMA synchronous = off; BEGIN");
  run(db, "CREATE TABLE item(id INTEGER PRIMARY KEY, k INTEGER NOT NULL, v BLOB NOT NULL)");
  run(db, "CREATE TABLE pick(id INTEGER PRIMARY KEY, item INTEGER NOT NULL, k INTEGER NOT NULL)");
  uint32_t *keys = permutation(base->rows, 7);
  insert_items(db, base, keys);
  free(keys);
  insert_picks(db, base);
  if (base->links) insert_relations(db, base);
  if (base->progress) fprintf(stderr, "\r\033[K  making %s.db: index", layout_names[base->layout]);
  run(db, "CREATE UNIQUE INDEX item_k ON item(k)");
  run(db, "COMMIT; PRAGMA journal_mode = wal");
  close_db(&db);
}

/* ---- Where the leaves are -------------------------------------------------------------------------------------- */

static void describe_leaves(database *base, sqlite3_stmt *stmt, uint32_t *distance) {
  int64_t last = 0;
  int64_t next_to = 0;
  size_t n = 0;
  base->leaves = 0;
  for (; sqlite3_step(stmt) == SQLITE_ROW; base->leaves++) {
    int64_t page = sqlite3_column_int64(stmt, 0);
    if (last && n < DISTANCES) {
      distance[n++] = (uint32_t)llabs(page - last);
      next_to += page == last + 1;
    }
    last = page;
  }
  if (n == 0) return;
  base->adjacent = (double)next_to / (double)n;
  base->median_distance = (int64_t)percentile(distance, n, 50);
}

static void describe(database *base) {
  struct stat st;
  if (stat(base->path, &st) != 0) die("%s: cannot be looked at", base->path);
  base->bytes = st.st_size;
  base->pages = st.st_size / base->page_bytes;
  base->leaves = -1;
  base->median_distance = -1;
  base->adjacent = -1;
  sqlite3 *db = open_default(base);
  sqlite3_stmt *stmt = NULL;
  static const char sql[] = "SELECT pageno FROM dbstat WHERE name = 'item' AND pagetype = 'leaf' ORDER BY name, path";
  if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK) {
    uint32_t *distance = malloc(DISTANCES * sizeof *distance);
    if (!distance) die("out of memory");
    describe_leaves(base, stmt, distance);
    free(distance);
  }
  sqlite3_finalize(stmt);
  close_db(&db);
}

static void make(void *arg) {
  database *base = arg;
  fill(base);
  describe(base);
  if (base->progress) fprintf(stderr, "\r\033[K");
  if (base->leaves < 0 || base->links) return;
  if (base->layout == FRAGMENTED ? base->adjacent > 0.05 : base->adjacent < 0.9)
    die("%s: not %s: %.1f %% of the leaves follow their predecessor", base->path, layout_names[base->layout],
        100 * base->adjacent);
}

static void change_journal_mode(void *arg) {
  const database *base = arg;
  sqlite3 *db = open_default(base);
  run(db, base->rollback ? "PRAGMA journal_mode = delete" : "PRAGMA journal_mode = wal");
  close_db(&db);
}

void set_journal_mode(database *base, bool rollback) {
  if (base->rollback == rollback) return;
  base->rollback = rollback;
  in_child(change_journal_mode, base, false);
}

void make_database(database *base) {
  database *shared = share(sizeof *shared);
  *shared = *base;
  shared->picks = base->rows / PICK_EVERY > 10 ? base->rows / PICK_EVERY : 10;
  in_child(make, shared, false);
  *base = *shared;
  unshare_memory(shared, sizeof *shared);
}
