#!/usr/bin/env python3
"""One transaction is one submission: system calls of a transaction, counted with strace and cross-checked with PRAGMA uring_stats.

Each row of CASES runs prog_count under strace and looks at the calls between its two marks: io_uring_enter, writes and syncs of the
database's files. The same transaction on the default VFS must need far more, which shows that the counting sees something. Where
strace cannot trace (containers without ptrace) only the statistics are looked at."""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = os.environ.get("BUILD", "build")
PROG = os.path.join(BUILD, "tests/counts/prog_count")
SO = os.environ.get("URINGVFS_SO", os.path.abspath(os.path.join(BUILD, "uringvfs.so")))
WRITES = {"write", "pwrite64", "pwritev", "pwritev2", "writev", "sendfile", "copy_file_range"}
SYNCS = {"fsync", "fdatasync", "sync_file_range", "syncfs", "sync", "msync"}
TRACE = ",".join(sorted(WRITES | SYNCS | {"io_uring_enter"}))

failures = []
notes = []


def check(condition, text):
    if not condition:
        failures.append(text)
        print("FAILED: " + text, file=sys.stderr)


def can_trace():
    """The strace command that works here, or None. With --seccomp-bpf only the calls that are traced are slowed down."""
    for command in (["strace", "-f", "--seccomp-bpf"], ["strace", "-f"]):
        if not shutil.which("strace"):
            break
        if subprocess.run(command + ["-qq", "-o", os.devnull, "-e", "trace=fsync", "true"], capture_output=True).returncode == 0:
            return command
    return None


CALL = re.compile(r"^(?:\[pid\s+\d+\]\s+|\d+\s+)?(\w+)\((.*)$")


class Counts:
    def __init__(self):
        self.enters = 0
        self.db_writes = []  # (file, bytes)
        self.syncs = []  # (call, file)
        self.shm_writes = 0

    def __repr__(self):
        return "%d enters, %d writes, %d syncs %s" % (self.enters, len(self.db_writes), len(self.syncs), self.syncs)


def parse(lines, begin="count-begin", end="count-end"):
    counts, inside, seen = Counts(), begin is None, False
    for line in lines:
        m = CALL.match(line)
        if not m or "resumed>" in line:
            continue
        call, rest = m.groups()
        if begin and call == "write" and begin in rest:
            inside = seen = True
            continue
        if end and call == "write" and end in rest:
            inside = False
            continue
        if not inside:
            continue
        name = re.match(r"\d+<([^>]*)>", rest)
        name = os.path.basename(name.group(1)) if name else ""
        if name.startswith("uringvfs-counts."):
            name = "(directory)"
        if call == "io_uring_enter":
            counts.enters += 1
        elif call in SYNCS:
            counts.syncs.append((call, name))
        elif call in WRITES and name.endswith("-shm"):
            counts.shm_writes += 1
        elif call in WRITES and (".db" in name):
            size = re.search(r"= (\d+)$", line.strip())
            counts.db_writes.append((name, int(size.group(1)) if size else 0))
    if begin and not seen:
        raise SystemExit("the mark is missing in the trace: nothing was counted")
    return counts


def transaction(way, synchronous, mode, pages, cache=None):
    """Returns (counts or None, statistics' difference)."""
    with tempfile.TemporaryDirectory(prefix="uringvfs-counts.") as d:
        trace = os.path.join(d, "trace")
        command = [PROG, d, way, synchronous, mode, str(pages)] + ([str(cache)] if cache else [])
        if TRACING:
            command = STRACE + ["-y", "-s", "32", "-o", trace, "-e", "trace=" + TRACE] + command
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 3 and "uring_backend=uring" in way:
            return None
        if done.returncode != 0:
            raise SystemExit("%s: %s" % (" ".join(command), done.stderr))
        before, after = (json.loads(x) for x in done.stdout.strip().split("\n"))
        delta = {k: after[k] - before[k] for k in after if isinstance(after[k], int)}
        counts = parse(open(trace)) if TRACING else None
        return counts, delta


URING = "vfs=uring&uring_backend=uring"
AUTO = "vfs=uring&uring_backend=auto"
SYNC = "vfs=uring&uring_backend=sync"
PLAIN = "vfs=unix"


def two_hundred_pages():
    plain = None
    for synchronous, wanted_syncs in (("FULL", 1), ("EXTRA", 1), ("NORMAL", 0), ("OFF", 0)):
        plain_counts, _ = transaction(PLAIN, synchronous, "wal", 200)
        if plain_counts:
            check(len(plain_counts.db_writes) >= 400, "the default VFS must need two writes a page: %r" % plain_counts)
            check(len(plain_counts.syncs) == wanted_syncs, "default VFS, %s: syncs %r" % (synchronous, plain_counts))
            plain = plain or plain_counts
        for way in (URING, AUTO, SYNC):
            result = transaction(way, synchronous, "wal", 200)
            if result is None:
                notes.append("no ring here: uring_backend=uring left out")
                continue
            counts, delta = result
            what = "200 pages, WAL, %s, %s" % (synchronous, way)
            # the statistics
            check(delta["wal_batch_frames"] >= 200, "%s: %s" % (what, delta))
            check(delta["wal_batches"] == 1, "%s: wal_batches %d" % (what, delta["wal_batches"]))
            check(delta["wal_batch_bytes"] == delta["wal_batch_frames"] * 4120, "%s: %s" % (what, delta))
            check(delta["writes"] <= 2 and delta["syncs"] == wanted_syncs, "%s: statistics %s" % (what, delta))
            check(delta["enters"] <= 4, "%s: enters %d" % (what, delta["enters"]))
            if way == URING:
                check(delta["enters"] >= 1 and delta["writes_inline"] == 0 and delta["syncs_inline"] == 0, "%s: %s" % (what, delta))
            if way == SYNC:
                check(delta["enters"] == 0 and delta["writes_inline"] == delta["writes"], "%s: %s" % (what, delta))
            if not counts:
                continue
            # the system calls
            if way == URING:
                check(1 <= counts.enters <= 4, "%s: %r" % (what, counts))
                check(not counts.db_writes and not counts.syncs, "%s: %r" % (what, counts))
            else:
                # os_unix.c writes at most 128 KiB in one call: 824 KiB are a few, and one sync
                total = counts.enters + len(counts.db_writes) + len(counts.syncs)
                limit = 4 if way == AUTO else 4 + 824000 // 0x1F000
                check(total <= limit, "%s: more than %d calls: %r" % (what, limit, counts))
                if not counts.enters:
                    check(len(counts.syncs) == wanted_syncs, "%s: %r" % (what, counts))
            check(counts.enters == delta["enters"], "%s: strace saw %d enters, the statistics %d" % (what, counts.enters, delta["enters"]))
            if delta["syncs_inline"]:
                check(len(counts.syncs) == delta["syncs_inline"], "%s: %r, statistics %s" % (what, counts, delta))
            notes.append("%s %s: %d enters %d writes %d syncs" % (synchronous, way.split("=")[-1], counts.enters, len(counts.db_writes), len(counts.syncs)))
    if plain:
        notes.append("FULL unix: %d writes %d syncs" % (len(plain.db_writes), len(plain.syncs)))


def in_pieces():
    """5000 pages, 20 MB: pieces of up to 1 MiB."""
    for cache in (None, 500):
        for way in (URING, AUTO, SYNC):
            result = transaction(way, "FULL", "wal", 5000, cache)
            if result is None:
                continue
            counts, delta = result
            size = delta["wal_batch_bytes"]
            what = "5000 pages, %s, cache %s" % (way, cache)
            # a page that was spilled and changed again is written to its place, by itself; readers of spilled pages may flush
            extra = 4 if not cache else 60
            check(delta["wal_batch_frames"] >= 5000, "%s: %s" % (what, delta))
            pieces = size // (1 << 20) + 1
            check(delta["wal_batches"] <= pieces + extra, "%s: %d batches for %d bytes" % (what, delta["wal_batches"], size))
            if not cache:
                check(delta["writes"] <= pieces + extra, "%s: %d writes for %d bytes" % (what, delta["writes"], size))
            if counts and way == URING:
                check(counts.enters <= delta["writes"] + delta["reads"] + delta["syncs"] + 4, "%s: %r, %s" % (what, counts, delta))
                check(not counts.db_writes, "%s: %r" % (what, counts))
            if counts and not cache and way != URING:
                total = counts.enters + len(counts.db_writes) + len(counts.syncs)
                check(total <= size // 0x1F000 + pieces + 8, "%s: %r" % (what, counts))


def syncs_only_where_asked():
    """The rollback journal: not one sync more or less than the default VFS, with the directory's."""
    for mode in ("delete", "truncate", "persist"):
        for synchronous in ("OFF", "NORMAL", "FULL", "EXTRA"):
            plain, _ = transaction(PLAIN, synchronous, mode, 50)
            for way in (AUTO, SYNC):
                result = transaction(way, synchronous, mode, 50)
                if not plain:
                    continue
                counts = result[0]
                what = "%s, %s, %s" % (mode, synchronous, way)
                if counts.enters == 0:
                    check(counts.syncs == plain.syncs, "%s: %r, default VFS %r" % (what, counts.syncs, plain.syncs))
                check(len(counts.db_writes) <= len(plain.db_writes), "%s: %r, default VFS %r" % (what, counts, plain))
                if synchronous == "OFF":
                    check(not counts.syncs, "%s: %r" % (what, counts.syncs))


def stock_shell():
    """The stock shell and the extension: the difference between a run with and one without the transaction."""
    shell = shutil.which("sqlite3")
    if not shell or not TRACING:
        notes.append("stock shell left out")
        return
    prepare = ("PRAGMA journal_mode=wal; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, pad BLOB);"
               "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n WHERE i<200) INSERT INTO t SELECT i, zeroblob(3000) FROM n;"
               "UPDATE t SET pad=randomblob(3000); UPDATE t SET pad=randomblob(3000);")
    totals = {}
    for way in (PLAIN, URING, AUTO):
        found = []
        for extra in ("", "UPDATE t SET pad=randomblob(3000);"):
            with tempfile.TemporaryDirectory(prefix="uringvfs-counts.") as d:
                trace = os.path.join(d, "trace")
                # the connection stays with the process: the checkpoint at its end is the same in both runs, and too much to be counted
                script = "%s\n.open 'file:%s/shell.db?%s'\n%s%s\n.dbconfig no_ckpt_on_close on\n" % (
                    "" if way == PLAIN else ".load " + SO, d, way, prepare, extra)
                done = subprocess.run(STRACE + ["-y", "-o", trace, "-e", "trace=" + TRACE, shell, "-batch", ":memory:"], input=script,
                                      capture_output=True, text=True)
                if way == URING and "cannot be had" in done.stderr + done.stdout or "unable to open" in done.stderr:
                    notes.append("shell: " + (done.stderr.strip().split("\n") or [""])[0])
                    break
                check(done.returncode == 0 and not done.stderr, "shell, %s: %s" % (way, done.stderr))
                found.append(parse(open(trace), None, None))
        if len(found) == 2:
            a, b = found
            totals[way] = (b.enters - a.enters, len(b.db_writes) - len(a.db_writes), len(b.syncs) - len(a.syncs))
    if PLAIN in totals:
        check(totals[PLAIN][1] >= 400, "shell, default VFS: %r" % (totals[PLAIN],))
    if URING in totals:
        check(1 <= totals[URING][0] <= 4 and totals[URING][1] == 0, "shell, uring: %r" % (totals[URING],))
    if AUTO in totals:
        check(sum(totals[AUTO]) <= 4, "shell, auto: %r" % (totals[AUTO],))
    for way, t in totals.items():
        notes.append("shell %s: %d enters %d writes %d syncs" % ((way.split("=")[-1],) + t))


if not os.path.exists(PROG):
    print("skipped: %s was not built" % PROG)
    sys.exit(77)
STRACE = can_trace()
TRACING = STRACE is not None
if not TRACING:
    notes.append("strace cannot trace here: statistics only")
two_hundred_pages()
in_pieces()
syncs_only_where_asked()
stock_shell()
if failures:
    print("%d checks failed" % len(failures), file=sys.stderr)
    sys.exit(1)
print("one transaction, one submission: " + "; ".join(notes))
