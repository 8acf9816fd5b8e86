#!/usr/bin/env python3
"""Writes the seeds of the fuzz targets, tests/fuzz/seeds/TARGET/NAME: python3 tests/fuzz/seeds.py

They are few and small; what a target finds from there stays in the build directory. Steps of fuzz_calls, fuzz_pages and fuzz_walindex are
given by name and translated by the table in the target's source, so run this again when that table changes.
"""
import os
import re
import sqlite3
import struct
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))


def names_of(target):
    """The steps of a target, in the order of their codes."""
    with open(os.path.join(HERE, "fuzz_%s.c" % target), encoding="utf-8") as f:
        table = re.search(r"steps\[\]\)\([^)]*\) = \{(.*?)\};", f.read(), re.S).group(1)
    return re.findall(r"\w+", table)


def steps(*calls):
    """Bytes as they are (the first one is the page size by number, and what is there at the beginning), and steps: "step_commit 6 3" or,
    of the second connection, "2 step_commit 6 3"."""
    names = names_of("calls")
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


# ---- fuzz_pages and fuzz_walindex ----

def coded(target):
    """A function that makes a step of its name and what it needs: numbers for single bytes, or bytes."""
    names = names_of(target)

    def step(name, *needs):
        return bytes((names.index(name),)) + b"".join(bytes((n,)) if isinstance(n, int) else n for n in needs)
    return step


def word(n):
    return struct.pack(">H", n)


def number(n):
    return b"\0" + word(n)


def far(n):
    """n * 65537 + 1, in place of a number."""
    return b"\3" + word(n)


def integer(n):
    return b"\0" + struct.pack(">h", n)


def node(i):
    """The page in the map's node i, in place of a number."""
    return bytes((4 * (i - 1) + 1,)) + word(0)


def child(i, position):
    return bytes((4 * (i - 1) + 2,)) + word(position)


def database(reserved, *sql):
    """The pages of a database of 512 bytes each, from 1."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "d.db")
        db = sqlite3.connect(path, isolation_level=None)
        db.executescript("PRAGMA page_size=512; VACUUM")
        db.close()
        with open(path, "r+b") as f: # SQLite has no SQL for it
            f.seek(20)
            f.write(bytes((reserved,)))
            f.seek(105)
            f.write(word(512 - reserved))
        db = sqlite3.connect(path, isolation_level=None)
        for statement in sql:
            db.execute(statement)
        db.close()
        with open(path, "rb") as f:
            data = f.read()
    return [None] + [data[i:i + 512] for i in range(0, len(data), 512)]


page_step = coded("pages")


def pieces(pgno, page, how=0):
    """The page as step_pieces wants it: what is not zero, with where it is."""
    runs = [(m.start(), m.group()) for m in re.finditer(rb"[^\0](?:.{0,250}[^\0])??(?=\0{4}|\Z)|[^\0].{0,250}", page, re.S)]
    return page_step("step_pieces", number(pgno), 4 * len(runs) + how, *(word(at) + bytes((len(run),)) + run for at, run in runs))


def pages_of(pages, *kinds, most=900):
    """The format, and pages of these kinds, the interior ones first, as many as an input may have bytes."""
    out = b"\0" + page_step("step_format", 100, pages[1][:100])
    for kind in kinds:
        for pgno, page in enumerate(pages):
            if page is not None and page[100 if pgno == 1 else 0] == kind:
                step = pieces(pgno, page)
                out += step if len(out) + len(step) <= most else b""
    return out


def recipe(kind, count, first_child, stride, first_key=0, key_step=1, type_=0, text_bytes=0):
    return (bytes((kind,)) + word(count if count < 128 else 32768 + count) + number(first_child) + bytes((stride,)) + integer(first_key) + integer(key_step) +
            bytes((type_, text_bytes)))


TABLE, INDEX, INDEX_LEAF, TABLE_LEAF = range(4)  # kinds of a recipe
ROWS = "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO t SELECT i * 7 %% 97 - 30, zeroblob(%d) FROM n"
TABLE_OF = ("CREATE TABLE t(a, b)", ROWS % (40, 120))
TABLE_INDEX = ("CREATE TABLE t(a, b)", "CREATE INDEX i ON t(b, a)", ROWS % (24, 60))
DEEP = ("CREATE TABLE t(a, b)", ROWS % (80, 400))
forwards, backwards, seen = page_step("step_walk", 2, child(1, 0)), page_step("step_walk", 0, child(2, 3)), page_step("step_leaf_seen", child(1, 1))
ASK = (forwards + backwards + seen + page_step("step_roots", 1, child(1, 2)) + page_step("step_leaf", node(1), integer(11)) +
       page_step("step_leaf", node(2), integer(-3)) + page_step("step_leaf", child(1, 0), integer(30000)))


def tree(fanout, depth, first, stride, order, left_out=0, seen_=0, row=0):
    return page_step("step_tree", fanout - 2, depth - 1, word(first), word(stride), integer(row), order, left_out, seen_)


def blocks(first, count, tried, how, how_in_the_middle):
    """What step_blocks wants for one of its rounds."""
    return first + bytes((count,)) + tried + bytes((how, how_in_the_middle))


PAGES = {
    # pages that SQLite has written
    "table": pages_of(database(0, *TABLE_OF), 5, 13) + ASK,
    "index": pages_of(database(0, *TABLE_INDEX), 2, 10) + ASK,
    "reserved": pages_of(database(24, *TABLE_INDEX), 10, 5) + ASK,
    "deep": pages_of(database(0, *DEEP), 5) + page_step("step_leaf_seen", child(2, 1)) + ASK,
    # the same recipe for each kind, and rowids of every size
    "kinds": bytes((2,)) + b"".join(page_step("step_made", number(2 + kind), recipe(kind, 9, 20, 1, -400, 100, 1, 3)) for kind in range(4)) + ASK,
    "rowids": b"\1" + b"".join(page_step("step_made", number(9), recipe(INDEX_LEAF, 7, 0, 0, -300, 99, type_, 2 + 9 * type_)) for type_ in range(10)) +
              page_step("step_made", number(9), recipe(INDEX_LEAF, 3, 0, 0, -300, 99, 1, 240)),
    "wide-rowids": b"\1" + page_step("step_made", number(9), recipe(INDEX_LEAF, 7, 0, 0, 0, 0, 6, 0)[:-8] + bytes((184, 129, 1, 190, 64, 3, 6, 5))),
    "wide-keys": b"\1" + page_step("step_made", number(9), recipe(TABLE, 7, 30, 1)[:-8] + bytes((184, 129, 1, 190, 64, 3, 0, 0))),
    "page-1": b"\0" + page_step("step_made", number(1), recipe(TABLE, 12, 2, 1, 5, 5)) + page_step("step_made", number(1), recipe(INDEX_LEAF, 5, 0, 0, 9, 1, 2, 7)),
    # the largest page, full of pointers
    "most-cells": bytes((135,)) + page_step("step_made", number(5), recipe(TABLE, 32767, 9, 1)) + page_step("step_made", number(6), recipe(INDEX, 32767, 9, 1)) + ASK,
    # cells beyond the end, and in the pointers; more cells than there is room for; varints and records that do not end
    "cell-beyond": b"\0" + page_step("step_pieces", number(3), 4, word(0), 18, b"\x05\0\0\0\2\0\0\0\0\0\0\7\1\xfe\1\xff\0\4") +
                   page_step("step_pieces", number(4), 4, word(0), 16, b"\x0a\0\0\0\4\0\0\0\1\xfd\1\xff\xff\xff\0\4"),
    "count-beyond": b"\0" + page_step("step_pieces", number(3), 4, word(0), 12, b"\x05\0\0\xff\xff\0\0\0\0\0\0\7") +
                    page_step("step_pieces", number(3), 4, word(0), 12, b"\x05\0\0\0\xfb\0\0\0\0\0\0\7"),
    "varint-beyond": b"\0" + page_step("step_pieces", number(3), 8, word(0), 10, b"\x0a\0\0\0\1\0\0\0\1\xf8", word(504), 8, b"\xff" * 8) +
                     page_step("step_pieces", number(4), 8, word(0), 14, b"\x05\0\0\0\1\0\0\0\0\0\0\7\1\xf8", word(504), 8, b"\xff" * 8),
    "record-beyond": b"\0" + page_step("step_pieces", number(3), 8, word(0), 12, b"\x0a\0\0\0\2\0\0\0\1\xfa\1\xfc", word(506), 6, b"\x30\x2f\3\x7f\6\6") +
                     page_step("step_pieces", number(3), 8, word(0), 10, b"\x0a\0\0\0\1\0\0\0\1\xfb", word(507), 5, b"\4\x7f\1\1\1") +
                     page_step("step_pieces", number(3), 8, word(0), 10, b"\x0a\0\0\0\1\0\0\0\1\xfb", word(507), 4, b"\3\2\6\x55"),
    # a page that is its own child at both ends, and two that are each other's
    "itself": b"\0" + page_step("step_made", number(5), recipe(TABLE, 3, 5, 0, 10, 10)) + page_step("step_walk", 2, number(5)) + page_step("step_walk", 3, number(3)) +
              page_step("step_leaf_seen", number(5)) + page_step("step_roots", 1, number(5)) + page_step("step_leaf", number(5), integer(11)) + page_step("step_made", number(8), recipe(TABLE, 0, 8, 0)) +
              page_step("step_walk", 2, number(8)) + page_step("step_walk", 0, number(8)),
    "each-other": b"\0" + page_step("step_made", number(5), recipe(TABLE, 0, 6, 0)) + page_step("step_made", number(6), recipe(TABLE, 0, 5, 0)) +
                  page_step("step_walk", 2, number(5)) + page_step("step_walk", 0, number(6)) + page_step("step_leaf_seen", number(5)) +
                  page_step("step_roots", 0, number(5)) + page_step("step_leaf", number(5), integer(1)) + page_step("step_made", number(5), recipe(TABLE, 1, 5, 1)) +
                  page_step("step_made", number(6), recipe(TABLE, 1, 4, 1)) + page_step("step_walk", 2, number(5)) + page_step("step_walk", 2, number(6)),
    # beside the page size, 128: as many cells as it takes to fill the map
    # the same pages again, changed, and after others have taken their nodes; places that are out of date
    "again": b"\2" + (page_step("step_made", number(5), recipe(TABLE, 60, 10, 1)) + page_step("step_made", number(5), recipe(TABLE, 60, 10, 1)) +
                     page_step("step_made", number(5), recipe(INDEX, 20, 11, 1)) + page_step("step_walk", 3, number(59)) + page_step("step_walk", 1, number(20)) +
                     page_step("step_made", number(5), recipe(TABLE, 3, 40, 2)) + page_step("step_walk", 3, number(20)) + page_step("step_walk", 1, number(20)) + page_step("step_made", number(5), recipe(TABLE, 6, 40, 1)) +
                     page_step("step_clear") +
                     page_step("step_walk", 3, number(0)) + page_step("step_made", number(5), recipe(INDEX, 2, 40, 2)) +
                     page_step("step_made", number(42), recipe(INDEX, 0, 90, 2)) + page_step("step_made", number(5), recipe(INDEX, 1, 40, 1)) +
                     page_step("step_walk", 2, number(90)) + page_step("step_pieces", number(7), 0)),
    "full": b"\x80" + page_step("step_many", number(2), word(560), word(1), recipe(TABLE, 3, 600, 1, 5, 5)) + page_step("step_trim") + ASK +
            page_step("step_many", number(2), word(40), word(256), recipe(INDEX, 60, 300, 3)) + page_step("step_trim"),
    "budget": bytes((135,)) + page_step("step_many", number(2), word(9), word(1), recipe(TABLE, 30000, 12, 1, 0, 2)) + page_step("step_trim"),
    # trees whose answers are known
    "trees": b"\x80" + tree(2, 5, 0, 0, 0) + tree(16, 2, 7, 5, 1, 0, 2, -300) + tree(3, 4, 1000, 255, 2, 6, 1, 77) + tree(8, 3, 2, 3, 3, 2, 9) + page_step("step_trim") +
             tree(17, 2, 0, 64, 0, 0, 255),
    "blocks": b"\3" + page_step("step_blocks", number(500), 3) + blocks(number(1), 60, number(10), 1, 0) + blocks(number(65), 30, number(70), 200, 9) +
              blocks(number(481), 63, number(499), 255, 255) + page_step("step_blocks", number(40), 1) + blocks(number(1), 39, number(5), 0, 0) +
              page_step("step_format", 100, b"SQLite format 3\0\0\1".ljust(100, b"\0")) +
              page_step("step_blocks", number(9), 2) + blocks(number(1), 3, number(2), 7, 0) + blocks(number(7), 40, number(9), 0, 131),
    # page 16 * 65537 + 1 has the place of pages 1 to 64
    "far-blocks": b"\3" + page_step("step_blocks", far(900), 5) + blocks(number(1), 60, number(10), 1, 0) + blocks(far(16), 63, number(10), 255, 201) +
                  blocks(number(1), 9, far(16), 1, 1) + blocks(far(8), 63, far(8), 1, 255) + blocks(far(899), 63, far(900), 1, 255),
    "reminded": b"\x87" + page_step("step_made", number(5), recipe(TABLE, 5000, 10, 1)) + page_step("step_made", number(6), recipe(TABLE, 5000, 6000, 1)) +
                page_step("step_made", number(5), recipe(TABLE, 5000, 10, 1)) + page_step("step_made", number(6), recipe(TABLE, 5000, 6000, 1)) +
                b"".join(page_step("step_remind", number(n)) for n in (10, 11, 5010, 2058, 6000, 9, 12000)) + page_step("step_clear") +
                page_step("step_remind", number(10)),
    "format": b"\0" + page_step("step_format", 0) + page_step("step_format", 99, b"SQLite format 3".ljust(99, b"\0")) +
              b"".join(page_step("step_format", 100, (b"SQLite format 3\0" + size + b"\1\1" + bytes((reserved,))).ljust(100, b"\0"))
                       for size, reserved in ((b"\0\1", 0), (b"\2\0", 32), (b"\2\0", 33), (b"\3\0", 0), (b"\1\0", 0), (b"\x80\0", 255))),
}

index_step = coded("walindex")


def numbered_frame(n):
    return b"\1" + word(n - 1)


def offsets(pgno, count):
    return index_step("step_offset", number(pgno), count - 1)


def frames(first, last):
    return index_step("step_frames", number(first), number(last))


AT_THE_END = pow(383, -1, 8192) * 8190 % 8192
HUNDRED = index_step("step_append", word(300), word(0), 1, word(99))  # pages 1 to 100, three times
WALINDEX = {
    # page size (by number), regions and how long they are; frames; snapshots of them
    "one": b"\0\1" + HUNDRED + index_step("step_header", 0, word(120)) + index_step("step_header", 2, word(260)) + index_step("step_snapshot", 2) + offsets(50, 20) +
           index_step("step_page", 0, number(1)) + index_step("step_page", 0, number(300)) + index_step("step_page", 1, number(2)) + offsets(100, 2) +
           index_step("step_snapshot", 1) + offsets(1, 1) + index_step("step_snapshot", 0) + offsets(1, 1),
    # the last of one region and the first of the next
    "three": b"\3\3" + index_step("step_append", word(9000), word(0), 1, word(3999)) + frames(1, 9000) + offsets(1, 8) + frames(4060, 4066) + offsets(55, 14) +
             frames(4063, 8158) + offsets(60, 5) + offsets(4000, 2) + frames(8159, 8159) + offsets(158, 3) +
             b"".join(index_step("step_page", 0, number(n)) for n in (4062, 4063, 8158, 8159, 9001, 12254, 12255)),
    # one page many times: its entries begin at the last slot but one and go on with the first
    "over-the-end": b"\0\1" + index_step("step_append", word(60), word(AT_THE_END - 1), 0, word(0)) + index_step("step_append", word(900), word(0), 64, word(65535)) +
                    frames(1, 960) + offsets(AT_THE_END - 1, 3) + offsets(1, 1) + offsets(65, 1) + frames(1, 9) + offsets(AT_THE_END, 1),
    # the last frame is the last of a region, and the next one is not there
    "two": b"\0\2" + index_step("step_append", word(8158), word(0), 1, word(3999)) + frames(1, 8158) + offsets(158, 3) + frames(1, 4062) + offsets(62, 2),
    "missing": b"\0\0" + frames(1, 5) + offsets(1, 2) + index_step("step_snapshot", 2) + index_step("step_page", 0, number(1)),
    "short": bytes((0, 1 | 2 << 2)) + HUNDRED + frames(1, 5) + offsets(1, 2) + index_step("step_snapshot", 2) + index_step("step_page", 0, number(1)),
    "shorter": bytes((0, 2 | 3 << 4)) + word(100) + index_step("step_append", word(5000), word(0), 1, word(65535)) + frames(1, 4062) + offsets(4060, 5) + frames(1, 4070) +
               offsets(3, 2) + index_step("step_page", 0, number(4063)) + index_step("step_page", 0, number(4062)),
    # tables without an end: every slot leads to a frame beyond the region, to one frame, to another frame each
    "full-table": b"\0\1" + index_step("step_fill", 0, word(8192), word(8192), word(0xffff), 0) + frames(1, 4062) + offsets(7, 2) +
                  index_step("step_fill", 0, word(8192), word(8192), word(3), 0) + offsets(0, 2) + index_step("step_fill", 0, word(8192), word(8192), word(1), 1) +
                  offsets(0, 1) + frames(4000, 0xffff) + offsets(0, 1),
    "header": b"\0\1" + HUNDRED + index_step("step_header", 128, word(0)) + index_step("step_header", 129 + 1, word(0)) + index_step("step_snapshot", 2) + offsets(1, 2) +
              index_step("step_frames", b"\3" + word(5), b"\3" + word(0)) + offsets(1, 1) + frames(0, 300) + offsets(100, 2),
    "offsets": b"\7\3" + HUNDRED + b"".join(index_step("step_page", how, number(n), word(at)) for how, n, at in
                                       ((128, 0, 55), (128, 0, 56), (161, 65535, 65535), (164, 65535, 0), (128, 1, 560))) + index_step("step_page", 0, numbered_frame(9)),
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
write("pages", PAGES)
write("walindex", WALINDEX)
