"""When to connect again: WHATWG HTML, section 9.2.3, and RFC 9110, section 10.2.3."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf

from .._arguments import check_count, check_instance, check_seconds
from .._backoff import DEFAULT_RECONNECTION_TIME, backoff

DEFAULT_MAX_BACKOFF = 60.0

# A server that asks for none, and ends each stream at once, would have a client that does
# nothing else.
DEFAULT_MIN_RECONNECTION_TIME = 0.1

# No server that means well asks for more, and none that does not should get more.
DEFAULT_MAX_RECONNECTION_TIME = 3600.0

# What a server, or a proxy before it, says when the next attempt may well succeed.
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})

# Seconds that the first attempt after a failure is put off by, at most.
_FIRST_BACKOFF = 1.0


@dataclass(frozen=True, slots=True)
class ReconnectionOptions:
    """When to connect again, and when not; `open_event_source` documents each."""

    reconnection_time: float = DEFAULT_RECONNECTION_TIME / 1000
    min_reconnection_time: float = DEFAULT_MIN_RECONNECTION_TIME
    max_reconnection_time: float = DEFAULT_MAX_RECONNECTION_TIME
    max_backoff: float = DEFAULT_MAX_BACKOFF
    max_attempts: int | None = None
    max_downtime: float | None = None
    retried_statuses: Collection[int] = RETRIED_STATUSES

    def __post_init__(self) -> None:
        """Refuse what is no time, and no number."""
        for name in (
            "reconnection_time",
            "min_reconnection_time",
            "max_reconnection_time",
            "max_backoff",
        ):
            check_seconds(name, getattr(self, name))
        if self.max_attempts is not None:
            check_count("max_attempts", self.max_attempts)
        if self.max_downtime is not None:
            check_seconds("max_downtime", self.max_downtime)
        check_instance("retried_statuses", self.retried_statuses, Collection)
        for status in self.retried_statuses:
            check_count("retried_statuses", status)


class Reconnection:
    """Counts what fails, and says how long to wait.

    Args:
        options: How.
        now: The time.
    """

    failures: int
    """How many attempts in a row have opened no stream."""
    time: float
    """The reconnection time in seconds: the server's, if it has set one."""

    def __init__(self, options: ReconnectionOptions, now: float) -> None:
        self._options = options
        self._down_since = now
        self.failures = 0
        self.time = options.reconnection_time

    def retries(self, status: int) -> bool:
        """Tell whether to try again after an answer with this status."""
        return status in self._options.retried_statuses

    def opened(self) -> None:
        """Note that there is a stream."""
        self.failures = 0

    def set_time(self, milliseconds: int) -> None:
        """Note what reconnection time the server has set."""
        options = self._options
        most = options.max_reconnection_time
        seconds = most if milliseconds >= most * 1000 else milliseconds / 1000
        self.time = min(max(seconds, options.min_reconnection_time), most)

    def ended(self, now: float) -> None:
        """Note that the stream is over."""
        self._down_since = now

    def failed(self, error: Exception) -> None:
        """Note an attempt that opened no stream; raise its error if it was the last."""
        self.failures += 1
        if self.failures == self._options.max_attempts:
            raise error

    def delay(self, error: Exception | None, now: float) -> float:
        """Return how many seconds to wait: the reconnection time, and after failures more.

        Args:
            error: What went wrong; raised if the next attempt would come too late.
            now: The time.
        """
        seconds = self._seconds(getattr(error, "retry_after", None))
        downtime = now + seconds - self._down_since
        most = inf if self._options.max_downtime is None else self._options.max_downtime
        if error is not None and downtime > most:
            raise error
        return seconds

    def _seconds(self, retry_after: float | None) -> float:
        seconds = self.time
        if self.failures:
            seconds += backoff(self.failures, _FIRST_BACKOFF, self._options.max_backoff)
        if retry_after is not None:
            seconds = max(seconds, min(retry_after, self._options.max_reconnection_time))
        return seconds


def seconds_of_retry_after(value: str | None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for; None if it says nothing."""
    if value is None:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC, of a machine that does not say where it is
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
