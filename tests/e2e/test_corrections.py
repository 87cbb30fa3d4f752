# SPDX-License-Identifier: Apache-2.0
"""A wrong verdict was published. Root has it judged anew, in the open; then all agree again, and both verdicts stay readable."""
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from model_py import audit
from support import events as ev
from support.proc import PATIENCE_S, wait_until
from support.stack import Stack, certsync_binary, consumer_binary


@pytest.fixture(scope="module")
def stack(kafka, tmp_path_factory):
    settings = {"kafka": {"session_timeout": "6s"}, "consumer": {"workers": 1}}
    with Stack(tmp_path_factory.mktemp("corrections") / "stack", partitions=2, kafka=kafka, prefix="corrections.",
               consumer_settings=settings) as everything:
        yield everything


def call(stack, *arguments, code=0):
    done = subprocess.run([consumer_binary(), *map(str, arguments), "--config", stack.config], capture_output=True, text=True,
                          timeout=PATIENCE_S, check=False)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def correct(stack, partition, number, *more, key="root", reason="a test judged wrongly", code=0):
    return call(stack, "correct", "--root-key", stack.keys / f"{key}.key", "--partition", partition, "--from", number, "--reason", reason,
                *more, code=code)


def published(stack, partition):
    return stack.kafka.consume(stack.outcomes_topic, partition)


def issue(stack, account, name):
    key, ca = ev.new_key(), ev.Authority("Corrected Root")
    return stack.issuer.upload(account.id, name, key, [ca.issue(key.public_key()), ca.der], kind="certificate.issue",
                               extra={"source": "official"})


def put_false(stack, record):
    """Somebody's release judges a certificate wrongly: the event, and a false outcome of it, in every other way as a consumer writes it."""
    partition, offset = stack.send(record)
    last = published(stack, partition)[-1]
    before = json.loads(last.value)
    n = int(before["sequence"]) + 1
    event = stack.kafka.consume(stack.events_topic, partition)[-1]
    assert event.offset == offset
    said = json.loads(record.value)
    false = {**before, "sequence": f"{n:016}", "id": audit.outcome_id(stack.log_id, partition, n), "time": audit.moment(event.timestamp_ms)}
    false.pop("subject", None)
    account, kid = said["source"].split("/")[4], said["source"].split("/")[6]
    false["data"] = {"status": "rejected", "code": "event.forbidden", "type": said["type"], "event": said["id"], "sequence": said["sequence"],
                     "account": account, "kid": kid, "partition": partition, "offset": offset, "record": "0" * 64,
                     "prev": hashlib.sha256(last.value).hexdigest()}
    stack.produce_outcome(partition, account.encode(), json.dumps(false, separators=(",", ":")).encode())
    return partition, n, said["id"]


def test_a_false_verdict_is_set_right(stack, tmp_path):
    consumer = stack.run_consumer()
    acme = stack.account("acme")
    beta = stack.account("beta")  # of the same owner
    first = issue(stack, acme, "first")
    assert stack.judge(first)["status"] == "applied"
    kept = tmp_path / "heads"
    stack.names(acme)
    wait_until(lambda: call(stack, "verify", "--since", kept), PATIENCE_S, "a log that is well")
    shots = tmp_path / "shots"
    call(stack, "snapshot", "--keep", 0, "--dir", shots)
    consumer.terminate()
    second = issue(stack, acme, "second")
    partition, n, event = put_false(stack, second)

    # A right release finds it, and stops.
    consumer = stack.run_consumer("right", wait=False)
    wait_until(lambda: f"a fork at outcome {n}" in consumer.tail(), PATIENCE_S, "the consumer to find the false verdict")
    assert "FAULT" in call(stack, "verify", code=1)

    # Who may not, and what cannot be corrected: nothing is written.
    assert "only root corrects" in correct(stack, partition, n, key="admin", code=2)
    assert f"has no outcome {n + 1}" in correct(stack, partition, n + 1, code=1)
    assert "there is no partition 2" in correct(stack, 2, 1, code=1)
    assert "--reason" in correct(stack, partition, n, reason="", code=2)
    assert stack.kafka.watermarks(stack.corrections_topic)[1] == 0

    said = correct(stack, partition, n)
    assert "as epoch 1" in said
    assert "corrected already (a test judged wrongly)" in correct(stack, partition, n, code=1)
    stack.wait_ready(consumer)
    wait_until(lambda: "second" in stack.names(acme), PATIENCE_S, "the right verdict to be in the catalog")
    right = json.loads(published(stack, partition)[-1].value)
    assert (int(right["sequence"]), right["data"]["epoch"], right["data"]["status"]) == (n, 1, "applied")
    assert stack.get(acme, f"outcomes/{event}")[1]["outcome"]["data"]["epoch"] == 1
    assert [(c["partition"], c["epoch"], c["from"]) for c in stack.http("/v1/log")[1]["corrections"]] == [(partition, 1, n)]

    # Everybody comes to the same, and both verdicts can be read.
    told = call(stack, "verify", "--redis", "--since", kept)
    assert "root had the outcomes of partition" in told and "1 outcomes were set aside" in told
    explained = json.loads(call(stack, "explain", event, "--json"))
    assert [(o["epoch"], o["outcome"]["data"]["code"]) for o in explained["set_aside"]] == [(0, "event.forbidden")]
    wait_until(lambda: "epochs/1" in call_prove(stack, event), PATIENCE_S, "a checkpoint of the epoch")
    (tmp_path / "proof").write_text(call_prove(stack, event))
    key = call(stack, "checkpoint-key").strip()
    subprocess.run([certsync_binary(), "verify-proof", tmp_path / "proof", "--checkpoint-key", key], check=True, timeout=PATIENCE_S)

    # A snapshot of before it holds; one of the same number of outcomes in the epoch is another one.
    assert snapshots_of(stack, acme, shots) == (f"{n - 1:020}", 0)
    call(stack, "snapshot", "--keep", 0, "--dir", shots)
    assert snapshots_of(stack, acme, shots) == (f"{n:020}.1", 0)

    # What comes later goes on in the epoch; shares cross to an account whose partition has none.
    shared = acme.agent.event("certificate.share", acme.id, json.loads(second.value)["subject"], {"to": beta.id})
    final = stack.final(shared)
    assert final["status"] == "applied", final
    assert "second" in stack.names(beta)
    call(stack, "verify", "--redis", "--since", kept)

    # From nothing, and once more.
    call(stack, "rebuild", "--json")
    assert "--again" in correct(stack, partition, n, code=1)
    correct(stack, partition, 1, reason="all of it")
    wait_until(lambda: json.loads(published(stack, partition)[-1].value)["data"].get("epoch") == 2, PATIENCE_S, "the second epoch")
    stack.wait_ready(consumer)
    stack.names(acme)
    assert [(c["epoch"], c["from"]) for c in stack.http("/v1/log")[1]["corrections"]] == [(1, n), (2, 1)]
    wait_until(lambda: "FAULT" not in verify(stack), PATIENCE_S, "a log that is well")
    assert "second" in stack.names(beta) and set(stack.names(acme)) == {"first", "second"}
    # Those of what was set aside are as true as before, and nobody goes on from them.
    assert snapshots_of(stack, acme, shots) == (None, 2)
    call(stack, "snapshot", "--keep", 0, "--dir", shots)
    last = len(stack.kafka.consume(stack.events_topic, partition))
    assert snapshots_of(stack, acme, shots) == (f"{last:020}.2", 2)
    lie = shots / str(partition) / f"{n:020}.1.note"
    lie.rename(lie.with_name(f"{n:020}.2.note"))
    assert "not of those of its name" in call(stack, "snapshot", "--dir", shots)
    assert not list(shots.glob(f"{partition}/{n - 1:020}.*"))  # what was set aside is removed with what is old

    consumer.terminate()
    stack.redis.client().flushall()
    consumer = stack.run_consumer("from nothing")
    assert set(stack.names(acme)) == {"first", "second"}
    call(stack, "verify", "--redis", "--since", kept)
    consumer.terminate()
    check_dumps(stack, partition, kept, key, tmp_path)


def check_dumps(stack, partition, kept, key, folder):
    """Without Kafka, and without certsync: what counts, and that nothing of what was set aside may be missing."""
    names = ("events", "outcomes", "corrections")
    files = [folder / name for name in names]
    for name, path in zip(names, files):
        with open(path, "wb") as out:
            subprocess.run(["kcat", "-C", "-J", "-e", "-q", "-b", stack.kafka.bootstrap, "-t", f"corrections.cert.{name}", "-o", "beginning"],
                           stdout=out, check=True, timeout=PATIENCE_S)
    events, outcomes, corrections = files
    script = [sys.executable, Path(__file__).parents[2] / "docs/audit/check_log.py", events, outcomes, stack.keys / "root.pub"]
    done = subprocess.run([*script, "--corrections", corrections, "--checkpoints", kept, key], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0 and "well" in done.stdout, done.stdout + done.stderr
    done = subprocess.run(script, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1 and "give --corrections" in done.stderr, done.stdout + done.stderr

    dumps = ["--events", events, "--outcomes", outcomes, "--corrections", corrections, "--since", kept, "--checkpoint-key", key]
    call(stack, "verify", *dumps)
    lines = outcomes.read_bytes().splitlines(keepends=True)
    epochs = [json.loads(r["payload"])["data"].get("epoch", 0) if (r := json.loads(line))["partition"] == partition else None for line in lines]
    assert epochs.count(1) > 1 and epochs.count(2) > epochs.count(1)
    last = max(i for i, epoch in enumerate(epochs) if epoch == 1)
    for gone, says in ((lambda i: i == last, "cut"), (lambda i: epochs[i] == 1 and i != last, "gap")):
        outcomes.write_bytes(b"".join(line for i, line in enumerate(lines) if not gone(i)))
        fault = json.loads(call(stack, "verify", "--json", *dumps, code=1))["fault"]
        assert fault["kind"] == says and "epoch 1" in fault["message"], fault


def snapshots_of(stack, account, shots):
    """Which snapshot an account's partition goes on from, and how many of it were set aside. With it the same is told as without."""
    plain, fast = (json.loads(call(stack, "show", account.id, "--json", *more)) for more in ((), ("--snapshots", shots)))
    partition, taken = ev.partition_of(account.id, 2), fast.pop("snapshot", None)
    assert {k: v for k, v in fast.items() if k != "judged"} == {k: v for k, v in plain.items() if k != "judged"}
    notes = [note.stem for note in sorted((shots / str(partition)).glob("*.note"))]
    found = json.loads(call(stack, "verify", "--json", "--snapshots", shots))
    assert found["snapshots"] + found["snapshots_set_aside"] == len(list(shots.glob("*/*.note"))) and found["refused_snapshots"] == 0
    assert not json.loads(call(stack, "diff", "--json", "--snapshots", shots))["differences"]
    names = [name for name in notes if taken is not None and int(name.split(".")[0]) == taken]
    return names[-1] if names else None, found["snapshots_set_aside"]


def call_prove(stack, event):
    done = subprocess.run([consumer_binary(), "prove", event, "--config", stack.config], capture_output=True, text=True, timeout=PATIENCE_S,
                          check=False)
    return done.stdout


def verify(stack):
    done = subprocess.run([consumer_binary(), "verify", "--redis", "--config", stack.config], capture_output=True, text=True, timeout=PATIENCE_S,
                          check=False)
    return done.stdout if done.returncode == 0 else "FAULT " + done.stdout + done.stderr
