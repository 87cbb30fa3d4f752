#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""./dev sim mutants: whether the simulation sees what is wrong.

Turns each comparison and each return of the simulated files around, one at a time, and runs what should see it: first
certsync-sim, then the contract tests of the file. A mutant is caught where one of them fails or does not end. Mutants that
change nothing that could be seen stand in mutants_equivalent.txt, each with its reason; they are not run. All others live:
they are listed, and the exit code is 1.
"""
import argparse
import concurrent.futures
import os
import re
import resource
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.txt")
# What is mutated, and the tests that see what no run of the simulation can come to.
TESTS = {
    "worker/flight.c": ("test_stand",),
    "worker/apply.c": ("test_decide", "test_apply"),
    "worker/cursor.c": ("test_cursor",),
    "log/rebuild.c": ("test_rebuild",),
    "log/rebuild_batch.c": ("test_rebuild",),
}
FLIPPED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
TOKENS = re.compile(r"->|<<|>>|[=!<>]=|[<>]")
HIDDEN = re.compile(r'//[^\n]*|^#[^\n]*(?:\\\n[^\n]*)*|"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'', re.M)
FUNCTION = re.compile(r"^(?:static )?(?:inline )?((?:const )?[a-z_0-9]+(?: [a-z_0-9]+)?) \*?([a-z_0-9]+)\(", re.M)
RETURN = re.compile(r"\breturn ([^;]+);")
MEMORY = 2 << 30  # bytes that a mutant may take


@dataclass(frozen=True)
class Mutant:
    name: str  # of the file
    at: int
    length: int
    other: str  # stands there instead
    function: str
    statement: str
    what: str
    line: int

    def key(self):
        return self.name, self.function, self.statement, self.what

    def __str__(self):
        return f"{self.name} {self.function} [{self.what}] {self.statement}"


def statement_of(text, blank, at):
    """What stands between the ends of the statements around it, in one line, without comments and what texts say."""
    start = max(blank.rfind(c, 0, at) for c in ";{}") + 1
    end = min((i for i in (blank.find(c, at) for c in ";{") if i >= 0), default=len(blank))
    shown = HIDDEN.sub(lambda m: {"/": "", "#": ""}.get(m.group()[0], '"…"'), text[start:end + 1])
    return re.sub(r'"…"(?: "…")+', '"…"', " ".join(shown.split()))


def return_of(kind, value):
    if kind == "bool":
        return {"true": "false", "false": "true"}.get(value, f"!({value})"), "return turned around"
    if kind in ("size_t", "int64_t"):
        return f"({value}) + 1", "return + 1"
    return None


def mutants_of(name, text):
    """All mutants of a file, in its order."""
    blank = HIDDEN.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)
    starts = [(m.start(), m.group(1), m.group(2)) for m in FUNCTION.finditer(blank)]

    def add(at, length, other, what):
        function = next((f for start, _, f in reversed(starts) if start < at), "")
        statement = statement_of(text, blank, at)
        before = [m for m in found if m.function == function and m.statement == statement and m.what.split(" #")[0] == what]
        what += f" #{len(before) + 1}" if before else ""
        found.append(Mutant(name, at, length, other, function, statement, what, text.count("\n", 0, at) + 1))

    found = []
    for m in TOKENS.finditer(blank):
        if m.group() in FLIPPED:
            add(m.start(), len(m.group()), FLIPPED[m.group()], f"{m.group()} is {FLIPPED[m.group()]}")
    for m in RETURN.finditer(blank):
        kind = next((k for start, k, _ in reversed(starts) if start < m.start()), "")
        other = return_of(kind, text[m.start(1):m.end(1)])
        if other:
            add(m.start(1), m.end(1) - m.start(1), *other)
    return sorted(found, key=lambda m: (m.at, m.length))


def equivalents():
    """{(file, function, statement, what): why}, as mutants_equivalent.txt has them: entries below their reason."""
    entry = re.compile(r"  (\S+) (\S+) \[([^]]+)\] (.*)")
    found, why = {}, None
    for n, line in enumerate(EQUIVALENT.read_text(encoding="utf-8").splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        m = entry.fullmatch(line)
        if m and why:
            found[m[1], m[2], m[4], m[3]] = why
        elif line.startswith("why: "):
            why = line[5:]
        elif why and line.startswith("     "):
            why += " " + line.strip()
        else:
            sys.exit(f"mutate: {EQUIVALENT.name}:{n} is neither a reason nor a mutant below one: {line}")
    return found


class Builder:
    """How the files are compiled and what runs them is linked, as ninja has it."""

    def __init__(self, build):
        self.build = build
        tests = sorted({t for of in TESTS.values() for t in of})
        lines = {t: self.commands(t) for t in ("certsync-sim", *tests)}
        self.compiles = {n: next(l for l in lines["certsync-sim"] if "certsync-sim.dir" in l and l.endswith(f"/consumer/{n}"))
                         for n in TESTS}
        self.links = {t: of[-1].removeprefix(": && ").split(" && ")[0] for t, of in lines.items()}

    def commands(self, target):
        return subprocess.run(["ninja", "-C", self.build, "-t", "commands", target], check=True, capture_output=True,
                              text=True).stdout.splitlines()

    def compile(self, name, source, obj, plain):
        """False: not C. plain: as everybody has it, without the small numbers of the simulation."""
        words = [w for w in shlex.split(self.compiles[name]) if w not in ("ccache", "-Werror", "-MD", "-O2", "-g")]
        if plain:
            words = [w for w in words if not w.startswith("-DCS_")]
        for flag, value in (("-o", obj), ("-c", source)):
            words[words.index(flag) + 1] = value
        for flag in ("-MT", "-MF"):
            if flag in words:
                del words[words.index(flag):words.index(flag) + 2]
        folder = str((ROOT / "consumer" / name).parent)
        run = subprocess.run([*words, "-w", "-I", str(ROOT / "consumer"), "-I", folder], cwd=self.build, capture_output=True,
                             check=False)
        return run.returncode == 0

    def link(self, target, name, obj, program):
        words = shlex.split(self.links[target])
        words[words.index("-o") + 1] = program
        mine = [i for i, w in enumerate(words) if w.endswith(f"/{name}.o")]
        if mine:
            words[mine[0]] = obj
        else:  # before the library, whose own is not taken then
            words.insert(words.index("-o"), obj)
        run = subprocess.run(words, cwd=self.build, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"mutate: {target} does not link with {name}: {run.stderr[-500:]}")


def limits():
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def fails(command, timeout):
    """Whether it fails, or does not end."""
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=timeout, check=False, preexec_fn=limits).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def try_mutant(o, builder, text, m):
    """What caught it; "lives"."""
    with tempfile.TemporaryDirectory(prefix="certsync-mutant-") as folder:
        source, obj, program = f"{folder}/{Path(m.name).name}", f"{folder}/mutant.o", f"{folder}/program"
        Path(source).write_text(text[:m.at] + m.other + text[m.at + m.length:], encoding="utf-8")
        if not builder.compile(m.name, source, obj, plain=False):
            sys.exit(f"mutate: this is not C: {m} -> {m.other}")
        builder.link("certsync-sim", m.name, obj, program)
        if fails([program, "--runs", str(o.runs), "--seed", str(o.seed), "--jobs", "1", "--patience", str(o.patience)],
                 o.timeout):
            return "certsync-sim"
        builder.compile(m.name, source, obj, plain=True)
        for test in TESTS[m.name]:
            builder.link(test, m.name, obj, program)
            if fails([program], o.timeout):
                return test
    return "lives"


def options():
    parser = argparse.ArgumentParser(prog="./dev sim mutants", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(ROOT / "build/release"), help="leave it alone meanwhile")
    parser.add_argument("--runs", type=int, default=10000, help="of each mutant (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=int, default=5, help="seconds that one run may take (%(default)s)")
    parser.add_argument("--timeout", type=int, default=300, help="seconds that all runs of a mutant may take (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--equivalent", action="store_true", help="run the mutants of mutants_equivalent.txt instead: whether "
                        "none of them is caught")
    parser.add_argument("--names", action="store_true", help="run nothing: only whether mutants_equivalent.txt names mutants that "
                        "are there")
    parser.add_argument("files", nargs="*", metavar="FILE[:LINE]", help=f"some of: {' '.join(TESTS)}")
    o = parser.parse_args()
    for f in o.files:
        if f.split(":")[0] not in TESTS:
            parser.error(f"not simulated: {f} (known: {' '.join(TESTS)})")
    return o


def chosen(o, mutants):
    if not o.files:
        return mutants
    return [m for m in mutants if m.name in o.files or f"{m.name}:{m.line}" in o.files]


def main():
    o = options()
    texts = {n: (ROOT / "consumer" / n).read_text(encoding="utf-8") for n in TESTS}
    everything = [m for n, text in texts.items() for m in mutants_of(n, text)]
    why = equivalents()
    unknown = set(why) - {m.key() for m in everything}
    for name, function, statement, what in sorted(unknown):
        print(f"{EQUIVALENT.name} names a mutant that is not there: {name} {function} [{what}] {statement}")
    if o.names:
        return 1 if unknown else 0
    mutants = chosen(o, everything)
    skipped = [m for m in mutants if (m.key() in why) != o.equivalent]
    builder = Builder(o.build)
    caught, living = Counter(), []
    for name, text in texts.items():  # were all to fail, all would seem to be caught
        end = try_mutant(o, builder, text, Mutant(name, 0, 0, "", "", "", "nothing", 1))
        if end != "lives":
            sys.exit(f"mutate: {end} fails with {name} as it is: build it anew, and run it")
    with concurrent.futures.ThreadPoolExecutor(o.jobs) as pool:
        tried = [m for m in mutants if (m.key() in why) == o.equivalent]
        for m, end in zip(tried, pool.map(lambda m: try_mutant(o, builder, texts[m.name], m), tried)):
            if end == "lives":
                living.append(m)
            else:
                caught[end] += 1
            if (end == "lives") != o.equivalent:
                print(f"{m.name}:{m.line}: {m.function} [{m.what}] {m.statement}: {end}", flush=True)
    by = ", ".join(f"{n} by {t}" for t, n in caught.most_common())
    if o.equivalent:
        print(f"{len(tried)} mutants are said to be equivalent, {sum(caught.values())} of them are caught")
        return 1 if caught or unknown else 0
    print(f"{len(mutants)} mutants: caught {sum(caught.values())} ({by}), equivalent {len(skipped)}, living {len(living)}")
    return 1 if living or unknown else 0


if __name__ == "__main__":
    sys.exit(main())
