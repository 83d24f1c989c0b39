"""Telling an `Instrument` what happens to one stream."""

import logging
from collections.abc import Mapping
from typing import Any

from ._abc import Instrument
from ._close_reason import CloseReason

logger = logging.getLogger("trio_sse")


class Observer:
    """Calls the instrument, if there is one; after it has raised, for the end alone.

    Args:
        instrument: The instrument, or None.
        scope: The ASGI scope that the instrument is given.
    """

    __slots__ = ("_instrument", "_muted", "_scope")

    def __init__(self, instrument: Instrument | None, scope: Mapping[str, Any]) -> None:
        self._instrument = instrument
        self._scope = scope
        self._muted = False

    def opened(self) -> None:
        """The response has been called."""
        if self._instrument is not None:
            self._tell("opened")

    def started(self) -> None:
        """The headers have been sent."""
        if self._instrument is not None:
            self._tell("started")

    def sent(self, size: int) -> None:
        """One body message has been sent."""
        if self._instrument is not None:
            self._tell("sent", size)

    def pinged(self) -> None:
        """A ping has been sent."""
        if self._instrument is not None:
            self._tell("pinged")

    def closed(self, reason: CloseReason) -> None:
        """The stream is over."""
        if self._instrument is not None:
            self._muted = False
            self._tell("closed", reason)

    def _tell(self, method: str, *args: object) -> None:
        if self._muted:
            return
        try:
            getattr(self._instrument, method)(self._scope, *args)
        except Exception:
            logger.exception("%r raised; it will be told of the end alone", self._instrument)
            self._muted = True
