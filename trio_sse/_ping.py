"""Keeping an idle connection alive."""

import inspect
from collections.abc import Callable
from typing import Any

from ._event import ServerSentEvent
from ._runtime import Runtime
from ._writer import Writer

PING = ServerSentEvent(comment="ping")


class Pinger:
    """Sends a ping whenever nothing was written for an interval.

    Args:
        runtime: The runtime of the stream.
        writer: What the pings are written to.
        interval: Seconds; 0 for no pings.
        factory: Returns the event to send, or None for a comment.
        sep: What ends a line.
    """

    __slots__ = ("_factory", "_interval", "_runtime", "_sep", "_writer")

    def __init__(
        self,
        runtime: Runtime,
        writer: Writer,
        interval: float,
        factory: Callable[[], Any] | None,
        sep: str,
    ) -> None:
        self._runtime = runtime
        self._writer = writer
        self._interval = interval
        self._factory = factory
        self._sep = sep

    async def check(self) -> None:
        """Find a factory's mistake while the answer can still be an error."""
        if self._interval and self._factory is not None:
            await self._frame()

    async def run(self) -> None:
        """Ping for ever.

        Raises:
            ClientGone: if the client has.
            TypeError: if the factory returns no event.
        """
        while True:
            await self._ping_when_idle()

    async def _ping_when_idle(self) -> None:
        written = self._writer.last_write
        await self._runtime.sleep_until(written + self._interval)
        if self._writer.last_write != written:
            return
        frame = await self._frame()
        if self._writer.last_write == written and not await self._writer.ping(frame):
            # In the way of something, whose end is still to come: the next ping
            # is not due before a whole interval after that.
            await self._runtime.sleep(self._interval)

    async def _frame(self) -> bytes:
        if self._factory is None:
            return PING.encode(self._sep)
        event = self._factory()
        if inspect.isawaitable(event):
            event = await event
        if not isinstance(event, ServerSentEvent):
            raise TypeError(
                f"ping_message_factory must return a ServerSentEvent, not {type(event).__name__}"
            )
        return event.encode(self._sep)
