"""Clients that stop reading, and how long it takes until nothing is left of them."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

from servers.wire import Http1

from .app import TICK
from .clients import NeverReads, NeverReadsHttp2, Peer, StarvesHttp2, Trickles
from .kernel import has_connection
from .kinds import HYPERCORN_TRIO, SERVE, Kind, Server, until

# What a send that is still in flight gets to end by itself, and what the reset of an HTTP/2
# stream may take: they come on top of each timeout, whatever it is.
GRACE = 0.1
RESET = 0.2

# How much later than that a machine may be that runs clients and server on two processors.
LATE = 0.3

# Until the buffers on the way to a client that does not read are full.
FILLING = 8.0

# A stream of ticks that pauses for longer has been disturbed.
LONGEST_PAUSE = 10 * TICK

# How many more ticks there must be after a client was dropped.
MORE_TICKS = 5


def limit(timeout: float) -> float:
    """The time in which nothing may be left of a client, from when it takes nothing more."""
    return max(1.2 * timeout, timeout + GRACE + RESET + LATE)


@dataclass(frozen=True)
class Drop:
    """What became of one client; moments count from the last event that was accepted."""

    reason: str
    cleaned_up: float
    over: float
    gone: float | None
    """When the kernel had forgotten its connection; if that still moves, when the stream broke."""
    pause: float = 0.0
    """The longest pause of another stream of the connection."""


@dataclass(frozen=True)
class Scenario:
    """A way to stop reading.

    Args:
        name: What to call it.
        freeze: Asks the server for a path, and stops reading.
        tls: Whether that takes TLS.
        behind: Whether a `BaseHTTPMiddleware` is in front of the stream.
    """

    name: str
    freeze: Callable[[Server, str], Peer]
    tls: bool = False
    behind: bool = False

    def path(self, name: str, send_timeout: float | None) -> str:
        """Where there is a flood of events."""
        timeout = "" if send_timeout is None else f"&send_timeout={send_timeout}"
        return f"{'/behind' if self.behind else ''}/flood?name={name}{timeout}"

    def run(self, server: Server, timeout: float) -> Drop:
        """Let a client with this timeout stop reading, and watch what becomes of it."""
        with self.freeze(server, self.path(self.name, timeout)) as peer:
            peer.settle()
            if isinstance(peer, StarvesHttp2):
                return watch_stream(server, self.name, peer, timeout)
            gone = until(lambda: not has_connection(*peer.ports), FILLING + limit(timeout))
            return drop(server.wait_over(self.name), gone)


def watch_stream(server: Server, name: str, peer: StarvesHttp2, timeout: float) -> Drop:
    """Watch one stream of a connection that is otherwise healthy, and another one beside it."""
    assert peer.settled, f"stopped after {len(peer.starved.body)} bytes, with a window to spare"
    others = peer.open(f"/ticks?name=beside-{name}")
    gone = peer.read_until(lambda: peer.starved.reset, limit(timeout))
    moment = time.monotonic() if gone else None
    enough = len(others.arrivals) + MORE_TICKS
    peer.read_until(lambda: len(others.arrivals) >= enough)
    return drop(server.wait_over(name), moment, longest_pause(others.arrivals))


def drop(over: dict[str, Any], gone: float | None, pause: float = 0.0) -> Drop:
    blocked = over["progress"]
    return Drop(
        over["reason"],
        over["cleaned up"] - blocked,
        over["closed"] - blocked,
        None if gone is None else gone - blocked,
        pause,
    )


def longest_pause(arrivals: Sequence[float]) -> float:
    return max((later - earlier for earlier, later in pairwise(arrivals)), default=float("inf"))


class Neighbour:
    """A healthy client of a stream of ticks, which looks for pauses in it."""

    def __init__(self, server: Server) -> None:
        self.arrivals: list[float] = []
        self._leaving = threading.Event()
        self._client = Http1(server.plain)
        self._client.request("/ticks?name=neighbour")
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._leaving.set()
        self._thread.join()
        self._client.close()

    def _read(self) -> None:
        while not self._leaving.is_set():
            self._client.read_event()
            self.arrivals.append(time.monotonic())


def http1(server: Server, path: str) -> Peer:
    return NeverReads(server.plain, path)


def trickle(server: Server, path: str) -> Peer:
    return Trickles(server.plain, path)


def tls(server: Server, path: str) -> Peer:
    return NeverReads(server.over_tls, path, server.certificate.http1)


def blocked(server: Server, path: str) -> Peer:
    return NeverReadsHttp2(server.over_tls, path, server.certificate.http2)


def starved(server: Server, path: str) -> StarvesHttp2:
    return StarvesHttp2(server.over_tls, path, server.certificate.http2)


HTTP1 = Scenario("http1", http1)
HTTP1_BEHIND = Scenario("http1-behind", http1, behind=True)

SCENARIOS = (
    HTTP1,
    HTTP1_BEHIND,
    Scenario("trickle", trickle),
    Scenario("tls", tls, tls=True),
    Scenario("tls-behind", tls, tls=True, behind=True),
)

HTTP2_SCENARIOS = (
    Scenario("h2-blocked", blocked, tls=True),
    Scenario("h2-blocked-behind", blocked, tls=True, behind=True),
    Scenario("h2-starved", starved, tls=True),
    Scenario("h2-starved-behind", starved, tls=True, behind=True),
)


def scenarios(kind: Kind) -> Sequence[Scenario]:
    """The ways to stop reading that this server is held against."""
    every = SCENARIOS + (HTTP2_SCENARIOS if kind in (HYPERCORN_TRIO, SERVE) else ())
    return [scenario for scenario in every if kind.tls or not scenario.tls]
