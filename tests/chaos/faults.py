# SPDX-License-Identifier: Apache-2.0
"""What is done to the servers while events flow. Each fault is a generator: it acts, and yields how many seconds it waits."""
import time

import redis

from support.redis import Redis
from support.witness import LIES

CRASH_POINTS = ("after_load", "between_derived_and_outcomes", "after_publish", "after_exec")


def admin(run, do):
    """Asks the Redis of the moment; another fault may have killed or stopped it: then it is left alone. (Nobody else
    would let it go on while this waits for its answer.)"""
    if run.redis.process.paused:
        return None
    try:
        return do(run.redis.client())
    except redis.RedisError:
        return None


def kill_consumer(run, r):
    """SIGKILL at a random moment; another comes up, at once or later."""
    for c in run.alive()[:1 if r.random() < 0.7 else 9]:
        c.kill()
    yield r.choice([0, 0, r.uniform(0, 1)])
    run.run_consumer()


def crash_point(run, r):
    """SIGKILL at a named point, a few batches in; twice, then a whole one."""
    for c in run.alive():
        c.kill()
    for _ in range(r.choice([1, 1, 2, 3])):
        doomed = run.run_consumer(crash_at=f"{r.choice(CRASH_POINTS)}:{r.choice([1, 1, 2, 3, 5])}")
        for _ in range(60):
            if not doomed.alive:
                break
            yield 0.1
        doomed.kill()
    run.run_consumer()


def zombie(run, r):
    """SIGSTOP beyond the session's end, so that another takes its partitions; then it goes on where it was."""
    if run.alive():
        c = r.choice(run.alive())
        c.pause()
        c.stopped = True
        run.run_consumer()
        yield r.uniform(1.8, 3.5)
        c.resume()
        c.stopped = False
    yield 0


def two_groups(run, r):
    """A second owner of every partition at once (another group, as a misconfigured deployment would have it)."""
    second = run.run_consumer(kafka={"group": run.group + "-second"})
    yield r.uniform(0.5, 2.5)
    if r.random() < 0.5:
        end(run, second, r)


def join(run, r):
    run.run_consumer()
    yield r.uniform(0.2, 1.5)


def leave(run, r):
    """SIGTERM: an orderly end of one, or of all."""
    for c in run.alive()[:r.choice([1, 1, 9])]:
        run.end_consumer(c)
    yield r.uniform(0, 0.8)
    run.run_consumer()


def end(run, consumer, r):
    consumer.kill() if r.random() < 0.5 else run.end_consumer(consumer)


def clock(run, r):
    """The consumers' machine is ten years off from now on; who ran with the right time ends, at once or later."""
    run.clock = r.choice([10, -10])
    before = run.alive()
    run.run_consumer()
    yield r.choice([0, r.uniform(0, 1.5)])
    for c in before:
        end(run, c, r)


def rebuild(run, r):
    """An operator makes the catalogs again beside the live ones and promotes them; who does it may be killed, and does it again."""
    for command in ("rebuild", "promote"):
        killed = r.random() < 0.4
        for patience in ([r.uniform(0.05, 1.0)] if killed else []) + [30]:
            process, until = run.operate(command), time.monotonic() + patience
            while process.alive and time.monotonic() < until:
                yield 0.05
            process.kill()


def correction(run, r):
    """Root has outcomes judged anew that were right: the same is decided once more, in an epoch of its own."""
    for _ in range(r.choice([1, 1, 2])):
        partition = r.randrange(run.partitions)
        decided = run.decided()[partition]
        if decided > 0:
            run.correct(partition, r.randint(1, decided))
        yield r.uniform(0, 1.5)


def kill_node(run, r):
    """SIGKILL of a Kafka node, mostly the leader of a partition; it comes back."""
    kafka = run.world.kafka
    if len(kafka.nodes) > 1 and not run.world.in_sync(run.events_topic, run.outcomes_topic):
        return
    leader = kafka.leader(run.events_topic, r.randrange(run.partitions))
    number = leader if leader > 0 and r.random() < 0.7 else r.randrange(1, len(kafka.nodes) + 1)
    kafka.kill(number)
    yield r.uniform(0.2, 2.5)
    kafka._launch(kafka.node(number))  # pylint: disable=protected-access
    yield 0


def pause_node(run, r):
    """A Kafka node that hangs for a moment."""
    number = r.randrange(1, len(run.world.kafka.nodes) + 1)
    run.world.kafka.pause(number)
    yield r.uniform(0.3, 2.0)
    run.world.kafka.resume(number)


def redis_kill(run, r):
    """SIGKILL: with everysec the last second of acknowledged writes is gone, without an append-only file all."""
    killed = run.redis
    killed.kill()
    yield r.choice([0, r.uniform(0, 1.5)])
    if killed is run.redis:
        killed.restart()


def flushall(run, r):
    for _ in range(r.choice([1, 1, 2, 3])):
        admin(run, lambda c: c.flushall())
        yield r.uniform(0, 0.5)


def flush_partition(run, r):
    """Part of the keys is lost: an operator's mistake, or a node of a cluster. Position first, so that it is rebuilt."""
    p = r.randrange(run.partitions)
    admin(run, lambda c: c.delete(f"{run.namespace}:{{{p}}}:pos"))
    yield 0


def promote(run, r):
    """A replica takes over that lags by what was written since it lost its primary; sometimes the old one lives on a while."""
    old = run.redis
    if not old.process.alive:
        return
    replica = Redis(run.directory / f"replica{len(run.redises)}", tcp=True, enable_debug_command="yes",
                    replicaof=f"127.0.0.1 {old.port}").start()
    run.redises.append(replica)
    for _ in range(100):
        if replica.client().info("replication").get("master_link_status") == "up":
            break
        yield 0.05
    yield r.uniform(0.1, 0.6)
    replica.client().replicaof("no", "one")  # from here on it lags
    yield r.uniform(0, 1.0)
    if old is not run.redis:
        return
    run.point_at(replica)
    run.redis = replica
    admin(run, lambda c: c.config_set("maxmemory", 0))
    if r.random() < 0.5:
        yield r.uniform(0, 0.3)
    old.kill()


def redis_full(run, r):
    more, full = r.choice([-100000, 20000]), run.redis
    admin(run, lambda c: c.config_set("maxmemory", max(1000000, c.info("memory")["used_memory"] + more)))
    yield r.uniform(0.5, 2.0)
    if full is run.redis:
        admin(run, lambda c: c.config_set("maxmemory", 0))


def redis_slow(run, r):
    """Answers late: below and beyond the consumer's patience (1 s)."""
    seconds, slow = r.choice([0.2, 0.6, 1.5, 2.5]), run.redis
    if r.random() < 0.5:
        admin(run, lambda c: c.client_pause(int(seconds * 1000), all=r.random() < 0.7))
    else:
        slow.pause()
        yield seconds
        slow.resume()
    yield 0


def damage(run, r):
    """Somebody else deletes, alters, swaps, plants or puts back something of the catalogs."""
    from support import tamper
    old = None
    for _ in range(r.choice([1, 1, 2])):
        p = r.randrange(run.partitions)
        old = admin(run, lambda c, p=p: tamper.Old(c, run.namespace, p))
        yield r.uniform(0.1, 1.5)
        what = admin(run, lambda c, p=p, old=old: tamper.tamper(c, run.namespace, p, r, old))
        if what:
            run.damages.append(what)


def planted(run, r):
    """Somebody else writes to cert.outcomes: what nobody could read, what looks like the next outcome, like a later one, and old ones altered."""
    for _ in range(r.choice([3, 10, 30])):
        run.plant(r.randrange(run.partitions), r)
        yield r.uniform(0, 0.3)


def witness_away(run, r):
    """The witness is away, or says what no witness says; nothing waits for it."""
    if not run.witness:
        return
    if r.random() < 0.3:
        run.witness.stop()
        yield r.uniform(0.2, 3)
        run.witness.start()
    else:
        run.witness.lie = r.choice(LIES)
        yield r.uniform(0.5, 3)
        run.witness.lie = None


# name -> (weight, function). Those of Kafka take longest.
FAULTS = {"kill_consumer": (8, kill_consumer), "crash_point": (14, crash_point), "zombie": (4, zombie), "two_groups": (5, two_groups), "clock": (3, clock), "rebuild": (4, rebuild),
          "join": (4, join), "leave": (4, leave), "kill_node": (1.5, kill_node), "pause_node": (1, pause_node),
          "redis_kill": (5, redis_kill), "flushall": (5, flushall), "promote": (4, promote), "redis_full": (4, redis_full),
          "redis_slow": (4, redis_slow), "damage": (8, damage), "correction": (4, correction),
          "planted": (5, planted), "witness_away": (3, witness_away)}
