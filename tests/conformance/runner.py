"""Runs SQL scripts in the stock sqlite3 shell through one VFS or the other and says what came out.

Shared by tests/conformance, tests/crossread and tests/newer. A script is plain shell input plus these substitutions:

  {{open main.db}}        opens the database through the VFS of this run, then sets locking mode, page size, journal mode
                          and synchronous of this run. Written {{open main.db psow=0}} it adds URI parameters.
  {{uri aux.db}}          the quoted URI of a database through the VFS of this run, for ATTACH, VACUUM INTO, .backup ...;
                          without a name that of a temporary database
  {{modes aux}}           the mode PRAGMAs of this run for an attached schema
  {{unless off}} {{end}}  lines between are left out when the journal mode of this run is `off`: there SQLite itself
                          leaves ROLLBACK undefined

A result holds everything that could be observed: both output streams, the exit status, and for every file left behind
its size, its permissions and (where SQLite is deterministic) its bytes.

Environment: BUILD, URINGVFS_SO (both set by `make check`), SQLITE3 (the shell, default `sqlite3`), VFS_UNDER_TEST
(default `uring`; `unix` compares the default VFS with itself, which shows that a script is deterministic), KEEP=1 (keep
the directories of all runs), STRIDE=N (every Nth combination of modes only).
"""
import collections
import concurrent.futures
import difflib
import hashlib
import itertools
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

JOURNALS = ('wal', 'delete', 'truncate', 'persist', 'memory', 'off')
SYNCHRONOUS = ('off', 'normal', 'full', 'extra')
PAGE_SIZES = (512, 4096, 65536)
LOCKINGS = ('normal', 'exclusive')
BACKENDS = ('auto', 'uring', 'sync')

Combination = collections.namedtuple('Combination', 'journal synchronous page_size locking')
Result = collections.namedtuple('Result', 'stdout stderr status files stats')

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get('BUILD') or os.path.join(REPOSITORY, 'build'))
EXTENSION = os.path.abspath(os.environ.get('URINGVFS_SO') or os.path.join(BUILD, 'uringvfs.so'))
SHELL = os.environ.get('SQLITE3', 'sqlite3')
UNDER_TEST = os.environ.get('VFS_UNDER_TEST', 'uring')
FULL = os.environ.get('FULL') == '1'
STRIDE = int(os.environ.get('STRIDE', '1'))


class Side:
    """One way to open a database: the default VFS (backend None) or the VFS under test with one of its backends."""

    def __init__(self, backend=None):
        self.backend = backend
        self.name = 'default' if backend is None else f'{UNDER_TEST}/{backend}'
        self.is_uring = backend is not None and UNDER_TEST == 'uring'
        self.parameters = f'vfs=uring&uring_backend={backend}' if self.is_uring else 'vfs=unix'

    def uri(self, name, extra=''):
        return f"file:{name}?{self.parameters}{'&' + extra if extra else ''}"

    def preamble(self):
        return f".load {EXTENSION}\n" if self.is_uring else '.timeout 0\n'


def every_combination():
    """The full product; with STRIDE=N every Nth of it."""
    return [Combination(*c) for c in itertools.product(JOURNALS, SYNCHRONOUS, PAGE_SIZES, LOCKINGS)][::STRIDE]


def modes(combination, schema='main'):
    """Locking mode first: set before the first access of a WAL database it gives the wal-index on the heap."""
    return (f'PRAGMA {schema}.locking_mode={combination.locking}; PRAGMA {schema}.page_size={combination.page_size}; '
            f'PRAGMA {schema}.journal_mode={combination.journal}; PRAGMA {schema}.synchronous={combination.synchronous};')


def expand(script, side, combination):
    def unless_off(match):
        return '' if combination.journal == 'off' else match.group(1)

    script = re.sub(r'\{\{unless off\}\}\n?(.*?)\{\{end\}\}\n?', unless_off, script, flags=re.S)
    script = re.sub(r'\{\{open (\S+)(?: (\S+))?\}\}',
                    lambda m: f".open '{side.uri(m.group(1), m.group(2) or '')}'\n{modes(combination)}", script)
    script = re.sub(r'\{\{uri(?: (\S+?))?(?: (\S+))?\}\}', lambda m: f"'{side.uri(m.group(1) or '', m.group(2) or '')}'", script)
    script = re.sub(r'\{\{modes (\S+)\}\}', lambda m: modes(combination, m.group(1)), script)
    assert '{{' not in script, 'unknown substitution'
    return script


def committed_wal(data):
    """The frames of a WAL up to the last commit, with the random parts blanked out (salts and what follows from them, the
    checksums), so that two can be compared frame by frame. Beyond it is what a restart or a rolled back transaction left."""
    if len(data) < 32: return data
    page_size = struct.unpack('>I', data[8:12])[0]
    frames, committed = [], 0
    for offset in range(32, len(data), 24 + page_size):
        header = data[offset:offset + 24]
        if header[8:16] != data[16:24]: break
        frames.append(header[:8] + data[offset + 24:offset + 24 + page_size])
        if header[4:8] != bytes(4): committed = len(frames)
    return data[:16] + b''.join(frames[:committed])


def fingerprint(path):
    """(size, permissions, digest). No digest where SQLite puts random or uninitialised bytes: journals, wal-index."""
    info = os.stat(path)
    mode = oct(info.st_mode & 0o7777)
    if os.path.isdir(path): return ('directory', mode, '')
    if path.endswith(('-journal', '-shm')): return (info.st_size, mode, '')
    with open(path, 'rb') as file: data = file.read()
    if path.endswith('-wal'): data = committed_wal(data)
    return (len(data), mode, hashlib.sha256(data).hexdigest()[:16])


def shell(text, directory):
    """Feeds text to the shell. HOME is the directory, so that no ~/.sqliterc takes part."""
    environment = dict(os.environ, HOME=directory, SQLITE_TMPDIR=directory)
    return subprocess.run([SHELL, '-batch'], input=text.encode(), cwd=directory,
                          env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(script, side, combination):
    """Runs one script in a directory of its own and returns what could be observed."""
    directory = tempfile.mkdtemp(prefix='uringvfs-')
    try:
        text = side.preamble() + expand(script, side, combination)
        text += f"\n.output stats.json\n.open '{side.uri('stats.db')}'\nPRAGMA uring_stats;\n.output\n"
        with open(os.path.join(directory, 'input'), 'w') as file: file.write(text)
        done = shell(text, directory)
        clean = lambda b: b.replace(side.parameters.encode(), b'vfs=VFS').replace(directory.encode(), b'DIR')
        stats_path = os.path.join(directory, 'stats.json')
        stats = ''
        if os.path.exists(stats_path):
            with open(stats_path) as file: stats = file.read()
        files = {}
        for folder, _, names in os.walk(directory):
            for name in names:
                relative = os.path.relpath(os.path.join(folder, name), directory)
                if relative in ('stats.json', 'input') or relative.startswith('stats.db'): continue
                files[relative] = fingerprint(os.path.join(folder, name))
        return Result(clean(done.stdout), clean(done.stderr), done.returncode, files, stats)
    finally:
        if not os.environ.get('KEEP'): shutil.rmtree(directory, ignore_errors=True)


def difference(expected, got):
    """What differs between two results, as text; empty when they are equal."""
    out = []
    if expected.status != got.status: out.append(f'exit status: default {expected.status}, here {got.status}')
    for stream in ('stdout', 'stderr'):
        a, b = (getattr(r, stream).decode(errors='replace').splitlines() for r in (expected, got))
        out += list(itertools.islice(difflib.unified_diff(a, b, f'default {stream}', f'this {stream}', n=2, lineterm=''), 30))
    for name in sorted(set(expected.files) | set(got.files)):
        a, b = expected.files.get(name), got.files.get(name)
        if a != b: out.append(f'file {name}: default {a}, here {b}')
    return '\n'.join(out)


def stats_difference(side, result):
    """A run that did not go through the VFS it names proves nothing: the statistics must say that it did."""
    if not side.is_uring: return 'PRAGMA uring_stats answered on another VFS' if result.stats.strip() else ''
    try:
        stats = json.loads(result.stats)
    except ValueError:
        return f'PRAGMA uring_stats gave no JSON object: {result.stats!r}'
    if stats.get('backend') != side.backend: return f"uring_stats: backend {stats.get('backend')}, not {side.backend}"
    inline = sum(stats[name + '_inline'] for name in ('reads', 'writes'))
    total = stats['reads'] + stats['writes']
    if side.backend == 'uring' and (inline or total == 0): return f'uring_backend=uring, but not by the ring: {stats}'
    if side.backend == 'sync' and (stats['enters'] or inline != total):
        return f'uring_backend=sync, but by the ring: {stats}'
    return ''


def available_backends():
    """The backends this machine can run, and why not the others."""
    if UNDER_TEST != 'uring': return BACKENDS, ''
    directory = tempfile.mkdtemp(prefix='uringvfs-')
    try:
        side = Side('auto')
        done = shell(f"{side.preamble()}.open '{side.uri('probe.db')}'\nPRAGMA uring_backend=uring;\nPRAGMA uring_stats;\n", directory)
        try:
            ring = json.loads(done.stdout.splitlines()[-1])['ring']
        except (ValueError, KeyError, IndexError):
            sys.exit(f'{EXTENSION} does not load or has no uring_stats:\n{(done.stdout + done.stderr).decode()}')
        return (BACKENDS, '') if ring == 'available' else (('auto', 'sync'), f'io_uring: {ring}')
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def compare(jobs, backends, title):
    """jobs: (name, script, combination). Each runs once on the default VFS and once per backend; exits non-zero at the
    first few differences. backends may be a function of the job."""
    failures, runs = [], 0
    choose = backends if callable(backends) else lambda job: backends

    def one(job):
        name, script, combination = job
        out = []
        expected = run(script, Side(), combination)
        for backend in choose(job):
            side = Side(backend)
            got = run(script, side, combination)
            text = difference(expected, got) or stats_difference(side, got)
            out.append(text and f'--- {name} on {side.name}, {combination}\n{text}')
        return expected, out

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for job, (expected, texts) in zip(jobs, pool.map(one, jobs)):
            runs += 1 + len(texts)
            failures += [t for t in texts if t]
    for text in failures[:10]: print(text)
    if failures:
        print(f'{title}: {len(failures)} of {runs} runs differ from the default VFS')
        sys.exit(1)
    print(f'{title}: {runs} runs, results and files equal')
