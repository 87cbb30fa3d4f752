#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What one worker does: a log full of uploads, a consumer that begins with it, and the floor beside it.

./dev bench apply [--kinds p256] [--uploads 20000] [--partitions 1] [--workers 1] [--json]

Prints events a second (wall clock), the worker thread's processor time for each event, and the floor: what the signatures and
parsing of the same kind of events cost alone in one thread. Only ratios carry over to another machine.
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from support import events as ev
from support.kafka import Kafka
from support.proc import Process, free_port
from support.redis import Redis
from support.stack import build_dir, consumer_binary

DEPLOYMENT = "bench"


def make_keys(directory):
    directory.mkdir()
    for name in ("root", "admin", "service"):
        key = ev.new_key()
        ev.write_private(key, directory / f"{name}.key")
        ev.write_public(key, directory / f"{name}.pub")
    ev.write_public(ev.x25519.X25519PrivateKey.generate(), directory / "custodian.pub")


def write_config(path, keys, kafka, redis, port, workers):
    path.write_text(f"""[deployment]
id = {DEPLOYMENT}
root_key = {keys}/root.pub
service_key = {keys}/service.key
[kafka]
brokers = {kafka.bootstrap}
[redis]
url = unix://{redis.socket}
[consumer]
workers = {workers}
[api]
listen = 127.0.0.1:{port}
""")


def call(*argv):
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{argv[0]}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def worker_cpu_s(pid):
    """Processor time of the program's own threads (librdkafka's are named rdk:…) but the main one."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        text = (task / "stat").read_text()
        name, fields = text[text.index("(") + 1:text.rindex(")")], text[text.rindex(")") + 2:].split()
        if name.startswith("certsync") and task.name != str(pid):
            total += (int(fields[11]) + int(fields[12])) / 100
    return total


def judged(client, partitions):
    documents = client.mget([f"cs:{{{p}}}:pos" for p in range(partitions)])
    return sum(json.loads(d)["next_offset"] for d in documents if d)


def measure(options, directory):
    with Kafka(directory / "kafka", bench=True) as kafka, Redis(directory / "redis") as redis:
        keys, config, port = directory / "keys", directory / "consumer.conf", free_port()
        make_keys(keys)
        write_config(config, keys, kafka, redis, port, options.workers)
        call(consumer_binary(), "init", "--config", config, "--partitions", options.partitions, "--replication", 1, "--root-key",
             keys / "root.key", "--admin-key", keys / "admin.pub", "--custodian-key", keys / "custodian.pub")
        load = json.loads(call(build_dir() / "tests/bench/certsync-bench-load", "upload", "--brokers", kafka.bootstrap,
                               "--deployment", DEPLOYMENT, "--admin-key", keys / "admin.key", "--custodian-key",
                               keys / "custodian.pub", "--partitions", options.partitions, "--uploads", options.uploads,
                               "--kinds", options.kinds))
        total = load["events"] + 4 * options.partitions
        consumer = Process("consumer", [consumer_binary(), "run", "--config", config], directory)
        try:
            return follow(consumer, redis.client(), options, total, port)
        finally:
            consumer.kill()


def follow(consumer, client, options, total, port):
    begin = None
    while True:
        n = judged(client, options.partitions)
        if not consumer.alive:
            sys.exit(f"the consumer ended\n{consumer.tail()}")
        if begin is None and n > 0:
            begin = (time.monotonic(), n, worker_cpu_s(consumer.popen.pid))
        if n >= total:
            break
        time.sleep(0.005)
    seconds, events = time.monotonic() - begin[0], n - begin[1]
    cpu_s = worker_cpu_s(consumer.popen.pid) - begin[2]
    metrics = call("curl", "-s", f"http://127.0.0.1:{port}/metrics")
    applied = int(re.search(r'certsync_events_total\{status="applied"\} (\d+)', metrics).group(1))
    if applied != total:
        sys.exit(f"{total - applied} of {total} events were not applied")
    return {"events": events, "events_per_s": round(events / seconds), "worker_cpu_us": round(cpu_s / events * 1e6, 1)}


def floor(options):
    out = call(build_dir() / "tests/bench/certsync-bench-floor", options.kinds, 3000, "verify", "prepare")
    return {k: v for line in out.splitlines() for k, v in json.loads(line).items() if k.endswith("_us")}


def main():
    parser = argparse.ArgumentParser(description="Throughput of the consumer's workers.")
    parser.add_argument("--kinds", default="p256", help="of leafs: p256,rsa2048,sm2")
    parser.add_argument("--uploads", type=int, default=20000)
    parser.add_argument("--partitions", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    before = floor(options)
    with tempfile.TemporaryDirectory(prefix="cs-bench-") as directory:
        result = measure(options, Path(directory))
    after = floor(options)
    result["floor_verify_us"] = min(before["verify_us"], after["verify_us"])
    result["floor_prepare_us"] = min(before["prepare_us"], after["prepare_us"])
    result["ratio"] = round(result["floor_verify_us"] / result["worker_cpu_us"], 3)
    if options.json:
        print(json.dumps({"kinds": options.kinds, **result}))
        return
    print(f"{result['events_per_s']} events/s, {options.workers} worker(s), {options.partitions} partition(s), {options.kinds}")
    print(f"a worker's processor time: {result['worker_cpu_us']} us an event")
    print(f"floor: {result['floor_verify_us']} us (signatures, certificates), {result['floor_prepare_us']} us with JSON and hashes")
    print(f"floor / worker: {result['ratio']}")


if __name__ == "__main__":
    main()
