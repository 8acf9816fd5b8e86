/*
** limit.c - what the device could do: the pages that a workload reads, all known in advance, read by bare liburing.
**
** The list is recorded in a run on the VFS "recorder": the unix VFS, but xRead of the database file notes the page.
*/
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_LISTED = 1 << 26 };

/* ---- Recording, in the child ----------------------------------------------------------------------------------- */

static struct {
  sqlite3_vfs vfs, *parent;
  const sqlite3_io_methods *methods; /* the parent's for the database file */
  sqlite3_io_methods recording;
  const database *base;
  page_list *list;
  unsigned char *seen; /* by page; NULL: repetitions are listed */
} recorder;

static void note(uint32_t page) {
  if (recorder.seen && recorder.seen[page]++) return;
  if (*recorder.list->count == MAX_LISTED) die("more than %d reads: use a smaller --size", MAX_LISTED);
  recorder.list->page[(*recorder.list->count)++] = page;
}

static int record_read(sqlite3_file *file, void *buffer, int bytes, sqlite3_int64 offset) {
  note((uint32_t)(offset / recorder.base->page_bytes));
  return recorder.methods->xRead(file, buffer, bytes, offset);
}

static int record_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out) {
  (void)vfs;
  int rc = recorder.parent->xOpen(recorder.parent, name, file, flags, out);
  if (rc != SQLITE_OK || !name || strcmp(name, recorder.base->path) != 0) return rc;
  recorder.methods = file->pMethods;
  recorder.recording = *file->pMethods;
  recorder.recording.xRead = record_read;
  file->pMethods = &recorder.recording;
  return rc;
}

typedef struct recording {
  const workload *w;
  task t;
  page_list *list;
} recording;

static void record_run(void *arg) {
  recording *r = arg;
  recorder.parent = sqlite3_vfs_find("unix");
  recorder.vfs = *recorder.parent;
  recorder.vfs.zName = "recorder";
  recorder.vfs.xOpen = record_open;
  recorder.base = r->t.base;
  recorder.list = r->list;
  if (r->w->cold && !(recorder.seen = calloc((size_t)r->t.base->pages + 1, 1))) die("out of memory");
  check(NULL, sqlite3_vfs_register(&recorder.vfs, 0), "recorder");
  run_unmeasured(r->w, &r->t, (int)r->list->ops);
  if (*r->list->count == 0) die("%s: no page was recorded", r->w->name);
}

void record_pages(const workload *w, const database *base, page_list *list) {
  static const side unix_side = {"recorder", "recorder", false};
  recording r = {w, new_task(base, &unix_side), list};
  list->page = share(MAX_LISTED * sizeof *list->page);
  list->count = share(sizeof *list->count);
  list->ops = w->ops ? w->ops : w->limit_ops;
  in_child(record_run, &r, false);
  remove_output(&r.t);
}

void free_pages(page_list *list) {
  unshare_memory(list->page, MAX_LISTED * sizeof *list->page);
  unshare_memory(list->count, sizeof *list->count);
}

/* ---- Reading --------------------------------------------------------------------------------------------------- */

typedef struct reading {
  const database *base;
  const page_list *list;
  double *ns; /* shared */
} reading;

static void read_batch(struct io_uring *ring, int fd, char *buffer, unsigned bytes, const uint32_t *page, unsigned n) {
  for (unsigned i = 0; i < n; i++)
    io_uring_prep_read(io_uring_get_sqe(ring), fd, buffer + (size_t)i * bytes, bytes, (uint64_t)page[i] * bytes);
  int rc = io_uring_submit_and_wait(ring, n);
  if (rc != (int)n) die("limit: io_uring_submit_and_wait: %s", rc < 0 ? strerror(-rc) : "short");
  for (unsigned i = 0; i < n; i++) {
    struct io_uring_cqe *cqe;
    rc = io_uring_wait_cqe(ring, &cqe);
    if (rc == 0) rc = cqe->res;
    if (rc != (int)bytes) die("limit: read: %s", rc < 0 ? strerror(-rc) : "short");
    io_uring_cqe_seen(ring, cqe);
  }
}

static void read_list(void *arg) {
  const reading *r = arg;
  struct io_uring ring;
  const unsigned bytes = (unsigned)r->base->page_bytes;
  int fd = open(r->base->path, O_RDONLY | O_CLOEXEC);
  char *buffer = aligned_alloc(bytes, (size_t)LIMIT_DEPTH * bytes);
  if (fd < 0 || !buffer) die("%s: %s", r->base->path, strerror(errno));
  memset(buffer, 0, (size_t)LIMIT_DEPTH * bytes);
  int rc = io_uring_queue_init(LIMIT_DEPTH, &ring, 0);
  if (rc != 0) die("limit: io_uring_queue_init: %s (--no-limit leaves it out)", strerror(-rc));
  double begin = clock_ns(CLOCK_MONOTONIC);
  for (int64_t i = 0; i < *r->list->count; i += LIMIT_DEPTH) {
    int64_t left = *r->list->count - i;
    read_batch(&ring, fd, buffer, bytes, r->list->page + i, left < LIMIT_DEPTH ? (unsigned)left : LIMIT_DEPTH);
  }
  *r->ns = clock_ns(CLOCK_MONOTONIC) - begin;
  io_uring_queue_exit(&ring);
  free(buffer);
  close(fd);
}

double limit_ns(const workload *w, const database *base, const page_list *list) {
  reading r = {base, list, share(sizeof *r.ns)};
  prepare_cache(w, base);
  in_child(read_list, &r, true);
  double ns = *r.ns;
  unshare_memory(r.ns, sizeof *r.ns);
  return ns;
}
