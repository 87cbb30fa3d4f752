# SPDX-License-Identifier: Apache-2.0
"""Certificates found by what is in them, in one account and over all, over a real Kafka and Redis: what is found is what is there, also
while catalogs are lost, made again and damaged."""
import csv
import json

import pytest

from support import events as ev
from support.host import Host
from support.proc import PATIENCE_S, wait_until
from support.stack import Stack

PARTITIONS = 2


@pytest.fixture(scope="module")
def stack(kafka, tmp_path_factory):
    """One of its own: it loses its catalogs."""
    with Stack(tmp_path_factory.mktemp("search") / "s", partitions=PARTITIONS, kafka=kafka, prefix="search-") as everything:
        everything.run_consumer()
        yield everything


@pytest.fixture(scope="module")
def ca():
    return ev.Authority("Search CA")


class Found:
    """Asks as an auditor, over all accounts, or as an account's own agent."""

    def __init__(self, stack):
        self.stack = stack

    def ask(self, query, account=None):
        path = f"/v1/accounts/{account.id}/certificates" if account else "/v1/certificates"
        token = self.stack.token(account.agent, account.id) if account else self.stack.token(self.stack.auditor, "*")
        return self.stack.http(f"{path}?{query}", token)

    def names(self, query, account=None):
        """Once all partitions are there again: (account, name) of each page's."""
        found, cursor = [], ""
        while True:
            answer = wait_until(lambda: next((a for a in [self.ask(query + cursor, account)] if a[0] != 503), None), PATIENCE_S, "no 503")
            assert answer[0] == 200, answer
            found += [(c.get("account"), c["name"]) for c in answer[1]["certificates"]]
            if "next" not in answer[1]:
                return found
            cursor = f"&cursor={answer[1]['next']}"


@pytest.fixture(scope="module")
def found(stack):
    return Found(stack)


def upload(stack, account, ca, name, dns, tags=(), **how):
    key = ev.new_key()
    extra = {"tags": list(tags)} if tags else None
    record = account.agent.upload(account.id, name, key, [ca.issue(key.public_key(), cn=dns[0], names=dns, **how), ca.der], extra=extra)
    assert stack.judge(record)["status"] == "applied"
    return json.loads(record.value)["subject"]


@pytest.fixture(scope="module")
def accounts(stack, ca):
    """Two, in two partitions."""
    names = [next(f"find-{i}" for i in range(100) if ev.partition_of(f"find-{i}", PARTITIONS) == p) for p in range(PARTITIONS)]
    one, two = (stack.account(name, owner="finder") for name in names)
    upload(stack, one, ca, "www", ["www.example.com"], ["prod"], days=2)
    upload(stack, one, ca, "wild", ["*.example.com"])
    upload(stack, two, ca, "shop", ["shop.example.com", "shop.example.org"], ["prod"])
    upload(stack, two, ev.Authority("Other CA"), "api", ["api.deep.example.com"])
    for account in (one, two):
        stack.get(account, "outcomes")  # it is there
    return one, two


def test_each_filter(stack, ca, found, accounts):
    one, two = accounts
    www, wild, shop, api = (one.id, "www"), (one.id, "wild"), (two.id, "shop"), (two.id, "api")
    item = stack.get(one, "certificates/www")[1]
    for query, expected in {
            "dns=www.example.com": [wild, www], "dns=WWW.Example.com": [wild, www], "dns=*.example.com": [wild, www, shop], "dns=shop.example.org": [shop],
            "dns=deep.example.com": [wild], "dns=example.com": [], "part=hop": [shop], "part=WIL": [wild], "tag=prod": [www, shop],
            "issuer=search+ca": [wild, www, shop], "issuer=CN%3DOther+CA": [api], "key_type=p-256": [wild, www, api, shop], "key_type=RSA": [],
            f"serial={item['serial'].upper()}": [www], f"fingerprint={item['fingerprint']}": [www], "status=expiring&within_hours=72": [www],
            "status=expiring&within_hours=1": [], "tag=prod&issuer=Search+CA&part=sho": [shop], "sort=expires&tag=prod": [www, shop], "name=w": [wild, www],
            "source=official": [], "": [wild, www, api, shop]}.items():
        assert sorted(found.names(query)) == sorted(expected), query
        own = [(None, n) for a, n in expected if a == one.id]
        assert found.names(query, one) == own, query
    assert [n for _, n in found.names("sort=expires")][0] == "www"
    status, page = found.ask("count=yes&limit=1")
    assert (status, page["total"], page["total_exact"], len(page["certificates"])) == (200, 4, True, 1)
    everything = {c["name"]: c for c in found.ask("")[1]["certificates"]}
    passing = ("account", "chain", "days_left")
    assert {k: v for k, v in everything["www"].items() if k not in passing} == {k: v for k, v in item.items() if k not in passing}


def test_who_may_ask_and_what_is_refused(stack, found, accounts):
    one, two = accounts
    assert stack.http("/v1/certificates", stack.token(one.agent, one.id))[0] == 403
    assert stack.http("/v1/certificates", stack.token(one.agent, "*"))[0] == 401
    assert stack.http("/v1/certificates?tag=prod", stack.token(stack.admin, "*"))[0] == 200
    assert stack.http(f"/v1/accounts/{two.id}/certificates?tag=prod", stack.token(one.agent, one.id))[0] == 403
    for query in ("part=a", "dns=*", "dns=*.", "issuer=", "serial=xyz", "fingerprint=12", "tag=", "key_type=a+b", "count=1", "within_hours=-1", "limit=0",
                  "within=1&within_hours=1", "part=" + "x" * 200, "dns=" + "a" * 2000, "cursor=00", "cursor=zz", "sort=size", "host=x"):
        for account in (None, one):
            status, body = found.ask(query, account)
            assert (status, bool(body["detail"])) == (400, True), query
    # A cursor is of its question alone.
    for account in (None, one):
        cursor = found.ask("issuer=Search+CA&limit=1", account)[1]["next"]
        assert found.ask(f"limit=1&cursor={cursor}&issuer=Search+CA", account)[0] == 200
        assert found.ask(f"issuer=Search+CA&limit=7&cursor={cursor}", account)[0] == 200
        for other in ("issuer=Other+CA", "tag=prod", "issuer=Search+CA&status=valid", "issuer=Search+CA&sort=expires"):
            assert found.ask(f"{other}&cursor={cursor}", account)[0] == 400
        plain = found.ask("limit=1", account)[1]["next"]
        assert found.ask(f"limit=1&status=valid&cursor={plain}", account)[0] == 400
    cursor = found.ask("issuer=Search+CA&limit=1", one)[1]["next"]
    assert found.ask(f"issuer=Search+CA&limit=1&cursor={cursor}")[0] == 400


def test_what_changes_is_followed_at_once(stack, ca, found, accounts):
    """Whoever heard an outcome finds what it says: a new version, another name, shares, their end, deletion."""
    one, two = accounts
    subject = ev.uuid7()
    for version, dns in enumerate(["first.moves.example", "second.moves.example"]):
        key = ev.new_key()
        issue = stack.issuer.upload(one.id, "moves", key, [ca.issue(key.public_key(), cn=dns, names=[dns], start=version - 2.0), ca.der], subject=subject,
                                    kind="certificate.issue", extra={"source": "official", "replace": version > 0})
        assert stack.judge(issue)["status"] == "applied"
        assert stack.get(one, f"outcomes/{issue.id}?wait=20")[0] == 200
        assert found.names(f"dns={dns}") == [(one.id, "moves")]
    assert found.names("dns=first.moves.example") == []
    share = one.agent.event("certificate.share", one.id, subject, {"to": two.id})
    assert stack.final(share)["status"] == "applied"
    wait_until(lambda: found.names("dns=second.moves.example") == [(one.id, "moves"), (two.id, "moves")], PATIENCE_S, "the share to be found")
    assert found.names("dns=second.moves.example&source=shared") == [(two.id, "moves")]
    update = stack.judge(stack.admin.event("account.update", two.id, two.id, {"owner": "another"}))  # ends its shares; no outcome names the certificate
    assert update["status"] == "applied"
    wait_until(lambda: found.names("dns=second.moves.example") == [(one.id, "moves")], PATIENCE_S, "the end of the share")
    delete = one.agent.event("certificate.delete", one.id, subject, {"cascade": True})
    assert stack.judge(delete)["status"] == "applied"
    assert stack.get(one, f"outcomes/{delete.id}?wait=20")[0] == 200
    assert found.names("dns=second.moves.example") == []


def test_a_list_is_never_silently_short(stack, ca, found, accounts):
    """Redis loses all: every answer until the catalogs are there again is 503 or whole. Then the same after the list of changes is bent."""
    one, two = accounts
    whole = sorted(found.names("issuer=Search+CA"))
    redis = stack.redis.client()
    for harm in (redis.flushall, lambda: [redis.delete(k) for k in redis.scan_iter(match="*:changes/*")],
                 lambda: [redis.set(k, b"1 0 99999\n") for k in redis.scan_iter(match="*:changes/*")],
                 lambda: [redis.delete(k) or redis.rpush(k, "x") for k in redis.scan_iter(match="*:changes/*")]):
        harm()
        name = f"new-{ev.uuid7()}"
        record = two.agent.upload(two.id, name, key := ev.new_key(), [ca.issue(key.public_key(), names=["new.example.net"]), ca.der])
        stack.send(record)

        def again():
            status, body = found.ask("issuer=Search+CA&limit=1000")
            assert status in (200, 503), body
            names = sorted((c["account"], c["name"]) for c in body["certificates"]) if status == 200 else None
            assert names is None or names in (whole, sorted(whole + [(two.id, name)])), names
            return names and len(names) > len(whole)
        wait_until(again, PATIENCE_S, "the new certificate to be found")
        whole = sorted(whole + [(two.id, name)])


def test_from_the_command_line(stack, found, accounts, tmp_path):
    one, _ = accounts
    auditor, own = Host(stack, one, tmp_path / "auditor", key=stack.auditor), Host(stack, one, tmp_path / "own")
    rows = list(csv.DictReader(auditor.run("search", "*.example.com", "--csv").stdout.decode().splitlines()))
    assert [(r["account"], r["name"]) for r in rows] == found.names("dns=*.example.com")
    auditor.expect(0, "search", "--tag", "prod", "--count", words=["2 in all", "shop", one.id])
    assert [c["name"] for c in own.json(0, "list", "--dns", "www.example.com")["certificates"]] == ["wild", "www"]
    assert [c["name"] for c in own.json(0, "list", "--status", "expiring", "--within-hours", "72")["certificates"]] == ["www"]
    auditor.expect(5, "search", "--part", "x", words=["at least 3 characters"])
    own.expect(5, "search", words=["event."])
