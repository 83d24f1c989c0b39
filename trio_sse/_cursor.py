"""A position in the log of a hub, and what is read from there."""

from collections import deque
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
        self.entered = self.closed = False
        self._is_reader = self._retains = False  # what has to be given back
        self.close_reason: CloseReason | None = None
        self._feed = feed
        self._authorize = authorize
        self._slow_consumer = slow_consumer
        self._earliest = last_event_id == EARLIEST
        self._resumes = last_event_id is not None and not self._earliest
        self._after = feed.log.head
        self._until: int | None = None  # where to end
        self._gap: str | None = None
        # What is said between events: ready or reset, and revoked.
        self._announcements: deque[ServerSentEvent] = deque()
        self._news: Event | None = None
        self._waiting = 0
        self._on_end: Callable[[CloseReason], object] | None = None
        if last_event_id is not None and self._resumes:
            found = feed.find(last_event_id)
            if isinstance(found, int):
                self._after = found
            else:
                self._gap = found

    @property
    def sep(self) -> str:
        """What ends a line of its events."""
        return self._feed.wording.sep

    @property
    def ready(self) -> bool:
        """Whether something can be read, or the end, without waiting."""
        log = self._feed.log
        return bool(
            self._announcements
            or self._until is not None
            or self.closed
            or log.has_after(self.topics, self._after)
            or not log.reaches(self.topics, self._after)
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
            await self._wait_until_ready()
            self._check_not_closed()
            if self._announcements:
                return [self._announcements.popleft()]
            events = await self._read_on(limit)
            if events or (self._until is not None and not self._announcements):
                self._feed.delivered += len(events)
                return events

    def wake(self) -> None:
        """Look again whether there is anything."""
        if self._news is not None:
            self._news.set()
            self._news = None

    def stop(self) -> None:
        """End, after what has been published by now."""
        if self._until is None:
            self._until = self._feed.log.head
            self.wake()

    def revoke(self) -> None:
        """End now, and say so."""
        if self.close_reason is not None:
            return
        self._announcements.clear()
        self._announcements.append(self._feed.say_revoked(self._after))
        self._end(CloseReason.REVOKED)

    def close(self) -> None:
        """Give the place back."""
        if self._is_reader:
            self._feed.remove(self)
        if self._retains:
            self._feed.log.release(self.topics, self._feed.runtime.current_time())
        self._is_reader = self._retains = False
        self.closed = True
        self._on_end = None
        self.wake()

    def _check_not_closed(self) -> None:
        if self.closed:
            raise self._feed.runtime.ClosedResourceError("the subscription is closed")

    def _retain(self) -> None:
        # Not before it is authorized: no stranger is to fill the log with names of topics.
        self._feed.log.retain(self.topics)
        self._retains = True

    async def _begin(self) -> None:
        feed = self._feed
        feed.log.trim(feed.runtime.current_time())
        if self._earliest:
            self._after = feed.log.start_of(self.topics)
        elif not await feed.reaches(self.topics, self._after):
            self._gap = self._gap or "expired"
            self._after = feed.log.head
        if self._gap is None:
            self._announcements.append(feed.say_ready(self._after, resumed=self._resumes))
        else:
            self._announcements.append(feed.say_reset(self.topics, self._after, self._gap))

    async def _wait_until_ready(self) -> None:
        if self.ready:
            await self._feed.runtime.checkpoint()
            return
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

    async def _read_on(self, limit: int) -> list[ServerSentEvent]:
        feed, after = self._feed, self._after
        if feed.log.reaches(self.topics, after):
            return self._take(feed.log.after(self.topics, after), limit)
        if self._until is not None:
            return []  # it is leaving, and can come back for the rest
        page = await feed.engine.read(self.topics, after, 1 if limit == 1 else PAGE)
        if self._after != after or self._until is not None:
            return []  # another task has read meanwhile, or it is leaving now
        if page is None:
            self._fall_off()
            return []
        records, looked_up_to = page
        events = self._take(map(feed.identified, records), limit)
        if len(events) == len(records):
            self._after = looked_up_to
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
        feed.lagged += 1
        feed.observer.lagged(self.topics)
        if self._slow_consumer == "disconnect":
            self._end(CloseReason.LAGGED)
        else:
            self._after = feed.log.head
            self._announcements.append(feed.say_reset(self.topics, self._after, "lagged"))

    def _end(self, reason: CloseReason) -> None:
        self.close_reason = reason
        self._until = self._after
        self.wake()
        if self._on_end is not None:
            self._on_end(reason)
