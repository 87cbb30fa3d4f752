# SPDX-License-Identifier: Apache-2.0
"""Heartbeats: a host is seen to live, and the log does not grow by it."""
import re
import subprocess

import pytest

from support import events as ev
from support.host import AgentHost, admin_host, put_pair, watch_pairs
from support.proc import PATIENCE_S, wait_until
from support.stack import Stack, consumer_binary


CA = ev.Authority("Heartbeats Root")


def with_one_pair(host):
    put_pair(watch_pairs(host), "www", CA)
    return host


@pytest.fixture
def host(stack, tmp_path):
    h = with_one_pair(AgentHost(stack, stack.account(), tmp_path))
    yield h
    if h.process and h.process.alive:
        h.process.kill()


def beat(stack, host):
    """What the API says of the host's last heartbeat; None: it knows of none."""
    status, body = stack.http(f"/v1/accounts/{host.account.id}/agents", stack.token(stack.auditor, "*"))
    return status == 200 and next((a.get("heartbeat") for a in body["agents"] if a["kid"] == host.sender.kid), None)


def wait_beats(stack, host, n=2):
    """n more heartbeats."""
    for _ in range(n):
        last = beat(stack, host)
        wait_until(lambda: (b := beat(stack, host)) and (not last or b["at"] > last["at"]), PATIENCE_S, "a heartbeat")
    return beat(stack, host)


def ends(stack, *topics):
    return [end for topic in topics for _, end in stack.kafka.all_watermarks(topic).values()]


def metrics(stack, name):
    text = stack.http("/metrics")[1]
    return {m[1]: float(m[2]) for m in re.finditer(rf"^{name}(?:\{{([^\n]*)\}})? (\S+)$", text, re.M)}


def check(config):
    return subprocess.run([consumer_binary(), "check", "--config", config], capture_output=True, timeout=PATIENCE_S, check=False)


def test_a_host_lives(stack, host, tmp_path):
    """The log holds nothing of it. What is remembered may be lost, or bent; who is revoked is forgotten."""
    client, partition = stack.redis.client(), ev.partition_of(host.account.id, stack.partitions)
    key, index = f"cs:{{{partition}}}:beat/{host.account.id}/{host.sender.kid}", f"cs:{{{partition}}}:beats"
    member = f"{host.account.id}/{host.sender.kid}"
    host.configure(**{"agent.heartbeat": "300ms"})
    host.start()
    host.wait_version("www", 1)
    assert wait_beats(stack, host)["certificates"] == 1
    host.wait_quiet()
    host.wait_status(lambda s: s["heartbeat"]["sent"] and not s["attention"], "a heartbeat that was sent")
    assert "last sent" in host.expect(0, "status")
    before, beats = ends(stack, stack.events_topic, stack.outcomes_topic), ends(stack, stack.heartbeats_topic)
    wait_beats(stack, host, 3)
    assert ends(stack, stack.events_topic, stack.outcomes_topic) == before
    assert sum(ends(stack, stack.heartbeats_topic)) >= sum(beats) + 3
    assert host.spooled() == [] and host.status()["spool"]["events"] == 0
    host.stop()
    # Somebody else writes to Redis, and takes from it: nobody calls it damage.
    client.setrange(key, 12, b"9")
    assert beat(stack, host) is None
    wait_until(lambda: client.zscore(index, member) is None, 2 * PATIENCE_S, "an index that follows")
    host.start()
    wait_beats(stack, host)
    host.stop()
    client.delete(key, index)
    assert beat(stack, host) is None
    host.start()
    wait_beats(stack, host)
    assert client.zscore(index, member) is not None
    assert all(v == 0 for v in metrics(stack, "certsync_partition_damaged").values())
    admin_host(stack, host.account, tmp_path).expect(0, "agent", "revoke", host.sender.kid)
    wait_until(lambda: beat(stack, host) is None, PATIENCE_S, "a host that is shown no more")
    wait_until(lambda: not client.exists(key) and client.zscore(index, member) is None, PATIENCE_S, "a host that is forgotten")
    refused = metrics(stack, "certsync_heartbeats_total")['end="ended_key"']
    wait_until(lambda: metrics(stack, "certsync_heartbeats_total")['end="ended_key"'] > refused, PATIENCE_S, "a heartbeat that counts for nothing")
    assert not client.exists(key)
    host.process.kill()


def test_what_is_no_heartbeat(stack, host):
    """Bytes of anybody, another account's heartbeat, an old one again: each is counted, nothing is published, and the host is heard."""
    host.configure(**{"agent.heartbeat": "300ms"})
    host.start()
    host.wait_version("www", 1)
    wait_beats(stack, host)
    host.wait_quiet()
    host.stop()
    other = stack.account()
    partition = ev.partition_of(host.account.id, stack.partitions)
    mine = [r for r in stack.kafka.consume(stack.heartbeats_topic, partition) if f"/keys/{host.sender.kid}".encode() in r.value]
    was, counts = beat(stack, host), metrics(stack, "certsync_heartbeats_total")
    before = ends(stack, stack.events_topic, stack.outcomes_topic)
    account = host.account.id.encode()
    stack.kafka.produce(stack.heartbeats_topic, mine[0].value, account, partition, dict(mine[0].headers))  # an old one again
    stack.kafka.produce(stack.heartbeats_topic, mine[-1].value.replace(b'"failed":0', b'"failed":9'), account, partition, dict(mine[-1].headers))
    stack.kafka.produce(stack.heartbeats_topic, b"\xff" * 300_000, account, partition, {})
    stack.kafka.produce(stack.heartbeats_topic, mine[-1].value, other.id.encode(), ev.partition_of(other.id, stack.partitions), dict(mine[-1].headers))

    def more(end):
        return metrics(stack, "certsync_heartbeats_total")[f'end="{end}"'] - counts[f'end="{end}"']
    wait_until(lambda: more("old") >= 2 and more("malformed") == 1 and more("misrouted") == 1, PATIENCE_S, "all of them counted")
    assert beat(stack, host) == was and ends(stack, stack.events_topic, stack.outcomes_topic) == before
    host.start()
    wait_beats(stack, host)
    host.stop()


def test_without_the_topic(kafka, tmp_path):
    """An installation of before has no topic of heartbeats: all else works, and everybody says what to do."""
    with Stack(tmp_path / "s", partitions=2, kafka=kafka, prefix="beatless.", consumer_settings={"consumer": {"inspect_every": "1s"}}) as stack:
        stack.settings["kafka"]["heartbeats_topic"] = "beatless.later"
        stack.config = stack.write_config("consumer", stack.port)
        stack.run_consumer()
        host = with_one_pair(AgentHost(stack, stack.account(), tmp_path / "host"))
        names = {"kafka.events_topic": stack.events_topic, "kafka.outcomes_topic": stack.outcomes_topic, "kafka.heartbeats_topic": "beatless.later"}
        host.configure(**{"agent.heartbeat": "1s", **names})
        other, key = stack.account(), ev.new_key()
        assert stack.judge(other.agent.upload(other.id, "mine", key, [CA.issue(key.public_key()), CA.der]))["status"] == "applied"
        wait_until(lambda: any('what="heartbeats"' in k and "init" in k for k in metrics(stack, "certsync_trouble")), PATIENCE_S, "the trouble")
        assert stack.http("/readyz")[0] == 200
        config = stack.write_config("check", stack.port)
        done = check(config)
        assert done.returncode == 0 and b"warning: hosts' heartbeats are not heard" in done.stderr and b"certsync-consumer init" in done.stderr
        host.start()
        host.wait_status(lambda s: any(a["what"] == "heartbeat" for a in s["attention"]) and s["kafka"]["state"] == "ok", "heartbeats that cannot be sent")
        kafka.create_topic("beatless.wide", 3)
        wide = stack.write_config("wide", stack.port, kafka={"heartbeats_topic": "beatless.wide"})
        assert b"has 3 partitions" in check(wide).stderr
        stack.init()
        wait_until(lambda: not metrics(stack, "certsync_trouble"), PATIENCE_S, "heartbeats that are heard")
        wait_beats(stack, host)
        host.wait_status(lambda s: not s["attention"], "a well agent")
        host.stop()
        assert b"warning" not in check(config).stderr
