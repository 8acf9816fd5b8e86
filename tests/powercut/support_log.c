/*
** support_log.c - see support_log.h.
*/
#include "support_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../crash/rows.h"

/* Address space, not memory: the file grows below the mapping. */
#define MAPPED_BYTES ((size_t)16 << 30)

static const char magic[8] = "powercut";
static const char *const keep_names[KEEP_COUNT] = {"none", "all", "one", "rest", "some", "torn"};

/* ---- the file ---- */

static bool map(disk_log *log) {
  log->head = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, log->fd, 0);
  if (log->head != MAP_FAILED && memcmp(log->head->magic, magic, sizeof magic) == 0) return true;
  if (log->head != MAP_FAILED) munmap(log->head, MAPPED_BYTES);
  log->head = NULL;
  close(log->fd);
  errno = EINVAL;
  return false;
}

bool log_create(disk_log *log, const char *path, uint64_t disk_bytes, uint64_t sector_bytes, uint64_t lie_every) {
  log_head head = {.disk_bytes = disk_bytes, .sector_bytes = sector_bytes, .lie_every = lie_every, .used = sizeof head};
  memcpy(head.magic, magic, sizeof magic);
  log->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (log->fd < 0) return false;
  if (pwrite(log->fd, &head, sizeof head, 0) == (ssize_t)sizeof head) return map(log);
  close(log->fd);
  return false;
}

bool log_open(disk_log *log, const char *path) {
  char start[sizeof magic];
  log->fd = open(path, O_RDWR | O_CLOEXEC);
  if (log->fd < 0) return false;
  if (pread(log->fd, start, sizeof start, 0) == (ssize_t)sizeof start) return map(log);
  close(log->fd);
  errno = EINVAL;
  return false;
}

void log_close(disk_log *log) {
  munmap(log->head, MAPPED_BYTES);
  close(log->fd);
}

/* Written with pwrite, not through the mapping: a full file system is an error then, not a SIGBUS. */
int log_append(disk_log *log, log_kind kind, uint64_t offset, uint64_t bytes, const void *data) {
  log_head *h = log->head;
  const log_entry entry = {.kind = kind, .offset = offset, .bytes = bytes};
  const uint64_t end = h->used + sizeof entry + (kind == LOG_WRITE ? bytes : 0);
  if (end > MAPPED_BYTES) return -ENOSPC;
  if (pwrite(log->fd, &entry, sizeof entry, (off_t)h->used) != (ssize_t)sizeof entry) return -EIO;
  if (kind == LOG_WRITE && pwrite(log->fd, data, bytes, (off_t)(h->used + sizeof entry)) != (ssize_t)bytes) return -EIO;
  h->used = end;
  atomic_fetch_add(&h->entries, 1); /* after the entry: who reads the position may read what is below it */
  return 0;
}

uint64_t log_position(const disk_log *log) { return atomic_load(&log->head->entries); }

const log_entry *log_first(const disk_log *log) { return (const log_entry *)(log->head + 1); }

const log_entry *log_next(const log_entry *e) {
  return (const log_entry *)((const uint8_t *)(e + 1) + (e->kind == LOG_WRITE ? e->bytes : 0));
}

/* ---- the image ---- */

static void apply_part(const log_entry *e, uint64_t from, uint64_t to, const uint8_t **units) {
  for (uint64_t at = from; at < to; at += DISK_UNIT)
    units[(e->offset + at) / DISK_UNIT] = e->kind == LOG_WRITE ? (const uint8_t *)(e + 1) + at : NULL;
}

void log_apply(const log_entry *e, const uint8_t **units) {
  if (e->kind == LOG_WRITE || e->kind == LOG_ZERO) apply_part(e, 0, e->bytes, units);
}

/* The start of the write, its end, or any of its sectors. */
static void apply_torn(const log_entry *e, uint64_t sector, uint64_t *random, const uint8_t **units) {
  const uint64_t sectors = (e->bytes + sector - 1) / sector;
  const uint64_t shape = splitmix64(random) % 3, border = splitmix64(random) % (sectors + 1);
  for (uint64_t i = 0; i < sectors; i++) {
    const bool kept = shape == 0 ? i < border : shape == 1 ? i >= border : (splitmix64(random) & 1) != 0;
    const uint64_t end = (i + 1) * sector;
    if (kept) apply_part(e, i * sector, end < e->bytes ? end : e->bytes, units);
  }
}

static void apply_unsynced(const log_entry *e, const disk_cut *cut, uint64_t index, uint64_t count, uint64_t sector,
                           uint64_t *random, const uint8_t **units) {
  const uint64_t chosen = cut->seed % count, of_four = 1 + cut->seed % 3;
  switch (cut->keep) {
  case KEEP_NONE:
  case KEEP_COUNT: return;
  case KEEP_ALL: break;
  case KEEP_ONE:
    if (index != chosen) return;
    break;
  case KEEP_REST:
    if (index == chosen) return;
    break;
  case KEEP_SOME:
    if (splitmix64(random) % 4 >= of_four) return;
    break;
  case KEEP_TORN:
    switch (splitmix64(random) % 3) {
    case 0: return;
    case 1: apply_torn(e, sector, random, units); return;
    default: break;
    }
  }
  log_apply(e, units);
}

void log_image(const disk_log *log, const disk_cut *cut, const uint8_t **units) {
  uint64_t durable = 0, unsynced = 0, i = 0, index = 0, random = cut->seed;
  const log_entry *e = log_first(log);
  for (i = 0; i < cut->at; i++, e = log_next(e)) {
    if (e->kind == LOG_FLUSH) durable = i, unsynced = 0;
    if (e->kind == LOG_WRITE || e->kind == LOG_ZERO) unsynced++;
  }
  memset(units, 0, log->head->disk_bytes / DISK_UNIT * sizeof *units);
  e = log_first(log);
  for (i = 0; i < cut->at; i++, e = log_next(e)) {
    if (i < durable)
      log_apply(e, units);
    else if (e->kind == LOG_WRITE || e->kind == LOG_ZERO)
      apply_unsynced(e, cut, index++, unsynced, log->head->sector_bytes, &random, units);
  }
}

/* ---- as text ---- */

void cut_print(const disk_cut *cut, char *text, size_t text_bytes) {
  snprintf(text, text_bytes, "%llu:%s:%llu", (unsigned long long)cut->at, keep_names[cut->keep],
           (unsigned long long)cut->seed);
}

bool cut_parse(const char *text, disk_cut *cut) {
  unsigned long long at, seed;
  char keep[8];
  if (sscanf(text, "%llu:%7[a-z]:%llu", &at, keep, &seed) != 3) return false;
  for (cut->keep = KEEP_NONE; cut->keep < KEEP_COUNT; cut->keep++)
    if (strcmp(keep, keep_names[cut->keep]) == 0) break;
  cut->at = at;
  cut->seed = seed;
  return cut->keep < KEEP_COUNT;
}
