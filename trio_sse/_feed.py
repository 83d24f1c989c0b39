"""What the subscriptions of one hub share: its log, and who waits for more."""

import json
from collections import Counter
from collections.abc import Awaitable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from ._abc import Engine
from ._event import ServerSentEvent, with_id
from ._fields import check_event_name, check_separator
from ._history import Bounds, Log, Record
from ._instrument import HubObserver
from ._runtime import Event, Runtime

T = TypeVar("T")

# What a reader waits for that keeps up: a send costs what twenty events do.
ENOUGH_TO_JOIN = 16

# Twice what the ids of any engine need; a header may be a hundred times longer.
LONGEST_ID = 128


@dataclass(frozen=True, slots=True)
class Wording:
    """How a hub writes to its clients; `open_hub` documents each."""

    sep: str
    ready: str
    reset: str
    revoked: str

    def __post_init__(self) -> None:
        """Refuse what is no separator, and what is no name of an event."""
        check_separator(self.sep)
        for name in ("ready", "reset", "revoked"):
            check_event_name(name, getattr(self, name))


class Reader(Protocol):
    """A subscription as its hub sees it."""

    @property
    def topics(self) -> tuple[str, ...]: ...
    @property
    def key(self) -> Hashable: ...
    def wake(self, record: Record | None = None) -> None: ...
    def stop(self) -> None: ...
    def revoke(self) -> None: ...


class Feed:
    """The log of one hub in this process, its readers, and those of them that wait.

    A reader that has fallen behind does not wait, so it costs a publisher nothing.
    It is what the engine delivers to, a `Sink`.

    Args:
        runtime: The runtime of the hub.
        engine: Where the events come from.
        bounds: How much of them the log keeps.
        wording: How to write to clients.
        observer: Told of what happens.
    """

    log: Log
    accepted: int
    """The position of the last event that the engine accepted from this hub."""
    closed: bool
    coming: int
    """How many tasks are publishing here: a moment later there may be more to read."""
    published: int
    delivered: int
    lagged: int
    taken: tuple[object, Sequence[ServerSentEvent], int] | None
    """What a reader has last taken from the log: its place, the events, and where it is now."""

    def __init__(
        self,
        runtime: Runtime,
        engine: Engine,
        bounds: Bounds,
        wording: Wording,
        observer: HubObserver,
    ) -> None:
        self.runtime = runtime
        self.engine = engine
        self._bounds = bounds
        self.log = Log(bounds)
        self.wording = wording
        self.observer = observer
        self.closed = False
        self.coming = self.published = self.delivered = self.lagged = 0
        self.resets: Counter[str] = Counter()
        # Dicts for sets that keep their order: who came first is served first.
        self._readers: dict[Hashable, dict[Reader, None]] = {}
        self._waiting: dict[str, dict[Reader, None]] = {}
        self._progress: Event | None = None
        self.taken = None
        self._joined: tuple[Sequence[ServerSentEvent], bytes] = (), b""

    @property
    def head(self) -> int:
        """The position of the last event that is known of, delivered or not."""
        return max(self.log.head, self.accepted)

    @property
    def readers(self) -> int:
        """How many subscriptions are entered."""
        return sum(map(len, self._readers.values()))

    async def publish(self, topic: str, event: ServerSentEvent) -> int:
        """Do what the engine's `publish` does."""
        self.coming += 1
        try:
            return await self.ask(self.engine.publish(topic, event))
        finally:
            self.coming -= 1

    async def publish_all(
        self, events: Sequence[tuple[str, ServerSentEvent]]
    ) -> Sequence[int | Exception]:
        """Do what the engine's `publish_all` does."""
        self.coming += 1
        try:
            return await self.engine.publish_all(events)
        finally:
            self.coming -= 1

    def begin(self, position: int, kept: Iterable[Record] = ()) -> None:
        """Begin a log; who reads another is told when it reads on."""
        self.log.lose(self.log.head, self.runtime.current_time())  # they may hold on to it for long
        self.log = Log(self._bounds, position)
        self.taken = None  # from another numbering
        self.accepted = position
        for record in kept:
            self._append(record)
        self._wake_all()

    def deliver(self, record: Record) -> None:
        """Take what the engine hands over, and wake those who wait for it."""
        record = self._append(record)
        self.published += 1
        for reader in self._waiting.pop(record.topic, ()):
            reader.wake(record)
        if self._progress is not None:
            self._progress.set()
        self.observer.published(record.topic, record.event)

    def lost(self, position: int) -> None:
        """Note a gap, which is news for everyone."""
        self.log.lose(position, self.runtime.current_time())
        self._wake_all()

    def accept(self, position: int) -> None:
        """Note that the engine has accepted an event."""
        self.accepted = max(self.accepted, position)

    async def let_publish(self, topics: Collection[str]) -> None:
        """Let those who are publishing go on, while there is more each time. A checkpoint.

        A round of theirs costs a reader a fraction of a send.
        """
        head, stays = self.log.head, 0
        for _ in range(ENOUGH_TO_JOIN):
            await self.runtime.checkpoint()
            # Trio shuffles who has a turn when: in two of ours everyone has one at least.
            stays = 0 if self.log.has_after(topics, head) else stays + 1
            head = self.log.head
            if not self.coming or stays == 2:
                break

    async def wait_until_delivered(self) -> None:
        """Wait until what has been accepted is delivered. A checkpoint if it has not been."""
        while self.log.head < self.accepted:
            self._progress = self.runtime.Event()
            await self._progress.wait()

    def identified(self, record: Record) -> Record:
        """Return a record of the engine with the id in its event."""
        position, topic, event = record
        return Record(position, topic, with_id(event, self.id_of(position), self.wording.sep))

    def join(self, events: Sequence[ServerSentEvent]) -> bytes:
        """Return events as bytes: who stands in the same place is given the same ones."""
        if len(events) == 1:
            return events[0].encode(self.wording.sep)
        if events is not self._joined[0]:
            sep = self.wording.sep
            self._joined = events, b"".join([event.encode(sep) for event in events])
        return self._joined[1]

    def add(self, reader: Reader) -> None:
        """Let a reader in.

        Raises:
            ClosedResourceError: if the hub is closed.
        """
        self.check_open()
        self._readers.setdefault(reader.key, {})[reader] = None

    def remove(self, reader: Reader) -> None:
        """Let a reader go that was let in."""
        readers = self._readers[reader.key]
        del readers[reader]
        if not readers:
            del self._readers[reader.key]

    def wait(self, reader: Reader) -> None:
        """Wake a reader at the next record of its topics."""
        for topic in reader.topics:
            self._waiting.setdefault(topic, {})[reader] = None

    def wait_no_more(self, reader: Reader) -> None:
        """Do not wake it any more."""
        for topic in reader.topics:
            waiting = self._waiting.get(topic, {})
            waiting.pop(reader, None)
            if not waiting:
                self._waiting.pop(topic, None)

    def revoke(self, key: Hashable) -> int:
        """End the subscriptions with this key; return how many there were."""
        readers = tuple(self._readers.get(key, ()))
        for reader in readers:
            reader.revoke()
        return len(readers)

    def close(self) -> None:
        """Let nobody in any more; who is there reads to the end."""
        self.closed = True
        for readers in tuple(self._readers.values()):
            for reader in tuple(readers):
                reader.stop()

    def check_open(self, error: Exception | None = None) -> None:
        """Raise ClosedResourceError if the hub is closed, which an error may come from."""
        if self.closed:
            raise self.runtime.ClosedResourceError("the hub is closed") from error

    def id_of(self, position: int) -> str:
        """Return the id that a client is given for a position."""
        return f"{self.engine.epoch}-{self.engine.write_position(position)}"

    def find(self, last_event_id: str) -> int | str:
        """Return the position that an id stands for, or why there is none."""
        epoch, dash, text = last_event_id.partition("-")
        if len(last_event_id) > LONGEST_ID or not (dash and epoch.isascii() and epoch.isalnum()):
            return "unknown"
        position = self.engine.read_position(text)
        if position is None:
            return "unknown"
        if epoch != self.engine.epoch:
            return "restarted"
        return position

    async def find_gap(self, topics: Collection[str], position: int) -> str | None:
        """Return why what these topics had after a position cannot be read; None if it can."""
        ahead = position > self.head
        if not ahead and self.log.reaches(topics, position):
            return None
        if await self.ask(self.engine.reaches(topics, position)):
            return None
        return "unknown" if ahead else "expired"

    async def find_earliest(self, topics: Collection[str]) -> int:
        """Return the first position from which all of these topics can be read."""
        kept = await self.ask(self.engine.earliest())
        start = self.log.start_of(topics)
        return start if kept is None else min(start, kept)

    async def ask(self, answer: Awaitable[T]) -> T:
        """Wait for an answer of the engine.

        Raises:
            ClosedResourceError: if the engine raises, and the hub is closed.
        """
        try:
            return await answer
        except Exception as error:
            self.check_open(error)
            raise

    def say_ready(self, position: int, *, resumed: bool) -> ServerSentEvent:
        """Return the event that begins a subscription."""
        return self._say(self.wording.ready, position, resumed=resumed)

    def say_reset(self, topics: tuple[str, ...], position: int, reason: str) -> ServerSentEvent:
        """Return the event that says there is a gap, and count it."""
        self.resets[reason] += 1
        self.observer.reset(topics, reason)
        return self._say(self.wording.reset, position, reason=reason)

    def say_revoked(self, position: int | None) -> ServerSentEvent:
        """Return the event that ends a subscription which was revoked; without a place, no id."""
        return self._say(self.wording.revoked, position, reason="revoked")

    def _append(self, record: Record) -> Record:
        size = len(record.event.encode(self.wording.sep))
        record = self.identified(record)
        self.log.append(record, size, self.runtime.current_time())
        return record

    def _wake_all(self) -> None:
        waiting = tuple(self._waiting.values())
        self._waiting.clear()
        for readers in waiting:
            for reader in readers:
                reader.wake()
        if self._progress is not None:
            self._progress.set()

    def _say(self, name: str, position: int | None, **data: object) -> ServerSentEvent:
        text = json.dumps(data, separators=(",", ":"))
        id_ = None if position is None else self.id_of(position)
        return ServerSentEvent(text, event=name, id=id_)
