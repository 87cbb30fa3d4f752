#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a certificate takes in Redis, what events leave there, and what a record takes on Kafka's disks.

./dev bench size [--certificates 1000] [--accounts 4] [--json]

Each certificate has a P-256 key of its own below one intermediate. All are uploaded, then renewed once, then deleted; between that come
events that are refused, and events that come again. One row for each class of keys in Redis: bytes for each event of the step, by MEMORY
USAGE. "tables" is the rest of Redis' used_memory: its own hash tables. "in all" is what used_memory grew by. Outcomes are a window of the
newest of each account, so the last row leaves them out. Before the first step each sender has as many events behind him as the catalog
remembers of one.

Kafka: the uploads and renewals, and their outcomes, copied in bulk into topics of each compression; bytes of the segments for each record.
"as written" are the outcomes as the consumer itself wrote them.
"""
import argparse
import json
import re
import sys
import tempfile
from pathlib import Path

from model_py.catalog import document
from support import events as ev
from support.kafka import Kafka
from support.proc import wait_until
from support.redis import Redis
from support.stack import EVENTS, OUTCOMES, Stack

PATIENCE_S = 3600
REMEMBERED = 128  # events of a sender (CS_SEEN_MAX)
COMPRESSIONS = ["none", "gzip", "snappy", "lz4", "zstd"]
CLASSES = {"certificates": ["cert"], "chains and keys": ["material"], "issuers": ["issuer"], "names": ["name"],
           "indexes": ["view", "expiry"], "senders": ["stream", "seen"], "outcomes": ["outcome", "outcomes"],
           "witnesses": ["witness"]}
CLASS_OF = {kind: name for name, kinds in CLASSES.items() for kind in kinds}
KEY = re.compile(rb"[^:]+:\{\d+\}:(?:g\d+:)?([a-z-]+)")


class Redises:
    """What Redis holds now: bytes by class, and in all."""

    def __init__(self, client):
        self.client = client
        self.classes = dict.fromkeys([*CLASSES, "other"], 0)
        self.total = wait_until(self._quiet, PATIENCE_S, "a Redis that is done with its tables")
        keys = list(client.scan_iter(count=5000))
        outcomes = entries = 0
        for key, size in zip(keys, self._each(keys, "MEMORY", "USAGE", 0)):
            kind = KEY.match(key)[1].decode()
            self.classes[CLASS_OF.get(kind, "other")] += size
            outcomes += kind == "outcome"
        buckets = [k for k in keys if b":witness/" in k]
        entries = sum(self._each(buckets, "HLEN"))
        # The witnesses of outcomes go with them.
        of_outcomes = self.classes["witnesses"] * outcomes / max(entries, 1)
        self.classes["witnesses"] -= of_outcomes
        self.classes["outcomes"] += of_outcomes

    def _each(self, keys, *command):
        pipe = self.client.pipeline(transaction=False)
        for key in keys:
            if command[0] == "MEMORY":
                pipe.memory_usage(key, samples=0)
            else:
                pipe.hlen(key)
        return pipe.execute()

    def _quiet(self):
        used = [self.client.info("memory") for _ in range(2)]
        used = [m["used_memory"] - m.get("mem_clients_normal", 0) for m in used]
        return used[0] if used[0] == used[1] and self.client.info("memory").get("lazyfree_pending_objects", 0) == 0 else None

    def since(self, before, events):
        row = {name: round((size - before.classes[name]) / events, 1) for name, size in self.classes.items()}
        row["in all"] = round((self.total - before.total) / events, 1)
        row["tables"] = round(row["in all"] - sum(v for k, v in row.items() if k != "in all"), 1)
        row["in all, without outcomes"] = round(row["in all"] - row["outcomes"], 1)
        return row


class Bench:
    def __init__(self, stack, options):
        self.stack, self.per_account = stack, options.certificates // options.accounts
        self.ca = ev.Authority("Size Issuing CA", parent=ev.Authority("Size Root CA"))
        self.accounts = [stack.account(f"account-{i}") for i in range(options.accounts)]
        self.certificates = [(a, f"host-{i}.example.com") for a in self.accounts for i in range(self.per_account)]
        self.steps, self.last = {}, None

    def _settled(self):
        client = self.stack.redis.client()
        return all(json.loads(document(client.get(f"cs:{{{p}}}:pos")) or b"{}").get("next_offset", 0) ==
                   self.stack.kafka.watermarks(EVENTS, p)[1] for p in range(self.stack.partitions))

    def _step(self, what, records):
        self.stack.send_all(records)
        wait_until(self._settled, PATIENCE_S, what, interval_s=0.1)
        now = Redises(self.stack.redis.client())
        if what:
            self.steps[what] = now.since(self.last, len(records))
        self.last = now

    def _certified(self, start):
        for account, name in self.certificates:
            key = ev.new_key()
            leaf = self.ca.issue(key.public_key(), cn=name, names=(name,), start=start)
            yield account.agent.upload(account.id, name, key, [leaf, self.ca.der], extra={"replace": True} if start > -2 else None)

    def _refused(self, n):
        return [a.agent.event("certificate.delete", a.id, ev.uuid7(), {}) for a in self.accounts for _ in range(n)]

    def run(self):
        self._step("", self._refused(REMEMBERED + 2))
        begin = self.stack.kafka.watermarks(EVENTS, 0)[1]
        self._step("a live certificate", list(self._certified(-3)))
        self._step("a renewal", list(self._certified(-1)))
        end = self.stack.kafka.watermarks(EVENTS, 0)[1]
        refused = self._refused(self.per_account)
        self._step("a refused event", refused)
        again = [r for a in self.accounts for r in [x for x in refused if x.account == a.id][-REMEMBERED // 2:]]
        self._step("the same again", again)
        ids = {(a.id, c["name"]): c["id"] for a in self.accounts for c in self.stack.names(a).values()}
        self._step("a delete", [a.agent.event("certificate.delete", a.id, ids[a.id, name], {}) for a, name in self.certificates])
        return begin, end


class Disk:
    def __init__(self, kafka):
        self.kafka = kafka

    def bytes_of(self, topic):
        node = self.kafka.node()
        return sum(f.stat().st_size for f in node.directory.rglob("*.log") if f.parent.name == f"{topic}-0")

    def read(self, topic, begin, end):
        from confluent_kafka import Consumer, TopicPartition
        reader = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": "unused", "enable.auto.commit": False,
                           "auto.offset.reset": "error", "log_level": 0})
        reader.assign([TopicPartition(topic, 0, begin)])
        found = []
        while len(found) < end - begin:
            m = reader.poll(10)
            assert m is not None and not m.error(), f"{topic}: {len(found)} of {end - begin} records"
            found.append((m.key(), m.value(), m.headers()))
        reader.close()
        return found

    def copied(self, topic, records, compression):
        """Bytes a record in a topic of this compression."""
        copy = f"{topic}.{compression}"
        self.kafka.create_topic(copy, 1, **{"compression.type": "uncompressed" if compression == "none" else compression})
        producer = self.kafka.producer(**{"compression.codec": compression, "linger.ms": 100})
        for key, value, headers in records:
            producer.produce(copy, value=value, key=key, headers=headers)
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0
        return round(self.bytes_of(copy) / len(records), 1)

    def table(self, begin, end):
        result = {}
        for topic in (EVENTS, OUTCOMES):
            records = self.read(topic, begin, end)
            result[topic] = {c: self.copied(topic, records, c) for c in COMPRESSIONS}
        result[OUTCOMES]["as written"] = round(self.bytes_of(OUTCOMES) / self.kafka.watermarks(OUTCOMES, 0)[1], 1)
        return result


def tell(rows, first):
    columns = list(rows)
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    print(f"{first:<26}" + "".join(f"{c:>20}" for c in columns))
    for name in names:
        print(f"{name:<26}" + "".join(f"{rows[c].get(name, ''):>20}" for c in columns))
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--certificates", type=int, default=1000)
    parser.add_argument("--accounts", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.certificates // options.accounts not in range(1, 1001):
        sys.exit("an account has 1 to 1000 certificates here: give other numbers of --certificates and --accounts")
    with tempfile.TemporaryDirectory(prefix="cs-size-") as directory:
        kafka = Kafka(Path(directory) / "kafka", bench=True)
        with Stack(Path(directory) / "s", partitions=1, kafka=kafka.start(), redis=Redis(Path(directory) / "redis")) as stack:
            try:
                stack.run_consumer()
                bench = Bench(stack, options)
                written = bench.run()
                on_disk = Disk(kafka).table(*written)
            finally:
                kafka.stop()
    if options.json:
        print(json.dumps({"redis": bench.steps, "kafka": on_disk}))
        return
    tell(bench.steps, "bytes in Redis, of")
    tell(on_disk, "bytes a record, of")


if __name__ == "__main__":
    main()
