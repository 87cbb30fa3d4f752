# SPDX-License-Identifier: Apache-2.0
"""Holding a real log, its outcomes and its catalogs against the model. Each check answers with sentences, none where all is well."""
import hashlib
import json
import time
import uuid
from collections import defaultdict

from model_py import marks, wire
from model_py.rules import DERIVED, Model, epoch_of, kid_of

EMPTY = ("", 0, False, None, [], {}, -1)


def differences(expected, actual, place=""):
    """What of `actual` is not as expected; a member that is empty may be left out."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found = []
        for name in {**expected, **actual}:
            at = f"{place}.{name}" if place else name
            if name not in actual:
                if expected[name] not in EMPTY:
                    found.append(f"{at} is missing, not {brief(expected[name])}")
            elif name not in expected and actual[name] not in EMPTY:
                found.append(f"{at} is {brief(actual[name])}, and should not be there")
            elif name in expected:
                found += differences(expected[name], actual[name], at)
        return found
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [d for i, (e, a) in enumerate(zip(expected, actual)) for d in differences(e, a, f"{place}[{i}]")]
    if type(expected) is type(actual) and expected == actual:
        return []
    return [f"{place or 'it'} is {brief(actual)}, not {brief(expected)}"]


def brief(value):
    text = json.dumps(value, default=str)
    return text if len(text) < 120 else text[:117] + "..."


# --- outcomes ----------------------------------------------------------------------------------------

def expected_outcome(v, n, previous, log_id):
    e = v.event
    data = {"status": v.status, "code": v.code, "type": f"certsync.{e.type}.v1" if e else "",
               "epoch": v.epoch, "event": e.id if e else "", "account": e.account if e else "", "kid": e.kid if e else "",
               "label": v.label, "name": v.name, "leaves": v.leaves, "partition": v.partition, "offset": v.offset,
               "record": v.record_sha256, "sequence": f"{e.seq:016}" if e else "", "watermark": v.watermark, "gap": v.gap,
               "version": v.version, "notes": v.notes,
               "concludes": [{"event": s, "status": status, **({"code": code} if code else {})} for s, status, code in v.concludes],
               "prev": previous}
    always = ("partition", "offset")
    outcome = {"specversion": "1.0", "type": "certsync.outcome.v1", "sequence": f"{n:016}", "id": outcome_id(log_id, v.partition, n, v.epoch),
               "source": f"//{log_id}/partitions/{v.partition}", "subject": v.subject, "time": moment(v.time_ms),
               "datacontenttype": "application/json"}
    return {**{k: x for k, x in outcome.items() if x}, "data": {k: x for k, x in data.items() if k in always or x not in EMPTY}}


def outcome_id(log_id, partition, n, epoch=0):
    text = b"certsync.outcome.v1\0%s\0%d\0%d\0" % (log_id.encode(), partition, n)
    digest = bytearray(hashlib.sha256(text + (b"%d\0" % epoch if epoch else b"")).digest()[:16])
    digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def moment(ms):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"


def first_outcomes(outcomes, partition, begins=()):
    """([first record of each number, in its epoch], violations) of one partition of cert.outcomes. begins: where its epochs begin."""
    firsts, found = [], []
    for r in sorted((r for r in outcomes if r.partition == partition), key=lambda r: r.offset):
        try:
            outcome = json.loads(r.value)
            n, epoch = int(outcome["sequence"]), outcome["data"].get("epoch", 0)
        except (ValueError, KeyError, TypeError):
            found.append(f"outcomes {partition}@{r.offset}: not an outcome")
            continue
        if epoch > len(begins):
            found.append(f"outcomes {partition}@{r.offset}: epoch {epoch}, and there are {len(begins)} corrections")
        if epoch != epoch_of(begins, n):
            continue
        if n <= len(firsts):
            if r.value != firsts[n - 1].value or (r.key or b"") != (firsts[n - 1].key or b""):
                found.append(f"outcomes {partition}@{r.offset}: a fork, number {n} was {brief(firsts[n - 1].value.decode())}"
                             f" and is {brief(r.value.decode())}")
        elif n == len(firsts) + 1:
            firsts.append(r)
        else:
            found.append(f"outcomes {partition}@{r.offset}: a gap, number {n} after {len(firsts)}")
            return firsts, found
    return firsts, found


def check_outcomes(verdicts, outcomes, partitions, log_id, service_marks=None, begins=None):
    """service_marks: of the service key (marks.Marks); without it only the form of marks is looked at."""
    found = []
    for p in range(partitions):
        firsts, wrong = first_outcomes(outcomes, p, (begins or {}).get(p, ()))
        found += wrong
        mine = [v for v in verdicts if v.partition == p]
        found += [f"events {p}@{v.offset}: no outcome" for v in mine[len(firsts):]]
        if len(firsts) > len(mine):
            found.append(f"outcomes {p}: {len(firsts)} for {len(mine)} records")
        previous = "0" * 64
        for n, (v, r) in enumerate(zip(mine, firsts), 1):
            found += _check_outcome(v, n, previous, r, log_id, service_marks)
            previous = hashlib.sha256(r.value).hexdigest()
    return found


def _check_outcome(v, n, previous, r, log_id, service_marks):
    actual = json.loads(r.value)
    found = []
    data = actual.get("data", {})
    if data.get("prev") != previous:
        found.append("prev: the chain is broken")
    detail = data.pop("detail", "")
    if v.detail is not None and detail != v.detail:
        found.append(f"its detail is {brief(detail)}, not {brief(v.detail)}")
    expected = expected_outcome(v, n, data.get("prev"), log_id)
    if v.leaves is None:  # what it brought cannot be examined here
        data.pop("leaves", None)
    found += differences(expected, actual)
    if (r.key or b"") != (v.event.account.encode() if v.event else b""):
        found.append(f"its key is {r.key}")
    mark = service_marks and service_marks.of(r.partition, r.key or b"", r.value)
    names = [name for name, _ in r.headers]
    if names != ["content-type", marks.HEADER] or r.headers[0][1] != b"application/cloudevents+json" or \
            not marks.FORM.fullmatch(r.headers[1][1]) or mark not in (None, r.headers[1][1]):
        found.append(f"its headers are {r.headers}")
    kind = v.event.type if v.event else "?"
    return [f"outcome {v.partition}#{n} of {kind} @{v.offset}: {f}" for f in found]


def earlier_epochs(model, records):
    """(verdicts, begins) of each epoch of each partition that a correction ended, as it was judged then."""
    for p, begins in sorted(model.begins.items()):
        mine = [r for r in records if r.partition == p]
        for epoch in range(len(begins)):
            before = {p: begins[:epoch]}
            then = Model(model.log_id, model.root, model.count, before)
            yield [then.judge(r) for r in mine], before


def check_set_aside(model, records, outcomes, service_marks=None):
    """What counts no longer was judged as what counts, as far as it was published; without a gap."""
    found = []
    for verdicts, begins in earlier_epochs(model, records):
        (p, known), = begins.items()
        epoch, others = len(known), [r for r in outcomes if r.partition == p and epoch_in(r) <= len(known)]
        firsts = first_outcomes(others, p, known)[0]
        last = max((int(json.loads(r.value)["sequence"]) for r in others if epoch_in(r) == epoch), default=0)
        if last > len(firsts):
            found.append(f"outcomes {p}: of epoch {epoch} number {last} is there, and {len(firsts) + 1} is not")
        found += [f"epoch {epoch}: {f}" for f in check_outcomes([v for v in verdicts[:len(firsts)]], others, model.count, model.log_id, service_marks, begins)
                  if f.startswith(f"outcome {p}#") or f.startswith(f"outcomes {p}")]
    return found


def epoch_in(record):
    try:
        return json.loads(record.value)["data"].get("epoch", 0)
    except (ValueError, KeyError, TypeError):
        return 0


# --- the log -----------------------------------------------------------------------------------------

def check_log(model, verdicts, records, service_spki):
    """Derived events: each that was decided appears, as it was decided, and none that was not."""
    kid, found, seen = kid_of(service_spki), [], defaultdict(list)
    for v, r in zip(verdicts, records):
        e = v.event
        if e and e.type in DERIVED and e.kid == kid and v.signer_known:
            seen[(e.data["origin"], e.data.get("epoch", 0), e.seq)].append((v, r))
    expected = {(d.origin, d.epoch, d.seq): d for v in verdicts for d in v.derived}
    set_aside = {(d.origin, d.epoch, d.seq): d for earlier, _ in earlier_epochs(model, records) for v in earlier for d in v.derived}
    for place, d in expected.items():
        if place not in seen:
            found.append(f"{d.type} {place} to {d.account} never appeared in the log")
        else:
            found += [f"{d.type} {place} @{v.partition}/{v.offset}: {f}" for v, _ in seen[place] for f in _check_derived(d, v)]
            if len({r.value for _, r in seen[place]}) > 1:
                found.append(f"{d.type} {place}: published twice with different bytes")
    for place, copies in seen.items():
        if place in set_aside and place not in expected:
            found += [f"{set_aside[place].type} {place} @{v.partition}/{v.offset}, set aside: {f}" for v, _ in copies for f in _check_derived(set_aside[place], v)]
        elif place not in expected:
            v = copies[0][0]
            found.append(f"{v.event.type} {place} @{v.partition}/{v.offset}: nobody emitted this")
        effects = [v for v, _ in copies if v.status not in ("duplicate", "rejected")]
        if len(effects) > 1:
            found.append(f"derived event {place} took effect {len(effects)} times")
    return found


def _check_derived(d, v):
    e = v.event
    found = differences({"type": d.type, "account": d.account, "subject": d.subject, "partition": d.destination, "id": d.id,
                         "time": d.time_ms // 1000},
                        {"type": e.type, "account": e.account, "subject": e.subject, "partition": v.partition, "id": e.id,
                         "time": wire.time_s(e.time)})
    return found + differences(d.data, e.data)


def check_acknowledged(acknowledged, records):
    """(partition, offset, value) of what a sender was told is in the log. The offset is None where a leader answered that it has
    the record already: it does not say where."""
    held = {(r.partition, r.offset): r.value for r in records}
    values = {(r.partition, r.value) for r in records}
    found = []
    for p, o, value in acknowledged:
        if (p, value) not in values if o is None else (p, o) not in held:
            found.append(f"acknowledged record {p}@{o} is not in the log")
        elif o is not None and held[(p, o)] != value:
            found.append(f"acknowledged record {p}@{o} is another one")
    return found


def check_shares(model):
    """At rest: none pending, none open at one end only, and both ends hold the same version."""
    ins = {(name, s["owner_account"], i): a for p in model.partitions for name, a in p.accounts.items()
           for i, s in a.share_in.items() if s["open"]}
    found = []
    for p in model.partitions:
        for name, a in p.accounts.items():
            for i, s in a.shares.items():
                if s["state"] == "pending":
                    found.append(f"share {i} of {name} is pending")
                elif s["state"] == "open":
                    there = ins.pop((s["to"], name, i), None)
                    if there is None:
                        found.append(f"share {i} of {name} to {s['to']} is open at one end only, the owner's")
                    elif not there.shared_in[(name, s["certificate"])]["summary"]["version"] == s["version"] == s["accepted"]:
                        found.append(f"share {i} of {name}: version {s['version']} never arrived")
                    elif differences(a.certs[s["certificate"]]["summary"], there.shared_in[(name, s["certificate"])]["summary"]):
                        found.append(f"share {i} of {name}: the recipient holds another certificate")
    return found + [f"share {i} of {owner} to {name} is open at one end only, the recipient's" for name, owner, i in ins]
