"""Trio, as `Runtime` names it: nothing but trio's own objects."""

from collections.abc import Awaitable, Callable, Iterator
from math import inf
from types import FrameType
from typing import Any, TypeVar

from trio import (
    Cancelled,
    CancelScope,
    CapacityLimiter,
    ClosedResourceError,
    EndOfChannel,
    Event,
    MemoryReceiveChannel,
    MemorySendChannel,
    WouldBlock,
    current_effective_deadline,
    current_time,
    move_on_after,
    open_nursery,
    sleep,
    sleep_forever,
    to_thread,
)
from trio import open_memory_channel as _open_memory_channel
from trio.lowlevel import checkpoint, current_task, current_trio_token

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

name = "trio"


def open_memory_channel(
    max_buffer_size: float, /
) -> tuple[MemorySendChannel[Any], MemoryReceiveChannel[Any]]:
    """Open a memory channel of anything."""
    return _open_memory_channel[Any](max_buffer_size)


def is_memory_channel(content: object, /) -> bool:
    """Tell trio's memory channels from everything else."""
    return isinstance(content, MemoryReceiveChannel)


def being_cancelled() -> bool:
    """Tell whether a scope around the calling task is cancelled."""
    return current_effective_deadline() == -inf


def is_cancelled(error: BaseException, /) -> bool:
    """Tell a cancellation from an error."""
    return isinstance(error, Cancelled)


async def run_in_thread(sync_fn: Callable[[], T], limiter: Any, /) -> T:
    """Run a function in a worker thread, which is abandoned on cancellation."""
    return await to_thread.run_sync(sync_fn, abandon_on_cancel=True, limiter=limiter)


async def run_shielded(async_fn: Callable[[], Awaitable[object]], seconds: float, /) -> bool:
    """Run clean-up out of reach of cancellation; False if it took too long."""
    with move_on_after(seconds) as scope:
        scope.shield = True
        await async_fn()
    return not scope.cancelled_caught


def caller_from_threads() -> Callable[..., object]:
    """Return what schedules a call in this run, in order, from any thread."""
    return current_trio_token().run_sync_soon


def frames_above() -> Iterator[FrameType]:
    """Yield the frames of the tasks that supervise the calling task, the nearest task first."""
    nursery = current_task().parent_nursery
    while nursery is not None:
        coroutine: Any = nursery.parent_task.coro
        while frame := getattr(coroutine, "cr_frame", None):
            yield frame
            coroutine = coroutine.cr_await
        nursery = nursery.parent_task.parent_nursery
