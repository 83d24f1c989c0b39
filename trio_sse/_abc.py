"""Contracts that others implement."""

from collections.abc import Mapping
from typing import Any

from ._close_reason import CloseReason


class Instrument:
    """Watch streams from outside: subclass it and override what you need.

    Every method does nothing by default and is called synchronously, in a task of
    the stream; it must not block. ``scope`` is the ASGI scope of the request, the
    same object in each call for one stream. When a method raises, that is logged,
    and for the rest of that stream only ``closed`` is called.

    Example::

        class Connections(Instrument):
            open = 0

            def opened(self, scope):
                self.open += 1

            def closed(self, scope, reason):
                self.open -= 1
    """

    def opened(self, scope: Mapping[str, Any], /) -> None:
        """A response has been called; nothing has been sent."""

    def started(self, scope: Mapping[str, Any], /) -> None:
        """The status and the headers have been sent."""

    def sent(self, scope: Mapping[str, Any], size: int, /) -> None:
        """``size`` bytes of events have been sent in one body message."""

    def pinged(self, scope: Mapping[str, Any], /) -> None:
        """A ping has been sent."""

    def closed(self, scope: Mapping[str, Any], reason: CloseReason, /) -> None:
        """The stream is over: once for each call of ``opened``, after ``on_close``."""
