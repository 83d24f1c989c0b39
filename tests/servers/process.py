"""A server in a subprocess: its output as it comes, and an end on every way out."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Self

TESTS = Path(__file__).parent.parent
ROOT = TESTS.parent

# What a loaded machine may take to start an interpreter and import a server.
START_TIMEOUT = 60.0
STOP_TIMEOUT = 30.0
TIDY_TIMEOUT = 5.0

LISTENING = r"unning on https?://127\.0\.0\.1:(\d+)"

# What Python writes about a problem that nobody caught, or was warned of.
COMPLAINT = re.compile(
    r"Traceback|Warning|Exception ignored|never awaited|never retrieved|destroyed but it is pending"
)


class Process:
    """A running command.

    Args:
        command: What to run, after ``python``.
        directory: Where to run it.
        environment: Variables to add.
    """

    def __init__(
        self,
        *command: str,
        directory: Path = ROOT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.stdout = ""
        self.stderr = ""
        self._more = threading.Condition()
        self._pipes = 2
        self._popen = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=directory,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(name, getattr(self._popen, name)))
            for name in ("stdout", "stderr")
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """Ask it to end before it is made to, so that it can tidy up after itself."""
        self._popen.terminate()
        try:
            self._popen.wait(TIDY_TIMEOUT)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._kill()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Wait until the output matches, and fail if it ends before it does."""
        with self._more:
            self._more.wait_for(
                lambda: self._search(pattern) or not self._pipes, timeout=START_TIMEOUT
            )
            match = self._search(pattern)
        assert match, f"no {pattern!r} in the output:\n{self.stdout}\n{self.stderr}"
        return match

    def address(self, pattern: str = LISTENING) -> tuple[str, int]:
        """Wait until it listens, and return where."""
        return "127.0.0.1", int(self.wait_for(pattern)[1])

    def send_signal(self, number: int) -> None:
        """Send a signal to the process itself, not to its children."""
        self._popen.send_signal(number)

    def wait(self) -> int:
        """Wait for the end and for all of the output, and return the exit code."""
        try:
            code = self._popen.wait(STOP_TIMEOUT)
        finally:
            self._kill()
        return code

    def complaints(self) -> list[str]:
        """Return the lines of the error output that tell of a problem."""
        return [line for line in self.stderr.splitlines() if COMPLAINT.search(line)]

    def _search(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self.stdout) or re.search(pattern, self.stderr)

    def _read(self, name: str, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                with self._more:
                    setattr(self, name, getattr(self, name) + line)
                    self._more.notify_all()
        with self._more:
            self._pipes -= 1
            self._more.notify_all()

    def _kill(self) -> None:
        """Leave nothing behind: hypercorn's workers are processes of their own."""
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._popen.wait()
        for reader in self._readers:
            reader.join()
