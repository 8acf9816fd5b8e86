/*
** test_mounts.c - the process moves to a mount namespace of its own, and something is mounted over the directory.
**
** At different moments (moments.h) the name of the database comes to lead to another file system: one in memory,
** another directory, or none at all because it was detached. There a file of the same name waits, in one case with the
** same inode number on the other device. What is open stays what it is: the file systems of before and after are both
** looked at.
*/
#include "moments.h"
#include <sched.h>
#include <sys/mount.h>

typedef enum cover { COVER_MEMORY, COVER_SAME_INODE, COVER_BIND, COVER_DETACH, COVERS } cover;
static const char *const cover_names[] = {"memory", "same inode number", "bind mount", "detached"};

typedef struct mount_case {
  cover how;
  moment when;
  const char *journal_mode;
} mount_case;

static void mount_memory(const char *where) { must(mount("none", where, "tmpfs", MS_NOSUID, "size=64m") == 0); }

static void own_namespace(void) {
  must(unshare(CLONE_NEWNS) == 0);
  must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0); /* nothing gets out */
}

static ino_t inode_of(const char *path) {
  struct stat st;
  must(stat(path, &st) == 0);
  return st.st_ino;
}

/* Mounts over the working directory; the twin is there then, with the database's name. */
static void cover_directory(cover how, const char *directory) {
  const char *twin = in_directory("../twin/a.db");
  const ino_t before = inode_of(in_directory("a.db"));
  switch (how) {
  case COVER_DETACH: must(umount2(directory, MNT_DETACH) == 0); return;
  case COVER_BIND: must(mount(in_directory("../twin"), directory, NULL, MS_BIND, NULL) == 0); return;
  default: mount_memory(directory);
  }
  copy_file(twin, in_directory("a.db"));
  const bool same = inode_of(in_directory("a.db")) == before;
  if (how == COVER_SAME_INODE && !same) fprintf(stderr, "file systems in memory number their inodes otherwise here\n");
}

static void note_hidden(const char *title, int directory_fd) {
  char path[64];
  note("%s", title);
  snprintf(path, sizeof(path), "/proc/self/fd/%d", directory_fd);
  note_files(path, "");
}

static void open_what_is_there(const char *journal_mode) {
  sqlite3 *db = open_noted("a.db", ANEW, NULL);
  work_on_table(db);
  close_noted(db);
  db = open_noted("new.db", ANEW, NULL);
  make_table(db, journal_mode);
  work_on_table(db);
  close_noted(db);
}

/* here.directory becomes a directory within the one that the test looks at afterwards: these file systems end with this
** process. */
static int enter_directory(const mount_case *c) {
  char *end = here.directory + strlen(here.directory);
  must(mkdir(in_directory("twin"), 0755) == 0 && mkdir(in_directory("d"), 0755) == 0);
  database_prepare("twin/a.db", c->journal_mode, 60);
  strcpy(end, "/d");
  if (c->how != COVER_BIND && c->how != COVER_MEMORY) mount_memory(here.directory);
  const int fd = open(here.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  must(fd >= 0);
  database_prepare("a.db", c->journal_mode, 40);
  return fd;
}

static void work_with_mounts(const void *arg) {
  const mount_case *c = arg;
  /* Half of the cases have the namespace from the start, the others get it when they have a ring. */
  const bool early = c->how != COVER_BIND;
  if (early) own_namespace();
  const int before = enter_directory(c);
  sqlite3 *db = bring_to(c->when);
  if (!early) own_namespace();
  cover_directory(c->how, here.directory);
  const int after = open(here.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  must(after >= 0);
  go_on(db, c->when);
  open_what_is_there(c->journal_mode);
  note_hidden("before the change", before);
  note_hidden("after the change", after);
}

static void test_mounted_over(void **state) {
  (void)state;
  static const char *const modes[] = {"wal", "delete", "persist"};
  for (int how = 0; how < COVERS; how++) {
    if (how == COVER_SAME_INODE) continue;
    for (int when = how == COVER_MEMORY ? AFTER_REGISTRATION : AFTER_A_RING; when < MOMENTS; when++) {
      /* A database in WAL mode that was not read yet has no WAL yet, and takes the one that the name leads to then.
      ** The twin's would be the same one: the default VFS damages both. */
      const mount_case c = {(cover)how, (moment)when, when == WHILE_OPEN ? "delete" : modes[(how + when) % 3]};
      char name[100];
      snprintf(name, sizeof(name), "%s %s, %s", cover_names[how], moment_names[when], c.journal_mode);
      same_on_both(name, work_with_mounts, &c, RINGS_USED);
    }
  }
}

static void test_mounted_over_with_the_same_inode_number(void **state) {
  (void)state;
  for (int i = AFTER_A_RING; i < 2 * MOMENTS; i++) {
    const mount_case c = {COVER_SAME_INODE, (moment)(i % MOMENTS), i < MOMENTS ? "delete" : "wal"};
    char name[100];
    snprintf(name, sizeof(name), "%s %s, %s", cover_names[c.how], moment_names[c.when], c.journal_mode);
    if (c.when != WHILE_OPEN || i < MOMENTS) same_on_both(name, work_with_mounts, &c, RINGS_USED);
  }
}

static bool may_mount(void) {
  fflush(NULL);
  const pid_t pid = fork();
  if (pid == 0)
    _exit(unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
          mount("none", work_dir, "tmpfs", 0, NULL) != 0);
  int status;
  return waitpid(pid, &status, 0) == pid && status == 0;
}

int main(void) {
  environment_start();
  if (!may_mount()) return environment_skip("this user may not mount anything");
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_mounted_over),
                                     cmocka_unit_test(test_mounted_over_with_the_same_inode_number)};
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
