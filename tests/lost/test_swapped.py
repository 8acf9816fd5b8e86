#!/usr/bin/env python3
"""Another database is renamed over the one that is open, or the directories of two change places (swap.py)."""
import os
import sys

import mounted
import swap


def rename_over(where):
    os.rename(where + "/there/x.db", where + "/here/x.db")
    return where + "/here/kept.db", where + "/here/x.db"


def rename_directories(where):
    os.rename(where + "/here", where + "/old")
    os.rename(where + "/there", where + "/here")
    return where + "/old/x.db", where + "/here/x.db"


WAYS = {"renamed over": rename_over, "directories renamed": rename_directories}
# A WAL goes by its name, on every VFS: two databases of one name would have one.
CASES = [(way, mode, moment) for way in WAYS for mode in ("delete", "wal") for moment in ("opened", "used", "writing")
         if (mode, way) != ("wal", "renamed over") and (mode, moment) not in (("wal", "opened"), ("delete", "writing"))]


def run(where, parameters, way, mode, moment):
    mounted.load()
    where = where + "/case"
    for name, text in (("here", "FIRST_"), ("there", "SECOND")):
        os.makedirs(where + "/" + name)
        swap.make("%s/%s/x.db" % (where, name), mode, text)
        swap.forget("%s/%s/x.db" % (where, name))
    os.link(where + "/here/x.db", where + "/here/kept.db")
    files = []
    seen, enters = swap.use(parameters, where + "/here/x.db", mode, moment, lambda: files.extend(WAYS[way](where)))
    mounted.answer([seen + [swap.content(file) for file in files], enters])


def main(where):
    def case(parameters, *arguments):
        mounted.sh("rm -rf %s/case" % where)
        return mounted.case(parameters, *arguments)
    return swap.compare([(", ".join(c), lambda parameters, c=c: case(parameters, *c)) for c in CASES])


if __name__ == "__main__":
    directory = mounted.enter(mounts=False)
    if len(sys.argv) > 1:
        sys.exit(run(directory, *sys.argv[1:]))
    sys.exit(main(directory) != 0)
