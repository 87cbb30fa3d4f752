# SPDX-License-Identifier: Apache-2.0
"""What lies in a spool's directory, read as agent/spool/spool.h says."""
import re

STATE_BYTES = 128  # a line of 64, twice


def spooled(directory):
    """The events below the directory that have not ended: "0000000000000017 new", "0000000000000018 sent 3 42"."""
    found = []
    for path in directory.glob("**/*.events*"):
        match = re.fullmatch(r"(\d{16})\.(\d+)\.events(\.\d{16})?", path.name)
        if not match or path.parent.name == "quarantine":
            continue
        try:
            with open(path, "rb") as file:
                text = file.read(STATE_BYTES * int(match[2]))
        except FileNotFoundError:  # they have all ended just now
            continue
        for i in range(int(match[2])):
            state = text[i * STATE_BYTES:i * STATE_BYTES + STATE_BYTES // 2].decode(errors="replace").strip()
            if state != "ended":
                found.append(f"{int(match[1]) + i:016} {state}")
    return sorted(found)
