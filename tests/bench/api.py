#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP API under load: requests a second, how long they take, and what they cost, over 1, 16 and 256 kept connections, with
TLS and without. Beside it a small server of Go's net/http and go-redis (tests/bench/peer) that gives the same answer from the
same Redis after the same checks: token, its key, the outcome.

./dev bench api [--seconds 5] [--connections 1,16,256] [--json]

Client and servers share the machine's processors: only ratios carry over to another one. The peer has as many threads as
there are processors; the API answers in one thread.
"""
import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from support import events as ev
from support.acme import go
from support.kafka import _cache, _locked
from support.proc import PATIENCE_S, Process, free_port, wait_until
from support.stack import DEPLOYMENT, Stack

PEER = Path(__file__).with_name("peer")


def build_peer():
    """The program, built with modules of the Go module proxy into the cache."""
    program = _cache() / "bench-peer"
    with _locked(_cache() / "bench-peer.lock"):
        subprocess.run([go()[0], "build", "-o", program, "."], cwd=PEER, env={**os.environ, "CGO_ENABLED": "0"}, check=True, timeout=600)
    return program


def cpu_s(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Bench:
    def __init__(self, stack, options, directory):
        self.stack, self.options, self.dir = stack, options, directory
        self.peer = build_peer()
        self.account = stack.account()
        authority, key = ev.Authority("Bench CA"), ev.new_key()
        record = self.account.agent.upload(self.account.id, "www", key, [authority.issue(key.public_key()), authority.der])
        assert stack.judge(record)["status"] == "applied"
        self.path = f"/v1/accounts/{self.account.id}/outcomes/{record.id}"
        own = ev.new_key()
        ev.write_private(own, directory / "key.pem")
        (directory / "cert.pem").write_bytes(ev.pem_of(authority.issue(own.public_key(), cn="localhost", names=["localhost"]), authority.der))

    def consumer(self, tls):
        port = free_port()
        api = {"listen": f"127.0.0.1:{port}", "max_connections": 512}
        if tls:
            api.update({"tls_certificate": self.dir / "cert.pem", "tls_key": self.dir / "key.pem"})
        config = self.stack.write_config(f"bench-{tls}", port, api=api, consumer={"workers": 1})
        return port, self.stack.run_consumer(name=f"bench-{tls}", config=config, wait=False)

    def go_peer(self, tls):
        port = free_port()
        at = ev.partition_of(self.account.id, self.stack.partitions)
        files = ["-cert", self.dir / "cert.pem", "-key", self.dir / "key.pem"] if tls else []
        return port, Process(f"peer-{tls}", [self.peer, "serve", "-listen", f"127.0.0.1:{port}", "-redis", self.stack.redis.socket,
                                             "-prefix", f"cs:{{{at}}}:", "-deployment", DEPLOYMENT, *files], self.dir)

    def load(self, port, tls, connections, seconds):
        token = self.stack.token(self.account.agent, self.account.id, lifetime_s=300)
        done = subprocess.run([self.peer, "load", "-address", f"127.0.0.1:{port}", "-path", self.path, "-conns", str(connections),
                               "-seconds", str(seconds), *(["-tls"] if tls else [])], env={**os.environ, "TOKEN": token},
                              capture_output=True, text=True, timeout=seconds + 60, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def body(self, port, tls):
        """The answer itself, which must be the same of both."""
        done = subprocess.run(["curl", "-sk", "-H", f"Authorization: Bearer {self.stack.token(self.account.agent, self.account.id)}",
                               f"{'https' if tls else 'http'}://127.0.0.1:{port}{self.path}"], capture_output=True, check=False)
        return done.stdout

    def measure(self, what, tls, port, process):
        rows = []
        wait_until(lambda: self.load(port, tls, 1, 0.1), PATIENCE_S, f"answers of {what}\n{process.tail()}")
        for connections in self.options.connections:
            self.load(port, tls, connections, min(1, self.options.seconds))
            before = cpu_s(process.pid)
            r = self.load(port, tls, connections, self.options.seconds)
            assert r, process.tail()
            rows.append({"server": what, "tls": tls, "connections": connections, "per_s": round(r["requests"] / r["seconds"]),
                         "p50_us": round(r["p50_us"]), "p99_us": round(r["p99_us"]),
                         "cpu_us": round((cpu_s(process.pid) - before) / r["requests"] * 1e6, 1)})
        return rows

    def run(self):
        rows = []
        for tls in (False, True):
            bodies = []
            for what, start in (("certsync", self.consumer), ("go", self.go_peer)):
                port, process = start(tls)
                rows += self.measure(what, tls, port, process)
                bodies.append(self.body(port, tls))
                process.terminate()
            assert bodies[0] and bodies[0] == bodies[1], f"the answers differ: {bodies}"
        return rows


def main():
    parser = argparse.ArgumentParser(description="The HTTP API under load.")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=lambda s: [int(n) for n in s.split(",")], default=[1, 16, 256])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="cs-bench-") as temporary:
        directory = Path(temporary)
        with Stack(directory / "stack", partitions=4) as stack:
            first = stack.run_consumer()
            bench = Bench(stack, options, directory)
            assert first.terminate() == 0
            rows = bench.run()
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'':4} {'connections':>11} {'server':>9} {'requests/s':>10} {'p50 us':>8} {'p99 us':>8} {'CPU us/request':>14}")
    for r in sorted(rows, key=lambda r: (r["tls"], r["connections"])):
        print(f"{'TLS' if r['tls'] else '':4} {r['connections']:>11} {r['server']:>9} {r['per_s']:>10} {r['p50_us']:>8} {r['p99_us']:>8} "
              f"{r['cpu_us']:>14}")


if __name__ == "__main__":
    main()
