#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How fast a rebuild is, beside live apply of the same log and the floor, and how it grows with the catalogs.

./dev bench rebuild [--events 1000000] [--accounts 10000] [--leafs N] [--partitions 4] [--workers 2] [--json]

A log of uploads, renewals, deletes, certificates of an issuer and shares of them is published; a consumer judges it (live apply);
then it is stopped, the live catalogs are thrown away (so that Redis need not hold them twice), and everything is rebuilt and promoted.
The log in Kafka holds what the consumer derived as well: shares are three events each. The floor is what the signatures alone, and
what preparing as a whole, of the last events of a partition cost in one thread. Leafs (certificates) come from a stock of --leafs and
come again once it is used up; 0 makes a new one for every upload, which takes longer to prepare than to judge. Of a leaf that comes
again its key is sealed once only, for no account in particular: no consumer can tell. Only ratios carry over to another machine.
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from model_py.catalog import document
from support import events as ev
from support.kafka import Kafka
from support.proc import Process, free_port
from support.redis import Redis
from support.stack import build_dir, consumer_binary

DEPLOYMENT = "bench"
ROWS = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000)  # certificates: lines of the table of growth


def call(*argv):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{argv[0]} {argv[1]}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def status_kib(pid, field):
    try:
        found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return 0
    return int(found.group(1)) if found else 0


def cpu_s(pid):
    """Processor time of the program's own threads (librdkafka's are named rdk:…)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            text = (task / "stat").read_text()
        except OSError:
            continue
        name, fields = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        if not name.startswith("rdk:") and task.name != str(pid):
            total += (int(fields[11]) + int(fields[12])) / 100
    return total


class Bench:
    def __init__(self, options, directory):
        self.options, self.directory = options, Path(directory)
        self.keys, self.config, self.port = self.directory / "keys", self.directory / "consumer.conf", free_port()

    def note(self, text):
        print(text, file=sys.stderr, flush=True)

    def run(self):
        with Kafka(self.directory / "kafka", bench=True) as self.kafka, Redis(self.directory / "redis") as self.redis:
            self._init()
            result = {"log": self._load()}
            result["floor"] = self._floor()
            result["apply"] = self._apply()
            self.redis.client().flushall()
            result["rebuild"] = self._rebuild(result["log"])
            result["promote_s"] = self._promote()
            again = self._floor()
            result["floor"] = {k: min(v, again[k]) for k, v in result["floor"].items()}
        return result

    def _init(self):
        self.keys.mkdir()
        for name in ("root", "admin", "issuer", "service"):
            key = ev.new_key()
            ev.write_private(key, self.keys / f"{name}.key")
            ev.write_public(key, self.keys / f"{name}.pub")
        ev.write_public(ev.x25519.X25519PrivateKey.generate(), self.keys / "custodian.pub")
        self.config.write_text(f"""[deployment]
id = {DEPLOYMENT}
root_key = {self.keys}/root.pub
service_key = {self.keys}/service.key
[kafka]
brokers = {self.kafka.bootstrap}
[redis]
url = unix://{self.redis.socket}
[consumer]
workers = {self.options.workers}
[api]
listen = 127.0.0.1:{self.port}
""")
        told = call(consumer_binary(), "init", "--config", self.config, "--partitions", self.options.partitions, "--replication", 1,
             "--root-key", self.keys / "root.key", "--admin-key", self.keys / "admin.pub", "--issuer-key", self.keys / "issuer.pub",
             "--custodian-key", self.keys / "custodian.pub")
        self.log_id = re.search(r"genesis: .*, log (\S+)", told)[1]

    def _load(self):
        o = self.options
        self.note(f"making {o.events} events")
        return json.loads(call(build_dir() / "tests/bench/certsync-bench-mixed", "load", "--brokers", self.kafka.bootstrap,
                               "--log", self.log_id, "--admin-key", self.keys / "admin.key", "--issuer-key",
                               self.keys / "issuer.key", "--custodian-key", self.keys / "custodian.pub", "--partitions",
                               o.partitions, "--events", o.events, "--accounts", o.accounts, "--leafs", o.leafs))

    def _floor(self):
        found = json.loads(call(build_dir() / "tests/bench/certsync-bench-mixed", "floor", "--brokers", self.kafka.bootstrap,
                                "--log", self.log_id))
        return {"verify_us": found["verify_us"], "prepare_us": found["prepare_us"]}

    def _ends(self):
        from confluent_kafka import Consumer, TopicPartition
        consumer = Consumer({"bootstrap.servers": self.kafka.bootstrap, "group.id": "unused", "log_level": 0})
        ends = [consumer.get_watermark_offsets(TopicPartition("cert.events", p), timeout=30)[1]
                for p in range(self.options.partitions)]
        consumer.close()
        return ends

    def _positions(self):
        documents = self.redis.client().mget([f"cs:{{{p}}}:pos" for p in range(self.options.partitions)])
        return [json.loads(document(d))["next_offset"] if d else 0 for d in documents]

    def _apply(self):
        """Until every partition is at its end, and nothing more was derived."""
        consumer = Process("consumer", [consumer_binary(), "run", "--config", self.config], self.directory)
        pid, begin, looked = consumer.popen.pid, None, 0
        try:
            while True:
                if not consumer.alive:
                    sys.exit(f"the consumer ended\n{consumer.tail()}")
                now, judged = time.monotonic(), self._positions()
                if begin is None and sum(judged) > 0:
                    begin = (now, sum(judged), cpu_s(pid))
                if now - looked > 1 and sum(judged) >= self.options.events:
                    looked = now
                    if self._ends() == judged == self._positions():
                        break
                time.sleep(0.02)
            seconds, events = time.monotonic() - begin[0], sum(judged) - begin[1]
            row = {"events": events, "events_per_s": round(events / seconds),
                   "cpu_us": round((cpu_s(pid) - begin[2]) / events * 1e6, 1), "peak_rss_mib": status_kib(pid, "VmHWM") // 1024}
            self._check(sum(judged))
            return row
        finally:
            consumer.terminate(60)

    def _check(self, total):
        metrics = call("curl", "-s", f"http://127.0.0.1:{self.port}/metrics")
        counts = {s: int(n) for s, n in re.findall(r'certsync_events_total\{status="(\w+)"\} (\d+)', metrics)}
        if counts.get("rejected") or sum(counts.values()) != total:
            sys.exit(f"not all of {total} events were applied: {counts}")

    def _rebuild(self, log):
        process = subprocess.Popen([consumer_binary(), "rebuild", "--config", self.config, "--json"], text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        samples, spent, ended = [], [0.0], threading.Event()

        def watch():  # processor time is gone with the process
            while not ended.wait(0.05):
                try:
                    spent[0] = max(spent[0], cpu_s(process.pid))
                except OSError:
                    pass
        thread = threading.Thread(target=watch)
        thread.start()
        found = {}
        for line in process.stdout:
            found = json.loads(line)
            samples.append((found["events"], time.monotonic(), status_kib(process.pid, "VmRSS"), status_kib(process.pid, "VmHWM")))
        ended.set()
        thread.join()
        if process.wait():
            sys.exit(f"rebuild: exit {process.returncode}\n{process.stderr.read()}")
        return {"events": found["events"], "events_per_s": found["events_per_second"],
                "cpu_us": round(spent[0] / found["events"] * 1e6, 1), "peak_rss_mib": max(s[3] for s in samples) // 1024,
                "growth": growth(samples, found["events"], log["certificates"])}

    def _promote(self):
        started = time.monotonic()
        call(consumer_binary(), "promote", "--config", self.config)
        return round(time.monotonic() - started, 2)


def growth(samples, events, certificates):
    """Speed and memory where the catalogs had so many certificates (they come in evenly)."""
    rows, before = [], (0, None)
    for count in [r for r in ROWS if r < certificates * 0.95] + [certificates]:
        at = next((s for s in samples if s[0] * certificates >= count * events), samples[-1])
        if before[1] is not None and at[1] > before[1]:
            rows.append({"certificates": count, "events_per_s": round((at[0] - before[0]) / (at[1] - before[1])),
                         "rss_mib": at[2] // 1024 or None})
        before = at[:2]
    return rows


def main():
    parser = argparse.ArgumentParser(description="Speed of a rebuild beside live apply and the floor.")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--accounts", type=int, default=10_000, help="in pairs, each with an agent of its own")
    parser.add_argument("--leafs", type=int, default=50_000, help="in stock; 0: a new one for each upload")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--directory", help="where the servers keep their data (some 5 KB an event)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cs-bench-", dir=options.directory) as directory:
        result = Bench(options, directory).run()
    log, floor, apply, rebuild = result["log"], result["floor"], result["apply"], result["rebuild"]
    result["rebuild_to_apply"] = round(rebuild["events_per_s"] / apply["events_per_s"], 2)
    for row in (apply, rebuild):
        row["of_the_floor"] = round(floor["verify_us"] / row["cpu_us"], 3) if row["cpu_us"] else None
    if options.json:
        print(json.dumps({"workers": options.workers, "partitions": options.partitions, "leafs": options.leafs, **result}))
        return
    print(f"{options.workers} workers, {options.partitions} partitions, {log['accounts']} accounts; {log['uploads']} uploads, "
          f"{log['issued']} issued, {log['renewals']} renewals, {log['deletes']} deletes, {log['shares']} shares; "
          f"{options.leafs or 'a new'} leaf{'s in stock' if options.leafs else ' each'}; made in {log['seconds']:.0f} s")
    print(f"{'':<12} {'events':>9} {'events/s':>9} {'cpu us':>8} {'of the floor':>13} {'peak MiB':>9}")
    for name, row in (("live apply", apply), ("rebuild", rebuild)):
        print(f"{name:<12} {row['events']:>9} {row['events_per_s']:>9} {row['cpu_us']:>8} {row['of_the_floor'] or '-':>13} {row['peak_rss_mib']:>9}")
    print(f"floor: {floor['verify_us']} us an event (signatures, certificates), {floor['prepare_us']} us with JSON and hashes")
    print(f"rebuild / live apply: {result['rebuild_to_apply']}; promote: {result['promote_s']} s")
    print(f"{'certificates':>12} {'events/s':>9} {'MiB':>6}")
    for row in rebuild["growth"]:
        print(f"{row['certificates']:>12} {row['events_per_s']:>9} {row['rss_mib'] or '-':>6}")


if __name__ == "__main__":
    main()
