# SPDX-License-Identifier: Apache-2.0
"""Pieces of the recorded log below docs/audit/vectors, as docs/audit/formats.md shows them (docs.py)."""
import hashlib
import importlib.util
import json

from support.proc import REPO

HOME = REPO / "docs/audit/vectors"
LONG = 64  # of base64 and hashes more is not shown


def checker():
    """docs/audit/check_log.py, which stands alone and belongs to no package."""
    spec = importlib.util.spec_from_file_location("check_log", REPO / "docs/audit/check_log.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _short(value):
    if isinstance(value, dict):
        return {name: _short(v) for name, v in value.items()}
    if isinstance(value, list):
        return [_short(v) for v in value]
    return f"{value[:24]}… ({len(value)} characters)" if isinstance(value, str) and len(value) > LONG else value


def _block(language, text):
    return f"```{language}\n{text}\n```"


def _json(text):
    return _block("json", json.dumps(_short(json.loads(text)), indent=1, ensure_ascii=False))


def _record(check, kind):
    return next(r for r in check.read(HOME / "events.json")[0] if f'"certsync.{kind}.v1"' in (r["payload"] or ""))


def shown(what, kind="certificate.upload"):
    """what: event, outcome or hashes; of the first event of a type."""
    check = checker()
    record = _record(check, kind)
    outcomes = list(check.read(HOME / "outcomes.json")[0])
    at = next(i for i, o in enumerate(outcomes) if json.loads(o["value"])["data"]["offset"] == record["offset"])
    if what == "event":
        return _json(record["payload"])
    if what == "outcome":
        return _json(outcomes[at]["payload"])
    event = json.loads(record["payload"])
    signed = check.signed_text(record["value"])
    rows = [("partition, offset, key", f"{record['partition']}, {record['offset']}, `{record['key'].decode()}`"),
            ("the broker's time", f"{record['ts']} ms"),
            *((f"header `{n.decode()}`", f"`{v.decode()}`") for n, v in record["headers"]),
            ("length of the value", f"{len(record['value'])} bytes"),
            ("SHA-256 of the value", f"`{hashlib.sha256(record['value']).hexdigest()}`"),
            ("what is signed begins with", f"`{signed[:len(signed) - len(record['value'])].decode()}` (and one blank)"),
            ("SHA-256 of what is signed", f"`{hashlib.sha256(signed).hexdigest()}`")]
    for role, proven, _, sealed, _ in check.proofs(event):
        text = check.proof_text(event, event["subject"], sealed, proven)
        rows += [(f"SHA-256 of the sealed key ({role})", f"`{hashlib.sha256(sealed).hexdigest()}`"),
                 (f"SHA-256 of the leaf ({role})", f"`{hashlib.sha256(proven).hexdigest()}`"),
                 (f"SHA-256 of what the leaf's key signs ({role})", f"`{hashlib.sha256(text).hexdigest()}`")]
    rows += [("hash of the record", f"`{check.record_hash(record)}`"),
             ("SHA-256 of the outcome's value", f"`{hashlib.sha256(outcomes[at]['value']).hexdigest()}`")]
    return "| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows)
