"""A stream without events of its content: HEAD, and streams that are refused."""

from collections.abc import Awaitable, Callable, Sequence

from .._close_reason import CloseReason
from .._runtime import Runtime
from ._contract import Closer, Source
from ._feeder import Feeder


class NoSource:
    """Ends at once, and lets go of the content that will not be streamed.

    Args:
        runtime: The runtime of the stream.
        content: The source that stays unused.
        ask: Awaited before the headers; raises if there must not be any.
        said: What is sent in place of the content.
    """

    ready = True

    def __init__(
        self,
        runtime: Runtime,
        content: Source,
        *,
        ask: Callable[[], Awaitable[object]] | None = None,
        said: bytes = b"",
    ) -> None:
        self.errors: list[Exception] = []
        self.feeders: Sequence[Feeder] = ()
        self._runtime = runtime
        self._content = content
        self._ask = ask
        self._said = said

    async def opened(self, end: Callable[[CloseReason], object], /) -> None:
        """Ask what there is to ask."""
        await self._runtime.checkpoint()
        if self._ask is not None:
            await self._ask()

    async def receive_some(self, limit: int) -> bytes:
        """Say what there is to say, and end."""
        await self._runtime.checkpoint()
        said, self._said = self._said, b""
        return said

    def stop(self) -> None:
        """Nothing is going on."""

    def close(self) -> Closer | None:
        """Close the content, whose feeders have never run."""
        for feeder in self._content.feeders:
            feeder.let_go()
        return self._content.close()
