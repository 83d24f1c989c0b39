"""anyio on asyncio, with trio's names."""

import asyncio
from collections.abc import Awaitable, Callable
from math import inf
from types import FrameType
from typing import Any, TypeVar

from anyio import (
    CancelScope,
    CapacityLimiter,
    ClosedResourceError,
    WouldBlock,
    create_memory_object_stream,
    current_effective_deadline,
    move_on_after,
    sleep,
    to_thread,
)
from anyio import EndOfStream as EndOfChannel
from anyio import create_task_group as open_nursery
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

__all__ = [
    "CancelScope",
    "CapacityLimiter",
    "ClosedResourceError",
    "EndOfChannel",
    "Event",
    "WouldBlock",
    "being_cancelled",
    "caller_from_threads",
    "checkpoint",
    "current_time",
    "frames_above",
    "is_cancelled",
    "is_memory_channel",
    "name",
    "open_memory_channel",
    "open_nursery",
    "run_in_thread",
    "run_shielded",
    "sleep",
    "sleep_forever",
]

T = TypeVar("T")

name = "asyncio"


# What anyio has of the next ones finds out first what it runs on, each time.


def current_time() -> float:
    """Return the time of the event loop."""
    return asyncio.get_running_loop().time()


async def checkpoint() -> None:
    """Let others run, and be cancelled if that is due."""
    await asyncio.sleep(0)


class Event:
    """Something that happens once; as small as may be, since every stream waits for one."""

    __slots__ = ("_happened", "_waiting")

    def __init__(self) -> None:
        self._happened = False
        self._waiting: list[asyncio.Future[None]] = []

    def is_set(self) -> bool:
        """Tell whether it has happened."""
        return self._happened

    def set(self) -> None:
        """Let it happen, and wake who waits for it."""
        self._happened = True
        for future in self._waiting:
            if not future.done():  # by a cancellation, or by this
                future.set_result(None)

    async def wait(self) -> None:
        """Block until it has happened. Always a checkpoint."""
        if self._happened:
            await checkpoint()
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            await future
        finally:
            self._waiting.remove(future)


async def sleep_forever() -> None:
    """Block until cancelled; anyio's leaves a timer behind that refers to the context."""
    await Event().wait()


def open_memory_channel(
    max_buffer_size: float, /
) -> tuple[MemoryObjectSendStream[Any], MemoryObjectReceiveStream[Any]]:
    """Open a memory channel of anything."""
    return create_memory_object_stream[Any](max_buffer_size)


def is_memory_channel(content: object, /) -> bool:
    """Tell anyio's memory streams, which work on trio too, from everything else."""
    return isinstance(content, MemoryObjectReceiveStream)


def being_cancelled() -> bool:
    """Tell whether a scope around the calling task is cancelled."""
    return current_effective_deadline() == -inf


def is_cancelled(error: BaseException, /) -> bool:
    """Tell a cancellation from an error."""
    return isinstance(error, asyncio.CancelledError)


async def run_in_thread(sync_fn: Callable[[], T], limiter: Any, /) -> T:
    """Run a function in a worker thread, which is abandoned on cancellation."""
    return await to_thread.run_sync(sync_fn, abandon_on_cancel=True, limiter=limiter)


async def run_shielded(async_fn: Callable[[], Awaitable[object]], seconds: float, /) -> bool:
    """Run clean-up out of reach of cancellation; False if it took too long.

    In a task of its own: asyncio's own ``Task.cancel()`` goes through a shield.
    """
    in_time = True
    raised: Exception | None = None

    async def clean_up() -> None:
        nonlocal in_time, raised
        with move_on_after(seconds, shield=True) as scope:
            try:
                await async_fn()
            except Exception as error:  # raised below, where no group forms around it
                raised = error
        in_time = not scope.cancelled_caught

    with CancelScope(shield=True):
        async with open_nursery() as nursery:
            nursery.start_soon(clean_up)
    if raised is not None:
        raise raised
    return in_time


def caller_from_threads() -> Callable[..., object]:
    """Return what schedules a call in this loop, in order, from any thread."""
    return asyncio.get_running_loop().call_soon_threadsafe


def frames_above() -> tuple[FrameType, ...]:
    """Return nothing: tasks of asyncio do not know who waits for them."""
    return ()
