# SPDX-License-Identifier: Apache-2.0
"""Outcomes that prove who wrote them: checkpoints, proofs, and a past that was rewritten, be it by the operator."""
import base64
import json
import os
import subprocess

import pytest

from support import events as ev
from support import sdk
from support.acme import NotThere
from support.proc import PATIENCE_S, REPO, wait_until
from support.stack import Stack, certsync_binary, consumer_binary

AUTHORITY = ev.Authority("Proof CA")


def upload(account, name):
    key = ev.new_key()
    return account.agent.upload(account.id, name, key, [AUTHORITY.issue(key.public_key()), AUTHORITY.der])


def call(*args, code=0, **how):
    done = subprocess.run([str(a) for a in args], capture_output=True, text=True, timeout=120, check=False, **how)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout if code == 0 else done.stdout + done.stderr


def uncovered(stack):
    text = stack.http("/metrics")[1]
    return [line for line in text.splitlines() if line.startswith("certsync_partition_outcomes_without_checkpoint{") and line[-2:] != " 0"]


class World:
    """A deployment that worked, whose head an auditor kept, and which worked on."""

    def __init__(self, stack, home):
        self.stack, self.home = stack, home
        self.first, self.second = (stack.account(name, owner="proof") for name in self.two(stack))
        for i in range(4):
            self.taken = upload(self.first, f"n{i}")
            assert stack.judge(self.taken)["status"] == "applied"
            assert stack.judge(upload(self.second, f"n{i}"))["status"] == "applied"
        self.revoked = stack.admin.event("agent.revoke", self.first.id, self.first.agent.kid, {})
        assert stack.judge(self.revoked)["status"] == "applied"
        self.key = call(consumer_binary(), "checkpoint-key", "--config", stack.config).strip()
        self.covered()
        self.heads = home / "heads"
        self.said = self.verify("--since", self.heads)
        self.kept = self.heads.read_bytes()
        assert stack.judge(upload(self.second, "later"))["status"] == "applied"
        self.covered()
        self.dumps = self.dump(home / "dumps")

    @staticmethod
    def two(stack):
        """Names of two accounts of one partition."""
        names = [f"proof-{i}" for i in range(40)]
        return [n for n in names if ev.partition_of(n, stack.partitions) == 0][:2]

    def covered(self):
        wait_until(lambda: not uncovered(self.stack), PATIENCE_S, "checkpoints of all outcomes")

    def verify(self, *args, code=0):
        return call(consumer_binary(), "verify", *args, "--config", self.stack.config, code=code)

    def dump(self, to, topics=None):
        to.mkdir()
        s = self.stack
        for name, topic in zip(("events", "outcomes", "checkpoints"), topics or (s.events_topic, s.outcomes_topic, s.checkpoints_topic)):
            with open(to / name, "wb") as out:
                subprocess.run(["kcat", "-C", "-J", "-e", "-q", "-b", s.kafka.bootstrap, "-t", topic, "-o", "beginning"], stdout=out,
                               check=True, timeout=PATIENCE_S)
        return to

    def audit(self, dumps, heads, code=1):
        """What an auditor says who has a dump, old checkpoints, and the key; and no service key."""
        kept = self.home / "kept"
        kept.write_bytes(heads)
        said = call(consumer_binary(), "verify", "--json", "--since", kept, "--checkpoint-key", self.key, "--events", dumps / "events",
                    "--outcomes", dumps / "outcomes", "--checkpoints", dumps / "checkpoints", "--deployment", "test-deployment",
                    "--root-key", self.stack.keys / "root.pub", "--set", "kafka.brokers=nowhere.invalid:1", code=code)
        assert code == 0 or kept.read_bytes() == heads
        return json.loads(said)


def check_log(world, dumps, code):
    """The script of docs/audit, which shares no code."""
    (world.home / "old").write_bytes(world.kept)
    return call("python3", REPO / "docs/audit/check_log.py", dumps / "events", dumps / "outcomes", world.stack.keys / "root.pub",
                "--checkpoints", world.home / "old", world.key, code=code)


@pytest.fixture(scope="module")
def world(tmp_path_factory, kafka):
    home = tmp_path_factory.mktemp("proof")
    with Stack(home / "s", partitions=2, kafka=kafka, prefix="proof.") as stack:
        stack.run_consumer()
        yield World(stack, home)


def payloads(path, partition=0):
    return [json.loads(r["payload"]) if r["payload"][0] == "{" else r["payload"]
            for r in map(json.loads, path.read_text().splitlines()) if r["partition"] == partition]


def test_what_was_verified_is_kept(world):
    assert "checkpoints are of these outcomes" in world.said and "0 checkpoints that were verified before" in world.said
    assert world.kept.startswith(f"{world.key.split('+')[0]}/partitions/0\n".encode())
    found = world.audit(world.dumps, world.kept, code=0)
    assert found["ok"] and found["checkpoints"] > 1 and found["checkpoints_before"] >= 2
    assert (world.home / "kept").read_bytes() != world.kept  # the later head is there
    assert check_log(world, world.dumps, 0).startswith("well: ")
    assert world.audit(world.dumps, (world.home / "kept").read_bytes(), code=0)["ok"]


def test_a_proof(world, tmp_path):
    proof = call(consumer_binary(), "prove", world.taken.id, "--config", world.stack.config)
    (tmp_path / "proof").write_text(proof)
    (tmp_path / "none.conf").write_text("")
    env = {**os.environ, "CERTSYNC_CONFIG": str(tmp_path / "none.conf")}
    said = call(certsync_binary(), "verify-proof", tmp_path / "proof", "--checkpoint-key", world.key, env=env)
    assert said.startswith("proven: outcome ") and f"event {world.taken.id} of account {world.first.id}: applied" in said
    told = json.loads(call(certsync_binary(), "--json", "verify-proof", tmp_path / "proof",
                           env={**env, "CERTSYNC_DEPLOYMENT_CHECKPOINT_KEY": world.key}))
    assert told["proven"] and told["outcome"]["data"]["event"] == world.taken.id
    lines = proof.splitlines()
    outcome = json.loads(base64.b64decode(lines[1].split()[1]))
    outcome["data"]["status"] = "rejected"
    lines[1] = "extra " + base64.b64encode(json.dumps(outcome, separators=(",", ":")).encode()).decode()
    (tmp_path / "bent").write_text("\n".join(lines) + "\n")
    said = call(certsync_binary(), "verify-proof", tmp_path / "bent", "--checkpoint-key", world.key, env=env, code=4)
    assert "is not the one that the checkpoint" in said
    said = call(certsync_binary(), "verify-proof", tmp_path / "proof", env=env, code=2)
    assert "give --checkpoint-key" in said
    assert "no outcome of" in call(consumer_binary(), "prove", world.revoked.id[:-4] + "0000", "--config", world.stack.config, code=1)


def test_others_read_it(world):
    """Go's own module for signed notes, and a library for Merkle trees that is not ours."""
    leaves = [base64.b64encode(r["payload"].encode()).decode()
              for r in map(json.loads, (world.dumps / "outcomes").read_text().splitlines()) if r["partition"] == 0]
    what = {"key": world.key, "notes": payloads(world.dumps / "checkpoints"), "leaves": leaves,
            "proof": call(consumer_binary(), "prove", world.taken.id, "--config", world.stack.config)}
    try:
        assert sdk.tlog_reads(what).startswith("well: ")
    except NotThere as e:  # without a registry there is nothing to test; where all must be tested that is a failure
        if os.environ.get("CI"):
            raise
        pytest.skip(str(e))
    what["leaves"][3] = what["leaves"][4]
    with pytest.raises(sdk.Refused, match="has another root"):
        sdk.tlog_reads(what)


def flip(lines, n):
    lines[n] = lines[n].replace(b'\\"status\\":\\"applied\\"', b'\\"status\\":\\"applieD\\"')


def drop(lines, n):
    del lines[n]


def reorder(lines, n):
    first, second = json.loads(lines[n]), json.loads(lines[n + 1])
    first["payload"], second["payload"] = second["payload"], first["payload"]
    lines[n:n + 2] = [json.dumps(r).encode() for r in (first, second)]


def cut(lines, n):
    last = max(i for i, line in enumerate(lines) if json.loads(line)["partition"] == 0)
    del lines[last - 3:last + 1]


def move_time(lines, n):
    record = json.loads(lines[n])
    lines[n] = json.dumps({**record, "ts": record["ts"] + 60000}).encode()


@pytest.mark.parametrize("topic, change", [("outcomes", flip), ("outcomes", drop), ("outcomes", reorder), ("outcomes", cut),
                                           ("events", drop), ("events", reorder), ("events", move_time), ("events", cut)])
def test_a_bent_dump_is_named(world, tmp_path, topic, change):
    for name in ("events", "outcomes", "checkpoints"):
        lines = (world.dumps / name).read_bytes().splitlines()
        if name == topic:
            place = next(i for i, line in enumerate(lines) if world.taken.id.encode() in line)
            change(lines, place)
        (tmp_path / name).write_bytes(b"\n".join(lines) + b"\n")
    fault = world.audit(tmp_path, world.kept)["fault"]
    assert fault["partition"] == 0 and fault["message"]
    if (topic, change) == ("outcomes", cut):  # the log is whole without them, but for what was signed
        assert fault["kind"] == "cut" and "cut off" in fault["message"]


def records(world):
    return sorted(world.stack.kafka.consume(world.stack.events_topic), key=lambda r: (r.partition, r.offset))


def without_revocation(all_records, world):
    return [r for r in all_records if world.revoked.id.encode() not in r.value]


def swapped(all_records, world):
    """Two accounts' last uploads, one before the other."""
    i, j = [max(n for n, r in enumerate(all_records) if r.key == a.id.encode() and b"certificate.upload" in r.value)
            for a in (world.first, world.second)]
    all_records[i], all_records[j] = all_records[j], all_records[i]
    return all_records


@pytest.mark.parametrize("how", [lambda r, _: r, without_revocation, swapped], ids=["made anew", "revocation removed", "accounts swapped"])
def test_a_past_that_the_operator_made_anew(world, how, request):
    """All keys at hand, every hash and signature is right: only who kept an old checkpoint sees it."""
    s, name = world.stack, request.node.callspec.id.replace(" ", "-")
    topics = [f"{name}.{t}" for t in ("events", "outcomes", "checkpoints")]
    for topic in topics:
        s.kafka.create_topic(topic, s.partitions, **{"message.timestamp.type": "LogAppendTime", "retention.ms": -1})
    for r in how(records(world), world):
        s.kafka.produce(topics[0], r.value, r.key, r.partition, dict(r.headers))
    config = s.write_config(name, s.port, kafka={"events_topic": topics[0], "outcomes_topic": topics[1],
                                                     "checkpoints_topic": topics[2], "group": name},
                            redis={"namespace": name}, api={"listen": f"unix:{world.home}/{name}.sock"})
    consumer = s.run_consumer(name, config, wait=False)
    try:
        wait_until(lambda: all(any(r.partition == p for r in s.kafka.consume(topics[2])) for p in range(s.partitions)) and
                   len(s.kafka.consume(topics[1])) == len(s.kafka.consume(topics[0])), PATIENCE_S, "a past made anew")
    finally:
        consumer.terminate()
    dumps = world.dump(world.home / name, topics)
    plain = ["verify", "--json", "--events", dumps / "events", "--outcomes", dumps / "outcomes", "--deployment", "test-deployment",
             "--root-key", s.keys / "root.pub", "--set", "kafka.brokers=nowhere.invalid:1"]
    assert json.loads(call(consumer_binary(), *plain))["ok"]
    fault = world.audit(dumps, world.kept)["fault"]
    assert fault["kind"] == "rewritten" and "the past was rewritten" in fault["message"]
    assert "the past was rewritten" in check_log(world, dumps, 1)
    # One old checkpoint is enough, and the running consumer does not go on with such a past either.
    one = world.kept.split(b"\n\n", 2)
    assert world.audit(dumps, b"\n\n".join(one[:2]) + b"\n\n")["fault"]["kind"] == "rewritten"


def test_heads_that_are_none_of_this_log(world, tmp_path):
    bent = world.kept.replace(b"\n2", b"\n3", 1).replace(b"\n1", b"\n2", 1)
    for heads, text in ((bent, "was altered"), (b"heads\n", "no signed note"), (b"a\nb\n\n\xe2\x80\x94 x y\n", "has not signed it")):
        (tmp_path / "heads").write_bytes(heads)
        said = world.verify("--since", tmp_path / "heads", code=2)
        assert text in said and str(tmp_path / "heads") in said
    other = "other_00000000+" + world.key.split("+", 1)[1]
    assert "mistyped" in world.verify("--since", tmp_path / "heads", "--checkpoint-key", other, code=2)
