/*
** test_static_builds.c - the entry points inside liburingvfs.a, for programs that have the extension built in.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include <sqlite3.h>

#include "../../ext/uringvfs_ext.h"
#include "uringvfs.h"

static void forget(void) {
  sqlite3_vfs *uring = sqlite3_vfs_find("uring");
  if (uring != NULL) assert_int_equal(sqlite3_vfs_unregister(uring), SQLITE_OK);
}

/* sqlite3_auto_extension() fails sqlite3_open() for every result but SQLITE_OK, SQLITE_OK_LOAD_PERMANENTLY included. */
static void fits_auto_extension(void **state) {
  (void)state;
  sqlite3 *db = NULL;
  assert_null(sqlite3_vfs_find("uring"));
  assert_int_equal(sqlite3_auto_extension((void (*)(void))sqlite3_uringvfs_init), SQLITE_OK);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    assert_non_null(sqlite3_vfs_find("uring"));
    assert_string_not_equal(sqlite3_vfs_find(NULL)->zName, "uring");
  }
  sqlite3_reset_auto_extension();
  assert_int_equal(sqlite3_auto_extension((void (*)(void))sqlite3_uringvfs_default_init), SQLITE_OK);
  assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
  assert_int_equal(sqlite3_close(db), SQLITE_OK);
  assert_string_equal(sqlite3_vfs_find(NULL)->zName, "uring");
  sqlite3_reset_auto_extension();
  forget();
}

/* What SQLITE_EXTRA_INIT wants: int f(const char *), called with NULL, perhaps after a shutdown again. */
static void fits_extra_init(void **state) {
  (void)state;
  int (*hook)(const char *) = sqlite3_uringvfs_extra_init;
  assert_int_equal(hook(NULL), SQLITE_OK);
  assert_int_equal(hook(NULL), SQLITE_OK);
  int (*default_hook)(const char *) = sqlite3_uringvfs_default_extra_init;
  assert_int_equal(default_hook(NULL), SQLITE_OK);
  assert_string_equal(sqlite3_vfs_find(NULL)->zName, "uring");
  forget();
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(fits_auto_extension),
      cmocka_unit_test(fits_extra_init),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
