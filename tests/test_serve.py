"""Serving with hypercorn from a program: streams end first, and nobody frozen holds it up."""

import errno
import gc
import signal
import socket
import ssl
import struct
from contextlib import asynccontextmanager, suppress
from functools import partial
from math import inf

import pytest
import trio
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fake_servers import HTTPStream, HypercornH2
from trio_sse import (
    DrainMiddleware,
    EventSourceResponse,
    ServerSentEvent,
    draining,
    is_draining,
)

pytest.importorskip("hypercorn")

import hypercorn.trio
from hypercorn.config import Config

from trio_sse.hypercorn import MAX_PIECE_SIZE, Server, WriteDeadline, serve

pytestmark = pytest.mark.anyio

virtual_time = pytest.mark.parametrize("virtual_time_backend", ["trio"], indirect=True)
real_time = pytest.mark.parametrize("anyio_backend", ["trio"])

SIGNALS = [signal.SIGTERM, signal.SIGINT]
FAREWELL = ServerSentEvent("bye", event="farewell")
LAST_CHUNK = b"0\r\n\r\n"

# More than the kernel's buffers of both sides take.
MUCH = bytes(32 * 1024 * 1024)

# Frames of HTTP/2.
NO_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
PING = bytes([0, 0, 8, 6, 0, 0, 0, 0, 0]) + b"12345678"

# A server that takes no more pings for so long is stuck with its answers.
STUCK = 2

# Nothing here takes a second. What goes wrong ends after SLOW at the earliest.
ENOUGH = 30
SLOW = 60


@pytest.fixture(autouse=True)
def harmless_signals():
    """Let a signal that the server does not take do nothing, and put the handlers back."""
    formers = {number: signal.signal(number, lambda number, frame: None) for number in SIGNALS}
    yield
    for number, former in formers.items():
        signal.signal(number, former)


# The stream with a deadline.


class FakeSocket:
    """Notes what is done to it."""

    def __init__(self):
        self.calls = []

    def setsockopt(self, *arguments):
        self.calls.append(arguments)

    def close(self):
        self.calls.append("close")


class FakeStream:
    """A stream over TCP; ``takes`` are the seconds of each write, the last for all others."""

    def __init__(self, takes=(0,), closing=0):
        self.socket = FakeSocket()
        self.sent = []
        self._takes = list(takes)
        self._closing = closing
        self.closed = False

    async def send_all(self, data):
        await trio.sleep(self._takes.pop(0) if len(self._takes) > 1 else self._takes[0])
        self.sent.append(bytes(data))

    async def receive_some(self, max_bytes):
        return b"x" * max_bytes

    async def aclose(self):
        await trio.sleep(self._closing)
        self.closed = True


class FakeTLSStream:
    """A stream over TLS; it has no ``send_eof``, and no socket of its own."""

    def __init__(self):
        self.transport_stream = FakeStream()


DISCARDED = [(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)), "close"]


@virtual_time
@pytest.mark.parametrize("size", [0, 1, MAX_PIECE_SIZE, MAX_PIECE_SIZE + 1, 200_000])
@pytest.mark.parametrize("kind", [bytes, bytearray])
async def test_everything_is_written_in_pieces(size, kind):
    stream, data = FakeStream(), kind(n % 251 for n in range(size))
    await WriteDeadline(stream, 1).send_all(data)
    assert b"".join(stream.sent) == data
    assert [len(piece) for piece in stream.sent[:-1]] == [MAX_PIECE_SIZE] * (len(stream.sent) - 1)
    assert len(stream.sent) == (-(-size // MAX_PIECE_SIZE) or 1)


@virtual_time
async def test_each_piece_has_a_deadline_of_its_own():
    stream = FakeStream(takes=[0.9])
    await WriteDeadline(stream, 1).send_all(bytes(5 * MAX_PIECE_SIZE))
    assert trio.current_time() == pytest.approx(4.5)
    assert stream.socket.calls == []


@virtual_time
async def test_a_peer_that_takes_nothing_is_given_up_and_what_is_left_discarded():
    stream = FakeStream(takes=[0.9, inf])
    with pytest.raises(trio.BrokenResourceError, match=r"nothing taken for 1\.5 seconds"):
        await WriteDeadline(stream, 1.5).send_all(bytes(5 * MAX_PIECE_SIZE))
    assert trio.current_time() == pytest.approx(2.4)
    assert len(stream.sent) == 1
    assert stream.socket.calls == DISCARDED


@virtual_time
async def test_a_cancellation_from_outside_is_no_peer_that_takes_nothing():
    stream = FakeStream(takes=[inf])
    with trio.move_on_after(1) as scope:
        await WriteDeadline(stream, 2).send_all(b"x")
    assert scope.cancelled_caught
    assert stream.socket.calls == []


@virtual_time
async def test_what_the_stream_itself_raises_comes_out():
    stream = FakeStream()
    stream.send_all = None
    with pytest.raises(TypeError):
        await WriteDeadline(stream, 2).send_all(b"x")


@virtual_time
async def test_a_connection_with_tls_is_broken_below_tls():
    stream = FakeTLSStream()
    stream.send_all = FakeStream(takes=[inf]).send_all
    with pytest.raises(trio.BrokenResourceError):
        await WriteDeadline(stream, 1).send_all(b"x")
    assert stream.transport_stream.socket.calls == DISCARDED


@virtual_time
async def test_closing_takes_no_longer_than_writing_may():
    stream = FakeStream(closing=inf)
    with trio.fail_after(ENOUGH):
        await WriteDeadline(stream, 3).aclose()
    assert trio.current_time() == 3


@virtual_time
async def test_everything_else_is_done_by_the_stream_itself():
    stream = FakeStream()
    deadline = WriteDeadline(stream, 1)
    assert await deadline.receive_some(3) == b"xxx"
    assert deadline.socket is stream.socket


def test_what_a_stream_does_not_have_is_missing_as_usual():
    deadline = WriteDeadline(FakeTLSStream(), 1)
    with pytest.raises(AttributeError, match="send_eof"):
        _ = deadline.send_eof


# HTTP/2, where a client that grants no window leaves nothing to be written.


class LargeAnswer:
    """A plain app; 100 kB are two pieces."""

    whole = False

    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        body = b"x" * 100_000
        await send({"type": "http.response.body", "body": body, "more_body": False})
        self.whole = True


@asynccontextmanager
async def served_over_http2(client):
    async with trio.open_nursery() as client.protocol.task_group.nursery:
        app = LargeAnswer()
        server = Server(app, config_of(), drain=1, write_timeout=5)
        await server(client.scope, client.asgi_receive, HTTPStream(client).app_send)
        yield app


@virtual_time
async def test_over_http2_an_answer_is_passed_on_in_pieces():
    client = HypercornH2()
    async with served_over_http2(client) as app:
        assert app.whole
    assert [len(chunk) for chunk in client.chunks] == [MAX_PIECE_SIZE, 100_000 - MAX_PIECE_SIZE]
    assert client.body == b"x" * 100_000
    assert client.complete


@virtual_time
async def test_over_http2_a_client_that_grants_no_window_is_given_up():
    client = HypercornH2()
    client.starved = True
    async with served_over_http2(client) as app:
        assert not app.whole
    assert client.protocol.resets == [(1, 8)]
    assert not client.server.socket.closed.is_set()
    assert trio.current_time() == 5


# Requests, with what hypercorn has inside.


class FakeTCPServer:
    """hypercorn's server of one connection."""

    def __init__(self):
        self.stream = FakeStream()
        self.send_lock = trio.Lock()

    async def protocol_send(self, event):
        pass


class FakeQuicServer:
    """The same over HTTP/3: there is no stream."""

    async def protocol_send(self, event):
        pass


class FakeProtocol:
    def __init__(self, server):
        self.send = server.protocol_send

    async def stream_send(self, event):
        pass


class FakeHTTPStream:
    def __init__(self, server):
        self.send = FakeProtocol(server).stream_send

    async def app_send(self, message):
        pass


async def lone_send(message):
    pass


class Given:
    """An app that keeps what it is given."""

    def __init__(self):
        self.calls = []

    async def __call__(self, *arguments):
        self.calls.append(arguments)


def server_for(app):
    return Server(app, Config(), drain=1, write_timeout=7)


@virtual_time
async def test_a_connection_gets_its_deadline_with_the_first_request_and_only_one():
    tcp, app = FakeTCPServer(), Given()
    stream, server = tcp.stream, server_for(app)
    await server({"type": "http"}, None, FakeHTTPStream(tcp).app_send)
    deadline = tcp.stream
    await server({"type": "http"}, None, FakeHTTPStream(tcp).app_send)
    assert tcp.stream is deadline
    assert deadline.socket is stream.socket
    stream._takes = [inf]
    broken = pytest.raises(trio.BrokenResourceError, match="nothing taken for 7 seconds")
    with broken, trio.fail_after(ENOUGH):
        await deadline.send_all(b"x")
    assert len(app.calls) == 2


@virtual_time
@pytest.mark.parametrize(
    "send",
    [FakeHTTPStream(FakeQuicServer()).app_send, Given().__call__, lone_send],
    ids=["HTTP/3", "another server", "a function"],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_a_request_on_no_known_connection_is_passed_on(send, kind):
    app, scope = Given(), {"type": kind, "state": {}}
    await server_for(app)(scope, None, send)
    extensions = {"trio_sse": {"send": send}}
    assert app.calls == [({**scope, "extensions": extensions}, None, send)]


@virtual_time
async def test_the_life_of_the_app_is_passed_on_as_it_is():
    app, tcp = Given(), FakeTCPServer()
    scope, stream, send = {"type": "lifespan"}, tcp.stream, FakeHTTPStream(tcp).app_send
    await server_for(app)(scope, None, send)
    assert app.calls == [({"type": "lifespan"}, None, send)]
    assert app.calls[0][0] is scope
    assert tcp.stream is stream


# Real servers.


def config_of(**options):
    """Return a configuration that says nothing and takes any port."""
    options = {"bind": "127.0.0.1:0", "errorlog": None, "graceful_timeout": 0.2, **options}
    return Config.from_mapping(**options)


class Served:
    """A server that runs: where, and how it is told to leave."""

    def __init__(self, nursery):
        self.addresses = []
        self.leave = trio.Event()
        self.ended = trio.Event()
        self.scope = nursery.cancel_scope
        self.cancelled = False

    async def run(self, app, config, options, *, task_status):
        with trio.CancelScope() as self.scope:
            await serve(app, config, **options, task_status=task_status)
        self.cancelled = self.scope.cancelled_caught
        self.ended.set()

    async def connect(self):
        host, _, port = self.addresses[0].partition("://")[2].rpartition(":")
        return await trio.open_tcp_stream(host, int(port))

    async def get(self, path="/"):
        """Send a request, and return the stream that the answer comes on."""
        stream = await self.connect()
        await request(stream, path)
        return stream


@asynccontextmanager
async def served(app, config=None, **options):
    """Serve an app until it is told to leave, at the latest in the end."""
    with trio.fail_after(ENOUGH):
        async with trio.open_nursery() as nursery:
            server = Served(nursery)
            options.setdefault("shutdown_trigger", server.leave.wait)
            run = partial(server.run, app, config or config_of(), options)
            server.addresses = await nursery.start(run)
            yield server
            server.leave.set()
            await server.ended.wait()


async def request(stream, path="/", header="connection: close"):
    await stream.send_all(f"GET {path} HTTP/1.1\r\nhost: test\r\n{header}\r\n\r\n".encode())


async def read_until(stream, text):
    received = b""
    while text not in received:
        chunk = await stream.receive_some()
        assert chunk, received
        received += chunk
    return received


async def read_rest(stream):
    return b"".join([chunk async for chunk in stream])


async def endless(send):
    await send.send("first")
    await trio.sleep_forever()


async def last_words(send):
    await send.send("first")
    await draining().wait()
    await trio.sleep(0.3)
    await send.send("last words")


def streaming(producer=endless):
    async def endpoint(request):
        return EventSourceResponse(producer, farewell=FAREWELL)

    return Starlette(routes=[Route("/", endpoint)])


class TooMuch:
    """A plain app whose answer is more than a client that does not read can take."""

    def __init__(self):
        self.began = trio.Event()
        self.over = trio.Event()

    async def __call__(self, scope, receive, send):
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.began.set()
        try:
            await send({"type": "http.response.body", "body": MUCH})
        finally:
            self.over.set()


@asynccontextmanager
async def frozen_client(server, app):
    """A client that has got a part of its answer, and takes no more."""
    async with await server.get() as stream:
        await app.began.wait()
        await read_until(stream, b"\r\n\r\n")
        yield stream


@pytest.fixture
def patient():
    """A configuration with which nothing ends soon by itself."""
    return config_of(graceful_timeout=SLOW)


@real_time
async def test_it_is_started_with_the_addresses_it_listens_on():
    config = config_of(bind=["127.0.0.1:0", "127.0.0.1:0"])
    async with served(streaming(), config) as server:
        first, second = server.addresses
        assert first.startswith("http://127.0.0.1:")
        assert first != second
        stream = await server.get()
        await read_until(stream, b"data: first")
        await stream.aclose()


@real_time
async def test_streams_end_with_their_farewell_and_a_complete_body():
    async with served(streaming()) as server:
        streams = [await server.get() for _ in range(3)]
        for stream in streams:
            await read_until(stream, b"data: first\r\n\r\n")
        server.leave.set()
        for stream in streams:
            async with stream:
                rest = await read_rest(stream)
                assert b"data: bye" in rest
                assert rest.endswith(LAST_CHUNK)
        await server.ended.wait()


@real_time
@pytest.mark.parametrize("number", SIGNALS)
async def test_without_a_trigger_a_signal_ends_it(number):
    former = signal.getsignal(number)
    async with served(streaming(), shutdown_trigger=None) as server, await server.get() as stream:
        await read_until(stream, b"data: first\r\n\r\n")
        signal.raise_signal(number)
        rest = await read_rest(stream)
        await server.ended.wait()
    assert b"data: bye" in rest
    assert rest.endswith(LAST_CHUNK)
    assert signal.getsignal(number) is former


@real_time
@pytest.mark.parametrize("number", SIGNALS)
async def test_with_a_trigger_signals_are_the_callers(number):
    before = signal.getsignal(number)
    async with served(streaming()):
        assert signal.getsignal(number) is before


@real_time
async def test_it_listens_until_the_streams_have_ended():
    async with served(streaming(last_words), drain=SLOW) as server, await server.get() as stream:
        await read_until(stream, b"data: first\r\n\r\n")
        server.leave.set()
        await draining().wait()
        async with await server.get() as late:
            refused = await read_rest(late)
        rest = await read_rest(stream)
        await server.ended.wait()
        with pytest.raises(OSError, match="connect"):
            await server.connect()
    assert refused.startswith(b"HTTP/1.1 200")
    assert b"retry: " in refused
    assert b"data:" not in refused
    assert b"data: last words" in rest
    assert rest.endswith(LAST_CHUNK)


@real_time
async def test_a_producer_has_no_more_than_the_grace():
    drained = partial(served, streaming(last_words), drain=0)
    async with drained() as server, await server.get() as stream:
        await read_until(stream, b"data: first\r\n\r\n")
        server.leave.set()
        rest = await read_rest(stream)
    assert b"data: last words" not in rest
    assert b"data: bye" in rest


@real_time
async def test_it_can_serve_again_in_the_same_run():
    for _ in range(2):
        assert not is_draining()
        async with served(streaming()) as server, await server.get() as stream:
            await read_until(stream, b"data: first\r\n\r\n")
            server.leave.set()
            await read_rest(stream)
            await server.ended.wait()
    assert not is_draining()


@real_time
async def test_an_answer_that_nobody_reads_is_broken_after_the_write_timeout(patient):
    app = TooMuch()
    async with (
        served(app, patient, write_timeout=0.3) as server,
        frozen_client(server, app) as stream,
    ):
        await app.over.wait()
        with pytest.raises(trio.BrokenResourceError):
            await read_rest(stream)


@real_time
async def test_a_long_answer_to_a_client_that_reads_is_whole():
    app = TooMuch()
    async with served(app, write_timeout=ENOUGH) as server, frozen_client(server, app) as stream:
        rest = await read_rest(stream)
    assert len(rest) > 0.9 * len(MUCH)
    assert rest.endswith(LAST_CHUNK)


@real_time
async def test_with_tls_too_an_answer_is_whole_or_broken(tmp_path):
    trustme = pytest.importorskip("trustme")
    authority, context = trustme.CA(), ssl.create_default_context()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(tmp_path / "key")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "certificate")
    authority.configure_trust(context)
    config = config_of(
        graceful_timeout=SLOW,
        certfile=str(tmp_path / "certificate"),
        keyfile=str(tmp_path / "key"),
    )
    app = TooMuch()

    async def connect(server):
        stream = trio.SSLStream(
            await server.connect(), context, server_hostname="127.0.0.1", https_compatible=True
        )
        await request(stream)
        return stream

    async with served(app, config, write_timeout=0.5) as server:
        stream = await connect(server)
        rest = await read_rest(stream)
        assert len(rest) > len(MUCH)
        assert rest.endswith(LAST_CHUNK)
        await stream.aclose()
        app.over = trio.Event()
        stream = await connect(server)
        await app.over.wait()
        with pytest.raises(trio.BrokenResourceError):
            await read_rest(stream)
        await stream.transport_stream.aclose()


@real_time
async def test_a_client_that_does_not_read_is_broken_once_hypercorn_has_cancelled_it():
    app = TooMuch()
    async with (
        served(app, write_timeout=SLOW) as server,
        frozen_client(server, app) as stream,
    ):
        server.leave.set()
        await server.ended.wait()
        assert app.over.is_set()
        with pytest.raises(trio.BrokenResourceError):
            await read_rest(stream)


@real_time
async def test_a_client_that_never_made_a_request_and_does_not_read_is_broken_too():
    """Over HTTP/2 the server answers pings, before there is any request."""
    async with served(streaming()) as server, await server.connect() as stream:
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + NO_SETTINGS)
        stuck = False
        while not stuck:
            with trio.move_on_after(STUCK) as scope:
                await stream.send_all(PING * 200)
            stuck = scope.cancelled_caught
        server.leave.set()
        await server.ended.wait()
        with pytest.raises(trio.BrokenResourceError):
            await read_rest(stream)


@real_time
async def test_a_client_that_does_not_read_is_broken_when_hypercorn_ends_by_itself():
    app = TooMuch()
    options = {"shutdown_trigger": trio.sleep_forever, "write_timeout": SLOW}
    async with (
        served(app, config_of(max_requests=1), **options) as server,
        frozen_client(server, app) as stream,
    ):
        async with await server.get():
            await server.ended.wait()
        with pytest.raises(trio.BrokenResourceError):
            await read_rest(stream)


@real_time
async def test_when_one_of_two_servers_ends_the_other_is_not_draining():
    async with served(streaming()) as other:
        async with served(streaming()) as server:
            server.leave.set()
            await server.ended.wait()
        assert not is_draining()
        async with await other.get() as stream:
            await read_until(stream, b"data: first\r\n\r\n")


@real_time
async def test_an_answer_may_take_the_graceful_timeout_after_the_end_has_come():
    began, leaving = trio.Event(), trio.Event()

    async def endpoint(request):
        began.set()
        await leaving.wait()
        await trio.sleep(0.3)
        return PlainTextResponse("whole")

    app = Starlette(routes=[Route("/", endpoint)])
    async with served(app, config_of(graceful_timeout=ENOUGH)) as server:
        async with await server.get() as stream:
            await began.wait()
            server.leave.set()
            await draining().wait()
            leaving.set()
            assert (await read_rest(stream)).endswith(b"whole")


@real_time
@pytest.mark.parametrize("second", SIGNALS)
async def test_a_second_signal_ends_it_at_once(second, patient):
    app = TooMuch()
    options = {"shutdown_trigger": None, "write_timeout": SLOW}
    async with served(app, patient, **options) as server, frozen_client(server, app) as stream:
        signal.raise_signal(signal.SIGTERM)
        await draining().wait()
        assert not app.over.is_set()
        signal.raise_signal(second)
        await server.ended.wait()
        assert not server.cancelled
        with pytest.raises(trio.BrokenResourceError):
            await read_rest(stream)


@real_time
async def test_cancelled_from_outside_it_ends_in_spite_of_a_client_that_does_not_read(patient):
    app = TooMuch()
    async with (
        served(app, patient, write_timeout=SLOW) as server,
        frozen_client(server, app),
    ):
        server.scope.cancel()
        await server.ended.wait()
        assert server.cancelled


@real_time
async def test_cancelled_from_outside_it_ends_its_streams():
    async with served(streaming()) as server, await server.get() as stream:
        await read_until(stream, b"data: first\r\n\r\n")
        server.scope.cancel()
        await server.ended.wait()
        assert server.cancelled
        with suppress(trio.BrokenResourceError):
            assert LAST_CHUNK not in await read_rest(stream)


@real_time
async def test_nothing_is_left_running_when_hypercorn_ends_by_itself():
    config = config_of(max_requests=1)
    async with served(streaming(), config, shutdown_trigger=trio.sleep_forever) as server:
        async with await server.get() as stream:
            await read_until(stream, b"data: first\r\n\r\n")
            async with await server.get():
                assert (await read_rest(stream)).endswith(LAST_CHUNK)
        await server.ended.wait()


@real_time
async def test_an_app_that_is_wrapped_learns_that_hypercorns_own_worker_ends():
    drained = []

    async def app(scope, receive, send):
        assert scope["type"] == "lifespan"
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await draining().wait()
        drained.append(True)

    with trio.fail_after(ENOUGH):
        trigger = partial(trio.sleep, 0)
        await hypercorn.trio.serve(DrainMiddleware(app), config_of(), shutdown_trigger=trigger)
    assert drained == [True]


@real_time
async def test_where_nobody_handles_sigterm_a_wrapped_app_ends_hypercorns_own_worker():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with trio.fail_after(ENOUGH):
        async with trio.open_nursery() as nursery:
            serve = hypercorn.trio.serve
            await nursery.start(serve, DrainMiddleware(streaming()), config_of())
            assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@real_time
async def test_a_wrapped_app_is_served_and_ends_by_a_signal_too():
    app = DrainMiddleware(streaming())
    async with served(app, shutdown_trigger=None) as server, await server.get() as stream:
        await read_until(stream, b"data: first\r\n\r\n")
        signal.raise_signal(signal.SIGTERM)
        rest = await read_rest(stream)
        await server.ended.wait()
    assert rest.count(b"data: bye") == 1
    assert rest.endswith(LAST_CHUNK)


@real_time
async def test_requests_see_the_state_of_the_life_of_the_app():
    ended = []

    @asynccontextmanager
    async def lifespan(app):
        yield {"color": "blue"}
        ended.append(is_draining())

    async def endpoint(request):
        return PlainTextResponse(request.state.color)

    app = Starlette(routes=[Route("/", endpoint)], lifespan=lifespan)
    async with served(app) as server, await server.get() as stream:
        assert (await read_rest(stream)).endswith(b"blue")
    assert ended == [True]


@real_time
async def test_a_connection_takes_several_requests():
    async def endpoint(request):
        return PlainTextResponse(f"at {request.url.path}.")

    app = Starlette(routes=[Route("/one", endpoint), Route("/two", endpoint)])
    async with served(app) as server, await server.connect() as stream:
        await request(stream, "/one", header="accept: */*")
        await read_until(stream, b"at /one.")
        await request(stream, "/two")
        assert (await read_rest(stream)).endswith(b"at /two.")


@real_time
async def test_a_websocket_is_served():
    async def app(scope, receive, send):
        assert scope["type"] == "websocket"
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "hello"})
        await send({"type": "websocket.close"})

    upgrade = (
        "connection: upgrade\r\nupgrade: websocket\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA=="
    )
    async with served(app) as server, await server.connect() as stream:
        await request(stream, header=upgrade)
        received = await read_until(stream, b"hello")
    assert received.startswith(b"HTTP/1.1 101")


@real_time
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_an_address_in_use_is_an_error_of_its_own():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = config_of(bind=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(OSError, match="in use") as raised:
            await serve(streaming(), config, shutdown_trigger=trio.sleep_forever)
    assert raised.value.errno == errno.EADDRINUSE
    del raised
    gc.collect()  # hypercorn leaves the socket open that it could not bind


@real_time
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
async def test_what_the_trigger_raises_comes_out_as_itself(error):
    async def trigger():
        raise error("trigger")

    with pytest.raises(error, match="trigger"):
        await serve(streaming(), config_of(), shutdown_trigger=trigger)
    assert not is_draining()


@real_time
async def test_outside_of_the_main_thread_there_must_be_a_trigger():
    async def soon():
        await trio.lowlevel.checkpoint()

    def run(trigger):
        trio.run(partial(serve, streaming(), config_of(), shutdown_trigger=trigger))

    await trio.to_thread.run_sync(run, soon)
    with pytest.raises(RuntimeError, match="main thread"):
        await trio.to_thread.run_sync(run, None)


@pytest.fixture
def collector():
    """Python's garbage collector, left as it was; 3.12 itself begins with frozen objects."""
    before = gc.get_threshold()
    gc.unfreeze()
    yield gc
    gc.set_threshold(*before)
    gc.unfreeze()


THRESHOLDS = (49_999, 19, 49)


@real_time
async def test_the_collector_is_set_while_it_serves_and_put_back(collector):
    before = collector.get_threshold()
    async with served(streaming(), gc=THRESHOLDS) as server:
        assert collector.get_threshold() == THRESHOLDS
        assert collector.get_freeze_count()
        async with await server.get() as stream:
            await read_until(stream, b"data: first")
    assert collector.get_threshold() == before
    assert not collector.get_freeze_count()


@real_time
async def test_the_collector_is_left_alone_by_default(collector):
    before = collector.get_threshold()
    collector.freeze()
    frozen = collector.get_freeze_count()
    async with served(streaming()):
        assert collector.get_threshold() == before
    assert collector.get_freeze_count() <= frozen  # what is freed meanwhile is frozen no more
    assert collector.get_freeze_count()


@real_time
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
async def test_the_collector_is_as_it_was_after_an_error(collector):
    before = collector.get_threshold()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = config_of(bind=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(OSError, match="in use") as raised:
            await serve(streaming(), config, shutdown_trigger=trio.sleep_forever, gc=THRESHOLDS)
    assert collector.get_threshold() == before
    assert not collector.get_freeze_count()
    del raised
    gc.collect()  # hypercorn leaves the socket open that it could not bind


@virtual_time
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"drain": -1}, ValueError),
        ({"drain": inf}, ValueError),
        ({"drain": "1"}, TypeError),
        ({"write_timeout": 0}, ValueError),
        ({"write_timeout": -1}, ValueError),
        ({"write_timeout": inf}, ValueError),
        ({"write_timeout": None}, TypeError),
        ({"gc": (1, 2)}, TypeError),
        ({"gc": [1, 2, 3]}, TypeError),
        ({"gc": (1, 2, True)}, TypeError),
        ({"gc": 50_000}, TypeError),
        ({"gc": (1, 0, 3)}, ValueError),
        ({"gc": (-1, 2, 3)}, ValueError),
    ],
)
async def test_options_out_of_range_are_refused(options, error):
    with pytest.raises(error, match=next(iter(options))), trio.fail_after(ENOUGH):
        await serve(streaming(), config_of(), **options)
