# SPDX-License-Identifier: Apache-2.0
"""Catalogs made again beside the live ones, and promoted: under load, after damage, after a crash, and with the API asked all the while."""
import json
import subprocess
import threading

import pytest

from model_py import catalog
from support import events as ev
from support.proc import PATIENCE_S, Process, wait_until
from support.stack import Stack, consumer_binary

AUTHORITY = ev.Authority("Rebuild CA")
NAMES = 40  # certificates of the account that is asked for all the while


@pytest.fixture(scope="module")
def stack(kafka, tmp_path_factory):
    """A system of this module's own: other tests read Redis by the names of the first generation."""
    with Stack(tmp_path_factory.mktemp("rebuild") / "s", kafka=kafka, prefix="rebuild.") as everything:
        everything.run_consumer()
        yield everything


def command(stack, *args, code=0):
    done = subprocess.run([consumer_binary(), *args, "--config", stack.config], capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr}"
    return done.stdout if code in (0, 1) and done.stdout else done.stderr


def run(stack, *args, code=0):
    """With --json: the object that its last line is."""
    return json.loads(command(stack, *args, "--json", code=code).splitlines()[-1])


def upload(account, name, sender=None, kind="certificate.upload", **extra):
    key = ev.new_key()
    return (sender or account.agent).upload(account.id, name, key, [AUTHORITY.issue(key.public_key()), AUTHORITY.der],
                                            kind=kind, extra=extra)


def judge(stack, record):
    """Its outcome, however busy the machine is."""
    return stack.outcome_at(stack.send(record), timeout_s=120)


def keys_of(stack, pattern):
    return sorted(stack.redis.client().scan_iter(pattern, count=1000))


def live(stack):
    """The live generation of each partition."""
    client = stack.redis.client()
    return [int(client.get(f"cs:{{{p}}}:gen") or 1) for p in range(stack.partitions)]


@pytest.fixture(scope="module")
def cast(stack):
    """An account with many names, and shares in every partition."""
    account = stack.account("rebuild", owner="rebuild")
    for record in [upload(account, f"n{i:02d}") for i in range(NAMES)]:
        place = stack.send(record)
    assert stack.outcome_at(place, timeout_s=120)["status"] == "applied"
    others = {ev.partition_of(f"other-{i}", stack.partitions): f"other-{i}" for i in range(60)}
    for other in others.values():
        stack.account(other, owner="rebuild")
        issued = judge(stack, upload(account, f"for-{other}", stack.issuer, "certificate.issue", source="official"))
        share = account.agent.event("certificate.share", account.id, issued["subject"], {"to": other})
        assert stack.final(share)["status"] == "applied"
    return account


class Load:
    """Events all the while: uploads, each sent again and again (then they are duplicates); a few only once there are many, since
    the log is judged from its beginning again and again."""

    MANY = 1000

    def __init__(self, stack):
        self.stack, self.ended, self.sent = stack, threading.Event(), 0
        self.accounts = [stack.account() for _ in range(4)]
        self.records = [upload(a, f"l{i}") for i in range(60) for a in self.accounts]
        self.thread = threading.Thread(target=self.busy)

    def busy(self):
        while not self.ended.wait(0.01 if self.sent < self.MANY else 0.5):
            for _ in range(5):
                record = self.records[self.sent % len(self.records)]
                self.stack._producer.produce(self.stack.events_topic, value=record.value, key=record.account.encode(), headers=record.headers,
                                             partition=ev.partition_of(record.account, self.stack.partitions))
                self.sent += 1
            self.stack._producer.poll(0)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.stack._producer.flush(30)


class Reader:
    """Asks the API for one account again and again; nothing may be missing, ever, and no answer be an error."""

    def __init__(self, stack, account):
        self.stack, self.account, self.ended, self.asked, self.wrong = stack, account, threading.Event(), 0, []
        status, body = stack.get(account, "certificates?limit=1000")
        assert status == 200
        self.names = {c["name"] for c in body["certificates"]}
        assert len(self.names) >= NAMES
        self.thread = threading.Thread(target=self.read)

    def read(self):
        while not self.ended.is_set() and not self.wrong:
            status, body = self.stack.get(self.account, "certificates?limit=1000")
            names = {c["name"] for c in body["certificates"]} if status == 200 else set()
            if not self.names <= names:
                self.wrong.append((status, len(names), str(body)[:300]))
            self.asked += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        assert not self.wrong, self.wrong


def test_nothing_to_promote(stack, cast):
    assert "there is no rebuilt catalog; make one with: certsync-consumer rebuild" in command(stack, "promote", code=2)
    assert "there is no rebuilt catalog" in command(stack, "diff", "--next", code=2)
    assert "belongs to deployment" in command(stack, "rebuild", "--deployment", "other", code=2)
    assert live(stack) == [1] * stack.partitions


def test_rebuild_and_promote_under_load(stack, cast):
    with Load(stack) as load, Reader(stack, cast) as reader:
        for generation in (2, 3, 4):
            sent = load.sent
            found = run(stack, "rebuild")
            assert found["done"] and found["generation"] == generation and found["events"] > 0
            assert live(stack) == [generation - 1] * stack.partitions
            assert run(stack, "diff", "--next")["differences"] == []
            promoted = run(stack, "promote")
            assert promoted["promoted"] == stack.partitions and promoted["removed_keys"] > 0
            assert live(stack) == [generation] * stack.partitions
            asked = reader.asked
            wait_until(lambda: reader.asked > asked + 5 or reader.wrong, PATIENCE_S, "answers after the promotion")
            wait_until(lambda: load.sent > sent, PATIENCE_S, "load")
    late = upload(cast, "late")
    assert judge(stack, late)["status"] == "applied"
    # A verdict is published before its catalog is committed.
    wait_until(lambda: "late" in stack.names(cast), PATIENCE_S, "the certificate in its account's view")
    assert {f"n{i:02d}" for i in range(NAMES)} <= set(stack.names(cast))
    assert run(stack, "verify", "--redis")["ok"]
    assert run(stack, "diff")["differences"] == []
    # Nothing is left of the old ones.
    assert not [k for k in keys_of(stack, "cs:*") if b"}:g4:" not in k and b"}:changes/" not in k and not k.endswith(b"}:gen")]
    status, body = stack.http("/readyz")
    assert status == 200, body


def test_a_damaged_catalog_is_mended(stack, cast):
    client = stack.redis.client()
    at = f"cs:{{{ev.partition_of(cast.id, stack.partitions)}}}:"
    generation = live(stack)[0]
    names = keys_of(stack, f"{at}*cert/{cast.id}/*")
    stack.consumers[0].pause()  # it would make the catalog again by itself
    client.delete(names[1])
    assert "is gone" in json.dumps(run(stack, "diff", code=1))
    assert "is gone" in json.dumps(run(stack, "verify", "--redis", code=1))
    held = client.get(names[0])
    altered = catalog.document(held, names[0]).replace(b"uploaded", b"official")
    assert altered != catalog.document(held, names[0])
    client.set(names[0], altered + held[-catalog.MARK:])
    assert "is damaged" in json.dumps(run(stack, "diff", code=1))
    run(stack, "rebuild")
    assert run(stack, "diff", "--next")["differences"] == []
    assert "is damaged" in json.dumps(run(stack, "diff", code=1))
    run(stack, "promote")
    stack.consumers[0].resume()
    assert run(stack, "diff")["differences"] == [] and live(stack)[0] == generation + 1
    assert run(stack, "verify", "--redis")["ok"]
    assert judge(stack, upload(cast, "after-the-damage"))["status"] == "applied"


def test_a_second_rebuild_is_refused(stack, cast):
    client, ended = stack.redis.client(), threading.Event()

    def hold():  # as a rebuild that is alive does with each commit
        while not ended.wait(0.1):
            client.set("cs:{2}:claim", "somebody else", px=10000)
    client.set("cs:{2}:claim", "somebody else", px=9000)
    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert "another rebuild is at work on partition 2" in command(stack, "rebuild", code=2)
    finally:
        ended.set()
        thread.join()
        client.delete("cs:{2}:claim")


def test_a_rebuild_that_is_stopped_and_comes_back(stack, cast):
    """Caught in the middle: promote is refused, the next one waits for its claim to end and goes on; then it wakes up, and does no harm."""
    command(stack, "rebuild", "--afresh")
    generation = live(stack)[0] + 3  # one was begun by the refused one above
    client = stack.redis.client()

    def reached():
        positions = [p for p in client.mget(f"cs:{{{p}}}:g{generation}:pos" for p in range(stack.partitions)) if p]
        return sum(json.loads(catalog.document(p))["next_offset"] for p in positions)
    slow = Process("rebuild", [consumer_binary(), "rebuild", "--afresh", "--workers", "1", "--config", stack.config, "--set",
                               "consumer.batch_records=1"], stack.directory)
    try:
        wait_until(lambda: reached() > 5, PATIENCE_S, "the beginning of a rebuild", interval_s=0.002)
        slow.pause()
        assert "was not rebuilt; finish with: certsync-consumer rebuild" in command(stack, "promote", code=2)
        assert live(stack)[0] < generation
        done = reached()
        whole = sum(p["offset"] for p in run(stack, "rebuild")["partitions"])
        assert reached() == whole > done
        slow.resume()
        assert slow.wait() == 0
    finally:
        slow.kill()
    assert run(stack, "diff", "--next")["differences"] == []
    run(stack, "promote")
    assert live(stack) == [generation] * stack.partitions
    assert run(stack, "verify", "--redis")["ok"]


def test_afresh_and_what_is_left(stack, cast):
    generation = live(stack)[0] + 1
    run(stack, "rebuild")
    client = stack.redis.client()
    key = keys_of(stack, f"cs:*g{generation}:cert/{cast.id}/*")[0]
    client.set(key, client.get(key) + b" ")
    assert "is damaged" in json.dumps(run(stack, "diff", "--next", code=1))
    found = run(stack, "rebuild", "--afresh")
    assert found["generation"] == generation + 1 and found["events"] > NAMES
    assert run(stack, "diff", "--next")["differences"] == []
    assert not keys_of(stack, f"cs:*}}:g{generation}:*")
    run(stack, "promote")
    # As if promote had been killed before it removed all.
    client.set("cs:{0}:g1:cert/left/over", "x")
    client.set("cs:{1}:cert/left/over", "x")
    assert run(stack, "promote")["removed_keys"] == 2
    command(stack, "promote", code=2)
    assert run(stack, "diff")["differences"] == []


def test_everything_is_lost_after_a_promotion(stack, cast):
    """An empty Redis knows no generations: the consumer begins the first one again by itself."""
    assert live(stack)[0] > 1
    stack.redis.client().flushall()
    wait_until(lambda: stack.get(cast, "certificates?limit=1000")[0] == 200, PATIENCE_S, "the account, back again")
    late = upload(cast, "after-the-loss")
    assert judge(stack, late)["status"] == "applied"
    assert live(stack) == [1] * stack.partitions
    wait_until(lambda: stack.http("/readyz")[0] == 200, PATIENCE_S, "a consumer that has caught up")
    assert run(stack, "verify", "--redis")["ok"]
    assert "after-the-loss" in stack.names(cast)
