# SPDX-License-Identifier: Apache-2.0
"""The generated parts of README.md: what stands between "begin generated: COMMAND" and "end generated" is that command's output.

    docs.py BUILD_DIRECTORY [--check]      writes them anew, or fails where they are not what the programs say
"""
import os
import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
PART = re.compile(r"(<!-- begin generated: (.+?) -->\n).*?(<!-- end generated -->)", re.S)


def output(build: Path, command: str) -> str:
    program, *arguments = command.split()
    folder = "consumer" if program == "certsync-consumer" else "agent"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CERTSYNC_")}
    return subprocess.run([build / folder / program, *arguments], capture_output=True, text=True, check=True, env=environment).stdout


def main() -> int:
    build, check = Path(sys.argv[1]), "--check" in sys.argv
    before = README.read_text()
    after = PART.sub(lambda m: f"{m[1]}\n{output(build, m[2]).strip()}\n\n{m[3]}", before)
    if check and after != before:
        print("README.md is not what the programs say of themselves; run: ./dev docs", file=sys.stderr)
        return 1
    if after != before:
        README.write_text(after)
    print("1 passed, 0 failed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
