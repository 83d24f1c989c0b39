"""Publishing without a hub: a queue for each client, and a loop over them."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

from ._runtime import TRIO, WouldBlock, checkpoint, open_memory_channel

if not TRIO:
    import asyncio

SIZE = 100  # that of sse-starlette's example


class Audience(Protocol):
    """Whom `_control` publishes to."""

    @property
    def count(self) -> int:
        """How many there are."""
        ...

    async def publish(self, text: str) -> object:
        """Give everyone an event."""
        ...

    async def end(self) -> None:
        """Let the streams end that do not see by themselves that their client has left."""
        ...


class Queue:
    """The runtime's own queue, without a frame between it and the caller."""

    def __init__(self) -> None:
        if TRIO:
            send, receive = open_memory_channel[Any](SIZE)
            self.put, self.put_nowait = send.send, send.send_nowait
            self.get, self.get_nowait = receive.receive, receive.receive_nowait
        else:
            queue = asyncio.Queue[Any](SIZE)
            self.put, self.put_nowait = queue.put, queue.put_nowait
            self.get, self.get_nowait = queue.get, queue.get_nowait

    async def __aiter__(self) -> AsyncIterator[Any]:
        """Yield what is put, until that is None."""
        while (item := await self.get()) is not None:
            yield item


FULL = WouldBlock if TRIO else asyncio.QueueFull
EMPTY = WouldBlock if TRIO else asyncio.QueueEmpty


class Queues:
    """The queues of all clients. A full one is waited for, so that no event is lost.

    Args:
        make_item: What is put, made once for all of them.
    """

    def __init__(self, make_item: Callable[[str], object]) -> None:
        self._make_item = make_item
        self._queues: dict[Queue, None] = {}

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._queues)

    @contextmanager
    def queue(self) -> Iterator[Queue]:
        """Take part."""
        queue = Queue()
        self._queues[queue] = None
        try:
            yield queue
        finally:
            del self._queues[queue]

    async def publish(self, text: str) -> None:
        """Put an event into all queues. Always a checkpoint, as publishing to a hub is."""
        await checkpoint()
        await self._put(self._make_item(text))

    async def end(self) -> None:
        """Put the end into all queues."""
        await self._put(None)

    async def _put(self, item: object) -> None:
        for queue in tuple(self._queues):
            try:
                queue.put_nowait(item)
            except FULL:
                await queue.put(item)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["Queues"]:
        """Open nothing: hubs have to be opened."""
        yield self
