# SPDX-License-Identifier: Apache-2.0
"""./dev on a machine that lacks something: what it says, and that two of it do not meet in one build directory."""
import fcntl
import os
import shutil
import subprocess

import pytest

from support import kafka, proc
from support.proc import REPO, Process, wait_until


@pytest.fixture
def clone(tmp_path):
    """A clone that holds ./dev alone, and a PATH on which the tools are ours."""
    shutil.copy(REPO / "dev", tmp_path / "dev")
    (tmp_path / "bin").mkdir()
    env = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")} | {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}

    def tool(name, script):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    tool("dpkg-query", "printf installed")
    tool("cmake", f'echo "$*" >>{tmp_path}/cmake.log')
    return tmp_path, env, tool


def dev(clone, *args):
    folder, env, _ = clone
    return subprocess.run([folder / "dev", *args], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=proc.PATIENCE_S, check=False)


def test_a_second_build_in_one_directory_waits(clone):
    folder, env, _ = clone
    (folder / "build").mkdir()
    with open(folder / "build/dev.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = Process("second", [folder / "dev", "build"], folder, env=env)
        wait_until(lambda: "another ./dev works in build/dev: this one waits" in second.output() or not second.alive, what="a sentence")
        assert second.alive and not (folder / "cmake.log").exists(), second.tail()
        assert dev(clone, "build", "release", "certsync").returncode == 0  # another directory, and one target
    assert second.wait() == 0, second.tail()
    built = (folder / "cmake.log").read_text()
    assert "--build build/dev" in built and "--build build/release" in built and "--target certsync\n" in built


def test_without_a_network_the_packages_say_so(clone):
    _, _, tool = clone
    tool("dpkg-query", "exit 1")
    tool("sudo", 'case $1 in -n) shift ;; esac; exec "$@"')
    tool("apt-get", 'case "$*" in *update*) echo "Could not resolve deb.debian.org"; exit 100 ;; esac; exit 100')
    done = dev(clone, "build")
    assert done.returncode == 1 and "apt-get update failed. Is there a network" in done.stderr, done
    assert "as root, run: apt-get update && apt-get install -y" in done.stderr and "libssl-dev" in done.stderr


@pytest.mark.parametrize("command", ["demo", "up", "test", "build", "package"])
def test_help_is_no_unknown_argument(clone, command):
    done = dev(clone, command, "--help")
    assert done.returncode == 0 and "\n  up [--kafka]" in done.stdout and not done.stderr, done


def test_without_maven_central_kafka_says_what_is_needed(clone, monkeypatch):
    folder, env, tool = clone
    tool("mvn", "echo 'Could not transfer artifact: Unknown host'; exit 1")
    monkeypatch.setenv("PATH", env["PATH"])
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    with pytest.raises(kafka.StartFailed, match=r"(?s)Unknown host.*settings\.xml.*\./dev demo"):
        kafka.Jars().fetch()
