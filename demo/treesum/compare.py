#!/usr/bin/env python3
"""treesum beside coreutils' cksum on one tree: the same sums, or this ends with an error; then the times of both.

    demo/treesum/compare.py [--rounds N] [--treesum PROGRAM] [DIRECTORY]        5 rounds, /usr/include

Cold: the pages of every file are dropped from the kernel's cache (POSIX_FADV_DONTNEED); names and inodes stay cached. The order
turns from round to round. Coreutils 9 computes the sum by carry-less multiplication, treesum by tables: warm, that is what is compared.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time


def build(directory):
    program = os.path.join(directory, "treesum")
    top = os.environ.get("BUILD", "build")
    subprocess.run([os.environ.get("CC", "cc"), "-std=gnu11", "-O2", "-I", f"{top}/include/runtime", "-o", program,
                    "demo/treesum/treesum.c", f"{top}/liburingrt.a", "-luring", "-pthread"], check=True)
    return program


def files_of(directory):
    found = (os.path.join(where, name) for where, _, names in os.walk(directory) for name in names)
    return [path for path in found if os.path.isfile(path) and not os.path.islink(path)]


def forget(files):
    for path in files:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def names_file(files):
    names = tempfile.TemporaryFile()
    names.write(b"".join(os.fsencode(path) + b"\0" for path in files))
    return names


def run(command, inputs):
    """One process for each input, all at once. Seconds, and the lines in an order of their own."""
    for names in inputs:
        names.seek(0)
    outputs = [tempfile.TemporaryFile() for _ in inputs]
    start = time.monotonic()
    running = [subprocess.Popen(command, stdin=names, stdout=out) for names, out in zip(inputs, outputs)]
    if any([process.wait() for process in running]):
        sys.exit(f"{command} failed")
    seconds = time.monotonic() - start
    lines = []
    for out in outputs:
        out.seek(0)
        lines += out.read().splitlines()
    return seconds, sorted(lines)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--treesum", metavar="PROGRAM")
    arguments.add_argument("directory", nargs="?", default="/usr/include")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        program = options.treesum or build(scratch)
        files = files_of(options.directory)
        cores = len(os.sched_getaffinity(0))
        cksum = ["xargs", "-0", "cksum"]
        ways = {"cksum": (cksum, [names_file(files)]),
                f"cksum, {cores} at once": (cksum, [names_file(files[i::cores]) for i in range(cores)]),
                "treesum": ([program, options.directory], [names_file([])])}
        print(f"{options.directory}: {len(files)} files, {sum(map(os.path.getsize, files)) >> 20} MiB")
        times = {(name, cold): [] for cold in (True, False) for name in ways}
        _, expected = run(*ways["cksum"])
        for number in range(options.rounds):
            for cold in (True, False):
                for name in list(ways)[::-1 if number % 2 else 1]:
                    if cold:
                        forget(files)
                    seconds, lines = run(*ways[name])
                    times[name, cold].append(seconds)
                    if lines != expected:
                        sys.exit(f"{name} differs: {sorted(set(lines) ^ set(expected))[:4]}")
        for (name, cold), all_times in times.items():
            print(f"{'cold' if cold else 'warm'}  {name:20} {statistics.median(all_times):7.3f} s  "
                  f"({min(all_times):.3f} to {max(all_times):.3f})")


main()
