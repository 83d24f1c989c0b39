"""The servers, each started as its users start it."""

import importlib.util
import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from signal import SIGTERM
from typing import Any, TypeVar

import pytest

from servers.process import TESTS, Process
from servers.wire import Address, Http1

T = TypeVar("T")

# For what is about to happen; never waited out, unless a test is about to fail.
PATIENCE = 15.0

# Between two looks at something that cannot be waited for.
LOOK_UP = 0.05

# A stream that has sent nothing for so long is waiting for its client.
STILL = 0.3

PLAIN = r"(?:unning on|istening at:) http://127\.0\.0\.1:(\d+)"
SECURE = r"unning on https://127\.0\.0\.1:(\d+)"


def until(condition: Callable[[], object], seconds: float = PATIENCE) -> float | None:
    """Wait until something holds, and return when it was first seen to; None if it never was."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return None
        time.sleep(LOOK_UP)
    return time.monotonic()


def once_each(meet: "Callable[[Kind], T]") -> "Callable[[Kind], T]":
    """Meet each kind of server once: what came of it, also an error, is kept for all tests."""
    met: dict[Kind, Future[T]] = {}

    def recall(kind: Kind) -> T:
        if kind not in met:
            met[kind] = Future()
            try:
                met[kind].set_result(meet(kind))
            except BaseException as error:
                met[kind].set_exception(error)
        return met[kind].result()

    return recall


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1, and what clients need to believe it."""

    certificate: Path
    key: Path
    http1: ssl.SSLContext
    http2: ssl.SSLContext


def make_certificate(directory: Path) -> Certificate:
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    made = Certificate(
        directory / "certificate.pem",
        directory / "key.pem",
        ssl.create_default_context(),
        ssl.create_default_context(),
    )
    leaf.cert_chain_pems[0].write_to_path(made.certificate)
    leaf.private_key_pem.write_to_path(made.key)
    made.http2.set_alpn_protocols(["h2"])
    for context in (made.http1, made.http2):
        authority.configure_trust(context)
    return made


@dataclass(frozen=True)
class Kind:
    """A server and its options, as on its command line.

    Args:
        name: What to call it.
        command: What to run, after ``python``; ``{app}``, ``{port}``, ``{certificate}`` and
            ``{key}`` are filled in.
        needs: The modules without which it cannot run.
        exit_code: What it exits with when it has been told to.
        app: The name of the app in `app`.
        stop: The signal that tells it to exit.
    """

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...]
    exit_code: int = 0
    app: str = "app"
    stop: int = SIGTERM

    @property
    def tls(self) -> bool:
        return "{certificate}" in self.command

    @property
    def aid(self) -> str:
        """How its streams learn that it shuts down, for the table of results."""
        return "with DrainMiddleware" if self.app == "wrapped" else "yes"

    @contextmanager
    def running(self, certificate: Certificate) -> Iterator["Server"]:
        for module in self.needs:
            if importlib.util.find_spec(module) is None:
                pytest.skip(f"{module} is not installed")
        filled = {
            "app": f"hostile.app:{self.app}",
            "port": free_port() if "{port}" in self.command else 0,
            "certificate": certificate.certificate,
            "key": certificate.key,
        }
        command = (part.format_map(filled) for part in self.command)
        with Process(*command, directory=TESTS) as process:
            plain = process.address(PLAIN)
            assert until(lambda: accepts(plain)), "says that it listens, and does not"
            secure = process.address(SECURE) if self.tls else None
            yield Server(self, process, certificate, plain, secure)


def accepts(address: Address) -> bool:
    """Tell whether somebody listens there; some servers say so before they do."""
    try:
        socket.create_connection(address, PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@dataclass(frozen=True)
class Server:
    """A running server."""

    kind: Kind
    process: Process
    certificate: Certificate
    plain: Address
    secure: Address | None

    @property
    def over_tls(self) -> Address:
        assert self.secure is not None, f"{self.kind.name} is run without TLS"
        return self.secure

    def ask(self, path: str) -> Any:
        """Ask for some JSON on a connection of its own."""
        with Http1(self.plain) as client:
            client.request(path)
            return json.loads(client.read_rest())

    def over(self, name: str) -> dict[str, Any] | None:
        """Return what became of a stream, if it is over."""
        line = re.search(rf'^{{"name": "{re.escape(name)}",.*}}$', self.process.stdout, re.M)
        return None if line is None else json.loads(line[0])

    def wait_over(self, name: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until a stream is over."""
        until(lambda: self.over(name), seconds)
        over = self.over(name)
        assert over is not None, f"{name} is not over after {seconds} s"
        return over

    def wait_still(self, *names: str) -> None:
        """Wait until each of these streams has come to wait for its client, or for ever."""

        def still() -> bool:
            visits, now = self.ask("/log"), time.monotonic()
            return all(now - visits.get(name, {}).get("progress", now) > STILL for name in names)

        assert until(still), f"still sending: {self.ask('/log')}"

    def leave(self) -> tuple[float, int]:
        """Tell it to exit; return how long that took, and its exit code."""
        signalled = time.monotonic()
        self.process.send_signal(self.kind.stop)
        code = self.process.wait()
        return time.monotonic() - signalled, code


HYPERCORN = (
    *("-m", "hypercorn", "--bind", "127.0.0.1:0", "--insecure-bind", "127.0.0.1:0"),
    *("--certfile", "{certificate}", "--keyfile", "{key}", "{app}", "-k"),
)
_SERVE = ("-m", "hostile.program", "--certificate", "{certificate}", "--key", "{key}")
_UVICORN = ("-m", "uvicorn", "--port", "0", "{app}", "--http")
_GRANIAN = ("-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", "{port}")

HYPERCORN_TRIO = Kind("hypercorn-trio", (*HYPERCORN, "trio"), ("hypercorn",))
SERVE = Kind("serve", _SERVE, ("hypercorn",))
HYPERCORN_ASYNCIO = Kind("hypercorn-asyncio", (*HYPERCORN, "asyncio"), ("hypercorn",))
# uvicorn, done with shutting down, dies of the signal that it was sent.
UVICORN = Kind(
    "uvicorn-httptools",
    (*_UVICORN, "httptools", "--loop", "asyncio"),
    ("uvicorn", "httptools"),
    exit_code=-SIGTERM,
)
UVICORN_H11 = replace(
    UVICORN, name="uvicorn-h11", command=(*_UVICORN, "h11", "--loop", "asyncio"), needs=("uvicorn",)
)
UVICORN_UVLOOP = replace(
    UVICORN,
    name="uvicorn-uvloop",
    command=(*_UVICORN, "httptools", "--loop", "uvloop"),
    needs=("uvicorn", "httptools", "uvloop"),
)
GRANIAN = Kind("granian", (*_GRANIAN, "{app}"), ("granian",))


def wrapped(kind: Kind) -> Kind:
    """The same server, with the wrapper around its app."""
    return replace(kind, name=f"{kind.name}-wrapped", app="wrapped")


KINDS = (
    HYPERCORN_TRIO,
    SERVE,
    HYPERCORN_ASYNCIO,
    UVICORN,
    UVICORN_H11,
    UVICORN_UVLOOP,
    GRANIAN,
)
