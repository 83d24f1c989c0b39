"""Debian's nginx as the tests' own: unprivileged, on a free port, in a folder of its own."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

import pytest

from redis_server import free_port

# Seconds for a loaded machine to start it, or to end it.
TIMEOUT = 30.0

# Where Debian has it, which is not on the path of everybody.
PATH = os.pathsep.join((os.environ["PATH"], "/usr/sbin"))

Address = tuple[str, int]


def require_nginx() -> str:
    """Return where nginx is. Without it skip a test, or fail where tests guard main."""
    nginx = shutil.which("nginx", path=PATH)
    if nginx is None:
        give_up = pytest.fail if "CI" in os.environ else pytest.skip
        give_up("nginx is not there: install Debian's package nginx")
    return nginx


class NginxServer:
    """A running ``nginx``, with a configuration whose addresses are replaced.

    Args:
        directory: Where its files are.
        configuration: Listens on ``127.0.0.1:8080``, for an app on ``127.0.0.1:8000``.
        app: Where the app listens.
    """

    def __init__(self, directory: Path, configuration: str, app: Address) -> None:
        nginx = require_nginx()
        self.address = ("127.0.0.1", free_port())
        for written, real in {8080: self.address, 8000: app}.items():
            line = f"127.0.0.1:{written};"
            assert configuration.count(line) == 1
            configuration = configuration.replace(line, "{}:{};".format(*real))
        path = directory / "nginx.conf"
        path.write_text(configuration)
        self._command = [nginx, "-p", str(directory), "-e", "stderr", "-c", str(path)]
        self._popen = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        """End it at once, and its workers."""
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.communicate(timeout=TIMEOUT)
        finally:
            self._popen.kill()

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    def reload(self) -> None:
        """Have new workers take over; returns when they are told to."""
        subprocess.run([*self._command, "-s", "reload"], check=True, timeout=TIMEOUT)

    def _wait_until_it_listens(self) -> None:
        deadline = time.monotonic() + TIMEOUT
        while not self._listens():
            if self._popen.poll() is not None:
                pytest.fail(f"nginx has not started:\n{self._popen.stderr.read()}")
            assert time.monotonic() < deadline, "nginx does not answer"

    def _listens(self) -> bool:
        try:
            socket.create_connection(self.address, timeout=TIMEOUT).close()
        except OSError:
            time.sleep(0.01)  # there is nothing to wait for: it does not say when it listens
            return False
        return True
