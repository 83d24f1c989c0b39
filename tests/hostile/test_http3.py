"""HTTP/3: hypercorn on trio, and a client that talks QUIC to it.

Orders to streams go to the same server over TCP, and what becomes of them is printed.
"""

import itertools
import time
from collections.abc import Iterator
from functools import partial

import pytest

from hostile.http3 import Http3
from servers.app import END, FAIL, LAST_WORDS
from servers.process import TESTS, Process
from servers.test_matrix import FINITE_BYTES, Server, make_certificate
from servers.wire import Address, Http1, TruncatedError

pytest.importorskip("aioquic")

pytestmark = [pytest.mark.server, pytest.mark.hostile]

COMMAND = (
    *("-X", "dev", "-W", "error"),
    # hypercorn itself does not close the socket that it listens with for QUIC.
    *("-W", "ignore:unclosed <socket.socket fd=:ResourceWarning"),
    *("-m", "hypercorn", "-k", "trio", "hostile.pinging:app"),
    *("--bind", "127.0.0.1:0", "--insecure-bind", "127.0.0.1:0", "--quic-bind", "127.0.0.1:0"),
    # While it listens with QUIC it never leaves before this is over, with streams or without.
    *("--graceful-timeout", "0"),
)

OVER_TCP = r"http://127\.0\.0\.1:(\d+)"
OVER_QUIC = r"https://127\.0\.0\.1:(\d+) \(QUIC\)"

PING = 0.5

# The next ping finds out; this is for a loaded machine to get round to it.
SLACK = 0.5

A_PING = b": ping\r\n\r\n"

CONNECTION_SPECIFIC = {"connection", "keep-alive", "transfer-encoding", "upgrade"}

_names = (f"stream-{n}" for n in itertools.count())


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    options, _ = make_certificate(tmp_path_factory.mktemp("tls"))
    with Process(*COMMAND, *options, directory=TESTS) as process:
        yield process
    # The server logs what the app of `servers.app` raises when it is told to, and that is all.
    assert len(process.complaints()) == process.stderr.count("servers.app.ToldToFail")


@pytest.fixture(scope="module")
def server(process: Process) -> Server:
    return Server("hypercorn-trio-h3", partial(Http1, process.address(OVER_TCP)))


@pytest.fixture(scope="module")
def address(process: Process) -> Address:
    return process.address(OVER_QUIC)


@pytest.fixture
def client(address: Address) -> Iterator[Http3]:
    with Http3(address) as client:
        yield client


@pytest.fixture
def name() -> str:
    return next(_names)


def test_the_headers_are_those_of_a_stream_and_say_nothing_of_a_connection(
    client: Http3, name: str
) -> None:
    client.request(f"/stream/{name}")
    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert client.headers["cache-control"] == "no-store"
    assert CONNECTION_SPECIFIC.isdisjoint(client.headers)


def test_a_finite_stream_is_these_bytes_and_a_proper_end(client: Http3) -> None:
    client.request("/finite")
    assert client.read_rest() == FINITE_BYTES


def test_each_event_arrives_before_there_is_a_next_one(
    process: Process, server: Server, client: Http3, name: str
) -> None:
    client.request(f"/stream/{name}")
    for n in range(5):
        server.order(name, f"event {n}")
        assert client.read_event() == f"data: event {n}\r\n\r\n".encode()
        assert client.body == b""
    server.order(name, END)
    assert client.read_rest() == b""
    process.wait_for(f"{name} completed")


def test_pings_arrive_while_there_is_nothing_else(client: Http3, name: str) -> None:
    client.request(f"/stream/{name}?ping={PING}")
    assert client.body == b""
    assert [client.read_event() for _ in range(2)] == [A_PING, A_PING]


def test_what_was_sent_before_an_error_arrives_and_then_the_stream_is_reset(
    process: Process, server: Server, client: Http3, name: str
) -> None:
    client.request(f"/stream/{name}")
    server.order(name, FAIL)
    assert client.read_event() == f"data: {LAST_WORDS}\r\n\r\n".encode()
    with pytest.raises(TruncatedError, match="the stream was reset"):
        client.read_rest()
    process.wait_for(f"{name} error")


def test_a_client_that_gives_up_a_stream_is_noticed_by_the_next_ping(
    process: Process, client: Http3, name: str
) -> None:
    client.request(f"/stream/{name}?ping={PING}")
    client.read_event()
    left = time.monotonic()
    client.stop()
    assert_noticed_by_the_next_ping(process, name, left)
    client.request("/finite")
    assert client.read_rest() == FINITE_BYTES


def test_a_client_that_closes_the_connection_is_noticed_by_the_next_ping(
    process: Process, client: Http3, name: str
) -> None:
    client.request(f"/stream/{name}?ping={PING}")
    client.read_event()
    left = time.monotonic()
    client.close()
    assert_noticed_by_the_next_ping(process, name, left)


def assert_noticed_by_the_next_ping(process: Process, name: str, left: float) -> None:
    noticed = moment(process, f"{name} client_disconnected")
    assert moment(process, f"{name} cleaned up") <= noticed <= left + PING + SLACK


def moment(process: Process, what: str) -> float:
    """Wait until the server says something, and return when it was said."""
    return float(process.wait_for(rf"{what} at (\S+)\n")[1])
