# SPDX-License-Identifier: Apache-2.0
"""Both daemons as services: what they tell systemd, what a hung thread does to that, and reloads that are all or nothing."""
import signal
import socket

import pytest

from support import events as ev
from support.hang import Hang
from support.host import Host
from support.proc import PATIENCE_S, Process, free_port, wait_until
from support.stack import certsync_binary, consumer_binary

WATCHDOG_MS = 1000


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, directory):
        self.path = str(directory / "notify.sock")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)
        self.said = []

    @property
    def env(self):
        return {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(WATCHDOG_MS * 1000)}

    def hear(self):
        """All lines so far, in order."""
        while True:
            try:
                self.said += self.socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                return self.said

    def count(self, line):
        return sum(1 for s in self.hear() if s.startswith(line))

    def wait(self, line, more_than=0):
        wait_until(lambda: self.count(line) > more_than, PATIENCE_S, f"{line} ({self.said[-5:]})")

    def wait_said(self, text, process):
        """In its log. Who does not listen meanwhile would hold it up: few pings have room in the socket."""
        wait_until(lambda: self.hear() is not None and text in process.output(), PATIENCE_S, f"{text!r} in its log")

    def wait_silence(self):
        """No ping for three times the watchdog's time, in which six were due."""
        def silent():
            before = self.count("WATCHDOG=1")
            try:
                wait_until(lambda: self.count("WATCHDOG=1") > before, 3 * WATCHDOG_MS / 1000)
            except AssertionError:
                return True
            return False
        wait_until(silent, PATIENCE_S, "an end of the pings")

    def close(self):
        self.socket.close()


@pytest.fixture
def manager(tmp_path):
    m = Manager(tmp_path)
    yield m
    m.close()


@pytest.fixture
def consumer(stack, manager):
    """A second consumer of the stack's deployment, in a group of its own group name: it has all partitions."""
    port = free_port()
    config = stack.write_config("service", port, kafka={"group": "service"}, redis={"timeout": "100ms", "namespace": "service"})
    process = stack.run_consumer("service", config, wait=False, env=manager.env)
    process.port, process.config = port, config
    manager.wait("READY=1")
    yield process
    process.kill()


def test_the_consumer_tells_systemd(stack, manager, consumer):
    assert stack.http("/readyz", port=consumer.port)[0] == 200  # READY=1 says the same
    starting = [s for s in manager.hear() if s.startswith("EXTEND_TIMEOUT_USEC=")]
    assert starting and manager.said.index(starting[0]) < manager.said.index("READY=1")
    manager.wait("WATCHDOG=1", more_than=2)
    manager.wait("STATUS=Judging: 4 partitions")
    consumer.signal(signal.SIGTERM)
    manager.wait("STOPPING=1")
    assert consumer.wait() == 0


def test_a_hung_worker_stops_the_pings(stack, manager, consumer):
    manager.wait("WATCHDOG=1", more_than=2)
    assert stack.http("/healthz", port=consumer.port)[0] == 200
    with Hang(consumer.pid, "worker-0"):
        manager.wait_said("a worker hangs", consumer)
        manager.wait_silence()
        status, body = stack.http("/healthz", port=consumer.port)  # the loop still turns
        assert status == 503 and "hangs" in body["detail"]
    manager.wait("WATCHDOG=1", more_than=manager.count("WATCHDOG=1"))


def test_a_consumers_reload_is_all_or_nothing(stack, manager, consumer):
    good = consumer.config.read_text()
    consumer.config.write_text(good.replace("level = info", "level = debug").replace("timeout = 100ms", "timeout = soon"))
    consumer.signal(signal.SIGHUP)
    manager.wait("STATUS=The settings were not read again:")
    assert "redis.timeout" in next(s for s in manager.said if s.startswith("STATUS=The settings were"))
    assert manager.count("RELOADING=1") == 1 and manager.count("READY=1") == 2
    assert "everything stays as it was" in consumer.output() and " debug " not in consumer.output()
    consumer.config.write_text(good.replace("level = info", "level = debug"))
    consumer.signal(signal.SIGHUP)
    wait_until(lambda: "settings read again" in consumer.output(), PATIENCE_S, "a reload")
    assert stack.http("/readyz", port=consumer.port)[0] == 200


def test_a_refused_certificate_of_the_api_refuses_the_whole_reload(stack, manager, tmp_path):
    ca, port = ev.Authority(), free_port()
    key = ev.new_key()
    ev.write_private(key, tmp_path / "api.key")
    (tmp_path / "api.pem").write_bytes(ev.pem_of(ca.issue(key.public_key(), names=("localhost",)), ca.der))
    config = stack.write_config("tls", port, kafka={"group": "tls"}, redis={"namespace": "tls"},
                                api={"listen": f"127.0.0.1:{port}", "tls_certificate": tmp_path / "api.pem", "tls_key": tmp_path / "api.key"})
    process = stack.run_consumer("tls", config, wait=False, env=manager.env)
    manager.wait("READY=1")
    ev.write_private(ev.new_key(), tmp_path / "api.key")  # of no certificate
    config.write_text(config.read_text().replace("level = info", "level = error"))
    process.signal(signal.SIGHUP)
    manager.wait("STATUS=The settings were not read again:")
    before = process.output().count("settings read again")
    ev.write_private(key, tmp_path / "api.key")
    config.write_text(config.read_text().replace("level = error", "level = info"))
    process.signal(signal.SIGHUP)  # had the level been taken, nothing would be told here
    wait_until(lambda: process.output().count("settings read again") > before, PATIENCE_S, "a reload")
    process.kill()


def test_what_is_away_is_no_fault_of_the_settings(stack, tmp_path):
    """Exit code 1: systemd starts it again; 2: it does not."""
    config = stack.write_config("away", free_port(), redis={"url": f"unix://{tmp_path}/nobody"},
                                consumer={"preflight_timeout": "100ms"})
    assert Process("away", [consumer_binary(), "run", "--config", config], tmp_path).wait() == 1
    config.write_text(config.read_text() + "[nothing]\nof = this\n")
    assert Process("wrong", [consumer_binary(), "run", "--config", config], tmp_path).wait() == 2


@pytest.fixture
def agent(stack, manager, tmp_path):
    host = Host(stack, stack.account(), tmp_path / "host")
    host.configure(**{"agent.heartbeat": "0", "api.timeout": "100ms"})
    process = Process("agent", [certsync_binary(), "--config", host.config, "agent"], tmp_path, env=manager.env)
    process.host = host
    manager.wait("READY=1")
    yield process
    process.kill()


def test_the_agent_tells_systemd(manager, agent):
    manager.wait("WATCHDOG=1", more_than=2)
    agent.signal(signal.SIGTERM)
    manager.wait("STOPPING=1")
    assert agent.wait() == 0


def test_a_hung_thread_stops_the_agents_pings(manager, agent):
    manager.wait("WATCHDOG=1", more_than=2)
    with Hang(agent.pid, "sender"):
        manager.wait_said("thread=sender", agent)
        manager.wait_silence()
    manager.wait("WATCHDOG=1", more_than=manager.count("WATCHDOG=1"))


def test_an_agents_reload_is_all_or_nothing(manager, agent):
    host, good = agent.host, agent.host.config.read_text()
    (host.dir / "tls").mkdir()
    for wrong, why in (("[watch a]\npairs = tls\nlinks = perhaps\n", "links"), ("[watch a]\ntags = x\n", "watch a"),
                       ("[watch a]\npairs = /tls\nowners = nobody-of-this-name\n", "nobody-of-this-name"),
                       ("[agent]\nspool = /elsewhere\n", "agent.spool")):
        before = manager.count("STATUS=The settings were not read again:")
        host.config.write_text(good.replace(f"[agent]\nspool = {host.dir}/spool\n", "") + wrong if "spool" in wrong else good + wrong)
        agent.signal(signal.SIGHUP)
        manager.wait("STATUS=The settings were not read again:", more_than=before)
        assert why in [s for s in manager.said if s.startswith("STATUS=The settings")][-1], wrong
        assert agent.alive
    assert "settings read again" not in agent.output()
    host.config.write_text(good + f"[watch a]\npairs = {host.dir}/tls\n")
    agent.signal(signal.SIGHUP)
    wait_until(lambda: "settings read again" in agent.output(), PATIENCE_S, "a reload")
    assert manager.count("RELOADING=1") == 5 and manager.count("READY=1") == 6
