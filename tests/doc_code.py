"""The code of the documentation, by the heading that it is below."""

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"

_PART = re.compile(
    r"^#+ (?P<heading>[^\n]*)$|^```(?P<language>\w+)\n(?P<code>.*?)^```", re.M | re.S
)


def code_blocks(page: str, language: str = "python") -> list[tuple[str, str]]:
    """Return the blocks of a page in a language, in order: the heading, and the code."""
    heading, blocks = "", []
    for part in _PART.finditer((DOCS / page).read_text()):
        heading = part["heading"] or heading
        if part["language"] == language:
            blocks.append((heading, part["code"]))
    return blocks
