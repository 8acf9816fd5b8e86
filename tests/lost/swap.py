"""Two databases of which one takes the place of the other while it is open: what test_mounted_over.py and
test_swapped.py share.

The first connection has opened the first database. Then the path leads to the second one, and a second connection of
the process opens that. Both read through an index, scan, write and commit, in turns. Whatever the path leads to, each
has the file that it has opened and locked: what they read, and what then is in both files, is as with the default
VFS.
"""
import os
import subprocess
import sys

import mounted

ROWS = 3000
MAKE = ("PRAGMA page_size=4096; PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, k, b);"
        "WITH c(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM c WHERE i<%d) "
        "INSERT INTO t SELECT i, i*1201%%%d, '%s'||printf('%%.600c', 'x') FROM c;"
        "CREATE INDEX i ON t(k)")
FORGET = ("import os, sys\nfd = os.open(sys.argv[1], os.O_RDONLY)\nos.fsync(fd)\n"
          "os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)")


def make(path, mode, text):
    db = mounted.connect(path, mounted.DEFAULT)
    db.script("PRAGMA synchronous=off;" + MAKE % (mode, ROWS - 1, ROWS, text))
    db.close()


def forget(path):
    """Nothing of the file stays in the kernel's cache. Another process does it: close(2) here drops locks."""
    subprocess.run([sys.executable, "-c", FORGET, path], check=True)


def content(path):
    db = mounted.connect(path, mounted.DEFAULT)
    seen = [db.query("SELECT substr(b,1,6), count(*) FROM t GROUP BY 1"), db.value("PRAGMA integrity_check")]
    db.close()
    return seen


def ranged(db, low, high):
    """What the rows of a range of the index say: they lie scattered in the table."""
    seen = {}
    for (text,) in db.query("SELECT substr(b,1,6) FROM t INDEXED BY i WHERE k BETWEEN ? AND ?", low, high):
        seen[text] = seen.get(text, 0) + 1
    return seen


def use(parameters, path, mode, moment, swap):
    """The connections' work. swap() makes the path lead to the second database."""
    mounted.load()
    late = moment == "opened" and parameters == mounted.RING  # no ring before the path leads elsewhere
    first = mounted.connect(path, mounted.AUTO if late else parameters)
    first.script("PRAGMA cache_size=20; PRAGMA synchronous=off")
    seen = [first.value("PRAGMA user_version")]
    if moment != "opened":
        seen.append(ranged(first, 0, 200))
    if moment == "writing":
        first.script("BEGIN; UPDATE t SET b='SPILL1'||substr(b,7) WHERE k BETWEEN 2500 AND 2800")
    swap()
    if late:
        first.script("PRAGMA uring_backend=uring")
    second = mounted.connect(path, parameters)
    second.script("PRAGMA cache_size=20; PRAGMA synchronous=off")
    for db, name in ((first, "CHANG1"), (second, "CHANG2")):
        seen.append(ranged(db, 300, 1100))
        seen.append(mounted.code_of(db.script, "UPDATE t SET b='%s'||substr(b,7) WHERE k BETWEEN 700 AND 1500" % name))
        seen.append(ranged(db, 600, 1600))
    for db in (first, second):
        if db.in_transaction:
            seen.append(mounted.code_of(db.script, "COMMIT"))
        seen.append(db.query("SELECT substr(b,1,6), count(*) FROM t GROUP BY 1"))
        seen.append(db.value("PRAGMA integrity_check"))
        seen.append(mounted.code_of(db.script, "PRAGMA wal_checkpoint(TRUNCATE)"))
    enters = mounted.stats(first).get("enters", 0)
    seen.append([mounted.code_of(first.close), mounted.code_of(second.close)])
    return seen, enters


def compare(cases):
    """Each case is (name, run); run(parameters) answers [seen, enters]. Returns how many differ."""
    failures = 0
    flavours = mounted.flavours()
    for name, run in cases:
        want = run(mounted.DEFAULT)[0]
        for parameters in flavours[1:]:
            got, enters = run(parameters)
            good = got == want and (enters > 0 or parameters != mounted.RING)
            failures += not good
            print("%-40s %-33s enters %d%s" % (name, parameters, enters, "" if good else "  DIFFERENT"))
            for i, (a, b) in enumerate(zip(want, got)):
                if a != b:
                    print("    step %d\n      default VFS: %s\n      uring:       %s" % (i, a, b))
    return failures
