# SPDX-License-Identifier: Apache-2.0
"""What senders do in one run, drawn from a seed: good events, refused ones, forged ones, and the same ones again.

Pools of keys and certificates are made once a process; everything else (ids, sealing, proofs, signatures) is made for each event.
The workload keeps a rough idea of what it has done, so that most of what it sends means something; it never looks at outcomes.
"""
import hashlib
import random
from itertools import permutations

from cryptography.hazmat.primitives import hashes

from chaos.senders import Sender
from support import events as ev

ALL = ["upload", "delete", "share", "csr", "read"]
STARTS = (-9.0, -5.0, -2.0, -1.0, -0.5)  # days: what may replace what


class Pools:
    def __init__(self):
        self.root = ev.Authority("Chaos Root")
        self.ca = ev.Authority("Chaos Intermediate", self.root, path_length=0)
        self.good = [self._entry("p256") for _ in range(60)]
        for kind, count in (("rsa2048", 6), ("p384", 4), ("p521", 3), ("ed25519", 5)):
            self.good += [self._entry(kind) for _ in range(count)]
        self.crossed = self._crossed() + self._noted()
        self.sm2 = [ev.Sm2Pair(cn=f"sm2-{i}.example.com") for i in range(4)]
        self.bad = self._bad()
        self.bad_sm2 = [ev.Sm2Pair(sign_usage="keyEncipherment", encrypt_usage="digitalSignature"), ev.Sm2Pair(same_key=True),
                        ev.Sm2Pair(encrypt_cn="other.example.com")]
        self.requests = []
        for _ in range(12):
            key = ev.new_key()
            self.requests.append((key, ev.csr_of(key), [self.ca.issue(key.public_key()), self.ca.der]))
        self.senders = [ev.new_key() for _ in range(160)]

    def _entry(self, kind):
        key = ev.new_key(kind)
        return key, [self.ca.issue(key.public_key(), start=s, names=("www.example.com", "example.com")) for s in STARTS]

    def _crossed(self):
        """A root that an older one signed too: (key, chain), in every order, one of which is the right one."""
        root, key = ev.Authority("Chaos Root 2"), ev.new_key()
        cross = self.root.issue(root.key.public_key(), subject=root.name, ca=True, days=2000, names=None)
        ca = ev.Authority("Chaos Intermediate 2", root)
        leaf = ca.issue(key.public_key())
        return [(key, [leaf, *above]) for n in (2, 3, 4) for above in permutations([ca.der, root.der, cross, self.root.der], n)]

    def _noted(self):
        """Chains that clients will not accept, in several ways."""
        x, found = ev.x509, []
        for ca, leaf in (({"days": 10}, {}), ({"start": -30, "days": -1}, {}), ({"start": 1}, {"names": ()}),
                         ({"extensions": [x.NameConstraints([x.DNSName("example.org")], None)]}, {}),
                         ({"extensions": [x.NameConstraints(None, [x.DNSName("example.org")])]}, {}),
                         ({"extensions": [x.ExtendedKeyUsage([x.oid.ExtendedKeyUsageOID.CODE_SIGNING])]}, {}),
                         ({}, {"authority": ev.new_key().public_key()}),
                         ({}, {"extensions": [x.UnrecognizedExtension(x.ObjectIdentifier("1.2.3.4.5"), b"\5\0")]})):
            authority, key = ev.Authority("Odd CA", self.root, **ca), ev.new_key()
            found.append((key, [authority.issue(key.public_key(), **leaf), authority.der]))
        return found

    def _bad(self):
        key = ev.new_key()
        public = key.public_key()
        leaf, good = self.ca.issue(public), [self.ca.der]
        rsa = ev.new_key("rsa1024")
        return [(key, chain) for chain in (
            [self.ca.issue(public, start=-30, days=-1), *good], [self.ca.issue(public, start=1), *good],
            [self.ca.issue(public, cn="", names=()), *good], [self.ca.issue(public, digest=hashes.SHA1()), *good],
            [leaf, self.root.der, self.ca.der], [leaf, self.ca.der, ev.Authority("Stray").der],
            [leaf, ev.Authority("Chaos Intermediate", self.root).der], [leaf + b"\0", *good], [leaf] + good * 10,
            [b"\x30\x03\x02\x01\x00", *good], [leaf[:-3], *good])] + [
            (rsa, [self.ca.issue(rsa.public_key()), *good]), (self.ca.key, [self.ca.der, self.root.der])]


class Agent:
    def __init__(self, sender, can, names):
        self.sender, self.can, self.names, self.ended = sender, can, names, False


class Account:
    def __init__(self, name, owner, site, verified):
        self.id, self.owner, self.site, self.verified = name, owner, site, verified
        self.agents, self.tokens = [], []
        self.certs, self.csrs = {}, {}       # id -> what is believed of it
        self.shares = set()                  # (certificate, to)


class Send:
    """One record to produce."""

    def __init__(self, record, partition, headers=None, key=None):
        self.value, self.partition = record.value, partition
        self.headers = record.headers if headers is None else headers
        self.key = record.account.encode() if key is None else key


class Workload:
    PLACES = ["/etc/ssl/www.pem", "/srv/a.pem", "/srv/b.pem", "sha256:" + "0f" * 16]

    def __init__(self, seed, pools, stack, accounts=12):
        self.random, self.pools, self.stack = random.Random(seed), pools, stack
        self.log_id, self.deployment, self.partitions = stack.log_id, stack.deployment, stack.partitions
        self.senders = list(pools.senders)
        self.random.shuffle(self.senders)
        self.sent = []                       # of agents and admins: (send, sender)
        self.counts = {}
        self.accounts = [self._new_account(i) for i in range(accounts)]
        self.late = [self._new_account(100 + i) for i in range(2)]  # registered in the middle

    def _new_account(self, i):
        r = self.random
        verified = r.random() > 0.1
        return Account(f"acc-{i}-{r.randrange(1 << 32):08x}", f"owner-{r.randrange(3)}", "cn" if r.random() < 0.15 else "intl", verified)

    def _sender(self):
        return Sender(self.log_id, self.stack.sealer, key=self.senders.pop() if self.senders else None)

    def send(self, record, sender=None, **how):
        found = Send(record, how.pop("partition", None) if "partition" in how
                     else ev.partition_of(record.account, self.partitions), **how)
        if sender:
            self.sent.append((found, sender))
            del self.sent[:-200]
        return found

    # --- the beginning: who there is

    def prelude(self):
        for account in self.accounts:
            yield from self._register(account)

    def _register(self, account):
        r, admin = self.random, self.stack.admin
        limits = {}
        if r.random() < 0.2:
            limits["certificates"] = r.randrange(1, 6)
        if r.random() < 0.2:
            limits["shares"] = r.randrange(0, 3)
        if r.random() < 0.2:
            limits["incomplete_chain"] = r.choice(["note", "reject"])
        data = {"site": account.site, "owner": account.owner, "verified": account.verified, **({"limits": limits} if limits else {})}
        yield self.send(admin.event("account.register", account.id, account.id, data), admin)
        yield self._enroll(account, ALL, "*")
        if r.random() < 0.5:
            yield self._enroll(account, r.sample(ALL, r.randrange(1, 5)), r.choice(["*", "web-*", "*.example.com"]))

    def _enroll(self, account, can, names, by=None, **more):
        sender, by = self._sender(), by or self.stack.admin
        record = by.event("agent.enroll", account.id, sender.kid, {"key": ev.b64(sender.spki), "can": can, "names": names, **more})
        (account.tokens if "enroll" in can else account.agents).append(Agent(sender, can, names))
        return self.send(record, by)

    # --- one step

    def steps(self, count):
        """The run's events; a step may be a few records."""
        actions = [(weight, getattr(self, name)) for name, weight in WEIGHTS.items()]
        weights, functions = [w for w, _ in actions], [f for _, f in actions]
        made = 0
        while made < count:
            action = self.random.choices(functions, weights)[0]
            for send in action():
                made += 1
                self.counts[action.__name__] = self.counts.get(action.__name__, 0) + 1
                yield send

    def _account(self):
        return self.random.choice(self.accounts)

    def _agent(self, account, right=None):
        """Mostly one that may; sometimes any, also one that ended."""
        if right and self.random.random() < 0.97:
            good = [a for a in account.agents if not a.ended and right in a.can and a.names == "*"]
            if good:
                return self.random.choice(good).sender
        return self.random.choice(account.agents).sender

    def _name(self):
        r = self.random
        return r.choice(["web-%d", "www-%d.example.com", "api_%d", "host%d"]) % r.randrange(30)

    def _material(self):
        """(key, chain) of a good certificate."""
        r = self.random
        if r.random() < 0.1:
            return r.choice(self.pools.crossed)
        key, leaves = r.choice(self.pools.good)
        return key, [r.choice(leaves)] + ([self.pools.ca.der] if r.random() > 0.06 else [])

    def _place(self):
        return {"place": self.random.choice(self.PLACES)} if self.random.random() < 0.5 else {}

    def upload(self):
        a, r = self._account(), self.random
        sender, subject, name = self._agent(a, "upload"), ev.uuid7(), self._name()
        key, chain = self._material()
        extra = {"tags": r.sample(["env=prod", "team/a", "x"], r.randrange(3))} if r.random() < 0.2 else {}
        extra.update(self._place())
        a.certs[subject] = {"name": name, "pair": (key, chain), "source": "uploaded"}
        yield self.send(sender.upload(a.id, name, key, chain, subject=subject, extra=extra), sender)

    def upload_again(self):
        a = self._account()
        if a.certs:
            known, sender = self.random.choice(list(a.certs.values())), self._agent(a, "upload")
            yield self.send(sender.upload(a.id, known["name"], *known["pair"], extra=self._place()), sender)

    def replace(self):
        a, r = self._account(), self.random
        if a.certs:
            known, sender = r.choice(list(a.certs.values())), self._agent(a, "upload")
            extra = {"replace": True, **({"force": True} if r.random() < 0.5 else {}), **self._place()}
            known["pair"] = self._material()
            yield self.send(sender.upload(a.id, known["name"], *known["pair"], extra=extra), sender)

    def upload_bad(self):
        a, r = self._account(), self.random
        key, chain = r.choice(self.pools.bad)
        sender = self._agent(a, "upload")
        yield self.send(sender.upload(a.id, self._name(), key, chain), sender)

    def upload_bad_key(self):
        a, r = self._account(), self.random
        sender, (key, chain), kind = self._agent(a, "upload"), self._material(), r.randrange(6)
        if kind == 0:
            yield self.send(sender.upload(a.id, self._name(), key, chain, signing_key=self.pools.senders[0]), sender)
            return
        subject, event_id = ev.uuid7(), ev.uuid7()
        part = sender.part(a.id, event_id, subject, key, chain)
        if kind == 1:
            del part["key"], part["pop"]
        elif kind == 2:
            part["csr"] = True
        elif kind == 3:
            part["key"] = ev.b64(b"not sealed at all")
        elif kind == 4:
            del part["pop"]
        data = {"name": self._name() if kind != 5 else "no/slashes", "algorithm": "international", **part}
        yield self.send(sender.event("certificate.upload", a.id, subject, data, id=event_id), sender)

    def upload_sm2(self):
        a, r = self._account(), self.random
        sender, subject, name = self._agent(a, "upload"), ev.uuid7(), f"gm_{r.randrange(6)}"
        bad = r.random() < 0.3
        pair = r.choice(self.pools.bad_sm2 if bad else self.pools.sm2)
        yield self.send(sender.upload_sm2(a.id, name, pair, subject=subject, extra={"replace": r.random() < 0.5}), sender)

    def issue(self):
        a, r, issuer = self._account(), self.random, self.stack.issuer
        subject, name = ev.uuid7(), self._name()
        key, chain = self._material()
        if r.random() < 0.05:  # ends while the run goes on
            chain = [self.pools.ca.issue(key.public_key(), days=r.uniform(1, 4) / 86400), self.pools.ca.der]
        source = r.choice(["official", "official", "test"])
        a.certs[subject] = {"name": name, "pair": (key, chain), "source": source}
        yield self.send(issuer.upload(a.id, name, key, chain, subject=subject, kind="certificate.issue",
                                      extra={"source": source}), issuer)

    def renew(self):
        """A new version of an issued certificate: what its recipients must get."""
        a, r, issuer = self._account(), self.random, self.stack.issuer
        known = [c for c in a.certs.values() if c["source"] != "uploaded"]
        if known:
            c = r.choice(known)
            c["pair"] = self._material()
            extra = {"source": c["source"], "replace": True, **({"force": True} if r.random() < 0.7 else {})}
            yield self.send(issuer.upload(a.id, c["name"], *c["pair"], kind="certificate.issue", extra=extra), issuer)

    def _issued(self):
        """(account, id) of something that can be shared, mostly."""
        a = self._account()
        ids = [i for i, c in a.certs.items() if c["source"] != "uploaded"] or list(a.certs)
        return a, self.random.choice(ids) if ids else None

    def share(self):
        (a, subject), r = self._issued(), self.random
        if subject:
            kin = [b.id for b in self.accounts if b.owner == a.owner and b is not a]
            to = r.choice(kin) if kin and r.random() < 0.85 else r.choice([b.id for b in self.accounts] + ["nobody-here"])
            sender = self._agent(a, "share")
            a.shares.add((subject, to))
            yield self.send(sender.event("certificate.share", a.id, subject, {"to": to}), sender)
            if r.random() < 0.15:  # before anybody could answer
                yield self.send(sender.event("certificate.unshare", a.id, subject, {"to": to}), sender)

    def unshare(self):
        a, r = self._account(), self.random
        if a.shares:
            subject, to = r.choice(sorted(a.shares))
            sender = self._agent(a, "share")
            yield self.send(sender.event("certificate.unshare", a.id, subject, {"to": to}), sender)

    def share_odd(self):
        """Sharing on, sharing what is not there, with oneself."""
        a, b, r = self._account(), self._account(), self.random
        subject = r.choice(sorted(b.certs)) if b.certs and r.random() < 0.8 else ev.uuid7()
        sender = self._agent(a, "share")
        to = r.choice([a.id, b.id])
        yield self.send(sender.event("certificate.share", a.id, subject, {"to": to}), sender)

    def seen(self):
        """A host tells a version that it has: the present one, an old one, one that is none."""
        a, r = self._account(), self.random
        known = [i for i, c in a.certs.items() if c.get("pair")]
        if known:
            subject, sender = r.choice(sorted(known)), self._agent(a, "upload")
            c = a.certs[subject]
            pair = r.choice([c["pair"], c["pair"], c.setdefault("first", c["pair"]), self._material()])
            sha256 = hashlib.sha256(pair[1][0]).hexdigest()
            yield self.send(sender.event("certificate.seen", a.id, subject, {"place": r.choice(self.PLACES), "sha256": sha256}), sender)

    def gone(self):
        a, r = self._account(), self.random
        if a.certs:
            subject, sender = r.choice(sorted(a.certs)), self._agent(a, "upload")
            data = {"place": r.choice(self.PLACES), **({"delete": True} if r.random() < 0.3 else {})}
            yield self.send(sender.event("certificate.gone", a.id, subject, data), sender)

    def revise(self):
        """Name, tags, contact, note, chain of what is there, or of what is not."""
        a, r = self._account(), self.random
        if not a.certs:
            return
        subject, sender = r.choice(sorted(a.certs)), self._agent(a, "upload")
        c, data = a.certs[subject], {}
        if r.random() < 0.4:
            c["name"] = data["name"] = r.choice([self._name(), f"new-{r.randrange(6)}", c["name"], "no/slashes"])
        if r.random() < 0.4:
            data["tags"] = [f"tag-{i}" for i in range(r.randrange(3))]
        if r.random() < 0.3:
            data["contact"] = r.choice(["", "web team", "b\u00fcro@example.com"])
        if r.random() < 0.3 or not data:
            data["note"] = r.choice(["", "until the shop moves"])
        if r.random() < 0.3 and c.get("pair"):
            chain = r.choice([c["pair"], self._material()])[1]
            data["chain"] = [ev.b64(x) for x in chain[:r.randrange(1, len(chain) + 1)]]
        yield self.send(sender.event("certificate.update", a.id, subject, data), sender)

    def delete(self):
        a, r = self._account(), self.random
        if a.certs:
            subject, sender = r.choice(sorted(a.certs)), self._agent(a, "delete")
            if r.random() < 0.7:
                a.certs.pop(subject)
            yield self.send(sender.event("certificate.delete", a.id, subject, r.choice([{}, {}, {"cascade": True}])), sender)

    def delete_from(self):
        a, r = self._account(), self.random
        if a.shares:
            subject, to = r.choice(sorted(a.shares))
            b = next((b for b in self.accounts if b.id == to), None)
            if b:
                sender = self._agent(b, "delete")
                yield self.send(sender.event("certificate.delete", b.id, subject, {"from": a.id}), sender)

    def update(self):
        a, r, admin = self._account(), self.random, self.stack.admin
        data = r.choice([{"limits": {"certificates": r.randrange(40)}}, {"limits": {"shares": r.randrange(6)}},
                         {"limits": {"incomplete_chain": r.choice(["note", "reject"])}}, {"verified": True}, {"verified": False},
                         {"owner": f"owner-{r.randrange(3)}"}, {"site": r.choice(["cn", "intl"])},
                         {"owner": f"owner-{r.randrange(3)}", "site": "intl", "verified": r.random() < 0.8}])
        a.owner, a.site, a.verified = data.get("owner", a.owner), data.get("site", a.site), data.get("verified", a.verified)
        yield self.send(admin.event("account.update", a.id, a.id, data), admin)

    def enroll(self):
        a, r = self._account(), self.random
        kind = r.randrange(5)
        if kind == 0:
            yield self._enroll(a, ["enroll"], "*", uses=r.randrange(1, 4), grant={"can": r.sample(ALL, 3), "names": r.choice(["*", "web-*"])},
                               **({"expires": "2020-01-01T00:00:00Z"} if r.random() < 0.2 else {}))
        elif kind == 1 and a.tokens:
            yield self._enroll(a, r.sample(ALL, r.randrange(1, 3)), r.choice(["*", "web-1", "web-*", "x"]), by=r.choice(a.tokens).sender)
        elif kind == 2 and len(a.agents) > 1:
            ended = r.choice(a.agents[1:])
            ended.ended = True
            admin = self.stack.admin
            yield self.send(admin.event("agent.revoke", a.id, ended.sender.kid, {"reason": "lost"}), admin)
        elif kind == 3:
            old, new = r.choice(a.agents), self._sender()
            old.ended = True
            a.agents.append(Agent(new, old.can, old.names))
            yield self.send(old.sender.event("agent.rotate", a.id, new.kid, {"key": ev.b64(new.spki)}), old.sender)
        elif kind == 4:
            yield self._enroll(a, r.sample(ALL, 4), "*")

    def csr(self):
        a, r = self._account(), self.random
        sender, (key, der, chain), kind = self._agent(a, "csr"), r.choice(self.pools.requests), r.randrange(4)
        if kind <= 1:
            subject = ev.uuid7()
            a.csrs[subject] = key
            yield self.send(sender.csr_add(a.id, self._name(), key, der if r.random() > 0.1 else der[:-2], subject=subject), sender)
        elif kind == 2:
            sender, subject = self._agent(a, "upload"), ev.uuid7()
            yield self.send(sender.event("certificate.upload", a.id, subject, {
                "name": self._name(), "algorithm": "international", "chain": [ev.b64(c) for c in chain], "csr": True}), sender)
        elif a.csrs:
            subject = r.choice(sorted(a.csrs))
            yield self.send(sender.event("csr.delete", a.id, subject, {}), sender)

    def again(self):
        """The same record once more, as a sender that does not know whether it arrived."""
        if self.sent:
            send, _ = self.random.choice(self.sent[-60:])
            yield send

    def replayed(self):
        """A number that was used, under another id: a restored or cloned host."""
        a = self._account()
        sender = self._agent(a, "delete")
        if sender.seq > 0:
            now, sender.seq = sender.seq, self.random.randrange(sender.seq)
            record = sender.event("certificate.delete", a.id, ev.uuid7(), {})
            sender.seq = now
            yield self.send(record)

    def gap(self):
        sender = self._agent(self._account())
        sender.seq += self.random.randrange(1, 200)
        return iter(())

    def same_id(self):
        """An event id again with a new number: signed again after an alarm, or a careless sender."""
        a, r = self._account(), self.random
        sender, event_id = self._agent(a, "share"), ev.uuid7()
        ids = [i for i, c in a.certs.items() if c["source"] != "uploaded"]
        if len(ids) > 1:
            kin = [b.id for b in self.accounts if b.owner == a.owner and b is not a] or ["nobody-here"]
            for subject in r.sample(ids, 2):
                yield self.send(sender.event("certificate.share", a.id, subject, {"to": r.choice(kin)}, id=event_id), sender)

    def forged(self):
        a, b, r = self._account(), self._account(), self.random
        sender, kind = self._agent(a, "upload"), r.randrange(12)
        key, chain = self._material()

        def record(by=sender, account=a.id):
            return by.upload(account, self._name(), key, chain)
        if kind == 0:
            yield self.send(record(by=Sender(self.log_id, self.stack.sealer)))
        elif kind == 1:
            yield self.send(record(account=b.id) if b is not a else record(by=self.stack.admin))
        elif kind == 2:
            spoilt = record()
            spoilt.value += b" "
            yield self.send(spoilt)
        elif kind == 3:
            good = record()
            yield self.send(good, partition=(ev.partition_of(a.id, self.partitions) + 1) % self.partitions)
        elif kind == 4:
            yield self.send(record(), headers=[("content-type", ev.CONTENT_TYPE)])
        elif kind == 5:
            event = sender.envelope("certificate.delete", a.id, ev.uuid7(), {})
            event["source"] = event["source"].replace(self.log_id, r.choice(["another_" + self.log_id[-8:], self.deployment + "_00000000"]))
            yield self.send(sender.record(a.id, event))
        elif kind == 6:
            yield self.send(sender.event("certificate.teleport", a.id, ev.uuid7(), {}))
        elif kind == 7:
            yield self.send(ev.Record(a.id, b"x" * 300000, b"x", ""))
        elif kind == 8:
            yield self.send(sender.event("account.register", a.id, a.id, {"site": "cn", "owner": "me", "verified": True}))
        elif kind == 9:  # derived events that no service signed
            yield self.send(sender.event("share.answer", a.id, ev.uuid7(), {
                "share": ev.uuid7(), "recipient": b.id, "version": 1, "answer": "accepted", "code": "",
                "origin": r.randrange(self.partitions)}))
        elif kind == 10:
            partition = r.randrange(self.partitions)
            yield self.send(sender.event("system.genesis", "", self.deployment, {
                "deployment": self.deployment, "nonce": self.log_id[-8:] + "0" * 24, "partitions": self.partitions, "ruleset": 1}), partition=partition)
        else:
            root = self.stack.root
            yield self.send(root.event("system.genesis", "", self.deployment, {
                "deployment": self.deployment, "nonce": self.log_id[-8:] + "0" * 24, "partitions": self.partitions, "ruleset": 1}), partition=r.randrange(self.partitions))

    def malformed(self):
        a, r = self._account(), self.random
        sender = self._agent(a, "upload")
        value = sender.upload(a.id, self._name(), *self._material()).value
        spoilt = r.choice([
            lambda b: b"not json", lambda b: b"", lambda b: b"[]", lambda b: b[:-1], lambda b: b + b"}",
            lambda b: b.replace(b'"sequence":', b'"sequence":"0000000000000001","sequence":'), lambda b: b.replace(b'"name"', b'"nome"'),
            lambda b: b.replace(b"international", b"inter\xff\xfe"), lambda b: b.replace(b'"1.0"', b"1.0"),
            lambda b: b.replace(b'"sequence":"0', b'"sequence":"-'), lambda b: b.replace(b'"chain":[', b'"chain":["%%%",'),
            lambda b: b.replace(b'"time":"2', b'"time":"x2'), lambda b: b[:-1] + b',"x":' + b"[" * 90 + b"]" * 90 + b"}"])(value)
        yield self.send(ev.Record(a.id, spoilt, sender.sign(spoilt), ""))

    def nulls(self):
        """Tombstones, no key, odd headers."""
        a, r = self._account(), self.random
        partition = ev.partition_of(a.id, self.partitions)
        send = self.send(ev.Record(a.id, b"{}", b"x", ""), partition=partition)
        send.value, send.key = r.choice([(None, b"k"), (b"{}", None), (b"", b"")])
        send.headers = r.choice([[], [("certsync-sig", b"")], [("certsync-sig", None)], [("x", b"\xff")] * 40])
        yield send

    def trust(self):
        """A second custodian comes and goes: what is sealed to it meanwhile is refused."""
        root, r = self.stack.root, self.random
        key = self.pools.senders[r.randrange(20)]
        spki = ev.spki_of(key.public_key())
        kind = r.choice(["add", "remove"])
        data = {"role": "auditor", **({"key": ev.b64(spki)} if kind == "add" else {})}
        record = root.event(f"trust.{kind}", "", ev.kid_of(spki), data)
        for partition in range(self.partitions):
            yield self.send(record, partition=partition)

    def newcomer(self):
        if self.late:
            account = self.late.pop()
            self.accounts.append(account)
            yield from self._register(account)


WEIGHTS = {"upload": 24, "upload_again": 3, "replace": 10, "upload_bad": 5, "upload_bad_key": 3, "upload_sm2": 1.0, "issue": 10,
           "renew": 8, "share": 11, "unshare": 5, "share_odd": 2, "delete": 5, "revise": 5, "seen": 12, "gone": 6, "delete_from": 2, "update": 2, "enroll": 4,
           "csr": 4, "again": 5, "replayed": 1, "gap": 0.5, "same_id": 0.3, "forged": 4, "malformed": 2,
           "nulls": 0.5, "trust": 0.1, "newcomer": 0.4}
