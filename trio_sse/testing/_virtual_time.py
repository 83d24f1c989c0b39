"""An asyncio event loop whose clock jumps."""

import asyncio
import selectors
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):
    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(None if timeout is None else 0)
        if timeout and not ready:
            self.loop.jump()
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop for asyncio in which waiting takes no time.

    What ``trio.testing.MockClock(autojump_threshold=0)`` is on trio: when nothing is ready
    its clock jumps to the next deadline, so that an hour of pings takes milliseconds and
    moments can be compared exactly. The clock begins at 0.

    There must be no real input or output to wait for: a socket that is about to become readable
    is not ready, and the clock jumps on. A worker thread is waited for only while no timer
    is pending.

    Example::

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(asyncio.sleep(3600))
    """

    _scheduled: list[Any]  # the timers, a heap, of asyncio's own loops

    def __init__(self) -> None:
        self._now = 0.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def jump(self) -> None:
        """Go to the next deadline."""
        self._now = self._scheduled[0].when()

    async def shutdown_default_executor(
        self,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        """Wait for the worker threads to end, however long they take."""
        await super().shutdown_default_executor()
