# SPDX-License-Identifier: Apache-2.0
"""A real Redis Cluster under load: masters are killed, slots move. And what `check` says where redis.mode is another than Redis is."""
import subprocess

import pytest

from model_py import catalog
from support import events as ev
from support.load import Load
from support.proc import PATIENCE_S, wait_until
from support.redis import Redis
from support.redis_cluster import RedisCluster
from support.stack import Stack, consumer_binary


@pytest.fixture(scope="module")
def stack(kafka, tmp_path_factory):
    directory = tmp_path_factory.mktemp("cluster")
    with Stack(directory / "stack", partitions=6, kafka=kafka, redis=RedisCluster(directory / "redis"), prefix="cluster.",
               consumer_settings={"redis": {"timeout": "2s"}, "consumer": {"workers": 2}}) as everything:
        everything.run_consumer()
        yield everything


def slot_of(stack, partition):
    return stack.redis.nodes[0].client().execute_command("CLUSTER KEYSLOT", f"cs:{{{partition}}}:pos")


def log_of(stack):
    return stack.consumers[-1].output()


def test_a_master_is_killed_under_load_and_its_replica_lags(stack):
    """What was acknowledged after the replica lost its master is gone: the position with it, and the log is read again."""
    cluster = stack.redis
    with Load(stack, seed=1) as load:
        load.wait_more()
        partition = sorted(load.partitions)[0]
        master = cluster.owner(slot_of(stack, partition))
        replica = next(n for n in cluster.nodes if n is not master and
                       n.client().execute_command("ROLE")[0] == b"slave" and n.client().execute_command("ROLE")[2] == master.port)
        replica.pause()
        master.client().execute_command("CLIENT", "KILL", "TYPE", "replica")
        load.wait_more([partition], events=10)
        before = log_of(stack).count("partition is replayed")
        master.kill()
        replica.resume()
        load.wait_more()  # all partitions, those of the new master too
        assert log_of(stack).count("partition is replayed") > before
        master.restart()
        cluster.wait_ok()
        load.wait_more()
    load.check()
    assert stack.consumers[-1].alive


def test_slots_move_back_and_forth_under_load(stack):
    cluster = stack.redis
    with Load(stack, seed=2) as load:
        load.wait_more()
        moving, *others = sorted(load.partitions)
        slot = slot_of(stack, moving)
        home = cluster.owner(slot)
        away = next(m for m in cluster.live_masters() if m is not home)
        # Half of the keys are there, half here: the partition waits, the others go on, and nothing looks absent.
        cluster.begin_move(slot, home, away)
        cluster.move_keys(slot, home, away, most=30)
        wait_until(lambda: board(stack)[moving]["state"] == "waiting", PATIENCE_S, "a partition that waits for its slot", interval_s=0.02)
        load.wait_more(others)
        assert "slot" in board(stack)[moving]["reason"] or "TRYAGAIN" in board(stack)[moving]["reason"]
        cluster.move_keys(slot, home, away)
        cluster.end_move(slot, away)
        load.wait_more()
        for source, target in ((away, home), (home, away), (away, home)):
            cluster.move_slot(slot, source, target, pause_s=0.01)
            load.wait_more([moving])
    load.check()


def test_what_is_gone_or_old_is_made_again(stack):
    """A document and a whole index deleted, the position put back: each at the master that has the partition."""
    told = log_of(stack).count("the damaged catalog is made again")
    with Load(stack, accounts=12, seed=3) as load:
        load.wait_more()
        accounts = {ev.partition_of(a.id, stack.partitions): a for a in load.accounts}
        some = sorted(accounts.items())[:3]
        for (partition, account), kind in zip(some, ("account/{}", "view/{}", "pos")):
            client = stack.redis.owner(slot_of(stack, partition)).client()
            name = catalog.live_prefix(client, "cs", partition) + kind.format(account.id)
            before = client.dump(name)
            assert client.delete(name)
            if kind == "pos":
                client.restore(name, 0, before)
                wait_until(lambda client=client, name=name, before=before: client.dump(name) != before, PATIENCE_S, "a position that moves",
                           interval_s=0.02)
                client.restore(name, 0, before, replace=True)

        def made_again():
            for _, account in some:
                stack.get(account, "certificates")
            return log_of(stack).count("the damaged catalog is made again") >= told + len(some)
        wait_until(made_again, PATIENCE_S, "catalogs made again")
        load.wait_more()
    load.check()


def board(stack):
    return {p["partition"]: p for p in stack.http("/readyz")[1]["partitions"]}


# --- the kind of Redis

def check(stack, tmp_path, **redis):
    """What `check` says with other settings of Redis: (exit code, its words)."""
    config = stack.write_config("other", 0, redis=redis, consumer={"preflight_timeout": "2s"})
    done = subprocess.run([consumer_binary(), "check", "--config", config], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr


def url(server):
    return f"redis://127.0.0.1:{server.port}"


def test_check_knows_a_cluster(stack, tmp_path):
    cluster = stack.redis
    assert check(stack, tmp_path)[0] == 0
    code, said = check(stack, tmp_path, mode="plain", url=url(cluster.nodes[0]))
    assert code == 2 and "set redis.mode = cluster" in said
    code, said = check(stack, tmp_path, mode="sentinel", sentinel_master="x", url=url(cluster.nodes[0]))
    assert code == 2 and "is not a sentinel" in said
    code, said = check(stack, tmp_path, mode="plain")
    assert code == 2 and "redis.url lists more than one address" in said
    code, said = check(stack, tmp_path, url=f"{cluster.settings()['url']},unix:///run/redis.sock")
    assert code == 2 and "one kind" in said


def test_check_looks_at_every_master(stack, tmp_path):
    last = stack.redis.live_masters()[-1]
    last.client().config_set("maxmemory-policy", "allkeys-lru")
    try:
        code, said = check(stack, tmp_path)
        assert code == 2 and f"127.0.0.1:{last.port} may throw keys away (maxmemory-policy allkeys-lru)" in said
    finally:
        last.client().config_set("maxmemory-policy", "noeviction")


def test_check_knows_a_plain_redis(stack, tmp_path):
    with Redis(tmp_path / "plain", tcp=True) as plain:
        code, said = check(stack, tmp_path, mode="cluster", url=url(plain), username="", password="")
        assert code == 2 and "is not a node of a cluster: set redis.mode = plain" in said
        code, said = check(stack, tmp_path, mode="sentinel", sentinel_master="x", url=url(plain), username="", password="")
        assert code == 2 and "is not a sentinel" in said
        assert check(stack, tmp_path, mode="plain", url=url(plain), username="", password="")[0] == 0
