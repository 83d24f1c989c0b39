"""The log of a hub: what was published last, in order, bounded."""

from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from typing import NamedTuple

from ._arguments import check_count, check_seconds
from ._event import ServerSentEvent

# One event for each of a hundred thousand users. An event costs some 600 bytes beside
# its text, so this many of them need less than a small server has to spare.
DEFAULT_MAX_EVENTS = 100_000

# Of encoded events: more than a minute of what a thousand clients can take over one
# gigabit, so it cuts short nobody who is merely slow.
DEFAULT_MAX_BYTES = 16 * 1024 * 1024

# Seconds. Browsers reconnect after a few; a tunnel, a lift or a rolling restart takes minutes.
# Who was away for longer is better served by the page's current state.
DEFAULT_MAX_AGE = 300.0

# Without an event and a reader. As many as an event for each user was kept of: they may all
# lose their connection at once. One costs some 300 bytes.
DEFAULT_MAX_IDLE_TOPICS = 100_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a log keeps; `open_hub` documents what it takes."""

    max_events: int
    max_bytes: int
    max_age: float
    max_idle_topics: int = DEFAULT_MAX_IDLE_TOPICS

    def __post_init__(self) -> None:
        """Refuse what does not bound."""
        check_count("max_events", self.max_events)
        check_count("max_bytes", self.max_bytes)
        check_seconds("max_age", self.max_age, positive=True)


class Record(NamedTuple):
    """An event in its place.

    Args:
        position: Its number. Numbers only grow, over all topics of a hub.
        topic: What it was published to.
        event: The event; as an engine knows it, without an id.
    """

    position: int
    topic: str
    event: ServerSentEvent


_position = itemgetter(0)
_GONE = Record(-1, "", ServerSentEvent("gone"))


class _Topic:
    """The records of one topic.

    Args:
        trimmed: No record after this position has been dropped.
    """

    __slots__ = ("first", "readers", "records", "trimmed")

    def __init__(self, trimmed: int) -> None:
        self.trimmed = trimmed
        self.readers = 0
        self.records: list[Record] = []
        self.first = 0  # where in the list the records begin that are not gone

    @property
    def empty(self) -> bool:
        return self.first == len(self.records)

    def has_after(self, position: int) -> bool:
        return not self.empty and self.records[-1].position > position

    def after(self, position: int) -> Iterator[Record]:
        records = self.records
        start = bisect_right(records, position, lo=self.first, key=_position)
        return map(records.__getitem__, range(start, len(records)))

    def drop_all(self, position: int) -> None:
        self.trimmed = position
        self.records = []
        self.first = 0

    def drop_first(self) -> None:
        self.trimmed = max(self.trimmed, self.records[self.first].position)
        # Taking the first out of a list moves all others: free it now, and move later, when
        # no more are moved than were freed.
        self.records[self.first] = _GONE
        self.first += 1
        if 2 * self.first >= len(self.records):
            del self.records[: self.first]
            self.first = 0


class Log:
    """What a hub remembers: records in the order of their positions, oldest dropped first.

    It is the same log for all topics and all readers. A reader is a position in it, so it
    costs nothing here, however far behind it is.

    A topic that has no event and no reader is remembered for ``max_age`` more, so that a
    client of a quiet topic can come back; then, or when there are too many of them, it is
    forgotten. What it has lost is remembered in the *floor*, one position for all forgotten
    topics.

    Args:
        bounds: How much to keep.
        start: The position that the log begins after.
    """

    start: int
    """The position that it began after."""
    head: int
    """The position of the last record that was appended, or lost."""
    lost: int
    """The position of the last record that never came here; -1 if none is missing."""
    size: int
    """How many bytes the records have, encoded."""

    def __init__(self, bounds: Bounds, start: int = 0) -> None:
        self._bounds = bounds
        self._topics: dict[str, _Topic] = {}
        self._order: deque[tuple[Record, int, float]] = deque()
        # Since when; the longest idle first. A dict is slow to say what it begins with, once
        # that was deleted often.
        self._idle: OrderedDict[str, float] = OrderedDict()
        self._floor = start
        self.start = self.head = start
        self.lost = -1
        self.size = 0

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._order)

    @property
    def topics(self) -> int:
        """How many topics have a record, a reader, or had one lately."""
        return len(self._topics)

    def append(self, record: Record, size: int, now: float) -> None:
        """Add a record, which must come after all others, and drop what is too much.

        One that is larger than the log may be is left out, like one that was dropped.

        Args:
            record: The record.
            size: How many bytes it has, encoded.
            now: The time.
        """
        topic = self._topic(record.topic)
        self.head = record.position
        self._idle.pop(record.topic, None)
        if size > self._bounds.max_bytes:
            topic.trimmed = record.position
            self._note_if_idle(record.topic, topic, now)
            return
        topic.records.append(record)
        self._order.append((record, size, now))
        self.size += size
        self.trim(now)

    def lose(self, position: int, now: float) -> None:
        """Drop everything, since there is a gap up to a position, in whatever topics."""
        self._order.clear()
        self.size = 0
        self.head = self.lost = self._floor = max(position, self.head)
        for name, topic in self._topics.items():
            topic.drop_all(self.head)
            self._note_if_idle(name, topic, now)

    def trim(self, now: float) -> None:
        """Drop what is too much or too old, and forget topics that are long idle."""
        bounds, order, idle = self._bounds, self._order, self._idle
        oldest = now - bounds.max_age
        while order and (
            order[0][2] < oldest or len(order) > bounds.max_events or self.size > bounds.max_bytes
        ):
            self._drop_first(now)
        while idle and (
            idle[name := next(iter(idle))] < oldest or len(idle) > bounds.max_idle_topics
        ):
            del idle[name]
            self._floor = max(self._floor, self._topics.pop(name).trimmed)

    def retain(self, topics: Collection[str]) -> None:
        """Count a reader of these topics: they are not forgotten while there is one."""
        for name in topics:
            self._topic(name).readers += 1
            self._idle.pop(name, None)

    def release(self, topics: Collection[str], now: float) -> None:
        """Undo one call of `retain`."""
        for name in topics:
            topic = self._topics[name]
            topic.readers -= 1
            self._note_if_idle(name, topic, now)

    def reaches(self, topics: Collection[str], position: int) -> bool:
        """Tell whether all that these topics had after a position is still here."""
        return self.start_of(topics) <= position

    def start_of(self, topics: Collection[str]) -> int:
        """Return the first position that the log reaches back to for these topics."""
        known, floor = self._topics, self._floor
        return max(known[name].trimmed if name in known else floor for name in topics)

    def has_after(self, topics: Collection[str], position: int) -> bool:
        """Tell whether there is a record of these topics after a position."""
        known = self._topics
        for name in topics:
            if name in known and known[name].has_after(position):
                return True
        return False

    def after(self, topics: Collection[str], position: int) -> Iterator[Record]:
        """Return the records of these topics after a position, in order.

        To be read at once: the log must not change meanwhile.
        """
        known = self._topics
        runs = [known[name].after(position) for name in topics if name in known]
        return runs[0] if len(runs) == 1 else merge(*runs, key=_position)

    def _topic(self, name: str) -> _Topic:
        topic = self._topics.get(name)
        if topic is None:
            topic = self._topics[name] = _Topic(trimmed=self._floor)
        return topic

    def _drop_first(self, now: float) -> None:
        record, size, _ = self._order.popleft()
        self.size -= size
        topic = self._topics[record.topic]
        topic.drop_first()
        self._note_if_idle(record.topic, topic, now)

    def _note_if_idle(self, name: str, topic: _Topic, now: float) -> None:
        if topic.empty and not topic.readers:
            self._idle[name] = now
