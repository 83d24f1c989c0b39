"""Encoded events on their way from the task that makes them to the one that writes."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from .._close_reason import CloseReason
from .._runtime import CancelScope, Event, Runtime
from ._contract import Closer
from ._feeder import Feeder

logger = logging.getLogger("trio_sse")


class Mailbox:
    """A list and two wake-ups: one task puts, another takes, nothing is handed over singly.

    Args:
        runtime: The runtime of the stream.
        limit: The number of bytes from which on there is no room for more; with 0 there is
            room only while the other task waits.
    """

    __slots__ = (
        "_chunks",
        "_ended",
        "_filled",
        "_limit",
        "_nobody_waits",
        "_room",
        "_runtime",
        "_size",
    )

    def __init__(self, runtime: Runtime, limit: int) -> None:
        self._runtime = runtime
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._nobody_waits = False
        self._filled: Event | None = None
        self._room: Event | None = None

    @property
    def full(self) -> bool:
        """Whether the task that puts should wait for room."""
        return self._size >= self._limit and self._filled is None

    @property
    def ready(self) -> bool:
        """Whether `take` would not wait."""
        return bool(self._chunks) or self._ended

    def put(self, chunk: bytes) -> None:
        """Add an encoded event; after the end, drop it."""
        if chunk and not self._ended:
            self._chunks.append(chunk)
            self._size += len(chunk)
            if self._filled is not None:
                self._filled.set()
                self._filled = None

    def end(self) -> None:
        """Let nothing more in."""
        self._ended = True
        if self._filled is not None:
            self._filled.set()

    def stop_waiting(self) -> None:
        """Let the task that waits for room go on without."""
        self._nobody_waits = True
        if self._room is not None:
            self._room.set()

    async def wait_for_room(self) -> None:
        """Wait until enough was taken. Always a checkpoint."""
        if self.full and not self._nobody_waits:
            self._room = self._runtime.Event()
            await self._room.wait()
        else:
            await self._runtime.checkpoint()

    async def take(self, limit: int) -> bytes:
        """Wait for an event and return what is there, joined; ``b""`` is the end.

        Stops adding at ``limit`` bytes. Always a checkpoint.
        """
        if self.ready:
            await self._runtime.checkpoint()
        else:
            self._filled = self._runtime.Event()
            self._let_in()
            await self._filled.wait()
        return self._cut(limit)

    def _cut(self, limit: int) -> bytes:
        count = size = 0
        while count < len(self._chunks) and size < limit:
            size += len(self._chunks[count])
            count += 1
        joined = b"".join(self._chunks[:count])
        del self._chunks[:count]
        self._size -= size
        self._let_in()
        return joined

    def _let_in(self) -> None:
        if self._room is not None and not self.full:
            self._room.set()
            self._room = None


class MailboxSource(ABC):
    """What sources have in common whose feeder puts encoded events into a mailbox.

    Args:
        runtime: The runtime of the stream.
        limit: How many bytes the feeder may run ahead of the writer.
        cleanup_timeout: Seconds that closing the content may take.
        sep: What ends a line.
    """

    def __init__(self, runtime: Runtime, limit: int, cleanup_timeout: float, sep: str) -> None:
        self.errors: list[Exception] = []
        self._runtime = runtime
        self._limit = limit
        self._cleanup_timeout = cleanup_timeout
        self._sep = sep
        self._mailbox = Mailbox(runtime, limit)
        self._feeder = Feeder(runtime, self._feed, self.errors, self._mailbox.end)
        self.feeders: Sequence[Feeder] = (self._feeder,)

    @property
    def ready(self) -> bool:
        """Whether the mailbox holds anything."""
        return self._mailbox.ready

    async def opened(self, end: Callable[[CloseReason], object], /) -> None:
        """Wait for nothing."""
        await self._runtime.checkpoint()

    async def receive_some(self, limit: int) -> bytes:
        """Take what the feeder has put into the mailbox."""
        return await self._mailbox.take(limit)

    def stop(self) -> None:
        """Cancel the feeder, which then closes the content."""
        self._feeder.stop()

    @abstractmethod
    def close(self) -> Closer | None:
        """Return the closing of content that was handed in and never touched."""

    @abstractmethod
    async def _feed(self) -> None:
        """Put the events of the content into the mailbox, then close the content."""

    def _closing_deadline(self) -> float:
        return self._runtime.current_time() + self._cleanup_timeout

    def _warn_if_cut_short(self, scope: CancelScope, content: object) -> None:
        if scope.cancel_called:
            logger.warning(
                "closing %r was cancelled after cleanup_timeout (%g seconds)",
                content,
                self._cleanup_timeout,
            )
