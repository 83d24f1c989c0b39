"""A connection found by its addresses among the descriptors of this process.

The last resort, for servers that keep their sockets to themselves. Nothing is looked for
before a connection has to be broken, so it costs a healthy stream nothing.
"""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from ipaddress import ip_address
from typing import Any

from .._runtime import Runtime
from ._contract import Connection, discard_on_close

logger = logging.getLogger("trio_sse")

DESCRIPTORS = "/proc/self/fd"

# The client that a scope names behind a proxy is not the peer of any socket here,
# but might have the address and port of one.
_FORWARDED = (b"forwarded", b"x-forwarded", b"x-real-ip", b"x-client-ip", b"cf-", b"true-client")

Address = tuple[str, int]


class DescriptorConnection(Connection):
    """A connection with a local and a remote address.

    Args:
        runtime: The runtime of the stream.
        local: The server's address and port.
        remote: The client's.
    """

    __slots__ = ("_local", "_remote")

    name = "the socket with the addresses of the request"
    reachable = True

    def __init__(self, runtime: Runtime, local: Address, remote: Address) -> None:
        super().__init__(runtime)
        self._local = local
        self._remote = remote

    async def abort(self) -> None:
        """Break the connection, if exactly one socket has both addresses."""
        with ExitStack() as stack:
            sockets = [stack.enter_context(sock) for sock in _sockets()]
            found = [sock for sock in sockets if self._is_at(sock)]
            if len(found) == 1:
                discard_on_close(found[0])  # when the server closes its own descriptor
                with suppress(OSError):
                    found[0].shutdown(socket.SHUT_RDWR)
            else:
                logger.debug("%d sockets connect %s and %s", len(found), self._local, self._remote)

    def _is_at(self, sock: socket.socket) -> bool:
        try:
            local, remote = _address(sock.getsockname()), _address(sock.getpeername())
        except OSError:
            return False  # it is not connected
        return (local, remote) == (self._local, self._remote)


class GranianConnection(DescriptorConnection):
    """granian keeps its sockets in Rust, and resets HTTP/2 streams of apps that raise."""

    __slots__ = ()

    name = "the socket of granian with the addresses of the request"
    breaks_by_itself = True


class HiddenGranianConnection(Connection):
    """granian behind a proxy, or over a Unix socket."""

    __slots__ = ()

    breaks_by_itself = True


def _sockets() -> Iterator[socket.socket]:
    """Yield a duplicate of each socket of this process, which may have several itself.

    Duplicates, since the server may close its own at any time, and the number of the
    descriptor may then be that of another client.
    """
    sockets: dict[str, str] = {}
    for name in os.listdir(DESCRIPTORS):
        with suppress(OSError):
            sockets[os.readlink(f"{DESCRIPTORS}/{name}")] = name
    for link, name in sockets.items():
        if link.startswith("socket:"):
            with suppress(OSError):
                yield socket.socket(fileno=os.dup(int(name)))


def _address(pair: Any) -> Address | None:
    """Return an address and port in one way of writing; None if it is none."""
    try:
        ip = ip_address(pair[0])
        port = int(pair[1])  # granian writes it as text
    except (TypeError, ValueError, IndexError):
        return None
    return str(getattr(ip, "ipv4_mapped", None) or ip), port


def recognise(runtime: Runtime, scope: Any, *, granian: bool) -> Connection:
    """Return the connection of a request, whose addresses may be those of a socket here."""
    local, remote = _address(scope.get("server")), _address(scope.get("client"))
    if local is None or remote is None or _is_forwarded(scope) or not os.path.isdir(DESCRIPTORS):
        return HiddenGranianConnection(runtime) if granian else Connection(runtime)
    kind = GranianConnection if granian else DescriptorConnection
    return kind(runtime, local, remote)


def _is_forwarded(scope: Any) -> bool:
    return any(name.lower().startswith(_FORWARDED) for name, _ in scope.get("headers") or ())
