"""Contracts that others implement."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Any, Protocol

from ._close_reason import CloseReason
from ._event import ServerSentEvent
from ._history import Record


class Sink(Protocol):
    """What an engine delivers to: its hub, in this process.

    None of its methods blocks or raises.
    """

    def begin(self, position: int, kept: Iterable[Record] = (), /) -> None:
        """Begin a numbering: what is delivered next comes after a position.

        Called once before the context of `Engine.open` is entered, and again whenever the
        store has started anew, with another `Engine.epoch`: every subscription is told.

        Args:
            position: Where it begins; what came after it and is not delivered can be read.
            kept: Records after it that are there already, so that the hub need not ask for
                each of them when clients come back; the latest, oldest first.
        """
        ...

    def deliver(self, record: Record, /) -> None:
        """Take the next record."""
        ...

    def lost(self, position: int, /) -> None:
        """Note that records up to a position, after the last, will not be delivered."""
        ...


class Engine(ABC):
    """Where the events of a hub are kept, and how they reach this process.

    A hub has one engine and a log. The engine puts published events in order and hands
    them to the hub, in every process that shares the engine's store; the hub keeps the
    latest in its log and serves its subscriptions from there. What the log does not reach
    back to is read from the engine.

    **Positions** are ints that only grow, over all topics. They are unique within an
    `epoch`; when numbering starts anew, and a position could come to mean another event,
    that is another epoch, and another call of `Sink.begin`.

    **Concurrency.** Everything is called in the event loop of the hub. `publish`,
    `reaches`, `earliest` and `read` may be called by any number of tasks at once, and be
    cancelled. A `publish` that was cancelled may or may not have taken place, once it has
    begun to do anything; it has not if it was cancelled before.

    **Order.** Records are delivered with growing positions, each once, those of other
    processes included. An event whose `publish` has returned comes before one whose
    `publish` was called later.

    **Errors.** `publish` returns when the event is accepted, which may be before it is
    delivered; it raises when it is not accepted, or when that cannot be known. What is
    asked while the store is away waits until it is back. `read` returns None for what is
    lost.

    **After close.** When the context of `open` is left, nothing is delivered any more, and
    what still waits raises, whatever it likes: the hub raises the runtime's
    ``ClosedResourceError`` from it.

    `trio_sse.testing.EngineSuite` has as tests what can be asked of any engine.
    """

    publish_timeout: float = inf
    """For how many seconds `publish` tries, at most."""
    max_batch: int = 1
    """How many events `publish_all` is given at once, at most."""

    @property
    @abstractmethod
    def epoch(self) -> str:
        """What tells this numbering from every other: ASCII letters and digits."""

    @abstractmethod
    def open(self, sink: Sink, /) -> AbstractAsyncContextManager[None]:
        """Serve one hub for as long as the context is entered.

        Args:
            sink: Where to deliver. It has been told where numbering begins when the context
                is entered.

        Returns:
            A context manager. What it opens, tasks included, ends with it.
        """

    @abstractmethod
    async def publish(self, topic: str, event: ServerSentEvent, /) -> int:
        """Accept an event, which has no id, and return its position. Always a checkpoint.

        The position is one of the present `epoch`; when that is another by then, it raises.
        """

    async def publish_all(
        self, events: Sequence[tuple[str, ServerSentEvent]], /
    ) -> Sequence[int | Exception]:
        """Accept events, in this order, that nobody waits for any more.

        They have been promised to be published, so an engine whose store is away tries
        until it is back. By default they are published one after the other.

        Args:
            events: Topics, and what to publish to them.

        Returns:
            For each its position in the present `epoch`, or why it was not accepted.
        """
        results: list[int | Exception] = []
        for topic, event in events:
            try:
                results.append(await self.publish(topic, event))
            except Exception as error:
                results.append(error)
        return results

    async def refresh(self) -> None:
        """Learn of another `epoch` if there is one: a client has shown an id that is not of this.

        By default there is nothing to learn.
        """
        return  # a subclass need not override it, so it is not abstract

    async def reaches(self, topics: Collection[str], position: int, /) -> bool:
        """Tell whether `read` can return all that these topics had after a position.

        False for a position beyond the last. Asked only for what the log of the hub does
        not have; by default there is no more.
        """
        return False

    async def earliest(self) -> int | None:
        """Return the first position that `read` reaches back to, None if it reads nothing.

        By default the log of the hub is all there is.
        """
        return None

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
    the stream or of the hub, or in the one that drains; it must not block. ``scope`` is the
    ASGI scope of the request, the same object in each call for one stream. When a method
    raises, that is logged, and for the rest of that stream only ``closed`` is called, for the
    rest of that hub nothing. A response calls the methods that have a ``scope``, a hub the
    others. One instrument may be given to any number of both.

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

    def first_byte(self, scope: Mapping[str, Any], seconds: float, /) -> None:
        """The first bytes of events have been sent, ``seconds`` after ``opened``.

        Told before ``sent``. A ping is none; the frame of ``retry=`` is one.
        """

    def sent(self, scope: Mapping[str, Any], size: int, /) -> None:
        """``size`` bytes of events have been sent in one body message."""

    def delivered(self, scope: Mapping[str, Any], count: int, /) -> None:
        """``count`` events have been sent in one body message: told after ``sent``.

        What ends in an empty line is counted, so an event of raw bytes that was cut in its
        last line break is not.
        """

    def pinged(self, scope: Mapping[str, Any], /) -> None:
        """A ping has been sent."""

    def drained(self, scope: Mapping[str, Any], /) -> None:
        """The server drains, and the stream has been asked to end; ``closed`` follows.

        Not told of a response that is called later: that is opened, and closed at once.
        """

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
