"""Processes on the default VFS and on uring write and read one database at once.

Four processes: two on the default VFS, one on uring with uring_backend=auto, one with uring_backend=uring. Each transaction
checks the database before it changes it: a hundred accounts whose sum is constant, the process's own sequence without a
gap, checksummed rows of the others, and no row of a transaction that was rolled back. After each commit the process
records the acknowledged sequence number in a file of its own; at the end every acknowledged row must be there.
Meanwhile: large transactions that spill, rollbacks, savepoints, checkpoints of all kinds, incremental vacuum, connections that
open and close with other settings. In the second half processes are killed by SIGKILL and replaced; at the end all
are killed at once, and a VFS chosen by the seed recovers what they left.

Environment: INTEROP_SECONDS (per mode, default 12), INTEROP_SEED, INTEROP_CHECKPOINTS (free: beside writers), URINGVFS_SO, URINGVFS_TEST_VFS (a VFS to stand in for uring).
"""
import contextlib
import ctypes
import fcntl
import json
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import zlib

import sqlite_capi as capi

ACCOUNTS, BALANCE = 100, 1000
TOTAL = ACCOUNTS * BALANCE
POISON = -1  # log.proc of rows that no one may ever see
CHURN_MAX = 1500
ROLES = ("default", "default", "auto", "uring")
KEEP = 1 << 62  # of the log, so many last rows of each process are kept
STAND_IN = os.environ.get("URINGVFS_TEST_VFS", "")
SO = os.environ.get("URINGVFS_SO", "")


# SQLite before 3.51.3 can lose commits when a checkpoint starts while a writer restarts the WAL (test_wal_reset.c shows it). There
# no checkpoint runs beside a writer unless INTEROP_CHECKPOINTS=free asks for it.
WAL_RESTART_IS_SAFE = (tuple(map(int, capi.libversion.split("."))) >= (3, 51, 3)
                       or os.environ.get("INTEROP_CHECKPOINTS") == "free")


def uri(path, role):
    if role == "default":
        return "file:%s?vfs=unix" % path
    if STAND_IN:
        return "file:%s?vfs=%s" % (path, STAND_IN)
    return "file:%s?vfs=uring&uring_backend=%s" % (path, role)


def load_vfs():
    if not STAND_IN:
        capi.load_extension(SO)


def checksum(proc, seq, payload):
    return zlib.crc32(payload, zlib.crc32(struct.pack("<qq", proc, seq)))


def require(condition, what, *values):
    if not condition:
        raise AssertionError("%s %r" % (what, values))


# ---- a worker process ---------------------------------------------------------------------------------------------


class Worker:
    def __init__(self, role, mode, path, proc, seed):
        self.role, self.mode, self.path, self.proc = role, mode, path, proc
        self.rng = random.Random(seed)
        self.stop = False
        self.counts = {}
        self.stats = {}
        self.db = None
        self.ack = os.open("%s.ack%d" % (path, proc), os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self.ack).st_size // 8 * 8
        self.acknowledged = struct.unpack("<q", os.pread(self.ack, 8, size - 8))[0] if size else 0
        self.guard = open(path + ".guard", "ab")
        self.seq = None  # what the database holds; read at the first transaction

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    @contextlib.contextmanager
    def guarded(self, how):
        if WAL_RESTART_IS_SAFE or self.mode != "wal":
            yield
            return
        fcntl.flock(self.guard, how)
        try:
            yield
        finally:
            fcntl.flock(self.guard, fcntl.LOCK_UN)

    def open(self):
        rng = self.rng
        self.db = capi.Connection(uri(self.path, self.role), busy_ms=rng.choice((0, 50, 2000)))
        self.db.script(
            "PRAGMA synchronous=%s; PRAGMA cache_size=%d; PRAGMA mmap_size=%d; PRAGMA wal_autocheckpoint=%d; %s"
            % (rng.choice(("off", "normal", "full")), rng.choice((5, 20, 500)), rng.choice((0, 0, 1 << 20)),
               rng.choice((0, 20, 1000)) if WAL_RESTART_IS_SAFE else 0,
               # wal is in the file; the other modes belong to the connection
               "" if self.mode == "wal" else "PRAGMA journal_mode=" + self.mode)
        )
        self.count("open")

    def close(self):
        if self.db is None:
            return
        if self.role != "default" and not STAND_IN:
            row = self.db.query("PRAGMA uring_stats")
            self.stats = json.loads(row[0][0]) if row else {}
        self.db.close()
        self.db = None

    def rollback(self):
        if self.db is not None and self.db.in_transaction:
            try:
                self.db.script("ROLLBACK")
            except capi.Error as e:
                # A busy ROLLBACK of a reader does not exist; after an automatic rollback there is nothing left to do.
                if self.db.in_transaction:
                    raise e

    def check(self):
        """What holds in every snapshot. Called with a transaction open."""
        db, rng = self.db, self.rng
        total, accounts = db.query("SELECT sum(balance), count(*) FROM account")[0]
        require((total, accounts) == (TOTAL, ACCOUNTS), "accounts", total, accounts)
        require(db.value("SELECT count(*) FROM log WHERE proc=?", POISON) == 0, "a rolled back row is visible")
        last = db.value("SELECT coalesce(max(seq), 0) FROM log WHERE proc=?", self.proc)
        if self.seq is None:
            require(last in (self.acknowledged, self.acknowledged + 1), "sequence after a restart", last,
                    self.acknowledged)
            self.seq = last
        require(last == self.seq, "own sequence", last, self.seq)
        other = rng.randrange(len(ROLES))
        top = db.value("SELECT coalesce(max(seq), 0) FROM log WHERE proc=?", other)
        if top:
            low = rng.randint(max(1, top - KEEP + 1), top)
            rows = db.query("SELECT seq, payload, checksum FROM log WHERE proc=? AND seq BETWEEN ? AND ? ORDER BY seq", other,
                            low, low + 9)
            require([r[0] for r in rows] == list(range(low, min(low + 9, top) + 1)), "gap in the log", other, low, top)
            for seq, payload, stored in rows:
                require(checksum(other, seq, payload) == stored, "checksum of a row", other, seq)
        for row, data, stored in db.query("SELECT id, data, checksum FROM churn WHERE id >= ? LIMIT 5", rng.randint(0, 5000)):
            require(zlib.crc32(data) == stored, "checksum of a large row", row)

    def begin(self):
        self.db.script(self.rng.choice(("BEGIN IMMEDIATE", "BEGIN IMMEDIATE", "BEGIN", "BEGIN EXCLUSIVE")))

    def transfer(self):
        rng, db = self.rng, self.db
        for _ in range(rng.randint(1, 5)):
            a, b = rng.sample(range(1, ACCOUNTS + 1), 2)
            amount = rng.randint(1, 50)
            db.query("UPDATE account SET balance = balance - ? WHERE id = ?", amount, a)
            db.query("UPDATE account SET balance = balance + ? WHERE id = ?", amount, b)

    def bulk(self, rows):
        rng, db = self.rng, self.db
        for _ in range(rows):
            data = rng.randbytes(rng.choice((20, 200, 900, 6000)))
            db.query("INSERT INTO churn(data, checksum) VALUES(?, ?)", data, zlib.crc32(data))
        db.query("DELETE FROM churn WHERE id <= (SELECT max(id) FROM churn) - ?", CHURN_MAX)

    def poison(self):
        payload = self.rng.randbytes(2000)
        for i in range(self.rng.choice((1, 3, 60))):
            self.db.query("INSERT INTO log VALUES(?, ?, ?, 0)", POISON, i + 1000 * self.proc, payload)
            self.db.query("UPDATE account SET balance = balance + 7 WHERE id = ?", i % ACCOUNTS + 1)

    def write(self, large):
        """One transaction that is acknowledged when COMMIT has returned."""
        rng, db = self.rng, self.db
        self.begin()
        self.check()
        self.transfer()
        if rng.random() < 0.2:
            db.script("SAVEPOINT s")
            self.poison()
            db.script("ROLLBACK TO s; RELEASE s")
        if large:
            self.bulk(rng.choice((10, 60, 200)))
            if rng.random() < 0.3:
                db.script("PRAGMA incremental_vacuum(50)")
        seq, payload = self.seq + 1, rng.randbytes(rng.choice((10, 100, 1000)))
        db.query("INSERT INTO log VALUES(?, ?, ?, ?)", self.proc, seq, payload, checksum(self.proc, seq, payload))
        if seq > KEEP:
            db.query("DELETE FROM log WHERE proc=? AND seq<=?", self.proc, seq - KEEP)
        while True:
            try:
                db.script("COMMIT")
                break
            except capi.Error as e:
                if not e.busy or not db.in_transaction or rng.random() < 0.2:
                    raise
                self.count("commit-busy")
                time.sleep(0.001)
        self.seq = seq
        os.write(self.ack, struct.pack("<q", seq))
        self.acknowledged = seq
        self.count("large" if large else "small")

    def read(self):
        """Two looks in one transaction see the same state, whatever the others do in between."""
        db, rng = self.db, self.rng
        db.script("BEGIN")
        self.check()
        looks = []
        for _ in range(2):
            looks.append((db.query("SELECT * FROM account ORDER BY id"),
                          db.query("SELECT proc, max(seq) FROM log GROUP BY proc"),
                          db.query("SELECT count(*), sum(checksum), sum(length(data)) FROM churn")))
            time.sleep(rng.random() * 0.005)
        require(looks[0] == looks[1], "a snapshot moved", looks[0][1:], looks[1][1:])
        db.script("COMMIT")
        self.count("read")

    def roll_back(self):
        self.begin()
        self.check()
        self.poison()
        self.bulk(self.rng.choice((0, 30)))
        self.db.script("ROLLBACK")
        self.count("rollback")

    def checkpoint(self):
        kind = self.rng.choice(("PASSIVE", "FULL", "RESTART", "TRUNCATE"))
        with self.guarded(fcntl.LOCK_EX):
            busy = self.db.query("PRAGMA wal_checkpoint(%s)" % kind)[0][0]
        self.count("checkpoint-busy" if busy else "checkpoint")

    def transaction(self, do, *arguments):
        with self.guarded(fcntl.LOCK_SH):
            try:
                do(*arguments)
            except capi.Error as e:
                if e.busy:
                    self.rollback()
                raise

    def step(self):
        rng = self.rng
        if self.db is None:
            self.open()
        draw = rng.random()
        if draw < 0.45:
            self.transaction(self.write, False)
        elif draw < 0.57:
            self.transaction(self.write, True)
        elif draw < 0.72:
            self.read()
        elif draw < 0.80:
            self.transaction(self.roll_back)
        elif draw < 0.90:
            self.checkpoint()
        else:
            self.close()

    def run(self):
        while not self.stop:
            try:
                self.step()
            except capi.Error as e:
                if not e.busy:
                    raise
                self.count("busy")
                self.rollback()
                time.sleep(self.rng.random() * 0.01)
        self.rollback()
        self.close()


def worker_main(arguments):
    role, mode, path, proc, seed = arguments
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    load_vfs()
    worker = Worker(role, mode, path, int(proc), int(seed))

    def stop(_number, _frame):
        worker.stop = True

    signal.signal(signal.SIGTERM, stop)
    print("ready", flush=True)
    worker.run()
    print(json.dumps({"counts": worker.counts, "stats": worker.stats}), flush=True)


# ---- the test ----------------------------------------------------------------------------------------------------------


def start(role, mode, path, proc, rng):
    return subprocess.Popen(
        [sys.executable, os.path.abspath(__file__), "worker", role, mode, path, str(proc), str(rng.getrandbits(48))],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def create(path, mode):
    db = capi.Connection(uri(path, "default"))
    db.script("PRAGMA auto_vacuum=incremental; PRAGMA journal_mode=%s;"
              "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);"
              "CREATE TABLE log(proc INTEGER, seq INTEGER, payload BLOB, checksum INTEGER, PRIMARY KEY(proc, seq));"
              "CREATE TABLE churn(id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB, checksum INTEGER);"
              "CREATE INDEX churn_checksum ON churn(checksum);" % mode)
    db.script("BEGIN")
    for i in range(1, ACCOUNTS + 1):
        db.query("INSERT INTO account VALUES(?, ?)", i, BALANCE)
    db.script("COMMIT")
    db.close()


def verify(path, role):
    """Everything that must hold at the end; returns a digest of the content."""
    db = capi.Connection(uri(path, role), busy_ms=3600000)
    result = db.query("PRAGMA integrity_check")
    require(result == [("ok",)], "integrity_check through " + role, result[:5])
    require(db.value("SELECT sum(balance) FROM account") == TOTAL, "sum of the accounts")
    require(db.value("SELECT count(*) FROM log WHERE proc=?", POISON) == 0, "a rolled back row is visible")
    digest, rows = 0, 0
    for proc in range(len(ROLES)):
        acknowledged = 0
        ack = "%s.ack%d" % (path, proc)
        if os.path.exists(ack):
            with open(ack, "rb") as f:
                data = f.read()
            numbers = [n for (n,) in struct.iter_unpack("<q", data[: len(data) // 8 * 8])]
            acknowledged = numbers[-1] if numbers else 0
        log = db.query("SELECT seq, payload, checksum FROM log WHERE proc=? ORDER BY seq", proc)
        top = log[-1][0] if log else 0
        require([r[0] for r in log] == list(range(max(1, top - KEEP + 1), top + 1)), "gap in the log of", proc)
        require(acknowledged <= top <= acknowledged + 1, "acknowledged rows", proc, acknowledged, top)
        for seq, payload, stored in log:
            require(checksum(proc, seq, payload) == stored, "checksum of a row", proc, seq)
            digest = zlib.crc32(payload, digest)
        rows += top
    for row, data, stored in db.query("SELECT id, data, checksum FROM churn ORDER BY id"):
        require(zlib.crc32(data) == stored, "checksum of a large row", row)
        digest = zlib.crc32(data, digest)
    for row in db.query("SELECT id, balance FROM account ORDER BY id"):
        digest = zlib.crc32(struct.pack("<qq", *row), digest)
    db.close()
    return digest, rows


def rings_available(directory):
    if STAND_IN:
        return False
    path = os.path.join(directory, "probe.db")
    db = capi.Connection(uri(path, "auto"))
    db.script("CREATE TABLE probe(a)")
    try:
        db.script("PRAGMA uring_backend=uring")  # asks for one
    except capi.Error:
        pass
    stats = json.loads(db.value("PRAGMA uring_stats"))
    db.close()
    if stats["ring"] != "available":
        print("no rings here (%s): uring_backend=auto stands in for uring" % stats["ring"])
    return stats["ring"] == "available"


class Fleet:
    def __init__(self, roles, mode, path, rng):
        self.roles, self.mode, self.path, self.rng = roles, mode, path, rng
        self.workers = [start(role, mode, path, i, rng) for i, role in enumerate(roles)]
        self.ready = [False] * len(roles)
        self.counts, self.stats = {}, {}
        self.kills = 0

    def finished(self, i, output, error, expected_kill):
        code = self.workers[i].returncode
        if code == -signal.SIGKILL and expected_kill:
            return
        lines = [line for line in output.splitlines() if line.startswith("{")]
        require(code == 0 and lines, "process %d (%s) ended with %s:\n%s" % (i, self.roles[i], code, error[-3000:]))
        report = json.loads(lines[-1])
        mine = self.counts.setdefault((i, self.roles[i]), {})
        for key, n in report["counts"].items():
            mine[key] = mine.get(key, 0) + n
        self.stats[i] = report["stats"]

    def watch(self, seconds):
        """Nobody may end by itself."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            for i, worker in enumerate(self.workers):
                if worker.poll() is not None:
                    output, error = worker.communicate()
                    self.finished(i, output, error, False)
                    raise AssertionError("process %d ended early: %s %s" % (i, output, error))
            select.select([], [], [], min(left, 0.1))

    def all_have_written(self):
        return all(os.path.getsize("%s.ack%d" % (self.path, i)) > 0 for i in range(len(self.workers)))

    def is_ready(self, i):
        if not self.ready[i] and select.select([self.workers[i].stdout], [], [], 0)[0]:
            self.ready[i] = self.workers[i].stdout.readline() == "ready\n"
        return self.ready[i]

    def kill_one(self):
        """Mostly one that is at work; now and then one that is just starting."""
        working = [i for i in range(len(self.workers)) if self.is_ready(i)]
        i = self.rng.choice(working) if working and self.rng.random() < 0.8 else self.rng.randrange(len(self.workers))
        worker = self.workers[i]
        worker.kill()
        output, error = worker.communicate()
        self.finished(i, output, error, True)
        self.kills += 1
        self.workers[i] = start(self.roles[i], self.mode, self.path, i, self.rng)
        self.ready[i] = False

    def stop(self):
        for worker in self.workers:
            worker.terminate()
        for i, worker in enumerate(self.workers):
            output, error = worker.communicate()
            self.finished(i, output, error, False)

    def kill_all(self):
        for worker in self.workers:
            worker.kill()
        for i, worker in enumerate(self.workers):
            output, error = worker.communicate()
            self.finished(i, output, error, True)
            self.kills += 1


def wait_ready(fleet):
    for i, worker in enumerate(fleet.workers):
        fleet.ready[i] = worker.stdout.readline() == "ready\n"
        require(fleet.ready[i], "a process did not start", worker.poll() is not None and worker.stderr.read())


def run_mode(mode, seconds, seed, directory):
    rng = random.Random("%s-%s" % (seed, mode))
    path = os.path.join(directory, "interop-%s.db" % mode)
    create(path, mode)
    roles = list(ROLES)
    if not rings_available(directory):
        roles[3] = "auto"
    fleet = Fleet(roles, mode, path, rng)
    try:
        wait_ready(fleet)
        fleet.watch(seconds / 2)
        while not fleet.all_have_written():
            fleet.watch(0.1)
        fleet.stop()
        quiet = verify(path, rng.choice(("default", "auto")))[1]
        for (i, role), counts in fleet.counts.items():
            require(counts.get("small", 0) + counts.get("large", 0) > 0, "no transaction of a process", i, role, counts)
        if roles[3] == "uring":
            stats = fleet.stats[3]
            require(stats.get("rings", 0) > 0 and stats.get("enters", 0) > 0, "no ring was used", stats)
        first = fleet
        fleet = Fleet(roles, mode, path, rng)
        fleet.counts = first.counts
        wait_ready(fleet)
        end = time.monotonic() + seconds / 2
        while time.monotonic() < end:
            fleet.watch(rng.uniform(0.05, 0.5))
            fleet.kill_one()
        fleet.watch(rng.uniform(0.0, 0.3))
        fleet.kill_all()
    finally:
        for worker in fleet.workers:
            if worker.poll() is None:
                worker.kill()
                worker.communicate()
    left = sorted(name[len(os.path.basename(path)):] for name in os.listdir(directory)
                  if name.startswith(os.path.basename(path)) and "ack" not in name)
    viewers = ["default", "auto", roles[3]]
    rng.shuffle(viewers)
    digests = [verify(path, viewer) for viewer in viewers]
    require(len(set(digests)) == 1, "the VFSs read different content", digests)
    totals = {}
    for counts in fleet.counts.values():
        for key, n in counts.items():
            totals[key] = totals.get(key, 0) + n
    print("interop %s: %d acknowledged transactions (%d of them without kills), %d kills, recovered by %s from %s; %s"
          % (mode, digests[0][1], quiet, fleet.kills, viewers[0], left,
             " ".join("%s %d" % item for item in sorted(totals.items()))))


def run_test(name, default_seconds, title, body):
    """body(directory, seconds, seed) by NAME_SECONDS and NAME_SEED; NAME_KEEP keeps the files of a failure. Returns the exit code."""
    variable = name.upper()
    seconds = float(os.environ.get(variable + "_SECONDS", default_seconds))
    seed = os.environ.get(variable + "_SEED", "%d" % (time.time_ns() & 0xFFFFFFFF))
    print("%s: %s_SEED=%s %s_SECONDS=%g SQLite %s" % (title, variable, seed, variable, seconds, capi.libversion), flush=True)
    if not STAND_IN and not SO:
        print("URINGVFS_SO is not set")
        return 1
    load_vfs()
    directory = tempfile.mkdtemp(prefix="uringvfs-%s-" % name)
    try:
        body(directory, seconds, seed)
    except (AssertionError, capi.Error) as e:
        print("FAILED: %s" % e)
        if os.environ.get(variable + "_KEEP"):
            print("the files are in " + directory)
            directory = None
        return 1
    finally:
        if directory:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


def main(mode):
    return run_test("interop", 12, "interop " + mode, lambda directory, seconds, seed: run_mode(mode, seconds, seed, directory))


if __name__ == "__main__":
    if len(sys.argv) == 7 and sys.argv[1] == "worker":
        worker_main(sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "wal"))
