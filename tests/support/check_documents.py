# SPDX-License-Identifier: Apache-2.0
"""Whether the documents and the repository agree: each check below is one sentence that a reader relies on.

    check_documents.py
"""
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import openapi  # noqa: E402
from support.documents import PAGES, without_code  # noqa: E402
from support.proc import REPO  # noqa: E402

README_LINES = 150
HISTORY = "CHANGELOG.md"  # names files as they were

# A path of this repository in a document: it begins with a folder or a file of the root.
ROOTS = {p.name for p in REPO.iterdir() if p.name not in (".git", "build")}
PATH = re.compile(r"`([A-Za-z0-9._/*{},-]+)`")
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def anchors(page):
    """The names by which a page's headings are reached, as the hosting sites make them."""
    titles = re.findall(r"(?m)^#+ (.+)$", without_code(PAGES[page]))
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


def check_paths():
    """Every path of the repository that a document names is there; `*` stands for any part of a name, {a,b} for both."""
    for page, text in PAGES.items():
        for name in PATH.findall(text) if page != HISTORY else ():
            first = name.split("/")[0]
            if first not in ROOTS or ("/" not in name and name not in ROOTS):
                continue
            choice = re.search(r"\{([^}]*)\}", name)
            for one in [name.replace(choice[0], c) for c in choice[1].split(",")] if choice else [name]:
                if not any(REPO.glob(one.rstrip("/"))):
                    yield f"{page}: there is no {one}"


def check_links():
    """Every link leads to a page or a file of the repository and, where it says so, to one of its headings."""
    for page, text in PAGES.items():
        for link in LINK.findall(without_code(text)):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (REPO / page).parent / path if path else REPO / page
            name = str(target.resolve().relative_to(REPO))
            if not target.exists():
                yield f"{page}: the link {link} leads nowhere"
            elif anchor and name in PAGES and anchor not in anchors(name):
                yield f"{page}: {name} has no heading for #{anchor}"


def check_doors():
    """From README.md every page is reached by links."""
    seen, todo = set(), ["README.md"]
    while todo:
        page = todo.pop()
        if page in seen:
            continue
        seen.add(page)
        for link in LINK.findall(without_code(PAGES[page])):
            target = ((REPO / page).parent / link.partition("#")[0]).resolve()
            if not re.match(r"[a-z]+:|#", link) and str(target.relative_to(REPO)) in PAGES:
                todo.append(str(target.relative_to(REPO)))
    for page in sorted(set(PAGES) - seen):
        yield f"{page}: no link leads here"


def check_readme():
    """README.md can be read in one go."""
    lines = PAGES["README.md"].count("\n")
    if lines > README_LINES:
        yield f"README.md has {lines} lines, more than {README_LINES}: move something below docs/"


def routes():
    """{path: its query parameters} of the program."""
    source = (REPO / "consumer/api/api.c").read_text()
    account = re.search(r'#define ACCOUNT +"([^"]+)"', source)[1]
    paged = re.findall(r'"(\w+)"', re.search(r"#define PAGED +(.+)", source)[1])
    handlers = {path or account + rest: name for path, rest, name in
                re.findall(r'\{"GET", (?:"([^"]+)"|ACCOUNT(?: "([^"]+)")?), (\w+)\}', source)}
    assert len(handlers) == len(re.findall(r'\{"[A-Z]+", [^}]*\w+\}', source)), "a route that is not read here"
    filters = re.findall(r'"(\w+)"', re.search(r"#define FILTERS((?:.*\\\n)+.*)", source)[1])
    queries = {}
    for name, arguments in re.findall(r"(?m)^ENDPOINT\((\w+),((?:[^()]|\n)*)\)$", source):
        queries["on_" + name] = set(re.findall(r'"(\w+)"', arguments)) | (set(paged) if "PAGED" in arguments else set()) | (
            set(filters) if "FILTERS" in arguments else set())
    for name in re.findall(r"(?m)^DEPLOYMENT_ENDPOINT\((\w+),", source):
        queries["on_" + name] = set(paged)
    return {path: queries.get(name, set()) for path, name in handlers.items()}


def check_api():
    """docs/use/api.md and docs/use/openapi.yaml speak of each route of the API with each of its parameters, and of no other."""
    known = routes()
    table = re.findall(r"(?m)^\| `GET (/[^`]*)` \| ([^|]*) \|", PAGES["docs/use/api.md"])
    pages = {"docs/use/api.md": {path: set(re.findall(r"`(\w+)`", said)) for path, said in table},
             "docs/use/openapi.yaml": openapi.parameters()}
    for page, told in pages.items():
        for path in sorted(set(known) - set(told)):
            yield f"{page}: the API answers GET {path}, and it does not say so"
        for path in sorted(set(told) - set(known)):
            yield f"{page}: the API has no GET {path}"
        for path in sorted(set(told) & set(known)):
            if told[path] != known[path]:
                yield f"{page}: GET {path} takes {sorted(known[path])}, and it says {sorted(told[path])}"


def check_metrics():
    """docs/operate/metrics.md names each metric of both programs, and no other."""
    made = set()
    for file in [*REPO.glob("agent/**/*.c"), *REPO.glob("consumer/**/*.c"), *REPO.glob("runtime/**/*.c")]:
        made |= set(re.findall(r'"(certsync_[a-z_]+)"', file.read_text()))
    told = set(re.findall(r"`(certsync_[a-z_]+)`", PAGES["docs/operate/metrics.md"]))
    for name in sorted(made - told):
        yield f"docs/operate/metrics.md: {name} is not in the tables"
    for name in sorted(told - made):
        yield f"docs/operate/metrics.md: there is no metric {name}"
    for page in (p for p in PAGES if p.startswith("docs/operate/runbook/")):
        for name in sorted(set(re.findall(r"`(certsync_[a-z_]+)[`{]", PAGES[page])) - made):
            yield f"{page}: there is no metric {name}"


def check_files():
    """Git reads what .editorconfig and .gitattributes are for: no trailing blanks, and each file ends with a newline."""
    for page, text in PAGES.items():
        if not text.endswith("\n") or re.search(r"(?m)[ \t]+$", text):
            yield f"{page}: a line ends in blanks, or the last one does not end"


def main():
    wrong, checks = [], [c for name, c in sorted(globals().items()) if name.startswith("check_")]
    for check in checks:
        wrong += list(check())
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(checks)} checks, {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
