"""Events that were accepted by a call that does not wait, on their way to the engine."""

import logging
import threading
from collections import deque

from ._abc import Engine
from ._event import ServerSentEvent
from ._runtime import Event, Runtime

logger = logging.getLogger("trio_sse")


class Outbox:
    """A bounded queue, filled from any thread and emptied by one task, in order.

    Args:
        runtime: The runtime of the hub.
        engine: What the events are published to.
        size: How many events it holds.
    """

    def __init__(self, runtime: Runtime, engine: Engine, size: int) -> None:
        self._runtime = runtime
        self._engine = engine
        self._size = size
        # A signal handler, or a destructor, may publish while its thread is in here.
        self._lock = threading.RLock()
        self._events: deque[tuple[str, ServerSentEvent]] = deque()
        self._accepted = self._settled = 0
        self._closed = False
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
                    await self._publish(*self._events[0])
                    self._events.popleft()
                    self._settle(1)
        finally:
            self.close()
            self._settle(len(self))  # cancelled: nobody must wait for the rest

    async def settled(self) -> None:
        """Wait until what has been accepted by now is published. A checkpoint if there is any."""
        until = self._accepted
        if self._settled < until:
            # One event for all who wait for the same: those who gave up leave no other behind.
            if not self._awaited or self._awaited[-1][0] < until:
                self._awaited.append((until, self._runtime.Event()))
            await self._awaited[-1][1].wait()

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

    async def _publish(self, topic: str, event: ServerSentEvent) -> None:
        try:
            await self._engine.publish(topic, event)
        except Exception:
            # Nobody waits for this event any more: the log is all that is left.
            logger.exception("an event for topic %r could not be published", topic)

    def _settle(self, count: int) -> None:
        self._settled += count
        while self._awaited and self._awaited[0][0] <= self._settled:
            self._awaited.popleft()[1].set()
