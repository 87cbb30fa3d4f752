# SPDX-License-Identifier: Apache-2.0
"""Notices: certsync-consumer notify, with real receivers, killed, paused, without Redis, and lied to."""
import base64
import collections
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from support import events as ev
from support import sdk
from support.proc import PATIENCE_S, Process, free_port, wait_until
from support.receiver import Receiver
from support.smtp import Smtp
from support.stack import Stack, consumer_binary

AUTHORITY = ev.Authority("Notice CA")
FAST = {"look_every": "200ms", "retry_first": "50ms", "retry_longest": "200ms", "timeout": "2s", "lease": "200ms"}


@pytest.fixture(scope="module")
def world(kafka, tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("notify") / "s", kafka=kafka, prefix="notify.", partitions=3) as stack:
        stack.run_consumer()
        yield World(stack)


class World:
    def __init__(self, stack):
        self.stack, self.runs = stack, 0
        self.acme = stack.account("acme", owner="owner-n")
        self.names = 0

    def upload(self, account=None, name=None, days=90.0, **how):
        account = account or self.acme
        self.names += 1
        key = ev.new_key()
        name = name or f"n{self.names}"
        record = account.agent.upload(account.id, name, key, [AUTHORITY.issue(key.public_key(), days=days), AUTHORITY.der], **how)
        assert self.stack.judge(record)["status"] == "applied"
        return record

    def delete(self, account=None, name=None):
        """Uploads and deletes; the name."""
        account = account or self.acme
        self.upload(account, name)
        name = name or f"n{self.names}"
        certificate = self.stack.names(account)[name]["id"]
        assert self.stack.judge(account.agent.event("certificate.delete", account.id, certificate, {}))["status"] == "applied"
        return name

    def notifier(self, sections, wait=True, settings=None, **over):
        """A running notify: {section: settings}."""
        self.runs += 1
        port = free_port()
        config = self.stack.write_config(f"notify{self.runs}", 1, notify={**FAST, "listen": f"127.0.0.1:{port}", **(settings or {})},
                                         **{f"notice {n}": {"private_addresses": "yes", **keys} for n, keys in sections.items()}, **over)
        return Notifier(self, config, port, wait)


class Notifier:
    def __init__(self, world, config, port, wait=True):
        self.world, self.config, self.port = world, config, port
        self.start(wait)

    def start(self, wait=True):
        self.process = Process(f"notify-{self.port}", [consumer_binary(), "notify", "--config", self.config], self.world.stack.directory)
        if wait:
            wait_until(lambda: self.ready()[0] == 200 and "failing" not in str(self.states()), what=f"notify to be ready\n{self.process.tail()}")

    def get(self, path):
        """(status, JSON or text); (0, …) where nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE_S) as answer:
                status, body = answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            status, body = e.code, e.read().decode()
        except (urllib.error.URLError, ConnectionError) as e:
            return 0, str(e)
        return status, json.loads(body) if body.startswith("{") else body

    def ready(self):
        assert self.process.alive, self.process.tail()
        return self.get("/readyz")

    def states(self):
        _, body = self.get("/readyz")
        return {s["notice"]: s for s in body["notices"]} if isinstance(body, dict) else {}

    def metric(self, name):
        return [line for line in str(self.get("/metrics")[1]).splitlines() if line.startswith(name)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()


def until(condition, notifier, what):
    try:
        return wait_until(condition, what=what)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{notifier.get('/readyz')}\n{notifier.process.tail()}") from None


def test_a_deletion_a_refusal_and_shares_are_told(world, tmp_path):
    secrets = [f"whsec_{base64.b64encode(os.urandom(32)).decode()}" for _ in range(2)]
    (tmp_path / "secret").write_text("\n".join(secrets) + "\n")
    (tmp_path / "secret").chmod(0o600)
    other = world.stack.account("notice-other", owner="owner-n")
    with Receiver() as r, world.notifier({"first": {"to": r.url, "secret_file": tmp_path / "secret"}}) as n:
        name = world.delete()
        until(lambda: len(r.ids()) == 1, n, "the deletion")
        told = r.events()[0]
        assert told["type"] == "certsync.notice.certificate.deleted.v1" and told["specversion"] == "1.0"
        assert told["source"].startswith(f"//{world.stack.log_id}/partitions/")
        assert told["data"]["name"] == name and told["data"]["account"] == "acme" and told["data"]["kid"] == world.acme.agent.kid
        assert f"Certificate {name} of account acme was deleted by" in told["data"]["text"]
        # signed by both secrets, as the official library reads it
        headers, body = r.taken[0]
        assert headers["webhook-id"] == told["id"] and headers["Content-Type"].startswith("application/cloudevents+json")
        for secret in secrets:
            assert sdk.webhook_verifies(secret, headers, body)
            assert not sdk.webhook_verifies(secret, headers, body + b" ")
        assert not sdk.webhook_verifies(f"whsec_{base64.b64encode(os.urandom(32)).decode()}", headers, body)
        # refused: by its owner's own fault; a stranger's is none
        refused = world.acme.agent.event("certificate.delete", "acme", ev.uuid7(), {})
        assert world.stack.judge(refused)["status"] == "rejected"
        stranger = ev.Sender(world.stack.log_id, world.stack.custodian.public_key())
        assert world.stack.judge(stranger.event("certificate.delete", "acme", ev.uuid7(), {}))["code"] == "event.unknown_signer"
        until(lambda: len(r.ids()) == 2, n, "the refusal")
        assert r.events()[1]["type"] == "certsync.notice.event.refused.v1" and r.events()[1]["data"]["code"] == "certificate.not_found"
        assert r.events()[1]["data"]["event"] == refused.id and r.events()[1]["data"]["hint"]
        # a share, seen from both ends, and its end
        key, subject = ev.new_key(), ev.uuid7()
        issued = world.stack.issuer.upload("acme", "official", key, [AUTHORITY.issue(key.public_key()), AUTHORITY.der], subject=subject,
                                           kind="certificate.issue", extra={"source": "official"})
        assert world.stack.judge(issued)["status"] == "applied"
        share = world.acme.agent.event("certificate.share", "acme", subject, {"to": other.id})
        assert world.stack.final(share)["status"] == "applied"
        assert world.stack.judge(world.acme.agent.event("certificate.unshare", "acme", subject, {"to": other.id}))["status"] == "applied"
        until(lambda: len(r.ids()) == 6, n, "what there is to say of a share")
        said = {(e["type"].removeprefix("certsync.notice."), e["data"]["account"]) for e in r.events()[2:]}
        assert said == {("share.opened.v1", "acme"), ("share.received.v1", other.id), ("share.ended.v1", "acme"), ("share.ended.v1", other.id)}
        assert next(e for e in r.events() if "opened" in e["type"])["data"]["event"] == share.id
        assert len(set(r.ids())) == 6


def test_who_asks_for_what(world):
    elsewhere = world.stack.account("billing-eu", owner="owner-n")
    with Receiver() as all_, Receiver() as some, Receiver() as none, world.notifier({
            "all": {"to": all_.url}, "some": {"to": some.url, "accounts": "billing-*", "names": "www*", "on": "deletion"},
            "none": {"to": none.url, "on": "fork"}}) as n:
        names = [world.delete(), world.delete(elsewhere, "www1"), world.delete(elsewhere, "mail1")]
        until(lambda: len(all_.ids()) == 3 and len(some.ids()) == 1, n, "what was asked for")
        assert sorted(e["data"]["name"] for e in all_.events()) == sorted(names)
        assert some.events()[0]["data"]["name"] == "www1" and none.ids() == []
        assert all_.events()[1]["id"] in some.ids() or some.ids()[0] in all_.ids()  # one notice, one id
        assert n.metric("certsync_notices_delivered_total{notice=\"all\"}") == ['certsync_notices_delivered_total{notice="all"} 3']


def test_killed_at_many_moments_loses_nothing_and_repeats_one(world):
    """SIGKILL as soon as a notice arrives, again and again: each kill makes at most one repetition."""
    with Receiver() as r, world.notifier({"killed": {"to": r.url, "on": "deletion"}}) as n:
        names, kills = [world.delete() for _ in range(12)], 0
        for at in range(1, 12, 2):
            until(lambda at=at: len(set(r.ids())) >= at, n, f"{at} notices")
            n.process.signal(signal.SIGKILL)
            n.process.wait()
            kills += 1
            n.start(wait=False)
        until(lambda: len(set(r.ids())) == 12, n, "all of them")
        until(lambda: n.states().get("killed", {}).get("waiting") == 0, n, "an empty queue")
        counts = collections.Counter(r.ids())
        assert sorted({e["data"]["name"] for e in r.events()}) == sorted(names)
        assert sum(counts.values()) - 12 <= kills and max(counts.values()) <= 2, counts


def test_receivers_that_fail_redirect_and_are_slow(world):
    with Receiver() as r, Receiver() as trap, world.notifier({"hard": {"to": r.url, "on": "deletion"}}) as n:
        r.behaviour = 503
        name = world.delete()
        until(lambda: n.states()["hard"]["state"] == "waiting" and r.asked >= 3, n, "tries again")
        assert "503" in n.states()["hard"]["reason"] and n.states()["hard"]["waiting"] == 1
        assert any(" 1" in m for m in n.metric('certsync_notices_waiting{notice="hard"}'))

        def redirect(request, _):
            request.send_response(307)
            request.send_header("Location", trap.url)
            request.send_header("Content-Length", "0")
            request.end_headers()
        r.behaviour = redirect
        until(lambda: "redirect" in n.states()["hard"].get("reason", ""), n, "the redirect to be told")
        seen = r.asked
        until(lambda: r.asked > seen + 1, n, "tries again after a redirect")
        assert trap.asked == 0
        r.stop()
        until(lambda: "does not answer" in n.states()["hard"]["reason"], n, "that nobody listens")
        assert "a-secret-of-the-url" not in n.process.output() and "a-secret-of-the-url" not in str(n.states())
        r.behaviour = lambda request, _: [request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 9999999), None][1]
        r.start()
        until(lambda: "larger" in n.states()["hard"]["reason"], n, "an answer without end")
        r.behaviour = 200
        until(lambda: [e["data"]["name"] for e in r.events()] == [name], n, "the notice, once")
        until(lambda: n.states()["hard"]["state"] == "working" and n.states()["hard"]["waiting"] == 0, n, "that all is well again")


def test_one_that_is_refused_holds_nobody_up(world):
    with Receiver() as r, world.notifier({"picky": {"to": r.url, "on": "deletion"}}) as n:
        bad = []
        r.behaviour = lambda _, body: 422 if json.loads(body)["data"]["name"] in bad[:1] else 200
        bad.append("picky-bad")
        world.delete(name="picky-bad")
        good = [world.delete() for _ in range(3)]
        until(lambda: sorted(e["data"]["name"] for e in r.events()) == sorted(good), n, "the others")
        assert n.states()["picky"]["waiting"] == 1
        bad.clear()
        until(lambda: len(r.ids()) == 4, n, "the one that was refused")


def test_private_addresses_and_tls(world, tmp_path):
    with Receiver() as r, world.notifier({"private": {"to": r.url, "on": "deletion", "private_addresses": "no"}}) as n:
        world.delete()
        until(lambda: "private network" in n.states()["private"].get("reason", ""), n, "that its address is not allowed")
        assert r.asked == 0
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=receiver",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True)
    with Receiver(tls=(tmp_path / "cert", tmp_path / "key")) as r, world.notifier({
            "trusts": {"to": r.url, "on": "deletion", "ca": tmp_path / "cert"}, "strange": {"to": r.url, "on": "deletion"}}) as n:
        world.delete()
        until(lambda: len(r.ids()) == 1 and n.states()["strange"]["state"] == "waiting", n, "one that trusts it, and one that does not")
        assert "certificate" in n.states()["strange"]["reason"] and n.states()["trusts"]["state"] == "working"


def test_redis_emptied_and_rolled_back(world):
    """What Kafka knows to be delivered is not told again; what waited is not lost."""
    redis = world.stack.redis.client()
    with Receiver() as r, world.notifier({"emptied": {"to": r.url, "on": "deletion"}}) as n:
        first = [world.delete() for _ in range(3)]
        until(lambda: len(r.ids()) == 3 and n.states()["emptied"]["waiting"] == 0, n, "the first three")
        r.behaviour = 503
        waiting = [world.delete() for _ in range(3)]
        until(lambda: n.states()["emptied"]["waiting"] == 3, n, "three that wait")
        n.process.signal(signal.SIGKILL)
        n.process.wait()
        for key in redis.scan_iter("*:notice/emptied/*", count=1000):
            redis.delete(key)
        r.behaviour = 200
        n.start()
        until(lambda: len(set(r.ids())) >= 6, n, "those that waited")
        counts = collections.Counter(e["data"]["name"] for e in r.events())
        assert set(counts) == set(first + waiting)
        assert max(counts.values()) <= 2 and all(counts[name] == 1 for name in waiting), counts


def test_two_processes_share_and_take_over(world):
    with Receiver() as r, world.notifier({"shared": {"to": r.url, "on": "deletion"}}) as one:
        two = world.notifier({"shared": {"to": r.url, "on": "deletion"}})
        with two:
            assert {one.states()["shared"]["state"], two.states()["shared"]["state"]} == {"working", "standing_by"}
            world.delete()
            until(lambda: len(r.ids()) == 1, one, "one notice")
            one.process.pause()
            world.delete()
            until(lambda: len(r.ids()) == 2, two, "the other process")
            one.process.resume()
            until(lambda: one.states()["shared"]["state"] == "standing_by", one, "that the first gives up")
            world.delete()
            until(lambda: len(r.ids()) == 3, two, "the third notice")
            assert len(set(r.ids())) == 3


def test_what_others_write_to_the_topics_and_redis_makes_no_notice(world):
    stack = world.stack
    redis = stack.redis.client()
    with Receiver() as r, world.notifier({"lied": {"to": r.url, "on": "deletion"}}) as n:
        world.delete()
        until(lambda: len(r.ids()) == 1, n, "the true one")
        p = ev.partition_of("acme", stack.partitions)
        forged = [m for m in stack.kafka.consume(stack.outcomes_topic, partition=p) if b"certificate.delete" in m.value][-1]
        stack.produce_outcome(p, forged.key, forged.value.replace(b'"applied"', b'"applied" '), mark=b"")
        stack.kafka.produce(stack.outcomes_topic, forged.value, key=forged.key, partition=p, headers=forged.headers)  # a copy
        prefix = [k for k in redis.scan_iter("*:notice/lied/at", count=1000)][0].rsplit(b":", 1)[0].decode()
        redis.zadd(f"{prefix}:notice/lied/queue", {"forged": 1})
        redis.set(f"{prefix}:notice/lied/doc/forged", b"1\nforged\n1\n0\nacme\n\n0\n{}")
        name = world.delete()
        until(lambda: len(r.ids()) == 2, n, "the next true one")
        assert r.events()[1]["data"]["name"] == name


def test_settings_that_are_wrong_are_told(world, tmp_path):
    def said(**section):
        with Receiver() as r:
            n = world.notifier({"wrong": {"to": r.url, **section}}, wait=False)
            assert n.process.wait() == 2
            return n.process.output()
    assert "give either to or url_file" in said(to="")
    assert "expected https://HOST" in said(to="ftp://x")
    assert "set notify.smtp_url" in said(to="mailto:ops@example.com")
    assert "no address of mail" in said(to="mailto:ops@example.com, a b@example.com")
    assert '"soon" is no duration' in said(before="7d, soon")
    assert '"nothing" is none of expiry, deletion, share, refusal, fork' in said(on="nothing")
    (tmp_path / "weak").write_text("whsec_AAAA\n")
    (tmp_path / "weak").chmod(0o600)
    text = said(secret_file=tmp_path / "weak")
    assert "openssl rand -base64 32" in text and "AAAA" not in text
    (tmp_path / "open").write_text("whsec_AAAA\n")
    (tmp_path / "open").chmod(0o644)
    assert "secret_file" in said(secret_file=tmp_path / "open")


def soon(hours):
    """Days, of a certificate that ends in so many hours."""
    return hours / 24


def test_expiry_is_told_once_for_each_distance_and_again_after_a_renewal(world):
    with Receiver() as r, Receiver() as tagged, world.notifier({
            "ends": {"to": r.url, "on": "expiry", "before": "10h, 2h", "names": "end-*"},
            "tagged": {"to": tagged.url, "on": "expiry", "before": "10h", "tags": "tier=1*"}}) as n:
        world.upload(name="end-late", days=soon(20))
        world.upload(name="end-soon", days=soon(5))
        subject = ev.uuid7()
        world.upload(name="end-very", days=soon(1), subject=subject, extra={"tags": ["tier=1"]})
        until(lambda: len(r.ids()) == 2 and len(tagged.ids()) == 1, n, "two that end soon")
        told = {e["data"]["name"]: e for e in r.events()}
        assert set(told) == {"end-soon", "end-very"} and tagged.ids()[0] != told["end-very"]["id"]  # of another distance
        assert told["end-soon"]["type"] == "certsync.notice.certificate.expiring.v1"
        assert told["end-soon"]["data"]["ends"] == told["end-soon"]["data"]["leaves"][0]["not_after"] and told["end-soon"]["data"]["version"] == 1
        assert "ends in 4 hours" in told["end-soon"]["data"]["text"] or "ends in 5 hours" in told["end-soon"]["data"]["text"]
        # a restart, and many looks later: not again
        n.process.terminate()
        n.start()
        # renewed, for a while: told of again
        world.upload(name="end-very", days=soon(9), subject=subject, extra={"replace": True})
        until(lambda: len(r.ids()) == 3, n, "the renewed one")
        assert r.events()[2]["data"]["name"] == "end-very" and r.events()[2]["data"]["version"] == 2
        world.delete(name="end-other")  # its notice is not asked for; what was told stays told
        assert len(r.ids()) == 3 and len(set(r.ids())) == 3


def test_one_night_is_one_mail_a_contact(world):
    accounts = [world.stack.account(f"night-{i}", owner="owner-n") for i in range(3)]
    with Smtp() as smtp, world.notifier({"mail": {"to": "mailto:ops@example.com, certs+{account}@example.com", "on": "expiry", "accounts": "night-*",
                                                  "before": "30d", "digest": "3s"}},
                                        settings={"smtp_url": smtp.url, "smtp_from": "certsync@example.com", "smtp_tls": "no"}) as n:
        records = []
        for account in accounts:
            for i in range(40):
                key = ev.new_key()
                records.append(account.agent.upload(account.id, f"w{i}", key, [AUTHORITY.issue(key.public_key(), days=20 + i / 100), AUTHORITY.der]))
        places = world.stack.send_all(records)
        assert world.stack.outcome_at(places[-1])["status"] == "applied"
        until(lambda: sum(len(m.rcpt) for m in smtp.mails) >= 4 and n.states()["mail"]["waiting"] == 0, n, "a mail for each contact")
        by_contact = {m["To"]: m for m in smtp.mails}
        assert sorted(by_contact) == ["certs+night-0@example.com", "certs+night-1@example.com", "certs+night-2@example.com", "ops@example.com"]
        # uploads may come while the first mails are made; all that were there are in one
        text = "".join(m.get_content() for m in smtp.mails if m["To"] == "ops@example.com")
        assert text.count("- Certificate w") == 120 and "Account night-1" in text
        assert len(smtp.mails) <= 8
        first = by_contact["certs+night-0@example.com"]
        assert first["From"] == "certsync <certsync@example.com>" and first["Auto-Submitted"] == "auto-generated" and first["Message-ID"] and first["Date"]
        assert "night-1" not in first.get_content() and first.sender == "certsync@example.com"


def test_mail_with_tls_and_a_login_refused_and_away(world, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=smtp",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True, capture_output=True)
    (tmp_path / "password").write_text("pa55-of-smtp\n")
    (tmp_path / "password").chmod(0o600)
    settings = {"smtp_from": "certsync@example.com", "smtp_ca": tmp_path / "cert", "smtp_username": "mailer", "smtp_password_file": tmp_path / "password"}
    section = {"to": "mailto:ops@example.com, gone@example.com", "on": "deletion", "digest": "0s"}
    with Smtp(login=("mailer", "pa55-of-smtp"), tls=(tmp_path / "cert", tmp_path / "key")) as smtp, \
            world.notifier({"letters": section}, settings={**settings, "smtp_url": smtp.url}) as n:
        smtp.refuse = {"gone@example.com": "550 no such user"}
        name = world.delete()
        until(lambda: len(smtp.mails) == 1 and "550" in n.states()["letters"].get("reason", ""), n, "one mail, and one that is refused")
        assert smtp.mails[0].rcpt == ["ops@example.com"] and f"Certificate {name} of account acme was deleted" in smtp.mails[0].get_content()
        assert smtp.mails[0]["Subject"].startswith(f"[certsync {world.stack.log_id}] Certificate {name}")
        smtp.refuse = {}
        until(lambda: len(smtp.mails) == 2 and n.states()["letters"]["waiting"] == 0, n, "the one that was refused")
        smtp.fail = "451 try later"
        other = world.delete()
        until(lambda: "451" in n.states()["letters"].get("reason", ""), n, "that the server takes nothing")
        smtp.stop()
        until(lambda: "451" not in n.states()["letters"]["reason"], n, "that nobody listens")
        smtp.fail = None
        smtp.start()
        until(lambda: len(smtp.mails) == 4 and n.states()["letters"]["state"] == "working", n, "both mails, later")
        assert all(other in m.get_content() for m in smtp.mails[2:])
        assert "pa55-of-smtp" not in n.process.output() and "pa55-of-smtp" not in str(n.states())
    # without TLS nothing is sent, where it is demanded
    with Smtp() as plain, world.notifier({"plain": section}, settings={"smtp_from": "certsync@example.com", "smtp_url": plain.url}) as n:
        world.delete()
        until(lambda: n.states()["plain"]["state"] == "waiting", n, "that there is no TLS")
        assert plain.mails == []


def test_what_cannot_be_delivered_is_dropped_loudly(world):
    """After notify.keep, which is short here: by webhook and by mail, refused and away."""
    with Smtp() as smtp, Receiver() as r, world.notifier({
            "hook": {"to": r.url, "on": "deletion"}, "mail": {"to": "mailto:gone@example.com", "on": "deletion", "digest": "0s"}},
            settings={"smtp_url": smtp.url, "smtp_from": "certsync@example.com", "smtp_tls": "no", "keep": "1s"}) as n:
        smtp.refuse, r.behaviour = {"gone@example.com": "550 no such user"}, 503
        name = world.delete()
        until(lambda: all(n.states()[s]["waiting"] == 0 for s in ("hook", "mail")) and n.process.output().count("a notice is dropped") == 2, n, "both dropped")
        assert n.process.output().count(f"Certificate {name} of account acme was deleted") == 2
        assert 'certsync_notices_dropped_total{notice="hook"} 1' in n.metric("certsync_notices_dropped_total")
        smtp.stop()
        world.delete()
        until(lambda: n.process.output().count("a notice is dropped") == 4, n, "the second, with nobody there")
