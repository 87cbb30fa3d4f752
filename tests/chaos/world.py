# SPDX-License-Identifier: Apache-2.0
"""The servers of chaos runs: one Kafka of three nodes that lasts over all runs, and for each run topics, Redis and consumers of its own."""
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from chaos import trouble
from chaos.senders import Sealer, Sender
from model_py import audit, catalog, wire
from model_py.marks import HEADER, Marks
from model_py.rules import epoch_of
from support import events as ev
from support.kafka import Kafka
from support.proc import PATIENCE_S, Process, free_port, wait_until
from support.redis import Redis
from support.stack import certsync_binary, consumer_binary
from support.witness import Witness

SESSION_MS = 1500
DEADLINE_S = PATIENCE_S  # without any progress


class Violation(Exception):
    pass


class World:
    def __init__(self, directory, nodes=3):
        self.directory, self.nodes = Path(directory), nodes
        self.kafka = Kafka(self.directory / "kafka")
        self.has_crash_points = b"between_derived_and_outcomes" in Path(consumer_binary()).read_bytes()
        self.missing = {}  # faults that cannot be had here, and why
        if not self.has_crash_points:
            self.missing["crash_point"] = "this build has no named crash points (CERTSYNC_FAULTS)"
        if not Path(certsync_binary()).exists():
            self.missing |= dict.fromkeys(("cli", "agent", "disk_full"), f"there is no {certsync_binary()}")
        if why := trouble.own_mounts():
            self.missing.setdefault("disk_full", why)
        if why := trouble.no_clock():
            self.missing["clock"] = why
        if nodes != 3:
            self.missing |= dict.fromkeys(("kill_node", "pause_node"), "there is one Kafka node only")

    def start(self):
        more = {"min_insync_replicas": 2, "offsets_topic_replication_factor": 3} if self.nodes == 3 else {}
        self.kafka.start(nodes=self.nodes, group_min_session_timeout_ms=200, message_max_bytes=1048588,
                         replica_fetch_max_bytes=1048588, replica_lag_time_max_ms=3000, log_retention_check_interval_ms=600000,
                         **more)
        return self

    def stop(self):
        self.kafka.stop()

    def heal(self):
        """All nodes run, and answer."""
        if any(not n.process.alive for n in self.kafka.nodes):
            for node in self.kafka.nodes:
                if not node.process.alive:
                    self.kafka._launch(node)  # pylint: disable=protected-access
            self.kafka.wait_ready()

    def in_sync(self, *topics):
        try:
            found = self.kafka.admin.list_topics(timeout=10).topics
        except KafkaException:
            return False
        return all(len(p.isrs) == len(p.replicas) and p.leader > 0 for t in topics if t in found
                   for p in found[t].partitions.values())


class Run:
    """One deployment: its keys, topics, Redis, consumers; a producer, and a reader of both topics."""

    def __init__(self, world, number, seed, directory):
        self.world, self.number, self.seed = world, number, seed
        self.directory = Path(directory)
        self.directory.mkdir(parents=True)
        self.random = random.Random(f"run {seed}")
        self.partitions = self.random.choice([1, 2, 3, 4, 6])
        self.workers = self.random.choice([1, 1, 2])
        self.batch = self.random.choice([1, 7, 7, 50, 50, 500, 500, 500])
        self.deployment = f"chaos-{number}"
        self.events_topic, self.outcomes_topic, self.checkpoints_topic = f"ev-{number}", f"out-{number}", f"heads-{number}"
        self.heartbeats_topic, self.corrections_topic = f"beats-{number}", f"corrections-{number}"
        self.namespace, self.group = "cs", f"group-{number}"
        self.consumers, self.redises, self.started = [], [], 0
        self.disks, self.operators, self.clock, self.hosted = [], [], 0, False
        self.acknowledged, self.undelivered = [], []
        self.damages = []  # what somebody else did to Redis
        self.begins = {}  # by partition: where its epochs 1, 2, ... begin
        self.foreign = Counter()  # by partition, records of cert.outcomes that no consumer wrote
        self.witness, self.witnessed = None, False
        self.log_id = ""  # until the log is begun
        self.records = {self.events_topic: {}, self.outcomes_topic: {}}
        self._keys()

    def _keys(self):
        self.keys = self.directory / "keys"
        self.keys.mkdir()
        self.custodian = ev.x25519.X25519PrivateKey.generate()
        self.root, self.admin, self.issuer, self.service = (Sender("") for _ in range(4))
        for name in ("root", "service"):
            ev.write_private(getattr(self, name).key, self.keys / f"{name}.key")
            ev.write_public(getattr(self, name).key, self.keys / f"{name}.pub")
        ev.write_public(self.custodian, self.keys / "custodian.pub")

    # --- life

    def start(self, aof):
        self.redis = Redis(self.directory / "redis", tcp=True, enable_debug_command="yes",
                           **({"appendonly": "yes", "appendfsync": "everysec"} if aof else {})).start()
        self.redises.append(self.redis)
        self.socket = self.directory / "r.sock"
        self.point_at(self.redis)
        done = subprocess.run([consumer_binary(), "init", "--config", self.config("init"), "--partitions", str(self.partitions),
                               "--replication", str(self.world.nodes), "--root-key", self.keys / "root.key"],
                              capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"init: exit {done.returncode}\n{done.stdout}{done.stderr}")
        self.log_id = re.search(r"genesis: .*, log (\S+)", done.stdout)[1]
        self.sealer = Sealer(self.custodian.public_key(), self.log_id)
        for sender in (self.root, self.admin, self.issuer, self.service):
            sender.log_id, sender.sealer = self.log_id, self.sealer
        self.root.seq = 1000  # above what init used
        servers = self.world.kafka.bootstrap
        self.marks = Marks(self.service.key, self.log_id)
        if self.witnessed:
            self._start_witness()
        self.producer = self.world.kafka.producer(**{"linger.ms": 10, "message.timeout.ms": 0, "socket.nagle.disable": True,
                                                     "reconnect.backoff.max.ms": 500})
        self.reader = Consumer({"bootstrap.servers": servers, "group.id": "unused", "enable.auto.commit": False,
                                "auto.offset.reset": "earliest", "log_level": 0,
                                "reconnect.backoff.max.ms": 500})
        self.reader.assign([TopicPartition(t, p, 0) for t in (self.events_topic, self.outcomes_topic)
                            for p in range(self.partitions)])
        for role, spki in (("admin", self.admin.spki), ("issuer", self.issuer.spki),
                           ("custodian", ev.spki_of(self.custodian.public_key()))):
            record = self.root.event("trust.add", "", ev.kid_of(spki), {"role": role, "key": ev.b64(spki)})
            for p in range(self.partitions):
                self.produce(record.value, p, record.headers, b"")
        return self

    def _start_witness(self):
        done = subprocess.run([consumer_binary(), "checkpoint-key", "--config", self.config("key")], capture_output=True, text=True,
                              timeout=60, check=True)
        epochs = ["", *(f"/epochs/{e}" for e in range(1, 10))]
        origins = {f"{self.log_id}/partitions/{p}{e}": done.stdout.strip() for p in range(self.partitions) for e in epochs}
        self.witness = Witness(self.directory, "witness.example", origins).start()

    def point_at(self, redis):
        """What the consumers' URL leads to from now on: as a virtual address that a failover moves."""
        link = self.directory / "r.new"
        link.symlink_to(redis.socket)
        os.replace(link, self.socket)

    def config(self, name, port=None, **over):
        settings = {
            "deployment": {"id": self.deployment, "root_key": self.keys / "root.pub", "service_key": self.keys / "service.key"},
            "kafka": {"brokers": self.world.kafka.bootstrap, "events_topic": self.events_topic, "group": self.group,
                      "outcomes_topic": self.outcomes_topic, "checkpoints_topic": self.checkpoints_topic, "corrections_topic": self.corrections_topic,
                      "heartbeats_topic": self.heartbeats_topic, "session_timeout": f"{SESSION_MS}ms",
                      "rdkafka.heartbeat.interval.ms": 300, "rdkafka.reconnect.backoff.max.ms": 500},
            "redis": {"url": f"unix://{self.socket}", "namespace": self.namespace, "timeout": "1s"},
            "consumer": {"workers": self.workers, "batch_records": self.batch, "drain_timeout": "3s", "preflight_timeout": "2m"},
            "api": {"listen": f"127.0.0.1:{port}" if port else f"unix:{self.directory}/api-{name}.sock"}, "log": {"level": "info"}}
        if self.witness:
            settings |= {"checkpoint": {"witness_every": "1s", "witness_timeout": "1s"},
                         "witness one": {"url": self.witness.url, "key": self.witness.vkey}}
        for section, values in over.items():
            settings[section].update(values)
        path = self.directory / f"{name}.conf"
        path.write_text("".join(f"[{s}]\n" + "".join(f"{k} = {v}\n" for k, v in values.items()) for s, values in settings.items()))
        return path

    def run_consumer(self, crash_at=None, **over):
        self.started += 1
        name, port = f"consumer{self.started}", free_port() if self.hosted else None
        env = trouble.clock(self.clock) | ({"CERTSYNC_CRASH_AT": crash_at} if crash_at else {})
        consumer = Process(name, [consumer_binary(), "run", "--config", self.config(name, port, **over)], self.directory, env=env)
        consumer.stopped, consumer.ending, consumer.port = False, False, port
        self.consumers.append(consumer)
        return consumer

    @staticmethod
    def end_consumer(consumer):
        """SIGTERM, once: a second one means "at once", and gives another exit code."""
        if not consumer.ending:
            consumer.ending = True
            consumer.signal(signal.SIGTERM)

    def operate(self, command):
        """An operator's command, beside what runs."""
        self.started += 1
        name = f"{command}{self.started}"
        process = Process(name, [consumer_binary(), command, "--config", self.config(name)], self.directory)
        self.operators.append(process)
        return process

    def alive(self):
        return [c for c in self.consumers if c.alive and not c.stopped]

    def expect_alive(self):
        """A consumer that ended by itself, not by our SIGKILL or SIGTERM, is a violation: it has errors that only pause.
        So is an operator's command that says that something is not as it should be (1), or dies."""
        for c in self.operators:
            if c.popen.poll() not in (None, 0, 2, -signal.SIGKILL):
                raise Violation(f"{c.name} ended with {c.popen.poll()}: {c.tail(5)}")
        for c in list(self.consumers):
            if not c.alive and not getattr(c, "ended", False):
                c.ended = True
                code = c.popen.poll()
                if code == -signal.SIGTERM and " ready " not in c.output():
                    continue  # before it could take signals, and did anything
                if code not in (-signal.SIGKILL, 0):
                    raise Violation(f"{c.name} ended with {code}: {c.tail(5)}")

    def stop(self):
        for c in self.consumers + self.operators:
            c.kill()
        for r in self.redises:
            r.stop()
        if self.witness:
            self.witness.stop()
        self.reader.close() if hasattr(self, "reader") else None
        try:
            self.world.kafka.admin.delete_topics([self.events_topic, self.outcomes_topic, self.checkpoints_topic, self.corrections_topic, self.heartbeats_topic])
        except Exception:  # the next run has its own  # pylint: disable=broad-except
            pass

    def remove(self):
        for disk in self.disks:
            disk.unmount()
        shutil.rmtree(self.directory, ignore_errors=True)

    # --- records

    def produce(self, value, partition, headers, key):
        def report(error, message):
            if error:
                self.undelivered.append(str(error))
            else:
                self.acknowledged.append((message.partition(), message.offset(), value))
        while True:
            try:
                self.producer.produce(self.events_topic, value=value, partition=partition, headers=headers, key=key,
                                      on_delivery=report)
                break
            except BufferError:
                self.producer.poll(0.1)
        self.producer.poll(0)

    def read(self, timeout_s=0.0):
        """Takes in what both topics have to give just now."""
        messages = self.reader.consume(500, timeout_s)
        for m in messages:
            if m.error():
                if m.error().code() in (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET):  # pylint: disable=protected-access
                    raise Violation(f"{m.topic()}: {m.error()}")
                continue
            if m.topic() == self.outcomes_topic and not self._is_marked(m):
                self.foreign[m.partition()] += 1
                continue
            when = m.timestamp()[1]
            self.records[m.topic()][(m.partition(), m.offset())] = wire.Record(
                m.partition(), m.offset(), when, m.key(), m.value(), m.headers() or [])
        return len(messages)

    def _is_marked(self, m):
        marks = [value for name, value in m.headers() or [] if name == HEADER]
        return m.value() is not None and marks == [self.marks.of(m.partition(), m.key() or b"", m.value())]

    def plant(self, partition, r):
        """A record of cert.outcomes by somebody who has no service key."""
        known = [o for (p, _), o in self.records[self.outcomes_topic].items() if p == partition]
        key, value, headers = b"", r.randbytes(r.choice([0, 1, 700])), []
        if known and r.random() < 0.85:
            old = r.choice(known)
            key, headers, outcome = old.key, r.choice([[], old.headers, [(HEADER, b"00000000.AAAAAAAAAAAAAAAAAAAAAA")]]), json.loads(old.value)
            n = r.choice([0, number_of(old), len(known) + 1, len(known) + 1, len(known) + 2, 10 ** 15])
            newest = max(known, key=number_of)
            outcome["sequence"] = f"{n:016}"
            outcome["data"] |= {"status": r.choice(["applied", "rejected", "pending"]), "prev": hashlib.sha256(newest.value).hexdigest(),
                                "offset": outcome["data"]["offset"] + r.choice([0, 1, 1000])}
            value = r.choice([json.dumps(outcome, separators=(",", ":")).encode(), old.value + b" ", None])
        self.producer.produce(self.outcomes_topic, value=value, partition=partition, headers=headers, key=key)

    def correct(self, partition, number):
        """Root has the outcomes of the partition from this number on judged anew."""
        event = self.root.envelope("system.correction", "", self.deployment, {"partition": partition, "from": number, "reason": "chaos"})
        del event["sequence"]
        record = self.root.record("", event)
        self.begins.setdefault(partition, []).append(number)
        self.producer.produce(self.corrections_topic, value=record.value, partition=0, headers=record.headers, key=b"")

    def ends(self, topic):
        return {p: self._end(TopicPartition(topic, p)) for p in range(self.partitions)}

    def _end(self, place):
        """The brokers' answer, once they have one: a leader that was killed or stopped has none for a while."""
        until = time.monotonic() + DEADLINE_S
        while True:
            try:
                return self.reader.get_watermark_offsets(place, timeout=15)[1]
            except KafkaException:
                if time.monotonic() > until:
                    raise

    def read_to_end(self, deadline_s=30):
        until = time.monotonic() + deadline_s
        for topic in (self.events_topic, self.outcomes_topic):
            ends = self.ends(topic)
            foreign = self.foreign if topic == self.outcomes_topic else Counter()
            while any(self.count(topic, p) + foreign[p] < end for p, end in ends.items()):
                if time.monotonic() > until:
                    raise Violation(f"{topic} could not be read to its end: {ends}")
                self.read(0.1)

    def count(self, topic, partition):
        return sum(1 for p, _ in self.records[topic] if p == partition)

    def log(self, topic):
        return [self.records[topic][k] for k in sorted(self.records[topic])]

    def decided(self):
        """Per partition, the last number of an outcome that counts."""
        best = dict.fromkeys(range(self.partitions), 0)
        for (p, _), r in self.records[self.outcomes_topic].items():
            n = number_of(r)
            if n > best[p] and (p not in self.begins or audit.epoch_in(r) == epoch_of(self.begins[p], n)):
                best[p] = n
        return best

    def position(self, partition):
        try:
            client = self.redis.client()
            value = client.get(catalog.live_prefix(client, self.namespace, partition) + "pos")
        except Exception:  # away  # pylint: disable=broad-except
            return {}
        return json.loads(catalog.document(value)) if value else {}

    def settled(self):
        """Every record has its outcome and stands in the catalog."""
        self.read(0.05)
        decided = self.decided()
        if any(decided[p] < self.count(self.events_topic, p) for p in decided):
            return False  # without asking Kafka
        ends = self.ends(self.events_topic)
        if any(decided[p] > ends[p] for p in ends):
            raise Violation(f"more outcomes than records: {decided} of {ends}")
        if any(ends[p] != decided[p] for p in ends):
            return False
        return all((at := self.position(p)).get("next_offset") == ends[p] and at.get("epoch", 0) == epoch_of(self.begins.get(p, ()), ends[p])
                   for p in ends)


_NUMBERS = {}


def number_of(record):
    key = id(record)
    if key not in _NUMBERS or _NUMBERS[key][0] is not record:
        try:
            n = int(json.loads(record.value)["sequence"])
        except (ValueError, KeyError, TypeError):
            n = 0
        _NUMBERS[key] = (record, n)
    return _NUMBERS[key][1]


def forget_numbers():
    _NUMBERS.clear()


__all__ = ["World", "Run", "Violation", "DEADLINE_S", "SESSION_MS", "wait_until", "forget_numbers"]
