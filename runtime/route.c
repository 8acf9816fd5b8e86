/*
** route.c - ring or inline: the one table that says which.
**
** The figures are of buffered I/O on ext4, Linux 6.18 (build/demo/bench_runtime prints them for the machine at hand):
**   a lone cached 4 KiB read costs more through the ring than by pread. In a batch, a cached page costs a third of a
**   pread that takes 1.8 us, and half as much again as one that takes 0.3; a page from the disk costs a tenth of a
**   pread's, and that decides;
**   a buffered write through the ring is punted to a worker thread, twice to eight times its inline price. Not on xfs,
**   but there too those that come first after a tick of the clock, because the new time stamp is logged: a batch of 32
**   took 65 us against 56 inline when written without a pause (1 % punted), 176 against 95 when written every 10 ms
**   (all punted). So no file system has a row;
**   writes followed by fdatasync cost the same either way from 64 KiB up: the flush is the price.
*/
#include "backend.h"

typedef struct row {
  rt_kind kind;
  int8_t sync;       /* -1: either                                      */
  unsigned never_if; /* a trait that rules the ring out                 */
  unsigned min_count;
  uint64_t min_bytes;
} row;

static const row table[] = {
    {RT_READ, -1, RT_FILE_READS_PUNT, 3, 0},
    {RT_READV, -1, RT_FILE_READS_PUNT, 3, 0},
    /* without a sync: never */
    {RT_WRITE, 1, 0, 1, 64 * 1024},
    {RT_WRITEV, 1, 0, 1, 64 * 1024},
    /* behind writes it goes where these go; by itself it blocks, so it leaves room for others */
    {RT_FSYNC, -1, 0, 2, 64 * 1024},
    {RT_FDATASYNC, -1, 0, 2, 64 * 1024},
    {RT_NOP, -1, 0, 0, 0},
};

static bool table_says(unsigned traits, const rt_work *work) {
  for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
    const row *r = &table[i];
    if (r->kind != work->kind || (r->sync >= 0 && r->sync != work->sync)) continue;
    return !(traits & r->never_if) && work->count >= r->min_count && work->bytes >= r->min_bytes;
  }
  return false;
}

/*
** Inline it would be several system calls, through the ring it is one. Measured with pieces of 124 KiB, ext4, no fsync:
** 128 KiB 10 against 9 us, 412 KiB 21 against 17, 1 MiB 56 against 36, although the ring's write goes to a worker
** thread.
*/
static bool takes_several_calls(const rt_file *f, const rt_work *work) {
  return rt__is_write(work->kind) && f->inline_max != 0 && work->bytes / work->count > f->inline_max;
}

static bool unsafe(const rt_file *f, rt_kind kind) { return rt__is_read(kind) && (f->traits & RT_FILE_READS_UNSAFE); }

bool rt_route_ring(rt_backend_choice backend, const rt_file *f, const rt_work *work) {
  if (backend == RT_BACKEND_SYNC || (f && (f->fd < 0 || unsafe(f, work->kind)))) return false;
  if (backend == RT_BACKEND_URING) return true;
  if (f && (f->traits & RT_FILE_STREAM)) return true; /* inline it could block for ever */
  if (f && takes_several_calls(f, work)) return true;
  return table_says(f ? f->traits : 0, work);
}

/* A stream waits by a poll, without a worker, and must not go inline anyway. */
unsigned rt__worker_use(rt_kind kind, const rt_file *f) {
  if (kind == RT_NOP || (f && (f->traits & RT_FILE_STREAM))) return 0;
  return rt__is_read(kind) && !(f && (f->traits & RT_FILE_READS_PUNT)) ? RT__WORKER_MAYBE : RT__WORKER_ALWAYS;
}

enum rt__way rt__op_way(const rt_loop *loop, const rt_op *op) {
  rt_kind kind = (rt_kind)op->c.kind;
  if (kind == RT_TIMEOUT) return RT__WAY_RING; /* the loop's own timers */
  if (!loop->backend->can(loop, kind)) return RT__WAY_INLINE;
  if (loop->no_worker & rt__worker_use(kind, op->file)) return RT__WAY_INLINE;
  if (op->file && kind != RT_OPEN && (op->file->fd < 0 || unsafe(op->file, kind))) return RT__WAY_INLINE;
  if (loop->choice == RT_BACKEND_URING || (op->file && (op->file->traits & RT_FILE_STREAM))) return RT__WAY_RING;
  return RT__WAY_EITHER;
}
