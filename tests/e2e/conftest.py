# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end tests: real Kafka, real Redis, the programs as they were built (build/dev, or $CS_TEST_BUILD).

A failed test shows the last lines of every server and program that it used.
"""
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# Settings that somebody exported for certsync (see ./dev up) must not reach the tests' programs.
for name in [name for name in os.environ if name.startswith("CERTSYNC_")]:
    del os.environ[name]

from support import order, proc  # noqa: E402
from support.kafka import Kafka  # noqa: E402
from support.redis import Redis  # noqa: E402
from support.stack import Stack  # noqa: E402


# A minute and more each.
LONGEST = ["test_operators.py", "test_states.py", "test_rebuild.py", "test_verdicts.py", "test_agent_daemon.py", "test_damage.py",
           "test_documents.py", "test_witness.py", "test_heartbeats.py", "test_proof.py", "test_redis_cluster.py"]


@pytest.fixture(scope="session")
def kafka(tmp_path_factory):
    """One Kafka node for the whole run: make topics of your own. Never kill or pause this one; start a Kafka instead."""
    with Kafka(tmp_path_factory.mktemp("kafka") / "data") as server:
        yield server


@pytest.fixture
def redis(tmp_path):
    """A Redis of the test's own, which it may kill, pause and restart."""
    with Redis(tmp_path / "redis") as server:
        yield server


@pytest.fixture(scope="session")
def stack(kafka, tmp_path_factory):
    """Redis and one running consumer for the whole run; each test makes accounts of its own (stack.account())."""
    settings = {"api": {"quiet_after": "2s"}, "consumer": {"inspect_every": "2s"}}
    with Stack(tmp_path_factory.mktemp("stack") / "s", kafka=kafka, consumer_settings=settings) as everything:
        everything.run_consumer()
        yield everything


def pytest_collection_modifyitems(items):
    order.first(items, LONGEST)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.failed:
        for process in list(proc.Process.started):
            if process.alive or process.started_s >= call.start:
                report.sections.append((f"{process.name} ({process.log})", process.tail()))
