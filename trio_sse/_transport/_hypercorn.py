"""hypercorn, on trio and on asyncio: HTTP/1.1, HTTP/2 and HTTP/3.

The ``send`` of an app belongs to a stream (``HTTPStream``), whose own ``send`` belongs to
the protocol of the connection, whose own belongs to the server of that connection
(``TCPServer``), which has the trio stream, or asyncio's writer. All of it is recognised by
what it has.
"""

from contextlib import suppress
from typing import Any

from .._runtime import Event, Runtime
from ._contract import Connection, SocketConnection
from ._wires import TransportWire, TrioWire

# What a client is told of a stream that did not come to its end.
_H2_CANCEL = 8
_H3_REQUEST_CANCELLED = 0x10C


class HypercornConnection(SocketConnection):
    """A connection of hypercorn over TCP, with HTTP/1.1.

    Args:
        runtime: The runtime of the stream.
        stream: hypercorn's stream.
        server: hypercorn's server of this connection.
    """

    __slots__ = ("_lock", "_terminated")

    name = "hypercorn's stream"

    def __init__(self, runtime: Runtime, stream: Any, server: Any) -> None:
        super().__init__(runtime, _wire(server))
        self._terminated = stream.context.terminated
        self._lock = server.send_lock

    async def flushed(self, *, interrupted: bool) -> None:
        async with self._lock:  # whoever has it is writing
            pass
        await super().flushed(interrupted=interrupted)

    @property
    def shutdown(self) -> Any:
        return self._terminated


class HypercornH2Connection(HypercornConnection):
    """A connection of hypercorn with HTTP/2, and one stream of it."""

    __slots__ = ("_buffers", "_id", "_protocol")

    name = "hypercorn's HTTP/2 stream"
    resets = True

    def __init__(self, runtime: Runtime, stream: Any, server: Any) -> None:
        super().__init__(runtime, stream, server)
        self._protocol = stream.send.__self__
        self._buffers = self._protocol.stream_buffers
        self._id = stream.stream_id
        self._probe()
        if not isinstance(stream.send, PacedSend):
            stream.send = PacedSend(stream.send, self._buffers, self._id)

    def _probe(self) -> None:
        """Raise now, rather than in mid-stream, if something is not as it was."""
        buffer, protocol = self._buffers[self._id], self._protocol
        _ = buffer.buffer, buffer.drain, buffer.close, buffer._is_empty.clear
        _ = protocol.connection.reset_stream, protocol._window_updated, protocol._flush
        _ = protocol.task_group.spawn

    async def flushed(self, *, interrupted: bool) -> None:
        # What the transport holds below belongs to the other streams as well.
        buffer = self._buffers.get(self._id)
        if buffer is not None and buffer.buffer:
            await buffer.drain()

    async def reset(self) -> None:
        with suppress(Exception):  # the client may have closed it meanwhile
            self._protocol.connection.reset_stream(self._id, _H2_CANCEL)
        buffer = self._buffers.get(self._id)
        if buffer is not None:
            await buffer.close()  # wakes whoever waits for room, which will not come any more
        await self._protocol._window_updated(self._id)
        # In a task of the connection: what is taken from h2 to be sent has the frames of other
        # streams too, and would be lost if this was cancelled while it waits for its turn.
        sent = self.runtime.Event()
        self._protocol.task_group.spawn(self._flush, sent)
        await sent.wait()

    async def _flush(self, sent: Event) -> None:
        try:
            await self._protocol._flush()
        finally:
            sent.set()


class PacedSend:
    """The ``send`` of one stream of HTTP/2, to which the client's flow control applies.

    The server takes all that it is given for a client that grants no window: its buffer
    counts as free whenever the task that sends has looked at it. And the end of a body waits
    until the buffer is empty, which it may have been all along, before the task that sends
    has seen the end; a server that is leaving then closes the connection first.

    It takes the place of the method in the one object that stands for the stream.

    Args:
        send: hypercorn's own.
        buffers: The buffers of the connection.
        number: The stream's.
    """

    def __init__(self, send: Any, buffers: dict[int, Any], number: int) -> None:
        self.__self__ = send.__self__  # what leads to the connection still does
        self._send = send
        self._buffers = buffers
        self._number = number

    async def __call__(self, event: Any) -> None:
        """Pass an event on, and wait for what the server does not wait for."""
        buffer, kind = self._buffers.get(self._number), type(event).__name__
        if buffer is not None and kind == "EndBody":
            await buffer._is_empty.clear()
        await self._send(event)
        if buffer is not None and kind == "Body" and buffer.buffer:
            await buffer.drain()


class HypercornH3Connection(Connection):
    """One stream of a connection of hypercorn with HTTP/3; there is no socket of its own."""

    __slots__ = ("_id", "_protocol", "_quic", "_terminated")

    name = "hypercorn's HTTP/3 stream"
    reachable = True
    resets = True

    def __init__(self, runtime: Runtime, stream: Any) -> None:
        super().__init__(runtime)
        self._id = stream.stream_id
        self._protocol = stream.send.__self__
        self._quic = self._protocol.connection._quic
        self._terminated = stream.context.terminated
        self.closed()  # raises now, rather than in mid-stream, if something is not as it was

    def closed(self) -> bool:
        # No disconnect is ever reported.
        stream = self._quic._streams.get(self._id)
        return (
            self._quic._close_event is not None
            or stream is None
            or stream.sender._reset_error_code is not None
        )

    def peer_left(self) -> bool:
        return self.closed()

    async def flushed(self, *, interrupted: bool) -> None:
        pass  # nothing waits: what cannot be sent is kept by the QUIC connection

    async def reset(self) -> None:
        if not self.closed():
            self._quic.reset_stream(self._id, _H3_REQUEST_CANCELLED)
            await self._protocol.send()

    @property
    def shutdown(self) -> Any:
        return self._terminated


def _wire(server: Any) -> TrioWire | TransportWire:
    writer = getattr(server, "writer", None)
    if writer is None:
        return TrioWire(server)
    return TransportWire(writer.transport, writer.drain)


def server_of(owner: Any) -> Any:
    """Return hypercorn's server of the connection that an owner of a ``send`` belongs to.

    Raises:
        AttributeError: if it is no such owner, or a stream of HTTP/3.
    """
    server = owner.send.__self__.send.__self__
    _ = server.send_lock
    return server


def worker_above(runtime: Runtime) -> Any:
    """Return the context of the worker of hypercorn that the calling task runs in.

    It has two events, ``terminate`` to end the worker and ``terminated`` to learn that it
    ends. None if there is no such worker, or if it runs on asyncio, where tasks do not know
    what they belong to.
    """
    for frame in runtime.frames_above():
        context = frame.f_locals.get("context")
        if hasattr(context, "terminate") and hasattr(context, "terminated"):
            return context
    return None


def recognise(runtime: Runtime, owner: Any) -> Connection | None:
    """Return the connection of this owner of a ``send``, if it is a stream of hypercorn."""
    if not (hasattr(owner, "stream_id") and hasattr(owner, "context")):
        return None
    protocol = owner.send.__self__
    if hasattr(protocol, "stream_buffers"):
        return HypercornH2Connection(runtime, owner, server_of(owner))
    if hasattr(protocol.connection, "_quic"):
        return HypercornH3Connection(runtime, owner)
    return HypercornConnection(runtime, owner, server_of(owner))
