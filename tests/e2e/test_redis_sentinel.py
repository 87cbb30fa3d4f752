# SPDX-License-Identifier: Apache-2.0
"""A real primary with a replica and three sentinels: it fails over under load."""
import subprocess

import pytest

from support.load import Load
from support.proc import wait_until
from support.redis_cluster import RedisSentinels
from support.stack import Stack, consumer_binary


@pytest.fixture(scope="module")
def stack(kafka, tmp_path_factory):
    directory = tmp_path_factory.mktemp("sentinel")
    with Stack(directory / "stack", partitions=2, kafka=kafka, redis=RedisSentinels(directory / "redis"), prefix="sentinel.",
               consumer_settings={"redis": {"timeout": "2s"}}) as everything:
        everything.run_consumer()
        yield everything


def test_the_primary_is_killed_under_load(stack):
    group = stack.redis
    with Load(stack, accounts=6, seed=11) as load:
        load.wait_more()
        old = group.primary()
        old.kill()
        new = wait_until(lambda: group.primary() not in (None, old) and group.primary(), 60, "another primary")
        load.wait_more()
        # The sentinels make the old one a replica of the new one; until then it says that it is a primary.
        old.restart()
        wait_until(lambda: old.client().info("replication").get("master_link_status") == "up", 60, "a replica again")
        load.wait_more()
        # And back, in an orderly way.
        port = next(p for p in group.ports if group.command(p, "SENTINEL", "FAILOVER", group.NAME) is not None)
        assert port
        wait_until(lambda: group.primary() is old, 60, "the first one as primary")
        wait_until(lambda: new.client().info("replication").get("master_link_status") == "up", 60, "a replica again")
        load.wait_more()
    load.check()
    assert stack.consumers[-1].alive


def test_check_knows_sentinels(stack):
    def check(**redis):
        config = stack.write_config("other", 0, redis=redis, consumer={"preflight_timeout": "2s"})
        done = subprocess.run([consumer_binary(), "check", "--config", config], capture_output=True, text=True, timeout=60,
                              check=False)
        return done.returncode, done.stderr
    sentinel = f"redis://127.0.0.1:{stack.redis.ports[0]}"
    assert check()[0] == 0
    code, said = check(mode="plain", url=sentinel)
    assert code == 2 and "is a sentinel: set redis.mode = sentinel" in said
    code, said = check(mode="cluster", url=sentinel)
    assert code == 2 and "is not a node of a cluster" in said
    code, said = check(sentinel_master="other")
    assert code == 2 and "knows no primary named other: correct redis.sentinel_master" in said
    code, said = check(sentinel_master="")
    assert code == 2 and "needs redis.sentinel_master" in said
