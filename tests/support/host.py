# SPDX-License-Identifier: Apache-2.0
"""A host with the program certsync, as its administrator has it: key, settings, spool, files."""

import json
import os
import subprocess

from support import events as ev
from support.proc import PATIENCE_S, Process, wait_until
from support.spool import spooled
from support.stack import DEPLOYMENT, certsync_binary



class Host:
    """A host of an account: its key, its settings, its spool, its files."""

    def __init__(self, stack, account, directory, key=None):
        self.stack, self.account, self.dir = stack, account, directory
        self.dir.mkdir(parents=True, exist_ok=True)
        self.sender = key or account.agent
        ev.write_private(self.sender.key, self.dir / "host.key")
        self.config = self.dir / "certsync.conf"
        self.configure()

    def configure(self, **over):
        # Where the API is not the real one, somebody must have told the host which log it works with.
        settings = {"deployment.id": self.stack.log_id if "api.url" in over else DEPLOYMENT, "kafka.brokers": self.stack.kafka.bootstrap,
                    "agent.account": self.account.id, "agent.key": self.dir / "host.key",
                    "agent.custodian": self.stack.keys / "custodian.pub", "agent.spool": self.dir / "spool",
                    "api.url": f"http://127.0.0.1:{self.stack.port}", **over}
        self.config.write_text("".join(f"[{k.split('.')[0]}]\n{k.split('.', 1)[1]} = {v}\n" for k, v in settings.items()))

    def run(self, *args, stdin=b"", timeout_s=PATIENCE_S, stdout=subprocess.PIPE):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")}
        return subprocess.run([certsync_binary(), "--config", self.config, *map(str, args)], input=stdin, cwd=self.dir,
                              stdout=stdout, stderr=subprocess.PIPE, timeout=timeout_s, check=False, env=environment)

    def expect(self, code, *args, words=(), stdin=b""):
        done = self.run(*args, stdin=stdin)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == code, f"exit {done.returncode}: {said}"
        for word in words:
            assert word in said, f"{word!r} is not in: {said}"
        assert "PRIVATE KEY" not in said
        assert code or "perhaps a key" not in said, f"what was asked for is masked: {said}"
        return said

    def json(self, code, *args):
        done = self.run("--json", *args)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def spooled(self):
        return spooled(self.dir / "spool")


def make_files(directory, ca, kind="p256", **how):
    key = ev.new_key(kind)
    leaf = ca.issue(key.public_key(), **how)
    ev.write_private(key, directory / "key.pem")
    (directory / "cert.pem").write_bytes(ev.pem_of(leaf))
    (directory / "chain.pem").write_bytes(ev.pem_of(ca.der))
    (directory / "full.pem").write_bytes(ev.pem_of(leaf, ca.der))
    return key


def admin_host(stack, account, tmp_path):
    """An admin's own key: it counts in this host's spool alone."""
    admin = ev.Sender(stack.log_id)
    stack.appoint("admin", admin)
    return Host(stack, account, tmp_path / "admin", key=admin)


class AgentHost(Host):
    """A host on which the daemon may run."""

    def __init__(self, stack, account, directory, **how):
        self.sections, self.over, self.process = {}, {}, None
        super().__init__(stack, account, directory, **how)

    def configure(self, **over):
        self.over = {"agent.debounce": "50ms", "agent.rescan": "1h", "agent.heartbeat": "0", **over}
        super().configure(**self.over)
        with open(self.config, "a") as out:
            for name, keys in self.sections.items():
                out.write(f"[watch {name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items()))

    def watch(self, name, **keys):
        self.sections[name] = keys
        self.configure(**self.over)

    def start(self, env=None, within=()):
        """within: a command that runs it, as unshare(1) does."""
        before = self.process.output().count(" watching ") if self.process else 0
        self.process = Process(f"agent-{self.dir.name}", [*within, certsync_binary(), "--config", self.config, "agent"], self.dir.parent, env=env)
        wait_until(lambda: self.process.output().count(" watching ") > before or self.ended(), PATIENCE_S, "a running daemon")
        return self

    def ended(self):
        assert self.process.alive, self.process.tail()
        return False

    def new_log(self):
        """What this run of it said."""
        return self.process.output()[self.process.output().rfind(" watching "):]

    def stop(self):
        assert self.process.terminate() == 0, self.process.tail()

    def status(self):
        done = self.run("--json", "status")
        return json.loads(done.stdout)

    def wait_status(self, condition, what):
        return wait_until(lambda: (s := self.status()) and condition(s) and s, PATIENCE_S, what)

    def problem(self, name):
        return next((p for p in self.status()["problems"] if p["name"] == name), None)

    def wait_problem(self, name, state, code=None):
        def there():
            p = self.problem(name)
            return p and p["state"] == state and p.get("code") == code and p
        return wait_until(there, PATIENCE_S, f"{name} {state} {code}")

    def catalog(self):
        """name -> (version, id)"""
        status, body = self.stack.http(f"/v1/accounts/{self.account.id}/certificates?limit=1000",
                                       self.stack.token(self.stack.auditor, "*"))
        assert status == 200, (status, body)
        return {c["name"]: (c["version"], c["id"]) for c in body["certificates"]}

    def wait_version(self, name, version):
        return wait_until(lambda: self.catalog().get(name, (0,))[0] == version and self.catalog()[name], PATIENCE_S,
                          f"version {version} of {name}\n{self.process.tail()}")

    def wait_quiet(self):
        """Nothing left to do: every file looked at, every outcome known."""
        return self.wait_status(lambda s: s["spool"]["events"] == 0 and not any(
            s["certificates"][k] for k in ("new", "waiting", "sent", "blocked", "deleting")), "a quiet daemon")

    def events(self, kind=""):
        """How many events of this host's key Kafka has; kind: of this type."""
        partition = ev.partition_of(self.account.id, self.stack.partitions)
        marks = (f"/keys/{self.sender.kid}".encode(), f"certsync.{kind}".encode())
        return sum(all(m in r.value for m in marks) for r in self.stack.kafka.consume("cert.events", partition))


def put_pair(directory, name, ca, start=-1.0, days=90.0, key=None):
    """NAME.crt and NAME.key, each written beside and renamed over."""
    directory.mkdir(parents=True, exist_ok=True)
    key = key or ev.new_key()
    ev.write_private(key, directory / f".{name}.key.tmp")
    (directory / f".{name}.crt.tmp").write_bytes(ev.pem_of(ca.issue(key.public_key(), cn=name, names=[name], start=start, days=days), ca.der))
    os.replace(directory / f".{name}.key.tmp", directory / f"{name}.key")
    os.replace(directory / f".{name}.crt.tmp", directory / f"{name}.crt")
    return key


def watch_pairs(host, **more):
    host.watch("files", certificate=host.dir / "tls/{name}.crt", key=host.dir / "tls/{name}.key", **more)
    (host.dir / "tls").mkdir(exist_ok=True)
    return host.dir / "tls"
