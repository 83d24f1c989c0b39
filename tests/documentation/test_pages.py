"""The pages lead to each other, and the reference has every public name."""

import re
from importlib import import_module
from pathlib import Path

import pytest

from .pages import PAGES, ROOT

DOCS = ROOT / "docs"
REFERENCE = (DOCS / "reference.md").read_text(encoding="utf-8")

# Public modules, with what has to be installed for them.
MODULES = {
    "trio_sse": "trio",
    "trio_sse.client": "httpx",
    "trio_sse.compat": "trio",
    "trio_sse.hypercorn": "hypercorn",
    "trio_sse.redis": "coredis",
    "trio_sse.testing": "pytest",
}

_LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)[^)]*\)")
_MODULE = re.compile(r"^\.\. (?:module|automodule|currentmodule):: (\S+)$", re.MULTILINE)
_OBJECT = re.compile(r"^\.\. (?:auto(?:class|function|exception|data)|data):: (\S+)$", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in _LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_each_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^[a-z-]+$", index, re.MULTILINE))
    assert {path.stem for path in DOCS.glob("*.md")} - {"index"} == listed


def test_the_readme_leads_to_each_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in DOCS.glob("*.md"):
        assert path.stem == "index" or f"](docs/{path.name})" in readme


def documented(module: str) -> set[str]:
    """Return the names that the reference has of a module."""
    names: set[str] = set()
    current = ""
    for line in REFERENCE.splitlines():
        if found := _MODULE.match(line):
            current = found[1]
        elif (found := _OBJECT.match(line)) and current == module:
            names.add(found[1].removeprefix(f"{module}."))
    return names


@pytest.mark.parametrize("module", MODULES)
def test_the_reference_has_every_public_name(module: str) -> None:
    pytest.importorskip(MODULES[module])
    assert documented(module) == {*import_module(module).__all__}
