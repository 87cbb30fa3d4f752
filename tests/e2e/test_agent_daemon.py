# SPDX-License-Identifier: Apache-2.0
"""`certsync agent`, the daemon: files come, change and go, and the account's catalog follows."""

import os
import re
import shutil
import signal

import pytest

from chaos import trouble
from support import events as ev
from support.host import AgentHost, admin_host, put_pair, watch_pairs
from support.proc import PATIENCE_S, Process, wait_until
from support.stack import certsync_binary

@pytest.fixture(scope="module")
def ca():
    return ev.Authority("Daemon Root")


@pytest.fixture
def host(stack, tmp_path):
    agent = AgentHost(stack, stack.account(), tmp_path / "host")
    yield agent
    if agent.process:
        agent.process.kill()


class Certbot:
    """Lays out /etc/letsencrypt as certbot does: live/ links into archive/, each renewal one number up."""

    def __init__(self, root, ca):
        self.root, self.ca, self.number = root, ca, {}
        (root / "live").mkdir(parents=True)
        (root / "archive").mkdir()
        (root / "live/README").write_text("This directory contains your keys and certificates.")

    def renew(self, name, start=-1.0):
        n = self.number[name] = self.number.get(name, 0) + 1
        archive, live = self.root / "archive" / name, self.root / "live" / name
        archive.mkdir(exist_ok=True)
        live.mkdir(exist_ok=True)
        key = ev.new_key()
        leaf = ev.pem_of(self.ca.issue(key.public_key(), cn=name, names=[name], start=start))
        ev.write_private(key, archive / f"privkey{n}.pem")
        (archive / f"cert{n}.pem").write_bytes(leaf)
        (archive / f"chain{n}.pem").write_bytes(ev.pem_of(self.ca.der))
        (archive / f"fullchain{n}.pem").write_bytes(leaf + ev.pem_of(self.ca.der))
        self.point(name, n)

    def point(self, name, n):
        """As certbot's update_all_links_to: unlink, then symlink."""
        for kind in ("privkey", "cert", "chain", "fullchain"):
            link = self.root / "live" / name / f"{kind}.pem"
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../archive/{name}/{kind}{n}.pem")


def test_certbot_issue_renew_and_back(host, ca):
    certbot = Certbot(host.dir / "le", ca)
    certbot.renew("www.example.com", start=-3)
    host.watch("le", preset="certbot", path=host.dir / "le")
    host.start()
    _, first = host.wait_version("www.example.com", 1)
    certbot.renew("www.example.com", start=-2)
    assert host.wait_version("www.example.com", 2)[1] == first
    certbot.renew("new.example.com")
    host.wait_version("new.example.com", 1)
    host.wait_quiet()
    before = host.events()
    certbot.point("www.example.com", 1)
    host.wait_problem("www.example.com", "older", "replace.older")
    certbot.point("www.example.com", 2)
    wait_until(lambda: host.problem("www.example.com") is None, PATIENCE_S, "the end of the warning")
    host.wait_quiet()
    assert host.events() == before + 2  # it tells that it has the old version, and the new one again; it uploads nothing
    assert host.catalog()["www.example.com"][0] == 2
    host.stop()


def test_kubernetes_mount_is_swapped_again_and_again(host, ca):
    mount = host.dir / "mount"

    def swap(n):
        data = mount / f"..2026_{n}"
        data.mkdir(parents=True)
        key = ev.new_key()
        ev.write_private(key, data / "tls.key")
        (data / "tls.crt").write_bytes(ev.pem_of(ca.issue(key.public_key(), start=-20 + n)))
        os.symlink(data.name, mount / "..data_tmp")
        old = mount / "..data"
        gone = os.readlink(old) if old.is_symlink() else None
        os.replace(mount / "..data_tmp", old)
        if gone:
            shutil.rmtree(mount / gone)

    swap(1)
    for name in ("tls.crt", "tls.key"):
        os.symlink(f"..data/{name}", mount / name)
    host.watch("ingress", preset="kubernetes", path=mount)
    host.start()
    host.wait_version("ingress", 1)
    for n in range(2, 7):
        swap(n)
        host.wait_version("ingress", n)
    host.stop()


def test_a_key_that_comes_late_and_one_that_never_fits(host, ca):
    tls = watch_pairs(host)
    host.start()
    key = put_pair(tls, "late", ca)
    host.wait_version("late", 1)
    following = ev.new_key()
    (tls / "late.crt").write_bytes(ev.pem_of(ca.issue(following.public_key())))  # in place, its key not yet there
    host.wait_problem("late", "waiting", "key.mismatch")
    ev.write_private(following, tls / "late.key")
    host.wait_version("late", 2)
    late = host.problem("late")
    assert late is None or late["state"] == "waiting"
    host.wait_quiet()
    ev.write_private(key, tls / "other.key")
    (tls / "other.crt").write_bytes(ev.pem_of(ca.issue(ev.new_key().public_key())))
    said = host.wait_problem("other", "waiting", "key.mismatch")
    assert "other" in said["message"]
    host.stop()


def test_what_is_refused_here_is_told_and_not_sent(host, ca):
    tls = watch_pairs(host)
    put_pair(tls, "expired", ca, start=-30, days=-1)
    os.mkfifo(tls / "fifo.crt")
    (tls / "huge.crt").write_bytes(b"x" * (1 << 20))
    host.start()
    host.wait_problem("expired", "refused", "cert.expired")
    assert "FIFO" in host.wait_problem("fifo", "refused")["message"]
    assert "1048576 bytes" in host.wait_problem("huge", "refused")["message"]
    assert host.events() == 0
    said = host.run("status")
    assert said.returncode == 1 and b"cert.expired" in said.stdout
    host.stop()


def test_deletes_where_the_section_says_so(host, ca):
    tls = watch_pairs(host, delete="yes", delete_after="100ms")
    put_pair(tls, "goes", ca)
    put_pair(tls, "stays", ca)
    host.start()
    host.wait_version("goes", 1)
    host.wait_version("stays", 1)
    for name in ("goes.crt", "goes.key"):
        (tls / name).unlink()
    wait_until(lambda: set(host.catalog()) == {"stays"}, PATIENCE_S, "the deletion")
    host.wait_quiet()
    put_pair(tls, "goes", ca)
    host.wait_version("goes", 1)
    host.stop()
    (tls / "stays.crt").unlink()  # while nobody looks
    host.start()
    wait_until(lambda: set(host.catalog()) == {"goes"}, PATIENCE_S, "the deletion")
    host.stop()


def test_keeps_what_is_gone_by_default(host, ca):
    tls = watch_pairs(host)
    put_pair(tls, "www", ca)
    host.start()
    host.wait_version("www", 1)
    host.wait_quiet()
    shutil.rmtree(tls)
    host.wait_status(lambda s: s["certificates"]["registered"] == 0 or not tls.exists(), "the scan")
    tls.mkdir()
    put_pair(tls, "other", ca)
    host.wait_version("other", 1)
    assert set(host.catalog()) == {"www", "other"}
    host.stop()


def test_a_restart_with_nothing_changed_publishes_nothing(host, ca):
    tls = watch_pairs(host)
    for i in range(5):
        put_pair(tls, f"c{i}", ca)
    host.start()
    for i in range(5):
        host.wait_version(f"c{i}", 1)
    host.wait_quiet()
    host.stop()
    before = host.events()
    host.start()
    host.wait_status(lambda s: s["certificates"]["registered"] == 5 and s["last_scan"], "all registered")
    host.stop()
    assert host.events() == before
    catalog = host.catalog()
    shutil.rmtree(host.dir / "spool")  # without a memory it tells again where they are, and uploads nothing: the catalog knows
    host.start()
    host.wait_status(lambda s: s["certificates"]["registered"] == 5, "all registered")
    host.wait_quiet()
    host.stop()
    assert host.catalog() == catalog
    before = host.events()
    host.configure(**{**host.over, "api.url": "http://127.0.0.1:1"})  # and without the API: the memory serves
    host.start()
    host.wait_status(lambda s: s["certificates"]["registered"] == 5, "all registered")
    host.stop()
    assert host.events() == before


def test_what_the_catalog_rejects_is_told_and_not_sent_again(host, stack, ca, tmp_path):
    agent = AgentHost(stack, host.account, tmp_path / "narrow", key=stack.enroll(host.account.id, names="www.*"))
    tls = watch_pairs(agent)
    put_pair(tls, "mail", ca)
    agent.start()
    try:
        problem = agent.wait_problem("mail", "rejected", "event.forbidden")
        assert problem["hint"] and "event.forbidden" in agent.new_log()
        agent.wait_quiet()
        assert agent.events() == 1
        agent.stop()
        agent.start()
        agent.wait_problem("mail", "rejected", "event.forbidden")
        (tls / "mail.crt").touch()
        put_pair(tls, "www.b", ca)
        agent.wait_version("www.b", 1)
        agent.wait_quiet()
        assert agent.events() == 2
        put_pair(tls, "mail", ca)  # another one: tried
        wait_until(lambda: agent.events() == 3, PATIENCE_S, "the second attempt")
    finally:
        agent.process.kill()


@pytest.mark.parametrize("years, code, year", [(10, "cert.expired", "203"), (-10, "cert.not_yet_valid", "201")])
def test_a_clock_ten_years_off_that_is_put_right(host, ca, years, code, year):
    """The host cannot know better, and says what it believes; the same files are looked at again once it does."""
    tls = watch_pairs(host)
    put_pair(tls, "dated", ca)
    host.start(env=trouble.clock(years))
    try:
        problem = host.wait_problem("dated", "refused", code)
        assert f"this host's clock says {year}" in problem["message"]
        host.wait_status(lambda s: any(a["what"] == "api" and "clock" in a["message"] for a in s["attention"]), "the API's word on it")
        host.stop()
        host.start()
        host.wait_version("dated", 1)
        host.wait_quiet()
    finally:
        host.process.kill()


def test_what_became_too_old_is_made_anew(host, ca):
    """Events that lay in the spool for too long, or that a wrong clock made: nothing is lost, and no event is made in vain."""
    tls = watch_pairs(host)
    put_pair(tls, "kept", ca, start=-4000, days=8000)
    host.configure(**{"kafka.brokers": "127.0.0.1:1"})
    host.start(env=trouble.clock(-1))
    try:
        host.wait_status(lambda s: s["certificates"]["sent"] == 1, "an event in the spool")
        host.stop()
        host.configure()
        host.start()
        host.wait_version("kept", 1)
        host.wait_quiet()
        assert host.events() == 2 and "event.too_old" in host.new_log()
        # By a clock that is wrong still, it goes out, and nothing more until the clock is right.
        host.stop()
        put_pair(tls, "kept", ca, start=-3900, days=8000)
        host.start(env=trouble.clock(-1))
        wait_until(lambda: host.events() == 3, PATIENCE_S, "the event of a wrong clock")
        host.wait_status(lambda s: any(a["what"] == "api" and "clock" in a["message"] for a in s["attention"]), "the API's word on it")
        host.stop()
        host.start()
        host.wait_version("kept", 2)
        host.wait_quiet()
        assert host.events() == 4
    finally:
        host.process.kill()


def test_brokers_away_and_back(host, ca):
    tls = watch_pairs(host)
    host.configure(**{"kafka.brokers": "127.0.0.1:1", "agent.spool_max_events": 3})
    host.start()
    for i in range(5):
        put_pair(tls, f"c{i}", ca)
    status = host.wait_status(lambda s: s["kafka"]["state"] == "failing" and s["certificates"]["blocked"] == 2, "a full spool")
    assert status["spool"]["to_publish"] == 3 and "limit" in status["spool"]["blocked"]
    ticks = os.sysconf("SC_CLK_TCK")

    def cpu_s():
        with open(f"/proc/{host.process.pid}/stat") as f:
            parts = f.read().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / ticks
    used = cpu_s()
    first = host.status()["written"]
    wait_until(lambda: "spool" in host.status() and host.process.alive and _seconds(first) >= 3, PATIENCE_S, "three seconds")
    assert cpu_s() - used < 1
    host.configure(**{"agent.spool_max_events": 3})
    host.process.signal(signal.SIGHUP)
    for i in range(5):
        host.wait_version(f"c{i}", 1)
    host.wait_quiet()
    host.stop()


def _seconds(since):
    import datetime
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(since.replace("Z", "+00:00"))).total_seconds()


def test_sigkill_between_spool_and_broker(host, ca):
    tls = watch_pairs(host)
    host.configure(**{"kafka.brokers": "127.0.0.1:1"})
    host.start()
    for i in range(4):
        put_pair(tls, f"c{i}", ca)
    host.wait_status(lambda s: s["certificates"]["sent"] == 4, "four events in the spool")
    host.process.kill()
    host.configure()
    host.start()
    for i in range(4):
        host.wait_version(f"c{i}", 1)
    host.wait_quiet()
    assert host.events("certificate.upload.v1") == 4  # none was made a second time
    host.stop()


def test_a_restored_host_signs_again(host, ca, tmp_path):
    tls = watch_pairs(host)
    put_pair(tls, "a", ca)
    host.start()
    host.wait_version("a", 1)
    host.wait_quiet()
    host.stop()
    shutil.copytree(host.dir / "spool", tmp_path / "snapshot")
    host.start()
    put_pair(tls, "b", ca)
    put_pair(tls, "c", ca)
    host.wait_version("c", 1)
    host.wait_quiet()
    host.stop()
    shutil.rmtree(host.dir / "spool")
    shutil.copytree(tmp_path / "snapshot", host.dir / "spool")
    put_pair(tls, "d", ca)
    host.start()
    host.wait_version("d", 1)
    host.wait_quiet()
    wait_until(lambda: replays(host) >= 1, PATIENCE_S, "the status to tell of the replay")
    assert "another host" in host.new_log()
    assert set(host.catalog()) == {"a", "b", "c", "d"}
    host.stop()


def replays(agent_host):
    """How often its numbers were found used already, as its status says a moment later."""
    return agent_host.status().get("replayed", {}).get("times", 0)


def test_a_cloned_host_is_noticed_and_nothing_is_lost(host, stack, ca, tmp_path):
    tls = watch_pairs(host)
    put_pair(tls, "a", ca)
    host.start()
    host.wait_version("a", 1)
    host.wait_quiet()
    clone = AgentHost(stack, host.account, tmp_path / "clone", key=host.sender)
    host.process.pause()  # as a snapshot of a whole machine: nothing is half written, and nothing goes while it is copied
    shutil.copytree(host.dir / "spool", clone.dir / "spool")
    host.process.resume()
    others = watch_pairs(clone)
    clone.start()
    try:
        for i in range(4):
            put_pair(tls, f"h{i}", ca)
            host.wait_version(f"h{i}", 1)
            put_pair(others, f"k{i}", ca)
            clone.wait_version(f"k{i}", 1)
        host.wait_quiet()
        clone.wait_quiet()
        wait_until(lambda: replays(host) + replays(clone) >= 4, PATIENCE_S, "the status of both to tell of the replays")
        assert len(host.catalog()) == 9
    finally:
        clone.process.kill()


def test_reload_is_all_or_nothing(host, ca):
    tls = watch_pairs(host)
    put_pair(tls, "a", ca)
    host.start()
    host.wait_version("a", 1)
    good = host.config.read_text()
    host.config.write_text(good + "[watch broken]\npreset = nobody\n")
    host.process.signal(signal.SIGHUP)
    wait_until(lambda: "not read again" in host.new_log(), PATIENCE_S, "the complaint")
    put_pair(tls, "b", ca)
    host.wait_version("b", 1)
    host.config.write_text(good)
    host.watch("more", combined=host.dir / "more/{name}.pem")
    (host.dir / "more").mkdir()
    key = ev.new_key()
    (host.dir / "more/both.pem").write_bytes(ev.pem_of(ca.issue(key.public_key())) + key.private_bytes(
        ev.serialization.Encoding.PEM, ev.serialization.PrivateFormat.TraditionalOpenSSL, ev.serialization.NoEncryption()))
    host.process.signal(signal.SIGHUP)
    host.wait_version("both", 1)
    host.stop()


def test_rescan_sees_what_nobody_told(host, ca):
    """As on NFS: the change is made through another mount of the same files, of which inotify says nothing."""
    tls = watch_pairs(host)
    host.configure(**{"agent.rescan": "1s"})
    put_pair(tls, "www", ca, start=-2)
    host.start()
    host.wait_version("www", 1)
    scans = host.status()["last_scan"]
    host.wait_status(lambda s: s["last_scan"] > scans, "another scan")
    host.stop()


def test_heartbeats_reach_the_api(host, stack, ca):
    tls = watch_pairs(host)
    put_pair(tls, "www", ca)
    host.configure(**{"agent.heartbeat": "500ms"})
    host.start()

    def beat():
        status, body = stack.get(host.account, "agents")
        mine = [a for a in body["agents"] if a["kid"] == host.sender.kid]
        return status == 200 and mine and mine[0].get("heartbeat")
    wait_until(lambda: (b := beat()) and b["certificates"] == 1, PATIENCE_S, "a heartbeat")
    first = beat()["at"]
    wait_until(lambda: beat()["at"] > first, PATIENCE_S, "another heartbeat")
    assert len(host.spooled()) <= 3
    host.stop()


def test_only_one_daemon_for_a_spool(host):
    watch_pairs(host)
    host.start()
    second = host.run("agent", "run")
    assert second.returncode == 2 and b"another certsync agent runs" in second.stderr
    host.stop()


# --- enrolling a fleet

def new_host(stack, account, directory):
    """A host as it comes out of the box: settings, no key."""
    fresh = AgentHost(stack, account, directory)
    (fresh.dir / "host.key").unlink()
    return fresh


def token_of(admin, *args):
    done = admin.run("agent", "token", *args)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 1 and lines[0].startswith("certsync1.")
    return lines[0]


def kid_of_host(host):
    return host.run("key", "id", "host.key").stdout.decode().strip()


def test_a_fleet_joins_with_one_token(stack, ca, tmp_path):
    account = stack.account()
    admin = admin_host(stack, account, tmp_path)
    token = token_of(admin, "--can", "upload,read", "--uses", "5", "--expires", "1h")
    hosts = [new_host(stack, account, tmp_path / f"h{i}") for i in range(6)]
    joining = [Process(f"join-{h.dir.name}", [certsync_binary(), "--config", h.config, "agent", "join", "--label", h.dir.name, token],
                       tmp_path) for h in hosts[:5]]
    for process in joining:  # all at once, with one key between them
        assert process.wait() == 0, process.tail()
    assert all((h.dir / "host.key").stat().st_mode & 0o777 == 0o600 for h in hosts[:5])
    late = hosts[5].run("agent", "join", token)
    assert late.returncode == 1 and b"event.forbidden" in late.stderr and b"used up" in late.stderr
    listed = admin.json(0, "agents")["agents"]
    assert {f"h{i}" for i in range(5)} <= {a["label"] for a in listed}
    assert all(a["can"] == ["upload", "read"] for a in listed if a["label"] in {f"h{i}" for i in range(5)})
    tls = watch_pairs(hosts[0])
    put_pair(tls, "www", ca)
    hosts[0].start()
    try:
        hosts[0].wait_version("www", 1)
        hosts[0].stop()
    finally:
        hosts[0].process.kill()


def test_a_token_is_good_for_nothing_else(stack, tmp_path):
    account = stack.account()
    admin = admin_host(stack, account, tmp_path)
    token = token_of(admin, "--can", "read", "--names", "www.*", "--expires", "1s")
    fresh = new_host(stack, account, tmp_path / "fresh")
    cut = fresh.run("agent", "join", token[:-9])
    assert cut.returncode == 2 and b"join token" in cut.stderr
    late = new_host(stack, account, tmp_path / "late")
    wait_until(lambda: b"expired" in late.run("agent", "join", token).stderr, PATIENCE_S, "the token's end")
    other = stack.account()
    assert other.id != account.id
    elsewhere = new_host(stack, other, tmp_path / "elsewhere")
    assert elsewhere.run("agent", "join", token_of(admin)).returncode == 2  # the settings name another account
    again = token_of(admin)
    assert fresh.run("agent", "join", again).returncode == 0
    assert fresh.run("agent", "join", again).returncode == 0  # once more, the same host: nothing is spent
    other_host = new_host(stack, account, tmp_path / "other")
    used_up = other_host.run("agent", "join", again)
    assert used_up.returncode == 1 and b"event.forbidden" in used_up.stderr
    # Whoever revokes a token is told what came in by it, as it is called now.
    fresh.expect(0, "agent", "rotate")
    came_in, token_kid = kid_of_host(fresh), {a["kid"]: a["enrolled_by"] for a in admin.json(0, "agents", "--ended")["agents"]}
    first = next(a["kid"] for a in admin.json(0, "agents", "--ended")["agents"] if a.get("rotated_to") == came_in)
    admin.expect(0, "agent", "revoke", "--account", account.id, token_kid[first],
                 words=["keys that it enrolled, which this does not end: 1", f"still lives: {came_in}"])


def test_rotation_while_the_daemon_runs_and_revocation(host, stack, ca, tmp_path):
    admin = admin_host(stack, host.account, tmp_path)
    tls = watch_pairs(host)
    put_pair(tls, "a", ca)
    host.start()
    host.wait_version("a", 1)
    old = kid_of_host(host)
    host.expect(0, "agent", "rotate", words=["the daemon was told"])
    new = kid_of_host(host)
    assert new != old
    host.wait_status(lambda s: s["kid"] == new, "the new key in the daemon")
    put_pair(tls, "b", ca)
    host.wait_version("b", 1)
    host.wait_quiet()
    states = {a["kid"]: a["state"] for a in admin.json(0, "agents", "--ended")["agents"]}
    assert states[old] == "rotated" and states[new] == "enrolled"
    # The key that the admin knows is the one that was rotated: what it was rotated to ends with it, and both are named.
    admin.expect(0, "agent", "revoke", "--account", host.account.id, old, words=[f"ended: {old}, {new}"])
    states = {a["kid"]: a["state"] for a in admin.json(0, "agents", "--ended")["agents"]}
    assert states[old] == states[new] == "revoked"
    put_pair(tls, "c", ca)
    host.wait_status(lambda s: s["api"].get("code") == "event.revoked_signer", "the refusal")
    assert "c" not in {c["name"] for c in admin.json(0, "list")["certificates"]}
    host.stop()


def test_an_interrupted_rotation_goes_on(host, stack):
    host.expect(0, "agent", "rotate")
    first = kid_of_host(host)
    # As after a kill between the outcome and the change of the files: the key in the file is the old one.
    host.expect(0, "keygen", "--out", "spare.key")
    (host.dir / "host.key").rename(host.dir / "old.key")
    (host.dir / "old.key").rename(host.dir / "host.key")
    host.expect(0, "agent", "rotate")
    second = kid_of_host(host)
    assert first != second
    shutil.copy(host.dir / "host.key", host.dir / "before.key")
    host.expect(0, "agent", "rotate")
    third = kid_of_host(host)
    shutil.move(host.dir / "host.key", host.dir / "host.key.next")
    shutil.move(host.dir / "host.key.pub", host.dir / "host.key.next.pub")
    shutil.move(host.dir / "before.key", host.dir / "host.key")
    host.expect(0, "agent", "rotate")
    assert kid_of_host(host) == third


def test_agents_that_have_gone_quiet(host, stack, ca, tmp_path):
    admin = admin_host(stack, host.account, tmp_path)
    watch_pairs(host)
    host.configure(**{"agent.heartbeat": "300ms"})
    host.start()
    kid = host.sender.kid

    def quiet():
        return [a["kid"] for a in admin.json(0, "agents", "--quiet-only", "--quiet-after", "2s")["agents"]]
    wait_until(lambda: any(a["kid"] == kid and "heartbeat" in a for a in admin.json(0, "agents")["agents"]), PATIENCE_S, "a heartbeat")
    wait_until(lambda: quiet() == [], PATIENCE_S, "no quiet agent")
    partition = ev.partition_of(host.account.id, stack.partitions)

    def metrics():
        """Living agents, quiet ones (those of other tests, too), and the age of the oldest heartbeat."""
        text = stack.http("/metrics")[1]
        found = (re.search(rf'^certsync_partition_{name}\{{partition="{partition}"{more}\}} (\S+)$', text, re.M) for name, more in
                 (("agents", ',state="alive"'), ("agents", ',state="quiet"'), ("oldest_heartbeat_seconds", "")))
        return [float(f[1]) if f else None for f in found]
    alive, others, _ = wait_until(lambda: (m := metrics())[0] == 1 and m, PATIENCE_S, "a living agent in the metrics")
    host.stop()
    _, silent, oldest_s = wait_until(lambda: (m := metrics())[0] == 0 and m, PATIENCE_S, "no living agent in the metrics")
    assert silent == others + alive and oldest_s >= 2
    wait_until(lambda: quiet() == [kid], PATIENCE_S, "a quiet agent")
    assert "QUIET" in admin.expect(0, "agents", "--quiet-after", "1s")
