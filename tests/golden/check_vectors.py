# SPDX-License-Identifier: Apache-2.0
"""docs/audit/check_log.py finds the recorded log below docs/audit/vectors well, and each of these damages of it.

    check_vectors.py
"""
import contextlib
import functools
import hashlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.vectors import HOME, checker  # noqa: E402

CHECK = checker()
for slow in ("is_signed", "public_key", "spki_of"):  # most of what a damaged log holds was looked at before
    setattr(CHECK, slow, functools.cache(getattr(CHECK, slow)))


def check(directory, *more):
    """(whether it is well, what was said)"""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            CHECK.main([str(directory / name) for name in ("events.json", "outcomes.json", "root.pub")] + [str(m) for m in more])
        return True, said.getvalue()
    except SystemExit as e:
        return False, str(e)


def lines(name):
    return [json.loads(line) for line in (HOME / name).read_text().splitlines()]


def of_type(events, kind):
    return next(r for r in events if f'"certsync.{kind}.v1"' in r["payload"])


def another_hash(outcomes):
    """Outcomes that follow from each other again after one of them names another record."""
    prev = "0" * 64
    for record in outcomes:
        value = json.loads(record["payload"])
        data = value["data"]
        data["record"] = "0" * 64 if int(value["sequence"]) == 11 else data["record"]
        data["prev"] = prev
        record["payload"] = json.dumps(value, separators=(",", ":"))
        prev = hashlib.sha256(record["payload"].encode()).hexdigest()


def judged_again(events, outcomes):
    """The outcomes as somebody would write them who may write to both topics, but has no key: all hashes fit."""
    prev = "0" * 64
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "e").write_text("".join(json.dumps(r) + "\n" for r in events))
        records = {r["offset"]: CHECK.record_hash(r) for r in CHECK.read(Path(name) / "e")[0]}
    for record in outcomes:
        value = json.loads(record["payload"])
        data = value["data"]
        data["record"], data["prev"] = records[data["offset"]], prev
        record["payload"] = json.dumps(value, separators=(",", ":"))
        prev = hashlib.sha256(record["payload"].encode()).hexdigest()


def change(record, old, new):
    assert old in record["payload"], old
    record["payload"] = record["payload"].replace(old, new, 1)


def altered(events, outcomes):
    change(of_type(events, "account.register"), '"intl"', '"cn"')
    return "names another record"


def altered_and_judged(events, outcomes):
    change(of_type(events, "account.register"), '"intl"', '"cn"')
    judged_again(events, outcomes)
    return "the verdict on the signature"


def stranger(events, outcomes):
    record = of_type(events, "agent.enroll")
    record["payload"] = record["payload"].replace("agent.enroll", "agent.revoke")
    judged_again(events, outcomes)
    return "the verdict on the signature"


def outcome_altered(events, outcomes):
    change(outcomes[10], '"applied"', '"pending"')
    return "records have no outcome"  # what follows it does not name it


def outcome_gone(events, outcomes):
    del outcomes[5]
    return "records have no outcome"


def outcome_of_another(events, outcomes):
    another_hash(outcomes)
    return "names another record"


def record_gone(events, outcomes):
    del events[3]
    return "a record that is not there"


def refusal_hidden(events, outcomes):
    """The forged record is said to be good."""
    record = next(o for o in outcomes if "event.bad_signature" in o["payload"])
    change(record, '"rejected","code":"event.bad_signature"', '"applied"')
    judged_again(events, outcomes)
    return "the verdict on the signature"


def not_let_in(events, outcomes):
    """Nobody enrolled the key that sends."""
    record = next(r for r in events if "agent.enroll" in r["payload"])
    outcome = next(o for o in outcomes if json.loads(o["payload"])["data"]["offset"] == record["offset"])
    change(outcome, '"status":"applied"', '"status":"rejected","code":"event.forbidden"')
    judged_again(events, outcomes)
    return "nobody whom root trusts"


DAMAGES = [altered, altered_and_judged, stranger, outcome_altered, outcome_gone, outcome_of_another, record_gone, refusal_hidden, not_let_in]


def damaged(damage):
    events, outcomes = lines("events.json"), lines("outcomes.json")
    expected = damage(events, outcomes)
    with tempfile.TemporaryDirectory() as name:
        at = Path(name)
        (at / "root.pub").write_bytes((HOME / "root.pub").read_bytes())
        for file, records in (("events.json", events), ("outcomes.json", outcomes)):
            (at / file).write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records))
        well, said = check(at)
    return [] if not well and expected in said else [f"{damage.__name__}: {said.strip()}, and not: {expected}"]


def wrong_keys():
    """Another root, and another custodian."""
    with tempfile.TemporaryDirectory() as name:
        at = Path(name)
        for file in ("events.json", "outcomes.json"):
            (at / file).write_bytes((HOME / file).read_bytes())
        for arguments in (("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", at / "key"),
                          ("pkey", "-in", at / "key", "-pubout", "-out", at / "root.pub"),
                          ("genpkey", "-algorithm", "X25519", "-out", at / "custodian.key")):
            subprocess.run(["openssl", *arguments], capture_output=True, check=True)
        well, said = check(at)
        yield not well and "nobody whom root trusts" in said, f"another root: {said}"
        well, said = check(HOME, "--custodian-key", at / "custodian.key")
        yield not well and "does not open" in said, f"another custodian: {said}"


def main():
    found = []
    well, said = check(HOME, "--custodian-key", HOME / "custodian.key")
    if not well or "9 proofs, 9 sealed keys" not in said:
        found.append(f"the recorded log: {said}")
    for damage in DAMAGES:
        found += damaged(damage)
    found += [text for well, text in wrong_keys() if not well]
    for line in found:
        print(line, file=sys.stderr)
    print(f"{len(DAMAGES) + 3} checks, {len(found)} failed")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
