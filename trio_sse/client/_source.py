"""A client that comes back, as a browser's EventSource: WHATWG HTML, section 9.2."""

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any, Self

from .._arguments import check_instance, check_plain_function, check_seconds
from .._decoder import EventStreamDecoder, MessageEvent
from .._runtime import Event, Runtime
from ._errors import EventSourceError, StallError
from ._http import Requests, Response, is_futile, without_credentials
from ._reconnection import Reconnection, seconds_of_retry_after

# What of the body of an answer that is no event stream is read: enough for what an
# application says of an error.
EXCERPT_SIZE = 1024
EXCERPT_TIMEOUT = 1.0


# Pieces of a body that may be read before a read waits for the network: far more than any
# library has lying about.
MOST_BUFFERED = 1000


class ReadyState(Enum):
    """What an `EventSource` is doing: WHATWG HTML, section 9.2.2."""

    CONNECTING = "connecting"
    """It connects, or waits to."""
    OPEN = "open"
    """There is a stream."""
    CLOSED = "closed"
    """It is over."""


@dataclass(frozen=True, slots=True)
class EventSourceStatistics:
    """What `EventSource.statistics` returns."""

    attempts: int
    """How often it has tried to connect."""
    streams: int
    """How often that opened a stream."""
    events: int
    """Events that were received."""
    comments: int
    """Comments that were received."""
    bytes: int
    """Bytes of streams that were received."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How to read a stream; `open_event_source` documents each."""

    repeat: bool
    stall_timeout: float | None
    max_event_size: int
    on_comment: Callable[[str], object] | None
    on_state: Callable[["EventSource"], object] | None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        check_instance("repeat", self.repeat, bool)
        if self.stall_timeout is not None:
            check_seconds("stall_timeout", self.stall_timeout, positive=True)
        check_plain_function("on_comment", self.on_comment)
        check_plain_function("on_state", self.on_state)
        EventStreamDecoder(max_event_size=self.max_event_size)


class EventSource:
    """The events of a URL, over any number of connections; `open_event_source` opens it.

    One task reads, and reads on when what it has read was received: a receiver that is slow
    stops reading the socket. Iterate over it, or call `receive`.

    What can come out: the error of the last attempt if there is to be no other, from this
    package (`EventSourceError`, `StallError`) or from the HTTP library; and
    `EventTooLargeError`; and what one of your functions raises. Each of them once, when it is
    received; then it is over. If nobody receives it, it is only in `last_error`.
    """

    state: ReadyState
    """What it is doing."""
    attempt: int
    """Which attempt in a row to open a stream this is, from 1."""
    last_error: Exception | None
    """What has ended the last stream, or made the last attempt fail; None for neither."""
    delay: float
    """How many seconds there are between the last stream and the next attempt."""
    last_event_id: str
    """The last event ID of the event that was received last."""

    def __init__(
        self,
        runtime: Runtime,
        library: Any,
        requests: Requests,
        reconnection: Reconnection,
        options: SourceOptions,
        last_event_id: str,
    ) -> None:
        self.state = ReadyState.CONNECTING
        self.attempt = 1
        self.last_error = None
        self.delay = 0.0
        self.last_event_id = last_event_id
        self._runtime = runtime
        self._library = library
        self._requests = requests
        self._reconnection = reconnection
        self._options = options
        self._stream_id = last_event_id  # what the next request carries
        self._over = False
        self._scope = runtime.CancelScope()
        self._closed: Event = runtime.Event()
        self._error: Exception | None = None
        self._events: deque[MessageEvent] = deque()
        self._news: Event | None = None
        self._taken: Event | None = None
        self._attempts = self._streams = self._received = self._comments = self._bytes = 0

    @property
    def url(self) -> str:
        """What is asked, without a password: what was given, or where it has moved to for good."""
        return without_credentials(self._requests.target.url)

    @property
    def reconnection_time(self) -> float:
        """The reconnection time in seconds: the server's, if it has set one."""
        return self._reconnection.time

    def statistics(self) -> EventSourceStatistics:
        """Return what it has done."""
        return EventSourceStatistics(
            self._attempts, self._streams, self._received, self._comments, self._bytes
        )

    async def receive(self) -> MessageEvent:
        """Return the next event; block until there is one. Always a checkpoint.

        Cancelling it loses nothing, and does not close the connection.

        Raises:
            EndOfChannel: (trio; anyio's ``EndOfStream`` on asyncio) if it is over: the server
                said so by 204, the request is not to be repeated, or it was closed.
            Exception: what has ended it, the first time.
        """
        await self._runtime.checkpoint()
        while not self._events:
            if self.state is ReadyState.CLOSED:
                error, self._error = self._error, None
                try:
                    raise self._runtime.EndOfChannel if error is None else error
                finally:
                    del error
            if self._news is None:
                self._news = self._runtime.Event()
            await self._news.wait()
        event = self._events.popleft()
        if not self._events and self._taken is not None:
            self._taken.set()
        self.last_event_id = event.last_event_id
        return event

    def __aiter__(self) -> Self:
        """Iterate over the events, until it is over."""
        return self

    async def __anext__(self) -> MessageEvent:
        """Return the next event, as `receive` does."""
        try:
            return await self.receive()
        except self._runtime.EndOfChannel:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """End it now: drop what was not received, and close the connection."""
        self._scope.cancel()
        await self._closed.wait()

    async def run(self) -> None:
        """Connect, read, and connect again, until it is over or closed."""
        try:
            with self._scope:
                await self._run()
        except Exception as error:
            self.last_error = self._error = error
        finally:
            self._finish()

    def _finish(self) -> None:
        self._events.clear()
        try:
            self._enter(ReadyState.CLOSED)
        except Exception as error:  # of the user's function
            self._error = self._error or error
        self._closed.set()

    async def _run(self) -> None:
        while True:
            error = await self._attempt()
            if self._over:
                return
            await self._wait(error)

    async def _wait(self, error: Exception | None) -> None:
        self.attempt = self._reconnection.failures + 1
        self.last_error = error
        self.delay = self._reconnection.delay(error, self._runtime.current_time())
        self._enter(ReadyState.CONNECTING)
        await self._runtime.sleep(self.delay)

    async def _attempt(self) -> Exception | None:
        """Read one stream to its end; return what went wrong, unless that is the end of all."""
        self._attempts += 1
        library = self._library
        try:
            response = await self._in_time(lambda: self._requests.open(self._stream_id))
        except (library.LocalProtocolError, library.UnsupportedProtocol):
            raise
        except (library.RequestError, StallError) as error:
            if is_futile(error):
                raise
            return self._failed(error)
        async with self._reading(response) as chunks:
            if response.status_code == 204:
                self._over = True
                return None
            refusal = await self._refusal(response, chunks)
            if refusal is None:
                return await self._read_stream(chunks)
        if not self._reconnection.retries(refusal.status):
            raise refusal
        return self._failed(refusal)

    def _failed(self, error: Exception) -> Exception:
        if not self._options.repeat:
            raise error
        self._reconnection.failed(error)
        return error

    async def _read_stream(self, chunks: AsyncIterator[bytes]) -> Exception | None:
        decoder = EventStreamDecoder(
            max_event_size=self._options.max_event_size,
            on_comment=self._note_comment,
            last_event_id=self._stream_id,
        )
        self._streams += 1
        self._reconnection.opened()
        self._enter(ReadyState.OPEN)
        try:
            while isinstance(chunk := await self._next(chunks), bytes) and chunk:
                await self._take(chunk, decoder)
        finally:
            self._stream_id = decoder.last_event_id
            self._reconnection.ended(self._runtime.current_time())
        error = None if isinstance(chunk, bytes) else chunk
        if not self._options.repeat:
            self._over = True
            if error is not None:
                raise error
        return error

    async def _next(self, chunks: AsyncIterator[bytes]) -> bytes | Exception:
        """Return the next piece of the body, nothing at its end, or what has broken it."""
        try:
            chunk: bytes = await self._in_time(lambda: anext(chunks, b""))
        except (self._library.RequestError, StallError) as error:
            return error
        return chunk

    async def _take(self, chunk: bytes, decoder: EventStreamDecoder) -> None:
        self._bytes += len(chunk)
        events = decoder.receive_data(chunk)
        if decoder.reconnection_time is not None:
            self._reconnection.set_time(decoder.reconnection_time)
        await self._hand_over(events)
        if not events:  # a body that never waits must not keep all others waiting
            await self._runtime.checkpoint()
        decoder.receive_data(b"")  # raises if there was too large an event

    async def _hand_over(self, events: list[MessageEvent]) -> None:
        if events:
            self._received += len(events)
            self._events.extend(events)
            self._taken = self._runtime.Event()
            self._wake()
            await self._taken.wait()

    async def _in_time(self, function: Callable[[], Any]) -> Any:
        runtime, seconds = self._runtime, self._options.stall_timeout
        deadline = inf if seconds is None else runtime.current_time() + seconds
        with runtime.CancelScope(deadline=deadline):
            return await function()
        raise StallError(f"nothing has come for {seconds} seconds")

    @asynccontextmanager
    async def _reading(self, response: Response) -> AsyncGenerator[AsyncIterator[bytes]]:
        chunks = response.aiter_bytes()
        try:
            yield chunks
        finally:
            await self._leave(response, chunks)

    async def _leave(self, response: Response, chunks: AsyncIterator[bytes]) -> None:
        # The iterator, and those that it reads from, are where they have handed out a chunk.
        # To close the outermost would leave the others to the garbage collector. So let a
        # cancellation find them all where they read.
        with suppress(Exception), self._runtime.CancelScope(shield=True) as scope:
            scope.cancel()
            for _ in range(MOST_BUFFERED):
                if await anext(chunks, None) is None:
                    break
        with suppress(self._library.RequestError), self._runtime.CancelScope(shield=True):
            await response.aclose()

    async def _refusal(
        self, response: Response, chunks: AsyncIterator[bytes]
    ) -> EventSourceError | None:
        """Return what is wrong with an answer that is no event stream."""
        if response.extensions.get("http_version") == b"HTTP/2":
            raise ValueError(
                "client: over HTTP/2 its library does not end a stream that is left; "
                "give an AsyncClient without http2=True"
            )
        content_type = str(response.headers.get("content-type", ""))
        essence = content_type.partition(";")[0].strip().lower()
        if response.status_code == 200 and essence == "text/event-stream":
            return None
        problem = "the answer is no event stream"
        if response.status_code == 200:
            problem += f" but {content_type!r}"
        return EventSourceError(
            problem,
            status=response.status_code,
            url=without_credentials(response.url),
            body=await self._excerpt(chunks),
            retry_after=seconds_of_retry_after(response.headers.get("retry-after")),
        )

    async def _excerpt(self, chunks: AsyncIterator[bytes]) -> bytes:
        body = b""
        deadline = self._runtime.current_time() + EXCERPT_TIMEOUT
        with suppress(self._library.RequestError), self._runtime.CancelScope(deadline=deadline):
            while len(body) < EXCERPT_SIZE and (chunk := await anext(chunks, b"")):
                body += chunk
        return body[:EXCERPT_SIZE]

    def _note_comment(self, text: str) -> None:
        self._comments += 1
        if self._options.on_comment is not None:
            self._options.on_comment(text)

    def _enter(self, state: ReadyState) -> None:
        self.state = state
        self._wake()
        if self._options.on_state is not None:
            self._options.on_state(self)

    def _wake(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None
