# SPDX-License-Identifier: Apache-2.0
"""Partitions over several consumers, which come and go under load; and a partition that is stuck while the others go on."""
import hashlib
import json
import re
import signal
import time

import pytest

from support import events as ev
from support.load import Load
from support.proc import PATIENCE_S, free_port, wait_until
from support.stack import Stack


def make_stack(kafka, directory, prefix, partitions):
    settings = {"kafka": {"session_timeout": "6s"}, "consumer": {"workers": 2}}
    return Stack(directory / "stack", partitions=partitions, kafka=kafka, prefix=prefix, consumer_settings=settings)


def board(stack, port=None):
    status, body = stack.http("/readyz", port=port)
    assert status in (200, 503), (status, body)
    return {p["partition"]: p for p in body["partitions"]}


def mine(stack, port=None):
    """Partitions that this consumer has."""
    return {n for n, p in board(stack, port).items() if p["state"] != "elsewhere"}


def metric(stack, name, partition):
    """{labels: value} of one partition's series."""
    text = stack.http("/metrics")[1]
    return {m[1]: float(m[2]) for m in re.finditer(rf'^{name}\{{partition="{partition}"([^\n]*)\}} (\S+)$', text, re.M)}


def value(stack, name, partition):
    return metric(stack, name, partition).get("")


# --- consumers come and go

def test_consumers_come_and_go_under_load(kafka, tmp_path):
    with make_stack(kafka, tmp_path, "scaling.", 6) as stack:
        stack.run_consumer()
        # Its two workers join the group one after the other: for a moment the first one's partitions are nobody's.
        wait_until(lambda: mine(stack) == set(range(6)), PATIENCE_S, "all partitions at the only consumer")

        def another(name):
            port = free_port()
            process = stack.run_consumer(name, stack.write_config(name, port), wait=False)
            stack.wait_ready(process, port)
            return process, port
        with Load(stack, seed=21) as load:
            load.wait_more()
            second, port2 = another("second")
            third, port3 = another("third")
            # Each of the three has some, none has what another has.
            wait_until(lambda: spread(stack, None, port2, port3), PATIENCE_S, "partitions that are spread over three processes")
            load.wait_more()
            second.signal(signal.SIGTERM)
            assert second.wait() == 0
            load.wait_more()
            third.kill()
            load.wait_more()  # after its session's end
            second, port2 = another("second-again")
            wait_until(lambda: spread(stack, None, port2), PATIENCE_S, "partitions that are spread over two processes")
            load.wait_more()
        load.check()


def spread(stack, *ports):
    have = [mine(stack, port) for port in ports]
    return all(have) and sum(map(len, have)) == stack.partitions and set.union(*have) == set(range(stack.partitions))


# --- a stuck partition

@pytest.fixture
def stack(kafka, tmp_path, request):
    with make_stack(kafka, tmp_path, f"stuck-{request.node.name}.", 3) as everything:
        everything.run_consumer()
        yield everything


def accounts(stack):
    """An account in each partition, of one owner."""
    found = {}
    for i in range(1000):
        p = ev.partition_of(f"stuck-{i}", stack.partitions)
        if p not in found:
            found[p] = stack.account(f"stuck-{i}", owner="stuck")
        if len(found) == stack.partitions:
            return found
    raise AssertionError("no account for some partition")


def upload(stack, account, name, **how):
    key = ev.new_key()
    authority = ev.Authority("Stuck CA")
    return account.agent.upload(account.id, name, key, [authority.issue(key.public_key()), authority.der], **how)


def expect_stuck(stack, cast, stuck, reason, names):
    """The partition is seen to be stuck, why, since when, and the others go on."""
    wait_until(lambda: board(stack)[stuck]["state"] == "stopped", PATIENCE_S, "a partition that stopped")
    status, body = stack.http("/readyz")
    assert status == 503 and f"partition {stuck} is stopped" in body["reason"] and reason in body["reason"], body
    sent_s = time.time()
    for i in range(3):
        stack.send(upload(stack, cast[stuck], f"{names}-{i}"))
    for p, account in cast.items():
        if p != stuck:
            assert stack.judge(upload(stack, account, names))["status"] == "applied"
            # A verdict is published before its catalog is committed.
            wait_until(lambda a=account: names in stack.names(a), PATIENCE_S, "the certificate in its account's view")
    # What it had is answered, but where outcomes are published that its catalog has not.
    assert stack.get(cast[stuck], "certificates")[0] == (503 if "fork" in reason else 200)
    # A share into the stuck partition is never answered.
    owner = next(a for p, a in cast.items() if p != stuck)
    key = ev.new_key()
    authority = ev.Authority("Stuck CA")
    issued = stack.judge(stack.issuer.upload(owner.id, f"shared-{names}", key, [authority.issue(key.public_key()), authority.der],
                                             kind="certificate.issue", extra={"source": "official"}))
    share = owner.agent.event("certificate.share", owner.id, issued["subject"], {"to": cast[stuck].id})
    assert stack.judge(share)["status"] == "pending"
    at = ev.partition_of(owner.id, stack.partitions)

    def told():
        here, there = board(stack)[stuck], board(stack)[at]
        return here.get("lag", 0) >= 4 and here.get("oldest_event_ms") and there.get("oldest_pending_share_ms")
    wait_until(told, PATIENCE_S, "lag, age and the pending share on /readyz")
    ages = board(stack)[stuck]
    assert ages["oldest_event_ms"] >= (time.time() - sent_s) * 1000 - 2000, ages
    assert value(stack, "certsync_partition_lag_records", stuck) == ages["lag"]
    assert value(stack, "certsync_partition_oldest_event_seconds", stuck) > 0
    assert value(stack, "certsync_partition_oldest_event_seconds", at) == 0
    assert value(stack, "certsync_partition_oldest_pending_share_seconds", at) > 0
    assert value(stack, "certsync_partition_last_progress_seconds", stuck) > 0
    assert metric(stack, "certsync_partition_state", stuck) == {',state="stopped"': 1}
    (why,) = metric(stack, "certsync_partition_stopped", stuck)
    assert reason in why
    assert metric(stack, "certsync_partition_stopped", at) == {}


def test_a_forged_outcome_stops_its_partition_only(stack):
    cast = accounts(stack)
    stuck = 1
    consumer = stack.consumers[-1]
    assert consumer.terminate() == 0
    # What the consumer would write next is there already, and is another verdict.
    place = stack.send(upload(stack, cast[stuck], "forged"))
    n = max(n for p, n in stack.outcomes.by_number if p == stuck) + 1
    before = stack.outcomes.by_number[(stuck, n - 1)]
    forged = {**json.loads(before), "sequence": ev.sequence(n)}
    last = {**forged["data"], "offset": place[1], "prev": hashlib.sha256(before).hexdigest()}
    del last["status"]
    forged["data"] = {"status": "rejected", "code": "name.taken", **last}
    stack.produce_outcome(stuck, cast[stuck].id.encode(), json.dumps(forged, separators=(",", ":")).encode())  # with the service key
    stack.run_consumer(wait=False)
    wait_until(lambda: stack.http("/readyz")[0] == 503 and board(stack)[0]["state"] == "running", PATIENCE_S, "the others running")
    expect_stuck(stack, cast, stuck, "a fork at outcome", "after-fork")


def test_a_key_of_another_kind_is_mended(stack):
    cast = accounts(stack)
    stuck = 2
    redis = stack.redis.client()
    key = f"cs:{{{stuck}}}:view/{cast[stuck].id}"
    stack.judge(upload(stack, cast[stuck], "before"))
    redis.delete(key)
    redis.set(key, "no index")
    stack.send(upload(stack, cast[stuck], "meets-it"))
    # The commit was taken only in part. So the partition's catalog is made again from the log.
    wait_until(lambda: redis.get(f"cs:{{{stuck}}}:gen") == b"2" and stack.http("/readyz")[0] == 200, PATIENCE_S,
               "a catalog that was made again")
    assert stack.judge(upload(stack, cast[stuck], "after-it"))["status"] == "applied"
    wait_until(lambda: board(stack)[stuck].get("lag") == 0, PATIENCE_S, "a partition that caught up")
    wait_until(lambda: {"before", "meets-it", "after-it"} <= set(stack.names(cast[stuck])), PATIENCE_S, "all three")
    assert metric(stack, "certsync_partition_stopped", stuck) == {}
    wait_until(lambda: not any(p.get("oldest_pending_share_ms") for p in board(stack).values()), PATIENCE_S, "no share that waits")
