# SPDX-License-Identifier: Apache-2.0
"""A disk that is really full (ENOSPC of a small tmpfs), and clocks that are years off (wrong_clock.c). Both say why where they cannot be had."""
import ctypes
import errno
import os
from pathlib import Path

from support.stack import build_dir

CLONE_NEWNS, MS_PRIVATE, MS_REC, MNT_DETACH = 0x20000, 1 << 18, 0x4000, 2
PAGE = 4096
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)


def own_mounts():
    """From now on this process and its children have mounts of their own, which end with them. Returns why not, or nothing."""
    if _libc.unshare(CLONE_NEWNS) != 0 or _libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        return f"a file system cannot be mounted here: {os.strerror(ctypes.get_errno())}"
    return None


def _clock_library():
    return build_dir() / "tests/chaos/libchaos_clock.so"


def no_clock():
    return None if _clock_library().exists() else f"there is no {_clock_library()}"


def clock(years):
    """The environment in which a program believes that it is so many years later; 0: now."""
    return {"LD_PRELOAD": str(_clock_library()), "CHAOS_CLOCK_S": str(int(years * 365 * 86400))} if years else {}


class Disk:
    """A small file system of its own over a directory that is there."""

    def __init__(self, path):
        self.path, self.filled, self.mounted = Path(path), False, True
        if _libc.mount(b"none", os.fsencode(path), b"tmpfs", 0, b"size=1m,nr_inodes=160,mode=700") != 0:
            raise OSError(ctypes.get_errno(), "mount")

    def fill(self, r):
        """Of its blocks at most two are left, or of its files' numbers at most one."""
        self.filled = True
        if r.random() < 0.75:
            with open(self.path / "eater", "wb", buffering=0) as out:
                size = _until_full(lambda: out.write(bytes(PAGE)))
                out.truncate(max(0, size - r.choice((0, 0, 1, 2))) * PAGE)
            return
        made = _until_full(lambda: (self.path / f"eater{sum(1 for _ in self.path.glob('eater*'))}").touch())
        if made and r.random() < 0.5:
            (self.path / f"eater{made - 1}").unlink(missing_ok=True)

    def free(self):
        self.filled = False
        for eater in self.path.glob("eater*"):
            eater.unlink(missing_ok=True)

    def unmount(self):
        if self.mounted:
            _libc.umount2(os.fsencode(self.path), MNT_DETACH)
        self.mounted = False


def _until_full(step):
    """How often step went well before the disk was full."""
    done = 0
    while True:
        try:
            step()
        except OSError as e:
            if e.errno != errno.ENOSPC:
                raise
            return done
        done += 1
