"""Events from an async iterable, pumped by one task of its own."""

import logging
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from functools import partial

from .._event import encode_item
from .._runtime import CancelScope, Runtime
from ._contract import Closer
from ._feeder import Feeder
from ._mailbox import Mailbox

logger = logging.getLogger("trio_sse")


class IterationSource:
    """Iterates, and closes what it iterated, in one task.

    A generator may hold a cancel scope or a nursery open across ``yield``. It must
    then be closed in the task that ran it, and no scope may be opened for that:
    the new scope would sit on top of the generator's in that task's stack. So the
    guard scope is entered before iterating, and becomes the shield and the
    deadline of the clean-up when its time comes.

    Args:
        runtime: The runtime of the stream.
        content: The async iterable.
        limit: How many bytes it may run ahead of the writer.
        cleanup_timeout: Seconds that closing it may take.
        sep: What ends a line.
    """

    def __init__(
        self,
        runtime: Runtime,
        content: AsyncIterable[object],
        limit: int,
        cleanup_timeout: float,
        sep: str,
    ) -> None:
        self.errors: list[Exception] = []
        self._runtime = runtime
        self._content = content
        self._cleanup_timeout = cleanup_timeout
        self._sep = sep
        self._mailbox = Mailbox(runtime, limit)
        self._iterator: AsyncIterator[object] | None = None
        self._feeder = Feeder(runtime, self._pump, self.errors, self._mailbox.end)
        self.feeders: Sequence[Feeder] = (self._feeder,)

    @property
    def ready(self) -> bool:
        """Whether the mailbox holds anything."""
        return self._mailbox.ready

    async def opened(self) -> None:
        """Wait for nothing."""
        await self._runtime.checkpoint()

    async def receive_some(self, limit: int) -> bytes:
        """Take what the pump has put into the mailbox."""
        return await self._mailbox.take(limit)

    def stop(self) -> None:
        """Cancel the iteration; the pump then closes the iterator."""
        self._feeder.stop()

    def close(self) -> Closer | None:
        """Return the closing of an iterator that was handed in and never iterated."""
        if self._iterator is None and hasattr(self._content, "__anext__"):
            return partial(_close, self._content)
        return None

    async def _pump(self) -> None:
        with self._runtime.CancelScope() as guard:
            self._iterator = aiter(self._content)
            try:
                await self._iterate(self._iterator)
            except Exception as error:  # kept even if closing is cut short
                self.errors.append(error)
            finally:
                guard.shield = True
                guard.deadline = self._runtime.current_time() + self._cleanup_timeout
                try:
                    await _close(self._iterator)
                finally:
                    self._report(guard)

    async def _iterate(self, iterator: AsyncIterator[object]) -> None:
        mailbox = self._mailbox
        async for item in iterator:
            mailbox.put(encode_item(item, self._sep))
            if mailbox.full:
                await mailbox.wait_for_room()

    def _report(self, guard: CancelScope) -> None:
        if guard.cancel_called:
            logger.warning(
                "closing %r was cancelled after cleanup_timeout (%g seconds)",
                self._content,
                self._cleanup_timeout,
            )


async def _close(iterator: object) -> None:
    aclose = getattr(iterator, "aclose", None)
    if aclose is None:
        return
    try:
        await aclose()
    except BaseExceptionGroup as group:
        # A nursery held open across ``yield`` wraps the GeneratorExit that closes
        # the generator, so that Python does not recognise it.
        _, rest = group.split(GeneratorExit)
        if rest is not None:
            raise rest from None
