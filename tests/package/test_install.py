# SPDX-License-Identifier: Apache-2.0
"""cmake --install writes under the prefix (and DESTDIR) that it is given, and nowhere else; what it installs names its own paths."""
import os
import re
import stat
import subprocess

import pytest

from support.stack import build_dir

UNITS = (("certsync", "certsync-agent.service"), ("certsync-consumer", "certsync-consumer.service"), ("certsync-consumer", "certsync-notify.service"))
SETTINGS = {"certsync": "certsync.conf", "certsync-consumer": "consumer.conf"}


def install(area, *args, env=None):
    """All of the machine is read-only to it, but for `area` and the build directory."""
    build = build_dir()
    command = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--bind", area, area, "--bind", build, build,
               "cmake", "--install", build, *args]
    done = subprocess.run([str(c) for c in command], env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def exec_start(unit):
    return re.search(r"^ExecStart=(\S+) .*--config (\S+)$", unit.read_text(), re.M).groups()


@pytest.mark.parametrize("program, unit", UNITS)
def test_a_prefix_of_ones_own(tmp_path, program, unit):
    prefix = tmp_path / "prefix"
    said = install(tmp_path, "--prefix", prefix)
    started, config = exec_start(prefix / "lib/systemd/system" / unit)
    assert started == f"{prefix}/bin/{program}" and config == f"{prefix}/etc/certsync/{SETTINGS[program]}"
    assert "was built to look for its settings in /etc/certsync" in said
    subprocess.run([started, "--version"], check=True, capture_output=True, timeout=30)
    assert stat.S_IMODE(os.stat(config).st_mode) == 0o640
    assert {p.name for p in prefix.iterdir()} == {"bin", "etc", "lib", "share"}


def test_settings_that_were_filled_in_stay(tmp_path):
    install(tmp_path, "--prefix", tmp_path / "p")
    config = tmp_path / "p/etc/certsync/certsync.conf"
    config.write_text("[deployment]\nid = mine\n")
    assert f"Kept: {config}" in install(tmp_path, "--prefix", tmp_path / "p")
    assert "mine" in config.read_text()


@pytest.mark.parametrize("args", [(), ("--prefix", "/usr"), ("--prefix", "/usr/")])
def test_as_a_distribution_does(tmp_path, args):
    said = install(tmp_path, *args, env={"DESTDIR": str(tmp_path)})
    assert "was built to look" not in said
    for program, unit in UNITS:
        assert exec_start(tmp_path / "lib/systemd/system" / unit) == (f"/usr/bin/{program}", f"/etc/certsync/{SETTINGS[program]}")
        assert (tmp_path / "usr/bin" / program).exists() and (tmp_path / "etc/certsync" / SETTINGS[program]).exists()
    assert {p.name for p in tmp_path.iterdir()} == {"usr", "etc", "lib"}


def test_the_prefix_opt_has_all_beneath(tmp_path):
    install(tmp_path, "--prefix", "/opt/certsync", env={"DESTDIR": str(tmp_path)})
    assert exec_start(tmp_path / "opt/certsync/lib/systemd/system/certsync-agent.service") == (
        "/opt/certsync/bin/certsync", "/opt/certsync/etc/certsync/certsync.conf")
    assert {p.name for p in tmp_path.iterdir()} == {"opt"}
