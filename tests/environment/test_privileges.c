/*
** test_privileges.c - setuid and setgid after the first ring was made.
**
** A ring belongs to who made it. A process that begins as root, uses a database, and then becomes somebody else must
** from there on open, create and be refused files as that user. Root makes a ring by a batch here; then another user,
** or root with another user's effective ids, opens databases that only this user may open, that only root may, that a
** group may, and creates new ones. At last, where there is a way back, root goes on.
**
** (What becomes of the database that was open before: tests/process/test_permissions.c too.)
*/
#include "support.h"
#include <grp.h>

#define USER  65534
#define GROUP 12345

typedef enum change { FOR_GOOD, FOR_GOOD_WITH_GROUP, FOR_A_WHILE, GROUP_ONLY } change;
static const char *const change_names[] = {"setresuid", "setresgid and setresuid", "seteuid", "setegid"};

typedef struct privilege_case {
  change how;
  const char *journal_mode;
} privilege_case;

static void become_other(change how) {
  const gid_t gid = how == FOR_GOOD_WITH_GROUP ? GROUP : USER;
  must(setgroups(0, NULL) == 0);
  switch (how) {
  case FOR_GOOD:
  case FOR_GOOD_WITH_GROUP: must(setresgid(gid, gid, gid) == 0 && setresuid(USER, USER, USER) == 0); break;
  case FOR_A_WHILE: must(setegid(USER) == 0 && seteuid(USER) == 0); break;
  case GROUP_ONLY: must(setegid(GROUP) == 0); break;
  }
}

static void become_root_again(void) { must(seteuid(0) == 0 && setegid(0) == 0); }

/* Databases, each in a directory of its own, and whose they are. */
static const struct {
  const char *directory, *name;
  mode_t directory_mode, mode;
  uid_t uid;
  gid_t gid;
} databases[] = {
    {"root", "root/a.db", 0700, 0600, 0, 0},       {"user", "user/a.db", 0700, 0600, USER, USER},
    {"group", "group/a.db", 0770, 0660, 0, GROUP}, {"all", "all/a.db", 0777, 0600, 0, 0},
    {"read", "read/a.db", 0755, 0444, 0, 0},       {"write", "write/a.db", 0777, 0666, 0, 0},
};

static void make_databases(const char *journal_mode) {
  for (size_t i = 0; i < COUNT(databases); i++) {
    must(mkdir(in_directory(databases[i].directory), 0755) == 0);
    sqlite3 *db = open_noted(databases[i].name, ANEW, NULL);
    make_table(db, journal_mode);
    close_noted(db);
    must(chmod(in_directory(databases[i].name), databases[i].mode) == 0);
    must(chown(in_directory(databases[i].name), databases[i].uid, databases[i].gid) == 0);
    must(chmod(in_directory(databases[i].directory), databases[i].directory_mode) == 0);
    must(chown(in_directory(databases[i].directory), databases[i].uid, databases[i].gid) == 0);
  }
}

/* Commits, the second of which is a batch in WAL mode, and reads. */
static void work_a_little(sqlite3 *db) {
  say(db, "PRAGMA cache_size=5; SELECT id, b FROM t; INSERT INTO t(b) VALUES(randomblob(70000)); BEGIN; "
          "INSERT INTO t(b) VALUES(randomblob(150000)); UPDATE t SET b=randomblob(2000) WHERE id%5=1; COMMIT; SELECT "
          "id, b FROM t");
}

static void work_on_all(const char *journal_mode, const char *new_name) {
  for (size_t i = 0; i < COUNT(databases); i++) {
    char name[100];
    sqlite3 *db = open_noted(databases[i].name, SQLITE_OPEN_READWRITE, NULL);
    work_a_little(db);
    say_with(db, "ATTACH ?1 AS other; SELECT id, b FROM other.t", uri_of("user/a.db", NULL));
    close_noted(db);
    snprintf(name, sizeof(name), "%s/%s", databases[i].directory, new_name);
    db = open_noted(name, ANEW, NULL);
    make_table(db, journal_mode);
    work_a_little(db);
    close_noted(db);
  }
}

static void work_of_two_users(const void *arg) {
  const privilege_case *c = arg;
  start_sqlite();
  make_databases(c->journal_mode);
  sqlite3 *first = open_noted("all/first.db", ANEW, NULL);
  make_table(first, "wal"); /* whatever the others have: its commits are batches */
  work_a_little(first);
  count_rings(first);
  become_other(c->how);
  note("now %u:%u", geteuid(), getegid());
  work_on_all(c->journal_mode, "new.db");
  work_a_little(first);
  if (c->how == FOR_A_WHILE) {
    become_root_again();
    work_on_all(c->journal_mode, "newer.db");
    work_a_little(first);
  }
  close_noted(first);
}

static void test_other_user(void **state) {
  (void)state;
  static const privilege_case cases[] = {{FOR_GOOD, "wal"},
                                         {FOR_GOOD_WITH_GROUP, "delete"},
                                         {FOR_A_WHILE, "wal"},
                                         {FOR_A_WHILE, "persist"},
                                         {GROUP_ONLY, "wal"}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    char name[64];
    snprintf(name, sizeof(name), "%s, %s", change_names[cases[i].how], cases[i].journal_mode);
    same_on_both(name, work_of_two_users, &cases[i], RINGS_USED);
  }
}

/* Every directory on the way to the files must let others pass. */
static bool others_may_come_here(void) {
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) _exit(setgroups(0, NULL) != 0 || setresuid(USER, USER, USER) != 0 || access(work_dir, X_OK) != 0);
  int status;
  return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(void) {
  environment_start();
  if (geteuid() != 0) return environment_skip("only root can become another user");
  if (!others_may_come_here()) return environment_skip("other users may not come to TMPDIR, or ids may not be changed");
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_other_user)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
