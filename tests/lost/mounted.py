"""What the tests here share that mount file systems: a mount namespace of their own, loop devices, and connections.

A test calls enter() first: it runs again within `unshare -m`, so that what it mounts is gone with it, or says why it
cannot run. Each case is a process of its own, this program again: case(arguments) starts it and returns what it gave
to answer().
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import sqlite_capi as capi

SO = os.path.abspath(os.environ["URINGVFS_SO"])
DEFAULT, AUTO, RING = "vfs=unix", "vfs=uring&uring_backend=auto", "vfs=uring&uring_backend=uring"


def sh(command):
    done = subprocess.run(command, shell=True, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit("%s: exit code %d: %s" % (command, done.returncode, done.stdout + done.stderr))


def skip(why):
    print(why)
    sys.exit(77)


def check_mounts():
    if os.geteuid() != 0:
        skip("only root can mount file systems")
    if not all(shutil.which(tool) for tool in ("unshare", "losetup", "mkfs.ext4", "mount")):
        skip("unshare, losetup, mount or mkfs.ext4 is missing")
    if subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode != 0:
        skip("unshare -m is not allowed here")
    if subprocess.run(["losetup", "-f"], capture_output=True).returncode != 0:
        skip("there is no loop device")


def enter(mounts=True):
    """Returns the directory to work in, within a mount namespace of its own if the test mounts, or does not return."""
    inside = os.environ.get("LOST_DIRECTORY")
    if inside:
        return inside
    if mounts:
        check_mounts()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the directory goes
    with tempfile.TemporaryDirectory(prefix="uringvfs-lost.") as directory:
        environment = dict(os.environ, LOST_DIRECTORY=os.path.realpath(directory))
        command = (["unshare", "-m"] if mounts else []) + [sys.executable, "-B"] + sys.argv
        code = subprocess.run(command, env=environment).returncode
    sys.exit(code)


def case(*arguments):
    """Runs this program with the arguments, and returns what it answers."""
    done = subprocess.run([sys.executable, "-B", sys.argv[0]] + list(arguments), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0 or not done.stdout:
        raise SystemExit("%s: exit code %d: %s" % (arguments, done.returncode, done.stdout))
    return json.loads(done.stdout.splitlines()[-1])


def answer(value):
    print(json.dumps(value), flush=True)


def load():
    capi.load_extension(SO)


def connect(path, parameters):
    return capi.Connection("file:%s?%s" % (path, parameters))


def code_of(call, *arguments):
    """The extended result code of a call that may fail."""
    try:
        call(*arguments)
    except capi.Error as e:
        return e.code
    return 0


def stats(db):
    return json.loads(db.value("PRAGMA uring_stats") or "{}")


def rings():
    """Can this process have rings?"""
    load()
    return code_of(lambda: connect(os.path.join(os.environ["LOST_DIRECTORY"], "probe.db"), RING).close()) == 0


def flavours():
    """The default VFS first, then those that are compared with it."""
    return [DEFAULT, AUTO] + ([RING] if rings() else [])
