# SPDX-License-Identifier: Apache-2.0
"""What the consumer says of itself while something behind it is not well, and that it is well again once that is mended."""
import hashlib
import json
import re
import subprocess

import pytest

from support import events as ev
from support.proc import wait_until
from support.stack import Stack, consumer_binary

PATIENCE_S = 60
AUTHORITY = ev.Authority("States CA")


def board(stack, port=None):
    """(ready, reason, {partition: entry})"""
    status, body = stack.http("/readyz", port=port)
    assert status in (200, 503), (status, body)
    assert body["ready"] == (status == 200)
    return body["ready"], body.get("reason", ""), {p["partition"]: p for p in body["partitions"]}


def metric(stack, name, port=None):
    """{labels: value}"""
    text = stack.http("/metrics", port=port)[1]
    return {m[1]: float(m[2]) for m in re.finditer(rf"^{name}(?:\{{([^\n]*)\}})? (\S+)$", text, re.M)}


def wait_ready(stack, port=None):
    wait_until(lambda: board(stack, port)[0], PATIENCE_S, f"a ready consumer ({board(stack, port)[:2]})")


def upload(account, name):
    key = ev.new_key()
    return account.agent.upload(account.id, name, key, [AUTHORITY.issue(key.public_key()), AUTHORITY.der])


def command(stack, *args):
    """(exit code, JSON object) of an operator's command."""
    done = subprocess.run([consumer_binary(), *args, "--json", "--config", stack.config], capture_output=True, text=True,
                          timeout=120, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


# --- somebody else writes to the topic of outcomes

@pytest.fixture(scope="module")
def written_to(kafka, tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("foreign") / "stack", partitions=2, kafka=kafka, prefix="foreign.") as stack:
        stack.run_consumer()
        yield stack


FOREIGN = (b"", b"hello", b'{"n":999999999}', b'{"n":999999999,"status":"applied"}', b'{"n":2,"status":"applied"}')


def test_foreign_outcomes_count_for_nothing(written_to):
    stack = written_to
    account = stack.account()
    at = ev.partition_of(account.id, stack.partitions)
    assert stack.judge(upload(account, "before"))["status"] == "applied"
    real = next(value for p, _, value in reversed(stack.outcomes.raw) if p == at)
    far = re.sub(rb'"n":\d+', b'"n":999999999', real)  # an outcome in form, of a number for which there is no room
    for value in (*FOREIGN, far):
        stack.kafka.produce(stack.outcomes_topic, value, partition=at)
    stack.kafka.produce(stack.outcomes_topic, far, key=account.id.encode(), partition=at)
    count = len(FOREIGN) + 2
    assert stack.judge(upload(account, "while-it-runs"))["status"] == "applied"
    for lost in (False, True):
        assert stack.consumers[-1].terminate() == 0
        place = stack.send(upload(account, f"while-it-is-down-{lost}"))
        if lost:  # all is compared again
            stack.redis.client().flushall()
        stack.run_consumer()
        assert stack.outcome_at(place)["status"] == "applied"
        wait_until(lambda: board(stack)[2][at].get("lag") == 0, PATIENCE_S, "a partition that caught up")
        wait_ready(stack)
        entry = board(stack)[2][at]
        assert entry["state"] == "running"
        assert {"before", "while-it-runs", f"while-it-is-down-{lost}"} <= set(stack.names(account))
    assert metric(stack, "certsync_partition_foreign_outcomes")[f'partition="{1 - at}"'] == 0
    # Seen where the end of the topic is read: at a start.
    assert stack.consumers[-1].terminate() == 0
    stack.run_consumer()
    wait_until(lambda: board(stack)[2][at].get("foreign_outcomes") == count, PATIENCE_S, "foreign records that are told")
    assert metric(stack, "certsync_partition_foreign_outcomes")[f'partition="{at}"'] == count
    code, told = command(stack, "verify", "--redis")
    assert code == 0 and told["ok"] and told["foreign"] == count, told
    code, told = command(stack, "rejected")
    assert code == 0, told


def test_outcomes_without_events_are_told(written_to):
    """What should be compared never comes: not a replay without an end."""
    stack = written_to
    account = stack.account()
    at = ev.partition_of(account.id, stack.partitions)
    assert stack.judge(upload(account, "last"))["status"] == "applied"
    wait_until(lambda: board(stack)[2][at].get("lag") == 0, PATIENCE_S, "a partition that caught up")
    assert stack.consumers[-1].terminate() == 0
    at_n = max(n for p, n in stack.outcomes.by_number if p == at and n < 1000)
    last = stack.outcomes.by_number[(at, at_n)]
    more = {**json.loads(last), "n": at_n + 1, "prev": hashlib.sha256(last).hexdigest()}
    more["offset"] += 1
    stack.kafka.produce(stack.outcomes_topic, json.dumps(more, separators=(",", ":")).encode(),
                        key=json.loads(last)["account"].encode(), partition=at)
    stack.run_consumer(wait=False)
    wait_until(lambda: stack.http("/readyz")[0] == 503 and board(stack)[2][at]["state"] == "waiting", PATIENCE_S, "a wait")
    ready, reason, partitions = board(stack)
    assert not ready and "events were lost" in reason and "events were lost" in partitions[at]["reason"]
    stack.waits = at  # what becomes of it: at the end of this file


# --- at the end, since it takes half a minute

def test_outcomes_without_events_stop_the_partition(written_to):
    wait_until(lambda: board(written_to)[2][written_to.waits]["state"] == "stopped", PATIENCE_S, "an end of the wait")
