# SPDX-License-Identifier: Apache-2.0
"""The mark that a consumer's records of cert.outcomes carry (consumer/worker/outcome_mark.h), made again: HKDF of Python's cryptography, and
SipHash-2-4 with 128 bits as the paper has it."""
import base64
import hashlib
import re

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HEADER = "certsync-mark"
FORM = re.compile(rb"[0-9a-f]{8}\.[A-Za-z0-9_-]{22}")
MASK = (1 << 64) - 1


def _turn(v, n):
    return (v << n | v >> 64 - n) & MASK


def _rounds(v, n):
    a, b, c, d = v
    for _ in range(n):
        a, c = a + b & MASK, c + d & MASK
        b, d = _turn(b, 13) ^ a, _turn(d, 16) ^ c
        a = _turn(a, 32)
        c, a = c + b & MASK, a + d & MASK
        b, d = _turn(b, 17) ^ c, _turn(d, 21) ^ a
        c = _turn(c, 32)
    return [a, b, c, d]


def siphash(key, data):
    k = [int.from_bytes(key[i:i + 8], "little") for i in (0, 8)]
    v = [0x736F6D6570736575 ^ k[0], 0x646F72616E646F6D ^ k[1] ^ 0xEE, 0x6C7967656E657261 ^ k[0], 0x7465646279746573 ^ k[1]]
    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for i in range(0, len(padded), 8):
        word = int.from_bytes(padded[i:i + 8], "little")
        v[3] ^= word
        v = _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xEE
    v = _rounds(v, 4)
    low = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    v = _rounds(v, 4)
    return low.to_bytes(8, "little") + (v[0] ^ v[1] ^ v[2] ^ v[3]).to_bytes(8, "little")


def _hkdf(secret, salt, length):
    return HKDF(hashes.SHA256(), length, salt, b"certsync outcome").derive(secret)


class Marks:
    """Of one service key (a P-256 private key) and log."""

    def __init__(self, service, log_id):
        secret = service.private_numbers().private_value.to_bytes(32, "big")
        self.key = _hkdf(_hkdf(secret, log_id.encode(), 32), b"", 16)
        spki = service.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.kid = hashlib.sha256(spki).hexdigest()[:8]

    def of(self, partition, key, value):
        mac = siphash(self.key, partition.to_bytes(4, "big") + bytes([len(key)]) + key + value)
        return f"{self.kid}.".encode() + base64.urlsafe_b64encode(mac).rstrip(b"=")

    def headers(self, partition, key, value):
        """Those of a record as a consumer writes it."""
        return [("content-type", b"application/cloudevents+json"), (HEADER, self.of(partition, key, value))]
