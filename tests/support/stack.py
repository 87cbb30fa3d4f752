# SPDX-License-Identifier: Apache-2.0
"""The whole of certsync on this machine: Kafka, Redis, consumer, and the keys of everybody.

    with Stack(tmp_path) as stack:
        acme = stack.account("acme")                 # registered, with an agent that may do all
        outcome = stack.judge(acme.agent.upload(acme.id, "www", key, chain))
        assert outcome["status"] == "applied"

Records go to Kafka as they are, verdicts are read from cert.outcomes.
"""

import itertools
import json
import re
import subprocess
import time
from pathlib import Path

from model_py.marks import HEADER, Marks
from support import events as ev
from support import openapi
from support.kafka import Kafka
from support.proc import PATIENCE_S, REPO, Process, free_port, wait_until
from support.redis import Redis

DEPLOYMENT = "test-deployment"
EVENTS, OUTCOMES, CHECKPOINTS = "cert.events", "cert.outcomes", "cert.checkpoints"  # topics of the default settings
HEARTBEATS, CORRECTIONS = "cert.heartbeats", "cert.corrections"
ALL_RIGHTS = ["upload", "delete", "share", "csr", "read"]


def build_dir() -> Path:
    import os
    return Path(os.environ.get("CS_TEST_BUILD", REPO / "build/dev"))


def consumer_binary() -> Path:
    return build_dir() / "consumer/certsync-consumer"


def certsync_binary() -> Path:
    return build_dir() / "agent/certsync"


class Account:
    def __init__(self, account_id: str, agent: ev.Sender):
        self.id, self.agent = account_id, agent


class Stack:
    def __init__(self, directory, partitions=4, kafka=None, nodes=1, redis_config=None, consumer_settings=None,
                 events_max_bytes=1048588, redis=None, prefix=""):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.partitions, self.nodes, self.events_max_bytes = partitions, nodes, events_max_bytes
        self.kafka, self.own_kafka = kafka or Kafka(self.directory / "kafka"), kafka is None
        self.redis = redis or Redis(self.directory / "redis", **(redis_config or {}))
        # A deployment of its own on a Kafka that is shared: other topics, another group.
        self.events_topic, self.outcomes_topic, self.checkpoints_topic = prefix + EVENTS, prefix + OUTCOMES, prefix + CHECKPOINTS
        self.heartbeats_topic, self.corrections_topic = prefix + HEARTBEATS, prefix + CORRECTIONS
        self.settings = consumer_settings or {}
        if prefix:
            self.settings.setdefault("kafka", {}).update(
                {"events_topic": self.events_topic, "outcomes_topic": self.outcomes_topic,
                 "checkpoints_topic": self.checkpoints_topic, "heartbeats_topic": self.heartbeats_topic, "corrections_topic": self.corrections_topic,
                 "group": prefix + "certsync"})
        self.consumers: list[Process] = []
        self.keys = self.directory / "keys"
        self.accounts = 0
        self._judged = {}  # account -> the last event that was applied, until the API is asked

    # --- starting and ending

    def start(self):
        if self.own_kafka:
            self.kafka.start(nodes=self.nodes, message_max_bytes=33554432)
        self.redis.start()
        self._make_keys()
        self.port = free_port()
        self.config = self.write_config("consumer", self.port)
        return self.begin()

    def begin(self):
        """The topics, and whom the root key trusts in them."""
        self.init()
        self.marks = [Marks(self.service, self.log_id)]  # of each service key that the stack has had
        self._outcomes = _Tail(self.kafka.bootstrap, self.partitions, self.outcomes_topic, self.marks)
        self._producer, self._ends = self.kafka.producer(), None
        self.trust("admin", self.admin)
        self.trust("issuer", self.issuer)
        self.trust("custodian", None, spki=ev.spki_of(self.custodian.public_key()))
        self.trust("auditor", self.auditor)
        return self

    def stop(self):
        for consumer in self.consumers:
            consumer.kill()
        self.redis.stop()
        if self.own_kafka:
            self.kafka.stop()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def _make_keys(self):
        self.keys.mkdir(exist_ok=True)
        self.custodian = ev.x25519.X25519PrivateKey.generate()
        public = self.custodian.public_key()
        self.root, self.admin, self.issuer, self.auditor = (ev.Sender("", public) for _ in range(4))
        self.service = ev.new_key()
        for name, key in (("root", self.root.key), ("admin", self.admin.key), ("issuer", self.issuer.key),
                          ("auditor", self.auditor.key), ("service", self.service), ("custodian", self.custodian)):
            ev.write_private(key, self.keys / f"{name}.key")
            ev.write_public(key, self.keys / f"{name}.pub")

    def write_config(self, name: str, port: int, **over) -> Path:
        settings = {
            "deployment": {"id": DEPLOYMENT, "root_key": self.keys / "root.pub", "service_key": self.keys / "service.key"},
            "kafka": {"brokers": self.kafka.bootstrap},
            "redis": self.redis.settings(),
            "api": {"listen": f"127.0.0.1:{port}"},
            "log": {"level": "info"},
        }
        for layer in (self.settings, over):
            for section, keys in layer.items():
                settings.setdefault(section, {}).update(keys)
        path = self.directory / f"{name}.conf"
        path.write_text("\n".join(f"[{s}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items())
                                  for s, keys in settings.items()))
        return path

    def init(self):
        done = subprocess.run([consumer_binary(), "init", "--config", self.config, "--partitions", str(self.partitions),
                               "--replication", str(self.nodes), "--root-key", self.keys / "root.key"],
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        assert done.returncode == 0, f"init: exit {done.returncode}\n{done.stdout}{done.stderr}"
        self.log_id = re.search(r"genesis: .*, log (\S+)", done.stdout)[1]
        for sender in (self.root, self.admin, self.issuer, self.auditor):
            sender.log_id = self.log_id
        self.root.seq = 1000  # above what init used

    def run_consumer(self, name="consumer", config=None, wait=True, env=None) -> Process:
        consumer = Process(name, [consumer_binary(), "run", "--config", config or self.config], self.directory, env=env)
        self.consumers.append(consumer)
        if wait:
            self.wait_ready(consumer)
        return consumer

    def wait_ready(self, consumer, port=None, timeout_s=PATIENCE_S):
        def ready():
            assert consumer.alive, f"the consumer ended\n{consumer.tail()}"
            status, _ = self.http("/readyz", port=port)
            return status == 200
        try:
            wait_until(ready, timeout_s, "a ready consumer")
        except AssertionError as e:
            raise AssertionError(f"{e}\n{consumer.tail()}") from None

    def kafka_max_bytes(self, topic, max_bytes):
        from confluent_kafka.admin import ConfigResource
        current = self.kafka.topic_config(topic)
        if int(current["max.message.bytes"]) != max_bytes:
            keep = {k: current[k] for k in ("retention.ms", "cleanup.policy", "message.timestamp.type")}
            resource = ConfigResource("topic", topic, set_config={**keep, "max.message.bytes": str(max_bytes)})
            for done in self.kafka.admin.alter_configs([resource]).values():
                done.result(PATIENCE_S)

    # --- records in, outcomes out

    def send(self, record: ev.Record, partition=None, headers=None, key=None):
        """Produces; returns (partition, offset)."""
        if partition is None:
            partition = ev.partition_of(record.account, self.partitions)
        return self.produce(record.value, partition, record.headers if headers is None else headers,
                            record.account.encode() if key is None else key)

    def produce(self, value, partition, headers, key=b""):
        place = []

        def report(error, message):
            place.append(error or (message.partition(), message.offset()))
        self._producer.produce(self.events_topic, value=value, partition=partition, headers=headers, key=key, on_delivery=report)
        self._producer.flush(PATIENCE_S)
        assert place and isinstance(place[0], tuple), f"not delivered: {place}"
        return place[0]

    def send_all(self, records):
        """Produces many; returns their (partition, offset) in order."""
        places = [None] * len(records)

        def report(i):
            def note(error, message):
                places[i] = error or (message.partition(), message.offset())
            return note
        for i, r in enumerate(records):
            self._producer.produce(self.events_topic, value=r.value, partition=ev.partition_of(r.account, self.partitions), headers=r.headers,
                                   key=r.account.encode(), on_delivery=report(i))
            self._producer.poll(0)
        self._producer.flush(PATIENCE_S)
        assert all(isinstance(p, tuple) for p in places), "not all was delivered"
        return places

    def produce_outcome(self, partition, key, value, mark=None):
        """A record of cert.outcomes, as a consumer marks it, or with this mark (b"": none)."""
        headers = self.marks[-1].headers(partition, key, value)
        if mark is not None:
            headers = headers[:1] + ([(HEADER, mark)] if mark else [])
        return self.kafka.produce(self.outcomes_topic, value, key=key, partition=partition, headers=headers)

    def ends(self):
        """{partition: the next offset} of the events. Not for a Kafka that is killed: the client lasts."""
        self._ends = self._ends or self.kafka.ends_of(self.events_topic)
        return self._ends()

    def outcome_at(self, place, timeout_s=PATIENCE_S) -> dict:
        return self._outcomes.wait(place, timeout_s)

    def judge(self, record: ev.Record, **how) -> dict:
        """Sends the record and returns its own outcome."""
        outcome = self.outcome_at(self.send(record, **how))
        # These may leave no outcome in a catalog.
        if outcome["status"] == "applied" and b"certsync.share." not in record.value:
            self._judged[record.account] = record.id
        return outcome

    def final(self, record: ev.Record, **how) -> dict:
        """Sends the record; where its outcome is pending, returns what concluded it: {"status", "code"?}."""
        outcome = self.judge(record, **how)
        return self._outcomes.conclusion(record.id) if outcome["status"] == "pending" else outcome

    @property
    def outcomes(self):
        return self._outcomes

    # --- the cast

    def trust(self, role: str, sender, spki=None, remove=False):
        spki = spki or sender.spki
        data = {"role": role} if remove else {"role": role, "key": ev.b64(spki)}
        record = self.root.event(f"trust.{'remove' if remove else 'add'}", "", ev.kid_of(spki), data)
        return [self.send(record, partition=p) for p in range(self.partitions)]

    def appoint(self, role: str, sender):
        """Trusts a key, and returns when every partition and the API know it."""
        for place in self.trust(role, sender):
            assert self.outcome_at(place)["status"] == "applied"
        for p in range(self.partitions):
            self._until_known(sender, next(a for a in map(str, itertools.count()) if ev.partition_of(a, self.partitions) == p))

    def _until_known(self, sender, account):
        """A verdict is published before its catalog is committed. Where an API runs, waits until it knows the key."""
        path, token = f"/v1/accounts/{account}/certificates?limit=1", self.token(sender, account)
        wait_until(lambda: self.http(path, token)[0] not in (401, 503), PATIENCE_S, "the API to know a new key")

    def register(self, account: str, site="intl", owner="owner-1", verified=True, **limits) -> dict:
        data = {"site": site, "owner": owner, "verified": verified, **({"limits": limits} if limits else {})}
        return self.judge(self.admin.event("account.register", account, account, data))

    def enroll(self, account: str, can=None, names="*", **more) -> ev.Sender:
        agent = ev.Sender(self.log_id, self.custodian.public_key())
        outcome = self.judge(self.admin.event("agent.enroll", account, agent.kid, {
            "key": ev.b64(agent.spki), "can": ALL_RIGHTS if can is None else can, "names": names, **more}))
        assert outcome["status"] == "applied", outcome
        self._until_known(agent, account)
        return agent

    def account(self, account=None, **how) -> Account:
        self.accounts += 1
        account = account or f"account-{self.accounts}"
        outcome = self.register(account, **how)
        assert outcome["status"] == "applied", outcome
        return Account(account, self.enroll(account))

    # --- the API

    def token(self, sender: ev.Sender, account: str, lifetime_s=120) -> str:
        import jwt
        now = int(time.time())
        return jwt.encode({"iss": sender.kid, "sub": account, "aud": DEPLOYMENT, "iat": now, "exp": now + lifetime_s},
                          sender.key, algorithm="ES256", headers={"kid": sender.kid})

    def http(self, path: str, token=None, port=None, timeout_s=PATIENCE_S):
        """(status, JSON or text) of a GET, as docs/use/openapi.yaml says it; (0, …) where nobody listens."""
        import urllib.error
        import urllib.request
        request = urllib.request.Request(f"http://127.0.0.1:{port or self.port}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:
                status, body = answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            status, body = e.code, e.read().decode()
        except (urllib.error.URLError, ConnectionError) as e:
            return 0, str(e)
        try:
            body = json.loads(body)
        except ValueError:
            pass  # a text
        openapi.check(path, status, body)
        return status, body

    def get(self, account: Account, path: str):
        """A GET below /v1/accounts/<account>, as its agent. A verdict is published before its catalog is committed: so the API first
        knows what judge() said of the account."""
        judged, token = self._judged.pop(account.id, None), self.token(account.agent, account.id)
        if judged:
            wait_until(lambda: self.http(f"/v1/accounts/{account.id}/outcomes/{judged}", token)[0] != 404, PATIENCE_S,
                       f"the API to know the outcome of {judged}")
        return self.http(f"/v1/accounts/{account.id}/{path}", token)

    def names(self, account: Account) -> dict:
        """name -> item of what the account sees."""
        answer = []

        def answered():  # a verdict is published before its catalog is committed: 503 until then
            answer[:] = self.get(account, "certificates?limit=1000")
            return answer[0] != 503
        wait_until(answered, 20, "an answer from a catalog that has caught up")
        status, body = answer
        assert status == 200, (status, body)
        return {c["name"]: c for c in body["certificates"]}


class _Tail:
    """Reads cert.outcomes on and on; keeps the first outcome of each number and epoch; the newest epoch's counts."""

    def __init__(self, bootstrap, partitions, topic, marks):
        from confluent_kafka import Consumer, TopicPartition
        self.marks = marks
        # What comes is told at once; fetch.wait.max.ms is how often the broker says that nothing came.
        self.consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False,
                                  "auto.offset.reset": "error", "log_level": 0, "fetch.wait.max.ms": 100,
                                  "isolation.level": "read_uncommitted"})
        self.consumer.assign([TopicPartition(topic, p, 0) for p in range(partitions)])
        self.by_place, self.by_number, self.raw, self.concluded = {}, {}, [], {}
        self.epochs = {}  # by number: {epoch: value}; by_number has the newest

    def _is_ours(self, message):
        mark = dict(message.headers() or []).get(HEADER)
        return any(mark == m.of(message.partition(), message.key() or b"", message.value()) for m in self.marks)

    def poll(self, timeout_s=0.05):
        message = self.consumer.poll(timeout_s)
        if message is None:
            return
        assert not message.error(), message.error()
        self.raw.append((message.partition(), message.offset(), message.value()))
        if b'"prev":' not in (message.value() or b"") or not self._is_ours(message):
            return  # somebody else's
        outcome = ev.outcome_of(message.value())
        number = (message.partition(), outcome["n"])
        epoch, known = outcome.get("epoch", 0), self.epochs.setdefault(number, {})
        if epoch in known:
            assert known[epoch] == message.value(), f"fork at {number}, epoch {epoch}"
            return
        known[epoch] = message.value()
        if epoch < max(known):
            return
        self.by_number[number] = message.value()
        self.by_place[(outcome["partition"], outcome["offset"])] = outcome
        for conclusion in outcome.get("concludes", []):
            self.concluded[conclusion["event"]] = conclusion

    def _until(self, found, timeout_s, what):
        deadline = time.monotonic() + timeout_s
        while True:
            value = found()
            if value is not None:
                return value
            assert time.monotonic() < deadline, f"no {what} within {timeout_s} s"
            self.poll()

    def wait(self, place, timeout_s=PATIENCE_S):
        return self._until(lambda: self.by_place.get(place), timeout_s, f"outcome of the record at {place}")

    def conclusion(self, event_id, timeout_s=PATIENCE_S):
        return self._until(lambda: self.concluded.get(event_id), timeout_s, f"conclusion of {event_id}")
