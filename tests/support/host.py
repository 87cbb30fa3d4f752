# SPDX-License-Identifier: Apache-2.0
"""The programs as people run them: the command `certsync` on a host of an account, and the demo's embedded broker."""
import json
import os
import subprocess
from pathlib import Path

from support import events as ev
from support.proc import Process, wait_until
from support.stack import DEPLOYMENT, build_dir, certsync_binary


class Result:
    """What a command left: exit code, standard output and standard error as text."""

    def __init__(self, argv, done):
        self.argv, self.code, self.out, self.err = argv, done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    def expect(self, code=0):
        """Itself, if the exit code is `code`; otherwise AssertionError with all that the command said."""
        assert self.code == code, f"{self}\nwanted exit code {code}"
        return self

    def __str__(self):
        return f"$ {' '.join(self.argv)}\n{self.out}{self.err}[exit code {self.code}]"


class Host:
    """A folder with the settings, key and spool of one key holder: run `certsync` there.

        host = Host(stack, tmp_path / "web1", stack.account("acme"))
        host.run("upload", "www", "--cert", "www.pem", "--key-file", "www.key").expect(0)

    `sender` (an events.Sender) replaces the account's agent: stack.admin, stack.issuer, stack.root.
    """

    def __init__(self, stack, directory, account=None, sender=None, **settings):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.config = self.directory / "certsync.conf"
        key = self.directory / "agent.key"
        ev.write_private((sender or account.agent).key, key)
        agent = {"key": key, "spool": self.directory / "spool", "custodian": stack.keys / "custodian.pub"}
        if account is not None:
            agent["account"] = account.id
        self.settings = {"deployment": {"id": DEPLOYMENT}, "kafka": {"brokers": stack.kafka.bootstrap}, "agent": agent,
                         "api": {"url": f"http://127.0.0.1:{stack.port}"}}
        self.set(**settings)

    def set(self, **settings):
        """Change settings: set(api={"url": None}, kafka={"brokers": "..."}); None takes one out."""
        for section, keys in settings.items():
            self.settings.setdefault(section, {}).update(keys)
        self.config.write_text("".join(
            f"[{section}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items() if v is not None)
            for section, keys in self.settings.items()))

    def _command(self, arguments):
        return [str(certsync_binary()), "--config", str(self.config), *(str(a) for a in arguments)]

    def run(self, *arguments, stdin="", env=None, timeout_s=60):
        """Run `certsync ARGUMENT...` in the host's folder to its end; returns a Result."""
        argv = self._command(arguments)
        done = subprocess.run(argv, cwd=self.directory, input=stdin, env={**os.environ, **(env or {})},
                              capture_output=True, text=True, timeout=timeout_s, check=False)
        return Result(argv, done)

    def start(self, *arguments, env=None):
        """Start `certsync ARGUMENT...` and go on: a Process, for several side by side or to be killed."""
        return Process("certsync", self._command(arguments), self.directory, env=env)


class DemoBroker:
    """The embedded broker: DemoBroker(tmp_path, {"cert.events": 4, "cert.outcomes": 4}).bootstrap."""

    def __init__(self, directory, topics):
        arguments = [a for name, count in topics.items() for a in ("--topic", f"{name}:{count}")]
        self.process = Process("broker", [build_dir() / "tests/broker/certsync-demo-broker", "--until-eof", *arguments],
                               directory, stdin=subprocess.PIPE)
        try:
            wait_until(self._said_ready, 10, "the embedded broker")
        except AssertionError:
            self.stop()
            raise
        self.bootstrap = self._said_ready()

    def _said_ready(self):
        assert self.process.alive, self.process.tail()
        ready = [line for line in self.process.output().splitlines(keepends=True) if line.startswith("READY ")]
        return ready[0].split()[1] if ready and ready[0].endswith("\n") else None

    def close_stdin(self):
        self.process.popen.stdin.close()

    def stop(self):
        self.process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
