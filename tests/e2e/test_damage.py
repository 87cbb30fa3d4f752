# SPDX-License-Identifier: Apache-2.0
"""Somebody else writes to the Redis of a running system. No verdict rests on it, and the catalogs are made again by themselves."""
import json
import random
import re
import subprocess
import time

import pytest

from model_py import catalog
from support import events as ev
from support import tamper
from support.load import Load
from support.proc import PATIENCE_S, wait_until
from support.stack import Stack, consumer_binary

MENDED = "the damaged catalog is made again"


@pytest.fixture(scope="module")
def stack(kafka, tmp_path_factory):
    settings = {"kafka": {"session_timeout": "6s"}, "consumer": {"workers": 2}}
    directory = tmp_path_factory.mktemp("damage")
    with Stack(directory / "stack", partitions=3, kafka=kafka, prefix="damage.", consumer_settings=settings) as everything:
        everything.run_consumer()
        yield everything


def damaged(stack):
    """How often a catalog was found to be damaged, and how many are not made again yet."""
    text = stack.http("/metrics")[1]
    return (float(re.search(r"^certsync_damaged_catalogs_total (\S+)$", text, re.M)[1]),
            sum(float(n) for n in re.findall(r"^certsync_partition_damaged\{[^}]*\} (\S+)$", text, re.M)))


def prefix_of(stack, account):
    client = stack.redis.client()
    return catalog.live_prefix(client, "cs", ev.partition_of(account.id, stack.partitions))


# Each takes (Redis, what the names begin with, an account, another one of the same partition or itself). All is of a kind that each
# request for the account's certificates reads. No document is among them that an upload writes anew: a damage that a worker
# overwrites before anybody has read it is none.

def key_of(at, account):
    return f"{at}key/{account.id}/{account.agent.kid}"


def alter_document(client, at, account, _):
    key = key_of(at, account)
    held = client.get(key)
    altered = catalog.document(held, key).replace(b"enrolled", b"revoked_")
    assert altered != catalog.document(held, key)
    client.set(key, altered + held[-catalog.MARK:])


def swap_documents(client, at, account, other):
    mine, theirs = key_of(at, account), key_of(at, other)
    assert mine != theirs and client.get(theirs)
    client.set(mine, client.get(theirs))


def plant_document(client, at, account, _):
    """The agent's key becomes an administrator's."""
    client.set(f"{at}trust/{account.agent.kid}", json.dumps({"role": "admin", "label": "me", "added": 1}).encode() + b"0123456789abcdef")


def strip_document(client, at, account, _):
    """As a release without marks wrote it."""
    key = key_of(at, account)
    client.set(key, client.get(key)[:-catalog.MARK])


def alter_position(client, at, *_):
    client.set(f"{at}pos", re.sub(rb'"outcomes":(\d+)', rb'"outcomes":1\1', client.get(f"{at}pos")))


def plant_member(client, at, account, _):
    client.zadd(f"{at}view/{account.id}", {"aaa/c/00000000-0000-4000-8000-000000000000": 0})


def swap_members(client, at, account, _):
    (member,) = client.zrange(f"{at}keys/{account.id}", 0, 0)
    client.zadd(f"{at}view/{account.id}", {member: 0})


def no_generation(client, at, *_):
    client.set(re.sub(r"\}:.*", "}:gen", at), "x")


# What a mark cannot show.

def delete_document(client, at, account, _):
    assert client.delete(key_of(at, account))


def delete_member(client, at, account, _):
    assert client.zpopmin(f"{at}view/{account.id}")


def delete_index(client, at, account, _):
    assert client.delete(f"{at}view/{account.id}")


def delete_position(client, at, *_):
    assert client.delete(f"{at}pos")


def delete_witnesses(client, at, *_):
    assert client.delete(*tamper.names_of(client, at, witnesses=True))


def old_one(client, at, name, changes):
    """Puts back what was there a moment ago, once it has changed."""
    before = client.dump(f"{at}{name}")
    changes(lambda: client.dump(f"{at}{name}") not in (before, None))
    client.restore(f"{at}{name}", 0, before, replace=True)


def old_index(client, at, account, _):
    old_one(client, at, f"view/{account.id}", lambda changed: wait_until(changed, PATIENCE_S, "a view that changes", interval_s=0.02))


def old_position(client, at, *_):
    old_one(client, at, "pos", lambda changed: wait_until(changed, PATIENCE_S, "a position that moves", interval_s=0.02))


def old_document(client, at, account, _):
    """A certificate that was shared meanwhile, as it was before."""
    names = [n for n in tamper.names_of(client, at) if n.startswith(f"{at}cert/{account.id}/".encode())]
    before = dict(zip(names, tamper.dumps(client, names)))

    def other():
        now = dict(zip(names, tamper.dumps(client, names)))
        return next((n for n in names if now[n] not in (before[n], None)), None)
    name = wait_until(other, PATIENCE_S, "a certificate that changes", interval_s=0.02)
    client.restore(name, 0, before[name], replace=True)


WAYS = (alter_document, swap_documents, plant_document, strip_document, alter_position, plant_member, swap_members, no_generation,
        delete_document, delete_member, delete_index, delete_position, delete_witnesses, old_index, old_position)


def neighbours(stack, load):
    """Two accounts of each partition that has so many."""
    by_partition = {}
    for account in load.accounts:
        by_partition.setdefault(ev.partition_of(account.id, stack.partitions), []).append(account)
    return [some[:2] for some in by_partition.values() if len(some) > 1]


def rounds(r, pairs):
    """All ways, as many at once as there are partitions with two accounts."""
    ways = r.sample(WAYS, len(WAYS))
    return [list(zip(ways[i:i + len(pairs)], pairs)) for i in range(0, len(ways), len(pairs))]


def test_damage_under_load(stack):
    r = random.Random(7)
    with Load(stack, accounts=12, seed=31) as load:
        load.wait_more()
        pairs = neighbours(stack, load)
        for ways in rounds(r, pairs):
            # One partition each at a time: its pauses grow.
            before = damaged(stack)[0]
            for way, (account, other) in ways:
                way(stack.redis.client(), prefix_of(stack, account), account, other)
            began = time.monotonic()

            def made_again(before=before, ways=ways):
                for _, (account, _) in ways:
                    stack.get(account, "certificates")  # whoever reads it finds it
                count, now = damaged(stack)
                return count >= before + len(ways) and now == 0
            names = [way.__name__ for way, _ in ways]
            wait_until(made_again, PATIENCE_S, f"catalogs made again after {names}")
            print(f"{names}: healed after {time.monotonic() - began:.1f} s")
            load.wait_more()
    load.check()
    told = [line for line in stack.consumers[-1].output().splitlines() if MENDED in line and "took_ms=" in line]
    assert len(told) >= len(WAYS), told
    assert not re.search(r"\"role\"|BEGIN", "\n".join(told))
    # Nothing is left of the damaged ones.
    account = pairs[0][0]
    slot = f"cs:{{{ev.partition_of(account.id, stack.partitions)}}}:"
    live = prefix_of(stack, account)

    def swept():
        keys = list(stack.redis.client().scan_iter(match=slot.replace("{", "\\{") + "*", count=1000))
        return all(k.decode().startswith((live, slot + "changes/")) or k.decode() == slot + "gen" for k in keys)
    wait_until(swept, PATIENCE_S, "the old catalogs' end")


def test_damage_between_restarts(stack):
    """The consumer does not run meanwhile; then each partition's first event or first read meets it."""
    with Load(stack, accounts=12, seed=40) as load:
        load.wait_more()
        pairs = neighbours(stack, load)
        stack.consumers[-1].kill()
        client = stack.redis.client()
        for way, (account, other) in zip((alter_document, delete_document, delete_position), pairs):
            way(client, prefix_of(stack, account), account, other)
        told = stack.consumers[-1].output().count(MENDED)
        stack.run_consumer(wait=False)
        wait_until(lambda: stack.consumers[-1].output().count(MENDED) >= told + min(3, len(pairs)), PATIENCE_S,
                   "catalogs that were made again")
        load.wait_more()
    load.odd = [(account, status, body) for account, status, body in load.odd if status != 0]  # nobody listened
    load.check()


def test_another_service_key_makes_all_again(stack):
    """The operator's own doing: a new key marks nothing that the old one did. What heals is the same."""
    with Load(stack, seed=50) as load:
        load.wait_more()
    load.check()
    assert stack.consumers[-1].terminate() == 0
    client = stack.redis.client()
    for key in client.scan_iter(match="cs:*", count=1000):  # as if another key had marked them
        if client.type(key) == b"string" and not re.search(rb"\}:(gen|next|claim)$", key):
            client.set(key, client.get(key)[:-1] + b"~")
    done = subprocess.run([consumer_binary(), "verify", "--redis", "--config", stack.config], capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 1 and "deployment.service_key" in done.stdout + done.stderr, done
    told = stack.consumers[-1].output().count(MENDED)
    stack.run_consumer()
    wait_until(lambda: stack.consumers[-1].output().count(MENDED) >= told + stack.partitions, PATIENCE_S, "all catalogs made again")
    load.check()
