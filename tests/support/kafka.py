# SPDX-License-Identifier: Apache-2.0
"""A real Apache Kafka on loopback ports, from Maven Central's jars, ended with its parent.

    with Kafka(tmp_path) as kafka:                       # one node; Kafka(tmp_path).start(nodes=3) for three
        kafka.create_topic("cert.events", 4, **{"message.timestamp.type": "LogAppendTime"})
        kafka.produce("cert.events", b"...", key=b"acme", partition=0, headers={"certsync-sig": b"..."})
        records = kafka.consume("cert.events")

From a shell (ends on SIGTERM, SIGINT, or with its parent):
    PYTHONPATH=tests /usr/bin/python3 -m support.kafka run --dir D --ready-file F [--nodes N] [key=value...]
    PYTHONPATH=tests /usr/bin/python3 -m support.kafka fetch
F appears, holding the bootstrap addresses, once the brokers answer.
"""
import argparse
import fcntl
import os
import re
import shutil
import signal
import string
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path

from support.proc import PATIENCE_S, REPO, Process, die_with_parent, free_port, wait_until

POM = REPO / "tests/kafka/pom.xml"
TEMPLATE = REPO / "tests/kafka/server.properties"
VERSION = re.search(r"<kafka\.version>([^<]+)<", POM.read_text()).group(1)
_CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"
_START_TIMEOUT_S = 180  # on a machine that has much else to do

Record = namedtuple("Record", "topic partition offset timestamp_ms timestamp_type key value headers")
TIMESTAMP_TYPES = ("none", "CreateTime", "LogAppendTime")


class StartFailed(RuntimeError):
    """A broker ended, or did not answer in time; the message holds the end of its log."""


def _cache():
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "certsync"
    root.mkdir(parents=True, exist_ok=True)
    return root


@contextmanager
def _locked(path):
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Jars:
    """The jars and the class-data-sharing archive of one Kafka version in the cache: fetched once, safe for parallel runs."""

    def __init__(self, version=VERSION):
        self.version = version
        self.home = _cache() / f"kafka-{version}"
        self.lock = _cache() / f"kafka-{version}.lock"

    def fetch(self, say=lambda _: None):
        with _locked(self.lock):
            if not (self.home / "libs").is_dir():
                say(f"fetching Apache Kafka {self.version} from Maven Central into {self.home} (45 jars, 43 MB, once)")
                self._download()
            if not self.archive.exists():
                say("making Kafka's class archive (once; later starts take a second)")
                self._make_archive()
        return self

    @property
    def classpath(self):
        return ":".join(str(p) for p in sorted((self.home / "libs").glob("*.jar")))

    @property
    def archive(self):
        """Tied to the JDK's build, which is therefore part of the name."""
        jdk = os.stat(os.path.realpath(shutil.which("java") or "/nonexistent"))
        return self.home / f"classes-{jdk.st_size:x}-{int(jdk.st_mtime):x}.jsa"

    def java(self, *options, bench=False, heap_mb=512):
        """The start of a java command line. `bench`: without the options that trade speed for a fast start."""
        quick = [] if bench else ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        shared = [f"-XX:SharedArchiveFile={self.archive}", "-Xshare:auto"] if self.archive.exists() and not bench else []
        return ["java", f"-Xmx{heap_mb}m", *quick, *shared, "-Xlog:disable", "-Xlog:all=error:stderr",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *options, "-cp", self.classpath]

    def _download(self):
        parts = Path(tempfile.mkdtemp(prefix=f"kafka-{self.version}.", dir=_cache()))
        try:
            # Two tries: a registry that stumbles once must not fail a whole CI run.
            command = ["mvn", "-B", "-ntp", "-q", "-f", str(POM), f"-Dkafka.version={self.version}",
                       f"-Dkafka.libs={parts}/libs", "dependency:copy-dependencies"]
            result = None
            for _ in range(2):
                result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300,
                                        check=False)
                if result.returncode == 0:
                    break
            if result.returncode != 0:
                raise StartFailed(f"Maven could not fetch Kafka {self.version}:\n{result.stdout}{result.stderr}\n"
                                  "Is there a network? Maven takes a proxy or a mirror from ~/.m2/settings.xml. Without a real Kafka "
                                  "nothing of this is needed: ./dev demo and ./dev up bring a small broker.")
            os.replace(parts, self.home)
        finally:
            shutil.rmtree(parts, ignore_errors=True)

    def _make_archive(self):
        parts = Path(tempfile.mkdtemp(prefix="archive.", dir=self.home))
        try:
            made = parts / "classes.jsa"
            kafka = Kafka(parts / "run", jars=self)
            kafka.java_options = [f"-XX:ArchiveClassesAtExit={made}"]
            kafka.start()
            kafka.create_topic("warm-up")
            kafka.produce("warm-up", b"x")
            kafka.consume("warm-up")
            kafka.terminate()
            os.replace(made, self.archive)
        except (StartFailed, OSError, AssertionError) as e:
            print(f"kafka: no class archive, starts take longer: {e}", file=sys.stderr)
        finally:
            shutil.rmtree(parts, ignore_errors=True)


class Node:
    def __init__(self, number, directory):
        self.id = number
        self.directory = directory
        self.port, self.port2, self.cport = free_port(), free_port(), free_port()
        self.process = None

    @property
    def properties(self):
        return self.directory / "server.properties"


class _Admin:
    """What confluent_kafka 1.7 has not: librdkafka's own admin calls."""

    RESOURCES = {"TOPIC": 2, "GROUP": 3, "CLUSTER": 4}
    OPERATIONS = {"ALL": 2, "READ": 3, "WRITE": 4, "CREATE": 5, "DESCRIBE": 8, "DESCRIBE_CONFIGS": 10, "IDEMPOTENT_WRITE": 12}
    PERMISSIONS = {"DENY": 2, "ALLOW": 3}

    def __init__(self, bootstrap):
        import ctypes
        self.c = ctypes
        self.lib = ctypes.CDLL("librdkafka.so.1")
        for name in ("conf_new", "new", "queue_new", "queue_poll", "AclBinding_new", "AclBindingFilter_new", "event_error_string",
                     "topic_partition_list_new", "topic_partition_list_add", "DeleteRecords_new", "event_CreateAcls_result",
                     "event_DeleteAcls_result", "event_DeleteRecords_result"):
            getattr(self.lib, "rd_kafka_" + name).restype = ctypes.c_void_p
        self.text = ctypes.create_string_buffer(512)
        conf = self._call("conf_new")
        self._call("conf_set", conf, b"bootstrap.servers", bootstrap.encode(), self.text, 512)
        self.rk = self._call("new", 0, conf, self.text, 512)
        self.queue = self._call("queue_new", self.rk)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._call("queue_destroy", self.queue)
        self._call("destroy", self.rk)

    def _call(self, name, *args):
        args = [self.c.c_void_p(a) if isinstance(a, int) and a > 0xffff else a for a in args]
        return getattr(self.lib, "rd_kafka_" + name)(*args)

    def _wait(self):
        event = self._call("queue_poll", self.queue, 15000)
        assert event, "no answer to an admin request"
        error = self._call("event_error", event)
        assert error == 0, f"the admin request failed: {error}"
        self._call("event_destroy", event)

    def acl(self, resource, name, user, operation, permission, remove):
        make = "AclBindingFilter_new" if remove else "AclBinding_new"
        binding = self.c.c_void_p(self._call(make, self.RESOURCES[resource], name.encode(), 3, b"User:" + user.encode(), b"*",
                                             self.OPERATIONS[operation], self.PERMISSIONS[permission], self.text, 512))
        assert binding.value, self.text.value
        self._call("DeleteAcls" if remove else "CreateAcls", self.rk, self.c.byref(binding), self.c.c_size_t(1), None, self.queue)
        self._wait()

    def delete_records(self, topic, partition, before):
        places = self._call("topic_partition_list_new", 1)
        place = self._call("topic_partition_list_add", places, topic.encode(), partition)
        # struct rd_kafka_topic_partition_t: char *topic; int32_t partition; int64_t offset
        self.c.c_int64.from_address(place + 16).value = before
        request = self.c.c_void_p(self._call("DeleteRecords_new", places))
        self._call("DeleteRecords", self.rk, self.c.byref(request), self.c.c_size_t(1), None, self.queue)
        self._wait()


class Kafka:
    """One to a few brokers (each is controller too), with a client for what tests do to a topic."""

    def __init__(self, directory, version=VERSION, bench=False, jars=None):
        self.directory = Path(directory).resolve()
        self.jars = jars or Jars(version)
        self.java_options = []
        self.bench = bench
        self.nodes = []
        self._admin = None
        self._fetched = jars is not None

    # ---- life ----

    def start(self, nodes=1, say=lambda _: None, **config):
        """Format, start, and wait until each node is in every node's metadata.

        `config` are broker properties: start(3, min_insync_replicas=2) or start(**{"listeners": ...}); `_` stands for `.`
        in names without a dot, and $ID, $PORT, $PORT2, $CPORT, $DIR in values are the node's own.
        """
        if not self._fetched:
            self.jars.fetch(say)
            self._fetched = True
        for attempt in range(3):
            try:
                self._layout(nodes, config)
                self._launch_all()
                return self
            except StartFailed as e:
                self.stop()
                # Somebody took a port between the look and the bind.
                if "already in use" not in str(e) or attempt == 2:
                    raise
            except BaseException:
                self.stop()
                raise
        raise AssertionError("unreachable")

    def _layout(self, count, config):
        shutil.rmtree(self.directory, ignore_errors=True)
        self.nodes = [Node(n + 1, self.directory / f"node{n + 1}") for n in range(count)]
        base = [line.split("=", 1) for line in TEMPLATE.read_text().splitlines() if "=" in line and line[0] != "#"]
        own = {k if "." in k else k.replace("_", "."): str(v) for k, v in config.items()}
        common = {"VOTERS": ",".join(f"{n.id}@127.0.0.1:{n.cport}" for n in self.nodes), "REPLICAS": min(count, 3)}
        formats = []
        for node in self.nodes:
            node.directory.mkdir(parents=True)
            fill = {**common, "ID": node.id, "PORT": node.port, "PORT2": node.port2, "CPORT": node.cport,
                    "DIR": node.directory}
            lines = {**dict(base), **own}
            node.properties.write_text("".join(
                f"{k}={string.Template(v).safe_substitute(fill)}\n" for k, v in lines.items()))
            formats.append(Process(f"format{node.id}", self.jars.java() + [
                "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", node.properties], self.directory))
        for process in formats:
            if process.wait() != 0:
                raise StartFailed(f"formatting failed\n{process.tail()}")

    def _launch_all(self):
        for node in self.nodes:
            self._launch(node)
        self.wait_ready()

    def _launch(self, node):
        heap_mb = 1024 if self.bench else 512
        node.process = Process(f"node{node.id}", self.jars.java(*self.java_options, bench=self.bench, heap_mb=heap_mb)
                               + ["kafka.Kafka", node.properties], self.directory)

    def wait_ready(self, timeout_s=_START_TIMEOUT_S):
        """Wait until each running node's metadata names all running nodes."""
        running = [n for n in self.nodes if n.process and n.process.alive]
        self._admin = None
        try:
            for node in running:
                wait_until(lambda node=node: self._sees(node, len(running)), timeout_s, f"metadata of node {node.id}")
        except AssertionError as e:
            raise StartFailed(f"{e}\n{running[0].process.tail()}") from e

    def _sees(self, node, count):
        from confluent_kafka import KafkaException
        if not node.process.alive:
            raise StartFailed(f"Kafka node {node.id} ended at once\n{node.process.tail()}")
        if not self._listens(node):
            return False
        try:
            return len(self._client(node).list_topics(timeout=2).brokers) >= count
        except KafkaException:
            return False

    @staticmethod
    def _listens(node):
        import socket
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            return probe.connect_ex(("127.0.0.1", node.port)) == 0

    def node(self, number=None):
        """The node with this number (from 1); without one, the only or first node."""
        return self.nodes[(number or 1) - 1]

    def kill(self, number=None):
        """SIGKILL one node, or all."""
        for node in self.nodes if number is None else [self.node(number)]:
            if node.process:
                node.process.kill()

    def terminate(self, number=None, timeout_s=PATIENCE_S):
        """SIGTERM, an orderly end, of one node or all (for several, SIGKILL follows where the quorum is gone)."""
        for node in self.nodes if number is None else [self.node(number)]:
            try:
                node.process.terminate(timeout_s if len(self.nodes) == 1 or number else 3)
            except AssertionError:
                if len(self.nodes) == 1 or number:
                    raise

    def restart(self, number=None):
        """Start one node or all again over the same data and ports, killing what still runs; waits until they answer."""
        self.kill(number)
        for node in self.nodes if number is None else [self.node(number)]:
            self._launch(node)
        self.wait_ready()

    def pause(self, number=None):
        """SIGSTOP one node or all: brokers that are there but do not answer."""
        for node in self.nodes if number is None else [self.node(number)]:
            node.process.pause()

    def resume(self, number=None):
        for node in self.nodes if number is None else [self.node(number)]:
            node.process.resume()

    def stop(self):
        """End all nodes at once (SIGKILL; the data stays in `directory` until the next start)."""
        self._admin = None
        self.kill()

    def __enter__(self):
        return self if self.nodes else self.start()

    def __exit__(self, *_):
        self.stop()

    # ---- what tests do to topics ----

    @property
    def bootstrap(self):
        return ",".join(f"127.0.0.1:{n.port}" for n in self.nodes)

    def _client(self, node=None):
        from confluent_kafka.admin import AdminClient
        servers = f"127.0.0.1:{node.port}" if node else self.bootstrap
        return AdminClient({"bootstrap.servers": servers, "log_level": 0, "reconnect.backoff.ms": 20,
                            "reconnect.backoff.max.ms": 200})

    @property
    def admin(self):
        """A confluent_kafka AdminClient."""
        if self._admin is None:
            self._admin = self._client()
        return self._admin

    def create_topic(self, name, partitions=1, replication=None, **config):
        """Make a topic (settings as **{"retention.ms": -1}) and wait until every partition has a leader."""
        from confluent_kafka.admin import NewTopic
        new = NewTopic(name, num_partitions=partitions, replication_factor=replication or min(len(self.nodes), 3),
                       config={k: str(v) for k, v in config.items()})
        self.admin.create_topics([new], operation_timeout=PATIENCE_S)[name].result(PATIENCE_S)
        wait_until(lambda: self._partitions(name) == partitions, PATIENCE_S, f"leaders for topic {name}")

    def _partitions(self, name):
        topic = self.admin.list_topics(name, timeout=5).topics.get(name)
        return sum(1 for p in topic.partitions.values() if p.leader > 0) if topic and not topic.error else 0

    def delete_topic(self, name):
        self.admin.delete_topics([name], operation_timeout=PATIENCE_S)[name].result(PATIENCE_S)
        wait_until(lambda: name not in self.topics(), PATIENCE_S, f"the end of topic {name}")

    def topics(self):
        """{name: number of partitions}, without Kafka's own."""
        found = self.admin.list_topics(timeout=PATIENCE_S).topics
        return {n: len(t.partitions) for n, t in found.items() if not n.startswith("__") and not t.error}

    def topic_config(self, name):
        """The topic's settings as the broker has them: {key: value}."""
        from confluent_kafka.admin import ConfigResource
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        return {k: e.value for k, e in self.admin.describe_configs([resource])[resource].result(PATIENCE_S).items()}

    def leader(self, topic, partition=0):
        """The number of the node that leads a partition (-1: none)."""
        return self.admin.list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions[partition].leader

    def producer(self, **settings):
        """A producer that keeps the order of a partition's records, whatever has to be sent again."""
        from confluent_kafka import Producer
        return Producer({"bootstrap.servers": self.bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0,
                         "message.max.bytes": 33554432, "log_level": 0, **settings})

    def produce(self, topic, value, key=None, partition=None, headers=None, timeout_s=PATIENCE_S):
        """One record, acknowledged by all replicas; returns (partition, offset). `headers`: a dict or a list of pairs."""
        return self.produce_many(topic, [(value, key, partition, headers)], timeout_s)[0]

    def produce_many(self, topic, records, timeout_s=PATIENCE_S):
        """Records as (value, key, partition, headers); returns their (partition, offset) in the order given."""
        producer = self.producer(**{"partitioner": "murmur2_random", "queue.buffering.max.kbytes": 262144})
        places = [None] * len(records)

        def done(index):
            def report(error, message):
                places[index] = error or (message.partition(), message.offset())
            return report

        for i, (value, key, partition, headers) in enumerate(records):
            options = {} if partition is None else {"partition": partition}
            producer.produce(topic, value=value, key=key, headers=headers, on_delivery=done(i), **options)
            producer.poll(0)
        left = producer.flush(timeout_s)
        failed = [p for p in places if not isinstance(p, tuple)]
        if left or failed:
            raise RuntimeError(f"{len(failed)} of {len(records)} records not delivered to {topic}: {failed[:3]}")
        return places

    def acl(self, resource, name, user, operation, permission="ALLOW", remove=False):
        """Give (or remove) one rule of the authorizer: acl("TOPIC", "cert.events", "consumer", "READ", "DENY")."""
        with _Admin(self.bootstrap) as admin:
            admin.acl(resource, name, user, operation, permission, remove)

    def delete_records(self, topic, partition, before):
        """Delete the records of a partition that stand before an offset."""
        with _Admin(self.bootstrap) as admin:
            admin.delete_records(topic, partition, before)

    def watermarks(self, topic, partition=0):
        """(first offset, next offset) of a partition."""
        consumer = self._consumer()
        try:
            return self._marks(consumer, topic, partition)
        finally:
            consumer.close()

    def all_watermarks(self, topic):
        """{partition: (first offset, next offset)}"""
        consumer = self._consumer()
        try:
            return {p: self._marks(consumer, topic, p) for p in range(self.topics()[topic])}
        finally:
            consumer.close()

    def ends_of(self, topic):
        """A function that gives {partition: next offset}: for those who ask again and again."""
        consumer, numbers = self._consumer(), range(self.topics()[topic])
        return lambda: {p: self._marks(consumer, topic, p)[1] for p in numbers}

    def consume(self, topic, partition=None, start=0, end=None, timeout_s=PATIENCE_S):
        """All Records of a topic, or of one partition, that are there now; by partition, then offset (from `start`, below `end`)."""
        from confluent_kafka import TopicPartition
        numbers = range(self.topics()[topic]) if partition is None else [partition]
        consumer = self._consumer()
        try:
            firsts, ends = [], {}
            for number in numbers:
                low, high = self._marks(consumer, topic, number)
                high = high if end is None else min(high, end)
                if max(low, start) < high:
                    firsts.append(TopicPartition(topic, number, max(low, start)))
                    ends[number] = high
            if not ends:
                return []
            consumer.assign(firsts)
            return self._read(consumer, ends, timeout_s)
        finally:
            consumer.close()

    def _consumer(self):
        from confluent_kafka import Consumer
        return Consumer({"bootstrap.servers": self.bootstrap, "group.id": "unused", "enable.auto.commit": False,
                         "auto.offset.reset": "error", "log_level": 0, "fetch.wait.max.ms": 10, "isolation.level": "read_uncommitted",
                         "fetch.message.max.bytes": 33554432, "enable.partition.eof": True})

    @staticmethod
    def _marks(consumer, topic, partition):
        from confluent_kafka import KafkaError, KafkaException, TopicPartition
        found = []

        def answered():
            try:
                found[:] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=PATIENCE_S)
            except KafkaException as e:
                if e.args[0].code() != KafkaError._UNKNOWN_PARTITION:  # a new client knows none before it has heard of the topic
                    raise
                consumer.list_topics(topic, timeout=PATIENCE_S)  # nor asks by itself once it was told that there is no leader
            return bool(found)
        wait_until(answered, PATIENCE_S, f"{topic} [{partition}]")
        return tuple(found)

    @staticmethod
    def _read(consumer, ends, timeout_s):
        """What is there of each partition up to its offset in `ends`: its end is the sign, too, since compaction and transactions leave gaps."""
        from confluent_kafka import KafkaError
        deadline = time.monotonic() + timeout_s
        found = {partition: [] for partition in ends}
        left = set(ends)
        while left and time.monotonic() < deadline:
            message = consumer.poll(1)
            if message is None:
                continue
            if message.error():
                if message.error().code() != KafkaError._PARTITION_EOF:  # pylint: disable=protected-access
                    raise RuntimeError(str(message.error()))
                left.discard(message.partition())
            elif message.partition() in left:
                kind, when = message.timestamp()
                found[message.partition()].append(Record(
                    message.topic(), message.partition(), message.offset(), when, TIMESTAMP_TYPES[kind], message.key(), message.value(),
                    message.headers() or []))
                if message.offset() + 1 >= ends[message.partition()]:
                    left.remove(message.partition())
        assert not left, f"partitions {sorted(left)} gave {sum(map(len, found.values()))} records and no end within {timeout_s} s"
        return [record for partition in ends for record in found[partition]]


def _run(options):
    """Start, say so, wait for a signal, stop."""
    die_with_parent(signal.SIGTERM, os.getppid())
    stops = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}

    def interrupted(*_):
        raise SystemExit(1)
    for sig in stops:
        signal.signal(sig, interrupted)
    config = dict(pair.split("=", 1) for pair in options.config)
    kafka = Kafka(Path(options.dir) / "kafka", version=options.version, bench=options.bench)
    try:
        kafka.start(options.nodes, say=lambda s: print(f"kafka: {s}", file=sys.stderr, flush=True), **config)
        signal.pthread_sigmask(signal.SIG_BLOCK, stops)
        ready = Path(options.ready_file)
        part = ready.with_name(ready.name + ".part")
        part.write_text(kafka.bootstrap + "\n")
        os.replace(part, ready)
        signal.sigwait(stops)
    finally:
        kafka.stop()


def main(argv):
    parser = argparse.ArgumentParser(prog="support.kafka", description="A real Kafka on loopback ports.")
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="only fill the cache")
    run = commands.add_parser("run", help="run brokers until SIGTERM, or until the parent ends")
    for sub in (fetch, run):
        sub.add_argument("--version", default=VERSION)
    run.add_argument("--dir", required=True, help="where data and logs go (emptied)")
    run.add_argument("--ready-file", required=True, help="made, with the bootstrap addresses, when the brokers answer")
    run.add_argument("--nodes", type=int, default=1)
    run.add_argument("--bench", action="store_true", help="a JVM for speed, not for a quick start")
    run.add_argument("config", nargs="*", metavar="key=value", help="broker properties")
    options = parser.parse_args(argv)
    try:
        if options.command == "fetch":
            Jars(options.version).fetch(say=lambda s: print(f"kafka: {s}", flush=True))
        else:
            _run(options)
    except (StartFailed, OSError) as e:
        print(f"kafka: {e}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
