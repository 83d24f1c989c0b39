"""A stream without events: HEAD, and streams refused while draining."""

from collections.abc import Sequence

from .._runtime import Runtime
from ._contract import Closer, Source
from ._feeder import Feeder


class NoSource:
    """Ends at once, and lets go of the content that will not be streamed.

    Args:
        runtime: The runtime of the stream.
        content: The source that stays unused.
    """

    ready = True

    def __init__(self, runtime: Runtime, content: Source) -> None:
        self.errors: list[Exception] = []
        self.feeders: Sequence[Feeder] = ()
        self._runtime = runtime
        self._content = content

    async def opened(self) -> None:
        """Wait for nothing."""
        await self._runtime.checkpoint()

    async def receive_some(self, limit: int) -> bytes:
        """End."""
        await self._runtime.checkpoint()
        return b""

    def stop(self) -> None:
        """Nothing is going on."""

    def close(self) -> Closer | None:
        """Close the content."""
        return self._content.close()
