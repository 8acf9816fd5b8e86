/*
** btree_page.c - what the pages of a b-tree say about other pages.
**
** The layout is that of https://www.sqlite.org/fileformat2.html (btreeInt.h). The bytes come from a file that anybody
** may have written, and may be torn or stale besides: every offset is checked, and whoever uses an answer treats it as
** a guess.
*/
#include "btree_page.h"

#include <string.h>

enum { HEADER_BYTES = URINGVFS__HEADER_BYTES };

static uint32_t get16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static uint32_t get32(const uint8_t *p) { return get16(p) << 16 | get16(p + 2); }

bool uringvfs__page_format(const uint8_t *page1, uint32_t amount, uringvfs__format *format) {
  if (amount < HEADER_BYTES || memcmp(page1, "SQLite format 3", 16) != 0) return false;
  const uint32_t field = get16(page1 + 16), page_size = field == 1 ? 65536 : field, reserved = page1[20];
  if (page_size < 512 || (page_size & (page_size - 1)) != 0 || page_size - reserved < 480) return false;
  *format = (uringvfs__format){page_size, page_size - reserved};
  return true;
}

bool uringvfs__page_cells(const uint8_t *page, uint32_t pgno, const uringvfs__format *format, uringvfs__cells *c) {
  const uint32_t start = pgno == 1 ? HEADER_BYTES : 0;
  const uringvfs__kind kind = uringvfs__page_kind(page, pgno);
  if (kind == URINGVFS__PAGE_OTHER) return false;
  c->page = page;
  c->table = page[start] == URINGVFS__INTERIOR_TABLE || page[start] == URINGVFS__LEAF_TABLE;
  c->usable = format->usable;
  c->pointers = start + (kind == URINGVFS__PAGE_INTERIOR ? 12 : 8);
  c->count = get16(page + start + 3);
  return c->pointers + 2 * c->count <= c->usable;
}

/* The cell, at least `least` bytes long; NULL if its pointer is no good. */
static const uint8_t *cell_at(const uringvfs__cells *c, unsigned i, uint32_t least) {
  const uint32_t offset = get16(c->page + c->pointers + 2 * i);
  return offset >= c->pointers + 2 * c->count && offset + least <= c->usable ? c->page + offset : NULL;
}

uint32_t uringvfs__page_child(const uringvfs__cells *c, unsigned i) {
  if (i == c->count) return get32(c->page + c->pointers - 4); /* the right-most one is in the header */
  const uint8_t *cell = cell_at(c, i, 4);
  return cell != NULL ? get32(cell) : 0;
}

/* A variable-length integer that ends before `end`; returns its bytes, or 0 if it does not. */
static unsigned get_varint(const uint8_t *p, const uint8_t *end, uint64_t *value) {
  uint64_t v = 0;
  for (unsigned i = 0; i < 9 && p + i < end; i++) {
    if (i == 8) {
      *value = v << 8 | p[8];
      return 9;
    }
    v = v << 7 | (p[i] & 0x7f);
    if (p[i] < 0x80) {
      *value = v;
      return i + 1;
    }
  }
  return 0;
}

int64_t uringvfs__page_key(const uringvfs__cells *c, unsigned i) {
  const uint8_t *cell = cell_at(c, i, 5);
  uint64_t key = 0;
  if (cell != NULL) (void)get_varint(cell + 4, c->page + c->usable, &key);
  return (int64_t)key;
}

/* ---- overflow pages ---- */

/* Bytes of a payload that fit on a leaf as a whole; of a longer one, part is on overflow pages (btreeInt.h,
** "maxLocal"). */
static uint32_t most_local(const uringvfs__cells *c) {
  return c->table ? c->usable - 35 : (c->usable - 12) * 64 / 255 - 23;
}

/* Bytes on the leaf of a longer one, at least ("minLocal"). */
static uint32_t least_local(const uringvfs__cells *c) { return (c->usable - 12) * 32 / 255 - 23; }

/* Bytes on the leaf of such a payload: what does not fill an overflow page, if there is room for it ("surplus"). */
static uint32_t local_of(const uringvfs__cells *c, uint32_t payload) {
  const uint32_t least = least_local(c), surplus = least + (payload - least) % (c->usable - 4);
  return surplus <= most_local(c) ? surplus : least;
}

/* False: all of the cell's payload is on the leaf. */
static bool chain_of(const uringvfs__cells *c, unsigned i, uringvfs__chain *chain) {
  const uint8_t *cell = cell_at(c, i, 4), *limit = c->page + c->usable;
  uint64_t payload, rowid;
  if (cell == NULL) return false;
  unsigned n = get_varint(cell, limit, &payload);
  if (n == 0 || payload <= most_local(c) || payload > INT32_MAX) return false;
  cell += n;
  if (c->table) {
    n = get_varint(cell, limit, &rowid);
    if (n == 0) return false;
    cell += n;
  }
  const uint32_t local = local_of(c, (uint32_t)payload), left = (uint32_t)payload - local;
  if (limit - cell < (int64_t)local + 4) return false;
  *chain = (uringvfs__chain){get32(cell + local), (left - 1) / (c->usable - 4) + 1};
  return true;
}

unsigned uringvfs__page_chains(const uringvfs__cells *c, uringvfs__chain chains[URINGVFS__LEAF_CHAINS]) {
  unsigned n = 0;
  for (unsigned i = 0; i < c->count && n < URINGVFS__LEAF_CHAINS; i++) n += chain_of(c, i, &chains[n]);
  return n;
}

uint32_t uringvfs__page_next_overflow(const uint8_t *page) { return get32(page); }

/* ---- the integers of a leaf's records ---- */

enum { COLUMNS_MOST = 64 /* of a record are looked at */ };

/* Bytes of a value of this serial type. */
static uint64_t value_bytes(uint64_t type) {
  static const uint8_t bytes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0, 0, 0};
  return type < sizeof bytes ? bytes[type] : (type - 12) / 2;
}

/* A value of this serial type, whose bytes begin at p, as an integer; false if it is none. */
static bool get_integer(uint64_t type, const uint8_t *p, int64_t *value) {
  if (type == 8 || type == 9) {
    *value = (int64_t)type - 8;
    return true;
  }
  if (type < 1 || type > 6) return false;
  uint64_t v = *p & 0x80 ? UINT64_MAX : 0;
  for (const uint8_t *end = p + value_bytes(type); p < end; p++) v = v << 8 | *p;
  *value = (int64_t)v;
  return true;
}

/* Appends the integers of the record that lies, as far as it is on this page, from p to `end`. True: its last value is
** one of them. */
static bool add_integers(const uint8_t *p, const uint8_t *end, uringvfs__integers *found) {
  uint64_t header_bytes, type;
  unsigned n = get_varint(p, end, &header_bytes);
  if (n == 0 || header_bytes > (uint64_t)(end - p) || header_bytes <= n) return false;
  const uint8_t *const header_end = p + header_bytes, *body = header_end;
  bool is_integer = false;
  p += n;
  for (unsigned column = 1; p < header_end; column++, p += n) {
    n = get_varint(p, header_end, &type);
    if (n == 0 || column > COLUMNS_MOST || value_bytes(type) > (uint64_t)(end - body)) return false;
    int64_t value;
    is_integer = get_integer(type, body, &value);
    body += value_bytes(type);
    if (!is_integer) continue;
    if (found->count == URINGVFS__INTEGERS_MOST) found->count--; /* the last one may be an index's rowid */
    found->column[found->count] = (uint8_t)column;
    found->value[found->count++] = value;
  }
  return is_integer;
}

bool uringvfs__page_index_key(const uringvfs__cells *c, unsigned i, int64_t *key) {
  const uint8_t *cell = cell_at(c, i, 7), *limit = c->page + c->usable;
  uint64_t payload;
  if (cell == NULL) return false;
  cell += 4;
  const unsigned n = get_varint(cell, limit, &payload);
  if (n == 0) return false;
  uringvfs__integers found = {.count = 0};
  (void)add_integers(cell + n, limit, &found); /* the first column is on this page, whatever the length */
  if (found.count == 0 || found.column[0] != 1) return false;
  *key = found.value[0];
  return true;
}

void uringvfs__page_integers(const uringvfs__cells *c, unsigned i, uringvfs__integers *found) {
  const uint8_t *cell = cell_at(c, i, 3), *limit = c->page + c->usable;
  uint64_t payload, rowid;
  found->count = 0;
  if (cell == NULL) return;
  unsigned n = get_varint(cell, limit, &payload);
  if (n == 0) return;
  cell += n;
  if (c->table) {
    n = get_varint(cell, limit, &rowid);
    if (n == 0) return;
    cell += n;
    found->column[0] = URINGVFS__COLUMN_ROWID;
    found->value[found->count++] = (int64_t)rowid;
  }
  const uint64_t local = payload <= most_local(c) ? payload : least_local(c);
  if (local > (uint64_t)(limit - cell)) return;
  if (add_integers(cell, cell + local, found) && !c->table && local == payload)
    found->column[found->count - 1] = URINGVFS__COLUMN_ROWID;
}
