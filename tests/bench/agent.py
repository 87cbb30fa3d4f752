#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""certsync agent on a host with many certificates: first scan, restart, one renewal among them, memory.

./dev bench agent [--pairs 10000] [--renewals 300] [--joins 10000] [--partitions 4] [--json]

  first scan   from the start of the daemon to the last upload acknowledged by Kafka. Beside it, in the same run, what the same
               work costs in one thread: reading, parsing, key check, proof and seal alone; with one append and one fdatasync
               a group; and through the spool event by event and in groups. Only ratios carry over to another machine.
  restart      with nothing changed: from the start to every file looked at; how many events it published (none).
  renewal      from the moment the certificate's file is in place to its outcome in cert.outcomes (debounce: 0).
  memory       resident, the daemon's peak over all of that.
  joins        as many hosts, each with a key of its own, let in by one token: from the first record to the last outcome.
"""
import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support import events as ev
from support.host import Host
from support.kafka import Kafka
from support.proc import Process, wait_until
from support.stack import EVENTS, Stack, build_dir, certsync_binary

GROUP = 100  # about what the daemon takes into one group
PATIENCE_S = 600


def helper(*args):
    done = subprocess.run([build_dir() / "tests/bench/certsync-bench-host", *map(str, args)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


class Daemon:
    """One run of certsync agent."""

    def __init__(self, host, name):
        self.started_s = time.monotonic()
        self.process = Process(name, [certsync_binary(), "--config", host.config, "agent"], host.dir)

    def looked_ms(self):
        said = re.search(r"all files looked at.* ms=(\d+)", self.process.output())
        assert self.process.alive, self.process.tail()
        return said and int(said.group(1))

    def memory_mib(self, what):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(rf"{what}:\s+(\d+) kB", f.read()).group(1)) / 1024

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, stack, options, directory):
        from confluent_kafka import Consumer
        self.stack, self.options, self.dir = stack, options, directory
        self.account = stack.account(certificates=options.pairs * 2)
        self.host = Host(stack, self.account, directory / "host")
        self.tls = self.host.dir / "tls"
        self.partition = ev.partition_of(self.account.id, options.partitions)
        self.reader = Consumer({"bootstrap.servers": stack.kafka.bootstrap, "group.id": "unused", "log_level": 0})
        self.configure()

    def configure(self):
        self.host.configure(**{"agent.debounce": "0", "agent.heartbeat": "0"})
        with open(self.host.config, "a") as out:
            out.write(f"[watch bench]\ncertificate = {self.tls}/{{name}}.crt\nkey = {self.tls}/{{name}}.key\n")

    def published(self):
        from confluent_kafka import TopicPartition
        return self.reader.get_watermark_offsets(TopicPartition(EVENTS, self.partition), timeout=10)[1]

    def settled(self):
        path = self.host.dir / "spool" / f"agent.{self.account.id}.status"
        try:
            status = json.loads(path.read_text())
        except (OSError, ValueError):
            return False
        return status["certificates"]["registered"] == self.options.pairs and status["spool"]["events"] == 0

    def first_scan(self):
        n, before = self.options.pairs, self.published()
        daemon = Daemon(self.host, "first")
        wait_until(lambda: self.published() - before >= n, PATIENCE_S, "all published", 0.01)
        seconds, cpu_s = time.monotonic() - daemon.started_s, daemon.cpu_s()
        wait_until(self.settled, PATIENCE_S, "all registered", 0.1)
        result = {"first_scan_s": round(seconds, 2), "first_scan_per_s": round(n / seconds),
                  "first_scan_cpu_s": round(cpu_s, 2), "first_registered_s": round(time.monotonic() - daemon.started_s, 1),
                  "peak_mib": round(daemon.memory_mib("VmHWM"), 1)}
        assert self.published() - before == n, "more events than certificates"
        assert daemon.process.terminate(60) == 0, daemon.process.tail()
        return result

    def restart(self, daemon, before):
        wait_until(daemon.looked_ms, PATIENCE_S, "all files looked at", 0.005)
        seconds = time.monotonic() - daemon.started_s
        wait_until(self.settled, PATIENCE_S, "a quiet daemon", 0.05)
        return {"restart_s": round(seconds, 2), "restart_look_ms": daemon.looked_ms(),
                "restart_events": self.published() - before, "restart_mib": round(daemon.memory_mib("VmRSS"), 1)}

    def renew(self, name):
        """Puts the next pair in the last one's place; returns the milliseconds to the outcome."""
        following = self.dir / "next"
        os.replace(following / f"{name}.key", self.tls / f"{name}.key")
        place = (self.partition, self.published())
        os.replace(following / f"{name}.crt", self.tls / f"{name}.crt")
        began = time.monotonic()
        outcome = self.stack.outcome_at(place, 60)
        assert outcome["status"] == "applied", outcome
        return (time.monotonic() - began) * 1e3

    def renewals(self):
        count = min(self.options.renewals, self.options.pairs)
        names = [f"c{i:05d}" for i in random.Random(5).sample(range(count), count)]
        times = sorted(self.renew(name) for name in names)
        return {"renewals": count, "renewal_p50_ms": round(times[count // 2], 1),
                "renewal_p99_ms": round(times[min(count - 1, count * 99 // 100)], 1), "renewal_max_ms": round(times[-1], 1)}

    def joins(self):
        """How long the consumer takes to let a fleet in by one token: every host's own enrolment, signed with the token's key."""
        n, account = self.options.joins, self.stack.account().id
        token = self.stack.enroll(account, can=["enroll"], uses=n, grant={"can": ["upload", "read"], "names": "*"})
        records = []
        for i in range(n):
            key = ev.new_key()
            spki = ev.spki_of(key.public_key())
            records.append(token.event("agent.enroll", account, ev.kid_of(spki), {
                "key": ev.b64(spki), "can": ["upload", "read"], "names": "*", "label": f"host-{i}"}))
        began = time.monotonic()
        places = self.stack.send_all(records)
        outcome = self.stack.outcome_at(places[-1], PATIENCE_S)
        seconds = time.monotonic() - began
        assert all(self.stack.outcome_at(p)["status"] == "applied" for p in places), outcome
        return {"joins": n, "joins_s": round(seconds, 2), "joins_per_s": round(n / seconds)}

    def run(self):
        n = self.options.pairs
        for directory, count, age_s in ((self.tls, n, 20 * 86400), (self.dir / "next", min(n, self.options.renewals), 86400)):
            directory.mkdir()
            helper("pairs", directory, count, age_s)
        (self.dir / "floor").mkdir()
        sample = min(n, 2000)
        result = {"pairs": n, **json.loads(helper("floor", self.tls, sample, self.stack.keys / "custodian.pub", self.dir / "floor", GROUP))}
        shutil.rmtree(self.dir / "floor")
        result.update(self.first_scan())
        before = self.published()
        daemon = Daemon(self.host, "again")
        result.update(self.restart(daemon, before))
        result.update(self.renewals())
        result["peak_mib"] = max(result["peak_mib"], round(daemon.memory_mib("VmHWM"), 1))
        assert daemon.process.terminate(60) == 0, daemon.process.tail()
        if self.options.joins:
            result.update(self.joins())
        result["first_scan_to_floor"] = round(result["first_scan_per_s"] / result["log_per_s"], 2)
        result["group_to_single"] = round(result["group_per_s"] / result["single_per_s"], 2)
        return result


def main():
    parser = argparse.ArgumentParser(description="certsync agent on a host with many certificates.")
    parser.add_argument("--pairs", type=int, default=10000)
    parser.add_argument("--renewals", type=int, default=300)
    parser.add_argument("--joins", type=int, default=10000, help="hosts that enrol with one token; 0: none")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--keep", help="directory to work in, which is left as it is (for a look with perf, strace)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cs-bench-") as temporary:
        directory = Path(options.keep or temporary)
        directory.mkdir(exist_ok=True)
        with Kafka(directory / "kafka", bench=True) as kafka, Stack(directory / "stack", partitions=options.partitions,
                                                                    kafka=kafka) as stack:
            stack.run_consumer()
            r = Bench(stack, options, directory).run()
    if options.json:
        print(json.dumps(r))
        return
    print(f"""{r['pairs']} certificate pairs (P-256)
first scan: {r['first_scan_s']} s to all published, {r['first_scan_per_s']}/s ({r['first_scan_cpu_s']} s of processor time); all registered after {r['first_registered_s']} s
one thread: {r['compose_per_s']}/s parse, key check, proof and seal ({r['compose_cpu_us']} us of processor time each); {r['log_per_s']}/s with one fdatasync a group (the floor);
            through the spool {r['single_per_s']}/s one by one, {r['group_per_s']}/s in groups: {r['group_to_single']} times as fast
first scan / floor: {r['first_scan_to_floor']}
restart with nothing changed: {r['restart_s']} s (looking: {r['restart_look_ms']} ms), {r['restart_events']} events
renewal to its outcome, {r['renewals']} of them: p50 {r['renewal_p50_ms']} ms, p99 {r['renewal_p99_ms']} ms, at most {r['renewal_max_ms']} ms
memory: {r['peak_mib']} MiB at most, {r['restart_mib']} MiB after the restart""")
    if options.joins:
        print(f"{r['joins']} hosts joined with one token in {r['joins_s']} s ({r['joins_per_s']}/s)")


if __name__ == "__main__":
    main()
