"""Contracts that others implement."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from ._close_reason import CloseReason
from ._event import ServerSentEvent
from ._history import Record


class Engine(ABC):
    """Where the events of a hub are kept, and how they reach this process.

    A hub has one engine and a log. The engine puts published events in order and hands
    them to the hub, in every process that shares the engine's store; the hub keeps the
    latest in its log and serves its subscriptions from there. What the log does not reach
    back to is read from the engine.

    **Positions** are ints that only grow, over all topics. They are unique within an
    `epoch`; when numbering starts anew, and a position could come to mean another event,
    that is another epoch.

    **Concurrency.** Everything is called in the event loop of the hub. `publish`,
    `reaches` and `read` may be called by any number of tasks at once, and be cancelled. A
    `publish` that was cancelled may or may not have taken place, once it has begun to do
    anything; it has not if it was cancelled before.

    **Order.** ``deliver`` is called with growing positions, for each event once, those of
    other processes included. An event whose `publish` has returned comes before one whose
    `publish` was called later. A hub's own event has been delivered when its `publish`
    returns. ``deliver`` does not block and does not raise.

    **Errors.** `publish` returns when the event is accepted; it raises when it is not, or
    when that cannot be known. `read` returns None for what is lost; it raises when the
    store cannot be asked, and the subscription that asked raises the same.

    **After close.** When the context of `open` is left, nothing is delivered any more, and
    `publish` raises the runtime's ``ClosedResourceError``.

    `trio_sse.testing.EngineSuite` has as tests what can be asked of any engine.
    """

    @property
    @abstractmethod
    def epoch(self) -> str:
        """What tells this numbering from every other: ASCII letters and digits."""

    @abstractmethod
    def open(self, deliver: Callable[[Record], None], /) -> AbstractAsyncContextManager[int]:
        """Serve one hub for as long as the context is entered.

        Args:
            deliver: To be called with each record, in order.

        Returns:
            A context manager; entering it returns the position of the last event before
            those that will be delivered, 0 if there is none. What it opens, tasks
            included, ends with it.
        """

    @abstractmethod
    async def publish(self, topic: str, event: ServerSentEvent, /) -> int:
        """Accept an event, which has no id, and return its position. Always a checkpoint."""

    async def reaches(self, topics: Collection[str], position: int, /) -> bool:
        """Tell whether `read` can return all that these topics had after a position.

        Asked only for what the log of the hub does not have; by default there is no more.
        """
        return False

    async def read(
        self, topics: Collection[str], position: int, limit: int, /
    ) -> tuple[Sequence[Record], int] | None:
        """Return what these topics had after a position, oldest first.

        Asked only for what the log of the hub does not have; by default there is no more.

        Args:
            topics: The topics.
            position: Where to begin: records after it are returned.
            limit: How many records to return at most.

        Returns:
            The records, and a position, beyond the one asked for, up to which there are no
            others; or None if something after the position asked for is lost.
        """
        return None

    def write_position(self, position: int, /) -> str:
        """Return a position as it stands in an id: text without white space; decimal by default."""
        return str(position)

    def read_position(self, text: str, /) -> int | None:
        """Return the position that a text stands for, None if it stands for none.

        The text comes from a client. Only what `write_position` returns is a position.
        """
        if not (text.isascii() and text.isdigit()):
            return None
        position = int(text)
        return position if str(position) == text else None


class Instrument:
    """Watch streams, or a hub, from outside: subclass it and override what you need.

    Every method does nothing by default and is called synchronously, in a task of
    the stream or of the hub; it must not block. ``scope`` is the ASGI scope of the
    request, the same object in each call for one stream. When a method raises, that is
    logged, and for the rest of that stream only ``closed`` is called, for the rest of that
    hub nothing. A response calls the methods that have a ``scope``, a hub the others.

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

    def published(self, topic: str, event: ServerSentEvent, /) -> None:
        """A hub has been delivered an event, which has its id."""

    def reset(self, topics: Sequence[str], reason: str, /) -> None:
        """A subscription has to go on with a gap.

        The reasons are ``expired``, ``restarted``, ``unknown`` and ``lagged``.
        """

    def lagged(self, topics: Sequence[str], /) -> None:
        """A subscription has fallen off the log: its consumer is too slow."""
