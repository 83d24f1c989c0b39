"""What is watched of the streams and of the hub."""

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from .. import CloseReason, Instrument, ServerSentEvent

# What a page that is opened finds of the feed, and of the charts: a minute.
MESSAGES_SHOWN = 20
MEASURES_SHOWN = 120


class Meter(Instrument):
    """Counts the streams that are open."""

    clients = 0

    def opened(self, scope: Mapping[str, Any]) -> None:
        """Count one more."""
        self.clients += 1

    def closed(self, scope: Mapping[str, Any], reason: CloseReason) -> None:
        """Count one less."""
        self.clients -= 1


class Snapshot(Instrument):
    """What a page that is opened begins with, and the id after which its stream goes on."""

    def __init__(self) -> None:
        self.last_event_id: str | None = None
        self.shown: dict[str, deque[object]] = {
            "feed": deque(maxlen=MESSAGES_SHOWN),
            "measures": deque(maxlen=MEASURES_SHOWN),
        }

    def published(self, topic: str, event: ServerSentEvent) -> None:
        """Take note of an event of the hub."""
        self.last_event_id = event.id
        if topic in self.shown:
            self.shown[topic].append(json.loads(str(event.data)))
