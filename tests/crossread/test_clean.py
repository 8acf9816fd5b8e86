#!/usr/bin/env python3
"""Databases closed in order and read through the other VFS, by turns: each side checks what the other wrote, then writes.

In every journal mode, page size and synchronous setting; the content is compared by .sha3sum as the writer printed it.
Also a WAL that the closing connection keeps (persist_wal), and a database changed from one journal mode to another on
the way.
"""
import concurrent.futures
import os
import shutil
import sys
import tempfile
from crash import SETUP, runner, state, transaction, versions_of
from runner import Side

TURNS = 4


def speak(directory, side, text):
    done = runner.shell(side.preamble() + text, directory)
    if done.stderr: raise ValueError(f'{side.name}: {done.stdout.decode()[-500:]} {done.stderr.decode()}')
    return [line for line in done.stdout.decode().splitlines() if line]


def by_turns(directory, sides, combination):
    sums = speak(directory, sides[0], runner.expand(f'{{{{open main.db}}}}\n{SETUP}.sha3sum --schema\n', sides[0], combination))
    for turn in range(1, TURNS + 1):
        side = sides[turn % 2]
        # The last two turns leave the WAL behind and change the journal mode.
        extra = ('', '', '.filectrl persist_wal 1\n', 'PRAGMA journal_mode=truncate;\nPRAGMA journal_mode=wal;\n')[turn - 1]
        lines = speak(directory, side, f".open '{side.uri('main.db')}'\n.print state\n{state()}.print sum\n.sha3sum --schema\n" +
                      runner.expand(f'{{{{open main.db}}}}\n{extra}BEGIN;\n{transaction(turn)}COMMIT;\n.print last\n.sha3sum --schema\n', side, combination))
        version, = versions_of('\n'.join(lines[lines.index('state') + 1:lines.index('sum')]).encode())
        if version != turn - 1: raise ValueError(f'turn {turn}: version {version}')
        found = lines[lines.index('sum') + 1]
        if found != sums[-1]: raise ValueError(f'turn {turn}: {side.name} reads {found}, {sides[(turn + 1) % 2].name} wrote {sums[-1]}')
        sums = lines


def attempt(sides, combination):
    directory = tempfile.mkdtemp(prefix='uringvfs-')
    try:
        by_turns(directory, sides, combination)
        return ''
    except ValueError as error:
        return f'--- {sides[0].name} and {sides[1].name}, {combination}\n{error}'
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def main():
    available, left_out = runner.available_backends()
    jobs = []
    for number, combination in enumerate(runner.every_combination()):
        for turn, backend in enumerate(available):
            if not runner.FULL and (number + turn + number // 6) % 3: continue
            pair = (Side(backend), Side())
            jobs.append((pair if number // 2 % 2 else pair[::-1], combination))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool: failures = [f for f in pool.map(lambda j: attempt(*j), jobs) if f]
    for text in failures[:10]: print(text)
    if failures: sys.exit(f'{len(failures)} of {len(jobs)} failed')
    print(f'clean close: {len(jobs)} databases written and read by turns, contents equal')
    if left_out: print(f'uring_backend=uring left out: {left_out}')


main()
