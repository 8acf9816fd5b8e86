/*
** support_files.c - see support_files.h.
**
** What must be the same after every step: the database and its rollback journal byte for byte; the wal-index byte for
** byte, since SQLite alone writes it; of the WAL its header and all that a recovery would find, up to the last commit
** frame. What lies behind are frames that were not committed, and the VFS under test keeps those in memory.
**
** A write that fails may fail in an earlier statement on one side than on the other. From then on SQLite's counter of
** changes in page 1 may go its own way, with it all checksums, and numbers of pages that were not committed stay behind
** in the wal-index. These are left out then.
**
** A WAL that is persistent is recovered when it is opened again. What of it was not committed leaves its traces in the
** wal-index, on the side where it is in the file.
*/
#include "support_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the WAL's format: https://www.sqlite.org/fileformat2.html ---- */

enum { HEADER = 32, FRAME_HEADER = 24 };

static uint32_t big_endian(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t little_endian(const uint8_t *p) {
  return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

typedef struct checksum {
  uint32_t s0, s1;
  bool big;
} checksum;

static void checksum_add(checksum *c, const uint8_t *p, size_t bytes) {
  for (size_t i = 0; i < bytes; i += 8) {
    c->s0 += (c->big ? big_endian(p + i) : little_endian(p + i)) + c->s1;
    c->s1 += (c->big ? big_endian(p + i + 4) : little_endian(p + i + 4)) + c->s0;
  }
}

static bool checksum_is(const checksum *c, const uint8_t *p) {
  return big_endian(p) == c->s0 && big_endian(p + 4) == c->s1;
}

size_t model_wal_end(const uint8_t *wal, size_t bytes, size_t *committed) {
  *committed = 0;
  if (bytes < HEADER || (big_endian(wal) & ~1u) != 0x377f0682) return 0;
  checksum c = {.big = (big_endian(wal) & 1) != 0};
  const size_t page = big_endian(wal + 8);
  checksum_add(&c, wal, 24);
  if (!checksum_is(&c, wal + 24) || page < 512 || page > 65536) return 0;
  size_t end = *committed = HEADER;
  for (const uint8_t *frame; end + FRAME_HEADER + page <= bytes; end += FRAME_HEADER + page) {
    frame = wal + end;
    checksum_add(&c, frame, 8);
    checksum_add(&c, frame + FRAME_HEADER, page);
    if (memcmp(frame + 8, wal + 16, 8) != 0 || !checksum_is(&c, frame + 16)) break;
    if (big_endian(frame + 4) != 0) *committed = end + FRAME_HEADER + page;
  }
  return end;
}

/* ---- comparing ---- */

typedef struct content {
  bool exists;
  uint8_t *bytes;
  size_t size, room;
} content;

static void content_read(content *c, const char *directory, const char *name, const char *suffix) {
  char path[700];
  struct stat st;
  snprintf(path, sizeof path, "%s/%s%s", directory, name, suffix);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  c->exists = fd >= 0;
  c->size = 0;
  if (fd < 0) return;
  if (fstat(fd, &st) == 0 && (size_t)st.st_size > c->room) {
    free(c->bytes);
    c->room = (size_t)st.st_size * 2;
    c->bytes = malloc(c->room);
    if (c->bytes == NULL) abort();
  }
  const ssize_t got = c->room > 0 ? read(fd, c->bytes, c->room) : 0;
  c->size = got > 0 ? (size_t)got : 0;
  close(fd);
}

static size_t first_difference(const content *a, const content *b, size_t bytes) {
  size_t at = 0;
  while (at < bytes && a->bytes[at] == b->bytes[at]) at++;
  return at;
}

static bool equal_up_to(const content *a, const content *b, size_t bytes) {
  return bytes == 0 || memcmp(a->bytes, b->bytes, bytes) == 0;
}

/* Text for the answer, empty if they are the same. */
static void compare_all(content *a, content *b, const char *file, char *text) {
  const size_t less = a->size < b->size ? a->size : b->size;
  if (a->exists != b->exists)
    snprintf(text, MODEL_DIFFERENCE, "%s: %s", file, a->exists ? "only under test" : "only with the default VFS");
  else if (!equal_up_to(a, b, less))
    snprintf(text, MODEL_DIFFERENCE, "%s: differs at %zu (sizes: under test %zu, default %zu)", file,
             first_difference(a, b, less), a->size, b->size);
  else if (a->size != b->size)
    snprintf(text, MODEL_DIFFERENCE, "%s: size %zu under test, %zu with the default VFS", file, a->size, b->size);
}

static void compare_sizes(content *a, content *b, const char *file, char *text) {
  if (a->exists != b->exists || a->size != b->size)
    snprintf(text, MODEL_DIFFERENCE, "%s: %s, size %zu under test, %s, %zu with the default VFS", file,
             a->exists ? "there" : "missing", a->size, b->exists ? "there" : "missing", b->size);
}

static void compare_wals(content *a, content *b, const char *file, char *text) {
  size_t committed_a, committed_b;
  if (a->exists == b->exists && a->size == b->size && equal_up_to(a, b, a->size)) return;
  model_wal_end(a->bytes, a->size, &committed_a);
  model_wal_end(b->bytes, b->size, &committed_b);
  const size_t less = committed_a < committed_b ? committed_a : committed_b;
  if (a->exists != b->exists)
    compare_all(a, b, file, text);
  else if ((a->size < HEADER) != (b->size < HEADER) || (a->size >= HEADER && !equal_up_to(a, b, HEADER)))
    snprintf(text, MODEL_DIFFERENCE, "%s: the headers differ (sizes: under test %zu, default %zu)", file, a->size,
             b->size);
  else if (committed_a != committed_b || !equal_up_to(a, b, less))
    snprintf(text, MODEL_DIFFERENCE,
             "%s: committed up to %zu under test, %zu with the default VFS, the same up to %zu (sizes %zu, %zu)", file,
             committed_a, committed_b, first_difference(a, b, less), a->size, b->size);
}

/* mxFrame and nPage, what is backfilled, and the read marks: https://www.sqlite.org/walformat.html */
static void compare_index_numbers(content *a, content *b, const char *file, char *text) {
  const size_t all = 136;
  if (a->exists != b->exists || (a->size < all) != (b->size < all))
    compare_all(a, b, file, text);
  else if (a->size >= all &&
           (memcmp(a->bytes + 16, b->bytes + 16, 8) != 0 || memcmp(a->bytes + 96, b->bytes + 96, 40) != 0))
    snprintf(text, MODEL_DIFFERENCE, "%s: mxFrame, nPage, nBackfill or the read marks differ", file);
}

/* In page 1: the counter of changes, and for which value of it the version number holds. */
static void forget_changes(uint8_t *page) {
  memset(page + 24, 0, 4);
  memset(page + 92, 0, 4);
}

static void compare_databases_after_error(content *a, content *b, const char *file, char *text) {
  if (a->size >= 512) forget_changes(a->bytes);
  if (b->size >= 512) forget_changes(b->bytes);
  compare_all(a, b, file, text);
}

/* All of it that recovery would find, without checksums and the counter; the rest goes. */
static void forget_checksums(content *c) {
  size_t committed, page = c->size >= HEADER ? big_endian(c->bytes + 8) : 0;
  model_wal_end(c->bytes, c->size, &committed);
  c->size = committed;
  for (size_t at = HEADER; at < committed; at += FRAME_HEADER + page) {
    memset(c->bytes + at + 16, 0, 8);
    if (big_endian(c->bytes + at) == 1) forget_changes(c->bytes + at + FRAME_HEADER);
  }
}

static void compare_wals_after_error(content *a, content *b, const char *file, char *text) {
  forget_checksums(a);
  forget_checksums(b);
  compare_all(a, b, file, text);
}

typedef void comparer(content *a, content *b, const char *file, char *text);

static void compare_files(const char *const directories[2], const model_comparison *what, char *text) {
  static content a, b; /* their memory is kept */
  const struct {
    const char *suffix;
    comparer *compare;
  } files[] = {{"", what->after_error ? compare_databases_after_error : compare_all},
               {"-wal", what->after_error ? compare_wals_after_error : compare_wals},
               {"-journal", what->after_error || what->journal_by_size ? compare_sizes : compare_all},
               {"-shm", what->after_error || what->recovered ? compare_index_numbers : compare_all}};
  text[0] = 0;
  for (unsigned i = 0; i < sizeof files / sizeof files[0] && text[0] == 0; i++) {
    char file[64];
    content_read(&a, directories[0], what->name, files[i].suffix);
    content_read(&b, directories[1], what->name, files[i].suffix);
    snprintf(file, sizeof file, "%s%s", what->name, files[i].suffix);
    files[i].compare(&a, &b, file, text);
  }
}

/* ---- the process ---- */

static void __attribute__((noreturn)) observe(int socket, const char *a, const char *b) {
  model_comparison what;
  char text[MODEL_DIFFERENCE];
  while (recv(socket, &what, sizeof what, 0) == (ssize_t)sizeof what) {
    compare_files((const char *const[]){a, b}, &what, text);
    if (send(socket, text, sizeof text, MSG_NOSIGNAL) != (ssize_t)sizeof text) break;
  }
  _exit(0);
}

bool model_observer_start(model_observer *o, const char *directory_a, const char *directory_b) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) != 0) return false;
  o->process = fork();
  if (o->process == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(ends[0]);
    observe(ends[1], directory_a, directory_b);
  }
  close(ends[1]);
  o->socket = ends[0];
  return o->process > 0;
}

void model_observer_stop(model_observer *o) {
  shutdown(o->socket, SHUT_RDWR);
  close(o->socket);
  waitpid(o->process, NULL, 0);
}

bool model_observer_compare(const model_observer *o, const model_comparison *what, char difference[MODEL_DIFFERENCE]) {
  if (send(o->socket, what, sizeof *what, MSG_NOSIGNAL) != (ssize_t)sizeof *what ||
      recv(o->socket, difference, MODEL_DIFFERENCE, 0) != MODEL_DIFFERENCE)
    snprintf(difference, MODEL_DIFFERENCE, "the process that compares the files is gone");
  return difference[0] == 0;
}
