# SPDX-License-Identifier: Apache-2.0
"""The checks at the end of a chaos run must be able to fail: a true story has no violation, and each way to spoil it has one."""
import json
import sys
from collections import namedtuple
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from chaos import hosts, hpke  # noqa: E402
from chaos.test_model import LOG, PARTITIONS, Log, Sharing, outcomes_of  # noqa: E402
from model_py import audit, catalog, wire  # noqa: E402
from model_py.rules import Model  # noqa: E402
from support import events as ev  # noqa: E402


class Story:
    """A settled log with a share and a deleted certificate, and the Redis that follows from it."""

    def __init__(self):
        log = Log()
        sharing = Sharing(log)
        sharing.share()
        log.settle()
        dead = ev.uuid7()
        log.put(log.upload(sharing.agent, sharing.owner, "gone", subject=dead))
        log.put(sharing.agent.event("certificate.delete", sharing.owner, dead, {}))
        self.log, self.sharing, self.dead = log, sharing, dead
        self.home = wire.partition_of(sharing.owner, PARTITIONS)
        outcomes = outcomes_of(log)
        self.firsts = {p: audit.first_outcomes(outcomes, p)[0] for p in range(PARTITIONS)}
        docs, self.indexes = catalog.expected(log.model, self.firsts)
        self.docs = {k: json.dumps(v).encode() for k, v in docs.items()}
        self.by_partition = {p: [r for r in log.records if r.partition == p] for p in range(PARTITIONS)}
        self.positions = {p: self._position(p) for p in range(PARTITIONS)}
        self.acknowledged = [(r.partition, r.offset if i % 2 else None, r.value) for i, r in enumerate(log.records)]

    def _position(self, p):
        import hashlib
        return {"next_offset": len(self.by_partition[p]), "record_sha256": wire.record_sha256(self.by_partition[p][-1]),
                "outcomes": len(self.firsts[p]), "chain_sha256": hashlib.sha256(self.firsts[p][-1].value).hexdigest(),
                "derived": self.log.model.partitions[p].derived,
                "edge": catalog.merkle_edge([o.value for o in self.firsts[p]])}

    def key(self, start):
        return next(k for k in self.docs if k[1].startswith(start))

    def edit(self, start, **members):
        k = self.key(start)
        self.docs[k] = json.dumps({**json.loads(self.docs[k]), **members}).encode()

    def drop(self, start):
        del self.docs[self.key(start)]

    def violations(self):
        return (catalog.check(self.log.model, self.firsts, self.docs, self.indexes)
                + catalog.check_positions(self.log.model, self.firsts, self.by_partition, self.positions)
                + catalog.check_keys(self.log.model, self.docs, unseal=hpke.Unsealer(self.log.custodian, LOG))
                + audit.check_acknowledged(self.acknowledged, self.log.records) + audit.check_shares(self.log.model))


@pytest.fixture
def story():
    return Story()


def test_a_true_story(story):
    assert story.violations() == []
    assert any(k[1].startswith("shared-in/") for k in story.docs) and any(k[1].startswith("material/") for k in story.docs)


def spoil_key(s):
    """A sealed key that opens no more."""
    parts = json.loads(s.docs[s.key("material/")])["parts"]
    parts[0]["key"] = parts[0]["key"][:-8] + ("A" if parts[0]["key"][-8] != "A" else "B") + parts[0]["key"][-7:]
    s.edit("material/", parts=parts)


def key_of_the_dead(s):
    s.docs[(s.home, f"material/{s.sharing.owner}/{s.dead}")] = s.docs[s.key("material/")]


def spoil_index(s, change):
    k = next(k for k in s.indexes if k[1].startswith("view/"))
    s.indexes[k] = change(dict(s.indexes[k]))


def half_a_share(s):
    """The recipient's end is closed, the owner's is not."""
    s.log.of(s.sharing.recipient).share_in[s.sharing.id]["open"] = False


def stale_share(s):
    s.log.of(s.sharing.recipient).shared_in[(s.sharing.owner, s.sharing.cert)]["summary"]["version"] += 1


def pending_share(s):
    s.log.of(s.sharing.owner).shares[s.sharing.id]["state"] = "pending"


SPOILT = {
    "a document is lost": (lambda s: s.drop("cert/"), "missing"),
    "a document is too many": (lambda s: s.docs.update({(0, "name/x/y"): b'"z"'}), "should not be there"),
    "a document of another day": (lambda s: s.edit("account/", owner="somebody"), "owner"),
    "a certificate without its key": (lambda s: s.drop("material/"), "no sealed key"),
    "a key that does not open": (spoil_key, "does not open"),
    "an issuer that chains name is lost": (lambda s: s.drop("issuer/"), "missing"),
    "an issuer is counted wrong": (lambda s: s.edit("issuer/", used=99), "used"),
    "a dead one's key": (key_of_the_dead, "still has its material"),
    "a member of an index is lost": (lambda s: spoil_index(s, lambda i: {}), "members"),
    "a member of an index is too many": (lambda s: spoil_index(s, lambda i: i | {"x/c/y": 0}), "members"),
    "a document in another partition": (lambda s: s.docs.update({(s.home ^ 1, "csr/a/b"): b"{}"}), "should not be there"),
    "a position behind": (lambda s: s.positions[0].update(next_offset=1), "next_offset"),
    "a position with another chain": (lambda s: s.positions[0].update(chain_sha256="0" * 64), "chain_sha256"),
    "a position with another tree": (lambda s: s.positions[0].update(edge=""), "edge"),
    "a position of another record": (lambda s: s.positions[0].update(record_sha256="0" * 64), "record_sha256"),
    "no position": (lambda s: s.positions.pop(0), "next_offset"),
    "derived events counted wrong": (lambda s: s.positions[s.home].update(derived=[9]), "derived"),
    "an acknowledged record is lost": (lambda s: s.acknowledged.append((0, 999, b"x")), "not in the log"),
    "a record acknowledged without its offset is lost": (lambda s: s.acknowledged.append((0, None, b"x")), "not in the log"),
    "an acknowledged record is another one": (lambda s: s.acknowledged.append((0, 0, b"x")), "another one"),
    "a share that is open at one end": (half_a_share, "one end only"),
    "a share whose version did not arrive": (stale_share, "never arrived"),
    "a share that waits for ever": (pending_share, "is pending"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_it_is_seen_that(story, what):
    spoil, word = SPOILT[what]
    spoil(story)
    found = story.violations()
    assert found and any(word in f for f in found), found


def test_the_model_is_not_moved_by_what_it_judged_before():
    """Rebuilt from offset 0 by another instance: the same catalogs."""
    log = Story().log
    again = Model(LOG, log.root.spki, PARTITIONS)
    verdicts = [again.judge(r) for r in log.records]
    assert [(v.status, v.code) for v in verdicts] == [(v.status, v.code) for v in log.verdicts]
    firsts = {p: audit.first_outcomes(outcomes_of(log), p)[0] for p in range(PARTITIONS)}
    assert catalog.expected(again, firsts) == catalog.expected(log.model, firsts)


# --- hosts: what certsync said, against what became of it

Verdict = namedtuple("Verdict", "event status signer_known")
Event = namedtuple("Event", "id kid type data")
KID = "k" * 32


def verdict(name, status="applied", number=1, leaf="leaf"):
    return Verdict(Event(f"id-{number}", KID, "certificate.upload", {"name": name, "chain": [leaf]}), status, True)


def command_host(tmp_path, promised=(), refused=()):
    host = hosts.Commands.__new__(hosts.Commands)
    host.sender = namedtuple("Sender", "kid")(KID)
    host.spool, host.promised, host.refused, host.flush = tmp_path, set(promised), set(refused), None
    return host


def test_a_command_that_kept_its_word(tmp_path):
    assert command_host(tmp_path, ["a"], ["c"]).check([verdict("a"), verdict("b", number=2)]) == []


@pytest.mark.parametrize("promised, refused, verdicts, word", [
    (["a"], [], [], "promised a"), ([], ["a"], [verdict("a")], "not kept"), ([], [], [verdict("a"), verdict("a")], "twice"),
    ([], [], [verdict("a", "rejected")], "refused"), (["a"], [], [verdict("a", "duplicate")], "promised a")])
def test_a_command_that_did_not(tmp_path, promised, refused, verdicts, word):
    found = command_host(tmp_path, promised, refused).check(verdicts)
    assert any(word in f for f in found), found


def test_a_spool_with_something_left_or_damaged(tmp_path):
    (tmp_path / "kid/quarantine").mkdir(parents=True)
    (tmp_path / "kid/0000000000000001.1.events").touch()
    assert any("never published" in f for f in command_host(tmp_path).check([]))
    (tmp_path / "kid/quarantine/0000000000000001.1.events").touch()
    assert any("damaged" in f for f in command_host(tmp_path).check([]))


def test_a_daemon_that_stopped_at_the_certificate_before(tmp_path):
    host = hosts.Daemon.__new__(hosts.Daemon)
    host.sender, host.spool = namedtuple("Sender", "kid")(KID), tmp_path
    host.process = namedtuple("Process", "tail")(lambda lines: "")
    host.wanted = {"www": b"new"}
    new, old = ev.b64(b"new"), ev.b64(b"old")
    assert host.check([verdict("www", leaf=old), verdict("www", number=2, leaf=new)]) == []
    for verdicts in ([], [verdict("www", leaf=old)], [verdict("www", leaf=new), verdict("www", number=2, leaf=old)]):
        assert any("newest" in f for f in host.check(verdicts))
