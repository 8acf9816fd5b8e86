/*
** test_chroot.c - the process's root directory changes.
**
** Below the new root the same absolute name leads to another database, or to none; there is no /proc, no /dev and no
** /tmp. An open database stays the one it is, and what is opened from then on is what the default VFS opens.
*/
#include "moments.h"

typedef struct chroot_case {
  moment when;
  const char *journal_mode;
} chroot_case;

/* The directory below `cage` that has the name of this one below the present root. */
static void make_twin_directory(const char *cage, char *twin) {
  must(snprintf(twin, PATH_MAX, "%s%s", cage, here.directory) < PATH_MAX);
  for (char *p = twin + strlen(cage) + 1; (p = strchr(p, '/')) != NULL; p++) {
    *p = 0;
    must(mkdir(twin, 0755) == 0 || errno == EEXIST);
    *p = '/';
  }
  must(mkdir(twin, 0755) == 0);
}

static void open_below_new_root(const char *journal_mode) {
  sqlite3 *db = open_noted("a.db", SQLITE_OPEN_READWRITE, NULL); /* another one, of the same name */
  sqlite3 *second = open_noted("a.db", ANEW, NULL);
  work_on_table(db);
  say_with(second, "ATTACH ?1 AS top; CREATE TABLE top.t AS SELECT * FROM t; SELECT id, b FROM top.t",
           uri_of("/top.db", NULL));
  close_noted(second);
  close_noted(db);
  db = open_noted("new.db", ANEW, NULL);
  make_table(db, journal_mode);
  work_on_table(db);
  close_noted(db);
  db = open_noted("outside.db", SQLITE_OPEN_READWRITE, NULL);
  say(db, "SELECT id, b FROM t");
  close_noted(db);
}

static void work_with_new_root(const void *arg) {
  const chroot_case *c = arg;
  char twin[PATH_MAX], copy[PATH_MAX + 8];
  database_prepare("a.db", c->journal_mode, 40);
  database_prepare("outside.db", c->journal_mode, 10);
  must(mkdir(in_directory("cage"), 0755) == 0);
  make_twin_directory(in_directory("cage"), twin);
  database_prepare("twin.db", c->journal_mode, 25);
  snprintf(copy, sizeof(copy), "%s/a.db", twin);
  copy_file(in_directory("twin.db"), copy);

  sqlite3 *db = bring_to(c->when);
  must(chroot(in_directory("cage")) == 0 && chdir("/") == 0);
  go_on(db, c->when);
  open_below_new_root(c->journal_mode);
}

static void test_new_root(void **state) {
  (void)state;
  static const char *const modes[] = {"wal", "delete"};
  for (int when = 0; when < MOMENTS; when++) {
    const chroot_case c = {(moment)when, modes[when & 1]};
    char name[64];
    snprintf(name, sizeof(name), "chroot %s, %s", moment_names[when], c.journal_mode);
    same_on_both(name, work_with_new_root, &c, RINGS_USED);
  }
}

/* With only one of the modes at each moment something would be left out: the other one at the moments that matter. */
static void test_new_root_while_open(void **state) {
  (void)state;
  static const chroot_case cases[] = {{WHILE_OPEN, "wal"}, {WHILE_USED, "wal"}, {WHILE_READING, "persist"}};
  for (size_t i = 0; i < COUNT(cases); i++) {
    char name[64];
    snprintf(name, sizeof(name), "chroot %s, %s", moment_names[cases[i].when], cases[i].journal_mode);
    same_on_both(name, work_with_new_root, &cases[i], RINGS_USED);
  }
}

static bool may_chroot(void) {
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0) _exit(chroot(work_dir) != 0);
  int status;
  return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(void) {
  environment_start();
  if (!may_chroot()) return environment_skip("this user may not change the root directory");
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_new_root), cmocka_unit_test(test_new_root_while_open)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
