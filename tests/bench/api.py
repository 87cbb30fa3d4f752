#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The HTTP API under load: requests a second, how long they take, and what they cost, over kept connections, with TLS and without:
one outcome, one certificate with its chain, and a page of 100 certificates. Beside it a small server of Go's net/http and go-redis
(tests/bench/peer) that gives the same answers after the same questions: token, its key, then the documents. Its documents are in the
same Redis, as plain JSON, and it does not ask whether somebody altered them.

./dev bench api [--seconds 5] [--connections 1,16,64] [--kinds outcome,certificate,list] [--rounds 1] [--threads N] [--plain] [--json]

Client and servers share the machine's processors: only ratios carry over to another one. Both are measured in turns, and all stay
up. The peer has as many threads as there are processors.
"""
import argparse
import calendar
import json
import os
import subprocess
import tempfile
import time
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


PAGE = 100  # certificates of the account: one page


def seconds_of(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


def stored_of(c):
    """The peer's document of a certificate, from the API's answer."""
    return {"ID": c["id"], "Name": c["name"], "Algorithm": c["algorithm"], "Source": c["source"], "Version": c["version"],
            "NotBefore": seconds_of(c["not_before"]), "NotAfter": seconds_of(c["not_after"]), "Ends": seconds_of(c["ends"]),
            "Names": c["names"], "NamesTotal": c["names_total"], "Serial": c["serial"], "Fingerprint": c["fingerprint"],
            "Spki": c["spki_sha256"], "KeyType": c["key_type"], "KeyBits": c["key_bits"], "Subject": c["subject"], "Issuer": c["issuer"],
            "Tags": c["tags"], "By": c["by"], "Created": seconds_of(c["created"]), "Updated": seconds_of(c["updated"]),
            "SharesTotal": c["shares_total"]}


class Bench:
    def __init__(self, stack, options, directory):
        self.stack, self.options, self.dir = stack, options, directory
        self.peer = build_peer()
        self.account = stack.account()
        authority, key = ev.Authority("Bench CA"), ev.new_key()
        agent, chain = self.account.agent, [authority.issue(key.public_key()), authority.der]
        records = [agent.upload(self.account.id, f"www-{i:03}", key, chain) for i in range(PAGE)]
        for place in stack.send_all(records):
            assert stack.outcome_at(place)["status"] == "applied"
        own = ev.new_key()
        ev.write_private(own, directory / "key.pem")
        (directory / "cert.pem").write_bytes(ev.pem_of(authority.issue(own.public_key(), cn="localhost", names=["localhost"]), authority.der))
        self.event = records[0].id
        names = stack.names(self.account)
        assert len(names) == PAGE
        self.certificate = names["www-000"]["id"]
        self.paths = {"outcome": f"outcomes/{self.event}", "certificate": f"certificates/{self.certificate}", "list": "certificates"}
        self.fill_peer(names)

    def fill_peer(self, names):
        account, agent = self.account.id, self.account.agent
        client = self.stack.redis.client()

        def put(key, value):
            client.set(f"peer:{key}", value if isinstance(value, (str, bytes)) else json.dumps(value))
        put("pos", {"next_offset": 1})
        put(f"account/{account}", {})
        put(f"key/{account}/{agent.kid}", {"Key": ev.b64(agent.spki), "State": "active"})
        put(f"outcome/{account}/{self.event}", json.dumps(self.stack.get(self.account, self.paths["outcome"])[1], separators=(",", ":")))
        for c in names.values():
            put(f"cert/{account}/{c['id']}", stored_of(c))
            client.zadd(f"peer:view/{account}", {f"{c['name']}/c/{c['id']}": 0})
        put(f"chain/{account}/{self.certificate}", self.stack.get(self.account, self.paths["certificate"])[1]["chain"])

    def consumer(self, tls):
        port = free_port()
        api = {"listen": f"127.0.0.1:{port}", "max_connections": 512}
        if self.options.threads:
            api["threads"] = self.options.threads
        if tls:
            api.update({"tls_certificate": self.dir / "cert.pem", "tls_key": self.dir / "key.pem"})
        config = self.stack.write_config(f"bench-{tls}", port, api=api, consumer={"workers": 1})
        return port, self.stack.run_consumer(name=f"bench-{tls}", config=config, wait=False)

    def go_peer(self, tls):
        port = free_port()
        files = ["-cert", self.dir / "cert.pem", "-key", self.dir / "key.pem"] if tls else []
        return port, Process(f"peer-{tls}", [self.peer, "serve", "-listen", f"127.0.0.1:{port}", "-redis", self.stack.redis.socket,
                                             "-prefix", "peer:", "-deployment", DEPLOYMENT, *files], self.dir)

    def load(self, port, tls, kind, connections, seconds, must=True):
        token = self.stack.token(self.account.agent, self.account.id, lifetime_s=300)
        path = f"/v1/accounts/{self.account.id}/{self.paths[kind]}"
        done = subprocess.run([self.peer, "load", "-address", f"127.0.0.1:{port}", "-path", path, "-conns", str(connections),
                               "-seconds", str(seconds), *(["-tls"] if tls else [])], env={**os.environ, "TOKEN": token},
                              capture_output=True, text=True, timeout=seconds + 60, check=False)
        if must and done.returncode:
            raise RuntimeError(done.stderr)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def body(self, port, tls, kind):
        """The answer itself, which must be the same of both."""
        token = self.stack.token(self.account.agent, self.account.id)
        done = subprocess.run(["curl", "-sk", "-H", f"Authorization: Bearer {token}",
                               f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1/accounts/{self.account.id}/{self.paths[kind]}"],
                              capture_output=True, check=False)
        return done.stdout

    def measure(self, what, tls, kind, connections, port, process):
        before, redis_before = cpu_s(process.pid), cpu_s(self.stack.redis.process.pid)
        r = self.load(port, tls, kind, connections, self.options.seconds)

        def each_us(before, pid):
            return round((cpu_s(pid) - before) / r["requests"] * 1e6, 1)
        return {"server": what, "tls": tls, "kind": kind, "connections": connections, "per_s": round(r["requests"] / r["seconds"]),
                "p50_us": round(r["p50_us"]), "p99_us": round(r["p99_us"]), "cpu_us": each_us(before, process.pid),
                "redis_us": each_us(redis_before, self.stack.redis.process.pid)}

    def run(self):
        rows = []
        for tls in (False, True) if self.options.plain else (True,):
            servers = {"certsync": self.consumer(tls), "go": self.go_peer(tls)}
            for port, process in servers.values():
                wait_until(lambda port=port: self.load(port, tls, "outcome", 1, 0.1, must=False), PATIENCE_S, f"answers\n{process.tail()}")
            for kind in self.options.kinds:
                bodies = [self.body(port, tls, kind) for port, _ in servers.values()]
                assert bodies[0] and bodies[0] == bodies[1], f"the answers differ: {bodies}"
                for connections in self.options.connections:
                    for port, _ in servers.values():
                        self.load(port, tls, kind, connections, min(1, self.options.seconds))
                    turns = [self.measure(what, tls, kind, connections, *server)
                             for _ in range(self.options.rounds) for what, server in servers.items()]
                    rows += [max((t for t in turns if t["server"] == what), key=lambda t: t["per_s"]) for what in servers]
            for _, process in servers.values():
                process.terminate()
        return rows


def main():
    parser = argparse.ArgumentParser(description="The HTTP API under load.")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--connections", type=lambda s: [int(n) for n in s.split(",")], default=[1, 16, 64])
    parser.add_argument("--kinds", type=lambda s: s.split(","), default=["outcome", "certificate", "list"])
    parser.add_argument("--rounds", type=int, default=1, help="the best of so many turns counts")
    parser.add_argument("--threads", type=int, help="api.threads")
    parser.add_argument("--plain", action="store_true", help="without TLS, too")
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
    print(f"{'kind':11} {'':3} {'connections':>11} {'server':>9} {'requests/s':>10} {'p50 us':>8} {'p99 us':>8} {'CPU us':>8} {'Redis us':>8}")
    for own, go_ in zip(rows[::2], rows[1::2]):
        for r in (own, go_):
            ratio = f"  {own['per_s'] / go_['per_s']:.2f}" if r is own else ""
            print(f"{r['kind']:11} {'TLS' if r['tls'] else '':3} {r['connections']:>11} {r['server']:>9} {r['per_s']:>10} {r['p50_us']:>8} "
                  f"{r['p99_us']:>8} {r['cpu_us']:>8} {r['redis_us']:>8}{ratio}")


if __name__ == "__main__":
    main()
