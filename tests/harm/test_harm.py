#!/usr/bin/env python3
"""Reading through uring does no harm: calls, bytes and memory of each workload against the default VFS, never times.

Each row of a table below is one workload (prog_harm.c) on one database, run through both VFSs in processes of their
own, and what uring may need more. Calls are all system calls, counted with strace between two marks; where strace
cannot trace, read calls and calls of io_uring_enter, by /proc/self/io and PRAGMA uring_stats. The kernel may drop pages
from a full memory at any time: what is beyond its bounds is run again, and fails if it is beyond them every time.

    test_harm.py [PATTERN]...     only the rows whose title has one of these in it; all figures are shown"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, namedtuple

BUILD = os.environ.get("BUILD", "build")
PROG = os.path.join(BUILD, "tests/harm/prog_harm")
PAGE = 4096
ATTEMPTS = 3

# Page size, rows and their bytes: a cache of 256 KiB is too small for each, and what statements that stop early read
# is a small part of the large one.
DATABASES = {
    "large": (4096, 45000, 1500, "wal", "scattered"),
    "scattered": (4096, 15000, 1500, "wal", "scattered"),
    "ordered": (4096, 20000, 1500, "wal", "ordered"),
    "rollback": (4096, 15000, 400, "delete", "scattered"),
    "4k": (4096, 15000, 400, "wal", "scattered"),
    "4k-ordered": (4096, 15000, 400, "wal", "ordered"),
    "64k": (65536, 15000, 400, "wal", "scattered"),
}

# calls: (share, more): at most share * the default VFS's, and so many more for each operation; None: no bound.
# bytes: at most this share of the default VFS's; FILE: of what the file has. unused: pages that were read ahead and
# not used, as a share of all pages that the default VFS reads. A slack comes to each.
FILE = "file"
Case = namedtuple("Case", "database workload memory options calls bytes unused")
Result = namedtuple("Result", "ops rows sum calls bytes issued used resident_kb locked_kb kinds")
SLACK_CALLS, SLACK_BYTES, SLACK_PAGES, SLACK_KB = 16, 64 << 10, 16, 4096
SAME = (1.0, 0)

WARM = [Case(database, workload, "warm", options, SAME, 1.0, None)
        for options in ((), ("mmap",))
        for database, workloads in (
            ("4k", "point scan range join-rowid join-index join-without-rowid"),
            ("64k", "point scan range join-rowid join-index join-without-rowid"),
            ("4k-ordered", "scan"),
            ("rollback", "point range"))
        for workload in workloads.split()]
# A connection may look once at what it opens.
OPEN = [Case(database, "open", "warm", options, (1.0, 2), 1.0, None)
        for database in ("4k", "rollback") for options in ((), ("mmap",))]
# One more call a statement: that which reads ahead.
STOPS = [Case(database, workload, "cold", (), (1.0, 1), 1.1, 0.10)
         for database in ("large", "ordered") for workload in ("stop-5", "stop-10", "stop-20")]
COLD = [Case("large", "in-list", "cold", (), (1.01, 0), 1.01, 0.01),
        Case("large", "point", "cold", (), (1.01, 0), 1.01, 0.01),
        Case("large", "range", "cold", (), (1.1, 0), 1.1, 0.10),
        Case("large", "join-rowid", "cold", (), (1.1, 0), 1.05, 0.05),
        Case("large", "join-index", "cold", (), (1.1, 0), 1.05, 0.05)]
# The whole file is read, and no page twice.
WHOLE = [Case(database, workload, "cold", options, (1.02, 0), FILE, 0.05)
         for database in ("scattered", "ordered")
         for workload, options in (("scan", ()), ("scan", ("mmap",)), ("backup", ()), ("vacuum", ()))]
LOCKED = [Case("large", "stop-60", "cold", ("locked",), None, 1.1, None)]

failures = []
notes = []
patterns = sys.argv[1:]


class CannotRun(Exception):
    pass


def strace_command():
    """None where strace cannot trace, as in containers without ptrace."""
    command = ["strace", "-f", "-qq", "-s", "16"]
    if not shutil.which("strace"):
        return None
    done = subprocess.run(command + ["-o", os.devnull, "true"], capture_output=True)
    return command if done.returncode == 0 else None


def calls_between_marks(trace):
    kinds, inside, seen = Counter(), False, False
    for line in trace:
        call = re.match(r"(?:\d+\s+)?(\w+)\(", line)
        if not call:
            continue
        if call.group(1) == "write" and "harm-begin" in line:
            inside = seen = True
        elif call.group(1) == "write" and "harm-end" in line:
            inside = False
        elif inside:
            kinds[call.group(1)] += 1
    if not seen:
        raise SystemExit("the mark is missing in the trace: nothing was counted")
    kinds["close"] -= 1  # the first mark's own, after it; the second one's open comes before it
    kinds["openat"] -= 1
    return +kinds


def run(database, vfs, workload, memory, options, traced):
    trace = os.path.join(directory, "trace")
    command = [PROG, "run", database, "vfs=" + vfs, workload, memory] + list(options)
    if traced:
        command = STRACE + ["-o", trace] + command
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 77:
        raise CannotRun(done.stdout.strip())
    if done.returncode != 0:
        raise SystemExit("%s: %s" % (" ".join(command), done.stderr))
    result = json.loads(done.stdout)
    kinds = None
    if traced:
        with open(trace) as f:
            kinds = calls_between_marks(f)
        result["calls"] = sum(kinds.values())
    return Result(kinds=kinds, **result)


def more_calls(plain, uring):
    if not plain.kinds:
        return ""
    more = [(uring.kinds[k] - plain.kinds[k], k) for k in plain.kinds | uring.kinds]
    return " (%s)" % ", ".join("%+d %s" % m for m in sorted(more, reverse=True) if m[0])


def beyond(case, plain, uring, size, ring):
    """What is beyond its bounds, one text each."""
    found = []
    share, more = case.calls or (float("inf"), 0)
    # Without a ring the kernel is asked for each page by a call, and an interior page is read by one.
    asked = ring or uring.issued == 0
    if asked and uring.calls > share * plain.calls + more * plain.ops + SLACK_CALLS:
        found.append("%d calls, the default VFS %d%s" % (uring.calls, plain.calls, more_calls(plain, uring)))
    most = 1.05 * size if case.bytes == FILE else case.bytes * plain.bytes
    if uring.bytes > most + SLACK_BYTES:
        found.append("%d KiB read, the default VFS %d, the file has %d" %
                     (uring.bytes >> 10, plain.bytes >> 10, size >> 10))
    unused = uring.issued - uring.used
    if case.unused and unused > case.unused * plain.bytes / PAGE + SLACK_PAGES:
        found.append("%d of %d pages read ahead not used, of %d read" % (unused, uring.issued, plain.bytes // PAGE))
    for what in ("resident_kb", "locked_kb"):
        a, b = getattr(plain, what), getattr(uring, what)
        # What is mapped at a page fault is the kernel's choice.
        if b > 1.1 * a + SLACK_KB and "mmap" not in case.options:
            found.append("%s %d, the default VFS %d" % (what, b, a))
    return found


def compare(case, vfs):
    title = "%s %s %s" % (case.database, case.workload, " ".join((case.memory, vfs) + case.options))
    if patterns and not any(p in title for p in patterns):
        return
    path = databases[case.database]
    # strace makes a call ten times as expensive; in whole files it is the reads that matter.
    traced = STRACE is not None and case.calls is not None and case.bytes != FILE
    for attempt in range(ATTEMPTS):
        try:
            key = (case.database, case.workload, case.memory, case.options, traced)
            if key not in plain_results or attempt:
                plain_results[key] = run(path, "unix", *key[1:])
            plain, uring = plain_results[key], run(path, vfs, *key[1:])
        except CannotRun as e:
            if "locked" not in case.options:
                raise
            notes.append("%s left out: %s" % (title, e))
            return
        if (plain.rows, plain.sum) != (uring.rows, uring.sum) or plain.rows == 0:
            raise SystemExit("%s: other rows: %r and %r" % (title, plain, uring))
        found = beyond(case, plain, uring, os.path.getsize(path), "backend=sync" not in vfs)
        if not found:
            break
    if patterns:
        print("%s: calls %d %d, KiB %d %d, read ahead %d, not used %d, resident KiB %d %d, locked %d %d" % (
            title, plain.calls, uring.calls, plain.bytes >> 10, uring.bytes >> 10, uring.issued,
            uring.issued - uring.used, plain.resident_kb, uring.resident_kb, plain.locked_kb, uring.locked_kb))
    done.append(title)
    failures.extend("%s: %s" % (title, text) for text in found)


def the_counting_sees_something():
    """A default VFS that reads as much as it should, or the bounds above mean nothing."""
    path = databases["ordered"]
    size = os.path.getsize(path)
    cold = run(path, "unix", "scan", "cold", (), STRACE is not None)
    if cold.bytes < 0.9 * size or cold.calls < 0.9 * size / PAGE:
        raise SystemExit("a cold scan of %d bytes is counted as %r" % (size, cold))


def second_process():
    """Two processes scan the same cold file: what one has read, the other does not read again."""
    path = databases["ordered"]
    most = 1.05 * os.path.getsize(path) + SLACK_BYTES
    if patterns and not any(p in "second process" for p in patterns):
        return
    for how in ("after", "beside"):
        for _ in range(ATTEMPTS):
            command = [PROG, "run", path, "vfs=uring", "scan"]
            if how == "after":
                total = sum(run(path, "uring", "scan", memory, (), False).bytes for memory in ("cold", "as-is"))
            else:
                run(path, "unix", "open", "cold", (), False)
                both = [subprocess.Popen(command + ["as-is"], stdout=subprocess.PIPE, text=True) for _ in range(2)]
                said = [p.communicate()[0] for p in both]
                if any(p.returncode for p in both):
                    raise SystemExit("two processes at once: %r" % [p.returncode for p in both])
                total = sum(json.loads(text)["bytes"] for text in said)
            if total <= most:
                break
        else:
            failures.append("a second process %s the first: %d KiB read in all, of a file of %d" %
                            (how, total >> 10, os.path.getsize(path) >> 10))
        done.append("second process " + how)


if not os.path.exists(PROG):
    print("skipped: %s was not built" % PROG)
    sys.exit(77)
STRACE = strace_command()
if STRACE is None:
    notes.append("strace cannot trace here: read calls only")
skipped = None
done = []
plain_results = {}
# Not in /tmp, which may be a tmpfs: what is in memory only cannot be measured cold.
with tempfile.TemporaryDirectory(prefix="harm.", dir=BUILD) as directory:
    databases = {name: os.path.join(directory, name + ".db") for name in DATABASES}
    for name, shape in DATABASES.items():
        subprocess.run([PROG, "make", databases[name]] + [str(x) for x in shape], check=True)
    for case in WARM + OPEN:
        compare(case, "uring")
    try:
        the_counting_sees_something()
        for vfs in ("uring", "uring&uring_backend=sync"):
            for case in STOPS + COLD + WHOLE + LOCKED:
                compare(case, vfs)
        second_process()
    except CannotRun as e:
        skipped = "nothing can be measured cold on the file system of %s: %s" % (BUILD, e)
for text in failures:
    print("FAILED: " + text)
if failures:
    print("%d of %d comparisons beyond their bounds" % (len({f.split(":")[0] for f in failures}), len(done)))
    sys.exit(1)
if skipped:
    print("skipped: %s; %d warm workloads are within their bounds" % (skipped, len(done)))
    sys.exit(77)
print("; ".join(["%d workloads within their bounds" % len(done)] + notes))
