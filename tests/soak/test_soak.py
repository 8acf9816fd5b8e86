#!/usr/bin/env python3
"""Processes on the default VFS and on uring work for a long time on a WAL database and on one with a rollback journal.

The work and its checks are those of tests/interop/interop.py (a hundred accounts, each process's own sequence, checksums, rows that
no one may see; acknowledged sequence numbers in a file beside); added are VACUUM, integrity_check, faults and time. Each process works on
both databases. Four live from the beginning to the end, one on the default VFS, one each on uring_backend=auto and uring, one
on both VFSs at once: their memory and descriptors are watched. Three are killed by SIGKILL at random and replaced; they
also meet faults: RLIMIT_FSIZE below what a file needs, lifted after the first failure or a while, and no RLIMIT_MEMLOCK, so no rings.

Of the log each process keeps its last KEEP rows, so that an hour does not fill the disk: a lost commit still shows as a gap,
or as a sequence that ends before what was acknowledged.

Environment: SOAK_SECONDS (25), SOAK_SEED, SOAK_KEEP=1 (keep the files of a failure), URINGVFS_SO, URINGVFS_TEST_VFS (a VFS to stand in for uring).
"""
import ctypes
import glob
import json
import os
import random
import resource
import select
import signal
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))

import interop  # noqa: E402
import sqlite_capi as capi  # noqa: E402

# (role on the WAL database, role on the other one)
LIVES_ON = (("default", "default"), ("auto", "auto"), ("uring", "uring"), ("default", "uring"))
MORTALS = 3
ROLES = ("default", "auto", "uring")  # theirs, drawn
interop.ROLES = ("default",) * (len(LIVES_ON) + MORTALS)  # only their number counts here
interop.KEEP = 400
SIDES = ("wal", "rollback")
GROWTH = {"memory": 12 << 20, "descriptors": 8}  # from the second quarter to the last one
FULL, IOERR = 13, 10


# ---- a process ------------------------------------------------------------------------------------------------------


class Soaker(interop.Worker):
    """One process on one of the databases."""

    def __init__(self, *arguments, faulty):
        super().__init__(*arguments)
        self.faulty, self.limited = faulty, 0
        self.survived = os.open(self.path + ".faults", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def limit(self):
        """Files may not grow much further, or not even be written where they end now."""
        sizes = [os.path.getsize(p) for p in (self.path, self.path + "-wal") if os.path.exists(p)]
        room = int(max(sizes) * self.rng.uniform(0.5, 1.1))
        # The file of the acknowledged numbers is no part of the test.
        room = max(room, os.fstat(self.ack).st_size + (64 << 10))
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
        self.limited = self.rng.randint(5, 40)  # steps

    def lift(self):
        if self.limited:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.limited = 0

    def step(self):
        draw = self.rng.random()
        if self.db is None or draw > 0.025 or self.limited:
            super().step()
        elif draw < 0.003:
            self.transaction(self.db.script, "VACUUM")
            self.count("vacuum")
        elif draw < 0.005:
            interop.require(self.db.query("PRAGMA integrity_check") == [("ok",)], "integrity_check", self.path)
            self.count("integrity-check")
        elif self.faulty:
            self.limit()
        if self.limited == 1:
            self.lift()
        elif self.limited:
            self.limited -= 1

    def survive(self, error):
        if not error.busy:
            if not self.limited or error.code & 0xFF not in (FULL, IOERR):
                raise error
            self.lift()  # first: the rollback writes too
            os.write(self.survived, b"f")
        else:
            self.count("busy")
        self.rollback()
        if error.busy:
            time.sleep(self.rng.random() * 0.01)


def without_memlock():
    """No memory may be locked, root or not."""
    libc = ctypes.CDLL(None)
    header, data = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, data) == 0:
        data[0] &= ~(1 << 14)  # CAP_IPC_LOCK, effective
        libc.capset(header, data)
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (0, resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]))


def worker_main(directory, number, wal_role, rollback_role, mode, memlock, seed):
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    number, rng = int(number), random.Random(int(seed))
    if memlock == "0":
        without_memlock()
    interop.load_vfs()
    workers = [Soaker(role, kind, os.path.join(directory, side + ".db"), number, rng.getrandbits(48), faulty=number >= len(LIVES_ON))
               for side, role, kind in (("wal", wal_role, "wal"), ("rollback", rollback_role, mode))]
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    print("ready", flush=True)
    worker = workers[0]
    while not stopped:
        if not worker.limited:  # the limit is the process's: only the one that knows of it works then
            worker = rng.choice(workers)
        try:
            worker.step()
        except capi.Error as error:
            worker.survive(error)
    counts = {}
    for worker in workers:
        worker.lift()
        worker.rollback()
        worker.close()
        for key, n in worker.counts.items():
            counts[key] = counts.get(key, 0) + n
    print(json.dumps(counts), flush=True)


# ---- the test -------------------------------------------------------------------------------------------------------


def usage(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        memory = [int(line.split()[1]) << 10 for line in f if line.startswith("RssAnon:")]
    return {"memory": memory[0], "descriptors": len(os.listdir("/proc/%d/fd" % pid))}


class Soak:
    def __init__(self, directory, rng, rings):
        self.directory, self.rng, self.rings = directory, rng, rings
        self.mode = rng.choice(("delete", "truncate", "persist"))
        for side, mode in zip(SIDES, ("wal", self.mode)):
            interop.create(os.path.join(directory, side + ".db"), mode)
        self.counts, self.kills, self.samples = {}, 0, []
        self.workers = []
        for number in range(len(LIVES_ON) + MORTALS):
            self.workers.append(self.start(number))

    def start(self, number):
        rng, memlock = self.rng, "1"
        roles = LIVES_ON[number] if number < len(LIVES_ON) else (rng.choice(ROLES), rng.choice(ROLES))
        if number >= len(LIVES_ON) and rng.random() < 0.3:
            memlock = "0"
        if memlock == "0" or not self.rings:
            roles = tuple("auto" if role == "uring" else role for role in roles)
        return subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "worker", self.directory, str(number), *roles, self.mode, memlock,
             str(rng.getrandbits(48))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finished(self, number):
        worker = self.workers[number]
        output, error = worker.communicate()
        lines = [line for line in output.splitlines() if line.startswith("{")]
        interop.require(worker.returncode == 0 and lines, "process %d ended with %s:\n%s" % (number, worker.returncode, error[-3000:]))
        for key, n in json.loads(lines[-1]).items():
            self.counts[key] = self.counts.get(key, 0) + n

    def watch(self, seconds):
        """Works, kills and looks for so long."""
        begin = time.monotonic()
        kill_at = begin + 1
        said = begin
        while (now := time.monotonic()) < begin + seconds:
            for number, worker in enumerate(self.workers):
                if worker.poll() is not None:
                    self.finished(number)
                    raise AssertionError("process %d ended early" % number)
            self.samples.append(((now - begin) / seconds, [usage(w.pid) for w in self.workers[: len(LIVES_ON)]]))
            if now >= kill_at:
                self.replace(self.rng.randrange(len(LIVES_ON), len(self.workers)))
                kill_at = now + self.rng.uniform(0.1, 4)
            if now - said >= 60:
                said = now
                print("soak: %d s, %s" % (now - begin, self.summary()), flush=True)
            time.sleep(0.1)

    def replace(self, number):
        """Kills, or now and then ends it in peace, so that its counts are told."""
        ready = select.select([self.workers[number].stdout], [], [], 0)[0]  # it handles SIGTERM
        if ready and self.rng.random() < 0.3:
            self.workers[number].terminate()
            self.finished(number)
        else:
            self.workers[number].kill()
            self.workers[number].communicate()
            self.kills += 1
        self.workers[number] = self.start(number)

    def bytes_of(self, pattern):
        return sum(os.path.getsize(p) for p in glob.glob(os.path.join(self.directory, pattern)))

    def summary(self):
        return "%d acknowledged transactions, %d kills, %d faults survived" % (
            self.bytes_of("*.ack*") // 8, self.kills, self.bytes_of("*.faults"))

    def stop(self):
        for number in range(len(LIVES_ON), len(self.workers)):
            self.workers[number].kill()
            self.workers[number].communicate()
            self.kills += 1
        for worker in self.workers[: len(LIVES_ON)]:
            worker.terminate()
        for number in range(len(LIVES_ON)):
            self.finished(number)

    def end(self):
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.communicate()

    def verify(self):
        for side in SIDES:
            viewers = ["default", "auto"] + ["uring"] * self.rings
            self.rng.shuffle(viewers)
            digests = {interop.verify(os.path.join(self.directory, side + ".db"), viewer) for viewer in viewers}
            interop.require(len(digests) == 1, "the VFSs read different content", side, digests)

    def growth(self):
        """The highest of the second quarter against the highest of the last one."""
        grown = []
        for number, roles in enumerate(LIVES_ON):
            for what, bound in GROWTH.items():
                early = max(s[number][what] for at, s in self.samples if 0.25 <= at < 0.5)
                late = max(s[number][what] for at, s in self.samples if 0.75 <= at)
                print("soak: process %d (%s) %s %d -> %d" % (number, "/".join(roles), what, early, late))
                if late - early > bound:
                    grown.append("%s of process %d by %d, more than %d" % (what, number, late - early, bound))
        interop.require(not grown, "growth:", *grown)


def run_soak(directory, seconds, seed):
    soak = Soak(directory, random.Random(seed), interop.rings_available(directory))
    try:
        soak.watch(seconds)
        soak.stop()
        soak.verify()
        print("soak: wal and %s: %s; those that were not killed: %s" % (
            soak.mode, soak.summary(), " ".join("%s %d" % item for item in sorted(soak.counts.items()))))
        soak.growth()
    finally:
        soak.end()


if __name__ == "__main__":
    if len(sys.argv) == 9 and sys.argv[1] == "worker":
        worker_main(*sys.argv[2:])
    else:
        sys.exit(interop.run_test("soak", 25, "soak", run_soak))
