"""A server in a process of its own, on a core of its own, and what is read of it from outside."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ._client import RunError
from .apps._control import GC
from .apps._runtime import SERVER

ROOT = Path(__file__).parents[1]
START_TIMEOUT = 20


class Server:
    """A server that is running.

    Args:
        process: What was started; granian serves in a child of that.
        port: Where it listens.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port
        self.pid: int = self._wait_for_start()["pid"]

    def _wait_for_start(self) -> dict[str, int]:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RunError("the server did not start: see the log")
            try:
                return self.get("/stats")
            except OSError:
                time.sleep(0.02)
        raise RunError("the server does not answer")

    def get(self, path: str) -> Any:
        """Ask for something that is not a stream."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path, headers={"Connection": "close"})
            return json.loads(connection.getresponse().read())
        except (http.client.HTTPException, ValueError) as error:
            raise RunError(f"the server has no answer: {error!r}") from error
        finally:
            connection.close()

    def settled(self, query: str = "") -> dict[str, int]:
        """Return its counts, without those of the connection of the last question."""
        time.sleep(0.1)
        return self.get(f"/stats{query}")

    def wait_until(self, reached: Callable[[dict[str, int]], bool], *, timeout: float = 10) -> None:
        """Wait until its counts are so."""
        deadline = time.monotonic() + timeout
        while not reached(counts := self.get("/stats")):
            if time.monotonic() > deadline:
                raise RunError(f"still after {timeout:g} seconds: {counts}")
            time.sleep(0.05)

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used, of all its threads, to the nanosecond."""
        return time.clock_gettime((~self.pid << 3) | 2)  # as clock_getcpuclockid() has it

    def memory(self) -> dict[str, int]:
        """Return its memory in KiB: RSS, and PSS."""
        lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines()
        sizes = {name: int(size[0]) for name, *size in map(str.split, lines[1:])}
        return {"rss": sizes["Rss:"], "pss": sizes["Pss:"]}

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait_for_exit(self, timeout: float) -> bool:
        """Tell whether it exits in time."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True


@contextmanager
def run_server(name: str, library: str, setting: str, core: int, log: IO[str]) -> Iterator[Server]:
    """Run a server with the app of a library."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}._serve", name, library, str(port), str(core)],
        cwd=ROOT,
        env={**os.environ, SERVER: name, GC: setting},
        start_new_session=True,
        stdout=log,
        stderr=log,
    )
    try:
        yield Server(process, port)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # granian's child too
        process.wait()
