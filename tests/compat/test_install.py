"""Passing for sse-starlette, in a process of its own each time."""

import subprocess
import sys
from pathlib import Path

import pytest

INSTALL = "from trio_sse.compat import install_as_sse_starlette; install_as_sse_starlette();"

IMPORTED = """
import importlib.util
import sse_starlette
import sse_starlette.sse as sse
from sse_starlette import EventSourceResponse, JSONServerSentEvent, ServerSentEvent
from sse_starlette.event import JSONServerSentEvent, ServerSentEvent, ensure_bytes
from sse_starlette.sse import AppStatus, ContentStream, SendTimeoutError

import trio_sse.compat

assert EventSourceResponse is sse.EventSourceResponse is trio_sse.compat.EventSourceResponse
assert sse is sse_starlette.sse
assert sse_starlette.__version__ == sse.__version__ == trio_sse.compat.__version__
assert importlib.util.find_spec("sse_starlette.sse").name == "sse_starlette.sse"
try:
    import sse_starlette.other
except ModuleNotFoundError:
    pass
else:
    raise AssertionError
"""


def run(code: str, *path: Path) -> subprocess.CompletedProcess[str]:
    directories = [*map(str, path), *filter(None, sys.path)]
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {directories!r}\n{code}"],
        capture_output=True,
        text=True,
    )


def test_other_packages_import_the_names_from_where_they_were() -> None:
    process = run(INSTALL + IMPORTED)
    assert process.returncode == 0, process.stderr


def test_installing_again_changes_nothing() -> None:
    again = "import sys; before = sys.modules['sse_starlette'];"
    process = run(
        INSTALL + again + "install_as_sse_starlette();assert sys.modules['sse_starlette'] is before"
    )
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("imported", ["sse_starlette", "sse_starlette.sse"])
def test_it_is_too_late_when_the_other_one_has_been_imported(tmp_path: Path, imported: str) -> None:
    package = tmp_path / "sse_starlette"
    package.mkdir()
    for name in ("__init__", "sse", "event"):
        (package / f"{name}.py").touch()
    process = run(f"import {imported}; {INSTALL}", tmp_path)
    assert process.returncode == 1
    assert "ImportError: sse_starlette has been imported already, from /" in process.stderr
    assert "call install_as_sse_starlette() before anything imports it" in process.stderr


def test_importing_patches_nothing() -> None:
    pytest.importorskip("uvicorn")
    process = run(
        "from uvicorn import Server; before = dict(vars(Server));"
        "import trio_sse.compat; assert dict(vars(Server)) == before;"
        "assert 'sse_starlette' not in sys.modules"
    )
    assert process.returncode == 0, process.stderr
