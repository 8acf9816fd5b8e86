/*
** support_log.h - everything a disk was told, in order, and what it may hold after a power cut.
**
** The log is a file: the disk (prog_disk_fuse) appends to it, the campaign has it mapped and reads. The position, the
** number of entries, is what acknowledgements and cuts are expressed in.
**
** A disk with a volatile cache holds, after a cut at position `at`: every write before the last flush before `at`, and
** of the writes after that flush any selection, each whole or torn between two of its sectors. Nothing from `at` on.
** Which selection, is a disk_cut; the same log and the same cut make the same image.
*/
#ifndef POWERCUT_LOG_H
#define POWERCUT_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What images are made of. Writes are torn at the sectors of the disk, which may be larger. */
#define DISK_UNIT 512

typedef enum log_kind {
  LOG_WRITE = 1, /* its bytes follow the entry                            */
  LOG_ZERO,      /* zeroes or a discard: no bytes follow                  */
  LOG_FLUSH,     /* all writes before it are durable now                  */
  LOG_LIE        /* a flush that was answered, and nothing done (planted) */
} log_kind;

typedef struct log_entry {
  uint64_t kind, offset, bytes;
} log_entry;

typedef struct log_head {
  char magic[8];
  uint64_t disk_bytes, sector_bytes;
  uint64_t lie_every;       /* the disk lies about every Nth flush; 0: never */
  uint64_t used;            /* bytes of the file                             */
  _Atomic uint64_t entries; /* the position                                  */
} log_head;

typedef struct disk_log {
  int fd;
  log_head *head; /* mapped, and so are the entries behind it */
} disk_log;

typedef enum cut_keep {
  KEEP_NONE, /* of the writes after the last flush: none          */
  KEEP_ALL,
  KEEP_ONE,  /* one of them                                       */
  KEEP_REST, /* all but one                                       */
  KEEP_SOME, /* each by itself kept or dropped                    */
  KEEP_TORN, /* each by itself kept, dropped or torn              */
  KEEP_COUNT
} cut_keep;

typedef struct disk_cut {
  uint64_t at;
  cut_keep keep;
  uint64_t seed;
} disk_cut;

bool log_create(disk_log *log, const char *path, uint64_t disk_bytes, uint64_t sector_bytes, uint64_t lie_every);
bool log_open(disk_log *log, const char *path);
void log_close(disk_log *log);

/* 0 or -errno. One writer only. */
int log_append(disk_log *log, log_kind kind, uint64_t offset, uint64_t bytes, const void *data);
uint64_t log_position(const disk_log *log);

/* The first entry, and the one after; the caller counts them. */
const log_entry *log_first(const disk_log *log);
const log_entry *log_next(const log_entry *entry);

/* Where each unit of the disk finds its bytes; NULL: zeroes. */
void log_apply(const log_entry *entry, const uint8_t **units);
void log_image(const disk_log *log, const disk_cut *cut, const uint8_t **units);

/* "812:torn:77" */
void cut_print(const disk_cut *cut, char *text, size_t text_bytes);
bool cut_parse(const char *text, disk_cut *cut);

#endif
