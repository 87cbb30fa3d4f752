# SPDX-License-Identifier: Apache-2.0
"""./dev chaos: seeded runs of events and faults on real servers, each checked against the independent model.

A run draws its shape (partitions, workers, batch size), its events and its faults from its seed; --seed N runs that one again (times are the
machine's, so a race may need a few tries: --runs). A run that fails keeps its topics (kcat -J form), Redis, logs and settings in a folder.
"""
import argparse
import base64
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
warnings.filterwarnings("ignore")

from chaos import faults, hosts, hpke  # noqa: E402
from chaos.workload import Pools, Workload  # noqa: E402
from chaos.world import DEADLINE_S, Run, Violation, World, forget_numbers  # noqa: E402
from model_py import audit, catalog, wire  # noqa: E402
from model_py.der import CannotExamine  # noqa: E402
from model_py.marks import Marks  # noqa: E402
from model_py.rules import Model  # noqa: E402
from support.stack import consumer_binary  # noqa: E402


HOSTS = {"cli": hosts.Commands, "agent": hosts.Daemon, "disk_full": None, "clock": None}


class Plan:
    """What a seed says about a run, beyond its shape."""

    def __init__(self, seed, events, world, only):
        r = random.Random(f"plan {seed}")
        self.random, self.events = r, events
        names = [n for n in faults.FAULTS if n not in world.missing and (not only or n in only)]
        weights = [faults.FAULTS[n][0] for n in names]
        count = r.choice([1, 1, 2, 2, 3]) if not only or "none" not in only else 0
        picked = r.choices(names, weights, k=count) if names else []
        self.faults = sorted((r.uniform(0.05, 0.95), n) for n in picked)
        self.aof = r.random() < 0.6
        self.consumers = r.choice([1, 2, 2, 3])
        self.again = r.random() < 0.2
        self.host = self._host(r, [n for n in HOSTS if n not in world.missing and (not only or n in only)], only)
        self.witnessed = any(n == "witness_away" for _, n in self.faults) or r.random() < 0.2
        self.burst = r.random() < 0.3   # all events first, then the consumer
        self.kill_at_end = r.random() < 0.5


    @staticmethod
    def _host(r, able, only):
        """(kind of host, its troubles), or nothing: in every third run, or always where it was asked for."""
        kinds = [n for n in able if n in ("cli", "agent")] or (["cli", "agent"] if only and able else [])
        wanted = r.random() < 0.35 or (only and set(able) & set(only))
        chance = 1 if only else 0.4
        troubles = [n for n in able if n in ("disk_full", "clock") and r.random() < chance]
        return (r.choice(kinds), troubles) if kinds and wanted else None


class Driver:
    """One run from its first record to the verdict on it."""

    def __init__(self, world, pools, number, seed, options, directory):
        self.options, self.world = options, world
        self.run = Run(world, number, seed, directory)
        self.plan = Plan(seed, options.events, world, options.fault)
        self.seed, self.pools, self.work = seed, pools, None
        self.active, self.happened = [], Counter()

    def go(self):
        run, plan = self.run, self.plan
        run.hosted, run.witnessed = plan.host is not None, plan.witnessed
        run.start(plan.aof)
        self.work = Workload(f"work {self.seed}", self.pools, run)  # which signs for the log that was begun
        if not plan.burst:
            self._consumers()
        for send in self.work.prelude():
            run.produce(send.value, send.partition, send.headers, send.key)
        host = self._host()
        pending = list(plan.faults)
        for i, send in enumerate(self.work.steps(plan.events)):
            run.produce(send.value, send.partition, send.headers, send.key)
            if plan.burst and i == plan.events // 2:
                self._consumers()
            while pending and i >= pending[0][0] * plan.events:
                self._begin(pending.pop(0)[1])
            if i % 20 == 0:
                self._tick()
                if host:
                    host.tick()
        for _, name in pending:
            self._begin(name)
        self._heal(host)
        self._settle()
        return self.judge(host)

    def _host(self):
        if not self.plan.host:
            return None
        kind, troubles = self.plan.host
        self.happened.update([kind, *(f"{kind}_{t}" for t in troubles)])
        return HOSTS[kind](self.run, self.plan.random, troubles)

    def _consumers(self):
        for _ in range(self.plan.consumers):
            self.run.run_consumer()

    def _begin(self, name):
        self.happened[name] += 1
        self.active.append([0.0, faults.FAULTS[name][1](self.run, self.plan.random), name])

    def _tick(self):
        self.run.read(0)
        self.run.expect_alive()
        now = time.monotonic()
        for entry in list(self.active):
            if now >= entry[0]:
                try:
                    entry[0] = now + next(entry[1])
                except StopIteration:
                    self.active.remove(entry)

    def _heal(self, host):
        """The faults run out, every record is delivered, somebody consumes."""
        run = self.run
        while self.active:
            self._tick()
            run.producer.poll(0.02)
        self.world.heal()
        until, least = time.monotonic() + DEADLINE_S, len(run.producer)
        while left := run.producer.flush(1):
            if left < least:
                least, until = left, time.monotonic() + DEADLINE_S
            if time.monotonic() > until:
                raise Violation("records could not be delivered")
        if run.undelivered:
            raise Violation(f"not delivered: {run.undelivered[:3]}")
        if host:
            host.finish()

    def _settle(self):
        """All records have outcomes and stand in Redis; then the consumers end, and it is still so."""
        run = self.run
        for _ in range(4):
            self._wait_settled()
            for c in run.consumers:
                if self.plan.kill_at_end:
                    c.kill()
                else:
                    run.end_consumer(c)
            for c in run.consumers:
                if not self.plan.kill_at_end:
                    try:
                        c.wait(DEADLINE_S)
                    except AssertionError as e:
                        raise Violation(f"no end on SIGTERM: {e}") from None
            run.expect_alive()
            run.read_to_end()
            if run.settled():
                return
        raise Violation("never at rest")

    def _wait_settled(self):
        """As long as it takes on a busy machine; not where nothing moves on."""
        run, until, last = self.run, time.monotonic() + DEADLINE_S, None
        while not run.settled():
            run.expect_alive()
            if not run.alive():
                run.run_consumer()
            now = (run.decided(), {p: run.position(p).get("next_offset") for p in range(run.partitions)})
            if now != last:
                last, until = now, time.monotonic() + DEADLINE_S
            if time.monotonic() > until:
                raise Violation(f"nothing moved for {DEADLINE_S} s: ends {run.ends(run.events_topic)}, decided {last[0]}, "
                                f"positions {last[1]}\n" + "\n".join(c.tail(4) for c in run.alive()))

    # --- the checks

    def judge(self, host):
        run = self.run
        events, outcomes = run.log(run.events_topic), run.log(run.outcomes_topic)
        found, model, verdicts = examine(run.log_id, run.root.spki, run.service.spki, run.partitions, events, outcomes,
                                         Marks(run.service.key, run.log_id), run.begins)
        found += audit.check_acknowledged(run.acknowledged, events)
        firsts = {p: audit.first_outcomes(outcomes, p, run.begins.get(p, ()))[0] for p in range(run.partitions)}
        if any(len(firsts[p]) < model.partitions[p].next_offset for p in firsts):
            return found
        if run.damages:
            found += self._mend()
        docs, indexes, positions = catalog.read(run.redis.client(), run.namespace, run.partitions)
        found += catalog.check(model, firsts, docs, indexes)
        by_partition = {p: [e for e in events if e.partition == p] for p in firsts}
        found += catalog.check_positions(model, firsts, by_partition, positions)
        found += catalog.check_keys(model, docs, unseal=hpke.Unsealer(run.custodian, run.log_id))
        self.happened.update(f"{o.name.rstrip('0123456789')}_done" for o in run.operators if o.popen.poll() == 0)
        if run.witness:
            found += self._witnessed(outcomes)
        self.happened["planted_records"] += sum(run.foreign.values())
        if host:
            found += host.check(verdicts)
            self.happened.update({f"{self.plan.host[0]}_killed": host.killed, f"{self.plan.host[0]}_no_space": host.no_space})
        if self.plan.again and not found:
            self.happened["again_from_0"] += 1
            found += self._again(docs, indexes, positions)
        return found

    def _witnessed(self, outcomes):
        """What the witness remembers is a part of what was published, and nothing else."""
        found = []
        for origin, at in self.run.witness.known().items():
            p, _, epoch = origin.split("/partitions/")[1].partition("/epochs/")
            p, known = int(p), self.run.begins.get(int(p), [])[:int(epoch or 0)]
            firsts = audit.first_outcomes([o for o in outcomes if audit.epoch_in(o) <= len(known)], p, known)[0]
            leaves = [o.value for o in firsts[:at["size"]]]
            if len(leaves) < at["size"] or base64.b64encode(catalog.merkle_root(leaves)).decode() != at["root"]:
                found.append(f"the witness cosigned {at['size']} outcomes of partition {p} that are not the {len(firsts)} of the log")
            self.happened["cosigned"] += 1
        return found

    def _mend(self):
        """Damage that nobody read is there still. It rests in peace until then, but `verify --redis` sees it, and a rebuild mends it."""
        def operator(*command):
            done = subprocess.run([consumer_binary(), *command, "--config", self.run.config(command[0])], capture_output=True, text=True,
                                  timeout=DEADLINE_S, check=False)
            return done.returncode, done.stdout + done.stderr
        code, said = operator("verify", "--redis")
        if code == 0:
            return []
        if code != 1 or "is damaged" not in said:
            return [f"verify --redis after {self.run.damages}: exit {code}: {said[-500:]}"]
        self.happened["damage_unread"] += 1
        told = [(command, *operator(*command)) for command in (("rebuild",), ("promote",), ("verify", "--redis"))]
        return [f"{' '.join(command)} after {self.run.damages}: exit {code}: {said[-500:]}" for command, code, said in told if code != 0]

    def _again(self, docs, indexes, positions):
        """A new namespace from offset 0, by the consumer itself: the same bytes."""
        run, old = self.run, self.run.namespace
        run.namespace, run.group = "again", run.group + "-again"
        before = {t: run.ends(t) for t in (run.events_topic, run.outcomes_topic)}
        run.run_consumer()
        self._wait_settled()
        for c in run.consumers:
            c.kill()
        found = []
        if before != {t: run.ends(t) for t in before}:
            found.append("a rebuild wrote to the topics")
        again = catalog.read(run.redis.client(), run.namespace, run.partitions)
        for name, mine, theirs in zip(("document", "index", "position"), (docs, indexes, positions), again):
            found += [f"rebuild: {name} {k} is {audit.brief(str(theirs.get(k)))}, not {audit.brief(str(mine.get(k)))}"
                      for k in sorted({**mine, **theirs}) if mine.get(k) != theirs.get(k)]
        run.namespace = old
        return found

    def explain(self):
        """What the logs alone say of a run that did not come to its checks."""
        run = self.run
        try:
            run.read_to_end(5)
            return examine(run.log_id, run.root.spki, run.service.spki, run.partitions, run.log(run.events_topic),
                           run.log(run.outcomes_topic), Marks(run.service.key, run.log_id), run.begins)[0][:10]
        except Exception:  # the run's own violation is what counts  # pylint: disable=broad-except
            return []

    def dump(self, found):
        """Everything that somebody needs to see what went wrong."""
        run, directory = self.run, self.run.directory
        for c in run.consumers:
            if c.alive and shutil.which("gdb"):  # where does it hang?
                with open(directory / f"{c.name}.stacks", "wb") as out:
                    subprocess.run(["gdb", "-p", str(c.pid), "-batch", "-ex", "thread apply all bt 14"], stdout=out,
                                   stderr=subprocess.DEVNULL, timeout=120, check=False)
            c.kill()
        (directory / "violations.txt").write_text("\n".join(found) + "\n")
        facts = {"seed": run.seed, "log": run.log_id, "root": base64.b64encode(run.root.spki).decode(),
                 "service": base64.b64encode(run.service.spki).decode(), "partitions": run.partitions, "begins": run.begins, "workers": run.workers,
                 "batch": run.batch, "faults": self.plan.faults, "custodian": base64.b64encode(hpke.raw(run.custodian)).decode()}
        (directory / "run.json").write_text(json.dumps(facts, indent=1))
        for r in run.redises:
            r.resume()
        for topic in (run.events_topic, run.outcomes_topic):
            try:
                run.read_to_end(5)
            except Exception:  # what there is, is kept  # pylint: disable=broad-except
                pass
            write_records(directory / f"{topic.split('-')[0]}.raw", run.log(topic))
            subprocess.run(["kcat", "-b", self.world.kafka.bootstrap, "-C", "-J", "-q", "-e", "-o", "beginning", "-t", topic],
                           stdout=open(directory / f"{topic.split('-')[0]}.json", "wb"), stderr=subprocess.DEVNULL, timeout=120,
                           check=False)
        try:
            docs, indexes, positions = catalog.read(run.redis.client(), run.namespace, run.partitions)
            (directory / "redis.json").write_text(json.dumps(
                {"docs": {f"{p}:{k}": v.decode() for (p, k), v in docs.items()},
                 "indexes": {f"{p}:{k}": v for (p, k), v in indexes.items()}, "positions": positions}, indent=1))
        except Exception as e:  # Redis may be what is broken  # pylint: disable=broad-except
            (directory / "redis.json").write_text(json.dumps({"error": str(e)}))


def examine(log_id, root, service, partitions, events, outcomes, service_marks=None, begins=None):
    """(violations, model, verdicts) of a log with its outcomes. begins: where root's corrections begin the epochs of each partition."""
    model = Model(log_id, root, partitions, begins)
    verdicts = [model.judge(r) for r in events]
    found = audit.check_outcomes(verdicts, outcomes, partitions, log_id, service_marks, begins)
    found += audit.check_set_aside(model, events, outcomes, service_marks)
    found += audit.check_log(model, verdicts, events, service)
    return found + audit.check_shares(model), model, verdicts


def write_records(path, records):
    def text(data):
        return None if data is None else base64.b64encode(data).decode()
    with open(path, "w", encoding="ascii") as out:
        for r in records:
            out.write(json.dumps([r.partition, r.offset, r.timestamp_ms, text(r.key), text(r.value),
                                  [[n, text(v)] for n, v in r.headers]]) + "\n")


def read_records(path):
    def data(text):
        return None if text is None else base64.b64decode(text)
    with open(path, encoding="ascii") as lines:
        return [wire.Record(p, o, t, data(k), data(v), [(n, data(h)) for n, h in headers])
                for p, o, t, k, v, headers in map(json.loads, lines)]


def check_again(directory):
    """The model's opinion on a run that was kept."""
    d = Path(directory)
    facts = json.loads((d / "run.json").read_text())
    found, model, _ = examine(facts["log"], base64.b64decode(facts["root"]), base64.b64decode(facts["service"]),
                              facts["partitions"], read_records(d / "ev.raw"), outcomes := read_records(d / "out.raw"),
                              begins=(begins := {int(p): b for p, b in facts.get("begins", {}).items()}))
    held = json.loads((d / "redis.json").read_text())
    if "docs" in held:
        def key(text):
            p, _, k = text.partition(":")
            return int(p), k
        firsts = {p: audit.first_outcomes(outcomes, p, begins.get(p, ()))[0] for p in range(facts["partitions"])}
        found += catalog.check(model, firsts, {key(k): v.encode() for k, v in held["docs"].items()},
                               {key(k): v for k, v in held["indexes"].items()})
    print("\n".join(found) or "no violation")
    return 1 if found else 0


# --- the command

class Progress:
    def __init__(self, options):
        self.on, self.began = sys.stderr.isatty() or options.verbose, time.monotonic()

    def line(self, done, total, events, bad, last):
        spent = time.monotonic() - self.began
        left = f", {(total - done) * spent / done / 60:.0f} min left" if total and done else ""
        text = f"{done}{f'/{total}' if total else ''} runs, {events} events, {bad} with violations, {spent:.0f} s{left}: {last}"
        if self.on:
            print(f"\r{text[:150]:<150}", end="" if sys.stderr.isatty() else "\n", file=sys.stderr, flush=True)

    def say(self, text):
        print(f"{chr(13) if self.on and sys.stderr.isatty() else ''}{text}", file=sys.stderr, flush=True)


def seed_of(text):
    return int(time.strftime("%Y%m%d", time.gmtime())) * 10000 if text == "today" else int(text)


def options_of(argv):
    p = argparse.ArgumentParser(prog="./dev chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--seed", type=seed_of, help="the first run's seed (default: random); run i has seed N+i; "
                   "today: the same all day long, and others tomorrow")
    p.add_argument("--runs", type=int, help="how many runs (default: 10, or 1 with --seed)")
    p.add_argument("--minutes", type=float, help="begin no run after so many minutes")
    p.add_argument("--json", action="store_true", help="end with one JSON object on standard output")
    p.add_argument("--events", type=int, default=1000, help="events of a run (1000)")
    p.add_argument("--fault", action="append", choices=[*faults.FAULTS, *(h for h in HOSTS if h not in faults.FAULTS), "none"],
                   help="only this fault (may be repeated; cli, agent: the real command, the daemon, killed at every step; "
                   "disk_full: under their spool; none: no fault)")
    p.add_argument("--nodes", type=int, default=3, choices=[1, 3], help="Kafka nodes (3)")
    p.add_argument("--keep", default="build/chaos-failures", help="where failing runs are kept")
    p.add_argument("--check", metavar="DIR", help="only hold a kept run against the model again")
    p.add_argument("--verbose", action="store_true", help="one line for each run")
    return p.parse_args(argv)


class Report:
    def __init__(self):
        self.runs = self.events = self.records = self.unexamined = 0
        self.faults, self.actions, self.violations, self.seeds = Counter(), Counter(), [], []
        self.points = Counter()  # at which named points processes killed themselves

    def add(self, driver, seed, found):
        self.runs += 1
        self.seeds.append(seed)
        self.records += len(driver.run.records[driver.run.events_topic])
        counts = driver.work.counts if driver.work else {}  # the run may not have begun
        self.events += sum(counts.values())
        self.faults.update(driver.happened)
        for log in driver.run.directory.glob("**/*.log"):
            self.points.update(re.findall(r"^killed at (\S+)$", log.read_text(errors="replace"), re.MULTILINE))
        self.actions.update(counts)
        self.violations += [{"seed": seed, "what": f} for f in found[:20]]

    def json(self, spent):
        return json.dumps({"runs": self.runs, "events": self.events, "records": self.records, "seconds": round(spent, 1),
                           "faults": dict(self.faults), "killed_at": dict(self.points), "actions": dict(self.actions), "unexamined": self.unexamined,
                           "violations": self.violations, "seeds": self.seeds})


RUN_LIMIT_S = 600


def out_of_time(_signal, frame):
    raise Violation(f"the run took longer than {RUN_LIMIT_S} s; it was at\n" + "".join(traceback.format_stack(frame)[-6:]))


def one_run(world, pools, number, seed, options, base, report, progress):
    driver = None
    signal.signal(signal.SIGALRM, out_of_time)
    signal.alarm(RUN_LIMIT_S)
    try:
        driver = Driver(world, pools, number, seed, options, base / f"r{number}")
        found = driver.go()
    except Violation as e:
        found = [str(e), *(f for f in driver.explain() if "no outcome" not in f and "never appeared" not in f)]
    except CannotExamine as e:
        report.unexamined += 1
        found = [f"not examined: {e}"]
    except Exception:  # a fault of the harness or of a server: reported, never passed over  # pylint: disable=broad-except
        found = ["the harness failed:\n" + traceback.format_exc()]
    signal.alarm(0)
    if driver is None:
        raise RuntimeError(found[0])
    report.add(driver, seed, found)
    if found:
        driver.dump(found)
        kept = Path(options.keep).resolve() / f"seed-{seed}-{int(time.time())}"
        kept.parent.mkdir(parents=True, exist_ok=True)
        driver.run.stop()
        subprocess.run(["cp", "-r", "--no-dereference", str(driver.run.directory), str(kept)], check=False, stderr=subprocess.DEVNULL)
        progress.say(f"seed {seed}: {len(found)} violations, kept in {kept}\n  " + "\n  ".join(f[:600] for f in found[:8]))
        world.heal()
    else:
        driver.run.stop()
    driver.run.remove()
    forget_numbers()
    shape = f"seed {seed}, {driver.run.partitions} partitions, {dict(driver.happened)}"
    progress.line(report.runs, options.runs, report.events, len({v['seed'] for v in report.violations}), shape)


def main(argv):
    options = options_of(argv)
    if options.check:
        return check_again(options.check)
    if not Path(consumer_binary()).exists():
        print(f"chaos: there is no {consumer_binary()}; build first", file=sys.stderr)
        return 2
    if options.runs is None:
        options.runs = 1 if options.seed is not None else (0 if options.minutes else 10)
    first = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 1 << 31)
    report, progress, began = Report(), Progress(options), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="cs-chaos-", ignore_cleanup_errors=True) as base:
        world = World(Path(base), options.nodes)
        for fault, why in world.missing.items():
            progress.say(f"{fault} is left out: {why}")
        progress.say(f"seeds from {first}")
        try:
            world.start()
            pools = Pools()
            number = 0
            while (not options.runs or number < options.runs) and (
                    not options.minutes or number == 0 or time.monotonic() - began < options.minutes * 60):
                one_run(world, pools, number, first + number, options, Path(base), report, progress)
                number += 1
        except KeyboardInterrupt:
            progress.say("interrupted")
        finally:
            world.stop()
    spent = time.monotonic() - began
    bad = sorted({v["seed"] for v in report.violations})
    progress.say(f"{report.runs} runs, {report.events} events ({report.records} records with what they caused) in {spent:.0f} s; "
                 + (f"violations in seeds {bad}" if bad else "no violation"))
    if options.json:
        print(report.json(spent))
    return 1 if bad or not report.runs else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
