# SPDX-License-Identifier: Apache-2.0
"""The servers themselves: what the other tests take for granted of Kafka, Redis and the embedded broker."""
import os
import signal
import subprocess
import sys
import time

import pytest

from support.broker import DemoBroker
from support.kafka import Kafka
from support.proc import PATIENCE_S, REPO, wait_until
from support.redis import Redis


def kcat(bootstrap, *arguments, stdin=""):
    return subprocess.run(["kcat", "-b", bootstrap, *arguments], input=stdin, text=True, capture_output=True, timeout=120,
                          check=True).stdout


def alive(pid):
    """A zombie that nobody reaps here counts as ended."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_kafka_gives_back_what_another_program_wrote(kafka):
    kafka.create_topic("harness", 3, **{"message.timestamp.type": "LogAppendTime", "retention.ms": -1})
    assert kafka.topics()["harness"] == 3
    assert kafka.topic_config("harness")["retention.ms"] == "-1"
    kcat(kafka.bootstrap, "-P", "-t", "harness", "-p", "2", "-K:", "-H", "h=v", stdin="acme:first\nacme:second\n")
    assert kcat(kafka.bootstrap, "-C", "-t", "harness", "-p", "2", "-e", "-q", "-f", "%o %k %s\n") == (
        "0 acme first\n1 acme second\n")
    records = kafka.consume("harness")
    assert [(r.partition, r.offset, r.key, r.value, r.headers) for r in records] == [
        (2, 0, b"acme", b"first", [("h", b"v")]), (2, 1, b"acme", b"second", [("h", b"v")])]
    assert {r.timestamp_type for r in records} == {"LogAppendTime"}
    assert abs(records[0].timestamp_ms / 1000 - time.time()) < 60


def test_kafka_takes_bytes_that_are_not_text_and_records_of_20_mb(kafka):
    kafka.create_topic("harness-bytes")
    value = b"\xff\x00" * 10_000_000
    assert kafka.produce("harness-bytes", value, key=b"\x00\xff", headers=[("h", b"\x80"), ("h", b"")]) == (0, 0)
    record, = kafka.consume("harness-bytes")
    assert record.value == value and record.key == b"\x00\xff" and record.headers == [("h", b"\x80"), ("h", b"")]


def test_kafka_keeps_records_over_sigkill(tmp_path):
    with Kafka(tmp_path / "kafka") as kafka:
        kafka.create_topic("kept")
        places = kafka.produce_many("kept", [(b"%d" % i, None, 0, None) for i in range(100)])
        assert places == [(0, i) for i in range(100)]
        kafka.kill()
        kafka.restart()
        assert [r.value for r in kafka.consume("kept", start=98)] == [b"98", b"99"]


def test_three_nodes_lose_their_leader_and_nothing_else(tmp_path):
    with Kafka(tmp_path / "kafka").start(nodes=3, min_insync_replicas=2) as kafka:
        kafka.create_topic("replicated")
        kafka.produce("replicated", b"before")
        lost = kafka.leader("replicated")
        kafka.kill(lost)
        kafka.produce("replicated", b"after")
        assert kafka.leader("replicated") not in (lost, -1)
        kafka.restart(lost)
        assert [r.value for r in kafka.consume("replicated")] == [b"before", b"after"]


def test_redis_is_as_the_consumer_wants_it(redis):
    client = redis.client()
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    client.set("k", b"\xff")
    assert client.get("k") == b"\xff"


@pytest.mark.parametrize("appendonly, survives", [("no", None), ("yes", b"v")])
def test_redis_after_sigkill_has_what_the_append_only_file_has(tmp_path, appendonly, survives):
    with Redis(tmp_path / "redis", appendonly=appendonly, appendfsync="always") as redis:
        redis.client().set("k", "v")
        redis.kill()
        redis.restart()
        assert redis.client().get("k") == survives


def test_the_embedded_broker_serves_its_topics_and_ends_with_its_input(tmp_path):
    with DemoBroker(tmp_path, {"cert.events": 4, "cert.outcomes": 4}) as broker:
        listing = kcat(broker.bootstrap, "-L")
        assert 'topic "cert.events" with 4 partitions' in listing and 'topic "cert.outcomes" with 4 partitions' in listing
        kcat(broker.bootstrap, "-P", "-t", "cert.events", "-p", "3", "-X", "enable.idempotence=true", stdin="one\n")
        assert kcat(broker.bootstrap, "-C", "-t", "cert.events", "-p", "3", "-e", "-q", "-f", "%o %s\n") == "0 one\n"
        broker.close_stdin()
        assert broker.process.wait(5) == 0


def test_the_embedded_broker_ends_on_sigterm(tmp_path):
    with DemoBroker(tmp_path, {"t": 1}) as broker:
        assert broker.process.terminate() == 0


RUNNER = """
import sys
sys.path.insert(0, sys.argv[1])
from support.kafka import Kafka
from support.redis import Redis
kafka, redis = Kafka(sys.argv[2] + "/kafka").start(), Redis(sys.argv[2] + "/redis").start()
print(kafka.node().process.pid, redis.process.pid, flush=True)
sys.stdin.read()
"""


def test_no_server_outlives_a_killed_runner(tmp_path):
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, REPO / "tests", tmp_path], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        pids = [int(word) for word in runner.stdout.readline().split()]
        assert len(pids) == 2 and all(alive(pid) for pid in pids)
    finally:
        runner.kill()
        runner.communicate()
    wait_until(lambda: not any(alive(pid) for pid in pids), PATIENCE_S, "the end of the killed runner's servers")


def test_kafka_from_a_shell_ends_on_sigterm(tmp_path):
    ready = tmp_path / "ready"
    runner = subprocess.Popen([sys.executable, "-m", "support.kafka", "run", "--dir", tmp_path, "--ready-file", ready,
                               "num.partitions=7"], env={**os.environ, "PYTHONPATH": str(REPO / "tests")})
    try:
        wait_until(ready.exists, PATIENCE_S, "the ready file")
        assert 'broker 1 at' in kcat(ready.read_text().strip(), "-L")
        with open(f"/proc/{runner.pid}/task/{runner.pid}/children", encoding="ascii") as children:
            pids = [int(pid) for pid in children.read().split()]
        assert pids
        runner.send_signal(signal.SIGTERM)
        assert runner.wait(PATIENCE_S) == 0
        assert not any(alive(pid) for pid in pids)
    finally:
        runner.kill()
        runner.wait()
