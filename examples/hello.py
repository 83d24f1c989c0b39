"""A page that shows events as they arrive, served by hypercorn on trio.

Run ``python examples/hello.py``, then open the page that it names, or see the raw stream
with the curl line that it prints. Ctrl-C ends the open streams, and then the server.
"""

import os
import socket
import sys
from itertools import count

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from trio_sse import EventSourceResponse, ServerSentEvent

try:
    import hypercorn

    from trio_sse.hypercorn import serve
except ImportError:
    sys.exit("hypercorn is not installed: pip install 'trio-sse[hypercorn]'")

PAGE = """<!doctype html><title>trio-sse</title><h1>Events</h1><ul id="list"></ul><script>
new EventSource("/events").onmessage = (event) =>
  list.prepend(Object.assign(document.createElement("li"), { textContent: event.data }));
</script>"""


async def ticks(send: trio.MemorySendChannel[ServerSentEvent]) -> None:
    for n in count(1):
        await send.send(ServerSentEvent(f"tick {n}", id=n))
        await trio.sleep(1)


async def events(request: Request) -> EventSourceResponse:
    return EventSourceResponse(ticks)


app = Starlette(routes=[Route("/", HTMLResponse(PAGE)), Route("/events", events)])
if __name__ == "__main__":
    port = int(os.environ.get("PORT", "8000"))
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError:
        sys.exit(f"port {port} is taken or forbidden; try PORT={port + 1} python {sys.argv[0]}")
    url = "http://{}:{}".format(*listener.getsockname())
    print(f"page:   {url}/\nevents: curl -N {url}/events", flush=True)
    config = hypercorn.Config.from_mapping(bind=f"fd://{listener.detach()}")
    trio.run(serve, app, config)
