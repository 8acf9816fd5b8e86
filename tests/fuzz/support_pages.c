/*
** support_pages.c - pages of b-trees: written by a recipe, and read in the plainest way.
*/
#include "support_pages.h"

#include <string.h>

#include "support_fuzz.h"

/* ---- reading ---- */

static uint64_t big_endian(const uint8_t *bytes, unsigned n) {
  uint64_t value = 0;
  for (unsigned i = 0; i < n; i++) value = value * 256 + bytes[i];
  return value;
}

bool plain_format(const uint8_t *bytes, uint32_t amount, uint32_t *page_bytes, uint32_t *usable) {
  static const uint32_t sizes[] = {512, 1024, 2048, 4096, 8192, 16384, 32768, 1 /* 65536 */};
  if (amount < 100 || memcmp(bytes, "SQLite format 3\0", 16) != 0) return false;
  for (unsigned i = 0; i < 8; i++) {
    if (big_endian(bytes + 16, 2) != sizes[i]) continue;
    *page_bytes = 512u << i;
    *usable = *page_bytes - bytes[20];
    return *usable >= 480;
  }
  return false;
}

bool plain_read(const uint8_t *bytes, uint32_t pgno, uint32_t usable, plain_page *p) {
  const uint32_t header = pgno == 1 ? 100 : 0;
  const uint8_t kind = bytes[header];
  if (kind != INTERIOR_INDEX && kind != INTERIOR_TABLE && kind != LEAF_INDEX && kind != LEAF_TABLE) return false;
  p->bytes = bytes;
  p->usable = usable;
  p->interior = kind == INTERIOR_INDEX || kind == INTERIOR_TABLE;
  p->table = kind == INTERIOR_TABLE || kind == LEAF_TABLE;
  p->pointers = header + (p->interior ? 12 : 8);
  p->count = (unsigned)big_endian(bytes + header + 3, 2);
  return p->count <= (usable - p->pointers) / 2;
}

/* Where the cell begins; `usable` if its pointer leads elsewhere than behind the pointers. */
static uint32_t cell_begin(const plain_page *p, unsigned i) {
  const uint32_t at = (uint32_t)big_endian(p->bytes + p->pointers + 2 * i, 2);
  return at < p->pointers + 2 * p->count || at > p->usable ? p->usable : at;
}

uint32_t plain_child(const plain_page *p, unsigned i) {
  if (i == p->count) return (uint32_t)big_endian(p->bytes + p->pointers - 4, 4);
  const uint32_t at = cell_begin(p, i);
  return p->usable - at >= 4 ? (uint32_t)big_endian(p->bytes + at, 4) : 0;
}

/* A varint before `end`, which moves *at behind it. False: it does not end before. */
static bool take_varint(const plain_page *p, uint32_t *at, uint32_t end, uint64_t *value) {
  *value = 0;
  for (int i = 1; *at < end; i++) {
    const uint8_t byte = p->bytes[(*at)++];
    *value = i == 9 ? *value * 256 + byte : *value * 128 + byte % 128;
    if (i == 9 || byte < 128) return true;
  }
  return false;
}

bool plain_key(const plain_page *p, unsigned i, int64_t *key) {
  uint32_t at = cell_begin(p, i);
  uint64_t value;
  if (p->usable - at < 5) return false;
  at += 4;
  if (!take_varint(p, &at, p->usable, &value)) return false;
  *key = (int64_t)value;
  return true;
}

/* The bytes of a column of this serial type; UINT64_MAX if there is no such type. */
static uint64_t column_bytes(uint64_t type) {
  static const uint8_t bytes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0};
  if (type < 10) return bytes[type];
  return type < 12 ? UINT64_MAX : (type - 12) / 2;
}

static plain_answer column_value(const plain_page *p, uint64_t type, uint32_t at, int64_t *value) {
  const unsigned bits = (unsigned)column_bytes(type) * 8;
  if (type == 0 || type == 7 || type > 9) return PLAIN_OTHER;
  uint64_t v = type == 9;
  if (type < 7) {
    v = big_endian(p->bytes + at, bits / 8);
    if (v >> (bits - 1) != 0 && bits < 64) v -= UINT64_C(1) << bits; /* two's complement */
  }
  *value = (int64_t)v;
  return PLAIN_INTEGER;
}

/* "Record Format": the columns one after the other, which must take up the whole payload. */
static plain_answer record_last(const plain_page *p, uint32_t at, uint32_t end, int64_t *value) {
  const uint32_t begin = at;
  uint64_t header_bytes, type = 0;
  if (!take_varint(p, &at, end, &header_bytes) || header_bytes > end - begin) return PLAIN_DAMAGED;
  const uint32_t body = begin + (uint32_t)header_bytes;
  uint32_t column = body, next = body;
  unsigned columns = 0;
  bool fits = true;
  if (at >= body) return PLAIN_DAMAGED; /* an index has columns */
  while (at < body) {
    if (!take_varint(p, &at, body, &type) || ++columns > PLAIN_COLUMNS_MOST) return PLAIN_DAMAGED;
    fits = fits && column_bytes(type) <= end - next;
    column = next;
    if (fits) next += (uint32_t)column_bytes(type);
  }
  if (column_bytes(type) > end - body) return PLAIN_OTHER; /* whatever the other columns are */
  return fits && next == end ? column_value(p, type, column, value) : PLAIN_DAMAGED;
}

plain_answer plain_last_column(const plain_page *p, unsigned i, int64_t *value) {
  uint32_t at = cell_begin(p, i);
  uint64_t payload;
  if (p->usable - at < 3 || !take_varint(p, &at, p->usable, &payload)) return PLAIN_DAMAGED;
  if (payload > (p->usable - 12) * 64 / 255 - 23) return PLAIN_OTHER; /* "Cell Payload Overflow Pages", X */
  if (payload > p->usable - at) return PLAIN_DAMAGED;
  return record_last(p, at, at + (uint32_t)payload, value);
}

/* ---- writing ---- */

typedef struct cell {
  uint8_t bytes[320];
  unsigned length;
} cell;

static void put(cell *c, uint8_t byte) { c->bytes[c->length++] = byte; }

static void put_big_endian(cell *c, uint64_t value, unsigned n) {
  while (n-- > 0) put(c, (uint8_t)(value >> (8 * n)));
}

static void put_varint(cell *c, uint64_t value) {
  int groups = 1;
  while (groups < 9 && value >> (7 * groups) != 0) groups++;
  if (groups == 9) { /* the last byte holds eight bits */
    for (int i = 8; i > 0; i--) put(c, (uint8_t)(value >> (7 * i + 1)) | 0x80);
    put(c, (uint8_t)value);
    return;
  }
  while (groups-- > 1) put(c, (uint8_t)(value >> (7 * groups)) | 0x80);
  put(c, (uint8_t)value & 0x7f);
}

/* A column of text, and the rowid. */
static void put_record(cell *c, const page_recipe *r, int64_t rowid, uint32_t usable) {
  const uint8_t type = r->type % 10;
  const unsigned text_type = 13 + 2 * r->text_bytes, header = text_type < 128 ? 3 : 4;
  const unsigned integer_bytes = (unsigned)column_bytes(type);
  put_varint(c, header + r->text_bytes + integer_bytes);
  const unsigned begin = c->length, most = (usable - 12) * 64 / 255 - 23;
  put_varint(c, header);
  put_varint(c, text_type);
  put_varint(c, type);
  for (unsigned i = 0; i < r->text_bytes; i++) put(c, 't');
  put_big_endian(c, (uint64_t)rowid, integer_bytes);
  if (c->length > begin + most) c->length = begin + most; /* the rest is on another page */
}

static void make_cell(cell *c, const page_recipe *r, unsigned i, uint32_t usable) {
  const int64_t key = (int64_t)((uint64_t)r->first_key + (uint64_t)r->key_step * i);
  c->length = 0;
  if (r->kind == INTERIOR_INDEX || r->kind == INTERIOR_TABLE)
    put_big_endian(c, (uint32_t)(r->first_child + r->stride * i), 4);
  if (r->kind == INTERIOR_TABLE) {
    put_varint(c, (uint64_t)key);
  } else if (r->kind == LEAF_TABLE) {
    put_varint(c, 2);
    put_varint(c, (uint64_t)key);
    put_big_endian(c, 0x0200, 2); /* a record of one NULL */
  } else {
    put_record(c, r, key, usable);
  }
}

void page_make(uint8_t *bytes, uint32_t pgno, uint32_t page_bytes, uint32_t usable, const page_recipe *r) {
  uint8_t *start = bytes + (pgno == 1 ? 100 : 0);
  const bool interior = r->kind == INTERIOR_INDEX || r->kind == INTERIOR_TABLE;
  uint8_t *pointers = start + (interior ? 12 : 8);
  const unsigned room = (unsigned)(bytes + usable - pointers) / 2, count = r->count < room ? r->count : room;
  const uint32_t least = (uint32_t)(pointers - bytes) + 2 * count;
  unsigned placed = 0;
  uint32_t at = usable;
  memset(bytes, 0, page_bytes);
  start[0] = r->kind;
  start[3] = (uint8_t)(count >> 8);
  start[4] = (uint8_t)count;
  if (interior) fuzz_put32(start + 8, r->first_child + r->stride * count);
  for (unsigned i = 0; i < count; i++) {
    cell c;
    if (placed == i) make_cell(&c, r, i, usable);
    if (placed == i && at - least >= c.length) {
      at -= c.length;
      memcpy(bytes + at, c.bytes, c.length);
      pointers[2 * i] = (uint8_t)(at >> 8);
      pointers[2 * i + 1] = (uint8_t)at;
      placed++;
    } else if (placed > 0) {
      memcpy(pointers + (size_t)2 * i, pointers + (size_t)2 * (i % placed), 2);
    }
  }
}
