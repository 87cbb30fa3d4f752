# SPDX-License-Identifier: Apache-2.0
"""The operators' commands over a live system and over dumps: what is right passes, and each kind of fault is found where it is."""
import json
import re
import subprocess
import tarfile
import threading

import pytest

from model_py import catalog
from support import events as ev
from support.proc import PATIENCE_S, REPO
from support.stack import EVENTS, OUTCOMES, consumer_binary

AUTHORITY = ev.Authority("Operators CA")


def run(stack, *args, code=0):
    """A command with --json: its object (or what it said, where it is none)."""
    done = subprocess.run([consumer_binary(), *args, "--json", "--config", stack.config], capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr}"
    return json.loads(done.stdout) if done.stdout else done.stderr


def say(stack, *args, code=0):
    """A command as people call it."""
    done = subprocess.run([consumer_binary(), *args, "--config", stack.config], capture_output=True, text=True,
                          timeout=120, check=False)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout[-2000:]}{done.stderr}"
    return done.stdout


def upload(account, name, kind="certificate.upload", sender=None, **extra):
    key = ev.new_key()
    return (sender or account.agent).upload(account.id, name, key, [AUTHORITY.issue(key.public_key()), AUTHORITY.der],
                                            kind=kind, extra=extra)


class Cast:
    """What happened before the tests: an account with an upload and a rejection, and a share from one to another."""

    def __init__(self, stack):
        self.owner = stack.account("operators-owner", owner="operators")
        at = ev.partition_of(self.owner.id, stack.partitions)
        other = next(n for n in (f"operators-{i}" for i in range(100)) if ev.partition_of(n, stack.partitions) != at)
        self.other = stack.account(other, owner="operators")
        self.upload = upload(self.owner, "www")
        self.place = stack.send(self.upload)
        assert stack.outcome_at(self.place)["status"] == "applied"
        self.id = json.loads(self.upload.value)["subject"]
        self.taken = upload(self.owner, "www")
        self.taken_place = stack.send(self.taken)
        assert stack.outcome_at(self.taken_place)["code"] == "name.taken"
        issued = stack.judge(upload(self.owner, "official", "certificate.issue", stack.issuer, source="official"))
        self.shared = issued["subject"]
        self.share = self.owner.agent.event("certificate.share", self.owner.id, self.shared, {"to": self.other.id})
        assert stack.final(self.share)["status"] == "applied"
        self.deletion = self.owner.agent.event("certificate.delete", self.owner.id, self.id, {})
        self.deletion_place = stack.send(self.deletion)
        assert stack.outcome_at(self.deletion_place)["status"] == "applied"


@pytest.fixture(scope="module")
def cast(stack):
    return Cast(stack)


@pytest.fixture(scope="module")
def dumps(stack, cast, tmp_path_factory):
    """Both topics as kcat writes them."""
    assert cast
    directory = tmp_path_factory.mktemp("dumps")
    for topic, name in ((OUTCOMES, "outcomes"), (EVENTS, "events")):
        with open(directory / name, "wb") as out:
            subprocess.run(["kcat", "-C", "-J", "-e", "-q", "-b", stack.kafka.bootstrap, "-t", topic, "-o", "beginning"],
                           stdout=out, check=True, timeout=PATIENCE_S)
    return directory


def test_verify_of_a_live_system(stack, cast):
    found = run(stack, "verify", "--redis", "--complete")
    assert found["ok"] and found["events"] == found["outcomes"] and found["keys"] > 0 and found["derived"] > 0
    assert "equal the replay" in say(stack, "verify", "--redis")


def test_verify_of_dumps_needs_no_server(stack, dumps):
    done = subprocess.run([consumer_binary(), "verify", "--json", "--events", dumps / "events", "--outcomes", dumps / "outcomes",
                           "--deployment", "test-deployment", "--root-key", stack.keys / "root.pub", "--set", "kafka.brokers=nowhere.invalid:1"],
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"] and json.loads(done.stdout)["events"] == len((dumps / "events").read_bytes().splitlines())


def test_dumps_of_another_deployment_are_a_settings_error(stack, dumps):
    assert "belongs to deployment" in run(stack, "verify", "--events", dumps / "events", "--outcomes", dumps / "outcomes",
                                          "--deployment", "other", code=2)["message"]


WITHOUT_KEY = ("--set", "deployment.service_key=")  # as an auditor, who cannot tell who wrote outcomes


def tampered(stack, dumps, tmp_path, change, *args, key=False):
    """verify over dumps that were changed: change(events, outcomes) on lists of lines."""
    lines = {name: (dumps / name).read_bytes().splitlines() for name in ("events", "outcomes")}
    change(lines["events"], lines["outcomes"])
    for name, content in lines.items():
        (tmp_path / name).write_bytes(b"\n".join(content) + b"\n")
    return run(stack, "verify", "--events", tmp_path / "events", "--outcomes", tmp_path / "outcomes", *args,
               *(() if key else WITHOUT_KEY), code=1)["fault"]


def line_of(lines, partition, offset, key="offset"):
    return next(i for i, line in enumerate(lines) if (r := json.loads(line))["partition"] == partition and r[key] == offset)


def outcome_line(outcomes, place):
    """The line of the outcome of the record at a place."""
    return next(i for i, line in enumerate(outcomes)
                if (o := json.loads(json.loads(line)["payload"])["data"]) and (o["partition"], o["offset"]) == place)


def test_a_missing_outcome_is_a_gap(stack, cast, dumps, tmp_path):
    def change(_, outcomes):
        del outcomes[outcome_line(outcomes, cast.taken_place)]
    fault = tampered(stack, dumps, tmp_path, change)
    assert fault["kind"] == "gap" and fault["partition"] == cast.place[0]


def test_a_changed_verdict_is_found(stack, cast, dumps, tmp_path):
    def change(_, outcomes):
        i = outcome_line(outcomes, cast.taken_place)
        outcomes[i] = outcomes[i].replace(b'\\"name.taken\\"', b'\\"name.invalid\\"')
    fault = tampered(stack, dumps, tmp_path, change)
    assert (fault["kind"], fault["partition"], fault["offset"]) == ("verdict", *cast.taken_place)
    assert (fault["published"]["data"]["code"], fault["judged"]["data"]["code"]) == ("name.invalid", "name.taken")


def test_what_the_service_key_did_not_mark_counts_for_nothing(stack, cast, dumps, tmp_path):
    def change(_, outcomes):
        i = outcome_line(outcomes, cast.taken_place)
        outcomes[i] = outcomes[i].replace(b'\\"name.taken\\"', b'\\"name.invalid\\"')
    fault = tampered(stack, dumps, tmp_path, change, key=True)
    assert fault["kind"] == "gap" and fault["partition"] == cast.place[0] and "carry no mark of the service key" in fault["message"]


def test_a_log_without_marks_is_told_as_such(stack, cast, dumps, tmp_path):
    """As an earlier build wrote it, or a copy without headers."""
    def change(_, outcomes):
        outcomes[:] = [json.dumps({**json.loads(line), "headers": []}).encode() for line in outcomes]
    for key in (False, True):
        fault = tampered(stack, dumps, tmp_path, change, key=key)
        assert fault["kind"] == "unmarked" and "outcomes without the mark of a service key (header certsync-mark)" in fault["message"]
    files = ("--events", tmp_path / "events", "--outcomes", tmp_path / "outcomes")
    for command in (("explain", cast.upload.id), ("rejected",), ("replay", "--dry-run"), ("prove", cast.upload.id)):
        assert "an earlier build wrote them" in json.dumps(run(stack, *command, *files, code=1)), command


def test_a_changed_outcome_breaks_the_chain(stack, cast, dumps, tmp_path):
    def change(_, outcomes):
        i = outcome_line(outcomes, cast.taken_place)
        prev = json.loads(json.loads(outcomes[i])["payload"])["data"]["prev"]
        outcomes[i] = outcomes[i].replace(prev.encode(), b"0" * 64)
    fault = tampered(stack, dumps, tmp_path, change)
    assert (fault["kind"], fault["partition"], fault["offset"]) == ("chain", *cast.taken_place)


def test_a_changed_record_is_found(stack, cast, dumps, tmp_path):
    def change(events, _):
        i = line_of(events, *cast.place)
        events[i] = events[i].replace(b'\\"name\\":\\"www\\"', b'\\"name\\":\\"wwv\\"')
    fault = tampered(stack, dumps, tmp_path, change)
    assert (fault["kind"], fault["partition"], fault["offset"]) == ("record", *cast.place)


def test_a_changed_time_is_found(stack, cast, dumps, tmp_path):
    def change(events, _):
        i = line_of(events, *cast.place)
        events[i] = re.sub(rb'"ts":(\d+)', lambda m: b'"ts":%d' % (int(m[1]) + 1), events[i])
    assert tampered(stack, dumps, tmp_path, change)["kind"] == "record"


def test_a_record_that_was_taken_out_is_found(stack, cast, dumps, tmp_path):
    def change(events, _):
        del events[line_of(events, *cast.place)]
    fault = tampered(stack, dumps, tmp_path, change)
    assert fault["kind"] == "offset" and fault["partition"] == cast.place[0]


def test_another_outcome_of_the_same_number_is_a_fork(stack, cast, dumps, tmp_path):
    def change(_, outcomes):
        copy = json.loads(outcomes[outcome_line(outcomes, cast.taken_place)])
        mine = [json.loads(line)["offset"] for line in outcomes if json.loads(line)["partition"] == copy["partition"]]
        same, other = dict(copy, offset=max(mine) + 1), dict(copy, offset=max(mine) + 2)
        other["payload"] = other["payload"].replace("name.taken", "name.invalid")
        outcomes += [json.dumps(same).encode(), json.dumps(other).encode()]
    fault = tampered(stack, dumps, tmp_path, change)
    assert fault["kind"] == "fork" and fault["partition"] == cast.place[0]


def test_a_record_without_an_outcome_is_only_a_fault_where_asked(stack, cast, dumps, tmp_path):
    def change(_, outcomes):
        last = max((i for i, line in enumerate(outcomes) if json.loads(line)["partition"] == cast.place[0]))
        del outcomes[last]
    fault = tampered(stack, dumps, tmp_path, change, "--complete")
    assert fault["kind"] == "no_outcome" and fault["partition"] == cast.place[0]
    assert run(stack, "verify", "--events", tmp_path / "events", "--outcomes", tmp_path / "outcomes")["without_outcome"] == 1


def test_a_derived_event_that_is_nowhere_is_found(stack, cast, dumps, tmp_path):
    """As if the recipient's partition had lost its records: with their outcomes, so that nothing else is wrong."""
    at = [ev.partition_of(a.id, stack.partitions) for a in (cast.owner, cast.other)]
    assert at[0] != at[1]

    def change(events, outcomes):
        for lines in (events, outcomes):
            lines[:] = [line for line in lines if json.loads(line)["partition"] != at[1]]
    fault = tampered(stack, dumps, tmp_path, change)
    # The first one that is found may be of other tests' accounts.
    assert fault["kind"] == "derived_lost" and fault["partition"] != at[1]


def test_share_events_that_nobody_emitted_are_found(stack, tmp_path):
    """The golden log holds some that were forged with the service key."""
    with tarfile.open(REPO / "tests/golden/golden.tar.xz") as archive:
        archive.extractall(tmp_path)
    files = ("--events", tmp_path / "events.json", "--outcomes", tmp_path / "outcomes.json", "--root-key", tmp_path / "root.pub")
    assert run(stack, "verify", *files, code=1)["fault"]["kind"] == "derived_stray"
    assert run(stack, "verify", *files, "--allow-stray")["stray"] > 0


def redis_key(stack, account, kind, name):
    return f"cs:{{{ev.partition_of(account.id, stack.partitions)}}}:{kind}/{account.id}/{name}"


def test_a_changed_catalog_is_found_by_verify_and_diff(stack, cast):
    client = stack.redis.client()
    key = redis_key(stack, cast.owner, "cert", cast.shared)
    before = client.get(key)
    assert before
    stack.consumers[0].pause()  # it would make the catalog again by itself
    try:
        altered = catalog.document(before, key).replace(b"official", b"uploaded")
        assert altered != catalog.document(before, key)
        client.set(key, altered + before[-catalog.MARK:])
        named = f"cert/{cast.owner.id}/{cast.shared}"
        fault = run(stack, "verify", "--redis", code=1)["fault"]
        assert fault["kind"] == "catalog" and named in fault["message"] and "is damaged" in fault["message"]
        said = json.dumps(run(stack, "diff", code=1))
        assert named in said and "is damaged" in said
        client.delete(key)
        assert "is gone" in json.dumps(run(stack, "diff", code=1))  # a witness speaks of it
        fault = run(stack, "verify", "--redis", code=1)["fault"]
        assert fault["kind"] == "catalog" and "is gone" in fault["message"]
        client.set(key, before)
        client.set(key + "x", before)
        assert named + "x" in json.dumps(run(stack, "diff", code=1))
    finally:
        client.set(key, before)
        client.delete(key + "x")
        stack.consumers[0].resume()
    assert run(stack, "diff")["differences"] == []


def test_diff_to_an_earlier_moment_shows_what_came_after(stack, cast):
    partition, offset = cast.deletion_place
    found = run(stack, "diff", "--to-offset", f"{partition}:{offset}", code=1)
    keys = {d["key"]: d["difference"] for d in found["differences"]}
    assert keys[f"cert/{cast.owner.id}/{cast.id}"] == "changed"
    assert keys[f"material/{cast.owner.id}/{cast.id}"] == "missing"
    assert keys[f"outcome/{cast.owner.id}/{cast.deletion.id}"] == "extra"
    assert not any("live" in d or "replay" in d for d in found["differences"] if d["key"].startswith("material/"))


def test_replay_in_memory(stack, cast):
    whole = run(stack, "replay", "--dry-run")
    assert whole["differing"] == 0 and whole["compared"] == whole["events"] > 0
    assert whole["codes"]["name.taken"] >= 1 and whole["shared_in"] >= 1
    partition, offset = cast.taken_place
    part = run(stack, "replay", "--dry-run", "--to-offset", f"{partition}:{offset}")
    assert part["events"] < whole["events"]
    assert run(stack, "replay", "--dry-run", "--to-time", "2000-01-01")["events"] == 0
    assert "are as they are judged now" in say(stack, "replay", "--dry-run")
    say(stack, "replay", code=2)


def test_replay_lists_verdicts_that_differ(stack, cast, dumps, tmp_path):
    outcomes = (dumps / "outcomes").read_bytes().replace(b'\\"name.taken\\"', b'\\"name.invalid\\"')
    (tmp_path / "outcomes").write_bytes(outcomes)
    found = run(stack, "replay", "--dry-run", "--events", dumps / "events", "--outcomes", tmp_path / "outcomes", *WITHOUT_KEY, code=1)
    assert found["differing"] >= 1
    assert {"published": "name.invalid", "judged": "name.taken"} in [
        {k: v[k]["data"].get("code") for k in ("published", "judged")} for v in found["verdicts"]]


def test_explain_an_upload(stack, cast):
    found = run(stack, "explain", cast.upload.id)
    assert (found["record"]["partition"], found["record"]["offset"]) == cast.place
    assert found["record"]["value"] == json.loads(cast.upload.value)
    assert found["signer"]["kid"] == cast.owner.agent.kid and found["signer"]["is"] == "enrolled"
    assert found["signer"]["entry"]["enrolled_by"] == stack.admin.kid
    assert found["verdict"]["status"] == "applied" and found["verdict"]["outcome"]["data"]["event"] == cast.upload.id
    changed = {c["key"] for c in found["changes"]}
    assert {f"cert/{cast.owner.id}/{cast.id}", f"material/{cast.owner.id}/{cast.id}"} <= changed
    assert not any("value" in c for c in found["changes"] if c["key"].startswith("material/"))


def test_explain_a_rejection_names_the_rule(stack, cast):
    found = run(stack, "explain", cast.taken.id)["verdict"]
    assert found["code"] == "name.taken" and found["rule"] and found["ruleset"] == 1 and found["hint"]
    assert "name.taken" in say(stack, "explain", cast.taken.id)


def test_explain_a_share_shows_both_halves(stack, cast):
    found = run(stack, "explain", cast.share.id)
    steps = [s["type"] for s in found["share"]]
    assert steps == ["certsync.certificate.share.v1", "certsync.share.offer.v1", "certsync.share.answer.v1"]
    assert [s["outcome"]["data"]["status"] for s in found["share"]] == ["pending", "applied", "applied"]
    assert found["share"][2]["outcome"]["data"]["concludes"][0]["event"] == cast.share.id
    assert found["emitted"][0]["event"] == found["share"][1]["event"]
    offer = run(stack, "explain", found["share"][1]["event"])
    assert [s["event"] for s in offer["share"]] == [s["event"] for s in found["share"]]
    assert offer["signer"]["is"] == "trusted" and offer["signer"]["entry"]["role"] == "service"


def test_explain_a_delete_shows_what_it_changed_alone(stack, cast):
    """Not the numbers in the partition's queue of tombstones, which other accounts' events move, too."""
    uploaded = upload(cast.owner, "deleted-and-explained")
    stack.judge(uploaded)
    delete = cast.owner.agent.event("certificate.delete", cast.owner.id, json.loads(uploaded.value)["subject"], {})
    assert stack.judge(delete)["status"] == "applied"
    changes = run(stack, "explain", delete.id)["changes"]
    kinds = {c["key"].split("/")[0] for c in changes}
    assert {"cert", "name", "material"} <= kinds and not kinds & {"tombstone", "tombstones", "issuer"}
    assert f"\nchanges  {len(changes)}\n" in say(stack, "explain", delete.id)


def test_explain_what_is_not_there(stack):
    assert "no record" in run(stack, "explain", ev.uuid7(), code=1)["message"]
    run(stack, "explain", "not-an-id", code=2)


def test_explain_says_when_it_had_to_read_everything(stack, cast):
    """An event that is not near the time in its id, or whose id tells none: why that was slow is one line on standard error."""
    def told(event_id):
        done = subprocess.run([consumer_binary(), "explain", event_id, "--json", "--config", stack.config], capture_output=True, text=True,
                              timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr
    assert told(cast.upload.id) == ""
    late = ev.uuid7()
    late = f"{int(late.replace('-', '')[:12], 16) - 5 * 86400000:012x}{late.replace('-', '')[12:]}"
    late = "-".join((late[:8], late[8:12], late[12:16], late[16:20], late[20:]))
    record = cast.owner.agent.event("certificate.delete", cast.owner.id, ev.uuid7(), {}, id=late)
    stack.judge(record)
    assert re.fullmatch(r".*explain: all of cert.events was read to find the event: it is not near the time in its id\n", told(late))
    assert run(stack, "explain", late)["read_all"] is True and "read_all" not in run(stack, "explain", cast.upload.id)


def test_show_then_and_now(stack, cast):
    now = run(stack, "show", cast.owner.id)
    assert {c["id"] for c in now["certificates"]} == {cast.shared}
    then = run(stack, "show", cast.owner.id, "--at", str(cast.deletion_place[1]))
    assert {c["id"] for c in then["certificates"]} == {cast.shared, cast.id}
    assert then["offset"] == cast.deletion_place[1] - 1
    by_time = run(stack, "show", cast.owner.id, "--at", "2100-01-01T00:00:00Z")
    assert by_time == now
    assert [c["owner_account"] for c in run(stack, "show", cast.other.id)["certificates"]] == [cast.owner.id]
    assert "official" in say(stack, "show", cast.owner.id)
    run(stack, "show", cast.owner.id, "--at", "2000-01-01", code=1)  # it did not exist then
    run(stack, "show", cast.owner.id, "--at", "yesterday", code=2)


def test_show_what_lies_in_redis(stack, cast):
    """Documents are packed there; the command prints them as JSON, an account's or one."""
    stored = {d["key"]: d for d in run(stack, "show", cast.owner.id, "--redis")["stored"]}
    entry = stored[f"cert/{cast.owner.id}/{cast.shared}"]
    assert entry["value"]["id"] == cast.shared and entry["value"]["summary"]["leaves"]
    assert "value" not in stored[f"material/{cast.owner.id}/{cast.shared}"]  # it holds a sealed key
    assert stored[f"account/{cast.owner.id}"]["value"]["certificates"] == 1
    assert any(m.endswith(cast.shared) for m in stored[f"view/{cast.owner.id}"]["members"])
    assert not any(k.split("/")[1] != cast.owner.id for k in stored)
    assert run(stack, "show", entry["key"], "--redis")["stored"] == [entry]
    assert stack.redis.client().get(f"cs:{{{entry['partition']}}}:{entry['key']}")[:1] == b"z"
    assert cast.shared in say(stack, "show", cast.owner.id, "--redis")
    run(stack, "show", "nobody", "--redis", code=1)
    run(stack, "show", cast.owner.id, "--redis", "--at", "1", code=2)


def test_rejected(stack, cast):
    mine = run(stack, "rejected", "--account", cast.owner.id, "--record")
    assert mine["found"] == mine["listed"] >= 1
    taken = next(r for r in mine["rejected"] if r["event"] == cast.taken.id)
    assert (taken["code"], taken["partition"], taken["offset"]) == ("name.taken", *cast.taken_place)
    assert taken["record"]["value"] == json.loads(cast.taken.value)
    assert run(stack, "rejected", "--account", cast.owner.id, "--code", "key.mismatch")["rejected"] == []
    assert run(stack, "rejected", "--account", cast.owner.id, "--code", "name")["found"] == 1
    assert run(stack, "rejected", "--since", "2100-01-01")["found"] == 0
    assert run(stack, "rejected", "--account", cast.owner.id, "--until", "2100-01-01", "--limit", "1")["listed"] == 1
    assert cast.taken.id in say(stack, "rejected", "--account", cast.owner.id)


@pytest.mark.parametrize("args,words", [
    (["--code", "name.takn"], ["name.takn", "name.taken"]), (["--code", "shar"], ["shar", "share"]), (["--code", ""], ["code"]),
    (["--account", "no account"], ["no account"]), (["--since", "2026-11-24", "--until", "2026-11-23"], ["--since", "--until"])])
def test_rejected_refuses_to_look_for_what_nothing_can_be(stack, args, words):
    said = run(stack, "rejected", *args, code=2)
    assert said["status"] == "error" and all(word in said["message"] for word in words), said


def test_rejected_shows_what_is_no_event(stack):
    account = stack.account()
    value = b'\xff\xfe{"no":"event"\x01}'
    place = stack.produce(value, ev.partition_of(account.id, stack.partitions), [("certsync-sig", account.agent.sign(value))], b"k\xff")
    assert stack.outcome_at(place)["status"] == "rejected"
    found = [r for r in run(stack, "rejected", "--record", "--limit", "1000000")["rejected"] if (r["partition"], r["offset"]) == place]
    assert ev.base64.b64decode(found[0]["record"]["value"]["base64"]) == value
    assert ev.base64.b64decode(found[0]["record"]["key"]["base64"]) == b"k\xff"


def test_redis_is_away(stack):
    """Not found wanting, since not looked at: 2. The daemon ends with 1, so that whoever supervises it starts it again, which 2 forbids."""
    config = stack.write_config("away", 0, redis={"url": "redis://127.0.0.1:1"}, consumer={"preflight_timeout": "1s"})
    for command, code in ((["verify", "--redis"], 2), (["diff"], 2), (["run"], 1)):
        done = subprocess.run([consumer_binary(), *command, "--config", config], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code and "Redis at 127.0.0.1:1 cannot be reached" in done.stderr, (command, done)


# At the end: all others read the whole log, some again and again.

def test_verify_while_events_come_in(stack, cast):
    account, ended = stack.account(), threading.Event()
    partition = ev.partition_of(account.id, stack.partitions)
    records = [upload(account, f"n{i}") for i in range(300)]  # sent again they are duplicates

    def busy():
        sent = 0
        while not ended.wait(0.03 if sent < 1000 else 0.5):  # a hundred events a second and more, until there are many
            for record in (records[(sent + i) % len(records)] for i in range(5)):
                stack._producer.produce(EVENTS, value=record.value, key=account.id.encode(), partition=partition,
                                        headers=record.headers)
            stack._producer.poll(0)
            sent += 5
    thread = threading.Thread(target=busy)
    thread.start()
    try:
        found = [run(stack, "verify", "--redis") for _ in range(3)]
        equal = run(stack, "diff")
    finally:
        ended.set()
        thread.join()
        stack._producer.flush(30)
    assert all(f["ok"] for f in found) and not equal["differences"]
    assert found[2]["events"] > found[0]["events"]
