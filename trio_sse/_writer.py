"""Who may call ASGI ``send``: one task at a time, each call with a deadline."""

import logging
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from math import inf
from typing import Any

from ._fields import EVENT_ENDINGS, LONGEST_EVENT_ENDING
from ._instrument import Observer
from ._runtime import CancelScope, Event, Runtime
from ._transport import Connection

# What a send in flight gets to come to its end when its stream is cut: enough for one that
# is on its way, and little beside any timeout.
SEND_GRACE = 0.1

# What the reset of one stream gets on a connection that others share. If the peer has then
# taken nothing at all since its stream was cut, nothing else will ever pass either.
RESET_TIMEOUT = 0.2

_BODY = "http.response.body"

logger = logging.getLogger("trio_sse")


class ClientGone(Exception):
    """ASGI ``send`` raised: the client is not there any more."""


class Writer:
    """Owns ASGI ``send`` for one response.

    The deadline of the send in flight is that of one cancel scope, armed again
    for each send, which costs less than a scope for each and ends the whole
    stream when it passes. And who streams hardly ever meets a ping, so there is no
    lock, which would have to be taken and released each time.

    Args:
        runtime: The runtime of the stream.
        send: ASGI's ``send``.
        timeout: Seconds that one send may take, or None.
        observer: Told of what was sent.
        status: The status to start with.
        headers: The headers to start with; copied, since middlewares add theirs.
        connection: What is below ``send``.
    """

    __slots__ = (
        "_begun",
        "_connection",
        "_end_by",
        "_finished",
        "_free",
        "_headers",
        "_interrupted",
        "_observer",
        "_runtime",
        "_scope",
        "_send",
        "_sending",
        "_status",
        "_tail",
        "_timeout",
        "finishing",
        "last_write",
        "started",
        "timed_out",
    )

    def __init__(
        self,
        runtime: Runtime,
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
        timeout: float | None,
        observer: Observer,
        status: int,
        headers: Iterable[tuple[bytes, bytes]],
        connection: Connection,
    ) -> None:
        self._runtime = runtime
        self._send = send
        self._timeout = timeout
        self._observer = observer
        self._status = status
        self._headers = list(headers)
        self._connection = connection
        self._sending = False
        self._free: Event | None = None  # who has to wait for its turn
        self._scope: CancelScope
        self._tail = b""
        self._begun = False
        self._interrupted = False
        self.started = False
        self.finishing = False
        self._finished = False
        self.timed_out = False
        self._end_by = inf
        self.last_write = -inf

    def arm(self, scope: CancelScope) -> None:
        """Use this scope for the deadlines from now on."""
        self._scope = scope

    def limit(self, timeout: float) -> None:
        """Give each send, also the one in flight, at most ``timeout`` seconds from now."""
        self._timeout = timeout if self._timeout is None else min(timeout, self._timeout)
        if self._sending:
            deadline = self._runtime.current_time() + timeout
            self._scope.deadline = min(deadline, self._scope.deadline)

    def end_within(self, seconds: float) -> None:
        """Give everything that is still to be done ``seconds`` from now, all together."""
        self._end_by = min(self._end_by, self._runtime.current_time() + seconds)
        self._scope.deadline = min(self._end_by, self._scope.deadline)

    @property
    def between_events(self) -> bool:
        """Whether what was sent last ends an event; raw bytes need not."""
        return not self._tail or self._tail.endswith(EVENT_ENDINGS)

    async def start(self) -> None:
        """Send the status and the headers.

        Raises:
            ClientGone: if ``send`` raises `OSError`. Anything else is the app's.
        """
        await self._transmit(
            {"type": "http.response.start", "status": self._status, "headers": self._headers}
        )
        self.started = True
        self._observer.started()

    async def flush_headers(self) -> None:
        """Send a body message of no bytes, which lets go of headers that are held back.

        Raises:
            ClientGone: if ``send`` raises anything.
        """
        await self._transmit({"type": _BODY, "body": b"", "more_body": True})

    async def send(self, chunk: bytes) -> None:
        """Send bytes of the stream.

        Raises:
            ClientGone: if ``send`` raises anything.
        """
        await self._transmit({"type": _BODY, "body": chunk, "more_body": True})
        if self.timed_out:  # where the send was shielded, it returns as the connection breaks
            return
        self._observer.sent(chunk)
        if len(chunk) < LONGEST_EVENT_ENDING:
            chunk = self._tail + chunk
        self._tail = chunk[-LONGEST_EVENT_ENDING:]

    async def ping(self, frame: bytes) -> bool:
        """Send a ping, unless it would get into something else's way.

        Never while a send is in flight, inside raw bytes that do not end an
        event, or after the final body. Returns whether it was sent.

        Raises:
            ClientGone: if ``send`` raises anything.
        """
        if self._sending or self.finishing or not self.between_events:
            return False
        if self._connection.peer_left():
            raise ClientGone
        await self._transmit({"type": _BODY, "body": frame, "more_body": True})
        if not self.timed_out:
            self._observer.pinged()
        return True

    async def finish(self) -> None:
        """Send the final empty body: from here on a disconnect is no news.

        Raises:
            ClientGone: if ``send`` raises anything.
        """
        await self._wait_for_turn()
        self.finishing = True
        await self._transmit({"type": _BODY, "body": b"", "more_body": False})

    async def let_go(self, *, client_left: bool) -> bool:
        """Break the connection of a stream that was begun and not finished.

        Servers do that themselves for a stream that ends early, unless bytes are stuck on
        their way: a send that cannot be cancelled, or buffers that nobody empties. So a
        healthy send gets `SEND_GRACE`, and then the connection is aborted. Where streams
        share a connection it is this stream that is reset, whose client could not tell
        otherwise that it has ended.

        Never cancelled, and done within `SEND_GRACE` and `RESET_TIMEOUT`.

        Returns whether the connection was aborted.
        """
        whole = self._finished and not self._interrupted
        if whole or not self._begun or not self._connection.reachable:
            return False
        taken = self._connection.acknowledged()
        with self._runtime.CancelScope(shield=True):
            settled = await self._does_in(SEND_GRACE, self._settle)
            if settled and (client_left or self._finished or not self._connection.resets):
                return False
            if self._connection.resets:
                if await self._does_in(RESET_TIMEOUT, self._connection.reset):
                    return False
                if self._connection.acknowledged() != taken:
                    return False  # slow, but alive: the reset is on its way
            await self._does_in(RESET_TIMEOUT, self._connection.abort)
            return True

    async def _settle(self) -> None:
        await self._wait_for_turn()  # a send that is shielded goes on
        await self._connection.flushed(interrupted=self._interrupted)

    async def _does_in(self, seconds: float, async_fn: Callable[[], Awaitable[None]]) -> bool:
        """Tell whether something comes to its end in time."""
        deadline = self._runtime.current_time() + seconds
        with self._runtime.CancelScope(deadline=deadline) as scope:
            try:
                await async_fn()
            except Exception:
                # What a server has inside may change; a stream must not fail for it.
                logger.debug("the connection could not be let go of", exc_info=True)
                return False
        return not scope.cancelled_caught

    async def _transmit(self, message: MutableMapping[str, Any]) -> None:
        """Pass a message on, when it is its turn, with a deadline.

        Raises:
            ClientGone: if ``send`` raises anything; before the headers are sent, `OSError`.
        """
        if self._sending:
            await self._wait_for_turn()
        self._begin()
        try:
            if self._connection.closed():
                raise ClientGone
            self._begun = self._interrupted = True
            await self._send(message)
            if self.finishing:
                self._finished = True
                await self._connection.flushed(interrupted=False)
        except ClientGone:
            raise
        except OSError as error:
            raise ClientGone from error
        except Exception as error:
            if not self.started:
                raise
            # Servers raise their own errors for a stream that is gone, and so
            # may a middleware that is broken: end quietly, but leave a trace.
            logger.warning("send raised after the response had started", exc_info=True)
            raise ClientGone from error
        finally:
            self._end()
        self._interrupted = False
        self.last_write = self._runtime.current_time()

    def _begin(self) -> None:
        self._sending = True
        if self._timeout is not None:
            deadline = self._runtime.current_time() + self._timeout
            self._scope.deadline = min(deadline, self._end_by)

    def _end(self) -> None:
        self._sending = False
        if self._free is not None:
            self._free.set()
            self._free = None
        if self._timeout is not None:
            self._disarm()

    def _disarm(self) -> None:
        # A scope that something else has cancelled keeps its deadline in the future.
        if self._scope.cancel_called and self._runtime.current_time() >= self._scope.deadline:
            self.timed_out = True
        self._scope.deadline = self._end_by

    async def _wait_for_turn(self) -> None:
        while self._sending:
            if self._free is None:
                self._free = self._runtime.Event()
            await self._free.wait()
