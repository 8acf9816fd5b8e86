/*
** support_recorder.h - everything that reaches the disk, in order.
**
** The VFS "unix-recorder" stands over "unix" and becomes the default, so that uringvfs_register() takes it as its
** parent, and is told to trust it as it trusts "unix":
**
**   SQLite -> uring -> unix-recorder -> unix      what is tested
**   SQLite -> unix-recorder -> unix               the reference: the default VFS itself, recorded the same way
**
** What takes a ring passes no VFS. It is recorded where the runtime enters the kernel (runtime/backend.h, rt__calls):
** every write and fsync among the submitted SQEs goes into the same log.
**
** The log holds the files below one directory: databases, journals, WALs and super-journals. Temporary files and the
** wal-index do not survive a crash and are not in it.
**
** One thread at a time. Random numbers come from the seed, so a workload that does the same leaves the same log.
*/
#ifndef CRASH_RECORDER_H
#define CRASH_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum crash_kind {
  CRASH_WRITE,
  CRASH_TRUNCATE, /* offset: the new size, which may be larger                                    */
  CRASH_SYNC,     /* covers: writes of this inode before that index of the log are durable now    */
  CRASH_CREATE,   /* name, inode                                                                  */
  CRASH_UNLINK,   /* name                                                                         */
  CRASH_DIRSYNC,  /* all names are durable now                                                    */
  CRASH_MARK      /* no I/O: what the workload knows at this point (mark, value)                  */
} crash_kind;

typedef enum crash_mark {
  MARK_NONE,
  MARK_BEGIN,       /* COMMIT of transaction `value` is about to be called                                         */
  MARK_ACK,         /* ... and has returned SQLITE_OK                                                               */
  MARK_NEVER,       /* ... has failed, or was rolled back: it must never be seen                                    */
  MARK_MAYBE,       /* ... has failed where a later crash may still show it (fsync failed behind the commit frame)  */
  MARK_WEAK,        /* ... has failed, but its content is what connections see from here on                         */
  MARK_SYNC_FAILED, /* a fault was injected into a sync */
  MARK_IDLE         /* no transaction is open                                                                       */
} crash_mark;

typedef enum crash_role { ROLE_DATABASE, ROLE_JOURNAL, ROLE_WAL, ROLE_SUPER, ROLE_COUNT } crash_role;

typedef struct crash_entry {
  crash_kind kind;
  crash_mark mark;
  int value;
  int inode;
  int name;
  bool ring; /* it took a ring */
  uint32_t length;
  uint64_t offset;
  size_t covers;
  uint8_t *bytes;
} crash_entry;

#define CRASH_MAX_NAMES  64
#define CRASH_MAX_INODES 4096

typedef struct crash_log {
  crash_entry *entries;
  size_t count, room;
  char names[CRASH_MAX_NAMES][96]; /* base names */
  crash_role roles[CRASH_MAX_NAMES];
  int name_count;
  uint8_t inode_roles[CRASH_MAX_INODES]; /* crash_role */
  int inode_count;
} crash_log;

/* Once per process, before uringvfs_register(). False: it cannot be registered. */
bool crash_recorder_install(void);
/* An empty log, of the files below directory (absolute, no slash at its end), which is empty too. */
void crash_recorder_start(const char *directory, uint64_t seed);
void crash_recorder_stop(void);
/* Valid until the next start. */
const crash_log *crash_recorder_log(void);
void crash_recorder_mark(crash_mark mark, int value);
void crash_recorder_free(void);

/*
** From now on the nth write (or sync) fails with `code`, and all that follow if `for_ever`. A failing write may have
** written some of its bytes before (`partial`).
*/
void crash_recorder_fault(bool sync, int nth, int code, bool for_ever, bool partial);
/* No more faults. Returns how often one was injected. */
int crash_recorder_fault_off(void);

/*
** At every publication of a WAL commit in the wal-index, the last frame must be in the file, whole and with its
** checksum: the first violation as text, or NULL. *published counts the publications that were looked at.
*/
const char *crash_recorder_publish_error(uint64_t *published);

#endif
