# SPDX-License-Identifier: Apache-2.0
"""Reads CloudEvents (JSON, one a line) with the official Python SDK, and prints what it read of each as an array: type, id, source,
subject, time in nanoseconds, sequence, the data."""
import json
import sys

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

for line in sys.stdin.buffer:
    event = JSONFormat().read(CloudEvent, line)
    time = event.get_time()
    print(json.dumps([event.get_type(), event.get_id(), event.get_source(), event.get_subject() or "",
                      round(time.timestamp() * 1000) * 1000000, event.get_extension("sequence") or "", event.get_data()], ensure_ascii=False))
