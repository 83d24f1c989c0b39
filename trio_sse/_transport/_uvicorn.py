"""uvicorn: the cycle of a request and response has the transport."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

from .._runtime import Runtime
from ._contract import SocketConnection
from ._wires import TransportWire


class UvicornConnection(SocketConnection):
    """A connection of uvicorn, with httptools or h11.

    Args:
        runtime: The runtime of the stream.
        cycle: uvicorn's request and response.
    """

    __slots__ = ("_cycle", "_protocol", "_transport")

    name = "uvicorn's transport"
    watches = True

    def __init__(self, runtime: Runtime, cycle: Any) -> None:
        super().__init__(runtime, TransportWire(cycle.transport, cycle.flow.drain))
        self._cycle = cycle
        self._transport = cycle.transport
        self._protocol = cycle.transport.get_protocol()
        self._probe()

    def _probe(self) -> None:
        """Raise now, rather than in mid-stream, if something is not as it was."""
        cycle, protocol = self._cycle, self._protocol
        _ = cycle.keep_alive, cycle.scope, protocol.shutdown, protocol.eof_received, self.closed()
        vars(protocol)

    def closed(self) -> bool:
        # With a second request in its pipeline, httptools' protocol never tells the first.
        closing: bool = self._transport.is_closing()
        return closing

    async def watch(self, gone: Callable[[], object]) -> None:
        """See `Connection.watch`.

        A server that shuts down calls ``shutdown`` of each of its protocols. A client that
        half-closes while its transport has something to write makes the transport wait for
        ever, but the protocol is told of the end of what it reads.
        """
        if self._is_leaving():
            return
        leaving = self.runtime.Event()
        with (
            _following(self._protocol, "shutdown", leaving.set),
            _following(self._protocol, "eof_received", gone),
        ):
            await leaving.wait()

    def _is_leaving(self) -> bool:
        """Tell whether the protocol was told before this stream began to listen.

        It has then decided against keeping the connection alive. A client that wanted that
        itself, as many a proxy does, hides it, and whoever handles SIGTERM is asked instead.
        """
        if not self._cycle.keep_alive and not _wants_close(self._cycle.scope):
            return True
        handler = signal.getsignal(signal.SIGTERM)
        return bool(getattr(getattr(handler, "__self__", None), "should_exit", False))


class UvicornH2Connection(UvicornConnection):
    """A connection of uvicorn with HTTP/2, and one stream of it."""

    __slots__ = ()

    name = "uvicorn's HTTP/2 stream"
    resets = True

    async def reset(self) -> None:
        self._cycle.abort_stream()
        await self.wire.flushed()

    def _is_leaving(self) -> bool:
        return False  # a protocol that was told takes no more streams


def _wants_close(scope: Any) -> bool:
    if scope["http_version"] == "1.0":
        return True
    return any(name == b"connection" and b"close" in v.lower() for name, v in scope["headers"])


class Followed:
    """A method of one object, with what is to be called after it.

    It takes the place of the method on that object alone, for as long as somebody follows.

    Args:
        method: What is called.
        instead: What somebody else has put in its place before, or None.
    """

    def __init__(self, method: Callable[[], Any], instead: Any) -> None:
        self.instead = instead
        self._method = method
        self.followers: list[Callable[[], object]] = []

    def __call__(self) -> Any:
        """Call the method, and tell the followers."""
        result = self._method()
        for follower in tuple(self.followers):
            follower()
        return result


@contextmanager
def _following(protocol: Any, name: str, then: Callable[[], object]) -> Generator[None, None, None]:
    """Call ``then`` after a method of this one object, until the context ends.

    Streams of one protocol overlap, and end in any order.
    """
    attributes = cast("dict[str, Any]", vars(protocol))
    present = attributes.get(name)
    if isinstance(present, Followed):
        followed = present
    else:
        followed = Followed(getattr(protocol, name), present)
        setattr(protocol, name, followed)
    followed.followers.append(then)
    try:
        yield
    finally:
        followed.followers.remove(then)
        if not followed.followers and attributes.get(name) is followed:
            attributes.pop(name)
            attributes |= {} if followed.instead is None else {name: followed.instead}


def recognise(runtime: Runtime, owner: Any) -> UvicornConnection | None:
    """Return the connection of this owner of a ``send``, if it is a cycle of uvicorn."""
    if not (hasattr(owner, "transport") and hasattr(owner, "flow")):
        return None
    kind = UvicornH2Connection if hasattr(owner, "abort_stream") else UvicornConnection
    return kind(runtime, owner)
