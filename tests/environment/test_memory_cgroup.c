/*
** test_memory_cgroup.c - a cgroup with less memory than the database has.
**
** What a process reads is charged to its cgroup, the kernel's cache of the file included. In a group with little
** memory, pages that were asked for ahead are given up before they are used, and dirty pages must be written before
** there is room for others. The table is larger than the limit; so is one of the transactions. The group may take what
** the process has at the start, and ROOM more: the same with sanitizers.
*/
#include "support.h"
#include <mntent.h>

/* With less the default VFS is killed too: groups of version 1 do not slow down who writes faster than the device. */
enum { ROOM = 20 << 20, ROWS = 17000, ROW_BYTES = 1800 /* 35 MB */ };

static char group[PATH_MAX];
static int version; /* of cgroups */

static bool write_text(const char *directory, const char *name, const char *text) {
  char path[PATH_MAX + 64];
  snprintf(path, sizeof(path), "%s/%s", directory, name);
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
  close(fd);
  return done;
}

static long long read_number(const char *directory, const char *name, const char *key) {
  char path[PATH_MAX + 64], line[256];
  long long value = -1;
  snprintf(path, sizeof(path), "%s/%s", directory, name);
  FILE *f = fopen(path, "re");
  while (f != NULL && value < 0 && fgets(line, sizeof(line), f) != NULL) {
    if (strncmp(line, key, strlen(key)) == 0) value = atoll(line + strlen(key));
  }
  if (f != NULL) fclose(f);
  return value;
}

/* Where a group with a memory limit can be made. In version 2 the controller may have to be given to children first. */
static bool find_parent_group(char *parent) {
  bool found = false;
  FILE *f = setmntent("/proc/self/mounts", "re");
  for (struct mntent *m; f != NULL && !found && (m = getmntent(f)) != NULL;) {
    snprintf(parent, PATH_MAX, "%s", m->mnt_dir);
    version = strcmp(m->mnt_type, "cgroup2") == 0 ? 2 : 1;
    if (version == 2) {
      (void)write_text(parent, "cgroup.subtree_control", "+memory");
      char text[PATH_MAX + 64], controllers[512] = "";
      snprintf(text, sizeof(text), "%s/cgroup.subtree_control", parent);
      FILE *list = fopen(text, "re");
      found = list != NULL && fgets(controllers, sizeof(controllers), list) != NULL &&
              strstr(controllers, "memory") != NULL;
      if (list != NULL) fclose(list);
    } else {
      found = strcmp(m->mnt_type, "cgroup") == 0 && hasmntopt(m, "memory") != NULL;
    }
  }
  if (f != NULL) endmntent(f);
  return found;
}

static bool make_group(void) {
  char parent[PATH_MAX];
  if (!find_parent_group(parent)) return false;
  snprintf(group, sizeof(group), "%.3000s/uringvfs-test-%d", parent, (int)getpid());
  if (mkdir(group, 0755) == 0) return true;
  group[0] = 0;
  return false;
}

/* The calling process joins, with a limit that leaves it little room. */
static void join_group(void) {
  char text[64];
  long long pages = 0;
  FILE *f = fopen("/proc/self/statm", "re");
  must(f != NULL && fscanf(f, "%*s %lld", &pages) == 1);
  fclose(f);
  snprintf(text, sizeof(text), "%lld", pages * sysconf(_SC_PAGESIZE) + ROOM);
  must(write_text(group, version == 2 ? "memory.max" : "memory.limit_in_bytes", text));
  must(write_text(group, "cgroup.procs", "0"));
}

/* How often the limit was met: in version 1 failcnt, in version 2 `max` of memory.events. */
static long long limit_was_met(void) {
  return version == 2 ? read_number(group, "memory.events", "max ") : read_number(group, "memory.failcnt", "");
}

/* Every seventh row is put between others afterwards, so that leaves lie scattered. */
static void make_large_table(sqlite3 *db, const char *journal_mode) {
  char sql[700];
  snprintf(sql, sizeof(sql),
           "PRAGMA journal_mode=%s; PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=400; "
           "CREATE TABLE t(id INTEGER PRIMARY KEY, n, b); "
           "WITH c(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM c WHERE i<%d) "
           "INSERT INTO t SELECT i*2, i%%97, randomblob(%d) FROM c; "
           "INSERT INTO t SELECT id+1, n, b FROM t WHERE id%%14=0; CREATE INDEX t_n ON t(n)",
           journal_mode, ROWS - 1, ROW_BYTES);
  say(db, sql);
}

static void work_with_little_memory(const void *arg) {
  const char *journal_mode = arg;
  start_sqlite();
  sqlite3 *db = open_noted("a.db", ANEW, NULL);
  make_large_table(db, journal_mode);
  close_noted(db);
  make_cold(in_directory("a.db"));
  join_group();
  db = open_noted("a.db", ANEW, NULL);
  say(db,
      "SELECT count(*), sum(length(b)) FROM t; SELECT id, n, b FROM t; SELECT id FROM t ORDER BY id DESC LIMIT 2000; "
      "SELECT id, b FROM t INDEXED BY t_n WHERE n BETWEEN 10 AND 12");
  say(db, "PRAGMA mmap_size=100000000; SELECT sum(length(b)) FROM t; PRAGMA mmap_size=0");
  say(db, "BEGIN; UPDATE t SET b=zeroblob(1700) WHERE id<12000; SELECT sum(length(b)) FROM t; ROLLBACK; "
          "BEGIN; UPDATE t SET b=randomblob(1700) WHERE id>22000; COMMIT; PRAGMA synchronous=FULL");
  for (int i = 0; i < 3; i++)
    say(db, "UPDATE t SET b=randomblob(1500) WHERE n=7; DELETE FROM t WHERE n=8; INSERT INTO t(n, b) VALUES(9, 1)");
  say(db, "SELECT id, n, b FROM t; PRAGMA integrity_check; PRAGMA wal_checkpoint(TRUNCATE)");
  close_noted(db);
  const long long met = limit_was_met();
  printf("  %s %s: the limit was met %lld times\n", here.uring ? "uring" : default_vfs, here.backend, met);
  must(met != 0); /* otherwise this was no little memory */
}

static void test_little_memory(void **state) {
  (void)state;
  same_on_both("little memory, wal", work_with_little_memory, "wal", RINGS_USED);
  same_on_both("little memory, delete", work_with_little_memory, "delete", RINGS_USED);
}

int main(void) {
  environment_start();
  if (!make_group()) return environment_skip("no cgroup with a memory limit can be made here");
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_little_memory)};
  const int result = cmocka_run_group_tests(tests, NULL, NULL) != 0;
  if (rmdir(group) != 0) perror(group);
  return support_end(result);
}
