"""A stream that ends for good, and is not asked for again. Hypercorn on trio.

A browser comes back whenever a stream ends, unless its page closes its ``EventSource``, here at
an event that says so; or unless it is answered with 204, here when it has seen that event.

Run ``python examples/finite.py`` and open http://127.0.0.1:8000/, or see the raw stream with
``curl -N http://127.0.0.1:8000/events``, and the other answer with
``curl -i -H "Last-Event-ID: end" http://127.0.0.1:8000/events``. A number in the place of ``end``
goes on after that one. ``PORT=8001`` before the command for another port.
"""

import os
from collections.abc import AsyncIterator

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from trio_sse import EventSourceResponse, ServerSentEvent, last_event_id
from trio_sse.hypercorn import serve

START = 10

PAGE = """<!doctype html><title>Countdown</title><h1 id="count">&nbsp;</h1><script>
const source = new EventSource("/events");
source.onmessage = (event) => count.textContent = event.data;
source.addEventListener("end", (event) => {
  source.close();
  count.textContent = event.data;
});
</script>"""


async def countdown(start: int) -> AsyncIterator[ServerSentEvent]:
    for n in range(start, 0, -1):
        yield ServerSentEvent(n, id=n)
        await trio.sleep(0.2)
    yield ServerSentEvent("lift-off", event="end", id="end")


async def events(request: Request) -> Response:
    last_id = last_event_id(request) or ""
    if last_id == "end":
        return Response(status_code=204)
    start = int(last_id) - 1 if last_id.isdecimal() else START
    return EventSourceResponse(countdown(min(start, START)))


app = Starlette(routes=[Route("/", HTMLResponse(PAGE)), Route("/events", events)])

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
