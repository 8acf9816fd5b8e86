#!/usr/bin/env python3
"""Every script under scripts/ on the default VFS and on the VFS under test: results and files byte-equal.

Each script runs in every journal mode with one or two backends, in WAL mode in every page size; synchronous, page size and
locking mode rotate, so that over the scripts every pair of settings meets. FULL=1 runs the whole product (about half an hour).
Arguments select scripts by name.
"""
import os
import sys
import runner
from runner import BACKENDS, FULL, JOURNALS, LOCKINGS, PAGE_SIZES, SYNCHRONOUS, Combination

folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'scripts')
available, left_out = runner.available_backends()
jobs, backends = [], {}
for number, name in enumerate(sorted(os.listdir(folder))):
    if sys.argv[1:] and name not in sys.argv[1:]: continue
    with open(os.path.join(folder, name)) as file: script = file.read()
    for index, journal in enumerate(JOURNALS):
        turn = number + index
        sizes = PAGE_SIZES if journal == 'wal' else (PAGE_SIZES[turn // 2 % 3],)
        some = [Combination(journal, SYNCHRONOUS[(turn + k) % 4], size, LOCKINGS[(turn // 3 + index + k) % 2]) for k, size in enumerate(sizes)]
        for combination in runner.every_combination() if FULL else some:
            if combination.journal != journal: continue
            job = (name, script, combination)
            jobs.append(job)
            few = journal in ('memory', 'off') or combination is not some[0]
            wanted = BACKENDS if FULL else [BACKENDS[(turn + len(jobs)) % 3]] if few else [BACKENDS[turn % 3], BACKENDS[(turn + 1) % 3]]
            backends[job] = [b for b in wanted if b in available]

runner.compare(jobs, backends.get, f'conformance, {len(set(job[0] for job in jobs))} scripts')
if left_out: print(f'uring_backend=uring left out: {left_out}')
