"""An asyncio event loop whose clock jumps to the next deadline when nothing is ready.

What trio's ``MockClock(autojump_threshold=0)`` is on trio. There must be no real
I/O to wait for; a worker thread is waited for only while no timer is pending.
"""

import asyncio
import selectors


class _JumpingSelector(selectors.DefaultSelector):
    loop: "VirtualTimeLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(None if timeout is None else 0)
        if timeout and not events:
            self.loop.jump()
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._now = 0.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self._now

    def jump(self) -> None:
        self._now = self._scheduled[0]._when
