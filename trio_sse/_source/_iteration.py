"""Events from an async iterable, pumped by one task of its own."""

from collections.abc import AsyncIterable, AsyncIterator
from functools import partial
from time import monotonic

from .._event import encode_item
from .._runtime import Runtime
from ._contract import Closer
from ._mailbox import MailboxSource

# A generator that never suspends has the event loop to itself for this long.
TURN = 0.02


class IterationSource(MailboxSource):
    """Iterates, and closes what it iterated, in one task.

    A generator may hold a cancel scope or a nursery open across ``yield``, and that
    shapes two things. It must be closed in the task that ran it, and no scope may
    be opened for that: the new scope would sit on top of the generator's in that
    task's stack. So the guard scope is entered before iterating, and becomes the
    shield and the deadline of the clean-up when its time comes. And between two
    items the pump runs *inside* of the generator's scopes, whose cancellation is
    none of its business: it waits shielded, and `stop` wakes it.

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
        super().__init__(runtime, limit, cleanup_timeout, sep)
        self._content = content
        self._iterator: AsyncIterator[object] | None = None
        self._stopped = False

    def stop(self) -> None:
        """Cancel the iteration, also while the pump waits; it then closes the iterator."""
        self._stopped = True
        super().stop()
        self._mailbox.stop_waiting()

    def close(self) -> Closer | None:
        """Return the closing of an iterator that was handed in and never iterated."""
        if self._iterator is None and hasattr(self._content, "__anext__"):
            return partial(_close, self._content)
        return None

    async def _feed(self) -> None:
        with self._runtime.CancelScope() as guard:
            self._iterator = aiter(self._content)
            try:
                await self._iterate(self._iterator)
            except Exception as error:  # kept even if closing is cut short
                self.errors.append(error)
            finally:
                guard.shield = True
                guard.deadline = self._closing_deadline()
                try:
                    await _close(self._iterator)
                finally:
                    self._warn_if_cut_short(guard, self._content)

    async def _iterate(self, iterator: AsyncIterator[object]) -> None:
        mailbox, until = self._mailbox, monotonic() + TURN
        async for item in iterator:
            mailbox.put(encode_item(item, self._sep))
            if mailbox.full or monotonic() >= until:
                with self._runtime.CancelScope(shield=True):
                    await mailbox.wait_for_room()
                if self._stopped:
                    return
                until = monotonic() + TURN


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
