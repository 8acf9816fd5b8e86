#!/usr/bin/env python3
"""Every block of C in runtime/README.md compiles without a warning, by itself."""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parents[2]
build = pathlib.Path(os.environ.get("BUILD", "build")).resolve()
compiler = shlex.split(os.environ.get("CC") or "cc")
flags = ["-std=gnu11", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-Wno-unused-function", f"-I{build}/include/runtime"]

text = (root / "runtime" / "README.md").read_text()
blocks = re.findall(r"^```c\n(.*?)^```$", text, re.M | re.S)
failed = 0
with tempfile.TemporaryDirectory() as tmp:
    for number, block in enumerate(blocks, 1):
        source = pathlib.Path(tmp) / f"block{number}.c"
        source.write_text(block)
        done = subprocess.run(compiler + flags + ["-O1", "-c", "-o", f"{tmp}/o", str(source)], capture_output=True, text=True)
        if done.returncode:
            failed += 1
            print(f"block {number}:\n{done.stderr}")

# The table of files names every file there is.
named = set(re.findall(r"`([a-z_]+\.[ch])`", text))
there = {p.name for p in (root / "runtime").glob("*.[ch]")} - {"internal.h", "uring.h"}
if there - named:
    failed += 1
    print("not in the table of files:", *sorted(there - named))

print(f"{len(blocks)} blocks of C compiled, {failed} complaints")
sys.exit(1 if failed or len(blocks) < 5 else 0)
