# SPDX-License-Identifier: Apache-2.0
"""Redis loses the catalogs or comes back with old ones, under two consumers that are asked all the while, each for partitions that
the other has: nobody who is enrolled is told that he is unknown, nobody sees yesterday as today, no revoked key gets in."""
import shutil
import threading
import time

import pytest

from support import events as ev
from support.proc import PATIENCE_S, free_port, wait_until
from support.stack import Stack

AUTHORITY = ev.Authority("Loss CA")
CERTIFICATES = 60


def upload(account, name):
    key = ev.new_key()
    return account.agent.upload(account.id, name, key, [AUTHORITY.issue(key.public_key()), AUTHORITY.der])


@pytest.fixture(scope="module")
def stack(kafka, tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("loss") / "stack", partitions=4, kafka=kafka, prefix="loss.") as stack:
        stack.ports = [stack.port, free_port()]
        stack.configs = [stack.config, stack.write_config("other", stack.ports[1], api={"listen": f"127.0.0.1:{stack.ports[1]}"})]
        stack.run_consumer()
        stack.run_consumer(name="other", config=stack.configs[1], wait=False)
        stack.cast = [stack.account() for _ in range(4)]
        stack.thieves = [stack.enroll(account.id) for account in stack.cast]
        stack.send_all([upload(account, f"n{i}") for account in stack.cast for i in range(CERTIFICATES)])
        for account in stack.cast:
            wait_until(lambda a=account: len(stack.names(a)) == CERTIFICATES, PATIENCE_S, "all certificates")
        stack.redis.client().save()
        shutil.copy(stack.redis.directory / "dump.rdb", stack.redis.directory / "yesterday.rdb")
        for account, thief in zip(stack.cast, stack.thieves):
            assert stack.judge(stack.admin.event("agent.revoke", account.id, thief.kid, {}))["status"] == "applied"
            assert stack.judge(upload(account, "today"))["status"] == "applied"
        yield stack


class Asking(threading.Thread):
    """Asks one API for one account's list, and with the revoked key, over and over: every answer that is not as it should be."""

    def __init__(self, stack, port, account, thief):
        super().__init__(daemon=True)
        self.stack, self.port, self.account, self.thief = stack, port, account, thief
        self.wrong, self.counts, self.stop = [], {}, False
        self.start()

    def ask(self, sender):
        token = self.stack.token(sender, self.account.id)
        return self.stack.http(f"/v1/accounts/{self.account.id}/certificates?limit=1000", token, port=self.port)

    def run(self):
        while not self.stop:
            status, body = self.ask(self.account.agent)
            self.counts[status] = self.counts.get(status, 0) + 1
            right = status == 503 or (status == 200 and len(body["certificates"]) == CERTIFICATES + 1)
            if not right:
                self.wrong.append((time.time(), status, str(body)[:200]))
            status, body = self.ask(self.thief)
            if status not in (403, 503):
                self.wrong.append((time.time(), status, "the revoked key", str(body)[:200]))

    def served(self):
        return self.counts.get(200, 0)


def all_served(asking):
    before = [a.served() for a in asking]
    wait_until(lambda: all(a.served() > n for a, n in zip(asking, before)), PATIENCE_S, "answers to all")


def yesterday(stack):
    stack.redis.kill()
    shutil.copy(stack.redis.directory / "yesterday.rdb", stack.redis.directory / "dump.rdb")
    stack.redis.start()


LOSSES = {
    "flushall": lambda stack: stack.redis.client().flushall(),
    "yesterday": yesterday,
    "empty": lambda stack: (stack.redis.kill(), (stack.redis.directory / "dump.rdb").unlink(missing_ok=True), stack.redis.start()),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_nobody_is_told_what_is_not_so(stack, loss):
    asking = [Asking(stack, port, account, thief) for port in stack.ports for account, thief in zip(stack.cast, stack.thieves)]
    try:
        all_served(asking)
        LOSSES[loss](stack)
        wait_until(lambda: all(a.counts.get(503) for a in asking), PATIENCE_S, "the loss to be seen")
        all_served(asking)
    finally:
        for a in asking:
            a.stop = True
        for a in asking:
            a.join(PATIENCE_S)
    assert not [a.wrong[:3] for a in asking if a.wrong]


def test_a_process_that_starts_on_yesterday(stack):
    """It has seen nothing: it asks Kafka before it answers."""
    for consumer in stack.consumers:
        assert consumer.terminate() == 0
    yesterday(stack)
    port = free_port()
    stack.run_consumer(name="fresh", config=stack.write_config("fresh", port, api={"listen": f"127.0.0.1:{port}"}), wait=False)
    asking = [Asking(stack, port, account, thief) for account, thief in zip(stack.cast, stack.thieves)]
    try:
        wait_until(lambda: all(a.served() for a in asking), PATIENCE_S, "answers to all")
    finally:
        for a in asking:
            a.stop = True
        for a in asking:
            a.join(PATIENCE_S)
    assert not [w for a in asking for w in a.wrong if w[1] != 0]  # 0: nobody listened yet
