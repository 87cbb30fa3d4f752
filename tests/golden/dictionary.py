#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the dictionary that documents are compressed with in Redis (consumer/catalog/packed.h): consumer/catalog/packed_dictionary.c.

PYTHONPATH=tests CS_TEST_BUILD=build/dev /usr/bin/python3 tests/golden/dictionary.py > DICTIONARY.c

Documents of every kind come out of a real catalog, with certificates as public and private CAs make them: what these have in common is
what the dictionary has. Catalogs that are in use were written with the dictionary of their letter: never make it anew in place.
"""
import ctypes
import json
import os
import sys
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from model_py import catalog, packed
from support import events as ev
from support.proc import wait_until
from support.stack import EVENTS, Stack

SIZE = 6144
EACH = 24  # certificates of each profile and key


def eku():
    return [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]),
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])]


def policies(*ids):
    return x509.CertificatePolicies([x509.PolicyInformation(ObjectIdentifier(i), None) for i in ids])


def access(ocsp, issuer):
    places = [(AuthorityInformationAccessOID.OCSP, ocsp), (AuthorityInformationAccessOID.CA_ISSUERS, issuer)]
    return x509.AuthorityInformationAccess([x509.AccessDescription(o, x509.UniformResourceIdentifier(u)) for o, u in places if u])


def crl(url):
    return x509.CRLDistributionPoints([x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)])


def timestamps():
    """The form of two signed certificate timestamps, which are random to a dictionary."""
    one = b"\0" + os.urandom(32) + b"\0\0\1" + os.urandom(5) + b"\0\0\4\3\0\x47\x30\x45\2\x21\0" + os.urandom(32) + b"\2\x20" + os.urandom(32)
    both = b"".join(len(x).to_bytes(2, "big") + x for x in (one, one))
    value = len(both).to_bytes(2, "big") + both
    return x509.UnrecognizedExtension(ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2"), b"\4\x81" + bytes([len(value)]) + value)


PROFILES = {  # extensions beyond basic constraints, key usage, key identifiers and names
    "plain": list,
    "server": lambda: [eku()[0]],
    "client, too": lambda: [eku()[1]],
    "public": lambda: [eku()[1], policies("2.23.140.1.2.1"), access("http://ocsp.example.com", "http://ca.example.com/1.crt"), timestamps()],
    "public, no OCSP": lambda: [eku()[0], policies("2.23.140.1.2.1"), access(None, "http://r1.i.example.org/"), crl("http://r1.c.example.org/1.crl"),
                                timestamps()],
    "organisation": lambda: [eku()[1], policies("2.23.140.1.2.2"), access("http://ocsp.example.net", "http://ca.example.net/ca.crt"),
                             crl("http://crl.example.net/ca.crl"), timestamps()],
}


def name(organisation, common):
    parts = [(NameOID.COUNTRY_NAME, "CN"), (NameOID.STATE_OR_PROVINCE_NAME, "Beijing"), (NameOID.ORGANIZATION_NAME, "Example Ltd")]
    return x509.Name([x509.NameAttribute(o, v) for o, v in (parts if organisation else [])] + [x509.NameAttribute(NameOID.COMMON_NAME, common)])


def leaf(ca, key, profile, host):
    """As ev.Authority.issue, but with extensions that are not critical."""
    builder = (x509.CertificateBuilder().subject_name(name(profile == "organisation", host)).issuer_name(ca.name).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(ev.utc(-1)).not_valid_after(ev.utc(89))
               .add_extension(x509.KeyUsage(True, False, False, False, False, False, False, False, False), critical=True)
               .add_extension(x509.BasicConstraints(False, None), critical=True)
               .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
               .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
               .add_extension(x509.SubjectAlternativeName([x509.DNSName(host), x509.DNSName("www." + host)]), critical=False))
    for extension in PROFILES[profile]():
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(ca.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def fill(stack):
    cas = [ev.Authority(f"Example Issuing CA {kind}", parent=ev.Authority(f"Example Root {kind}", kind=kind), kind=kind)
           for kind in ("p256", "p384", "rsa2048")]
    owner, other = stack.account("owner", owner="one"), stack.account("other", owner="one")
    records, official = [], []
    for n, (profile, kind) in enumerate((p, k) for p in PROFILES for k in ("p256", "p256", "rsa2048") for _ in range(EACH)):
        key, ca, host = ev.new_key(kind), cas[n % len(cas)], f"{profile.split(',')[0].replace(' ', '')}-{n}.example.com"
        chain = [leaf(ca, key, profile, host), ca.der]
        if n % 5:
            records.append(owner.agent.upload(owner.id, host, key, chain))
        else:
            records.append(stack.issuer.upload(owner.id, host, key, chain, kind="certificate.issue", extra={"source": "official"}))
            official.append(records[-1])
        if n % 3 == 0:
            records.append(owner.agent.csr_add(owner.id, f"csr-{n}", k := ev.new_key(), ev.csr_of(k, cn=host)))
    stack.send_all(records)
    stack.send_all([owner.agent.event("certificate.share", owner.id, json.loads(r.value)["subject"], {"to": other.id}) for r in official])
    stack.send_all([owner.agent.event("certificate.delete", owner.id, ev.uuid7(), {}) for _ in range(EACH)])


def settled(stack):
    client = stack.redis.client()
    return all(json.loads(catalog.document(client.get(f"cs:{{{p}}}:pos")) or b"{}").get("next_offset", 0) ==
               stack.kafka.watermarks(EVENTS, p)[1] for p in range(stack.partitions))


def documents():
    with tempfile.TemporaryDirectory(prefix="cs-dictionary-") as directory, Stack(Path(directory), partitions=2) as stack:
        stack.run_consumer()
        fill(stack)
        wait_until(lambda: settled(stack), 600, "a catalog")
        return catalog.read(stack.redis.client(), "cs", stack.partitions)[0]


def train(samples):
    out = ctypes.create_string_buffer(SIZE)
    sizes = (ctypes.c_size_t * len(samples))(*map(len, samples))
    size = packed.zstd().ZDICT_trainFromBuffer(out, ctypes.c_size_t(SIZE), b"".join(samples), sizes, ctypes.c_uint(len(samples)))
    if packed.failed(size):
        sys.exit("zstd made no dictionary of so few documents")
    return out.raw[:size]


def source(data):
    lines, line = [], "   "
    for byte in data:
        if len(line) + len(f" {byte},") > 110:
            lines.append(line)
            line = "   "
        line += f" {byte},"
    return "\n".join([
        "// SPDX-License-Identifier: Apache-2.0", "//", "// Made by tests/golden/dictionary.py. Catalogs hold what was compressed with it: it never changes.",
        '#include "catalog/packed.h"', "", "// clang-format off", "const uint8_t cs_packed_dictionary[] = {", *lines, line, "};", "// clang-format on",
        "const size_t cs_packed_dictionary_len = sizeof cs_packed_dictionary;", ""])


def main():
    samples = [packed.pack_strings(d) for d in documents().values()]
    print(source(train([s for s in samples if len(s) >= 100])), end="")


if __name__ == "__main__":
    main()
