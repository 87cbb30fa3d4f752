# SPDX-License-Identifier: Apache-2.0
"""The custodian's half: opening what was sealed, by RFC 9180 (base mode, DHKEM(X25519), HKDF-SHA256, AES-256-GCM)."""
import base64
import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from model_py.wire import fields

KEM = b"KEM\x00\x20"
SUITE = b"HPKE\x00\x20\x00\x01\x00\x02"


def raw(private):
    return private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def extract(suite, salt, label, ikm):
    return hmac.new(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, hashlib.sha256).digest()


def expand(suite, prk, label, info, length):
    """At most one block of HKDF: no length here is above 32."""
    return hmac.new(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info + b"\x01", hashlib.sha256).digest()[:length]


class Unsealer:
    def __init__(self, custodian, log_id):
        self.custodian = custodian
        self.public = custodian.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        info = extract(SUITE, b"", b"info_hash", b"certsync.seal.v1\0" + log_id.encode())
        self.context = b"\0" + extract(SUITE, b"", b"psk_id_hash", b"") + info

    def open(self, sealed, aad):
        enc, ciphertext = sealed[17:49], sealed[49:]
        dh = self.custodian.exchange(x25519.X25519PublicKey.from_public_bytes(enc))
        shared = expand(KEM, extract(KEM, b"", b"eae_prk", dh), b"shared_secret", enc + self.public, 32)
        secret = extract(SUITE, shared, b"secret", b"")
        key, nonce = (expand(SUITE, secret, label, self.context, n) for label, n in ((b"key", 32), (b"base_nonce", 12)))
        return AESGCM(key).decrypt(nonce, ciphertext, aad)

    def __call__(self, account, certificate, parts):
        """What is wrong with the sealed keys of a certificate: each must open, and be a PKCS#8 key."""
        found = []
        for part, leaf in zip(parts, certificate["summary"]["leaves"]):
            aad = fields(account.encode(), part["key_subject"].encode(), part["role"].encode(), bytes.fromhex(leaf["spki_sha256"]))
            try:
                if self.open(base64.b64decode(part["key"]), aad)[:1] != b"\x30":
                    found.append("its sealed key holds no key")
            except (InvalidTag, ValueError) as e:
                found.append(f"its sealed key does not open: {e!r}")
        return found
