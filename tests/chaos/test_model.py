# SPDX-License-Identifier: Apache-2.0
"""The model's own tests: logs made by hand, and what must be said of them. No server, no program of ours."""
import hashlib
import json
import sys
from itertools import permutations
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from cryptography.hazmat.primitives import hashes  # noqa: E402

from model_py import audit, der, wire  # noqa: E402
from model_py.marks import Marks  # noqa: E402
from model_py.rules import Model  # noqa: E402
from support import events as ev  # noqa: E402

D, PARTITIONS, NONCE = "test.example", 4, "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
LOG = ev.log_id_of(D, NONCE)


class Log:
    """A log that grows by hand: what is sent is judged at once, what it emits waits in `waiting`."""

    def __init__(self):
        self.custodian = ev.x25519.X25519PrivateKey.generate()
        public = self.custodian.public_key()
        self.root, self.admin, self.issuer, self.service = (ev.Sender(LOG, public) for _ in range(4))
        self.model = Model(LOG, self.root.spki, PARTITIONS)
        self.offsets, self.waiting, self.records, self.verdicts = [0] * PARTITIONS, [], [], []
        self.now_ms = int(ev.time.time() * 1000) + 60000
        for p in range(PARTITIONS):
            self.put(self.root.event("system.genesis", "", D, {"deployment": D, "nonce": NONCE, "partitions": PARTITIONS, "ruleset": 1}), p)
        for role, sender in (("admin", self.admin), ("issuer", self.issuer), ("service", self.service)):
            self.trust(role, sender.spki)
        self.trust("custodian", ev.spki_of(public))
        self.ca = ev.Authority("CA", ev.Authority("Root"), path_length=0)

    def trust(self, role, spki):
        record = self.root.event("trust.add", "", ev.kid_of(spki), {"role": role, "key": ev.b64(spki)})
        for p in range(PARTITIONS):
            assert self.put(record, p).status == "applied"

    def put(self, record, partition=None, headers=None):
        p = wire.partition_of(record.account, PARTITIONS) if partition is None else partition
        r = wire.Record(p, self.offsets[p], self.now_ms, record.account.encode(), record.value,
                        record.headers if headers is None else headers)
        self.offsets[p] += 1
        v = self.model.judge(r)
        self.records.append(r)
        self.verdicts.append(v)
        self.waiting += v.derived
        return v

    def derived_record(self, d):
        event = {"specversion": "1.0", "type": f"certsync.{d.type}.v1", "id": d.id,
                 "source": f"//{LOG}/accounts/{d.account}/keys/{self.service.kid}", "subject": d.subject,
                 "time": ev.time.strftime("%Y-%m-%dT%H:%M:%SZ", ev.time.gmtime(d.time_ms // 1000)), "sequence": ev.sequence(d.seq), "datacontenttype": "application/json", "data": d.data}
        return self.service.record(d.account, event)

    def deliver(self, again=False):
        """The oldest waiting derived event goes to its partition."""
        d = self.waiting[0] if again else self.waiting.pop(0)
        return self.put(self.derived_record(d), d.destination)

    def settle(self):
        while self.waiting:
            self.deliver()

    def account(self, name, **how):
        data = {"site": "intl", "owner": "o", "verified": True, **how}
        assert self.put(self.admin.event("account.register", name, name, data)).status == "applied"
        agent = ev.Sender(LOG, self.custodian.public_key())
        assert self.enroll(name, agent, ["upload", "delete", "share", "csr", "read"]).status == "applied"
        return agent

    def enroll(self, account, sender, can, names="*", by=None, **more):
        return self.put((by or self.admin).event("agent.enroll", account, sender.kid, {
            "key": ev.b64(sender.spki), "can": can, "names": names, **more}))

    def pair(self, kind="p256", **how):
        key = ev.new_key(kind)
        return key, [self.ca.issue(key.public_key(), **how), self.ca.der]

    def upload(self, agent, account, name, pair=None, **how):
        key, chain = pair or self.pair()
        return agent.upload(account, name, key, chain, **how)

    def issue(self, account, name, subject, replace=False, start=-1.0):
        key, chain = self.pair(start=start)
        return self.put(self.issuer.upload(account, name, key, chain, subject=subject, kind="certificate.issue",
                                           extra={"source": "official", **({"replace": True} if replace else {})}))

    def of(self, account):
        return self.model.partitions[wire.partition_of(account, PARTITIONS)].account(account)


@pytest.fixture(scope="module")
def log():
    return Log()


COUNT = iter(range(10000))


@pytest.fixture
def acme(log):
    name = f"acme-{next(COUNT)}"
    return name, log.account(name)


def refused(v, code):
    assert (v.status, v.code) == ("rejected", code), v


def test_an_upload_and_what_it_leaves(log, acme):
    name, agent = acme
    subject = ev.uuid7()
    v = log.put(log.upload(agent, name, "www", subject=subject, extra={"tags": ["a"]}))
    assert (v.status, v.code, v.subject, v.version) == ("applied", "", subject, 1)
    a = log.of(name)
    assert a.names == {"www": subject} and a.doc["certificates"] == 1 and a.certs[subject]["summary"]["tags"] == ["a"]
    assert a.material[subject][0]["key_subject"] == subject and list(a.outcomes)[-1] == v.event.id


def test_the_same_certificate_again(log, acme):
    name, agent = acme
    key, chain = log.pair()
    log.put(log.upload(agent, name, "short", (key, chain[:1]), extra={"tags": ["a"]}))
    v = log.put(log.upload(agent, name, "short", (key, chain)))
    assert (v.status, v.code, v.version, v.detail) == ("applied", "", 1, "changed: chain"), v
    v = log.put(log.upload(agent, name, "short", (key, chain[:1])))
    assert v.code == "unchanged" and "--force" in v.detail
    v = log.put(log.upload(agent, name, "short", (key, chain), extra={"tags": ["b"]}))
    assert (v.code, v.detail) == ("", "changed: tags")


def test_names_versions_and_ids(log, acme):
    name, agent = acme
    subject, pair = ev.uuid7(), log.pair()
    log.put(log.upload(agent, name, "www", pair, subject=subject))
    assert log.put(log.upload(agent, name, "www", pair)).code == "unchanged"
    refused(log.put(log.upload(agent, name, "www")), "name.taken")
    v = log.put(log.upload(agent, name, "www", log.pair(start=-0.5), extra={"replace": True}))
    assert (v.status, v.subject, v.version) == ("applied", subject, 2)
    assert [o["version"] for o in log.of(name).certs[subject]["old_versions"]] == [1]
    refused(log.put(log.upload(agent, name, "www", log.pair(start=-9), extra={"replace": True})), "replace.older")
    assert log.put(log.upload(agent, name, "www", log.pair(start=-9), extra={"replace": True, "force": True})).version == 3
    refused(log.issue(name, "www", ev.uuid7(), replace=True), "replace.source")
    refused(log.put(log.upload(agent, name, "other", subject=subject)), "certificate.id_used")
    assert log.put(agent.event("certificate.delete", name, subject, {})).status == "applied"
    assert log.of(name).certs[subject]["deleted"] and not log.of(name).material and not log.of(name).names
    refused(log.put(agent.event("certificate.delete", name, subject, {})), "certificate.not_found")
    refused(log.put(log.upload(agent, name, "www", subject=subject)), "certificate.id_used")


def test_bytes_of_a_record(log, acme):
    name, agent = acme
    record = log.upload(agent, name, "www")
    refused(log.put(record, headers=[]), "event.unsigned")
    refused(log.put(record, headers=record.headers + record.headers[1:]), "event.unsigned")
    refused(log.put(record, partition=(wire.partition_of(name, PARTITIONS) + 1) % PARTITIONS), "event.misrouted")
    record.value += b" "
    refused(log.put(record), "event.bad_signature")
    for spoil in (lambda b: b"not json", lambda b: b.replace(b'"sequence":', b'"sequence":"0000000000000001","sequence":'), lambda b: b[:-1],
                  lambda b: b.replace(b'"name"', b'"nome"'), lambda b: b.replace(b"international", b"\xff"),
                  lambda b: b.replace(b'"1.0"', b"1.0"), lambda b: b[:-1] + b',"x":' + b"[" * 90 + b"]" * 90 + b"}"):
        value = spoil(log.upload(agent, name, "www").value)
        refused(log.put(ev.Record(name, value, agent.sign(value), "")), "event.malformed")
    refused(log.put(agent.event("certificate.teleport", name, ev.uuid7(), {})), "event.unknown_type")
    refused(log.put(ev.Record(name, b"x" * 262145, b"x", "")), "event.too_large")
    assert log.put(log.upload(agent, name, "www")).status == "applied"


def test_sequence_replay_duplicate_gap(log, acme):
    name, agent = acme
    first = log.upload(agent, name, "one")
    assert log.put(first).gap == 0
    assert log.put(first).status == "duplicate"
    agent.seq -= 1
    v = log.put(log.upload(agent, name, "two"))
    refused(v, "event.replayed")
    assert v.watermark == 1
    agent.seq += 3
    assert log.put(log.upload(agent, name, "two")).gap == 3
    for _ in range(130):
        log.put(agent.event("certificate.delete", name, ev.uuid7(), {}))
    refused(log.put(first), "event.replayed")  # forgotten after 128


def test_rights(log, acme):
    name, agent = acme
    stranger = ev.Sender(LOG, log.custodian.public_key())
    refused(log.put(log.upload(stranger, name, "www")), "event.unknown_signer")
    refused(log.put(log.upload(log.admin, name, "www")), "event.forbidden")
    reader = ev.Sender(LOG, log.custodian.public_key())
    log.enroll(name, reader, ["read"])
    refused(log.put(log.upload(reader, name, "www")), "event.forbidden")
    narrow = ev.Sender(LOG, log.custodian.public_key())
    log.enroll(name, narrow, ["upload"], "*.internal")
    refused(log.put(log.upload(narrow, name, "www")), "event.forbidden")
    assert log.put(log.upload(narrow, name, "www.internal")).status == "applied"
    assert log.put(log.admin.event("agent.revoke", name, narrow.kid, {})).status == "applied"
    assert log.put(log.admin.event("agent.revoke", name, narrow.kid, {})).code == "unchanged"
    refused(log.put(log.upload(narrow, name, "x.internal")), "event.revoked_signer")
    refused(log.enroll(name, narrow, ["upload"]), "agent.exists")
    successor = ev.Sender(LOG, log.custodian.public_key())
    assert log.put(agent.event("agent.rotate", name, successor.kid, {"key": ev.b64(successor.spki)})).status == "applied"
    refused(log.put(log.upload(agent, name, "old")), "event.revoked_signer")
    assert log.put(log.upload(successor, name, "new")).status == "applied"
    third = ev.Sender(LOG, log.custodian.public_key())
    assert log.put(successor.event("agent.rotate", name, third.kid, {"key": ev.b64(third.spki)})).status == "applied"
    ended = log.put(log.admin.event("agent.revoke", name, agent.kid, {}))
    assert (ended.status, ended.code, ended.detail) == ("applied", "", f"ended: {agent.kid}, {third.kid}")
    refused(log.put(log.upload(third, name, "newest")), "event.revoked_signer")
    assert log.put(log.admin.event("agent.revoke", name, third.kid, {})).code == "unchanged"
    assert log.put(log.admin.event("agent.revoke", name, successor.kid, {})).detail == f"ended: {successor.kid}"
    successor = ev.Sender(LOG, log.custodian.public_key())
    log.enroll(name, successor, wire.RIGHTS[:5])
    refused(log.put(log.admin.event("account.update", "nobody", "nobody", {"verified": True})), "account.unknown")
    refused(log.put(successor.event("share.answer", name, ev.uuid7(), {
        "share": ev.uuid7(), "recipient": "x", "version": 1, "answer": "accepted", "origin": 0})), "event.forbidden")


def test_a_join_token(log, acme):
    name, _ = acme
    token = ev.Sender(LOG)
    log.enroll(name, token, ["enroll"], uses=2, grant={"can": ["upload"], "names": "web-*"})
    agents = [ev.Sender(LOG, log.custodian.public_key()) for _ in range(4)]
    refused(log.enroll(name, agents[0], ["upload", "delete"], "web-1", by=token), "event.forbidden")
    refused(log.enroll(name, agents[0], ["upload"], "*", by=token), "event.forbidden")
    assert log.enroll(name, agents[0], ["upload"], "web-*", by=token).status == "applied"
    assert log.enroll(name, agents[1], ["upload"], "web-7", by=token).status == "applied"
    refused(log.enroll(name, agents[2], ["upload"], "web-7", by=token), "event.forbidden")
    assert log.of(name).keys[token.kid]["uses_left"] == 0


def test_notes(log, acme):
    name, agent = acme
    root, x = log.ca.parent, ev.x509
    for i, (notes, ca, leaf) in enumerate((
            (["chain.expired"], {"start": -30, "days": -1}, {}), (["chain.not_yet_valid"], {"start": 1}, {}),
            (["chain.ends_early"], {"days": 10}, {}), (["cert.no_san"], {}, {"names": ()}),
            (["chain.names"], {"extensions": [x.NameConstraints([x.DNSName("example.org")], None)]}, {}),
            ([], {"extensions": [x.NameConstraints([x.DNSName("example.com")], [x.DNSName("b.example.com")])]}, {}),
            (["chain.names"], {"extensions": [x.NameConstraints(None, [x.DNSName("example.com")])]}, {}),
            (["cert.critical"], {}, {"extensions": [x.UnrecognizedExtension(x.ObjectIdentifier("1.2.3.4.5"), b"\5\0")]}),
            (["cert.purpose"], {"extensions": [x.ExtendedKeyUsage([x.oid.ExtendedKeyUsageOID.CODE_SIGNING])]}, {}),
            (["chain.key_id"], {}, {"authority": ev.new_key().public_key()}))):
        authority, key = ev.Authority("Odd", root, **ca), ev.new_key()
        v = log.put(agent.upload(name, f"odd-{i}", key, [authority.issue(key.public_key(), **leaf), authority.der]))
        assert (v.status, v.notes) == ("applied", notes)


ODD = Path(__file__).resolve().parents[1] / "fuzz" / "corpus" / "cert"


@pytest.mark.parametrize("name", ["unique-id-empty", "unique-id-bits", "san-constructed", "san-bidi"])
def test_certificates_that_others_cannot_read(name):
    with pytest.raises(der.Refused, match=r"cert\.malformed"):
        der.certificate((ODD / name).read_bytes())
    assert der.certificate((ODD / "p256").read_bytes()).names[0] == "www.example.com"


def test_one_order_of_a_set(log, acme):
    name, agent = acme
    root, key = ev.Authority("New Root"), ev.new_key()
    old, ca = log.ca.parent, ev.Authority("New CA", root)
    cross = old.issue(root.key.public_key(), subject=root.name, ca=True, days=2000, names=None)
    leaf, stray = ca.issue(key.public_key()), ev.Authority("S").der
    for rest, order in (([ca.der, root.der, cross], [ca.der, root.der, cross]), ([ca.der, cross], [ca.der, cross]),
                        ([ca.der, root.der, cross, old.der], [ca.der, root.der, cross, old.der]),
                        ([ca.der, cross, old.der], [ca.der, cross, old.der]), ([ca.der, cross, root.der, stray], None),
                        ([ca.der, old.der], None), ([root.der, cross], None)):
        for i, given in enumerate(permutations(rest)):
            judged = log.put(agent.upload(name, f"crossed-{len(rest)}-{i}", key, [leaf, *given], extra={"replace": True}))
            if order is None:
                refused(judged, "chain.stray")
            elif list(given) == order:
                assert judged.status == "applied"
            else:
                refused(judged, "chain.order")


CERTIFICATES = {
    "cert.expired": dict(start=-30, days=-1), "cert.not_yet_valid": dict(start=1), "cert.no_name": dict(cn="", names=()),
    "cert.weak_signature": dict(digest=hashes.SHA1()), "cert.weak_key": dict(kind="rsa1024")}


@pytest.mark.parametrize("code", CERTIFICATES)
def test_certificates(log, acme, code):
    name, agent = acme
    refused(log.put(log.upload(agent, name, "www", log.pair(**CERTIFICATES[code]))), code)


def test_chains(log, acme):
    name, agent = acme
    key, (leaf, inter) = log.pair()
    for code, chain in (("chain.order", [leaf, log.ca.parent.der, inter]), ("chain.stray", [leaf, inter, ev.Authority("S").der]),
                        ("chain.broken", [leaf, ev.Authority("CA", log.ca.parent).der]), ("cert.too_many", [leaf] * 11),
                        ("cert.malformed", [leaf + b"\0", inter]), ("cert.is_ca", [inter, log.ca.parent.der])):
        refused(log.put(agent.upload(name, "www", key, chain)), code)
    assert log.put(agent.upload(name, "www", key, [leaf])).status == "applied"
    assert log.of(name).certs[log.of(name).names["www"]]["summary"]["notes"] == ["chain.incomplete"]
    strict = f"strict-{next(COUNT)}"
    agent = log.account(strict, limits={"incomplete_chain": "reject", "certificates": 1})
    refused(log.put(agent.upload(strict, "www", key, [leaf])), "chain.incomplete")
    assert log.put(log.upload(agent, strict, "www")).status == "applied"
    refused(log.put(log.upload(agent, strict, "one-more")), "quota.certificates")


def test_keys(log, acme):
    name, agent = acme
    refused(log.put(log.upload(agent, name, "www", signing_key=ev.new_key())), "key.mismatch")
    refused(log.put(log.upload(agent, name, "www", extra={"csr": True})), "key.many")
    own, agent.custodian = agent.custodian, ev.x25519.X25519PrivateKey.generate().public_key()
    refused(log.put(log.upload(agent, name, "www")), "key.malformed")
    agent.custodian = own
    for kind in ("rsa2048", "p384", "p521", "ed25519"):
        assert log.put(log.upload(agent, name, kind, log.pair(kind))).status == "applied"


def test_csr(log, acme):
    name, agent = acme
    key, subject = ev.new_key(), ev.uuid7()
    chain = [log.ca.issue(key.public_key()), log.ca.der]

    def by_csr(by=agent, called="api"):
        return log.put(by.event("certificate.upload", name, ev.uuid7(), {
            "name": called, "algorithm": "international", "chain": [ev.b64(c) for c in chain], "csr": True}))
    refused(by_csr(), "csr.no_match")
    narrow = ev.Sender(LOG, log.custodian.public_key())
    log.enroll(name, narrow, ["upload", "csr"], "mine")
    v = log.put(agent.csr_add(name, "api", key, ev.csr_of(key), subject=subject))
    assert v.status == "applied", v
    der = log.of(name).csrs[subject]["csr"]
    again = log.put(agent.csr_add(name, "api", key, ev.base64.b64decode(der)))
    assert (again.code, again.subject) == ("unchanged", subject)
    refused(log.put(agent.csr_add(name, "other", key, ev.base64.b64decode(der))), "csr.exists")
    refused(log.put(agent.csr_add(name, "api", key, ev.csr_of(key))), "csr.exists")
    other = ev.new_key()
    refused(log.put(agent.csr_add(name, "api", other, ev.csr_of(other))), "csr.name_taken")
    refused(log.put(agent.csr_add(name, "bare", other, ev.csr_of(other, names=False))), "csr.no_name")
    refused(log.put(agent.csr_add(name, "api", ev.new_key(), ev.csr_of(key))), "key.mismatch")
    refused(by_csr(narrow, "mine"), "event.forbidden")
    without = ev.Sender(LOG, log.custodian.public_key())
    log.enroll(name, without, ["upload"])
    refused(by_csr(without), "event.forbidden")
    v = by_csr()
    assert v.status == "applied", v
    assert log.of(name).material[log.of(name).names["api"]][0]["key_subject"] == subject
    assert log.of(name).csrs[subject]["used"]["certificate"] == log.of(name).names["api"]
    assert log.put(agent.event("csr.delete", name, subject, {})).status == "applied"
    refused(log.put(agent.event("csr.delete", name, subject, {})), "csr.not_found")
    assert by_csr().code == "unchanged"  # the certificate has its key already


def test_sm2(log, acme):
    name, agent = acme
    pair = ev.Sm2Pair()
    v = log.put(agent.upload_sm2(name, "gm", pair))
    assert v.status == "applied", v
    refused(log.put(agent.upload_sm2(name, "gm.x", pair)), "name.invalid")
    refused(log.put(agent.upload_sm2(name, "k", ev.Sm2Pair(same_key=True))), "sm2.same_key")
    refused(log.put(agent.upload_sm2(name, "s", ev.Sm2Pair(encrypt_cn="o.example.com"))), "sm2.subject")
    refused(log.put(agent.upload_sm2(name, "u", ev.Sm2Pair(sign_usage="keyEncipherment"))), "sm2.usage")
    refused(log.put(agent.upload(name, "i", pair.sign_key, [pair.sign_der, pair.ca_der])), "cert.algorithm")


def test_limits_of_an_account(log):
    agent = log.account("few", limits={"requests": 1, "keys": 1, "tokens": 1, "shares_out": 0})
    refused(log.enroll("few", ev.Sender(LOG), ["read"]), "quota.keys")
    token = {"uses": 1, "grant": {"can": ["read"], "names": "*"}}
    assert log.enroll("few", ev.Sender(LOG), ["enroll"], **token).status == "applied"
    refused(log.enroll("few", ev.Sender(LOG), ["enroll"], **token), "quota.tokens")
    requests = [(key, ev.csr_of(key)) for key in (ev.new_key(), ev.new_key())]
    first = log.put(agent.csr_add("few", "r-0", *requests[0]))
    assert first.status == "applied"
    refused(log.put(agent.csr_add("few", "r-1", *requests[1])), "quota.requests")
    assert log.put(agent.csr_add("few", "r-0", *requests[0])).code == "unchanged"
    assert log.put(agent.event("csr.delete", "few", first.event.subject, {})).status == "applied"
    assert log.put(agent.csr_add("few", "r-1", *requests[1])).status == "applied"
    cert = ev.uuid7()
    assert log.issue("few", "www", cert).status == "applied"
    refused(log.put(agent.event("certificate.share", "few", cert, {"to": "other"})), "quota.shares_out")


def test_limits_of_tags_and_bytes(log):
    agent, key, chain = log.account("small", limits={"tags": 1, "bytes": 3000}), *log.pair()
    assert log.put(agent.upload("small", "a", key, chain, extra={"tags": ["x"]})).status == "applied"
    held = log.of("small").bytes
    assert held == log.of("small").count("bytes") > sum(map(len, chain))
    refused(log.put(agent.upload("small", "b", key, chain, extra={"tags": ["x"]})), "quota.tags")
    refused(log.put(agent.upload("small", "a", key, chain, extra={"tags": ["x", "y"]})), "quota.tags")
    log.put(log.admin.event("account.update", "small", "small", {"limits": {"bytes": held}}))
    refused(log.put(agent.upload("small", "b", key, chain)), "quota.bytes")
    other = ev.new_key()
    refused(log.put(agent.csr_add("small", "r", other, ev.csr_of(other))), "quota.bytes")
    assert log.put(agent.upload("small", "a", *log.pair(), extra={"replace": True})).status == "applied"


def test_what_is_too_old_and_what_is_forgotten(log, acme):
    name, agent = acme
    refused(log.put(log.upload(agent, name, "old", event_id=ev.uuid7(days_ago=30.01))), "event.too_old")
    assert log.put(log.upload(agent, name, "young", event_id=ev.uuid7(days_ago=29.99))).status == "applied"
    subject = log.of(name).names["young"]
    assert log.put(agent.event("certificate.delete", name, subject, {})).status == "applied"
    p = log.model.partitions[wire.partition_of(name, PARTITIONS)]
    assert p.tombstones[max(p.tombstones)]["key"] == f"cert/{name}/{subject}" and log.of(name).certs[subject]["deleted"]
    for t in p.tombstones.values():
        t["at_ms"] -= 31 * 86400 * 1000 + 1
    for _ in range(len(p.tombstones) // 8 + 1):
        refused(log.put(agent.event("certificate.delete", name, subject, {})), "certificate.not_found")
    assert not p.tombstones and subject not in log.of(name).certs


class Sharing:
    def __init__(self, log, **how):
        self.log, n = log, next(COUNT)
        self.owner, self.recipient = f"owner-{n}", f"recipient-{n}"
        self.agent = log.account(self.owner, owner=f"p{n}")
        self.other = log.account(self.recipient, **{"owner": f"p{n}", **how})
        self.cert = ev.uuid7()
        assert log.issue(self.owner, "www", self.cert).status == "applied"

    def share(self):
        record = self.agent.event("certificate.share", self.owner, self.cert, {"to": self.recipient})
        self.id = record.id
        return self.log.put(record)

    def unshare(self):
        return self.log.put(self.agent.event("certificate.unshare", self.owner, self.cert, {"to": self.recipient}))

    def update(self, account, **data):
        return self.log.put(self.log.admin.event("account.update", account, account, data))

    @property
    def ends(self):
        out, there = self.log.of(self.owner).shares[self.id]["state"], self.log.of(self.recipient)
        return out, there.share_in[self.id]["open"] if self.id in there.share_in else None, len(there.shared_in)


@pytest.fixture
def s(log):
    log.settle()
    return Sharing(log)


def test_offer_answer_withdraw(log, s):
    v = s.share()
    assert v.status == "pending" and [d.type for d in v.derived] == ["share.offer"] and s.ends == ("pending", None, 0)
    refused(s.share(), "share.exists")
    s.id = v.event.id
    assert log.deliver(again=True).status == "applied" and s.ends == ("pending", True, 1)
    assert log.deliver().status == "duplicate"
    answer = log.deliver()
    assert answer.concludes == [(s.id, "applied", "")] and s.ends == ("open", True, 1)
    assert log.of(s.owner).outcomes[s.id][1]["status"] == "applied"
    log.issue(s.owner, "www", s.cert, replace=True, start=-0.5)
    log.settle()
    assert log.of(s.recipient).shared_in[(s.owner, s.cert)]["summary"]["version"] == 2
    assert log.of(s.owner).shares[s.id]["accepted"] == 2
    refused(log.put(s.agent.event("certificate.delete", s.owner, s.cert, {})), "delete.shared")
    refused(log.put(s.other.event("certificate.share", s.recipient, s.cert, {"to": s.owner})), "share.reshare")
    s.unshare()
    log.settle()
    assert s.ends == ("closed", None, 0)
    refused(s.unshare(), "share.not_found")


def test_share_and_unshare_at_once(log, s):
    s.share()
    v = s.unshare()
    assert v.concludes == [(s.id, "rejected", "share.closed")]
    offer, withdraw, answer = log.deliver(), log.deliver(), log.deliver()
    assert [x.event.type for x in (offer, withdraw, answer)] == ["share.offer", "share.withdraw", "share.answer"]
    assert answer.code == "share.closed" and s.ends == ("closed", None, 0)


def test_a_withdrawn_id_never_revives(log, s):
    s.share()
    s.unshare()
    log.waiting.reverse()
    log.deliver()
    assert s.id not in log.of(s.recipient).share_in
    assert log.deliver().status == "rejected"  # its number is below the withdrawal's
    assert s.ends == ("closed", None, 0)


@pytest.mark.parametrize("how, code", [({"owner": "x"}, "share.owner"), ({"site": "cn"}, "share.site"),
                                       ({"verified": False}, "share.unverified")])
def test_refusals_and_changes_of_identity(log, how, code):
    log.settle()
    s = Sharing(log, **how)
    s.share()
    assert log.deliver().code == code
    assert log.deliver().concludes == [(s.id, "rejected", code)]
    assert s.ends == ("closed", None, 0)
    for side in ("owner", "recipient"):
        s = Sharing(log)
        s.share()
        log.settle()
        assert s.ends == ("open", True, 1)
        s.update(getattr(s, side), **how)
        log.settle()
        assert s.ends == ("closed", None, 0)


def test_removal_by_the_recipient_and_cascade(log, s):
    s.share()
    log.settle()
    assert log.put(s.other.event("certificate.delete", s.recipient, s.cert, {"from": s.owner})).status == "applied"
    log.settle()
    assert s.ends == ("closed", None, 0)
    s.share()
    log.settle()
    s.share()
    log.put(s.agent.event("certificate.delete", s.owner, s.cert, {"cascade": True}))
    log.settle()
    assert not log.of(s.recipient).shared_in and log.of(s.owner).doc["certificates"] == 0


# --- the audit itself: it must see what is wrong

@pytest.fixture
def told():
    """A small settled log, with outcomes as a consumer would have written them."""
    log = Log()
    s = Sharing(log)
    s.share()
    log.settle()
    return log, outcomes_of(log)


def outcomes_of(log):
    found = []
    for p in range(PARTITIONS):
        previous = "0" * 64
        for n, v in enumerate((v for v in log.verdicts if v.partition == p), 1):
            value = json.dumps(audit.expected_outcome(v, n, previous, LOG), separators=(",", ":")).encode()
            previous = hashlib.sha256(value).hexdigest()
            key = v.event.account.encode() if v.event else b""
            found.append(wire.Record(p, n - 1, 0, key, value, Marks(log.service.key, LOG).headers(p, key, value)))
    return found


def test_the_audit_finds_nothing_in_a_true_story(told):
    log, outcomes = told
    assert audit.check_log(log.model, log.verdicts, log.records, log.service.spki) == []
    assert audit.check_outcomes(log.verdicts, outcomes, PARTITIONS, LOG, Marks(log.service.key, LOG)) == []
    assert audit.check_shares(log.model) == []
    # What a zombie publishes again is no harm.
    again = outcomes + [o._replace(offset=o.offset + 1000) for o in outcomes[:3]]
    assert audit.check_outcomes(log.verdicts, again, PARTITIONS, LOG) == []


def edited(outcome, **members):
    value = json.loads(outcome.value)
    for name, x in members.items():
        if name == "n":
            value["sequence"] = ev.sequence(x)
        else:
            (value if name == "time" else value["data"])[name] = x
    return outcome._replace(value=json.dumps(value, separators=(",", ":")).encode())


@pytest.mark.parametrize("spoil, word", [
    (lambda o: o[:-1], "no outcome"), (lambda o: o[:5] + o[6:], "gap"), (lambda o: [*o, edited(o[-1], n=99)], "gap"),
    (lambda o: [*o, edited(o[-1], time=1)], "fork"), (lambda o: [edited(o[0], prev="1" * 64), *o[1:]], "chain"),
    (lambda o: [*o[:-1], edited(o[-1], status="rejected", code="event.forbidden")], "status"),
    (lambda o: [*o[:-1], edited(o[-1], record="0" * 64)], "record"),
    (lambda o: [*o[:-1], o[-1]._replace(headers=o[-1].headers[:1])], "headers"),
    (lambda o: [*o[:-1], o[-1]._replace(headers=o[-2].headers)], "headers"),
    (lambda o: [*o, edited(o[-1], n=int(json.loads(o[-1].value)["sequence"]) + 1)], "outcome")])
def test_the_audit_finds_what_is_wrong(told, spoil, word):
    log, outcomes = told
    found = audit.check_outcomes(log.verdicts, spoil(outcomes), PARTITIONS, LOG, Marks(log.service.key, LOG))
    assert found and any(word in f for f in found), found


def test_the_audit_finds_a_derived_event_that_never_came_and_one_too_many():
    log = Log()
    s = Sharing(log)
    s.share()
    found = audit.check_log(log.model, log.verdicts, log.records, log.service.spki)
    assert any("never appeared" in f for f in found), found
    assert any("pending" in f for f in audit.check_shares(log.model))
    log.settle()
    log.service.seq = 1000
    log.put(log.service.event("share.withdraw", s.recipient, s.cert, {
        "share": s.id, "owner_account": s.owner, "origin": 0, "code": "share.closed"}))
    found = audit.check_log(log.model, log.verdicts, log.records, log.service.spki)
    assert any("nobody emitted" in f for f in found), found
    assert any("one end" in f for f in audit.check_shares(log.model))
