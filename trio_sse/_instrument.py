"""Telling an `Instrument` what happens."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ._abc import Instrument
from ._close_reason import CloseReason
from ._event import ServerSentEvent

logger = logging.getLogger("trio_sse")


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
    """

    __slots__ = ("_scope",)
    _then = "of the end alone"

    def __init__(self, instrument: Instrument | None, scope: Mapping[str, Any]) -> None:
        super().__init__(instrument)
        self._scope = scope

    def opened(self) -> None:
        """The response has been called."""
        self._tell("opened", self._scope)

    def started(self) -> None:
        """The headers have been sent."""
        self._tell("started", self._scope)

    def sent(self, size: int) -> None:
        """One body message has been sent."""
        self._tell("sent", self._scope, size)

    def pinged(self) -> None:
        """A ping has been sent."""
        self._tell("pinged", self._scope)

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
