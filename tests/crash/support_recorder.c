/*
** support_recorder.c - see support_recorder.h.
*/
#include "support_recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/backend.h"
#include "rows.h"

typedef struct rec_file {
  sqlite3_file base;
  sqlite3_file *real;
  int inode;        /* -1: not recorded             */
  const char *path; /* SQLite's, while it is open   */
} rec_file;

#define MAX_RINGS 64

typedef struct rec_ring {
  struct io_uring *ring;
  int fd;
} rec_ring;

static struct {
  sqlite3_vfs vfs;
  sqlite3_vfs *real;
  crash_log log;
  char directory[512];
  size_t directory_bytes;
  bool on;
  int inode_of[CRASH_MAX_NAMES]; /* by name, -1: there is no such file */
  uint64_t random;
  struct {
    bool armed, sync, for_ever, partial;
    int left, code, hits;
  } fault;
  char publish_error[256];
  uint64_t published;
  const rt__calls *kernel;
  rec_ring rings[MAX_RINGS];
  int ring_count;
} R;

/* ---- the log ---- */

static uint64_t next_random(void) { return splitmix64(&R.random); }

static void *must(void *memory) {
  if (memory == NULL) {
    fprintf(stderr, "crash: out of memory\n");
    abort();
  }
  return memory;
}

static crash_entry *append(crash_kind kind, int inode) {
  crash_log *log = &R.log;
  if (log->count == log->room) {
    log->room = log->room != 0 ? log->room * 2 : 1024;
    log->entries = must(realloc(log->entries, log->room * sizeof *log->entries));
  }
  crash_entry *e = &log->entries[log->count++];
  memset(e, 0, sizeof *e);
  e->kind = kind;
  e->inode = inode;
  e->name = -1;
  e->covers = log->count - 1;
  return e;
}

static crash_entry *append_write(int inode, const void *bytes, uint32_t length, uint64_t offset) {
  crash_entry *e = append(CRASH_WRITE, inode);
  e->bytes = must(malloc(length != 0 ? length : 1));
  memcpy(e->bytes, bytes, length);
  e->length = length;
  e->offset = offset;
  return e;
}

/* The base name of a path in the recorded directory, or NULL. */
static const char *recorded_name(const char *path) {
  if (!R.on || path == NULL || strncmp(path, R.directory, R.directory_bytes) != 0) return NULL;
  if (path[R.directory_bytes] != '/') return NULL;
  return path + R.directory_bytes + 1;
}

static int name_number(const char *base, bool add) {
  crash_log *log = &R.log;
  for (int i = 0; i < log->name_count; i++)
    if (strcmp(log->names[i], base) == 0) return i;
  if (!add) return -1;
  if (log->name_count == CRASH_MAX_NAMES || strlen(base) >= sizeof log->names[0]) {
    fprintf(stderr, "crash: too many file names, or too long a one: %s\n", base);
    abort();
  }
  snprintf(log->names[log->name_count], sizeof log->names[0], "%s", base);
  R.inode_of[log->name_count] = -1;
  return log->name_count++;
}

static crash_role role_of(int flags) {
  if (flags & SQLITE_OPEN_WAL) return ROLE_WAL;
  if (flags & SQLITE_OPEN_SUPER_JOURNAL) return ROLE_SUPER;
  return flags & SQLITE_OPEN_MAIN_JOURNAL ? ROLE_JOURNAL : ROLE_DATABASE;
}

/* ---- faults ---- */

/* Is this call the one that fails? */
static bool fault_now(bool sync) {
  if (!R.fault.armed || R.fault.sync != sync) return false;
  if (R.fault.left > 1) {
    R.fault.left--;
    return false;
  }
  if (!R.fault.for_ever) R.fault.armed = false;
  R.fault.hits++;
  return true;
}

void crash_recorder_fault(bool sync, int nth, int code, bool for_ever, bool partial) {
  R.fault.armed = true;
  R.fault.sync = sync;
  R.fault.left = nth;
  R.fault.code = code;
  R.fault.for_ever = for_ever;
  R.fault.partial = partial;
  R.fault.hits = 0;
}

int crash_recorder_fault_off(void) {
  R.fault.armed = false;
  return R.fault.hits;
}

/* ---- the methods of a file ---- */

static rec_file *file_of(sqlite3_file *file) { return (rec_file *)file; }
#define REAL(file, method) (file_of(file)->real->pMethods->method)

static int rec_close(sqlite3_file *file) {
  int rc = REAL(file, xClose)(file_of(file)->real);
  file->pMethods = NULL;
  return rc;
}

static int rec_read(sqlite3_file *file, void *data, int amount, sqlite3_int64 offset) {
  return REAL(file, xRead)(file_of(file)->real, data, amount, offset);
}

/* What goes wrong for real here (a full scratch directory) would make the log a lie. */
static int no_real_failure(int rc, const char *what) {
  if (rc != SQLITE_OK) {
    fprintf(stderr, "crash: %s below the recorder failed: %d\n", what, rc);
    abort();
  }
  return rc;
}

static int rec_write(sqlite3_file *file, const void *data, int amount, sqlite3_int64 offset) {
  rec_file *f = file_of(file);
  if (f->inode < 0 || !R.on) return f->real->pMethods->xWrite(f->real, data, amount, offset);
  const bool fails = fault_now(false);
  if (fails) amount = R.fault.partial ? (int)(next_random() % (uint64_t)amount) : 0;
  if (amount > 0) {
    append_write(f->inode, data, (uint32_t)amount, (uint64_t)offset);
    no_real_failure(f->real->pMethods->xWrite(f->real, data, amount, offset), "a write");
  }
  return fails ? R.fault.code : SQLITE_OK;
}

static void record_size(rec_file *f, sqlite3_int64 before) {
  sqlite3_int64 after = 0;
  if (f->real->pMethods->xFileSize(f->real, &after) != SQLITE_OK || after == before) return;
  append(CRASH_TRUNCATE, f->inode)->offset = (uint64_t)after;
}

static int rec_truncate(sqlite3_file *file, sqlite3_int64 size) {
  rec_file *f = file_of(file);
  sqlite3_int64 before = 0;
  if (f->inode >= 0 && R.on) no_real_failure(f->real->pMethods->xFileSize(f->real, &before), "a size");
  int rc = f->real->pMethods->xTruncate(f->real, size);
  if (f->inode >= 0 && R.on) {
    no_real_failure(rc, "a truncate");
    record_size(f, before);
  }
  return rc;
}

static int rec_sync(sqlite3_file *file, int flags) {
  rec_file *f = file_of(file);
  if (f->inode < 0 || !R.on) return f->real->pMethods->xSync(f->real, flags);
  if (fault_now(true)) {
    crash_recorder_mark(MARK_SYNC_FAILED, 0);
    return R.fault.code;
  }
  append(CRASH_SYNC, f->inode);
  return no_real_failure(f->real->pMethods->xSync(f->real, flags), "a sync"); /* the directory's comes from within */
}

static int rec_size(sqlite3_file *file, sqlite3_int64 *size) {
  return REAL(file, xFileSize)(file_of(file)->real, size);
}
static int rec_lock(sqlite3_file *file, int level) { return REAL(file, xLock)(file_of(file)->real, level); }
static int rec_unlock(sqlite3_file *file, int level) { return REAL(file, xUnlock)(file_of(file)->real, level); }
static int rec_check_reserved(sqlite3_file *file, int *out) {
  return REAL(file, xCheckReservedLock)(file_of(file)->real, out);
}

static int rec_control(sqlite3_file *file, int op, void *arg) {
  rec_file *f = file_of(file);
  sqlite3_int64 before = 0;
  const bool sized = f->inode >= 0 && R.on && op == SQLITE_FCNTL_SIZE_HINT;
  if (sized) no_real_failure(f->real->pMethods->xFileSize(f->real, &before), "a size");
  int rc = f->real->pMethods->xFileControl(f->real, op, arg);
  if (sized) record_size(f, before);
  return rc;
}

static int rec_sector_size(sqlite3_file *file) { return REAL(file, xSectorSize)(file_of(file)->real); }
static int rec_characteristics(sqlite3_file *file) { return REAL(file, xDeviceCharacteristics)(file_of(file)->real); }
static int rec_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory) {
  return REAL(file, xShmMap)(file_of(file)->real, region, size, extend, memory);
}
static int rec_shm_lock(sqlite3_file *file, int offset, int n, int flags) {
  return REAL(file, xShmLock)(file_of(file)->real, offset, n, flags);
}
static int rec_shm_unmap(sqlite3_file *file, int delete_flag) {
  return REAL(file, xShmUnmap)(file_of(file)->real, delete_flag);
}
static int rec_fetch(sqlite3_file *file, sqlite3_int64 offset, int amount, void **page) {
  return REAL(file, xFetch)(file_of(file)->real, offset, amount, page);
}
static int rec_unfetch(sqlite3_file *file, sqlite3_int64 offset, void *page) {
  return REAL(file, xUnfetch)(file_of(file)->real, offset, page);
}

/* ---- what the wal-index promises ---- */

/* wal.c, WalIndexHdr: the format that all processes share. */
typedef struct wal_index_header {
  uint32_t version, unused, change;
  uint8_t is_init, big_endian;
  uint16_t page_size;
  uint32_t max_frame, pages;
  uint32_t frame_checksum[2];
  uint32_t salt[2];
  uint32_t checksum[2];
} wal_index_header;
_Static_assert(sizeof(wal_index_header) == 48, "WalIndexHdr");

static uint32_t big_endian_32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void checksum(const uint8_t *p, size_t bytes, bool big_endian, uint32_t s[2]) {
  for (size_t i = 0; i < bytes; i += 8) {
    uint32_t a, b;
    memcpy(&a, p + i, 4);
    memcpy(&b, p + i + 4, 4);
    if (big_endian) a = big_endian_32(p + i), b = big_endian_32(p + i + 4);
    s[0] += a + s[1];
    s[1] += b + s[0];
  }
}

/* Is the last published frame in the WAL's file? */
static const char *look_at_last_frame(int wal, const wal_index_header *h) {
  static uint8_t frame[24 + 65536];
  uint8_t before[32];
  const uint32_t page_size = (h->page_size & 0xfe00u) + ((h->page_size & 1u) << 16);
  const off_t start = 32 + (off_t)(h->max_frame - 1) * (24 + (off_t)page_size);
  if (pread(wal, frame, 24 + page_size, start) != (ssize_t)(24 + page_size)) return "is not in the file";
  if (memcmp(frame + 8, h->salt, 8) != 0) return "has other salts";
  if (big_endian_32(frame + 4) != h->pages) return "is no commit frame of that size";
  const bool first = h->max_frame == 1;
  if (pread(wal, before, 32, first ? 0 : start - (24 + (off_t)page_size)) != 32) return "has no frame before it";
  uint32_t s[2] = {big_endian_32(before + (first ? 24 : 16)), big_endian_32(before + (first ? 28 : 20))};
  uint8_t magic[4];
  if (pread(wal, magic, 4, 0) != 4) return "stands in a WAL without header";
  checksum(frame, 8, magic[3] & 1, s);
  checksum(frame + 24, page_size, magic[3] & 1, s);
  if (s[0] != big_endian_32(frame + 16) || s[1] != big_endian_32(frame + 20)) return "has a wrong checksum";
  if (s[0] != h->frame_checksum[0] || s[1] != h->frame_checksum[1]) return "is not the published one";
  return NULL;
}

/*
** walIndexWriteHdr writes the second copy of the header, has a barrier, writes the first. So at a barrier where the
** copies differ the second one is about to be published, and from then on every reader of any process believes it.
*/
static void rec_shm_barrier(sqlite3_file *file) {
  rec_file *f = file_of(file);
  void volatile *memory = NULL;
  if (f->inode >= 0 && R.on && R.publish_error[0] == 0 &&
      f->real->pMethods->xShmMap(f->real, 0, 32768, 0, &memory) == SQLITE_OK && memory != NULL) {
    wal_index_header h[2];
    memcpy(h, (const void *)memory, sizeof h);
    if (memcmp(&h[0], &h[1], sizeof h[0]) != 0 && h[1].is_init && h[1].max_frame > 0) {
      char path[600];
      snprintf(path, sizeof path, "%s-wal", f->path);
      int wal = open(path, O_RDONLY | O_CLOEXEC); /* nobody holds locks on a WAL: closing it drops none */
      const char *problem = wal >= 0 ? look_at_last_frame(wal, &h[1]) : "stands in no file";
      if (wal >= 0) close(wal);
      R.published++;
      if (problem != NULL)
        snprintf(R.publish_error, sizeof R.publish_error, "entry %zu: frame %u is published, but it %s", R.log.count,
                 h[1].max_frame, problem);
    }
  }
  f->real->pMethods->xShmBarrier(f->real);
}

const char *crash_recorder_publish_error(uint64_t *published) {
  *published = R.published;
  return R.publish_error[0] != 0 ? R.publish_error : NULL;
}

static const sqlite3_io_methods rec_methods = {3,
                                               rec_close,
                                               rec_read,
                                               rec_write,
                                               rec_truncate,
                                               rec_sync,
                                               rec_size,
                                               rec_lock,
                                               rec_unlock,
                                               rec_check_reserved,
                                               rec_control,
                                               rec_sector_size,
                                               rec_characteristics,
                                               rec_shm_map,
                                               rec_shm_lock,
                                               rec_shm_barrier,
                                               rec_shm_unmap,
                                               rec_fetch,
                                               rec_unfetch};

/* ---- the VFS ---- */

static int rec_open(sqlite3_vfs *vfs, sqlite3_filename path, sqlite3_file *file, int flags, int *out_flags) {
  rec_file *f = file_of(file);
  (void)vfs;
  memset(f, 0, sizeof *f);
  f->real = (sqlite3_file *)(f + 1);
  f->inode = -1;
  f->path = path;
  const int persistent = SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL | SQLITE_OPEN_SUPER_JOURNAL;
  const char *base = flags & persistent ? recorded_name(path) : NULL;
  const bool existed = base != NULL && access(path, F_OK) == 0;
  int rc = R.real->xOpen(R.real, path, f->real, flags, out_flags);
  if (rc != SQLITE_OK) return rc;
  if (base != NULL) {
    const int name = name_number(base, true);
    if (!existed) {
      R.log.roles[name] = role_of(flags);
      if (R.log.inode_count == CRASH_MAX_INODES) abort();
      R.log.inode_roles[R.log.inode_count] = (uint8_t)R.log.roles[name];
      R.inode_of[name] = R.log.inode_count++;
      append(CRASH_CREATE, R.inode_of[name])->name = name;
    }
    f->inode = R.inode_of[name];
  }
  file->pMethods = &rec_methods;
  return SQLITE_OK;
}

static int rec_delete(sqlite3_vfs *vfs, const char *path, int sync_directory) {
  (void)vfs;
  const char *base = recorded_name(path);
  const int name = base != NULL ? name_number(base, false) : -1;
  if (name >= 0 && access(path, F_OK) == 0) {
    append(CRASH_UNLINK, R.inode_of[name])->name = name;
    R.inode_of[name] = -1;
  }
  return R.real->xDelete(R.real, path, sync_directory);
}

static int rec_randomness(sqlite3_vfs *vfs, int bytes, char *out) {
  (void)vfs;
  for (int i = 0; i < bytes; i++) out[i] = (char)(next_random() >> 17);
  return bytes;
}

/* Nobody else runs here, so waiting helps nothing. */
static int rec_sleep(sqlite3_vfs *vfs, int microseconds) {
  (void)vfs;
  return microseconds;
}

/*
** os_unix.c opens a directory only to sync it (unixSync for a new journal or WAL, unixDelete), and through its table of
** system calls: that is where a directory sync is seen.
*/
typedef int (*open_directory_fn)(const char *, int *);
static open_directory_fn real_open_directory;

static int rec_open_directory(const char *path, int *fd) {
  if (recorded_name(path) != NULL) append(CRASH_DIRSYNC, -1);
  return real_open_directory(path, fd);
}

/* ---- rings ---- */

static rec_ring *ring_of(int fd) {
  for (int i = 0; i < R.ring_count; i++)
    if (R.rings[i].fd == fd) return &R.rings[i];
  return NULL;
}

static int rec_uring_setup(unsigned entries, struct io_uring *ring, struct io_uring_params *params) {
  int rc = R.kernel->uring_setup(entries, ring, params);
  if (rc < 0) return rc;
  rec_ring *r = ring_of(ring->ring_fd);
  if (r == NULL) {
    if (R.ring_count == MAX_RINGS) abort();
    r = &R.rings[R.ring_count++];
  }
  r->ring = ring;
  r->fd = ring->ring_fd;
  return rc;
}

/* An injected fault: the kernel answers EBADF, and cancels what is linked behind. */
static bool sqe_fails(struct io_uring_sqe *sqe, bool sync) {
  if (!fault_now(sync)) return false;
  sqe->fd = 1 << 20;
  if (sync) crash_recorder_mark(MARK_SYNC_FAILED, 0);
  return true;
}

/* What stands in front of an SQE in its submission. */
typedef struct sqe_chain {
  size_t batch;  /* where the submission begins in the log */
  bool linked;   /* it runs after the one before           */
  bool canceled; /* ... which will fail                    */
} sqe_chain;

/* The recorded file behind a descriptor of the process, -1: none. */
static int inode_of_descriptor(int fd) {
  char link[64], path[1024];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return -1;
  path[n] = 0;
  const char *base = recorded_name(path);
  const int name = base != NULL ? name_number(base, false) : -1;
  return name >= 0 ? R.inode_of[name] : -1;
}

static void record_sqe(struct io_uring_sqe *sqe, sqe_chain *chain) {
  const bool linked = chain->linked, canceled = linked && chain->canceled;
  chain->linked = (sqe->flags & IOSQE_IO_LINK) != 0;
  chain->canceled = canceled;
  if (sqe->flags & IOSQE_FIXED_FILE) abort(); /* another open file description than the parent's */
  const int inode = inode_of_descriptor(sqe->fd);
  if (inode < 0 || !R.on || canceled) return;
  switch (sqe->opcode) {
  case IORING_OP_WRITE:
  case IORING_OP_WRITE_FIXED:
    if (sqe_fails(sqe, false))
      chain->canceled = true;
    else
      append_write(inode, (const void *)(uintptr_t)sqe->addr, sqe->len, sqe->off)->ring = true;
    break;
  case IORING_OP_WRITEV: {
    const struct iovec *iov = (const struct iovec *)(uintptr_t)sqe->addr;
    uint64_t offset = sqe->off;
    for (unsigned i = 0; i < sqe->len; offset += iov[i++].iov_len)
      append_write(inode, iov[i].iov_base, (uint32_t)iov[i].iov_len, offset)->ring = true;
    break;
  }
  case IORING_OP_FSYNC: {
    if (sqe_fails(sqe, true)) break;
    /* Behind a link it runs after the write; without one only what had ended before this submission is covered. */
    crash_entry *e = append(CRASH_SYNC, inode);
    e->ring = true;
    if (!linked && !(sqe->flags & IOSQE_IO_DRAIN)) e->covers = chain->batch;
    break;
  }
  default: break;
  }
}

static int rec_uring_enter(int fd, unsigned submit, unsigned wait_nr, unsigned flags, void *arg, size_t size) {
  rec_ring *r = submit > 0 ? ring_of(fd) : NULL;
  if (r != NULL) {
    const struct io_uring_sq *sq = &r->ring->sq;
    const unsigned head = *sq->khead, mask = *sq->kring_mask;
    sqe_chain chain = {R.log.count, false, false};
    for (unsigned i = 0; i < submit; i++) record_sqe(&sq->sqes[sq->array[(head + i) & mask]], &chain);
  }
  return R.kernel->uring_enter(fd, submit, wait_nr, flags, arg, size);
}

static void record_rings(void) {
  static rt__calls calls;
  R.kernel = rt__calls_now;
  calls = *rt__calls_now;
  calls.uring_setup = rec_uring_setup;
  calls.uring_enter = rec_uring_enter;
  rt__calls_now = &calls;
}

/* ---- for the campaign ---- */

extern bool uringvfs__trust_any_parent; /* vfs/internal.h */

bool crash_recorder_install(void) {
  R.real = sqlite3_vfs_find("unix");
  if (R.real == NULL || R.real->iVersion < 3) return false;
  real_open_directory = (open_directory_fn)R.real->xGetSystemCall(R.real, "openDirectory");
  R.real->xSetSystemCall(R.real, "openDirectory", (sqlite3_syscall_ptr)rec_open_directory);
  R.vfs = *R.real; /* whatever takes no file is the real one's, which uses nothing of its own vfs object but pAppData */
  R.vfs.zName = "unix-recorder";
  R.vfs.szOsFile = (int)sizeof(rec_file) + R.real->szOsFile;
  R.vfs.xOpen = rec_open;
  R.vfs.xDelete = rec_delete;
  R.vfs.xRandomness = rec_randomness;
  R.vfs.xSleep = rec_sleep;
  record_rings();
  uringvfs__trust_any_parent = true;
  return sqlite3_vfs_register(&R.vfs, 1) == SQLITE_OK;
}

void crash_recorder_free(void) {
  for (size_t i = 0; i < R.log.count; i++) free(R.log.entries[i].bytes);
  free(R.log.entries);
  memset(&R.log, 0, sizeof R.log);
}

void crash_recorder_start(const char *directory, uint64_t seed) {
  crash_recorder_free();
  snprintf(R.directory, sizeof R.directory, "%s", directory);
  R.directory_bytes = strlen(R.directory);
  R.random = seed;
  R.fault.armed = false;
  R.publish_error[0] = 0;
  R.published = 0;
  R.on = true;
  sqlite3_randomness(0, NULL); /* SQLite's generator takes a new seed, ours */
}

void crash_recorder_stop(void) { R.on = false; }

const crash_log *crash_recorder_log(void) { return &R.log; }

void crash_recorder_mark(crash_mark mark, int value) {
  if (!R.on) return;
  crash_entry *e = append(CRASH_MARK, -1);
  e->mark = mark;
  e->value = value;
}
