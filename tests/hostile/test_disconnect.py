"""Clients that leave: what they had asked for is cleaned up after at once, whatever they do."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from .clients import Http2Peer, Listens, NeverReads, Peer, Pipelines, StarvesHttp2
from .kinds import (
    GRANIAN,
    HYPERCORN_TRIO,
    KINDS,
    SERVE,
    Certificate,
    Kind,
    Server,
    once_each,
    until,
)
from .results import Results

pytestmark = [pytest.mark.server, pytest.mark.hostile]

# What is promised, and what a machine may add that has two processors for everything.
NOTICED = 0.2
LATE = 0.2

# When to give up waiting for what has not been noticed.
GIVE_UP = 2.0

# The pings that find out who has left behind a request that is still waiting.
PING = 0.5

NOTICED_BLOCKED = "noticed close while blocked (s)"
NOTICED_IDLE = "noticed close while idle (s)"
NOTICED_PIPELINED = "noticed close behind a pipelined request (s)"

Open = Callable[[Server, str], Peer]


def idle(server: Server, name: str) -> Peer:
    return Listens(server.plain, f"/quiet?name={name}")


def idle_behind(server: Server, name: str) -> Peer:
    return Listens(server.plain, f"/behind/quiet?name={name}")


def idle_tls(server: Server, name: str) -> Peer:
    return Listens(server.over_tls, f"/quiet?name={name}", server.certificate.http1)


def blocked(server: Server, name: str) -> Peer:
    return NeverReads(server.plain, f"/flood?name={name}")


def blocked_behind(server: Server, name: str) -> Peer:
    return NeverReads(server.plain, f"/behind/flood?name={name}")


def blocked_tls(server: Server, name: str) -> Peer:
    return NeverReads(server.over_tls, f"/flood?name={name}", server.certificate.http1)


def idle_http2(server: Server, name: str) -> Peer:
    peer = Http2Peer(server.over_tls, server.certificate.http2)
    peer.open(f"/quiet?name={name}")
    return peer


def starved(server: Server, name: str) -> Peer:
    return StarvesHttp2(server.over_tls, f"/flood?name={name}", server.certificate.http2)


def starved_behind(server: Server, name: str) -> Peer:
    return StarvesHttp2(server.over_tls, f"/behind/flood?name={name}", server.certificate.http2)


def pipelined(server: Server, name: str) -> Peer:
    return Pipelines(server.plain, f"/quiet?name={name}&ping={PING}")


def close(peer: Peer) -> None:
    peer.close()


def reset(peer: Peer) -> None:
    peer.reset()


def half_close(peer: Peer) -> None:
    peer.half_close()


def give_up(peer: Any) -> None:
    """Reset the only stream of a connection, and keep the connection."""
    (stream,) = peer.streams.values()
    peer.give_up(stream)


@dataclass(frozen=True)
class Case:
    """A client in some situation, and a way to leave.

    Args:
        open: Gets into the situation.
        leave: Leaves.
        promise: The row of the table that it counts for.
        within: Seconds until it has to be noticed.
    """

    open: Open
    leave: Callable[[Any], None]
    promise: str
    within: float = NOTICED

    @property
    def name(self) -> str:
        return f"{self.open.__name__}-{self.leave.__name__}"


WAYS = (close, reset, half_close)

PLAIN = (
    *(Case(open_, way, NOTICED_IDLE) for open_ in (idle, idle_behind) for way in WAYS),
    *(Case(open_, way, NOTICED_BLOCKED) for open_ in (blocked, blocked_behind) for way in WAYS),
    *(Case(pipelined, way, NOTICED_PIPELINED, PING + NOTICED) for way in (close, reset)),
)
TLS = (
    *(Case(idle_tls, way, NOTICED_IDLE) for way in WAYS),
    *(Case(blocked_tls, way, NOTICED_BLOCKED) for way in WAYS),
)
HTTP2 = (
    *(Case(idle_http2, way, NOTICED_IDLE) for way in (*WAYS, give_up)),
    *(
        Case(open_, way, NOTICED_BLOCKED)
        for open_ in (starved, starved_behind)
        for way in (*WAYS, give_up)
    ),
)


def cases(kind: Kind) -> Sequence[Case]:
    """How clients leave this server."""
    http2 = HTTP2 if kind in (HYPERCORN_TRIO, SERVE) else ()
    return PLAIN + (TLS if kind.tls else ()) + http2


@pytest.fixture(scope="module")
def notice(certificate: Certificate) -> Callable[[Kind], dict[str, float | None]]:
    """Have all clients at a server, let one after the other leave, and time what it notices.

    A server has its clients when it is first asked for.
    """

    def notice(kind: Kind) -> dict[str, float | None]:
        with kind.running(certificate) as server, ExitStack() as stack:
            peers = {}
            for case in cases(kind):
                peers[case] = stack.enter_context(case.open(server, case.name))
                peers[case].settle()
            server.wait_still(*(case.name for case in peers))
            return {case.name: leave(server, case, peer) for case, peer in peers.items()}

    return once_each(notice)


def leave(server: Server, case: Case, peer: Peer) -> float | None:
    """Let a client leave; return the seconds until its producer was cleaned up after."""
    peer.await_moment()
    left = time.monotonic()
    case.leave(peer)
    until(lambda: server.over(case.name), case.within + GIVE_UP)
    over = server.over(case.name)
    return None if over is None else over["cleaned up"] - left


@pytest.mark.parametrize(
    ("kind", "case"),
    [
        pytest.param(kind, case, id=f"{kind.name}-{case.name}")
        for kind in KINDS
        for case in cases(kind)
    ],
)
def test_a_client_that_leaves_is_noticed_at_once(
    notice: Callable[[Kind], dict[str, float | None]], kind: Kind, case: Case, results: Results
) -> None:
    seconds = notice(kind)[case.name]
    assert seconds is not None, "never noticed"
    results.took(kind.name, case.promise, seconds)
    # Its sockets cannot be asked: one ping has to meet the reset that the one before caused.
    blind = PING if kind == GRANIAN and case.open is pipelined else 0
    assert seconds <= case.within + blind + LATE
