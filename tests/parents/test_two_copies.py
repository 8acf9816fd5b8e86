#!/usr/bin/env python3
"""Two copies of the extension in one process: one of a package and one of the system, say.

The second registers nothing over the first, loading it succeeds, and sqlite3_log() says so. In every order, by the
plain entry point and by the one that makes it the default, nothing that was
committed is lost when the process is killed.
"""
import os
import shutil
import subprocess
import sys
import tempfile

SHELL = os.environ.get("SQLITE3", "sqlite3")
ENTRIES = {False: " sqlite3_uringvfs_init", True: " sqlite3_uringvfs_default_init"}
SAYS = "registered already, by another copy of this library"
ROWS = 300


def shell(directory, script):
    run = subprocess.run([SHELL, "-batch"], input=script, capture_output=True, text=True, cwd=directory, check=False)
    return run.returncode, run.stdout, run.stderr


def committed(where, order, defaults, synchronous, more):
    """The process is killed after its last commit; the last line before that says what the shell saw."""
    by_default = any(defaults)
    name = "k.db" if by_default else "file:k.db?vfs=uring"
    loads = "\n".join(f".load ./{copy}.so{ENTRIES[default]}" for copy, default in zip(order, defaults))
    script = f""".log stderr
{loads}
.open {name}
.vfsname
PRAGMA journal_mode=WAL;
PRAGMA synchronous={synchronous};
CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<{ROWS})
  INSERT INTO t SELECT x, hex(zeroblob(100)) FROM c;
BEGIN;
UPDATE t SET b='never';
ROLLBACK;
UPDATE t SET b=b||'x' WHERE a%2=0;
PRAGMA uring_stats;
{more}
"""
    return shell(where, script)


def check(condition, what, *shown):
    if not condition:
        print(f"FAILED: {what}", *shown, sep="\n")
        sys.exit(1)


def one(order, defaults, synchronous, ending):
    what = f"{order}, default entry points {defaults}, synchronous={synchronous}, {ending}"
    with tempfile.TemporaryDirectory(prefix="uringvfs-parents.") as where:
        for copy in set(order):
            shutil.copy(os.environ["URINGVFS_SO"], os.path.join(where, copy + ".so"))
        more = ".shell kill -9 $PPID" if ending == "killed" else ""
        code, out, err = committed(where, order, defaults, synchronous, more)
        check(code == (-9 if ending == "killed" else 0), f"{what}: exit code {code}", out, err)
        lines = out.splitlines()
        check(lines[:1] == ["uring/unix"] or "uring/unix" in lines, f"{what}: not once over unix", out, err)
        check("uring/uring" not in out, f"{what}: one copy over the other", out, err)
        check('"wal_batches":0' not in out, f"{what}: nothing was merged, so this proves nothing", out)
        two = len(set(order)) > 1
        check((SAYS in err) == two, f"{what}: the log {'says not' if two else 'says'} that another copy is there", err)
        check("rror" not in err, f"{what}: something failed", err)
        look = ".open k.db\nSELECT count(*), sum(b LIKE '%x') FROM t;\nPRAGMA integrity_check;\n"
        code, out, err = shell(where, look)
        check(out.split() == [f"{ROWS}|{ROWS // 2}", "ok"], f"{what}: the default VFS finds", out, err)


def main():
    if not shutil.which(SHELL):
        print("sqlite3 is not installed")
        sys.exit(77)
    cases = 0
    for order in ("ab", "ba", "aba", "aa"):
        for defaults in ((False, False), (False, True), (True, False), (True, True)):
            for synchronous in ("FULL", "NORMAL", "OFF"):
                if order in ("aba", "aa") and synchronous != "NORMAL":
                    continue
                one(list(order), list(defaults) + [False] * (len(order) - 2), synchronous, "killed")
                cases += 1
    for defaults in ((False, False), (True, True)):
        one(["a", "b"], list(defaults), "OFF", "closed")
        cases += 1
    print(f"{cases} combinations of two copies: nothing lost")


main()
