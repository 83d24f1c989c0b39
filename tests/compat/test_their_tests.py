"""What sse-starlette's own tests say of `trio_sse.compat`, on asyncio and on trio.

They are fetched when this runs, by pip, and kept in pytest's cache. Which of them are left out
stands in `excluded`.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytest.importorskip("httpx2")
pytest.importorskip("uvicorn")

pytestmark = [pytest.mark.server, pytest.mark.once]

HERE = Path(__file__).parent
VERSION = "3.7.0"

# How many pass, for the same on the next machine; the rest is in `excluded`.
PASSED = {"asyncio": 102, "trio": 100}

# What pip may take to fetch and look into it, and the tests, which sleep, to run.
FETCH_TIMEOUT = 300
RUN_TIMEOUT = 120


@pytest.fixture(scope="session")
def distribution(pytestconfig: pytest.Config) -> Path:
    cache = pytestconfig.cache.mkdir("sse-starlette")  # type: ignore[union-attr]
    path = cache / f"sse_starlette-{VERSION}.tar.gz"
    if not path.exists():
        command = ["download", "--no-deps", "--no-binary", ":all:", "--dest", str(cache)]
        subprocess.run(
            [sys.executable, "-m", "pip", *command, f"sse-starlette=={VERSION}"],
            check=True,
            timeout=FETCH_TIMEOUT,
        )
    return path


@pytest.fixture
def their_tests(distribution: Path, tmp_path: Path) -> Path:
    """Return a directory with their tests, our conftest and the helper that they import."""
    tests = tmp_path / "tests"
    tests.mkdir()
    with tarfile.open(distribution) as archive:
        for member in archive:
            path = Path(member.name)
            if path.parts[1:-1] == ("tests",) and path.match("test_*.py"):
                content = archive.extractfile(member)
                assert content is not None
                (tests / path.name).write_bytes(content.read())
    shutil.copy(HERE / "their_conftest.py", tests / "conftest.py")
    (tests / "__init__.py").touch()
    (tests / "anyio_compat.py").write_text(
        "from trio_sse._outcome import errors_alone as collapse_excgroups\n"
    )
    (tmp_path / "pytest.ini").touch()
    return tests


@pytest.mark.parametrize("runtime", ["asyncio", "trio"])
def test_the_tests_of_sse_starlette_pass(their_tests: Path, runtime: str) -> None:
    python_path = os.pathsep.join([str(HERE.parent), *filter(None, sys.path)])
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "--runtime", runtime],
        cwd=their_tests.parent,
        env={**os.environ, "PYTHONPATH": python_path},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT,
    )
    print(run.stdout, run.stderr)
    assert run.returncode == 0
    [(passed, skipped)] = re.findall(r"=+ (\d+) passed,( \d+ skipped)?.* in ", run.stdout)
    assert (int(passed), skipped) == (PASSED[runtime], "")
