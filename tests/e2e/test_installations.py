# SPDX-License-Identifier: Apache-2.0
"""Where certificates are: what hosts tell, and what list, show and the API say of it, over the whole stack."""
import hashlib
import os
import shutil
import socket

import pytest

from support import events as ev
from support.host import AgentHost, Host, make_files, put_pair
from support.proc import PATIENCE_S, wait_until

APPLIED = 0
PLACE = "/etc/ssl/www.pem"


@pytest.fixture(scope="module")
def ca():
    return ev.Authority("Example Intermediate", ev.Authority("Example Root"), path_length=0)


@pytest.fixture
def host(stack, tmp_path):
    return Host(stack, stack.account(), tmp_path / "host")


class Pool:
    """An account whose hosts tell what they have."""

    def __init__(self, stack, account, ca):
        self.stack, self.account, self.ca = stack, account, ca

    def pair(self, **how):
        key = ev.new_key()
        return key, [self.ca.issue(key.public_key(), **how), self.ca.der]

    def bring(self, sender, name, pair, place=PLACE):
        return self.judged(sender.upload(self.account.id, name, *pair, extra={"replace": True, "place": place}))

    def tell(self, sender, kind, subject, of=None, place=PLACE, **more):
        sha256 = {"sha256": hashlib.sha256(of[1][0]).hexdigest()} if of else {}
        return self.judged(sender.event("certificate." + kind, self.account.id, subject, {"place": place, **sha256, **more}))

    def judged(self, record):
        outcome = self.stack.judge(record)
        self.stack.get(self.account, "certificates")  # the API knows it, too
        return outcome


def test_a_pool_of_three(stack, host, ca):
    """Renewed at one, copied to the others later; one comes back from an old image; one is revoked; the last file goes."""
    pool = Pool(stack, host.account, ca)
    a, b, c = (stack.enroll(host.account.id, label=f"web-{i}") for i in range(3))
    old, new = pool.pair(days=9), pool.pair(start=-0.5)
    subject = pool.bring(a, "www", old)["subject"]
    assert pool.tell(b, "seen", subject, old)["status"] == "applied"
    assert pool.bring(c, "www", old)["detail"] == "changed: place"
    shown = host.json(APPLIED, "show", "www")
    assert (shown["hosts_total"], shown["hosts_behind"]) == (3, 0)
    assert pool.bring(a, "www", new)["version"] == 2
    shown = host.json(APPLIED, "show", "www")
    assert (shown["hosts_total"], shown["hosts_behind"], shown["old_versions"][0]["hosts"]) == (3, 2, 2)
    assert shown["ends_in_use"] == shown["old_versions"][0]["not_after"] < shown["ends"]
    assert [(h["label"], h["behind"], h["version"]) for h in shown["hosts"]][2] == ("web-0", False, 2)
    said = host.expect(APPLIED, "show", "www")
    assert "web-1 (behind)" in said and f"{PLACE}, version 2" in said
    assert "3 (2 behind)" in host.expect(APPLIED, "list")
    for h in (b, c):
        assert pool.tell(h, "seen", subject, new)["status"] == "applied"
    assert "behind" not in host.expect(APPLIED, "list")
    assert pool.tell(c, "seen", subject, old)["status"] == "applied"  # last month's image
    assert host.json(APPLIED, "show", "www")["hosts_behind"] == 1
    assert pool.judged(stack.admin.event("agent.revoke", host.account.id, c.kid, {}))["status"] == "applied"
    assert sorted(h["label"] for h in host.json(APPLIED, "show", "www")["hosts"]) == ["web-0", "web-1"]
    assert "another place or host" in pool.tell(a, "gone", subject, delete=True)["detail"]
    assert "deleted" in pool.tell(b, "gone", subject, delete=True)["detail"]
    assert "www" not in host.expect(APPLIED, "list")


def test_two_hosts_of_one_name(stack, host, ca):
    pool = Pool(stack, host.account, ca)
    a, b = stack.enroll(host.account.id), stack.enroll(host.account.id)
    assert pool.bring(a, "www", pool.pair())["status"] == "applied"
    assert pool.bring(b, "www", pool.pair())["code"] == "replace.not_held"
    assert pool.bring(b, "www-b", pool.pair())["status"] == "applied"
    # A person may.
    make_files(host.dir, ca)
    host.expect(APPLIED, "upload", "www", "--cert", "full.pem", "--key-file", "key.pem", "--replace")
    assert host.json(APPLIED, "show", "www")["hosts_behind"] == 1


def test_hosts_come_in_pages(stack, host, ca):
    pool = Pool(stack, host.account, ca)
    pair, senders = pool.pair(), [stack.enroll(host.account.id, label=f"web-{i}") for i in range(5)]
    subject = pool.bring(senders[0], "www", pair)["subject"]
    for sender in senders[1:]:
        pool.tell(sender, "seen", subject, pair, place="sha256:" + "0f" * 16)
    found, cursor = [], ""
    while cursor is not None:
        status, page = stack.get(host.account, f"certificates/www/hosts?limit=2{cursor}")
        assert status == 200 and page["hosts_total"] == 5
        found += page["hosts"]
        cursor = f"&cursor={page['next']}" if "next" in page else None
    assert sorted(h["label"] for h in found) == [f"web-{i}" for i in range(5)]


# --- real daemons

@pytest.fixture
def hosts(stack, tmp_path):
    """Three hosts of one account, each with a daemon and a key of its own."""
    account, made = stack.account(), []
    for i in range(3):
        agent = AgentHost(stack, account, tmp_path / f"web-{i}", key=stack.enroll(account.id, label=f"web-{i}"))
        (agent.dir / "tls").mkdir()
        made.append(agent)
    yield made
    for agent in made:
        if agent.process:
            agent.process.kill()


def watch(host, name="tls", **more):
    return host.watch(name, certificate=host.dir / "tls/{name}.crt", key=host.dir / "tls/{name}.key", **{"as": "{name}", **more})


def item(host, name):
    status, body = host.stack.http(f"/v1/accounts/{host.account.id}/certificates/{name}", host.stack.token(host.stack.auditor, "*"))
    return body if status == 200 else {}


def wait_hosts(host, name, total, behind=0):
    return wait_until(lambda: (i := item(host, name)) and (i["hosts_total"], i["hosts_behind"]) == (total, behind) and i, PATIENCE_S,
                      f"{name} at {total} hosts, {behind} of them behind; it is {item(host, name)}")


def copy(source, *targets):
    for target in targets:
        for kind in ("key", "crt"):
            shutil.copy2(source.dir / f"tls/www.{kind}", target.dir / f"tls/.www.{kind}")
            os.rename(target.dir / f"tls/.www.{kind}", target.dir / f"tls/www.{kind}")


def test_a_pool_that_gets_its_files_by_rsync(hosts, ca):
    a, b, c = hosts
    put_pair(a.dir / "tls", "www", ca, start=-3)
    copy(a, b)
    for h in (a, b):
        watch(h)
        h.start()
    wait_hosts(a, "www", 2)
    watch(c)  # a host is added
    copy(a, c)
    c.start()
    wait_hosts(a, "www", 3)
    put_pair(a.dir / "tls", "www", ca, start=-2)  # renewed at one, copied later
    wait_hosts(a, "www", 3, 2)
    copy(a, b, c)
    assert wait_hosts(a, "www", 3)["version"] == 2
    for h in hosts:  # nothing changed: nothing is sent
        h.wait_quiet()
    before = [h.events() for h in hosts]
    for h in hosts:
        h.stop()
        h.start()
        h.wait_status(lambda s: s["certificates"]["registered"] == 1, "the register")
        h.wait_quiet()
    assert [h.events() for h in hosts] == before
    shutil.rmtree(b.dir / "tls")
    (b.dir / "tls").mkdir()
    wait_hosts(a, "www", 2)
    for h in (a, c):
        h.stop()


def test_each_web_server_with_its_own(hosts, ca):
    a, b, _ = hosts
    for h in (a, b):
        watch(h)
        put_pair(h.dir / "tls", "www", ca)
    a.start()
    wait_hosts(a, "www", 1)
    b.start()
    other = f"www-{socket.gethostname().split('.')[0]}"
    wait_hosts(b, other, 1)
    assert wait_hosts(a, "www", 1)["version"] == 1
    assert "another host has" in b.wait_problem(other, "registered")["message"]
    put_pair(b.dir / "tls", "www", ca, start=-0.5)  # the next ones keep apart
    b.wait_version(other, 2)
    b.stop()
    b.start()
    b.wait_quiet()
    assert wait_hosts(a, "www", 1)["version"] == 1 and wait_hosts(b, other, 1)["version"] == 2


def test_moved_renamed_and_gone(hosts, ca):
    a, b, _ = hosts
    watch(a, delete="yes", delete_after="0s")
    watch(b)
    put_pair(a.dir / "tls", "www", ca)
    a.start()
    first = wait_hosts(a, "www", 1)["id"]
    copy(a, b)
    b.start()
    wait_hosts(a, "www", 2)
    b.stop()
    b.watch("tls", certificate=b.dir / "tls/{name}.crt", key=b.dir / "tls/{name}.key", **{"as": "new-{name}"})  # the section's names change
    b.start()
    wait_hosts(a, "new-www", 1)
    wait_hosts(a, "www", 1)
    (a.dir / "tls/www.crt").unlink()  # the last file here; no other host has it
    wait_until(lambda: not item(a, "www"), PATIENCE_S, "the end of www")
    assert item(a, "new-www")["id"] != first


def test_what_a_person_deleted_stays_deleted(hosts, ca):
    a, person, _ = hosts
    watch(a)
    put_pair(a.dir / "tls", "www", ca)
    a.start()
    wait_hosts(a, "www", 1)
    a.wait_quiet()
    person.expect(APPLIED, "delete", "www", "--yes")
    a.stop()
    a.start()  # a start asks what the catalog holds
    assert "somebody deleted it" in a.wait_problem("www", "deleted")["message"]
    a.wait_quiet()
    assert not item(a, "www")
    a.expect(APPLIED, "upload", "www", "--cert", "tls/www.crt", "--key-file", "tls/www.key")
    a.stop()
    a.start()
    wait_hosts(a, "www", 1)
