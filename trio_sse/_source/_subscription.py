"""Events of a hub: what is ready of them, joined."""

from collections.abc import Callable, Sequence

from .._close_reason import CloseReason
from .._cursor import Cursor
from ._feeder import Feeder


class SubscriptionSource:
    """Events from a subscription, which is entered before the headers.

    Args:
        cursor: Where the subscription stands.
    """

    def __init__(self, cursor: Cursor) -> None:
        self.errors: list[Exception] = []
        self.feeders: Sequence[Feeder] = ()
        self._cursor = cursor

    @property
    def ready(self) -> bool:
        """Whether there is anything to read: at first always, ``ready`` or ``reset``."""
        return self._cursor.ready

    async def opened(self, end: Callable[[CloseReason], object], /) -> None:
        """Enter the subscription; raise what ``authorize`` raises."""
        await self._cursor.enter(end)

    async def receive_some(self, limit: int) -> bytes:
        """Read what there is."""
        return await self._cursor.read_joined(limit)

    def stop(self) -> None:
        """Read on to what has been published by now."""
        self._cursor.stop()

    def close(self) -> None:
        """Leave the subscription."""
        self._cursor.close()
