/*
** null_io.c VFS JOURNAL_MODE FILE MOMENT - SQLITE_FCNTL_NULL_IO, which came with SQLite 3.48, on one file of a
** connection.
**
** os_unix.c closes the descriptor, so that all I/O of the file fails from then on; and its number is free for the next
** file that the program opens. Such a file is opened here, under that number, and whatever happens then must leave it
** alone. Says what came of each step, for test_null_io.sh to compare VFSs. FILE: db or journal. MOMENT: before (a
** transaction) or within (one that has spilled).
*/
#include "sqlite3.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int uringvfs_register(int make_default);

enum { NULL_IO = 43, VICTIM_BYTES = 1 << 20 };
#ifdef SQLITE_FCNTL_NULL_IO
_Static_assert(SQLITE_FCNTL_NULL_IO == NULL_IO, "");
#endif

static void must(sqlite3 *db, const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK) return;
  printf("%.60s: %s\n", sql, sqlite3_errmsg(db));
  exit(1);
}

static int number(sqlite3 *db, const char *sql) {
  sqlite3_stmt *s = NULL;
  int rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
  if (rc == SQLITE_OK) rc = sqlite3_step(s);
  const int n = rc == SQLITE_ROW ? sqlite3_column_int(s, 0) : -rc;
  sqlite3_finalize(s);
  return n;
}

static int descriptor_of(const char *end) {
  int found = -1;
  DIR *d = opendir("/proc/self/fd");
  for (struct dirent *e; (e = readdir(d)) != NULL;) {
    char path[4096];
    const ssize_t n = readlinkat(dirfd(d), e->d_name, path, sizeof path - 1);
    if (n <= 0) continue;
    path[n] = 0;
    if ((size_t)n > strlen(end) && strcmp(path + n - strlen(end), end) == 0) found = atoi(e->d_name);
  }
  closedir(d);
  return found;
}

static sqlite3 *open_database(const char *vfs, const char *journal_mode) {
  sqlite3 *db = NULL;
  char text[300];
  snprintf(text, sizeof text, "file:n.db?vfs=%s", vfs);
  if (sqlite3_open_v2(text, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL) != SQLITE_OK) {
    printf("cannot open %s: %s\n", text, sqlite3_errmsg(db));
    exit(77);
  }
  sqlite3_extended_result_codes(db, 1);
  snprintf(text, sizeof text, "PRAGMA journal_mode=%s; PRAGMA cache_size=10", journal_mode);
  must(db, text);
  return db;
}

#define ROWS(from, to)                                                                                                 \
  "WITH c(x) AS (VALUES(" #from ") UNION ALL SELECT x+1 FROM c WHERE x<" #to                                           \
  ") INSERT INTO t SELECT x, zeroblob(900) FROM c;"

/* Under the number that has become free. */
static void open_victim(int fd) {
  static char bytes[VICTIM_BYTES];
  memset(bytes, 'v', sizeof bytes);
  const int victim = open("victim", O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (victim != fd && dup2(victim, fd) != fd) exit(1);
  if (write(fd, bytes, sizeof bytes) != (ssize_t)sizeof bytes) exit(1);
}

/* By its name: os_unix.c itself closes the number again, if the database was locked when its connection was closed
** (setPendingFd). */
static int is_untouched(void) {
  static char bytes[VICTIM_BYTES + 1];
  const int fd = open("victim", O_RDONLY);
  const ssize_t n = read(fd, bytes, sizeof bytes);
  close(fd);
  for (ssize_t i = 0; i < n; i++)
    if (bytes[i] != 'v') return 0;
  return n == VICTIM_BYTES;
}

int main(int count, char **args) {
  if (count != 5 || uringvfs_register(0) != SQLITE_OK) return 1;
  const char *vfs = args[1], *journal_mode = args[2];
  const int of_journal = strcmp(args[3], "journal") == 0, within = strcmp(args[4], "within") == 0;
  sqlite3 *db = open_database(vfs, journal_mode);
  sqlite3_file *f = NULL;
  must(db, "CREATE TABLE t(a INTEGER PRIMARY KEY, x);" ROWS(1, 300) "UPDATE t SET x=zeroblob(901)");
  if (within) must(db, "BEGIN; UPDATE t SET x=zeroblob(902)");
  sqlite3_file_control(db, "main", of_journal ? SQLITE_FCNTL_JOURNAL_POINTER : SQLITE_FCNTL_FILE_POINTER, &f);
  const int fd = descriptor_of(!of_journal                        ? "/n.db"
                               : strcmp(journal_mode, "WAL") == 0 ? "/n.db-wal"
                                                                  : "/n.db-journal");
  printf("control %d\n", f->pMethods->xFileControl(f, NULL_IO, NULL));
  open_victim(fd);
  if (!within) printf("update %d\n", sqlite3_exec(db, "BEGIN; UPDATE t SET x=zeroblob(903)", NULL, NULL, NULL));
  printf("commit %d\n", sqlite3_exec(db, "COMMIT", NULL, NULL, NULL));
  printf("rollback %d\n", sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL));
  printf("insert %d\n", sqlite3_exec(db, ROWS(1000, 1100), NULL, NULL, NULL));
  printf("read %d\n", number(db, "SELECT count(*) FROM t WHERE length(x)>900"));
  printf("checkpoint %d\n", number(db, "PRAGMA wal_checkpoint"));
  printf("close %d\n", sqlite3_close(db));
  printf("the other file is %s\n", is_untouched() ? "untouched" : "DAMAGED");
  db = open_database(vfs, journal_mode);
  printf("then %d rows, of which %d are old, %d faults\n", number(db, "SELECT count(*) FROM t"),
         number(db, "SELECT count(*) FROM t WHERE length(x)=901"),
         number(db, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check<>'ok'"));
  return sqlite3_close(db);
}
