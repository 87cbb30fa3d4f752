# SPDX-License-Identifier: Apache-2.0
"""Snapshots of a running system's catalogs: judging goes on from them, and one that lies is refused, or named by verify."""
import base64
import hashlib
import json
import shutil
import subprocess

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from support import events as ev
from support.proc import PATIENCE_S, wait_until
from support.stack import Stack, consumer_binary

AUTHORITY = ev.Authority("Snapshots CA")


def upload(account, name):
    key = ev.new_key()
    return account.agent.upload(account.id, name, key, [AUTHORITY.issue(key.public_key()), AUTHORITY.der])


def sign(service, log_id, text):
    """A note as whoever has the service key makes it."""
    secret = service.private_numbers().private_value.to_bytes(32, "big")
    key = Ed25519PrivateKey.from_private_bytes(HKDF(hashes.SHA256(), 32, log_id.encode(), b"certsync checkpoint").derive(secret))
    public = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    name_hash = hashlib.sha256(log_id.encode() + b"\n\x01" + public).digest()[:4]
    return text + "\n\u2014 " + log_id + " " + base64.b64encode(name_hash + key.sign(text.encode())).decode() + "\n"


class World:
    """A deployment with two snapshots of each partition."""

    def __init__(self, stack, home):
        self.stack, self.home, self.dir = stack, home, home / "snapshots"
        self.sent = []
        names = [f"snapshots-{i}" for i in range(40)]
        self.accounts = [stack.account(next(n for n in names if ev.partition_of(n, 2) == p), owner="snapshots") for p in range(2)]
        self.first = self.more("a", 4) and self.snapshot()
        self.second = self.more("b", 3) and self.snapshot()

    def more(self, name, n):
        for account in self.accounts:
            for i in range(n):
                self.sent.append(upload(account, f"{name}{i}"))
                assert self.stack.judge(self.sent[-1])["status"] == "applied"
        return True

    def run(self, *args, code=0):
        done = subprocess.run([consumer_binary(), *map(str, args), "--config", self.stack.config], capture_output=True, text=True,
                              timeout=120, check=False)
        assert done.returncode == code, f"exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr}"
        return done

    def snapshot(self, *args):
        return json.loads(self.run("snapshot", "--json", "--keep", "0", "--dir", self.dir, *args).stdout)["snapshots"]

    def verify(self, directory, code=0):
        return json.loads(self.run("verify", "--json", "--snapshots", directory, code=code).stdout)

    def dumps(self, to):
        to.mkdir()
        for topic in (self.stack.outcomes_topic, self.stack.events_topic):
            with open(to / topic.rsplit(".", 1)[1], "wb") as out:
                subprocess.run(["kcat", "-C", "-J", "-e", "-q", "-b", self.stack.kafka.bootstrap, "-t", topic, "-o", "beginning"],
                               stdout=out, check=True, timeout=60)
        return ["--events", to / "events", "--outcomes", to / "outcomes"]


@pytest.fixture(scope="module")
def world(tmp_path_factory, kafka):
    home = tmp_path_factory.mktemp("snapshots")
    with Stack(home / "s", partitions=2, kafka=kafka, prefix="snapshots.") as stack:
        stack.run_consumer()
        yield World(stack, home)


@pytest.fixture
def copy(world, tmp_path):
    """The directory, to do something to it; and the two files of the newest snapshot of partition 0."""
    shutil.copytree(world.dir, tmp_path / "copy")
    newest = sorted((tmp_path / "copy" / "0").glob("*.note"))[-1]
    return tmp_path / "copy", newest.with_suffix(".snap"), newest


def test_it_goes_on_from_the_newest(world):
    for before, now in zip(world.first, world.second):
        assert before["from"] == 0 and before["judged"] == before["outcomes"] == before["offset"] and before["bytes"] > 0
        assert now["from"] == before["outcomes"] and now["judged"] == now["outcomes"] - before["outcomes"] > 0
    found = world.verify(world.dir)
    assert found["ok"] and found["snapshots"] == 4 and found["refused_snapshots"] == 0
    again = world.snapshot("--partition", "1")
    assert [(a["partition"], a["judged"], a["bytes"]) for a in again] == [(1, 0, 0)]
    said = world.run("snapshot", "--keep", "0", "--dir", world.dir).stdout
    assert "partition 0: nothing new since" in said
    assert "4 snapshots are stated as the replay is" in world.run("verify", "--snapshots", world.dir).stdout


def test_a_file_is_what_its_statement_says(world):
    """Without any code of ours: zstd and SHA-256."""
    for note in world.dir.glob("*/*.note"):
        lines = note.read_text().splitlines()
        unpacked = subprocess.run(["zstd", "-dc", note.with_suffix(".snap")], capture_output=True, check=True, timeout=60).stdout
        assert lines[4] == "catalog " + base64.b64encode(hashlib.sha256(unpacked).digest()).decode()
        assert unpacked.startswith(f"certsync snapshot 1\n{lines[0]}\n".encode()) and unpacked[-1:] == b"e"


def test_few_new_outcomes_and_old_snapshots(world, copy, monkeypatch):
    directory, snap, _ = copy
    few = json.loads(world.run("snapshot", "--json", "--dir", directory, "--every", "1000000").stdout)["snapshots"]
    assert [(m["judged"], m["bytes"], m["removed"]) for m in few] == [(0, 0, 1)] * 2  # of one stretch the last stays
    assert [n.name for n in sorted(directory.glob("0/*"))] == [snap.with_suffix(".note").name, snap.name]
    assert "outcomes since the last snapshot" in world.run("snapshot", "--dir", directory, "--every", "1000000").stdout
    monkeypatch.setenv("CERTSYNC_SNAPSHOT_CHECKED", "1")
    for keep, left in ((2, 2), (1, 1)):
        shutil.copytree(world.dir, directory, dirs_exist_ok=True)
        world.run("snapshot", "--dir", directory, "--keep", keep, "--every", "1000000")
        assert len(list(directory.glob("0/*.note"))) == len(list(directory.glob("0/*.snap"))) == left


def flip(snap, _):
    data = bytearray(snap.read_bytes())
    data[len(data) // 2] ^= 1
    snap.write_bytes(data)


def lie(change):
    """Of another's catalog, and signed by nobody who may."""
    def bend(_, note):
        note.write_text(change(note.read_text()))
    return bend


def from_other_partition(snap, note):
    other = sorted((snap.parent.parent / "1").glob("*.note"))[0]
    shutil.copy(other, note)
    shutil.copy(other.with_suffix(".snap"), snap)


def older_file(snap, _):
    shutil.copy(sorted(snap.parent.glob("*.snap"))[0], snap)


@pytest.mark.parametrize("bend, says", [
    (flip, "damaged"),
    (lambda snap, _: snap.write_bytes(snap.read_bytes()[:-9]), "it was cut"),
    (lambda snap, _: snap.write_bytes(b""), "it was cut"),
    (lambda snap, _: snap.unlink(), "No such file"),
    (older_file, "another catalog than its statement"),
    (from_other_partition, "/partitions/1/snapshot, not of"),
    (lie(lambda text: text.replace("catalog ", "catalog A", 1)), "was altered"),
    (lie(lambda text: text[:-20]), "note"),
    (lie(lambda text: sign(ev.new_key(), text.split("/")[0], text.split("\n\n")[0] + "\n")), "has not signed it"),
], ids=["flipped", "cut", "empty", "gone", "an older file", "another partition's", "altered statement", "cut statement", "another key's"])
def test_a_snapshot_that_lies_is_not_used(world, copy, bend, says):
    directory, snap, note = copy
    whole = snap.read_bytes(), note.read_bytes()
    bend(snap, note)
    done = world.run("snapshot", "--json", "--keep", "0", "--dir", directory, "--partition", "0")
    assert "is not used: " in done.stderr and says in done.stderr
    assert f"partition 0 goes on from the snapshot of {world.first[0]['outcomes']} outcomes" in done.stderr
    made, = json.loads(done.stdout)["snapshots"]
    assert made["from"] == world.first[0]["outcomes"] and made["outcomes"] == world.second[0]["outcomes"]
    assert whole == (snap.read_bytes(), note.read_bytes())  # it is a function of the log


def test_without_a_good_one_it_begins_at_the_first_record(world, copy):
    directory = copy[0]
    for snap in directory.glob("0/*.snap"):
        flip(snap, None)
    done = world.run("snapshot", "--json", "--keep", "0", "--dir", directory, "--partition", "0")
    assert done.stderr.count("is not used") == 2 and "partition 0 is judged from its first record" in done.stderr
    assert json.loads(done.stdout)["snapshots"][0]["from"] == 0


def test_one_that_is_not_at_a_place_of_this_log(world, copy, tmp_path):
    """The log was cut, or a record of it is another one, after the snapshot was made."""
    dumps = world.dumps(tmp_path / "dumps")
    lines = (tmp_path / "dumps" / "events").read_bytes().splitlines(keepends=True)
    last = world.second[0]["offset"] - 1
    at = next(i for i, line in enumerate(lines) if (r := json.loads(line))["partition"] == 0 and r["offset"] == last)
    for other, says in ((b"", "is not there"), (lines[at].replace(b'"ts":1', b'"ts":2', 1), "is another one")):
        (tmp_path / "dumps" / "events").write_bytes(b"".join(lines[:at] + [other] + lines[at + 1:]))
        done = world.run("snapshot", "--keep", "0", "--dir", copy[0], "--partition", "0", *dumps, code=1)
        assert "it is not of this log: the record at its offset " + says in done.stderr
        assert "goes on from the snapshot of" in done.stderr
        # What was published is of another record, so nothing is signed.
        assert "no snapshot was made of it" in done.stderr or "is of no record" in done.stderr
    outcomes = (tmp_path / "dumps" / "outcomes").read_bytes().splitlines(keepends=True)
    (tmp_path / "dumps" / "events").write_bytes(b"".join(lines))
    (tmp_path / "dumps" / "outcomes").write_bytes(
        b"".join(line for line in outcomes if (r := json.loads(line))["partition"] == 1 or r["offset"] < last))
    done = world.run("snapshot", "--keep", "0", "--dir", copy[0], "--partition", "0", *dumps)
    assert "it is not of this log: there are fewer outcomes" in done.stderr


@pytest.mark.parametrize("change, says", [
    (lambda lines: lines[:4] + ["catalog " + "A" * 43 + "="], "says another catalog"),
    (lambda lines: lines[:2] + ["A" * 43 + "="] + lines[3:], "is of other outcomes"),
    (lambda lines: [lines[0], "1000000", *lines[2:]], "is of more outcomes than there are"),
], ids=["catalog", "outcomes", "number"])
def test_verify_names_a_lie_that_is_signed(world, copy, change, says):
    """By whoever has the service key. It is evidence against him."""
    directory, _, note = copy
    lines = change(note.read_text().split("\n\n")[0].splitlines())
    note.unlink()
    note = note.with_name(f"{int(lines[1]):020}.note")
    note.write_text(sign(world.stack.service, world.stack.log_id, "\n".join(lines) + "\n"))
    fault = world.verify(directory, code=1)["fault"]
    assert fault["kind"] == "snapshot" and fault["partition"] == 0 and says in fault["message"] and note.name in fault["message"]


def without(told):
    """What is told of the way, not of the result."""
    return {k: v for k, v in told.items() if k not in ("snapshot", "judged")}


def test_show_before_between_and_after(world):
    """The same as judged from the first record, at each offset."""
    used = set()
    for partition, account in enumerate(world.accounts):
        for made in (world.first, world.second):
            for offset in range(made[partition]["offset"] - 1, made[partition]["offset"] + 2):
                plain, fast = (json.loads(world.run("show", account.id, "--json", "--at", offset, *more).stdout)
                               for more in ((), ("--snapshots", world.dir)))
                assert without(fast) == plain and "snapshot" not in plain
                taken = [s[partition]["outcomes"] for s in (world.first, world.second) if s[partition]["offset"] <= offset]
                assert fast.get("snapshot") == (taken[-1] if taken else None)
                used.add((partition, fast.get("snapshot")))
    assert len(used) == 6
    at_the_end = json.loads(world.run("show", account.id, "--json", "--snapshots", world.dir, "--at", "2100-01-01").stdout)
    assert at_the_end["snapshot"] == world.second[1]["outcomes"]
    assert "judged from the snapshot of" in world.run("show", account.id, "--snapshots", world.dir).stdout
    none = world.run("show", account.id, "--json", "--snapshots", world.dir, "--at", "2001-01-01", code=1)
    assert "did not exist then" in none.stdout


def test_explain_from_a_snapshot(world):
    used = 0
    for record in world.sent[::2]:
        plain, fast = (json.loads(world.run("explain", json.loads(record.value)["id"], "--json", *more).stdout)
                       for more in ((), ("--snapshots", world.dir)))
        assert without(fast) == without(plain)
        used += "snapshot" in fast
        assert "snapshot" not in fast or fast["judged"] < plain["judged"]
    assert used >= 3


def test_diff_from_a_snapshot(world):
    found = json.loads(world.run("diff", "--json", "--snapshots", world.dir).stdout)
    assert not found["differences"] and found["from_snapshot"] == 2 and found["keys"] > 0
    assert "judged from a snapshot" in world.run("diff", "--snapshots", world.dir).stdout


def empty_catalog(world, snap, note):
    """One without the accounts, under a statement with its hash, signed by whoever has the service key."""
    unpacked = subprocess.run(["zstd", "-dc", snap], capture_output=True, check=True, timeout=60).stdout
    head = b"\n".join(unpacked.split(b"\n", 3)[:3]) + b"\ne"
    lines = note.read_text().split("\n\n")[0].splitlines()
    lines[4] = "catalog " + base64.b64encode(hashlib.sha256(head).digest()).decode()
    note.write_text(sign(world.stack.service, world.stack.log_id, "\n".join(lines) + "\n"))
    snap.write_bytes(subprocess.run(["zstd", "-c"], input=head, capture_output=True, check=True, timeout=60).stdout)


def test_explain_does_not_believe_a_lie_that_is_signed(world, copy):
    """The published outcome does not come of it."""
    directory, snap, note = copy
    empty_catalog(world, snap, note)
    record = upload(world.accounts[0], "after-the-lie")
    assert world.stack.judge(record)["status"] == "applied"
    done = world.run("explain", json.loads(record.value)["id"], "--snapshots", directory)
    assert "the outcome does not come of the snapshot, which is not used" in done.stderr and "verdict  applied" in done.stdout
    assert "THE PUBLISHED OUTCOME" not in done.stdout


def test_what_is_asked_wrongly(world, tmp_path):
    assert "give --dir DIR, or set snapshot.dir" in world.run("snapshot", code=2).stderr
    assert "has the partitions 0 to 1" in world.run("snapshot", "--dir", tmp_path, "--partition", "2", code=2).stderr
    (tmp_path / "file").write_text("")
    assert str(tmp_path / "file") in world.run("snapshot", "--dir", tmp_path / "file", code=2).stderr
    without = world.run("snapshot", "--dir", tmp_path, "--service-key", tmp_path / "none", code=2).stderr
    assert "the service key signs snapshots" in without and str(tmp_path / "none") in without


# --- catalogs that are made again

CHECKED = 3


def rebuild(world, directory, *args):
    found = world.run("rebuild", "--json", "--afresh", "--snapshots", directory, *args)
    return json.loads(found.stdout.splitlines()[-1])["partitions"], found.stderr


@pytest.fixture
def followed(world, copy, monkeypatch):
    """So many outcomes are published behind the newest snapshot, too, as are compared at least."""
    monkeypatch.setenv("CERTSYNC_SNAPSHOT_CHECKED", str(CHECKED))
    assert world.more(f"followed-{len(world.sent)}-", CHECKED)
    return copy


def test_rebuild_from_a_snapshot(world, followed, monkeypatch):
    directory, snap, _ = followed
    parts, _ = rebuild(world, directory)
    assert [p["snapshot"] for p in parts] == [s["outcomes"] for s in world.second]
    assert "are what the log makes of them" in world.run("diff", "--next").stdout
    said = world.run("rebuild", "--afresh", "--snapshots", directory)
    assert "2 partitions began with a snapshot" in said.stdout and "partition 0 goes on from the snapshot of" in said.stderr
    parts, _ = rebuild(world, directory, "--whole")
    assert [p["snapshot"] for p in parts] == [0, 0]
    flip(snap, None)
    parts, said = rebuild(world, directory)
    assert parts[0]["snapshot"] == world.first[0]["outcomes"] and f"{snap} is not used: it is damaged" in said
    monkeypatch.setenv("CERTSYNC_SNAPSHOT_CHECKED", "100000")
    parts, _ = rebuild(world, directory)
    assert [p["snapshot"] for p in parts] == [0, 0]


def test_rebuild_from_a_lie(world, followed):
    directory, snap, note = followed
    empty_catalog(world, snap, note)
    parts, said = rebuild(world, directory)
    assert f"{snap} is not used: a fork at outcome" in said and parts[0]["snapshot"] == world.first[0]["outcomes"]
    assert "are what the log makes of them" in world.run("diff", "--next").stdout


@pytest.fixture
def restoring(world, followed):
    """A consumer that knows the snapshots, in place of the one that does not."""
    stack = world.stack
    stop = lambda: all(c.terminate() == 0 for c in stack.consumers if c.alive)
    assert stop()
    config = stack.write_config("restoring", stack.port, snapshot={"dir": followed[0], "checked": CHECKED})
    yield stack.run_consumer("restoring", config), config, *followed
    assert stop()
    stack.run_consumer("after")


def as_the_log_says(world):
    found = json.loads(world.run("verify", "--json", "--redis").stdout)
    assert found["ok"]


def said_of(consumer, *texts):
    return [line for line in consumer.tail(1_000_000).splitlines() if all(t in line for t in texts)]


def restored(consumer, partition, snapshot):
    return said_of(consumer, "the catalog is restored from a snapshot", f"partition={partition} ", f"snapshot={snapshot['outcomes']} ")


def test_recovery_from_a_snapshot(world, restoring):
    consumer, *_ = restoring
    world.stack.redis.client().flushall()
    wait_until(lambda: all(restored(consumer, p, world.second[p]) for p in range(2)), PATIENCE_S, "both to be restored")
    assert world.more(f"recovered-{len(world.sent)}-", 1)
    as_the_log_says(world)
    assert not said_of(consumer, "a snapshot is not used")
    # And what is damaged afterwards.
    client = world.stack.redis.client()
    client.delete(next(k for k in client.scan_iter("cs:{0}:*pos") if k.endswith(b":pos")))
    wait_until(lambda: len(restored(consumer, 0, world.second[0])) == 2, PATIENCE_S, "it to be restored again")
    assert world.more(f"healed-{len(world.sent)}-", 1)
    as_the_log_says(world)


def doubted(consumer, snap):
    return said_of(consumer, "a snapshot is not used", str(snap), "a fork")


def caught_up(consumer, partition):
    return said_of(consumer, "partition has caught up", f"partition={partition} ")


def test_recovery_from_a_lie(world, restoring):
    """Nothing that rests on it is published. What was restored is thrown away, for the older one."""
    consumer, _, _, snap, note = restoring
    empty_catalog(world, snap, note)
    before = world.stack.kafka.watermarks(world.stack.outcomes_topic, 0)
    world.stack.redis.client().flushall()
    wait_until(lambda: restored(consumer, 0, world.first[0]) and caught_up(consumer, 0), PATIENCE_S, "the older one")
    assert doubted(consumer, snap)
    assert world.stack.kafka.watermarks(world.stack.outcomes_topic, 0) == before
    assert world.more(f"lied-{len(world.sent)}-", 1)
    as_the_log_says(world)


def test_another_process_knows_what_a_catalog_was_restored_from(world, restoring):
    """One that died before all was compared has left a catalog that does not fit itself."""
    died, config, _, snap, _ = restoring
    died.kill()
    client = world.stack.redis.client()
    generation = int(client.get("cs:{0}:gen") or 1)
    client.set("cs:{0}:restored", f"{generation} {world.second[0]['outcomes']} 1000000")
    for key in client.scan_iter("cs:{0}:*account/*"):
        if world.accounts[0].id.encode() in key:
            client.set(key, b"planted")
    consumer = world.stack.run_consumer("next", config)
    assert world.more(f"crashed-{len(world.sent)}-", 1)
    assert restored(consumer, 0, world.first[0]) and not restored(consumer, 0, world.second[0])
    assert said_of(consumer, "a snapshot is not used", str(snap))
    as_the_log_says(world)
