"""A client of an ASGI app, in-process: what an app is called with, and what it answered."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import inf
from typing import Any, Self, TypedDict
from urllib.parse import quote, unquote

import anyio
import anyio.lowlevel

from .._arguments import check_instance, check_method, check_seconds, header_pairs
from .._decoder import EventStreamDecoder, MessageEvent
from .._runtime import current_runtime

# What uvicorn takes before it holds an app up.
DEFAULT_BUFFER_SIZE = 65536

# RFC 3986, section 2; what is escaped already stays so.
_URL_CHARACTERS = "%:/?#[]@!$&'()*+,;="

ASGIApp = Callable[[Any, Any, Any], Awaitable[Any]]


class ClientOptions(TypedDict, total=False):
    """The options of `StreamClient`, which documents them."""

    method: str
    headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]] | None
    last_event_id: str | None
    body: bytes
    body_complete: bool
    http_version: str
    scope: Mapping[str, Any] | None
    buffer_size: float
    slow: float
    freeze_at: int | None
    fail_at: int | None
    error: Exception | None


class StreamClient:
    """One request, and what an app answers to it, without a server.

    Its `asgi_receive` and `asgi_send` are what the app is called with. A send blocks while
    more than ``buffer_size`` bytes have not been read, as a server's does; `receive` reads.
    They refuse what servers refuse: two sends at once, messages out of order.

    Args:
        path: The path, with or without a query.
        method: ``GET`` by default.
        headers: A mapping, or pairs.
        last_event_id: The ``Last-Event-ID`` header.
        body: The body of the request.
        body_complete: Whether that is all of it; a client that has sent half of its body is
            silent then.
        http_version: ``"1.1"`` by default.
        scope: More of the ASGI scope: ``state``, for one.
        buffer_size: How many bytes are taken that nobody reads; 64 KiB by default,
            ``math.inf`` for a client that is always reading.
        slow: Seconds that each send takes; 0 by default.
        freeze_at: The number of the send that does not return, 0 being the start.
        fail_at: The number of the send that raises ``error``.
        error: What it raises; an ``OSError`` by default.
    """

    scope: dict[str, Any]
    """What the app is called with."""
    incoming: list[dict[str, Any]]
    """What the app has yet to receive before a disconnect: the body of the request."""
    messages: list[dict[str, Any]]
    """What the app has sent."""
    times: list[float]
    """The moment of each of them, by the clock of the event loop."""
    frozen: anyio.Event
    """Set when there is a send that does not return."""
    gone: anyio.Event
    """Set when the client has left; `disconnect` sets it."""
    sends: int
    """How many sends have begun."""
    ended: anyio.Event
    """Set when the app has returned."""
    error: Exception | None
    """What the app has raised, if it was called by `run`."""

    def __init__(
        self,
        path: str = "/",
        *,
        method: str = "GET",
        headers: Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]] | None = None,
        last_event_id: str | None = None,
        body: bytes = b"",
        body_complete: bool = True,
        http_version: str = "1.1",
        scope: Mapping[str, Any] | None = None,
        buffer_size: float = DEFAULT_BUFFER_SIZE,
        slow: float = 0,
        freeze_at: int | None = None,
        fail_at: int | None = None,
        error: Exception | None = None,
    ) -> None:
        check_instance("path", path, str)
        check_instance("body", body, bytes)
        check_method(method)
        check_seconds("slow", slow)
        if buffer_size != inf:
            check_seconds("buffer_size", buffer_size)
        pairs = header_pairs(headers, of_request=True)
        names = {name for name, _ in pairs}
        if b"host" not in names:
            pairs.append((b"host", b"testserver"))
        if body and body_complete and b"content-length" not in names:
            pairs.append((b"content-length", str(len(body)).encode()))
        if last_event_id is not None:
            pairs.append((b"last-event-id", last_event_id.encode()))
        self.scope = {**_scope(path, method, http_version), "headers": pairs, **(scope or {})}
        self.slow = slow
        self.messages = []
        self.times = []
        self.frozen = anyio.Event()
        self.gone = anyio.Event()
        self.ended = anyio.Event()
        self.sends = 0
        self.incoming = [{"type": "http.request", "body": body, "more_body": not body_complete}]
        self.freeze_at = freeze_at
        self.fail_at = fail_at
        self._buffer_size = buffer_size
        self._error = error or OSError("the connection is gone")
        self._receiving = self._sending = False
        self._changed = anyio.Event()
        self.error = None
        self._comments: deque[str] = deque()
        self._decoder = EventStreamDecoder(on_comment=self._comments.append)
        self._unread: deque[bytes] = deque()
        self._unread_size = 0
        self._events: deque[MessageEvent] = deque()

    # What it has been sent

    @property
    def status(self) -> int | None:
        """The status, None while there is none."""
        return self.messages[0].get("status") if self.messages else None

    @property
    def headers(self) -> dict[str, str]:
        """The headers, their names in lower case."""
        return {
            name.decode().lower(): value.decode("latin-1")
            for name, value in self._start.get("headers", [])
        }

    @property
    def chunks(self) -> list[bytes]:
        """The bodies that carry anything."""
        return [message["body"] for message in self.messages[1:] if message.get("body")]

    @property
    def body(self) -> bytes:
        """All of the body that has come, read or not."""
        return b"".join(self.chunks)

    @property
    def events(self) -> list[MessageEvent]:
        """All events that have come, read or not."""
        return EventStreamDecoder().receive_data(self.body)

    @property
    def comments(self) -> list[str]:
        """All comments that have come, read or not."""
        comments: list[str] = []
        EventStreamDecoder(on_comment=comments.append).receive_data(self.body)
        return comments

    @property
    def complete(self) -> bool:
        """Whether the final body has come."""
        return len(self.messages) > 1 and not self.messages[-1].get("more_body", False)

    # What it does

    async def call(self, app: ASGIApp) -> None:
        """Call the app, until it returns."""
        try:
            await app(self.scope, self.asgi_receive, self.asgi_send)
        finally:
            self.ended.set()
            self._note_change()

    async def run(self, app: ASGIApp) -> None:
        """Call the app, until it returns; what it raises is `error`."""
        try:
            await self.call(app)
        except Exception as error:
            self.error = error

    async def started(self) -> None:
        """Wait for the status and the headers; or until there will be none."""
        await self.wait_for(
            lambda client: bool(client.messages) or client.ended.is_set() or client.frozen.is_set()
        )

    async def receive(self) -> MessageEvent:
        """Read the next event; block until there is one. Always a checkpoint.

        Raises:
            EndOfChannel: (trio; anyio's ``EndOfStream`` on asyncio) at the end of the body, or
                if the app has returned without one.
        """
        if self._events:
            await anyio.lowlevel.checkpoint()
        while not self._events:
            await self._read()
        return self._events.popleft()

    async def receive_comment(self) -> str:
        """Read the next comment, a ping for one; block until there is one. Always a checkpoint.

        Events that come before it are there for `receive`, and comments for this method.

        Raises:
            EndOfChannel: as `receive` does.
        """
        if self._comments:
            await anyio.lowlevel.checkpoint()
        while not self._comments:
            await self._read()
        return self._comments.popleft()

    def __aiter__(self) -> Self:
        """Iterate over the events, until the end."""
        return self

    async def __anext__(self) -> MessageEvent:
        """Return the next event, as `receive` does."""
        try:
            return await self.receive()
        except current_runtime().EndOfChannel:
            raise StopAsyncIteration from None

    async def receive_bytes(self) -> bytes:
        """Read a piece of the body; block until there is one. Nothing is the end."""
        await anyio.lowlevel.checkpoint()
        while not self._unread:
            if self.complete or self.ended.is_set():
                return b""
            await self._changed.wait()
        body = self._unread.popleft()
        self._unread_size -= len(body)
        self._note_change()
        return body

    async def read_body(self) -> bytes:
        """Read to the end, and return all of the body."""
        while await self.receive_bytes():
            pass
        return self.body

    async def wait_for(self, condition: Callable[[Self], bool]) -> None:
        """Wait until something is true, looking whenever the app has sent something.

        Raises:
            EndOfChannel: as `receive` does, if the app has returned and it is not.
        """
        while not condition(self):
            if self.ended.is_set():
                raise current_runtime().EndOfChannel
            await self._changed.wait()

    def freeze(self) -> None:
        """Read no more: a send that begins from now on does not return.

        Not even when the client leaves, as with a server that shields what it writes.
        """
        self.freeze_at = self.sends

    def disconnect(self) -> None:
        """Leave: the app receives a disconnect, and what it sends from now on does not block."""
        self.gone.set()
        self._note_change()

    # What the app is called with

    async def asgi_receive(self) -> dict[str, Any]:
        """Be ASGI's ``receive``: the request, and then, when that has come, a disconnect."""
        assert not self._receiving, "two tasks call receive() at once"
        self._receiving = True
        try:
            if self.incoming:
                await anyio.lowlevel.checkpoint()
                return self.incoming.pop(0)
            await self.gone.wait()
            return {"type": "http.disconnect"}
        finally:
            self._receiving = False

    async def asgi_send(self, message: dict[str, Any]) -> None:
        """Be ASGI's ``send``."""
        assert not self._sending, "two tasks call send() at once"
        self._sending = True
        number, self.sends = self.sends, self.sends + 1
        try:
            if number == self.fail_at:
                raise self._error
            if self.freeze_at is not None and number >= self.freeze_at:
                self.frozen.set()
                self._note_change()
                await self.block()
            await anyio.sleep(self.slow)
            self._take(message)
            while self._unread_size > self._buffer_size and not self.gone.is_set():
                await self._changed.wait()
        finally:
            self._sending = False

    async def block(self) -> None:
        """Be the send that does not return."""
        await anyio.sleep_forever()

    @property
    def _start(self) -> dict[str, Any]:
        assert self.messages, "nothing has been sent yet"
        return self.messages[0]

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"].removeprefix("websocket.")
        if kind.startswith("http.response."):
            expected = "http.response.body" if self.messages else "http.response.start"
            assert kind == expected, f"{kind} is sent, not {expected}"
        assert not self.complete, "something is sent after the final body"
        self.messages.append(message)
        self.times.append(anyio.current_time())
        if body := message.get("body"):
            self._unread.append(body)
            self._unread_size += len(body)
        self._note_change()

    async def _read(self) -> None:
        body = await self.receive_bytes()
        if not body:
            raise current_runtime().EndOfChannel
        self._events += self._decoder.receive_data(body)
        self._decoder.receive_data(b"")  # raises if there was too large an event

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


def _scope(path: str, method: str, http_version: str) -> dict[str, Any]:
    path, _, query = quote(path, safe=_URL_CHARACTERS).partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": http_version,
        "method": method.upper(),
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
        "extensions": {},
    }
