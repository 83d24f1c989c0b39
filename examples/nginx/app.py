"""A chat to put behind nginx: see nginx.conf beside it. Hypercorn on trio.

Run ``python examples/nginx/app.py``, and nginx as ``examples/nginx/nginx.conf`` says. What the
app does is that of ``examples/broadcast.py``; it also says farewell, and why a stream has ended.
``PORT=8001`` before the command for another port.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import hypercorn
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from trio_sse import (
    CloseReason,
    EventSourceResponse,
    Hub,
    ServerSentEvent,
    last_event_id,
    open_hub,
)
from trio_sse.hypercorn import serve

FAREWELL = ServerSentEvent("the app is leaving", event="farewell", retry=2000)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[dict[str, Hub]]:
    async with open_hub() as hub:
        yield {"hub": hub}


async def say(request: Request) -> Response:
    hub: Hub = request.state.hub
    await hub.publish("chat", (await request.body()).decode(errors="replace"))
    return Response(status_code=204)


def report(reason: CloseReason) -> None:
    print(f"a stream has ended: {reason.value}", flush=True)


async def events(request: Request) -> EventSourceResponse:
    chat = request.state.hub.subscribe("chat", last_event_id=last_event_id(request))
    return EventSourceResponse(chat, send_timeout=5, farewell=FAREWELL, on_close=report)


app = Starlette(
    lifespan=lifespan, routes=[Route("/say", say, methods=["POST"]), Route("/events", events)]
)

if __name__ == "__main__":
    config = hypercorn.Config.from_mapping(bind=f"127.0.0.1:{os.environ.get('PORT', '8000')}")
    trio.run(serve, app, config)
