#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks a log of certsync without certsync: it needs Python 3 and the openssl command, and nothing else.

    check_log.py EVENTS OUTCOMES ROOT_PUBLIC_KEY [--corrections FILE] [--custodian-key FILE | --checkpoints FILE KEY [WITNESS_KEY...]]

EVENTS and OUTCOMES are dumps of the two topics as kcat makes them (docs/audit/verify.md). For each partition it checks that

- the outcomes are numbered without a gap, and each names the hash of the one before it,
- each outcome names the hash of the record that it judges, and each record has one outcome,
- what was not refused before its signature was looked at is signed by a key that root trusts, or that was enrolled with such a key,
- the private key of each certificate and request that was taken has signed its proof of possession.

With the custodian's private key (which needs python3-cryptography, too) it opens each sealed key, and holds it against the certificate.
With checkpoints that were kept ("certsync-consumer verify --since" writes such a file), and the key that signed them, it checks that the past is
the one that they are of. With keys of witnesses, too, it checks that each has cosigned the newest of these that any witness has cosigned, of each
partition, and says when.
With a dump of cert.corrections, outcomes that root had judged anew count as they were judged then. Without it, a log that holds such outcomes is
not well. Checkpoints are held against the outcomes of their own epoch.
It does not judge anew whether the rules were applied rightly: "certsync-consumer verify" does.
"""
import base64
import hashlib
import itertools
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONTENT_TYPE = b"application/cloudevents+json"
# Refusals that come before anybody asks whether the signature is good.
UNSIGNED = {"event.too_large", "event.unsigned", "event.malformed", "event.unknown_type", "event.deployment", "event.incarnation", "event.misrouted",
            "system.order", "event.unknown_signer"}


class Fault(Exception):
    pass


def require(condition, message):
    if not condition:
        raise Fault(message)


# ---- the form: docs/audit/formats.md

def sized(data):
    """Eight bytes of length, then the bytes; what is null has the length 2^64-1."""
    return b"\xff" * 8 if data is None else len(data).to_bytes(8, "big") + data


def record_hash(record):
    text = record["ts"].to_bytes(8, "big") + sized(record["key"]) + len(record["headers"]).to_bytes(8, "big")
    for name, value in record["headers"]:
        text += sized(name) + sized(value)
    return hashlib.sha256(text + sized(record["value"])).hexdigest()


def signed_text(value):
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(CONTENT_TYPE), CONTENT_TYPE, len(value), value)


def proof_text(event, subject, sealed, proven):
    """What the certificate's key signs; proven: the leaf's DER, or the request's."""
    parts = re.fullmatch(r"//([^/]+)/accounts/([^/]+)/keys/([0-9a-f]{32})", event["source"])
    fields = [b"certsync.pop.v1", parts[1].encode(), parts[2].encode(), parts[3].encode(), event["id"].encode(), subject.encode(),
              hashlib.sha256(sealed).digest(), hashlib.sha256(proven).digest()]
    return b"".join(map(sized, fields))


def key_id(spki):
    return hashlib.sha256(spki).hexdigest()[:32]


# ---- the openssl command

def openssl(*arguments, data=b""):
    return subprocess.run(["openssl", *map(str, arguments)], input=data, capture_output=True, check=False)


def spki_of(pem):
    done = openssl("pkey", "-pubin", "-pubout", "-outform", "DER", data=pem)
    require(done.returncode == 0, f"openssl cannot read a public key: {done.stderr.decode()}")
    return done.stdout


def public_key(kind, der):
    """The SubjectPublicKeyInfo (PEM) of a certificate ("x509") or of a request ("req")."""
    done = openssl(kind, "-inform", "DER", "-pubkey", "-noout", data=der)
    require(done.returncode == 0, f"openssl cannot read a certificate or request: {done.stderr.decode()}")
    return done.stdout


def how_signed(pem):
    text = openssl("pkey", "-pubin", "-text", "-noout", data=pem).stdout.decode()
    if "ED25519" in text:
        return []
    if "SM2" in text:
        return ["-digest", "sm3", "-pkeyopt", "distid:1234567812345678"]
    return ["-digest", "sha384" if "P-384" in text else "sha512" if "P-521" in text else "sha256"]


def is_signed(pem, text, signature):
    with tempfile.TemporaryDirectory() as name:
        at = Path(name)
        for file, content in (("key", pem), ("text", text), ("signature", signature)):
            (at / file).write_bytes(content)
        return openssl("pkeyutl", "-verify", "-pubin", "-inkey", at / "key", "-rawin", "-in", at / "text", "-sigfile", at / "signature",
                       *how_signed(pem)).returncode == 0


def pem_of(spki):
    return b"-----BEGIN PUBLIC KEY-----\n" + base64.encodebytes(spki) + b"-----END PUBLIC KEY-----\n"


# ---- sealed keys: HPKE (RFC 9180) base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM

class Custodian:
    def __init__(self, path):
        from cryptography.hazmat.primitives import serialization
        self.key = serialization.load_pem_private_key(Path(path).read_bytes(), None)
        self.public = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    @staticmethod
    def _hmac(key, text):
        import hmac
        return hmac.new(key, text, hashlib.sha256).digest()

    def _extract(self, suite, salt, label, text):
        return self._hmac(salt or bytes(32), b"HPKE-v1" + suite + label + text)

    def _expand(self, suite, secret, label, info, length):
        return self._hmac(secret, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01")[:length]

    def open(self, sealed, log_id, account, subject, role, spki):
        """The PKCS#8 DER that was sealed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        require(sealed[0] == 1, "a sealed key is of an unknown version")
        enc, ciphertext = sealed[17:49], sealed[49:]
        kem, suite = b"KEM\x00\x20", b"HPKE\x00\x20\x00\x01\x00\x02"
        shared = self.key.exchange(X25519PublicKey.from_public_bytes(enc))
        secret = self._expand(kem, self._extract(kem, b"", b"eae_prk", shared), b"shared_secret", enc + self.public, 32)
        info = b"certsync.seal.v1\0" + log_id.encode()
        context = b"\0" + self._extract(suite, b"", b"psk_id_hash", b"") + self._extract(suite, b"", b"info_hash", info)
        inner = self._extract(suite, secret, b"secret", b"")
        key, nonce = self._expand(suite, inner, b"key", context, 32), self._expand(suite, inner, b"base_nonce", context, 12)
        bound = b"".join(map(sized, [account.encode(), subject.encode(), role.encode(), hashlib.sha256(spki).digest()]))
        try:
            return AESGCM(key).decrypt(nonce, ciphertext, bound)
        except InvalidTag:
            raise Fault("a sealed key does not open: it is another custodian's, or was sealed for something else") from None

    def check(self, event, role, sealed, spki):
        _, _, log_id, _, account, _, _ = event["source"].split("/")
        private = self.open(sealed, log_id, account, event["subject"], role, spki)
        done = openssl("pkey", "-inform", "DER", "-pubout", "-outform", "DER", data=private)
        require(done.stdout == spki, "a sealed key is not the certificate's")


# ---- the log

def read(path):
    """{partition: [records in order]} of a dump. kcat writes bytes as they are: those that are no UTF-8 are kept, too."""
    def as_bytes(text):
        return None if text is None else text.encode("utf-8", "surrogateescape")
    found = {}
    for line in Path(path).read_bytes().split(b"\n"):
        if line:
            record = json.loads(line.decode("utf-8", "surrogateescape"), strict=False)
            record["value"], record["key"] = as_bytes(record["payload"]), as_bytes(record["key"])
            headers = [as_bytes(text) for text in record.get("headers", [])]
            record["headers"] = list(zip(headers[::2], headers[1::2]))
            found.setdefault(record["partition"], []).append(record)
    return found


def corrections(path, root):
    """{partition: [from, ...]} of what root signed in a dump of cert.corrections, in its order; the k-th begins epoch k."""
    found, seen = {}, set()
    for record in read(path).get(0, []):
        try:
            correction = json.loads(record["value"])
            signature = base64.b64decode(dict(record["headers"])[b"certsync-sig"])
            data, ours = correction["data"], correction["type"] == "certsync.system.correction.v1" and correction["id"] not in seen
        except (ValueError, KeyError, TypeError):
            continue
        if ours and is_signed(root, signed_text(record["value"]), signature):
            seen.add(correction["id"])
            found.setdefault(data["partition"], []).append(data["from"])
    return found


def epoch_of(begins, number):
    return max((k for k, first in enumerate(begins, 1) if first <= number), default=0)


def corrected(outcomes):
    """Where an outcome says that root had it judged anew: (partition, offset)."""
    for number, records in sorted(outcomes.items()):
        for record in records:
            try:
                if json.loads(record["value"])["data"].get("epoch", 0) > 0:
                    return number, record["offset"]
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
    return None


def chained(outcomes, begins=()):
    """The outcomes that count: of number n the first with a mark and with n's epoch, after n-1, that names its hash. Copies, foreign records and
    what was set aside are passed over. begins: where epochs 1, 2, ... begin."""
    last, sha256 = 0, "0" * 64
    for record in outcomes:
        try:
            outcome = json.loads(record["value"])
            fits = (int(outcome["sequence"]) == last + 1 and outcome["data"].get("epoch", 0) == epoch_of(begins, last + 1)
                    and outcome["data"]["prev"] == sha256 and b"certsync-mark" in dict(record["headers"]))
        except (ValueError, KeyError, TypeError):
            continue
        if fits:
            last, sha256 = last + 1, hashlib.sha256(record["value"]).hexdigest()
            yield {**outcome["data"], "n": last, "value": record["value"]}


# ---- checkpoints: signed heads of the tree over the outcomes (RFC 6962)

def merkle_root(leaves):
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\1" + merkle_root(leaves[:half]) + merkle_root(leaves[half:])).digest()


def cosigned(text, line, key):
    """The time (seconds since 1970) at which a witness has cosigned a checkpoint; None: the line is another's."""
    name, _, encoded = key.split("+", 2)
    if not line.startswith(f"\u2014 {name} "):
        return None
    blob = base64.b64decode(line.split(" ")[2])
    at, pem = int.from_bytes(blob[4:12], "big"), pem_of(bytes.fromhex("302a300506032b6570032100") + base64.b64decode(encoded)[1:])
    require(is_signed(pem, f"cosignature/v1\ntime {at}\n{text}".encode(), blob[12:]), f"a cosignature of {name} is not over its checkpoint")
    return at


def checkpoints(path, key, *witnesses):
    """{(partition, epoch): [(size, root, {witness: time})]} of a file of checkpoints, each signed with this key (NAME+ID+KEY)."""
    name, _, encoded = key.split("+", 2)
    pem, found = pem_of(bytes.fromhex("302a300506032b6570032100") + base64.b64decode(encoded)[1:]), {}
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    for at, line in enumerate(lines):
        if line.startswith(f"\u2014 {name} "):
            origin, size, root = lines[at - 4:at - 1]
            signature = base64.b64decode(line.split(" ")[2])[4:]
            text = f"{origin}\n{size}\n{root}\n"
            require(is_signed(pem, text.encode(), signature), f"{path}, line {at + 1}: the checkpoint is not signed with this key")
            place = re.fullmatch(re.escape(name) + r"/partitions/(\d+)(?:/epochs/([1-9]\d*))?", origin)
            require(place, f"{path}: a checkpoint of {origin} is of another log")
            more = itertools.takewhile(lambda later: later.startswith("\u2014 "), lines[at + 1:])
            times = {w.split("+")[0]: cosigned(text, later, w) for later in more for w in witnesses if cosigned(text, later, w)}
            found.setdefault((int(place[1]), int(place[2] or 0)), []).append((int(size), base64.b64decode(root), times))
    require(found, f"{path} holds no checkpoint that this key signed")
    return found


def witnessed(heads, witnesses):
    """What each witness has cosigned of each partition, as lines."""
    for (number, _), known in sorted(heads.items()):
        newest = max((size for size, _, times in known if times), default=0)
        for name in (w.split("+")[0] for w in witnesses):
            times = [times[name] for size, _, times in known if size == newest and name in times]
            require(times, f"partition {number}: the witness {name} has not cosigned the newest checkpoint that is cosigned at all")
            yield f"partition {number}: {name} has cosigned {newest} outcomes, at {time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(max(times)))}"


def hold(heads, values):
    """Whether each partition's outcomes are those that the checkpoints are of. values(partition, epoch): those that counted then."""
    for (number, epoch), known in sorted(heads.items()):
        have = values(number, epoch)
        for size, root, _ in known:
            require(size <= len(have), f"partition {number}: the end was cut off: a checkpoint has {size} outcomes, there are {len(have)}")
            require(merkle_root(have[:size]) == root,
                    f"partition {number}: the past was rewritten: outcomes 1 to {size} are not those of a checkpoint")


def proofs(event):
    """(role, what was proven, kind, sealed key, proof) of each key in the event."""
    data = event["data"]
    if event["type"] == "certsync.csr.add.v1":
        yield "single", base64.b64decode(data["csr"]), "req", base64.b64decode(data["key"]), base64.b64decode(data["pop"])
    elif event["type"] in ("certsync.certificate.upload.v1", "certsync.certificate.issue.v1"):
        sm2 = data["algorithm"] == "sm2"
        for role, part in (("sm2-sign", data["sign"]), ("sm2-enc", data["encrypt"])) if sm2 else (("single", data),):
            if not part.get("csr"):
                yield role, base64.b64decode(part["chain"][0]), "x509", base64.b64decode(part["key"]), base64.b64decode(part["pop"])


class Partition:
    def __init__(self, root, custodian):
        self.keys, self.custodian = {key_id(spki_of(root)): root}, custodian
        self.seen = {"records": 0, "signatures": 0, "proofs": 0, "sealed keys": 0}

    def check(self, record, outcome):
        self.seen["records"] += 1
        require(outcome["record"] == record_hash(record), "the outcome names another record than this one")
        if outcome.get("code") in UNSIGNED:
            return
        event = json.loads(record["value"])
        signer = self.keys.get(event["source"].rsplit("/", 1)[1])
        require(signer, "nobody whom root trusts let the signer in")
        good = is_signed(signer, signed_text(record["value"]), base64.b64decode(dict(record["headers"])[b"certsync-sig"]))
        self.seen["signatures"] += 1
        require(good == (outcome.get("code") != "event.bad_signature"), "the verdict on the signature is wrong")
        if outcome["status"] in ("applied", "pending") and outcome.get("code") != "unchanged":
            self.took(event)

    def took(self, event):
        if "key" in event["data"] and event["type"].split(".")[1] in ("trust", "agent"):
            spki = base64.b64decode(event["data"]["key"])
            require(key_id(spki) == event["subject"], "a key is let in under an id that is not its own")
            self.keys[event["subject"]] = pem_of(spki)
        for role, proven, kind, sealed, proof in proofs(event):
            pem = public_key(kind, proven)
            require(is_signed(pem, proof_text(event, event["subject"], sealed, proven), proof), "a proof of possession is wrong")
            self.seen["proofs"] += 1
            if self.custodian:
                self.custodian.check(event, role, sealed, spki_of(pem))
                self.seen["sealed keys"] += 1


def main(arguments):
    root, begins = Path(arguments[2]).read_bytes() if len(arguments) > 2 else b"", None
    if arguments[3:4] == ["--corrections"] and len(arguments) > 4:
        begins = corrections(arguments[4], root)
        arguments = arguments[:3] + arguments[5:]
    custodian = Custodian(arguments[4]) if arguments[3:4] == ["--custodian-key"] else None
    heads = arguments[4:] if arguments[3:4] == ["--checkpoints"] else None
    if len(heads) < 2 if heads is not None else len(arguments) != (5 if custodian else 3):
        sys.exit(__doc__)
    events, outcomes, total = read(arguments[0]), read(arguments[1]), {}
    if begins is None and corrected(outcomes):
        number, offset = corrected(outcomes)
        sys.exit(f"partition {number}: the outcome at offset {offset} says that root had it judged anew: give --corrections FILE, a dump of cert.corrections")
    begins = begins or {}
    for number, records in sorted(events.items()):
        partition, judged, by_offset = Partition(root, custodian), 0, {r["offset"]: r for r in records}
        for outcome in chained(outcomes.get(number, []), begins.get(number, [])):
            where = f"partition {number}, outcome {outcome['n']}, offset {outcome['offset']}"
            judged += 1
            try:
                require(outcome["offset"] in by_offset, "the outcome is of a record that is not there")
                partition.check(by_offset.pop(outcome["offset"]), outcome)
            except Fault as e:
                sys.exit(f"{where}: {e}")
        if by_offset:
            sys.exit(f"partition {number}: {len(by_offset)} records have no outcome, the first is at offset {min(by_offset)}")
        for name, n in partition.seen.items():
            total[name] = total.get(name, 0) + n
    try:
        known = checkpoints(*heads) if heads else {}
        hold(known, lambda number, epoch: [o["value"] for o in chained(outcomes.get(number, []), begins.get(number, [])[:epoch])])
        said = list(witnessed(known, heads[2:] if heads else []))
    except Fault as e:
        sys.exit(str(e))
    print(*said, sep="\n", end="\n" if said else "")
    print("well: " + ", ".join(f"{n} {name}" for name, n in total.items()))


if __name__ == "__main__":
    main(sys.argv[1:])
