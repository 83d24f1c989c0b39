"""Fakes of servers below ASGI: what a response finds behind its ``send``, and no more.

Their shapes are those of hypercorn and uvicorn; that the real ones have them too, and
behave like this, is shown by the tests on real servers.
"""

import socket
import struct
import sys
from types import SimpleNamespace
from typing import Any

import anyio

from fakes import FakeClient
from trio_sse._outcome import errors_alone

RESET_ON_CLOSE = (socket.SO_LINGER, struct.pack("ii", 1, 0))
ESTABLISHED, CLOSE_WAIT = 1, 8


class FakeSocket:
    def __init__(self) -> None:
        self.options: list[tuple[int, Any]] = []
        self.state = ESTABLISHED
        self.acknowledged = 0
        self.closed = anyio.Event()

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        self.options.append((option, value))

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        info = bytes([self.state]) + bytes(119) + self.acknowledged.to_bytes(8, sys.byteorder)
        return info[:size]

    def close(self) -> None:
        self.closed.set()

    @property
    def was_reset(self) -> bool:
        return self.closed.is_set() and RESET_ON_CLOSE in self.options


class FakeTransport:
    """A transport of asyncio, whose buffer a test empties.

    Args:
        limits: What a call of ``set_write_buffer_limits`` raises, if anything.
    """

    def __init__(self, *, limits: Exception | None = None) -> None:
        self.socket = FakeSocket()
        self.buffered = 0
        self.limits: list[dict[str, int]] = []
        self.refusal = limits
        self.empty = anyio.Event()
        self.aborted = False
        self.half_closed = False
        self.calls: list[str] = []

    def get_extra_info(self, name: str) -> FakeSocket:
        assert name == "socket"
        return self.socket

    def get_protocol(self) -> "FakeTransport":
        return self  # uvicorn's protocol, as far as a response sees it

    def shutdown(self) -> None:
        self.calls.append("shutdown")

    def eof_received(self) -> None:
        self.calls.append("eof_received")

    def is_closing(self) -> bool:
        return self.aborted or self.half_closed

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def set_write_buffer_limits(self, **limits: int) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.limits.append(limits)

    async def drain(self) -> None:
        if self.limits[-1:] == [{"high": 1, "low": 0}]:
            await self.empty.wait()

    def abort(self) -> None:
        self.aborted = True
        self.buffered = 0
        self.empty.set()
        self.socket.close()


class Uvicorn(FakeClient):
    """A cycle of uvicorn; its send is cancelled like any other."""

    def __init__(self, *, limits: Exception | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.transport = FakeTransport(limits=limits)
        self.keep_alive = True
        self.flow = SimpleNamespace(drain=self.transport.drain)

    @property
    def broken(self) -> bool:
        return self.transport.socket.was_reset

    async def block(self) -> None:
        self.transport.buffered = 1
        await super().block()


class UvicornH2(Uvicorn):
    """A cycle of uvicorn over HTTP/2."""

    def __init__(self, **options: Any) -> None:
        super().__init__(http_version="2", **options)
        self.aborted = 0

    def abort_stream(self) -> None:
        self.aborted += 1


class Server:
    """hypercorn's TCPServer, on trio, or on asyncio if it has a transport."""

    def __init__(self, transport: FakeTransport | None) -> None:
        self.send_lock = anyio.Lock()
        if transport is None:
            self.socket = FakeSocket()
            self.stream = SimpleNamespace(socket=self.socket)
        else:
            self.socket = transport.socket
            self.writer = SimpleNamespace(transport=transport, drain=transport.drain)

    async def protocol_send(self, data: object) -> None:
        """A place in the chain that leads here."""


class Buffer:
    """hypercorn's StreamBuffer."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.closed = False
        self.cleared = 0
        self.empty = anyio.Event()
        self._is_empty = SimpleNamespace(clear=self.clear)

    async def clear(self) -> None:
        self.cleared += 1

    async def drain(self) -> None:
        await self.empty.wait()

    def take(self) -> None:
        """Be emptied by the client."""
        self.buffer.clear()
        self.empty.set()

    async def close(self) -> None:
        self.closed = True
        self.take()


class Event:
    """What hypercorn's stream makes of a message."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.message = message


class Response(Event):
    pass


class Body(Event):
    pass


class EndBody(Event):
    pass


class Protocol:
    """hypercorn's H11Protocol, or its H2Protocol."""

    def __init__(self, server: Server, client: FakeClient) -> None:
        self.send = server.protocol_send
        self.connection = SimpleNamespace()
        self.client = client

    async def stream_send(self, event: Event) -> None:
        await self.client.asgi_send(event.message)


class TaskGroup:
    """hypercorn's, whose tasks here run in that of the test."""

    def __init__(self) -> None:
        self.nursery: Any = None

    def spawn(self, async_fn: Any, *args: Any) -> None:
        self.nursery.start_soon(async_fn, *args)


class H2Protocol(Protocol):
    def __init__(self, server: Server, client: FakeClient) -> None:
        super().__init__(server, client)
        self.task_group = TaskGroup()
        self.connection = SimpleNamespace(reset_stream=self.reset_stream)
        self.server = server
        self.stream_buffers = {1: Buffer()}
        self.resets: list[tuple[int, int]] = []
        self.reset_error: Exception | None = None
        self.flushes = 0
        self.woken = 0
        self.blocked = False

    def reset_stream(self, stream_id: int, code: int) -> None:
        if self.reset_error is not None:
            raise self.reset_error
        self.resets.append((stream_id, code))

    async def _window_updated(self, stream_id: int) -> None:
        assert stream_id == 1
        self.woken += 1

    async def _flush(self) -> None:
        if self.blocked:
            await self.server.socket.closed.wait()
        self.flushes += 1


class Hypercorn(FakeClient):
    """A stream of hypercorn. On trio its send is shielded, until its socket is closed.

    Args:
        transport: That of asyncio, or None on trio.
    """

    stream_id = 1
    protocol_type: type[Protocol] = Protocol

    def __init__(self, *, transport: FakeTransport | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.server = Server(transport)
        self.protocol = self.protocol_type(self.server, self)
        self.context = SimpleNamespace(terminated=anyio.Event())
        self.thawed = anyio.Event()

    @property
    def broken(self) -> bool:
        return self.server.socket.was_reset

    async def call(self, response: Any) -> None:
        stream = HTTPStream(self)
        await response(self.scope, self.asgi_receive, stream.app_send)

    async def block(self) -> None:
        """Wait out of reach of cancellation, and then go on as if nothing had happened."""
        async with self.server.send_lock:
            with anyio.CancelScope(shield=True):
                async with anyio.create_task_group() as group:
                    for event in (self.server.socket.closed, self.thawed):
                        group.start_soon(self._wait_for, event, group.cancel_scope)
        if self.server.socket.closed.is_set():
            self.gone.set()

    async def _wait_for(self, event: anyio.Event, scope: anyio.CancelScope) -> None:
        await event.wait()
        scope.cancel()


class HypercornH2(Hypercorn):
    """A stream of hypercorn over HTTP/2, whose bodies go into a buffer for another task."""

    protocol_type = H2Protocol
    protocol: H2Protocol

    def __init__(self, **options: Any) -> None:
        super().__init__(http_version="2", **options)
        self.buffer = self.protocol.stream_buffers[1]
        self.starved = False

    async def block(self) -> None:
        """Wait for room in the buffer, which is no secret to a cancel scope."""
        await anyio.sleep_forever()

    async def call(self, response: Any) -> None:
        with errors_alone():
            async with anyio.create_task_group() as self.protocol.task_group.nursery:
                await super().call(response)

    @property
    def broken(self) -> bool:
        return bool(self.protocol.resets) or super().broken

    async def asgi_send(self, message: dict[str, Any]) -> None:
        await super().asgi_send(message)
        if self.starved:
            self.buffer.buffer += message.get("body", b"")


class HTTPStream:
    """hypercorn's stream, to which ``send`` leads."""

    def __init__(self, client: Hypercorn) -> None:
        self.stream_id = client.stream_id
        self.context = client.context
        self.send: Any = client.protocol.stream_send

    async def app_send(self, message: dict[str, Any]) -> None:
        if "status" in message:
            await self.send(Response(message))
        else:
            await self.send(Body(message) if message["more_body"] else EndBody(message))


class Quic:
    """aioquic's QuicConnection, as far as hypercorn's HTTP/3 stream leads to it."""

    def __init__(self) -> None:
        self._close_event: object | None = None
        self._streams = {0: SimpleNamespace(sender=SimpleNamespace(_reset_error_code=None))}
        self.resets: list[tuple[int, int]] = []

    def reset_stream(self, stream_id: int, code: int) -> None:
        self.resets.append((stream_id, code))


class H3Protocol(Protocol):
    def __init__(self, server: Server, client: FakeClient) -> None:
        super().__init__(server, client)
        self.quic = Quic()
        self.connection = SimpleNamespace(_quic=self.quic)
        self.datagrams = 0
        self.send = self.send_datagrams

    async def send_datagrams(self) -> None:
        self.datagrams += 1


class HypercornH3(Hypercorn):
    stream_id = 0
    protocol_type = H3Protocol
    protocol: H3Protocol

    def __init__(self, **options: Any) -> None:
        super().__init__(http_version="3", **options)
