#!/usr/bin/env python3
"""The VFS "uring" from Python: load the extension once, then open databases with a URI.

    python3 notes.py build/uringvfs.so notes.db
"""
import pathlib
import sqlite3
import sys


def load_vfs(extension):
    """Registers the VFS. It stays registered when the connection that loaded it is closed."""
    loader = sqlite3.connect(":memory:")
    if not hasattr(loader, "enable_load_extension"):
        sys.exit("notes: this Python was built without enable_load_extension (Debian's /usr/bin/python3 has it)")
    loader.enable_load_extension(True)
    loader.load_extension(extension)
    loader.close()


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: notes.py EXTENSION DATABASE")
    load_vfs(sys.argv[1])

    # as_uri() quotes what a URI must have quoted.
    database = pathlib.Path(sys.argv[2]).resolve().as_uri() + "?vfs=uring"
    db = sqlite3.connect(database, uri=True)
    print(db.execute("PRAGMA journal_mode = wal").fetchone()[0])
    db.execute("CREATE TABLE IF NOT EXISTS note(id INTEGER PRIMARY KEY, text TEXT NOT NULL)")
    with db:  # one transaction
        db.executemany("INSERT INTO note(text) VALUES (?)", [("written from Python",), ("through vfs=uring",)])
    for row in db.execute("SELECT * FROM note"):
        print(*row, sep="  ")
    print(db.execute("PRAGMA uring_stats").fetchone()[0])
    db.close()


main()
