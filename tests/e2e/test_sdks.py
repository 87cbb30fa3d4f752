# SPDX-License-Identifier: Apache-2.0
"""The official CloudEvents SDKs read each type of event, and outcomes, of the golden log, a heartbeat and a correction: they see what is there."""
import calendar
import json
import os
import re
import tarfile
import time

import pytest

from golden.schemas import CORRECTION, HEARTBEAT
from support import sdk
from support.acme import NotThere
from support.proc import REPO


def payloads(archive, name):
    for line in archive.extractfile(name).read().splitlines():
        record = json.loads(line.decode("utf-8", "surrogateescape"), strict=False)
        yield (record["partition"], record["offset"]), record["payload"]


@pytest.fixture(scope="module")
def lines():
    """The outcomes of the golden log, and those of its events that could be read."""
    with tarfile.open(REPO / "tests/golden/golden.tar.xz") as archive:
        outcomes = [text for _, text in payloads(archive, "outcomes.json")]
        told = [json.loads(text)["data"] for text in outcomes]
        read = {(o["partition"], o["offset"]) for o in told if "event" in o}
        events = [text for place, text in payloads(archive, "events.json") if place in read and "\n" not in text]
        return [json.dumps(HEARTBEAT), json.dumps(CORRECTION), *outcomes, *events]


def time_ns(text):
    whole, part = re.fullmatch(r"(.{19})(?:\.(\d{3}))?Z", text).groups()
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) * 10**9 + int(part or 0) * 10**6


def expected(line):
    e = json.loads(line)
    return [e["type"], e["id"], e["source"], e.get("subject", ""), time_ns(e["time"]), e.get("sequence", ""), e["data"]]


def read_by(read, lines):
    try:
        return read(lines)
    except NotThere as e:  # without a registry there is nothing to test; where all must be tested that is a failure
        if os.environ.get("CI"):
            raise
        pytest.skip(str(e))


@pytest.mark.parametrize("read", [sdk.python_reads, sdk.go_reads])
def test_every_type_is_read(lines, read):
    kinds = {json.loads(line)["type"] for line in lines}
    described = {json.loads(p.read_text())["title"] for p in (REPO / "docs/audit/schemas").glob("*.json")}
    assert kinds == {title for title in described if title.startswith("certsync.")}
    for line, said in zip(lines, read_by(read, lines), strict=True):
        assert said == expected(line)


def test_a_number_of_more_than_32_bits_would_be_refused(lines):
    """Why sequence is a text: CloudEvents integers have 32 bits, and Go's SDK takes no other."""
    event = {**json.loads(lines[-1]), "seq": 1 << 40}
    with pytest.raises(sdk.Refused):
        read_by(sdk.go_reads, [json.dumps(event)])
