"""A position in the log of a hub, and what is read from there."""

from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from inspect import isawaitable
from math import inf
from typing import Any, Literal

from ._close_reason import CloseReason
from ._event import ServerSentEvent
from ._exceptions import AccessDeniedError
from ._feed import Feed
from ._history import Record
from ._runtime import Event

EARLIEST = "earliest"

# What is read from the engine at once by those who have fallen off the log.
PAGE = 64

SlowConsumer = Literal["reset", "disconnect"]
Authorize = Callable[[tuple[str, ...]], Awaitable[bool]]


class Cursor:
    """Where one subscription stands in the log.

    It holds a position, not events: what it has not read yet is in the log, for all
    alike, and so it may fall behind by any distance without costing more. Replay and
    live are the same. When the log and the engine have dropped something that it had
    not read, it is told so, once, and goes on from the end.

    Args:
        feed: What it reads.
        topics: What it reads of that.
        last_event_id: Where to begin: after the event with this id; ``"earliest"`` for all
            that is kept; None for what comes from now on.
        authorize: Asked when it is entered.
        key: What it can be revoked by.
        slow_consumer: What to do when it has fallen off the log.
    """

    entered: bool
    closed: bool

    def __init__(
        self,
        feed: Feed,
        topics: tuple[str, ...],
        last_event_id: str | None,
        authorize: Authorize | None,
        key: Hashable,
        slow_consumer: SlowConsumer,
    ) -> None:
        self.topics = topics
        self.key = key
        self.entered = self._begun = self.closed = False
        self._is_reader = self._retains = False  # what has to be given back
        self.close_reason: CloseReason | None = None
        self._feed = feed
        self._authorize = authorize
        self._slow_consumer = slow_consumer
        self._earliest = last_event_id == EARLIEST
        self._last_event_id = None if self._earliest else last_event_id
        self._until: int | None = None  # where to end
        # What is said between events: ready or reset, and revoked.
        self._announcements: tuple[ServerSentEvent, ...] = ()
        self._news: Event | None = None
        self._record: Record | None = None  # what it was woken with
        self._waiting = 0
        self._on_end: Callable[[CloseReason], object] | None = None
        self._look_up()

    @property
    def sep(self) -> str:
        """What ends a line of its events."""
        return self._feed.wording.sep

    @property
    def ready(self) -> bool:
        """Whether something can be read, or the end, without waiting."""
        log = self._log
        return bool(
            self._announcements
            or self._until is not None
            or self.closed
            or log is not self._feed.log
            or (
                log.head > self._clear
                and (
                    log.has_after(self.topics, self._after)
                    or not log.reaches(self.topics, self._after)
                )
            )
        )

    async def authorize(self) -> None:
        """Ask whether the client may have this. Always a checkpoint.

        Raises:
            AccessDeniedError: if it may not.
            TypeError: if ``authorize`` is not async, or returns no bool.
        """
        await self._feed.runtime.checkpoint()
        if self._authorize is None:
            return
        answer: Any = self._authorize(self.topics)
        if not isawaitable(answer):
            raise TypeError("authorize must be an async function")
        granted = await answer
        if not isinstance(granted, bool):
            raise TypeError(f"authorize must return True or False, not {granted!r}")
        if not granted:
            raise AccessDeniedError("authorize has refused the subscription")

    async def enter(self, on_end: Callable[[CloseReason], object] | None = None) -> None:
        """Ask for authorization, and take a place among the readers. Always a checkpoint.

        Args:
            on_end: Called when the hub ends the subscription, with the reason.

        Raises:
            RuntimeError: if it was entered, or closed, before.
            ClosedResourceError: if the hub is closed.
            AccessDeniedError: if it is not authorized.
        """
        if self.entered or self.closed:
            raise RuntimeError("a subscription is entered once: subscribe again")
        self._feed.add(self)  # revoke() finds it from here on, while it is being authorized too
        self.entered = self._is_reader = True
        try:
            await self.authorize()
            self._retain()
            await self._begin()
            self._check_not_closed()
            if self.close_reason is not None:
                raise AccessDeniedError("the subscription was revoked before it had begun")
        except BaseException:
            self.close()
            raise
        self._on_end = on_end

    async def read(self, limit: int) -> Sequence[ServerSentEvent]:
        """Wait for events, and return what there is; nothing is the end. Always a checkpoint.

        Args:
            limit: No more events are added once there are so many bytes; at least 1.

        Raises:
            RuntimeError: if it was not entered.
            ClosedResourceError: if it was closed.
        """
        if not self.entered:
            raise RuntimeError("enter the subscription first: async with hub.subscribe(...) as ...")
        while True:
            await self._wait_until_ready(limit)
            self._check_not_closed()
            self._renew()
            if self._announcements:
                first, self._announcements = self._announcements[:1], self._announcements[1:]
                return first
            events = self._take_news() or await self._read_on(limit)
            if events or (self._until is not None and not self._announcements):
                self._feed.delivered += len(events)
                return events

    async def read_joined(self, limit: int) -> bytes:
        """Do what `read` does, and return the events as bytes."""
        return self._feed.join(await self.read(limit))

    def wake(self, record: Record | None = None) -> None:
        """Look again whether there is anything.

        Args:
            record: What there is, the first after all that has been read.
        """
        if self._news is not None:
            self._record = record
            self._news.set()
            self._news = None

    def stop(self) -> None:
        """End, after what has been published by now."""
        if self._until is None:
            self._renew()
            self._until = self._log.head
            self.wake()

    def revoke(self) -> None:
        """End now, and say so."""
        if self.close_reason is not None:
            return
        # An id of a numbering that is over would be taken for one of the present.
        place = self._after if self._log is self._feed.log else None
        self._announcements = (self._feed.say_revoked(place),)
        self._end(CloseReason.REVOKED)

    def close(self) -> None:
        """Give the place back."""
        if self._is_reader:
            self._feed.remove(self)
        if self._retains:
            self._log.release(self.topics, self._feed.runtime.current_time())
        self._is_reader = self._retains = False
        self.closed = True
        self._on_end = None
        self.wake()

    def _check_not_closed(self) -> None:
        if self.closed:
            raise self._feed.runtime.ClosedResourceError("the subscription is closed")

    def _look_up(self) -> None:
        """Find the place to begin, as far as that can be known without asking."""
        feed = self._feed
        self._log = feed.log  # the feed begins another when the store has started anew
        self._after = feed.head
        self._clear = -1  # up to where there is nothing that it has not read
        self._gap: str | None = None
        if self._last_event_id is not None:
            found = feed.find(self._last_event_id)
            if isinstance(found, int):
                self._after = found
            else:
                self._gap = found

    def _retain(self) -> None:
        # Not before it is authorized: no stranger is to fill the log with names of topics.
        self._log.retain(self.topics)
        self._retains = True

    async def _begin(self) -> None:
        """Say where it begins, in the numbering that there is by then."""
        feed = self._feed
        if self._gap == "restarted":
            await feed.ask(feed.engine.refresh())
        await self._ask()
        while self._log is not feed.log:
            self._look_up_anew()
            await self._ask()
        self._begun = True
        if self._gap is None:
            resumed = self._last_event_id is not None
            self._announcements += (feed.say_ready(self._after, resumed=resumed),)
        else:
            self._announce_reset(self._gap)

    async def _ask(self) -> None:
        """See whether it can begin in its place."""
        feed = self._feed
        if self._log is not feed.log:
            return
        self._log.trim(feed.runtime.current_time())
        if self._earliest:
            self._after = await feed.find_earliest(self.topics)
        elif gap := await feed.find_gap(self.topics, self._after):
            self._gap = self._gap or gap
            self._after = feed.head

    def _look_up_anew(self) -> None:
        self._look_up()
        self._retain()
        if self._last_event_id is None:
            self._gap = "restarted"
        if self._gap is not None:  # what has come since then is not to be missed
            self._after = self._log.start

    def _renew(self) -> None:
        """Go on in another log if the store has started anew."""
        log = self._feed.log
        if not self._begun or self._log is log or self.close_reason is not None:
            return
        self._log = log
        self._retain()
        self._after = log.start
        self._clear = -1
        self._record = None
        if self._until is not None:  # what it was to end after is gone
            self._until = self._after
        self._announcements = ()
        self._announce_reset("restarted")

    def _announce_reset(self, reason: str) -> None:
        self._announcements += (self._feed.say_reset(self.topics, self._after, reason),)

    async def _wait_until_ready(self, limit: int) -> None:
        waits = not self.ready
        if waits:
            await self._wait_for_news()
        if self._feed.coming and limit > 1:
            await self._feed.let_publish(self.topics)
        elif not waits:
            await self._feed.runtime.checkpoint()

    async def _wait_for_news(self) -> None:
        self._clear = self._log.head
        if self._news is None:
            self._news = self._feed.runtime.Event()
        self._feed.wait(self)
        self._waiting += 1
        try:
            await self._news.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._feed.wait_no_more(self)

    def _take_news(self) -> Sequence[ServerSentEvent]:
        """Take what it was woken with, if nothing has come since: the log need not be asked."""
        record, self._record = self._record, None
        if record is None or self._until is not None:
            return ()
        if not self._after < record.position == self._log.head:
            return ()
        self._after = self._clear = record.position
        return (record.event,)

    async def _read_on(self, limit: int) -> Sequence[ServerSentEvent]:
        feed, log, after = self._feed, self._log, self._after
        if log.reaches(self.topics, after):
            return self._take_from_log(limit)
        if self._until is not None:
            return []  # it is leaving, and can come back for the rest
        try:
            page = await feed.engine.read(self.topics, after, 1 if limit == 1 else PAGE)
        except Exception:
            if feed.closed:
                return []
            raise
        if self._after != after or self._until is not None or log is not feed.log:
            # Another task has read meanwhile; or it is leaving now; or there is nothing to read.
            return []
        if page is None:
            self._fall_off()
            return []
        records, looked_up_to = page
        events = self._take(map(feed.identified, records), limit)
        if len(events) == len(records):
            self._after = looked_up_to
        return events

    def _take_from_log(self, limit: int) -> Sequence[ServerSentEvent]:
        """Take what is there, and what others have taken who stood in the same place."""
        feed, log, topics = self._feed, self._log, self.topics
        if self._until is not None:
            return self._take(log.after(topics, self._after), limit)
        place = self._after, log.head, limit, topics
        if feed.taken is None or feed.taken[0] != place:
            taken = self._take(log.after(topics, self._after), limit)
            feed.taken = place, taken, self._after
        _, events, self._after = feed.taken
        return events

    def _take(self, records: Iterable[Record], limit: int) -> list[ServerSentEvent]:
        events: list[ServerSentEvent] = []
        size, sep, until = 0, self.sep, inf if self._until is None else self._until
        for position, _, event in records:
            if position > until:
                break
            events.append(event)
            self._after = position
            size += len(event.encode(sep))
            if size >= limit:
                break
        return events

    def _fall_off(self) -> None:
        feed = self._feed
        if self._after < self._log.lost:  # by the store: it was not too slow
            self._go_on_from_the_end("expired")
            return
        feed.lagged += 1
        feed.observer.lagged(self.topics)
        if self._slow_consumer == "disconnect":
            self._end(CloseReason.LAGGED)
        else:
            self._go_on_from_the_end("lagged")

    def _go_on_from_the_end(self, reason: str) -> None:
        self._after = self._feed.head
        self._announce_reset(reason)

    def _end(self, reason: CloseReason) -> None:
        self.close_reason = reason
        self._until = self._after
        self.wake()
        if self._on_end is not None:
            self._on_end(reason)
