"""Told to exit: healthy streams end whole and at once, and no client can hold that up."""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from signal import SIGTERM, SIGUSR1

import pytest

from servers.wire import EVENT_END, Client, Http1, Http2, TruncatedError

from .clients import Http2Peer, Peer
from .drops import Scenario, scenarios
from .kinds import (
    GRANIAN,
    HYPERCORN,
    HYPERCORN_TRIO,
    KINDS,
    SERVE,
    UVICORN,
    Certificate,
    Kind,
    Server,
    wrapped,
)
from .results import Results

pytestmark = [pytest.mark.server, pytest.mark.hostile]

STREAMS = int(os.environ.get("HOSTILE_STREAMS", "200"))

# hypercorn's, by default. Other servers have none, and must not need longer for that.
GRACEFUL_TIMEOUT = 3.0

# What a server may take beyond its graceful timeout.
EXIT = 1.0

# When the last of many healthy streams has ended, and when the process has.
LAST_CLOSED = 1.0
LAST_EXIT = 2.0

# A send timeout that is far away, and none.
FAR_AWAY = (30.0, None)

FROZEN_EXIT = "exit after SIGTERM with a frozen client (s)"
CLOSED = f"{STREAMS} healthy streams: last one closed (s)"
EXITED = f"{STREAMS} healthy streams: exit (s)"
FAREWELL = "farewell on SIGTERM"
FAREWELL_BEHIND = "farewell on SIGTERM behind BaseHTTPMiddleware"

# granian tells nobody that it shuts down. Its worker may lock itself up when it logs, on its
# way out, that a connection has broken; the limit is its own remedy for a worker that stays.
GRANIAN_WRAPPED = replace(
    wrapped(GRANIAN),
    command=(*GRANIAN.command, "--workers-kill-timeout", str(round(GRACEFUL_TIMEOUT))),
)

LEAVING = (*(kind for kind in KINDS if kind is not GRANIAN), GRANIAN_WRAPPED)

EMBEDDED = Kind(
    "uvicorn-in-a-program",
    ("-m", "hostile.embedded", "task"),
    ("uvicorn",),
    stop=SIGUSR1,
)

STARTED_OTHERWISE = (
    replace(
        UVICORN,
        name="uvicorn-2-workers",
        # The parent leaves the sockets that it shares with its workers to the end of the process.
        command=("-W", "ignore:unclosed:ResourceWarning", *UVICORN.command, "--workers", "2"),
        exit_code=0,
    ),
    replace(
        UVICORN,
        name="uvicorn-graceful-timeout",
        command=(*UVICORN.command, "--timeout-graceful-shutdown", "3"),
    ),
    EMBEDDED,
    replace(EMBEDDED, name="uvicorn-in-a-thread", command=("-m", "hostile.embedded", "thread")),
)

each_server = pytest.mark.parametrize("kind", LEAVING, ids=lambda kind: kind.name)

Connect = Callable[[], Client]

_numbers = itertools.count()


def open_streams(stack: ExitStack, connect: Connect, path: str, count: int) -> list[Client]:
    """Open streams, each on a connection of its own."""
    clients = []
    for _ in range(count):
        client = stack.enter_context(connect())
        client.request(f"{path}?name=healthy-{next(_numbers)}")
        clients.append(client)
    return clients


def over_http2(server: Server) -> Http2:
    return Http2(server.over_tls, server.certificate.http2)


def worker_of(client: Client) -> int:
    """Return the process that serves a quiet stream, as its first event says."""
    return int(client.read_event().removeprefix(b"data: "))


def ends_whole(client: Client) -> bool:
    """Read a stream to its end; whether it has a farewell and a complete body."""
    try:
        return is_farewell(client.read_rest())
    except (TruncatedError, TimeoutError):
        return False


def broken(clients: Sequence[Client]) -> list[str]:
    """Read streams to their ends, and name those that have no proper one."""
    named = [(f"{type(client).__name__} {n}", client) for n, client in enumerate(clients)]
    return [name for name, client in named if not ends_whole(client)]


def is_farewell(rest: bytes) -> bool:
    return b"event: bye\r\n" in rest and rest.count(EVENT_END) == 1 and rest.endswith(EVENT_END)


@contextmanager
def frozen(server: Server, wanted: Sequence[Scenario]) -> Iterator[list[str]]:
    """Have clients that have stopped reading, with send timeouts that do not help."""
    with ExitStack() as stack:
        names = []
        for scenario in wanted:
            for timeout in FAR_AWAY:
                name = f"{scenario.name}-{timeout}"
                peer: Peer = scenario.freeze(server, scenario.path(name, timeout))
                stack.enter_context(peer).settle()
                names.append(name)
        server.wait_still(*names)
        yield names


@each_server
def test_frozen_clients_without_a_send_timeout_do_not_hold_up_the_exit(
    kind: Kind, certificate: Certificate, results: Results
) -> None:
    with kind.running(certificate) as server:
        with frozen(server, scenarios(kind)) as names:
            seconds, code = server.leave()
        results.took(kind.name, FROZEN_EXIT, seconds)
        assert seconds <= GRACEFUL_TIMEOUT + EXIT
        assert code == kind.exit_code
        if kind is not GRANIAN_WRAPPED:  # which leaves tasks behind when it ends its event loop
            assert [name for name in names if not server.over(name)] == []


@pytest.mark.parametrize("kind", [*LEAVING, *STARTED_OTHERWISE], ids=lambda kind: kind.name)
def test_each_of_many_healthy_streams_ends_whole_and_at_once(
    kind: Kind, certificate: Certificate, results: Results
) -> None:
    with kind.running(certificate) as server:
        end_healthy_streams(server, partial(Http1, server.plain), results)


@pytest.mark.parametrize("kind", [HYPERCORN_TRIO, SERVE], ids=lambda kind: kind.name)
def test_each_of_many_healthy_streams_ends_whole_and_at_once_over_http2(
    kind: Kind, certificate: Certificate, results: Results
) -> None:
    with kind.running(certificate) as server:
        end_healthy_streams(server, partial(over_http2, server), results, " over HTTP/2")


def end_healthy_streams(
    server: Server, connect: Connect, results: Results, protocol: str = ""
) -> None:
    kind = server.kind
    name = kind.name + protocol
    with ExitStack() as stack:
        clients = open_streams(stack, connect, "/quiet", STREAMS)
        for client in clients:
            client.read_event()
        signalled = time.monotonic()
        server.process.send_signal(kind.stop)
        wrong = broken(clients)
        closed = time.monotonic() - signalled
    code = server.process.wait()
    exited = time.monotonic() - signalled
    results.kept(name, FAREWELL, "no" if wrong else kind.aid)
    results.took(name, CLOSED, closed)
    results.took(name, EXITED, exited)
    assert wrong == []
    assert closed <= LAST_CLOSED
    assert exited <= LAST_EXIT
    assert code == kind.exit_code
    assert server.process.complaints() == []


@each_server
def test_streams_behind_a_middleware_that_hides_the_server_end_whole_too(
    kind: Kind, certificate: Certificate, results: Results
) -> None:
    with kind.running(certificate) as server, ExitStack() as stack:
        clients = open_streams(stack, partial(Http1, server.plain), "/behind/quiet", 5)
        if kind in (HYPERCORN_TRIO, SERVE):
            clients += open_streams(stack, partial(over_http2, server), "/behind/quiet", 5)
        for client in clients:
            client.read_event()
        server.process.send_signal(kind.stop)
        wrong = broken(clients)
        results.kept(kind.name, FAREWELL_BEHIND, "no" if wrong else kind.aid)
        assert wrong == []


@pytest.mark.parametrize("kind", [HYPERCORN_TRIO, SERVE], ids=lambda kind: kind.name)
def test_all_streams_of_one_http2_connection_end_whole(
    kind: Kind, certificate: Certificate
) -> None:
    with (
        kind.running(certificate) as server,
        Http2Peer(server.over_tls, certificate.http2) as peer,
    ):
        streams = [peer.open(f"/quiet?name=one-of-many-{n}") for n in range(50)]
        assert peer.read_until(lambda: all(EVENT_END in stream.body for stream in streams))
        server.process.send_signal(SIGTERM)
        peer.read_until(lambda: all(stream.ended or stream.reset for stream in streams))
        rests = [stream.body.partition(EVENT_END)[2] for stream in streams]
        assert all(stream.ended for stream in streams)
        assert all(map(is_farewell, rests))


@pytest.mark.parametrize("target", ["parent", "worker", "group"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_wrapped_streams_end_whole_whichever_process_of_hypercorn_is_signalled(
    workers: int, target: str, certificate: Certificate
) -> None:
    command = (*HYPERCORN, "trio", "--workers", str(workers))
    kind = wrapped(replace(HYPERCORN_TRIO, name=f"hypercorn-trio-{workers}", command=command))
    with kind.running(certificate) as server, ExitStack() as stack:
        clients = [
            *open_streams(stack, partial(Http1, server.plain), "/quiet", 20),
            *open_streams(stack, partial(over_http2, server), "/behind/quiet", 5),
        ]
        pids = list(map(worker_of, clients))
        worker, parent = pids[0], os.getpgid(pids[0])
        if target == "group":
            os.killpg(parent, SIGTERM)
        elif target == "parent":
            os.kill(parent, SIGTERM)
        else:
            os.kill(worker, SIGTERM)
            theirs = [client for client, pid in zip(clients, pids, strict=True) if pid == worker]
            assert broken(theirs) == []
            clients = [client for client in clients if client not in theirs]
            os.kill(parent, SIGTERM)
        assert broken(clients) == []
        assert server.process.wait() == 0
