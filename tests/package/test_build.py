# SPDX-License-Identifier: Apache-2.0
"""The programs are hardened as Debian's own are, and two builds of one commit are equal, wherever they are made."""
import hashlib
import os
import platform
import re
import shutil
import subprocess

import pytest

from support.proc import REPO
from support.stack import build_dir, certsync_binary, consumer_binary


def readelf(option, program):
    return subprocess.run(["readelf", "-W", option, program], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("program", [certsync_binary(), consumer_binary()], ids=lambda p: p.name)
def test_hardened(program):
    dynamic, headers = readelf("-d", program), readelf("-l", program)
    assert re.search(r"FLAGS_1.*\bNOW\b.*\bPIE\b", dynamic) and "BIND_NOW" in dynamic
    assert "GNU_RELRO" in headers and re.search(r"GNU_STACK .* RW +0x", headers)
    assert re.search(r"\bDYN\b", readelf("-h", program))
    symbols = readelf("--dyn-syms", program)
    assert "__stack_chk_fail" in symbols and "__memcpy_chk" in symbols
    if platform.machine() == "x86_64":
        # Functions that may be called by address begin with endbr64. (The note IBT is not there: Debian 12's startup files lack it.)
        assert program.read_bytes().count(bytes.fromhex("f30f1efa")) > 500


@pytest.mark.parametrize("program", [certsync_binary(), consumer_binary()], ids=lambda p: p.name)
def test_no_word_of_where_it_was_built(program):
    assert str(REPO).encode() not in program.read_bytes()


def run(argv, cwd, **env):
    done = subprocess.run([str(a) for a in argv], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, timeout=900,
                          check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_two_builds_are_equal(tmp_path):
    """A copy in a directory of another depth, with its build directory elsewhere, and no cache of a compiler."""
    files = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, check=True).stdout.decode().split("\0")
    copy, build = tmp_path / "one/more/copy", tmp_path / "out"
    for name in filter(None, files):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPO / name, copy / name)
    epoch = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=REPO, capture_output=True, text=True, check=True).stdout.strip()
    env = {"SOURCE_DATE_EPOCH": os.environ.get("SOURCE_DATE_EPOCH", epoch), "CCACHE_DISABLE": "1"}
    run(["cmake", "--preset", "release", "-B", build], copy, **env)
    run(["cmake", "--build", build, "--parallel", os.cpu_count(), "--target", "certsync", "certsync-consumer", "packages"], copy, **env)
    for program in (certsync_binary(), consumer_binary()):
        assert digest(build / program.relative_to(build_dir())) == digest(program), program.name
    run(["cpack", "-G", "DEB", "-B", tmp_path / "packages"], build, **env)
    made = sorted(p.name for p in (tmp_path / "packages").glob("*.deb"))
    assert len(made) == 2
    for name in made:
        assert digest(tmp_path / "packages" / name) == digest(REPO / "build/packages" / name), name
