#!/usr/bin/env python3
"""Where everything is in memory the VFS costs next to nothing: the instructions and the system calls that it adds.

demo/instructions.py counts both, by callgrind and strace, so the figures are the same on a busy machine. What is
allowed is in BUDGETS; the default VFS is the measure."""
import os
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, "demo")
import instructions  # noqa: E402

# For each page or operation: how many instructions and system calls more (None: any number).
PAGE = (60, 0)
BUDGETS = {
    "points-rollback": PAGE,
    "points-wal": PAGE,
    "points-frames": PAGE,
    "scan-rollback": PAGE,
    "scan-wal": PAGE,
    "scan-frames": PAGE,
    "scattered-rollback": PAGE,
    "scattered-wal": PAGE,
    "scattered-frames": PAGE,
    "transaction-rollback": (1000, 0),
    "transaction-wal": (1000, 0),
    "transaction-frames": (1000, 0),
    "mixed-rollback": (None, 0),
    "mixed-wal": (None, 0),
    "open-rollback": (None, 0),
    "open-wal": (None, 0),
    "open-beside": (None, 0),
}
# The heap of the C library grows when it does; nobody asks for it.
NOT_COUNTED = {"brk"}
# Of these not one more, whatever is saved elsewhere.
NEVER_MORE = {"newfstatat", "fstat", "mmap", "munmap", "madvise", "fadvise64"}
# The kernel may give up a page in the middle of it: that is found out by a call, and no more than a few.
STRAY_CALLS = 0.02

failures = []


def check(condition, text):
    if not condition:
        failures.append(text)
        print("FAILED: " + text, file=sys.stderr)


def counts_something(name, section):
    """What must be seen if anything is."""
    if section.instructions:
        check(section.instructions["unix"] > 1000 * section.units, "%s: too few instructions: %r" % (name, section))
    if section.calls and section.unit == "page":
        check(section.calls["unix"]["pread64"] >= section.units, "%s: the reads were not seen: %r" % (name, section))


def can_read_without_waiting():
    """Where the file system does not know RWF_NOWAIT (overlayfs), a page that is in memory takes a longer way."""
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
        file.flush()
        try:
            return os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT) == 1
        except OSError:
            return False


def keeps_budget(name, section, most_instructions, most_calls):
    if section.instructions and most_instructions is not None:
        more = instructions.more_instructions(section)
        check(more <= most_instructions, "%s: %.0f instructions more, %d are allowed" % (name, more, most_instructions))
    if section.calls and most_calls is not None:
        calls = {call: n for call, n in instructions.more_calls(section).items() if call not in NOT_COUNTED}
        more = sum(calls.values()) / section.units
        check(more <= most_calls + STRAY_CALLS,
              "%s: %.3f system calls more, %d are allowed: %r" % (name, more, most_calls, calls))
        for call in NEVER_MORE & set(calls):
            check(calls[call] / section.units <= STRAY_CALLS, "%s: more calls of %s: %r" % (name, call, calls))


def skip(why):
    print("skipped: " + why)
    sys.exit(77)


if not os.path.exists(instructions.PROGRAM):
    skip("%s was not built" % instructions.PROGRAM)
if not instructions.is_optimized():
    skip("this build is not optimized")
if not instructions.has_valgrind() and not instructions.can_trace():
    skip("valgrind is not installed, and strace cannot trace here")
measured = instructions.measure()
instructions.print_table(measured)
for section_name, figures in measured.items():
    counts_something(section_name, figures)
for section_name, (instructions_allowed, calls_allowed) in BUDGETS.items():
    if measured[section_name].unit == "page" and not can_read_without_waiting():
        instructions_allowed = None
    keeps_budget(section_name, measured[section_name], instructions_allowed, calls_allowed)
if failures:
    print("%d checks failed" % len(failures), file=sys.stderr)
    sys.exit(1)
if not instructions.has_valgrind():
    skip("valgrind is not installed, so only system calls were counted")
if not instructions.can_trace():
    skip("strace cannot trace here, so only instructions were counted")
print("%d sections within their budgets" % len(BUDGETS))
