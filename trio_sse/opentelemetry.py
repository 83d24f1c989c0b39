"""Metrics of streams and hubs, for OpenTelemetry: its API alone is needed, not its SDK."""

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.metrics import MeterProvider, get_meter

from . import CloseReason, Instrument, ServerSentEvent
from ._arguments import check_instance
from ._runtime import current_runtime

__all__ = ["OpenTelemetryInstrument"]

CLOSE_REASON = "trio_sse.close_reason"
RESET_REASON = "trio_sse.reset_reason"

# Seconds. A stream may live for milliseconds, or for days.
_DURATIONS = (0.1, 0.5, 1, 5, 15, 30, 60, 300, 900, 3600, 14400, 86400)
# Those that OpenTelemetry's conventions have for requests: tokens of a model are as slow.
_FIRST_BYTES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class OpenTelemetryInstrument(Instrument):
    """Measure streams, or a hub, or both.

    ============================================ ============== =============================
    metric                                       unit           what
    ============================================ ============== =============================
    ``trio_sse.stream.active``                   ``{stream}``   streams that are open
    ``trio_sse.stream.duration``                 ``s``          how long they were
    ``trio_sse.stream.time_to_first_byte``       ``s``          until the first bytes of events
    ``trio_sse.stream.closes``                   ``{stream}``   those that ended
    ``trio_sse.stream.drains``                   ``{stream}``   those asked to end by a drain
    ``trio_sse.stream.events``                   ``{event}``    sent, to all clients together
    ``trio_sse.stream.io``                       ``By``         bytes of these
    ``trio_sse.stream.pings``                    ``{ping}``     sent
    ``trio_sse.hub.events``                      ``{event}``    published, in whichever process
    ``trio_sse.hub.resets``                      ``{reset}``    subscriptions with a gap
    ``trio_sse.hub.lags``                        ``{lag}``      subscriptions that fell behind
    ============================================ ============== =============================

    ``active`` goes up and down; ``duration`` and ``time_to_first_byte`` are histograms; the
    others are counters. ``duration`` and ``closes`` have ``trio_sse.close_reason``, the value of
    a `CloseReason`, and ``resets`` has ``trio_sse.reset_reason``. Nothing else of a request or of
    an event becomes an attribute: topics, paths and ids have no end.

    Args:
        meter_provider: Where the metrics go; by default OpenTelemetry's global one.
        attributes: Attributes of everything that this instrument measures, as
            ``{"http.route": "/prices"}``; none by default. Give each kind of stream an
            instrument of its own to tell them apart.

    Raises:
        TypeError: if an argument is of the wrong type.

    Example::

        metrics = OpenTelemetryInstrument(attributes={"http.route": "/prices"})

        async def prices(request):
            return EventSourceResponse(produce, instrument=metrics)
    """

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        *,
        attributes: Mapping[str, str | bool | int | float] | None = None,
    ) -> None:
        """Make the metrics, or find them if another instrument has."""
        if meter_provider is not None:
            check_instance("meter_provider", meter_provider, MeterProvider)
        if attributes is not None:
            check_instance("attributes", attributes, Mapping)
        meter = get_meter("trio_sse", meter_provider=meter_provider)
        counter, histogram = meter.create_counter, meter.create_histogram
        self._attributes = dict(attributes or {})
        self._opened_at: dict[int, float] = {}  # by the id of a scope, which lives as long
        self._active = meter.create_up_down_counter(
            "trio_sse.stream.active", "{stream}", "Streams that are open"
        )
        self._duration = histogram(
            "trio_sse.stream.duration",
            "s",
            "How long streams were open",
            explicit_bucket_boundaries_advisory=_DURATIONS,
        )
        self._first_byte = histogram(
            "trio_sse.stream.time_to_first_byte",
            "s",
            "Until the first bytes of events were sent",
            explicit_bucket_boundaries_advisory=_FIRST_BYTES,
        )
        self._closes = counter("trio_sse.stream.closes", "{stream}", "Streams that ended")
        self._drains = counter("trio_sse.stream.drains", "{stream}", "Streams asked to end")
        self._events = counter("trio_sse.stream.events", "{event}", "Events sent to clients")
        self._io = counter("trio_sse.stream.io", "By", "Bytes of events sent to clients")
        self._pings = counter("trio_sse.stream.pings", "{ping}", "Pings sent to clients")
        self._published = counter("trio_sse.hub.events", "{event}", "Events published")
        self._resets = counter("trio_sse.hub.resets", "{reset}", "Subscriptions with a gap")
        self._lags = counter("trio_sse.hub.lags", "{lag}", "Subscriptions that fell behind")

    def opened(self, scope: Mapping[str, Any], /) -> None:
        """Count one more that is open."""
        self._opened_at[id(scope)] = current_runtime().current_time()
        self._active.add(1, self._attributes)

    def first_byte(self, scope: Mapping[str, Any], seconds: float, /) -> None:
        """Record how long it took."""
        self._first_byte.record(seconds, self._attributes)

    def sent(self, scope: Mapping[str, Any], size: int, /) -> None:
        """Count the bytes."""
        self._io.add(size, self._attributes)

    def delivered(self, scope: Mapping[str, Any], count: int, /) -> None:
        """Count the events."""
        self._events.add(count, self._attributes)

    def pinged(self, scope: Mapping[str, Any], /) -> None:
        """Count it."""
        self._pings.add(1, self._attributes)

    def drained(self, scope: Mapping[str, Any], /) -> None:
        """Count it."""
        self._drains.add(1, self._attributes)

    def closed(self, scope: Mapping[str, Any], reason: CloseReason, /) -> None:
        """Count one less that is open, and record how long it was."""
        seconds = current_runtime().current_time() - self._opened_at.pop(id(scope))
        attributes = {**self._attributes, CLOSE_REASON: reason.value}
        self._active.add(-1, self._attributes)
        self._duration.record(seconds, attributes)
        self._closes.add(1, attributes)

    def published(self, topic: str, event: ServerSentEvent, /) -> None:
        """Count it."""
        self._published.add(1, self._attributes)

    def reset(self, topics: Sequence[str], reason: str, /) -> None:
        """Count it by its reason."""
        self._resets.add(1, {**self._attributes, RESET_REASON: reason})

    def lagged(self, topics: Sequence[str], /) -> None:
        """Count it."""
        self._lags.add(1, self._attributes)
