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
from ._contract import discard_on_close as discard_on_close
from ._hypercorn import server_of as server_of
from ._hypercorn import worker_above as worker_above
from ._origins import origins

logger = logging.getLogger("trio_sse")

EXTENSION = "trio_sse"
"""The extension of the scope in which a wrapper passes on the outermost ``send``."""

_SERVERS = ("hypercorn", "uvicorn")

_told: RunVar[set[tuple[str, str]]] = RunVar("trio_sse.transport")


def with_send(scope: Any, send: Callable[..., Any]) -> dict[str, Any]:
    """Return the scope of a request, with the ``send`` that leads to its connection."""
    return {**scope, "extensions": {**_extensions(scope), EXTENSION: {"send": send}}}


def find_connection(
    runtime: Runtime, scope: Any, receive: Callable[..., Any], send: Callable[..., Any]
) -> Connection:
    """Return the connection of a request."""
    outermost = _extensions(scope).get(EXTENSION, {}).get("send", send)
    try:
        connection = _find(runtime, scope, [outermost, send, receive])
    except Exception:
        logger.debug("what is below ASGI could not be examined", exc_info=True)
        connection = Connection(runtime)
    _tell(logging.DEBUG, "event streams reach their connection by %s", connection.name)
    return connection


def _extensions(scope: Any) -> dict[str, Any]:
    return scope.get("extensions") or {}


def _find(runtime: Runtime, scope: Any, starts: list[Callable[..., Any]]) -> Connection:
    granian, changed = False, None
    for owner in origins(starts):
        server = type(owner).__module__.partition(".")[0]
        try:
            connection = _hypercorn.recognise(runtime, owner) or _uvicorn.recognise(runtime, owner)
        except (AttributeError, KeyError, TypeError):
            connection = None
        if connection is not None:
            return connection
        granian = granian or server == "granian"
        changed = changed or (server if server in _SERVERS else None)
    if changed is not None:
        _tell(
            logging.WARNING,
            "this version of %s is not known: event streams do not learn of its shutdown, "
            "and a client that stops reading costs its whole connection. Wrap the app, "
            "app = trio_sse.DrainMiddleware(app), and look for a newer trio_sse",
            changed,
        )
    return _descriptor.recognise(runtime, scope, granian=granian) or Connection(runtime)


def _tell(level: int, message: str, argument: str) -> None:
    """Log something once in a run."""
    told: set[tuple[str, str]] | None = _told.get(None)
    if told is None:
        told = set()
        _told.set(told)
    if (message, argument) not in told:
        told.add((message, argument))
        logger.log(level, message, argument)
