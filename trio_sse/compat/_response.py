"""The response that sse-starlette's users know."""

import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Any, cast

from starlette.background import BackgroundTask
from starlette.concurrency import iterate_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from .._arguments import check_callable
from .._close_reason import CloseReason
from .._drain import DEFAULT_GRACE, run_streams
from .._event import ServerSentEvent as NativeEvent
from .._exceptions import SendTimeoutError as SendTimeoutError
from .._fastapi import unwrapped
from .._runtime import Event
from .._source import Content as CheckedContent
from .._subscription import Subscription
from ._event import AsyncContentStream, Content, ContentStream, ensure_bytes
from ._items import AsyncItems, Sender, Written, sync_items
from ._status import AppStatus
from ._stream import LeavingStream, NativeResponse

logger = logging.getLogger("trio_sse.compat")

# Where there, None and infinity mean: as long as it takes.
_A_YEAR = 365 * 86400.0


class EventSourceResponse(Response):
    """Stream events to a client, as sse-starlette's class of this name is asked to.

    Its attributes may be changed until it is called. The next item of the content is asked for
    when the one before has been sent, each in a message of its own.

    Args:
        content: An async iterable, or an iterable, which is run in worker threads.
        status_code: The status; 200 by default.
        headers: More headers; ``Cache-Control`` is ``no-store`` unless given,
            ``X-Accel-Buffering`` is ``no``.
        media_type: The content type, ``text/event-stream`` by default.
        background: Run after the stream, except after an error or a cancellation.
        ping: Seconds without a write after which a ping is sent; 15 by default, 0 for none.
        sep: What ends a line: CRLF by default, CR or LF.
        ping_message_factory: Returns what to send as a ping; by default a comment.
        data_sender_callable: An async callable that runs beside the stream, to fill a channel
            given as ``content``.
        send_timeout: Seconds that one send may take; None (default) for any time.
        client_close_handler_callable: An async callable, called with the ASGI message when the
            client has left.
        shutdown_event: Set when a shutdown begins, for the generator to see.
        shutdown_grace_period: Seconds that the generator then has until it is cancelled; 0 by
            default. Keep it below the graceful timeout of the server.
        cleanup_timeout: Seconds that closing the generator may take; 30 by default, None for
            a year.

    Raises:
        ValueError: if ``sep``, ``ping``, ``shutdown_grace_period`` or ``cleanup_timeout`` is
            out of range.
        TypeError: if ``ping`` is no number.

    Example::

        async def endpoint(request):
            async def ticks():
                for n in range(10):
                    yield {"data": n, "id": str(n)}
                    await anyio.sleep(1)

            return EventSourceResponse(ticks(), send_timeout=5)
    """

    DEFAULT_PING_INTERVAL = 15
    DEFAULT_SEPARATOR = "\r\n"
    DEFAULT_CLEANUP_TIMEOUT = 30.0

    media_type: str | None = "text/event-stream"

    active: bool
    """Whether the stream has yet to end."""

    def __init__(
        self,
        content: ContentStream | Iterable[Content],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = "text/event-stream",
        background: BackgroundTask | None = None,
        ping: float | None = None,
        sep: str | None = None,
        ping_message_factory: Callable[[], Content] | None = None,
        data_sender_callable: Callable[[], Awaitable[object]] | None = None,
        send_timeout: float | None = None,
        client_close_handler_callable: Callable[[Message], Awaitable[object]] | None = None,
        shutdown_event: Event | None = None,
        shutdown_grace_period: float = 0,
        cleanup_timeout: float | None = DEFAULT_CLEANUP_TIMEOUT,
    ) -> None:
        if sep not in (None, "\r\n", "\r", "\n"):
            raise ValueError(f"sep must be one of: \\r\\n, \\r, \\n, got: {sep}")
        if shutdown_grace_period < 0:
            raise ValueError("shutdown_grace_period must be >= 0")
        if cleanup_timeout is not None and cleanup_timeout < 0:
            raise ValueError("cleanup_timeout must be >= 0")
        self.status_code = status_code
        self.media_type = self.media_type if media_type is None else media_type
        self.background = background
        self.ping_interval = self.DEFAULT_PING_INTERVAL if ping is None else ping
        self.sep = sep or self.DEFAULT_SEPARATOR
        self.ping_message_factory = ping_message_factory
        self.data_sender_callable = data_sender_callable
        self.send_timeout = send_timeout
        self.client_close_handler_callable = client_close_handler_callable
        self.active = True
        self._content: Any = content
        self._shutdown_event = shutdown_event
        self._shutdown_grace_period = shutdown_grace_period
        self._cleanup_timeout = _A_YEAR if cleanup_timeout in (None, inf) else cleanup_timeout
        self._set_headers(headers)

    def _set_headers(self, given: Mapping[str, str] | None) -> None:
        headers = MutableHeaders()
        headers.update(given or {})
        headers.setdefault("Cache-Control", "no-store")
        headers["Connection"] = "keep-alive"
        headers["X-Accel-Buffering"] = "no"
        self.init_headers(headers)

    @property
    def body_iterator(self) -> Any:
        """The content as an async iterable; what is assigned is streamed in its place."""
        content = self._content
        if not isinstance(content, AsyncIterable):
            content = self._content = iterate_in_threadpool(content)
        return cast("Any", content)

    @body_iterator.setter
    def body_iterator(self, content: AsyncContentStream) -> None:
        self._content = content

    @property
    def ping_interval(self) -> float:
        """Seconds without a write after which a ping is sent; 0 for none."""
        return self._ping_interval

    @ping_interval.setter
    def ping_interval(self, value: float) -> None:
        if not isinstance(value, int | float):
            raise TypeError("ping interval must be int or float")
        if value < 0:
            raise ValueError("ping interval must be >= 0 (0 disables ping)")
        self._ping_interval = value

    def enable_compression(self, force: bool = False) -> None:
        """Raise `NotImplementedError`."""
        raise NotImplementedError("Compression is not supported for SSE streams.")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream: what Starlette calls.

        Blocks until the stream has ended and nothing of it is left.

        Raises:
            SendTimeoutError: if a send took longer than ``send_timeout``.
            Exception: what the content, the handler, or ``send`` raised, as itself.
        """
        reasons: list[CloseReason] = []
        sender = Sender(send)
        response = self._translate(scope, reasons.append)
        if AppStatus.should_exit:
            run_streams().begin_draining(DEFAULT_GRACE)
        try:
            await response(scope, receive, sender)
        finally:
            self.active = False
        sender.check()
        if CloseReason.SEND_TIMEOUT in reasons:
            raise SendTimeoutError(f"a send took longer than {self.send_timeout} seconds")
        if CloseReason.CLIENT_DISCONNECTED in reasons and self.client_close_handler_callable:
            await self.client_close_handler_callable({"type": "http.disconnect"})
        if self.background is not None:
            await self.background()

    def _translate(self, scope: Scope, on_close: Callable[[CloseReason], None]) -> NativeResponse:
        check_callable("ping_message_factory", self.ping_message_factory)
        check_callable("client_close_handler_callable", self.client_close_handler_callable)
        single = scope.get("http_version", "1.1") < "2"
        return NativeResponse(
            partial(LeavingStream, self._shutdown_event, self._shutdown_grace_period),
            self._encoded(),
            self.status_code,
            [pair for pair in self.raw_headers if single or pair[0] != b"connection"],
            ping=0 if self.ping_interval == inf else float(self.ping_interval),
            sep=self.sep,
            ping_message_factory=self._ping,
            data_sender_callable=self.data_sender_callable,
            send_timeout=None if self.send_timeout == inf else self.send_timeout,
            on_close=on_close,
            cleanup_timeout=self._cleanup_timeout,
        )

    def _encoded(self) -> Any:
        """Return the content with its items encoded; those of a subscription are."""
        content: Any = unwrapped(self._content)
        CheckedContent(content)
        if isinstance(content, Subscription):
            return content
        if isinstance(content, AsyncIterable):
            return AsyncItems(cast("Any", content), self._encode)
        if isinstance(content, Iterable):
            return sync_items(cast("Any", content), self._encode)
        raise TypeError(
            f"content is {type(content).__name__!r}: it must be an async iterable or an iterable; "
            "a producer is for trio_sse.EventSourceResponse"
        )

    def _encode(self, item: Content) -> bytes:
        chunk = ensure_bytes(item, self.sep)
        logger.debug("chunk: %s", chunk)
        return chunk

    def _ping(self) -> NativeEvent:
        if self.ping_message_factory is None:
            return NativeEvent(comment=f"ping - {datetime.now(UTC)}")
        return Written(ensure_bytes(self.ping_message_factory(), self.sep))
