"""The main job where the platform offers less: as on macOS, or on Windows."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .process import ROOT, TESTS, Process
from .wire import Http1

pytest.importorskip("hypercorn")

pytestmark = pytest.mark.server

WITHOUT = str(TESTS / "servers" / "without.py")

PARTS = ("socket.TCP_USER_TIMEOUT", "socket.SO_LINGER", "signal.SIGTERM", "/proc")


@pytest.mark.parametrize("parts", [*((part,) for part in PARTS), PARTS], ids=" ".join)
def test_the_main_job_runs_without(parts: tuple[str, ...]) -> None:
    command = ("-X", "dev", "-W", "error", WITHOUT, *parts, "examples/hello.py")
    with Process(*command, environment={"PORT": "0"}) as process:
        address = process.address(r"http://127\.0\.0\.1:(\d+)/events")
        with Http1(address) as client:
            client.request("/events")
            assert client.read_event() == b"id: 1\r\ndata: tick 1\r\n\r\n"
        with Http1(address) as client:
            client.request("/events")
            assert client.read_event() == b"id: 1\r\ndata: tick 1\r\n\r\n"
            process.send_signal(signal.SIGINT)
            client.read_rest()
        assert process.wait() == 0
        assert process.complaints() == []


@pytest.mark.parametrize("part", PARTS)
def test_what_is_said_to_be_missing_is_missing(part: str, tmp_path: Path) -> None:
    script = tmp_path / "look.py"
    look = "import os; os.listdir('/proc')" if part == "/proc" else f"import trio\n{part}"
    script.write_text(f"import signal, socket\n{look}\n")
    command = [sys.executable, WITHOUT, part, str(script)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    missing = "FileNotFoundError" if part == "/proc" else "AttributeError"
    assert missing in result.stderr.splitlines()[-1]
