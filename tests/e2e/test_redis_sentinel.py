# SPDX-License-Identifier: Apache-2.0
"""A real primary with a replica and three sentinels: it fails over under load."""
import subprocess

import pytest
import redis

from support.load import Load
from support.proc import PATIENCE_S, wait_until
from support.redis_cluster import RedisSentinels
from support.stack import Stack, consumer_binary


@pytest.fixture(scope="module")
def stack(kafka, tmp_path_factory):
    directory = tmp_path_factory.mktemp("sentinel")
    with Stack(directory / "stack", partitions=2, kafka=kafka, redis=RedisSentinels(directory / "redis"), prefix="sentinel.",
               consumer_settings={"redis": {"timeout": "2s"}}) as everything:
        everything.run_consumer()
        yield everything


def follows(server):
    """Whether it is a replica that has its primary. Who becomes one closes all connections: then it is asked again."""
    try:
        return server.client().info("replication").get("master_link_status") == "up"
    except redis.ConnectionError:
        return False


def test_fails_over_under_load(stack):
    group = stack.redis
    with Load(stack, accounts=6, seed=11) as load:
        load.wait_more()
        # In an orderly way: the old primary lives on, and takes writes until the sentinels make it a replica.
        first = group.primary()
        assert group.command(group.ports[0], "SENTINEL", "FAILOVER", group.NAME)
        second = wait_until(lambda: group.primary() not in (None, first) and group.primary(), PATIENCE_S, "another primary")
        load.wait_more()
        # And by force.
        wait_until(lambda: follows(first), PATIENCE_S, "a replica that follows it")
        second.kill()
        wait_until(lambda: group.primary() is first, PATIENCE_S, "the first one as primary")
        load.wait_more()
    load.check()
    assert stack.consumers[-1].alive


def test_check_knows_sentinels(stack):
    def check(**redis):
        config = stack.write_config("other", 0, redis=redis, consumer={"preflight_timeout": "2s"})
        done = subprocess.run([consumer_binary(), "check", "--config", config], capture_output=True, text=True, timeout=120,
                              check=False)
        return done.returncode, done.stderr
    sentinel = f"redis://127.0.0.1:{stack.redis.ports[0]}"
    assert check()[0] == 0
    code, said = check(mode="plain", url=sentinel, username="", password="")
    assert code == 2 and "is a sentinel: set redis.mode = sentinel" in said
    code, said = check(mode="cluster", url=sentinel, username="", password="")
    assert code == 2 and "is not a node of a cluster" in said
    code, said = check(sentinel_master="other")
    assert code == 2 and "knows no primary named other: correct redis.sentinel_master" in said
    code, said = check(sentinel_master="")
    assert code == 2 and "needs redis.sentinel_master" in said
