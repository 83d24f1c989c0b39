"""What the client needs of an HTTP library: httpx, httpx2, or another of the same shape."""

import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Protocol

from ._errors import EventSourceError

# As many as browsers follow (Fetch, section 4.4).
MAX_REDIRECTS = 20

_REDIRECTS = {301, 302, 303, 307, 308}
_PERMANENT = {301, 308}

# What an origin may be sent that the request was not made for, but redirected to. The last
# event ID is of the stream, which is there now.
_HARMLESS = {
    b"accept",
    b"accept-encoding",
    b"cache-control",
    b"connection",
    b"content-length",
    b"content-type",
    b"host",
    b"last-event-id",
    b"transfer-encoding",
    b"user-agent",
}

_OWN_HEADERS = {
    b"accept": b"text/event-stream",
    b"cache-control": b"no-cache",
    # Compressed, an event may wait in the server for others.
    b"accept-encoding": b"identity",
}


# RFC 9110, section 5.5, for text that is sent as UTF-8.
_VISIBLE = r"[^\x00-\x20\x7f\ud800-\udfff]"
_FIELD_VALUE = re.compile(f"{_VISIBLE}(?:(?:{_VISIBLE}|[ \t])*{_VISIBLE})?")


class Response(Protocol):
    """A response whose body has not been read."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Any: ...
    @property
    def url(self) -> Any: ...
    def aiter_bytes(self) -> AsyncIterator[bytes]: ...
    async def aclose(self) -> None: ...


class HTTPClient(Protocol):
    """An asynchronous HTTP client, as ``httpx.AsyncClient`` and ``httpx2.AsyncClient`` are."""

    @property
    def timeout(self) -> Any: ...
    def build_request(self, method: str, url: Any, /) -> Any: ...
    async def send(self, request: Any, /) -> Any: ...


@dataclass(frozen=True, slots=True)
class Target:
    """What to ask for: a method, a URL, and a body."""

    method: str
    url: Any
    content: bytes | None


def make_client() -> Any:
    """Return a new client of httpx, or of httpx2 if that is all there is.

    Raises:
        ImportError: if there is neither.
    """
    for name in ("httpx", "httpx2"):
        try:
            return import_module(name).AsyncClient()
        except ImportError:
            continue
    raise ImportError('open_event_source needs httpx or httpx2: pip install "trio-sse[client]"')


def library_of(client: object) -> Any:
    """Return the module that a client comes from, which has its exceptions.

    Raises:
        TypeError: if it is no such client.
    """
    for kind in type(client).__mro__:
        module = sys.modules[kind.__module__.partition(".")[0]]
        if hasattr(module, "RequestError") and hasattr(client, "aclose"):
            return module
    raise TypeError(
        f"client must be an AsyncClient of httpx or httpx2, not {type(client).__name__}"
    )


class Requests:
    """Makes the request of a client again and again, wherever it is redirected to.

    Args:
        client: The HTTP client.
        target: What to ask for.
        headers: The user's headers, names in lower case. They are for the origin of the target
            alone, and so are the client's.
    """

    target: Target
    """What to ask for, where it has moved to for good."""

    def __init__(self, client: Any, target: Target, headers: list[tuple[bytes, bytes]]) -> None:
        self._client = client
        given = {name for name, _ in headers}
        self._headers = [*headers, *(own for own in _OWN_HEADERS.items() if own[0] not in given)]
        # The stream's own deadline is the one for reading.
        self._extensions = {"timeout": {**client.timeout.as_dict(), "read": None}}
        self._method = target.method
        request = self._build(target, "")
        self._origin = _origin(request.url)
        self.target = replace(target, url=request.url)

    async def open(self, last_event_id: str) -> Response:
        """Make the request, and follow where it leads.

        Permanent redirects are remembered until there is one that is not.

        Raises:
            EventSourceError: if it leads nowhere.
        """
        target, moved, redirects = self.target, True, 0
        while True:
            response: Response = await self._send(self._build(target, last_event_id))
            status, location = response.status_code, response.headers.get("location")
            if status not in _REDIRECTS or location is None:
                return response
            await response.aclose()
            redirects += 1
            if redirects > MAX_REDIRECTS:
                raise EventSourceError("too many redirects", status=status, url=str(target.url))
            target = _redirected(target, status, target.url.join(location))
            moved = moved and status in _PERMANENT
            if moved:
                self.target = target

    def _build(self, target: Target, last_event_id: str) -> Any:
        headers = self._headers
        if target.method != self._method:  # there is no content any more
            headers = [header for header in headers if not header[0].startswith(b"content-")]
        if can_be_sent(last_event_id):
            headers = [*headers, (b"last-event-id", last_event_id.encode())]
        return self._client.build_request(
            target.method,
            target.url,
            headers=headers,
            content=target.content,
            extensions=self._extensions,
        )

    async def _send(self, request: Any) -> Any:
        if _origin(request.url) == self._origin:
            return await self._client.send(request, stream=True, follow_redirects=False)
        for name in {name.lower() for name, _ in request.headers.raw} - _HARMLESS:
            del request.headers[name.decode("latin-1")]
        return await self._client.send(request, stream=True, follow_redirects=False, auth=None)


def can_be_sent(last_event_id: str) -> bool:
    """Tell whether an id can be the value of a header: RFC 9110, section 5.5.

    It cannot with a control character, or white space at an end, which would be lost.
    """
    return _FIELD_VALUE.fullmatch(last_event_id) is not None


def _origin(url: Any) -> tuple[Any, ...]:
    return url.scheme, url.host, url.port


def _redirected(target: Target, status: int, url: Any) -> Target:
    """Return the next target: Fetch, section 4.4, steps 12 and 13."""
    becomes_get = (status in (301, 302) and target.method == "POST") or (
        status == 303 and target.method not in ("GET", "HEAD")
    )
    return Target("GET", url, None) if becomes_get else replace(target, url=url)
