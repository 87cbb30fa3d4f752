# SPDX-License-Identifier: Apache-2.0
"""Both programs in one shell: each passes over what is the other's setting, and still refuses what is nobody's.

    exported.py BUILD_DIRECTORY
"""
import os
import re
import subprocess
import sys
from pathlib import Path

build = Path(sys.argv[1])
PROGRAMS = {"certsync": build / "agent/certsync", "certsync-consumer": build / "consumer/certsync-consumer"}
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")}


def settings(name, *arguments, **exported):
    return subprocess.run([PROGRAMS[name], "settings", *arguments], capture_output=True, text=True, env={**CLEAN, **exported})


def environment_of(name):
    """The variables of a program's table; a secret may also be given as a file."""
    rows = [line.split("|") for line in settings(name, "--markdown").stdout.splitlines() if line.startswith("| `")]
    names = {re.search(r"CERTSYNC_[A-Z0-9_]+", row[2])[0] for row in rows if "CERTSYNC_" in row[2]}
    secret = {re.search(r"CERTSYNC_[A-Z0-9_]+", row[2])[0] + "_FILE" for row in rows if row[4].strip() == "secret"}
    return names | secret


failed = []
tables = {name: environment_of(name) for name in PROGRAMS}
for name, other in (("certsync", "certsync-consumer"), ("certsync-consumer", "certsync")):
    foreign = tables[other] - tables[name]
    assert len(foreign) > 10, (name, foreign)
    needed = {"CERTSYNC_DEPLOYMENT_ID": "demo", "CERTSYNC_DEPLOYMENT_ROOT_KEY": "/root.pub", "CERTSYNC_DEPLOYMENT_SERVICE_KEY": "/service.key"}
    run = settings(name, **{**{k: v for k, v in needed.items() if k in tables[name]}, **{k: "x" for k in foreign}})
    if run.returncode != 0:
        failed.append(f"{name} beside {other} (see env_ignore in its settings.c): {run.stderr.strip()}")
    for variable in sorted(foreign):
        run = settings(name, **{variable + "X": "x"})
        if run.returncode != 2 or variable + "X" not in run.stderr:
            failed.append(f"{name} takes {variable}X: {run.returncode} {run.stderr.strip()}")
for line in failed:
    print(line, file=sys.stderr)
print(f"{len(PROGRAMS)} programs, {len(failed)} failed")
sys.exit(1 if failed else 0)
