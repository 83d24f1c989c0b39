"""A client that asks for a flood of events, and reads none of it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from .. import CloseReason, EventSourceResponse, Instrument, JSONServerSentEvent, ServerSentEvent

if TYPE_CHECKING:
    from ._show import Show

SEND_TIMEOUT = 3.0

# Seconds; a connection to a server that leaves just then may never be served.
PATIENCE = 4 * SEND_TIMEOUT

REQUEST = b"GET /flood HTTP/1.1\r\nHost: demo\r\n\r\n"

# The kernel's buffers take some megabytes before a client counts as one that does not read.
DROP = ServerSentEvent("~" * 60_000)


class FrozenClient(Instrument):
    """The client, and the instrument of the response to it.

    Args:
        show: Where to tell of it.
    """

    def __init__(self, show: "Show") -> None:
        self.answered = False
        """Whether it has been given its response."""
        self._show = show
        self._closed = trio.Event()
        self._reason: CloseReason | None = None
        self._bytes = 0
        self._progress = self._end = trio.current_time()

    async def run(self, host: str, port: int) -> None:
        """Connect, freeze, and tell how it ends."""
        try:
            with trio.move_on_after(PATIENCE), suppress(OSError, trio.BrokenResourceError):
                await self._freeze(host, port)
        finally:
            self._show.frozen = None
        await self._tell(
            state="dropped",
            bytes=self._bytes,
            seconds=round(self._end - self._progress, 2),
            reason=None if self._reason is None else self._reason.value,
        )

    def response(self) -> EventSourceResponse:
        """Return what it is answered, once."""
        self.answered = True
        return EventSourceResponse(flood, send_timeout=SEND_TIMEOUT, instrument=self)

    def opened(self, scope: Mapping[str, Any]) -> None:
        """Count it as a client."""
        self._show.meter.opened(scope)

    def sent(self, scope: Mapping[str, Any], size: int) -> None:
        """Note what the kernel has taken for it."""
        self._bytes += size
        self._progress = trio.current_time()

    def closed(self, scope: Mapping[str, Any], reason: CloseReason) -> None:
        """Note why, and when, it was given up."""
        self._show.meter.closed(scope, reason)
        self._reason, self._end = reason, trio.current_time()
        self._closed.set()

    async def _freeze(self, host: str, port: int) -> None:
        async with await trio.open_tcp_stream(host, port) as connection:
            await connection.send_all(REQUEST)
            await self._tell(state="frozen", timeout=SEND_TIMEOUT)
            await self._closed.wait()
            while await connection.receive_some():  # until it is reset
                pass

    async def _tell(self, **fields: object) -> None:
        await self._show.hub.publish("frozen", JSONServerSentEvent(fields, event="frozen"))


async def flood(send: trio.MemorySendChannel[ServerSentEvent]) -> None:
    """Send without end, as much as the client takes."""
    while True:
        await send.send(DROP)
