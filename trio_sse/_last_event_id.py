"""What a client says it has seen last."""

from collections.abc import MutableMapping
from typing import Any, Protocol
from urllib.parse import parse_qs

_HEADER = b"last-event-id"
_PARAMETER = "last_event_id"


class _Request(Protocol):
    @property
    def scope(self) -> MutableMapping[str, Any]: ...


def last_event_id(request: _Request) -> str | None:
    """Return the id of the last event that a client has seen, for `Hub.subscribe`.

    A browser sends the header ``Last-Event-ID`` when it reconnects (WHATWG HTML, 9.2.3). It
    cannot on its first connection, so a page that knows an id puts it into the query, as
    ``last_event_id``; the header wins, since it is later. An id is UTF-8; what is not
    becomes one that nobody has given, and is answered as ``unknown``.

    Args:
        request: A request of Starlette, or anything that has an ASGI ``scope``.

    Returns:
        The id, or None if there is none.

    Example::

        hub.subscribe("news", last_event_id=last_event_id(request))
    """
    for name, value in request.scope["headers"]:
        if name.lower() == _HEADER and value:
            return bytes(value).decode(errors="replace")
    query = parse_qs(request.scope["query_string"].decode("ascii", "replace"), max_num_fields=None)
    return query[_PARAMETER][0] if _PARAMETER in query else None
