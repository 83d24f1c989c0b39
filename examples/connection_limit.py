"""No more streams than three in all, and two for each user. Hypercorn on trio.

Run ``python examples/connection_limit.py`` and open http://127.0.0.1:8000/?user=ann in some
windows: what is too much is told so, and comes back until there is room. Or run
``curl -N "http://127.0.0.1:8000/events?user=ann"``, again and again: what is no browser gets 503,
and the seconds to wait. ``curl http://127.0.0.1:8000/statistics`` counts.
``PORT=8001`` before the command for another port.
"""

import os
from dataclasses import asdict
from itertools import count

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from trio_sse import ConnectionLimit, EventSourceResponse, ServerSentEvent
from trio_sse.hypercorn import serve

PAGE = """<!doctype html><title>Limit</title><p id="text"></p><script>
const source = new EventSource("/events" + location.search);
source.onmessage = (event) => text.textContent = event.data;
source.addEventListener("overloaded", () => text.textContent = "too many, please wait");
</script>"""

limit = ConnectionLimit(total=3, per_key=2, retry=3000)


async def ticks(send: trio.MemorySendChannel[ServerSentEvent]) -> None:
    for n in count(1):
        await send.send(ServerSentEvent(f"tick {n}"))
        await trio.sleep(1)


async def events(request: Request) -> EventSourceResponse:
    user = request.query_params.get("user", "nobody")  # an app would ask who is logged in
    return EventSourceResponse(ticks, limit=limit, limit_key=user)


async def statistics(request: Request) -> JSONResponse:
    return JSONResponse(asdict(limit.statistics()))


app = Starlette(
    routes=[
        Route("/", HTMLResponse(PAGE)),
        Route("/events", events),
        Route("/statistics", statistics),
    ]
)

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
