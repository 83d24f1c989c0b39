"""The names, keywords and defaults of sse-starlette 3.7, on this package's response.

``from trio_sse.compat import EventSourceResponse`` in place of
``from sse_starlette import EventSourceResponse`` is all that an app needs, on trio and on
asyncio. The names of ``sse_starlette``, ``sse_starlette.sse`` and ``sse_starlette.event`` are
all here; for packages that import those by themselves there is `install_as_sse_starlette`.

What differs from sse-starlette, on purpose:

* Importing changes nothing, uvicorn's ``Server.handle_exit`` for one. A response learns from
  hypercorn and uvicorn that they shut down, unaided, and at once; see `trio_sse.DrainMiddleware`
  for other servers. Nothing polls, and no task outlives its response. `AppStatus`, which is
  there for the whole process, is a switch and nothing else: a server that shuts down does not set
  ``AppStatus.should_exit``, so who reads it asks `trio_sse.is_draining` instead.
* At a shutdown the stream ends with a complete body. A client has a second to take what is
  left; also the final frame, if it leaves while that is being sent. A stream that begins during a
  shutdown is sent a reconnection time, and ends.
* A ping is sent when nothing was written for `ping_interval` seconds, not each time that they
  have passed; never in the middle of another send. ``ping_message_factory`` is called once
  more, before the headers. `ping_interval` is read once, when the response is called.
* An empty message may follow the headers, to get them on their way.
* `active` turns false when the generator has been closed, and setting it ends nothing.
* A generator is closed in the task that ran it, on every way out, and so are the iterators of
  iterables, and channels. A thread that does not return is left behind, so that the stream can
  end.
* ``send_timeout`` counts for every send, also that of the headers, and breaks the connection.
* ``client_close_handler_callable`` is called when the generator has been closed.
* ``Connection: keep-alive`` is left out over HTTP/2 and HTTP/3, which forbid it.
* A WebSocket handshake is denied with 403, or closed, and the content is not streamed.
* What makes no event stream is refused when the response is called: content that is ``str``,
  bytes or a dict, which would be streamed piece by piece; a status without a body; a
  ``Content-Length``, or a header that would break its line; a ``send_timeout`` of 0 or less.
* The media type is that of the class, too, where FastAPI looks for it.
* A `trio_sse.Subscription` is content too, and a `trio_sse.ServerSentEvent` an item.
* Clean-up that was cut short, and at DEBUG how a stream ended, is logged by the logger
  ``trio_sse``, all else by this module's. Pings are not logged.
* Private methods and attributes are not there.
"""

from ._event import AsyncContentStream as AsyncContentStream
from ._event import Content as Content
from ._event import ContentStream as ContentStream
from ._event import JSONServerSentEvent as JSONServerSentEvent
from ._event import ServerSentEvent as ServerSentEvent
from ._event import SyncContentStream as SyncContentStream
from ._event import ensure_bytes as ensure_bytes
from ._install import install_as_sse_starlette as install_as_sse_starlette
from ._response import EventSourceResponse as EventSourceResponse
from ._response import SendTimeoutError as SendTimeoutError
from ._status import AppStatus as AppStatus

__all__ = [
    "AppStatus",
    "AsyncContentStream",
    "Content",
    "ContentStream",
    "EventSourceResponse",
    "JSONServerSentEvent",
    "SendTimeoutError",
    "ServerSentEvent",
    "SyncContentStream",
    "ensure_bytes",
    "install_as_sse_starlette",
]

__version__ = "3.7.0"

for _object in (
    AppStatus,
    EventSourceResponse,
    JSONServerSentEvent,
    ServerSentEvent,
    ensure_bytes,
    install_as_sse_starlette,
):
    _object.__module__ = __name__
