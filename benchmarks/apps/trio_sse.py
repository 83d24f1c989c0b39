"""Streams of trio_sse."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from trio_sse import EventSourceResponse, Hub, open_hub

from ._control import Controlled
from ._events import FIRST, REST, stream_texts, texts
from ._runtime import WouldBlock, checkpoint


@dataclass
class HubAudience:
    """One topic of a hub."""

    hub: Hub

    @property
    def count(self) -> int:
        """How many there are."""
        return self.hub.statistics().subscribers

    async def publish(self, text: str) -> None:
        """Publish an event."""
        await self.hub.publish("news", text)

    async def end(self) -> None:
        """Do nothing: a response sees by itself that its client has left."""


@asynccontextmanager
async def open_audience() -> AsyncGenerator[HubAudience]:
    """Open the hub."""
    async with open_hub() as hub:
        yield HubAudience(hub)


async def stream(request: Request) -> EventSourceResponse:
    """Stream from one task."""
    count, paced = int(request.query_params["n"]), request.path_params["pace"] == "paced"

    async def send_each(send: Any) -> None:
        for number in range(FIRST, FIRST + count):
            await send.send(f"{number}{REST}")
            if paced:
                await checkpoint()

    async def send_nowait(send: Any) -> None:
        for number in range(FIRST, FIRST + count):
            try:
                send.send_nowait(f"{number}{REST}")
            except WouldBlock:
                await send.send(f"{number}{REST}")
            if paced:
                await checkpoint()

    match request.path_params["variant"]:
        case "generator":
            return EventSourceResponse(stream_texts(paced, count))
        case "send_nowait":
            return EventSourceResponse(send_nowait, max_buffer_size=1024)
        case _:
            return EventSourceResponse(send_each)


async def fan_out(request: Request) -> EventSourceResponse:
    """Stream what is published."""
    return EventSourceResponse(request.scope["audience"].hub.subscribe("news"))


def idle_response(scope: Any) -> EventSourceResponse:
    """Return one event, or in place of it a subscription's first, and pings."""

    async def one() -> AsyncIterator[str]:
        yield texts(1)[0]
        await anyio.sleep_forever()

    query = parse_qs(scope["query_string"].decode())
    content = one() if scope["path"] == "/idle" else scope["audience"].hub.subscribe("news")
    return EventSourceResponse(content, ping=float(query["ping"][0]))


async def idle(request: Request) -> EventSourceResponse:
    """Stream next to nothing."""
    return idle_response(request.scope)


routes = [
    Route("/fanout/{variant:str}", fan_out),
    Route("/{pace:str}/{variant:str}", stream),
    Route("/idle", idle),
    Route("/idle-hub", idle),
]
starlette = Starlette(routes=routes)


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """Serve a stream; one of them with nothing of Starlette's around it, as raw ASGI is."""
    if scope["path"] == "/idle-bare":
        await idle_response(scope)(scope, receive, send)
    else:
        await starlette(scope, receive, send)


app = Controlled(serve, open_audience, "trio_sse")
