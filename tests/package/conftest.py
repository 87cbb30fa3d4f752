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

from support import machine as machines, order, proc  # noqa: E402


@pytest.fixture(scope="session")
def machine(tmp_path_factory):
    """A Debian that is still being made: boot() waits for that."""
    made = machines.Machine(tmp_path_factory.mktemp("machine"))
    try:
        yield made
    finally:
        made.stop()


def pytest_collection_modifyitems(items):
    order.first(items, ["test_whole_life.py"])  # as long as all others together


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for process in list(proc.Process.started):
            if process.alive or process.started_s >= call.start:
                report.sections.append((f"{process.name} ({process.log})", process.tail()))
