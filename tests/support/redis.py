# SPDX-License-Identifier: Apache-2.0
"""A private redis-server on a Unix socket, ended with its parent.

    with Redis(tmp_path) as redis:
        redis.client().get("cs:{0}:pos")

From a shell, or as the launcher of a CTest: run a command beside a server whose socket is in $CS_TEST_REDIS
    PYTHONPATH=tests /usr/bin/python3 -m support.redis -- COMMAND ARG...
"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from support.proc import PATIENCE_S, Process, die_with_parent, free_port, wait_until

_SOCKET_PATH_MAX = 100  # sun_path has 108 bytes


class Redis:
    """One redis-server, by default without persistence; the data directory survives `kill` and `restart`.

    Keyword arguments are lines of redis.conf with `_` for `-`: Redis(d, appendonly="yes", appendfsync="everysec",
    maxmemory_policy="allkeys-lru"). `tcp=True` adds a loopback port.
    """

    def __init__(self, directory, tcp=False, **config):
        self.directory = Path(directory)
        self.port = free_port() if tcp else 0
        self.config = {"appendonly": "no", "save": "", "maxmemory-policy": "noeviction",
                       **{k.replace("_", "-"): v for k, v in config.items()}}
        self.process = None
        self._socket_dir = None
        self.socket = str(self.directory.resolve() / "redis.sock")
        if len(self.socket) > _SOCKET_PATH_MAX:
            self._socket_dir = tempfile.mkdtemp(prefix="cs-redis-")
            self.socket = self._socket_dir + "/redis.sock"

    def start(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        Path(self.socket).unlink(missing_ok=True)
        lines = {"port": self.port, "bind": "127.0.0.1", "unixsocket": self.socket, "unixsocketperm": "700",
                 "dir": self.directory.resolve(), "daemonize": "no", **self.config}
        conf = self.directory / "redis.conf"
        conf.write_text("".join(f"{k} {v if str(v) else chr(34) * 2}\n" for k, v in lines.items()))
        self.process = Process("redis", ["redis-server", conf.resolve()], self.directory)
        try:
            wait_until(self._answers, PATIENCE_S, "an answer of redis-server")
        except BaseException as e:
            self.process.kill()
            e.args = (f"{e}\n{self.process.tail()}",)
            raise
        return self

    def _answers(self):
        import redis
        if not self.process.alive:
            raise RuntimeError("redis-server ended at once")
        try:
            return self.client().ping()
        except (redis.ConnectionError, redis.BusyLoadingError):
            return False

    def client(self, **options):
        """A client of python3-redis over the socket; replies are bytes unless decode_responses=True."""
        import redis
        return redis.Redis(unix_socket_path=self.socket, **options)

    def get(self, key):
        return self.client(socket_timeout=5).get(key)

    def settings(self):
        """The section [redis] of a consumer that uses it."""
        return {"url": f"unix://{self.socket}"}

    def kill(self):
        """SIGKILL: what was not written to the append-only file is lost."""
        if self.process:
            self.process.kill()

    def restart(self):
        """Start again over the same directory, socket and port (after `kill`, or as kill and start in one)."""
        self.kill()
        return self.start()

    def pause(self):
        self.process.pause()

    def resume(self):
        self.process.resume()

    def stop(self):
        self.kill()
        if self._socket_dir:
            shutil.rmtree(self._socket_dir, ignore_errors=True)

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *_):
        self.stop()


def main(argv):
    if len(argv) < 2 or argv[0] != "--":
        print("usage: python3 -m support.redis -- COMMAND [ARGUMENT]...", file=sys.stderr)
        return 2
    die_with_parent(parent=os.getppid())
    with tempfile.TemporaryDirectory(prefix="cs-redis-") as directory, Redis(directory) as redis:
        return subprocess.run(argv[1:], env={**os.environ, "CS_TEST_REDIS": redis.socket}, check=False,
                              preexec_fn=die_with_parent).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
