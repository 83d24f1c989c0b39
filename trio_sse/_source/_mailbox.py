"""Encoded events on their way from the task that makes them to the one that writes."""

from .._runtime import Event, Runtime


class Mailbox:
    """A list and two wake-ups: one task puts, another takes, nothing is handed over singly.

    Args:
        runtime: The runtime of the stream.
        limit: The number of bytes from which on there is no room for more.
    """

    __slots__ = ("_chunks", "_ended", "_filled", "_limit", "_room", "_runtime", "_size")

    def __init__(self, runtime: Runtime, limit: int) -> None:
        self._runtime = runtime
        self._limit = limit
        self._chunks: list[bytes] = []
        self._size = 0
        self._ended = False
        self._filled: Event | None = None
        self._room: Event | None = None

    @property
    def full(self) -> bool:
        """Whether the task that puts should wait for room."""
        return self._size >= self._limit

    @property
    def ready(self) -> bool:
        """Whether `take` would not wait."""
        return bool(self._chunks) or self._ended

    def put(self, chunk: bytes) -> None:
        """Add an encoded event; after the end, drop it."""
        if chunk and not self._ended:
            self._chunks.append(chunk)
            self._size += len(chunk)
            self._wake()

    def end(self) -> None:
        """Let nothing more in."""
        self._ended = True
        self._wake()

    async def wait_for_room(self) -> None:
        """Wait until the other task has taken enough. Always a checkpoint."""
        if self.full:
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
        if self._room is not None and not self.full:
            self._room.set()
            self._room = None
        return joined

    def _wake(self) -> None:
        if self._filled is not None:
            self._filled.set()
            self._filled = None
