"""uvicorn: the cycle of a request and response has the transport."""

import signal
from collections.abc import Callable
from typing import Any

from .._runtime import Runtime
from ._contract import SocketConnection
from ._wires import TransportWire


class UvicornConnection(SocketConnection):
    """A connection of uvicorn, with httptools or h11.

    Args:
        runtime: The runtime of the stream.
        cycle: uvicorn's request and response.
    """

    __slots__ = ("_cycle", "_followers", "_protocol", "_transport")

    name = "uvicorn's transport"

    def __init__(self, runtime: Runtime, cycle: Any) -> None:
        super().__init__(runtime, TransportWire(cycle.transport, cycle.flow.drain))
        self._cycle = cycle
        self._transport = cycle.transport
        self._protocol = cycle.transport.get_protocol()
        self._followers: tuple[tuple[Followed, Callable[[], object]], ...] = ()
        self._probe()

    def _probe(self) -> None:
        """Raise now, rather than in mid-stream, if something is not as it was."""
        cycle, protocol = self._cycle, self._protocol
        _ = cycle.keep_alive, cycle.scope, protocol.shutdown, protocol.eof_received, self.closed()
        if not type(protocol).__dictoffset__:
            raise TypeError("no place for attributes")

    def closed(self) -> bool:
        # With a second request in its pipeline, httptools' protocol never tells the first.
        closing: bool = self._transport.is_closing()
        return closing

    def follow(self, leaving: Callable[[], object], gone: Callable[[], object]) -> None:
        """See `Connection.follow`.

        A server that shuts down calls ``shutdown`` of each of its protocols. A client that
        half-closes while its transport has something to write makes the transport wait for
        ever, but the protocol is told of the end of what it reads.
        """
        self._followers = (
            (_followed(self._protocol, "shutdown"), leaving),
            (_followed(self._protocol, "eof_received"), gone),
        )
        for followed, then in self._followers:
            followed.followers.append(then)
        if self._is_leaving():
            leaving()

    def unfollow(self) -> None:
        for followed, then in self._followers:
            followed.followers.remove(then)
            if not followed.followers:
                followed.restore(self._protocol)
        self._followers = ()

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
    Streams of one protocol overlap, and end in any order.

    Args:
        name: What the method is called.
        method: The object's own, or what somebody else has put in its place before.
    """

    __slots__ = ("_method", "_name", "followers")

    def __init__(self, name: str, method: Callable[[], Any]) -> None:
        self._name = name
        self._method = method
        self.followers: list[Callable[[], object]] = []

    def __call__(self) -> Any:
        """Call the method, and tell the followers."""
        result = self._method()
        for follower in tuple(self.followers):
            follower()
        return result

    def restore(self, protocol: Any) -> None:
        """Put the method back in its place, unless somebody else has taken that since."""
        if getattr(protocol, self._name) is self:
            delattr(protocol, self._name)
            if getattr(protocol, self._name) != self._method:  # it was not its own
                setattr(protocol, self._name, self._method)


def _followed(protocol: Any, name: str) -> Followed:
    method = getattr(protocol, name)
    if not isinstance(method, Followed):
        method = Followed(name, method)
        setattr(protocol, name, method)
    return method


def recognise(runtime: Runtime, owner: Any) -> UvicornConnection | None:
    """Return the connection of this owner of a ``send``, if it is a cycle of uvicorn."""
    if not (hasattr(owner, "transport") and hasattr(owner, "flow")):
        return None
    kind = UvicornH2Connection if hasattr(owner, "abort_stream") else UvicornConnection
    return kind(runtime, owner)
