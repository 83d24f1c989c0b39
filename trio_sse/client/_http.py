"""What the client needs of an HTTP library: httpx, httpx2, or another of the same shape."""

import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from importlib import import_module
from ssl import SSLCertVerificationError
from typing import Any, Protocol

from ._errors import EventSourceError

# As many as browsers follow (Fetch, section 4.4).
MAX_REDIRECTS = 20

_REDIRECTS = {301, 302, 303, 307, 308}
_PERMANENT = {301, 308}

_OWN_HEADERS = {
    b"accept": b"text/event-stream",
    b"cache-control": b"no-cache",
    # Compressed, an event may wait in the server for others.
    b"accept-encoding": b"identity",
}

# RFC 9110, section 5.5, for text that is sent as UTF-8.
_VISIBLE = r"[^\x00-\x20\x7f\ud800-\udfff]"
_FIELD_VALUE = re.compile(f"{_VISIBLE}(?:(?:{_VISIBLE}|[ \t])*{_VISIBLE})?")

# What an HTTP library writes into a request by itself.
_LIBRARY_HEADERS = {
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"connection",
    b"accept-encoding",
}
_ANYTHING = (b"accept", b"*/*")

# What another origin may be sent of the user's.
_HARMLESS = {b"accept", b"accept-encoding", b"cache-control", b"content-type", b"user-agent"}


class Response(Protocol):
    """A response whose body has not been read."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Any: ...
    @property
    def url(self) -> Any: ...
    @property
    def extensions(self) -> Any: ...
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
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if kind.__name__ == "AsyncClient" and hasattr(module, "LocalProtocolError"):
            return module
    raise TypeError(
        f"client must be an AsyncClient of httpx or httpx2, not {type(client).__name__}"
    )


def headers_of(request: Any) -> list[tuple[bytes, bytes]]:
    """Return the headers that somebody has given to a request."""
    pairs = [(name.lower(), value) for name, value in request.headers.raw]
    return [each for each in pairs if each[0] not in _LIBRARY_HEADERS and each != _ANYTHING]


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
        first = client.build_request(target.method, target.url)
        self._request_type: Any = type(first)
        if first.url.scheme not in ("http", "https"):
            raise ValueError(f"url is {target.url!r}, and the client has no base_url")
        self._origin = _origin(first.url)
        self._at_home = True
        self._method = target.method
        self.target = replace(target, url=first.url)

    async def open(self, last_event_id: str) -> Response:
        """Make the request, and follow where it leads.

        Permanent redirects are remembered until there is one that is not.

        Raises:
            EventSourceError: if it leads nowhere.
        """
        target, at_home, moved, redirects = self.target, self._at_home, True, 0
        while True:
            response: Response = await self._send(target, last_event_id, at_home=at_home)
            status, location = response.status_code, response.headers.get("location")
            if status not in _REDIRECTS or location is None:
                return response
            await response.aclose()
            redirects += 1
            if redirects > MAX_REDIRECTS:
                url = without_credentials(target.url)
                raise EventSourceError("too many redirects", status=status, url=url)
            target = _redirected(target, status, target.url.join(location))
            # Nor is what another origin leads back to: it would choose what is asked.
            at_home = at_home and _origin(target.url) == self._origin
            moved = moved and status in _PERMANENT
            if moved:
                self.target, self._at_home = target, at_home

    async def _send(self, target: Target, last_event_id: str, *, at_home: bool) -> Any:
        """Send a request; abroad, one that the client has added nothing to."""
        headers = [each for each in self._headers if at_home or each[0] in _HARMLESS]
        if target.method != self._method:  # there is no content any more
            headers = [header for header in headers if not header[0].startswith(b"content-")]
        if can_be_sent(last_event_id):
            headers = [*headers, (b"last-event-id", last_event_id.encode())]
        options = {"headers": headers, "content": target.content, "extensions": self._extensions}
        if not at_home:
            request = self._request_type(target.method, target.url, **options)
            return await self._client.send(request, stream=True, follow_redirects=False, auth=None)
        request = self._client.build_request(target.method, target.url, **options)
        request.url = target.url  # without the client's parameters, if it was redirected there
        return await self._client.send(request, stream=True, follow_redirects=False)


def can_be_sent(last_event_id: str) -> bool:
    """Tell whether an id can be the value of a header: RFC 9110, section 5.5.

    It cannot with a control character, or white space at an end, which would be lost.
    """
    return _FIELD_VALUE.fullmatch(last_event_id) is not None


def without_credentials(url: Any) -> str:
    """Return a URL as it may be shown."""
    return str(url.copy_with(userinfo=b""))


def is_futile(error: BaseException | None) -> bool:
    """Tell whether it is no use to try again: a certificate does not get better."""
    while error is not None and not isinstance(error, SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _origin(url: Any) -> tuple[Any, ...]:
    return url.scheme, url.host, url.port


def _redirected(target: Target, status: int, url: Any) -> Target:
    """Return the next target: Fetch, section 4.4, steps 12 and 13."""
    becomes_get = (status in (301, 302) and target.method == "POST") or (
        status == 303 and target.method not in ("GET", "HEAD")
    )
    return Target("GET", url, None) if becomes_get else replace(target, url=url)
