"""Events from a sync iterable, iterated in worker threads."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from time import monotonic
from typing import Any

from anyio.lowlevel import RunVar

from .._event import encode_item
from .._runtime import Runtime
from ._contract import Closer
from ._mailbox import MailboxSource

logger = logging.getLogger("trio_sse")

# Threads for all sync iterables of a run, apart from the forty that Starlette
# runs endpoints in: slow iterables must not stop the app from answering.
DEFAULT_SYNC_LIMIT = 40

# An iterator that never blocks goes on in its thread for this long; one that
# blocks gives its thread back after each item.
THREAD_SLICE = 0.01

_default_limiter: RunVar[Any] = RunVar("trio_sse.sync_limit")


class ThreadSource(MailboxSource):
    """Iterates in worker threads, one at a time, borrowed from a limiter.

    A thread cannot be cancelled. On cancellation it is abandoned, and closes the
    iterator itself when ``next()`` returns.

    Args:
        runtime: The runtime of the stream.
        content: The iterable.
        limit: From how many bytes on the thread waits for the writer.
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
        super().__init__(runtime, limit, cleanup_timeout, sep)
        self._content = content
        self._limiter = limiter
        self._iterator = content if isinstance(content, Iterator) else None
        # On their way from the thread; one call in the loop fetches all there are.
        self._arrived: deque[bytes] = deque()
        self._fetching = False
        # Decides which side closes the iterator: the thread, if one is in it.
        self._lock = threading.Lock()
        self._in_thread = self._closing = False

    def close(self) -> Closer | None:
        """Return the closing of an iterator that was handed in and never iterated."""
        return None if self._closing else self._close

    async def _feed(self) -> None:
        fill = partial(self._fill, self._runtime.caller_from_threads())
        limiter = self._limiter or _run_limiter(self._runtime)
        try:
            exhausted = False
            while not exhausted:
                await self._mailbox.wait_for_room()
                exhausted = await self._runtime.run_in_thread(fill, limiter)
        except Exception as error:  # kept even if closing fails too
            self.errors.append(error)
        finally:
            await self._close()

    async def _close(self) -> None:
        with self._lock:
            self._closing = True
            close = None if self._in_thread else getattr(self._iterator, "close", None)
        if close is None:
            return
        with self._runtime.CancelScope(shield=True, deadline=self._closing_deadline()) as scope:
            # A limiter of its own: closing must not wait for those that block.
            await self._runtime.run_in_thread(close, self._runtime.CapacityLimiter(1))
        self._warn_if_cut_short(scope, self._content)

    def _fill(self, call_soon: Callable[..., object]) -> bool:
        """Run in a thread: put items until there are enough; True at the last."""
        with self._lock:
            if self._closing:
                return True
            self._in_thread = True
        try:
            return self._iterate(call_soon)
        finally:
            with self._lock:
                self._in_thread = False
                abandoned = self._closing
            if abandoned:
                self._close_abandoned()

    def _iterate(self, call_soon: Callable[..., object]) -> bool:
        if self._iterator is None:
            self._iterator = iter(self._content)
        size, until = 0, monotonic() + THREAD_SLICE
        for item in self._iterator:
            if self._closing:
                return True
            chunk = encode_item(item, self._sep)
            self._arrived.append(chunk)
            if not self._fetching:
                self._fetching = True
                call_soon(self._fetch)
            size += len(chunk)
            if size >= self._limit or monotonic() >= until:
                return False
        return True

    def _fetch(self) -> None:
        self._fetching = False  # first, so that the thread asks again for what comes now
        while self._arrived:
            self._mailbox.put(self._arrived.popleft())

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
