/*
** support_script.c - see support_script.h.
*/
#include "support_script.h"

#include <ftw.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Rows that are half a page, one that goes into a chain of overflow pages, and an index. */
#define TABLE                                                                                                          \
  "CREATE TABLE t(a INTEGER PRIMARY KEY, k INTEGER, b TEXT)\n"                                                         \
  "CREATE INDEX i ON t(k)\n"
#define ROWS(from, to, letter)                                                                                         \
  "WITH r(x) AS (VALUES(" #from ") UNION ALL SELECT x+1 FROM r WHERE x<" #to                                           \
  ") INSERT INTO t SELECT x, x*7919%1009, printf('%.*c', 1800, '" #letter "') FROM r\n"
#define BIG   "INSERT INTO t VALUES(90000, -1, printf('%.*c', 60000, 'V'))\n"
#define LOOK  "SELECT count(*), sum(length(b)), group_concat(DISTINCT substr(b,1,1)) FROM t\n"
#define ORDER "SELECT sum(length(b)) FROM (SELECT b FROM t INDEXED BY i WHERE k BETWEEN 100 AND 700 ORDER BY k)\n"
#define SMALL "PRAGMA cache_size=5\n"
#define START "PRAGMA page_size=4096\nPRAGMA journal_mode="

const script scripts[] = {
    {"wal", START "WAL\n" TABLE ROWS(1, 300, A) BIG LOOK "BEGIN\n" ROWS(301, 320, B) "COMMIT\nclose\n" LOOK ORDER},
    {"wal at NORMAL",
     START "WAL\nPRAGMA synchronous=NORMAL\n" TABLE ROWS(1, 300, A) "DELETE FROM t WHERE a%3=0\n" LOOK
                                                                    "PRAGMA wal_checkpoint\n" ROWS(400, 450, B) LOOK},
    {"wal at OFF", START
     "WAL\nPRAGMA synchronous=OFF\n" TABLE ROWS(1, 300, A) "UPDATE t SET k=k+1\n" LOOK
                                                           "PRAGMA wal_checkpoint(TRUNCATE)\n" ROWS(400, 450, B) LOOK},
    {"wal, full fsync",
     START "WAL\nPRAGMA fullfsync=1\nPRAGMA checkpoint_fullfsync=1\n" TABLE ROWS(1, 50, A) "PRAGMA fullfsync=0\n" ROWS(
         51, 60, B) "PRAGMA fullfsync=1\n" ROWS(61, 70, C) "PRAGMA wal_checkpoint(RESTART)\n" ROWS(71, 80, D) LOOK},
    {"spilled and rolled back", START
     "WAL\n" SMALL TABLE ROWS(1, 200,
                              A) "BEGIN\nUPDATE t SET b=printf('%.*c',1800,'R')\n" LOOK "ROLLBACK\n" LOOK
                                 "BEGIN\nSAVEPOINT s\nUPDATE t SET b=printf('%.*c',1800,'S')\nROLLBACK TO s\n" ROWS(
                                     500, 600, C) "COMMIT\n" LOOK},
    {"spilled and dirtied again",
     START "WAL\n" SMALL TABLE ROWS(
         1, 200,
         A) "BEGIN\nUPDATE t SET b=printf('%.*c',1800,'1')\nUPDATE t SET b=printf('%.*c',1800,'2')\nCOMMIT\n" LOOK
         ORDER},
    {"exclusive, then normal", START
     "WAL\n" TABLE ROWS(1, 100,
                        A) "PRAGMA locking_mode=EXCLUSIVE\n" SMALL
                           "BEGIN\nUPDATE t SET b=printf('%.*c',1800,'X')\nROLLBACK\nPRAGMA locking_mode=NORMAL\n" LOOK
                           "2: UPDATE t SET b=printf('%.*c',1800,'Y') WHERE a>50\n" LOOK},
    {"exclusive from the first",
     "PRAGMA locking_mode=EXCLUSIVE\n" START "WAL\n" TABLE ROWS(1, 200, A) LOOK "PRAGMA wal_checkpoint\nclose\n" LOOK},
    {"delete",
     START "DELETE\n" TABLE ROWS(1, 300, A) BIG LOOK "BEGIN\n" ROWS(301, 320, B) "ROLLBACK\nclose\n" LOOK ORDER},
    {"persist, spilled", START
     "PERSIST\n" SMALL TABLE ROWS(1, 200, A) "BEGIN\nUPDATE t SET b=printf('%.*c',1800,'R')\n" LOOK "ROLLBACK\n" LOOK
                                             "UPDATE t SET b=printf('%.*c',1800,'P') WHERE a<50\n" LOOK},
    {"truncate at OFF",
     START "TRUNCATE\nPRAGMA synchronous=OFF\n" TABLE ROWS(1, 100, A) "DELETE FROM t WHERE a>40\n" LOOK},
    {"memory and off", START "MEMORY\n" TABLE ROWS(1, 100, A) START "OFF\n" ROWS(101, 120, B) LOOK},
    {"from one mode to the other",
     START "WAL\n" TABLE ROWS(1, 100, A) START "DELETE\n" ROWS(101, 120, B) START "WAL\n" ROWS(121, 130, C) LOOK},
    {"two connections", START "WAL\n" TABLE ROWS(1, 100, A) "2: " LOOK "BEGIN IMMEDIATE\n2: DELETE FROM t\n" ROWS(
                            101, 110, B) "COMMIT\n2: " LOOK "2: BEGIN\n2: " LOOK
                                         "PRAGMA wal_checkpoint(FULL)\n" ROWS(
                                             111, 120, C) "2: " LOOK "2: COMMIT\n2: " LOOK
                                                          "2: close\nPRAGMA wal_checkpoint(TRUNCATE)\n" LOOK},
    {"automatic checkpoints", START "WAL\nPRAGMA wal_autocheckpoint=20\n" TABLE ROWS(1, 60, A) ROWS(61, 120, B)
                                  ROWS(121, 180, C) "UPDATE t SET k=k*3\n" LOOK},
    {"mapped", START
     "WAL\n" TABLE ROWS(1, 200, A) "PRAGMA wal_checkpoint(TRUNCATE)\nclose\nPRAGMA mmap_size=100000000\n" LOOK ORDER
                                   "UPDATE t SET k=k+1\n" LOOK "PRAGMA mmap_size=0\n" LOOK},
    {"vacuum", START "WAL\n" TABLE ROWS(1, 200, A) "DELETE FROM t WHERE a%2\nVACUUM\n" LOOK "PRAGMA integrity_check\n"},
    {"vacuum into, backup", START "DELETE\n" TABLE ROWS(1, 200, A) "VACUUM INTO 'into.db'\nbackup\n" LOOK},
    {"attached", START "DELETE\n" TABLE ROWS(
                     1, 50, A) "ATTACH 'file:other.db?uring_backend=sync' AS o\nCREATE TABLE o.u(x)\nBEGIN\n"
                               "INSERT INTO o.u SELECT b FROM t\nDELETE FROM t WHERE a>20\nCOMMIT\nDETACH o\n" LOOK},
    {"attached, in WAL mode",
     START "WAL\n" TABLE ROWS(1, 50, A) "ATTACH 'file:other.db?uring_backend=sync' AS o\nPRAGMA o.journal_mode=WAL\n"
                                        "CREATE TABLE o.u(x)\nBEGIN\nINSERT INTO o.u SELECT b FROM t\nDELETE FROM t "
                                        "WHERE a>20\nCOMMIT\nDETACH o\n" LOOK},
    {"temporary files",
     START "WAL\nPRAGMA temp_store=FILE\n" SMALL TABLE ROWS(
         1, 400,
         A) "CREATE TEMP TABLE tt AS SELECT b||a AS b FROM t\nSELECT count(*) FROM (SELECT b FROM tt ORDER BY b)\n"
            "CREATE INDEX j ON t(b, k)\n" LOOK},
    {"blobs, and a statement that is stopped", START "WAL\n" TABLE ROWS(1, 200, A) BIG "blob\none row\n" LOOK ORDER},
    {"page size of 1024", "PRAGMA page_size=1024\nPRAGMA journal_mode=WAL\n" TABLE ROWS(1, 100, A) SMALL
     "BEGIN\nUPDATE t SET b='short'\nROLLBACK\n" BIG LOOK},
    {"page size of 65536", "PRAGMA page_size=65536\nPRAGMA journal_mode=WAL\n" TABLE ROWS(1, 100, A) BIG LOOK},
    {"read only", START "WAL\n" TABLE ROWS(1, 100, A) "PRAGMA query_only=1\nDELETE FROM t\n" LOOK},
};
const unsigned script_count = sizeof scripts / sizeof scripts[0];

static FILE *said_to;

static int say_row(void *arg, int columns, char **values, char **names) {
  (void)arg, (void)names;
  for (int i = 0; i < columns; i++) fprintf(said_to, "| %s ", values[i] != NULL ? values[i] : "(null)");
  fputs("|\n", said_to);
  return 0;
}

static void say_backup(sqlite3 *db, const char *vfs) {
  sqlite3 *to = NULL;
  int rc = sqlite3_open_v2("backup.db", &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs);
  sqlite3_backup *b = rc == SQLITE_OK ? sqlite3_backup_init(to, "main", db, "main") : NULL;
  rc = b != NULL ? sqlite3_backup_step(b, -1) : SQLITE_ERROR;
  fprintf(said_to, "-- step %d, finish %d\n", rc, sqlite3_backup_finish(b));
  sqlite3_close(to);
}

static void say_blob(sqlite3 *db) {
  static const char text[] = "written into the middle";
  char back[sizeof text] = "";
  sqlite3_blob *blob = NULL;
  int rc = sqlite3_blob_open(db, "main", "t", "b", 90000, 1, &blob);
  const int wrote = rc == SQLITE_OK ? sqlite3_blob_write(blob, text, (int)sizeof text, 30000) : rc;
  const int got = rc == SQLITE_OK ? sqlite3_blob_read(blob, back, (int)sizeof back, 30000) : rc;
  fprintf(said_to, "-- blob %d %d %d %s\n", rc, wrote, got, back);
  sqlite3_blob_close(blob);
}

static void say_one_row(sqlite3 *db) {
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(db, "SELECT b FROM t WHERE k>10", -1, &s, NULL);
  const int stepped = rc == SQLITE_OK ? sqlite3_step(s) : rc;
  fprintf(said_to, "-- step %d, finalize %d\n", stepped, sqlite3_finalize(s));
}

static void run_line(const char *line, sqlite3 **db, const char *vfs, const char *database) {
  if (*db == NULL) {
    int rc = sqlite3_open_v2(database, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, vfs);
    fprintf(said_to, "-- open %d\n", rc);
    if (rc == SQLITE_OK) sqlite3_extended_result_codes(*db, 1);
  }
  fprintf(said_to, "-- %.70s\n", line);
  if (strcmp(line, "close") == 0) {
    fprintf(said_to, "-- = %d\n", sqlite3_close(*db));
    *db = NULL;
  } else if (strcmp(line, "backup") == 0) {
    say_backup(*db, vfs);
  } else if (strcmp(line, "blob") == 0) {
    say_blob(*db);
  } else if (strcmp(line, "one row") == 0) {
    say_one_row(*db);
  } else {
    int rc = sqlite3_exec(*db, line, say_row, NULL, NULL);
    fprintf(said_to, "-- = %d %s\n", rc, rc != SQLITE_OK ? sqlite3_errmsg(*db) : "");
  }
}

void script_run(const script *s, const char *vfs, const char *database, FILE *to) {
  sqlite3 *first = NULL, *second = NULL;
  said_to = to;
  char *lines = strdup(s->lines), *rest = NULL;
  for (char *line = strtok_r(lines, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
    if (strncmp(line, "2: ", 3) == 0)
      run_line(line + 3, &second, vfs, database);
    else
      run_line(line, &first, vfs, database);
  }
  fprintf(to, "-- close %d %d\n", sqlite3_close(second), sqlite3_close(first));
  free(lines);
}

/* ---- processes and files ---- */

void make_directory(char *path, size_t size) {
  const char *base = getenv("TMPDIR");
  snprintf(path, size, "%s/uringvfs-calls-XXXXXX", base != NULL && *base != 0 ? base : "/tmp");
  if (mkdtemp(path) == NULL) {
    perror(path);
    exit(1);
  }
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where) {
  (void)st, (void)kind, (void)where;
  return remove(path);
}

void remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

int in_child(const char *directory, void (*body)(void *arg), void *arg) {
  int status = -1;
  fflush(NULL);
  const pid_t child = fork();
  if (child < 0) {
    perror("fork");
    exit(1);
  }
  if (child == 0) {
    /* cmocka's handlers would go on with the next test, in the child. */
    static const int signals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL};
    for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++) signal(signals[i], SIG_DFL);
    if (chdir(directory) != 0) _exit(99);
    body(arg);
    exit(0);
  }
  waitpid(child, &status, 0);
  return status;
}

char *read_whole(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (f == NULL) return NULL;
  size_t room = 1 << 16, used = 0, n;
  char *text = malloc(room);
  while (text != NULL && (n = fread(text + used, 1, room - used - 1, f)) > 0) {
    used += n;
    if (used + 1 == room) text = realloc(text, room *= 2);
  }
  fclose(f);
  if (text == NULL) abort();
  text[used] = 0;
  if (size != NULL) *size = used;
  return text;
}

static const char *next_line(const char *at) {
  const char *end = strchr(at, '\n');
  return end != NULL ? end + 1 : at + strlen(at);
}

bool same_text(const char *what, const char *expected, const char *got) {
  enum { BEFORE = 6 };
  const char *last[BEFORE] = {0};
  unsigned line = 0;
  for (; *expected != 0 || *got != 0; line++) {
    const char *e = next_line(expected), *g = next_line(got);
    if (e - expected != g - got || memcmp(expected, got, (size_t)(e - expected)) != 0) {
      fprintf(stderr, "%s: different at line %u, after\n", what, line + 1);
      for (unsigned i = line < BEFORE ? 0 : line - BEFORE; i < line; i++)
        fprintf(stderr, "    %.*s", (int)(next_line(last[i % BEFORE]) - last[i % BEFORE]), last[i % BEFORE]);
      fprintf(stderr, "  expected %.*s  got      %.*s\n", (int)(e - expected), expected, (int)(g - got), got);
      return false;
    }
    last[line % BEFORE] = expected;
    expected = e;
    got = g;
  }
  return true;
}
