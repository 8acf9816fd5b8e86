#!/usr/bin/env python3
"""A write-back error that somebody else is told first.

What a transaction has spilled cannot be written back: the device is full. Another process syncs the file and is told
so. Then there is room again and the transaction commits. The kernel reports such an error once to each open file
description (errseq_t), so the descriptor that has been open all the time must be told too, and with it the COMMIT:
what was spilled is not on the device. A descriptor that was opened after the error would be told nothing.

As with the default VFS: the same code from COMMIT or the checkpoint, and it is not 0.
"""
import os
import subprocess
import sys

import mounted

NOT_TOLD = "the default VFS is told of no error here: nothing can be compared"
ROWS = "WITH c(i) AS (SELECT %d UNION ALL SELECT i+1 FROM c WHERE i<%d) "


class Disk:
    """An ext4 file system on a loop device whose blocks are not there yet, and which can be full of a sudden."""

    def __init__(self, directory):
        self.below, self.path = os.path.join(directory, "below"), os.path.join(directory, "disk")
        os.mkdir(self.below)
        os.mkdir(self.path)
        image = self.below + "/image"
        mounted.sh(f"mount -t tmpfs -o size=24M none {self.below} && truncate -s 96M {image}")
        mounted.sh(f"mkfs.ext4 -q -F -O ^has_journal -E lazy_itable_init=1 {image}")
        mounted.sh(f"mount -o loop,errors=continue {image} {self.path}")

    def fill(self):
        """All but half a MiB."""
        free = os.statvfs(self.below)
        fd = os.open(self.below + "/filler", os.O_CREAT | os.O_RDWR)
        os.posix_fallocate(fd, 0, free.f_bavail * free.f_bsize - (1 << 19))
        os.close(fd)

    def make_room(self):
        os.unlink(self.below + "/filler")

    def umount(self):
        mounted.sh(f"umount -l {self.path} && umount -l {self.below}")


def sync_elsewhere(path):
    """What another process is told when it syncs the file."""
    program = ("import os, sys\nfd = os.open(sys.argv[1], os.O_RDWR)\n"
               "try: os.fsync(fd)\nexcept OSError as e: print(e.errno)")
    return subprocess.run([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True).stdout.strip()


def use_others(directory, parameters, others):
    """Other databases of the process, so that rings have been used for something else."""
    for i in range(8):
        if len(others) < 8:
            db = mounted.connect(f"{directory}/other-{i}.db", parameters)
            db.script("PRAGMA journal_mode=wal; CREATE TABLE t(a)")
            others.append(db)
        others[i].script("INSERT INTO t VALUES(randomblob(200000))")


def prepared(path, parameters, mode, synchronous):
    db = mounted.connect(path, parameters)
    # Without a journal: what that had been written to would be there even on a device that is full.
    db.script("PRAGMA journal_mode=off; CREATE TABLE t(a INTEGER PRIMARY KEY, b);" +
              ROWS % (1, 1000) + "INSERT INTO t SELECT i, zeroblob(3000) FROM c")
    db.script(f"PRAGMA journal_mode={mode}; PRAGMA synchronous={synchronous};"
              "PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=10;"
              "INSERT INTO t VALUES(5001, 1); INSERT INTO t VALUES(5002, 1)")
    return db


def in_wal(disk, db):
    """Frames were spilled into the WAL."""
    disk.fill()
    db.script("BEGIN; UPDATE t SET b=randomblob(3000) WHERE a<900")
    yield "-wal"
    db.script("UPDATE t SET b=randomblob(3000) WHERE a BETWEEN 901 AND 1000; COMMIT")


def in_database(disk, db):
    """Pages were spilled into the database, behind its end; the journal is on the device."""
    db.script("BEGIN; UPDATE t SET b=randomblob(3000) WHERE a<30; " +
              ROWS % (10001, 10040) + "INSERT INTO t SELECT i, randomblob(3000) FROM c")
    mounted.sh("sync -f " + disk.path)
    disk.fill()
    db.script(ROWS % (20001, 20900) + "INSERT INTO t SELECT i, randomblob(3000) FROM c")
    yield ""
    db.script("COMMIT")


def at_the_checkpoint(disk, db):
    """The transactions were committed without a sync, which is due at the checkpoint."""
    disk.fill()
    db.script("UPDATE t SET b=randomblob(3000) WHERE a<900")
    yield "-wal"
    db.script("PRAGMA wal_checkpoint(FULL)")


SCENARIOS = {"wal": (in_wal, "wal", "full"), "delete": (in_database, "delete", "full"),
             "checkpoint": (at_the_checkpoint, "wal", "normal")}


def run(directory, parameters, scenario, with_others):
    steps, mode, synchronous = SCENARIOS[scenario]
    directory = os.path.join(directory, "case")
    os.mkdir(directory)
    mounted.load()
    others, disk = [], Disk(directory)
    db = prepared(disk.path + "/x.db", parameters, mode, synchronous)
    if with_others:
        use_others(directory, parameters, others)
    before = steps(disk, db)
    told = sync_elsewhere(disk.path + "/x.db" + next(before))
    if with_others:
        use_others(directory, parameters, others)
    disk.make_room()
    code = mounted.code_of(next, before, None)
    stats = mounted.stats(others[0]) if others else {}
    disk.umount()
    mounted.answer({"told": told, "code": code, "enters": stats.get("enters", 0)})
    sys.stdout.flush()
    os._exit(0)  # what is still open cannot be closed in peace


def main(directory):
    failures = 0
    flavours = mounted.flavours()
    for scenario in SCENARIOS:
        for others in ("", "others") if scenario == "wal" else ("others",):
            want = None
            for parameters in flavours:
                got = mounted.case(parameters, scenario, others)
                mounted.sh(f"rm -rf {directory}/case")
                want = want or got
                if not want["told"] or not want["code"]:
                    mounted.skip(NOT_TOLD)
                good = got["code"] == want["code"] and got["told"] != ""
                if others and parameters != mounted.DEFAULT and mounted.RING in flavours:
                    good = good and got["enters"] > 0
                failures += not good
                print("%-10s %-6s %-33s another process: errno %s, then: %d, enters %d%s" % (
                    scenario, others, parameters, got["told"], got["code"], got["enters"],
                    "" if good else "  WRONG, as default: %d" % want["code"]))
    return failures


if __name__ == "__main__":
    where = mounted.enter()
    if len(sys.argv) > 1:
        run(where, sys.argv[1], sys.argv[2], sys.argv[3] != "")
    sys.exit(main(where) != 0)
