# SPDX-License-Identifier: Apache-2.0
"""The catalogs as Redis must hold them: every document and every index that follows from the log, and nothing else."""
import base64
import hashlib
import json
import re
from collections import Counter

from model_py.audit import brief, differences
from model_py.packed import unpack
from model_py.wire import COUNTS
from support.events import b64


def expected(model, firsts):
    """{(partition, key): document} and {(partition, key): {member: score}}. firsts: per partition the first outcome records."""
    docs, indexes = {}, {}
    for p in model.partitions:
        def doc(key, value):
            docs[(p.number, key)] = value  # pylint: disable=cell-var-from-loop

        def index(key, members):
            if members:
                indexes[(p.number, key)] = members  # pylint: disable=cell-var-from-loop
        if p.system:
            doc("system", p.system)
        if p.tombstones:
            first = min(p.tombstones)
            doc("tombstones", {"first": first, "next": max(p.tombstones) + 1, "oldest_ms": p.tombstones[first]["at_ms"]})
        for n, t in p.tombstones.items():
            doc(f"tombstone/{n}", t)
        for kid, t in p.trust.items():
            doc(f"trust/{kid}", {**t, "key": b64(t["key"])})
        index("trusted", {kid: 0 for kid in p.trust})
        index("accounts", {name: 0 for name, a in p.accounts.items() if a.doc})
        for stream, seq in p.streams.items():
            doc(f"stream/{stream}", {"seq": seq})
            index(f"seen/{stream}", p.seen[stream])
        index("pending", {f"{name}/{i}": s["created_ms"] for name, a in p.accounts.items() for i, s in a.shares.items()
                          if s["state"] == "pending"})
        for name, a in p.accounts.items():
            _account(name, a, doc, index, firsts[p.number])
        named = Counter(text for a in p.accounts.values() for parts in a.material.values() for x in parts for text in x["chain"][1:])
        for text, used in named.items():
            doc(f"issuer/{_sha256(text)}", {"used": used, "certificate": text})
    return docs, indexes


def _sha256(base64_text):
    return hashlib.sha256(base64.b64decode(base64_text)).hexdigest()


def _account(name, a, doc, index, outcomes):
    if a.doc:
        doc(f"account/{name}", {k: v for k, v in a.doc.items() if not k.startswith("limit_") and k != "reject_incomplete_chain"}
            | {n: a.count(n) for n in COUNTS}
            | {"limits": {"certificates": a.doc["limit_certificates"], "shares": a.doc["limit_shares"],
                          **{n: a.doc["limit_" + n] for n in COUNTS},
                          "incomplete_chain": "reject" if a.doc["reject_incomplete_chain"] else "note"}})
    for kid, k in a.keys.items():
        doc(f"key/{name}/{kid}", {**k, "key": b64(k["key"])})
    index(f"keys/{name}", {k: 0 for k in a.keys})
    _certificates(name, a, doc, index)
    _installed(name, a, doc, index)
    for i, c in a.csrs.items():
        doc(f"csr/{name}/{i}", c)
    for spki, i in a.csr_spki.items():
        doc(f"csr-spki/{name}/{spki}", i)
    for called, i in a.csr_names.items():
        doc(f"csr-name/{name}/{called}", i)
    index(f"csrs/{name}", {f"{c['name']}/{i}": 0 for i, c in a.csrs.items() if not c["deleted"]})
    for i, s in a.shares.items():
        doc(f"share/{name}/{i}", s)
    for i, s in a.share_in.items():
        doc(f"share-in/{name}/{i}", s)
    for (owner, cert), s in a.shared_in.items():
        doc(f"shared-in/{name}/{owner}/{cert}", s)
    index(f"shares/{name}", {f"out/{i}": 0 for i, s in a.shares.items() if s["state"] != "closed"}
          | {f"in/{i}": 0 for i, s in a.share_in.items() if s["open"]})
    for event, (offset, final) in a.outcomes.items():
        value = {"outcome": json.loads(outcomes[offset].value)}
        doc(f"outcome/{name}/{event}", value | ({"final": {k: v for k, v in final.items() if v}} if final else {}))
    index(f"outcomes/{name}", a.window)


def _certificates(name, a, doc, index):
    view, expiry = {}, {}
    for i, c in a.certs.items():
        if c["deleted"]:
            doc(f"cert/{name}/{i}", c)
            continue
        doc(f"cert/{name}/{i}", {**c, **_counts(i, c, a), "shares": [{"share": s, "to": a.shares[s]["to"]} for s in c["shares"]]})
        doc(f"material/{name}/{i}", {"parts": [_part(**x) for x in a.material[i]]})
        member = f"{c['summary']['name']}/c/{i}"
        view[member], expiry[member] = 0, _ends(c["summary"])
    for (owner, i), s in a.shared_in.items():
        member = f"{s['summary']['name']}/s/{owner}/{i}"
        view[member], expiry[member] = 0, _ends(s["summary"])
    for n, i in a.names.items():
        doc(f"name/{name}/{n}", i)
    index(f"view/{name}", view)
    index(f"expiry/{name}", expiry)


def _lowest(at):
    return min(x["version"] for x in at)


def _counts(i, c, a):
    """How many hosts have the certificate, by the lowest version that each has."""
    found = Counter(_lowest(at) for (cert, _), at in a.installed.items() if cert == i)
    old = [{**x, "installed": found.pop(x["version"], 0)} for x in c["old_versions"]]
    return {"installed": found.pop(c["summary"]["version"], 0), "old_versions": old, "older_installed": sum(found.values())}


def _installed(name, a, doc, index):
    for (cert, host), at in a.installed.items():
        doc(f"installed/{name}/{cert}/{host}", {"at": at})
    for cert in {cert for cert, _ in a.installed}:
        index(f"hosts/{name}/{cert}", {f"{_lowest(at):010d}/{host}": 0 for (i, host), at in a.installed.items() if i == cert})
    for host in {host for _, host in a.installed}:
        index(f"installations/{name}/{host}", {cert: 0 for cert, h in a.installed if h == host})


def _part(chain, **rest):
    """The leaf; what follows it is named."""
    return {"leaf": chain[0], "issuers": [_sha256(text) for text in chain[1:]], **rest}


def _ends(summary):
    ends = [x["not_after_s"] for x in summary["leaves"]]
    return min(ends + ([summary["chain_ends_s"]] if summary.get("chain_ends_s") else []))


BESIDE = re.compile(r"gen|next|claim|g[0-9]+:.*|witness/.*|beats|beat/.*|notice/.*|changes/[0-9]+")  # what is no part of a first generation, or no document or index


def live_prefix(client, namespace, partition):
    """What the names of a partition's live catalog begin with."""
    slot = f"{namespace}:{{{partition}}}:"
    generation = int(client.get(f"{slot}gen") or 1)
    return slot if generation == 1 else f"{slot}g{generation}:"


def _live_keys(client, prefix):
    found = client.scan_iter(match=prefix.encode().replace(b"{", b"\\{") + b"*", count=5000)
    return sorted(k for k in found if not BESIDE.fullmatch(k[len(prefix):].decode()))


MARK = 10  # bytes behind each document, and behind each member "!" with 11 characters (consumer/catalog/authentic.h)
MEMBER_MARK = 12


def document(stored, key=b""):
    """The JSON of a document, or of a position, that Redis has so under the key; None stays so. Whether the mark is right is the consumer's
    to say."""
    return unpack(stored[:-MARK], key if isinstance(key, bytes) else key.encode()) if stored else stored


def read(client, namespace, partitions):
    """({(partition, key): bytes}, {(partition, key): {member: score}}, {partition: position}) of a namespace's live catalogs."""
    docs, indexes, positions = {}, {}, {}
    for p in range(partitions):
        prefix = live_prefix(client, namespace, p)
        keys = _live_keys(client, prefix)
        pipe = client.pipeline(transaction=False)
        for k in keys:
            pipe.type(k)
        kinds = pipe.execute()
        for k, kind in zip(keys, kinds):
            pipe.get(k) if kind == b"string" else pipe.zrange(k, 0, -1, withscores=True)
        for k, kind, value in zip(keys, kinds, pipe.execute()):
            key = (p, k[len(prefix):].decode())
            if key[1] == "pos":
                positions[p] = json.loads(document(value))
            elif kind == b"string":
                docs[key] = document(value, k)
            else:
                indexes[key] = {m[:-MEMBER_MARK].decode(): int(s) for m, s in value}
    return docs, indexes, positions


def check(model, firsts, found_docs, found_indexes):
    docs, indexes = expected(model, firsts)
    wrong = []
    for key in sorted({**docs, **found_docs}):
        if key not in found_docs:
            wrong.append(f"catalog {key}: missing, not {brief(docs[key])}")
        elif key not in docs:
            wrong.append(f"catalog {key}: should not be there: {brief(found_docs[key].decode())}")
        else:
            wrong += [f"catalog {key}: {d}" for d in differences(docs[key], json.loads(found_docs[key]))]
    for key in sorted({**indexes, **found_indexes}):
        mine, theirs = indexes.get(key, {}), found_indexes.get(key, {})
        if mine != theirs:
            odd = sorted(set(mine.items()) ^ set(theirs.items()))[:4]
            wrong.append(f"index {key}: {len(theirs)} members, not {len(mine)}; they differ in {odd}")
    return wrong


def check_keys(model, found_docs, custodian=None, unseal=None, only=None):
    """Each live certificate has its material with a key that opens (where unseal is given); no dead one has any."""
    wrong = []
    for p in model.partitions:
        for name, a in p.accounts.items():
            for i, c in a.certs.items():
                held = found_docs.get((p.number, f"material/{name}/{i}"))
                if c["deleted"]:
                    wrong += [f"the dead certificate {i} of {name} still has its material"] if held else []
                elif not held or not all(x.get("key") for x in json.loads(held)["parts"]):
                    wrong.append(f"certificate {i} of {name} has no sealed key")
                elif unseal and (only is None or only(i)):
                    wrong += [f"certificate {i} of {name}: {w}" for w in unseal(name, c, json.loads(held)["parts"])]
    return wrong


def _perfect_roots(values):
    """The roots of the perfect subtrees of RFC 6962's tree over these values, from left to right."""
    def root(hashes):
        while len(hashes) > 1:
            hashes = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(hashes[::2], hashes[1::2])]
        return hashes[0]
    leaves, roots = [hashlib.sha256(b"\0" + v).digest() for v in values], []
    while leaves:
        size = 1 << (len(leaves).bit_length() - 1)
        roots.append(root(leaves[:size]))
        leaves = leaves[size:]
    return roots


def merkle_edge(values):
    """As a position holds it."""
    return base64.b64encode(b"".join(_perfect_roots(values))).decode()


def merkle_root(values):
    """RFC 6962, section 2.1."""
    *left, root = _perfect_roots(values) or [hashlib.sha256().digest()]
    for other in reversed(left):
        root = hashlib.sha256(b"\1" + other + root).digest()
    return root


def check_positions(model, firsts, records_by_partition, positions):
    from model_py.wire import record_sha256
    wrong = []
    for p in model.partitions:
        records = records_by_partition[p.number]
        chain = hashlib.sha256(firsts[p.number][-1].value).hexdigest() if firsts[p.number] else "0" * 64
        last = record_sha256(records[-1]) if records else "0" * 64
        want = {"next_offset": len(records), "record_sha256": last, "outcomes": len(firsts[p.number]), "chain_sha256": chain,
                "derived": p.derived, "epoch": p.epoch, "edge": merkle_edge([o.value for o in firsts[p.number]])}
        wrong += [f"position of partition {p.number}: {d}" for d in differences(want, positions.get(p.number, {}))]
    return wrong
