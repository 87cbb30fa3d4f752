#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The most memory that a consumer takes where much comes of little.

./dev bench memory [--certificates 100] [--names 100] [--shares 1000] [--accounts 100000] [--uploads 20000]
                   [--workers 2] [--json]

Official certificates with many names are shared with many accounts each, then all are renewed in one batch, and at the end all are deleted
with their shares in one. Then as many accounts as are named get a key, and some a certificate, in one partition of one worker. Each step
tells how long it took and the peak of the consumer (VmHWM), which is started anew for it.
"""
import argparse
import json
import re
import signal
import sys
import tempfile
import time
from pathlib import Path

from model_py.catalog import document
from support import events as ev
from support.kafka import Kafka
from support.proc import wait_until
from support.redis import Redis
from support.stack import EVENTS, Stack

PATIENCE_S = 3600


def memory_mib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return tuple(round(int(re.search(rf"{field}:\s+(\d+) kB", status).group(1)) / 1024, 1) for field in ("VmHWM", "VmRSS"))


class Bench:
    def __init__(self, stack, options):
        self.stack, self.o = stack, options
        self.steps = []
        self.ca = ev.Authority("Memory CA")

    def start(self):
        self.consumer = self.stack.run_consumer()

    def stop(self):
        self.consumer.signal(signal.SIGTERM)
        assert self.consumer.wait(PATIENCE_S) == 0

    def settled(self):
        client = self.stack.redis.client()
        return all(json.loads(document(client.get(f"cs:{{{p}}}:pos")) or b"{}").get("next_offset", 0) ==
                   self.stack.kafka.watermarks(EVENTS, p)[1] for p in range(self.stack.partitions))

    def step(self, what, records):
        """All records lie in the log before the consumer begins with them."""
        if records:
            self.stop()
            self.stack.send_all(records)
            self.start()
        started = time.monotonic()

        def done():
            assert self.consumer.alive, self.consumer.tail()
            board = self.stack.http("/readyz")[1]
            stopped = [p for p in board.get("partitions", []) if p["state"] == "stopped"] if isinstance(board, dict) else []
            assert not stopped, stopped
            return self.settled()
        wait_until(done, PATIENCE_S, what, interval_s=0.5)
        peak, now = memory_mib(self.consumer.pid)
        self.steps.append({"step": what, "events": len(records), "seconds": round(time.monotonic() - started, 1),
                           "peak_mib": peak, "rss_mib": now})
        print(f"{what:40} {len(records):8} events {self.steps[-1]['seconds']:8} s   peak {peak:7} MiB, then {now} MiB", file=sys.stderr)

    def register(self, accounts, owner):
        return [self.stack.admin.event("account.register", a, a, {"site": "intl", "owner": owner, "verified": True,
                                                                  "limits": {"shares": 1000, "certificates": 1000}}) for a in accounts]

    def issued(self, account, name, key, subject, start):
        names = tuple(f"host-{i}.{name}.example.com" for i in range(self.o.names))
        leaf = self.ca.issue(key.public_key(), cn=names[0], names=names, start=start)
        return self.stack.issuer.upload(account, name, key, [leaf, self.ca.der], kind="certificate.issue", subject=subject,
                                        extra={"source": "official", "replace": True})

    def shares(self):
        o, stack = self.o, self.stack
        recipients = [f"to-{i}" for i in range(o.shares)]
        self.step("accounts", self.register(["owner", *recipients], "person"))
        agent = stack.enroll("owner")
        key = ev.new_key()
        subjects = [ev.uuid7() for _ in range(o.certificates)]
        self.step("certificates", [self.issued("owner", f"c{i}", key, s, -3) for i, s in enumerate(subjects)])
        self.step("shares", [agent.event("certificate.share", "owner", s, {"to": to}) for s in subjects for to in recipients])
        self.step("renewals", [self.issued("owner", f"c{i}", key, ev.uuid7(), -2) for i in range(o.certificates)])
        last = self.register(["last"], "person")[0]
        self.step("a stop and a start", [last])
        self.step("another owner (refused)", [stack.admin.event("account.update", "owner", "owner", {"owner": "nobody"})])
        self.step("deletions", [agent.event("certificate.delete", "owner", s, {"cascade": True}) for s in subjects])

    def fleet(self):
        o, stack = self.o, self.stack
        names = (f"fleet-{i}" for i in range(10 ** 9))
        accounts = [a for a, _ in zip((n for n in names if ev.partition_of(n, stack.partitions) == 0), range(o.accounts))]
        certified = ev.new_key()
        chain = [self.ca.issue(certified.public_key()), self.ca.der]
        senders = [ev.Sender(stack.log_id, stack.custodian.public_key()) for _ in range(200)]
        self.step("accounts of the fleet", self.register(accounts, "fleet"))
        self.step("keys of the fleet", [stack.admin.event("agent.enroll", a, s.kid, {"key": ev.b64(s.spki), "can": ["upload"], "names": "*"})
                                        for i, a in enumerate(accounts) for s in [senders[i % 200]]])
        some = accounts[:o.uploads]
        self.step("uploads of the fleet", [senders[i % 200].upload(a, "www", certified, chain) for i, a in enumerate(some)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--certificates", type=int, default=100)
    parser.add_argument("--names", type=int, default=100)
    parser.add_argument("--shares", type=int, default=1000)
    parser.add_argument("--accounts", type=int, default=100000)
    parser.add_argument("--uploads", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cs-memory-") as directory:
        kafka = Kafka(Path(directory) / "kafka", bench=True)
        with Stack(Path(directory) / "s", partitions=4, kafka=kafka.start(message_max_bytes=33554432),
                   redis=Redis(Path(directory) / "redis"), consumer_settings={"consumer": {"workers": options.workers}}) as stack:
            try:
                bench = Bench(stack, options)
                bench.start()
                if options.certificates:
                    bench.shares()
                if options.accounts:
                    bench.fleet()
            finally:
                kafka.stop()
    if options.json:
        print(json.dumps(bench.steps))


if __name__ == "__main__":
    main()
