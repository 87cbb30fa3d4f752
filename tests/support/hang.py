# SPDX-License-Identifier: Apache-2.0
"""One thread of a process that does not go on, while the others do: as one that waits for ever.

    with Hang(process.pid, "worker-0"):
        ...

The kernel stops it for us as its tracer, which only the main thread may be.
"""
import ctypes
import os
from pathlib import Path

_SEIZE, _INTERRUPT, _DETACH, _WALL = 0x4206, 0x4207, 17, 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = [ctypes.c_long] * 4


def _ptrace(request, tid):
    if _libc.ptrace(request, tid, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


def _name_of(task):
    """Of a thread; None where it has ended meanwhile."""
    try:
        return (task / "comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None


class Hang:
    def __init__(self, pid, thread):
        self.pid, self.thread, self.tid = pid, thread, None

    def __enter__(self):
        tids = [int(t.name) for t in Path(f"/proc/{self.pid}/task").iterdir() if _name_of(t) == self.thread]
        assert len(tids) == 1, (self.thread, tids)
        self.tid = tids[0]
        _ptrace(_SEIZE, self.tid)
        _ptrace(_INTERRUPT, self.tid)
        os.waitpid(self.tid, _WALL)
        return self

    def ended(self):
        """Whether the process was killed. It is gone for others, too, only once this was asked."""
        if self.tid is not None and os.waitpid(self.tid, _WALL | os.WNOHANG)[0] != 0:
            self.tid = None
        return self.tid is None

    def __exit__(self, *_):
        if not self.ended():
            _ptrace(_DETACH, self.tid)
