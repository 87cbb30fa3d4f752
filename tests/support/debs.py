# SPDX-License-Identifier: Apache-2.0
"""The Debian packages that ./dev package has built."""
import subprocess

from support.proc import REPO

PACKAGES = REPO / "build/packages"
NAMES = ("certsync", "certsync-consumer")


def deb(name):
    found = list(PACKAGES.glob(f"{name}_*.deb"))
    assert len(found) == 1, f"run ./dev package; build/packages has {[p.name for p in found]}"
    return found[0]


def unpack(name, directory):
    """The package's files below `directory`, as they are installed; returns it."""
    subprocess.run(["dpkg-deb", "-x", deb(name), directory], check=True)
    return directory


def repack(name, directory, version, change):
    """The same package as another version; change(tree) may alter its files. Returns the new .deb."""
    tree = directory / f"{name}-{version}"
    subprocess.run(["dpkg-deb", "-R", deb(name), tree], check=True)
    control = tree / "DEBIAN/control"
    lines = [f"Version: {version}" if line.startswith("Version: ") else line for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    (tree / "DEBIAN/md5sums").unlink()
    change(tree)
    made = directory / f"{name}_{version}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, made], check=True, capture_output=True)
    return made
