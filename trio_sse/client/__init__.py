"""A client of event streams that comes back, on trio and on asyncio."""

from ._errors import EventSourceError as EventSourceError
from ._errors import StallError as StallError
from ._http import HTTPClient as HTTPClient
from ._open import open_event_source as open_event_source
from ._source import EventSource as EventSource
from ._source import EventSourceStatistics as EventSourceStatistics
from ._source import ReadyState as ReadyState

__all__ = [
    "EventSource",
    "EventSourceError",
    "EventSourceStatistics",
    "HTTPClient",
    "ReadyState",
    "StallError",
    "open_event_source",
]

for _name in __all__:
    vars()[_name].__module__ = __name__
