#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets, tests/fuzz/seeds/TARGET/NAME: python3 tests/fuzz/seeds.py

They are few and small; what a target finds from there stays in the build directory. Steps of fuzz_calls are given by name and
translated by the table in fuzz_calls.c, so run this again when that table changes.
"""
import os
import re
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def steps(*calls):
    """Bytes as they are (the first one is the page size by number, and what is there at the beginning), and steps: "step_commit 6 3" or,
    of the second connection, "2 step_commit 6 3"."""
    with open(os.path.join(HERE, "fuzz_calls.c"), encoding="utf-8") as f:
        table = re.search(r"steps\[\]\)\(connection \*\) = \{(.*?)\};", f.read(), re.S).group(1)
    names = re.findall(r"\w+", table)
    out = []
    for call in calls:
        if isinstance(call, int):
            out.append(call)
            continue
        second = call.startswith("2 ")
        name, *numbers = call[2 * second:].split()
        out.append(names.index(name) | 128 * second)
        out += [int(n) for n in numbers]
    return bytes(out)


AUTO, URING, SYNC = 0, 4, 8  # step_open's choice of a backend
WAL_OF_ONE, WAL_OF_BOTH, TREE = 8, 24, 32  # beside the page size: what is there at the beginning
LEAF = 4  # content of a page; 1 and 2 are followed by the first child and how many
OPEN_WAL = ("step_lock 0", "step_open_wal")
DOWN, UP = 128, 160  # step_read: eight pages
CALLS = {
    # pages, journal, sync, truncate, another connection that reads
    "rollback": (4, "step_open %d" % URING, "step_lock 0", "step_lock 1", "step_journal 0 0 0", "step_journal 25 2 0 7",
                 "step_journal 5 0 0", "step_lock 2", "step_write 0 5 4", "step_truncate 3", "step_sync 7", "step_journal 15 0 0",
                 "step_unlock 1", "2 step_open 0", "2 step_lock 0", "2 step_read 129", "2 step_db_size", "close_connection"),
    "temporary": (0, "step_temp 0 0 0", "step_temp 64 2 0 9", "step_temp 1 9 9 3", "step_temp 3 2 1", "step_temp 5 1 0", "step_temp 6 0 0",
                  "step_temp 7 0 0"),
    # frames, a commit with a sync, again (the sync is in the group then), read back, a checkpoint
    "wal": (4, "step_open %d" % URING) + OPEN_WAL + (
        "step_frames 12 1 4", "step_commit 6 9 4", "step_frames 8 3 8", "step_wal_size", "step_commit 6 7 8", "step_read 129",
        "step_end 0", "step_checkpoint 7 0", "step_begin 0", "step_read 2", "step_db_size", "step_end 0", "step_truncate_wal 5",
        "step_close_wal 1 0"),
    # more than 1 MiB in one transaction
    "large": (7, "step_open %d" % AUTO) + OPEN_WAL + ("step_frames 94 1 4", "step_wal_size", "step_commit 14 9 4", "step_checkpoint 7 0"),
    # rolled back, a savepoint, a page that is dirtied again, headers rewritten, padding
    "rewrites": (WAL_OF_ONE + 2, AUTO, "step_frames 16 1 4", "step_rewrite_page 0 1 8", "step_savepoint 0 2", "step_frames 4 7 8", "step_wal_size",
                 "step_end 1", "step_frames 4 1 4", "step_commit 0 9 4", "step_rewrite_headers 0 0", "step_after_commit 30", "step_end 1",
                 "step_wal_size"),
    # a reader holds back a checkpoint of another connection, and the restart of the WAL
    "two": (WAL_OF_BOTH + 2, URING, AUTO, "step_commit 14 9 4", "2 step_begin 0", "step_commit 14 7 8", "step_checkpoint 3 0", "2 step_read 129",
            "2 step_end 0", "2 step_checkpoint 7 0", "step_commit 7 3 12", "2 step_read 130", "close_connection 1 0"),
    # each makes a transaction that the other one's takes the place of
    "dropped": (WAL_OF_BOTH + 2, URING, AUTO, "step_frames 4 1 4", "step_read 0", "step_end 0", "2 step_frames 0 1 8", "2 step_commit 14 1 12",
                "step_read 0", "step_commit 14 2 8", "2 step_read 129", "step_checkpoint 7 0"),
    # exclusive locking mode
    "exclusive": (2, "step_open %d" % URING, "step_lock 2", "step_lock 2", "step_open_wal", "step_frames 12 1 4", "step_end 1", "step_commit 4 5 8",
                  "step_frames 4 1 4", "step_wal_size", "step_commit 14 5 8", "step_checkpoint 7 5", "close_connection 1 0"),
    "controls": (4, "step_open %d" % AUTO, "step_lock 2", "step_control 1 8", "step_control 0 40", "step_write 0 3 4", "step_control 4 5",
                 "step_fetch 1", "step_pragma 1", "step_pragma 128", "step_pragma 64", "step_control 8 0", "step_names", "step_reserved",
                 "step_read_header"),
    # a tree is read in order, written by its reader, read again; the same in the other direction
    "tree": (TREE + 4, "step_open %d" % URING, "step_lock 0", "step_read 0", "step_read 1", "step_read 2", "step_read %d" % (DOWN + 3),
             "step_read %d" % (DOWN + 11), "step_lock 2", "step_write 9 3 8", "step_read %d" % (DOWN + 6), "step_unlock 1", "step_unlock 0",
             "2 step_open 0", "2 step_lock 0", "2 step_lock 2", "2 step_write 5 4 12", "2 step_unlock 0", "step_lock 0", "step_read 0",
             "step_read 1", "step_read %d" % (UP + 11)),
    "tree-cut": (TREE + 4, "step_open %d" % URING, "step_lock 0", "step_read 0", "step_read 1", "step_read 2", "step_read 195", "step_lock 2",
                 "step_truncate 8", "step_read 70", "step_read %d" % (DOWN + 7)),
    # a page that says it has 65,285 cells, one whose cells are beyond its end
    "damaged": (TREE + 2, "step_open %d" % URING, "step_lock 0", "step_lock 2", "step_write 1 0 3 5 6 0 7 255 0 9 5 0 11 0",
                "step_write 2 0 3 5 6 0 25 255 0 27 255 0 29 255", "step_read 0", "step_read 1", "step_read 2"),
    # the same in the WAL, with a commit and a checkpoint by another connection between two read transactions
    "tree-wal": (TREE + WAL_OF_BOTH + 2, URING, URING, "step_read 0", "step_read 1", "step_read %d" % (DOWN + 3), "2 step_frames 12 5 8",
                 "2 step_commit 14 23 4", "step_read %d" % (DOWN + 6), "step_end 0", "2 step_checkpoint 7 0", "step_read 0", "step_read 1",
                 "step_read %d" % (DOWN + 3), "step_frames 6 4 1 3 8", "step_read %d" % (DOWN + 4), "step_savepoint 0 1",
                 "step_read %d" % (DOWN + 3), "step_end 0"),
}

OPTIONS = {
    "plain": b"uring_backend=sync&uring_commit=strict\nbackend=uring\nBACKEND=Auto\nstats\nlock\n",
    "wrong": b"uring_backend=ring\n",
    "not-yet": b"cache=shared&URING_commit=group\n",
    "mode": b"mode=ro&uring_lock=shared#x\nbackend=\nreadahead=0\nreadahead=-1\nreadahead=0120\nreadahead=121\nwriter=1\n",
    "escaped": b"uring%5fbackend=%73ync&&x=%00y\nback\"end='sync'\ncommit=group\n",
}


def frame(number, size, *edits):
    """edits: (offset, byte) in the page."""
    return struct.pack(">BBB", number, size, len(edits)) + b"".join(struct.pack(">HB", *e) for e in edits)


# What: kind + 4 * page size (by number), how: cache, mmap, synchronous, locking, backend.
WAL = {
    "frames": bytes((0, 0, 0, 0)) + frame(1, 0) + frame(2, 40, (3, 0), (4, 2), (100, 7)) + frame(3, 40),
    "frames-big-endian": bytes((4, 33, 0, 1)) + frame(1, 30, (28, 0)) + frame(9, 0) + frame(5, 30, (0, 5)),
    "frames-cut": bytes((0, 65, 0, 4)) + frame(1, 0) + frame(2, 20) + frame(2, 20),
    "wal-changed": bytes((1, 35, 1, 0, 24, 255, 3, 1, 9, 9, 0, 12, 1, 2, 0, 8)),
    "wal-right-again": bytes((9, 37, 0, 35, 0, 60, 9, 1, 9, 9, 8, 0, 1)),
    "raw": bytes((2, 1, 0)) + b"\x37\x7f\x06\x82\x00\x2d\xe2\x18\x00\x00\x02\x00",
    "journal": bytes((3, 1, 0, 0)),
    "journal-changed": bytes((7, 33, 1, 0, 30, 1, 2, 0, 11, 255, 4, 4, 4)),
    "exclusive": bytes((5, 56, 0, 32)),
}


def write(target, seeds):
    folder = os.path.join(HERE, "seeds", target)
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        if name not in seeds:
            os.remove(os.path.join(folder, name))
    for name, data in seeds.items():
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)


write("options", OPTIONS)
write("wal", WAL)
write("calls", {name: steps(*call) for name, call in CALLS.items()})
