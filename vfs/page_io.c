/*
** page_io.c - the runtime operations behind xRead, xWrite and xSync.
**
** Every page read and written goes through the runtime, which decides in one place (route.c) whether it takes a ring or
** the inline way. The inline way of a file is the parent's own method: what is gained from a ring is gained from
** batches, and a lone read is best left to the system call.
**
** Both ways lead through one open file description, the parent's (descriptor.c): a write-back error is reported to
** whichever syncs first, and to one of them only.
**
** A ring is leased for one batch and given back drained, so nothing is in flight when a VFS method returns. Any thread
** that SQLite lets use the file may call these functions.
*/
#include "internal.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

rt_pool *uringvfs__pool;

/* Whose options hold for this file; NULL: a WAL that belongs to nobody. */
static uringvfs__file *database_of(uringvfs__file *f) { return f->role == URINGVFS__WAL ? f->database : f; }

/*
** What the options say for this file. Whatever the routing is about to ask for is looked up, but not for a lone
** operation of `auto`: it goes inline in any case, and a connection that only reads and commits little does without all
** of this.
*/
static rt_backend_choice backend_of(uringvfs__file *f, bool lone) {
  const uringvfs__file *database = database_of(f);
  if (database == NULL || f->io.fd < 0) return RT_BACKEND_SYNC;
  const rt_backend_choice backend = database->options.backend;
  if (backend == RT_BACKEND_SYNC || (backend == RT_BACKEND_AUTO && lone)) return backend;
  if (!uringvfs__system_calls_are_original()) return RT_BACKEND_SYNC;
  if (!f->traits_known) f->io.traits = rt_probe_traits_fd(f->io.fd);
  f->traits_known = true;
  return backend;
}

/* The same for a group of writes. A small one goes inline, whatever else is asked for: then it is not. */
static rt_backend_choice backend_of_writes(uringvfs__file *f, const rt_work *work) {
  const uringvfs__file *database = database_of(f);
  const bool ring = database != NULL && rt_route_ring(database->options.backend, &f->io, work);
  return ring ? backend_of(f, false) : RT_BACKEND_SYNC;
}

static int parent_write(sqlite3_file *parent, const rt_op *op) {
  int rc = SQLITE_OK;
  for (uint64_t done = 0; rc == SQLITE_OK && done < op->length; done += URINGVFS__PARENT_MAX_BYTES) {
    const uint64_t left = op->length - done;
    const int amount = (int)(left < URINGVFS__PARENT_MAX_BYTES ? left : URINGVFS__PARENT_MAX_BYTES);
    rc = parent->pMethods->xWrite(parent, (const char *)op->buf + done, amount, (sqlite3_int64)(op->offset + done));
  }
  return rc;
}

static int parent_read(sqlite3_file *parent, const rt_op *op) {
  if (op->length <= URINGVFS__PARENT_MAX_BYTES)
    return parent->pMethods->xRead(parent, op->buf, (int)op->length, (sqlite3_int64)op->offset);
  int rc = SQLITE_OK;
  for (uint64_t done = 0; rc == SQLITE_OK && done < op->length; done += URINGVFS__PARENT_MAX_BYTES) {
    const uint64_t left = op->length - done;
    const int amount = (int)(left < URINGVFS__PARENT_MAX_BYTES ? left : URINGVFS__PARENT_MAX_BYTES);
    rc = parent->pMethods->xRead(parent, (char *)op->buf + done, amount, (sqlite3_int64)(op->offset + done));
  }
  return rc;
}

/* The inline way. The runtime sees an error number; the code that SQLite gets is kept beside the operation. */
int64_t uringvfs__inline_operation(rt_op *op) {
  uringvfs__page_op *p = uringvfs__container(op, uringvfs__page_op, op);
  sqlite3_file *parent = uringvfs__container(op->file, uringvfs__file, io)->parent;
  switch (rt_kind_of(&op->c)) {
  case RT_READ: p->parent_rc = parent_read(parent, op); break;
  case RT_WRITE: p->parent_rc = parent_write(parent, op); break;
  case RT_FDATASYNC: p->parent_rc = parent->pMethods->xSync(parent, (int)op->flags); break;
  default: return -EOPNOTSUPP;
  }
  /* After a short read the parent has filled the rest with zeros; how much came is not said, and nobody asks. */
  if (p->parent_rc == SQLITE_OK || p->parent_rc == SQLITE_IOERR_SHORT_READ) return (int64_t)op->length;
  return p->parent_rc == SQLITE_FULL ? -ENOSPC : -EIO;
}

/* ---- a lone operation ---- */

typedef struct lone_machine {
  uringvfs__page_op io;
  rt_loop *loop;
  enum { LONE_SUBMIT, LONE_WAIT } state;
} lone_machine;

static rt_result lone_step(void *arg) {
  lone_machine *m = arg;
  if (m->state == LONE_SUBMIT) {
    m->state = LONE_WAIT;
    rt_submit(m->loop, &m->io.op);
  }
  return rt_await(&m->io.op.c);
}

/* Runs the prepared operation of m. Returns 0 or a negative errno. */
static int lone_run(uringvfs__file *f, lone_machine *m, rt_backend_choice backend) {
  const rt_kind kind = rt_kind_of(&m->io.op.c);
  const rt_work work = {.kind = kind, .sync = kind == RT_FDATASYNC, .count = 1, .bytes = m->io.op.length};
  m->io.parent_rc = SQLITE_OK;
  if (!rt_route_ring(backend, &f->io, &work)) return rt_run_inline(&m->io.op);
  m->state = LONE_SUBMIT;
  m->loop = rt_pool_lease(uringvfs__pool, backend, &f->io, &work);
  int error = uringvfs__run(m->loop, lone_step, m);
  rt_pool_release(uringvfs__pool, m->loop);
  uringvfs__tell_about_refusals();
  return error;
}

/* The SQLITE_ code of an operation that ended with `error`. */
static int page_op_code(uringvfs__file *f, const uringvfs__page_op *p, int error) {
  const rt_op *op = &p->op;
  const rt_kind kind = rt_kind_of(&op->c);
  if (error == 0) return SQLITE_OK;
  if (p->parent_rc != SQLITE_OK) return uringvfs__parent_error(f, kind, p->parent_rc, op->offset, op->length);
  return uringvfs__ring_error(f, kind, error, op->offset, op->length);
}

/* The parent's call, and a counter of the connection's own: what is gained from a ring is gained from batches. */
static int read_inline(uringvfs__file *f, void *data, int amount, sqlite3_int64 offset) {
  uringvfs__file *database = database_of(f);
  int rc = f->parent->pMethods->xRead(f->parent, data, amount, offset);
  rc = uringvfs__parent_read_code(f, rc, (uint64_t)offset, (uint64_t)amount);
  if (database != NULL && (rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ)) database->lone.reads++;
  return rc;
}

int uringvfs__read(uringvfs__file *f, void *data, int amount, sqlite3_int64 offset) {
  const rt_backend_choice backend = backend_of(f, true);
  if (backend != RT_BACKEND_URING) return read_inline(f, data, amount, offset);
  lone_machine m;
  rt_prep_read(&m.io.op, &f->io, data, (uint64_t)amount, (uint64_t)offset);
  int error = lone_run(f, &m, backend);
  if (error != 0) return page_op_code(f, &m.io, error);
  if (m.io.parent_rc != SQLITE_OK) return m.io.parent_rc; /* SQLITE_IOERR_SHORT_READ */
  const uint64_t got = rt_bytes(&m.io.op.c);
  if (got == (uint64_t)amount) return SQLITE_OK;
  memset((char *)data + got, 0, (size_t)amount - got);
  return SQLITE_IOERR_SHORT_READ;
}

/*
** The kernel's worker threads do not deliver SIGXFSZ, which ends a process that goes above RLIMIT_FSIZE and does not
** ignore it. The parent's write raises it, or fails in its own way.
*/
static int above_limit(uringvfs__file *f, uringvfs__page_op *p, int error) {
  if (error != -EFBIG || p->parent_rc != SQLITE_OK) return error;
  p->parent_rc = parent_write(f->parent, &p->op);
  return p->parent_rc == SQLITE_OK ? 0 : error;
}

int uringvfs__write(uringvfs__file *f, const void *data, int amount, sqlite3_int64 offset) {
  lone_machine m;
  rt_prep_write(&m.io.op, &f->io, data, (uint64_t)amount, (uint64_t)offset);
  int error = lone_run(f, &m, backend_of(f, true));
  return page_op_code(f, &m.io, above_limit(f, &m.io, error));
}

int uringvfs__sync(uringvfs__file *f, int flags) {
  lone_machine m;
  rt_prep_fdatasync(&m.io.op, &f->io);
  m.io.op.flags = (uint32_t)flags;
  /*
  ** os_unix.c syncs the directory of a new WAL at the first xSync; an fdatasync through the ring would not. And what it
  ** makes of SQLITE_SYNC_FULL is its own affair.
  */
  const bool parents = !f->first_sync_done || (flags & URINGVFS__SYNC_STRENGTH) != SQLITE_SYNC_NORMAL;
  int error = lone_run(f, &m, parents ? RT_BACKEND_SYNC : backend_of(f, true));
  if (error == 0) f->first_sync_done = true;
  return page_op_code(f, &m.io, error);
}

/* ---- several operations, one group ---- */

typedef struct group_machine {
  rt_group group;
  rt_loop *loop;
  enum { GROUP_SUBMIT, GROUP_WAIT } state;
} group_machine;

static void group_init(group_machine *m) {
  m->state = GROUP_SUBMIT;
  rt_group_init(&m->group, RT_ALL, NULL, NULL);
}

static void group_add(group_machine *m, uringvfs__page_op *p) {
  int added = rt_group_add(&m->group, &p->op.c);
  assert(added == 0);
  (void)added;
}

static rt_result group_step(void *arg) {
  group_machine *m = arg;
  if (m->state == GROUP_SUBMIT) {
    m->state = GROUP_WAIT;
    rt_submit_group(m->loop, &m->group);
  }
  return rt_await(&m->group.c);
}

/* The group's own result says little: the caller looks at each of the operations. */
static void group_run(group_machine *m, rt_backend_choice backend, const rt_file *io, const rt_work *work) {
  m->loop = rt_pool_lease(uringvfs__pool, backend, io, work);
  (void)uringvfs__run(m->loop, group_step, m);
  rt_pool_release(uringvfs__pool, m->loop);
  uringvfs__tell_about_refusals();
}

/* ---- a write and its sync, one group ---- */

int uringvfs__write_group(uringvfs__file *f, const void *data, uint32_t amount, uint64_t offset, bool *sync,
                          int *sync_rc) {
  const rt_work work = {.kind = RT_WRITE, .sync = *sync, .count = 1, .bytes = amount};
  const rt_backend_choice backend = backend_of_writes(f, &work);
  /* Inline the sync would be a call of its own anyway: that can wait until SQLite asks for it. */
  *sync = *sync && rt_route_ring(backend, &f->io, &work);
  struct {
    uringvfs__page_op write, sync;
    group_machine group;
  } m;
  memset(&m, 0, sizeof m);
  group_init(&m.group);
  rt_prep_write(&m.write.op, &f->io, data, amount, offset);
  group_add(&m.group, &m.write);
  if (*sync) {
    rt_prep_fdatasync(&m.sync.op, &f->io);
    m.sync.op.flags = SQLITE_SYNC_NORMAL;
    rt_order_after(&m.sync.op, &m.write.op);
    group_add(&m.group, &m.sync);
  }
  group_run(&m.group, backend, &f->io, &work);

  const int error = rt_error(&m.write.op.c);
  const int rc = page_op_code(f, &m.write, above_limit(f, &m.write, error));
  *sync = *sync && error == 0;
  if (*sync) {
    *sync_rc = page_op_code(f, &m.sync, rt_error(&m.sync.op.c));
  }
  return rc;
}

/* ---- reads, one group ---- */

bool uringvfs__reads_take_ring(uringvfs__file *database, unsigned count) {
  const rt_work work = {.kind = RT_READ, .count = count, .bytes = 0};
  return rt_route_ring(backend_of(database, false), &database->io, &work);
}

void uringvfs__read_batch(uringvfs__file *database, uringvfs__page_op *ops, unsigned count) {
  const rt_backend_choice backend = backend_of(database, false);
  if (database->wal != NULL) (void)backend_of(database->wal, false);
  rt_work work = {.kind = RT_READ, .count = count};
  group_machine m;
  group_init(&m);
  for (unsigned i = 0; i < count; i++) {
    ops[i].parent_rc = SQLITE_OK;
    work.bytes += ops[i].op.length;
    group_add(&m, &ops[i]);
  }
  group_run(&m, backend, &database->io, &work);
}

/* After a short read the parent has filled the rest with zeros. */
bool uringvfs__read_is_whole(const uringvfs__page_op *op) {
  return rt_succeeded(&op->op.c) && op->parent_rc == SQLITE_OK && rt_bytes(&op->op.c) == op->op.length;
}
