"""Streams that can be cut off in the middle, as a network does."""

from collections.abc import Generator
from contextlib import contextmanager

import trio
from starlette.types import Receive, Scope, Send

from .. import ConnectionLimit, EventSourceResponse, Instrument, ServerSentEvent, Subscription

# Milliseconds after which a browser that was cut off comes back.
RECONNECTION_TIME = 1000

# The last event of a server that leaves. Each browser gets another time, around this one.
FAREWELL = ServerSentEvent("until the next server", event="farewell", retry=1500)

SEND_TIMEOUT = 5


class Cuts:
    """The streams of pages, each in a cancel scope."""

    def __init__(self) -> None:
        self._open: set[tuple[str, trio.CancelScope]] = set()

    @contextmanager
    def cuttable(self, page: str) -> Generator[None]:
        """Let what runs in the block be cut off."""
        with trio.CancelScope() as scope:
            self._open.add((page, scope))
            try:
                yield
            finally:
                self._open.remove((page, scope))

    def cut(self, page: str) -> bool:
        """Cut off what there is of a page; tell whether there was anything."""
        scopes = [scope for owner, scope in self._open if owner == page]
        for scope in scopes:
            scope.cancel()
        return bool(scopes)


class PageStream(EventSourceResponse):
    """The stream of a page, which can be cut off.

    Args:
        subscription: What the page shows.
        page: The name that the page has given itself.
        cuts: Where it can be cut off.
        instrument: What counts it.
        limit: How many there can be.
    """

    def __init__(
        self,
        subscription: Subscription,
        page: str,
        cuts: Cuts,
        instrument: Instrument,
        limit: ConnectionLimit,
    ) -> None:
        super().__init__(
            subscription,
            retry=RECONNECTION_TIME,
            send_timeout=SEND_TIMEOUT,
            farewell=FAREWELL,
            instrument=instrument,
            limit=limit,
        )
        self._page = page
        self._cuts = cuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream, until it is cut off at the latest."""
        with self._cuts.cuttable(self._page):
            await super().__call__(scope, receive, send)
