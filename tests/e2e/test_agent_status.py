# SPDX-License-Identifier: Apache-2.0
"""`certsync status` says what a person must know: each section with its counts and reasons, and "well" only while it is."""

import fcntl
import json
import os
import time

import pytest
from cryptography.hazmat.primitives import serialization

from chaos import trouble
from support import events as ev
from support.host import AgentHost, admin_host, put_pair, watch_pairs
from support.proc import PATIENCE_S, wait_until


@pytest.fixture(scope="module")
def ca():
    return ev.Authority("Status Root")


@pytest.fixture
def host(stack, tmp_path):
    agent = AgentHost(stack, stack.account(), tmp_path / "host")
    yield agent
    if agent.process:
        agent.process.kill()


def section(host, name):
    return next(s for s in host.status()["sections"] if s["name"] == name)


def wait_found(host, name, words):
    """The section counts it as failed, says why, and status is not content."""
    def there():
        status = host.status()
        mine = next(s for s in status["sections"] if s["name"] == name)
        said = [p for p in mine["problems"] if words in p]
        return said and mine["failed"] >= 1 and status["failed"] >= 1 and status["exit"] == 1 and said[0]
    try:
        return wait_until(there, PATIENCE_S, words)
    except AssertionError as e:
        raise AssertionError(f"{e}\n{json.dumps(host.status(), indent=1)}") from e


def wait_well(host):
    return host.wait_status(lambda s: s["exit"] == 0 and not s["certificates"]["new"] and not s["certificates"]["sent"], "a host on which all is well")


def test_no_section_at_all(host, ca):
    host.start()
    attention = host.wait_status(lambda s: s["attention"], "the reason")["attention"]
    assert attention[0]["what"] == "settings" and "[watch NAME]" in attention[0]["message"]
    said = host.expect(1, "status", words=["ATTENTION", "no file is watched"])
    assert "running" in said
    # Settings that cannot be read leave it at that, and say so, until they can.
    tls = watch_pairs(host)
    put_pair(tls, "www", ca)
    host.configure(**{"agent.custodian": host.dir / "gone.pub"})
    host.process.popen.send_signal(1)
    host.wait_status(lambda s: any("gone.pub" in a["message"] for a in s["attention"]), "refused settings")
    host.configure()
    host.process.popen.send_signal(1)
    host.wait_version("www", 1)
    wait_well(host)
    host.expect(0, "status", words=["[watch files] 1 certificate: 1 registered, 0 failed"])
    host.stop()
    host.expect(3, "status", words=["not running", "what follows was so at"])


def test_paths_that_find_nothing(host, ca):
    d = host.dir
    for made in ("empty", "mount", "long"):
        (d / made).mkdir()
    (d / "file").write_text("x")
    (d / "loop").symlink_to("loop")
    host.watch("missing", certificate=d / "gone/{name}.crt", key=d / "gone/{name}.key")
    host.watch("missing_pairs", pairs=d / "gone_pairs")
    host.watch("empty", certificate=d / "empty/{name}.crt", key=d / "empty/{name}.key")
    host.watch("mount", preset="kubernetes", path=d / "mount")
    host.watch("file", certificate=d / "file/{name}.crt", key=d / "file/{name}.key")
    host.watch("loop", certificate=d / "loop/{name}.crt", key=d / "loop/{name}.key")
    host.watch("long", certificate=d / "long/{name}.crt", key=d / "long/{name}.key")
    put_pair(d / "long", "n" * 129, ca)
    host.start()
    assert str(d / "gone") in wait_found(host, "missing", "there is no such directory")
    assert str(d / "gone_pairs") in wait_found(host, "missing_pairs", "No such file or directory")
    assert str(d / "empty/{name}.crt") in wait_found(host, "empty", "no file is there that this stands for")
    assert str(d / "mount/tls.crt") in wait_found(host, "mount", "there is no such file")
    assert str(d / "file") in wait_found(host, "file", "is not a directory")
    assert str(d / "loop") in wait_found(host, "loop", "cannot be read: Too many levels of symbolic links")
    wait_found(host, "long", "129 characters")
    said = host.expect(1, "status", words=["[watch missing] 0 certificates: 0 registered, 1 failed", "there is no such directory"])
    assert said.count("[watch ") == 7
    # All of it is mended without a restart, and told so.
    (d / "loop").unlink()
    (d / "file").unlink()
    for name in ("gone", "empty", "file", "loop"):
        put_pair(d / name, f"{name}.example.com", ca)
    (d / "gone_pairs").mkdir()
    put_pair(d / "gone_pairs", "pairs.example.com", ca)
    for ending in ("crt", "key"):
        os.rename(d / f"long/{'n' * 129}.{ending}", d / f"long/short.{ending}")
    key = ev.new_key()
    ev.write_private(key, d / "mount/tls.key")
    (d / "mount/tls.crt").write_bytes(ev.pem_of(ca.issue(key.public_key())))
    wait_well(host)
    assert len(host.catalog()) == 7
    host.stop()


def test_files_that_belong_to_nothing_or_cannot_be_taken(host, ca):
    d = host.dir
    pairs, tls = d / "pairs", watch_pairs(host)
    host.watch("pairs", pairs=pairs)
    put_pair(pairs, "well", ca)
    put_pair(tls, "well2", ca)
    ev.write_private(ev.new_key(), pairs / "lonely.key")
    (pairs / "binary.crt").write_bytes(ca.issue(ev.new_key().public_key()))
    (pairs / "huge.pem").write_bytes(b"x" * (1 << 20))
    (pairs / "damaged.pem").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    secret = ev.new_key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                        serialization.BestAvailableEncryption(b"x"))
    (pairs / "secret.key").write_bytes(secret)
    (pairs / "README").write_text("This directory contains your keys and certificates.")
    (pairs / "ca.pem").write_bytes(ev.pem_of(ca.der))
    (pairs / "old").mkdir()
    os.mkfifo(pairs / "fifo")
    put_pair(pairs, "keyless", ca)
    (pairs / "keyless.key").unlink()
    if os.geteuid() == 0:
        put_pair(pairs, "foreign", ca)
        os.chown(pairs / "foreign.crt", 12345, 12345)
        os.chown(pairs / "foreign.key", 12345, 12345)
    ev.write_private(ev.new_key(), tls / "orphan.key")
    host.start()
    host.wait_version("well", 1)
    for name, words in (("pairs", "lonely.key: it is a key without a certificate"), ("pairs", "binary.crt: it is not PEM"),
                        ("pairs", "huge.pem: it has 1048576 bytes"), ("pairs", "damaged.pem"), ("pairs", "secret.key: the private key is encrypted"),
                        ("pairs", "fifo: it is a FIFO"), ("files", "orphan.key: it is a key without a certificate")):
        wait_found(host, name, words)
    host.wait_problem("keyless", "waiting", "key.missing")
    if os.geteuid() == 0:
        wait_found(host, "pairs", "foreign.crt: it belongs to user 12345")
        wait_found(host, "pairs", "foreign.key: it belongs to user 12345")
    else:
        print("not root: files of another user cannot be made here")
    said = section(host, "pairs")["problems"]
    assert not [p for p in said if "README" in p or "ca.pem" in p or "old" in p or "well" in p], said
    for name in ("lonely.key", "binary.crt", "huge.pem", "damaged.pem", "secret.key", "fifo", "keyless.crt"):
        (pairs / name).unlink()
    for ending in ("crt", "key"):
        (pairs / f"foreign.{ending}").unlink(missing_ok=True)
    put_pair(tls, "orphan", ca)
    wait_well(host)
    # What is left behind by a certificate that goes is seen, too.
    (tls / "orphan.crt").unlink()
    wait_found(host, "files", "orphan.key: it is a key without a certificate")
    host.stop()


def test_what_is_registered_and_not_well(host, stack, ca):
    tls = watch_pairs(host)
    kept = put_pair(tls, "broken", ca)
    put_pair(tls, "ends", ca)
    put_pair(tls, "chained", ev.Authority("Short Root", days=400), days=5000)  # its chain ends long before it
    host.start()
    host.wait_version("broken", 1)
    host.wait_version("ends", 1)
    host.wait_version("chained", 1)
    host.wait_quiet()
    # A renewal that failed half way: the next key, and no certificate to it.
    ev.write_private(ev.new_key(), tls / "broken.key")
    assert "renewal" in host.wait_problem("broken", "waiting", "key.mismatch")["message"]
    assert host.run("status").returncode == 1
    ev.write_private(kept, tls / "broken.key")
    wait_until(lambda: host.problem("broken") is None, PATIENCE_S, "a key that fits again")
    (tls / "broken.key").unlink()
    host.wait_problem("broken", "waiting", "key.missing")
    ev.write_private(kept, tls / "broken.key")
    wait_until(lambda: host.problem("broken") is None, PATIENCE_S, "the key")
    # Ten years on, as this host's clock has it.
    host.wait_quiet()
    host.stop()
    host.start(env=trouble.clock(10))
    said = host.wait_problem("ends", "expired", "cert.expired")
    assert "was not renewed" in said["message"]
    assert "a CA certificate of its chain" in host.wait_problem("chained", "expired", "chain.expired")["message"]
    assert host.status()["failed"] == 3 and section(host, "files")["registered"] == 0
    host.expect(1, "status", words=["expired", "cert.expired", "chain.expired"])
    host.stop()
    host.start()
    wait_well(host)
    # Older than what the catalog has: counted, and told to the platform by the heartbeat.
    put_pair(tls, "broken", ca, start=-20)
    host.wait_problem("broken", "older", "replace.older")
    assert host.status()["failed"] == 1 and section(host, "files")["failed"] == 1
    host.stop()
    host.configure(**{"agent.heartbeat": "1s"})
    host.start()

    def beat():
        status, body = stack.http(f"/v1/accounts/{host.account.id}/agents", stack.token(stack.auditor, "*"))
        return status == 200 and next((a["heartbeat"] for a in body["agents"] if a["kid"] == host.sender.kid and "heartbeat" in a), None)

    wait_until(lambda: (b := beat()) and b["failed"] == 1, PATIENCE_S, "the heartbeat")
    host.stop()


def test_a_chain_that_ended_is_told_until_another_is_there(host, ca):
    tls = watch_pairs(host)
    ended = ev.Authority("Renewed Root", start=-10, days=-1)
    put_pair(tls, "chained", ended)
    host.configure(**{"agent.rescan": "2s"})  # with which the catalog is asked again
    host.start()
    said = host.wait_problem("chained", "expired", "chain.expired")
    assert "a CA certificate of its chain" in said["message"]
    host.wait_quiet()
    assert host.expect(1, "status", words=["chain.expired"])
    assert "expired" in host.new_log() and "code=chain.expired" in host.new_log()
    # The CA's certificate is renewed, and sent by hand: the catalog says so, and the files need not.
    leaf = (tls / "chained.crt").read_text().partition("-----END CERTIFICATE-----")
    root = ended.issue(ended.key.public_key(), subject=ended.name, ca=True, names=None, days=3650)
    (host.dir / "full.pem").write_bytes((leaf[0] + leaf[1] + "\n").encode() + ev.pem_of(root))
    host.expect(0, "upload", "chained", "--cert", "full.pem", "--key-file", tls / "chained.key", "--replace", "--force")
    wait_well(host)
    host.stop()


def test_what_the_agent_lives_by(host, ca):
    """Kafka and the API away, directories that cannot be watched, damaged files in the spool."""
    tls = watch_pairs(host)
    put_pair(tls, "www", ca)
    host.configure(**{"kafka.brokers": "127.0.0.1:1", "api.url": "http://127.0.0.1:1"})
    host.start()
    host.wait_status(lambda s: {"kafka", "api"} <= {a["what"] for a in s["attention"]} and s["exit"] == 1, "both failing")
    host.stop()
    host.configure()
    limit = "echo 0 > /proc/sys/user/max_inotify_watches && exec \"$@\""
    host.start(within=["unshare", "--user", "--map-root-user", "sh", "-c", limit, "sh"])
    said = host.wait_status(lambda s: any(a["what"] == "watching" for a in s["attention"]), "the limit")
    assert any("fs.inotify.max_user_watches" in a["message"] for a in said["attention"]) and said["exit"] == 1
    host.wait_version("www", 1)
    host.stop()
    host.start()
    wait_well(host)
    spool = next(p for p in (host.dir / "spool").iterdir() if p.is_dir())
    (spool / "quarantine").mkdir()
    (spool / "quarantine/0000000000000009.1.events").write_text("damaged")
    put_pair(tls, "new", ca)
    host.wait_status(lambda s: any("quarantine" in a["message"] for a in s["attention"]) and s["exit"] == 1, "the quarantine")
    host.stop()


def test_a_key_that_was_revoked(host, stack, ca, tmp_path):
    """The API lets it in no more. A host that has nothing to send learns that, too, and after a restart."""
    tls = watch_pairs(host)
    put_pair(tls, "www", ca)
    host.configure(**{"agent.heartbeat": "300ms"})
    host.start()
    host.wait_version("www", 1)
    wait_well(host)
    admin_host(stack, host.account, tmp_path).expect(0, "agent", "revoke", host.sender.kid)
    host.wait_status(lambda s: s["exit"] == 1 and any(a["what"] == "api" for a in s["attention"]), "the refusal")
    host.stop()
    host.start()
    host.wait_status(lambda s: s["exit"] == 1 and s["api"]["state"] == "failing", "the refusal of the listing")
    host.stop()


def test_a_status_that_is_old(host):
    """An agent that hangs: it holds its lock, and writes nothing any more. Written as it would be, since it takes minutes."""
    spool = host.dir / "spool"
    spool.mkdir()
    status, lock = (spool / f"agent.{host.account.id}.{ending}" for ending in ("status", "lock"))
    now_ms = int(time.clock_gettime(time.CLOCK_MONOTONIC) * 1000)

    def say(alive_ms):
        status.write_text(json.dumps({"version": "1", "account": host.account.id, "kid": "k", "written": "2026-01-01T00:00:00Z", "alive_ms": alive_ms,
                                      "last_scan": "2026-01-01T00:00:00Z", "problems": [], "attention": [], "sections": [], "failed": 0,
                                      "kafka": {"state": "ok"}, "spool": {"events": 0, "to_publish": 0}, "certificates": {}}))

    with open(lock, "w") as held:
        fcntl.lockf(held, fcntl.LOCK_EX)
        host.expect(3, "status", words=["is starting"])
        say(now_ms)
        assert host.json(0, "status")["state"] == "running"
        say(now_ms - 200_000)
        assert host.json(1, "status")["state"] == "hanging"
        host.expect(1, "status", words=["HANGS", "2026-01-01T00:00:00Z", "systemctl restart"])
        say(now_ms + 3_600_000)  # of before the machine was started
        assert host.json(1, "status")["state"] == "hanging"
    assert host.json(3, "status")["state"] == "stopped"


def test_counts_read_as_a_sentence(host):
    """What a person sees of numbers: nothing of what is none, commas between the rest."""
    spool = host.dir / "spool"
    spool.mkdir()
    sections = [{"name": "web", "certificates": 6, "registered": 3, "waiting": 2, "failed": 1, "problems": ["a", "b"], "problems_total": 5},
                {"name": "mail", "certificates": 1, "registered": 1, "waiting": 0, "failed": 0, "problems": [], "problems_total": 0}]
    (spool / f"agent.{host.account.id}.status").write_text(json.dumps({
        "version": "1", "account": host.account.id, "kid": "k", "written": "2026-01-01T00:00:00Z", "alive_ms": 1, "last_scan": "2026-01-01T00:00:00Z",
        "problems": [], "attention": [], "sections": sections, "failed": 1, "kafka": {"state": "ok"}, "spool": {"events": 2, "to_publish": 1},
        "certificates": {"new": 2, "sent": 0, "registered": 4, "failed": 1}}))
    said = host.expect(3, "status").splitlines()
    assert "certificates  2 new, 4 registered, 1 failed" in said
    assert "sections      [watch web] 6 certificates: 3 registered, 2 waiting, 1 failed" in said
    assert said[said.index("sections      [watch web] 6 certificates: 3 registered, 2 waiting, 1 failed") + 3].strip() == "and 3 more; the log names them all"
    assert "              [watch mail] 1 certificate: 1 registered, 0 failed" in said
    assert "spool         2 events, 1 to be published" in said
