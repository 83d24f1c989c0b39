"""The response that a Starlette endpoint returns."""

from collections.abc import (
    AsyncIterable,
    Awaitable,
    Callable,
    Hashable,
    Iterable,
    Mapping,
)
from functools import partial
from math import ceil
from typing import Any, cast

from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ._abc import Instrument
from ._arguments import (
    check_callable,
    check_instance,
    check_key,
    check_media_type,
    check_seconds,
    check_status,
    header_pairs,
)
from ._backoff import spread_reconnection_time
from ._close_reason import CloseReason
from ._drain import FAREWELL_TIMEOUT, RunStreams, run_streams
from ._event import ServerSentEvent
from ._exceptions import AccessDeniedError
from ._fastapi import content_of_endpoint
from ._fields import DEFAULT_SEPARATOR
from ._instrument import Observer
from ._limit import OVERLOADED, ConnectionLimit
from ._options import StreamOptions
from ._runtime import current_runtime
from ._source import DEFAULT_MAX_BUFFER_SIZE, Content, NoSource, SourceOptions
from ._supervisor import Stream
from ._transport import find_connection
from ._writer import Writer

# The shortest time-out of proxies that people meet is 30 seconds and more; half
# of it survives one ping that is lost. Also what sse-starlette's users have.
DEFAULT_PING = 15

# Long enough to save something to a database, short enough for a shutdown.
DEFAULT_CLEANUP_TIMEOUT = 5.0

# The kernel counts a live reader that is slow as one that acknowledges nothing, once its
# buffer is full; so it must come well after `send_timeout`, and it must not come soon.
SHORTEST_USER_TIMEOUT = 30.0

Producer = Callable[..., Awaitable[object]]


class EventSourceResponse(Response):
    """Stream events to a client: WHATWG HTML, section 9.2.

    Runs on trio and on asyncio. Everything that belongs to the stream lives in one
    nursery, inside the call of the response, and has ended when the call returns.

    Args:
        content: Where the events come from. A producer: ``async def producer(send)``,
            which owns ``send``, the sending half of a memory channel, and whose
            return ends the stream. A receive channel of trio or anyio. A
            `Subscription`, which is entered before the headers are sent. An async
            iterable. An iterable, which is run in worker threads. Items are
            `ServerSentEvent`, ``str``, a dict of the keywords of `ServerSentEvent`,
            bytes that are already encoded, a pydantic model, which is sent as its JSON,
            or anything else through ``str()``; but no event of another library.
        status_code: The status; 200 by default.
        headers: A mapping, or pairs; ``Cache-Control: no-store`` and
            ``X-Accel-Buffering: no`` are added unless given.
        media_type: The content type, ``text/event-stream`` by default.
        background: Run after the stream, except after an error or a cancellation.
        ping: Seconds without a write after which a ping is sent; 15 by default, 0
            for none.
        sep: What ends a line: CRLF by default, CR or LF; for a subscription that of its
            hub.
        ping_message_factory: Returns the `ServerSentEvent` to send as a ping, by
            default a comment; sync or async. Also called once before the headers
            are sent, to find a mistake in time.
        data_sender_callable: An async callable without arguments that runs beside
            the stream, to fill a channel given as ``content``; cancelled when that
            has ended.
        send_timeout: Seconds that one send to the client may take before the
            connection is broken, or over HTTP/2 the stream; None (default) for any
            time. It sees a client that does not read, not one whose buffers, and the
            kernel's, can still take what there is.
        tcp_user_timeout: Seconds that the kernel gives a peer which acknowledges
            nothing, because it has vanished or does not read; 0 for the system's
            own idea. By default twice the ``send_timeout``, at least 30, and 0 without
            one. Linux, and servers whose socket can be reached; it stays for the life
            of the connection.
        max_buffer_size: How many items a producer's channel holds; 16 by default.
            Give more to burst with ``send_nowait``.
        preflight: Whether the producer also takes ``task_status``, as with
            ``nursery.start``: the headers wait for ``task_status.started()``, and
            an exception before that is an ordinary HTTP error.
        on_close: Called once with the `CloseReason`, after the producer has stopped;
            sync or async, shielded from cancellation.
        cleanup_timeout: Seconds that closing the content, and ``on_close``, may
            each take; 5 by default.
        max_age: Seconds after which the stream ends as if the server drained,
            shortened at random by up to a tenth; None (default) for never.
        retry: The reconnection time in milliseconds to send first, or None.
        farewell: The event to send last when the server drains or the stream
            expires. Its ``retry``, 3000 if it has none, is spread at random by a
            third, so that not all clients reconnect at once.
        sync_limit: A ``CapacityLimiter`` for the threads of an iterable; by
            default one of 40 threads for all streams of the run. On asyncio a
            thread that was abandoned does not count.
        instrument: An `Instrument` to tell of this stream.
        limit: A `ConnectionLimit` to take a slot of.
        limit_key: Whose slot it is: a user's id, an address.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if it is out of range.

    Example::

        async def ticks(send):
            for n in range(10):
                await send.send(ServerSentEvent(n, id=n))
                await trio.sleep(1)

        async def endpoint(request):
            return EventSourceResponse(ticks, send_timeout=5)
    """

    media_type: str = "text/event-stream"
    raw_headers: list[tuple[bytes, bytes]]

    def __init__(
        self,
        content: Producer | AsyncIterable[object] | Iterable[object],
        status_code: int = 200,
        headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]] | None = None,
        media_type: str = "text/event-stream",
        background: BackgroundTask | None = None,
        *,
        ping: float = DEFAULT_PING,
        sep: str = DEFAULT_SEPARATOR,
        ping_message_factory: Callable[[], ServerSentEvent | Awaitable[ServerSentEvent]]
        | None = None,
        data_sender_callable: Callable[[], Awaitable[object]] | None = None,
        send_timeout: float | None = None,
        tcp_user_timeout: float | None = None,
        max_buffer_size: float = DEFAULT_MAX_BUFFER_SIZE,
        preflight: bool = False,
        on_close: Callable[[CloseReason], object] | None = None,
        cleanup_timeout: float = DEFAULT_CLEANUP_TIMEOUT,
        max_age: float | None = None,
        retry: int | None = None,
        farewell: ServerSentEvent | None = None,
        sync_limit: Any = None,
        instrument: Instrument | None = None,
        limit: ConnectionLimit | None = None,
        limit_key: Hashable = None,
    ) -> None:
        check_status(status_code)
        check_media_type(media_type)
        check_callable("background", background)
        if send_timeout is not None:
            check_seconds("send_timeout", send_timeout, positive=True)
        if tcp_user_timeout is None:
            tcp_user_timeout = _default_user_timeout(send_timeout)
        check_seconds("tcp_user_timeout", tcp_user_timeout)
        if instrument is not None:
            check_instance("instrument", instrument, Instrument)
        _check_limit(limit, limit_key)
        self._content = Content(content_of_endpoint(content), preflight=preflight)
        sep = self._content.separator(sep)
        self._called = False
        self._new_stream: Callable[..., Stream] = Stream
        self._send_timeout = send_timeout
        self._tcp_user_timeout = tcp_user_timeout
        self._instrument = instrument
        self._limit = limit
        self._limit_key = limit_key
        self._source_options = SourceOptions(
            sep=sep,
            max_buffer_size=max_buffer_size,
            preflight=preflight,
            cleanup_timeout=cleanup_timeout,
            sync_limit=sync_limit,
        )
        self._options = StreamOptions(
            sep=sep,
            ping=ping,
            ping_message_factory=ping_message_factory,
            data_sender_callable=data_sender_callable,
            on_close=on_close,
            cleanup_timeout=cleanup_timeout,
            max_age=max_age,
            retry=retry,
            farewell=farewell,
        )
        self.status_code = status_code
        self.media_type = media_type
        self.background = background
        self._set_headers(headers)

    def _set_headers(self, headers: object) -> None:
        self.raw_headers = header_pairs(headers)
        content_type = self.media_type
        if content_type.startswith("text/") and "charset=" not in content_type:
            content_type += "; charset=utf-8"
        given = {name for name, _ in self.raw_headers}
        for name, value in (
            (b"content-type", content_type.encode("latin-1")),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ):
            if name not in given:
                self.raw_headers.append((name, value))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream: what Starlette calls.

        Blocks until the stream has ended and nothing of it is left.

        Raises:
            Exception: what the content raised, as itself.
            HTTPException: before anything is sent: 403 if ``authorize`` of a subscription
                refuses, 503 if there is no slot.
            RuntimeError: if the response is called again and its content can be
                read only once.
        """
        if self._called and self._content.once:
            raise RuntimeError(
                "this response was called before, and its content can be read only once; "
                "return a new EventSourceResponse for each request"
            )
        self._called = True
        limit, streams = self._limit, run_streams()
        if limit is None or not _wants_stream(scope) or streams.is_draining():
            await self._serve(self._open_stream(scope, receive, send, streams))
        elif limit.take(self._limit_key):
            try:
                await self._serve(self._open_stream(scope, receive, send, streams))
            finally:
                limit.give_back(self._limit_key)
        else:
            await self._serve(self._open_stream(scope, receive, send, streams, full=True))
        if self.background is not None:
            await self.background()

    async def _serve(self, stream: Stream) -> None:
        try:
            await stream.serve()
        except AccessDeniedError as error:
            if stream.started:
                raise
            raise HTTPException(403) from error
        finally:
            stream.streams.remove(stream)

    async def _ask(self, scope: Scope) -> None:
        """Raise if a GET would be refused."""
        if self._limit is not None and not self._limit.has_room(self._limit_key):
            await self._refuse(self._limit, scope)
        if self._content.authorize is not None:
            await self._content.authorize()

    async def _refuse(self, limit: ConnectionLimit, scope: Scope) -> None:
        """Raise, unless it is to be said by an event that there is no slot."""
        answer = limit.answer(scope)
        if isinstance(answer, Exception):
            raise answer
        if not answer:
            seconds = ceil(spread_reconnection_time(limit.retry) / 1000)
            raise HTTPException(503, "Too many event streams", {"Retry-After": str(seconds)})

    def _open_stream(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        streams: RunStreams,
        *,
        full: bool = False,
    ) -> Stream:
        runtime = current_runtime()
        source = self._content.open(runtime, self._source_options)
        nothing = partial(NoSource, runtime, source)
        observer = Observer(self._instrument, scope, runtime)
        status, options, multiplexed = self.status_code, self._options, False
        timeout = self._send_timeout
        reason: CloseReason | None = None
        if scope["type"] == "websocket":
            send, status = _deny(scope, send), 403
            source, options = nothing(), options.without_events()
        elif scope["method"].upper() == "HEAD":
            source, options = nothing(ask=partial(self._ask, scope)), options.without_events()
        elif streams.is_draining():
            # Softly: an error status would stop a browser for good.
            status, reason, timeout = 200, CloseReason.SHUTDOWN, FAREWELL_TIMEOUT
            source, options = nothing(), options.for_refusal(options.retry)
        elif full and self._limit is not None:
            status, reason, timeout = 200, CloseReason.OVERLOADED, FAREWELL_TIMEOUT
            ask = partial(self._refuse, self._limit, scope)
            source = nothing(ask=ask, said=OVERLOADED.encode(options.sep))
            options = options.for_refusal(self._limit.retry)
        else:
            multiplexed = scope.get("http_version", "1.1") >= "2"
        connection = find_connection(runtime, scope, receive, send, self._tcp_user_timeout)
        writer = Writer(runtime, send, timeout, observer, status, self.raw_headers, connection)
        stream = self._new_stream(
            runtime,
            source,
            writer,
            receive,
            connection,
            observer,
            options,
            streams,
            multiplexed=multiplexed,
        )
        stream.reason = reason
        if reason is None:
            streams.add(stream)
        return stream


def _wants_stream(scope: Scope) -> bool:
    return bool(scope["type"] == "http" and scope["method"].upper() != "HEAD")


def _check_limit(limit: object, key: object) -> None:
    if limit is None:
        if key is not None:
            raise ValueError("limit_key is of no use without limit")
        return
    check_instance("limit", limit, ConnectionLimit)
    check_key("limit_key", key)
    if key is None and cast("ConnectionLimit", limit).needs_key:
        raise ValueError("limit_key must be given: the limit counts the streams of each key")


def _default_user_timeout(send_timeout: float | None) -> float:
    if send_timeout is None:
        return 0
    return max(2 * send_timeout, SHORTEST_USER_TIMEOUT)


def _deny(scope: Scope, send: Send) -> Send:
    """Answer a WebSocket handshake: by a response where the server can, else by closing."""
    can_respond = "websocket.http.response" in (scope.get("extensions") or ())

    async def deny(message: Message) -> None:
        if can_respond:
            await send({**message, "type": f"websocket.{message['type']}"})
        elif message["type"] == "http.response.start":
            await send({"type": "websocket.close"})

    return deny
