# SPDX-License-Identifier: Apache-2.0
"""./dev bench apply: uploads from a real Kafka topic into a real Redis by one worker, beside the floor.

The floor is what the same kind of uploads cost in signature verifications and certificate parses alone, in one thread and
without I/O. Floor and worker are measured in turn, several times, within one run: machines differ and drift, so only the
ratio counts. Events a second are of the span from the first to the last outcome of the uploads.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support import events as ev
from support.kafka import Kafka
from support.proc import free_port
from support.stack import DEPLOYMENT, Stack, build_dir

GOAL = 0.85
KINDS = {"p256": "P-256", "rsa2048": "RSA-2048", "sm2": "SM2", "p256-p384": "P-256, issuer P-384"}


def floor_us(kind: str, uploads: int) -> dict:
    """Microseconds of processor time for each upload: signatures and parsing alone, and with preparation."""
    program = build_dir() / "tests/bench/certsync-bench-floor"
    out = subprocess.run([program, kind, str(uploads), "verify", "prepare"], capture_output=True, text=True, check=True).stdout
    figures = {}
    for line in out.splitlines():
        figures.update(json.loads(line))
    return figures


class Bench(Stack):
    """One topic of one partition, filled before the consumer starts."""

    def __init__(self, directory, kafka):
        super().__init__(directory, partitions=1, kafka=kafka, consumer_settings={
            "consumer": {"workers": 1}, "log": {"level": "warn"},
            "kafka": {"events_topic": f"{Path(directory).name}.events", "outcomes_topic": f"{Path(directory).name}.outcomes"}})

    def start(self):
        self.redis.start()
        self._make_keys()
        self.port = free_port()
        self.config = self.write_config("consumer", self.port)
        self.init()
        return self

    def load(self, kind, uploads, accounts):
        topic = self.settings["kafka"]["events_topic"]
        for role in ("admin", "custodian"):
            record = self.root.event("trust.add", "", ev.kid_of(self.spki(role)), {"role": role, "key": ev.b64(self.spki(role))})
            self.kafka.produce(topic, record.value, b"", 0, record.headers)
        subprocess.run([build_dir() / "tests/bench/certsync-bench-load", "upload", "--brokers", self.kafka.bootstrap, "--topic", topic,
                        "--deployment", DEPLOYMENT, "--admin-key", self.keys / "admin.key", "--custodian-key",
                        self.keys / "custodian.pub", "--kinds", kind, "--partitions", "1", "--accounts", str(accounts), "--uploads",
                        str(uploads)], check=True, stdout=subprocess.DEVNULL)

    def spki(self, role):
        key = self.custodian if role == "custodian" else getattr(self, role).key
        return ev.spki_of(key.public_key())

    def measure(self, uploads) -> dict:
        """Runs the consumer until every upload has its outcome."""
        outcomes = self.settings["kafka"]["outcomes_topic"]
        first_wanted = self.kafka.watermarks(self.settings["kafka"]["events_topic"])[1] - uploads
        started = time.monotonic()
        consumer = self.run_consumer(wait=False)
        peak = 0
        while self.kafka.watermarks(outcomes)[1] < first_wanted + uploads:
            assert consumer.alive, consumer.tail()
            assert time.monotonic() - started < 3600, "the consumer does not get on"
            peak = max(peak, memory_kib(consumer.pid))
            time.sleep(0.2)
        peak = max(peak, memory_kib(consumer.pid))
        code = consumer.terminate()
        assert code == 0, f"the consumer ended with {code}\n{consumer.tail()}"
        first, last = (self.kafka.consume(outcomes, 0, n, n + 1)[0] for n in (first_wanted, first_wanted + uploads - 1))
        verdict = json.loads(last.value)
        assert verdict["status"] == "applied" and "code" not in verdict, verdict
        seconds = (last.timestamp_ms - first.timestamp_ms) / 1000
        return {"events_per_second": (uploads - 1) / seconds, "seconds": seconds, "memory_mib": peak / 1024}


def memory_kib(pid) -> int:
    """Resident memory at its highest so far."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def row(kafka, directory, kind, options) -> dict:
    runs = []
    for i in range(options.rounds):
        before = floor_us(kind, options.floor_uploads)
        with Bench(directory / f"{kind}-{i}", kafka) as bench:
            bench.load(kind, options.uploads, options.accounts)
            done = bench.measure(options.uploads)
        after = floor_us(kind, options.floor_uploads)
        floor = (before["verify_us"] + after["verify_us"]) / 2
        done |= {"floor_us": floor, "floor_per_second": 1e6 / floor, "ratio": done["events_per_second"] * floor / 1e6}
        runs.append(done)
        if not options.json:
            print(f"  {KINDS[kind]:22} {done['events_per_second']:8.0f} events/s   floor {done['floor_per_second']:8.0f}/s "
                  f"({floor:6.1f} us)   ratio {done['ratio']:.3f}   {done['memory_mib']:5.0f} MiB", flush=True)
    middle = {k: statistics.median(r[k] for r in runs) for k in runs[0]}
    return {"leaf": KINDS[kind], "uploads": options.uploads, "rounds": options.rounds, **{k: round(v, 3) for k, v in middle.items()},
            "ratios": [round(r["ratio"], 3) for r in runs], "goal": GOAL, "reached": middle["ratio"] >= GOAL}


def openssl_version() -> str:
    return subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev bench apply", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one object with the figures")
    parser.add_argument("--kinds", default=",".join(KINDS), help="of leafs, comma-separated: " + ", ".join(KINDS))
    parser.add_argument("--uploads", type=int, default=20000, help="in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--accounts", type=int, default=100)
    parser.add_argument("--floor-uploads", type=int, default=2000)
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    unknown = [k for k in kinds if k not in KINDS]
    if unknown:
        parser.error(f"unknown kind: {unknown[0]} (there are {', '.join(KINDS)})")
    if not options.json:
        print(f"One worker, one partition, {options.uploads} uploads a round, {openssl_version()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="certsync-bench-") as name, Kafka(Path(name) / "kafka", bench=True) as kafka:
        rows = [row(kafka, Path(name), kind, options) for kind in kinds]
    if options.json:
        print(json.dumps({"benchmark": "apply", "openssl": openssl_version(), "rows": rows}))
    else:
        for r in rows:
            print(f"{r['leaf']:22} median ratio {r['ratio']:.3f}  goal {GOAL}: {'reached' if r['reached'] else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
