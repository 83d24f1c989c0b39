"""Opening an event source: what it is given, checked."""

from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any
from urllib.parse import urlsplit

from .._arguments import check_instance, check_method, header_pairs
from .._backoff import DEFAULT_RECONNECTION_TIME
from .._decoder import DEFAULT_MAX_EVENT_SIZE
from .._outcome import errors_alone
from .._runtime import current_runtime
from ._http import HTTPClient, Requests, Target, headers_of, library_of, make_client
from ._reconnection import (
    DEFAULT_MAX_BACKOFF,
    DEFAULT_MAX_RECONNECTION_TIME,
    DEFAULT_MIN_RECONNECTION_TIME,
    RETRIED_STATUSES,
    Reconnection,
    ReconnectionOptions,
)
from ._source import EventSource, SourceOptions

_REPEATABLE = {"GET", "HEAD", "OPTIONS"}


def open_event_source(
    url: Any,
    *,
    client: HTTPClient | None = None,
    method: str = "GET",
    headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]] | None = None,
    content: bytes | None = None,
    repeat: bool | None = None,
    last_event_id: str = "",
    reconnection_time: float = DEFAULT_RECONNECTION_TIME / 1000,
    min_reconnection_time: float = DEFAULT_MIN_RECONNECTION_TIME,
    max_reconnection_time: float = DEFAULT_MAX_RECONNECTION_TIME,
    max_backoff: float = DEFAULT_MAX_BACKOFF,
    max_attempts: int | None = None,
    max_downtime: float | None = None,
    retried_statuses: Collection[int] = RETRIED_STATUSES,
    stall_timeout: float | None = None,
    max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
    on_comment: Callable[[str], object] | None = None,
    on_state: Callable[[EventSource], object] | None = None,
) -> AbstractAsyncContextManager[EventSource]:
    """Read the events of a URL, and come back when the stream ends: WHATWG HTML, 9.2.

    Like a browser's ``EventSource`` it connects again when the stream has ended or the network
    failed, with the last event ID, after the reconnection time that the server has set;
    204 is the end for good; any other answer that is no event stream is an error.
    Redirects are followed: 301 and 308 for good, 302, 303 and 307 for this once. Another origin
    is sent neither the ``headers`` nor the credentials nor the client's headers.

    Args:
        url: The URL, which may be relative to the ``base_url`` of the client; or a request that
            it has built, whose headers, cookies and body are sent each time.
        client: An ``AsyncClient`` of httpx or httpx2, without HTTP/2, which is left open; by
            default one of its own. Its timeouts hold, but for reading.
        method: ``GET`` by default.
        headers: A mapping, or pairs, beside ``Accept``, ``Cache-Control: no-cache`` and
            ``Accept-Encoding: identity``, which it may replace.
        content: The body.
        repeat: Whether to connect again; by default for ``GET``, ``HEAD`` and ``OPTIONS``.
        last_event_id: The last event ID to begin with.
        reconnection_time: Seconds until it connects again, if the server has not said; 3 by
            default.
        min_reconnection_time: The least seconds that a server can ask for; 0.1 by default.
        max_reconnection_time: The most seconds that a server can ask for, by ``retry`` or
            ``Retry-After``; an hour by default.
        max_backoff: After failures, it waits for longer than the reconnection time: at random,
            by up to a second after the first and twice as much after each other one, but no
            more than this; 60 by default.
        max_attempts: How many attempts in a row may fail, before the error of the last is
            raised; None (default) for any number.
        max_downtime: Seconds without a stream; if the next attempt would come later, the error
            of the last is raised. None (default) for any time.
        retried_statuses: The statuses that count as failures of an attempt, rather than as
            the end; by default 429, 500, 502, 503 and 504.
        stall_timeout: Seconds in which something must come, if only a comment, or it
            connects again. None (default) for any time: a peer that has vanished is not
            noticed. Give three times what the server pings in.
        max_event_size: The most bytes of an event; 1 MiB by default.
        on_comment: Called with the text of each comment, when it is read.
        on_state: Called with the event source whenever its ``state`` changes.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if it is out of range, or the URL none of HTTP.

    Example::

        async with open_event_source("http://127.0.0.1:8000/events") as source:
            async for event in source:
                print(event.type, event.data)
    """
    check_instance("last_event_id", last_event_id, str)
    if client is not None:
        library_of(client)
    target, pairs = _target(url, client, method, headers, content)
    reconnection = ReconnectionOptions(
        reconnection_time,
        min_reconnection_time,
        max_reconnection_time,
        max_backoff,
        max_attempts,
        max_downtime,
        retried_statuses,
    )
    options = SourceOptions(
        repeat=target.method in _REPEATABLE if repeat is None else repeat,
        stall_timeout=stall_timeout,
        max_event_size=max_event_size,
        on_comment=on_comment,
        on_state=on_state,
    )
    return _open(client, target, pairs, reconnection, options, last_event_id)


@asynccontextmanager
async def _open(
    client: Any,
    target: Target,
    headers: list[tuple[bytes, bytes]],
    reconnection: ReconnectionOptions,
    options: SourceOptions,
    last_event_id: str,
) -> AsyncGenerator[EventSource]:
    runtime = current_runtime()
    async with make_client() if client is None else nullcontext(client) as http:
        source = EventSource(
            runtime,
            library_of(http),
            Requests(http, target, headers),
            Reconnection(reconnection, runtime.current_time()),
            options,
            last_event_id,
        )
        with errors_alone(depth=1):
            async with runtime.open_nursery() as nursery:
                nursery.start_soon(source.run)
                try:
                    yield source
                finally:
                    nursery.cancel_scope.cancel()


def _check_url(url: Any, client: object) -> None:
    if not isinstance(url, str) and not (hasattr(url, "scheme") and hasattr(url, "host")):
        raise TypeError(f"url must be str, a URL or a request, not {type(url).__name__}")
    try:
        parsed = urlsplit(str(url))
        _ = parsed.port
    except ValueError as error:
        raise ValueError(f"url: {error}") from None
    if client is not None and not parsed.scheme and str(url):
        return  # its base_url comes before
    if parsed.scheme not in ("http", "https") or not parsed.hostname:
        raise ValueError("url must begin with http:// or https:// and a host")


def _target(
    url: Any, client: object, method: str, headers: Any, content: bytes | None
) -> tuple[Target, list[tuple[bytes, bytes]]]:
    if hasattr(url, "headers") and hasattr(url, "method"):
        if method != "GET" or headers is not None or content is not None:
            raise ValueError("method, headers and content: a request has its own")
        _check_url(url.url, client)
        pairs = headers_of(url)
        target = Target(url.method, url.url, url.content or None)
    else:
        check_method(method)
        _check_url(url, client)
        if content is not None:
            check_instance("content", content, bytes)
        pairs = header_pairs(headers, of_request=True)
        target = Target(method.upper(), url, content)
    if any(name == b"last-event-id" for name, _ in pairs):
        raise ValueError("headers: give the last event ID as last_event_id")
    return target, pairs
