# SPDX-License-Identifier: Apache-2.0
"""Events made without any code of ours in C: signatures, proofs of possession, sealed keys and
certificates from the Python packages alone, so that the tests hold two implementations of the
format against each other, and can make records that no agent would.

A Sender signs for one key and counts its sequence. Everything returned is plain bytes and dicts:
change what you like before it is signed.
"""

import base64
import datetime
import hashlib
import json
import os
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.x509.oid import NameOID

CONTENT_TYPE = b"application/cloudevents+json"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def uuid7(days_ago=0.0) -> str:
    """RFC 9562 section 5.7."""
    raw = bytearray(int((time.time() - days_ago * 86400) * 1000).to_bytes(6, "big") + os.urandom(10))
    raw[6] = raw[6] & 0x0F | 0x70
    raw[8] = raw[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(raw)))


def murmur2(data: bytes) -> int:
    """As Kafka's Utils.murmur2."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for i in range(0, whole, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & mask
        k = (k ^ k >> 24) * m & mask
        h = (h * m & mask) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15


def partition_of(account: str, partitions: int) -> int:
    return (murmur2(account.encode()) & 0x7FFFFFFF) % partitions


def log_id_of(deployment: str, nonce: str) -> str:
    return f"{deployment}_{nonce[:8]}"


def pae(content_type: bytes, body: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(content_type), content_type, len(body), body)


def fields(*parts: bytes) -> bytes:
    """Each part preceded by its length as eight bytes big-endian."""
    return b"".join(len(p).to_bytes(8, "big") + p for p in parts)


def spki_of(public_key) -> bytes:
    return public_key.public_bytes(serialization.Encoding.DER,
                                   serialization.PublicFormat.SubjectPublicKeyInfo)


def kid_of(spki: bytes) -> str:
    return hashlib.sha256(spki).hexdigest()[:32]


def pkcs8_of(key) -> bytes:
    return key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def private_pem(key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def der_of_pem(pem: str) -> bytes:
    """The first block's bytes."""
    return base64.b64decode("".join(pem.split("-----")[2].split()))


def write_private(key, path: Path) -> Path:
    path.write_bytes(private_pem(key))
    path.chmod(0o600)
    return path


def write_public(key, path: Path) -> Path:
    path.write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return path


# --- HPKE, RFC 9180 base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM -----------------

def _hmac(key: bytes, data: bytes) -> bytes:
    import hmac
    return hmac.new(key, data, hashlib.sha256).digest()


def _expand(prk: bytes, info: bytes, length: int) -> bytes:
    out, block, n = b"", b"", 1
    while len(out) < length:
        block = _hmac(prk, block + info + bytes([n]))
        out, n = out + block, n + 1
    return out[:length]


def _labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return _hmac(salt or bytes(32), b"HPKE-v1" + suite + label + ikm)


def _labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return _expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def hpke_seal(recipient: x25519.X25519PublicKey, info: bytes, aad: bytes, plain: bytes,
              ephemeral: x25519.X25519PrivateKey | None = None) -> tuple[bytes, bytes]:
    ephemeral = ephemeral or x25519.X25519PrivateKey.generate()
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    enc = ephemeral.public_key().public_bytes(*raw)
    kem = b"KEM" + (0x0020).to_bytes(2, "big")
    eae = _labeled_extract(kem, b"", b"eae_prk", ephemeral.exchange(recipient))
    shared = _labeled_expand(kem, eae, b"shared_secret", enc + recipient.public_bytes(*raw), 32)
    suite = b"HPKE" + b"".join(n.to_bytes(2, "big") for n in (0x0020, 0x0001, 0x0002))
    context = (b"\0" + _labeled_extract(suite, b"", b"psk_id_hash", b"")
               + _labeled_extract(suite, b"", b"info_hash", info))
    secret = _labeled_extract(suite, shared, b"secret", b"")
    key = _labeled_expand(suite, secret, b"key", context, 32)
    nonce = _labeled_expand(suite, secret, b"base_nonce", context, 12)
    return enc, AESGCM(key).encrypt(nonce, plain, aad)


def seal(custodian: x25519.X25519PublicKey, log_id: str, account: str, subject: str, role: str,
         spki: bytes, plain: bytes) -> bytes:
    """The sealed form of a private key: version, custodian's kid, enc, ciphertext."""
    aad = fields(account.encode(), subject.encode(), role.encode(), hashlib.sha256(spki).digest())
    enc, ct = hpke_seal(custodian, b"certsync.seal.v1\0" + log_id.encode(), aad, plain)
    return b"\x01" + bytes.fromhex(kid_of(spki_of(custodian))) + enc + ct


# --- proof of possession ---------------------------------------------------------------------------

def pop_message(log_id, account, kid, event_id, subject, sealed: bytes, leaf_der: bytes) -> bytes:
    return fields(b"certsync.pop.v1", log_id.encode(), account.encode(), kid.encode(),
                  event_id.encode(), subject.encode(), hashlib.sha256(sealed).digest(),
                  hashlib.sha256(leaf_der).digest())


def sign_with(key, message: bytes) -> bytes:
    """With a certificate's own key: RSA PKCS#1 v1.5, ECDSA with the curve's digest, Ed25519, SM2/SM3."""
    if isinstance(key, Sm2Key):
        return key.sign(message)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    digest = {"secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384, "secp521r1": hashes.SHA512}
    return key.sign(message, ec.ECDSA(digest[key.curve.name]()))


class Sm2Key:
    """An SM2 key, by the openssl command: the Python package knows nothing of SM2."""

    def __init__(self):
        self.pem = openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2",
                           "-pkeyopt", "ec_param_enc:named_curve")
        self.spki = openssl("pkey", "-pubout", "-outform", "DER", stdin=self.pem)
        self.pkcs8 = openssl("pkcs8", "-topk8", "-nocrypt", "-outform", "DER", stdin=self.pem)

    def sign(self, message: bytes) -> bytes:
        with tempfile.TemporaryDirectory() as d:
            Path(d, "k").write_bytes(self.pem)
            Path(d, "m").write_bytes(message)
            return openssl("pkeyutl", "-sign", "-rawin", "-digest", "sm3", "-inkey", f"{d}/k", "-in", f"{d}/m",
                           "-pkeyopt", "distid:1234567812345678")


def openssl(*args: str, stdin: bytes = b"") -> bytes:
    done = subprocess.run(["openssl", *args], input=stdin, capture_output=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {' '.join(args)}: {done.stderr.decode(errors='replace')}")
    return done.stdout


def plain_of(key) -> bytes:
    """What is sealed: PKCS#8, of a P-256 key without its public half."""
    whole = key.pkcs8 if isinstance(key, Sm2Key) else pkcs8_of(key)
    head, public = bytes.fromhex("308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b0201010420"), bytes.fromhex("a144034200")
    if not (whole.startswith(head) and whole[len(head) + 32:].startswith(public)):
        return whole
    short = bytes.fromhex("3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420")
    return short + whole[len(head):len(head) + 32]


def public_spki(key) -> bytes:
    return key.spki if isinstance(key, Sm2Key) else spki_of(key.public_key())


# --- certificates ----------------------------------------------------------------------------------

def new_key(kind: str = "p256"):
    if kind.startswith("rsa"):
        return rsa.generate_private_key(65537, int(kind[3:]))
    if kind == "x25519":
        return x25519.X25519PrivateKey.generate()
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "sm2":
        return Sm2Key()
    return ec.generate_private_key({"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1(),
                                    "p224": ec.SECP224R1(), "k256": ec.SECP256K1()}[kind])


def utc(days: float) -> datetime.datetime:
    return datetime.datetime.utcnow().replace(microsecond=0) + datetime.timedelta(days=days)


class Authority:
    """A CA; issue() gives the DER of a certificate."""

    def __init__(self, name="Test Root", parent: "Authority | None" = None, kind="p256", path_length=None, **how):
        self.key = new_key(kind)
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.parent = parent or self
        self.der = self.parent.issue(self.key.public_key(), subject=self.name, ca=True, path_length=path_length,
                                     names=None, **{"days": 3650, **how})

    def issue(self, public_key, cn="www.example.com", names=("www.example.com",), days=90.0, start=-1.0, ca=False,
              subject=None, digest=None, path_length=None, issuer_key=None, serial=None, extensions=(), authority=None) -> bytes:
        """extensions: critical ones besides its own; authority: the key that it says signed it."""
        key = issuer_key or self.key
        subject = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)] if cn else [])
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
                   .public_key(public_key).serial_number(serial or x509.random_serial_number())
                   .not_valid_before(utc(start)).not_valid_after(utc(days))
                   .add_extension(x509.BasicConstraints(ca, path_length if ca else None), critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
                   .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority or self.key.public_key()),
                                  critical=False)
                   .add_extension(x509.KeyUsage(digital_signature=not ca, content_commitment=False,
                                                key_encipherment=False, data_encipherment=False,
                                                key_agreement=False, key_cert_sign=ca, crl_sign=ca,
                                                encipher_only=False, decipher_only=False), critical=True))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False)
        if digest is None and not isinstance(key, ed25519.Ed25519PrivateKey):
            digest = hashes.SHA384() if getattr(getattr(key, "curve", None), "name", "") == "secp384r1" else hashes.SHA256()
        return builder.sign(key, digest).public_bytes(serialization.Encoding.DER)


def pem_of(*ders: bytes) -> bytes:
    return b"".join(b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(d) + b"-----END CERTIFICATE-----\n"
                    for d in ders)


def csr_of(key, cn="www.example.com", names=True) -> bytes:
    request = (x509.CertificateSigningRequestBuilder()
               .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])))
    if names:
        request = request.add_extension(x509.SubjectAlternativeName([x509.DNSName(cn)]), critical=False)
    return (request.sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
            .public_bytes(serialization.Encoding.DER))


class Sm2Pair:
    """Signing and encryption certificate of one subject under an SM2 CA, by the openssl command."""

    USAGE = {"sign": "digitalSignature", "encrypt": "keyEncipherment,dataEncipherment,keyAgreement"}

    def __init__(self, cn="sm2.example.com", sign_usage=None, encrypt_usage=None, encrypt_cn=None, same_key=False):
        self.sign_key = Sm2Key()
        self.encrypt_key = self.sign_key if same_key else Sm2Key()
        with tempfile.TemporaryDirectory() as name:
            d = Path(name)
            ca = Sm2Key()
            (d / "ca.key").write_bytes(ca.pem)
            self.ca_der = self._ca(d)
            self.sign_der = self._leaf(d, self.sign_key, cn, sign_usage or self.USAGE["sign"])
            self.encrypt_der = self._leaf(d, self.encrypt_key, encrypt_cn or cn,
                                          encrypt_usage or self.USAGE["encrypt"])

    @staticmethod
    def _ca(d: Path) -> bytes:
        openssl("req", "-x509", "-new", "-key", f"{d}/ca.key", "-sm3", "-sigopt", "distid:1234567812345678",
                "-subj", "/CN=SM2 Test CA", "-days", "3650", "-out", f"{d}/ca.pem",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        return openssl("x509", "-in", f"{d}/ca.pem", "-outform", "DER")

    @staticmethod
    def _leaf(d: Path, key: Sm2Key, cn: str, usage: str) -> bytes:
        (d / "leaf.key").write_bytes(key.pem)
        (d / "ext").write_text(f"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,{usage}\n"
                               f"subjectAltName=DNS:{cn}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n")
        openssl("req", "-new", "-key", f"{d}/leaf.key", "-sm3", "-sigopt", "distid:1234567812345678",
                "-subj", f"/CN={cn}", "-out", f"{d}/leaf.csr")
        openssl("x509", "-req", "-in", f"{d}/leaf.csr", "-vfyopt", "distid:1234567812345678", "-CA", f"{d}/ca.pem",
                "-CAkey", f"{d}/ca.key", "-CAcreateserial", "-sm3", "-sigopt", "distid:1234567812345678",
                "-days", "90", "-extfile", f"{d}/ext", "-out", f"{d}/leaf.pem")
        return openssl("x509", "-in", f"{d}/leaf.pem", "-outform", "DER")


# --- events ----------------------------------------------------------------------------------------

class Record:
    """What is produced: account (the key), value, headers."""

    def __init__(self, account: str, value: bytes, signature: bytes, event_id: str):
        self.account, self.value, self.signature, self.id = account, value, signature, event_id

    @property
    def headers(self):
        return [("content-type", CONTENT_TYPE), ("certsync-sig", b64(self.signature).encode())]


def sequence(n: int) -> str:
    """CloudEvents' extension: a number as events and outcomes tell it."""
    return f"{n:016}"


def outcome_of(value: bytes) -> dict:
    """What an outcome says, in one dict: its data; n, subject and id are those of the envelope."""
    event = json.loads(value)
    return {**event["data"], "n": int(event["sequence"]), "id": event["id"], "subject": event.get("subject", ""), "time": event["time"]}


class Sender:
    """One signing key with its sequence."""

    def __init__(self, log_id: str, custodian: x25519.X25519PublicKey | None = None, key=None, seq=0):
        self.log_id, self.custodian, self.seq = log_id, custodian, seq
        self.key = key or new_key("p256")
        self.spki = spki_of(self.key.public_key())
        self.kid = kid_of(self.spki)

    def sign(self, value: bytes) -> bytes:
        return self.key.sign(pae(CONTENT_TYPE, value), ec.ECDSA(hashes.SHA256()))

    def envelope(self, kind: str, account: str, subject: str, data: dict, **over) -> dict:
        self.seq += 1
        place = f"accounts/{account}/" if account else ""
        event = {"specversion": "1.0", "type": f"certsync.{kind}.v1", "id": uuid7(),
                 "source": f"//{self.log_id}/{place}keys/{self.kid}", "subject": subject,
                 "time": utc(0).strftime("%Y-%m-%dT%H:%M:%SZ"), "sequence": sequence(self.seq),
                 "datacontenttype": "application/json", "data": data}
        event.update(over)
        return event

    def record(self, account: str, event: dict) -> Record:
        value = json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode()
        return Record(account, value, self.sign(value), event["id"])

    def event(self, kind: str, account: str, subject: str, data: dict, **over) -> Record:
        return self.record(account, self.envelope(kind, account, subject, data, **over))

    def part(self, account: str, event_id: str, subject: str, key, chain: list[bytes], role="single",
             signing_key=None) -> dict:
        """chain, key and pop members of an upload; signing_key signs the proof instead of key."""
        sealed = seal(self.custodian, self.log_id, account, subject, role, public_spki(key), plain_of(key))
        message = pop_message(self.log_id, account, self.kid, event_id, subject, sealed, chain[0])
        return {"chain": [b64(c) for c in chain], "key": b64(sealed), "pop": b64(sign_with(signing_key or key, message))}

    def upload(self, account: str, name: str, key, chain: list[bytes], subject=None, kind="certificate.upload",
               algorithm="international", extra=None, event_id=None, **part) -> Record:
        subject, event_id = subject or uuid7(), event_id or uuid7()
        data = {"name": name, "algorithm": algorithm, **(extra or {}),
                **self.part(account, event_id, subject, key, chain, **part)}
        return self.event(kind, account, subject, data, id=event_id)

    def upload_sm2(self, account: str, name: str, pair: Sm2Pair, subject=None, extra=None) -> Record:
        subject, event_id = subject or uuid7(), uuid7()
        data = {"name": name, "algorithm": "sm2", **(extra or {}),
                "sign": self.part(account, event_id, subject, pair.sign_key, [pair.sign_der, pair.ca_der], "sm2-sign"),
                "encrypt": self.part(account, event_id, subject, pair.encrypt_key, [pair.encrypt_der, pair.ca_der],
                                     "sm2-enc")}
        return self.event("certificate.upload", account, subject, data, id=event_id)

    def csr_add(self, account: str, name: str, key, der: bytes, subject=None) -> Record:
        subject, event_id = subject or uuid7(), uuid7()
        sealed = seal(self.custodian, self.log_id, account, subject, "single", public_spki(key), plain_of(key))
        message = pop_message(self.log_id, account, self.kid, event_id, subject, sealed, der)
        return self.event("csr.add", account, subject,
                          {"name": name, "csr": b64(der), "key": b64(sealed), "pop": b64(sign_with(key, message))},
                          id=event_id)
