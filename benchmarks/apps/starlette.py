"""Streams of Starlette's StreamingResponse, which leaves the events to the app."""

from collections.abc import AsyncIterator

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from ._control import Controlled
from ._events import stream_texts, texts
from ._queues import Queues
from .raw import PING, encode


def respond(chunks: AsyncIterator[bytes]) -> StreamingResponse:
    """Return the response."""
    return StreamingResponse(chunks, media_type="text/event-stream")


async def stream(request: Request) -> StreamingResponse:
    """Stream from one task."""
    count, paced = int(request.query_params["n"]), request.path_params["pace"] == "paced"

    async def encoded() -> AsyncIterator[bytes]:
        async for text in stream_texts(paced, count):
            yield encode(text)

    return respond(encoded())


async def fan_out(request: Request) -> StreamingResponse:
    """Stream what is published."""

    async def queued() -> AsyncIterator[bytes]:
        with request.scope["audience"].queue() as queue:
            async for chunk in queue:
                yield chunk

    return respond(queued())


async def idle(request: Request) -> StreamingResponse:
    """Stream one event, and pings."""

    async def one() -> AsyncIterator[bytes]:
        yield encode(texts(1)[0])
        while True:
            await anyio.sleep(float(request.query_params["ping"]))
            yield PING

    return respond(one())


routes = [
    Route("/fanout/{variant:str}", fan_out),
    Route("/{pace:str}/{variant:str}", stream),
    Route("/idle", idle),
]
app = Controlled(Starlette(routes=routes), Queues(encode).open, "starlette")
