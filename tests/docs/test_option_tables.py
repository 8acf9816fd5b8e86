#!/usr/bin/env python3
"""README.md, vfs/uringvfs.h and the manual page say of options and limits what the code does.

The code is asked: the message for an unknown option names all there are, the one for a wrong value names what is
allowed, a PRAGMA without a value returns the default, and a value that is to come is refused as such. Limits are
constants in the sources. The comparison must also fail for each planted change of a text.
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get('BUILD', 'build'))
EXTENSION = os.path.abspath(os.environ.get('URINGVFS_SO') or os.path.join(BUILD, 'uringvfs.so'))
DOCUMENTS = ('README.md', 'vfs/uringvfs.h', 'ext/uringvfs.7')


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as file:
        return file.read()


# ---- what the code says ----

def ask(directory, sql):
    """What the shell prints, errors included."""
    script = f".load {EXTENSION}\n.open file:{directory}/t.db?vfs=uring\n{sql};\n"
    done = subprocess.run(['sqlite3', '-batch'], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    return done.stdout.strip()


def found(pattern, text, what):
    match = re.search(pattern, text)
    if not match: sys.exit(f'{what}: no {pattern} in: {text}')
    return match


def allowed_values(text):
    return text if ' to ' in text else re.split(r'[,| ]+', text)


def options_of_the_code(directory):
    """{name: (allowed values, default)}"""
    names = found(r'the options are (.*?), and PRAGMA uring_stats', ask(directory, 'PRAGMA uring_'), 'PRAGMA uring_')
    options = {}
    for name in names.group(1).split(', '):
        wrong = ask(directory, f"PRAGMA {name}='?'")
        allowed = found(rf"wrong value '\?' for {name}; allowed: (.*)", wrong, name).group(1)
        options[name] = (allowed_values(re.sub(r' \(\d+\)$', '', allowed)), ask(directory, f'PRAGMA {name}'))
    return options


def check_values(directory, options):
    """What a message allows is taken. A range is what it says: its ends are taken, what lies behind them is not."""
    for name, (allowed, _) in options.items():
        for value in [] if isinstance(allowed, str) else allowed:
            answer = ask(directory, f'PRAGMA {name}={value}')
            if answer != value and 'cannot be had' not in answer: sys.exit(f'{name}={value} is allowed, but: {answer}')
        if not isinstance(allowed, str): continue
        low, high = (int(n) for n in allowed.split(' to '))
        for value, good in ((low, True), (high, True), (low - 1, False), (high + 1, False)):
            if (ask(directory, f'PRAGMA {name}={value}') == str(value)) != good:
                sys.exit(f'{name}={value}: allowed is {allowed}')


# ---- what the documents say: {name: (allowed values, default, values that are to come)} ----

def table_of_readme(text):
    rows, name, options = [], '', {}
    section = re.search(r'^## Options\n(.*?)^## ', text, re.S | re.M)
    if not section: sys.exit('README.md has no section "Options"')
    for line in section.group(1).splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if len(cells) != 3 or not line.startswith('|') or set(cells[1]) <= set('- '): continue
        name = cells[0].strip('`') or name
        rows.append((name, cells[1], cells[2]))
    for name, values, remark in rows:
        if not name.startswith('uring_'): continue
        allowed, default, later = options.get(name, ([], None, []))
        later = later + re.findall(r'`(\w+)` is not available yet', remark)
        mark = re.search(r'`(\w+)` \(default\)|\(default (\w+)\)', values)
        if mark: default = mark.group(1) or mark.group(2)
        plain = re.sub(r' \(default.*?\)|`', '', values)
        options[name] = (plain if ' to ' in plain else allowed + [plain], default, later)
    return {name: (allowed, default or allowed[0], later) for name, (allowed, default, later) in options.items()}


def table_of_header(text):
    """The columns are where their titles are."""
    lines = text.splitlines()
    head = next((i for i, line in enumerate(lines) if re.match(r'\*\* +option +values +default$', line)), None)
    if head is None: sys.exit('uringvfs.h has no table of options')
    columns = [lines[head].index(title) for title in ('option', 'values', 'default')]
    options = {}
    for line in lines[head + 1:]:
        if len(line) < columns[1]: break
        name, values = line[columns[0]:columns[1]].strip(), line[columns[1]:columns[2]].strip()
        if not name: continue
        default, _, remark = line[columns[2]:].partition(' ')
        options[name] = (allowed_values(values), default, re.findall(r'(\w+) is not available yet', remark))
    return options


def table_of_manual(text):
    options = {}
    for match in re.finditer(r'^\.TP\n\.BR (uring_\w+) = (.*)\n((?:(?!\.TP|\.SH).*\n)*)', text, re.M):
        allowed, remark = allowed_values(match.group(2).replace('"', '').replace('  ', ' ')), match.group(3)
        default = re.search(r'\.B (\w+)\n\(the default\)|(\w+) is the default', remark)
        default = (default.group(1) or default.group(2)) if default else allowed[0]
        options[match.group(1)] = (allowed, default, re.findall(r'\.B (\w+)\nis reserved and not available yet', remark))
    return options


TABLES = dict(zip(DOCUMENTS, (table_of_readme, table_of_header, table_of_manual)))


def differences(path, text, code, refused):
    """`refused(name, value)`: is it a value to come?"""
    table = TABLES[path](text)
    out = [f'{path}: {name} is missing' for name in code if name not in table]
    out += [f'{path}: there is no {name}' for name in table if name not in code]
    for name, (allowed, default, later) in table.items():
        if name not in code: continue
        if allowed != code[name][0]: out.append(f'{path}: {name} allows {code[name][0]}, not {allowed}')
        if default != code[name][1]: out.append(f'{path}: the default of {name} is {code[name][1]}, not {default}')
        out += [f'{path}: {name}={value} is not refused as one to come' for value in later if not refused(name, value)]
    return out


# ---- limits: a constant of the sources, and how the documents say it ----

def limits():
    """(document, phrase): must be in it."""
    def constant(path, pattern):
        return found(pattern, read(path), path).group(1)
    block = eval(constant('vfs/internal.h', r'URINGVFS__BLOCK_BYTES \(([\d *]+)\)')) >> 20  # a product of numbers
    leaves = eval(constant('vfs/readahead/leaf_blocks.c', r'BLOCK_BYTES = ([\d *]+),')) >> 10
    rings = constant('runtime/pool.c', r'#define MAX_RINGS +(\d+)')
    locked = int(constant('runtime/loop.c', r'#define DEFAULT_ENTRIES +(\d+)')) * 128 >> 10  # of 128 bytes each
    oldest = int(constant('ext/uringvfs_ext.c', r'OLDEST_SQLITE = (\d+)'))
    oldest = f'{oldest // 1000000}.{oldest // 1000 % 1000}.{oldest % 1000}'
    version = constant('Makefile', r'VERSION := (\S+)')
    return [
        ('README.md', f'{block} MiB while a WAL transaction writes; at most {rings} rings with {locked} KiB'),
        ('README.md', f'a good part of a {leaves} KiB block'),
        ('README.md', f'SQLite {oldest.removesuffix(".0")} or later'),
        ('ext/uringvfs.7', f'holds up to {block} MiB of memory for its frames. A ring takes {locked} KiB of locked memory'),
        ('ext/uringvfs.7', f'there are at most {rings}'),
        ('ext/uringvfs.7', f'SQLite {oldest} or later'),
        ('ext/uringvfs.7', f'"uringvfs {version}"'),
        ('vfs/uringvfs.h', f'#define URINGVFS_VERSION "{version}"'),
    ]


# ---- planted ----

def plants(path, text):
    """(what, text with one thing changed)"""
    for name, (allowed, default, later) in TABLES[path](text).items():
        yield f'{name} renamed', re.sub(name + r'\b', name + 's', text)
        changed = [(allowed.split(' ')[-1], '7')] if isinstance(allowed, str) else [(v, v + 'x') for v in allowed]
        changed += [(default, '3' if default.isdigit() else default + 'y')] + [(v, 'soon') for v in later]
        # In what is said of it, every mention.
        start = re.search(rf'^(\*\* +|\| `|\.BR ){name}\b', text, re.M).start()
        end = text.find('uring_', text.index(name, start) + len(name))
        if end < 0: end = len(text)
        for old, new in changed:
            yield f'{name}: {old} -> {new}', text[:start] + re.sub(rf'\b{old}\b', new, text[start:end]) + text[end:]


def main():
    directory = tempfile.mkdtemp(prefix='uringvfs-options.')
    try:
        code = options_of_the_code(directory)
        check_values(directory, code)
        answers = {}

        def refused(name, value):
            if (name, value) not in answers:
                answers[name, value] = 'is not available yet' in ask(directory, f"PRAGMA {name}='{value}'")
            return answers[name, value]

        # The message is a text of its own: it must name the whole table.
        table = re.findall(r'^ +\[OPTION_\w+\] = \{"(uring_\w+)"', read('vfs/options.c'), re.M)
        failures = [] if table == list(code) else [f'options.c has {table}, its message names {list(code)}']
        planted = 0
        for path in DOCUMENTS:
            text = read(path)
            failures += differences(path, text, code, refused)
            for what, changed in plants(path, text):
                planted += 1
                if changed == text or not differences(path, changed, code, refused):
                    failures.append(f'{path}: nobody would notice this change: {what}')
    finally:
        shutil.rmtree(directory)
    said = {path: ' '.join(read(path).split()) for path in DOCUMENTS}
    failures += [f'{path} does not say: {phrase}' for path, phrase in limits() if phrase not in said[path]]
    for failure in failures: print(failure)
    if failures: return 1
    print(f'{len(code)} options in {len(DOCUMENTS)} documents as in the code, {len(limits())} limits; '
          f'{planted} planted changes seen')
    return 0


if __name__ == '__main__':
    sys.exit(main())
