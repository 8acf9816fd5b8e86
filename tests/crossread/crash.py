"""What the crash tests share: the workload, and what a reader must find after the writer was killed.

The workload keeps a version number and an account table whose sums are known for every version. A writer's transaction
number V takes the database from version V - 1 to V and prints `ack V` after its COMMIT. Whatever the moment of the kill,
a reader must find one whole version, not older than the last acknowledged one, and not newer than the one begun.
"""
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'conformance'))
import runner  # noqa: E402

ROWS = 60
SETUP = f"""
CREATE TABLE meta(version INT);
INSERT INTO meta VALUES(0);
CREATE TABLE account(id INTEGER PRIMARY KEY, n INT, pad TEXT);
CREATE INDEX account_n ON account(n);
CREATE TABLE history(version INTEGER PRIMARY KEY, pad TEXT);
WITH RECURSIVE c(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM c WHERE i < {ROWS})
  INSERT INTO account SELECT i, 1000, printf('%0*d', 100 + i * 37 % 500, 0) FROM c;
"""


def transaction(version, schema='main'):
    """The statements that take one database to this version, without BEGIN and COMMIT. Money moves and the sum stays;
    `history` gets one row, long ones included; every account's pad ends with the version."""
    return (f"UPDATE {schema}.meta SET version = {version};\n"
            f"UPDATE {schema}.account SET n = n + CASE id % 2 WHEN 0 THEN {version} ELSE -{version} END, "
            f"pad = substr(pad, 1, length(pad) - 6) || printf('%06d', {version});\n"
            f"INSERT INTO {schema}.history VALUES({version}, printf('%0*d', {version * 7919 % 5000 + 10}, {version}));\n")


def state(schema='main'):
    """Two lines: the version and a 1 for each thing that agrees with it; integrity_check."""
    return (f"SELECT version, (SELECT sum(n) FROM {schema}.account) = {ROWS * 1000}, "
            f"(SELECT count(*) FROM {schema}.account WHERE n = 1000 + version * (version + 1) / 2 * (1 - id % 2 * 2)) = {ROWS}, "
            f"(SELECT count(*) FROM {schema}.account INDEXED BY account_n WHERE n > -1e15) = {ROWS}, "
            f"(SELECT count(*) FROM {schema}.account WHERE CAST(substr(pad, -6) AS INT) = version) = {ROWS}, "
            f"(SELECT count(*) FROM {schema}.history) = version, "
            f"(SELECT count(*) FROM {schema}.history WHERE length(pad) = version * 7919 % 5000 + 10 AND CAST(pad AS INT) = version) = version "
            f"FROM {schema}.meta;\nPRAGMA {schema}.integrity_check;\n")


def versions_of(output):
    """The versions that pairs of state() lines stand for; raises ValueError with the lines when anything disagrees."""
    lines = [line for line in output.decode().splitlines() if line]
    versions = []
    for line, integrity in zip(lines[::2], lines[1::2]):
        version, _, rest = line.partition('|')
        if rest != '1|1|1|1|1|1' or integrity != 'ok': raise ValueError(f'half a transaction or damage: {line!r}, {integrity!r}')
        versions.append(int(version))
    if len(lines) != 2 * len(versions): raise ValueError(f'unexpected output {lines}')
    return versions


def last_ack(output):
    acks = [int(line.split()[1]) for line in output.decode().splitlines() if line.startswith('ack ')]
    return acks[-1] if acks else None


def start(side, directory, **streams):
    return subprocess.Popen([runner.SHELL, '-batch'], cwd=directory, env=dict(os.environ, HOME=directory),
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **streams)


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.wait()


def left_behind(directory):
    """What kinds of files there are: a set out of wal, journal, super-journal."""
    found = set()
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if not os.path.getsize(path): continue
        if name.endswith('-wal'): found.add('wal')
        if '-mj' in name: found.add('super-journal')
        if name.endswith('-journal'):
            with open(path, 'rb') as file:
                if file.read(8) == bytes.fromhex('d9d505f920a163d7'): found.add('hot journal')
    return found
