"""uvicorn, with httptools or h11: the cycle of a request and response has the transport."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, cast

from .._runtime import Runtime
from ._contract import SocketConnection
from ._wires import TransportWire


class UvicornConnection(SocketConnection):
    """A connection of uvicorn."""

    __slots__ = ("_transport",)

    name = "uvicorn's transport"
    watches = True

    def __init__(self, runtime: Runtime, cycle: Any) -> None:
        super().__init__(runtime, TransportWire(cycle.transport, cycle.flow.drain))
        self._transport = cycle.transport

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
        leaving = self.runtime.Event()
        protocol = self._transport.get_protocol()
        with _follow(protocol, "shutdown", leaving.set), _follow(protocol, "eof_received", gone):
            await leaving.wait()


@contextmanager
def _follow(protocol: Any, name: str, then: Callable[[], object]) -> Generator[None, None, None]:
    """Call ``then`` after a method of this one object, until the context ends."""
    instead = cast("dict[str, Any]", vars(protocol)).get(name)
    method = getattr(protocol, name)

    def followed() -> Any:
        result = method()
        then()
        return result

    setattr(protocol, name, followed)
    try:
        yield
    finally:
        if instead is None:
            delattr(protocol, name)
        else:
            setattr(protocol, name, instead)


def recognise(runtime: Runtime, owner: Any) -> UvicornConnection | None:
    """Return the connection of this owner of a ``send``, if it is a cycle of uvicorn."""
    if not (hasattr(owner, "transport") and hasattr(owner, "flow")):
        return None
    return UvicornConnection(runtime, owner)
