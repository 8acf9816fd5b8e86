/*
** test_permissions.c - who may read what uring creates.
**
** Journal, WAL and shm get the database's mode, and its owner when root writes, as the default VFS gives them, whatever
** the umask. Every case runs through both VFSs, each in a process of its own, and everything is compared: codes, modes,
** owners. Then: privileges given up or the root directory changed after opening, when rings can no longer open the file
** by its name.
*/
#include "support.h"
#include <sys/mman.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

typedef struct file_facts {
  bool exists;
  mode_t mode;
  uid_t uid;
  gid_t gid;
} file_facts;

typedef struct outcome {
  int rc[24];
  int steps;
  file_facts facts[8][4]; /* per look: database, journal, WAL, shm */
  int looks;
  bool done;
  char message[512];
} outcome;

static outcome *shared; /* what the child found */

static void look(const char *path) {
  static const char *const suffixes[] = {"", "-journal", "-wal", "-shm"};
  file_facts *f = shared->facts[shared->looks++];
  for (int i = 0; i < 4; i++) {
    struct stat st;
    if (lstat(with_suffix(path, suffixes[i]), &st) != 0) continue;
    f[i] = (file_facts){true, st.st_mode & 07777, st.st_uid, st.st_gid};
  }
}

static void step(int rc, sqlite3 *db) {
  if (rc != SQLITE_OK && shared->message[0] == 0) {
    snprintf(shared->message, sizeof(shared->message), "step %d: %d %s", shared->steps, rc, sqlite3_errmsg(db));
  }
  shared->rc[shared->steps++] = rc;
}

typedef struct permission_case {
  const char *name;
  uid_t owner;      /* of the database; -1: the database does not exist yet   */
  mode_t mode;      /* of the database                                        */
  mode_t directory; /* mode of its directory, which belongs to directory_owner */
  uid_t directory_owner;
  uid_t opener;
  mode_t mask;
} permission_case;

#define OTHER  12345
#define NOBODY 65534
#define NONE   ((uid_t)-1)

static const permission_case cases[] = {
    {"root, umask 022", OTHER, 0640, 0755, OTHER, 0, 022},
    {"root, umask 077", OTHER, 0640, 0755, OTHER, 0, 077},
    {"root, umask 0", OTHER, 0640, 0755, OTHER, 0, 0},
    {"root, umask 0777", OTHER, 0664, 0755, OTHER, 0, 0777},
    {"root, mode 0600", OTHER, 0600, 0755, OTHER, 0, 0},
    {"root, mode 0666", OTHER, 0666, 0755, OTHER, 0, 077},
    {"root, mode 0444", OTHER, 0444, 0755, OTHER, 0, 022},
    {"root, mode 0660, setgid directory", OTHER, 0660, 02775, OTHER, 0, 022},
    {"root, own file", 0, 0640, 0755, 0, 0, 022},
    {"root, new file, umask 022", NONE, 0, 0755, 0, 0, 022},
    {"root, new file, umask 077", NONE, 0, 0755, 0, 0, 077},
    {"root, new file, umask 0", NONE, 0, 0755, 0, 0, 0},
    {"user, own file 0600", NOBODY, 0600, 0700, NOBODY, NOBODY, 0},
    {"user, own file 0664, umask 077", NOBODY, 0664, 0700, NOBODY, NOBODY, 077},
    {"user, own file, setgid directory", NOBODY, 0660, 02777, OTHER, NOBODY, 022},
    {"user, another's file 0666", OTHER, 0666, 0777, OTHER, NOBODY, 022},
    {"user, another's file 0644", OTHER, 0644, 0777, OTHER, NOBODY, 022},
    {"user, another's file 0600", OTHER, 0600, 0777, OTHER, NOBODY, 022},
    {"user, own file, directory 0555", NOBODY, 0644, 0555, OTHER, NOBODY, 022},
    {"user, own file, directory 0311", NOBODY, 0644, 0311, NOBODY, NOBODY, 022},
    {"user, directory 0700 of another", OTHER, 0666, 0700, OTHER, NOBODY, 022},
    {"user, new file, umask 022", NONE, 0, 0700, NOBODY, NOBODY, 022},
    {"user, new file, umask 077", NONE, 0, 0700, NOBODY, NOBODY, 077},
    {"user, new file in another's directory", NONE, 0, 0755, OTHER, NOBODY, 022},
};

/* In the child: all journal modes, looking at the files while they exist. */
static void open_and_look(const char *path, const char *vfs) {
  static const char *const modes[] = {"delete", "persist", "truncate", "wal"};
  sqlite3 *db = NULL;
  step(db_open_rc(path, vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db), db);
  for (size_t i = 0; i < COUNT(modes); i++) {
    char text[128];
    snprintf(text, sizeof(text), "PRAGMA journal_mode=%s; PRAGMA cache_size=5; CREATE TABLE IF NOT EXISTS t(a, b)",
             modes[i]);
    step(sql_rc(db, text, NULL), db);
    step(sql_rc(db, "BEGIN; INSERT INTO t VALUES(1, randomblob(40000))", NULL), db);
    look(path);
    step(sql_rc(db, "COMMIT", NULL), db);
  }
  look(path);
  step(sql_rc(db, "SELECT sum(length(b)) FROM t", NULL), db);
  step(sqlite3_close(db), NULL);
  look(path);
}

static void become(uid_t uid) {
  if (uid == geteuid()) return;
  if (setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0) _exit(9);
}

static const char *case_directory(const char *tag) {
  static char path[PATH_MAX];
  static int number;
  snprintf(path, sizeof(path), "%s/case-%d-%s", work_dir, number++, tag);
  if (mkdir(path, 0700) != 0) fail_msg("mkdir %s", path);
  return path;
}

static void expect_child_done(pid_t pid, const char *name) {
  int status;
  assert_int_equal(waitpid(pid, &status, 0), pid);
  if (status != 0 || !shared->done) fail_msg("%s: the child ended with 0x%x %s", name, status, shared->message);
}

static outcome run_case(const permission_case *c, const char *vfs) {
  char path[PATH_MAX], directory[PATH_MAX];
  snprintf(directory, sizeof(directory), "%s", case_directory(vfs));
  assert_true(snprintf(path, sizeof(path), "%s/a.db", directory) < (int)sizeof(path));
  memset(shared, 0, sizeof(*shared));
  if (c->owner != NONE) {
    pid_t pid = fork(); /* SQLite only in children: this process is forked again and again */
    if (pid == 0) {
      support_sqlite();
      sqlite3 *db = NULL;
      int rc = db_open_rc(path, default_vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db);
      if (rc == SQLITE_OK) rc = sql_rc(db, "CREATE TABLE t(a, b); INSERT INTO t VALUES(0, randomblob(9000))", NULL);
      sqlite3_close(db);
      shared->done = rc == SQLITE_OK;
      _exit(0);
    }
    expect_child_done(pid, c->name);
    assert_int_equal(chmod(path, c->mode), 0);
    if (geteuid() == 0) assert_int_equal(chown(path, c->owner, c->owner), 0);
  }
  if (geteuid() == 0) assert_int_equal(chown(directory, c->directory_owner, c->directory_owner), 0);
  assert_int_equal(chmod(directory, c->directory), 0);

  memset(shared, 0, sizeof(*shared));
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    umask(c->mask);
    become(c->opener);
    support_sqlite();
    open_and_look(path, vfs);
    shared->done = true;
    _exit(0);
  }
  expect_child_done(pid, c->name);
  return *shared;
}

/* Not root: what this user can try with files of its own. Anything else is left out. */
static bool adapt(permission_case *c) {
  if (geteuid() == 0) return true;
  if (c->opener != NOBODY || c->owner == OTHER || c->directory_owner != NOBODY) return false;
  if (c->owner == NOBODY) c->owner = geteuid();
  c->directory_owner = c->opener = geteuid();
  return true;
}

static void compare(const char *name, const outcome *want, const outcome *got) {
  static const char *const files[] = {"database", "journal", "WAL", "shm"};
  assert_int_equal(want->steps, got->steps);
  assert_int_equal(want->looks, got->looks);
  for (int i = 0; i < want->steps; i++) {
    if (want->rc[i] != got->rc[i]) {
      fail_msg("%s: step %d: %d through the default VFS (%s), %d through uring (%s)", name, i, want->rc[i],
               want->message, got->rc[i], got->message);
    }
  }
  for (int i = 0; i < want->looks; i++) {
    for (int k = 0; k < 4; k++) {
      const file_facts *w = &want->facts[i][k], *g = &got->facts[i][k];
      if (memcmp(w, g, sizeof(*w)) != 0) {
        fail_msg("%s: look %d, %s: default VFS: %d mode %04o owner %u:%u, uring: %d mode %04o owner %u:%u", name, i,
                 files[k], w->exists, (unsigned)w->mode, w->uid, w->gid, g->exists, (unsigned)g->mode, g->uid, g->gid);
      }
    }
  }
}

static void test_mode_and_owner_as_the_default_vfs_gives_them(void **state) {
  (void)state;
  int journals = 0, tried = 0;
  for (size_t i = 0; i < COUNT(cases); i++) {
    permission_case adapted = cases[i];
    const permission_case *c = &adapted;
    if (!adapt(&adapted)) continue;
    tried++;
    outcome want = run_case(c, default_vfs), got = run_case(c, uring_vfs());
    compare(c->name, &want, &got);
    /* Not only the same, but right: the companions have the database's mode; from root its owner too. */
    for (int l = 0; l < got.looks; l++) {
      for (int k = 1; k < 4; k++) {
        const file_facts *database = &got.facts[l][0], *f = &got.facts[l][k];
        if (!f->exists) continue;
        journals++;
        if (f->mode != (database->mode & 0777)) fail_msg("%s: mode %04o", c->name, (unsigned)f->mode);
        if (c->opener == 0) assert_true(f->uid == database->uid && f->gid == database->gid);
      }
    }
  }
  printf("%d cases, %d journals, WALs and shms\n", tried, journals);
  assert_true(journals >= 4 * tried);
}

static void test_modeof_parameter(void **state) {
  (void)state;
  outcome found[2];
  const char *vfs[2] = {default_vfs, uring_vfs()};
  for (int v = 0; v < 2; v++) {
    char directory[PATH_MAX];
    snprintf(directory, sizeof(directory), "%s", case_directory("modeof"));
    memset(shared, 0, sizeof(*shared));
    pid_t pid = fork();
    if (pid == 0) {
      support_sqlite();
      char path[PATH_MAX + 16], model[PATH_MAX + 16], uri[3 * PATH_MAX];
      snprintf(path, sizeof(path), "%s/a.db", directory);
      snprintf(model, sizeof(model), "%s/model", directory);
      int fd = open(model, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
      if (fd < 0 || fchmod(fd, 0620) != 0) _exit(8);
      close(fd);
      size_t used;
      db_uri(uri, sizeof(uri), path, vfs[v]);
      used = strlen(uri);
      snprintf(uri + used, sizeof(uri) - used, "&modeof=%s", model);
      sqlite3 *db = NULL;
      step(sqlite3_open_v2(uri, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_URI, NULL), db);
      step(sql_rc(db, "PRAGMA journal_mode=wal; CREATE TABLE t(a); INSERT INTO t VALUES(1)", NULL), db);
      look(path);
      step(sqlite3_close(db), NULL);
      shared->done = true;
      _exit(0);
    }
    expect_child_done(pid, "modeof");
    found[v] = *shared;
    assert_int_equal(found[v].facts[0][0].mode, 0620);
  }
  compare("modeof", &found[0], &found[1]);
}

/* ---- the way to the file is lost after opening ------------------------------------------------------------------ */

typedef enum loss { LOSS_PRIVILEGES, LOSS_ROOT, LOSS_ROOT_WITH_DECOY, LOSS_SEARCH } loss;

static void lose(loss how, const char *directory, const char *cage) {
  if (how == LOSS_PRIVILEGES) become(NOBODY);
  if (how == LOSS_SEARCH) { /* the directory itself becomes unreachable for this user */
    if (chmod(directory, 0) != 0) _exit(9);
    become(NOBODY);
  }
  if ((how == LOSS_ROOT || how == LOSS_ROOT_WITH_DECOY) && (chroot(cage) != 0 || chdir("/") != 0)) _exit(9);
}

/* When: 0 before any page was read through the connection, 1 after a transaction (rings and descriptors are there). */
static outcome run_loss(loss how, int when, const char *mode, const char *vfs) {
  char directory[PATH_MAX], path[PATH_MAX], cage[PATH_MAX], decoy[2 * PATH_MAX], text[128];
  snprintf(directory, sizeof(directory), "%s", case_directory("loss"));
  assert_true(snprintf(path, sizeof(path), "%s/a.db", directory) < (int)sizeof(path));
  assert_true(snprintf(cage, sizeof(cage), "%s", case_directory("cage")) < (int)sizeof(cage));
  snprintf(decoy, sizeof(decoy), "%s%s", cage, path);
  assert_int_equal(chmod(directory, 0777), 0);
  memset(shared, 0, sizeof(*shared));
  fflush(NULL);
  pid_t pid = fork();
  if (pid == 0) {
    support_sqlite();
    sqlite3 *db = NULL;
    int rc = db_open_rc(path, default_vfs, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db);
    snprintf(text, sizeof(text),
             "PRAGMA journal_mode=%s; CREATE TABLE t(a, b); INSERT INTO t VALUES(0, randomblob(90000))", mode);
    if (rc != SQLITE_OK || sql_rc(db, text, NULL) != SQLITE_OK) _exit(7);
    sqlite3_close(db);
    if (how == LOSS_ROOT_WITH_DECOY) {
      /* The same absolute name leads to other bytes inside the cage. */
      for (char *p = decoy + strlen(cage) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = 0;
        mkdir(decoy, 0755);
        *p = '/';
      }
      int fd = open(decoy, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
      if (fd < 0 || ftruncate(fd, 200000) != 0) _exit(7);
      close(fd);
    }
    if (chmod(path, 0600) != 0) _exit(7);
    db = NULL;
    step(when == 0 ? db_open_lazy(path, vfs, SQLITE_OPEN_READWRITE, &db)
                   : db_open_rc(path, vfs, SQLITE_OPEN_READWRITE, &db),
         db);
    snprintf(text, sizeof(text), "PRAGMA journal_mode=%s; PRAGMA cache_size=5", mode);
    if (when == 1) {
      step(sql_rc(db, text, NULL), db);
      step(sql_rc(db, "INSERT INTO t VALUES(1, randomblob(9000)); SELECT sum(length(b)) FROM t", NULL), db);
    }
    lose(how, directory, cage);
    step(ring_now(db, vfs), db);
    row_value v;
    step(sql_rc(db, "SELECT sum(length(b)) FROM t", &v), db);
    step((int)v.number, db);
    step(sql_rc(db, "INSERT INTO t VALUES(2, randomblob(50000))", NULL), db);
    step(sql_rc(db, "BEGIN; UPDATE t SET b = randomblob(7000); SELECT sum(length(b)) FROM t", &v), db);
    step((int)v.number, db);
    step(sql_rc(db, "COMMIT", NULL), db);
    step(sql_rc(db, "SELECT sum(length(b)) FROM t", &v), db);
    step((int)v.number, db);
    step(sqlite3_close(db), NULL);
    shared->done = true;
    _exit(0);
  }
  expect_child_done(pid, "loss");
  if (how == LOSS_ROOT_WITH_DECOY) {
    /* Not a byte may have gone to the file of the same name. */
    int fd = open(decoy, O_RDONLY | O_CLOEXEC), other = 0;
    char block[4096];
    ssize_t n;
    assert_true(fd >= 0);
    while ((n = read(fd, block, sizeof(block))) > 0) {
      for (ssize_t i = 0; i < n; i++) other |= block[i];
    }
    close(fd);
    assert_int_equal(other, 0);
  }
  return *shared;
}

static void test_the_way_to_the_file_is_lost_after_opening(void **state) {
  (void)state;
  static const char *const modes[] = {"delete", "truncate", "persist", "wal"};
  if (geteuid() != 0) {
    printf("not root: no privileges to give up\n");
    skip();
  }
  static const char *const names[] = {"privileges dropped", "chroot", "chroot with a decoy", "directory closed"};
  for (int how = LOSS_PRIVILEGES; how <= LOSS_SEARCH; how++) {
    for (int when = 0; when < 2; when++) {
      for (size_t m = 0; m < COUNT(modes); m++) {
        char name[128];
        snprintf(name, sizeof(name), "%s, %s, %s", names[how], when ? "after use" : "before use", modes[m]);
        outcome want = run_loss((loss)how, when, modes[m], default_vfs);
        outcome got = run_loss((loss)how, when, modes[m], uring_vfs());
        compare(name, &want, &got);
      }
    }
  }
}

int main(void) {
  shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 1;
  support_directory();
  if (chmod(work_dir, 01777) != 0) return 1; /* the children's ring probe writes there as any user */
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_mode_and_owner_as_the_default_vfs_gives_them),
      cmocka_unit_test(test_modeof_parameter),
      cmocka_unit_test(test_the_way_to_the_file_is_lost_after_opening),
  };
  return support_end(cmocka_run_group_tests(tests, NULL, NULL) != 0);
}
