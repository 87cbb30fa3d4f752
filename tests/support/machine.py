# SPDX-License-Identifier: Apache-2.0
"""A Debian 12 of its own, with systemd as its first process: debootstrap makes it, systemd-nspawn boots it.

It shares the network with the host, so servers on loopback are there for it, too. Its files are below `.root`.
Who runs its tests often may keep what debootstrap makes (tar -C DIRECTORY -cf FILE .) and name it: CS_TEST_DEBIAN=FILE.
"""
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from support.proc import PATIENCE_S, Process, wait_until

MIRROR = "http://deb.debian.org/debian"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What changes with every use of apt, and what belongs to the running system.
NOISE = re.compile(r"/(var/(lib/(dpkg|apt|systemd)|cache|log|tmp)|proc|sys|run|dev|tmp)(/|$)"
                   r"|/etc/(ld\.so\.cache|\.pwd\.lock|(passwd|group|g?shadow)-)$")


# A PID namespace that ends with what is run in it, and that ends when this test run does, however that happens: no
# signal that is missed, no first process of the machine and no half of debootstrap is left behind, nor are mounts.
FENCE = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]


def cannot():
    """Why there can be no machine here; None where there can."""
    if os.geteuid() != 0:
        return "making a Debian and booting it needs root"
    for tool in ("debootstrap", "systemd-nspawn"):
        if not shutil.which(tool):
            return f"there is no {tool} (Debian packages debootstrap and systemd-container)"
    return None


def host_mirror():
    """The mirror of Debian that this host's apt uses, where it has one: it has every release."""
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"],
                          capture_output=True, text=True, check=False)
    return next((line.split()[0] for line in done.stdout.splitlines() if line.endswith((" bookworm main", " trixie main"))), MIRROR)


def debootstrap(release, root, *options):
    """The command that makes a small system of that release."""
    return [*FENCE, "debootstrap", "--variant=minbase", *options, release, root, host_mirror()]


def forget_crashes(root):
    """Before it is made: dpkg need not write so that a crash of the host loses nothing."""
    unsafe = root / "etc/dpkg/dpkg.cfg.d"
    unsafe.mkdir(parents=True)
    (unsafe / "unsafe").write_text("force-unsafe-io\n")


def connect(root):
    """Names are looked up there as here, and apt fetches as here: an archive that is a snapshot is out of date for ever."""
    dump = subprocess.run(["apt-config", "dump", "Acquire"], capture_output=True, text=True, check=True).stdout
    kept = re.findall(r'^Acquire::(?:Check-[A-Za-z-]+|https?::\S*|Retries) ".*";$', dump, re.M)
    (root / "etc/apt/apt.conf.d/90host").write_text("\n".join(kept) + '\nAPT::Sandbox::User "root";\n')
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")


def child_of(pid):
    """A process's first child; None where it has none, or is gone."""
    try:
        return next(iter(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()), None)
    except (FileNotFoundError, ProcessLookupError):
        return None


class Machine:
    def __init__(self, directory):
        self.directory, self.root = directory, directory / "root"
        self.process = None
        forget_crashes(self.root)
        kept = os.environ.get("CS_TEST_DEBIAN")
        self.made = Process("debootstrap", [*FENCE, "tar", "-C", self.root, "-xf", kept] if kept else debootstrap(
            "bookworm", self.root, "--include=systemd,systemd-sysv"), directory)

    def boot(self):
        assert self.made.wait(600) == 0, self.made.tail()
        connect(self.root)
        self.process = Process("machine", [*FENCE, "systemd-nspawn", "--register=no", "--keep-unit", "--console=pipe",
                                           "--resolv-conf=off", "-b", "-D", self.root], self.directory)

        def up():
            assert self.process.alive, self.process.tail()
            return self.leader() and self.run("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")
        wait_until(up, PATIENCE_S, "a booted machine", interval_s=0.2)
        return self

    def leader(self):
        """The machine's first process, by the host's number."""
        return child_of(child_of(self.process.pid))  # the fence's child is systemd-nspawn

    def run(self, *argv, timeout_s=180, **how):
        """In the machine, as root there."""
        enter = ["nsenter", "-t", self.leader(), "-m", "-u", "-i", "-p", "-r", "-w", "--", "env", "-i",
                 f"PATH={PATH}", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"]
        return subprocess.run([*enter, *map(str, argv)], capture_output=True, text=True, check=False, timeout=timeout_s,
                              stdin=subprocess.DEVNULL, **how)

    def must(self, *argv, **how):
        done = self.run(*argv, **how)
        assert done.returncode == 0, f"{' '.join(map(str, argv))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def apt(self, *argv):
        return self.must("apt-get", "-y", "--no-install-recommends", *argv)

    def show(self, unit, field):
        return self.must("systemctl", "show", "-P", field, unit).strip()

    def journal(self, unit):
        return self.run("journalctl", "-u", unit, "--no-pager", "-o", "cat").stdout

    def owner(self, path):
        """user:group mode, as the machine names them."""
        return self.must("stat", "-c", "%U:%G %a", path).strip()

    def files(self):
        """Every path that does not change by itself."""
        found = set()
        for where, directories, names in os.walk(self.root):
            inside = "/" + os.path.relpath(where, self.root).removeprefix(".")
            inside = inside.replace("//", "/")
            directories[:] = [d for d in directories if not NOISE.match(os.path.join(inside, d))]
            found |= {p for p in (os.path.join(inside, n) for n in directories + names) if not NOISE.match(p)}
        return found

    def stop(self):
        started = time.monotonic()
        self.made.kill()
        if self.process:
            self.process.kill()  # and with it all that is behind the fence
        # The kernel lets go of its mounts a moment later.
        while time.monotonic() - started < 10:
            try:
                shutil.rmtree(self.root)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.1)
