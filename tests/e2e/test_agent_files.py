# SPDX-License-Identifier: Apache-2.0
"""`certsync agent` and the files it reads: SM2 pairs, what is refused, changes that nobody tells of, a full disk."""

import os
import subprocess
from contextlib import contextmanager

import pytest

from support import events as ev
from support.host import AgentHost, put_pair, watch_pairs
from support.proc import PATIENCE_S, wait_until


@pytest.fixture(scope="module")
def ca():
    return ev.Authority("Files Root")


@pytest.fixture
def host(stack, tmp_path):
    agent = AgentHost(stack, stack.account(), tmp_path / "host")
    yield agent
    if agent.process:
        agent.process.kill()


@contextmanager
def small_disk(directory, options):
    """A tmpfs of its own there."""
    directory.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(directory)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


def put_sm2(directory, name, pair):
    """As a GM CA's client lays it out: signing and encryption certificate with their keys, the CA beside them."""
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.enc.key").write_bytes(pair.encrypt_key.pem)
    (directory / f"{name}.enc.crt").write_bytes(ev.pem_of(pair.encrypt_der))
    (directory / f"{name}.ca").write_bytes(ev.pem_of(pair.ca_der))
    (directory / f"{name}.sign.key").write_bytes(pair.sign_key.pem)
    (directory / f"{name}.sign.crt").write_bytes(ev.pem_of(pair.sign_der))


def test_sm2_pairs(host, stack):
    gm = host.dir / "gm"
    host.watch("gm", certificate=gm / "{name}.sign.crt", key=gm / "{name}.sign.key", chain=gm / "{name}.ca",
               encrypt_certificate=gm / "{name}.enc.crt", encrypt_key=gm / "{name}.enc.key", encrypt_chain=gm / "{name}.ca")
    host.start()
    put_sm2(gm, "bank", ev.Sm2Pair())
    _, first = host.wait_version("bank", 1)
    seen = stack.names(host.account)["bank"]
    assert seen["algorithm"] == "sm2" and [leaf["use"] for leaf in seen["leaves"]] == ["sign", "encrypt"]
    put_sm2(gm, "bank", ev.Sm2Pair())
    assert host.wait_version("bank", 2)[1] == first
    host.wait_quiet()
    same = ev.Sm2Pair(same_key=True)
    put_sm2(gm, "wrong", same)
    host.wait_problem("wrong", "refused", "sm2.same_key")
    late = ev.Sm2Pair(cn="late.example.com")
    put_sm2(gm, "late", late)
    (gm / "late.enc.crt").unlink()
    wait_until(lambda: (p := host.problem("late")) and "encryption certificate" in p["message"] or "late" in host.catalog(), PATIENCE_S,
               "what is missing")
    (gm / "late.enc.crt").write_bytes(ev.pem_of(late.encrypt_der))
    host.wait_version("late", 1)
    host.wait_quiet()
    before = host.events()
    host.stop()
    host.start()
    host.wait_status(lambda s: s["certificates"]["registered"] == 2, "both pairs")
    host.stop()
    assert host.events() == before


def test_links_owners_and_devices_as_the_section_says(host, ca):
    tls = watch_pairs(host, links="no")
    put_pair(host.dir / "elsewhere", "linked", ca)
    for ending in ("crt", "key"):
        (tls / f"linked.{ending}").symlink_to(host.dir / f"elsewhere/linked.{ending}")
    put_pair(tls, "device", ca)
    (tls / "device.key").unlink()
    os.mkfifo(tls / "device.key")
    put_pair(tls, "directory", ca)
    (tls / "directory.key").unlink()
    (tls / "directory.key").mkdir()
    root = os.geteuid() == 0
    if root:
        put_pair(tls, "foreign", ca)
        os.chown(tls / "foreign.crt", 12345, 12345)
    host.start()
    assert "symbolic link" in host.wait_problem("linked", "refused")["message"]
    assert "FIFO" in host.wait_problem("device", "refused")["message"]
    assert "directory" in host.wait_problem("directory", "refused")["message"]
    if root:
        assert "12345" in host.wait_problem("foreign", "refused")["message"]
    assert host.events() == 0
    host.watch("files", certificate=tls / "{name}.crt", key=tls / "{name}.key", owners="*")
    host.stop()
    host.start()
    host.wait_version("linked", 1)
    if root:
        host.wait_version("foreign", 1)
    host.stop()


def test_more_changes_than_the_kernel_tells(host, ca):
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as f:
        queue = int(f.read())
    if queue > 100000:
        pytest.skip(f"the kernel's queue is large here: {queue}")
    tls = watch_pairs(host)
    put_pair(tls, "www", ca, start=-3)
    host.start()
    host.wait_version("www", 1)
    host.process.pause()
    for _ in range(queue // 2 + 100):
        (tls / "noise").touch()
        (tls / "noise").unlink()
    put_pair(tls, "www", ca, start=-2)  # of this nothing is told
    put_pair(tls, "new", ca)
    host.process.resume()
    host.wait_version("www", 2)
    host.wait_version("new", 1)
    assert "overflowed" in host.new_log()
    host.stop()


def test_a_file_system_that_does_not_tell(host, ca):
    """As on NFS: what is mounted over a watched directory is another one, and the kernel says nothing of its changes."""
    tls = watch_pairs(host)
    host.configure(**{"agent.rescan": "1s"})
    put_pair(tls, "www", ca, start=-3)
    host.start()
    host.wait_version("www", 1)
    with small_disk(tls, "size=1m"):
        put_pair(tls, "www", ca, start=-2)
        host.wait_version("www", 2)
        put_pair(tls, "www", ca, start=-1)
        host.wait_version("www", 3)
        host.stop()


def test_what_the_kernel_does_not_tell(host, ca):
    """A file written through another hard link, and mounts over a file and over its directory: in a mount namespace of the agent's own."""
    tls, aside, over = watch_pairs(host), host.dir / "aside", host.dir / "over"
    put_pair(tls, "www", ca, start=-5)
    host.start(within=["unshare", "--user", "--map-root-user", "--mount", "--propagation", "private"])
    host.wait_version("www", 1)

    def inside(*command):
        subprocess.run(["nsenter", "--target", str(host.process.pid), "--user", "--mount", "--preserve-credentials", *map(str, command)], check=True)

    aside.mkdir()
    for ending in ("key", "crt"):
        os.link(tls / f"www.{ending}", aside / f"www.{ending}")
    host.wait_quiet()
    new = put_pair(host.dir / "new", "www", ca, start=-4)
    (aside / "www.key").write_bytes(ev.private_pem(new))  # in place: it is the watched file, too
    (aside / "www.crt").write_bytes((host.dir / "new/www.crt").read_bytes())
    host.wait_version("www", 2)
    put_pair(over, "www", ca, start=-3)
    for ending in ("key", "crt"):
        inside("mount", "--bind", over / f"www.{ending}", tls / f"www.{ending}")
    host.wait_version("www", 3)
    # What is mounted is written in place, as a container's platform does it.
    new = put_pair(host.dir / "new", "www", ca, start=-2)
    (over / "www.key").write_bytes(ev.private_pem(new))
    (over / "www.crt").write_bytes((host.dir / "new/www.crt").read_bytes())
    host.wait_version("www", 4)
    put_pair(host.dir / "all", "www", ca, start=-1)
    put_pair(host.dir / "all", "second", ca)
    inside("mount", "--bind", host.dir / "all", tls)
    host.wait_version("www", 5)
    host.wait_version("second", 1)
    host.wait_quiet()
    assert host.events() == 6  # each was seen once
    host.stop()


def test_vanishing_files(host, ca):
    """Certificates that come and go under the reader, all the time; one that stays is registered, and nothing else is said."""
    tls = watch_pairs(host)
    host.configure(**{"agent.debounce": "0"})
    host.start()
    for i in range(60):
        put_pair(tls, f"c{i % 3}", ca)
        (tls / f"c{i % 3}.crt").unlink()
        (tls / f"c{i % 3}.key").unlink()
    put_pair(tls, "stays", ca)
    host.wait_version("stays", 1)
    host.wait_quiet()
    assert host.status()["problems"] == []
    host.stop()


def test_a_full_disk(host, ca):
    """The spool's own disk: what was accepted stays, nothing is half kept, and it goes on once there is room."""
    tls = watch_pairs(host)
    with small_disk(host.dir / "spool", "size=512k,nr_inodes=500,mode=700") as spool:
        host.configure(**{"kafka.brokers": "127.0.0.1:1"})
        host.start()
        filler = spool / "filler"
        with open(filler, "wb", buffering=0) as out:
            try:
                while True:
                    out.write(b"x" * 4096)
            except OSError:
                pass
        with open(filler, "r+b") as out:  # room for a few events
            out.truncate(filler.stat().st_size - 24 * 1024)
        for i in range(12):
            put_pair(tls, f"c{i:02d}", ca)
        wait_until(lambda: "the spool takes nothing" in host.new_log(), PATIENCE_S, "a full disk")
        assert "No space left" in host.new_log() and "make room" in host.new_log()
        kept = [n for n in host.spooled() if n.endswith(" new")]
        assert 0 < len(kept) < 12
        host.process.kill()
        filler.unlink()
        host.configure()
        host.start()
        for i in range(12):
            host.wait_version(f"c{i:02d}", 1)
        host.wait_quiet()
        # Its register may be behind: then it tells once more that it has a certificate, and uploads nothing twice.
        assert host.events("certificate.upload.v1") == 12
        host.stop()
