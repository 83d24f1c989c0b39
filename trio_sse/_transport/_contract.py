"""What a stream may ask of the connection below ASGI, whatever the server is."""

import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Protocol

from .._runtime import Runtime

# Of tcp_info's states; anything later means that one of the sides has closed.
_ESTABLISHED = 1

# Where tcp_info has how many bytes the peer has acknowledged.
_BYTES_ACKED = slice(120, 128)

_LONGEST_USER_TIMEOUT = 2**31 - 1


class Connection:
    """A connection of which nothing is known: a stream on it can only be cancelled.

    Args:
        runtime: The runtime of the stream.
    """

    __slots__ = ("runtime",)

    name: ClassVar[str] = "nothing below ASGI"
    reachable: ClassVar[bool] = False
    """Whether `abort` can do anything."""
    resets: ClassVar[bool] = False
    """Whether `reset` can end this stream and spare others on the same connection."""
    breaks_by_itself: ClassVar[bool] = False
    """Whether the server resets an HTTP/2 stream whose app raised."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime

    async def abort(self) -> None:
        """Break the connection now, and discard what the kernel still holds for it."""

    async def reset(self) -> None:
        """End this stream alone, in a way that its client can tell from a proper end.

        Blocks while the connection takes nothing.
        """

    async def flushed(self, *, interrupted: bool) -> None:
        """Block until the kernel has all that was sent.

        Args:
            interrupted: Whether a send was cancelled, so that a part may be lying about.
        """
        if interrupted:
            await self.runtime.sleep_forever()  # nobody can tell, so it never is

    def closed(self) -> bool:
        """Tell whether the connection is gone, as far as that costs nothing to know."""
        return False

    def peer_left(self) -> bool:
        """Tell whether the peer has closed its side, also while the server does not read."""
        return False

    def acknowledged(self) -> int:
        """Count what the peer has taken so far; 0 where that is not known."""
        return 0

    def set_up(self, user_timeout: float) -> None:
        """Set the options of the socket that a stream wants.

        Args:
            user_timeout: Seconds after which the kernel gives up a peer that acknowledges
                nothing; 0 for the system's own idea.
        """

    @property
    def shutdown(self) -> Any:
        """The event that is set when the server begins to shut down, the same for all of it.

        None where there is no such event; then `follow` may know.
        """
        return None

    def follow(self, leaving: Callable[[], object], gone: Callable[[], object]) -> None:
        """Have something called from now on, until `unfollow`.

        Args:
            leaving: Called when the server begins to shut down, if `shutdown` is None.
            gone: Called if the peer leaves in a way that the server does not pass on.
        """

    def unfollow(self) -> None:
        """Undo `follow`."""


class Wire(Protocol):
    """Where the bytes of a connection go."""

    unsent_limit: int
    """How many bytes the kernel should take beyond what is on its way; 0 to leave it."""

    @property
    def socket(self) -> Any:
        """The socket, or what a transport shows of it."""
        ...

    def abort(self) -> None:
        """Close the socket without sending what is left."""
        ...

    async def flushed(self) -> None:
        """Block until the kernel has all that was written."""
        ...


class SocketConnection(Connection):
    """A connection whose socket is at hand.

    Args:
        runtime: The runtime of the stream.
        wire: What has the socket.
    """

    __slots__ = ("wire",)

    reachable = True

    def __init__(self, runtime: Runtime, wire: Wire) -> None:
        super().__init__(runtime)
        self.wire = wire

    async def abort(self) -> None:
        """Close the socket."""
        self.wire.abort()

    async def flushed(self, *, interrupted: bool) -> None:
        """Ask the wire, which knows better than a send that was cancelled."""
        await self.wire.flushed()

    def peer_left(self) -> bool:
        """Ask the kernel, since a server that holds back a pipelined request does not."""
        state = self._tcp_info(1)
        return state != b"" and state[0] != _ESTABLISHED

    def acknowledged(self) -> int:
        """Ask the kernel."""
        return int.from_bytes(self._tcp_info(_BYTES_ACKED.stop)[_BYTES_ACKED], sys.byteorder)

    def _tcp_info(self, size: int) -> bytes:
        try:
            return bytes(self.wire.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size))
        except Exception:
            return b""  # not Linux, not TCP, or closed, for which each library has its error

    def set_up(self, user_timeout: float) -> None:
        """Tell the kernel, where it takes that."""
        sock = self.wire.socket
        with suppress(AttributeError, OSError):
            if self.wire.unsent_limit:
                limit = self.wire.unsent_limit
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, limit)
        with suppress(AttributeError, OSError):
            if user_timeout:
                milliseconds = min(max(1, round(user_timeout * 1000)), _LONGEST_USER_TIMEOUT)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def discard_on_close(sock: Any) -> None:
    """Let the close of a socket reset the connection, not keep on sending what is left."""
    with suppress(AttributeError, OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
