/*
** support_disk.h - a disk that may lose its power.
**
** It replays a recorded log entry by entry. What was synced is durable. Every write, truncate, create and unlink that
** was not is pending, and after a power cut each of them is there, or not, or (a write) there in some of its 512-byte
** sectors. The choice is independent for each: an operating system writes back in any order.
**
** The model is harsher than most file systems: the name of a file is durable only when its directory was synced, an
** fsync of the file does not help; a write that was lost in the middle of the file leaves what was there before, or
** zeros.
*/
#ifndef CRASH_DISK_H
#define CRASH_DISK_H

#include "support_recorder.h"

#define CRASH_SECTOR_BYTES 512

typedef struct crash_bytes {
  uint8_t *data;
  size_t size, room;
} crash_bytes;

typedef struct crash_disk {
  const crash_log *log;
  size_t position;      /* entries replayed */
  crash_bytes *durable; /* by inode */
  bool exists[CRASH_MAX_NAMES];
  int inode_of[CRASH_MAX_NAMES]; /* durable names */
  size_t *pending;               /* indices of log entries, ascending */
  size_t pending_count, pending_room;
} crash_disk;

/* What becomes of the pending entries. */
typedef enum crash_fate {
  FATE_KEEP_ALL,   /* a killed process: the operating system lives on    */
  FATE_DROP_ALL,   /* nothing but what was synced                        */
  FATE_DROP_ONE,   /* all but the pending entry `which`                  */
  FATE_KEEP_ONE,   /* none but the pending entry `which`                 */
  FATE_DROP_NAMES, /* names are lost, the contents of files are not      */
  FATE_KEEP_NAMES, /* the other way round                                */
  FATE_RANDOM,     /* each by the toss of a coin                         */
  FATE_TORN,       /* each kept, dropped or torn                         */
  FATE_TEAR_ONE,   /* all kept, but `which` is torn                      */
  FATE_COUNT
} crash_fate;

typedef struct crash_variant {
  crash_fate fate;
  size_t which;
  uint64_t seed;
} crash_variant;

typedef struct crash_image {
  int count;
  int name[CRASH_MAX_NAMES];
  crash_bytes file[CRASH_MAX_NAMES]; /* valid until the next image is made */
  uint64_t hash;
  bool lost_unlink;  /* a file is back whose deletion was not durable */
  bool lost_name;    /* any name operation was lost */
  bool lost_journal; /* any of the bytes of a rollback journal, or of a super-journal */
  size_t lost, torn; /* pending entries that are not there, or only in part */
} crash_image;

void crash_disk_init(crash_disk *disk, const crash_log *log);
void crash_disk_free(crash_disk *disk);
/* Replays the next entry. */
void crash_disk_advance(crash_disk *disk);
void crash_disk_image(const crash_disk *disk, const crash_variant *variant, crash_image *image);

uint64_t crash_hash(uint64_t hash, const void *data, size_t bytes);

#endif
