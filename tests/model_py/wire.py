# SPDX-License-Identifier: Apache-2.0
"""Records of cert.events: their hash, their strict decoding, and outcomes' records.

A record is a `Record`; decode() gives an `Event`, or raises Refused with the code that its bytes alone decide.
"""
import base64
import binascii
import calendar
import hashlib
import json
import re
import time
from collections import namedtuple

from model_py import policy
from model_py.der import Refused

EVENT_MAX, EVENT_DEPTH, SEQ_MAX, CHAIN_MAX = 256 * 1024, 8, 1 << 53, 10
CONTENT_TYPE = b"application/cloudevents+json"

Record = namedtuple("Record", "partition offset timestamp_ms key value headers")


class Event:
    """type is the short name (certificate.upload); data the decoded members, base64 still as text."""

    __slots__ = ("type", "id", "log_id", "account", "kid", "subject", "time", "seq", "data", "signature", "value")


def sized(data):
    return (len(data).to_bytes(8, "big") + data) if data is not None else b"\xff" * 8


def record_sha256(r):
    parts = [r.timestamp_ms.to_bytes(8, "big"), sized(r.key), len(r.headers).to_bytes(8, "big")]
    for name, value in r.headers:
        parts += [sized(name.encode() if isinstance(name, str) else name), sized(value)]
    return hashlib.sha256(b"".join(parts) + sized(r.value)).hexdigest()


def fields(*parts):
    return b"".join(sized(p) for p in parts)


def pae(value):
    return b"DSSEv1 %d %s %d %s" % (len(CONTENT_TYPE), CONTENT_TYPE, len(value), value)


def murmur2(data):
    """Kafka's, written from the Java client's Utils.murmur2."""
    length, mask = len(data), 0xFFFFFFFF
    h = (0x9747B28C ^ length) & mask
    at = 0
    while length - at >= 4:
        k = int.from_bytes(data[at:at + 4], "little")
        k = (k * 0x5BD1E995) & mask
        k ^= k >> 24
        k = (k * 0x5BD1E995) & mask
        h = ((h * 0x5BD1E995) & mask) ^ k
        at += 4
    rest = data[at:]
    if rest:
        h ^= int.from_bytes(rest, "little")
        h = (h * 0x5BD1E995) & mask
    h ^= h >> 13
    h = (h * 0x5BD1E995) & mask
    return h ^ (h >> 15)


def partition_of(account, partitions):
    return (murmur2(account.encode()) & 0x7FFFFFFF) % partitions


# --- forms of identifiers ----------------------------------------------------------------------------

def _form(pattern):
    return re.compile(pattern + r"\Z", re.ASCII).match


DEPLOYMENT = _form(r"[a-z0-9][a-z0-9.-]{0,62}")
NONCE = _form(r"[0-9a-f]{32}")
ACCOUNT = _form(r"[a-z0-9][a-z0-9._-]{0,62}")
OWNER = _form(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,126}")
KID = _form(r"[0-9a-f]{32}")
UUID = _form(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SEQUENCE = _form(r"[0-9]{16}")
TAG = _form(r"[A-Za-z0-9][A-Za-z0-9._:=/-]{0,62}")
PATTERN = _form(r"[A-Za-z0-9._*-]{1,255}")
TIME = _form(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z")
NAMES = {"international": _form(r"[A-Za-z0-9._-]{1,128}"), "sm2": _form(r"[A-Za-z0-9_-]{1,128}")}
RIGHTS = ["upload", "delete", "share", "csr", "read", "enroll"]
ROLES = ["admin", "issuer", "service", "auditor", "custodian"]


def pattern_matches(pattern, name):
    return re.match("".join(".*" if c == "*" else re.escape(c) for c in pattern) + r"\Z", name, re.DOTALL) is not None


def time_s(text):
    return calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ"))


# --- strict decoding ---------------------------------------------------------------------------------

def _malformed(*_):
    raise Refused("event.malformed")


def _pairs(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        _malformed()
    return found


def _integer(text):
    value = int(text) if len(text) <= 20 else SEQ_MAX
    if abs(value) >= SEQ_MAX:
        _malformed()
    return value


def _too_deep(value, depth=1):
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return inner is not None and (depth > EVENT_DEPTH or any(_too_deep(v, depth + 1) for v in inner))


def strict_json(data):
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_pairs, parse_float=_malformed,
                           parse_constant=_malformed, parse_int=_integer)
    except (ValueError, RecursionError):
        _malformed()
    if _too_deep(value):
        _malformed()
    return value


def _check(good):
    if not good:
        _malformed()


def decode_base64(text):
    _check(isinstance(text, str))
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        _malformed()
    _check(base64.b64encode(raw).decode() == text)
    return raw


def members(value, required, optional=()):
    _check(isinstance(value, dict))
    _check(set(required) <= set(value) <= set(required) | set(optional))


def _is(form, value):
    _check(isinstance(value, str) and form(value))


def _text(value, most=128, least=1):
    _check(isinstance(value, str) and least <= len(value) <= most and all(" " <= c <= "~" for c in value))


def _number(value, least, most):
    _check(isinstance(value, int) and not isinstance(value, bool) and least <= value <= most)


def _flag(data, *names):
    for name in names:
        _check(isinstance(data.get(name, False), bool))


def _time(value):
    _is(TIME, value)
    try:
        time_s(value)
    except (ValueError, OverflowError):
        _malformed()


def _one_of(value, choices):
    _check(isinstance(value, str) and value in choices)


def _list(value, choices=None):
    _check(isinstance(value, list) and all(isinstance(v, str) for v in value))
    _check(choices is None or (all(v in choices for v in value) and len(set(value)) == len(value)))


def _genesis(d):
    members(d, ["deployment", "nonce", "partitions", "ruleset"])
    _is(DEPLOYMENT, d["deployment"])
    _is(NONCE, d["nonce"])
    _number(d["partitions"], 1, 1 << 31)
    _number(d["ruleset"], 1, SEQ_MAX)


def _ruleset(d):
    members(d, ["ruleset"])
    _number(d["ruleset"], 1, SEQ_MAX)


def _trust_add(d):
    members(d, ["role", "key"], ["label"])
    _one_of(d["role"], ROLES)
    decode_base64(d["key"])
    _text(d.get("label", "x"))


def _trust_remove(d):
    members(d, ["role"])
    _one_of(d["role"], ROLES)


COUNTS = {"requests": 100000, "keys": 1000000, "tokens": 100000, "shares_out": 100000, "shares_in": 100000, "installations": 1000000, "tags": 16000000,
          "bytes": 10**12}


def _limits(d):
    if "limits" in d:
        limits = d["limits"]
        members(limits, [], ["certificates", "shares", *COUNTS, "incomplete_chain"])
        _number(limits.get("certificates", 0), 0, 1000000)
        _number(limits.get("shares", 0), 0, 1000)
        for name, most in COUNTS.items():
            _number(limits.get(name, 0), 0, most)
        _one_of(limits.get("incomplete_chain", "note"), ["note", "reject"])


def _policy(d):
    if "policy" in d:
        p = d["policy"]
        members(p, [], ["keys", "days", "issuers", "dns", "wildcards"])
        _check(p)
        for name, valid in (("keys", policy.keys_valid), ("issuers", policy.issuers_valid), ("dns", policy.patterns_valid)):
            if name in p:
                _list(p[name])
                _check(valid(p[name]))
        _number(p.get("days", 0), 0, 36500)
        _one_of(p.get("wildcards", "allow"), ["allow", "reject"])


def _account(d):
    _one_of(d.get("site", "cn"), ["cn", "intl"])
    _is(OWNER, d.get("owner", "x"))
    _flag(d, "verified")
    _limits(d)
    _policy(d)


def _register(d):
    members(d, ["site", "owner", "verified"], ["limits", "policy"])
    _account(d)


def _update(d):
    members(d, [], ["site", "owner", "verified", "limits", "policy"])
    _check(d)
    _account(d)


def _dns(d):
    if "dns" in d:
        _list(d["dns"])
        _check(policy.patterns_valid(d["dns"], 1))


def _enroll(d):
    members(d, ["key", "can", "names"], ["dns", "label", "uses", "expires", "grant"])
    _dns(d)
    decode_base64(d["key"])
    _list(d["can"], RIGHTS)
    _is(PATTERN, d["names"])
    _text(d.get("label", "x"))
    token = "enroll" in d["can"]
    _check(token == ("grant" in d) and (token or not ("uses" in d or "expires" in d)))
    if "uses" in d:
        _number(d["uses"], 1, SEQ_MAX)
    if "expires" in d:
        _time(d["expires"])
    if token:
        members(d["grant"], ["can", "names"], ["dns"])
        _dns(d["grant"])
        _list(d["grant"]["can"], RIGHTS)
        _is(PATTERN, d["grant"]["names"])


def _revoke(d):
    members(d, [], ["reason"])
    _text(d.get("reason", "x"))


def _rotate(d):
    members(d, ["key"])
    decode_base64(d["key"])


def _part(d):
    _check(isinstance(d.get("chain"), list) and d["chain"])
    for text in d["chain"]:
        decode_base64(text)
    for name in ("key", "pop"):
        if name in d:
            decode_base64(d[name])
    _check(d.get("csr", True) is True)


def _upload(d, more=()):
    _check(isinstance(d, dict))
    sm2 = d.get("algorithm") == "sm2"
    parts = ["sign", "encrypt"] if sm2 else ["chain"]
    own = [] if sm2 else ["key", "pop", "csr"]
    members(d, ["name", "algorithm", *parts, *more], ["replace", "force", "tags", *own, *([] if more else ["place"])])
    _place(d.get("place", "/"))
    _one_of(d["algorithm"], ["international", "sm2"])
    _text(d["name"])
    _flag(d, "replace", "force")
    _tags(d)
    if sm2:
        for name in parts:
            members(d[name], ["chain"], ["key", "pop"])
            _part(d[name])
    else:
        _part(d)


def _issue(d):
    _upload(d, ["source"])
    _one_of(d["source"], ["official", "test"])


def _tags(d):
    if "tags" in d:
        _list(d["tags"])
        _check(len(d["tags"]) <= 16 and all(TAG(t) for t in d["tags"]))


def _plain(value, most):
    _check(isinstance(value, str) and len(value.encode()) <= most and all(c >= " " and not "\x7f" <= c <= "\x9f" for c in value))


def _revision(d):
    members(d, [], ["name", "tags", "contact", "note", "chain", "sign", "encrypt"])
    _check(d and ("sign" in d) == ("encrypt" in d) and not ("chain" in d and "sign" in d))
    _text(d.get("name", "x"), least=0)
    _tags(d)
    _plain(d.get("contact", ""), 128)
    _plain(d.get("note", ""), 256)
    for part in [d] * ("chain" in d) + [d[n] for n in ("sign", "encrypt") if n in d]:
        _check(isinstance(part, dict) and (part is d or set(part) == {"chain"}))
        _part({"chain": part["chain"]})


def _place(value):
    _check(isinstance(value, str))
    if not re.fullmatch(r"sha256:[0-9a-f]{32}", value, re.ASCII):
        _check(value.startswith("/"))
        _plain(value, 255)


def _seen(d):
    members(d, ["place", "sha256"])
    _place(d["place"])
    _is(_form("[0-9a-f]{64}"), d["sha256"])


def _gone(d):
    members(d, ["place"], ["delete"])
    _place(d["place"])
    _flag(d, "delete")


def _delete(d):
    members(d, [], ["cascade", "from"])
    _flag(d, "cascade")
    _is(ACCOUNT, d.get("from", "x"))


def _share(d):
    members(d, ["to"])
    _is(ACCOUNT, d["to"])


def _csr_add(d):
    members(d, ["name", "csr", "key", "pop"])
    _text(d["name"])
    for name in ("csr", "key", "pop"):
        decode_base64(d[name])


def _nothing(d):
    members(d, [])


def _epoch(d):
    _number(d.get("epoch", 0), 0, SEQ_MAX)


def _offer(d):
    members(d, ["share", "owner_account", "owner", "site", "version", "origin", "certificate"], ["epoch"])
    _epoch(d)
    _is(UUID, d["share"])
    _is(ACCOUNT, d["owner_account"])
    _is(OWNER, d["owner"])
    _one_of(d["site"], ["cn", "intl"])
    _number(d["version"], 1, SEQ_MAX)
    _number(d["origin"], 0, 1 << 31)
    _check(isinstance(d["certificate"], dict))


def _withdraw(d):
    members(d, ["share", "owner_account", "origin", "code"], ["epoch"])
    _epoch(d)
    _is(UUID, d["share"])
    _is(ACCOUNT, d["owner_account"])
    _number(d["origin"], 0, 1 << 31)
    _text(d["code"], least=0)


def _answer(d):
    members(d, ["share", "recipient", "version", "answer", "origin"], ["code", "epoch"])
    _epoch(d)
    _is(UUID, d["share"])
    _is(ACCOUNT, d["recipient"])
    _number(d["version"], 0, SEQ_MAX)
    _one_of(d["answer"], ["accepted", "refused", "removed"])
    _text(d.get("code", ""), least=0)
    _number(d["origin"], 0, 1 << 31)


# type -> (whose source: "" root's, "account"; what the subject is; data)
TYPES = {
    "system.genesis": ("", DEPLOYMENT, _genesis), "system.ruleset": ("", DEPLOYMENT, _ruleset),
    "trust.add": ("", KID, _trust_add), "trust.remove": ("", KID, _trust_remove),
    "account.register": ("account", ACCOUNT, _register), "account.update": ("account", ACCOUNT, _update),
    "agent.enroll": ("account", KID, _enroll), "agent.revoke": ("account", KID, _revoke),
    "agent.rotate": ("account", KID, _rotate),
    "certificate.upload": ("account", UUID, _upload), "certificate.issue": ("account", UUID, _issue),
    "certificate.update": ("account", UUID, _revision),
    "certificate.seen": ("account", UUID, _seen), "certificate.gone": ("account", UUID, _gone),
    "certificate.delete": ("account", UUID, _delete), "certificate.share": ("account", UUID, _share),
    "certificate.unshare": ("account", UUID, _share), "csr.add": ("account", UUID, _csr_add),
    "csr.delete": ("account", UUID, _nothing), "share.offer": ("account", UUID, _offer),
    "share.withdraw": ("account", UUID, _withdraw), "share.answer": ("account", UUID, _answer),
}
SHORT = {f"certsync.{name}.v1": name for name in TYPES}
SOURCE = re.compile(r"//([a-z0-9][a-z0-9.-]{0,62}_[0-9a-f]{8})/(?:accounts/([a-z0-9][a-z0-9._-]{0,62})/)?keys/([0-9a-f]{32})\Z")


def signature_of(r):
    found = [value for name, value in r.headers if name == "certsync-sig"]
    try:
        raw = decode_base64(found[0].decode("ascii")) if len(found) == 1 and found[0] else b""
    except (Refused, UnicodeDecodeError):
        raw = b""
    if not 1 <= len(raw) <= 80:
        raise Refused("event.unsigned")
    return raw


def decode(r):
    """The Event that a record holds; Refused: event.too_large, event.unsigned, event.malformed, event.unknown_type."""
    if r.value is not None and len(r.value) > EVENT_MAX:
        raise Refused("event.too_large")
    signature = signature_of(r)
    if r.value is None:
        _malformed()
    e = strict_json(r.value)
    members(e, ["specversion", "type", "id", "source", "subject", "time", "sequence", "datacontenttype", "data"])
    _check(e["specversion"] == "1.0" and e["datacontenttype"] == "application/json" and isinstance(e["type"], str))
    _is(UUID, e["id"])
    _check(isinstance(e["source"], str))
    source = SOURCE.match(e["source"])
    _check(source)
    _text(e["subject"], 63)
    _time(e["time"])
    _is(SEQUENCE, e["sequence"])
    seq = int(e["sequence"])
    _number(seq, 1, SEQ_MAX - 1)
    if e["type"] not in SHORT:
        raise Refused("event.unknown_type")
    event = Event()
    event.type, event.id, event.subject, event.time, event.seq = SHORT[e["type"]], e["id"], e["subject"], e["time"], seq
    event.log_id, event.account, event.kid = source[1], source[2] or "", source[3]
    event.data, event.signature, event.value = e["data"], signature, r.value
    place, subject, data = TYPES[event.type]
    _check(bool(event.account) == (place == "account"))
    _check(subject(event.subject) and (not event.type.startswith("account.") or event.subject == event.account)
           and (not event.type.startswith("system.") or event.subject == event.log_id.split("_")[0]))
    data(event.data)
    return event
