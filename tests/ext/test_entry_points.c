/*
** test_entry_points.c - the entry points: what they return, what they refuse, and that loading twice is harmless.
**
** The table that an SQLite hands to an extension is taken from an automatic extension; copies of it stand for other
** libraries.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>
#include <sqlite3ext.h>
#include <sqlite3.h>

/* sqlite3ext.h turns the functions into calls through this table. */
SQLITE_EXTENSION_INIT1

typedef int (*entry_point)(sqlite3 *, char **, const sqlite3_api_routines *);

static const sqlite3_api_routines *table_of_this_library;

static int keep_table(sqlite3 *db, char **message, const sqlite3_api_routines *api) {
  (void)db, (void)message;
  table_of_this_library = api;
  return SQLITE_OK;
}

/* sqlite3.h's own functions, not the macros of sqlite3ext.h: nothing has set the table yet. */
#undef sqlite3_auto_extension
#undef sqlite3_open
#undef sqlite3_close
#undef sqlite3_reset_auto_extension

static int setup(void **state) {
  sqlite3 *db;
  (void)state;
  sqlite3_auto_extension((void (*)(void))keep_table);
  if (sqlite3_open(":memory:", &db) != SQLITE_OK) return -1;
  sqlite3_close(db);
  sqlite3_reset_auto_extension();
  sqlite3_api = table_of_this_library;
  return table_of_this_library == NULL ? -1 : 0;
}

/* A fresh copy of the extension, as a file of its own is. */
static void *load_copy(void) {
  char path[] = "/tmp/uringvfs-entry.XXXXXX", command[512];
  int fd = mkstemp(path);
  assert_true(fd >= 0);
  close(fd);
  snprintf(command, sizeof command, "cp '%s' '%s'", getenv("URINGVFS_SO"), path);
  assert_int_equal(system(command), 0);
  void *library = dlopen(path, RTLD_NOW);
  if (library == NULL) print_message("%s\n", dlerror());
  unlink(path);
  assert_non_null(library);
  return library;
}

static entry_point find_entry(void *library, const char *name) {
  entry_point entry;
  void *symbol = dlsym(library, name);
  assert_non_null(symbol);
  memcpy(&entry, &symbol, sizeof entry);
  return entry;
}

static int old_version_number(void) { return 3031001; }
static const char *old_version(void) { return "3.31.1"; }

/* Its table ends earlier: what lies behind must not be touched. */
static void an_old_sqlite_is_refused(void **state) {
  (void)state;
  void *library = load_copy();
  sqlite3_api_routines *old = malloc(sizeof *old);
  assert_non_null(old);
  *old = *table_of_this_library;
  old->libversion_number = old_version_number;
  old->libversion = old_version;
  char *message = NULL;
  const char *names[] = {"sqlite3_uringvfs_init", "sqlite3_uringvfs_default_init"};
  for (int i = 0; i < 2; i++) {
    assert_int_equal(find_entry(library, names[i])(NULL, &message, old), SQLITE_ERROR);
    assert_non_null(message);
    assert_non_null(strstr(message, "3.32.0"));
    assert_non_null(strstr(message, "3.31.1"));
    sqlite3_free(message);
    message = NULL;
    assert_int_equal(find_entry(library, names[i])(NULL, NULL, old), SQLITE_ERROR);
  }
  assert_null(sqlite3_vfs_find("uring"));
  /* It is nobody's yet: the library that may use it can. */
  assert_int_equal(find_entry(library, names[0])(NULL, &message, table_of_this_library), SQLITE_OK_LOAD_PERMANENTLY);
  assert_null(message);
  sqlite3_vfs *uring = sqlite3_vfs_find("uring");
  assert_non_null(uring);
  assert_int_equal(sqlite3_vfs_unregister(uring), SQLITE_OK);
  free(old);
}

static void a_second_library_is_refused(void **state) {
  (void)state;
  void *library = load_copy();
  entry_point init = find_entry(library, "sqlite3_uringvfs_init");
  char *message = NULL;
  assert_int_equal(init(NULL, &message, table_of_this_library), SQLITE_OK_LOAD_PERMANENTLY);
  sqlite3_api_routines other = *table_of_this_library;
  assert_int_equal(init(NULL, &message, &other), SQLITE_ERROR);
  assert_non_null(message);
  assert_non_null(strstr(message, "another SQLite library"));
  assert_non_null(strstr(message, sqlite3_libversion()));
  sqlite3_free(message);
  assert_int_equal(sqlite3_vfs_unregister(sqlite3_vfs_find("uring")), SQLITE_OK);
}

static void loading_again_changes_only_the_default(void **state) {
  (void)state;
  void *library = load_copy();
  entry_point init = find_entry(library, "sqlite3_uringvfs_init");
  entry_point default_init = find_entry(library, "sqlite3_uringvfs_default_init");
  char *message = NULL;
  sqlite3_vfs *unix_vfs = sqlite3_vfs_find(NULL);
  assert_int_equal(init(NULL, &message, table_of_this_library), SQLITE_OK_LOAD_PERMANENTLY);
  assert_ptr_equal(sqlite3_vfs_find(NULL), unix_vfs);
  assert_int_equal(init(NULL, &message, table_of_this_library), SQLITE_OK_LOAD_PERMANENTLY);
  assert_ptr_equal(sqlite3_vfs_find(NULL), unix_vfs);
  assert_int_equal(default_init(NULL, &message, table_of_this_library), SQLITE_OK_LOAD_PERMANENTLY);
  assert_string_equal(sqlite3_vfs_find(NULL)->zName, "uring");
  /* Who loads it without asking for the default does not take it from the one who did. */
  assert_int_equal(init(NULL, &message, table_of_this_library), SQLITE_OK_LOAD_PERMANENTLY);
  assert_string_equal(sqlite3_vfs_find(NULL)->zName, "uring");
  assert_null(message);
  assert_int_equal(sqlite3_vfs_unregister(sqlite3_vfs_find("uring")), SQLITE_OK);
  assert_ptr_equal(sqlite3_vfs_find(NULL), unix_vfs);
}

int main(void) {
  if (getenv("URINGVFS_SO") == NULL) {
    fprintf(stderr, "URINGVFS_SO must name the extension: run this by make check\n");
    return 1;
  }
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_old_sqlite_is_refused),
      cmocka_unit_test(a_second_library_is_refused),
      cmocka_unit_test(loading_again_changes_only_the_default),
  };
  return cmocka_run_group_tests(tests, setup, NULL);
}
