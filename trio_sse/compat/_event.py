"""An event as sse-starlette has it, and what else it takes for one."""

import json
import re
from collections.abc import AsyncIterable, Iterator
from typing import Any, cast

from .._event import ServerSentEvent as NativeEvent

_LINE_END = re.compile(r"\r\n|\r|\n")
_BYTES: tuple[type[bytes], ...] = (bytes, cast("type[bytes]", memoryview))


class ServerSentEvent:
    """One event, written when it is sent: sse-starlette's, to whom nothing is an error.

    Line breaks in ``id`` and ``event`` are left out. `trio_sse.ServerSentEvent` refuses them.

    Args:
        data: What the client gets, through ``str()``; each line break starts a new line.
        event: The type of the event.
        id: The id.
        retry: The reconnection time in milliseconds.
        comment: Text that clients ignore.
        sep: What ends a line, in whichever stream it is sent; CRLF by default.
    """

    DEFAULT_SEPARATOR = "\r\n"

    def __init__(
        self,
        data: Any = None,
        *,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
        comment: str | None = None,
        sep: str | None = None,
    ) -> None:
        self.data = data
        self.event = event
        self.id = id
        self.retry = retry
        self.comment = comment
        self._sep = self.DEFAULT_SEPARATOR if sep is None else sep

    def encode(self) -> bytes:
        """Return the event as bytes of an event stream.

        Raises:
            TypeError: if ``retry`` is not an int, or ``id`` or ``event`` not a ``str``.
        """
        return "".join(f"{line}{self._sep}" for line in (*self._lines(), "")).encode()

    def _lines(self) -> Iterator[str]:
        if self.comment is not None:
            yield from (f": {line}" for line in _LINE_END.split(str(self.comment)))
        if self.id is not None:
            yield "id: " + _LINE_END.sub("", self.id)
        if self.event is not None:
            yield "event: " + _LINE_END.sub("", self.event)
        if self.data is not None:
            yield from (f"data: {line}" for line in _LINE_END.split(str(self.data)))
        if self.retry is not None:
            if not isinstance(self.retry, int):
                raise TypeError("retry argument must be int")
            yield f"retry: {self.retry}"


class JSONServerSentEvent(ServerSentEvent):
    """An event whose data is a value written as JSON, compact; None for no data.

    Args:
        data: The value.
        event: As in `ServerSentEvent`, like ``id``, ``retry``, ``comment`` and ``sep``.

    Raises:
        TypeError: for a value that is not JSON.
        ValueError: for NaN and infinities.
    """

    def __init__(
        self,
        data: Any = None,
        *,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
        comment: str | None = None,
        sep: str | None = None,
    ) -> None:
        if data is not None:
            data = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        super().__init__(data, event=event, id=id, retry=retry, comment=comment, sep=sep)


Content = str | bytes | dict[str, Any] | ServerSentEvent | Any
SyncContentStream = Iterator[Content]
AsyncContentStream = AsyncIterable[Content]
ContentStream = AsyncContentStream | SyncContentStream


def ensure_bytes(data: Content, sep: str) -> bytes:
    """Return an item as bytes of an event stream.

    Args:
        data: Bytes that are already encoded; an event, which has a separator of its own; a
            dict of the keywords of `ServerSentEvent`; or anything else, through ``str()``.
        sep: What ends a line.

    Raises:
        TypeError: for a dict with other keys, and as `ServerSentEvent.encode` does.
    """
    if isinstance(data, _BYTES):
        return bytes(data)
    if isinstance(data, ServerSentEvent):
        return data.encode()
    if isinstance(data, NativeEvent):
        return data.encode(sep)
    if isinstance(data, dict):
        fields: dict[str, Any] = {**data, "sep": sep}
        return ServerSentEvent(**fields).encode()
    return ServerSentEvent(str(data), sep=sep).encode()
