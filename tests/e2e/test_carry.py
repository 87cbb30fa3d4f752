# SPDX-License-Identifier: Apache-2.0
"""The log carried away and back: exported while all runs, brought into another cluster, judged there to the same."""
import hashlib
import json
import shutil
import subprocess
import threading

import pytest

from support import events as ev
from support.kafka import Kafka
from support.proc import PATIENCE_S, wait_until
from support.stack import DEPLOYMENT, Stack, consumer_binary

AUTHORITY = ev.Authority("Carry CA")
EVENTS, OUTCOMES = TOPICS = ("carry.cert.events", "carry.cert.outcomes")  # on a Kafka that is shared


def run(config, *args, code=0):
    done = subprocess.run([consumer_binary(), *map(str, args), "--config", config], capture_output=True, text=True, timeout=300,
                          check=False)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr}"
    return done.stdout if code == 0 else done.stdout + done.stderr


def upload(account, name):
    key = ev.new_key()
    return account.agent.upload(account.id, name, key, [AUTHORITY.issue(key.public_key()), AUTHORITY.der])


def export(config, directory):
    return json.loads(run(config, "export", directory, "--json"))


@pytest.fixture(scope="module")
def carried(tmp_path_factory, kafka):
    """A deployment that worked, its export in three steps, and its last event, which nobody judged."""
    class Carried:
        pass
    c = Carried()
    c.home = tmp_path_factory.mktemp("carry")
    c.dir = c.home / "export"
    with Stack(c.home / "s", kafka=kafka, prefix="carry.") as stack:
        consumer = stack.run_consumer()
        account = stack.account("carried", owner="carry")
        others = {ev.partition_of(f"other-{i}", stack.partitions): f"other-{i}" for i in range(40)}
        for other in others.values():
            stack.account(other, owner="carry")
            key = ev.new_key()
            issued = stack.judge(stack.issuer.upload(account.id, f"for-{other}", key, [AUTHORITY.issue(key.public_key()), AUTHORITY.der],
                                                     kind="certificate.issue", extra={"source": "official"}))
            share = account.agent.event("certificate.share", account.id, issued["subject"], {"to": other})
            assert stack.final(share)["status"] == "applied"
        # What is no event is in the log, too, byte for byte.
        for value in (b"\xff\x00 no text", b"", None, b'{"a":"\xc3\x28"}'):
            stack.outcome_at(stack.produce(value, 1, [("h\u00e9", None), ("x", b"\xfe\x00")], None if value else b"key\xff"))
        c.first = export(stack.config, c.dir)
        c.again = export(stack.config, c.dir)

        places, done = [], threading.Event()

        def load():
            while not done.is_set():
                places.append(stack.send(upload(account, f"n{len(places)}")))
        thread = threading.Thread(target=load)
        thread.start()
        try:
            wait_until(lambda: len(places) > 5, PATIENCE_S, "some load")
            c.under_load = export(stack.config, c.dir)
        finally:
            done.set()
            thread.join()
        stack.outcome_at(places[-1], timeout_s=120)
        run(stack.config, "verify", "--redis")
        consumer.terminate()
        c.last = stack.send(upload(account, "nobody-judged-this"))
        c.final = export(stack.config, c.dir)
        c.stack, c.account = stack, account
        c.records = {topic: kafka.consume(topic) for topic in TOPICS}
        yield c


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    with Kafka(tmp_path_factory.mktemp("second") / "kafka") as server:
        yield server


def bare(record, time=True):
    return (record.partition, record.offset, record.key, record.value, record.headers, *((record.timestamp_ms,) if time else ()))


def in_order(records):
    return sorted(records, key=lambda r: (r.partition, r.offset))


def test_export_goes_on(carried):
    assert carried.first["events"] > 0 and carried.first["outcomes"] > 0
    assert (carried.again["events"], carried.again["outcomes"], carried.again["files"]) == (0, 0, 0)
    assert carried.under_load["events"] > 0
    assert carried.final["all_events"] == len(carried.records[EVENTS])
    assert carried.final["all_outcomes"] == len(carried.records[OUTCOMES]) == carried.final["all_events"] - 1


def test_files_are_a_dump(carried):
    """Any JSON reader reads them; joined they are what verify reads."""
    dumps = []
    for part in ("events", "outcomes"):
        dumps.append(carried.home / f"{part}.json")
        dumps[-1].write_bytes(b"".join(f.read_bytes() for f in sorted((carried.dir / part).glob("*/*.jsonl"))))
        assert all(json.loads(line)["topic"] for line in dumps[-1].read_text().splitlines())
    run(carried.stack.config, "verify", "--events", dumps[0], "--outcomes", dumps[1])


def test_import(carried, second):
    """Every record at its place with its time; the same catalogs from nothing; and the deployment goes on."""
    stack = carried.stack
    port = stack.port + 0
    config = stack.write_config("second", port, kafka={"brokers": second.bootstrap}, redis={"namespace": "second"})
    told = json.loads(run(config, "import", carried.dir, "--replication", "1", "--json"))
    assert told["with_the_new_time"] == 1
    for topic in TOPICS:
        there, here = in_order(second.consume(topic)), in_order(carried.records[topic])
        assert len(there) == len(here)
        for new, old in zip(there, here):
            late = topic == EVENTS and (old.partition, old.offset) == carried.last
            assert bare(new, not late) == bare(old, not late)
            assert new.timestamp_type == ("LogAppendTime" if late else "CreateTime")
        assert second.topic_config(topic)["message.timestamp.type"] == "LogAppendTime"
        assert second.topic_config(topic)["retention.ms"] == "-1"
        assert second.topic_config(topic)["compression.type"] == "zstd"
    # Again: nothing is missing, so nothing is written.
    assert json.loads(run(config, "import", carried.dir, "--replication", "1", "--json"))["written"] == 0
    run(config, "verify")
    consumer = stack.run_consumer("second", config)
    try:
        wait_until(lambda: "nobody-judged-this" in stack.names(carried.account), PATIENCE_S, "the last event to be judged")
        run(config, "verify", "--redis", "--complete")
        run(config, "rebuild")
        run(config, "promote")
        run(config, "verify", "--redis")
    finally:
        consumer.terminate()
    # Now the deployment is at work there.
    assert "nothing to import" in run(config, "import", carried.dir, code=2)


def altered(carried, name, change):
    """A copy of the export with one file changed; the change gets its bytes, or None for: remove it."""
    copy = carried.home / f"altered-{name}"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(carried.dir, copy)
    change(copy)
    return copy


def reseal(copy, path=None):
    """Writes the manifest anew, as somebody would who wants to hide a change."""
    text = (copy / "manifest.json").read_text()
    manifest = json.loads(text)
    manifest.pop("sha256")
    for row in manifest["files"]:
        data = (copy / row["part"] / str(row["partition"]) / f"{row['first']:020}.jsonl").read_bytes()
        row.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), records=data.count(b"\n"))
    body = json.dumps(manifest, separators=(",", ":"))[:-1]
    (copy / "manifest.json").write_text(f'{body},"sha256":"{hashlib.sha256(body.encode()).hexdigest()}"}}\n')


def first_file(copy, part):
    return sorted((copy / part).glob("1/*.jsonl"))[0]


def replace(path, old, new, count=1):
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, count))


def flip_time(copy):
    lines = first_file(copy, "events").read_bytes().split(b"\n")
    record = json.loads(lines[2])
    lines[2] = lines[2].replace(b'"ts":%d' % record["ts"], b'"ts":%d' % (record["ts"] + 1))
    first_file(copy, "events").write_bytes(b"\n".join(lines))
    reseal(copy)


def drop_line(part):
    def change(copy):
        lines = first_file(copy, part).read_bytes().split(b"\n")
        del lines[2]
        first_file(copy, part).write_bytes(b"\n".join(lines))
        reseal(copy)
    return change


def other_outcome(copy):
    lines = first_file(copy, "outcomes").read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b'\\"status\\":\\"applied\\"', b'\\"status\\":\\"pending\\"')
    first_file(copy, "outcomes").write_bytes(b"\n".join(lines))
    reseal(copy)


def cut(path, n):
    path.write_bytes(path.read_bytes()[:-n])


FAULTS = {
    "cut": (lambda c: cut(first_file(c, "events"), 10), "was cut or altered"),
    "flipped": (lambda c: replace(first_file(c, "outcomes"), b"a", b"b"), "was altered"),
    "missing": (lambda c: first_file(c, "events").unlink(), "is missing"),
    "manifest-cut": (lambda c: cut(c / "manifest.json", 1), "manifest.json was cut"),
    "manifest-altered": (lambda c: replace(c / "manifest.json", b'"partitions":4', b'"partitions":3'), "manifest.json was altered"),
    "no-manifest": (lambda c: (c / "manifest.json").unlink(), "is not an export"),
    "time-moved": (flip_time, "is not the one that was judged"),
    "event-dropped": (drop_line("events"), "there is no record at this offset"),
    "outcome-dropped": (drop_line("outcomes"), "there is no record at this offset"),
    "outcome-altered": (other_outcome, "the chain is broken"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_export_is_refused(carried, second, fault):
    """Each before anything is written."""
    change, sentence = FAULTS[fault]
    copy = altered(carried, fault, change)
    config = carried.stack.write_config("bad", carried.stack.port, kafka={
        "brokers": second.bootstrap, "events_topic": f"{fault}.events", "outcomes_topic": f"{fault}.outcomes",
        "corrections_topic": f"{fault}.corrections"})
    said = run(config, "import", copy, code=2)
    assert sentence in said, said
    assert not [t for t in second.topics() if t.startswith(fault)]


def test_wrong_places(carried, second, kafka):
    stack = carried.stack
    names = {"events_topic": "full.events", "outcomes_topic": "full.outcomes", "corrections_topic": "full.corrections"}
    config = stack.write_config("full", stack.port, kafka={"brokers": second.bootstrap, **names})
    empty = carried.home / "empty"
    empty.mkdir()
    assert "is not an export" in run(config, "import", empty, code=2)
    assert "is not an export" in run(config, "import", carried.home / "nowhere", code=2)
    # Topics that are not empty, or have another number of partitions.
    second.create_topic("full.outcomes", stack.partitions)
    second.produce("full.outcomes", b"mine", partition=2)
    assert "is not empty" in run(config, "import", carried.dir, "--replication", "1", code=2)
    second.create_topic("few.outcomes", 2)
    few = stack.write_config("few", stack.port, kafka={"brokers": second.bootstrap, "events_topic": "few.events",
                                                       "outcomes_topic": "few.outcomes", "corrections_topic": "few.corrections"})
    assert "has 2 partitions" in run(few, "import", carried.dir, "--replication", "1", code=2)
    # Another deployment.
    other = stack.write_config("other", stack.port, deployment={"id": "another"}, kafka={"brokers": second.bootstrap, **names})
    assert f"an export of log {DEPLOYMENT}_" in run(other, "import", carried.dir, code=2)
    # An export goes on in its own directory only.
    (empty / "file").write_text("mine")
    assert "holds files" in run(stack.config, "export", empty, code=2)
    fewer = altered(carried, "ahead", lambda c: None)
    lines = first_file(fewer, "events").read_bytes().split(b"\n")
    record = json.loads(lines[-2])
    lines[-2] = lines[-2].replace(b'"ts":%d' % record["ts"], b'"ts":%d' % (record["ts"] + 1))
    for extra in sorted((fewer / "events").glob("1/*.jsonl"))[1:]:
        extra.unlink()
    first_file(fewer, "events").write_bytes(b"\n".join(lines))
    manifest = json.loads((fewer / "manifest.json").read_text())
    manifest["files"] = [r for r in manifest["files"] if (r["part"], r["partition"]) != ("events", 1) or r["first"] == 0]
    (fewer / "manifest.json").write_text(json.dumps(manifest))
    reseal(fewer)
    assert "an export of another log" in run(stack.config, "export", fewer, code=2)


def test_an_interrupted_import_goes_on(carried, second):
    """What is there must be the export's, and then only the rest is written."""
    names = {"events_topic": "again.events", "outcomes_topic": "again.outcomes", "corrections_topic": "again.corrections"}
    config = carried.stack.write_config("again", carried.stack.port, kafka={"brokers": second.bootstrap, **names})
    second.create_topic("again.outcomes", carried.stack.partitions, **{"message.timestamp.type": "CreateTime", "retention.ms": -1})
    producer = second.producer()
    some = [r for r in in_order(carried.records[OUTCOMES]) if r.offset < 5]
    for r in some:
        producer.produce("again.outcomes", value=r.value, key=r.key, partition=r.partition, headers=r.headers, timestamp=r.timestamp_ms)
    producer.flush(PATIENCE_S)
    told = json.loads(run(config, "import", carried.dir, "--replication", "1", "--json"))
    assert told["written"] == len(carried.records[EVENTS]) + len(carried.records[OUTCOMES]) - len(some)
    assert [bare(r) for r in in_order(second.consume("again.outcomes"))] == [bare(r) for r in in_order(carried.records[OUTCOMES])]


def test_a_senders_time_needs_its_outcome(carried, second):
    """A record that no published outcome proves, in a topic where senders choose the time, is never judged."""
    names = {"events_topic": "times.events", "outcomes_topic": "times.outcomes", "checkpoints_topic": "times.checkpoints",
             "corrections_topic": "times.corrections", "group": "times"}
    config = carried.stack.write_config("times", carried.stack.port, kafka={"brokers": second.bootstrap, **names}, redis={"namespace": "times"})
    run(config, "import", carried.dir, "--replication", "1")
    from confluent_kafka.admin import ConfigResource
    change = ConfigResource("topic", "times.events", set_config={"message.timestamp.type": "CreateTime"})
    second.admin.alter_configs([change])[change].result(PATIENCE_S)
    wait_until(lambda: second.topic_config("times.events")["message.timestamp.type"] == "CreateTime", PATIENCE_S, "the senders' times")
    record = upload(carried.account, "backdated")
    second.produce("times.events", record.value, record.account.encode(), ev.partition_of(record.account, 4), dict(record.headers))
    change = ConfigResource("topic", "times.events", set_config={"message.timestamp.type": "LogAppendTime", "retention.ms": "-1"})
    second.admin.alter_configs([change])[change].result(PATIENCE_S)
    wait_until(lambda: second.topic_config("times.events")["message.timestamp.type"] == "LogAppendTime", PATIENCE_S, "the broker's times")
    consumer = carried.stack.run_consumer("times", config, wait=False)
    try:
        wait_until(lambda: "no published outcome proves it" in consumer.tail(), PATIENCE_S, "the partition to stop")
        assert record.id.encode() not in b"".join(r.value or b"" for r in second.consume("times.outcomes"))
    finally:
        consumer.kill()
