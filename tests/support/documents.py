# SPDX-License-Identifier: Apache-2.0
"""The project's documents as tests read them: README.md, those beside it, and all pages below docs/."""
import re
import shlex
from collections import namedtuple

from support.proc import REPO

# page: the path in the repository; chapter: the heading above the block.
Block = namedtuple("Block", "page chapter language text")

_PART = re.compile(r"^#+ (?P<title>[^\n]+)$|^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S)


def pages():
    """{path in the repository: text} of all documents that are for people, in the order of their paths."""
    found = sorted([*REPO.glob("*.md"), *REPO.glob("docs/**/*.md")])
    return {str(p.relative_to(REPO)): p.read_text() for p in found}


PAGES = pages()


def blocks(language=None, page=None):
    """The fenced blocks, of a language or a page where one is named, in their order; those in a list lose its indentation."""
    found = []
    for name, text in PAGES.items():
        chapter = ""
        for match in _PART.finditer(text) if page in (None, name) else ():
            if match["title"]:
                chapter = match["title"]
            elif language in (None, match["language"]):
                found.append(Block(name, chapter, match["language"], re.sub(rf"(?m)^{match['indent']}", "", match["text"])))
    return found


def lines(page, chapter):
    """The commands of a chapter, each in one line, without comments."""
    text = "".join(b.text for b in blocks("sh", page) if b.chapter == chapter).replace("\\\n", " ")
    return [line for line in (re.sub(r"\s+#.*", "", line).strip() for line in text.splitlines()) if line]


def without_code(text):
    """A page's text outside of its fenced blocks."""
    return _PART.sub(lambda m: m[0] if m["title"] else "", text)


def redis_rights():
    """What docs/operate/redis.md says that the user in Redis needs."""
    block, = (b for b in blocks("", "docs/operate/redis.md") if b.chapter == "Rights")
    return block.text.strip()


def kafka_rights(user):
    """[(resource, name, operation)] that the commands of docs/operate/kafka.md give to a user."""
    found = []
    for line in lines("docs/operate/kafka.md", "Rights"):
        words = shlex.split(line)
        options = list(zip(words[1:], words[2:]))
        if ("--allow-principal", f"User:{user}") in options:
            (resource, name), = ((o[2:].upper(), v) for o, v in options if o in ("--topic", "--group"))
            found += [(resource, name, re.sub(r"(?<=[a-z])(?=[A-Z])", "_", v).upper()) for o, v in options if o == "--operation"]
    assert found, f"no rights for {user}"
    return found
