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
    Event,
    WouldBlock,
    create_memory_object_stream,
    current_effective_deadline,
    current_time,
    move_on_after,
    sleep,
    sleep_forever,
    sleep_until,
    to_thread,
)
from anyio import EndOfStream as EndOfChannel
from anyio import create_task_group as open_nursery
from anyio.lowlevel import checkpoint
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
    "sleep_until",
]

T = TypeVar("T")

name = "asyncio"


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
