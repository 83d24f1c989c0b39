"""A Redis of the tests' own: on a free port, with its data in a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

import pytest

# Seconds for a loaded machine to start it, or to end it.
TIMEOUT = 30.0


def require_redis() -> None:
    """Skip a test where there is no Redis; where tests guard main there must be one."""
    if shutil.which("redis-server") is None:
        if os.environ.get("CI"):
            pytest.fail("redis-server is not there: install Debian's package redis-server")
        pytest.skip("redis-server is not there")


class RedisServer:
    """A running ``redis-server``.

    Args:
        directory: Where its data is.
        port: Where it listens; a free port by default.
        options: More of its options, ``--maxmemory`` for example.
    """

    def __init__(self, directory: Path, *options: str, port: int | None = None) -> None:
        require_redis()
        self.port = port or free_port()
        self._directory = directory
        self._options = options
        self._popen: subprocess.Popen[bytes] | None = None
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, with the data that it had, and wait until it answers."""
        self._popen = subprocess.Popen(
            [
                *("redis-server", "--bind", "127.0.0.1", "--port", str(self.port)),
                *("--dir", str(self._directory), "--save", "", "--appendonly", "no"),
                *self._options,
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + TIMEOUT
        while self._answer() != b"+PONG":
            assert self._popen.poll() is None, "redis-server has not started"
            assert time.monotonic() < deadline, "redis-server does not answer"

    def cli(self, *arguments: str, stdin: str | None = None) -> str:
        """Run redis-cli, and return what it prints."""
        done = subprocess.run(
            ["redis-cli", "-e", "-p", str(self.port), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def shutdown(self, *how: str) -> None:
        """End it: with ``SAVE`` it keeps its data, with ``NOSAVE`` what it has on its disk."""
        with suppress(AssertionError):  # it closes the connection, which is no success to redis-cli
            self.cli("SHUTDOWN", *how)
        self._wait()

    def flush(self) -> None:
        """Lose all data."""
        self.cli("FLUSHALL")

    def send_signal(self, number: signal.Signals) -> None:
        assert self._popen is not None
        self._popen.send_signal(number)

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._popen is not None:
            self._popen.kill()
            self._wait()

    def _wait(self) -> None:
        assert self._popen is not None
        self._popen.wait(TIMEOUT)
        self._popen = None

    def _answer(self) -> bytes:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT) as client:
                client.sendall(b"PING\r\n")
                return client.recv(5)
        except OSError:
            time.sleep(0.01)  # there is nothing to wait for: it does not say when it listens
            return b""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
