# SPDX-License-Identifier: Apache-2.0
"""docs/audit/schemas and docs/audit/asyncapi.yaml say what the decoder reads, no more and no less.

    schemas.py DECODE EVENTS OUTCOMES

DECODE is the program of decode.c; EVENTS and OUTCOMES are the golden log, as kcat dumps it. Each record of it that the decoder reads is
valid by the schema of its type; so are a heartbeat and a correction, which no log has, and what comes of a correction. Of one record of each form, each member is left out, each gets values of other types, and each object
gets one member more: decoder and schema must say the same of all that comes of it.
"""
import copy
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import yaml

AUDIT = Path(__file__).resolve().parents[2] / "docs/audit"
HOME = AUDIT / "schemas"
SCHEMAS = {p.name: json.loads(p.read_text(encoding="utf-8")) for p in HOME.glob("*.json")}
WRONG = (None, [], {}, 1.5, -1, 0, True, "", "\x07", "no value has\tthis form")
# What no schema can say: how one number is to another.
BEYOND = ("data.certificate.leaves[0].names_total: less than there are names", "subject: must be the source's key", "subject: must be the source's deployment")
KID = "00112233445566778899aabbccddeeff"
HEARTBEAT = {  # no record of the log
    "specversion": "1.0", "type": "certsync.agent.heartbeat.v1", "id": "0192f1d0-1111-7abc-8def-0123456789ab",
    "source": f"//prod.example_0a1b2c3d/accounts/acme/keys/{KID}", "subject": KID, "time": "2026-11-23T12:00:00Z",
    "sequence": "0001795435200000", "datacontenttype": "application/json",
    "data": {"version": "0.1.0", "certificates": 7, "failed": 0, "last_scan": "2026-11-23T11:59:00Z", "spool": 3}}
CORRECTION = {  # beside the log
    "specversion": "1.0", "type": "certsync.system.correction.v1", "id": "0192f1d0-1111-7abc-8def-0123456789ac",
    "source": f"//prod.example_0a1b2c3d/keys/{KID}", "subject": "prod.example", "time": "2026-11-23T12:00:00Z", "datacontenttype": "application/json",
    "data": {"partition": 3, "from": 1042, "reason": "a release took expired leaves"}}


def validator(name):
    store = {f"{HOME.as_uri()}/{file}": schema for file, schema in SCHEMAS.items()}
    resolver = jsonschema.RefResolver(f"{HOME.as_uri()}/{name}", SCHEMAS[name], store)
    return jsonschema.Draft202012Validator(SCHEMAS[name], resolver=resolver)


VALIDATORS = {schema["title"]: validator(name) for name, schema in SCHEMAS.items() if schema["title"].startswith("certsync.")}
OUTCOME = "certsync.outcome.v1"
DECODERS = {OUTCOME: "outcome", HEARTBEAT["type"]: "heartbeat", CORRECTION["type"]: "correction"}  # of all others: event


def decoded(program, documents):
    """What the decoder says of each."""
    lines = "".join(f"{DECODERS.get(kind, 'event')} {text}\n" for kind, text in documents)
    done = subprocess.run([program], input=lines.encode("utf-8", "surrogateescape"), capture_output=True, check=True)
    said = done.stdout.decode("utf-8", "replace").splitlines()
    assert len(said) == len(documents), (len(said), len(documents))
    return said


def golden(path):
    """(kind, text) of each record that could be an event or an outcome."""
    for line in path.read_bytes().splitlines():
        text = json.loads(line.decode("utf-8", "surrogateescape"), strict=False)["payload"]
        try:
            document = json.loads(text)
            if document["type"].startswith("certsync.") and "\n" not in text:
                yield document["type"], text
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            pass


def of_an_epoch(records):
    """Outcomes and derived events as they are after a correction."""
    for kind, text in records:
        if kind == OUTCOME or kind.startswith("certsync.share."):
            document = json.loads(text)
            if isinstance(document.get("data"), dict):
                document["data"]["epoch"] = 1
                yield kind, json.dumps(document, ensure_ascii=False)


def shape(value):
    """Which members there are, all the way down."""
    if isinstance(value, dict):
        return tuple((k, shape(v)) for k, v in sorted(value.items()))
    return tuple(sorted({shape(v) for v in value}, key=str)) if isinstance(value, list) else type(value).__name__


def places(value, path=()):
    """The path of each value within."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(inner, (*path, key))


def at(document, path):
    for key in path:
        document = document[key]
    return document


def changed(document):
    """(what was done, the document then)"""
    for path in [(), *places(document)]:
        if isinstance(at(document, path), dict):
            one = copy.deepcopy(document)
            at(one, path)["surprise"] = 1
            yield f"{path} with a member more", one
        if not path:
            continue
        if isinstance(path[-1], str):
            one = copy.deepcopy(document)
            del at(one, path[:-1])[path[-1]]
            yield f"without {path}", one
        for wrong in WRONG:
            one = copy.deepcopy(document)
            at(one, path[:-1])[path[-1]] = wrong
            yield f"{path} = {wrong!r}", one


def check_golden(program, records, found):
    """One record of each shape that the decoder reads; all of them must be valid."""
    shapes = {}
    for (kind, text), said in zip(records, decoded(program, records)):
        if said != "ok":
            continue
        if kind not in VALIDATORS:
            found.append(f"{kind}: there is no schema of it")
            continue
        document = json.loads(text)
        key = (kind, shape(document))
        if key not in shapes:
            shapes[key] = document
            found += [f"{kind}: {e.json_path}: {e.message[:200]}" for e in VALIDATORS[kind].iter_errors(document)]
    return shapes


def fullest(shapes):
    """Of each type those shapes that bring a member that none before has."""
    seen = set()
    for (kind, _), document in sorted(shapes.items(), key=lambda item: -len(str(item[0][1]))):
        own = {(kind, *[k for k in path if isinstance(k, str)]) for path in places(document)}
        if not own <= seen:
            seen |= own
            yield kind, document


def check_changes(program, shapes, found):
    cases = [(kind, what, one) for kind, document in fullest(shapes) for what, one in changed(document)]
    texts = [(kind, json.dumps(one, ensure_ascii=False, separators=(",", ":"))) for kind, _, one in cases]
    for (kind, what, one), said in zip(cases, decoded(program, texts)):
        valid = VALIDATORS[kind].is_valid(one)
        if valid != (said == "ok") and not said.endswith(BEYOND):
            found.append(f"{kind} {what}: the schema says {'yes' if valid else 'no'}, the decoder: {said}")
    return len(cases)


def check_asyncapi(found):
    document = yaml.safe_load((AUDIT / "asyncapi.yaml").read_text(encoding="utf-8"))
    messages = document["components"]["messages"]
    for message in messages.values():
        schema = SCHEMAS.get(Path(message["payload"]["schema"]["$ref"]).name, {})
        if schema.get("title") != message["name"] or not (AUDIT / message["payload"]["schema"]["$ref"]).exists():
            found.append(f"asyncapi.yaml: {message['name']}: its payload is not its schema")
    if {m["name"] for m in messages.values()} != set(VALIDATORS):
        found.append("asyncapi.yaml: the messages are not those that have a schema")
    channels = [n["$ref"].rsplit("/", 1)[1] for c in document["channels"].values() for n in c["messages"].values()]
    if sorted(channels) != sorted(messages):
        found.append("asyncapi.yaml: not each message is of one channel")

    def references(value):
        for key, inner in value.items() if isinstance(value, dict) else ():
            if key == "$ref" and inner.startswith("#/"):
                yield inner
            yield from references(inner)
    for reference in references(document):
        try:
            at(document, reference[2:].split("/"))
        except KeyError:
            found.append(f"asyncapi.yaml: {reference} is nowhere")


def main(program, events, outcomes):
    found = []
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    beside = [(d["type"], json.dumps(d)) for d in (HEARTBEAT, CORRECTION)]
    records = [*golden(Path(events)), *golden(Path(outcomes))]
    shapes = check_golden(program, [*records, *beside, *of_an_epoch(records)], found)
    kinds = {kind for kind, _ in shapes}
    found += [f"{kind}: no record of it in the golden log" for kind in sorted(set(VALIDATORS) - kinds)]
    count = check_changes(program, shapes, found)
    check_asyncapi(found)
    for line in found[:60]:
        print(line, file=sys.stderr)
    print(f"{len(shapes)} forms of {len(kinds)} types, {count} changes of them: {len(found)} faults")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
