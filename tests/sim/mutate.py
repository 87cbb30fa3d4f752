#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""./dev sim mutants: whether the simulation sees what is wrong.

Turns each comparison and each return of the simulated files around, one at a time, builds certsync-sim with it, and runs
it. A mutant is caught where a run has a violation, or does not end. Those that are not are listed with their lines.
"""
import argparse
import concurrent.futures
import re
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = ("worker/flight.c", "worker/apply.c", "worker/cursor.c", "log/rebuild.c", "log/rebuild_batch.c")
FLIPPED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
TOKENS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|//[^\n]*|->|<<|>>|[=!<>]=|[<>]')
FUNCTION = re.compile(r"^(?:static )?(?:inline )?([a-z_0-9]+(?: [a-z_0-9]+)? \*?|[a-z_0-9]+ )([a-z_0-9]+)\(", re.M)
RETURN = re.compile(r"\breturn ([^;]+);")


def mutants_of(text):
    """(place, length, replacement) of each mutant, in the order of the file."""
    blank = re.sub(r'//[^\n]*|^#[^\n]*(?:\\\n[^\n]*)*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'',
                   lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.M)
    found = [(m.start(), len(m.group()), FLIPPED[m.group()]) for m in TOKENS.finditer(blank) if m.group() in FLIPPED]
    starts = [(m.start(), m.group(1).strip()) for m in FUNCTION.finditer(blank)]
    for m in RETURN.finditer(blank):
        kind = next((k for at, k in reversed(starts) if at < m.start()), "")
        value = text[m.start(1):m.end(1)]
        if kind == "bool":
            other = {"true": "false", "false": "true"}.get(value, f"!({value})")
        elif kind in ("size_t", "int64_t"):
            other = f"({value}) + 1"
        else:
            continue
        found.append((m.start(1), len(value), other))
    return sorted(found)


def commands(build):
    """How each object of certsync-sim is compiled, and how it is linked."""
    lines = subprocess.run(["ninja", "-C", build, "-t", "commands", "certsync-sim"], check=True, capture_output=True,
                           text=True).stdout.splitlines()
    compile_of = {name: next(l for l in lines if "certsync-sim.dir" in l and l.endswith(f"/consumer/{name}")) for name in FILES}
    return compile_of, lines[-1].removeprefix(": && ").removesuffix(" && :")


def try_mutant(o, name, text, mutant, compile_line, link_line):
    at, length, other = mutant
    with tempfile.TemporaryDirectory(prefix="certsync-mutant-") as folder:
        source, obj, program = f"{folder}/{Path(name).name}", f"{folder}/mutant.o", f"{folder}/certsync-sim"
        Path(source).write_text(text[:at] + other + text[at + length:], encoding="utf-8")
        words = [w for w in shlex.split(compile_line) if w not in ("ccache", "-Werror")]
        old = words[words.index("-o") + 1]
        words[words.index("-o") + 1] = obj
        words[words.index("-c") + 1] = source
        for flag in ("-MD", "-MT", "-MF"):
            if flag in words:
                i = words.index(flag)
                del words[i:i + (1 if flag == "-MD" else 2)]
        built = subprocess.run([*words, "-w", "-I", str(ROOT / "consumer")], cwd=o.build, capture_output=True, check=False)
        if built.returncode != 0:
            return "not built"
        link = [obj if w == old else w for w in shlex.split(link_line)]
        link[link.index("-o") + 1] = program
        linked = subprocess.run(link, cwd=o.build, capture_output=True, text=True, check=False)
        if linked.returncode != 0:
            sys.exit(f"mutate: {name} does not link: {linked.stderr[-500:]}")
        try:
            run = subprocess.run([program, "--runs", str(o.runs), "--seed", str(o.seed), "--jobs", "1"], capture_output=True,
                                 timeout=o.timeout, check=False)
        except subprocess.TimeoutExpired:
            return "does not end"
        return "lives" if run.returncode == 0 else "caught"


def main():
    parser = argparse.ArgumentParser(prog="./dev sim mutants", description=__doc__)
    parser.add_argument("--build", default=str(ROOT / "build/release"), help="leave it alone meanwhile")
    parser.add_argument("--runs", type=int, default=3000, help="of each mutant")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--timeout", type=int, default=120, help="seconds that a mutant may run")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("files", nargs="*", default=FILES, metavar="FILE", help=f"some of: {' '.join(FILES)}")
    o = parser.parse_args()
    compile_of, link = commands(o.build)
    counts, living = Counter(), []
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        for name in o.files:
            text = (ROOT / "consumer" / name).read_text(encoding="utf-8")
            mutants = mutants_of(text)
            ends = pool.map(lambda m, n=name, t=text: try_mutant(o, n, t, m, compile_of[n], link), mutants)
            for (at, length, other), end in zip(mutants, ends):
                counts[name, end] += 1
                line = text.count("\n", 0, at) + 1
                if end in ("lives", "not built"):
                    living.append(f"{name}:{line}: {end}: {text[at:at + length]!r} -> {other!r}: {text.splitlines()[line - 1].strip()}")
                    print(living[-1], flush=True)
            mine = {end: n for (f, end), n in counts.items() if f == name}
            print(f"{name}: {len(mutants)} mutants, {mine}", flush=True)
    caught = sum(n for (_, end), n in counts.items() if end in ("caught", "does not end"))
    print(f"{caught} of {sum(counts.values()) - sum(n for (_, e), n in counts.items() if e == 'not built')} mutants are caught")
    return 1 if living else 0


if __name__ == "__main__":
    sys.exit(main())
