"""Each block of code in the documentation runs."""

import re
import subprocess
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from .pages import PAGES, ROOT, SETUP, Block, blocks
from .running import run_page

# What runs the blocks of these pages, all of them, in its own way.
ELSEWHERE = {
    "fastapi.md": "tests/test_docs_fastapi.py",
    "mcp.md": "tests/mcp_sdk/test_sdk.py",
    "observability.md": "tests/test_docs_observability.py",
    "recipes.md": "tests/test_docs_recipes.py",
    "testing.md": "tests/test_docs_testing.py",
    "tutorial.md": "tests/servers/test_tutorial.py",
}

# What pages are about, and need not be installed where the tests run.
OPTIONAL = re.compile(r"\b(aiosqlite|coredis|fastapi|httpx|hypercorn|opentelemetry|sqlalchemy)\b")
EXTRAS = {
    "trio_sse.client": "httpx",
    "trio_sse.hypercorn": "hypercorn",
    "trio_sse.redis": "coredis",
}

MOST_NOT_RUN = 3


def programs() -> list[Path]:
    return [
        page for page in PAGES if page.name not in ELSEWHERE and [*blocks(page, "python", SETUP)]
    ]


def talks(page: Path) -> bool:
    return any("await serve(" in block.code for block in blocks(page, SETUP))


def require_packages(page: Path) -> None:
    code = "\n".join(block.code for block in blocks(page, "python", SETUP))
    imports = "\n".join(re.findall(r"^\s*(?:from|import) .*", code, re.MULTILINE))
    needed = {*OPTIONAL.findall(imports)}
    needed |= {extra for module, extra in EXTRAS.items() if module in imports}
    if talks(page):
        needed.add("hypercorn")
    for package in sorted(needed):
        pytest.importorskip(package)


def check(page: Path, clock: MockClock | None) -> None:
    require_packages(page)
    to_run = [block for block in blocks(page, "python", SETUP) if block.reason is None]
    program = trio.run(run_page, to_run, clock=clock)
    assert program.unknown_names() == []
    trio.run(program.run_tests, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(
    "page", [page for page in programs() if not talks(page)], ids=lambda page: page.name
)
def test_the_code_of_a_page_runs(page: Path) -> None:
    check(page, MockClock(autojump_threshold=0))


@pytest.mark.server
@pytest.mark.parametrize(
    "page", [page for page in programs() if talks(page)], ids=lambda page: page.name
)
def test_the_code_of_a_page_runs_against_a_server(page: Path) -> None:
    check(page, None)


def test_pages_whose_code_runs_elsewhere_are_named_there() -> None:
    for page, path in ELSEWHERE.items():
        assert f'"{page}"' in (ROOT / path).read_text(encoding="utf-8")


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    left_out = [block for page in PAGES for block in blocks(page, "python") if block.reason]
    assert len(left_out) <= MOST_NOT_RUN
    assert all(len(block.reason or "") > 20 for block in left_out)


def shell_blocks() -> list[Block]:
    return [block for page in PAGES for block in blocks(page, "sh")]


@pytest.mark.parametrize("block", shell_blocks(), ids=str)
def test_a_shell_block_is_one_and_what_it_names_is_there(block: Block) -> None:
    subprocess.run(["sh", "-n"], input=block.code, text=True, check=True)
    for module in re.findall(r"python3? -m (trio_sse[\w.]*)", block.code):
        assert find_spec(module if module != "trio_sse" else "trio_sse.__main__")
    for path in re.findall(r"\b(?:examples|tests|docs|benchmarks)/[\w./]+", block.code):
        assert (ROOT / path).exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_that_a_page_installs_are_extras(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extras in re.findall(r"\"(?:trio-sse|\.)\[([\w,]+)\]", page.read_text(encoding="utf-8")):
        assert {*extras.split(",")} <= {*project["optional-dependencies"]}
