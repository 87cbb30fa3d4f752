# SPDX-License-Identifier: Apache-2.0
"""Records the golden log: every verdict code and every cell of both share tables, through real servers.

    PYTHONPATH=tests:tests/e2e CS_TEST_BUILD=build/dev /usr/bin/python3 tests/golden/record.py tests/golden/golden.tar.xz

Until the first release it is recorded anew where a rule changes in place (CHANGELOG.md, "Rules"). From then on it is made again only
where a new code or a new cell must be in it. What is there then stays as it is: each release must judge it as it was judged
(ctest -R golden). A release that fails here changes history; that needs a new ruleset.
"""
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import test_verdicts
from support import events as ev
from support.proc import PATIENCE_S, wait_until
from support.stack import EVENTS, OUTCOMES, certsync_binary, consumer_binary

# It takes a thousand shares, and accounts in every partition: unit.rules_share provokes it.
LEFT_OUT = {"account.shares"}

CLOSING = {"owner": {"owner": "somebody-else"}, "site": {"site": "cn"}, "verified": {"verified": False}}


class Golden(test_verdicts.World):
    def start(self):
        super().start()
        self.families = 0
        # Forged events count as if they came from a partition where no account lives: the true numbers are left alone.
        used = {ev.partition_of(a, self.partitions) for a in ("acme", "acme-sister", "other", "acme-cn", "acme-new", "tight")}
        self.spare = max(set(range(self.partitions)) - used)
        self.populated = used
        self.forger = ev.Sender(self.log_id, key=self.service)  # counts for an origin where no account lives
        return self

    # --- small steps

    def family(self):
        self.families += 1
        def called(role):
            return next(n for n in (f"{role}-{self.families}-{i}" for i in range(1000))
                        if ev.partition_of(n, self.partitions) in self.populated)
        person = f"person-{self.families}"
        return self.account(called("owner"), owner=person), self.account(called("recipient"), owner=person)

    def issue(self, account, name="www.example.com", subject=None, **how):
        """A record that issues; send or judge it."""
        start = how.pop("start", -1.0)
        key, chain = self.pair(start=start)
        return self.issuer.upload(account.id, name, key, chain, subject=subject or ev.uuid7(), kind="certificate.issue",
                                  extra={"source": "official", **how})

    def certificate(self, account, **how):
        outcome = self.judge(self.issue(account, **how))
        assert outcome["status"] == "applied", outcome
        return outcome["subject"]

    def renew(self, account):
        return self.issue(account, replace=True, start=-0.5)

    def delete(self, account, subject, **data):
        return account.agent.event("certificate.delete", account.id, subject, data)

    def unshare(self, owner, subject, to):
        return owner.agent.event("certificate.unshare", owner.id, subject, {"to": to.id})

    def update(self, account, **data):
        return self.admin.event("account.update", account.id, account.id, data)

    def answer(self, owner, subject, share, reply, to, version=1, code=""):
        return self.forger.event("share.answer", owner.id, subject, {
            "share": share, "recipient": to.id, "version": version, "answer": reply,
            "code": code or ("" if reply == "accepted" else "share.owner"), "origin": self.spare})

    def withdraw(self, owner, subject, share, to):
        return self.forger.event("share.withdraw", to.id, subject, {
            "share": share, "owner_account": owner.id, "origin": self.spare, "code": "share.closed"})

    def offer(self, by, subject, share, to, like, version=1, **over):
        """An offer as the service would make it, but for what is said otherwise. like: a certificate's summary."""
        data = {"share": share, "owner_account": by.id, "owner": f"person-{self.families}", "site": "intl",
                "version": version, "origin": self.spare, "certificate": {**like, "version": version}, **over}
        return self.forger.event("share.offer", to.id, subject, data)

    def summary(self, share):
        """The certificate as the real offer of a share tells it."""
        for record in self.dump(EVENTS):
            if share in (record["payload"] or "") and '"certsync.share.offer.v1"' in record["payload"]:
                return json.loads(record["payload"])["data"]["certificate"]
        raise AssertionError(f"no offer of {share}")

    def dump(self, topic):
        done = subprocess.run(["kcat", "-C", "-J", "-e", "-q", "-b", self.kafka.bootstrap, "-t", topic, "-o", "beginning",
                               "-X", "fetch.message.max.bytes=4000000"], capture_output=True, check=True)
        self.lines = [line for line in done.stdout.split(b"\n") if line]
        return [json.loads(line.decode("utf-8", "replace"), strict=False) for line in self.lines]

    def shared(self, state):
        """(owner, recipient, certificate, share) with the owner's end in a state. Pending: nobody judges any more until
        awake()."""
        owner, to = self.family()
        subject = self.certificate(owner)
        if state == "none":
            return owner, to, subject, ev.uuid7()
        record = self.share(subject, to, account=owner)
        if state == "pending":
            self.asleep()
            self.send(record)
            return owner, to, subject, record.id
        assert self.final(record)["status"] == "applied"
        if state == "closed":
            assert self.judge(self.unshare(owner, subject, to))["status"] == "applied"
        return owner, to, subject, record.id

    def asleep(self):
        for consumer in self.consumers:
            if consumer.alive:
                consumer.terminate()

    def awake(self, *places):
        if not any(c.alive for c in self.consumers):
            self.run_consumer()
        for place in places:
            self.outcome_at(place, 60)

    # --- the tables

    def owners_end(self):
        for state in ("none", "pending", "open", "closed"):
            for reply in ("accepted", "refused", "removed"):
                owner, to, subject, share = self.shared(state)
                self.awake(self.send(self.answer(owner, subject, share, reply, to)))
            owner, to, subject, share = self.shared(state)
            self.awake(self.send(self.answer(owner, subject, share, "accepted", self.other)))  # by a stranger
            owner, to, subject, share = self.shared(state)
            self.awake(self.send(self.unshare(owner, subject, to)))
            owner, to, subject, share = self.shared(state)
            self.awake(self.send(self.delete(owner, subject, cascade=True)))
            owner, to, subject, share = self.shared(state)
            self.awake(self.send(self.renew(owner)))
            for change in CLOSING.values():
                owner, to, subject, share = self.shared(state)
                self.awake(self.send(self.update(owner, **change)))

    def at_recipient(self, state):
        """As shared(), with the recipient's end open, closed or none, the summary of an offer, and the accounts."""
        owner, to = self.family()
        subject = self.certificate(owner)
        record = self.share(subject, to, account=owner)
        assert self.final(record)["status"] == "applied"
        like = self.summary(record.id)
        if state == "open":
            return owner, to, subject, record.id, like
        assert self.judge(self.unshare(owner, subject, to))["status"] == "applied"
        wait_until(lambda: "www.example.com" not in self.names(to), PATIENCE_S, "the withdrawal")
        return owner, to, subject, record.id if state == "closed" else ev.uuid7(), like

    def recipients_end(self):
        wrong = {"owner": "somebody-else"}, {"site": "cn"}
        for state in ("none", "open", "closed"):
            for version in (1, 2):
                owner, to, subject, share, like = self.at_recipient(state)
                self.judge(self.offer(owner, subject, share, to, like, version))
            for over in wrong:
                owner, to, subject, share, like = self.at_recipient(state)
                self.judge(self.offer(owner, subject, share, to, like, 2, **over))
            owner, to, subject, share, like = self.at_recipient(state)
            old = dict(like, leaves=[dict(like["leaves"][0], not_after_s=like["leaves"][0]["not_before_s"] + 1)])
            self.judge(self.offer(owner, subject, share, to, old, 2))  # expired
            owner, to, subject, share, like = self.at_recipient(state)
            self.judge(self.offer(to, subject, share, to, like, 2))  # from itself
            owner, to, subject, share, like = self.at_recipient(state)
            self.judge(self.withdraw(owner, subject, share, to))
            owner, to, subject, share, like = self.at_recipient(state)
            self.judge(self.delete(to, subject, **{"from": owner.id}))
            for change in CLOSING.values():
                owner, to, subject, share, like = self.at_recipient(state)
                self.judge(self.update(to, **change))
                self.judge(self.offer(owner, subject, share, to, like, 2))  # to one who may not have it any more
        owner, to, subject, share, like = self.at_recipient("open")
        self.judge(self.offer(owner, subject, ev.uuid7(), to, like, 2))  # another share of the same certificate
        # To an account that does not exist.
        owner, to, subject, share, like = self.at_recipient("none")
        self.judge(self.forger.event("share.offer", "no-such-account", subject, {
            "share": share, "owner_account": owner.id, "owner": "x", "site": "intl", "version": 1, "origin": self.spare,
            "certificate": like}))

    def installations(self):
        """A pool of three: renewed at one, copied, one comes back from an old image, one is revoked, and the last file goes."""
        first, second, third = (self.enroll("acme") for _ in range(3))
        name, pair, there = self.fresh(), self.pair(), {"place": "/etc/ssl/www.pem"}

        def tell(sender, kind, of=None, **more):
            sha256 = {"sha256": test_verdicts.fingerprint(of)} if of else {}
            self.judge(sender.event("certificate." + kind, "acme", subject, {**there, **sha256, **more}))
        subject = self.judge(self.upload(name=name, pair=pair, sender=first, extra=there))["subject"]
        self.judge(self.upload(name=name, pair=pair, sender=second, extra=there))
        tell(third, "seen", pair)
        tell(third, "seen", pair, place="sha256:00112233445566778899aabbccddeeff")
        renewed = self.pair(start=-0.5)
        self.judge(self.upload(name=name, pair=renewed, sender=first, extra={**there, "replace": True}))
        tell(second, "seen", renewed)
        tell(second, "seen", renewed)
        tell(second, "seen", pair)
        for i in range(8):
            tell(second, "seen", renewed, place=f"/srv/{i}.pem")
        for i in range(11):  # more than are remembered
            self.judge(self.upload(name=name, pair=self.pair(start=-0.4), sender=first, extra={**there, "replace": True}))
        tell(third, "gone")
        self.judge(self.admin.event("agent.revoke", "acme", second.kid, {}))
        successor = ev.Sender(self.log_id, self.custodian.public_key())
        self.judge(third.event("agent.rotate", "acme", successor.kid, {"key": ev.b64(successor.spki)}))
        tell(first, "gone", delete=True)
        tell(successor, "gone", place="sha256:00112233445566778899aabbccddeeff", delete=True)
        again = self.judge(self.upload(name=name, pair=pair, sender=first, extra=there))["subject"]
        self.judge(self.delete(self.acme, again))

    def everything_else(self):
        for kind in ("rsa2048", "rsa3072", "p384", "p521", "ed25519"):
            self.judge(self.upload(pair=self.pair(kind)))
        self.judge(self.acme.agent.upload_sm2("acme", "sm2_pair", ev.Sm2Pair()))
        key = ev.new_key()
        request = self.acme.agent.csr_add("acme", self.fresh(), key, ev.csr_of(key))
        self.judge(request)
        self.judge(request)  # duplicate
        held = json.loads(request.value)
        self.judge(self.acme.agent.csr_add("acme", held["data"]["name"], key, ev.base64.b64decode(held["data"]["csr"])))  # unchanged
        self.judge(test_verdicts.csr_upload(self, [self.ca.issue(key.public_key()), self.ca.der]))
        subject = json.loads(request.value)["subject"]
        self.judge(self.acme.agent.event("csr.delete", "acme", subject, {}))
        key, chain = self.pair()
        name = self.fresh()
        for part, more in ((chain[:1], {}), (chain, {}), (chain[:1], {}), (chain, {"tags": ["web"]}), (chain[:1], {"force": True})):
            self.judge(self.upload(name=name, pair=(key, part), extra=more))  # the same leaf again
        name, subject, (key, chain) = self.uploaded()
        revisions = ({"name": self.fresh(), "tags": ["web"], "contact": "web team", "note": "until the shop moves"}, {"contact": "web team"},
                     {"tags": [], "note": ""}, {"chain": [ev.b64(chain[0])]}, {"chain": [ev.b64(c) for c in chain]})
        for data in revisions:
            self.judge(self.acme.agent.event("certificate.update", "acme", subject, data))
        pair = ev.Sm2Pair()
        record = self.acme.agent.upload_sm2("acme", "sm2_update", pair)
        self.judge(record)
        held = json.loads(record.value)
        self.judge(self.acme.agent.event("certificate.update", "acme", held["subject"], {
            "name": "sm2_updated", **{n: {"chain": held["data"][n]["chain"]} for n in ("sign", "encrypt")}}))
        self.installations()
        owner, to, subject, _ = self.shared("open")
        self.judge(owner.agent.event("certificate.update", owner.id, subject, {"name": "www.example.org"}))
        self.acme.agent.seq += 3  # a gap
        name, subject, _ = self.uploaded()
        self.judge(self.upload(name=name, extra={"replace": True, "force": True, "tags": ["team:web"]}, pair=self.pair(start=-30)))
        self.judge(self.delete(self.acme, subject))
        agent, successor = self.enroll("acme"), ev.Sender(self.log_id, self.custodian.public_key())
        self.judge(agent.event("agent.rotate", "acme", successor.kid, {"key": ev.b64(successor.spki)}))
        third = ev.Sender(self.log_id, self.custodian.public_key())
        self.judge(successor.event("agent.rotate", "acme", third.kid, {"key": ev.b64(third.spki)}))
        for ended in (agent, third, successor):  # the whole line ends with the first
            self.judge(self.admin.event("agent.revoke", "acme", ended.kid, {}))
        token = self.enroll("acme", can=["enroll"], uses=2, grant={"can": ["upload"], "names": "*"})
        for _ in range(3):
            new = ev.Sender(self.log_id, self.custodian.public_key())
            self.judge(token.event("agent.enroll", "acme", new.kid, {"key": ev.b64(new.spki), "can": ["upload"], "names": "*"}))
        self.judge(self.admin.event("agent.revoke", "acme", token.kid, {}))
        extra = ev.Sender(self.log_id)
        self.trust("admin", extra)
        self.judge(extra.event("account.update", "acme", "acme", {"limits": {"shares": 7}}))
        self.trust("admin", extra, remove=True)
        self.judge(extra.event("account.update", "acme", "acme", {"limits": {"shares": 8}}))
        for value, headers in ((None, []), (b"{}", [("certsync-sig", None)]), (b"{}", [("certsync-sig", b"")] * 20)):
            self.outcome_at(self.produce(value, ev.partition_of("acme", self.partitions), headers, b"acme"))


def verdicts(world, directory):
    for code, functions in test_verdicts.CASES.items():
        for provoke in functions if code not in LEFT_OUT else ():
            wants_path = "tmp_path" in provoke.__code__.co_varnames[:provoke.__code__.co_argcount]
            found = provoke(world, directory) if wants_path else provoke(world)
            if not isinstance(found, dict):
                world.judge(found)
    for provoke in test_verdicts.NOTES.values():
        world.judge(provoke(world))


def known_codes():
    import re
    text = subprocess.run([certsync_binary(), "codes", "--markdown"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"`([a-z_0-9]+(?:\.[a-z_0-9]+)?)`", text)) - {"key.encrypted"} - LEFT_OUT


def at_rest(world):
    """All records have an outcome: what is derived makes further records."""
    def level():
        return all(world.kafka.watermarks(EVENTS, p) == world.kafka.watermarks(OUTCOMES, p) for p in range(world.partitions))
    wait_until(level, PATIENCE_S, "the last outcome", interval_s=0.5)


def main():
    target = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        with Golden(directory / "world", partitions=12) as world:
            verdicts(world, directory)
            world.everything_else()
            world.recipients_end()
            world.owners_end()
            at_rest(world)
            records = world.dump(EVENTS)
            lines = {EVENTS: world.lines}
            outcomes = world.dump(OUTCOMES)
            lines[OUTCOMES] = world.lines
            said = [json.loads(o["payload"])["data"] for o in outcomes]
            seen = {d.get("code") for d in said} | {c.get("code") for d in said for c in d.get("concludes", [])} | {
                c for d in said for c in d.get("notes", [])}
            missing = known_codes() - seen
            assert not missing, f"not provoked: {missing}"
            files = {"events.json": b"\n".join(lines[EVENTS]) + b"\n", "outcomes.json": b"\n".join(lines[OUTCOMES]) + b"\n",
                     "root.pub": (world.keys / "root.pub").read_bytes()}
            with tarfile.open(target, "w:xz") as archive:
                for name, content in files.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
            print(f"{len(records)} records, {target.stat().st_size} bytes")
            done = subprocess.run([consumer_binary(), "verify", "--config", world.config, "--complete", "--allow-stray", "--redis"],
                                  capture_output=True, text=True, check=False)
            print(done.stdout, done.stderr)
            sys.exit(done.returncode)


if __name__ == "__main__":
    main()
