# SPDX-License-Identifier: Apache-2.0
"""X.509 certificates and requests as the rules see them.

International ones are read by python3-cryptography. What that package cannot (SM2 keys and signatures) is done here: a small
DER reader, and SM2 verification over GB/T 32918 in plain integers with hashlib's SM3.
"""
import hashlib
import re
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509.oid import ExtensionOID, NameOID

CERT_DER_MAX, CSR_DER_MAX = 64 * 1024, 32 * 1024


class Refused(Exception):
    """A code of the rule book."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


class CannotExamine(Exception):
    """The model has no opinion on this; the harness counts and reports it."""


# --- DER ---------------------------------------------------------------------------------------------

def tlv(data, at=0):
    """(tag, start of the value, end of the value) of the element at `at`; ValueError where it is none."""
    if at + 2 > len(data):
        raise ValueError("truncated")
    tag, length, start = data[at], data[at + 1], at + 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 4 or start + count > len(data):
            raise ValueError("length")
        length, start = int.from_bytes(data[start:start + count], "big"), start + count
    if start + length > len(data):
        raise ValueError("truncated")
    return tag, start, start + length


def children(data, at=0):
    """The elements inside of the element at `at`, each as its whole bytes."""
    _, start, end = tlv(data, at)
    found = []
    while start < end:
        _, _, after = tlv(data, start)
        found.append(bytes(data[start:after]))
        start = after
    return found


def value_of(element):
    _, start, end = tlv(element)
    return element[start:end]


OID_RSA, OID_EC, OID_ED25519, OID_X25519 = (bytes.fromhex(h) for h in (
    "2a864886f70d010101", "2a8648ce3d0201", "2b6570", "2b656e"))
CURVES = {bytes.fromhex("2a8648ce3d030107"): ("P-256", 256, 65), bytes.fromhex("2b81040022"): ("P-384", 384, 97),
          bytes.fromhex("2b81040023"): ("P-521", 521, 133), bytes.fromhex("2a811ccf5501822d"): ("SM2", 256, 65)}
SIG_SM2_SM3 = bytes.fromhex("2a811ccf55018375")


class PublicKey:
    """An acceptable public key (of certificates, requests, senders): type, bits, verify()."""

    def __init__(self, spki):
        try:
            algorithm, bits = children(spki)
            if tlv(spki)[2] != len(spki):
                raise ValueError("trailing")
            parts = children(algorithm)
            oid, parameters = value_of(parts[0]), parts[1] if len(parts) > 1 else None
            raw = value_of(bits)
            if raw[0] != 0:
                raise ValueError("unused bits")
        except (ValueError, IndexError) as e:
            raise Refused("cert.malformed") from e
        self.spki, raw = spki, raw[1:]
        if oid == OID_RSA:
            self._rsa(spki)
        elif oid == OID_EC:
            self._curve(parameters, raw)
        elif oid == OID_ED25519 and len(raw) == 32:
            self.type, self.bits, self.key = "Ed25519", 253, load_der_public_key(spki)
        elif oid == OID_X25519 and len(raw) == 32:
            self.type, self.bits, self.key = "X25519", 256, None
        else:
            raise Refused("cert.weak_key")

    def _rsa(self, spki):
        self.key = load_der_public_key(spki)
        self.type, self.bits = "RSA", self.key.key_size
        if not 2048 <= self.bits <= 8192:
            raise Refused("cert.weak_key")

    def _curve(self, parameters, raw):
        if parameters is None or parameters[0] == 0x30:
            raise Refused("cert.explicit_curve")
        curve = CURVES.get(bytes(value_of(parameters)))
        if curve is None:
            raise Refused("cert.weak_key")
        self.type, self.bits, length = curve
        if (len(raw) == length // 2 + 1 and raw[0] in (2, 3)) or (len(raw) == length and raw[0] in (6, 7)):
            raise Refused("cert.weak_key")  # compressed, hybrid
        if len(raw) != length or raw[0] != 4:
            raise Refused("cert.malformed")
        if self.type == "SM2":
            self.key = Sm2Point(int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:], "big"))
            if not self.key.on_curve():
                raise Refused("cert.malformed")
        else:
            self.key = load_der_public_key(self.spki)

    def verify(self, signature, message, digest=None):
        """digest None: the one of proofs of possession (RSA: SHA-256; the curve's own; SM3)."""
        try:
            if self.type == "RSA":
                self.key.verify(signature, message, padding.PKCS1v15(), digest or hashes.SHA256())
            elif self.type == "Ed25519":
                self.key.verify(signature, message)
            elif self.type == "SM2":
                return sm2_verify(self.key, signature, message)
            else:
                own = {"P-256": hashes.SHA256, "P-384": hashes.SHA384, "P-521": hashes.SHA512}[self.type]
                self.key.verify(signature, message, ec.ECDSA(digest or own()))
            return True
        except InvalidSignature:
            return False


@lru_cache(maxsize=4096)
def public_key(spki):
    return PublicKey(spki)


# --- SM2 (GB/T 32918-2016, recommended curve) --------------------------------------------------------

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
GX = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
GY = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0
SM2_ID = b"1234567812345678"


class Sm2Point:
    def __init__(self, x, y):
        self.x, self.y = x, y

    def on_curve(self):
        return self.x < P and self.y < P and (self.y * self.y - self.x ** 3 - A * self.x - B) % P == 0


def _double(p):
    x, y, z = p
    if not y:
        return 0, 1, 0
    s, m = 4 * x * y * y % P, (3 * x * x + A * z ** 4) % P
    x3 = (m * m - 2 * s) % P
    return x3, (m * (s - x3) - 8 * y ** 4) % P, 2 * y * z % P


def _add(p, q):
    if not p[2]:
        return q
    if not q[2]:
        return p
    z1, z2 = p[2] * p[2] % P, q[2] * q[2] % P
    u1, u2 = p[0] * z2 % P, q[0] * z1 % P
    s1, s2 = p[1] * z2 * q[2] % P, q[1] * z1 * p[2] % P
    if u1 == u2:
        return _double(p) if s1 == s2 else (0, 1, 0)
    h, r = (u2 - u1) % P, (s2 - s1) % P
    h2 = h * h % P
    h3, v = h * h2 % P, u1 * h2 % P
    x3 = (r * r - h3 - 2 * v) % P
    return x3, (r * (v - x3) - s1 * h3) % P, h * p[2] * q[2] % P


def _combine(s, t, point):
    """s*G + t*point, its x coordinate (Shamir's trick)."""
    g, q = (GX, GY, 1), (point.x, point.y, 1)
    both, total = _add(g, q), (0, 1, 0)
    for i in range(max(s.bit_length(), t.bit_length()) - 1, -1, -1):
        total = _double(total)
        bits = (s >> i & 1, t >> i & 1)
        if bits != (0, 0):
            total = _add(total, {(1, 0): g, (0, 1): q, (1, 1): both}[bits])
    if not total[2]:
        return None
    inverse = pow(total[2], -1, P)
    return total[0] * inverse * inverse % P


def sm3(data):
    return hashlib.new("sm3", data).digest()


def sm2_verify(point, signature, message):
    try:
        r, s = (int.from_bytes(value_of(e), "big") for e in children(signature))
        if tlv(signature)[2] != len(signature):
            return False
    except ValueError:
        return False
    if not (1 <= r < N and 1 <= s < N):
        return False
    t = (r + s) % N
    if t == 0:
        return False
    x = _combine(s, t, point)
    return x is not None and (int.from_bytes(sm2_digest(point, message), "big") + x) % N == r


def sm2_digest(point, message):
    z = sm3((len(SM2_ID) * 8).to_bytes(2, "big") + SM2_ID
            + b"".join(n.to_bytes(32, "big") for n in (A, B, GX, GY, point.x, point.y)))
    return sm3(z + message)


def multiply_base(k):
    """The x coordinate of k*G."""
    return _combine(k, 0, Sm2Point(GX, GY))


# --- certificates ------------------------------------------------------------------------------------

WEAK_HASHES = (hashes.MD5, hashes.SHA1)
SIGNATURES = {"1.2.840.113549.1.1.11", "1.2.840.113549.1.1.12", "1.2.840.113549.1.1.13",
              "1.2.840.10045.4.3.2", "1.2.840.10045.4.3.3", "1.2.840.10045.4.3.4", "1.3.101.112",
              "1.2.156.10197.1.501"}
WEAK_SIGNATURES = {"1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1", "1.2.840.113549.1.1.2"}


class Certificate:
    """One certificate, read once; what it is refused for is raised as Refused."""

    def __init__(self, der):
        self.der = der
        try:
            if len(der) > CERT_DER_MAX or tlv(der)[2] != len(der):
                raise ValueError("size")
            self.x = x509.load_der_x509_certificate(der)
            tbs, outer, signature = children(der)
            fields = children(tbs)
            if fields[0][0] == 0xA0:
                fields = fields[1:]
            self.tbs, self.issuer_der, self.subject_der, spki = tbs, fields[2], fields[4], fields[5]
            self.sig_oid = self.x.signature_algorithm_oid.dotted_string
            if fields[1] != outer:
                raise ValueError("algorithms differ")
            self.signature = value_of(signature)[1:]
            self.extensions = self.x.extensions
            _check_fields(fields, self.extensions)
        except (ValueError, IndexError, x509.DuplicateExtension, x509.InvalidVersion) as e:
            raise Refused("cert.malformed") from e
        if any(e.oid == ExtensionOID.PRECERT_POISON and e.critical for e in self.extensions):
            raise Refused("cert.malformed")
        self.spki = spki
        self.self_issued = self.issuer_der == self.subject_der
        basic = self.extension(ExtensionOID.BASIC_CONSTRAINTS)
        version1 = self.x.version == x509.Version.v1
        self.is_ca = bool(basic and basic.ca) or (version1 and self.self_issued)
        usage = self.extension(ExtensionOID.KEY_USAGE)
        self.usage = usage
        self.can_sign_certs = self.is_ca and (usage is None or usage.key_cert_sign)
        self.path_length = basic.path_length if basic else None
        if version1 and not self.is_ca:
            raise Refused("cert.not_v3")
        self.key = public_key(spki)
        if self.key.type == "X25519":
            raise Refused("cert.weak_key")
        if self.sig_oid not in SIGNATURES and not (self.sig_oid in WEAK_SIGNATURES and self.self_issued):
            if self.sig_oid not in WEAK_SIGNATURES:
                raise CannotExamine(f"signature algorithm {self.sig_oid}")
            raise Refused("cert.weak_signature")
        self.sha256 = hashlib.sha256(der).hexdigest()
        self.spki_sha256 = hashlib.sha256(spki).hexdigest()
        serial = f"{abs(self.x.serial_number):x}"
        self.serial = "-" * (self.x.serial_number < 0) + "0" * (len(serial) % 2) + serial
        self.not_before_s, self.not_after_s = (_seconds(self.x.not_valid_before), _seconds(self.x.not_valid_after))
        self.names = names_of(self.extension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME) or [])
        self.has_common_name = bool(self.x.subject.get_attributes_for_oid(NameOID.COMMON_NAME))

    def extension(self, oid):
        try:
            return self.extensions.get_extension_for_oid(oid).value
        except x509.ExtensionNotFound:
            return None

    def summary(self):
        """As the catalog shows a leaf."""
        return {"sha256": self.sha256, "spki_sha256": self.spki_sha256, "serial": self.serial,
                "not_before_s": self.not_before_s, "not_after_s": self.not_after_s, "key_type": self.key.type,
                "key_bits": self.key.bits, "subject": self.x.subject.rfc4514_string(),
                "issuer": self.x.issuer.rfc4514_string(), "names_total": len(self.names), "names": self.names[:100]}


# --- what python3-cryptography reads more generously than the rules

PRINTABLE = re.compile(rb"[A-Za-z0-9 '()+,./:=?*&-]*")


def _check_fields(fields, extensions):
    """ValueError where a name, a unique id or a subject alternative name is not of its form."""
    for name in (fields[2], fields[4]):
        for rdn in children(name):
            for ava in children(rdn):
                _check_text(children(ava)[1])
    for unique_id in (f for f in fields[6:] if f[0] in (0x81, 0x82)):
        bits = value_of(unique_id)
        if not bits or bits[0] > 7 or (len(bits) == 1 and bits[0]):
            raise ValueError("unique id")
    for extension in extensions:
        if extension.oid == ExtensionOID.SUBJECT_ALTERNATIVE_NAME:
            _check_alternative_names(fields[-1])


def _check_text(value):
    text, tag = value_of(value), value[0]
    if (tag == 0x13 and not PRINTABLE.fullmatch(text)) or (tag == 0x16 and not text.isascii()) \
            or (tag == 0x12 and not re.fullmatch(rb"[0-9 ]*", text)):
        raise ValueError("alphabet")


def _check_alternative_names(extensions):
    for extension in children(children(extensions)[0]):
        oid, *_, value = children(extension)
        if value_of(oid) != b"\x55\x1d\x11":
            continue
        for name in children(value_of(value)):
            text = value_of(name)
            if name[0] not in (0xA0, 0x81, 0x82, 0xA3, 0xA4, 0xA5, 0x86, 0x87, 0x88):
                raise ValueError("tag of a name")
            if (name[0] == 0x82 and re.search(rb"[^ -~]", text)) or (name[0] in (0x81, 0x86) and not text.isascii()):
                raise ValueError("text of a name")


def names_of(san):
    found = []
    for name in san:
        if getattr(name, "value", None) == "":
            continue
        if isinstance(name, x509.DNSName):
            found.append(name.value)
        elif isinstance(name, x509.IPAddress):
            found.append(f"IP:{name.value}")
        elif isinstance(name, x509.RFC822Name):
            found.append(f"email:{name.value}")
        elif isinstance(name, x509.UniformResourceIdentifier):
            found.append(f"URI:{name.value}")
    return found


def _seconds(when):
    import calendar
    return calendar.timegm(when.timetuple())


@lru_cache(maxsize=8192)
def certificate(der):
    return Certificate(der)


@lru_cache(maxsize=65536)
def signed_by(der, issuer_der):
    """Whether the name and the key of `issuer` signed `der`: (names fit, signature fits)."""
    cert, issuer = certificate(der), certificate(issuer_der)
    if cert.issuer_der != issuer.subject_der:
        return False, False
    if cert.sig_oid == "1.2.156.10197.1.501":
        return True, issuer.key.type == "SM2" and issuer.key.verify(cert.signature, cert.tbs)
    digest = cert.x.signature_hash_algorithm
    fits = {"RSA": "1.2.840.113549.1.1.", "Ed25519": "1.3.101.112"}.get(issuer.key.type, "1.2.840.10045.4.")
    return True, cert.sig_oid.startswith(fits) and issuer.key.verify(cert.signature, cert.tbs, digest)


def leaf_code(leaf, algorithm):
    """The leaf's own rules but the dates; "" where all hold."""
    if leaf.is_ca:
        return "cert.is_ca"
    if (leaf.key.type == "SM2") != (algorithm == "sm2"):
        return "cert.algorithm"
    if not leaf.names and not leaf.has_common_name:
        return "cert.no_name"
    return ""


LINKS_MAX = 24


def chain_code(certs):
    """(code, facts) of a chain, leaf first. `chain.order` where its members would be a chain in another order."""
    order, path, code = chain_order(certs)
    if not code and order != certs:
        code = "chain.order"
    return code, None if code else _facts(path)


NOTES = ["chain.incomplete", "chain.expired", "chain.not_yet_valid", "chain.ends_early", "chain.names", "chain.key_id",
         "cert.critical", "cert.purpose", "cert.no_san"]
KNOWN_CRITICAL = {f"2.5.29.{n}" for n in (15, 17, 19, 30, 31, 32, 33, 36, 37, 54)} | {
    "1.3.6.1.5.5.7.48.1.5", "1.3.6.1.5.5.7.1.7", "1.3.6.1.5.5.7.1.8"}


def _facts(path):
    """What clients will say of a path: (notes, the last notBefore and the first notAfter of its CA certificates)."""
    leaf, above = path[0], path[1:]
    notes = set()
    if not above and not (leaf.self_issued and signed_by(leaf.der, leaf.der)[1]):
        notes.add("chain.incomplete")
    if leaf.extension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME) is None:
        notes.add("cert.no_san")
    for cert in path:
        if any(e.critical and e.oid.dotted_string not in KNOWN_CRITICAL for e in cert.extensions):
            notes.add("cert.critical")
        purposes = cert.extension(ExtensionOID.EXTENDED_KEY_USAGE)
        if purposes is not None and not {"1.3.6.1.5.5.7.3.1", "2.5.29.37.0"} & {o.dotted_string for o in purposes}:
            notes.add("cert.purpose")
    for cert, issuer in zip(path, above):
        if not _key_id_fits(cert, issuer):
            notes.add("chain.key_id")
    for i, issuer in enumerate(above, 1):
        limits = issuer.extension(ExtensionOID.NAME_CONSTRAINTS)
        if limits and not all(_names_allowed(limits, c, c is leaf) for c in path[:i] if c is leaf or not c.self_issued):
            notes.add("chain.names")
    starts, ends = max((c.not_before_s for c in above), default=None), min((c.not_after_s for c in above), default=None)
    if ends is not None and ends < leaf.not_after_s:
        notes.add("chain.ends_early")
    return notes, starts, ends


def notes_at(facts, now):
    """All notes of chains at a time, in their order."""
    notes = set().union(*(f[0] for f in facts))
    starts, ends = [f[1] for f in facts if f[1] is not None], [f[2] for f in facts if f[2] is not None]
    if ends and now > min(ends):
        notes = (notes - {"chain.ends_early"}) | {"chain.expired"}
    elif starts and now < max(starts):
        notes.add("chain.not_yet_valid")
    return sorted(notes, key=NOTES.index)


def _key_id_fits(cert, issuer):
    theirs, own = (c.extension(oid) for c, oid in ((cert, ExtensionOID.AUTHORITY_KEY_IDENTIFIER),
                                                   (issuer, ExtensionOID.SUBJECT_KEY_IDENTIFIER)))
    if theirs is None:
        return True
    if theirs.key_identifier is not None and own is not None and theirs.key_identifier != own.digest:
        return False
    if theirs.authority_cert_serial_number is not None and theirs.authority_cert_serial_number != issuer.x.serial_number:
        return False
    names = [n.value for n in theirs.authority_cert_issuer or [] if isinstance(n, x509.DirectoryName)]
    return not names or names[0] == issuer.x.issuer


def _names_allowed(limits, cert, is_leaf):
    """As OpenSSL: the subject and its e-mail addresses, the alternative names, a leaf's common names where no DNS name is there."""
    names = list(cert.extension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME) or [])
    if is_leaf and not any(isinstance(n, x509.DNSName) for n in names):
        texts = [a.value for a in cert.x.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        names += [x509.DNSName(t) for t in texts if HOST_NAME.fullmatch(t)]
    if list(cert.x.subject):
        names.append(x509.DirectoryName(cert.x.subject))
    emails = [a.value for a in cert.x.subject.get_attributes_for_oid(NameOID.EMAIL_ADDRESS)]
    if not all(isinstance(e, str) and e.isascii() for e in emails):
        return False
    names += [x509.RFC822Name(e) for e in emails]
    for name in names:
        permitted = [_within(name, t) for t in limits.permitted_subtrees or [] if isinstance(t, type(name))]
        excluded = [_within(name, t) for t in limits.excluded_subtrees or [] if isinstance(t, type(name))]
        if None in permitted or None in excluded or any(excluded) or (permitted and not any(permitted)):
            return False
    return True


HOST_NAME = re.compile(r"(?!.*(-\.|\.-|\.\.))(?=.*\.)\w[\w.-]*\w", re.ASCII)


def _within(name, base):
    """None where the name cannot be read."""
    if isinstance(name, x509.IPAddress):
        return name.value.version == base.value.version and name.value in base.value
    if isinstance(name, x509.DirectoryName):
        return list(name.value.rdns)[:len(base.value.rdns)] == list(base.value.rdns)
    if isinstance(name, x509.RFC822Name):
        return _mailbox_within(name.value, base.value)
    if isinstance(name, x509.UniformResourceIdentifier):
        authority = re.match(r"[^:]*://([^/?#]*)", name.value)
        host = authority and authority[1].rpartition("@")[2].partition(":")[0]
        return _is_host(host, base.value) if host else None
    if not isinstance(name, x509.DNSName):
        raise CannotExamine("name constraints of other kinds")
    text, of = name.value.lower(), base.value.lower()
    return not of or text == of or text.endswith(of if of.startswith(".") else "." + of)


def _is_host(host, of):
    host, of = host.lower(), of.lower()
    return host.endswith(of) and host != of if of.startswith(".") else host == of


def _mailbox_within(mailbox, of):
    local, at, host = mailbox.rpartition("@")
    of_local, _, of_host = of.rpartition("@")
    if not at:
        return None
    if "@" not in of and of.startswith("."):
        return _is_host("@" + host, of)
    return of_local in ("", local) and host.lower() == of_host.lower()


def chain_order(certs):
    """(the one order of this set, its path, ""), or (None, None, code). By trying every path from the leaf, which is certs[0]."""
    leaf, rest = certs[0], certs[1:]
    if len({c.der for c in certs}) < len(certs):
        return None, None, "chain.stray"
    names = {(c, i) for c in certs for i in rest if c.issuer_der == i.subject_der}
    paths = list(_paths([leaf], rest)) if len(names) <= LINKS_MAX else []
    distance = {}
    for path, _ in paths:
        for i, c in enumerate(path):
            distance[c] = min(i, distance.get(c, i))
    lost = [c for c in rest if c not in distance]
    if lost:
        stuck = [c for c in distance if not _is_root(c) and all(p[-1] is c for p, _ in paths if c in p)]
        return None, None, "chain.broken" if any((c, x) in names for c in stuck for x in lost) else "chain.stray"
    best = min((p for p, ends in paths if ends),
               key=lambda p: (not _is_root(p[-1]), len(p), [_rank(c) for c in p]))
    return best + sorted((c for c in rest if c not in best), key=lambda c: (distance[c], _rank(c))), best, ""


def _rank(cert):
    return -cert.not_after_s, cert.sha256


def _is_root(cert):
    return cert.self_issued and (cert.sig_oid in WEAK_SIGNATURES or signed_by(cert.der, cert.der)[1])


def _paths(path, rest):
    """Every path that begins so, and whether it may end there: at a root, or where nothing continues it."""
    further = [c for c in rest if c not in path and c.can_sign_certs and all(signed_by(path[-1].der, c.der))
               and (c.path_length is None or sum(not x.self_issued for x in path[1:]) <= c.path_length)]
    yield path, not further or _is_root(path[-1])
    for c in further:
        yield from _paths([*path, c], rest)


def sm2_pair_code(sign, encrypt):
    usage = sign.usage
    if usage is not None and not usage.digital_signature:
        return "sm2.usage"
    usage = encrypt.usage
    if usage is not None and not (usage.key_encipherment or usage.data_encipherment or usage.key_agreement):
        return "sm2.usage"
    if sign.spki == encrypt.spki:
        return "sm2.same_key"
    if sign.subject_der != encrypt.subject_der:
        return "sm2.subject"
    return ""


class Request:
    """A PKCS#10 request, its own signature verified."""

    def __init__(self, der):
        self.der = der
        try:
            if len(der) > CSR_DER_MAX or tlv(der)[2] != len(der):
                raise ValueError("size")
            info, _, _ = children(der)
            fields = children(info)
            self.spki = fields[2]
            self.x = x509.load_der_x509_csr(der)
            self.subject = self.x.subject.rfc4514_string()
        except (ValueError, IndexError) as e:
            raise Refused("csr.malformed") from e
        self.key = public_key(self.spki)
        if self.key.type == "SM2":
            raise CannotExamine("a request with an SM2 key")
        if not self.x.is_signature_valid:
            raise Refused("csr.bad_signature")
        self.spki_sha256 = hashlib.sha256(self.spki).hexdigest()
        try:
            self.names = names_of(self.x.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value)
        except x509.ExtensionNotFound:
            self.names = []


@lru_cache(maxsize=4096)
def request(der):
    return Request(der)
