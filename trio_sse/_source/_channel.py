"""Events from a memory channel that was handed in."""

from collections import deque
from collections.abc import Callable, Sequence

from .._close_reason import CloseReason
from .._event import encode_item
from .._runtime import CancelScope, ReceiveChannel, Runtime
from ._feeder import Feeder

# An ASGI send costs what ten to twenty items do.
ENOUGH_TO_JOIN = 16


class ChannelSource:
    """Events from the receiving half of a memory channel, which is closed at the end.

    Args:
        runtime: The runtime of the stream.
        channel: The channel.
        library: The runtime the channel belongs to: on trio it may be anyio's.
        sep: What ends a line.
    """

    def __init__(
        self, runtime: Runtime, channel: ReceiveChannel, library: Runtime, sep: str
    ) -> None:
        self.errors: list[Exception] = []
        self.feeders: Sequence[Feeder] = ()
        self._runtime = runtime
        self._channel = channel
        self._library = library
        self._sep = sep
        self._end_of_channel = library.EndOfChannel
        self._closed = library.ClosedResourceError
        self._nothing_now = (library.WouldBlock, library.EndOfChannel)
        self._wait: CancelScope | None = None
        self._rest: deque[object] | None = None  # what was accepted, once finished
        self._failure: Exception | None = None

    @property
    def ready(self) -> bool:
        """Whether an item lies in the channel, or a task waits to send one."""
        return self._rest is not None or self._count_ready() > 0

    async def opened(self, end: Callable[[CloseReason], object], /) -> None:
        """Wait for nothing; refuse a channel that cannot work in this run."""
        await self._runtime.checkpoint()
        if self._library.name == "trio" and self._runtime.name != "trio":
            raise RuntimeError(
                "content is a trio memory channel, but this app runs on asyncio; "
                "use anyio.create_memory_object_stream(), which runs on both"
            )

    async def receive_some(self, limit: int) -> bytes:
        """Wait for one item, then join to it what is ready, or will be in a moment."""
        chunk = b""
        while not chunk:  # again only after raw items of no bytes
            if self._failure is not None:
                raise self._failure
            try:
                item = await self._receive()
            except self._end_of_channel:
                return b""
            chunk = self._join(item, limit)
        return chunk

    def stop(self) -> None:
        """Keep what the channel has accepted and close it, so that senders learn of it."""
        if self._rest is None:
            self._rest = deque()
            try:
                while True:
                    self._rest.append(self._channel.receive_nowait())
            except (*self._nothing_now, self._closed):
                self._channel.close()
            if self._wait is not None:
                self._wait.cancel()

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    async def _receive(self) -> object:
        await self._let_fill()
        try:
            return self._receive_nowait()
        except self._library.WouldBlock:
            return await self._wait_for_item()

    async def _let_fill(self) -> None:
        """Let a task that sends one item after the other go on, for as long as it does.

        Each of its sends is a checkpoint, and one of ours costs a fraction of an ASGI send. Trio
        shuffles who has a turn when, so in two of ours everyone else has one at least.
        """
        ready = stays = 0
        for _ in range(ENOUGH_TO_JOIN):  # not for ever: somebody else may receive too
            await self._runtime.checkpoint()
            before, ready = ready, 0 if self._rest is not None else self._count_ready()
            stays = 0 if ready > before else stays + 1
            if not 0 < ready < ENOUGH_TO_JOIN or stays == 2:
                break

    def _count_ready(self) -> int:
        statistics = self._channel.statistics()
        return statistics.current_buffer_used + statistics.tasks_waiting_send

    async def _wait_for_item(self) -> object:
        # stop() cancels the scope; an item that was handed over by then is kept.
        with self._runtime.CancelScope() as self._wait:
            try:
                return await self._channel.receive()
            except self._closed:
                if self._rest is None:  # its owner closed it under us
                    raise
        return self._receive_nowait()

    def _receive_nowait(self) -> object:
        if self._rest is None:
            return self._channel.receive_nowait()
        if not self._rest:
            raise self._end_of_channel
        return self._rest.popleft()

    def _join(self, item: object, limit: int) -> bytes:
        chunks: list[bytes] = []
        size = 0
        try:
            while True:
                chunk = encode_item(item, self._sep)
                chunks.append(chunk)
                size += len(chunk)
                if size >= limit:
                    break
                item = self._receive_nowait()
        except self._nothing_now:
            pass
        except Exception as error:  # raised once what came before it is written
            self._failure = error
        return b"".join(chunks)
