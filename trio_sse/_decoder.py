"""Reading an event stream, without I/O: WHATWG HTML, section 9.2.6."""

import json
import re
from collections.abc import Callable
from typing import Any

from ._exceptions import EventTooLargeError
from ._fields import BYTE_ORDER_MARK

# As much as browsers and proxies are known to pass in one event, and what one
# connection can make a client hold.
DEFAULT_MAX_EVENT_SIZE = 1024 * 1024

_LF, _CR = b"\n\r"  # as integers, which bytes are searched for several times faster

# A whole event, in text whose lines end with LF: the fields of one that has the shape nearly all
# have; or the lines of one that has any other, to the last empty line after it. Each line is read
# twice at most, and nothing is tried again, so the time is linear. An empty alternative is what
# "?" would be, and takes less.
_EVENT = re.compile(
    r"(?:id: ?+([^\n\0]++)\n|)(?:event: ?+(.*+)\n|)"
    r"data: ?+(.*+(?:\ndata: .*+)*+)\n"
    r"(?:id: ?+([^\n\0]++)\n|)\n"
    r"|((?:.++\n)*+\n++)"
)
_LONE_CR = re.compile(rb"\r[^\n]")


class MessageEvent:
    """What a client dispatches for one event: WHATWG HTML, sections 9.2.6 and 9.3.1.

    Immutable, hashable and compared by value.

    Args:
        type: The type of the event, "message" when the stream gave none.
        data: The data, its lines joined by LF.
        last_event_id: The last event ID of the stream at this event.
    """

    __slots__ = ("_data", "_last_event_id", "_type")
    __match_args__ = ("type", "data", "last_event_id")

    # Private slots behind read-only properties, like those of `ServerSentEvent`, and for
    # the same reason.
    _type: str
    _data: str
    _last_event_id: str

    def __init__(self, type: str, data: str, last_event_id: str) -> None:
        self._type = type
        self._data = data
        self._last_event_id = last_event_id

    @property
    def type(self) -> str:
        """The type of the event."""
        return self._type

    @property
    def data(self) -> str:
        """The data."""
        return self._data

    @property
    def last_event_id(self) -> str:
        """The last event ID of the stream at this event."""
        return self._last_event_id

    def json(self) -> Any:
        """Return the data, read as JSON.

        Raises:
            ValueError: if it is none.
        """
        return json.loads(self._data)

    def _fields(self) -> tuple[str, str, str]:
        return self._type, self._data, self._last_event_id

    def __eq__(self, other: object) -> bool:
        """Compare by value."""
        if not isinstance(other, MessageEvent):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        """Hash the fields."""
        return hash(self._fields())

    def __reduce__(self) -> tuple[object, ...]:
        """Make a pickle, or a copy, of the fields."""
        return self.__class__, self._fields()

    def __repr__(self) -> str:
        """Show the fields."""
        named = zip(self.__match_args__, self._fields(), strict=True)
        shown = ", ".join(f"{name}={value!r}" for name, value in named)
        return f"{self.__class__.__name__}({shown})"


class EventStreamDecoder:
    r"""Turn the bytes of an event stream into events, at any chunking.

    Does no I/O and never waits. Takes time linear in what it is given.

    Args:
        max_event_size: The most bytes that one event's data and the line being
            read may take together; 1 MiB by default.
        on_comment: Called with the text of each comment, in order.
        last_event_id: The last event ID that the stream goes on from; empty by default.

    Raises:
        ValueError: if ``max_event_size`` is not positive.
        TypeError: if it is not an integer.

    Example::

        >>> EventStreamDecoder().receive_data(b"data: a\n\ndata: b\n\n")
        [MessageEvent(type='message', data='a', last_event_id=''),
         MessageEvent(type='message', data='b', last_event_id='')]
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_data_size",
        "_event_type",
        "_failed",
        "_id_buffer",
        "_line",
        "_max_event_size",
        "_on_comment",
        "_starting",
        "last_event_id",
        "reconnection_time",
    )

    last_event_id: str
    """The last event ID, to be sent as ``Last-Event-ID``; kept across events."""
    reconnection_time: int | None
    """The reconnection time in milliseconds that the stream last set, or None."""

    def __init__(
        self,
        *,
        max_event_size: int = DEFAULT_MAX_EVENT_SIZE,
        on_comment: Callable[[str], object] | None = None,
        last_event_id: str = "",
    ) -> None:
        if isinstance(max_event_size, bool) or not isinstance(max_event_size, int):
            raise TypeError(f"max_event_size must be int, not {type(max_event_size).__name__}")
        if max_event_size <= 0:
            raise ValueError(f"max_event_size must be positive, not {max_event_size}")
        self._max_event_size = max_event_size
        self._on_comment = on_comment
        self.last_event_id = last_event_id
        self.reconnection_time = None
        self._id_buffer = last_event_id
        self._event_type = ""
        self._data: list[str] = []
        self._data_size = 0
        self._line = bytearray()  # the line whose end has not come yet
        self._starting = True  # a byte order mark may still come
        self._after_cr = False  # an LF that comes next belongs to that CR
        self._failed = False

    def receive_data(self, data: bytes) -> list[MessageEvent]:
        """Take the next bytes of the stream and return the events they complete.

        A CR ends its line at once, without waiting for the byte after it. An
        event that the stream's end leaves unfinished is never returned.

        Args:
            data: Any number of bytes. None (``b""``) asks only whether the
                decoder has failed.

        Raises:
            EventTooLargeError: if the bytes before these held too large an
                event, and at each call from then on. What was complete before
                that event has been returned.
        """
        if self._failed:
            raise EventTooLargeError(
                f"an event is larger than max_event_size ({self._max_event_size} bytes)"
            )
        if self._starting:
            data = self._skip_byte_order_mark(data)
            if self._starting:
                return []
        if self._after_cr and data:
            self._after_cr = False
            data = data.removeprefix(b"\n")
        if _CR in data:
            self._after_cr = data[-1] == _CR
            data = _with_lf(data)
        events: list[MessageEvent] = []
        if _LF in data:
            end = data.rfind(b"\n\n") + 2
            if end > 2:
                data = self._take_events(data, end, events)
        if _LF in data:
            data = self._take_lines(data, events)
        if data:
            self._line += data
            self._check_size(len(self._line))
        return events

    def _skip_byte_order_mark(self, data: bytes) -> bytes:
        data = bytes(self._line) + data
        self._line.clear()
        if len(data) < len(BYTE_ORDER_MARK) and BYTE_ORDER_MARK.startswith(data):
            self._line += data
            return b""
        self._starting = False
        return data.removeprefix(BYTE_ORDER_MARK)

    def _take_events(self, data: bytes, end: int, events: list[MessageEvent]) -> bytes:
        """Process the whole events that the last empty line ends; return what follows it."""
        begun = self._line or self._data or self._event_type
        start = data.find(b"\n\n") + 2 if begun else 0
        # Where all of them together are not too large, none of them has to be measured.
        if start < end <= start + self._max_event_size:
            if start:
                self._take_lines(data[:start], events)
            if self._failed:
                return b""
            self._read_events(data[start:end].decode("utf-8", "replace"), events)
            data = data[end:]
        return data

    def _read_events(self, text: str, events: list[MessageEvent]) -> None:
        """Read whole events; the text ends with an empty line."""
        last_id, new = self._id_buffer, object.__new__
        for id_, kind, data, id_after, other in _EVENT.findall(text):
            if other:
                self._id_buffer = self.last_event_id = last_id
                for line in other.encode().splitlines():
                    self._read_line(line, events)
                last_id = self._id_buffer
            else:
                last_id = id_after or id_ or last_id
                if "\n" in data:
                    data = data.replace("\ndata: ", "\n")
                # What the class does, without the call.
                event = new(MessageEvent)
                event._type = kind or "message"  # pyright: ignore[reportPrivateUsage]
                event._data = data  # pyright: ignore[reportPrivateUsage]
                event._last_event_id = last_id  # pyright: ignore[reportPrivateUsage]
                events.append(event)
        self._id_buffer = self.last_event_id = last_id

    def _take_lines(self, data: bytes, events: list[MessageEvent]) -> bytes:
        """Process the lines that have an end, one or more; return what follows them."""
        *lines, rest = data.split(b"\n")
        if self._line:
            self._line += lines[0]
            lines[0] = bytes(self._line)
            self._line.clear()
        for line in lines:
            if not self._check_size(len(line)):
                return b""
            self._read_line(line, events)
        return rest

    def _check_size(self, line_size: int) -> bool:
        if self._data_size + line_size > self._max_event_size:
            self._failed = True
            self._line.clear()
            self._data.clear()
        return not self._failed

    def _read_line(self, line: bytes, events: list[MessageEvent]) -> None:
        """Read a line, which is known not to be too large."""
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        # A line's ends are ASCII, so decoding line by line, or some lines at once, replaces what
        # decoding the whole stream would.
        text = value.decode("utf-8", "replace")
        if name == b"data":
            self._data.append(text)
            self._data_size += len(value) + 1
        elif name == b"event":
            self._event_type = text
        elif name == b"id":
            if "\0" not in text:
                self._id_buffer = text
        elif name == b"retry":
            self._retry(value)
        elif not name and self._on_comment is not None:
            self._on_comment(text)

    def _dispatch(self, events: list[MessageEvent]) -> None:
        # The id is committed even where the event is not dispatched (9.2.6, step 1).
        self.last_event_id = self._id_buffer
        if self._data:
            kind = self._event_type or "message"
            events.append(MessageEvent(kind, "\n".join(self._data), self.last_event_id))
            self._data.clear()
            self._data_size = 0
        self._event_type = ""

    def _retry(self, value: bytes) -> None:
        # bytes.isdigit() knows ASCII digits alone, which is what the standard asks.
        if value.isdigit():
            try:
                self.reconnection_time = int(value.lstrip(b"0") or b"0")
            except ValueError:  # more digits than Python converts: no time anyone waits
                return


def _with_lf(data: bytes) -> bytes:
    """Return lines with LF for an end, whatever ended them."""
    if data[-1] != _CR and _LONE_CR.search(data) is None:
        return data.replace(b"\r", b"")  # several times faster than to replace CRLF
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
