/*
** controls.c - file controls that only a newer SQLite has, to be compiled together with its amalgamation.
**
** usage: controls EXTENSION PARAMETERS, in an empty directory. Reports what SQLITE_FCNTL_NULL_IO and
** SQLITE_FCNTL_FILESTAT do through the VFS that the URI parameters name; the report must be the same for all.
**
** NULL_IO closes the file behind the connection's back. From then on all I/O fails, and the number of its descriptor
** may be another file's: a transaction under way must fail, and no byte may reach that other file.
*/
#include "sqlite3.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The installed header may be older than the amalgamation: for lint. */
#ifndef SQLITE_FCNTL_NULL_IO
#define SQLITE_FCNTL_NULL_IO 43
#endif
#ifndef SQLITE_FCNTL_FILESTAT
#define SQLITE_FCNTL_FILESTAT 45
#endif

static const char *extension, *parameters;

static sqlite3 *open_database(const char *with) {
  char uri[256];
  sqlite3 *db;
  snprintf(uri, sizeof uri, "file:a.db?%s", with);
  const int rc = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL);
  if (rc == SQLITE_OK) return db;
  printf("%s: %s\n", uri, sqlite3_errmsg(db));
  exit(1);
}

static void load_extension(void) {
  sqlite3 *db;
  char *message = NULL;
  sqlite3_open(":memory:", &db);
  sqlite3_enable_load_extension(db, 1);
  if (sqlite3_load_extension(db, extension, "sqlite3_uringvfs_init", &message) != SQLITE_OK) {
    printf("%s\n", message);
    exit(1);
  }
  sqlite3_close(db);
}

static int tell(void *arg, int columns, char **values, char **names) {
  (void)names;
  for (int i = 0; i < columns; i++) printf("  %s%s", (const char *)arg, values[i] ? values[i] : "NULL");
  printf("\n");
  return 0;
}

static void run(sqlite3 *db, const char *what, const char *sql) {
  const int rc = sqlite3_exec(db, sql, tell, (void *)(size_t) "", NULL);
  printf("%s: %d\n", what, rc);
}

static sqlite3_file *file_of(sqlite3 *db, int control) {
  sqlite3_file *file = NULL;
  sqlite3_file_control(db, "main", control, &file);
  if (file != NULL && file->pMethods != NULL) return file;
  printf("there is no such file\n");
  exit(1);
}

/* ---- SQLITE_FCNTL_NULL_IO ---- */

typedef struct null_io_case {
  const char *journal_mode;
  int control;          /* FILE_POINTER or JOURNAL_POINTER: of which file */
  const char *settings; /* with a small page cache frames are written before the commit */
} null_io_case;

static const null_io_case null_io_cases[] = {
    {"wal", SQLITE_FCNTL_JOURNAL_POINTER, ""},
    {"wal", SQLITE_FCNTL_JOURNAL_POINTER, "pragma cache_size=5"},
    {"wal", SQLITE_FCNTL_JOURNAL_POINTER, "pragma synchronous=off"},
    {"wal", SQLITE_FCNTL_FILE_POINTER, ""},
    {"wal", SQLITE_FCNTL_FILE_POINTER, "pragma cache_size=5"},
    {"delete", SQLITE_FCNTL_FILE_POINTER, ""},
    {"persist", SQLITE_FCNTL_FILE_POINTER, "pragma cache_size=5"},
    {"truncate", SQLITE_FCNTL_JOURNAL_POINTER, "pragma synchronous=off"},
};

enum { CASES = sizeof null_io_cases / sizeof null_io_cases[0], VICTIM_BYTES = 300000, VICTIMS = 4 };

static void victim_name(char *name, size_t bytes, int i) { snprintf(name, bytes, "victim%d", i); }

/* One of them gets the number of the descriptor that was closed. */
static void open_victims(void) {
  static char bytes[VICTIM_BYTES];
  memset(bytes, 'v', sizeof bytes);
  for (int i = 0; i < VICTIMS; i++) {
    char name[32];
    victim_name(name, sizeof name, i);
    const int fd = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes, sizeof bytes) != VICTIM_BYTES) exit(1);
  }
}

static void look_at_victims(void) {
  static char bytes[VICTIM_BYTES + 1];
  for (int i = 0; i < VICTIMS; i++) {
    char name[32];
    victim_name(name, sizeof name, i);
    const int fd = open(name, O_RDONLY | O_CLOEXEC);
    const ssize_t n = read(fd, bytes, sizeof bytes);
    size_t same = 0;
    while (n > 0 && same < (size_t)n && bytes[same] == 'v') same++;
    if (n != VICTIM_BYTES || same != (size_t)n)
      printf("%s was written to: %zd bytes, %zu of them as before\n", name, n, same);
    close(fd);
    unlink(name);
  }
}

static void null_io(const void *arg) {
  const null_io_case *c = arg;
  char sql[512];
  load_extension();
  sqlite3 *db = open_database(parameters);
  snprintf(sql, sizeof sql,
           "pragma journal_mode=%s; pragma cache_size=2000; create table t(a integer primary key, x); insert into t "
           "values(0,0); %s; begin; with "
           "recursive c(i) as (select 1 union all select i+1 from c where i<300) insert into t select i, zeroblob(900) "
           "from c",
           c->journal_mode, c->settings);
  run(db, "prepared", sql);
  sqlite3_file *file = file_of(db, c->control);
  printf("NULL_IO: %d\n", file->pMethods->xFileControl(file, SQLITE_FCNTL_NULL_IO, NULL));
  open_victims();
  run(db, "commit", "commit");
  run(db, "count", "select count(*) from t");
  run(db, "insert", "insert into t values(null, zeroblob(100000))");
  run(db, "checkpoint", "pragma wal_checkpoint");
  fflush(stdout);
  _exit(0);
}

static void look(const void *arg) {
  (void)arg;
  look_at_victims();
  sqlite3 *db = open_database("vfs=unix");
  run(db, "what is left", "select count(*) from t; pragma integrity_check");
  sqlite3_close(db);
}

/* ---- SQLITE_FCNTL_FILESTAT ---- */

/* "h" is the number of the descriptor that the file has. */
static void tell_descriptor(sqlite3 *db, int control, const char *name) {
  char link[64], path[512];
  sqlite3_str *text = sqlite3_str_new(db);
  sqlite3_file *file = file_of(db, control);
  const int rc = file->pMethods->xFileControl(file, SQLITE_FCNTL_FILESTAT, text);
  char *json = sqlite3_str_finish(text);
  const char *h = json ? strstr(json, "\"h\":") : NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", h ? atoi(h + 4) : -1);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  path[n > 0 ? n : 0] = 0;
  printf("FILESTAT of %s: %d, its descriptor is of it: %d\n", name, rc,
         strrchr(path, '/') && strcmp(strrchr(path, '/') + 1, name) == 0);
  sqlite3_free(json);
}

static void filestat(const void *arg) {
  (void)arg;
  load_extension();
  sqlite3 *db = open_database(parameters);
  run(db, "prepared", "pragma journal_mode=wal; create table t(x); insert into t values(zeroblob(100000))");
  tell_descriptor(db, SQLITE_FCNTL_FILE_POINTER, "a.db");
  tell_descriptor(db, SQLITE_FCNTL_JOURNAL_POINTER, "a.db-wal");
  sqlite3_close(db);
}

/* ---- each in a process of its own ---- */

static void in_child(void (*body)(const void *), const void *arg) {
  int status;
  fflush(stdout);
  const pid_t pid = fork();
  if (pid == 0) {
    body(arg);
    fflush(stdout);
    _exit(0);
  }
  if (pid < 0 || waitpid(pid, &status, 0) != pid) exit(1);
  if (status != 0) printf("status %#x\n", (unsigned)status);
}

static void remove_files(void) {
  unlink("a.db");
  unlink("a.db-wal");
  unlink("a.db-shm");
  unlink("a.db-journal");
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  extension = argv[1];
  parameters = argv[2];
  for (int i = 0; i < CASES; i++) {
    printf("-- %s, control %d, %s\n", null_io_cases[i].journal_mode, null_io_cases[i].control,
           null_io_cases[i].settings);
    remove_files();
    in_child(null_io, &null_io_cases[i]);
    in_child(look, NULL);
  }
  remove_files();
  in_child(filestat, NULL);
  remove_files();
  return 0;
}
