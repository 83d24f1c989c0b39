"""What a hub's keys in Redis are asked, and what they answer."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from coredis.exceptions import NoScriptError

from .._history import Record
from ._entry import Entry, id_of, position_of, records_of
from ._link import Connection, Link, NoAnswerError, RefusedError
from ._scripts import CHECK, PUBLISH, READ, Keys, Script

# Entries that are taken from Redis at once, at most: some milliseconds of work for this process.
PAGE = 500


class State(NamedTuple):
    """What there is in the stream."""

    epoch: str
    last: int
    """The position of the last event."""
    reach: int
    """The position after which nothing is missing."""


class Page(NamedTuple):
    """An answer to `Store.read`."""

    word: str
    """``other``, ``beyond``, ``lost`` or ``found``."""
    looked_up_to: int = 0
    records: Sequence[Record] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept in Redis; `RedisEngine` documents each."""

    max_events: int
    max_age: float
    max_topics: int


class Store:
    """The keys of one hub, at the end of a link.

    Every method raises what `Link.call` does.

    Args:
        link: The link.
        keys: The names of the keys.
        bounds: How much to keep.
    """

    def __init__(self, link: Link, keys: Keys, bounds: Bounds) -> None:
        self.link = link
        self._keys = keys
        self._bounds = bounds
        self._page = PAGE

    async def check(self, connection: Connection, epoch: str, position: int) -> State:
        """See what there is, and begin another epoch if a position has never been in this one."""
        bounds = self._bounds
        answer = await self._run(
            connection,
            CHECK,
            bounds.max_events,
            int(bounds.max_age * 1000),
            bounds.max_topics,
            epoch,
            id_of(position),
        )
        found, last, reach = (part.decode() for part in answer)
        return State(found, position_of(last), position_of(reach))

    async def publish(
        self,
        connection: Connection,
        publisher: str,
        sequence: int,
        arguments: Sequence[str | int],
    ) -> tuple[str, Sequence[int]]:
        """Add events, or find that they were added before; return the epoch and positions."""
        key = self._keys.publisher(publisher)
        answer = await self._run(connection, PUBLISH, sequence, *arguments, more_keys=(key,))
        epoch, *ids = (part.decode() for part in answer)
        return epoch, [position_of(id_) for id_ in ids]

    async def read(
        self,
        connection: Connection,
        epoch: str,
        topics: Collection[str],
        position: int,
        limit: int,
    ) -> Page:
        """Return what topics had after a position."""
        word, *found = await self._run(connection, READ, epoch, id_of(position), limit, *topics)
        if not found:
            return Page(word.decode())
        looked_up_to, entries = found
        records = list(records_of(_entries(entries)))
        return Page(word.decode(), position_of(looked_up_to.decode()), records)

    async def follow(self, connection: Connection, position: int, seconds: float) -> list[Entry]:
        """Wait for what comes after a position; return it, or nothing after so many seconds."""
        answer: dict[bytes, Any] | None = await self._take_page(
            connection,
            b"XREAD",
            "BLOCK",
            max(1, int(seconds * 1000)),
            "COUNT",
            self._page,
            "STREAMS",
            self._keys.events,
            id_of(position),
            wait=seconds,
        )
        return [entry for stream in (answer or {}).values() for entry in _entries(stream)]

    async def before(self, connection: Connection, position: int) -> list[Entry]:
        """Return a page of what comes up to a position, the latest first."""
        answer = await self._take_page(
            connection, b"XREVRANGE", self._keys.events, id_of(position), "-", "COUNT", self._page
        )
        return _entries(answer)

    async def _take_page(self, connection: Connection, *command: Any, wait: float = 0) -> Any:
        """Ask for a page; for a smaller one the next time, if it does not come in time."""
        try:
            answer = await self.link.call(connection, *command, wait=wait)
        except NoAnswerError:
            self._page = max(1, self._page // 2)
            raise
        self._page = min(2 * self._page, PAGE)
        return answer

    async def _run(
        self,
        connection: Connection,
        script: Script,
        *arguments: str | int,
        more_keys: Sequence[str] = (),
    ) -> Any:
        keys = (*self._keys.all, *more_keys)
        try:
            return await self.link.call(
                connection, b"EVALSHA", script.sha, len(keys), *keys, *arguments
            )
        except RefusedError as error:
            if not isinstance(error.__cause__, NoScriptError):
                raise
        return await self.link.call(connection, b"EVAL", script.text, len(keys), *keys, *arguments)


def _entries(answer: Any) -> list[Entry]:
    return [Entry(id_, fields) for id_, fields in answer]
