"""The connection below ASGI: found once for each response, from what it is given.

In this order: what a wrapper of ours has put into the scope; the server's own objects, to
which the callables lead, through the middlewares around them; the socket that has the
addresses of the request; and otherwise nothing, so that a stream can only be cancelled.
Servers are recognised by shape: none is imported. What they have inside may change, and
then a stream has less of a connection; it never fails for it.
"""

import logging
from collections.abc import Callable
from typing import Any

from anyio.lowlevel import RunVar

from .._runtime import Runtime
from . import _descriptor, _hypercorn, _uvicorn
from ._contract import Connection as Connection
from ._hypercorn import server_of as server_of
from ._hypercorn import worker_above as worker_above
from ._origins import origins
from ._wires import break_socket as break_socket
from ._wires import socket_below as socket_below

logger = logging.getLogger("trio_sse")

EXTENSION = "trio_sse"
"""The extension of the scope in which a wrapper passes on the outermost ``send``."""

_SERVERS = {"hypercorn", "uvicorn"}

_LOST = (
    "Event streams do not learn of its shutdown, and over HTTP/2 one that is broken takes "
    "the others of its connection along."
)
_LOST_WITHOUT_SOCKET = (
    "And where the server shields its sends, as hypercorn does on trio, no timeout ends the "
    "stream of a client that does not read."
)
_REMEDY = (
    "Wrap the app, app = trio_sse.DrainMiddleware(app), for the shutdown, and look for a "
    "newer trio_sse."
)

_told: RunVar[set[tuple[str, str]]] = RunVar("trio_sse.transport")


def with_send(scope: Any, send: Callable[..., Any]) -> Any:
    """Return the scope of a request, with the ``send`` that leads to its connection.

    The outermost wrapper is the nearest to the server, and what it has put there stays.
    """
    extensions = _extensions(scope)
    if extensions.get(EXTENSION):
        return scope
    return {**scope, "extensions": {**extensions, EXTENSION: {"send": send}}}


def find_connection(
    runtime: Runtime,
    scope: Any,
    receive: Callable[..., Any],
    send: Callable[..., Any],
    user_timeout: float = 0,
) -> Connection:
    """Return the connection of a request, with its socket set up for a stream."""
    if scope["type"] != "http":
        return Connection(runtime)
    try:
        connection = _find(runtime, scope, receive, send)
        connection.set_up(user_timeout)
    except Exception:
        logger.debug("what is below ASGI could not be examined", exc_info=True)
        connection = Connection(runtime)
    _tell(logging.DEBUG, "event streams reach their connection by %s", connection.name)
    return connection


def _extensions(scope: Any) -> dict[str, Any]:
    return scope.get("extensions") or {}


def _find(
    runtime: Runtime, scope: Any, receive: Callable[..., Any], send: Callable[..., Any]
) -> Connection:
    extension: dict[str, Any] = _extensions(scope).get(EXTENSION) or {}
    servers: set[str] = set()
    for owner in origins([extension.get("send", send), send, receive]):
        connection = _recognise(runtime, owner)
        if connection is not None:
            return connection
        servers.add(type(owner).__module__.partition(".")[0])
    connection = _descriptor.recognise(runtime, scope, granian="granian" in servers)
    for server in servers & _SERVERS:
        lost = _LOST if connection.reachable else f"{_LOST} {_LOST_WITHOUT_SOCKET}"
        _tell(logging.WARNING, f"this version of %s is not known. {lost} {_REMEDY}", server)
    return connection


def _recognise(runtime: Runtime, owner: object) -> Connection | None:
    try:
        return _hypercorn.recognise(runtime, owner) or _uvicorn.recognise(runtime, owner)
    except Exception:
        logger.debug("%r is not what it was", owner, exc_info=True)
        return None


def _tell(level: int, message: str, argument: str) -> None:
    """Log something once in a run."""
    told: set[tuple[str, str]] | None = _told.get(None)
    if told is None:
        told = set()
        _told.set(told)
    if (message, argument) not in told:
        told.add((message, argument))
        logger.log(level, message, argument)
