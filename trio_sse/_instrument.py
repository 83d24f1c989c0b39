"""Telling an `Instrument` what happens."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ._abc import Instrument
from ._close_reason import CloseReason
from ._event import ServerSentEvent
from ._runtime import Runtime

logger = logging.getLogger("trio_sse")

# Whatever its line ends are, the end of an event holds one of these, and once.
_ENDS = (b"\n\n", b"\r\r", b"\n\r")


class _Teller:
    """Calls the instrument, if there is one, until it raises."""

    __slots__ = ("_instrument", "_muted")
    _then = "nothing more"

    def __init__(self, instrument: Instrument | None) -> None:
        self._instrument = instrument
        self._muted = instrument is None

    def _tell(self, method: str, *args: object) -> None:
        if self._muted:
            return
        try:
            getattr(self._instrument, method)(*args)
        except Exception:
            logger.exception("%r raised; it will be told %s", self._instrument, self._then)
            self._muted = True


class Observer(_Teller):
    """Tells of one stream; after the instrument has raised, of its end alone.

    Args:
        instrument: The instrument, or None.
        scope: The ASGI scope that the instrument is given.
        runtime: The runtime of the stream, whose clock measures.
    """

    __slots__ = ("_opened_at", "_runtime", "_scope")
    _then = "of the end alone"

    def __init__(
        self, instrument: Instrument | None, scope: Mapping[str, Any], runtime: Runtime
    ) -> None:
        super().__init__(instrument)
        self._scope = scope
        self._runtime = runtime
        self._opened_at: float | None = None  # until the first byte

    def opened(self) -> None:
        """The response has been called."""
        if self._muted:
            return
        self._opened_at = self._runtime.current_time()
        self._tell("opened", self._scope)

    def started(self) -> None:
        """The headers have been sent."""
        self._tell("started", self._scope)

    def sent(self, chunk: bytes) -> None:
        """One body message has been sent."""
        if self._muted:  # with no instrument, that is all it costs
            return
        if self._opened_at is not None:
            seconds = self._runtime.current_time() - self._opened_at
            self._opened_at = None
            self._tell("first_byte", self._scope, seconds)
        self._tell("sent", self._scope, len(chunk))
        count = sum(map(chunk.count, _ENDS))
        if count:
            self._tell("delivered", self._scope, count)

    def pinged(self) -> None:
        """A ping has been sent."""
        self._tell("pinged", self._scope)

    def drained(self) -> None:
        """The stream has been asked to end."""
        self._tell("drained", self._scope)

    def closed(self, reason: CloseReason) -> None:
        """The stream is over."""
        self._muted = self._instrument is None
        self._tell("closed", self._scope, reason)


class HubObserver(_Teller):
    """Tells of one hub.

    Args:
        instrument: The instrument, or None.
    """

    __slots__ = ()

    def published(self, topic: str, event: ServerSentEvent) -> None:
        """An event has been delivered."""
        self._tell("published", topic, event)

    def reset(self, topics: Sequence[str], reason: str) -> None:
        """A subscription goes on with a gap."""
        self._tell("reset", topics, reason)

    def lagged(self, topics: Sequence[str]) -> None:
        """A subscription has fallen off the log."""
        self._tell("lagged", topics)
