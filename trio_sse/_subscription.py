"""What a user holds of a subscription."""

from types import TracebackType
from typing import Self

from ._close_reason import CloseReason
from ._cursor import Cursor
from ._event import ServerSentEvent
from ._runtime import current_runtime


class Subscription:
    """The events of some topics of a hub, as `Hub.subscribe` returns it.

    Give it to `EventSourceResponse`, which enters it before the headers are sent, so that a
    refusal is a real 403. Or read it yourself::

        async with hub.subscribe("news") as subscription:
            async for event in subscription:
                ...

    The first event is ``ready``, or ``reset`` if there is a gap; the event after which it
    begins is the one whose id that carries. A ``reset`` can also come later, when the
    reader was too slow.
    """

    __slots__ = ("_cursor",)

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    @property
    def topics(self) -> tuple[str, ...]:
        """What was subscribed to."""
        return self._cursor.topics

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the hub has ended it: REVOKED, LAGGED, or None if it has not."""
        return self._cursor.close_reason

    async def __aenter__(self) -> Self:
        """Run ``authorize``, and begin. Always a checkpoint.

        Raises:
            AccessDeniedError: if ``authorize`` refuses.
            ClosedResourceError: if the hub is closed.
            RuntimeError: if it was entered before.
        """
        await self._cursor.enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give back what the hub holds for it. Never a checkpoint."""
        self._cursor.close()

    async def receive(self) -> ServerSentEvent:
        """Return the next event, with its id; block until there is one. Always a checkpoint.

        Cancelling it loses nothing.

        Raises:
            EndOfChannel: (trio; anyio's ``EndOfStream`` on asyncio) if the hub has been
                closed, and everything published before that was received; or if the hub
                has ended the subscription, which `close_reason` then says.
            ClosedResourceError: if the subscription was left.
            RuntimeError: if it was not entered.
        """
        for event in await self._cursor.read(limit=1):
            return event
        raise current_runtime().EndOfChannel

    def __aiter__(self) -> Self:
        """Iterate over the events, until the end."""
        return self

    async def __anext__(self) -> ServerSentEvent:
        """Return the next event, as `receive` does."""
        for event in await self._cursor.read(limit=1):
            return event
        raise StopAsyncIteration


def cursor_of(subscription: Subscription) -> Cursor:
    """Return what a response reads it by."""
    return subscription._cursor  # pyright: ignore[reportPrivateUsage]
