/*
** support_campaign.c - see support_campaign.h.
*/
#include "support_campaign.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uringvfs.h"
#include "rows.h"

bool crash_campaign_init(void) { return crash_recorder_install() && uringvfs_register(0) == SQLITE_OK; }

/* ---- files ---- */

static void must(bool fine, const char *what) {
  if (fine) return;
  fprintf(stderr, "crash: %s: %s\n", what, strerror(errno));
  abort();
}

static void empty_directory(const char *directory) {
  DIR *dir = opendir(directory);
  if (dir == NULL) {
    must(mkdir(directory, 0700) == 0, directory);
    return;
  }
  struct dirent *entry;
  while ((entry = readdir(dir)) != NULL)
    if (entry->d_name[0] != '.') must(unlinkat(dirfd(dir), entry->d_name, 0) == 0, entry->d_name);
  closedir(dir);
}

static void write_image(const char *directory, const crash_log *log, const crash_image *image) {
  char path[700];
  empty_directory(directory);
  for (int i = 0; i < image->count; i++) {
    snprintf(path, sizeof path, "%s/%s", directory, log->names[image->name[i]]);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0, path);
    const crash_bytes *file = &image->file[i];
    for (size_t done = 0; done < file->size;) {
      ssize_t n = write(fd, file->data + done, file->size - done);
      must(n > 0, path);
      done += (size_t)n;
    }
    close(fd);
  }
}

/* ---- what may be there ---- */

typedef struct timeline {
  crash_mark outcome[CRASH_MAX_STATES]; /* how it ended, known from the whole log */
  int acked;
  int inflight;          /* its COMMIT is running; -1: none */
  int maybe;             /* failed since the last acknowledgement; -1: none */
  int weak_before;       /* acked is MARK_WEAK: the state before it; -1 */
  int named;             /* what was acknowledged when the directory was synced last */
  bool journal_doubtful; /* its sync has failed, and no later one has succeeded */
  bool database_dirty;   /* written since the last quiet point */
} timeline;

typedef enum level {
  NOT_CHECKED, /* nothing is promised                                    */
  STRICT,      /* everything acknowledged, nothing else                  */
  LAST_MAY_GO, /* ... but what an unlink committed that was not durable  */
  PREFIX       /* any state that was acknowledged, in order              */
} level;

static void timeline_init(timeline *t, const crash_log *log) {
  memset(t, 0, sizeof *t);
  t->inflight = t->maybe = t->weak_before = -1;
  t->outcome[0] = MARK_ACK;
  for (size_t i = 0; i < log->count; i++) {
    const crash_entry *e = &log->entries[i];
    if (e->kind == CRASH_MARK && e->mark != MARK_BEGIN && e->mark != MARK_IDLE && e->mark != MARK_SYNC_FAILED)
      t->outcome[e->value] = e->mark;
  }
}

static void timeline_advance(timeline *t, const crash_log *log, const crash_entry *e) {
  if (e->kind == CRASH_DIRSYNC) t->named = t->acked;
  if (e->kind == CRASH_WRITE || e->kind == CRASH_TRUNCATE) {
    t->database_dirty = true; /* asked only where no journal is on disk: whatever is written is the database */
  }
  if (e->kind == CRASH_SYNC && log->inode_roles[e->inode] == ROLE_JOURNAL) t->journal_doubtful = false;
  if (e->kind != CRASH_MARK) return;
  if (e->mark == MARK_SYNC_FAILED) {
    t->journal_doubtful = true;
    return;
  }
  if (e->mark == MARK_BEGIN) {
    t->inflight = e->value;
    return;
  }
  t->database_dirty = false;
  if (e->mark == MARK_IDLE) return;
  t->inflight = -1;
  if (e->mark == MARK_ACK || e->mark == MARK_WEAK) {
    t->weak_before = e->mark == MARK_WEAK ? t->acked : -1;
    t->acked = e->value;
    t->maybe = -1;
  } else if (e->mark == MARK_MAYBE) {
    t->maybe = e->value;
  }
}

static bool may_show(const timeline *t, level l, int n) {
  if (n == t->acked || n == t->maybe || n == t->weak_before) return true;
  if (n == t->inflight) return t->outcome[n] != MARK_NEVER;
  if (n > t->acked) return false;
  const bool was = t->outcome[n] == MARK_ACK || t->outcome[n] == MARK_WEAK;
  if (l == LAST_MAY_GO) return was && n >= t->named;
  if (l == PREFIX) return was || t->outcome[n] == MARK_MAYBE;
  return false;
}

static bool journaled(const crash_config *c) { return c->journal != J_MEMORY && c->journal != J_OFF; }

static level level_of(const crash_config *c, const timeline *t, const crash_image *image) {
  const bool killed = image->lost == 0 && image->torn == 0;
  if (!journaled(c) && t->database_dirty) return NOT_CHECKED;
  if (killed) return STRICT;
  if (c->sync == SYNC_OFF) return NOT_CHECKED;
  if (!journaled(c)) return image->lost_name ? NOT_CHECKED : STRICT;
  /* With NORMAL a rollback journal is synced once, its header with what the header counts: the page checksums alone
  ** tell what of it arrived, and they look at every 200th byte (pager.c, pager_cksum). WAL has no such gap. */
  if (c->sync == SYNC_NORMAL) return c->journal != J_WAL && image->lost_journal ? NOT_CHECKED : PREFIX;
  /* pager.c goes on with a journal whose sync has failed: its old header may come back over new records. */
  if (c->journal != J_WAL && image->lost_journal && t->journal_doubtful) return NOT_CHECKED;
  if (c->journal == J_DELETE && c->sync == SYNC_FULL && image->lost_unlink) return LAST_MAY_GO;
  return STRICT;
}

/* ---- looking at an image ---- */

typedef struct finding {
  char text[400];
  uint64_t content[CRASH_DATABASES];
  int last[CRASH_DATABASES];
} finding;

static int check_callback(void *arg, int columns, char **values, char **names) {
  finding *f = arg;
  (void)columns;
  (void)names;
  if (strcmp(values[0], "ok") != 0 && f->text[0] == 0)
    snprintf(f->text, sizeof f->text, "integrity_check: %s", values[0]);
  return 0;
}

/* Opens one database of the image as an application would, which recovers it. */
static void look_at_database(const char *directory, int i, const char *vfs, finding *f) {
  char path[700];
  sqlite3 *db = NULL;
  snprintf(path, sizeof path, "%s/%s", directory, crash_database_names[i]);
  int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs);
  if (rc == SQLITE_OK) rc = sqlite3_exec(db, "PRAGMA integrity_check", check_callback, f, NULL);
  if (rc == SQLITE_OK) rc = crash_content(db, "main", &f->content[i], &f->last[i]);
  if (rc != SQLITE_OK && f->text[0] == 0)
    snprintf(f->text, sizeof f->text, "%s: error %d, %s", crash_database_names[i], sqlite3_extended_errcode(db),
             sqlite3_errmsg(db));
  sqlite3_close(db);
}

static void look_at_image(const crash_config *c, const char *directory, const char *vfs, bool reverse, finding *f) {
  memset(f, 0, sizeof *f);
  const int count = c->attached ? 2 : 1;
  for (int i = 0; i < count; i++) look_at_database(directory, reverse ? count - 1 - i : i, vfs, f);
}

/* Are several databases one transaction? Only a super-journal makes them so. */
static bool together(const crash_config *c) { return c->journal != J_WAL && journaled(c) && c->sync != SYNC_OFF; }

static void judge(const crash_config *c, const crash_states *states, const timeline *t, level l, finding *f) {
  const int count = c->attached ? 2 : 1;
  bool fits[CRASH_DATABASES] = {false, false}, at_once = false;
  if (f->text[0] != 0) return;
  for (int n = 0; n < states->count; n++) {
    if (!may_show(t, l, n)) continue;
    bool all = true;
    for (int i = 0; i < count; i++) {
      const bool same = f->content[i] == states->content[n][i];
      fits[i] |= same;
      all &= same;
    }
    at_once |= all;
  }
  for (int i = 0; i < count; i++) {
    if (fits[i]) continue;
    int whole = -1;
    for (int n = 0; n < states->count; n++)
      if (f->content[i] == states->content[n][i]) whole = n;
    snprintf(f->text, sizeof f->text,
             "%s shows %s %d (newest row of log: %d), acknowledged: %d, in flight: %d, level %d",
             crash_database_names[i], whole >= 0 ? "transaction" : "no transaction's state, nearest", whole, f->last[i],
             t->acked, t->inflight, (int)l);
    return;
  }
  if (!at_once && together(c))
    snprintf(f->text, sizeof f->text, "the databases show transactions %d and %d: one of them by half", f->last[0],
             f->last[1]);
}

/* ---- the cuts of one workload ---- */

typedef struct campaign {
  const crash_config *c;
  const crash_options *o;
  crash_totals *totals;
  char directory[600];
  crash_states states;
  crash_disk disk;
  timeline t;
  uint64_t failures;
  uint64_t *seen; /* hashes of images that were looked at: open addressing */
  size_t seen_room, seen_count;
} campaign;

static bool seen_before(campaign *k, uint64_t key) {
  if (key == 0) key = 1;
  if (k->seen_count * 2 >= k->seen_room) {
    uint64_t *old = k->seen;
    const size_t old_room = k->seen_room;
    k->seen_room = old_room != 0 ? old_room * 2 : 4096;
    k->seen = calloc(k->seen_room, sizeof *k->seen);
    must(k->seen != NULL, "memory");
    k->seen_count = 0;
    for (size_t i = 0; i < old_room; i++)
      if (old[i] != 0) (void)seen_before(k, old[i]);
    free(old);
  }
  size_t i = key & (k->seen_room - 1);
  while (k->seen[i] != 0 && k->seen[i] != key) i = (i + 1) & (k->seen_room - 1);
  if (k->seen[i] == key) return true;
  k->seen[i] = key;
  k->seen_count++;
  return false;
}

static void print_replay(const campaign *k, FILE *out, const crash_variant *v) {
  const crash_config *c = k->c;
  fprintf(out, "%s --vfs %s --backend %s --steps %d --seed %llu --cut %zu --variant %d:%zu:%llu\n", k->o->replay,
          c->vfs, c->backend, c->steps, (unsigned long long)c->seed, k->disk.position, (int)v->fate, v->which,
          (unsigned long long)v->seed);
}

static void save_failure(campaign *k, const crash_variant *v, const crash_image *image, const char *text) {
  char path[800];
  if (k->o->save == NULL) return;
  (void)mkdir(k->o->save, 0755);
  int length =
      snprintf(path, sizeof path, "%s/%s-seed%llu-cut%zu-%d.%zu.%llu", k->o->save, k->c->vfs,
               (unsigned long long)k->c->seed, k->disk.position, (int)v->fate, v->which, (unsigned long long)v->seed);
  write_image(path, k->disk.log, image);
  snprintf(path + length, sizeof path - (size_t)length, "/replay.txt");
  FILE *out = fopen(path, "w");
  must(out != NULL, path);
  char config[400];
  crash_config_print(k->c, config, sizeof config);
  fprintf(out, "%s\n%s\n", config, text);
  print_replay(k, out, v);
  fclose(out);
  printf("  the image is in %.*s\n", length, path);
}

static void report(campaign *k, const crash_variant *v, const crash_image *image, const char *text) {
  if (k->failures++ >= 3) return;
  char config[400];
  crash_config_print(k->c, config, sizeof config);
  printf("FAILED %s\n  cut after entry %zu of %zu: %s\n  replay: ", config, k->disk.position, k->disk.log->count, text);
  print_replay(k, stdout, v);
  save_failure(k, v, image, text);
  fflush(stdout);
}

static void count_image(campaign *k, const crash_image *image) {
  crash_totals *totals = k->totals;
  totals->images++;
  if (image->lost == 0 && image->torn == 0)
    totals->killed++;
  else
    totals->power++;
  totals->with_loss += image->lost > 0;
  totals->with_tear += image->torn > 0;
  totals->with_lost_name += image->lost_name;
  bool journal = false, wal = false;
  for (int i = 0; i < image->count; i++) {
    const crash_role role = k->disk.log->roles[image->name[i]];
    /* pager.c, hasHotJournal: it is looked at if its first byte is not zero. */
    journal |= role == ROLE_JOURNAL && image->file[i].size > 0 && image->file[i].data[0] != 0;
    wal |= role == ROLE_WAL && image->file[i].size > 32;
  }
  totals->hot_journal += journal;
  totals->with_wal += wal;
}

static void try_variant(campaign *k, const crash_variant *v) {
  crash_image image;
  crash_disk_image(&k->disk, v, &image);
  const level l = level_of(k->c, &k->t, &image);
  if (l == NOT_CHECKED) {
    k->totals->not_checked++;
    return;
  }
  const int expected[] = {(int)l, k->t.acked, k->t.inflight, k->t.maybe, k->t.weak_before, k->t.named};
  if (seen_before(k, crash_hash(image.hash, expected, sizeof expected))) {
    k->totals->duplicates++;
    return;
  }
  count_image(k, &image);
  finding f;
  write_image(k->directory, k->disk.log, &image);
  look_at_image(k->c, k->directory, "unix", image.hash & 1, &f);
  judge(k->c, &k->states, &k->t, l, &f);
  if (f.text[0] == 0 && image.hash % 16 == 3) {
    /* uring must recover the same from it. */
    finding g;
    write_image(k->directory, k->disk.log, &image);
    look_at_image(k->c, k->directory, "uring", image.hash & 1, &g);
    k->totals->by_uring++;
    if (g.text[0] != 0 || memcmp(g.content, f.content, sizeof f.content) != 0)
      snprintf(f.text, sizeof f.text, "uring recovers something else than unix: %.300s", g.text);
  }
  if (f.text[0] != 0) report(k, v, &image, f.text);
}

/* Each single pending entry, or if there are many the newest and some others. */
static void try_singles(campaign *k, crash_fate fate, uint64_t *random) {
  const size_t pending = k->disk.pending_count, most = (size_t)k->o->single_variants;
  for (size_t i = 0; i < (pending < most ? pending : most); i++) {
    size_t which = pending - 1 - i;
    if (pending > most && i >= most / 2) which = splitmix64(random) % pending;
    try_variant(k, &(crash_variant){fate, which, splitmix64(random)});
  }
}

static void cut(campaign *k) {
  uint64_t random = k->c->seed * 1000003u + k->disk.position;
  const crash_entry *e = &k->disk.log->entries[k->disk.position - 1];
  k->totals->cuts++;
  try_variant(k, &(crash_variant){FATE_KEEP_ALL, 0, 0});
  if (k->disk.pending_count == 0 || k->c->sync == SYNC_OFF) return; /* with OFF nothing is promised after a power cut */
  if (!journaled(k->c) && k->t.database_dirty) return;
  try_variant(k, &(crash_variant){FATE_DROP_ALL, 0, 0});
  /* The others change with what is pending and with what was acknowledged, not with the other marks. */
  if (e->kind == CRASH_MARK && e->mark != MARK_ACK) return;
  try_variant(k, &(crash_variant){FATE_DROP_NAMES, 0, 0});
  try_variant(k, &(crash_variant){FATE_KEEP_NAMES, 0, 0});
  try_singles(k, FATE_DROP_ONE, &random);
  try_singles(k, FATE_KEEP_ONE, &random);
  try_singles(k, FATE_TEAR_ONE, &random);
  for (int i = 0; i < k->o->random_variants; i++) {
    try_variant(k, &(crash_variant){FATE_RANDOM, 0, splitmix64(&random)});
    try_variant(k, &(crash_variant){FATE_TORN, 0, splitmix64(&random)});
  }
}

static void run_recorded(const crash_config *c, const char *directory, crash_states *states,
                         crash_workload_result *result) {
  empty_directory(directory);
  crash_recorder_start(directory, c->seed);
  crash_workload_run(c, directory, states, result);
  crash_recorder_stop();
}

/*
** SQLite before 3.51.3 loses commits itself now and then (https://www.sqlite.org/wal.html#walresetbug). Where the same
** workload fails on the default VFS too, it says nothing about uring.
*/
static bool sqlite_fails_itself(const crash_config *c, const char *directory, crash_states *states) {
  crash_workload_result result;
  crash_config on_default = *c;
  on_default.vfs = "unix-recorder";
  if (sqlite3_libversion_number() >= 3051003) return false;
  run_recorded(&on_default, directory, states, &result);
  return result.error[0] != 0;
}

typedef enum recording { RECORDED, RECORDING_FAILED, RECORDING_SAYS_NOTHING } recording;

static recording record(const crash_config *c, const char *directory, crash_states *states, crash_totals *totals,
                        const crash_options *o) {
  crash_workload_result result;
  run_recorded(c, directory, states, &result);
  totals->transactions += (uint64_t)result.transactions;
  totals->faults += (uint64_t)result.failures;
  totals->published += result.published;
  if (result.error[0] == 0) return RECORDED;
  char config[400];
  crash_config_print(c, config, sizeof config);
  if (sqlite_fails_itself(c, directory, states)) {
    totals->sqlite_failed++;
    printf("left out: %s\n  SQLite %s fails on the default VFS too: %s\n", config, sqlite3_libversion(), result.error);
    return RECORDING_SAYS_NOTHING;
  }
  printf("FAILED %s\n  while running: %s\n  replay: %s --vfs %s --backend %s --steps %d --seed %llu --cut 0\n", config,
         result.error, o->replay, c->vfs, c->backend, c->steps, (unsigned long long)c->seed);
  fflush(stdout);
  return RECORDING_FAILED;
}

/* With --verbose and --cut: the log up to the cut, and what is pending there. */
static void print_log(const campaign *k) {
  static const char *const kinds[] = {"write", "truncate", "sync", "create", "unlink", "directory sync", "mark"};
  static const char *const marks[] = {"",      "commit begins", "acknowledged",      "never",
                                      "maybe", "weak",          "a sync has failed", "idle"};
  static const char *const roles[ROLE_COUNT] = {"database", "journal", "WAL", "super-journal"};
  size_t next = 0;
  for (size_t i = 0; i < k->disk.position; i++) {
    const crash_entry *e = &k->disk.log->entries[i];
    const bool pending = next < k->disk.pending_count && k->disk.pending[next] == i;
    printf("%6zu %s%-14s", i + 1, pending ? "* " : "  ", kinds[e->kind]);
    if (e->inode >= 0) printf(" inode %d, %s", e->inode, roles[k->disk.log->inode_roles[e->inode]]);
    if (e->name >= 0) printf(", %s", k->disk.log->names[e->name]);
    if (e->kind == CRASH_WRITE) printf(", %u bytes", e->length);
    if (e->kind == CRASH_WRITE || e->kind == CRASH_TRUNCATE) printf(" at %llu", (unsigned long long)e->offset);
    if (e->kind == CRASH_MARK) printf(" %s %d", marks[e->mark], e->value);
    printf("%s%s\n", e->ring ? ", ring" : "", pending ? ", lost unless lucky" : "");
    next += pending;
  }
}

uint64_t crash_campaign(const crash_config *config, const crash_options *options, crash_totals *totals) {
  campaign *k = calloc(1, sizeof *k);
  must(k != NULL, "memory");
  k->c = config;
  k->o = options;
  k->totals = totals;
  snprintf(k->directory, sizeof k->directory, "%s/db", options->scratch);
  totals->seeds++;
  const recording r = record(config, k->directory, &k->states, totals, options);
  if (r == RECORDING_FAILED) k->failures++;
  if (r == RECORDING_SAYS_NOTHING) {
    empty_directory(k->directory);
    (void)rmdir(k->directory);
    free(k);
    return 0;
  }
  const crash_log *log = crash_recorder_log();
  crash_disk_init(&k->disk, log);
  timeline_init(&k->t, log);
  while (k->disk.position < log->count) {
    const crash_entry *e = &log->entries[k->disk.position];
    crash_disk_advance(&k->disk);
    timeline_advance(&k->t, log, e);
    totals->ring_writes += e->ring && e->kind == CRASH_WRITE;
    if (options->only_cut >= 0 && k->disk.position != (size_t)options->only_cut) continue;
    if (options->every > 1 && (k->disk.position + config->seed) % (size_t)options->every != 0) continue;
    if (config->verbose && options->only_cut >= 0) print_log(k);
    if (options->only_variant != NULL)
      try_variant(k, options->only_variant);
    else
      cut(k);
  }
  empty_directory(k->directory);
  (void)rmdir(k->directory);
  const uint64_t failures = k->failures;
  totals->failures += failures;
  if (failures > 3) printf("  ... and %llu more failures of this seed\n", (unsigned long long)failures - 3);
  crash_disk_free(&k->disk);
  free(k->seen);
  free(k);
  return failures;
}

/* ---- the same files as the default VFS ---- */

static uint32_t big_endian_32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Where the last commit frame of this WAL ends that has the header's salts. What stands behind it was never
** committed. */
static size_t committed_wal_bytes(const crash_bytes *wal) {
  if (wal->size < 32) return wal->size;
  const size_t page = big_endian_32(wal->data + 8), frame = 24 + page;
  size_t end = 32;
  if (page < 512 || page > 65536) return 32;
  for (size_t at = 32; at + frame <= wal->size; at += frame) {
    if (memcmp(wal->data + at + 8, wal->data + 16, 8) != 0) break;
    if (big_endian_32(wal->data + at + 4) != 0) end = at + frame;
  }
  return end;
}

typedef struct snapshots {
  uint64_t *hash;
  size_t count;
} snapshots;

/* The hash of all committed bytes at every acknowledgement and quiet point. */
static snapshots take_snapshots(const crash_log *log) {
  snapshots s = {calloc(log->count + 1, sizeof(uint64_t)), 0};
  must(s.hash != NULL, "memory");
  crash_disk disk;
  crash_disk_init(&disk, log);
  while (disk.position < log->count) {
    const crash_entry *e = &log->entries[disk.position];
    crash_disk_advance(&disk);
    if (e->kind != CRASH_MARK || (e->mark != MARK_ACK && e->mark != MARK_IDLE)) continue;
    crash_image image;
    crash_disk_image(&disk, &(crash_variant){FATE_KEEP_ALL, 0, 0}, &image);
    uint64_t hash = (uint64_t)e->value;
    for (int i = 0; i < image.count; i++) {
      const crash_bytes *f = &image.file[i];
      const char *name = log->names[image.name[i]];
      const bool wal = log->roles[image.name[i]] == ROLE_WAL;
      hash = crash_hash(hash, name, strlen(name));
      hash = crash_hash(hash, f->data, wal ? committed_wal_bytes(f) : f->size);
    }
    s.hash[s.count++] = hash;
  }
  crash_disk_free(&disk);
  return s;
}

int crash_compare(const crash_config *config, const crash_options *options, crash_totals *totals) {
  static const char *const both[2] = {"unix-recorder", "uring"};
  char directory[600];
  snapshots s[2] = {{NULL, 0}, {NULL, 0}};
  crash_states *states = calloc(1, sizeof *states);
  must(states != NULL, "memory");
  recording r = RECORDED;
  snprintf(directory, sizeof directory, "%s/db", options->scratch);
  totals->seeds++;
  for (int i = 0; i < 2 && r == RECORDED; i++) {
    crash_config c = *config;
    c.vfs = both[i];
    c.faults = false; /* the nth call is not the same call */
    r = record(&c, directory, states, totals, options);
    s[i] = take_snapshots(crash_recorder_log());
  }
  size_t n = 0;
  bool same = r == RECORDED;
  while (same && n < s[0].count && n < s[1].count && s[0].hash[n] == s[1].hash[n]) n++;
  if (same && (n < s[0].count || n < s[1].count)) {
    char text[400];
    same = false;
    crash_config_print(config, text, sizeof text);
    printf("FAILED %s\n  the files differ from those of the default VFS at quiet point %zu of %zu\n"
           "  replay: %s --compare --backend %s --steps %d --seed %llu\n",
           text, n, s[0].count, options->replay, config->backend, config->steps, (unsigned long long)config->seed);
  }
  totals->cuts += s[0].count;
  same |= r == RECORDING_SAYS_NOTHING;
  if (!same) totals->failures++;
  empty_directory(directory);
  (void)rmdir(directory);
  free(s[0].hash);
  free(s[1].hash);
  free(states);
  return same ? 0 : 1;
}

/* ---- sums ---- */

_Static_assert(sizeof(crash_totals) % sizeof(uint64_t) == 0, "nothing but counters");

void crash_totals_add(crash_totals *sum, const crash_totals *part) {
  uint64_t *to = (uint64_t *)sum;
  const uint64_t *from = (const uint64_t *)part;
  for (size_t i = 0; i < sizeof *sum / sizeof *to; i++) to[i] += from[i];
}

void crash_totals_print(const crash_totals *t) {
  printf("crash: %llu workloads, %llu transactions acknowledged, %llu steps failed by injected faults, "
         "%llu writes through rings\n"
         "crash: %llu cuts, %llu images (%llu of a killed process, %llu of a power cut), %llu duplicates left out, "
         "%llu where nothing is promised\n"
         "crash: images with a lost write %llu, a torn write %llu, a lost name %llu, a hot journal %llu, a WAL %llu; "
         "recovered by uring too %llu\n"
         "crash: %llu publications of a commit checked, %llu workloads left out, %llu failures\n",
         (unsigned long long)t->seeds, (unsigned long long)t->transactions, (unsigned long long)t->faults,
         (unsigned long long)t->ring_writes, (unsigned long long)t->cuts, (unsigned long long)t->images,
         (unsigned long long)t->killed, (unsigned long long)t->power, (unsigned long long)t->duplicates,
         (unsigned long long)t->not_checked, (unsigned long long)t->with_loss, (unsigned long long)t->with_tear,
         (unsigned long long)t->with_lost_name, (unsigned long long)t->hot_journal, (unsigned long long)t->with_wal,
         (unsigned long long)t->by_uring, (unsigned long long)t->published, (unsigned long long)t->sqlite_failed,
         (unsigned long long)t->failures);
  fflush(stdout);
}
