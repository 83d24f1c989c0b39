"""How many streams there may be at once."""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ._arguments import check_count, check_plain_function
from ._event import ServerSentEvent

OVERLOADED = ServerSentEvent('{"reason":"overloaded"}', event="overloaded")

# Milliseconds. Longer than browsers wait by themselves: who comes back at once finds no
# place either.
DEFAULT_RETRY = 15_000

Refusal = Literal["auto", "event", "error"] | Callable[[Mapping[str, Any]], Exception | None]


@dataclass(frozen=True, slots=True)
class LimitStatistics:
    """What `ConnectionLimit.statistics` returns."""

    connections: int
    """Streams that have a slot."""
    keys: int
    """Keys that have one."""
    refused: int
    """Streams that were refused, in all."""


class ConnectionLimit:
    """Bounds the streams of a process that are open at once, in all and for each key.

    Give one object to every response that is to count: the slot is taken before anything
    else, and given back when the stream is over and ``on_close`` has run.

    A browser's ``EventSource`` gives up for good on any status but 200. So a browser, told
    by ``Sec-Fetch-Mode``, is refused by a stream of one event, ``overloaded``, with a
    reconnection time; anyone else gets 503 with ``Retry-After``. Browsers send that header
    over HTTPS, and to localhost.

    Args:
        total: How many streams in all; None (default) for any number.
        per_key: How many for each ``limit_key``; None (default) for any number.
        retry: Milliseconds after which a client is to come back, spread at random by a
            third; 15,000 by default.
        refusal: ``"auto"`` (default) as above; ``"event"``, or ``"error"``, for everyone; or
            a function that is called with the ASGI scope and returns an exception to raise,
            Starlette's ``HTTPException(429)`` for one, or None for the event.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if it is out of range, or neither ``total`` nor ``per_key`` is given.

    Example::

        limit = ConnectionLimit(total=10_000, per_key=6)

        async def endpoint(request):
            return EventSourceResponse(ticks, limit=limit, limit_key=request.user.id)
    """

    def __init__(
        self,
        *,
        total: int | None = None,
        per_key: int | None = None,
        retry: int = DEFAULT_RETRY,
        refusal: Refusal = "auto",
    ) -> None:
        if total is None and per_key is None:
            raise ValueError("total or per_key must be given, or there is no limit")
        for name, value in (("total", total), ("per_key", per_key)):
            if value is not None:
                check_count(name, value)
        if refusal not in ("auto", "event", "error") and not callable(refusal):
            raise ValueError(
                f"refusal must be 'auto', 'event', 'error' or a function, not {refusal!r}"
            )
        if callable(refusal):
            check_plain_function("refusal", refusal)
        ServerSentEvent(retry=retry)
        self._total = total
        self._per_key = per_key
        self.retry = retry
        self._refusal: Refusal = refusal
        self._taken: Counter[Hashable] = Counter()
        self._connections = 0
        self._refused = 0

    @property
    def needs_key(self) -> bool:
        """Whether a response must be given a ``limit_key``."""
        return self._per_key is not None

    def statistics(self) -> LimitStatistics:
        """Return how many slots are taken, and how often there was none."""
        return LimitStatistics(self._connections, len(self._taken), self._refused)

    def answer(self, scope: Mapping[str, Any]) -> Exception | bool:
        """Choose how to refuse a request.

        Returns:
            An exception to raise; or whether to send the event, rather than the error.
        """
        if callable(self._refusal):
            error: Any = self._refusal(scope)
            if error is not None and not isinstance(error, Exception):
                raise TypeError(
                    "refusal must return an exception to raise, or None to send the event, "
                    f"not {error!r}"
                )
            return True if error is None else error
        if self._refusal == "auto":
            return any(name == b"sec-fetch-mode" for name, _ in scope["headers"])
        return self._refusal == "event"

    def has_room(self, key: Hashable) -> bool:
        """Tell whether `take` would give a slot."""
        return (self._total is None or self._connections < self._total) and (
            self._per_key is None or self._taken[key] < self._per_key
        )

    def take(self, key: Hashable) -> bool:
        """Take a slot, to be given back by `give_back`; tell, and count, if there is none."""
        if not self.has_room(key):
            self._refused += 1
            return False
        self._connections += 1
        self._taken[key] += 1
        return True

    def give_back(self, key: Hashable) -> None:
        """Give a slot back."""
        self._connections -= 1
        self._taken[key] -= 1
        if not self._taken[key]:
            del self._taken[key]
