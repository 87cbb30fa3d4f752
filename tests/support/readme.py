# SPDX-License-Identifier: Apache-2.0
"""README.md as tests read it: its chapters and what is in their fenced blocks."""
import re

from support.proc import REPO

TEXT = (REPO / "README.md").read_text()
_PART = re.compile(r"^#+ (?P<title>[^\n]+)$|^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.M | re.S)


def blocks(language):
    """[(chapter, text)] of the fenced blocks of a language, in their order; those in a list lose its indentation."""
    found, chapter = [], ""
    for match in _PART.finditer(TEXT):
        if match["title"]:
            chapter = match["title"]
        elif match["language"] == language:
            found.append((chapter, re.sub(rf"(?m)^{match['indent']}", "", match["text"])))
    return found


def lines(chapter):
    """The commands of a chapter, each in one line, without comments."""
    text = "".join(text for name, text in blocks("sh") if name == chapter).replace("\\\n", " ")
    return [line for line in (re.sub(r"\s+#.*", "", line).strip() for line in text.splitlines()) if line]
