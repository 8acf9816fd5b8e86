#!/usr/bin/env python3
"""The stock shell does the same work through both VFSs, under strace and with a poisoned environment.

Every variable that something might believe in points to a directory of its own. Through uring no file may be looked at or
executed that the default VFS does not look at, but for the extension, its libraries, and what lies beside the database.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

POISON = """URINGVFS_CONFIG URINGVFS_BACKEND URINGVFS_LOG URINGVFS_SO_PATH URINGVFS_HELPER URING_BACKEND URING_CONFIG
LIBURING_CONFIG IO_URING SQLITE_URING SQLITE_VFS SQLITE_CONFIG RT_CONFIG RT_BACKEND XDG_CONFIG_HOME XDG_CACHE_HOME XDG_RUNTIME_DIR
XDG_DATA_HOME HOSTALIASES LOCALDOMAIN CONFIG DEBUG TRACE LOGFILE EDITOR VISUAL PAGER BROWSER SHELL ENV BASH_ENV TMP TEMP
TEMPDIR SQLITE_TMPDIR TMPDIR HOME""".split()

SQL = """
PRAGMA journal_mode=%(mode)s; PRAGMA cache_size=5; PRAGMA temp_store=file;
CREATE TABLE t(a INTEGER PRIMARY KEY, b);
WITH c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<20000) INSERT INTO t SELECT i, randomblob(100) FROM c;
CREATE TEMP TABLE x AS SELECT * FROM t ORDER BY b;
UPDATE t SET b = zeroblob(90) WHERE a %% 2;
VACUUM;
PRAGMA wal_checkpoint;
PRAGMA integrity_check;
"""

PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')


def run(directory, vfs, extension, mode):
    """All paths in the file-related system calls, normalised; and what was executed."""
    base = os.path.join(directory, "%s-%s" % (vfs, mode))
    os.makedirs(os.path.join(base, "db"))
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C"}
    for name in POISON:
        environment[name] = os.path.join(base, "canary-" + name)
        os.mkdir(environment[name])
    trace = os.path.join(base, "trace")
    database = os.path.join(base, "db", "a.db")
    uri = "file:%s?vfs=%s" % (database, vfs)
    if vfs == "uring":
        uri += "&uring_backend=" + backend(directory, extension)
    script = (".load %s\n" % extension if vfs == "uring" else "") + ".open '%s'\n" % uri + SQL % {"mode": mode}
    command = ["strace", "-f", "-s", "4096", "-e", "trace=%file,%process,memfd_create,connect,socket", "-o", trace,
               "sqlite3", "-batch", ":memory:"]
    done = subprocess.run(command, input=script, env=environment, capture_output=True, text=True)
    if done.returncode != 0 or not done.stdout.rstrip().endswith("ok"):
        raise SystemExit("%s, %s: %d\n%s%s" % (vfs, mode, done.returncode, done.stdout, done.stderr))
    paths, executed, other = set(), [], set()
    with open(trace, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            call = re.match(r"\d+\s+(\w+)\(", line)
            if call is None:
                continue
            if call.group(1) in ("execve", "execveat"):
                executed.append(PATH.search(line).group(1))
                continue
            if call.group(1) in ("socket", "connect", "memfd_create"):
                other.add(call.group(1))
            for path in PATH.findall(line):
                path = path.replace(base, "BASE").replace(uri.replace(base, "BASE"), "URI")  # the shell stats its argument
                path = re.sub(r"etilqs_[0-9a-f]+", "etilqs_N", path)
                paths.add(re.sub(r"/proc/\d+/", "/proc/N/", path))
    return paths, executed, other


def backend(directory, extension):
    """uring where rings can be had, otherwise auto."""
    probe = subprocess.run(["sqlite3", "-batch", ":memory:"], capture_output=True, text=True,
                           input=".load %s\n.open 'file:%s?vfs=uring'\nCREATE TABLE IF NOT EXISTS t(a);\n"
                           "PRAGMA uring_backend=uring;\nPRAGMA uring_stats;\n"
                           % (extension, os.path.join(directory, "probe.db")))
    return "uring" if re.search(r'"ring": ?"available"', probe.stdout) else "auto"


def allowed(path, extension):
    """What uring may look at beyond the default VFS's list."""
    return (path == extension or path.startswith("BASE/db") or path == "BASE"
            or re.search(r"/(liburing|libpthread|libc|libdl|libasan|libubsan|libtsan)[.-][^/]*$", path)
            or path.startswith(extension))


def main():
    extension = os.environ.get("URINGVFS_SO", "")
    stand_in = os.environ.get("URINGVFS_TEST_VFS", "")
    if not extension and not stand_in:
        print("URINGVFS_SO is not set")
        return 1
    for tool in ("strace", "sqlite3"):
        if shutil.which(tool) is None:
            print("no %s here" % tool)
            return 77
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode != 0:
        print("strace may not trace here")
        return 77
    directory = tempfile.mkdtemp(prefix="uringvfs-environment-")
    try:
        total = 0
        for mode in ("delete", "wal"):
            want, want_executed, want_other = run(directory, "unix", extension, mode)
            got, got_executed, got_other = run(directory, stand_in or "uring", extension, mode) if not stand_in else (
                want, want_executed, want_other)
            canaries = {p for p in want if "canary-" in p}
            if not canaries:
                print("the default VFS looked at no canary: the trace proves nothing")
                return 1
            strangers = sorted(p for p in got - want if not allowed(p, extension))
            poisoned = sorted(p for p in got - want if "canary-" in p)
            if strangers or poisoned:
                print("%s: uring looks at %s" % (mode, strangers + poisoned))
                return 1
            if len(got_executed) != 1 or len(want_executed) != 1:
                print("%s: executed %s" % (mode, got_executed))
                return 1
            if got_other - want_other:
                print("%s: uring calls %s" % (mode, sorted(got_other - want_other)))
                return 1
            total += len(got)
        print("environment: %d paths looked at, no canary of %d but the default VFS's own" % (total, len(POISON)))
        return 0
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
