# SPDX-License-Identifier: Apache-2.0
"""Policies of accounts and patterns of hosts, a second time: written after the rule book, not after the C code."""
import ipaddress
import re

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from model_py.der import Refused

LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
HOST = re.compile(rf"(?:{LABEL}\.)*(?![0-9]+\Z){LABEL}\Z", re.ASCII)
KEY = re.compile(r"RSA-([0-9]{4})\Z|P-256\Z|P-384\Z|P-521\Z|Ed25519\Z|SM2\Z", re.ASCII)
KEYS = ["RSA", "P-256", "P-384", "P-521", "Ed25519", "SM2"]
LIST_MAX, ISSUERS_MAX, ISSUER_MAX, DETAIL_NAME_MAX = 1023, 2047, 255, 100


def pattern_valid(text):
    if text.startswith("IP:"):
        try:
            return text == "IP:*" or str(ipaddress.ip_address(text[3:])) == text[3:]
        except ValueError:
            return False
    host = re.sub(r"\A\*\*?\.", "", text)
    return len(host) <= 253 and HOST.match(host) is not None


def patterns_valid(patterns, least=0):
    return (least <= len(patterns) == len(set(patterns)) and all(isinstance(p, str) and pattern_valid(p) for p in patterns)
            and len("\n".join(patterns)) <= LIST_MAX)


def issuers_valid(issuers):
    return (len(issuers) == len(set(issuers)) and len("\n".join(issuers)) <= ISSUERS_MAX
            and all(re.fullmatch(r"spki:[0-9a-f]{64}|name:[ -~]+", i) and i.strip("*") != "name:" and len(i) <= ISSUER_MAX for i in issuers))


def keys_valid(keys):
    kinds = [k.split("-")[0] if k.startswith("RSA") else k for k in keys]
    return len(kinds) == len(set(kinds)) and all(
        (m := KEY.match(k)) and (m[1] is None or 2048 <= int(m[1]) <= 8192) for k in keys)


def _wildcard(name):
    return "*" in name.split(".")[0]


def covered(patterns, name):
    """Whether one pattern stands for each host that the DNS name stands for."""
    name = name.lower()
    labels = name.split(".")
    if "" in labels or len(name) > 253 or any("*" in x for x in labels[1:]):
        return False
    for pattern in patterns:
        if pattern.startswith("IP:"):
            continue
        parts = pattern.split(".")
        if parts[0] not in ("*", "**"):
            if name == pattern and not _wildcard(name):
                return True
        elif labels[-len(parts) + 1:] == parts[1:] and len(labels) >= len(parts) and (parts[0] == "**" or len(labels) == len(parts)):
            return True
    return False


def within(inner, outer):
    """Whether a list of patterns stands for no host that another list does not."""
    if not outer:
        return True
    if not inner:
        return False
    for pattern in inner:
        if pattern.startswith("IP:"):
            good = pattern in outer or "IP:*" in outer
        elif pattern.startswith("**."):
            good = any(o.startswith("**.") and (pattern[3:] == o[3:] or pattern[3:].endswith("." + o[3:])) for o in outer)
        else:
            good = covered(outer, pattern)
        if not good:
            return False
    return True


def hosts(x):
    """(is an address, text) of each host that a certificate or request names."""
    found = []
    try:
        names = x.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        names = []
    for name in names:
        if isinstance(name, x509.DNSName) and name.value:
            found.append((False, name.value))
        elif isinstance(name, x509.IPAddress):
            found.append((True, str(name.value)))
    common = x.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not found and common and common[-1].value:
        found = [(False, common[-1].value)]
    return found


def _tell(what, address, name):
    plain = len(name) <= DETAIL_NAME_MAX and all("!" <= c <= "~" and c not in '"\\' for c in name)
    return f"{what}: {'IP:' if address else ''}{name}" if plain else ""


def check_hosts(v, patterns, named, code):
    if not patterns:
        return
    for address, name in named:
        if ("IP:" + name in patterns or "IP:*" in patterns) if address else covered(patterns, name):
            continue
        v.detail = _tell("Not covered", address, name)
        raise Refused(code)
    if not named:
        v.detail = "It names no host."
        raise Refused(code)


def _check_key(v, policy, key):
    allowed = policy.get("keys", [])
    if not allowed or any(k == key.type or (k.startswith("RSA-") and key.type == "RSA" and key.bits >= int(k[4:])) for k in allowed):
        return
    what = f"RSA-{key.bits}" if key.type == "RSA" else key.type
    v.detail = f"It is {what}; allowed: {' '.join(allowed)}"
    raise Refused("policy.key")


def _issued(policy, leaf, spkis):
    from model_py.wire import pattern_matches  # pylint: disable=import-outside-toplevel
    return any(i[5:] in spkis if i.startswith("spki:") else pattern_matches(i[5:], leaf.x.issuer.rfc4514_string())
               for i in policy["issuers"])


def check_certificates(v, policy, found):
    """found: of each part the leaf and the SHA-256 of its CA certificates' keys."""
    for leaf, _ in found:
        _check_key(v, policy, leaf.key)
    for leaf, _ in found:
        lifetime, most = leaf.not_after_s - leaf.not_before_s, policy.get("days", 0)
        if most and lifetime > most * 86400:
            v.detail = f"It is valid for {-(-lifetime // 86400)} days; allowed: {most}"
            raise Refused("policy.lifetime")
    if policy.get("issuers") and not all(_issued(policy, leaf, spkis) for leaf, spkis in found):
        raise Refused("policy.issuer")
    _check_names(v, policy, [hosts(leaf.x) for leaf, _ in found])


def _check_names(v, policy, all_named):
    for named in all_named:
        check_hosts(v, policy.get("dns"), named, "policy.dns")
    for named in all_named:
        for address, name in named:
            if policy.get("wildcards") == "reject" and not address and "*" in name:
                v.detail = _tell("A wildcard", address, name)
                raise Refused("policy.wildcard")


def check_request(v, policy, request):
    _check_key(v, policy, request.key)
    _check_names(v, policy, [hosts(request.x)])


def changed(old, change):
    """The policy of an account after account.update: empty demands are left out."""
    merged = {**old, **change}
    keys = merged.get("keys", [])
    keys = sorted(keys, key=lambda k: KEYS.index("RSA" if k.startswith("RSA") else k))
    merged["keys"] = keys
    return {k: merged[k] for k in ("keys", "days", "issuers", "dns", "wildcards")
            if merged.get(k) and (k != "wildcards" or merged[k] == "reject")}
