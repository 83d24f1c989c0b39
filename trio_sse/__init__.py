"""Server-Sent Events for Starlette, native to trio, and the same on asyncio."""

from ._abc import Engine as Engine
from ._abc import Instrument as Instrument
from ._abc import Sink as Sink
from ._close_reason import CloseReason as CloseReason
from ._decoder import EventStreamDecoder as EventStreamDecoder
from ._decoder import MessageEvent as MessageEvent
from ._drain import Draining as Draining
from ._drain import drain as drain
from ._drain import draining as draining
from ._drain import is_draining as is_draining
from ._event import JSONServerSentEvent as JSONServerSentEvent
from ._event import ServerSentEvent as ServerSentEvent
from ._exceptions import AccessDeniedError as AccessDeniedError
from ._exceptions import EncodeError as EncodeError
from ._exceptions import EventTooLargeError as EventTooLargeError
from ._exceptions import PublishError as PublishError
from ._exceptions import SendTimeoutError as SendTimeoutError
from ._history import Record as Record
from ._hub import Hub as Hub
from ._hub import HubStatistics as HubStatistics
from ._hub import open_hub as open_hub
from ._last_event_id import last_event_id as last_event_id
from ._limit import ConnectionLimit as ConnectionLimit
from ._limit import LimitStatistics as LimitStatistics
from ._memory import MemoryEngine as MemoryEngine
from ._middleware import DrainMiddleware as DrainMiddleware
from ._response import EventSourceResponse as EventSourceResponse
from ._subscription import Subscription as Subscription

__all__ = [
    "AccessDeniedError",
    "CloseReason",
    "ConnectionLimit",
    "DrainMiddleware",
    "Draining",
    "EncodeError",
    "Engine",
    "EventSourceResponse",
    "EventStreamDecoder",
    "EventTooLargeError",
    "Hub",
    "HubStatistics",
    "Instrument",
    "JSONServerSentEvent",
    "LimitStatistics",
    "MemoryEngine",
    "MessageEvent",
    "PublishError",
    "Record",
    "SendTimeoutError",
    "ServerSentEvent",
    "Sink",
    "Subscription",
    "drain",
    "draining",
    "is_draining",
    "last_event_id",
    "open_hub",
]

# Tracebacks and pickles name the package, not the file that happens to define them.
for _name in __all__:
    vars()[_name].__module__ = __name__
