"""The client against a server that is scripted to the byte, in real time."""

import gc
import os
import re
import socket
import threading
from itertools import repeat

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from trio_sse import EventTooLargeError
from trio_sse.client import EventSourceError, ReadyState, StallError, open_event_source

from .sockets import EVENT_STREAM, TIMEOUT, Act, SocketServer, answer, chunked, stream

A, B = b"data: a\n\n", b"data: b\n\n"


@pytest.fixture(params=["trio", "asyncio"])
def backend(request):
    return request.param


@pytest.fixture
def run(backend, library):
    """Call a function with the event source of a URL, and return what it returns.

    With ``cancelled``, all is cancelled then, rather than left.
    """

    def run(url, function, *, cancelled=False, **options):
        async def main():
            with anyio.CancelScope() as scope, anyio.fail_after(TIMEOUT):
                # To read the certificates would take longer than most tests.
                async with library.AsyncClient(verify=False, trust_env=False) as client:
                    defaults = {"client": client, "reconnection_time": 0.001, "max_backoff": 0.001}
                    async with open_event_source(url, **defaults | options) as source:
                        result = await function(source)
                        if cancelled:
                            scope.cancel()
                            await anyio.lowlevel.checkpoint()
                        return result

        # Debugging, which Python's development mode turns on, makes asyncio take ten times as long.
        debug = {"debug": False} if backend == "asyncio" else {}
        return anyio.run(main, backend=backend, backend_options=debug)

    return run


async def read_all(source):
    return [event.data async for event in source]


SCRIPTS = {
    "ends": [stream(A), stream(B)],
    "ends, in chunks": [[*chunked(A), b"0\r\n\r\n"], stream(B)],
    "is reset": [stream(A, b"x" * 10, Act.RESET), stream(B)],
    "is cut in mid-line": [stream(A + b"data: lost"), stream(B)],
    "is cut before the empty line": [stream(A + b"data: lost\n"), stream(B)],
    "is cut in a character": [stream(A + b"data: \xf0\x9f\x8c"), stream(B)],
    "is cut in a chunk": [[*chunked(A), b"ff\r\ndata: lost"], stream(B)],
    "is cut in a chunk's size": [[*chunked(A), b"f"], stream(B)],
    "is cut between chunks": [chunked(A, b"data: lost"), stream(B)],
    "is no HTTP": [[b"SSH-2.0-x\r\n\r\n"], stream(A), stream(B)],
    "is cut in the headers": [[EVENT_STREAM], stream(A), stream(B)],
    "has no answer": [[], stream(A), [Act.RESET], stream(B)],
    "comes in bytes": [chunked(*(bytes([byte]) for byte in b"\xef\xbb\xbf" + A)), stream(B)],
    "has chunks that end in CR": [chunked(b"data: a\r", b"\n\r", b"\ndata: b\r", b"\r")],
    "has comments alone": [stream(*[b": x\n"] * 5), stream(A + b":\n\n"), stream(B)],
    "is moved for good": [answer("301 Moved Permanently", "Location: /a"), stream(A), stream(B)],
    "is answered 500": [answer("500 Internal Server Error", body=b"oh"), stream(A), stream(B)],
}


@pytest.mark.parametrize("connections", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_no_event_is_lost_when_a_stream(connections, run):
    with SocketServer(connections) as server:
        assert run(server.url, read_all) == ["a", "b"]
        assert len(server.requests) == len(connections) + 1


def test_what_is_sent_first(run):
    with SocketServer([]) as server:
        assert run(server.url, read_all) == []
        assert server.first_lines == ["GET /events"]
        assert server.headers(b"accept") == [b"text/event-stream"]
        assert server.headers(b"cache-control") == [b"no-cache"]
        assert server.headers(b"accept-encoding") == [b"identity"]
        assert server.headers(b"last-event-id") == [None]


def test_the_last_event_id_is_sent_as_utf_8(run):
    connections = [
        stream("id: ï🌍\n".encode() + A),
        stream(B),
        stream(b"id: \x01\n\n"),
        stream(b"id: 1\n\nid\n\n"),
        stream(b"id: a b\n\n"),
    ]
    with SocketServer(connections) as server:
        assert run(server.url, read_all) == ["a", "b"]
        sent = ["ï🌍".encode(), "ï🌍".encode(), None, None, b"a b"]
        assert server.headers(b"last-event-id") == [None, *sent]


def test_the_reconnection_time_of_the_server_is_honoured(run):
    delays = []

    def note(source):
        if source.state is ReadyState.CONNECTING:
            delays.append(source.delay)

    with SocketServer([stream(b"retry: 150\n"), stream(b"retry: 99999999\n\n")]) as server:
        run(server.url, read_all, on_state=note, reconnection_time=60, max_reconnection_time=0.2)
    assert delays == [0.15, 0.2]


@pytest.mark.parametrize(
    ("status", "kept"),
    [("301 x", True), ("308 x", True), ("302 x", False), ("303 x", False), ("307 x", False)],
)
def test_a_redirect_is_followed_and_kept_if_it_is_permanent(status, kept, run):
    connections = [answer(status, "Location: /there", body=b"look there"), stream(A)]
    with SocketServer(connections) as server:
        assert run(server.url, read_all) == ["a"]
        last = "GET /there" if kept else "GET /events"
        assert server.first_lines == ["GET /events", "GET /there", last]


def test_a_redirect_to_another_origin_takes_no_headers_there(run):
    with SocketServer([stream(A)]) as other:
        moved = answer("307 x", f"Location: {other.url}")
        with SocketServer([moved]) as server:
            headers = {"Authorization": "Bearer secret"}
            assert run(server.url, read_all, headers=headers, last_event_id="1") == ["a"]
            assert server.headers(b"authorization") == [b"Bearer secret"] * 2
        assert other.headers(b"authorization") == [None]
        assert other.headers(b"last-event-id") == [b"1"]


def test_a_redirect_to_another_protocol_is_the_end(run, library):
    with SocketServer([answer("302 x", "Location: ftp://127.0.0.1/")]) as server:
        with pytest.raises(library.UnsupportedProtocol):
            run(server.url, read_all)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("script", "status"),
    [
        (answer("401 Unauthorized", body=b"x" * 2000), 401),
        (answer("200 OK", "Content-Type: text/html", body=b"x" * 2000), 200),
        (answer("404 Not Found", body=b"x" * 1024), 404),
        ([b"HTTP/1.1 404 Not Found\r\n\r\n" + b"x" * 1100, Act.HOLD], 404),
    ],
    ids=["401", "no event stream", "404", "endless"],
)
def test_any_other_answer_is_an_error_with_the_first_kilobyte(script, status, run):
    with SocketServer([script]) as server:
        with pytest.raises(EventSourceError) as caught:
            run(server.url, read_all)
        assert len(server.requests) == 1
    assert (caught.value.status, caught.value.body) == (status, b"x" * 1024)
    assert caught.value.url == server.url


def test_429_is_retried_when_the_server_says(run):
    delays = []
    busy = answer("429 Too Many Requests", "Retry-After: 1")
    with SocketServer([busy, stream(A)]) as server:
        options = {"max_reconnection_time": 0.05, "on_state": lambda of: delays.append(of.delay)}
        assert run(server.url, read_all, **options) == ["a"]
    assert delays[0] == 0.05


def test_a_server_that_does_not_listen_yet_is_waited_for(run, library):
    errors = []

    def note(source):
        errors.append(source.last_error)
        if len(errors) == 3:
            server.listen()

    with SocketServer([stream(A)], listening=False) as server:
        assert run(server.url, read_all, on_state=note) == ["a"]
    assert {type(error) for error in errors[:3]} == {library.ConnectError}


def test_a_stream_that_stalls_is_left_for_another(run):
    async def read(source):
        event = await source.receive()
        assert isinstance(source.last_error, StallError)
        return event.data

    with SocketServer([stream(b": hello\n", Act.HOLD), stream(A, Act.HOLD)]) as server:
        assert run(server.url, read, stall_timeout=0.1) == "a"


def test_an_event_beyond_the_limit_closes_the_connection_while_it_comes(run):
    async def read(source):
        assert (await source.receive()).data == "a"
        with pytest.raises(EventTooLargeError):
            await source.receive()

    size = 50 * 1024 * 1024
    endless = stream(A + b"data: ", *repeat(b"x" * 65536, size // 65536))
    with SocketServer([endless]) as server:
        run(server.url, read)
    assert (len(server.requests), server.broken) == (1, 1)
    assert server.sent < size / 2


def test_a_body_is_posted_once(run):
    with SocketServer([stream(A), stream(B)]) as server:
        assert run(server.url, read_all, method="POST", content=b"question") == ["a"]
        assert server.first_lines == ["POST /events"]
        assert server.requests[0].endswith(b"\r\n\r\nquestion")


def test_a_body_is_posted_again_if_that_is_allowed(run):
    connections = [stream(b"id: 1\n" + A), stream(B)]
    with SocketServer(connections) as server:
        assert run(server.url, read_all, method="POST", content=b"question", repeat=True) == [
            "a",
            "b",
        ]
        assert server.first_lines == ["POST /events"] * 3
        assert all(request.endswith(b"\r\n\r\nquestion") for request in server.requests)
        assert server.headers(b"last-event-id") == [None, b"1", b"1"]


def test_what_breaks_a_stream_that_is_not_repeated_comes_out(run, library):
    with SocketServer([stream(Act.RESET)]) as server, pytest.raises(library.ReadError):
        run(server.url, read_all, method="POST", content=b"question")
    with SocketServer([[*chunked(A), b"ff\r\n"]]) as server:
        with pytest.raises(library.RemoteProtocolError):
            run(server.url, read_all, method="POST")


def test_a_client_of_its_own_reads_from_a_socket(run):
    with SocketServer([stream(A), stream(B)]) as server:
        assert run(server.url, read_all, client=None) == ["a", "b"]


def test_ten_thousand_events_are_seen_once_and_in_order_when_each_stream_ends_after_seven(run):
    def resume(request):
        match = re.search(rb"(?i)\r\nlast-event-id: (\d+)\r\n", request)
        first = int(match[1]) + 1 if match else 1
        if first > 10_000:
            return answer("204 No Content")
        numbers = range(first, min(first + 7, 10_001))
        return stream(b"".join(b"id: %d\ndata: %d\n\n" % (n, n) for n in numbers))

    with SocketServer(repeat(resume)) as server:
        received = run(server.url, read_all, reconnection_time=0)
        assert received == [str(n) for n in range(1, 10_001)]
        assert len(server.requests) == 10_000 // 7 + 2


# Leaving


HELD = {
    "waits for the headers": [[Act.HOLD]],
    "is in the headers": [[EVENT_STREAM, Act.HOLD]],
    "follows a redirect": [answer("302 x", "Location: /"), [Act.HOLD]],
    "reads": [stream(A, b"data: ", Act.HOLD)],
    "reads a chunk": [[*chunked(A), b"ff\r\ndata: ", Act.HOLD]],
    "reads the body of an error": [[b"HTTP/1.1 404 x\r\n\r\n", Act.HOLD]],
}


def descriptors():
    """Return how many files and sockets are open, and complain of those that are forgotten."""
    gc.collect()
    return len(os.listdir("/dev/fd"))


@pytest.fixture
def nothing_left():
    before = descriptors()
    yield
    assert descriptors() == before


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("cancelled", [True, False])
@pytest.mark.parametrize("connections", HELD.values(), ids=HELD.keys())
def test_the_connection_is_closed_when_it_is_left_while_it(connections, cancelled, run):
    async def wait(source):
        await anyio.to_thread.run_sync(server.holding.wait)
        if not cancelled:
            await source.aclose()

    with SocketServer(connections) as server:  # which ends only when the client is gone
        run(server.url, wait, cancelled=cancelled)
        assert len(server.requests) == len(connections)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("cancelled", [True, False])
def test_nothing_is_left_of_what_waits_to_connect(cancelled, run):
    waiting = threading.Event()

    def note(source):
        if source.state is ReadyState.CONNECTING:
            waiting.set()

    async def wait(source):
        assert (await source.receive()).data == "a"
        await anyio.to_thread.run_sync(waiting.wait)
        if not cancelled:
            await source.aclose()

    with SocketServer([stream(A)]) as server:
        options = {"reconnection_time": 1000, "on_state": note}
        run(server.url, wait, cancelled=cancelled, **options)
        assert len(server.requests) == 1


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("cancelled", [True, False])
def test_nothing_is_left_of_what_connects(cancelled, run):
    async def wait(source):
        await anyio.wait_all_tasks_blocked()
        assert source.statistics().attempts == 1
        if not cancelled:
            await source.aclose()

    # A listener whose queue is full answers nobody.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        with socket.create_connection(address := listener.getsockname()):
            run("http://{}:{}/".format(*address), wait, cancelled=cancelled)


def test_a_slow_receiver_stops_the_server(run):
    async def read(source):
        for _ in range(10):
            assert (await source.receive()).data == "x" * 1000
        return source.statistics().bytes

    size, event = 100 * 1024 * 1024, b"data: " + b"x" * 1000 + b"\n\n"
    with SocketServer([stream(*repeat(event * 100, size // len(event) // 100))]) as server:
        assert run(server.url, read) < 10 * 1024 * 1024
    assert server.sent < size
    assert server.broken == 1
