/*
** test_page_buffer.c - the buffer of pages that were read ahead holds each page once, and never more than it has room
** for.
*/
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../../vfs/readahead/page_buffer.h"

enum { PAGE = 65536 };

static uringvfs__page_buffer b;

static unsigned bring(bool wal, uint64_t number, char content, bool *lost) {
  const uringvfs__source source = {.wal = wal, .offset = number * PAGE};
  const unsigned slot = uringvfs__buffer_reserve(&b, &source, lost);
  memset(uringvfs__buffer_page(&b, slot), content, PAGE);
  uringvfs__buffer_fill(&b, slot, URINGVFS__SLOT_FILLED);
  return slot;
}

static int find(bool wal, uint64_t number) { return uringvfs__buffer_find(&b, wal, number * PAGE); }

static char content(int slot) {
  const uint8_t *page = uringvfs__buffer_content(&b, slot);
  assert_non_null(page);
  return (char)page[PAGE - 1];
}

/* A write drops the one that it finds: another would be handed out after it. */
static void test_each_page_once(void **state) {
  bool lost;
  (void)state;
  assert_true(uringvfs__buffer_open(&b, PAGE));
  (void)bring(false, 7, 'a', &lost);
  assert_false(lost);
  (void)bring(true, 7, 'w', &lost);
  assert_false(lost);
  (void)bring(false, 7, 'b', &lost);
  assert_true(lost);
  assert_int_equal(b.taken, 2);
  assert_int_equal(content(find(false, 7)), 'b');
  uringvfs__buffer_drop(&b, (unsigned)find(false, 7));
  assert_int_equal(find(false, 7), -1);
  assert_int_equal(content(find(true, 7)), 'w');
  assert_int_equal(uringvfs__buffer_close(&b), 1);
}

/* Also when it is full, where the same page makes room for itself and no other has to go. */
static void test_full(void **state) {
  bool lost;
  (void)state;
  assert_true(uringvfs__buffer_open(&b, PAGE));
  for (unsigned i = 0; i < b.capacity; i++) {
    (void)bring(false, i, 'x', &lost);
    assert_false(lost);
  }
  (void)bring(false, 3, 'y', &lost);
  assert_true(lost);
  assert_int_equal(b.taken, b.capacity);
  for (unsigned i = 0; i < b.capacity; i++) assert_int_equal(content(find(false, i)), i == 3 ? 'y' : 'x');
  (void)bring(false, b.capacity, 'z', &lost);
  assert_true(lost);
  assert_int_equal(b.taken, b.capacity);
  assert_int_equal(uringvfs__buffer_close(&b), b.capacity);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_each_page_once),
      cmocka_unit_test(test_full),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
