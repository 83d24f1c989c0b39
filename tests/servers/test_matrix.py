"""Every server, over real sockets: the same stream, byte for byte and event by event.

Streams act on orders (see `app`), so a test reads each event before it asks for the
next, and waits for what it needs, never for a time to pass.
"""

import itertools
import json
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from .app import END, FAIL, LAST_WORDS
from .process import TESTS, Process
from .wire import Address, Client, Http1, Http2, TruncatedError

pytest.importorskip("hypercorn")
pytest.importorskip("uvicorn")
pytest.importorskip("httptools")
pytest.importorskip("h2")
trustme = pytest.importorskip("trustme")

pytestmark = pytest.mark.server

KINDS = ("producer", "generator", "iterator", "channel")

# The stream of `app.FINITE`, written out by hand.
FINITE_BYTES = (
    b"id: 1\r\ndata: one\r\n\r\n"
    b"id: 2\r\nevent: pair\r\ndata: two\r\ndata: lines\r\nretry: 1500\r\n\r\n"
    b"data: text \xe2\x98\x83\r\n\r\n"
    b"event: mapping\r\ndata: a dict\r\n\r\n"
    b": raw bytes\r\n\r\n"
    b": a comment\r\n\r\n"
    b"data: 4\r\n\r\n"
)

# What the project promises for noticing that a client is gone.
NOTICE = 1.0

# For anything else: long enough for a loaded machine, and never waited out.
PATIENCE = 30.0

HYPERCORN = ("-m", "hypercorn", "--bind", "127.0.0.1:0", "servers.app:app", "-k")
UVICORN = ("-m", "uvicorn", "--host", "127.0.0.1", "--port", "0", "servers.app:app", "--http")

COMMANDS = {
    "hypercorn-trio": (*HYPERCORN, "trio"),
    "hypercorn-trio-h2": (*HYPERCORN, "trio"),
    "hypercorn-asyncio": (*HYPERCORN, "asyncio"),
    "uvicorn-httptools": (*UVICORN, "httptools"),
    "uvicorn-h11": (*UVICORN, "h11"),
}

_names = (f"stream-{n}" for n in itertools.count())


@dataclass(frozen=True)
class Server:
    kind: str
    connect: Callable[[], Client]

    @property
    def http2(self) -> bool:
        return self.kind.endswith("h2")

    def ask(self, path: str, method: str = "GET", body: str = "") -> str:
        """Make a request on a connection of its own and return the body."""
        with self.connect() as client:
            client.request(path, method, body.encode())
            assert client.status in (200, 204)
            return client.read_rest().decode()

    def order(self, name: str, *orders: str) -> None:
        for order in orders:
            self.ask(f"/order?name={name}", "POST", order)

    def wait_for_notes(self, name: str, *notes: str, seconds: float = PATIENCE) -> list[str]:
        """Wait until the stream has noted all of this, and return what it noted."""
        with self.connect() as client:
            log = poll(client, "/log", lambda log: {*notes} <= {*log.get(name, ())}, seconds)
        return cast("list[str]", log[name])


def poll(
    client: Client, path: str, wanted: Callable[[Any], bool], seconds: float = PATIENCE
) -> Any:
    """Ask for some JSON until it is as wanted."""
    deadline = time.monotonic() + seconds
    while True:
        client.request(path)
        if wanted(answer := json.loads(client.read_rest())):
            return answer
        assert time.monotonic() < deadline, f"after {seconds} s: {answer}"


@pytest.fixture(scope="module", params=COMMANDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    kind = request.param
    command = COMMANDS[kind]
    connect: Callable[[Address], Client] = Http1
    if kind.endswith("h2"):
        options, context = make_certificate(tmp_path_factory.mktemp("tls"))
        command += options
        connect = partial(Http2, context=context)
    with Process(*command, directory=TESTS) as process:
        yield Server(kind, partial(connect, process.address()))


def make_certificate(directory: Path) -> tuple[tuple[str, ...], ssl.SSLContext]:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    leaf.cert_chain_pems[0].write_to_path(certificate)
    leaf.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    context.set_alpn_protocols(["h2"])
    authority.configure_trust(context)
    return ("--certfile", str(certificate), "--keyfile", str(key)), context


@pytest.fixture
def name() -> str:
    return next(_names)


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.connect() as client:
        yield client


def test_200_clients_that_came_and_went_leave_nothing_behind(
    server: Server, client: Client
) -> None:
    """The first test of each server: some keep a closed connection that was idle for seconds.

    So everything is asked on one connection, which is never idle for long.
    """
    visit_and_leave(server, client)  # what is made once, and kept, is made now
    before = poll(client, "/census", bool)
    for _ in range(10):
        visit_and_leave(server, client)
    poll(client, "/census", lambda after: all(after[what] <= before[what] for what in before))


def visit_and_leave(server: Server, client: Client) -> None:
    names = list(itertools.islice(_names, 20))
    for name, kind in zip(names, itertools.cycle(KINDS), strict=False):
        with server.connect() as visitor:
            visitor.request(f"/stream/{kind}?name={name}")
    poll(client, "/log", lambda log: all(is_over(log.get(name, ())) for name in names))


def is_over(notes: Sequence[str]) -> bool:
    """Tell whether a stream ended, and was cleaned up after if it had got as far as starting."""
    return "client_disconnected" in notes and ("started" in notes) == ("cleaned up" in notes)


@pytest.mark.parametrize("kind", KINDS)
def test_a_finite_stream_is_these_bytes_and_a_proper_end(client: Client, kind: str) -> None:
    client.request(f"/finite/{kind}")
    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert client.headers["cache-control"] == "no-store"
    assert client.headers["x-accel-buffering"] == "no"
    assert client.read_rest() == FINITE_BYTES


def test_a_connection_is_as_good_as_new_after_a_finite_stream(client: Client) -> None:
    for kind in KINDS:
        client.request(f"/finite/{kind}")
        assert client.read_rest() == FINITE_BYTES


@pytest.mark.parametrize("kind", KINDS)
def test_the_headers_come_with_the_first_read_before_there_is_an_event(
    server: Server, client: Client, name: str, kind: str
) -> None:
    client.request(f"/stream/{kind}?name={name}")
    assert client.status == 200
    assert client.body == b""
    if not server.http2:  # where other frames come before them
        assert client.head_reads == 1


def test_the_response_says_nothing_of_the_connection(client: Client, name: str) -> None:
    client.request(f"/stream/producer?name={name}")
    assert "connection" not in client.headers
    assert "keep-alive" not in client.headers


@pytest.mark.parametrize("kind", KINDS)
def test_each_event_arrives_before_there_is_a_next_one(
    server: Server, client: Client, name: str, kind: str
) -> None:
    client.request(f"/stream/{kind}?name={name}")
    for n in range(5):
        server.order(name, f"event {n}")
        assert client.read_event() == f"data: event {n}\r\n\r\n".encode()
        assert client.body == b""
    server.order(name, END)
    assert client.read_rest() == b""
    notes = server.wait_for_notes(name, "completed")
    assert [note for note in notes if note != "channel closed"] == [
        "started",
        "cleaned up",
        "completed",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_closes_is_noticed_and_cleaned_up_after_within_a_second(
    server: Server, client: Client, name: str, kind: str
) -> None:
    client.request(f"/stream/{kind}?name={name}")
    server.order(name, "event")
    client.read_event()
    client.close()
    expected = ["started", "cleaned up", "client_disconnected"]
    if kind == "channel":
        expected.insert(2, "channel closed")
    notes = server.wait_for_notes(name, *expected, seconds=NOTICE)
    if kind == "iterator":  # its thread closes it, when it gets round to it
        notes.sort(key=expected.index)
    assert notes == expected


def test_a_client_that_closes_while_nothing_was_ever_sent_is_noticed_too(
    server: Server, client: Client, name: str
) -> None:
    client.request(f"/stream/producer?name={name}")
    client.close()
    notes = server.wait_for_notes(name, "client_disconnected", seconds=NOTICE)
    assert notes == ["started", "cleaned up", "client_disconnected"]


@pytest.mark.parametrize("server", ["hypercorn-trio-h2"], indirect=True)
def test_over_http2_a_client_can_give_up_one_stream_of_its_connection(
    server: Server, client: Http2, name: str
) -> None:
    client.request(f"/stream/producer?name={name}")
    client.reset()
    server.wait_for_notes(name, "cleaned up", "client_disconnected", seconds=NOTICE)
    client.request("/finite/producer")
    assert client.read_rest() == FINITE_BYTES


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_sent_before_an_error_arrives_and_then_the_stream_breaks_off(
    server: Server, client: Client, name: str, kind: str
) -> None:
    client.request(f"/stream/{kind}?name={name}")
    server.order(name, "event", FAIL)
    assert client.read_event() == b"data: event\r\n\r\n"
    assert client.read_event() == f"data: {LAST_WORDS}\r\n\r\n".encode()
    with pytest.raises(TruncatedError):
        client.read_rest()
    assert client.body == b""
    server.wait_for_notes(name, "cleaned up", "error")


@pytest.mark.parametrize("kind", KINDS)
def test_head_is_answered_with_the_headers_and_starts_no_stream(
    server: Server, client: Client, name: str, kind: str
) -> None:
    client.request(f"/stream/{kind}?name={name}", "HEAD")
    assert client.status == 200
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    # Had there been a body, it would be in the way of the next response.
    client.request("/finite/producer")
    assert client.read_rest() == FINITE_BYTES
    assert "started" not in server.wait_for_notes(name, "completed")
