#!/usr/bin/env python3
"""After sqlite3_close nothing of a file is left: its file system can be unmounted at once, each time.

Other threads keep rings busy meanwhile. What a ring has opened itself, or a request that is not quite done, keeps a
file system busy for some milliseconds, which one umount sees and the next does not: so there are many rounds.

`test_umount.py --ends` measures something that is not promised: how long umount says EBUSY after a process has ended,
or become another program, with its database open.
"""
import ctypes
import errno
import os
import signal
import subprocess
import sys
import threading
import time

import mounted

# For the default VFS fewer: it shows that nothing else here keeps a new file system busy.
ROUNDS = {mounted.DEFAULT: 6, mounted.AUTO: 24, mounted.RING: 12}
if "UMOUNT_ROUNDS" in os.environ:
    ROUNDS = dict.fromkeys(ROUNDS, int(os.environ["UMOUNT_ROUNDS"]))
libc = ctypes.CDLL(None, use_errno=True)


def mount(where):
    """The loop device goes with the mount, and that with the namespace, whatever becomes of this process."""
    mounted.sh("mount -o loop {0}/image {0}/disk".format(where))


def umount(path):
    """True: it was busy."""
    if libc.umount2(path.encode(), 0) == 0:
        return False
    if ctypes.get_errno() != errno.EBUSY:
        raise SystemExit("umount: " + os.strerror(ctypes.get_errno()))
    return True


def keep_rings_busy(path, parameters, stop):
    db = mounted.connect(path, parameters)
    db.script("PRAGMA journal_mode=wal; PRAGMA synchronous=full; CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
    while not stop.is_set():
        db.script("INSERT OR REPLACE INTO t VALUES(1, zeroblob(300000))")
    db.close()


def work(path, parameters, number):
    """A commit of many pages, and reads of what is not in the cache."""
    db = mounted.connect(path, parameters)
    db.script("PRAGMA journal_mode=%s; PRAGMA cache_size=10" % ("wal", "delete")[number % 2])
    db.script("CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b);"
              "INSERT OR REPLACE INTO t VALUES(1, randomblob(500000))")
    db.query("SELECT length(b), substr(b, 400000, 1) FROM t")
    if number % 4 > 1:
        db.script("BEGIN; UPDATE t SET b=randomblob(500000)")  # sqlite3_close rolls it back
    db.close()


def rounds(where, parameters):
    mounted.load()
    stop, disk = threading.Event(), where + "/disk"
    os.makedirs(where + "/others", exist_ok=True)
    mounted.sh("rm -f %s/others/*" % where)
    others = [threading.Thread(target=keep_rings_busy, args=("%s/others/%d.db" % (where, i), parameters, stop))
              for i in range(2)]
    for thread in others:
        thread.start()
    busy = 0
    for number in range(ROUNDS[parameters]):
        mount(where)
        work(disk + "/x.db", parameters, number)
        if umount(disk):
            busy += 1
            while umount(disk):
                time.sleep(0.001)
    stop.set()
    for thread in others:
        thread.join()
    mounted.answer(busy)


# ---- not promised ----


def open_and_end(where, parameters, how):
    mounted.load()
    db = mounted.connect(where + "/disk/x.db", parameters)
    db.script("PRAGMA journal_mode=wal; CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b);"
              "INSERT OR REPLACE INTO t VALUES(1, randomblob(500000)); SELECT length(b) FROM t")
    print("ready", flush=True)
    if how == "exit":
        sys.exit(0)
    if how == "_exit":
        os._exit(0)
    if how == "exec":
        os.execv(sys.executable, [sys.executable, "-c", "print('ready', flush=True); input()"])
    while how == "kill -9 at work":
        db.script("UPDATE t SET b=randomblob(500000)")
    signal.pause()


def ends(where):
    disk, count = where + "/disk", int(os.environ.get("UMOUNT_ROUNDS", "25"))
    for parameters in mounted.flavours():
        for how in ("exit", "_exit", "exec", "kill -9", "kill -9 at work"):
            times = []
            for _ in range(count):
                mount(where)
                mounted.sh("rm -f %s/x.db*" % disk)  # each leaves its WAL behind
                child = subprocess.Popen([sys.executable, "-B", sys.argv[0], "end", parameters, how],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                if child.stdout.readline() != b"ready\n":
                    raise SystemExit("the database could not be used")
                if how == "exec":
                    child.stdout.readline()
                elif how.startswith("kill"):
                    time.sleep(0.02 if "work" in how else 0)
                    child.kill()
                if how != "exec":
                    child.wait()
                start, was_busy = time.monotonic(), False
                while umount(disk):
                    was_busy = True
                    time.sleep(0.0005)
                if was_busy:
                    times.append(time.monotonic() - start)
                child.communicate(b"\n")
            print("%-33s %-15s busy %2d of %d, for %.1f to %.1f ms" % (
                parameters, how, len(times), count, 1000 * min(times, default=0),
                1000 * max(times, default=0)), flush=True)


def main(where, ask_ends):
    os.mkdir(where + "/disk")
    mounted.sh("truncate -s 32M {0}/image && mkfs.ext4 -q -F {0}/image".format(where))
    if ask_ends:
        ends(where)
        return 0
    busy = {parameters: mounted.case("rounds", parameters) for parameters in mounted.flavours()}
    for parameters, count in busy.items():
        print("%-33s busy %d of %d" % (parameters, count, ROUNDS[parameters]))
    if busy.pop(mounted.DEFAULT) > 0:
        mounted.skip("something else keeps new file systems busy here: the default VFS could not unmount each time")
    return 1 if sum(busy.values()) > 0 else 0


if __name__ == "__main__":
    directory = mounted.enter()
    if sys.argv[1:2] == ["rounds"]:
        sys.exit(rounds(directory, *sys.argv[2:]))
    if sys.argv[1:2] == ["end"]:
        open_and_end(directory, *sys.argv[2:])
    sys.exit(main(directory, sys.argv[1:] == ["--ends"]))
