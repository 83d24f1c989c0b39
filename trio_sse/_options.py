"""How to serve a stream: arguments of the response, checked when they are given."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from ._arguments import check_callable, check_instance, check_seconds
from ._backoff import spread_reconnection_time
from ._close_reason import CloseReason
from ._event import ServerSentEvent
from ._fields import check_separator


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """What the supervisor is told; `EventSourceResponse` documents each."""

    sep: str
    ping: float
    ping_message_factory: Callable[[], Any] | None
    data_sender_callable: Callable[[], Awaitable[object]] | None
    on_close: Callable[[CloseReason], Any] | None
    cleanup_timeout: float
    max_age: float | None
    retry: int | None
    farewell: ServerSentEvent | None

    def __post_init__(self) -> None:
        """Refuse what is of a wrong type or out of range."""
        check_separator(self.sep)
        check_seconds("ping", self.ping)
        check_seconds("cleanup_timeout", self.cleanup_timeout)
        if self.max_age is not None:
            check_seconds("max_age", self.max_age, positive=True)
        for name in ("ping_message_factory", "data_sender_callable", "on_close"):
            check_callable(name, getattr(self, name))
        if self.retry is not None:
            ServerSentEvent(retry=self.retry)
        if self.farewell is not None:
            check_instance("farewell", self.farewell, ServerSentEvent)

    def without_events(self) -> Self:
        """Return the options of a stream that is only headers and an end."""
        return replace(
            self, ping=0, data_sender_callable=None, max_age=None, retry=None, farewell=None
        )

    def for_refusal(self, retry: int | None) -> Self:
        """Return the options of a stream that only sends a client away for a while."""
        return replace(self.without_events(), retry=spread_reconnection_time(retry))
