"""How an event and its place are written in a stream of Redis."""

import logging
from collections.abc import Iterable, Iterator

from .._event import ServerSentEvent
from .._fields import check_topic
from .._history import Record

logger = logging.getLogger("trio_sse")

# An id is the time in milliseconds and a number, of 64 bits each: one int that grows with it.
_BITS = 64
_MASK = (1 << _BITS) - 1


def position_of(id_: str) -> int:
    """Return the position that an id of Redis stands for."""
    milliseconds, _, number = id_.partition("-")
    return int(milliseconds) << _BITS | int(number)


def id_of(position: int) -> str:
    """Return the id of Redis for a position."""
    return f"{position >> _BITS}-{position & _MASK}"


def read_id(text: str) -> int | None:
    """Return the position that an id stands for if it is one, as Redis writes it."""
    milliseconds, _, number = text.partition("-")
    if not all(part.isascii() and part.isdigit() for part in (milliseconds, number)):
        return None
    position = position_of(text)
    return position if id_of(position) == text and position >> 2 * _BITS == 0 else None


def arguments_of(topic: str, event: ServerSentEvent) -> list[str | int]:
    """Return what the script that publishes is given for an event."""
    fields: list[str | int] = []
    for name, value in (
        ("data", event.data),
        ("event", event.event),
        ("retry", event.retry),
        ("comment", event.comment),
    ):
        if value is not None:
            fields += name, value
    return [topic, len(fields), *fields]


class Entry:
    """An entry of the stream, as Redis returns it: an id, and fields with their values."""

    __slots__ = ("_fields", "position")

    def __init__(self, id_: bytes, fields: list[bytes]) -> None:
        self.position = position_of(id_.decode())
        self._fields = fields

    @property
    def prev(self) -> str | None:
        """The id of the entry before, or the epoch; None if the entry is not one of a hub."""
        if self._fields[:6:2] != [b"prev", b"before", b"topic"]:
            return None
        return self._fields[1].decode(errors="replace")

    @property
    def position_before(self) -> int:
        """The position of the entry before; 0 for the first one of its epoch."""
        return read_id(self.prev or "") or 0

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return sum(map(len, self._fields))

    def record(self) -> Record:
        """Return what was published. Fields that are not known are those of later versions.

        Raises:
            ValueError: if no hub would have published it.
        """
        if self.prev is None:
            raise ValueError("it has no prev, before and topic")
        values = [value.decode() for value in self._fields]
        fields = dict(zip(values[::2], values[1::2], strict=True))
        topic = fields["topic"]
        check_topic(topic)
        retry = fields.get("retry")
        event = ServerSentEvent(
            fields.get("data"),
            event=fields.get("event"),
            retry=None if retry is None else int(retry),
            comment=fields.get("comment"),
        )
        return Record(self.position, topic, event)


def records_of(entries: Iterable[Entry]) -> Iterator[Record]:
    """Yield what was published; leave out, and log, what no hub would have published."""
    for entry in entries:
        try:
            yield entry.record()
        except ValueError as error:
            logger.warning("entry %s of the stream is no event: %s", id_of(entry.position), error)
