"""Events from a sync iterable, iterated in worker threads."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from time import monotonic
from typing import Any

from anyio.lowlevel import RunVar

from .._event import encode_item
from .._runtime import Runtime
from ._contract import Closer
from ._feeder import Feeder
from ._mailbox import Mailbox

logger = logging.getLogger("trio_sse")

# Threads for all sync iterables of a run, apart from the forty that Starlette
# runs endpoints in: slow iterables must not stop the app from answering.
DEFAULT_SYNC_LIMIT = 40

# An iterator that never blocks goes on in its thread for this long; one that
# blocks gives its thread back after each item.
THREAD_SLICE = 0.01

_default_limiter: RunVar[Any] = RunVar("trio_sse.sync_limit")


class ThreadSource:
    """Iterates in worker threads, one at a time, borrowed from a limiter.

    A thread cannot be cancelled. On cancellation it is abandoned, and closes the
    iterator itself when ``next()`` returns.

    Args:
        runtime: The runtime of the stream.
        content: The iterable.
        limit: How many bytes it may run ahead of the writer, twice at most.
        limiter: Bounds the number of threads; None for the run's own.
        cleanup_timeout: Seconds that closing the iterator may take.
        sep: What ends a line.
    """

    def __init__(
        self,
        runtime: Runtime,
        content: Iterable[object],
        limit: int,
        limiter: Any,
        cleanup_timeout: float,
        sep: str,
    ) -> None:
        self.errors: list[Exception] = []
        self._runtime = runtime
        self._content = content
        self._limit = limit
        self._limiter = limiter
        self._cleanup_timeout = cleanup_timeout
        self._sep = sep
        self._mailbox = Mailbox(runtime, limit)
        self._iterator = content if isinstance(content, Iterator) else None
        # Decides which side closes the iterator: the thread, if one is in it.
        self._lock = threading.Lock()
        self._in_thread = self._closing = False
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
        """Take what the threads have put into the mailbox."""
        return await self._mailbox.take(limit)

    def stop(self) -> None:
        """Stop iterating; the thread that is waiting in ``next()`` is abandoned."""
        self._feeder.stop()

    def close(self) -> Closer | None:
        """Return the closing of an iterator that was handed in and never iterated."""
        return None if self._closing else self._close

    async def _pump(self) -> None:
        call_soon = self._runtime.caller_from_threads()
        fill = partial(self._fill, partial(call_soon, self._mailbox.put))
        limiter = self._limiter or _run_limiter(self._runtime)
        try:
            exhausted = False
            while not exhausted:
                await self._mailbox.wait_for_room()
                exhausted = await self._runtime.run_in_thread(fill, limiter)
        finally:
            await self._close()

    async def _close(self) -> None:
        with self._lock:
            self._closing = True
            close = None if self._in_thread else getattr(self._iterator, "close", None)
        if close is None:
            return
        with self._runtime.CancelScope(
            shield=True, deadline=self._runtime.current_time() + self._cleanup_timeout
        ):
            # A limiter of its own: closing must not wait for those that block.
            await self._runtime.run_in_thread(close, self._runtime.CapacityLimiter(1))

    def _fill(self, put: Callable[[bytes], object]) -> bool:
        """Run in a thread: put items until there are enough; True at the last."""
        with self._lock:
            if self._closing:
                return True
            self._in_thread = True
        try:
            return self._iterate(put)
        finally:
            with self._lock:
                self._in_thread = False
                abandoned = self._closing
            if abandoned:
                self._close_abandoned()

    def _iterate(self, put: Callable[[bytes], object]) -> bool:
        if self._iterator is None:
            self._iterator = iter(self._content)
        size, until = 0, monotonic() + THREAD_SLICE
        for item in self._iterator:
            if self._closing:
                return True
            chunk = encode_item(item, self._sep)
            put(chunk)
            size += len(chunk)
            if size >= self._limit or monotonic() >= until:
                return False
        return True

    def _close_abandoned(self) -> None:
        try:
            getattr(self._iterator, "close", _nothing)()
        except Exception:
            # Nobody waits for this thread any more: the log is all that is left.
            logger.exception("closing %r failed in an abandoned thread", self._content)


def _nothing() -> None:
    """What to call on an iterator that needs no closing."""


def _run_limiter(runtime: Runtime) -> Any:
    try:
        return _default_limiter.get()
    except LookupError:
        limiter = runtime.CapacityLimiter(DEFAULT_SYNC_LIMIT)
        _default_limiter.set(limiter)
        return limiter
