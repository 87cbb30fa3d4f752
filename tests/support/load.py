# SPDX-License-Identifier: Apache-2.0
"""Events and reads while something happens to the servers, and what must hold afterwards.

    with Load(stack, accounts=8) as load:
        ...                                  # kill, move, promote
        load.wait_more()                     # events sent from now on are judged
    load.check()                             # log, outcomes, catalogs and answers are as they must be
"""
import json
import random
import subprocess
import threading
import time
from collections import Counter

from support import events as ev
from support.proc import PATIENCE_S, wait_until
from support.stack import consumer_binary


class Load:
    """A thread that publishes for its accounts, and one that reads their catalogs by the API."""

    def __init__(self, stack, accounts=8, seed=1, pause_s=0.03):
        self.stack, self.random, self.pause_s = stack, random.Random(seed), pause_s
        authority = ev.Authority("Load CA")
        self.material = [(key, [authority.issue(key.public_key()), authority.der]) for key in (ev.new_key() for _ in range(8))]
        self.accounts = [stack.account(f"load{seed}-{i}", owner="load") for i in range(accounts)]
        self.partitions = {ev.partition_of(a.id, stack.partitions) for a in self.accounts}
        self.issued, self.uploaded, self.names = [], [], 0
        self.sent = {}  # place -> account id
        self.statuses, self.odd = Counter(), []
        self._stop, self._failure, self._threads = threading.Event(), None, []

    # --- events

    def _one(self):
        r, account = self.random, self.random.choice(self.accounts)
        key, chain = r.choice(self.material)
        kind = r.random()
        if kind < 0.12 or not self.issued:
            record = self.stack.issuer.upload(account.id, self._name(), key, chain, kind="certificate.issue",
                                              extra={"source": "official"})
            self.issued.append((account, json.loads(record.value)["subject"]))
        elif kind < 0.3:
            account, subject = r.choice(self.issued)
            to = r.choice([a for a in self.accounts if a is not account])
            record = account.agent.event(r.choice(["certificate.share", "certificate.share", "certificate.unshare"]), account.id,
                                         subject, {"to": to.id})
        elif kind < 0.45 and self.uploaded:
            account, subject = self.uploaded.pop(r.randrange(len(self.uploaded)))
            record = account.agent.event("certificate.delete", account.id, subject, {})
        else:
            record = account.agent.upload(account.id, self._name(), key, chain)
            self.uploaded.append((account, json.loads(record.value)["subject"]))
        self.sent[self.stack.send(record)] = record.account

    def _name(self):
        self.names += 1
        return f"name-{self.names}"

    def _publish(self):
        while not self._stop.is_set():
            self._one()
            time.sleep(self.pause_s)

    # --- reads

    def _read(self):
        while not self._stop.is_set():
            account = random.choice(self.accounts)
            status, body = self.stack.http(f"/v1/accounts/{account.id}/certificates?limit=20",
                                           self.stack.token(account.agent, account.id), timeout_s=PATIENCE_S)
            self.statuses[status] += 1
            if status not in (200, 503) or (status == 503 and not body.get("detail")):
                self.odd.append((account.id, status, body))
            time.sleep(0.03)

    def _run(self, work):
        try:
            work()
        except BaseException as e:  # told in the main thread  # pylint: disable=broad-except
            self._failure = e

    def __enter__(self):
        self._threads = [threading.Thread(target=self._run, args=(work,), daemon=True) for work in (self._publish, self._read)]
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for t in self._threads:
            t.join(PATIENCE_S)
        if self._failure:
            raise self._failure

    # --- waiting and checking

    def positions(self):
        """Partition -> how far its catalog is; -1 where that cannot be read now."""
        from model_py.catalog import document
        found = {}
        for p in range(self.stack.partitions):
            try:
                generation = int(self.stack.redis.get(f"cs:{{{p}}}:gen") or 1)
                value = self.stack.redis.get(f"cs:{{{p}}}:{f'g{generation}:' if generation > 1 else ''}pos")
                found[p] = json.loads(document(value))["next_offset"] if value else 0
            except Exception:  # away, moving, failing over  # pylint: disable=broad-except
                found[p] = -1
        return found

    def wait_more(self, partitions=None, timeout_s=PATIENCE_S, events=3):
        """Some more events of each of these partitions, sent from now on, are in the catalog."""
        wanted = set(self.partitions if partitions is None else partitions)
        start = self.ends()

        def caught_up():
            if self._failure:
                raise self._failure
            at = self.positions()
            return all(at[p] >= start[p] + events for p in wanted)
        wait_until(caught_up, timeout_s, f"{events} events more in partitions {sorted(wanted)} than {start}", interval_s=0.1)

    def ends(self):
        return self.stack.ends()

    def settle(self, timeout_s=PATIENCE_S):
        """Every record is in the catalog, also those that the consumer itself wrote."""
        wait_until(lambda: self.positions() == self.ends(), timeout_s, "a catalog as far as the log", interval_s=0.1)
        wait_until(lambda: self.stack.http("/readyz")[0] == 200, PATIENCE_S, "a ready consumer")

    def check(self):
        assert not self.odd, f"answers that are neither 200 nor a 503 with its reason: {self.odd[:3]}"
        assert self.statuses[200] > 0, self.statuses
        self.settle()
        for account in self.accounts:
            self.stack.names(account)  # is answered
        done = subprocess.run([consumer_binary(), "verify", "--redis", "--config", self.stack.config], capture_output=True,
                              text=True, timeout=120, check=False)
        assert done.returncode == 0, f"verify: exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        wrong = self.audit()
        assert not wrong, "\n".join(wrong[:20])

    def audit(self):
        """The log, its outcomes and the catalogs, held against the independent model."""
        from chaos.chaos import examine
        from model_py import audit, catalog
        from model_py.marks import Marks
        stack = self.stack
        events = self.records(stack.events_topic)
        outcomes = self.records(stack.outcomes_topic)
        found, model, _ = examine(stack.log_id, stack.root.spki, ev.spki_of(stack.service.public_key()), stack.partitions,
                                  events, outcomes, Marks(stack.service, stack.log_id))
        firsts = {p: audit.first_outcomes(outcomes, p)[0] for p in range(stack.partitions)}
        docs, indexes, _ = catalog.read(stack.redis.client(), "cs", stack.partitions)
        return found + catalog.check(model, firsts, docs, indexes)

    def records(self, topic):
        from confluent_kafka import Consumer, TopicPartition
        from model_py import wire
        reader = Consumer({"bootstrap.servers": self.stack.kafka.bootstrap, "group.id": "unused", "enable.auto.commit": False,
                           "auto.offset.reset": "earliest", "log_level": 0})
        ends = {p: end for p, (_, end) in self.stack.kafka.all_watermarks(topic).items()}
        reader.assign([TopicPartition(topic, p, 0) for p in ends])
        found = []
        while len(found) < sum(ends.values()):
            m = reader.poll(10)
            assert m is not None and not m.error(), f"{topic}: {len(found)} of {sum(ends.values())} records"
            found.append(wire.Record(m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers() or []))
        reader.close()
        return sorted(found, key=lambda r: (r.partition, r.offset))
