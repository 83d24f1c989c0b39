"""The event a server sends, and what else a stream accepts in its place."""

from collections.abc import Callable
from typing import Any, cast

from ._exceptions import EncodeError
from ._fields import (
    DEFAULT_SEPARATOR,
    check_id,
    check_one_line,
    check_separator,
    check_utf8,
    split_lines,
)
from ._json import is_model, write_json

_REPR_LIMIT = 60
# What events are called, and where; the name of the first means nothing else anywhere.
_EVENTS = {"ServerSentEvent": "", "MessageEvent": "trio_sse"}
_BYTES: tuple[type[bytes | bytearray], ...] = (bytes, bytearray, cast("type[bytes]", memoryview))


class ServerSentEvent:
    r"""One event of an event stream: WHATWG HTML, section 9.2.5.

    Immutable, hashable and compared by value. Everything is checked when the
    event is made, so an event that exists can be sent.

    Args:
        data: What the client gets. ``str``; bytes, which must be UTF-8; anything
            else through ``str()``, but for a pydantic model, which is for
            `JSONServerSentEvent`. Each of CRLF, CR and LF starts a new line.
        event: The type of the event; a client listens for "message" if there is
            none. An event with a type and no data carries empty data, since
            clients drop an event that has none.
        id: What the client sends back as ``Last-Event-ID`` when it reconnects;
            ``str`` or ``int``. The empty string makes the client forget its id.
        retry: The reconnection time in milliseconds that the client is to use.
        comment: Text that clients ignore.

    Raises:
        ValueError: if there is nothing to send, or a field holds what its place
            in the stream cannot carry (a line break in ``event``; a line break,
            a control character or outer white space in ``id``; a lone surrogate;
            a negative ``retry``). Nothing is ever stripped.
        TypeError: if a field is of the wrong type.

    Example::

        >>> ServerSentEvent("hello", event="greeting", id=1).encode()
        b'id: 1\r\nevent: greeting\r\ndata: hello\r\n\r\n'
    """

    __slots__ = ("_comment", "_data", "_encoded", "_event", "_id", "_retry")

    # Private slots behind read-only properties: immutable like a frozen
    # dataclass, whose object.__setattr__ would double the cost of making one.
    _data: str | None
    _event: str | None
    _id: str | None
    _retry: int | None
    _comment: str | None
    # The separator last used, and the bytes: in one slot, so that an event shared
    # by threads with different separators is never seen half changed.
    _encoded: tuple[str, bytes] | None

    def __init__(
        self,
        data: object = None,
        *,
        event: str | None = None,
        id: str | int | None = None,
        retry: int | None = None,
        comment: str | None = None,
    ) -> None:
        only_data = event is None and id is None and retry is None and comment is None
        # Most events are a line of text. To encode it is also to check it, so that is done once;
        # a subclass may write itself in another way.
        if only_data and type(data) is str and type(self) is ServerSentEvent:
            if "\n" not in data and "\r" not in data:
                try:
                    self._encoded = DEFAULT_SEPARATOR, f"data: {data}\r\n\r\n".encode()
                    self._data = data
                    self._event = self._id = self._retry = self._comment = None
                    return
                except UnicodeEncodeError:
                    pass  # said below, with the name of the field
        self._data = None if data is None else _data_text(data)
        self._event = None if event is None else _event_text(event)
        self._id = None if id is None else _id_text(id)
        self._retry = None if retry is None else _retry_milliseconds(retry)
        self._comment = None if comment is None else _comment_text(comment)
        self._encoded = None
        if only_data and data is None:
            raise ValueError("an event needs at least one of data, event, id, retry and comment")

    @property
    def data(self) -> str | None:
        """The data as text, or None."""
        return self._data

    @property
    def event(self) -> str | None:
        """The type of the event, or None."""
        return self._event

    @property
    def id(self) -> str | None:
        """The id as text, or None."""
        return self._id

    @property
    def retry(self) -> int | None:
        """The reconnection time in milliseconds, or None."""
        return self._retry

    @property
    def comment(self) -> str | None:
        """The comment, or None."""
        return self._comment

    def encode(self, sep: str = DEFAULT_SEPARATOR) -> bytes:
        r"""Return the event as bytes of an event stream.

        The bytes are kept for the separator last used, so an event sent to many
        clients is encoded once.

        Args:
            sep: What ends a line: ``"\r\n"`` (default), ``"\r"`` or ``"\n"``.

        Raises:
            ValueError: for any other separator.
        """
        encoded = self._encoded
        if encoded is None or encoded[0] != sep:
            check_separator(sep)
            self._encoded = encoded = sep, self._text(sep).encode()
        return encoded[1]

    def _text(self, sep: str) -> str:
        text = "" if self._comment is None else _field_lines("", self._comment, sep)
        if self._id is not None:
            text += f"id: {self._id}{sep}"
        if self._event is not None:
            text += f"event: {self._event}{sep}"
        if self._data is not None:
            text += _field_lines("data", self._data, sep)
        elif self._event is not None:
            text += f"data:{sep}"
        if self._retry is not None:
            text += f"retry: {self._retry}{sep}"
        return text + sep

    def _fields(self) -> tuple[str | None, str | None, str | None, int | None, str | None]:
        return self._data, self._event, self._id, self._retry, self._comment

    def __eq__(self, other: object) -> bool:
        """Compare by value; how an event came to its text does not matter."""
        if not isinstance(other, ServerSentEvent):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        """Hash the fields."""
        return hash(self._fields())

    def __getstate__(self) -> tuple[object, ...]:
        """Leave the cached encoding out of a pickle."""
        return self._fields()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Restore the fields."""
        self._data, self._event, self._id, self._retry, self._comment = state
        self._encoded = None

    def __repr__(self) -> str:
        """Show the fields that are set, with long text cut."""
        named = zip(("data", "event", "id", "retry", "comment"), self._fields(), strict=True)
        shown = [f"{name}={_short_repr(value)}" for name, value in named if value is not None]
        return f"{type(self).__name__}({', '.join(shown)})"


class JSONServerSentEvent(ServerSentEvent):
    r"""An event whose data is a value written as JSON.

    Args:
        data: Any value that ``dumps`` takes. ``None`` is sent as ``null``.
        dumps: What writes the JSON, returning ``str`` or bytes; by default the
            standard library's, compact, not ASCII-only, and refusing NaN. What has a
            ``model_dump_json``, as pydantic's models have, writes itself by that, also
            inside of lists and dicts.
        event: As in `ServerSentEvent`, like ``id``, ``retry`` and ``comment``.

    Raises:
        ValueError: as `ServerSentEvent` does, and for NaN or an infinity.
        TypeError: as `ServerSentEvent` does, and for a value that is not JSON.

    Example::

        >>> JSONServerSentEvent({"price": 12.5}).encode()
        b'data: {"price":12.5}\r\n\r\n'
    """

    __slots__ = ()

    def __init__(
        self,
        data: object,
        *,
        event: str | None = None,
        id: str | int | None = None,
        retry: int | None = None,
        comment: str | None = None,
        dumps: Callable[[Any], str | bytes] | None = None,
    ) -> None:
        text = (dumps or write_json)(data)
        if not isinstance(text, str | bytes):
            raise TypeError(f"dumps must return str or bytes, not {type(text).__name__}")
        super().__init__(text, event=event, id=id, retry=retry, comment=comment)


def encode_item(item: object, sep: str) -> bytes:
    """Encode whatever a source produced: the rules of `EventSourceResponse`'s content.

    Raises:
        EncodeError: naming the type of the item, if it cannot be an event.
    """
    if isinstance(item, ServerSentEvent):
        return item.encode(sep)
    if isinstance(item, bytes):
        return item
    # Most items are a line of text: an event would only be made to be thrown away.
    if type(item) is str and "\n" not in item and "\r" not in item:
        try:
            return f"data: {item}{sep}{sep}".encode()
        except UnicodeEncodeError:
            pass  # said below, with the name of the field
    try:
        return _encode_other(item, sep)
    except Exception as error:
        raise EncodeError(
            f"an item of type {type(item).__name__!r} cannot be sent as an event: {error}"
        ) from error


def event_to_publish(item: object) -> ServerSentEvent:
    """Return what a hub was given as an event that has no id yet.

    Raises:
        TypeError: for raw bytes, which cannot be given an id.
        ValueError: for an event that brings an id.
    """
    if isinstance(item, _BYTES):
        raise TypeError(
            f"event is {type(item).__name__}, and raw bytes cannot be given an id; "
            "publish a ServerSentEvent, str or dict"
        )
    event = item if isinstance(item, ServerSentEvent) else _event_from(item)
    if event.id is not None:
        raise ValueError(
            f"event has an id of its own ({event.id!r}), but the hub gives the ids: leave it out"
        )
    return event


def with_id(event: ServerSentEvent, id_: str, sep: str) -> ServerSentEvent:
    """Return the event with an id, which is known to be one; what is encoded stays so."""
    copy = object.__new__(ServerSentEvent)
    copy.__setstate__((event.data, event.event, id_, event.retry, event.comment))
    encoded = f"id: {id_}{sep}".encode() + event.encode(sep)
    copy._encoded = sep, encoded  # pyright: ignore[reportPrivateUsage]
    return copy


def _encode_other(item: object, sep: str) -> bytes:
    return bytes(item) if isinstance(item, _BYTES) else _event_from(item).encode(sep)


def _event_from(item: object) -> ServerSentEvent:
    if isinstance(item, dict):
        return _event_from_dict(cast("Any", item))
    if type(item) is not str:
        _refuse_foreign_event(item)
        if is_model(item):
            return JSONServerSentEvent(item)
    return ServerSentEvent(item if item is not None else "None")


def _refuse_foreign_event(item: object) -> None:
    """Refuse an event of another kind: its text would be sent in place of what it holds."""
    for kind in type(item).__mro__:
        if kind.__name__ in _EVENTS and _EVENTS[kind.__name__] in (kind.__module__, ""):
            raise TypeError(
                f"{kind.__module__}.{kind.__name__} is no trio_sse.ServerSentEvent: make one of "
                "what it holds, ServerSentEvent(data, event=..., id=...)"
            )


def _event_from_dict(fields: dict[Any, Any]) -> ServerSentEvent:
    unknown = [key for key in fields if key not in ("data", "event", "id", "retry", "comment")]
    if unknown:
        raise TypeError(
            f"a dict holds the keywords of ServerSentEvent, not {unknown!r}; "
            "use JSONServerSentEvent to send a dict as JSON"
        )
    return ServerSentEvent(**fields)


def _field_lines(name: str, text: str, sep: str) -> str:
    # Nearly all text is one line: two scans and one format then do.
    if "\n" not in text and "\r" not in text:
        return f"{name}: {text}{sep}"
    return f"{name}: " + f"{sep}{name}: ".join(split_lines(text)) + sep


def _data_text(data: object) -> str:
    if type(data) is str:
        text = data
    elif isinstance(data, str):
        text = str.__str__(data)  # the text of an enum member too, not its name
    elif isinstance(data, _BYTES):
        return _decode("data", bytes(data))
    elif is_model(data):
        raise TypeError(
            f"data is {type(data).__name__!r}, a model: JSONServerSentEvent sends its JSON, "
            "and str() of it its text"
        )
    else:
        text = str.__str__(str(data))  # __str__ may return a subclass of str
    check_utf8("data", text)
    return text


def _decode(field: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{field} given as bytes must be UTF-8: {error.reason} at {error.start}"
        ) from None


def _event_text(event: object) -> str:
    if not isinstance(event, str):
        raise TypeError(f"event must be str, not {type(event).__name__}")
    text = event if type(event) is str else str.__str__(event)
    check_one_line("event", text)
    return text


def _id_text(id_: object) -> str:
    if isinstance(id_, str):
        text = id_ if type(id_) is str else str.__str__(id_)
        check_id(text)
        return text
    if isinstance(id_, bool) or not isinstance(id_, int):
        raise TypeError(f"id must be str or int, not {type(id_).__name__}")
    return _decimal("id", id_)


def _retry_milliseconds(retry: object) -> int:
    if isinstance(retry, bool) or not isinstance(retry, int):
        raise TypeError(f"retry must be int (milliseconds), not {type(retry).__name__}")
    text = _decimal("retry", retry)
    if retry < 0:
        raise ValueError(f"retry must be 0 or more milliseconds, not {text}")
    return int(retry)


def _decimal(field: str, number: int) -> str:
    try:
        return int.__repr__(number)
    except ValueError as error:  # more digits than Python writes
        raise ValueError(f"{field} is too large a number: {error}") from None


def _comment_text(comment: object) -> str:
    if not isinstance(comment, str):
        raise TypeError(f"comment must be str, not {type(comment).__name__}")
    check_utf8("comment", comment)
    return str.__str__(comment)


def _short_repr(value: str | int) -> str:
    if isinstance(value, int) or len(value) <= _REPR_LIMIT:
        return repr(value)
    return f"{value[:_REPR_LIMIT]!r}... ({len(value)} characters)"
