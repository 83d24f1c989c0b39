"""Events from a producer: a coroutine function that is given the sending half."""

from collections.abc import Awaitable, Callable

from .._close_reason import CloseReason
from .._runtime import Event, Runtime
from ._channel import ChannelSource
from ._feeder import Feeder


class ProducerSource(ChannelSource):
    """Runs a producer and ends when it returns, whatever clones of ``send`` remain.

    Args:
        runtime: The runtime of the stream.
        producer: What is called with the sending half of a new memory channel.
        max_buffer_size: How many items that channel holds.
        preflight: Whether the producer is also given ``task_status``, and the
            headers wait until it calls ``task_status.started()``.
        sep: What ends a line.
    """

    def __init__(
        self,
        runtime: Runtime,
        producer: Callable[..., Awaitable[object]],
        max_buffer_size: float,
        preflight: bool,
        sep: str,
    ) -> None:
        self._send, receive = runtime.open_memory_channel(max_buffer_size)
        super().__init__(runtime, receive, runtime, sep)
        self._producer = producer
        self._preflight = preflight
        self._started = False
        self._opened = runtime.Event()
        self._over: Event | None = None
        self._feeder = Feeder(runtime, self._produce, self.errors, self._ended)
        self.feeders = (self._feeder,)

    async def _receive(self) -> object:
        try:
            return await super()._receive()
        except self._end_of_channel:
            # A producer that closed its channel may have more to do, and to raise.
            if self._feeder.running:
                self._over = self._runtime.Event()
                await self._over.wait()
            raise

    async def opened(self, end: Callable[[CloseReason], object], /) -> None:
        """Wait for ``task_status.started()``; raise what the producer raised before it."""
        if not self._preflight:
            await self._runtime.checkpoint()
            return
        await self._opened.wait()
        if self.errors and not self._started:
            raise self.errors.pop()

    def started(self, value: object = None) -> None:
        """Let the headers go: the producer's ``task_status``."""
        if self._started:
            raise RuntimeError("task_status.started() was called twice")
        self._started = True
        self._opened.set()

    def stop(self) -> None:
        """Cancel the producer; the stream ends with what it had sent by then."""
        self._feeder.stop()

    def close(self) -> None:
        """Close both halves of the channel."""
        self._send.close()
        super().close()

    async def _produce(self) -> None:
        if not self._preflight:
            await self._producer(self._send)
            return
        await self._producer(self._send, task_status=self)
        if not self._started:
            raise RuntimeError("the producer returned without calling task_status.started()")

    def _ended(self) -> None:
        super().stop()
        self._send.close()
        self._opened.set()
        if self._over is not None:
            self._over.set()
