# SPDX-License-Identifier: Apache-2.0
"""explain judges only what an account's catalog rests on. Of every event of the golden log, that gives the published outcome.

    explained.py CERTSYNC-CONSUMER DIRECTORY [STEP]       every STEP-th event

Where it did not, explain would judge the whole partition, and not say how many records it judged.
"""
import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

consumer, directory, step = sys.argv[1], sys.argv[2], int((sys.argv + ["1"])[3])
ID = re.compile(r'"id":"([0-9a-f-]{36})"')
ids = {}
for line in open(f"{directory}/events.json", errors="surrogateescape"):
    record = json.loads(line, strict=False)
    value = record["payload"] if isinstance(record["payload"], str) else ""
    found = ID.search(value)
    if found and value.startswith('{"specversion":"1.0","type":"certsync.'):
        ids.setdefault(found[1], (record["partition"], record["offset"]))


def ask(event):
    done = subprocess.run([consumer, "explain", event, "--json", "--events", f"{directory}/events.json", "--outcomes",
                           f"{directory}/outcomes.json", "--deployment", "test-deployment", "--root-key", f"{directory}/root.pub"],
                          capture_output=True, text=True, check=False, errors="surrogateescape")
    if done.returncode:  # not well-formed, so no event
        return None if "well-formed event" in done.stdout + done.stderr else done.stdout + done.stderr
    told = json.loads(done.stdout, strict=False)
    records = told.get("records") or told.get("share")
    if "judged" not in told:
        return "the whole partition was judged"
    if not all("outcome" in r for r in records):
        return "an outcome was not found"
    return True


asked = sorted(ids)[::step]
with ThreadPoolExecutor(2) as pool:
    answers = list(pool.map(ask, asked))
failed = [(e, ids[e], a) for e, a in zip(asked, answers) if a not in (True, None)]
for one in failed[:20]:
    print(*one, file=sys.stderr)
print(f"{answers.count(True)} of {len(asked)} events explained, {len(failed)} failed")
sys.exit(1 if failed or answers.count(True) < len(asked) * 3 // 4 else 0)
