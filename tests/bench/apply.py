#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What one worker does: a log full of uploads, a consumer that begins with it, and the floor beside it.

./dev bench apply [--kinds p256,rsa2048,sm2,p384-issuer] [--uploads 20000] [--accounts 1000] [--partitions 1] [--workers 1]
                  [--rounds 3] [--openssl DIR] [--json]

One row for each kind of leaf: events a second, the worker threads' processor time for each event, and the floor: what the signatures
and parsing of the very same events cost alone in one thread. Each leaf has a key of its own. "p384-issuer" is a P-256 leaf below an
issuer with a P-384 key, as the common public CA's have. Worker and floor take turns, a block of 2,000 uploads each, the consumer
being stopped meanwhile: what else goes on on the machine then meets both. The figures are means over all blocks but the first of each
round, when the caches are cold. --openssl: the rows once more with the libcrypto.so.3 that is in DIR. Only ratios carry over to another
machine.
"""
import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from model_py.catalog import document
from support import events as ev
from support.kafka import Kafka
from support.proc import Process, free_port
from support.redis import Redis
from support.stack import build_dir, consumer_binary

DEPLOYMENT = "bench"
BLOCK = 2000  # uploads that are timed together


def make_keys(directory):
    directory.mkdir()
    for name in ("root", "admin", "service"):
        key = ev.new_key()
        ev.write_private(key, directory / f"{name}.key")
        ev.write_public(key, directory / f"{name}.pub")
    ev.write_public(ev.x25519.X25519PrivateKey.generate(), directory / "custodian.pub")


def write_config(path, keys, kafka, redis, port, workers, outcomes):
    path.write_text(f"""[deployment]
id = {DEPLOYMENT}
root_key = {keys}/root.pub
service_key = {keys}/service.key
[kafka]
brokers = {kafka.bootstrap}
outcomes_topic = {outcomes}
checkpoints_topic = {outcomes}.checkpoints
corrections_topic = {outcomes}.corrections
heartbeats_topic = {outcomes}.heartbeats
[redis]
url = unix://{redis.socket}
[consumer]
workers = {workers}
[api]
listen = 127.0.0.1:{port}
""")


def call(*argv, env=None):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        sys.exit(f"{argv[0]}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def worker_cpu_s(pid):
    """Processor time of the workers' threads, which the kernel counts in nanoseconds here and in ticks elsewhere."""
    return sum(int((task / "schedstat").read_text().split()[0]) / 1e9 for task in Path(f"/proc/{pid}/task").iterdir()
               if (task / "comm").read_text().startswith("worker-"))


def judged(client, partitions):
    documents = client.mget([f"cs:{{{p}}}:pos" for p in range(partitions)])
    return sum(json.loads(document(d))["next_offset"] for d in documents if d)


def peak_mib(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) / 1024, 1)


class Floor:
    """The signatures and parsing of the log's uploads alone, in one thread."""

    def __init__(self, kafka, log_id, root_key, env):
        argv = [build_dir() / "tests/bench/certsync-bench-floor", "log", "--brokers", kafka.bootstrap, "--log", log_id,
                "--root-key", root_key, "--runs", "prepare", "--block", str(BLOCK)]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.openssl, self.prepare_us = self._line("openssl"), self._line("prepare_us")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.process.kill()
        self.process.communicate()

    def _line(self, name):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"certsync-bench-floor ended with {self.process.wait()}")
        return json.loads(line)[name]

    def block_us(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self._line("verify_us")


class NoFloor:
    openssl, prepare_us = "", 0

    def block_us(self):
        return 0


class Row:
    """One kind of leafs, with servers of its own."""

    def __init__(self, options, kind, openssl, directory):
        self.options, self.kind, self.directory = options, kind, Path(directory)
        self.env = {**os.environ, "LD_LIBRARY_PATH": openssl} if openssl else dict(os.environ)
        self.keys, self.config, self.port = self.directory / "keys", self.directory / "consumer.conf", free_port()

    def run(self):
        options = self.options
        make_keys(self.keys)
        with Kafka(self.directory / "kafka", bench=True) as kafka, Redis(self.directory / "redis") as redis:
            self._init(kafka, redis, 0)
            total = self._load(kafka)
            os.sync()  # or the kernel goes on writing the log to the disk while the first worker is measured
            with Floor(kafka, self.log_id, self.keys / "root.pub", self.env) if options.floor else nullcontext(NoFloor()) as floor:
                rounds = [self._round(kafka, redis, n, total, floor) for n in range(options.rounds)]
        blocks = [b for r in rounds for b in r["blocks"][1:]]
        if not blocks:
            sys.exit("too few uploads to time: give --uploads more")
        # A block ends between two batches, but in the midst of preparing the next: only sums are exact.
        mean = {name: statistics.fmean([b[name] for b in blocks], [b["events"] for b in blocks]) for name in blocks[0]}
        return {"kind": self.kind, "openssl": floor.openssl, "events": sum(r["events"] for r in rounds),
                "events_per_s": round(1e6 / mean["worker_us"]), "worker_cpu_us": round(mean["worker_cpu_us"], 1),
                "floor_us": round(mean["floor_us"], 1), "prepare_us": floor.prepare_us,
                "ratio": round(mean["floor_us"] / mean["worker_us"] / options.workers, 3),
                "ratio_cpu": round(mean["floor_us"] / mean["worker_cpu_us"], 3),
                "peak_rss_mib": max(r["peak_rss_mib"] for r in rounds), "blocks": blocks}

    def _init(self, kafka, redis, n):
        """What is missing: the log the first time, and the outcomes of each round."""
        keys = self.keys
        write_config(self.config, keys, kafka, redis, self.port, self.options.workers, f"cert.outcomes.{n}")
        told = call(consumer_binary(), "init", "--config", self.config, "--partitions", self.options.partitions, "--replication", 1,
             "--root-key", keys / "root.key", "--admin-key", keys / "admin.pub", "--custodian-key", keys / "custodian.pub")
        self.log_id = re.search(r"genesis: .*, log (\S+)", told)[1]

    def _load(self, kafka):
        options, keys = self.options, self.keys
        load = json.loads(call(build_dir() / "tests/bench/certsync-bench-load", "upload", "--brokers", kafka.bootstrap,
                               "--log", self.log_id, "--admin-key", keys / "admin.key", "--custodian-key",
                               keys / "custodian.pub", "--partitions", options.partitions, "--uploads", options.uploads,
                               "--accounts", options.accounts, "--kinds", self.kind))
        return load["events"] + 4 * options.partitions

    def _round(self, kafka, redis, n, total, floor):
        """A consumer that begins with the log, for a Redis and outcomes that are empty."""
        if n > 0:
            redis.client().flushall()
            self._init(kafka, redis, n)
        consumer = Process("consumer", [consumer_binary(), "run", "--config", self.config], self.directory, env=self.env)
        try:
            result = self._follow(consumer, redis.client(), total, floor)
            consumer.signal(signal.SIGTERM)  # a member that was killed would keep the partitions from the next one
            consumer.wait(30)
        finally:
            consumer.kill()
        return result

    def _follow(self, consumer, client, total, floor):
        # Uploads alone: what registers the accounts comes first, and is not measured.
        skip = total - self.options.uploads
        begin, last, n, blocks = None, 0, 0, []
        while n < total:
            last, n = n, judged(client, self.options.partitions)
            if not consumer.alive:
                sys.exit(f"the consumer ended\n{consumer.tail()}")
            if n > last and n >= skip and begin is None:
                begin = self._mark(consumer, n)
            elif begin and n > last and (n - begin[1] >= BLOCK or (n >= total and not blocks)):
                if self.options.floor:
                    consumer.signal(signal.SIGSTOP)
                end = self._mark(consumer, n)
                blocks.append({**between(begin, end), "floor_us": floor.block_us()})
                begin = time.monotonic(), *end[1:]
                if self.options.floor:
                    consumer.signal(signal.SIGCONT)
            time.sleep(0.02)
        metrics = call("curl", "-s", f"http://127.0.0.1:{self.port}/metrics")
        applied = int(re.search(r'certsync_events_total\{status="applied"\} (\d+)', metrics).group(1))
        if applied != total:
            sys.exit(f"{total - applied} of {total} events were not applied")
        return {"events": total - skip, "blocks": blocks, "peak_rss_mib": peak_mib(consumer.popen.pid)}

    @staticmethod
    def _mark(consumer, n):
        return time.monotonic(), n, worker_cpu_s(consumer.popen.pid)


def between(a, b):
    events = b[1] - a[1]
    return {"events": events, "worker_us": round((b[0] - a[0]) / events * 1e6, 1),
            "worker_cpu_us": round((b[2] - a[2]) / events * 1e6, 1)}


def main():
    parser = argparse.ArgumentParser(description="Throughput of the consumer's workers beside the floor.")
    parser.add_argument("--kinds", default="p256,rsa2048,sm2,p384-issuer", help="of leafs, a row each")
    parser.add_argument("--uploads", type=int, default=20000)
    parser.add_argument("--accounts", type=int, default=1000, help="each with an agent of its own")
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3, help="over the whole log")
    parser.add_argument("--openssl", metavar="DIR", help="also with the libcrypto.so.3 in DIR")
    parser.add_argument("--no-floor", dest="floor", action="store_false", help="measure the worker alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = []
    if not options.json:
        print(f"{options.workers} worker(s), {options.partitions} partition(s), {options.accounts} accounts; microseconds an event")
        print(f"{'leafs':<12} {'OpenSSL':<15} {'events/s':>9} {'worker cpu':>11} {'floor':>7} {'prepare':>8} {'of the floor':>13} {'MiB':>6}")
    for openssl in [None, options.openssl] if options.openssl else [None]:
        for kind in options.kinds.split(","):
            with tempfile.TemporaryDirectory(prefix="cs-bench-") as directory:
                row = Row(options, kind, openssl, directory).run()
            rows.append(row)
            if not options.json:
                print(f"{kind:<12} {row['openssl']:<15} {row['events_per_s']:>9} {row['worker_cpu_us']:>11} {row['floor_us']:>7} "
                      f"{row['prepare_us']:>8} {row['ratio']:>13} {row['peak_rss_mib']:>6}", flush=True)
    if options.json:
        print(json.dumps({"workers": options.workers, "partitions": options.partitions, "accounts": options.accounts, "rows": rows}))


if __name__ == "__main__":
    main()
