# SPDX-License-Identifier: Apache-2.0
"""Topics that are made anew are another log of the same deployment: what was signed for the old one is worth nothing there."""
import json

import pytest

from support import events as ev
from support.host import AgentHost, Host, make_files, put_pair, watch_pairs
from support.proc import PATIENCE_S, wait_until
from support.stack import Stack


@pytest.fixture(scope="module")
def old(kafka, tmp_path_factory):
    with Stack(tmp_path_factory.mktemp("another") / "stack", partitions=2, kafka=kafka, prefix="another.") as stack:
        stack.run_consumer()
        yield stack


def begin_anew(stack):
    """New topics and the same keys; the Redis keeps what it holds."""
    records = [(p, stack.kafka.consume(stack.events_topic, p)) for p in range(stack.partitions)]
    assert stack.consumers[0].terminate() == 0
    stack.outcomes.consumer.close()
    for topic in (stack.events_topic, stack.outcomes_topic):
        stack.kafka.delete_topic(topic)
    stack.consumers.clear()
    stack.begin()
    return records


def test_topics_that_are_made_anew(old, tmp_path):
    stack, ca, before = old, ev.Authority("CA"), old.log_id
    account = stack.account("acme")
    host = AgentHost(stack, account, tmp_path / "host")
    tls = watch_pairs(host)
    put_pair(tls, "www", ca)
    make_files(host.dir, ca)
    host.configure(**{"kafka.events_topic": stack.events_topic, "kafka.outcomes_topic": stack.outcomes_topic})
    host.expect(0, "upload", "by-hand", "--cert", "full.pem", "--key-file", "key.pem")
    host.start()
    host.wait_version("www", 1)
    assert host.status()["log"] == before
    stack.init()  # it keeps the log that is there
    assert stack.log_id == before

    records = begin_anew(stack)
    assert stack.log_id != before and stack.log_id.split("_")[0] == before.split("_")[0]
    stack.run_consumer()  # the catalog of the old log is worth nothing either
    assert "does not carry certsync's mark" in stack.consumers[0].output()
    assert stack.http("/v1/log")[1] == {"deployment": "test-deployment", "log": stack.log_id, "partitions": 2, "corrections": []}
    # Every record of the old log, as it was.
    for p, all_of_one in records:
        for r in all_of_one:
            outcome = stack.outcome_at(stack.produce(r.value, p, r.headers, r.key))
            assert (outcome["status"], outcome["code"]) == ("rejected", "event.incarnation"), outcome
    assert stack.http("/v1/accounts", stack.token(stack.auditor, "*"))[1]["accounts"] == []

    # The host learns it from the first answer, says why, and sends nothing more.
    put_pair(tls, "later", ca)
    told = host.wait_status(lambda s: [a for a in s["attention"] if a["what"] == "log"], "an alarm")
    message = next(a["message"] for a in told["attention"] if a["what"] == "log")
    assert f"serves log {stack.log_id}" in message and f"works with log {before}" in message and "nothing is sent" in message
    marks = [stack.kafka.watermarks(stack.events_topic, p)[1] for p in range(2)]
    put_pair(tls, "waits", ca)
    host.wait_status(lambda s: s["spool"]["to_publish"] > 0, "an event that waits")
    for command in (["upload", "again", "--cert", "full.pem", "--key-file", "key.pem"], ["spool", "flush"], ["list"]):
        host.expect(2, *command, words=[f"serves log {stack.log_id}"])
    host.stop()
    host.start()  # and after a restart
    host.wait_status(lambda s: [a for a in s["attention"] if a["what"] == "log"], "an alarm")
    host.stop()
    assert [stack.kafka.watermarks(stack.events_topic, p)[1] for p in range(2)] == marks

    # A person says that this is the log now, and has the key enrolled there.
    host.configure(**{**host.over, "deployment.id": stack.log_id})
    assert stack.register("acme")["status"] == "applied"
    outcome = stack.judge(stack.admin.event("agent.enroll", "acme", host.sender.kid, {
        "key": ev.b64(host.sender.spki), "can": ["upload", "read"], "names": "*"}))
    assert outcome["status"] == "applied"
    host.start()
    host.wait_version("www", 1)
    host.wait_version("later", 1)
    host.wait_version("waits", 1)
    host.stop()


def test_a_join_token_names_its_log(old, tmp_path):
    stack = old
    admin = ev.Sender(stack.log_id)
    stack.appoint("admin", admin)
    topics = {"kafka.events_topic": stack.events_topic, "kafka.outcomes_topic": stack.outcomes_topic}
    by_admin = Host(stack, stack.account("beta"), tmp_path / "admin", key=admin)
    by_admin.configure(**topics)
    token = by_admin.expect(0, "agent", "token", "--uses", "3").splitlines()[0]
    new = Host(stack, stack.account("gamma"), tmp_path / "new")
    for name, deployment, code, words in (
            ("other", "elsewhere", 2, "the settings say deployment elsewhere"),
            ("known", "test-deployment_00000000", 2, "but this host works with log test-deployment_00000000"),
            ("fresh", "test-deployment", 0, "joined")):
        new.configure(**topics, **{"agent.account": "beta", "agent.key": new.dir / f"{name}.key", "deployment.id": deployment})
        new.expect(code, "agent", "join", "-", stdin=token.encode(), words=[words])
    assert (new.dir / "spool/test-deployment.log").read_text() == stack.log_id + "\n"
    assert json.loads(new.run("--json", "list").stdout)["certificates"] == []


def test_a_topic_of_another_log_under_a_consumer(old):
    """It stops being ready, and names both."""
    stack, before = old, old.log_id
    stack.outcomes.consumer.close()
    config = stack.write_config("watchful", stack.port, consumer={"inspect_every": "1s"})
    assert stack.consumers[0].terminate() == 0
    stack.consumers.clear()
    stack.run_consumer(config=config)
    for topic in (stack.events_topic, stack.outcomes_topic):
        stack.kafka.delete_topic(topic)
    stack.begin()
    told = f"begins with log {stack.log_id} now, but this consumer began with log {before}"
    wait_until(lambda: told in json.dumps(stack.http("/readyz")[1]), PATIENCE_S, "a consumer that names both logs")
