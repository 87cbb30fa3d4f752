# SPDX-License-Identifier: Apache-2.0
"""./dev test trixie: a command in a copy of this clone, on a Debian 13 of its own.

    trixie.py COMMAND    sh runs it there, as root, in the copy

debootstrap makes the system, ./dev installs there what it needs, bubblewrap enters it. All of it is in build/trixie, and is kept
for the next time; it is made anew when ./dev names other packages. Mounts and processes are in namespaces that end with this one.
"""
import filecmp
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import machine as machines  # noqa: E402
from support.proc import REPO  # noqa: E402

HOME = REPO / "build/trixie"
SYSTEM, NAMED = HOME / "system", HOME / "packages"
CLONE = SYSTEM / "root/certsync"


def say(text):
    print(f"\n== {text}", file=sys.stderr, flush=True)


def make_system():
    named = "\n".join(re.findall(r'^[A-Z_]*PACKAGES="[^"]*"', (REPO / "dev").read_text(), re.M))
    if NAMED.exists() and NAMED.read_text() == named:
        return
    say(f"making a Debian 13 in {SYSTEM.relative_to(REPO)}")
    NAMED.unlink(missing_ok=True)
    shutil.rmtree(SYSTEM, ignore_errors=True)
    machines.forget_crashes(SYSTEM)
    with open(HOME / "debootstrap.log", "wb") as log:
        done = subprocess.run(machines.debootstrap("trixie", SYSTEM), stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        sys.exit((HOME / "debootstrap.log").read_text(errors="replace")[-2000:] + "trixie: debootstrap failed")
    machines.connect(SYSTEM)
    NAMED.write_text(named)


def copy_clone():
    """What is in git or could be. Only what changed is written, and is built anew there. The copy's build directory stays."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=REPO, capture_output=True,
                            check=True).stdout.decode()
    names = {name for name in listed.split("\0") if name and (REPO / name).exists()}
    for where, directories, files in os.walk(CLONE):
        directories[:] = [d for d in directories if Path(where, d) != CLONE / "build"]
        for old in (Path(where, f) for f in files):
            if str(old.relative_to(CLONE)) not in names:
                old.unlink()
    for name in names:
        if not (CLONE / name).exists() or not filecmp.cmp(REPO / name, CLONE / name, shallow=False):
            (CLONE / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPO / name, CLONE / name)


def enter(command):
    # An installation that was broken off is ended first.
    return ["bwrap", "--bind", SYSTEM, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run", "--tmpfs", "/tmp", "--unshare-pid",
            "--unshare-ipc", "--die-with-parent", "--cap-add", "ALL", "--chdir", f"/{CLONE.relative_to(SYSTEM)}", "--clearenv",
            "--setenv", "PATH", machines.PATH, "--setenv", "HOME", "/root", "--setenv", "LC_ALL", "C.UTF-8",
            "--setenv", "SOURCE_DATE_EPOCH", os.environ.get("SOURCE_DATE_EPOCH", ""), "sh", "-c", f"dpkg --configure -a && {command}"]


def main(command):
    if os.geteuid() != 0:
        sys.exit("trixie: making a Debian and entering it needs root: run ./dev test trixie as root")
    HOME.mkdir(parents=True, exist_ok=True)
    make_system()
    copy_clone()
    say(f"Debian 13: {command}")
    return subprocess.run([str(a) for a in enter(command)], stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
