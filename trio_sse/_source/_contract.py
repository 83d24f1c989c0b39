"""What the writer knows of a source."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from .._close_reason import CloseReason
from ._feeder import Feeder

# Four TLS records, and what a socket buffer takes at once. An ASGI send
# costs the same whatever it carries, and at 64 KiB that cost, shared by hundreds
# of events, is lost beside encoding them.
MAX_CHUNK_SIZE = 64 * 1024

Closer = Callable[[], Awaitable[object]]


class Source(Protocol):
    """Where the events of one stream come from.

    One task calls `receive_some`, and when that has ended, another `close`. `stop` may be
    called from any task of the same run, at any time, any number of times.
    """

    errors: list[Exception]
    """What the feeders raised; complete once `receive_some` returned ``b""``."""

    @property
    def feeders(self) -> Sequence[Feeder]:
        """The tasks to run in the nursery of the response."""
        ...

    @property
    def ready(self) -> bool:
        """Whether `receive_some` would hand something over without waiting."""
        ...

    async def opened(self, end: Callable[[CloseReason], object], /) -> None:
        """Wait until the headers may be sent. Always a checkpoint.

        Args:
            end: For a content that ends the stream for a reason of its own: to be called
                with the reason, at any time until the content is let go of.
        """
        ...

    async def receive_some(self, limit: int) -> bytes:
        """Wait until something is ready, then hand over what is ready, in order.

        Whole items, joined: no more are added once there are ``limit`` bytes, so
        that N bytes leave in at most ceil(N / limit) chunks. ``b""`` is the end.
        Always a checkpoint.

        Raises:
            EncodeError: for an item that cannot be an event, after what came
                before it has been handed over.
        """
        ...

    def stop(self) -> None:
        """Take nothing more in; what was accepted is still handed over, then the end."""
        ...

    def close(self) -> Closer | None:
        """Let go of the content; return what must be awaited for it, if anything.

        That is only content that no feeder ever touched: feeders close what
        they opened, in their own task.
        """
        ...
