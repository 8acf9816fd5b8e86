#!/usr/bin/env python3
"""instructions.py [--section NAME] [--json FILE] [--where SECTION]

What the VFS costs where everything is in memory: the instructions and the system calls that uring adds to a page that
is read, a read transaction, and to opening and closing. A time would show the machine; these figures are the same on
a busy one.

The operations are in instructions.c. callgrind (valgrind) counts instructions of the program, the kernel's are not
among them; strace counts system calls. Both count the same program on the same database, once through the default VFS
and once through uring; what is printed is the difference for each page or operation. A page that is read is one that
SQLite has not in its own cache.

--where prints for a section which functions have more instructions through uring.
"""
import argparse
import collections
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.environ.get("BUILD", os.path.join(HERE, "..", "build"))
PROGRAM = os.path.join(BUILD, "demo/instructions")
MEASURED = "instructions_measured"
VFSS = ("unix", "uring")

Section = collections.namedtuple("Section", "unit units instructions calls")


class Failed(Exception):
    pass


def execute(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed("%s: exit status %d\n%s" % (" ".join(command), done.returncode, done.stderr))
    return done.stdout


def is_optimized():
    """Instructions say something of an optimized build only."""
    return execute([PROGRAM, "about"]).strip() == "optimized"


def has_valgrind():
    return shutil.which("valgrind") is not None


def can_trace():
    """Not where ptrace is forbidden."""
    return shutil.which("strace") is not None and subprocess.run(
        ["strace", "-f", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0


def units_of(output):
    """What the program says of its sections, in their order: [name, unit, units]."""
    return [[name, unit, int(units)] for name, unit, units in (line.split() for line in output.splitlines())]


def count_instructions(program, dumps):
    """What `program` says of its sections, and the instructions of each."""
    sections = units_of(execute(["valgrind", "--tool=callgrind", "--toggle-collect=" + MEASURED,
                                 "--dump-after=" + MEASURED, "--callgrind-out-file=" + dumps] + program))
    counted = []
    for number, (name, _, _) in enumerate(sections, 1):
        with open("%s.%d" % (dumps, number), encoding="utf-8", errors="replace") as dump:
            totals = re.search(r"^totals: (\d+)", dump.read(), re.M)
        if totals is None or int(totals.group(1)) == 0:
            raise Failed("callgrind has counted nothing in " + name)
        counted.append(int(totals.group(1)))
    return sections, counted


def count_calls(program, trace):
    """What `program` says of its sections, and a Counter of the system calls of each by name."""
    sections = units_of(execute(["strace", "-f", "-qq", "-o", trace] + program))
    counted, inside, names = [], None, [name for name, _, _ in sections]
    with open(trace, encoding="utf-8", errors="replace") as lines:
        calls = [call for call in (re.match(r"\d+ +(\w+)\((.*)", line) for line in lines) if call]
    for call in calls:
        mark = call.group(1) == "write" and re.match(r'\d+, "([a-z-]+)", \d+\)', call.group(2))
        if mark and inside is None and len(counted) < len(names) and mark.group(1) == names[len(counted)]:
            inside = collections.Counter()
        elif mark and inside is not None and mark.group(1) == names[len(counted)]:
            counted.append(inside)
            inside = None
        elif inside is not None:
            inside[call.group(1)] += 1
    if len(counted) != len(names):
        raise Failed("the marks of sections are missing in the trace")
    return sections, counted


def measure_vfs(vfs, work, section, keep):
    """Of all sections: what they are, their instructions, their calls; None for what cannot be counted here."""
    copy = os.path.join(work, vfs)
    os.mkdir(copy)
    for file in glob.glob(os.path.join(work, "*.db*")):
        shutil.copy(file, copy)
    program = [os.path.join(work, "program"), vfs, copy] + ([section] if section else [])
    sections = instructions = calls = None
    if can_trace():
        sections, calls = count_calls(program, os.path.join(work, "trace"))
    if has_valgrind():
        sections, instructions = count_instructions(program, os.path.join(keep or work, vfs + ".callgrind"))
    shutil.rmtree(copy)
    if sections is None:
        raise Failed("neither valgrind nor strace can be used here")
    return sections, instructions, calls


def measure(section=None, keep=None):
    """{name: Section}; instructions and calls by VFS, or None. `keep`: a directory in which callgrind's dumps stay."""
    with tempfile.TemporaryDirectory(prefix="uringvfs-instructions.") as work:
        execute([PROGRAM, "make", work])
        # valgrind before 3.20 gives up at clang's debug information
        execute(["strip", "--strip-debug", "-o", os.path.join(work, "program"), PROGRAM])
        measured = {vfs: measure_vfs(vfs, work, section, keep) for vfs in VFSS}
    sections = measured["unix"][0]
    if measured["uring"][0] != sections:
        raise Failed("both VFSs must do the same: %r, %r" % (sections, measured["uring"][0]))

    def figures(which, number):
        return {v: measured[v][which][number] for v in VFSS} if measured["unix"][which] else None
    return {name: Section(unit, units, figures(1, number), figures(2, number))
            for number, (name, unit, units) in enumerate(sections)}


def more_instructions(section):
    """For each page or operation."""
    return (section.instructions["uring"] - section.instructions["unix"]) / section.units


def more_calls(section):
    """All of a section, by name: those that differ."""
    both = section.calls["uring"] | section.calls["unix"]
    differences = {name: section.calls["uring"][name] - section.calls["unix"][name] for name in both}
    return {name: n for name, n in sorted(differences.items()) if n != 0}


def calls_text(section):
    """Of one page or operation: how many more, and which."""
    more = more_calls(section)
    names = ", ".join("%+.3g %s" % (n / section.units, name) for name, n in more.items())
    return "%+7.2f%s" % (sum(more.values()) / section.units, "  (%s)" % names if names else "")


def print_table(sections):
    print("%-21s %-10s %33s   %s" % ("", "", "instructions", "system calls"))
    heads = ("section", "for each", "default", "uring", "more", "default", "more")
    print("%-21s %-10s %10s %10s %11s   %7s %7s" % heads)
    for name, s in sections.items():
        line = "%-21s %-10s " % (name, s.unit)
        if s.instructions:
            line += "%10.0f %10.0f %+11.1f   " % (*(s.instructions[v] / s.units for v in VFSS), more_instructions(s))
        else:
            line += "%10s %10s %11s   " % ("-", "-", "-")
        if s.calls:
            line += "%7.2f %s" % (sum(s.calls["unix"].values()) / s.units, calls_text(s))
        print(line)


def by_function(dump):
    """The instructions in each function and in all that it calls."""
    out = execute(["callgrind_annotate", "--auto=no", "--inclusive=yes", "--show-percs=no", "--threshold=100", dump])
    functions = collections.Counter()
    for instructions, where in re.findall(r"^ *([\d,]+)  (\S+)", out, re.M):
        function = re.sub(r"^[^:]*:", "", where)  # one with inlined functions is listed under each of their files
        functions[function] = max(functions[function], int(instructions.replace(",", "")))
    return functions


def print_where(name):
    with tempfile.TemporaryDirectory(prefix="uringvfs-instructions.") as keep:
        units = measure(name, keep)[name].units
        unix, uring = (by_function(os.path.join(keep, vfs + ".callgrind.1")) for vfs in VFSS)
    print("%10s %10s %10s  in a function and all that it calls" % ("more", "default", "uring"))
    for function in sorted(unix | uring, key=lambda f: unix[f] - uring[f]):
        if abs(uring[function] - unix[function]) >= units:
            print("%+10.0f %10.0f %10.0f  %s" % ((uring[function] - unix[function]) / units, unix[function] / units,
                                                 uring[function] / units, function))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--section", metavar="NAME", help="measure this one alone")
    parser.add_argument("--json", metavar="FILE", help="write the figures there, too")
    parser.add_argument("--where", metavar="SECTION", help="print in which functions this one has more")
    arguments = parser.parse_args()
    if arguments.where:
        if not has_valgrind():
            raise Failed("valgrind is not installed (make deps)")
        print_where(arguments.where)
        return
    sections = measure(arguments.section)
    print_table(sections)
    if not has_valgrind():
        print("valgrind is not installed (make deps): instructions were not counted")
    elif not is_optimized():
        print("this build is not optimized")
    if not can_trace():
        print("strace cannot trace here: system calls were not counted")
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump({name: s._asdict() for name, s in sections.items()}, file, indent=1)


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        sys.exit("instructions.py: %s" % failure)
