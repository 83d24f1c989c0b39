"""The engine of a hub that lives in one process: the log is all there is."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ._abc import Engine, Sink
from ._event import ServerSentEvent
from ._history import Record
from ._runtime import current_runtime

# Two runs of a program share an epoch once in a trillion times.
_EPOCH_BYTES = 5


class MemoryEngine(Engine):
    """Numbers the events of one process, and keeps nothing beside the log of its hub.

    It serves one hub, once. When the process ends its events are gone, and the next has
    another epoch: a client that comes back gets a ``reset`` that says ``restarted``.
    """

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(_EPOCH_BYTES)
        self._position = 0
        self._used = False
        self._sink: Sink | None = None

    @property
    def epoch(self) -> str:
        """A random text, another one for each engine."""
        return self._epoch

    @asynccontextmanager
    async def open(self, sink: Sink, /) -> AsyncGenerator[None]:
        """Serve one hub.

        Raises:
            RuntimeError: if it has served one before.
        """
        if self._used:
            raise RuntimeError("a MemoryEngine serves one hub, once: make another one")
        self._used = True
        self._sink = sink
        sink.begin(self._position)
        try:
            yield
        finally:
            self._sink = None

    async def publish(self, topic: str, event: ServerSentEvent, /) -> int:
        """Deliver an event. Always a checkpoint; what is cancelled there is not published."""
        runtime = current_runtime()
        await runtime.checkpoint()
        if self._sink is None:
            raise runtime.ClosedResourceError("the hub is closed")
        self._position += 1
        self._sink.deliver(Record(self._position, topic, event))
        return self._position
