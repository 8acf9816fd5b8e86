/*
** tenure.c - what a connection may believe, hold back and hand out.
**
** That follows from what it holds: the lock on the database file, a read mark and the write lock of the WAL. Every
** event of SQLite's protocol that can change it comes to uringvfs__tenure_event, the only function that moves, and
** everybody else asks for the state.
**
**             NONE <--------- SHARED ---------> ROLLBACK
**
**         - - - the WAL is opened or closed, the wal-index mapped or unmapped - - -
**
**      ALONE <-- EXCLUSIVE --> WAL <------- read mark -------> READING
**                               ^                                 ^
**                               | write lock                      | write lock
**                               v                                 v
**                            LOCKED <----- read mark ---------> WRITING
**
**      FROZEN  (immutable=1: nothing ever changes, and nothing is locked)
**
**    state      what the connection is                                 may hold back   may hand out
**    NONE       without a lock, or without one that can be seen
**    ROLLBACK   SHARED or more, without a WAL                                           yes
**    WAL        in WAL mode, between two transactions
**    READING    a read mark: neither file changes where it looks                        yes
**    LOCKED     the write lock alone: it writes no frames
**    WRITING    both: frames of a transaction come                      yes             yes
**    ALONE      EXCLUSIVE, and no read mark                             yes             yes
**    FROZEN                                                                             yes
**
** LOCKED recovers the wal-index, checkpoints all of the WAL (FULL and more), is about to take another read mark
** (walRestartLog), or has the write lock before its first one (BEGIN IMMEDIATE with SETLK_TIMEOUT).
**
** In ALONE SQLite makes no calls for the locks of the WAL (wal.c, WAL_EXCLUSIVE_MODE and WAL_HEAPMEMORY_MODE), so a
** transaction's end is heard of only if it commits (SQLITE_FCNTL_COMMIT_PHASETWO). Frames of one that was rolled back
** may stay until ALONE ends; nobody else can write where they belong before that.
**
** What is held back ends with WRITING or ALONE, whichever way that is left: commit, rollback, error, interrupt, locking
** mode, journal mode, close. It was never committed, since the write that completes a commit frame holds nothing back.
** What was read ahead ends with each change of state but those between READING and WRITING, through which the read
** mark is held.
**
** Events that take something away come before the parent is called, those that give something after it has agreed. One
** connection at a time, as SQLite serializes its files.
*/
#include "internal.h"

#include <stdlib.h>

static uringvfs__tenure_state state_of(const uringvfs__tenure *t) {
  if (t->immutable) return URINGVFS__TENURE_FROZEN;
  if (!t->wal && !t->wal_index)
    return t->lock_level >= SQLITE_LOCK_SHARED ? URINGVFS__TENURE_ROLLBACK : URINGVFS__TENURE_NONE;
  if (t->write_lock) return t->read_mark >= 0 ? URINGVFS__TENURE_WRITING : URINGVFS__TENURE_LOCKED;
  if (t->read_mark >= 0) return URINGVFS__TENURE_READING;
  return t->lock_level >= SQLITE_LOCK_EXCLUSIVE ? URINGVFS__TENURE_ALONE : URINGVFS__TENURE_WAL;
}

static void note(uringvfs__tenure *t, uringvfs__event event, int value) {
  switch (event) {
  case URINGVFS__EVENT_IMMUTABLE: t->immutable = value != 0; break;
  case URINGVFS__EVENT_LOCK: t->lock_level = value; break;
  case URINGVFS__EVENT_READ_MARK: t->read_mark = value; break;
  case URINGVFS__EVENT_WRITE_LOCK: t->write_lock = value != 0; break;
  case URINGVFS__EVENT_WAL: t->wal = value != 0; break;
  case URINGVFS__EVENT_WAL_INDEX: t->wal_index = value != 0; break;
  case URINGVFS__EVENT_COMMITTED: break;
  case URINGVFS__EVENT_CLOSE: *t = (uringvfs__tenure){.state = t->state, .read_mark = -1}; break;
  }
}

/* Whatever is held back or waits to be handed out is allowed to. A mistake here costs commits: better none at all. */
static void check(const uringvfs__file *f) {
  const bool holds_back = f->wal != NULL && uringvfs__wal_pending_end(f->wal) != 0;
  if (holds_back && !uringvfs__may_hold_back(f)) abort();
  if (uringvfs__readahead_holds_pages(f) && !uringvfs__may_hand_out(f)) abort();
}

/* The read mark is held from one state to the other. */
static bool is_read_mark_kept(uringvfs__tenure_state before, uringvfs__tenure_state now) {
  const unsigned held = 1u << URINGVFS__TENURE_READING | 1u << URINGVFS__TENURE_WRITING;
  return uringvfs__is_one_of(before, held) && uringvfs__is_one_of(now, held);
}

static void change(uringvfs__file *f, uringvfs__tenure_state to) {
  const uringvfs__tenure_state before = f->tenure.state;
  const bool held_back = uringvfs__may_hold_back(f);
  f->tenure.state = to;
  if (f->wal != NULL && (held_back || uringvfs__may_hold_back(f))) uringvfs__wal_tenure_ends(f->wal);
  if (!is_read_mark_kept(before, to)) uringvfs__readahead_tenure_changes(f);
  check(f);
}

void uringvfs__tenure_event(uringvfs__file *f, uringvfs__event event, int value) {
  note(&f->tenure, event, value);
  const uringvfs__tenure_state to = state_of(&f->tenure);
  if (to != f->tenure.state)
    change(f, to);
  else if (event == URINGVFS__EVENT_COMMITTED && f->wal != NULL && uringvfs__may_hold_back(f))
    uringvfs__wal_tenure_ends(f->wal);
  /* A tenure may go on for as long as the connection (exclusive locking mode). */
  if (event == URINGVFS__EVENT_COMMITTED) uringvfs__readahead_reconsider(f);
}
