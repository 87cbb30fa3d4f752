# SPDX-License-Identifier: Apache-2.0
"""The rule book, a second time: Model.judge() says of each record of cert.events what must be decided, and keeps the catalogs.

Records of one partition come in the order of their offsets; partitions may be interleaved in any way, as each is judged by
itself. Where the design leaves open which of two broken rules is named, the order here is the one that real logs show. What a verdict emits is in Verdict.derived; that it really appears in the log is for audit.py to see.
"""
import hashlib
import time
import uuid
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from model_py import der, policy, wire
from model_py.der import CannotExamine, Refused

SEEN_MAX, OLD_VERSIONS_MAX, RULESET_LATEST = 128, 10, 1
PLACES_MAX = 8  # of a certificate at one host
DAY_MS = 86400 * 1000
AGE_MAX_MS = 30 * DAY_MS  # of an event's id
TOMBSTONE_MS, TOMBSTONES_AT_ONCE = AGE_MAX_MS + DAY_MS, 8
OUTCOMES_KEPT = 1000  # of an account, beside those that are awaited
COPIES = ("event.replayed", "event.revoked_signer")
SEALED_MIN, SEALED_MAX, POP_MAX = 1 + 16 + 32 + 16, 8 * 1024, 1024
DEFAULT_CERTIFICATES, DEFAULT_SHARES = 1000, 20
DEFAULT_COUNTS = {"requests": 100, "keys": 10000, "tokens": 1000, "shares_out": 1000, "shares_in": 1000,
                  "installations": 100000, "tags": 10000,
                  "bytes": 50_000_000}
DERIVED = ("share.offer", "share.withdraw", "share.answer")
RIGHT_OF = {"certificate.upload": "upload", "certificate.update": "upload", "certificate.seen": "upload",
            "certificate.gone": "upload", "certificate.delete": "delete", "certificate.share": "share",
            "certificate.unshare": "share", "csr.add": "csr", "csr.delete": "csr", "agent.enroll": "enroll"}
ROLE_OF = {"account.register": "admin", "account.update": "admin", "agent.revoke": "admin", "certificate.issue": "issuer",
           "share.offer": "service", "share.withdraw": "service", "share.answer": "service"}


def size_of(*texts):
    """How many bytes the base64 texts hold."""
    return sum(len(t) // 4 * 3 - t[-2:].count("=") for t in texts)


def size_of_material(parts):
    return sum(size_of(*x["chain"], x["key"]) for x in parts)


def kid_of(spki):
    return hashlib.sha256(spki).hexdigest()[:32]


@lru_cache(maxsize=4096)
def _ecdsa_key(spki):
    key = load_der_public_key(spki)
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ValueError("not P-256")
    return key


def signature_good(spki, event):
    try:
        _ecdsa_key(spki).verify(event.signature, wire.pae(event.value), ec.ECDSA(hashes.SHA256()))
        return True
    except (InvalidSignature, ValueError):
        return False


class Verdict:
    def __init__(self, record):
        self.partition, self.offset, self.time_ms = record.partition, record.offset, record.timestamp_ms
        self.record_sha256 = wire.record_sha256(record)
        self.event, self.epoch = None, 0
        self.status, self.code, self.subject = "applied", "", ""
        self.detail = None          # what it must be, where the rules say it
        self.version = self.watermark = self.gap = 0
        self.label = self.name = ""  # the sender's label; the name of what it is about
        self.leaves = []            # None: what the event brings cannot be examined here
        self.notes = []             # what clients will say of a certificate that was taken
        self.admitted = False       # its sender may send, and it is new
        self.signer_known = False   # its outcome is kept for the account, but for
        self.leaves_nothing = False  # a derived event that changes nothing
        self.concludes = []         # (share event id, status, code)
        self.derived = []

    def tell(self, summary):
        """The certificate that it is about."""
        self.name, self.version = summary["name"], summary["version"]
        self.leaves = [{"sha256": x["sha256"], "serial": x["serial"],
                        "not_after": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(x["not_after_s"]))} for x in summary["leaves"]]

    def __repr__(self):
        kind = self.event.type if self.event else "?"
        return f"<{self.partition}@{self.offset} {kind} {self.status} {self.code}>"


class Derived:
    """An event that the log must hold: from partition `origin`, number `seq` of it, in partition `destination`."""

    def __init__(self, origin, seq, destination, account, kind, subject, data, log_id, source_event, n, time_ms, epoch=0):
        self.origin, self.seq, self.destination, self.account, self.epoch = origin, seq, destination, account, epoch
        self.type, self.subject, self.data, self.time_ms = kind, subject, data, time_ms
        text = b"certsync.derived.v1\0%s\0%s\0%d\0" % (log_id.encode(), source_event.encode(), n)
        digest = bytearray(hashlib.sha256(text + (b"%d\0" % epoch if epoch else b"")).digest()[:16])
        digest[6], digest[8] = digest[6] & 0x0F | 0x80, digest[8] & 0x3F | 0x80
        self.id = str(uuid.UUID(bytes=bytes(digest)))


class Account:
    def __init__(self):
        self.doc = None          # until account.register
        self.keys = {}           # kid -> enrolled key
        self.certs = {}          # id -> certificate, or its tombstone
        self.material = {}       # id -> parts
        self.names = {}          # name -> id
        self.csrs, self.csr_spki, self.csr_names = {}, {}, {}
        self.shares = {}         # share id -> the owner's end
        self.share_in = {}       # share id -> the recipient's end
        self.shared_in = {}      # (owner account, certificate id) -> entry, while open
        self.installed = {}      # (certificate id, host) -> [{place, version, since_ms}]
        self.outcomes = {}       # event id, with "/again" for that of a copy -> [offset, conclusion]
        self.window = {}         # the newest, those that are awaited with "/awaited" -> number of the outcome, the oldest first
        self.awaited = set()     # event ids

    def count(self, what):
        """How many the account has of what its limits count, beside certificates."""
        live = [k for k in self.keys.values() if k["state"] == "enrolled"]
        return {"requests": lambda: len(self.csr_names),
                "keys": lambda: sum("enroll" not in k["can"] for k in live),
                "tokens": lambda: sum("enroll" in k["can"] and k["uses_left"] != 0 for k in live),
                "shares_out": lambda: sum(s["state"] != "closed" for s in self.shares.values()),
                "shares_in": lambda: len(self.shared_in),
                "installations": lambda: len(self.installed),
                "tags": lambda: sum(len(x["summary"]["tags"]) for x in self.certs.values() if not x["deleted"]),
                "bytes": lambda: self.bytes}[what]()

    @property
    def bytes(self):
        return (sum(size_of_material(m) for m in self.material.values())
                + sum(size_of(x["csr"], x["key"]) for x in self.csrs.values() if not x["deleted"]))

    def room(self, what, more=1, reserve=0):
        limit = self.doc["limit_" + what]
        if more > 0 and self.count(what) + more > limit + reserve * limit // 10:
            raise Refused("quota." + what)

    def room_for(self, held, tags, material):
        """For what a certificate is to have: more tags and bytes than it has. What is there may grow a tenth above the limit."""
        self.room("tags", len(tags) - (len(held["summary"]["tags"]) if held else 0) if tags else 0)
        self.room("bytes", size_of_material(material) - (size_of_material(self.material[held["id"]]) if held else 0),
                  reserve=1 if held else 0)


class Partition:
    def __init__(self, number):
        self.number, self.next_offset, self.derived, self.outcomes, self.epoch = number, 0, 0, 0, 0
        self.system = None
        self.trust, self.streams, self.seen, self.accounts = {}, {}, {}, {}
        self.tombstones = {}  # number -> what is to be forgotten, and since when; the oldest first

    def account(self, name):
        return self.accounts.setdefault(name, Account())


def _chain_ends(facts, leaves):
    """Where a CA certificate ends before the leaves do; 0 where none does."""
    ends = min((f[2] for f in facts if f[2] is not None), default=None)
    return max(ends, 1) if ends is not None and ends < min(x.not_after_s for x in leaves) else 0


def epoch_of(begins, n):
    """The epoch of outcome n, where epochs 1, 2, ... begin at these numbers."""
    return max((k for k, first in enumerate(begins, 1) if first <= n), default=0)


class Model:
    """begins: {partition: where its epochs 1, 2, ... begin}, as root's corrections say."""

    def __init__(self, log_id, root_spki, partitions, begins=None):
        self.begins = begins or {}
        self.log_id, self.root, self.root_kid = log_id, root_spki, kid_of(root_spki)
        self.count = partitions
        self.partitions = [Partition(n) for n in range(partitions)]

    # --- every event

    def judge(self, record):
        p, v = self.partitions[record.partition], Verdict(record)
        if record.offset != p.next_offset:
            raise ValueError(f"offset {record.offset} of partition {p.number} after {p.next_offset - 1}")
        p.next_offset += 1
        p.outcomes += 1
        v.epoch = epoch_of(self.begins.get(p.number, ()), p.outcomes)
        if v.epoch != p.epoch:
            p.epoch, p.derived = v.epoch, 0
        try:
            v.event = wire.decode(record)
            v.subject = v.event.subject
            self._judge(p, v, v.event)
        except Refused as e:
            v.status, v.code = "rejected", e.code
            v.derived, v.concludes = [], []
            self._brought(v)
        self._named(v)
        self._remember(p, v)
        return v

    def _judge(self, p, v, e):
        if e.log_id != self.log_id:
            same_deployment = e.log_id.split("_")[0] == self.log_id.split("_")[0]
            raise Refused("event.incarnation" if same_deployment else "event.deployment")
        if e.account and wire.partition_of(e.account, self.count) != p.number:
            raise Refused("event.misrouted")
        if p.system is None:
            self._genesis(p, v, e)
            return
        role, spki, ended, agent = self._signer(p, e)
        if not signature_good(spki, e):
            raise Refused("event.bad_signature")
        v.label = agent["label"] if agent else p.trust[e.kid]["label"] if role != "root" else ""
        if ended:
            v.signer_known = True
            raise Refused("event.revoked_signer")
        v.signer_known = True
        if not self._sequence(p, v, e, role):
            return
        v.admitted = True
        self._forget(p, v)
        self._age(v, e)
        self._right(v, e, role, agent)
        if e.account:
            account = p.account(e.account)
            if account.doc is None and e.type not in ("account.register", "share.offer", "share.withdraw"):
                raise Refused("account.unknown")
            handler = getattr(self, "_" + e.type.replace(".", "_"))
            handler(p, v, e, account, agent)
        else:
            getattr(self, "_" + e.type.replace(".", "_"))(p, v, e)

    @staticmethod
    def _named(v):
        """What the event itself names, where its sender is proven."""
        if v.signer_known and not v.name and v.event.type in ("certificate.upload", "certificate.issue", "csr.add"):
            v.name = v.event.data["name"]

    def _brought(self, v):
        """The leaves of what was refused, where their bytes break no rule."""
        e = v.event
        if not v.admitted or e.type not in ("certificate.upload", "certificate.issue", "certificate.update"):
            return
        try:
            v.leaves = [{"sha256": x["sha256"], "serial": x["serial"], "not_after": time.strftime(
                "%Y-%m-%dT%H:%M:%SZ", time.gmtime(x["not_after_s"]))} for x in (f["leaf"].summary() for f in self._brought_by(e))]
        except Refused:
            v.leaves = []
        except CannotExamine:
            v.leaves = None

    def _brought_by(self, e):
        return self._chains(*self._revised(e)) if e.type == "certificate.update" else self._content(e)

    def _genesis(self, p, v, e):
        d = e.data
        if (e.type != "system.genesis" or v.offset != 0 or e.kid != self.root_kid or not signature_good(self.root, e)
                or f"{d['deployment']}_{d['nonce'][:8]}" != self.log_id or d["partitions"] != self.count):
            raise Refused("system.order")
        if d["ruleset"] > RULESET_LATEST:
            raise CannotExamine("a ruleset from the future")
        v.signer_known = True
        p.system = {"log": e.log_id, "partitions": d["partitions"], "ruleset": d["ruleset"]}
        self._sequence(p, v, e, "root")

    def _signer(self, p, e):
        """(role, SPKI, whether it ended, enrolled key)"""
        if e.kid == self.root_kid:
            return "root", self.root, False, None
        trusted = p.trust.get(e.kid)
        if trusted:
            return trusted["role"], trusted["key"], bool(trusted["removed_ms"]), None
        agent = p.account(e.account).keys.get(e.kid) if e.account else None
        if agent is None:
            raise Refused("event.unknown_signer")
        return "agent", agent["key"], agent["state"] != "enrolled", agent

    def _sequence(self, p, v, e, role):
        if role == "service" and e.type not in DERIVED:
            raise CannotExamine("the service's key under an event that it never sends")
        epoch = f".{e.data['epoch']}" if e.data.get("epoch") else ""
        stream = {"service": lambda: f"p{e.data['origin']}{epoch}", "agent": lambda: f"{e.account}/{e.kid}"}.get(role, lambda: e.kid)()
        watermark, seen = p.streams.get(stream, 0), p.seen.setdefault(stream, {})
        if e.seq <= watermark:
            if e.id in seen:
                v.status = "duplicate"
                return False
            v.watermark = watermark
            raise Refused("event.replayed")
        if role == "agent" and watermark:
            v.gap = e.seq - watermark - 1
        p.streams[stream] = e.seq
        seen.pop(e.id, None)
        seen[e.id] = e.seq
        while len(seen) > SEEN_MAX:
            seen.pop(next(iter(seen)))
        return True

    @staticmethod
    def _bury(p, v, key):
        """What is deleted or closed is forgotten when no event that was made before can be accepted any more."""
        p.tombstones[max(p.tombstones, default=0) + 1] = {"key": key, "at_ms": v.time_ms}

    @staticmethod
    def _forget(p, v):
        over = []
        for n, t in p.tombstones.items():
            if len(over) == TOMBSTONES_AT_ONCE or t["at_ms"] + TOMBSTONE_MS >= v.time_ms:
                break
            over.append(n)
        for n in over:
            kind, account, name = p.tombstones.pop(n)["key"].split("/")
            a = p.account(account)
            del {"cert": a.certs, "csr": a.csrs, "share": a.shares, "key": a.keys}[kind][name]
            if kind == "key":
                for of_senders in (p.streams, p.seen):
                    of_senders.pop(f"{account}/{name}", None)

    @staticmethod
    def _age(v, e):
        made = uuid.UUID(e.id)
        made_ms = made.int >> 80 if made.version == 7 else wire.time_s(e.time) * 1000
        if e.type in DERIVED or made_ms >= v.time_ms - AGE_MAX_MS:
            return
        made_s, came_s = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms // 1000)) for ms in (made_ms, v.time_ms))
        v.detail = f"By its sender's clock it was made at {made_s}; it came at {came_s}."
        raise Refused("event.too_old")

    def _right(self, v, e, role, agent):
        if e.type.startswith(("system.", "trust.")):
            good = role == "root"
        elif e.type in ROLE_OF:
            good = role == ROLE_OF[e.type]
        elif e.type == "agent.enroll" and role == "admin":
            good = True
        elif role != "agent":
            good = False
        elif agent["expires_s"] and v.time_ms // 1000 >= agent["expires_s"]:
            good = False
        elif e.type in RIGHT_OF:
            good = RIGHT_OF[e.type] in agent["can"]
            if e.type == "certificate.upload" and e.data.get("csr") is True:
                good = good and "csr" in agent["can"]
            if e.type == "certificate.gone" and e.data.get("delete"):
                good = good and "delete" in agent["can"]
            if good and e.type == "agent.enroll":
                good = self._may_enroll(e.data, agent)
        else:
            good = "enroll" not in agent["can"] and (e.type == "agent.rotate" or e.subject == e.kid)
        if not good:
            raise Refused("event.forbidden")

    @staticmethod
    def _may_enroll(d, token):
        if token["uses_left"] == 0:
            return False
        grant, asked = token["grant"], set(d["can"])
        if "enroll" in asked or not asked <= set(grant["can"]):
            return False
        names, dns = d["names"], d.get("dns", [])
        if not policy.within(dns, grant["dns"]) or not policy.within(dns, token["dns"]):
            return False
        return (names == grant["names"] or grant["names"] == "*"
                or ("*" not in names and wire.pattern_matches(grant["names"], names)))

    def _remember(self, p, v):
        """The outcomes that are kept: of each event the newest, of its copies beside it; those that are awaited are not written
        over. Then how events that were awaited ended."""
        e = v.event
        if (e and v.signer_known and e.account and v.status != "duplicate" and not v.leaves_nothing
                and not (e.type in DERIVED and v.status == "rejected")):
            a, copy = p.account(e.account), v.status == "rejected" and v.code in COPIES
            member = e.id + ("/again" if copy else "")
            if copy or e.type != "certificate.share" or member not in a.awaited:
                a.outcomes[member] = [v.offset, None]
                a.awaited.discard(member)
                a.window.pop(member, None)
                if v.status == "pending":
                    a.awaited.add(e.id)
                    member += "/awaited"
                self._window(a, member, p.outcomes)
        for share, status, code in v.concludes:
            a = p.account(e.account)
            if share in a.awaited:
                a.outcomes[share][1] = {"status": status, "code": code, "by": e.id, "n": p.outcomes}
                a.awaited.remove(share)
                a.window.pop(share + "/awaited", None)
                self._window(a, share, p.outcomes)

    @staticmethod
    def _window(a, member, n):
        a.window[member] = n
        while len(a.window) > OUTCOMES_KEPT:
            oldest = next(iter(a.window))
            del a.window[oldest]
            a.outcomes.pop(oldest, None)  # an awaited one stays

    # --- system and trust

    def _system_genesis(self, p, v, e):
        raise Refused("system.order")

    def _system_ruleset(self, p, v, e):
        if e.data["ruleset"] != p.system["ruleset"] + 1:
            raise Refused("system.ruleset")
        raise CannotExamine("a ruleset from the future")

    def _trust_add(self, p, v, e):
        spki = wire.decode_base64(e.data["key"])
        self._key_form(spki, e.subject, ("P-256", "X25519") if e.data["role"] == "custodian" else ("P-256",))
        if e.subject in p.trust or e.subject == self.root_kid:
            raise Refused("trust.exists")
        p.trust[e.subject] = {"role": e.data["role"], "key": spki, "label": e.data.get("label", ""), "added_ms": v.time_ms,
                              "removed_ms": 0}

    def _trust_remove(self, p, v, e):
        found = p.trust.get(e.subject)
        if not found or found["role"] != e.data["role"] or found["removed_ms"]:
            raise Refused("trust.unknown")
        found["removed_ms"] = v.time_ms

    @staticmethod
    def _key_form(spki, kid, kinds):
        try:
            kind = der.public_key(spki).type
        except Refused:
            kind = None
        if kind not in kinds or kid_of(spki) != kid:
            raise Refused("event.malformed")

    # --- accounts and agents

    def _account_register(self, p, v, e, a, _):
        if a.doc is not None:
            raise Refused("account.exists")
        d, limits = e.data, e.data.get("limits", {})
        a.doc = {"site": d["site"], "owner": d["owner"], "verified": d["verified"],
                 "limit_certificates": limits.get("certificates", DEFAULT_CERTIFICATES),
                 "limit_shares": limits.get("shares", DEFAULT_SHARES),
                 **{"limit_" + n: limits.get(n, at_first) for n, at_first in DEFAULT_COUNTS.items()},
                 "reject_incomplete_chain": limits.get("incomplete_chain", "note") == "reject",
                 "policy": policy.changed({}, d.get("policy", {})),
                 "certificates": 0, "created_ms": v.time_ms, "updated_ms": v.time_ms}

    def _account_update(self, p, v, e, a, _):
        d, limits, doc = e.data, e.data.get("limits", {}), a.doc
        code = ""
        if d.get("verified", True) is False and doc["verified"]:
            code = "share.unverified"
        if d.get("site", doc["site"]) != doc["site"]:
            code = "share.site"
        if d.get("owner", doc["owner"]) != doc["owner"]:
            code = "share.owner"
        ends = sum(x["open"] for x in a.share_in.values()) + sum(x["state"] != "closed" for x in a.shares.values())
        if code and ends > 1000:
            raise Refused("account.shares")
        for name in ("site", "owner", "verified"):
            doc[name] = d.get(name, doc[name])
        doc["limit_certificates"] = limits.get("certificates", doc["limit_certificates"])
        doc["limit_shares"] = limits.get("shares", doc["limit_shares"])
        for name in DEFAULT_COUNTS:
            doc["limit_" + name] = limits.get(name, doc["limit_" + name])
        if "incomplete_chain" in limits:
            doc["reject_incomplete_chain"] = limits["incomplete_chain"] == "reject"
        doc["policy"] = policy.changed(doc["policy"], d.get("policy", {}))
        doc["updated_ms"] = v.time_ms
        if code:
            for share in sorted(s for s, x in a.share_in.items() if x["open"]):
                self._remove_in(p, v, e, a, share, code)
            for share in sorted(s for s, x in a.shares.items() if x["state"] != "closed"):
                self._close_out(p, v, e, a, share, code)

    def _agent_enroll(self, p, v, e, a, token):
        d = e.data
        self._key_form(wire.decode_base64(d["key"]), e.subject, ("P-256",))
        self._agent_new(p, a, e.subject)
        a.room("tokens" if "enroll" in d["can"] else "keys")
        if token:
            token["enrolled_keys"] += 1
            token["uses_left"] -= token["uses_left"] > 0
            if token["uses_left"] == 0:
                self._bury(p, v, f"key/{e.account}/{e.kid}")
        grant = d.get("grant")
        if grant:
            grant = {"can": sorted(grant["can"], key=wire.RIGHTS.index), "names": grant["names"], "dns": grant.get("dns", [])}
        a.keys[e.subject] = {
            "state": "enrolled", "key": wire.decode_base64(d["key"]), "can": sorted(d["can"], key=wire.RIGHTS.index),
            "names": d["names"], "dns": d.get("dns", []), "label": d.get("label", ""), "uses_left": d.get("uses", -1),
            "expires_s": wire.time_s(d["expires"]) if "expires" in d else 0, "grant": grant, "enrolled_by": e.kid,
            "enrolled_keys": 0, "rotated_to": "", "first": "", "latest": "", "enrolled_ms": v.time_ms, "ended_ms": 0}

    def _agent_new(self, p, a, kid):
        if kid in a.keys or kid in p.trust or kid == self.root_kid:
            raise Refused("agent.exists")

    def _agent_revoke(self, p, v, e, a, _):
        found = a.keys.get(e.subject)
        if not found:
            raise Refused("agent.unknown")
        if found["state"] == "revoked":
            v.code = "unchanged"
            return
        ended = [e.subject]
        last = a.keys[found["first"] or e.subject]["latest"] or e.subject
        if last != e.subject and a.keys[last]["state"] == "enrolled":
            ended.append(last)
        host = found["first"] or e.subject
        for cert, at in list(a.installed):
            if at == host and (found["state"] == "enrolled" or len(ended) > 1):
                self._uninstall(a, cert, host)
        if a.keys[last]["state"] == "enrolled" and a.keys[last]["uses_left"] != 0:  # the line ends
            for kid in filter(None, (last, a.keys[last]["first"])):
                self._bury(p, v, f"key/{e.account}/{kid}")
        for kid in ended:
            a.keys[kid]["state"], a.keys[kid]["ended_ms"] = "revoked", v.time_ms
        v.detail = "ended: " + ", ".join(ended)
        if len(ended) == 1 and found["enrolled_keys"]:
            v.detail += f"; keys that it enrolled, which this does not end: {found['enrolled_keys']}"

    def _agent_rotate(self, p, v, e, a, agent):
        spki = wire.decode_base64(e.data["key"])
        self._key_form(spki, e.subject, ("P-256",))
        self._agent_new(p, a, e.subject)
        first = agent["first"] or e.kid
        if agent["first"]:
            self._bury(p, v, f"key/{e.account}/{e.kid}")
        a.keys[e.subject] = {**agent, "key": spki, "enrolled_by": e.kid, "enrolled_ms": v.time_ms, "first": first, "latest": ""}
        a.keys[first]["latest"] = e.subject
        agent["state"], agent["rotated_to"], agent["ended_ms"] = "rotated", e.subject, v.time_ms

    # --- certificates

    def _content(self, e, kinds=(("single", None),)):
        """The parts of an upload, each with its leaf, after all that its bytes decide."""
        d, sm2 = e.data, e.data["algorithm"] == "sm2"
        parts = ([("sm2-sign", d["sign"]), ("sm2-enc", d["encrypt"])] if sm2 else [("single", d)])
        for _, part in parts:
            self._key_there(part)
        found = self._chains(parts, d["algorithm"])
        for f in found:
            f["custodian"] = self._key_of(e, f["part"], f["leaf"].key, f["leaf"].der)
        return found

    @staticmethod
    def _revised(e):
        """The parts whose chains an update brings, and of which algorithm they are."""
        d = e.data
        if "sign" in d:
            return [("sm2-sign", d["sign"]), ("sm2-enc", d["encrypt"])], "sm2"
        return [("single", d)] if "chain" in d else [], "international"

    @staticmethod
    def _chains(parts, algorithm):
        found = []
        for role, part in parts:
            if len(part["chain"]) > wire.CHAIN_MAX:
                raise Refused("cert.too_many")
            chain = [der.certificate(wire.decode_base64(c)) for c in part["chain"]]
            code = der.leaf_code(chain[0], algorithm)
            if code:
                raise Refused(code)
            code, facts = der.chain_code(chain)
            if code:
                raise Refused(code)
            found.append({"role": role, "leaf": chain[0], "facts": facts, "part": part, "issuers": [x.spki_sha256 for x in chain[1:]]})
        if algorithm == "sm2":
            code = der.sm2_pair_code(found[0]["leaf"], found[1]["leaf"])
            if code:
                raise Refused(code)
        return found

    @staticmethod
    def _key_there(part):
        """Whether a part has what it must have of a key; looked at before anything else of the parts."""
        if part.get("csr") is True:
            if "key" in part or "pop" in part:
                raise Refused("key.many")
        elif "key" not in part:
            raise Refused("key.missing")
        elif "pop" not in part:
            raise Refused("key.mismatch")

    def _key_of(self, e, part, key, subject_der):
        """The custodian of a part's sealed key ("" for a CSR's); the proof of possession is verified."""
        if part.get("csr") is True:
            return ""
        sealed, pop = wire.decode_base64(part["key"]), wire.decode_base64(part["pop"])
        if not SEALED_MIN <= len(sealed) <= SEALED_MAX or sealed[0] != 1:
            raise Refused("key.malformed")
        message = wire.fields(b"certsync.pop.v1", e.log_id.encode(), e.account.encode(), e.kid.encode(), e.id.encode(),
                              e.subject.encode(), hashlib.sha256(sealed).digest(), hashlib.sha256(subject_der).digest())
        if len(pop) > POP_MAX or not key.verify(pop, message):
            raise Refused("key.mismatch")
        return sealed[1:17].hex()

    @staticmethod
    def _custodian_trusted(p, kid):
        found = p.trust.get(kid)
        if not found or found["role"] != "custodian" or found["removed_ms"]:
            raise Refused("key.malformed")

    def _certificate_upload(self, p, v, e, a, agent):
        self._upload(p, v, e, a, agent, "uploaded")

    def _certificate_issue(self, p, v, e, a, agent):
        self._upload(p, v, e, a, agent, e.data["source"])

    def _upload(self, p, v, e, a, agent, source):
        d, now = e.data, v.time_ms // 1000
        if not wire.NAMES[d["algorithm"]](d["name"]):
            raise Refused("name.invalid")
        self._covered(agent, d["name"])
        parts = self._content(e)
        leaves = [f["leaf"] for f in parts]
        for leaf in leaves:
            if leaf.not_before_s > now:
                raise Refused("cert.not_yet_valid")
            if leaf.not_after_s < now:
                raise Refused("cert.expired")
        facts = [f["facts"] for f in parts]
        notes = der.notes_at(facts, now)
        if "chain.incomplete" in notes and a.doc["reject_incomplete_chain"]:
            raise Refused("chain.incomplete")
        held = a.certs.get(a.names.get(d["name"]))
        same = held and [x["sha256"] for x in held["summary"]["leaves"]] == [x.sha256 for x in leaves]
        if not same:
            policy.check_certificates(v, a.doc["policy"], [(f["leaf"], f["issuers"]) for f in parts])
        for leaf in leaves if agent else []:
            policy.check_hosts(v, agent["dns"], policy.hosts(leaf.x), "policy.agent_dns")
        for f in parts:
            if f["custodian"]:
                self._custodian_trusted(p, f["custodian"])
        if same:
            if e.type == "certificate.issue" and held["summary"]["source"] != source:
                raise Refused("replace.source")
            self._same_leaf(p, v, e, a, agent, held, (notes, _chain_ends(facts, leaves)))
            return
        material = self._material(e, a, agent, parts)
        if held:
            self._may_replace(a, e, agent, held, leaves, source)
        else:
            if e.subject in a.certs:
                raise Refused("certificate.id_used")
            if a.doc["certificates"] >= a.doc["limit_certificates"]:
                raise Refused("quota.certificates")
        a.room_for(held, d.get("tags"), material)
        self._store(p, v, e, a, agent, held, leaves, material, source, (notes, _chain_ends(facts, leaves)))

    def _same_leaf(self, p, v, e, a, agent, held, chain):
        """The same certificate again: a chain that holds all that is held and more, or tags that differ, change the entry."""
        d, summary = e.data, held["summary"]
        sent = [x["chain"] for x in ([d["sign"], d["encrypt"]] if d["algorithm"] == "sm2" else [d])]
        there = [x["chain"] for x in a.material[held["id"]]]
        other = any(set(old) - set(new) for old, new in zip(there, sent))
        takes_chain = d.get("force", False) if other else any(len(new) > len(old) for old, new in zip(there, sent))
        takes_tags = bool(d.get("tags")) and d["tags"] != summary["tags"]
        material = a.material[held["id"]]
        if takes_chain:
            material = [{**x, "chain": new} for x, new in zip(material, sent)]
        a.room_for(held, d.get("tags"), material)
        v.subject, v.detail = held["id"], ""
        v.tell(summary)
        takes_place = "place" in d and self._install(v, a, held, self._host(e, agent), d["place"], summary["version"])
        if takes_place and not (takes_chain or takes_tags):
            v.detail = "changed: place"
            return
        if not takes_chain and not takes_tags:
            v.code = "unchanged"
            if other:
                v.detail = "The chain is not more complete than the one that is held, which stays; --replace --force takes it."
            return
        summary = held["summary"] = dict(summary)
        if takes_chain:
            v.notes, summary["chain_ends_s"] = chain
            summary["notes"] = v.notes
            a.material[held["id"]] = material
        if takes_tags:
            summary["tags"] = d["tags"]
        held["updated_ms"] = v.time_ms
        v.detail = "changed: " + ", ".join(["chain"] * takes_chain + ["tags"] * takes_tags + ["place"] * takes_place)
        self._offer_all(p, v, e, a, held)

    @staticmethod
    def _covered(agent, name):
        if agent and not wire.pattern_matches(agent["names"], name):
            raise Refused("event.forbidden")

    @staticmethod
    def _host(e, agent):
        return agent["first"] or e.kid

    @staticmethod
    def _places(a, held):
        return {host: at for (cert, host), at in a.installed.items() if cert == held["id"]}

    def _install(self, v, a, held, host, place, version):
        """Whether something changed."""
        at = a.installed.get((held["id"], host), [])
        found = next((x for x in at if x["place"] == place), None)
        if found and found["version"] == version or not self._room_at(a, at, place):
            return False
        if found:
            found.update(version=version, since_ms=v.time_ms)
        else:
            a.installed[held["id"], host] = [*at, {"place": place, "version": version, "since_ms": v.time_ms}]
        if not any(self._is_older(held, x) for x in self._places(a, held).values()):
            held["older_ends_s"] = 0
        return True

    @staticmethod
    def _room_at(a, at, place):
        if not at:
            return a.count("installations") < a.doc["limit_installations"]
        return len(at) < PLACES_MAX or any(x["place"] == place for x in at)

    @staticmethod
    def _uninstall(a, cert, host):
        del a.installed[cert, host]
        held = a.certs[cert]
        if not held["deleted"] and not any(Model._is_older(held, at) for at in Model._places(a, held).values()):
            held["older_ends_s"] = 0

    @staticmethod
    def _is_older(held, at):
        """Whether a host's lowest version is none that is remembered."""
        known = [held["summary"]["version"], *(x["version"] for x in held["old_versions"])]
        return min(x["version"] for x in at) not in known

    def _may_replace(self, a, e, agent, held, leaves, source):
        old, d = held["summary"], e.data
        if not d.get("replace"):
            raise Refused("name.taken")
        if "place" in d:
            by, host = a.keys.get(held["by"]), self._host(e, agent)
            if (held["id"], host) not in a.installed and host != (by and by["first"] or held["by"]):
                raise Refused("replace.not_held")
        if old["source"] != source or old["algorithm"] != d["algorithm"]:
            raise Refused("replace.source")
        if leaves[0].not_before_s < old["leaves"][0]["not_before_s"] and not d.get("force"):
            raise Refused("replace.older")

    def _material(self, e, a, agent, parts):
        found = []
        for f in parts:
            key, key_subject = f["part"].get("key"), e.subject
            if not f["custodian"]:  # by a CSR
                request = a.csrs.get(a.csr_spki.get(f["leaf"].spki_sha256))
                if not request:
                    raise Refused("csr.no_match")
                self._covered(agent, request["name"])
                key, key_subject = request["key"], request["id"]
            found.append({"chain": f["part"]["chain"], "key": key, "key_subject": key_subject, "role": f["role"]})
        return found

    def _store(self, p, v, e, a, agent, held, leaves, material, source, chain):
        d, (v.notes, ends_s) = e.data, chain
        summary = {"name": d["name"], "algorithm": d["algorithm"], "source": source, "version": 1, "notes": v.notes,
                   "chain_ends_s": ends_s, "tags": d.get("tags", []), "leaves": [x.summary() for x in leaves]}
        if held:
            before = held["summary"]
            summary["tags"] = d.get("tags") or before["tags"]
            summary["version"] = before["version"] + 1
            first = before["leaves"][0]
            ends = min(x["not_after_s"] for x in before["leaves"])
            ends = min(ends, before["chain_ends_s"] or ends)
            past = [{"version": before["version"], "sha256": first["sha256"], "serial": first["serial"], "not_after_s": first["not_after_s"],
                     "ends_s": ends if ends < first["not_after_s"] else 0}, *held["old_versions"]]
            held["old_versions"] = past[:OLD_VERSIONS_MAX]
            for old in past[OLD_VERSIONS_MAX:]:
                if any(min(x["version"] for x in at) == old["version"] for at in self._places(a, held).values()):
                    ends = old["ends_s"] or old["not_after_s"]
                    held["older_ends_s"] = min(ends, held["older_ends_s"] or ends)
            cert = held
        else:
            cert = a.certs[e.subject] = {"id": e.subject, "deleted": False, "created_ms": v.time_ms, "shares": [], "old_versions": [],
                                            "contact": "", "note": "", "older_ends_s": 0}
            a.names[d["name"]] = e.subject
            a.doc["certificates"] += 1
        cert.update(summary=summary, by=e.kid, updated_ms=v.time_ms)
        a.material[cert["id"]] = material
        if d.get("csr") is True:
            request = a.csrs[material[0]["key_subject"]]
            request["used"] = {"certificate": cert["id"], "name": d["name"], "version": summary["version"], "at_ms": v.time_ms}
        if "place" in d:
            self._install(v, a, cert, self._host(e, agent), d["place"], summary["version"])
        v.subject = cert["id"]
        v.tell(summary)
        self._offer_all(p, v, e, a, cert)

    def _offer_all(self, p, v, e, a, cert):
        for share in cert["shares"]:
            found = a.shares[share]
            found["version"], found["updated_ms"] = cert["summary"]["version"], v.time_ms
            self._offer(p, v, e, a, found, cert)

    def _own(self, a, subject):
        cert = a.certs.get(subject)
        if not cert or cert["deleted"]:
            raise Refused("certificate.not_found")
        return cert

    def _certificate_update(self, p, v, e, a, agent):
        d, now, held = e.data, v.time_ms // 1000, self._own(a, e.subject)
        summary = held["summary"]
        self._covered(agent, summary["name"])
        renames = d.get("name", summary["name"]) != summary["name"]
        if renames:
            if not wire.NAMES[summary["algorithm"]](d["name"]):
                raise Refused("name.invalid")
            self._covered(agent, d["name"])
        parts = self._chains(*self._revised(e))
        leaves, facts = [f["leaf"] for f in parts], [f["facts"] for f in parts]
        if parts and [x["sha256"] for x in summary["leaves"]] != [x.sha256 for x in leaves]:
            raise Refused("chain.other")
        notes = der.notes_at(facts, now)
        if "chain.incomplete" in notes and a.doc["reject_incomplete_chain"]:
            raise Refused("chain.incomplete")
        if renames and d["name"] in a.names:
            raise Refused("name.taken")
        material = a.material[held["id"]]
        sent = [f["part"]["chain"] for f in parts]
        takes = {"chain": any(set(x["chain"]) != set(new) for x, new in zip(material, sent)),
                 "tags": d.get("tags", summary["tags"]) != summary["tags"], "name": renames,
                 "contact": d.get("contact", held["contact"]) != held["contact"], "note": d.get("note", held["note"]) != held["note"]}
        if takes["chain"]:
            material = [{**x, "chain": new} for x, new in zip(material, sent)]
        a.room("tags", len(d.get("tags", summary["tags"])) - len(summary["tags"]))
        a.room("bytes", size_of_material(material) - size_of_material(a.material[held["id"]]), reserve=1)
        v.detail = ""
        if any(takes.values()):
            self._revise(p, v, e, a, held, d, takes, material, (notes, _chain_ends(facts, leaves) if leaves else 0))
        else:
            v.code = "unchanged"
        v.tell(held["summary"])

    def _revise(self, p, v, e, a, held, d, takes, material, chain):
        summary = held["summary"] = dict(held["summary"])
        if takes["chain"]:
            v.notes, summary["chain_ends_s"] = chain
            summary["notes"] = v.notes
            a.material[held["id"]] = material
        if takes["tags"]:
            summary["tags"] = d["tags"]
        if takes["name"]:
            del a.names[summary["name"]]
            summary["name"] = d["name"]
            a.names[d["name"]] = held["id"]
        for text in ("contact", "note"):
            held[text] = d.get(text, held[text])
        held["updated_ms"] = v.time_ms
        v.detail = "changed: " + ", ".join(what for what, taken in takes.items() if taken)
        if takes["chain"] or takes["tags"] or takes["name"]:
            self._offer_all(p, v, e, a, held)

    def _certificate_delete(self, p, v, e, a, agent):
        if "from" in e.data:
            entry = a.shared_in.get((e.data["from"], e.subject))
            if not entry:
                raise Refused("certificate.not_found")
            self._covered(agent, entry["summary"]["name"])
            v.tell(entry["summary"])
            self._remove_in(p, v, e, a, entry["share"], "")
            return
        cert = self._own(a, e.subject)
        self._covered(agent, cert["summary"]["name"])
        if cert["shares"] and not e.data.get("cascade"):
            raise Refused("delete.shared")
        self._delete(p, v, e, a, cert)

    def _delete(self, p, v, e, a, cert):
        v.tell(cert["summary"])
        for share in list(cert["shares"]):
            self._close_out(p, v, e, a, share, "share.closed")
        for host in self._places(a, cert):
            del a.installed[cert["id"], host]
        del a.names[cert["summary"]["name"]]
        del a.material[cert["id"]]
        a.certs[cert["id"]] = {"id": cert["id"], "deleted": True, "updated_ms": v.time_ms}
        self._bury(p, v, f"cert/{e.account}/{cert['id']}")
        a.doc["certificates"] -= 1

    # --- installations

    def _certificate_seen(self, p, v, e, a, agent):
        d, held = e.data, self._own(a, e.subject)
        self._covered(agent, held["summary"]["name"])
        versions = [(held["summary"]["leaves"][0]["sha256"], held["summary"]["version"]),
                    *((x["sha256"], x["version"]) for x in held["old_versions"])]
        version = next((n for sha256, n in versions if sha256 == d["sha256"]), None)
        if version is None:
            raise Refused("certificate.version")
        host = self._host(e, agent)
        if not self._room_at(a, a.installed.get((held["id"], host), []), d["place"]):
            raise Refused("quota.installations")
        v.tell(held["summary"])
        if not self._install(v, a, held, host, d["place"], version):
            v.code = "unchanged"

    def _certificate_gone(self, p, v, e, a, agent):
        d, held = e.data, self._own(a, e.subject)
        self._covered(agent, held["summary"]["name"])
        v.tell(held["summary"])
        host = self._host(e, agent)
        at = a.installed.get((held["id"], host), [])
        left = [x for x in at if x["place"] != d["place"]]
        if len(left) == len(at):
            v.code = "unchanged"
            return
        a.installed[held["id"], host] = left or at
        if not left:
            self._uninstall(a, held["id"], host)
        elif not any(self._is_older(held, x) for x in self._places(a, held).values()):
            held["older_ends_s"] = 0
        if d.get("delete"):
            if self._places(a, held):
                v.detail = "It stays: it is at another place or host."
            elif held["shares"]:
                v.detail = "It stays: it is shared. No host has it any more."
            else:
                self._delete(p, v, e, a, held)
                v.detail = "No host has it any more: it was deleted."

    # --- shares, the owner's end

    def _certificate_share(self, p, v, e, a, agent):
        cert, to = a.certs.get(e.subject), e.data["to"]
        if cert is None and any(c == e.subject for _, c in a.shared_in):
            raise Refused("share.reshare")
        cert = self._own(a, e.subject)
        summary, now = cert["summary"], v.time_ms // 1000
        self._covered(agent, summary["name"])
        for code, broken in (
                ("share.self", to == e.account), ("share.uploaded", summary["source"] == "uploaded"),
                ("share.expired", any(x["not_after_s"] < now for x in summary["leaves"])),
                ("share.unverified", not a.doc["verified"]),
                ("share.exists", any(a.shares[s]["to"] == to for s in cert["shares"])),
                ("share.limit", len(cert["shares"]) >= a.doc["limit_shares"]),
                ("quota.shares_out", a.count("shares_out") >= a.doc["limit_shares_out"]),
                # Ids of shares are never used twice: an event that is signed again needs a new one.
                ("certificate.id_used", e.id in a.shares)):
            if broken:
                raise Refused(code)
        share = a.shares[e.id] = {"id": e.id, "certificate": cert["id"], "to": to, "state": "pending",
                                  "version": summary["version"], "accepted": 0, "code": "", "created_ms": v.time_ms,
                                  "updated_ms": v.time_ms}
        cert["shares"].append(e.id)
        v.status = "pending"
        v.tell(summary)
        self._offer(p, v, e, a, share, cert)

    def _certificate_unshare(self, p, v, e, a, agent):
        cert = self._own(a, e.subject)
        self._covered(agent, cert["summary"]["name"])
        found = [s for s in cert["shares"] if a.shares[s]["to"] == e.data["to"]]
        if not found:
            raise Refused("share.not_found")
        v.tell(cert["summary"])
        self._close_out(p, v, e, a, found[0], "share.closed")

    def _close_out(self, p, v, e, a, share_id, code, withdraw=True):
        share = a.shares[share_id]
        if share["state"] == "pending":
            v.concludes.append((share_id, "rejected", "share.closed" if withdraw else code or "share.closed"))
        share["state"], share["code"], share["updated_ms"] = "closed", code or "share.closed", v.time_ms
        self._bury(p, v, f"share/{e.account}/{share_id}")
        a.certs[share["certificate"]]["shares"].remove(share_id)
        if withdraw:
            self._emit(p, v, e, share["to"], "share.withdraw", share["certificate"],
                       {"share": share_id, "owner_account": e.account, "code": code})

    def _offer(self, p, v, e, a, share, cert):
        summary = cert["summary"]
        self._emit(p, v, e, share["to"], "share.offer", cert["id"],
                   {"share": share["id"], "owner_account": e.account, "owner": a.doc["owner"], "site": a.doc["site"],
                    "version": summary["version"], "certificate": {**summary, "leaves": [dict(x) for x in summary["leaves"]]}})

    def _emit(self, p, v, e, account, kind, subject, data):
        p.derived += 1
        v.derived.append(Derived(p.number, p.derived, wire.partition_of(account, self.count), account, kind, subject,
                                 {**data, "origin": p.number, **({"epoch": p.epoch} if p.epoch else {})}, self.log_id, e.id,
                                 len(v.derived) + 1, v.time_ms, p.epoch))

    def _share_answer(self, p, v, e, a, _):
        d, share = e.data, a.shares.get(e.data["share"])
        if not share or share["to"] != d["recipient"] or share["state"] == "closed":
            v.code, v.leaves_nothing = "share.closed", True
            if d["answer"] == "accepted":
                self._emit(p, v, e, d["recipient"], "share.withdraw", e.subject,
                           {"share": d["share"], "owner_account": e.account, "code": "share.closed"})
            return
        v.tell(a.certs[share["certificate"]]["summary"])
        if d["answer"] == "accepted":
            if share["state"] == "pending":
                v.concludes.append((share["id"], "applied", ""))
            share["state"], share["accepted"] = "open", max(share["accepted"], d["version"])
            share["updated_ms"] = v.time_ms
        else:
            self._close_out(p, v, e, a, share["id"], d.get("code", ""), withdraw=False)
            if d["answer"] == "removed":
                self._emit(p, v, e, share["to"], "share.withdraw", share["certificate"],
                           {"share": share["id"], "owner_account": e.account, "code": d.get("code", "") or "share.closed"})

    # --- shares, the recipient's end

    def _share_offer(self, p, v, e, a, _):
        d, known = e.data, a.share_in.get(e.data["share"])
        if known and not known["open"]:
            v.code, v.leaves_nothing = "share.closed", True
            self._answer(p, v, e, "removed", d["version"], "share.closed")
            return
        entry = a.shared_in.get((d["owner_account"], e.subject))
        held = entry["summary"]["version"] if known else 0
        same = known and d["version"] == held and not any(
            (d["certificate"].get(m) or None) != (entry["summary"].get(m) or None) for m in ("name", "tags", "notes", "chain_ends_s"))
        if known and (d["version"] < held or same):
            v.tell(entry["summary"])
            self._answer(p, v, e, "accepted", held, "")
            return
        code = self._refusal(v, e, a, d)
        if code:
            v.code = code
            if known:
                v.tell(entry["summary"])
                self._gone_in(a, d["share"])
            else:
                v.leaves_nothing = True
            self._answer(p, v, e, "removed" if known else "refused", d["version"], code)
            return
        if entry and entry["share"] != d["share"]:
            self._gone_in(a, entry["share"])
            entry = None
        a.share_in[d["share"]] = {"id": d["share"], "owner_account": d["owner_account"], "certificate": e.subject, "open": True,
                                  "code": "", "updated_ms": v.time_ms}
        a.shared_in[(d["owner_account"], e.subject)] = {
            "share": d["share"], "owner_account": d["owner_account"], "certificate": e.subject, "summary": d["certificate"],
            "created_ms": entry["created_ms"] if entry else v.time_ms, "updated_ms": v.time_ms}
        v.tell({**d["certificate"], "version": d["version"]})
        self._answer(p, v, e, "accepted", d["version"], "")

    @staticmethod
    def _refusal(v, e, a, d):
        if d["owner_account"] == e.account:
            return "share.self"
        if a.doc is None or a.doc["owner"] != d["owner"]:
            return "share.owner"
        if a.doc["site"] != d["site"]:
            return "share.site"
        if not a.doc["verified"]:
            return "share.unverified"
        if any(x["not_after_s"] < v.time_ms // 1000 for x in d["certificate"]["leaves"]):
            return "share.expired"
        if (d["owner_account"], e.subject) not in a.shared_in and a.count("shares_in") >= a.doc["limit_shares_in"]:
            return "quota.shares_in"
        return ""

    @staticmethod
    def _gone_in(a, share):
        found = a.share_in.pop(share)
        del a.shared_in[(found["owner_account"], found["certificate"])]

    def _remove_in(self, p, v, e, a, share, code):
        """The recipient ends an open share by itself, and tells the owner; the id stays closed until the owner withdraws it."""
        found = a.share_in[share]
        version = a.shared_in.pop((found["owner_account"], found["certificate"]))["summary"]["version"]
        found.update(open=False, code=code, updated_ms=v.time_ms)
        self._emit(p, v, e, found["owner_account"], "share.answer", found["certificate"],
                   {"share": share, "recipient": e.account, "version": version, "answer": "removed", "code": code})

    def _answer(self, p, v, e, answer, version, code):
        self._emit(p, v, e, e.data["owner_account"], "share.answer", e.subject,
                   {"share": e.data["share"], "recipient": e.account, "version": version, "answer": answer, "code": code})

    def _share_withdraw(self, p, v, e, a, _):
        found = a.share_in.get(e.data["share"])
        if found and (found["owner_account"], found["certificate"]) != (e.data["owner_account"], e.subject):
            v.code, v.leaves_nothing = "share.closed", True  # another share's id
            return
        if found and found["open"]:
            v.tell(a.shared_in[(found["owner_account"], found["certificate"])]["summary"])
            self._gone_in(a, e.data["share"])
            return
        a.share_in.pop(e.data["share"], None)
        v.code, v.leaves_nothing = "share.closed", True

    # --- CSRs

    def _csr_add(self, p, v, e, a, agent):
        d = e.data
        if not wire.NAMES["international"](d["name"]):
            raise Refused("name.invalid")
        self._covered(agent, d["name"])
        request = der.request(wire.decode_base64(d["csr"]))
        if not request.names:
            raise Refused("csr.no_name")
        custodian = self._key_of(e, d, request.key, request.der)
        held = a.csrs.get(a.csr_spki.get(request.spki_sha256))
        same = held and (held["name"], held["csr"]) == (d["name"], d["csr"])
        if not same:
            policy.check_request(v, a.doc["policy"], request)
        if agent:
            policy.check_hosts(v, agent["dns"], policy.hosts(request.x), "policy.agent_dns")
        self._custodian_trusted(p, custodian)
        if same:
            v.code, v.subject = "unchanged", held["id"]
            return
        if held:
            raise Refused("csr.exists")
        if d["name"] in a.csr_names:
            raise Refused("csr.name_taken")
        if e.subject in a.csrs:
            raise Refused("certificate.id_used")
        a.room("requests")
        a.room("bytes", size_of(d["csr"], d["key"]))
        a.csrs[e.subject] = {"id": e.subject, "deleted": False, "name": d["name"], "csr": d["csr"], "key": d["key"],
                             "spki_sha256": request.spki_sha256, "subject": request.subject, "names": request.names,
                             "key_type": request.key.type, "key_bits": request.key.bits, "created_ms": v.time_ms,
                             "used": None}
        a.csr_spki[request.spki_sha256] = a.csr_names[d["name"]] = e.subject

    def _csr_delete(self, p, v, e, a, agent):
        found = a.csrs.get(e.subject)
        if not found or found["deleted"]:
            raise Refused("csr.not_found")
        self._covered(agent, found["name"])
        v.name = found["name"]
        del a.csr_spki[found["spki_sha256"]], a.csr_names[found["name"]]
        a.csrs[e.subject] = {"id": e.subject, "deleted": True}
        self._bury(p, v, f"csr/{e.account}/{e.subject}")
