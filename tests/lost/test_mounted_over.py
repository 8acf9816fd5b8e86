#!/usr/bin/env python3
"""Another file system is mounted over the one whose database is open (swap.py). Both databases have the same inode
number.
"""
import os
import sys

import mounted
import swap

CASES = [("ext4", "delete", "opened"), ("ext4", "delete", "used"), ("ext4", "wal", "used"),
         ("tmpfs", "delete", "opened")]


def mount(where, kind, number):
    """ext4: the image of that number. tmpfs: a new one."""
    image = "%s/image%d" % (where, number)
    mounted.sh("mount -o loop %s %s/disk" % (image, where) if kind == "ext4" else "mount -t tmpfs none %s/disk" % where)


def make_images(where):
    os.mkdir(where + "/disk")
    for mode in ("delete", "wal"):
        for number, text in ((1, "FIRST_"), (2, "SECOND")):
            mounted.sh("truncate -s 32M {0}/image{1} && mkfs.ext4 -q -F {0}/image{1}".format(where, number))
            mount(where, "ext4", number)
            swap.make(where + "/disk/x.db", mode, text)
            mounted.sh("umount %s/disk && mv %s/image%d %s/%s%d" % (where, where, number, where, mode, number))


def run(where, parameters, kind, mode, moment):
    """In a mount namespace that other cases are in too: nothing stays mounted."""
    mounted.load()
    disk, path, inodes = where + "/disk", where + "/disk/x.db", []
    if kind == "ext4":
        for number in (1, 2):
            mounted.sh("cp --sparse=always %s/%s%d %s/image%d" % (where, mode, number, where, number))
    mount(where, kind, 1)
    if kind == "tmpfs":
        swap.make(path, mode, "FIRST_")

    def over():
        inodes.append(os.stat(path).st_ino)
        mount(where, kind, 2)
        if kind == "tmpfs":
            swap.make(path, mode, "SECOND")
        inodes.append(os.stat(path).st_ino)

    seen, enters = swap.use(parameters, path, mode, moment, over)
    seen.append(swap.content(path))
    mounted.sh("umount " + disk)
    seen.append(swap.content(path))
    mounted.sh("umount " + disk)
    if inodes[0] != inodes[1]:
        raise SystemExit("%s: inode numbers %s: nothing is proven" % (kind, inodes))
    mounted.answer([seen, enters])


def main(where):
    mounted.load()
    make_images(where)
    return swap.compare([(", ".join(c), lambda parameters, c=c: mounted.case(parameters, *c)) for c in CASES])


if __name__ == "__main__":
    directory = mounted.enter()
    if len(sys.argv) > 1:
        sys.exit(run(directory, *sys.argv[1:]))
    sys.exit(main(directory) != 0)
