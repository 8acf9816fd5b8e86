#!/usr/bin/env python3
"""Every command in README.md and every example of the manual page does what they say.

Fenced blocks of README.md run in order, in one scratch directory that has build/, vfs/ and ext/ as the repository has:

    sh       by bash; `make` lines are not run, but their targets must exist
    c        saved under the name in the first line's comment, for a later sh block to compile
    python   saved and run
    sql      by the sqlite3 shell, on a database opened with vfs=uring
    text     must be what the block before it printed

Examples of the manual page stand between .EX and .EE after a line `.\\" example: LANGUAGE`.
"""
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get('BUILD', 'build'))
DATABASE = 'shop.db'
failures = []


def fail(where, what):
    failures.append(f'{where}: {what}')


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as file:
        return file.read()


def readme_blocks(text):
    """(line number, language, body) of each fenced block."""
    for match in re.finditer(r'^```(\w*)\n(.*?)^```$', text, re.M | re.S):
        yield text.count('\n', 0, match.start()) + 1, match.group(1), match.group(2)


def manual_examples(text):
    for match in re.finditer(r'^\.\\" example: (\w+)\n\.EX\n(.*?)^\.EE$', text, re.M | re.S):
        body = match.group(2).replace('\\&', '').replace('\\-', '-').replace('\\(aq', "'")
        yield text.count('\n', 0, match.start()) + 1, match.group(1), body


def python_with_extensions():
    """A Python that can load extensions, or None."""
    for python in (sys.executable, '/usr/bin/python3'):
        probe = 'import sqlite3, sys; sys.exit(not hasattr(sqlite3.Connection, "enable_load_extension"))'
        if os.path.exists(python) and subprocess.run([python, '-c', probe], check=False).returncode == 0:
            return python
    return None


def check_make(command, where):
    """The targets of a make command exist."""
    words = command.split()
    words = words[words.index('make') + 1:]
    shown = subprocess.run(['make', '-n', *words], cwd=ROOT, capture_output=True, text=True, check=False,
                           env={k: v for k, v in os.environ.items() if not k.startswith('MAKE')})
    if shown.returncode != 0:
        fail(where, f'{command}: {shown.stderr.strip()}')


class Runner:
    def __init__(self, scratch):
        self.scratch = scratch
        self.printed = None
        self.counts = {}
        self.python = python_with_extensions()

    def run(self, command, where, stdin=None):
        done = subprocess.run(command, cwd=self.scratch, input=stdin, capture_output=True, text=True, check=False)
        self.printed = done.stdout
        # The sqlite3 shell goes on after an error, and so must not say anything on standard error.
        if done.returncode != 0 or done.stderr:
            fail(where, f'exit code {done.returncode}\n{done.stdout}{done.stderr}')

    def block(self, where, language, body):
        self.counts[language] = self.counts.get(language, 0) + 1
        if language == 'sh':
            lines = []
            for line in body.splitlines():
                if re.match(r'(sudo )?make\b', line):
                    check_make(line, where)
                else:
                    lines.append(line)
            if any(line.strip() for line in lines):
                self.run(['bash', '-e'], where, '\n'.join(lines) + '\n')
        elif language in ('c', 'python'):
            name = re.match(r'(?:/\*|#) (\S+\.(?:c|py))\b', body)
            if not name:
                fail(where, 'the first line does not name the file')
                return
            with open(os.path.join(self.scratch, name.group(1)), 'w', encoding='utf-8') as file:
                file.write(body)
            if language == 'python' and self.python:
                self.run([self.python, name.group(1)], where)
            elif language == 'python':
                self.printed = None
        elif language == 'sql':
            opening = f'.bail on\n.load build/uringvfs.so\n.open file:{DATABASE}?vfs=uring\n'
            self.run(['sqlite3', '-batch'], where, opening + body)
            for line in (self.printed or '').splitlines():
                if line.startswith('{'):
                    check_statistics(line)
        elif language == 'text':
            if self.printed is not None and self.printed != body:
                fail(where, f'the block before printed\n{self.printed}')
        else:
            fail(where, f'nobody knows how to check a block of "{language}"')


def check_statistics(line):
    """The manual names every counter that there is."""
    manual = read('ext/uringvfs.7')
    for key in json.loads(line):
        if key != 'vfs_version' and key not in manual:
            fail('uringvfs.7', f'PRAGMA uring_stats has {key}, which is not explained')


def check_text(readme):
    """Commands and paths in running text."""
    for code in re.findall(r'`([^`\n]+)`', re.sub(r'^```.*?^```$', '', readme, flags=re.M | re.S)):
        if re.match(r'make\b', code):
            check_make(code.replace("'tests/traps/*'", "'*'").replace("'", ''), 'README.md')
        elif re.match(r'(runtime|vfs|ext|tests|demo|\.ci)/', code) and not glob.glob(os.path.join(ROOT, code.split()[0])):
            fail('README.md', f'there is no {code}')
    command = re.search(r'^make deps check$', readme, re.M)
    if not command or f'{command.group(0)}\n' not in read('.ci/run'):
        fail('README.md', 'the test command is not the one that .ci/run calls')


def main():
    if not os.path.exists(os.path.join(BUILD, 'uringvfs.so')):
        print('build the extension first: make')
        return 1
    readme, manual = read('README.md'), read('ext/uringvfs.7')
    scratch = tempfile.mkdtemp(prefix='uringvfs-readme.')
    try:
        for name, target in (('build', BUILD), ('vfs', ROOT + '/vfs'), ('ext', ROOT + '/ext')):
            os.symlink(target, os.path.join(scratch, name))
        runner = Runner(scratch)
        for line, language, body in readme_blocks(readme):
            runner.block(f'README.md:{line}', language, body)
        for line, language, body in manual_examples(manual):
            runner.block(f'ext/uringvfs.7:{line}', language, body)
    finally:
        shutil.rmtree(scratch)
    check_text(readme)
    for language, least in (('sh', 4), ('c', 1), ('python', 1), ('sql', 2), ('text', 4)):
        if runner.counts.get(language, 0) < least:
            fail('README.md', f'only {runner.counts.get(language, 0)} blocks of {language} were found')
    for failure in failures:
        print(failure)
    if failures:
        return 1
    print('ran', ', '.join(f'{n} {language}' for language, n in sorted(runner.counts.items())), 'blocks')
    if not runner.python:
        print('no Python here can load SQLite extensions: the Python example was not run')
        return 77
    return 0


if __name__ == '__main__':
    sys.exit(main())
