"""A client that asks for a flood of events, and reads none of it."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import trio

from .. import (
    CloseReason,
    EventSourceResponse,
    Hub,
    Instrument,
    JSONServerSentEvent,
    ServerSentEvent,
)
from ._instruments import Meter

SEND_TIMEOUT = 3.0

# Seconds; a connection to a server that leaves just then may never be served, and somebody else
# may have asked for the flood, and read it.
PATIENCE = 12.0

REQUEST = b"GET /flood HTTP/1.1\r\nHost: demo\r\n\r\n"

# The kernel's buffers take a few of these before a client counts as one that does not read.
DROP = ServerSentEvent("~" * 60_000)


class FrozenClient(Instrument):
    """The client, and the instrument of the response to it.

    Args:
        hub: Where to tell of it.
        meter: Where to count it.
        send_timeout: Seconds that the server gives it.
    """

    def __init__(self, hub: Hub, meter: Meter, send_timeout: float = SEND_TIMEOUT) -> None:
        self.answered = False
        """Whether it has been given its response."""
        self.gone = False
        """Whether it has left, and another may come."""
        self._hub = hub
        self._meter = meter
        self._send_timeout = send_timeout
        self._closed = trio.Event()
        self._reason: CloseReason | None = None
        self._began = self._ended = trio.current_time()

    async def run(self, host: str, port: int) -> None:
        """Connect, freeze, and tell how it ends."""
        try:
            with trio.move_on_after(PATIENCE), suppress(OSError, trio.BrokenResourceError):
                await self._freeze(host, port)
        finally:
            self.gone = True
        reason = None if self._reason is None else self._reason.value
        await self._tell(state="gone", reason=reason, seconds=round(self._ended - self._began, 2))

    def response(self) -> EventSourceResponse:
        """Return what it is answered, once."""
        self.answered = True
        return EventSourceResponse(
            flood, send_timeout=self._send_timeout, max_age=PATIENCE, instrument=self
        )

    def opened(self, scope: Mapping[str, Any]) -> None:
        """Count it as a client, and begin to count the time."""
        self._meter.opened(scope)
        self._began = trio.current_time()

    def closed(self, scope: Mapping[str, Any], reason: CloseReason) -> None:
        """Note why, and when, it was given up."""
        self._meter.closed(scope, reason)
        self._reason, self._ended = reason, trio.current_time()
        self._closed.set()

    async def _freeze(self, host: str, port: int) -> None:
        async with await trio.open_tcp_stream(host, port) as connection:
            await connection.send_all(REQUEST)
            await self._tell(state="frozen", timeout=self._send_timeout)
            await self._closed.wait()
            while await connection.receive_some():  # until it is reset
                pass

    async def _tell(self, **fields: object) -> None:
        await self._hub.publish("frozen", JSONServerSentEvent(fields, event="frozen"))


async def flood(send: trio.MemorySendChannel[ServerSentEvent]) -> None:
    """Send without end, as much as the client takes."""
    while True:
        await send.send(DROP)
