# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: ./dev test package builds them in build/packages, and says where the programs are ($CS_TEST_BUILD)."""
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Settings that somebody exported for certsync (see ./dev up) must not reach the tests' programs.
for name in [name for name in os.environ if name.startswith("CERTSYNC_")]:
    del os.environ[name]

from support import machine as machines, proc  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def machine(tmp_path_factory):
    """Begun at once, since it takes the longest: it is made while other tests run. None where there can be none."""
    if machines.cannot():
        yield None
        return
    made = machines.Machine(tmp_path_factory.mktemp("machine"))
    try:
        yield made
    finally:
        made.stop()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for process in list(proc.Process.started):
            if process.alive or process.started_s >= call.start:
                report.sections.append((f"{process.name} ({process.log})", process.tail()))
