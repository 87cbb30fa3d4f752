# SPDX-License-Identifier: Apache-2.0
"""Child processes that never outlive the test run, and waiting for conditions.

Every child is the leader of its own process group and is killed by the kernel when the process that started it dies,
however that happens (PR_SET_PDEATHSIG). The signal follows the *thread* that started the child, so only the main
thread may do it.
"""
import collections
import ctypes
import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import threading
import time
import weakref
from pathlib import Path

# What this run ignores because it was started in the background must not be ignored by the programs that it starts.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

REPO = Path(__file__).resolve().parents[2]
# Longest wait for what must come: a machine may have much else to do. Only a test of speed has a shorter one of its own.
PATIENCE_S = 120.0
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(sig=signal.SIGKILL, parent=None):
    """Ask the kernel for `sig` when the parent dies; exit at once if it is gone already (pid `parent` is not ours)."""
    if _libc.prctl(_PR_SET_PDEATHSIG, int(sig), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def wait_until(condition, timeout_s=PATIENCE_S, what="the condition", interval_s=None):
    """Poll `condition` until it returns something true, and return that. AssertionError after `timeout_s`.

    What takes long is asked for less often, so that the asking does not take the processor from what is waited for. Who waits for
    something that passes gives an interval.
    """
    began = time.monotonic()
    deadline = began + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what} did not come about within {timeout_s:g} s")
        time.sleep(interval_s or min(0.1, max(0.02, (time.monotonic() - began) / 20)))


_ports = {}  # "file": its bytes are locked, one for each port; "given": to this process


def _take_port(port):
    """Whether no other test run of this machine was given the port: what it is for may not listen yet."""
    if "file" not in _ports:
        _ports["file"] = open(Path(tempfile.gettempdir()) / f"certsync-test-ports-{os.getuid()}", "ab")
        _ports["given"] = collections.deque(maxlen=2000)
    if port in _ports["given"]:
        return False
    try:
        fcntl.lockf(_ports["file"], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    _ports["given"].append(port)
    return True


def free_port():
    """A loopback port that nobody listens on, outside the range that the kernel hands to outgoing connections."""
    for _ in range(1000):
        port = random.randint(20000, 32000)
        if not _take_port(port):
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port between 20000 and 32000")


class Process:
    """One running program. stdout and stderr go to `<directory>/<name>.log` (appended over restarts).

    Process.started holds those that are still referred to somewhere (for the reports of failed tests).
    With `stdout=subprocess.PIPE` or `stdin=subprocess.PIPE` the pipes are at `.popen.stdout` and `.popen.stdin`.
    """

    started = weakref.WeakSet()

    def __init__(self, name, argv, directory, env=None, stdin=subprocess.DEVNULL, stdout=None):
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("start processes from the main thread: they die with the thread that starts them")
        self.name = name
        self.log = Path(directory) / f"{name}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        parent = os.getpid()
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(
                [str(a) for a in argv], cwd=directory, stdin=stdin, stdout=stdout or out, stderr=out,
                env={**os.environ, **(env or {})}, start_new_session=True,
                preexec_fn=lambda: die_with_parent(signal.SIGKILL, parent))
        self.paused = False
        self.started_s = time.time()
        Process.started.add(self)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def alive(self):
        return self.popen.poll() is None

    def signal(self, sig):
        """Send `sig` to the process alone (nothing happens if it has ended)."""
        if self.alive:
            os.kill(self.pid, sig)

    def wait(self, timeout_s=PATIENCE_S):
        """The exit code (negative: the signal), once it has ended by itself."""
        try:
            return self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {timeout_s:g} s\n{self.tail()}") from None

    def terminate(self, timeout_s=PATIENCE_S):
        """SIGTERM, then the exit code. AssertionError (after SIGKILL) if it does not end in time."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait(timeout_s)
        except AssertionError:
            self.kill()
            raise

    def kill(self):
        """SIGKILL to the whole process group; returns once the process is reaped."""
        if self.alive:
            try:
                os.killpg(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                pipe.close()

    def pause(self):
        """SIGSTOP: as a machine that hangs. `resume` undoes it."""
        self.paused = True
        self.signal(signal.SIGSTOP)

    def resume(self):
        self.signal(signal.SIGCONT)
        self.paused = False

    def output(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines=30):
        return f"--- last lines of {self.log}\n" + "\n".join(self.output().splitlines()[-lines:])
