/*
** support_recorder.h - a VFS that writes down every call and can make any of them fail.
**
** The recorder stands over the VFS that was default before (unix) and becomes the default itself, so that
** uringvfs_register() takes it as its parent:
**
**   SQLite -> uring -> recorder -> unix         (vfs=uring: what is tested)
**   SQLite -> recorder -> unix                  (vfs=unix-recorder: what the default VFS does, to compare with)
**
** With uring_backend=sync every read, write and sync of the shim passes here. What takes a ring does not: the tests
** that look at the ring use the statistics.
**
** Calls are logged in the order in which they start. Any thread may call; the log has a mutex. Hooks and injected
** failures act before the call is passed on.
*/
#ifndef SUPPORT_RECORDER_H
#define SUPPORT_RECORDER_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

/* The shim is told to trust it; below a parent that it does not trust it merges nothing and takes no ring. */
#define RECORDER_VFS "unix-recorder"

typedef enum rec_kind {
  REC_ANY = 0,
  REC_OPEN,
  REC_CLOSE,
  REC_READ,
  REC_WRITE,
  REC_TRUNCATE,
  REC_SYNC,
  REC_FILE_SIZE,
  REC_LOCK,   /* arg: level wanted                    */
  REC_UNLOCK, /* arg: level wanted                    */
  REC_CHECK_RESERVED,
  REC_CONTROL, /* arg: op code                         */
  REC_SHM_MAP,
  REC_SHM_LOCK, /* arg: flags, offset: slot, bytes: count */
  REC_SHM_BARRIER,
  REC_SHM_UNMAP,
  REC_FETCH,
  REC_UNFETCH,
  REC_DELETE, /* arg: directory sync wanted           */
  REC_ACCESS,
  REC_SLEEP, /* arg: microseconds asked for          */
  REC_KIND_COUNT
} rec_kind;

typedef enum rec_role { REC_ANY_ROLE = 0, REC_DB, REC_WAL, REC_JOURNAL, REC_SUPER, REC_OTHER, REC_ROLE_COUNT } rec_role;

typedef struct rec_call {
  rec_kind kind;
  rec_role role;
  const char *name; /* base name of the file, "" for none          */
  sqlite3_int64 offset;
  sqlite3_int64 bytes;
  int arg;
  int rc;                 /* what was returned (bytes for REC_SLEEP)     */
  unsigned char head[32]; /* first bytes of a write                      */
  int locks_held;         /* of that database: level of xLock            */
  unsigned shm_held;      /* of that database: bit n: exclusive slot n   */
} rec_call;

/* Registers the recorder as default VFS, named RECORDER_VFS. Call once, before uringvfs_register. */
int recorder_install(void);

/* Forget the log; failures and hooks too. */
void recorder_reset(void);
/* Forget the log alone. */
void recorder_clear_log(void);
size_t recorder_count(void);
/* Valid until the next call into the VFS. */
const rec_call *recorder_at(size_t i);
/* How many calls of this kind and role (REC_ANY, REC_ANY_ROLE match all) from index `from` on. */
size_t recorder_tally(rec_kind kind, rec_role role, size_t from);
/* Index of the first such call at or after from, or recorder_count(). */
size_t recorder_find(rec_kind kind, rec_role role, size_t from);
/* Sum of bytes of such calls. */
sqlite3_int64 recorder_bytes(rec_kind kind, rec_role role, size_t from);

/* The nth call (1 is the next) of that kind and role, and `times` in all (0: for ever), returns rc without being passed
** on. */
void recorder_fail(rec_kind kind, rec_role role, int nth, int times, int rc);
/* How often it has failed so far. */
int recorder_failed(void);
void recorder_fail_off(void);

/* Called before each call is passed on, not under the mutex. NULL: none. */
typedef void (*recorder_hook_fn)(const rec_call *call, void *arg);
void recorder_hook(recorder_hook_fn hook, void *arg);

/* Device characteristics reported: (parent's & and_mask) | or_mask; sector size 0: the parent's. */
void recorder_set_device(int and_mask, int or_mask, int sector_size);
/* Sleep returns at once with the value asked for. */
void recorder_fake_sleep(bool on);

/* Prints the log (and, with a default build of cmocka, is shown when a test fails). */
void recorder_dump(void);

/*
** The shape of the log: one token per call, runs of writes to one file as one token, reads, accesses, sizes and
** harmless controls left out. Two runs with the same shape did the same things in the same order, whatever the merging.
** malloc'ed.
*/
char *recorder_shape(size_t from);

/*
** Who writes without holding the lock that allows it? Checks the whole log: database pages in rollback mode only under
** EXCLUSIVE (or, for a database in exclusive mode or WAL, under the checkpoint lock), WAL only under the write lock.
** Returns the index of the first offender, or -1. Only for databases that are not in exclusive locking mode.
*/
long recorder_check_locks(void);

#endif
