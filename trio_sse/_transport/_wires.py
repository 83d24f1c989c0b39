"""Where a server's bytes go: a trio stream, or a transport of asyncio or uvloop."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from ._contract import discard_on_close

# Without a limit the kernel takes megabytes for a client that does not read, and a send
# does not block before it has. Two chunks of a stream, so that bursts do not notice.
UNSENT_LIMIT = 128 * 1024


class TrioWire:
    """The trio stream that an object holds, which may replace it as it goes on.

    Args:
        holder: Has it as ``stream``.
    """

    __slots__ = ("_holder",)

    unsent_limit = 0  # trio has set one itself

    def __init__(self, holder: Any) -> None:
        self._holder = holder
        if not callable(self.socket.close):
            raise TypeError("no socket")

    @property
    def socket(self) -> Any:
        """Trio's socket."""
        return socket_below(self._holder.stream)

    def abort(self) -> None:
        """Close the socket, which wakes whoever waits for it."""
        break_socket(self.socket)

    async def flushed(self) -> None:
        """Return: trio's streams keep nothing back."""


def socket_below(stream: Any) -> Any:
    """Return the socket of one of trio's streams, below TLS if there is any."""
    return getattr(stream, "transport_stream", stream).socket


def break_socket(sock: Any) -> None:
    """Close a socket and discard what the kernel still has to send."""
    discard_on_close(sock)
    sock.close()


class TransportWire:
    """A transport.

    Args:
        transport: The transport.
        drain: Blocks while the transport has told its protocol to pause writing.
    """

    __slots__ = ("_drain", "_transport")

    unsent_limit = UNSENT_LIMIT

    def __init__(self, transport: Any, drain: Callable[[], Awaitable[object]]) -> None:
        if not callable(transport.abort):
            raise TypeError("no transport")
        self._transport = transport
        self._drain = drain

    @property
    def socket(self) -> Any:
        """What the transport shows of its socket; None if it has none."""
        return self._transport.get_extra_info("socket")

    def abort(self) -> None:
        """Drop the buffers, and close."""
        discard_on_close(self.socket)
        self._transport.abort()

    async def flushed(self) -> None:
        """Block until the transport's buffer is empty.

        A transport tells when it has come below its low-water mark, so that is put to
        zero for as long as it takes.
        """
        if not self._transport.get_write_buffer_size():
            return
        with suppress(OSError, RuntimeError):  # closed meanwhile, and then nothing is left
            self._transport.set_write_buffer_limits(high=1, low=0)
            try:
                await self._drain()
            finally:
                self._transport.set_write_buffer_limits()
