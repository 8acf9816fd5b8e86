#!/usr/bin/env python3
"""Writers killed with SIGKILL, at rest and in full run, on either VFS; the other VFS must find every acknowledged transaction.

At rest: in every journal mode, memory and off included, the writer has acknowledged some transactions and waits for input;
where the journal mode promises it, an unfinished transaction has spilled into the file or the WAL before the kill.
In full run: the writer commits as fast as it can and is killed at a random moment, several times over on one database,
by turns on one VFS and on the other. SEED=N repeats a run, ROUNDS=N sets how often.
"""
import concurrent.futures
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from crash import SETUP, kill, last_ack, left_behind, runner, start, state, transaction, versions_of
from runner import Combination, Side

SEED = int(os.environ.get('SEED', random.SystemRandom().randrange(10**6)))
ROUNDS = int(os.environ.get('ROUNDS', '100' if runner.FULL else '8'))


def read_version(directory, reader):
    """The version a reader on this VFS finds (it recovers what has to be); it must be the same the second time."""
    done = runner.shell(f"{reader.preamble()}.open '{reader.uri('main.db')}'\n{state()}.open '{reader.uri('main.db')}'\n{state()}", directory)
    if done.stderr: raise ValueError(f'{reader.name} reads: {done.stdout.decode()} {done.stderr.decode()}')
    versions = versions_of(done.stdout)
    if len(versions) != 2 or versions[0] != versions[1]: raise ValueError(f'versions change by themselves: {versions}')
    return versions[0]


def create(directory, side, combination):
    done = runner.shell(side.preamble() + runner.expand('{{open main.db}}\n' + SETUP, side, combination), directory)
    if done.returncode: raise ValueError(f'{side.name} creates: {done.stderr.decode()}')


def write_until(process, marker, text):
    """Feeds text and reads up to the marker; returns the output."""
    process.stdin.write(text.encode())
    process.stdin.flush()
    output = b''
    while marker not in output:
        line = process.stdout.readline()
        if not line: raise ValueError(f'the writer ended: {output.decode()[-500:]}')
        output += line
    return output


def at_rest(directory, writer, reader, combination):
    create(directory, reader, combination)
    process = start(writer, directory)
    try:
        text = writer.preamble() + runner.expand('{{open main.db}}\nPRAGMA cache_size=4;\n', writer, combination)
        text += ''.join(f'BEGIN;\n{transaction(v)}COMMIT;\n.print ack {v}\n' for v in (1, 2, 3))
        output = write_until(process, b'ack 3\n', text)
        if combination.journal not in ('memory', 'off'):
            output += write_until(process, b'spilled\n', f"BEGIN;\n{transaction(4)}UPDATE account SET pad = printf('%04000d', 4);\n.print spilled\n")
        kill(process)
    finally:
        if process.poll() is None: kill(process)
    if b'rror' in output: raise ValueError(f'{writer.name} writes: {output.decode()}')
    found = left_behind(directory)
    # At 64 KiB a page the whole database may fit the cache: then nothing has spilled and no journal is hot.
    expected = {'wal': {'wal'}, 'memory': set(), 'off': set()}.get(combination.journal, {'hot journal'})
    if combination.page_size < 65536 and not expected <= found: raise ValueError(f'{expected} expected, left behind {found}')
    version = read_version(directory, reader)
    if version != 3: raise ValueError(f'version {version}, acknowledged 3, left behind {found}')


def in_full_run(directory, sides, combination, rng):
    """Returns how many transactions were acknowledged."""
    create(directory, sides[0], combination)
    version = 0
    for turn in range(ROUNDS):
        writer, reader = sides[turn % 2], sides[(turn + 1) % 2]
        process = start(writer, directory)
        text = writer.preamble() + runner.expand('{{open main.db}}\nPRAGMA cache_size=6;\nPRAGMA wal_autocheckpoint=50;\n', writer, combination)

        def feed():
            try:
                process.stdin.write(text.encode())
                for v in range(version + 1, version + 5000):
                    process.stdin.write(f'BEGIN;\n{transaction(v)}COMMIT;\n.print ack {v}\n'.encode())
            except (BrokenPipeError, ValueError):
                pass

        feeder = threading.Thread(target=feed)
        feeder.start()
        output = b''
        while b'ack' not in output:
            line = process.stdout.readline()
            if not line: break
            output += line
        timer = threading.Timer(rng.expovariate(1 / 0.03), lambda: process.kill())
        timer.start()
        output += process.stdout.read()
        process.wait()
        timer.cancel()
        feeder.join()
        acked = last_ack(output)
        if b'rror' in output or acked is None: raise ValueError(f'{writer.name} writes: {output.decode()[-500:]}')
        found = read_version(directory, reader)
        if not acked <= found <= acked + 1: raise ValueError(f'turn {turn}, writer {writer.name}: acknowledged {acked}, found {found}')
        version = found
    return version


def attempt(name, function, *arguments):
    directory = tempfile.mkdtemp(prefix='uringvfs-')
    try:
        return function(directory, *arguments), ''
    except ValueError as error:
        return 0, f'--- {name}\n{error}'
    finally:
        if not os.environ.get('KEEP'): shutil.rmtree(directory, ignore_errors=True)


def main():
    started = time.monotonic()
    available, left_out = runner.available_backends()
    ring = 'uring' if 'uring' in available else 'auto'
    default, rests, runs = Side(), [], []
    for number, combination in enumerate(runner.every_combination()):
        for turn, (writer, reader) in enumerate([(Side(b), default) for b in available] + [(default, Side(ring))]):
            if not runner.FULL and (number + turn) % 8: continue
            rests.append((f'at rest: {writer.name}, read by {reader.name}, {combination}', at_rest, writer, reader, combination))
    for number, journal in enumerate(('wal', 'delete', 'truncate', 'persist')):
        for turn, backend in enumerate(available):
            kinds = number + turn
            combination = Combination(journal, runner.SYNCHRONOUS[kinds % 4], runner.PAGE_SIZES[kinds % 3], runner.LOCKINGS[kinds // 2 % 2])
            runs.append((f'SEED={SEED}: {backend}, {combination}', in_full_run, (Side(backend), default), combination,
                         random.Random(f'{SEED} {kinds}')))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda job: attempt(*job), rests + runs))
    acknowledged = sum(count for count, _ in results if count)
    failures = [wrong for _, wrong in results if wrong]
    for text in failures[:10]: print(text)
    if failures: sys.exit(f'{len(failures)} failures, SEED={SEED}')
    print(f'killed: {len(rests)} writers at rest, {len(runs) * ROUNDS} in full run ({acknowledged} transactions), '
          f'everything acknowledged found by the other VFS; SEED={SEED}, {time.monotonic() - started:.0f} s')
    if left_out: print(f'uring_backend=uring left out: {left_out}')


main()
