# SPDX-License-Identifier: Apache-2.0
"""The generated parts of the documents: what stands between "begin generated: COMMAND" and "end generated" is that command's output.

    docs.py BUILD_DIRECTORY [--check]      writes them anew, or fails where they are not what the programs say

COMMAND is one of the programs with its arguments, or "vectors NAME": a piece of the recorded log below docs/audit/vectors.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import vectors  # noqa: E402
from support.documents import PAGES  # noqa: E402
from support.proc import REPO  # noqa: E402

PART = re.compile(r"(<!-- begin generated: (.+?) -->\n).*?(<!-- end generated -->)", re.S)


def output(build: Path, command: str) -> str:
    program, *arguments = command.split()
    if program == "vectors":
        return vectors.shown(*arguments)
    folder = "consumer" if program == "certsync-consumer" else "agent"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")}
    return subprocess.run([build / folder / program, *arguments], capture_output=True, text=True, check=True, env=environment).stdout


def main() -> int:
    build, check = Path(sys.argv[1]), "--check" in sys.argv
    stale = []
    for page, before in PAGES.items():
        after = PART.sub(lambda m: f"{m[1]}\n{output(build, m[2]).strip()}\n\n{m[3]}", before)
        if after != before:
            stale.append(page)
            if not check:
                (REPO / page).write_text(after)
    if check and stale:
        print(f"{', '.join(stale)}: not what the programs say of themselves; run: ./dev docs", file=sys.stderr)
        return 1
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
