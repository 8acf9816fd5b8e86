#!/usr/bin/env python3
"""Runs SQLite's test scripts on the default VFS and on uring, each in a process and directory of its own, and compares.

usage: suite.py --source DIR --fixture PROGRAM --known FILE --out DIR [--jobs N] [--modes uring,ring]
                [--permutation NAME] [--run WORDS] [PATTERN ...]

A script's result on the default VFS is what is expected: the same number of tests, and no failure that the default VFS
does not have. Differences named in the known-differences file are allowed; an entry of it that is not seen any more is
an error too, so that the list stays short. PATTERN chooses scripts (wal*.test); without one, those of the permutation of
permutations.test (veryquick) run. WORDS say what else is special about this run (newest,setlk), for that file.

Run by root, the scripts run as nobody: several of them make files unreadable and expect that to be felt.

Exit code 0: as expected. 1: differences. 2: it could not run. The output of every run is in OUT/MODE/SCRIPT.log;
OUT/results.tsv has script, mode, tests, failures and seconds.
"""
import argparse
import collections
import concurrent.futures
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

LIST_SCRIPT = """
set argv0 [file join $env(TEST_DIR) list.test]
set argv {}
source [file join $env(TEST_DIR) permutations.test]
if {![info exists ::testspec($env(PERMUTATION))]} { puts "there are: $::testsuitelist"; exit 1 }
array set suite $::testspec($env(PERMUTATION))
puts "prefix $suite(-prefix)"
foreach f [lsort $suite(-files)] { puts "suite $f" }
foreach f [lsort $::alltests] { puts "all $f" }
exit
"""

BACKEND_SCRIPT = """
sqlite3 db own.db
db eval {CREATE TABLE t(x)}
puts [db one {PRAGMA uring_backend}]
puts [db one {PRAGMA uring_stats}]
exit
"""

Result = collections.namedtuple("Result", "tests failed broken seconds")
Known = collections.namedtuple("Known", "script test modes where reason required")


running = set()  # processes, each the leader of a group


def stop(number, _frame):
    for process in list(running):
        os.killpg(process.pid, signal.SIGKILL)
    os._exit(128 + number)


def environment(mode):
    keep = {k: os.environ[k] for k in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if k in os.environ}
    return dict(keep, HOME="/nonexistent", LC_ALL="C.UTF-8", URINGVFS_CHECK=mode)


WATCH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "watch.py")
AS_NOBODY = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if os.geteuid() == 0 else []


def make_directory(path):
    os.makedirs(path)
    if os.geteuid() == 0:
        shutil.chown(path, "nobody", "nogroup")


def tcl(options, mode, script):
    """What testfixture prints for a Tcl script of our own."""
    directory = os.path.join(options.out, "run", "tcl-" + mode)
    make_directory(directory)
    path = os.path.join(directory, "own.tcl")
    with open(path, "w") as f:
        f.write(script)
    run = subprocess.run(AS_NOBODY + [options.fixture, path], cwd=directory, capture_output=True, text=True,
                         env=dict(environment(mode), TEST_DIR=os.path.join(options.source, "test"),
                                  PERMUTATION=options.permutation))
    shutil.rmtree(directory)
    if run.returncode:
        sys.exit(f"suite.py: testfixture on {mode}:\n" + run.stdout + run.stderr)
    return run.stdout


def check_modes(options):
    """That each run is on the VFS that it is said to be on; nothing else here would notice if it were not."""
    for mode, wanted in {"default": "", "uring": "auto", "ring": "uring", "sync": "sync"}.items():
        if mode in ["default"] + options.modes:
            backend, _, stats = tcl(options, mode, BACKEND_SCRIPT).partition("\n")
            if backend != wanted:
                sys.exit(f"suite.py: URINGVFS_CHECK={mode} runs with uring_backend={backend!r}, not {wanted!r}")
            if mode == "ring" and '"enters":0' in stats:
                sys.exit(f"suite.py: nothing goes through a ring with URINGVFS_CHECK={mode}: {stats}")


def list_scripts(options):
    """All scripts, and those of the permutation, as paths, and what it puts before the name of each test."""
    found = {"suite": [], "all": []}
    prefix = ""
    output = tcl(options, "default", LIST_SCRIPT)
    for line in output.splitlines():
        kind, _, name = line.partition(" ")
        if kind == "prefix":
            prefix = name
        elif kind in found:
            found[kind].append(os.path.normpath(os.path.join(options.source, "test", name)))
    if not found["suite"]:
        sys.exit("suite.py: testfixture gave no list of scripts:\n" + output)
    return found, prefix


def choose(options, scripts):
    if not options.patterns:
        # SQLite's core first, then the extensions, which tell less about a VFS.
        extension = re.compile("fts|rtree|session|geopoly")
        return sorted(scripts["suite"], key=lambda s: (bool(extension.match(os.path.basename(s))), s))
    # Matching over the whole list: what veryquick leaves out (crash, ioerr) can be asked for.
    chosen = []
    for pattern in options.patterns:
        exclude = pattern.startswith("!")
        rule = re.compile(re.escape(pattern.lstrip("!")).replace(r"\*", ".*") + "$")
        matching = [s for s in scripts["all"] if rule.match(os.path.basename(s))]
        if not matching:
            sys.exit("suite.py: no script is called " + pattern)
        chosen = [s for s in chosen if s not in matching] + ([] if exclude else matching)
    return chosen


def read_known(path):
    """Lines `script test modes where reason`; `#` begins a comment. A `?` after the modes: it does not happen every time."""
    known = []
    with open(path) as f:
        for number, line in enumerate(f, 1):
            words = line.split("#")[0].split(None, 4)
            if not words:
                continue
            if len(words) != 5:
                sys.exit(f"{path}:{number}: wanted: script test modes where reason")
            script, test, modes, where, reason = words
            known.append(Known(script, re.compile(re.escape(test).replace(r"\*", ".*") + "$"),
                               tuple(modes.rstrip("?").split(",")), frozenset(where.split(",")), reason.strip(),
                               not modes.endswith("?")))
    return known


def holds_here(known, run):
    """`where` is a list of words that must all be among those of this run; -word: it must not be; any: no condition."""
    return all(w == "any" or (w[1:] not in run if w.startswith("-") else w in run) for w in known.where)


def parse(output, code, seconds, prefix):
    summary = re.search(r"^(\d+) errors out of (\d+) tests", output, re.M)
    failures = re.search(r"^!Failures on these tests:(.*)$", output, re.M)
    failed = {test.removeprefix(prefix) for test in failures.group(1).split()} if failures else set()
    broken = []
    if code == 124:
        broken.append(output.splitlines()[-1])
    elif code > 128:
        broken.append("killed by " + signal.Signals(code - 128).name)
    if not summary:
        broken.append("did not come to its end")
    if summary and code and not failed:
        broken.append(f"exit code {code}")
    broken += re.findall(r"^(?:\d+ files were left open|Unfreed memory.*|.*Assertion .* failed.*)$", output, re.M)
    return Result(int(summary.group(2)) if summary else 0, failed, broken, seconds)


def run_script(options, mode, script, prefix):
    name = os.path.basename(script)
    directory = os.path.join(options.out, "run", mode + "-" + name)
    log = os.path.join(options.out, mode, name + ".log")
    make_directory(directory)
    os.makedirs(os.path.dirname(log), exist_ok=True)
    start = time.monotonic()
    with open(log, "wb") as out:
        runner = os.path.join(options.source, "test", "permutations.test")
        command = [sys.executable, "-S", WATCH] + AS_NOBODY + [options.fixture, runner, options.permutation, name]
        # A group of its own, which stop() ends.
        process = subprocess.Popen(command, cwd=directory, env=dict(environment(mode), TEST_STALL=str(options.stall)),
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                   start_new_session=True)
        running.add(process)
        code = process.wait()
        running.discard(process)
    shutil.rmtree(directory, ignore_errors=True)
    with open(log, errors="replace") as f:
        result = parse(f.read(), code, time.monotonic() - start, prefix)
    return result


class Comparison:
    def __init__(self, options, known):
        self.options, self.known = options, known
        self.lock = threading.Lock()
        self.totals = collections.defaultdict(lambda: [0, 0, 0.0])  # mode: tests, failures, seconds
        self.default_failures, self.differences, self.allowed = [], [], []
        self.scripts, self.seen = set(), set()
        self.results = open(os.path.join(options.out, "results.tsv"), "w")

    def is_known(self, script, test, mode):
        for k in self.known:
            if fnmatch.fnmatchcase(script, k.script) and mode in k.modes and k.test.match(test):
                self.seen.add(k)
                return k
        return None

    def add(self, script, mode, expected, got):
        """expected is the result on the default VFS; for mode "default" they are the same."""
        self.scripts.add(script)
        total = self.totals[mode]
        total[0] += got.tests
        total[1] += len(got.failed)
        total[2] += got.seconds
        print(script, mode, got.tests, len(got.failed), f"{got.seconds:.1f}", sep="\t", file=self.results, flush=True)
        if mode == "default":
            self.default_failures += sorted(got.failed) + [f"{script}: {b}" for b in got.broken]
            return
        found = [(t, "fails") for t in sorted(got.failed - expected.failed)]
        found += [("(end)", b) for b in got.broken if b not in expected.broken]
        if got.tests != expected.tests and not got.broken:
            found.append(("(count)", f"{got.tests} tests, {expected.tests} on the default VFS"))
        for test, what in found:
            k = self.is_known(script, test, mode)
            (self.allowed if k else self.differences).append((mode, script, test, what, k.reason if k else ""))

    def stale(self):
        modes = set(self.options.modes)
        return [k for k in self.known if k.required and k not in self.seen and modes & set(k.modes)
                and any(fnmatch.fnmatchcase(s, k.script) for s in self.scripts)]


def run_all(options, scripts, prefix, comparison):
    modes = ["default"] + options.modes
    results = {script: {} for script in scripts}
    done = 0
    start = time.monotonic()

    def one(job):
        nonlocal done
        script, mode = job
        result = run_script(options, mode, script, prefix)
        with comparison.lock:
            results[script][mode] = result
            if len(results[script]) < len(modes):
                return
            for m in modes:
                comparison.add(os.path.basename(script), m, results[script]["default"], results[script][m])
            done += 1
            if done % 50 == 0 or done == len(scripts):
                print(f"  {done} of {len(scripts)} scripts, {time.monotonic() - start:.0f} s, "
                      f"{len(comparison.differences)} differences", flush=True)

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, [(script, mode) for script in scripts for mode in modes]))


def report(comparison):
    for mode, (tests, failures, seconds) in comparison.totals.items():
        print(f"{mode:8} {tests:7} tests {failures:4} failures {seconds:7.0f} s of process time")
    print("fails on the default VFS too:", " ".join(comparison.default_failures) or "nothing")
    reasons = collections.defaultdict(list)
    for mode, script, test, what, reason in comparison.allowed:
        reasons[reason].append(f"{mode}:{script}:{test}")
    for reason, tests in sorted(reasons.items()):
        print(f"known difference {reason}: {len(tests)}")
    for mode, script, test, what, _ in comparison.differences:
        print(f"DIFFERENCE {mode}: {script} {test}: {what}")
    stale = comparison.stale()
    for k in stale:
        print(f"STALE known difference, not seen: {k.script} {k.test.pattern}")
    return not comparison.differences and not stale


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True)
    parser.add_argument("--fixture", required=True)
    parser.add_argument("--known", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--stall", type=int, default=300, help="seconds without progress (tests/watch.py)")
    parser.add_argument("--modes", default="uring,ring", type=lambda s: s.split(","))
    parser.add_argument("--permutation", default="veryquick")
    parser.add_argument("--run", default="", type=lambda s: set(s.split(",")))
    parser.add_argument("patterns", nargs="*")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    check_modes(options)
    found, prefix = list_scripts(options)
    scripts = choose(options, found)
    run = options.run | {options.permutation}
    comparison = Comparison(options, [k for k in read_known(options.known) if holds_here(k, run)])
    print(f"{options.permutation}: {len(scripts)} scripts on: default, {', '.join(options.modes)}", flush=True)
    run_all(options, scripts, prefix, comparison)
    sys.exit(0 if report(comparison) else 1)


if __name__ == "__main__":
    main()
