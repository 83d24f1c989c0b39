"""Keeping an idle connection alive."""

import inspect
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any, Protocol

from anyio.lowlevel import RunVar

from ._event import ServerSentEvent
from ._runtime import CancelScope, Runtime, current_runtime
from ._shared_task import Host, SharedTask
from ._writer import Writer

PING = ServerSentEvent(comment="ping")


class Pinged(Host, Protocol):
    """A stream as its pinger sees it."""

    async def ping(self) -> None:
        """Call the pinger's `ping`, in a task of the stream."""
        ...


class Pinger:
    """Sends a ping whenever nothing was written for an interval.

    Args:
        runtime: The runtime of the stream.
        writer: What the pings are written to.
        interval: Seconds; 0 for no pings.
        factory: Returns the event to send, or None for a comment.
        sep: What ends a line.
    """

    __slots__ = (
        "_factory",
        "_runtime",
        "_sep",
        "_writer",
        "armed",
        "due",
        "interval",
        "joined",
        "over",
        "stream",
    )

    def __init__(
        self,
        runtime: Runtime,
        writer: Writer,
        interval: float,
        factory: Callable[[], Any] | None,
        sep: str,
    ) -> None:
        self._runtime = runtime
        self.stream: Pinged
        self._writer = writer
        self.interval = interval
        self._factory = factory
        self._sep = sep
        self.due = -inf
        self.joined = self.armed = self.over = False

    def __lt__(self, other: "Pinger") -> bool:
        """Tell which is due first."""
        return self.due < other.due

    async def check(self) -> None:
        """Find a factory's mistake while the answer can still be an error."""
        if self.interval and self._factory is not None:
            await self._frame()

    def find_due(self) -> None:
        """Find out when a ping is due, after what was written meanwhile."""
        self.due = max(self.due, self._writer.last_write + self.interval)

    async def ping(self) -> None:
        """Send a ping, unless something else is sent meanwhile.

        Raises:
            ClientGone: if the client has.
            TypeError: if the factory returns no event.
        """
        written = self._writer.last_write
        self.find_due()
        if self.due > self._runtime.current_time():
            return  # something was written just then
        frame = await self._frame()
        if self._writer.last_write == written and not await self._writer.ping(frame):
            # In the way of something, whose end is still to come: the next ping
            # is not due before a whole interval after that.
            self.due = self._runtime.current_time() + self.interval
        else:
            self.find_due()

    def let_go(self) -> None:
        """Refer to nothing any more: its place among those that wait is cleared later."""
        del self._writer, self._factory

    async def _frame(self) -> bytes:
        if self._factory is None:
            return PING.encode(self._sep)
        event = self._factory()
        if inspect.isawaitable(event):
            event = await event
        if not isinstance(event, ServerSentEvent):
            raise TypeError(
                f"ping_message_factory must return a ServerSentEvent, not {type(event).__name__}"
            )
        return event.encode(self._sep)


class Pings:
    """The pings of all streams of a run, which one task waits for.

    Args:
        runtime: The runtime.
    """

    __slots__ = ("_armed", "_over", "_runtime", "_scope", "_task")

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._task = SharedTask(self._run)
        self._armed: list[Pinger] = []  # a heap, the next one first
        self._over = 0  # how many of those are over
        self._scope: CancelScope | None = None

    def join(self, pinger: Pinger, stream: Pinged) -> None:
        """Ping a stream from now on, when it is due, until `leave`."""
        pinger.joined = True
        pinger.stream = stream
        pinger.find_due()
        self.arm(pinger)
        self._task.join(stream)

    def arm(self, pinger: Pinger) -> None:
        """Wait until a pinger is due, once more."""
        if pinger.over:
            return
        pinger.armed = True
        heappush(self._armed, pinger)
        if self._scope is not None and pinger.due < self._scope.deadline:
            self._scope.deadline = pinger.due

    def leave(self, pinger: Pinger) -> None:
        """Undo `join`, if that was called."""
        if not pinger.joined:
            return
        self._task.leave(pinger.stream)
        del pinger.stream  # which refers to it
        pinger.over = True
        if pinger.armed:
            pinger.let_go()
            self._over += 1
            if 2 * self._over > len(self._armed):
                self._clear()

    def _clear(self) -> None:
        self._armed = [pinger for pinger in self._armed if not pinger.over]
        heapify(self._armed)
        self._over = 0

    async def _run(self) -> None:
        while True:
            due = self._armed[0].due if self._armed else inf
            with self._runtime.CancelScope(deadline=due) as self._scope:
                await self._runtime.sleep_forever()
            self._ring()

    def _ring(self) -> None:
        now = self._runtime.current_time()
        while self._armed and self._armed[0].due <= now:
            pinger = heappop(self._armed)
            pinger.armed = False
            if pinger.over:
                self._over -= 1
                continue
            pinger.find_due()
            if pinger.due > now:
                self.arm(pinger)
            else:
                pinger.stream.start_soon(pinger.stream.ping)


_run_pings: RunVar[Pings] = RunVar("trio_sse.pings")


def run_pings() -> Pings:
    """Return the pings of the calling task's run."""
    try:
        return _run_pings.get()
    except LookupError:
        pings = Pings(current_runtime())
        _run_pings.set(pings)
        return pings
