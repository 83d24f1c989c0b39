"""Server-Sent Events for Starlette, native to trio, and the same on asyncio."""

from ._abc import Instrument as Instrument
from ._close_reason import CloseReason as CloseReason
from ._decoder import EventStreamDecoder as EventStreamDecoder
from ._decoder import MessageEvent as MessageEvent
from ._drain import Draining as Draining
from ._drain import drain as drain
from ._drain import draining as draining
from ._drain import is_draining as is_draining
from ._event import JSONServerSentEvent as JSONServerSentEvent
from ._event import ServerSentEvent as ServerSentEvent
from ._exceptions import EncodeError as EncodeError
from ._exceptions import EventTooLargeError as EventTooLargeError
from ._exceptions import SendTimeoutError as SendTimeoutError
from ._middleware import DrainMiddleware as DrainMiddleware
from ._response import EventSourceResponse as EventSourceResponse

__all__ = [
    "CloseReason",
    "DrainMiddleware",
    "Draining",
    "EncodeError",
    "EventSourceResponse",
    "EventStreamDecoder",
    "EventTooLargeError",
    "Instrument",
    "JSONServerSentEvent",
    "MessageEvent",
    "SendTimeoutError",
    "ServerSentEvent",
    "drain",
    "draining",
    "is_draining",
]

# Tracebacks and pickles name the package, not the file that happens to define them.
for _name in __all__:
    vars()[_name].__module__ = __name__
