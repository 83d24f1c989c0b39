"""The pages of the documentation, and the code in them.

A block of code is run after those before it on its page, and sees their names. Comments of HTML,
which no reader sees, say what is different. ``<!-- setup``, code, and ``-->``, each in lines of
their own, are run with the blocks; ``<!-- not run: the reason -->``, in the line before a block,
leaves it out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parent.parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

SETUP = "setup"

_BLOCK = re.compile(
    r"""
    ^<!--\ setup\n (?P<setup>.*?) ^-->$
    |
    (?:^\ *<!--\ not\ run:\ (?P<reason>[^\n]+)\ -->\n)?
    ^(?P<indent>\ *)```(?P<language>\w*)\n (?P<code>.*?) ^(?P=indent)```$
    """,
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Block:
    """A block of code, or of setup."""

    page: Path
    line: int
    language: str
    code: str
    reason: str | None
    """Why it is not run."""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def source(self) -> str:
        """The code with the numbers of lines that it has on its page."""
        return "\n" * (self.line - 1) + self.code


def blocks(page: Path, *languages: str) -> Iterator[Block]:
    """Yield the blocks of a page that are in one of these languages."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        group = "code" if match["setup"] is None else "setup"
        block = Block(
            page=page,
            line=text.count("\n", 0, match.start(group)) + 1,
            language=match["language"] if group == "code" else SETUP,
            code=dedent(match[group]),
            reason=match["reason"],
        )
        if block.language in languages:
            yield block


def tables(page: Path, heading: str) -> Iterator[list[str]]:
    """Yield the rows of the tables whose first heading is this, without the headings."""
    below = False
    for line in page.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            below = False
        elif below and not set(cells[0]) <= {"-"}:
            yield cells
        elif cells[0] == heading:
            below = True
