"""The text of the events: 110 characters; with ``data: `` and line ends that makes 120 bytes."""

import time
from collections.abc import AsyncIterator

from ._runtime import checkpoint

FIRST = 1_000_000_000  # ten digits from the start: writing a number needs no format
REST = " " + "0" * 19 + " " + "x" * 79


def texts(count: int) -> list[str]:
    """Return the texts of a stream's first events."""
    return [f"{number}{REST}" for number in range(FIRST, FIRST + count)]


def timed_text(number: int) -> str:
    """Return the text of an event that is published now, and says so."""
    return f"{FIRST + number} {time.monotonic_ns():019d} {REST[21:]}"


async def stream_texts(paced: bool, count: int) -> AsyncIterator[str]:
    """Yield the texts of a stream: at once, or with one checkpoint after each."""
    for number in range(FIRST, FIRST + count):
        yield f"{number}{REST}"
        if paced:
            await checkpoint()
