# SPDX-License-Identifier: Apache-2.0
"""A host with the program certsync, as its administrator has it: key, settings, spool, files."""

import json
import os
import subprocess

from support import events as ev
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
        settings = {"deployment.id": DEPLOYMENT, "kafka.brokers": self.stack.kafka.bootstrap,
                    "agent.account": self.account.id, "agent.key": self.dir / "host.key",
                    "agent.custodian": self.stack.keys / "custodian.pub", "agent.spool": self.dir / "spool",
                    "api.url": f"http://127.0.0.1:{self.stack.port}", **over}
        self.config.write_text("".join(f"[{k.split('.')[0]}]\n{k.split('.', 1)[1]} = {v}\n" for k, v in settings.items()))

    def run(self, *args, stdin=b"", timeout_s=60):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")}
        return subprocess.run([certsync_binary(), "--config", self.config, *map(str, args)], input=stdin, cwd=self.dir,
                              capture_output=True, timeout=timeout_s, check=False, env=environment)

    def expect(self, code, *args, words=(), stdin=b""):
        done = self.run(*args, stdin=stdin)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode == code, f"exit {done.returncode}: {said}"
        for word in words:
            assert word in said, f"{word!r} is not in: {said}"
        assert "PRIVATE KEY" not in said
        return said

    def json(self, code, *args):
        done = self.run("--json", *args)
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def spooled(self):
        return sorted(p.name for p in (self.dir / "spool").rglob("*.*") if p.suffix in (".new",) or ".sent" in p.name)


def make_files(directory, ca, kind="p256", **how):
    key = ev.new_key(kind)
    leaf = ca.issue(key.public_key(), **how)
    ev.write_private(key, directory / "key.pem")
    (directory / "cert.pem").write_bytes(ev.pem_of(leaf))
    (directory / "chain.pem").write_bytes(ev.pem_of(ca.der))
    (directory / "full.pem").write_bytes(ev.pem_of(leaf, ca.der))
    return key
