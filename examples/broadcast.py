"""A chat: what one client says is published once, and all of them hear it. Hypercorn on trio.

Run ``python examples/broadcast.py`` and open http://127.0.0.1:8000/ in two windows. Or listen
with ``curl -N http://127.0.0.1:8000/events`` and speak with
``curl -d hello http://127.0.0.1:8000/say``. ``PORT=8001`` before the command for another port.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from trio_sse import EventSourceResponse, Hub, last_event_id, open_hub
from trio_sse.hypercorn import serve

PAGE = """<!doctype html><title>Chat</title>
<form><input name="text" required autofocus autocomplete="off"></form><ul id="list"></ul><script>
const form = document.querySelector("form");
form.onsubmit = (event) => {
  event.preventDefault();
  fetch("/say", { method: "POST", body: form.text.value });
  form.reset();
};
new EventSource("/events").onmessage = (event) =>
  list.prepend(Object.assign(document.createElement("li"), { textContent: event.data }));
</script>"""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Hub]]:
    async with open_hub() as hub:
        yield {"hub": hub}


async def say(request: Request) -> Response:
    hub: Hub = request.state.hub
    await hub.publish("chat", (await request.body()).decode(errors="replace"))
    return Response(status_code=204)


async def events(request: Request) -> EventSourceResponse:
    hub: Hub = request.state.hub
    return EventSourceResponse(hub.subscribe("chat", last_event_id=last_event_id(request)))


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", HTMLResponse(PAGE)),
        Route("/say", say, methods=["POST"]),
        Route("/events", events),
    ],
)

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
