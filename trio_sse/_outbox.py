"""Events that were accepted by a call that does not wait, on their way to the engine."""

import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from ._event import ServerSentEvent
from ._runtime import Event, Runtime

logger = logging.getLogger("trio_sse")

Batch = Sequence[tuple[str, ServerSentEvent]]


class Outbox:
    """A bounded queue, filled from any thread and emptied by one task, in order.

    Args:
        runtime: The runtime of the hub.
        publish_all: Publishes events, and returns for each its position or an error.
        max_batch: How many it is given at once, at most.
        accept: Told the position of each event that the engine has accepted.
        size: How many events it holds.
    """

    failed: int
    """How many events could not be published."""

    def __init__(
        self,
        runtime: Runtime,
        publish_all: Callable[[Batch], Awaitable[Sequence[int | Exception]]],
        max_batch: int,
        accept: Callable[[int], object],
        size: int,
    ) -> None:
        self.failed = 0
        self._runtime = runtime
        self._publish_batch = publish_all
        self._max_batch = max_batch
        self._accept_position = accept
        self._size = size
        # A signal handler, or a destructor, may publish while its thread is in here.
        self._lock = threading.RLock()
        self._events: deque[tuple[str, ServerSentEvent]] = deque()
        self._accepted = self._settled = 0
        self._closed = self._gave_up = False
        self._call_soon = runtime.caller_from_threads()
        self._filled: Event = runtime.Event()
        self._awaited: deque[tuple[int, Event]] = deque()

    def __len__(self) -> int:
        """Return the number of events that have not been published yet."""
        return self._accepted - self._settled

    def put(self, topic: str, event: ServerSentEvent) -> None:
        """Accept an event, in the event loop.

        Raises:
            WouldBlock: if it is full.
            ClosedResourceError: if it is closed.
        """
        self._accept(topic, event)
        self._filled.set()

    def put_from_thread(self, topic: str, event: ServerSentEvent) -> None:
        """Accept an event, in any thread. Raises what `put` does."""
        self._accept(topic, event, wake=True)

    def close(self) -> None:
        """Accept nothing more; `run` ends when it has published the rest."""
        with self._lock:
            self._closed = True
        self._filled.set()

    async def run(self) -> None:
        """Publish what is accepted, until it is closed and empty."""
        try:
            while self._events or not self._closed:
                await self._filled.wait()
                self._filled = self._runtime.Event()
                while self._events:
                    await self._publish(list(islice(self._events, self._max_batch)))
        finally:
            self.close()
            self._give_up()

    async def settled(self) -> None:
        """Wait until what has been accepted by now is published. Always a checkpoint.

        Raises:
            ClosedResourceError: if that has been given up.
        """
        until = self._accepted
        # One event for all who wait for the same: those who gave up leave no other behind.
        if not self._awaited or self._awaited[-1][0] < until:
            self._awaited.append((until, self._runtime.Event()))
        await self._awaited[-1][1].wait()
        if self._gave_up:
            raise self._runtime.ClosedResourceError("the hub is closed")

    def _accept(self, topic: str, event: ServerSentEvent, *, wake: bool = False) -> None:
        with self._lock:
            if self._closed:
                raise self._runtime.ClosedResourceError("the hub is closed")
            if len(self) >= self._size:
                raise self._runtime.WouldBlock(f"the outbox is full (outbox_size={self._size})")
            self._accepted += 1  # first: the task may settle the event as soon as it is there
            self._events.append((topic, event))
            if wake:  # while it cannot be closed, and the event loop cannot have ended
                self._call_soon(self._wake)

    def _wake(self) -> None:
        self._filled.set()

    async def _publish(self, batch: Batch) -> None:
        lost: list[tuple[str, Exception]] = []
        for (topic, _), result in zip(batch, await self._publish_all(batch), strict=True):
            if isinstance(result, Exception):
                lost.append((topic, result))
                self.failed += 1
            else:
                self._accept_position(result)
            self._events.popleft()
            self._settle(1)
        if lost:
            # Nobody waits for these events any more: the log is all that is left. There is one
            # record for all of them, since a store that is away refuses thousands.
            topic, error = lost[0]
            logger.error(
                "%d event(s) could not be published, the first for topic %r",
                len(lost),
                topic,
                exc_info=error,
            )

    async def _publish_all(self, batch: Batch) -> Sequence[int | Exception]:
        try:
            return await self._publish_batch(batch)
        except Exception as error:
            return [error] * len(batch)

    def _give_up(self) -> None:
        """Let nobody wait for what is left, if it was cancelled."""
        left = len(self)
        if left:
            logger.error("the hub was closed before %d events could be published", left)
        self._gave_up = bool(left)
        self.failed += left
        self._events.clear()
        self._settle(left)

    def _settle(self, count: int) -> None:
        self._settled += count
        while self._awaited and self._awaited[0][0] <= self._settled:
            self._awaited.popleft()[1].set()
