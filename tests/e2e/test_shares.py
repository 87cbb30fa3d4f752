# SPDX-License-Identifier: Apache-2.0
"""Sharing from one account into another's view, over two partitions and real derived events: every way it can go."""

import json
import re
import signal
import subprocess

import pytest

from model_py.catalog import document
from support import events as ev
from support.proc import PATIENCE_S, wait_until
from support.stack import Stack, consumer_binary


class Shares(Stack):
    def start(self):
        super().start()
        self.run_consumer()
        self.ca = ev.Authority("Example CA")
        self.number = 0
        return self

    def family(self, **how):
        """Owner and recipient of one verified person, in different partitions."""
        self.number += 1
        owner = self.account(f"owner-{self.number}", owner=f"person-{self.number}", **how)
        at = ev.partition_of(owner.id, self.partitions)
        name = next(n for n in (f"recipient-{self.number}-{i}" for i in range(100))
                    if ev.partition_of(n, self.partitions) != at)
        return owner, self.account(name, owner=f"person-{self.number}")

    def issue(self, account, name="www.example.com", subject=None, start=-1.0, replace=False):
        subject, key = subject or ev.uuid7(), ev.new_key()
        outcome = self.judge(self.issuer.upload(
            account.id, name, key, [self.ca.issue(key.public_key(), start=start), self.ca.der], subject=subject,
            kind="certificate.issue", extra={"source": "official", **({"replace": True} if replace else {})}))
        assert outcome["status"] == "applied", outcome
        return outcome["subject"]

    def share(self, owner, subject, to):
        return owner.agent.event("certificate.share", owner.id, subject, {"to": to.id})

    def unshare(self, owner, subject, to):
        return owner.agent.event("certificate.unshare", owner.id, subject, {"to": to.id})

    def delete(self, account, subject, **data):
        return account.agent.event("certificate.delete", account.id, subject, data)

    def update(self, account, **data):
        return self.judge(self.admin.event("account.update", account.id, account.id, data))

    def shares(self, account):
        status, body = self.get(account, "shares")
        assert status == 200, body
        return body

    def quiet(self):
        """Both ends are committed: a verdict is published before its catalog is."""
        def as_far_as_the_log():
            return all(json.loads(document(self.redis.get(f"cs:{{{p}}}:pos")) or b"{}").get("next_offset", 0) ==
                       end for p, end in self.ends().items())
        wait_until(as_far_as_the_log, PATIENCE_S, "catalogs as far as the log")

    def get(self, account, path):
        self.quiet()
        return super().get(account, path)

    def item(self, account, name="www.example.com"):
        return self.names(account).get(name)

    def gone(self, account, name="www.example.com"):
        wait_until(lambda: self.item(account, name) is None, PATIENCE_S, f"{name} to leave the view of {account.id}")

    def settled(self, owner, subject, state):
        """The owner's end of the one share of this certificate reaches a state ("closed": it is listed no more)."""
        def reached():
            listed = [s["state"] for s in self.shares(owner)["out"] if s["certificate"] == subject]
            return listed == ([] if state == "closed" else [state])
        wait_until(reached, PATIENCE_S, f"the share to be {state}")


@pytest.fixture(scope="module")
def stack(kafka, tmp_path_factory):
    with Shares(tmp_path_factory.mktemp("shares"), kafka=kafka, prefix="shares.") as s:
        yield s


@pytest.fixture
def open_share(stack):
    owner, recipient = stack.family()
    subject = stack.issue(owner)
    assert stack.final(stack.share(owner, subject, recipient))["status"] == "applied"
    return owner, recipient, subject


def test_offer_is_pending_then_concluded_and_in_the_recipients_view(stack):
    owner, recipient = stack.family()
    subject = stack.issue(owner)
    record = stack.share(owner, subject, recipient)
    outcome = stack.judge(record)
    assert outcome["status"] == "pending"
    assert stack.outcomes.conclusion(record.id) == {"event": record.id, "status": "applied"}
    seen, own = stack.item(recipient), stack.item(owner)
    assert (seen["source"], seen["owner_account"], seen["id"], seen["version"]) == ("shared", owner.id, subject, 1)
    assert seen["fingerprint"] == own["fingerprint"] and abs(seen["days_left"] - own["days_left"]) <= 1  # a day may end between
    assert own["source"] == "official" and [s["state"] for s in own["shares"]] == ["open"]
    status, final = stack.get(owner, f"outcomes/{record.id}?wait=10")
    assert status == 200 and final["outcome"]["data"]["status"] == "pending" and final["final"]["status"] == "applied"


def test_unshare_of_an_open_share_removes_it_from_the_view(stack, open_share):
    owner, recipient, subject = open_share
    assert stack.judge(stack.unshare(owner, subject, recipient))["status"] == "applied"
    stack.gone(recipient)
    stack.settled(owner, subject, "closed")
    assert stack.judge(stack.unshare(owner, subject, recipient))["code"] == "share.not_found"


def test_sharing_again_makes_a_new_share(stack, open_share):
    owner, recipient, subject = open_share
    first = stack.item(recipient)["share"]
    stack.judge(stack.unshare(owner, subject, recipient))
    stack.gone(recipient)
    again = stack.share(owner, subject, recipient)
    assert stack.final(again)["status"] == "applied"
    assert stack.item(recipient)["share"] == again.id != first


def test_share_and_unshare_at_once_leave_nothing_open(stack):
    owner, recipient = stack.family()
    subject = stack.issue(owner)
    record = stack.share(owner, subject, recipient)
    place = stack.send(record)
    assert stack.judge(stack.unshare(owner, subject, recipient))["status"] == "applied"
    assert stack.outcome_at(place)["status"] == "pending"
    assert stack.outcomes.conclusion(record.id)["status"] in ("applied", "rejected")
    stack.gone(recipient)
    stack.settled(owner, subject, "closed")


def test_a_renewal_reaches_the_recipient_under_the_same_share(stack, open_share):
    owner, recipient, subject = open_share
    before = stack.item(recipient)
    assert stack.issue(owner, start=-0.5, replace=True) == subject
    wait_until(lambda: stack.item(recipient)["version"] == 2, PATIENCE_S, "version 2 in the recipient's view")
    after = stack.item(recipient)
    assert after["share"] == before["share"] and after["fingerprint"] != before["fingerprint"]


def test_delete_is_refused_while_shared_and_cascades_when_asked(stack, open_share):
    owner, recipient, subject = open_share
    assert stack.judge(stack.delete(owner, subject))["code"] == "delete.shared"
    assert stack.judge(stack.delete(owner, subject, cascade=True))["status"] == "applied"
    stack.gone(recipient)
    assert stack.item(owner) is None


def test_the_recipient_may_remove_what_was_shared_in(stack, open_share):
    owner, recipient, subject = open_share
    assert stack.judge(stack.delete(recipient, subject, **{"from": owner.id}))["status"] == "applied"
    assert stack.item(recipient) is None
    stack.settled(owner, subject, "closed")
    assert stack.judge(stack.delete(recipient, subject, **{"from": owner.id}))["code"] == "certificate.not_found"
    assert stack.judge(stack.delete(owner, subject))["status"] == "applied"


@pytest.mark.parametrize("side", ["owner", "recipient"])
@pytest.mark.parametrize("change", [{"owner": "somebody-else"}, {"site": "cn"}, {"verified": False}], ids=["owner", "site", "verified"])
def test_a_change_of_identity_closes_the_share_at_both_ends(stack, open_share, side, change):
    owner, recipient, subject = open_share
    assert stack.update(owner if side == "owner" else recipient, **change)["status"] == "applied"
    stack.gone(recipient)
    stack.settled(owner, subject, "closed")
    assert stack.shares(recipient)["in"] == []
    assert stack.item(owner)["shares"] == []


def test_a_change_that_touches_no_identity_closes_nothing(stack, open_share):
    owner, recipient, subject = open_share
    assert stack.update(owner, limits={"shares": 5})["status"] == "applied"
    assert stack.update(recipient, verified=True)["status"] == "applied"
    assert stack.item(recipient)["source"] == "shared"
    stack.settled(owner, subject, "open")


def test_a_refused_share_is_closed_and_may_be_tried_again(stack):
    owner, recipient = stack.family()
    subject = stack.issue(owner)
    stack.update(recipient, verified=False)
    refused = stack.final(stack.share(owner, subject, recipient))
    assert (refused["status"], refused["code"]) == ("rejected", "share.unverified")
    stack.settled(owner, subject, "closed")
    stack.update(recipient, verified=True)
    assert stack.final(stack.share(owner, subject, recipient))["status"] == "applied"
    assert stack.item(recipient)["source"] == "shared"


def test_what_comes_of_a_batch_is_committed_in_parts_where_it_is_much(stack):
    """12 renewals of certificates with many names that are shared with 20 accounts each: 2 MB of offers, in one batch that may take 1 MiB."""
    owner, first = stack.family()
    others = [first] + [stack.account(f"of-many-{i}", owner=f"person-{stack.number}") for i in range(19)]
    names = tuple(f"host-{i}.{'x' * 60}.example.com" for i in range(100))

    def issued(name, subject, start):
        key = ev.new_key()
        chain = [stack.ca.issue(key.public_key(), cn="many.example.com", names=names, start=start), stack.ca.der]
        return stack.issuer.upload(owner.id, name, key, chain, subject=subject, kind="certificate.issue",
                                   extra={"source": "official", "replace": True})
    subjects = [ev.uuid7() for _ in range(12)]
    shares = [stack.share(owner, s, to) for s in subjects for to in others]
    places = stack.send_all([issued(f"many-{i}", s, -3) for i, s in enumerate(subjects)] + shares)
    assert {stack.outcome_at(p)["status"] for p in places} == {"applied", "pending"}
    assert all(stack.outcomes.conclusion(s.id)["status"] == "applied" for s in shares)
    before = stack.consumers[-1]
    before.signal(signal.SIGTERM)
    assert before.wait() == 0
    places = stack.send_all([issued(f"many-{i}", ev.uuid7(), -2) for i in range(12)])
    small = stack.write_config("small", stack.port, consumer={"batch_bytes": "256KiB"})
    stack.run_consumer("small", small)
    assert all(stack.outcome_at(p)["version"] == 2 for p in places)

    def all_have_it():
        stack.quiet()
        return all({stack.names(to)[f"many-{i}"]["version"] for i in range(12)} == {2} for to in others[::5])
    wait_until(all_have_it, PATIENCE_S, "version 2 everywhere")
    text = stack.http("/metrics")[1]
    batches, commits = (int(re.search(rf"^certsync_{what}_count (\d+)$", text, re.M)[1]) for what in ("batch_records", "commit_seconds"))
    assert commits > batches
    done = subprocess.run([consumer_binary(), "verify", "--redis", "--json", "--config", small], capture_output=True, text=True,
                          timeout=PATIENCE_S, check=False)
    assert done.returncode == 0 and json.loads(done.stdout)["ok"], done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["pending"] >= 12 * len(others) and found["still_pending"] == 0, found


# From here on events are forged that the service would sign: they raise the watermarks of its streams.


def test_a_new_version_that_the_recipient_refuses_ends_the_share(stack, open_share):
    """The recipient's identity changed while the renewal was on its way: told by a forged order of events."""
    owner, recipient, subject = open_share
    stack.update(recipient, owner="somebody-else")
    stack.issue(owner, start=-0.5, replace=True)
    stack.gone(recipient)
    stack.settled(owner, subject, "closed")


def test_names_of_both_accounts_live_side_by_side(stack, open_share):
    owner, recipient, _ = open_share
    stack.issue(recipient, name="www.example.com")
    status, body = stack.get(recipient, "certificates?name=www.example.com")
    assert status == 200
    assert sorted(c["source"] for c in body["certificates"]) == ["official", "shared"]


def test_withdrawn_refused_and_removed_ids_never_revive(stack, open_share):
    """Offers and answers to closed ids, as a late producer might send them again."""
    owner, recipient, subject = open_share
    share = stack.item(recipient)["share"]
    stack.judge(stack.unshare(owner, subject, recipient))
    stack.gone(recipient)
    used = {ev.partition_of(a.id, stack.partitions) for a in (owner, recipient)}
    origin = min(set(range(stack.partitions)) - used)
    service = ev.Sender(stack.log_id, key=stack.service, seq=stack.number * 1000)
    answer = stack.judge(service.event("share.answer", owner.id, subject, {
        "share": share, "recipient": recipient.id, "version": 1, "answer": "accepted", "code": "", "origin": origin}))
    assert (answer["status"], answer["code"]) == ("applied", "share.closed")
    withdraw = stack.judge(service.event("share.withdraw", recipient.id, subject, {
        "share": share, "owner_account": owner.id, "origin": origin, "code": "share.closed"}))
    assert withdraw["status"] == "applied"
    assert stack.item(recipient) is None
    stack.settled(owner, subject, "closed")
