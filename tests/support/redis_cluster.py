# SPDX-License-Identifier: Apache-2.0
"""A real Redis Cluster, and a real primary with replicas and sentinels, each on loopback and ended with its parent.

    with RedisCluster(tmp_path) as cluster:      # 3 masters, a replica each
        cluster.move_slot(slot, cluster.owner(slot), other)
    with RedisSentinels(tmp_path) as group:      # a primary, a replica, 3 sentinels
        group.primary().kill()
"""
import time
from pathlib import Path

from support import documents
from support.proc import PATIENCE_S, Process, free_port, wait_until
from support.redis import Redis

SLOTS = 16384
NODE_TIMEOUT_MS = 1000
RIGHTS = documents.redis_rights()
CLUSTER_RIGHTS, SENTINEL_RIGHTS = "+cluster|slots", "+role"
LOGIN = {"username": "consumer", "password": "a-password"}


class RedisCluster:
    """Masters and replicas of Redis Cluster. Masters hold a third of the slots each, as redis-cli --cluster create makes it."""

    def __init__(self, directory, masters=3, replicas=1, **config):
        self.directory, self.masters, self.replicas = Path(directory), masters, replicas
        self.nodes = [Redis(self.directory / f"node{i}", tcp=True, cluster_enabled="yes", cluster_port=free_port(),
                            cluster_node_timeout=NODE_TIMEOUT_MS, cluster_replica_validity_factor=0,
                            cluster_require_full_coverage="no", enable_debug_command="yes", repl_diskless_sync_delay=0,
                            user=_user(CLUSTER_RIGHTS), **config)
                      for i in range(masters * (1 + replicas))]

    def start(self):
        for node in self.nodes:
            node.start()
        first = self.nodes[0]
        for i, node in enumerate(self.nodes):
            _raw(node, "CLUSTER SET-CONFIG-EPOCH", i + 1)
            if node is not first:
                _raw(node, "CLUSTER MEET", "127.0.0.1", first.port, first.config["cluster-port"])
        for i in range(self.masters):
            low, high = SLOTS * i // self.masters, SLOTS * (i + 1) // self.masters - 1
            _raw(self.nodes[i], "CLUSTER ADDSLOTSRANGE", low, high)
        wait_until(lambda: all(len(self._known(n)) == len(self.nodes) for n in self.nodes), PATIENCE_S, "nodes that know each other")
        for i, node in enumerate(self.nodes[self.masters:]):
            wait_until(lambda n=node, m=i % self.masters: self._replicate(n, self.nodes[m]), PATIENCE_S, "a replica")
        self.wait_ok()
        return self

    def _known(self, node):
        return [line for line in _text(_raw(node, "CLUSTER NODES")).splitlines() if "handshake" not in line]

    def _replicate(self, node, master):
        import redis
        try:
            return _raw(node, "CLUSTER REPLICATE", self.id_of(master)) == b"OK"
        except redis.ResponseError:
            return False

    def wait_ok(self, timeout_s=PATIENCE_S):
        """Every slot has a master, all that live agree, and their replicas are connected."""
        wait_until(self._ok, timeout_s, "a whole cluster", interval_s=0.05)

    def _ok(self):
        import redis
        try:
            return self._whole()
        except redis.RedisError:  # one is loading yet
            return False

    def _whole(self):
        alive = [n for n in self.nodes if n.process.alive]
        maps = {str(sorted((s[0], s[1], s[2][1]) for s in _raw(n, "CLUSTER SLOTS"))) for n in alive}
        infos = [_raw(n, "CLUSTER INFO") for n in alive]
        links = [n.client().info("replication") for n in alive]
        return len(maps) == 1 and all(_field(i, "cluster_state") == "ok" and _field(i, "cluster_slots_ok") == str(SLOTS) for i in infos) \
            and all(i.get("master_link_status", "up") == "up" for i in links)

    def id_of(self, node):
        return _text(_raw(node, "CLUSTER MYID"))

    def owner(self, slot):
        """The node that is master of the slot now, as those that live see it."""
        import redis
        for asked in self.nodes:
            if not asked.process.alive:
                continue
            try:
                slots = _raw(asked, "CLUSTER SLOTS")
            except redis.RedisError:
                continue
            for low, high, master, *_ in slots:
                node = next(n for n in self.nodes if n.port == master[1])
                if low <= slot <= high and node.process.alive and _raw(node, "ROLE")[0] == b"master":
                    return node
        return None

    def get(self, key):
        """Of the master that has it now; an error where there is none, or the key is on its way."""
        return self.owner(_raw(next(n for n in self.nodes if n.process.alive), "CLUSTER KEYSLOT", key)).get(key)

    def live_masters(self):
        return [n for n in self.nodes if n.process.alive and _raw(n, "ROLE")[0] == b"master"]

    def begin_move(self, slot, source, target):
        _raw(target, "CLUSTER SETSLOT", slot, "IMPORTING", self.id_of(source))
        _raw(source, "CLUSTER SETSLOT", slot, "MIGRATING", self.id_of(target))

    def move_keys(self, slot, source, target, most=None, at_once=20, pause_s=0.0):
        """Moves up to `most` keys (all: None). True when none is left."""
        moved = 0
        while most is None or moved < most:
            keys = _raw(source, "CLUSTER GETKEYSINSLOT", slot, at_once)
            if not keys:
                return True
            _raw(source, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
            time.sleep(pause_s)
        return False

    def end_move(self, slot, target):
        mine = self.id_of(target)
        for node in [target] + [n for n in self.live_masters() if n is not target]:
            _raw(node, "CLUSTER SETSLOT", slot, "NODE", mine)

    def move_slot(self, slot, source, target, pause_s=0.0):
        """As redis-cli --cluster reshard does it."""
        self.begin_move(slot, source, target)
        self.move_keys(slot, source, target, pause_s=pause_s)
        self.end_move(slot, target)

    def settings(self):
        return {**LOGIN, "mode": "cluster", "url": ",".join(f"redis://127.0.0.1:{n.port}" for n in self.nodes[:self.masters])}

    def client(self, **options):
        """A client that knows the cluster."""
        from redis.cluster import ClusterNode
        from redis.cluster import RedisCluster as Client
        return Client(startup_nodes=[ClusterNode("127.0.0.1", n.port) for n in self.nodes if n.process.alive], **options)

    def stop(self):
        for node in self.nodes:
            node.stop()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()


class RedisSentinels:
    """A primary, a replica, and three sentinels that watch them under the name `certsync`."""

    NAME = "certsync"

    def __init__(self, directory, **config):
        self.directory = Path(directory)
        self.servers = [Redis(self.directory / f"server{i}", tcp=True, repl_diskless_sync_delay=0, user=_user(SENTINEL_RIGHTS),
                              **config) for i in range(2)]
        self.ports, self.sentinels = [free_port() for _ in range(3)], []

    def start(self):
        first, second = self.servers
        first.start()
        second.config["replicaof"] = f"127.0.0.1 {first.port}"
        second.start()
        wait_until(lambda: second.client().info("replication")["master_link_status"] == "up", PATIENCE_S, "a replica that follows")
        for i, port in enumerate(self.ports):
            self._start_sentinel(i, port, first.port)
        wait_until(self._agreed, PATIENCE_S, "sentinels that know each other and the replica")
        return self

    def _start_sentinel(self, i, port, primary_port):
        directory = self.directory / f"sentinel{i}"
        directory.mkdir(parents=True, exist_ok=True)
        conf = directory / "sentinel.conf"
        conf.write_text(f"port {port}\nbind 127.0.0.1\ndir {directory.resolve()}\n"
                        f"sentinel monitor {self.NAME} 127.0.0.1 {primary_port} 2\n"
                        f"sentinel down-after-milliseconds {self.NAME} 800\nsentinel failover-timeout {self.NAME} 1000\n")
        self.sentinels.append(Process("sentinel", ["redis-server", conf.resolve(), "--sentinel"], directory))

    def command(self, port, *command):
        import redis
        try:
            client = redis.Redis(port=port, decode_responses=True, socket_timeout=5)
            client.response_callbacks.clear()
            return client.execute_command(*command)
        except redis.RedisError:
            return None

    def _agreed(self):
        found = [self.command(p, "SENTINEL", "MASTER", self.NAME) for p in self.ports]
        found = [f and dict(zip(f[::2], f[1::2])) for f in found]
        return all(f and int(f["num-other-sentinels"]) == 2 and int(f["num-slaves"]) == 1 for f in found)

    def primary(self):
        """The server that the sentinels name, where it lives and says so itself."""
        for port in self.ports:
            at = self.command(port, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)
            for s in self.servers:
                if at and int(at[1]) == s.port and s.process.alive and s.client().execute_command("ROLE")[0] == b"master":
                    return s
        return None

    def get(self, key):
        return self.primary().get(key)

    def settings(self):
        return {**LOGIN, "mode": "sentinel", "sentinel_master": self.NAME,
                "url": ",".join(f"redis://127.0.0.1:{p}" for p in self.ports)}

    def client(self, **options):
        return wait_until(self.primary, PATIENCE_S, "a primary").client(**options)

    def stop(self):
        for s in self.sentinels:
            s.kill()
        for s in self.servers:
            s.stop()

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()


def _user(more):
    return f"{LOGIN['username']} on >{LOGIN['password']} {RIGHTS} {more}"


def _raw(node, *command):
    """The reply as it is, whatever this version of python3-redis makes of it."""
    client = node.client(socket_timeout=5)
    client.response_callbacks.clear()
    return client.execute_command(*command)


def _text(value):
    return value.decode() if isinstance(value, bytes) else value


def _field(info, name):
    return next((line.partition(":")[2] for line in _text(info).splitlines() if line.startswith(name + ":")), None)
