"""Items on their way in, messages on their way out."""

import logging
from collections.abc import AsyncIterable, Callable, Generator, Iterable
from typing import Any

from starlette.types import Message, Send

from .._event import ServerSentEvent

logger = logging.getLogger("trio_sse.compat")


class AsyncItems:
    """The items of an async iterable, encoded where they are made."""

    def __init__(self, content: AsyncIterable[Any], encode: Callable[[Any], bytes]) -> None:
        self._iterator: Any = content
        self._encode = encode

    def __aiter__(self) -> "AsyncItems":
        self._iterator = aiter(self._iterator)
        return self

    async def __anext__(self) -> bytes:
        return self._encode(await anext(self._iterator))

    async def aclose(self) -> None:
        """Close the iterator, whose errors must not hide why."""
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is None:
            return
        try:
            await aclose()
        except Exception:
            logger.exception("Error closing body iterator after encoding or send failure")


def sync_items(content: Iterable[Any], encode: Callable[[Any], bytes]) -> Generator[bytes]:
    """Yield the items of an iterable, encoded, and close its iterator."""
    iterator = iter(content)
    try:
        for item in iterator:
            yield encode(item)
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()


class Written(ServerSentEvent):
    """An event that is written already."""

    __slots__ = ("_bytes",)

    def __init__(self, encoded: bytes) -> None:
        super().__init__(comment="written")
        self._bytes = encoded

    def encode(self, sep: str = "") -> bytes:
        return self._bytes


class Sender:
    """ASGI's ``send``, which keeps what it raises: natively that is a client that left."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._error: Exception | None = None

    async def __call__(self, message: Message) -> None:
        try:
            await self._send(message)
        except Exception as error:
            self._error = error
            raise

    def check(self) -> None:
        """Raise what was raised."""
        error, self._error = self._error, None
        if error is not None:
            try:
                raise error
            finally:
                del error
