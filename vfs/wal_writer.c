/*
** wal_writer.c - collects the frames of a transaction and hands them over as one group.
**
** SQLite writes a WAL frame with two small xWrites, the 24-byte header and the page (wal.c, walWriteOneFrame). Here
** they are collected in one contiguous buffer and written together when the commit frame is complete, with the
** fdatasync ordered behind them if this connection's last commit was followed by one.
**
**                    header of a commit frame          its page: flush
**      BUFFERING ---------------------------> COMMIT -------------------> THROUGH
**          ^                                     |                           |
**          +-------------------------------------+---------------------------+
**             the tenure ends, or the transaction has committed (tenure.c)
**
** This is right only if the caller writes as wal.c does. Bytes in any other piece than `header, page`, or a page in the
** place of an earlier frame's, say that somebody else stands above, and are written through, with all that follows in
** this tenure.
**
** Invariants:
**  - The pending bytes and the file together are what the file alone would be under the default VFS. Reads, sizes and
**    truncation see them so.
**  - A complete commit frame is never pending: the xWrite that completes it writes everything and returns its error, so
**    a full disk fails this transaction and not a later one.
**  - In THROUGH nothing is pending. SQLite may still rewrite headers (walRewriteChecksums) or add padding frames, and
**    with synchronous=NORMAL nothing follows that could return an error before the commit is published in the
**    wal-index.
**  - Pending bytes exist only while tenure.c says that they may be held back, and are dropped when that ends: they
**    belong to a transaction that did not commit. Bytes whose write failed are dropped, not tried again.
**  - The WAL's header is never pending: it is synced before any frame (wal.c, sqlite3WalFrames), and must be in the
**    file then.
**
** Where locks are not visible (exclusive locking mode, heap wal-index), pending frames of a transaction that was rolled
** back may stay pending into the next one; by the first invariant that changes nothing.
**
** One connection at a time, as SQLite serializes its files.
*/
#include "internal.h"

#include <string.h>

/* ---- pending bytes ---- */

static uint64_t pending_end(const uringvfs__wal_writer *w) { return w->start + w->length; }

static bool overlaps_pending(const uringvfs__wal_writer *w, uint64_t offset, uint64_t amount) {
  return w->length > 0 && offset < pending_end(w) && offset + amount > w->start;
}

bool uringvfs__wal_is_pending(const uringvfs__file *wal, uint64_t offset, uint64_t amount) {
  return overlaps_pending(&wal->writer, offset, amount);
}

uint64_t uringvfs__wal_pending_end(const uringvfs__file *wal) {
  return wal->writer.length > 0 ? pending_end(&wal->writer) : 0;
}

/* Writes the pending bytes. Whatever comes of it, they are pending no longer: for SQLite's own writes, whose failure
** makes it roll back. */
static int flush(uringvfs__file *wal, bool sync) {
  uringvfs__wal_writer *w = &wal->writer;
  const uint32_t length = w->length;
  if (length == 0) return SQLITE_OK;
  w->length = 0;
  uringvfs__count_wal_batch(length, w->frames);
  w->frames = 0;
  int sync_rc = SQLITE_OK;
  int rc = uringvfs__write_group(wal, w->buffer, length, w->start, &sync, &sync_rc);
  if (rc == SQLITE_OK && sync) {
    w->synced_by_group = sync_rc == SQLITE_OK;
    w->sync_rc = sync_rc;
  }
  return rc;
}

/* The same for whoever wants to see them in the file. It may not be SQLite who is told of a failure, and then the
** transaction goes on: they stay pending. */
int uringvfs__wal_flush(uringvfs__file *wal) {
  uringvfs__wal_writer *w = &wal->writer;
  const uint32_t length = w->length, frames = w->frames;
  int rc = flush(wal, false);
  if (rc == SQLITE_OK) return rc;
  w->length = length;
  w->frames = frames;
  return rc;
}

/*
** Has SQLite published pending frames as committed? Never, if it writes as wal.c does. But the header of a commit frame
** that somebody has encrypted may look like another's, once in four thousand million; so the wal-index has the last
** word.
*/
static bool is_published(uringvfs__file *wal) {
  const uringvfs__wal_writer *w = &wal->writer;
  if (w->length == 0 || wal->database == NULL || !wal->database->tenure.wal_index) return false;
  if (uringvfs__fork_check(wal, SQLITE_IOERR) != SQLITE_OK) return false;
  const uint64_t frames = uringvfs__wal_index_frames(wal->database);
  return w->start < URINGVFS__WAL_HEADER_BYTES + frames * (URINGVFS__WAL_FRAME_HEADER_BYTES + (uint64_t)w->page_size);
}

void uringvfs__wal_tenure_ends(uringvfs__file *wal) {
  uringvfs__wal_writer *w = &wal->writer;
  if (is_published(wal)) (void)flush(wal, false); /* what fails is logged */
  if (w->state == URINGVFS__WAL_THROUGH) w->expect_sync = w->sync_asked;
  w->state = URINGVFS__WAL_BUFFERING;
  w->sync_asked = false;
  w->header_at = 0;
  w->page_size = 0;
  w->synced_by_group = false; /* others may write from here on */
  w->length = w->frames = 0;
  if (w->buffer != NULL) uringvfs__block_put(w->buffer);
  w->buffer = NULL;
}

/* Puts the bytes where they belong: into the buffer or, if they do not fit in with it, into the file. */
static int place(uringvfs__file *wal, const void *data, uint32_t amount, uint64_t offset) {
  uringvfs__wal_writer *w = &wal->writer;
  bool joins = w->length > 0 && offset >= w->start && offset <= pending_end(w);
  if (joins && offset + amount > w->start + URINGVFS__BLOCK_BYTES) {
    int rc = flush(wal, false);
    if (rc != SQLITE_OK) return rc;
    joins = false;
  } else if (!joins && w->length > 0) {
    /* A page of an earlier frame that was spilled and dirtied again goes to its place. A header says that frames
    ** are appended elsewhere (a savepoint was rolled back): collect there. */
    if (amount == URINGVFS__WAL_FRAME_HEADER_BYTES || overlaps_pending(w, offset, amount)) {
      int rc = flush(wal, false);
      if (rc != SQLITE_OK) return rc;
    } else {
      return uringvfs__write(wal, data, (int)amount, (sqlite3_int64)offset);
    }
  }
  if (w->buffer == NULL) w->buffer = uringvfs__block_get();
  if (w->buffer == NULL || amount > URINGVFS__BLOCK_BYTES)
    return uringvfs__write(wal, data, (int)amount, (sqlite3_int64)offset);
  if (!joins) w->start = offset;
  memcpy(w->buffer + (offset - w->start), data, amount);
  if (amount == URINGVFS__WAL_FRAME_HEADER_BYTES) w->frames++;
  if (offset + amount > pending_end(w)) w->length = (uint32_t)(offset + amount - w->start);
  return SQLITE_OK;
}

/* ---- what SQLite writes ---- */

typedef enum wal_piece { PIECE_HEADER, PIECE_COMMIT_HEADER, PIECE_PAGE, PIECE_FOREIGN } wal_piece;

static bool is_page_size(uint32_t n) { return n >= 512 && n <= 65536 && (n & (n - 1)) == 0; }

/* Does a frame whose page has this size begin here? */
static bool is_frame_offset(uint64_t at, uint32_t page_size) {
  return at >= URINGVFS__WAL_HEADER_BYTES &&
         (at - URINGVFS__WAL_HEADER_BYTES) % (URINGVFS__WAL_FRAME_HEADER_BYTES + page_size) == 0;
}

static bool is_page_of_frame(uint64_t at, uint32_t page_size) {
  return at >= URINGVFS__WAL_FRAME_HEADER_BYTES && is_frame_offset(at - URINGVFS__WAL_FRAME_HEADER_BYTES, page_size);
}

/* A frame header whose bytes 4..7, the size of the database after the commit, are not zero, is a commit frame's. */
static wal_piece header_piece(uringvfs__wal_writer *w, const void *data, uint64_t at) {
  static const uint8_t zero[4];
  if (w->header_at != 0 || (w->page_size != 0 && !is_frame_offset(at, w->page_size))) return PIECE_FOREIGN;
  w->header_at = at;
  return memcmp((const uint8_t *)data + 4, zero, 4) != 0 ? PIECE_COMMIT_HEADER : PIECE_HEADER;
}

/* The first page of a tenure tells the size of all. */
static wal_piece page_piece(uringvfs__wal_writer *w, uint32_t amount, uint64_t at) {
  const bool expected = w->header_at == 0 || at == w->header_at + URINGVFS__WAL_FRAME_HEADER_BYTES;
  if (w->header_at != 0 && w->page_size == 0) w->page_size = amount;
  w->header_at = 0;
  return expected && is_page_size(amount) && amount == w->page_size && is_page_of_frame(at, amount) ? PIECE_PAGE
                                                                                                    : PIECE_FOREIGN;
}

/* wal.c, walWriteOneFrame: a header, then its page; sqlite3WalFrames: a page in the place of one that this transaction
** has written before. */
static wal_piece piece_of(uringvfs__wal_writer *w, const void *data, uint32_t amount, uint64_t at) {
  return amount == URINGVFS__WAL_FRAME_HEADER_BYTES ? header_piece(w, data, at) : page_piece(w, amount, at);
}

/*
** The commit frame is complete. What is pending behind it was undone, by a savepoint or by a transaction that was
** rolled back in ALONE, and is written all the same: SQLite 3.40 may read frames that a savepoint has undone
** (walRewriteChecksums, with an iReCksum of before).
*/
static int flush_commit(uringvfs__file *wal) {
  uringvfs__wal_writer *w = &wal->writer;
  w->state = URINGVFS__WAL_THROUGH;
  return flush(wal, w->expect_sync && wal->first_sync_done);
}

static int write_through(uringvfs__file *wal, const void *data, uint32_t amount, uint64_t offset) {
  if (overlaps_pending(&wal->writer, offset, amount)) {
    int rc = flush(wal, false);
    if (rc != SQLITE_OK) return rc;
  }
  return uringvfs__write(wal, data, (int)amount, (sqlite3_int64)offset);
}

/* Nothing is held back any more in this tenure. */
static int write_foreign(uringvfs__file *wal, const void *data, uint32_t amount, uint64_t offset) {
  wal->writer.state = URINGVFS__WAL_THROUGH;
  int rc = flush(wal, false);
  return rc != SQLITE_OK ? rc : uringvfs__write(wal, data, (int)amount, (sqlite3_int64)offset);
}

int uringvfs__wal_write(uringvfs__file *wal, const void *data, int amount, sqlite3_int64 offset) {
  uringvfs__wal_writer *w = &wal->writer;
  const uint32_t bytes = (uint32_t)amount;
  const uint64_t at = (uint64_t)offset;
  w->synced_by_group = false;
  if (wal->database != NULL) uringvfs__readahead_written(wal->database, true, offset, amount);
  /* Without a link to the database file nobody tells when a transaction ends. */
  if (w->state == URINGVFS__WAL_THROUGH || wal->database == NULL || !uringvfs__may_hold_back(wal->database) ||
      at < URINGVFS__WAL_HEADER_BYTES)
    return write_through(wal, data, bytes, at);
  const wal_piece piece = piece_of(w, data, bytes, at);
  if (piece == PIECE_FOREIGN) return write_foreign(wal, data, bytes, at);
  int rc = place(wal, data, bytes, at);
  if (rc != SQLITE_OK) return rc;
  if (w->state == URINGVFS__WAL_COMMIT) return flush_commit(wal);
  if (piece == PIECE_COMMIT_HEADER) w->state = URINGVFS__WAL_COMMIT;
  return SQLITE_OK;
}

int uringvfs__wal_read(uringvfs__file *wal, void *data, int amount, sqlite3_int64 offset) {
  const uringvfs__wal_writer *w = &wal->writer;
  const uint64_t at = (uint64_t)offset, bytes = (uint64_t)amount;
  if (overlaps_pending(w, at, bytes)) {
    if (at >= w->start && at + bytes <= pending_end(w)) {
      memcpy(data, w->buffer + (at - w->start), bytes);
      return SQLITE_OK;
    }
    int rc = uringvfs__wal_flush(wal);
    if (rc != SQLITE_OK) return rc;
  }
  return wal->database != NULL ? uringvfs__readahead_read(wal, data, amount, offset, wal->database)
                               : uringvfs__read(wal, data, amount, offset);
}

int uringvfs__wal_sync(uringvfs__file *wal, int flags) {
  uringvfs__wal_writer *w = &wal->writer;
  int rc = uringvfs__wal_flush(wal);
  if (rc != SQLITE_OK) return rc;
  const bool normal = (flags & URINGVFS__SYNC_STRENGTH) == SQLITE_SYNC_NORMAL;
  if (w->state == URINGVFS__WAL_THROUGH) w->sync_asked = normal;
  if (w->sync_rc != SQLITE_OK) {
    /* Found by an earlier group's fdatasync; the kernel will not report it a second time. */
    rc = w->sync_rc;
    w->sync_rc = SQLITE_OK;
    return rc;
  }
  /* A group's fdatasync is what os_unix.c makes of SQLITE_SYNC_NORMAL. More is the parent's to do. */
  return w->synced_by_group && normal ? SQLITE_OK : uringvfs__sync(wal, flags);
}

int uringvfs__wal_truncate(uringvfs__file *wal, sqlite3_int64 size) {
  uringvfs__wal_writer *w = &wal->writer;
  const uint64_t end = (uint64_t)size;
  w->synced_by_group = false;
  if (w->length > 0 && w->start >= end)
    w->length = 0;
  else if (w->length > 0 && pending_end(w) > end)
    w->length = (uint32_t)(end - w->start);
  int rc = uringvfs__wal_flush(wal);
  return rc != SQLITE_OK ? rc : wal->parent->pMethods->xTruncate(wal->parent, size);
}
