# SPDX-License-Identifier: Apache-2.0
"""support.events' Sender for a thousand events a second: the same bytes' forms, with what repeats computed once.

Sealing uses one ephemeral key a run (the recipient cannot tell, and nothing here is secret); SM2 signatures are made in Python.
"""
import hashlib
import secrets

from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chaos.hpke import KEM, SUITE, expand, extract
from model_py import der
from support import events as ev

_forms = {}


def forms(key):
    """(SPKI, PKCS#8) of a private key."""
    if id(key) not in _forms:
        _forms[id(key)] = (key, ev.public_spki(key), ev.plain_of(key))
    return _forms[id(key)][1:]


class Sealer:
    def __init__(self, custodian, log_id):
        raw = Encoding.Raw, PublicFormat.Raw
        ephemeral, public = x25519.X25519PrivateKey.generate(), custodian.public_bytes(*raw)
        enc = ephemeral.public_key().public_bytes(*raw)
        shared = expand(KEM, extract(KEM, b"", b"eae_prk", ephemeral.exchange(custodian)), b"shared_secret", enc + public, 32)
        info = extract(SUITE, b"", b"info_hash", b"certsync.seal.v1\0" + log_id.encode())
        context = b"\0" + extract(SUITE, b"", b"psk_id_hash", b"") + info
        secret = extract(SUITE, shared, b"secret", b"")
        self.aead = AESGCM(expand(SUITE, secret, b"key", context, 32))
        self.nonce = expand(SUITE, secret, b"base_nonce", context, 12)
        self.head = b"\x01" + bytes.fromhex(ev.kid_of(ev.spki_of(custodian))) + enc

    def seal(self, account, subject, role, key):
        spki, plain = forms(key)
        aad = ev.fields(account.encode(), subject.encode(), role.encode(), hashlib.sha256(spki).digest())
        return self.head + self.aead.encrypt(self.nonce, plain, aad)


def sm2_sign(key, message):
    """GB/T 32918.2 with the default id."""
    d = int.from_bytes(der.value_of(der.children(der.value_of(der.children(forms(key)[1])[2]))[1]), "big")
    point = der.public_key(forms(key)[0]).key
    e = int.from_bytes(der.sm2_digest(point, message), "big")
    while True:
        k = 1 + secrets.randbelow(der.N - 1)
        r = (e + der.multiply_base(k)) % der.N
        s = pow(1 + d, -1, der.N) * (k - r * d) % der.N
        if r and s and r + k != der.N:
            return _sequence(_integer(r) + _integer(s))


def _integer(n):
    raw = n.to_bytes(n.bit_length() // 8 + 1, "big")
    return bytes([2, len(raw)]) + raw


def _sequence(content):
    return bytes([0x30, len(content)]) + content


class Sender(ev.Sender):
    def __init__(self, log_id, sealer=None, key=None):
        super().__init__(log_id, key=key)
        self.sealer = sealer

    def _sealed(self, account, event_id, subject, role, key, signed, signer):
        sealed = self.sealer.seal(account, subject, role, key)
        message = ev.pop_message(self.log_id, account, self.kid, event_id, subject, sealed, signed)
        pop = sm2_sign(signer, message) if isinstance(signer, ev.Sm2Key) else ev.sign_with(signer, message)
        return {"key": ev.b64(sealed), "pop": ev.b64(pop)}

    def part(self, account, event_id, subject, key, chain, role="single", signing_key=None):
        return {"chain": [ev.b64(c) for c in chain],
                **self._sealed(account, event_id, subject, role, key, chain[0], signing_key or key)}

    def csr_add(self, account, name, key, der, subject=None):  # pylint: disable=redefined-outer-name
        subject, event_id = subject or ev.uuid7(), ev.uuid7()
        return self.event("csr.add", account, subject, {
            "name": name, "csr": ev.b64(der), **self._sealed(account, event_id, subject, "single", key, der, key)}, id=event_id)
