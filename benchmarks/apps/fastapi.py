"""Streams of FastAPI's own."""

import sys
from collections.abc import AsyncIterator
from typing import Any

import anyio
from fastapi import FastAPI, Request

from ._control import Controlled
from ._events import stream_texts, texts
from ._queues import Queues

try:
    import fastapi.routing
    from fastapi.sse import EventSourceResponse, ServerSentEvent
except ImportError:
    sys.exit("this FastAPI has no event streams of its own: pip install --upgrade fastapi")

api = FastAPI()


def make_event(text: str) -> ServerSentEvent:
    """Return an event whose data is not JSON."""
    return ServerSentEvent(raw_data=text)


@api.get("/fanout/queue", response_class=EventSourceResponse)
async def fan_out(request: Request) -> AsyncIterator[Any]:
    """Stream what is published."""
    with request.scope["audience"].queue() as queue:
        async for event in queue:
            yield event


@api.get("/idle", response_class=EventSourceResponse)
async def idle(ping: float) -> AsyncIterator[Any]:
    """Stream one event, and pings: their interval is a constant, which is there to be patched."""
    fastapi.routing._PING_INTERVAL = ping
    yield make_event(texts(1)[0])
    await anyio.sleep_forever()


@api.get("/{pace}/generator", response_class=EventSourceResponse)
async def stream(pace: str, n: int) -> AsyncIterator[Any]:
    """Stream from one task."""
    async for text in stream_texts(pace == "paced", n):
        yield make_event(text)


app = Controlled(api, Queues(make_event).open, "fastapi")
