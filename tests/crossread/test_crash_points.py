#!/usr/bin/env python3
"""A writer killed at each system call that changes a file; a reader on the other VFS must find a whole, acknowledged state.

For each journal mode with a promise (wal, delete, truncate, persist) and each pair of VFSs. The writer makes one
transaction that spills its cache, one over two databases (super-journal), a rolled back one and a small one, then closes
(with a checkpoint). Points are sampled; FULL=1 visits every one. VERBOSE=1 tells what was left behind at each point.
"""
import collections
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
from crash import SETUP, last_ack, left_behind, runner, state, transaction, versions_of
from runner import Combination, Side

POINTS = int(os.environ.get('POINTS', '8'))


def workload(side, combination):
    return runner.expand(f"""{{{{open main.db}}}}
ATTACH {{{{uri two.db}}}} AS two;
{{{{modes two}}}}
PRAGMA cache_size=4;
PRAGMA two.cache_size=4;
.print go
BEGIN;
{transaction(1)}COMMIT;
.print ack 1
BEGIN;
{transaction(2)}{transaction(1, 'two')}COMMIT;
.print ack 2
BEGIN;
{transaction(77)}ROLLBACK;
BEGIN;
{transaction(3)}COMMIT;
.print ack 3
""", side, combination)


def prepare(directory, combination):
    for name in ('main.db', 'two.db'):
        script = runner.expand(f'{{{{open {name}}}}}\n{SETUP}', Side(), combination)
        done = runner.shell(script, directory)
        assert done.returncode == 0, done.stderr


def check(directory, reader, combination, acked, begun):
    """Recovers through the reader's VFS; then writes and reads again. Returns what is wrong, or nothing."""
    script = runner.expand(f""".open '{reader.uri('main.db')}'
ATTACH {{{{uri two.db}}}} AS two;
{state()}{state('two')}BEGIN;
INSERT INTO history VALUES(1000000, 'after'); DELETE FROM history WHERE version = 1000000;
DELETE FROM two.history WHERE version = 1000000;
COMMIT;
{state()}{state('two')}""", reader, combination)
    done = runner.shell(reader.preamble() + script, directory)
    if done.stderr: return f'the reader failed: {done.stdout.decode()} {done.stderr.decode()}'
    try:
        versions = versions_of(done.stdout)
    except ValueError as error:
        return str(error)
    if len(versions) != 4 or versions[:2] != versions[2:]: return f'versions change by themselves: {versions}'
    main, two = versions[:2]
    if not acked <= main <= begun: return f'version {main}: acknowledged {acked}, begun {begun}'
    # A transaction over two files is whole where there is a super-journal: not in WAL mode, not with synchronous=OFF
    # (vdbeaux.c, vdbeCommit: only databases with a safety level count).
    whole = combination.journal != 'wal' and combination.synchronous != 'off'
    if two != (main >= 2) and (whole or acked >= 2): return f'versions {main} and {two} do not belong together'
    return ''


def one_point(killer, template, writer, reader, combination, point):
    """Returns (ended, what was left behind, what is wrong)."""
    directory = tempfile.mkdtemp(prefix='uringvfs-')
    try:
        for name in os.listdir(template): shutil.copy(os.path.join(template, name), directory)
        done = subprocess.run([killer, str(point), runner.SHELL, '-batch'], cwd=directory, env=dict(os.environ, HOME=directory),
                              input=(writer.preamble() + workload(writer, combination)).encode(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        message = done.stderr.decode().strip()
        if done.returncode == 77: return True, set(), '77'
        if done.returncode not in (0, 3) or b'Error' in done.stderr: return True, set(), f'the writer failed: {message}'
        acked = last_ack(done.stdout) or 0
        found = left_behind(directory)
        wrong = check(directory, reader, combination, acked, min(acked + 1, 3))
        if done.returncode == 0 and acked != 3: wrong = wrong or f'ended with {acked} transactions'
        if os.environ.get('VERBOSE'): print(f'{writer.name} {combination.journal} {point}: {message}, ack {acked}, {found} {wrong}')
        return done.returncode == 0, found, wrong and f'{message}, acknowledged {acked}, left behind {sorted(found)}: {wrong}'
    finally:
        if not os.environ.get('KEEP'): shutil.rmtree(directory, ignore_errors=True)


def choose_points(killer, template, writer, combination):
    """Lists the calls of an undisturbed run and picks points: runs of equal calls only at their start, those that end a
    journal always, the others at even distances."""
    directory = tempfile.mkdtemp(prefix='uringvfs-')
    try:
        for name in os.listdir(template): shutil.copy(os.path.join(template, name), directory)
        done = subprocess.run([killer, '0', runner.SHELL, '-batch'], cwd=directory, env=dict(os.environ, HOME=directory),
                              input=(writer.preamble() + workload(writer, combination)).encode(), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        if done.returncode == 77: print('ptrace is not permitted here'); sys.exit(77)
        calls = done.stderr.decode().splitlines()
        if done.returncode != 0 or b'ack 3' not in done.stdout: sys.exit(f'{writer.name} {combination}: {calls[-1]}')
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if runner.FULL: return list(range(1, len(calls) + 1))
    changes = [n + 1 for n in range(len(calls)) if n == 0 or calls[n] != calls[n - 1]]
    always = [n for n in changes if calls[n - 1] in ('unlink', 'ftruncate')]
    return sorted({changes[len(changes) * k // POINTS] for k in range(POINTS)} | set(always[:POINTS]) | {len(calls)})


def main():
    available, left_out = runner.available_backends()
    ring = 'uring' if 'uring' in available else 'auto'
    pairs = [(Side('auto'), Side()), (Side(ring), Side()), (Side('sync'), Side(ring)), (Side(), Side(ring))]
    scratch = tempfile.mkdtemp(prefix='uringvfs-')
    try:
        killer = os.path.join(scratch, 'killat')
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'killat.c')
        subprocess.run([os.environ.get('CC', 'cc'), '-std=gnu11', '-O1', '-o', killer, source], check=True)
        jobs = []
        for number, journal in enumerate(('wal', 'delete', 'truncate', 'persist')):
            for turn, (writer, reader) in enumerate(pairs):
                combination = Combination(journal, runner.SYNCHRONOUS[(number + turn) % 4], runner.PAGE_SIZES[(number + turn) % 3],
                                          runner.LOCKINGS[(number + turn // 2) % 2])
                template = tempfile.mkdtemp(dir=scratch)
                prepare(template, combination)
                points = choose_points(killer, template, writer, combination)
                jobs += [(killer, template, writer, reader, combination, point) for point in points]
        found, failures = collections.Counter(), []
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for job, (_, kinds, wrong) in zip(jobs, pool.map(lambda job: one_point(*job), jobs)):
                found.update((job[4].journal, kind) for kind in kinds)
                if wrong: failures.append(f'--- writer {job[2].name}, reader {job[3].name}, {job[4]}, killed at point {job[5]}\n{wrong}')
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    for text in failures[:10]: print(text)
    for journal in ('delete', 'truncate', 'persist'):
        for kind in ('hot journal', 'super-journal'):
            if not found[journal, kind]: failures.append(f'{journal}: no point left a {kind} behind')
    if not found['wal', 'wal']: failures.append('no point left a WAL behind')
    if failures:
        print(f'{len(failures)} of {len(jobs)} crash points failed; {failures[-1]}')
        sys.exit(1)
    kinds = ', '.join(f'{count} {journal} with {kind}' for (journal, kind), count in sorted(found.items()))
    print(f'crash points: {len(jobs)} kills, whole states found by the other VFS ({kinds})')
    if left_out: print(f'uring_backend=uring left out: {left_out}')


main()
