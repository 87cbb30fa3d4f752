#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point downwards only: layers.py REPOSITORY says which do not. --itself: tries whether it would.

A folder may include what stands above it in its chain, and itself. Each chain begins with those that it rests on.
"""
import re
import sys
import tempfile
from pathlib import Path

BASE = ["base"]
MODEL = BASE + ["model", "model/crypto", "model/x509", "model/codec", "model/state", "model/rules"]
RUNTIME = BASE + ["runtime"]
BOTH = MODEL + ["runtime"]
AGENT = BOTH + ["agent/spool", "agent/event", "agent/daemon", "agent/commands"]
CONSUMER = BOTH + ["consumer/redis", "consumer/settings", "consumer/catalog", "consumer/fetch", "consumer/worker", "consumer/cosign", "consumer/notify", "consumer/log", "consumer/api",
                   "consumer/commands"]
CHAINS = (MODEL, RUNTIME, AGENT + ["agent"], CONSUMER + ["consumer"])
# The model's public headers, by the wing whose they are.
PUBLIC = {"codes": "model", "codes_table": "model", "ident": "model", "key": "model/crypto", "mac": "model/crypto", "merkle": "model/crypto",
          "note": "model/crypto", "checkpoint": "model/crypto", "sign": "model/crypto", "seal": "model/crypto", "cert": "model/x509",
          "csr": "model/x509", "dns": "model/x509", "policy": "model/x509", "pem": "model/x509", "event": "model/codec", "event_types": "model/codec", "entry": "model/codec",
          "outcome": "model/codec", "state": "model/state", "snapshot": "model/state", "keys": "model/state", "prepare": "model/rules", "heartbeat": "model/rules", "correction": "model/rules", "rules": "model/rules"}


def wing(path):
    """The folder as the chains name it, of a path within the repository."""
    top, *rest = Path(path).parts
    if top in ("base", "runtime"):
        return top
    if top == "model":
        if rest[0] == "include":
            return PUBLIC.get(Path(path).stem, "model/?")
        return "model" if len(rest) == 2 else f"model/{rest[1]}"
    if Path(path).stem == "settings" and top == "consumer":
        return "consumer/settings"
    return top if len(rest) == 1 else f"{top}/{rest[0]}"


def found(root, including, name):
    """The file that an include means."""
    library = name.split("/")[1] if name.startswith("certsync/") else None
    top = Path(including).parts[0]
    path = f"{library}/include/{name}" if library else f"{top}/src/{name}" if top in ("base", "model", "runtime") else f"{top}/{name}"
    return path if (root / path).exists() else None


def faults(root, files):
    looked = 0
    for path in files:
        here = wing(path)
        allowed = next((chain[:chain.index(here) + 1] for chain in CHAINS if here in chain), None)
        if allowed is None:
            yield f"{path}: no chain names {here}"
            continue
        for name in re.findall(r'^#include "([^"]+)"', (root / path).read_text(), re.M):
            looked += 1
            there = found(root, path, name)
            if there is None:
                yield f'{path}: "{name}" is not the path of a header from its program or library on'
            elif wing(there) not in allowed:
                yield f"{path} is of {here} and includes {there}, which is of {wing(there)}"
    if looked == 0:
        yield "no include was read"


def itself():
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        for path, text in (("base/include/certsync/base/err.h", ""), ("model/src/rules/rules.h", ""), ("agent/event/session.h", ""),
                           ("model/src/codec/json.c", '#include "certsync/base/err.h"\n#include "rules/rules.h"\n'),
                           ("agent/spool/spool.c", '#include "event/session.h"\n'), ("runtime/src/log.c", '#include "session.h"\n')):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        said = list(faults(root, ["model/src/codec/json.c", "agent/spool/spool.c", "runtime/src/log.c"]))
        return 0 if len(said) == 3 else f"three ways up, found: {said}"


def main():
    if sys.argv[1] == "--itself":
        return itself()
    root = Path(sys.argv[1])
    files = [str(p.relative_to(root)) for top in ("base", "model", "runtime", "agent", "consumer") for p in sorted((root / top).rglob("*.[ch]"))]
    said = list(faults(root, files))
    print("\n".join(said) if said else f"{len(files)} files: all includes point downwards")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
