# SPDX-License-Identifier: Apache-2.0
"""What somebody else may do to the catalogs in Redis. A mark shows what was altered or made up; only a witness shows what is gone, was put
back, or is an older one (consumer/catalog/witness.h)."""
import redis

from model_py import catalog


class Old:
    """The live catalog of a partition as it was at a moment, to put something of it back."""

    def __init__(self, client, namespace, partition):
        self.at = catalog.live_prefix(client, namespace, partition)
        self.held = dict(zip(names := names_of(client, self.at), dumps(client, names)))


def names_of(client, at, witnesses=False):
    """Names of the documents, indexes and the position of a generation; or of its witnesses."""
    found = {k for k in client.scan_iter(match=at.encode().replace(b"{", b"\\{") + b"*", count=2000)}
    rest = {k: k[len(at):].decode() for k in found}
    return sorted(k for k, name in rest.items() if (name.startswith("witness/") if witnesses else not catalog.BESIDE.fullmatch(name)))


def dumps(client, names):
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.dump(name)
    return pipe.execute()


def put_back(client, name, dump):
    client.restore(name, 0, dump, replace=True)


def tamper(client, namespace, partition, r, old=None):
    """One random thing to a random key of a partition's live catalog; in words what it was, or None where there was nothing to do."""
    at = catalog.live_prefix(client, namespace, partition)
    names = names_of(client, at)
    if not names:
        return None
    # Not by number: most keys are outcomes.
    kinds = sorted({n[len(at):].split(b"/")[0] for n in names})
    kind = r.choice(kinds)
    same = [n for n in names if n[len(at):].split(b"/")[0] == kind]
    name, way = r.choice(same), r.choice(["delete", "alter", "swap", "old", "gone", "plant", "member", "score", "witness"])
    try:
        return _tamper(client, at, name, same, way, r, old) and f"{way} {name.decode()}"
    except redis.ResponseError as e:  # e.g. it is gone meanwhile
        return None if "no such key" in str(e) or "WRONGTYPE" in str(e) else _raise(e)


def _raise(e):
    raise e


def _tamper(client, at, name, same, way, r, old):  # pylint: disable=too-many-return-statements
    index = client.type(name) == b"zset"
    if way == "delete":
        return client.delete(name)
    if way == "swap":
        return len(same) > 1 and put_back(client, name, client.dump(r.choice(same))) is None
    if way == "old" and old and old.at == at and old.held.get(name):
        return put_back(client, name, old.held[name]) is None
    if way == "gone" and old and old.at == at:
        gone = sorted(set(old.held) - set(names_of(client, at)))
        return bool(gone) and put_back(client, gone[0], old.held[gone[0]]) is None
    if way == "witness":
        return client.delete(r.choice(names_of(client, at, witnesses=True)))
    if index and way in ("member", "alter"):
        members = client.zrange(name, 0, -1)
        return bool(members) and client.zrem(name, r.choice(members))
    if index and way == "score":
        members = client.zrange(name, 0, -1)
        return bool(members) and client.zincrby(name, r.choice([-1, 1, 1000]), r.choice(members)) is not None
    if index and way == "plant":
        return client.zadd(name, {"aaa/c/00000000-0000-4000-8000-000000000000": 0})
    if not index and way == "plant":
        return client.set(name.rsplit(b"/", 1)[0] + b"/planted", b'{"role":"admin","label":"me","added":1}0123456789')
    if not index and way == "alter":
        value = client.get(name)
        at_byte = r.randrange(len(value))
        return client.set(name, value[:at_byte] + bytes([value[at_byte] ^ 1 << r.randrange(8)]) + value[at_byte + 1:])
    return False
