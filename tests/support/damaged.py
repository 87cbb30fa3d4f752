# SPDX-License-Identifier: Apache-2.0
"""Private keys as transport leaves them: for tests that nothing shows them."""

import base64
import random
import re

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from support import events as ev

# What a person can mend by the command that the message names: what happened, and what it made of the PEM text.
MENDABLE = {
    "one line": lambda t: t.replace("\n", ""),
    "one line with its end": lambda t: t.replace("\n", "") + "\n",
    "spaces": lambda t: t.replace("\n", " "),
    "written out": lambda t: t.replace("\n", "\\n"),
    "written out, CRLF": lambda t: t.replace("\n", "\\r\\n"),
    "in quotes": lambda t: 'KEY="' + t.replace("\n", "\\n") + '"\n',
    "JSON": lambda t: '{"a": 1, "tls.key": "' + t.replace("\n", "\\n").replace("/", "\\/").replace("+", "\\u002B") + '"}\n',
    "pretty JSON": lambda t: '{\n  "key": "' + t.replace("\n", "\\n") + '"\n}\n',
    "quoted": lambda t: "".join(f"> {line}\n" for line in t.splitlines()),
    "diff": lambda t: "".join(f"+{line}\n" for line in t.splitlines()),
    "four dashes": lambda t: t.replace("-----", "----"),
    "typographic dashes": lambda t: t.replace("-----", "\N{EM DASH}\N{EN DASH}"),
    "last line joined": lambda t: t.replace("\n-----END", "-----END"),
    "first line joined": lambda t: t.replace("KEY-----\n", "KEY-----"),
    "text before": lambda t: "key = " + t,
    "UTF-16LE": lambda t: t.encode("utf-16-le"),
    "UTF-16BE": lambda t: t.encode("utf-16-be"),
    "UTF-16": lambda t: t.encode("utf-16"),
    "base64 alone": lambda t: "".join(t.splitlines()[1:-1]) + "\n",
    "base64 alone, in lines": lambda t: "\n".join(t.splitlines()[1:-1]) + "\n",
}


def texts(pem, seed):
    """Some fifty damaged forms of one key, as bytes."""
    r, der = random.Random(seed), ev.der_of_pem(pem)
    body = "".join(pem.splitlines()[1:-1])
    yield from (v(pem) for v in MENDABLE.values())
    for what, to in (("BEGIN", "END"), ("END", "BEGIN"), ("PRIVATE", "PUBLIC"), (" PRIVATE KEY", ""), ("PRIVATE KEY", "CERTIFICATE"),
                     ("PRIVATE KEY", "CERTIFICATE REQUEST"), ("PRIVATE KEY", body[:60]), ("BEGIN ", f"BEGIN {body} "), ("-----", ""), ("\n", "%0A"),
                     ("\n", "\n\n"), ("=", ""), ("A", "*")):
        yield pem.replace(what, to)
    for _ in range(8):
        cut = r.randrange(40, len(pem))
        yield pem[:cut]
        yield pem[cut - 30:]
    yield from (body, body[7:], der.hex(), der.hex().upper()[9:], der, base64.urlsafe_b64encode(der))
    yield f"-----BEGIN {der.hex().upper()[:40]}-----\nAAAA\n"
    yield "-----END PRIVATE KEY-----\n" + body + "\n-----BEGIN PRIVATE KEY-----\n"
    yield pem + pem


def secret_of(key) -> bytes:
    """The bytes that make a key private; the rest of a key's file stands in its certificate, too."""
    if isinstance(key, rsa.RSAPrivateKey):
        n = key.private_numbers()
        return b"".join(v.to_bytes((v.bit_length() + 7) // 8, "big") for v in (n.d, n.p, n.q, n.dmp1, n.dmq1, n.iqmp))
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.private_numbers().private_value.to_bytes(key.key_size // 8, "big")
    return ev.plain_of(key)


def shows(key, text):
    """Whether text (bytes) has 8 bytes of the key (bytes) in base64 of any alignment, in hexadecimal, or as they are."""
    windows = shows.known.setdefault(key, None) or {key[i:i + 6] for i in range(len(key) - 5)}
    shows.known[key] = windows
    for run in re.findall(rb"[A-Za-z0-9+/_-]{8,}", text):
        plain = run.replace(b"-", b"+").replace(b"_", b"/")
        for start in range(4):  # each alignment; 11 characters have 8 of one alignment, which are 6 bytes
            piece = plain[start:]
            data = base64.b64decode(piece[:len(piece) // 4 * 4])
            if any(data[i:i + 6] in windows for i in range(0, len(data) - 5, 3)):
                return True
    for run in re.findall(rb"[0-9A-Fa-f]{16,}", text):
        for start in range(2):
            data = bytes.fromhex(run[start:start + (len(run) - start) // 2 * 2].decode())
            if any(data[i:i + 8] in key for i in range(len(data) - 7)):
                return True
    return any(key[i:i + 8] in text for i in range(len(key) - 7))


shows.known = {}
