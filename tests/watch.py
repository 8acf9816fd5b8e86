#!/usr/bin/env python3
"""watch.py COMMAND... - runs a test, and stops it when it makes no progress; slow it may be.

The time that a test takes says as much about the machine as about the test. What is looked at instead, from /proc and
over all processes that the test has started, is whether they still work:

- TEST_STALL (120) seconds asleep: no output, nothing read from or written to a device, and all threads sleep. A thread
  that waits for a processor or a disk, or that somebody has stopped, is not asleep. Loops that look every few
  milliseconds whether something has happened are: what is awake less than a fifth of the time counts as asleep.
- TEST_CPU (900) seconds of processor time without a word of output: it runs in circles. This is the same on a busy
  machine.
- TEST_LIMIT (3600) seconds: the last resort, for what neither of these can tell.

Seconds are counted only while this program runs too, so it does no harm to suspend a machine or to stop a whole run for
a while. What is stopped gets SIGTERM, ten seconds later SIGKILL, with everything that it has started. Exit code: that
of the command, 128 and the number of the signal that ended it, or 124: stopped, and the last line of the output says
why.
"""
import ctypes
import os
import resource
import signal
import stat
import sys
import time

TICKS = os.sysconf('SC_CLK_TCK')
PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 10
AWAKE_SHARE = 5  # what is awake at one look of so many counts as asleep
STATE, PPID, UTIME = 0, 1, 11  # fields of /proc/PID/stat behind the name


def read(path):
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            return file.read()
    except OSError:  # it has ended, or belongs to somebody else
        return ''


def stat_fields(path):
    """Of a process or thread; [] if it has ended. The name, in parentheses, may hold anything."""
    return read(path).rpartition(')')[2].split()


class Tree:
    """The processes below this one. Those whose parent has ended become children of this one, which is a subreaper."""

    def __init__(self):
        found = {int(name): stat_fields(f'/proc/{name}/stat') for name in os.listdir('/proc') if name.isdigit()}
        children = {}
        for pid, fields in found.items():
            if fields: children.setdefault(int(fields[PPID]), []).append(pid)
        self.processes, new = {}, [os.getpid()]
        while new:
            for pid in children.get(new.pop(), []):
                self.processes[pid] = found[pid]
                new.append(pid)

    def cpu_s(self):
        """Processor time, that of processes which have ended included."""
        gone = resource.getrusage(resource.RUSAGE_CHILDREN)
        ticks = sum(int(n) for fields in self.processes.values() for n in fields[UTIME:UTIME + 4])
        return gone.ru_utime + gone.ru_stime + ticks / TICKS

    def device_bytes(self):
        """Of each process: read from and written to devices. A ring's requests appear in no other number."""
        found = {}
        for pid in self.processes:
            lines = dict(line.split(': ') for line in read(f'/proc/{pid}/io').splitlines())
            found[pid] = (lines.get('read_bytes'), lines.get('write_bytes'))
        return found

    def threads(self):
        """(process, state, thread)"""
        for pid in self.processes:
            try:
                names = os.listdir(f'/proc/{pid}/task')
            except OSError:
                continue
            for name in names:
                fields = stat_fields(f'/proc/{pid}/task/{name}/stat')
                if fields: yield pid, fields[STATE], name

    def all_asleep(self):
        return all(state in 'SZXI' for _, state, _ in self.threads())

    def signal(self, number):
        for pid in self.processes:
            try:
                os.kill(pid, number)
            except OSError:
                pass

    def describe(self):
        for pid, state, thread in self.threads():
            name, where = (read(f'/proc/{pid}/task/{thread}/{what}').strip() for what in ('comm', 'wchan'))
            waits = f', in {where}' if len(where) > 1 else ''
            print(f'watch.py: process {pid}, thread {thread}, {name}: state {state}{waits}')


class Progress:
    """Told every now and then how far things are; stalled() is why they should be stopped, or None."""

    def __init__(self):
        self.asleep_s = self.all_s = 0.0
        self.output = self.cpu_s = self.cpu_at_output_s = 0.0
        self.device = {}

    @staticmethod
    def output_bytes():
        status = os.fstat(1)
        return status.st_size if stat.S_ISREG(status.st_mode) else 0

    def look(self, tree, passed_s):
        self.all_s += passed_s
        cpu_s, device, output = tree.cpu_s(), tree.device_bytes(), self.output_bytes()
        spoke = output != self.output
        moved = any(self.device.get(pid, now) != now for pid, now in device.items())
        worked = (cpu_s - self.cpu_s) * AWAKE_SHARE > passed_s
        if spoke or moved:
            self.asleep_s = 0
        elif worked or not tree.processes or not tree.all_asleep():
            self.asleep_s = max(0, self.asleep_s - passed_s * (AWAKE_SHARE - 1))
        else:
            self.asleep_s += passed_s
        if spoke: self.cpu_at_output_s = cpu_s
        self.cpu_s, self.device, self.output = cpu_s, device, output

    def stalled(self):
        if self.asleep_s > STALL_S: return f'nothing of it ran for {STALL_S:g} s'
        if self.cpu_s - self.cpu_at_output_s > CPU_S: return f'{CPU_S:g} s of processor time without a word'
        if self.all_s > LIMIT_S: return f'not finished after {LIMIT_S:g} s'
        return None


def setting(name, default):
    value = float(os.environ.get(name) or default)
    if value <= 0: sys.exit(f'watch.py: {name} must be more than 0')
    return value


STALL_S, CPU_S, LIMIT_S = setting('TEST_STALL', 120), setting('TEST_CPU', 900), setting('TEST_LIMIT', 3600)
INTERVAL_S = min(1, STALL_S / 20, CPU_S / 20)


def start(command):
    """The command, as if this program were not there: its signals are what they were before Python had them."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0: sys.exit('watch.py: no subreaper')
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
    try:
        return os.posix_spawnp(command[0], command, os.environ, setsigmask=before,
                               setsigdef=[signal.SIGPIPE, signal.SIGXFSZ])
    except OSError as error:
        print(f'watch.py: {command[0]}: {error.strerror}')
        sys.exit(127)


def reap(pid):
    """Takes the ended. The exit code of pid, or None as long as it runs."""
    code = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if ended == 0: return code
        if ended == pid: code = os.waitstatus_to_exitcode(status)


def wait(seconds):
    """Returns sooner when a child ends. The time that has passed; not what this program did not run for."""
    before = time.monotonic()
    signal.sigtimedwait([signal.SIGCHLD], seconds)
    return min(seconds, time.monotonic() - before)


def stop(pid):
    tree, passed_s = Tree(), 0.0
    tree.describe()
    tree.signal(signal.SIGTERM)
    tree.signal(signal.SIGCONT)  # one that somebody has stopped hears nothing until it goes on
    while passed_s < GRACE_S and reap(pid) is None: passed_s += wait(0.1)
    passed_s = 0.0
    while passed_s < GRACE_S and (tree := Tree()).processes:
        tree.signal(signal.SIGKILL)
        passed_s += wait(0.1)
        reap(pid)


def main():
    if len(sys.argv) < 2: sys.exit('usage: watch.py COMMAND...')
    pid, progress, passed_s = start(sys.argv[1:]), Progress(), 0.0
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(pid, number))
    while (code := reap(pid)) is None:
        passed_s += wait(INTERVAL_S - passed_s)
        if passed_s < INTERVAL_S: continue
        progress.look(Tree(), passed_s)
        passed_s = 0.0
        if reason := progress.stalled():
            stop(pid)
            print(f'stopped: {reason}')
            sys.exit(124)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == '__main__':
    main()
