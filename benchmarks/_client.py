"""The client: client.c, compiled at its first use, run once for each measurement."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("client.c")

Result = dict[str, Any]


class RunError(Exception):
    """A run that is no result: an event lost or doubled, a server that does not answer."""


class Client:
    """A client that is running.

    Args:
        process: It.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def wait_until_ready(self) -> None:
        """Wait until all of its connections have their headers."""
        assert self._process.stdout is not None
        if (line := self._process.stdout.readline()) != "ready\n":
            self._read(line)
            raise RunError("the client ended before it was ready")

    def wait(self, timeout: float = 120) -> Result:
        """Wait for its end, and return what it has counted."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise RunError("the client does not end") from None
        assert self._process.stdout is not None
        return self._read(self._process.stdout.read())

    def stop(self) -> Result:
        """End it, and return what it has counted."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self.wait()

    def _read(self, output: str) -> Result:
        line = output.removeprefix("ready\n")
        if not line:
            assert self._process.stderr is not None
            raise RunError(f"the client failed: {self._process.stderr.read().strip()}")
        result: Result = json.loads(line)
        if result["errors"]:
            raise RunError(result["first_error"])
        return result


@contextmanager
def run_client(port: int, path: str, **options: Any) -> Iterator[Client]:
    """Run a client; ``options`` are those of client.c, by their letters."""
    command = [str(compiled()), "-p", str(port), "-u", path]
    for letter, value in options.items():
        command += [f"-{letter}"] if value is True else [f"-{letter}", str(value)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield Client(process)
        finally:
            process.kill()


@cache
def compiled() -> Path:
    """Return the program, compiled if there is none of this source yet."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    digest = sha256(SOURCE.read_bytes()).hexdigest()[:16]
    program = Path(home) / "trio-sse-benchmarks" / f"client-{digest}"
    if not program.exists():
        compiler = shutil.which("cc")
        if compiler is None:
            sys.exit("cc is not there: install a C compiler, Debian's package gcc for example")
        program.parent.mkdir(parents=True, exist_ok=True)
        partly = program.with_suffix(f".{os.getpid()}")
        subprocess.run([compiler, "-O2", "-o", partly, SOURCE], check=True)
        partly.rename(program)
    return program
