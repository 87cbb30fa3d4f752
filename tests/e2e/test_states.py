# SPDX-License-Identifier: Apache-2.0
"""What the consumer says of itself while something behind it is not well, and that it is well again once that is mended."""
import contextlib
import hashlib
import json
import re
import subprocess
import time
from collections import Counter

import pytest
import redis.exceptions as redis_errors

from model_py import audit
from model_py.marks import Marks
from support import documents, events as ev
from support.host import Host
from support.kafka import Kafka
from support.proc import PATIENCE_S, Process, free_port, wait_until
from support.redis import Redis
from support.stack import EVENTS, OUTCOMES, Stack, certsync_binary, consumer_binary

AUTHORITY = ev.Authority("States CA")


def board(stack, port=None):
    """(ready, reason, {partition: entry})"""
    status, body = stack.http("/readyz", port=port)
    assert status in (200, 503), (status, body)
    assert body["ready"] == (status == 200)
    return body["ready"], body.get("reason", ""), {p["partition"]: p for p in body["partitions"]}


def metric(stack, name, port=None):
    """{labels: value}"""
    text = stack.http("/metrics", port=port)[1]
    return {m[1]: float(m[2]) for m in re.finditer(rf"^{name}(?:\{{([^\n]*)\}})? (\S+)$", text, re.M)}


def wait_ready(stack, port=None):
    wait_until(lambda: board(stack, port)[0], PATIENCE_S, f"a ready consumer ({board(stack, port)[:2]})")


def upload(account, name):
    key = ev.new_key()
    return account.agent.upload(account.id, name, key, [AUTHORITY.issue(key.public_key()), AUTHORITY.der])


def command(stack, *args):
    """(exit code, JSON object) of an operator's command."""
    done = subprocess.run([consumer_binary(), *args, "--json", "--config", stack.config], capture_output=True, text=True,
                          timeout=120, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


# --- somebody else writes to the topic of outcomes

@pytest.fixture(scope="module")
def written_to(kafka, tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("foreign") / "stack", partitions=2, kafka=kafka, prefix="foreign.") as stack:
        stack.foreign = Counter()  # by partition
        for at in range(stack.partitions):  # before any true one
            plant(stack, at, 1, bytes(32).hex(), 0, b"")
        stack.run_consumer()
        yield stack


def plant(stack, at, n, prev, offset, key, **data):
    """What fits in form and chain as outcome n, by who has the right to write and no service key."""
    value = {"specversion": "1.0", "type": "certsync.outcome.v1", "sequence": ev.sequence(n), "id": audit.outcome_id(stack.log_id, at, n),
             "source": f"//{stack.log_id}/partitions/{at}", "time": "2026-11-30T10:30:06.082Z", "datacontenttype": "application/json",
             "data": {"status": "applied", **data, **({"account": key.decode()} if key else {}), "partition": at, "offset": offset,
                      "record": "5a" * 32, "prev": prev}}
    value = json.dumps(value, separators=(",", ":")).encode()
    true = stack.marks[-1].of(at, key, value)
    false = true[:-1] + (b"A" if true[-1:] != b"A" else b"Q")
    for mark in (b"", false) if n == 1 else (b"", false, b"00000000" + true[8:]):
        stack.produce_outcome(at, key, value, mark)
        stack.foreign[at] += 1


HEAD = b'{"specversion":"1.0","type":"certsync.outcome.v1","sequence":"%016d"'
FOREIGN = (b"", b"hello", HEAD % 999999999, HEAD % 999999999 + b',"data":{"status":"applied"}}', HEAD % 2 + b"}")


def test_foreign_outcomes_count_for_nothing(written_to):
    stack = written_to
    account = stack.account()
    at = ev.partition_of(account.id, stack.partitions)
    assert stack.judge(upload(account, "before"))["status"] == "applied"
    real = next(value for p, _, value in reversed(stack.outcomes.raw) if p == at)
    far = re.sub(rb'"sequence":"\d+"', b'"sequence":"0000000999999999"', real, count=1)  # an outcome in form, of a number for which there is no room
    for value in (*FOREIGN, far):
        stack.kafka.produce(stack.outcomes_topic, value, partition=at)
    stack.kafka.produce(stack.outcomes_topic, far, key=account.id.encode(), partition=at)
    stack.foreign[at] += len(FOREIGN) + 2
    count = stack.foreign[at]
    assert stack.judge(upload(account, "while-it-runs"))["status"] == "applied"
    for lost in (False, True):
        assert stack.consumers[-1].terminate() == 0
        place = stack.send(upload(account, f"while-it-is-down-{lost}"))
        if lost:  # all is compared again
            stack.redis.client().flushall()
        stack.run_consumer()
        assert stack.outcome_at(place)["status"] == "applied"
        wait_until(lambda: board(stack)[2][at].get("lag") == 0, PATIENCE_S, "a partition that caught up")
        wait_ready(stack)
        entry = board(stack)[2][at]
        assert entry["state"] == "running"
        assert {"before", "while-it-runs", f"while-it-is-down-{lost}"} <= set(stack.names(account))
    assert metric(stack, "certsync_partition_foreign_outcomes")[f'partition="{1 - at}"'] == stack.foreign[1 - at]
    # Seen where the end of the topic is read: at a start.
    assert stack.consumers[-1].terminate() == 0
    stack.run_consumer()
    wait_until(lambda: board(stack)[2][at].get("foreign_outcomes") == count, PATIENCE_S, "foreign records that are told")
    assert metric(stack, "certsync_partition_foreign_outcomes")[f'partition="{at}"'] == count
    code, told = command(stack, "verify", "--redis")
    assert code == 0 and told["ok"] and told["marks_checked"] and told["foreign"] == sum(stack.foreign.values()), told
    code, told = command(stack, "rejected")
    assert code == 0, told


def test_planted_outcomes_change_nothing(written_to):
    """Well-formed, of the right number, naming the right hash: before the true one of that number, behind it, and copies of true ones."""
    stack = written_to
    account = stack.account()
    at = ev.partition_of(account.id, stack.partitions)
    key = account.id.encode()
    assert stack.judge(upload(account, "first"))["status"] == "applied"

    def next_ones(**data):
        n = max(n for p, n in stack.outcomes.by_number if p == at)
        last = stack.outcomes.by_number[(at, n)]
        plant(stack, at, n + 1, hashlib.sha256(last).hexdigest(), json.loads(last)["data"]["offset"] + 1, key,
              type="certsync.certificate.upload.v1", event=ev.uuid7(), **data)
    next_ones(name="evil")
    wait_ready(stack)
    assert board(stack)[2][at]["state"] == "running"
    assert stack.judge(upload(account, "while-it-runs"))["status"] == "applied"
    _, _, copied = next(r for r in reversed(stack.outcomes.raw) if r[0] == at)
    owner = json.loads(copied)["data"].get("account", "").encode()
    stack.produce_outcome(at, owner, copied, b"")  # a copy of a true one without its mark is foreign, with it a copy
    stack.produce_outcome(at, owner, copied)
    stack.foreign[at] += 1
    next_ones(name="evil")
    assert stack.consumers[-1].terminate() == 0
    for lost in (False, True):
        place = stack.send(upload(account, f"down-{lost}"))
        if not lost:
            next_ones(name="evil")
        else:
            stack.redis.client().flushall()
        stack.run_consumer()
        assert stack.outcome_at(place)["status"] == "applied"
        wait_until(lambda: board(stack)[2][at].get("lag") == 0, PATIENCE_S, "a partition that caught up")
        wait_ready(stack)
        assert set(stack.names(account)) == {"first", "while-it-runs", "down-False"} | ({"down-True"} if lost else set())
        if not lost:
            assert stack.consumers[-1].terminate() == 0
    wait_until(lambda: stack.outcomes.poll(0.01) or len(stack.outcomes.raw) >= stack.kafka.watermarks(stack.outcomes_topic, 0)[1] +
               stack.kafka.watermarks(stack.outcomes_topic, 1)[1], PATIENCE_S, "the whole topic")
    ours = Counter(v for p, _, v in stack.outcomes.raw if p == at and v in set(stack.outcomes.by_number.values()))
    assert {v: n for v, n in ours.items() if n > 1} == {copied: 3}  # nothing was published twice
    code, told = command(stack, "verify", "--redis")
    assert code == 0 and told["ok"] and told["foreign"] == sum(stack.foreign.values()) and told["copies"] == 1, (told, stack.foreign)
    said = subprocess.run([consumer_binary(), "verify", "--config", stack.config], capture_output=True, text=True, timeout=120, check=False)
    assert "were written by no consumer (the first: partition 0, offset 0)" in said.stdout, said
    assert stack.consumers[-1].terminate() == 0
    stack.run_consumer()
    wait_until(lambda: board(stack)[2][at].get("foreign_outcomes") == stack.foreign[at], PATIENCE_S, "foreign records that are told")
    assert metric(stack, "certsync_partition_foreign_outcomes")[f'partition="{at}"'] == stack.foreign[at]


def test_an_exchanged_service_key(written_to):
    """What the old key marked counts, and what others said in its name does not; a thief of it can write no more."""
    stack = written_to
    account = stack.account()
    at = ev.partition_of(account.id, stack.partitions)
    assert stack.judge(upload(account, "old-key"))["status"] == "applied"
    assert stack.consumers[-1].terminate() == 0
    new = ev.new_key()
    files = [stack.keys / "service.key", ev.write_private(new, stack.keys / "service2.key")]
    for place in stack.trust("service", None, spki=ev.spki_of(new.public_key())):
        assert place
    stack.config = stack.write_config("exchanged", stack.port, deployment={"service_key": files[1]})
    code, told = command(stack, "verify")  # in the old key's name others wrote, too: without it that cannot be told
    assert code == 1 and told["fault"]["partition"] == 0, told
    stack.config = stack.write_config("exchanged", stack.port, deployment={"service_key": files[1], "earlier_service_keys": files[0]})
    stack.marks.append(Marks(new, stack.log_id))
    stack.run_consumer()
    assert stack.judge(upload(account, "new-key"))["status"] == "applied"
    wait_until(lambda: not any(metric(stack, "certsync_partition_outcomes_without_checkpoint").values()), PATIENCE_S, "checkpoints")
    n = max(n for p, n in stack.outcomes.by_number if p == at)
    last = json.loads(stack.outcomes.by_number[(at, n)])
    stolen = {**last, "sequence": ev.sequence(n + 1)}
    stolen["data"] = {**last["data"], "offset": last["data"]["offset"] + 1, "name": "evil",
                      "prev": hashlib.sha256(stack.outcomes.by_number[(at, n)]).hexdigest()}
    value, key = json.dumps(stolen, separators=(",", ":")).encode(), stolen["data"]["account"].encode()
    old = stack.marks.pop(0)
    stack.produce_outcome(at, key, value, old.of(at, key, value))
    stack.foreign[at] += 1
    assert stack.judge(upload(account, "after"))["status"] == "applied"
    assert set(stack.names(account)) == {"old-key", "new-key", "after"}
    code, told = command(stack, "verify", "--redis")
    assert code == 0 and told["ok"] and told["marked_by_others"] == 0 and told["foreign"] == sum(stack.foreign.values()), (told, stack.foreign)


def test_outcomes_without_events_are_told(written_to):
    """What should be compared never comes: not a replay without an end."""
    stack = written_to
    account = stack.account()
    at = ev.partition_of(account.id, stack.partitions)
    assert stack.judge(upload(account, "last"))["status"] == "applied"
    wait_until(lambda: board(stack)[2][at].get("lag") == 0, PATIENCE_S, "a partition that caught up")
    assert stack.consumers[-1].terminate() == 0
    at_n = max(n for p, n in stack.outcomes.by_number if p == at and n < 1000)
    last = stack.outcomes.by_number[(at, at_n)]
    more = {**json.loads(last), "sequence": ev.sequence(at_n + 1)}
    more["data"].update(offset=more["data"]["offset"] + 1, prev=hashlib.sha256(last).hexdigest())
    value, key = json.dumps(more, separators=(",", ":")).encode(), more["data"]["account"].encode()
    stack.produce_outcome(at, key, value)
    stack.run_consumer(wait=False)

    def told():  # workers that still share out the partitions wait, too
        if stack.http("/readyz")[0] != 503:
            return False
        ready, reason, partitions = board(stack)
        return not ready and "events were lost" in reason and "events were lost" in partitions[at].get("reason", "")
    wait_until(told, PATIENCE_S, "a wait for events that were lost")
    assert board(stack)[2][at]["state"] == "waiting"
    stack.waits = at  # what becomes of it: at the end of this file


# --- Kafka is away, a right is gone, topics and Redis are not what they were

class GuardedStack(Stack):
    """The user "consumer" has the rights that init needs while init runs, and otherwise those of a consumer."""

    def begin(self):
        used, setup = (documents.kafka_rights(user) for user in ("consumer", "setup"))
        for resource, name, operation in setup:
            self.kafka.acl(resource, name, "consumer", operation)
        super().begin()
        for resource, name, operation in setup:
            self.kafka.acl(resource, name, "consumer", operation, remove=True)
        for resource, name, operation in used:
            self.kafka.acl(resource, name, "consumer", operation)
        return self


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A Kafka and a Redis of this module's own, where the consumer has the rights that the documents ask for, and no more."""
    directory = tmp_path_factory.mktemp("guarded")
    sasl = "listener.name.sasl_plaintext"
    kafka = Kafka(directory / "kafka")
    try:
        kafka.start(message_max_bytes=33554432, **{
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "listeners": "PLAINTEXT://127.0.0.1:$PORT,SASL_PLAINTEXT://127.0.0.1:$PORT2,CONTROLLER://127.0.0.1:$CPORT",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS", f"{sasl}.sasl.enabled.mechanisms": "PLAIN",
            f"{sasl}.plain.sasl.jaas.config":
                'org.apache.kafka.common.security.plain.PlainLoginModule required user_consumer="secret";',
            "group.min.session.timeout.ms": 1000})
        redis = Redis(directory / "redis", user="consumer on >secret " + documents.redis_rights())
        settings = {"kafka": {"brokers": f"127.0.0.1:{kafka.node().port2}", "security_protocol": "sasl_plaintext",
                              "sasl_mechanism": "PLAIN", "sasl_username": "consumer", "sasl_password": "secret",
                              "session_timeout": "3s"},
                    "redis": {"username": "consumer", "password": "secret"},
                    "consumer": {"inspect_every": "1s", "workers": "2"}}
        with GuardedStack(directory / "stack", partitions=2, kafka=kafka, redis=redis, consumer_settings=settings) as stack:
            stack.run_consumer()
            yield stack
    finally:
        kafka.stop()


@pytest.fixture
def well(guarded):
    """The guarded stack with an account, well before and after the test."""
    wait_ready(guarded)
    guarded.someone = guarded.account()
    guarded.at = ev.partition_of(guarded.someone.id, guarded.partitions)
    yield guarded
    wait_ready(guarded)
    assert guarded.consumers[0].alive
    assert guarded.outcome_at(guarded.send(upload(guarded.someone, f"afterwards-{time.monotonic_ns()}")), timeout_s=PATIENCE_S)["status"] == "applied"
    # It is told in few words, however long it took.
    for line in set(guarded.consumers[0].output().splitlines()):
        assert guarded.consumers[0].output().count(line) < 50


def wait_trouble(stack, text, what=None, port=None):
    def told():
        ready, reason, _ = board(stack, port)
        return not ready and re.search(text, reason)
    wait_until(told, PATIENCE_S, f"a reason like {text} ({board(stack, port)[:2]})")
    if what:
        (labels,) = metric(stack, "certsync_trouble", port)
        assert f'what="{what}"' in labels and re.search(text, labels)


def not_judged(stack, record):
    """Sends a record; its place, once it is seen that nothing was decided for a few rounds."""
    place = stack.send(record)
    with pytest.raises(AssertionError):
        stack.outcome_at(place, timeout_s=3)
    return place


@pytest.mark.parametrize("resource, name, operation, text", [
    ("TOPIC", "cert.events", "READ", "TOPIC_AUTHORIZATION_FAILED"),
    ("TOPIC", "cert.outcomes", "WRITE", "TOPIC_AUTHORIZATION_FAILED"),
    ("GROUP", "certsync", "READ", "GROUP_AUTHORIZATION_FAILED"),
])
def test_a_right_that_is_lost_for_a_while(well, resource, name, operation, text):
    well.kafka.acl(resource, name, "consumer", operation, "DENY")
    place = well.send(upload(well.someone, "meanwhile"))
    wait_trouble(well, text)
    well.kafka.acl(resource, name, "consumer", operation, "DENY", remove=True)
    assert well.outcome_at(place, timeout_s=PATIENCE_S)["status"] == "applied"


def test_checkpoints_that_cannot_be_published(well):
    """Verdicts do not wait for them. What is not covered is told, and is covered as soon as it can be."""
    def uncovered():
        return sum(metric(well, "certsync_partition_outcomes_without_checkpoint").values())
    wait_until(lambda: uncovered() == 0, PATIENCE_S, "checkpoints of all outcomes")
    well.kafka.acl("TOPIC", "cert.checkpoints", "consumer", "WRITE", "DENY")
    place = well.send(upload(well.someone, "uncovered"))
    assert well.outcome_at(place, timeout_s=PATIENCE_S)["status"] == "applied"
    wait_until(lambda: "a checkpoint could not be published" in well.consumers[-1].output(), PATIENCE_S, "a line in the log")
    assert uncovered() > 0 and board(well)[0]
    well.kafka.acl("TOPIC", "cert.checkpoints", "consumer", "WRITE", "DENY", remove=True)
    wait_until(lambda: uncovered() == 0, PATIENCE_S, "checkpoints of all outcomes again")


def test_heartbeats_that_may_not_be_read(well):
    """Nothing waits for them. That nobody hears them is told."""
    def told():
        return any('what="heartbeats"' in k for k in metric(well, "certsync_trouble"))
    wait_until(lambda: not told(), PATIENCE_S, "heartbeats that are heard")
    well.kafka.acl("TOPIC", "cert.heartbeats", "consumer", "READ", "DENY")
    wait_until(told, PATIENCE_S, "the trouble")
    assert board(well)[0]
    assert well.outcome_at(well.send(upload(well.someone, "unheard")))["status"] == "applied"
    well.kafka.acl("TOPIC", "cert.heartbeats", "consumer", "READ", "DENY", remove=True)
    wait_until(lambda: not told(), PATIENCE_S, "heartbeats that are heard again")


def test_a_right_in_redis_that_is_lost_for_a_while(well):
    client = well.redis.client()
    client.execute_command("ACL", "SETUSER", "consumer", "-zadd")
    place = well.send(upload(well.someone, "meanwhile"))
    wait_trouble(well, "NOPERM.*zadd")
    client.execute_command("ACL", "SETUSER", "consumer", "+zadd")
    assert well.outcome_at(place)["status"] == "applied"
    client.execute_command("ACL", "SETUSER", "consumer", "-subscribe")
    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    wait_trouble(well, "run SUBSCRIBE.*NOPERM", "redis_rights")
    # What is not needed for a verdict holds up none, and one who waits for it is answered.
    event = upload(well.someone, "without-subscriptions")
    assert well.judge(event)["status"] == "applied"
    status, body = well.get(well.someone, f"outcomes/{event.id}?wait=1")
    assert status == 200 and body["outcome"]["data"]["status"] == "applied", body
    before = len(well.consumers[0].output().splitlines())
    status, _ = well.get(well.someone, "outcomes/01a229cb-a645-74b1-a128-b594d5ba1494?wait=4")
    assert status == 404
    assert len(well.consumers[0].output().splitlines()) - before < 20
    client.execute_command("ACL", "SETUSER", "consumer", "+subscribe")


def test_check_tries_what_will_be_used(guarded):
    client = guarded.redis.client()
    for right in ("watch", "unlink", "zrangebylex", "publish", "subscribe", "scan", "exec"):
        client.execute_command("ACL", "SETUSER", "consumer", "-" + right)
        done = subprocess.run([consumer_binary(), "check", "--config", guarded.config], capture_output=True, text=True, timeout=PATIENCE_S,
                              check=False)
        client.execute_command("ACL", "SETUSER", "consumer", "+" + right)
        assert done.returncode == 2 and "NOPERM" in done.stderr and f"run {right.upper()}" in done.stderr, done.stderr


def test_check_and_run_find_the_same_fault_in_the_api(guarded):
    for setting, value, words in (("tls_certificate", "/nowhere/api.pem", "api.tls_certificate: /nowhere/api.pem: No such file"),
                                  ("listen", "192.0.2.1:8080", "api.listen: cannot listen on 192.0.2.1:8080")):
        over = ["--set", f"api.{setting}={value}", "--set", "api.tls_key=/nowhere/api.key" if setting != "listen" else "log.level=info"]
        said = [subprocess.run([consumer_binary(), *over, "--config", guarded.config, command], capture_output=True, text=True,
                               timeout=120, check=False) for command in ("check", "run")]
        assert all(done.returncode == 2 and words in done.stderr for done in said), said
    done = subprocess.run([consumer_binary(), "check", "--config", guarded.config], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0 and "api.listen: somebody listens" in done.stderr, done  # the consumer itself, which runs


def alter(stack, topic, **config):
    from confluent_kafka.admin import ConfigResource
    keep = {k: v for k, v in stack.kafka.topic_config(topic).items() if k in (
        "retention.ms", "retention.bytes", "cleanup.policy", "message.timestamp.type", "unclean.leader.election.enable")}
    resource = ConfigResource("topic", topic, set_config={**keep, **{k.replace("_", "."): v for k, v in config.items()}})
    for done in stack.kafka.admin.alter_configs([resource]).values():
        done.result(PATIENCE_S)


@pytest.mark.parametrize("topic, wrong, right, text", [
    (EVENTS, {"retention_ms": "86400000"}, {"retention_ms": "-1"}, "limited retention time"),
    (OUTCOMES, {"cleanup_policy": "compact"}, {"cleanup_policy": "delete"}, "compaction"),
])
def test_a_topic_that_is_set_to_lose_records(well, topic, wrong, right, text):
    alter(well, topic, **wrong)
    wait_trouble(well, f"{topic} has.*{text}", "topics")
    place = not_judged(well, upload(well.someone, "meanwhile"))
    alter(well, topic, **right)
    assert well.outcome_at(place)["status"] == "applied"


def test_a_redis_that_throws_keys_away(well):
    client = well.redis.client()
    client.config_set("maxmemory-policy", "allkeys-random")
    wait_trouble(well, "maxmemory-policy allkeys-random", "redis")
    place = not_judged(well, upload(well.someone, "meanwhile"))
    client.config_set("maxmemory", "1mb")
    with contextlib.suppress(redis_errors.ResponseError):  # it has no room even so
        client.set("cs:filler", "x" * 100000)
    client.config_set("maxmemory", "0")
    client.config_set("maxmemory-policy", "noeviction")
    # What may be missing is made again by itself.
    assert well.outcome_at(place)["status"] == "applied"
    wait_until(lambda: well.consumers[0].output().count("the damaged catalog is made again") >= well.partitions, PATIENCE_S,
               "all catalogs made again")
    assert "Redis threw keys away" in well.consumers[0].output()
    wait_ready(well)
    code, told = command(well, "verify", "--redis")
    assert code == 0 and told["ok"], told


def transactional(stack):
    producer = stack.kafka.producer(**{"transactional.id": "foreign"})
    producer.init_transactions(30)
    producer.begin_transaction()
    return producer


def test_a_foreign_transaction_holds_up_nothing(well):
    for topic in (EVENTS, OUTCOMES):
        producer = transactional(well)
        producer.produce(topic, value=b"of somebody else", partition=well.at)
        producer.flush(10)
        assert well.judge(upload(well.someone, f"during-{topic}"))["status"] == "applied"
        producer.abort_transaction(30)
        assert well.judge(upload(well.someone, f"after-{topic}"))["status"] == "applied"
        producer.begin_transaction()
        producer.produce(topic, value=b"of somebody else", partition=well.at)
        producer.commit_transaction(30)
        # The mark of the transaction is the last in the partition, and no record that waits.
        wait_until(lambda: board(well)[2][well.at].get("lag") == 0, PATIENCE_S, "no lag")
    wait_ready(well)
    code, told = command(well, "verify", "--redis")
    assert code == 0 and told["ok"] and told["foreign"] == 2, told
    well.redis.client().flushall()  # all is read again, the same
    wait_until(lambda: not board(well)[0], PATIENCE_S, "a replay", interval_s=0.01)
    wait_ready(well)
    assert f"after-{OUTCOMES}" in well.names(well.someone)


def test_kafka_is_away(well, tmp_path):
    """Two consumers, of which neither may say that the other has what nobody has."""
    port = free_port()
    second = well.run_consumer("second", well.write_config("second", port), wait=False)
    well.wait_ready(second, port, timeout_s=PATIENCE_S)
    wait_until(lambda: all(any(e["state"] == "running" for e in board(well, p)[2].values()) for p in (None, port)), PATIENCE_S,
               "a partition for each")
    well.kafka.kill()
    for p in (None, port):
        wait_trouble(well, "brokers", port=p)

    def lost(p):
        return [e for e in board(well, p)[2].values() if e["state"] == "waiting"]
    wait_until(lambda: len(lost(None)) + len(lost(port)) == well.partitions, PATIENCE_S, "partitions that are nobody's")
    for p in (None, port):
        ready, _, _ = board(well, p)
        (entry,) = lost(p)
        assert not ready and "lag" in entry and "session_timeout" in entry["reason"], entry
        assert metric(well, "certsync_partition_lag_records", p)
    well.kafka.restart()
    for p in (None, port):
        wait_ready(well, p)
    assert second.terminate() == 0


def test_a_topic_that_is_made_anew(well):
    well.kafka.delete_topic(OUTCOMES)
    wait_until(lambda: not board(well)[0], PATIENCE_S, "a missing topic that is seen")
    assert well.consumers[0].alive
    well.kafka.create_topic(OUTCOMES, well.partitions, **{"retention.ms": -1, "retention.bytes": -1, "cleanup.policy": "delete"})
    wait_trouble(well, f"{OUTCOMES}.*made anew")
    not_judged(well, upload(well.someone, "meanwhile"))
    assert well.consumers[0].terminate() == 0
    anew(well)


def anew(stack):
    """New topics, an empty Redis, the same keys."""
    stack.outcomes.consumer.close()
    for topic in (EVENTS, OUTCOMES):
        stack.kafka.delete_topic(topic)
    stack.redis.client().flushall()
    stack.begin()
    stack.consumers.clear()
    stack.run_consumer()
    stack.someone = stack.account()


def test_records_that_were_deleted(guarded):
    well = guarded
    wait_ready(well)
    well.kafka.delete_records(EVENTS, well.at, 3)
    wait_trouble(well, f"{EVENTS} partition {well.at} begins at offset 3.*kafka-delete-records", "topics")
    not_judged(well, upload(well.someone, "meanwhile"))
    assert well.consumers[0].alive
    assert well.consumers[0].terminate() == 0
    done = subprocess.run([consumer_binary(), "run", "--config", well.config], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 2 and "begins at offset 3" in done.stderr, done


# --- certificates towards Kafka

class Pki:
    """A CA, the broker's pair, and the client's, which is renewed: files as Kafka and librdkafka read them."""

    def __init__(self, directory):
        directory.mkdir()
        self.dir, self.ca = directory, ev.Authority("Kafka CA")
        (directory / "ca.pem").write_bytes(ev.pem_of(self.ca.der))
        key = ev.new_key()
        ev.write_private(key, directory / "broker.key")
        chain = ev.pem_of(self.ca.issue(key.public_key(), names=("localhost",)), self.ca.der)
        (directory / "broker.pem").write_bytes((directory / "broker.key").read_bytes() + chain)
        self.renew()

    def renew(self, days=90):
        """A new key, and a certificate of it, one file after the other."""
        key = ev.new_key()
        ev.write_private(key, self.dir / "client.key.new")
        (self.dir / "client.pem.new").write_bytes(ev.pem_of(self.ca.issue(key.public_key(), names=("client",), days=days)))
        for name in ("client.key", "client.pem"):
            (self.dir / f"{name}.new").replace(self.dir / name)

    @property
    def settings(self):
        return {"security_protocol": "ssl", "ssl_ca": self.dir / "ca.pem", "ssl_certificate": self.dir / "client.pem",
                "ssl_key": self.dir / "client.key", "ssl_verify_hostname": "no"}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sealed")
    pki = Pki(directory / "pki")
    kafka = Kafka(directory / "kafka")
    try:
        kafka.start(message_max_bytes=33554432, **{
            "listeners": "PLAINTEXT://127.0.0.1:$PORT,SSL://127.0.0.1:$PORT2,CONTROLLER://127.0.0.1:$CPORT",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT",
            "ssl.client.auth": "required", "ssl.keystore.type": "PEM", "ssl.keystore.location": pki.dir / "broker.pem",
            "ssl.truststore.type": "PEM", "ssl.truststore.location": pki.dir / "ca.pem"})
        settings = {"kafka": {"brokers": f"127.0.0.1:{kafka.node().port2}", **pki.settings}, "consumer": {"workers": "2"}}
        with Stack(directory / "stack", partitions=2, kafka=kafka, consumer_settings=settings) as stack:
            stack.pki = pki
            stack.run_consumer()
            yield stack
    finally:
        kafka.stop()


def test_renewed_client_certificates_are_taken_up(sealed, tmp_path):
    """Under load nothing is lost or doubled, and what ends when is told; the agent does the same."""
    stack, account = sealed, sealed.account()
    host = Host(stack, stack.account(), tmp_path / "host")
    host.configure(**{f"kafka.{k}": v for k, v in {"brokers": f"127.0.0.1:{stack.kafka.node().port2}", **stack.pki.settings}.items()},
                   **{"agent.heartbeat": "1s"})
    agent = Process("agent", [certsync_binary(), "--config", host.config, "agent"], tmp_path)
    wait_until(lambda: b"running" in host.run("status").stdout, PATIENCE_S, "an agent")

    def ends():
        return metric(stack, "certsync_tls_certificate_expiry_seconds")[f'file="{stack.pki.dir}/client.pem"']
    before = ends()
    stack.pki.renew(days=30)
    places = [stack.send(upload(account, f"while-{i}")) for i in range(40)]
    wait_until(lambda: stack.consumers[0].output().count("made anew with the changed files") == 2, PATIENCE_S, "new connections")
    places += [stack.send(upload(account, f"after-{i}")) for i in range(5)]
    for place in places:
        assert stack.outcome_at(place)["status"] == "applied"
    assert ends() < before
    wait_ready(stack)
    # The API asks Kafka only when Redis was away: over a connection of its own, which is made anew as well.
    stack.redis.client().client_kill_filter(_type="normal", skipme=True)
    wait_until(lambda: "the API's connection to Kafka is a new one" in stack.consumers[0].output(), PATIENCE_S, "the API's new connection")
    wait_ready(stack)
    wait_until(lambda: "made anew with the changed files" in agent.output(), PATIENCE_S, "a new connection of the agent's")
    assert b"certificate ends" in host.run("status").stdout
    # Half of a pair is not taken up, and harms nobody.
    (stack.pki.dir / "client.pem").write_bytes(b"nothing")
    wait_until(lambda: "the old ones stay in use" in stack.consumers[0].output(), PATIENCE_S, "a warning")
    wait_until(lambda: "the old ones stay in use" in agent.output(), PATIENCE_S, "a warning of the agent's")
    assert stack.judge(upload(account, "half"))["status"] == "applied"
    stack.pki.renew()
    wait_until(lambda: stack.consumers[0].output().count("made anew with the changed files") == 4, PATIENCE_S, "new connections")
    wait_ready(stack)
    code, told = command(stack, "verify", "--redis")
    assert code == 0 and told["ok"] and told["copies"] == 0, told
    agent.kill()


# --- at the end, since it takes half a minute

def test_outcomes_without_events_stop_the_partition(written_to):
    wait_until(lambda: board(written_to)[2][written_to.waits]["state"] == "stopped", PATIENCE_S, "an end of the wait")
