# SPDX-License-Identifier: Apache-2.0
"""The demo's embedded broker (tests/broker) as a fixture."""
import subprocess

from support.proc import PATIENCE_S, Process, wait_until
from support.stack import build_dir


class DemoBroker:
    """The embedded broker: DemoBroker(tmp_path, {"cert.events": 4, "cert.outcomes": 4}).bootstrap."""

    def __init__(self, directory, topics):
        arguments = [a for name, count in topics.items() for a in ("--topic", f"{name}:{count}")]
        self.process = Process("broker", [build_dir() / "tests/broker/certsync-demo-broker", "--until-eof", *arguments],
                               directory, stdin=subprocess.PIPE)
        try:
            wait_until(self._said_ready, PATIENCE_S, "the embedded broker")
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
